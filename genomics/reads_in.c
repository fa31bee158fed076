/* Reads of SAM, BAM, CRAM, FASTQ and FASTA in batches, with all they carry. With regions and an index, only the reads
 * that overlap are visited; without one, or where passed-over reads are kept, all are and those that do not overlap are
 * passed over, so that any order of reads will do. Refuses files that end early, letters that the policies refuse, and
 * what dna_reader_check does. Never fetches CRAM references from the network. */
#include <errno.h>
#include <htslib/bgzf.h>
#include <htslib/hfile.h>
#include <htslib/hts_log.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/reader.h"
#include "genomics/reads.h"

/* Beyond this many bytes a record's memory is given back after its batch; so much may all records of a batch carry. */
enum { LARGE = 1 << 15, BATCH_BYTES = 64 << 20 };

typedef struct interval {
    int tid;
    int64_t start, end;
} interval;

struct reads_in {
    const reads_in_options *o;
    const dna_alphabet *alphabet;
    const char *path;
    samFile *in;
    sam_hdr_t *header;
    hts_idx_t *index;
    hts_itr_t *iterator;
    dna_regions regions;
    interval *interval; /* (n_intervals) sorted, apart from each other; NULL without regions or with an iterator */
    int64_t n_intervals;
    bam1_t *spare; /* read ahead of the batch it did not fit */
    int has_spare;
    int64_t number;
    reads_counts counts;
};

char *reads_place(char *out, const char *input, const reads_slot *s) {
    snprintf(out, 512, "%.300s: read %" PRId64 " ('%.100s')", strcmp(input, "-") == 0 ? "standard input" : input,
             s->number, bam_get_qname(s->b));
    return out;
}

static const char *shown(const reads_in *in) {
    return strcmp(in->path, "-") == 0 ? "standard input" : in->path;
}

/* ---- opening --------------------------------------------------------------------------------------------------------
 */

static int compare_intervals(const void *a, const void *b) {
    const interval *x = a, *y = b;
    if (x->tid != y->tid)
        return x->tid < y->tid ? -1 : 1;
    return (x->start > y->start) - (x->start < y->start);
}

static int make_intervals(reads_in *in, mb_err *e) {
    const dna_regions *r = &in->regions;
    interval *v = mb_calloc((size_t)r->n + 1, sizeof *v);
    if (!v)
        return mb_fail(e, MB_NOMEM, "%s: no memory for regions", r->source);
    in->interval = v;
    for (int64_t i = 0; i < r->n; i++)
        v[i] = (interval){sam_hdr_name2tid(in->header, r->at[i].contig), r->at[i].start, r->at[i].end};
    qsort(v, (size_t)r->n, sizeof *v, compare_intervals);
    for (int64_t i = 0; i < r->n; i++) {
        interval *last = in->n_intervals ? &v[in->n_intervals - 1] : NULL;
        if (last && last->tid == v[i].tid && v[i].start <= last->end)
            last->end = v[i].end > last->end ? v[i].end : last->end;
        else
            v[in->n_intervals++] = v[i];
    }
    return MB_OK;
}

static int open_regions(reads_in *in, mb_err *e) {
    const dna_contigs c = dna_alignment_contigs(in->header, shown(in));
    int rc = dna_regions_read(&in->regions, in->o->regions, e);
    if (rc == MB_OK)
        rc = dna_regions_resolve(&in->regions, &c, e);
    if (rc != MB_OK)
        return rc;
    if (!in->o->keep && strcmp(in->path, "-") != 0 && (in->in->format.format == bam || in->in->format.format == cram))
        in->index = sam_index_load3(in->in, in->path, NULL, HTS_IDX_SILENT_FAIL);
    if (in->index)
        return dna_alignment_find(&in->iterator, in->index, in->header, in->path, &in->regions, e);
    return make_intervals(in, e);
}

