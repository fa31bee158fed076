/* Scorers that count: what a model has to beat before it has learned anything. All are built from the training events
 * of a split alone, and all end in one order, which the scores express: every score is a whole number, different for
 * every item of a query, so nothing is left to ties.
 *
 * popularity  items by their number of training events, most first; equals by their identifiers' bytes ("popular
 *             order").
 * markov-1    items that in a user's training events came right after the last item of the history, most often first;
 *             equals, and then all other items, in popular order. Transitions are counted inside the training run of
 *             each user: the step into a validation event is never counted, though that event is part of the history
 *             of the test (and then is the last item).
 * item-knn    cosine of items as sets of training users, c_ij = |U_i & U_j| / sqrt(|U_i| |U_j|) (Sarwar, Karypis,
 *             Konstan and Riedl 2001; Deshpande and Karypis 2004); of each item i the k largest c_ij > 0 are kept
 *             (equals in popular order). score(j) = sum over the different items i of the history, of which j is a kept
 *             neighbour, of w_i c_ij with w_i = 2^(-(place of i)/half): the last item has place 0 by its latest event,
 *             the one before it 1, and so on; half infinite: all weigh 1, as in RecBole's ItemKNN. Equals, and then
 * items with nothing, in popular order. A user counts with the latest `window` different items only, which keeps users
 * with tens of thousands of events from costing the square of that.
 *
 * Memory: popularity 8 bytes an item; markov-1 also 4 bytes for each different transition; item-knn also 8 bytes for
 * each kept neighbour. Refused: more than 2^23 items, which single-precision scores cannot put in order. */
#ifndef REC_FLOORS_H
#define REC_FLOORS_H
#include <stdatomic.h>
#include "recsys/scorer.h"
#include "recsys/split.h"

typedef enum rec_floor_kind { REC_FLOOR_POPULARITY, REC_FLOOR_MARKOV, REC_FLOOR_KNN, REC_FLOORS } rec_floor_kind;

typedef struct rec_floor_options {
    int threads;            /* of building and scoring; 0 is taken as 1 */
    int k;                  /* item-knn; 0 is taken as 100 */
    double half;            /* item-knn: items until a weight is halved; 0 is taken as 1, INFINITY: all weigh 1 */
    int64_t window;         /* item-knn; 0 is taken as 1000 */
    const atomic_int *stop; /* MB_STOPPED while building */
} rec_floor_options;

typedef struct rec_floor rec_floor; /* immutable; needs neither log nor split afterwards */

int rec_floor_create(rec_floor **out, rec_floor_kind kind, const rec_log *log, const rec_split *s,
                     const rec_floor_options *o, mb_err *e) MB_MUST_USE;
void rec_floor_destroy(rec_floor *f); /* NULL is fine */
rec_scorer rec_floor_scorer(rec_floor *f);
/* "pop", "markov", "knn": as --floors writes them; -1: there is none of this name. */
int rec_floor_find(const char *name, int n);
#endif
