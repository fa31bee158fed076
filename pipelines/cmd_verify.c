/* seqmamba verify: does this program compute what the original did? */
#include <stddef.h>
#include <stdio.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "pipelines/commands.h"
#include "pipelines/verify.h"

typedef struct verify_values {
    double tol;
    int precision;
    char *io;
} verify_values;

const mb_option verify_options[] = {
    {.key = "tol",
     .type = MB_OPT_FLOAT,
     .offset = offsetof(verify_values, tol),
     .def = "1e-5",
     .min = 0,
     .max = 1,
     .meta = "X",
     .help =
         "Largest error allowed, relative to the recorded value or to the root mean square of its tensor, whichever "
         "is larger."},
    {.key = "io",
     .type = MB_OPT_STRING,
     .role = MB_ROLE_INPUT,
     .offset = offsetof(verify_values, io),
     .meta = "FILE",
     .help = "Recorded inputs and outputs. Unset: io.safetensors in the model's folder."},
    {.key = "precision",
     .type = MB_OPT_CHOICE,
     .offset = offsetof(verify_values, precision),
     .def = "fp32",
     .choices = "fp32|bf16",
     .help = "Precision of weights and matrix-product inputs. Sums and states are always fp32."},
    {0}};

size_t verify_values_size(void) {
    return sizeof(verify_values);
}

static int print_report(const verify_report *r, double tol) {
    int beyond = 0;
    printf("%-24s %-12s %-22s %-16s %-16s\n", "tensor", "max error", "at element", "here", "recorded");
    for (int i = 0; i < r->n; i++) {
        const verify_line *l = &r->line[i];
        if (!l->checked)
            continue;
        const int bad = !(l->worst <= tol);
        beyond += bad;
        printf("%-24s %-12.3e %-22lld %-16.9g %-16.9g%s\n", l->name, l->worst, (long long)l->at, l->got, l->want,
               bad ? "  beyond --tol" : "");
    }
    return beyond;
}

static int report_result(const verify_report *r, const char *dir, double tol, mb_err *e) {
    int checked = 0;
    for (int i = 0; i < r->n; i++)
        checked += r->line[i].checked;
    if (r->unknown > 0)
        mb_warn("%d recorded tensors are not known to this program and were not checked", r->unknown);
    const int beyond = print_report(r, tol);
    if (checked == 0)
        return mb_fail(e, MB_FORMAT, "%s: io.safetensors holds no output that can be checked", dir);
    if (beyond > 0)
        return mb_fail(e, MB_FAIL, "%s: %d of %d tensors differ by more than %g", dir, beyond, checked, tol);
    printf("%s: %d tensors agree within %g\n", dir, checked, tol);
    return MB_OK;
}

int verify_cmd(mb_run *run, mb_err *e) {
    const verify_values *v = run->values;
    const char *dir = run->args[0];
    const mb_model_options options = {.device = run->globals.device, .precision = (mbk_precision)v->precision};
    mb_model *m = NULL;
    mb_weights *io = NULL;
    verify_report report = {0};
    char *path = NULL;
    int rc = mb_model_open(&m, dir, &options, e);
    if (rc == MB_OK && !(path = v->io ? mb_strdup(v->io) : mb_path_join(mb_model_source(m), "io.safetensors")))
        rc = mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = mb_weights_open(&io, path, e);
    if (rc == MB_OK)
        rc = verify_run(&report, m, io, (int)run->globals.threads, e);
    if (rc == MB_OK)
        rc = report_result(&report, dir, v->tol, e);
    verify_free(&report);
    mb_weights_close(io);
    mb_model_destroy(m);
    mb_free(path);
    return rc;
}
