/* PyTorch files: tensors come out as torch would rebuild them, nothing is run, and whatever else stands in a file is
 * refused by name and place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/file.h"
#include "core/mem.h"
#include "core/pickle.h"
#include "tests/models.h"
#include "tests/tree.h"
#include "tests/torchfile.h"

#define SIZES(...) ((const int64_t[]){__VA_ARGS__, -1})
#define NO_SIZES   ((const int64_t[]){-1})

static const float storage0[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
static const int64_t storage1[2] = {-5, 6};
static const zip_entry storages[] = {{.name = "t/data/0", .data = storage0, .n = sizeof storage0},
                                     {.name = "t/data/1", .data = storage1, .n = sizeof storage1},
                                     {.name = "t/data/2", .data = "", .n = 0}};

/* ---- helpers ------------------------------------------------------------------------------------------------------
 */

static const char *write_bytes(bytes *b) {
    const char *path = tree("file.bin");
    tree_write(path, b->at, b->n);
    bytes_free(b);
    return path;
}

/* Archive of the pickle and the three storages; frees the pickle. */
static const char *archive(bytes *pickle) {
    bytes file = {0};
    torch_make(&file, pickle, storages, 3);
    bytes_free(pickle);
    return write_bytes(&file);
}

static void assert_refused(const char *path, int status, const char *words) {
    mb_err e = {0};
    mb_weights *w = NULL;
    long before = mb_mem_live_blocks();
    int rc = mb_weights_open(&w, path, &e);
    if (rc == MB_OK)
        fail_msg("%s was accepted; expected: %s", path, words);
    assert_null(w);
    if (!strstr(e.text, words))
        fail_msg("expected \"%s\" in: %s", words, e.text);
    assert_int_equal(rc, status);
    assert_int_equal(mb_mem_live_blocks(), before);
}

static volatile unsigned char sink; /* what was read, so that it is read */

static int open_and_touch(const char *path) {
    mb_err e = {0};
    mb_weights *w = NULL;
    if (mb_weights_open(&w, path, &e) != MB_OK) {
        assert_true(!w && e.status < 0 && strlen(e.text) > 10);
        return 0;
    }
    for (int i = 0; i < mb_weights_count(w); i++) {
        const mb_tensor *t = mb_weights_at(w, i);
        for (size_t k = 0; k < (size_t)t->count * mb_dtype_bytes(t->dtype); k++)
            sink = ((const unsigned char *)t->data)[k];
    }
    mb_weights_close(w);
    return 1;
}

/* A dict of one tensor of storage 0. */
static const char *one_tensor(int64_t offset, const int64_t *shape, const int64_t *stride) {
    bytes p = {0};
    pk_begin(&p);
    pk_text(&p, "w");
    pk_tensor(&p, "FloatStorage", "0", 12, offset, shape, stride);
    pk_end(&p);
    return archive(&p);
}

static void assert_values(const char *path, const char *name, int n, const float *want) {
    mb_err e = {0};
    mb_weights *w = NULL;
    float got[32];
    if (mb_weights_open(&w, path, &e) != MB_OK)
        fail_msg("%s", e.text);
    const mb_tensor *t = mb_weights_find(w, name);
    assert_non_null(t);
    assert_int_equal(t->count, n);
    mb_tensor_to_f32(t, 0, n, got);
    assert_memory_equal(got, want, (size_t)n * sizeof *got);
    mb_weights_close(w);
}

/* ---- what is read -------------------------------------------------------------------------------------------------
 */

