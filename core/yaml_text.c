/* The text around a YAML tree: which characters may stand in a file, where lines are, how an error is shown, and what
 * ${...} becomes. */
#include "core/mem.h"
#include "core/yaml_internal.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 16 * 1024, EXCERPT = 100 /* characters of a source line that are shown */ };

void *mb_yaml_take(mb_yaml *y, size_t bytes) {
    const size_t align = _Alignof(max_align_t), head = (sizeof(mb_yaml_chunk) + align - 1) / align * align;
    bytes = (bytes + align - 1) / align * align;
    mb_yaml_chunk *c = y->chunks;
    if (!c || c->room - c->used < bytes) {
        size_t room = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        if (!(c = mb_malloc(head + room)))
            return NULL;
        *c = (mb_yaml_chunk){.next = y->chunks, .room = room};
        y->chunks = c;
    }
    c->used += bytes;
    return (char *)c + head + c->used - bytes;
}

/* ---- characters ---------------------------------------------------------------------------------------------------*/
/* Code point at s[0..n), its length in *bytes; -1 for what is not UTF-8 (overlong forms and surrogates included). */
static int32_t decode(const unsigned char *s, size_t n, int *bytes) {
    int extra = s[0] < 0x80                   ? 0
                : s[0] >= 0xC2 && s[0] < 0xE0 ? 1
                : (s[0] & 0xF0) == 0xE0       ? 2
                : s[0] >= 0xF0 && s[0] < 0xF5 ? 3
                                              : -1;
    *bytes = 1;
    if (extra < 0 || (size_t)extra >= n)
        return -1;
    int32_t c = extra ? s[0] & (0x3F >> extra) : s[0];
    for (int i = 1; i <= extra; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return -1;
        c = c << 6 | (s[i] & 0x3F);
    }
    static const int32_t LEAST[] = {0, 0x80, 0x800, 0x10000};
    if (c < LEAST[extra] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        return -1;
    *bytes = extra + 1;
    return c;
}

/* YAML 1.1 and 1.2 count these as ends of line, and libyaml's marks do too. */
static int ends_line(int32_t c) {
    return c == '\n' || c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029;
}

static int printable(int32_t c) {
    return c == '\t' || ends_line(c) || (c >= 0x20 && c < 0x7F) ||
           (c >= 0xA0 && c != 0xFEFF && c != 0xFFFE && c != 0xFFFF);
}

/* A walk over the text that knows its place. */
typedef struct walk {
    const unsigned char *s;
    size_t n, at;
    int line, column;
} walk;

/* Steps over one character; broken bytes count as one each. */
static int32_t step(walk *w) {
    int bytes;
    int32_t c = decode(w->s + w->at, w->n - w->at, &bytes);
    if (c == '\r' && w->at + 1 < w->n && w->s[w->at + 1] == '\n')
        bytes = 2;
    w->at += (size_t)bytes;
    if (ends_line(c)) {
        w->line++;
        w->column = 1;
    } else {
        w->column++;
    }
    return c;
}

static walk start_of(const mb_yaml *y) {
    return (walk){.s = (const unsigned char *)y->text, .n = y->size, .line = 1, .column = 1};
}

/* The beginning of a line: of a place in the text, or its end when the file has no such line. */
static walk find_line(const mb_yaml *y, int line) {
    walk w = start_of(y);
    while (w.at < w.n && w.line < line)
        step(&w);
    return w;
}

int mb_yaml_byte_at(const mb_yaml *y, int line, int column) {
    walk w = find_line(y, line);
    while (w.at < w.n && w.line == line && w.column < column)
        step(&w);
    return w.at < w.n && w.line == line ? w.s[w.at] : 0;
}

int mb_yaml_check_text(mb_yaml *y, mb_err *e) {
    if (y->size >= 2 && (memcmp(y->text, "\xFF\xFE", 2) == 0 || memcmp(y->text, "\xFE\xFF", 2) == 0)) {
        mb_yaml_error(y, 1, 1, e, "the file is UTF-16; save it as UTF-8");
        return MB_USAGE;
    }
    for (walk w = start_of(y); w.at < w.n;) {
        walk here = w;
        int32_t c = step(&w);
        if (c > 0 && printable(c))
            continue;
        if (c == 0 && (here.at + 1 < w.n ? w.s[here.at + 1] : 1) != 0 && here.at < 4)
            mb_yaml_error(y, here.line, here.column, e, "a NUL character; if the file is UTF-16, save it as UTF-8");
        else if (c == 0)
            mb_yaml_error(y, here.line, here.column, e, "a NUL character; the file is no text");
        else if (c < 0)
            mb_yaml_error(y, here.line, here.column, e, "byte 0x%02X is not UTF-8; save the file as UTF-8",
                          w.s[here.at]);
        else
            mb_yaml_error(y, here.line, here.column, e, "the control character U+%04X; remove it", (unsigned)c);
        return MB_USAGE;
    }
    return MB_OK;
}

/* ---- errors -------------------------------------------------------------------------------------------------------*/
/* "   14 | text\n      |   ^": the line, or the piece of it around the column, and a caret below the character. */
static void excerpt(const mb_yaml *y, int line, int column, char *out, size_t room) {
    int skip = column > EXCERPT - 20 ? column - EXCERPT / 2 : 0;
    walk w = find_line(y, line);
    size_t at = (size_t)snprintf(out, room, "\n%5d | ", line);
    while (w.at < w.n && w.line == line) {
        walk here = w;
        int32_t c = step(&w);
        if (ends_line(c) || here.column > skip + EXCERPT || at + 8 > room)
            break;
        if (here.column <= skip)
            continue;
        if (c == '\t' || c < 0 || !printable(c)) { /* one column each, so that the caret stands right */
            out[at++] = c == '\t' ? ' ' : '?';
            continue;
        }
        memcpy(out + at, w.s + here.at, w.at - here.at);
        at += w.at - here.at;
    }
    snprintf(out + at, room - at, "\n      | %*s", column - skip, "^");
}

void mb_yaml_error(mb_yaml *y, int line, int column, mb_err *e, const char *fmt, ...) {
    enum { TAIL = 64 }; /* kept free for the closing count */
    char what[700], source[5 * EXCERPT], entry[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    excerpt(y, line, column, source, sizeof source);
    int n = snprintf(entry, sizeof entry, "%.500s:%d:%d: error: %s%s", y->name, line, column, what, source);
    y->errors++;
    size_t used = e && e->status ? strlen(e->text) : 0;
    if (!e || y->errors > MB_YAML_MAX_ERRORS || used + (size_t)n + 1 + TAIL > MB_ERR_TEXT) {
        y->untold++;
        if (e && !e->status)
            e->status = MB_USAGE;
        return;
    }
    snprintf(e->text + used, MB_ERR_TEXT - used, "%s%s", used ? "\n" : "", entry);
    e->status = MB_USAGE;
}

int mb_yaml_end_errors(mb_yaml *y, mb_err *e) {
    if (e && y->untold) {
        size_t used = strlen(e->text);
        snprintf(e->text + used, MB_ERR_TEXT - used, "%s%s: %d more errors", used ? "\n" : "", "and", y->untold);
    }
    y->untold = 0;
    return y->errors ? MB_USAGE : MB_OK;
}

/* ---- substitution -------------------------------------------------------------------------------------------------*/
typedef struct grown {
    char *text;
    size_t n, room;
} grown;

static int add(grown *g, const char *s, size_t n) {
    if (g->n + n + 1 > g->room) {
        size_t room = 2 * (g->n + n + 1);
        char *more = mb_realloc(g->text, room);
        if (!more)
            return MB_NOMEM;
        g->text = more;
        g->room = room;
    }
    memcpy(g->text + g->n, s, n);
    g->n += n;
    g->text[g->n] = '\0';
    return MB_OK;
}

static int refuse(char *why, const char *fmt, ...) MB_PRINTF(2, 3);
static int refuse(char *why, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, MB_YAML_WHY, fmt, args);
    va_end(args);
    return MB_USAGE;
}

int mb_yaml_environment(void *user, char *body, const char **value, char *why) {
    (void)user;
    *value = NULL;
    if (strncmp(body, "env:", 4) != 0)
        return refuse(why, "${%.200s} is no substitution known here; there is ${env:NAME}, and $$ for a plain $", body);
    char *name = body + 4, *end = name;
    while (isalnum((unsigned char)*end) || *end == '_')
        end++;
    char op = end[0] == ':' && (end[1] == '-' || end[1] == '?') ? end[1] : '\0';
    if (end == name || isdigit((unsigned char)*name) || (*end && !op))
        return refuse(why, "${%.200s}: write ${env:NAME}, ${env:NAME:-default} or ${env:NAME:?message}", body);
    *end = '\0';
    *value = getenv(name);
    if (op && (!*value || !**value)) /* as in the shell, empty counts as unset here */
        *value = op == '-' ? end + 2 : NULL;
    if (!*value && op == '?')
        return refuse(why, "the environment variable %.100s is not set: %.400s", name, end + 2);
    if (!*value)
        return refuse(why, "the environment variable %.100s is not set; set it or write ${env:%.100s:-default}", name,
                      name);
    return MB_OK;
}

/* One "$..." at *s; moves past it. */
static int replace_one(const char **s, mb_yaml_lookup *lookup, void *user, grown *g, char *why) {
    const char *end = (*s)[1] == '{' ? strchr(*s, '}') : NULL, *value = NULL;
    if ((*s)[1] != '{') { /* "$$", or a $ that begins nothing */
        int rc = add(g, "$", 1);
        *s += (*s)[1] == '$' ? 2 : 1;
        return rc;
    }
    if (!end)
        return refuse(why, "\"${\" without \"}\"; write $${ for the characters themselves");
    size_t n = (size_t)(end - *s) - 2;
    char *body = mb_malloc(n + 1);
    if (!body)
        return MB_NOMEM;
    memcpy(body, *s + 2, n);
    body[n] = '\0';
    *s = end + 1;
    int rc = lookup(user, body, &value, why);
    if (rc == MB_OK && value)
        rc = add(g, value, strlen(value));
    mb_free(body);
    return rc;
}

int mb_yaml_replace(const char *text, mb_yaml_lookup *lookup, void *user, char **out, char *why) {
    grown g = {0};
    int rc = add(&g, "", 0);
    *out = NULL;
    *why = '\0';
    while (rc == MB_OK && *text) {
        size_t plain = strcspn(text, "$");
        rc = add(&g, text, plain);
        text += plain;
        if (rc == MB_OK && *text)
            rc = replace_one(&text, lookup, user, &g, why);
        if (rc == MB_OK && g.n > MB_YAML_LONGEST_VALUE)
            rc = refuse(why, "the value is longer than %d bytes after substitution", MB_YAML_LONGEST_VALUE);
    }
    if (rc == MB_OK)
        *out = g.text;
    else
        mb_free(g.text);
    return rc;
}

int mb_yaml_substitute(mb_yaml *y, mb_yaml_node *node, mb_err *e) {
    char why[MB_YAML_WHY], *text;
    if (!strchr(node->text, '$'))
        return MB_OK;
    int rc = mb_yaml_replace(node->text, mb_yaml_environment, NULL, &text, why);
    if (rc == MB_USAGE) { /* told with its place; the tree stays, for more errors */
        mb_yaml_error(y, node->line, node->column, e, "%s", why);
        node->substituted = 1;
        return MB_OK;
    }
    size_t n = rc == MB_OK && text ? strlen(text) : 0;
    char *kept = rc == MB_OK && text ? mb_yaml_take(y, n + 1) : NULL;
    if (kept)
        memcpy(kept, text, n + 1);
    mb_free(text);
    if (!kept)
        return mb_fail(e, MB_NOMEM, "%s: out of memory while reading it", y->name);
    y->substituted += n;
    node->text = kept;
    node->substituted = 1;
    if (y->substituted <= MB_YAML_MAX_SUBSTITUTED)
        return MB_OK;
    mb_yaml_error(y, node->line, node->column, e, "values grow beyond %d bytes by substitution",
                  MB_YAML_MAX_SUBSTITUTED);
    return MB_USAGE;
}
