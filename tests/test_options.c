/* Options: values and their refusals, precedence, configuration files, help, the effective configuration, what a
 * process takes when nobody says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/options_internal.h"
#include "tests/scratch.h"

typedef struct values {
    int64_t window, free_count, buffer;
    double tol;
    char *out, *model;
    int pool, keep_case, lower;
} values;

#define V(member) .offset = offsetof(values, member)
static const mb_option OPTIONS[] = {
    {.key = "window",
     .letter = 'w',
     .type = MB_OPT_INT,
     V(window),
     .def = "4096",
     .min = 1,
     .max = 1048576,
     .meta = "N",
     .help = "Bases per window."},
    {.key = "free_count", .type = MB_OPT_INT, V(free_count), .help = "Unchecked."},
    {.key = "tol", .type = MB_OPT_FLOAT, V(tol), .def = "1e-5", .min = 0, .max = 1, .meta = "X", .help = "Tolerance."},
    {.key = "out", .letter = 'o', .type = MB_OPT_STRING, V(out), .meta = "FILE", .help = "Output."},
    {.key = "model", .letter = 'm', .type = MB_OPT_STRING, V(model), .def = "demo", .meta = "MODEL", .help = "Model."},
    {.key = "pool",
     .type = MB_OPT_CHOICE,
     V(pool),
     .def = "mean",
     .choices = "none|mean|max|center",
     .help = "Pooling."},
    {.key = "keep_case", .letter = 'k', .type = MB_OPT_BOOL, V(keep_case), .def = "true", .help = "Keep case."},
    {.key = "lower", .letter = 'l', .type = MB_OPT_BOOL, V(lower), .help = "Lower case."},
    {.key = "buffer",
     .type = MB_OPT_BYTES,
     V(buffer),
     .def = "64M",
     .help = "A buffer whose explanation is long enough to be wrapped, on a terminal of "
             "any width that people use, several times, \xC3\xA9ven with other letters."},
    {0}};

static int run_nothing(mb_run *run, mb_err *e) {
    (void)run, (void)e;
    return MB_OK;
}

static const mb_verb VERB = {
    .name = "embed",
    .summary = "embeddings of sequences",
    .usage = "INPUT... -o OUT [options]",
    .details =
        "A paragraph that is so long that it needs to be wrapped somewhere in the middle of it all.\n\n  an example that stays",
    .options = OPTIONS,
    .values_size = sizeof(values),
    .min_args = 1,
    .max_args = 3,
    .run = run_nothing};

/* ---- a command line, parsed ---------------------------------------------------------------------------------------*/
static mb_run run;
static mb_err err;
static int done;
static char *words[64];
static char words_text[8192];
static long blocks; /* before the parse: a failed test must not fail the ones after it */

/* line: words separated by '|', so that they may hold blanks. */
static int parse(const char *line) {
    int n = 0;
    snprintf(words_text, sizeof words_text, "prog|embed%s%s", *line ? "|" : "", line);
    for (char *w = words_text, *next; w; w = next) {
        next = strchr(w, '|');
        if (next)
            *next++ = '\0';
        words[n++] = w;
    }
    words[n] = NULL;
    blocks = mb_mem_live_blocks();
    run = (mb_run){.program = "prog", .verb = &VERB};
    mb_err_clear(&err);
    done = 0;
    return mb_options_parse(&run, n, words, &done, &err);
}

static void finish(void) {
    mb_options_free(&run);
    mb_log_set_level(MB_LOG_INFO);
    assert_int_equal(mb_mem_live_blocks(), blocks);
}

static const values *parsed(const char *line) {
    int rc = parse(line);
    if (rc)
        fail_msg("%s: %s", line, err.text);
    return run.values;
}

static void refused(const char *line, const char *text) {
    assert_int_equal(parse(line), MB_USAGE);
    assert_string_equal(err.text, text);
    finish();
}

