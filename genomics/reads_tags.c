/* Tags and header lines of reads. The letters, after the prefix:
 *   b  f    bits per base                      n  i    bases scored                        (score)
 *   e  B,f  embedding                                                                      (embed)
 *   c  Z    label, labels joined by ;, or one character a base in the direction of SEQ     (classify)
 *   p  B,f  probability of each label          v  B,f  numbers                             (classify)
 * Everything else of a record stays as it is. Refuses tags that are there already unless they are to be replaced, and
 * records whose tags are damaged. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/reads.h"

/* ---- header ---------------------------------------------------------------------------------------------------------
 */

/* One header line cannot hold control characters. */
static void flatten(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = ' ';
}

static char *command_line(int argc, char *const *argv) {
    char *all = mb_strdup("");
    for (int i = 0; all && i < argc; i++) {
        char *more = mb_asprintf("%s%s%s", all, i ? " " : "", argv[i]);
        mb_free(all);
        all = more;
    }
    if (all)
        flatten(all);
    return all;
}

static int add_comment(const reads_tags *t, sam_hdr_t *header, const char *text, mb_err *e) {
    char *line = mb_asprintf("dna-mamba reads: %c%s", t->prefix, text);
    int rc = line ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a header");
    if (rc == MB_OK) {
        flatten(line);
        if (sam_hdr_add_line(header, "CO", line, NULL) != 0)
            rc = mb_fail(e, MB_FAIL, "the header takes no @CO line");
    }
    mb_free(line);
    return rc;
}

/* "p:B,f probabilities of a, b, c". */
static int add_labels(const reads_tags *t, sam_hdr_t *header, const char *what, mb_err *e) {
    char *text = mb_strdup(what);
    for (int c = 0; text && c < t->columns; c++) {
        char *more = mb_asprintf("%s%s%s", text, c ? ", " : " ", t->labels[c]);
        mb_free(text);
        text = more;
    }
    int rc = text ? add_comment(t, header, text, e) : mb_fail(e, MB_NOMEM, "no memory for a header");
    mb_free(text);
    return rc;
}

static int add_comments(const reads_tags *t, sam_hdr_t *header, mb_err *e) {
    char text[128];
    int rc;
    switch (t->what) {
    case READS_SCORE:
        rc = add_comment(t, header, "b:f bits per base that the model gives the read (absent where none is scored)", e);
        return rc == MB_OK ? add_comment(t, header, "n:i bases scored", e) : rc;
    case READS_EMBED:
        snprintf(text, sizeof text, "e:B,f embedding of the read, %d numbers", t->columns);
        return add_comment(t, header, text, e);
    default:
        break;
    }
    if (t->task == DNA_TASK_REGRESSION)
        return add_labels(t, header, "v:B,f numbers:", e);
    rc = add_comment(t, header,
                     t->task == DNA_TASK_CLASS   ? "c:Z label of the read"
                     : t->task == DNA_TASK_MULTI ? "c:Z labels of the read, joined by ;"
                                                 : "c:Z label of each base of SEQ, one character each",
                     e);
    return rc == MB_OK && t->task != DNA_TASK_BASES ? add_labels(t, header, "p:B,f probabilities of", e) : rc;
}

int reads_tags_declare(const reads_tags *t, sam_hdr_t *header, int has_header, int argc, char *const *argv, mb_err *e) {
    char *line = command_line(argc, argv);
    int rc = line ? MB_OK : mb_fail(e, MB_NOMEM, "no memory for a header");
    if (rc == MB_OK && !has_header && sam_hdr_add_line(header, "HD", "VN", "1.6", "SO", "unsorted", NULL) != 0)
        rc = mb_fail(e, MB_FAIL, "the header takes no @HD line");
    if (rc == MB_OK && sam_hdr_add_pg(header, "dna-mamba", "VN", mb_version(), "CL", line, NULL) != 0)
        rc = mb_fail(e, MB_FORMAT, "the header takes no @PG line: the chain of programs in it may be damaged");
    mb_free(line);
    return rc == MB_OK ? add_comments(t, header, e) : rc;
}

/* ---- records --------------------------------------------------------------------------------------------------------
 */

/* A name that is free, or may be made so. */
static int check_name(const reads_tags *t, bam1_t *b, const char name[2], const char *place, mb_err *e) {
    errno = 0;
    const uint8_t *there = bam_aux_get(b, name);
    if (!there && errno == EINVAL)
        return mb_fail(e, MB_FORMAT, "%s: its tags are damaged", place);
    if (!there)
        return MB_OK;
    if (!t->replace)
        return mb_fail(e, MB_FORMAT,
                       "%s: has a tag %.2s already (--existing-tags replace puts another in its place, --tag-prefix "
                       "names ours otherwise)",
                       place, name);
    return bam_aux_del(b, (uint8_t *)(uintptr_t)there) == 0 ? MB_OK
                                                            : mb_fail(e, MB_FORMAT, "%s: its tags are damaged", place);
}

/* type: as bam_aux_append has it; n: bytes of data. An array comes as type 'B' with count floats. */
static int put_tag(const reads_tags *t, bam1_t *b, char letter, char type, uint32_t n, const void *data,
                   const char *place, mb_err *e) {
    const char name[2] = {t->prefix, letter};
    int rc = check_name(t, b, name, place, e);
    if (rc != MB_OK)
        return rc;
    errno = 0;
    const int put = type == 'B' ? bam_aux_update_array(b, name, 'f', n, (void *)(uintptr_t)data)
                                : bam_aux_append(b, name, type, (int)n, data);
    return put == 0 ? MB_OK
                    : mb_fail(e, errno == ENOMEM ? MB_NOMEM : MB_FORMAT, "%s: takes no tag %.2s of %u bytes", place,
                              name, n);
}

static void reverse_text(char *text) {
    for (size_t i = 0, n = strlen(text); i < n / 2; i++) {
        const char c = text[i];
        text[i] = text[n - 1 - i];
        text[n - 1 - i] = c;
    }
}

static int put_answer(const reads_tags *t, bam1_t *b, const reads_results *r, int i, const char *place, mb_err *e) {
    char *text = mb_strdup(r->answer[i]);
    if (!text)
        return mb_fail(e, MB_NOMEM, "no memory for a label");
    flatten(text);
    if (t->task == DNA_TASK_BASES && t->turns && bam_is_rev(b))
        reverse_text(text);
    int rc = put_tag(t, b, 'c', 'Z', (uint32_t)strlen(text) + 1, text, place, e);
    mb_free(text);
    return rc;
}

int reads_tags_put(const reads_tags *t, bam1_t *b, const reads_results *r, int i, const char *place, mb_err *e) {
    int rc = MB_OK;
    if (r->bits) {
        const float bits = (float)r->bits[i];
        const int32_t scored = r->scored[i] < INT32_MAX ? (int32_t)r->scored[i] : INT32_MAX;
        const char name[2] = {t->prefix, 'b'};
        rc = isnan(bits) ? check_name(t, b, name, place, e) : put_tag(t, b, 'b', 'f', sizeof bits, &bits, place, e);
        return rc == MB_OK ? put_tag(t, b, 'n', 'i', sizeof scored, &scored, place, e) : rc;
    }
    if (r->answer)
        rc = put_answer(t, b, r, i, place, e);
    if (rc == MB_OK && r->value) {
        const char letter = t->what == READS_EMBED ? 'e' : t->task == DNA_TASK_REGRESSION ? 'v' : 'p';
        rc = put_tag(t, b, letter, 'B', (uint32_t)t->columns, r->value + (ptrdiff_t)i * t->columns, place, e);
    }
    return rc;
}
