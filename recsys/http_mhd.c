/* The server of recmamba serve, over libmicrohttpd. Two threads: the library's own reads, checks and answers; the
 * caller's runs the live states. A request waits suspended in a queue; all that wait are one transaction. */
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <time.h>

#include "core/json_guard.h"
#include "core/mem.h"
#include "recsys/http.h"
#include "recsys/http_pages.h"

enum { BODY_FIRST = 4096, CONNECTION_MEMORY = 32 * 1024 };
enum { ENDING = 1, ENDED = 2 }; /* no request is begun; none enters the queue */
static const char ABOUT_TO_END[] = "this server is about to end";

typedef struct call { /* a request on its way */
    char *target;
    rec_http_request q;
    int begun, code, submitted, list;
    const char *kind; /* of the answer; NULL: JSON */
    char *body;
    size_t n, room;
    int too_big;
    json_t *root;
    rec_wire *wire;                /* (requests) */
    char (*refused)[REC_LIVE_WHY]; /* (requests) why an element of a list could not be read; "" where it could */
    int requests;
    rec_buffer answer;
    double since;
    struct call *next;
    struct MHD_Connection *connection;
} call;

typedef struct server {
    rec_live *l;
    const rec_model *m;
    const rec_http_options *o;
    struct MHD_Daemon *daemon;
    /* ---- of the library's thread ---- */
    rec_http_counts http;
    double tokens, refilled;
    /* ---- shared ---- */
    pthread_mutex_t lock;
    pthread_cond_t work;
    call *first, *last;
    int open, ending; /* requests begun and not completed; 0, ENDING or ENDED */
    rec_http_shown shown;
    /* ---- of the caller's thread ---- */
    rec_live_request *request;
    int room;
} server;

/* ---- answers ------------------------------------------------------------------------------------------------------*/
static void refuse(call *c, int code, const char *why) {
    c->code = code;
    c->answer.n = 0;
    rec_wire_refusal(&c->answer, why, 0);
}

