/* Logs against a slow reading of the same events: order, filters, numbers; the same bytes for any memory; files that
 * are damaged, cut, or cannot be written. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/rng.h"
#include "recsys/commands.h"
#include "recsys/loader.h"
#include "tests/scratch.h"
#include "tests/verb.h"

enum { EVENTS = 30000, USERS = 150, ITEMS = 400 };

static mb_err error;

typedef struct happening {
    int user, item; /* of the text's identifiers */
    int64_t time;
    float value;
    int place, part;
    int gone;
} happening;

static happening event[EVENTS], left[EVENTS];
static char table[1024]; /* the path of all events as CSV */

/* Identifiers whose order as numbers, as bytes and by appearance all differ. */
static const char *user_name(int u) {
    static char name[16];
    snprintf(name, sizeof name, "u%d", u * 7919 % 1000);
    return name;
}

static const char *item_name(int i) {
    static char name[2][16];
    static int turn;
    snprintf(name[turn ^= 1], sizeof *name, i % 3 ? "%d" : "i%d", i * 37 % 500);
    return name[turn];
}

static void make_events(void) {
    mb_rng r;
    mb_rng_init(&r, 5, 0);
    char *text = malloc(64 * EVENTS), *p = text;
    assert_non_null(text);
    p += sprintf(p, "user,item,time,rating,split\n");
    for (int i = 0; i < EVENTS; i++) {
        const double x = mb_rng_uniform(&r), y = mb_rng_uniform(&r);
        event[i] = (happening){.user = (int)(USERS * x * x),
                               .item = (int)(ITEMS * y * y * y),
                               .time = 964982703 + (int64_t)mb_rng_below(&r, 5000),
                               .value = (float)mb_rng_below(&r, 10) / 2,
                               .part = mb_rng_below(&r, 10) < 8 ? 0 : 1 + (int)mb_rng_below(&r, 2),
                               .place = i};
        static const char *const PART[] = {"train", "valid", "test"};
        p += sprintf(p, "%s,%s,%lld,%g,%s\n", user_name(event[i].user), item_name(event[i].item),
                     (long long)event[i].time, event[i].value, PART[event[i].part]);
    }
    snprintf(table, sizeof table, "%s", scratch_text("table", text));
    free(text);
}

/* ---- the slow way ---------------------------------------------------------------------------------------------------
 */
static const rec_load_options *rule;
static int parted;

static int compare_names(int a, int b) {
    const char *x = item_name(a), *y = item_name(b);
    const int numbers = x[0] != 'i' && y[0] != 'i';
    return numbers ? atoi(x) - atoi(y) : strcmp(x, y);
}

static int compare(const void *a, const void *b) {
    const happening *x = a, *y = b;
    if (x->user != y->user)
        return x->user - y->user;
    if (parted && x->part != y->part)
        return x->part - y->part;
    if (rule->time_sort == REC_TIME_FLOAT32 ? (float)x->time != (float)y->time : x->time != y->time)
        return x->time < y->time ? -1 : 1;
    const int names = rule->ties == REC_TIES_ITEM ? compare_names(x->item, y->item) : 0;
    return names ? names : x->place - y->place;
}

/* Sorted, then filtered by looking at all pairs and by counting anew after every single removal round. */
static int slow(const rec_load_options *o, float least, int64_t from, int64_t to) {
    int n = EVENTS, changed = 1;
    rule = o;
    memcpy(left, event, sizeof left);
    qsort(left, EVENTS, sizeof *left, compare);
    for (int i = 0; i < EVENTS; i++)
        for (int k = i - 1; o->duplicates == REC_DUPLICATES_FIRST && k >= 0 && left[k].user == left[i].user; k--)
            left[i].gone |= left[k].item == left[i].item;
    for (int i = 0; i < EVENTS; i++)
        for (int k = i + 1; o->duplicates == REC_DUPLICATES_LAST && k < EVENTS && left[k].user == left[i].user; k++)
            left[i].gone |= left[k].item == left[i].item;
    for (int i = 0; i < EVENTS; i++)
        left[i].gone |= left[i].value < least || left[i].time < from || left[i].time >= to;
    while (changed) {
        int user[USERS] = {0}, item[ITEMS] = {0};
        changed = 0;
        for (int i = 0; i < EVENTS; i++)
            if (!left[i].gone) {
                user[left[i].user]++;
                item[left[i].item]++;
            }
        for (int i = 0; i < EVENTS; i++)
            if (!left[i].gone && (user[left[i].user] < o->min_user || item[left[i].item] < o->min_item))
                left[i].gone = changed = 1;
    }
    n = 0;
    for (int i = 0; i < EVENTS; i++)
        if (!left[i].gone)
            left[n++] = left[i];
    return n;
}

