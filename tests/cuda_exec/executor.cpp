/* The launches of executor.h: fibres, barriers, meetings of lanes, shared memory, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cuda_runtime.h>
#include "tests/cuda_exec/executor.h"
#include "tests/cuda_exec/guards.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(SANITIZED)
#include <sanitizer/common_interface_defs.h>
#endif

enum { MOST_THREADS = 1024, WARP = 32, SITES = 16, STACK = 256 << 10, STATIC_LIMIT = 48 << 10, LIMIT = 227 << 10 };
enum state { READY, AT_BARRIER, AT_MEETING, ENDED };

typedef struct fibre {
    int started;
    state at;
    cuda_exec_place place;
    ucontext_t context;
    jmp_buf jump;
    void *stack;
    const char *file; /* where it waits */
    int line;
    unsigned mask;
    uint64_t value, all[WARP];
    void *fake; /* the sanitizer's */
} fibre;

typedef struct site {
    const void *name;
    unsigned char *memory;
    size_t bytes;
} site;

static fibre fibres[MOST_THREADS];
static fibre *running;
#if defined(SANITIZED)
static ucontext_t scheduler_context;
static const void *scheduler_stack;
static size_t scheduler_stack_bytes;
#else
static jmp_buf scheduler_jump;
#endif

static struct {
    const char *name;
    const void *kernel, *args;
    void (*call)(const void *, const void *);
    int threads;
    dim3 grid, block;
    site sites[SITES], dynamic;
    int n_sites, broken;
} now;

static uint64_t random_state = 1;
static long findings, launches;
static int quiet;
static char finding_text[400];
static const char *next_name = "?";
extern "C" const cuda_exec_place *cuda_exec_here;
const cuda_exec_place *cuda_exec_here;

/* splitmix64 (Steele et al. 2014) */
static uint64_t random_next() {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static void shuffle(int *order, int n) {
    for (int i = n - 1; i > 0; i--) {
        const int k = static_cast<int>(random_next() % static_cast<uint64_t>(i + 1)), was = order[i];
        order[i] = order[k];
        order[k] = was;
    }
}

extern "C" void cuda_exec_seed(uint64_t seed) {
    random_state = seed;
}
extern "C" void cuda_exec_quiet(int be_quiet) {
    quiet = be_quiet;
}
extern "C" const char *cuda_exec_finding(void) {
    return finding_text;
}
extern "C" long cuda_exec_findings(void) {
    return findings;
}
extern "C" long cuda_exec_launches(void) {
    return launches;
}
extern "C" void cuda_exec_name(const char *name) {
    next_name = name;
}

/* The first of a launch is told. */
__attribute__((format(printf, 1, 2))) static void finding(const char *format, ...) {
    if (now.broken++)
        return;
    const int n = snprintf(finding_text, sizeof finding_text, "kernel %s: ", now.name);
    va_list args;
    va_start(args, format);
    vsnprintf(finding_text + n, sizeof finding_text - static_cast<size_t>(n), format, args);
    va_end(args);
    findings++;
    if (!quiet)
        fprintf(stderr, "executor: %s\n", finding_text);
}

/* ---- fibres -------------------------------------------------------------------------------------------------------
 */
static void to_scheduler() {
    fibre *me = running;
#if defined(SANITIZED)
    __sanitizer_start_switch_fiber(&me->fake, scheduler_stack, scheduler_stack_bytes);
    swapcontext(&me->context, &scheduler_context);
    __sanitizer_finish_switch_fiber(me->fake, &scheduler_stack, &scheduler_stack_bytes);
#else
    if (!_setjmp(me->jump))
        _longjmp(scheduler_jump, 1);
#endif
}

/* A fibre lives on from block to block: it takes the next thread when it has ended one. */
static void fibre_main() {
#if defined(SANITIZED)
    __sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_stack_bytes);
#endif
    for (;;) {
        now.call(now.kernel, now.args);
        running->at = ENDED;
        to_scheduler();
    }
}

static void start(fibre *f) {
    if (!f->stack) {
        f->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (f->stack == MAP_FAILED || mprotect(f->stack, 4096, PROT_NONE) != 0) {
            fprintf(stderr, "executor: no memory for stacks\n");
            exit(2);
        }
    }
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    f->context.uc_link = NULL;
    makecontext(&f->context, fibre_main, 0);
}

