/* The structure of an LMDB file, checked before LMDB maps it: LMDB follows what its pages say wherever that leads. See
 * rec_store_check in store.h. The layout is that of LMDB 0.9 (data version 1), in the machine's own byte order:
 *
 *   page    u64 number, u16 pad, u16 flags, then (branch, leaf) u16 lower, u16 upper, u16 places of nodes [..lower)
 *           or (overflow) u32 pages
 *   meta    after the head of pages 0 and 1: u32 magic, u32 version, u64 address, u64 map, 2 trees of {u32 pad,
 *           u16 flags, u16 depth, u64 branch pages, leaf pages, overflow pages, entries, root}, u64 last page, u64
 *           transaction; the larger transaction holds, odd ones are on page 1. Tree 0 lists the free pages (keys u64),
 *           tree 1 is the database. pad of tree 0 is the size of a page.
 *   node    u16 low, u16 high, u16 flags, u16 key bytes, key, data. Leaf: low | high << 16 bytes of data, in place or
 *           (flag 1) on pages of their own from the u64 in place; branch: the child is low | high << 16 | flags << 32
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "recsys/store.h"

enum { HEAD = 16, NODE = 8, DEEPEST = 32, KEY_MOST = REC_STORE_KEY_MOST + 1, META_BYTES = 136 };
enum { BRANCH = 1, LEAF = 2, META = 8, INTEGER_KEYS = 8, BIG = 1 };
static const uint32_t MAGIC = 0xBEEFC0DE;
static const uint64_t NOWHERE = ~(uint64_t)0;

typedef struct tree {
    int free_pages; /* tree 0 */
    uint32_t pad;
    uint16_t flags, depth;
    uint64_t branch, leaf, overflow, entries, root;
} tree;

typedef struct meta {
    uint32_t magic, version;
    tree tree[2];
    uint64_t last, txn;
} meta;

typedef struct level { /* of the walk: a page and the node at which it stands */
    unsigned char *page;
    int node, nodes;
    uint16_t flags;
} level;

typedef struct checker {
    const char *path;
    int fd;
    uint64_t bytes, pages; /* of the file */
    uint32_t page;         /* bytes of one */
    uint64_t last;
    unsigned char *used; /* a bit for each page up to last */
    level at[DEEPEST];
    unsigned char *buffer; /* a page for each level */
    unsigned char key[KEY_MOST];
    size_t key_n;
    int key_any, key_equal; /* there is a key before; the next may equal it */
    tree seen;              /* what the walk counted */
    mb_err *e;
} checker;

