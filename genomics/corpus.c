/* Each input has a reader of its own, so that two genomes may both have a chr1. Bases grow by half and give back what
 * is too much at the end; the largest need is that and the longest record. Refuses regions: which stretches are trained
 * on is for splits.h to say, with the whole contig around them in memory. */
#include "genomics/corpus.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"

const char *dna_corpus_name(const dna_corpus *c, int64_t contig) {
    MB_ASSERT(contig >= 0 && contig < c->contigs);
    return c->names.data + c->contig[contig].name;
}

int64_t dna_corpus_bytes(const dna_corpus *c) {
    const int64_t contig = (int64_t)sizeof *c->contig, number = (int64_t)sizeof *c->by_name;
    return c->capacity + c->contig_capacity * contig + c->contigs * number + c->names.capacity +
           c->files * (int64_t)sizeof *c->file;
}

void dna_corpus_fini(dna_corpus *c) {
    for (int i = 0; c->file && i < c->files; i++)
        mb_free(c->file[i].path);
    mb_free(c->file);
    mb_free(c->base);
    mb_free(c->contig);
    mb_free(c->by_name);
    dna_text_fini(&c->names);
    memset(c, 0, sizeof *c);
}

/* First place in by_name whose name is not before the one asked for. */
static int64_t lower_bound(const dna_corpus *c, const char *name) {
    int64_t low = 0, high = c->contigs;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(dna_corpus_name(c, c->by_name[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t dna_corpus_find(const dna_corpus *c, const char *name, int64_t *count) {
    int64_t first = lower_bound(c, name), n = 0;
    while (first + n < c->contigs && strcmp(dna_corpus_name(c, c->by_name[first + n]), name) == 0) {
        n++;
        if (!count)
            break;
    }
    if (count)
        *count = n;
    return n ? c->by_name[first] : -1;
}

static int reserve_bases(dna_corpus *c, int64_t more, const dna_corpus_options *o, mb_err *e) {
    MB_ASSERT(more >= 0 && c->n <= INT64_MAX / 4 - more);
    const int64_t need = c->n + more;
    char has[32], wants[32];
    if (need <= c->capacity)
        return MB_OK;
    if (o->memory > 0 && need > o->memory)
        return mb_fail(e, MB_NOMEM, "the training sequence takes more than the %s it may: %s and more to come",
                       mb_human_bytes((double)o->memory, has), mb_human_bytes((double)need, wants));
    int64_t want = c->capacity + c->capacity / 2;
    if (o->memory > 0 && want > o->memory)
        want = o->memory;
    if (want < need)
        want = need;
    uint8_t *grown = mb_realloc(c->base, (size_t)want);
    if (!grown)
        return mb_fail(e, MB_NOMEM, "no memory for %s of training sequence", mb_human_bytes((double)want, wants));
    c->base = grown;
    c->capacity = want;
    return MB_OK;
}

static int add_contig(dna_corpus *c, const dna_record *r, mb_err *e) {
    if (c->contigs == c->contig_capacity) {
        int64_t capacity = c->contig_capacity ? 2 * c->contig_capacity : 64;
        dna_corpus_contig *grown = mb_realloc_array(c->contig, (size_t)capacity, sizeof *grown);
        if (!grown)
            return mb_fail(e, MB_NOMEM, "no memory for %" PRId64 " contigs", capacity);
        c->contig = grown;
        c->contig_capacity = capacity;
    }
    dna_corpus_contig *t = &c->contig[c->contigs];
    *t = (dna_corpus_contig){.start = c->n, .length = r->bases.n, .name = c->names.n, .file = c->files - 1};
    int rc = dna_text_add(&c->names, r->name.data, r->name.n + 1, e); /* with its zero */
    if (!rc)
        c->contigs++;
    return rc;
}

/* Adds the record's bases. Returns how many of them are A C G T in upper case, or a negative status. */
static int64_t add_record(dna_corpus *c, dna_record *r, const dna_corpus_options *o, const dna_alphabet *a, mb_err *e) {
    int rc = reserve_bases(c, r->bases.n, o, e);
    if (!rc)
        rc = add_contig(c, r, e);
    if (rc)
        return rc;
    uint8_t *letter = (uint8_t *)r->bases.data, *to = c->base + c->n;
    const int64_t n = r->bases.n;
    int64_t upper = 0;
    for (int64_t i = 0; i < n; i++) {
        const int class = a->class[letter[i]];
        to[i] = class & DNA_IS_LOWER ? DNA_SOFT : 0;
        upper += (class & (DNA_IS_BASE | DNA_IS_LOWER)) == DNA_IS_BASE;
    }
    int64_t bad = dna_tokenize(a, letter, n, &c->file[c->files - 1].letters);
    if (bad >= 0) {
        char place[512], words[96];
        return mb_fail(e, MB_FORMAT, "%s: base %" PRId64 ": %s", dna_record_place(r, place, sizeof place), bad + 1,
                       dna_bad_letter_words(letter[bad], words));
    }
    for (int64_t i = 0; i < n; i++)
        to[i] |= letter[i];
    c->n += n;
    c->file[c->files - 1].contigs++;
    return upper;
}

static int load_records(dna_corpus *c, dna_reader *reader, int64_t *upper, const dna_corpus_options *o,
                        const dna_alphabet *a, mb_progress *progress, mb_err *e) {
    dna_record record;
    dna_record_init(&record);
    int rc;
    while ((rc = dna_reader_next(reader, &record, e)) > 0) {
        const int64_t n = record.bases.n, got = add_record(c, &record, o, a, e);
        if (got < 0) {
            rc = (int)got;
            break;
        }
        *upper += got;
        mb_progress_add(progress, (double)n);
    }
    dna_record_fini(&record);
    return rc;
}

static int load_file(dna_corpus *c, char *input, const dna_corpus_options *o, const dna_alphabet *a,
                     mb_progress *progress, mb_err *e) {
    const int64_t from = c->n;
    int64_t upper = 0;
    dna_corpus_file *f = &c->file[c->files];
    *f = (dna_corpus_file){.path = mb_strdup(strcmp(input, "-") == 0 ? "standard input" : input), .first = c->contigs};
    if (!f->path)
        return mb_fail(e, MB_NOMEM, "no memory for the name of an input");
    c->files++;
    dna_reader *reader = NULL;
    int rc = dna_reader_open(&reader, &input, 1, &o->reader, e);
    if (!rc)
        rc = load_records(c, reader, &upper, o, a, progress, e);
    dna_reader_counts counts = {0};
    if (!rc)
        counts = dna_reader_count(reader);
    dna_reader_close(reader);
    if (rc)
        return rc;
    if (counts.renamed)
        mb_warn("%s: %" PRId64 " records bore a name that came before and got a suffix", f->path, counts.renamed);
    if (counts.empty_skipped)
        mb_warn("%s: %" PRId64 " records without bases were passed over", f->path, counts.empty_skipped);
    f->soft_masked = upper > 0 && f->letters.lower > 0;
    if (upper == 0 && f->letters.lower > 0) {
        for (int64_t i = from; i < c->n; i++)
            c->base[i] &= DNA_TOKEN_BITS;
        mb_info("%s: all bases are lower case, so that lower case does not mean soft-masked here", f->path);
    }
    for (int64_t i = from; f->soft_masked && i < c->n; i++)
        c->soft += c->base[i] >> 7;
    dna_counts_add(&c->letters, &f->letters);
    return MB_OK;
}

static int compare_names(const void *x, const void *y, void *user) {
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    int order = strcmp(dna_corpus_name(user, a), dna_corpus_name(user, b));
    return order ? order : (a > b) - (a < b);
}

static uint32_t checksum(const dna_corpus *c) {
    uint32_t crc = (uint32_t)crc32_z(0, (const Bytef *)c->names.data, (size_t)c->names.n);
    for (int64_t i = 0; i < c->contigs; i++)
        crc = (uint32_t)crc32_z(crc, (const Bytef *)&c->contig[i].length, sizeof c->contig[i].length);
    return (uint32_t)crc32_z(crc, c->base, (size_t)c->n);
}

/* What can be said once all is read. */
static int finish(dna_corpus *c, const dna_alphabet *a, mb_err *e) {
    for (int i = 0; i < 4; i++)
        c->is_base[a->base[i]] = c->is_base[a->base[i] | DNA_SOFT] = 1;
    int64_t bases = 0;
    for (int64_t i = 0; i < c->n; i++)
        bases += c->is_base[c->base[i]];
    if (bases == 0)
        return mb_fail(e, MB_FORMAT, "%s%s: no A, C, G or T to train on%s", c->file[0].path,
                       c->files > 1 ? " and the other inputs" : "",
                       c->letters.lower ? " (lower case was taken as N: --lower-case fold takes it as bases)" : "");
    uint8_t *less = mb_realloc(c->base, (size_t)c->n);
    if (less) { /* else the larger block stays */
        c->base = less;
        c->capacity = c->n;
    }
    c->by_name = mb_realloc_array(NULL, (size_t)c->contigs, sizeof *c->by_name);
    if (!c->by_name)
        return mb_fail(e, MB_NOMEM, "no memory for the names of %" PRId64 " contigs", c->contigs);
    for (int64_t i = 0; i < c->contigs; i++)
        c->by_name[i] = i;
    qsort_r(c->by_name, (size_t)c->contigs, sizeof *c->by_name, compare_names, c);
    c->crc = checksum(c);
    return MB_OK;
}

static void tell(const dna_corpus *c) {
    char total[32], bytes[32];
    const dna_counts *l = &c->letters;
    mb_info("training sequence: %s bases in %" PRId64 " contig%s of %d file%s, %.3g %% N, %.3g %% soft-masked; %s",
            mb_human_count((double)c->n, total), c->contigs, c->contigs == 1 ? "" : "s", c->files,
            c->files == 1 ? "" : "s", 100.0 * (double)l->n / (double)c->n, 100.0 * (double)c->soft / (double)c->n,
            mb_human_bytes((double)dna_corpus_bytes(c), bytes));
    if (l->ambiguous)
        mb_warn("%" PRId64 " ambiguity codes were taken as N (--ambiguous error refuses them)", l->ambiguous);
    if (l->gaps)
        mb_warn("%" PRId64 " gap characters were taken as N", l->gaps);
    if (l->u)
        mb_warn("%" PRId64 " letters U were taken as T", l->u);
}

static int check_inputs(const dna_corpus_options *o, mb_err *e) {
    int dashes = 0;
    if (o->reader.regions)
        return mb_fail(e, MB_USAGE, "training reads whole files; which stretches are used is said by a BED of splits");
    for (int i = 0; i < o->n_inputs; i++) {
        const int dash = strcmp(o->inputs[i], "-") == 0;
        dashes += dash;
        if (!dash && !mb_file_exists(o->inputs[i]) && !mb_dir_exists(o->inputs[i]))
            return mb_fail(e, MB_NOTFOUND, "%s: there is no such file", o->inputs[i]);
    }
    return dashes > 1 ? mb_fail(e, MB_USAGE, "standard input (-) can be read once, not %d times", dashes) : MB_OK;
}

int dna_corpus_load(dna_corpus *c, const dna_corpus_options *o, const dna_alphabet *a, mb_err *e) {
    memset(c, 0, sizeof *c);
    MB_ASSERT(o->n_inputs > 0);
    int rc = check_inputs(o, e);
    if (rc)
        return rc;
    mb_progress *progress = mb_progress_start("reading", "bp", 0);
    c->file = mb_calloc((size_t)o->n_inputs, sizeof *c->file);
    if (!c->file)
        rc = mb_fail(e, MB_NOMEM, "no memory for %d inputs", o->n_inputs);
    for (int i = 0; !rc && i < o->n_inputs; i++)
        rc = load_file(c, o->inputs[i], o, a, progress, e);
    mb_progress_finish(progress);
    if (!rc)
        rc = finish(c, a, e);
    if (rc)
        dna_corpus_fini(c);
    else
        tell(c);
    return rc;
}
