/* What people see on stderr: levels, dates off a terminal, one redrawn line on one, nothing that could drive it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "tests/scratch.h"

static int saved_stderr = -1;

/* stderr into a file until told_to_file ends it and returns what was said (free()). */
static void begin_file(void) {
    int fd = open(scratch_path("stderr"), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    saved_stderr = dup(2);
    dup2(fd, 2);
    close(fd);
}

static char *end_file(void) {
    dup2(saved_stderr, 2);
    close(saved_stderr);
    return scratch_read(scratch_path("stderr"), NULL);
}

/* Skips the test where there is none: a chroot or a bare container may have no /dev/pts. */
static int begin_terminal(int columns) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    const char *name = master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0 ? ptsname(master) : NULL;
    int slave = name ? open(name, O_RDWR | O_NOCTTY) : -1;
    if (slave < 0 && (errno == ENOENT || errno == ENODEV)) {
        puts("SKIP: no pseudo-terminals here (/dev/pts is not mounted)");
        skip();
    }
    struct winsize w = {.ws_col = (unsigned short)columns, .ws_row = 24};
    assert_true(slave >= 0 && ioctl(slave, TIOCSWINSZ, &w) == 0);
    saved_stderr = dup(2);
    dup2(slave, 2);
    close(slave);
    return master;
}

static void end_terminal(int master, char *out, size_t room) {
    dup2(saved_stderr, 2);
    close(saved_stderr);
    size_t at = 0;
    fcntl(master, F_SETFL, O_NONBLOCK);
    for (ssize_t n; at + 1 < room && (n = read(master, out + at, room - 1 - at)) > 0;)
        at += (size_t)n;
    out[at] = '\0';
    close(master);
}

