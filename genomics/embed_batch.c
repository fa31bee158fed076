/* One batch: sequences to the model, rows through the pool, to one of two places. Small results are gathered in memory
 * (or, when they must be averaged or printed, in a scratch file) and appended in order; large results of npy and HDF5
 * go straight to their place in the output, since rows of the two strands come at different times. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "genomics/embed.h"
#include "genomics/store.h"

/* Rows are gathered in memory up to this many bytes, or an eighth of --memory where that is less. */
#define STORE_BYTES ((int64_t)64 << 20)
/* Rows taken from the store at a time: bounds the buffers for conversion. */
#define BLOCK_BYTES ((int64_t)1 << 20)

typedef struct reverse_source { /* a second run over the reverse complement */
    const dna_alphabet *alphabet;
    const uint8_t *token;
    int64_t length;
} reverse_source;

static int read_reverse(void *user, int64_t from, int n, int32_t *token) {
    const reverse_source *s = user;
    for (int i = 0; i < n; i++)
        token[i] = s->alphabet->complement[s->token[s->length - 1 - from - i]];
    return MB_OK;
}

static int64_t store_bytes(const embed *j) {
    return j->run->globals.memory / 8 < STORE_BYTES ? j->run->globals.memory / 8 : STORE_BYTES;
}

void embed_store_need(const embed *j, int64_t rows, int64_t *memory, int64_t *scratch) {
    const int in_place = j->format == EMBED_NPY || j->format == EMBED_HDF5;
    const int64_t bytes = rows * j->columns_in * (int64_t)sizeof(float);
    *memory = bytes <= store_bytes(j) ? bytes : 0;
    *scratch = *memory || (in_place && j->strand != EMBED_CONJOIN) ? 0 : bytes;
}

typedef struct work { /* one batch */
    embed *j;
    const dna_batch *b;
    int64_t *length; /* (n) */
    int64_t *row;    /* (n+1) first row of each item within the batch */
    mb_sequence *seq;
    reverse_source *reverse;
    dna_store *store; /* NULL: rows go straight to the output */
    int64_t start;    /* offset of the batch in the output */
} work;

static void free_work(work *w) {
    mb_free(w->length);
    mb_free(w->row);
    mb_free(w->seq);
    mb_free(w->reverse);
    dna_store_destroy(w->store);
}

static int make_work(work *w, mb_err *e) {
    const size_t n = (size_t)w->b->n;
    w->length = mb_calloc(n, sizeof *w->length);
    w->row = mb_calloc(n + 1, sizeof *w->row);
    w->seq = mb_calloc(2 * n, sizeof *w->seq);
    w->reverse = mb_calloc(n, sizeof *w->reverse);
    if (!w->length || !w->row || !w->seq || !w->reverse)
        return mb_fail(e, MB_NOMEM, "no memory for a batch of %zu sequences", n);
    for (size_t i = 0; i < n; i++) {
        dna_item *item = &w->b->item[i];
        w->length[i] = item->length;
        w->row[i + 1] = w->row[i] + dna_pool_rows(&w->j->pool, item->length);
        w->seq[i] = (mb_sequence){.length = item->length, .read = mb_tokens8_read, .user = item->token};
        w->reverse[i] = (reverse_source){&w->j->alphabet, item->token, item->length};
        w->seq[n + i] = (mb_sequence){.length = item->length, .read = read_reverse, .user = &w->reverse[i]};
    }
    w->start = dna_partial_end(w->j->partial);
    int64_t memory, scratch;
    embed_store_need(w->j, w->row[n], &memory, &scratch);
    if (!memory && !scratch)
        return MB_OK;
    return dna_store_create(&w->store, w->row[n], w->j->columns_in, memory, w->j->v->scratch, e);
}

/* n rows of one block, of `width` floats each, at their place in the output file. */
static int put_in_place(work *w, int64_t row, int64_t n, int64_t column, const float *values, mb_err *e) {
    embed *j = w->j;
    const int64_t size = (int64_t)embed_element_bytes(j), D = j->pool.D;
    const int64_t whole = D == j->columns ? n * D : D; /* floats that lie together */
    float converted[2048];
    for (int64_t i = 0; i < n * D; i += whole) {
        int64_t at = w->start + ((row + i / D) * j->columns + column) * size;
        for (int64_t k = 0; k < whole; k += 2048) {
            int64_t part = whole - k < 2048 ? whole - k : 2048;
            embed_convert(j, values + i + k, part, converted);
            int rc = dna_partial_put(j->partial, converted, part * size, at + k * size, e);
            if (rc)
                return rc;
        }
    }
    return MB_OK;
}

static int put_rows(void *user, int item, int layer, int block, int64_t row, int64_t n, const float *values,
                    mb_err *e) {
    work *w = user;
    const int64_t D = w->j->pool.D, column = ((int64_t)layer * w->j->blocks + block) * D;
    if (w->store)
        return dna_store_put(w->store, w->row[item] + row, n, column, D, values, e);
    return put_in_place(w, w->row[item] + row, n, column, values, e);
}

static const char *item_name(void *user, int item) {
    const work *w = user;
    return w->b->item[item].name;
}

/* ---- from the store to the output ---------------------------------------------------------------------------------
 */

