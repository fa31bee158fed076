/* The HTML report of `dna-mamba embed`: the rows on their two leading principal components, made from the finished
 * rows, so that a resumed run gives the page of an uninterrupted one. Refuses nothing. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/npy.h"
#include "core/page.h"
#include "core/pca.h"
#include "genomics/embed.h"

enum { MOST_ROWS = 3000, MOST_FLOATS = 16 << 20, NAME = 60 };

typedef struct group { /* rows of one sequence */
    char name[NAME];
    int64_t from, end; /* rows of the result */
} group;

typedef struct page {
    embed *j;
    dna_partial *partial;
    int64_t rows, every, n; /* all; rows 0, every, 2 every, ... are looked at: n of them, but for not finite ones */
    float *value;           /* (n, columns) */
    double *number, *norm;  /* (n) which row; its length */
    mb_pca pca;
    group group[MB_CHART_SERIES];
    int n_groups; /* 0: too many to tell apart */
} page;

static int is_finite_row(const float *v, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return 0;
    return 1;
}

static int read_row(const page *p, int64_t row, void *raw, float *value, mb_err *e) {
    const embed *j = p->j;
    const int64_t bytes = j->columns * (int64_t)embed_element_bytes(j);
    const int64_t head = j->format == EMBED_NPY ? EMBED_NPY_HEAD : 0;
    int rc = dna_partial_get(p->partial, raw, bytes, head + row * bytes, e);
    const uint16_t *half = raw;
    if (rc == MB_OK && j->dtype == MB_F16)
        for (int64_t c = 0; c < j->columns; c++)
            value[c] = mb_f16_to_f32(half[c]);
    else if (rc == MB_OK)
        memcpy(value, raw, (size_t)bytes);
    return rc;
}

static int read_rows(page *p, mb_err *e) {
    const int64_t D = p->j->columns, fit = MOST_FLOATS / D > 2 ? MOST_FLOATS / D : 2;
    const int64_t most = fit < MOST_ROWS ? fit : MOST_ROWS;
    p->rows = dna_partial_rows(p->partial);
    p->every = (p->rows + most - 1) / most;
    const size_t room = (size_t)((p->rows + p->every - 1) / p->every);
    void *raw = mb_malloc((size_t)D * sizeof(float));
    p->value = mb_malloc(room * (size_t)D * sizeof *p->value);
    p->number = mb_malloc(room * sizeof *p->number);
    p->norm = mb_malloc(room * sizeof *p->norm);
    int rc = raw && p->value && p->number && p->norm ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a report");
    for (int64_t row = 0; rc == MB_OK && row < p->rows; row += p->every) {
        float *v = p->value + p->n * D;
        rc = read_row(p, row, raw, v, e);
        if (rc != MB_OK || !is_finite_row(v, D))
            continue;
        double sum = 0;
        for (int64_t c = 0; c < D; c++)
            sum += (double)v[c] * (double)v[c];
        p->norm[p->n] = sqrt(sum);
        p->number[p->n++] = (double)row;
    }
    mb_free(raw);
    return rc;
}

/* The index of a .npy result stands in its place by now; that of an HDF5 file is still raw. mb_free. */
static int read_index(const page *p, char **text, mb_err *e) {
    size_t size = (size_t)dna_partial_index_end(p->partial);
    if (p->j->format == EMBED_NPY) {
        char *path = mb_asprintf("%s.index.tsv", p->j->output);
        int rc = path ? mb_file_read_all(path, size, text, &size, e) : mb_fail(e, MB_NOMEM, "no memory for a report");
        mb_free(path);
        return rc;
    }
    *text = mb_calloc(size + 1, 1);
    return *text ? dna_partial_get_index(p->partial, *text, (int64_t)size, 0, e)
                 : mb_fail(e, MB_NOMEM, "no memory for a report");
}

/* Sequences as the index names them, when they are few enough for a colour each. */
static int read_groups(page *p, mb_err *e) {
    char *text = NULL;
    if (dna_partial_items(p->partial) > MB_CHART_SERIES)
        return MB_OK;
    int rc = read_index(p, &text, e);
    const char *line = rc == MB_OK ? strchr(text, '\n') : NULL; /* the first has the names of the columns */
    while (line && line[1] && p->n_groups < MB_CHART_SERIES) {
        const char *at = line + 1;
        group *g = &p->group[p->n_groups];
        line = strchr(at, '\n');
        if (!dna_take_number(&at, 10, '\t', &g->from) || !dna_take_number(&at, 10, '\t', &g->end))
            continue;
        const size_t n = strcspn(at, "\t\n");
        snprintf(g->name, sizeof g->name, "%.*s", (int)(n < NAME ? n : NAME - 1), at);
        p->n_groups++;
    }
    mb_free(text);
    return rc;
}

