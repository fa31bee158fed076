/* Steps that are worked off in parts: one step for each part, with --shard K/N and outputs of its own, and one that
 * gathers them under the step's name. Refuses verbs without --shard, outputs that cannot be put together. */
#include "pipelines/shards.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/option_value.h"
#include "pipelines/gather.h"
#include "pipelines/steps.h"

static int no_memory(pipeline *p) {
    return mb_fail(p->document.e, MB_NOMEM, "out of memory for the parts of steps");
}

/* ---- what is asked for ----------------------------------------------------------------------------------------------
 */

static const mb_option COUNT = {.key = "shards", .type = MB_OPT_INT, .min = 1, .max = PIPE_MOST_SHARDS};

/* *n: 0 without parts, or told. */
static int read_count(pipeline *p, const pipe_step *s, int *n) {
    const pipe_node *v = pipe_get(pipe_get(pipe_get(p->document.root, "steps"), s->given), "shards");
    char why[MB_OPTIONS_WHY];
    int64_t count = 0;
    int rc = MB_OK;
    *n = 0;
    if (!v || pipe_is_null(v))
        return MB_OK;
    const char *text = v->kind == MB_YAML_SCALAR ? pipe_replace(p, s, v, &rc) : NULL;
    if (v->kind != MB_YAML_SCALAR)
        pipe_complain(&p->document, v->at, "shards: a number is expected, not %s", pipe_kind_words(v));
    if (!text)
        return rc;
    if (mb_value_parse(&COUNT, text, &count, why) != MB_OK) {
        pipe_complain(&p->document, v->at, "shards: %s", why);
        return MB_OK;
    }
    const mb_option *o = pipe_option_find(s->verb, "shard");
    if (!o)
        pipe_complain(&p->document, v->at, "shards: %s %s does not work in parts (it has no option \"shard\")",
                      s->verb->program->name, s->verb->name);
    for (int i = 0; o && i < s->n_values; i++)
        if (s->value[i].option == o && s->value[i].text)
            pipe_complain(&p->document, s->value[i].at, "shard: \"shards\" of the step gives it");
    int files = 0;
    for (int i = 0; o && i < s->n_outputs; i++) {
        const pipe_file *f = &s->output[i];
        if (strcmp(f->what, "stdout") == 0)
            continue;
        files++;
        if (f->role != MB_ROLE_OUTPUT || pipe_gather_kind(f->path) == PIPE_KIND_NONE)
            pipe_complain(&p->document, f->at,
                          "%s: parts of %s cannot be put together: .npy, .tsv, .bed, .bedgraph and .vcf can", f->what,
                          f->path);
    }
    if (o && !files)
        pipe_complain(&p->document, v->at, "shards: the step has no output that could be put together");
    *n = o && files ? (int)count : 0;
    return MB_OK;
}

/* ---- parts ----------------------------------------------------------------------------------------------------------
 */

static char *part_path(pipeline *p, const char *name, int k, int n, const char *path) {
    const char *slash = strrchr(path, '/');
    return pipe_format(&p->document.pool, "%s/parts/%s/%d-of-%d/%s", p->output, name, k, n, slash ? slash + 1 : path);
}

/* The values of a part: --shard, and its own outputs. */
static int set_values(pipeline *p, pipe_step *part, const pipe_step *whole) {
    pipe_value *v = pipe_take(&p->document.pool, (size_t)(whole->n_values + 1) * sizeof *v);
    pipe_file *out = pipe_take(&p->document.pool, (size_t)whole->n_outputs * sizeof *out);
    if (!v || !out)
        return no_memory(p);
    if (whole->n_values)
        memcpy(v, whole->value, (size_t)whole->n_values * sizeof *v);
    memcpy(out, whole->output, (size_t)whole->n_outputs * sizeof *out);
    for (int i = 0; i < whole->n_outputs; i++) {
        const int printed = strcmp(out[i].what, "stdout") == 0;
        char *path = printed ? pipe_format(&p->document.pool, "%s/steps/%s/stdout", p->output, part->name)
                             : part_path(p, whole->name, part->shard, part->shards, out[i].path);
        out[i].path = path;
        out[i].clean = path ? pipe_clean_path(&p->document.pool, path) : NULL;
        if (!out[i].clean)
            return no_memory(p);
        for (int k = 0; !printed && k < whole->n_values; k++)
            if (strcmp(v[k].option->key, out[i].what) == 0)
                v[k].text = path;
    }
    int at = 0;
    while (at < whole->n_values && strcmp(v[at].option->key, "shard") != 0)
        at++;
    v[at] = (pipe_value){pipe_option_find(whole->verb, "shard"),
                         pipe_format(&p->document.pool, "%d/%d", part->shard, part->shards), whole->at};
    part->value = v;
    part->n_values = at == whole->n_values ? at + 1 : whole->n_values;
    part->output = out;
    return v[at].text ? MB_OK : no_memory(p);
}

