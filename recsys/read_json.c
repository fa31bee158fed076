/* JSON lines: an object a line, with keys as --columns or the usual names say; the first object decides which. Refuses
 * (as malformed rows) what is no object, lacks a key, or holds something else than text or a number there. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/json_guard.h"
#include "core/mem.h"
#include "recsys/intake.h"

static const mb_json_limits LIMITS = {.depth = 16, .parts = 4096};

typedef struct keys {
    char *name[REC_ROLES]; /* NULL: not read */
    size_t bytes[REC_ROLES];
} keys;

static int find_key(keys *k, int role, json_t *object, mb_err *e) {
    const char *name, *best = NULL;
    json_t *value;
    int rank = 0;
    json_object_foreach(object, name, value) {
        const int r = rec_role_rank(role, (rec_span){name, strlen(name)});
        if (r >= 0 && (!best || r < rank)) {
            best = name;
            rank = r;
        }
    }
    if (best && !(k->name[role] = mb_strdup(best)))
        return mb_fail(e, MB_NOMEM, "no memory for the key '%s'", best);
    return MB_OK;
}

static int find_keys(keys *k, const rec_columns *c, json_t *object, const rec_text *t, mb_err *e) {
    int rc = MB_OK;
    for (int r = 0; rc == MB_OK && r < REC_ROLES; r++) {
        if (!c->name[r])
            rc = find_key(k, r, object, e);
        else if (strcmp(c->name[r], "-") != 0 && !(k->name[r] = mb_strdup(c->name[r])))
            rc = mb_fail(e, MB_NOMEM, "no memory for the key '%s'", c->name[r]);
        if (rc == MB_OK && r <= REC_ITEM && !k->name[r])
            rc = mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": none of its keys is called like one of %ss: --columns %s=KEY",
                         t->name, t->line, REC_ROLE[r], REC_ROLE[r]);
        k->bytes[r] = k->name[r] ? strlen(k->name[r]) : 0;
    }
    return rc;
}

/* The text of a string or number; scratch: (64). *wrong when it is neither. */
static rec_span text_of(const json_t *v, char *scratch, const char **wrong) {
    int n = 0;
    if (json_is_string(v))
        return (rec_span){json_string_value(v), json_string_length(v)};
    if (json_is_integer(v))
        n = snprintf(scratch, 64, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_real(v))
        n = snprintf(scratch, 64, "%.17g", json_real_value(v));
    else
        *wrong = v ? "is neither text nor a number" : "is missing";
    return (rec_span){scratch, (size_t)n};
}

static const char *take_role(rec_intake *in, int role, rec_span s, rec_row *row, int *cut) {
    switch (role) {
    case REC_USER:
        row->user = s;
        return NULL;
    case REC_ITEM:
        row->item = s;
        return NULL;
    case REC_TIME:
        return rec_parse_time(s, in->o->time_scale, &row->time, cut);
    case REC_VALUE:
        return rec_parse_value(s, &row->value);
    case REC_AUX:
        row->aux = s;
        return NULL;
    default:
        return rec_parse_part(s, &row->part);
    }
}

/* ---- plain objects --------------------------------------------------------------------------------------------------
 * Most lines are flat objects of plain strings and numbers. These are read in place; whatever is not plainly one
 * (escapes, bytes beyond ASCII, nesting, numbers that need rounding as identifiers, and every mistake) goes to the
 * whole parser, so that what is right does not depend on this. */
enum { MOST_PAIRS = 24 };

typedef enum kind { TEXT, WHOLE, FRACTION, OTHER } kind;

typedef struct pair {
    rec_span key, value;
    kind kind;
} pair;

static void skip_blanks(const char **p, const char *end) {
    while (*p < end && (**p == ' ' || **p == '\t'))
        ++*p;
}

static int take(const char **p, const char *end, char c) {
    skip_blanks(p, end);
    if (*p == end || **p != c)
        return 0;
    ++*p;
    return 1;
}

static int take_string(const char **p, const char *end, rec_span *s) {
    if (!take(p, end, '"'))
        return 0;
    s->at = *p;
    while (*p < end && **p != '"') {
        if (**p == '\\' || (unsigned char)**p < 0x20 || (unsigned char)**p >= 0x80)
            return 0;
        ++*p;
    }
    s->n = (size_t)(*p - s->at);
    return take(p, end, '"');
}

static int64_t take_digits(const char **p, const char *end) {
    const char *from = *p;
    while (*p < end && **p >= '0' && **p <= '9')
        ++*p;
    return *p - from;
}

/* Without exponent, of 18 digits at the most, and not -0. */
static int take_number(const char **p, const char *end, pair *v) {
    v->value.at = *p;
    v->kind = WHOLE;
    const int negative = *p < end && **p == '-';
    *p += negative;
    const char *first = *p;
    const int64_t digits = take_digits(p, end);
    if (digits == 0 || digits > 18 || (*first == '0' && (digits > 1 || negative)))
        return 0;
    if (*p < end && **p == '.') {
        ++*p;
        v->kind = FRACTION;
        if (take_digits(p, end) == 0)
            return 0;
    }
    v->value.n = (size_t)(*p - v->value.at);
    return 1;
}

