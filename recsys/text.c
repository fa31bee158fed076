/* See text.h. Refuses zero bytes (no text holds them) and lines beyond REC_TEXT_MAX_LINE. */
#include "recsys/text.h"

#include <inttypes.h>
#include <string.h>

#include "core/mem.h"

enum { FIRST_ROOM = 512 * 1024 };

int rec_text_open(rec_text *t, const char *path, mb_err *e) {
    *t = (rec_text){.name = strcmp(path, "-") == 0 ? "standard input" : path};
    int rc = rec_unpack_open(&t->source, path, e);
    if (rc != MB_OK)
        return rc;
    t->room = FIRST_ROOM;
    t->buffer = mb_malloc(t->room);
    if (!t->buffer) {
        rec_text_close(t);
        return mb_fail(e, MB_NOMEM, "%s: no memory to read it", path);
    }
    return MB_OK;
}

void rec_text_close(rec_text *t) {
    rec_unpack_close(t->source);
    mb_free(t->buffer);
    *t = (rec_text){0};
}

/* More bytes behind end; what lies before keep is forgotten. */
static int more(rec_text *t, size_t keep, mb_err *e) {
    if (keep) {
        memmove(t->buffer, t->buffer + keep, t->end - keep);
        t->at -= keep;
        t->end -= keep;
        t->line_at = t->line_at > keep ? t->line_at - keep : 0;
    }
    if (t->end == t->room) {
        char *bigger = t->room >= 2 * REC_TEXT_MAX_LINE ? NULL : mb_realloc(t->buffer, t->room * 2);
        if (!bigger)
            return mb_fail(e, MB_NOMEM, "%s:%" PRId64 ": no memory for a line of more than %zu bytes", t->name,
                           t->line + 1, t->room);
        t->buffer = bigger;
        t->room *= 2;
    }
    size_t got;
    int rc = rec_unpack_read(t->source, t->buffer + t->end, t->room - t->end, &got, e);
    if (rc != MB_OK)
        return rc;
    t->end += got;
    t->ended = got == 0;
    return MB_OK;
}

int rec_text_peek(rec_text *t, size_t want, const char **text, size_t *n, mb_err *e) {
    int rc = MB_OK;
    while (rc == MB_OK && t->end - t->at < want && !t->ended)
        rc = more(t, t->at, e);
    *text = t->buffer + t->at;
    *n = t->end - t->at;
    return rc;
}

/* Finds the LF that ends the line beginning at from (relative to keep, which is 0 or the line's own beginning). */
static int find_end(rec_text *t, size_t *from, size_t *stop, mb_err *e) {
    size_t seen = *from;
    for (;;) {
        const char *nl = seen < t->end ? memchr(t->buffer + seen, '\n', t->end - seen) : NULL;
        if (nl || t->ended) {
            *stop = nl ? (size_t)(nl - t->buffer) : t->end;
            return MB_OK;
        }
        if (t->end - t->line_at > REC_TEXT_MAX_LINE)
            return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": a line of more than %zu MiB; is this a log?", t->name,
                           t->line, REC_TEXT_MAX_LINE >> 20);
        seen = t->end;
        const size_t keep = t->line_at;
        int rc = more(t, keep, e);
        if (rc != MB_OK)
            return rc;
        seen -= keep;
        *from -= keep;
    }
}

static int refuse_zeros(rec_text *t, const char *text, size_t n, mb_err *e) {
    const char *zero = memchr(text, 0, n);
    return zero ? mb_fail(e, MB_FORMAT,
                          "%s:%" PRId64 ":%zu: holds a zero byte: this is no text (or UTF-16: save it "
                          "as UTF-8)",
                          t->name, t->line, (size_t)(zero - text) + 1)
                : MB_OK;
}

static void give_out(rec_text *t, size_t stop, char **text, size_t *n) {
    t->at = stop < t->end ? stop + 1 : stop;
    *text = t->buffer + t->line_at;
    *n = stop - t->line_at;
    if (*n && (*text)[*n - 1] == '\r')
        --*n;
}

int rec_text_line(rec_text *t, char **text, size_t *n, mb_err *e) {
    *text = NULL;
    *n = 0;
    t->line += t->lines_in_row ? t->lines_in_row : 1;
    t->lines_in_row = 1;
    if (t->line == 1) {
        const char *start;
        size_t have;
        int rc = rec_text_peek(t, 3, &start, &have, e);
        if (rc != MB_OK)
            return rc;
        if (have >= 3 && memcmp(start, "\xef\xbb\xbf", 3) == 0)
            t->at += 3;
    }
    t->line_at = t->at;
    size_t from = t->at, stop;
    int rc = find_end(t, &from, &stop, e);
    if (rc != MB_OK || (stop == t->line_at && stop == t->end))
        return rc;
    give_out(t, stop, text, n);
    return refuse_zeros(t, *text, *n, e);
}

int rec_text_join(rec_text *t, char **text, size_t *n, int *joined, mb_err *e) {
    size_t from = t->at, stop;
    *joined = 0;
    int rc = find_end(t, &from, &stop, e);
    if (rc != MB_OK)
        return rc;
    if (from == t->end && t->ended) {
        *text = t->buffer + t->line_at;
        return MB_OK;
    }
    const size_t start = from - t->line_at;
    *joined = 1;
    t->lines_in_row++;
    give_out(t, stop, text, n);
    return refuse_zeros(t, *text + start, *n > start ? *n - start : 0, e);
}
