/* dna-mamba info: what a model is, what a run of it takes, and whether its numbers obey the laws (--certify). */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/params_table.h"
#include "genomics/certify.h"
#include "genomics/commands.h"
#include "genomics/estimate.h"
#include "genomics/run_options.h"

typedef struct info_values {
    char *scratch;
    int64_t length;
    double tol;
    int precision, json, certify, alphabet;
} info_values;

#define V info_values
static const mb_option OPTIONS[] = {
    {.key = "length",
     .letter = 'l',
     .type = MB_OPT_INT,
     .offset = offsetof(V, length),
     .def = "131072",
     .min = 1,
     .max = 1e13,
     .meta = "N",
     .help = "Estimate memory and time for one sequence of N bases."},
    {.key = "certify",
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, certify),
     .def = "false",
     .help = "Run random sequences and print how far the model is from being RC-equivariant (where it should be), from "
             "the same bits for any memory budget and number of threads, and from the same numbers with another tile. "
             "Ends with 1 when a law is broken."},
    {.key = "tol",
     .type = MB_OPT_FLOAT,
     .offset = offsetof(V, tol),
     .def = "1e-5",
     .max = 1,
     .meta = "X",
     .help = "--certify: largest difference allowed, relative to the value or the root mean square, whichever is "
             "larger. Laws about bits allow none."},
    {.key = "json", .type = MB_OPT_BOOL, .offset = offsetof(V, json), .def = "false", .help = "Print JSON."},
    DNA_PRECISION_OPTION(V),
    {.key = "alphabet",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(V, alphabet),
     .def = "auto",
     .choices = DNA_ALPHABET_CHOICES,
     .help = "How the model numbers its letters. auto: by its vocabulary."},
    {.key = "scratch",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, scratch),
     .meta = "FOLDER",
     .help = "Where --certify puts its scratch files. Unset: $TMPDIR, or /tmp."},
    {0}};
#undef V

static const char DETAILS[] =
    "Prints what a model is: family, shape, parameters by part, the file it came from with its SHA-256, how it will "
    "be run, and an estimate of memory and time for one sequence, from a short trial on this machine.\n"
    "\n"
    "  dna-mamba info genomics/models/multispecies\n"
    "  dna-mamba info genomics/models/multispecies --length 250M --memory 8G\n"
    "  dna-mamba info genomics/models/multispecies --certify --json";

typedef struct parts { /* distinct parameters; mixers: all of the layers but their norms */
    int64_t embedding, norms, mixers, head;
} parts;

static int count_one(void *user, const mb_param *p) {
    parts *n = user;
    if (p->alias_of >= 0)
        return MB_OK;
    if (strstr(p->name, "norm") || strstr(p->name, "Norm"))
        n->norms += p->count;
    else if (p->layer >= 0)
        n->mixers += p->count;
    else if (strstr(p->name, "lm_head"))
        n->head += p->count;
    else
        n->embedding += p->count;
    return MB_OK;
}

static parts count_parts(const mb_config *c) {
    parts n = {0};
    (void)mb_params_walk(c, count_one, &n);
    return n;
}

typedef struct facts {
    const mb_model *model;
    const mb_config *c;
    const dna_alphabet *alphabet; /* NULL: not of DNA */
    const info_values *v;
    const mb_run *run;
    parts count;
    mb_forward_plan plan;
    double rate;
    int64_t file_bytes;
    int tensors;
    char kind[32], sha256[65];
    certify_report certify;
} facts;

static int look_at_file(facts *f, mb_err *e) {
    const char *path = mb_model_weights_path(f->model);
    struct stat s;
    mb_weights *w = NULL;
    int rc = mb_weights_open(&w, path, e);
    if (!rc) {
        f->tensors = mb_weights_count(w);
        snprintf(f->kind, sizeof f->kind, "%s", mb_weights_kind(w));
    }
    mb_weights_close(w);
    f->file_bytes = stat(path, &s) ? -1 : (int64_t)s.st_size;
    return rc ? rc : mb_file_sha256(path, f->sha256, e);
}

static int estimate(facts *f, mb_err *e) {
    const mb_forward_options o = {
        .threads = (int)f->run->globals.threads, .memory = f->run->globals.memory, .scratch = f->v->scratch};
    int rc = mb_forward_check_memory(f->model, &o, e);
    if (!rc)
        rc = mb_forward_plan_make(f->model, &f->v->length, 1, &o, &f->plan, e);
    return rc ? rc : dna_estimate_rate(f->model, f->alphabet, f->v->length, &o, 2.0, &f->rate, e);
}

