/* See names.h. Refuses more than 2^31 - 2 identifiers of a kind. */
#include "recsys/names.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

enum { FIRST_ROOM = 1024 };
static const int32_t MOST = INT32_MAX - 1;

/* Eight bytes at a time through 64x64 -> 128 bit products whose halves are folded, as wyhash does. */
static uint64_t fold(uint64_t a, uint64_t b) {
    __extension__ typedef unsigned __int128 wide;
    const wide p = (wide)a * b;
    return (uint64_t)(p >> 64) ^ (uint64_t)p;
}

static uint64_t hash(const char *text, size_t n) {
    const uint64_t K1 = 0x9e3779b97f4a7c15u, K2 = 0xd6e8feb86659fd93u;
    uint64_t h = K2 ^ (n * K1), w = 0;
    for (; n >= 8; n -= 8, text += 8) {
        memcpy(&w, text, 8);
        h = fold(h ^ w, K1);
    }
    w = 0;
    if (n)
        memcpy(&w, text, n);
    return fold(fold(h ^ w, K1) ^ K1, K2);
}

int64_t rec_slots(int64_t n) {
    int64_t slots = 8;
    while (slots < 2 * n)
        slots *= 2;
    return slots;
}

static void put(uint64_t *slot, uint64_t mask, uint64_t h, int32_t number) {
    uint64_t i = h & mask;
    while (slot[i])
        i = (i + 1) & mask;
    slot[i] = (h & 0xffffffff00000000u) | (uint32_t)(number + 1);
}

void rec_table_index(const rec_table *t, uint64_t *slot) {
    const uint64_t mask = (uint64_t)rec_slots(t->n) - 1;
    for (int32_t i = 0; i < t->n; i++)
        put(slot, mask, hash(t->text + t->at[i], (size_t)(t->at[i + 1] - t->at[i])), i);
}

static int32_t find(const rec_table *t, uint64_t h, const char *text, int64_t n) {
    const uint64_t slots = (uint64_t)rec_slots(t->n), mask = slots - 1;
    for (uint64_t i = h & mask, tries = 0; tries < slots && t->slot[i]; i = (i + 1) & mask, tries++) {
        const int64_t number = (int64_t)(t->slot[i] & 0xffffffffu) - 1;
        if (t->slot[i] >> 32 != h >> 32 || number < 0 || number >= t->n)
            continue;
        if (t->at[number + 1] - t->at[number] == n && memcmp(t->text + t->at[number], text, (size_t)n) == 0)
            return (int32_t)number;
    }
    return -1;
}

int32_t rec_table_find(const rec_table *t, const char *text, int64_t n) {
    return t->n && n >= 0 ? find(t, hash(text, (size_t)n), text, n) : -1;
}

int rec_table_digest(const rec_table *t, char *hex, mb_err *e) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    hex[0] = '\0';
    if (!ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL)) {
        EVP_MD_CTX_free(ctx);
        return mb_fail(e, MB_NOMEM, "no memory for a digest");
    }
    for (int32_t i = 0; i < t->n; i++) {
        const uint32_t n = (uint32_t)(t->at[i + 1] - t->at[i]);
        const unsigned char length[4] = {(unsigned char)n, (unsigned char)(n >> 8), (unsigned char)(n >> 16),
                                         (unsigned char)(n >> 24)};
        EVP_DigestUpdate(ctx, length, sizeof length);
        EVP_DigestUpdate(ctx, t->text + t->at[i], n);
    }
    EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * (size_t)i, 3, "%02x", digest[i]);
    return MB_OK;
}

size_t rec_names_bytes(const rec_names *t) {
    return (size_t)t->room * sizeof *t->at + (size_t)t->text_room + (size_t)t->slots * sizeof *t->slot;
}

static int no_memory(const rec_names *t, const char *what, mb_err *e) {
    return mb_fail(e, MB_NOMEM, "no memory for the identifiers of more than %d %ss", t->n, what);
}

typedef struct wanted { /* an identifier and where its search begins */
    const char *text;
    size_t n;
    uint64_t hash, key;
} wanted;

static wanted want(const char *text, size_t n) {
    wanted w = {.text = text, .n = n, .hash = hash(text, n)};
    if (n <= sizeof w.key)
        memcpy(&w.key, text, n);
    else
        w.key = w.hash;
    return w;
}

/* The slot that holds it, or the empty one where it belongs. */
static rec_name_slot *search(const rec_names *t, const wanted *w) {
    const uint64_t mask = (uint64_t)t->slots - 1;
    for (uint64_t i = w->hash & mask;; i = (i + 1) & mask) {
        rec_name_slot *s = &t->slot[i];
        if (!s->number || (s->key == w->key && (size_t)s->bytes == w->n &&
                           (w->n <= sizeof w->key || memcmp(t->text + t->at[s->number - 1], w->text, w->n) == 0)))
            return s;
    }
}

static int grow_slots(rec_names *t, const char *what, mb_err *e) {
    const int64_t slots = rec_slots(t->room);
    rec_name_slot *slot = mb_calloc((size_t)slots, sizeof *slot);
    if (!slot)
        return no_memory(t, what, e);
    mb_free(t->slot);
    t->slot = slot;
    t->slots = slots;
    for (int32_t k = 0; k < t->n; k++) {
        const wanted w = want(t->text + t->at[k], (size_t)(t->at[k + 1] - t->at[k]));
        *search(t, &w) = (rec_name_slot){w.key, k + 1, (int32_t)w.n};
    }
    return MB_OK;
}

static int make_room(rec_names *t, size_t n, const char *what, mb_err *e) {
    if (t->n >= MOST)
        return mb_fail(e, MB_RANGE, "more than %d different %ss", MOST, what);
    if (t->n + 1 >= t->room) {
        const int64_t room = t->room ? 2 * t->room : FIRST_ROOM;
        int64_t *at = mb_realloc_array(t->at, (size_t)room + 1, sizeof *at);
        if (!at)
            return no_memory(t, what, e);
        if (!t->at)
            at[0] = 0;
        t->at = at;
        t->room = room;
    }
    if (rec_slots(t->room) > t->slots) {
        int rc = grow_slots(t, what, e);
        if (rc != MB_OK)
            return rc;
    }
    if (!t->text || t->at[t->n] + (int64_t)n > t->text_room) { /* an empty identifier needs a place, too */
        const int64_t room = 2 * t->text_room + (int64_t)n + FIRST_ROOM;
        char *text = mb_realloc(t->text, (size_t)room);
        if (!text)
            return no_memory(t, what, e);
        t->text = text;
        t->text_room = room;
    }
    return MB_OK;
}

int32_t rec_names_find(const rec_names *t, const char *text, size_t n) {
    const wanted w = want(text, n);
    return t->n ? search(t, &w)->number - 1 : -1;
}

int rec_names_add(rec_names *t, const char *text, size_t n, const char *what, int32_t *number, mb_err *e) {
    const wanted w = want(text, n);
    if (t->n) {
        *number = search(t, &w)->number - 1;
        if (*number >= 0)
            return MB_OK;
    }
    int rc = make_room(t, n, what, e);
    if (rc != MB_OK)
        return rc;
    memcpy(t->text + t->at[t->n], text, n);
    t->at[t->n + 1] = t->at[t->n] + (int64_t)n;
    *search(t, &w) = (rec_name_slot){w.key, t->n + 1, (int32_t)n};
    *number = t->n++;
    return MB_OK;
}

void rec_names_free(rec_names *t) {
    mb_free(t->at);
    mb_free(t->text);
    mb_free(t->slot);
    *t = (rec_names){0};
}
