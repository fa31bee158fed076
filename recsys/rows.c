/* See rows.h. Refuses (as malformed rows) text behind a closing quote and more than 4096 fields; a quote that is not
 * closed within 1 MiB ends the reading. */
#include "recsys/rows.h"

#include <inttypes.h>
#include <string.h>

#include "core/mem.h"

enum { MOST_FIELDS = 4096, QUOTED_MAX = 1 << 20 };

int rec_rows_open(rec_rows *r, rec_text *t, rec_format format, char delimiter, mb_err *e) {
    *r = (rec_rows){.t = t, .format = format, .delimiter = delimiter};
    r->field = mb_malloc(MOST_FIELDS * sizeof *r->field);
    return r->field ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory for its fields", t->name);
}

void rec_rows_close(rec_rows *r) {
    mb_free(r->field);
    *r = (rec_rows){0};
}

/* Splits at "::". */
static void split_colons(rec_rows *r, const char *p, const char *end) {
    r->n = 0;
    while (r->n < MOST_FIELDS) {
        const char *stop = p < end ? memmem(p, (size_t)(end - p), "::", 2) : NULL;
        r->field[r->n++] = (rec_span){p, (size_t)((stop ? stop : end) - p)};
        if (!stop)
            return;
        p = stop + 2;
    }
    r->wrong = "has too many fields";
}

static void split_plain(rec_rows *r, const char *p, const char *end) {
    r->n = 0;
    while (r->n < MOST_FIELDS) {
        const char *stop = p < end ? memchr(p, r->delimiter, (size_t)(end - p)) : NULL;
        r->field[r->n++] = (rec_span){p, (size_t)((stop ? stop : end) - p)};
        if (!stop)
            return;
        p = stop + 1;
    }
    r->wrong = "has too many fields";
}

/* The field in quotes that begins at p, its doubled quotes made single in place. Returns what follows its closing
 * quote, or NULL when that is not in [p, end). */
static char *take_quoted(char *p, const char *end, rec_span *field) {
    char *to = ++p;
    field->at = to;
    while (p < end) {
        if (*p != '"') {
            *to++ = *p++;
        } else if (p + 1 < end && p[1] == '"') {
            *to++ = '"';
            p += 2;
        } else {
            field->n = (size_t)(to - field->at);
            return p + 1;
        }
    }
    return NULL;
}

typedef struct scan { /* of a row, which may go on in the next line */
    size_t at;
    int quoted, start; /* within a field in quotes; at the beginning of a field */
} scan;

/* Goes on to the end of the row's n bytes; whether a field in quotes is open there. Each byte is looked at once,
 * however many lines there are. */
static int is_open(scan *s, const char *text, size_t n, char delimiter) {
    for (; s->at < n; s->at++) {
        const char c = text[s->at];
        if (s->quoted) {
            if (c == '"' && s->at + 1 < n && text[s->at + 1] == '"')
                s->at++;
            else if (c == '"')
                s->quoted = 0;
        } else if (c == '"' && s->start) {
            s->quoted = 1;
            s->start = 0;
        } else {
            s->start = c == delimiter;
        }
    }
    return s->quoted;
}

static void split_quoted(rec_rows *r, char *p, const char *end) {
    r->n = 0;
    while (r->n < MOST_FIELDS) {
        rec_span *f = &r->field[r->n++];
        const char *stop;
        if (p < end && *p == '"') {
            char *next = take_quoted(p, end, f);
            if (!next || (next < end && *next != r->delimiter)) {
                r->wrong = "has text behind a closing quote";
                return;
            }
            stop = next < end ? next : NULL;
        } else {
            stop = p < end ? memchr(p, r->delimiter, (size_t)(end - p)) : NULL;
            *f = (rec_span){p, (size_t)((stop ? stop : end) - p)};
        }
        if (!stop)
            return;
        p += stop + 1 - p;
    }
    r->wrong = "has too many fields";
}

int rec_rows_next(rec_rows *r, int *more, mb_err *e) {
    char *text;
    size_t n;
    int rc;
    do
        rc = rec_text_line(r->t, &text, &n, e);
    while (rc == MB_OK && text && n == 0); /* empty lines */
    *more = text != NULL;
    r->wrong = NULL;
    if (rc != MB_OK || !text)
        return rc;
    if (r->format == REC_FORMAT_MOVIELENS) {
        split_colons(r, text, text + n);
        return MB_OK;
    }
    if (r->format == REC_FORMAT_INTER || !memchr(text, '"', n)) {
        split_plain(r, text, text + n);
        return MB_OK;
    }
    scan s = {.start = 1};
    while (is_open(&s, text, n, r->delimiter)) {
        int joined = 0;
        if (n <= QUOTED_MAX)
            rc = rec_text_join(r->t, &text, &n, &joined, e);
        if (rc != MB_OK)
            return rc;
        if (!joined)
            return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": a quote that opens in this line is never closed", r->t->name,
                           r->t->line);
    }
    split_quoted(r, text, text + n);
    return MB_OK;
}

int rec_rows_is_atomic(rec_span line) {
    static const char *const TYPE[] = {"token", "token_seq", "float", "float_seq"};
    const char *p = line.at, *end = line.at + line.n;
    for (;;) {
        const char *tab = p < end ? memchr(p, '\t', (size_t)(end - p)) : NULL;
        const char *stop = tab ? tab : end, *colon = memrchr(p, ':', (size_t)(stop - p));
        int typed = 0;
        for (int k = 0; colon && k < 4; k++)
            typed |= (size_t)(stop - colon - 1) == strlen(TYPE[k]) && memcmp(colon + 1, TYPE[k], strlen(TYPE[k])) == 0;
        if (!typed || !tab)
            return typed;
        p = tab + 1;
    }
}

int rec_rows_header(rec_rows *r, mb_err *e) {
    int more = 1;
    int rc = rec_rows_next(r, &more, e);
    if (rc == MB_OK && (!more || r->wrong))
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": its first line %s", r->t->name, r->t->line,
                       more ? r->wrong : "is missing");
    for (int i = 0; rc == MB_OK && r->format == REC_FORMAT_INTER && i < r->n; i++) {
        const char *colon = memrchr(r->field[i].at, ':', r->field[i].n);
        if (colon)
            r->field[i].n = (size_t)(colon - r->field[i].at);
    }
    return rc;
}
