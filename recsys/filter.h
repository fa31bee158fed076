/* What --duplicates, --min-value, --time-from, --time-to and the k-core leave of sorted events. Internal to the loader.
 */
#ifndef REC_FILTER_H
#define REC_FILTER_H
#include "recsys/intake.h"

/* In RecBole's order: duplicates; values and times; k-core. Counts go to in->counts. */
int rec_filter(rec_intake *in, mb_err *e) MB_MUST_USE;
/* A number as in the log, or a date of ISO 8601 (UTC unless it says otherwise; times scale as the log's do). */
int rec_parse_moment(const char *option, const char *text, double scale, int64_t *time, mb_err *e) MB_MUST_USE;
#endif
