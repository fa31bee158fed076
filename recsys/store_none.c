/* Users' records without LMDB: every call says what is missing. */
#include "recsys/store.h"

static int missing(mb_err *e) {
    return mb_fail(e, MB_NOTSUP,
                   "this build has no LMDB, which keeps users' states: install it (apt-get install liblmdb-dev) and "
                   "build again");
}

int rec_store_open(rec_store **out, const char *folder, const rec_store_options *o, mb_err *e) {
    (void)folder, (void)o;
    *out = NULL;
    return missing(e);
}

void rec_store_close(rec_store *s) {
    (void)s;
}

int rec_store_get(rec_store *s, rec_id user, const void **record, size_t *n, mb_err *e) {
    (void)s, (void)user, (void)record, (void)n;
    return missing(e);
}

int rec_store_commit(rec_store *s, const rec_store_change *c, int n, mb_err *e) {
    (void)s, (void)c, (void)n;
    return missing(e);
}

int rec_store_users(rec_store *s, int64_t *users, mb_err *e) {
    (void)s, (void)users;
    return missing(e);
}

int64_t rec_store_bytes(const rec_store *s) {
    (void)s;
    return 0;
}

const char *rec_store_digest(const rec_store *s) {
    (void)s;
    return "";
}

int rec_store_each(rec_store *s, int (*visit)(void *user, rec_id id, const void *record, size_t n, mb_err *e),
                   void *user, mb_err *e) {
    (void)s, (void)visit, (void)user;
    return missing(e);
}
