/* The options about labelled inputs that finetune and evaluate share. */
#ifndef DNA_LABEL_OPTIONS_H
#define DNA_LABEL_OPTIONS_H
#include <stddef.h>
#include "core/options.h"
#include "genomics/labelled.h"

typedef struct dna_label_values {
    char *label, *sequence, *split, *name, *header, *genome;
    int64_t min_length, max_length;
    int lengths, no_label, alphabet, n_as, lower_case, ambiguous, gaps;
} dna_label_values;

dna_policies dna_label_policies(const dna_label_values *v);
dna_labelled_options dna_label_read_options(const dna_label_values *v);

#define DNA_LABEL_OPTION(S, F, NAME, ...)                                                                              \
    { .key = #NAME, .offset = offsetof(S, F.NAME), __VA_ARGS__ }
#define DNA_LABEL_OPTIONS(S, F)                                                                                        \
    DNA_LABEL_OPTION(S, F, label, .type = MB_OPT_STRING, .meta = "COLUMN",                                             \
                     .help = "Tables: column of the label, or several, \"a,b\", by name or number from 1. BED: 4 or "  \
                             "5. Unset: label, labels, class, target or y."),                                          \
        DNA_LABEL_OPTION(S, F, sequence, .type = MB_OPT_STRING, .meta = "COLUMN",                                      \
                         .help = "Tables: column of the sequence. Unset: seq, sequence or dna."),                      \
        DNA_LABEL_OPTION(S, F, split, .type = MB_OPT_STRING, .meta = "COLUMN",                                         \
                         .help = "Tables: column that says train, valid or test. Unset: split, when there is one."),   \
        DNA_LABEL_OPTION(S, F, name, .type = MB_OPT_STRING, .meta = "COLUMN",                                          \
                         .help = "Tables: column of the name. Unset: name or id, when there is one."),                 \
        DNA_LABEL_OPTION(S, F, header, .type = MB_OPT_STRING, .meta = "TEXT",                                          \
                         .help = "FASTA: what stands before the label in a header, KEY= or | or a blank."),            \
        DNA_LABEL_OPTION(S, F, genome, .type = MB_OPT_STRING, .meta = "FASTA", .role = MB_ROLE_INPUT,                  \
                         .help = "Genome that BED inputs are regions of."),                                            \
        DNA_LABEL_OPTION(S, F, min_length, .type = MB_OPT_INT, .def = "0", .max = 1e12, .meta = "N",                   \
                         .help = "Shortest sequence; 0: no limit."),                                                   \
        DNA_LABEL_OPTION(S, F, max_length, .type = MB_OPT_INT, .def = "0", .max = 1e12, .meta = "N",                   \
                         .help = "Longest sequence; 0: no limit."),                                                    \
        DNA_LABEL_OPTION(S, F, lengths, .type = MB_OPT_CHOICE, .def = "error", .choices = DNA_LENGTHS_CHOICES,         \
                         .help = "Sequences beyond these lengths: an error, passed over, or cut to their middle."),    \
        DNA_LABEL_OPTION(S, F, no_label, .type = MB_OPT_CHOICE, .def = "error", .choices = DNA_NO_LABEL_CHOICES,       \
                         .help = "Examples without a label: an error, or passed over."),                               \
        DNA_LABEL_OPTION(S, F, alphabet, .type = MB_OPT_CHOICE, .def = "auto", .choices = DNA_ALPHABET_CHOICES,        \
                         .help = "How the model numbers its letters. auto: by its vocabulary."),                       \
        DNA_LABEL_OPTION(S, F, n_as, .type = MB_OPT_CHOICE, .def = "auto", .choices = DNA_N_CHOICES,                   \
                         .help = "Token that stands for N. auto: as in the model's training."),                        \
        DNA_LABEL_OPTION(S, F, lower_case, .type = MB_OPT_CHOICE, .def = "fold", .choices = DNA_CASE_CHOICES,          \
                         .help = "Lower-case letters: as upper case, or as N."),                                       \
        DNA_LABEL_OPTION(S, F, ambiguous, .type = MB_OPT_CHOICE, .def = "n", .choices = DNA_LETTER_CHOICES,            \
                         .help = "Letters RYSWKMBDHVX: N, or an error."),                                              \
        DNA_LABEL_OPTION(S, F, gaps, .type = MB_OPT_CHOICE, .def = "error", .choices = DNA_LETTER_CHOICES,             \
                         .help = "Characters - . *: an error, or N.")
#endif
