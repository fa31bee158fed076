/* See gather.h. Refuses parts of other types, shapes or columns, lines cut short, an index that does not fit its rows.
 */
#include "pipelines/gather.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/npy_in.h"
#include "core/yaml.h"

pipe_kind pipe_gather_kind(const char *path) {
    return mb_path_ends_with(path, ".npy")                                           ? PIPE_KIND_NPY
           : mb_path_ends_with(path, ".tsv")                                         ? PIPE_KIND_TABLE
           : mb_path_ends_with(path, ".bed") || mb_path_ends_with(path, ".bedgraph") ? PIPE_KIND_PLACES
           : mb_path_ends_with(path, ".vcf")                                         ? PIPE_KIND_VCF
                                                                                     : PIPE_KIND_NONE;
}

/* ---- what parts say of themselves -----------------------------------------------------------------------------------
 */

/* "shard" of the configuration in a run.json; empty: there is none. */
static int read_shard(const char *record, char *shard, size_t room, mb_err *e) {
    mb_yaml *y = NULL;
    mb_err why = {0};
    int rc = mb_yaml_read_raw(&y, record, &why);
    *shard = '\0';
    if (rc != MB_OK)
        return mb_fail(e, rc == MB_NOMEM ? rc : MB_FORMAT, "%s: cannot be read: %.300s", record, why.text);
    const mb_yaml_node *root = mb_yaml_root(y), *v = mb_yaml_get(root ? mb_yaml_get(root, "config") : NULL, "shard");
    if (v && v->kind == MB_YAML_SCALAR)
        snprintf(shard, room, "%s", v->text);
    mb_yaml_free(y);
    return MB_OK;
}

int pipe_gather_check(char *const *part, int n, int *unsaid, mb_err *e) {
    *unsaid = 0;
    for (int i = 0; i < n; i++) {
        char shard[64], wanted[64];
        if (!mb_file_exists(part[i]))
            return mb_fail(e, MB_NOTFOUND, "%s is not there: part %d of %d is missing", part[i], i, n);
        char *record = mb_asprintf("%s.run.json", part[i]);
        if (!record)
            return mb_fail(e, MB_NOMEM, "out of memory for a path");
        int rc = MB_OK;
        snprintf(wanted, sizeof wanted, "%d/%d", i, n);
        if (!mb_file_exists(record))
            ++*unsaid;
        else if ((rc = read_shard(record, shard, sizeof shard, e)) == MB_OK && strcmp(shard, wanted) != 0)
            rc = mb_fail(e, MB_FORMAT, "%s: is part %s, and part %s is expected here", part[i],
                         *shard ? shard : "(none)", wanted);
        mb_free(record);
        if (rc != MB_OK)
            return rc;
    }
    return MB_OK;
}

/* ---- text -----------------------------------------------------------------------------------------------------------
 */

typedef struct text_parts {
    char *const *part;
    int n;
    pipe_kind kind;
    mb_out *out;
    char *head; /* of the first part that has one */
    size_t n_head;
    int64_t rows;
} text_parts;

static int is_head_line(const text_parts *t, const char *line, size_t n, int number) {
    if (t->kind == PIPE_KIND_TABLE)
        return number == 0;
    if (n > 0 && *line == '#')
        return 1;
    return t->kind == PIPE_KIND_PLACES && ((n >= 5 && memcmp(line, "track", 5) == 0 && (n == 5 || line[5] == ' ')) ||
                                           (n >= 7 && memcmp(line, "browser", 7) == 0 && (n == 7 || line[7] == ' ')));
}

static size_t head_of(const text_parts *t, const mb_map *m) {
    const char *text = (const char *)m->data;
    size_t at = 0;
    for (int number = 0; at < m->size; number++) {
        const char *end = memchr(text + at, '\n', m->size - at);
        const size_t n = end ? (size_t)(end - text) - at : m->size - at;
        if (!is_head_line(t, text + at, n, number))
            break;
        at += n + (end != NULL);
    }
    return at;
}

static int keep_head(text_parts *t, const char *path, const mb_map *m, size_t n, mb_err *e) {
    if (!t->head) {
        if (!(t->head = mb_malloc(n + 1)))
            return mb_fail(e, MB_NOMEM, "out of memory for %zu bytes of titles", n);
        memcpy(t->head, m->data, n);
        t->n_head = n;
        return mb_out_write(t->out, t->head, n, e);
    }
    if (n != t->n_head || memcmp(m->data, t->head, n) != 0)
        return mb_fail(e, MB_FORMAT, "%s: begins with other titles than %s", path, t->part[0]);
    return MB_OK;
}