static int count(const char *text, const char *part) {
    int n = 0;
    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

static void levels_hide_what_is_below(void **state) {
    (void)state;
    static const char *const SEEN[] = {"", "E", "EW", "EWI", "EWID"};
    for (int level = MB_LOG_QUIET; level <= MB_LOG_DEBUG; level++) {
        begin_file();
        mb_log_set_level((mb_log_level)level);
        assert_int_equal(mb_log_get_level(), level);
        mb_error("<E>");
        mb_warn("<W>");
        mb_info("<I>");
        mb_debug("<D>");
        char *said = end_file();
        for (const char *c = "EWID"; *c; c++) {
            char mark[4] = {'<', *c, '>', '\0'};
            assert_int_equal(count(said, mark), strchr(SEEN[level], *c) != NULL);
        }
        free(said);
    }
    mb_log_set_level(MB_LOG_INFO);
}

static void a_line_in_a_file_is_dated(void **state) {
    (void)state;
    struct tm t;
    begin_file();
    mb_warn("odd");
    mb_log_plain("x.yaml:1:2: error: y");
    char *said = end_file(), *rest = strptime(said, "%Y-%m-%dT%H:%M:%S%z", &t);
    assert_non_null(rest);
    assert_string_equal(rest, " warning: odd\nx.yaml:1:2: error: y\n");
    free(said);
}

static void hostile_text_cannot_drive_a_terminal(void **state) {
    (void)state;
    begin_file();
    mb_log_plain("%s", "\033]0;owned\007 \x7f caf\xc3\xa9\ttab\nline");
    char *said = end_file();
    assert_string_equal(said, "\\x1b]0;owned\\x07 \\x7f caf\xc3\xa9\ttab\nline\n");
    free(said);
}

static void a_line_longer_than_the_buffer_is_cut(void **state) {
    (void)state;
    static char text[5 * MB_ERR_TEXT];
    memset(text, '\001', sizeof text - 1);
    begin_file();
    mb_error("%s", text);
    char *said = end_file();
    assert_in_range(strlen(said), 1000, 2 * MB_ERR_TEXT);
    assert_int_equal(said[strlen(said) - 1], '\n');
    free(said);
}

static void progress_in_a_file_is_lines(void **state) {
    (void)state;
    begin_file();
    mb_log_set_interval(0);
    mb_progress *p = mb_progress_start("embed", "bp", 2000);
    mb_progress_add(p, 500);
    usleep(2000);
    mb_progress_add(p, 500);
    mb_log_set_interval(30);
    mb_progress_add(p, 500);
    mb_progress_add(p, 500);
    mb_progress_finish(p);
    char *said = end_file();
    assert_int_equal(count(said, "\r"), 0);
    assert_int_equal(count(said, "\n"), 4);
    assert_int_equal(count(said, "embed: 500 of 2.0k bp (25 %)"), 1);
    assert_int_equal(count(said, "embed: 1.0k of 2.0k bp (50 %)"), 1);
    assert_int_equal(count(said, " left\n"), 3);
    assert_int_equal(count(said, "embed: 2.0k bp in "), 1);
    free(said);
}

static void progress_on_a_terminal_is_one_line(void **state) {
    (void)state;
    char said[8192];
    int master = begin_terminal(40);
    mb_progress *p = mb_progress_start("a job with quite a long name", "tokens", 10);
    for (int i = 0; i < 10; i++) {
        usleep(30000);
        mb_progress_add(p, 1);
        if (i == 6)
            mb_info("a message between");
    }
    mb_progress_finish(p);
    end_terminal(master, said, sizeof said);
    assert_int_equal(count(said, "\n"), 2);
    assert_in_range(count(said, "\r\033[K"), 3, 8);
    assert_non_null(strstr(said, "\r\033[Ka message between"));
    for (char *line = said; (line = strstr(line, "\033[Ka job")); line++) /* never wider than the terminal, or it would
                                                                             scroll; the closing line may */
        if (!strstr(line, " in "))
            assert_in_range(strcspn(line + 3, "\r\n"), 1, 39);
}

static void quiet_runs_show_no_progress(void **state) {
    (void)state;
    begin_file();
    mb_log_set_level(MB_LOG_WARN);
    mb_log_set_interval(0);
    mb_progress *p = mb_progress_start("x", "bp", -1);
    mb_progress_add(p, 1);
    mb_progress_finish(p);
    mb_log_set_level(MB_LOG_INFO);
    mb_log_set_interval(30);
    char *said = end_file();
    assert_string_equal(said, "");
    free(said);
}

static void progress_without_memory_is_no_progress(void **state) {
    (void)state;
    mb_mem_fail_nth(1, 0);
    mb_progress *p = mb_progress_start("x", "bp", 1);
    mb_mem_fail_nth(0, 0);
    assert_null(p);
    mb_progress_add(p, 1);
    mb_progress_finish(p);
}

enum { WORKERS = 4, EACH = 20000 };

static void *work(void *p) {
    for (int i = 0; i < EACH; i++)
        mb_progress_add(p, 0.25);
    return NULL;
}

static void workers_lose_nothing(void **state) {
    (void)state;
    pthread_t thread[WORKERS];
    begin_file();
    mb_progress *outer = mb_progress_start("outer", "bp", -1), *p = mb_progress_start("inner", "bp", -1);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, p), 0);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(thread[i], NULL);
    mb_progress_finish(outer); /* in any order */
    mb_progress_finish(p);
    char *said = end_file();
    assert_int_equal(count(said, "inner: 20.0k bp in "), 1);
    assert_int_equal(count(said, "outer: 0 bp in "), 1);
    free(said);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void numbers_read_well(void **state) {
    (void)state;
    static const struct {
        double n;
        const char *text;
    } COUNTS[] = {{0, "0"},         {7, "7"},         {11.9999999, "12"}, {999, "999"},     {1000, "1.0k"},
                  {1234, "1.2k"},   {99949, "99.9k"}, {99951, "100k"},    {999499, "999k"}, {999500, "1.0M"},
                  {4.64e6, "4.6M"}, {3.1e9, "3.1G"},  {0.5, "0.5"},       {-1234, "-1.2k"}, {1e18, "1000P"}},
      BYTES[] = {{0, "0 B"},         {1023, "1023 B"},    {1024, "1.0 KiB"}, {1.5 * (1 << 30), "1.5 GiB"},
                 {200e6, "191 MiB"}, {1048575, "1.0 MiB"}},
      TIMES[] = {{0.25, "0.250 s"},    {1, "1.0 s"},          {9.96, "10 s"},         {59.4, "59 s"},
                 {59.6, "1 min 00 s"}, {3599, "59 min 59 s"}, {3599.7, "1 h 00 min"}, {7500, "2 h 05 min"},
                 {86399, "1 d 00 h"},  {200000, "2 d 08 h"},  {-1, "unknown"},        {1e300, "unknown"}};
    char out[32];
    for (size_t i = 0; i < sizeof COUNTS / sizeof COUNTS[0]; i++)
        assert_string_equal(mb_human_count(COUNTS[i].n, out), COUNTS[i].text);
    for (size_t i = 0; i < sizeof BYTES / sizeof BYTES[0]; i++)
        assert_string_equal(mb_human_bytes(BYTES[i].n, out), BYTES[i].text);
    for (size_t i = 0; i < sizeof TIMES / sizeof TIMES[0]; i++)
        assert_string_equal(mb_human_seconds(TIMES[i].n, out), TIMES[i].text);
}

static void clocks_run(void **state) {
    (void)state;
    double wall = mb_clock_seconds(), cpu = mb_cpu_seconds();
    for (volatile int i = 0; i < 1000000; i++)
        ;
    assert_true(mb_clock_seconds() > wall);
    assert_true(mb_cpu_seconds() > cpu);
    assert_true(mb_peak_rss_bytes() > 100000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_hide_what_is_below),
        cmocka_unit_test(a_line_in_a_file_is_dated),
        cmocka_unit_test(hostile_text_cannot_drive_a_terminal),
        cmocka_unit_test(a_line_longer_than_the_buffer_is_cut),
        cmocka_unit_test(progress_in_a_file_is_lines),
        cmocka_unit_test(progress_on_a_terminal_is_one_line),
        cmocka_unit_test(quiet_runs_show_no_progress),
        cmocka_unit_test(progress_without_memory_is_no_progress),
        cmocka_unit_test(workers_lose_nothing),
        cmocka_unit_test(numbers_read_well),
        cmocka_unit_test(clocks_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
