/* See http.h. */
#include "recsys/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"

static void refuse(rec_http_request *q, int code, const char *why, const char *what) {
    if (q->code)
        return;
    q->code = code;
    snprintf(q->why, sizeof q->why, "%s%.100s", why, what);
}

/* ---- text ---------------------------------------------------------------------------------------------------------*/
static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* [from, to) decoded to *out, which moves on; *out has room for as many bytes. */
static rec_id decode(rec_http_request *q, const char *from, const char *to, int query, char **out) {
    rec_id id = {*out, 0};
    char *p = *out;
    for (; from < to; from++) {
        int c = (unsigned char)*from;
        if (c == '%') {
            const int high = to - from > 2 ? hex(from[1]) : -1, low = high >= 0 ? hex(from[2]) : -1;
            if (low < 0) {
                refuse(q, 400, "a percent sign is not followed by two hexadecimal digits", "");
                return id;
            }
            c = high * 16 + low;
            from += 2;
        } else if (c == '+' && query) {
            c = ' ';
        } else if (c <= ' ' || c >= 0x7f) {
            refuse(q, 400, "the target holds bytes that must be percent-encoded", "");
            return id;
        }
        *p++ = (char)c;
    }
    id.n = (int)(p - *out);
    *out = p;
    if (memchr(id.text, 0, (size_t)id.n) || !rec_buffer_is_utf8(id.text, (size_t)id.n))
        refuse(q, 400, "the target is not UTF-8", "");
    return id;
}

static int is(rec_id id, const char *word) {
    return (size_t)id.n == strlen(word) && memcmp(id.text, word, (size_t)id.n) == 0;
}

/* ---- routes -------------------------------------------------------------------------------------------------------*/
static const struct {
    const char *path, *method;
    rec_http_route route;
    int takes_user, takes_item, takes_k;
} ROUTES[] = {{"/events", "POST", REC_HTTP_EVENTS, 0, 0, 0},  {"/recommend", "GET", REC_HTTP_RECOMMEND, 1, 0, 1},
              {"/similar", "GET", REC_HTTP_SIMILAR, 0, 1, 1}, {"/users/", "DELETE", REC_HTTP_USERS, 0, 0, 0},
              {"/health", "GET", REC_HTTP_HEALTH, 0, 0, 0},   {"/metrics", "GET", REC_HTTP_METRICS, 0, 0, 0}};
enum { N_ROUTES = sizeof ROUTES / sizeof *ROUTES };

static int find_route(rec_http_request *q, const char *method, const char *path, size_t n) {
    for (int i = 0; i < N_ROUTES; i++) {
        const size_t own = strlen(ROUTES[i].path);
        const int prefix = ROUTES[i].route == REC_HTTP_USERS;
        if (n < own || (n > own && !prefix) || memcmp(path, ROUTES[i].path, own) != 0)
            continue;
        q->route = ROUTES[i].route;
        const int get = strcmp(ROUTES[i].method, "GET") == 0;
        if (strcmp(method, ROUTES[i].method) != 0 && !(get && strcmp(method, "HEAD") == 0)) {
            q->allowed = get ? "GET, HEAD" : ROUTES[i].method;
            refuse(q, 405, "this path is for ", q->allowed);
        }
        return i;
    }
    refuse(q, 404, "no such path; there are /events, /recommend, /similar, /users/ID, /health, /metrics", "");
    return -1;
}

static void take_number(rec_http_request *q, rec_id value) {
    q->k = 0;
    for (int i = 0; i < value.n; i++) {
        if (value.text[i] < '0' || value.text[i] > '9' || value.n > 4)
            q->k = REC_WIRE_K_MOST + 1;
        else
            q->k = 10 * q->k + (value.text[i] - '0');
    }
    if (value.n == 0 || q->k > REC_WIRE_K_MOST)
        refuse(q, 400, "k must be a whole number from 0 to 1000", "");
}