static int check_format(const reads_in *in, mb_err *e) {
    const htsFormat *f = hts_get_format(in->in);
    if (f->format == sam || f->format == bam || f->format == cram || f->format == fastq_format ||
        f->format == fasta_format)
        return MB_OK;
    return mb_fail(e, f->format == vcf || f->format == bcf || f->format == bed ? MB_USAGE : MB_FORMAT,
                   "%s: holds no reads; expected SAM, BAM, CRAM, FASTQ or FASTA", shown(in));
}

/* Decompression ahead of the reader. The library's thread of a BGZF file ends when it meets damage, and whoever then
 * asks it whether the end marker is there, or to go elsewhere, waits for ever: so it is begun only when the header and
 * the marker have been seen, and not where regions make it jump. Text is parsed by the reader itself, which keeps the
 * place of an error. */
static int add_threads(reads_in *in, htsThreadPool *pool, mb_err *e) {
    const int format = in->in->format.format, to_the_end = !in->iterator && strcmp(in->path, "-") != 0;
    if (!pool || !(format == cram || (format == bam && to_the_end)))
        return MB_OK;
    return hts_set_thread_pool(in->in, pool) == 0 ? MB_OK
                                                  : mb_fail(e, MB_NOMEM, "%s: no threads to read it with", shown(in));
}

static int open_file(reads_in *in, htsThreadPool *pool, mb_err *e) {
    const char *reference = in->o->alignment.reference;
    setenv("REF_PATH", "/nonexistent", 0);
    errno = 0;
    in->in = sam_open(in->path, "r");
    if (!in->in)
        return errno && errno != ENOEXEC
                   ? mb_fail_errno(e, errno == ENOENT ? MB_NOTFOUND : MB_IO, "%s: cannot be opened", shown(in))
                   : mb_fail(e, MB_FORMAT, "%s: holds no reads; expected SAM, BAM, CRAM, FASTQ or FASTA", shown(in));
    int rc = check_format(in, e);
    if (rc != MB_OK)
        return rc;
    if (reference && !mb_file_exists(reference)) /* the library leaks when it finds out by itself */
        return mb_fail(e, MB_IO, "%s: no such file to be used as reference", reference);
    if (reference && hts_set_fai_filename(in->in, reference) != 0)
        return mb_fail(e, MB_IO, "%s: cannot be used as reference (is it an uncompressed or BGZF FASTA file?)",
                       reference);
    if (!(in->header = sam_hdr_read(in->in)))
        return mb_fail(e, MB_FORMAT, "%s: damaged header", shown(in));
    if (hts_check_EOF(in->in) == 0)
        return mb_fail(e, MB_FORMAT, "%s: the end marker is missing, so the file is cut short", shown(in));
    rc = in->o->regions ? open_regions(in, e) : MB_OK;
    return rc == MB_OK ? add_threads(in, pool, e) : rc;
}

int reads_in_open(reads_in **out, const char *path, const reads_in_options *o, const dna_alphabet *a,
                  htsThreadPool *pool, mb_err *e) {
    *out = NULL;
    if (mb_log_get_level() < MB_LOG_DEBUG)
        hts_set_log_level(HTS_LOG_OFF); /* its messages name no record; ours do */
    int rc = dna_reader_check(path, e);
    if (rc != MB_OK)
        return rc;
    reads_in *in = mb_calloc(1, sizeof *in);
    if (!in)
        return mb_fail(e, MB_NOMEM, "%s: no memory to read it", path);
    *in = (reads_in){.o = o, .alphabet = a, .path = path, .spare = bam_init1()};
    rc = in->spare ? open_file(in, pool, e) : mb_fail(e, MB_NOMEM, "%s: no memory to read it", path);
    if (rc != MB_OK)
        reads_in_close(in);
    else
        *out = in;
    return rc;
}

void reads_in_close(reads_in *in) {
    if (!in)
        return;
    if (in->spare)
        bam_destroy1(in->spare);
    if (in->iterator)
        hts_itr_destroy(in->iterator);
    if (in->index)
        hts_idx_destroy(in->index);
    if (in->header)
        sam_hdr_destroy(in->header);
    if (in->in)
        hts_close(in->in);
    dna_regions_fini(&in->regions);
    mb_free(in->interval);
    mb_free(in);
}

