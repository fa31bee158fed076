/* See store.h. One unnamed database: key "m" holds what the store is for, key "u" + identifier a user's record. */
#include "recsys/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/mem.h"

enum { OVERFLOW_HEAD = 16, OVERFLOW_FLAG = 4 }; /* LMDB's page header, and the flag of a value's own pages */
static const char FORMAT[] = "recmamba store 1 model ";

struct rec_store {
    char *folder, *file;
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *reading; /* NULL, or begun; see live */
    int live;         /* the reading transaction holds a snapshot */
    int owner;        /* owner.lock, held; -1 */
    unsigned page;    /* bytes */
    size_t map;
    char digest[REC_STORE_DIGEST + 1];
};

static int fail(const rec_store *s, int code, const char *what, mb_err *e) {
    int status = MB_IO;
    const char *more = "";
    switch (code) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_BAD_TXN:
        status = MB_FORMAT;
        more = "; the store is damaged";
        break;
    case MDB_PANIC:
        more = "; an earlier write failed half-way: start again";
        break;
    case ENOMEM:
        status = MB_NOMEM;
        break;
    default:
        break;
    }
    return mb_fail(e, status, "%s: cannot %s: %s%s", s->file, what, mdb_strerror(code), more);
}

/* ---- opening ------------------------------------------------------------------------------------------------------*/
/* One writer: a lock that the kernel takes back when the process dies. */
static int own(rec_store *s, mb_err *e) {
    char *path = mb_path_join(s->folder, "owner.lock"), pid[32] = "";
    int rc = MB_OK;
    if (!path)
        return mb_fail(e, MB_NOMEM, "no memory for the name of a lock");
    s->owner = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->owner < 0) {
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be opened", path);
    } else if (flock(s->owner, LOCK_EX | LOCK_NB)) {
        const ssize_t n = pread(s->owner, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        rc = errno == EWOULDBLOCK || n >= 0
                 ? mb_fail(e, MB_IO, "%s: another process (%s) has this store open", s->folder, *pid ? pid : "unknown")
                 : mb_fail_errno(e, MB_IO, "%s: cannot be locked", path);
    } else {
        const int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
        if (ftruncate(s->owner, 0) || pwrite(s->owner, pid, (size_t)n, 0) != n)
            rc = mb_fail_errno(e, MB_IO, "%s: cannot be written", path);
    }
    mb_free(path);
    return rc;
}

/* Whether somebody writes to the store now; then its file cannot be checked. */
static int somebody_writes(const rec_store *s) {
    char *path = mb_path_join(s->folder, "owner.lock");
    const int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    const int busy = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0;
    if (fd >= 0)
        close(fd);
    mb_free(path);
    return busy;
}

