/* What a run of embed is: model, letters, streams, strands, format; and the digest of all that its bytes depend on.
 * Refuses combinations that make no sense, each with the way out. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/rng.h"
#include "genomics/embed.h"

void embed_fini(embed *j) {
    mb_model_destroy(j->model);
    mb_free(j->layer);
}

static int set_format(embed *j, mb_err *e) {
    static const struct {
        const char *end;
        embed_format format;
    } KNOWN[] = {{".npy", EMBED_NPY},
                 {".h5", EMBED_HDF5},
                 {".hdf5", EMBED_HDF5},
                 {".tsv.gz", EMBED_TSV_GZ},
                 {".tsv", EMBED_TSV}};
    j->format = (embed_format)j->v->format;
    if (j->format == EMBED_FORMAT_AUTO && strcmp(j->output, "-") == 0)
        j->format = EMBED_TSV;
    for (size_t i = 0; j->format == EMBED_FORMAT_AUTO && i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (mb_path_ends_with(j->output, KNOWN[i].end))
            j->format = KNOWN[i].format;
    if (j->format == EMBED_FORMAT_AUTO)
        return mb_fail(e, MB_USAGE,
                       "-o %s: the ending tells the format: .npy, .h5, .hdf5, .tsv or .tsv.gz (or say --format)",
                       j->output);
    const int text = j->format == EMBED_TSV || j->format == EMBED_TSV_GZ;
    if (text && j->v->pool == DNA_POOL_NONE)
        return mb_fail(e, MB_USAGE, "--pool none gives a row per base, which is too much for text; write .npy or .h5");
    if (!text && mb_path_is_direct(j->output))
        return mb_fail(e, MB_USAGE,
                       "-o %s: only TSV can go to standard output, a pipe or a device; name a file for the others",
                       j->output);
    if (j->v->gzip && j->format != EMBED_HDF5)
        return mb_fail(e, MB_USAGE, "--gzip is for HDF5; for compressed text name the output .tsv.gz");
    return MB_OK;
}

/* Layers as asked for, sorted and without repeats; told, because a reader of the array counts on an order. */
static void warn_of_order(const embed *j, int asked, int moved) {
    char list[256] = "";
    if (asked == j->n_layers && !moved)
        return;
    for (int i = 0, n = 0; i < j->n_layers && n < (int)sizeof list - 16; i++)
        n += snprintf(list + n, sizeof list - (size_t)n, "%s%d", i ? "," : "", j->layer[i]);
    mb_warn("--layer %s: layers are written in ascending order and once each: %s", j->v->layer, list);
}

