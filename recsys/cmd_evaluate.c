/* recmamba evaluate: a model and the floors it is held against, side by side. This file: options, what is judged, where
 * the figures go. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_guard.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/page.h"
#include "core/result.h"
#include "recsys/commands.h"
#include "recsys/floors.h"
#include "recsys/judged.h"
#include "recsys/load.h"
#include "recsys/model.h"

typedef struct evaluate_values {
    rec_load_options load;
    rec_split_options split;
    char *model, *output, *ranks, *report, *k, *metrics, *floors, *candidates;
    int64_t min_history, resamples, window, knn_k, knn_window, score_memory;
    double level, knn_half;
    int part, ask, as, mean, recbole_round, precision;
} evaluate_values;

#define V evaluate_values
#define OPTION(KEY, TYPE, ...)                                                                                         \
    { .key = #KEY, .type = MB_OPT_##TYPE, .offset = offsetof(V, KEY), __VA_ARGS__ }
static const mb_option OPTIONS[] = {
    OPTION(model, STRING, .letter = 'm', .meta = "MODEL",
           .help = "Folder that recmamba train made. Unset: the floors alone."),
    OPTION(part, CHOICE, .def = "test", .choices = REC_PART_CHOICES, .help = "Which held-out events are asked for."),
    OPTION(k, STRING, .letter = 'k', .def = "1,5,10,20", .meta = "LIST", .help = "The K of @K, one or several."),
    OPTION(metrics, STRING, .def = "hr,ndcg,mrr", .meta = "LIST",
           .help = "Which to show in text and page: hr, recall, precision, ndcg, mrr, map. TSV and JSON hold all."),
    OPTION(floors, STRING, .def = "pop,markov,knn", .meta = "LIST",
           .help = "What counting alone achieves, from the training events: pop, markov, knn, or none."),
    OPTION(candidates, STRING, .def = "full", .meta = "full|uniN|popN",
           .help = "What a target is ranked among: all items; or itself and N items drawn by --seed, uniformly or by "
                   "popularity (as uni1000), for comparison with papers that did so. Such figures are higher, and may "
                   "put scorers in another order."),
    OPTION(ask, CHOICE, .def = "events", .choices = REC_ASK_CHOICES,
           .help = "events: one query an event, with all before it as history. sets: one query a user, with all before "
                   "the part as history and the different items of the part as targets."),
    OPTION(mean, CHOICE, .def = "users", .choices = "users|queries",
           .help = "Users with many held-out events count once, or as often as they have queries."),
    OPTION(min_history, INT, .def = "1", .max = 1e9, .meta = "N",
           .help = "Queries with fewer events before them are not asked, but counted."),
    OPTION(resamples, INT, .def = "1000", .max = 1e6, .meta = "N", .help = "Of the bootstrap over users; 0: none."),
    OPTION(level, FLOAT, .def = "0.95", .min = 0.01, .max = 0.9999, .meta = "P", .help = "Of the intervals."),
    OPTION(recbole_round, BOOL, .def = "false",
           .help = "Round figures to 4 decimals as RecBole does, for comparing files of numbers."),
    OPTION(output, STRING, .letter = 'o', .def = "-", .meta = "FILE",
           .help = "FILE.tsv, FILE.json, or any other name for the text; - is standard output. FILE.run.json says how "
                   "it was made."),
    OPTION(as, CHOICE, .def = "auto", .choices = "auto|text|tsv|json",
           .help = "Form of the output; auto: by its name."),
    OPTION(ranks, STRING, .meta = "FILE", .help = "Also write the rank of every target by every scorer, as TSV."),
    MB_REPORT_OPTION(V),
    OPTION(window, INT, .def = "0", .max = 1e12, .meta = "N",
           .help = "The model sees the latest N events of a history; 0: as many as it was trained with."),
    OPTION(precision, CHOICE, .def = "fp32", .choices = "fp32|bf16", .help = "Of inputs in matrix products."),
    OPTION(score_memory, BYTES, .def = "64M", .min = 1, .max = -1, .meta = "BYTES",
           .help = "For scores: decides how many queries are scored at a time, not what comes out."),
    OPTION(knn_k, INT, .def = "100", .min = 1, .max = 100000, .meta = "N", .help = "Neighbours kept of each item."),
    OPTION(knn_half, FLOAT, .def = "1", .max = 1e9, .meta = "N",
           .help =
               "An item of the history weighs half of one N items later; 0: all weigh the same (RecBole's ItemKNN)."),
    OPTION(knn_window, INT, .def = "1000", .min = 1, .max = 1e9, .meta = "N",
           .help = "Of each user only the latest N different items count."),
    REC_SPLIT_OPTIONS(V, split),
    REC_LOAD_OPTIONS(V, load),
    {0}};
#undef OPTION
#undef V

static const char DETAILS[] =
    "Ranks the held-out events of a log by a model and by three floors that only count: popularity, first-order Markov "
    "chain, nearest neighbours among items. All are judged on the same queries, in two ways from one pass: with all "
    "items as candidates (RecBole's sequential protocol), and without the items of the history (\"unseen\", as SASRec+ "
    "and gSASRec report). The two are different scales: compare like with like.\n"
    "\n"
    "Ranks are exact: position in the order of scores, of equal scores the item of the lower number first; no "
    "sampling unless asked for. Brackets are bootstrap intervals over users; the last column is the model less the "
    "best floor of that line, with a paired interval. Coverage@K is the share of items that were among the first K of "
    "some query. The same numbers to the bit for any --threads, --memory and --score-memory.\n"
    "\n"
    "What was tested is named by the fingerprint of the split and the order of the events (--time-sort, --ties): "
    "figures of other fingerprints are figures of other data sets, even under the same name. A model that was trained by "
    "another split is judged, but a warning says so: it may have learned what is tested.\n"
    "\n"
    "The floors, with numbers of training events only: pop ranks by popularity, equals by identifier. markov ranks what "
    "most often came right after the last item of the history, then by popularity. knn sums the cosines (items as sets "
    "of users) of the --knn-k nearest neighbours of the history's items, recent items weighing more (--knn-half).\n"
    "\n"
    "  recmamba evaluate recsys/data/ml-latest-small.csv.gz --min-user 5 --min-item 5\n"
    "  recmamba evaluate recsys/data/ml-latest-small.csv.gz --floors pop,markov --time-sort recbole_f32 -k 10 -o "
    "build/floors.json --ranks build/ranks.tsv\n"
    "  recmamba evaluate recsys/data/ml-latest-small.csv.gz --split time --test-from 2017-01-01 --ask sets --metrics "
    "recall,ndcg,map --report build/floors.html";

typedef struct job {
    mb_run *run;
    const evaluate_values *v;
    rec_log *log;
    rec_split split;
    rec_evaluate_options o;
    int k[REC_EVALUATE_KS];
    int floor[REC_FLOORS], n_floors;
    rec_model *model;
    rec_log_scorer *scorer;
    rec_judgement found;
    int as; /* 1 text, 2 TSV, 3 JSON, as --as */
} job;

