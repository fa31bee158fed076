/* BED: tab- or blank-separated chrom, start, end [, name, score, strand, ...], 0-based half open; lines that are blank
 * or begin with '#', "track" or "browser" are passed over. Text: 1-based inclusive, commas allowed in numbers,
 * "contig:from" and "contig:from-" reach to the end; a contig whose own name holds a colon is found first.
 * Refuses empty intervals, intervals outside their contig, unknown contigs, strands other than + - . */
#include "genomics/regions.h"

#include <ctype.h>
#include <errno.h>
#include <htslib/bgzf.h>
#include <htslib/hts.h>
#include <htslib/kstring.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/file.h"
#include "core/mem.h"

/* Takes over the names of *new, in every case. */
static int add(dna_regions *r, const dna_region *new, mb_err *e) {
    if (r->n == r->capacity) {
        int64_t capacity = r->capacity ? 2 * r->capacity : 16;
        dna_region *grown = mb_realloc_array(r->at, (size_t)capacity, sizeof *grown);
        if (!grown) {
            mb_free(new->contig);
            mb_free(new->name);
            return mb_fail(e, MB_NOMEM, "%s: no memory for %" PRId64 " regions", r->source, capacity);
        }
        r->at = grown;
        r->capacity = capacity;
    }
    r->at[r->n++] = *new;
    return MB_OK;
}

void dna_regions_fini(dna_regions *r) {
    for (int64_t i = 0; i < r->n; i++) {
        mb_free(r->at[i].contig);
        mb_free(r->at[i].name);
    }
    mb_free(r->at);
    mb_free(r->source);
    memset(r, 0, sizeof *r);
}

static int copy_names(dna_region *g, const char *contig, const char *name, const char *source, mb_err *e) {
    g->contig = mb_strdup(contig);
    g->name = name ? mb_strdup(name) : NULL;
    if (g->contig && (g->name || !name))
        return MB_OK;
    mb_free(g->contig);
    mb_free(g->name);
    return mb_fail(e, MB_NOMEM, "%s: no memory for a region", source);
}

/* Cuts line at tabs, or at blanks when it has no tab. Returns how many columns, at most max; the rest stays in the
 * last. */
static int split(char *line, char **column, int max) {
    const char *between = strchr(line, '\t') ? "\t" : " ";
    int n = 0;
    for (char *p = line; p && n < max; n++) {
        column[n] = p;
        p += strcspn(p, between);
        if (!*p)
            p = NULL;
        else
            *p++ = 0;
        while (p && *between == ' ' && *p == ' ')
            p++;
    }
    return n;
}

/* A whole non-negative number, commas allowed between digits when commas is set; -1 otherwise. */
static int64_t number(const char *s, const char *end, int commas) {
    int64_t value = 0;
    int digits = 0;
    for (; s < end; s++) {
        if (*s == ',' && commas && digits)
            continue;
        if (!isdigit((unsigned char)*s) || value > (INT64_MAX - 9) / 10)
            return -1;
        value = 10 * value + (*s - '0');
        digits++;
    }
    return digits ? value : -1;
}

static int64_t whole_number(const char *s) {
    return number(s, s + strlen(s), 0);
}

static int bed_line(dna_regions *r, char *line, int64_t at, mb_err *e) {
    char *column[7];
    int n = split(line, column, 7);
    if (n < 3)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": %d column%s, a BED line has at least chrom, start, end",
                       r->source, at, n, n == 1 ? "" : "s");
    dna_region g = {.start = whole_number(column[1]), .end = whole_number(column[2]), .strand = '+', .line = at};
    if (g.start < 0 || g.end < 0)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": '%.40s' is not a position (whole number from 0)", r->source, at,
                       column[g.start < 0 ? 1 : 2]);
    if (g.start >= g.end)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": the interval %" PRId64 "-%" PRId64 " holds no base", r->source,
                       at, g.start, g.end);
    if (n >= 6) {
        if (strcmp(column[5], "+") && strcmp(column[5], "-") && strcmp(column[5], "."))
            return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": strand '%.40s' is neither + nor - nor .", r->source, at,
                           column[5]);
        g.strand = column[5][0] == '-' ? '-' : '+';
    }
    int named = n >= 4 && column[3][0] && strcmp(column[3], ".") != 0;
    int rc = copy_names(&g, column[0], named ? column[3] : NULL, r->source, e);
    return rc ? rc : add(r, &g, e);
}

