/* Checkpoints. See checkpoint.h. Refuses folders whose files do not have the digests that state.json has. */
#include "core/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/json_guard.h"
#include "core/log.h"
#include "core/model_internal.h"
#include "core/params_table.h"

static const char PREFIX[] = "step-", UNFINISHED[] = ".unfinished-", DAMAGED[] = "damaged-";
static const char *const FILES[] = {"config.json", "model.safetensors", "state.safetensors"};
enum { N_FILES = sizeof FILES / sizeof *FILES, STATE_BYTES = 1 << 20 };

char *mb_checkpoint_path(const char *dir, int64_t step) {
    return mb_asprintf("%s/%s%08lld", dir, PREFIX, (long long)step);
}

/* ---- tensors of the state -------------------------------------------------------------------------------------------
 */

typedef struct tensors {
    mb_tensor *at;
    int n;
} tensors;

static void add_tensor(tensors *t, const char *name, float *data, int64_t n) {
    t->at[t->n++] = (mb_tensor){.name = name, .dtype = MB_F32, .ndim = 1, .shape = {n}, .count = n, .data = data};
}

/* Whether the model's own file holds a tensor: it lies in the pool of its parameters. */
static int of_model(mb_gradient *g, const mb_trainable *t) {
    size_t floats;
    const float *pool = mb_params_pool(mb_gradient_model(g)->params, &floats);
    return t->w >= pool && t->w < pool + floats;
}

static int state_tensors(tensors *t, mb_gradient *g, mb_optimizer *o, mb_err *e) {
    int n;
    const mb_trainable *w = mb_optimizer_tensors(o, &n);
    t->n = 0;
    t->at = mb_calloc((size_t)n + 4, sizeof *t->at);
    if (!t->at)
        return mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    add_tensor(t, "first_moment", mb_optimizer_first(o), mb_optimizer_floats(o));
    add_tensor(t, "second_moment", mb_optimizer_second(o), mb_optimizer_floats(o));
    if (mb_optimizer_average(o))
        add_tensor(t, "average", mb_optimizer_average(o), mb_optimizer_floats(o));
    for (int i = 0; i < n; i++)
        if (!of_model(g, &w[i]))
            add_tensor(t, w[i].name, w[i].w, w[i].n);
    return MB_OK;
}

/* States carried from batch to batch: as many as the checkpoint has. */
static const char CARRIED[] = "carried";

static void add_carried(tensors *t, mb_gradient *g) {
    size_t n;
    const float *state = mb_gradient_carried(g, &n);
    if (n > 0)
        add_tensor(t, CARRIED, (float *)(uintptr_t)state, (int64_t)n);
}

static int read_carried(const mb_weights *w, const char *file, mb_gradient *g, mb_err *e) {
    const mb_tensor *from = mb_weights_find(w, CARRIED);
    if (!from)
        return MB_OK;
    float *state = from->dtype == MB_F32 ? mb_malloc((size_t)from->count * sizeof *state) : NULL;
    if (!state)
        return mb_fail(e, from->dtype == MB_F32 ? MB_NOMEM : MB_FORMAT, "%s: cannot take over its carried states",
                       file);
    mb_tensor_to_f32(from, 0, from->count, state);
    int rc = mb_gradient_set_carried(g, state, (size_t)from->count, e);
    mb_free(state);
    return rc;
}

/* ---- writing --------------------------------------------------------------------------------------------------------
 */

static json_t *state_json(const mb_train_state *s, int64_t updates) {
    return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f}", "version", 1, "step", (json_int_t)s->step,
                     "updates", (json_int_t)updates, "tokens", (json_int_t)s->tokens, "evaluations",
                     (json_int_t)s->evaluations, "best_step", (json_int_t)s->best_step, "bad_evaluations",
                     (json_int_t)s->bad_evaluations, "skipped", (json_int_t)s->skipped, "fingerprint", s->fingerprint,
                     "best", s->best);
}

