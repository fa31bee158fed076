/* Writing VCF and BCF. See vcf.h. The library writes to the descriptor of a temporary file. An index is made where one
 * can be: of compressed files, not of pipes and devices, with contigs in one piece each and positions ascending; .tbi
 * for VCF whose positions it can hold (below 2^29), else .csi. Refuses, for BCF, records with undeclared contigs or
 * tags, which it cannot hold. */
#include <errno.h>
#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <htslib/tbx.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "core/mem.h"
#include "genomics/vcf.h"

#define TBI_LIMIT ((int64_t)1 << 29)

struct dna_vcf_out {
    mb_out *data, *index;
    htsFile *hts;
    bcf_hdr_t *header;
    char *path, *stale[2]; /* stale: names that an index of this file may have */
    int kind, has_index, is_csi, direct;
    int sorted;
    int32_t contig; /* of the last record, -1 before the first */
    int64_t pos, highest;
    char *seen; /* (n_seen) contigs that had records */
    int32_t n_seen;
};

static int close_hts(dna_vcf_out *o) {
    htsFile *f = o->hts;
    o->hts = NULL;
    return f ? hts_close(f) : 0;
}

static void free_out(dna_vcf_out *o) {
    mb_free(o->stale[0]);
    mb_free(o->stale[1]);
    mb_free(o->seen);
    mb_free(o->path);
    mb_free(o);
}

void dna_vcf_out_abort(dna_vcf_out *o) {
    if (!o)
        return;
    (void)!close_hts(o);
    mb_out_abort(o->data);
    mb_out_abort(o->index);
    free_out(o);
}

static int fail_write(const dna_vcf_out *o, mb_err *e) {
    if (errno)
        return mb_fail_errno(e, MB_IO, "%s: cannot be written", o->path);
    return mb_fail(e, MB_IO, "%s: cannot be written", o->path);
}

static int open_hts(dna_vcf_out *o, const char *path, mb_err *e) {
    static const char *const mode[] = {"w", "wz", "wb"};
    errno = 0;
    const int fd = dup(mb_out_fd(o->data));
    hFILE *file = fd < 0 ? NULL : hdopen(fd, "w");
    if (!file && fd >= 0)
        close(fd);
    if (file && !(o->hts = hts_hopen(file, path, mode[o->kind])))
        hclose_abruptly(file);
    if (!o->hts || bcf_hdr_write(o->hts, o->header) != 0)
        return fail_write(o, e);
    return MB_OK;
}

int dna_vcf_out_open(dna_vcf_out **out, const char *path, int kind, bcf_hdr_t *header, mb_err *e) {
    *out = NULL;
    dna_vcf_out *o = mb_calloc(1, sizeof *o);
    if (!o)
        return mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
    *o = (dna_vcf_out){.header = header, .kind = kind, .sorted = 1, .contig = -1, .direct = mb_path_is_direct(path)};
    o->path = mb_strdup(strcmp(path, "-") == 0 ? "standard output" : path);
    o->stale[0] = mb_asprintf("%s.tbi", path);
    o->stale[1] = mb_asprintf("%s.csi", path);
    int rc = o->path && o->stale[0] && o->stale[1] ? mb_out_create(&o->data, path, e)
                                                   : mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
    if (!rc)
        rc = open_hts(o, path, e);
    if (rc)
        dna_vcf_out_abort(o);
    else
        *out = o;
    return rc;
}

static int note_order(dna_vcf_out *o, const bcf1_t *r, mb_err *e) {
    if (r->rid >= o->n_seen) {
        const int32_t n = r->rid + r->rid / 2 + 16;
        char *more = mb_realloc(o->seen, (size_t)n);
        if (!more)
            return mb_fail(e, MB_NOMEM, "%s: no memory for its contigs", o->path);
        memset(more + o->n_seen, 0, (size_t)(n - o->n_seen));
        o->seen = more;
        o->n_seen = n;
    }
    if (r->rid == o->contig ? r->pos < o->pos : o->seen[r->rid])
        o->sorted = 0;
    o->seen[r->rid] = 1;
    o->contig = r->rid;
    o->pos = r->pos;
    const int64_t end = r->pos + (r->rlen > 0 ? r->rlen : 1);
    o->highest = end > o->highest ? end : o->highest;
    return MB_OK;
}

int dna_vcf_out_write(dna_vcf_out *o, bcf1_t *r, mb_err *e) {
    if (o->kind == DNA_VCF_BCF && r->errcode)
        return mb_fail(e, MB_FORMAT,
                       "%s:%lld: uses a contig or a tag that the header does not declare, which BCF cannot hold; write "
                       "VCF, or complete the header (bcftools reheader)",
                       bcf_seqname_safe(o->header, r), (long long)r->pos + 1);
    int rc = note_order(o, r, e);
    errno = 0;
    if (!rc && bcf_write(o->hts, o->header, r) != 0)
        rc = fail_write(o, e);
    return rc;
}

int dna_vcf_out_finish(dna_vcf_out *o, mb_err *e) {
    errno = 0;
    if (close_hts(o) != 0)
        return fail_write(o, e);
    if (o->kind == DNA_VCF_TEXT || !o->sorted || o->direct)
        return MB_OK;
    o->is_csi = o->kind == DNA_VCF_BCF || o->highest > TBI_LIMIT;
    const char *name = o->stale[o->is_csi];
    int rc = mb_out_create(&o->index, name, e);
    if (rc)
        return rc;
    const char *from = mb_out_temp_path(o->data), *to = mb_out_temp_path(o->index);
    errno = 0;
    const int failed = o->kind == DNA_VCF_BCF ? bcf_index_build3(from, to, 14, 1)
                                              : tbx_index_build3(from, to, o->is_csi ? 14 : 0, 1, &tbx_conf_vcf);
    o->has_index = 1;
    return failed ? mb_fail(e, MB_IO, "%s: cannot be made (%s)", name, errno ? strerror(errno) : "the library says no")
                  : MB_OK;
}

int dna_vcf_out_commit(dna_vcf_out *o, mb_err *e) {
    int rc = MB_OK;
    for (int i = 0; !rc && i < 2 && !o->direct && o->kind != DNA_VCF_TEXT; i++)
        if (unlink(o->stale[i]) && errno != ENOENT)
            rc = mb_fail_errno(e, MB_IO, "%s: cannot be removed", o->stale[i]);
    mb_out *ready[] = {o->data, o->index};
    for (int i = 0; i < 2; i++)
        if (!rc && ready[i])
            rc = mb_out_commit(ready[i], e);
        else
            mb_out_abort(ready[i]);
    free_out(o);
    return rc;
}

const char *dna_vcf_out_index(const dna_vcf_out *o) {
    return o->has_index ? (o->is_csi ? "csi" : "tbi") : NULL;
}

int dna_vcf_out_is_sorted(const dna_vcf_out *o) {
    return o->sorted;
}
