/* Reading VCF and BCF. See vcf.h. Text is cut into lines here, because the library takes a line that ends after any
 * column. Refuses files that are neither, network addresses, lines with too few columns or a zero byte, records without
 * REF, BGZF without its end marker. A plain file whose last line has no end is taken with a warning. */
#include <errno.h>
#include <fcntl.h>
#include <htslib/bgzf.h>
#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "core/mem.h"
#include "genomics/reader.h"
#include "genomics/vcf.h"

struct dna_vcf {
    htsFile *in;
    bcf_hdr_t *header;
    char *path;
    kstring_t line;
    int is_text;
    int64_t records;
};

void dna_vcf_close(dna_vcf *v) {
    if (!v)
        return;
    if (v->header)
        bcf_hdr_destroy(v->header);
    if (v->in)
        hts_close(v->in);
    ks_free(&v->line);
    mb_free(v->path);
    mb_free(v);
}

static int check_file(const char *path, mb_err *e) {
    struct stat s;
    char last = '\n';
    unsigned char first[2] = {0};
    int rc = dna_path_check(path, "a VCF or BCF file", e);
    if (rc || strcmp(path, "-") == 0 || stat(path, &s) || !S_ISREG(s.st_mode))
        return rc;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return mb_fail_errno(e, MB_IO, "%s: cannot be opened", path);
    if (pread(fd, first, 2, 0) == 2 && first[0] == '#' && pread(fd, &last, 1, s.st_size - 1) == 1 && last != '\n')
        mb_warn("%s: the last line has no end; was the file cut short?", path);
    close(fd);
    return MB_OK;
}

static int read_header(dna_vcf *v, mb_err *e) {
    const htsFormat *f = hts_get_format(v->in);
    if (f->format != vcf && f->format != bcf) {
        const char *what = f->format == empty_format ? "is empty"
                           : f->category == sequence_data || f->format == fasta_format || f->format == fastq_format
                               ? "holds sequences"
                               : "is neither";
        return mb_fail(e, MB_FORMAT, "%s: %s; expected VCF (which begins with ##fileformat=VCF) or BCF", v->path, what);
    }
    v->is_text = f->format == vcf;
    v->header = bcf_hdr_read(v->in);
    if (!v->header)
        return mb_fail(e, MB_FORMAT, "%s: the header is damaged, cut short or has no #CHROM line", v->path);
    return MB_OK;
}

int dna_vcf_open(dna_vcf **out, const char *path, mb_err *e) {
    *out = NULL;
    if (mb_log_get_level() < MB_LOG_DEBUG)
        hts_set_log_level(HTS_LOG_OFF); /* its messages name no record; ours do */
    int rc = check_file(path, e);
    if (rc)
        return rc;
    dna_vcf *v = mb_calloc(1, sizeof *v);
    if (!v || !(v->path = mb_strdup(strcmp(path, "-") == 0 ? "standard input" : path))) {
        mb_free(v);
        return mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
    }
    errno = 0;
    hFILE *file = hopen(path, "r");
    if (!file) {
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be opened", v->path);
    } else if (!(v->in = hts_hopen(file, path, "r"))) {
        rc = mb_fail(e, MB_FORMAT, "%s: cannot be read as VCF or BCF", v->path);
        hclose_abruptly(file);
    }
    if (!rc)
        rc = read_header(v, e);
    if (rc)
        dna_vcf_close(v);
    else
        *out = v;
    return rc;
}

bcf_hdr_t *dna_vcf_header(dna_vcf *v) {
    return v->header;
}

const char *dna_vcf_contig(const dna_vcf *v, const bcf1_t *record) {
    return bcf_seqname_safe(v->header, record);
}

static char *where(const dna_vcf *v, char *out, size_t size) {
    if (v->is_text)
        snprintf(out, size, "%.300s:%" PRId64, v->path, (int64_t)v->in->lineno);
    else
        snprintf(out, size, "%.300s: record %" PRId64, v->path, v->records);
    return out;
}

