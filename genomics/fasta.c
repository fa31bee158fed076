/* A parser of its own over htslib's BGZF stream, because the library's own readers forgive what must not be forgiven
 * here: kseq skips everything before the first '>', and sam_read1 turns unknown bytes of FASTA into N.
 *
 * FASTA: lines '>' name [comment], then sequence lines until the next '>'. FASTQ: '@' name, sequence lines until '+',
 * as many quality bytes as bases. Blank lines between records, CR LF and blanks inside sequence lines are taken.
 * Refuses: text before the first header, headers without a name (unless they are taken), a zero byte or a carriage
 * return in a header, FASTQ records cut short or with too many qualities, gzip and BGZF streams that end early (BGZF:
 * without the end marker), files without records.
 */
#include "genomics/fasta.h"

#include <errno.h>
#include <htslib/bgzf.h>
#include <htslib/hfile.h>
#include <htslib/hts.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

enum { BUFFER = 1 << 16 };

struct dna_fasta {
    BGZF *in;
    char *path;
    char marker; /* '>' or '@'; 0 before the first record */
    int at_end;
    int unnamed;     /* headers without a name are taken */
    int64_t line;    /* of the next unread byte, from 1 */
    int64_t records; /* begun so far */
    dna_text quality, header;
    size_t at, have;
    char buffer[BUFFER];
};

int dna_fasta_open(dna_fasta **out, hFILE *in, const char *path, mb_err *e) {
    *out = NULL;
    dna_fasta *f = mb_calloc(1, sizeof *f);
    if (f)
        f->path = mb_strdup(path);
    if (!f || !f->path) {
        mb_free(f);
        hclose_abruptly(in);
        return mb_fail(e, MB_NOMEM, "%s: no memory to read it", path);
    }
    f->line = 1;
    f->in = bgzf_hopen(in, "r");
    if (!f->in) {
        int rc =
            mb_fail_errno(e, errno == ENOMEM ? MB_NOMEM : MB_FORMAT, "%s: cannot be read as text, gzip or BGZF", path);
        hclose_abruptly(in);
        mb_free(f->path);
        mb_free(f);
        return rc;
    }
    *out = f;
    return MB_OK;
}

void dna_fasta_close(dna_fasta *f) {
    if (!f)
        return;
    bgzf_close(f->in); /* reading: nothing left that could fail */
    dna_text_fini(&f->quality);
    dna_text_fini(&f->header);
    mb_free(f->path);
    mb_free(f);
}

void dna_fasta_take_unnamed(dna_fasta *f) {
    f->unnamed = 1;
}

int dna_fasta_is_fastq(const dna_fasta *f) {
    return f->marker == '@';
}

static int fail_stream(const dna_fasta *f, mb_err *e) {
    return mb_fail(e, MB_FORMAT, "%s: the %s stream is damaged or cut short near line %" PRId64 " (record %" PRId64 ")",
                   f->path, bgzf_compression(f->in) ? "compressed" : "input", f->line, f->records);
}

/* Makes at least one byte available: 1, or 0 at the end, or an error. */
static int fill(dna_fasta *f, mb_err *e) {
    if (f->at < f->have)
        return 1;
    if (f->at_end)
        return 0;
    errno = 0;
    ssize_t got = bgzf_read(f->in, f->buffer, BUFFER);
    if (got < 0)
        return fail_stream(f, e);
    f->at = 0;
    f->have = (size_t)got;
    if (got > 0)
        return 1;
    f->at_end = 1;
    if (bgzf_compression(f->in) == bgzf && !f->in->last_block_eof)
        return mb_fail(e, MB_FORMAT,
                       "%s: the BGZF end marker is missing, so the file is cut short after line %" PRId64
                       " (record %" PRId64 "); if it is known to be whole, compress it again with bgzip",
                       f->path, f->line, f->records);
    return 0;
}

/* Appends the rest of the line, without its end, to t (or drops it when t is NULL). */
static int take_line(dna_fasta *f, dna_text *t, mb_err *e) {
    int64_t began = t ? t->n : 0;
    for (;;) {
        int rc = fill(f, e);
        if (rc < 0)
            return rc;
        if (rc == 0)
            break;
        char *from = f->buffer + f->at, *end = memchr(from, '\n', f->have - f->at);
        size_t n = end ? (size_t)(end - from) : f->have - f->at;
        if (t && dna_text_add(t, from, (int64_t)n, e))
            return mb_err_context(e, "%s:%" PRId64, f->path, f->line);
        f->at += n + (end != NULL);
        if (end) {
            f->line++;
            break;
        }
    }
    if (t && t->n > began && t->data[t->n - 1] == '\r')
        t->data[--t->n] = 0;
    return MB_OK;
}

/* First byte of the next line that is not blank, left unread; 0 at the end; negative on error. */
static int next_line_start(dna_fasta *f, mb_err *e) {
    for (;;) {
        int rc = fill(f, e);
        if (rc <= 0)
            return rc;
        unsigned char c = (unsigned char)f->buffer[f->at];
        if (c != '\n' && c != '\r')
            return c ? c : 256; /* 0 means the end */
        f->at++;
        f->line += c == '\n';
    }
}

static void drop_blanks(dna_text *t, int64_t from) {
    int64_t n = from;
    for (int64_t i = from; i < t->n; i++)
        if (t->data[i] != ' ' && t->data[i] != '\t')
            t->data[n++] = t->data[i];
    t->n = n;
}

