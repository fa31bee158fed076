/* Any command line and configuration file against a verb: taken or refused with words; what was taken is printed by
 * --print-config's code and reads back as itself. Input: lines of arguments up to an empty line, then the file. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

typedef struct values {
    int64_t window, buffer;
    double tol;
    char *out, *model;
    int pool, keep_case;
} values;

#define AT(member) .offset = offsetof(values, member)
static const mb_option OPTIONS[] = {
    {.key = "window", .letter = 'w', .type = MB_OPT_INT, AT(window), .def = "4096", .min = 1, .max = 1048576},
    {.key = "buffer", .type = MB_OPT_BYTES, AT(buffer), .def = "64M"},
    {.key = "tol", .type = MB_OPT_FLOAT, AT(tol), .def = "1e-5", .min = -1e300, .max = 1e300},
    {.key = "out", .letter = 'o', .type = MB_OPT_STRING, AT(out)},
    {.key = "model", .letter = 'm', .type = MB_OPT_STRING, AT(model), .def = "demo"},
    {.key = "pool", .type = MB_OPT_CHOICE, AT(pool), .def = "mean", .choices = "none|mean|max|center"},
    {.key = "keep_case", .letter = 'k', .type = MB_OPT_BOOL, AT(keep_case), .def = "true"},
    {0}};

static int nothing(mb_run *run, mb_err *e) {
    (void)run, (void)e;
    return MB_OK;
}

static const mb_verb VERB = {.name = "embed",
                             .summary = "s",
                             .usage = "INPUT...",
                             .options = OPTIONS,
                             .values_size = sizeof(values),
                             .max_args = -1,
                             .run = nothing};

enum { MOST_WORDS = 64 };

/* --help and --version of the fuzzed line answer on stdout. */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    if (!freopen("/dev/null", "w", stdout))
        abort();
    return 0;
}

/* A file that has a name but no place on a disk. */
static int memory_file(const char *text, size_t n, char *path, size_t room) {
    int fd = memfd_create("config", MFD_CLOEXEC);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n)
        abort();
    snprintf(path, room, "/proc/self/fd/%d", fd);
    return fd;
}

/* Parses, and prints the effective configuration into *text when the line was taken. */
static int parse(int argc, char **argv, char **text) {
    mb_run run = {.program = "prog", .verb = &VERB};
    mb_err e = {0};
    int done = 0, rc = mb_options_parse(&run, argc, argv, &done, &e);
    size_t n;
    *text = NULL;
    MB_ASSERT(rc == MB_OK || rc == MB_USAGE);
    MB_ASSERT(rc == e.status && (rc == MB_OK) == (*e.text == '\0'));
    if (rc == MB_OK && !done) {
        FILE *f = open_memstream(text, &n);
        if (!f || mb_options_dump(&run, f, &e) || fclose(f))
            abort();
    }
    mb_options_free(&run);
    MB_ASSERT(mb_mem_live_blocks() == 0);
    return rc;
}

static void expect_same(const char *first) {
    char path[64], *second;
    int fd = memory_file(first, strlen(first), path, sizeof path);
    char *argv[] = {"prog", "embed", "--config", path, NULL};
    int rc = parse(4, argv, &second);
    MB_ASSERT(rc == MB_OK && second && strcmp(first, second) == 0);
    free(second);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    char *input = malloc(n + 1), *text, path[64];
    if (!input)
        return 0;
    memcpy(input, data, n);
    input[n] = '\0';
    char *file = memmem(input, n, "\n\n", 2);
    size_t file_bytes = file ? n - (size_t)(file + 2 - input) : 0;
    if (file)
        *file = '\0';
    int fd = memory_file(file ? file + 2 : "", file_bytes, path, sizeof path);
    /* threads and memory said: what the machine has is no part of this */
    char *argv[MOST_WORDS + 9] = {"prog", "embed", "--config", path, "--threads", "1", "--memory", "1G"};
    int argc = 8;
    for (char *save, *w = strtok_r(input, "\n", &save); w && argc < MOST_WORDS + 8; w = strtok_r(NULL, "\n", &save))
        if (strncmp(w, "--co", 4) != 0) /* no files of this machine */
            argv[argc++] = w;
    parse(argc, argv, &text);
    if (text && !strstr(text, "# bytes that are not UTF-8"))
        expect_same(text);
    free(text);
    close(fd);
    free(input);
    return 0;
}
