/* See address.h. */
#include "recsys/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int parse_unix(rec_address *a, const char *key, const char *path, mb_err *e) {
    struct sockaddr_un *u = (struct sockaddr_un *)&a->at;
    _Static_assert(sizeof a->path >= sizeof u->sun_path, "a path that fits the one fits the other");
    if (!*path || strlen(path) >= sizeof u->sun_path)
        return mb_fail(e, MB_USAGE, "--%s unix:%s: a path of 1 to %zu bytes is expected", key, path,
                       sizeof u->sun_path - 1);
    u->sun_family = AF_UNIX;
    snprintf(u->sun_path, sizeof u->sun_path, "%s", path);
    snprintf(a->path, sizeof a->path, "%s", path);
    a->n = sizeof *u;
    a->loopback = 1;
    return MB_OK;
}

static int parse_port(const char *text, in_port_t *port) {
    char *end;
    errno = 0;
    const long n = strtol(text, &end, 10);
    *port = htons((uint16_t)n);
    return *text >= '0' && *text <= '9' && !*end && !errno && n <= 65535;
}

int rec_address_parse(rec_address *a, const char *key, const char *text, int is_public, mb_err *e) {
    char host[64];
    in_port_t port = 0;
    *a = (rec_address){0};
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(a, key, text + 5, e);
    const char *rest = strncmp(text, "tcp:", 4) == 0 ? text + 4 : text, *colon = strrchr(rest, ':');
    const size_t n = colon ? (size_t)(colon - rest) : sizeof host;
    if (n == 0 || n >= sizeof host || !parse_port(colon + 1, &port))
        return mb_fail(e, MB_USAGE, "--%s %s: expected tcp:127.0.0.1:PORT, tcp:[::1]:PORT or unix:PATH", key, text);
    memcpy(host, rest, n);
    host[n] = '\0';
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a->at;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a->at;
    if (host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1) {
            v6->sin6_family = AF_INET6;
            v6->sin6_port = port;
            a->n = sizeof *v6;
            a->loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
        }
    } else if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        a->n = sizeof *v4;
        a->loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    if (!a->n)
        return mb_fail(e, MB_USAGE, "--%s %s: \"%s\" is no numeric address", key, text, host);
    if (!a->loopback && !is_public)
        return mb_fail(e, MB_USAGE,
                       "--%s %s: others than this machine could reach that, without a password; 127.0.0.1 is for this "
                       "machine alone",
                       key, text);
    return MB_OK;
}

/* A socket's file that is left of a process that died: nobody answers. */
static int clear_way(const rec_address *a, mb_err *e) {
    struct stat st;
    if (lstat(a->path, &st))
        return MB_OK;
    if (!S_ISSOCK(st.st_mode))
        return mb_fail(e, MB_IO, "%s: is there already, and is no socket", a->path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int answered = fd >= 0 && (connect(fd, (const struct sockaddr *)&a->at, a->n) == 0 || errno == EAGAIN);
    if (fd >= 0)
        close(fd);
    if (answered)
        return mb_fail(e, MB_IO, "%s: another process listens there", a->path);
    return unlink(a->path) && errno != ENOENT ? mb_fail_errno(e, MB_IO, "%s: cannot be removed", a->path) : MB_OK;
}

static void describe(int fd, const rec_address *a, char text[128]) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } got;
    socklen_t n = sizeof got;
    char host[INET6_ADDRSTRLEN] = "";
    memset(&got, 0, sizeof got);
    if (*a->path) {
        snprintf(text, 128, "unix:%s", a->path);
    } else if (getsockname(fd, &got.any, &n) == 0 && got.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &got.v4.sin_addr, host, sizeof host);
        snprintf(text, 128, "tcp:%s:%d", host, ntohs(got.v4.sin_port));
    } else {
        inet_ntop(AF_INET6, &got.v6.sin6_addr, host, sizeof host);
        snprintf(text, 128, "tcp:[%s]:%d", host, ntohs(got.v6.sin6_port));
    }
}

int rec_address_listen(const rec_address *a, int *fd, char text[128], mb_err *e) {
    const int on = 1;
    *fd = -1;
    int rc = *a->path ? clear_way(a, e) : MB_OK;
    if (rc)
        return rc;
    const int s = socket(a->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s < 0)
        return mb_fail_errno(e, MB_IO, "no socket");
    if (!*a->path)
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const mode_t mask = umask(0177);
    const int bound = bind(s, (const struct sockaddr *)&a->at, a->n);
    umask(mask);
    if (bound || listen(s, 128)) {
        rc = mb_fail_errno(e, MB_IO, "%s%s: cannot listen", *a->path ? "unix:" : "this address",
                           *a->path ? a->path : "");
        close(s);
        return rc;
    }
    describe(s, a, text);
    *fd = s;
    return MB_OK;
}

void rec_address_remove(const rec_address *a) {
    if (*a->path)
        unlink(a->path);
}
