/* See lines.h. One thread: poll, read, gather the lines that are whole, run them, write. */
#include "recsys/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"

enum { TICK = 200, READ = 1 << 16, PIPE_PIECE = 4096 }; /* ms between looks at stop; bytes */

typedef struct client {
    int in, out, is_socket;
    char *at; /* what was read and not yet used: [from, n) */
    size_t from, n, room;
    int over;    /* no more will come */
    int passing; /* in the middle of a line that is too long */
    int64_t line;
    rec_buffer answers; /* [sent, n) wait */
    size_t sent;
    double moved; /* when answers last left, or none waited */
    int broken;   /* to be closed at once */
    int closing;  /* once its answers are out */
} client;

typedef struct entry { /* a line of the batch */
    client *c;
    int64_t line;
    int request; /* index, or -1: it could not be read */
    char why[REC_LIVE_WHY];
} entry;

typedef struct server {
    rec_live *l;
    const rec_lines_options *o;
    rec_lines_counts *counts;
    client **client;
    struct pollfd *poll;
    int n;
    entry *entry;
    rec_wire *wire;
    rec_live_request *request;
    int entries, requests;
    double full; /* no descriptors: no connections are taken until then */
    int turn;    /* whose lines come first */
    int failed;  /* a status: the store cannot be written, or a line is bad and strict was asked for */
    mb_err why;
} server;

/* ---- clients ------------------------------------------------------------------------------------------------------*/
static void free_client(client *c) {
    if (c->is_socket)
        close(c->in);
    mb_free(c->at);
    rec_buffer_free(&c->answers);
    mb_free(c);
}

static client *new_client(server *s, int in, int out, int is_socket) {
    client *c = mb_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->in = in;
    c->out = out;
    c->is_socket = is_socket;
    c->moved = mb_clock_seconds();
    s->client[s->n++] = c;
    s->counts->connections++;
    return c;
}

