/* A trained recommender: a causal mb_model over items (token = item, 0 = pad), the identifiers of its items, and the
 * rule by which histories become input. A folder with config.json, model.safetensors, items.txt (one identifier a line,
 * of item 1, 2, ...; as JSON strings where they hold line ends) and run.json. */
#ifndef REC_MODEL_H
#define REC_MODEL_H
#include "core/session.h"
#include "recsys/scorer.h"

typedef struct rec_model rec_model; /* immutable after opening */

typedef struct rec_model_options {
    const char *device;
    mbk_precision precision;
    int threads;
    int64_t memory;
    int64_t window; /* only the latest so many events of a history; 0 = the model's own (what it was trained with, or
                       all) */
} rec_model_options;

int rec_model_open(rec_model **out, const char *folder, const rec_model_options *o, mb_err *e) MB_MUST_USE;
void rec_model_close(rec_model *m);
mb_model *rec_model_engine(const rec_model *m);
int32_t rec_model_items(const rec_model *m);
rec_id rec_model_item_id(const rec_model *m, int32_t item);
int32_t rec_model_find_item(const rec_model *m, const char *text, int n); /* 0: none */
const char *rec_model_items_digest(const rec_model *m);
/* map: (log items + 1) the model's item for each of the log's, 0 where the model has none (*unknown counts them). */
int rec_model_map_items(const rec_model *m, const rec_log *l, int32_t *map, int32_t *unknown, mb_err *e) MB_MUST_USE;
/* The user's vector after each history, (n, D): final hidden row of the last event. A history without events: zeros. */
int rec_model_encode(const rec_model *m, const rec_query *q, int n, float *vector, mb_err *e) MB_MUST_USE;
/* score (n, items+1) = vector (n,D) . E^T. The bits of a row do not depend on n. */
int rec_model_scores(const rec_model *m, const float *vector, int n, float *score, mb_err *e) MB_MUST_USE;
rec_scorer rec_model_scorer(const rec_model *m);
#endif