static void run_fibre(fibre *f) {
    const int first = !f->started;
    running = f;
    cuda_exec_here = &f->place;
    if (first)
        start(f);
    f->started = 1;
#if defined(SANITIZED)
    void *fake = NULL;
    __sanitizer_start_switch_fiber(&fake, f->stack, STACK);
    swapcontext(&scheduler_context, &f->context);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
    if (!_setjmp(scheduler_jump)) {
        if (first)
            setcontext(&f->context);
        _longjmp(f->jump, 1);
    }
#endif
    running = NULL;
}

/* ---- where threads wait -------------------------------------------------------------------------------------------
 */
static void wait_at(state at, const char *file, int line) {
    running->at = at;
    running->file = file;
    running->line = line;
    to_scheduler();
}
extern "C" void cuda_exec_barrier(const char *file, int line) {
    wait_at(AT_BARRIER, file, line);
}
extern "C" void cuda_exec_meet(unsigned mask, uint64_t value, uint64_t all[WARP], const char *file, int line) {
    fibre *me = running;
    me->mask = mask;
    me->value = value;
    wait_at(AT_MEETING, file, line);
    memcpy(all, me->all, sizeof me->all);
}
extern "C" int cuda_exec_lane(void) {
    return static_cast<int>((running - fibres) % WARP);
}

static int same_place(const fibre *a, const fibre *b) {
    return a->line == b->line && !strcmp(a->file, b->file);
}

/* Lets go the lanes of thread i's mask when all of them have come to its meeting. */
static int meeting(int i) {
    const int first = i / WARP * WARP;
    fibre *f = &fibres[i];
    if (!(f->mask >> (i - first) & 1)) {
        finding("block (%u,%u,%u) thread (%u,%u,%u): not in its own mask, %s:%d", f->place.block.x, f->place.block.y,
                f->place.block.z, f->place.thread.x, f->place.thread.y, f->place.thread.z, f->file, f->line);
        return 0;
    }
    uint64_t all[WARP] = {0};
    for (int k = 0; k < WARP; k++) {
        if (!(f->mask >> k & 1))
            continue;
        const fibre *g = &fibres[first + k];
        if (first + k >= now.threads || g->at != AT_MEETING || g->mask != f->mask || !same_place(f, g))
            return 0;
        all[k] = g->value;
    }
    for (int k = 0; k < WARP; k++)
        if (f->mask >> k & 1) {
            memcpy(fibres[first + k].all, all, sizeof all);
            fibres[first + k].at = READY;
        }
    return 1;
}

/* Lets go all threads when all of them have come to one barrier. */
static int barrier() {
    for (int i = 0; i < now.threads; i++)
        if (fibres[i].at != AT_BARRIER || !same_place(&fibres[i], &fibres[0]))
            return 0;
    for (int i = 0; i < now.threads; i++)
        fibres[i].at = READY;
    return 1;
}

/* Nobody can go on: says who waits where, and for whom. */
static void stuck() {
    int waits = 0, other = 0;
    while (fibres[waits].at == ENDED)
        waits++;
    while (other < now.threads - 1 &&
           (other == waits || (fibres[other].at == fibres[waits].at && same_place(&fibres[other], &fibres[waits]))))
        other++;
    const fibre *f = &fibres[waits], *g = &fibres[other];
    char where[160] = "has ended";
    if (g->at != ENDED)
        snprintf(where, sizeof where, "waits at %s %s:%d", g->at == AT_BARRIER ? "the barrier" : "the shuffle or vote",
                 g->file, g->line);
    finding("block (%u,%u,%u): thread (%u,%u,%u) waits at %s %s:%d, thread (%u,%u,%u) %s", f->place.block.x,
            f->place.block.y, f->place.block.z, f->place.thread.x, f->place.thread.y, f->place.thread.z,
            f->at == AT_BARRIER ? "the barrier" : "the shuffle or vote", f->file, f->line, g->place.thread.x,
            g->place.thread.y, g->place.thread.z, where);
}

/* ---- shared memory -------------------------------------------------------------------------------------------------
 */
static void site_take(site *s, const void *name, size_t bytes) {
    *s = {name, static_cast<unsigned char *>(cuda_exec_take(bytes)), bytes};
}

extern "C" void *cuda_exec_shared(const void *name, size_t bytes, size_t align) {
    size_t total = bytes;
    (void)align; /* what is taken is aligned for everything */
    for (int i = 0; i < now.n_sites; i++) {
        if (now.sites[i].name == name)
            return now.sites[i].memory;
        total += now.sites[i].bytes;
    }
    if (now.n_sites == SITES || total > STATIC_LIMIT || total + now.dynamic.bytes > LIMIT)
        finding("%zu bytes of static shared memory in %d arrays, more than there are", total, now.n_sites + 1);
    site *s = &now.sites[now.n_sites < SITES ? now.n_sites++ : SITES - 1];
    site_take(s, name, bytes);
    return s->memory;
}
extern "C" void *cuda_exec_shared_dynamic(void) {
    if (!now.dynamic.memory)
        finding("dynamic shared memory that the launch did not ask for");
    return now.dynamic.memory;
}

