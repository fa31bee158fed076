/* Regions of an indexed FASTA as tokens, with bases of the contig on both sides; and the options about them that verbs
 * over regions share. */
#ifndef DNA_CONTEXT_H
#define DNA_CONTEXT_H
#include <stddef.h>
#include "core/options.h"
#include "core/provenance.h"
#include "genomics/alphabet.h"
#include "genomics/genome.h"

typedef struct dna_context_values {
    char *regions;
    int alphabet, n_as, lower_case, ambiguous, gaps;
} dna_context_values;

typedef struct dna_context {
    const dna_region *region;
    int64_t from, to; /* what is held: the region and its flanks, cut at the ends of the contig */
    uint8_t *token;   /* (to-from) forward strand */
} dna_context;

/* The genome, and the regions asked for, or all contigs; resolved, in the order given. */
typedef struct dna_source {
    dna_genome *genome;
    dna_contigs contigs;
    dna_regions regions;
    const char *path; /* borrowed */
    const dna_context_values *v;
} dna_source;

int dna_source_open(dna_source *s, const char *path, const dna_context_values *v, mb_err *e) MB_MUST_USE;
void dna_source_close(dna_source *s); /* zeroed is fine */
dna_policies dna_source_policies(const dna_context_values *v);
int dna_source_note(const dna_source *s, mb_provenance *p, mb_err *e) MB_MUST_USE;
/* Refuses an output that is one of the inputs under whatever name. */
int dna_source_check_output(const dna_source *s, const char *output, mb_err *e) MB_MUST_USE;

/* region is borrowed; counts are added to. */
int dna_context_fetch(dna_context *c, const dna_source *s, const dna_alphabet *a, const dna_region *region,
                      int64_t flank, dna_counts *counts, mb_err *e) MB_MUST_USE;
void dna_context_fini(dna_context *c); /* zeroed is fine */
/* On stderr: what the policies changed. */
void dna_counts_warn(const dna_counts *c);

/* Rows for a verb's table whose values struct S has a dna_context_values named F. */
#define DNA_CONTEXT_OPTION(S, F, NAME, ...)                                                                            \
    { .key = #NAME, .offset = offsetof(S, F.NAME), __VA_ARGS__ }
#define DNA_CONTEXT_OPTIONS(S, F, REGIONS_HELP)                                                                        \
    DNA_CONTEXT_OPTION(S, F, regions, .type = MB_OPT_STRING, .meta = "BED|REGION", .role = MB_ROLE_NAMED,              \
                       .help = (REGIONS_HELP)),                                                                        \
        DNA_CONTEXT_OPTION(S, F, alphabet, .type = MB_OPT_CHOICE, .def = "auto", .choices = DNA_ALPHABET_CHOICES,      \
                           .help = "How the model numbers its letters. auto: by its vocabulary."),                     \
        DNA_CONTEXT_OPTION(S, F, n_as, .type = MB_OPT_CHOICE, .def = "auto", .choices = DNA_N_CHOICES,                 \
                           .help = "Token that stands for N. auto: as in the training of the alphabet's models."),     \
        DNA_CONTEXT_OPTION(S, F, lower_case, .type = MB_OPT_CHOICE, .def = "fold", .choices = DNA_CASE_CHOICES,        \
                           .help = "Lower-case letters: fold takes them as upper case, mask takes them as N."),        \
        DNA_CONTEXT_OPTION(S, F, ambiguous, .type = MB_OPT_CHOICE, .def = "n", .choices = DNA_LETTER_CHOICES,          \
                           .help = "Letters RYSWKMBDHVX: taken as N and counted, or an error."),                       \
        DNA_CONTEXT_OPTION(S, F, gaps, .type = MB_OPT_CHOICE, .def = "error", .choices = DNA_LETTER_CHOICES,           \
                           .help = "Characters - . * in a sequence: an error, or taken as N.")
#endif