/* ---- lists of the command line ----------------------------------------------------------------------------------- */

/* Each word of a list with commas; take says whether it is good. */
static int each_word(const char *option, const char *list, int (*take)(job *j, const char *word, int n, mb_err *e),
                     job *j, mb_err *e) {
    int rc = MB_OK;
    for (const char *at = list, *end; rc == MB_OK && at; at = *end ? end + 1 : NULL) {
        end = at + strcspn(at, ",");
        rc = end == at ? mb_fail(e, MB_USAGE, "%s %s: a word is empty", option, list) : take(j, at, (int)(end - at), e);
    }
    return rc;
}

static int take_k(job *j, const char *word, int n, mb_err *e) {
    char *end;
    errno = 0;
    const long k = strtol(word, &end, 10);
    if (end != word + n || errno || k < 1 || k > INT32_MAX || word[0] < '0' || word[0] > '9')
        return mb_fail(e, MB_USAGE, "--k %s: '%.*s' is not a whole number from 1 on", j->v->k, n, word);
    if (j->o.n_k == REC_EVALUATE_KS)
        return mb_fail(e, MB_USAGE, "--k %s: more than %d values", j->v->k, REC_EVALUATE_KS);
    int at = j->o.n_k;
    for (; at > 0 && j->k[at - 1] >= k; at--)
        if (j->k[at - 1] == k)
            return mb_fail(e, MB_USAGE, "--k %s: %ld is there twice", j->v->k, k);
    memmove(j->k + at + 1, j->k + at, (size_t)(j->o.n_k - at) * sizeof *j->k);
    j->k[at] = (int)k;
    j->o.n_k++;
    return MB_OK;
}