static int add_text(text_parts *t, const char *path, mb_err *e) {
    mb_map m;
    int rc = mb_file_map(&m, path, e);
    if (rc != MB_OK)
        return rc;
    const size_t head = m.size ? head_of(t, &m) : 0;
    if (m.size && m.data[m.size - 1] != '\n')
        rc = mb_fail(e, MB_FORMAT, "%s: its last line is cut short", path);
    if (rc == MB_OK && head)
        rc = keep_head(t, path, &m, head, e);
    if (rc == MB_OK && m.size > head) {
        for (const unsigned char *c = m.data + head; (c = memchr(c, '\n', m.size - (size_t)(c - m.data))); c++)
            t->rows++;
        rc = mb_out_write(t->out, m.data + head, m.size - head, e);
    }
    mb_file_unmap(&m);
    return rc;
}

static int gather_text(char *const *part, int n, pipe_kind kind, mb_out *out, int64_t *rows, mb_err *e) {
    text_parts t = {.part = part, .n = n, .kind = kind, .out = out};
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < n; i++)
        rc = add_text(&t, part[i], e);
    *rows = t.rows;
    mb_free(t.head);
    return rc;
}

/* ---- arrays ---------------------------------------------------------------------------------------------------------
 */

static int same_rows(const mb_npy_in *a, const mb_npy_in *b) {
    int same = a->dtype == b->dtype && a->ndim == b->ndim;
    for (int i = 1; same && i < a->ndim; i++)
        same = a->shape[i] == b->shape[i];
    return same;
}

/* Format version 1.0 with the room for its header that the writers of this house take: the first part's, with another
 * number of rows. */
static int put_header(const char *path, const mb_npy_in *first, int64_t rows, mb_out *out, mb_err *e) {
    const size_t n = (size_t)(first->data - first->map.data);
    char *head = mb_malloc(n + 64), number[32];
    if (!head)
        return mb_fail(e, MB_NOMEM, "out of memory for a header");
    memcpy(head, first->map.data, n);
    head[n] = '\0';
    char *at = memmem(head + 10, n - 10, "'shape': (", 10);
    size_t digits = at ? strspn(at + 10, "0123456789") : 0;
    const int m = snprintf(number, sizeof number, "%" PRId64, rows);
    size_t blanks = 0;
    while (blanks + 1 < n && head[n - 2 - blanks] == ' ')
        blanks++;
    int rc = at && digits && head[n - 1] == '\n' && (size_t)m <= digits + blanks
                 ? MB_OK
                 : mb_fail(e, MB_NOTSUP, "%s: its header has no room for %" PRId64 " rows", path, rows);
    if (rc == MB_OK) {
        char *tail = at + 10 + digits;
        const size_t rest = (size_t)(head + n - 1 - blanks - tail); /* the dictionary's end */
        memmove(at + 10 + m, tail, rest);
        memcpy(at + 10, number, (size_t)m);
        char *end = at + 10 + m + rest;
        memset(end, ' ', (size_t)(head + n - 1 - end));
        head[n - 1] = '\n';
        rc = mb_out_write(out, head, n, e);
    }
    mb_free(head);
    return rc;
}

/* A row number before a tab; -1 when it is none. *at moves behind the tab. */
static int64_t read_row(const char **at, const char *stop) {
    int64_t v = 0;
    const char *c = *at;
    while (c < stop && *c >= '0' && *c <= '9' && v < INT64_MAX / 10 - 10)
        v = 10 * v + (*c++ - '0');
    if (c == *at || c == stop || *c != '\t')
        return -1;
    *at = c + 1;
    return v;
}

/* The two row numbers that begin a line; returns how long they are, without the tab behind them, 0 when they are none.
 */
static size_t read_rows(const char *line, const char *stop, int64_t *from, int64_t *to) {
    const char *at = line;
    *from = read_row(&at, stop);
    *to = *from < 0 ? -1 : read_row(&at, stop);
    return *to < 0 ? 0 : (size_t)(at - line) - 1;
}

/* Lines of an index: its first two columns are rows, and those of part i begin where the parts before end. */
static int add_index(const char *path, int64_t before, int64_t rows, int *titled, mb_out *out, mb_err *e) {
    mb_map m;
    int64_t line = 0, row = 0;
    int rc = mb_file_map(&m, path, e);
    if (rc != MB_OK)
        return rc;
    for (const char *at = (const char *)m.data, *end = m.size ? at + m.size : at; rc == MB_OK && at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        int64_t from, to;
        size_t used;
        if (!stop) {
            rc = mb_fail(e, MB_FORMAT, "%s: its last line is cut short", path);
            break;
        }
        if (line == 0) {
            if (!(*titled)++)
                rc = mb_out_write(out, at, (size_t)(stop + 1 - at), e);
        } else if (!(used = read_rows(at, stop, &from, &to)) || from != row || to <= from) {
            rc = mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": no line of an index", path, line + 1);
        } else {
            row = to;
            rc = mb_out_printf(out, e, "%" PRId64 "\t%" PRId64, before + from, before + to);
            if (rc == MB_OK)
                rc = mb_out_write(out, at + used, (size_t)(stop + 1 - at) - used, e);
        }
        at = stop + 1;
    }
    if (rc == MB_OK && row != rows)
        rc = mb_fail(e, MB_FORMAT, "%s: ends at row %" PRId64 ", but the array has %" PRId64, path, row, rows);
    mb_file_unmap(&m);
    return rc;
}

