/* The command line against a verb's table: fields, the walk over the arguments, precedence, required arguments.
 * Refuses unknown options (with a suggestion), values of the wrong type or out of range, missing and surplus arguments.
 */
#include "core/options.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/options_internal.h"

#include <stdlib.h>
#include <string.h>

const mb_option mb_global_options[] = {
    {.key = "threads",
     .letter = 't',
     .type = MB_OPT_INT,
     .offset = offsetof(mb_global_values, threads),
     .def = "0",
     .min = 0,
     .max = 4096,
     .meta = "N",
     .role = MB_ROLE_MACHINE,
     .help = "Worker threads. 0 takes OMP_NUM_THREADS, else what the batch scheduler granted, else the processors this "
             "process may use. Results do not depend on it."},
    {.key = "memory",
     .type = MB_OPT_BYTES,
     .offset = offsetof(mb_global_values, memory),
     .def = "0",
     .min = 0,
     .max = -1,
     .meta = "SIZE",
     .role = MB_ROLE_MACHINE,
     .help =
         "Memory for working data, such as 4G or 512M (counted in 1024); what does not fit goes to a scratch file. 0 "
         "takes 80 % of what is available. Results do not depend on it."},
    {.key = "seed",
     .type = MB_OPT_INT,
     .offset = offsetof(mb_global_values, seed),
     .def = "0",
     .min = 0,
     .max = -1,
     .meta = "N",
     .help = "Seed of all random numbers."},
    {.key = "device",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(mb_global_values, device),
     .def = "cpu",
     .choices = "cpu|ref",
     .meta = "NAME",
     .help = "Where to compute; ref is the slow reference in double precision sums."},
    {.key = "quiet",
     .letter = 'q',
     .type = MB_OPT_BOOL,
     .offset = offsetof(mb_global_values, quiet),
     .role = MB_ROLE_MACHINE,
     .help = "Only warnings and errors on stderr."},
    {.key = "verbose",
     .letter = 'v',
     .type = MB_OPT_BOOL,
     .offset = offsetof(mb_global_values, verbose),
     .role = MB_ROLE_MACHINE,
     .help = "Also say what was chosen and why."},
    {.key = "dry_run",
     .type = MB_OPT_BOOL,
     .offset = offsetof(mb_global_values, dry_run),
     .role = MB_ROLE_MACHINE,
     .help = "Check everything and say what would be done, write nothing."},
    {0}};

const mb_option mb_control_options[] = {
    {.key = "config",
     .type = MB_OPT_STRING,
     .meta = "FILE",
     .help = "Read options from a YAML file; keys are the option names. Later files win over earlier ones, flags over "
             "all."},
    {.key = "set",
     .type = MB_OPT_STRING,
     .meta = "KEY=VALUE",
     .help = "Set one option as a line of the file would; KEY=null resets it. May be repeated."},
    {.key = "print_config", .type = MB_OPT_BOOL, .help = "Print the effective configuration as YAML and end."},
    {.key = "help", .letter = 'h', .type = MB_OPT_BOOL, .help = "Print this help and end."},
    {.key = "version", .type = MB_OPT_BOOL, .help = "Print version and build and end."},
    {0}};

/* ---- fields -------------------------------------------------------------------------------------------------------*/
static int same_key(const char *a, size_t n, const char *b) {
    for (size_t i = 0; i < n; i++)
        if (!b[i] || (a[i] == '-' ? '_' : a[i]) != (b[i] == '-' ? '_' : b[i]))
            return 0;
    return !b[n];
}

const mb_field *mb_fields_find(const mb_fields *fs, const char *key, size_t n) {
    for (int i = 0; i < fs->n; i++)
        if (same_key(key, n, fs->field[i].option->key))
            return &fs->field[i];
    return NULL;
}

const char *mb_fields_suggest(const mb_fields *fs, const char *key, int controls) {
    enum { MOST = 256 };
    const char *name[MOST];
    int n = 0;
    for (int i = 0; i < fs->n && n < MOST; i++)
        if (controls || !fs->field[i].control)
            name[n++] = fs->field[i].option->key;
    return mb_suggest(key, name, n);
}

static const mb_field *find_letter(const mb_fields *fs, char letter) {
    for (int i = 0; i < fs->n; i++)
        if (letter && fs->field[i].letter == letter)
            return &fs->field[i];
    return NULL;
}

