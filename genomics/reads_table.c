/* Results of reads as a table, a row for each read that has one: TSV, or HDF5 with
 *   /reads/name, contig (strings), flag, start, end, mapq, length, n_count (integers)
 *   /score/loglik, bits_per_base (doubles), scored (integers)      or      /embeddings (rows, columns)
 *   or /reads/answer (strings) and /probabilities or /numbers (rows, labels)
 * whose datasets grow batch by batch. Places are 0-based and half open; -1 and contig "." for reads that lie nowhere.
 * Refuses names that hold control characters. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "core/hdf5_out.h"
#include "core/mem.h"
#include "genomics/reads.h"

enum { FLAG, START, END, MAPQ, LENGTH, N_COUNT, SCORED, NUMBERS };
static const char *const NUMBER_NAME[NUMBERS] = {"reads/flag",   "reads/start",   "reads/end",   "reads/mapq",
                                                 "reads/length", "reads/n_count", "score/scored"};

struct reads_table {
    const reads_table_options *o;
    sam_hdr_t *header;
    mb_out *text; /* TSV */
    mb_h5 *h5;
    mb_h5_column *name, *contig, *answer, *loglik, *bits, *value, *number[NUMBERS];
};

static int has_answer(const reads_tags *t) {
    return t->what == READS_CLASSIFY && t->task != DNA_TASK_REGRESSION;
}

static int has_values(const reads_tags *t) {
    return t->what == READS_EMBED || (t->what == READS_CLASSIFY && t->task != DNA_TASK_BASES);
}

/* ---- one row --------------------------------------------------------------------------------------------------------
 */

typedef struct row {
    const char *name, *contig;
    int64_t number[NUMBERS];
    char strand;
} row;

