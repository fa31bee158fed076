/* What happened to a step, from its events and records on disk: for status and report. Nothing is digested. */
#ifndef PIPE_HISTORY_H
#define PIPE_HISTORY_H
#include "pipelines/state.h"

typedef enum pipe_happened {
    PIPE_NEVER,
    PIPE_RUNNING,
    PIPE_ENDED_WELL,
    PIPE_ENDED_BADLY,
    PIPE_STOPPED,   /* on request; goes on */
    PIPE_ENDED_DEAD /* was killed, or its machine was */
} pipe_happened;
extern const char *const pipe_happened_words[];

typedef struct pipe_history {
    pipe_happened happened;
    int attempts, exit_code;
    char since[32]; /* of the state: when it began or ended */
    char host[128], job[128];
    double seconds, cpu_seconds, peak_memory; /* of the last run that ended; 0 unknown */
    char said[240];                           /* the last line of its log */
} pipe_history;

/* busy: somebody holds the lock of the whole pipeline. */
int pipe_history_read(pipe_history *h, const pipeline *p, const pipe_step *s, int busy, mb_err *e) MB_MUST_USE;
#endif