static int count(const mb_option *o) {
    int n = 0;
    while (o && o[n].key)
        n++;
    return n;
}

/* A table is part of the program: what is wrong in it is a bug. */
static void check_option(const mb_fields *fs, const mb_option *o) {
    char why[MB_OPTIONS_WHY];
    int64_t scratch[2];
    MB_ASSERT(!mb_fields_find(fs, o->key, strlen(o->key)));
    MB_ASSERT(strcmp(o->key, "command") != 0 && strcmp(o->key, "inputs") != 0);
    MB_ASSERT(o->type != MB_OPT_CHOICE || (o->choices && *o->choices));
    if (o->def && o->type != MB_OPT_STRING) {
        int rc = mb_value_parse(o, o->def, scratch, why);
        MB_ASSERT(rc == MB_OK);
    }
}

static void add_fields(mb_fields *fs, const mb_option *table, void *values, int global, int controls) {
    for (int i = 0; table && table[i].key; i++) {
        const mb_option *o = &table[i];
        char letter = o->letter;
        check_option(fs, o);
        if (find_letter(fs, letter)) {
            MB_ASSERT(global); /* a verb may take a global option's letter, not its own twice */
            letter = 0;
        }
        fs->field[fs->n++] = (mb_field){.option = o,
                                        .letter = letter,
                                        .value = values ? (char *)values + o->offset : NULL,
                                        .control = controls ? (mb_control)(MB_CONTROL_CONFIG + i) : MB_CONTROL_NONE,
                                        .global = global};
    }
}

int mb_fields_make(mb_fields *fs, const mb_verb *verb, void *values, mb_global_values *globals, mb_err *e) {
    int n = count(verb->options) + count(mb_global_options) + count(mb_control_options);
    *fs = (mb_fields){.field = mb_calloc((size_t)n, sizeof(mb_field))};
    if (!fs->field)
        return mb_fail(e, MB_NOMEM, "out of memory for %d options", n);
    add_fields(fs, verb->options, values, 0, 0);
    add_fields(fs, mb_global_options, globals, 1, 0);
    add_fields(fs, mb_control_options, NULL, 1, 1);
    return MB_OK;
}

void mb_fields_free(mb_fields *fs) {
    mb_free(fs->field);
    *fs = (mb_fields){0};
}

void mb_flag_name(const mb_option *o, char *out, size_t room) {
    snprintf(out, room, "--%s", o->key);
    for (char *c = out + 2; *c; c++)
        if (*c == '_')
            *c = '-';
}

/* ---- the walk over the arguments ----------------------------------------------------------------------------------*/
typedef struct walk {
    const mb_run *run;
    const mb_fields *fs;
    int i;               /* next argument */
    int plain;           /* after "--": arguments only */
    const char *letters; /* rest of a "-qm..." cluster */
} walk;

typedef struct found {
    const mb_field *field; /* NULL: a positional argument */
    const char *value;
    int argument; /* its place on the command line, the program being 0 */
} found;

static int hint(const walk *w, mb_err *e, const char *what, const char *word, const char *near) {
    char flag[128] = "";
    if (near)
        mb_flag_name(&(mb_option){.key = near}, flag, sizeof flag);
    return mb_fail(e, MB_USAGE, "%s %.200s%s%s%s\nTry \"%s %s --help\".", what, word, near ? "; did you mean " : "",
                   flag, near ? "?" : "", w->run->program, w->run->verb->name);
}

/* The value of an option that needs one, from behind '=' or from the next argument. */
static int take_value(walk *w, const char *flag, const char *inside, found *out, mb_err *e) {
    char **argv = w->run->argv;
    if (inside) {
        out->value = inside;
        return 1;
    }
    const char *next = w->i < w->run->argc ? argv[w->i] : NULL;
    if (!next)
        return mb_fail(e, MB_USAGE, "%s needs a value (%s)", flag,
                       out->field->option->meta ? out->field->option->meta : "VALUE");
    if (strncmp(next, "--", 2) == 0 && next[2] && mb_fields_find(w->fs, next + 2, strcspn(next + 2, "=")))
        return mb_fail(e, MB_USAGE, "%s needs a value, but the option %s follows; if that is the value, write %s=%s",
                       flag, next, flag, next);
    out->value = next;
    w->i++;
    return 1;
}

