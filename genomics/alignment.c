/* Reads through htslib. Soft-clipped bases are part of a read, hard-clipped ones are not in the file. Names of paired
 * reads get "/1" or "/2" as samtools fastq does. A file that ends early is an error, not a short result. Refuses region
 * queries without an index. Never fetches CRAM references from the network: REF_PATH is left as the user set it, and
 * where it is unset the library's default, a public server, is switched off. */
#include "genomics/alignment.h"

#include <errno.h>
#include <htslib/bgzf.h>
#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <htslib/sam.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "genomics/alphabet.h"

struct dna_alignment {
    samFile *in;
    sam_hdr_t *header;
    hts_idx_t *index;
    hts_itr_t *iterator;
    bam1_t *read;
    char *path;
    dna_alignment_options options;
    int64_t read_number, passed_over;
};

void dna_alignment_close(dna_alignment *a) {
    if (!a)
        return;
    if (a->read)
        bam_destroy1(a->read);
    if (a->iterator)
        hts_itr_destroy(a->iterator);
    if (a->index)
        hts_idx_destroy(a->index);
    if (a->header)
        sam_hdr_destroy(a->header);
    if (a->in)
        hts_close(a->in);
    mb_free(a->path);
    mb_free(a);
}

static int64_t contig_length(void *user, const char *name) {
    sam_hdr_t *h = user;
    int tid = sam_hdr_name2tid(h, name);
    return tid < 0 ? -1 : (int64_t)sam_hdr_tid2len(h, tid);
}

static const char *contig_name(void *user, int64_t i) {
    sam_hdr_t *h = user;
    return i < sam_hdr_nref(h) ? sam_hdr_tid2name(h, (int)i) : NULL;
}

dna_contigs dna_alignment_contigs(sam_hdr_t *header, const char *path) {
    return (dna_contigs){.length = contig_length, .name = contig_name, .user = header, .file = path};
}

/* The library wants its regions as "contig:from-to" texts; braces keep colons in names apart. */
static int make_iterator(hts_itr_t **out, const hts_idx_t *index, sam_hdr_t *header, const char *path,
                         const dna_regions *regions, mb_err *e) {
    if (regions->n > INT32_MAX)
        return mb_fail(e, MB_RANGE, "%s: too many regions", regions->source);
    char **text = mb_calloc((size_t)regions->n, sizeof *text);
    int rc = text ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory for regions", regions->source);
    for (int64_t i = 0; !rc && i < regions->n; i++) {
        const dna_region *g = &regions->at[i];
        text[i] = mb_asprintf("{%s}:%" PRId64 "-%" PRId64, g->contig, g->start + 1, g->end);
        if (!text[i])
            rc = mb_fail(e, MB_NOMEM, "%s: no memory for regions", regions->source);
    }
    if (!rc && !(*out = sam_itr_regarray(index, header, text, (unsigned)regions->n)))
        rc = mb_fail(e, MB_FORMAT, "%s: its index cannot be searched for %s", path, regions->source);
    for (int64_t i = 0; text && i < regions->n; i++)
        mb_free(text[i]);
    mb_free(text);
    return rc;
}

/* An index from before the last change of its file can send a query past reads; samtools warns of it too. */
static int warn_of_old_index(const char *path, mb_err *e) {
    static const char *const endings[] = {"bai", "csi", "crai"};
    struct stat file, index;
    for (int i = 0; i < 3 && stat(path, &file) == 0; i++) {
        char *name = mb_asprintf("%s.%s", path, endings[i]);
        if (!name)
            return mb_fail(e, MB_NOMEM, "%s: no memory for the name of its index", path);
        if (stat(name, &index) == 0 && index.st_mtime < file.st_mtime)
            mb_warn("%s is older than %s: reads may be missed; renew it with: samtools index %s", name, path, path);
        mb_free(name);
    }
    return MB_OK;
}

int dna_alignment_find(hts_itr_t **out, const hts_idx_t *index, sam_hdr_t *header, const char *path,
                       const dna_regions *regions, mb_err *e) {
    *out = NULL;
    int rc = warn_of_old_index(path, e);
    return rc ? rc : make_iterator(out, index, header, path, regions, e);
}

static int open_regions(dna_alignment *a, dna_regions *regions, mb_err *e) {
    const dna_contigs c = dna_alignment_contigs(a->header, a->path);
    int rc = dna_regions_resolve(regions, &c, e);
    if (rc)
        return rc;
    a->index = sam_index_load3(a->in, a->path, NULL, HTS_IDX_SILENT_FAIL);
    if (!a->index)
        return mb_fail(e, MB_NOTFOUND,
                       "%s: regions need an index (.bai, .csi or .crai) and there is none, or it is damaged; sort by "
                       "coordinate, then: samtools index %s",
                       a->path, a->path);
    return dna_alignment_find(&a->iterator, a->index, a->header, a->path, regions, e);
}

