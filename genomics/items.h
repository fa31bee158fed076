/* From records to what the model is given: an item is one sequence of tokens, a whole record or a window of one. Items
 * come in batches cut by the input and --batch alone, never by memory or threads, so that an interrupted run can be
 * continued at a batch and gives the same bytes. */
#ifndef DNA_ITEMS_H
#define DNA_ITEMS_H
#include "genomics/alphabet.h"
#include "genomics/reader.h"

typedef struct dna_item {
    char *name;         /* of the record */
    char *contig;       /* "" unplaced */
    int64_t start, end; /* on the contig, 0-based half open; of the item where the record is linear, else of the read */
    char strand;
    int linear;     /* as dna_record.linear */
    int64_t offset; /* first base within the record */
    int64_t length;
    int64_t n_count; /* positions that are N to the model */
    uint8_t *token;  /* (length) */
} dna_item;

typedef struct dna_batch {
    dna_item *item; /* (n) */
    int n, capacity;
    int64_t tokens;
    int64_t first; /* number of item[0] in the whole run, from 0 */
    uint32_t crc;  /* CRC-32 of the names, places and tokens */
} dna_batch;

enum { DNA_PARTIAL_KEEP, DNA_PARTIAL_DROP };
#define DNA_PARTIAL_CHOICES "keep|drop"

typedef struct dna_items_options {
    char *const *inputs;
    int n_inputs;
    dna_reader_options reader;
    int64_t window, stride; /* window 0: whole records */
    int partial;            /* whether windows shorter than --window are kept */
    int64_t batch_tokens;
    int batch_items;
    int shard, shards; /* shards > 1: only the items of part `shard`, from 0 */
} dna_items_options;

/* With shards: an item belongs to part floor(N*b/T), b the bases of all items before it, T those of all: parts follow
 * each other, have about the same number of bases, and depend on the input and N alone. Finding T reads the input once
 * more, so it must be files. A part may be empty. */

typedef struct dna_items dna_items;

/* options and alphabet are borrowed until close. */
int dna_items_open(dna_items **out, const dna_items_options *o, const dna_alphabet *a, mb_err *e) MB_MUST_USE;
void dna_items_close(dna_items *s); /* NULL is fine */
/* Fills b with the next items: at least one, more while they fit. 1, 0 at the end, negative on error. */
int dna_items_next(dna_items *s, dna_batch *b, mb_err *e) MB_MUST_USE;
/* So far. */
dna_counts dna_items_letters(const dna_items *s);
dna_reader_counts dna_items_records(const dna_items *s);
/* Warns on stderr of what the policies changed: ambiguity codes, gaps, U, renamed and skipped records. */
void dna_items_warn(const dna_items *s);

void dna_batch_clear(dna_batch *b);
void dna_batch_fini(dna_batch *b);
/* Place on the contig of bases [from, from+n) of the item; its own start and end where the record is not linear. */
void dna_item_place(const dna_item *item, int64_t from, int64_t n, int64_t *start, int64_t *end);
#endif
