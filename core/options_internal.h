/* Parts of the option parser: fields (an option and where its value lies), values, files, the machine's own defaults.
 */
#ifndef MB_OPTIONS_INTERNAL_H
#define MB_OPTIONS_INTERNAL_H
#include "core/option_value.h"
#include "core/yaml.h"

/* Values of the global options as they were given. */
typedef struct mb_global_values {
    int64_t threads, memory, seed;
    int device, quiet, verbose, dry_run;
} mb_global_values;

/* Options that do something instead of holding a value. */
typedef enum mb_control {
    MB_CONTROL_NONE,
    MB_CONTROL_CONFIG,
    MB_CONTROL_SET,
    MB_CONTROL_PRINT,
    MB_CONTROL_HELP,
    MB_CONTROL_VERSION
} mb_control;

typedef struct mb_field {
    const mb_option *option;
    char letter; /* 0 when the verb took it for itself */
    void *value; /* NULL for controls, and when only help is wanted */
    mb_control control;
    int global;
} mb_field;

typedef struct mb_fields {
    mb_field *field;
    int n;
} mb_fields;

extern const mb_option mb_global_options[];
extern const mb_option mb_control_options[]; /* in the order of mb_control, from MB_CONTROL_CONFIG */

/* The verb's options, then the global ones, then the controls. values and globals may be NULL. Asserts that keys and
 * letters are unique and that defaults and choices make sense. */
int mb_fields_make(mb_fields *fs, const mb_verb *verb, void *values, mb_global_values *globals, mb_err *e) MB_MUST_USE;
void mb_fields_free(mb_fields *fs);
/* By key, '-' and '_' alike; NULL when unknown. */
const mb_field *mb_fields_find(const mb_fields *fs, const char *key, size_t n);
/* Suggestion for an unknown key, or NULL. controls: whether those count. */
const char *mb_fields_suggest(const mb_fields *fs, const char *key, int controls);
void mb_flag_name(const mb_option *o, char *out, size_t room); /* "--batch-size" */

/* The global options as they were given, from what they became. */
mb_global_values mb_globals_asked(const mb_run *run);
/* "dna-mamba 0.1.0" and the build. */
void mb_version_print(const char *program, FILE *f);
/* Text as YAML: plain where that is safe, else in double quotes; '$' doubled. */
void mb_yaml_print_text(FILE *f, const char *text);

/* What a file gave besides option values. */
typedef struct mb_config_file {
    char **inputs; /* positional arguments, owned */
    int n_inputs;
} mb_config_file;
int mb_config_apply(const char *path, const mb_verb *verb, const mb_fields *fs, mb_config_file *c,
                    mb_err *e) MB_MUST_USE;
void mb_config_file_free(mb_config_file *c);

/* Threads and memory this process should use when nobody said. root: "" or, in tests, a folder that holds proc/ and
 * sys/. reason holds MB_OPTIONS_WHY bytes. */
int64_t mb_auto_threads(const char *root, char *reason);
int64_t mb_auto_memory(const char *root, char *reason);
#endif