static enum MHD_Result respond(server *s, call *c, struct MHD_Connection *connection) {
    if (!c->kind)
        rec_buffer_put(&c->answer, "\n", 1);
    if (c->answer.lost) {
        rec_buffer_free(&c->answer);
        c->code = 503;
    }
    struct MHD_Response *r =
        MHD_create_response_from_buffer(c->answer.n, c->answer.n ? c->answer.at : (void *)"", MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
    int ok = MHD_add_response_header(r, "Content-Type", c->kind ? c->kind : "application/json") == MHD_YES &&
             MHD_add_response_header(r, "Cache-Control", "no-store") == MHD_YES;
    if (c->code == 405 && c->q.allowed)
        ok = ok && MHD_add_response_header(r, "Allow", c->q.allowed) == MHD_YES;
    if (c->code == 429 || c->code == 503)
        ok = ok && MHD_add_response_header(r, "Retry-After", "1") == MHD_YES;
    const enum MHD_Result rc = ok ? MHD_queue_response(connection, (unsigned)c->code, r) : MHD_NO;
    MHD_destroy_response(r);
    rec_http_count_code(&s->http, c->code);
    return rc;
}

/* ---- requests -----------------------------------------------------------------------------------------------------*/
static void free_call(call *c) {
    for (int i = 0; i < c->requests; i++)
        rec_wire_fini(&c->wire[i]);
    json_decref(c->root);
    rec_http_fini(&c->q);
    rec_buffer_free(&c->answer);
    mb_free(c->wire);
    mb_free(c->refused);
    mb_free(c->body);
    mb_free(c->target);
    mb_free(c);
}

static void *take_target(void *user, const char *uri, struct MHD_Connection *connection) {
    server *s = user;
    call *c = mb_calloc(1, sizeof *c);
    (void)connection;
    if (c && !(c->target = mb_strdup(uri))) {
        mb_free(c);
        c = NULL;
    }
    if (c) {
        pthread_mutex_lock(&s->lock);
        s->open++;
        pthread_mutex_unlock(&s->lock);
    }
    return c;
}

static void completed(void *user, struct MHD_Connection *connection, void **context,
                      enum MHD_RequestTerminationCode why) {
    server *s = user;
    (void)connection, (void)why;
    if (!*context)
        return;
    free_call(*context);
    *context = NULL;
    pthread_mutex_lock(&s->lock);
    s->open--;
    pthread_mutex_unlock(&s->lock);
}

/* A bucket that fills at the rate and holds a second's worth; lists may take it below zero. */
static int over_rate(server *s, double n) {
    if (s->o->rate <= 0)
        return 0;
    const double now = mb_clock_seconds(), most = s->o->rate < 1 ? 1 : s->o->rate;
    s->tokens += (now - s->refilled) * s->o->rate;
    s->tokens = s->tokens > most ? most : s->tokens;
    s->refilled = now;
    if (s->tokens < 1)
        return 1;
    s->tokens -= n;
    return 0;
}

/* What can be said before the body is there. */
static void begin(server *s, call *c, struct MHD_Connection *connection, const char *method) {
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    const char *kind = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    c->begun = 1;
    rec_http_parse(&c->q, method, c->target);
    pthread_mutex_lock(&s->lock);
    const int ending = s->ending;
    pthread_mutex_unlock(&s->lock);
    if (ending)
        refuse(c, 503, ABOUT_TO_END);
    else if (s->o->local_only && host && !rec_http_host_is_local(host))
        refuse(c, 403, "the Host header names another machine");
    else if (over_rate(s, 1))
        refuse(c, 429, "too many requests a second");
    else if (c->q.code)
        refuse(c, c->q.code, c->q.why);
    else if (c->q.route == REC_HTTP_EVENTS && !rec_http_is_json(kind))
        refuse(c, 415, "events are sent as Content-Type: application/json");
    else if (length && (strlen(length) > 18 || strtoll(length, NULL, 10) > s->o->body_most))
        refuse(c, 413, "the body is too large");
}

/* A body beyond the limit cannot be answered before its end; one far beyond is cut off. */
static enum MHD_Result take_body(const server *s, call *c, const char *data, size_t n) {
    const size_t most = (size_t)s->o->body_most;
    if (c->n + n > most) {
        c->too_big = 1;
        c->n += n;
        return c->n > 4 * most + (1 << 20) ? MHD_NO : MHD_YES;
    }
    if (c->n + n + 1 > c->room) {
        const size_t room = 2 * (c->n + n) + BODY_FIRST;
        char *more = mb_realloc(c->body, room);
        if (!more)
            return MHD_NO;
        c->body = more;
        c->room = room;
    }
    memcpy(c->body + c->n, data, n);
    c->n += n;
    return MHD_YES;
}

static int room_for(call *c, int n) {
    c->wire = mb_calloc((size_t)n, sizeof *c->wire);
    c->refused = mb_calloc((size_t)n, sizeof *c->refused);
    if (c->wire && c->refused)
        c->requests = n;
    else
        refuse(c, 503, "no memory");
    return c->requests;
}

static void read_events(server *s, call *c) {
    static const mb_json_limits LIMITS = {.depth = 5, .parts = 1 << 20};
    mb_err e = {0};
    if (mb_json_parse(&c->root, c->body ? c->body : (char[]){""}, c->n, &LIMITS, 0, "body", 0, &e)) {
        refuse(c, e.status == MB_NOMEM ? 503 : 400, e.text);
        return;
    }
    c->list = json_is_array(c->root);
    const size_t n = c->list ? json_array_size(c->root) : 1;
    if (n > REC_HTTP_EVENTS_MOST) {
        refuse(c, 413, "a list has at most 1000 events");
        return;
    }
    if (n == 0 || !room_for(c, (int)n)) {
        if (n == 0)
            refuse(c, 400, "a list without events");
        return;
    }
    for (int i = 0; i < c->requests; i++) {
        mb_err own = {0};
        if (rec_wire_read(&c->wire[i], &s->o->wire, s->m, c->list ? json_array_get(c->root, (size_t)i) : c->root, &own))
            snprintf(c->refused[i], REC_LIVE_WHY, "%.*s", REC_LIVE_WHY - 1, own.text);
    }
    if (!c->list && *c->refused[0])
        refuse(c, 400, c->refused[0]);
    if (s->o->rate > 0)
        s->tokens -= (double)(c->requests - 1);
}

/* The one request of a path. */
static void make_request(const server *s, call *c) {
    if (!room_for(c, 1))
        return;
    c->wire[0].q = (rec_live_request){.kind = c->q.route == REC_HTTP_USERS ? REC_LIVE_FORGET : REC_LIVE_ASK,
                                      .user = c->q.user,
                                      .k = c->q.k >= 0 ? c->q.k : s->o->wire.k,
                                      .filter_seen = c->q.filter_seen >= 0 ? c->q.filter_seen : s->o->wire.filter_seen};
}

/* Into the queue, unless its last ones were taken out already. */
static enum MHD_Result submit(server *s, call *c, struct MHD_Connection *connection) {
    c->connection = connection;
    c->since = mb_clock_seconds();
    pthread_mutex_lock(&s->lock);
    c->submitted = s->ending < ENDED;
    if (c->submitted) {
        MHD_suspend_connection(connection);
        *(s->last ? &s->last->next : &s->first) = c;
        s->last = c;
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
    if (c->submitted)
        return MHD_YES;
    refuse(c, 503, ABOUT_TO_END);
    return respond(s, c, connection);
}

static void answer_here(server *s, call *c) {
    pthread_mutex_lock(&s->lock);
    const rec_http_shown shown = s->shown;
    pthread_mutex_unlock(&s->lock);
    if (c->q.route == REC_HTTP_SIMILAR) {
        c->code = rec_http_similar(&c->answer, s->m, c->q.item, c->q.k >= 0 ? c->q.k : s->o->wire.k);
    } else if (c->q.route == REC_HTTP_HEALTH) {
        c->code = rec_http_health(&c->answer, &shown);
    } else {
        c->code = 200;
        c->kind = "text/plain; version=0.0.4";
        rec_http_metrics(&c->answer, &shown, &s->http);
    }
}

static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *n, void **context) {
    server *s = user;
    call *c = *context;
    (void)url, (void)version;
    if (!c)
        return MHD_NO;
    if (!c->begun) {
        begin(s, c, connection, method);
        return c->code ? respond(s, c, connection) : MHD_YES;
    }
    if (*n > 0) {
        const enum MHD_Result rc = take_body(s, c, data, *n);
        *n = 0;
        return rc;
    }
    if (c->submitted) /* and come back from the queue */
        return respond(s, c, connection);
    if (c->too_big)
        refuse(c, 413, "the body is too large");
    else if (c->q.route == REC_HTTP_EVENTS)
        read_events(s, c);
    else if (c->q.route == REC_HTTP_RECOMMEND || c->q.route == REC_HTTP_USERS)
        make_request(s, c);
    else
        answer_here(s, c);
    if (c->code)
        return respond(s, c, connection);
    return submit(s, c, connection);
}

/* ---- the caller's thread ------------------------------------------------------------------------------------------*/
/* The calls that wait, up to a batch of requests; NULL when there are none for a while. */
static call *next_calls(server *s, int *requests) {
    call *calls = NULL, *end = NULL;
    struct timespec until;
    *requests = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 200000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&s->lock);
    if (!s->first)
        pthread_cond_timedwait(&s->work, &s->lock, &until);
    while (s->first && (!calls || *requests + s->first->requests <= s->o->batch)) {
        call *c = s->first;
        s->first = c->next;
        s->last = s->first ? s->last : NULL;
        c->next = NULL;
        *(end ? &end->next : &calls) = c;
        end = c;
        *requests += c->requests;
    }
    pthread_mutex_unlock(&s->lock);
    return calls;
}

