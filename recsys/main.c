/* recmamba: recommendation from logs of events. The table of verbs. */
#include "recsys/commands.h"

int main(int argc, char **argv) {
    const mb_verb verbs[] = {rec_prep_verb,
                             rec_info_verb,
                             rec_train_verb,
                             rec_evaluate_verb,
                             rec_recommend_verb,
                             rec_score_verb,
                             rec_similar_verb,
                             rec_export_verb,
                             rec_stream_verb,
                             rec_serve_verb,
                             {0}};
    return mb_cli_main("recmamba", "Mamba models over logs of events: who met what, and what comes next", verbs, argc,
                       argv);
}