static int take_metric(job *j, const char *word, int n, mb_err *e) {
    const int m = rec_metric_find(word, n);
    if (m < 0)
        return mb_fail(e, MB_USAGE, "--metrics: there is no '%.*s'; expected hr, recall, precision, ndcg, mrr, map", n,
                       word);
    for (int i = 0; i < j->found.n_metrics; i++)
        if (j->found.metric[i] == m)
            return mb_fail(e, MB_USAGE, "--metrics: %.*s is there twice", n, word);
    j->found.metric[j->found.n_metrics++] = m;
    return MB_OK;
}

static int take_floor(job *j, const char *word, int n, mb_err *e) {
    const int f = rec_floor_find(word, n);
    if (f < 0)
        return mb_fail(e, MB_USAGE, "--floors: there is no '%.*s'; expected pop, markov, knn, or none alone", n, word);
    for (int i = 0; i < j->n_floors; i++)
        if (j->floor[i] == f)
            return mb_fail(e, MB_USAGE, "--floors: %.*s is there twice", n, word);
    j->floor[j->n_floors++] = f;
    return MB_OK;
}

static int read_candidates(job *j, mb_err *e) {
    const char *word = j->v->candidates;
    char *end;
    if (strcmp(word, "full") == 0)
        return MB_OK;
    const int uniform = strncmp(word, "uni", 3) == 0;
    errno = 0;
    const long n = uniform || strncmp(word, "pop", 3) == 0 ? strtol(word + 3, &end, 10) : 0;
    if (n < 1 || n > INT32_MAX / 2 || errno || *end || word[3] < '0' || word[3] > '9')
        return mb_fail(e, MB_USAGE, "--candidates %s: expected full, uniN or popN, such as uni1000", word);
    j->o.candidates = uniform ? REC_CANDIDATES_UNIFORM : REC_CANDIDATES_POPULAR;
    j->o.negatives = (int32_t)n;
    return MB_OK;
}

static int read_lists(job *j, mb_err *e) {
    const evaluate_values *v = j->v;
    if (!v->k || !v->metrics || !v->floors || !v->candidates || !v->output)
        return mb_fail(e, MB_USAGE, "--k, --metrics, --floors, --candidates and --output cannot be null");
    int rc = each_word("--k", v->k, take_k, j, e);
    if (rc == MB_OK)
        rc = each_word("--metrics", v->metrics, take_metric, j, e);
    if (rc == MB_OK && strcmp(v->floors, "none") != 0)
        rc = each_word("--floors", v->floors, take_floor, j, e);
    if (rc == MB_OK)
        rc = read_candidates(j, e);
    if (rc == MB_OK && !v->model && j->n_floors == 0)
        rc = mb_fail(e, MB_USAGE, "nothing to judge: --floors none, and no -m MODEL");
    return rc;
}

