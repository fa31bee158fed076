/* JSON lines in, JSON lines out (recsys/wire.h), over standard input and output or over many connections of a listening
 * socket. One answer for each line that is not blank, in the order of a connection's lines, and only once what it says
 * is committed: all that has arrived meanwhile is one transaction (group commit).
 *
 * Bounded: lines (a longer one is answered with an error and passed over), connections, answers that wait for a slow
 * reader (nothing more is read from it then; one that takes nothing for the time-out is cut off). */
#ifndef REC_LINES_H
#define REC_LINES_H
#include <stdatomic.h>

#include "recsys/wire.h"

typedef struct rec_lines_options {
    rec_wire_options wire;
    int listener; /* a listening socket that does not block; -1: standard input and output */
    int batch;    /* most lines of a transaction */
    int connections;
    size_t line_most, waiting_most; /* bytes: of a line, of answers that wait */
    double timeout;                 /* seconds */
    int strict;                     /* end (a connection: be cut off) at the first line that cannot be read */
    const atomic_int *stop;
} rec_lines_options;

typedef struct rec_lines_counts {
    int64_t lines, malformed, too_long, connections, cut_off;
} rec_lines_counts;

/* Until standard input ends, or until asked to stop: MB_STOPPED when lines of standard input may be left, MB_OK for a
 * listener. With standard input a store that cannot be written ends it too (MB_IO), after its answers; a listener goes
 * on and answers with the error. */
int rec_lines_run(rec_live *l, const rec_lines_options *o, rec_lines_counts *c, mb_err *e) MB_MUST_USE;
#endif
