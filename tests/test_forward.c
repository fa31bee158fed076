/* Laws of running a model, none of which needs a reference: same bits for any number of threads, any memory budget, in
 * one piece or many; equivariance; sessions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/forward.h"
#include "core/mem.h"
#include "core/session.h"
#include "tests/models.h"

typedef struct result {
    float *hidden; /* (length, width) */
    float *logits; /* (length, V) */
    size_t n_hidden, n_logits;
} result;

static result run(const mb_model *m, const int32_t *token, int64_t length, int threads, int64_t memory) {
    mb_err e = {0};
    const mb_forward_options o = {.threads = threads, .memory = memory};
    result r = {.n_hidden = (size_t)length * (size_t)mb_model_width(m),
                .n_logits = (size_t)length * (size_t)mb_model_config(m)->V};
    r.hidden = mb_calloc(r.n_hidden, sizeof(float));
    r.logits = mb_calloc(r.n_logits, sizeof(float));
    int rc = mb_forward_hidden(m, token, length, mb_model_config(m)->n_layer, &o, r.hidden, r.logits, &e);
    if (rc != MB_OK)
        fail_msg("%s", e.text);
    return r;
}

static void drop(result *r) {
    mb_free(r->hidden);
    mb_free(r->logits);
}

static void assert_same_bits(const result *a, const result *b) {
    assert_int_equal(a->n_hidden, b->n_hidden);
    assert_memory_equal(a->hidden, b->hidden, a->n_hidden * sizeof(float));
    assert_memory_equal(a->logits, b->logits, a->n_logits * sizeof(float));
}

static double worst_difference(const float *a, const float *b, size_t n) {
    double worst = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        worst = d > worst || !(d == d) ? d : worst;
        scale = fabs((double)a[i]) > scale ? fabs((double)a[i]) : scale;
    }
    return scale > 0 ? worst / scale : worst;
}

static mb_config variant(int which) {
    mb_config c = model_caduceus(24, which == 5 ? 3 : 4, which == 0 || which == 5);
    if (which == 1)
        c.bidirectional = MB_BIDIR_MULTIPLY;
    if (which == 2)
        c.tied_directions = 0;
    if (which == 3)
        c = model_mamba(40, 3, 101);
    if (which == 4)
        c.norm = MBK_NORM_LAYER;
    return c;
}

enum { N_VARIANTS = 6, LENGTH = 1000 };

static mb_forward_plan plan_of(const mb_model *m, int64_t length, int threads, int64_t memory) {
    mb_err e = {0};
    mb_forward_plan plan;
    const mb_forward_options o = {.threads = threads, .memory = memory};
    if (mb_forward_plan_make(m, &length, 1, &o, &plan, &e) != MB_OK)
        fail_msg("%s", e.text);
    return plan;
}

/* Budgets for the streams of one sequence of LENGTH: from everything in memory, over the lean stream, to all in the
 * scratch file. */
static const int64_t budgets[] = {(int64_t)1 << 30, 1500000, 700000, 320000, 150000, 0};
enum { N_BUDGETS = sizeof budgets / sizeof *budgets };

static void threads_and_memory_do_not_matter(void **state) {
    (void)state;
    static int32_t token[LENGTH];
    model_tokens(token, LENGTH, 7, 11, 5);
    for (int which = 0; which < N_VARIANTS; which++) {
        const mb_config c = variant(which);
        mb_model *m = model_shaken(&c, NULL);
        result whole = run(m, token, LENGTH, 1, (int64_t)1 << 30);
        for (int i = 0; i < N_BUDGETS; i++)
            for (int threads = 1; threads <= 4; threads += 3) {
                result r = run(m, token, LENGTH, threads, plan_of(m, LENGTH, threads, 1).worker_bytes + budgets[i]);
                assert_same_bits(&whole, &r);
                drop(&r);
            }
        drop(&whole);
        mb_model_destroy(m);
    }
}