static void say_candidates(job *j) {
    const int uniform = j->o.candidates == REC_CANDIDATES_UNIFORM;
    if (j->o.candidates == REC_CANDIDATES_FULL)
        snprintf(j->found.candidates, sizeof j->found.candidates, "full: all %d items", rec_log_view(j->log)->n_items);
    else
        snprintf(j->found.candidates, sizeof j->found.candidates, "%s%d: the targets and %d items drawn %s",
                 uniform ? "uni" : "pop", j->o.negatives, j->o.negatives, uniform ? "uniformly" : "by popularity");
}

/* ---- what is judged ---------------------------------------------------------------------------------------------- */

static int set_up(job *j, mb_run *run, mb_err *e) {
    evaluate_values *v = run->values;
    *j = (job){.run = run, .v = v};
    int rc = read_lists(j, e);
    if (rc != MB_OK)
        return rc;
    j->as = v->as ? v->as : mb_path_ends_with(v->output, ".tsv") ? 2 : mb_path_ends_with(v->output, ".json") ? 3 : 1;
    j->o.part = (rec_part)v->part;
    j->o.ask = (rec_ask)v->ask;
    j->o.k = j->k;
    j->o.over_queries = v->mean;
    j->o.min_history = v->min_history;
    j->o.seed = (uint64_t)run->globals.seed;
    j->o.resamples = (int)v->resamples;
    j->o.level = v->level;
    j->o.coverage = 1;
    j->o.round4 = v->recbole_round;
    j->o.keep = 1;
    j->o.threads = (int)run->globals.threads;
    j->o.memory = v->score_memory;
    j->o.stop = mb_cli_stop();
    rec_load_prepare(&v->load, run);
    rc = rec_log_load(&j->log, run->args, run->nargs, &v->load, e);
    if (rc == MB_OK)
        rc = rec_split_make(&j->split, j->log, &v->split, v->load.time_scale, e);
    if (rc == MB_OK && (v->part == REC_PART_VALID ? j->split.valid : j->split.test) == 0)
        rc = mb_fail(e, MB_FORMAT, "%s: the split has no %s events", run->args[0],
                     v->part == REC_PART_VALID ? "validation" : "test");
    return rc;
}

/* Where the training kept its record: the fingerprint of the split it learned by, empty when that is not known. */
static int read_training_split(job *j, mb_err *e) {
    static const mb_json_limits limits = {.depth = 20, .parts = 100000};
    char *path = mb_path_join(j->v->model, "run.json"), *text = NULL;
    size_t n = 0;
    json_t *record = NULL;
    int rc = path ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a path");
    mb_json_use_heap();
    if (rc == MB_OK && mb_file_exists(path)) {
        rc = mb_file_read_all(path, (size_t)16 << 20, &text, &n, e);
        if (rc == MB_OK)
            rc = mb_json_parse(&record, text, n, &limits, 0, path, 0, e);
        const char *split = json_string_value(json_object_get(json_object_get(record, "notes"), "split"));
        if (split && strlen(split) == sizeof j->found.trained - 1)
            memcpy(j->found.trained, split, sizeof j->found.trained);
    }
    json_decref(record);
    mb_free(text);
    mb_free(path);
    if (rc == MB_OK && !j->found.trained[0])
        mb_warn("%s: does not say by what split it was trained, so it may know what is tested here", j->v->model);
    else if (rc == MB_OK && strcmp(j->found.trained, j->split.fingerprint) != 0)
        mb_warn("%s: was trained by another split (%.12s...) than is tested here (%.12s...): it may know the answers",
                j->v->model, j->found.trained, j->split.fingerprint);
    return rc;
}

