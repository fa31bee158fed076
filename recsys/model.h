/* A trained recommender: a causal mb_model over items (token = item, 0 = pad), the identifiers of its items, and the
 * rule by which histories become input. A folder with config.json, model.safetensors, items.txt (one identifier a line,
 * of item 1, 2, ...; as JSON strings where they hold line ends), recsys.json (the window; may be absent) and run.json.
 */
#ifndef REC_MODEL_H
#define REC_MODEL_H
#include "core/session.h"
#include "recsys/scorer.h"

typedef struct rec_model rec_model; /* immutable after opening */

typedef struct rec_model_options {
    const char *device;
    mbk_precision precision;
    int threads;    /* > 0 */
    int64_t memory; /* bytes to work in; 0 = 80 % of what is available */
    int64_t window; /* only the latest so many events of a history; 0 = the model's own (what it was trained with, or
                       all); -1 = all */
} rec_model_options;

/* Refuses models that are not causal, have no head, or whose vocabulary is not items and pad. */
int rec_model_open(rec_model **out, const char *folder, const rec_model_options *o, mb_err *e) MB_MUST_USE;
/* One that is already in memory and stays the caller's (a training run's, between steps): items without identifiers. */
int rec_model_borrow(rec_model **out, mb_model *engine, const rec_model_options *o, mb_err *e) MB_MUST_USE;
void rec_model_close(rec_model *m); /* NULL is fine */
mb_model *rec_model_engine(const rec_model *m);
int32_t rec_model_items(const rec_model *m);
int64_t rec_model_window(const rec_model *m); /* 0: whole histories */
const char *rec_model_folder(const rec_model *m);
/* Not of a borrowed model. */
rec_id rec_model_item_id(const rec_model *m, int32_t item);
int32_t rec_model_find_item(const rec_model *m, const char *text, int n); /* 0: none */
const char *rec_model_items_digest(const rec_model *m);
/* map: (log items + 1) the model's item for each of the log's, 0 where the model has none (*unknown counts them). */
int rec_model_map_items(const rec_model *m, const rec_log *l, int32_t *map, int32_t *unknown, mb_err *e) MB_MUST_USE;
/* A history in the model's numbering, unknown items left out: to (n); how many there are. */
int64_t rec_map_history(const int32_t *map, const int32_t *item, int64_t n, int32_t *to);

/* In the model's numbering; MB_RANGE for items beyond 1 .. items. */
/* The user's vector after each history, (n, D): final hidden row of the last event. A history without events: zeros.
 * Histories next to each other of which one begins with the other are run once, over the longest. The bits of a row
 * depend on its history alone. */
int rec_model_encode(const rec_model *m, const rec_query *q, int n, float *vector, mb_err *e) MB_MUST_USE;
/* score (n, items+1) = vector (n,D) . E^T. The bits of a row do not depend on n. */
int rec_model_scores(const rec_model *m, const float *vector, int n, float *score, mb_err *e) MB_MUST_USE;
/* For histories and scores in the model's numbering: of the log it was trained on, or mapped by the caller. */
rec_scorer rec_model_scorer(const rec_model *m);

/* The same for a log that numbers its items otherwise: histories are mapped, unknown items skipped; items that the
 * model does not know score -infinity. Where the numbers agree nothing is copied. Model and log are borrowed. */
typedef struct rec_log_scorer rec_log_scorer;
int rec_log_scorer_create(rec_log_scorer **out, const rec_model *m, const rec_log *l, mb_err *e) MB_MUST_USE;
void rec_log_scorer_destroy(rec_log_scorer *s);             /* NULL is fine */
int32_t rec_log_scorer_unknown(const rec_log_scorer *s);    /* items of the log that the model does not know */
const int32_t *rec_log_scorer_map(const rec_log_scorer *s); /* (log items + 1) */
rec_scorer rec_log_scorer_get(const rec_log_scorer *s);
/* FOLDER/recsys.json. window 0: whole histories. */
int rec_model_write_rule(const char *folder, int64_t window, mb_err *e) MB_MUST_USE;
#endif