static const char *direction_words(const mb_config *c) {
    switch (c->bidirectional) {
    case MB_BIDIR_ADD:
        return c->tied_directions ? "bidirectional, summed, projections shared" : "bidirectional, summed";
    case MB_BIDIR_MULTIPLY:
        return c->tied_directions ? "bidirectional, multiplied, projections shared" : "bidirectional, multiplied";
    default:
        return "left to right";
    }
}

static const char *strand_words(const mb_config *c) {
    if (!c->rcps)
        return "one strand";
    return c->rcps_strand_swap ? "RC-equivariant, strands swapped in every block as released" : "RC-equivariant";
}

static void print_cost(const facts *f) {
    char s[5][32];
    const double weights = (double)mb_model_bytes(f->model), streams = (double)f->plan.stream_bytes;
    const double workers = (double)f->plan.worker_bytes;
    printf("cost         of %" PRId64 " bases on %d threads: %s at %.3g bp/s,\n", f->v->length,
           (int)f->run->globals.threads, mb_human_seconds((double)f->v->length / f->rate, s[0]), f->rate);
    printf("             %s of memory (weights %s, streams %s, workers %s), %s of scratch\n",
           mb_human_bytes(weights + streams + workers, s[0]), mb_human_bytes(weights, s[1]),
           mb_human_bytes(streams, s[2]), mb_human_bytes(workers, s[3]),
           mb_human_bytes((double)f->plan.scratch_bytes, s[4]));
}

static void print_facts(const facts *f) {
    const mb_config *c = f->c;
    char number[32];
    printf("model        %s\n", mb_model_source(f->model));
    printf("family       %s: %s; %s\n", mb_family_name(c->family), direction_words(c), strand_words(c));
    printf("alphabet     %s\n", f->alphabet ? f->alphabet->name : "none that is known here: not for embed and score");
    printf("shape        d_model %d, layers %d, d_inner %d, d_state %d, conv %d, dt_rank %d, vocabulary %d\n", c->D,
           c->n_layer, c->E, c->N, c->K, c->R, c->V);
    printf("parameters   %" PRId64 ": embedding %" PRId64 ", norms %" PRId64 ", mixers %" PRId64 ", head %" PRId64
           "%s\n",
           mb_model_params(f->model)->count, f->count.embedding, f->count.norms, f->count.mixers, f->count.head,
           !c->has_head   ? " (none)"
           : c->tied_head ? " (the embedding)"
                          : "");
    printf("file         %s: %s, %d tensors, %" PRId64 " bytes\n", mb_model_weights_path(f->model), f->kind, f->tensors,
           f->file_bytes);
    printf("sha256       %s\n", f->sha256);
    printf("runs as      %d %s of %d columns, tiles of %d bases, %d passes, %s on %s (%s)\n",
           mb_model_strands(f->model), mb_model_strands(f->model) == 1 ? "strand" : "strands", c->D,
           mb_model_tile(f->model), f->plan.passes, f->v->precision ? "bf16" : "fp32", mb_model_ops(f->model)->device,
           mb_model_ops(f->model)->isa);
    print_cost(f);
    if (f->v->certify)
        printf("\n%-28s %10s %12s %10s\n", "law", "length", "error", "allowed");
    for (int i = 0; i < f->certify.n; i++) {
        const certify_line *l = &f->certify.line[i];
        printf("%-28s %10" PRId64 " %12.3g %10s%s\n", l->law, l->length, l->error,
               l->exact ? "same bits" : (snprintf(number, sizeof number, "%.3g", l->allowed), number),
               certify_broken(l) ? "  BROKEN" : "");
    }
}

static json_t *certify_json(const certify_report *r) {
    json_t *all = json_array();
    for (int i = 0; i < r->n; i++) {
        const certify_line *l = &r->line[i];
        json_array_append_new(all, json_pack("{s:s, s:I, s:f, s:f, s:b, s:b}", "law", l->law, "length",
                                             (json_int_t)l->length, "error", l->error, "allowed", l->allowed,
                                             "same_bits", !l->bits_differ, "holds", !certify_broken(l)));
    }
    return all;
}

