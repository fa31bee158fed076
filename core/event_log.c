/* Metrics as JSON lines and TensorBoard events. See event_log.h. */
#include "core/event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json_guard.h"
#include "core/mem.h"

struct mb_event_log {
    FILE *lines, *events;
    char *lines_path, *events_path;
};

enum { LINES_BYTES = 1 << 30, NAME = 160 };

/* ---- records of TensorBoard -----------------------------------------------------------------------------------------
 */

uint32_t mb_crc32c(const void *data, size_t n) {
    const unsigned char *p = data;
    uint32_t crc = 0xffffffffU;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0x82f63b78U & (0U - (crc & 1)));
    }
    return ~crc;
}

typedef struct bytes {
    unsigned char at[2 * NAME + 64];
    size_t n;
} bytes;

static void put(bytes *b, const void *data, size_t n) {
    MB_ASSERT(b->n + n <= sizeof b->at);
    memcpy(b->at + b->n, data, n);
    b->n += n;
}

static void put_little(bytes *b, uint64_t v, int n) {
    for (int i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)(v >> 8 * i);
        put(b, &c, 1);
    }
}

static void put_varint(bytes *b, uint64_t v) {
    for (; v >= 128; v >>= 7)
        put_little(b, (v & 127) | 128, 1);
    put_little(b, v, 1);
}

static void put_double(bytes *b, int field, double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_varint(b, (uint64_t)field << 3 | 1);
    put_little(b, bits, 8);
}

static void put_nested(bytes *b, int field, const void *data, size_t n) {
    put_varint(b, (uint64_t)field << 3 | 2);
    put_varint(b, n);
    put(b, data, n);
}

