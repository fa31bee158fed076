/* Opens each input by what it holds, not by its name, and hands out records of all in turn. Policies that concern whole
 * records live here: empty ones, names that come twice in FASTA files. Reads of FASTQ and alignments may share a name
 * (mates do), and regions of one BED file too: their place in the output tells them apart. Refuses regions over FASTQ,
 * over standard input and over several inputs. */
#include "genomics/reader.h"

#include <errno.h>
#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <htslib/hts_log.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/log.h"
#include "core/mem.h"
#include "genomics/alphabet.h"
#include "genomics/fasta.h"
#include "genomics/genome.h"
#include "genomics/names.h"

struct dna_reader {
    char *const *inputs;
    int n, next; /* next input to open */
    const dna_reader_options *options;
    dna_fasta *fasta; /* at most one of these three is open */
    dna_alignment *alignment;
    dna_genome *genome;
    dna_regions regions; /* .source set when regions were asked for */
    int64_t region;      /* next region to fetch */
    dna_names names;
    dna_reader_counts counts;
};

static const char *shown(const char *path) {
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

int dna_path_check(const char *path, const char *expected, mb_err *e) {
    struct stat s;
    if (strcmp(path, "-") == 0)
        return MB_OK;
    if (strstr(path, "://"))
        return mb_fail(e, MB_NOTSUP, "%s: network addresses are not opened; fetch the file first", path);
    if (stat(path, &s))
        return mb_fail_errno(e, errno == ENOENT ? MB_NOTFOUND : MB_IO, "%s: cannot be opened", path);
    if (S_ISDIR(s.st_mode))
        return mb_fail(e, MB_USAGE, "%s: is a folder, expected %s", path, expected);
    return MB_OK;
}

int dna_reader_check(const char *path, mb_err *e) {
    return dna_path_check(path, "a FASTA, FASTQ, SAM, BAM or CRAM file", e);
}

static int open_genome(dna_reader *r, const char *path, mb_err *e) {
    if (strcmp(path, "-") == 0)
        return mb_fail(e, MB_USAGE, "regions need an indexed file, not standard input");
    int rc = dna_genome_open(&r->genome, path, e);
    if (rc)
        return rc;
    dna_contigs c = dna_genome_contigs(r->genome);
    r->region = 0;
    return dna_regions_resolve(&r->regions, &c, e);
}

static int open_next(dna_reader *r, mb_err *e) {
    const char *path = r->inputs[r->next++];
    int rc = dna_reader_check(path, e);
    if (rc)
        return rc;
    errno = 0;
    hFILE *in = hopen(path, "r");
    if (!in)
        return mb_fail_errno(e, MB_IO, "%s: cannot be opened", shown(path));
    htsFormat format;
    if (hts_detect_format2(in, path, &format) < 0) {
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be read", shown(path));
        hclose_abruptly(in);
        return rc;
    }
    if (format.format == sam || format.format == bam || format.format == cram)
        return dna_alignment_open(&r->alignment, in, path, &r->options->alignment,
                                  r->regions.source ? &r->regions : NULL, e);
    if (format.format == vcf || format.format == bcf || format.format == bed || format.format == fai_format) {
        hclose_abruptly(in);
        return mb_fail(e, MB_USAGE, "%s: is a %s file; expected FASTA, FASTQ, SAM, BAM or CRAM%s", shown(path),
                       hts_format_file_extension(&format), format.format == bed ? " (regions go with --regions)" : "");
    }
    if (r->regions.source && format.format == fastq_format) {
        hclose_abruptly(in);
        return mb_fail(e, MB_NOTSUP, "%s: --regions needs FASTA, BAM or CRAM, this is FASTQ", shown(path));
    }
    if (!r->regions.source)
        return dna_fasta_open(&r->fasta, in, shown(path), e);
    hclose_abruptly(in);
    return open_genome(r, path, e);
}

static void close_input(dna_reader *r) {
    if (r->alignment)
        r->counts.passed_over += dna_alignment_passed_over(r->alignment);
    dna_fasta_close(r->fasta);
    dna_alignment_close(r->alignment);
    dna_genome_close(r->genome);
    r->fasta = NULL;
    r->alignment = NULL;
    r->genome = NULL;
}

int dna_reader_open(dna_reader **out, char *const *inputs, int n, const dna_reader_options *o, mb_err *e) {
    *out = NULL;
    MB_ASSERT(n > 0);
    if (mb_log_get_level() < MB_LOG_DEBUG)
        hts_set_log_level(HTS_LOG_OFF); /* its messages name no record; ours do */
    int dashes = 0;
    for (int i = 0; i < n; i++)
        dashes += strcmp(inputs[i], "-") == 0;
    if (dashes > 1)
        return mb_fail(e, MB_USAGE, "standard input (-) can be read once, not %d times", dashes);
    if (o->regions && n > 1)
        return mb_fail(e, MB_USAGE, "--regions goes with one input, not %d", n);
    dna_reader *r = mb_calloc(1, sizeof *r);
    if (!r)
        return mb_fail(e, MB_NOMEM, "no memory for the reader");
    r->inputs = inputs;
    r->n = n;
    r->options = o;
    int rc = o->regions ? dna_regions_read(&r->regions, o->regions, e) : MB_OK;
    for (int i = 0; !rc && i < n; i++) /* a missing last file is told before the first is read */
        rc = dna_reader_check(inputs[i], e);
    if (!rc)
        rc = open_next(r, e);
    if (rc)
        dna_reader_close(r);
    else
        *out = r;
    return rc;
}

void dna_reader_close(dna_reader *r) {
    if (!r)
        return;
    close_input(r);
    dna_regions_fini(&r->regions);
    dna_names_fini(&r->names);
    mb_free(r);
}

dna_reader_counts dna_reader_count(const dna_reader *r) {
    dna_reader_counts c = r->counts;
    if (r->alignment)
        c.passed_over += dna_alignment_passed_over(r->alignment);
    return c;
}

static int next_region(dna_reader *r, dna_record *record, mb_err *e) {
    if (r->region == r->regions.n)
        return 0;
    const dna_region *g = &r->regions.at[r->region++];
    int64_t n = g->end - g->start;
    char label[128];
    snprintf(label, sizeof label, "%.80s:%" PRId64 "-%" PRId64, g->contig, g->start + 1, g->end);
    record->number = r->region;
    record->line = g->line;
    record->file = r->regions.source;
    record->start = g->start;
    record->end = g->end;
    record->strand = g->strand;
    record->linear = 1;
    int rc = dna_text_set(&record->name, g->name ? g->name : label, e);
    if (!rc)
        rc = dna_text_set(&record->comment, "", e);
    if (!rc)
        rc = dna_text_set(&record->contig, g->contig, e);
    record->bases.n = 0;
    if (!rc)
        rc = dna_text_reserve(&record->bases, n, e);
    if (!rc)
        rc = dna_genome_fetch(r->genome, g->contig, g->start, n, record->bases.data, e);
    if (rc)
        return mb_err_context(e, "%s", label);
    record->bases.n = n;
    if (g->strand == '-')
        dna_reverse_letters(record->bases.data, n);
    return 1;
}

/* Next record of the open input. */
static int next_raw(dna_reader *r, dna_record *record, mb_err *e) {
    if (r->genome)
        return next_region(r, record, e);
    return r->alignment ? dna_alignment_next(r->alignment, record, e) : dna_fasta_next(r->fasta, record, e);
}

static int check_name(dna_reader *r, dna_record *record, mb_err *e) {
    if (!r->fasta || dna_fasta_is_fastq(r->fasta) || r->options->duplicates == DNA_DUPLICATES_KEEP)
        return MB_OK;
    int64_t before = dna_names_add(&r->names, record->name.data, r->counts.records, e);
    if (before <= 0)
        return (int)before;
    char place[512];
    if (r->options->duplicates == DNA_DUPLICATES_ERROR)
        return mb_fail(e, MB_FORMAT,
                       "%s: the name came before, as record %" PRId64
                       " of this run (--duplicates number adds a suffix, keep leaves it)",
                       dna_record_place(record, place, sizeof place), before);
    int64_t stem = record->name.n;
    for (int copy = 2; before > 0; copy++) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, ".%d", copy);
        record->name.n = stem;
        int rc = dna_text_add(&record->name, suffix, (int64_t)strlen(suffix), e);
        if (rc)
            return rc;
        before = dna_names_add(&r->names, record->name.data, r->counts.records, e);
    }
    r->counts.renamed++;
    return (int)before;
}

int dna_reader_next(dna_reader *r, dna_record *record, mb_err *e) {
    for (;;) {
        int rc = next_raw(r, record, e);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            if (r->next == r->n)
                return 0;
            close_input(r);
            if ((rc = open_next(r, e)))
                return rc;
            continue;
        }
        char place[512];
        if (record->bases.n == 0 && r->options->empty == DNA_EMPTY_ERROR)
            return mb_fail(e, MB_FORMAT, "%s: has no bases (--empty skip passes over such records)",
                           dna_record_place(record, place, sizeof place));
        if (record->bases.n == 0) {
            r->counts.empty_skipped++;
            continue;
        }
        r->counts.records++;
        rc = check_name(r, record, e);
        return rc ? rc : 1;
    }
}

int dna_reader_can_rewind(char *const *inputs, int n) {
    for (int i = 0; i < n; i++) {
        struct stat s;
        if (strcmp(inputs[i], "-") == 0 || stat(inputs[i], &s) || !S_ISREG(s.st_mode))
            return 0;
    }
    return 1;
}
