/* Before the work: the whole input is read once. Reading costs seconds where the model takes hours, and then a bad
 * letter in the last record, a name given twice or a truncated file is told at once, the progress line knows its end,
 * and the space on disk is checked. Standard input cannot be read twice and is not scanned. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "core/file.h"
#include "core/mem.h"
#include "genomics/embed.h"
#include "genomics/estimate.h"

static int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int plan_batch(embed *j, const dna_batch *b, mb_err *e) {
    const int n = j->reverse_runs ? 2 * b->n : b->n;
    int64_t *length = mb_calloc((size_t)n, sizeof *length);
    if (!length)
        return mb_fail(e, MB_NOMEM, "no memory to plan a batch of %d sequences", n);
    int64_t rows = 0, memory, scratch;
    for (int i = 0; i < n; i++)
        length[i] = b->item[i % b->n].length;
    for (int i = 0; i < b->n; i++)
        rows += dna_pool_rows(&j->pool, length[i]);
    embed_store_need(j, rows, &memory, &scratch);
    j->totals.store_scratch = most(j->totals.store_scratch, scratch);
    const mb_forward_options o = embed_forward_options(j);
    mb_forward_plan plan, *w = &j->totals.worst;
    int rc = mb_forward_plan_make(j->model, length, n, &o, &plan, e);
    if (!rc) {
        w->passes = plan.passes;
        w->stream_bytes = most(w->stream_bytes, plan.stream_bytes);
        w->scratch_bytes = most(w->scratch_bytes, plan.scratch_bytes);
        w->worker_bytes = most(w->worker_bytes, plan.worker_bytes);
    }
    mb_free(length);
    return rc;
}

int embed_scan(embed *j, int with_plan, mb_err *e) {
    dna_items *items = NULL;
    dna_batch b = {0};
    embed_totals *t = &j->totals;
    int rc = dna_items_open(&items, &j->items, &j->alphabet, e), more = 1;
    while (!rc && (more = dna_items_next(items, &b, e)) > 0) {
        t->batches++;
        t->items += b.n;
        t->bases += b.tokens;
        t->crc = (uint32_t)crc32_z(t->crc, (const Bytef *)&b.crc, sizeof b.crc);
        for (int i = 0; i < b.n; i++) {
            t->rows += dna_pool_rows(&j->pool, b.item[i].length);
            t->longest = most(t->longest, b.item[i].length);
            t->n += b.item[i].n_count;
        }
        if (with_plan)
            rc = plan_batch(j, &b, e);
        if (!rc && j->stop && atomic_load(j->stop))
            rc = mb_fail(e, MB_STOPPED, "stopped while checking the input; nothing was written");
    }
    if (!rc && more < 0)
        rc = more;
    if (!rc && t->items == 0 && j->items.shards <= 1)
        rc = mb_fail(e, MB_FORMAT, "the input gives no sequence (reads passed over, empty records or dropped windows)");
    if (!rc)
        dna_items_warn(items);
    j->scanned = !rc;
    dna_batch_fini(&b);
    dna_items_close(items);
    return rc;
}

/* A TSV float takes about 13 bytes. */
int64_t embed_output_bytes(const embed *j) {
    const int64_t element = j->format == EMBED_TSV      ? 13
                            : j->format == EMBED_TSV_GZ ? 6
                                                        : (int64_t)embed_element_bytes(j);
    const double bytes = (double)j->totals.rows * (double)j->columns * (double)element;
    return bytes < 9e18 ? (int64_t)bytes : INT64_MAX;
}

int embed_check_space(const embed *j, mb_err *e) {
    const int64_t room = mb_dir_free_bytes(j->output), bytes = embed_output_bytes(j);
    const double need = (double)bytes * (j->format == EMBED_HDF5 ? 2 : 1); /* raw rows, then the file */
    char a[32], b[32];
    if (!j->scanned || room < 0 || mb_path_is_direct(j->output) || need <= (double)room || j->v->resume)
        return MB_OK;
    return mb_fail(e, MB_IO, "%s: needs %s, its file system has %s free; --dtype f16, --pool or --bin make it smaller",
                   j->output, mb_human_bytes(need, a), mb_human_bytes((double)room, b));
}

static void print_sizes(const embed *j) {
    char s[5][32];
    const embed_totals *t = &j->totals;
    const mb_forward_plan *w = &t->worst;
    const int64_t run = (int64_t)mb_model_bytes(j->model) + w->stream_bytes + w->worker_bytes + t->longest;
    printf("sequences    %" PRId64 " of %" PRId64 " bases in all, the longest %" PRId64 "; %" PRId64 " bases are N\n",
           t->items, t->bases, t->longest, t->n);
    printf("batches      %" PRId64 "\n", t->batches);
    printf("passes       %d over each strand\n", w->passes);
    printf("memory       about %s: weights %s, streams %s, workers %s\n", mb_human_bytes((double)run, s[0]),
           mb_human_bytes((double)mb_model_bytes(j->model), s[1]), mb_human_bytes((double)w->stream_bytes, s[2]),
           mb_human_bytes((double)w->worker_bytes, s[3]));
    const double scratch = (double)w->scratch_bytes + (double)t->store_scratch;
    printf("scratch      %s\n", scratch > 0 ? mb_human_bytes(scratch, s[4]) : "none");
}

int embed_print_plan(embed *j, mb_err *e) {
    static const char *const FORMAT[] = {"", ".npy", "HDF5", "TSV", "TSV, BGZF"};
    char size[32], took[32];
    double rate = 1;
    const mb_forward_options o = embed_forward_options(j);
    int rc = dna_estimate_rate(j->model, &j->alphabet, j->totals.longest, &o, 2.0, &rate, e);
    if (rc)
        return rc;
    print_sizes(j);
    printf("output       %s (%s): %" PRId64 " rows of ", j->output, FORMAT[j->format], j->totals.rows);
    if (j->n_layers > 1)
        printf("%d layers x ", j->n_layers);
    printf("%d columns, %s%s\n", j->width, j->format == EMBED_TSV || j->format == EMBED_TSV_GZ ? "about " : "",
           mb_human_bytes((double)embed_output_bytes(j), size));
    printf("time         about %s on %d threads (%.3g bp/s on random bases)\n",
           mb_human_seconds((double)j->totals.bases * (j->reverse_runs ? 2 : 1) / rate, took),
           (int)j->run->globals.threads, rate);
    return MB_OK;
}
