/* An output that grows batch by batch and survives the death of its writer: PATH.partial (rows), INDEX.partial (text)
 * and PATH.journal.partial, which holds one checked line for each batch that is safely on disk. Standard output, pipes
 * and devices are written straight through and have no journal. */
#ifndef DNA_PARTIAL_H
#define DNA_PARTIAL_H
#include <stdint.h>
#include "core/error.h"

typedef struct dna_partial dna_partial;

/* index_path may be NULL: no index. digest: 64 hex digits naming everything that the bytes depend on. resume = 1 goes
 * on after the batches that the journal of a run with the same digest vouches for; another digest is an error. resume =
 * 0 starts over. head: bytes left free at the start of the data, written by dna_partial_finish. */
int dna_partial_open(dna_partial **out, const char *path, const char *index_path, const char *digest, int resume,
                     int64_t head, mb_err *e) MB_MUST_USE;

/* What is safely written. batches: how many, with the input CRC of each for the caller to compare while it skips them.
 */
int64_t dna_partial_batches(const dna_partial *p);
uint32_t dna_partial_input_crc(const dna_partial *p, int64_t batch);
int64_t dna_partial_items(const dna_partial *p);
int64_t dna_partial_rows(const dna_partial *p);
int64_t dna_partial_end(const dna_partial *p); /* offset at which the next batch's data begins */
/* 1 when all rows were written and only the renaming was interrupted. */
int dna_partial_is_complete(const dna_partial *p);
int dna_partial_is_direct(const dna_partial *p);

/* Data of the batch being written, anywhere from dna_partial_end on; safe from many workers. Direct outputs: in order.
 */
int dna_partial_put(dna_partial *p, const void *data, int64_t n, int64_t at, mb_err *e) MB_MUST_USE;
int dna_partial_put_index(dna_partial *p, const char *text, int64_t n, mb_err *e) MB_MUST_USE;
/* The batch is whole and ends at data_end: makes it durable and writes its line. */
int dna_partial_close_batch(dna_partial *p, int64_t items, int64_t rows, int64_t data_end, uint32_t input_crc,
                            mb_err *e) MB_MUST_USE;
/* Read back data or index, for outputs that are made from them at the end. */
int dna_partial_get(dna_partial *p, void *data, int64_t n, int64_t at, mb_err *e) MB_MUST_USE;
int dna_partial_get_index(dna_partial *p, void *text, int64_t n, int64_t at, mb_err *e) MB_MUST_USE;
int64_t dna_partial_index_end(const dna_partial *p);

/* All batches are written. After this an interrupted run is finished by resuming, whatever was already renamed. */
int dna_partial_complete(dna_partial *p, mb_err *e) MB_MUST_USE;

typedef struct dna_ending {
    const void *head; /* written at the start of the data; NULL = nothing */
    int raw;          /* 1: data and index were raw material for what `make` writes, and are removed */
    int (*make)(void *user, dna_partial *p, mb_err *e); /* last thing before the data appears (or is removed) */
    void *user;
} dna_ending;
/* Puts the index and then the data in place and removes the journal; frees p in every case. On failure what is needed
 * to try again with --resume stays. */
int dna_partial_finish(dna_partial *p, const dna_ending *how, mb_err *e) MB_MUST_USE;
/* Ends without finishing; frees p. What batches are safe stays for --resume; with none, nothing stays. Returns 1 when
 * something stays. */
int dna_partial_leave(dna_partial *p);
#endif
