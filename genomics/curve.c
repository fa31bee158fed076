/* See curve.h. */
#include "genomics/curve.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json_guard.h"
#include "core/log.h"
#include "core/mem.h"

enum { MOST_BYTES = 1 << 28 };

typedef struct columns {
    double **step, **loss;
    int64_t *n;
} columns;

static int put(const columns *to, double step, double loss) {
    if ((*to->n & (*to->n - 1)) == 0) { /* full at powers of two */
        const size_t room = *to->n ? 2 * (size_t)*to->n : 1;
        double *s = mb_realloc_array(*to->step, room, sizeof *s);
        if (s)
            *to->step = s;
        double *l = s ? mb_realloc_array(*to->loss, room, sizeof *l) : NULL;
        if (!l)
            return MB_NOMEM;
        *to->loss = l;
    }
    (*to->step)[*to->n] = step;
    (*to->loss)[(*to->n)++] = loss;
    return MB_OK;
}

static int take_line(dna_curve *c, const json_t *line) {
    const char *kind = json_string_value(json_object_get(line, "kind"));
    const json_t *step = json_object_get(line, "step"), *loss = json_object_get(line, "loss");
    const columns train = {&c->step, &c->loss, &c->n}, held = {&c->held_step, &c->held_loss, &c->n_held};
    if (!kind || !json_is_integer(step) || !json_is_number(loss))
        return MB_OK;
    if (strcmp(kind, "train") == 0)
        return put(&train, (double)json_integer_value(step), json_number_value(loss));
    if (strcmp(kind, "valid") == 0)
        return put(&held, (double)json_integer_value(step), json_number_value(loss));
    return MB_OK;
}

static int read_lines(dna_curve *c, char *text, size_t size, const char *path, mb_err *e) {
    static const mb_json_limits LIMITS = {.depth = 8, .parts = 1000};
    size_t at = 0;
    while (at < size) {
        char *end = memchr(text + at, '\n', size - at);
        const size_t n = (end ? (size_t)(end - text) : size) - at;
        json_t *line = NULL;
        mb_err bad = {0};
        int rc = n ? mb_json_parse(&line, text + at, n, &LIMITS, 0, path, at, &bad) : MB_OK;
        if (rc == MB_OK && line)
            rc = take_line(c, line) ? mb_fail(&bad, MB_NOMEM, "%s: no memory for a curve", path) : MB_OK;
        json_decref(line);
        if (rc == MB_FORMAT && at + n + 1 >= size) {
            mb_warn("%s: the last line is not whole and is left out", path);
            return MB_OK;
        }
        if (rc != MB_OK)
            return mb_fail(e, rc, "%s", bad.text);
        at += n + 1;
    }
    return MB_OK;
}

int dna_curve_read(dna_curve *c, const char *path, mb_err *e) {
    char *text = NULL;
    size_t size = 0;
    *c = (dna_curve){0};
    int rc = mb_file_read_all(path, MOST_BYTES, &text, &size, e);
    if (rc == MB_OK)
        rc = read_lines(c, text, size, path, e);
    mb_free(text);
    if (rc != MB_OK)
        dna_curve_fini(c);
    return rc;
}

void dna_curve_fini(dna_curve *c) {
    mb_free(c->step);
    mb_free(c->loss);
    mb_free(c->held_step);
    mb_free(c->held_loss);
    *c = (dna_curve){0};
}

static double *scaled(const double *y, int64_t n, double by) {
    double *out = mb_calloc((size_t)n + 1, sizeof *out);
    for (int64_t i = 0; out && i < n; i++)
        out[i] = y[i] * by;
    return out;
}

int dna_curve_chart_make(dna_curve_chart *out, const dna_curve *c, int bits, mb_err *e) {
    const double by = bits ? 1 / M_LN2 : 1;
    memset(out, 0, sizeof *out);
    out->y[0] = scaled(c->loss, c->n, by);
    out->y[1] = scaled(c->held_loss, c->n_held, by);
    if (!out->y[0] || !out->y[1]) {
        dna_curve_chart_fini(out);
        return mb_fail(e, MB_NOMEM, "no memory for a curve");
    }
    int64_t from = 0; /* the fall from ignorance in the first steps would press the rest flat */
    while (c->n_held > 1 && from < c->n && c->step[from] < c->held_step[0] / 2)
        from++;
    out->series[0] = (mb_series){"training", MB_SERIES_LINE, c->step + from, out->y[0] + from, c->n - from};
    out->series[1] =
        (mb_series){"held out", c->n_held > 1 ? MB_SERIES_LINE : MB_SERIES_POINTS, c->held_step, out->y[1], c->n_held};
    out->chart = (mb_chart){.title = "Training curve",
                            .x_label = "step",
                            .y_label = bits ? "loss, bits per target" : "loss, nats per target",
                            .series = out->series,
                            .n_series = 2};
    return MB_OK;
}

void dna_curve_chart_fini(dna_curve_chart *c) {
    mb_free(c->y[0]);
    mb_free(c->y[1]);
    memset(c, 0, sizeof *c);
}

static int read_folder(dna_curve *c, const char *folder, mb_err *e) {
    char *path = mb_path_join(folder, "metrics.jsonl");
    int rc = path ? dna_curve_read(c, path, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    mb_free(path);
    return rc;
}

static int write_picture(const mb_picture *picture, const char *path, mb_err *e) {
    const size_t n = strlen(path);
    const int svg = n > 4 && strcmp(path + n - 4, ".svg") == 0, png = n > 4 && strcmp(path + n - 4, ".png") == 0;
    mb_out *out = NULL;
    int rc = svg || png ? mb_out_create(&out, path, e)
                        : mb_fail(e, MB_USAGE, "%s: a picture's name ends with .svg or .png", path);
    if (rc == MB_OK)
        rc = mb_picture_write(picture, svg ? MB_PICTURE_SVG : MB_PICTURE_PNG, 2, out, e);
    if (rc == MB_OK)
        return mb_out_commit(out, e);
    mb_out_abort(out);
    return rc;
}

int dna_curve_draw(const char *folder, const char *path, mb_err *e) {
    dna_curve c = {0};
    dna_curve_chart chart = {0};
    mb_picture *picture = NULL;
    int rc = read_folder(&c, folder, e);
    if (rc == MB_OK)
        rc = dna_curve_chart_make(&chart, &c, 1, e);
    if (rc == MB_OK)
        rc = mb_chart_draw(&picture, &chart.chart, e);
    if (rc == MB_OK)
        rc = write_picture(picture, path, e);
    mb_picture_destroy(picture);
    dna_curve_chart_fini(&chart);
    dna_curve_fini(&c);
    return rc;
}

static void put_evaluations(mb_page *p, const dna_curve *c) {
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
    dna_curve c = {0};
    dna_curve_chart chart = {0};
    mb_page *p = NULL;
    char *path = mb_path_join(folder, "report.html");
    int rc = path ? read_folder(&c, folder, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = dna_curve_chart_make(&chart, &c, 1, e);
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
    dna_curve_chart_fini(&chart);
    dna_curve_fini(&c);
    mb_free(path);
    return rc;
}
