/* What a log is like: sizes, how long users' histories and how popular items are, times, values, repeats. */
#ifndef REC_STATS_H
#define REC_STATS_H
#include <stdio.h>
#include "recsys/log.h"
#include "recsys/split.h"

enum { REC_QUANTILES = 7 };
extern const double REC_QUANTILE[REC_QUANTILES]; /* 0, .25, .5, .75, .9, .99, 1 */

typedef struct rec_stats {
    int32_t n_users, n_items, n_aux;
    int64_t n_events, repeats; /* repeats: events whose user has met the item before */
    double density;            /* different (user, item) pairs of all that could be */
    double user_mean, item_mean;
    int64_t user[REC_QUANTILES], item[REC_QUANTILES]; /* events: of a user, of an item; the value at rank q (n-1) */
    int has_time, has_value;
    int64_t time_from, time_to; /* the first and last */
    int64_t unordered;          /* events earlier than the one before them in the log (float sorting, given splits) */
    float value_least, value_most;
    double value_mean;
} rec_stats;

int rec_stats_make(rec_stats *s, const rec_log *l, mb_err *e) MB_MUST_USE;
/* Lines of a key, blanks and what it is; or one JSON object. splits: what is known of the split, may be NULL. */
void rec_stats_print(const rec_stats *s, const rec_log *l, const rec_split *split, FILE *f);
char *rec_stats_json(const rec_stats *s, const rec_log *l, const rec_split *split); /* mb_free; NULL without memory */
extern const char *const REC_SPLIT_NAME[];                                          /* by rec_split_rule */
#endif