static int same_id(rec_id id, const char *name) {
    return id.n == (int)strlen(name) && memcmp(id.text, name, (size_t)id.n) == 0;
}

/* Users and items in the order of the places of their first events; each user's events as the slow way has them. */
static void check_log(const rec_log *l, int n) {
    const rec_view *v = rec_log_view(l);
    int first_user = -1, first_item = -1;
    assert_int_equal(v->n_events, n);
    for (int32_t u = 0; u < v->n_users; u++) {
        int at = 0, first = EVENTS;
        while (at < n && !same_id(rec_log_user_id(l, u), user_name(left[at].user)))
            at++;
        for (int64_t i = v->user_at[u]; i < v->user_at[u + 1]; i++, at++) {
            assert_true(at < n && same_id(rec_log_user_id(l, u), user_name(left[at].user)));
            assert_true(same_id(rec_log_item_id(l, v->item[i]), item_name(left[at].item)));
            assert_int_equal(v->time[i], left[at].time);
            assert_true(v->value[i] == left[at].value);
            first = left[at].place < first ? left[at].place : first;
            if (parted) {
                const int64_t valid = rec_log_given_valid(l)[u], test = rec_log_given_test(l)[u];
                assert_int_equal(left[at].part, i < valid ? 0 : i < test ? 1 : 2);
            }
        }
        assert_true(at == n || !same_id(rec_log_user_id(l, u), user_name(left[at].user)));
        assert_true(first > first_user);
        first_user = first;
    }
    int least[ITEMS];
    for (int i = 0; i < ITEMS; i++)
        least[i] = EVENTS;
    for (int i = 0; i < n; i++)
        least[left[i].item] = left[i].place < least[left[i].item] ? left[i].place : least[left[i].item];
    for (int32_t k = 1; k <= v->n_items; k++) {
        int i = 0;
        while (i < ITEMS && !same_id(rec_log_item_id(l, k), item_name(i)))
            i++;
        assert_true(i < ITEMS && least[i] < EVENTS && least[i] > first_item);
        first_item = least[i];
    }
}

static const struct {
    int time_sort, ties, duplicates, min_user, min_item;
    const char *min_value, *from, *to, *columns;
} RULE[] = {
    {0},
    {.time_sort = REC_TIME_FLOAT32},
    {.ties = REC_TIES_ITEM},
    {.time_sort = REC_TIME_FLOAT32, .ties = REC_TIES_ITEM, .duplicates = REC_DUPLICATES_FIRST},
    {.duplicates = REC_DUPLICATES_FIRST, .min_user = 20, .min_item = 25},
    {.duplicates = REC_DUPLICATES_LAST, .min_value = "2.5"},
    {.min_user = 100, .min_item = 40, .min_value = "1", .from = "964983000", .to = "2000-07-30T20:05:03Z"},
    {.columns = "split=split", .duplicates = REC_DUPLICATES_LAST, .min_item = 10},
};

static rec_load_options options_of(size_t i) {
    rec_load_options o = rec_load_defaults();
    o.time_sort = RULE[i].time_sort;
    o.ties = RULE[i].ties;
    o.duplicates = RULE[i].duplicates;
    o.min_user = RULE[i].min_user;
    o.min_item = RULE[i].min_item;
    o.min_value = (char *)(uintptr_t)RULE[i].min_value;
    o.time_from = (char *)(uintptr_t)RULE[i].from;
    o.time_to = (char *)(uintptr_t)RULE[i].to;
    o.columns = (char *)(uintptr_t)(RULE[i].columns ? RULE[i].columns : "split=-");
    return o;
}

