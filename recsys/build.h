/* From sorted and filtered events to the image of a log: numbers by first appearance, identifiers, index. Internal to
 * the loader. */
#ifndef REC_BUILD_H
#define REC_BUILD_H
#include "recsys/image.h"
#include "recsys/intake.h"

/* Where the image goes: a block of memory, or a file (never both). */
typedef struct rec_sink {
    mb_out *out; /* NULL: memory */
    unsigned char *block;
    rec_header h;
    struct rec_lane { /* what is not written yet of a section of a file */
        char *buffer;
        size_t n;
        int64_t at;
    } lane[REC_SECTIONS];
} rec_sink;

/* recipe: JSON. In memory, k->block is the caller's afterwards
 * (mb_big_free, k->h.bytes). In a file all is written, sealed, and flushed as far as mb_out does. */
int rec_build(rec_sink *k, rec_intake *in, const char *recipe, mb_err *e) MB_MUST_USE;
#endif
