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

static pipe_programs known; /* read once: they are larger than any input */
static long blocks;         /* that they keep */

static void learn(const char *name, const mb_verb *verbs) {
    char *text, path[64];
    size_t n;
    const pipe_program *program;
    mb_err e = {0};
    FILE *f = open_memstream(&text, &n);
    mb_options_describe(name, verbs, f);
    fclose(f);
    snprintf(path, sizeof path, "bin/%s", name);
    MB_ASSERT(pipe_program_read(&known, path, text, n, &program, &e) == MB_OK);
    free(text);
}

static void learn_all(void) {
    const mb_verb genomic[] = {dna_embed_verb, dna_nearest_verb, dna_train_verb, dna_score_verb, {0}};
    const mb_verb house[] = {pipe_gather_verb, pipe_run_verb, {0}};
    known.folder = "/nonexistent";
    learn("dna-mamba", genomic);
    learn("seqmamba", house);
    blocks = mb_mem_live_blocks();
}

static int parse(pipeline *p, const char *text, size_t n, mb_err *e) {
    *p = (pipeline){.programs = known};
    return pipeline_parse(p, "fuzz.yaml", text, n, e);
}

/* All but what is known. */
static void close_pipeline(pipeline *p) {
    pipe_pool_rewind(&p->programs.pool, known.pool.block);
    p->programs = (pipe_programs){0};
    pipeline_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    pipeline p, q;
    mb_err e = {0};
    if (!known.n)
        learn_all();
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
            close_pipeline(&q);
        pipe_text_free(&t);
    }
    close_pipeline(&p);
    MB_ASSERT(mb_mem_live_blocks() == blocks);
    return 0;
}
