/* Text by lines, from any file that recsys/unpack.h reads, with the numbers of the lines. */
#ifndef REC_TEXT_H
#define REC_TEXT_H
#include "recsys/unpack.h"

/* A line, and a row of quoted fields over several lines, longer than this is refused. */
#define REC_TEXT_MAX_LINE ((size_t)64 << 20)

typedef struct rec_text {
    rec_unpack *source;
    const char *name; /* of the file, for messages; borrowed */
    char *buffer;
    size_t room, at, end; /* [at, end) is read and not given out */
    size_t line_at;       /* where the current line begins */
    int64_t line;         /* number of the current line, from 1; 0 before the first */
    int64_t lines_in_row; /* that the current row takes: 1, more after rec_text_join */
    int ended;
} rec_text;

int rec_text_open(rec_text *t, const char *path, mb_err *e) MB_MUST_USE;
void rec_text_close(rec_text *t);
/* What is to come, without taking it: at least want bytes unless the text is shorter. */
int rec_text_peek(rec_text *t, size_t want, const char **text, size_t *n, mb_err *e) MB_MUST_USE;
/* The next line without its end (LF or CR LF), valid until the next call; *text NULL after the last. It may be written
 * to. Refuses zero bytes. A byte order mark at the beginning of the file is passed over. */
int rec_text_line(rec_text *t, char **text, size_t *n, mb_err *e) MB_MUST_USE;
/* Makes the line after the current one part of it, with its LF between (fields in quotes may hold line ends); *joined 0
 * when there is none. *text may have moved. */
int rec_text_join(rec_text *t, char **text, size_t *n, int *joined, mb_err *e) MB_MUST_USE;
#endif
