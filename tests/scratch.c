/* See scratch.h. */
#include "tests/scratch.h"

#include <ftw.h>
#include <htslib/bgzf.h>
#include <htslib/sam.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static char folder[512];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *walk) {
    (void)s, (void)type, (void)walk;
    return remove(path);
}

static void remove_folder(void) {
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_dir(void) {
    const char *tmp = getenv("TMPDIR");
    if (*folder)
        return folder;
    snprintf(folder, sizeof folder, "%.400s/seqmamba-test.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        die(folder);
    atexit(remove_folder);
    return folder;
}

const char *scratch_path(const char *name) {
    static char path[64][1024];
    static int next;
    char *p = path[next++ % 64];
    snprintf(p, sizeof path[0], "%s/%s", scratch_dir(), name);
    return p;
}

const char *scratch_bytes(const char *name, const void *data, size_t n) {
    const char *path = scratch_path(name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f))
        die(path);
    return path;
}

const char *scratch_text(const char *name, const char *text) {
    return scratch_bytes(name, text, strlen(text));
}

const char *scratch_gzip(const char *name, const char *text) {
    const char *path = scratch_path(name);
    gzFile f = gzopen(path, "wb");
    if (!f || gzwrite(f, text, (unsigned)strlen(text)) != (int)strlen(text) || gzclose(f) != Z_OK)
        die(path);
    return path;
}

const char *scratch_bgzf(const char *name, const char *text) {
    const char *path = scratch_path(name);
    BGZF *f = bgzf_open(path, "w");
    if (!f || bgzf_write(f, text, strlen(text)) < 0 || bgzf_close(f))
        die(path);
    return path;
}

const char *scratch_alignment(const char *name, const char *sam, int index) {
    const char *path = scratch_path(name), *text = scratch_text("scratch.tmp.sam", sam);
    const char *dot = strrchr(name, '.');
    samFile *in = sam_open(text, "r"), *out = sam_open(path, strcmp(dot, ".bam") == 0    ? "wb"
                                                             : strcmp(dot, ".cram") == 0 ? "wc"
                                                                                         : "w");
    if (!in || !out)
        die(path);
    if (strcmp(dot, ".cram") == 0)
        hts_set_opt(out, CRAM_OPT_NO_REF, 1);
    sam_hdr_t *header = sam_hdr_read(in);
    bam1_t *read = bam_init1();
    if (!header || sam_hdr_write(out, header) < 0)
        die(path);
    int got;
    while ((got = sam_read1(in, header, read)) >= 0)
        if (sam_write1(out, header, read) < 0)
            die(path);
    if (got < -1 || sam_close(out) < 0)
        die(path);
    bam_destroy1(read);
    sam_hdr_destroy(header);
    sam_close(in);
    remove(text);
    if (index && sam_index_build(path, 0) < 0)
        die("index");
    return path;
}

long scratch_size(const char *path) {
    struct stat s;
    return stat(path, &s) ? -1 : (long)s.st_size;
}

char *scratch_read(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    long n = scratch_size(path);
    if (n < 0)
        die(path);
    char *data = calloc((size_t)n + 1, 1);
    if (!data || fread(data, 1, (size_t)n, f) != (size_t)n)
        die(path);
    fclose(f);
    if (size)
        *size = (size_t)n;
    return data;
}

const char *scratch_cut(const char *name, const char *from, long n) {
    char *data = scratch_read(from, NULL);
    if (!data)
        die(from);
    const char *path = scratch_bytes(name, data, (size_t)n);
    free(data);
    return path;
}