static int add_step(pipeline *p, const pipe_step *s) {
    pipe_step *more = pipe_grow(&p->document.pool, p->step, p->n, sizeof *more);
    if (!more)
        return no_memory(p);
    p->step = more;
    more[p->n++] = *s;
    return MB_OK;
}

static int add_part(pipeline *p, const pipe_step *whole, int k, int n) {
    pipe_step part = *whole;
    part.shard = k;
    part.shards = n;
    part.whole = whole->name;
    part.need = NULL;
    part.n_needs = 0;
    part.name = pipe_format(&p->document.pool, "%s-%d-of-%d", whole->name, k, n);
    /* Each has its own list of inputs: who writes them is noted in it. */
    part.input = pipe_take(&p->document.pool, (size_t)whole->n_inputs * sizeof *part.input);
    if (!part.name || !part.input)
        return no_memory(p);
    if (whole->n_inputs)
        memcpy(part.input, whole->input, (size_t)whole->n_inputs * sizeof *part.input);
    int rc = set_values(p, &part, whole);
    return rc == MB_OK ? add_step(p, &part) : rc;
}

/* The step that puts together the parts of one output. */
static int make_gather(pipeline *p, const pipe_step *whole, const pipe_file *f, int n, const char *name,
                       const pipe_verb *verb, pipe_step *out) {
    pipe_value *v = pipe_take(&p->document.pool, sizeof *v);
    pipe_file *in = pipe_take(&p->document.pool, (size_t)n * sizeof *in),
              *made = pipe_take(&p->document.pool, 2 * sizeof *made);
    char *printed = pipe_format(&p->document.pool, "%s/steps/%s/stdout", p->output, name);
    if (!v || !in || !made || !printed)
        return no_memory(p);
    *v = (pipe_value){pipe_option_find(verb, "output"), f->path, f->at};
    for (int k = 0; k < n; k++) {
        in[k] = (pipe_file){.path = part_path(p, whole->name, k, n, f->path),
                            .what = "input",
                            .role = MB_ROLE_INPUT,
                            .from = -1,
                            .at = f->at};
        if (!in[k].path || !(in[k].clean = pipe_clean_path(&p->document.pool, in[k].path)))
            return no_memory(p);
    }
    made[0] = *f;
    made[0].what = "output";
    made[1] = (pipe_file){.path = printed,
                          .what = "stdout",
                          .role = MB_ROLE_OUTPUT,
                          .from = -1,
                          .at = f->at,
                          .clean = pipe_clean_path(&p->document.pool, printed)};
    *out = *whole;
    out->name = name;
    out->whole = whole->name;
    out->verb = verb;
    out->value = v;
    out->n_values = 1;
    out->input = in;
    out->n_inputs = out->n_args = n;
    out->output = made;
    out->n_outputs = 2;
    out->shard = -1;
    out->shards = n;
    out->after = NULL;
    return made[1].clean ? MB_OK : no_memory(p);
}

