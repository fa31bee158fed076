/* Identifiers of items. See items.h. The file may be anyone's: every byte is looked at, and nothing is taken for
 * granted but that it fits into memory. */
#include "recsys/items.h"

#include <string.h>

#include "core/mem.h"

rec_id rec_items_id(const rec_items *items, int32_t item) {
    MB_ASSERT(item >= 1 && item <= items->n);
    const int64_t *at = items->names.at + item - 1;
    return (rec_id){items->names.text + at[0], (int)(at[1] - at[0])};
}

int32_t rec_items_find(const rec_items *items, const char *text, int n) {
    return rec_names_find(&items->names, text, (size_t)n) + 1;
}

/* ---- a line ---------------------------------------------------------------------------------------------------------
 */

static int hex4(const char *s, const char *end, unsigned *value) {
    *value = 0;
    if (end - s < 4)
        return 0;
    for (int i = 0; i < 4; i++) {
        const char c = s[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return 0;
        *value = *value * 16 + (unsigned)digit;
    }
    return 1;
}

static char *put_utf8(char *to, unsigned v) {
    if (v < 0x80) {
        *to++ = (char)v;
    } else if (v < 0x800) {
        *to++ = (char)(0xC0 | v >> 6);
        *to++ = (char)(0x80 | (v & 0x3F));
    } else if (v < 0x10000) {
        *to++ = (char)(0xE0 | v >> 12);
        *to++ = (char)(0x80 | (v >> 6 & 0x3F));
        *to++ = (char)(0x80 | (v & 0x3F));
    } else {
        *to++ = (char)(0xF0 | v >> 18);
        *to++ = (char)(0x80 | (v >> 12 & 0x3F));
        *to++ = (char)(0x80 | (v >> 6 & 0x3F));
        *to++ = (char)(0x80 | (v & 0x3F));
    }
    return to;
}

/* *s stands after \u. Two halves of a pair are one character; one alone is an error. */
static char *take_unicode(const char **s, const char *end, char *to) {
    unsigned v, low;
    if (!hex4(*s, end, &v))
        return NULL;
    *s += 4;
    if (v >= 0xDC00 && v < 0xE000)
        return NULL;
    if (v >= 0xD800 && v < 0xDC00) {
        if (end - *s < 6 || (*s)[0] != '\\' || (*s)[1] != 'u' || !hex4(*s + 2, end, &low) || low < 0xDC00 ||
            low >= 0xE000)
            return NULL;
        *s += 6;
        v = 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
    }
    return put_utf8(to, v);
}

/* The string between quotes, s after the first; what it means is never longer than how it is written. NULL: broken. */
static char *take_string(const char *s, const char *end, char *to) {
    static const char NAME[] = "\"\\/bfnrt", MEANS[] = "\"\\/\b\f\n\r\t";
    while (s < end && *s != '"') {
        if ((unsigned char)*s < 0x20)
            return NULL;
        if (*s != '\\') {
            *to++ = *s++;
            continue;
        }
        if (++s == end)
            return NULL;
        const char *known = *s ? strchr(NAME, *s) : NULL;
        if (known) {
            *to++ = MEANS[known - NAME];
            s++;
        } else if (*s++ != 'u' || !(to = take_unicode(&s, end, to))) {
            return NULL;
        }
    }
    return s + 1 == end ? to : NULL; /* the closing quote ends the line */
}

char *rec_id_parse(const char *s, const char *end, char *to) {
    if (s < end && *s == '"')
        return take_string(s + 1, end, to);
    memcpy(to, s, (size_t)(end - s));
    return to + (end - s);
}

/* ---- the file -------------------------------------------------------------------------------------------------------
 */

/* scratch: as long as the line. */
static int take_item(rec_items *items, const char *s, const char *end, char *scratch, const char *path, mb_err *e) {
    const char *stop = rec_id_parse(s, end, scratch);
    int32_t number;
    if (!stop)
        return mb_fail(e, MB_FORMAT, "%s:%d: begins with a quote, but is not a whole JSON string", path, items->n + 1);
    if (stop - scratch > REC_NAME_MAX)
        return mb_fail(e, MB_FORMAT, "%s:%d: an identifier of more than %d bytes", path, items->n + 1, REC_NAME_MAX);
    int rc = rec_names_add(&items->names, scratch, (size_t)(stop - scratch), "item", &number, e);
    if (rc == MB_OK && number != items->n)
        return mb_fail(e, MB_FORMAT, "%s:%d: the identifier of line %d again", path, items->n + 1, number + 1);
    items->n++;
    return rc;
}

static int take_file(rec_items *items, const char *data, size_t size, const char *path, mb_err *e) {
    if (size == 0)
        return mb_fail(e, MB_FORMAT, "%s: holds no items", path);
    char *scratch = mb_malloc(size + 1);
    int rc = scratch ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory for %zu bytes of items", path, size);
    for (const char *s = data, *end = data + size; rc == MB_OK && s < end;) {
        const char *line = memchr(s, '\n', (size_t)(end - s));
        rc = take_item(items, s, line ? line : end, scratch, path, e);
        s = line ? line + 1 : end;
    }
    mb_free(scratch);
    const rec_table t = {.n = items->names.n, .at = items->names.at, .text = items->names.text};
    return rc == MB_OK ? rec_table_digest(&t, items->digest, e) : rc;
}

int rec_items_read(rec_items *items, const char *path, mb_err *e) {
    mb_map map = {0};
    *items = (rec_items){0};
    int rc = mb_file_map(&map, path, e);
    if (rc == MB_OK)
        rc = take_file(items, (const char *)map.data, map.size, path, e);
    mb_file_unmap(&map);
    if (rc != MB_OK)
        rec_items_fini(items);
    return rc;
}

void rec_items_fini(rec_items *items) {
    rec_names_free(&items->names);
    *items = (rec_items){0};
}

static int is_plain(rec_id id) {
    for (int i = 0; i < id.n; i++)
        if ((unsigned char)id.text[i] < 0x20)
            return 0;
    return id.n > 0 && *id.text != '"';
}

int rec_id_put_json(mb_out *out, rec_id id, mb_err *e) {
    int rc = mb_out_write(out, "\"", 1, e);
    for (int i = 0; rc == MB_OK && i < id.n; i++) {
        const unsigned char c = (unsigned char)id.text[i];
        if (c < 0x20)
            rc = mb_out_printf(out, e, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            rc = mb_out_printf(out, e, "\\%c", c);
        else
            rc = mb_out_write(out, id.text + i, 1, e);
    }
    return rc == MB_OK ? mb_out_write(out, "\"", 1, e) : rc;
}

int rec_id_put(mb_out *out, rec_id id, mb_err *e) {
    return is_plain(id) ? mb_out_write(out, id.text, (size_t)id.n, e) : rec_id_put_json(out, id, e);
}

int rec_items_write(const char *path, int32_t n, rec_item_name *name, const void *user, mb_err *e) {
    mb_out *out = NULL;
    int rc = mb_out_create(&out, path, e);
    for (int32_t i = 1; rc == MB_OK && i <= n; i++) {
        rc = rec_id_put(out, name(user, i), e);
        if (rc == MB_OK)
            rc = mb_out_write(out, "\n", 1, e);
    }
    if (rc == MB_OK)
        return mb_out_commit(out, e);
    mb_out_abort(out);
    return rc;
}
