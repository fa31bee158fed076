/* Streaming inference with a causal model: memory does not depend on how much was fed.
 * feed (many tokens, tiles, all threads) and step (one token, weights read once by the whole team) continue the same
 * state and may be mixed; they agree to rounding (their sums run in different orders). Pieces of any length fed give
 * the same bits as one piece. One session is used by one caller at a time.
 * A token outside the vocabulary, or logits of a model without a head, is refused before anything is touched. An error
 * later on (a sink's, memory) leaves a state in the middle of a piece: the session then refuses to go on until it is
 * reset or given a stored state. */
#ifndef MB_SESSION_H
#define MB_SESSION_H
#include "core/forward.h"

typedef struct mb_session mb_session;

/* The model is borrowed. MB_NOTSUP for models that are not causal. step uses no more workers than there are processors:
 * its workers wait for each other several times a layer. */
int mb_session_create(mb_session **out, const mb_model *m, int threads, mb_err *e) MB_MUST_USE;
void mb_session_destroy(mb_session *s);
/* Appends n > 0 tokens. sink (or NULL) gets all final-norm rows with from counted from the session's start;
 * logits (V) (or NULL) those of the last token. */
int mb_session_feed(mb_session *s, const int32_t *token, int64_t n, const mb_sink *sink, float *logits,
                    mb_err *e) MB_MUST_USE;
/* Appends one token; hidden (D) after the final norm and logits (V), either may be NULL. */
int mb_session_step(mb_session *s, int32_t token, float *hidden, float *logits, mb_err *e) MB_MUST_USE;
int64_t mb_session_position(const mb_session *s); /* tokens so far */
void mb_session_reset(mb_session *s);
/* The state as one block of floats (conv and ssm states of all layers), to store and to restore in a session of the
 * same model. MB_FORMAT when floats or position cannot be of such a state. */
size_t mb_session_state_floats(const mb_session *s);
void mb_session_get_state(const mb_session *s, float *state, int64_t *position);
int mb_session_set_state(mb_session *s, const float *state, size_t floats, int64_t position, mb_err *e) MB_MUST_USE;
#endif
