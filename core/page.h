/* A report for people: one self-contained HTML page with what was run, tables and charts. It loads nothing from
 * anywhere, its pictures are inside it, and every text from outside is escaped.
 *
 * Adding cannot fail at the call: the first failure (memory, a chart that cannot be drawn) is told by mb_page_write. */
#ifndef MB_PAGE_H
#define MB_PAGE_H
#include <stddef.h>
#include "core/chart.h"
#include "core/provenance.h"

typedef struct mb_page mb_page;

int mb_page_create(mb_page **out, const char *title, mb_err *e) MB_MUST_USE;
void mb_page_destroy(mb_page *p); /* NULL is fine */

void mb_page_heading(mb_page *p, const char *text);
void mb_page_text(mb_page *p, const char *fmt, ...) MB_PRINTF(2, 3); /* a paragraph */
/* A table: its columns, then rows with one cell a column. Cells that read as numbers stand to the right. */
void mb_page_table(mb_page *p, const char *const *column, int n);
void mb_page_row(mb_page *p, const char *const *cell);
void mb_page_table_end(mb_page *p);
/* Two columns, name and value, as one call: fmt is the value's. Begins a table when none is open. */
void mb_page_fact(mb_page *p, const char *name, const char *fmt, ...) MB_PRINTF(3, 4);
/* A picture with its words for those who do not see it. The picture stays the caller's. */
void mb_page_picture(mb_page *p, const mb_picture *picture, const char *words);
/* Draws and adds a chart; where this build cannot draw, a sentence that says what to install. */
void mb_page_chart(mb_page *p, const mb_chart *chart);

/* The row of a verb's table whose values struct S has a char *report. */
#define MB_REPORT_OPTION(S)                                                                                            \
    {                                                                                                                  \
        .key = "report", .type = MB_OPT_STRING, .offset = offsetof(S, report), .meta = "FILE.html",                    \
        .role = MB_ROLE_OUTPUT,                                                                                        \
        .help = "Also write a page for people: figures, charts, the record of the run, all in one file."               \
    }

/* The page with the record of the run at its end, to path, complete or not at all. p cannot be added to afterwards. */
int mb_page_write(mb_page *p, mb_provenance *record, const char *path, mb_err *e) MB_MUST_USE;
#endif
