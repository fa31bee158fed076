/* Splits by BED or by hashed blocks. See splits.h. */
#include "genomics/splits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/rng.h"
#include "genomics/regions.h"

const char *const dna_split_names[DNA_SPLITS] = {"train", "valid", "test"};

void dna_splits_fini(dna_splits *s) {
    for (int k = 0; k < DNA_SPLITS; k++)
        mb_free(s->part[k].at);
    memset(s, 0, sizeof *s);
}

/* Stretches come in order: one that overlaps or touches the last makes it longer. */
static int append(dna_split_part *p, dna_stretch t, mb_err *e) {
    dna_stretch *last = p->at && p->n ? &p->at[p->n - 1] : NULL;
    if (last && last->contig == t.contig && t.start <= last->end) {
        if (t.end > last->end)
            last->end = t.end;
        return MB_OK;
    }
    if (!p->at || p->n == p->capacity) {
        int64_t capacity = p->capacity ? 2 * p->capacity : 64;
        dna_stretch *grown = mb_realloc_array(p->at, (size_t)capacity, sizeof *grown);
        if (!grown)
            return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " stretches of sequence", capacity);
        p->at = grown;
        p->capacity = capacity;
    }
    p->at[p->n++] = t;
    return MB_OK;
}

/* ---- by BED ------------------------------------------------------------------------------------------------------ */
typedef struct named {
    dna_stretch t;
    int split;
    int64_t line;
} named;

static int64_t length_of(void *user, const char *name) {
    const dna_corpus *c = user;
    int64_t i = dna_corpus_find(c, name, NULL);
    return i < 0 ? -1 : c->contig[i].length;
}

static const char *name_of(void *user, int64_t i) {
    const dna_corpus *c = user;
    return i < c->contigs ? dna_corpus_name(c, i) : NULL;
}

static int split_of(const dna_region *g, const char *bed, mb_err *e) {
    for (int k = 0; g->name && k < DNA_SPLITS; k++)
        if (strcmp(g->name, dna_split_names[k]) == 0)
            return k;
    if (!g->name)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": column 4 must say train, valid or test, and is missing", bed,
                       g->line);
    return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": column 4 is '%.40s', expected train, valid or test", bed, g->line,
                   g->name);
}

/* The files that hold contigs of the name: two contigs of one name cannot be told apart by a BED. */
static int check_unique(const dna_corpus *c, const dna_region *g, const char *bed, mb_err *e) {
    int64_t count, first = dna_corpus_find(c, g->contig, &count);
    if (count < 2)
        return MB_OK; /* 0: for dna_regions_resolve to say */
    return mb_fail(e, MB_FORMAT,
                   "%s:%" PRId64 ": %" PRId64 " contigs are called '%.100s' (one in %s); a BED needs names that differ",
                   bed, g->line, count, g->contig, c->file[c->contig[first].file].path);
}

static int compare_named(const void *x, const void *y) {
    const named *a = x, *b = y;
    if (a->t.contig != b->t.contig)
        return a->t.contig < b->t.contig ? -1 : 1;
    if (a->t.start != b->t.start)
        return a->t.start < b->t.start ? -1 : 1;
    return (a->line > b->line) - (a->line < b->line);
}

/* In order of starts, a stretch overlaps an earlier one of another split exactly if it begins before the furthest end
 * of that split. */
static int sweep(dna_splits *s, const dna_corpus *c, const named *at, int64_t n, const char *bed, mb_err *e) {
    const named *far[DNA_SPLITS] = {NULL, NULL, NULL};
    for (int64_t i = 0; i < n; i++) {
        const named *g = &at[i];
        for (int k = 0; k < DNA_SPLITS; k++) {
            if (far[k] && far[k]->t.contig != g->t.contig)
                far[k] = NULL;
            if (k != g->split && far[k] && far[k]->t.end > g->t.start)
                return mb_fail(e, MB_FORMAT,
                               "%s:%" PRId64 ": %.100s:%" PRId64 "-%" PRId64 " (%s) overlaps line %" PRId64
                               " (%s), and no base may be in two splits",
                               bed, g->line, dna_corpus_name(c, g->t.contig), g->t.start, g->t.end,
                               dna_split_names[g->split], far[k]->line, dna_split_names[k]);
        }
        if (!far[g->split] || far[g->split]->t.end < g->t.end)
            far[g->split] = g;
        int rc = append(&s->part[g->split], g->t, e);
        if (rc)
            return rc;
    }
    return MB_OK;
}

