/* The verbs that use a recommender, against what its own functions say of the same log: recommend is a sort of all
 * scores, score is one of them, similar and export are its embeddings; every allocation fails in turn. */
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/npy_in.h"
#include "core/rng.h"
#include "recsys/commands.h"
#include "recsys/items.h"
#include "recsys/load.h"
#include "recsys/model.h"
#include "tests/models.h"
#include "tests/scratch.h"
#include "tests/verb.h"

enum { ITEMS = 50, D = 16, USERS = 40, WINDOW = 12, K = 7 };

static mb_err error;
static const char *log_path, *folder;
static rec_log *logged;
static rec_model *model;
static int32_t map[ITEMS + 10];

static int go(const mb_verb *verb, const char *format, ...) {
    va_list list;
    va_start(list, format);
    const int rc = verb_run(verb, &error, format, list);
    va_end(list);
    return rc;
}

/* The model's items in an order that is not the log's, and two that the log lacks; the log has one that the model
 * lacks. */
static rec_id name(const void *user, int32_t item) {
    static char text[ITEMS + 1][16];
    (void)user;
    return (rec_id){text[item], snprintf(text[item], sizeof *text, "i%d", item * 16 % (ITEMS + 1))};
}

static void make_folder(void) {
    mb_config c = model_mamba(D, 1, ITEMS + 1);
    mb_model *m = model_shaken(&c, NULL);
    folder = scratch_path("model");
    mkdir(folder, 0777);
    assert_int_equal(mb_config_write(&c, scratch_path("model/config.json"), &error), MB_OK);
    assert_int_equal(mb_params_save(mb_model_params(m), &c, scratch_path("model/model.safetensors"), &error), MB_OK);
    assert_int_equal(rec_items_write(scratch_path("model/items.txt"), ITEMS, name, NULL, &error), MB_OK);
    assert_int_equal(rec_model_write_rule(folder, WINDOW, &error), MB_OK);
    mb_model_destroy(m);
}

static int prepare(void **state) {
    static char text[1 << 16];
    size_t at = 0;
    mb_rng r;
    int32_t unknown;
    (void)state;
    mb_rng_init(&r, 9, 9);
    for (int u = 0; u < USERS; u++) {
        const int n = u == 3 ? 0 : 1 + (int)mb_rng_below(&r, 3 * WINDOW);
        at += (size_t)snprintf(text + at, sizeof text - at, "u%d", u);
        if (u == 3) /* nothing that the model knows */
            at += (size_t)snprintf(text + at, sizeof text - at, " nothing nothing");
        for (int i = 0; i < n; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, " i%d", 1 + (int)mb_rng_below(&r, ITEMS - 2));
        at += (size_t)snprintf(text + at, sizeof text - at, "\n");
    }
    log_path = scratch_text("log.txt", text);
    make_folder();
    rec_load_options o = rec_load_defaults();
    const rec_model_options mo = {.threads = 1};
    o.format = REC_FORMAT_SEQUENCES;
    assert_int_equal(rec_log_open(&logged, log_path, &o, &error), MB_OK);
    assert_int_equal(rec_model_open(&model, folder, &mo, &error), MB_OK);
    assert_true(rec_log_view(logged)->n_items < ITEMS + 10);
    assert_int_equal(rec_model_map_items(model, logged, map, &unknown, &error), MB_OK);
    assert_int_equal(unknown, 1);
    return 0;
}

static int clean(void **state) {
    (void)state;
    rec_model_close(model);
    rec_log_close(logged);
    return 0;
}

/* ---- what must come out ---------------------------------------------------------------------------------------------
 */

static int64_t history_of(int32_t u, int32_t *item) {
    const rec_view *v = rec_log_view(logged);
    int64_t n = 0;
    for (int64_t i = v->user_at[u]; i < v->user_at[u + 1]; i++)
        if (map[v->item[i]])
            item[n++] = map[v->item[i]];
    return n;
}

