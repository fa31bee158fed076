/* Reports as HTML. See page.h. The page is text in memory until it is written. */
#include "core/page.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

struct mb_page {
    char *text;
    size_t n, capacity;
    int columns; /* of the open table; 0: none */
    int facts;   /* the open table is one of facts */
    mb_err lost; /* the first failure */
};

static const char HEAD[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n";
static const char STYLE[] =
    "<style>\n"
    "body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}\n"
    "h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid #ddd}\n"
    "table{border-collapse:collapse;margin:.6rem 0;display:block;overflow-x:auto}\n"
    "th,td{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top;border-bottom:1px solid #eee}\n"
    "th{font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}\n"
    "img{max-width:100%;height:auto;margin:.6rem 0}\n"
    "pre{background:#f6f6f6;padding:.8rem;overflow-x:auto;font-size:.8rem}summary{cursor:pointer}\n"
    "</style>\n";

/* ---- text ---------------------------------------------------------------------------------------------------------
 */

static void append(mb_page *p, const char *text, size_t n) {
    if (p->lost.status != MB_OK)
        return;
    if (p->n + n + 1 > p->capacity) {
        const size_t capacity = 2 * (p->n + n) + 16384;
        char *more = mb_realloc(p->text, capacity);
        if (!more) {
            (void)mb_fail(&p->lost, MB_NOMEM, "no memory for a report of %zu bytes", capacity);
            return;
        }
        p->text = more;
        p->capacity = capacity;
    }
    memcpy(p->text + p->n, text, n);
    p->n += n;
    p->text[p->n] = 0;
}

static void raw(mb_page *p, const char *text) {
    append(p, text, strlen(text));
}

/* Control characters, which HTML does not allow, become '?'; what is no UTF-8 is left to the browser's replacement. */
static void escaped(mb_page *p, const char *text) {
    for (const char *s = text; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c == '&')
            raw(p, "&amp;");
        else if (c == '<')
            raw(p, "&lt;");
        else if (c == '>')
            raw(p, "&gt;");
        else if (c == '"')
            raw(p, "&quot;");
        else if (c == '\'')
            raw(p, "&#39;");
        else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            raw(p, "?");
        else
            append(p, s, 1);
    }
}

static void formatted(mb_page *p, const char *fmt, va_list args) {
    char *text = NULL;
    const int n = vasprintf(&text, fmt, args);
    if (n >= 0)
        escaped(p, text);
    else
        (void)mb_fail(&p->lost, MB_NOMEM, "no memory for a report");
    free(n >= 0 ? text : NULL);
}

/* ---- pieces -------------------------------------------------------------------------------------------------------
 */

void mb_page_destroy(mb_page *p) {
    if (!p)
        return;
    mb_free(p->text);
    mb_free(p);
}

int mb_page_create(mb_page **out, const char *title, mb_err *e) {
    mb_page *p = *out = mb_calloc(1, sizeof *p);
    if (!p)
        return mb_fail(e, MB_NOMEM, "no memory for a report");
    raw(p, HEAD);
    raw(p, "<title>");
    escaped(p, title);
    raw(p, "</title>\n");
    raw(p, STYLE);
    raw(p, "</head>\n<body>\n<h1>");
    escaped(p, title);
    raw(p, "</h1>\n");
    return MB_OK;
}

void mb_page_table_end(mb_page *p) {
    if (p->columns)
        raw(p, "</tbody></table>\n");
    p->columns = p->facts = 0;
}

void mb_page_heading(mb_page *p, const char *text) {
    mb_page_table_end(p);
    raw(p, "<h2>");
    escaped(p, text);
    raw(p, "</h2>\n");
}

void mb_page_text(mb_page *p, const char *fmt, ...) {
    va_list args;
    mb_page_table_end(p);
    raw(p, "<p>");
    va_start(args, fmt);
    formatted(p, fmt, args);
    va_end(args);
    raw(p, "</p>\n");
}

void mb_page_table(mb_page *p, const char *const *column, int n) {
    MB_ASSERT(n > 0);
    mb_page_table_end(p);
    p->columns = n;
    raw(p, "<table><thead><tr>");
    for (int i = 0; i < n; i++) {
        raw(p, "<th>");
        escaped(p, column[i]);
        raw(p, "</th>");
    }
    raw(p, "</tr></thead><tbody>\n");
}

