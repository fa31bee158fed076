/* Windows and batches of training: functions of (seed, step, index) alone; the distributions that are promised; windows
 * that stay in their split; both strands; sequence without bases. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/rng.h"
#include "genomics/windows.h"
#include "tests/chance.h"
#include "tests/scratch.h"

static dna_alphabet alphabet;
static mb_err error;
static const dna_masking MLM = {
    .objective = DNA_MLM, .rate = 0.15, .masked = 0.8, .random = 0.1, .soft_weight = 1, .alphabet = &alphabet};

/* Two files, the second without contig a: contigs of many lengths, of N alone, of one base, soft-masked runs. */
static const struct {
    const char *name;
    int length, n_from, n_to;
} CONTIG[] = {{"a", 3000, 500, 900}, {"n", 400, 0, 400}, {"b", 1200, 0, 0}, {"one", 1, 0, 0}, {"t", 64, 0, 0}};

static const char *fasta(const char *name, const char *prefix, uint64_t seed, size_t from) {
    FILE *f = fopen(scratch_path(name), "w");
    mb_rng r;
    mb_rng_init(&r, seed, 0);
    assert_non_null(f);
    for (size_t i = from; i < sizeof CONTIG / sizeof CONTIG[0]; i++) {
        fprintf(f, ">%s%s\n", prefix, CONTIG[i].name);
        for (int k = 0; k < CONTIG[i].length; k++) {
            const uint64_t letter = mb_rng_below(&r, 4);
            fputc(k >= CONTIG[i].n_from && k < CONTIG[i].n_to ? 'N' : (k / 37 % 3 ? "ACGT" : "acgt")[letter], f);
        }
        fputc('\n', f);
    }
    fclose(f);
    return scratch_path(name);
}

static dna_corpus corpus;
static dna_splits splits; /* of both files, by blocks */
static dna_split_part whole;
static dna_stretch whole_at[9];

static const dna_windows_options PLAIN = {
    .seed = 7, .length = 50, .batch_windows = 9, .most_n = 1, .tries = 1, .alpha = 1};

static dna_windows *create(const dna_split_part *part, const dna_masking *m, dna_windows_options o) {
    dna_windows *w = NULL;
    mb_err_clear(&error);
    if (dna_windows_create(&w, &corpus, part, m, &o, &error))
        fail_msg("%s", error.text);
    return w;
}

/* ---- places ------------------------------------------------------------------------------------------------------ */
/* Every start of every stretch is counted by itself, by the definition: expected draws of each start of the corpus. */
static void expect_starts(double *expected, int64_t length, double alpha, double draws) {
    double starts[2] = {0, 0};
    memset(expected, 0, (size_t)corpus.n * sizeof *expected);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < corpus.contigs; i++) {
            const dna_corpus_contig *t = &corpus.contig[i];
            for (int64_t p = 0; p + length <= t->length; p++) {
                if (pass == 0)
                    starts[t->file]++;
                else
                    expected[t->start + p] = draws * pow(starts[t->file], alpha - 1) /
                                             (pow(starts[0], alpha) + (starts[1] > 0 ? pow(starts[1], alpha) : 0));
            }
        }
}

/* Degrees of freedom: cells - 1. Neighbouring starts are put together by 20, so that no cell is rare. */
static double start_statistic(const double *expected, const int64_t *count, int64_t *df) {
    double e[1000] = {0};
    int64_t c[1000] = {0}, cells = 0;
    for (int64_t i = 0; i < corpus.n; i++) {
        e[i / 20] += expected[i];
        c[i / 20] += count[i];
        if (expected[i] == 0)
            assert_int_equal(count[i], 0);
    }
    for (int i = 0; i < 1000; i++)
        cells += e[i] > 0;
    *df = cells - 1;
    return chi_square(e, c, 1000);
}