static void budgets_of_the_test_above_reach_every_mode(void **state) {
    (void)state;
    const mb_config c = variant(0);
    mb_model *m = model_shaken(&c, NULL);
    for (int i = 0; i < N_BUDGETS; i++) {
        const int64_t work = plan_of(m, LENGTH, 1, 1).worker_bytes, memory = work + budgets[i];
        const mb_forward_plan plan = plan_of(m, LENGTH, 1, memory);
        assert_int_equal(plan.passes, 5);
        assert_true(plan.stream_bytes + plan.worker_bytes <= memory);
        assert_int_equal(plan.kept, budgets[i] >= 700000);
        assert_int_equal(plan.scratch_bytes > 0, budgets[i] < 320000);
        assert_int_equal(plan.stream_bytes > 0, budgets[i] > 0);
    }
    /* the largest genomes, and what nobody has: no sum overflows */
    assert_true(plan_of(m, 250000000, 8, (int64_t)1 << 30).scratch_bytes > (int64_t)60 << 30);
    assert_int_equal(plan_of(m, (int64_t)1 << 48, 8, (int64_t)1 << 30).tiles, (int64_t)2 << 41);
    mb_model_destroy(m);
}

static void tile_size_matters_only_to_rounding(void **state) {
    (void)state;
    static int32_t token[LENGTH];
    model_tokens(token, LENGTH, 7, 12, 6);
    for (int which = 0; which < N_VARIANTS; which++) {
        const mb_config c = variant(which);
        const mb_model_options narrow = {.tile = 37};
        mb_model *a = model_shaken(&c, NULL), *b = model_shaken(&c, &narrow);
        result ra = run(a, token, LENGTH, 2, 0), rb = run(b, token, LENGTH, 2, 0);
        assert_true(worst_difference(ra.hidden, rb.hidden, ra.n_hidden) < 1e-6);
        assert_true(worst_difference(ra.logits, rb.logits, ra.n_logits) < 1e-6);
        drop(&ra);
        drop(&rb);
        mb_model_destroy(a);
        mb_model_destroy(b);
    }
}

/* hidden(rc x)[t, c] = hidden(x)[L-1-t, 2D-1-c], logits(rc x)[t, v] = logits(x)[L-1-t, comp v]: to the bit, because the
 * two strands are two runs of one network. */
static void reverse_complement_equivariance_is_exact(void **state) {
    (void)state;
    for (int which = 0; which <= 5; which += 5) {
        static int32_t token[LENGTH], rc[LENGTH];
        const mb_config c = variant(which);
        mb_model *m = model_shaken(&c, NULL);
        model_tokens(token, LENGTH, 7, 12, 7);
        for (int i = 0; i < LENGTH; i++)
            rc[i] = c.complement[token[LENGTH - 1 - i]];
        result a = run(m, token, LENGTH, 2, 0), b = run(m, rc, LENGTH, 2, 0);
        const size_t width = (size_t)mb_model_width(m);
        for (size_t t = 0; t < LENGTH; t++)
            for (size_t k = 0; k < width; k++)
                assert_true(a.hidden[t * width + k] == b.hidden[(LENGTH - 1 - t) * width + (width - 1 - k)]);
        float *turned = mb_malloc(a.n_logits * sizeof(float));
        for (size_t t = 0; t < LENGTH; t++)
            for (size_t v = 0; v < 16; v++)
                turned[t * 16 + v] = b.logits[(LENGTH - 1 - t) * 16 + (size_t)c.complement[v]];
        assert_true(worst_difference(a.logits, turned, a.n_logits) < 1e-6);
        mb_free(turned);
        drop(&a);
        drop(&b);
        mb_model_destroy(m);
    }
}

typedef struct batch { /* hidden of each of many sequences */
    float *hidden[40];
    size_t width, D;
} batch;

static int keep_rows(void *user, const mb_rows *r, mb_err *e) {
    batch *b = user;
    (void)e;
    for (int i = 0; i < r->n; i++)
        memcpy(b->hidden[r->sequence] + (size_t)(r->from + i) * b->width + (size_t)r->column, r->row + (size_t)i * b->D,
               b->D * sizeof(float));
    return MB_OK;
}

