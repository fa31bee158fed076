/* JSON from outside. A scan of the bytes bounds nesting and size before a tree is built, so that a small file cannot
 * ask for much memory; duplicate keys, trailing text and invalid UTF-8 are refused. */
#ifndef MB_JSON_GUARD_H
#define MB_JSON_GUARD_H
#include <jansson.h>

#include "core/error.h"

enum {
    MB_JSON_PYTHON_NUMBERS = 1 /* Python writes bare Infinity, -Infinity and NaN: they are read as an empty list */
};

typedef struct mb_json_limits {
    int depth;    /* of nested objects and arrays */
    size_t parts; /* keys and values together */
} mb_json_limits;

/* text: n bytes, altered when MB_JSON_PYTHON_NUMBERS is asked for. where: file, begins every message; base: offset of
 * text in that file, for byte offsets in messages. *out is released with json_decref. */
int mb_json_parse(json_t **out, char *text, size_t n, const mb_json_limits *limits, int flags, const char *where,
                  size_t base, mb_err *e) MB_MUST_USE;
/* Makes jansson use core/mem.h, and forgets earlier failures of this thread. Call before building a tree. */
void mb_json_use_heap(void);
/* Whether an allocation of jansson has failed in this thread since: jansson itself does not always say why. */
int mb_json_no_memory(void);
#endif