static void state_dict(void **state) {
    (void)state;
    bytes p = {0};
    mb_err e = {0};
    mb_weights *w = NULL;
    pk_begin(&p);
    pk_text(&p, "a.weight");
    pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(3, 4), SIZES(4, 1));
    pk_text(&p, "tied");
    pk_tensor(&p, "FloatStorage", "0", 12, 4, SIZES(8), SIZES(1));
    pk_text(&p, "long");
    pk_tensor(&p, "LongStorage", "1", 2, 1, NO_SIZES, NO_SIZES);
    pk_text(&p, "nothing");
    pk_tensor(&p, "HalfStorage", "2", 0, 0, SIZES(0, 7), SIZES(7, 1));
    pk_text(&p, "parameter");
    pk_global(&p, "torch._utils", "_rebuild_parameter");
    pk_op(&p, "(");
    pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(1), SIZES(99));
    pk_op(&p, "\x88");
    pk_global(&p, "collections", "OrderedDict");
    pk_op(&p, ")RtR");
    pk_op(&p, "u}");
    pk_text(&p, "_metadata");
    pk_op(&p, "}sb.");
    const char *path = archive(&p);
    if (mb_weights_open(&w, path, &e) != MB_OK)
        fail_msg("%s", e.text);
    assert_string_equal(mb_weights_kind(w), "PyTorch zip");
    assert_int_equal(mb_weights_count(w), 5);
    const mb_tensor *a = mb_weights_at(w, 0), *tied = mb_weights_at(w, 1);
    assert_string_equal(a->name, "a.weight");
    assert_int_equal(a->ndim, 2);
    assert_memory_equal(a->data, storage0, sizeof storage0);
    assert_ptr_equal(tied->data, (const char *)a->data + 16); /* in place: nothing copied */
    int64_t six;
    mb_tensor_to_i64(mb_weights_find(w, "long"), 0, 1, &six);
    assert_int_equal(six, 6);
    assert_int_equal(mb_weights_find(w, "nothing")->count, 0);
    assert_int_equal(mb_weights_find(w, "parameter")->count, 1);
    assert_ptr_equal(mb_weights_find(w, "parameter")->data, a->data); /* the stride of one element does not matter */
    mb_weights_close(w);
}

static void strides(void **state) {
    (void)state;
    const float transposed[12] = {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}, column[3] = {1, 5, 9},
                block[4] = {5, 6, 9, 10}, spread[6] = {2, 2, 2, 3, 3, 3}, cube[8] = {0, 1, 4, 5, 2, 3, 6, 7};
    assert_values(one_tensor(0, SIZES(4, 3), SIZES(1, 4)), "w", 12, transposed);
    assert_values(one_tensor(1, SIZES(3, 1), SIZES(4, 1)), "w", 3, column);
    assert_values(one_tensor(1, SIZES(3), SIZES(4)), "w", 3, column);
    assert_values(one_tensor(5, SIZES(2, 2), SIZES(4, 1)), "w", 4, block);
    assert_values(one_tensor(2, SIZES(2, 3), SIZES(1, 0)), "w", 6, spread);
    assert_values(one_tensor(0, SIZES(2, 2, 1, 2), SIZES(2, 4, INT64_MAX, 1)), "w", 8, cube);
    assert_values(one_tensor(1, SIZES(2, 1, 2), SIZES(4, INT64_MAX, 1)), "w", 4, (const float[]){1, 2, 5, 6});
    assert_values(one_tensor(11, SIZES(1), SIZES(INT64_MAX)), "w", 1, storage0 + 11);
}

static void wrapped(void **state) {
    (void)state;
    for (int all = 0; all < 2; all++) {
        bytes p = {0};
        mb_err e = {0};
        mb_weights *w = NULL;
        pk_op(&p, "\x80\x02}(");
        pk_text(&p, "epoch");
        pk_int(&p, -3);
        pk_text(&p, "loss");
        pk_op(&p, "G\x3f\xf0\x01\x01\x01\x01\x01\x01");
        pk_text(&p, "callbacks");
        pk_op(&p, "](NK\x01"
                  "e");
        pk_text(&p, "state_dict");
        pk_op(&p, "}(");
        pk_text(&p, "model.a");
        pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(12), SIZES(1));
        pk_text(&p, all ? "model.b" : "decoder.b");
        pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(12), SIZES(1));
        pk_op(&p, "uu.");
        if (mb_weights_open(&w, archive(&p), &e) != MB_OK)
            fail_msg("%s", e.text);
        assert_int_equal(mb_weights_find(w, "a") != NULL, all);
        assert_int_equal(mb_weights_find(w, "model.a") != NULL, !all);
        assert_non_null(mb_weights_find(w, all ? "b" : "decoder.b"));
        mb_weights_close(w);
    }
}

