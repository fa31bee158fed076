/* Pictures through cairo: a list of what was drawn, played back onto an SVG or an image surface whose bytes go to an
 * mb_out (a list of our own, since cairo 1.16 leaks a recording surface that was played onto an SVG one). Text is
 * cairo's own ("toy") text in a sans-serif face. Refuses pictures without area or with more than MAX_PIXELS at the
 * scale asked for. */
#include "core/picture.h"

#include <cairo-svg.h>
#include <cairo.h>
#include <math.h>
#include <string.h>

#include "core/mem.h"

#define MAX_SIDE   30000.0 /* an image surface holds 32767 pixels each way */
#define MAX_PIXELS 2e8

typedef struct stroke { /* one drawing call */
    enum { RECT, LINE, OUTLINE, TEXT } kind;
    double x, y, width, height; /* LINE: from (x,y) to (width,height) */
    double thick;
    mb_colour colour;
    const mb_outline *shape;
    mb_text_style style;
    char *text;
} stroke;

struct mb_picture {
    double width, height;
    stroke *stroke; /* (n) in the order drawn */
    size_t n, capacity;
    int failed;             /* a call found no memory */
    cairo_surface_t *small; /* for measuring text */
    cairo_t *ruler;
};

int mb_picture_available(void) {
    return 1;
}

static int fail_cairo(cairo_status_t s, const char *what, mb_err *e) {
    return mb_fail(e, s == CAIRO_STATUS_NO_MEMORY ? MB_NOMEM : MB_FAIL, "%s: %s", what, cairo_status_to_string(s));
}

static void add(mb_picture *p, const stroke *s) {
    if (p->n == p->capacity) {
        const size_t capacity = p->capacity ? 2 * p->capacity : 64;
        stroke *grown = mb_realloc_array(p->stroke, capacity, sizeof *grown);
        if (!grown) {
            p->failed = 1;
            mb_free(s->text);
            return;
        }
        p->stroke = grown;
        p->capacity = capacity;
    }
    p->stroke[p->n++] = *s;
}

int mb_picture_create(mb_picture **out, double width, double height, mb_err *e) {
    *out = NULL;
    if (!(width >= 1 && height >= 1 && width <= MAX_SIDE && height <= MAX_SIDE))
        return mb_fail(e, MB_RANGE, "a picture of %g x %g points: each side is 1 to %g", width, height, MAX_SIDE);
    mb_picture *p = mb_calloc(1, sizeof *p);
    if (!p)
        return mb_fail(e, MB_NOMEM, "no memory for a picture");
    *p = (mb_picture){.width = width, .height = height};
    p->small = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    p->ruler = cairo_create(p->small);
    if (cairo_status(p->ruler)) {
        int rc = fail_cairo(cairo_status(p->ruler), "a picture cannot be made", e);
        mb_picture_destroy(p);
        return rc;
    }
    mb_picture_rect(p, 0, 0, width, height, (mb_colour){1, 1, 1});
    *out = p;
    return MB_OK;
}

void mb_picture_destroy(mb_picture *p) {
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        mb_free(p->stroke[i].text);
    mb_free(p->stroke);
    cairo_destroy(p->ruler);
    cairo_surface_destroy(p->small);
    mb_free(p);
}

void mb_picture_rect(mb_picture *p, double x, double y, double width, double height, mb_colour fill) {
    add(p, &(stroke){.kind = RECT, .x = x, .y = y, .width = width, .height = height, .colour = fill});
}

void mb_picture_line(mb_picture *p, double x0, double y0, double x1, double y1, double width, mb_colour colour) {
    add(p, &(stroke){.kind = LINE, .x = x0, .y = y0, .width = x1, .height = y1, .thick = width, .colour = colour});
}

void mb_picture_outline(mb_picture *p, const mb_outline *shape, double x, double y, double width, double height,
                        mb_colour fill) {
    if (width != 0 && height != 0) /* a matrix without inverse would stick as an error */
        add(p, &(stroke){
                   .kind = OUTLINE, .x = x, .y = y, .width = width, .height = height, .shape = shape, .colour = fill});
}

static void trace(cairo_t *pen, const mb_outline *shape) {
    const double *at = shape->xy;
    for (const char *op = shape->ops; *op; op++)
        switch (*op) {
        case 'M':
            cairo_move_to(pen, at[0], at[1]);
            at += 2;
            break;
        case 'L':
            cairo_line_to(pen, at[0], at[1]);
            at += 2;
            break;
        case 'C':
            cairo_curve_to(pen, at[0], at[1], at[2], at[3], at[4], at[5]);
            at += 6;
            break;
        default:
            cairo_close_path(pen);
        }
}

/* ---- text -----------------------------------------------------------------------------------------------------------
 */

/* Bytes of the UTF-8 character at s; 0 when there is none (RFC 3629: no overlong forms, surrogates, beyond 10FFFF). */
static int utf8_bytes(const unsigned char *s) {
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    const int n = s[0] < 0x80                   ? 1
                  : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                  : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                  : s[0] < 0xf5                 ? 4
                                                : 0;
    if (n < 2 || s[0] < 0xc2)
        return n == 1;
    unsigned code = s[0] & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3fu);
    }
    return code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff) ? n : 0;
}

/* cairo stops for good at text that is no UTF-8, so nothing else may reach it. */
static char *clean(const char *text) {
    char *copy = mb_strdup(text);
    for (char *c = copy; c && *c;) {
        const int n = utf8_bytes((const unsigned char *)c);
        if (n == 0 || (n == 1 && ((unsigned char)*c < 0x20 || *c == 0x7f)))
            *c = '?';
        c += n ? n : 1;
    }
    return copy;
}

