/* Runs of values to bigWig, or to bedGraph with one line a value: contig, start, end, value, tab-separated, 0-based
 * half open, seven digits. Refuses endings that name neither, and tracks without a single value. */
#include "genomics/track_out.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "core/file.h"
#include "core/mem.h"

struct dna_track_out {
    const dna_bigwig_contigs *contigs;
    char *path;
    dna_bigwig *wig; /* or */
    mb_out *text;
    dna_track_sums sums;
};

static int ends_with(const char *path, const char *end) {
    const size_t n = strlen(path), m = strlen(end);
    return n > m && strcasecmp(path + n - m, end) == 0;
}

int dna_track_format_of(const char *path, int *format, mb_err *e) {
    *format = DNA_BIGWIG;
    if (ends_with(path, ".bw") || ends_with(path, ".bigwig"))
        return MB_OK;
    *format = DNA_BEDGRAPH;
    if (ends_with(path, ".bedgraph") || ends_with(path, ".bdg") || ends_with(path, ".bg") || mb_path_is_direct(path))
        return MB_OK;
    return mb_fail(e, MB_USAGE, "%s: a track is bigWig (.bw, .bigwig) or bedGraph (.bedgraph, .bdg, .bg, or -)", path);
}

int dna_track_create(dna_track_out **out, const char *path, const dna_bigwig_contigs *contigs, int zooms, mb_err *e) {
    int format;
    *out = NULL;
    dna_track_out *t = mb_calloc(1, sizeof *t);
    if (!t)
        return mb_fail(e, MB_NOMEM, "%s: no memory for a track", path);
    *t = (dna_track_out){.contigs = contigs, .sums = {.least = INFINITY, .most = -INFINITY}};
    int rc = (t->path = mb_strdup(path)) ? dna_track_format_of(path, &format, e)
                                         : mb_fail(e, MB_NOMEM, "%s: no memory for its name", path);
    if (rc == MB_OK)
        rc = format == DNA_BIGWIG ? dna_bigwig_create(&t->wig, path, contigs, zooms, e)
                                  : mb_out_create(&t->text, path, e);
    if (rc)
        dna_track_abort(t);
    else
        *out = t;
    return rc;
}

static int put_run(dna_track_out *t, int64_t contig, int64_t start, int64_t span, const float *value, int64_t n,
                   mb_err *e) {
    int rc = MB_OK;
    for (int64_t i = 0; i < n; i++) {
        t->sums.sum += (double)value[i] * (double)span;
        t->sums.least = fmin(t->sums.least, value[i]);
        t->sums.most = fmax(t->sums.most, value[i]);
    }
    t->sums.bases += n * span;
    if (t->wig)
        return dna_bigwig_put(t->wig, contig, start, span, value, n, e);
    for (int64_t i = 0; rc == MB_OK && i < n; i++)
        rc = mb_out_printf(t->text, e, "%s\t%" PRId64 "\t%" PRId64 "\t%.7g\n", t->contigs->name[contig],
                           start + i * span, start + (i + 1) * span, value[i]);
    return rc;
}

int dna_track_put(dna_track_out *t, int64_t contig, int64_t start, int64_t span, const float *value, int64_t n,
                  mb_err *e) {
    int rc = MB_OK;
    for (int64_t i = 0, from; rc == MB_OK && i < n;) {
        while (i < n && isnan(value[i]))
            i++;
        for (from = i; i < n && !isnan(value[i]);)
            i++;
        if (i > from)
            rc = put_run(t, contig, start + from * span, span, value + from, i - from, e);
    }
    return rc;
}

dna_track_sums dna_track_sum(const dna_track_out *t) {
    return t->sums;
}

static void free_track(dna_track_out *t) {
    mb_free(t->path);
    mb_free(t);
}

int dna_track_commit(dna_track_out *t, mb_err *e) {
    if (t->sums.bases == 0) {
        int rc = mb_fail(e, MB_FORMAT, "%s: there is no value to write (only N, or windows that do not fit)", t->path);
        dna_track_abort(t);
        return rc;
    }
    int rc = t->wig ? dna_bigwig_commit(t->wig, e) : mb_out_commit(t->text, e);
    free_track(t);
    return rc;
}

void dna_track_abort(dna_track_out *t) {
    if (!t)
        return;
    dna_bigwig_abort(t->wig);
    mb_out_abort(t->text);
    free_track(t);
}
