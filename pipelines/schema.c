/* See schema.h. A value of any type may be text with ${...} instead. */
#include "pipelines/schema.h"

#include <stdio.h>
#include <string.h>

#include "core/option_value.h"
#include "pipelines/steps.h"

#define SUBSTITUTED "{\"type\": \"string\", \"pattern\": \"\\\\$\\\\{\"}"

/* ---- schema ---------------------------------------------------------------------------------------------------------
 */

static void put_choices(pipe_text *t, const char *choices) {
    pipe_text_add(t, "{\"enum\": [");
    while (*choices) {
        const size_t n = strcspn(choices, "|");
        pipe_text_add(t, "\"%.*s\"", (int)n, choices);
        choices += n + (choices[n] == '|');
        pipe_text_add(t, *choices ? ", " : "");
    }
    pipe_text_add(t, "]}");
}

static void put_range(pipe_text *t, const mb_option *o) {
    if (o->min == 0 && o->max == 0)
        return;
    pipe_text_add(t, ", \"minimum\": %.17g", o->min);
    if (o->max >= o->min)
        pipe_text_add(t, ", \"maximum\": %.17g", o->max);
}

/* Numbers may carry a unit, as in 100k and 4G: such are text to JSON. */
static void put_type(pipe_text *t, const mb_option *o) {
    switch (o->type) {
    case MB_OPT_BOOL:
        pipe_text_add(t, "{\"type\": \"boolean\"}");
        break;
    case MB_OPT_INT:
        pipe_text_add(t, "{\"type\": \"integer\"");
        put_range(t, o);
        pipe_text_add(t, "}, {\"type\": \"string\", \"pattern\": \"^[-+]?[0-9]+[kMGTP]$\"}");
        break;
    case MB_OPT_BYTES:
        pipe_text_add(t, "{\"type\": \"integer\", \"minimum\": 0}, {\"type\": \"string\", \"pattern\": "
                         "\"^[0-9.]+[kKmMgGtTP](iB)?$\"}");
        break;
    case MB_OPT_FLOAT:
        pipe_text_add(t, "{\"type\": \"number\"");
        put_range(t, o);
        pipe_text_add(t, "}");
        break;
    case MB_OPT_STRING:
        pipe_text_add(t, "{\"type\": [\"string\", \"number\", \"boolean\"]}");
        break;
    case MB_OPT_CHOICE:
        put_choices(t, o->choices);
        break;
    }
}

static void put_option(pipe_text *t, const mb_option *o, const char *indent) {
    pipe_text_add(t, "%s", indent);
    pipe_text_json(t, o->key);
    pipe_text_add(t, ": {\"anyOf\": [");
    put_type(t, o);
    pipe_text_add(t, ", " SUBSTITUTED ", {\"type\": \"null\"}], \"description\": ");
    pipe_text_json(t, o->help ? o->help : "");
    if (o->def && o->type == MB_OPT_BOOL)
        pipe_text_add(t, ", \"default\": %s", o->def);
    else if (o->def) {
        pipe_text_add(t, ", \"default\": ");
        pipe_text_json(t, o->def);
    }
    pipe_text_add(t, "}");
}

static void put_settings(pipe_text *t, const char *key, const mb_option *table, const char *more, const char *after) {
    pipe_text_add(t, "    \"%s\": {\"type\": \"object\", \"additionalProperties\": false, \"properties\": {\n", key);
    for (const mb_option *o = table; o->key; o++) {
        put_option(t, o, "      ");
        pipe_text_add(t, o[1].key || *more ? ",\n" : "\n");
    }
    pipe_text_add(t, "%s    }}%s\n", more, after);
}

static const char LINES[] = "      \"extra\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}},\n"
                            "      \"setup\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}}\n";

static int is_step_verb(const pipe_verb *v) {
    return !pipe_option_find(v, "programs");
}

