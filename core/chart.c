/* Charts. See chart.h. Layout, in points: a margin on the left for the ticks' words and the axis' name, below the same,
 * above the title; the legend is a row between title and plot. Colours: Okabe and Ito's, told apart by the
 * colour-blind. */
#include "core/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 560, HEIGHT = 320, LEFT = 64, RIGHT = 18, ABOVE = 14, BELOW = 48, MOST_TICKS = 7 };

static const mb_colour BLACK = {0.13, 0.13, 0.13}, GREY = {0.45, 0.45, 0.45}, GRID = {0.9, 0.9, 0.9};
static const mb_colour PALETTE[MB_CHART_SERIES] = {{0, 0.447, 0.698},   {0.835, 0.369, 0}, {0, 0.62, 0.451},
                                                   {0.8, 0.475, 0.655}, {0.902, 0.624, 0}, {0.337, 0.706, 0.914}};

/* ---- axes ---------------------------------------------------------------------------------------------------------
 */

mb_ticks mb_ticks_make(double low, double high, int most) {
    MB_ASSERT(isfinite(low) && isfinite(high) && low < high && most >= 2);
    const double rough = (high - low) / most, power = pow(10, floor(log10(rough)));
    double step = power;
    static const double FACTOR[] = {1, 2, 5, 10, 20, 50};
    for (size_t i = 0; i < sizeof FACTOR / sizeof *FACTOR; i++) {
        step = FACTOR[i] * power;
        if (ceil(high / step - 1e-9) - floor(low / step + 1e-9) <= most)
            break;
    }
    mb_ticks t = {.step = step, .low = floor(low / step + 1e-9) * step, .high = ceil(high / step - 1e-9) * step};
    t.n = (int)lround((t.high - t.low) / step) + 1;
    return t;
}

char *mb_tick_text(const mb_ticks *t, int i, char *out) {
    const int digits = (int)fmax(0, -floor(log10(t->step) + 1e-9));
    double v = t->low + i * t->step;
    if (fabs(v) < t->step * 1e-6)
        v = 0;
    if (fabs(v) >= 1e6 || digits > 6)
        snprintf(out, 32, "%.3g", v);
    else
        snprintf(out, 32, "%.*f", digits, v);
    return out;
}

typedef struct plane { /* the plot's rectangle on the page, and what it shows */
    mb_picture *p;
    mb_ticks x, y;
    double left, top, width, height;
} plane;

static double at_x(const plane *g, double v) {
    return g->left + (v - g->x.low) / (g->x.high - g->x.low) * g->width;
}

static double at_y(const plane *g, double v) {
    return g->top + (g->y.high - v) / (g->y.high - g->y.low) * g->height;
}

static double bar_width(const mb_series *s) {
    return s->n > 1 ? fabs(s->x[1] - s->x[0]) : 1;
}

typedef struct extent {
    double low, high;
} extent;

static void widen(extent *r, double v) {
    r->low = v < r->low ? v : r->low;
    r->high = v > r->high ? v : r->high;
}

/* A single value gets room on both sides. */
static mb_ticks ticks_of(extent r) {
    if (!(r.high - r.low > 1e-12 * fmax(fabs(r.low), fabs(r.high)))) {
        const double half = r.low == 0 ? 0.5 : fabs(r.low) * 0.05;
        r = (extent){r.low - half, r.high + half};
    }
    return mb_ticks_make(r.low, r.high, MOST_TICKS);
}

static int find_extent(const mb_chart *c, extent *x, extent *y) {
    *x = *y = (extent){INFINITY, -INFINITY};
    for (int k = 0; k < c->n_series; k++) {
        const mb_series *s = &c->series[k];
        const double half = s->kind == MB_SERIES_BARS ? bar_width(s) / 2 : 0;
        for (int64_t i = 0; i < s->n; i++) {
            if (!isfinite(s->x[i]) || !isfinite(s->y[i]))
                continue;
            widen(x, s->x[i] - half);
            widen(x, s->x[i] + half);
            widen(y, s->y[i]);
            if (s->kind == MB_SERIES_BARS)
                widen(y, 0);
        }
    }
    return x->low <= x->high;
}

/* ---- drawing ------------------------------------------------------------------------------------------------------
 */

static void draw_axes(const plane *g, const mb_chart *c) {
    char text[32];
    mb_text_style style = {.size = 10, .colour = GREY, .anchor = MB_ANCHOR_RIGHT};
    for (int i = 0; i < g->y.n; i++) {
        const double y = at_y(g, g->y.low + i * g->y.step);
        mb_picture_line(g->p, g->left, y, g->left + g->width, y, 1, GRID);
        mb_picture_text(g->p, g->left - 6, y + 3.5, &style, mb_tick_text(&g->y, i, text));
    }
    style.anchor = MB_ANCHOR_MIDDLE;
    for (int i = 0; i < g->x.n; i++) {
        const double x = at_x(g, g->x.low + i * g->x.step), y = g->top + g->height;
        mb_picture_line(g->p, x, y, x, y + 4, 1, GREY);
        mb_picture_text(g->p, x, y + 16, &style, mb_tick_text(&g->x, i, text));
    }
    style.colour = BLACK;
    style.size = 11;
    if (c->x_label)
        mb_picture_text(g->p, g->left + g->width / 2, g->top + g->height + 36, &style, c->x_label);
    style.upwards = 1;
    if (c->y_label)
        mb_picture_text(g->p, 16, g->top + g->height / 2, &style, c->y_label);
    mb_picture_line(g->p, g->left, g->top + g->height, g->left + g->width, g->top + g->height, 1, GREY);
}

