/* Any bytes as a pipeline file: steps, or words with places; bounded, nothing left behind. The programs are dna-mamba's
 * tables; no process is started. What is understood writes itself out, and that is understood too. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/commands.h"
#include "pipelines/commands.h"
#include "pipelines/pipeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char *dna, *own; /* descriptions */
static size_t n_dna, n_own;

static void describe(void) {
    const mb_verb genomic[] = {dna_embed_verb, dna_nearest_verb, dna_train_verb, dna_score_verb, {0}};
    const mb_verb house[] = {pipe_gather_verb, pipe_run_verb, {0}};
    FILE *f = open_memstream(&dna, &n_dna);
    mb_options_describe("dna-mamba", genomic, f);
    fclose(f);
    f = open_memstream(&own, &n_own);
    mb_options_describe("seqmamba", house, f);
    fclose(f);
}

static int parse(pipeline *p, const char *text, size_t n, mb_err *e) {
    const pipe_program *program;
    *p = (pipeline){.programs = {.folder = "/nonexistent"}};
    MB_ASSERT(pipe_program_read(&p->programs, "bin/dna-mamba", dna, n_dna, &program, e) == MB_OK);
    MB_ASSERT(pipe_program_read(&p->programs, "bin/seqmamba", own, n_own, &program, e) == MB_OK);
    return pipeline_parse(p, "fuzz.yaml", text, n, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    pipeline p, q;
    mb_err e = {0};
    if (!dna)
        describe();
    if (memmem(data, n, "extends", 7)) /* would read files of this machine */
        return 0;
    int rc = parse(&p, (const char *)data, n, &e);
    MB_ASSERT(rc == MB_OK || rc == MB_USAGE);
    MB_ASSERT(rc == e.status && (rc == MB_OK) == (*e.text == '\0'));
    if (rc == MB_OK) {
        pipe_text t = {0};
        MB_ASSERT(p.n > 0 && p.n <= PIPE_MOST_STEPS);
        for (int k = 0; k < p.n; k++)
            MB_ASSERT(p.order[k] >= 0 && p.order[k] < p.n && p.step[k].name && p.step[k].verb);
        pipeline_resolved(&p, &t);
        MB_ASSERT(!t.lost);
        rc = p.n <= 500 && t.n < 1000000 ? parse(&q, t.data, t.n, &e) : MB_OK;
        if (rc != MB_OK)
            fprintf(stderr, "%s\n%s\n", t.data, e.text);
        MB_ASSERT(rc == MB_OK && (p.n > 500 || t.n >= 1000000 || q.n == p.n));
        if (p.n <= 500 && t.n < 1000000)
            pipeline_free(&q);
        pipe_text_free(&t);
    }
    pipeline_free(&p);
    MB_ASSERT(mb_mem_live_blocks() == 0);
    return 0;
}
