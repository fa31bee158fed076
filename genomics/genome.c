/* htslib's faidx with what it leaves out: the index is checked line by line before the library divides by what stands
 * in it, is built under a temporary name and renamed (two runs may start at once), and a fetch that comes back short is
 * an error. Refuses plain gzip, which cannot be entered in the middle, and indexes that do not fit the file. */
#include "genomics/genome.h"

#include <errno.h>
#include <htslib/bgzf.h>
#include <htslib/faidx.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "genomics/record.h"

/* Bases per library call: bounds the copy it makes. */
#define SLICE           ((int64_t)1 << 20)
#define MAX_INDEX_BYTES ((size_t)1 << 30)
/* Contigs whose place in the file is compared with the index: bounds the time that opening a draft assembly takes. */
#define MAX_COMPARED 10000
#define HEADER_BYTES 4096

struct dna_genome {
    faidx_t *index;
    char *path;
};

typedef struct paths {
    char *fai, *gzi; /* gzi NULL for a plain file */
    char *folder;    /* to be removed after loading; NULL when the index stays */
} paths;

static void free_paths(paths *p) {
    if (p->folder) {
        unlink(p->fai);
        if (p->gzi)
            unlink(p->gzi);
        rmdir(p->folder);
    }
    mb_free(p->fai);
    mb_free(p->gzi);
    mb_free(p->folder);
}

/* 0 plain, 1 BGZF; plain gzip and unreadable files are errors. */
static int compression_of(const char *path, mb_err *e) {
    BGZF *f = bgzf_open(path, "r");
    if (!f)
        return mb_fail_errno(e, errno == ENOENT ? MB_NOTFOUND : MB_IO, "%s: cannot be opened", path);
    int kind = bgzf_compression(f), whole = kind == 2 ? bgzf_check_EOF(f) : 1;
    bgzf_close(f);
    if (kind == 1)
        return mb_fail(e, MB_NOTSUP,
                       "%s: is plain gzip, which has no random access; for regions compress it again with bgzip "
                       "(gunzip -c FILE.gz | bgzip > FILE.bgz)",
                       path);
    if (whole == 0)
        return mb_fail(e, MB_FORMAT, "%s: the BGZF end marker is missing, so the file is cut short", path);
    return kind == 2;
}

static int fail_line(const char *fai, int64_t line, const char *what, mb_err *e) {
    return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": %s; delete this index and it will be built again", fai, line, what);
}

/* Up to n bytes at `from` of the uncompressed text; fewer at its end, negative when they cannot be read. */
static ssize_t read_at(BGZF *f, int64_t from, char *out, size_t n) {
    return bgzf_useek(f, from, SEEK_SET) < 0 ? -1 : bgzf_read(f, out, n);
}

/* Does ">name" end just before offset, does the first line break where it should, and is there no base after the last?
 * An index of another file, or of what the file was, would give wrong bases without a word. */
static int fits_file(BGZF *f, const char *name, size_t n, int64_t length, int64_t offset, int64_t bases,
                     int64_t bytes) {
    char text[HEADER_BYTES], next = '\n';
    const int64_t from = offset > HEADER_BYTES ? offset - HEADER_BYTES : 0;
    const ssize_t got = read_at(f, from, text, (size_t)(offset - from));
    if (got != offset - from || got < 1 || text[got - 1] != '\n')
        return 0;
    ssize_t start = got - 1;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    const size_t line = (size_t)(got - start);
    if ((start > 0 || from == 0) && /* else the header is longer than what was read */
        (text[start] != '>' || line < n + 2 || memcmp(text + start + 1, name, n) != 0 ||
         !strchr(" \t\r\n", text[start + 1 + (ssize_t)n])))
        return 0;
    if (length == 0)
        return 1;
    if (length > bases && (read_at(f, offset + bases, &next, 1) != 1 || (next != '\n' && next != '\r')))
        return 0;
    const int64_t end = offset + (length - 1) / bases * bytes + (length - 1) % bases + 1;
    const ssize_t more = read_at(f, end, &next, 1);
    return more == 0 || (more == 1 && (next == '\n' || next == '\r'));
}