int dna_alignment_open(dna_alignment **out, hFILE *in, const char *path, const dna_alignment_options *o,
                       dna_regions *regions, mb_err *e) {
    *out = NULL;
    setenv("REF_PATH", "/nonexistent", 0);
    dna_alignment *a = mb_calloc(1, sizeof *a);
    if (!a || !(a->path = mb_strdup(path)) || !(a->read = bam_init1())) {
        hclose_abruptly(in);
        dna_alignment_close(a);
        return mb_fail(e, MB_NOMEM, "%s: no memory to read it", path);
    }
    a->options = *o;
    int rc = MB_OK;
    errno = 0;
    a->in = hts_hopen(in, path, "r");
    if (!a->in) {
        hclose_abruptly(in);
        rc = mb_fail(e, MB_FORMAT, "%s: cannot be opened as SAM, BAM or CRAM", path);
    } else if (o->reference && !mb_file_exists(o->reference)) { /* the library leaks when it finds out by itself */
        rc = mb_fail(e, MB_IO, "%s: no such file to be used as reference", o->reference);
    } else if (o->reference && hts_set_fai_filename(a->in, o->reference) != 0) {
        rc = mb_fail(e, MB_IO, "%s: cannot be used as reference (is it an uncompressed or BGZF FASTA file?)",
                     o->reference);
    } else if (!(a->header = sam_hdr_read(a->in))) {
        rc = mb_fail(e, MB_FORMAT, "%s: damaged header", path);
    } else if (hts_check_EOF(a->in) == 0) {
        rc = mb_fail(e, MB_FORMAT, "%s: the end marker is missing, so the file is cut short", path);
    } else if (regions) {
        rc = open_regions(a, regions, e);
    }
    if (rc)
        dna_alignment_close(a);
    else
        *out = a;
    return rc;
}

static int passes(const dna_alignment *a) {
    const bam1_core_t *c = &a->read->core;
    const dna_alignment_options *o = &a->options;
    return !(c->flag & o->exclude_flags) && (c->flag & o->include_flags) == o->include_flags && c->qual >= o->min_mapq;
}

static int copy_bases(const dna_alignment *a, dna_record *r, mb_err *e) {
    const bam1_t *b = a->read;
    const uint8_t *seq = bam_get_seq(b);
    char piece[4096];
    r->bases.n = 0;
    for (int64_t i = 0; i < b->core.l_qseq;) {
        int n = 0;
        for (; n < (int)sizeof piece && i < b->core.l_qseq; n++, i++)
            piece[n] = seq_nt16_str[bam_seqi(seq, i)];
        int rc = dna_text_add(&r->bases, piece, n, e);
        if (rc)
            return rc;
    }
    if (bam_is_rev(b) && !a->options.as_stored)
        dna_reverse_letters(r->bases.data, r->bases.n);
    return MB_OK;
}

static int copy_names(const dna_alignment *a, dna_record *r, mb_err *e) {
    const bam1_core_t *c = &a->read->core;
    const char *mate = "";
    if ((c->flag & BAM_FPAIRED) && (c->flag & (BAM_FREAD1 | BAM_FREAD2)) != (BAM_FREAD1 | BAM_FREAD2))
        mate = c->flag & BAM_FREAD1 ? "/1" : c->flag & BAM_FREAD2 ? "/2" : "";
    int rc = dna_text_set(&r->name, bam_get_qname(a->read), e);
    if (!rc)
        rc = dna_text_add(&r->name, mate, (int64_t)strlen(mate), e);
    int placed = c->tid >= 0 && !(c->flag & BAM_FUNMAP);
    if (!rc)
        rc = dna_text_set(&r->contig, placed ? sam_hdr_tid2name(a->header, c->tid) : "", e);
    if (!rc)
        rc = dna_text_set(&r->comment, "", e);
    r->start = placed ? c->pos : -1;
    r->end = placed ? (int64_t)bam_endpos(a->read) : -1;
    r->strand = !placed ? '.' : bam_is_rev(a->read) ? '-' : '+';
    return rc;
}

static int fail_read(const dna_alignment *a, mb_err *e) {
    const char *hint = a->in->format.format == cram
                           ? ", or the CRAM's reference is missing (--reference FASTA, or REF_PATH as for samtools)"
                           : "";
    return mb_fail(e, MB_FORMAT, "%s: damaged or cut short after read %" PRId64 "%s", a->path, a->read_number, hint);
}

int dna_alignment_next(dna_alignment *a, dna_record *r, mb_err *e) {
    for (;;) {
        int got = a->iterator ? sam_itr_multi_next(a->in, a->iterator, a->read) : sam_read1(a->in, a->header, a->read);
        if (got < -1)
            return fail_read(a, e);
        if (got < 0) {
            const BGZF *stream = a->in->format.format == bam ? a->in->fp.bgzf : NULL;
            return stream && !a->iterator && bgzf_compression(a->in->fp.bgzf) == bgzf && !stream->last_block_eof
                       ? fail_read(a, e)
                       : 0;
        }
        a->read_number++;
        if (passes(a))
            break;
        a->passed_over++;
    }
    r->number = a->read_number;
    r->line = 0;
    r->file = a->path;
    r->linear = 0;
    int rc = copy_names(a, r, e);
    if (!rc)
        rc = copy_bases(a, r, e);
    return rc ? mb_err_context(e, "%s: read %" PRId64, a->path, a->read_number) : 1;
}

int64_t dna_alignment_passed_over(const dna_alignment *a) {
    return a->passed_over;
}
