/* What labels mean, once all are known. The task is guessed, unless given, by these rules, in turn:
 *   several columns  multi when every label is 0 or 1, regression when every label is a number, else refused
 *   one column       multi when a label holds ';', bases when every label is as long as its sequence (8 at least),
 *                    regression when every label is a number and one is no whole number or more than 100 differ,
 *                    class otherwise
 * Refuses labels that a trained model does not know, numbers that are none, runs of characters of another length. */
#include "genomics/labelled_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/names.h"

enum { MOST_CLASSES = 10000, GUESSED_CLASSES = 100, LEAST_BASES = 8 };

/* "file:line:column: found 'label', expected ..." */
static int fail_label(const dna_builder *b, int64_t i, int c, mb_err *e, const char *expected) {
    const dna_example *x = &b->d->at[i];
    return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ":%" PRId32 ": found label '%.100s', expected %s", b->d->file[x->file],
                   x->line, b->column[i * b->n_columns + c], dna_pending_label(b, i, c), expected);
}

static int is_number(const char *s, double *value) {
    char *end;
    if (!*s || strchr(" \t\n\r\v\f", *s) || strpbrk(s, "xXpP")) /* no hexadecimal: 0x10 is a typing error here */
        return 0;
    *value = strtod(s, &end);
    return !*end && isfinite(*value);
}

/* ---- the task ---------------------------------------------------------------------------------------------------- */

typedef struct look {
    int binary, numbers, whole, lists, bases; /* whether all (lists: any) labels are so */
    int64_t different;                        /* counted up to GUESSED_CLASSES + 1 */
} look;

static int look_at(const dna_builder *b, look *k, mb_err *e) {
    dna_names seen = {0};
    int64_t rc = 0;
    *k = (look){.binary = 1, .numbers = 1, .whole = 1, .bases = b->n_columns == 1};
    for (int64_t i = 0; rc >= 0 && i < b->d->n; i++) {
        const char *s = dna_pending_label(b, i, 0);
        for (int c = 0; rc >= 0 && c < b->n_columns; c++, s += strlen(s) + 1) {
            double value = 0.5;
            k->numbers &= is_number(s, &value);
            k->whole &= value == floor(value);
            k->binary &= !strcmp(s, "0") || !strcmp(s, "1");
            k->lists |= strchr(s, ';') != NULL;
            k->bases &= b->pending[i].whole >= LEAST_BASES && (int64_t)strlen(s) == b->pending[i].whole;
            if (seen.n <= GUESSED_CLASSES)
                rc = dna_names_add(&seen, s, 1, e);
        }
    }
    k->different = seen.n;
    dna_names_fini(&seen);
    return rc < 0 ? (int)rc : MB_OK;
}

static int guess_task(dna_builder *b, mb_err *e) {
    look k;
    int rc = look_at(b, &k, e);
    if (rc)
        return rc;
    if (b->n_columns > 1 && !k.numbers)
        return mb_fail(e, MB_FORMAT,
                       "%d label columns hold labels that are no numbers; expected 0 and 1 (multi) or "
                       "numbers (regression)",
                       b->n_columns);
    if (b->n_columns > 1)
        b->d->task = k.binary ? DNA_TASK_MULTI : DNA_TASK_REGRESSION;
    else if (k.lists)
        b->d->task = DNA_TASK_MULTI;
    else if (k.bases)
        b->d->task = DNA_TASK_BASES;
    else
        b->d->task = k.numbers && (!k.whole || k.different > GUESSED_CLASSES) ? DNA_TASK_REGRESSION : DNA_TASK_CLASS;
    return dna_said(b->d, e, "the labels are taken for the task %s", dna_task_name(b->d->task));
}

/* ---- names to indices -------------------------------------------------------------------------------------------- */

/* Names are collected in order of appearance, numbered from 1 by hash, and sorted at the end. */
typedef struct naming {
    dna_names hash;
    const char **name; /* (n), borrowed or in copies */
    int n, capacity;
    char **copies; /* (n) of names that lie nowhere else */
    int fixed;     /* the names of a trained model: no others */
} naming;

static void naming_fini(naming *g) {
    for (int i = 0; g->copies && i < g->n; i++)
        mb_free(g->copies[i]);
    mb_free(g->copies);
    mb_free((void *)g->name);
    dna_names_fini(&g->hash);
}

