/* A program from outside, in a child: exit codes, where words go, signals, standard output that cannot be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/options.h"
#include "tests/scratch.h"

typedef struct values {
    char *how, *out;
} values;

static const mb_option OPTIONS[] = {
    {.key = "how", .type = MB_OPT_STRING, .offset = offsetof(values, how), .def = "well", .help = "How it ends."},
    {.key = "out", .letter = 'o', .type = MB_OPT_STRING, .offset = offsetof(values, out), .help = "Output."},
    {0}};

/* Stands between two steps of a long run until asked to stop; "deaf" never listens. */
static int wait_for_stop(int deaf, mb_err *e) {
    printf("ready\n");
    fflush(stdout);
    for (int i = 0; i < 20000; i++) {
        if (!deaf && atomic_load(mb_cli_stop()))
            return mb_fail(e, MB_STOPPED, "stopped at step %d", 7);
        usleep(1000);
    }
    return MB_OK;
}

static int act(mb_run *run, mb_err *e) {
    const values *v = run->values;
    mb_out *o;
    int rc =
        v->out ? mb_out_create(&o, v->out, e) : MB_OK; /* left open on purpose: whoever ends the program cleans up */
    if (rc)
        return rc;
    if (strcmp(v->how, "well") == 0)
        return printf("result\n") < 0;
    if (strcmp(v->how, "long") == 0 || strcmp(v->how, "deaf") == 0)
        return wait_for_stop(v->how[0] == 'd', e);
    if (strcmp(v->how, "mute") == 0)
        return MB_NOTFOUND;
    if (strcmp(v->how, "crash") == 0)
        MB_ASSERT(!"a bug");
    if (strcmp(v->how, "flood") == 0) {
        char line[100];
        memset(line, 'x', 99);
        line[99] = '\0';
        for (int i = 0; i < 100000; i++)
            if (puts(line) < 0)
                return mb_fail_errno(e, MB_IO, "cannot write");
        return MB_OK;
    }
    return mb_fail(e, MB_FORMAT, "a.fa:3: bad base \033[31m");
}

static const mb_verb VERBS[] = {{.name = "embed",
                                 .summary = "make embeddings",
                                 .usage = "INPUT [options]",
                                 .options = OPTIONS,
                                 .values_size = sizeof(values),
                                 .max_args = 1,
                                 .run = act},
                                {.name = "score",
                                 .summary = "make scores",
                                 .usage = "INPUT",
                                 .min_args = 1,
                                 .max_args = 1,
                                 .run = act,
                                 .values_size = sizeof(values)},
                                {0}};

/* ---- children -----------------------------------------------------------------------------------------------------*/
static pid_t child;
static int child_out = -1; /* its stdout, when it is a pipe */