static int write_state(const char *dir, const mb_train_state *s, int64_t updates, mb_err *e) {
    mb_json_use_heap();
    json_t *all = state_json(s, updates), *digests = json_object();
    char *path = mb_path_join(dir, "state.json"), *text = NULL;
    mb_out *out = NULL;
    int rc = all && digests && path ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    for (int i = 0; i < N_FILES && rc == MB_OK; i++) {
        char hex[65], *file = mb_path_join(dir, FILES[i]);
        rc = file ? mb_file_sha256(file, hex, e) : mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
        mb_free(file);
        if (rc == MB_OK && json_object_set_new(digests, FILES[i], json_string(hex)) != 0)
            rc = mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    }
    if (rc == MB_OK && (json_object_set(all, "sha256", digests) != 0 ||
                        !(text = json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(17)))))
        rc = mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    if (rc == MB_OK)
        rc = mb_out_create(&out, path, e);
    if (rc == MB_OK)
        rc = mb_out_printf(out, e, "%s\n", text);
    if (out && rc == MB_OK)
        rc = mb_out_commit(out, e);
    else
        mb_out_abort(out);
    mb_free(text);
    json_decref(all);
    json_decref(digests);
    mb_free(path);
    return rc;
}

static int write_files(const char *dir, mb_gradient *g, mb_optimizer *o, const mb_train_state *s, mb_err *e) {
    const mb_model *m = mb_gradient_model(g);
    tensors t = {0};
    char *config = mb_path_join(dir, FILES[0]), *model = mb_path_join(dir, FILES[1]);
    char *state = mb_path_join(dir, FILES[2]);
    int rc = config && model && state ? state_tensors(&t, g, o, e) : mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    if (rc == MB_OK)
        rc = mb_config_write(&m->config, config, e);
    if (rc == MB_OK)
        rc = mb_params_save(m->params, &m->config, model, e);
    if (rc == MB_OK) {
        add_carried(&t, g);
        rc = mb_safetensors_write(state, t.at, t.n, NULL, e);
    }
    if (rc == MB_OK)
        rc = write_state(dir, s, *mb_optimizer_steps(o), e);
    mb_free(t.at);
    mb_free(config);
    mb_free(model);
    mb_free(state);
    return rc;
}

