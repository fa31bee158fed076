/* See http_pages.h. */
#include "recsys/http_pages.h"

#include <inttypes.h>
#include <string.h>

#include "core/mem.h"
#include "core/nearest.h"

static const int CODES[REC_HTTP_CODES] = {200, 400, 403, 404, 405, 413, 415, 429, 500, 503, 0};
static const double TIMES[REC_HTTP_TIMES] = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 0};

void rec_http_count_code(rec_http_counts *c, int code) {
    int i = 0;
    while (i < REC_HTTP_CODES - 1 && CODES[i] != code)
        i++;
    c->code[i]++;
}

void rec_http_count_time(rec_http_shown *s, double seconds) {
    int i = 0;
    while (i < REC_HTTP_TIMES - 1 && seconds > TIMES[i])
        i++;
    s->time[i]++;
    s->time_sum += seconds;
}

int rec_http_health(rec_buffer *t, const rec_http_shown *s) {
    rec_buffer_printf(t, "{\"status\":\"%s\",\"users\":%" PRId64 ",\"model\":\"%s\"}", s->failing ? "failing" : "ok",
                      s->users, s->digest);
    return s->failing ? 503 : 200;
}

/* ---- metrics ------------------------------------------------------------------------------------------------------*/
static void head(rec_buffer *t, const char *name, const char *type, const char *help) {
    rec_buffer_printf(t, "# HELP recmamba_%s %s\n# TYPE recmamba_%s %s\n", name, help, name, type);
}

static void metric(rec_buffer *t, const char *name, const char *type, const char *help, double value) {
    head(t, name, type, help);
    rec_buffer_printf(t, "recmamba_%s %.17g\n", name, value);
}

static void times(rec_buffer *t, const rec_http_shown *s) {
    int64_t sum = 0;
    head(t, "request_seconds", "histogram", "From the arrival of a request to its commit.");
    for (int i = 0; i < REC_HTTP_TIMES; i++) {
        sum += s->time[i];
        if (i < REC_HTTP_TIMES - 1)
            rec_buffer_printf(t, "recmamba_request_seconds_bucket{le=\"%g\"} %" PRId64 "\n", TIMES[i], sum);
        else
            rec_buffer_printf(t, "recmamba_request_seconds_bucket{le=\"+Inf\"} %" PRId64 "\n", sum);
    }
    rec_buffer_printf(t, "recmamba_request_seconds_sum %.9g\nrecmamba_request_seconds_count %" PRId64 "\n", s->time_sum,
                      sum);
}

void rec_http_metrics(rec_buffer *t, const rec_http_shown *s, const rec_http_counts *c) {
    static const char COUNTER[] = "counter", GAUGE[] = "gauge";
    const rec_live_counts *l = &s->live;
    metric(t, "events_total", COUNTER, "Events taken and committed.", (double)l->events);
    metric(t, "questions_total", COUNTER, "Recommendations asked for without an event.", (double)l->asks);
    metric(t, "forgotten_total", COUNTER, "Users removed.", (double)l->forgets);
    metric(t, "new_users_total", COUNTER, "Users seen for the first time.", (double)l->new_users);
    metric(t, "unknown_items_total", COUNTER, "Events of items that the model does not know.",
           (double)l->unknown_items);
    metric(t, "late_events_total", COUNTER, "Events older than one before of their user.", (double)l->late);
    metric(t, "errors_total", COUNTER, "Requests that failed.", (double)l->errors);
    metric(t, "commits_total", COUNTER, "Transactions committed.", (double)l->users.commits);
    metric(t, "commit_seconds_total", COUNTER, "Time spent in transactions.", l->users.commit_seconds);
    metric(t, "cache_hits_total", COUNTER, "States found in memory.", (double)l->users.hits);
    metric(t, "cache_misses_total", COUNTER, "States read from the store, or new.", (double)l->users.misses);
    metric(t, "cache_evictions_total", COUNTER, "States that made room for others.", (double)l->users.evictions);
    metric(t, "cache_bytes", GAUGE, "States held in memory.", (double)l->users.bytes);
    metric(t, "users", GAUGE, "Users in the store.", (double)s->users);
    metric(t, "store_bytes", GAUGE, "Size of the store's file.", (double)s->store_bytes);
    metric(t, "store_failing", GAUGE, "1 while what was asked last could not be stored.", s->failing);
    times(t, s);
    head(t, "http_responses_total", COUNTER, "Answers by code.");
    for (int i = 0; i < REC_HTTP_CODES; i++)
        if (CODES[i])
            rec_buffer_printf(t, "recmamba_http_responses_total{code=\"%d\"} %" PRId64 "\n", CODES[i], c->code[i]);
}

/* ---- similar items ------------------------------------------------------------------------------------------------*/
static int find_nearest(const rec_model *m, int32_t item, int k, mb_nearest_hit *hit, mb_err *e) {
    const mb_model *engine = rec_model_engine(m);
    const int D = mb_model_config(engine)->D;
    const float *row = mb_model_params(engine)->embedding + D; /* of item 1: row 0 is the pad */
    const mb_nearest_rows index = {row, MB_F32, rec_model_items(m), D};
    const mb_nearest_rows query = {row + (size_t)(item - 1) * (size_t)D, MB_F32, 1, D};
    const mb_nearest_options o = {.measure = MB_NEAREST_COSINE, .k = k, .threads = 1, .memory = 64 << 20};
    mb_nearest_counts counts;
    return mb_nearest_run(&index, &query, 0, 1, &o, hit, &counts, e);
}

int rec_http_similar(rec_buffer *t, const rec_model *m, rec_id id, int k) {
    const int32_t item = rec_model_find_item(m, id.text, id.n);
    mb_err e = {0};
    int printed = 0;
    if (!item) {
        rec_wire_refusal(t, "the model does not know this item", 0);
        return 404;
    }
    mb_nearest_hit *hit = mb_calloc((size_t)k + 1, sizeof *hit); /* one more: the item itself is among them */
    if (!hit || find_nearest(m, item, k + 1, hit, &e)) {
        rec_wire_refusal(t, hit ? e.text : "no memory", 0);
        mb_free(hit);
        return 503;
    }
    rec_buffer_put(t, "{\"item\":", 8);
    rec_buffer_json(t, id.text, (size_t)id.n);
    rec_buffer_printf(t, ",\"similar\":[");
    for (int i = 0; i <= k && printed < k; i++) {
        if (hit[i].row < 0 || hit[i].row == item - 1)
            continue;
        const rec_id other = rec_model_item_id(m, (int32_t)hit[i].row + 1);
        rec_buffer_put(t, printed ? ",{\"item\":" : "{\"item\":", printed ? 9 : 8);
        printed++;
        rec_buffer_json(t, other.text, (size_t)other.n);
        rec_buffer_printf(t, ",\"cosine\":%.9g}", hit[i].value);
    }
    rec_buffer_printf(t, "]}");
    mb_free(hit);
    return 200;
}
