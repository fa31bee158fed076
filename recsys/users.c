/* See users.h. Refuses what the store refuses. */
#include "recsys/users.h"

#include <string.h>
#include <sys/random.h>

#include "core/log.h"
#include "core/mem.h"

enum { SEEN_GUESS = 1024, ID_GUESS = 32 }; /* bytes of a user beside vector and state, to tell how many fit */

struct rec_users {
    rec_store *store;
    rec_shape shape;
    size_t memory;
    uint64_t key[2]; /* of the hash */
    rec_user **bucket;
    size_t buckets; /* a power of two */
    rec_user *newest, *oldest;
    rec_user **taken;
    int n_taken, taken_room;
    rec_store_change *change; /* (taken_room) */
    unsigned char *buffer;    /* records of a commit */
    size_t buffer_room;
    rec_users_counts counts;
};

/* ---- hash ---------------------------------------------------------------------------------------------------------*/
static uint64_t turn(uint64_t v, int n) {
    return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[1] = turn(v[1], 13) ^ v[0], v[0] = turn(v[0], 32);
    v[2] += v[3], v[3] = turn(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = turn(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = turn(v[1], 17) ^ v[2], v[2] = turn(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein 2012) under a key of this process: identifiers come from outside, and nobody
 * there can make many of them fall into one bucket. */
static uint64_t hash_of(const rec_users *u, rec_id id) {
    uint64_t v[4] = {u->key[0] ^ 0x736f6d6570736575U, u->key[1] ^ 0x646f72616e646f6dU, u->key[0] ^ 0x6c7967656e657261U,
                     u->key[1] ^ 0x7465646279746573U};
    for (int i = 0; i <= id.n; i += 8) {
        const int left = id.n - i < 8 ? id.n - i : 8;
        uint64_t word = 0;
        memcpy(&word, id.text + i, (size_t)left);
        if (left < 8)
            word |= (uint64_t)id.n << 56;
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static rec_user **place(const rec_users *u, rec_id id) {
    rec_user **p = &u->bucket[hash_of(u, id) & (u->buckets - 1)];
    while (*p && ((*p)->id.n != id.n || memcmp((*p)->id.text, id.text, (size_t)id.n) != 0))
        p = &(*p)->next;
    return p;
}

/* Twice the buckets; without memory the chains just grow longer. */
static void widen(rec_users *u) {
    rec_user **more = mb_calloc(2 * u->buckets, sizeof(rec_user *)), **old = u->bucket;
    if (!more)
        return;
    u->bucket = more;
    u->buckets *= 2;
    for (size_t i = 0; i < u->buckets / 2; i++)
        for (rec_user *x = old[i], *next; x; x = next) {
            rec_user **p = &u->bucket[hash_of(u, x->id) & (u->buckets - 1)];
            next = x->next;
            x->next = *p;
            *p = x;
        }
    mb_free(old);
}

/* ---- order of use -------------------------------------------------------------------------------------------------*/
static void unlink_user(rec_users *u, rec_user *x) {
    *(x->newer ? &x->newer->older : &u->newest) = x->older;
    *(x->older ? &x->older->newer : &u->oldest) = x->newer;
}

static void link_newest(rec_users *u, rec_user *x) {
    x->newer = NULL;
    x->older = u->newest;
    *(u->newest ? &u->newest->newer : &u->oldest) = x;
    u->newest = x;
}

static size_t bytes_of(const rec_users *u, const rec_user *x) {
    return sizeof *x + sizeof(rec_user *) + (size_t)x->id.n +
           ((size_t)u->shape.vector_floats + u->shape.state_floats) * sizeof(float) +
           (size_t)x->r.room * sizeof(int32_t);
}

static void free_user(rec_user *x) {
    mb_free(x->r.seen);
    mb_free(x);
}

static void forget(rec_users *u, rec_user *x) {
    rec_user **p = place(u, x->id);
    MB_ASSERT(*p == x);
    *p = x->next;
    unlink_user(u, x);
    u->counts.cached--;
    u->counts.bytes -= (int64_t)x->bytes;
    free_user(x);
}

static void evict(rec_users *u) {
    while (u->oldest && !u->oldest->taken && (size_t)u->counts.bytes > u->memory) {
        forget(u, u->oldest);
        u->counts.evictions++;
    }
}

static void weigh(rec_users *u, rec_user *x) {
    const size_t now = bytes_of(u, x);
    u->counts.bytes += (int64_t)now - (int64_t)x->bytes;
    x->bytes = now;
}

/* ---- life ---------------------------------------------------------------------------------------------------------*/
int rec_users_create(rec_users **out, rec_store *store, const rec_shape *shape, int64_t memory, mb_err *e) {
    *out = NULL;
    rec_users *u = mb_calloc(1, sizeof *u);
    if (!u)
        return mb_fail(e, MB_NOMEM, "no memory for users' states");
    u->store = store;
    u->shape = *shape;
    u->memory = (size_t)memory;
    u->buckets = 64;
    u->bucket = mb_calloc(u->buckets, sizeof(rec_user *));
    if (getrandom(u->key, sizeof u->key, GRND_NONBLOCK) != (ssize_t)sizeof u->key)
        u->key[0] = (uint64_t)(mb_clock_seconds() * 1e9), u->key[1] = (uint64_t)(uintptr_t)u;
    if (!u->bucket) {
        rec_users_destroy(u);
        return mb_fail(e, MB_NOMEM, "no memory for users' states");
    }
    *out = u;
    return MB_OK;
}

void rec_users_destroy(rec_users *u) {
    if (!u)
        return;
    while (u->oldest)
        forget(u, u->oldest);
    mb_free(u->bucket);
    mb_free(u->taken);
    mb_free(u->change);
    mb_free(u->buffer);
    mb_free(u);
}

int rec_users_room(const rec_users *u) {
    const size_t one = sizeof(rec_user) + SEEN_GUESS + ID_GUESS +
                       ((size_t)u->shape.vector_floats + u->shape.state_floats) * sizeof(float);
    const size_t n = u->memory / one;
    return n < 1 ? 1 : n > 1 << 20 ? 1 << 20 : (int)n;
}

const rec_users_counts *rec_users_count(const rec_users *u) {
    return &u->counts;
}

/* ---- taking -------------------------------------------------------------------------------------------------------*/
static rec_user *new_user(const rec_users *u, rec_id id) {
    const size_t floats = (size_t)u->shape.vector_floats + u->shape.state_floats;
    rec_user *x = mb_calloc(1, sizeof *x + floats * sizeof(float) + (size_t)id.n);
    if (!x)
        return NULL;
    x->r.vector = (float *)(x + 1);
    x->r.state = x->r.vector + u->shape.vector_floats;
    char *text = (char *)(x->r.vector + floats);
    memcpy(text, id.text, (size_t)id.n);
    x->id = (rec_id){text, id.n};
    return x;
}

static int fetch(rec_users *u, rec_id id, rec_user **out, mb_err *e) {
    const void *record;
    size_t n;
    int rc = rec_store_get(u->store, id, &record, &n, e);
    if (rc)
        return rc;
    rec_user *x = new_user(u, id);
    if (!x)
        return mb_fail(e, MB_NOMEM, "no memory for a user's state");
    if (record) {
        rc = rec_record_read(&u->shape, &x->r, id, record, n, e);
        if (rc) {
            free_user(x);
            return mb_err_context(e, "the stored state of this user cannot be used");
        }
        x->stored = 1;
    }
    *out = x;
    return MB_OK;
}

static int add(rec_users *u, rec_id id, rec_user **out, mb_err *e) {
    rec_user *x = NULL;
    int rc = fetch(u, id, &x, e);
    if (rc || !x)
        return rc;
    if ((size_t)u->counts.cached >= u->buckets)
        widen(u);
    x->next = NULL;
    *place(u, id) = x;
    link_newest(u, x);
    u->counts.cached++;
    u->counts.misses++;
    weigh(u, x);
    *out = x;
    return MB_OK;
}

static int note_taken(rec_users *u, rec_user *x, mb_err *e) {
    if (u->n_taken == u->taken_room) {
        const int room = 2 * u->taken_room + 64;
        rec_user **more = mb_realloc_array(u->taken, (size_t)room, sizeof *more);
        if (more)
            u->taken = more;
        rec_store_change *changes = more ? mb_realloc_array(u->change, (size_t)room, sizeof *changes) : NULL;
        if (!changes)
            return mb_fail(e, MB_NOMEM, "no memory for %d users at a time", room);
        u->change = changes;
        u->taken_room = room;
    }
    x->taken = 1;
    x->changed = 0;
    x->first = x->last = -1;
    u->taken[u->n_taken++] = x;
    return MB_OK;
}

int rec_users_take(rec_users *u, rec_id id, rec_user **out, mb_err *e) {
    rec_user *x = *place(u, id);
    int rc = MB_OK;
    *out = NULL;
    if (x && !x->taken) {
        u->counts.hits++;
        unlink_user(u, x);
        link_newest(u, x);
    } else if (!x) {
        rc = add(u, id, &x, e);
    }
    if (!rc && x && !x->taken)
        rc = note_taken(u, x, e);
    evict(u);
    if (!rc)
        *out = x;
    return rc;
}

int rec_users_taken(const rec_users *u, rec_user *const **list) {
    *list = u->taken;
    return u->n_taken;
}

/* ---- committing ---------------------------------------------------------------------------------------------------*/
static int room_for_records(rec_users *u, size_t bytes, mb_err *e) {
    if (bytes <= u->buffer_room)
        return MB_OK;
    unsigned char *more = mb_realloc(u->buffer, bytes + bytes / 4);
    if (!more)
        return mb_fail(e, MB_NOMEM, "no memory for %zu bytes of states to be written", bytes);
    u->buffer = more;
    u->buffer_room = bytes + bytes / 4;
    return MB_OK;
}

/* The changes, in the order in which users were taken; *n of them. */
static int encode(rec_users *u, int threads, int *n, mb_err *e) {
    size_t bytes = 0;
    int count = 0;
    for (int i = 0; i < u->n_taken; i++) {
        rec_user *x = u->taken[i];
        if (!x->changed || (x->r.events == 0 && !x->stored))
            continue;
        x->at = bytes;
        bytes += x->r.events ? rec_record_bytes(&u->shape, &x->r) : 0;
        u->change[count++] = (rec_store_change){x->id, NULL, (size_t)i};
    }
    int rc = room_for_records(u, bytes, e);
    if (rc)
        return rc;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int i = 0; i < count; i++) {
        rec_store_change *c = &u->change[i];
        const rec_user *x = u->taken[c->n];
        c->record = x->r.events ? u->buffer + x->at : NULL;
        c->n = x->r.events ? rec_record_write(&u->shape, &x->r, x->id, u->buffer + x->at) : 0;
    }
    *n = count;
    return MB_OK;
}

static void let_go(rec_users *u, int committed) {
    for (int i = 0; i < u->n_taken; i++) {
        rec_user *x = u->taken[i];
        x->taken = 0;
        if (x->changed && !committed) {
            forget(u, x);
            continue;
        }
        if (x->changed)
            x->stored = x->r.events > 0;
        weigh(u, x);
    }
    u->n_taken = 0;
    evict(u);
}

void rec_users_abandon(rec_users *u) {
    let_go(u, 0);
}

int rec_users_commit(rec_users *u, int threads, mb_err *e) {
    const double start = mb_clock_seconds();
    int n = 0;
    int rc = encode(u, threads, &n, e);
    if (!rc && n > 0) {
        rc = rec_store_commit(u->store, u->change, n, e);
        u->counts.commits += rc == MB_OK;
        u->counts.committed += rc == MB_OK ? n : 0;
    }
    let_go(u, rc == MB_OK);
    u->counts.commit_seconds += mb_clock_seconds() - start;
    return rc;
}
