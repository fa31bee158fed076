/* Connections of a listener: slow readers, cut-offs, limits, order, the end; addresses. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/mem.h"
#include "recsys/address.h"
#include "recsys/lines.h"
#include "tests/models.h"
#include "tests/recfolder.h"
#include "tests/scratch.h"

enum { ITEMS = 200 };

static mb_err error;

typedef struct running {
    rec_model *model;
    rec_store *store;
    rec_live *live;
    rec_address address;
    rec_lines_options o;
    rec_lines_counts counts;
    atomic_int stop;
    pthread_t thread;
    int rc;
    mb_err e;
} running;

static void *serve(void *user) {
    running *r = user;
    r->rc = rec_lines_run(r->live, &r->o, &r->counts, &r->e);
    return NULL;
}

static void start(running *r, const char *name) {
    char digest[REC_STORE_DIGEST + 1], where[128], text[1200];
    const mb_config c = model_mamba(24, 1, ITEMS + 1);
    const rec_model_options mo = {.threads = 1, .window = -1};
    const rec_live_options lo = {.threads = 1, .memory = 1 << 20, .batch = 16};
    rec_folder_write(scratch_path("model"), &c);
    assert_int_equal(rec_model_open(&r->model, scratch_path("model"), &mo, &error), MB_OK);
    assert_int_equal(rec_live_digest(r->model, MBK_FP32, digest, &error), MB_OK);
    const rec_store_options so = {.sync = REC_SYNC_NONE, .digest = digest};
    assert_int_equal(rec_store_open(&r->store, scratch_path(name), &so, &error), MB_OK);
    assert_int_equal(rec_live_create(&r->live, r->model, r->store, &lo, &error), MB_OK);
    snprintf(text, sizeof text, "unix:%s", scratch_path("socket"));
    assert_int_equal(rec_address_parse(&r->address, "listen", text, 0, &error), MB_OK);
    assert_int_equal(rec_address_listen(&r->address, &r->o.listener, where, &error), MB_OK);
    assert_string_equal(where, text);
    r->o.wire = (rec_wire_options){.k = 2};
    r->o.batch = 16;
    r->o.line_most = 1000;
    r->o.stop = &r->stop;
    assert_int_equal(pthread_create(&r->thread, NULL, serve, r), 0);
}

static void stop(running *r) {
    atomic_store(&r->stop, 1);
    pthread_join(r->thread, NULL);
    assert_int_equal(r->rc, MB_OK);
    close(r->o.listener);
    rec_address_remove(&r->address);
    rec_live_destroy(r->live);
    rec_store_close(r->store);
    rec_model_close(r->model);
}

static struct heard { /* by descriptor: read and not yet given out */
    char at[1 << 16];
    size_t from, n;
} heard[64];

static int join(const running *r) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    const struct timeval most = {.tv_sec = 30};
    const int small = 4096; /* what waits in the kernel */
    assert_true(fd >= 0 && connect(fd, (const struct sockaddr *)&r->address.at, r->address.n) == 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    heard[fd].from = heard[fd].n = 0;
    return fd;
}

static void say(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The next line, or "" at the end. */
static const char *hear(int fd) {
    static char line[1 << 16];
    size_t n = 0;
    assert_in_range(fd, 0, 63);
    struct heard *h = &heard[fd];
    while (n < sizeof line - 1) {
        if (h->from == h->n) {
            const ssize_t got = recv(fd, h->at, sizeof h->at, 0);
            h->from = 0;
            h->n = got > 0 ? (size_t)got : 0;
            if (got <= 0)
                break;
        }
        if (h->at[h->from] == '\n') {
            h->from++;
            break;
        }
        line[n++] = h->at[h->from++];
    }
    line[n] = '\0';
    return line;
}

static void slow_reader(void **state) {
    (void)state;
    static char ask[] = "{\"user\":\"u\",\"topk\":20}\n";
    running r = {.o = {.connections = 4, .waiting_most = 20000, .timeout = 60}};
    start(&r, "slow");
    const int fd = join(&r), other = join(&r);
    say(fd, "{\"user\":\"u\",\"item\":\"i1\",\"topk\":0}\n");
    assert_string_equal(hear(fd), "{\"user\":\"u\",\"status\":\"ok\",\"events\":1,\"new\":true}");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    int asked = 0, idle = 0;
    size_t part = 0;                       /* of a line that went in pieces */
    while (idle < 20 && asked < 1000000) { /* until nothing more goes in: the server does not read on */
        const ssize_t n = send(fd, ask + part, sizeof ask - 1 - part, MSG_NOSIGNAL);
        idle = n > 0 ? 0 : idle + 1;
        part += n > 0 ? (size_t)n : 0;
        asked += part == sizeof ask - 1;
        part = part == sizeof ask - 1 ? 0 : part;
        if (n < 0)
            usleep(50000);
        if (asked % 1000 == 0) { /* nobody else waits for it */
            say(other, "{\"user\":\"v\"}\n");
            assert_string_equal(hear(other), "{\"user\":\"v\",\"status\":\"no_history\",\"events\":0,\"top\":[]}");
        }
    }
    assert_in_range(asked, 100, 999999);
    fcntl(fd, F_SETFL, 0);
    for (int i = 0; i < asked; i++) {
        const char *line = hear(fd);
        if (strncmp(line, "{\"user\":\"u\",\"status\":\"ok\",\"events\":1,\"top\":[{", 45) != 0)
            fail_msg("answer %d of %d: %.100s", i, asked, line);
    }
    close(fd);
    close(other);
    stop(&r);
    assert_int_equal(r.counts.cut_off, 0);
}

static void cut_off(void **state) {
    (void)state;
    running r = {.o = {.connections = 4, .waiting_most = 20000, .timeout = 0.3}};
    start(&r, "cut");
    const int fd = join(&r);
    say(fd, "{\"user\":\"u\",\"item\":\"i1\",\"topk\":0}\n");
    assert_true(*hear(fd) == '{');
    usleep(800000); /* quiet is not slow */
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 20000 && (send(fd, "{\"user\":\"u\",\"topk\":200}\n", 24, MSG_NOSIGNAL) > 0 || errno == EAGAIN);
         i++)
        if (i % 100 == 0)
            usleep(1000);
    for (int i = 0; i < 200 && send(fd, "\n", 1, MSG_NOSIGNAL) >= 0; i++)
        usleep(50000);
    for (int i = 0; i < 200 && (send(fd, "\n", 1, MSG_NOSIGNAL) >= 0 || errno == EAGAIN); i++)
        usleep(50000);
    assert_int_equal(errno, EPIPE);
    close(fd);
    stop(&r);
    assert_int_equal(r.counts.cut_off, 1);
}

