/* Files in folders of folders, inside the test's own folder (tests/scratch.h). */
#ifndef TESTS_TREE_H
#define TESTS_TREE_H
#include <stddef.h>

/* Path of name inside the folder; valid until 16 more are asked for. Folders on the way are made. */
const char *tree(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Writes a file (path as tree() gives it); exits the program when that fails. */
void tree_write(const char *path, const void *data, size_t n);
void tree_text(const char *path, const char *text);
/* Whole file, freed by free(); exits when it cannot be read. */
unsigned char *tree_read(const char *path, size_t *n);
/* Number of entries of a folder; -1 when there is none. */
int tree_count(const char *path);
#endif
