/* One table of fields per verb drives everything a user can set: flags, --config YAML, --set key=value, --help with
 * live defaults, and the effective configuration that is saved beside each result.
 *
 * Order of precedence: table defaults < --config FILE < --set key=value < flags. All errors of a file are reported at
 * once as file:line:col with a suggestion for unknown keys.
 *
 * A configuration file is a YAML map from option keys, the global ones included, to values; besides "command: VERB"
 * (must be the verb that runs), "inputs: [..]" (positional arguments, replaced by those of the command line) and
 * "version: 1". null resets an option to its default, in files and in --set. Types are the options', not YAML's: a bool
 * is exactly true or false, a number has no leading zeros, underscores or quotes. */
#ifndef MB_OPTIONS_H
#define MB_OPTIONS_H
#include <stdatomic.h>
#include <stdio.h>
#include "core/error.h"

typedef struct mb_run mb_run;

typedef enum mb_option_type {
    MB_OPT_BOOL,   /* int;   --flag, --no-flag, --flag=true */
    MB_OPT_INT,    /* int64_t; accepts 100k, 1M (decimal multipliers) */
    MB_OPT_BYTES,  /* int64_t; accepts 512M, 4G, 4GiB (binary multipliers); 0 = auto */
    MB_OPT_FLOAT,  /* double */
    MB_OPT_STRING, /* char *, owned by the values struct; NULL when unset */
    MB_OPT_CHOICE  /* int, index into the choices "none|mean|max" */
} mb_option_type;

/* What an option's value is to the files of a run, for those who run verbs one after the other (pipelines). */
typedef enum mb_role {
    MB_ROLE_VALUE = 0,     /* no file; or, without a word in the table, what the key's name says (mb_option_role) */
    MB_ROLE_INPUT,         /* a file or folder that is read and must be there */
    MB_ROLE_MODEL,         /* a folder with a model or a config.json; or a preset, or a name of the hub's cache */
    MB_ROLE_NAMED,         /* a file that is read, if there is one of that name; else it means something else */
    MB_ROLE_OUTPUT,        /* a file that is written; others named FILE.* may stand beside it */
    MB_ROLE_OUTPUT_FOLDER, /* a folder that is made */
    MB_ROLE_OUTPUT_PREFIX, /* files named VALUE.* are written */
    MB_ROLE_MACHINE        /* how the work is done; results do not depend on it */
} mb_role;

typedef struct mb_option {
    const char *key; /* "window": YAML key and --window; '_' in YAML and '-' in flags are the same */
    char letter;     /* 'm' for -m, or 0 */
    mb_option_type type;
    size_t offset;       /* into the verb's values struct */
    const char *def;     /* default as a user would type it; NULL = unset / 0 */
    double min, max;     /* numeric range; both 0 = unchecked, max < min = no upper limit */
    const char *choices; /* "none|mean|max" */
    const char *meta;    /* "N", "FILE": shown in help */
    const char *help;    /* one or more sentences; wrapped by the printer */
    mb_role role;
} mb_option;

typedef struct mb_verb {
    const char *name;         /* "embed" */
    const char *summary;      /* one line for the program's list of verbs */
    const char *usage;        /* "INPUT -m MODEL -o OUT [options]" */
    const char *details;      /* paragraphs under the usage: what it does, formats, examples that work when pasted */
    const mb_option *options; /* ends with key == NULL; may be NULL. The global options are added by the parser. */
    size_t values_size;       /* of the values struct; allocated zeroed by the parser */
    int min_args, max_args;   /* positional arguments; max < 0 = any number */
    int (*run)(mb_run *run, mb_err *e);
    mb_role args_role; /* of positional arguments; MB_ROLE_VALUE: they are inputs */
    int own_sets;      /* --set is not about the options: the verb finds what was given in mb_run.sets */
} mb_verb;

/* What a verb's run function gets. */
typedef struct mb_globals { /* options every verb of every program has */
    int64_t threads;        /* --threads, resolved: > 0 */
    int64_t memory;         /* --memory, resolved: bytes > 0 */
    int64_t seed;
    int log_level; /* --quiet/--verbose */
    int dry_run;
    char *device;          /* "cpu" | "ref" */
    int64_t threads_asked; /* as given, 0 = chosen here */
    int64_t memory_asked;
} mb_globals;

typedef struct mb_set {
    const char *text; /* "KEY=VALUE" as it was given */
    int argument;     /* its place on the command line, the program being 0 */
} mb_set;

struct mb_run {
    const char *program; /* "dna-mamba" */
    const mb_verb *verb;
    void *values; /* the verb's struct, filled */
    mb_globals globals;
    char **args; /* positional arguments */
    int nargs;
    char **argv; /* the whole command line, for provenance */
    int argc;
    mb_set *sets; /* verbs with own_sets: in the order given; text belongs to argv */
    int nsets;
};

/* Fills run from the command line; run->program and run->verb are the caller's, argv[0] is the program and argv[1] the
 * verb. Returns MB_OK, or MB_USAGE with text; sets *done = 1 when --help, --version or --print-config was served on
 * stdout and there is nothing more to do. Sets the log level. run needs mb_options_free in every case. */
int mb_options_parse(mb_run *run, int argc, char **argv, int *done, mb_err *e) MB_MUST_USE;
void mb_options_free(mb_run *run);
/* Effective configuration as YAML, with every default written out. */
int mb_options_dump(const mb_run *run, FILE *f, mb_err *e) MB_MUST_USE;

/* Help for one verb, and for a program, as --help prints it. columns: 0 = the terminal's, or 80. */
void mb_options_help(const char *program, const mb_verb *verb, int columns, FILE *f);
void mb_options_help_program(const char *program, const char *tagline, const mb_verb *verbs, int columns, FILE *f);
/* The role the table gives, or else what the house's names of options say: model, output, out, report, scratch. */
mb_role mb_option_role(const mb_option *o);
/* Every verb with its options, the global ones included, as JSON: what "PROGRAM --describe" prints. */
void mb_options_describe(const char *program, const mb_verb *verbs, FILE *f);
extern const char *const mb_role_names[]; /* by mb_role, NULL at the end */
extern const char *const mb_type_names[]; /* by mb_option_type, NULL at the end */
/* The nearest of n names for a typo (one or two letters wrong, missing, added or swapped), NULL when none is near. */
const char *mb_suggest(const char *word, const char *const *names, int n);

/* The whole of a program's main: picks the verb (suggesting on a typo), parses, runs, prints the error, flushes stdout
 * (a failed flush is an error), returns the exit code. verbs ends with name == NULL. */
int mb_cli_main(const char *program, const char *tagline, const mb_verb *verbs, int argc, char **argv);
/* Set when the user or the scheduler asked the program to stop (SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU):
 * end at the next good place with MB_STOPPED. A second Ctrl-C, or a second request more than two seconds later, ends at
 * once; temporary outputs are removed in either case. */
const atomic_int *mb_cli_stop(void);
#endif
