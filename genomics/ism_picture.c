/* Colours: the scale runs from orange-brown (the change is for the worse) over white to blue (for the better), which
 * readers with any of the common colour deficiencies tell apart; letters have four of the eight colours of Okabe and
 * Ito. Sites without a base are grey. Refuses more than DNA_ISM_MOST_SITES sites. */
#include "genomics/ism_picture.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

/* Points. */
#define LEFT        72.0
#define RIGHT       112.0
#define TOP         58.0
#define BOTTOM      14.0
#define LOGO        92.0
#define LETTERS     17.0 /* the line of reference bases */
#define ROW         15.0 /* of the heat map */
#define AXIS        20.0 /* ticks and coordinates */
#define LINE_GAP    20.0
#define LEAST_CELL  9.0
#define MOST_CELL   22.0
#define WIDTH       1080.0 /* of a line, about */
#define LEAST_WIDTH 420.0  /* room for the title */

static const mb_colour BLACK = {0.1, 0.1, 0.1}, GREY = {0.45, 0.45, 0.45}, PALE = {0.87, 0.87, 0.87};
static const mb_colour LETTER[4] = {{0, 0.62, 0.45}, {0, 0.45, 0.70}, {0.90, 0.62, 0}, {0.84, 0.37, 0}};
static const char *const NAME[5] = {"A", "C", "G", "T", "del"};

const mb_outline dna_letter_outline[4] = {
    {"MLLLLLLLZMLLZ", (const double[]){0,    1,    0.39, 0,    0.61, 0,     1,    1,     0.79, 1,   0.71,
                                       0.76, 0.29, 0.76, 0.21, 1,    0.345, 0.60, 0.655, 0.60, 0.5, 0.17}},
    {"MCCCCLCCCCZ", (const double[]){1,    0.33, 0.95, 0.12, 0.77, 0,    0.52, 0,    0.20, 0,    0,    0.20, 0,
                                     0.5,  0,    0.80, 0.20, 1,    0.52, 1,    0.77, 1,    0.95, 0.88, 1,    0.67,
                                     0.79, 0.62, 0.76, 0.76, 0.66, 0.83, 0.52, 0.83, 0.33, 0.83, 0.22, 0.70, 0.22,
                                     0.5,  0.22, 0.30, 0.33, 0.17, 0.52, 0.17, 0.66, 0.17, 0.76, 0.24, 0.79, 0.38}},
    {"MCCCCLLLLLCCCCZ",
     (const double[]){1,    0.33, 0.95, 0.12, 0.77, 0,    0.52, 0,    0.20, 0,    0,    0.20, 0,    0.5,  0,
                      0.80, 0.20, 1,    0.52, 1,    0.72, 1,    0.90, 0.94, 1,    0.82, 1,    0.47, 0.54, 0.47,
                      0.54, 0.63, 0.79, 0.63, 0.79, 0.74, 0.73, 0.80, 0.64, 0.83, 0.53, 0.83, 0.33, 0.83, 0.22,
                      0.70, 0.22, 0.5,  0.22, 0.30, 0.33, 0.17, 0.52, 0.17, 0.66, 0.17, 0.76, 0.24, 0.79, 0.38}},
    {"MLLLLLLLZ", (const double[]){0, 0, 1, 0, 1, 0.17, 0.61, 0.17, 0.61, 1, 0.39, 1, 0.39, 0.17, 0, 0.17}},
};

/* A disc in the unit square. */
static const mb_outline DISC = {"MCCCCZ", (const double[]){0.5,   0,     0.776, 0,     1,     0.224, 1,   0.5, 1,
                                                           0.776, 0.776, 1,     0.5,   1,     0.224, 1,   0,   0.776,
                                                           0,     0.5,   0,     0.224, 0.224, 0,     0.5, 0}};

/* ---- scales ---------------------------------------------------------------------------------------------------------
 */

double dna_nice_ceiling(double x) {
    static const double STEP[] = {1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10};
    if (!(x > 0) || isinf(x))
        return 1;
    const double power = pow(10, floor(log10(x)));
    for (size_t i = 0; i < sizeof STEP / sizeof *STEP; i++)
        if (x <= STEP[i] * power * (1 + 1e-9))
            return STEP[i] * power;
    return 10 * power;
}

