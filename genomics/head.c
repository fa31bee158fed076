/* Heads in memory and on disk. See head.h. Refuses task files of other versions, weights of other shapes. */
#include "genomics/head.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/json_guard.h"
#include "core/rng.h"

enum { VERSION = 1, TASK_BYTES = 1 << 24, PREDICT_TOKENS = 1 << 22, PREDICT_SEQUENCES = 4096 };
static const char *const POOLING[] = {"mean", "max", "first", "last", "none"};

static int no_memory(mb_err *e) {
    return mb_fail(e, MB_NOMEM, "no memory for a head");
}

/* ---- in memory ------------------------------------------------------------------------------------------------------
 */

static int objective_of(int task) {
    return task == DNA_TASK_MULTI ? MB_POOL_BINARY : task == DNA_TASK_REGRESSION ? MB_POOL_SQUARED : MB_POOL_CLASS;
}

static int make_room(dna_head *h, int C, int D, int bias, mb_err *e) {
    const size_t w = (size_t)C * (size_t)D, b = bias ? (size_t)C : 0;
    h->D = D;
    h->pool.C = C;
    h->owned = mb_calloc(2 * (w + b), sizeof *h->owned);
    h->label = mb_calloc((size_t)C, sizeof *h->label);
    h->mean = mb_calloc((size_t)C, sizeof *h->mean);
    h->scale = mb_calloc((size_t)C, sizeof *h->scale);
    if (!h->owned || !h->label || !h->mean || !h->scale)
        return no_memory(e);
    for (int c = 0; c < C; c++)
        h->scale[c] = 1;
    h->pool.w = h->owned;
    h->pool.w_sum = h->owned + w;
    h->pool.b = bias ? h->owned + 2 * w : NULL;
    h->pool.b_sum = bias ? h->owned + 2 * w + b : NULL;
    return MB_OK;
}

int dna_head_init(dna_head *h, int task, int pooling, char *const *label, int C, int D, int bias, uint64_t seed,
                  mb_err *e) {
    mb_rng r;
    *h = (dna_head){.task = task, .pool = {.pooling = pooling, .objective = objective_of(task)}};
    int rc = make_room(h, C, D, bias, e);
    for (int c = 0; rc == MB_OK && c < C; c++)
        if (!(h->label[c] = mb_strdup(label[c])))
            rc = no_memory(e);
    mb_rng_init(&r, seed, 0x73636f7265); /* "score" */
    for (int64_t i = 0; rc == MB_OK && i < (int64_t)C * D; i++)
        h->pool.w[i] = (float)(0.02 * mb_rng_normal(&r));
    return rc;
}

void dna_head_fini(dna_head *h) {
    for (int c = 0; h->label && c < h->pool.C; c++)
        mb_free(h->label[c]);
    mb_free(h->label);
    mb_free(h->owned);
    mb_free(h->mean);
    mb_free(h->scale);
    *h = (dna_head){0};
}

/* ---- to disk --------------------------------------------------------------------------------------------------------
 */

static int write_json(json_t *all, const char *path, mb_err *e) {
    mb_out *out = NULL;
    char *text = all ? json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    int rc = text && !mb_json_no_memory() ? mb_out_create(&out, path, e) : no_memory(e);
    if (rc == MB_OK)
        rc = mb_out_printf(out, e, "%s\n", text);
    if (out && rc == MB_OK)
        rc = mb_out_commit(out, e);
    else
        mb_out_abort(out);
    mb_free(text);
    return rc;
}

static json_t *names_json(const dna_head *h) {
    json_t *all = json_array();
    for (int c = 0; c < h->pool.C; c++)
        json_array_append_new(all, json_string(h->label[c]));
    return all;
}

static json_t *numbers_json(const double *v, int n) {
    json_t *all = json_array();
    for (int c = 0; c < n; c++)
        json_array_append_new(all, json_real(v[c]));
    return all;
}