static int long_option(walk *w, const char *arg, found *out, mb_err *e) {
    char flag[128];
    const char *name = arg + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    out->field = mb_fields_find(w->fs, name, n);
    if (!out->field && n > 3 && strncmp(name, "no-", 3) == 0) {
        const mb_field *f = mb_fields_find(w->fs, name + 3, n - 3);
        if (f && f->option->type == MB_OPT_BOOL && !f->control) {
            if (equals)
                return mb_fail(e, MB_USAGE, "%.*s takes no value; write --%.*s=false or --no-%.*s", (int)n + 2, arg,
                               (int)n - 3, name + 3, (int)n - 3, name + 3);
            out->field = f;
            out->value = "false";
            return 1;
        }
    }
    if (!out->field) {
        snprintf(flag, sizeof flag, "%.*s", (int)n, name);
        return hint(w, e, "unknown option", arg, mb_fields_suggest(w->fs, flag, 1));
    }
    mb_flag_name(out->field->option, flag, sizeof flag);
    if (out->field->option->type == MB_OPT_BOOL) {
        out->value = equals ? equals + 1 : "true";
        return 1;
    }
    return take_value(w, flag, equals ? equals + 1 : NULL, out, e);
}

static int short_option(walk *w, found *out, mb_err *e) {
    char flag[3] = {'-', *w->letters, '\0'};
    out->field = find_letter(w->fs, *w->letters);
    if (!out->field)
        return hint(w, e, "unknown option", flag, NULL);
    w->letters++;
    if (out->field->option->type == MB_OPT_BOOL) {
        out->value = "true";
        return 1;
    }
    const char *rest = *w->letters == '=' ? w->letters + 1 : w->letters;
    int inside = *w->letters != '\0';
    w->letters = "";
    return take_value(w, flag, inside ? rest : NULL, out, e);
}

/* 1: *out is the next option or argument; 0: no more; negative: wrong. */
static int next(walk *w, found *out, mb_err *e) {
    if (w->letters && *w->letters)
        return short_option(w, out, e);
    if (w->i < w->run->argc && !w->plain && strcmp(w->run->argv[w->i], "--") == 0) {
        w->plain = 1;
        w->i++;
    }
    if (w->i >= w->run->argc)
        return 0;
    const char *arg = w->run->argv[w->i];
    *out = (found){.argument = w->i++};
    if (w->plain || arg[0] != '-' || !arg[1]) {
        out->value = arg;
        return 1;
    }
    if (arg[1] == '-')
        return long_option(w, arg, out, e);
    w->letters = arg + 1;
    return short_option(w, out, e);
}

static walk begin(const mb_run *run, const mb_fields *fs) {
    return (walk){.run = run, .fs = fs, .i = 2};
}

/* ---- precedence ---------------------------------------------------------------------------------------------------*/
/* where: "--flag", or for --set its place and key. */
static int give(const mb_field *f, const char *text, const char *where, mb_err *e) {
    char why[MB_OPTIONS_WHY];
    int rc = mb_value_parse(f->option, text, f->value, why);
    if (rc == MB_NOMEM)
        return mb_fail(e, rc, "out of memory for the value of %s", f->option->key);
    return rc ? mb_fail(e, rc, "%s: %s", where, why) : MB_OK;
}

