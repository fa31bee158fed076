/* RFC 4180: fields between separators, lines end with LF or CRLF; a field that begins with a quote ends at the next
 * single one, and "" inside it is a quote; separators and line ends inside quotes are text. A UTF-8 byte order mark is
 * passed over. Blanks around an unquoted field are not part of it.
 * Refuses: quotes left open, text behind a closing quote, zero bytes, more than DNA_TABLE_COLUMNS fields, files that
 * are damaged or cut short. */
#include "genomics/table.h"

#include <htslib/bgzf.h>
#include <htslib/hts.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/mem.h"

enum { BUFFER = 1 << 16, END = -1, FAILED = -2 };

static const char *shown(const char *path) {
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

int dna_table_open(dna_table *t, const char *path, mb_err *e) {
    struct stat s;
    memset(t, 0, sizeof *t);
    t->line = t->column = 1;
    if (strcmp(path, "-") != 0 && !stat(path, &s) && S_ISDIR(s.st_mode))
        return mb_fail(e, MB_USAGE, "%s: is a folder, expected a file of sequences with labels", path);
    t->path = mb_strdup(shown(path));
    t->buffer = mb_malloc(BUFFER);
    int rc = t->path && t->buffer ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory to read it", path);
    if (!rc && strcmp(path, "-") != 0 && stat(path, &s))
        rc = mb_fail_errno(e, MB_NOTFOUND, "%s: cannot be opened", path);
    if (!rc && !(t->in = bgzf_open(path, "r")))
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be opened", path);
    if (rc)
        dna_table_close(t);
    return rc;
}

void dna_table_close(dna_table *t) {
    if (t->in)
        bgzf_close(t->in);
    mb_free(t->path);
    mb_free(t->buffer);
    mb_free(t->field);
    dna_text_fini(&t->text);
    memset(t, 0, sizeof *t);
}

/* Makes at least `want` bytes lie in the buffer, fewer only at the end. */
static int fill(dna_table *t, int want, mb_err *e) {
    memmove(t->buffer, t->buffer + t->next, (size_t)(t->filled - t->next));
    t->filled -= t->next;
    t->next = 0;
    while (t->filled < want) {
        const ssize_t got = bgzf_read(t->in, t->buffer + t->filled, (size_t)(BUFFER - t->filled));
        if (got < 0 || (got == 0 && bgzf_compression(t->in) == bgzf && !t->in->last_block_eof))
            return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": damaged or cut short here", t->path, t->line);
        if (got == 0)
            break;
        t->filled += (int)got;
    }
    return MB_OK;
}

/* The byte `ahead` places on, not taken; END or FAILED. */
static int look(dna_table *t, int ahead, mb_err *e) {
    if (t->next + ahead >= t->filled && fill(t, ahead + 1, e))
        return FAILED;
    return t->next + ahead < t->filled ? t->buffer[t->next + ahead] : END;
}

static void take(dna_table *t) {
    if (t->buffer[t->next++] == '\n') {
        t->line++;
        t->column = 0;
    }
    t->column++;
}

int dna_table_peek(dna_table *t, int *byte, mb_err *e) {
    int c = look(t, 0, e);
    if (c == 0xef && look(t, 1, e) == 0xbb && look(t, 2, e) == 0xbf)
        t->next += 3;
    for (int i = 0; i < BUFFER / 2; i++) {
        c = look(t, i, e);
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
            break;
    }
    *byte = c < 0 ? 0 : c;
    return c == FAILED ? e->status : MB_OK;
}

/* A tab anywhere in the first line, else a comma, else a semicolon. */
static int find_separator(dna_table *t, mb_err *e) {
    int comma = 0, semicolon = 0, c = 0;
    for (int i = 0; i < BUFFER && (c = look(t, i, e)) >= 0 && c != '\n' && c != '\t'; i++) {
        comma |= c == ',';
        semicolon |= c == ';';
    }
    t->separator = c == '\t' ? '\t' : comma || !semicolon ? ',' : ';';
    return c == FAILED ? e->status : MB_OK;
}

