/* seqmamba schema and init: what editors and beginners are given. */
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "pipelines/commands.h"
#include "pipelines/schema.h"
#include "pipelines/verbs.h"

typedef struct schema_values {
    char *programs, *output;
} schema_values;

#define V schema_values
static const mb_option OPTIONS[] = {{.key = "output",
                                     .letter = 'o',
                                     .type = MB_OPT_STRING,
                                     .offset = offsetof(V, output),
                                     .def = "-",
                                     .meta = "FILE",
                                     .help = "Where it goes; - is standard output."},
                                    PIPE_PROGRAMS_OPTION(V),
                                    {0}};
#undef V

static int write_text(const pipe_text *t, const mb_run *run, int overwrite, mb_err *e) {
    const char *output = ((const schema_values *)run->values)->output;
    int rc = pipe_text_end(t, e);
    if (rc != MB_OK)
        return rc;
    if (strcmp(output, "-") == 0) {
        fwrite(t->data, 1, t->n, stdout); /* a failure is told when stdout is closed */
        return MB_OK;
    }
    if (!overwrite && mb_file_exists(output))
        return mb_fail(e, MB_FAIL, "%s is already there; choose another name or remove it", output);
    if (run->globals.dry_run) {
        printf("%s: %zu bytes (dry run: not written)\n", output, t->n);
        return MB_OK;
    }
    return pipe_text_write(t, output, e);
}

/* ---- schema ---------------------------------------------------------------------------------------------------------
 */

static const char SCHEMA_DETAILS[] =
    "Writes a JSON Schema (2020-12) of pipeline files, made from the tables of the programs that are installed: editors "
    "that know it complete keys, show what options mean and mark what is wrong. The first line of a pipeline names it:\n"
    "\n"
    "  seqmamba schema -o build/pipeline.schema.json\n"
    "  # yaml-language-server: $schema=../build/pipeline.schema.json";

static int run_schema(mb_run *run, mb_err *e) {
    const schema_values *v = run->values;
    pipe_programs all = {.folder = v->programs};
    const pipe_program *program[8];
    pipe_text t = {0};
    int n = 0, rc = MB_OK;
    for (int i = 0; rc == MB_OK && pipe_program_names[i]; i++) {
        mb_err why = {0};
        rc = pipe_program_get(&all, pipe_program_names[i], &program[n], &why);
        n += rc == MB_OK;
        if (rc == MB_NOTFOUND)
            mb_debug("%s", why.text);
        rc = rc == MB_NOTFOUND ? MB_OK : rc == MB_OK ? rc : mb_fail(e, rc, "%s", why.text);
    }
    if (rc == MB_OK && n == 0)
        rc = mb_fail(e, MB_NOTFOUND, "no program of the steps is there");
    if (rc == MB_OK) {
        pipe_schema_text(program, n, &t);
        rc = write_text(&t, run, 1, e);
    }
    pipe_text_free(&t);
    pipe_programs_free(&all);
    return rc;
}

const mb_verb pipe_schema_verb = {.name = "schema",
                                  .summary = "a JSON Schema of pipeline files, for editors",
                                  .usage = "[-o FILE] [options]",
                                  .details = SCHEMA_DETAILS,
                                  .options = OPTIONS,
                                  .values_size = sizeof(schema_values),
                                  .run = run_schema};

/* ---- init -----------------------------------------------------------------------------------------------------------
 */

static const char INIT_DETAILS[] =
    "Writes a pipeline to begin with: a step for each COMMAND of PROGRAM (dna-mamba, recmamba, ts-mamba), every option "
    "with its default and what it means as a comment. Replace INPUT and MODEL, connect steps with ${steps.NAME}, take out "
    "what is not needed. Files are not overwritten.\n"
    "\n"
    "  seqmamba init dna-mamba embed nearest -o build/mine.yaml\n"
    "  seqmamba init dna-mamba train score > build/train.yaml";

static const pipe_verb *find_verb(const pipe_program *p, const char *name, mb_err *e) {
    const pipe_verb *v = pipe_verb_find(p, name);
    const char *known[64];
    int n = 0;
    for (; n < p->n && n < 64; n++)
        known[n] = p->verb[n].name;
    const char *near = v ? NULL : mb_suggest(name, known, n);
    if (!v)
        mb_fail(e, MB_USAGE, "%s has no command \"%.100s\"%s%s%s", p->name, name, near ? "; did you mean \"" : "",
                near ? near : "", near ? "\"?" : "");
    return v;
}

static int run_init(mb_run *run, mb_err *e) {
    const schema_values *v = run->values;
    enum { MOST = 32 };
    pipe_programs all = {.folder = v->programs};
    const pipe_program *program;
    const pipe_verb *verb[MOST];
    pipe_text t = {0};
    char stem[128];
    const char *base = strrchr(v->output, '/');
    int rc = run->nargs - 1 <= MOST ? pipe_program_get(&all, run->args[0], &program, e)
                                    : mb_fail(e, MB_USAGE, "more than %d commands", MOST);
    for (int i = 1; rc == MB_OK && i < run->nargs; i++) {
        for (int k = 1; k < i; k++)
            if (strcmp(run->args[k], run->args[i]) == 0)
                return pipe_programs_free(&all), mb_fail(e, MB_USAGE, "%s is named twice", run->args[i]);
        verb[i - 1] = find_verb(program, run->args[i], e);
        rc = verb[i - 1] ? MB_OK : MB_USAGE;
    }
    if (rc == MB_OK) {
        snprintf(stem, sizeof stem, "%s", strcmp(v->output, "-") == 0 ? "mine" : base ? base + 1 : v->output);
        if (strrchr(stem, '.') > stem)
            *strrchr(stem, '.') = '\0';
        pipe_starter_text(verb, run->nargs - 1, stem, &t);
        rc = write_text(&t, run, 0, e);
    }
    pipe_text_free(&t);
    pipe_programs_free(&all);
    return rc;
}

const mb_verb pipe_init_verb = {.name = "init",
                                .summary = "a commented pipeline to begin with",
                                .usage = "PROGRAM COMMAND... [-o FILE] [options]",
                                .details = INIT_DETAILS,
                                .options = OPTIONS,
                                .values_size = sizeof(schema_values),
                                .min_args = 2,
                                .max_args = -1,
                                .run = run_init};
