/* Logs out of text: every format, what each takes for what, rows that cannot be read, packed and cut files. */
#include <lzma.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "recsys/intake.h"
#include "tests/scratch.h"

static mb_err error;

/* "user: item@time=value/aux ...\n" of every user. */
static const char *dump(const rec_log *l) {
    static char text[1 << 16];
    const rec_view *v = rec_log_view(l);
    size_t n = 0;
    for (int32_t u = 0; u < v->n_users; u++) {
        const rec_id user = rec_log_user_id(l, u);
        assert_int_equal(rec_log_find_user(l, user.text, user.n), u);
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s:", user.n, user.text);
        for (int64_t i = v->user_at[u]; i < v->user_at[u + 1]; i++) {
            const rec_id item = rec_log_item_id(l, v->item[i]);
            assert_int_equal(rec_log_find_item(l, item.text, item.n), v->item[i]);
            n += (size_t)snprintf(text + n, sizeof text - n, " %.*s", item.n, item.text);
            if (v->time)
                n += (size_t)snprintf(text + n, sizeof text - n, "@%lld", (long long)v->time[i]);
            if (v->value)
                n += (size_t)snprintf(text + n, sizeof text - n, "=%g", v->value[i]);
            if (v->aux && v->aux[i]) {
                const rec_id aux = rec_log_aux_id(l, v->aux[i]);
                n += (size_t)snprintf(text + n, sizeof text - n, "/%.*s", aux.n, aux.text);
            }
        }
        n += (size_t)snprintf(text + n, sizeof text - n, "\n");
        assert_true(n < sizeof text);
    }
    assert_int_equal(rec_log_find_user(l, "no such user", 12), -1);
    assert_int_equal(rec_log_find_item(l, "no such item", 12), 0);
    return text;
}

static rec_load_options options(const char *columns, int format, int strict) {
    rec_load_options o = rec_load_defaults();
    o.columns = (char *)(uintptr_t)columns;
    o.format = format;
    o.strict = strict;
    return o;
}

