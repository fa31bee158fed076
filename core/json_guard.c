/* Bounded JSON. Refuses nesting and numbers of parts beyond the caller's limits, control bytes that jansson would
 * accept outside strings, and everything jansson refuses. */
#include "core/json_guard.h"

#include <pthread.h>
#include <string.h>

#include "core/mem.h"

static pthread_once_t heap_once = PTHREAD_ONCE_INIT;

static _Thread_local int no_memory;

static void *allocate(size_t n) {
    void *p = mb_malloc(n);
    if (!p)
        no_memory = 1;
    return p;
}

static void set_heap(void) {
    json_set_alloc_funcs(allocate, mb_free);
}

void mb_json_use_heap(void) {
    pthread_once(&heap_once, set_heap);
    no_memory = 0;
}

int mb_json_no_memory(void) {
    return no_memory;
}

/* Python's numbers that JSON has not: read as an empty list, so that a field that wants a number refuses it and one
 * that nobody reads does no harm. Returns the length of such a word at text[i], or 0. */
static size_t blank_python_number(char *text, size_t n, size_t i) {
    static const char *const words[] = {"-Infinity", "Infinity", "NaN"};
    for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
        size_t len = strlen(words[k]);
        if (n - i < len || memcmp(text + i, words[k], len) != 0)
            continue;
        memset(text + i, ' ', len);
        memcpy(text + i, "[]", 2);
        return len;
    }
    return 0;
}

/* The scan knows strings and their escapes, no more: what it lets pass is still checked by the parser. */
static int scan(char *text, size_t n, const mb_json_limits *limits, int flags, const char *where, size_t base,
                mb_err *e) {
    int depth = 0, in_string = 0;
    size_t parts = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = 0;
            continue;
        }
        if (c == '"') {
            in_string = 1;
        } else if (c == '{' || c == '[') {
            parts++;
            if (++depth > limits->depth)
                return mb_fail(e, MB_FORMAT, "%s: byte %zu: JSON nested deeper than %d levels", where, base + i,
                               limits->depth);
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == ',' || c == ':') {
            parts++;
        } else if ((flags & MB_JSON_PYTHON_NUMBERS) && (c == 'I' || c == 'N' || c == '-')) {
            size_t len = blank_python_number(text, n, i);
            i += len ? len - 1 : 0;
        }
        if (parts > limits->parts)
            return mb_fail(e, MB_FORMAT, "%s: byte %zu: JSON with more than %zu parts", where, base + i, limits->parts);
    }
    return MB_OK;
}

int mb_json_parse(json_t **out, char *text, size_t n, const mb_json_limits *limits, int flags, const char *where,
                  size_t base, mb_err *e) {
    json_error_t why;
    *out = NULL;
    int rc = scan(text, n, limits, flags, where, base, e);
    if (rc != MB_OK)
        return rc;
    mb_json_use_heap();
    *out = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (*out && !mb_json_no_memory())
        return MB_OK;
    json_decref(*out); /* a tree made without memory may lack something */
    *out = NULL;
    if (mb_json_no_memory())
        return mb_fail(e, MB_NOMEM, "%s: no memory for %zu bytes of JSON", where, n);
    return mb_fail(e, MB_FORMAT, "%s: byte %zu (line %d, column %d): not valid JSON: %s", where,
                   base + (size_t)(why.position > 0 ? why.position : 0), why.line, why.column, why.text);
}