/* So that the file itself is still there after a loss of power. */
static int sync_folder(const char *path) {
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int rc = fd < 0 || fsync(fd) ? -1 : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

static int open_env(rec_store *s, const rec_store_options *o, mb_err *e) {
    static const unsigned SYNC[] = {
        [REC_SYNC_FULL] = 0, [REC_SYNC_COMMIT] = MDB_NOMETASYNC, [REC_SYNC_NONE] = MDB_NOSYNC};
    const unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (o->read_only ? MDB_RDONLY : SYNC[o->sync]);
    MDB_stat st;
    int code = mdb_env_create(&s->env);
    if (code) {
        s->env = NULL;
        return fail(s, code, "make an environment", e);
    }
    s->map = o->map_bytes > 0 ? (size_t)o->map_bytes : (size_t)1 << 30;
    s->map = (s->map + 65535) / 65536 * 65536;
    code = mdb_env_set_mapsize(s->env, s->map);
    if (!code)
        code = mdb_env_open(s->env, s->folder, flags, 0600);
    if (!code)
        code = mdb_env_stat(s->env, &st);
    if (code)
        return fail(s, code, "be opened", e);
    s->page = st.ms_psize;
    if (!o->read_only) {
        int dead;
        mdb_reader_check(s->env, &dead); /* readers that were killed would keep old pages from being used again */
        if (o->sync == REC_SYNC_FULL && sync_folder(s->folder))
            return mb_fail_errno(e, MB_IO, "%s: cannot be synced", s->folder);
    }
    MDB_envinfo info;
    mdb_env_info(s->env, &info);
    s->map = info.me_mapsize;
    return mdb_env_get_maxkeysize(s->env) > REC_STORE_KEY_MOST
               ? MB_OK
               : mb_fail(e, MB_NOTSUP, "this LMDB takes keys of %d bytes only", mdb_env_get_maxkeysize(s->env));
}

/* What the store is for: read, or written into an empty one. */
static int identify(rec_store *s, const rec_store_options *o, mb_err *e) {
    MDB_txn *t = NULL;
    MDB_val key = {1, "m"}, value;
    MDB_stat st = {0};
    char line[sizeof FORMAT + REC_STORE_DIGEST + 1];
    int code = mdb_txn_begin(s->env, NULL, o->read_only ? MDB_RDONLY : 0, &t), rc = MB_OK;
    if (code)
        return fail(s, code, "be read", e);
    code = mdb_dbi_open(t, NULL, 0, &s->dbi);
    if (!code)
        code = mdb_stat(t, s->dbi, &st);
    if (!code)
        code = mdb_get(t, s->dbi, &key, &value);
    const size_t head = sizeof FORMAT - 1, whole = head + REC_STORE_DIGEST;
    if (code == MDB_NOTFOUND && st.ms_entries == 0 && !o->read_only) {
        memcpy(s->digest, o->digest, REC_STORE_DIGEST);
        const int n = snprintf(line, sizeof line, "%s%s", FORMAT, s->digest);
        value = (MDB_val){(size_t)n, line};
        code = mdb_put(t, s->dbi, &key, &value, 0);
    } else if (code == MDB_NOTFOUND ||
               (!code && (value.mv_size != whole || memcmp(value.mv_data, FORMAT, head) != 0))) {
        rc = mb_fail(e, MB_FORMAT, "%s: an LMDB database, but no store of this version of recmamba", s->file);
    } else if (!code) {
        memcpy(s->digest, (const char *)value.mv_data + head, REC_STORE_DIGEST);
    }
    if (!rc && !code && o->digest && strcmp(o->digest, s->digest) != 0)
        rc = mb_fail(e, MB_FORMAT,
                     "%s: holds the states of another model (%.12s..., not %.12s...): a state means nothing to another "
                     "one; give a new folder and fill it with --load",
                     s->folder, s->digest, o->digest);
    if (code || rc || o->read_only)
        mdb_txn_abort(t);
    else
        code = mdb_txn_commit(t);
    return rc ? rc : code ? fail(s, code, "be read", e) : MB_OK;
}

static int make_folder(const rec_store *s, mb_err *e) {
    if (mkdir(s->folder, 0700) == 0 || mb_dir_exists(s->folder))
        return MB_OK;
    return errno == EEXIST ? mb_fail(e, MB_USAGE, "%s: is no folder", s->folder)
                           : mb_fail_errno(e, MB_IO, "%s: cannot be made", s->folder);
}

static int begin(rec_store *s, const rec_store_options *o, mb_err *e) {
    struct stat st;
    int rc = MB_OK;
    if (o->read_only && !mb_file_exists(s->file))
        return mb_fail(e, MB_NOTFOUND, "%s: there is no store in this folder", s->folder);
    if (!o->read_only)
        rc = make_folder(s, e);
    if (!rc && !o->read_only)
        rc = own(s, e);
    if (!rc && stat(s->file, &st) == 0 && st.st_size > 0 && !(o->read_only && somebody_writes(s)))
        rc = rec_store_check(s->file, e);
    if (!rc)
        rc = open_env(s, o, e);
    return rc ? rc : identify(s, o, e);
}

int rec_store_open(rec_store **out, const char *folder, const rec_store_options *o, mb_err *e) {
    *out = NULL;
    MB_ASSERT(o->read_only || (o->digest && strlen(o->digest) == REC_STORE_DIGEST));
    rec_store *s = mb_calloc(1, sizeof *s);
    if (!s)
        return mb_fail(e, MB_NOMEM, "no memory for a store");
    s->owner = -1;
    s->folder = mb_strdup(folder);
    s->file = mb_path_join(folder, "data.mdb");
    int rc = s->folder && s->file ? begin(s, o, e) : mb_fail(e, MB_NOMEM, "no memory for a store");
    if (rc) {
        rec_store_close(s);
        return rc;
    }
    *out = s;
    return MB_OK;
}

static void end_reading(rec_store *s) {
    if (s->reading)
        mdb_txn_abort(s->reading);
    s->reading = NULL;
    s->live = 0;
}

void rec_store_close(rec_store *s) {
    if (!s)
        return;
    end_reading(s);
    if (s->env)
        mdb_env_close(s->env);
    if (s->owner >= 0)
        close(s->owner);
    mb_free(s->folder);
    mb_free(s->file);
    mb_free(s);
}

/* ---- reading ------------------------------------------------------------------------------------------------------*/
static int snapshot(rec_store *s, mb_err *e) {
    if (s->live)
        return MB_OK;
    int code = s->reading ? mdb_txn_renew(s->reading) : mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reading);
    if (code == MDB_MAP_RESIZED) { /* a reader beside a writer whose file grew */
        end_reading(s);
        code = mdb_env_set_mapsize(s->env, 0);
        if (!code)
            code = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &s->reading);
    }
    if (code) {
        end_reading(s);
        return fail(s, code, "be read", e);
    }
    s->live = 1;
    return MB_OK;
}

static size_t make_key(rec_id user, char key[REC_STORE_KEY_MOST + 1]) {
    MB_ASSERT(user.n > 0 && user.n <= REC_STORE_KEY_MOST);
    key[0] = 'u';
    memcpy(key + 1, user.text, (size_t)user.n);
    return (size_t)user.n + 1;
}