static int ascending(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

double dna_effect_limit(const dna_ism *m) {
    const int64_t all = m->n * m->columns;
    float *size = mb_malloc((size_t)all * sizeof *size);
    int64_t n = 0;
    for (int64_t i = 0; size && i < all; i++)
        if (!isnan(m->effect[i]) && i % m->columns != m->base[i / m->columns])
            size[n++] = fabsf(m->effect[i]);
    double limit = 1;
    if (n > 0) {
        qsort(size, (size_t)n, sizeof *size, ascending);
        limit = dna_nice_ceiling((double)size[(int64_t)(0.98 * (double)(n - 1) + 0.5)]);
    }
    mb_free(size);
    return limit;
}

mb_colour dna_effect_colour(double effect, double limit) {
    static const mb_colour STOP[] = {{0.45, 0.18, 0.02}, {0.87, 0.45, 0.10}, {0.99, 0.82, 0.58}, {1, 1, 1},
                                     {0.68, 0.83, 0.94}, {0.22, 0.53, 0.78}, {0.03, 0.19, 0.42}};
    if (isnan(effect))
        return PALE;
    const double at = 3 + 3 * fmax(-1, fmin(1, effect / limit));
    const int i = at >= 6 ? 5 : (int)at;
    const double f = at - i;
    const mb_colour a = STOP[i], b = STOP[i + 1];
    return (mb_colour){a.r + f * (b.r - a.r), a.g + f * (b.g - a.g), a.b + f * (b.b - a.b)};
}

/* ---- the figure -----------------------------------------------------------------------------------------------------
 */

typedef struct figure {
    const dna_ism_figure *f;
    const dna_ism *m;
    mb_picture *p;
    int64_t per_line, lines;
    double cell, width, line; /* of a line of sites; height of a line with its gap */
    double limit;             /* of the colours */
    double least, most;       /* of the logo's axis */
} figure;

static mb_text_style style(double size, int anchor) {
    return (mb_text_style){.size = size, .colour = BLACK, .anchor = anchor};
}

/* 1-based, as people write it. */
static int64_t place_of(const figure *g, int64_t site) {
    const dna_region *r = g->f->region;
    return r->strand == '-' ? r->end - site : r->start + site + 1;
}

static const char *with_commas(int64_t n, char out[32]) {
    char digits[32];
    const int m = snprintf(digits, sizeof digits, "%" PRId64, n);
    int at = 0;
    for (int i = 0; i < m; i++) {
        if (i && (m - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

/* How far apart coordinates stand: the least of 1, 2, 5, 10, ... sites whose labels leave room between them. */
static int64_t tick_step(const figure *g) {
    const mb_text_style s = style(9, MB_ANCHOR_MIDDLE);
    char text[32];
    const double wide = mb_picture_text_width(g->p, &s, with_commas(g->f->region->end, text)) + 14;
    for (int64_t step = 5;; step *= 10)
        for (int k = 0; k < 2; k++)
            if ((double)(step << k) * g->cell >= wide)
                return step << k;
}

static double height_of(const figure *g, int64_t site) {
    return g->m->logp ? dna_ism_bits(g->m, site) : dna_ism_importance(g->m, site);
}

static void scale_logo(figure *g) {
    double least = 0, most = 0;
    for (int64_t i = 0; i < g->m->n; i++) {
        const double h = height_of(g, i);
        least = h < least ? h : least;
        most = h > most ? h : most;
    }
    if (g->m->logp) {
        g->least = 0;
        g->most = fmin(2, dna_nice_ceiling(most));
        return;
    }
    g->most = most > 0 || least == 0 ? dna_nice_ceiling(most) : 0;
    g->least = least < 0 ? -dna_nice_ceiling(-least) : 0;
}

static double logo_y(const figure *g, double top, double value) {
    return top + LOGO * (g->most - value) / (g->most - g->least);
}

/* Letters of a site: the distribution's, each as high as its share of the bits, the likeliest on top; or the reference
 * base, as high as it is important, below the axis when changing it is for the better. */
static void draw_site_logo(const figure *g, int64_t site, double x, double top) {
    const double height = height_of(g, site), pad = g->cell * 0.05;
    double y = logo_y(g, top, 0);
    if (isnan(height))
        return;
    if (!g->m->logp) {
        const double end = logo_y(g, top, height);
        mb_picture_outline(g->p, &dna_letter_outline[g->m->base[site]], x + pad, fmin(y, end), g->cell - 2 * pad,
                           fabs(end - y), LETTER[g->m->base[site]]);
        return;
    }
    int order[4] = {0, 1, 2, 3};
    const float *logp = g->m->logp + 4 * site;
    for (int i = 1; i < 4; i++)
        for (int k = i; k > 0 && logp[order[k]] < logp[order[k - 1]]; k--) {
            const int swap = order[k];
            order[k] = order[k - 1];
            order[k - 1] = swap;
        }
    for (int i = 0; i < 4; i++) {
        const double high = exp((double)logp[order[i]]) * height * LOGO / g->most;
        y -= high;
        if (high > 0.1)
            mb_picture_outline(g->p, &dna_letter_outline[order[i]], x + pad, y, g->cell - 2 * pad, high,
                               LETTER[order[i]]);
    }
}

static void draw_logo_axis(const figure *g, double top, double width) {
    const double tick[] = {g->most, g->least < 0 ? 0 : g->most / 2, g->least};
    mb_text_style s = style(9, MB_ANCHOR_RIGHT), label = style(10, MB_ANCHOR_MIDDLE);
    char text[32];
    mb_picture_line(g->p, LEFT - 4, top, LEFT - 4, top + LOGO, 0.8, GREY);
    for (int i = 0; i < 3; i++) {
        const double y = logo_y(g, top, tick[i]);
        if ((i == 1 && (g->most == 0 || (g->least < 0 && fabs(y - top - LOGO) < 10))) || (i == 2 && tick[2] == tick[1]))
            continue;
        snprintf(text, sizeof text, "%.3g", tick[i]);
        mb_picture_line(g->p, LEFT - 8, y, LEFT - 4, y, 0.8, GREY);
        mb_picture_text(g->p, LEFT - 11, y + 3.2, &s, text);
    }
    const double zero = logo_y(g, top, 0);
    mb_picture_line(g->p, LEFT, zero, LEFT + width, zero, 0.6, GREY);
    label.upwards = 1;
    mb_picture_text(g->p, LEFT - 50, top + LOGO / 2, &label, g->m->logp ? "bits" : g->f->importance);
}

static void draw_heat(const figure *g, int64_t first, int64_t n, double top) {
    for (int row = 0; row < g->m->columns; row++) {
        mb_text_style s = style(10, MB_ANCHOR_RIGHT);
        s.bold = row < 4;
        s.colour = row < 4 ? LETTER[row] : BLACK;
        mb_picture_text(g->p, LEFT - 8, top + row * ROW + ROW / 2 + 3.6, &s, NAME[row]);
    }
    mb_picture_rect(g->p, LEFT - 0.5, top - 0.5, (double)n * g->cell + 1, g->m->columns * ROW + 1, GREY);
    for (int64_t i = 0; i < n; i++) {
        const int64_t site = first + i;
        const double x = LEFT + (double)i * g->cell;
        for (int row = 0; row < g->m->columns; row++) {
            const double y = top + row * ROW;
            /* A hair wider than the cell, so that no seam shows between neighbours. */
            mb_picture_rect(g->p, x, y, g->cell + (i + 1 < n ? 0.25 : 0), ROW + (row + 1 < g->m->columns ? 0.25 : 0),
                            dna_effect_colour((double)g->m->effect[site * g->m->columns + row], g->limit));
            if (row == g->m->base[site])
                mb_picture_outline(g->p, &DISC, x + g->cell / 2 - 2, y + ROW / 2 - 2, 4, 4, BLACK);
        }
    }
}

static void draw_coordinates(const figure *g, int64_t first, int64_t n, double y) {
    const mb_text_style s = style(9, MB_ANCHOR_MIDDLE);
    const int64_t step = tick_step(g);
    char text[32];
    for (int64_t i = 0; i < n; i++) {
        const int64_t place = place_of(g, first + i);
        const double x = LEFT + ((double)i + 0.5) * g->cell;
        if (place % 5 == 0)
            mb_picture_line(g->p, x, y + 1, x, y + (place % step == 0 ? 6 : 3.5), 0.8, GREY);
        if (place % step == 0)
            mb_picture_text(g->p, x, y + 16, &s, with_commas(place, text));
    }
}

static void draw_line(const figure *g, int64_t line) {
    const int64_t first = line * g->per_line, n = g->m->n - first < g->per_line ? g->m->n - first : g->per_line;
    const double top = TOP + (double)line * g->line, heat = top + LOGO + LETTERS;
    draw_logo_axis(g, top, (double)n * g->cell);
    for (int64_t i = 0; i < n; i++) {
        const int base = g->m->base[first + i];
        mb_text_style s = style(fmin(10.5, g->cell * 1.1), MB_ANCHOR_MIDDLE);
        s.bold = 1;
        s.colour = base < 0 ? GREY : LETTER[base];
        draw_site_logo(g, first + i, LEFT + (double)i * g->cell, top);
        mb_picture_text(g->p, LEFT + ((double)i + 0.5) * g->cell, top + LOGO + 12.5, &s, base < 0 ? "N" : NAME[base]);
    }
    draw_heat(g, first, n, heat);
    draw_coordinates(g, first, n, heat + g->m->columns * ROW);
}

/* Beside the first line: the colours, what they mean, the mark of the reference. */
static void draw_legend(const figure *g) {
    const double x = LEFT + g->width + 24, top = TOP + 2, high = LOGO + LETTERS + g->m->columns * ROW - 26;
    const mb_text_style s = style(9, MB_ANCHOR_LEFT);
    mb_text_style label = style(9.5, MB_ANCHOR_MIDDLE);
    char text[32];
    const int steps = 120;
    mb_picture_rect(g->p, x - 0.5, top - 0.5, 13, high + 1, GREY);
    for (int i = 0; i < steps; i++)
        mb_picture_rect(g->p, x, top + high * i / steps, 12, high / steps + (i + 1 < steps ? 0.3 : 0),
                        dna_effect_colour(g->limit * (1 - 2.0 * (i + 0.5) / steps), g->limit));
    for (int i = -2; i <= 2; i++) {
        const double y = top + high * (2 - i) / 4;
        snprintf(text, sizeof text, i > 0 ? "+%.3g" : i < 0 ? "\xe2\x88\x92%.3g" : "0", fabs(g->limit * i / 2));
        mb_picture_line(g->p, x + 12, y, x + 15, y, 0.8, GREY);
        mb_picture_text(g->p, x + 18, y + 3.2, &s, text);
    }
    label.upwards = 1;
    mb_picture_text(g->p, x + 68, top + high / 2, &label, g->f->effect);
    mb_picture_outline(g->p, &DISC, x + 4, top + high + 15, 4, 4, BLACK);
    mb_picture_text(g->p, x + 14, top + high + 20, &s, "reference");
}

static void lay_out(figure *g) {
    const int64_t n = g->m->n;
    g->lines = (n + DNA_ISM_LINE_SITES - 1) / DNA_ISM_LINE_SITES;
    g->per_line = (n + g->lines - 1) / g->lines;
    g->cell = fmax(LEAST_CELL, fmin(MOST_CELL, WIDTH / (double)g->per_line));
    g->width = (double)g->per_line * g->cell;
    g->line = LOGO + LETTERS + g->m->columns * ROW + AXIS + LINE_GAP;
    g->limit = dna_effect_limit(g->m);
    scale_logo(g);
}

int dna_ism_draw(mb_picture **out, const dna_ism_figure *f, mb_err *e) {
    figure g = {.f = f, .m = f->m};
    *out = NULL;
    if (f->m->n > DNA_ISM_MOST_SITES)
        return mb_fail(e, MB_RANGE,
                       "%s: %" PRId64 " bases are more than a picture can show (%d); give shorter regions, or "
                       "--picture none",
                       f->title, f->m->n, DNA_ISM_MOST_SITES);
    lay_out(&g);
    /* Letters of the title are about 0.7 of its size wide. */
    const double text = fmax(14 * 0.7 * (double)strlen(f->title), 10 * 0.6 * (double)strlen(f->subtitle));
    const double width = LEFT + fmax(g.width + RIGHT, fmin(text, WIDTH) + 16);
    int rc = mb_picture_create(&g.p, width, TOP + (double)g.lines * g.line - LINE_GAP + BOTTOM, e);
    if (rc)
        return rc;
    mb_text_style title = style(14, MB_ANCHOR_LEFT), under = style(10, MB_ANCHOR_LEFT);
    title.bold = 1;
    under.colour = GREY;
    mb_picture_text(g.p, LEFT, 22, &title, f->title);
    mb_picture_text(g.p, LEFT, 39, &under, f->subtitle);
    for (int64_t i = 0; i < g.lines; i++)
        draw_line(&g, i);
    draw_legend(&g);
    *out = g.p;
    return MB_OK;
}
