/* Files: an output appears complete or not at all (temporary name in the same folder, fsync, rename, fsync folder). */
#ifndef MB_FILE_H
#define MB_FILE_H
#include <stdint.h>
#include "core/error.h"

/* Output that becomes visible only by mb_out_commit. Temporary name: PATH.tmp.<host>.<pid>; removed on abort and, by
 * mb_out_abort_all (called on fatal signals and at exit), when the program ends early. path "-" writes to stdout; a
 * device or a pipe is written directly; a symbolic link stays and its target is replaced. The first failed write
 * sticks: a later commit fails and leaves what stood at PATH as it was. */
typedef struct mb_out mb_out;
int mb_out_create(mb_out **out, const char *path, mb_err *e) MB_MUST_USE;
int mb_out_write(mb_out *o, const void *data, size_t n, mb_err *e) MB_MUST_USE; /* buffered, sequential */
int mb_out_printf(mb_out *o, mb_err *e, const char *fmt, ...) MB_PRINTF(3, 4);
/* Random access (not for "-"): flushes what is buffered first. Thread-safe against other pwrites. */
int mb_out_pwrite(mb_out *o, const void *data, size_t n, int64_t at, mb_err *e) MB_MUST_USE;
int mb_out_fd(mb_out *o); /* for libraries that write themselves; positioned after what was written so far */
const char *mb_out_temp_path(const mb_out *o);
int64_t mb_out_tell(const mb_out *o);
/* Flush, fsync, rename, fsync folder; frees o in every case. */
int mb_out_commit(mb_out *o, mb_err *e) MB_MUST_USE;
void mb_out_abort(mb_out *o); /* removes the temporary file, frees; NULL is fine */
void mb_out_abort_all(void); /* async-signal-safe: unlinks the temporary files; their mb_out can only be aborted then */

/* An output that survives an interruption, for --resume: the temporary file is PATH.partial, is opened if it is there
 * already (*size: its bytes, 0 when new), is locked against a second process, and stays on mb_out_keep and
 * mb_out_abort_all. Write with mb_out_pwrite, or sequentially from *size on. mb_out_abort still removes it. */
int mb_out_create_partial(mb_out **out, const char *path, int64_t *size, mb_err *e) MB_MUST_USE;
/* Flush, fsync and close without renaming; frees o in every case. Only for mb_out_create_partial. */
int mb_out_keep(mb_out *o, mb_err *e) MB_MUST_USE;
/* Drops what follows; sequential writes go on there. */
int mb_out_truncate(mb_out *o, int64_t size, mb_err *e) MB_MUST_USE;

/* Whole file into memory (one more byte, zero). max_bytes guards against surprises (MB_FORMAT beyond). Free with
 * mb_free. */
int mb_file_read_all(const char *path, size_t max_bytes, char **data, size_t *size, mb_err *e) MB_MUST_USE;
/* The other way round: n bytes become the file, complete or not at all. */
int mb_file_write_all(const char *path, const void *data, size_t n, mb_err *e) MB_MUST_USE;
/* Read-only mapping of a regular file. An empty file has data == NULL. */
typedef struct mb_map {
    const unsigned char *data;
    size_t size;
} mb_map;
int mb_file_map(mb_map *m, const char *path, mb_err *e) MB_MUST_USE;
void mb_file_unmap(mb_map *m);
int mb_file_exists(const char *path);
/* Whether an output of this name goes straight there: standard output ("-"), a pipe or a device. */
int mb_path_is_direct(const char *path);
/* Whatever the case of letters: what kind of file a name says. */
int mb_path_ends_with(const char *path, const char *end);
int mb_dir_exists(const char *path);
int64_t mb_dir_free_bytes(const char *path_in_dir);    /* of the file system that would hold the path; -1 unknown */
char *mb_path_join(const char *dir, const char *name); /* mb_free; NULL without memory */
/* Lower-case hex SHA-256 of a file or of bytes (libcrypto); hex holds 65 bytes. */
int mb_file_sha256(const char *path, char *hex, mb_err *e) MB_MUST_USE;
void mb_sha256_hex(const void *data, size_t n, char *hex);
#endif