/* ---- values -------------------------------------------------------------------------------------------------------*/
static void defaults_hold(void **state) {
    (void)state;
    const values *v = parsed("in.fa");
    assert_int_equal(v->window, 4096);
    assert_int_equal(v->free_count, 0);
    assert_true(v->tol == 1e-5);
    assert_null(v->out);
    assert_string_equal(v->model, "demo");
    assert_int_equal(v->pool, 1);
    assert_int_equal(v->keep_case, 1);
    assert_int_equal(v->lower, 0);
    assert_int_equal(v->buffer, 64 << 20);
    assert_int_equal(run.nargs, 1);
    assert_string_equal(run.args[0], "in.fa");
    assert_true(run.globals.threads > 0);
    assert_int_equal(run.globals.threads_asked, 0);
    assert_true(run.globals.memory > 1 << 20);
    assert_int_equal(run.globals.seed, 0);
    assert_string_equal(run.globals.device, "cpu");
    assert_int_equal(run.globals.log_level, MB_LOG_INFO);
    assert_int_equal(run.globals.dry_run, 0);
    assert_int_equal(done, 0);
    finish();
}

static void every_way_to_say_it(void **state) {
    (void)state;
    static const char *const LINES[] = {"in|--window|7|--out|x|--lower|--no-keep-case",
                                        "--window=7|--out=x|in|--lower=true|--keep-case=false",
                                        "-w|7|-o|x|in|-l|--keep_case=false",
                                        "-w7|-ox|-l|in|--no-keep_case",
                                        "-w=7|-lox|in|--no-keep-case",
                                        "-lw7|-o|x|--no-keep-case|--|in",
                                        "--set|window=7|--set=out=x|--set|lower=true|--set|keep-case=false|in"};
    for (size_t i = 0; i < sizeof LINES / sizeof LINES[0]; i++) {
        const values *v = parsed(LINES[i]);
        assert_int_equal(v->window, 7);
        assert_string_equal(v->out, "x");
        assert_int_equal(v->lower, 1);
        assert_int_equal(v->keep_case, 0);
        assert_int_equal(run.nargs, 1);
        assert_string_equal(run.args[0], "in");
        finish();
    }
    const values *v = parsed("-|--|-x|--window"); /* a dash is an argument, and all is after two */
    assert_int_equal(run.nargs, 3);
    assert_string_equal(run.args[0], "-");
    assert_string_equal(run.args[1], "-x");
    assert_string_equal(run.args[2], "--window");
    assert_int_equal(v->window, 4096);
    finish();
    v = parsed("in|--out|-5|-w|1|-w|2|--out=--lower|--model="); /* the last one counts */
    assert_string_equal(v->out, "--lower");
    assert_int_equal(v->window, 2);
    assert_string_equal(v->model, "");
    finish();
}

static void numbers_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } INTS[] = {{"0", 0},
                {"-5", -5},
                {"+5", 5},
                {"100k", 100000},
                {"1M", 1000000},
                {"2G", 2000000000},
                {"3T", 3000000000000},
                {"9223372036854775807", INT64_MAX}},
      BYTES[] = {{"0", 0},
                 {"512", 512},
                 {"1k", 1024},
                 {"1K", 1024},
                 {"512M", 512 << 20},
                 {"4G", (int64_t)4 << 30},
                 {"4GiB", (int64_t)4 << 30},
                 {"1.5g", (int64_t)3 << 29},
                 {"2TiB", (int64_t)2 << 40}};
    static const struct {
        const char *text;
        double value;
    } FLOATS[] = {{"0", 0},       {"1", 1},         {"0.25", 0.25}, {".5", .5},
                  {"1e-3", 1e-3}, {"2.5E-1", 0.25}, {"1.", 1},      {"+0.5", 0.5}};
    char line[100];
    for (size_t i = 0; i < sizeof INTS / sizeof INTS[0]; i++) {
        snprintf(line, sizeof line, "in|--free-count|%s", INTS[i].text);
        assert_true(parsed(line)->free_count == INTS[i].value);
        finish();
    }
    for (size_t i = 0; i < sizeof BYTES / sizeof BYTES[0]; i++) {
        snprintf(line, sizeof line, "in|--buffer|%s", BYTES[i].text);
        assert_true(parsed(line)->buffer == BYTES[i].value);
        finish();
    }
    for (size_t i = 0; i < sizeof FLOATS / sizeof FLOATS[0]; i++) {
        snprintf(line, sizeof line, "in|--tol|%s", FLOATS[i].text);
        assert_true(parsed(line)->tol == FLOATS[i].value);
        finish();
    }
}

