/* Users' states in memory, over a store: the latest used ones within a bound, the others in the store alone. A user is
 * taken (read from the store when not here; new ones are empty), changed by the caller, and committed with all others
 * taken since: one transaction. What is evicted has always been committed, so the bound shows in nothing but time. */
#ifndef REC_USERS_H
#define REC_USERS_H
#include "recsys/record.h"
#include "recsys/store.h"

typedef struct rec_users rec_users;

typedef struct rec_user {
    rec_record r;
    rec_id id;
    int changed;     /* by the caller: to be committed; without events it is removed from the store */
    int stored;      /* the store has a record of it */
    int first, last; /* for the caller; -1 when taken */
    /* ---- the cache's own ---- */
    struct rec_user *next;          /* of its bucket */
    struct rec_user *newer, *older; /* by use */
    int taken;
    size_t bytes, at; /* held; place of the record in the commit */
} rec_user;

typedef struct rec_users_counts {
    int64_t hits, misses, evictions, commits, committed;
    int64_t cached, bytes; /* now */
    double commit_seconds;
} rec_users_counts;

/* memory: of states held, in bytes; what is taken at one time is held in any case. store, shape: borrowed, copied. */
int rec_users_create(rec_users **out, rec_store *store, const rec_shape *shape, int64_t memory, mb_err *e) MB_MUST_USE;
void rec_users_destroy(rec_users *u);
/* How many may be taken at a time so that the bound holds, at least 1. */
int rec_users_room(const rec_users *u);
/* The same pointer for the same user until the commit. id: 1 .. REC_STORE_KEY_MOST bytes. */
int rec_users_take(rec_users *u, rec_id id, rec_user **out, mb_err *e) MB_MUST_USE;
int rec_users_taken(const rec_users *u, rec_user *const **list);
/* Writes what was changed; all that was taken is let go, in either case: after a failure what was changed is forgotten
 * here, and will be read again as the store has it. threads: for encoding. */
int rec_users_commit(rec_users *u, int threads, mb_err *e) MB_MUST_USE;
/* Lets go of all that was taken and forgets what was changed. */
void rec_users_abandon(rec_users *u);
const rec_users_counts *rec_users_count(const rec_users *u);
#endif