static uint16_t u16(const unsigned char *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t u32(const unsigned char *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static int damaged(checker *c, uint64_t page, const char *what) {
    return mb_fail(c->e, MB_FORMAT, "%s: page %" PRIu64 ": %s: the store is damaged", c->path, page, what);
}

static int read_at(checker *c, void *to, size_t n, uint64_t at) {
    const ssize_t got = pread(c->fd, to, n, (off_t)at);
    if (got < 0)
        return mb_fail_errno(c->e, MB_IO, "%s: cannot be read", c->path);
    return (size_t)got == n ? MB_OK : damaged(c, c->page ? at / c->page : at, "the file ends before its end");
}

/* ---- the two metas ------------------------------------------------------------------------------------------------*/
static int read_meta(checker *c, uint64_t at, meta *m) {
    unsigned char b[HEAD + META_BYTES], *p = b + HEAD;
    const uint64_t number = at != 0;
    int rc = read_at(c, b, sizeof b, at);
    if (rc)
        return rc;
    *m = (meta){.magic = u32(p), .version = u32(p + 4), .last = u64(p + 120), .txn = u64(p + 128)};
    if (!(u16(b + 10) & META) || m->magic != MAGIC || m->version != 1)
        return mb_fail(c->e, MB_FORMAT, "%s: page %" PRIu64 ": is not the head of an LMDB database", c->path, number);
    for (int t = 0; t < 2; t++) {
        const unsigned char *d = p + 24 + 48 * (size_t)t;
        m->tree[t] = (tree){.free_pages = t == 0,
                            .pad = u32(d),
                            .flags = u16(d + 4),
                            .depth = u16(d + 6),
                            .branch = u64(d + 8),
                            .leaf = u64(d + 16),
                            .overflow = u64(d + 24),
                            .entries = u64(d + 32),
                            .root = u64(d + 40)};
    }
    const uint32_t size = m->tree[0].pad;
    if (size < 512 || size > 65536 || (size & (size - 1)) || m->txn > NOWHERE / 2)
        return damaged(c, number, "it says pages of an impossible size, or an impossible transaction");
    return MB_OK;
}

static int choose_meta(checker *c, meta *m) {
    meta other;
    int rc = read_meta(c, 0, m);
    if (rc)
        return rc;
    c->page = m->tree[0].pad;
    c->pages = c->bytes / c->page;
    rc = read_meta(c, c->page, &other);
    if (rc)
        return rc;
    const uint64_t apart = m->txn > other.txn ? m->txn - other.txn : other.txn - m->txn;
    if (other.tree[0].pad != c->page || apart > 1 || m->txn % 2 != 0 || (other.txn % 2 == 0 && other.txn != 0))
        return damaged(c, 1, "the two heads do not belong together");
    if (other.txn > m->txn)
        *m = other;
    c->last = m->last;
    /* pages at the end that were free from the start may never have been written: only those in use must be there */
    if (m->last < 1 || m->last > (uint64_t)INT64_MAX / c->page - 1 || m->last > 8 * c->pages + (1 << 20))
        return damaged(c, m->txn % 2, "it says an impossible number of pages");
    if ((m->tree[0].flags & 0x7fff) != INTEGER_KEYS || (m->tree[1].flags & 0x7fff) != 0)
        return damaged(c, m->txn % 2, "its database is of a kind that no store has");
    return MB_OK;
}

/* ---- pages --------------------------------------------------------------------------------------------------------*/
/* n pages from `first` are taken by one thing; in the file when written says so. */
static int take(checker *c, uint64_t first, uint64_t n, int written, uint64_t by) {
    if (first < 2 || first > c->last || n > c->last + 1 - first)
        return damaged(c, by, "it points outside the file");
    if (written && first + n > c->pages)
        return damaged(c, first, "the file was cut short");
    for (uint64_t i = first; i < first + n; i++) {
        if (c->used[i / 8] >> i % 8 & 1)
            return damaged(c, i, "it is used twice");
        c->used[i / 8] |= (unsigned char)(1 << i % 8);
    }
    return MB_OK;
}

/* Bounds of everything in the page; what its keys and children say is checked as the walk comes to them. */
static int load(checker *c, const tree *t, int depth, uint64_t number, uint64_t by) {
    level *l = &c->at[depth];
    const uint16_t want = depth + 1 == t->depth ? LEAF : BRANCH;
    l->page = c->buffer + (size_t)depth * c->page;
    int rc = take(c, number, 1, 1, by);
    if (!rc)
        rc = read_at(c, l->page, c->page, number * c->page);
    if (rc)
        return rc;
    const uint32_t lower = u16(l->page + 12), upper = u16(l->page + 14);
    if (u64(l->page) != number || u16(l->page + 10) != want)
        return damaged(c, number, "it is not the page that it should be");
    if (lower < HEAD || lower % 2 || lower > upper || upper > c->page)
        return damaged(c, number, "its bounds are impossible");
    l->flags = want;
    l->node = 0;
    l->nodes = (int)((lower - HEAD) / 2);
    if (l->nodes < (want == BRANCH ? 2 : 1))
        return damaged(c, number, "it is empty");
    for (int i = 0; i < l->nodes; i++) {
        const uint32_t place = u16(l->page + HEAD + 2 * (size_t)i);
        const unsigned char *node = l->page + place;
        if (place < upper || place + NODE > c->page)
            return damaged(c, number, "a node lies outside it");
        const uint64_t key = u16(node + 6), data = u16(node) | (uint64_t)u16(node + 2) << 16;
        const int leaf = want == LEAF, big = leaf && u16(node + 4) == BIG;
        const uint64_t in_place = !leaf ? 0 : big ? 8 : data;
        if (key > KEY_MOST || (leaf && key == 0) || place + NODE + key + in_place > c->page)
            return damaged(c, number, "a node runs over its end");
        if (leaf && u16(node + 4) & ~BIG)
            return damaged(c, number, "a node is of a kind that no store has");
    }
    c->seen.branch += want == BRANCH;
    c->seen.leaf += want == LEAF;
    return MB_OK;
}

/* Keys ascend over the whole tree; a child's first key may equal the one that leads to it. */
static int next_key(checker *c, const tree *t, const unsigned char *key, size_t n, int leads, uint64_t page) {
    int order = 1;
    if (t->free_pages && n != sizeof(uint64_t))
        return damaged(c, page, "a key of the list of free pages is none");
    if (c->key_any && t->free_pages) {
        order = (u64(key) > u64(c->key)) - (u64(key) < u64(c->key));
    } else if (c->key_any) {
        order = memcmp(key, c->key, n < c->key_n ? n : c->key_n);
        if (!order)
            order = (n > c->key_n) - (n < c->key_n);
    }
    if (order < 0 || (order == 0 && !c->key_equal))
        return damaged(c, page, "its keys are not in order");
    memcpy(c->key, key, n);
    c->key_n = n;
    c->key_any = 1;
    c->key_equal = leads;
    return MB_OK;
}

/* One entry of the list of free pages: how many, then the pages, descending. */
static int free_list(checker *c, const unsigned char *v, uint64_t n, uint64_t page) {
    const uint64_t count = n >= 8 && n % 8 == 0 ? u64(v) : NOWHERE;
    if (count > n / 8 - 1 || n < 8)
        return damaged(c, page, "a list of free pages is none");
    for (uint64_t i = 1; i <= count; i++) {
        if (i > 1 && u64(v + 8 * i) >= u64(v + 8 * (i - 1)))
            return damaged(c, page, "a list of free pages is not in order");
        int rc = take(c, u64(v + 8 * i), 1, 0, page);
        if (rc)
            return rc;
    }
    return MB_OK;
}

/* A value on pages of its own. */
static int big_value(checker *c, const tree *t, uint64_t first, uint64_t n, uint64_t page) {
    const uint64_t pages = (HEAD - 1 + n) / c->page + 1;
    int rc = take(c, first, pages, 1, page);
    c->seen.overflow += pages;
    if (rc || !t->free_pages)
        return rc;
    unsigned char *all = mb_malloc(pages * c->page);
    if (!all)
        return mb_fail(c->e, MB_NOMEM, "no memory to check %s", c->path);
    rc = read_at(c, all, pages * c->page, first * c->page);
    if (!rc && (u64(all) != first || u16(all + 10) != 4 || u32(all + 12) != pages))
        rc = damaged(c, first, "it is not the page that it should be");
    if (!rc)
        rc = free_list(c, all + HEAD, n, first);
    mb_free(all);
    return rc;
}

static int leaf_node(checker *c, const tree *t, const unsigned char *node, uint64_t page) {
    const size_t key = u16(node + 6);
    const uint64_t n = u16(node) | (uint64_t)u16(node + 2) << 16;
    const unsigned char *data = node + NODE + key;
    int rc = next_key(c, t, node + NODE, key, 0, page);
    c->seen.entries++;
    if (rc)
        return rc;
    if (u16(node + 4) == BIG)
        return big_value(c, t, u64(data), n, page);
    return t->free_pages ? free_list(c, data, n, page) : MB_OK;
}

static int walk(checker *c, const tree *t) {
    int depth = 0;
    int rc = load(c, t, 0, t->root, 0);
    while (!rc && depth >= 0) {
        level *l = &c->at[depth];
        const uint64_t page = u64(l->page);
        if (l->node == l->nodes) {
            depth--;
            continue;
        }
        const unsigned char *node = l->page + u16(l->page + HEAD + 2 * (size_t)l->node);
        const int first = l->node++ == 0;
        if (l->flags == LEAF) {
            rc = leaf_node(c, t, node, page);
            continue;
        }
        if (!first) /* the first key of a branch says nothing */
            rc = next_key(c, t, node + NODE, u16(node + 6), 1, page);
        const uint64_t child = u16(node) | (uint64_t)u16(node + 2) << 16 | (uint64_t)u16(node + 4) << 32;
        if (!rc)
            rc = load(c, t, ++depth, child, page);
    }
    return rc;
}

static int check_tree(checker *c, const tree *t) {
    c->seen = (tree){0};
    c->key_any = c->key_equal = 0;
    if (t->depth > DEEPEST || (t->depth == 0) != (t->root == NOWHERE))
        return damaged(c, 0, "a tree is of an impossible depth");
    int rc = t->depth ? walk(c, t) : MB_OK;
    if (!rc && (c->seen.branch != t->branch || c->seen.leaf != t->leaf || c->seen.overflow != t->overflow ||
                c->seen.entries != t->entries))
        rc = damaged(c, 0, "it counts other pages than there are");
    return rc;
}

static int check_file(checker *c) {
    meta m;
    int rc = choose_meta(c, &m);
    if (rc)
        return rc;
    c->used = mb_calloc(c->last / 8 + 1, 1);
    c->buffer = mb_malloc((size_t)DEEPEST * c->page);
    if (!c->used || !c->buffer)
        return mb_fail(c->e, MB_NOMEM, "no memory to check %s", c->path);
    rc = check_tree(c, &m.tree[0]);
    return rc ? rc : check_tree(c, &m.tree[1]);
}

int rec_store_check(const char *path, mb_err *e) {
    struct stat st;
    checker *c = mb_calloc(1, sizeof *c);
    int rc = MB_OK;
    if (!c)
        return mb_fail(e, MB_NOMEM, "no memory to check %s", path);
    c->path = path;
    c->e = e;
    c->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (c->fd < 0 || fstat(c->fd, &st)) {
        rc = mb_fail_errno(e, MB_IO, "%s: cannot be opened", path);
    } else if (!S_ISREG(st.st_mode)) {
        rc = mb_fail(e, MB_FORMAT, "%s: is no file", path);
    } else {
        c->bytes = (uint64_t)st.st_size;
        rc = check_file(c);
    }
    if (c->fd >= 0)
        close(c->fd);
    mb_free(c->used);
    mb_free(c->buffer);
    mb_free(c);
    return rc;
}
