/* Where labels stand in tables, FASTA headers and BED files. Columns and patterns that are not given are guessed from
 * the usual names, refused when two fit, and said. */
#include "genomics/labelled_internal.h"

#include <ctype.h>
#include <htslib/bgzf.h>
#include <htslib/hfile.h>
#include <htslib/kstring.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"
#include "genomics/fasta.h"
#include "genomics/genome.h"
#include "genomics/table.h"

static const char *file_of(const dna_builder *b) {
    return b->d->file[b->d->n_files - 1];
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

typedef struct columns {
    int sequence, split, name; /* -1: none */
    int *label;                /* (n_labels) */
    int n_labels, all;         /* all: fields of the header */
} columns;

/* The header's names as "a, b, c, ...". */
static char *list_header(const dna_table *t, char *out, size_t size) {
    size_t at = 0;
    *out = 0;
    for (int i = 0; i < t->n && at + 60 < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%.40s", i ? ", " : "", dna_table_text(t, i));
    if (at + 60 >= size)
        snprintf(out + at, size - at, ", ...");
    return out;
}

/* A column by its name as written, by its name in another case, or by its number. */
static int find_column(const dna_table *t, const char *name, const char *what, int *column, mb_err *e) {
    char list[400], *end;
    for (int i = 0; i < t->n; i++)
        if (strcmp(dna_table_text(t, i), name) == 0)
            return (void)(*column = i), MB_OK;
    for (int i = 0; i < t->n; i++)
        if (strcasecmp(dna_table_text(t, i), name) == 0)
            return (void)(*column = i), MB_OK;
    const long number = isdigit((unsigned char)*name) ? strtol(name, &end, 10) : 0;
    if (number > 0 && number <= t->n && !*end)
        return (void)(*column = (int)number - 1), MB_OK;
    return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ":1: found the columns %s; expected '%.100s' for the %s", t->path,
                   t->field[0].line, list_header(t, list, sizeof list), name, what);
}

/* The one column whose name is among the words "a|b|c"; -1 when there is none. */
static int guess_column(const dna_table *t, const char *words, const char *what, int *column, mb_err *e) {
    *column = -1;
    for (int i = 0; i < t->n; i++) {
        const char *name = dna_table_text(t, i);
        const size_t n = strlen(name);
        int found = 0;
        for (const char *w = words; w && n; w = strchr(w, '|') ? strchr(w, '|') + 1 : NULL)
            found |= strcspn(w, "|") == n && strncasecmp(w, name, n) == 0;
        if (found && *column >= 0)
            return mb_fail(e, MB_FORMAT,
                           "%s:%" PRId64 ":%" PRId64 ": found '%.40s' and '%.40s', either could be the %s; "
                           "name the column",
                           t->path, t->field[i].line, t->field[i].column, dna_table_text(t, *column), name, what);
        if (found)
            *column = i;
    }
    return MB_OK;
}

static int must_guess(const dna_table *t, const char *words, const char *what, int *column, mb_err *e) {
    char list[400];
    int rc = guess_column(t, words, what, column, e);
    if (rc || *column >= 0)
        return rc;
    return mb_fail(e, MB_FORMAT,
                   "%s:%" PRId64 ":1: found the columns %s; expected a header line with a %s column (%s), "
                   "or its name to be given",
                   t->path, t->field[0].line, list_header(t, list, sizeof list), what, words);
}

static int find_labels(const dna_builder *b, const dna_table *t, columns *c, mb_err *e) {
    const char *given = b->o->label;
    int n = 1;
    for (const char *s = given; s && *s; s++)
        n += *s == ',';
    c->label = mb_calloc((size_t)n, sizeof *c->label);
    if (!c->label)
        return mb_fail(e, MB_NOMEM, "%s: no memory for %d label columns", t->path, n);
    c->n_labels = n;
    if (!given)
        return must_guess(t, "label|labels|class|target|y", "label", &c->label[0], e);
    char *copy = mb_strdup(given), *at = copy;
    int rc = copy ? MB_OK : mb_fail(e, MB_NOMEM, "%s: no memory for label columns", t->path);
    for (int i = 0; !rc && i < n; i++) {
        char *next = at + strcspn(at, ",");
        *next = 0;
        rc = find_column(t, at, "label", &c->label[i], e);
        for (int j = 0; !rc && j < i; j++)
            if (c->label[j] == c->label[i])
                rc = mb_fail(e, MB_USAGE, "label column '%.100s' is named twice", at);
        at = next + 1;
    }
    mb_free(copy);
    return rc;
}

static int check_header(const dna_table *t, mb_err *e) {
    for (int i = 0; i < t->n; i++)
        for (int j = 0; j < i && t->n <= 256; j++)
            if (*dna_table_text(t, i) && strcmp(dna_table_text(t, i), dna_table_text(t, j)) == 0)
                return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ":%" PRId64 ": found column '%.100s' a second time", t->path,
                               t->field[i].line, t->field[i].column, dna_table_text(t, i));
    return MB_OK;
}

