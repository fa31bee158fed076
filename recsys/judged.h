/* What `recmamba evaluate` found, for those who print it. */
#ifndef REC_JUDGED_H
#define REC_JUDGED_H
#include "core/file.h"
#include "core/provenance.h"
#include "recsys/evaluate.h"

enum { REC_JUDGED = 4 }; /* scorers beside each other: three floors and a model */

typedef struct rec_judged {
    const char *name;
    rec_evaluation e;
    double building; /* seconds until it could score */
} rec_judged;

typedef struct rec_judgement {
    const rec_log *log;
    const rec_split *split;
    const rec_evaluate_options *o;
    const char *input, *model; /* what they were called; model NULL: floors alone */
    char candidates[80];       /* in words */
    rec_judged of[REC_JUDGED]; /* floors first */
    int n, n_floors;
    rec_figure *over; /* (columns) the model less the best floor of each figure; NULL: not both there */
    int *best;        /* (columns) which floor that is */
    int metric[REC_METRICS], n_metrics; /* to show */
    char trained[65];                   /* fingerprint of the split the model was trained by; empty: not known */
    int32_t unknown;                    /* items of the log that the model does not know */
} rec_judgement;

extern const char *const REC_FILTER_NAME[2]; /* "all", "unseen": in files */

/* over and best from the floors and the model, which were kept. */
int rec_judgement_compare(rec_judgement *j, mb_err *e) MB_MUST_USE;
/* Tables for people; a line a figure; all there is. */
int rec_judgement_text(const rec_judgement *j, mb_out *out, mb_err *e) MB_MUST_USE;
int rec_judgement_tsv(const rec_judgement *j, mb_out *out, mb_err *e) MB_MUST_USE;
int rec_judgement_json(const rec_judgement *j, mb_out *out, mb_err *e) MB_MUST_USE;
/* The rank of every target, a line each. */
int rec_judgement_ranks(const rec_judgement *j, mb_out *out, mb_err *e) MB_MUST_USE;
/* The page for people with a browser. */
int rec_judgement_page(const rec_judgement *j, mb_provenance *record, const char *path, mb_err *e) MB_MUST_USE;
#endif