/* One series for each group, or one for all; x and y: (n). */
static int fill_series(const page *p, mb_series *s, int kind, const double *x, const double *y) {
    int n = 0;
    int64_t i = 0;
    for (int g = 0; g < p->n_groups; g++) {
        while (i < p->n && p->number[i] < (double)p->group[g].from)
            i++;
        int64_t end = i;
        while (end < p->n && p->number[end] < (double)p->group[g].end)
            end++;
        if (end > i) {
            s[n] = (mb_series){.name = p->group[g].name, .kind = kind, .x = x + i, .y = y + i, .n = end - i};
            n++;
        }
        i = end;
    }
    if (n == 0) {
        s[0] = (mb_series){.kind = kind, .x = x, .y = y, .n = p->n};
        n = 1;
    }
    if (n == 1)
        s[0].name = NULL; /* the page says which */
    return n;
}

static void put_charts(mb_page *out, const page *p) {
    mb_series s[MB_CHART_SERIES];
    char first[64], second[64];
    snprintf(first, sizeof first, "component 1 (%.1f %% of the variance)", 100 * p->pca.share[0]);
    snprintf(second, sizeof second, "component 2 (%.1f %%)", 100 * p->pca.share[1]);
    mb_page_heading(out, "Rows on their principal components");
    mb_chart c = {.title = "Alike rows lie together", .x_label = first, .y_label = second, .series = s, .height = 400};
    c.n_series = fill_series(p, s, MB_SERIES_POINTS, p->pca.at[0], p->pca.at[1]);
    mb_page_chart(out, &c);
    c = (mb_chart){.title = "The first component along the result", .x_label = "row", .y_label = first, .series = s};
    c.n_series = fill_series(p, s, p->n_groups ? MB_SERIES_LINE : MB_SERIES_POINTS, p->number, p->pca.at[0]);
    mb_page_chart(out, &c);
    c = (mb_chart){.title = "Length of the rows", .x_label = "row", .y_label = "Euclidean length", .series = s};
    c.n_series = fill_series(p, s, MB_SERIES_POINTS, p->number, p->norm);
    mb_page_chart(out, &c);
    if (p->every > 1)
        mb_page_text(out, "The charts show one row of %" PRId64 ": 0, %" PRId64 ", %" PRId64 ", ...", p->every,
                     p->every, 2 * p->every);
}

static const char *strand_words(const embed *j) {
    return j->strand == EMBED_BOTH ? "both" : j->strand == EMBED_CONJOIN ? "conjoined" : "forward";
}

static void put_facts(mb_page *out, const page *p) {
    const embed *j = p->j;
    mb_page_fact(out, "model", "%s", j->v->model);
    mb_page_fact(out, "result", "%s", j->output);
    mb_page_fact(out, "sequences", "%" PRId64, dna_partial_items(p->partial));
    mb_page_fact(out, "rows", "%" PRId64, p->rows);
    mb_page_fact(out, "columns", "%" PRId64, j->columns);
    mb_page_fact(out, "layers", "%d", j->n_layers);
    mb_page_fact(out, "strands", "%s", strand_words(j));
    if (j->v->bin)
        mb_page_fact(out, "bases of a bin", "%" PRId64, j->v->bin);
    if (p->n_groups == 1)
        mb_page_fact(out, "sequence", "%s", p->group[0].name);
}

int embed_page_write(embed *j, dna_partial *partial, mb_err *e) {
    page p = {.j = j, .partial = partial};
    mb_page *out = NULL;
    int rc = read_rows(&p, e);
    if (rc == MB_OK)
        rc = read_groups(&p, e);
    if (rc == MB_OK && p.n > 0)
        rc = mb_pca_make(&p.pca, p.value, p.n, (int)j->columns, e);
    if (rc == MB_OK)
        rc = mb_page_create(&out, "Embedded sequences", e);
    if (rc == MB_OK) {
        put_facts(out, &p);
        if (p.n > 1)
            put_charts(out, &p);
        rc = mb_page_write(out, j->provenance, j->v->report, e);
    }
    mb_page_destroy(out);
    mb_pca_free(&p.pca);
    mb_free(p.value);
    mb_free(p.number);
    mb_free(p.norm);
    return rc;
}
