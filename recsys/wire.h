/* What stream and serve speak: one JSON object for each request and each answer.
 *
 *   {"user": "u1", "item": "i9", "time": 978300760, "topk": 10, "filter_seen": true, "deny": ["i1"]}   an event
 *   {"user": "u1"}              asks        {"forget": "u1"}    removes what is known of a user
 *
 *   {"user":"u1","status":"ok","events":3,"top":[{"item":"i2","score":1.25},...]}
 *   "status": "ok" | "unknown_item" | "no_history" | "forgotten" | "error" (with "error": words, and "line" for lines)
 *   "late":true, "new":true only where they hold
 *
 * Identifiers are strings, or whole numbers, which stand for their decimal digits. Scores have nine digits: they name
 * one float. Identifiers of a model's items that are not UTF-8 are written with each odd byte b as \udcXX (0xdc00 + b),
 * as Python's surrogateescape has it; words of errors have U+FFFD there. Refused with words: what is no JSON object,
 * unknown and doubled keys, wrong types, numbers out of range, identifiers that no store can hold. */
#ifndef REC_WIRE_H
#define REC_WIRE_H
#include <jansson.h>

#include "recsys/live.h"

typedef struct rec_buffer { /* grows; after a failure `lost` is set and stays */
    char *at;
    size_t n, room;
    int lost;
} rec_buffer;

void rec_buffer_put(rec_buffer *t, const char *s, size_t n);
void rec_buffer_printf(rec_buffer *t, const char *fmt, ...) MB_PRINTF(2, 3);
/* With its quotes. */
void rec_buffer_json(rec_buffer *t, const char *text, size_t n);
void rec_buffer_free(rec_buffer *t);
int rec_buffer_is_utf8(const char *s, size_t n);

enum { REC_WIRE_DENY_MOST = 1000, REC_WIRE_K_MOST = 1000 };

typedef struct rec_wire_options {
    int k;           /* recommendations unless the request says another number */
    int filter_seen; /* unless the request says otherwise */
    int extra_keys;  /* 1: unknown keys are passed over; 0: refused */
} rec_wire_options;

typedef struct rec_wire { /* a request with what its text is made of */
    rec_live_request q;
    json_t *root;
    int32_t deny[8], *deny_more;
    char number[2][24];
} rec_wire;

/* text may be altered. Needs rec_wire_fini in every case; zeroed before the first. */
int rec_wire_parse(rec_wire *w, const rec_wire_options *o, const rec_model *m, char *text, size_t n,
                   mb_err *e) MB_MUST_USE;
/* The same from a value that is parsed already. */
int rec_wire_read(rec_wire *w, const rec_wire_options *o, const rec_model *m, json_t *value, mb_err *e) MB_MUST_USE;
void rec_wire_fini(rec_wire *w);
/* The answer as one object, without a line end. line: > 0 is named in errors. */
void rec_wire_answer(rec_buffer *t, const rec_model *m, const rec_live_request *q, int64_t line);
/* The answer to what could not be read. */
void rec_wire_refusal(rec_buffer *t, const char *why, int64_t line);
#endif
