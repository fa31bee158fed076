/* See history.h. Lines of events.jsonl that are cut short are passed over. */
#include "pipelines/history.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/mem.h"
#include "pipelines/lock.h"

const char *const pipe_happened_words[] = {"not begun", "running", "done", "failed", "stopped", "interrupted"};

static double number(const mb_yaml_node *map, const char *key) {
    return strtod(pipe_record_text(map, key), NULL);
}

static int take_event(pipe_history *h, char *line, mb_err *e) {
    mb_yaml *y = NULL;
    int rc = mb_yaml_parse_raw(&y, "events.jsonl", line, strlen(line), NULL);
    const mb_yaml_node *m = rc == MB_OK ? mb_yaml_root(y) : NULL;
    if (m && m->kind == MB_YAML_MAP) {
        const char *event = pipe_record_text(m, "event");
        const int ended = strcmp(event, "start") != 0;
        h->happened = !ended                          ? PIPE_RUNNING
                      : strcmp(event, "done") == 0    ? PIPE_ENDED_WELL
                      : strcmp(event, "stopped") == 0 ? PIPE_STOPPED
                                                      : PIPE_ENDED_BADLY;
        h->attempts += !ended;
        snprintf(h->since, sizeof h->since, "%.31s", pipe_record_text(m, "time"));
        snprintf(h->host, sizeof h->host, "%.127s", pipe_record_text(m, "host"));
        snprintf(h->job, sizeof h->job, "%.127s", pipe_record_text(m, "job"));
        if (ended) {
            h->exit_code = (int)number(m, "exit");
            h->seconds = number(m, "seconds");
            h->cpu_seconds = number(m, "cpu_seconds");
            h->peak_memory = number(m, "peak_memory_bytes");
        }
    }
    mb_yaml_free(y);
    return rc == MB_NOMEM ? mb_fail(e, rc, "out of memory for the events of a step") : MB_OK;
}

static int read_events(pipe_history *h, const char *path, mb_err *e) {
    char *text = NULL;
    size_t n;
    int rc = MB_OK;
    if (!mb_file_exists(path))
        return MB_OK;
    rc = mb_file_read_all(path, 64 << 20, &text, &n, e);
    for (char *line = rc == MB_OK ? text : NULL, *next; rc == MB_OK && line && *line; line = next) {
        if ((next = strchr(line, '\n')))
            *next++ = '\0';
        rc = take_event(h, line, e);
    }
    mb_free(text);
    return rc;
}

static void read_last_line(pipe_history *h, const char *path) {
    char text[1024];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    ssize_t n =
        end > 0 ? pread(fd, text, sizeof text - 1, end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0) : 0;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    if (n > 0) {
        text[n] = '\0';
        const char *line = strrchr(text, '\n');
        snprintf(h->said, sizeof h->said, "%.239s", line ? line + 1 : text);
    }
    for (char *c = h->said; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            *c = ' ';
    if (fd >= 0)
        close(fd);
}

int pipe_history_read(pipe_history *h, const pipeline *p, const pipe_step *s, int busy, mb_err *e) {
    char *events = pipe_step_path(p, s, "events.jsonl"), *log = pipe_step_path(p, s, "log");
    char *lock = pipe_step_path(p, s, "lock"), *done = pipe_step_path(p, s, "done.json"), owner[400];
    *h = (pipe_history){.happened = PIPE_NEVER};
    int rc =
        events && log && lock && done ? read_events(h, events, e) : mb_fail(e, MB_NOMEM, "out of memory for a path");
    if (rc == MB_OK) {
        read_last_line(h, log);
        pipe_lock_owner(lock, owner);
        if (h->happened == PIPE_RUNNING && !busy && !*owner)
            h->happened = PIPE_ENDED_DEAD;
        if (h->happened == PIPE_ENDED_WELL && !mb_file_exists(done))
            h->happened = PIPE_ENDED_DEAD;
    }
    mb_free(events);
    mb_free(log);
    mb_free(lock);
    mb_free(done);
    return rc;
}
