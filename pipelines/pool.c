/* See pool.h. Refuses nothing. */
#include "pipelines/pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"

struct pipe_block {
    struct pipe_block *next;
    max_align_t data[];
};

void *pipe_take(pipe_pool *p, size_t n) {
    struct pipe_block *b = mb_calloc(1, sizeof *b + (n ? n : 1));
    if (!b)
        return NULL;
    b->next = p->block;
    p->block = b;
    return b->data;
}

char *pipe_copy(pipe_pool *p, const char *text) {
    const size_t n = strlen(text) + 1;
    char *copy = pipe_take(p, n);
    return copy ? memcpy(copy, text, n) : NULL;
}

char *pipe_format(pipe_pool *p, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = n < 0 ? NULL : pipe_take(p, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

void *pipe_grow(pipe_pool *p, void *array, int n, size_t size) {
    if (n && (n < 4 || (n & (n - 1)))) /* room is 4, 8, 16, ...: full only at powers of two */
        return array;
    void *more = pipe_take(p, (size_t)(n ? 2 * n : 4) * size);
    if (more && n)
        memcpy(more, array, (size_t)n * size);
    return more;
}

void pipe_pool_rewind(pipe_pool *p, const struct pipe_block *to) {
    while (p->block != to) {
        struct pipe_block *b = p->block;
        p->block = b->next;
        mb_free(b);
    }
}

void pipe_pool_free(pipe_pool *p) {
    pipe_pool_rewind(p, NULL);
}

/* ---- text -----------------------------------------------------------------------------------------------------------
 */

static int reserve(pipe_text *t, size_t n) {
    if (t->lost)
        return 0;
    if (t->n + n + 1 > t->room) {
        const size_t room = 2 * (t->n + n) + 256;
        char *more = mb_realloc(t->data, room);
        if (!more) {
            t->lost = 1;
            return 0;
        }
        t->data = more;
        t->room = room;
    }
    return 1;
}

void pipe_text_put(pipe_text *t, const char *bytes, size_t n) {
    if (!reserve(t, n))
        return;
    memcpy(t->data + t->n, bytes, n);
    t->n += n;
    t->data[t->n] = '\0';
}

void pipe_text_add(pipe_text *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        t->lost = 1;
    if (!reserve(t, n < 0 ? 0 : (size_t)n))
        return;
    va_start(args, fmt);
    vsnprintf(t->data + t->n, (size_t)n + 1, fmt, args);
    va_end(args);
    t->n += (size_t)n;
}

int pipe_utf8(const char *s) {
    const unsigned char *u = (const unsigned char *)s;
    const int n = u[0] < 0x80 ? 1 : u[0] >= 0xC2 && u[0] < 0xE0 ? 2 : (u[0] & 0xF0) == 0xE0 ? 3 : 4;
    if (n == 1)
        return *s != '\0';
    if (n == 4 && (u[0] < 0xF0 || u[0] > 0xF4))
        return 0;
    for (int i = 1; i < n; i++)
        if ((u[i] & 0xC0) != 0x80)
            return 0;
    const int overlong = (u[0] == 0xE0 && u[1] < 0xA0) || (u[0] == 0xF0 && u[1] < 0x90);
    const int outside = (u[0] == 0xED && u[1] > 0x9F) || (u[0] == 0xF4 && u[1] > 0x8F);
    return overlong || outside ? 0 : n;
}

static void quote(pipe_text *t, const char *s, int yaml) {
    pipe_text_put(t, "\"", 1);
    while (*s) {
        const int n = pipe_utf8(s);
        const unsigned char c = (unsigned char)*s;
        if (!n)
            pipe_text_add(t, "\\uFFFD");
        else if (c == '"' || c == '\\')
            pipe_text_add(t, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            pipe_text_add(t, "\\u%04X", c);
        else if (c == '$' && yaml)
            pipe_text_add(t, "$$");
        else if (yaml && n == 2 && c == 0xC2 && (unsigned char)s[1] < 0xA0) /* C1 controls are refused as they are */
            pipe_text_add(t, "\\u%04X", (unsigned char)s[1]);
        else if (yaml && n == 3 && (memcmp(s, "\xE2\x80\xA8", 3) == 0 || memcmp(s, "\xE2\x80\xA9", 3) == 0))
            pipe_text_add(t, "\\u20%02X", (unsigned char)s[2] - 0x80u); /* line and paragraph separators */
        else if (yaml && n == 3 &&
                 (memcmp(s, "\xEF\xBB\xBF", 3) == 0 || (c == 0xEF && memcmp(s, "\xEF\xBF\xBE", 3) >= 0)))
            pipe_text_add(t, memcmp(s, "\xEF\xBB\xBF", 3) == 0 ? "\\uFEFF" : "\\uFFFD");
        else
            pipe_text_put(t, s, (size_t)n);
        s += n ? n : 1;
    }
    pipe_text_put(t, "\"", 1);
}

void pipe_text_json(pipe_text *t, const char *s) {
    if (s)
        quote(t, s, 0);
    else
        pipe_text_add(t, "null");
}

void pipe_text_yaml(pipe_text *t, const char *s) {
    quote(t, s, 1);
}

int pipe_text_end(const pipe_text *t, mb_err *e) {
    return t->lost ? mb_fail(e, MB_NOMEM, "out of memory for %zu bytes of text", t->n) : MB_OK;
}

int pipe_text_write(const pipe_text *t, const char *path, mb_err *e) {
    int rc = pipe_text_end(t, e);
    return rc == MB_OK ? mb_file_write_all(path, t->n ? t->data : "", t->n, e) : rc;
}

void pipe_text_free(pipe_text *t) {
    mb_free(t->data);
    *t = (pipe_text){0};
}
