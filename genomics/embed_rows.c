/* Rows and index lines as bytes. TSV: one line per row; floats with 9 significant digits, which give back the same fp32
 * (5 for f16). Index: one line per sequence, half-open row ranges. Places are 0-based and half open as in BED; an
 * unplaced read has contig "." and -1. */
#include <htslib/bgzf.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/npy.h"
#include "genomics/embed.h"

size_t embed_element_bytes(const embed *j) {
    return mb_dtype_bytes(j->dtype);
}

void embed_convert(embed *j, const float *values, int64_t n, void *out) {
    if (j->dtype == MB_F32) {
        memcpy(out, values, (size_t)n * sizeof *values);
        return;
    }
    uint16_t *half = out;
    long long overflows = 0;
    for (int64_t i = 0; i < n; i++) {
        half[i] = mb_f32_to_f16(values[i]);
        overflows += (half[i] & 0x7fff) == 0x7c00;
    }
    if (overflows)
        atomic_fetch_add(&j->overflows, overflows);
}

void embed_combine(const embed *j, const float *in, int64_t n, float *out) {
    const int64_t D = j->pool.D;
    if (j->strand != EMBED_CONJOIN) {
        memcpy(out, in, (size_t)(n * j->columns) * sizeof *out);
        return;
    }
    for (int64_t r = 0; r < n * j->n_layers; r++, in += 2 * D, out += D)
        for (int64_t c = 0; c < D; c++)
            out[c] = 0.5f * (in[c] + in[D + c]);
}

/* Format version 1.0: magic, version, length of the dictionary (2 bytes), dictionary, blanks, newline. */
void embed_npy_head(const embed *j, int64_t rows, char head[EMBED_NPY_HEAD]) {
    char text[EMBED_NPY_HEAD], layers[16] = "";
    if (j->n_layers > 1)
        snprintf(layers, sizeof layers, " %d,", j->n_layers);
    int n = snprintf(text, sizeof text, "{'descr': '<f%d', 'fortran_order': False, 'shape': (%" PRId64 ",%s %d), }",
                     (int)embed_element_bytes(j), rows, layers, j->width);
    MB_ASSERT(n > 0 && n < EMBED_NPY_HEAD - 10);
    memset(head, ' ', EMBED_NPY_HEAD);
    memcpy(head, "\x93NUMPY\x01", 8);
    head[8] = EMBED_NPY_HEAD - 10;
    head[9] = 0;
    memcpy(head + 10, text, (size_t)n);
    head[EMBED_NPY_HEAD - 1] = '\n';
}

/* ---- text ---------------------------------------------------------------------------------------------------------
 */

enum { PLACE = 160 };

static int add_text(dna_text *out, const char *text, mb_err *e) {
    return dna_text_add(out, text, (int64_t)strlen(text), e);
}

/* name, offset, length, contig, start, end, strand, n_count */
static int add_place(dna_text *out, const dna_item *item, int64_t from, int64_t n, int64_t n_count, mb_err *e) {
    int64_t start, end;
    char numbers[PLACE];
    dna_item_place(item, from, n, &start, &end);
    int rc = add_text(out, item->name, e);
    snprintf(numbers, sizeof numbers, "\t%" PRId64 "\t%" PRId64 "\t", item->offset + from, n);
    if (!rc)
        rc = add_text(out, numbers, e);
    if (!rc)
        rc = add_text(out, *item->contig ? item->contig : ".", e);
    snprintf(numbers, sizeof numbers, "\t%" PRId64 "\t%" PRId64 "\t%c\t%" PRId64, start, end, item->strand, n_count);
    return rc ? rc : add_text(out, numbers, e);
}

#define PLACE_COLUMNS "name\toffset\tlength\tcontig\tstart\tend\tstrand\tn_count"

int embed_index_head(dna_text *out, mb_err *e) {
    return add_text(out, "row_start\trow_end\t" PLACE_COLUMNS "\n", e);
}

int embed_index_line(const dna_item *item, int64_t first_row, int64_t rows, dna_text *out, mb_err *e) {
    char numbers[PLACE];
    snprintf(numbers, sizeof numbers, "%" PRId64 "\t%" PRId64 "\t", first_row, first_row + rows);
    int rc = add_text(out, numbers, e);
    if (!rc)
        rc = add_place(out, item, 0, item->length, item->n_count, e);
    return rc ? rc : add_text(out, "\n", e);
}

int embed_tsv_head(const embed *j, dna_text *out, mb_err *e) {
    int rc = add_text(out, PLACE_COLUMNS, e);
    for (int l = 0; !rc && l < j->n_layers; l++)
        for (int c = 0; !rc && c < j->width; c++) {
            char name[40];
            if (j->n_layers > 1)
                snprintf(name, sizeof name, "\tl%d_e%d", j->layer[l], c);
            else
                snprintf(name, sizeof name, "\te%d", c);
            rc = add_text(out, name, e);
        }
    return rc ? rc : add_text(out, "\n", e);
}

static int64_t count_n(const embed *j, const dna_item *item, int64_t from, int64_t n) {
    int64_t count = 0;
    for (int64_t i = from; i < from + n; i++)
        count += item->token[i] == j->alphabet.n_token;
    return count;
}

static int add_values(embed *j, const float *values, dna_text *out, mb_err *e) {
    char text[4096];
    size_t n = 0;
    int rc = MB_OK;
    for (int64_t c = 0; !rc && c < j->columns; c++) {
        float value = values[c];
        if (j->dtype == MB_F16) {
            uint16_t half;
            embed_convert(j, &value, 1, &half);
            value = mb_f16_to_f32(half);
        }
        n += (size_t)snprintf(text + n, sizeof text - n, j->dtype == MB_F16 ? "\t%.5g" : "\t%.9g", (double)value);
        if (n > sizeof text - 32 || c + 1 == j->columns) {
            rc = dna_text_add(out, text, (int64_t)n, e);
            n = 0;
        }
    }
    return rc;
}

int embed_tsv_rows(embed *j, const dna_item *item, int64_t row, int64_t n, const float *values, dna_text *out,
                   mb_err *e) {
    const int64_t bin = j->pool.bin ? j->pool.bin : item->length;
    int rc = MB_OK;
    for (int64_t i = row; !rc && i < row + n; i++, values += j->columns) {
        int64_t from = i * bin, left = item->length - from, size = left < bin ? left : bin;
        rc = add_place(out, item, from, size, count_n(j, item, from, size), e);
        if (!rc)
            rc = add_values(j, values, out, e);
        if (!rc)
            rc = add_text(out, "\n", e);
    }
    return rc;
}

int embed_bgzf(const char *text, int64_t n, dna_text *out, mb_err *e) {
    char block[BGZF_MAX_BLOCK_SIZE];
    do {
        size_t part = n < BGZF_BLOCK_SIZE ? (size_t)n : BGZF_BLOCK_SIZE, size = sizeof block;
        if (bgzf_compress(block, &size, text, part, -1) != 0)
            return mb_fail(e, MB_INTERNAL, "a block of %zu bytes cannot be compressed", part);
        int rc = dna_text_add(out, block, (int64_t)size, e);
        if (rc)
            return rc;
        text += part;
        n -= (int64_t)part;
    } while (n > 0);
    return MB_OK;
}