static int take_value(const char **p, const char *end, pair *v) {
    static const char *const WORD[] = {"true", "false", "null"};
    skip_blanks(p, end);
    if (*p == end)
        return 0;
    if (**p == '"') {
        v->kind = TEXT;
        return take_string(p, end, &v->value);
    }
    for (int i = 0; i < 3; i++) {
        const size_t n = strlen(WORD[i]);
        if ((size_t)(end - *p) >= n && memcmp(*p, WORD[i], n) == 0) {
            *p += n;
            v->kind = OTHER;
            return 1;
        }
    }
    return take_number(p, end, v);
}

static int is_key(const pair *v, const char *name, size_t n) {
    return v->key.n == n && memcmp(v->key.at, name, n) == 0;
}

/* The pairs of a plain object, or 0. */
static int take_pairs(const char *p, const char *end, pair *v) {
    int n = 0;
    if (!take(&p, end, '{'))
        return 0;
    do {
        if (n == MOST_PAIRS || !take_string(&p, end, &v[n].key) || !take(&p, end, ':') || !take_value(&p, end, &v[n]))
            return 0;
        for (int i = 0; i < n; i++)
            if (is_key(&v[i], v[n].key.at, v[n].key.n))
                return 0;
        n++;
    } while (take(&p, end, ','));
    if (!take(&p, end, '}'))
        return 0;
    skip_blanks(&p, end);
    return p == end ? n : 0;
}

/* Takes the row when the line is plain and all is there; *taken says whether. */
static int take_plain(rec_intake *in, const rec_text *t, const keys *k, const char *text, size_t n, int *taken,
                      mb_err *e) {
    pair v[MOST_PAIRS];
    rec_row row = {.part = in->part};
    int cut = 0;
    const int pairs = take_pairs(text, text + n, v);
    *taken = 0;
    for (int r = 0; r < REC_ROLES; r++) {
        if (!k->name[r])
            continue;
        int i = 0;
        while (i < pairs && !is_key(&v[i], k->name[r], k->bytes[r]))
            i++;
        const int number = r == REC_TIME || r == REC_VALUE;
        if (i == pairs || v[i].kind == OTHER || (v[i].kind == FRACTION && !number) ||
            take_role(in, r, v[i].value, &row, &cut))
            return MB_OK;
    }
    *taken = 1;
    in->counts.cut_times += cut;
    return rec_intake_row(in, t, &row, e);
}

/* ---- any objects ----------------------------------------------------------------------------------------------------
 */
static int take_object(rec_intake *in, const rec_text *t, const keys *k, const json_t *object, mb_err *e) {
    char scratch[REC_ROLES][64];
    rec_row row = {.part = in->part};
    int cut = 0;
    for (int r = 0; r < REC_ROLES; r++) {
        if (!k->name[r])
            continue;
        const char *wrong = NULL;
        const rec_span s = text_of(json_object_get(object, k->name[r]), scratch[r], &wrong);
        if (!wrong)
            wrong = take_role(in, r, s, &row, &cut);
        if (wrong)
            return rec_intake_malformed(in, t, e, "its %s '%s' %s", REC_ROLE[r], k->name[r], wrong);
    }
    in->counts.cut_times += cut;
    return rec_intake_row(in, t, &row, e);
}

/* Malformed text is a malformed row; no memory is an error. */
static int parse_line(rec_intake *in, rec_text *t, char *text, size_t n, json_t **object, mb_err *e) {
    mb_err why = {0};
    *object = NULL;
    int rc = mb_json_parse(object, text, n, &LIMITS, 0, t->name, 0, &why);
    if (rc == MB_NOMEM)
        return mb_fail(e, rc, "%s:%" PRId64 ": %s", t->name, t->line, why.text);
    if (rc != MB_OK)
        return rec_intake_malformed(in, t, e, "is no JSON (%s)", why.text);
    if (!json_is_object(*object)) {
        json_decref(*object);
        *object = NULL;
        return rec_intake_malformed(in, t, e, "is no JSON object");
    }
    return MB_OK;
}

static int read_object(rec_intake *in, rec_text *t, const rec_columns *c, keys *k, int *begun, char *text, size_t n,
                       mb_err *e) {
    json_t *object = NULL;
    int rc = parse_line(in, t, text, n, &object, e);
    if (object && !*begun) {
        *begun = 1;
        rc = find_keys(k, c, object, t, e);
        if (rc == MB_OK)
            rc = rec_intake_begin(
                in, t->name, (rec_has){k->name[REC_TIME] != NULL, k->name[REC_VALUE] != NULL, k->name[REC_AUX] != NULL},
                e);
    }
    if (rc == MB_OK && object)
        rc = take_object(in, t, k, object, e);
    json_decref(object);
    return rc;
}

int rec_read_json(rec_intake *in, rec_text *t, const rec_columns *c, mb_err *e) {
    keys k = {.name = {NULL}};
    char *text;
    size_t n;
    int begun = 0, rc;
    while ((rc = rec_text_line(t, &text, &n, e)) == MB_OK && text) {
        int taken = n == 0; /* an empty line */
        if (begun && !taken)
            rc = take_plain(in, t, &k, text, n, &taken, e);
        if (rc == MB_OK && !taken)
            rc = read_object(in, t, c, &k, &begun, text, n, e);
        if (rc != MB_OK)
            break;
    }
    for (int r = 0; r < REC_ROLES; r++)
        mb_free(k.name[r]);
    return rc;
}