static void zip64(void **state) {
    (void)state;
    bytes p = {0}, file = {0};
    pk_begin(&p);
    pk_text(&p, "w");
    pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(12), SIZES(1));
    pk_end(&p);
    for (int how = 0; how < 4; how++) {
        zip_entry e[] = {{.name = "t/data.pkl", .data = p.at, .n = p.n}, storages[0]};
        zip_make(&file, e, 2, how);
        assert_values(write_bytes(&file), "w", 12, storage0);
    }
    bytes_free(&p);
}

static void golden(void **state) {
    (void)state;
    if (!shared_dir()) {
        printf("SKIP: no shared data (set SEQMAMBA_SHARED)\n");
        skip();
    }
    const char *names[] = {"mamba1_lm", "mamba2_lm", "mamba2_lm_groups_mlp", "mamba3_siso_lm", "mamba3_siso_lm_norm"};
    for (int i = 0; i < 5; i++) {
        char *path = mb_asprintf("%s/golden/%s", shared_dir(), names[i]);
        mb_err e = {0};
        mb_weights *w = NULL;
        if (mb_weights_open(&w, path, &e) != MB_OK)
            fail_msg("%s", e.text);
        const mb_tensor *in = mb_weights_find(w, "backbone.embedding.weight"),
                        *out = mb_weights_find(w, "lm_head.weight");
        assert_true(in && out && in->data == out->data); /* one storage, tied */
        assert_int_equal(in->shape[0], 104);
        mb_weights_close(w);
        mb_free(path);
    }
}

/* ---- what is refused ----------------------------------------------------------------------------------------------
 */

static void views_outside_their_storage(void **state) {
    (void)state;
    assert_refused(one_tensor(1, SIZES(12), SIZES(1)), MB_FORMAT, "tensor w reaches beyond the 12 elements");
    assert_refused(one_tensor(12, SIZES(1), SIZES(1)), MB_FORMAT, "reaches beyond");
    assert_refused(one_tensor(INT64_MAX, SIZES(1), SIZES(1)), MB_FORMAT, "reaches beyond");
    assert_refused(one_tensor(0, SIZES(3, 4), SIZES(5, 1)), MB_FORMAT, "reaches beyond");
    assert_refused(one_tensor(0, SIZES(2), SIZES(INT64_MAX)), MB_FORMAT, "reaches beyond");
    assert_refused(one_tensor(5, SIZES(3, 3), SIZES(1LL << 62, 1LL << 62)), MB_FORMAT, "reaches beyond");
    assert_refused(one_tensor(0, SIZES(1LL << 40, 1LL << 40), SIZES(0, 0)), MB_FORMAT, "multiply beyond");
    assert_refused(one_tensor(0, SIZES(1LL << 40), SIZES(0)), MB_FORMAT, "more than twice the file");
    assert_refused(one_tensor(0, SIZES(1, 1, 1, 1, 1, 1, 1, 1, 1), SIZES(1, 1, 1, 1, 1, 1, 1, 1, 1)), MB_FORMAT,
                   "up to 8 dimensions");
    assert_refused(one_tensor(0, SIZES(3, 4), SIZES(4)), MB_FORMAT, "size and stride");
    bytes p = {0};
    pk_begin(&p);
    pk_text(&p, "w");
    pk_tensor(&p, "FloatStorage", "0", 11, 0, SIZES(11), SIZES(1));
    pk_end(&p);
    assert_refused(archive(&p), MB_FORMAT, "t/data/0 has 48 bytes; 11 elements of F32 need 44");
    pk_begin(&p);
    pk_text(&p, "w");
    pk_tensor(&p, "FloatStorage", "9", 12, 0, SIZES(12), SIZES(1));
    pk_end(&p);
    assert_refused(archive(&p), MB_FORMAT, "tensor w: the archive has no entry data/9");
}

static void refuse_pickle(bytes *p, int status, const char *words) {
    assert_refused(archive(p), status, words);
}