/* A large value has pages of its own, whose header says how many. LMDB goes by it when the value is replaced, so it is
 * checked here: the walk over the tree leaves these pages alone, as they are most of the file. */
static int check_value(const rec_store *s, const MDB_val *v, mb_err *e) {
    const unsigned char *head = (const unsigned char *)v->mv_data - OVERFLOW_HEAD;
    uint16_t flags;
    uint32_t pages;
    if ((uintptr_t)v->mv_data % s->page != OVERFLOW_HEAD)
        return MB_OK;
    memcpy(&flags, head + 10, sizeof flags);
    memcpy(&pages, head + 12, sizeof pages);
    if (flags == OVERFLOW_FLAG && pages == (OVERFLOW_HEAD - 1 + v->mv_size) / s->page + 1)
        return MB_OK;
    return mb_fail(e, MB_FORMAT, "%s: damaged: a record's pages are not what they should be", s->file);
}

int rec_store_get(rec_store *s, rec_id user, const void **record, size_t *n, mb_err *e) {
    char bytes[REC_STORE_KEY_MOST + 1];
    MDB_val key = {make_key(user, bytes), bytes}, value;
    *record = NULL;
    *n = 0;
    int rc = snapshot(s, e);
    if (rc)
        return rc;
    const int code = mdb_get(s->reading, s->dbi, &key, &value);
    if (code == MDB_NOTFOUND)
        return MB_OK;
    if (code)
        return fail(s, code, "be read", e);
    rc = check_value(s, &value, e);
    if (!rc) {
        *record = value.mv_data;
        *n = value.mv_size;
    }
    return rc;
}

int rec_store_users(rec_store *s, int64_t *users, mb_err *e) {
    MDB_stat st;
    int rc = snapshot(s, e);
    if (rc)
        return rc;
    const int code = mdb_stat(s->reading, s->dbi, &st);
    if (code)
        return fail(s, code, "be read", e);
    *users = (int64_t)st.ms_entries - 1; /* "m" */
    return MB_OK;
}

int64_t rec_store_bytes(const rec_store *s) {
    struct stat st;
    return stat(s->file, &st) ? 0 : (int64_t)st.st_size;
}

const char *rec_store_digest(const rec_store *s) {
    return s->digest;
}

int rec_store_each(rec_store *s, int (*visit)(void *user, rec_id id, const void *record, size_t n, mb_err *e),
                   void *user, mb_err *e) {
    MDB_cursor *c = NULL;
    MDB_val key = {1, "u"}, value;
    int rc = snapshot(s, e);
    if (rc)
        return rc;
    int code = mdb_cursor_open(s->reading, s->dbi, &c);
    if (!code)
        code = mdb_cursor_get(c, &key, &value, MDB_SET_RANGE);
    while (!rc && !code && key.mv_size > 0 && *(const char *)key.mv_data == 'u') {
        rc = check_value(s, &value, e);
        if (!rc)
            rc = visit(user, (rec_id){(const char *)key.mv_data + 1, (int)key.mv_size - 1}, value.mv_data,
                       value.mv_size, e);
        if (!rc)
            code = mdb_cursor_get(c, &key, &value, MDB_NEXT);
    }
    if (c)
        mdb_cursor_close(c);
    return rc ? rc : code && code != MDB_NOTFOUND ? fail(s, code, "be read", e) : MB_OK;
}

/* ---- writing ------------------------------------------------------------------------------------------------------*/
static int try_commit(rec_store *s, const rec_store_change *c, int n) {
    char bytes[REC_STORE_KEY_MOST + 1];
    MDB_txn *t = NULL;
    int code = mdb_txn_begin(s->env, NULL, 0, &t);
    if (code)
        return code;
    for (int i = 0; !code && i < n; i++) {
        MDB_val key = {make_key(c[i].user, bytes), bytes}, value = {c[i].n, (void *)(uintptr_t)c[i].record};
        code = c[i].record ? mdb_put(t, s->dbi, &key, &value, 0) : mdb_del(t, s->dbi, &key, NULL);
        if (!c[i].record && code == MDB_NOTFOUND)
            code = 0;
    }
    if (!code)
        return mdb_txn_commit(t);
    mdb_txn_abort(t);
    return code;
}

int rec_store_commit(rec_store *s, const rec_store_change *c, int n, mb_err *e) {
    if (s->live) /* a snapshot that is held keeps old pages from being used again */
        mdb_txn_reset(s->reading);
    s->live = 0;
    int code = try_commit(s, c, n);
    while (code == MDB_MAP_FULL && s->map < SIZE_MAX / 4) {
        int dead;
        end_reading(s);
        mdb_reader_check(s->env, &dead);
        code = mdb_env_set_mapsize(s->env, 2 * s->map);
        if (code)
            break;
        s->map *= 2;
        code = try_commit(s, c, n);
    }
    return code ? fail(s, code, "be written", e) : MB_OK;
}