static void accept_clients(server *s) {
    while (s->n < s->o->connections) {
        const int fd = accept4(s->o->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
            s->full = mb_clock_seconds() + 0.5; /* the listener stays ready: without a rest this would spin */
        if (fd < 0)
            return;
        if (!new_client(s, fd, fd, 1))
            close(fd);
    }
}

static size_t waiting(const client *c) {
    return c->answers.n - c->sent;
}

/* ---- reading ------------------------------------------------------------------------------------------------------*/
static int wants_input(const server *s, const client *c) {
    return !c->over && !c->closing && waiting(c) < s->o->waiting_most && c->n - c->from <= s->o->line_most;
}

static int make_room(client *c) {
    if (c->from > 0) {
        memmove(c->at, c->at + c->from, c->n - c->from);
        c->n -= c->from;
        c->from = 0;
    }
    if (c->room - c->n >= READ)
        return 1;
    char *more = mb_realloc(c->at, c->n + 2 * (size_t)READ);
    if (!more)
        return 0;
    c->at = more;
    c->room = c->n + 2 * (size_t)READ;
    return 1;
}

static void read_some(client *c) {
    if (!make_room(c)) {
        c->broken = 1;
        return;
    }
    const ssize_t got = read(c->in, c->at + c->n, READ);
    if (got > 0)
        c->n += (size_t)got;
    else if (got == 0)
        c->over = 1;
    else if (errno != EAGAIN && errno != EINTR)
        c->over = c->broken = 1;
}

/* The next line of c that is not blank, without its end: 1, or 0 when none is whole. long_one: it is too long and was
 * passed over. */
static int next_line(const server *s, client *c, char **line, size_t *n, int *long_one) {
    while (c->from < c->n) {
        char *start = c->at + c->from, *end = memchr(start, '\n', c->n - c->from);
        const size_t have = end ? (size_t)(end - start) : c->n - c->from;
        const int whole = end || c->over;
        if (!whole && have <= s->o->line_most && !c->passing)
            return 0;
        c->from += have + (end != NULL);
        if (c->passing || have > s->o->line_most) { /* said once, where it begins */
            const int first = !c->passing;
            c->passing = !whole;
            c->line += first;
            if (!first)
                continue;
            *long_one = 1;
            return 1;
        }
        c->line++;
        *line = start;
        *n = have;
        *long_one = 0;
        for (size_t i = 0; i < have; i++)
            if (!memchr(" \t\r", start[i], 3))
                return 1;
    }
    return 0;
}

static void take_line(server *s, client *c, char *line, size_t n, int long_one) {
    entry *x = &s->entry[s->entries++];
    rec_wire *w = &s->wire[s->requests];
    mb_err e = {0};
    *x = (entry){.c = c, .line = c->line, .request = -1};
    s->counts->lines++;
    *w = (rec_wire){0};
    int rc = long_one ? mb_fail(&e, MB_FORMAT, "a line of more than %zu bytes", s->o->line_most)
                      : rec_wire_parse(w, &s->o->wire, rec_live_model(s->l), line, n, &e);
    s->counts->too_long += long_one;
    if (!rc) {
        x->request = s->requests;
        s->request[s->requests++] = w->q;
        return;
    }
    rec_wire_fini(w);
    s->counts->malformed++;
    snprintf(x->why, sizeof x->why, "%.*s", REC_LIVE_WHY - 1, e.text);
    if (!s->o->strict)
        return;
    c->closing = 1;
    if (s->o->listener < 0 && !s->failed) {
        s->failed = MB_FORMAT;
        mb_fail(&s->why, MB_FORMAT, "standard input, line %" PRId64 ": %s", c->line, e.text);
    }
}

/* Lines that are whole, of all clients in turn, up to a batch. */
static void gather(server *s) {
    s->entries = s->requests = 0;
    const int share = s->n ? (s->o->batch + s->n - 1) / s->n : 0;
    for (int again = 1; again && s->entries < s->o->batch;) {
        again = 0;
        for (int i = 0; i < s->n; i++) {
            client *c = s->client[(s->turn + i) % s->n];
            char *line = NULL;
            size_t n = 0;
            int long_one = 0;
            for (int k = 0; k < share && s->entries < s->o->batch && !c->closing && !c->broken; k++) {
                if (waiting(c) >= s->o->waiting_most || !next_line(s, c, &line, &n, &long_one))
                    break;
                take_line(s, c, line, n, long_one);
                again = 1;
            }
        }
    }
    s->turn++;
}

/* ---- answers ------------------------------------------------------------------------------------------------------*/
static void answer(server *s) {
    mb_err e = {0};
    const int rc = rec_live_run(s->l, s->request, s->requests, &e);
    for (int i = 0; i < s->entries; i++) {
        entry *x = &s->entry[i];
        rec_buffer *t = &x->c->answers;
        if (x->request < 0) {
            rec_wire_refusal(t, x->why, x->line);
        } else if (rc) {
            rec_wire_refusal(t, e.text, x->line);
        } else {
            const rec_live_request *q = &s->request[x->request];
            rec_wire_answer(t, rec_live_model(s->l), q, x->line);
            if (q->status == REC_LIVE_ERROR && q->why_status == MB_IO && s->o->listener < 0 && !s->failed)
                s->failed = mb_fail(&s->why, MB_IO, "%s", q->why);
        }
        rec_buffer_put(t, "\n", 1);
    }
    for (int i = 0; i < s->requests; i++)
        rec_wire_fini(&s->wire[i]);
    for (int i = 0; i < s->n; i++) /* answers that found no memory: an order with holes would mislead */
        s->client[i]->broken |= s->client[i]->answers.lost;
}

/* As much as goes without waiting. A pipe takes 4096 bytes whole once it says that it takes some. */
static void write_some(client *c, int is_file) {
    while (waiting(c) > 0) {
        struct pollfd p = {.fd = c->out, .events = POLLOUT};
        const size_t left = waiting(c), piece = c->is_socket || is_file || left < PIPE_PIECE ? left : PIPE_PIECE;
        if (!c->is_socket && !is_file && (poll(&p, 1, 0) != 1 || !(p.revents & (POLLOUT | POLLERR | POLLHUP))))
            break;
        const ssize_t put = c->is_socket ? send(c->out, c->answers.at + c->sent, piece, MSG_DONTWAIT | MSG_NOSIGNAL)
                                         : write(c->out, c->answers.at + c->sent, piece);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN)
            break;
        if (put < 0) {
            c->broken = errno;
            return;
        }
        c->sent += (size_t)put;
        c->moved = mb_clock_seconds();
    }
    if (waiting(c) == 0) {
        c->answers.n = c->sent = 0;
    } else if (c->sent > c->answers.n / 2) {
        memmove(c->answers.at, c->answers.at + c->sent, waiting(c));
        c->answers.n -= c->sent;
        c->sent = 0;
    }
}

/* ---- the loop -----------------------------------------------------------------------------------------------------*/
/* Whether a whole line lies ready, so that there is nothing to wait for. */
static int lines_ready(const server *s) {
    for (int i = 0; i < s->n; i++) {
        const client *c = s->client[i];
        const size_t n = c->n - c->from;
        if (n > 0 && !c->closing && waiting(c) < s->o->waiting_most &&
            (c->over || n > s->o->line_most || memchr(c->at + c->from, '\n', n)))
            return 1;
    }
    return 0;
}

