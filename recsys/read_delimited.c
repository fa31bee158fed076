/* Tables of events, by named or numbered columns (recsys/rows.h splits them). Refuses (as malformed rows) another
 * number of fields than the first line has, empty and unreadable numbers. */
#include <inttypes.h>
#include <string.h>

#include "recsys/intake.h"

typedef struct reader {
    rec_intake *in;
    const rec_layout *l;
    rec_rows rows;
    int expected; /* fields of every row, 0: not known yet */
} reader;

/* Finds out which fields are which. */
static int begin_table(reader *r, rec_layout *l, const rec_columns *c, mb_err *e) {
    if (l->format == REC_FORMAT_MOVIELENS && l->header) { /* user::item::rating::timestamp, never named */
        static const int COLUMN[REC_ROLES] = {0, 1, 3, 2, -1, -1};
        if (c->text)
            return mb_fail(e, MB_USAGE, "--columns: %s has no line of names; give numbers (user=1,item=2)",
                           r->rows.t->name);
        memcpy(l->column, COLUMN, sizeof COLUMN);
        r->expected = 4;
        return MB_OK;
    }
    if (!l->header)
        return l->column[REC_USER] < 0 || l->column[REC_ITEM] < 0
                   ? mb_fail(e, MB_USAGE, "--columns: a file without a line of names needs user=N and item=N")
                   : MB_OK;
    int rc = rec_rows_header(&r->rows, e);
    if (rc != MB_OK)
        return rc;
    r->expected = r->rows.n;
    return rec_find_columns(l, c, r->rows.field, r->rows.n, r->rows.t, e);
}

static int check_fields(reader *r, mb_err *e, int *good) {
    *good = 0;
    if (r->rows.wrong)
        return rec_intake_malformed(r->in, r->rows.t, e, "%s", r->rows.wrong);
    if (r->expected == 0) { /* no line of names: the first row says how many; every column asked for must be there */
        r->expected = r->rows.n;
        for (int k = 0; k < REC_ROLES; k++)
            if (r->l->column[k] >= r->rows.n)
                return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": has %d fields; --columns %s=%d asks for more",
                               r->rows.t->name, r->rows.t->line, r->rows.n, REC_ROLE[k], r->l->column[k] + 1);
    }
    if (r->rows.n != r->expected)
        return rec_intake_malformed(r->in, r->rows.t, e, "has %d fields, not %d", r->rows.n, r->expected);
    *good = 1;
    return MB_OK;
}

static int bad_field(reader *r, int role, const char *wrong, mb_err *e) {
    const rec_span s = r->rows.field[r->l->column[role]];
    return rec_intake_malformed(r->in, r->rows.t, e, "its %s '%.*s' %s", REC_ROLE[role], (int)(s.n < 64 ? s.n : 64),
                                s.at, wrong);
}

static int take_row(reader *r, mb_err *e) {
    const int *column = r->l->column;
    int good, cut = 0;
    int rc = check_fields(r, e, &good);
    if (rc != MB_OK || !good)
        return rc;
    rec_row row = {
        .user = r->rows.field[column[REC_USER]], .item = r->rows.field[column[REC_ITEM]], .part = r->in->part};
    const char *wrong = NULL;
    if (column[REC_TIME] >= 0 &&
        (wrong = rec_parse_time(r->rows.field[column[REC_TIME]], r->in->o->time_scale, &row.time, &cut)))
        return bad_field(r, REC_TIME, wrong, e);
    if (column[REC_VALUE] >= 0 && (wrong = rec_parse_value(r->rows.field[column[REC_VALUE]], &row.value)))
        return bad_field(r, REC_VALUE, wrong, e);
    if (column[REC_PART] >= 0 && (wrong = rec_parse_part(r->rows.field[column[REC_PART]], &row.part)))
        return bad_field(r, REC_PART, wrong, e);
    if (column[REC_AUX] >= 0)
        row.aux = r->rows.field[column[REC_AUX]];
    r->in->counts.cut_times += cut;
    return rec_intake_row(r->in, r->rows.t, &row, e);
}

int rec_read_delimited(rec_intake *in, rec_text *t, rec_layout *l, const rec_columns *c, mb_err *e) {
    reader r = {.in = in, .l = l};
    int more = 1;
    int rc = rec_rows_open(&r.rows, t, l->format, l->delimiter, e);
    if (rc == MB_OK)
        rc = begin_table(&r, l, c, e);
    if (rc == MB_OK)
        rc = rec_intake_begin(
            in, t->name, (rec_has){l->column[REC_TIME] >= 0, l->column[REC_VALUE] >= 0, l->column[REC_AUX] >= 0}, e);
    while (rc == MB_OK && (rc = rec_rows_next(&r.rows, &more, e)) == MB_OK && more)
        rc = take_row(&r, e);
    rec_rows_close(&r.rows);
    return rc;
}