static void many_at_once_is_one_by_one(void **state) {
    (void)state;
    enum { MANY = 40 };
    static int32_t token[MANY][400];
    for (int which = 0; which < N_VARIANTS; which++) {
        const mb_config c = variant(which);
        mb_model *m = model_shaken(&c, NULL);
        mb_sequence seq[MANY];
        batch b = {.width = (size_t)mb_model_width(m), .D = (size_t)c.D};
        const mb_sink sink = {keep_rows, &b};
        mb_err e = {0};
        const mb_forward_options o = {.threads = 3};
        for (int i = 0; i < MANY; i++) {
            const int length = i < 3 ? 1 + i : 1 + (i * 37) % 400;
            model_tokens(token[i], length, 7, 12, (uint64_t)i);
            seq[i] = (mb_sequence){.length = length, .read = mb_tokens_read, .user = token[i]};
            b.hidden[i] = mb_calloc((size_t)length * b.width, sizeof(float));
        }
        assert_int_equal(mb_forward_run(m, seq, MANY, &o, &sink, &e), MB_OK);
        for (int i = 0; i < MANY; i++) {
            result one = run(m, token[i], seq[i].length, 1, 0);
            assert_memory_equal(one.hidden, b.hidden[i], one.n_hidden * sizeof(float));
            drop(&one);
            mb_free(b.hidden[i]);
        }
        mb_model_destroy(m);
    }
}

static void sessions_in_any_pieces_are_the_whole(void **state) {
    (void)state;
    static int32_t token[LENGTH];
    const mb_config c = variant(3);
    mb_model *m = model_shaken(&c, NULL);
    mb_err e = {0};
    mb_session *s = NULL;
    const int pieces[] = {1, 2, 127, 128, 129, 300, 13, 300};
    model_tokens(token, LENGTH, 0, 101, 8);
    result whole = run(m, token, LENGTH, 1, 0);
    batch b = {.width = (size_t)c.D, .D = (size_t)c.D};
    const mb_sink sink = {keep_rows, &b};
    b.hidden[0] = mb_calloc((size_t)LENGTH * b.width, sizeof(float));
    assert_int_equal(mb_session_create(&s, m, 3, &e), MB_OK);
    int64_t at = 0;
    float logits[101];
    for (int i = 0; i < 8; at += pieces[i++])
        assert_int_equal(mb_session_feed(s, token + at, pieces[i], &sink, logits, &e), MB_OK);
    assert_int_equal(at, LENGTH);
    assert_int_equal(mb_session_position(s), LENGTH);
    assert_memory_equal(whole.hidden, b.hidden[0], whole.n_hidden * sizeof(float));
    assert_true(worst_difference(whole.logits + (size_t)(LENGTH - 1) * 101, logits, 101) < 1e-5);
    mb_session_destroy(s);
    mb_free(b.hidden[0]);
    drop(&whole);
    mb_model_destroy(m);
}

static void steps_follow_the_whole(void **state) {
    (void)state;
    enum { N = 80 };
    int32_t token[N];
    const mb_config c = variant(3);
    mb_model *m = model_shaken(&c, NULL);
    mb_err e = {0};
    mb_session *s = NULL;
    model_tokens(token, N, 0, 101, 9);
    result whole = run(m, token, N, 1, 0);
    float first[101], again[101], hidden[40];
    for (int threads = 1; threads <= 2; threads++) {
        assert_int_equal(mb_session_create(&s, m, threads, &e), MB_OK);
        assert_int_equal(mb_session_feed(s, token, 50, NULL, NULL, &e), MB_OK);
        for (int t = 50; t < N; t++) {
            assert_int_equal(mb_session_step(s, token[t], hidden, again, &e), MB_OK);
            assert_true(worst_difference(whole.hidden + (size_t)t * 40, hidden, 40) < 1e-5);
            assert_true(worst_difference(whole.logits + (size_t)t * 101, again, 101) < 1e-5);
        }
        if (threads == 1)
            memcpy(first, again, sizeof first);
        assert_memory_equal(first, again, sizeof first); /* the team's size does not show */
        mb_session_destroy(s);
    }
    drop(&whole);
    mb_model_destroy(m);
}