static int naming_grow(naming *g, mb_err *e) {
    const int capacity = g->capacity ? 2 * g->capacity : 16;
    const char **name = mb_realloc_array((void *)g->name, (size_t)capacity, sizeof *name);
    if (name)
        g->name = name;
    char **copies = name ? mb_realloc_array(g->copies, (size_t)capacity, sizeof *copies) : NULL;
    if (!copies)
        return mb_fail(e, MB_NOMEM, "no memory for %d label names", capacity);
    g->copies = copies;
    g->capacity = capacity;
    return MB_OK;
}

/* Index of name (n bytes) in order of appearance, -1 when the names are fixed and this is none; below that an error. */
static int name_index(naming *g, const char *text, size_t n, mb_err *e) {
    char stack[128], *name = n < sizeof stack ? stack : mb_malloc(n + 1);
    if (!name)
        return mb_fail(e, MB_NOMEM, "no memory for a label of %zu bytes", n) - 1;
    memcpy(name, text, n);
    name[n] = 0;
    int rc = g->n == g->capacity ? naming_grow(g, e) : MB_OK;
    const int64_t at = rc ? rc : dna_names_add(&g->hash, name, g->n + 1, e);
    int index = (int)at - 1; /* known, or an error below -1 */
    if (at == 0 && g->fixed) {
        index = -1;
    } else if (at == 0) {
        char *copy = mb_strdup(name);
        if (!copy) {
            index = mb_fail(e, MB_NOMEM, "no memory for a label name") - 1;
        } else {
            g->copies[g->n] = copy;
            g->name[g->n] = copy;
            index = g->n++;
        }
    }
    if (name != stack)
        mb_free(name);
    return index;
}

static int naming_start(naming *g, const dna_labelled_options *o, mb_err *e) {
    memset(g, 0, sizeof *g);
    for (int i = 0; o->labels && i < o->n_known; i++) {
        const int index = name_index(g, o->labels[i], strlen(o->labels[i]), e);
        if (index < -1)
            return index + 1;
        if (index != i)
            return mb_fail(e, MB_USAGE, "the label '%.100s' of the model comes twice", o->labels[i]);
    }
    g->fixed = o->labels != NULL;
    return MB_OK;
}

static int all_numbers(const naming *g) {
    double value;
    for (int i = 0; i < g->n; i++)
        if (!is_number(g->name[i], &value))
            return 0;
    return 1;
}

typedef struct ranked {
    const char *name;
    double value;
    int index;
} ranked;

static int by_rank(const void *a, const void *b) {
    const ranked *p = a, *q = b;
    if (p->value != q->value)
        return p->value < q->value ? -1 : 1;
    return strcmp(p->name, q->name);
}

/* Names into d->label, sorted unless fixed, and to[old index] = new index. */
static int naming_finish(dna_builder *b, naming *g, int **to, mb_err *e) {
    dna_labelled *d = b->d;
    const int numbers = !g->fixed && all_numbers(g);
    ranked *r = mb_calloc((size_t)g->n + 1, sizeof *r);
    *to = mb_calloc((size_t)g->n + 1, sizeof **to);
    d->label = mb_calloc((size_t)g->n + 1, sizeof *d->label);
    int rc = r && *to && d->label ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for %d label names", g->n);
    for (int i = 0; !rc && i < g->n; i++) {
        r[i] = (ranked){.name = g->name[i], .index = i};
        if (g->fixed)
            r[i].value = i;
        else if (numbers)
            (void)is_number(g->name[i], &r[i].value);
    }
    if (!rc)
        qsort(r, (size_t)g->n, sizeof *r, by_rank);
    for (int i = 0; !rc && i < g->n; i++) {
        (*to)[r[i].index] = i;
        if (!(d->label[i] = mb_strdup(r[i].name)))
            rc = mb_fail(e, MB_NOMEM, "no memory for %d label names", g->n);
        else
            d->n_labels = i + 1;
    }
    mb_free(r);
    return rc;
}

