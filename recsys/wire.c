/* See wire.h. */
#include "recsys/wire.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/json_guard.h"
#include "core/mem.h"
#include "core/options.h"

/* ---- text ---------------------------------------------------------------------------------------------------------*/
static char *room_for(rec_buffer *t, size_t n) {
    if (t->lost || n > SIZE_MAX / 4 - t->n) {
        t->lost = 1;
        return NULL;
    }
    if (t->n + n > t->room) {
        const size_t room = 2 * (t->n + n) + 256;
        char *more = mb_realloc(t->at, room);
        t->lost |= !more;
        if (!more)
            return NULL;
        t->at = more;
        t->room = room;
    }
    return t->at + t->n;
}

void rec_buffer_put(rec_buffer *t, const char *s, size_t n) {
    char *to = room_for(t, n);
    if (!to)
        return;
    memcpy(to, s, n);
    t->n += n;
}

void rec_buffer_printf(rec_buffer *t, const char *fmt, ...) {
    char line[1024];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    MB_ASSERT(n >= 0 && (size_t)n < sizeof line);
    rec_buffer_put(t, line, (size_t)n);
}

/* Bytes of the UTF-8 character at s, 0 when there is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8(const unsigned char *s, size_t n) {
    const size_t need = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (need == 0 || need > n)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return need;
}

/* odd: 0xdc00 writes a byte b that is no UTF-8 as \udcXX; 0 as U+FFFD. */
static void put_string(rec_buffer *t, const char *text, size_t n, unsigned odd) {
    const unsigned char *s = (const unsigned char *)text;
    size_t plain = 0; /* bytes before i that go out as they are */
    rec_buffer_put(t, "\"", 1);
    for (size_t i = 0, step; i < n; i += step) {
        const size_t whole = utf8(s + i, n - i);
        step = whole ? whole : 1;
        if (whole && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\' && s[i] != 0x7f) {
            plain += whole;
            continue;
        }
        rec_buffer_put(t, text + i - plain, plain);
        plain = 0;
        if (s[i] == '"' || s[i] == '\\')
            rec_buffer_printf(t, "\\%c", s[i]);
        else
            rec_buffer_printf(t, "\\u%04x", s[i] < 0x80 ? s[i] : odd ? odd + s[i] : 0xfffdU);
    }
    rec_buffer_put(t, text + n - plain, plain);
    rec_buffer_put(t, "\"", 1);
}

void rec_buffer_json(rec_buffer *t, const char *text, size_t n) {
    put_string(t, text, n, 0xdc00);
}

int rec_buffer_is_utf8(const char *s, size_t n) {
    for (size_t i = 0, step; i < n; i += step)
        if (!(step = utf8((const unsigned char *)s + i, n - i)))
            return 0;
    return 1;
}

void rec_buffer_free(rec_buffer *t) {
    mb_free(t->at);
    *t = (rec_buffer){0};
}

/* ---- requests -----------------------------------------------------------------------------------------------------*/
/* A string, or a whole number as its digits in `room`. */
static int take_id(rec_id *id, const char *key, const json_t *v, char room[24], mb_err *e) {
    if (json_is_string(v)) {
        if (json_string_length(v) > INT32_MAX)
            return mb_fail(e, MB_FORMAT, "\"%s\" is too long", key);
        *id = (rec_id){json_string_value(v), (int)json_string_length(v)};
    } else if (json_is_integer(v)) {
        id->n = snprintf(room, 24, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        id->text = room;
    } else {
        return mb_fail(e, MB_FORMAT, "\"%s\" must be a string or a whole number", key);
    }
    return MB_OK;
}

static int take_user(rec_wire *w, const char *key, const json_t *v, mb_err *e) {
    int rc = take_id(&w->q.user, key, v, w->number[0], e);
    if (!rc && (w->q.user.n < 1 || w->q.user.n > REC_STORE_KEY_MOST))
        rc = mb_fail(e, MB_RANGE, "\"%s\" has %d bytes; 1 to %d can be stored", key, w->q.user.n, REC_STORE_KEY_MOST);
    return rc;
}

static int take_deny(rec_wire *w, const rec_model *m, const json_t *v, mb_err *e) {
    char room[24];
    rec_id id;
    if (!json_is_array(v) || json_array_size(v) > REC_WIRE_DENY_MOST)
        return mb_fail(e, MB_FORMAT, "\"deny\" must be a list of at most %d items", REC_WIRE_DENY_MOST);
    const size_t n = json_array_size(v);
    int32_t *to = w->deny;
    if (n > sizeof w->deny / sizeof *w->deny)
        to = w->deny_more = mb_malloc(n * sizeof *to);
    if (!to)
        return mb_fail(e, MB_NOMEM, "no memory for a list of items");
    for (size_t i = 0; i < n; i++) {
        int rc = take_id(&id, "deny", json_array_get(v, i), room, e);
        if (rc)
            return rc;
        to[w->q.n_deny] = rec_model_find_item(m, id.text, id.n);
        w->q.n_deny += to[w->q.n_deny] != 0; /* an item that the model does not know is not recommended anyway */
    }
    w->q.deny = to;
    return MB_OK;
}

static int take_k(rec_wire *w, const json_t *v, mb_err *e) {
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > REC_WIRE_K_MOST)
        return mb_fail(e, MB_FORMAT, "\"topk\" must be a whole number from 0 to %d", REC_WIRE_K_MOST);
    w->q.k = (int)json_integer_value(v);
    return MB_OK;
}