static void a_stored_state_goes_on(void **state) {
    (void)state;
    int32_t token[64];
    const mb_config c = variant(3);
    mb_model *m = model_shaken(&c, NULL);
    mb_err e = {0};
    mb_session *a = NULL, *b = NULL;
    float la[101], lb[101];
    int64_t position;
    model_tokens(token, 64, 0, 101, 10);
    assert_int_equal(mb_session_create(&a, m, 1, &e), MB_OK);
    assert_int_equal(mb_session_create(&b, m, 2, &e), MB_OK);
    float *kept = mb_malloc(mb_session_state_floats(a) * sizeof(float));
    assert_int_equal(mb_session_feed(a, token, 40, NULL, NULL, &e), MB_OK);
    mb_session_get_state(a, kept, &position);
    assert_int_equal(mb_session_set_state(b, kept, mb_session_state_floats(a), position, &e), MB_OK);
    assert_int_equal(mb_session_position(b), 40);
    assert_int_equal(mb_session_feed(a, token + 40, 24, NULL, la, &e), MB_OK);
    assert_int_equal(mb_session_feed(b, token + 40, 24, NULL, lb, &e), MB_OK);
    assert_memory_equal(la, lb, sizeof la);
    mb_free(kept);
    mb_session_destroy(a);
    mb_session_destroy(b);
    mb_model_destroy(m);
}

static int refuse_rows(void *user, const mb_rows *r, mb_err *e) {
    (void)user;
    return r->from >= 256 ? mb_fail(e, MB_IO, "the sink is full") : MB_OK;
}

typedef struct picky { /* a sink that fails once a piece begins at or after `from`, and counts calls it should not get
                        */
    int64_t from;
    atomic_int failed[2], called_again;
} picky;

static int picky_rows(void *user, const mb_rows *r, mb_err *e) {
    picky *p = user;
    if (atomic_load(&p->failed[r->strand]))
        atomic_fetch_add(&p->called_again, 1);
    if (r->from < p->from)
        return MB_OK;
    atomic_store(&p->failed[r->strand], 1);
    struct timespec pause = {0, 2000000}; /* the next worker stands ready by now */
    nanosleep(&pause, NULL);
    return mb_fail(e, MB_IO, "the sink is full");
}

/* What comes after a piece that failed is not delivered: a sink that writes in order never writes past a hole. */
static void a_failed_sink_is_left_alone(void **state) {
    (void)state;
    static int32_t token[LENGTH];
    const mb_config c = variant(3);
    const mb_model_options small = {.tile = 8};
    mb_model *m = model_shaken(&c, &small);
    const mb_sequence seq = {.length = LENGTH, .read = mb_tokens_read, .user = token};
    for (int i = 0; i < 10; i++) {
        mb_err e = {0};
        picky p = {.from = 200};
        const mb_sink sink = {picky_rows, &p};
        const mb_forward_options o = {.threads = 6};
        assert_int_equal(mb_forward_run(m, &seq, 1, &o, &sink, &e), MB_IO);
        assert_int_equal(p.called_again, 0);
    }
    mb_model_destroy(m);
}

/* A session that failed half-way says so until its state is known again; what can be refused beforehand is. */
static void a_session_outlives_its_errors(void **state) {
    (void)state;
    static int32_t token[LENGTH];
    const mb_config c = variant(3);
    mb_model *m = model_shaken(&c, NULL);
    mb_session *s = NULL;
    mb_err e = {0};
    float logits[101], want[101];
    picky p = {.from = 300};
    const mb_sink sink = {picky_rows, &p};
    model_tokens(token, LENGTH, 0, 101, 11);
    assert_int_equal(mb_session_create(&s, m, 3, &e), MB_OK);
    assert_int_equal(mb_session_feed(s, token, 300, NULL, want, &e), MB_OK);
    float *kept = mb_malloc(mb_session_state_floats(s) * sizeof(float));
    int64_t position;
    mb_session_get_state(s, kept, &position);
    assert_int_equal(mb_session_feed(s, token + 300, 200, NULL, want, &e), MB_OK);
    assert_int_equal(mb_session_set_state(s, kept, mb_session_state_floats(s), position, &e), MB_OK);

    token[450] = 101; /* refused: nothing has happened */
    assert_int_equal(mb_session_feed(s, token + 300, 200, NULL, logits, &e), MB_RANGE);
    assert_non_null(strstr(e.text, "position 450"));
    assert_int_equal(mb_session_position(s), 300);
    mb_err_clear(&e);
    assert_int_equal(mb_session_step(s, -1, NULL, NULL, &e), MB_RANGE);
    mb_err_clear(&e);
    assert_int_equal(mb_session_feed(s, token, 0, NULL, NULL, &e), MB_RANGE);
    mb_err_clear(&e);
    model_tokens(token, LENGTH, 0, 101, 11);
    assert_int_equal(mb_session_feed(s, token + 300, 200, NULL, logits, &e), MB_OK);
    assert_memory_equal(logits, want, sizeof want);

    assert_int_equal(mb_session_set_state(s, kept, mb_session_state_floats(s), position, &e), MB_OK);
    assert_int_equal(mb_session_feed(s, token + 300, 200, &sink, logits, &e), MB_IO);
    mb_err_clear(&e);
    assert_int_equal(mb_session_step(s, 1, NULL, NULL, &e), MB_FAIL);
    mb_err_clear(&e);
    assert_int_equal(mb_session_set_state(s, kept, mb_session_state_floats(s) - 1, position, &e), MB_FORMAT);
    mb_err_clear(&e);
    assert_int_equal(mb_session_set_state(s, kept, mb_session_state_floats(s), position, &e), MB_OK);
    assert_int_equal(mb_session_feed(s, token + 300, 200, NULL, logits, &e), MB_OK);
    assert_memory_equal(logits, want, sizeof want);
    mb_free(kept);
    mb_session_destroy(s);
    mb_model_destroy(m);
}

