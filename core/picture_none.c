/* Stands in for picture_cairo.c where cairo was not found at build time: refuses, and says how to get it. */
#include "core/picture.h"

static int refuse(mb_err *e) {
    return mb_fail(e, MB_NOTSUP, "this build cannot draw pictures; install libcairo2-dev and build again");
}

int mb_picture_available(void) {
    return 0;
}

int mb_picture_create(mb_picture **out, double width, double height, mb_err *e) {
    (void)width, (void)height;
    *out = NULL;
    return refuse(e);
}

void mb_picture_destroy(mb_picture *p) {
    (void)p;
}

void mb_picture_rect(mb_picture *p, double x, double y, double width, double height, mb_colour fill) {
    (void)p, (void)x, (void)y, (void)width, (void)height, (void)fill;
}

void mb_picture_line(mb_picture *p, double x0, double y0, double x1, double y1, double width, mb_colour colour) {
    (void)p, (void)x0, (void)y0, (void)x1, (void)y1, (void)width, (void)colour;
}

void mb_picture_outline(mb_picture *p, const mb_outline *shape, double x, double y, double width, double height,
                        mb_colour fill) {
    (void)p, (void)shape, (void)x, (void)y, (void)width, (void)height, (void)fill;
}

void mb_picture_text(mb_picture *p, double x, double y, const mb_text_style *style, const char *text) {
    (void)p, (void)x, (void)y, (void)style, (void)text;
}

double mb_picture_text_width(mb_picture *p, const mb_text_style *style, const char *text) {
    (void)p, (void)style, (void)text;
    return 0;
}

int mb_picture_write(const mb_picture *p, int format, double scale, mb_out *out, mb_err *e) {
    (void)p, (void)format, (void)scale, (void)out;
    return refuse(e);
}

int mb_picture_stream(const mb_picture *p, int format, double scale, mb_picture_take *take, void *user, mb_err *e) {
    (void)p, (void)format, (void)scale, (void)take, (void)user;
    return refuse(e);
}
