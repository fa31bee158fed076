/* Users' records in a folder, in an embedded LMDB database (data.mdb, lock.mdb): what is committed survives the death
 * of the process at any moment. One process at a time may write (owner.lock says which); others may read beside it.
 *
 * Refused: a store made for another model (its digest), a folder that another process writes to, a database whose
 * structure is damaged (its pages are checked before LMDB trusts them: LMDB itself would crash), records that are.
 * Identifiers of users are bytes of any kind, 1 .. REC_STORE_KEY_MOST of them; longer ones are refused. */
#ifndef REC_STORE_H
#define REC_STORE_H
#include <stddef.h>
#include <stdint.h>
#include "core/error.h"
#include "recsys/log.h"

enum { REC_STORE_KEY_MOST = 510, REC_STORE_DIGEST = 64 };

typedef enum rec_sync {
    REC_SYNC_FULL,   /* a commit returns when the disk has it: survives loss of power */
    REC_SYNC_COMMIT, /* data is synced, the page that makes it current is not: after a loss of power the store is whole,
                      * but may lack the latest commits */
    REC_SYNC_NONE    /* the kernel writes when it likes: survives the death of the process (kill -9), but a loss of
                      * power or of the machine may damage the store */
} rec_sync;
#define REC_SYNC_CHOICES "full|commit|none"

typedef struct rec_store rec_store; /* one thread at a time */

typedef struct rec_store_options {
    rec_sync sync;
    int read_only;      /* beside a writer, or alone */
    int64_t map_bytes;  /* address space to begin with; it grows as needed. 0 = 1 GiB */
    const char *digest; /* of the model, REC_STORE_DIGEST hex digits; NULL: whatever the store is for (read_only) */
} rec_store_options;

typedef struct rec_store_change {
    rec_id user;
    const void *record; /* NULL: the user is removed */
    size_t n;
} rec_store_change;

/* Makes the folder when it is not there (unless read_only). */
int rec_store_open(rec_store **out, const char *folder, const rec_store_options *o, mb_err *e) MB_MUST_USE;
void rec_store_close(rec_store *s);
/* *record: NULL when there is no such user; else bytes that stay until the next commit. */
int rec_store_get(rec_store *s, rec_id user, const void **record, size_t *n, mb_err *e) MB_MUST_USE;
/* All of the changes or none, durable as the options say when it returns MB_OK. MB_IO when the disk is full or broken:
 * the store is then as before. */
int rec_store_commit(rec_store *s, const rec_store_change *c, int n, mb_err *e) MB_MUST_USE;
int rec_store_users(rec_store *s, int64_t *users, mb_err *e) MB_MUST_USE;
int64_t rec_store_bytes(const rec_store *s); /* of data.mdb */
const char *rec_store_digest(const rec_store *s);
/* Every user in the order of the bytes of the identifiers; visit returns a status. */
int rec_store_each(rec_store *s, int (*visit)(void *user, rec_id id, const void *record, size_t n, mb_err *e),
                   void *user, mb_err *e) MB_MUST_USE;

/* ---- for the store's own parts ------------------------------------------------------------------------------------*/
/* Walks all pages of an LMDB file (version 1 of its format, no sub-databases): everything lies where it may, nothing
 * lies twice, keys ascend, counts agree. MB_FORMAT and what is wrong. Not for a file that somebody writes to. */
int rec_store_check(const char *path, mb_err *e) MB_MUST_USE;
#endif