sam_hdr_t *reads_in_header(const reads_in *in) {
    return in->header;
}

int reads_in_is_text(const reads_in *in) {
    return in->in->format.format == fastq_format || in->in->format.format == fasta_format;
}

reads_counts reads_in_count(const reads_in *in) {
    return in->counts;
}

/* ---- one record -----------------------------------------------------------------------------------------------------
 */

static int fail_read(const reads_in *in, mb_err *e) {
    const char *hint = in->in->format.format == cram
                           ? ", or the CRAM's reference is missing (--reference FASTA, or REF_PATH as for samtools)"
                           : "";
    return mb_fail(e, MB_FORMAT, "%s: damaged or cut short after read %" PRId64 "%s", shown(in), in->number, hint);
}

/* Whether the compressed stream ends as it must; plain gzip tells by itself. */
static int ends_well(const reads_in *in) {
    const htsFormat *f = &in->in->format;
    const BGZF *stream = f->format == bam || f->compression == bgzf ? in->in->fp.bgzf : NULL;
    return !stream || f->format == cram || in->iterator || bgzf_compression(in->in->fp.bgzf) != bgzf ||
           stream->last_block_eof;
}

/* 1: the spare holds the next read; 0: the end. */
static int read_ahead(reads_in *in, mb_err *e) {
    if (in->has_spare)
        return 1;
    const int got =
        in->iterator ? sam_itr_multi_next(in->in, in->iterator, in->spare) : sam_read1(in->in, in->header, in->spare);
    if (got < -1 || (got < 0 && !ends_well(in)))
        return fail_read(in, e);
    if (got < 0)
        return 0;
    in->number++;
    in->has_spare = 1;
    return 1;
}

static int overlaps(const reads_in *in, const bam1_t *b) {
    if (!in->interval)
        return 1;
    const int64_t start = b->core.pos, end = bam_endpos(b);
    int64_t low = 0, high = in->n_intervals; /* the first interval that ends behind start */
    while (low < high) {
        const int64_t at = low + (high - low) / 2;
        const interval *v = &in->interval[at];
        if (v->tid < b->core.tid || (v->tid == b->core.tid && v->end <= start))
            low = at + 1;
        else
            high = at;
    }
    return b->core.tid >= 0 && low < in->n_intervals && in->interval[low].tid == b->core.tid &&
           in->interval[low].start < end;
}

static int passes(const reads_in *in, const bam1_t *b) {
    const bam1_core_t *c = &b->core;
    const dna_alignment_options *o = &in->o->alignment;
    return !(c->flag & o->exclude_flags) && (c->flag & o->include_flags) == o->include_flags &&
           c->qual >= o->min_mapq && overlaps(in, b);
}

/* Appends the tokens of a read, in the direction that was asked for. Their offset is held until all are there. */
static int take_tokens(reads_in *in, reads_batch *b, const reads_slot *s, dna_item *item, mb_err *e) {
    const bam1_t *r = s->b;
    const uint8_t *seq = bam_get_seq(r);
    char place[512], words[96];
    const int64_t n = r->core.l_qseq;
    b->letters.n = 0;
    int rc = dna_text_reserve(&b->letters, n, e);
    if (rc != MB_OK)
        return rc;
    for (int64_t i = 0; i < n; i++)
        b->letters.data[i] = seq_nt16_str[bam_seqi(seq, i)];
    if (bam_is_rev(r) && !in->o->alignment.as_stored)
        dna_reverse_letters(b->letters.data, n);
    const int64_t bad = dna_tokenize(in->alphabet, (uint8_t *)b->letters.data, n, &in->counts.letters);
    if (bad >= 0)
        return mb_fail(e, MB_FORMAT, "%s: base %" PRId64 ": %s", reads_place(place, shown(in), s), bad + 1,
                       dna_bad_letter_words((unsigned char)b->letters.data[bad], words));
    *item = (dna_item){.length = n, .offset = b->token.n};
    for (int64_t i = 0; i < n; i++)
        item->n_count += (uint8_t)b->letters.data[i] == in->alphabet->n_token;
    return dna_text_add(&b->token, b->letters.data, n, e);
}

