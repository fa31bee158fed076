/* See parts.h. Refuses data of which every example is held out. */
#include "genomics/parts.h"

#include <string.h>

#include "core/mem.h"

/* Random parts in fractions of which some may be 0. */
static int draw(int *part, const dna_labelled *d, const dna_groups *g, const double f[3], uint64_t seed, mb_err *e) {
    double fraction[3];
    int which[3] = {0}, n = 0;
    for (int i = 0; i < 3; i++)
        if (f[i] > 0) {
            fraction[n] = f[i];
            which[n++] = i;
        }
    int rc = dna_folds_random(part, d, g, fraction, n, seed, e);
    for (int64_t i = 0; rc == MB_OK && i < d->n; i++)
        part[i] = which[part[i]];
    return rc;
}

static int given(const dna_labelled *d) {
    return d->n_parts > 0;
}

/* How many examples are of a part. */
static int64_t count(const dna_parts *p, int part) {
    int64_t n = 0;
    for (int64_t i = 0; i < p->n; i++)
        n += p->part[i] == part;
    return n;
}

static int make(dna_parts *p, const dna_labelled *d, const dna_parts_options *o, dna_text *said, mb_err *e) {
    int64_t dropped = 0;
    int rc;
    if (o->folds > 0)
        rc = dna_folds_k(p->part, d, &p->groups, o->folds, o->seed, e);
    else if (given(d))
        rc = dna_folds_given(p->part, d, &p->groups, o->leaks, &dropped, said, e);
    else
        rc = draw(p->part, d, &p->groups, (const double[3]){1 - o->valid - o->test, o->valid, o->test}, o->seed, e);
    if (rc != MB_OK)
        return rc;
    p->own_valid = o->folds == 0 && (!given(d) || count(p, DNA_VALID) > 0);
    if (!p->own_valid && o->valid > 0)
        return draw(p->valid, d, &p->groups, (const double[3]){1 - o->valid, o->valid, 0}, o->seed + 1, e);
    return MB_OK;
}

int dna_parts_make(dna_parts *p, const dna_labelled *d, const dna_alphabet *a, const dna_parts_options *o,
                   dna_text *said, mb_err *e) {
    *p = (dna_parts){.n = d->n, .folds = o->folds};
    if (o->valid + o->test >= 1)
        return mb_fail(e, MB_USAGE, "--valid-share %g and --test-share %g leave nothing to train on", o->valid,
                       o->test);
    p->part = mb_calloc((size_t)d->n, sizeof *p->part);
    p->valid = mb_calloc((size_t)d->n, sizeof *p->valid);
    p->index = mb_calloc((size_t)d->n, sizeof *p->index);
    int rc = p->part && p->valid && p->index ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for parts");
    if (rc == MB_OK)
        rc = dna_groups_find(&p->groups, d, a, e);
    if (rc == MB_OK)
        rc = dna_groups_say(&p->groups, d, said, e);
    if (rc == MB_OK && o->shared > 0)
        rc = dna_groups_join(&p->groups, d, a, o->shared, said, e);
    if (rc == MB_OK)
        rc = make(p, d, o, said, e);
    for (int f = 0; rc == MB_OK && f < (o->folds > 0 ? o->folds : 1); f++) {
        int64_t n[3];
        dna_parts_list(p, f, n);
        if (n[DNA_TRAIN] == 0)
            rc = mb_fail(e, MB_RANGE, "no example is left to train on");
    }
    return rc;
}

void dna_parts_fini(dna_parts *p) {
    mb_free(p->part);
    mb_free(p->valid);
    mb_free(p->index);
    dna_groups_fini(&p->groups);
    memset(p, 0, sizeof *p);
}

static int part_of(const dna_parts *p, int64_t i, int fold) {
    const int part = p->folds == 0 ? p->part[i] : p->part[i] == fold ? DNA_TEST : DNA_TRAIN;
    return part == DNA_TRAIN && !p->own_valid && p->valid[i] ? DNA_VALID : part;
}

void dna_parts_list(const dna_parts *p, int fold, int64_t n[3]) {
    int64_t at = 0;
    for (int part = DNA_TRAIN; part <= DNA_TEST; part++) {
        n[part] = 0;
        for (int64_t i = 0; i < p->n; i++)
            if (part_of(p, i, fold) == part) {
                p->index[at++] = i;
                n[part]++;
            }
    }
}
