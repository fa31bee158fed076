/* The HDF5 file, made from the raw rows and the index when all rows are there:
 *   /embeddings       (sequences, [layers,] columns)   one row per sequence (--pool without --bin)
 *   /sequences/NAME   (rows, [layers,] columns)        a dataset per sequence otherwise, with its place as attributes
 *   /index/name, contig, strand (strings), offset, length, start, end, n_count, row_start, row_end (integers)
 * NAME is the sequence's name with '/' as '|', ":from-to" (from 1, within the record) added for windows, and "#number"
 * when that came before. Attributes of the file say how the rows were made. Refuses nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/hdf5_out.h"
#include "core/mem.h"
#include "genomics/embed.h"
#include "genomics/names.h"

enum { ROW_START, ROW_END, NAME, OFFSET, LENGTH, CONTIG, START, END, STRAND, N_COUNT, COLUMNS };
static const char *const COLUMN_NAME[COLUMNS] = {"row_start", "row_end", "name", "offset", "length",
                                                 "contig",    "start",   "end",  "strand", "n_count"};

typedef struct table { /* the index, taken apart */
    char *text;
    int64_t n;
    const char **string[COLUMNS]; /* (n) or NULL */
    int64_t *number[COLUMNS];     /* (n) or NULL */
} table;

static int is_string(int column) {
    return column == NAME || column == CONTIG || column == STRAND;
}

static void free_table(table *t) {
    mb_free(t->text);
    for (int c = 0; c < COLUMNS; c++) {
        mb_free(t->string[c]);
        mb_free(t->number[c]);
    }
}

static int allocate_table(table *t, dna_partial *p, mb_err *e) {
    const int64_t size = dna_partial_index_end(p);
    t->n = dna_partial_items(p);
    t->text = mb_calloc((size_t)size + 1, 1);
    int ok = t->text != NULL;
    for (int c = 0; c < COLUMNS; c++) {
        if (is_string(c))
            ok &= (t->string[c] = mb_calloc((size_t)t->n, sizeof **t->string)) != NULL;
        else
            ok &= (t->number[c] = mb_calloc((size_t)t->n, sizeof **t->number)) != NULL;
    }
    return ok ? dna_partial_get_index(p, t->text, size, 0, e)
              : mb_fail(e, MB_NOMEM, "no memory for the index of %" PRId64 " sequences", t->n);
}

/* The lines are our own and were checked by their checksums: a wrong one is a bug. */
static int read_table(table *t, dna_partial *p, mb_err *e) {
    int rc = allocate_table(t, p, e);
    if (rc)
        return rc;
    char *at = strchr(t->text, '\n');
    MB_ASSERT(at);
    at++;
    for (int64_t i = 0; i < t->n; i++)
        for (int c = 0; c < COLUMNS; c++) {
            char *end = at + strcspn(at, "\t\n");
            MB_ASSERT(*end == (c + 1 == COLUMNS ? '\n' : '\t'));
            *end = 0;
            if (is_string(c))
                t->string[c][i] = at;
            else
                t->number[c][i] = strtoll(at, NULL, 10);
            at = end + 1;
        }
    return MB_OK;
}

static int write_table(mb_h5 *h, const table *t, mb_err *e) {
    int rc = MB_OK;
    for (int c = 0; !rc && c < COLUMNS; c++) {
        char name[32];
        snprintf(name, sizeof name, "index/%s", COLUMN_NAME[c]);
        if (is_string(c)) {
            rc = mb_h5_strings(h, name, t->string[c], t->n, e);
            continue;
        }
        rc = mb_h5_dataset(h, name, MB_I64, 1, &t->n, 0, e);
        if (!rc)
            rc = mb_h5_write(h, 0, t->n, t->number[c], e);
    }
    return rc;
}

/* Rows [from, to) of the raw data as a dataset. */
static int copy_rows(embed *j, mb_h5 *h, dna_partial *p, const char *name, int64_t from, int64_t to, mb_err *e) {
    const int64_t row_bytes = j->columns * (int64_t)embed_element_bytes(j);
    const int64_t part = row_bytes < (1 << 22) ? (1 << 22) / row_bytes : 1;
    const int64_t deep[] = {to - from, j->n_layers, j->width}, flat[] = {to - from, j->width};
    int rc = j->n_layers > 1 ? mb_h5_dataset(h, name, j->dtype, 3, deep, (int)j->v->gzip, e)
                             : mb_h5_dataset(h, name, j->dtype, 2, flat, (int)j->v->gzip, e);
    char *rows = rc ? NULL : mb_malloc((size_t)(part * row_bytes));
    if (!rc && !rows)
        rc = mb_fail(e, MB_NOMEM, "no memory to copy rows");
    for (int64_t row = from; !rc && row < to; row += part) {
        int64_t n = to - row < part ? to - row : part;
        rc = dna_partial_get(p, rows, n * row_bytes, row * row_bytes, e);
        if (!rc)
            rc = mb_h5_write(h, row - from, n, rows, e);
    }
    mb_free(rows);
    return rc;
}