static void strands_can_be_left_out(void **state) {
    (void)state;
    enum { SHORT = 200 };
    int32_t token[SHORT];
    const mb_config c = variant(5);
    mb_model *m = model_shaken(&c, NULL);
    const size_t D = (size_t)c.D;
    model_tokens(token, SHORT, 7, 12, 12);
    result both = run(m, token, SHORT, 2, 0), one = run(m, token, SHORT, 2, 0);
    float *sum = mb_calloc(both.n_logits, sizeof *sum);
    for (int strand = 0; strand < 2; strand++) {
        mb_err e = {0};
        const mb_forward_options o = {.threads = 2, .strands = 1 << strand};
        memset(one.hidden, 0, one.n_hidden * sizeof(float));
        memset(one.logits, 0x7f, one.n_logits * sizeof(float)); /* stays nowhere */
        assert_int_equal(mb_forward_hidden(m, token, SHORT, c.n_layer, &o, one.hidden, one.logits, &e), MB_OK);
        for (size_t i = 0; i < one.n_logits; i++)
            sum[i] += one.logits[i];
        for (size_t i = 0; i < one.n_hidden; i++) /* odd stack: the strands' halves are exchanged */
            assert_true(one.hidden[i] == ((i / D % 2 == 0) == (strand == 1) ? both.hidden[i] : 0));
    }
    assert_true(worst_difference(both.logits, sum, both.n_logits) < 1e-6);
    mb_free(sum);
    drop(&both);
    drop(&one);
    mb_model_destroy(m);
}

static void errors_come_out_and_nothing_hangs(void **state) {
    (void)state;
    static int32_t token[LENGTH];
    const mb_config c = variant(0);
    mb_model *m = model_shaken(&c, NULL);
    model_tokens(token, LENGTH, 7, 11, 5);
    mb_sequence seq = {.length = LENGTH, .read = mb_tokens_read, .user = token};
    const mb_sink sink = {refuse_rows, NULL};
    for (int threads = 1; threads <= 4; threads++) {
        mb_err e = {0};
        const mb_forward_options o = {.threads = threads};
        assert_int_equal(mb_forward_run(m, &seq, 1, &o, &sink, &e), MB_IO);
        assert_string_equal(e.text, "the sink is full");
    }
    token[777] = 99;
    mb_err e = {0};
    const mb_forward_options o = {.threads = 2};
    assert_int_equal(mb_forward_run(m, &seq, 1, &o, &sink, &e), MB_RANGE);
    assert_non_null(strstr(e.text, "vocabulary"));
    seq.length = 0;
    mb_err empty = {0};
    assert_int_equal(mb_forward_run(m, &seq, 1, &o, &sink, &empty), MB_RANGE);
    atomic_int stop = 1;
    const mb_forward_options stopped = {.threads = 2, .stop = &stop};
    seq.length = LENGTH;
    token[777] = 7;
    mb_err s = {0};
    assert_int_equal(mb_forward_run(m, &seq, 1, &stopped, &sink, &s), MB_STOPPED);
    const mb_forward_options scratch = {.threads = 2, .memory = 1, .scratch = "/nonexistent/folder"};
    mb_err f = {0};
    assert_int_equal(mb_forward_run(m, &seq, 1, &scratch, &sink, &f), MB_IO);
    assert_non_null(strstr(f.text, "--scratch"));
    mb_model_destroy(m);
}