static void take_parameter(rec_http_request *q, int route, rec_id key, rec_id value) {
    const int user = is(key, "user") && ROUTES[route].takes_user, item = is(key, "item") && ROUTES[route].takes_item;
    const int filter = is(key, "filter_seen") && ROUTES[route].takes_user, k = is(key, "k") && ROUTES[route].takes_k;
    if ((user && q->user.text) || (item && q->item.text) || (k && q->k >= 0) || (filter && q->filter_seen >= 0))
        refuse(q, 400, "a parameter is given twice", "");
    else if (user)
        q->user = value;
    else if (item)
        q->item = value;
    else if (k)
        take_number(q, value);
    else if (filter && (is(value, "true") || is(value, "false")))
        q->filter_seen = is(value, "true");
    else if (filter)
        refuse(q, 400, "filter_seen must be true or false", "");
    else
        refuse(q, 400, "a parameter that this path does not take", "");
}

static void take_query(rec_http_request *q, int route, const char *query, char *room) {
    while (query && !q->code) {
        const char *end = strchr(query, '&'), *stop = end ? end : query + strlen(query);
        const char *equal = memchr(query, '=', (size_t)(stop - query));
        if (!equal) {
            refuse(q, 400, "a parameter without a value", "");
            return;
        }
        const rec_id key = decode(q, query, equal, 1, &room), value = decode(q, equal + 1, stop, 1, &room);
        if (!q->code)
            take_parameter(q, route, key, value);
        query = end ? end + 1 : NULL;
    }
}

static void check_ids(rec_http_request *q, int route) {
    const int user = q->route == REC_HTTP_RECOMMEND || q->route == REC_HTTP_USERS;
    if (user && (q->user.n < 1 || q->user.n > REC_STORE_KEY_MOST))
        refuse(q, 400, "which user? An identifier of 1 to 510 bytes is expected", "");
    if (ROUTES[route].takes_item && !q->item.text)
        refuse(q, 400, "which item? item=.. is expected", "");
}

void rec_http_parse(rec_http_request *q, const char *method, const char *target) {
    const char *query = strchr(target, '?');
    const size_t n = query ? (size_t)(query - target) : strlen(target);
    *q = (rec_http_request){.route = REC_HTTP_NOWHERE, .k = -1, .filter_seen = -1};
    q->text = mb_malloc(strlen(target) + 1);
    if (!q->text) {
        refuse(q, 503, "no memory", "");
        return;
    }
    char *room = q->text;
    const int route = find_route(q, method, target, n);
    if (route < 0 || q->code)
        return;
    if (q->route == REC_HTTP_USERS)
        q->user = decode(q, target + strlen(ROUTES[route].path), target + n, 0, &room);
    if (query && !q->code)
        take_query(q, route, query + 1, room);
    if (!q->code)
        check_ids(q, route);
}

void rec_http_fini(rec_http_request *q) {
    mb_free(q->text);
    q->text = NULL;
}

/* ---- headers and codes --------------------------------------------------------------------------------------------*/
int rec_http_host_is_local(const char *host) {
    static const char *const NAMES[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; host && i < sizeof NAMES / sizeof *NAMES; i++) {
        const size_t n = strlen(NAMES[i]);
        if (strncasecmp(host, NAMES[i], n) == 0 &&
            (!host[n] || (host[n] == ':' && strspn(host + n + 1, "0123456789") == strlen(host + n + 1))))
            return 1;
    }
    return 0;
}

int rec_http_is_json(const char *content_type) {
    static const char JSON[] = "application/json";
    const size_t n = sizeof JSON - 1;
    return content_type && strncasecmp(content_type, JSON, n) == 0 &&
           (!content_type[n] || content_type[n] == ';' || content_type[n] == ' ');
}

int rec_http_code(const rec_live_request *q) {
    if (q->status == REC_LIVE_NO_HISTORY)
        return 404;
    if (q->status != REC_LIVE_ERROR)
        return 200;
    return q->why_status == MB_IO || q->why_status == MB_NOMEM ? 503 : q->why_status == MB_RANGE ? 400 : 500;
}