static int room_for_requests(server *s, int n) {
    if (n <= s->room)
        return 1;
    rec_live_request *more = mb_realloc_array(s->request, (size_t)n, sizeof *more);
    if (!more)
        return 0;
    s->request = more;
    s->room = n;
    return 1;
}

/* Writes the answer of one call from its requests' answers at q. Returns whether something was not stored. */
static int answer_call(const server *s, call *c, const rec_live_request *q) {
    int failed = 0;
    c->code = 200;
    if (c->list)
        rec_buffer_put(&c->answer, "[", 1);
    for (int i = 0; i < c->requests; i++) {
        if (i)
            rec_buffer_put(&c->answer, ",", 1);
        if (*c->refused[i]) {
            rec_wire_refusal(&c->answer, c->refused[i], 0);
            continue;
        }
        const int code = rec_http_code(q);
        failed |= code == 503;
        if (!c->list || code == 503)
            c->code = c->q.route == REC_HTTP_EVENTS && code == 404 ? 200 : code;
        rec_wire_answer(&c->answer, s->m, q++, 0);
    }
    if (c->list)
        rec_buffer_put(&c->answer, "]", 1);
    return failed;
}

static void publish(server *s, int failed, const call *calls) {
    int64_t users = 0;
    const double now = mb_clock_seconds();
    if (rec_store_users(rec_live_store(s->l), &users, NULL))
        failed = 1;
    pthread_mutex_lock(&s->lock);
    s->shown.live = *rec_live_count(s->l);
    s->shown.users = users;
    s->shown.store_bytes = rec_store_bytes(rec_live_store(s->l));
    s->shown.failing = failed;
    for (const call *c = calls; c; c = c->next)
        rec_http_count_time(&s->shown, now - c->since);
    pthread_mutex_unlock(&s->lock);
}

