/* Gathers examples of all inputs, then has their labels understood, then turns offsets into pointers.
 * Refuses letters that the policies refuse, lengths out of range, examples without a label where one is wanted. */
#include "genomics/labelled_internal.h"
#include "core/file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "core/mem.h"
#include "genomics/table.h"

const char *dna_task_name(int task) {
    static const char *const NAME[] = {"auto", "class", "multi", "regression", "bases"};
    MB_ASSERT(task >= DNA_TASK_AUTO && task <= DNA_TASK_BASES);
    return NAME[task];
}

int dna_said(dna_labelled *d, mb_err *e, const char *format, ...) {
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    const size_t n = strlen(line);
    line[n] = '\n';
    return dna_text_add(&d->said, line, (int64_t)n + 1, e);
}

char *dna_example_place(const dna_labelled *d, const dna_example *x, char *out, size_t size) {
    snprintf(out, size, "%s:%" PRId64, d->file[x->file], x->line);
    return out;
}

static void free_names(char **name, int n) {
    for (int i = 0; name && i < n; i++)
        mb_free(name[i]);
    mb_free(name);
}

void dna_labelled_fini(dna_labelled *d) {
    free_names(d->label, d->n_labels);
    free_names(d->part_name, d->n_parts);
    free_names(d->file, d->n_files);
    mb_free(d->at);
    dna_text_fini(&d->said);
    if (d->pools) {
        dna_text_fini(&d->pools->token);
        dna_text_fini(&d->pools->name);
        dna_text_fini(&d->pools->label);
        mb_free(d->pools->base);
        mb_free(d->pools->value);
        mb_free(d->pools);
    }
    memset(d, 0, sizeof *d);
}

/* ---- lists of names ---------------------------------------------------------------------------------------------- */

static int add_name(char ***list, int *n, const char *name, mb_err *e) {
    char **grown = mb_realloc_array(*list, (size_t)*n + 1, sizeof *grown);
    if (grown)
        *list = grown;
    char *copy = grown ? mb_strdup(name) : NULL;
    if (!copy)
        return mb_fail(e, MB_NOMEM, "no memory for the name '%.100s'", name);
    grown[(*n)++] = copy;
    return MB_OK;
}

int dna_builder_part(dna_builder *b, const char *name, int *index, mb_err *e) {
    dna_labelled *d = b->d;
    enum { MOST = 1000 };
    for (*index = 0; *index < d->n_parts; ++*index)
        if (strcmp(d->part_name[*index], name) == 0)
            return MB_OK;
    if (d->n_parts == MOST)
        return mb_fail(e, MB_FORMAT,
                       "found more than %d different parts, the last '%.40s'; expected some like train, "
                       "valid, test",
                       (int)MOST, name);
    return add_name(&d->part_name, &d->n_parts, name, e);
}

int dna_builder_columns(dna_builder *b, const char *const *names, int n, mb_err *e) {
    const char *file = b->d->file[b->d->n_files - 1];
    if (b->column_name) {
        if (n != b->n_columns)
            return mb_fail(e, MB_FORMAT, "%s: found %d label column%s, the inputs before have %d", file, n,
                           n == 1 ? "" : "s", b->n_columns);
        for (int i = 0; names && n > 1 && i < n; i++)
            if (b->column_name[i] && strcmp(names[i], b->column_name[i]) != 0)
                return mb_fail(e, MB_FORMAT, "%s: found label column '%.100s', the inputs before have '%.100s' there",
                               file, names[i], b->column_name[i]);
        return MB_OK;
    }
    b->column_name = mb_calloc((size_t)n, sizeof *b->column_name);
    if (!b->column_name)
        return mb_fail(e, MB_NOMEM, "%s: no memory for %d label columns", file, n);
    b->n_columns = n;
    for (int i = 0; names && i < n; i++)
        if (!(b->column_name[i] = mb_strdup(names[i])))
            return mb_fail(e, MB_NOMEM, "%s: no memory for %d label columns", file, n);
    return MB_OK;
}