/* 964987503 is 2000-07-30T20:05:03Z. */
static void as_the_slow_way(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof RULE / sizeof *RULE; i++) {
        rec_load_options o = options_of(i);
        rec_log *l = NULL, *again = NULL;
        parted = RULE[i].columns != NULL;
        mb_err_clear(&error);
        if (rec_log_open(&l, table, &o, &error) != MB_OK)
            fail_msg("%s", error.text);
        const int n = slow(&o, RULE[i].min_value ? strtof(RULE[i].min_value, NULL) : 0,
                           RULE[i].from ? atoll(RULE[i].from) : INT64_MIN, RULE[i].to ? 964987503 : INT64_MAX);
        assert_in_range(n, 1000, EVENTS);
        check_log(l, n);
        for (int64_t memory = 1; memory < 1 << 24; memory = memory == 1 ? 700000 : 4 * memory) {
            o.memory = memory;
            if (rec_log_open(&again, table, &o, &error) != MB_OK)
                fail_msg("%s", error.text);
            assert_int_equal(again->block_bytes, l->block_bytes);
            assert_memory_equal(again->block, l->block, l->block_bytes);
            rec_log_close(again);
        }
        rec_log_close(l);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
}

static void random_ties(void **state) {
    (void)state;
    const char *path = scratch_text("ties", "u,i,time\na,1,5\na,2,5\na,3,5\na,4,5\na,5,5\na,6,5\na,7,4\n");
    char seen[64][8];
    int different = 0;
    for (int seed = 0; seed < 64; seed++) {
        rec_load_options o = rec_load_defaults();
        rec_log *l = NULL, *again = NULL;
        o.columns = (char *)(uintptr_t) "user=u,item=i";
        o.ties = REC_TIES_RANDOM;
        o.seed = seed;
        assert_int_equal(rec_log_open(&l, path, &o, &error), MB_OK);
        assert_int_equal(rec_log_open(&again, path, &o, &error), MB_OK);
        const rec_view *v = rec_log_view(l);
        int mask = 0;
        for (int i = 0; i < 7; i++) {
            seen[seed][i] = *rec_log_item_id(l, v->item[i]).text;
            mask |= 1 << (seen[seed][i] - '1');
        }
        assert_int_equal(seen[seed][0], '7');
        assert_int_equal(mask, 127);
        assert_memory_equal(l->block, again->block, l->block_bytes);
        different += seed == 0 || memcmp(seen[seed], seen[seed - 1], 7) != 0;
        rec_log_close(l);
        rec_log_close(again);
    }
    assert_true(different > 58); /* of 720 orders; two in a row are the same once in 720 */
}

static void compares_ids(void **state) {
    (void)state;
    static const char *const ASCENDING[] = {"", "007", "7", "10", "010a", "10a", "9a", "99999999999999999999999", "a"};
    /* As numbers where both are: 7 < 10; else as bytes. */
    assert_true(rec_compare_ids("7", 1, "10", 2) < 0 && rec_compare_ids("10", 2, "7", 1) > 0);
    assert_true(rec_compare_ids("007", 3, "10", 2) < 0 && rec_compare_ids("007", 3, "7", 1) < 0);
    assert_true(rec_compare_ids("9a", 2, "10", 2) > 0 && rec_compare_ids("99999999999999999999999", 23, "7", 1) > 0);
    assert_true(rec_compare_ids("ab", 2, "abc", 3) < 0);
    for (size_t i = 0; i < sizeof ASCENDING / sizeof *ASCENDING; i++)
        assert_int_equal(
            rec_compare_ids(ASCENDING[i], (int64_t)strlen(ASCENDING[i]), ASCENDING[i], (int64_t)strlen(ASCENDING[i])),
            0);
}