static int find_columns(dna_builder *b, const dna_table *t, columns *c, mb_err *e) {
    const dna_labelled_options *o = b->o;
    int rc = check_header(t, e);
    c->all = t->n;
    c->split = c->name = -1;
    if (!rc)
        rc = o->sequence ? find_column(t, o->sequence, "sequence", &c->sequence, e)
                         : must_guess(t, "seq|sequence|dna", "sequence", &c->sequence, e);
    if (!rc && !o->without_labels)
        rc = find_labels(b, t, c, e);
    if (!rc)
        rc = o->name ? find_column(t, o->name, "name", &c->name, e) : guess_column(t, "name|id", "name", &c->name, e);
    if (!rc)
        rc = o->split ? find_column(t, o->split, "split", &c->split, e)
                      : guess_column(t, "split", "split", &c->split, e);
    if (b->part >= 0)
        c->split = -1;
    return rc;
}

static int say_columns(dna_builder *b, const dna_table *t, const columns *c, mb_err *e) {
    int rc = MB_OK;
    if (!b->o->sequence)
        rc = dna_said(b->d, e, "%.200s: column '%.60s' is taken for the sequence", t->path,
                      dna_table_text(t, c->sequence));
    if (!rc && !b->o->label && c->n_labels)
        rc =
            dna_said(b->d, e, "%.200s: column '%.60s' is taken for the label", t->path, dna_table_text(t, c->label[0]));
    if (!rc && !b->o->split && c->split >= 0)
        rc = dna_said(b->d, e, "%.200s: column '%.60s' is taken for the split", t->path, dna_table_text(t, c->split));
    return rc;
}

static int declare_columns(dna_builder *b, const dna_table *t, const columns *c, const char **names, mb_err *e) {
    if (!c->n_labels)
        return MB_OK;
    for (int i = 0; i < c->n_labels; i++)
        names[i] = dna_table_text(t, c->label[i]);
    return dna_builder_columns(b, names, c->n_labels, e);
}

static int add_row(dna_builder *b, dna_table *t, const columns *c, const char **label, int32_t *column, mb_err *e) {
    if (t->n != c->all)
        return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ":%" PRId64 ": found %d field%s, expected %d as in the header",
                       t->path, t->field[0].line, t->field[t->n - 1].column, t->n, t->n == 1 ? "" : "s", c->all);
    for (int i = 0; i < c->n_labels; i++) {
        const int64_t at = t->field[c->label[i]].column;
        label[i] = dna_table_text(t, c->label[i]);
        column[i] = at > INT32_MAX ? 0 : (int32_t)at;
    }
    const dna_field *f = &t->field[c->sequence];
    const dna_raw raw = {.name = c->name >= 0 ? dna_table_text(t, c->name) : "",
                         .letters = t->text.data + f->at,
                         .n = f->n,
                         .label = label,
                         .column = column,
                         .part = c->split >= 0 ? dna_table_text(t, c->split) : NULL,
                         .line = f->line,
                         .letters_column = f->column};
    if (raw.part && !*raw.part)
        return mb_fail(e, MB_FORMAT,
                       "%s:%" PRId64 ":%" PRId64 ": found nothing as split, expected train, valid or test", t->path,
                       f->line, t->field[c->split].column);
    return dna_builder_add(b, &raw, e);
}

int dna_read_table(dna_builder *b, dna_table *t, mb_err *e) {
    columns c = {0};
    int rc = dna_table_next(t, e);
    if (rc == 0)
        rc = mb_fail(e, MB_FORMAT, "%s: holds no line, expected a header", t->path);
    else if (rc > 0)
        rc = find_columns(b, t, &c, e);
    const char **label = mb_calloc((size_t)c.n_labels + 1, sizeof *label);
    int32_t *column = mb_calloc((size_t)c.n_labels + 1, sizeof *column);
    if (!rc && (!label || !column))
        rc = mb_fail(e, MB_NOMEM, "%s: no memory for %d label columns", t->path, c.n_labels);
    if (!rc && !(rc = say_columns(b, t, &c, e)))
        rc = declare_columns(b, t, &c, label, e);
    while (!rc && (rc = dna_table_next(t, e)) > 0)
        rc = add_row(b, t, &c, label, column, e);
    mb_free((void *)label);
    mb_free(column);
    mb_free(c.label);
    return rc;
}

