/* See stats.h. Refuses nothing. */
#include "recsys/stats.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "core/mem.h"

const double REC_QUANTILE[REC_QUANTILES] = {0, .25, .5, .75, .9, .99, 1};
const char *const REC_SPLIT_NAME[] = {"leave_one_out", "time", "given"};

/* In place, by heap: no memory of its own. */
static void sift(int64_t *a, int64_t i, int64_t n) {
    for (;;) {
        int64_t c = 2 * i + 1;
        if (c >= n)
            return;
        c += c + 1 < n && a[c + 1] > a[c];
        if (a[i] >= a[c])
            return;
        const int64_t swap = a[i];
        a[i] = a[c];
        a[c] = swap;
        i = c;
    }
}

static void sort_counts(int64_t *a, int64_t n) {
    for (int64_t i = n / 2 - 1; i >= 0; i--)
        sift(a, i, n);
    for (int64_t k = n - 1; k > 0; k--) {
        const int64_t most = a[0];
        a[0] = a[k];
        a[k] = most;
        sift(a, 0, k);
    }
}

static void quantiles(int64_t *count, int64_t n, int64_t *out) {
    sort_counts(count, n);
    for (int i = 0; i < REC_QUANTILES; i++)
        out[i] = count[(int64_t)floor(REC_QUANTILE[i] * (double)(n - 1))];
}

static void count_items(rec_stats *s, const rec_view *v, int64_t *count, int32_t *last) {
    for (int32_t u = 0; u < v->n_users; u++)
        for (int64_t i = v->user_at[u]; i < v->user_at[u + 1]; i++) {
            const int32_t k = v->item[i] - 1;
            count[k]++;
            s->repeats += last[k] == u + 1;
            last[k] = u + 1;
        }
}

static void look_at_times(rec_stats *s, const rec_view *v) {
    s->has_time = 1;
    s->time_from = INT64_MAX;
    s->time_to = INT64_MIN;
    for (int32_t u = 0; u < v->n_users; u++)
        for (int64_t i = v->user_at[u]; i < v->user_at[u + 1]; i++) {
            s->time_from = v->time[i] < s->time_from ? v->time[i] : s->time_from;
            s->time_to = v->time[i] > s->time_to ? v->time[i] : s->time_to;
            s->unordered += i > v->user_at[u] && v->time[i] < v->time[i - 1];
        }
}

static void look_at_values(rec_stats *s, const rec_view *v) {
    double sum = 0;
    s->has_value = 1;
    s->value_least = s->value_most = v->value[0];
    for (int64_t i = 0; i < v->n_events; i++) {
        sum += v->value[i];
        s->value_least = v->value[i] < s->value_least ? v->value[i] : s->value_least;
        s->value_most = v->value[i] > s->value_most ? v->value[i] : s->value_most;
    }
    s->value_mean = sum / (double)v->n_events;
}

int rec_stats_make(rec_stats *s, const rec_log *l, mb_err *e) {
    const rec_view *v = rec_log_view(l);
    const int64_t most = v->n_users > v->n_items ? v->n_users : v->n_items;
    int64_t *count = mb_calloc((size_t)most, sizeof *count);
    int32_t *last = mb_calloc((size_t)v->n_items, sizeof *last);
    *s = (rec_stats){.n_users = v->n_users, .n_items = v->n_items, .n_aux = v->n_aux, .n_events = v->n_events};
    if (!count || !last) {
        mb_free(count);
        mb_free(last);
        return mb_fail(e, MB_NOMEM, "no memory for the statistics of a log");
    }
    count_items(s, v, count, last);
    quantiles(count, v->n_items, s->item);
    for (int32_t u = 0; u < v->n_users; u++)
        count[u] = v->user_at[u + 1] - v->user_at[u];
    quantiles(count, v->n_users, s->user);
    mb_free(count);
    mb_free(last);
    s->user_mean = (double)v->n_events / v->n_users;
    s->item_mean = (double)v->n_events / v->n_items;
    s->density = (double)(v->n_events - s->repeats) / ((double)v->n_users * v->n_items);
    if (v->time)
        look_at_times(s, v);
    if (v->value)
        look_at_values(s, v);
    return MB_OK;
}

/* ---- telling --------------------------------------------------------------------------------------------------------
 */
/* Times of these years are taken for Unix seconds: 1990 to 2100. */
static void say_date(int64_t t, char *out, size_t n) {
    struct tm d;
    const time_t when = (time_t)t;
    out[0] = '\0';
    if (t >= 631152000 && t < 4102444800 && gmtime_r(&when, &d))
        strftime(out, n, " (%Y-%m-%d %H:%M:%S UTC if seconds)", &d);
}