static int64_t scores_of(int32_t u, float *score, uint8_t *seen) {
    int32_t item[512];
    const rec_query q = {.user = u, .item = item, .n = history_of(u, item)};
    const rec_scorer s = rec_model_scorer(model);
    memset(seen, 0, ITEMS + 1);
    for (int64_t i = 0; i < q.n; i++)
        seen[item[i]] = 1;
    assert_int_equal(s.score(s.self, &q, 1, score, &error), MB_OK);
    return q.n;
}

typedef struct line {
    char user[16], item[16];
    int rank;
    float score;
} line;

static int read_lines(const char *path, line *to, int most) {
    size_t size;
    char *text = scratch_read(path, &size), *save = NULL;
    int n = 0;
    assert_non_null(text);
    strtok_r(text, "\n", &save);
    for (char *l; (l = strtok_r(NULL, "\n", &save));) {
        double score;
        assert_true(n < most);
        assert_int_equal(sscanf(l, "%15s %d %15s %lf", to[n].user, &to[n].rank, to[n].item, &score), 4);
        to[n++].score = (float)score;
    }
    free(text);
    return n;
}

static int32_t item_of(const char *text) {
    return rec_model_find_item(model, text, (int)strlen(text));
}

/* The lines of user u are the best unseen and allowed items, one after the other. */
static int expect_user(int32_t u, const line *l, int seen_too, int allowed_below) {
    float score[ITEMS + 1];
    uint8_t seen[ITEMS + 1];
    int n = 0;
    if (scores_of(u, score, seen) == 0)
        return 0;
    for (; n < K; n++) {
        int32_t best = 0;
        for (int32_t i = 1; i <= ITEMS; i++)
            if ((seen_too || !seen[i]) && i < allowed_below && !isnan(score[i]) &&
                (best == 0 || score[i] > score[best]))
                best = i;
        if (best == 0)
            break;
        const rec_id user = rec_log_user_id(logged, u);
        assert_int_equal(strlen(l[n].user), user.n);
        assert_memory_equal(l[n].user, user.text, (size_t)user.n);
        assert_int_equal(item_of(l[n].item), best);
        assert_int_equal(l[n].rank, n + 1);
        assert_true(l[n].score == score[best]);
        score[best] = NAN;
    }
    return n;
}

static void recommend_is_a_sort(void **state) {
    static line l[USERS * K];
    const char *out = scratch_path("top.tsv");
    (void)state;
    for (int seen = 0; seen < 2; seen++)
        for (int threads = 1; threads <= 3; threads += 2) {
            assert_int_equal(go(&rec_recommend_verb, "%s --format sequences -m %s -k %d -o %s -t %d --filter-seen %s",
                                log_path, folder, K, out, threads, seen ? "off" : "on"),
                             MB_OK);
            const int n = read_lines(out, l, USERS * K);
            int at = 0;
            for (int32_t u = 0; u < USERS; u++)
                at += expect_user(u, l + at, seen, ITEMS + 1);
            assert_int_equal(at, n);
        }
    char allow[1024] = "";
    for (int32_t i = 1; i < 20; i++) {
        const rec_id id = name(NULL, i);
        snprintf(allow + strlen(allow), sizeof allow - strlen(allow), "%.*s,", id.n, id.text);
    }
    assert_int_equal(
        go(&rec_recommend_verb, "%s --format sequences -m %s -k %d -o %s --allow %s", log_path, folder, K, out, allow),
        MB_OK);
    const int n = read_lines(out, l, USERS * K);
    int at = 0;
    for (int32_t u = 0; u < USERS; u++)
        at += expect_user(u, l + at, 0, 20);
    assert_int_equal(at, n);
}

/* Only the latest events count: the folder says how many. */
static void window_counts(void **state) {
    static line l[USERS * K], all[USERS * K];
    (void)state;
    assert_int_equal(
        go(&rec_recommend_verb, "%s --format sequences -m %s -k %d -o %s", log_path, folder, K, scratch_path("a.tsv")),
        MB_OK);
    assert_int_equal(go(&rec_recommend_verb, "%s --format sequences -m %s -k %d -o %s --window -1", log_path, folder, K,
                        scratch_path("b.tsv")),
                     MB_OK);
    const int n = read_lines(scratch_path("a.tsv"), l, USERS * K);
    assert_int_equal(read_lines(scratch_path("b.tsv"), all, USERS * K), n);
    int differ = 0;
    for (int i = 0; i < n; i++)
        differ += l[i].score != all[i].score;
    assert_true(differ > 0);
}

