/* The verbs of dna-mamba: one row each for main.c. */
#ifndef DNA_COMMANDS_H
#define DNA_COMMANDS_H
#include "core/options.h"

extern const mb_verb dna_embed_verb, dna_score_verb, dna_info_verb, dna_train_verb, dna_card_verb, dna_finetune_verb,
    dna_predict_verb, dna_evaluate_verb, dna_variants_verb, dna_track_verb, dna_ism_verb, dna_reads_verb,
    dna_nearest_verb, dna_generate_verb;
#endif
