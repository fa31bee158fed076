/* dna-mamba embed from the inside: its rows against the model's own hidden states, in every form that it writes. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "core/forward.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/npy.h"
#include "core/options.h"
#include "genomics/commands.h"
#include "genomics/pool.h"
#include "tests/models.h"
#include "tests/scratch.h"
#include "tests/verb.h"

enum { D = 8, LAYERS = 3, A_LENGTH = 700, B_LENGTH = 33 };

static mb_err error;
static mb_model *model[3]; /* RC-equivariant (odd number of layers), bidirectional, causal */
static const char *folder[3];
static char letters[2][A_LENGTH + 1];
static int32_t token[2][A_LENGTH];
static const int length[2] = {A_LENGTH, B_LENGTH};
static const char *fasta;

/* dna-mamba embed ARGS, words apart by blanks. */
static int embed(const char *format, ...) MB_PRINTF(1, 2);
static int embed(const char *format, ...) {
    va_list list;
    va_start(list, format);
    const int rc = verb_run(&dna_embed_verb, &error, format, list);
    va_end(list);
    return rc;
}

static void must(int rc) {
    if (rc)
        fail_msg("status %d: %s", rc, error.text);
}

/* The floats of a .npy whose dictionary holds `shape`; f16 is widened. */
static float *read_npy(const char *path, const char *shape) {
    char *data = scratch_read(path, NULL);
    assert_non_null(data);
    if (memcmp(data, "\x93NUMPY\x01\x00", 8) != 0 || !strstr(data + 10, shape))
        fail_msg("%s: %s, expected %s", path, data + 10, shape);
    const int half = strstr(data + 10, "'<f2'") != NULL;
    const size_t head = 10 + (unsigned char)data[8] + 256u * (unsigned char)data[9];
    const size_t n = ((size_t)scratch_size(path) - head) / (half ? 2 : 4);
    float *values = malloc(n * sizeof *values + 1);
    assert_non_null(values);
    for (size_t i = 0; i < n; i++)
        if (half) {
            uint16_t h;
            memcpy(&h, data + head + 2 * i, 2);
            values[i] = mb_f16_to_f32(h);
        } else {
            memcpy(&values[i], data + head + 4 * i, 4);
        }
    free(data);
    return values;
}

/* Hidden state of a sequence, (n, width). reverse: of its reverse complement, rows put back in forward order. */
static float *truth(const mb_model *m, const int32_t *x, int n, int layer, int reverse) {
    const size_t width = (size_t)mb_model_width(m);
    static int32_t seen[A_LENGTH];
    float *hidden = calloc((size_t)n, width * sizeof *hidden), *turned = calloc((size_t)n, width * sizeof *hidden);
    const mb_forward_options o = {.threads = 1, .memory = 1 << 28};
    assert_true(hidden && turned);
    for (int i = 0; i < n; i++)
        seen[i] = !reverse ? x[i] : x[n - 1 - i] >= 7 && x[n - 1 - i] <= 10 ? 17 - x[n - 1 - i] : x[n - 1 - i];
    must(mb_forward_hidden(m, seen, n, layer, &o, hidden, NULL, &error));
    for (size_t i = 0; i < (size_t)n; i++)
        memcpy(turned + i * width, hidden + (reverse ? (size_t)n - 1 - i : i) * width, width * sizeof *hidden);
    free(hidden);
    return turned;
}

static void rows_are(const float *got, const float *want, size_t n, double tol, const char *what) {
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tol * (1 + fabs((double)want[i]))))
            fail_msg("%s: element %zu is %g, expected %g", what, i, (double)got[i], (double)want[i]);
}

/* Row per base, both strands: the same bits as the original's hidden state. */
static void whole_hidden_states(void **state) {
    (void)state;
    static const char *const WAY[] = {"", "--memory 64k", "--memory 64k --threads 3", "--batch 1"};
    for (int way = 0; way < 4; way++) {
        const char *out = scratch_path("none.npy");
        must(embed("%s -m %s -o %s --pool none %s", fasta, folder[0], out, WAY[way]));
        float *got = read_npy(out, "'shape': (733, 16)");
        for (int s = 0, row = 0; s < 2; row += length[s++]) {
            float *want = truth(model[0], token[s], length[s], LAYERS, 0);
            assert_memory_equal(got + row * 2 * D, want, (size_t)length[s] * 2 * D * sizeof *want);
            free(want);
        }
        free(got);
    }
    char *index = scratch_read(scratch_path("none.npy.index.tsv"), NULL);
    assert_non_null(index);
    assert_string_equal(index, "row_start\trow_end\tname\toffset\tlength\tcontig\tstart\tend\tstrand\tn_count\n"
                               "0\t700\ta\t0\t700\ta\t0\t700\t+\t2\n"
                               "700\t733\tb\t0\t33\tb\t0\t33\t+\t0\n");
    free(index);
    char *json = scratch_read(scratch_path("none.npy.run.json"), NULL);
    assert_non_null(json);
    assert_non_null(strstr(json, "\"digest\""));
    free(json);
}