typedef struct buffers {
    float *in, *out; /* (rows, columns_in), (rows, columns) */
    int64_t rows;
    dna_text text, packed;
    int64_t end; /* where the next bytes go */
} buffers;

static void free_buffers(buffers *b) {
    mb_free(b->in);
    mb_free(b->out);
    dna_text_fini(&b->text);
    dna_text_fini(&b->packed);
}

static int append(embed *j, buffers *b, const void *data, int64_t n, mb_err *e) {
    int rc = dna_partial_put(j->partial, data, n, b->end, e);
    b->end += n;
    return rc;
}

static int append_text(embed *j, buffers *b, mb_err *e) {
    int rc = MB_OK;
    const dna_text *t = &b->text;
    if (j->format == EMBED_TSV_GZ && b->text.n > 0) {
        b->packed.n = 0;
        rc = embed_bgzf(b->text.data, b->text.n, &b->packed, e);
        t = &b->packed;
    }
    if (!rc && t->n > 0)
        rc = append(j, b, t->data, t->n, e);
    b->text.n = 0;
    return rc;
}

static int write_rows(work *w, int item, int64_t row, int64_t n, buffers *b, mb_err *e) {
    embed *j = w->j;
    int rc = dna_store_get(w->store, w->row[item] + row, n, b->in, e);
    if (rc)
        return rc;
    embed_combine(j, b->in, n, b->out);
    if (j->format == EMBED_NPY || j->format == EMBED_HDF5) {
        embed_convert(j, b->out, n * j->columns, b->in);
        return append(j, b, b->in, n * j->columns * (int64_t)embed_element_bytes(j), e);
    }
    rc = embed_tsv_rows(j, &w->b->item[item], row, n, b->out, &b->text, e);
    if (!rc && b->text.n > BLOCK_BYTES)
        rc = append_text(j, b, e);
    return rc;
}

static int drain_store(work *w, int64_t *end, mb_err *e) {
    embed *j = w->j;
    buffers b = {.end = w->start};
    b.rows = BLOCK_BYTES / (j->columns_in * (int64_t)sizeof(float)) + 1;
    b.in = mb_malloc((size_t)(b.rows * j->columns_in) * sizeof *b.in);
    b.out = mb_malloc((size_t)(b.rows * j->columns) * sizeof *b.out);
    int rc = b.in && b.out ? MB_OK : mb_fail(e, MB_NOMEM, "no memory to write rows");
    const int text = j->format == EMBED_TSV || j->format == EMBED_TSV_GZ;
    if (!rc && text && dna_partial_batches(j->partial) == 0)
        rc = embed_tsv_head(j, &b.text, e);
    for (int i = 0; !rc && i < w->b->n; i++) {
        const int64_t rows = w->row[i + 1] - w->row[i];
        for (int64_t row = 0; !rc && row < rows; row += b.rows)
            rc = write_rows(w, i, row, rows - row < b.rows ? rows - row : b.rows, &b, e);
    }
    if (!rc)
        rc = append_text(j, &b, e);
    *end = b.end;
    free_buffers(&b);
    return rc;
}

static int write_index(work *w, mb_err *e) {
    embed *j = w->j;
    dna_text text = {0};
    const int64_t before = dna_partial_rows(j->partial);
    int rc = dna_partial_batches(j->partial) == 0 ? embed_index_head(&text, e) : MB_OK;
    for (int i = 0; !rc && i < w->b->n; i++)
        rc = embed_index_line(&w->b->item[i], before + w->row[i], w->row[i + 1] - w->row[i], &text, e);
    if (!rc)
        rc = dna_partial_put_index(j->partial, text.data, text.n, e);
    dna_text_fini(&text);
    return rc;
}

static int run_model(work *w, mb_err *e) {
    embed *j = w->j;
    const dna_pool_out out = {.put = put_rows, .name = item_name, .user = w};
    dna_pool *pool = NULL;
    int rc = dna_pool_create(&pool, &j->pool, w->length, w->b->n, &out, e);
    if (rc)
        return rc;
    const mb_sink sink = dna_pool_sink(pool);
    mb_forward_options o = embed_forward_options(j);
    int64_t memory, scratch;
    embed_store_need(j, w->row[w->b->n], &memory, &scratch);
    o.memory -= w->b->tokens + memory;
    if (o.memory < 1)
        o.memory = 1; /* 0 would mean all there is */
    rc = mb_forward_run(j->model, w->seq, j->reverse_runs ? 2 * w->b->n : w->b->n, &o, &sink, e);
    dna_pool_destroy(pool);
    return rc;
}

int embed_batch(embed *j, const dna_batch *b, mb_err *e) {
    work w = {.j = j, .b = b};
    int rc = make_work(&w, e);
    if (!rc)
        rc = run_model(&w, e);
    int64_t end = rc ? 0 : w.start + w.row[b->n] * j->columns * (int64_t)embed_element_bytes(j);
    if (!rc && w.store)
        rc = drain_store(&w, &end, e);
    const int indexed = j->format == EMBED_NPY || j->format == EMBED_HDF5;
    if (!rc && indexed)
        rc = write_index(&w, e);
    if (!rc)
        rc = dna_partial_close_batch(j->partial, b->n, w.row[b->n], end, b->crc, e);
    free_work(&w);
    return rc;
}