static void score_is_one_of_them(void **state) {
    static char pairs[1 << 16];
    size_t at = 0;
    (void)state;
    for (int32_t i = 1; i <= ITEMS; i += 3)
        for (int u = USERS - 1; u >= 0; u--)
            at += (size_t)snprintf(pairs + at, sizeof pairs - at, "u%d\t%s\n", u, name(NULL, i).text);
    const char *out = scratch_path("scores.tsv");
    assert_int_equal(go(&rec_score_verb, "%s --format sequences -m %s -c %s -o %s", log_path, folder,
                        scratch_text("pairs.tsv", pairs), out),
                     MB_OK);
    size_t size;
    char *text = scratch_read(out, &size), *save = NULL;
    strtok_r(text, "\n", &save);
    for (int32_t i = 1; i <= ITEMS; i += 3)
        for (int32_t u = USERS - 1; u >= 0; u--) {
            const char *l = strtok_r(NULL, "\n", &save);
            float score[ITEMS + 1];
            uint8_t seen[ITEMS + 1];
            char user[16], item[16], value[32];
            assert_non_null(l);
            assert_int_equal(sscanf(l, "%15s %15s %31s", user, item, value), 3);
            assert_int_equal(item_of(item), i);
            if (scores_of(u, score, seen) == 0)
                assert_string_equal(value, "nan");
            else
                assert_true(strtof(value, NULL) == score[i]);
        }
    assert_null(strtok_r(NULL, "\n", &save));
    free(text);
}

static void similar_is_near(void **state) {
    static line l[ITEMS * 3];
    const char *out = scratch_path("similar.tsv");
    const float *E = mb_model_params(rec_model_engine(model))->embedding;
    (void)state;
    assert_int_equal(go(&rec_similar_verb, "-m %s -k 3 -o %s", folder, out), MB_OK);
    size_t size;
    char *text = scratch_read(out, &size), *save = NULL;
    int n = 0;
    strtok_r(text, "\n", &save);
    for (char *s; (s = strtok_r(NULL, "\n", &save)); n++) {
        double value;
        assert_int_equal(sscanf(s, "%15s %d %lf %15s", l[n].user, &l[n].rank, &value, l[n].item), 4);
        l[n].score = (float)value;
    }
    free(text);
    assert_int_equal(n, 3 * ITEMS);
    for (int32_t i = 1; i <= ITEMS; i++) {
        double cosine[ITEMS + 1];
        for (int32_t k = 1; k <= ITEMS; k++) {
            double ab = 0, aa = 0, bb = 0;
            for (int c = 0; c < D; c++) {
                ab += (double)E[i * D + c] * (double)E[k * D + c];
                aa += (double)E[i * D + c] * (double)E[i * D + c];
                bb += (double)E[k * D + c] * (double)E[k * D + c];
            }
            cosine[k] = k == i ? -2 : ab / sqrt(aa * bb);
        }
        for (int rank = 0; rank < 3; rank++) {
            int32_t best = 1;
            for (int32_t k = 2; k <= ITEMS; k++)
                best = cosine[k] > cosine[best] ? k : best;
            const line *x = &l[(i - 1) * 3 + rank];
            assert_int_equal(item_of(x->user), i);
            assert_int_equal(item_of(x->item), best);
            assert_true(x->rank == rank + 1 && fabs((double)x->score - cosine[best]) < 1e-6);
            cosine[best] = -2;
        }
    }
}

