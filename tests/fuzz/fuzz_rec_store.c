/* Any bytes as the file of a store: refused, or opened, read, written and closed; LMDB never sees what it would trip
 * over. Records are read or refused. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "recsys/record.h"
#include "recsys/store.h"
#include "tests/fuzz/input.h"

static const rec_shape SHAPE = {.vector_floats = 4, .state_floats = 600, .tag = 0x1111111111111111, .items = 100};
static const char DIGEST[] = "1111111111111111111111111111111111111111111111111111111111111111";

static char folder[] = "/dev/shm/fuzz-store.XXXXXX";

static void remove_folder(void) {
    char command[80];
    snprintf(command, sizeof command, "rm -r %s", folder);
    (void)!system(command); /* NOLINT(concurrency-mt-unsafe): one thread */
}

static const char *file_of(const uint8_t *data, size_t n) {
    static char path[80];
    if (!*path) {
        if (!mkdtemp(folder))
            abort();
        snprintf(path, sizeof path, "%s/data.mdb", folder);
        atexit(remove_folder);
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n || close(fd))
        abort();
    return path;
}

typedef struct seen {
    rec_store_change change[8];
    char name[8][REC_STORE_KEY_MOST];
    int n;
} seen;

static int visit(void *user, rec_id id, const void *record, size_t n, mb_err *e) {
    static float v[604];
    seen *s = user;
    rec_record r = {.vector = v, .state = v + 4};
    mb_err own = {0};
    (void)e;
    const int rc = rec_record_read(&SHAPE, &r, id, record, n, &own);
    MB_ASSERT(rc == MB_OK || rc == MB_FORMAT);
    for (int64_t i = 0; !rc && i < r.n_seen; i++)
        MB_ASSERT(r.seen[i] >= 1 && r.seen[i] <= SHAPE.items && (i == 0 || r.seen[i] > r.seen[i - 1]));
    mb_free(r.seen);
    if (s->n < 8 && id.n > 0 && id.n <= REC_STORE_KEY_MOST) {
        memcpy(s->name[s->n], id.text, (size_t)id.n);
        s->change[s->n] = (rec_store_change){{s->name[s->n], id.n}, s->n % 2 ? DIGEST : NULL, sizeof DIGEST};
        s->n++;
    }
    return MB_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *path = file_of(data, n);
    const rec_store_options o = {.sync = REC_SYNC_NONE, .digest = DIGEST};
    static seen s;
    mb_err e = {0};
    rec_store *store = NULL;
    s.n = 0;
    const int sound = rec_store_check(path, &e);
    MB_ASSERT(sound == e.status && (sound == MB_OK || *e.text));
    MB_ASSERT(sound == MB_OK || sound == MB_FORMAT);
    mb_err_clear(&e);
    int rc = rec_store_open(&store, folder, &o, &e);
    MB_ASSERT(n == 0 || !sound || rc);
    if (!rc)
        rc = rec_store_each(store, visit, &s, &e);
    if (!rc)
        rc = rec_store_commit(store, s.change, s.n, &e);
    MB_ASSERT(rc == e.status && (rc == MB_OK || *e.text));
    rec_store_close(store);
    MB_ASSERT(mb_mem_live_blocks() == 0);
    return 0;
}