static int compare_ints(const void *a, const void *b) {
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

/* "last", "all", or a list such as "0,8,last". */
static int set_layers(embed *j, mb_err *e) {
    const int last = mb_model_config(j->model)->n_layer;
    const char *text = j->v->layer;
    const int all = strcmp(text, "all") == 0;
    j->layer = mb_calloc((size_t)last + strlen(text) + 2, sizeof *j->layer);
    if (!j->layer)
        return mb_fail(e, MB_NOMEM, "no memory for the list of layers");
    for (int l = 0; all && l <= last; l++)
        j->layer[j->n_layers++] = l;
    for (const char *p = text; !all && p;) {
        char *end;
        long l = strncmp(p, "last", 4) ? strtol(p, &end, 10) : (end = (char *)(uintptr_t)p + 4, last);
        if (end == p || (*end && *end != ',') || l < 0 || l > last)
            return mb_fail(e, MB_USAGE,
                           "--layer %s: expected last, all, or numbers from 0 (the embedding) to %d (= last, after "
                           "the final norm), separated by commas",
                           text, last);
        j->layer[j->n_layers++] = (int)l;
        p = *end ? end + 1 : NULL;
    }
    int n = 1, moved = 0;
    const int asked = j->n_layers;
    for (int i = 1; i < asked; i++)
        moved |= j->layer[i] < j->layer[i - 1];
    qsort(j->layer, (size_t)asked, sizeof *j->layer, compare_ints);
    for (int i = 1; i < j->n_layers; i++)
        if (j->layer[i] != j->layer[n - 1])
            j->layer[n++] = j->layer[i];
    j->n_layers = n;
    warn_of_order(j, asked, moved);
    return MB_OK;
}

static void set_columns(embed *j) {
    const int equivariant = mb_model_strands(j->model) == 2, D = mb_model_config(j->model)->D;
    j->strand = j->v->strand != EMBED_AUTO ? j->v->strand : equivariant ? EMBED_BOTH : EMBED_FORWARD;
    j->blocks = j->strand == EMBED_FORWARD ? 1 : 2;
    j->reverse_runs = j->blocks == 2 && !equivariant;
    j->width = j->strand == EMBED_BOTH ? 2 * D : D;
    j->columns_in = (int64_t)j->n_layers * j->blocks * D;
    j->columns = (int64_t)j->n_layers * j->width;
    j->pool = (dna_pool_options){.kind = j->v->pool,
                                 .bin = j->v->bin,
                                 .D = D,
                                 .n_layers = j->n_layers,
                                 .threads = (int)j->run->globals.threads,
                                 .layer = j->layer,
                                 .blocks = j->blocks,
                                 .turn_second = equivariant && j->strand == EMBED_CONJOIN};
}

int embed_setup(embed *j, mb_run *run, mb_err *e) {
    memset(j, 0, sizeof *j);
    j->run = run;
    j->v = run->values;
    j->output = j->v->output;
    if (!j->v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER or -m org/name");
    if (!j->output)
        return mb_fail(e, MB_USAGE, "where to? -o FILE.npy, .h5, .tsv, .tsv.gz, or - for TSV on standard output");
    if (j->v->bin && j->v->pool != DNA_POOL_MEAN && j->v->pool != DNA_POOL_MAX)
        return mb_fail(e, MB_USAGE, "--bin goes with --pool mean or max");
    int rc = set_format(j, e);
    if (rc)
        return rc;
    j->dtype = j->v->dtype ? MB_F16 : MB_F32;
    dna_policies policies;
    if ((rc = dna_input_resolve(&j->v->input, run->args, run->nargs, &j->items, &policies, e)))
        return rc;
    const mb_model_options options = {.device = run->globals.device, .precision = (mbk_precision)j->v->precision};
    if ((rc = mb_model_open(&j->model, j->v->model, &options, e)))
        return rc;
    if (dna_alphabet_init(&j->alphabet, mb_model_config(j->model), &policies, e))
        return mb_err_context(e, "%s", j->v->model);
    if ((rc = set_layers(j, e)))
        return rc;
    set_columns(j);
    const mb_forward_options forward = embed_forward_options(j);
    return mb_forward_check_memory(j->model, &forward, e);
}

mb_forward_options embed_forward_options(const embed *j) {
    return (mb_forward_options){.threads = (int)j->run->globals.threads,
                                .memory = j->run->globals.memory,
                                .scratch = j->v->scratch,
                                .layers = j->layer,
                                .n_layers = j->n_layers,
                                .outputs = j->v->stream == EMBED_STREAM_ORIGINAL,
                                .strands = j->blocks == 1 ? 1 : 0,
                                .progress = j->progress,
                                .stop = j->stop};
}

/* What this model gives on this processor for a fixed sequence, as bits: one digest for weights, configuration,
 * precision, instruction set and libraries alike. */
static int probe(const embed *j, char hex[65], mb_err *e) {
    enum { LENGTH = 300 };
    int32_t token[LENGTH];
    mb_rng rng;
    mb_rng_init(&rng, 20240307, 0);
    for (int i = 0; i < LENGTH; i++)
        token[i] = j->alphabet.base[mb_rng_below(&rng, 4)];
    const size_t n = (size_t)LENGTH * (size_t)mb_model_width(j->model);
    float *hidden = mb_malloc(n * sizeof *hidden);
    if (!hidden)
        return mb_fail(e, MB_NOMEM, "no memory to try the model");
    const mb_forward_options o = {.threads = (int)j->run->globals.threads, .memory = j->run->globals.memory};
    int rc = mb_forward_hidden(j->model, token, LENGTH, mb_model_config(j->model)->n_layer, &o, hidden, NULL, e);
    if (!rc)
        mb_sha256_hex(hidden, n * sizeof *hidden, hex);
    mb_free(hidden);
    return rc;
}

static int add_layers(const embed *j, dna_text *t, mb_err *e) {
    int rc = MB_OK;
    for (int i = 0; !rc && i < j->n_layers; i++) {
        char number[16];
        int n = snprintf(number, sizeof number, "%d,", j->layer[i]);
        rc = dna_text_add(t, number, n, e);
    }
    return rc;
}

int embed_digest(embed *j, mb_err *e) {
    char model[65];
    const dna_input_values *i = &j->v->input;
    const embed_totals *s = &j->totals;
    int rc = probe(j, model, e);
    if (rc)
        return rc;
    char *text = mb_asprintf("%s %s %s %d %d %d %d %" PRId64 " %" PRId64 " | %s%s%s %" PRId64 " %" PRId64 " %d %" PRId64
                             " %d %d %d %d %d %d %d %d %d | %d %" PRId64 " %" PRId64 " %" PRId64 " %08" PRIx32 " | ",
                             mb_version(), model, j->alphabet.name, (int)j->format, (int)j->dtype, j->strand,
                             j->v->pool, j->v->bin, j->columns, i->regions ? i->regions : "", i->shard ? " shard " : "",
                             i->shard ? i->shard : "", j->items.window, j->items.stride, i->partial_windows, i->batch,
                             j->items.reader.alignment.min_mapq, j->items.reader.alignment.exclude_flags,
                             j->items.reader.alignment.include_flags, i->read_strand, i->n_as, i->lower_case,
                             i->ambiguous, i->gaps, i->duplicates * 2 + i->empty, j->scanned + 2 * j->v->stream,
                             s->items, s->bases, s->rows, s->crc);
    dna_text all = {0};
    if (!text)
        rc = mb_fail(e, MB_NOMEM, "no memory for the digest of the options");
    if (!rc)
        rc = dna_text_add(&all, text, (int64_t)strlen(text), e);
    if (!rc)
        rc = add_layers(j, &all, e);
    if (!rc)
        mb_sha256_hex(all.data, (size_t)all.n, j->digest);
    dna_text_fini(&all);
    mb_free(text);
    return rc;
}