static void starts_are_as_promised(void **state) {
    (void)state;
    static const double ALPHA[] = {1, 0, 0.5};
    enum { STEPS = 6000, BATCH = 20 };
    double *expected = malloc((size_t)corpus.n * sizeof *expected);
    int64_t *count = malloc((size_t)corpus.n * sizeof *count);
    assert_true(expected && count);
    for (int k = 0; k < 3; k++) {
        dna_windows_options o = PLAIN;
        o.alpha = ALPHA[k];
        dna_windows *w = create(&whole, &MLM, o);
        memset(count, 0, (size_t)corpus.n * sizeof *count);
        for (int step = 0; step < STEPS; step++)
            for (int i = 0; i < BATCH; i++) {
                const dna_window d = dna_windows_draw(w, (uint64_t)step, i);
                assert_int_equal(d.length, 50);
                assert_int_equal(d.strand, '+');
                assert_int_equal(d.drawn, 1);
                count[corpus.contig[d.contig].start + d.start]++;
            }
        int64_t df;
        expect_starts(expected, 50, ALPHA[k], STEPS * BATCH);
        const double right = start_statistic(expected, count, &df);
        if (!(right < chi_bound(df)))
            fail_msg("alpha %g: chi-square %g with %" PRId64 " degrees of freedom", ALPHA[k], right, df);
        /* The test can fail: by the number of bases instead of starts, or another exponent, it does. */
        expect_starts(expected, 1, ALPHA[k], STEPS * BATCH);
        for (int64_t i = 0; i < corpus.n; i++)
            expected[i] += 1e-3;
        double e[2] = {0, 0};
        int64_t c[2] = {0, 0};
        for (int64_t i = 0; i < corpus.n; i++) { /* contig t, whose 64 bases have 15 starts, against the rest */
            const int in_t = i >= corpus.contig[4].start && i < corpus.contig[4].start + 64;
            e[in_t] += expected[i];
            c[in_t] += count[i];
        }
        assert_true(chi_square(e, c, 2) > chi_bound(1));
        dna_windows_destroy(w);
    }
    free(expected);
    free(count);
}

/* Lengths are uniform, and starts too given the length. */
static void lengths_are_uniform(void **state) {
    (void)state;
    enum { LEAST = 40, MOST = 49, DRAWS = 40000 };
    dna_windows_options o = PLAIN;
    double expected[MOST - LEAST + 1];
    int64_t count[MOST - LEAST + 1] = {0}, in_t = 0;
    double expected_t = 0;
    o.length = MOST;
    o.min_length = LEAST;
    dna_windows *w = create(&whole, &MLM, o);
    for (int i = 0; i < DRAWS; i++) {
        const dna_window d = dna_windows_draw(w, 3, i);
        assert_in_range(d.length, LEAST, MOST);
        count[d.length - LEAST]++;
        in_t += d.contig == 4;
    }
    for (int k = 0; k <= MOST - LEAST; k++) {
        expected[k] = DRAWS / 10.;
        expected_t += DRAWS / 10. * (64 - (LEAST + k) + 1) / (double)dna_windows_starts(w, LEAST + k);
        assert_int_equal(dna_windows_starts(w, LEAST + k), 3000 + 2 * (400 + 1200 + 64) - 7 * (LEAST + k - 1));
    }
    assert_true(chi_square(expected, count, 10) < chi_bound(9));
    assert_true(fabs((double)in_t - expected_t) < 5 * sqrt(expected_t));
    assert_int_equal(dna_windows_starts(w, 3000), 1);
    assert_int_equal(dna_windows_starts(w, 3001), 0);
    assert_int_equal(dna_windows_starts(w, 1), corpus.n);
    dna_windows_destroy(w);
}

