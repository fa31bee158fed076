/* Parts of a result put together, to the bytes that one run would have written. */
#ifndef PIPE_GATHER_H
#define PIPE_GATHER_H
#include "core/file.h"
#include "core/result.h"

typedef enum pipe_kind {
    PIPE_KIND_NONE,
    PIPE_KIND_NPY,    /* .npy: rows; FILE.index.tsv with row numbers that go on */
    PIPE_KIND_TABLE,  /* .tsv: the first line of each is the same and stands once */
    PIPE_KIND_PLACES, /* .bed, .bedgraph: lines; leading #, track and browser lines once */
    PIPE_KIND_VCF     /* .vcf: ## and # lines once, and the same in all */
} pipe_kind;

/* By the ending of a name; PIPE_KIND_NONE: not one that can be put together here (.h5, .bw, .bam, compressed text). */
pipe_kind pipe_gather_kind(const char *path);

/* Part i of n says so in its record (PART.run.json: config.shard is "i/n") where it has one; *unsaid: how many have
 * none. MB_FORMAT with the part that is wrong, MB_NOTFOUND for one that is not there. */
int pipe_gather_check(char *const *part, int n, int *unsaid, mb_err *e) MB_MUST_USE;

/* Writes output (and, for .npy whose parts have one, the index) into new mb_out, not committed: out[0] the index or
 * NULL, out[1] the output. On failure both are NULL. *rows: rows or lines. */
int pipe_gather(char *const *part, int n, const char *output, mb_out *out[2], int64_t *rows, mb_err *e) MB_MUST_USE;
#endif
