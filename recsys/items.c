/* Identifiers of items. See items.h. The file may be anyone's: every byte is looked at, and nothing is taken for
 * granted but that it fits into memory. */
#include "recsys/items.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"

static const int32_t MOST_ITEMS = (1 << 30) - 1;

/* ---- looking up -----------------------------------------------------------------------------------------------------
 */

static uint64_t hash(const char *text, int n) { /* FNV-1a, its high bits folded into the low ones */
    uint64_t h = 0xcbf29ce484222325U;
    for (int i = 0; i < n; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3U;
    return h ^ h >> 29;
}

rec_id rec_items_id(const rec_items *items, int32_t item) {
    MB_ASSERT(item >= 1 && item <= items->n);
    return (rec_id){items->text + items->at[item - 1], (int)(items->at[item] - items->at[item - 1])};
}

/* Where the identifier is, or the free slot where it belongs. */
static size_t place(const rec_items *items, const char *text, int n) {
    size_t i = (size_t)hash(text, n) & (items->slots - 1);
    for (; items->slot[i]; i = (i + 1) & (items->slots - 1)) {
        const rec_id id = rec_items_id(items, items->slot[i]);
        if (id.n == n && memcmp(id.text, text, (size_t)n) == 0)
            break;
    }
    return i;
}

int32_t rec_items_find(const rec_items *items, const char *text, int n) {
    return items->slots ? items->slot[place(items, text, n)] : 0;
}

static int make_slots(rec_items *items, const char *path, mb_err *e) {
    items->slots = 16;
    while (items->slots < 2 * (size_t)items->n + 2)
        items->slots *= 2;
    items->slot = mb_calloc(items->slots, sizeof *items->slot);
    if (!items->slot)
        return mb_fail(e, MB_NOMEM, "%s: no memory to look up %d items", path, items->n);
    for (int32_t i = 1; i <= items->n; i++) {
        const rec_id id = rec_items_id(items, i);
        const size_t at = place(items, id.text, id.n);
        if (items->slot[at])
            return mb_fail(e, MB_FORMAT, "%s:%d: the identifier of line %d again", path, i, items->slot[at]);
        items->slot[at] = i;
    }
    return MB_OK;
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

static char *take_line(const char *s, const char *end, char *to) {
    if (s < end && *s == '"')
        return take_string(s + 1, end, to);
    memcpy(to, s, (size_t)(end - s));
    return to + (end - s);
}

/* ---- the file -------------------------------------------------------------------------------------------------------
 */

static int take_lines(rec_items *items, const char *data, size_t size, const char *path, mb_err *e) {
    const char *s = data, *end = data + size;
    char *to = items->text;
    for (int32_t i = 0; i < items->n; i++) {
        const char *line_end = memchr(s, '\n', (size_t)(end - s));
        line_end = line_end ? line_end : end;
        char *next = take_line(s, line_end, to);
        if (!next)
            return mb_fail(e, MB_FORMAT, "%s:%d: begins with a quote, but is not a whole JSON string", path, i + 1);
        if (next - to > INT_MAX)
            return mb_fail(e, MB_FORMAT, "%s:%d: an identifier of more than %d bytes", path, i + 1, INT_MAX);
        to = next;
        items->at[i + 1] = to - items->text;
        s = line_end < end ? line_end + 1 : end;
    }
    return MB_OK;
}

static rec_id name_of(const void *user, int32_t item) {
    return rec_items_id(user, item);
}

static int take_file(rec_items *items, const char *data, size_t size, const char *path, mb_err *e) {
    int64_t lines = 0;
    for (const char *s = data, *end = data + size; s < end; lines++) {
        const char *next = memchr(s, '\n', (size_t)(end - s));
        s = next ? next + 1 : end;
    }
    if (lines == 0)
        return mb_fail(e, MB_FORMAT, "%s: holds no items", path);
    if (lines > MOST_ITEMS)
        return mb_fail(e, MB_FORMAT, "%s: more than %d items", path, MOST_ITEMS);
    items->n = (int32_t)lines;
    items->text = mb_malloc(size + 1);
    items->at = mb_calloc((size_t)lines + 1, sizeof *items->at);
    if (!items->text || !items->at)
        return mb_fail(e, MB_NOMEM, "%s: no memory for %d items", path, items->n);
    int rc = take_lines(items, data, size, path, e);
    if (rc == MB_OK)
        rc = make_slots(items, path, e);
    return rc == MB_OK ? rec_items_digest(items->n, name_of, items, items->digest, e) : rc;
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
    mb_free(items->text);
    mb_free(items->at);
    mb_free(items->slot);
    *items = (rec_items){0};
}

static int is_plain(rec_id id) {
    for (int i = 0; i < id.n; i++)
        if ((unsigned char)id.text[i] < 0x20)
            return 0;
    return id.n > 0 && *id.text != '"';
}

static int put_string(mb_out *out, rec_id id, mb_err *e) {
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

int rec_items_write(const char *path, int32_t n, rec_item_name *name, const void *user, mb_err *e) {
    mb_out *out = NULL;
    int rc = mb_out_create(&out, path, e);
    for (int32_t i = 1; rc == MB_OK && i <= n; i++) {
        const rec_id id = name(user, i);
        rc = is_plain(id) ? mb_out_write(out, id.text, (size_t)id.n, e) : put_string(out, id, e);
        if (rc == MB_OK)
            rc = mb_out_write(out, "\n", 1, e);
    }
    if (rc == MB_OK)
        return mb_out_commit(out, e);
    mb_out_abort(out);
    return rc;
}

int rec_items_digest(int32_t n, rec_item_name *name, const void *user, char hex[65], mb_err *e) {
    enum { MOST_DIGITS = 12 };
    size_t bytes = 0;
    for (int32_t i = 1; i <= n; i++)
        bytes += (size_t)name(user, i).n + MOST_DIGITS;
    char *text = mb_malloc(bytes + 1), *to = text;
    if (!text)
        return mb_fail(e, MB_NOMEM, "no memory for the digest of %d items", n);
    for (int32_t i = 1; i <= n; i++) {
        const rec_id id = name(user, i);
        to += snprintf(to, MOST_DIGITS, "%d:", id.n);
        if (id.n > 0)
            memcpy(to, id.text, (size_t)id.n);
        to += id.n;
    }
    mb_sha256_hex(text, (size_t)(to - text), hex);
    mb_free(text);
    return MB_OK;
}
