/* Levelled lines and one progress line on stderr. On a terminal: "warning: ..." and a line redrawn in place; elsewhere
 * (batch jobs): "2026-11-23T14:28:27+0100 warning: ..." and a dated progress line now and then. Refuses nothing: what
 * cannot be written to stderr is lost. */
#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = MB_ERR_TEXT + 1024 };

struct mb_progress {
    char what[64], unit[16];
    double total;             /* <= 0: unknown */
    double start, shown;      /* mb_clock_seconds */
    double shown_done, speed; /* units per second, smoothed over about SMOOTH seconds */
    _Atomic uint64_t done;    /* bits of a double */
    _Atomic uint64_t due;     /* bits of the time of the next line */
    struct mb_progress *below;
};

static const double SMOOTH = 15.0, REDRAW = 0.1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* stderr, active, drawn */
static atomic_int level = MB_LOG_INFO;
static double interval = 30.0;
static mb_progress *active; /* the innermost job; only this one is shown */
static int drawn;           /* a progress line stands on the terminal */

void mb_log_set_level(mb_log_level l) {
    atomic_store(&level, (int)l);
}

mb_log_level mb_log_get_level(void) {
    return (mb_log_level)atomic_load(&level);
}

void mb_log_set_interval(double seconds) {
    pthread_mutex_lock(&lock);
    interval = seconds;
    pthread_mutex_unlock(&lock);
}

double mb_clock_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double mb_cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

size_t mb_peak_rss_bytes(void) {
    struct rusage use;
    return getrusage(RUSAGE_SELF, &use) ? 0 : (size_t)use.ru_maxrss * 1024;
}

char *mb_human_count(double n, char *out) {
    static const char *const SUFFIX[] = {"", "k", "M", "G", "T", "P"};
    int i = 0;
    double size = fabs(n);
    /* 999.5 would print as 1000: move on before. */
    for (; i < 5 && size >= (i ? 999.5 : 1000.0); i++)
        size /= 1000, n /= 1000;
    int whole = (i == 0 && fabs(n - round(n)) < 0.05) || size >= 99.95; /* sums of thirds of a token count as whole */
    snprintf(out, 32, "%.*f%s", whole ? 0 : 1, n, SUFFIX[i]);
    return out;
}

