/* Inside of live.c and live_load.c; not for others. */
#ifndef REC_LIVE_INTERNAL_H
#define REC_LIVE_INTERNAL_H
#include "recsys/live.h"

typedef struct rec_live_worker { /* one thread's */
    mb_session *session;
    int D;
    float *vector;      /* (most, D) of the latest feed: its last rows, oldest first */
    int32_t *token;     /* (most) */
    uint8_t *candidate; /* (items+1) o.allowed between requests */
    int64_t start;      /* position of vector's row 0, while feeding */
} rec_live_worker;

struct rec_live {
    const rec_model *model;
    rec_store *store;
    rec_users *users;
    rec_shape shape;
    rec_live_options o;
    int32_t items;
    int D, most;             /* requests of a part */
    rec_live_worker *worker; /* (threads) */
    float *vector;           /* (most, D) to be scored, row by row */
    float *score;            /* (most, items+1) */
    int *next;               /* (most) the user's next request of the part; -1 */
    int *row;                /* (most) of vector and score; -1 none. At the end: whether it was a change */
    int32_t *token;          /* (most) the event's item; 0: no event, or none that the model knows */
    rec_hit *hit;
    size_t hit_room;
    rec_live_counts counts;
};

/* Continues the record by n tokens; the vectors after the last keep (1 .. n) of them are in w->vector. After an error
 * the record is as before. */
int rec_live_feed(rec_live_worker *w, const rec_shape *shape, rec_record *r, const int32_t *token, int64_t n, int keep,
                  mb_err *e) MB_MUST_USE;
#endif