static int make_row(const reads_table *t, const reads_batch *b, const reads_results *r, int i, row *to, mb_err *e) {
    const reads_slot *s = &b->slot[b->slot_of[i]];
    const bam1_core_t *c = &s->b->core;
    const int placed = c->tid >= 0 && !(c->flag & BAM_FUNMAP);
    char place[512];
    to->name = bam_get_qname(s->b);
    for (const char *p = to->name; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return mb_fail(e, MB_FORMAT, "%s: its name holds control characters", reads_place(place, t->o->input, s));
    to->contig = placed ? sam_hdr_tid2name(t->header, c->tid) : ".";
    to->number[FLAG] = c->flag;
    to->number[START] = placed ? c->pos : -1;
    to->number[END] = placed ? (int64_t)bam_endpos(s->b) : -1;
    to->number[MAPQ] = c->qual;
    to->number[LENGTH] = b->taken.item[i].length;
    to->number[N_COUNT] = b->taken.item[i].n_count;
    to->number[SCORED] = r->scored ? r->scored[i] : 0;
    to->strand = (char)(!placed ? '.' : bam_is_rev(s->b) ? '-' : '+');
    return MB_OK;
}

/* ---- TSV ------------------------------------------------------------------------------------------------------------
 */

static int put_titles(const reads_table *t, mb_err *e) {
    const reads_tags *g = t->o->tags;
    int rc =
        mb_out_printf(t->text, e, "name\tflag\tcontig\tstart\tend\tstrand\tmapq\tlength\tn_count%s%s",
                      g->what == READS_SCORE ? "\tscored\tloglik\tbits_per_base" : "", has_answer(g) ? "\tanswer" : "");
    for (int c = 0; rc == MB_OK && has_values(g) && c < g->columns; c++)
        rc = g->what == READS_EMBED ? mb_out_printf(t->text, e, "\te%d", c)
                                    : mb_out_printf(t->text, e, "\t%s%s", has_answer(g) ? "p_" : "", g->labels[c]);
    return rc == MB_OK ? mb_out_write(t->text, "\n", 1, e) : rc;
}

static int put_line(const reads_table *t, const reads_batch *b, const reads_results *r, int i, mb_err *e) {
    const int columns = t->o->tags->columns;
    row w;
    int rc = make_row(t, b, r, i, &w, e);
    if (rc == MB_OK)
        rc = mb_out_printf(t->text, e,
                           "%s\t%" PRId64 "\t%s\t%" PRId64 "\t%" PRId64 "\t%c\t%" PRId64 "\t%" PRId64 "\t%" PRId64,
                           w.name, w.number[FLAG], w.contig, w.number[START], w.number[END], w.strand, w.number[MAPQ],
                           w.number[LENGTH], w.number[N_COUNT]);
    if (rc == MB_OK && r->bits)
        rc = mb_out_printf(t->text, e, "\t%" PRId64 "\t%.6f\t%.6f", r->scored[i], r->loglik[i], r->bits[i]);
    if (rc == MB_OK && r->answer)
        rc = mb_out_printf(t->text, e, "\t%s", r->answer[i]);
    for (int c = 0; rc == MB_OK && r->value && c < columns; c++)
        rc = mb_out_printf(t->text, e, t->o->tags->what == READS_EMBED ? "\t%.9g" : "\t%.6g",
                           (double)r->value[(ptrdiff_t)i * columns + c]);
    return rc == MB_OK ? mb_out_write(t->text, "\n", 1, e) : rc;
}

/* ---- HDF5 -----------------------------------------------------------------------------------------------------------
 */

static int describe(const reads_table *t, mb_err *e) {
    static const char *const WHAT[] = {"score", "embed", "classify"};
    const reads_tags *g = t->o->tags;
    const char *const pair[][2] = {
        {"program", "dna-mamba reads"}, {"version", mb_version()}, {"model", t->o->model}, {"what", WHAT[g->what]}};
    int rc = MB_OK;
    for (size_t i = 0; rc == MB_OK && i < sizeof pair / sizeof *pair; i++)
        rc = mb_h5_attr_string(t->h5, "", pair[i][0], pair[i][1], e);
    for (int c = 0; rc == MB_OK && g->what == READS_CLASSIFY && g->labels && c < g->columns; c++) {
        char *name = mb_asprintf("label%d", c);
        rc = name ? mb_h5_attr_string(t->h5, "", name, g->labels[c], e)
                  : mb_fail(e, MB_NOMEM, "no memory for the name of a label");
        mb_free(name);
    }
    return rc;
}

static int make_columns(reads_table *t, mb_err *e) {
    const reads_tags *g = t->o->tags;
    const int score = g->what == READS_SCORE, gzip = t->o->gzip;
    int rc = mb_h5_column_strings(&t->name, t->h5, "reads/name", e);
    if (rc == MB_OK)
        rc = mb_h5_column_strings(&t->contig, t->h5, "reads/contig", e);
    for (int i = 0; rc == MB_OK && i < NUMBERS; i++)
        if (i != SCORED || score)
            rc = mb_h5_column_create(&t->number[i], t->h5, NUMBER_NAME[i], MB_I64, 0, gzip, e);
    if (rc == MB_OK && score)
        rc = mb_h5_column_create(&t->loglik, t->h5, "score/loglik", MB_F64, 0, gzip, e);
    if (rc == MB_OK && score)
        rc = mb_h5_column_create(&t->bits, t->h5, "score/bits_per_base", MB_F64, 0, gzip, e);
    if (rc == MB_OK && has_answer(g))
        rc = mb_h5_column_strings(&t->answer, t->h5, "reads/answer", e);
    if (rc == MB_OK && has_values(g))
        rc = mb_h5_column_create(&t->value, t->h5,
                                 g->what == READS_EMBED ? "embeddings"
                                 : has_answer(g)        ? "probabilities"
                                                        : "numbers",
                                 MB_F32, g->columns, gzip, e);
    return rc;
}

static int append_strings(const reads_table *t, const reads_batch *b, const reads_results *r, int64_t *number,
                          const char **text, mb_err *e) {
    const size_t n = (size_t)r->n;
    int rc = MB_OK;
    for (size_t i = 0; rc == MB_OK && i < n; i++) {
        row w = {0};
        rc = make_row(t, b, r, (int)i, &w, e);
        for (int c = 0; rc == MB_OK && c < NUMBERS; c++)
            number[(size_t)c * n + i] = w.number[c];
        text[i] = w.name;
        text[n + i] = w.contig;
    }
    if (rc == MB_OK)
        rc = mb_h5_column_append(t->name, r->n, text, e);
    if (rc == MB_OK)
        rc = mb_h5_column_append(t->contig, r->n, text + n, e);
    for (int c = 0; rc == MB_OK && c < NUMBERS; c++)
        if (t->number[c])
            rc = mb_h5_column_append(t->number[c], r->n, number + (size_t)c * n, e);
    return rc;
}

static int append_rows(const reads_table *t, const reads_batch *b, const reads_results *r, mb_err *e) {
    int64_t *number = mb_calloc((size_t)r->n, NUMBERS * sizeof *number);
    const char **text = mb_calloc((size_t)r->n, 2 * sizeof *text);
    int rc =
        number && text ? append_strings(t, b, r, number, text, e) : mb_fail(e, MB_NOMEM, "no memory for %d rows", r->n);
    if (rc == MB_OK && t->loglik)
        rc = mb_h5_column_append(t->loglik, r->n, r->loglik, e);
    if (rc == MB_OK && t->bits)
        rc = mb_h5_column_append(t->bits, r->n, r->bits, e);
    if (rc == MB_OK && t->answer)
        rc = mb_h5_column_append(t->answer, r->n, r->answer, e);
    if (rc == MB_OK && t->value)
        rc = mb_h5_column_append(t->value, r->n, r->value, e);
    mb_free(number);
    mb_free(text);
    return rc;
}

/* ---- both -----------------------------------------------------------------------------------------------------------
 */

static void close_columns(reads_table *t) {
    mb_h5_column *const all[] = {t->name, t->contig, t->answer, t->loglik, t->bits, t->value};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mb_h5_column_close(all[i]);
    for (int i = 0; i < NUMBERS; i++)
        mb_h5_column_close(t->number[i]);
}

void reads_table_abort(reads_table *t) {
    if (!t)
        return;
    close_columns(t);
    mb_h5_abort(t->h5);
    mb_out_abort(t->text);
    mb_free(t);
}

int reads_table_open(reads_table **out, const reads_table_options *o, sam_hdr_t *header, mb_err *e) {
    *out = NULL;
    reads_table *t = mb_calloc(1, sizeof *t);
    if (!t)
        return mb_fail(e, MB_NOMEM, "%s: no memory to write it", o->path);
    *t = (reads_table){.o = o, .header = header};
    int rc;
    if (o->format == READS_TSV) {
        rc = mb_out_create(&t->text, o->path, e);
        if (rc == MB_OK)
            rc = put_titles(t, e);
    } else {
        rc = mb_h5_create(&t->h5, o->path, e);
        if (rc == MB_OK)
            rc = describe(t, e);
        if (rc == MB_OK)
            rc = make_columns(t, e);
    }
    if (rc != MB_OK)
        reads_table_abort(t);
    else
        *out = t;
    return rc;
}

int reads_table_put(reads_table *t, const reads_batch *b, const reads_results *r, mb_err *e) {
    int rc = MB_OK;
    if (t->h5)
        return r->n > 0 ? append_rows(t, b, r, e) : MB_OK;
    for (int i = 0; rc == MB_OK && i < r->n; i++)
        rc = put_line(t, b, r, i, e);
    return rc;
}

int reads_table_finish(reads_table *t, mb_out **ready, mb_err *e) {
    int rc = MB_OK;
    close_columns(t);
    *ready = t->text;
    if (t->h5)
        rc = mb_h5_commit(t->h5, e);
    mb_free(t);
    return rc;
}
