/* dna-mamba train: pre-training on genomes. This file: the order of the work, what is checked before it begins, what is
 * written after it. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/model.h"
#include "core/provenance.h"
#include "genomics/commands.h"
#include "genomics/presets.h"
#include "genomics/pretrain.h"
#include "genomics/train_page.h"
#include "genomics/train_values.h"

typedef struct job {
    mb_run *run;
    const dna_train_values *v;
    mb_config *config;
    mb_params *params; /* until the gradient takes them over */
    dna_alphabet alphabet;
    dna_corpus corpus;
    dna_splits splits;
    dna_masking masking;
    dna_windows *windows;
    dna_grid grid;
    mb_gradient *g;
    mb_optimizer *optimizer;
    dna_pretrain task;
    char fingerprint[65];
    char *weights; /* file that training began with, or NULL */
} job;

/* ---- what is trained ------------------------------------------------------------------------------------------------
 */

static int ends_with(const char *s, const char *end) {
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static int draw_model(job *j, mb_err *e) {
    return mb_params_seed(&j->params, j->config, (uint64_t)j->run->globals.seed, e);
}

static int load_model(job *j, mb_err *e) {
    mb_model *m = NULL;
    int rc = mb_model_open(&m, j->v->model, NULL, e);
    if (rc == MB_OK) {
        *j->config = *mb_model_config(m);
        rc = mb_params_clone(&j->params, j->config, mb_model_params(m), e);
    }
    if (rc == MB_OK && !(j->weights = mb_strdup(mb_model_weights_path(m))))
        rc = mb_fail(e, MB_NOMEM, "no memory for a path");
    mb_model_destroy(m);
    return rc;
}

static int take_model(job *j, mb_err *e) {
    int rc = MB_OK;
    j->config = mb_calloc(1, sizeof *j->config);
    if (!j->config)
        return mb_fail(e, MB_NOMEM, "no memory for a configuration");
    if (dna_preset_is(j->v->model)) {
        rc = dna_preset_config(j->config, j->v->model, e);
        return rc == MB_OK ? draw_model(j, e) : rc;
    }
    if (ends_with(j->v->model, ".json")) {
        rc = mb_config_read(j->config, j->v->model, e);
        return rc == MB_OK ? draw_model(j, e) : rc;
    }
    rc = load_model(j, e);
    return rc == MB_NOTFOUND
               ? mb_err_context(e, "--model is no preset (%s), no config.json and no model", dna_preset_list())
               : rc;
}

static int check_objective(const job *j, mb_err *e) {
    const mb_config *c = j->config;
    const int causal = c->mixer == MB_MIXER_MAMBA1 && !c->rcps;
    if (!c->has_head)
        return mb_fail(e, MB_NOTSUP, "%s has no language-model head to train", j->v->model);
    if (j->v->objective == DNA_CAUSAL && !causal)
        return mb_fail(e, MB_USAGE, "--objective causal: %s sees both sides of each base; use mlm", j->v->model);
    if (j->v->chain > 1 && !causal)
        return mb_fail(e, MB_USAGE, "--chain: only models that run from left to right carry a state; %s does not",
                       j->v->model);
    if (j->v->chain > 1 && j->v->micro_batches > 1)
        return mb_fail(e, MB_USAGE, "--chain needs --micro-batches 1: take fewer or shorter windows to save memory");
    if (j->v->objective == DNA_MLM && c->mixer == MB_MIXER_MAMBA1)
        mb_warn("%s runs from left to right: with mlm it sees only what is left of a masked base", j->v->model);
    return MB_OK;
}

/* ---- data -----------------------------------------------------------------------------------------------------------
 */

static int load_corpus(job *j, mb_err *e) {
    const dna_train_values *v = j->v;
    const dna_policies policies = {
        .alphabet = v->alphabet, .n_as = v->n_as, .ambiguous = v->ambiguous, .gaps = v->gaps};
    const dna_corpus_options o = {.inputs = j->run->args,
                                  .n_inputs = j->run->nargs,
                                  .reader = {.duplicates = v->duplicates, .empty = DNA_EMPTY_SKIP},
                                  .memory = j->run->globals.memory};
    int rc = dna_alphabet_init(&j->alphabet, j->config, &policies, e);
    return rc == MB_OK ? dna_corpus_load(&j->corpus, &o, &j->alphabet, e) : rc;
}

static int make_windows(job *j, mb_err *e) {
    const dna_train_values *v = j->v;
    const int64_t least = v->min_window > 0 && v->min_window < v->window ? v->min_window : v->window;
    const uint64_t seed = (uint64_t)j->run->globals.seed;
    const dna_splits_options splits = {.bed = v->splits,
                                       .seed = seed,
                                       .block = v->block,
                                       .valid = v->valid,
                                       .test = v->test,
                                       .least = least,
                                       .valid_optional = v->valid == 0 && !v->splits};
    const dna_windows_options windows = {.seed = seed,
                                         .length = v->window,
                                         .min_length = v->min_window,
                                         .batch_windows = v->batch_windows,
                                         .batch_tokens = v->batch_tokens,
                                         .chain = v->chain,
                                         .reverse = v->reverse >= 0   ? v->reverse
                                                    : j->config->rcps ? 0
                                                                      : 0.5,
                                         .most_n = v->most_n,
                                         .tries = (int)v->tries,
                                         .alpha = v->alpha};
    j->masking = (dna_masking){.objective = v->objective,
                               .rate = v->mask_rate,
                               .masked = v->mask_shown,
                               .random = v->mask_random,
                               .replacement = v->replacement,
                               .soft_weight = (float)v->soft_weight,
                               .alphabet = &j->alphabet};
    if (v->min_window > v->window)
        return mb_fail(e, MB_USAGE, "--min-window %" PRId64 " is more than --window %" PRId64, v->min_window,
                       v->window);
    if (v->schedule != MB_SCHEDULE_CONSTANT && v->rate_least > v->rate)
        return mb_fail(e, MB_USAGE, "--rate-least %g is more than --rate %g: the rate would rise", v->rate_least,
                       v->rate);
    if (v->patience > 0 && (v->evaluate_every == 0 || (v->valid == 0 && !v->splits)))
        return mb_fail(e, MB_USAGE, "--patience %" PRId64 " needs evaluations on the way: --evaluate-every and --valid",
                       v->patience);
    if (v->schedule == MB_SCHEDULE_WSD && v->warmup + v->decay_share > 1)
        return mb_fail(e, MB_USAGE, "--warmup %g and --decay-share %g are more than the whole run", v->warmup,
                       v->decay_share);
    int rc = dna_masking_check(&j->masking, e);
    if (rc == MB_OK)
        rc = dna_splits_make(&j->splits, &j->corpus, &splits, e);
    if (rc == MB_OK)
        rc = dna_windows_create(&j->windows, &j->corpus, &j->splits.part[DNA_SPLIT_TRAIN], &j->masking, &windows, e);
    if (rc == MB_OK && j->splits.part[DNA_SPLIT_VALID].n > 0)
        rc = dna_grid_make(&j->grid, &j->corpus, &j->splits.part[DNA_SPLIT_VALID], v->window, least,
                           v->evaluation_windows, v->most_n, e);
    return rc;
}

/* ---- the machinery --------------------------------------------------------------------------------------------------
 */

static int make_trainer(job *j, mb_err *e) {
    const dna_train_values *v = j->v;
    const int threads = (int)j->run->globals.threads;
    const mb_model_options mo = {.device = j->run->globals.device, .precision = (mbk_precision)v->precision};
    /* weights, as kernels want them forth and back; gradients; moments and average */
    const int64_t copies = 6 + (v->average > 0), weights = mb_params_count(j->config) * (int64_t)sizeof(float);
    const int64_t left = j->run->globals.memory - dna_corpus_bytes(&j->corpus) - copies * weights;
    const mb_gradient_options go = {.threads = threads, .memory = left > 1 ? left : 1};
    mb_params *params = j->params;
    j->params = NULL;
    int rc = mb_gradient_create(&j->g, j->config, params, &mo, &go, e);
    if (rc == MB_OK) {
        const mb_optimizer_options oo = {.b1 = v->beta1,
                                         .b2 = v->beta2,
                                         .eps = v->epsilon,
                                         .decay = v->weight_decay,
                                         .clip = v->clip,
                                         .average = v->average,
                                         .threads = threads};
        rc = mb_optimizer_of_model(&j->optimizer, j->g, v->norms_decay, &oo, e);
    }
    j->task = (dna_pretrain){.g = j->g,
                             .corpus = &j->corpus,
                             .windows = j->windows,
                             .grid = j->grid.n > 0 ? &j->grid : NULL,
                             .masking = &j->masking,
                             .seed = (uint64_t)j->run->globals.seed,
                             .carries = v->chain > 1,
                             .micro_batches = (int)v->micro_batches,
                             .held_out_tokens = 32768};
    return rc == MB_OK ? dna_pretrain_init(&j->task, e) : rc;
}

/* All that decides the numbers, and nothing else: not the threads, the folder, or how often something is printed. */
static int take_fingerprint(job *j, mb_err *e) {
    const dna_train_values *v = j->v;
    char digest[65] = "", config[65];
    int rc = j->weights ? mb_file_sha256(j->weights, digest, e) : MB_OK;
    if (rc != MB_OK)
        return rc;
    mb_sha256_hex(j->config, sizeof *j->config, config); /* numbers of four bytes, without gaps */
    char *text =
        mb_asprintf("2 model %s %s seed %" PRId64 " corpus %" PRIu32 " %" PRId64 " splits %" PRIu32 " window %" PRId64
                    " %" PRId64 " batch %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " draw %.17g %.17g %.17g %" PRId64
                    " mask %d %.17g %.17g %.17g %d %.17g steps %" PRId64 " rate %.17g %.17g %.17g %.17g %.17g %d "
                    "adam %.17g %.17g %.17g %.17g %d %.17g %.17g precision %d device %s evaluation %" PRId64 " %" PRId64
                    " %" PRId64,
                    config, digest, j->run->globals.seed, j->corpus.crc, j->corpus.n, j->splits.crc, v->window,
                    v->min_window, v->batch_tokens, v->batch_windows, v->micro_batches, v->chain, v->alpha, v->reverse,
                    v->most_n, v->tries, v->objective, v->mask_rate, v->mask_shown, v->mask_random, v->replacement,
                    v->soft_weight, v->steps, v->rate, v->rate_least, v->rate_start, v->warmup, v->decay_share,
                    v->schedule, v->beta1, v->beta2, v->epsilon, v->weight_decay, v->norms_decay, v->clip, v->average,
                    v->precision, j->run->globals.device, v->evaluate_every, v->evaluation_windows, v->patience);
    if (!text)
        return mb_fail(e, MB_NOMEM, "no memory for the digest of the settings");
    mb_sha256_hex(text, strlen(text), j->fingerprint);
    mb_free(text);
    return MB_OK;
}

static mb_train_options train_options(const job *j) {
    const dna_train_values *v = j->v;
    return (mb_train_options){.dir = v->output,
                              .schedule = {.kind = v->schedule,
                                           .peak = v->rate,
                                           .least = v->rate_least,
                                           .start = v->rate_start,
                                           .warmup = (int64_t)llround(v->warmup * (double)v->steps),
                                           .decay = (int64_t)llround(v->decay_share * (double)v->steps),
                                           .steps = v->steps},
                              .micro_batches = (int)v->micro_batches,
                              .log_every = v->log_every,
                              .evaluate_every = v->evaluate_every,
                              .save_every = v->save_every,
                              .keep = (int)v->keep,
                              .patience = v->patience,
                              .stop_loss = v->stop_loss,
                              .max_seconds = 60 * v->max_minutes,
                              .resume = v->resume == 0,
                              .tensorboard = v->tensorboard,
                              .fingerprint = j->fingerprint,
                              .stop = mb_cli_stop()};
}

/* ---- what is said and written ---------------------------------------------------------------------------------------
 */

/* What the first part of the first step takes; warns when that is more than --memory leaves. */
static int plan_first(const job *j, mb_gradient_plan *plan, mb_err *e) {
    char has[32], needs[32], corpus[32];
    int first, n = dna_pretrain_micro(&j->task, 0, 0, &first);
    int64_t *length = mb_calloc((size_t)n + 1, sizeof *length);
    if (!length)
        return mb_fail(e, MB_NOMEM, "no memory for a plan");
    for (int i = 0; i < n; i++)
        length[i] = dna_windows_draw(j->windows, 0, first + i).length;
    int rc = mb_gradient_plan_make(j->g, length, n, plan, e);
    mb_free(length);
    const int64_t sequence = dna_corpus_bytes(&j->corpus), memory = j->run->globals.memory;
    if (rc == MB_OK && plan->least > memory - sequence)
        mb_warn("--memory %s is less than the %s of the corpus and the %s that the activations of a step need; that is "
                "taken all the same (more --micro-batches need less)",
                mb_human_bytes((double)memory, has), mb_human_bytes((double)sequence, corpus),
                mb_human_bytes((double)plan->least, needs));
    return rc;
}

static int print_plan(const job *j, mb_err *e) {
    char a[32], b[32], c[32], d[32];
    mb_gradient_plan plan;
    int rc = plan_first(j, &plan, e);
    if (rc != MB_OK)
        return rc;
    printf("model        %s, %lld parameters\n", j->v->model, (long long)mb_params_count(j->config));
    printf("corpus       %s bases in %d files, %s\n", mb_human_count((double)j->corpus.n, a), j->corpus.files,
           mb_human_bytes((double)dna_corpus_bytes(&j->corpus), b));
    for (int i = 0; i < DNA_SPLITS; i++)
        printf("%-12s %s bases in %lld stretches\n", dna_split_names[i],
               mb_human_count((double)j->splits.part[i].bases, a), (long long)j->splits.part[i].n);
    printf("step         %d windows in %lld parts; %lld steps; %lld held-out windows\n",
           dna_windows_count(j->windows, 0), (long long)j->v->micro_batches, (long long)j->v->steps,
           (long long)j->grid.n);
    printf(
        "memory       weights, gradients, optimiser %s; activations %s (at least %s, insides of %d of %d layers kept)"
        "\n",
        mb_human_bytes((double)(mb_optimizer_bytes(j->optimizer) + mb_model_bytes(mb_gradient_model(j->g)) +
                                (size_t)mb_params_count(j->config) * sizeof(float)),
                       b),
        mb_human_bytes((double)plan.bytes, c), mb_human_bytes((double)plan.least, d), plan.kept_layers,
        j->config->n_layer);
    printf("output       %s (dry run: nothing was written)\n", j->v->output);
    return MB_OK;
}

/* What cannot be written in the end is found out in the beginning. */
static int write_config(const job *j, mb_err *e) {
    char *path = mb_path_join(j->v->output, "config.json");
    int rc = path ? mb_config_write(j->config, path, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    mb_free(path);
    return rc;
}

static int write_splits(const job *j, mb_err *e) {
    mb_out *out = NULL;
    char *path = mb_path_join(j->v->output, "splits.bed");
    int rc = path ? mb_out_create(&out, path, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = dna_splits_write(&j->splits, &j->corpus, out, e);
    if (rc == MB_OK)
        rc = mb_out_commit(out, e);
    else
        mb_out_abort(out);
    mb_free(path);
    return rc;
}

static int export_model(job *j, const mb_train_report *r, mb_provenance *p, mb_err *e) {
    char *weights = mb_path_join(j->v->output, "model.safetensors"), *record = mb_path_join(j->v->output, "run.json");
    int rc = weights && record ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = mb_train_take_best(j->g, j->optimizer, j->v->output, r, e);
    if (rc == MB_OK)
        rc = mb_params_save(mb_model_params(mb_gradient_model(j->g)), j->config, weights, e);
    for (int i = 0; rc == MB_OK && i < j->run->nargs; i++)
        if (strcmp(j->run->args[i], "-") != 0)
            rc = mb_provenance_file(p, "input", j->run->args[i], e);
    if (rc == MB_OK && j->v->splits)
        rc = mb_provenance_file(p, "input", j->v->splits, e);
    if (rc == MB_OK && j->weights)
        rc = mb_provenance_file(p, "model", j->weights, e);
    if (rc == MB_OK)
        rc = mb_provenance_file(p, "output", weights, e);
    const double number[] = {(double)r->state.step, (double)r->state.tokens, (double)r->state.best_step, r->state.best,
                             r->state.best / M_LN2};
    static const char *const NAME[] = {"steps", "tokens", "best_step", "best_loss", "best_bits_per_base"};
    const int figures = r->state.best_step >= 0 ? 5 : 2;
    for (int i = 0; rc == MB_OK && i < figures; i++)
        rc = mb_provenance_number(p, NAME[i], number[i]);
    if (rc == MB_OK)
        rc = dna_train_page(j->v->output, figures > 2 ? r->state.best / M_LN2 : NAN, p, e);
    if (rc == MB_OK)
        rc = mb_provenance_write(p, record, e);
    mb_free(weights);
    mb_free(record);
    return rc;
}

static int train(job *j, mb_err *e) {
    mb_provenance *p = NULL;
    mb_train_report report = {0};
    const mb_train_options o = train_options(j);
    const mb_train_task task = dna_pretrain_task(&j->task);
    mb_gradient_plan plan;
    int rc = plan_first(j, &plan, e);
    if (rc == MB_OK)
        rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK && mkdir(j->v->output, 0777) != 0 && errno != EEXIST)
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be made", j->v->output);
    if (rc == MB_OK)
        rc = write_config(j, e);
    if (rc == MB_OK)
        rc = write_splits(j, e);
    if (rc == MB_OK)
        rc = mb_train_run(j->g, j->optimizer, &task, &o, &report, e);
    if (rc == MB_OK)
        rc = export_model(j, &report, p, e);
    if (rc == MB_OK && report.stopped_early)
        mb_info("no better evaluation for %lld times: ended after step %lld", (long long)j->v->patience,
                (long long)report.state.step);
    if (rc == MB_OK && report.state.best_step >= 0)
        mb_info("%s holds the weights of step %lld: held-out loss %.5f, %.4f bits per base", j->v->output,
                (long long)report.state.best_step, report.state.best, report.state.best / M_LN2);
    mb_provenance_free(p);
    return rc;
}

static void fini(job *j) {
    dna_pretrain_fini(&j->task);
    mb_optimizer_destroy(j->optimizer);
    mb_gradient_destroy(j->g);
    mb_params_free(j->params);
    dna_grid_fini(&j->grid);
    dna_windows_destroy(j->windows);
    dna_splits_fini(&j->splits);
    dna_corpus_fini(&j->corpus);
    mb_free(j->weights);
    mb_free(j->config);
}

static int run_train(mb_run *run, mb_err *e) {
    job j = {.run = run, .v = run->values};
    int rc = j.v->output ? MB_OK : mb_fail(e, MB_USAGE, "where to? -o FOLDER");
    if (rc == MB_OK)
        rc = take_model(&j, e);
    if (rc == MB_OK)
        rc = check_objective(&j, e);
    if (rc == MB_OK)
        rc = load_corpus(&j, e);
    if (rc == MB_OK)
        rc = make_windows(&j, e);
    if (rc == MB_OK)
        rc = make_trainer(&j, e);
    if (rc == MB_OK)
        rc = take_fingerprint(&j, e);
    if (rc == MB_OK)
        rc = mb_train_check_folder(j.v->output, j.v->resume == 0, j.fingerprint, e);
    if (rc == MB_OK)
        rc = run->globals.dry_run ? print_plan(&j, e) : train(&j, e);
    fini(&j);
    return rc;
}

const mb_verb dna_train_verb = {.name = "train",
                                .summary = "pre-train a model on genomes, masked or causal",
                                .usage = "FASTA... -o FOLDER [-m PRESET|CONFIG|MODEL] [options]",
                                .details = dna_train_details,
                                .options = dna_train_options,
                                .values_size = sizeof(dna_train_values),
                                .min_args = 1,
                                .max_args = -1,
                                .run = run_train};
