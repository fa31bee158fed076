/* The options about inputs that every verb reading sequences has: one list of rows for the verbs' tables, one place
 * where they become reader, window and letter policies. */
#ifndef DNA_INPUT_OPTIONS_H
#define DNA_INPUT_OPTIONS_H
#include <stddef.h>
#include "core/options.h"
#include "core/provenance.h"
#include "genomics/items.h"

typedef struct dna_input_values {
    char *regions, *reference, *exclude_flags, *include_flags, *window, *shard;
    int64_t min_mapq, stride, batch;
    int read_strand, partial_windows, alphabet, n_as, lower_case, ambiguous, gaps, duplicates, empty;
} dna_input_values;

enum { DNA_READ_ORIGINAL, DNA_READ_STORED };

/* Fills options and policies from what the user gave. Strings are borrowed. */
int dna_input_resolve(const dna_input_values *v, char *const *inputs, int n, dna_items_options *o, dna_policies *p,
                      mb_err *e) MB_MUST_USE;

/* Every file that was read, for run.json: inputs, BED, reference. Standard input has no name and is left out. */
int dna_note_inputs(mb_provenance *p, const dna_items_options *o, mb_err *e) MB_MUST_USE;

/* Refuses an output that is one of the inputs under whatever name. */
int dna_check_output(const char *output, const dna_items_options *o, mb_err *e) MB_MUST_USE;

/* Rows for a verb's table whose values struct S has a dna_input_values named F. */
#define DNA_INPUT_OPTION(S, F, NAME, ...)                                                                              \
    { .key = #NAME, .offset = offsetof(S, F.NAME), __VA_ARGS__ }
#define DNA_INPUT_OPTIONS(S, F)                                                                                        \
    DNA_INPUT_OPTION(                                                                                                  \
        S, F, regions, .type = MB_OPT_STRING, .meta = "BED|REGION", .role = MB_ROLE_NAMED,                             \
        .help = "Only these places of an indexed FASTA, BAM or CRAM: a BED file (0-based, half open; column "          \
                "4 names the sequence, a - in column 6 gives its reverse complement), or one contig, "                 \
                "contig:from or contig:from-to (1-based, inclusive, commas allowed). FASTA: each region is "           \
                "a sequence; a missing .fai index is built beside the file. BAM, CRAM: the reads that overlap, "       \
                "each once."),                                                                                         \
        DNA_INPUT_OPTION(S, F, window, .type = MB_OPT_STRING, .def = "whole", .meta = "N|whole",                       \
                         .help =                                                                                       \
                             "Cut each sequence into windows of N bases, each run by itself. whole: no windows; any "  \
                             "length is run exactly, in bounded memory."),                                             \
        DNA_INPUT_OPTION(S, F, stride, .type = MB_OPT_INT, .def = "0", .max = 1e15, .meta = "N",                       \
                         .help = "Distance between the starts of windows. 0: the window's length."),                   \
        DNA_INPUT_OPTION(S, F, partial_windows, .type = MB_OPT_CHOICE, .def = "keep", .choices = DNA_PARTIAL_CHOICES,  \
                         .help =                                                                                       \
                             "What becomes of the window at the end of a sequence that is shorter than --window."),    \
        DNA_INPUT_OPTION(S, F, shard, .type = MB_OPT_STRING, .meta = "K/N",                                            \
                         .help =                                                                                       \
                             "Only part K of N, K from 0: whole sequences or windows, about as many bases in each "    \
                             "part. The parts of a result, put together by seqmamba gather, are the whole to the "     \
                             "byte."),                                                                                 \
        DNA_INPUT_OPTION(S, F, min_mapq, .type = MB_OPT_INT, .def = "0", .max = 255, .meta = "Q",                      \
                         .help = "Alignments: pass over reads of lower mapping quality."),                             \
        DNA_INPUT_OPTION(S, F, exclude_flags, .type = MB_OPT_STRING, .def = "0x900", .meta = "FLAGS",                  \
                         .help = "Alignments: pass over reads with any of these flags, as a number or as names "       \
                                 "(SECONDARY,SUPPLEMENTARY). 0: none."),                                               \
        DNA_INPUT_OPTION(S, F, include_flags, .type = MB_OPT_STRING, .def = "0", .meta = "FLAGS",                      \
                         .help = "Alignments: only reads with all of these flags."),                                   \
        DNA_INPUT_OPTION(S, F, read_strand, .type = MB_OPT_CHOICE, .def = "original", .choices = "original|stored",    \
                         .help = "Alignments: reads in the direction they were sequenced in, or as stored, in the "    \
                                 "direction of the reference. Soft-clipped bases are part of the read."),              \
        DNA_INPUT_OPTION(S, F, reference, .type = MB_OPT_STRING, .meta = "FASTA", .role = MB_ROLE_INPUT,               \
                         .help =                                                                                       \
                             "Reference of a CRAM. Unset: as the file itself and REF_PATH say; never the network."),   \
        DNA_INPUT_OPTION(S, F, alphabet, .type = MB_OPT_CHOICE, .def = "auto", .choices = DNA_ALPHABET_CHOICES,        \
                         .help = "How the model numbers its letters. auto: by its vocabulary."),                       \
        DNA_INPUT_OPTION(S, F, n_as, .type = MB_OPT_CHOICE, .def = "auto", .choices = DNA_N_CHOICES,                   \
                         .help =                                                                                       \
                             "Token that stands for N. auto: pad for the caduceus alphabet, as in its training; the "  \
                             "unknown token for plantcad. n: the letter's own token (caduceus) or the unknown one."),  \
        DNA_INPUT_OPTION(S, F, lower_case, .type = MB_OPT_CHOICE, .def = "fold", .choices = DNA_CASE_CHOICES,          \
                         .help =                                                                                       \
                             "Lower-case letters: fold takes them as upper case, mask takes them as N (soft-masked "   \
                             "repeats)."),                                                                             \
        DNA_INPUT_OPTION(S, F, ambiguous, .type = MB_OPT_CHOICE, .def = "n", .choices = DNA_LETTER_CHOICES,            \
                         .help = "Letters RYSWKMBDHVX: taken as N and counted, or an error. U is always taken as T."), \
        DNA_INPUT_OPTION(S, F, gaps, .type = MB_OPT_CHOICE, .def = "error", .choices = DNA_LETTER_CHOICES,             \
                         .help = "Characters - . * in a sequence: an error, or taken as N."),                          \
        DNA_INPUT_OPTION(S, F, duplicates, .type = MB_OPT_CHOICE, .def = "error", .choices = DNA_DUPLICATES_CHOICES,   \
                         .help = "FASTA records whose name came before: an error, numbered (chr1.2), or kept as they " \
                                 "are. Reads of FASTQ, BAM and CRAM may share names."),                                \
        DNA_INPUT_OPTION(S, F, empty, .type = MB_OPT_CHOICE, .def = "error", .choices = DNA_EMPTY_CHOICES,             \
                         .help = "Records without bases: an error, or passed over and counted."),                      \
        DNA_INPUT_OPTION(S, F, batch, .type = MB_OPT_INT, .def = "1048576", .min = 1, .max = 1e12, .meta = "N",        \
                         .help =                                                                                       \
                             "Run about so many bases together, and save the results so often. A longer sequence is "  \
                             "a batch of its own. Does not change the results.")
#endif