static void wait_and_read(server *s, int stopping) {
    const int ready = !stopping && lines_ready(s);
    const int takes = s->o->listener >= 0 && !stopping && s->n < s->o->connections && mb_clock_seconds() >= s->full;
    for (int i = 0; i < s->n; i++) {
        const client *c = s->client[i];
        const int in = !stopping && wants_input(s, c);
        s->poll[i] = (struct pollfd){.fd = in ? c->in : -1, .events = POLLIN};
        s->poll[(size_t)s->n + (size_t)i] = (struct pollfd){.fd = waiting(c) ? c->out : -1, .events = POLLOUT};
    }
    s->poll[2 * (size_t)s->n] = (struct pollfd){.fd = takes ? s->o->listener : -1, .events = POLLIN};
    const int n = s->n;
    if (poll(s->poll, 2 * (nfds_t)n + 1, ready ? 0 : TICK) <= 0)
        return;
    for (int i = 0; i < n; i++)
        if (s->poll[i].fd >= 0 && s->poll[i].revents)
            read_some(s->client[i]);
    if (s->poll[2 * (size_t)n].revents)
        accept_clients(s);
}

static int is_done(const client *c) {
    return waiting(c) == 0 && (c->closing || (c->over && c->from == c->n));
}

static void drop_clients(server *s) {
    const double now = mb_clock_seconds();
    int kept = 0;
    for (int i = 0; i < s->n; i++) {
        client *c = s->client[i];
        if (waiting(c) == 0)
            c->moved = now;
        const int slow = c->is_socket && now - c->moved > s->o->timeout;
        s->counts->cut_off += slow || (c->broken && c->is_socket);
        if (c->is_socket && (c->broken || slow || is_done(c)))
            free_client(c);
        else
            s->client[kept++] = c;
    }
    s->n = kept;
}

static void write_all(server *s, int is_file) {
    for (int i = 0; i < s->n; i++)
        if (!s->client[i]->broken)
            write_some(s->client[i], is_file);
}

static int run_lines(server *s) {
    struct stat st;
    const int listens = s->o->listener >= 0,
              is_file = !listens && fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode);
    client *only = NULL;
    if (!listens && !(only = new_client(s, STDIN_FILENO, STDOUT_FILENO, 0)))
        return mb_fail(&s->why, MB_NOMEM, "no memory for standard input");
    double end = 0; /* of the time for slow readers, once stopping */
    for (;;) {
        const int stopping = s->failed || (s->o->stop && atomic_load(s->o->stop));
        if (stopping && end == 0)
            end = mb_clock_seconds() + (s->o->timeout < 5 ? s->o->timeout : 5);
        wait_and_read(s, stopping);
        if (!stopping) {
            gather(s);
            answer(s);
        }
        write_all(s, is_file);
        if (listens)
            drop_clients(s);
        if (only && only->broken) {
            errno = only->broken;
            return only->answers.lost ? mb_fail(&s->why, MB_NOMEM, "no memory for answers")
                                      : mb_fail_errno(&s->why, MB_IO, "standard input or output fails");
        }
        if (only && !s->failed && is_done(only))
            return MB_OK;
        size_t left = 0;
        for (int i = 0; i < s->n; i++)
            left += waiting(s->client[i]);
        if (stopping && (left == 0 || mb_clock_seconds() > end))
            break;
    }
    if (s->failed)
        return s->failed;
    return listens
               ? MB_OK
               : mb_fail(&s->why, MB_STOPPED, "stopped on request; %" PRId64 " lines are answered", s->counts->lines);
}

int rec_lines_run(rec_live *l, const rec_lines_options *o, rec_lines_counts *c, mb_err *e) {
    server *s = mb_calloc(1, sizeof *s);
    *c = (rec_lines_counts){0};
    if (!s)
        return mb_fail(e, MB_NOMEM, "no memory for connections");
    s->l = l;
    s->o = o;
    s->counts = c;
    s->client = mb_calloc((size_t)o->connections + 1, sizeof(client *));
    s->poll = mb_calloc(2 * (size_t)o->connections + 3, sizeof *s->poll);
    s->entry = mb_calloc((size_t)o->batch, sizeof *s->entry);
    s->wire = mb_calloc((size_t)o->batch + 1, sizeof *s->wire);
    s->request = mb_calloc((size_t)o->batch, sizeof *s->request);
    int rc = s->client && s->poll && s->entry && s->wire && s->request
                 ? run_lines(s)
                 : mb_fail(&s->why, MB_NOMEM, "no memory for connections");
    if (rc)
        mb_fail(e, rc, "%s", s->why.text);
    for (int i = 0; s->client && i < s->n; i++)
        free_client(s->client[i]);
    mb_free(s->client);
    mb_free(s->poll);
    mb_free(s->entry);
    mb_free(s->wire);
    mb_free(s->request);
    mb_free(s);
    return rc;
}