static int sync_folder(const char *dir, mb_err *e) {
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) != 0 ? mb_fail_errno(e, MB_IO, "%s: cannot be made durable", dir) : MB_OK;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Removes a folder of plain files; the first failure is told, what can be removed is. */
static int remove_folder(const char *path, mb_err *e) {
    DIR *d = opendir(path);
    int rc = MB_OK;
    if (!d)
        return errno == ENOENT ? MB_OK : mb_fail_errno(e, MB_IO, "%s", path);
    for (struct dirent *entry; (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(dirfd(d), entry->d_name, 0) != 0 && rc == MB_OK)
            rc = mb_fail_errno(e, MB_IO, "%s/%s: cannot be removed", path, entry->d_name);
    closedir(d);
    if (rmdir(path) != 0 && rc == MB_OK)
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be removed", path);
    return rc;
}

/* What runs that were killed while writing left behind: it may be what fills the disk. */
static void remove_unfinished(const char *dir) {
    DIR *d = opendir(dir);
    for (struct dirent *entry; d && (entry = readdir(d));)
        if (strncmp(entry->d_name, UNFINISHED, sizeof UNFINISHED - 1) == 0) {
            char *path = mb_path_join(dir, entry->d_name);
            if (path)
                (void)remove_folder(path, NULL);
            mb_free(path);
        }
    if (d)
        closedir(d);
}

/* The folder of checkpoints, and its name in the folder above, which is there. */
static int make_folder(const char *dir, mb_err *e) {
    if (mkdir(dir, 0777) != 0)
        return errno == EEXIST ? MB_OK : mb_fail_errno(e, MB_IO, "%s: cannot be made", dir);
    char *above = mb_path_join(dir, "..");
    int rc = above ? sync_folder(above, e) : mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    mb_free(above);
    return rc;
}

int mb_checkpoint_save(const char *dir, mb_gradient *g, mb_optimizer *o, const mb_train_state *s, mb_err *e) {
    char *final = mb_checkpoint_path(dir, s->step);
    char *work = mb_asprintf("%s/%s%08lld.%ld", dir, UNFINISHED, (long long)s->step, (long)getpid());
    int rc = final && work ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    if (rc == MB_OK)
        rc = make_folder(dir, e);
    if (rc == MB_OK && !mb_dir_exists(final)) {
        remove_unfinished(dir);
        if (mkdir(work, 0777) != 0)
            rc = mb_fail_errno(e, MB_IO, "%s: cannot be made", work);
        if (rc == MB_OK)
            rc = write_files(work, g, o, s, e);
        if (rc == MB_OK)
            rc = sync_folder(work, e);
        if (rc == MB_OK && rename(work, final) != 0)
            rc = mb_fail_errno(e, MB_IO, "%s: cannot be renamed", work);
        if (rc == MB_OK)
            rc = sync_folder(dir, e);
        else
            (void)remove_folder(work, NULL);
    }
    mb_free(final);
    mb_free(work);
    return rc == MB_OK ? rc : mb_err_context(e, "checkpoint of step %lld", (long long)s->step);
}

/* ---- finding --------------------------------------------------------------------------------------------------------
 */

typedef struct steps {
    int64_t *at; /* descending */
    int n;
} steps;

static int newest_first(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The number behind PREFIX, or -1 when mb_checkpoint_path would write it differently. */
static int64_t step_of(const char *name) {
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0)
        return -1;
    char *end, again[64];
    errno = 0;
    const long long n = strtoll(name + sizeof PREFIX - 1, &end, 10);
    snprintf(again, sizeof again, "%s%08lld", PREFIX, n);
    return errno || n < 0 || strcmp(name, again) != 0 ? -1 : n;
}

static int list_steps(const char *dir, steps *s, mb_err *e) {
    *s = (steps){0};
    DIR *d = opendir(dir);
    int capacity = 0;
    if (!d)
        return errno == ENOENT ? MB_OK : mb_fail_errno(e, MB_IO, "%s", dir);
    for (struct dirent *entry; (entry = readdir(d));) {
        const int64_t step = step_of(entry->d_name);
        if (step < 0)
            continue;
        if (s->n == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            int64_t *more = mb_realloc_array(s->at, (size_t)capacity, sizeof *more);
            if (!more) {
                closedir(d);
                mb_free(s->at);
                *s = (steps){0};
                return mb_fail(e, MB_NOMEM, "no memory for the list of checkpoints");
            }
            s->at = more;
        }
        s->at[s->n++] = step;
    }
    closedir(d);
    if (s->n > 1)
        qsort(s->at, (size_t)s->n, sizeof *s->at, newest_first);
    return MB_OK;
}

int mb_checkpoint_prune(const char *dir, int keep, int64_t pinned, mb_err *e) {
    steps s;
    int rc = list_steps(dir, &s, e);
    for (int i = keep; i < s.n && rc == MB_OK; i++) {
        if (s.at[i] == pinned)
            continue;
        char *path = mb_checkpoint_path(dir, s.at[i]);
        /* without state.json it is no checkpoint any more, whatever else is left when the machine stops here */
        char *state = path ? mb_path_join(path, "state.json") : NULL;
        rc = state ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for the list of checkpoints");
        if (rc == MB_OK && unlink(state) != 0 && errno != ENOENT)
            rc = mb_fail_errno(e, MB_IO, "%s: cannot be removed", state);
        if (rc == MB_OK)
            rc = remove_folder(path, e);
        mb_free(state);
        mb_free(path);
    }
    mb_free(s.at);
    return rc;
}

/* ---- reading --------------------------------------------------------------------------------------------------------
 */

/* A count of state.json; what is not there, is no whole number or outside least..most makes it unreadable. */
static int64_t count_of(const json_t *all, const char *key, int64_t least, int64_t most, int *good) {
    const json_t *v = json_object_get(all, key);
    const int64_t n = (int64_t)json_integer_value(v);
    *good &= json_is_integer(v) && n >= least && n <= most;
    return n;
}

static int parse_state(const json_t *all, int64_t step, mb_train_state *s, int64_t *updates) {
    const char *fingerprint = json_string_value(json_object_get(all, "fingerprint"));
    const json_t *best = json_object_get(all, "best");
    int good = 1;
    if (!fingerprint || strlen(fingerprint) > MB_CHECKPOINT_KEY || !json_is_number(best))
        return 0;
    (void)count_of(all, "version", 1, 1, &good);
    *s = (mb_train_state){.step = count_of(all, "step", step, step, &good),
                          .tokens = count_of(all, "tokens", 0, INT64_MAX, &good),
                          .evaluations = count_of(all, "evaluations", 0, step, &good),
                          .best_step = count_of(all, "best_step", -1, step, &good),
                          .best = json_number_value(best),
                          .bad_evaluations = count_of(all, "bad_evaluations", 0, step, &good),
                          .skipped = count_of(all, "skipped", 0, step, &good)};
    *updates = count_of(all, "updates", 0, step, &good);
    memcpy(s->fingerprint, fingerprint, strlen(fingerprint) + 1);
    return good;
}

/* state.json alone: the other files are not looked at. *digests: to be given back by json_decref. */
static int read_state_file(const char *path, int64_t step, mb_train_state *s, int64_t *updates, json_t **digests,
                           mb_err *e) {
    char *file = mb_path_join(path, "state.json"), *text = NULL;
    size_t size;
    json_t *all = NULL;
    mb_json_use_heap();
    int rc = file ? mb_file_read_all(file, STATE_BYTES, &text, &size, e) : mb_fail(e, MB_NOMEM, "no memory");
    if (rc == MB_OK && (!(all = json_loadb(text, size, 0, NULL)) || !parse_state(all, step, s, updates)))
        rc = mb_fail(e, MB_FORMAT, "%s is not the state of step %lld of this program", file, (long long)step);
    *digests = rc == MB_OK ? json_incref(json_object_get(all, "sha256")) : NULL;
    json_decref(all);
    mb_free(text);
    mb_free(file);
    return rc;
}

static int read_state(const char *path, int64_t step, mb_train_state *s, int64_t *updates, mb_err *e) {
    json_t *digests = NULL;
    int rc = read_state_file(path, step, s, updates, &digests, e);
    for (int i = 0; i < N_FILES && rc == MB_OK; i++) {
        char hex[65], *other = mb_path_join(path, FILES[i]);
        const char *want = json_string_value(json_object_get(digests, FILES[i]));
        rc = other ? mb_file_sha256(other, hex, e) : mb_fail(e, MB_NOMEM, "no memory");
        if (rc == MB_OK && (!want || strcmp(want, hex) != 0))
            rc = mb_fail(e, MB_FORMAT, "%s was changed or cut short after it was written", other);
        mb_free(other);
    }
    json_decref(digests);
    return rc;
}

static int read_weights(const char *path, mb_gradient *g, mb_err *e) {
    mb_model *m = mb_gradient_model(g);
    mb_weights *w = NULL;
    mb_params *loaded = NULL, *copy = NULL;
    char *file = mb_path_join(path, FILES[1]);
    int rc = file ? mb_weights_open(&w, file, e) : mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    if (rc == MB_OK)
        rc = mb_params_load(&loaded, &m->config, w, e);
    if (rc == MB_OK)
        rc = mb_params_clone(&copy, &m->config, loaded, e);
    if (rc == MB_OK) {
        size_t n, same;
        float *to = mb_params_pool(m->params, &n);
        const float *from = mb_params_pool(copy, &same);
        MB_ASSERT(n == same);
        memcpy(to, from, n * sizeof(float));
        rc = mb_gradient_refresh(g, e);
    }
    mb_params_free(copy);
    mb_params_free(loaded);
    mb_weights_close(w);
    mb_free(file);
    return rc;
}

static int read_tensors(const char *path, mb_gradient *g, mb_optimizer *o, mb_err *e) {
    mb_weights *w = NULL;
    tensors t = {0};
    char *file = mb_path_join(path, FILES[2]);
    int rc = file ? mb_weights_open(&w, file, e) : mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    if (rc == MB_OK)
        rc = state_tensors(&t, g, o, e);
    for (int i = 0; i < t.n && rc == MB_OK; i++) {
        const mb_tensor *from = mb_weights_find(w, t.at[i].name);
        if (!from || from->dtype != MB_F32 || from->count != t.at[i].count)
            rc = mb_fail(e, MB_FORMAT, "%s has no %s of %lld numbers", file, t.at[i].name, (long long)t.at[i].count);
        else
            mb_tensor_to_f32(from, 0, from->count, (float *)(uintptr_t)t.at[i].data);
    }
    if (rc == MB_OK)
        rc = read_carried(w, file, g, e);
    mb_free(t.at);
    mb_weights_close(w);
    mb_free(file);
    return rc;
}

static int read_one(const char *path, mb_gradient *g, mb_optimizer *o, mb_err *e) {
    int rc = read_weights(path, g, e);
    if (rc == MB_OK)
        rc = read_tensors(path, g, o, e);
    return rc == MB_OK ? rc : mb_err_context(e, "%s", path);
}

int mb_checkpoint_load(const char *dir, int64_t step, mb_gradient *g, mb_optimizer *o, mb_train_state *s, mb_err *e) {
    char *path = mb_checkpoint_path(dir, step);
    int64_t updates = 0;
    int rc = path ? read_state(path, step, s, &updates, e) : mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    if (rc == MB_OK)
        rc = read_one(path, g, o, e);
    if (rc == MB_OK)
        *mb_optimizer_steps(o) = updates;
    mb_free(path);
    return rc;
}

static int differs(const char *path, const char *its, const char *ours, mb_err *e) {
    return mb_fail(e, MB_USAGE,
                   "%s belongs to a run with other settings or data (its fingerprint is %s, this run's %s); give the "
                   "settings it was started with, or another output folder",
                   path, its, ours);
}

int mb_checkpoint_agrees(const char *dir, const char *fingerprint, mb_err *e) {
    steps all;
    int seen = 0, rc = list_steps(dir, &all, e);
    for (int i = 0; i < all.n && rc == MB_OK && !seen; i++) {
        mb_err ignored = {0};
        mb_train_state s;
        int64_t updates;
        json_t *digests = NULL;
        char *path = mb_checkpoint_path(dir, all.at[i]);
        seen = path && read_state_file(path, all.at[i], &s, &updates, &digests, &ignored) == MB_OK;
        if (seen && strcmp(s.fingerprint, fingerprint) != 0)
            rc = differs(path, s.fingerprint, fingerprint, e);
        json_decref(digests);
        mb_free(path);
    }
    mb_free(all.at);
    return rc;
}

/* A damaged one gets another name: its step will be written again, and it must not count as one of those kept. */
static int set_aside(const char *dir, int64_t step, mb_err *e) {
    char *path = mb_checkpoint_path(dir, step);
    char *aside = mb_asprintf("%s/%s%s%08lld", dir, DAMAGED, PREFIX, (long long)step);
    int rc = path && aside ? remove_folder(aside, e) : mb_fail(e, MB_NOMEM, "no memory for a checkpoint");
    if (rc == MB_OK && rename(path, aside) != 0)
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be renamed", path);
    mb_free(path);
    mb_free(aside);
    return rc;
}

/* *damaged: not whole or not readable, so that an older one is wanted. */
static int try_one(const char *path, int64_t step, mb_gradient *g, mb_optimizer *o, mb_train_state *s, int *damaged,
                   mb_err *e) {
    mb_train_state state;
    int64_t updates = 0;
    int rc = read_state(path, step, &state, &updates, e);
    *damaged = rc == MB_FORMAT || rc == MB_NOTFOUND || rc == MB_IO;
    if (rc == MB_OK && *s->fingerprint && strcmp(state.fingerprint, s->fingerprint) != 0)
        return differs(path, state.fingerprint, s->fingerprint, e);
    if (rc == MB_OK)
        rc = read_one(path, g, o, e);
    if (rc != MB_OK)
        return rc;
    *s = state;
    *mb_optimizer_steps(o) = updates;
    return MB_OK;
}

int mb_checkpoint_resume(const char *dir, mb_gradient *g, mb_optimizer *o, mb_train_state *s, int *found, mb_err *e) {
    steps all;
    mb_err first = {0};
    int i, damaged = 1, rc = list_steps(dir, &all, e);
    *found = 0;
    for (i = 0; i < all.n && rc == MB_OK && !*found; i++) {
        mb_err why = {0};
        char *path = mb_checkpoint_path(dir, all.at[i]);
        rc = path ? try_one(path, all.at[i], g, o, s, &damaged, &why) : mb_fail(&why, MB_NOMEM, "no memory");
        *found = rc == MB_OK;
        if (rc != MB_OK && path && damaged) {
            mb_warn("%s is passed over: %s", path, why.text);
            first = first.status == MB_OK ? why : first;
            rc = MB_OK;
        } else if (rc != MB_OK) {
            rc = mb_fail(e, rc, "%s", why.text);
        }
        mb_free(path);
    }
    for (int k = 0; k < i - 1 && rc == MB_OK && *found; k++)
        rc = set_aside(dir, all.at[k], e);
    if (rc == MB_OK && all.n > 0 && !*found)
        rc = mb_fail(e, MB_FORMAT, "%s: no checkpoint is whole; the newest: %s", dir, first.text);
    mb_free(all.at);
    return rc;
}