static void several_layers(void **state) {
    (void)state;
    const char *out = scratch_path("layers.npy");
    for (int way = 0; way < 2; way++) {
        must(embed("%s -m %s -o %s --pool none --layer last,0,2,2 %s", fasta, folder[0], out,
                   way ? "--memory 64k" : ""));
        float *got = read_npy(out, "'shape': (733, 3, 16)");
        static const int LAYER[] = {0, 2, LAYERS};
        for (int l = 0; l < 3; l++) {
            float *want = truth(model[0], token[0], A_LENGTH, LAYER[l], 0);
            for (int t = 0; t < A_LENGTH; t++)
                assert_memory_equal(got + (t * 3 + l) * 2 * D, want + t * 2 * D, 2 * D * sizeof *want);
            free(want);
        }
        free(got);
    }
    must(embed("%s -m %s -o %s --layer all", fasta, folder[0], out));
    free(read_npy(out, "'shape': (2, 4, 16)"));
    static const char *const WRONG[] = {"4", "-1", "1,", "x", "0,,1", ",", "lastx"};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        assert_int_equal(embed("%s -m %s -o %s --layer=%s", fasta, folder[0], out, WRONG[i]), MB_USAGE);
        assert_non_null(strstr(error.text, "--layer"));
    }
}

/* Rows of strand `both` or `conjoin` by hand, (n, columns). */
static float *strand_rows(int kind, const char *strand, int s) {
    const int n = length[s];
    float *forward = truth(model[kind], token[s], n, LAYERS, 0);
    if (kind == 0 && strcmp(strand, "both") == 0)
        return forward;
    float *reverse = kind == 0 ? NULL : truth(model[kind], token[s], n, LAYERS, 1);
    float *rows = calloc((size_t)n * 2 * D, sizeof *rows);
    assert_non_null(rows);
    for (int t = 0; t < n; t++)
        for (int c = 0; c < D; c++) {
            const float a = forward[t * (kind ? D : 2 * D) + c];
            const float b = kind ? reverse[t * D + c] : forward[t * 2 * D + 2 * D - 1 - c];
            if (strcmp(strand, "both") == 0) {
                rows[t * 2 * D + c] = a;
                rows[t * 2 * D + D + c] = b;
            } else {
                rows[t * D + c] = 0.5f * (a + b);
            }
        }
    free(forward);
    free(reverse);
    return rows;
}

static void strands(void **state) {
    (void)state;
    static const char *const STRAND[] = {"both", "conjoin"};
    const char *out = scratch_path("strands.npy");
    for (int kind = 0; kind < 3; kind++)
        for (int i = 0; i < 2; i++)
            for (int way = 0; way < 2; way++) {
                const int width = i ? D : 2 * D;
                must(embed("%s -m %s -o %s --pool none --strand %s %s", fasta, folder[kind], out, STRAND[i],
                           way ? "--memory 64k" : ""));
                float *got = read_npy(out, i ? "(733, 8)" : "(733, 16)");
                for (int s = 0, row = 0; s < 2; row += length[s++]) {
                    float *want = strand_rows(kind, STRAND[i], s);
                    rows_are(got + row * width, want, (size_t)(length[s] * width), 0, STRAND[i]);
                    free(want);
                }
                free(got);
            }
    /* forward: the first strand alone; the default for models that are not RC-equivariant */
    must(embed("%s -m %s -o %s --pool none", fasta, folder[2], out));
    float *got = read_npy(out, "(733, 8)"), *want = truth(model[2], token[0], A_LENGTH, LAYERS, 0);
    assert_memory_equal(got, want, A_LENGTH * D * sizeof *want);
    free(got);
    free(want);
    must(embed("%s -m %s -o %s --pool none --strand forward", fasta, folder[0], out));
    free(read_npy(out, "(733, 8)"));
}

