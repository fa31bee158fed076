/* See curve.h. */
#include "core/curve.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/json_guard.h"
#include "core/log.h"
#include "core/mem.h"

enum { MOST_BYTES = 1 << 28 };

static int grow(double **to, int64_t n) { /* full at powers of two */
    if ((n & (n - 1)) != 0)
        return MB_OK;
    double *p = mb_realloc_array(*to, n ? 2 * (size_t)n : 1, sizeof *p);
    if (!p)
        return MB_NOMEM;
    *to = p;
    return MB_OK;
}

static int take_line(mb_curve *c, const json_t *line, const char *figure) {
    const char *kind = json_string_value(json_object_get(line, "kind"));
    const json_t *step = json_object_get(line, "step"), *loss = json_object_get(line, "loss");
    const json_t *judged = figure ? json_object_get(line, figure) : NULL;
    if (!kind || !json_is_integer(step) || !json_is_number(loss))
        return MB_OK;
    if (strcmp(kind, "train") == 0) {
        if (grow(&c->step, c->n) != MB_OK || grow(&c->loss, c->n) != MB_OK)
            return MB_NOMEM;
        c->step[c->n] = (double)json_integer_value(step);
        c->loss[c->n++] = json_number_value(loss);
    } else if (strcmp(kind, "valid") == 0) {
        if (grow(&c->held_step, c->n_held) != MB_OK || grow(&c->held_loss, c->n_held) != MB_OK ||
            grow(&c->held_figure, c->n_held) != MB_OK)
            return MB_NOMEM;
        c->held_step[c->n_held] = (double)json_integer_value(step);
        c->held_loss[c->n_held] = json_number_value(loss);
        c->held_figure[c->n_held++] = json_is_number(judged) ? json_number_value(judged) : NAN;
    }
    return MB_OK;
}

static int read_lines(mb_curve *c, char *text, size_t size, const char *path, const char *figure, mb_err *e) {
    static const mb_json_limits LIMITS = {.depth = 8, .parts = 1000};
    size_t at = 0;
    while (at < size) {
        char *end = memchr(text + at, '\n', size - at);
        const size_t n = (end ? (size_t)(end - text) : size) - at;
        json_t *line = NULL;
        mb_err bad = {0};
        int rc = n ? mb_json_parse(&line, text + at, n, &LIMITS, 0, path, at, &bad) : MB_OK;
        if (rc == MB_OK && line)
            rc = take_line(c, line, figure) ? mb_fail(&bad, MB_NOMEM, "%s: no memory for a curve", path) : MB_OK;
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

int mb_curve_read(mb_curve *c, const char *path, const char *figure, mb_err *e) {
    char *text = NULL;
    size_t size = 0;
    *c = (mb_curve){0};
    int rc = mb_file_read_all(path, MOST_BYTES, &text, &size, e);
    if (rc == MB_OK)
        rc = read_lines(c, text, size, path, figure, e);
    mb_free(text);
    if (rc != MB_OK)
        mb_curve_fini(c);
    return rc;
}

void mb_curve_fini(mb_curve *c) {
    mb_free(c->step);
    mb_free(c->loss);
    mb_free(c->held_step);
    mb_free(c->held_loss);
    mb_free(c->held_figure);
    *c = (mb_curve){0};
}

static double *scaled(const double *y, int64_t n, double by) {
    double *out = mb_calloc((size_t)n + 1, sizeof *out);
    for (int64_t i = 0; out && i < n; i++)
        out[i] = y[i] * by;
    return out;
}

int mb_curve_chart_make(mb_curve_chart *out, const mb_curve *c, int bits, mb_err *e) {
    const double by = bits ? 1 / M_LN2 : 1;
    memset(out, 0, sizeof *out);
    out->y[0] = scaled(c->loss, c->n, by);
    out->y[1] = scaled(c->held_loss, c->n_held, by);
    if (!out->y[0] || !out->y[1]) {
        mb_curve_chart_fini(out);
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

void mb_curve_chart_fini(mb_curve_chart *c) {
    mb_free(c->y[0]);
    mb_free(c->y[1]);
    memset(c, 0, sizeof *c);
}

int mb_curve_read_folder(mb_curve *c, const char *folder, const char *figure, mb_err *e) {
    char *path = mb_path_join(folder, "metrics.jsonl");
    int rc = path ? mb_curve_read(c, path, figure, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
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

int mb_curve_draw(const char *folder, const char *path, mb_err *e) {
    mb_curve c = {0};
    mb_curve_chart chart = {0};
    mb_picture *picture = NULL;
    int rc = mb_curve_read_folder(&c, folder, NULL, e);
    if (rc == MB_OK)
        rc = mb_curve_chart_make(&chart, &c, 1, e);
    if (rc == MB_OK)
        rc = mb_chart_draw(&picture, &chart.chart, e);
    if (rc == MB_OK)
        rc = write_picture(picture, path, e);
    mb_picture_destroy(picture);
    mb_curve_chart_fini(&chart);
    mb_curve_fini(&c);
    return rc;
}