static int write_record(mb_event_log *l, const bytes *event) {
    bytes head = {0}, tail = {0};
    uint32_t crc;
    put_little(&head, event->n, 8);
    crc = mb_crc32c(head.at, 8);
    put_little(&head, ((crc >> 15 | crc << 17) + 0xa282ead8U) & 0xffffffffU, 4);
    crc = mb_crc32c(event->at, event->n);
    put_little(&tail, ((crc >> 15 | crc << 17) + 0xa282ead8U) & 0xffffffffU, 4);
    return fwrite(head.at, head.n, 1, l->events) == 1 && fwrite(event->at, event->n, 1, l->events) == 1 &&
           fwrite(tail.at, tail.n, 1, l->events) == 1;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Event{wall_time=1, file_version=3}, and after a resumption Event{wall_time=1, step=2,
 * session_log=7{status=1{START=1}}}, on which TensorBoard forgets what other files say of this step and later ones. */
static int write_beginning(mb_event_log *l, int64_t step) {
    static const char version[] = "brain.Event:2";
    bytes event = {0}, start = {0}, status = {0};
    put_double(&event, 1, now());
    put_nested(&event, 3, version, sizeof version - 1);
    if (!write_record(l, &event))
        return 0;
    if (step < 1)
        return 1;
    put_double(&start, 1, now());
    put_varint(&start, 2 << 3);
    put_varint(&start, (uint64_t)step + 1);
    put_varint(&status, 1 << 3);
    put_varint(&status, 1);
    put_nested(&start, 7, status.at, status.n);
    return write_record(l, &start);
}

/* Event{wall_time=1, step=2, summary=5{value=1{tag=1, simple_value=2}}} */
static int write_scalar(mb_event_log *l, int64_t step, const char *kind, const mb_event_value *v) {
    char tag[NAME];
    bytes value = {0}, summary = {0}, event = {0};
    const float f = (float)v->value;
    uint32_t bits;
    snprintf(tag, sizeof tag, "%s/%s", kind, v->name);
    memcpy(&bits, &f, sizeof bits);
    put_nested(&value, 1, tag, strlen(tag));
    put_varint(&value, 2 << 3 | 5);
    put_little(&value, bits, 4);
    put_nested(&summary, 1, value.at, value.n);
    put_double(&event, 1, now());
    put_varint(&event, 2 << 3);
    put_varint(&event, (uint64_t)step);
    put_nested(&event, 5, summary.at, summary.n);
    return write_record(l, &event);
}

/* ---- JSON lines -----------------------------------------------------------------------------------------------------
 */

/* Bytes of the whole lines at the beginning whose step is not beyond `step`. */
static size_t lines_until(const char *text, size_t size, int64_t step) {
    size_t keep = 0;
    while (keep < size) {
        const char *end = memchr(text + keep, '\n', size - keep);
        json_t *line = end ? json_loadb(text + keep, (size_t)(end - text) - keep, 0, NULL) : NULL;
        const json_t *at = json_object_get(line, "step");
        const int good = json_is_integer(at) && (step < 0 || (int64_t)json_integer_value(at) <= step);
        json_decref(line);
        if (!good)
            break;
        keep = (size_t)(end - text) + 1;
    }
    return keep;
}

/* The lock keeps a second process from the same folder; file systems without locks go without. */
static int open_lines(mb_event_log *l, int64_t step, mb_err *e) {
    char *text = NULL;
    size_t size = 0;
    l->lines = fopen(l->lines_path, "ae");
    if (!l->lines)
        return mb_fail_errno(e, MB_IO, "%s", l->lines_path);
    if (flock(fileno(l->lines), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return mb_fail(e, MB_IO, "%s: another process is training into this folder", l->lines_path);
    int rc = mb_file_read_all(l->lines_path, LINES_BYTES, &text, &size, e);
    if (rc != MB_OK)
        return rc;
    const size_t keep = lines_until(text, size, step);
    mb_free(text);
    if (keep < size && ftruncate(fileno(l->lines), (off_t)keep) != 0)
        return mb_fail_errno(e, MB_IO, "%s: cannot be cut back to step %lld", l->lines_path, (long long)step);
    return MB_OK;
}

static int failed(const char *path, mb_err *e) {
    return mb_fail_errno(e, MB_IO, "%s: cannot be written", path);
}

int mb_event_log_open(mb_event_log **out, const char *dir, int64_t step, int tensorboard, mb_err *e) {
    char host[128] = "localhost";
    mb_json_use_heap();
    mb_event_log *l = mb_calloc(1, sizeof *l);
    *out = NULL;
    if (!l)
        return mb_fail(e, MB_NOMEM, "no memory for the log of metrics");
    (void)gethostname(host, sizeof host - 1);
    l->lines_path = mb_path_join(dir, "metrics.jsonl");
    l->events_path = mb_asprintf("%s/events.out.tfevents.%010lld.%s.%ld", dir, (long long)now(), host, (long)getpid());
    int rc = l->lines_path && l->events_path ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for the log of metrics");
    if (rc == MB_OK)
        rc = open_lines(l, step, e);
    if (rc == MB_OK && tensorboard && !(l->events = fopen(l->events_path, "abe")))
        rc = mb_fail_errno(e, MB_IO, "%s", l->events_path);
    if (rc == MB_OK && l->events && !write_beginning(l, step))
        rc = failed(l->events_path, e);
    if (rc != MB_OK) {
        const int closed = mb_event_log_close(l, NULL);
        (void)closed;
        return rc;
    }
    *out = l;
    return MB_OK;
}

static json_t *number(const mb_event_value *v) {
    if (!isfinite(v->value))
        return json_null();
    return v->whole ? json_integer((json_int_t)v->value) : json_real(v->value);
}

int mb_event_log_write(mb_event_log *l, int64_t step, const char *kind, const mb_event_value *v, int n, mb_err *e) {
    json_t *record = json_pack("{s:I, s:s, s:f}", "step", (json_int_t)step, "kind", kind, "time", now());
    int whole = record != NULL;
    for (int i = 0; i < n && whole; i++)
        whole = json_object_set_new(record, v[i].name, number(&v[i])) == 0;
    char *line = whole ? json_dumps(record, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(13)) : NULL;
    json_decref(record);
    if (!line)
        return mb_fail(e, MB_NOMEM, "no memory for a line of metrics");
    const int written = fprintf(l->lines, "%s\n", line) >= 0 && fflush(l->lines) == 0;
    mb_free(line);
    if (!written)
        return failed(l->lines_path, e);
    for (int i = 0; i < n && l->events; i++)
        if (!write_scalar(l, step, kind, &v[i]))
            return failed(l->events_path, e);
    return MB_OK;
}

static int sync_one(FILE *f, const char *path, mb_err *e) {
    return !f || (fflush(f) == 0 && fsync(fileno(f)) == 0) ? MB_OK : failed(path, e);
}

int mb_event_log_sync(mb_event_log *l, mb_err *e) {
    int rc = sync_one(l->lines, l->lines_path, e);
    return rc == MB_OK ? sync_one(l->events, l->events_path, e) : rc;
}

int mb_event_log_close(mb_event_log *l, mb_err *e) {
    if (!l)
        return MB_OK;
    int rc = mb_event_log_sync(l, e);
    if (l->lines && fclose(l->lines) != 0 && rc == MB_OK)
        rc = failed(l->lines_path, e);
    if (l->events && fclose(l->events) != 0 && rc == MB_OK)
        rc = failed(l->events_path, e);
    mb_free(l->lines_path);
    mb_free(l->events_path);
    mb_free(l);
    return rc;
}