static int by_bed(dna_splits *s, const dna_corpus *c, const char *bed, mb_err *e) {
    dna_regions r;
    if (!mb_file_exists(bed)) /* the text of one region would be taken as such */
        return mb_fail(e, MB_NOTFOUND, "%s: there is no such BED file", bed);
    int rc = dna_regions_read(&r, bed, e);
    if (rc)
        return rc;
    for (int64_t i = 0; !rc && i < r.n; i++)
        rc = check_unique(c, &r.at[i], bed, e);
    const dna_contigs contigs = {length_of, name_of, (void *)(uintptr_t)c,
                                 c->files == 1 ? c->file[0].path : "the inputs"};
    if (!rc)
        rc = dna_regions_resolve(&r, &contigs, e);
    named *at = rc ? NULL : mb_realloc_array(NULL, (size_t)r.n, sizeof *at);
    if (!rc && !at)
        rc = mb_fail(e, MB_NOMEM, "%s: no memory for %" PRId64 " regions", bed, r.n);
    for (int64_t i = 0; !rc && i < r.n; i++) {
        const dna_region *g = &r.at[i];
        int split = split_of(g, bed, e);
        if (split < 0)
            rc = split;
        else
            at[i] = (named){{dna_corpus_find(c, g->contig, NULL), g->start, g->end}, split, g->line};
    }
    if (!rc) {
        qsort(at, (size_t)r.n, sizeof *at, compare_named);
        rc = sweep(s, c, at, r.n, bed, e);
    }
    mb_free(at);
    dna_regions_fini(&r);
    return rc;
}

/* ---- by blocks --------------------------------------------------------------------------------------------------- */
static uint64_t fnv1a(const char *s) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return h;
}

/* Philox under the seed, with the name's hash as stream and the block as counter, as the number u in [0,1):
 * test [0,t), valid [t,t+v), train the rest. */
static int split_of_block(const dna_splits_options *o, uint64_t name, int64_t block) {
    mb_rng r;
    mb_rng_init(&r, o->seed, name);
    r.counter = (uint64_t)block;
    const double u = mb_rng_uniform(&r);
    return u < o->test ? DNA_SPLIT_TEST : u < o->test + o->valid ? DNA_SPLIT_VALID : DNA_SPLIT_TRAIN;
}