static char *dataset_name(const embed *j, const table *t, int64_t i, dna_names *seen, mb_err *e) {
    const char *name = t->string[NAME][i];
    const int64_t from = t->number[OFFSET][i];
    char *link = j->items.window
                     ? mb_asprintf("sequences/%s:%" PRId64 "-%" PRId64, name, from + 1, from + t->number[LENGTH][i])
                     : mb_asprintf("sequences/%s%s", strspn(name, ".") == strlen(name) ? "_" : "", name);
    for (char *c = link ? link + strlen("sequences/") : NULL; c && *c; c++)
        if (*c == '/')
            *c = '|';
    int64_t before = link ? dna_names_add(seen, link, i + 1, e) : 0;
    if (link && before) {
        char *numbered = before > 0 ? mb_asprintf("%s#%" PRId64, link, i + 1) : NULL;
        mb_free(link);
        link = numbered;
    }
    if (!link)
        mb_fail(e, MB_NOMEM, "no memory for the name of a dataset");
    return link;
}

static int describe_dataset(mb_h5 *h, const char *link, const table *t, int64_t i, mb_err *e) {
    int rc = MB_OK;
    for (int c = NAME; !rc && c < COLUMNS; c++)
        rc = is_string(c) ? mb_h5_attr_string(h, link, COLUMN_NAME[c], t->string[c][i], e)
                          : mb_h5_attr_int(h, link, COLUMN_NAME[c], t->number[c][i], e);
    return rc;
}

static int write_each(embed *j, mb_h5 *h, dna_partial *p, const table *t, mb_err *e) {
    dna_names seen = {0};
    int rc = MB_OK;
    for (int64_t i = 0; !rc && i < t->n; i++) {
        char *link = dataset_name(j, t, i, &seen, e);
        rc = link ? copy_rows(j, h, p, link, t->number[ROW_START][i], t->number[ROW_END][i], e) : MB_NOMEM;
        if (!rc)
            rc = describe_dataset(h, link, t, i, e);
        mb_free(link);
    }
    dna_names_fini(&seen);
    return rc;
}

static int describe_file(embed *j, mb_h5 *h, mb_err *e) {
    static const char *const POOL[] = {"none", "mean", "max", "center"};
    static const char *const STRANDS[] = {"auto", "forward", "both", "conjoin"};
    char layers[512] = "";
    for (int i = 0, n = 0; i < j->n_layers && n < (int)sizeof layers - 16; i++)
        n += snprintf(layers + n, sizeof layers - (size_t)n, "%s%d", i ? "," : "", j->layer[i]);
    const char *const pair[][2] = {
        {"program", "dna-mamba embed"}, {"version", mb_version()}, {"model", j->v->model},
        {"alphabet", j->alphabet.name}, {"layers", layers},        {"pool", POOL[j->v->pool]},
        {"strand", STRANDS[j->strand]}};
    int rc = MB_OK;
    for (size_t i = 0; !rc && i < sizeof pair / sizeof *pair; i++)
        rc = mb_h5_attr_string(h, "", pair[i][0], pair[i][1], e);
    if (!rc)
        rc = mb_h5_attr_int(h, "", "bin", j->v->bin, e);
    if (!rc)
        rc = mb_h5_attr_int(h, "", "window", j->items.window, e);
    return rc ? rc : mb_h5_attr_int(h, "", "stride", j->items.stride, e);
}

int embed_make_hdf5(void *job, dna_partial *p, mb_err *e) {
    embed *j = job;
    table t = {0};
    mb_h5 *h = NULL;
    int rc = read_table(&t, p, e);
    if (!rc)
        rc = mb_h5_create(&h, j->output, e);
    if (!rc)
        rc = describe_file(j, h, e);
    if (!rc)
        rc = write_table(h, &t, e);
    if (!rc && j->v->pool != DNA_POOL_NONE && !j->v->bin)
        rc = copy_rows(j, h, p, "embeddings", 0, dna_partial_rows(p), e);
    else if (!rc)
        rc = write_each(j, h, p, &t, e);
    free_table(&t);
    if (!rc)
        return mb_h5_commit(h, e);
    mb_h5_abort(h);
    return rc;
}
