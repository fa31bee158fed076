/* Charts for reports: lines, points and bars over two axes, drawn with core/picture.h. Builds without cairo cannot draw
 * (MB_NOTSUP, from mb_picture_create). */
#ifndef MB_CHART_H
#define MB_CHART_H
#include <stdint.h>
#include "core/picture.h"

typedef enum mb_series_kind { MB_SERIES_LINE, MB_SERIES_POINTS, MB_SERIES_BARS } mb_series_kind;

typedef struct mb_series {
    const char *name;    /* in the legend; NULL: not there */
    int kind;            /* mb_series_kind; bars are as wide as the distance of the first two x and stand on y = 0 */
    const double *x, *y; /* (n), borrowed; places where either is not finite are left out */
    int64_t n;
} mb_series;

typedef struct mb_chart {
    const char *title, *x_label, *y_label; /* NULL: none; UTF-8 */
    const mb_series *series;               /* (n_series), at most 6 */
    int n_series;
    double width, height; /* points; 0: 560 x 320 */
} mb_chart;

enum { MB_CHART_SERIES = 6 };

/* The axes span all finite values, widened to round numbers. MB_RANGE when no series has a finite value. *out is freed
 * with mb_picture_destroy. */
int mb_chart_draw(mb_picture **out, const mb_chart *c, mb_err *e) MB_MUST_USE;

/* Round ticks for [low, high]: a step of 1, 2 or 5 times a power of ten with at most `most` steps, the range widened to
 * whole steps. low < high, both finite. */
typedef struct mb_ticks {
    double low, high, step;
    int n; /* ticks: low, low + step, ..., high */
} mb_ticks;
mb_ticks mb_ticks_make(double low, double high, int most);
/* A tick's value with as many digits as the step asks for; out holds 32 bytes. Returns out. */
char *mb_tick_text(const mb_ticks *t, int i, char *out);

/* Counts the finite ones of value (n) in `bins` boxes of equal width between the least and the largest: x (bins)
 * middles, count (bins). Returns how many were counted; when all are alike they lie in the middle box of a range of
 * 1. */
int64_t mb_histogram(const double *value, int64_t n, int bins, double *x, double *count);
#endif