/* ---- FASTA ------------------------------------------------------------------------------------------------------- */

/* How the label stands in a header: behind key, or the last field behind key[0] being '|' or ' '. */
typedef struct pattern {
    char key[64];
} pattern;

/* The label in header by the pattern, cut out of it; NULL when it is not there. */
static char *cut_label(char *header, const char *key) {
    if (!strcmp(key, "|") || !strcmp(key, " ")) {
        char *last = strrchr(header, *key);
        return last && last[1] ? last + 1 : NULL;
    }
    const size_t n = strlen(key);
    for (char *at = header; (at = strstr(at, key)); at += n)
        if (at == header || strchr(" |;\t", at[-1])) {
            at[n + strcspn(at + n, " |;\t")] = 0;
            return at + n;
        }
    return NULL;
}

static int set_pattern(dna_builder *b, const dna_record *r, char *header, pattern *p, mb_err *e) {
    static const char *const KEY[] = {"label=", "class=", "target=", "y=", "|", " "};
    if (b->o->header) {
        const size_t n = strlen(b->o->header);
        const int one = !strcmp(b->o->header, "|") || !strcmp(b->o->header, " ");
        if (n >= sizeof p->key || n == 0 || (!one && b->o->header[n - 1] != '='))
            return mb_fail(e, MB_USAGE,
                           "'%.100s': expected KEY=, | or a blank for the place of the label in FASTA "
                           "headers",
                           b->o->header);
        memcpy(p->key, b->o->header, n + 1);
        return MB_OK;
    }
    for (size_t i = 0; i < sizeof KEY / sizeof *KEY; i++) {
        char *copy = mb_strdup(header);
        if (!copy)
            return mb_fail(e, MB_NOMEM, "%s: no memory for a header", r->file);
        const char *label = cut_label(copy, KEY[i]);
        int rc = MB_OK;
        if (label)
            rc = dna_said(b->d, e, "%.200s: labels are taken from the headers behind %s'%s'", r->file,
                          i < 4 ? "" : "the last ", KEY[i]);
        mb_free(copy);
        if (label || rc)
            return (void)snprintf(p->key, sizeof p->key, "%s", KEY[i]), rc;
    }
    return mb_fail(e, MB_FORMAT,
                   "%s:%" PRId64 ":1: found the header '%.100s', expected a label in it (label=X, or a last "
                   "field after | or a blank), or one file per class as PATH=LABEL",
                   r->file, r->line, header);
}

static int add_record(dna_builder *b, dna_record *r, const char *given, pattern *p, mb_err *e) {
    dna_text header = {0};
    char *label = (char *)(uintptr_t)given;
    int rc = MB_OK;
    if (!given && !b->o->without_labels) {
        rc = dna_text_set(&header, r->name.data, e);
        if (!rc && r->comment.n && !(rc = dna_text_add(&header, " ", 1, e)))
            rc = dna_text_add(&header, r->comment.data, r->comment.n, e);
        if (!rc && !*p->key)
            rc = set_pattern(b, r, header.data, p, e);
        if (!rc && !(label = cut_label(header.data, p->key)))
            rc = mb_fail(e, MB_FORMAT, "%s:%" PRId64 ":1: found the header '%.100s', expected a label behind '%s'",
                         r->file, r->line, header.data, p->key);
    }
    const char *const labels[1] = {label};
    const int32_t column[1] = {given || !label ? 1 : (int32_t)(label - header.data) % INT32_MAX + 2};
    if (!rc) {
        const dna_raw raw = {.name = r->name.data,
                             .letters = r->bases.data,
                             .n = r->bases.n,
                             .label = labels,
                             .column = column,
                             .line = r->line};
        rc = dna_builder_add(b, &raw, e);
    }
    dna_text_fini(&header);
    return rc;
}

int dna_read_fasta(dna_builder *b, const char *given, mb_err *e) {
    dna_fasta *fasta = NULL;
    dna_record r;
    pattern p = {""};
    dna_record_init(&r);
    r.file = file_of(b);
    int rc = b->o->without_labels ? MB_OK : dna_builder_columns(b, NULL, 1, e);
    hFILE *in = rc ? NULL : hopen(r.file, "r");
    if (!rc)
        rc = in ? dna_fasta_open(&fasta, in, r.file, e) : mb_fail_errno(e, MB_IO, "%s: cannot be opened", r.file);
    if (!rc)
        dna_fasta_take_unnamed(fasta); /* what labels stand beside is often numbered, not named */
    while (!rc && (rc = dna_fasta_next(fasta, &r, e)) > 0)
        rc = add_record(b, &r, given, &p, e);
    dna_record_fini(&r);
    dna_fasta_close(fasta);
    return rc;
}