static void wrong_values_are_explained(void **state) {
    (void)state;
    refused("in|-w|0", "--window: 0 is out of range; it must be 1 to 1048576");
    refused("in|-w|1048577", "--window: 1048577 is out of range; it must be 1 to 1048576");
    refused("in|-w|010", "--window: 010 has a leading zero; write 10");
    refused("in|-w|-007", "--window: -007 has a leading zero; write -7");
    refused("in|-w|00", "--window: 00 has a leading zero; write 0");
    refused("in|-w|1_000", "--window: 1_000: write the number without underscores");
    refused("in|-w|1,000", "--window: 1,000: write the number without commas");
    refused("in|-w|1e3", "--window: 1e3: a whole number is expected, such as 1000000 or 1M");
    refused("in|-w|1.5", "--window: 1.5: a whole number is expected, such as 1000000 or 1M");
    refused("in|-w|0x10", "--window: \"0x10\" is not a whole number");
    refused("in|-w|ten", "--window: \"ten\" is not a whole number");
    refused("in|-w|7x", "--window: \"7x\" is not a whole number");
    refused("in|--window=", "--window: a value is missing; a whole number expected");
    refused("in|--free-count|9223372036854775808", "--free-count: 9223372036854775808 is too large");
    refused("in|--free-count|9223372036854775807k", "--free-count: 9223372036854775807k is too large");
    refused("in|--tol|nan", "--tol: \"nan\" is not a number");
    refused("in|--tol|inf", "--tol: \"inf\" is not a number");
    refused("in|--tol|0x1p3", "--tol: \"0x1p3\" is not a number");
    refused("in|--tol|1e999", "--tol: 1e999 is too large");
    refused("in|--tol|00.5", "--tol: 00.5 has a leading zero; write 0.5");
    refused("in|--tol|1.5", "--tol: 1.5 is out of range; it must be 0 to 1");
    refused("in|--tol|.", "--tol: \".\" is not a number");
    refused("in|--buffer|4GB", "--buffer: 4GB: write 4G or 4GiB, which count in 1024");
    refused("in|--buffer|512 MB", "--buffer: \"512 MB\" is not a size such as 512M or 4G");
    refused("in|--buffer|-1", "--buffer: \"-1\" is not a size such as 512M or 4G");
    refused("in|--buffer|99999999P", "--buffer: 99999999P is too large");
    refused("in|--pool|man", "--pool: \"man\" is not among none, mean, max or center; did you mean mean?");
    refused("in|--pool|", "--pool: \"\" is not among none, mean, max or center");
    refused("in|--lower=yes", "--lower: \"yes\" is no truth value here; write true");
    refused("in|--lower=Off", "--lower: \"Off\" is no truth value here; write false");
    refused("in|--lower=TRUE", "--lower: \"TRUE\": write true, in small letters");
    refused("in|--lower=maybe", "--lower: \"maybe\" is neither true nor false");
    refused("in|--threads|5000", "--threads: 5000 is out of range; it must be 0 to 4096");
    refused("in|--seed|-1", "--seed: -1 is out of range; it must be at least 0");
    refused("in|--device|gpu", "--device: \"gpu\" is not among cpu or ref; did you mean cpu?");
    refused("in|-q|-v", "--quiet and --verbose exclude each other");
}

