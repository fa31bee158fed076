/* What verbs that use a trained model have in common: which one, how it is run. */
#ifndef REC_USE_H
#define REC_USE_H
#include <stddef.h>
#include "core/options.h"
#include "core/provenance.h"
#include "recsys/model.h"

typedef struct rec_use_values {
    char *model;
    int64_t window;
    int precision;
} rec_use_values;

int rec_use_open(rec_model **out, const rec_use_values *v, const mb_run *run, mb_err *e) MB_MUST_USE;
/* Its files, for run.json. */
int rec_use_note(const rec_model *m, mb_provenance *p, mb_err *e) MB_MUST_USE;
/* Says what of the log the model does not know, if anything. */
void rec_use_warn(const rec_model *m, const rec_log *l, const int32_t *map);
/* How many histories' scores fit into half of --memory, between 1 and most. */
int rec_use_block(const rec_model *m, const mb_run *run, int most);

#define REC_USE_OPTION(S, F, NAME, ...)                                                                                \
    { .key = #NAME, .offset = offsetof(S, F.NAME), __VA_ARGS__ }
#define REC_USE_OPTIONS(S, F)                                                                                          \
    REC_USE_OPTION(S, F, model, .letter = 'm', .type = MB_OPT_STRING, .meta = "FOLDER",                                \
                   .help = "The trained model: a folder of recmamba train."),                                          \
        REC_USE_OPTION(S, F, window, .type = MB_OPT_INT, .def = "0", .min = -1, .max = 1e9, .meta = "N",               \
                       .help = "Only the latest N events of a history are read. 0: as many as the model was trained "  \
                               "with; -1: all."),                                                                      \
        REC_USE_OPTION(S, F, precision, .type = MB_OPT_CHOICE, .def = "fp32", .choices = "fp32|bf16",                  \
                       .help = "Precision of weights and matrix-product inputs; sums and states are always fp32.")
#endif