static int write_task(const dna_head *h, const char *folder, mb_err *e) {
    char *path = mb_path_join(folder, "task.json");
    json_t *all = json_pack("{s:i, s:s, s:s, s:b, s:b, s:i, s:o, s:o, s:o}", "version", VERSION, "task",
                            dna_task_name(h->task), "pooling", POOLING[h->pool.pooling], "conjoin", h->conjoin, "bias",
                            h->pool.b != NULL, "d_model", h->D, "labels", names_json(h), "mean",
                            numbers_json(h->mean, h->pool.C), "scale", numbers_json(h->scale, h->pool.C));
    int rc = path ? write_json(all, path, e) : no_memory(e);
    json_decref(all);
    mb_free(path);
    return rc;
}

/* The labels' names in place of LABEL_0. */
static int name_labels(const dna_head *h, const char *path, mb_err *e) {
    char *text = NULL;
    size_t n;
    int rc = mb_file_read_all(path, TASK_BYTES, &text, &n, e);
    json_t *all = rc == MB_OK ? json_loadb(text, n, 0, NULL) : NULL, *names = json_object(), *numbers = json_object();
    for (int c = 0; all && c < h->pool.C; c++) {
        char key[16];
        snprintf(key, sizeof key, "%d", c);
        json_object_set_new(names, key, json_string(h->label[c]));
        json_object_set_new(numbers, h->label[c], json_integer(c));
    }
    if (rc == MB_OK &&
        (!all || json_object_set(all, "id2label", names) || json_object_set(all, "label2id", numbers) ||
         json_object_set_new(all, "problem_type",
                             json_string(h->task == DNA_TASK_MULTI        ? "multi_label_classification"
                                         : h->task == DNA_TASK_REGRESSION ? "regression"
                                                                          : "single_label_classification"))))
        rc = no_memory(e);
    if (rc == MB_OK)
        rc = write_json(all, path, e);
    json_decref(all);
    json_decref(names);
    json_decref(numbers);
    mb_free(text);
    return rc;
}

static int score_tensors(const dna_head *h, mb_tensor t[2]) {
    t[0] = (mb_tensor){.name = "score.weight",
                       .dtype = MB_F32,
                       .ndim = 2,
                       .shape = {h->pool.C, h->D},
                       .count = (int64_t)h->pool.C * h->D,
                       .data = h->pool.w};
    t[1] = (mb_tensor){
        .name = "score.bias", .dtype = MB_F32, .ndim = 1, .shape = {h->pool.C}, .count = h->pool.C, .data = h->pool.b};
    return h->pool.b ? 2 : 1;
}

static int save_weights(const dna_head *h, const mb_params *p, const mb_config *c, const char *weights,
                        const char *head, mb_err *e) {
    mb_tensor t[2];
    const int n = score_tensors(h, t);
    if (c->n_labels > 0)
        return mb_params_save_with(p, c, t, n, weights, e);
    int rc = mb_params_save(p, c, weights, e);
    return rc == MB_OK ? mb_safetensors_write(head, t, n, NULL, e) : rc;
}

int dna_head_save(const dna_head *h, const mb_params *p, const mb_config *c, const char *folder, mb_err *e) {
    mb_config *own = mb_malloc(sizeof *own);
    char *config = mb_path_join(folder, "config.json"), *weights = mb_path_join(folder, "model.safetensors"),
         *head = mb_path_join(folder, "head.safetensors");
    int rc = own && config && weights && head ? MB_OK : no_memory(e);
    mb_json_use_heap();
    if (rc == MB_OK) {
        *own = *c;
        if (own->family == MB_FAMILY_CADUCEUS) {
            own->has_head = own->tied_head = 0;
            own->n_labels = h->pool.C;
        }
        rc = save_weights(h, p, own, weights, head, e);
    }
    if (rc == MB_OK)
        rc = mb_config_write(own, config, e);
    if (rc == MB_OK && own->n_labels > 0)
        rc = name_labels(h, config, e);
    if (rc == MB_OK)
        rc = write_task(h, folder, e);
    mb_free(own);
    mb_free(config);
    mb_free(weights);
    mb_free(head);
    return rc;
}

