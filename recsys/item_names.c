/* See item_names.h. Refuses files whose first line names no item or no name of it. Of several rows of one item the
 * first counts; malformed rows are counted and passed over. */
#include "recsys/item_names.h"

#include <inttypes.h>
#include <string.h>

#include "core/log.h"
#include "core/mem.h"
#include "recsys/intake.h"

static int rank_of(rec_span name) {
    static const char *const USUAL[] = {"movie_title", "title", "name", "item_name", "itemName", "product_name"};
    for (int i = 0; i < (int)(sizeof USUAL / sizeof *USUAL); i++)
        if (name.n == strlen(USUAL[i]) && memcmp(name.at, USUAL[i], name.n) == 0)
            return i;
    return -1;
}

static int add(rec_item_names *names, int32_t item, rec_span s, mb_err *e) {
    if (names->used + (int64_t)s.n > names->room) {
        const int64_t room = 2 * names->room + (int64_t)s.n + 4096;
        char *text = mb_realloc(names->text, (size_t)room);
        if (!text)
            return mb_fail(e, MB_NOMEM, "no memory for the names of items");
        names->text = text;
        names->room = room;
    }
    memcpy(names->text + names->used, s.at, s.n);
    names->from[item] = names->used;
    names->bytes[item] = (int32_t)s.n;
    names->used += (int64_t)s.n;
    return MB_OK;
}

static int find_names(rec_rows *r, int *item, int *name, mb_err *e) {
    int item_rank = 0, name_rank = 0;
    int rc = rec_rows_header(r, e);
    *item = *name = -1;
    for (int i = 0; rc == MB_OK && i < r->n; i++) {
        const int a = rec_role_rank(REC_ITEM, r->field[i]), b = rank_of(r->field[i]);
        if (a >= 0 && (*item < 0 || a < item_rank)) {
            *item = i;
            item_rank = a;
        }
        if (b >= 0 && (*name < 0 || b < name_rank)) {
            *name = i;
            name_rank = b;
        }
    }
    if (rc == MB_OK && (*item < 0 || *name < 0))
        return mb_fail(
            e, MB_FORMAT,
            "%s:1: no column is called like %s: expected names such as item_id:token and movie_title:token_seq, "
            "or movieId and title",
            r->t->name, *item < 0 ? "an item" : "the name of one");
    return rc;
}

static int read_rows(rec_item_names *names, rec_rows *r, const rec_table *items, mb_err *e) {
    int item, name, more = 1;
    int64_t malformed = 0;
    int rc = find_names(r, &item, &name, e);
    const int expected = r->n;
    while (rc == MB_OK && (rc = rec_rows_next(r, &more, e)) == MB_OK && more) {
        if (r->wrong || r->n != expected || r->field[name].n > REC_NAME_MAX) {
            malformed++;
            continue;
        }
        const int32_t k = rec_table_find(items, r->field[item].at, (int64_t)r->field[item].n);
        if (k >= 0 && names->bytes[k] == 0 && r->field[name].n)
            rc = add(names, k, r->field[name], e);
    }
    if (malformed)
        mb_warn("%s: %" PRId64 " malformed rows were passed over", r->t->name, malformed);
    return rc;
}

static int begin(rec_item_names *names, const rec_table *items, mb_err *e) {
    names->n = items->n;
    names->from = mb_calloc((size_t)items->n, sizeof *names->from);
    names->bytes = mb_calloc((size_t)items->n, sizeof *names->bytes);
    return names->from && names->bytes ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for the names of items");
}

int rec_item_names_read(rec_item_names *names, const char *path, const rec_table *items, mb_err *e) {
    rec_text t;
    rec_rows r = {0};
    const char *look;
    size_t n;
    *names = (rec_item_names){0};
    if (!path)
        return MB_OK;
    int rc = rec_text_open(&t, path, e);
    if (rc != MB_OK)
        return rc;
    rc = begin(names, items, e);
    if (rc == MB_OK)
        rc = rec_text_peek(&t, 65536, &look, &n, e);
    if (rc == MB_OK) {
        const char *end = n ? memchr(look, '\n', n) : NULL;
        size_t first = end ? (size_t)(end - look) : n;
        first -= first && look[first - 1] == '\r';
        const int tabs = first && memchr(look, '\t', first) != NULL;
        rc = rec_rows_open(&r, &t,
                           tabs && rec_rows_is_atomic((rec_span){look, first}) ? REC_FORMAT_INTER : REC_FORMAT_CSV,
                           tabs ? '\t' : ',', e);
    }
    if (rc == MB_OK)
        rc = read_rows(names, &r, items, e);
    rec_rows_close(&r);
    rec_text_close(&t);
    if (rc != MB_OK)
        rec_item_names_free(names);
    return rc;
}

void rec_item_names_free(rec_item_names *names) {
    mb_free(names->from);
    mb_free(names->bytes);
    mb_free(names->text);
    *names = (rec_item_names){0};
}
