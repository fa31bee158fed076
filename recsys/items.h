/* The identifiers of a model's items, and the file that keeps them: one a line, of item 1, 2, ... An identifier that is
 * empty, begins with a quote or holds control characters is written as a JSON string; a line that begins with a quote
 * is read as one. Other bytes are kept as they are, UTF-8 or not. */
#ifndef REC_ITEMS_H
#define REC_ITEMS_H
#include "core/file.h"
#include "recsys/log.h"
#include "recsys/names.h"

typedef struct rec_items {
    int32_t n;       /* items 1 .. n */
    rec_names names; /* of item i at i-1 */
    char digest[65]; /* as rec_log_items_digest has it */
} rec_items;

/* MB_FORMAT with line and reason: a broken string, an identifier that came before or is longer than any may be. */
int rec_items_read(rec_items *items, const char *path, mb_err *e) MB_MUST_USE;
void rec_items_fini(rec_items *items); /* zeroed is fine */
rec_id rec_items_id(const rec_items *items, int32_t item);
int32_t rec_items_find(const rec_items *items, const char *text, int n); /* 0: none */

/* An identifier as a line (or a field) [s,end) has it, to `to`, which holds end - s bytes; returns where it ends there,
 * or NULL for a string that is not whole. */
char *rec_id_parse(const char *s, const char *end, char *to);
/* The other way round; always as a string: what JSON needs. */
int rec_id_put(mb_out *out, rec_id id, mb_err *e);
int rec_id_put_json(mb_out *out, rec_id id, mb_err *e);

/* Items 1 .. n, as name() has them, become the file. */
typedef rec_id rec_item_name(const void *user, int32_t item);
int rec_items_write(const char *path, int32_t n, rec_item_name *name, const void *user, mb_err *e) MB_MUST_USE;
#endif
