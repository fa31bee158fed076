/* Any bytes as what stream and serve read: the first byte says what. A JSON line becomes a request within its bounds or
 * an error with words, and its answer is JSON again; a target becomes a route or a code. Nothing is left behind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/json_guard.h"
#include "core/mem.h"
#include "recsys/http.h"
#include "tests/fuzz/input.h"
#include "tests/models.h"
#include "tests/recfolder.h"

enum { ITEMS = 20 };

static rec_model *model;

static void open_model(void) {
    char folder[] = "/tmp/fuzz-wire.XXXXXX", command[64];
    const mb_config c = model_mamba(8, 1, ITEMS + 1);
    const rec_model_options o = {.threads = 1, .window = -1};
    mb_err e = {0};
    if (!mkdtemp(folder))
        abort();
    rec_folder_write(folder, &c);
    if (rec_model_open(&model, folder, &o, &e))
        abort();
    snprintf(command, sizeof command, "rm -r %s", folder);
    if (system(command)) /* NOLINT(concurrency-mt-unsafe): one thread */
        abort();
}

static void must_be_json(const rec_buffer *t) {
    json_error_t why;
    MB_ASSERT(!t->lost);
    json_t *v = json_loadb(t->at, t->n, JSON_REJECT_DUPLICATES, &why);
    /* identifiers of items may hold lone surrogates, which jansson refuses; this model's do not */
    MB_ASSERT(json_is_object(v));
    json_decref(v);
}

static void request(const rec_wire_options *o, const char *data, size_t n) {
    char *copy = mb_malloc(n + 1);
    rec_wire w = {0};
    rec_buffer t = {0};
    mb_err e = {0};
    memcpy(copy, data, n);
    const int rc = rec_wire_parse(&w, o, model, copy, n, &e);
    MB_ASSERT(rc == e.status && (rc == MB_OK || *e.text));
    if (rc) {
        rec_wire_refusal(&t, e.text, 3);
    } else {
        const rec_hit hit[] = {{1, 0.5F}, {ITEMS, -1e30F}};
        rec_live_request *q = &w.q;
        MB_ASSERT(q->user.n >= 1 && q->user.n <= REC_STORE_KEY_MOST && q->k >= 0 && q->k <= REC_WIRE_K_MOST);
        MB_ASSERT(rec_buffer_is_utf8(q->user.text, (size_t)q->user.n));
        MB_ASSERT(q->kind != REC_LIVE_EVENT || q->item.text);
        for (int i = 0; i < q->n_deny; i++)
            MB_ASSERT(q->deny[i] >= 1 && q->deny[i] <= ITEMS);
        q->top = hit;
        q->n_top = 2;
        q->status = (rec_live_status)(n % 5);
        if (q->status == REC_LIVE_UNKNOWN_ITEM && q->kind != REC_LIVE_EVENT)
            q->status = REC_LIVE_OK;
        rec_wire_answer(&t, model, q, 7);
    }
    must_be_json(&t);
    rec_buffer_free(&t);
    rec_wire_fini(&w);
    mb_free(copy);
}

static void target(const char *method, const char *data, size_t n) {
    char *copy = mb_malloc(n + 1);
    rec_http_request q;
    memcpy(copy, data, n);
    copy[n] = '\0';
    rec_http_parse(&q, method, copy);
    MB_ASSERT(q.code == 0 || q.code == 400 || q.code == 404 || q.code == 405);
    MB_ASSERT(!q.code == !*q.why);
    if (!q.code) {
        MB_ASSERT(q.route != REC_HTTP_NOWHERE && q.k >= -1 && q.k <= REC_WIRE_K_MOST);
        MB_ASSERT(!q.user.text || (q.user.n >= 1 && q.user.n <= REC_STORE_KEY_MOST));
        MB_ASSERT(!q.user.text || rec_buffer_is_utf8(q.user.text, (size_t)q.user.n));
        MB_ASSERT(!q.item.text || rec_buffer_is_utf8(q.item.text, (size_t)q.item.n));
    }
    (void)rec_http_host_is_local(copy);
    (void)rec_http_is_json(copy);
    rec_http_fini(&q);
    mb_free(copy);
}

/* Any bytes as an identifier in an answer: the text is JSON, and ASCII where the bytes are no UTF-8. */
static void identifier(const char *data, size_t n) {
    rec_buffer t = {0};
    rec_buffer_put(&t, "[", 1);
    rec_buffer_json(&t, data, n);
    rec_buffer_put(&t, "]", 1);
    MB_ASSERT(!t.lost && rec_buffer_is_utf8(t.at, t.n));
    rec_buffer_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char *const METHODS[] = {"GET", "POST", "DELETE", "HEAD"};
    if (!model)
        open_model();
    const long before = mb_mem_live_blocks();
    if (n == 0)
        return 0;
    const char *rest = (const char *)data + 1;
    const rec_wire_options o = {.k = 3, .filter_seen = 1, .extra_keys = data[0] & 1};
    if (data[0] % 4 < 2)
        request(&o, rest, n - 1);
    else if (data[0] % 4 == 2)
        target(METHODS[data[0] / 4 % 4], rest, n - 1);
    else
        identifier(rest, n - 1);
    MB_ASSERT(mb_mem_live_blocks() == before);
    return 0;
}