static _Noreturn void become(char **argv, int argc, const char *out) {
    int err = open(scratch_path("err"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    int fd = open(out ? out : scratch_path("out"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (out || child_out < 0)
        dup2(fd, 1);
    if (child_out >= 0)
        close(child_out); /* or the pipe would have a reader for ever */
    dup2(err, 2);
    for (int s = 1; s < 32; s++)
        signal(s, SIG_DFL);
    int rc = mb_cli_main("prog", "does things", VERBS, argc, argv);
    _exit(rc == 0 && mb_mem_live_blocks() ? 99 : rc);
}

/* Words separated by '|'. */
static void start(const char *line, const char *out) {
    static char text[1024];
    char *argv[32] = {"prog"};
    int argc = 1;
    snprintf(text, sizeof text, "%s", line);
    for (char *save, *w = strtok_r(text, "|", &save); w; w = strtok_r(NULL, "|", &save))
        argv[argc++] = w;
    scratch_dir();
    fflush(stdout);
    child = fork();
    if (child == 0)
        become(argv, argc, out);
}

static int wait_end(void) { /* exit code, or 1000 + signal */
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int ends(const char *line) {
    start(line, NULL);
    return wait_end();
}

static void said(const char *where, const char *words) {
    char *text = scratch_read(scratch_path(where), NULL);
    assert_non_null(text);
    if (!strstr(text, words))
        fail_msg("not on std%s: %s\n%s", where, words, text);
    free(text);
}

static void silent(const char *where) {
    char *text = scratch_read(scratch_path(where), NULL);
    assert_string_equal(text, "");
    free(text);
}

/* ---- ends ---------------------------------------------------------------------------------------------------------*/
static void good_runs_end_with_0(void **state) {
    (void)state;
    assert_int_equal(ends("embed"), 0);
    said("out", "result\n");
    silent("err");
    assert_int_equal(ends("embed|-v|x y"), 0);
    said("err", "debug: prog 0.");
    said("err", "embed -v x y\n");
    said("err", "peak memory");
    assert_int_equal(ends("embed|--print-config"), 0);
    said("out", "how: well\n");
}

static void questions_are_answered(void **state) {
    (void)state;
    assert_int_equal(ends("--help"), 0);
    said("out", "does things\n\nUsage: prog COMMAND");
    said("out", "\n  embed  make embeddings\n  score  make scores\n");
    silent("err");
    assert_int_equal(ends("-h"), 0);
    assert_int_equal(ends("help"), 0);
    assert_int_equal(ends("help|score"), 0);
    said("out", "Usage: prog score INPUT");
    assert_int_equal(ends("--version"), 0);
    said("out", "prog 0.");
    assert_int_equal(ends("version"), 0);
    assert_int_equal(ends("score|--help"), 0);
    said("out", "Usage: prog score INPUT");
}

static void wrong_calls_end_with_2(void **state) {
    (void)state;
    assert_int_equal(ends(""), 2);
    said("err", "Usage: prog COMMAND");
    silent("out");
    assert_int_equal(ends("emebd"), 2);
    said("err", "prog: unknown command \"emebd\"; did you mean \"embed\"?\nTry \"prog --help\".\n");
    assert_int_equal(ends("help|scores"), 2);
    assert_int_equal(ends("--threads|3|embed"), 2);
    said("err", "a command is expected before options");
    assert_int_equal(ends("embed|--hwo|x"), 2);
    said("err", "prog embed: unknown option --hwo; did you mean --how?\n");
    assert_int_equal(ends("score"), 2);
    said("err", "prog score: INPUT is missing\n");
    char line[700];
    snprintf(line, sizeof line, "embed|--config|%s", scratch_text("c.yaml", "hwo: x\n"));
    assert_int_equal(ends(line), 2);
    snprintf(line, sizeof line,
             "%s:1:1: error: unknown key \"hwo\"; did you mean \"how\"?\n    1 | hwo: x\n      | ^\n",
             scratch_path("c.yaml"));
    said("err", line);
}

static void failures_have_their_codes(void **state) {
    (void)state;
    assert_int_equal(ends("embed|--how|badly"), 65);
    said("err", "error: a.fa:3: bad base \\x1b[31m\n");
    assert_int_equal(ends("embed|--how|mute"), 74);
    said("err", "error: embed failed without a word: not found\n");
    assert_int_equal(ends("embed|-o|/no/such/folder/x"), 74);
    said("err", "/no/such/folder/x: its folder does not exist");
}

static int leftovers(void) {
    char command[700];
    snprintf(command, sizeof command, "test -z \"$(find '%s' -name 'left*')\"", scratch_dir());
    return system(command) != 0;
}

static void outputs_left_open_are_removed(void **state) {
    (void)state;
    char line[700];
    snprintf(line, sizeof line, "embed|--how|badly|-o|%s", scratch_path("left"));
    start(line, NULL);
    assert_int_equal(wait_end(), 65);
    assert_false(leftovers());
    snprintf(line, sizeof line, "embed|--how|crash|-o|%s", scratch_path("left"));
    start(line, NULL);
    assert_int_equal(wait_end(), 1000 + SIGABRT);
    said("err", "fatal: internal error; temporary outputs were removed");
    assert_false(leftovers());
}

/* ---- signals ------------------------------------------------------------------------------------------------------*/
static void start_waiting(const char *how) {
    char line[700], word[16] = "";
    int ends_of_pipe[2];
    assert_int_equal(pipe(ends_of_pipe), 0);
    int saved = dup(1);
    fflush(stdout);
    dup2(ends_of_pipe[1], 1);
    close(ends_of_pipe[1]);
    child_out = ends_of_pipe[0];
    snprintf(line, sizeof line, "embed|--how|%s|-o|%s", how, scratch_path("left"));
    start(line, NULL);
    dup2(saved, 1);
    close(saved);
    assert_int_equal(read(child_out, word, 6), 6);
    assert_string_equal(word, "ready\n");
}

static int end_waiting(void) {
    int code = wait_end();
    close(child_out);
    child_out = -1;
    assert_false(leftovers());
    return code;
}

static void a_request_ends_the_run_at_a_good_place(void **state) {
    (void)state;
    static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};
    for (size_t i = 0; i < sizeof SIGNALS / sizeof SIGNALS[0]; i++) {
        start_waiting("long");
        kill(child, SIGNALS[i]);
        assert_int_equal(end_waiting(), 75);
        said("err", "stopping at the next good place");
        said("err", "error: stopped at step 7\n");
    }
}

static void two_requests_at_once_are_one(void **state) {
    (void)state;
    start_waiting("deaf");
    kill(child, SIGTERM); /* from the scheduler, and again through the launcher */
    usleep(50000);
    kill(child, SIGUSR2);
    usleep(50000);
    assert_int_equal(kill(child, 0), 0);
    assert_int_equal(waitpid(child, NULL, WNOHANG), 0); /* alive */
    kill(child, SIGINT);                                /* but a hand at the keyboard means it */
    assert_int_equal(end_waiting(), 130);
}

static void a_second_ctrl_c_ends_at_once(void **state) {
    (void)state;
    start_waiting("deaf");
    kill(child, SIGINT);
    usleep(50000);
    assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
    kill(child, SIGINT);
    assert_int_equal(end_waiting(), 130);
}

static void a_late_second_request_ends_at_once(void **state) {
    (void)state;
    start_waiting("deaf");
    kill(child, SIGTERM);
    sleep(4);
    kill(child, SIGTERM);
    assert_int_equal(end_waiting(), 128 + SIGTERM);
}

/* ---- standard output ----------------------------------------------------------------------------------------------*/
static void a_full_standard_output_is_an_error(void **state) {
    (void)state;
    start("embed", "/dev/full");
    assert_int_equal(wait_end(), 74);
    said("err", "error: cannot write standard output: No space left on device");
    start("embed|--how|flood", "/dev/full");
    assert_int_equal(wait_end(), 74);
    start("--help", "/dev/full");
    assert_int_equal(wait_end(), 74);
}

static void a_reader_that_leaves_is_no_news(void **state) {
    (void)state;
    int ends_of_pipe[2], saved = dup(1);
    assert_int_equal(pipe(ends_of_pipe), 0);
    fflush(stdout);
    dup2(ends_of_pipe[1], 1);
    close(ends_of_pipe[1]);
    child_out = ends_of_pipe[0];
    start("embed|--how|flood", NULL);
    dup2(saved, 1);
    close(saved);
    close(child_out); /* as head does */
    child_out = -1;
    assert_int_equal(wait_end(), 128 + SIGPIPE);
    silent("err");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_runs_end_with_0),
        cmocka_unit_test(questions_are_answered),
        cmocka_unit_test(wrong_calls_end_with_2),
        cmocka_unit_test(failures_have_their_codes),
        cmocka_unit_test(outputs_left_open_are_removed),
        cmocka_unit_test(a_request_ends_the_run_at_a_good_place),
        cmocka_unit_test(two_requests_at_once_are_one),
        cmocka_unit_test(a_second_ctrl_c_ends_at_once),
        cmocka_unit_test(a_late_second_request_ends_at_once),
        cmocka_unit_test(a_full_standard_output_is_an_error),
        cmocka_unit_test(a_reader_that_leaves_is_no_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