static void wrong_lines_are_explained(void **state) {
    (void)state;
    refused("in|--windwo|3", "unknown option --windwo; did you mean --window?\nTry \"prog embed --help\".");
    refused("in|--keep-cas", "unknown option --keep-cas; did you mean --keep-case?\nTry \"prog embed --help\".");
    refused("in|--xyzzy=3", "unknown option --xyzzy=3\nTry \"prog embed --help\".");
    refused("in|-z", "unknown option -z\nTry \"prog embed --help\".");
    refused("in|-lz", "unknown option -z\nTry \"prog embed --help\".");
    refused("in|--no-window", "unknown option --no-window; did you mean --window?\nTry \"prog embed --help\".");
    refused("in|--no-lower=true", "--no-lower takes no value; write --lower=false or --no-lower");
    refused("in|-w", "-w needs a value (N)");
    refused("in|--pool", "--pool needs a value (VALUE)");
    refused("in|--out|--lower",
            "--out needs a value, but the option --lower follows; if that is the value, write --out=--lower");
    refused("in|--set|windw=3", "command line: argument 3: --set: unknown key \"windw\"; did you mean \"window\"?");
    refused("in|--set|window", "command line: argument 3: --set window: write --set key=value");
    refused("in|--set|=3", "command line: argument 3: --set =3: write --set key=value");
    refused("in|--set|config=x", "command line: argument 3: --set: unknown key \"config\"");
    refused("in|-l|--set|window=0", "command line: argument 4: window: 0 is out of range; it must be 1 to 1048576");
    refused("", "INPUT... is missing\nUsage: prog embed INPUT... -o OUT [options]\nTry \"prog embed --help\".");
    refused("a|b|c|d",
            "unexpected argument \"d\"\nUsage: prog embed INPUT... -o OUT [options]\nTry \"prog embed --help\".");
}

static void globals_are_taken(void **state) {
    (void)state;
    parsed("in|-t|3|--memory|1G|--seed|42|--device|ref|-v|--dry-run");
    assert_int_equal(run.globals.threads, 3);
    assert_int_equal(run.globals.threads_asked, 3);
    assert_int_equal(run.globals.memory, 1 << 30);
    assert_int_equal(run.globals.seed, 42);
    assert_string_equal(run.globals.device, "ref");
    assert_int_equal(run.globals.log_level, MB_LOG_DEBUG);
    assert_int_equal(mb_log_get_level(), MB_LOG_DEBUG);
    assert_int_equal(run.globals.dry_run, 1);
    finish();
    parsed("in|-q");
    assert_int_equal(run.globals.log_level, MB_LOG_WARN);
    finish();
}

/* ---- configuration files ------------------------------------------------------------------------------------------*/
static const char *with_config(const char *yaml, const char *rest) {
    static char line[2048];
    snprintf(line, sizeof line, "--config|%s%s", scratch_text("c.yaml", yaml), rest);
    return line;
}

static void files_lie_below_sets_and_flags(void **state) {
    (void)state;
    const char *yaml =
        "version: 1\ncommand: embed\ninputs: [a.fa, \"b c.fa\"]\nwindow: 5k\ntol: 0.5\npool: max\nkeep-case: false\n"
        "out: 010\nmodel: \"true\"\nbuffer: 1.5G\nthreads: 2\ndevice: ref\n";
    const values *v = parsed(with_config(yaml, ""));
    assert_int_equal(v->window, 5000);
    assert_true(v->tol == 0.5);
    assert_int_equal(v->pool, 2);
    assert_int_equal(v->keep_case, 0);
    assert_string_equal(v->out, "010"); /* text for text */
    assert_string_equal(v->model, "true");
    assert_int_equal(v->buffer, (int64_t)3 << 29);
    assert_int_equal(run.globals.threads, 2);
    assert_string_equal(run.globals.device, "ref");
    assert_int_equal(run.nargs, 2);
    assert_string_equal(run.args[1], "b c.fa");
    finish();
    v = parsed(with_config(yaml, "|--window|3|--set|window=2|--set|tol=0.25|--set|out=null|--set|model=null|z.fa"));
    assert_int_equal(v->window, 3); /* the flag, wherever it stands */
    assert_true(v->tol == 0.25);
    assert_null(v->out);
    assert_string_equal(v->model, "demo");
    assert_int_equal(run.nargs, 1);
    assert_string_equal(run.args[0], "z.fa");
    finish();
    char line[2048];
    snprintf(line, sizeof line, "--config|%s|--config=%s", scratch_text("1.yaml", "inputs: x\nwindow: 1\ntol: 0\n"),
             scratch_text("2.yaml", "window: 2\ntol: ~\n"));
    v = parsed(line);
    assert_int_equal(v->window, 2);
    assert_true(v->tol == 1e-5); /* null: the default */
    assert_string_equal(run.args[0], "x");
    finish();
    parsed(with_config("", "|in"));
    finish();
    parsed(with_config("inputs: ~\n", "|in"));
    finish();
}

