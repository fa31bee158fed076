/* Lists of identifiers that a user gives: a file with one a line (plain or compressed, "-" is standard input), or, when
 * there is no file of that name, identifiers with commas between. Written as in items.txt; empty lines are passed over;
 * what comes twice counts once. */
#ifndef REC_LIST_H
#define REC_LIST_H
#include "recsys/names.h"

/* what: "user", for messages. MB_FORMAT when nothing is on the list. list: zeroed; rec_names_free in every case. */
int rec_list_read(rec_names *list, const char *value, const char *what, mb_err *e) MB_MUST_USE;
#endif