static int unknown_key(const char *key, mb_err *e) {
    static const char *const KNOWN[] = {"user", "item", "time", "topk", "filter_seen", "deny", "forget"};
    const char *near = mb_suggest(key, KNOWN, sizeof KNOWN / sizeof *KNOWN);
    return mb_fail(e, MB_FORMAT, "\"%.60s\" is no key of a request%s%s%s", key, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

static int take_field(rec_wire *w, const rec_wire_options *o, const rec_model *m, const char *key, const json_t *v,
                      mb_err *e) {
    if (strcmp(key, "user") == 0)
        return take_user(w, key, v, e);
    if (strcmp(key, "item") == 0) {
        w->q.kind = REC_LIVE_EVENT;
        return take_id(&w->q.item, key, v, w->number[1], e);
    }
    if (strcmp(key, "time") == 0) {
        if (json_is_null(v))
            return MB_OK;
        if (!json_is_integer(v))
            return mb_fail(e, MB_FORMAT, "\"time\" must be a whole number");
        w->q.time = json_integer_value(v);
        w->q.has_time = 1;
        return MB_OK;
    }
    if (strcmp(key, "topk") == 0)
        return take_k(w, v, e);
    if (strcmp(key, "filter_seen") == 0) {
        w->q.filter_seen = json_is_true(v);
        return json_is_boolean(v) ? MB_OK : mb_fail(e, MB_FORMAT, "\"filter_seen\" must be true or false");
    }
    if (strcmp(key, "deny") == 0)
        return take_deny(w, m, v, e);
    if (strcmp(key, "forget") == 0) {
        w->q.kind = REC_LIVE_FORGET;
        return take_user(w, key, v, e);
    }
    return o->extra_keys ? MB_OK : unknown_key(key, e);
}

int rec_wire_read(rec_wire *w, const rec_wire_options *o, const rec_model *m, json_t *value, mb_err *e) {
    const char *key;
    json_t *v;
    w->q = (rec_live_request){.kind = REC_LIVE_ASK, .k = o->k, .filter_seen = o->filter_seen};
    if (!json_is_object(value))
        return mb_fail(e, MB_FORMAT, "a request is a JSON object, {\"user\": ..}");
    const int forgets = json_object_get(value, "forget") != NULL;
    if (forgets && (json_object_get(value, "user") || json_object_get(value, "item")))
        return mb_fail(e, MB_FORMAT, "\"forget\" stands without \"user\" and \"item\"");
    int rc = MB_OK;
    json_object_foreach(value, key, v) {
        rc = take_field(w, o, m, key, v, e);
        if (rc)
            return rc;
    }
    return w->q.user.text ? MB_OK : mb_fail(e, MB_FORMAT, "\"user\" is missing");
}

int rec_wire_parse(rec_wire *w, const rec_wire_options *o, const rec_model *m, char *text, size_t n, mb_err *e) {
    static const mb_json_limits LIMITS = {.depth = 4, .parts = 2 * REC_WIRE_DENY_MOST + 64};
    int rc = mb_json_parse(&w->root, text, n, &LIMITS, 0, "request", 0, e);
    return rc ? rc : rec_wire_read(w, o, m, w->root, e);
}

void rec_wire_fini(rec_wire *w) {
    json_decref(w->root);
    mb_free(w->deny_more);
    w->root = NULL;
    w->deny_more = NULL;
}

/* ---- answers ------------------------------------------------------------------------------------------------------*/
void rec_wire_refusal(rec_buffer *t, const char *why, int64_t line) {
    rec_buffer_put(t, "{", 1);
    if (line > 0)
        rec_buffer_printf(t, "\"line\":%" PRId64 ",", line);
    rec_buffer_printf(t, "\"status\":\"error\",\"error\":");
    put_string(t, why, strlen(why), 0);
    rec_buffer_put(t, "}", 1);
}

void rec_wire_answer(rec_buffer *t, const rec_model *m, const rec_live_request *q, int64_t line) {
    static const char *const STATUS[] = {[REC_LIVE_OK] = "ok",
                                         [REC_LIVE_UNKNOWN_ITEM] = "unknown_item",
                                         [REC_LIVE_NO_HISTORY] = "no_history",
                                         [REC_LIVE_FORGOTTEN] = "forgotten",
                                         [REC_LIVE_ERROR] = "error"};
    rec_buffer_put(t, "{\"user\":", 8);
    rec_buffer_json(t, q->user.text, (size_t)q->user.n);
    rec_buffer_printf(t, ",\"status\":\"%s\"", STATUS[q->status]);
    if (q->status == REC_LIVE_ERROR) {
        if (line > 0)
            rec_buffer_printf(t, ",\"line\":%" PRId64, line);
        rec_buffer_put(t, ",\"error\":", 9);
        put_string(t, q->why, strlen(q->why), 0);
        rec_buffer_put(t, "}", 1);
        return;
    }
    if (q->status == REC_LIVE_UNKNOWN_ITEM) {
        rec_buffer_put(t, ",\"item\":", 8);
        rec_buffer_json(t, q->item.text, (size_t)q->item.n);
    }
    rec_buffer_printf(t, ",\"events\":%" PRId64 "%s%s", q->events, q->is_new ? ",\"new\":true" : "",
                      q->late ? ",\"late\":true" : "");
    if (q->kind != REC_LIVE_FORGET && q->k > 0) {
        rec_buffer_put(t, ",\"top\":[", 8);
        for (int i = 0; i < q->n_top; i++) {
            const rec_id id = rec_model_item_id(m, q->top[i].item);
            rec_buffer_put(t, i ? ",{\"item\":" : "{\"item\":", i ? 9 : 8);
            rec_buffer_json(t, id.text, (size_t)id.n);
            if (isfinite(q->top[i].score))
                rec_buffer_printf(t, ",\"score\":%.9g}", (double)q->top[i].score);
            else
                rec_buffer_printf(t, ",\"score\":null}"); /* JSON has no infinity */
        }
        rec_buffer_put(t, "]", 1);
    }
    rec_buffer_put(t, "}", 1);
}
