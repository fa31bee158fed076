/* The HTTP side: targets and headers as tables; the server under several clients at once, through its end. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/mem.h"
#include "recsys/address.h"
#include "recsys/http.h"
#include "tests/models.h"
#include "tests/recfolder.h"
#include "tests/scratch.h"

enum { ITEMS = 50, CLIENTS = 4, ROUNDS = 25 };

static mb_err error;

/* ---- text ---------------------------------------------------------------------------------------------------------*/
static void targets(void **state) {
    (void)state;
    static const struct {
        const char *method, *target;
        int code, route;
        const char *user, *item;
        int k, filter;
    } CASES[] = {{"POST", "/events", 0, REC_HTTP_EVENTS, NULL, NULL, -1, -1},
                 {"GET", "/recommend?user=a", 0, REC_HTTP_RECOMMEND, "a", NULL, -1, -1},
                 {"HEAD", "/recommend?k=0&filter_seen=false&user=%41+%2b", 0, REC_HTTP_RECOMMEND, "A +", NULL, 0, 0},
                 {"GET", "/recommend?user=%f0%9f%98%80&filter_seen=true&k=1000", 0, REC_HTTP_RECOMMEND,
                  "\xf0\x9f\x98\x80", NULL, 1000, 1},
                 {"GET", "/similar?item=a%26b%3d&k=07", 0, REC_HTTP_SIMILAR, NULL, "a&b=", 7, -1},
                 {"GET", "/similar?item=", 0, REC_HTTP_SIMILAR, NULL, "", -1, -1},
                 {"DELETE", "/users/a+b%2Fc", 0, REC_HTTP_USERS, "a+b/c", NULL, -1, -1},
                 {"GET", "/health", 0, REC_HTTP_HEALTH, NULL, NULL, -1, -1},
                 {"GET", "/metrics", 0, REC_HTTP_METRICS, NULL, NULL, -1, -1},
                 {"GET", "/", 404, 0, 0, 0, 0, 0},
                 {"GET", "", 404, 0, 0, 0, 0, 0},
                 {"GET", "/event", 404, 0, 0, 0, 0, 0},
                 {"POST", "/events/", 404, 0, 0, 0, 0, 0},
                 {"GET", "/events", 405, 0, 0, 0, 0, 0},
                 {"POST", "/recommend?user=a", 405, 0, 0, 0, 0, 0},
                 {"get", "/health", 405, 0, 0, 0, 0, 0},
                 {"DELETE", "/users/", 400, 0, 0, 0, 0, 0},
                 {"DELETE", "/users/a?x=1", 400, 0, 0, 0, 0, 0},
                 {"POST", "/events?user=a", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=a&", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=a&user=a", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=a&item=b", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=a&k=-1", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=a&k=99999999999999999999", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=a%", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=a%4", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=a%4g", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=%00", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=%c0%80", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=\xc3\xa9", 400, 0, 0, 0, 0, 0},
                 {"GET", "/recommend?user=a b", 400, 0, 0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rec_http_request q;
        rec_http_parse(&q, CASES[i].method, CASES[i].target);
        if (q.code != CASES[i].code || !q.code != !*q.why)
            fail_msg("%s %s: %d, %s", CASES[i].method, CASES[i].target, q.code, q.why);
        if (!q.code) {
            assert_int_equal(q.route, CASES[i].route);
            assert_int_equal(q.k, CASES[i].k);
            assert_int_equal(q.filter_seen, CASES[i].filter);
            if (CASES[i].user)
                assert_true(strlen(CASES[i].user) == (size_t)q.user.n &&
                            memcmp(CASES[i].user, q.user.text, (size_t)q.user.n) == 0);
            if (CASES[i].item)
                assert_true(strlen(CASES[i].item) == (size_t)q.item.n &&
                            memcmp(CASES[i].item, q.item.text, (size_t)q.item.n) == 0);
        }
        assert_true(q.code != 405 || q.allowed);
        rec_http_fini(&q);
    }
    mb_mem_fail_nth(1, 0);
    rec_http_request q;
    rec_http_parse(&q, "GET", "/health");
    mb_mem_fail_nth(0, 0);
    assert_int_equal(q.code, 503);
}

static void headers(void **state) {
    (void)state;
    static const char *const HERE[] = {"localhost", "LOCALHOST:80", "127.0.0.1:8077", "[::1]", "[::1]:1", "localhost:"};
    static const char *const AWAY[] = {
        "", "example.org", "localhost.example.org", "127.0.0.1.example.org", "::1", "localhost:80x", "127.0.0.2"};
    for (size_t i = 0; i < sizeof HERE / sizeof *HERE; i++)
        assert_true(rec_http_host_is_local(HERE[i]));
    for (size_t i = 0; i < sizeof AWAY / sizeof *AWAY; i++)
        assert_false(rec_http_host_is_local(AWAY[i]));
    assert_false(rec_http_host_is_local(NULL));
    assert_true(rec_http_is_json("application/json") && rec_http_is_json("Application/JSON; charset=utf-8"));
    assert_false(rec_http_is_json(NULL) || rec_http_is_json("text/plain") || rec_http_is_json("application/jsonp"));
}

/* ---- the server ---------------------------------------------------------------------------------------------------*/
static rec_model *model;
static rec_store *store;
static rec_live *live;
static rec_address address;
static rec_http_options options;
static atomic_int stop, answered[CLIENTS];

static void *serve(void *user) {
    *(int *)user = rec_http_run(live, &options, &error);
    return NULL;
}

/* One request on a connection of its own; the code, 0 when there is no answer. */
static int ask(const char *text, char *answer, size_t room) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    size_t n = 0;
    ssize_t got = -1;
    int code = 0;
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address.at, address.n) == 0 &&
        send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text))
        while (n < room - 1 && (got = recv(fd, answer + n, room - 1 - n, 0)) > 0)
            n += (size_t)got;
    answer[n] = '\0';
    if (fd >= 0)
        close(fd);
    return sscanf(answer, "HTTP/1.1 %d", &code) == 1 ? code : 0;
}