/* A line is: name, length, offset, bases per line, bytes per line. */
static int check_line(const char *fai, int64_t at, const char *line, int64_t file_bytes, BGZF *f, mb_err *e) {
    int64_t length, offset, bases, bytes;
    const char *tab = strchr(line, '\t'), *number = tab ? tab + 1 : NULL;
    if (!tab || tab == line || !dna_take_number(&number, 10, '\t', &length) ||
        !dna_take_number(&number, 10, '\t', &offset) || !dna_take_number(&number, 10, '\t', &bases) ||
        !dna_take_number(&number, 10, 0, &bytes))
        return fail_line(fai, at, "is not a FASTA index line (name and four numbers)", e);
    if (length < 0 || offset < 0 || bases < 0 || bytes < bases || (length > 0 && bases == 0) || length > INT32_MAX ||
        bases > INT32_MAX || bytes > INT32_MAX)
        return fail_line(fai, at, "numbers out of range", e);
    if (file_bytes >= 0 && (offset > file_bytes || length > file_bytes - offset))
        return fail_line(fai, at, "the contig reaches beyond the end of the FASTA file", e);
    if (at <= MAX_COMPARED && !fits_file(f, line, (size_t)(tab - line), length, offset, bases, bytes))
        return fail_line(fai, at, "the FASTA file has another sequence at this place, so it was changed since", e);
    return MB_OK;
}

/* file_bytes: size of the plain FASTA file, -1 where it is compressed. */
static int check_index(const char *fai, int64_t file_bytes, BGZF *f, mb_err *e) {
    char *text = NULL;
    size_t size = 0;
    int rc = mb_file_read_all(fai, MAX_INDEX_BYTES, &text, &size, e);
    if (rc)
        return rc;
    if (strlen(text) != size)
        rc = fail_line(fai, 1, "holds a zero byte", e);
    int64_t at = 0;
    for (char *line = text; !rc && *line;) {
        char *end = strchr(line, '\n');
        at++;
        if (!end) {
            rc = fail_line(fai, at, "the last line is cut short", e);
            break;
        }
        *end = 0;
        rc = check_line(fai, at, line, file_bytes, f, e);
        line = end + 1;
    }
    if (!rc && at == 0)
        rc = fail_line(fai, 1, "is empty", e);
    mb_free(text);
    return rc;
}

static int name_paths(paths *p, const char *folder, const char *path, int compressed, mb_err *e) {
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    memset(p, 0, sizeof *p);
    p->folder = folder ? mb_strdup(folder) : NULL;
    p->fai = folder ? mb_asprintf("%s/%s.fai", folder, base) : mb_asprintf("%s.fai", path);
    if (compressed)
        p->gzi = folder ? mb_asprintf("%s/%s.gzi", folder, base) : mb_asprintf("%s.gzi", path);
    if (p->fai && (p->gzi || !compressed) && (p->folder || !folder))
        return MB_OK;
    return mb_fail(e, MB_NOMEM, "%s: no memory for the names of its index", path);
}

static int fail_build(const char *path, mb_err *e) {
    return mb_fail(
        e, MB_FORMAT,
        "%s: cannot be indexed: it is damaged, not FASTA, holds a name twice, its lines end in CR alone, or those within a "
        "record differ in length (samtools faidx names the place)",
        path);
}

/* Builds under temporary names beside the final ones; *unwritable tells a folder without write permission from the
 * rest. */
static int build_beside(const char *path, const paths *p, int *unwritable, mb_err *e) {
    *unwritable = 0;
    char *fai = mb_asprintf("%s.tmp.%ld", p->fai, (long)getpid());
    char *gzi = p->gzi ? mb_asprintf("%s.tmp.%ld", p->gzi, (long)getpid()) : NULL;
    int rc = MB_OK;
    if (!fai || (p->gzi && !gzi)) {
        rc = mb_fail(e, MB_NOMEM, "%s: no memory for the names of its index", path);
        goto done;
    }
    FILE *probe = fopen(fai, "w");
    if (!probe) {
        *unwritable = errno == EACCES || errno == EROFS || errno == EPERM;
        rc = MB_IO;
        if (!*unwritable)
            mb_fail_errno(e, rc, "%s: cannot be written", p->fai);
        goto done;
    }
    fclose(probe);
    if (fai_build3(path, fai, gzi) != 0)
        rc = fail_build(path, e);
    else if ((gzi && rename(gzi, p->gzi)) || rename(fai, p->fai))
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be put in place", p->fai);
done:
    if (rc && fai)
        unlink(fai);
    if (rc && gzi)
        unlink(gzi);
    mb_free(fai);
    mb_free(gzi);
    return rc;
}

