/* Windows: the k-th begins at k*stride; the last is the first that reaches the end of the record, and is shorter than
 * --window when it must be (kept or dropped by --partial). Refuses letters that the policies refuse, with their place.
 */
#include "genomics/items.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "core/log.h"
#include "core/mem.h"

struct dna_items {
    const dna_items_options *options;
    const dna_alphabet *alphabet;
    dna_reader *reader;
    dna_record record; /* tokens stand in record.bases once read */
    int have;          /* record holds bases not yet handed out */
    int64_t at;        /* first base of the next window */
    int64_t items;     /* handed out */
    dna_counts letters;
    int64_t dropped; /* partial windows */
    int64_t before;  /* bases of all items so far, those of other shards included */
    int64_t total;   /* of the whole input; 0 without shards */
};

static int64_t next_length(dna_items *s);
static int read_record(dna_items *s, mb_err *e);
static int step_over(dna_items *s, int64_t n);

/* Bases of all items. */
static int count_bases(dna_items *s, int64_t *total, mb_err *e) {
    int rc;
    *total = 0;
    for (;;) {
        const int64_t n = next_length(s);
        if (n > 0) {
            *total += step_over(s, n) * n;
            continue;
        }
        s->have = 0;
        if ((rc = read_record(s, e)) <= 0)
            return rc;
    }
}

static int open_reader(dna_items *s, mb_err *e) {
    return dna_reader_open(&s->reader, s->options->inputs, s->options->n_inputs, &s->options->reader, e);
}

/* Reads everything once, to know which items are this part's. */
static int measure(dna_items *s, mb_err *e) {
    const dna_items_options *o = s->options;
    if (!dna_reader_can_rewind((char **)(uintptr_t)o->inputs, o->n_inputs))
        return mb_fail(e, MB_USAGE, "--shard reads the input twice, so it must be a file");
    int rc = open_reader(s, e);
    if (rc == MB_OK)
        rc = count_bases(s, &s->total, e);
    dna_reader_close(s->reader);
    s->reader = NULL;
    s->have = 0;
    s->dropped = 0;
    s->before = 0;
    s->letters = (dna_counts){0};
    return rc;
}

int dna_items_open(dna_items **out, const dna_items_options *o, const dna_alphabet *a, mb_err *e) {
    *out = NULL;
    MB_ASSERT(o->batch_tokens > 0 && o->batch_items > 0 && (o->window == 0 || o->stride > 0));
    dna_items *s = mb_calloc(1, sizeof *s);
    if (!s)
        return mb_fail(e, MB_NOMEM, "no memory to read sequences");
    s->options = o;
    s->alphabet = a;
    dna_record_init(&s->record);
    int rc = o->shards > 1 ? measure(s, e) : MB_OK;
    if (!rc)
        rc = open_reader(s, e);
    if (rc)
        dna_items_close(s);
    else
        *out = s;
    return rc;
}

void dna_items_close(dna_items *s) {
    if (!s)
        return;
    dna_reader_close(s->reader);
    dna_record_fini(&s->record);
    mb_free(s);
}

static void free_item(dna_item *item) {
    mb_free(item->name);
    mb_free(item->contig);
    mb_free(item->token);
}

void dna_batch_clear(dna_batch *b) {
    for (int i = 0; i < b->n; i++)
        free_item(&b->item[i]);
    b->n = 0;
    b->tokens = 0;
    b->crc = 0;
}

void dna_batch_fini(dna_batch *b) {
    dna_batch_clear(b);
    mb_free(b->item);
    memset(b, 0, sizeof *b);
}

void dna_item_place(const dna_item *item, int64_t from, int64_t n, int64_t *start, int64_t *end) {
    *start = item->start;
    *end = item->end;
    if (!item->linear)
        return;
    *start = item->strand == '-' ? item->end - from - n : item->start + from;
    *end = *start + n;
}

static int read_record(dna_items *s, mb_err *e) {
    dna_record *r = &s->record;
    int rc = dna_reader_next(s->reader, r, e);
    if (rc <= 0)
        return rc;
    int64_t bad = dna_tokenize(s->alphabet, (uint8_t *)r->bases.data, r->bases.n, &s->letters);
    if (bad >= 0) {
        char place[512], words[96];
        return mb_fail(e, MB_FORMAT, "%s: base %" PRId64 ": %s", dna_record_place(r, place, sizeof place), bad + 1,
                       dna_bad_letter_words((unsigned char)r->bases.data[bad], words));
    }
    s->have = 1;
    s->at = 0;
    return 1;
}

/* Length of the next item of the record held; 0 when there is none left. */
static int64_t next_length(dna_items *s) {
    const dna_items_options *o = s->options;
    int64_t left = s->record.bases.n - s->at;
    if (!s->have || left <= 0)
        return 0;
    if (o->window == 0)
        return left;
    if (s->at > 0 && s->at - o->stride + o->window >= s->record.bases.n)
        return 0; /* the window before reached the end */
    if (left >= o->window)
        return o->window;
    if (o->partial == DNA_PARTIAL_KEEP)
        return left;
    s->dropped++;
    return 0;
}

