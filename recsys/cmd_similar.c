/* recmamba similar: for items, those whose embeddings are nearest. */
#include <inttypes.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/nearest.h"
#include "core/result.h"
#include "recsys/commands.h"
#include "recsys/items.h"
#include "recsys/list.h"
#include "recsys/use.h"

typedef struct similar_values {
    rec_use_values use;
    char *output, *items;
    int64_t k;
    int measure;
} similar_values;

#define V similar_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    REC_USE_OPTIONS(V, use),
    OPTION(items, STRING, .letter = 'i', .def = "all", .meta = "all|FILE|ID,ID,..",
           .help =
               "Items to find others for: all; a file with an identifier a line; or identifiers with commas between."),
    OPTION(k, INT, .letter = 'k', .def = "10", .min = 1, .max = 1e6, .meta = "N", .help = "Neighbours of each item."),
    OPTION(measure, CHOICE, .def = "cosine", .choices = MB_NEAREST_CHOICES,
           .help = "cosine: of the angle between the embeddings, the largest first. l2: distance, the smallest first. "
                   "dot: inner product, the largest first."),
    OPTION(output, STRING, .letter = 'o', .def = "-", .meta = "FILE",
           .help = "TSV: item, rank, the value, similar; - is standard output. FILE.run.json says how it was made."),
    {0}};
#undef OPTION
#undef V

static const char DETAILS[] =
    "Compares the embeddings that the model has of its items: near ones are met by like users in like places. The "
    "search is exact, an item is not its own neighbour, and equal values are in the order of the model's items.\n"
    "\n"
    "  recmamba similar -m build/movies --items 318,296 -k 3";

typedef struct job {
    mb_run *run;
    const similar_values *v;
    rec_model *model;
    int32_t *item, n; /* asked for */
    float *row;       /* (n,D) their embeddings */
    mb_nearest_options o;
    int64_t block;
    mb_out *out;
} job;

static int take_items(job *j, mb_err *e) {
    const int all = strcmp(j->v->items, "all") == 0, n_all = rec_model_items(j->model);
    rec_names list = {0};
    int rc = all ? MB_OK : rec_list_read(&list, j->v->items, "item", e);
    const int32_t n = all ? n_all : list.n;
    if (rc == MB_OK && !(j->item = mb_calloc((size_t)n + 1, sizeof *j->item)))
        rc = mb_fail(e, MB_NOMEM, "no memory for a list of items");
    for (int32_t i = 0; rc == MB_OK && i < n; i++) {
        const int32_t item =
            all ? i + 1 : rec_model_find_item(j->model, list.text + list.at[i], (int)(list.at[i + 1] - list.at[i]));
        if (item > 0)
            j->item[j->n++] = item;
    }
    if (rc == MB_OK && j->n == 0)
        rc = mb_fail(e, MB_FORMAT, "--items: the model knows none of the %d items", n);
    else if (rc == MB_OK && j->n < n)
        mb_warn("--items: the model does not know %d of the %d items", n - j->n, n);
    rec_names_free(&list);
    return rc;
}

static int set_up(job *j, mb_err *e) {
    int rc = rec_use_open(&j->model, &j->v->use, j->run, e);
    if (rc == MB_OK)
        rc = take_items(j, e);
    if (rc != MB_OK)
        return rc;
    const size_t D = (size_t)mb_model_config(rec_model_engine(j->model))->D;
    const float *E = mb_model_params(rec_model_engine(j->model))->embedding;
    if (!(j->row = mb_calloc((size_t)j->n, D * sizeof *j->row)))
        return mb_fail(e, MB_NOMEM, "no memory for the embeddings of %d items", j->n);
    for (int32_t i = 0; i < j->n; i++)
        memcpy(j->row + (size_t)i * D, E + (size_t)j->item[i] * D, D * sizeof *j->row);
    /* one more than asked for: the item itself is among them, or all of them are better */
    const int64_t k = j->v->k < rec_model_items(j->model) ? j->v->k + 1 : rec_model_items(j->model);
    j->o = (mb_nearest_options){.measure = j->v->measure,
                                .k = (int)k,
                                .threads = (int)j->run->globals.threads,
                                .memory = j->run->globals.memory,
                                .device = j->run->globals.device,
                                .stop = mb_cli_stop()};
    j->block = mb_nearest_block(j->n, (int)D, &j->o);
    return MB_OK;
}