/* ---- files ----------------------------------------------------------------------------------------------------------
 */
static int prep(const char *format, ...) {
    va_list list; /* the statistics go nowhere */
    fflush(stdout);
    const int saved = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY);
    assert_true(saved >= 0 && nowhere >= 0 && dup2(nowhere, STDOUT_FILENO) == STDOUT_FILENO);
    va_start(list, format);
    const int rc = verb_run(&rec_prep_verb, &error, format, list);
    va_end(list);
    fflush(stdout);
    assert_int_equal(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
    close(saved);
    close(nowhere);
    return rc;
}

/* What prep writes is what reading the text gives, to the byte but for the checksums; and the same for any memory. */
static void files(void **state) {
    (void)state;
    static const char MANY[] = "--min-user 30 --min-item 30 --duplicates last",
                      SORT[] = "--ties item --time-sort recbole_f32";
    static const char *const OPTION[] = {"", MANY, SORT};
    for (int i = 0; i < 3; i++) {
        const char *path = scratch_path("a.log"), *other = scratch_path("b.log");
        size_t n, m;
        assert_int_equal(prep("%s -o %s %s --columns split=-", table, path, OPTION[i]), MB_OK);
        char *a = scratch_read(path, &n);
        for (int memory = 1; memory <= 4000000; memory = memory == 1 ? 1000000 : 2 * memory) {
            if (prep("%s -o %s %s --columns split=- --memory %d --threads %d", table, other, OPTION[i], memory,
                     memory % 3 + 1) != MB_OK)
                fail_msg("%s", error.text);
            char *b = scratch_read(other, &m);
            assert_int_equal(n, m);
            assert_memory_equal(a, b, n);
            free(b);
        }
        rec_load_options o = options_of(i == 2 ? 3 : 0);
        if (i == 1) {
            o.min_user = o.min_item = 30;
            o.duplicates = REC_DUPLICATES_LAST;
        } else {
            o.duplicates = 0;
        }
        rec_log *l = NULL, *mapped = NULL;
        assert_int_equal(rec_log_open(&l, table, &o, &error), MB_OK);
        assert_int_equal(l->block_bytes, n);
        assert_memory_equal((char *)l->block + sizeof(rec_header), a + sizeof(rec_header), n - sizeof(rec_header));
        assert_int_equal(rec_log_open(&mapped, path, NULL, &error), MB_OK);
        assert_memory_equal(rec_log_view(mapped)->item, rec_log_view(l)->item,
                            (size_t)rec_log_view(l)->n_events * sizeof(int32_t));
        assert_string_equal(rec_log_items_digest(mapped), rec_log_items_digest(l));
        assert_string_equal(rec_log_recipe(mapped), rec_log_recipe(l));
        assert_int_equal(rec_log_find_user(mapped, "u0", 2), rec_log_find_user(l, "u0", 2));
        rec_log_close(mapped);
        rec_log_close(l);
        free(a);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
}

static const char *small_log(size_t *n, char **bytes) {
    const char *text =
        scratch_text("small", "user,item,time,rating,aux,split\nann,milk,7,1,a,train\nann,tea,5,1,c,valid\n"
                              "bob,milk,6,2,b,test\n");
    const char *names = scratch_text("names", "item,name\nmilk,Milk\n"), *path = scratch_path("small.log");
    if (prep("%s -o %s --columns aux=aux,split=split --item-names %s", text, path, names) != MB_OK)
        fail_msg("%s", error.text);
    *bytes = scratch_read(path, n);
    assert_non_null(*bytes);
    return path;
}

/* All that can be asked of a log that opened. */
static void use(const rec_log *l) {
    const rec_view *v = rec_log_view(l);
    int64_t sum = 0;
    for (int32_t u = 0; u < v->n_users; u++) {
        const rec_id id = rec_log_user_id(l, u);
        for (int i = 0; i < id.n; i++)
            sum += id.text[i];
        sum += rec_log_find_user(l, id.text, id.n);
        for (int64_t i = v->user_at[u]; i < v->user_at[u + 1]; i++) {
            const rec_id item = rec_log_item_id(l, v->item[i]), name = rec_log_item_name(l, v->item[i]);
            sum += item.text[0] + (name.n ? name.text[name.n - 1] : 0) + rec_log_find_item(l, item.text, item.n);
            sum += v->time ? v->time[i] & 7 : 0;
            sum += v->value ? v->value[i] > 0 : 0;
            sum += v->aux && v->aux[i] ? rec_log_aux_id(l, v->aux[i]).n : 0;
        }
    }
    sum += (int64_t)strlen(rec_log_recipe(l));
    assert_true(sum != INT64_MIN);
}

/* Every byte of a file in turn, changed: refused, or, between the sections, without effect. Without the checksums:
 * refused, or a log that can be used. */
static void damage(void **state) {
    (void)state;
    size_t n;
    char *bytes;
    small_log(&n, &bytes);
    rec_log *l = NULL;
    rec_load_options o = rec_load_defaults();
    const rec_header *h = (const rec_header *)(void *)bytes;
    int passed = 0;
    for (size_t i = 0; i < n; i++) {
        int inside = i < sizeof *h;
        for (int k = 0; k < REC_SECTIONS; k++)
            inside |= i >= h->section[k].at && i < h->section[k].at + h->section[k].bytes;
        for (int bit = 0; bit < 8; bit += 3) {
            bytes[i] = (char)(bytes[i] ^ (1 << bit));
            const char *path = scratch_bytes("damaged.log", bytes, n);
            for (o.verify_log = 0; o.verify_log < 2; o.verify_log++) {
                mb_err_clear(&error);
                o.format = REC_FORMAT_LOG;
                const int rc = rec_log_open(&l, path, &o, &error);
                if (o.verify_log && (rc == MB_OK) == inside)
                    fail_msg("byte %zu, bit %d: %d %s", i, bit, rc, error.text);
                if (rc != MB_OK && rc != MB_FORMAT && rc != MB_NOTSUP)
                    fail_msg("byte %zu, bit %d: %d %s", i, bit, rc, error.text);
                if (rc == MB_OK)
                    use(l);
                passed += rc == MB_OK && inside;
                rec_log_close(l);
                l = NULL;
            }
            bytes[i] = (char)(bytes[i] ^ (1 << bit));
        }
    }
    assert_true(passed > 0); /* a letter of an identifier: only the checksum knows */
    for (size_t cut = 0; cut < n; cut += 1 + cut / 40) {
        mb_err_clear(&error);
        assert_int_equal(rec_log_open(&l, scratch_bytes("cut.log", bytes, cut), &o, &error), MB_FORMAT);
    }
    bytes = realloc(bytes, n + 1);
    assert_non_null(bytes);
    bytes[n] = 0;
    mb_err_clear(&error);
    assert_int_equal(rec_log_open(&l, scratch_bytes("long.log", bytes, n + 1), NULL, &error), MB_FORMAT);
    assert_non_null(strstr(error.text, "cut short or added to"));
    free(bytes);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* Wrong numbers under right checksums. */
static void lies(void **state) {
    (void)state;
    size_t n;
    char *bytes;
    small_log(&n, &bytes);
    static const struct {
        int section, at, bytes;
        int64_t value;
    } LIE[] = {{REC_SEC_ITEM, 0, 4, 3},          {REC_SEC_ITEM, 1, 4, 0},    {REC_SEC_ITEM, 2, 4, -1},
               {REC_SEC_AUX, 0, 4, 4},           {REC_SEC_AUX, 0, 4, -1},    {REC_SEC_USER_AT, 0, 8, 1},
               {REC_SEC_USER_AT, 1, 8, 3},       {REC_SEC_USER_AT, 1, 8, 0}, {REC_SEC_USER_AT, 1, 8, INT64_MIN},
               {REC_SEC_USER_AT, 2, 8, 4},       {REC_SEC_USER_ID, 1, 8, 7}, {REC_SEC_USER_ID, 1, 8, -1},
               {REC_SEC_ITEM_ID, 2, 8, 6},       {REC_SEC_AUX_ID, 1, 8, 0},  {REC_SEC_NAME, 1, 8, 5},
               {REC_SEC_VALID, 0, 8, 3},         {REC_SEC_TEST, 0, 8, 0},    {REC_SEC_VALUE, 0, 4, 0x7fc00000},
               {REC_SEC_VALUE, 1, 4, 0x7f800000}};
    for (size_t i = 0; i < sizeof LIE / sizeof *LIE; i++) {
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, bytes, n);
        rec_header *h = (rec_header *)(void *)copy;
        const int32_t narrow = (int32_t)LIE[i].value;
        memcpy(copy + h->section[LIE[i].section].at + LIE[i].at * LIE[i].bytes,
               LIE[i].bytes == 8 ? (const void *)&LIE[i].value : &narrow, (size_t)LIE[i].bytes);
        rec_image_seal(h, copy);
        rec_log *l = NULL;
        mb_err_clear(&error);
        const int rc = rec_log_open(&l, scratch_bytes("lie.log", copy, n), NULL, &error);
        if (rc != MB_FORMAT)
            fail_msg("lie %zu: %d %s", i, rc, error.text);
        free(copy);
    }
    /* An index that leads nowhere finds nothing, and ends. */
    rec_header *h = (rec_header *)(void *)bytes;
    for (int k = 0; k < 8; k++)
        ((uint64_t *)(void *)(bytes + h->section[REC_SEC_USER_ID + 2].at))[k] = UINT64_MAX - (unsigned)k;
    rec_image_seal(h, bytes);
    rec_log *l = NULL;
    mb_err_clear(&error);
    assert_int_equal(rec_log_open(&l, scratch_bytes("lie.log", bytes, n), NULL, &error), MB_OK);
    assert_int_equal(rec_log_find_user(l, "ann", 3), -1);
    rec_log_close(l);
    free(bytes);
}

static void refuses(void **state) {
    (void)state;
    size_t n;
    char *bytes;
    const char *log = small_log(&n, &bytes), *out = scratch_path("refused.log");
    free(bytes);
    static const struct {
        const char *options, *words;
        int rc;
    } BAD[] = {{"%s", "-o LOG", MB_USAGE},
               {"%s -o -", "must be a regular file", MB_USAGE},
               {"%s -o /dev/null", "must be a regular file", MB_USAGE},
               {"%s -o %s --min-value x", "--min-value x: is no number", MB_USAGE},
               {"%s -o %s --min-value 100", "the filters leave no event", MB_FORMAT},
               {"%s -o %s --min-user 100000", "the filters leave no event", MB_FORMAT},
               {"%s -o %s --time-from soon", "--time-from soon: is no number", MB_USAGE},
               {"%s -o %s --columns value=- --min-value 1", "the input has no values", MB_USAGE},
               {"%s -o %s --columns time=- --time-to 1", "the input has no times", MB_USAGE},
               {"%s -o %s --split time", "--test-from TIME", MB_USAGE},
               {"%s -o %s --split given --columns split=-", "the input gives none", MB_USAGE},
               {"%s -o %s --test-from 5", "go with --split time", MB_USAGE},
               {"%s -o %s/no/such/folder", "", MB_IO}};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        const int rc = prep(BAD[i].options, table, out);
        if (rc != BAD[i].rc || !strstr(error.text, BAD[i].words))
            fail_msg("%zu: %d %s", i, rc, error.text);
        assert_int_equal(scratch_size(out), -1);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
    assert_int_equal(prep("%s -o %s", table, table), MB_USAGE);
    assert_non_null(strstr(error.text, "is an input too"));
    assert_int_equal(prep("%s -o %s --min-user 5", log, out), MB_USAGE);
    rec_log *l = NULL;
    rec_load_options o = rec_load_defaults();
    o.min_user = 5;
    mb_err_clear(&error);
    assert_int_equal(rec_log_open(&l, log, &o, &error), MB_USAGE);
    assert_non_null(strstr(error.text, "give --min-user to prep"));
    char *const two[] = {(char *)(uintptr_t)log, (char *)(uintptr_t)table};
    mb_err_clear(&error);
    assert_int_equal(rec_log_load(&l, two, 2, NULL, &error), MB_USAGE);
    setenv("TMPDIR", "/no/such/folder", 1);
    assert_int_equal(prep("%s -o %s --memory 1", table, out), MB_IO);
    assert_non_null(strstr(error.text, "/no/such/folder"));
    unsetenv("TMPDIR");
    assert_int_equal(scratch_size(out), -1);
}

/* Every allocation, and a disk that is full at some byte: an error, nothing left, what stood there stays. */
static void failures(void **state) {
    (void)state;
    char *text = malloc(20 * 9000), *p = text;
    assert_non_null(text);
    p += sprintf(p, "user,item,time,aux\n");
    for (int i = 0; i < 9000; i++) /* three runs at --memory 1 */
        p += sprintf(p, "u%d,i%d,%d,a%d\n", i % 7, i % 11, 9000 - i, i % 3);
    const char *in = scratch_text("in", text), *out = scratch_path("failed.log");
    free(text);
    long survived = 0, n = 1;
    for (int fired = 1; fired; n++) { /* one failure may be survived: the progress line's */
        rec_load_options o = rec_load_defaults();
        rec_sink k = {0};
        o.memory = 1;
        o.min_user = o.min_item = 2;
        o.duplicates = REC_DUPLICATES_LAST;
        o.columns = (char *)(uintptr_t) "aux=aux";
        char *const inputs[] = {(char *)(uintptr_t)in};
        mb_err_clear(&error);
        mb_mem_fail_nth(n, 0);
        int rc = mb_out_create(&k.out, out, &error);
        if (rc == MB_OK)
            rc = rec_load(&k, inputs, 1, &o, NULL, &error);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        survived += fired && rc == MB_OK;
        assert_int_equal(rc, fired && rc ? MB_NOMEM : MB_OK);
        mb_out_abort(k.out);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
    assert_int_equal(survived, 1);
    assert_in_range(n, 30, 200);
    n = 1;
    for (int fired = 1; fired; n += 1 + n / 16) { /* the whole verb, which puts files in place: that takes its time */
        remove(out);
        mb_mem_fail_nth(n, 0);
        const int rc = prep("%s -o %s --memory 1 --min-user 2 --duplicates first", in, out);
        fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        /* The record is written when the log is in its place. */
        if (rc != MB_OK && (rc != MB_NOMEM || (scratch_size(out) >= 0 && !strstr(error.text, "run.json"))))
            fail_msg("allocation %ld: %d %s", n, rc, error.text);
        assert_int_equal(mb_mem_live_blocks(), 0);
    }
    assert_in_range(n, 60, 500);
    const long size = scratch_size(out);
    struct rlimit old, less;
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    for (int memory = 1; memory <= 100000000; memory += 99999999)
        for (long room = 1; room < size; room += size / 17) {
            less = (struct rlimit){(rlim_t)room, old.rlim_max};
            scratch_text("failed.log", "earlier");
            setrlimit(RLIMIT_FSIZE, &less);
            const int rc = prep("%s -o %s --memory %d --min-user 2 --duplicates first", in, out, memory);
            setrlimit(RLIMIT_FSIZE, &old);
            assert_int_equal(rc, MB_IO);
            assert_int_equal(scratch_size(out), 7);
            assert_int_equal(mb_mem_live_blocks(), 0);
        }
}

static int begin(void **state) {
    (void)state;
    mb_log_set_level(MB_LOG_QUIET);
    make_events();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_slow_way), cmocka_unit_test(random_ties),
                                       cmocka_unit_test(compares_ids),    cmocka_unit_test(files),
                                       cmocka_unit_test(damage),          cmocka_unit_test(lies),
                                       cmocka_unit_test(refuses),         cmocka_unit_test(failures)};
    return cmocka_run_group_tests(tests, begin, NULL);
}