typedef struct array_parts {
    char *const *part;
    mb_npy_in *npy; /* (n) */
    int n;
    int64_t rows;
    int indexed; /* parts that have an index */
} array_parts;

static int open_arrays(array_parts *a, mb_err *e) {
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < a->n; i++) {
        rc = mb_npy_in_open(&a->npy[i], a->part[i], e);
        if (rc == MB_OK && !same_rows(&a->npy[0], &a->npy[i]))
            rc = mb_fail(e, MB_FORMAT, "%s: has another type or shape than %s", a->part[i], a->part[0]);
        if (rc == MB_OK && __builtin_add_overflow(a->rows, a->npy[i].shape[0], &a->rows))
            rc = mb_fail(e, MB_RANGE, "%s: too many rows", a->part[i]);
        char *index = rc == MB_OK ? mb_asprintf("%s.index.tsv", a->part[i]) : NULL;
        if (rc == MB_OK && !index)
            rc = mb_fail(e, MB_NOMEM, "out of memory for a path");
        a->indexed += index && mb_file_exists(index);
        mb_free(index);
    }
    if (rc == MB_OK && a->indexed && a->indexed != a->n)
        rc = mb_fail(e, MB_NOTFOUND, "%d of %d parts have a .index.tsv; all or none must", a->indexed, a->n);
    return rc;
}

static int write_arrays(const array_parts *a, mb_out *out[2], mb_err *e) {
    int titled = 0, rc = put_header(a->part[0], &a->npy[0], a->rows, out[1], e);
    int64_t before = 0;
    for (int i = 0; rc == MB_OK && i < a->n; i++) {
        const mb_npy_in *p = &a->npy[i];
        const size_t bytes = (size_t)p->shape[0] * (size_t)p->row * (size_t)mb_dtype_bytes(p->dtype);
        if (bytes)
            rc = mb_out_write(out[1], p->data, bytes, e);
        char *index = rc == MB_OK && out[0] ? mb_asprintf("%s.index.tsv", a->part[i]) : NULL;
        if (rc == MB_OK && out[0])
            rc = index ? add_index(index, before, p->shape[0], &titled, out[0], e)
                       : mb_fail(e, MB_NOMEM, "out of memory for a path");
        mb_free(index);
        before += p->shape[0];
    }
    return rc;
}

static int gather_arrays(char *const *part, int n, const char *output, mb_out *out[2], int64_t *rows, mb_err *e) {
    array_parts a = {.part = part, .n = n, .npy = mb_calloc((size_t)n, sizeof *a.npy)};
    int rc = a.npy ? open_arrays(&a, e) : mb_fail(e, MB_NOMEM, "out of memory for %d parts", n);
    if (rc == MB_OK && a.indexed) {
        char *index = mb_asprintf("%s.index.tsv", output);
        rc = index ? mb_out_create(&out[0], index, e) : mb_fail(e, MB_NOMEM, "out of memory for a path");
        mb_free(index);
    }
    if (rc == MB_OK)
        rc = write_arrays(&a, out, e);
    *rows = a.rows;
    for (int i = 0; a.npy && i < n; i++)
        mb_npy_in_close(&a.npy[i]);
    mb_free(a.npy);
    return rc;
}

int pipe_gather(char *const *part, int n, const char *output, mb_out *out[2], int64_t *rows, mb_err *e) {
    const pipe_kind kind = pipe_gather_kind(output);
    out[0] = out[1] = NULL;
    if (kind == PIPE_KIND_NONE)
        return mb_fail(e, MB_NOTSUP,
                       "%s: parts are put together of .npy, .tsv, .bed, .bedgraph and .vcf; not yet of .h5, "
                       ".bw, .bam and compressed text",
                       output);
    for (int i = 0; i < n; i++)
        if (pipe_gather_kind(part[i]) != kind)
            return mb_fail(e, MB_USAGE, "%s: is no part of a file like %s", part[i], output);
    int rc = mb_out_create(&out[1], output, e);
    if (rc == MB_OK)
        rc = kind == PIPE_KIND_NPY ? gather_arrays(part, n, output, out, rows, e)
                                   : gather_text(part, n, kind, out[1], rows, e);
    if (rc != MB_OK) {
        mb_out_abort(out[0]);
        mb_out_abort(out[1]);
        out[0] = out[1] = NULL;
    }
    return rc;
}