static void export_is_the_model(void **state) {
    mb_npy_in items, users;
    (void)state;
    assert_int_equal(go(&rec_export_verb, "%s --format sequences -m %s -o %s", log_path, folder, scratch_path("vec")),
                     MB_OK);
    assert_int_equal(mb_npy_in_open(&items, scratch_path("vec.items.npy"), &error), MB_OK);
    assert_int_equal(mb_npy_in_open(&users, scratch_path("vec.users.npy"), &error), MB_OK);
    assert_true(items.shape[0] == ITEMS && items.row == D && users.row == D && users.shape[0] == USERS - 1);
    assert_memory_equal(items.data, mb_model_params(rec_model_engine(model))->embedding + D, sizeof(float) * ITEMS * D);
    for (int32_t u = 0, row = 0; u < USERS; u++) {
        int32_t item[512];
        float vector[D];
        const rec_query q = {.user = u, .item = item, .n = history_of(u, item)};
        if (q.n == 0)
            continue;
        assert_int_equal(rec_model_encode(model, &q, 1, vector, &error), MB_OK);
        assert_memory_equal(users.data + (size_t)row++ * sizeof vector, vector, sizeof vector);
    }
    mb_npy_in_close(&items);
    mb_npy_in_close(&users);
}

/* ---- without memory -------------------------------------------------------------------------------------------------
 */

/* Fails allocations in turn, ever further apart; the record that the run was to make last is not there afterwards. */
static void sweep(const mb_verb *verb, const char *line_of, const char *made, long part) {
    const long before = mb_mem_live_blocks();
    const int out = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY);
    int fired = 1;
    fflush(stdout);
    dup2(nowhere, STDOUT_FILENO); /* tables are printed to it */
    for (long nth = 1; fired; nth += 1 + nth / part) {
        unlink(made);
        mb_mem_fail_nth(nth, 0);
        const int rc = go(verb, "%s", line_of);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_true(rc == MB_OK || (fired && *error.text));
        assert_true(rc == MB_OK || !mb_file_exists(made));
        assert_int_equal(mb_mem_live_blocks(), before);
    }
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    close(out);
    close(nowhere);
    assert_true(mb_file_exists(made));
    mb_err_clear(&error);
}

static void without_memory(void **state) {
    char text[2048];
    (void)state;
    snprintf(text, sizeof text, "%s --format sequences -m %s -k 3 -t 1 -o %s", log_path, folder,
             scratch_path("s.jsonl"));
    sweep(&rec_recommend_verb, text, scratch_path("s.jsonl.run.json"), LONG_MAX);
    snprintf(text, sizeof text, "%s --format sequences -m %s -t 1 -c %s -o %s", log_path, folder,
             scratch_text("few.tsv", "u1\ti1\nu2\ti3\n"), scratch_path("s.tsv"));
    sweep(&rec_score_verb, text, scratch_path("s.tsv.run.json"), LONG_MAX);
    snprintf(text, sizeof text, "-m %s -t 1 -k 2 -o %s", folder, scratch_path("n.tsv"));
    sweep(&rec_similar_verb, text, scratch_path("n.tsv.run.json"), LONG_MAX);
    snprintf(text, sizeof text, "%s --format sequences -m %s -t 1 -o %s", log_path, folder, scratch_path("v"));
    sweep(&rec_export_verb, text, scratch_path("v.run.json"), LONG_MAX);
}

static void training_without_memory(void **state) {
    char text[2048];
    const char *dir = scratch_path("trained");
    (void)state;
    snprintf(text, sizeof text,
             "%s --format sequences -m mamba4rec:d8:s2 --steps 2 --batch 8 --loss sampled --negatives 3 -t 1 --resume "
             "auto --no-tensorboard -o %s",
             log_path, dir);
    sweep(&rec_train_verb, text, scratch_path("trained/run.json"), 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(recommend_is_a_sort),    cmocka_unit_test(window_counts),
                                       cmocka_unit_test(score_is_one_of_them),   cmocka_unit_test(similar_is_near),
                                       cmocka_unit_test(export_is_the_model),    cmocka_unit_test(without_memory),
                                       cmocka_unit_test(training_without_memory)};
    return cmocka_run_group_tests(tests, prepare, clean);
}
