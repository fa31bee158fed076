/* See record.h. */
#include "recsys/record.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/mem.h"

enum { HEAD = 48, CRC_AT = 4, TAG_AT = 8, VARINT_MOST = 5, HAS_TIME = 1 };
static const uint32_t MAGIC = 0x31535552; /* "RUS1" */

static size_t floats_bytes(const rec_shape *s) {
    return ((size_t)s->vector_floats + s->state_floats) * sizeof(float);
}

static uint32_t checksum(rec_id user, const unsigned char *from, size_t n) {
    uLong crc = crc32_z(0, (const Bytef *)user.text, (size_t)user.n);
    return (uint32_t)crc32_z(crc, from, n);
}

size_t rec_record_bytes(const rec_shape *s, const rec_record *r) {
    return HEAD + floats_bytes(s) + (size_t)r->n_seen * VARINT_MOST;
}

static void put(unsigned char *to, const void *v, size_t n) {
    memcpy(to, v, n);
}

size_t rec_record_write(const rec_shape *s, const rec_record *r, rec_id user, void *to) {
    unsigned char *const base = to, *p = base + HEAD;
    const uint32_t flags = r->has_time ? HAS_TIME : 0, seen = (uint32_t)r->n_seen;
    put(base, &MAGIC, 4);
    put(base + TAG_AT, &s->tag, 8);
    put(base + 16, &r->events, 8);
    put(base + 24, &r->last_time, 8);
    put(base + 32, &flags, 4);
    put(base + 36, &s->vector_floats, 4);
    put(base + 40, &s->state_floats, 4);
    put(base + 44, &seen, 4);
    memcpy(p, r->vector, s->vector_floats * sizeof(float));
    p += s->vector_floats * sizeof(float);
    memcpy(p, r->state, s->state_floats * sizeof(float));
    p += s->state_floats * sizeof(float);
    for (int64_t i = 0; i < r->n_seen; i++) {
        uint32_t d = (uint32_t)(r->seen[i] - (i ? r->seen[i - 1] : 0));
        for (; d >= 128; d >>= 7)
            *p++ = (unsigned char)(d | 128);
        *p++ = (unsigned char)d;
    }
    const uint32_t crc = checksum(user, base + TAG_AT, (size_t)(p - base) - TAG_AT);
    put(base + CRC_AT, &crc, 4);
    return (size_t)(p - base);
}

int rec_record_reserve(rec_record *r, int64_t n, mb_err *e) {
    if (n <= r->room)
        return MB_OK;
    const int64_t room = n + n / 2 + 16;
    int32_t *more = mb_realloc_array(r->seen, (size_t)room, sizeof *more);
    if (!more)
        return mb_fail(e, MB_NOMEM, "no memory for the %lld items that a user has seen", (long long)n);
    r->seen = more;
    r->room = room;
    return MB_OK;
}

/* The seen items: exactly the bytes [p, end), ascending, within the model's items. */
static int read_seen(int32_t items, rec_record *r, uint32_t n, const unsigned char *p, const unsigned char *end,
                     mb_err *e) {
    if (n > (size_t)(end - p)) /* a byte each at least: nothing is allocated for a number that cannot be */
        return mb_fail(e, MB_FORMAT, "%u seen items in %zu bytes", n, (size_t)(end - p));
    int rc = rec_record_reserve(r, n, e);
    if (rc)
        return rc;
    uint64_t last = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t d = 0;
        int shift = 0, more = 1;
        for (; more && p < end && shift < 7 * VARINT_MOST; shift += 7, p++) {
            d |= (uint64_t)(*p & 127) << shift;
            more = *p & 128;
        }
        last += d;
        if (more || d == 0 || last > (uint64_t)items)
            return mb_fail(e, MB_FORMAT, "seen item %u is not of this model", i);
        r->seen[i] = (int32_t)last;
    }
    r->n_seen = n;
    return p == end ? MB_OK : mb_fail(e, MB_FORMAT, "%zu bytes follow its end", (size_t)(end - p));
}

