/* Checkpoints of a training run. One is a folder DIR/step-00001000 that appears complete or not at all (written under
 * another name, every file and the folder synced, then renamed):
 *     config.json, model.safetensors   the model, under the names of its family: loads anywhere, also as -m MODEL
 *     state.safetensors                the optimiser's moments, averaged weights, tensors beside the model
 *     state.json                       step, counters, best figure, digests of the other files
 * Reading checks the digests; the newest that is whole is taken, and what was passed over is said. */
#ifndef MB_CHECKPOINT_H
#define MB_CHECKPOINT_H
#include "core/optimizer.h"

enum { MB_CHECKPOINT_KEY = 64 };

/* What a run remembers besides tensors; all of it goes to state.json. */
typedef struct mb_train_state {
    int64_t step;                            /* updates done */
    int64_t tokens;                          /* seen, in all lanes once */
    int64_t evaluations;                     /* done */
    int64_t best_step;                       /* of the best held-out figure; -1 none */
    double best;                             /* that figure (lower is better) */
    int64_t bad_evaluations;                 /* in a row without a better one */
    int64_t skipped;                         /* steps without a single target */
    char fingerprint[MB_CHECKPOINT_KEY + 1]; /* of everything that decides the numbers; must agree on resuming */
} mb_train_state;

/* Writes DIR/step-N (N = s->step); one that is there already is left as it is. DIR is made when it is not there; what
 * unfinished ones left behind is removed first. */
int mb_checkpoint_save(const char *dir, mb_gradient *g, mb_optimizer *o, const mb_train_state *s,
                       mb_err *e) MB_MUST_USE;
/* The newest whole checkpoint of dir, into model, optimiser and s; damaged ones that are newer are renamed to
 * damaged-*. *found = 0 and MB_OK when there is none at all; an error when there are some and none is whole, or when
 * the fingerprint differs (the text names both). */
int mb_checkpoint_resume(const char *dir, mb_gradient *g, mb_optimizer *o, mb_train_state *s, int *found,
                         mb_err *e) MB_MUST_USE;
/* The one of a given step, as above. */
int mb_checkpoint_load(const char *dir, int64_t step, mb_gradient *g, mb_optimizer *o, mb_train_state *s,
                       mb_err *e) MB_MUST_USE;
/* MB_USAGE when the newest readable checkpoint of dir has another fingerprint, before any work is done; nothing is
 * changed. */
int mb_checkpoint_agrees(const char *dir, const char *fingerprint, mb_err *e) MB_MUST_USE;
/* Removes all but the newest `keep` and the one of step `pinned`. */
int mb_checkpoint_prune(const char *dir, int keep, int64_t pinned, mb_err *e) MB_MUST_USE;
/* DIR/step-00001000; mb_free. */
char *mb_checkpoint_path(const char *dir, int64_t step);
#endif