/* _rebuild_tensor_v2 with arguments torch never writes. */
static void wrong_arguments(void **state) {
    (void)state;
    static const struct {
        const char *ops, *words;
    } cases[] = {
        {")R", "with 0 arguments"},
        {"(NNNNNtR", "with 5 arguments"},
        {"(NNNNNNNNtR", "with 8 arguments"},
        {"(NNNNNNtR", "are not a storage"},
        {"(S K\x0b))\x89NtR", NULL}, /* S is the storage */
        {"(S N))\x89NtR", "are not a storage"},
        {"(S J\xff\xff\xff\xff))\x89NtR", "are not a storage"},
        {"(S K\x01J\xfe\xff\xff\xff\x85K\x01\x85\x89NtR", "size and stride"},
        {"(S K\x01K\x02\x85J\xff\xff\xff\xff\x85\x89NtR", "size and stride"},
        {"(S K\x01N\x85K\x01\x85\x89NtR", "size and stride"},
        {"(S K\x01NN\x89NtR", "size and stride"},
        {"(S K\x01K\x02\x85K\x01\x85\x89N}tR", NULL},
        {"(S K\x01K\x02\x85K\x01\x85\x89N}K\x01NstR", "lazy conjugate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes p = {0};
        pk_begin(&p);
        pk_text(&p, "w");
        pk_global(&p, "torch._utils", "_rebuild_tensor_v2");
        for (const char *op = cases[i].ops; *op; op++)
            if (*op == 'S') {
                pk_op(&p, "(");
                pk_text(&p, "storage");
                pk_global(&p, "torch", "FloatStorage");
                pk_text(&p, "0");
                pk_text(&p, "cpu");
                pk_int(&p, 12);
                pk_op(&p, "tQ");
            } else if (*op != ' ') {
                put(&p, op, 1);
            }
        pk_end(&p);
        if (cases[i].words)
            refuse_pickle(&p, MB_FORMAT, cases[i].words);
        else
            assert_true(open_and_touch(archive(&p)));
    }
}

static void strangers(void **state) {
    (void)state;
    bytes p = {0};
    pk_op(&p, "\x80\x02");
    pk_global(&p, "os", "system");
    pk_op(&p, "(");
    pk_text(&p, "touch /tmp/seqmamba_was_run");
    pk_op(&p, "tR.");
    refuse_pickle(&p, MB_NOTSUP, "byte 2: it wants the Python object os.system");
    pk_op(&p, "\x80\x02");
    pk_global(&p, "collections", "OrderedDict\nx");
    refuse_pickle(&p, MB_NOTSUP, "pickle opcode 0x78");
    pk_op(&p, "\x80\x02"
              "ccollections");
    refuse_pickle(&p, MB_FORMAT, "cut short");
    pk_op(&p, "\x80\x04}.");
    refuse_pickle(&p, MB_NOTSUP, "byte 0: pickle protocol 4");
    pk_op(&p, "\x80\x02K\x05.");
    refuse_pickle(&p, MB_FORMAT, "holds a int, not a state dict");
    pk_op(&p, "\x80\x02");
    pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(12), SIZES(1));
    pk_op(&p, ".");
    refuse_pickle(&p, MB_FORMAT, "one bare tensor");
    pk_begin(&p);
    pk_text(&p, "w");
    pk_op(&p, "N");
    pk_end(&p);
    refuse_pickle(&p, MB_FORMAT, "w is a None, not a tensor");
    pk_begin(&p);
    pk_op(&p, "K\x01N");
    pk_end(&p);
    refuse_pickle(&p, MB_FORMAT, "has a int as key");
    pk_begin(&p);
    pk_text(&p, "w");
    pk_end(&p);
    refuse_pickle(&p, MB_FORMAT, "whole pairs");
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            pk_begin(&p);
        pk_text(&p, "w");
        pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(12), SIZES(1));
    }
    pk_end(&p);
    refuse_pickle(&p, MB_FORMAT, "tensor w comes twice");
    pk_op(&p, "\x80\x02");
    pk_global(&p, "torch", "FloatStorage");
    pk_op(&p, ")R.");
    refuse_pickle(&p, MB_FORMAT, "a call of a storage type");
    pk_op(&p, "\x80\x02K\x01)R.");
    refuse_pickle(&p, MB_FORMAT, "a call of a int");
    pk_op(&p, "\x80\x02K\x01Q.");
    refuse_pickle(&p, MB_FORMAT, "persistent id that is no tuple");
    pk_op(&p, "\x80\x02(NNNNNtQ.");
    refuse_pickle(&p, MB_FORMAT, "persistent id that is not");
    pk_op(&p, "\x80\x02}q\x01.");
    refuse_pickle(&p, MB_FORMAT, "memo entry 1 out of turn");
    pk_op(&p, "\x80\x02h\x05.");
    refuse_pickle(&p, MB_FORMAT, "memo entry 5 was never stored");
    pk_op(&p, "\x80\x02\x8a\x09");
    refuse_pickle(&p, MB_FORMAT, "integer of 9 bytes");
    pk_op(&p, "\x80\x02}}.");
    refuse_pickle(&p, MB_FORMAT, "stops with 2 objects");
    pk_op(&p, "\x80\x02}.}");
    refuse_pickle(&p, MB_FORMAT, "1 bytes follow the end");
    pk_op(&p, "\x80\x02");
    for (int i = 0; i < 2000; i++)
        pk_op(&p, "(");
    refuse_pickle(&p, MB_FORMAT, "nested deeper than 1000");
    pk_op(&p, "\x80\x02X\xff\xff\xff\xff"
              "ab");
    refuse_pickle(&p, MB_FORMAT, "cut short");
}

