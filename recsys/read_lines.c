/* Logs without names of columns, a user a line or a block: `user item item ...`, pairs, and the blocks of knowledge
 * tracing. Refuses (as malformed rows) pairs that are no pairs, blocks whose lines differ in length or whose answers
 * are no numbers; and a file that ends within a block. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "recsys/intake.h"

static int is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* The next word of [*at, end), n = 0 when there is none. */
static rec_span next_word(const char **at, const char *end) {
    const char *p = *at;
    while (p < end && is_blank(*p))
        p++;
    const char *from = p;
    while (p < end && !is_blank(*p))
        p++;
    *at = p;
    return (rec_span){from, (size_t)(p - from)};
}

static int read_pair(rec_intake *in, const rec_text *t, rec_row *row, const char *p, const char *end, mb_err *e) {
    row->item = next_word(&p, end);
    if (row->item.n == 0 || next_word(&p, end).n)
        return rec_intake_malformed(in, t, e, "expected two words, user and item");
    return rec_intake_row(in, t, row, e);
}

int rec_read_sequences(rec_intake *in, rec_text *t, const rec_layout *l, mb_err *e) {
    char *text;
    size_t n;
    int rc = rec_intake_begin(in, t->name, (rec_has){0}, e);
    while (rc == MB_OK && (rc = rec_text_line(t, &text, &n, e)) == MB_OK && text) {
        const char *p = text, *end = text + n;
        rec_row row = {.user = next_word(&p, end), .part = in->part};
        if (row.user.n == 0)
            continue; /* an empty line */
        if (l->format == REC_FORMAT_PAIRS) {
            rc = read_pair(in, t, &row, p, end, e);
            continue;
        }
        int64_t items = 0;
        while (rc == MB_OK && (row.item = next_word(&p, end)).n) {
            rc = rec_intake_row(in, t, &row, e);
            items++;
        }
        in->counts.empty_users += items == 0;
    }
    return rc;
}

/* ---- blocks ---------------------------------------------------------------------------------------------------------
 */
typedef struct block {
    rec_text *t;
    int64_t line;  /* of the first one */
    char *text[4]; /* copies: a line lasts until the next is read */
    size_t n[4], room[4];
} block;

/* One more line of the block; *missing: the text ended. */
static int take_line(block *b, int i, int *missing, mb_err *e) {
    char *text;
    size_t n;
    int rc;
    do
        rc = rec_text_line(b->t, &text, &n, e);
    while (rc == MB_OK && text && n == 0 && i == 0); /* empty lines between blocks */
    *missing = text == NULL;
    if (rc != MB_OK || !text)
        return rc;
    if (n >= b->room[i]) { /* one byte at the least, so that empty lines have a place too */
        char *more = mb_realloc(b->text[i], n + 1);
        if (!more)
            return mb_fail(e, MB_NOMEM, "%s:%" PRId64 ": no memory for a line of %zu bytes", b->t->name, b->t->line, n);
        b->text[i] = more;
        b->room[i] = n + 1;
    }
    while (n && (text[n - 1] == ',' || is_blank(text[n - 1]))) /* some writers end each number by a comma */
        n--;
    if (n)
        memcpy(b->text[i], text, n);
    b->n[i] = n;
    return MB_OK;
}

static int64_t count_fields(const char *text, size_t n) {
    int64_t fields = n > 0;
    for (size_t i = 0; i < n; i++)
        fields += text[i] == ',';
    return fields;
}

static rec_span next_field(const char **at, const char *end) {
    const char *comma = *at < end ? memchr(*at, ',', (size_t)(end - *at)) : NULL;
    const char *from = *at, *stop = comma ? comma : end;
    *at = comma ? comma + 1 : end;
    while (from < stop && is_blank(*from))
        from++;
    while (stop > from && is_blank(stop[-1]))
        stop--;
    return (rec_span){from, (size_t)(stop - from)};
}

static int says_length(rec_span s, int64_t n) {
    char text[24];
    const int k = snprintf(text, sizeof text, "%" PRId64, n);
    return s.n == (size_t)k && memcmp(s.at, text, s.n) == 0;
}

static int read_block(rec_intake *in, const rec_layout *l, block *b, mb_err *e) {
    const int answers = l->lines - 1;
    const char *head = b->text[0], *head_end = head + b->n[0];
    const int64_t fields = count_fields(b->text[0], b->n[0]), n = count_fields(b->text[answers], b->n[answers]);
    char name[32];
    rec_row row = {.user = next_field(&head, head_end), .part = in->part};
    in->blocks++;
    if (fields < 1 || fields > 2 || fields < l->sized)
        return rec_intake_malformed(in, b->t, e, "line %" PRId64 ": expected an identifier or a length", b->line);
    for (int i = 1; i < answers; i++)
        if (count_fields(b->text[i], b->n[i]) != n)
            return rec_intake_malformed(in, b->t, e,
                                        "the block that begins in line %" PRId64 " has %" PRId64
                                        " answers, but %" PRId64 " entries in its line %d",
                                        b->line, n, count_fields(b->text[i], b->n[i]), i + 1);
    if (l->sized && !says_length(l->sized == 1 ? row.user : next_field(&head, head_end), n))
        return rec_intake_malformed(in, b->t, e,
                                    "the block that begins in line %" PRId64 " has %" PRId64
                                    " answers, and another number in its first line",
                                    b->line, n);
    if (l->sized == 1) /* a nameless student: the number of the block */
        row.user = (rec_span){name, (size_t)snprintf(name, sizeof name, "%" PRId64, in->blocks)};
    const char *at[4] = {NULL}, *end[4] = {NULL};
    for (int i = 1; i < l->lines; i++) {
        at[i] = b->text[i];
        end[i] = at[i] + b->n[i];
    }
    int rc = MB_OK;
    in->counts.empty_users += n == 0;
    for (int64_t k = 0; rc == MB_OK && k < n; k++) {
        if (answers == 3)
            row.aux = next_field(&at[1], end[1]);
        row.item = next_field(&at[answers - 1], end[answers - 1]);
        const char *wrong = rec_parse_value(next_field(&at[answers], end[answers]), &row.value);
        rc = wrong ? rec_intake_malformed(in, b->t, e, "answer %" PRId64 " %s", k + 1, wrong)
                   : rec_intake_row(in, b->t, &row, e);
    }
    return rc;
}

int rec_read_blocks(rec_intake *in, rec_text *t, const rec_layout *l, mb_err *e) {
    block b = {.t = t};
    int missing = 0;
    int rc = rec_intake_begin(in, t->name, (rec_has){.value = 1, .aux = l->lines == 4}, e);
    while (rc == MB_OK && (rc = take_line(&b, 0, &missing, e)) == MB_OK && !missing) {
        b.line = t->line;
        for (int i = 1; rc == MB_OK && !missing && i < l->lines; i++)
            rc = take_line(&b, i, &missing, e);
        if (rc == MB_OK)
            rc = missing ? mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": ends within a block of %d lines", t->name, b.line,
                                   l->lines)
                         : read_block(in, l, &b, e);
    }
    for (int i = 0; i < 4; i++)
        mb_free(b.text[i]);
    return rc;
}
