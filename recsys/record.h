/* One user's state, and its form in the store:
 *
 *   0  u32 magic          16 i64 events fed         36 u32 vector floats     48 f32 vector: the user's vector after the
 *   4  u32 CRC-32         24 i64 time of the last   40 u32 state floats         last event, (D)
 *   8  u64 model's tag    32 u32 flags: 1 has time  44 u32 seen items           f32 state: as mb_session_get_state
 *                                                                               gives it
 *                                                                               seen items, ascending, as differences
 *                                                                               in LEB128
 *
 * in the byte order of the machine, as all of an LMDB file is (another order shows in the magic). The CRC covers the
 * user's identifier and all that follows the CRC, so a record under another user's key is found out as well. Reading
 * refuses what is cut short, too long, of another model or damaged. */
#ifndef REC_RECORD_H
#define REC_RECORD_H
#include <stddef.h>
#include <stdint.h>
#include "core/error.h"
#include "recsys/log.h"

typedef struct rec_shape { /* what all records of a store have in common */
    uint32_t vector_floats, state_floats;
    uint64_t tag; /* of the model */
    int32_t items;
} rec_shape;

typedef struct rec_record {
    int64_t events, last_time;
    int has_time;
    float *vector, *state; /* by the caller, of the shape's sizes; vector lies before state, in one block */
    int32_t *seen;         /* ascending, 1 .. items; mb_free */
    int64_t n_seen, room;
} rec_record;

/* Most bytes that the record takes. */
size_t rec_record_bytes(const rec_shape *s, const rec_record *r);
/* Into `to`, of rec_record_bytes. Returns the bytes written. */
size_t rec_record_write(const rec_shape *s, const rec_record *r, rec_id user, void *to);
/* r->vector and r->state are filled, r->seen is allocated as needed; MB_FORMAT says what is wrong. */
int rec_record_read(const rec_shape *s, rec_record *r, rec_id user, const void *data, size_t n, mb_err *e) MB_MUST_USE;
/* Counts, time and seen items of a record of whatever model; vector and state are left alone. */
int rec_record_peek(rec_record *r, rec_id user, const void *data, size_t n, mb_err *e) MB_MUST_USE;
/* No events, no items; memory of seen is kept. */
void rec_record_clear(const rec_shape *s, rec_record *r);
/* Whether the item is among the seen. */
int rec_record_has(const rec_record *r, int32_t item);
/* Room for n seen items in all, so that adding them cannot fail. */
int rec_record_reserve(rec_record *r, int64_t n, mb_err *e) MB_MUST_USE;
/* Adds it unless it is there. */
int rec_record_add(rec_record *r, int32_t item, mb_err *e) MB_MUST_USE;
/* Many at once, in any order. */
int rec_record_add_all(rec_record *r, const int32_t *item, int64_t n, mb_err *e) MB_MUST_USE;
#endif
