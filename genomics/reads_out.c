/* Records with their tags as BAM, CRAM or SAM, through the library but into a file that appears only when it is
 * complete: the library writes to a second descriptor of mb_out's temporary file. The index of a coordinate-sorted
 * result is made on the way. Refuses records out of order where the header says coordinate order and an index is
 * wanted. A CRAM without --reference stores the bases themselves. */
#include <errno.h>
#include <htslib/hfile.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/file.h"
#include "genomics/reads.h"

struct reads_out {
    const reads_out_options *o;
    mb_out *data, *index;
    samFile *file;
    sam_hdr_t *header;
    int indexed;
    int64_t last_tid, last_pos; /* of the record before; unplaced ones come last */
};

/* The cause of a failed write, which may have happened in a thread of the library: asked for again, into a file that is
 * about to be given up, or a device; not into a pipe, whose reader would get it. */
static int fail_write(const reads_out *out, mb_err *e) {
    static const char zeros[1 << 16];
    const int cause = errno, fd = mb_out_fd(out->data);
    struct stat s;
    const int asks = fstat(fd, &s) == 0 && !S_ISFIFO(s.st_mode) && !S_ISSOCK(s.st_mode);
    (void)!lseek(fd, 0, SEEK_END);
    errno = 0;
    if (asks && write(fd, zeros, sizeof zeros) == (ssize_t)sizeof zeros)
        errno = 0;
    if (!errno)
        errno = cause;
    return errno ? mb_fail_errno(e, MB_IO, "%s: cannot be written", out->o->path)
                 : mb_fail(e, MB_IO, "%s: cannot be written", out->o->path);
}

static int is_sorted_by_coordinate(sam_hdr_t *header) {
    kstring_t order = {0, 0, NULL};
    const int found = sam_hdr_find_tag_hd(header, "SO", &order) == 0 && strcmp(order.s, "coordinate") == 0;
    ks_free(&order);
    return found;
}

/* A .bai holds contigs of at most 2^29 bases. */
static int is_too_long_for_bai(sam_hdr_t *header) {
    for (int i = 0; i < sam_hdr_nref(header); i++)
        if (sam_hdr_tid2len(header, i) > (hts_pos_t)1 << 29)
            return 1;
    return 0;
}

static int open_index(reads_out *out, mb_err *e) {
    const reads_out_options *o = out->o;
    const int csi = is_too_long_for_bai(out->header);
    out->indexed = o->index && (o->format == READS_BAM || o->format == READS_CRAM) && !mb_path_is_direct(o->path) &&
                   is_sorted_by_coordinate(out->header);
    if (!out->indexed)
        return MB_OK;
    char *path = mb_asprintf("%s.%s", o->path, o->format == READS_CRAM ? "crai" : csi ? "csi" : "bai");
    int rc = path ? mb_out_create(&out->index, path, e) : mb_fail(e, MB_NOMEM, "no memory for the name of an index");
    if (rc == MB_OK && sam_idx_init(out->file, out->header, csi ? 14 : 0, mb_out_temp_path(out->index)) < 0)
        rc = mb_fail(e, MB_IO, "%s: cannot be begun", path);
    mb_free(path);
    return rc;
}

/* The library closes the descriptor it is given, hence a second one. */
static int open_file(reads_out *out, htsThreadPool *pool, mb_err *e) {
    static const char *const MODE[] = {[READS_BAM] = "wb", [READS_CRAM] = "wc", [READS_SAM] = "w"};
    const reads_out_options *o = out->o;
    const int fd = dup(mb_out_fd(out->data));
    hFILE *raw = fd >= 0 ? hdopen(fd, "w") : NULL;
    if (!raw) {
        if (fd >= 0)
            close(fd);
        return mb_fail_errno(e, MB_IO, "%s: cannot be opened for writing", o->path);
    }
    if (!(out->file = hts_hopen(raw, o->path, MODE[o->format]))) {
        hclose_abruptly(raw);
        return mb_fail(e, MB_NOMEM, "%s: no memory to write it", o->path);
    }
    if (o->format == READS_CRAM && (o->reference ? hts_set_fai_filename(out->file, o->reference)
                                                 : hts_set_opt(out->file, CRAM_OPT_NO_REF, 1)) != 0)
        return mb_fail(e, MB_IO, "%s: cannot be used as reference", o->reference ? o->reference : "nothing");
    if (pool && o->format != READS_SAM && hts_set_thread_pool(out->file, pool) != 0)
        return mb_fail(e, MB_NOMEM, "%s: no threads to write it with", o->path);
    errno = 0;
    return sam_hdr_write(out->file, out->header) < 0 ? fail_write(out, e) : MB_OK;
}