static void windows_stay_in_their_split(void **state) {
    (void)state;
    dna_windows_options o = PLAIN;
    o.length = 70;
    o.min_length = 3;
    o.reverse = 0.5;
    for (int k = 0; k < DNA_SPLITS; k++) {
        dna_windows *w = create(&splits.part[k], &MLM, o);
        int64_t reverse = 0;
        for (int i = 0; i < 20000; i++) {
            const dna_window d = dna_windows_draw(w, (uint64_t)i, i % 7);
            int inside = 0;
            for (int64_t s = 0; s < splits.part[k].n && !inside; s++) {
                const dna_stretch *t = &splits.part[k].at[s];
                inside = t->contig == d.contig && t->start <= d.start && d.start + d.length <= t->end;
            }
            assert_true(inside);
            reverse += d.strand == '-';
        }
        assert_in_range(reverse, 10000 - 354, 10000 + 354); /* five standard deviations of 70.7 */
        dna_windows_destroy(w);
        dna_grid g;
        assert_int_equal(dna_grid_make(&g, &corpus, &splits.part[k], 70, 3, 0, 1, &error), MB_OK);
        int64_t of_split = 0;
        for (int64_t i = 0; i < g.n; i++) {
            const dna_window *d = &g.window[i];
            for (int64_t s = 0; s < splits.part[k].n; s++) {
                const dna_stretch *t = &splits.part[k].at[s];
                of_split += t->contig == d->contig && t->start <= d->start && d->start + d->length <= t->end;
            }
        }
        assert_int_equal(of_split, g.n);
        dna_grid_fini(&g);
    }
}

/* A chain is one long window in pieces, one a step, in reading direction. */
static void chains_follow_on(void **state) {
    (void)state;
    dna_windows_options o = PLAIN;
    o.length = 25;
    o.chain = 4;
    o.reverse = 0.5;
    dna_windows *w = create(&whole, &MLM, o);
    int strands[2] = {0, 0}, moved = 0;
    for (uint64_t step = 1; step < 400; step++)
        for (int i = 0; i < 3; i++) {
            const dna_window before = dna_windows_draw(w, step - 1, i), now = dna_windows_draw(w, step, i);
            const int reverse = now.strand == '-';
            assert_int_equal(dna_windows_continue(w, step), step % 4 != 0);
            assert_int_equal(now.length, 25);
            if (step % 4 == 0) {
                moved += now.contig != before.contig || now.start != before.start + 25;
                continue;
            }
            assert_int_equal(now.contig, before.contig);
            assert_int_equal(now.strand, before.strand);
            assert_int_equal(now.start, before.start + (reverse ? -25 : 25));
            strands[reverse]++;
        }
    assert_true(strands[0] > 300 && strands[1] > 300 && moved > 250);
    dna_windows_destroy(w);
    o.length = 800; /* four of them fit nowhere */
    assert_int_equal(dna_windows_create(&w, &corpus, &whole, &MLM, &o, &error), MB_RANGE);
    assert_non_null(strstr(error.text, "3200"));
    o.length = 25;
    o.min_length = 10;
    mb_err_clear(&error);
    assert_int_equal(dna_windows_create(&w, &corpus, &whole, &MLM, &o, &error), MB_RANGE);
    mb_err_clear(&error);
}

static double share_of_n(const dna_window *d) {
    int64_t n = 0;
    for (int64_t i = 0; i < d->length; i++)
        n += !corpus.is_base[corpus.base[corpus.contig[d->contig].start + d->start + i]];
    return (double)n / (double)d->length;
}

