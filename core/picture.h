/* A drawing surface, as little of it as figures need: filled shapes, lines, text, on white ground, written as SVG (all
 * of it outlines, so no reader needs the fonts) or PNG through an mb_out. What is drawn is recorded and played back at
 * every write, so one drawing gives both. Coordinates: points, x to the right, y down, (0,0) top left. Drawing calls
 * cannot fail; a failure inside (memory) sticks and is told by mb_picture_write. One thread at a time. Builds without
 * cairo link picture_none.c: create then fails with MB_NOTSUP and says what to install. */
#ifndef MB_PICTURE_H
#define MB_PICTURE_H
#include "core/file.h"

typedef struct mb_picture mb_picture;

typedef struct mb_colour { /* each 0..1 */
    double r, g, b;
} mb_colour;

typedef enum mb_anchor { MB_ANCHOR_LEFT, MB_ANCHOR_MIDDLE, MB_ANCHOR_RIGHT } mb_anchor;

typedef struct mb_text_style {
    double size; /* points */
    mb_colour colour;
    int anchor; /* mb_anchor: which part of the text stands at x */
    int bold;
    int upwards; /* turned by a quarter, reading from bottom to top */
} mb_text_style;

/* A shape in the unit square, which has to outlive the pictures it is drawn in: ops 'M' and 'L' take one point of xy,
 * 'C' three (a Bezier curve), 'Z' none. */
typedef struct mb_outline {
    const char *ops;
    const double *xy;
} mb_outline;

typedef enum mb_picture_format { MB_PICTURE_SVG, MB_PICTURE_PNG } mb_picture_format;

int mb_picture_available(void); /* 1 when this build can draw */
int mb_picture_create(mb_picture **out, double width, double height, mb_err *e) MB_MUST_USE;
void mb_picture_destroy(mb_picture *p); /* NULL is fine */

void mb_picture_rect(mb_picture *p, double x, double y, double width, double height, mb_colour fill);
void mb_picture_line(mb_picture *p, double x0, double y0, double x1, double y1, double width, mb_colour colour);
/* Fills the outline stretched over the rectangle; where parts of it overlap an even number of times there is a hole. A
 * negative height turns it upside down: y + height is then above y. */
void mb_picture_outline(mb_picture *p, const mb_outline *shape, double x, double y, double width, double height,
                        mb_colour fill);
/* UTF-8; y is the base line. Bytes that are no UTF-8 or no printable character are drawn as '?'. */
void mb_picture_text(mb_picture *p, double x, double y, const mb_text_style *style, const char *text);
double mb_picture_text_width(mb_picture *p, const mb_text_style *style, const char *text);

/* scale: pixels of a point, PNG only. May be called any number of times. */
int mb_picture_write(const mb_picture *p, int format, double scale, mb_out *out, mb_err *e) MB_MUST_USE;
/* The same, piece by piece to take(), whose failure ends it. */
typedef int mb_picture_take(void *user, const void *data, size_t n, mb_err *e);
int mb_picture_stream(const mb_picture *p, int format, double scale, mb_picture_take *take, void *user,
                      mb_err *e) MB_MUST_USE;
#endif