static int put_item(const job *j, int32_t item, const mb_nearest_hit *hit, mb_err *e) {
    int rc = MB_OK, rank = 0;
    for (int c = 0; rc == MB_OK && c < j->o.k && hit[c].row >= 0 && rank < j->v->k; c++) {
        const int32_t other = (int32_t)hit[c].row + 1;
        if (other == item)
            continue;
        rc = rec_id_put(j->out, rec_model_item_id(j->model, item), e);
        if (rc == MB_OK)
            rc = mb_out_printf(j->out, e, "\t%d\t%.9g\t", ++rank, hit[c].value);
        if (rc == MB_OK)
            rc = rec_id_put(j->out, rec_model_item_id(j->model, other), e);
        if (rc == MB_OK)
            rc = mb_out_write(j->out, "\n", 1, e);
    }
    return rc;
}

static int run_blocks(job *j, mb_err *e) {
    static const char *const MEASURE[] = {"cosine", "l2", "dot"};
    const int D = mb_model_config(rec_model_engine(j->model))->D;
    const float *E = mb_model_params(rec_model_engine(j->model))->embedding;
    const mb_nearest_rows index = {E + D, MB_F32, rec_model_items(j->model), D}, query = {j->row, MB_F32, j->n, D};
    mb_nearest_hit *hit = mb_calloc((size_t)j->block, (size_t)j->o.k * sizeof *hit);
    int rc = hit ? mb_out_printf(j->out, e, "item\trank\t%s\tsimilar\n", MEASURE[j->o.measure])
                 : mb_fail(e, MB_NOMEM, "no memory for the neighbours of %" PRId64 " items", j->block);
    for (int64_t from = 0, n; rc == MB_OK && from < j->n; from += n) {
        mb_nearest_counts counts;
        n = j->n - from < j->block ? j->n - from : j->block;
        rc = mb_nearest_run(&index, &query, from, n, &j->o, hit, &counts, e);
        for (int64_t i = 0; rc == MB_OK && i < n; i++)
            rc = put_item(j, j->item[from + i], hit + i * j->o.k, e);
    }
    mb_free(hit);
    return rc;
}

static int compute(job *j, mb_err *e) {
    mb_provenance *p = NULL;
    int rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = mb_out_create(&j->out, j->v->output, e);
    if (rc == MB_OK) {
        j->o.progress = mb_progress_start("similar", "pairs", (double)j->n * (double)rec_model_items(j->model));
        rc = run_blocks(j, e);
        mb_progress_finish(j->o.progress);
    }
    if (rc == MB_OK)
        rc = rec_use_note(j->model, p, e);
    rc = mb_result_commit(j->v->output, &j->out, 1, p, rc, e);
    mb_provenance_free(p);
    return rc;
}

static int run_similar(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    int rc = set_up(&j, e);
    if (rc == MB_OK && run->globals.dry_run)
        printf("items        %d of %d\noutput       %s (dry run: nothing was written)\n", j.n, rec_model_items(j.model),
               j.v->output);
    else if (rc == MB_OK)
        rc = compute(&j, e);
    rec_model_close(j.model);
    mb_free(j.item);
    mb_free(j.row);
    return rc;
}

const mb_verb rec_similar_verb = {.name = "similar",
                                  .summary = "the items nearest to given ones, by their embeddings",
                                  .usage = "-m FOLDER [--items LIST] [-k N] [-o FILE] [options]",
                                  .details = DETAILS,
                                  .options = OPTIONS,
                                  .values_size = sizeof(similar_values),
                                  .min_args = 0,
                                  .max_args = 0,
                                  .run = run_similar};
