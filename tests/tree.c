#include "tests/tree.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/scratch.h"

const char *tree(const char *fmt, ...) {
    static char paths[16][1280];
    static int turn;
    const char *root = scratch_dir();
    char name[700];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    char *path = paths[turn++ % 16];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    return path;
}

static void die(const char *path) {
    perror(path);
    exit(1);
}

void tree_write(const char *path, const void *data, size_t n) {
    unlink(path); /* a file cut to nothing and written again waits for the disk on some file systems */
    FILE *f = fopen(path, "wb");
    if (!f || (n && fwrite(data, 1, n, f) != n) || fclose(f))
        die(path);
}

void tree_text(const char *path, const char *text) {
    tree_write(path, text, strlen(text));
}

unsigned char *tree_read(const char *path, size_t *n) {
    char *data = scratch_read(path, n);
    if (!data)
        die(path);
    return (unsigned char *)data;
}

int tree_count(const char *path) {
    DIR *d = opendir(path);
    int n = 0;
    if (!d)
        return -1;
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}
