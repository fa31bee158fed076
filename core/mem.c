/* Heap with a fault hook and a live count; big blocks on huge pages; arenas that are measured first and carved after.
 * Sizes that overflow are refused with NULL, as if memory had run out. */
#include "core/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ARENA_ALIGN = 256, BIG_ALIGN = ARENA_ALIGN }; /* a big block can be an arena */
static const size_t HUGE_PAGE = (size_t)2 << 20;

static atomic_long live_blocks;
static atomic_long fail_in;    /* allocations until the planned failure; 0 = none planned */
static atomic_int fail_sticky; /* fail from then on */
static atomic_int fault_fired;

void mb_mem_fail_nth(long n, int sticky) {
    atomic_store(&fail_sticky, sticky);
    atomic_store(&fault_fired, 0);
    atomic_store(&fail_in, n);
}

int mb_mem_fault_fired(void) {
    return atomic_load(&fault_fired);
}

long mb_mem_live_blocks(void) {
    return atomic_load(&live_blocks);
}

static int fault_due(void) {
    if (atomic_load_explicit(&fail_in, memory_order_relaxed) <= 0)
        return 0;
    long before = atomic_fetch_sub(&fail_in, 1);
    if (before > 1)
        return 0;
    atomic_store(&fail_in, atomic_load(&fail_sticky) ? 1 : 0);
    atomic_store(&fault_fired, 1);
    return 1;
}

static void *counted(void *p) {
    if (p)
        atomic_fetch_add_explicit(&live_blocks, 1, memory_order_relaxed);
    return p;
}

void *mb_malloc(size_t n) {
    return fault_due() ? NULL : counted(malloc(n ? n : 1));
}

void *mb_calloc(size_t count, size_t size) {
    size_t bytes;
    if (!count || !size)
        count = size = 1;
    return __builtin_mul_overflow(count, size, &bytes) || fault_due() ? NULL : counted(calloc(count, size));
}

void *mb_realloc(void *p, size_t n) {
    if (!p)
        return mb_malloc(n);
    return fault_due() ? NULL : realloc(p, n ? n : 1);
}

void *mb_realloc_array(void *p, size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : mb_realloc(p, bytes);
}

char *mb_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    char *copy = mb_malloc(n);
    return copy ? memcpy(copy, s, n) : NULL;
}

char *mb_asprintf(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        return NULL;
    char *s = mb_malloc((size_t)n + 1);
    if (!s)
        return NULL;
    va_start(args, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, args);
    va_end(args);
    return s;
}

void mb_free(void *p) {
    if (!p)
        return;
    atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed);
    free(p);
}

/* From one huge page up a block is a mapping of its own, cut to start on a huge-page boundary: the kernel can only back
 * aligned 2 MiB pieces with huge pages. Fresh mappings are zero. */
static void *map_aligned(size_t bytes) {
    size_t span = bytes + HUGE_PAGE;
    char *raw = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    size_t head = (HUGE_PAGE - (uintptr_t)raw % HUGE_PAGE) % HUGE_PAGE, tail = span - head - bytes;
    if (head)
        munmap(raw, head);
    if (tail)
        munmap(raw + head + bytes, tail);
    madvise(raw + head, bytes, MADV_HUGEPAGE); /* a wish: kernels without huge pages refuse, and nothing is lost */
    return raw + head;
}

/* Bytes really taken for n: whole huge pages, or whole alignments below. 0 on overflow. */
static size_t big_bytes(size_t n) {
    size_t unit = n >= HUGE_PAGE ? HUGE_PAGE : BIG_ALIGN;
    if (n > SIZE_MAX / 2)
        return 0;
    return n ? (n + unit - 1) / unit * unit : unit;
}

void *mb_big_alloc(size_t n) {
    size_t bytes = big_bytes(n);
    if (!bytes || fault_due())
        return NULL;
    if (n >= HUGE_PAGE)
        return counted(map_aligned(bytes));
    void *p = counted(aligned_alloc(BIG_ALIGN, bytes));
    return p ? memset(p, 0, bytes) : NULL;
}

void mb_big_free(void *p, size_t n) {
    if (!p)
        return;
    if (n < HUGE_PAGE) {
        mb_free(p);
        return;
    }
    atomic_fetch_sub_explicit(&live_blocks, 1, memory_order_relaxed);
    int rc = munmap(p, big_bytes(n));
    MB_ASSERT(rc == 0); /* another size than was allocated */
}

/* A measure that overflows sticks at SIZE_MAX, which mb_arena_create then refuses. */
void *mb_arena_take(mb_arena *a, size_t bytes) {
    size_t at = a->used > SIZE_MAX - ARENA_ALIGN ? SIZE_MAX : (a->used + ARENA_ALIGN - 1) & ~((size_t)ARENA_ALIGN - 1);
    size_t end;
    if (__builtin_add_overflow(at, bytes, &end))
        end = SIZE_MAX;
    a->used = end;
    if (!a->base)
        return NULL;
    MB_ASSERT(end <= a->cap);
    return a->base + at;
}

float *mb_arena_floats(mb_arena *a, size_t count) {
    size_t bytes;
    if (__builtin_mul_overflow(count, sizeof(float), &bytes))
        bytes = SIZE_MAX;
    return mb_arena_take(a, bytes);
}

int mb_arena_create(mb_arena *a, size_t bytes, mb_err *e) {
    *a = (mb_arena){0};
    a->base = mb_big_alloc(bytes);
    if (!a->base)
        return mb_fail(e, MB_NOMEM, "out of memory: no room for %zu bytes of working memory", bytes);
    a->cap = bytes;
    return MB_OK;
}

void mb_arena_destroy(mb_arena *a) {
    if (!a)
        return;
    mb_big_free(a->base, a->cap);
    *a = (mb_arena){0};
}