/* Which options "with" may hold depends on "run". A key may be spelled with '-' too. */
static void put_verb(pipe_text *t, const pipe_verb *v) {
    pipe_text_add(
        t,
        "        {\"if\": {\"properties\": {\"run\": {\"const\": \"%s %s\"}}, \"required\": [\"run\"]},\n"
        "         \"then\": {\"properties\": {\"with\": {\"type\": \"object\", \"additionalProperties\": false, "
        "\"properties\": {\n",
        v->program->name, v->name);
    for (int i = 0, first = 1; i < v->n; i++) {
        mb_option o = v->option[i];
        char dashed[128];
        if (strcmp(o.key, "dry_run") == 0)
            continue;
        pipe_text_add(t, first ? "" : ",\n");
        first = 0;
        put_option(t, &o, "           ");
        if (!strchr(o.key, '_'))
            continue;
        snprintf(dashed, sizeof dashed, "%s", o.key);
        for (char *c = dashed; *c; c++)
            *c = *c == '_' ? '-' : *c;
        o.key = dashed;
        pipe_text_add(t, ",\n");
        put_option(t, &o, "           ");
    }
    pipe_text_add(t, "\n         }}}}}");
}

static void put_step(pipe_text *t, const pipe_program *const *program, int n) {
    const char *separator = "";
    pipe_text_add(t, "    \"step\": {\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"run\"],\n"
                     "      \"properties\": {\n"
                     "        \"run\": {\"description\": \"Program and command.\", \"enum\": [");
    for (int i = 0; i < n; i++)
        for (int k = 0; k < program[i]->n; k++)
            if (is_step_verb(&program[i]->verb[k])) {
                pipe_text_add(t, "%s\"%s %s\"", separator, program[i]->name, program[i]->verb[k].name);
                separator = ", ";
            }
    pipe_text_add(
        t, "]},\n"
           "        \"inputs\": {\"description\": \"What the command reads; ${steps.NAME} is what a step writes.\", "
           "\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"array\", \"items\": {\"type\": \"string\"}}]},\n"
           "        \"with\": {\"description\": \"Options of the command.\", \"type\": [\"object\", \"null\"]},\n"
           "        \"after\": {\"description\": \"Steps that must be done before, where no file says so.\", "
           "\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"array\", \"items\": {\"type\": \"string\"}}]},\n"
           "        \"matrix\": {\"description\": \"A step for each combination; ${matrix.KEY} is the value.\", "
           "\"type\": \"object\", \"additionalProperties\": {\"type\": \"array\", \"minItems\": 1}},\n"
           "        \"shards\": {\"description\": \"Parts of the input that are worked off by themselves, and put "
           "together.\", \"type\": \"integer\", \"minimum\": 1, \"maximum\": 4096},\n"
           "        \"batch\": {\"$ref\": \"#/$defs/batch\"}},\n      \"allOf\": [\n");
    separator = "";
    for (int i = 0; i < n; i++)
        for (int k = 0; k < program[i]->n; k++)
            if (is_step_verb(&program[i]->verb[k])) {
                pipe_text_add(t, "%s", separator);
                separator = ",\n";
                put_verb(t, &program[i]->verb[k]);
            }
    pipe_text_add(t, "\n      ]},\n");
}

void pipe_schema_text(const pipe_program *const *program, int n, pipe_text *t) {
    pipe_text_add(t,
                  "{\"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
                  "  \"title\": \"seqmamba pipeline\", \"type\": \"object\", \"additionalProperties\": false,\n"
                  "  \"properties\": {\n"
                  "    \"version\": {\"const\": 1},\n"
                  "    \"extends\": {\"description\": \"Files that this one is laid over, sought from its folder.\", "
                  "\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"array\", \"items\": {\"type\": \"string\"}}]},\n"
                  "    \"name\": {\"type\": \"string\"},\n"
                  "    \"output\": {\"description\": \"Folder of logs, records and scripts; ${output}.\", \"type\": "
                  "\"string\"},\n"
                  "    \"vars\": {\"description\": \"${vars.KEY}\", \"type\": \"object\"},\n"
                  "    \"defaults\": {\"description\": \"Options for every step whose command has them.\", \"type\": "
                  "\"object\"},\n"
                  "    \"run\": {\"$ref\": \"#/$defs/run\"},\n    \"batch\": {\"$ref\": \"#/$defs/batch\"},\n"
                  "    \"steps\": {\"type\": \"object\", \"minProperties\": 1, \"propertyNames\": {\"pattern\": "
                  "\"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$\"}, \"additionalProperties\": {\"$ref\": \"#/$defs/step\"}}},\n"
                  "  \"$defs\": {\n");
    put_step(t, program, n);
    put_settings(t, "run", pipe_run_options, "", ",");
    put_settings(t, "batch", pipe_batch_options, LINES, "");
    pipe_text_add(t, "  }}\n");
}

