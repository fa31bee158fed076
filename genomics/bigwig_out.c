/* bigWig through libBigWig. The library ignores most failed writes, so its file handle is exchanged for one whose bytes
 * go through the mb_out: there the first failure sticks and is told. It also leaves 0 as the greatest value of a file
 * whose values are all negative; minimum and maximum are put right here before it writes them. Refuses more contigs
 * than its list of contigs can hold, and contigs of 2^32 bases or more. */
#include "genomics/bigwig_out.h"

#define NOCURL 1 /* only files; the layout of its structs is the same */
#include <bigWig.h>
#include <bwCommon.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/mem.h"

enum { MAX_CONTIGS = 65535, ZOOM_LEVELS = 10 };
#define PUT_VALUES ((int64_t)1 << 24) /* of one call of the library, which counts in 32 bits */

struct dna_bigwig {
    mb_out *out;
    char *path;
    bigWigFile_t *file;
    const dna_bigwig_contigs *contigs;
    int64_t at, written;       /* of the stream, in bytes: where it stands, where it ends */
    int64_t contig, end, span; /* where the last run ended; contig -1 at the start */
    double least, most;
    int64_t values;
    mb_err first; /* what went wrong in a write of the library, told later */
};

int dna_bigwig_available(void) {
    return 1;
}

/* The first level has a record of 32 bytes for every 10 bases, each further one a quarter of that; and list overhead.
 */
int64_t dna_bigwig_zoom_bytes(int64_t values) {
    return values * 10 + ((int64_t)1 << 21);
}

/* ---- the stream under the library -----------------------------------------------------------------------------------
 */

static ssize_t stream_read(void *user, char *data, size_t n) {
    dna_bigwig *w = user;
    ssize_t got;
    do
        got = pread(mb_out_fd(w->out), data, n, (off_t)w->at);
    while (got < 0 && errno == EINTR);
    if (got > 0)
        w->at += got;
    return got;
}

/* A failed write is kept and told to the library as a success: the ways it ends early leak what it holds. */
static ssize_t stream_write(void *user, const char *data, size_t n) {
    dna_bigwig *w = user;
    if (w->first.status == MB_OK && mb_out_pwrite(w->out, data, n, w->at, &w->first) == MB_OK)
        w->written = w->at + (int64_t)n > w->written ? w->at + (int64_t)n : w->written;
    w->at += (int64_t)n;
    return (ssize_t)n;
}

static int stream_seek(void *user, off64_t *to, int whence) {
    dna_bigwig *w = user;
    off64_t base = whence == SEEK_SET ? 0 : w->at;
    if (whence == SEEK_END)
        base = w->written;
    if (base < 0 || base + *to < 0)
        return -1;
    *to = w->at = base + *to;
    return 0;
}

static int exchange_stream(dna_bigwig *w, mb_err *e) {
    const cookie_io_functions_t calls = {.read = stream_read, .write = stream_write, .seek = stream_seek};
    FILE *ours = fopencookie(w, "w+", calls);
    if (!ours)
        return mb_fail(e, MB_NOMEM, "%s: no memory for the bigWig writer", w->path);
    fclose(w->file->URL->x.fp);
    w->file->URL->x.fp = ours;
    return MB_OK;
}

/* ---- writing --------------------------------------------------------------------------------------------------------
 */

/* What the stream said, or else that the library gave up, which it does without saying why. */
static int fail_write(const dna_bigwig *w, mb_err *e) {
    if (w->first.status)
        return mb_fail(e, w->first.status, "%s", w->first.text);
    return mb_fail(e, MB_FAIL, "%s: the bigWig library could not go on (memory?)", w->path);
}

static int copy_contigs(dna_bigwig *w, const dna_bigwig_contigs *c, mb_err *e) {
    uint32_t *length = mb_calloc((size_t)c->n + 1, sizeof *length);
    int rc = length ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory for %" PRId64 " contigs", w->path, c->n);
    for (int64_t i = 0; rc == MB_OK && i < c->n; i++) {
        if (c->length[i] > UINT32_MAX)
            rc = mb_fail(e, MB_NOTSUP, "%s: contig '%s' is too long for bigWig; write .bedgraph", w->path, c->name[i]);
        else
            length[i] = (uint32_t)c->length[i];
    }
    if (rc == MB_OK && !(w->file->cl = bwCreateChromList((const char *const *)c->name, length, c->n)))
        rc = mb_fail(e, MB_NOMEM, "%s: no memory for %" PRId64 " contigs", w->path, c->n);
    mb_free(length);
    return rc;
}