/* ---- from disk ------------------------------------------------------------------------------------------------------
 */

static int find_name(const char *const *names, int n, const char *name) {
    for (int i = 0; name && i < n; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static int find_task(const char *name) {
    for (int t = DNA_TASK_CLASS; name && t <= DNA_TASK_BASES; t++)
        if (strcmp(dna_task_name(t), name) == 0)
            return t;
    return -1;
}

static const char *text_of(const json_t *all, const char *key) {
    return json_string_value(json_object_get(all, key));
}

static int take_task(dna_head *h, const json_t *all, int D, const char *path, mb_err *e) {
    const json_t *labels = json_object_get(all, "labels"), *mean = json_object_get(all, "mean"),
                 *scale = json_object_get(all, "scale");
    const int task = find_task(text_of(all, "task")), pooling = find_name(POOLING, 5, text_of(all, "pooling"));
    const size_t C = json_array_size(labels);
    if (json_integer_value(json_object_get(all, "version")) != VERSION || task < 0 || pooling < 0 || C < 1 ||
        C > MB_MAX_VOCAB || json_array_size(mean) != C || json_array_size(scale) != C ||
        json_integer_value(json_object_get(all, "d_model")) != D)
        return mb_fail(e, MB_FORMAT, "%s is no task file of this program for a model of width %d", path, D);
    *h = (dna_head){.task = task,
                    .conjoin = json_is_true(json_object_get(all, "conjoin")),
                    .pool = {.pooling = pooling, .objective = objective_of(task)}};
    int rc = make_room(h, (int)C, D, json_is_true(json_object_get(all, "bias")), e);
    for (int c = 0; rc == MB_OK && c < (int)C; c++) {
        const char *name = json_string_value(json_array_get(labels, (size_t)c));
        h->mean[c] = json_number_value(json_array_get(mean, (size_t)c));
        h->scale[c] = json_number_value(json_array_get(scale, (size_t)c));
        if (!(h->label[c] = mb_strdup(name ? name : "")))
            rc = no_memory(e);
    }
    return rc;
}

static int take_score(dna_head *h, const char *path, mb_err *e) {
    mb_weights *w = NULL;
    mb_tensor want[2];
    const int n = score_tensors(h, want);
    int rc = mb_weights_open(&w, path, e);
    for (int i = 0; rc == MB_OK && i < n; i++) {
        const mb_tensor *t = mb_weights_find(w, want[i].name);
        if (!t || t->count != want[i].count || t->dtype >= MB_I64)
            rc = mb_fail(e, MB_FORMAT, "%s has no %s of %lld numbers, as task.json wants it", path, want[i].name,
                         (long long)want[i].count);
        else
            mb_tensor_to_f32(t, 0, t->count, i ? h->pool.b : h->pool.w);
    }
    mb_weights_close(w);
    return rc;
}

int dna_head_load(dna_head *h, const mb_model *m, mb_err *e) {
    const char *weights = mb_model_weights_path(m), *slash = strrchr(weights, '/');
    char *folder = slash ? mb_strdup(weights) : mb_strdup("."), *path = NULL, *other = NULL, *text = NULL;
    size_t n = 0;
    json_t *all = NULL;
    *h = (dna_head){0};
    if (folder && slash)
        folder[slash - weights] = '\0';
    path = folder ? mb_path_join(folder, "task.json") : NULL;
    other = folder ? mb_path_join(folder, "head.safetensors") : NULL;
    int rc = path && other ? MB_OK : no_memory(e);
    mb_json_use_heap();
    if (rc == MB_OK && !mb_file_exists(path))
        rc =
            mb_fail(e, MB_NOTFOUND,
                    "%s holds no task.json: a model made by dna-mamba finetune is wanted, this one answers nothing yet",
                    folder);
    if (rc == MB_OK)
        rc = mb_file_read_all(path, TASK_BYTES, &text, &n, e);
    const mb_json_limits limits = {8, 1 << 22};
    if (rc == MB_OK)
        rc = mb_json_parse(&all, text, n, &limits, 0, path, 0, e);
    if (rc == MB_OK)
        rc = take_task(h, all, mb_model_config(m)->D, path, e);
    if (rc == MB_OK)
        rc = take_score(h, mb_model_config(m)->n_labels > 0 ? weights : other, e);
    json_decref(all);
    mb_free(text);
    mb_free(path);
    mb_free(other);
    mb_free(folder);
    return rc;
}

/* ---- answers --------------------------------------------------------------------------------------------------------
 */

void dna_head_answer(const dna_head *h, double *z, int64_t units) {
    const int C = h->pool.C;
    for (int64_t u = 0; u < units; u++, z += C) {
        double most = z[0], sum = 0;
        for (int c = 0; c < C && h->pool.objective != MB_POOL_CLASS; c++)
            z[c] = h->task == DNA_TASK_MULTI ? 1 / (1 + exp(-z[c])) : h->mean[c] + h->scale[c] * z[c];
        if (h->pool.objective != MB_POOL_CLASS)
            continue;
        for (int c = 1; c < C; c++)
            most = z[c] > most ? z[c] : most;
        for (int c = 0; c < C; c++)
            sum += z[c] = exp(z[c] - most);
        for (int c = 0; c < C; c++)
            z[c] /= sum;
    }
}

static int run_some(const dna_head *h, const mb_model *m, const dna_alphabet *a, const dna_piece *piece, int n,
                    int64_t tokens, const mb_forward_options *o, double *answer, mb_err *e) {
    const int views = h->conjoin && mb_model_strands(m) == 1 ? 2 : 1;
    mb_sequence *s = mb_calloc((size_t)n * (size_t)views, sizeof *s);
    uint8_t *other = views == 2 ? mb_malloc((size_t)tokens) : NULL, *next = other;
    int rc = s && (other || views == 1) ? MB_OK : no_memory(e);
    for (int i = 0; rc == MB_OK && i < n; i++) {
        s[(size_t)i * (size_t)views] = (mb_sequence){
            .length = piece[i].length, .read = mb_tokens8_read, .user = (void *)(uintptr_t)piece[i].token};
        if (views == 2) {
            memcpy(next, piece[i].token, (size_t)piece[i].length);
            dna_reverse_tokens(a, next, piece[i].length);
            s[2 * (size_t)i + 1] = (mb_sequence){.length = piece[i].length, .read = mb_tokens8_read, .user = next};
            next += piece[i].length;
        }
    }
    if (rc == MB_OK)
        rc = mb_pool_run(m, &h->pool, s, n * views, views, o, answer, e);
    mb_free(s);
    mb_free(other);
    return rc;
}

int dna_head_predict(const dna_head *h, const mb_model *m, const dna_alphabet *a, const dna_piece *piece, int64_t n,
                     const mb_forward_options *o, double *answer, mb_err *e) {
    int rc = MB_OK;
    for (int64_t from = 0, to; rc == MB_OK && from < n; from = to) {
        int64_t tokens = piece[from].length;
        for (to = from + 1; to < n && to - from < PREDICT_SEQUENCES && tokens + piece[to].length <= PREDICT_TOKENS;)
            tokens += piece[to++].length;
        const int64_t units = h->pool.pooling == MB_POOL_NONE ? tokens : to - from;
        rc = run_some(h, m, a, piece + from, (int)(to - from), tokens, o, answer, e);
        if (rc == MB_OK)
            dna_head_answer(h, answer, units);
        answer += units * (int64_t)h->pool.C;
    }
    return rc;
}
