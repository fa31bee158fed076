/* The identifiers of a model's items, and the file that keeps them: one a line, of item 1, 2, ... An identifier that is
 * empty, begins with a quote or holds control characters is written as a JSON string; a line that begins with a quote
 * is read as one. Other bytes are kept as they are, UTF-8 or not. */
#ifndef REC_ITEMS_H
#define REC_ITEMS_H
#include "recsys/log.h"

typedef struct rec_items {
    int32_t n;       /* items 1 .. n */
    char *text;      /* all identifiers, one after the other */
    int64_t *at;     /* (n+1) where they begin */
    int32_t *slot;   /* (slots) open addressing: an item, or 0 */
    size_t slots;    /* a power of two above 2n */
    char digest[65]; /* as rec_log_items_digest has it */
} rec_items;

/* MB_FORMAT with line and reason: a broken string, an identifier that came before, more lines than items can be. */
int rec_items_read(rec_items *items, const char *path, mb_err *e) MB_MUST_USE;
void rec_items_fini(rec_items *items); /* zeroed is fine */
rec_id rec_items_id(const rec_items *items, int32_t item);
int32_t rec_items_find(const rec_items *items, const char *text, int n); /* 0: none */

/* Names item 1 .. n. */
typedef rec_id rec_item_name(const void *user, int32_t item);

/* Items 1 .. n become the file. */
int rec_items_write(const char *path, int32_t n, rec_item_name *name, const void *user, mb_err *e) MB_MUST_USE;
/* What an items' digest is: the SHA-256 of LENGTH:BYTES, for each identifier in order, the length in decimal digits. */
int rec_items_digest(int32_t n, rec_item_name *name, const void *user, char hex[65], mb_err *e) MB_MUST_USE;
#endif
