/* A program's verbs and options as JSON, so that another program can check what it is going to ask of it by the same
 * tables. Refuses nothing. */
#include "core/option_value.h"
#include "core/options_internal.h"
#include "core/provenance.h"

#include <string.h>

const char *const mb_role_names[] = {"value",         "input",         "model",   "named", "output",
                                     "output_folder", "output_prefix", "machine", NULL};
const char *const mb_type_names[] = {"bool", "int", "bytes", "float", "string", "choice", NULL};

static int ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

mb_role mb_option_role(const mb_option *o) {
    const char *meta = o->meta ? o->meta : "";
    if (o->role != MB_ROLE_VALUE || o->type != MB_OPT_STRING)
        return o->role;
    if (strcmp(o->key, "model") == 0)
        return MB_ROLE_MODEL;
    if (strcmp(o->key, "scratch") == 0)
        return MB_ROLE_MACHINE;
    if (strcmp(o->key, "report") == 0)
        return MB_ROLE_OUTPUT;
    if (strcmp(o->key, "output") != 0 && strcmp(o->key, "out") != 0)
        return MB_ROLE_VALUE;
    return ends_with(meta, "FOLDER") || ends_with(meta, "DIR") ? MB_ROLE_OUTPUT_FOLDER
           : ends_with(meta, "PREFIX")                         ? MB_ROLE_OUTPUT_PREFIX
                                                               : MB_ROLE_OUTPUT;
}

/* The tables are UTF-8. */
static void put_string(FILE *f, const char *s) {
    if (!s) {
        fputs("null", f);
        return;
    }
    fputc('"', f);
    for (; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else if (c < 0x20)
            fprintf(f, "\\u%04x", c);
        else
            fputc(c, f);
    }
    fputc('"', f);
}

static void put_member(FILE *f, const char *key, const char *value) {
    fprintf(f, ", \"%s\": ", key);
    put_string(f, value);
}

static void put_option(FILE *f, const mb_option *o, const char *before) {
    fprintf(f, "%s\n      {\"key\": ", before);
    put_string(f, o->key);
    put_member(f, "type", mb_type_names[o->type]);
    put_member(f, "role", mb_role_names[mb_option_role(o)]);
    put_member(f, "default", o->def);
    fprintf(f, ", \"min\": %.17g, \"max\": %.17g", o->min, o->max);
    put_member(f, "choices", o->choices);
    put_member(f, "meta", o->meta);
    put_member(f, "help", o->help);
    fputc('}', f);
}

static void put_verb(FILE *f, const mb_verb *v, const char *before) {
    const char *separator = "";
    fprintf(f, "%s\n    {\"name\": ", before);
    put_string(f, v->name);
    put_member(f, "summary", v->summary);
    put_member(f, "usage", v->usage);
    fprintf(f, ", \"min_args\": %d, \"max_args\": %d", v->min_args, v->max_args);
    put_member(f, "args_role", mb_role_names[v->args_role ? v->args_role : MB_ROLE_INPUT]);
    fputs(", \"options\": [", f);
    for (const mb_option *o = v->options; o && o->key; o++, separator = ",")
        put_option(f, o, separator);
    for (const mb_option *o = mb_global_options; o->key; o++, separator = ",")
        put_option(f, o, separator);
    fputs("]}", f);
}

void mb_options_describe(const char *program, const mb_verb *verbs, FILE *f) {
    const char *separator = "";
    fputs("{\"description\": 1, \"program\": ", f);
    put_string(f, program);
    put_member(f, "version", mb_version());
    put_member(f, "build", mb_build());
    fputs(",\n  \"verbs\": [", f);
    for (const mb_verb *v = verbs; v->name; v++, separator = ",")
        put_verb(f, v, separator);
    fputs("]}\n", f);
}
