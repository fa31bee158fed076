/* Heap: malloc with a fault hook, so that tests can fail the n-th allocation and count live blocks.
 * Arena: one block, measured first and carved afterwards; objects in it are never freed singly. */
#ifndef MB_MEM_H
#define MB_MEM_H
#include <stddef.h>
#include "core/error.h"

/* n may be 0 (a unique pointer or NULL is not promised). The array forms refuse overflow. NULL on failure. */
void *mb_malloc(size_t n);
void *mb_calloc(size_t count, size_t size);
void *mb_realloc(void *p, size_t n);
void *mb_realloc_array(void *p, size_t count, size_t size);
char *mb_strdup(const char *s);
char *mb_asprintf(const char *fmt, ...) MB_PRINTF(1, 2); /* NULL on failure */
void mb_free(void *p);                                   /* NULL is fine */

/* Large 64-byte aligned block, huge pages asked for; contents zero. Free with mb_big_free and the same size. */
void *mb_big_alloc(size_t n);
void mb_big_free(void *p, size_t n);

/* Tests: the n-th allocation from now fails (0 = never), once or, if sticky, from then on. */
void mb_mem_fail_nth(long n, int sticky);
int mb_mem_fault_fired(void);
long mb_mem_live_blocks(void);

typedef struct mb_arena {
    char *base; /* NULL: measuring only */
    size_t used, cap;
} mb_arena;

/* Aligned to 256 bytes. While measuring returns NULL and only counts; when carving asserts that it fits. */
void *mb_arena_take(mb_arena *a, size_t bytes);
float *mb_arena_floats(mb_arena *a, size_t count);
int mb_arena_create(mb_arena *a, size_t bytes, mb_err *e) MB_MUST_USE;
void mb_arena_destroy(mb_arena *a);
#endif
