/* The stream between passes: one record of floats per tile, the first ones in memory, the rest in a scratch file.
 * Keeping a fixed part in memory is the best that any cache can do for passes that go back and forth. The file has no
 * name from the moment it is open, so nothing is left behind however the program ends. */
#ifndef MB_STREAM_H
#define MB_STREAM_H
#include <stdint.h>
#include "core/error.h"

typedef struct mb_stream mb_stream;

/* in_memory <= records of them are held in memory. folder: where a scratch file may go (NULL: $TMPDIR, /tmp). */
int mb_stream_create(mb_stream **out, int64_t records, size_t floats, int64_t in_memory, const char *folder,
                     mb_err *e) MB_MUST_USE;
void mb_stream_destroy(mb_stream *s); /* NULL is fine */
/* The record's own memory, or NULL when it lives in the file. */
float *mb_stream_memory(mb_stream *s, int64_t record);
/* File records: the first `floats` of it, between buffer and file. Different records may be moved at the same time. */
int mb_stream_load(mb_stream *s, int64_t record, float *buffer, size_t floats, mb_err *e) MB_MUST_USE;
int mb_stream_store(mb_stream *s, int64_t record, const float *buffer, size_t floats, mb_err *e) MB_MUST_USE;
/* Tells the system that the record will be loaded soon. */
void mb_stream_will_need(mb_stream *s, int64_t record);
#endif