/* The whole record's buffer moves into the item; a window is copied. */
static uint8_t *take_tokens(dna_items *s, int64_t n) {
    if (s->options->window == 0) {
        uint8_t *all = (uint8_t *)s->record.bases.data;
        s->record.bases = (dna_text){0};
        return all;
    }
    uint8_t *piece = mb_malloc((size_t)n);
    if (piece)
        memcpy(piece, s->record.bases.data + s->at, (size_t)n);
    return piece;
}

static int64_t count_token(const uint8_t *token, int64_t n, int wanted) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++)
        count += token[i] == wanted;
    return count;
}

static uint32_t crc_item(uint32_t crc, const dna_item *item) {
    const int64_t place[] = {item->start, item->end, item->offset, item->length, item->strand};
    crc = (uint32_t)crc32_z(crc, (const Bytef *)item->name, strlen(item->name) + 1);
    crc = (uint32_t)crc32_z(crc, (const Bytef *)item->contig, strlen(item->contig) + 1);
    crc = (uint32_t)crc32_z(crc, (const Bytef *)place, sizeof place);
    return (uint32_t)crc32_z(crc, item->token, (size_t)item->length);
}

static int reserve_item(dna_batch *b, mb_err *e) {
    if (b->n < b->capacity)
        return MB_OK;
    int capacity = b->capacity ? 2 * b->capacity : 16;
    dna_item *grown = mb_realloc_array(b->item, (size_t)capacity, sizeof *grown);
    if (!grown)
        return mb_fail(e, MB_NOMEM, "no memory for a batch of %d sequences", capacity);
    b->item = grown;
    b->capacity = capacity;
    return MB_OK;
}

static int take_item(dna_items *s, dna_batch *b, int64_t n, mb_err *e) {
    const dna_record *r = &s->record;
    int rc = reserve_item(b, e);
    if (rc)
        return rc;
    dna_item whole = {.start = r->start, .end = r->end, .strand = r->strand, .linear = r->linear};
    dna_item item = whole;
    dna_item_place(&whole, s->at, n, &item.start, &item.end);
    item.offset = s->at;
    item.length = n;
    item.name = mb_strdup(r->name.data);
    item.contig = mb_strdup(r->contig.data);
    item.token = take_tokens(s, n);
    if (!item.name || !item.contig || !item.token) {
        free_item(&item);
        return mb_fail(e, MB_NOMEM, "no memory for a sequence of %" PRId64 " bases", n);
    }
    item.n_count = count_token(item.token, n, s->alphabet->n_token);
    b->item[b->n++] = item;
    b->tokens += n;
    b->crc = crc_item(b->crc, &item);
    s->items++;
    step_over(s, n);
    return MB_OK;
}

/* On to the next item; always 1. */
static int step_over(dna_items *s, int64_t n) {
    s->before += n;
    if (s->options->window == 0)
        s->have = 0;
    else
        s->at += s->options->stride;
    return 1;
}

/* Which part the next item belongs to, against the one wanted: negative before it, 0, positive after it. */
static int place_in_shards(const dna_items *s) {
    const dna_items_options *o = s->options;
    if (o->shards <= 1)
        return 0;
    if (s->total == 0) /* the input has grown since it was measured */
        return 1;
    /* At most 10,000 parts: exact up to 1.8e15 bases. */
    const uint64_t part = (uint64_t)s->before * (uint64_t)o->shards / (uint64_t)s->total;
    return part < (uint64_t)o->shard ? -1 : part > (uint64_t)o->shard;
}

int dna_items_next(dna_items *s, dna_batch *b, mb_err *e) {
    dna_batch_clear(b);
    b->first = s->items;
    while (b->n < s->options->batch_items) {
        int64_t n = next_length(s);
        if (n == 0) {
            s->have = 0;
            int rc = read_record(s, e);
            if (rc < 0)
                return rc;
            if (rc == 0)
                break;
            continue;
        }
        const int place = place_in_shards(s);
        if (place < 0) {
            step_over(s, n);
            continue;
        }
        if (place > 0 || (b->n > 0 && b->tokens + n > s->options->batch_tokens))
            break;
        int rc = take_item(s, b, n, e);
        if (rc)
            return rc;
    }
    return b->n > 0;
}

dna_counts dna_items_letters(const dna_items *s) {
    return s->letters;
}

dna_reader_counts dna_items_records(const dna_items *s) {
    return dna_reader_count(s->reader);
}

static void warn_of(int64_t n, const char *what) {
    if (n > 0)
        mb_warn("%" PRId64 " %s", n, what);
}

void dna_items_warn(const dna_items *s) {
    dna_reader_counts r = dna_reader_count(s->reader);
    warn_of(s->letters.ambiguous, "ambiguity codes were taken as N (--ambiguous error refuses them)");
    warn_of(s->letters.gaps, "gap characters were taken as N");
    warn_of(s->letters.u, "letters U were taken as T");
    warn_of(r.renamed, "records bore a name that came before and got a suffix");
    warn_of(r.empty_skipped, "records without bases were passed over");
    warn_of(s->dropped, "windows shorter than --window were dropped");
    if (r.passed_over > 0)
        mb_info("%" PRId64 " reads were passed over by flag or mapping quality", r.passed_over);
}
