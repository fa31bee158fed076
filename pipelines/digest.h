/* SHA-256 of what steps read and write, each file read once: what is known by size, times and place on disk is not read
 * again. */
#ifndef PIPE_DIGEST_H
#define PIPE_DIGEST_H
#include <stdint.h>
#include "pipelines/pipeline.h"

typedef struct pipe_digests pipe_digests;

/* cache: a file that remembers digests between runs; missing or unreadable, it is begun anew. */
int pipe_digests_open(pipe_digests **out, const char *cache, mb_err *e) MB_MUST_USE;
/* Writes the cache (where its folder can be written to) and frees; NULL is fine. */
void pipe_digests_close(pipe_digests *d);

/* hex: 65 bytes. MB_NOTFOUND: no such file. */
int pipe_digest_file(pipe_digests *d, const char *path, char *hex, int64_t *bytes, mb_err *e) MB_MUST_USE;
/* What a step reads at a path: the content of a file and of its FILE.index.tsv; of a folder the regular files in it,
 * names and contents, and where it is read as a model only those that make the model (.json but for records of runs,
 * .safetensors, .bin). An empty string: nothing is there (a name of something else, or not made yet). */
int pipe_digest_input(pipe_digests *d, const pipe_file *f, char *hex, mb_err *e) MB_MUST_USE;

typedef struct pipe_made { /* a file that a step wrote */
    const char *what, *path;
    int64_t bytes;
    char sha256[65];
} pipe_made;
/* The files of an output: itself and its index beside it; what lies in a folder; PREFIX.*. Sorted. In the pool.
 * MB_NOTFOUND when an output that was asked for is not there. */
int pipe_digest_output(pipe_digests *d, const pipe_file *f, pipe_pool *pool, pipe_made **made, int *n,
                       mb_err *e) MB_MUST_USE;
#endif