int reads_out_open(reads_out **to, const reads_out_options *o, sam_hdr_t *header, htsThreadPool *pool, mb_err *e) {
    *to = NULL;
    reads_out *out = mb_calloc(1, sizeof *out);
    if (!out)
        return mb_fail(e, MB_NOMEM, "%s: no memory to write it", o->path);
    *out = (reads_out){.o = o, .header = header, .last_tid = -1};
    int rc = mb_out_create(&out->data, o->path, e);
    if (rc == MB_OK)
        rc = open_file(out, pool, e);
    if (rc == MB_OK)
        rc = open_index(out, e);
    if (rc != MB_OK)
        reads_out_abort(out);
    else
        *to = out;
    return rc;
}

static int check_order(reads_out *out, const reads_slot *s, mb_err *e) {
    char place[512];
    const int64_t tid = s->b->core.tid < 0 ? INT64_MAX : s->b->core.tid, pos = s->b->core.pos;
    const int back = tid < out->last_tid || (tid == out->last_tid && tid != INT64_MAX && pos < out->last_pos);
    out->last_tid = tid;
    out->last_pos = pos;
    return back ? mb_fail(e, MB_FORMAT,
                          "%s lies before the read before it, though the header says the reads are sorted by "
                          "coordinate (--no-index writes them as they are, without an index)",
                          reads_place(place, out->o->input, s))
                : MB_OK;
}

int reads_out_put(reads_out *out, const reads_batch *b, const reads_results *r, mb_err *e) {
    char place[512];
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < b->n; i++) {
        const reads_slot *s = &b->slot[i];
        if (s->taken >= 0)
            rc = reads_tags_put(out->o->tags, s->b, r, s->taken, reads_place(place, out->o->input, s), e);
        if (rc == MB_OK && out->indexed)
            rc = check_order(out, s, e);
        errno = 0;
        if (rc == MB_OK && sam_write1(out->file, out->header, s->b) < 0)
            rc = errno == EINVAL ? mb_fail(e, MB_FORMAT, "%s: is damaged and cannot be written",
                                           reads_place(place, out->o->input, s))
                                 : fail_write(out, e);
    }
    return rc;
}

static void free_out(reads_out *out) {
    if (out->file)
        hts_close(out->file);
    mb_out_abort(out->data);
    mb_out_abort(out->index);
    mb_free(out);
}

void reads_out_abort(reads_out *out) {
    if (out)
        free_out(out);
}

/* An index that stands beside the result but is not of it would send queries astray. */
static int remove_old_indexes(const reads_out *out, mb_err *e) {
    static const char *const ENDING[] = {"bai", "csi", "crai"};
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < 3 && !mb_path_is_direct(out->o->path) && out->o->format != READS_SAM; i++) {
        char *path = mb_asprintf("%s.%s", out->o->path, ENDING[i]);
        if (!path)
            rc = mb_fail(e, MB_NOMEM, "no memory for the name of an index");
        else if (unlink(path) && errno != ENOENT)
            rc = mb_fail_errno(e, MB_IO, "%s: is of an earlier result and cannot be removed", path);
        mb_free(path);
    }
    return rc;
}

int reads_out_finish(reads_out *out, mb_out *ready[2], mb_err *e) {
    int rc = MB_OK;
    ready[0] = ready[1] = NULL;
    errno = 0;
    if (out->indexed && sam_idx_save(out->file) < 0)
        rc = fail_write(out, e);
    errno = 0;
    const int closed = hts_close(out->file);
    out->file = NULL;
    if (rc == MB_OK && closed < 0)
        rc = fail_write(out, e);
    if (rc == MB_OK)
        rc = remove_old_indexes(out, e);
    if (rc == MB_OK && out->index) /* no older than its file, or readers warn of it */
        (void)!futimens(mb_out_fd(out->index), NULL);
    if (rc == MB_OK) {
        ready[0] = out->index;
        ready[1] = out->data;
        out->index = out->data = NULL;
    }
    free_out(out);
    return rc;
}
