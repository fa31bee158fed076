/* Tables: CSV as RFC 4180 (quotes double within quoted fields, which may hold line ends), TSV, RecBole's .inter (tabs,
 * a typed header, no quotes) and MovieLens' `::`. Refuses (as malformed rows) another number of fields than the first
 * line has, text behind a closing quote, empty and unreadable numbers; a quote that is never closed ends the reading.
 */
#include <inttypes.h>
#include <string.h>

#include "core/mem.h"
#include "recsys/intake.h"

enum { MOST_FIELDS = 4096, QUOTED_MAX = 1 << 20 };

typedef struct reader {
    rec_intake *in;
    rec_text *t;
    const rec_layout *l;
    rec_span *field; /* (MOST_FIELDS) */
    int n, expected; /* fields of this row, of every row (0: not known yet) */
    const char *wrong;
} reader;

/* Splits at "::". */
static void split_colons(reader *r, const char *p, const char *end) {
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

static void split_plain(reader *r, const char *p, const char *end) {
    r->n = 0;
    while (r->n < MOST_FIELDS) {
        const char *stop = p < end ? memchr(p, r->l->delimiter, (size_t)(end - p)) : NULL;
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

/* Whether the last quote of [p, end) is open: in the middle of a field in quotes. */
static int is_open(const char *p, const char *end, char delimiter) {
    int quoted = 0, start = 1;
    for (; p < end; p++) {
        if (quoted) {
            if (*p == '"' && p + 1 < end && p[1] == '"')
                p++;
            else if (*p == '"')
                quoted = 0;
        } else if (*p == '"' && start) {
            quoted = 1;
            start = 0;
        } else {
            start = *p == delimiter;
        }
    }
    return quoted;
}

static void split_quoted(reader *r, char *p, const char *end) {
    r->n = 0;
    while (r->n < MOST_FIELDS) {
        rec_span *f = &r->field[r->n++];
        const char *stop;
        if (p < end && *p == '"') {
            char *next = take_quoted(p, end, f);
            if (!next || (next < end && *next != r->l->delimiter)) {
                r->wrong = "has text behind a closing quote";
                return;
            }
            stop = next < end ? next : NULL;
        } else {
            stop = p < end ? memchr(p, r->l->delimiter, (size_t)(end - p)) : NULL;
            *f = (rec_span){p, (size_t)((stop ? stop : end) - p)};
        }
        if (!stop)
            return;
        p += stop + 1 - p;
    }
    r->wrong = "has too many fields";
}

/* The next row's fields; *more 0 after the last. */
static int next_row(reader *r, int *more, mb_err *e) {
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
    if (r->l->format == REC_FORMAT_MOVIELENS) {
        split_colons(r, text, text + n);
        return MB_OK;
    }
    if (r->l->format == REC_FORMAT_INTER || !memchr(text, '"', n)) {
        split_plain(r, text, text + n);
        return MB_OK;
    }
    while (is_open(text, text + n, r->l->delimiter)) {
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

/* name:type of .inter: the name. */
static void strip_types(reader *r) {
    for (int i = 0; i < r->n; i++) {
        const char *colon = memrchr(r->field[i].at, ':', r->field[i].n);
        if (colon)
            r->field[i].n = (size_t)(colon - r->field[i].at);
    }
}

static int read_header(reader *r, rec_layout *l, const rec_columns *c, mb_err *e) {
    int more = 1;
    if (l->format == REC_FORMAT_MOVIELENS && l->header) { /* user::item::rating::timestamp, never named */
        static const int COLUMN[REC_ROLES] = {0, 1, 3, 2, -1, -1};
        memcpy(l->column, COLUMN, sizeof COLUMN);
        l->header = 0;
        r->expected = 4;
    }
    if (!l->header)
        return l->column[REC_USER] < 0 || l->column[REC_ITEM] < 0
                   ? mb_fail(e, MB_USAGE, "--columns: a file without a line of names needs user=N and item=N")
                   : MB_OK;
    int rc = next_row(r, &more, e);
    if (rc == MB_OK && (!more || r->wrong))
        rc = mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": its first line %s", r->t->name, r->t->line,
                     more ? r->wrong : "is missing");
    if (rc != MB_OK)
        return rc;
    if (l->format == REC_FORMAT_INTER)
        strip_types(r);
    r->expected = r->n;
    return rec_find_columns(l, c, r->field, r->n, r->t, e);
}

static int check_fields(reader *r, mb_err *e, int *good) {
    *good = 0;
    if (r->wrong)
        return rec_intake_malformed(r->in, r->t, e, "%s", r->wrong);
    if (r->expected == 0) { /* no line of names: the first row says how many; every column asked for must be there */
        r->expected = r->n;
        for (int k = 0; k < REC_ROLES; k++)
            if (r->l->column[k] >= r->n)
                return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": has %d fields; --columns %s=%d asks for more", r->t->name,
                               r->t->line, r->n, REC_ROLE[k], r->l->column[k] + 1);
    }
    if (r->n != r->expected)
        return rec_intake_malformed(r->in, r->t, e, "has %d fields, not %d", r->n, r->expected);
    *good = 1;
    return MB_OK;
}

static int bad_field(reader *r, int role, const char *wrong, mb_err *e) {
    const rec_span s = r->field[r->l->column[role]];
    return rec_intake_malformed(r->in, r->t, e, "its %s '%.*s' %s", REC_ROLE[role], (int)(s.n < 64 ? s.n : 64), s.at,
                                wrong);
}

static int take_row(reader *r, mb_err *e) {
    const int *column = r->l->column;
    int good, cut = 0;
    int rc = check_fields(r, e, &good);
    if (rc != MB_OK || !good)
        return rc;
    rec_row row = {.user = r->field[column[REC_USER]], .item = r->field[column[REC_ITEM]], .part = r->in->part};
    const char *wrong = NULL;
    if (column[REC_TIME] >= 0 &&
        (wrong = rec_parse_time(r->field[column[REC_TIME]], r->in->o->time_scale, &row.time, &cut)))
        return bad_field(r, REC_TIME, wrong, e);
    if (column[REC_VALUE] >= 0 && (wrong = rec_parse_value(r->field[column[REC_VALUE]], &row.value)))
        return bad_field(r, REC_VALUE, wrong, e);
    if (column[REC_PART] >= 0 && (wrong = rec_parse_part(r->field[column[REC_PART]], &row.part)))
        return bad_field(r, REC_PART, wrong, e);
    if (column[REC_AUX] >= 0)
        row.aux = r->field[column[REC_AUX]];
    r->in->counts.cut_times += cut;
    return rec_intake_row(r->in, r->t, &row, e);
}

int rec_read_delimited(rec_intake *in, rec_text *t, rec_layout *l, const rec_columns *c, mb_err *e) {
    reader r = {.in = in, .t = t, .l = l, .field = mb_malloc(MOST_FIELDS * sizeof(rec_span))};
    int more = 1;
    int rc = r.field ? read_header(&r, l, c, e) : mb_fail(e, MB_NOMEM, "%s: no memory for its fields", t->name);
    if (rc == MB_OK)
        rc = rec_intake_begin(
            in, t->name, (rec_has){l->column[REC_TIME] >= 0, l->column[REC_VALUE] >= 0, l->column[REC_AUX] >= 0}, e);
    while (rc == MB_OK && (rc = next_row(&r, &more, e)) == MB_OK && more)
        rc = take_row(&r, e);
    mb_free(r.field);
    return rc;
}
