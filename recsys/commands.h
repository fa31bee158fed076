/* The verbs of recmamba: one row each for main.c. */
#ifndef REC_COMMANDS_H
#define REC_COMMANDS_H
#include "core/options.h"

extern const mb_verb rec_prep_verb, rec_info_verb, rec_train_verb, rec_evaluate_verb, rec_recommend_verb,
    rec_score_verb, rec_similar_verb, rec_export_verb, rec_stream_verb, rec_serve_verb;
#endif