/* ---- one example ------------------------------------------------------------------------------------------------- */

static int reserve(dna_builder *b, mb_err *e) {
    dna_labelled *d = b->d;
    if (d->n == b->capacity) {
        const int64_t capacity = b->capacity ? b->capacity + b->capacity / 2 : 64;
        dna_example *at = mb_realloc_array(d->at, (size_t)capacity, sizeof *at);
        if (at)
            d->at = at;
        dna_pending *pending = at ? mb_realloc_array(b->pending, (size_t)capacity, sizeof *pending) : NULL;
        if (!pending)
            return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " sequences with labels", capacity);
        b->pending = pending;
        b->capacity = capacity;
    }
    if (b->n_columns && (d->n + 1) * b->n_columns > b->columns_capacity) {
        const int64_t capacity = b->capacity * b->n_columns;
        int32_t *column = mb_realloc_array(b->column, (size_t)capacity, sizeof *column);
        if (!column)
            return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " labels", capacity);
        b->column = column;
        b->columns_capacity = capacity;
    }
    return MB_OK;
}

/* 1: of a length that is wanted, *cut bases dropped at the left and raw shortened; 0: passed over; negative: error. */
static int fit_length(dna_builder *b, dna_raw *raw, int64_t *cut, mb_err *e) {
    const dna_labelled_options *o = b->o;
    const int64_t least = o->min_length > 0 ? o->min_length : 1;
    const int too_long = o->max_length > 0 && raw->n > o->max_length;
    *cut = 0;
    if (raw->n >= least && !too_long)
        return 1;
    if (o->lengths == DNA_LENGTHS_SKIP) {
        b->d->skipped_length++;
        return 0;
    }
    if (too_long && o->lengths == DNA_LENGTHS_CENTRE) {
        *cut = (raw->n - o->max_length) / 2;
        raw->n = o->max_length;
        b->d->trimmed++;
        return 1;
    }
    char most[40] = "";
    if (o->max_length > 0)
        snprintf(most, sizeof most, " to %" PRId64, o->max_length);
    return mb_fail(e, MB_RANGE,
                   "%s:%" PRId64 ":%" PRId64 ": found a sequence of %" PRId64 " bases, expected %" PRId64 "%s%s",
                   b->d->file[b->d->n_files - 1], raw->line, raw->letters_column, raw->n, least, most,
                   o->max_length > 0 ? "" : " or more");
}

/* NA and its like stand for a missing number; where the task may still be one of classes, only when it is not said. */
static int is_missing(const dna_builder *b, const char *label) {
    if (!*label)
        return b->o->task != DNA_TASK_MULTI || b->n_columns > 1;
    if (b->o->task != DNA_TASK_AUTO && b->o->task != DNA_TASK_REGRESSION)
        return 0;
    return !strcasecmp(label, "na") || !strcasecmp(label, "nan") || !strcmp(label, ".");
}

/* 1: all labels are there; 0: passed over; negative: error. */
static int have_labels(dna_builder *b, const dna_raw *raw, mb_err *e) {
    for (int i = 0; i < b->n_columns; i++) {
        if (!is_missing(b, raw->label[i]))
            continue;
        if (b->o->no_label == DNA_NO_LABEL_SKIP) {
            b->d->skipped_label++;
            return 0;
        }
        return mb_fail(e, MB_FORMAT,
                       "%s:%" PRId64 ":%" PRId32 ": found %s%s%s as label, expected a value (or have "
                       "examples without label passed over%s)",
                       b->d->file[b->d->n_files - 1], raw->line, raw->column[i], *raw->label[i] ? "'" : "",
                       *raw->label[i] ? raw->label[i] : "nothing", *raw->label[i] ? "'" : "",
                       b->o->task == DNA_TASK_AUTO && !*raw->label[i] && b->n_columns == 1
                           ? "; with --task multi it means none of the labels"
                           : "");
    }
    return 1;
}