static void all_errors_of_a_file_are_told(void **state) {
    (void)state;
    const char *yaml =
        "command: score\nversion: 2\nwindwo: 5\nwindow: 0\ntol: \"0.5\"\npool: men\nkeep-case: yes\nkeep_case: true\n"
        "lower: [1]\nfree_count: 010\nconfig: x\nmemory:\n  a: 1\ninputs: {a: b}\ninput: x\nout: &o a\nmodel: *p\nwindow: 3\n";
    static const char *const TOLD[] = {
        ":1:10: error: command: this file is for \"score\", and \"embed\" is being run",
        ":2:10: error: version: this program reads version 1 of configuration files",
        ":3:1: error: unknown key \"windwo\"; did you mean \"window\"?",
        ":4:9: error: window: 0 is out of range; it must be 1 to 1048576",
        ":5:6: error: tol: a number is expected, and text in quotes is none; remove the quotes",
        ":6:7: error: pool: \"men\" is not among none, mean, max or center; did you mean mean?",
        ":7:12: error: keep_case: \"yes\" is no truth value here; write true",
        ":8:1: error: \"keep_case\" is the same key as \"keep-case\" at line 7, column 1",
        ":9:8: error: lower: one value is expected, not a list",
        ":10:13: error: free_count: 010 has a leading zero; write 10",
        ":11:1: error: \"config\" can only be given on the command line",
        ":13:3: error: memory: one value is expected, not a map",
        ":14:9: error: inputs: a list of paths is expected, not a map",
        ":15:1: error: unknown key \"input\"; did you mean \"inputs\"?",
        ":17:8: error: the alias *p names no anchor above it",
        ":18:1: error: the key \"window\" was given before, at line 4, column 1",
    };
    assert_int_equal(parse(with_config(yaml, "|in")), MB_USAGE);
    for (size_t i = 0; i < sizeof TOLD / sizeof TOLD[0]; i++)
        if (!strstr(err.text, TOLD[i]))
            fail_msg("not told: %s\n%s", TOLD[i], err.text);
    int n = 0;
    for (const char *at = err.text; (at = strstr(at, ": error: ")); at++)
        n++;
    assert_int_equal(n, sizeof TOLD / sizeof TOLD[0]);
    finish();
}

static void files_that_are_no_map_are_refused(void **state) {
    (void)state;
    assert_int_equal(parse(with_config("- a\n", "|in")), MB_USAGE);
    assert_non_null(strstr(err.text, ":1:1: error: lines of \"key: value\" are expected, not a list"));
    finish();
    assert_int_equal(parse(with_config("inputs: [a, ~, [b]]\n", "")), MB_USAGE);
    assert_non_null(strstr(err.text, ":1:13: error: inputs: a path is expected here"));
    assert_non_null(strstr(err.text, ":1:16: error: inputs: a path is expected here"));
    finish();
    assert_int_equal(parse("in|--config|/no/such/file.yaml"), MB_USAGE);
    assert_non_null(strstr(err.text, "/no/such/file.yaml: cannot open it"));
    finish();
}

/* ---- what is printed ----------------------------------------------------------------------------------------------*/
static char *printed(void (*f)(FILE *)) {
    FILE *out = fopen(scratch_path("printed"), "w");
    assert_non_null(out);
    f(out);
    fclose(out);
    return scratch_read(scratch_path("printed"), NULL);
}

static void dump(FILE *f) {
    mb_err e = {0};
    assert_int_equal(mb_options_dump(&run, f, &e), MB_OK);
}