static int is_comment(const char *line) {
    return !*line || *line == '#' || !strncmp(line, "track", 5) || !strncmp(line, "browser", 7);
}

static int read_bed(dna_regions *r, mb_err *e) {
    BGZF *in = bgzf_open(r->source, "r");
    if (!in)
        return mb_fail_errno(e, MB_IO, "%s: cannot be opened", r->source);
    kstring_t line = KS_INITIALIZE;
    int rc = MB_OK, got = 0;
    for (int64_t at = 1; !rc && (got = bgzf_getline(in, '\n', &line)) >= 0; at++) {
        if (line.l && line.s[line.l - 1] == '\r')
            line.s[--line.l] = 0;
        if (strlen(line.s) != line.l)
            rc = mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": zero byte, this is not a BED file", r->source, at);
        else if (!is_comment(line.s))
            rc = bed_line(r, line.s, at, e);
    }
    if (!rc && (got < -1 || (bgzf_compression(in) == bgzf && !in->last_block_eof)))
        rc = mb_fail(e, MB_FORMAT, "%s: damaged or cut short after %" PRId64 " regions", r->source, r->n);
    if (!rc && r->n == 0)
        rc = mb_fail(e, MB_FORMAT, "%s: holds no region", r->source);
    ks_free(&line);
    bgzf_close(in);
    return rc;
}

int dna_regions_read(dna_regions *r, const char *what, mb_err *e) {
    memset(r, 0, sizeof *r);
    r->source = mb_strdup(what);
    int rc = r->source ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory for regions", what);
    if (!rc && mb_file_exists(what)) {
        rc = read_bed(r, e);
    } else if (!rc) {
        size_t n = strlen(what);
        dna_region g = {.end = -1, .strand = '+'};
        r->from_text = 1;
        if (n > 4 && (!strcasecmp(what + n - 4, ".bed") || (n > 7 && !strcasecmp(what + n - 7, ".bed.gz"))))
            rc = mb_fail(e, MB_NOTFOUND, "%s: no such BED file", what);
        else if (!(rc = copy_names(&g, what, NULL, what, e)))
            rc = add(r, &g, e);
    }
    if (rc)
        dna_regions_fini(r);
    return rc;
}

/* Splits at the last colon unless the whole text names a contig. */
static int split_text(dna_region *g, const dna_contigs *c, mb_err *e) {
    char *text = g->contig, *colon = strrchr(text, ':');
    if (c->length(c->user, text) >= 0 || !colon)
        return MB_OK;
    const char *from = colon + 1, *dash = strchr(from, '-'), *end = from + strlen(from);
    g->start = number(from, dash ? dash : end, 1) - 1;
    g->end = dash && dash[1] ? number(dash + 1, end, 1) : -1;
    if (g->start < 0 || (dash && dash[1] && g->end <= g->start))
        return mb_fail(e, MB_USAGE,
                       "region '%s': expected contig, contig:from or contig:from-to, positions counted from 1", text);
    *colon = 0;
    return MB_OK;
}

static size_t stem_length(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && dot[1] && strspn(dot + 1, "0123456789") == strlen(dot + 1) ? (size_t)(dot - name) : strlen(name);
}

static const char *without_chr(const char *name) {
    return strncasecmp(name, "chr", 3) == 0 ? name + 3 : name;
}

/* Same but for a chr prefix, case, a version (".1"), or M against MT. */
static int is_alias(const char *a, const char *b) {
    a = without_chr(a);
    b = without_chr(b);
    size_t n = stem_length(a), m = stem_length(b);
    if (n == m && strncasecmp(a, b, n) == 0)
        return 1;
    return (!strcasecmp(a, "M") && !strcasecmp(b, "MT")) || (!strcasecmp(a, "MT") && !strcasecmp(b, "M"));
}