static void run_calls(server *s, call *calls, int requests) {
    mb_err e = {0};
    int n = 0, failed = 0;
    const int room = room_for_requests(s, requests);
    for (call *c = calls; room && c; c = c->next)
        for (int i = 0; i < c->requests; i++)
            if (!*c->refused[i])
                s->request[n++] = c->wire[i].q;
    const int rc = !room ? MB_NOMEM : n ? rec_live_run(s->l, s->request, n, &e) : MB_OK;
    n = 0;
    for (call *c = calls; c; c = c->next) {
        if (rc)
            refuse(c, 503, rc == MB_NOMEM ? "no memory" : e.text);
        else
            failed |= answer_call(s, c, s->request + n);
        for (int i = 0; i < c->requests; i++)
            n += !*c->refused[i];
    }
    publish(s, failed, calls);
    for (call *c = calls, *next; c; c = next) {
        next = c->next; /* c is the library's again, and may be gone, once resumed */
        MHD_resume_connection(c->connection);
    }
}

static int still_open(server *s) {
    pthread_mutex_lock(&s->lock);
    const int open = s->open;
    pthread_mutex_unlock(&s->lock);
    return open;
}

/* Takes no more connections and no more requests, and sees to those that were begun. */
static void end(server *s) {
    const double until = mb_clock_seconds() + (s->o->timeout < 5 ? s->o->timeout : 5);
    int requests;
    pthread_mutex_lock(&s->lock);
    s->ending = ENDING;
    pthread_mutex_unlock(&s->lock);
    MHD_quiesce_daemon(s->daemon);
    while (still_open(s) && mb_clock_seconds() < until) {
        call *calls = next_calls(s, &requests);
        if (calls)
            run_calls(s, calls, requests);
    }
    pthread_mutex_lock(&s->lock);
    s->ending = ENDED;
    pthread_mutex_unlock(&s->lock);
    for (call *calls; (calls = next_calls(s, &requests));) /* suspended ones must be resumed before the end */
        run_calls(s, calls, requests);
    MHD_stop_daemon(s->daemon);
}

static void log_line(void *user, const char *format, va_list args) {
    char line[512];
    (void)user;
    vsnprintf(line, sizeof line, format, args); /* NOLINT(clang-analyzer-valist.Uninitialized): of the caller */
    line[strcspn(line, "\n")] = '\0';
    mb_debug("http: %s", line);
}

static int start(server *s, mb_err *e) {
    const unsigned flags =
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, handle, s, MHD_OPTION_EXTERNAL_LOGGER, log_line, NULL,
                                 MHD_OPTION_LISTEN_SOCKET, s->o->listener, MHD_OPTION_URI_LOG_CALLBACK, take_target, s,
                                 MHD_OPTION_NOTIFY_COMPLETED, completed, s, MHD_OPTION_CONNECTION_LIMIT,
                                 (unsigned)s->o->connections, MHD_OPTION_CONNECTION_TIMEOUT,
                                 (unsigned)(s->o->timeout < 1 ? 1 : s->o->timeout), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                 (size_t)CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    return s->daemon ? MB_OK : mb_fail_errno(e, MB_IO, "the HTTP server cannot start");
}

int rec_http_present(mb_err *e) {
    (void)e;
    return MB_OK;
}

int rec_http_run(rec_live *l, const rec_http_options *o, mb_err *e) {
    server *s = mb_calloc(1, sizeof *s);
    int requests;
    if (!s)
        return mb_fail(e, MB_NOMEM, "no memory for a server");
    s->l = l;
    s->m = rec_live_model(l);
    s->o = o;
    s->tokens = o->rate < 1 ? 1 : o->rate;
    s->refilled = mb_clock_seconds();
    snprintf(s->shown.digest, sizeof s->shown.digest, "%s", rec_store_digest(rec_live_store(l)));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    publish(s, 0, NULL);
    int rc = start(s, e);
    while (!rc && !atomic_load(o->stop)) {
        call *calls = next_calls(s, &requests);
        if (calls)
            run_calls(s, calls, requests);
    }
    if (!rc)
        end(s);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    mb_free(s->request);
    mb_free(s);
    return rc;
}