static int split(pipeline *p, int i, int n) {
    const pipe_step whole = p->step[i];
    const pipe_program *program;
    mb_err why = {0};
    int rc = pipe_program_get(&p->programs, "seqmamba", &program, &why), replaced = 0;
    const pipe_verb *verb = rc == MB_OK ? pipe_verb_find(program, "gather") : NULL;
    if (rc == MB_NOMEM)
        return no_memory(p);
    if (!verb) {
        pipe_complain(&p->document, whole.at, "shards: %s", rc == MB_OK ? "this seqmamba cannot gather" : why.text);
        return MB_OK;
    }
    rc = MB_OK;
    for (int k = 0; rc == MB_OK && k < n; k++)
        rc = add_part(p, &whole, k, n);
    for (int f = 0; rc == MB_OK && f < whole.n_outputs; f++) {
        const pipe_file *out = &whole.output[f];
        pipe_step gather;
        if (strcmp(out->what, "stdout") == 0)
            continue;
        const int main_one = !replaced && (strcmp(out->what, "output") == 0 || strcmp(out->what, "out") == 0);
        const char *name = main_one ? whole.name : pipe_format(&p->document.pool, "%s-%s", whole.name, out->what);
        rc = name ? make_gather(p, &whole, out, n, name, verb, &gather) : no_memory(p);
        if (rc == MB_OK && main_one)
            p->step[i] = gather;
        else if (rc == MB_OK)
            rc = add_step(p, &gather);
        replaced |= main_one;
    }
    if (rc == MB_OK && !replaced)
        pipe_complain(&p->document, whole.at, "shards: the step has no \"output\" that could be put together");
    return rc;
}

int pipe_shards_expand(pipeline *p) {
    const int given = p->n;
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < given; i++) {
        int n;
        rc = read_count(p, &p->step[i], &n);
        if (rc != MB_OK || n < 2)
            continue;
        if (p->n + n + 8 > PIPE_MOST_STEPS) {
            pipe_complain(&p->document, p->step[i].at, "more than %d steps", PIPE_MOST_STEPS);
            continue;
        }
        rc = split(p, i, n);
    }
    return rc;
}

/* ---- which part a job is to do --------------------------------------------------------------------------------------
 */

/* Array indices that batch systems give; base: where theirs begin. */
static const struct {
    const char *name;
    int base;
} VARIABLES[] = {
    {"SLURM_ARRAY_TASK_ID", 0}, {"PBS_ARRAY_INDEX", 0}, {"PBS_ARRAYID", 0}, {"LSB_JOBINDEX", 1}, {"SGE_TASK_ID", 1}};

static int from_scheduler(int *k, mb_err *e) {
    const char *found = NULL;
    for (size_t i = 0; i < sizeof VARIABLES / sizeof *VARIABLES; i++) {
        const char *text = getenv(VARIABLES[i].name);
        char *end = NULL;
        if (!text || !isdigit((unsigned char)*text)) /* SGE says "undefined" outside an array */
            continue;
        const long v = strtol(text, &end, 10) - VARIABLES[i].base;
        if (*end || v < 0 || v > PIPE_MOST_SHARDS) /* LSF says 0 outside an array */
            continue;
        if (found && v != *k)
            return mb_fail(e, MB_USAGE, "--shard auto: %s and %s disagree about the number of this task", found,
                           VARIABLES[i].name);
        found = VARIABLES[i].name;
        *k = (int)v;
    }
    return found ? MB_OK : mb_fail(e, MB_USAGE, "--shard auto: no batch system says which task of an array this is");
}

int pipe_shard_parse(const char *text, int *k, int *of, mb_err *e) {
    const char *slash = strchr(text, '/');
    char *end = NULL;
    const size_t n = slash ? (size_t)(slash - text) : strlen(text);
    int rc = MB_OK;
    *of = 0;
    if (n == 4 && strncmp(text, "auto", 4) == 0) {
        rc = from_scheduler(k, e);
    } else {
        const long v = isdigit((unsigned char)*text) ? strtol(text, &end, 10) : -1;
        if (v < 0 || v > PIPE_MOST_SHARDS || end != text + n)
            rc = mb_fail(e, MB_USAGE, "--shard %s: expected the number of a part, from 0, or auto", text);
        *k = (int)v;
    }
    if (rc != MB_OK || !slash)
        return rc;
    const long v = isdigit((unsigned char)slash[1]) ? strtol(slash + 1, &end, 10) : 0;
    if (v < 1 || v > PIPE_MOST_SHARDS || *end || *k >= v)
        return mb_fail(e, MB_USAGE, "--shard %s: expected K/N with K (here %d) below N", text, *k);
    *of = (int)v;
    return MB_OK;
}