/* ---- launches ------------------------------------------------------------------------------------------------------
 */
static void place_threads(unsigned b) {
    const dim3 d = now.block;
    for (int i = 0; i < now.threads; i++) {
        const unsigned u = static_cast<unsigned>(i);
        fibres[i].at = READY;
        fibres[i].place.thread = {u % d.x, u / d.x % d.y, u / d.x / d.y};
        fibres[i].place.block = {b % now.grid.x, b / now.grid.x % now.grid.y, b / now.grid.x / now.grid.y};
        fibres[i].place.block_dim = d;
        fibres[i].place.grid_dim = now.grid;
    }
}

static void run_block(unsigned b, size_t shared) {
    static int order[MOST_THREADS];
    place_threads(b);
    now.n_sites = 0;
    now.dynamic = {NULL, NULL, 0};
    if (shared)
        site_take(&now.dynamic, NULL, shared);
    for (int i = 0; i < now.threads; i++)
        order[i] = i;
    for (int left = now.threads; left && !now.broken;) {
        int moved = 0;
        shuffle(order, now.threads);
        for (int i = 0; i < now.threads && !now.broken; i++) {
            fibre *f = &fibres[order[i]];
            if (f->at != READY)
                continue;
            run_fibre(f);
            left -= f->at == ENDED;
            moved = 1;
        }
        for (int i = 0; i < now.threads && !now.broken; i++)
            if (fibres[i].at == AT_MEETING)
                moved |= meeting(i);
        moved |= barrier();
        if (!moved && left && !now.broken)
            stuck();
    }
    if (now.broken) /* threads in the middle of things are left behind */
        for (int i = 0; i < now.threads; i++)
            fibres[i].started = 0;
    guards_check(finding);
    for (int i = 0; i < now.n_sites; i++)
        cuda_exec_give(now.sites[i].memory);
    cuda_exec_give(now.dynamic.memory);
}

static const void *asked_kernel[64];
static size_t asked_bytes[64];
static int asked;
extern "C" cudaError_t cuda_exec_attribute(const void *kernel, size_t shared) {
    if (shared > LIMIT || asked == 64)
        return cudaErrorInvalidValue;
    asked_kernel[asked] = kernel;
    asked_bytes[asked++] = shared;
    return cudaSuccess;
}
static size_t allowed(const void *kernel) {
    size_t bytes = STATIC_LIMIT;
    for (int i = 0; i < asked; i++)
        if (asked_kernel[i] == kernel && asked_bytes[i] > bytes)
            bytes = asked_bytes[i];
    asked = asked > 32 ? 0 : asked; /* asked anew before each launch that needs it */
    return bytes;
}

extern "C" cudaError_t cuda_exec_launch(const void *kernel, void (*call)(const void *, const void *), const void *args,
                                        dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    const uint64_t threads = static_cast<uint64_t>(block.x) * block.y * block.z;
    (void)stream;
    launches++;
    now.name = next_name;
    now.broken = 0;
    if (!threads || threads > MOST_THREADS || block.z > 64 || !grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu ||
        grid.y > 65535 || grid.z > 65535 || shared > allowed(kernel)) {
        finding("grid (%u,%u,%u), block (%u,%u,%u), %zu bytes of shared memory: beyond the limits", grid.x, grid.y,
                grid.z, block.x, block.y, block.z, shared);
        return cudaErrorInvalidConfiguration;
    }
    now.kernel = kernel, now.args = args, now.call = call;
    now.threads = static_cast<int>(threads);
    now.grid = grid, now.block = block;
    const unsigned blocks = grid.x * grid.y * grid.z;
    int *order = static_cast<int *>(malloc(blocks * sizeof *order));
    if (!order)
        return cudaErrorMemoryAllocation;
    for (unsigned i = 0; i < blocks; i++)
        order[i] = static_cast<int>(i);
    shuffle(order, static_cast<int>(blocks));
    for (unsigned i = 0; i < blocks && !now.broken; i++)
        run_block(static_cast<unsigned>(order[i]), shared);
    free(order);
    return now.broken ? cudaErrorLaunchFailure : cudaSuccess;
}