static void the_effective_configuration_reads_back(void **state) {
    (void)state;
    const char *nasty =
        "in put|$HOME ${env:X}|--out|\"q\" \\ # : - \001\t\n\xC3\xA9\xE2\x80\xA8\xF0\x9F\xA7\xAC|--model|null|-w|12k|--buffer|5M|--tol|0.1|--pool|center|-l|-k|"
        "--threads|2|--memory|3G|--seed|9|--device|ref|-v|--dry-run";
    parsed(nasty);
    char *first = printed(dump);
    finish();
    static char copy[4096];
    snprintf(copy, sizeof copy, "%s", first);
    const values *v = parsed(with_config(first, ""));
    assert_string_equal(v->out, "\"q\" \\ # : - \001\t\n\xC3\xA9\xE2\x80\xA8\xF0\x9F\xA7\xAC");
    assert_string_equal(v->model, "null");
    assert_string_equal(run.args[0], "in put");
    assert_string_equal(run.args[1], "$HOME ${env:X}");
    assert_true(v->tol == 0.1);
    assert_int_equal(run.globals.memory, (int64_t)3 << 30);
    char *second = printed(dump);
    assert_string_equal(first, second);
    finish();
    free(first);
    free(second);
    assert_non_null(strstr(copy, "\nwindow: 12000\n"));
    assert_non_null(strstr(copy, "\nbuffer: 5M\n"));
    assert_non_null(strstr(copy, "\ntol: 0.1\n"));
    assert_non_null(strstr(copy, "\npool: center\n"));
    assert_non_null(strstr(copy, "\nmodel: \"null\"\n"));
    assert_non_null(strstr(copy, "\nlower: true\n"));
    assert_non_null(strstr(copy, "\nverbose: true\n"));
}

static void defaults_read_back_too(void **state) {
    (void)state;
    parsed("in");
    char *first = printed(dump);
    finish();
    assert_non_null(strstr(first, "\nout: null\n"));
    assert_non_null(strstr(first, "\nthreads: 0 # chosen here: "));
    parsed(with_config(first, ""));
    char *second = printed(dump);
    finish();
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static void bytes_that_are_no_text_are_marked(void **state) {
    (void)state;
    parsed("a\xFF");
    char *said = printed(dump);
    finish();
    assert_non_null(strstr(said, "  - \"a\\uFFFD\" # bytes that are not UTF-8"));
    parsed(with_config(said, ""));
    finish();
    free(said);
}

static void help_wide(FILE *f) {
    mb_options_help("prog", &VERB, 100, f);
}

static void help_narrow(FILE *f) {
    mb_options_help("prog", &VERB, 10, f);
}

static size_t widest(const char *text) {
    size_t most = 0;
    for (; *text; text += strcspn(text, "\n") + 1) {
        size_t w = 0;
        for (const char *c = text; *c && *c != '\n'; c++)
            w += (*c & 0xC0) != 0x80;
        most = w > most ? w : most;
    }
    return most;
}

static void help_says_all(void **state) {
    (void)state;
    static const char *const SAID[] = {
        "Usage: prog embed INPUT... -o OUT [options]\n\nEmbeddings of sequences.\n\nA paragraph",
        "\n  an example that stays\n",
        "\n  -w, --window N           Bases per window. (default: 4096; 1 to 1048576)\n",
        "\n      --free-count VALUE   Unchecked.\n",
        "\n  -o, --out FILE           Output.\n",
        "\n      --pool NAME          Pooling. One of none, mean, max or center. (default: mean)\n",
        "\n  -k, --keep-case          Keep case. (default: on; turn it off with --no-keep-case)\n",
        "\n  -l, --lower              Lower case.\n",
        "\nOptions of every command:\n  -t, --threads N          ",
        "\n  -h, --help  ",
    };
    char *wide = printed(help_wide), *narrow = printed(help_narrow);
    for (size_t i = 0; i < sizeof SAID / sizeof SAID[0]; i++)
        if (!strstr(wide, SAID[i]))
            fail_msg("not said: %s\n%s", SAID[i], wide);
    for (const mb_option *o = mb_global_options; o->key; o++)
        assert_non_null(strstr(wide, o->help ? o->key + 4 : o->key));
    for (const mb_option *o = mb_control_options; o->key; o++)
        assert_non_null(strstr(wide, o->key + (strlen(o->key) > 6 ? 6 : 0)));
    assert_in_range(widest(wide), 80, 110);
    assert_in_range(widest(narrow), 40, 110);
    free(wide);
    free(narrow);
}

static int stdout_into(const char *path, const char *line) {
    fflush(stdout);
    int saved = dup(1), fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    dup2(fd, 1);
    close(fd);
    int rc = parse(line);
    fflush(stdout);
    dup2(saved, 1);
    close(saved);
    return rc;
}

static void questions_are_answered_whatever_else_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *line, *answer;
    } ASKED[] = {{"--help", "Usage: prog embed"},
                 {"--bogus|-h|--window|0", "Usage: prog embed"},
                 {"--version", "prog "},
                 {"--print-config|-w|5", "window: 5\n"},
                 {"--print-config|x|--set|lower=true", "  - x\n"}};
    for (size_t i = 0; i < sizeof ASKED / sizeof ASKED[0]; i++) {
        int rc = stdout_into(scratch_path("answer"), ASKED[i].line);
        char *answer = scratch_read(scratch_path("answer"), NULL);
        assert_int_equal(rc, MB_OK);
        assert_int_equal(done, 1);
        assert_non_null(strstr(answer, ASKED[i].answer));
        free(answer);
        finish();
    }
    parsed("--|--help");
    assert_int_equal(done, 0);
    finish();
}

