/* Events on their way from text to a log: taken in the order of the input, sorted by user and time within a budget of
 * memory (sorted runs in scratch files beyond it, then merged), then read again and again and thinned out in place. The
 * result does not depend on the budget: the order of any two events is decided by themselves alone. */
#ifndef REC_SPOOL_H
#define REC_SPOOL_H
#include <stdint.h>
#include "core/error.h"
#include "recsys/load.h"
#include "recsys/names.h"

typedef struct rec_event {
    int32_t user, item; /* numbers from 0, as first met */
    int64_t time;       /* 0 where the input has none */
    uint64_t order;     /* place in the input << 2 | part: 0 train, 1 validation, 2 test */
    float value;
    int32_t aux; /* -1: none */
} rec_event;

typedef struct rec_order {
    rec_time_sort time;
    rec_ties ties;
    uint64_t seed;          /* of REC_TIES_RANDOM */
    const rec_names *items; /* for REC_TIES_ITEM */
} rec_order;

typedef struct rec_spool rec_spool;

/* memory: bytes that events may take, raised to a least of 256 KiB. folder: of scratch files; NULL: $TMPDIR, /tmp. */
int rec_spool_create(rec_spool **out, int64_t memory, const char *folder, mb_err *e) MB_MUST_USE;
void rec_spool_destroy(rec_spool *s); /* NULL is fine */
int rec_spool_add(rec_spool *s, const rec_event *event, const rec_order *order, mb_err *e) MB_MUST_USE;
/* After the last event: by user, part, time (as order->time rounds it), then as order->ties says. */
int rec_spool_sort(rec_spool *s, const rec_order *order, mb_err *e) MB_MUST_USE;
int64_t rec_spool_count(const rec_spool *s);
/* Of a sorted spool: events from at on, *n of them (0 only at the end), valid until the next call. */
int rec_spool_read(rec_spool *s, int64_t at, const rec_event **event, int64_t *n, mb_err *e) MB_MUST_USE;
/* Thinning out: begin, keep events in the order in which they are read, end. Events may only be kept after they were
 * read. */
void rec_spool_keep_begin(rec_spool *s);
int rec_spool_keep(rec_spool *s, const rec_event *event, mb_err *e) MB_MUST_USE;
int rec_spool_keep_end(rec_spool *s, mb_err *e) MB_MUST_USE;
int rec_spool_runs(const rec_spool *s); /* that went to scratch files; 0: all stayed in memory */
/* As numbers when both are decimal, else as bytes: the order of --ties item. */
int rec_compare_ids(const char *a, int64_t na, const char *b, int64_t nb);
#endif
