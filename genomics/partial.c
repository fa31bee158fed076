/* Journal: a line "dna-mamba journal 1 DIGEST", then for each batch
 *     ITEMS ROWS DATA_END INDEX_END DATA_CRC INDEX_CRC INPUT_CRC LINE_CRC
 * (totals so far; CRC-32 in hex, of this batch's part of each file and of the line before it), then "complete". A line
 * is written and synced after the data and the index that it vouches for. On resuming, lines are believed up to the
 * first that is torn or whose data does not match; what follows is cut off. Refuses to go on for another digest. */
#include "genomics/partial.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "genomics/record.h"

#define MAGIC       "dna-mamba journal 1"
#define COMPLETE    "complete"
#define MAX_JOURNAL ((size_t)1 << 30)
enum { BLOCK = 1 << 20 };

typedef struct entry { /* totals after a batch, checksums of the batch */
    int64_t items, rows, data_end, index_end;
    uint32_t data_crc, index_crc, input_crc;
} entry;

struct dna_partial {
    char *path;
    mb_out *data, *index, *journal; /* index may be NULL; journal NULL when direct */
    int64_t head, index_end;        /* index_end: where the batch being written has come to */
    int64_t index_size;             /* as found on opening */
    int complete, finished;         /* finished: all renames were done, only the journal was left */
    entry *entry;                   /* (n) */
    int64_t n, capacity;
};

/* ---- reading back -------------------------------------------------------------------------------------------------
 */