static void read_is(const char *path, const rec_load_options *o, const char *want) {
    rec_log *l = NULL;
    mb_err_clear(&error);
    if (rec_log_open(&l, path, o, &error) != MB_OK)
        fail_msg("%s", error.text);
    assert_string_equal(dump(l), want);
    rec_log_close(l);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

#define TIMED "ann: tea@5=1 milk@7=4.5\nbob: milk@6=2\n"
#define ORDER "ann: tea milk\nbob: milk\n"
#define VALUE "ann: tea=1 milk=0\nbob: milk=1\n"

static void formats(void **state) {
    (void)state;
    static const struct {
        const char *text, *columns;
        int format;
        const char *want;
    } FORM[] = {
        {"user_id:token\titem_id:token\trating:float\ttimestamp:float\nann\tmilk\t4.5\t7\nann\ttea\t1\t5\nbob\tmilk\t2\t6\n",
         NULL, 0, "ann: tea@5=1 milk@7=4.5\nbob: milk@6=2\n"},
        {"userId,movieId,rating,timestamp\nann,milk,4.5,7.0\nann,tea,1,5\nbob,milk,2,6\n", NULL, 0, TIMED},
        {"\xef\xbb\xbfuserId,movieId,rating,timestamp\r\nann,milk,4.5,7\r\n\r\nann,tea,1,5\r\nbob,milk,2,6", NULL, 0,
         TIMED},
        {"when;who;what;how\n7;ann;milk;4.5\n5;ann;tea;1\n6;bob;milk;2\n", "user=who,item=what,time=when,value=how", 0,
         TIMED},
        {"ann\tmilk\t4.5\t7\nann\ttea\t1\t5\nbob\tmilk\t2\t6\n", "user=1,item=2,value=3,time=4", 0, TIMED},
        {"ann|milk|4.5|7\nann|tea|1|5\nbob|milk|2|6\n", "user=1,item=2,value=3,time=4", REC_FORMAT_CSV, TIMED},
        {"\"User ID\",\"item\",rating,\"time\"\n\"ann\",\"milk\",\"4.5\",7\nann,tea,1,5\nbob,milk,2,6\n", NULL, 0,
         TIMED},
        {"ann::milk::4.5::7\nann::tea::1::5\nbob::milk::2::6\n", NULL, 0, TIMED},
        {"{\"user\": \"ann\", \"item\": \"milk\", \"value\": 4.5, \"time\": 7}\n{\"time\": 5.0, \"value\": 1, \"user\": \"ann\", "
         "\"item\": \"tea\", \"more\": [1, {}]}\n\n{\"user\":\"bob\",\"item\":\"milk\",\"value\":\"2\",\"time\":\"6\"}\n",
         NULL, 0, TIMED},
        {"ann tea\nann milk\nbob milk\n", NULL, 0, ORDER},
        {"ann\ttea\nann\tmilk\nbob\tmilk\n", NULL, 0, ORDER},
        {"ann tea  milk \nbob\tmilk\n", NULL, 0, ORDER},
        {"ann tea milk\nann milk\n", NULL, 0, "ann: tea milk milk\n"},
        {"ann tea milk\nbob tea milk\n", NULL, REC_FORMAT_SEQUENCES, "ann: tea milk\nbob: tea milk\n"},
        {"ann tea milk\nbob tea milk\n", NULL, 0, "ann: tea milk\nbob: tea milk\n"},
        {"ann\ntea,milk\n1,0\nbob\nmilk\n1\n", NULL, 0, VALUE},
        {"ann,77\ntea,milk\n1,0\nbob,78\nmilk\n1\n", NULL, 0, VALUE},
        {"ann,2\n tea, milk,\n1,0,\n\nbob,1\nmilk,\n1,\n", NULL, 0, VALUE},
        {"2\ntea,milk\n1,0\n1\nmilk\n1\n", NULL, 0, "1: tea=1 milk=0\n2: milk=1\n"}, /* lengths: nameless students */
        {"ann\nq1,q2\ntea,milk\n1,0\nbob\nq2\nmilk\n1\n", NULL, 0, "ann: tea=1/q1 milk=0/q2\nbob: milk=1/q2\n"},
        {"ann\nq1,q2\ntea,milk\n1,0\nbob\nq2\nmilk\n1\n", NULL, REC_FORMAT_BLOCKS,
         "ann: tea=1/q1 milk=0/q2\nbob: milk=1/q2\n"},
        {"user,item,time\nann,a,2018-09-24\nann,b,1970-01-01T00:00:01Z\nann,c,2000-02-29 12:00:30.5+02:00\n", NULL, 0,
         "ann: b@1 c@951818430 a@1537747200\n"},
        {"user,item,time\nann,a,1e9\nann,b,-5\nann,c,1.5e3\n", NULL, 0, "ann: b@-5 c@1500 a@1000000000\n"},
        {"user,item,time\nann,a,9223372036854775807\nann,b,-9223372036854775808\n", NULL, 0,
         "ann: b@-9223372036854775808 a@9223372036854775807\n"},
        /* Columns by name keep what looks alike apart; '-' leaves one out. */
        {"user_id,user,item,rating,timestamp\n1,ann,tea,5,3\n", "user=user,value=-,time=-", 0, "ann: tea\n"},
        {"uid,problem_id,skill_id,correct\nann,q1,tea,1\nann,,milk,0\n", NULL, 0, "ann: tea=1/q1 milk=0\n"},
        /* Bytes stay as they are. */
        {"user,item\n\"a, \"\"b\"\"\",\"two\nlines\"\n\xc3\xa9 t\xc3\xa9,'x' y\n", NULL, 0,
         "a, \"b\": two\nlines\n\xc3\xa9 t\xc3\xa9: 'x' y\n"},
        {"user_id:token\titem_id:token\n\"a\tx \"y\n", NULL, 0, "\"a: x \"y\n"}, /* atomic files know no quotes */
    };
    for (size_t i = 0; i < sizeof FORM / sizeof *FORM; i++) {
        const rec_load_options o = options(FORM[i].columns, FORM[i].format, 1);
        print_message("form %zu\n", i);
        read_is(scratch_text("form", FORM[i].text), &o, FORM[i].want);
    }
}

/* Refused as a whole, with these words. */
static void refusals(void **state) {
    (void)state;
    static const struct {
        const char *text, *columns;
        int format;
        const char *words;
    } BAD[] = {
        {"", NULL, 0, "is empty"},
        {"\n\n", NULL, 0, "is empty"},
        {"a,b\n1,2\n", NULL, 0, "bad:1: this form is not known"},
        {"This is no log.\nIt is a text.\n", NULL, 0, "bad:1: this form is not known"},
        {"<html>\n<body> 404 </body>\n", NULL, 0, "--format says what it is"},
        {"ann\tmilk\t4.5\t978300760\nann\ttea\t1\t978300761\n", NULL, 0, "4 numbers a line without a line of names"},
        {"1 2 978300760\n1 3 978300761\n", NULL, 0, "--format sequences"},
        {"user,item\n", NULL, 0, "the input holds no event"},
        {"user,item,time\nann,tea\n", NULL, 0, "the input holds no event"},
        {"user,item\nann,tea\n", "user=who", REC_FORMAT_CSV, "bad:1: there is no column who among its 2"},
        {"user,thing\nann,tea\n", NULL, REC_FORMAT_CSV, "--columns item=NAME"},
        {"{\"user\": 1, \"thing\": 2}\n", NULL, 0, "--columns item=KEY"},
        {"ann,tea\n", "user=1,item=3", 0, "bad:1: has 2 fields; --columns item=3 asks for more"},
        {"ann,tea\n", "user=1,value=2", REC_FORMAT_CSV, "needs user=N and item=N"},
        {"user,item\nann,tea\n", "user=-,item=item", 0, "cannot be left out"},
        {"user,item\nann,tea\n", "user", 0, "'user' is not ROLE=NAME"},
        {"user,item\nann,tea\n", "usr=user", 0, "'usr' is none of user"},
        {"user,item\nann,tea\n", "user=a,user=b", 0, "user is there twice"},
        {"a::b::1::2\n", "user=x,item=y", 0, "give numbers"},
        {"user,item\n\"ann,tea\nbob,tea\n", NULL, 0, "bad:2: a quote that opens in this line is never closed"},
        {"ann\ntea,milk\n1,0\nbob\n", NULL, 0, "bad:4: ends within a block of 3 lines"},
        {"ann tea\n", NULL, REC_FORMAT_BLOCKS, "expected blocks of 3 or 4 lines"},
        {"ann tea\n", NULL, REC_FORMAT_LOG, "is no log of recmamba prep"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        const rec_load_options o = options(BAD[i].columns, BAD[i].format, 0);
        rec_log *l = NULL;
        mb_err_clear(&error);
        const int rc = rec_log_open(&l, scratch_text("bad", BAD[i].text), &o, &error);
        if (rc == MB_OK || !strstr(error.text, BAD[i].words))
            fail_msg("%zu: %d '%s', expected '%s'", i, rc, error.text, BAD[i].words);
        assert_null(l);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
    rec_log *l = NULL;
    mb_err_clear(&error);
    assert_int_equal(rec_log_open(&l, scratch_bytes("bad", "user,item\nann,t\0a\n", 18), NULL, &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "bad:2:6: holds a zero byte"));
    mb_err_clear(&error);
    assert_int_equal(rec_log_open(&l, scratch_path("nowhere"), NULL, &error), MB_NOTFOUND);
    mb_err_clear(&error);
    assert_int_equal(rec_log_open(&l, scratch_dir(), NULL, &error), MB_IO);
}

/* Rows that are passed over, and what --strict says of the first; the good row around them is read. */
static void malformed(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int format;
        const char *words;
    } BAD[] = {
        {"user,item,time\nann,tea,1\nann,milk\n", 0, "bad:3: has 2 fields, not 3"},
        {"user,item,time\nann,tea,1\nann,milk,1,1\n", 0, "bad:3: has 4 fields, not 3"},
        {"user,item,time\nann,tea,1\nann,milk,soon\n", 0, "bad:3: its time 'soon' is no number"},
        {"user,item,time\nann,tea,1\nann,milk,\n", 0, "its time '' is empty"},
        {"user,item,time\nann,tea,1\nann,milk,nan\n", 0, "is no number"},
        {"user,item,time\nann,tea,1\nann,milk,0x10\n", 0, "is no number"},
        {"user,item,time\nann,tea,1\nann,milk,1e400\n", 0, "is out of range"},
        {"user,item,time\nann,tea,1\nann,milk,1e19\n", 0, "is out of the range of 64 bits"},
        {"user,item,time\nann,tea,1\nann,milk,2018-02-29\n", 0, "is no number"},
        {"user,item,time\nann,tea,1\nann,milk,2018-01-01T25:00\n", 0, "is no number"},
        {"user,item,time\nann,tea,1\nann,,1\n", 0, "bad:3: the item identifier is empty"},
        {"user,item,time\nann,tea,1\n,milk,1\n", 0, "the user identifier is empty"},
        {"user,item,time\nann,tea,1\n\"ann\"x,milk,1\n", 0, "has text behind a closing quote"},
        {"user,item,time,rating\nann,tea,1,1\nann,milk,1,inf\n", 0, "its value 'inf' is no number"},
        {"user,item,time,rating\nann,tea,1,1\nann,milk,1,1e39\n", 0, "is out of the range of 32-bit floats"},
        {"user,item,time,split\nann,tea,1,train\nann,milk,1,maybe\n", 0, "its split 'maybe' is neither train"},
        {"ann tea\nann\n", REC_FORMAT_PAIRS, "bad:2: expected two words"},
        {"ann tea\nann tea milk\n", REC_FORMAT_PAIRS, "bad:2: expected two words"},
        {"ann\ntea\n1\nbob\ntea,milk\n1\n", REC_FORMAT_BLOCKS, "the block that begins in line 4 has 1 answers, but 2"},
        {"ann\ntea\n1\nbob\nmilk\nx\n", REC_FORMAT_BLOCKS, "bad:6: answer 1 is no number"},
        {"{\"user\":\"ann\",\"item\":\"tea\"}\n{\"user\":\"ann\"}\n", 0, "bad:2: its item 'item' is missing"},
        {"{\"user\":\"ann\",\"item\":\"tea\"}\n{\"user\":\"ann\",\"item\":[]}\n", 0, "is neither text nor a number"},
        {"{\"user\":\"ann\",\"item\":\"tea\"}\n{\"user\":\n", 0, "bad:2: is no JSON"},
        {"{\"user\":\"ann\",\"item\":\"tea\"}\n[1]\n", 0, "bad:2: is no JSON object"},
        {"{\"user\":\"ann\",\"item\":\"tea\"}\n{\"user\":\"a\\u0000n\",\"item\":\"tea\"}\n", 0, "bad:2: is no JSON"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        const char *path = scratch_text("bad", BAD[i].text);
        rec_load_options o = options(NULL, BAD[i].format, 1);
        rec_log *l = NULL;
        mb_err_clear(&error);
        const int rc = rec_log_open(&l, path, &o, &error);
        if (rc != MB_FORMAT || !strstr(error.text, BAD[i].words))
            fail_msg("%zu: %d '%s', expected '%s'", i, rc, error.text, BAD[i].words);
        o.strict = 0;
        mb_err_clear(&error);
        if (rec_log_open(&l, path, &o, &error) != MB_OK)
            fail_msg("%zu: %s", i, error.text);
        assert_int_equal(rec_log_view(l)->n_events, 1);
        assert_non_null(strstr(rec_log_recipe(l), "\"malformed\": 1,"));
        rec_log_close(l);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
}

/* Lines that are read in place, and the same with something nested, which go through the whole parser: no difference.
 */
static void plain_json(void **state) {
    (void)state;
    static const char *const LINE[] = {
        "{\"u\":\"ann\",\"i\":\"milk\",\"t\":5,\"v\":1}",
        " { \"t\" : 5.75 ,\t\"i\" : 12 , \"u\" : -3 , \"v\" : -0.5 } ",
        "{\"u\":1.5,\"i\":2.50,\"t\":1,\"v\":1}",
        "{\"u\":-0,\"i\":123456789012345678,\"t\":1234567890123456789,\"v\":1}",
        "{\"u\":\"\",\"i\":1,\"t\":1,\"v\":1}",
        "{\"u\":01,\"i\":1,\"t\":1,\"v\":1}",
        "{\"u\":1,\"i\":1,\"t\":1.,\"v\":1}",
        "{\"u\":1,\"i\":1,\"t\":.5,\"v\":1}",
        "{\"u\":1,\"i\":1,\"t\":+5,\"v\":1}",
        "{\"u\":1,\"i\":1,\"t\":1e3,\"v\":1E-2}",
        "{\"u\":1,\"i\":1,\"t\":1,\"v\":null}",
        "{\"u\":true,\"i\":1,\"t\":1,\"v\":1}",
        "{\"u\":1,\"i\":1,\"t\":1}",
        "{\"u\":1,\"i\":1,\"t\":1,\"v\":1,\"u\":2}",
        "{\"u\":1,\"i\":1,\"t\":1,\"v\":1,\"w\":false,\"w\":true}",
        "{\"u\":1,\"i\":1,\"t\":1,\"v\":1,\"w\":nul}",
        "{\"u\":1,\"i\":1,\"t\":1,\"v\":1,}",
        "{\"u\":1,\"i\":1,\"t\":1,\"v\":1} x",
        "{\"u\":1 \"i\":1,\"t\":1,\"v\":1}",
        "{u:1,\"i\":1,\"t\":1,\"v\":1}",
        "{\"u\":\"a\\u0062\\n\",\"i\":\"\xc3\xa9\",\"t\":\"7\",\"v\":\"2\"}",
        "{\"u\":\"\xff\",\"i\":1,\"t\":1,\"v\":1}",
        "{\"u\":\"a\tb\",\"i\":1,\"t\":1,\"v\":1}",
        "{\"u\":1,\"i\":1,\"t\":\"2018-09-24\",\"v\":1,\"w\":null}",
    };
    static const char FIRST[] = "{\"u\":\"first\",\"i\":\"x\",\"t\":0,\"v\":0}\n";
    int good = 0;
    for (size_t i = 0; i < sizeof LINE / sizeof *LINE; i++) {
        char text[2][512], said[2][1024] = {"", ""};
        const char *brace = strchr(LINE[i], '{') + 1;
        snprintf(text[0], sizeof *text, "%s%s\n", FIRST, LINE[i]);
        snprintf(text[1], sizeof *text, "%s{\"nested\":[],%s\n", FIRST, brace);
        for (int k = 0; k < 2; k++) {
            rec_log *l = NULL;
            const rec_load_options o = options("user=u,item=i,time=t,value=v", REC_FORMAT_JSONL, 0);
            mb_err_clear(&error);
            if (rec_log_open(&l, scratch_text("json", text[k]), &o, &error) != MB_OK)
                fail_msg("%s: %s", LINE[i], error.text);
            snprintf(said[k], sizeof *said, "%s%s", dump(l), rec_log_recipe(l));
            good += k == 0 && rec_log_view(l)->n_events == 2;
            rec_log_close(l);
        }
        assert_string_equal(said[0], said[1]);
    }
    assert_int_equal(good, 7);
}

/* What is counted without being wrong. */
static void counts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double scale;
        const char *words;
    } COUNT[] = {
        {"ann tea milk\nbob\ncid\ndan tea\n", 1, "\"empty_users\": 2,"},
        {"ann\n\n\nbob\nmilk\n1\n", 1, "\"empty_users\": 1,"},
        {"user,item,time\nann,a,5\nann,b,4\nbob,a,1\nann,c,6\nann,d,5\n", 1, "\"backwards\": 2,"},
        {"user,item,time\nann,a,5.25\nann,b,4\nbob,a,2018-01-01T00:00:00.5\n", 1, "\"cut_times\": 2,"},
        {"user,item,time\nann,a,5.25\nann,b,4\nbob,a,2018-01-01T00:00:00.5\n", 4, "\"cut_times\": 0,"},
    };
    for (size_t i = 0; i < sizeof COUNT / sizeof *COUNT; i++) {
        rec_load_options o = options(NULL, i == 1 ? REC_FORMAT_BLOCKS : 0, 1);
        o.time_scale = COUNT[i].scale;
        rec_log *l = NULL;
        mb_err_clear(&error);
        if (rec_log_open(&l, scratch_text("count", COUNT[i].text), &o, &error) != MB_OK)
            fail_msg("%s", error.text);
        if (!strstr(rec_log_recipe(l), COUNT[i].words))
            fail_msg("%s: expected '%s'", rec_log_recipe(l), COUNT[i].words);
        rec_log_close(l);
    }
    rec_load_options o = options(NULL, 0, 1);
    o.time_scale = 4;
    read_is(scratch_text("scale", "user,item,time\nann,a,5.25\nann,b,-1.5\n"), &o, "ann: b@-6 a@21\n");
}

/* Several files are one log; what one has, all have. */
static void several(void **state) {
    (void)state;
    char *file[3] = {(char *)(uintptr_t)scratch_text("one", "user,item,time\nann,milk,7\nbob,milk,6\n"),
                     (char *)(uintptr_t)scratch_text("two", "ts;item;uid\n5;tea;ann\n"),
                     (char *)(uintptr_t)scratch_text("three", "cid water\n")};
    rec_log *l = NULL;
    rec_load_options o = options(NULL, 0, 1);
    mb_err_clear(&error);
    assert_int_equal(rec_log_load(&l, file, 2, &o, &error), MB_OK);
    assert_string_equal(dump(l), "ann: tea@5 milk@7\nbob: milk@6\n");
    assert_null(rec_log_given_valid(l));
    rec_log_close(l);
    assert_int_equal(rec_log_load(&l, file, 3, &o, &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "has no time"));
    o.columns = (char *)(uintptr_t) "time=-";
    mb_err_clear(&error);
    assert_int_equal(rec_log_load(&l, file, 3, &o, &error), MB_OK);
    assert_string_equal(dump(l), "ann: milk tea\nbob: milk\ncid: water\n");
    rec_log_close(l);
    o.valid = file[1];
    o.test = file[2];
    assert_int_equal(rec_log_load(&l, file, 1, &o, &error), MB_OK);
    assert_string_equal(dump(l), "ann: milk tea\nbob: milk\ncid: water\n");
    const int64_t *valid = rec_log_given_valid(l), *test = rec_log_given_test(l);
    assert_true(valid[0] == 1 && test[0] == 2 && valid[1] == 3 && test[1] == 3 && valid[2] == 3 && test[2] == 3);
    rec_log_close(l);
    /* Nameless students of several files are all different. */
    file[0] = (char *)(uintptr_t)scratch_text("b1", "1\ntea\n1\n2\ntea,milk\n1,0\n");
    file[1] = (char *)(uintptr_t)scratch_text("b2", "1\nmilk\n0\n");
    o = options(NULL, 0, 1);
    assert_int_equal(rec_log_load(&l, file, 2, &o, &error), MB_OK);
    assert_string_equal(dump(l), "1: tea=1\n2: tea=1 milk=0\n3: milk=0\n");
    rec_log_close(l);
    char *twice[2] = {(char *)(uintptr_t) "-", (char *)(uintptr_t) "-"};
    assert_int_equal(rec_log_load(&l, twice, 2, &o, &error), MB_USAGE);
}

static void item_names(void **state) {
    (void)state;
    static const struct {
        const char *text, *tea, *milk;
    } NAMES[] = {
        {"item_id:token\tmovie_title:token_seq\tyear:token\nmilk\tWhole Milk\t1\ntea\tGreen \"T\" (\xc3\xa9)\t2\nx\ty\tz\n",
         "Green \"T\" (\xc3\xa9)", "Whole Milk"},
        {"movieId,title,genres\nmilk,\"Milk, The (1\"\"2)\",a|b\nmilk,again,c\n", "", "Milk, The (1\"2)"},
    };
    const char *log = scratch_text("log", "ann tea milk\n");
    for (size_t i = 0; i < 2; i++) {
        rec_load_options o = options(NULL, 0, 1);
        rec_log *l = NULL;
        o.item_names = (char *)(uintptr_t)scratch_text("names", NAMES[i].text);
        mb_err_clear(&error);
        if (rec_log_open(&l, log, &o, &error) != MB_OK)
            fail_msg("%s", error.text);
        const rec_id tea = rec_log_item_name(l, 1), milk = rec_log_item_name(l, 2);
        assert_int_equal(tea.n, strlen(NAMES[i].tea));
        assert_memory_equal(tea.text, NAMES[i].tea, (size_t)tea.n);
        assert_int_equal(milk.n, strlen(NAMES[i].milk));
        assert_memory_equal(milk.text, NAMES[i].milk, (size_t)milk.n);
        rec_log_close(l);
    }
    rec_load_options o = options(NULL, 0, 1);
    rec_log *l = NULL;
    o.item_names = (char *)(uintptr_t)scratch_text("names", "a,title\n1,2\n");
    assert_int_equal(rec_log_open(&l, log, &o, &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "no column is called like an item"));
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* ---- packed ---------------------------------------------------------------------------------------------------------
 */
enum { ROWS = 40000 };

/* A table that does not pack to nothing. */
static char *make_table(size_t *n) {
    char *text = malloc(64 * ROWS);
    assert_non_null(text);
    *n = (size_t)sprintf(text, "user,item,time\n");
    for (uint32_t i = 0, x = 1; i < ROWS; i++) {
        x = x * 1664525u + 1013904223u;
        *n += (size_t)sprintf(text + *n, "u%u,i%u,%u\n", x >> 22, (x >> 5) % 5000, i);
    }
    return text;
}

static const char *pack(const char *name, const char *kind, const char *text, size_t n) {
    const size_t room = n + 65536;
    unsigned char *to = malloc(room);
    size_t size = 0;
    assert_non_null(to);
    if (strcmp(kind, "gz") == 0) {
        z_stream z = {.next_in = (unsigned char *)(uintptr_t)text,
                      .avail_in = (unsigned)n,
                      .next_out = to,
                      .avail_out = (unsigned)room};
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        size = z.total_out;
        deflateEnd(&z);
    } else if (strcmp(kind, "xz") == 0) {
        assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC64, NULL, (const uint8_t *)text, n, to, &size, room),
                         LZMA_OK);
    } else {
        size = ZSTD_compress(to, room, text, n, 3);
        assert_false(ZSTD_isError(size));
    }
    const char *path = scratch_bytes(name, to, size);
    free(to);
    return path;
}

static char *concatenate(const char *a, const char *b, size_t *n) {
    size_t na, nb;
    char *x = scratch_read(a, &na), *y = scratch_read(b, &nb);
    x = realloc(x, na + nb);
    assert_non_null(x);
    memcpy(x + na, y, nb);
    free(y);
    *n = na + nb;
    return x;
}

static void packed(void **state) {
    (void)state;
    static const char *const KIND[] = {"gz", "xz", "zst"};
    size_t n;
    char *text = make_table(&n);
    rec_log *plain = NULL, *l = NULL;
    const rec_load_options o = options(NULL, 0, 1);
    assert_int_equal(rec_log_open(&plain, scratch_bytes("plain", text, n), &o, &error), MB_OK);
    assert_int_equal(rec_log_view(plain)->n_events, ROWS);
    for (int k = 0; k < 3; k++) {
        const char *path = pack("packed", KIND[k], text, n);
        const long size = scratch_size(path);
        mb_err_clear(&error);
        if (rec_log_open(&l, path, &o, &error) != MB_OK)
            fail_msg("%s: %s", KIND[k], error.text);
        assert_memory_equal(rec_log_view(l)->item, rec_log_view(plain)->item, ROWS * sizeof(int32_t));
        assert_string_equal(rec_log_items_digest(l), rec_log_items_digest(plain));
        rec_log_close(l);
        /* Cut anywhere: an error that says so, and where. */
        for (long cut = size - 1; cut > 6; cut -= cut > size - 12 ? 1 : cut < 40 ? 1 : size / 13) {
            mb_err_clear(&error);
            const int rc = rec_log_open(&l, scratch_cut("cut", path, cut), &o, &error);
            if (rc != MB_FORMAT || !strstr(error.text, "cut: the ") || !strstr(error.text, " byte "))
                fail_msg("%s of %ld bytes: %d %s", KIND[k], cut, rc, error.text);
        }
        /* Two members or frames, the second damaged and whole. */
        const char *half = pack("half", KIND[k], text, n / 2), *rest = pack("rest", KIND[k], text + n / 2, n - n / 2);
        size_t both;
        char *joined = concatenate(half, rest, &both);
        mb_err_clear(&error);
        if (rec_log_open(&l, scratch_bytes("joined", joined, both), &o, &error) != MB_OK)
            fail_msg("%s twice: %s", KIND[k], error.text);
        assert_string_equal(rec_log_items_digest(l), rec_log_items_digest(plain));
        rec_log_close(l);
        joined[both - 7] = (char)(joined[both - 7] ^ 4); /* within the check at the end, or the last block */
        if (k < 2) {
            mb_err_clear(&error);
            assert_int_equal(rec_log_open(&l, scratch_bytes("joined", joined, both), &o, &error), MB_FORMAT);
            assert_non_null(strstr(error.text, "damaged"));
        }
        memcpy(joined + both - 20, "nonsense and rubbish", 20);
        mb_err_clear(&error);
        assert_int_equal(rec_log_open(&l, scratch_bytes("joined", joined, both), &o, &error), MB_FORMAT);
        free(joined);
        assert_int_equal(error.status, MB_FORMAT);
    }
    rec_log_close(plain);
    free(text);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* Every allocation in turn. The tables of zstd are its own. */
static void no_memory(void **state) {
    (void)state;
    static const char *const TEXT[] = {
        "user,item,time,rating,aux\nann,\"mi\"\"lk\",7,1,a\nann,tea,5,1,b\nbob,milk,6,2,a\n",
        "user_id:token\titem_id:token\nann\ttea\n",
        "{\"user\":\"ann\",\"item\":\"tea\",\"time\":5}\n{\"user\":\"bob\",\"item\":\"tea\",\"time\":5}\n",
        "ann tea milk\nbob milk\n", "ann\nq1,q2\ntea,milk\n1,0\nbob\nq2\nmilk\n1\n"};
    const char *names = scratch_text("names", "item_id,name\ntea,Tea\nmilk,Milk\n");
    for (size_t i = 0; i < sizeof TEXT / sizeof *TEXT; i++)
        for (int kind = 0; kind < 4; kind++) {
            const char *path = kind == 0 ? scratch_text("plain", TEXT[i])
                                         : pack("packed",
                                                kind == 1   ? "gz"
                                                : kind == 2 ? "xz"
                                                            : "zst",
                                                TEXT[i], strlen(TEXT[i]));
            long n = 1, survived = 0;
            for (int fired = 1; fired; n++) {
                rec_load_options o = options(NULL, 0, 1);
                rec_log *l = NULL;
                o.item_names = (char *)(uintptr_t)names;
                o.min_user = o.min_item = 1;
                mb_err_clear(&error);
                mb_mem_fail_nth(n, 0);
                const int rc = rec_log_open(&l, path, &o, &error);
                fired = mb_mem_fault_fired();
                mb_mem_fail_nth(0, 0);
                rec_log_close(l);
                survived += fired && rc == MB_OK;
                if (rc != (fired && rc ? MB_NOMEM : MB_OK))
                    fail_msg("text %zu, packing %d, allocation %ld: %d %s", i, kind, n, rc, error.text);
                assert_int_equal(mb_mem_live_blocks(), 0);
            }
            assert_in_range(n, 20, 200);
            assert_int_equal(survived, 1); /* the progress line: nobody misses it */
        }
}

static void long_lines(void **state) {
    (void)state;
    enum { ITEMS = 300000 };
    char *text = malloc(8 * ITEMS), *p = text;
    assert_non_null(text);
    p += sprintf(p, "ann");
    for (int i = 0; i < ITEMS; i++)
        p += sprintf(p, " %d", i % 1000);
    sprintf(p, "\nbob 7\n");
    rec_log *l = NULL;
    mb_err_clear(&error);
    assert_int_equal(rec_log_open(&l, scratch_text("long", text), NULL, &error), MB_OK);
    const rec_view *v = rec_log_view(l);
    assert_int_equal(v->n_users, 2);
    assert_int_equal(v->user_at[1], ITEMS);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(v->item[i], i % 1000 + 1);
    rec_log_close(l);
    memset(text, 'x', 2 * (size_t)REC_NAME_MAX); /* an identifier that is none */
    memcpy(text, "a ", 2);
    strcpy(text + 2 + REC_NAME_MAX + 1, " y\n");
    assert_int_equal(rec_log_open(&l, scratch_text("long", text), NULL, &error), MB_OK);
    assert_int_equal(rec_log_view(l)->n_events, 1);
    rec_log_close(l);
    /* A quoted field of as many lines as it may have, each looked at once; one line more is refused. */
    for (int lines = 1 << 20; lines < (1 << 20) + 200; lines += 100) {
        p = text + sprintf(text, "user,item,note\nann,tea,\"");
        memset(p, '\n', (size_t)lines - 40);
        strcpy(p + lines - 40, "\"\nbob,tea,\n");
        mb_err_clear(&error);
        const int rc = rec_log_open(&l, scratch_text("long", text), NULL, &error);
        if (lines == 1 << 20) {
            assert_int_equal(rc, MB_OK);
            assert_int_equal(rec_log_view(l)->n_events, 2);
            rec_log_close(l);
        } else {
            assert_int_equal(rc, MB_FORMAT);
            assert_non_null(strstr(error.text, "long:2: a quote that opens"));
        }
    }
    free(text);
}

static int quiet(void **state) {
    (void)state;
    mb_log_set_level(MB_LOG_QUIET);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(formats),    cmocka_unit_test(refusals),
                                       cmocka_unit_test(malformed),  cmocka_unit_test(plain_json),
                                       cmocka_unit_test(counts),     cmocka_unit_test(several),
                                       cmocka_unit_test(item_names), cmocka_unit_test(packed),
                                       cmocka_unit_test(no_memory),  cmocka_unit_test(long_lines)};
    return cmocka_run_group_tests(tests, quiet, NULL);
}
