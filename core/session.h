/* Streaming inference with a causal model: memory does not depend on how much was fed.
 * feed (many tokens, tiles, all threads) and step (one token, weights read once by the whole team) continue the same
 * state and may be mixed; they agree to rounding (their sums run in different orders). Pieces of any length fed give
 * the same bits as one piece. */
#ifndef MB_SESSION_H
#define MB_SESSION_H
#include "core/forward.h"

typedef struct mb_session mb_session;

/* The model is borrowed. MB_NOTSUP for models that are not causal. */
int mb_session_create(mb_session **out, const mb_model *m, int threads, mb_err *e) MB_MUST_USE;
void mb_session_destroy(mb_session *s);
/* Appends n tokens. sink (or NULL) gets all final-norm rows with from counted from the session's start;
 * logits (V) (or NULL) those of the last token. */
int mb_session_feed(mb_session *s, const int32_t *token, int64_t n, const mb_sink *sink, float *logits,
                    mb_err *e) MB_MUST_USE;
/* Appends one token; hidden (D) after the final norm and logits (V), either may be NULL. */
int mb_session_step(mb_session *s, int32_t token, float *hidden, float *logits, mb_err *e) MB_MUST_USE;
int64_t mb_session_position(const mb_session *s); /* tokens so far */
void mb_session_reset(mb_session *s);
/* The state as one block of floats (conv and ssm states of all layers), to store and restore. */
size_t mb_session_state_floats(const mb_session *s);
void mb_session_get_state(const mb_session *s, float *state, int64_t *position);
void mb_session_set_state(mb_session *s, const float *state, int64_t position);
#endif
