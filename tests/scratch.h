/* Files of a test: a folder of its own, removed at exit, and small inputs made on the spot. Failures end the program.
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H
#include <stddef.h>

/* The folder, made at the first call. */
const char *scratch_dir(void);
/* Path of name in it; valid until 64 more were asked for. */
const char *scratch_path(const char *name);
/* Writes a file there and returns its path. */
const char *scratch_bytes(const char *name, const void *data, size_t n);
const char *scratch_text(const char *name, const char *text);
/* The same compressed: by gzip, or by BGZF with its end marker. */
const char *scratch_gzip(const char *name, const char *text);
const char *scratch_bgzf(const char *name, const char *text);
/* SAM text written as SAM, BAM or CRAM (told by the ending of name; CRAM without a reference); sorted input gets an
 * index when index is set. */
const char *scratch_alignment(const char *name, const char *sam, int index);
/* The first n bytes of a file as another. */
const char *scratch_cut(const char *name, const char *from, long n);
long scratch_size(const char *path);
/* Whole file, zero-terminated; free(). NULL when it is not there. */
char *scratch_read(const char *path, size_t *size);
#endif