static void few_connections(void **state) {
    (void)state;
    running r = {.o = {.connections = 2, .waiting_most = 20000, .timeout = 10, .strict = 1}};
    start(&r, "few");
    const int one = join(&r), two = join(&r), three = join(&r);
    say(one, "{\"user\":1}\n");
    say(two, "{\"user\":2}\n");
    assert_non_null(strstr(hear(one), "\"1\""));
    assert_non_null(strstr(hear(two), "\"2\""));
    say(three, "{\"user\":3}\n");
    struct pollfd p = {.fd = three, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 500), 0);
    say(one, "{\"user\":1}\nno request\n{\"user\":1}\n"); /* strict: cut off there */
    assert_non_null(strstr(hear(one), "no_history"));
    assert_non_null(strstr(hear(one), "\"line\":3"));
    assert_string_equal(hear(one), "");
    assert_non_null(strstr(hear(three), "\"3\""));
    shutdown(two, SHUT_WR); /* it ends without a line end, and still gets its answer */
    assert_string_equal(hear(two), "");
    close(one);
    close(two);
    const int four = join(&r);
    say(four, "{\"user\":4}");
    shutdown(four, SHUT_WR);
    assert_non_null(strstr(hear(four), "\"4\""));
    assert_string_equal(hear(four), "");
    close(three);
    close(four);
    stop(&r);
    assert_int_equal(r.counts.lines, 6);
    assert_int_equal(r.counts.malformed, 1);
}

static void addresses(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int rc, loopback;
    } CASES[] = {{"tcp:127.0.0.1:80", 0, 1},
                 {"127.5.0.1:0", 0, 1},
                 {"localhost:65535", 0, 1},
                 {"[::1]:1", 0, 1},
                 {"tcp:[::1]:1", 0, 1},
                 {"0.0.0.0:1", 1, 0},
                 {"[::]:1", 1, 0},
                 {"10.0.0.1:1", 1, 0},
                 {"127.0.0.1", 1, 0},
                 {"127.0.0.1:", 1, 0},
                 {":80", 1, 0},
                 {"1.2.3:80", 1, 0},
                 {"127.0.0.1:65536", 1, 0},
                 {"127.0.0.1:-1", 1, 0},
                 {"127.0.0.1: 1", 1, 0},
                 {"::1:80", 1, 0},
                 {"unix:", 1, 0},
                 {"unix:/x", 0, 1},
                 {"", 1, 0},
                 {"[]:1", 1, 0}};
    rec_address a;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        mb_err_clear(&error);
        const int rc = rec_address_parse(&a, "listen", CASES[i].text, 0, &error);
        if (rc != (CASES[i].rc ? MB_USAGE : MB_OK) || (!rc && a.loopback != CASES[i].loopback))
            fail_msg("%s: %d, %s", CASES[i].text, rc, error.text);
    }
    mb_err_clear(&error);
    assert_int_equal(rec_address_parse(&a, "listen", "0.0.0.0:1", 1, &error), MB_OK);
    assert_false(a.loopback);

    char text[1200], where[128];
    int fd, again;
    struct stat st;
    const char *path = scratch_path("address");
    snprintf(text, sizeof text, "unix:%s", path);
    assert_int_equal(rec_address_parse(&a, "listen", text, 0, &error), MB_OK);
    assert_int_equal(rec_address_listen(&a, &fd, where, &error), MB_OK);
    assert_true(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    assert_int_equal(rec_address_listen(&a, &again, where, &error), MB_IO); /* somebody answers there */
    assert_non_null(strstr(error.text, "another process"));
    close(fd); /* its file stays, as after kill -9 */
    mb_err_clear(&error);
    assert_int_equal(rec_address_listen(&a, &fd, where, &error), MB_OK);
    close(fd);
    rec_address_remove(&a);
    assert_true(stat(path, &st) != 0);
    scratch_text("address", "a file");
    assert_int_equal(rec_address_listen(&a, &fd, where, &error), MB_IO);
    assert_non_null(strstr(error.text, "no socket"));
    mb_err_clear(&error);
}

int main(void) {
    const struct CMUnitTest always[] = {cmocka_unit_test(addresses)};
    const struct CMUnitTest lines[] = {cmocka_unit_test(slow_reader), cmocka_unit_test(cut_off),
                                       cmocka_unit_test(few_connections)};
    int failed = cmocka_run_group_tests(always, NULL, NULL);
    rec_store *s = NULL;
    const rec_store_options o = {.digest = "0000000000000000000000000000000000000000000000000000000000000000"};
    if (rec_store_open(&s, scratch_path("probe"), &o, &error) == MB_NOTSUP) {
        printf("skip - %s\n", error.text);
        return failed;
    }
    rec_store_close(s);
    return failed + cmocka_run_group_tests(lines, NULL, NULL);
}