/* ---- starters -------------------------------------------------------------------------------------------------------
 */

/* Words of a comment, wrapped at 110 columns. */
static void put_comment(pipe_text *t, const char *indent, const char *text) {
    size_t at = 0;
    while (*text) {
        const size_t n = strcspn(text, " \n");
        if (at == 0 || at + n + 1 > 110) {
            pipe_text_add(t, "%s%s#", at ? "\n" : "", indent);
            at = strlen(indent) + 1;
        }
        pipe_text_add(t, " %.*s", (int)n, text);
        at += n + 1;
        text += n + strspn(text + n, " \n");
    }
    pipe_text_add(t, at ? "\n" : "");
}

/* A default as YAML. */
static void put_default(pipe_text *t, const mb_option *o) {
    if (!o->def)
        pipe_text_add(t, "null");
    else if (o->type == MB_OPT_STRING)
        pipe_text_yaml(t, o->def);
    else
        pipe_text_add(t, "%s", o->def);
}

static int is_main_output(const mb_option *o) {
    return strcmp(o->key, "output") == 0 || strcmp(o->key, "out") == 0;
}

static void put_starter_option(pipe_text *t, const pipe_verb *v, const mb_option *o) {
    put_comment(t, "      ", o->help ? o->help : "");
    if (is_main_output(o)) {
        const int file = o->role == MB_ROLE_OUTPUT;
        pipe_text_add(t, "      %s: ${output}/%s%s\n", o->key, v->name, file ? ".tsv" : "");
        return;
    }
    const int model = o->role == MB_ROLE_MODEL && !o->def;
    if (model)
        pipe_text_add(t, "      %s: MODEL\n", o->key);
    else {
        pipe_text_add(t, "      # %s: ", o->key);
        put_default(t, o);
        pipe_text_add(t, "\n");
    }
}

static void put_starter_step(pipe_text *t, const pipe_verb *v) {
    pipe_text_add(t, "  %s:\n", v->name);
    put_comment(t, "    ", v->summary ? v->summary : "");
    pipe_text_add(t, "    # %s %s %s\n    run: %s %s\n", v->program->name, v->name, v->usage ? v->usage : "",
                  v->program->name, v->name);
    if (v->max_args != 0)
        pipe_text_add(t, "    inputs: [INPUT]\n");
    pipe_text_add(t, "    with:\n");
    for (int i = 0; i < v->n; i++)
        if (strcmp(v->option[i].key, "dry_run") != 0)
            put_starter_option(t, v, &v->option[i]);
    pipe_text_add(t, "      verbose: false\n\n");
}

void pipe_starter_text(const pipe_verb *const *verb, int n, const char *name, pipe_text *t) {
    pipe_text_add(
        t,
        "# A pipeline of seqmamba. Replace INPUT and MODEL; everything behind # has the value that is shown.\n"
        "#   seqmamba check FILE    what is wrong with it, and what it will take\n"
        "#   seqmamba run FILE      does what is not up to date\n"
        "#   seqmamba submit FILE   the same by a batch scheduler\n"
        "version: 1\n\n"
        "# Logs, records and scripts go here; ${output} is this folder.\n"
        "output: build/%s\n\n"
        "# Words for ${vars.KEY}, options for every step that has them.\n"
        "# vars: {genome: genome.fa}\n# defaults: {threads: 0}\n\n",
        name);
    pipe_text_add(t, "# run:\n");
    for (const mb_option *o = pipe_run_options; o->key; o++) {
        put_comment(t, "#   ", o->help);
        pipe_text_add(t, "#   %s: %s\n", o->key, o->def);
    }
    pipe_text_add(t, "\n# batch:\n");
    for (const mb_option *o = pipe_batch_options; o->key; o++) {
        put_comment(t, "#   ", o->help);
        pipe_text_add(t, "#   %s: %s\n", o->key, o->def ? o->def : "null");
    }
    pipe_text_add(t, "\nsteps:\n");
    for (int i = 0; i < n; i++)
        put_starter_step(t, verb[i]);
}
