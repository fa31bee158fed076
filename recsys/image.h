/* The bytes of a log: what REC_LOG files hold, and, in one block of memory, what a log that was read from text is.
 * A header, then sections, each at a multiple of 64:
 *
 *     user_at   int64 (n_users+1)    item   int32 (n_events)    time  int64 (n_events)    value  float (n_events)
 *     aux       int32 (n_events)     valid, test  int64 (n_users): a given split
 *     user, item, aux identifiers: int64 (n+1) beginnings, the bytes, uint64 (rec_slots(n)) index
 *     names of items: int64 (n_items+1), the bytes          recipe: JSON, ends with a zero
 *
 * A section that there is not has no bytes. Little or big endian as the machine that made it; the other kind refuses
 * it. Internal to the loader. */
#ifndef REC_IMAGE_H
#define REC_IMAGE_H
#include "core/file.h"
#include "recsys/log.h"
#include "recsys/names.h"

#define REC_MAGIC "SEQMBREC"

enum {
    REC_SEC_USER_AT,
    REC_SEC_ITEM,
    REC_SEC_TIME,
    REC_SEC_VALUE,
    REC_SEC_AUX,
    REC_SEC_VALID,
    REC_SEC_TEST,
    REC_SEC_USER_ID, /* three each: beginnings, bytes, index */
    REC_SEC_ITEM_ID = REC_SEC_USER_ID + 3,
    REC_SEC_AUX_ID = REC_SEC_ITEM_ID + 3,
    REC_SEC_NAME = REC_SEC_AUX_ID + 3, /* two: beginnings, bytes */
    REC_SEC_RECIPE = REC_SEC_NAME + 2,
    REC_SECTIONS
};

typedef struct rec_section {
    uint64_t at, bytes; /* of the file */
    uint64_t crc;       /* CRC-64 (ECMA-182, as in xz) of the bytes; 0 in memory */
} rec_section;

typedef struct rec_header {
    char magic[8];
    uint32_t version, endian;
    uint64_t bytes; /* of the whole file */
    int64_t n_events;
    int32_t n_users, n_items, n_aux;
    uint32_t n_sections;
    rec_section section[REC_SECTIONS];
    uint64_t crc; /* of the header before this */
} rec_header;

/* How many of each; the layout follows from it. */
typedef struct rec_sizes {
    int32_t n_users, n_items, n_aux;
    int64_t n_events;
    int time, value, aux, given, names;
    int64_t user_text, item_text, aux_text, name_text, recipe; /* bytes */
} rec_sizes;
/* Header without checksums; its bytes are the size of the image. */
int rec_image_layout(rec_header *h, const rec_sizes *s, mb_err *e) MB_MUST_USE;

struct rec_log {
    rec_view view;
    rec_table user, item, aux;
    const int64_t *name_at; /* NULL: items have no names */
    const char *name_text;
    const int64_t *valid, *test; /* NULL: no given split */
    const char *recipe;
    char items_digest[65];
    mb_map map;  /* of a file; or */
    void *block; /* in memory */
    size_t block_bytes;
};

/* Fills l from an image: every size, offset and number that could lead astray is checked; with verify the checksums
 * too. path begins the messages. l's owner fields are the caller's. */
int rec_image_attach(rec_log *l, const void *image, size_t bytes, int verify, const char *path, mb_err *e) MB_MUST_USE;
/* Fills in the checksums of a finished image: of the sections, then of the header. */
void rec_image_seal(rec_header *h, const void *image);
#endif