static int drop_rows(void *user, const mb_rows *r, mb_err *e) {
    (void)user, (void)r, (void)e;
    return MB_OK;
}

/* Everything that allocates, with the n-th allocation failing for every n: out of memory, nothing lost. */
typedef struct trial {
    const mb_config *c;
    const mb_model *m; /* shared */
    mb_sequence seq[4];
    int n_seq, threads;
    int64_t memory;
} trial;

static int try_forward(const trial *t, mb_err *e) {
    const mb_forward_options o = {.threads = t->threads, .memory = t->memory};
    const mb_sink sink = {drop_rows, NULL};
    return mb_forward_run(t->m, t->seq, t->n_seq, &o, &sink, e);
}

static int try_model(const trial *t, mb_err *e) {
    mb_params *p = NULL;
    mb_model *m = NULL;
    int rc = mb_params_seed(&p, t->c, 1, e);
    if (rc == MB_OK)
        rc = mb_model_create(&m, t->c, p, NULL, e);
    assert_int_equal(m != NULL, rc == MB_OK);
    mb_model_destroy(m);
    return rc;
}

static int try_session(const trial *t, mb_err *e) {
    mb_session *s = NULL;
    int rc = mb_session_create(&s, t->m, t->threads, e);
    assert_int_equal(s != NULL, rc == MB_OK);
    if (rc == MB_OK)
        rc = mb_session_feed(s, t->seq[0].user, t->seq[0].length, NULL, NULL, e);
    mb_session_destroy(s);
    return rc;
}

static void fail_every_allocation(const trial *t, int (*try)(const trial *, mb_err *)) {
    mb_err warm = {0};
    assert_int_equal(try(t, &warm), MB_OK);
    const long live = mb_mem_live_blocks();
    for (long n = 1;; n++) {
        mb_err e = {0};
        mb_mem_fail_nth(n, 0);
        int rc = try(t, &e);
        const int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        assert_int_equal(e.text[0] != 0, fired);
        assert_int_equal(mb_mem_live_blocks(), live);
        if (!fired)
            break;
        assert_true(n < 300);
    }
}

static void allocation_failures_are_clean(void **state) {
    (void)state;
    static int32_t token[40];
    const mb_config both = variant(0), causal = variant(3);
    const mb_model_options small = {.tile = 16};
    model_tokens(token, 40, 7, 11, 5);
    trial t = {.c = &both, .m = model_shaken(&both, &small), .n_seq = 1};
    for (int i = 0; i < 4; i++)
        t.seq[i] = (mb_sequence){.length = 40 - i, .read = mb_tokens_read, .user = token};
    fail_every_allocation(&t, try_model);
    for (t.threads = 1; t.threads <= 3; t.threads += 2)
        for (t.n_seq = 1; t.n_seq <= 4; t.n_seq += 3) /* shared tiles, and many on a worker each */
            for (t.memory = 1; t.memory <= (int64_t)1 << 30; t.memory <<= 30)
                fail_every_allocation(&t, try_forward);
    mb_model_destroy((mb_model *)(uintptr_t)t.m);
    t.c = &causal;
    t.m = model_shaken(&causal, &small);
    fail_every_allocation(&t, try_model);
    fail_every_allocation(&t, try_session);
    mb_model_destroy((mb_model *)(uintptr_t)t.m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_memory_do_not_matter),
        cmocka_unit_test(budgets_of_the_test_above_reach_every_mode),
        cmocka_unit_test(tile_size_matters_only_to_rounding),
        cmocka_unit_test(reverse_complement_equivariance_is_exact),
        cmocka_unit_test(many_at_once_is_one_by_one),
        cmocka_unit_test(sessions_in_any_pieces_are_the_whole),
        cmocka_unit_test(steps_follow_the_whole),
        cmocka_unit_test(a_stored_state_goes_on),
        cmocka_unit_test(a_failed_sink_is_left_alone),
        cmocka_unit_test(a_session_outlives_its_errors),
        cmocka_unit_test(strands_can_be_left_out),
        cmocka_unit_test(errors_come_out_and_nothing_hangs),
        cmocka_unit_test(allocation_failures_are_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