static int is_number(const char *text) {
    char *end;
    if (!isdigit((unsigned char)*text) && *text != '-' && *text != '.')
        return 0;
    (void)strtod(text, &end);
    return end != text && (*end == 0 || strcmp(end, " %") == 0);
}

void mb_page_row(mb_page *p, const char *const *cell) {
    MB_ASSERT(p->columns > 0 || p->lost.status != MB_OK);
    raw(p, "<tr>");
    for (int i = 0; i < p->columns; i++) {
        raw(p, is_number(cell[i]) ? "<td class=\"n\">" : "<td>");
        escaped(p, cell[i]);
        raw(p, "</td>");
    }
    raw(p, "</tr>\n");
}

void mb_page_fact(mb_page *p, const char *name, const char *fmt, ...) {
    va_list args;
    if (!p->facts) {
        mb_page_table_end(p);
        raw(p, "<table><tbody>\n");
        p->columns = 2;
        p->facts = 1;
    }
    raw(p, "<tr><th>");
    escaped(p, name);
    raw(p, "</th><td>");
    va_start(args, fmt);
    formatted(p, fmt, args);
    va_end(args);
    raw(p, "</td></tr>\n");
}

/* ---- pictures -----------------------------------------------------------------------------------------------------
 */

typedef struct base64 { /* three bytes become four letters; up to two wait for the next piece */
    mb_page *p;
    unsigned char left[3];
    int n;
} base64;

static void four_letters(base64 *b) {
    static const char LETTER[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned v = (unsigned)b->left[0] << 16 | (unsigned)b->left[1] << 8 | b->left[2];
    char out[4];
    for (int i = 0; i < 4; i++)
        out[i] = i > b->n ? '=' : LETTER[v >> (18 - 6 * i) & 63];
    append(b->p, out, 4);
    memset(b->left, 0, sizeof b->left);
    b->n = 0;
}

static int take_base64(void *user, const void *data, size_t n, mb_err *e) {
    base64 *b = user;
    (void)e;
    for (size_t i = 0; i < n; i++) {
        b->left[b->n++] = ((const unsigned char *)data)[i];
        if (b->n == 3)
            four_letters(b);
    }
    return MB_OK;
}

void mb_page_picture(mb_page *p, const mb_picture *picture, const char *words) {
    base64 b = {.p = p};
    mb_page_table_end(p);
    raw(p, "<img alt=\"");
    escaped(p, words);
    raw(p, "\" src=\"data:image/svg+xml;base64,");
    if (p->lost.status == MB_OK && mb_picture_stream(picture, MB_PICTURE_SVG, 1, take_base64, &b, &p->lost) == MB_OK &&
        b.n > 0)
        four_letters(&b);
    raw(p, "\">\n");
}

void mb_page_chart(mb_page *p, const mb_chart *chart) {
    mb_err e = {0};
    mb_picture *picture = NULL;
    const int rc = mb_chart_draw(&picture, chart, &e);
    if (rc == MB_OK)
        mb_page_picture(p, picture, chart->title ? chart->title : "chart");
    else if (rc == MB_NOTSUP || rc == MB_RANGE) /* cannot draw here; nothing to draw */
        mb_page_text(p, "%s", e.text);
    else
        (void)mb_fail(&p->lost, rc, "%s", e.text);
    mb_picture_destroy(picture);
}

int mb_page_write(mb_page *p, mb_provenance *record, const char *path, mb_err *e) {
    char *json = NULL;
    int rc = mb_provenance_text(record, &json, e);
    if (rc != MB_OK)
        return rc;
    mb_page_heading(p, "Record of the run");
    raw(p, "<details><summary>Command, options, digests of the inputs, versions</summary>\n<pre>");
    escaped(p, json);
    raw(p, "</pre></details>\n</body>\n</html>\n");
    mb_free(json);
    if (p->lost.status != MB_OK)
        return mb_fail(e, p->lost.status, "%s: %s", path, p->lost.text);
    return mb_file_write_all(path, p->text, p->n, e);
}
