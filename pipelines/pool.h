/* Memory that lives as long as a pipeline: pieces are taken one by one and freed together. And text that grows. */
#ifndef PIPE_POOL_H
#define PIPE_POOL_H
#include <stddef.h>
#include "core/error.h"

typedef struct pipe_pool {
    struct pipe_block *block; /* newest first */
} pipe_pool;

/* Zeroed; NULL without memory, as all of these. */
void *pipe_take(pipe_pool *p, size_t n);
char *pipe_copy(pipe_pool *p, const char *text);
char *pipe_format(pipe_pool *p, const char *fmt, ...) MB_PRINTF(2, 3);
/* An array of n elements of a size that has room for one more: the same, or a larger copy. Start with NULL and 0, and
 * add one at a time. */
void *pipe_grow(pipe_pool *p, void *array, int n, size_t size);
void pipe_pool_free(pipe_pool *p);
/* Frees what was taken since p->block was `to`. */
void pipe_pool_rewind(pipe_pool *p, const struct pipe_block *to);

/* Text that grows. A failed allocation sticks and is told by pipe_text_end. */
typedef struct pipe_text {
    char *data; /* zero-terminated once something was added */
    size_t n, room;
    int lost;
} pipe_text;

void pipe_text_add(pipe_text *t, const char *fmt, ...) MB_PRINTF(2, 3);
void pipe_text_put(pipe_text *t, const char *bytes, size_t n);
/* As a JSON string, quotes included; NULL is null. Bytes that are no UTF-8 become U+FFFD. */
void pipe_text_json(pipe_text *t, const char *s);
/* As a YAML value in double quotes in which nothing is substituted. */
void pipe_text_yaml(pipe_text *t, const char *s);
/* MB_NOMEM if anything was lost. */
int pipe_text_end(const pipe_text *t, mb_err *e) MB_MUST_USE;
/* Ends it and makes it a file, complete or not at all. */
int pipe_text_write(const pipe_text *t, const char *path, mb_err *e) MB_MUST_USE;
void pipe_text_free(pipe_text *t);

/* Length of the UTF-8 character at s, 1 to 4; 0 when there is none. */
int pipe_utf8(const char *s);
#endif