char *mb_human_bytes(double n, char *out) {
    static const char *const SUFFIX[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int i = 0;
    for (; i < 5 && fabs(n) >= 1023.5; i++)
        n /= 1024;
    snprintf(out, 32, "%.*f %s", i == 0 || fabs(n) >= 99.95 ? 0 : 1, n, SUFFIX[i]);
    return out;
}

char *mb_human_seconds(double s, char *out) {
    if (!(s >= 0) || s > 3.2e9)
        snprintf(out, 32, "unknown");
    else if (s < 9.95)
        snprintf(out, 32, "%.*f s", s < 0.9995 ? 3 : 1, s);
    else if (s < 59.5)
        snprintf(out, 32, "%.0f s", s);
    else if (s < 3599.5)
        snprintf(out, 32, "%d min %02d s", (int)(s + 0.5) / 60, (int)(s + 0.5) % 60);
    else if (s < 86400 - 30)
        snprintf(out, 32, "%d h %02d min", (int)(s + 30) / 3600, (int)(s + 30) % 3600 / 60);
    else
        snprintf(out, 32, "%d d %02d h", (int)((s + 1800) / 86400), (int)(fmod(s + 1800, 86400) / 3600));
    return out;
}

static void put(const char *text, size_t n) {
    while (n) {
        ssize_t w = write(STDERR_FILENO, text, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return;
        text += w;
        n -= (size_t)w;
    }
}

/* Copies text with control characters spelled out; newline and tab stay. Returns bytes used, always leaving room for
 * one more byte and the end. */
static size_t put_clean(char *out, size_t room, const char *text) {
    size_t at = 0;
    for (; *text && at + 6 < room; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F)
            at += (size_t)snprintf(out + at, room - at, "\\x%02x", c);
        else
            out[at++] = (char)c;
    }
    out[at] = '\0';
    return at;
}

static size_t put_date(char *out, size_t room) {
    time_t now = time(NULL);
    struct tm local;
    return localtime_r(&now, &local) ? strftime(out, room, "%Y-%m-%dT%H:%M:%S%z ", &local) : 0;
}

static void emit(const char *label, const char *fmt, va_list args) {
    char text[LINE_MAX_BYTES - 256], line[LINE_MAX_BYTES];
    size_t at = 0;
    int cause = errno;
    vsnprintf(text, sizeof text, fmt, args);
    pthread_mutex_lock(&lock);
    if (drawn) {
        at = (size_t)snprintf(line, sizeof line, "\r\033[K");
        drawn = 0;
    }
    if (label && !isatty(STDERR_FILENO))
        at += put_date(line + at, 64);
    at += (size_t)snprintf(line + at, 64, "%s", label ? label : "");
    at += put_clean(line + at, sizeof line - at - 1, text);
    line[at++] = '\n';
    put(line, at);
    pthread_mutex_unlock(&lock);
    errno = cause;
}

/* One function per level: the level is part of the name, so that a call reads as what it does. */
void mb_error(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (mb_log_get_level() >= MB_LOG_ERROR)
        emit("error: ", fmt, args);
    va_end(args);
}

void mb_warn(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (mb_log_get_level() >= MB_LOG_WARN)
        emit("warning: ", fmt, args);
    va_end(args);
}

void mb_info(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (mb_log_get_level() >= MB_LOG_INFO)
        emit("", fmt, args);
    va_end(args);
}

void mb_debug(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (mb_log_get_level() >= MB_LOG_DEBUG)
        emit("debug: ", fmt, args);
    va_end(args);
}

void mb_log_plain(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (mb_log_get_level() >= MB_LOG_ERROR)
        emit(NULL, fmt, args);
    va_end(args);
}

static double load_double(_Atomic uint64_t *bits) {
    uint64_t raw = atomic_load_explicit(bits, memory_order_relaxed);
    double d;
    memcpy(&d, &raw, sizeof d);
    return d;
}

static void store_double(_Atomic uint64_t *bits, double d) {
    uint64_t raw;
    memcpy(&raw, &d, sizeof raw);
    atomic_store_explicit(bits, raw, memory_order_relaxed);
}

static double add_double(_Atomic uint64_t *bits, double n) {
    uint64_t old = atomic_load_explicit(bits, memory_order_relaxed), new;
    double sum;
    do {
        memcpy(&sum, &old, sizeof sum);
        sum += n;
        memcpy(&new, &sum, sizeof new);
    } while (!atomic_compare_exchange_weak_explicit(bits, &old, new, memory_order_relaxed, memory_order_relaxed));
    return sum;
}

mb_progress *mb_progress_start(const char *what, const char *unit, double total) {
    mb_progress *p = mb_calloc(1, sizeof *p);
    if (!p)
        return NULL;
    snprintf(p->what, sizeof p->what, "%s", what);
    snprintf(p->unit, sizeof p->unit, "%s", unit);
    p->total = total;
    p->start = p->shown = mb_clock_seconds();
    pthread_mutex_lock(&lock);
    store_double(&p->due, p->start + (isatty(STDERR_FILENO) ? REDRAW : interval));
    p->below = active;
    active = p;
    pthread_mutex_unlock(&lock);
    return p;
}

/* "embed: 12.3M of 46.4M bp (26 %), 1.2M bp/s, 28 s left" */
static void describe(const mb_progress *p, double done, double now, char *out, size_t room) {
    char n[32], total[32], rate[32], left[32];
    int at = snprintf(out, room, "%s: %s", p->what, mb_human_count(done, n));
    if (p->total > 0)
        at += snprintf(out + at, room - (size_t)at, " of %s %s (%.0f %%)", mb_human_count(p->total, total), p->unit,
                       floor(100 * fmin(done / p->total, 1)));
    else
        at += snprintf(out + at, room - (size_t)at, " %s", p->unit);
    if (p->speed > 0)
        at += snprintf(out + at, room - (size_t)at, ", %s %s/s", mb_human_count(p->speed, rate), p->unit);
    if (p->speed > 0 && p->total > 0 && done < p->total)
        snprintf(out + at, room - (size_t)at, ", %s left", mb_human_seconds((p->total - done) / p->speed, left));
    else
        snprintf(out + at, room - (size_t)at, ", %s so far", mb_human_seconds(now - p->start, left));
}

/* Speed forgets with a time constant of SMOOTH seconds, and starts as the mean so far. */
static void update_speed(mb_progress *p, double done, double now) {
    double dt = now - p->shown;
    if (dt <= 0)
        return;
    double recent = (done - p->shown_done) / dt, weight = 1 - exp(-dt / SMOOTH);
    int young = now - p->start < SMOOTH;
    p->speed = young ? done / (now - p->start) : p->speed + weight * (recent - p->speed);
    p->shown = now;
    p->shown_done = done;
}

static void draw(mb_progress *p, double done, double now) {
    char text[256], line[512];
    size_t at = 0;
    update_speed(p, done, now);
    describe(p, done, now, text, sizeof text);
    if (isatty(STDERR_FILENO)) {
        struct winsize w = {0};
        size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1 ? w.ws_col : 80;
        if (columns - 1 < sizeof text)
            text[columns - 1] = '\0';
        at = (size_t)snprintf(line, sizeof line, "\r\033[K");
        at += put_clean(line + at, sizeof line - at, text);
        drawn = 1;
    } else {
        at = put_date(line, 64);
        at += put_clean(line + at, sizeof line - at - 1, text);
        line[at++] = '\n';
    }
    put(line, at);
}

void mb_progress_add(mb_progress *p, double n) {
    if (!p)
        return;
    double done = add_double(&p->done, n), now = mb_clock_seconds();
    /* Who comes while another thread writes has nothing to add to it. */
    if (now < load_double(&p->due) || mb_log_get_level() < MB_LOG_INFO || pthread_mutex_trylock(&lock))
        return;
    if (p == active && now >= load_double(&p->due)) {
        store_double(&p->due, now + (isatty(STDERR_FILENO) ? REDRAW : interval));
        draw(p, done, now);
    }
    pthread_mutex_unlock(&lock);
}

void mb_progress_finish(mb_progress *p) {
    if (!p)
        return;
    char n[32], time_text[32], rate[32];
    double done = load_double(&p->done), taken = mb_clock_seconds() - p->start;
    pthread_mutex_lock(&lock);
    for (mb_progress **at = &active; *at; at = &(*at)->below)
        if (*at == p) {
            *at = p->below;
            break;
        }
    pthread_mutex_unlock(&lock);
    mb_info("%s: %s %s in %s (%s %s/s)", p->what, mb_human_count(done, n), p->unit, mb_human_seconds(taken, time_text),
            mb_human_count(taken > 0 ? done / taken : 0, rate), p->unit);
    mb_free(p);
}
