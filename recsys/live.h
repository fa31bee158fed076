/* Users' states kept up to date event by event, in constant time, and what to recommend after each.
 *
 * An event sets the user's stored state into a session of the model, feeds the one item and takes the state back; the
 * user's vector is the final hidden row, the scores are rec_model_scores of it. All three are the engine's own, so
 * state, vector and scores equal, to the bit, what rec_model_encode and rec_model_scores give for the whole history in
 * one run (window -1: all of it), whatever the pieces, the threads, the cache and the restarts were.
 *
 * Requests are run in transactions: an answer says REC_LIVE_OK only when what it did is committed.
 *   - An item that the model does not know changes nothing: REC_LIVE_UNKNOWN_ITEM, counted.
 *   - Events count in the order of their arrival. One that is older than the latest before is taken and counted (late).
 *   - A user without events has no recommendations (REC_LIVE_NO_HISTORY): zeros would score all items alike.
 *   - A record that is damaged, or a store that cannot be written, is an error of the requests concerned alone. */
#ifndef REC_LIVE_H
#define REC_LIVE_H
#include <stdatomic.h>
#include "core/log.h"
#include "recsys/model.h"
#include "recsys/top.h"
#include "recsys/users.h"

typedef struct rec_live rec_live; /* one caller at a time */

typedef enum rec_live_kind { REC_LIVE_EVENT, REC_LIVE_ASK, REC_LIVE_FORGET } rec_live_kind;
typedef enum rec_live_status {
    REC_LIVE_OK,
    REC_LIVE_UNKNOWN_ITEM,
    REC_LIVE_NO_HISTORY,
    REC_LIVE_FORGOTTEN,
    REC_LIVE_ERROR
} rec_live_status;

enum { REC_LIVE_WHY = 256 };

typedef struct rec_live_request {
    rec_id user, item; /* user: 1 .. REC_STORE_KEY_MOST bytes, or the answer is an error */
    int64_t time;
    const int32_t *deny; /* (n_deny) left out */
    rec_live_kind kind;
    int has_time;
    int k;           /* so many recommendations; 0: none */
    int filter_seen; /* leave out what the user has met */
    int n_deny;
    /* ---- the answer ---- */
    rec_live_status status;
    int late, is_new;   /* older than an event before; the user's first */
    int64_t events;     /* of the user, after the request */
    const rec_hit *top; /* best first, equal scores by item; valid until the next run */
    int n_top;
    int why_status; /* REC_LIVE_ERROR: an mb_status and its words */
    char why[REC_LIVE_WHY];
} rec_live_request;

typedef struct rec_live_options {
    int threads;            /* > 0 */
    int64_t memory;         /* of users' states held in memory */
    int batch;              /* most requests of a transaction, > 0 */
    const uint8_t *allowed; /* (items+1) 0: never recommended; NULL: all are. Borrowed */
} rec_live_options;

typedef struct rec_live_counts {
    int64_t requests, events, asks, forgets, new_users, unknown_items, late, errors;
    rec_users_counts users;
} rec_live_counts;

/* What a store is for: model weights, configuration, items, precision. hex: REC_STORE_DIGEST + 1. */
int rec_live_digest(const rec_model *m, mbk_precision precision, char *hex, mb_err *e) MB_MUST_USE;
/* Model and store are borrowed; the store must be of the model's digest. */
int rec_live_create(rec_live **out, const rec_model *m, rec_store *s, const rec_live_options *o, mb_err *e) MB_MUST_USE;
void rec_live_destroy(rec_live *l);
/* Runs and answers all, in order for each user, in as many transactions as it takes. Fails only without memory for the
 * answers; all else is in the answers. */
int rec_live_run(rec_live *l, rec_live_request *r, int n, mb_err *e) MB_MUST_USE;
const rec_live_counts *rec_live_count(rec_live *l);
const rec_model *rec_live_model(const rec_live *l);
rec_store *rec_live_store(const rec_live *l);
/* Bytes that a user's record takes without seen items. */
size_t rec_live_user_bytes(const rec_live *l);

typedef struct rec_live_load_counts {
    int64_t users, events; /* taken over */
    int64_t present;       /* users who had events in the store already: left as they were */
    int64_t unknown;       /* events whose item the model does not know: passed over */
    int64_t refused;       /* users whose identifier is too long or empty, or without known items */
} rec_live_load_counts;

/* The histories of a log become the states of its users, each complete or not at all, so that a load that was
 * interrupted goes on with the same call. */
int rec_live_load(rec_live *l, const rec_log *log, const atomic_int *stop, rec_live_load_counts *c,
                  mb_err *e) MB_MUST_USE;
#endif