/* The conjoined embedding of a pooled sequence does not change when the sequence is turned over. */
static void conjoined_is_invariant(void **state) {
    (void)state;
    char turned[A_LENGTH + 1];
    for (int i = 0; i < A_LENGTH; i++) {
        const char *at = strchr("ATACGCNN", letters[0][A_LENGTH - 1 - i]);
        turned[i] = at[1];
    }
    turned[A_LENGTH] = 0;
    char *text = mb_asprintf(">a\n%s\n", turned);
    const char *other = scratch_text("turned.fa", text), *out = scratch_path("c1.npy"), *out2 = scratch_path("c2.npy");
    for (int kind = 0; kind < 3; kind++) {
        must(embed("%s -m %s -o %s --strand conjoin", fasta, folder[kind], out));
        must(embed("%s -m %s -o %s --strand conjoin", other, folder[kind], out2));
        float *a = read_npy(out, "(2, 8)"), *b = read_npy(out2, "(1, 8)");
        rows_are(a, b, D, 1e-5, "turned over");
        free(a);
        free(b);
    }
    mb_free(text);
}

static void pools_and_bins(void **state) {
    (void)state;
    static const char *const POOL[] = {"mean", "max", "center"};
    const char *out = scratch_path("pool.npy");
    float *hidden = truth(model[0], token[0], A_LENGTH, LAYERS, 0);
    for (int p = 0; p < 3; p++)
        for (int bin = 0; bin <= (p < 2 ? 300 : 0); bin += 300) {
            must(embed("%s -m %s -o %s --pool %s --bin %d", fasta, folder[0], out, POOL[p], bin));
            float *got = read_npy(out, bin ? "(4, 16)" : "(2, 16)"); /* 700 = 300 + 300 + 100, and 33 */
            for (int row = 0; row < (bin ? 3 : 1); row++) {
                const int from = row * bin, to = bin && from + bin < A_LENGTH ? from + bin : A_LENGTH;
                float want[2 * D];
                for (int c = 0; c < 2 * D; c++) {
                    double sum = 0, top = -INFINITY;
                    for (int t = from; t < to; t++) {
                        sum += hidden[t * 2 * D + c];
                        top = fmax(top, hidden[t * 2 * D + c]);
                    }
                    want[c] = (float)(p == 0 ? sum / (to - from) : p == 1 ? top : hidden[A_LENGTH / 2 * 2 * D + c]);
                }
                rows_are(got + row * 2 * D, want, 2 * D, 1e-6, POOL[p]);
            }
            free(got);
        }
    free(hidden);
    assert_int_equal(embed("%s -m %s -o %s --pool none --bin 5", fasta, folder[0], out), MB_USAGE);
}

static void half_precision(void **state) {
    (void)state;
    const char *out = scratch_path("half.npy");
    for (int way = 0; way < 2; way++) {
        must(embed("%s -m %s -o %s --pool none --dtype f16 %s", fasta, folder[0], out, way ? "--memory 64k" : ""));
        float *got = read_npy(out, "'<f2'"), *want = truth(model[0], token[0], A_LENGTH, LAYERS, 0);
        for (int i = 0; i < A_LENGTH * 2 * D; i++)
            assert_true(got[i] == mb_f16_to_f32(mb_f32_to_f16(want[i])));
        free(got);
        free(want);
    }
}

static void windows_are_sequences_of_their_own(void **state) {
    (void)state;
    const char *out = scratch_path("windows.npy");
    must(embed("%s -m %s -o %s --pool none --window 256 --stride 200", fasta, folder[0], out));
    float *got = read_npy(out, "(901, 16)"); /* 256 + 256 + 256 + 100, and 33 */
    float *want = truth(model[0], token[0] + 200, 256, LAYERS, 0);
    assert_memory_equal(got + 256 * 2 * D, want, 256 * 2 * D * sizeof *want);
    free(got);
    free(want);
}