static int put_tokens(dna_builder *b, const dna_raw *raw, int64_t cut, mb_err *e) {
    char words[96];
    uint8_t *letters = (uint8_t *)raw->letters + cut;
    const int64_t bad = dna_tokenize(b->a, letters, raw->n, &b->d->letters);
    if (bad < 0)
        return dna_text_add(&b->pool->token, (const char *)letters, raw->n, e);
    return mb_fail(e, MB_FORMAT,
                   "%s:%" PRId64 ":%" PRId64 ": found base %" PRId64 " of the sequence, %s; expected "
                   "letters A C G T N",
                   b->d->file[b->d->n_files - 1], raw->line, raw->letters_column ? raw->letters_column + cut + bad : 0,
                   cut + bad + 1, dna_bad_letter_words(letters[bad], words));
}

int dna_builder_add(dna_builder *b, const dna_raw *given, mb_err *e) {
    dna_labelled *d = b->d;
    dna_raw raw = *given;
    int64_t cut, whole = raw.n;
    int part = b->part, rc;
    if ((rc = have_labels(b, &raw, e)) <= 0 || (rc = fit_length(b, &raw, &cut, e)) <= 0)
        return rc;
    if ((rc = reserve(b, e)))
        return rc;
    if (raw.part && part < 0 && dna_builder_part(b, raw.part, &part, e))
        return mb_err_context(e, "%s:%" PRId64, d->file[d->n_files - 1], raw.line);
    b->pending[d->n] = (dna_pending){
        .token = b->pool->token.n, .name = b->pool->name.n, .label = b->pool->label.n, .whole = whole, .cut = cut};
    if ((rc = put_tokens(b, &raw, cut, e)) ||
        (rc = dna_text_add(&b->pool->name, raw.name, (int64_t)strlen(raw.name) + 1, e)))
        return rc;
    for (int i = 0; i < b->n_columns; i++) {
        b->column[d->n * b->n_columns + i] = raw.column[i];
        if ((rc = dna_text_add(&b->pool->label, raw.label[i], (int64_t)strlen(raw.label[i]) + 1, e)))
            return rc;
    }
    d->at[d->n++] = (dna_example){.length = raw.n, .label = -1, .part = part, .file = d->n_files - 1, .line = raw.line};
    d->n_bases += raw.n;
    return MB_OK;
}

const char *dna_pending_label(const dna_builder *b, int64_t i, int column) {
    const char *s = b->pool->label.data + b->pending[i].label;
    while (column-- > 0)
        s += strlen(s) + 1;
    return s;
}

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

static int exists(const char *path) {
    struct stat s;
    return strcmp(path, "-") == 0 || stat(path, &s) == 0;
}

/* PATH or PATH=LABEL: a path that exists as it stands is one, otherwise the last '=' divides. */
static const char *divide(char *input) {
    char *equal = exists(input) ? NULL : strrchr(input, '=');
    if (!equal || equal == input)
        return NULL;
    *equal = 0;
    return equal + 1;
}

static int read_by_content(dna_builder *b, const char *path, const char *given, mb_err *e) {
    dna_table t;
    int first = 0, rc = dna_table_open(&t, path, e);
    if (rc)
        return rc;
    rc = dna_table_peek(&t, &first, e);
    const int fasta = first == '>' || first == '@';
    if (!rc && !first)
        rc = mb_fail(e, MB_FORMAT, "%s: is empty, expected CSV, TSV or FASTA with labels", t.path);
    else if (!rc && fasta && strcmp(path, "-") == 0)
        rc = mb_fail(e, MB_NOTSUP, "standard input holds FASTA; with labels only CSV and TSV are read from there");
    else if (!rc && !fasta && given)
        rc = mb_fail(e, MB_USAGE,
                     "%s=%s: a label for the whole file goes with FASTA and BED; this is a table, whose "
                     "labels stand in a column",
                     t.path, given);
    else if (!rc && !fasta)
        rc = dna_read_table(b, &t, e);
    dna_table_close(&t);
    return rc || !fasta ? rc : dna_read_fasta(b, given, e);
}

