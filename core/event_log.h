/* What a run measured as it went: metrics.jsonl for programs (a line per record, flushed and durable at checkpoints)
 * and TensorBoard's event files (events.out.tfevents.*: length-delimited records with masked CRC-32C, each a protobuf
 * Event with one scalar; tensorflow/core/lib/io/record_writer, tensorflow/core/util/event.proto). */
#ifndef MB_EVENT_LOG_H
#define MB_EVENT_LOG_H
#include <stdint.h>
#include "core/error.h"

typedef struct mb_event_log mb_event_log;

typedef struct mb_event_value {
    const char *name; /* "loss" */
    double value;     /* NaN and infinities are written as null to the JSON lines */
    int whole;        /* written without a fraction */
} mb_event_value;

/* Appends to DIR/metrics.jsonl, after dropping the lines of steps beyond `step` (what an interrupted run wrote after
 * the checkpoint that is resumed; step < 0: all) and a line cut short at the end; starts a new event file unless
 * tensorboard is 0. MB_IO while another process has the same folder open. */
int mb_event_log_open(mb_event_log **out, const char *dir, int64_t step, int tensorboard, mb_err *e) MB_MUST_USE;
/* One record: {"step": .., "kind": "train", "time": .., name: value, ...}; in TensorBoard kind/name. */
int mb_event_log_write(mb_event_log *l, int64_t step, const char *kind, const mb_event_value *v, int n,
                       mb_err *e) MB_MUST_USE;
int mb_event_log_sync(mb_event_log *l, mb_err *e) MB_MUST_USE;
/* Syncs, closes, frees; l may be NULL. */
int mb_event_log_close(mb_event_log *l, mb_err *e) MB_MUST_USE;
/* CRC-32C (Castagnoli) of n bytes, for tests: of "123456789" it is 0xe3069283. */
uint32_t mb_crc32c(const void *data, size_t n);
#endif