static int open_model(job *j, mb_err *e) {
    const evaluate_values *v = j->v;
    const rec_model_options o = {.device = j->run->globals.device,
                                 .precision = (mbk_precision)v->precision,
                                 .threads = (int)j->run->globals.threads,
                                 .memory = j->run->globals.memory,
                                 .window = v->window};
    if (!v->model)
        return MB_OK;
    int rc = rec_model_open(&j->model, v->model, &o, e);
    if (rc == MB_OK)
        rc = rec_log_scorer_create(&j->scorer, j->model, j->log, e);
    if (rc == MB_OK)
        rc = read_training_split(j, e);
    if (rc != MB_OK)
        return rc;
    j->found.unknown = rec_log_scorer_unknown(j->scorer);
    if (j->found.unknown > 0)
        mb_warn("%s: does not know %d of the %d items; they are never recommended, and count as missed", v->model,
                j->found.unknown, rec_log_view(j->log)->n_items);
    return MB_OK;
}

static int judge(job *j, const rec_scorer *s, double building, mb_err *e) {
    rec_judged *to = &j->found.of[j->found.n++];
    char what[64];
    const int64_t events = j->o.part == REC_PART_VALID ? j->split.valid : j->split.test;
    snprintf(what, sizeof what, "%s", s->name);
    to->name = s->name;
    to->building = building;
    j->o.progress = mb_progress_start(what, "queries", j->o.ask == REC_ASK_SETS ? 0 : (double)events);
    const int rc = rec_evaluate(&to->e, j->log, &j->split, s, &j->o, e);
    mb_progress_finish(j->o.progress);
    j->o.progress = NULL;
    return rc;
}

static int judge_floor(job *j, int kind, mb_err *e) {
    const rec_floor_options o = {.threads = (int)j->run->globals.threads,
                                 .k = (int)j->v->knn_k,
                                 .half = j->v->knn_half > 0 ? j->v->knn_half : INFINITY,
                                 .window = j->v->knn_window,
                                 .stop = mb_cli_stop()};
    rec_floor *f = NULL;
    const double start = mb_clock_seconds();
    int rc = rec_floor_create(&f, (rec_floor_kind)kind, j->log, &j->split, &o, e);
    if (rc == MB_OK) {
        const rec_scorer s = rec_floor_scorer(f);
        rc = judge(j, &s, mb_clock_seconds() - start, e);
    }
    rec_floor_destroy(f);
    return rc;
}

static int judge_all(job *j, mb_err *e) {
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < j->n_floors; i++)
        rc = judge_floor(j, j->floor[i], e);
    j->found.n_floors = j->found.n;
    if (rc == MB_OK && j->scorer) {
        const rec_scorer s = rec_log_scorer_get(j->scorer);
        rc = judge(j, &s, 0, e);
    }
    return rc == MB_OK ? rec_judgement_compare(&j->found, e) : rc;
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

static int check_outputs(const job *j, mb_err *e) {
    const char *const path[] = {j->v->output, j->v->ranks, j->v->report};
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < 3; i++) {
        if (path[i])
            rc = rec_check_output(path[i], j->run->args, j->run->nargs, &j->v->load, e);
        for (int k = 0; rc == MB_OK && path[i] && k < i; k++)
            if (path[k] && strcmp(path[i], path[k]) == 0)
                rc = mb_fail(e, MB_USAGE, "%s: is the name of two outputs", path[i]);
    }
    return rc;
}

/* Times are of the run, not of its result, which stays the same to the byte. */
static int note_times(const job *j, mb_provenance *p) {
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < j->found.n; i++) {
        const rec_judged *s = &j->found.of[i];
        const double seconds[] = {s->building, s->e.scoring, s->e.seconds};
        static const char *const WHAT[] = {"building", "scoring", "scoring_and_ranking"};
        for (int k = 0; rc == MB_OK && k < 3; k++) {
            char key[96];
            snprintf(key, sizeof key, "seconds_%s_%s", WHAT[k], s->name);
            rc = mb_provenance_number(p, key, seconds[k]);
        }
    }
    return rc;
}

