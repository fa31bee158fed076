/* The page of a pre-training run. See train_page.h. */
#include "genomics/train_page.h"

#include <math.h>
#include <stdio.h>

#include "core/mem.h"

static void put_evaluations(mb_page *p, const mb_curve *c) {
    static const char *const COLUMN[] = {"step", "held-out loss, nats", "bits"};
    mb_page_heading(p, "Held-out evaluations");
    mb_page_table(p, COLUMN, 3);
    for (int64_t i = 0; i < c->n_held; i++) {
        char text[3][32];
        const char *cell[] = {text[0], text[1], text[2]};
        snprintf(text[0], sizeof *text, "%.0f", c->held_step[i]);
        snprintf(text[1], sizeof *text, "%.5f", c->held_loss[i]);
        snprintf(text[2], sizeof *text, "%.5f", c->held_loss[i] / M_LN2);
        mb_page_row(p, cell);
    }
    mb_page_table_end(p);
}

int dna_train_page(const char *folder, double best_bits, mb_provenance *record, mb_err *e) {
    mb_curve c = {0};
    mb_curve_chart chart = {0};
    mb_page *p = NULL;
    char *path = mb_path_join(folder, "report.html");
    int rc = path ? mb_curve_read_folder(&c, folder, NULL, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = mb_curve_chart_make(&chart, &c, 1, e);
    if (rc == MB_OK)
        rc = mb_page_create(&p, "A DNA model, pre-trained", e);
    if (rc == MB_OK) {
        mb_page_fact(p, "model", "%s", folder);
        if (c.n > 0)
            mb_page_fact(p, "steps", "%.0f", c.step[c.n - 1]);
        if (isfinite(best_bits))
            mb_page_fact(p, "best held-out loss", "%.4f bits per target", best_bits);
        mb_page_chart(p, &chart.chart);
        if (c.n_held > 0)
            put_evaluations(p, &c);
        rc = mb_page_write(p, record, path, e);
    }
    mb_page_destroy(p);
    mb_curve_chart_fini(&chart);
    mb_curve_fini(&c);
    mb_free(path);
    return rc;
}
