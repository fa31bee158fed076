/* See curves.h. Lines that are no records are passed over. */
#include "pipelines/curves.h"

#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/mem.h"

enum { MOST_BYTES = 64 << 20 };

typedef struct curve {
    double *x, *y; /* (n) */
    int64_t n, room;
} curve;

static int add_point(curve *c, double x, double y, mb_err *e) {
    if (c->n == c->room) {
        const int64_t room = c->room ? 2 * c->room : 256;
        double *a = mb_realloc_array(c->x, (size_t)room, sizeof *a);
        if (a)
            c->x = a;
        double *b = a ? mb_realloc_array(c->y, (size_t)room, sizeof *b) : NULL;
        if (!b)
            return mb_fail(e, MB_NOMEM, "no memory for a curve of %lld points", (long long)room);
        c->y = b;
        c->room = room;
    }
    c->x[c->n] = x;
    c->y[c->n++] = y;
    return MB_OK;
}

static int get(const mb_yaml_node *map, const char *key, double *v) {
    const mb_yaml_node *n = mb_yaml_get(map, key);
    char *end;
    if (!n || n->kind != MB_YAML_SCALAR)
        return 0;
    *v = strtod(n->text, &end);
    return end != n->text && !*end;
}

static int take_line(curve both[2], const char *line, mb_err *e) {
    mb_yaml *y = NULL;
    double step, loss;
    int rc = mb_yaml_parse_raw(&y, "metrics.jsonl", line, strlen(line), NULL);
    const mb_yaml_node *m = rc == MB_OK ? mb_yaml_root(y) : NULL, *kind = mb_yaml_get(m, "kind");
    if (rc == MB_NOMEM)
        rc = mb_fail(e, rc, "no memory for a record");
    else
        rc = MB_OK;
    if (kind && kind->kind == MB_YAML_SCALAR && get(m, "step", &step) && get(m, "loss", &loss))
        rc = add_point(&both[strcmp(kind->text, "train") != 0], step, loss, e);
    mb_yaml_free(y);
    return rc;
}

int pipe_curves_add(mb_page *page, const char *path, const char *title, mb_err *e) {
    curve both[2] = {{0}};
    char *text = NULL;
    size_t n;
    if (!mb_file_exists(path))
        return MB_OK;
    int rc = mb_file_read_all(path, MOST_BYTES, &text, &n, e);
    for (char *line = rc == MB_OK ? text : NULL, *next; rc == MB_OK && line && *line; line = next) {
        if ((next = strchr(line, '\n')))
            *next++ = '\0';
        rc = take_line(both, line, e);
    }
    mb_series series[2];
    static const char *const NAME[] = {"training", "held out"};
    int m = 0;
    for (int i = 0; i < 2; i++)
        if (both[i].n)
            series[m++] = (mb_series){.name = NAME[i],
                                      .kind = both[i].n > 1 ? MB_SERIES_LINE : MB_SERIES_POINTS,
                                      .x = both[i].x,
                                      .y = both[i].y,
                                      .n = both[i].n};
    if (rc == MB_OK && m)
        mb_page_chart(
            page, &(mb_chart){.title = title, .x_label = "step", .y_label = "loss", .series = series, .n_series = m});
    for (int i = 0; i < 2; i++) {
        mb_free(both[i].x);
        mb_free(both[i].y);
    }
    mb_free(text);
    return rc;
}