int dna_bigwig_create(dna_bigwig **out, const char *path, const dna_bigwig_contigs *contigs, int zooms, mb_err *e) {
    *out = NULL;
    if (contigs->n > MAX_CONTIGS)
        return mb_fail(e, MB_NOTSUP, "%s: %" PRId64 " contigs, this writer of bigWig takes at most %d; write .bedgraph",
                       path, contigs->n, MAX_CONTIGS);
    dna_bigwig *w = mb_calloc(1, sizeof *w);
    if (!w)
        return mb_fail(e, MB_NOMEM, "%s: no memory for the bigWig writer", path);
    *w = (dna_bigwig){.contigs = contigs, .contig = -1, .least = INFINITY, .most = -INFINITY};
    int rc = (w->path = mb_strdup(path)) ? mb_out_create(&w->out, path, e)
                                         : mb_fail(e, MB_NOMEM, "%s: no memory for its name", path);
    if (rc == MB_OK && strcmp(mb_out_temp_path(w->out), path) == 0)
        rc = mb_fail(e, MB_USAGE, "%s: bigWig needs a regular file, since its parts are written in any order", path);
    if (rc == MB_OK && !(w->file = bwOpen(mb_out_temp_path(w->out), NULL, "w")))
        rc = mb_fail(e, MB_IO, "%s: cannot be opened by the bigWig library", mb_out_temp_path(w->out));
    if (rc == MB_OK)
        rc = exchange_stream(w, e);
    if (rc == MB_OK && bwCreateHdr(w->file, zooms ? ZOOM_LEVELS : 0))
        rc = mb_fail(e, MB_NOMEM, "%s: no memory for the bigWig writer", path);
    if (rc == MB_OK)
        rc = copy_contigs(w, contigs, e);
    if (rc == MB_OK && bwWriteHdr(w->file))
        rc = fail_write(w, e);
    if (rc)
        dna_bigwig_abort(w);
    else
        *out = w;
    return rc;
}

static int put_some(dna_bigwig *w, int64_t contig, int64_t start, int64_t span, const float *value, int64_t n,
                    mb_err *e) {
    const uint32_t s = (uint32_t)span, count = (uint32_t)n;
    const int on = w->contig == contig && w->end == start && w->span == span;
    if (on ? bwAppendIntervalSpanSteps(w->file, value, count)
           : bwAddIntervalSpanSteps(w->file, w->contigs->name[contig], (uint32_t)start, s, s, value, count))
        return fail_write(w, e);
    w->contig = contig;
    w->end = start + n * span;
    w->span = span;
    return w->first.status ? fail_write(w, e) : MB_OK;
}

int dna_bigwig_put(dna_bigwig *w, int64_t contig, int64_t start, int64_t span, const float *value, int64_t n,
                   mb_err *e) {
    MB_ASSERT(contig >= w->contig && contig < w->contigs->n && (contig > w->contig || start >= w->end));
    MB_ASSERT(span > 0 && start >= 0 && start + n * span <= w->contigs->length[contig]);
    int rc = MB_OK;
    for (int64_t i = 0; i < n; i++) {
        MB_ASSERT(!isnan(value[i]));
        w->least = fmin(w->least, value[i]);
        w->most = fmax(w->most, value[i]);
    }
    w->values += n;
    for (int64_t at = 0; rc == MB_OK && at < n; at += PUT_VALUES) {
        const int64_t part = n - at < PUT_VALUES ? n - at : PUT_VALUES;
        rc = put_some(w, contig, start + at * span, span, value + at, part, e);
    }
    return rc;
}

/* Index nodes that are no tree yet: the library forgets them. */
static void free_index_list(bigWigFile_t *f) {
    bwLL *next = f->idx || !f->writeBuffer ? NULL : f->writeBuffer->firstIndexNode;
    for (bwLL *l; (l = next);) {
        next = l->next;
        bwDestroyIndexNode(l->node);
        free(l);
    }
}

static void free_writer(dna_bigwig *w) {
    mb_free(w->path);
    mb_free(w);
}

/* The values that the library still holds, to the disk: the summaries are made from what is read back, and it crashes
 * over values that are not there. It writes what it holds before it looks for the contig of the next run. */
static int flush_values(dna_bigwig *w) {
    const float none = 0;
    (void)bwAddIntervalSpanSteps(w->file, "\n", 0, 1, 1, &none, 1);
    w->file->writeBuffer->ltype = 0; /* nothing is held: or it would write a block without values */
    return fflush(w->file->URL->x.fp) || w->first.status;
}

int dna_bigwig_commit(dna_bigwig *w, mb_err *e) {
    if (w->values == 0) {
        int rc = mb_fail(e, MB_FORMAT, "%s: there is no value to write", w->path);
        dna_bigwig_abort(w);
        return rc;
    }
    if (flush_values(w)) {
        int rc = fail_write(w, e);
        dna_bigwig_abort(w);
        return rc;
    }
    w->file->hdr->minVal = w->least;
    w->file->hdr->maxVal = w->most;
    const int failed = bwFinalize(w->file);
    w->file->isWrite = 0; /* or closing would do it again */
    if (fflush(w->file->URL->x.fp) || failed || w->first.status) {
        int rc = fail_write(w, e);
        dna_bigwig_abort(w);
        return rc;
    }
    bwClose(w->file);
    int rc = mb_out_commit(w->out, e);
    free_writer(w);
    return rc;
}

void dna_bigwig_abort(dna_bigwig *w) {
    if (!w)
        return;
    if (w->file) {
        free_index_list(w->file);
        w->file->isWrite = 0;
        bwClose(w->file);
    }
    mb_out_abort(w->out);
    free_writer(w);
}
