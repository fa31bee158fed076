/* See places.h. Rows of a line begin where those of the line before end, so a row is found by halving the bytes.
 * Refuses other titles, lines with columns missing or left over, ranges that leave rows out or go beyond the array. */
#include "genomics/places.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

static const char TITLES[] = "row_start\trow_end\tname\toffset\tlength\tcontig\tstart\tend\tstrand\tn_count\n";
enum { ROW_START, ROW_END, NAME, OFFSET, LENGTH, CONTIG, START, END, STRAND, N_COUNT, COLUMNS };

/* The columns of the line at byte `at`, and the byte after it; 0 when it is none. */
static size_t split_line(const dna_places *p, size_t at, dna_span column[COLUMNS]) {
    const char *text = (const char *)p->map.data;
    for (int c = 0; c < COLUMNS; c++) {
        const size_t from = at;
        while (at < p->map.size && text[at] != '\t' && text[at] != '\n')
            at++;
        if (at == p->map.size || at - from > INT_MAX || text[at] != (c + 1 == COLUMNS ? '\n' : '\t'))
            return 0;
        column[c] = (dna_span){text + from, (int)(at - from)};
        at++;
    }
    return at;
}

/* A row number; -1 when it is none. */
static int64_t number(const dna_span *s) {
    int64_t value = 0;
    for (int i = 0; i < s->n; i++)
        if (s->at[i] < '0' || s->at[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, s->at[i] - '0', &value))
            return -1;
    return s->n > 0 ? value : -1;
}

static int check_lines(const dna_places *p, const char *path, int64_t rows, mb_err *e) {
    int64_t line = 1, row = 0;
    for (size_t at = p->first; at < p->map.size;) {
        dna_span column[COLUMNS];
        line++;
        at = split_line(p, at, column);
        if (!at)
            return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": is cut short or has not %d columns", path, line, COLUMNS);
        const int64_t from = number(&column[ROW_START]), to = number(&column[ROW_END]);
        if (from != row || to <= from || to > rows)
            return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": rows %.*s to %.*s do not follow row %" PRId64 " of %" PRId64,
                           path, line, column[ROW_START].n > 40 ? 40 : column[ROW_START].n, column[ROW_START].at,
                           column[ROW_END].n > 40 ? 40 : column[ROW_END].n, column[ROW_END].at, row, rows);
        row = to;
    }
    if (row != rows)
        return mb_fail(e, MB_FORMAT, "%s: ends at row %" PRId64 ", but the array has %" PRId64, path, row, rows);
    return MB_OK;
}

int dna_places_open(dna_places *p, const char *path, int64_t rows, mb_err *e) {
    *p = (dna_places){.first = sizeof TITLES - 1};
    int rc = mb_file_map(&p->map, path, e);
    if (rc == MB_OK && (p->map.size < p->first || memcmp(p->map.data, TITLES, p->first) != 0))
        rc = mb_fail(e, MB_FORMAT, "%s:1: has other columns than dna-mamba embed writes", path);
    if (rc == MB_OK)
        rc = check_lines(p, path, rows, e);
    if (rc != MB_OK)
        dna_places_close(p);
    return rc;
}

void dna_places_close(dna_places *p) {
    mb_file_unmap(&p->map);
    *p = (dna_places){0};
}

dna_place dna_places_find(const dna_places *p, int64_t row) {
    size_t low = p->first, high = p->map.size; /* both at the beginning of a line; the line sought is in between */
    dna_span column[COLUMNS];
    for (;;) {
        size_t at = low + (high - low) / 2;
        while (at > low && p->map.data[at - 1] != '\n')
            at--;
        const size_t next = split_line(p, at, column);
        MB_ASSERT(next);
        if (row < number(&column[ROW_START]))
            high = at;
        else if (row >= number(&column[ROW_END]))
            low = next;
        else
            break;
        MB_ASSERT(low < high);
    }
    return (dna_place){column[NAME], column[CONTIG], column[START],
                       column[END],  column[STRAND], row - number(&column[ROW_START])};
}