static int print_json(const facts *f, mb_err *e) {
    const mb_config *c = f->c;
    json_t *j = json_pack(
        "{s:s, s:s, s:s, s:s, s:s?, s:{s:i, s:i, s:i, s:i, s:i, s:i, s:i}, s:{s:I, s:I, s:I, s:I, s:I}}", "model",
        mb_model_source(f->model), "family", mb_family_name(c->family), "direction", direction_words(c), "strands",
        strand_words(c), "alphabet", f->alphabet ? f->alphabet->name : NULL, "shape", "d_model", c->D, "n_layer",
        c->n_layer, "d_inner", c->E, "d_state", c->N, "d_conv", c->K, "dt_rank", c->R, "vocabulary", c->V, "parameters",
        "total", (json_int_t)mb_model_params(f->model)->count, "embedding", (json_int_t)f->count.embedding, "norms",
        (json_int_t)f->count.norms, "mixers", (json_int_t)f->count.mixers, "head", (json_int_t)f->count.head);
    json_t *file = json_pack("{s:s, s:s, s:i, s:I, s:s}", "path", mb_model_weights_path(f->model), "kind", f->kind,
                             "tensors", f->tensors, "bytes", (json_int_t)f->file_bytes, "sha256", f->sha256);
    json_t *cost = json_pack("{s:I, s:I, s:I, s:I, s:I, s:i, s:f, s:I}", "length", (json_int_t)f->v->length,
                             "weights_bytes", (json_int_t)mb_model_bytes(f->model), "stream_bytes",
                             (json_int_t)f->plan.stream_bytes, "worker_bytes", (json_int_t)f->plan.worker_bytes,
                             "scratch_bytes", (json_int_t)f->plan.scratch_bytes, "passes", f->plan.passes, "seconds",
                             (double)f->v->length / f->rate, "threads", (json_int_t)f->run->globals.threads);
    int bad = !j || !file || !cost || json_object_set_new(j, "file", file) || json_object_set_new(j, "cost", cost);
    if (!bad && f->v->certify)
        bad = json_object_set_new(j, "certify", certify_json(&f->certify));
    if (!bad)
        bad = json_dumpf(j, stdout, JSON_INDENT(2)) || putchar('\n') == EOF;
    json_decref(j);
    return bad ? mb_fail(e, MB_FAIL, "the JSON could not be made or written") : MB_OK;
}

static int run_certify(facts *f, const char *name, const mb_model_options *how, mb_err *e) {
    const certify_options o = {.model = name,
                               .how = *how,
                               .threads = (int)f->run->globals.threads,
                               .memory = f->run->globals.memory,
                               .scratch = f->v->scratch,
                               .seed = (uint64_t)f->run->globals.seed,
                               .tol = f->v->tol};
    return certify_run(&f->certify, f->model, f->alphabet, &o, e);
}

static int run_info(mb_run *run, mb_err *e) {
    facts f = {.v = run->values, .run = run};
    dna_alphabet alphabet;
    mb_model *model = NULL;
    const mb_model_options how = {.device = run->globals.device, .precision = (mbk_precision)f.v->precision};
    int rc = mb_model_open(&model, run->args[0], &how, e);
    if (rc)
        return rc;
    const dna_policies policies = {.alphabet = f.v->alphabet};
    mb_err none = {0};
    f.model = model;
    f.c = mb_model_config(model);
    f.count = count_parts(f.c);
    f.alphabet = dna_alphabet_init(&alphabet, f.c, &policies, &none) == MB_OK ? &alphabet : NULL;
    rc = look_at_file(&f, e);
    if (!rc)
        rc = estimate(&f, e);
    if (!rc && f.v->certify)
        rc = run_certify(&f, run->args[0], &how, e);
    if (!rc && f.v->json)
        rc = print_json(&f, e);
    else if (!rc)
        print_facts(&f);
    if (!rc && f.certify.broken)
        rc = mb_fail(e, MB_FAIL, "%s: %d of %d laws are broken", run->args[0], f.certify.broken, f.certify.n);
    mb_model_destroy(model);
    return rc;
}

const mb_verb dna_info_verb = {.name = "info",
                               .summary = "what a model is, what a run takes, whether its laws hold",
                               .usage = "MODEL [options]",
                               .details = DETAILS,
                               .options = OPTIONS,
                               .values_size = sizeof(info_values),
                               .min_args = 1,
                               .max_args = 1,
                               .args_role = MB_ROLE_MODEL,
                               .run = run_info};