static void windows_of_n_are_drawn_again(void **state) {
    (void)state;
    dna_windows_options o = PLAIN;
    dna_windows *any = create(&whole, &MLM, o);
    o.most_n = 0.2;
    o.tries = 3;
    dna_windows *w = create(&whole, &MLM, o);
    int64_t above = 0, again = 0, first = 0;
    for (int i = 0; i < 20000; i++) {
        const dna_window d = dna_windows_draw(w, 0, i), plain = dna_windows_draw(any, 0, i);
        const double n = share_of_n(&d);
        assert_in_range(d.drawn, 1, 3);
        if (n > 0.2)
            assert_int_equal(d.drawn, 3);
        above += n > 0.2;
        again += d.drawn > 1;
        first += share_of_n(&plain) > 0.2;
        assert_int_equal(d.drawn > 1, share_of_n(&plain) > 0.2);
    }
    const double p = (double)first / 20000; /* of windows above; three in a row p^3 */
    assert_int_equal(again, first);
    assert_true(fabs((double)above - 20000 * p * p * p) < 6 * sqrt(20000 * p * p * p));
    assert_true(above > 0);
    dna_windows_destroy(any);
    dna_windows_destroy(w);
    /* Nothing but N: taken in the end, without any target. */
    dna_stretch only = {1, 0, 400};
    const dna_split_part n_only = {.at = &only, .n = 1};
    w = create(&n_only, &MLM, o);
    dna_train_batch b;
    assert_int_equal(dna_windows_batch(w, &b, &error), MB_OK);
    dna_windows_fill(w, 1, 0, 9, &b);
    assert_int_equal(b.sums.targets, 0);
    assert_true(b.sums.weight == 0);
    for (int64_t i = 0; i < b.tokens; i++) {
        assert_int_equal(b.token[i], alphabet.n_token);
        assert_int_equal(b.target[i], DNA_IGNORE);
    }
    assert_int_equal(b.window[8].drawn, 3);
    dna_train_batch_fini(&b);
    dna_windows_destroy(w);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */
static int same_batch_part(const dna_train_batch *all, int from, const dna_train_batch *part) {
    int64_t at = 0, tokens = part->tokens;
    for (int i = 0; i < from; i++)
        at += all->length[i];
    const size_t bytes = (size_t)tokens * sizeof *all->token;
    return !memcmp(all->length + from, part->length, (size_t)part->n * sizeof *all->length) &&
           !memcmp(all->token + at, part->token, bytes) && !memcmp(all->target + at, part->target, bytes) &&
           (!all->weight || !memcmp(all->weight + at, part->weight, bytes));
}

/* Any order, any shares, another object: the same. Another seed, step or index: another. */
static void batches_depend_on_seed_step_and_index_alone(void **state) {
    (void)state;
    dna_windows_options o = PLAIN;
    dna_masking m = MLM;
    o.reverse = 0.5;
    o.min_length = 30;
    o.most_n = 0.3;
    o.tries = 10;
    m.soft_weight = 0.5F;
    dna_windows *w = create(&splits.part[DNA_SPLIT_TRAIN], &m, o), *twin = create(&splits.part[DNA_SPLIT_TRAIN], &m, o);
    dna_train_batch whole_batch, part;
    assert_int_equal(dna_windows_batch(w, &whole_batch, &error), MB_OK);
    assert_int_equal(dna_windows_batch(twin, &part, &error), MB_OK);
    assert_non_null(whole_batch.weight);
    for (uint64_t step = 0; step < 40; step++) {
        dna_windows_fill(w, step, 0, 9, &whole_batch);
        int64_t targets = 0;
        double weight = 0;
        for (int i = 8; i >= 0; i--) {
            dna_windows_fill(twin, step + (uint64_t)i + 1, 0, 9, &part); /* something else in between */
            dna_windows_fill(twin, step, i, 1, &part);
            assert_true(same_batch_part(&whole_batch, i, &part));
            targets += part.sums.targets;
            weight += part.sums.weight;
        }
        assert_int_equal(targets, whole_batch.sums.targets);
        assert_true(weight == whole_batch.sums.weight); /* halves and ones: exact in any order */
        dna_windows_fill(twin, step, 2, 5, &part);
        assert_true(same_batch_part(&whole_batch, 2, &part));
        dna_windows_fill(twin, step + 1, 0, 9, &part);
        assert_memory_not_equal(whole_batch.token, part.token, 30 * sizeof *part.token);
    }
    dna_windows_destroy(twin);
    o.seed++;
    twin = create(&splits.part[DNA_SPLIT_TRAIN], &m, o);
    dna_windows_fill(w, 0, 0, 9, &whole_batch);
    dna_windows_fill(twin, 0, 0, 9, &part);
    assert_memory_not_equal(whole_batch.token, part.token, 30 * sizeof *part.token);
    dna_train_batch_fini(&whole_batch);
    dna_train_batch_fini(&part);
    dna_windows_destroy(w);
    dna_windows_destroy(twin);
}

/* What was drawn once is drawn for ever: runs can be repeated with later versions. */
static void the_draws_are_pinned(void **state) {
    (void)state;
    static const char PLACES[] = "xa:734+18+ xb:1000+47+ yt:2+20+ xn:142+48- 232b8f351d9d1912";
    dna_windows_options o = PLAIN;
    dna_train_batch b;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a over tokens and targets */
    size_t at = 0;
    char is[256] = "";
    o.reverse = 0.5;
    o.min_length = 10;
    dna_windows *w = create(&whole, &MLM, o);
    assert_int_equal(dna_windows_batch(w, &b, &error), MB_OK);
    dna_windows_fill(w, 1000000007, 0, 4, &b);
    for (int i = 0; i < 4; i++)
        at += (size_t)snprintf(is + at, sizeof is - at, "%s:%" PRId64 "+%" PRId64 "%c ",
                               dna_corpus_name(&corpus, b.window[i].contig), b.window[i].start, b.length[i],
                               b.window[i].strand);
    for (int64_t i = 0; i < b.tokens; i++)
        hash = ((hash ^ (uint64_t)b.token[i]) * 0x100000001b3u ^ (uint64_t)(b.target[i] + 100)) * 0x100000001b3u;
    snprintf(is + at, sizeof is - at, "%016" PRIx64, hash);
    assert_string_equal(is, PLACES);
    dna_train_batch_fini(&b);
    dna_windows_destroy(w);
    assert_true(dna_draw_key(1, DNA_DRAW_MASK, 2) != dna_draw_key(1, DNA_DRAW_PLACE, 2));
    assert_true(dna_draw_key(1, DNA_DRAW_MASK, 2) != dna_draw_key(2, DNA_DRAW_MASK, 1));
    assert_true(dna_draw_key(1, DNA_DRAW_MASK, 2) != dna_draw_key(1, DNA_DRAW_MASK, 2 + ((uint64_t)1 << 32)));
}

static void batches_by_tokens(void **state) {
    (void)state;
    static const int64_t TOKENS[] = {1, 50, 99, 100, 777};
    for (int k = 0; k < 5; k++)
        for (int variable = 0; variable < 2; variable++) {
            dna_windows_options o = PLAIN;
            o.batch_windows = 0;
            o.batch_tokens = TOKENS[k];
            o.min_length = variable ? 1 : 0;
            dna_windows *w = create(&whole, &MLM, o);
            dna_train_batch b;
            assert_int_equal(dna_windows_batch(w, &b, &error), MB_OK);
            for (uint64_t step = 0; step < 300; step++) {
                const int n = dna_windows_count(w, step);
                const int64_t next = dna_windows_draw(w, step, n).length;
                dna_windows_fill(w, step, 0, n, &b);
                assert_int_equal(b.n, n);
                assert_true(n == 1 || b.tokens <= TOKENS[k]);
                assert_true(b.tokens + next > TOKENS[k]);
                if (!variable)
                    assert_int_equal(n, TOKENS[k] < 100 ? 1 : TOKENS[k] / 50);
            }
            dna_train_batch_fini(&b);
            dna_windows_destroy(w);
        }
}

/* The reverse strand is the reverse complement of tokens, targets and weights together. */
static void the_reverse_strand(void **state) {
    (void)state;
    for (int replacement = 0; replacement < 2; replacement++) {
        dna_windows_options o = PLAIN;
        dna_masking m = MLM;
        m.soft_weight = 0.25F;
        m.replacement = replacement;
        dna_windows *forward = create(&whole, &m, o);
        o.reverse = 1;
        dna_windows *reverse = create(&whole, &m, o);
        dna_train_batch f, r;
        assert_int_equal(dna_windows_batch(forward, &f, &error), MB_OK);
        assert_int_equal(dna_windows_batch(reverse, &r, &error), MB_OK);
        for (uint64_t step = 0; step < 100; step++) {
            dna_windows_fill(forward, step, 0, 9, &f);
            dna_windows_fill(reverse, step, 0, 9, &r);
            assert_int_equal(f.sums.targets, r.sums.targets);
            for (int i = 0; i < 9; i++) {
                assert_int_equal(r.window[i].strand, '-');
                assert_int_equal(r.window[i].start, f.window[i].start);
                for (int k = 0; k < 50; k++) {
                    const int64_t a = i * 50 + k, b = i * 50 + 49 - k;
                    const int32_t t = f.target[a];
                    assert_int_equal(r.token[b], alphabet.complement[f.token[a]]);
                    assert_int_equal(r.target[b], t == DNA_IGNORE ? t : alphabet.complement[t]);
                    assert_true(r.weight[b] == f.weight[a]);
                }
            }
        }
        dna_train_batch_fini(&f);
        dna_train_batch_fini(&r);
        dna_windows_destroy(forward);
        dna_windows_destroy(reverse);
    }
}

/* A causal model reads the reverse strand backwards first: its targets are its own next bases. */
static void next_tokens_of_the_reverse_strand(void **state) {
    (void)state;
    const dna_masking m = {.objective = DNA_CAUSAL, .soft_weight = 0, .alphabet = &alphabet};
    dna_windows_options o = PLAIN;
    o.reverse = 1;
    dna_windows *w = create(&whole, &m, o);
    dna_train_batch b;
    assert_int_equal(dna_windows_batch(w, &b, &error), MB_OK);
    dna_windows_fill(w, 0, 0, 9, &b);
    for (int i = 0; i < 9; i++)
        for (int k = 0; k < 50; k++) {
            const uint8_t *at = corpus.base + corpus.contig[b.window[i].contig].start + b.window[i].start + 49 - k;
            assert_int_equal(b.token[i * 50 + k], alphabet.complement[at[0] & DNA_TOKEN_BITS]);
            if (b.target[i * 50 + k] != DNA_IGNORE) {
                assert_int_equal(b.target[i * 50 + k], alphabet.complement[at[-1] & DNA_TOKEN_BITS]);
                assert_false(at[-1] & DNA_SOFT);
            }
        }
    dna_train_batch_fini(&b);
    dna_windows_destroy(w);
}

/* Tokens of a window are the corpus's, but where something is predicted; messages name its place. */
static void windows_hold_their_bases(void **state) {
    (void)state;
    dna_windows *w = create(&whole, &MLM, PLAIN);
    dna_train_batch b;
    char place[256];
    assert_int_equal(dna_windows_batch(w, &b, &error), MB_OK);
    assert_null(b.weight);
    dna_windows_fill(w, 4, 0, 9, &b);
    for (int i = 0; i < 9; i++)
        for (int k = 0; k < 50; k++) {
            const int64_t at = corpus.contig[b.window[i].contig].start + b.window[i].start + k;
            const int32_t target = b.target[i * 50 + k];
            assert_int_equal(target == DNA_IGNORE ? b.token[i * 50 + k] : target, corpus.base[at] & DNA_TOKEN_BITS);
        }
    const dna_window d = {.contig = 2, .start = 99, .length = 10, .strand = '-'};
    assert_non_null(strstr(dna_window_place(&corpus, &d, place, sizeof place), "one.fa: xb:100-109(-)"));
    dna_train_batch_fini(&b);
    dna_windows_destroy(w);
}

static void what_windows_refuse(void **state) {
    (void)state;
    static const struct {
        dna_windows_options o;
        const char *words;
    } BAD[] = {
        {{.length = 0, .batch_windows = 1, .tries = 1}, "windows of 0"},
        {{.length = 5, .min_length = 6, .batch_windows = 1, .tries = 1}, "windows of 6 to 5"},
        {{.length = 5, .tries = 1}, "a batch needs"},
        {{.length = 5, .batch_windows = -1, .tries = 1}, "a batch needs"},
        {{.length = 5, .batch_windows = (int64_t)1 << 40, .tries = 1}, "too large"},
        {{.length = 3000, .batch_windows = 1 << 30, .tries = 1}, "too large"},
        {{.length = 5, .batch_tokens = INT64_MAX, .tries = 1}, "too large"},
        {{.length = 5, .batch_windows = 1, .tries = 1, .reverse = 1.5}, "reverse strand"},
        {{.length = 5, .batch_windows = 1, .tries = 1, .reverse = NAN}, "reverse strand"},
        {{.length = 5, .batch_windows = 1, .tries = 0}, "0 tries"},
        {{.length = 5, .batch_windows = 1, .tries = 1, .most_n = NAN}, "share of N"},
        {{.length = 5, .batch_windows = 1, .tries = 1, .alpha = NAN}, "weights of files"},
        {{.length = 5, .batch_windows = 1, .tries = 1, .alpha = -1}, "weights of files"},
        {{.length = 3001, .batch_windows = 1, .tries = 1}, "the longest has 3000"},
    };
    dna_windows *w;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        mb_err_clear(&error);
        assert_int_equal(dna_windows_create(&w, &corpus, &whole, &MLM, &BAD[i].o, &error), MB_RANGE);
        if (!strstr(error.text, BAD[i].words))
            fail_msg("%zu: %s", i, error.text);
        assert_null(w);
    }
    const dna_masking wrong = {.rate = 0};
    assert_int_equal(dna_windows_create(&w, &corpus, &whole, &wrong, &PLAIN, NULL), MB_RANGE);
    const dna_split_part none = {0};
    assert_int_equal(dna_windows_create(&w, &corpus, &none, &MLM, &PLAIN, NULL), MB_RANGE);
}