static int fill_provenance(const job *j, mb_provenance *p, mb_err *e) {
    int rc = rec_note_inputs(p, j->run->args, j->run->nargs, &j->v->load, e);
    if (rc == MB_OK && j->v->model) {
        char *weights = mb_path_join(j->v->model, "model.safetensors");
        rc = weights ? mb_provenance_file(p, "model", weights, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
        mb_free(weights);
    }
    if (rc == MB_OK &&
        (mb_provenance_note(p, "fingerprint", j->split.fingerprint) != MB_OK ||
         mb_provenance_note(p, "recipe", rec_log_recipe(j->log)) != MB_OK ||
         mb_provenance_note(p, "items_digest", rec_log_items_digest(j->log)) != MB_OK || note_times(j, p) != MB_OK))
        rc = mb_fail(e, MB_NOMEM, "no memory for the record of the run");
    return rc;
}

static int write_all(job *j, mb_provenance *p, mb_out **out, mb_err *e) {
    static int (*const WRITE[])(const rec_judgement *j, mb_out *out,
                                mb_err *e) = {NULL, rec_judgement_text, rec_judgement_tsv, rec_judgement_json};
    int rc = WRITE[j->as](&j->found, out[0], e);
    if (rc == MB_OK && j->v->ranks)
        rc = rec_judgement_ranks(&j->found, out[1], e);
    if (rc == MB_OK)
        rc = fill_provenance(j, p, e);
    return rc == MB_OK && j->v->report ? rec_judgement_page(&j->found, p, j->v->report, e) : rc;
}

static int compute(job *j, mb_err *e) {
    mb_provenance *p = NULL;
    mb_out *out[2] = {NULL, NULL};
    int rc = mb_provenance_start(&p, j->run, e);
    if (rc == MB_OK)
        rc = mb_out_create(&out[0], j->v->output, e);
    if (rc == MB_OK && j->v->ranks)
        rc = mb_out_create(&out[1], j->v->ranks, e);
    if (rc == MB_OK)
        rc = judge_all(j, e);
    if (rc == MB_OK)
        rc = write_all(j, p, out, e);
    rc = mb_result_commit(j->v->output, out, 2, p, rc, e);
    mb_provenance_free(p);
    return rc;
}

static void print_plan(const job *j) {
    const rec_view *v = rec_log_view(j->log);
    printf("log          %d users, %d items, %" PRId64 " events\nfingerprint  %s\nheld out     %" PRId64
           " events\ncandidates   %s\nscorers      %d floors%s\n",
           v->n_users, v->n_items, v->n_events, j->split.fingerprint,
           j->o.part == REC_PART_VALID ? j->split.valid : j->split.test, j->found.candidates, j->n_floors,
           j->model ? " and a model" : "");
}

static int run_evaluate(mb_run *run, mb_err *e) {
    job j;
    int rc = set_up(&j, run, e);
    if (rc == MB_OK)
        rc = check_outputs(&j, e);
    if (rc == MB_OK)
        rc = open_model(&j, e);
    if (rc == MB_OK) {
        j.found.log = j.log;
        j.found.split = &j.split;
        j.found.o = &j.o;
        j.found.input = run->args[0];
        j.found.model = j.v->model;
        say_candidates(&j);
        if (run->globals.dry_run)
            print_plan(&j);
        else
            rc = compute(&j, e);
    }
    for (int i = 0; i < j.found.n; i++)
        rec_evaluation_fini(&j.found.of[i].e);
    mb_free(j.found.over);
    mb_free(j.found.best);
    rec_log_scorer_destroy(j.scorer);
    rec_model_close(j.model);
    rec_split_free(&j.split);
    rec_log_close(j.log);
    return rc;
}

const mb_verb rec_evaluate_verb = {.name = "evaluate",
                                   .summary = "a model and the floors of counting on held-out events, side by side",
                                   .usage = "LOG... [-m MODEL] [-k LIST] [-o FILE] [options]",
                                   .details = DETAILS,
                                   .options = OPTIONS,
                                   .values_size = sizeof(evaluate_values),
                                   .min_args = 1,
                                   .max_args = -1,
                                   .run = run_evaluate};