/* TSV shows the same numbers; compressed, standard output and other spellings too. */
static void text(void **state) {
    (void)state;
    const char *npy = scratch_path("t.npy"), *tsv = scratch_path("t.tsv"), *gz = scratch_path("t.tsv.gz");
    must(embed("%s -m %s -o %s --bin 300", fasta, folder[0], npy));
    must(embed("%s -m %s -o %s --bin 300", fasta, folder[0], tsv));
    must(embed("%s -m %s -o %s --bin 300", fasta, folder[0], gz));
    float *want = read_npy(npy, "(4, 16)");
    char *data = scratch_read(tsv, NULL), *line = strchr(data, '\n') + 1;
    static const char *const PLACE[] = {"a\t0\t300\ta\t0\t300\t+\t0", "a\t300\t300\ta\t300\t600\t+\t2",
                                        "a\t600\t100\ta\t600\t700\t+\t0", "b\t0\t33\tb\t0\t33\t+\t0"};
    for (int row = 0; row < 4; row++) {
        assert_int_equal(strncmp(line, PLACE[row], strlen(PLACE[row])), 0);
        char *p = line + strlen(PLACE[row]);
        for (int c = 0; c < 2 * D; c++)
            assert_true(strtof(p, &p) == want[row * 2 * D + c]);
        assert_int_equal(*p, '\n');
        line = p + 1;
    }
    assert_int_equal(*line, 0);
    size_t size = strlen(data);
    char *unpacked = calloc(size + 2, 1);
    gzFile z = gzopen(gz, "rb");
    assert_true(unpacked && z);
    assert_int_equal(gzread(z, unpacked, (unsigned)size + 1), size);
    assert_string_equal(unpacked, data);
    gzclose(z);
    free(unpacked);
    free(want);
    free(data);
    assert_int_equal(embed("%s -m %s -o %s --pool none", fasta, folder[0], tsv), MB_USAGE);
    assert_int_equal(embed("%s -m %s -o %s", fasta, folder[0], scratch_path("x.csv")), MB_USAGE);
    assert_non_null(strstr(error.text, "--format"));
    must(embed("%s -m %s -o %s --format tsv", fasta, folder[0], scratch_path("x.csv")));
}

static size_t same_file(const char *a, const char *b) {
    size_t n = 0, m = 0;
    char *x = scratch_read(a, &n), *y = scratch_read(b, &m);
    assert_true(x && y);
    const int same = n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same ? n : 0;
}

/* kill -9 after ever longer times, then --resume: the same bytes. */
static void killed_and_resumed(void **state) {
    (void)state;
    char *many = calloc(1, 1 << 20);
    assert_non_null(many);
    size_t n = 0;
    for (int i = 0; i < 400; i++)
        n += (size_t)sprintf(many + n, ">r%d\n%.*s\n", i, 300 + i % 7 * 50, letters[0]);
    const char *input = scratch_text("many.fa", many);
    free(many);
    static const char *const NAME[] = {"k.npy", "k.tsv.gz"};
    static const char *const HOW[] = {"--pool none --dtype f16", "--pool mean"};
    for (int f = 0; f < 2; f++) {
        char want[600], got[600];
        snprintf(want, sizeof want, "%s/want.%s", scratch_dir(), NAME[f]);
        snprintf(got, sizeof got, "%s/got.%s", scratch_dir(), NAME[f]);
        must(embed("%s -m %s -o %s %s --batch 3000", input, folder[0], want, HOW[f]));
        int kills = 0;
        for (long wait = 5; wait < 4000; wait += wait / 2) {
            const pid_t child = fork();
            if (child == 0)
                _exit(embed("%s -m %s -o %s %s --batch 3000 --resume --threads 1", input, folder[0], got, HOW[f]) != 0);
            nanosleep(&(struct timespec){wait / 1000, wait % 1000 * 1000000}, NULL);
            kill(child, SIGKILL);
            int status = 0;
            waitpid(child, &status, 0);
            kills += WIFSIGNALED(status) != 0;
            if (!WIFSIGNALED(status))
                break;
        }
        must(embed("%s -m %s -o %s %s --batch 3000 --resume", input, folder[0], got, HOW[f]));
        assert_true(kills > 0);
        assert_true(same_file(want, got) > 1000);
        if (f == 0) {
            char a[700], b[700];
            snprintf(a, sizeof a, "%s.index.tsv", want);
            snprintf(b, sizeof b, "%s.index.tsv", got);
            assert_true(same_file(a, b) > 1000);
        }
        /* Once more: complete already, and untouched. */
        struct stat before, after;
        assert_int_equal(stat(got, &before), 0);
        must(embed("%s -m %s -o %s %s --batch 3000 --resume", input, folder[0], got, HOW[f]));
        assert_int_equal(stat(got, &after), 0);
        assert_int_equal(before.st_ino, after.st_ino);
    }
}

