/* See train_page.h. */
#include "recsys/train_page.h"

#include <inttypes.h>

#include "core/curve.h"
#include "core/mem.h"

static void put_judged(mb_page *p, const mb_curve *c, const char *judge) {
    const mb_series series = {judge, c->n_held > 1 ? MB_SERIES_LINE : MB_SERIES_POINTS, c->held_step, c->held_figure,
                              c->n_held};
    const mb_chart chart = {
        .title = "Validation", .x_label = "step", .y_label = judge, .series = &series, .n_series = 1};
    mb_page_chart(p, &chart);
}

static int put_page(mb_page *p, const char *folder, const char *judge, const mb_curve *c, const rec_split *split,
                    const rec_outcome *outcome, mb_err *e) {
    mb_curve_chart chart = {0};
    int rc = mb_curve_chart_make(&chart, c, 0, e);
    if (rc != MB_OK)
        return rc;
    mb_page_fact(p, "model", "%s", folder);
    mb_page_fact(p, "split", "%s", split->fingerprint);
    mb_page_fact(p, "events", "%" PRId64 " training, %" PRId64 " validation, %" PRId64 " test", split->train,
                 split->valid, split->test);
    if (c->n > 0)
        mb_page_fact(p, "steps", "%.0f", c->step[c->n - 1]);
    rec_outcome_page(outcome, p);
    mb_page_heading(p, "How it went");
    if (c->n > 0 || c->n_held > 0)
        mb_page_chart(p, &chart.chart);
    if (judge && c->n_held > 0)
        put_judged(p, c, judge);
    mb_curve_chart_fini(&chart);
    return MB_OK;
}

int rec_train_page(const char *folder, const char *judge, const rec_split *split, const rec_outcome *outcome,
                   mb_provenance *record, mb_err *e) {
    mb_curve c = {0};
    mb_page *p = NULL;
    char *path = mb_path_join(folder, "report.html");
    int rc = path ? mb_curve_read_folder(&c, folder, judge, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = mb_page_create(&p, "A recommender, trained", e);
    if (rc == MB_OK)
        rc = put_page(p, folder, judge, &c, split, outcome, e);
    if (rc == MB_OK)
        rc = mb_page_write(p, record, path, e);
    mb_page_destroy(p);
    mb_curve_fini(&c);
    mb_free(path);
    return rc;
}
