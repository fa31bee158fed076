/* The bytes of a file as a stream, unpacked when they are gzip (BGZF and several members too), xz or zstd, which their
 * first bytes say. Never holds more than some buffers of it. */
#ifndef REC_UNPACK_H
#define REC_UNPACK_H
#include <stdint.h>
#include "core/error.h"

typedef struct rec_unpack rec_unpack;

/* path: "-" is standard input. */
int rec_unpack_open(rec_unpack **out, const char *path, mb_err *e) MB_MUST_USE;
void rec_unpack_close(rec_unpack *u); /* NULL is fine */
/* *got: bytes put into to, 0 only at the end of a stream that was whole. room > 0. */
int rec_unpack_read(rec_unpack *u, char *to, size_t room, size_t *got, mb_err *e) MB_MUST_USE;
const char *rec_unpack_packing(const rec_unpack *u); /* "none", "gzip", "xz", "zstd" */
int64_t rec_unpack_consumed(const rec_unpack *u);    /* bytes of the file so far */
#endif
