/* seqmamba gather: the parts that --shard made, put together. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/provenance.h"
#include "pipelines/commands.h"
#include "pipelines/gather.h"

typedef struct gather_values {
    char *output;
} gather_values;

static const mb_option OPTIONS[] = {{.key = "output",
                                     .letter = 'o',
                                     .type = MB_OPT_STRING,
                                     .offset = offsetof(gather_values, output),
                                     .meta = "FILE",
                                     .role = MB_ROLE_OUTPUT,
                                     .help = "The whole; of the same kind as the parts. FILE.run.json names them."},
                                    {0}};

static const char DETAILS[] =
    "Puts together what `--shard K/N` made in parts, in the order they are given, to the bytes of one run without "
    "--shard: .npy (with FILE.index.tsv), .tsv, .bed, .bedgraph, .vcf. All parts must be there; a part with a record "
    "(PART.run.json) must be the one whose turn it is, and all must have the same columns. Not yet: .h5, .bw, .bam, "
    "compressed text.\n"
    "\n"
    "A pipeline does this by itself for a step with \"shards\": N.\n"
    "\n"
    "  dna-mamba score genomics/data/lambda.fa.gz -m genomics/models/multispecies --window 5000 --shard 0/2 -o build/0.tsv\n"
    "  dna-mamba score genomics/data/lambda.fa.gz -m genomics/models/multispecies --window 5000 --shard 1/2 -o build/1.tsv\n"
    "  seqmamba gather build/0.tsv build/1.tsv -o build/both.tsv";

static int same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int run_gather(mb_run *run, mb_err *e) {
    const gather_values *v = run->values;
    mb_out *out[2] = {NULL, NULL};
    mb_provenance *p = NULL;
    int unsaid = 0;
    int64_t rows = 0;
    int rc = v->output ? MB_OK : mb_fail(e, MB_USAGE, "where to? -o FILE");
    for (int i = 0; rc == MB_OK && i < run->nargs; i++)
        if (same_file(run->args[i], v->output))
            rc = mb_fail(e, MB_USAGE, "%s: is a part too; it would be overwritten", v->output);
    if (rc == MB_OK)
        rc = pipe_gather_check(run->args, run->nargs, &unsaid, e);
    if (rc == MB_OK && unsaid)
        mb_warn("%d of %d parts have no .run.json; that they are all, and in order, is taken on trust", unsaid,
                run->nargs);
    if (rc == MB_OK)
        rc = mb_provenance_start(&p, run, e);
    if (rc == MB_OK)
        rc = pipe_gather(run->args, run->nargs, v->output, out, &rows, e);
    for (int i = 0; rc == MB_OK && i < run->nargs; i++)
        rc = mb_provenance_file(p, "input", run->args[i], e);
    if (rc == MB_OK && run->globals.dry_run) {
        printf("parts        %d\nrows         %" PRId64 "\noutput       %s (dry run: not written)\n", run->nargs, rows,
               v->output);
        mb_out_abort(out[0]);
        mb_out_abort(out[1]);
    } else {
        rc = mb_result_commit(v->output ? v->output : "", out, 2, p, rc, e);
        if (rc == MB_OK)
            mb_info("%s: %d parts, %" PRId64 " rows", v->output, run->nargs, rows);
    }
    mb_provenance_free(p);
    return rc;
}

const mb_verb pipe_gather_verb = {.name = "gather",
                                  .summary = "put together the parts that --shard made",
                                  .usage = "PART... -o FILE",
                                  .details = DETAILS,
                                  .options = OPTIONS,
                                  .values_size = sizeof(gather_values),
                                  .min_args = 1,
                                  .max_args = -1,
                                  .run = run_gather};