static void refusals(void **state) {
    (void)state;
    const char *out = scratch_path("r.npy");
    static const struct {
        const char *options;
        int status;
        const char *words;
    } WRONG[] = {{"--window 0", MB_USAGE, "--window"},
                 {"--window x", MB_USAGE, "--window"},
                 {"--stride 5", MB_USAGE, "--stride needs --window"},
                 {"--exclude-flags nonsense", MB_USAGE, "--exclude-flags"},
                 {"--alphabet plantcad", MB_USAGE, "complement_map"},
                 {"--regions a:1-701", MB_RANGE, "outside"},
                 {"--window 1k --partial-windows drop", MB_FORMAT, "no sequence"}};
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        assert_int_equal(embed("%s -m %s -o %s %s", fasta, folder[0], out, WRONG[i].options), WRONG[i].status);
        assert_non_null(strstr(error.text, WRONG[i].words));
        assert_int_equal(scratch_size(out), -1);
    }
    assert_int_equal(embed("%s -m %s -o %s --format npy", fasta, folder[0], fasta), MB_USAGE);
    assert_non_null(strstr(error.text, "is an input too"));
    assert_int_equal(embed("%s -o %s", fasta, out), MB_USAGE);
    assert_int_equal(embed("%s -m %s", fasta, folder[0]), MB_USAGE);
    assert_int_equal(embed("%s -m %s -o /nonexistent/x.npy", fasta, folder[0]), MB_IO);
    must(embed("%s -m %s -o %s --dry-run", fasta, folder[0], out));
    assert_int_equal(scratch_size(out), -1);
}

static void memory_runs_out(void **state) {
    (void)state;
    const char *out = scratch_path("oom.npy"), *in = scratch_text("oom.fa", ">x\nACGTNACGT\n>y\nAC\n");
    const long before = mb_mem_live_blocks();
    long n = 1, step = 1;
    for (;; n += step, step += n % 50 == 0) {
        remove(out);
        mb_mem_fail_nth(n, 0);
        const int rc = embed("%s -m %s -o %s --threads 1 --strand conjoin", in, folder[0], out);
        const int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        if (!fired)
            break;
        if (rc == MB_OK)
            continue; /* progress lines and the like do without */
        assert_int_equal(rc, MB_NOMEM);
        assert_int_equal(scratch_size(out), -1);
        assert_int_equal(mb_mem_live_blocks(), before);
    }
    assert_true(n > 50);
}

static int prepare(void **state) {
    (void)state;
    static const char *const NAME[] = {"ps", "ph", "causal"};
    const mb_config config[] = {model_caduceus(D, LAYERS, 1), model_caduceus(D, LAYERS, 0), model_mamba(D, LAYERS, 16)};
    for (int i = 0; i < 3; i++) {
        char path[1200];
        model[i] = model_seeded(&config[i], NULL);
        folder[i] = strdup(scratch_path(NAME[i]));
        if (mkdir(folder[i], 0755))
            return 1;
        snprintf(path, sizeof path, "%s/config.json", folder[i]);
        if (mb_config_write(mb_model_config(model[i]), path, &error))
            return 1;
        snprintf(path, sizeof path, "%s/model.safetensors", folder[i]);
        if (mb_params_save(mb_model_params(model[i]), mb_model_config(model[i]), path, &error))
            return 1;
    }
    uint32_t x = 3;
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < length[s]; i++) {
            x = x * 1664525 + 1013904223;
            letters[s][i] = "ACGT"[x >> 30];
            token[s][i] = 7 + (int)(x >> 30);
        }
    letters[0][400] = letters[0][555] = 'N';
    token[0][400] = token[0][555] = 4;
    char *text_of_both = mb_asprintf(">a\n%s\n>b\n%s\n", letters[0], letters[1]);
    fasta = strdup(scratch_text("in.fa", text_of_both));
    mb_free(text_of_both);
    return 0;
}

static int clean_up(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        mb_model_destroy(model[i]);
        free((char *)(uintptr_t)folder[i]);
    }
    free((char *)(uintptr_t)fasta);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_hidden_states),
                                       cmocka_unit_test(several_layers),
                                       cmocka_unit_test(strands),
                                       cmocka_unit_test(conjoined_is_invariant),
                                       cmocka_unit_test(pools_and_bins),
                                       cmocka_unit_test(half_precision),
                                       cmocka_unit_test(windows_are_sequences_of_their_own),
                                       cmocka_unit_test(text),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(killed_and_resumed),
                                       cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