/* ---- BED --------------------------------------------------------------------------------------------------------- */

/* Field k (from 1) of a BED line, cut out of it, and its place in the line; NULL when the line is shorter. */
static char *bed_field(char *line, int k, int32_t *column) {
    const char *between = strchr(line, '\t') ? "\t" : " ";
    char *at = line;
    for (; k > 1; k--) {
        at += strcspn(at, between);
        if (!*at++)
            return NULL;
        while (*between == ' ' && *at == ' ')
            at++;
    }
    at[strcspn(at, between)] = 0;
    *column = (int32_t)((at - line) % INT32_MAX) + 1;
    return at;
}

/* The label column of the BED file: "4", "5", or guessed as 4. 0: none is needed. */
static int bed_column(dna_builder *b, const char *given, int *k, mb_err *e) {
    const char *label = b->o->label;
    *k = 0;
    if (given || b->o->without_labels)
        return MB_OK;
    if (label && strcmp(label, "4") != 0 && strcmp(label, "5") != 0)
        return mb_fail(e, MB_USAGE, "%s: the label of a BED file is in column 4 or 5, not '%.100s'", file_of(b), label);
    *k = label ? *label - '0' : 4;
    return label ? MB_OK : dna_said(b->d, e, "%.200s: column 4 is taken for the label", file_of(b));
}

static int add_region(dna_builder *b, dna_genome *genome, const dna_region *g, char *label, int32_t column, mb_err *e) {
    const char *const labels[1] = {label};
    char name[200];
    dna_text letters = {0};
    int rc = dna_text_reserve(&letters, g->end - g->start, e);
    if (!rc)
        rc = dna_genome_fetch(genome, g->contig, g->start, g->end - g->start, letters.data, e);
    if (!rc && g->strand == '-')
        dna_reverse_letters(letters.data, g->end - g->start);
    snprintf(name, sizeof name, "%.100s:%" PRId64 "-%" PRId64 "(%c)", g->contig, g->start, g->end, g->strand);
    if (!rc) {
        const dna_raw raw = {.name = name,
                             .letters = letters.data,
                             .n = g->end - g->start,
                             .label = labels,
                             .column = &column,
                             .line = g->line};
        rc = dna_builder_add(b, &raw, e);
    }
    dna_text_fini(&letters);
    return rc;
}

/* Reads the lines of the file once more beside its checked regions, for the label column. */
static int add_regions(dna_builder *b, dna_genome *genome, const dna_regions *r, const char *given, int k, mb_err *e) {
    BGZF *in = bgzf_open(r->source, "r");
    if (!in)
        return mb_fail_errno(e, MB_IO, "%s: cannot be opened", r->source);
    kstring_t line = KS_INITIALIZE;
    int64_t number = 0;
    int rc = MB_OK;
    for (int64_t i = 0; !rc && i < r->n; i++) {
        const dna_region *g = &r->at[i];
        char *label = (char *)(uintptr_t)given;
        int32_t column = 1;
        while (number < g->line && bgzf_getline(in, '\n', &line) >= 0)
            number++;
        if (line.l && line.s[line.l - 1] == '\r')
            line.s[--line.l] = 0;
        if (number != g->line || !line.s)
            rc = mb_fail(e, MB_IO, "%s:%" PRId64 ": the file changed while it was read", r->source, g->line);
        else if (k && !(label = bed_field(line.s, k, &column)))
            rc = mb_fail(e, MB_FORMAT, "%s:%" PRId64 ":1: found no column %d, expected the label there", r->source,
                         g->line, k);
        if (!rc)
            rc = add_region(b, genome, g, label, column, e);
    }
    ks_free(&line);
    bgzf_close(in);
    return rc;
}

int dna_read_bed(dna_builder *b, const char *given, mb_err *e) {
    dna_regions r = {0};
    dna_genome *genome = NULL;
    int k = 0;
    if (!b->o->genome)
        return mb_fail(e, MB_USAGE, "%s: a BED file needs the genome that it refers to", file_of(b));
    int rc = bed_column(b, given, &k, e);
    if (!rc && !b->o->without_labels)
        rc = dna_builder_columns(b, NULL, 1, e);
    if (!rc)
        rc = dna_regions_read(&r, file_of(b), e);
    if (rc)
        return rc;
    rc = dna_genome_open(&genome, b->o->genome, e);
    if (!rc) {
        const dna_contigs c = dna_genome_contigs(genome);
        rc = dna_regions_resolve(&r, &c, e);
    }
    if (!rc)
        rc = add_regions(b, genome, &r, given, k, e);
    dna_genome_close(genome);
    dna_regions_fini(&r);
    return rc;
}
