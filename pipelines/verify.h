/* Comparing a model with recorded inputs and outputs (io.safetensors beside it): the work of `seqmamba verify`. */
#ifndef PIPELINES_VERIFY_H
#define PIPELINES_VERIFY_H
#include "core/model.h"
#include "core/weights.h"

typedef struct verify_line { /* one recorded tensor against what this program computes */
    const char *name;
    double worst;     /* max of |got - recorded| / max(|recorded|, rms of the tensor); infinite for NaN */
    int64_t at;       /* element where */
    double got, want; /* there */
    double rms;       /* of the recorded tensor */
    int checked;      /* 0: an input, or a tensor this program does not know */
} verify_line;

typedef struct verify_report {
    verify_line *line; /* one per tensor of the file */
    int n, unknown;
} verify_report;

/* io must outlive the report (it holds the names). MB_FORMAT when inputs are missing or shapes do not fit the model. */
int verify_run(verify_report *r, const mb_model *m, const mb_weights *io, int threads, mb_err *e) MB_MUST_USE;
void verify_free(verify_report *r);
#endif