static void choose_font(cairo_t *pen, const mb_text_style *s) {
    cairo_select_font_face(pen, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           s->bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(pen, s->size);
}

/* Of cleaned text; 0 of none, which is a failure that sticks. */
static double advance(mb_picture *p, const mb_text_style *style, const char *cleaned) {
    cairo_text_extents_t t = {0};
    p->failed |= !cleaned;
    if (cleaned) {
        choose_font(p->ruler, style);
        cairo_text_extents(p->ruler, cleaned, &t);
    }
    return t.x_advance;
}

double mb_picture_text_width(mb_picture *p, const mb_text_style *style, const char *text) {
    char *copy = clean(text);
    const double width = advance(p, style, copy);
    mb_free(copy);
    return width;
}

void mb_picture_text(mb_picture *p, double x, double y, const mb_text_style *style, const char *text) {
    char *copy = clean(text);
    const double width = advance(p, style, copy);
    if (copy)
        add(p,
            &(stroke){
                .kind = TEXT, .x = x, .y = y, .width = width, .colour = style->colour, .style = *style, .text = copy});
}

/* ---- writing --------------------------------------------------------------------------------------------------------
 */

typedef struct drain {
    mb_picture_take *take;
    void *user;
    mb_err *e;
    int rc;
} drain;

static cairo_status_t take_bytes(void *user, const unsigned char *data, unsigned n) {
    drain *d = user;
    if (d->rc == MB_OK)
        d->rc = d->take(d->user, data, n, d->e);
    return d->rc == MB_OK ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static void play_text(cairo_t *pen, const stroke *s) {
    const int anchor = s->style.anchor;
    cairo_translate(pen, s->x, s->y);
    if (s->style.upwards)
        cairo_rotate(pen, -acos(-1) / 2);
    cairo_move_to(pen, anchor == MB_ANCHOR_LEFT ? 0 : anchor == MB_ANCHOR_RIGHT ? -s->width : -s->width / 2, 0);
    choose_font(pen, &s->style);
    cairo_show_text(pen, s->text);
}

static void play_stroke(cairo_t *pen, const stroke *s) {
    cairo_save(pen);
    cairo_set_source_rgb(pen, s->colour.r, s->colour.g, s->colour.b);
    switch (s->kind) {
    case RECT:
        cairo_rectangle(pen, s->x, s->y, s->width, s->height);
        cairo_fill(pen);
        break;
    case LINE:
        cairo_set_line_width(pen, s->thick);
        cairo_move_to(pen, s->x, s->y);
        cairo_line_to(pen, s->width, s->height);
        cairo_stroke(pen);
        break;
    case OUTLINE:
        cairo_translate(pen, s->x, s->y);
        cairo_scale(pen, s->width, s->height);
        trace(pen, s->shape);
        cairo_set_fill_rule(pen, CAIRO_FILL_RULE_EVEN_ODD);
        cairo_fill(pen);
        break;
    case TEXT:
        play_text(pen, s);
    }
    cairo_restore(pen);
}

static cairo_status_t play(const mb_picture *p, cairo_surface_t *onto, double scale) {
    cairo_t *pen = cairo_create(onto);
    cairo_scale(pen, scale, scale);
    for (size_t i = 0; i < p->n; i++)
        play_stroke(pen, &p->stroke[i]);
    const cairo_status_t s = cairo_status(pen);
    cairo_destroy(pen);
    return s;
}

static cairo_status_t write_svg(const mb_picture *p, drain *d) {
    cairo_surface_t *s = cairo_svg_surface_create_for_stream(take_bytes, d, p->width, p->height);
    cairo_status_t st = play(p, s, 1);
    cairo_surface_finish(s);
    if (!st)
        st = cairo_surface_status(s);
    cairo_surface_destroy(s);
    return st;
}

static cairo_status_t write_png(const mb_picture *p, double scale, drain *d) {
    cairo_surface_t *s =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)ceil(p->width * scale), (int)ceil(p->height * scale));
    cairo_status_t st = play(p, s, scale);
    if (!st)
        st = cairo_surface_write_to_png_stream(s, take_bytes, d);
    cairo_surface_destroy(s);
    return st;
}

int mb_picture_stream(const mb_picture *p, int format, double scale, mb_picture_take *take, void *user, mb_err *e) {
    drain d = {.take = take, .user = user, .e = e};
    cairo_status_t st = p->failed ? CAIRO_STATUS_NO_MEMORY : cairo_status(p->ruler);
    if (!st && format == MB_PICTURE_PNG &&
        (p->width * scale > MAX_SIDE || p->height * scale > MAX_SIDE ||
         p->width * scale * p->height * scale > MAX_PIXELS || !(scale > 0)))
        return mb_fail(e, MB_RANGE, "a picture of %g x %g points at %g pixels each is too large", p->width, p->height,
                       scale);
    if (!st)
        st = format == MB_PICTURE_SVG ? write_svg(p, &d) : write_png(p, scale, &d);
    if (d.rc != MB_OK)
        return d.rc; /* the first cause: a disk, a pipe */
    return st ? fail_cairo(st, "a picture cannot be drawn", e) : MB_OK;
}

static int to_out(void *user, const void *data, size_t n, mb_err *e) {
    return mb_out_write(user, data, n, e);
}

int mb_picture_write(const mb_picture *p, int format, double scale, mb_out *out, mb_err *e) {
    return mb_picture_stream(p, format, scale, to_out, out, e);
}