static int read_back(mb_out *o, void *data, int64_t n, int64_t at, mb_err *e) {
    int fd = mb_out_fd(o);
    for (char *p = data; n > 0;) {
        ssize_t got = pread(fd, p, (size_t)n, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mb_fail_errno(e, MB_IO, "%s: cannot be read back", mb_out_temp_path(o));
        if (got == 0)
            return mb_fail(e, MB_IO, "%s: ends at byte %" PRId64 ", before what was written", mb_out_temp_path(o), at);
        p += got;
        at += got;
        n -= got;
    }
    return MB_OK;
}

static int crc_of(mb_out *o, int64_t from, int64_t to, uint32_t *crc, mb_err *e) {
    *crc = 0;
    char *block = mb_malloc(BLOCK);
    int rc = block ? MB_OK : mb_fail(e, MB_NOMEM, "no memory to check what was written");
    for (int64_t at = from; !rc && at < to;) {
        int64_t n = to - at < BLOCK ? to - at : BLOCK;
        if (!(rc = read_back(o, block, n, at, e)))
            *crc = (uint32_t)crc32_z(*crc, (const Bytef *)block, (size_t)n);
        at += n;
    }
    mb_free(block);
    return rc;
}

static entry last(const dna_partial *p) {
    return p->n ? p->entry[p->n - 1] : (entry){.data_end = p->head};
}

static int append(dna_partial *p, const entry *new, mb_err *e) {
    if (p->n == p->capacity) {
        int64_t capacity = p->capacity ? 2 * p->capacity : 64;
        entry *grown = mb_realloc_array(p->entry, (size_t)capacity, sizeof *grown);
        if (!grown)
            return mb_fail(e, MB_NOMEM, "%s: no memory for its journal", p->path);
        p->entry = grown;
        p->capacity = capacity;
    }
    p->entry[p->n++] = *new;
    return MB_OK;
}

/* ---- the journal's text -------------------------------------------------------------------------------------------
 */

enum { LINE = 192 };

static int format_line(const entry *n, char *line) {
    int used =
        snprintf(line, LINE, "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %08" PRIx32 " %08" PRIx32 " %08" PRIx32,
                 n->items, n->rows, n->data_end, n->index_end, n->data_crc, n->index_crc, n->input_crc);
    uint32_t crc = (uint32_t)crc32_z(0, (const Bytef *)line, (size_t)used);
    return used + snprintf(line + used, (size_t)(LINE - used), " %08" PRIx32 "\n", crc);
}

/* Whether line (without its end) is what format_line would write for some entry that follows before. */
static int parse_line(const char *line, const entry *before, entry *n) {
    char again[LINE];
    int64_t crc[4] = {0};
    const char *at = line;
    if (!dna_take_number(&at, 10, ' ', &n->items) || !dna_take_number(&at, 10, ' ', &n->rows) ||
        !dna_take_number(&at, 10, ' ', &n->data_end) || !dna_take_number(&at, 10, ' ', &n->index_end))
        return 0;
    for (int i = 0; i < 4; i++)
        if (!dna_take_number(&at, 16, i < 3 ? ' ' : 0, &crc[i]))
            return 0;
    n->data_crc = (uint32_t)crc[0];
    n->index_crc = (uint32_t)crc[1];
    n->input_crc = (uint32_t)crc[2];
    int length = format_line(n, again);
    return strncmp(line, again, (size_t)length - 1) == 0 && line[length - 1] == 0 && n->items > before->items &&
           n->rows >= before->rows && n->data_end >= before->data_end && n->index_end >= before->index_end;
}

/* Fills entries from the journal's text; *good: bytes of it that are believed. */
static int parse_journal(dna_partial *p, char *text, const char *digest, int64_t *good, mb_err *e) {
    char first[128];
    int length = snprintf(first, sizeof first, MAGIC " %s\n", digest);
    *good = 0;
    if (!strchr(text, '\n'))
        return MB_OK; /* died before the first line was whole */
    if (strncmp(text, MAGIC " ", strlen(MAGIC) + 1) != 0)
        return mb_fail(e, MB_FORMAT, "%s: is not the journal of an interrupted run; remove it, or leave --resume out",
                       mb_out_temp_path(p->journal));
    if (strncmp(text, first, (size_t)length) != 0)
        return mb_fail(e, MB_USAGE,
                       "%s: the interrupted run had other options, input, model or processor, so its rows cannot be "
                       "continued; repeat it exactly, or leave --resume out to start over",
                       p->path);
    char *line = text + length;
    *good = length;
    for (char *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        entry n, before = last(p);
        if (strcmp(line, COMPLETE) == 0)
            p->complete = 1;
        else if (p->complete || !parse_line(line, &before, &n))
            break;
        else if (append(p, &n, e))
            return MB_NOMEM;
        *good = end + 1 - text;
    }
    return MB_OK;
}

static int read_journal(dna_partial *p, int64_t size, const char *digest, mb_err *e) {
    if ((uint64_t)size > MAX_JOURNAL)
        return mb_fail(e, MB_FORMAT, "%s: is not a journal", mb_out_temp_path(p->journal));
    char *text = mb_calloc((size_t)size + 1, 1);
    int64_t good = 0;
    int rc = text ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory for its journal", p->path);
    if (!rc)
        rc = read_back(p->journal, text, size, 0, e);
    if (!rc)
        rc = parse_journal(p, text, digest, &good, e);
    if (!rc)
        rc = mb_out_truncate(p->journal, good, e);
    mb_free(text);
    return rc;
}

/* ---- opening ------------------------------------------------------------------------------------------------------
 */

/* Drops journal entries whose data is not there as it was written, from the first such on. */
static int check_entries(dna_partial *p, int64_t data_size, mb_err *e) {
    int64_t data_from = p->head, index_from = 0, good = 0;
    for (; good < p->n; good++) {
        const entry *n = &p->entry[good];
        uint32_t data_crc = 0, index_crc = 0;
        if (n->data_end > data_size || (p->index && n->index_end > p->index_size))
            break;
        int rc = crc_of(p->data, data_from, n->data_end, &data_crc, e);
        if (!rc && p->index)
            rc = crc_of(p->index, index_from, n->index_end, &index_crc, e);
        if (rc)
            return rc;
        if (data_crc != n->data_crc || index_crc != n->index_crc)
            break;
        data_from = n->data_end;
        index_from = n->index_end;
    }
    if (good == p->n)
        return MB_OK;
    mb_warn("%s: batches from %" PRId64 " on do not match their checksums and are computed again", p->path, good + 1);
    p->n = good;
    p->complete = 0;
    return MB_OK;
}

/* After a cut: the journal is written again with the entries that stay. */
static int rewrite_journal(dna_partial *p, const char *digest, mb_err *e) {
    char line[LINE];
    int n = snprintf(line, sizeof line, MAGIC " %s\n", digest);
    int rc = mb_out_truncate(p->journal, 0, e);
    if (!rc)
        rc = mb_out_write(p->journal, line, (size_t)n, e);
    for (int64_t i = 0; !rc && i < p->n; i++) {
        n = format_line(&p->entry[i], line);
        rc = mb_out_write(p->journal, line, (size_t)n, e);
    }
    return rc;
}

static int sync_out(mb_out *o, mb_err *e) {
    if (fdatasync(mb_out_fd(o)))
        return mb_fail_errno(e, MB_IO, "%s: cannot be made durable", mb_out_temp_path(o));
    return MB_OK;
}

/* A run that had written everything may have been stopped between its renames: then parts are missing, and rightly. */
static int check_complete(dna_partial *p, int64_t data_size, mb_err *e) {
    p->finished = data_size == 0;
    if (p->finished || (p->index && p->index_size == 0))
        return MB_OK;
    return check_entries(p, data_size, e);
}

static int restore(dna_partial *p, const char *digest, int resume, int64_t data_size, int64_t journal_size, mb_err *e) {
    int rc = MB_OK;
    if (resume && journal_size > 0)
        rc = read_journal(p, journal_size, digest, e);
    else if (journal_size > 0 && data_size > 0)
        mb_warn("%s: an interrupted run is discarded (--resume would have continued it)", p->path);
    if (!rc)
        rc = p->complete ? check_complete(p, data_size, e) : check_entries(p, data_size, e);
    if (rc || p->complete)
        return rc;
    entry safe = last(p);
    p->index_end = safe.index_end;
    rc = rewrite_journal(p, digest, e);
    if (!rc)
        rc = mb_out_truncate(p->data, safe.data_end < data_size ? safe.data_end : data_size, e);
    if (!rc && p->index)
        rc = mb_out_truncate(p->index, safe.index_end, e);
    return rc ? rc : sync_out(p->journal, e);
}

static int open_files(dna_partial *p, const char *index_path, int64_t *data_size, int64_t *journal_size, mb_err *e) {
    char *journal = mb_asprintf("%s.journal", p->path);
    int rc = journal ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory for its journal", p->path);
    if (!rc)
        rc = mb_out_create_partial(&p->data, p->path, data_size, e);
    if (!rc && index_path)
        rc = mb_out_create_partial(&p->index, index_path, &p->index_size, e);
    if (!rc)
        rc = mb_out_create_partial(&p->journal, journal, journal_size, e);
    mb_free(journal);
    return rc;
}

static void free_partial(dna_partial *p) {
    mb_free(p->entry);
    mb_free(p->path);
    mb_free(p);
}

int dna_partial_open(dna_partial **out, const char *path, const char *index_path, const char *digest, int resume,
                     int64_t head, mb_err *e) {
    *out = NULL;
    int64_t data_size = 0, journal_size = 0;
    dna_partial *p = mb_calloc(1, sizeof *p);
    if (!p || !(p->path = mb_strdup(path))) {
        mb_free(p);
        return mb_fail(e, MB_NOMEM, "%s: no memory for the output", path);
    }
    p->head = head;
    int rc;
    if (mb_path_is_direct(path)) {
        rc =
            resume ? mb_fail(e, MB_USAGE, "%s: --resume needs an output file", path) : mb_out_create(&p->data, path, e);
    } else {
        rc = open_files(p, index_path, &data_size, &journal_size, e);
        if (!rc)
            rc = restore(p, digest, resume, data_size, journal_size, e);
    }
    if (!rc) {
        *out = p;
        return MB_OK;
    }
    /* Nothing that was there is removed: another --resume, with the right options, may still use it. */
    mb_err ignored = {0};
    if (p->data && (mb_path_is_direct(path) || (data_size == 0 && p->n == 0)))
        mb_out_abort(p->data);
    else if (p->data)
        (void)!mb_out_keep(p->data, &ignored);
    if (p->index && p->index_size == 0)
        mb_out_abort(p->index);
    else if (p->index)
        (void)!mb_out_keep(p->index, &ignored);
    if (p->journal && journal_size == 0)
        mb_out_abort(p->journal);
    else if (p->journal)
        (void)!mb_out_keep(p->journal, &ignored);
    free_partial(p);
    return rc;
}

/* ---- state --------------------------------------------------------------------------------------------------------
 */

int64_t dna_partial_batches(const dna_partial *p) {
    return p->n;
}

uint32_t dna_partial_input_crc(const dna_partial *p, int64_t batch) {
    MB_ASSERT(batch >= 0 && batch < p->n);
    return p->entry[batch].input_crc;
}

int64_t dna_partial_items(const dna_partial *p) {
    return last(p).items;
}

int64_t dna_partial_rows(const dna_partial *p) {
    return last(p).rows;
}

int64_t dna_partial_end(const dna_partial *p) {
    return last(p).data_end;
}

int dna_partial_is_complete(const dna_partial *p) {
    return p->complete;
}

int dna_partial_is_direct(const dna_partial *p) {
    return p->journal == NULL;
}

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

int dna_partial_put(dna_partial *p, const void *data, int64_t n, int64_t at, mb_err *e) {
    if (dna_partial_is_direct(p))
        return mb_out_write(p->data, data, (size_t)n, e);
    MB_ASSERT(at >= dna_partial_end(p));
    return mb_out_pwrite(p->data, data, (size_t)n, at, e);
}

int dna_partial_put_index(dna_partial *p, const char *text, int64_t n, mb_err *e) {
    MB_ASSERT(p->index);
    p->index_end += n;
    return mb_out_write(p->index, text, (size_t)n, e);
}

int dna_partial_close_batch(dna_partial *p, int64_t items, int64_t rows, int64_t data_end, uint32_t input_crc,
                            mb_err *e) {
    entry before = last(p);
    entry n = {.items = before.items + items,
               .rows = before.rows + rows,
               .data_end = data_end,
               .index_end = p->index_end,
               .input_crc = input_crc};
    char line[LINE];
    int rc = MB_OK;
    if (!dna_partial_is_direct(p)) {
        rc = crc_of(p->data, before.data_end, data_end, &n.data_crc, e);
        if (!rc)
            rc = sync_out(p->data, e);
        if (!rc && p->index)
            rc = crc_of(p->index, before.index_end, n.index_end, &n.index_crc, e);
        if (!rc && p->index)
            rc = sync_out(p->index, e);
        if (!rc)
            rc = mb_out_write(p->journal, line, (size_t)format_line(&n, line), e);
        if (!rc)
            rc = sync_out(p->journal, e);
    }
    return rc ? rc : append(p, &n, e);
}

int dna_partial_get(dna_partial *p, void *data, int64_t n, int64_t at, mb_err *e) {
    return read_back(p->data, data, n, at, e);
}

int dna_partial_get_index(dna_partial *p, void *text, int64_t n, int64_t at, mb_err *e) {
    return read_back(p->index, text, n, at, e);
}

int64_t dna_partial_index_end(const dna_partial *p) {
    return last(p).index_end;
}

/* ---- ending -------------------------------------------------------------------------------------------------------
 */

int dna_partial_complete(dna_partial *p, mb_err *e) {
    if (dna_partial_is_direct(p) || p->complete)
        return MB_OK;
    int rc = mb_out_write(p->journal, COMPLETE "\n", strlen(COMPLETE) + 1, e);
    if (!rc)
        rc = sync_out(p->journal, e);
    p->complete = rc == MB_OK;
    return rc;
}

/* A result of an earlier run goes before the new index and run.json come: data never stands beside those of another. */
static int remove_earlier(const dna_partial *p, mb_err *e) {
    char *target = realpath(p->path, NULL);
    int rc = MB_OK;
    if (target && unlink(target))
        rc = mb_fail_errno(e, MB_IO, "%s: the earlier result cannot be removed", p->path);
    free(target);
    return rc;
}

static int commit_index(dna_partial *p, mb_err *e) {
    mb_out *index = p->index;
    p->index = NULL;
    /* Empty although rows were indexed: a finish was interrupted after the index was renamed, and this one is new. */
    if (p->index_size == 0 && p->index_end == 0 && last(p).index_end > 0) {
        mb_out_abort(index);
        return MB_OK;
    }
    return mb_out_commit(index, e);
}

static int end_kept(dna_partial *p, const dna_ending *how, mb_err *e) {
    int rc = how->head ? mb_out_pwrite(p->data, how->head, (size_t)p->head, 0, e) : MB_OK;
    if (!rc && !dna_partial_is_direct(p))
        rc = remove_earlier(p, e);
    if (!rc && p->index)
        rc = commit_index(p, e);
    if (!rc && how->make)
        rc = how->make(how->user, p, e);
    if (rc)
        return rc;
    mb_out *data = p->data;
    p->data = NULL;
    return mb_out_commit(data, e);
}

static int end_raw(dna_partial *p, const dna_ending *how, mb_err *e) {
    int rc = how->make(how->user, p, e);
    if (rc)
        return rc;
    mb_out_abort(p->data);
    mb_out_abort(p->index);
    p->data = p->index = NULL;
    return MB_OK;
}

int dna_partial_finish(dna_partial *p, const dna_ending *how, mb_err *e) {
    int rc = p->finished ? MB_OK : how->raw ? end_raw(p, how, e) : end_kept(p, how, e);
    if (rc) {
        dna_partial_leave(p);
        return rc;
    }
    mb_out_abort(p->data); /* what is left was opened empty, over names whose files are in place already */
    mb_out_abort(p->index);
    mb_out_abort(p->journal);
    free_partial(p);
    return MB_OK;
}

int dna_partial_leave(dna_partial *p) {
    if (!p)
        return 0;
    const int stays = !dna_partial_is_direct(p) && p->n > 0;
    mb_out *const files[] = {p->data, p->index, p->journal};
    for (int i = 0; i < 3; i++) {
        mb_err ignored = {0};
        if (files[i] && stays)
            (void)!mb_out_keep(files[i], &ignored); /* what the journal vouches for is synced already */
        else
            mb_out_abort(files[i]);
    }
    free_partial(p);
    return stays;
}