/* ---- evaluation -------------------------------------------------------------------------------------------------- */
static void the_grid(void **state) {
    (void)state;
    static dna_stretch at[] = {{0, 0, 499}, {0, 600, 800}, {2, 10, 60}, {2, 100, 130}, {3, 0, 1}};
    const dna_split_part part = {.at = at, .n = 5};
    dna_grid g;
    /* 4 of 100 and a rest of 99, 2 of N alone, nothing of 50, 30 and 1 */
    assert_int_equal(dna_grid_make(&g, &corpus, &part, 100, 0, 0, 0.5, &error), MB_OK);
    assert_int_equal(g.n, 4);
    assert_int_equal(g.of, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(g.window[i].start, 100 * i);
    dna_grid_fini(&g);
    assert_int_equal(dna_grid_make(&g, &corpus, &part, 100, 1, 0, 1, &error), MB_OK);
    assert_int_equal(g.n, 4 + 2 + 1 + 1 + 1);
    assert_int_equal(g.window[4].start, 600);
    assert_int_equal(g.window[8].length, 1);
    assert_int_equal(g.tokens, 600 + 50 + 30 + 1);
    dna_grid_fini(&g);
    assert_int_equal(dna_grid_make(&g, &corpus, &whole, 10, 0, 7, 1, &error), MB_OK); /* of 632: floor((2i+1) 632/14) */
    assert_int_equal(g.of, 300 + 2 * (40 + 120 + 6));
    assert_int_equal(g.n, 7);
    assert_int_equal(g.window[0].start, 450);
    assert_int_equal(g.window[1].start, 1350);
    assert_int_equal(g.window[3].contig, 1); /* 316 = 300 + 16 */
    assert_int_equal(g.window[3].start, 160);
    assert_int_equal(g.window[6].contig, 6); /* 586 = 466 + 40 + 80 */
    assert_int_equal(g.window[6].start, 800);
    dna_grid_fini(&g);
    const dna_split_part n_only = {.at = &at[1], .n = 1}; /* all N: taken nevertheless */
    assert_int_equal(dna_grid_make(&g, &corpus, &n_only, 100, 0, 0, 0.5, &error), MB_OK);
    assert_int_equal(g.n, 2);
    dna_grid_fini(&g);
    const dna_split_part tiny = {.at = &at[4], .n = 1};
    assert_int_equal(dna_grid_make(&g, &corpus, &tiny, 100, 2, 0, 0.5, NULL), MB_RANGE);
    assert_int_equal(mb_mem_live_blocks() > 0, 1);
}

/* However the windows are shared out among batches. */
static void evaluation_is_the_same_every_time(void **state) {
    (void)state;
    dna_grid g;
    dna_masking m = MLM;
    dna_train_batch all, few;
    m.soft_weight = 0.5F;
    assert_int_equal(dna_grid_make(&g, &corpus, &splits.part[DNA_SPLIT_VALID], 40, 5, 30, 0.5, &error), MB_OK);
    assert_int_equal(dna_train_batch_create(&all, (int)g.n, g.tokens, 1, &error), MB_OK);
    assert_int_equal(dna_train_batch_create(&few, 3, g.longest + 50, 1, &error), MB_OK);
    assert_int_equal(dna_grid_fill(&g, &corpus, &m, 3, 0, &all), g.n);
    assert_int_equal(all.tokens, g.tokens);
    int64_t first = 0, targets = 0;
    for (int n; (n = dna_grid_fill(&g, &corpus, &m, 3, first, &few)) > 0; first += n) {
        assert_true(n <= 3 && few.tokens <= few.room_tokens);
        assert_true(same_batch_part(&all, (int)first, &few));
        targets += few.sums.targets;
    }
    assert_int_equal(first, g.n);
    assert_int_equal(targets, all.sums.targets);
    assert_true(targets > 0);
    dna_train_batch_fini(&all);
    dna_train_batch_fini(&few);
    dna_grid_fini(&g);
}

static void memory_runs_out(void **state) {
    (void)state;
    const long before = mb_mem_live_blocks();
    int done = 0;
    for (long n = 1; !done; n++) {
        dna_windows *w = NULL;
        dna_train_batch b = {0};
        dna_grid g = {0};
        dna_masking m = MLM;
        m.soft_weight = 0.5F;
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        int rc = dna_windows_create(&w, &corpus, &whole, &m, &PLAIN, &error);
        if (!rc)
            rc = dna_windows_batch(w, &b, &error);
        if (!rc)
            rc = dna_grid_make(&g, &corpus, &whole, 50, 0, 0, 1, &error);
        if (!rc)
            dna_windows_fill(w, 0, 0, 9, &b);
        dna_grid_fini(&g);
        dna_train_batch_fini(&b);
        dna_windows_destroy(w);
        done = !mb_mem_fault_fired();
        if ((rc != 0) == done || (rc && (rc != MB_NOMEM || error.status != MB_NOMEM)))
            fail_msg("allocation %ld: %d %s", n, rc, error.text);
        assert_int_equal(mb_mem_live_blocks(), before);
    }
    mb_mem_fail_nth(0, 0);
}

/* The fixture's corpus and what is made from it. */
static int prepare(void **state) {
    (void)state;
    const mb_config c = {.V = 16};
    char *inputs[] = {(char *)(uintptr_t)fasta("one.fa", "x", 1, 0), (char *)(uintptr_t)fasta("two.fa", "y", 2, 1)};
    const dna_corpus_options o = {.inputs = inputs, .n_inputs = 2};
    const dna_splits_options s = {.seed = 1, .block = 100, .valid = 0.2, .test = 0.2, .least = 80};
    mb_log_set_level(MB_LOG_QUIET);
    int rc = dna_alphabet_init(&alphabet, &c, &(dna_policies){0}, &error);
    if (!rc)
        rc = dna_corpus_load(&corpus, &o, &alphabet, &error);
    if (!rc)
        rc = dna_splits_make(&splits, &corpus, &s, &error);
    if (rc)
        fprintf(stderr, "%s\n", error.text);
    for (int64_t i = 0; !rc && i < corpus.contigs; i++)
        whole_at[i] = (dna_stretch){i, 0, corpus.contig[i].length};
    whole = (dna_split_part){.at = whole_at, .n = corpus.contigs};
    return rc;
}

static int leave(void **state) {
    (void)state;
    dna_splits_fini(&splits);
    dna_corpus_fini(&corpus);
    return mb_mem_live_blocks() != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_are_as_promised),
        cmocka_unit_test(lengths_are_uniform),
        cmocka_unit_test(windows_stay_in_their_split),
        cmocka_unit_test(chains_follow_on),
        cmocka_unit_test(windows_of_n_are_drawn_again),
        cmocka_unit_test(batches_depend_on_seed_step_and_index_alone),
        cmocka_unit_test(the_draws_are_pinned),
        cmocka_unit_test(batches_by_tokens),
        cmocka_unit_test(the_reverse_strand),
        cmocka_unit_test(windows_hold_their_bases),
        cmocka_unit_test(what_windows_refuse),
        cmocka_unit_test(next_tokens_of_the_reverse_strand),
        cmocka_unit_test(the_grid),
        cmocka_unit_test(evaluation_is_the_same_every_time),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, prepare, leave);
}