static void draw_line(const plane *g, const mb_series *s, mb_colour colour) {
    int64_t last = -1;
    for (int64_t i = 0; i < s->n; i++) {
        if (!isfinite(s->x[i]) || !isfinite(s->y[i]))
            continue;
        if (last >= 0)
            mb_picture_line(g->p, at_x(g, s->x[last]), at_y(g, s->y[last]), at_x(g, s->x[i]), at_y(g, s->y[i]), 1.6,
                            colour);
        last = i;
    }
}

static void draw_marks(const plane *g, const mb_series *s, mb_colour colour) {
    const double size = 4;
    for (int64_t i = 0; i < s->n; i++)
        if (isfinite(s->x[i]) && isfinite(s->y[i]))
            mb_picture_rect(g->p, at_x(g, s->x[i]) - size / 2, at_y(g, s->y[i]) - size / 2, size, size, colour);
}

static void draw_bars(const plane *g, const mb_series *s, mb_colour colour) {
    const double half = bar_width(s) / 2, floor_y = at_y(g, 0);
    for (int64_t i = 0; i < s->n; i++) {
        if (!isfinite(s->x[i]) || !isfinite(s->y[i]))
            continue;
        const double x0 = at_x(g, s->x[i] - half) + 0.5, x1 = at_x(g, s->x[i] + half) - 0.5, y = at_y(g, s->y[i]);
        mb_picture_rect(g->p, x0, fmin(y, floor_y), fmax(x1 - x0, 0.5), fabs(floor_y - y), colour);
    }
}

static void draw_legend(const plane *g, const mb_chart *c, double y) {
    const mb_text_style style = {.size = 10.5, .colour = BLACK};
    double x = g->left;
    for (int k = 0; k < c->n_series; k++) {
        if (!c->series[k].name)
            continue;
        mb_picture_rect(g->p, x, y - 8, 14, c->series[k].kind == MB_SERIES_LINE ? 3 : 8, PALETTE[k]);
        mb_picture_text(g->p, x + 19, y, &style, c->series[k].name);
        x += 19 + mb_picture_text_width(g->p, &style, c->series[k].name) + 20;
    }
}

static void draw(plane *g, const mb_chart *c, int legend) {
    const mb_text_style title = {.size = 13, .colour = BLACK, .bold = 1};
    if (c->title)
        mb_picture_text(g->p, g->left, ABOVE + 6, &title, c->title);
    draw_axes(g, c);
    for (int k = 0; k < c->n_series; k++) {
        if (c->series[k].kind == MB_SERIES_BARS)
            draw_bars(g, &c->series[k], PALETTE[k]);
        else if (c->series[k].kind == MB_SERIES_POINTS)
            draw_marks(g, &c->series[k], PALETTE[k]);
        else
            draw_line(g, &c->series[k], PALETTE[k]);
    }
    if (legend)
        draw_legend(g, c, g->top - 10);
}

int mb_chart_draw(mb_picture **out, const mb_chart *c, mb_err *e) {
    extent x, y;
    int legend = 0;
    *out = NULL;
    MB_ASSERT(c->n_series >= 0 && c->n_series <= MB_CHART_SERIES);
    if (!find_extent(c, &x, &y))
        return mb_fail(e, MB_RANGE, "%s: nothing to draw, there is no finite value", c->title ? c->title : "chart");
    for (int k = 0; k < c->n_series; k++)
        legend |= c->series[k].name != NULL;
    const double width = c->width > 0 ? c->width : WIDTH, height = c->height > 0 ? c->height : HEIGHT;
    plane g = {
        .x = ticks_of(x), .y = ticks_of(y), .left = LEFT, .top = ABOVE + (c->title ? 16 : 0) + (legend ? 22 : 0)};
    g.width = width - LEFT - RIGHT;
    g.height = height - g.top - BELOW;
    MB_ASSERT(g.width > 0 && g.height > 0);
    int rc = mb_picture_create(&g.p, width, height, e);
    if (rc != MB_OK)
        return rc;
    draw(&g, c, legend);
    *out = g.p;
    return MB_OK;
}

int64_t mb_histogram(const double *value, int64_t n, int bins, double *x, double *count) {
    MB_ASSERT(bins > 0);
    extent r = {INFINITY, -INFINITY};
    int64_t counted = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(value[i]))
            widen(&r, value[i]);
    if (!(r.low < r.high))
        r = isfinite(r.low) ? (extent){r.low - 0.5, r.low + 0.5} : (extent){0, 1};
    for (int b = 0; b < bins; b++) {
        x[b] = r.low + (b + 0.5) * (r.high - r.low) / bins;
        count[b] = 0;
    }
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(value[i]))
            continue;
        const int b = (int)((value[i] - r.low) / (r.high - r.low) * bins);
        count[b < bins ? b : bins - 1]++;
        counted++;
    }
    return counted;
}