static int count_tensors(void *user, const mb_pickle_tensor *t, mb_err *e) {
    (void)e;
    assert_true(t->ndim >= 0 && t->ndim <= MB_TENSOR_MAX_DIMS);
    ++*(int *)user;
    return MB_OK;
}

/* Each opcode alone, and on a stack of one object of each kind: an error with its byte, or the next opcode is met. */
static void every_opcode(void **state) {
    (void)state;
    static const char known[] = "(.)t}]sueXUJMKGNcQRbqrhja\x80\x85\x86\x87\x88\x89\x8a";
    const char *below[] = {"",
                           "N",
                           "}",
                           "]",
                           ")",
                           "K\x01",
                           "(",
                           "(}",
                           "NN",
                           "}N",
                           "})",
                           "]N",
                           "}}",
                           "(]NN",
                           "}NN",
                           "}((",
                           "ccollections\nOrderedDict\n",
                           "ctorch\nFloatStorage\n)"};
    for (int op = 0; op < 256; op++)
        for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
            mb_err e = {0};
            bytes p = {0};
            int n = 0;
            pk_op(&p, "\x80\x02");
            pk_op(&p, below[i]);
            put_le(&p, (uint64_t)op, 1);
            unsigned char *exact = malloc(p.n); /* so that a byte read too many is seen */
            memcpy(exact, p.at, p.n);
            int rc = mb_pickle_state_dict(exact, p.n, "f", count_tensors, &n, &e);
            if (!op || !strchr(known, op)) {
                assert_int_equal(rc, MB_NOTSUP);
                assert_non_null(strstr(e.text, "pickle opcode 0x"));
            } else if (!(op == '.' && below[i][0] == '}' && !below[i][1])) {
                assert_true(rc == MB_FORMAT || rc == MB_NOTSUP);
                assert_true(strstr(e.text, "byte ") || (op == '.' && strstr(e.text, "holds ")));
            }
            assert_int_equal(n, 0);
            free(exact);
            bytes_free(&p);
        }
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void hostile_archives(void **state) {
    (void)state;
    bytes p = {0}, file = {0};
    pk_begin(&p);
    pk_text(&p, "w");
    pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(12), SIZES(1));
    pk_end(&p);
    const zip_entry pickle = {.name = "t/data.pkl", .data = p.at, .n = p.n};
    const struct {
        zip_entry e[3];
        int n, status;
        const char *words;
    } cases[] = {
        {{storages[0]}, 1, MB_FORMAT, "without a data.pkl"},
        {{{.name = "a/b/data.pkl", .data = p.at, .n = p.n}}, 1, MB_FORMAT, "without a data.pkl"},
        {{{.name = "data.pkl", .data = p.at, .n = p.n}}, 1, MB_FORMAT, "without a data.pkl"},
        {{pickle, {.name = "u/data.pkl", .data = p.at, .n = p.n}}, 2, MB_FORMAT, "two entries data.pkl"},
        {{pickle, pickle}, 2, MB_FORMAT, "t/data.pkl comes twice"},
        {{pickle, {.name = "t/constants.pkl", .data = "", .n = 0}}, 2, MB_NOTSUP, "TorchScript"},
        {{pickle, {.name = "t/byteorder", .data = "big", .n = 3}, storages[0]}, 3, MB_NOTSUP, "byte order is \"big\""},
        {{pickle, {.name = "t/byteorder", .data = "", .n = 0}, storages[0]}, 3, MB_NOTSUP, "byte order is \"\""},
        {{pickle, {.name = "t/data/0", .data = storage0, .n = 48, .method = 8}}, 2, MB_FORMAT, "compressed"},
        {{pickle, {.name = "t/data/0", .data = storage0, .n = 48, .flags = 1}}, 2, MB_FORMAT, "encrypted"},
        {{pickle, {.name = "t/data/0", .data = storage0, .n = 48, .crc_flip = 1}}, 2, MB_FORMAT, "checksum"},
        {{{.name = "t/data.pkl", .data = p.at, .n = p.n, .crc_flip = 4}, storages[0]}, 2, MB_FORMAT, "checksum"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        zip_make(&file, cases[i].e, cases[i].n, ZIP_PLAIN);
        assert_refused(write_bytes(&file), cases[i].status, cases[i].words);
    }
    /* a directory that says more than there is: 48 bytes become 80 */
    const zip_entry whole[] = {pickle, storages[0]};
    zip_make(&file, whole, 2, ZIP_PLAIN);
    unsigned char *last = file.at + file.n - 22 - strlen("t/data/0") - 46;
    assert_memory_equal(last, "PK\1\2", 4);
    last[20] = last[24] = 80;
    assert_refused(write_bytes(&file), MB_FORMAT, "does not agree with the directory");
    /* a local header far outside, as only zip64 can say it */
    zip_make(&file, whole, 2, ZIP64);
    const unsigned char *end64 = memmem(file.at, file.n, "PK\6\6", 4);
    assert_non_null(end64);
    memset(file.at + (end64 - file.at) - 8, 0xfe, 8);
    assert_refused(write_bytes(&file), MB_FORMAT, "no local header at byte 18374403900871474942");
    tree_text(tree("old.bin"), "\x80\x02\x8a\nl\xfc\x9c"
                               "F\xf9 j\xa8P\x19.");
    assert_refused(tree("old.bin"), MB_NOTSUP, "PyTorch before 1.6");
    tree_text(tree("lfs.bin"), "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    assert_refused(tree("lfs.bin"), MB_FORMAT, "Git LFS pointer");
    tree_text(tree("html.bin"), "<!DOCTYPE html>");
    assert_refused(tree("html.bin"), MB_FORMAT, "web page");
    bytes_free(&file);
    bytes_free(&p);
}

/* A directory that names the same big entry again and again would make checksums take for ever. */
static void overlapping_entries(void **state) {
    (void)state;
    enum { BIG = 10000, MANY = 50 };
    bytes b = {0}, file = {0};
    char *zeros = calloc(1, BIG);
    put_le(&file, 0x04034b50, 4);
    put_le(&file, 0, 22);
    put_le(&file, 1, 2);
    put_le(&file, 0, 2);
    put(&file, "a", 1);
    put(&file, zeros, BIG);
    size_t central = file.n;
    for (int i = 0; i < MANY; i++) {
        put_le(&b, 0x02014b50, 4);
        put_le(&b, 0, 16);
        put_le(&b, BIG, 4);
        put_le(&b, BIG, 4);
        put_le(&b, 1, 2);
        put_le(&b, 0, 16);
        put(&b, "a", 1);
    }
    put(&file, b.at, b.n);
    put_le(&file, 0x06054b50, 4);
    put_le(&file, 0, 4);
    put_le(&file, MANY, 2);
    put_le(&file, MANY, 2);
    put_le(&file, b.n, 4);
    put_le(&file, central, 4);
    put_le(&file, 0, 2);
    memcpy(file.at, "PK\3\4", 4);
    assert_refused(write_bytes(&file), MB_FORMAT, "overlap");
    bytes_free(&b);
    free(zeros);
}

/* ---- damage -------------------------------------------------------------------------------------------------------
 */

static unsigned char *sample(size_t *n) {
    bytes p = {0};
    pk_begin(&p);
    pk_text(&p, "a");
    pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(3, 4), SIZES(4, 1));
    pk_text(&p, "b");
    pk_op(&p, "q"), put_le(&p, 0, 1), pk_op(&p, "r"), put_le(&p, 0, 4);
    pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(4, 3), SIZES(1, 4));
    pk_text(&p, "c");
    pk_tensor(&p, "LongStorage", "1", 2, 0, SIZES(2), SIZES(1));
    pk_end(&p);
    return tree_read(archive(&p), n);
}