char *dna_vcf_place(const dna_vcf *v, const bcf1_t *record, char *out, size_t size) {
    char line[400];
    snprintf(out, size, "%s: %.100s:%" PRId64, where(v, line, sizeof line), dna_vcf_contig(v, record),
             (int64_t)record->pos + 1);
    return out;
}

static int at_end(const dna_vcf *v, mb_err *e) {
    const BGZF *f = v->in->format.compression == bgzf ? v->in->fp.bgzf : NULL;
    if (f && !f->last_block_eof)
        return mb_fail(e, MB_FORMAT,
                       "%s: the BGZF end marker is missing, so the file is cut short after %" PRId64 " records",
                       v->path, v->records);
    return 0;
}

static int fail_damaged(const dna_vcf *v, mb_err *e) {
    return mb_fail(e, MB_FORMAT, "%s: damaged or cut short after %" PRId64 " records", v->path, v->records);
}

/* Columns before the samples are 8, or 9 with FORMAT; the library checks the number of samples. */
static int check_columns(const dna_vcf *v, mb_err *e) {
    char place[400];
    const int samples = bcf_hdr_nsamples(v->header), need = samples ? 9 + samples : 8;
    int columns = 1;
    for (size_t i = 0; i < v->line.l; i++)
        columns += v->line.s[i] == '\t';
    if (strlen(v->line.s) != v->line.l)
        return mb_fail(e, MB_FORMAT, "%s: holds a zero byte", where(v, place, sizeof place));
    if (columns < need)
        return mb_fail(e, MB_FORMAT, "%s: %d columns separated by tabs, expected %d; was the file cut short?",
                       where(v, place, sizeof place), columns, need);
    return MB_OK;
}

static int next_line(dna_vcf *v, bcf1_t *record, mb_err *e) {
    char place[400];
    int got;
    do
        got = hts_getline(v->in, '\n', &v->line);
    while (got >= 0 && v->line.l == 0);
    if (got < -1)
        return fail_damaged(v, e);
    if (got < 0)
        return at_end(v, e);
    v->records++;
    int rc = check_columns(v, e);
    if (rc)
        return rc;
    if (vcf_parse(&v->line, v->header, record))
        return mb_fail(e, MB_FORMAT, "%s: is not a VCF record", where(v, place, sizeof place));
    return 1;
}

static const char *words_of(int errcode) {
    return errcode & BCF_ERR_NCOLS         ? "the number of samples is not that of the header"
           : errcode & BCF_ERR_CTG_INVALID ? "the contig's name is not allowed in VCF"
           : errcode & BCF_ERR_TAG_INVALID ? "the name of a tag is not allowed in VCF"
           : errcode & BCF_ERR_LIMITS      ? "a number or a list is too large"
                                           : "a character or value is not allowed here";
}

int dna_vcf_next(dna_vcf *v, bcf1_t *record, mb_err *e) {
    char place[512];
    bcf_clear(record);
    int more = 1;
    if (v->is_text) {
        more = next_line(v, record, e);
    } else {
        const int got = bcf_read(v->in, v->header, record);
        if (got < -1)
            return fail_damaged(v, e);
        v->records += got == 0;
        more = got < 0 ? at_end(v, e) : 1;
    }
    if (more <= 0)
        return more;
    if (record->errcode & ~(BCF_ERR_CTG_UNDEF | BCF_ERR_TAG_UNDEF))
        return mb_fail(e, MB_FORMAT, "%s: %s", dna_vcf_place(v, record, place, sizeof place),
                       words_of(record->errcode));
    if (record->n_allele < 1 || bcf_unpack(record, BCF_UN_STR) || !record->d.allele || !*record->d.allele[0])
        return mb_fail(e, MB_FORMAT, "%s: has no REF", dna_vcf_place(v, record, place, sizeof place));
    return 1;
}
