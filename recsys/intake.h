/* Between the readers of the text formats and the log: identifiers become numbers, events go to the spool, rows that
 * cannot be read are shown and counted. Internal to the loader. */
#ifndef REC_INTAKE_H
#define REC_INTAKE_H
#include "core/log.h"
#include "recsys/load.h"
#include "recsys/rows.h"
#include "recsys/spool.h"
#include "recsys/text.h"

typedef struct rec_row {
    rec_span user, item, aux; /* aux.n 0: none */
    int64_t time;
    float value;
    int part; /* 0 train, 1 validation, 2 test */
} rec_row;

/* What a source has besides users and items: the same of all sources of a log. */
typedef struct rec_has {
    int time, value, aux;
} rec_has;

typedef struct rec_intake {
    const rec_load_options *o;
    rec_names user, item, aux;
    rec_spool *spool;
    rec_order order;
    rec_has has;
    int sources;        /* begun so far */
    int part;           /* of the file that is being read */
    int parted;         /* some row or file says which part it belongs to */
    int64_t blocks;     /* of nameless students, over all files */
    int64_t *last_time; /* (last_room) of each user in the input's own order */
    int64_t last_room;
    uint64_t place; /* events so far */
    mb_progress *progress;
    rec_load_counts counts;
    const char *first_name; /* file that said what there is */
} rec_intake;

/* Begins a file; refuses one that has other columns than those before it. */
int rec_intake_begin(rec_intake *in, const char *name, rec_has has, mb_err *e) MB_MUST_USE;
int rec_intake_row(rec_intake *in, const rec_text *t, const rec_row *row, mb_err *e) MB_MUST_USE;
/* Shows or counts a malformed row, the current one of t; MB_FORMAT when --strict. */
int rec_intake_malformed(rec_intake *in, const rec_text *t, mb_err *e, const char *fmt, ...) MB_PRINTF(4, 5);

/* ---- text to numbers ----------------------------------------------------------------------------------------------*/
/* Nothing on success, or what is wrong. Times are numbers or dates of ISO 8601 (2018-09-24, 2018-09-24T12:30:00.5Z;
 * without a zone UTC), which become Unix seconds; then scaled. *cut: whether a fraction was lost. */
const char *rec_parse_time(rec_span s, double scale, int64_t *time, int *cut);
const char *rec_parse_value(rec_span s, float *value);
/* train, valid, test. */
const char *rec_parse_part(rec_span s, int *part);

/* ---- formats ------------------------------------------------------------------------------------------------------*/
enum { REC_USER, REC_ITEM, REC_TIME, REC_VALUE, REC_AUX, REC_PART, REC_ROLES };
extern const char *const REC_ROLE[REC_ROLES]; /* "user", "item", "time", ... */

typedef struct rec_columns { /* what --columns says */
    char *text;
    const char *name[REC_ROLES]; /* NULL: not said; "-": left out */
} rec_columns;
int rec_columns_parse(rec_columns *c, const char *text, mb_err *e) MB_MUST_USE;
void rec_columns_free(rec_columns *c);

/* How well a column's name suits a role (0 best), or -1: letter case and punctuation do not count. */
int rec_role_rank(int role, rec_span name);

typedef struct rec_layout {
    rec_format format;
    char delimiter;        /* of CSV, TSV, .inter */
    int header;            /* the first line holds names */
    int column[REC_ROLES]; /* from 0, -1 none */
    int lines;             /* of a block: 3 or 4 */
    int sized;             /* the first line of a block holds its length: 1 alone, 2 after the id */
} rec_layout;
/* By the first lines of t (nothing is taken), or by what format says. */
int rec_recognise(rec_layout *l, rec_format format, const rec_columns *c, rec_text *t, mb_err *e) MB_MUST_USE;
/* Reads all of t into the intake. */
int rec_read_text(rec_intake *in, rec_text *t, const rec_columns *c, mb_err *e) MB_MUST_USE;
/* One for each kind of format. */
int rec_read_delimited(rec_intake *in, rec_text *t, rec_layout *l, const rec_columns *c, mb_err *e) MB_MUST_USE;
/* Which field of a line of names each role is in. Refuses when the user or item is not there. */
int rec_find_columns(rec_layout *l, const rec_columns *c, const rec_span *field, int n, const rec_text *t,
                     mb_err *e) MB_MUST_USE;
int rec_read_sequences(rec_intake *in, rec_text *t, const rec_layout *l, mb_err *e) MB_MUST_USE;
int rec_read_blocks(rec_intake *in, rec_text *t, const rec_layout *l, mb_err *e) MB_MUST_USE;
int rec_read_json(rec_intake *in, rec_text *t, const rec_columns *c, mb_err *e) MB_MUST_USE;
#endif