static int fail_unknown(const dna_builder *b, const naming *g, int64_t i, int c, mb_err *e) {
    char list[400] = "one of ";
    size_t at = strlen(list);
    for (int k = 0; k < g->n && at + 50 < sizeof list; k++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%.40s", k ? ", " : "", g->name[k]);
    if (at + 50 >= sizeof list)
        snprintf(list + at, sizeof list - at, ", ...");
    return fail_label(b, i, c, e, list);
}

/* ---- the tasks --------------------------------------------------------------------------------------------------- */

static int one_column(const dna_builder *b, mb_err *e) {
    if (b->n_columns == 1)
        return MB_OK;
    return mb_fail(e, MB_USAGE, "the task %s has one label column, not %d", dna_task_name(b->d->task), b->n_columns);
}

static int resolve_class(dna_builder *b, mb_err *e) {
    naming g;
    int *to = NULL, rc = naming_start(&g, b->o, e);
    if (!rc)
        rc = one_column(b, e);
    for (int64_t i = 0; !rc && i < b->d->n; i++) {
        const char *s = dna_pending_label(b, i, 0);
        const int index = name_index(&g, s, strlen(s), e);
        if (index < -1)
            rc = index + 1;
        else if (index < 0)
            rc = fail_unknown(b, &g, i, 0, e);
        else if (g.n > MOST_CLASSES)
            rc = fail_label(b, i, 0, e, "at most 10000 different classes; are these numbers to be regressed?");
        b->d->at[i].label = index;
    }
    if (!rc)
        rc = naming_finish(b, &g, &to, e);
    for (int64_t i = 0; !rc && i < b->d->n; i++)
        b->d->at[i].label = to[b->d->at[i].label];
    if (!rc && b->d->n_labels == 1)
        rc = dna_said(b->d, e, "all examples have the same label '%.100s'", b->d->label[0]);
    mb_free(to);
    naming_fini(&g);
    return rc;
}

static int make_values(dna_builder *b, int n_labels, mb_err *e) {
    b->pool->value = NULL;
    size_t count;
    if (!__builtin_mul_overflow((size_t)b->d->n, (size_t)n_labels, &count))
        b->pool->value = mb_calloc(count + 1, sizeof(double));
    if (b->pool->value)
        return MB_OK;
    return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " x %d labels", b->d->n, n_labels);
}

/* "a;b" as bits: calls name_index for each piece; with to, sets row[to[index]]. */
static int each_piece(dna_builder *b, naming *g, int64_t i, const int *to, double *row, mb_err *e) {
    for (const char *s = dna_pending_label(b, i, 0), *next; *s; s = next) {
        size_t n = strcspn(s, ";");
        next = s + n + (s[n] == ';');
        const int open = s[n] == ';' && !s[n + 1];
        while (n && *s == ' ')
            s++, n--;
        while (n && s[n - 1] == ' ')
            n--;
        if (n == 0 || open)
            return fail_label(b, i, 0, e, "a label before and after each ';'");
        const int index = name_index(g, s, n, e);
        if (index < -1)
            return index + 1;
        if (index < 0)
            return fail_unknown(b, g, i, 0, e);
        if (g->n > MOST_CLASSES)
            return fail_label(b, i, 0, e, "at most 10000 different labels");
        if (to && row[to[index]] != 0)
            return fail_label(b, i, 0, e, "each label once");
        if (to)
            row[to[index]] = 1;
    }
    return MB_OK;
}

static int resolve_list(dna_builder *b, mb_err *e) {
    naming g;
    int *to = NULL, rc = naming_start(&g, b->o, e);
    for (int64_t i = 0; !rc && i < b->d->n; i++)
        rc = each_piece(b, &g, i, NULL, NULL, e);
    if (!rc && g.n == 0)
        rc = mb_fail(e, MB_FORMAT, "no example has a label");
    if (!rc)
        rc = naming_finish(b, &g, &to, e);
    if (!rc)
        rc = make_values(b, b->d->n_labels, e);
    for (int64_t i = 0; !rc && i < b->d->n; i++)
        rc = each_piece(b, &g, i, to, b->pool->value + i * b->d->n_labels, e);
    mb_free(to);
    naming_fini(&g);
    return rc;
}

