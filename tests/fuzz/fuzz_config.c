/* Any bytes as config.json; what is accepted keeps the limits, and its parameters can be counted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/config.h"
#include "core/mem.h"
#include "core/params.h"
#include "tests/fuzz/input.h"

static char folder[256], path[300];

static void remove_folder(void) {
    unlink(path);
    rmdir(folder);
}

/* The name decides: a link config.json in a folder of its own to the file that needs no disk. */
static void make_folder(const char *file) {
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/fuzz_config.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        abort();
    snprintf(path, sizeof path, "%s/config.json", folder);
    if (symlink(file, path))
        abort();
    atexit(remove_folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static mb_config c;
    mb_err e = {0};
    const char *file = fuzz_file(data, n);
    if (!*folder)
        make_folder(file);
    int rc = mb_config_read(&c, folder, &e);
    MB_ASSERT((rc == MB_OK) == (e.status == MB_OK));
    if (rc == MB_OK) {
        MB_ASSERT(mb_config_check(&c, "fuzz", &e) == MB_OK);
        MB_ASSERT(mb_params_count(&c) > 0);
    }
    MB_ASSERT(mb_mem_live_blocks() == 0);
    return 0;
}