const char *dna_contigs_alias(const dna_contigs *c, const char *contig) {
    const char *name;
    for (int64_t i = 0; (name = c->name(c->user, i)); i++)
        if (is_alias(name, contig))
            return name;
    return NULL;
}

int dna_contigs_fail(const dna_contigs *c, const char *where, const char *contig, mb_err *e) {
    const char *name = dna_contigs_alias(c, contig);
    if (name)
        return mb_fail(e, MB_RANGE, "%s: contig '%s' is not in %s, which calls it '%s'", where, contig, c->file, name);
    char list[256] = "";
    int64_t i = 0;
    for (size_t n = 0; i < 5 && (name = c->name(c->user, i)) && n < sizeof list - 40; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%.30s", i ? ", " : "", name);
    int more = c->name(c->user, i) != NULL;
    return mb_fail(e, MB_RANGE, "%s: contig '%.100s' is not in %s, which holds %s%s", where, contig, c->file,
                   *list ? list : "none", more ? ", ..." : "");
}

int dna_regions_resolve(dna_regions *r, const dna_contigs *c, mb_err *e) {
    if (r->from_text) {
        int rc = split_text(&r->at[0], c, e);
        if (rc)
            return rc;
        r->from_text = 0;
    }
    for (int64_t i = 0; i < r->n; i++) {
        dna_region *g = &r->at[i];
        char where[256];
        if (g->line)
            snprintf(where, sizeof where, "%.200s:%" PRId64, r->source, g->line);
        else
            snprintf(where, sizeof where, "region '%.200s'", r->source);
        int64_t length = c->length(c->user, g->contig);
        if (length < 0)
            return dna_contigs_fail(c, where, g->contig, e);
        if (g->end < 0)
            g->end = length;
        if (g->start >= g->end || g->end > length)
            return mb_fail(e, MB_RANGE,
                           "%s: %" PRId64 "-%" PRId64 " (counted from 1) reaches outside %s, which has %" PRId64
                           " bases in %s",
                           where, g->start + 1, g->end, g->contig, length, c->file);
    }
    return MB_OK;
}

int dna_regions_all(dna_regions *r, const dna_contigs *c, mb_err *e) {
    const char *name;
    memset(r, 0, sizeof *r);
    r->source = mb_strdup(c->file);
    int rc = r->source ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory for regions", c->file);
    for (int64_t i = 0; !rc && (name = c->name(c->user, i)); i++) {
        dna_region g = {.end = c->length(c->user, name), .strand = '+'};
        if (g.end > 0 && !(rc = copy_names(&g, name, NULL, r->source, e)))
            rc = add(r, &g, e);
    }
    if (!rc && r->n == 0)
        rc = mb_fail(e, MB_FORMAT, "%s: holds no base", c->file);
    if (rc)
        dna_regions_fini(r);
    return rc;
}

static int by_place(const void *a, const void *b) {
    const dna_region *x = a, *y = b;
    const int order = strcmp(x->contig, y->contig);
    return order                  ? order
           : x->start != y->start ? (x->start > y->start) - (x->start < y->start)
                                  : (x->end > y->end) - (x->end < y->end);
}

void dna_regions_merge(dna_regions *r) {
    int64_t kept = 0;
    if (r->n > 1)
        qsort(r->at, (size_t)r->n, sizeof *r->at, by_place);
    for (int64_t i = 0; i < r->n; i++) {
        dna_region *last = kept ? &r->at[kept - 1] : NULL, *g = &r->at[i];
        if (!last || strcmp(last->contig, g->contig) != 0 || g->start > last->end) {
            r->at[kept++] = *g;
            continue;
        }
        if (g->end > last->end)
            last->end = g->end;
        mb_free(g->contig);
        mb_free(g->name);
    }
    r->n = kept;
}

int64_t dna_regions_bases(const dna_regions *r) {
    int64_t sum = 0;
    for (int64_t i = 0; i < r->n; i++)
        sum += r->at[i].end - r->at[i].start;
    return sum;
}