/* Columns keep their order; those of a trained model must be the same. */
static int name_columns(dna_builder *b, mb_err *e) {
    dna_labelled *d = b->d;
    if (b->o->labels && b->o->n_known != b->n_columns)
        return mb_fail(e, MB_FORMAT, "found %d label columns, expected the model's %d", b->n_columns, b->o->n_known);
    d->label = mb_calloc((size_t)b->n_columns, sizeof *d->label);
    if (!d->label)
        return mb_fail(e, MB_NOMEM, "no memory for %d label names", b->n_columns);
    for (int c = 0; c < b->n_columns; c++) {
        const char *name = b->column_name[c] ? b->column_name[c] : "value";
        if (b->o->labels && b->n_columns > 1 && strcmp(name, b->o->labels[c]) != 0)
            return mb_fail(e, MB_FORMAT, "found label column %d '%.100s', expected the model's '%.100s'", c + 1, name,
                           b->o->labels[c]);
        if (!(d->label[c] = mb_strdup(b->o->labels ? b->o->labels[c] : name)))
            return mb_fail(e, MB_NOMEM, "no memory for %d label names", b->n_columns);
        d->n_labels = c + 1;
    }
    return MB_OK;
}

static int resolve_columns(dna_builder *b, mb_err *e) {
    const int multi = b->d->task == DNA_TASK_MULTI;
    int rc = name_columns(b, e);
    if (!rc)
        rc = make_values(b, b->n_columns, e);
    for (int64_t i = 0; !rc && i < b->d->n; i++) {
        const char *s = dna_pending_label(b, i, 0);
        for (int c = 0; !rc && c < b->n_columns; c++, s += strlen(s) + 1) {
            double *value = &b->pool->value[i * b->n_columns + c];
            if (!is_number(s, value))
                rc = fail_label(b, i, c, e, multi ? "0 or 1" : "a number");
            else if (multi && *value != 0 && *value != 1)
                rc = fail_label(b, i, c, e, "0 or 1");
        }
    }
    return rc;
}

/* Which characters occur, then their indices in the order of their bytes; '.' is no class. */
static int name_characters(dna_builder *b, uint8_t index[256], mb_err *e) {
    naming g;
    int *to = NULL, rc = naming_start(&g, b->o, e), used[256] = {0};
    for (int64_t i = 0; !rc && i < b->d->n; i++) {
        const char *s = dna_pending_label(b, i, 0);
        if ((int64_t)strlen(s) != b->pending[i].whole) {
            char want[80];
            snprintf(want, sizeof want, "%" PRId64 " characters, one for each base", b->pending[i].whole);
            rc = fail_label(b, i, 0, e, want);
        }
        for (; !rc && *s; s++) {
            if (*s == '.' || used[(unsigned char)*s])
                continue;
            const int at = name_index(&g, s, 1, e);
            if (at == -1)
                rc = fail_unknown(b, &g, i, 0, e);
            else if (at < 0)
                rc = at + 1;
            used[(unsigned char)*s] = at + 1;
        }
    }
    if (!rc && g.n == 0)
        rc = mb_fail(e, MB_FORMAT, "no base has a label: all are '.'");
    if (!rc)
        rc = naming_finish(b, &g, &to, e);
    for (int c = 0; !rc && c < 256; c++)
        index[c] = used[c] ? (uint8_t)to[used[c] - 1] : DNA_UNLABELLED;
    mb_free(to);
    naming_fini(&g);
    return rc;
}

static int resolve_bases(dna_builder *b, mb_err *e) {
    uint8_t index[256] = {0};
    int rc = one_column(b, e);
    if (!rc)
        rc = name_characters(b, index, e);
    if (!rc && !(b->pool->base = mb_malloc((size_t)b->d->n_bases)))
        rc = mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " labels of bases", b->d->n_bases);
    for (int64_t i = 0; !rc && i < b->d->n; i++) {
        const dna_pending *p = &b->pending[i];
        const char *s = dna_pending_label(b, i, 0) + p->cut;
        for (int64_t j = 0; j < b->d->at[i].length; j++)
            b->pool->base[p->token + j] = index[(unsigned char)s[j]];
    }
    return rc;
}

int dna_labels_resolve(dna_builder *b, mb_err *e) {
    int rc = b->d->task == DNA_TASK_AUTO ? guess_task(b, e) : MB_OK;
    if (rc)
        return rc;
    switch (b->d->task) {
    case DNA_TASK_CLASS:
        return resolve_class(b, e);
    case DNA_TASK_MULTI:
        return b->n_columns == 1 ? resolve_list(b, e) : resolve_columns(b, e);
    case DNA_TASK_REGRESSION:
        return resolve_columns(b, e);
    default:
        return resolve_bases(b, e);
    }
}