/* ---- batches --------------------------------------------------------------------------------------------------------
 */

void reads_batch_fini(reads_batch *b) {
    for (int i = 0; i < b->capacity; i++)
        if (b->slot[i].b)
            bam_destroy1(b->slot[i].b);
    mb_free(b->slot);
    mb_free(b->slot_of);
    mb_free(b->taken.item);
    dna_text_fini(&b->token);
    dna_text_fini(&b->letters);
    *b = (reads_batch){0};
}

/* Empties it; records that grew large, and buffers far beyond what the batch wants, are given back. */
static int clear_batch(reads_batch *b, const reads_in_options *o, mb_err *e) {
    if (!b->slot) {
        b->slot = mb_calloc((size_t)o->batch_items, sizeof *b->slot);
        b->slot_of = mb_calloc((size_t)o->batch_items, sizeof *b->slot_of);
        b->taken.item = mb_calloc((size_t)o->batch_items, sizeof *b->taken.item);
        if (!b->slot || !b->slot_of || !b->taken.item)
            return mb_fail(e, MB_NOMEM, "no memory for a batch of %d reads", o->batch_items);
        b->capacity = o->batch_items;
    }
    for (int i = 0; i < b->n; i++)
        if (b->slot[i].b->m_data > LARGE) {
            bam_destroy1(b->slot[i].b);
            b->slot[i].b = NULL;
        }
    if (b->token.capacity > 2 * o->batch_tokens + LARGE)
        dna_text_fini(&b->token);
    if (b->letters.capacity > LARGE)
        dna_text_fini(&b->letters);
    b->n = b->taken.n = 0;
    b->taken.tokens = b->token.n = 0;
    return MB_OK;
}

/* The spare becomes the next record of the batch. */
static int take_spare(reads_in *in, reads_batch *b, int passed, mb_err *e) {
    reads_slot *s = &b->slot[b->n];
    if (!s->b && !(s->b = bam_init1()))
        return mb_fail(e, MB_NOMEM, "no memory for a read");
    bam1_t *const empty = s->b;
    *s = (reads_slot){in->spare, in->number, -1};
    in->spare = empty;
    in->has_spare = 0;
    b->n++;
    in->counts.empty += passed && s->b->core.l_qseq == 0;
    if (!passed || s->b->core.l_qseq == 0)
        return MB_OK;
    int rc = take_tokens(in, b, s, &b->taken.item[b->taken.n], e);
    if (rc != MB_OK)
        return rc;
    b->slot_of[b->taken.n] = b->n - 1;
    s->taken = b->taken.n++;
    b->taken.tokens += s->b->core.l_qseq;
    in->counts.taken++;
    in->counts.bases += s->b->core.l_qseq;
    return MB_OK;
}

int reads_in_next(reads_in *in, reads_batch *b, mb_err *e) {
    int64_t bytes = 0;
    int rc = clear_batch(b, in->o, e);
    while (rc == MB_OK && b->n < b->capacity) {
        const int got = read_ahead(in, e);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        const bam1_t *r = in->spare;
        if (b->n > 0 && (b->taken.tokens + r->core.l_qseq > in->o->batch_tokens || bytes + r->l_data > BATCH_BYTES))
            break;
        const int passed = passes(in, r);
        in->counts.reads++;
        in->counts.passed_over += !passed;
        if (!passed && !in->o->keep) {
            in->has_spare = 0;
            continue;
        }
        bytes += r->l_data;
        rc = take_spare(in, b, passed, e);
    }
    for (int i = 0; rc == MB_OK && i < b->taken.n; i++)
        b->taken.item[i].token = (uint8_t *)b->token.data + b->taken.item[i].offset;
    return rc != MB_OK ? rc : b->n > 0;
}
