/* Requests of recmamba serve, as far as they are text: targets, routes, what is refused and with which code. Nothing
 * here knows a socket.
 *
 *   POST /events              an event, or a list of at most REC_HTTP_EVENTS_MOST (recsys/wire.h)
 *   GET /recommend?user=U[&k=N][&filter_seen=true|false]
 *   GET /similar?item=I[&k=N]
 *   DELETE /users/U
 *   GET /health, GET /metrics
 *
 * Targets are percent-decoded strictly (RFC 3986): %XX with two hexadecimal digits, printable ASCII, a decoded text
 * that is UTF-8 without zeros; '+' in a query is a blank. Unknown and doubled parameters are refused. */
#ifndef REC_HTTP_H
#define REC_HTTP_H
#include "recsys/wire.h"

enum { REC_HTTP_EVENTS_MOST = 1000 };

typedef enum rec_http_route {
    REC_HTTP_EVENTS,
    REC_HTTP_RECOMMEND,
    REC_HTTP_SIMILAR,
    REC_HTTP_USERS,
    REC_HTTP_HEALTH,
    REC_HTTP_METRICS,
    REC_HTTP_NOWHERE
} rec_http_route;

typedef struct rec_http_request {
    rec_http_route route;
    int code;            /* 0, or what it is refused with: 400, 404, 405 */
    const char *allowed; /* 405: for the Allow header */
    rec_id user, item;   /* in text */
    int k, filter_seen;  /* -1: not given */
    char *text;          /* mb_free */
    char why[REC_LIVE_WHY];
} rec_http_request;

/* Fills q in every case; without memory the code is 503. */
void rec_http_parse(rec_http_request *q, const char *method, const char *target);
void rec_http_fini(rec_http_request *q);
/* Whether the Host header names this machine's loopback, with whatever port: a page from elsewhere, whose name was
 * pointed at this machine, says another one. */
int rec_http_host_is_local(const char *host);
/* Whether a body is said to be JSON. */
int rec_http_is_json(const char *content_type);
/* The code for an answer: 200, 404 (nothing known of the user), 400, 500 (a damaged record), 503 (not stored). */
int rec_http_code(const rec_live_request *q);

/* ---- the server (http_mhd.c, or http_none.c without libmicrohttpd)
 * --------------------------------------------------*/
typedef struct rec_http_options {
    int listener; /* listening socket; stays the caller's */
    rec_wire_options wire;
    int batch; /* most requests of a transaction */
    int connections;
    int64_t body_most; /* bytes */
    double rate;       /* requests (events) a second, 0: any; as many may come at once */
    double timeout;    /* seconds a connection may be idle, and an answer may take to be fetched when ending */
    int local_only;    /* refuse other Host headers than this machine's */
    const atomic_int *stop;
} rec_http_options;

/* Until asked to stop: what was taken on is committed and answered. */
int rec_http_run(rec_live *l, const rec_http_options *o, mb_err *e) MB_MUST_USE;
/* MB_NOTSUP where this build has no server. */
int rec_http_present(mb_err *e) MB_MUST_USE;
#endif