static void print_counts(const char *what, double mean, const int64_t *q, FILE *f) {
    fprintf(f,
            "%-13s mean %.2f, least %" PRId64 ", quartiles %" PRId64 " %" PRId64 " %" PRId64 ", 90 %% %" PRId64
            ", 99 %% %" PRId64 ", most %" PRId64 "\n",
            what, mean, q[0], q[1], q[2], q[3], q[4], q[5], q[6]);
}

void rec_stats_print(const rec_stats *s, const rec_log *l, const rec_split *split, FILE *f) {
    char from[64], to[64];
    fprintf(f, "users         %d\nitems         %d\nevents        %" PRId64 "\n", s->n_users, s->n_items, s->n_events);
    if (s->n_aux)
        fprintf(f, "aux           %d\n", s->n_aux);
    fprintf(f, "density       %.4f %%\nrepeats       %" PRId64 " (%.2f %%)\n", 100 * s->density, s->repeats,
            100 * (double)s->repeats / (double)s->n_events);
    print_counts("user events", s->user_mean, s->user, f);
    print_counts("item events", s->item_mean, s->item, f);
    if (s->has_time) {
        say_date(s->time_from, from, sizeof from);
        say_date(s->time_to, to, sizeof to);
        fprintf(f, "times         %" PRId64 "%s to %" PRId64 "%s\n", s->time_from, from, s->time_to, to);
        if (s->unordered)
            fprintf(f, "unordered     %" PRId64 " events are earlier than the one before them\n", s->unordered);
    } else {
        fprintf(f, "times         none: the order of the input\n");
    }
    if (s->has_value)
        fprintf(f, "values        mean %.4f, least %g, most %g\n", s->value_mean, s->value_least, s->value_most);
    fprintf(f, "recipe        %s\nitems digest  %s\n", rec_log_recipe(l), rec_log_items_digest(l));
    if (split)
        fprintf(f, "split         %s: %" PRId64 " train, %" PRId64 " validation, %" PRId64 " test\nfingerprint   %s\n",
                REC_SPLIT_NAME[split->rule], split->train, split->valid, split->test, split->fingerprint);
}

static char *json_counts(const char *key, double mean, const int64_t *q) {
    return mb_asprintf("\"%s\": {\"mean\": %.17g, \"min\": %" PRId64 ", \"q25\": %" PRId64 ", \"q50\": %" PRId64
                       ", \"q75\": %" PRId64 ", \"q90\": %" PRId64 ", \"q99\": %" PRId64 ", \"max\": %" PRId64 "}",
                       key, mean, q[0], q[1], q[2], q[3], q[4], q[5], q[6]);
}

char *rec_stats_json(const rec_stats *s, const rec_log *l, const rec_split *split) {
    char time[128] = "null", value[128] = "null", parts[320] = "null", *out = NULL;
    if (s->has_time)
        snprintf(time, sizeof time, "{\"from\": %" PRId64 ", \"to\": %" PRId64 ", \"unordered\": %" PRId64 "}",
                 s->time_from, s->time_to, s->unordered);
    if (s->has_value)
        snprintf(value, sizeof value, "{\"mean\": %.17g, \"min\": %.9g, \"max\": %.9g}", s->value_mean, s->value_least,
                 s->value_most);
    if (split)
        snprintf(parts, sizeof parts,
                 "{\"rule\": \"%s\", \"train\": %" PRId64 ", \"valid\": %" PRId64 ", \"test\": %" PRId64
                 ", \"fingerprint\": \"%s\"}",
                 REC_SPLIT_NAME[split->rule], split->train, split->valid, split->test, split->fingerprint);
    char *user = json_counts("user_events", s->user_mean, s->user);
    char *item = json_counts("item_events", s->item_mean, s->item);
    if (user && item)
        out = mb_asprintf("{\"users\": %d, \"items\": %d, \"aux\": %d, \"events\": %" PRId64
                          ", \"density\": %.17g, \"repeats\": %" PRId64
                          ", %s, %s, \"time\": %s, \"value\": %s, \"items_digest\": \"%s\", \"split\": %s, "
                          "\"recipe\": %s}",
                          s->n_users, s->n_items, s->n_aux, s->n_events, s->density, s->repeats, user, item, time,
                          value, rec_log_items_digest(l), parts, rec_log_recipe(l));
    mb_free(user);
    mb_free(item);
    return out;
}