static int by_blocks(dna_splits *s, const dna_corpus *c, const dna_splits_options *o, mb_err *e) {
    if (!(o->valid >= 0 && o->test >= 0 && o->valid + o->test < 1))
        return mb_fail(e, MB_RANGE,
                       "fractions %g for validation and %g for testing: both must be at least 0 and leave something to "
                       "train on",
                       o->valid, o->test);
    if (o->block < 1)
        return mb_fail(e, MB_RANGE, "blocks of %" PRId64 " bases: at least 1 is needed", o->block);
    for (int64_t i = 0; i < c->contigs; i++) {
        const uint64_t name = fnv1a(dna_corpus_name(c, i));
        const int64_t length = c->contig[i].length;
        for (int64_t at = 0, k = 0, end; at < length; at = end, k++) {
            end = length - at > o->block ? at + o->block : length;
            int rc = append(&s->part[split_of_block(o, name, k)], (dna_stretch){i, at, end}, e);
            if (rc)
                return rc;
        }
    }
    return MB_OK;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */
static void leave_out_short(dna_split_part *p, int64_t least) {
    int64_t kept = 0;
    for (int64_t i = 0; i < p->n; i++) {
        const int64_t length = p->at[i].end - p->at[i].start;
        if (length < least) {
            p->left_out++;
            p->left_out_bases += length;
        } else {
            p->at[kept++] = p->at[i];
            p->bases += length;
        }
    }
    p->n = kept;
}

static void tell(const dna_splits *s, int64_t least) {
    for (int k = 0; k < DNA_SPLITS; k++) {
        const dna_split_part *p = &s->part[k];
        char bases[32];
        mb_info("%s: %s bases in %" PRId64 " stretch%s", dna_split_names[k], mb_human_count((double)p->bases, bases),
                p->n, p->n == 1 ? "" : "es");
        if (p->left_out)
            mb_info("%s: %" PRId64 " stretch%s with %s bases left out, shorter than a window of %" PRId64 " bases",
                    dna_split_names[k], p->left_out, p->left_out == 1 ? "" : "es",
                    mb_human_count((double)p->left_out_bases, bases), least);
    }
}

static int check_filled(const dna_splits *s, const dna_corpus *c, const dna_splits_options *o, mb_err *e) {
    const int empty = !s->part[DNA_SPLIT_TRAIN].n   ? DNA_SPLIT_TRAIN
                      : !s->part[DNA_SPLIT_VALID].n ? DNA_SPLIT_VALID
                                                    : -1;
    if (empty < 0 || (empty == DNA_SPLIT_VALID && o->valid_optional))
        return MB_OK;
    const dna_split_part *p = &s->part[empty];
    char all[32];
    if (o->bed)
        return mb_fail(e, MB_FORMAT, "%s: no region named %s%s; one of at least %" PRId64 " bases, a window, is needed",
                       o->bed, dna_split_names[empty], p->left_out ? " is long enough" : "", o->least);
    if (!p->left_out)
        return mb_fail(e, MB_RANGE,
                       "nothing to %s: of %s bases in blocks of %" PRId64
                       ", none came to %s; take smaller blocks, other fractions, another seed of the split or a BED",
                       empty == DNA_SPLIT_TRAIN ? "train on" : "validate on", mb_human_count((double)c->n, all),
                       o->block, dna_split_names[empty]);
    return mb_fail(e, MB_RANGE,
                   "nothing to %s: of %s bases in blocks of %" PRId64 ", %" PRId64
                   " stretches came to %s, all shorter than a window of %" PRId64
                   " bases; take %s, other fractions, another seed of the split, shorter windows or a BED",
                   empty == DNA_SPLIT_TRAIN ? "train on" : "validate on", mb_human_count((double)c->n, all), o->block,
                   p->left_out, dna_split_names[empty], o->least,
                   o->block < o->least ? "larger blocks" : "smaller blocks");
}

static uint32_t checksum(const dna_splits *s) {
    uint32_t crc = 0;
    for (int k = 0; k < DNA_SPLITS; k++) {
        const dna_split_part *p = &s->part[k];
        crc = (uint32_t)crc32_z(crc, (const Bytef *)&p->n, sizeof p->n);
        if (p->n)
            crc = (uint32_t)crc32_z(crc, (const Bytef *)p->at, (size_t)p->n * sizeof *p->at);
    }
    return crc;
}

int dna_splits_make(dna_splits *s, const dna_corpus *c, const dna_splits_options *o, mb_err *e) {
    memset(s, 0, sizeof *s);
    MB_ASSERT(o->least > 0);
    int rc = o->bed ? by_bed(s, c, o->bed, e) : by_blocks(s, c, o, e);
    for (int k = 0; !rc && k < DNA_SPLITS; k++)
        leave_out_short(&s->part[k], o->least);
    if (!rc)
        rc = check_filled(s, c, o, e);
    if (rc) {
        dna_splits_fini(s);
        return rc;
    }
    s->crc = checksum(s);
    tell(s, o->least);
    return MB_OK;
}

int dna_splits_write(const dna_splits *s, const dna_corpus *c, mb_out *out, mb_err *e) {
    int rc = MB_OK;
    for (int k = 0; k < DNA_SPLITS; k++)
        for (int64_t i = 0; !rc && i < s->part[k].n; i++) {
            const dna_stretch *t = &s->part[k].at[i];
            rc = mb_out_printf(out, e, "%s\t%" PRId64 "\t%" PRId64 "\t%s\n", dna_corpus_name(c, t->contig), t->start,
                               t->end, dna_split_names[k]);
        }
    return rc;
}