static int read_input(dna_builder *b, const char *input, mb_err *e) {
    char *path = mb_strdup(input);
    if (!path)
        return mb_fail(e, MB_NOMEM, "%s: no memory to read it", input);
    const char *given = divide(path);
    const int bed = mb_path_ends_with(path, ".bed") || mb_path_ends_with(path, ".bed.gz");
    int rc = add_name(&b->d->file, &b->d->n_files, strcmp(path, "-") ? path : "standard input", e);
    if (!rc && !exists(path))
        rc = mb_fail(e, MB_NOTFOUND, "%s: no such file", path);
    if (!rc && given && !*given && !b->o->without_labels)
        rc = mb_fail(e, MB_USAGE, "%s: found nothing behind '=', expected the label of the file", input);
    const int64_t before = b->d->n;
    if (!rc)
        rc = bed ? dna_read_bed(b, given, e) : read_by_content(b, path, given, e);
    if (!rc && b->d->n == before && !b->d->skipped_label && !b->d->skipped_length)
        rc = mb_fail(e, MB_FORMAT, "%s: holds no example", path);
    mb_free(path);
    return rc;
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static void set_pointers(dna_builder *b) {
    dna_labelled *d = b->d;
    struct dna_labelled_pools *p = b->pool;
    MB_ASSERT(d->n == 0 || (p->token.data && p->name.data && b->pending));
    for (int64_t i = 0; i < d->n; i++) {
        dna_example *x = &d->at[i];
        x->token = (const uint8_t *)p->token.data + b->pending[i].token;
        x->name = p->name.data + b->pending[i].name;
        x->base = p->base ? p->base + b->pending[i].token : NULL;
        x->value = p->value ? p->value + i * d->n_labels : NULL;
    }
    dna_text_fini(&p->label);
}

static int say_skipped(dna_labelled *d, mb_err *e) {
    int rc = MB_OK;
    if (d->skipped_label)
        rc = dna_said(d, e, "%" PRId64 " examples without a label were passed over", d->skipped_label);
    if (!rc && d->skipped_length)
        rc = dna_said(d, e, "%" PRId64 " examples of other lengths were passed over", d->skipped_length);
    if (!rc && d->trimmed)
        rc = dna_said(d, e, "%" PRId64 " longer sequences were cut to their middle", d->trimmed);
    return rc;
}

static int read_lists(dna_builder *b, const dna_labelled_files *files, int n_files, mb_err *e) {
    for (int f = 0; f < n_files; f++) {
        b->part = -1;
        int rc = files[f].part ? dna_builder_part(b, files[f].part, &b->part, e) : MB_OK;
        for (int i = 0; !rc && i < files[f].n; i++)
            rc = read_input(b, files[f].inputs[i], e);
        if (rc)
            return rc;
    }
    if (b->d->n == 0)
        return mb_fail(e, MB_FORMAT, "the inputs hold no example%s",
                       b->d->skipped_label || b->d->skipped_length ? " that was not passed over" : "");
    return MB_OK;
}

int dna_labelled_read(dna_labelled *d, const dna_labelled_files *files, int n_files, const dna_labelled_options *o,
                      const dna_alphabet *a, mb_err *e) {
    memset(d, 0, sizeof *d);
    dna_builder b = {.d = d, .o = o, .a = a, .pool = mb_calloc(1, sizeof *b.pool)};
    d->pools = b.pool;
    d->task = o->task;
    int rc = b.pool ? read_lists(&b, files, n_files, e) : mb_fail(e, MB_NOMEM, "no memory to read labels");
    if (!rc && !o->without_labels)
        rc = dna_labels_resolve(&b, e);
    if (!rc)
        rc = say_skipped(d, e);
    if (!rc)
        set_pointers(&b);
    mb_free(b.pending);
    mb_free(b.column);
    free_names(b.column_name, b.n_columns);
    if (rc)
        dna_labelled_fini(d);
    return rc;
}