static void every_truncation(void **state) {
    (void)state;
    size_t n;
    unsigned char *file = sample(&n);
    for (size_t cut = 0; cut < n; cut++) {
        tree_write(tree("cut.bin"), file, cut);
        if (open_and_touch(tree("cut.bin")))
            fail_msg("a file cut to %zu of %zu bytes was accepted", cut, n);
    }
    free(file);
}

static void bit_flips(void **state) {
    (void)state;
    size_t n, opened = 0;
    unsigned char *file = sample(&n);
    const unsigned char *found = memmem(file, n, storage0, sizeof storage0);
    assert_non_null(found);
    const size_t data_at = (size_t)(found - file);
    for (size_t bit = 0; bit < n * 8; bit++) {
        file[bit / 8] ^= (unsigned char)(1 << bit % 8);
        tree_write(tree("flip.bin"), file, n);
        int ok = open_and_touch(tree("flip.bin"));
        opened += (size_t)ok;
        if (ok && bit / 8 >= data_at && bit / 8 < data_at + sizeof storage0)
            fail_msg("flipped bit %zu of a storage was not seen", bit);
        file[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    assert_true(opened > 0 && opened < n * 4); /* bits nobody reads: times, versions, local sizes */
    free(file);
}

/* The pickle alone, without the checksum that would catch most of it. */
static void pickle_bit_flips(void **state) {
    (void)state;
    bytes p = {0};
    pk_begin(&p);
    pk_text(&p, "a");
    pk_tensor(&p, "FloatStorage", "0", 12, 0, SIZES(3, 4), SIZES(4, 1));
    pk_op(&p, "q"), put_le(&p, 0, 1), pk_op(&p, "j"), put_le(&p, 0, 4), pk_op(&p, "N");
    pk_end(&p);
    for (size_t bit = 0; bit < p.n * 8; bit++) {
        mb_err e = {0};
        int n = 0;
        p.at[bit / 8] ^= (unsigned char)(1 << bit % 8);
        int rc = mb_pickle_state_dict(p.at, p.n, "f", count_tensors, &n, &e);
        assert_true(rc == MB_OK || strlen(e.text) > 5);
        p.at[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    bytes_free(&p);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    size_t n;
    unsigned char *file = sample(&n);
    const char *path = tree("small.bin");
    tree_write(path, file, n);
    free(file);
    for (long nth = 1;; nth++) {
        mb_err e = {0};
        mb_weights *w = NULL;
        mb_mem_fail_nth(nth, 0);
        int rc = mb_weights_open(&w, path, &e);
        int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        mb_weights_close(w);
        assert_int_equal(mb_mem_live_blocks(), 0);
        if (!fired) {
            assert_int_equal(rc, MB_OK);
            break;
        }
        assert_int_equal(rc, MB_NOMEM);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_dict),
        cmocka_unit_test(strides),
        cmocka_unit_test(wrapped),
        cmocka_unit_test(zip64),
        cmocka_unit_test(golden),
        cmocka_unit_test(views_outside_their_storage),
        cmocka_unit_test(strangers),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(every_opcode),
        cmocka_unit_test(hostile_archives),
        cmocka_unit_test(overlapping_entries),
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(bit_flips),
        cmocka_unit_test(pickle_bit_flips),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
