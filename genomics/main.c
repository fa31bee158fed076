/* dna-mamba: state-space models over DNA. The table of verbs. */
#include "genomics/commands.h"

int main(int argc, char **argv) {
    const mb_verb verbs[] = {dna_embed_verb,    dna_score_verb,   dna_variants_verb, dna_track_verb, dna_ism_verb,
                             dna_reads_verb,    dna_nearest_verb, dna_generate_verb, dna_info_verb,  dna_train_verb,
                             dna_finetune_verb, dna_predict_verb, dna_evaluate_verb, dna_card_verb,  {0}};
    return mb_cli_main("dna-mamba", "Mamba and Caduceus models over DNA: embeddings, likelihoods, training", verbs,
                       argc, argv);
}
