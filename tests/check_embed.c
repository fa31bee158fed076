/* Embedding: every variant copies the bits of the reference and refuses tokens outside the table. And, because it is
 * the shortest check, the choice of instruction set by MB_ISA. */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/check.h"

static mbk_embed make_problem(check *c, int L, int D, int V, int32_t *token) {
    for (int t = 0; t < L; t++)
        token[t] = check_pick(c, V);
    return (mbk_embed){.L = L, .D = D, .V = V, .token = token, .table = check_input(c, V, D, -1, 1).at};
}

static void compare(check *c, const mbk_ops *ops, int L, int D, int V) {
    int32_t token[64];
    mbk_embed p = make_problem(c, L, D, V, token);
    check_array want = check_output(c, L, D), got = check_output(c, L, D);
    check_begin(c, "embed_fwd %s L=%d D=%d V=%d", ops->isa, L, D, V);
    p.out = want.at;
    check_true(c, mbk_embed_fwd_ref(NULL, &p) == MB_OK, "the reference succeeds");
    p.out = got.at;
    check_true(c, ops->embed_fwd(NULL, &p) == MB_OK, "the variant succeeds");
    check_same(c, "out", &got, &want);
    check_end(c);
    check_release(c);
}

static void refuse(check *c, const mbk_ops *ops, int32_t bad) {
    int32_t token[5];
    mbk_embed p = make_problem(c, 5, 7, 9, token);
    check_array out = check_output(c, 5, 7), before = check_copy(c, &out);
    check_begin(c, "embed_fwd %s refuses token %d of 9", ops->isa, (int)bad);
    token[check_pick(c, 5)] = bad;
    p.out = out.at;
    check_true(c, ops->embed_fwd(NULL, &p) == MB_RANGE, "MB_RANGE");
    check_true(c, !memcmp(out.at, before.at, 35 * sizeof(float)), "nothing written");
    check_end(c);
    check_release(c);
}

/* In a process of its own, because the choice is made once. */
static int choice_of(const char *isa, const char *expected) {
    int status = 1;
    pid_t child = fork();
    if (child == 0) {
        setenv("MB_ISA", isa, 1);
        const mbk_ops *ops = mbk_ops_cpu();
        _exit(strcmp(ops->isa, expected) != 0 || (mbk_ops_hole(ops) != NULL) != (*expected == 0) ||
              mbk_ops_cpu() != ops);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static void tables(check *c) {
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    check_begin(c, "tables of operations");
    check_true(c, n > 0 && choice_of("", ops[0]->isa), "without MB_ISA the best is chosen");
    for (int i = 0; i < n; i++) {
        check_true(c, mbk_ops_hole(ops[i]) == NULL, "a table of the processor is complete");
        check_true(c, choice_of(ops[i]->isa, ops[i]->isa), "MB_ISA is obeyed");
    }
    check_true(c, choice_of("quantum", ""), "an unknown MB_ISA leaves a table with a hole");
    check_true(c, mbk_ops_isa("quantum") == NULL, "no table of an unknown name");
    check_true(c, mbk_ops_hole(mbk_ops_ref()) == NULL, "the table of references is complete");
    mbk_ops broken = *mbk_ops_ref();
    broken.scan_step = NULL;
    check_true(c, mbk_ops_hole(&broken) && !strcmp(mbk_ops_hole(&broken), "scan_step"), "a hole is named");
    broken.isa = "none";
    check_true(c, mbk_ops_hole(&broken) && strstr(mbk_ops_hole(&broken), "without nvcc"), "no CUDA is said");
    check_end(c);
}

static void cases(check *c) {
    static const int lengths[] = {1, 2, 33}, widths[] = {1, 7, 15, 16, 17, 64, 100, 257};
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++) {
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++)
                compare(c, ops[v], lengths[i], widths[j], 1 + check_pick(c, 20));
        refuse(c, ops[v], -1);
        refuse(c, ops[v], 9);
        refuse(c, ops[v], INT32_MIN);
        refuse(c, ops[v], INT32_MAX);
    }
    refuse(c, mbk_ops_ref(), 9);
    if (!check_device())
        tables(c);
}

typedef struct job {
    const mbk_ops *ops;
    mbk_embed args;
} job;
static void run(void *arg) {
    const job *j = arg;
    j->ops->embed_fwd(NULL, &j->args);
}

static void bench(check *c) {
    enum { L = 128, D = 256, V = 12 };
    const mbk_ops *ops[8];
    const int n = check_variants(ops);
    c->packed = 1;
    for (int v = 0; v < n; v++) {
        static int32_t token[L];
        job jobs[64];
        void *args[64];
        for (int t = 0; t < c->threads && t < 64; t++) {
            jobs[t] = (job){ops[v], make_problem(c, L, D, V, token)};
            jobs[t].args.out = check_output(c, L, D).at;
            args[t] = &jobs[t];
        }
        check_bench(c, ops[v]->isa, "embed_fwd L=128 D=256", "elements", run, args, (double)L * D, 0, 8);
        check_release(c);
    }
}

int main(int argc, char **argv) {
    return check_main(argc, argv, "check_embed", cases, bench);
}