static void typos_are_recognised(void **state) {
    (void)state;
    static const char *const NAMES[] = {"window", "learning_rate", "threads", "out", "verbose"};
    static const struct {
        const char *word, *meant;
    } CASES[] = {{"windw", "window"},
                 {"widnow", "window"},
                 {"wwindow", "window"},
                 {"wind", "window"},
                 {"learning-rate", "learning_rate"},
                 {"lerning_rat", "learning_rate"},
                 {"thraeds", "threads"},
                 {"oot", "out"},
                 {"xyz", NULL},
                 {"", NULL},
                 {"o", NULL},
                 {"verb", "verbose"},
                 {"a word far longer than any name that an option will ever have had in this program", NULL}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const char *s = mb_suggest(CASES[i].word, NAMES, 5);
        if (CASES[i].meant)
            assert_string_equal(s, CASES[i].meant);
        else
            assert_null(s);
    }
}

/* ---- what a process takes when nobody says ------------------------------------------------------------------------*/
static void put_file(const char *root, const char *path, const char *text) {
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(full, 0700);
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void forget_schedulers(void) {
    static const char *const NAMES[] = {"OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK", "NSLOTS",
                                        "NCPUS",           "LSB_DJOB_NUMPROC",    "SLURM_MEM_PER_NODE"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        unsetenv(NAMES[i]);
}

static void schedulers_are_heard_in_order(void **state) {
    (void)state;
    char why[MB_OPTIONS_WHY];
    forget_schedulers();
    setenv("NSLOTS", "5", 1);
    assert_int_equal(mb_auto_threads("", why), 5);
    assert_non_null(strstr(why, "NSLOTS"));
    setenv("SLURM_CPUS_PER_TASK", "6", 1);
    assert_int_equal(mb_auto_threads("", why), 6);
    setenv("OMP_NUM_THREADS", "7,2", 1); /* nested teams: the outer one */
    assert_int_equal(mb_auto_threads("", why), 7);
    setenv("OMP_NUM_THREADS", "0", 1);
    assert_int_equal(mb_auto_threads("", why), 6);
    setenv("OMP_NUM_THREADS", "lots", 1);
    assert_int_equal(mb_auto_threads("", why), 6);
    forget_schedulers();
    assert_in_range(mb_auto_threads("", why), 1, sysconf(_SC_NPROCESSORS_ONLN));
}

static void control_groups_limit(void **state) {
    (void)state;
    char why[MB_OPTIONS_WHY];
    const char *root = scratch_path("v2");
    forget_schedulers();
    mkdir(root, 0700);
    put_file(root, "proc/self/cgroup", "0::/job/step\n");
    put_file(root, "proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable:   8388608 kB\n");
    put_file(root, "proc/self/status", "Name: x\nVmSize:\t 1000 kB\n");
    assert_int_equal(mb_auto_memory(root, why), (int64_t)(0.8 * 8388608 * 1024));
    put_file(root, "sys/fs/cgroup/job/cpu.max", "100000 100000\n");
    put_file(root, "sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
    put_file(root, "sys/fs/cgroup/job/memory.max", "1073741824\n");
    put_file(root, "sys/fs/cgroup/job/memory.current", "536870912\n");
    put_file(root, "sys/fs/cgroup/job/memory.stat", "anon 5\ninactive_file 268435456\n");
    put_file(root, "sys/fs/cgroup/job/step/memory.max", "max\n");
    assert_int_equal(mb_auto_threads(root, why), 1); /* the parent's quota */
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
        assert_non_null(strstr(why, "control group"));
    assert_int_equal(mb_auto_memory(root, why), (int64_t)(0.8 * 805306368)); /* limit - used + droppable cache */
    assert_non_null(strstr(why, "control group"));
    put_file(root, "sys/fs/cgroup/job/step/cpu.max", "20000 100000\n"); /* a fifth of a processor is one thread */
    assert_int_equal(mb_auto_threads(root, why), 1);

    root = scratch_path("v1");
    mkdir(root, 0700);
    put_file(root, "proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n");
    put_file(root, "proc/meminfo", "MemAvailable: 8388608 kB\n");
    put_file(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "100000\n"); /* in a container: the top is ours */
    put_file(root, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    put_file(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    assert_int_equal(mb_auto_threads(root, why), 1);
    assert_int_equal(mb_auto_memory(root, why), (int64_t)(0.8 * 8388608 * 1024));
    put_file(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
    put_file(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "3147483648\n");
    assert_int_equal(mb_auto_memory(root, why), 1); /* nothing left, and never 0 */
    setenv("SLURM_MEM_PER_NODE", "0", 1);
    put_file(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n");
    assert_int_equal(mb_auto_memory(root, why), (int64_t)(0.8 * 2147483648.0));
    setenv("SLURM_MEM_PER_NODE", "1024", 1);
    assert_int_equal(mb_auto_memory(root, why), (int64_t)(0.8 * 1073741824.0));
    assert_non_null(strstr(why, "SLURM_MEM_PER_NODE"));
    forget_schedulers();
    assert_true(mb_auto_memory(scratch_path("nothing"), why) > 1 << 20); /* no /proc at all */
}

/* ---- memory -------------------------------------------------------------------------------------------------------*/
static void every_allocation_may_fail(void **state) {
    (void)state;
    char line[2048];
    forget_schedulers(); /* with threads and memory said, nothing is looked up */
    snprintf(line, sizeof line, "%s",
             with_config("inputs: [a, b]\nwindow: 5\nout: x\nmodel: &m y\ntol: 0.5\n",
                         "|--set|out=z|-o|w|-t|2|--memory|1G|c|d"));
    int fired = 1, n = 1;
    for (; fired; n++) {
        mb_mem_fail_nth(n, 0);
        int rc = parse(line);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        assert_int_equal(fired, strstr(err.text, "out of memory") != NULL);
        finish();
    }
    assert_in_range(n, 20, 500);
    parsed(line);
    fired = 1;
    for (n = 1; fired; n++) {
        FILE *f = fopen("/dev/null", "w");
        mb_err e = {0};
        mb_mem_fail_nth(n, 0);
        int rc = mb_options_dump(&run, f, &e);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
        fclose(f);
    }
    finish();
}

static void a_dump_to_a_full_disk_fails(void **state) {
    (void)state;
    mb_err e = {0};
    FILE *f = fopen("/dev/full", "w");
    assert_non_null(f);
    setvbuf(f, NULL, _IONBF, 0);
    parsed("in");
    assert_int_equal(mb_options_dump(&run, f, &e), MB_IO);
    fclose(f);
    finish();
}

int main(void) {
    forget_schedulers();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_hold),
        cmocka_unit_test(every_way_to_say_it),
        cmocka_unit_test(numbers_are_read),
        cmocka_unit_test(wrong_values_are_explained),
        cmocka_unit_test(wrong_lines_are_explained),
        cmocka_unit_test(globals_are_taken),
        cmocka_unit_test(files_lie_below_sets_and_flags),
        cmocka_unit_test(all_errors_of_a_file_are_told),
        cmocka_unit_test(files_that_are_no_map_are_refused),
        cmocka_unit_test(the_effective_configuration_reads_back),
        cmocka_unit_test(defaults_read_back_too),
        cmocka_unit_test(bytes_that_are_no_text_are_marked),
        cmocka_unit_test(help_says_all),
        cmocka_unit_test(questions_are_answered_whatever_else_is_wrong),
        cmocka_unit_test(typos_are_recognised),
        cmocka_unit_test(schedulers_are_heard_in_order),
        cmocka_unit_test(control_groups_limit),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(a_dump_to_a_full_disk_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