static uint32_t u32(const unsigned char *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static int read_counts(rec_record *r, rec_id user, const unsigned char *p, size_t n, mb_err *e) {
    r->n_seen = 0;
    if (n < HEAD)
        return mb_fail(e, MB_FORMAT, "its %zu bytes are fewer than a state has", n);
    if (u32(p) != MAGIC)
        return mb_fail(e, MB_FORMAT, "it does not begin as a state does");
    if (u32(p + CRC_AT) != checksum(user, p + TAG_AT, n - TAG_AT))
        return mb_fail(e, MB_FORMAT, "its checksum is wrong: it is damaged");
    memcpy(&r->events, p + 16, sizeof r->events);
    memcpy(&r->last_time, p + 24, sizeof r->last_time);
    r->has_time = (int)(u32(p + 32) & HAS_TIME);
    if (r->events <= 0 || (u32(p + 32) & ~(uint32_t)HAS_TIME))
        return mb_fail(e, MB_FORMAT, "it counts %lld events", (long long)r->events);
    return MB_OK;
}

int rec_record_read(const rec_shape *s, rec_record *r, rec_id user, const void *data, size_t n, mb_err *e) {
    const unsigned char *const p = data;
    uint64_t tag;
    int rc = read_counts(r, user, p, n, e);
    if (rc)
        return rc;
    memcpy(&tag, p + TAG_AT, sizeof tag);
    if (tag != s->tag || u32(p + 36) != s->vector_floats || u32(p + 40) != s->state_floats)
        return mb_fail(e, MB_FORMAT, "it is of another model");
    if (n < HEAD + floats_bytes(s))
        return mb_fail(e, MB_FORMAT, "its %zu bytes are fewer than a state has (%zu)", n, HEAD + floats_bytes(s));
    memcpy(r->vector, p + HEAD, s->vector_floats * sizeof(float));
    memcpy(r->state, p + HEAD + s->vector_floats * sizeof(float), s->state_floats * sizeof(float));
    return read_seen(s->items, r, u32(p + 44), p + HEAD + floats_bytes(s), p + n, e);
}

int rec_record_peek(rec_record *r, rec_id user, const void *data, size_t n, mb_err *e) {
    const unsigned char *const p = data;
    int rc = read_counts(r, user, p, n, e);
    if (rc)
        return rc;
    const uint64_t floats = ((uint64_t)u32(p + 36) + u32(p + 40)) * sizeof(float);
    if (n < HEAD + floats)
        return mb_fail(e, MB_FORMAT, "its %zu bytes are fewer than a state has", n);
    return read_seen(INT32_MAX, r, u32(p + 44), p + HEAD + floats, p + n, e);
}

void rec_record_clear(const rec_shape *s, rec_record *r) {
    r->events = r->last_time = r->n_seen = 0;
    r->has_time = 0;
    memset(r->vector, 0, s->vector_floats * sizeof(float));
    memset(r->state, 0, s->state_floats * sizeof(float));
}

/* The first place whose item is not smaller. */
static int64_t place(const rec_record *r, int32_t item) {
    int64_t low = 0, high = r->n_seen;
    while (low < high) {
        const int64_t mid = (low + high) / 2;
        if (r->seen[mid] < item)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

int rec_record_has(const rec_record *r, int32_t item) {
    const int64_t at = place(r, item);
    return at < r->n_seen && r->seen[at] == item;
}

int rec_record_add(rec_record *r, int32_t item, mb_err *e) {
    const int64_t at = place(r, item);
    if (at < r->n_seen && r->seen[at] == item)
        return MB_OK;
    int rc = rec_record_reserve(r, r->n_seen + 1, e);
    if (rc)
        return rc;
    memmove(r->seen + at + 1, r->seen + at, (size_t)(r->n_seen - at) * sizeof *r->seen);
    r->seen[at] = item;
    r->n_seen++;
    return MB_OK;
}

static int ascending(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

int rec_record_add_all(rec_record *r, const int32_t *item, int64_t n, mb_err *e) {
    int64_t kept = 0;
    int rc = rec_record_reserve(r, r->n_seen + n, e);
    if (rc || n == 0)
        return rc;
    memcpy(r->seen + r->n_seen, item, (size_t)n * sizeof *item);
    n += r->n_seen;
    qsort(r->seen, (size_t)n, sizeof *r->seen, ascending);
    for (int64_t i = 0; i < n; i++)
        if (kept == 0 || r->seen[i] != r->seen[kept - 1])
            r->seen[kept++] = r->seen[i];
    r->n_seen = kept;
    return MB_OK;
}
