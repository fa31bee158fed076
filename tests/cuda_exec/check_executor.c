/* The executor: that it runs a kernel right, and that it finds each of the faults of faults.cu, by name; and the queue:
 * complete table, refused tokens and targets, a workspace that is too small. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/check.h"
#include "tests/cuda_exec/device.h"
#include "tests/cuda_exec/executor.h"
#include "tests/cuda_exec/faults.h"

enum { COUNT = 150, BLOCK = 64, SEEDS = 4 };

/* Runs the kernel under SEEDS orders; 1: a launch failed, or two orders gave different bits, or NaN came out. */
static int is_found(check *c, int fault, char *what, size_t n) {
    check_array in = check_input(c, 1, COUNT, -1, 1), out = check_output(c, 1, COUNT);
    float first[COUNT];
    int found = 0;
    const mbk_ctx *ctx = cuda_exec_ctx();
    mbk_queue *q = ctx->stream;
    char why[300];
    snprintf(what, n, "the same in all orders");
    for (int k = 0; k < SEEDS && !found; k++) {
        cuda_exec_seed((uint64_t)(77 * k + 1));
        /* exactly COUNT floats: whoever writes beyond meets the executor's guard */
        float *exact = cuda_exec_take(COUNT * sizeof *exact);
        const long findings = cuda_exec_findings();
        const int rc = planted_launch(ctx, fault, COUNT, in.at, exact), later = mbk_queue_sync(q, why, sizeof why);
        if (rc != MB_OK || later != MB_OK) {
            found = 1;
            snprintf(what, n, "%s", cuda_exec_findings() > findings ? cuda_exec_finding() : why);
            check_true(c, strstr(why, "planted") != NULL, "the sync names the kernel");
        } else if (k && memcmp(first, exact, sizeof first) != 0) {
            found = 1;
            snprintf(what, n, "orders differ");
        }
        memcpy(first, exact, sizeof first);
        cuda_exec_give(exact);
    }
    memcpy(out.at, first, sizeof first);
    if (fault == FAULT_NONE) { /* sums in order, of small whole numbers of inputs: within rounding */
        double sum = 0, largest = 0;
        for (int i = 0; i < COUNT; i++) {
            sum = i % BLOCK ? sum + in.at[i] : in.at[i];
            const double off = sum - out.at[i];
            largest = off * off > largest ? off * off : largest;
        }
        check_true(c, largest < 1e-10, "the kernel without a fault sums");
    }
    return found;
}

static void planted(check *c, int fault, const char *name, const char *says) {
    char what[400];
    check_begin(c, "a planted fault: %s", name);
    cuda_exec_quiet(1);
    const int found = is_found(c, c->sabotage ? FAULT_NONE : fault, what, sizeof what);
    cuda_exec_quiet(0);
    check_true(c, found == (fault != FAULT_NONE), "found, or not there");
    check_true(c, strstr(what, says) != NULL, says);
    if (!strstr(what, says))
        printf("%s: %s: %s\n", c->name, name, what);
    check_end(c);
    check_release(c);
}

static void faults(check *c) {
    planted(c, FAULT_NONE, "none", "the same");
    planted(c, FAULT_NO_BARRIER, "no barrier before others' values are read", "orders differ");
    planted(c, FAULT_NO_SECOND_BARRIER, "no barrier before values are replaced", "orders differ");
    planted(c, FAULT_TWO_BARRIERS, "two barriers", "waits at the barrier");
    planted(c, FAULT_EARLY_END, "a thread ends before a barrier", "thread (63,0,0) has ended");
    planted(c, FAULT_SHUFFLE, "a lane does not come to a shuffle", "the shuffle or vote");
    planted(c, FAULT_RACE, "the last writer wins", "orders differ");
    planted(c, FAULT_THREADS, "1056 threads", "beyond the limits");
    planted(c, FAULT_GRID, "70000 rows of blocks", "beyond the limits");
    planted(c, FAULT_SHARED_BYTES, "228 KiB of shared memory", "invalid");
#if !defined(__SANITIZE_ADDRESS__) /* which stops the program before the guards are looked at */
    planted(c, FAULT_SHARED_BEYOND, "one past a shared array", "wrote byte 1024 of a buffer of 1024");
    planted(c, FAULT_ONE_BEYOND, "one past the output", "wrote byte 600 of a buffer of 600");
    planted(c, FAULT_BEFORE, "one before the output", "wrote byte -4 of a buffer of 600");
#endif
}

static void table(check *c) {
    check_begin(c, "the table of the CUDA device");
    check_true(c, mbk_ops_hole(mbk_ops_cuda()) == NULL, "complete");
    check_true(c, !strcmp(mbk_ops_cuda()->device, "cuda"), "of the device of that name");
    check_end(c);
}

/* Where a child that runs this ends: 0, or not at all. */
static int dies(void (*run)(void)) {
    const pid_t child = fork();
    int status = 0;
    if (child == 0) {
        fclose(stderr);
        run();
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
static void without_workspace(void) {
    static float v[8];
    const mbk_norm_bwd a = {.L = 1, .D = 1, .x = v, .w = v + 1, .G = v + 2, .dx = v + 3, .dw = v + 4};
    mbk_norm_bwd_cuda(cuda_exec_ctx(), &a);
}
static void with_workspace(void) {
    static float v[8];
    const mbk_norm_bwd a = {.L = 1, .D = 1, .x = v, .w = v + 1, .G = v + 2, .dx = v + 3, .dw = v + 4};
    const size_t bytes = mbk_norm_bwd_work_cuda(&a);
    mbk_queue_lend(cuda_exec_ctx()->stream, cuda_exec_take(bytes), bytes);
    mbk_norm_bwd_cuda(cuda_exec_ctx(), &a);
}

static void queue(check *c) {
    char why[200];
    mbk_queue *q = NULL;
    check_begin(c, "queues");
    check_true(c, mbk_queue_create(&q, 3, why, sizeof why) == MB_NOTSUP && !q, "no device 3");
    check_true(c, strstr(why, "device 3") != NULL, "says which");
    check_true(c, mbk_queue_create(&q, 0, why, sizeof why) == MB_OK, "a second queue");
    mbk_queue_careful(q, 1);
    const mbk_ctx ctx = {.stream = q};
    int32_t *token = cuda_exec_take(2 * sizeof *token);
    float *table_ = cuda_exec_take(6 * sizeof *table_), *out = cuda_exec_take(4 * sizeof *out);
    const mbk_embed a = {.L = 2, .D = 2, .V = 3, .token = token, .table = table_, .out = out};
    token[0] = 2, token[1] = 3;
    check_true(c, mbk_embed_fwd_cuda(&ctx, &a) == MB_OK, "launched all the same");
    check_true(c, mbk_queue_sync(q, why, sizeof why) == MB_RANGE, "told by the sync");
    check_true(c, strstr(why, "embed_fwd") != NULL, "with the operation's name");
    token[1] = 1;
    check_true(c, mbk_embed_fwd_cuda(&ctx, &a) == MB_OK && mbk_queue_sync(q, why, sizeof why) == MB_OK,
               "the queue goes on");
    mbk_queue_destroy(q);
    mbk_queue_destroy(NULL);
    cuda_exec_give(token), cuda_exec_give(table_), cuda_exec_give(out);
    check_true(c, dies(without_workspace), "no workspace is a bug");
    check_true(c, !dies(with_workspace), "workspace of the size asked for is enough");
    check_end(c);
}

static void cases(check *c) {
    table(c);
    queue(c);
    faults(c);
}
static void bench(check *c) {
    printf("%s: nothing to measure\n", c->name);
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_executor", cases, bench);
}
