/* See contig_map.h. */
#include "genomics/contig_map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"

#define MAX_BYTES ((size_t)1 << 28)

static int by_name(const void *a, const void *b) {
    const struct dna_contig_pair *x = a, *y = b;
    return strcmp(x->from, y->from);
}

static int add_line(dna_contig_map *m, char *line, int64_t *capacity, const char *path, int64_t number, mb_err *e) {
    char *rest = NULL, *from = strtok_r(line, " \t\r", &rest), *to = strtok_r(NULL, " \t\r", &rest);
    if (!from || *from == '#')
        return MB_OK;
    if (!to || strtok_r(NULL, " \t\r", &rest))
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": expected two names, of the VCF and of the reference", path,
                       number);
    if (m->n == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 64;
        struct dna_contig_pair *more = mb_realloc_array(m->pair, (size_t)*capacity, sizeof *more);
        if (!more)
            return mb_fail(e, MB_NOMEM, "%s: no memory for %" PRId64 " names", path, *capacity);
        m->pair = more;
    }
    m->pair[m->n++] = (struct dna_contig_pair){.from = from, .to = to};
    return MB_OK;
}

int dna_contig_map_read(dna_contig_map *m, const char *path, mb_err *e) {
    size_t size = 0;
    int64_t capacity = 0, number = 0;
    *m = (dna_contig_map){0};
    int rc = mb_file_read_all(path, MAX_BYTES, &m->text, &size, e);
    if (!rc && strlen(m->text) != size)
        rc = mb_fail(e, MB_FORMAT, "%s: holds a zero byte, so it is no text of two columns", path);
    for (char *line = m->text, *next; !rc && line && *line; line = next) {
        next = line + strcspn(line, "\n");
        if (*next)
            *next++ = 0;
        rc = add_line(m, line, &capacity, path, ++number, e);
    }
    if (!rc && m->n == 0)
        rc = mb_fail(e, MB_FORMAT, "%s: holds no names", path);
    if (!rc)
        qsort(m->pair, (size_t)m->n, sizeof *m->pair, by_name);
    for (int64_t i = 1; !rc && i < m->n; i++)
        if (strcmp(m->pair[i - 1].from, m->pair[i].from) == 0)
            rc = mb_fail(e, MB_FORMAT, "%s: maps '%s' twice", path, m->pair[i].from);
    if (rc)
        dna_contig_map_fini(m);
    return rc;
}

const char *dna_contig_map_find(const dna_contig_map *m, const char *from) {
    const struct dna_contig_pair key = {.from = from};
    const struct dna_contig_pair *found = m->n ? bsearch(&key, m->pair, (size_t)m->n, sizeof key, by_name) : NULL;
    return found ? found->to : from;
}

void dna_contig_map_fini(dna_contig_map *m) {
    mb_free(m->text);
    mb_free(m->pair);
    *m = (dna_contig_map){0};
}