static void *client(void *user) {
    const int me = *(const int *)user;
    char body[200], text[500], answer[8000];
    for (int i = 0; i < ROUNDS; i++) {
        const int n = snprintf(body, sizeof body,
                               "[{\"user\":\"c%d\",\"item\":\"i%d\",\"topk\":1},{\"user\":\"all\",\"item\":\"i%d\"}]",
                               me, 1 + i, 1 + me);
        snprintf(text, sizeof text,
                 "POST /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                 "Content-Length: %d\r\n\r\n%s",
                 n, body);
        if (ask(text, answer, sizeof answer) == 200 && strstr(answer, "\"ok\""))
            atomic_fetch_add(&answered[me], 1);
        ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", answer, sizeof answer);
        ask("GET /recommend?user=all&k=3 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", answer,
            sizeof answer);
        ask("GET /similar?item=i3&k=3 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", answer, sizeof answer);
    }
    return NULL;
}

static int64_t events_of(const char *user) {
    rec_live_request q = {.kind = REC_LIVE_ASK, .user = {user, (int)strlen(user)}};
    assert_int_equal(rec_live_run(live, &q, 1, &error), MB_OK);
    return q.events;
}

static void under_load(void **state) {
    (void)state;
    char digest[REC_STORE_DIGEST + 1], where[128], text[1200];
    const mb_config c = model_mamba(24, 1, ITEMS + 1);
    const rec_model_options mo = {.threads = 1, .window = -1};
    const rec_live_options lo = {.threads = 1, .memory = 1 << 20, .batch = 16};
    rec_folder_write(scratch_path("model"), &c);
    assert_int_equal(rec_model_open(&model, scratch_path("model"), &mo, &error), MB_OK);
    assert_int_equal(rec_live_digest(model, MBK_FP32, digest, &error), MB_OK);
    const rec_store_options so = {.sync = REC_SYNC_NONE, .digest = digest};
    assert_int_equal(rec_store_open(&store, scratch_path("store"), &so, &error), MB_OK);
    assert_int_equal(rec_live_create(&live, model, store, &lo, &error), MB_OK);
    snprintf(text, sizeof text, "unix:%s", scratch_path("socket"));
    assert_int_equal(rec_address_parse(&address, "listen", text, 0, &error), MB_OK);
    assert_int_equal(rec_address_listen(&address, &options.listener, where, &error), MB_OK);
    options.wire = (rec_wire_options){.k = 2};
    options.batch = 16;
    options.connections = 10;
    options.body_most = 10000;
    options.timeout = 20;
    options.local_only = 1;
    options.stop = &stop;
    pthread_t server, clients[CLIENTS];
    int rc = -100, number[CLIENTS];
    assert_int_equal(pthread_create(&server, NULL, serve, &rc), 0);
    for (int i = 0; i < CLIENTS; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&clients[i], NULL, client, &number[i]), 0);
    }
    for (int i = 0; i < CLIENTS - 1; i++)
        pthread_join(clients[i], NULL);
    atomic_store(&stop, 1); /* the last one may still be at work: what it was answered must be in */
    pthread_join(server, NULL);
    close(options.listener); /* who knocked meanwhile is told so */
    pthread_join(clients[CLIENTS - 1], NULL);
    assert_int_equal(rc, MB_OK);
    int64_t all = 0;
    for (int i = 0; i < CLIENTS; i++) {
        char user[16];
        snprintf(user, sizeof user, "c%d", i);
        const int64_t events = events_of(user);
        assert_int_equal(events, atomic_load(&answered[i]));
        assert_true(i == CLIENTS - 1 || events == ROUNDS);
        all += events;
    }
    assert_int_equal(events_of("all"), all);
    rec_address_remove(&address);
    rec_live_destroy(live);
    rec_store_close(store);
    rec_model_close(model);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

int main(void) {
    const struct CMUnitTest texts[] = {cmocka_unit_test(targets), cmocka_unit_test(headers)};
    const struct CMUnitTest server[] = {cmocka_unit_test(under_load)};
    int failed = cmocka_run_group_tests(texts, NULL, NULL);
    const rec_store_options o = {.digest = "0000000000000000000000000000000000000000000000000000000000000000"};
    if (rec_http_present(&error) || rec_store_open(&store, scratch_path("probe"), &o, &error) == MB_NOTSUP) {
        printf("skip - %s\n", error.text);
        return failed;
    }
    rec_store_close(store);
    return failed + cmocka_run_group_tests(server, NULL, NULL);
}