/* key=value */
static int apply_set(const mb_fields *fs, const char *text, int argument, mb_err *e) {
    const char *equals = strchr(text, '=');
    char key[128], where[192];
    if (!equals || equals == text)
        return mb_fail(e, MB_USAGE, "command line: argument %d: --set %.200s: write --set key=value", argument, text);
    snprintf(key, sizeof key, "%.*s", (int)(equals - text), text);
    const mb_field *f = mb_fields_find(fs, key, strlen(key));
    if (!f || f->control) {
        const char *near = mb_fields_suggest(fs, key, 0);
        return mb_fail(e, MB_USAGE, "command line: argument %d: --set: unknown key \"%s\"%s%s%s", argument, key,
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    if (strcmp(equals + 1, "null") == 0)
        return mb_value_reset(f->option, f->value) ? mb_fail(e, MB_NOMEM, "out of memory for an option") : MB_OK;
    snprintf(where, sizeof where, "command line: argument %d: %s", argument, key);
    return give(f, equals + 1, where, e);
}

static int keep_set(mb_run *run, const found *a, mb_err *e) {
    mb_set *more = mb_realloc_array(run->sets, (size_t)run->nsets + 1, sizeof *more);
    if (!more)
        return mb_fail(e, MB_NOMEM, "out of memory for the arguments");
    run->sets = more;
    run->sets[run->nsets++] = (mb_set){.text = a->value, .argument = a->argument};
    return MB_OK;
}

static int add_argument(mb_run *run, const char *text, mb_err *e) {
    char **more = mb_realloc_array(run->args, (size_t)run->nargs + 1, sizeof *more);
    if (more)
        run->args = more;
    if (!more || !(run->args[run->nargs] = mb_strdup(text)))
        return mb_fail(e, MB_NOMEM, "out of memory for the arguments");
    run->nargs++;
    return MB_OK;
}

/* What a pass over the command line is to do. */
typedef enum pass { PASS_CONTROLS, PASS_SETS, PASS_FLAGS } pass;

typedef struct asked {
    int print;
    mb_config_file file;
} asked;

static int visit(mb_run *run, const mb_fields *fs, pass p, const found *a, asked *ask, mb_err *e) {
    char flag[128];
    const mb_field *f = a->field;
    if (!f)
        return p == PASS_FLAGS ? add_argument(run, a->value, e) : MB_OK;
    if (p == PASS_CONTROLS && f->control == MB_CONTROL_CONFIG)
        return mb_config_apply(a->value, run->verb, fs, &ask->file, e);
    if (p == PASS_CONTROLS && f->control == MB_CONTROL_PRINT)
        ask->print = 1;
    if (p == PASS_SETS && f->control == MB_CONTROL_SET && run->verb->own_sets)
        return keep_set(run, a, e);
    if (p == PASS_SETS && f->control == MB_CONTROL_SET)
        return apply_set(fs, a->value, a->argument, e);
    if (p == PASS_FLAGS && !f->control) {
        mb_flag_name(f->option, flag, sizeof flag);
        return give(f, a->value, flag, e);
    }
    return MB_OK;
}

static int run_pass(mb_run *run, const mb_fields *fs, pass p, asked *ask, mb_err *e) {
    walk w = begin(run, fs);
    found a;
    int rc, got;
    while ((got = next(&w, &a, e)) > 0)
        if ((rc = visit(run, fs, p, &a, ask, e)))
            return rc;
    return got;
}

/* --help wins over all errors: who is lost asks for it. */
static int serve_help(const mb_run *run, const mb_fields *fs) {
    const mb_field *h = find_letter(fs, 'h');
    int letter_is_help = h && h->control == MB_CONTROL_HELP;
    for (int i = 2; i < run->argc && strcmp(run->argv[i], "--") != 0; i++) {
        if (strcmp(run->argv[i], "--help") == 0 || (letter_is_help && strcmp(run->argv[i], "-h") == 0)) {
            mb_options_help(run->program, run->verb, 0, stdout);
            return 1;
        }
    }
    return 0;
}

static int serve_version(const mb_run *run) {
    for (int i = 2; i < run->argc && strcmp(run->argv[i], "--") != 0; i++)
        if (strcmp(run->argv[i], "--version") == 0) {
            mb_version_print(run->program, stdout);
            return 1;
        }
    return 0;
}

/* The name the usage line gives the i-th argument: "INPUT" of "INPUT -m MODEL"; NULL when it gives none. */
static const char *argument_name(const char *usage, int i, int *n) {
    for (; i && *usage; i--) {
        usage += strcspn(usage, " ");
        usage += strspn(usage, " ");
    }
    *n = (int)strspn(usage, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.0123456789");
    return *n && usage[0] >= 'A' && usage[0] <= 'Z' ? usage : NULL;
}

static int check_arguments(const mb_run *run, mb_err *e) {
    const mb_verb *v = run->verb;
    int n = 0;
    const char *name = argument_name(v->usage, run->nargs, &n);
    if (run->nargs < v->min_args)
        return mb_fail(e, MB_USAGE, "%.*s is missing\nUsage: %s %s %s\nTry \"%s %s --help\".", name ? n : 11,
                       name ? name : "an argument", run->program, v->name, v->usage, run->program, v->name);
    if (v->max_args >= 0 && run->nargs > v->max_args)
        return mb_fail(e, MB_USAGE, "unexpected argument \"%.200s\"\nUsage: %s %s %s\nTry \"%s %s --help\".",
                       run->args[v->max_args], run->program, v->name, v->usage, run->program, v->name);
    return MB_OK;
}

/* Turns what was asked into what is used. */
static int settle_globals(mb_run *run, const mb_global_values *g, mb_err *e) {
    char why[MB_OPTIONS_WHY];
    static const char *const DEVICES[] = {"cpu", "ref"}; /* as in the table */
    run->globals = (mb_globals){.threads = g->threads,
                                .memory = g->memory,
                                .threads_asked = g->threads,
                                .memory_asked = g->memory,
                                .seed = g->seed,
                                .dry_run = g->dry_run};
    run->globals.log_level = g->quiet ? MB_LOG_WARN : g->verbose ? MB_LOG_DEBUG : MB_LOG_INFO;
    mb_log_set_level((mb_log_level)run->globals.log_level);
    if (g->quiet && g->verbose)
        return mb_fail(e, MB_USAGE, "--quiet and --verbose exclude each other");
    if (!g->threads) {
        run->globals.threads = mb_auto_threads("", why);
        mb_debug("%lld threads: %s", (long long)run->globals.threads, why);
    }
    if (!g->memory) {
        char size[32];
        run->globals.memory = mb_auto_memory("", why);
        mb_debug("%s of memory: %s", mb_human_bytes((double)run->globals.memory, size), why);
    }
    run->globals.device = mb_strdup(DEVICES[g->device]);
    return run->globals.device ? MB_OK : mb_fail(e, MB_NOMEM, "out of memory for the options");
}

static int reset_all(const mb_fields *fs, mb_err *e) {
    for (int i = 0; i < fs->n; i++)
        if (!fs->field[i].control && mb_value_reset(fs->field[i].option, fs->field[i].value))
            return mb_fail(e, MB_NOMEM, "out of memory for the options");
    return MB_OK;
}

/* Positional arguments of the file stand in when the command line has none. */
static int adopt_inputs(mb_run *run, const mb_config_file *c, mb_err *e) {
    int rc = MB_OK;
    if (run->nargs)
        return MB_OK;
    for (int i = 0; rc == MB_OK && i < c->n_inputs; i++)
        rc = add_argument(run, c->inputs[i], e);
    return rc;
}

int mb_options_parse(mb_run *run, int argc, char **argv, int *done, mb_err *e) {
    mb_fields fs = {0};
    mb_global_values globals = {0};
    asked ask = {0};
    *done = 0;
    run->argc = argc;
    run->argv = argv;
    run->args = NULL;
    run->nargs = 0;
    run->sets = NULL;
    run->nsets = 0;
    run->globals = (mb_globals){0};
    run->values = mb_calloc(1, run->verb->values_size ? run->verb->values_size : 1);
    int rc = run->values ? mb_fields_make(&fs, run->verb, run->values, &globals, e)
                         : mb_fail(e, MB_NOMEM, "out of memory for the options");
    if (rc)
        goto done;
    if (serve_help(run, &fs) || serve_version(run)) {
        *done = 1;
        goto done;
    }
    if ((rc = reset_all(&fs, e)) || (rc = run_pass(run, &fs, PASS_CONTROLS, &ask, e)) ||
        (rc = run_pass(run, &fs, PASS_SETS, &ask, e)) || (rc = run_pass(run, &fs, PASS_FLAGS, &ask, e)) ||
        (rc = adopt_inputs(run, &ask.file, e)) || (rc = settle_globals(run, &globals, e)))
        goto done;
    if (ask.print) {
        *done = 1;
        rc = mb_options_dump(run, stdout, e);
    } else {
        rc = check_arguments(run, e);
    }
done:
    mb_config_file_free(&ask.file);
    mb_fields_free(&fs);
    return rc;
}

void mb_options_free(mb_run *run) {
    const mb_option *o = run->verb ? run->verb->options : NULL;
    for (; run->values && o && o->key; o++)
        if (o->type == MB_OPT_STRING)
            mb_free(*(char **)((char *)run->values + o->offset));
    for (int i = 0; i < run->nargs; i++)
        mb_free(run->args[i]);
    mb_free(run->args);
    mb_free(run->sets);
    mb_free(run->values);
    mb_free(run->globals.device);
    run->args = NULL;
    run->nargs = 0;
    run->sets = NULL;
    run->nsets = 0;
    run->values = NULL;
    run->globals.device = NULL;
}
