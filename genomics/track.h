/* Numbers along a contig: what a language model says of each base, or what a fine-tuned one says of windows that slide
 * over it. */
#ifndef DNA_TRACK_H
#define DNA_TRACK_H
#include "genomics/context.h"
#include "genomics/head.h"
#include "genomics/profile.h"

/* Of the model's distribution p over A C G T at a base whose letter is r:
 *   entropy  -sum p log2 p, bits, 0 (certain) to 2 (knows nothing)
 *   llr      log p(r) - log of the greatest p of another letter, natural logarithm; above 0 where r is the likeliest
 *   prob     p(r) */
typedef enum dna_track_kind { DNA_TRACK_ENTROPY, DNA_TRACK_LLR, DNA_TRACK_PROB, DNA_TRACK_HEAD } dna_track_kind;
#define DNA_TRACK_CHOICES "entropy|llr|prob|head"

float dna_track_value(int kind, const float logp[4], int base);

typedef struct dna_track_sink {
    /* value[i] of bases [start + i span, start + (i+1) span) of the contig, NaN none; ascending. */
    int (*put)(void *user, int64_t start, int64_t span, const float *value, int64_t n, mb_err *e);
    void *user;
} dna_track_sink;

/* The region of c, each base in the context of all that c holds. */
int dna_track_bases(int kind, const dna_profile_options *o, const dna_context *c, const dna_track_sink *sink,
                    mb_err *e) MB_MUST_USE;

typedef struct dna_track_head {
    const mb_model *model;
    const dna_head *head;
    const dna_alphabet *alphabet;
    mb_forward_options forward;
    int label; /* whose probability or number */
    int64_t window, stride;
} dna_track_head;

/* The region is cut into blocks of `stride` bases from its start; the value of a block is the answer for the window of
 * `window` bases in whose middle it lies (half a base to the right when their difference is odd), or, for models that
 * answer for each base, that of each of its bases in that window. None where the window reaches beyond what c holds, is
 * N for more than half, or the block is all N. */
int dna_track_windows(const dna_track_head *h, const dna_context *c, const dna_track_sink *sink, mb_err *e) MB_MUST_USE;
/* Index of a label by name; without a name the only one, or the second of two. MB_USAGE with the names otherwise. */
int dna_head_label(const dna_head *h, const char *name, int *label, mb_err *e) MB_MUST_USE;
#endif
