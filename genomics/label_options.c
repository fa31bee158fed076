/* See label_options.h. */
#include "genomics/label_options.h"

dna_policies dna_label_policies(const dna_label_values *v) {
    return (dna_policies){
        .alphabet = v->alphabet, .n_as = v->n_as, .lower = v->lower_case, .ambiguous = v->ambiguous, .gaps = v->gaps};
}

dna_labelled_options dna_label_read_options(const dna_label_values *v) {
    return (dna_labelled_options){.lengths = v->lengths,
                                  .no_label = v->no_label,
                                  .sequence = v->sequence,
                                  .label = v->label,
                                  .split = v->split,
                                  .name = v->name,
                                  .header = v->header,
                                  .genome = v->genome,
                                  .min_length = v->min_length,
                                  .max_length = v->max_length};
}