static int new_field(dna_table *t, mb_err *e) {
    if (t->n == DNA_TABLE_COLUMNS)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ":%" PRId64 ": found more than %d fields in a row", t->path, t->line,
                       t->column, (int)DNA_TABLE_COLUMNS);
    if (t->n == t->capacity) {
        const int capacity = t->capacity ? 2 * t->capacity : 16;
        dna_field *grown = mb_realloc_array(t->field, (size_t)capacity, sizeof *grown);
        if (!grown)
            return mb_fail(e, MB_NOMEM, "%s:%" PRId64 ": no memory for %d fields", t->path, t->line, capacity);
        t->field = grown;
        t->capacity = capacity;
    }
    t->field[t->n++] = (dna_field){.at = t->text.n, .line = t->line, .column = t->column};
    return MB_OK;
}

static int add_byte(dna_table *t, int c, mb_err *e) {
    const char byte = (char)c;
    if (!c)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ":%" PRId64 ": found a zero byte, this is no CSV or TSV text",
                       t->path, t->line, t->column);
    if (t->text.n + 1 < t->text.capacity) {
        t->text.data[t->text.n++] = byte;
        return MB_OK;
    }
    return dna_text_add(&t->text, &byte, 1, e);
}

/* LF, or CR before LF. */
static int at_line_end(dna_table *t, int c, mb_err *e) {
    return c == '\n' || (c == '\r' && look(t, 1, e) == '\n');
}

/* Behind the opening quote to behind the closing one. */
static int quoted_field(dna_table *t, mb_err *e) {
    const int64_t line = t->line, column = t->column;
    int rc = MB_OK, c = 0;
    take(t);
    t->field[t->n - 1].column++;
    while (!rc && (c = look(t, 0, e)) >= 0) {
        if (c == '"' && look(t, 1, e) != '"')
            break;
        if (c == '"')
            take(t);
        take(t);
        rc = add_byte(t, c, e);
    }
    if (rc || c == FAILED)
        return e->status;
    if (c == END)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ":%" PRId64 ": found a quote that is never closed", t->path, line,
                       column);
    take(t);
    while ((c = look(t, 0, e)) == ' ')
        take(t);
    if (c >= 0 && c != t->separator && !at_line_end(t, c, e))
        return mb_fail(e, MB_FORMAT,
                       "%s:%" PRId64 ":%" PRId64 ": found byte 0x%02x behind a closing quote, expected a %s or the end "
                       "of the line (a quote within quotes is written twice)",
                       t->path, t->line, t->column, (unsigned)c,
                       t->separator == '\t'  ? "tab"
                       : t->separator == ',' ? "comma"
                                             : "semicolon");
    return c == FAILED ? e->status : MB_OK;
}

static int plain_field(dna_table *t, mb_err *e) {
    const int64_t start = t->text.n;
    int rc = MB_OK, c = 0;
    while (!rc && (c = look(t, 0, e)) >= 0 && c != t->separator && !at_line_end(t, c, e)) {
        rc = add_byte(t, c, e);
        take(t);
    }
    while (t->text.n > start && t->text.data[t->text.n - 1] == ' ')
        t->text.n--;
    return rc || c == FAILED ? e->status : MB_OK;
}

/* One field and the zero byte behind it. */
static int take_field(dna_table *t, mb_err *e) {
    int c;
    while ((c = look(t, 0, e)) == ' ')
        take(t);
    if (c == FAILED)
        return e->status;
    int rc = new_field(t, e);
    if (!rc)
        rc = c == '"' ? quoted_field(t, e) : plain_field(t, e);
    if (rc)
        return rc;
    dna_field *f = &t->field[t->n - 1];
    f->n = t->text.n - f->at;
    return dna_text_add(&t->text, "", 1, e);
}

int dna_table_next(dna_table *t, mb_err *e) {
    int c, rc;
    t->text.n = 0;
    t->n = 0;
    if (!t->separator && (rc = dna_table_peek(t, &c, e)))
        return rc;
    while ((c = look(t, 0, e)) >= 0 && at_line_end(t, c, e))
        take(t);
    if (c < 0)
        return c == END ? 0 : e->status;
    if (!t->separator && (rc = find_separator(t, e)))
        return rc;
    for (;;) {
        if ((rc = take_field(t, e)))
            return rc;
        c = look(t, 0, e);
        if (c != t->separator)
            break;
        take(t);
    }
    if (c == '\r')
        take(t);
    if (c >= 0)
        take(t);
    return c == FAILED ? e->status : 1;
}