static int build_elsewhere(const char *path, int compressed, paths *p, mb_err *e) {
    const char *tmp = getenv("TMPDIR");
    char folder[512];
    snprintf(folder, sizeof folder, "%.480s/dna-mamba.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return mb_fail_errno(e, MB_IO, "%s: its folder cannot be written, nor %s, so there is no place for an index",
                             path, folder);
    free_paths(p);
    int rc = name_paths(p, folder, path, compressed, e);
    if (rc)
        return rc;
    mb_info("%s: the folder cannot be written; building the index in %s for this run only", path, folder);
    return fai_build3(path, p->fai, p->gzi) == 0 ? MB_OK : fail_build(path, e);
}

static int make_index(const char *path, int compressed, paths *p, mb_err *e) {
    if (mb_file_exists(p->fai) && (!p->gzi || mb_file_exists(p->gzi))) {
        struct stat data, index;
        if (stat(path, &data) == 0 && stat(p->fai, &index) == 0 && index.st_mtime < data.st_mtime)
            mb_warn("%s is older than %s; delete it if the sequence was changed", p->fai, path);
        return MB_OK;
    }
    int unwritable;
    int rc = build_beside(path, p, &unwritable, e);
    if (rc && unwritable)
        return build_elsewhere(path, compressed, p, e);
    if (!rc)
        mb_info("%s: built", p->fai);
    return rc;
}

static int fail_pair(const char *path, const paths *p, mb_err *e) {
    return mb_fail(e, MB_FORMAT, "%s: cannot be used with its index %s; delete the index%s and it will be built again",
                   path, p->fai, p->gzi ? " and the .gzi" : "");
}

static int check_pair(const char *path, const paths *p, mb_err *e) {
    struct stat s;
    BGZF *f = bgzf_open(path, "r");
    int rc = MB_OK;
    if (!f || stat(path, &s))
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be read", path);
    else if (p->gzi && bgzf_index_load(f, p->gzi, NULL))
        rc = fail_pair(path, p, e);
    else
        rc = check_index(p->fai, p->gzi ? -1 : (int64_t)s.st_size, f, e);
    if (f)
        bgzf_close(f);
    return rc;
}

int dna_genome_open(dna_genome **out, const char *path, mb_err *e) {
    *out = NULL;
    int compressed = compression_of(path, e);
    if (compressed < 0)
        return compressed;
    paths p = {0};
    dna_genome *g = mb_calloc(1, sizeof *g);
    int rc = g && (g->path = mb_strdup(path)) ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory to open it", path);
    if (!rc)
        rc = name_paths(&p, NULL, path, compressed, e);
    if (!rc)
        rc = make_index(path, compressed, &p, e);
    if (!rc)
        rc = check_pair(path, &p, e);
    if (!rc && !(g->index = fai_load3(path, p.fai, p.gzi, 0)))
        rc = fail_pair(path, &p, e);
    free_paths(&p);
    if (rc)
        dna_genome_close(g);
    else
        *out = g;
    return rc;
}

void dna_genome_close(dna_genome *g) {
    if (!g)
        return;
    if (g->index)
        fai_destroy(g->index);
    mb_free(g->path);
    mb_free(g);
}

static int64_t contig_length(void *user, const char *name) {
    const dna_genome *g = user;
    return faidx_has_seq(g->index, name) ? faidx_seq_len(g->index, name) : -1;
}

static const char *contig_name(void *user, int64_t i) {
    const dna_genome *g = user;
    return i < faidx_nseq(g->index) ? faidx_iseq(g->index, (int)i) : NULL;
}

dna_contigs dna_genome_contigs(dna_genome *g) {
    return (dna_contigs){.length = contig_length, .name = contig_name, .user = g, .file = g->path};
}

int dna_genome_fetch(dna_genome *g, const char *contig, int64_t from, int64_t n, char *out, mb_err *e) {
    while (n > 0) {
        int64_t want = n < SLICE ? n : SLICE;
        hts_pos_t got = 0;
        char *piece = faidx_fetch_seq64(g->index, contig, from, from + want - 1, &got);
        if (piece && got == want)
            memcpy(out, piece, (size_t)want);
        free(piece);
        if (!piece || got != want)
            return mb_fail(e, MB_FORMAT,
                           "%s: bases %" PRId64 "-%" PRId64
                           " of %s cannot be read: the file is damaged or its index is not of this file",
                           g->path, from + 1, from + want, contig);
        out += want;
        from += want;
        n -= want;
    }
    return MB_OK;
}
