/* An interaction log in memory: who met what, in order. Either mapped from a file that `recmamba prep` made (REC_LOG)
 * or built in memory from any of the text formats; the views are the same to the bit.
 *
 * Users are 0 .. n_users-1 and items 1 .. n_items, both in the order of first appearance in what the filters left of
 * the input (item 0 is the pad of the models and no item). Events are grouped by user and, within a user, sorted by
 * time; equal times keep the order of the input (or what --ties says). */
#ifndef REC_LOG_H
#define REC_LOG_H
#include <stdint.h>
#include "core/error.h"

typedef struct rec_log rec_log; /* opaque, immutable, shared by any number of threads */

typedef struct rec_view {
    int32_t n_users, n_items, n_aux;
    int64_t n_events;
    const int64_t *user_at; /* (n_users+1) first event of each user */
    const int32_t *item;    /* (n_events) 1 .. n_items */
    const int64_t *time;    /* (n_events) as read, 64 bits; NULL when the input has no times: order alone */
    const float *value;     /* (n_events) rating, answer; NULL when there is none */
    const int32_t *aux; /* (n_events) a second identifier, 1 .. n_aux, 0 none (the problem that asked for a concept);
                         * NULL when there is none */
} rec_view;

typedef struct rec_load_options rec_load_options; /* recsys/load.h: format, columns, filters, order, ties */

/* path: a REC_LOG file (recognised by its first bytes) or a text file in a format that o names or that is recognised;
 * "-" is standard input. o: NULL = defaults. */
int rec_log_open(rec_log **out, const char *path, const rec_load_options *o, mb_err *e) MB_MUST_USE;
void rec_log_close(rec_log *l); /* NULL is fine */
const rec_view *rec_log_view(const rec_log *l);

/* The identifiers of the input: bytes as they were, not terminated by zero. */
typedef struct rec_id {
    const char *text;
    int n;
} rec_id;
rec_id rec_log_user_id(const rec_log *l, int32_t user);
rec_id rec_log_item_id(const rec_log *l, int32_t item); /* item >= 1 */
rec_id rec_log_aux_id(const rec_log *l, int32_t aux);   /* aux >= 1 */
/* What people call the item (--item-names); n = 0 when that is not known. */
rec_id rec_log_item_name(const rec_log *l, int32_t item);
/* -1 / 0 when the log has no such user / item. */
int32_t rec_log_find_user(const rec_log *l, const char *text, int n);
int32_t rec_log_find_item(const rec_log *l, const char *text, int n);
/* 64 hex digits: of the item identifiers in order (what a model's rows mean). */
const char *rec_log_items_digest(const rec_log *l);
/* Where each user's validation and test events begin, (n_users) each, when the input said which events are which; the
 * log is then in the order train, validation, test of each user, and by time within these. NULL when it did not. */
const int64_t *rec_log_given_valid(const rec_log *l);
const int64_t *rec_log_given_test(const rec_log *l);
/* How the log was made, as a JSON object: format, order, filters, and what they left out. */
const char *rec_log_recipe(const rec_log *l);
#endif