static int take_letters(dna_fasta *f, dna_text *t, mb_err *e) {
    int64_t from = t->n;
    int rc = take_line(f, t, e);
    if (rc || t->n == from)
        return rc;
    size_t n = (size_t)(t->n - from);
    if (memchr(t->data + from, ' ', n) || memchr(t->data + from, '\t', n))
        drop_blanks(t, from);
    return MB_OK;
}

static int take_header(dna_fasta *f, dna_record *r, mb_err *e) {
    dna_text *h = &f->header;
    r->line = f->line;
    h->n = 0;
    int rc = dna_text_add(h, "", 0, e);
    f->at++; /* the marker */
    if (!rc)
        rc = take_line(f, h, e);
    if (rc)
        return rc;
    if (memchr(h->data, 0, (size_t)h->n))
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": zero byte in the header line", f->path, r->line);
    if (memchr(h->data, '\r', (size_t)h->n))
        return mb_fail(e, MB_FORMAT,
                       "%s:%" PRId64
                       ": a carriage return inside the header line: lines end in CR alone, as on old Macs; "
                       "convert them first: tr '\\r' '\\n'",
                       f->path, r->line);
    const size_t blank = f->unnamed ? strspn(h->data, " \t") : 0;
    const size_t name = strcspn(h->data + blank, " \t");
    const size_t comment = blank + name + strspn(h->data + blank + name, " \t");
    if (name == 0 && !f->unnamed)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": header without a name after '%c'", f->path, r->line, f->marker);
    r->name.n = r->comment.n = r->contig.n = 0;
    if ((rc = dna_text_add(&r->name, h->data + blank, (int64_t)name, e)) ||
        (rc = dna_text_add(&r->comment, h->data + comment, h->n - (int64_t)comment, e)))
        return rc;
    return dna_text_add(&r->contig, h->data + blank, (int64_t)name, e);
}

static int take_fasta_bases(dna_fasta *f, dna_record *r, mb_err *e) {
    for (;;) {
        int c = next_line_start(f, e);
        if (c < 0)
            return c;
        if (c == 0 || c == '>')
            return MB_OK;
        int rc = take_letters(f, &r->bases, e);
        if (rc)
            return rc;
    }
}

static int take_fastq_quality(dna_fasta *f, const dna_record *r, mb_err *e) {
    dna_text *q = &f->quality;
    q->n = 0;
    do {
        int more = fill(f, e);
        if (more < 0)
            return more;
        if (more == 0 && q->n < r->bases.n)
            return mb_fail(e, MB_FORMAT,
                           "%s:%" PRId64 ": record '%.100s' is cut short: %" PRId64 " bases, %" PRId64 " qualities",
                           f->path, f->line, r->name.data, r->bases.n, q->n);
        int rc = take_line(f, q, e);
        if (rc)
            return rc;
    } while (q->n < r->bases.n);
    if (q->n > r->bases.n)
        return mb_fail(e, MB_FORMAT,
                       "%s:%" PRId64 ": record '%.100s' has %" PRId64 " bases but more qualities (%" PRId64 ")",
                       f->path, f->line - 1, r->name.data, r->bases.n, q->n);
    return MB_OK;
}

static int take_fastq_bases(dna_fasta *f, dna_record *r, mb_err *e) {
    for (;;) {
        int c = next_line_start(f, e);
        if (c < 0)
            return c;
        if (c == 0)
            return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": record '%.100s' is cut short: no '+' line", f->path, f->line,
                           r->name.data);
        int rc = c == '+' ? take_line(f, NULL, e) : take_letters(f, &r->bases, e);
        if (rc)
            return rc;
        if (c == '+')
            return take_fastq_quality(f, r, e);
    }
}

static int fail_start(const dna_fasta *f, int c, mb_err *e) {
    char seen[8];
    if (c > 32 && c < 127)
        snprintf(seen, sizeof seen, "'%c'", c);
    else
        snprintf(seen, sizeof seen, "0x%02x", c & 255);
    if (f->marker)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": expected '%c' at the start of a record, found %s", f->path,
                       f->line, f->marker, seen);
    return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": not FASTA, FASTQ, SAM, BAM or CRAM: expected '>' or '@', found %s%s",
                   f->path, f->line, seen,
                   c > 32 && c < 127 && strchr("ACGTNacgtn", c) ? " (is the header line missing?)" : "");
}

int dna_fasta_next(dna_fasta *f, dna_record *r, mb_err *e) {
    int c = next_line_start(f, e);
    if (c < 0)
        return c;
    if (c == 0)
        return f->records ? 0 : mb_fail(e, MB_FORMAT, "%s: holds no sequence (the file is empty)", f->path);
    if (f->marker ? c != f->marker : c != '>' && c != '@')
        return fail_start(f, c, e);
    f->marker = (char)c;
    f->records++;
    r->file = f->path;
    r->number = f->records;
    r->bases.n = 0;
    int rc = take_header(f, r, e);
    if (!rc)
        rc = c == '>' ? take_fasta_bases(f, r, e) : take_fastq_bases(f, r, e);
    if (rc)
        return rc;
    r->start = 0;
    r->end = r->bases.n;
    r->strand = '+';
    r->linear = 1;
    return 1;
}
