/* Live states at the shape of Mamba4Rec on ML-1M (D 64, N 32, one layer, 3,416 items): events a second with top-10, in
 * transactions of many and of one, on one thread, with requests as JSON; what a user takes. Prints; asserts nothing.
 *
 *   bench_stream [events] [users] [layers]        30,000 events of 6,040 users unless said otherwise */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/rng.h"
#include "recsys/wire.h"
#include "tests/recfolder.h"

enum { ITEMS = 3416, BATCH = 256 };

static rec_model *model;
static char digest[REC_STORE_DIGEST + 1];
static double latency[1 << 20];
static int n_latency;

static void must(int rc, const mb_err *e) {
    if (rc == MB_OK)
        return;
    fprintf(stderr, "bench_stream: %s\n", e->text);
    exit(1);
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at_share(double share) {
    return n_latency ? 1e3 * latency[(int)(share * (n_latency - 1))] : 0;
}

/* JSON in, JSON out, as recmamba stream does it; seconds per event of wall and CPU time. */
static void run(rec_live *l, int events, int users, int batch, uint64_t seed, double *wall, double *cpu) {
    static rec_wire wire[BATCH];
    static rec_live_request r[BATCH];
    const rec_wire_options o = {.k = 10, .filter_seen = 1};
    rec_buffer answer = {0};
    mb_rng g;
    mb_err e = {0};
    mb_rng_init(&g, seed, 0);
    n_latency = 0;
    const double wall0 = mb_clock_seconds(), cpu0 = mb_cpu_seconds();
    for (int at = 0, n; at < events; at += n) {
        const double start = mb_clock_seconds();
        n = events - at < batch ? events - at : batch;
        for (int i = 0; i < n; i++) {
            char line[128];
            const int bytes =
                snprintf(line, sizeof line, "{\"user\": \"user %d\", \"item\": \"i%d\", \"time\": %d}",
                         (int)mb_rng_below(&g, (uint64_t)users), 1 + (int)mb_rng_below(&g, ITEMS), at + i);
            wire[i] = (rec_wire){0};
            must(rec_wire_parse(&wire[i], &o, model, line, (size_t)bytes, &e), &e);
            r[i] = wire[i].q;
        }
        must(rec_live_run(l, r, n, &e), &e);
        for (int i = 0; i < n; i++) {
            answer.n = 0;
            rec_wire_answer(&answer, model, &r[i], 0);
            rec_wire_fini(&wire[i]);
            if (r[i].status != REC_LIVE_OK) {
                fprintf(stderr, "bench_stream: %s\n", r[i].why);
                exit(1);
            }
        }
        if (n_latency < (int)(sizeof latency / sizeof *latency))
            latency[n_latency++] = mb_clock_seconds() - start;
    }
    *wall = (mb_clock_seconds() - wall0) / events;
    *cpu = (mb_cpu_seconds() - cpu0) / events;
    rec_buffer_free(&answer);
    qsort(latency, (size_t)n_latency, sizeof *latency, by_value);
}

static void measure(const char *folder, rec_sync sync, const char *name, int batch, int events, int users) {
    char dir[600];
    rec_store *s = NULL;
    rec_live *l = NULL;
    double wall, cpu;
    int64_t known = 0;
    mb_err e = {0};
    snprintf(dir, sizeof dir, "%s/store-%s-%d", folder, name, batch);
    const rec_store_options so = {.sync = sync, .digest = digest};
    const rec_live_options lo = {.threads = 1, .memory = 256 << 20, .batch = batch};
    must(rec_store_open(&s, dir, &so, &e), &e);
    must(rec_live_create(&l, model, s, &lo, &e), &e);
    run(l, events / 4, users, batch, 1, &wall, &cpu); /* warm: most users are there */
    run(l, events, users, batch, 2, &wall, &cpu);
    must(rec_store_users(s, &known, &e), &e);
    printf("  sync %-7s batch %-4d %8.0f events/s, %8.0f per second of CPU; a batch takes %.3f ms (p50), %.3f (p99); "
           "%.1f kB of store and %.1f of memory a user\n",
           name, batch, 1 / wall, 1 / cpu, at_share(0.5), at_share(0.99),
           (double)rec_store_bytes(s) / (double)known / 1e3,
           (double)rec_live_count(l)->users.bytes / (double)rec_live_count(l)->users.cached / 1e3);
    rec_live_destroy(l);
    rec_store_close(s);
}

int main(int argc, char **argv) {
    const int events = argc > 1 ? atoi(argv[1]) : 30000, users = argc > 2 ? atoi(argv[2]) : 6040;
    const int layers = argc > 3 ? atoi(argv[3]) : 1;
    const char *tmp = getenv("TMPDIR");
    char folder[512], path[600];
    mb_err e = {0};
    snprintf(folder, sizeof folder, "%.400s/bench-stream.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/model", folder);
    const mb_config c = rec_folder_config(ITEMS, layers);
    rec_folder_write(path, &c);
    const rec_model_options o = {.threads = 1, .window = -1};
    must(rec_model_open(&model, path, &o, &e), &e);
    must(rec_live_digest(model, MBK_FP32, digest, &e), &e);
    printf("live states: D 64, N 32, %d layer%s, %d items, top 10, %d events of %d users, one thread\n", layers,
           layers == 1 ? "" : "s", ITEMS, events, users);
    measure(folder, REC_SYNC_FULL, "full", BATCH, events, users);
    measure(folder, REC_SYNC_FULL, "full", 1, events / 10, users);
    measure(folder, REC_SYNC_COMMIT, "commit", 1, events / 10, users);
    measure(folder, REC_SYNC_NONE, "none", BATCH, events, users);
    measure(folder, REC_SYNC_NONE, "none", 1, events, users);
    rec_model_close(model);
    snprintf(path, sizeof path, "rm -rf '%s'", folder);
    return system(path) != 0;
}
