/* Any bytes as a table of sequences with labels; the first chooses what is asked of it. Examples within their bounds,
 * or an error with its words; nothing left behind. */
#include <htslib/hts_log.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/folds.h"
#include "tests/fuzz/input.h"

static const dna_labelled_options OPTIONS[] = {
    {0},
    {.task = DNA_TASK_CLASS, .label = "2"},
    {.task = DNA_TASK_MULTI, .no_label = DNA_NO_LABEL_SKIP},
    {.task = DNA_TASK_REGRESSION, .label = "2,3", .sequence = "1"},
    {.task = DNA_TASK_BASES, .min_length = 2, .max_length = 4, .lengths = DNA_LENGTHS_CENTRE},
    {.without_labels = 1, .lengths = DNA_LENGTHS_SKIP, .max_length = 9}};

static void check_example(const dna_labelled *d, const dna_example *x) {
    MB_ASSERT(x->length >= 1 && x->line >= 1 && x->file == 0 && strlen(x->name) < 1 << 17);
    MB_ASSERT(x->part >= -1 && x->part < d->n_parts);
    for (int64_t i = 0; i < x->length; i++) {
        MB_ASSERT(x->token[i] < 12);
        MB_ASSERT(!x->base || x->base[i] < d->n_labels || x->base[i] == DNA_UNLABELLED);
    }
    MB_ASSERT(d->task == DNA_TASK_CLASS && d->n_labels ? x->label >= 0 && x->label < d->n_labels : x->label == -1);
    for (int c = 0; x->value && c < d->n_labels; c++)
        MB_ASSERT(isfinite(x->value[c]) && (d->task != DNA_TASK_MULTI || x->value[c] == 0 || x->value[c] == 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const mb_config c = {.V = 16}; /* Caduceus */
    dna_alphabet a;
    dna_labelled d;
    mb_err e = {0};
    hts_set_log_level(HTS_LOG_OFF);
    if (n == 0 || dna_alphabet_init(&a, &c, &(dna_policies){0}, &e))
        return 0;
    char *inputs[1] = {(char *)(uintptr_t)fuzz_file(data + 1, n - 1)};
    const dna_labelled_files files = {.inputs = inputs, .n = 1};
    const size_t choice = data[0] % (sizeof OPTIONS / sizeof *OPTIONS);
    int rc = dna_labelled_read(&d, &files, 1, &OPTIONS[choice], &a, &e);
    if (!rc) {
        dna_groups g;
        for (int64_t i = 0; i < d.n; i++)
            check_example(&d, &d.at[i]);
        MB_ASSERT(d.n > 0 && dna_groups_find(&g, &d, &a, &e) == MB_OK && g.groups + g.copies == d.n);
        dna_groups_fini(&g);
    }
    dna_labelled_fini(&d);
    MB_ASSERT(rc == e.status && (!rc || *e.text) && mb_mem_live_blocks() == 0);
    return 0;
}
