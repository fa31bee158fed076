/* What people call the items, out of RecBole's .item or a table with a line of names. Internal to the loader. */
#ifndef REC_ITEM_NAMES_H
#define REC_ITEM_NAMES_H
#include "recsys/names.h"

typedef struct rec_item_names {
    int32_t n;      /* of the table of items */
    int64_t *from;  /* (n) of each item's name in text */
    int32_t *bytes; /* (n); 0 = no name */
    char *text;
    int64_t used, room;
} rec_item_names;

/* path: NULL = nothing is named. Rows of items that are not in the table are passed over. */
int rec_item_names_read(rec_item_names *names, const char *path, const rec_table *items, mb_err *e) MB_MUST_USE;
void rec_item_names_free(rec_item_names *names);
#endif
