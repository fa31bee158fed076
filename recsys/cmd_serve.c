/* recmamba serve: what stream does, over HTTP/1.1. */
#include <string.h>
#include <unistd.h>

#include "recsys/address.h"
#include "recsys/commands.h"
#include "recsys/http.h"
#include "recsys/service.h"

typedef struct serve_values {
    rec_service_values service;
    char *listen;
    int64_t body_bytes, connections;
    double rate, timeout;
    int is_public;
} serve_values;

#define V serve_values
static const mb_option OPTIONS[] = {
    REC_SERVICE_OPTIONS(V, service),
    {.key = "listen",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, listen),
     .def = "127.0.0.1:8077",
     .meta = "ADDRESS",
     .help = "HOST:PORT (port 0: any free one; it is told) or unix:PATH. HOST is a number or localhost."},
    {.key = "public",
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, is_public),
     .def = "false",
     .help =
         "Allow --listen at addresses that other machines reach, and any Host header. There is neither password nor "
         "encryption: put a proxy that has both in front."},
    {.key = "body_bytes",
     .type = MB_OPT_BYTES,
     .offset = offsetof(V, body_bytes),
     .def = "1M",
     .min = 64,
     .max = 1 << 28,
     .meta = "BYTES",
     .help = "Longest body of a request (413 beyond)."},
    {.key = "rate",
     .type = MB_OPT_FLOAT,
     .offset = offsetof(V, rate),
     .def = "0",
     .max = 1e9,
     .meta = "N",
     .help = "Most requests a second, of all clients together; each event of a list is one, and a second's worth may "
             "come at once (429 beyond). 0: any number."},
    {.key = "connections",
     .type = MB_OPT_INT,
     .offset = offsetof(V, connections),
     .def = "100",
     .min = 1,
     .max = 10000,
     .meta = "N",
     .help = "Most connections at a time; others are closed at once."},
    {.key = "timeout",
     .type = MB_OPT_FLOAT,
     .offset = offsetof(V, timeout),
     .def = "30",
     .min = 1,
     .max = 86400,
     .meta = "SECONDS",
     .help = "A connection on which nothing moves for so long is closed."},
    {0}};
#undef V

static const char DETAILS[] =
    "Serves users' states and recommendations over HTTP, from the store that recmamba stream keeps as well (one of the "
    "two at a time; fill it with recmamba stream --load). Bodies and answers are the JSON objects of recmamba stream "
    "--help:\n"
    "  POST /events                  one event, or a list of at most 1000; Content-Type: application/json\n"
    "  GET /recommend?user=U         also &k=N, &filter_seen=true|false; 404 for a user without events\n"
    "  GET /similar?item=I           also &k=N: items by the cosine of their vectors\n"
    "  DELETE /users/U               removes what is known of a user; 404 when nothing is\n"
    "  GET /health                   503 while what was asked last could not be stored\n"
    "  GET /metrics                  for Prometheus\n"
    "An answer comes when what it says is committed; requests that wait are committed together. A list is answered by a "
    "list in its order: 200, and each element says how it fared; 503 when elements could not be stored. Other codes: "
    "400 malformed, 403 wrong Host, 404 and 405 wrong path or method, 413 too large, 415 not JSON, 429 too fast, 500 a "
    "damaged record. All have a JSON body with \"error\".\n"
    "\n"
    "SIGTERM or Ctrl-C: no more requests are taken on, those that were are committed and answered; exit code 0.\n"
    "\n"
    "  recmamba serve -m build/rec --store build/states --listen 127.0.0.1:8077 &\n"
    "  curl -d '{\"user\": \"u1\", \"item\": \"296\"}' -H 'Content-Type: application/json' localhost:8077/events\n"
    "  curl 'localhost:8077/recommend?user=u1&k=3'\n"
    "  curl 'localhost:8077/similar?item=296&k=3'";

static int serve(const rec_service *s, const serve_values *v, const rec_address *a, mb_err *e) {
    rec_http_options o = {.listener = -1,
                          .wire = s->wire,
                          .batch = (int)v->service.batch,
                          .connections = (int)v->connections,
                          .body_most = v->body_bytes,
                          .rate = v->rate,
                          .timeout = v->timeout,
                          .local_only = !v->is_public,
                          .stop = mb_cli_stop()};
    char where[128];
    int rc = rec_address_listen(a, &o.listener, where, e);
    if (rc)
        return rc;
    mb_info("serving HTTP at %s", where);
    rc = rec_http_run(s->live, &o, e);
    close(o.listener);
    rec_address_remove(a);
    return rc;
}

static int run_serve(mb_run *run, mb_err *e) {
    const serve_values *v = run->values;
    rec_service s;
    rec_address a;
    int rc = rec_http_present(e);
    if (!rc)
        rc = rec_address_parse(&a, "listen", v->listen, v->is_public, e);
    if (rc || run->globals.dry_run)
        return rc ? rc : rec_service_plan(run, &v->service, e);
    rc = rec_service_open(&s, run, &v->service, e);
    if (rc)
        return rc;
    rc = serve(&s, v, &a, e);
    return rec_service_end(&s, rc, e);
}

const mb_verb rec_serve_verb = {.name = "serve",
                                .summary = "the same over HTTP: events, recommendations, similar items, metrics",
                                .usage = "-m MODEL --store DIR [--listen ADDRESS] [options]",
                                .details = DETAILS,
                                .options = OPTIONS,
                                .values_size = sizeof(serve_values),
                                .min_args = 0,
                                .max_args = 0,
                                .run = run_serve};
