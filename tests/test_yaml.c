/* The YAML reader: what it understands, with places; what it refuses, with places; hostile files cost little; no
 * allocation that fails leaves anything behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/yaml.h"
#include "tests/scratch.h"

/* libyaml's own allocator, which it calls through the dynamic linker: ours stands before it, so that its allocations
 * can fail too and are counted. */
void *yaml_malloc(size_t n);
void *yaml_realloc(void *p, size_t n);
void yaml_free(void *p);
char *yaml_strdup(const char *text);
static int library_allocations;

void *yaml_malloc(size_t n) {
    library_allocations++;
    return mb_malloc(n);
}

void *yaml_realloc(void *p, size_t n) {
    library_allocations++;
    return mb_realloc(p, n);
}

void yaml_free(void *p) {
    mb_free(p);
}

char *yaml_strdup(const char *text) {
    return text ? mb_strdup(text) : NULL;
}

/* The tree on one line: {a:1,b:[x,"y"]}; quoted scalars in quotes, substituted ones with '$', null as ~.
 * NOLINTNEXTLINE(misc-no-recursion): no deeper than the reader allows */
static void print(const mb_yaml_node *n, char *out, size_t room) {
    size_t at = strlen(out);
    if (!n) {
        snprintf(out + at, room - at, "(none)");
        return;
    }
    if (n->kind == MB_YAML_SCALAR) {
        const char *q = n->quoted ? "\"" : "";
        snprintf(out + at, room - at, "%s%s%s%s", n->substituted ? "$" : "", q, mb_yaml_is_null(n) ? "~" : n->text, q);
        return;
    }
    int map = n->kind == MB_YAML_MAP;
    snprintf(out + at, room - at, "%s", map ? "{" : "[");
    for (int i = 0; i < n->count; i++) {
        if (i)
            snprintf(out + strlen(out), room - strlen(out), ",");
        print(n->child[map ? 2 * i : i], out, room);
        if (map) {
            snprintf(out + strlen(out), room - strlen(out), ":");
            print(n->child[2 * i + 1], out, room);
        }
    }
    snprintf(out + strlen(out), room - strlen(out), "%s", map ? "}" : "]");
}

static void reads_as(const char *text, const char *tree) {
    mb_yaml *y;
    mb_err e = {0};
    char have[4096] = "";
    int rc = mb_yaml_parse(&y, "t.yaml", text, strlen(text), &e);
    if (rc)
        fail_msg("%s", e.text);
    print(mb_yaml_root(y), have, sizeof have);
    assert_string_equal(have, tree);
    assert_int_equal(mb_yaml_end_errors(y, &e), MB_OK);
    assert_int_equal(e.status, MB_OK);
    mb_yaml_free(y);
    assert_int_equal(mb_mem_live_blocks(), 0);
}

/* The whole of what is told; parse, then close as every reader must. */
static int refusal(const char *text, size_t n, mb_err *e) {
    mb_yaml *y = NULL;
    int rc = mb_yaml_parse(&y, "t.yaml", text, n, e);
    if (rc == MB_OK)
        rc = mb_yaml_end_errors(y, e);
    else
        assert_null(y);
    mb_yaml_free(y);
    assert_int_equal(mb_mem_live_blocks(), 0);
    return rc;
}

static void refused_n(const char *text, size_t n, const char *first_line) {
    mb_err e = {0};
    assert_int_equal(refusal(text, n, &e), MB_USAGE);
    assert_int_equal(e.status, MB_USAGE);
    char *end = strchr(e.text, '\n');
    if (end)
        *end = '\0';
    assert_string_equal(e.text, first_line);
}

static void refused(const char *text, const char *first_line) {
    refused_n(text, strlen(text), first_line);
}

static void plain_files_are_read(void **state) {
    (void)state;
    reads_as("", "(none)");
    reads_as("# nothing\n", "(none)");
    reads_as("---\n", "~");
    reads_as("a: 1\nb: [x, \"y\", 'z']\nc: {d: ~, e: }\n", "{a:1,b:[x,\"y\",\"z\"],c:{d:~,e:~}}");
    reads_as("a: |\n  two\n  lines\nb: >\n  folded\n  text\n", "{a:\"two\nlines\n\",b:\"folded text\n\"}");
    reads_as("- 1\n-\n  - 2\n  - {}\n- []\n", "[1,[2,{}],[]]");
    reads_as("a: \"null\"\nb: null\nc: Null\nd: NULL\ne: nil\n", "{a:\"null\",b:~,c:~,d:~,e:nil}");
    reads_as("no: yes\n010: 1:30\n", "{no:yes,010:1:30}"); /* text, whatever YAML 1.1 thought of it */
    reads_as("\xEF\xBB\xBF"
             "a: b\r\nc: d\r\n",
             "{a:b,c:d}");
    reads_as("---\na: b\n...\n", "{a:b}");
    reads_as("%YAML 1.2\n---\na: b\n", "{a:b}");
    reads_as("schl\xC3\xBCssel: \xF0\x9F\xA7\xAC\n", "{schl\xC3\xBCssel:\xF0\x9F\xA7\xAC}");
    reads_as("\"quoted key\": \"\\u00e9\\t\\\"\"\n", "{\"quoted key\":\"\xC3\xA9\t\"\"}");
}

static void places_are_known(void **state) {
    (void)state;
    mb_yaml *y;
    mb_err e = {0};
    const char *text = "# c\na: 1\n\xC3\xA9\xC3\xA9: [x,\n  yy]\nz:\n  k: v\n";
    assert_int_equal(mb_yaml_parse(&y, "t", text, strlen(text), &e), MB_OK);
    const mb_yaml_node *r = mb_yaml_root(y), *list = mb_yaml_get(r, "\xC3\xA9\xC3\xA9"), *z = mb_yaml_get(r, "z");
    assert_int_equal(r->line, 2);
    assert_int_equal(r->column, 1);
    assert_int_equal(list->line, 3);
    assert_int_equal(list->column, 5); /* characters, not bytes */
    assert_int_equal(list->child[1]->line, 4);
    assert_int_equal(list->child[1]->column, 3);
    assert_int_equal(mb_yaml_get(z, "k")->line, 6);
    assert_null(mb_yaml_get(r, "absent"));
    assert_null(mb_yaml_get(list, "x"));
    assert_null(mb_yaml_get(NULL, "x"));
    assert_int_equal(mb_yaml_end_errors(y, &e), MB_OK);
    mb_yaml_free(y);
    mb_yaml_free(NULL);
}

static void aliases_repeat_with_their_own_place(void **state) {
    (void)state;
    mb_yaml *y;
    mb_err e = {0};
    const char *text = "a: &x {k: [1, 2]}\nb: *x\nc: &s text\nd: [*s, *x]\n";
    reads_as(text, "{a:{k:[1,2]},b:{k:[1,2]},c:text,d:[text,{k:[1,2]}]}");
    assert_int_equal(mb_yaml_parse(&y, "t", text, strlen(text), &e), MB_OK);
    const mb_yaml_node *b = mb_yaml_get(mb_yaml_root(y), "b");
    assert_int_equal(b->line, 2);
    assert_int_equal(b->column, 4);
    assert_int_equal(mb_yaml_get(b, "k")->line, 1);
    assert_int_equal(mb_yaml_end_errors(y, &e), MB_OK);
    mb_yaml_free(y);
}

static void structure_that_misleads_is_refused(void **state) {
    (void)state;
    refused("a: 1\nb: 2\na: 3\n", "t.yaml:3:1: error: the key \"a\" was given before, at line 1, column 1");
    refused("x: {b: 2, c: 1, \"b\": 3}\n", "t.yaml:1:17: error: the key \"b\" was given before, at line 1, column 5");
    refused("a: &k 1\nb: &k 2\n", "t.yaml:2:4: error: the anchor &k was given before, at line 1, column 4");
    refused("a: *k\n", "t.yaml:1:4: error: the alias *k names no anchor above it");
    refused("a: *k\nb: &k 1\n", "t.yaml:1:4: error: the alias *k names no anchor above it");
    refused("a: &k [1, *k]\n", "t.yaml:1:11: error: the alias *k stands inside what it names");
    refused("&k {a: {b: *k}}\n", "t.yaml:1:12: error: the alias *k stands inside what it names");
    refused("a: &k x\n*k : y\n", "t.yaml:2:1: error: the alias *k as a key; a key must be plain text");
    refused("a: !!int 1\n",
            "t.yaml:1:4: error: the tag tag:yaml.org,2002:int: tags are not read here, the program knows the "
            "type of each value");
    refused("a: !!python/object:os.system [x]\n",
            "t.yaml:1:4: error: the tag tag:yaml.org,2002:python/object:os.system: tags "
            "are not read here, the program knows the type of each value");
    refused("a: {b: 1}\n<<: {c: 2}\n", "t.yaml:2:1: error: merge keys (<<) are not read; write the values out");
    refused("a: 1\n---\nb: 2\n", "t.yaml:2:1: error: a second document begins here; a file holds one");
    refused("? [a]\n: b\n", "t.yaml:1:3: error: a key must be plain text, not a list or a map");
    refused("{a: 1}: b\n", "t.yaml:1:1: error: a key must be plain text, not a list or a map");
}

static void what_is_no_yaml_is_explained(void **state) {
    (void)state;
    refused("a:\n\tb: 1\n", "t.yaml:2:1: error: a tab is used for indentation; YAML takes spaces only");
    refused("a: b: c\n",
            "t.yaml:1:5: error: a second \": \" on one line, or a line indented deeper than its neighbours; put a "
            "value that holds \": \" in quotes");
    refused("a: 1\n  b: 2\n",
            "t.yaml:2:4: error: a second \": \" on one line, or a line indented deeper than its neighbours; "
            "put a value that holds \": \" in quotes");
    refused("a: \"open\nb: 1\n",
            "t.yaml:3:1: error: the file ends inside a quoted value; a closing quote is missing (in what "
            "begins at line 1, column 4)");
    refused("a: [1, 2\nb: 3\n",
            "t.yaml:2:2: error: did not find expected ',' or ']' (in what begins at line 1, column 4)");
    refused("a: @x\n", "t.yaml:1:4: error: a value cannot begin with this character; put it in quotes");
    refused("a: 1\nb\n", "t.yaml:3:1: error: a key without \":\" after it; write key: value");
    refused("%YAML 3.0\n---\na: 1\n", "t.yaml:1:1: error: only YAML 1.1 and 1.2 are read");
    refused("a: 1\n- b\n",
            "t.yaml:2:1: error: this line does not fit the indentation above it, or a quote or bracket is left "
            "open");
}

static void what_is_no_text_is_refused(void **state) {
    (void)state;
    refused("a: \xFF\n", "t.yaml:1:4: error: byte 0xFF is not UTF-8; save the file as UTF-8");
    refused("a: b\nc: \xC3\n", "t.yaml:2:4: error: byte 0xC3 is not UTF-8; save the file as UTF-8");
    refused("a: \xC0\x80\n", "t.yaml:1:4: error: byte 0xC0 is not UTF-8; save the file as UTF-8");     /* overlong */
    refused("a: \xE0\x80\x80\n", "t.yaml:1:4: error: byte 0xE0 is not UTF-8; save the file as UTF-8"); /* overlong */
    refused("a: \xED\xA0\x80\n", "t.yaml:1:4: error: byte 0xED is not UTF-8; save the file as UTF-8"); /* surrogate */
    refused("a: \xF5\x80\x80\x80\n",
            "t.yaml:1:4: error: byte 0xF5 is not UTF-8; save the file as UTF-8");                /* too large */
    refused("a: \xE2\x82", "t.yaml:1:4: error: byte 0xE2 is not UTF-8; save the file as UTF-8"); /* cut */
    refused("a: \001\n", "t.yaml:1:4: error: the control character U+0001; remove it");
    refused("a: \xC2\x80\n", "t.yaml:1:4: error: the control character U+0080; remove it");
    refused_n("aaaa: b\n\0c: d\n", 14, "t.yaml:2:1: error: a NUL character; the file is no text");
    refused_n("a\0:\0 \0b\0", 8, "t.yaml:1:2: error: a NUL character; if the file is UTF-16, save it as UTF-8");
    refused_n("\xFF\xFE"
              "a\0",
              4, "t.yaml:1:1: error: the file is UTF-16; save it as UTF-8");
    refused("a: \"x\\0y\"\n", "t.yaml:1:4: error: a NUL character (\\0) inside a value");
}

static void all_errors_of_a_file_are_told(void **state) {
    (void)state;
    mb_err e = {0};
    assert_int_equal(refusal("a: 1\na: *q\n\nb: !t 2\n", 20, &e), MB_USAGE);
    assert_string_equal(
        e.text, "t.yaml:2:4: error: the alias *q names no anchor above it\n"
                "    2 | a: *q\n"
                "      |    ^\n"
                "t.yaml:4:4: error: the tag !t: tags are not read here, the program knows the type of each value\n"
                "    4 | b: !t 2\n"
                "      |    ^\n"
                "t.yaml:2:1: error: the key \"a\" was given before, at line 1, column 1\n"
                "    2 | a: *q\n"
                "      | ^");
}

static void the_twenty_first_error_is_counted(void **state) {
    (void)state;
    mb_err e = {0};
    char text[2000] = "";
    for (int i = 0; i < 33; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "k%d: *none\n", i);
    assert_int_equal(refusal(text, strlen(text), &e), MB_USAGE);
    assert_non_null(strstr(e.text, "t.yaml:20:"));
    assert_null(strstr(e.text, "t.yaml:21:"));
    const char *tail = "\nand: 13 more errors";
    assert_string_equal(e.text + strlen(e.text) - strlen(tail), tail);
}

/* Errors with long lines fill the report: whole ones are told, the rest counted, and a caller without mb_err is served.
 */
static void a_full_report_stays_whole(void **state) {
    (void)state;
    mb_err e = {0};
    static char text[40000];
    for (int i = 0; i < 20; i++) {
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "k%d: [", i);
        memset(text + strlen(text), 'y', 400);
        strcat(text, ", *");
        memset(text + strlen(text), 'x', 700);
        strcat(text, "]\n");
    }
    assert_int_equal(refusal(text, strlen(text), &e), MB_USAGE);
    assert_true(strlen(e.text) < MB_ERR_TEXT);
    assert_non_null(strstr(e.text, "\nand: "));
    assert_int_equal(refusal(text, strlen(text), NULL), MB_USAGE);
}

static void long_lines_are_windowed(void **state) {
    (void)state;
    mb_err e = {0};
    char text[1200];
    memset(text, 'a', sizeof text);
    memcpy(text, "k: [", 4);
    memcpy(text + 600, ", *gone, ", 9);
    memcpy(text + 1100, "]\n", 3);
    assert_int_equal(refusal(text, strlen(text), &e), MB_USAGE);
    char *line = strchr(e.text, '\n') + 1, *caret = strchr(line, '\n') + 1;
    assert_in_range(caret - line, 60, 120);
    assert_int_equal(line[strcspn(caret, "^")], '*');
}

static void carets_count_characters(void **state) {
    (void)state;
    mb_err e = {0};
    const char *text = "\xC3\xA4\xE2\x82\xAC: *x\n";
    assert_int_equal(refusal(text, strlen(text), &e), MB_USAGE);
    assert_non_null(strstr(e.text, "    1 | \xC3\xA4\xE2\x82\xAC: *x\n      |     ^"));
}

/* ---- limits -------------------------------------------------------------------------------------------------------*/
static char *repeat(const char *part, int n, const char *tail) {
    size_t len = strlen(part);
    char *text = malloc(len * (size_t)n + strlen(tail) + 1);
    for (int i = 0; i < n; i++)
        memcpy(text + len * (size_t)i, part, len);
    strcpy(text + len * (size_t)n, tail);
    return text;
}

/* Refused, and quickly: the limit is what stops it. libyaml alone takes seconds for the deep ones. */
static void refused_soon(char *text, const char *words) {
    mb_err e = {0};
    double start = mb_clock_seconds();
    assert_int_equal(refusal(text, strlen(text), &e), MB_USAGE);
    assert_true(mb_clock_seconds() - start < 2);
    if (!strstr(e.text, words))
        fail_msg("not \"%s\" in: %.300s", words, e.text);
    free(text);
}

static void depth_is_limited(void **state) {
    (void)state;
    char deepest[129] = "";
    memset(deepest, '[', 64);
    memset(deepest + 64, ']', 64);
    reads_as(deepest, deepest);
    refused_soon(repeat("[", 65, "]"), "t.yaml:1:65: error: nested more than 64 levels deep");
    refused_soon(repeat("[", 60000, ""), "nested more than 64 levels deep");
    refused_soon(repeat("[\n", 60000, ""), "nested more than 64 levels deep");
    refused_soon(repeat("- ", 60000, ""), "nested more than 64 levels deep");
    refused_soon(repeat("{a: ", 60000, ""), "nested more than 64 levels deep");
    refused_soon(repeat("{", 60000, ""), "a key must be plain text");
    refused_soon(repeat("? ", 60000, ""), "a key must be plain text");
    refused_soon(repeat("[{a: ", 300000 / 5, "}"), "nested more than 64 levels deep");
    /* by alias: 40 levels under 30 */
    char *text = malloc(1000);
    strcpy(text, "a: &x ");
    memset(text + 6, '[', 40);
    memset(text + 46, ']', 40);
    strcpy(text + 86, "\nb: ");
    memset(text + 90, '[', 30);
    strcpy(text + 120, "*x");
    memset(text + 122, ']', 30);
    text[152] = '\0';
    refused_soon(text, "t.yaml:2:34: error: nested more than 64 levels deep");
}

static void size_is_limited(void **state) {
    (void)state;
    enum { MIB = 1 << 20 };
    mb_err e = {0};
    char *text = repeat("#", MIB + 1, "");
    assert_int_equal(refusal(text, MIB, &e), MB_OK);
    assert_int_equal(refusal(text, MIB + 1, &e), MB_USAGE);
    assert_string_equal(e.text, "t.yaml: is larger than 1048576 bytes, the most a configuration may have");
    mb_yaml *y;
    mb_err_clear(&e);
    assert_int_equal(mb_yaml_read(&y, scratch_bytes("big.yaml", text, MIB + 1), &e), MB_USAGE);
    free(text);
    refused_soon(repeat("- a\n", 100001, ""), "more than 100000 values");
    refused_soon(repeat("? a\n", 100001, ""), "more than 100000 values");
    char *many = repeat("- a\n", 99999, ""); /* and the list itself */
    mb_err_clear(&e);
    assert_int_equal(refusal(many, strlen(many), &e), MB_OK);
    free(many);
}

static void many_keys_cost_no_square(void **state) {
    (void)state;
    char *text = malloc(900000), *at = text;
    for (int i = 0; i < 49999; i++)
        at += sprintf(at, "key%d: 1\n", i * 7919 % 49999);
    double start = mb_clock_seconds();
    mb_err e = {0};
    assert_int_equal(refusal(text, strlen(text), &e), MB_OK);
    sprintf(at, "key123: 1\n");
    assert_int_equal(refusal(text, strlen(text), &e), MB_USAGE);
    assert_true(mb_clock_seconds() - start < 4);
    free(text);
}

static void repetition_is_limited(void **state) {
    (void)state;
    char *bomb = malloc(4000), *at = bomb; /* nine to the twentieth */
    at += sprintf(at, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 20; i++) {
        at += sprintf(at, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            at += sprintf(at, "*a%d%s", i - 1, k < 8 ? "," : "]\n");
    }
    refused_soon(bomb, "aliases repeat more than 10000 values");
    char *anchors = malloc(10000);
    at = anchors;
    for (int i = 0; i < 256; i++)
        at += sprintf(at, "k%d: &a%d 1\n", i, i);
    mb_err e = {0};
    assert_int_equal(refusal(anchors, strlen(anchors), &e), MB_OK);
    sprintf(at, "k: &a 1\n");
    refused_soon(anchors, "t.yaml:257:4: error: more than 256 anchors");
    char *flat = repeat("- *a\n", 10001, "");
    char *text = malloc(strlen(flat) + 20);
    sprintf(text, "- &a 1\n%s", flat);
    free(flat);
    refused_soon(text, "aliases repeat more than 10000 values");
}

/* ---- substitution -------------------------------------------------------------------------------------------------*/
static void values_come_from_the_environment(void **state) {
    (void)state;
    setenv("MB_T1", "one", 1);
    setenv("MB_EMPTY", "", 1);
    setenv("MB_EVIL", "x\n- injected: [", 1);
    unsetenv("MB_NONE");
    reads_as("a: ${env:MB_T1}\n", "{a:$one}");
    reads_as("a: x${env:MB_T1}y${env:MB_T1}\n", "{a:$xoneyone}");
    reads_as("a: \"${env:MB_T1}\"\n", "{a:$\"one\"}");
    reads_as("a: ${env:MB_NONE:-other}\n", "{a:$other}");
    reads_as("a: ${env:MB_EMPTY:-other}\n", "{a:$other}");
    reads_as("a: ${env:MB_T1:-other}\n", "{a:$one}");
    reads_as("a: ${env:MB_T1:?why}\n", "{a:$one}");
    reads_as("a: ${env:MB_EMPTY}\n", "{a:$}"); /* set, and empty: text, not null */
    reads_as("a: ${env:MB_NONE:-}\n", "{a:$}");
    reads_as("a: $$ $${env:X} $5 5$\n", "{a:$$ ${env:X} $5 5$}");
    reads_as("- ${env:MB_T1}\n- [\"$$\"]\n", "[$one,[$\"$\"]]");
    reads_as("a: ${env:MB_EVIL}\n", "{a:$x\n- injected: [}"); /* text stays text */
    reads_as("${env:MB_T1}: 1\n", "{${env:MB_T1}:1}");        /* keys are as written */
    reads_as("a: &x ${env:MB_T1}\nb: *x\n", "{a:$one,b:$one}");
}

static void wrong_substitutions_are_told(void **state) {
    (void)state;
    unsetenv("MB_NONE");
    setenv("MB_EMPTY", "", 1);
    refused("k:\n  - ${env:MB_NONE}\n",
            "t.yaml:2:5: error: the environment variable MB_NONE is not set; set it or write "
            "${env:MB_NONE:-default}");
    refused("a: ${env:MB_NONE:?give the folder}\n",
            "t.yaml:1:4: error: the environment variable MB_NONE is not set: give the folder");
    refused("a: ${env:MB_EMPTY:?give the folder}\n",
            "t.yaml:1:4: error: the environment variable MB_EMPTY is not set: give the folder");
    refused("a: ${HOME}\n",
            "t.yaml:1:4: error: ${HOME} is no substitution known here; there is ${env:NAME}, and $$ for a plain $");
    refused("a: ${env:}\n",
            "t.yaml:1:4: error: ${env:}: write ${env:NAME}, ${env:NAME:-default} or ${env:NAME:?message}");
    refused("a: ${env:1X}\n",
            "t.yaml:1:4: error: ${env:1X}: write ${env:NAME}, ${env:NAME:-default} or ${env:NAME:?message}");
    refused("a: ${env:X-y}\n",
            "t.yaml:1:4: error: ${env:X-y}: write ${env:NAME}, ${env:NAME:-default} or ${env:NAME:?message}");
    refused("a: ${env:X\n", "t.yaml:1:4: error: \"${\" without \"}\"; write $${ for the characters themselves");
}

static void substitution_is_limited(void **state) {
    (void)state;
    char *large = repeat("x", 40000, "");
    setenv("MB_LARGE", large, 1);
    free(large);
    refused_soon(repeat("${env:MB_LARGE}", 2, ""), "longer than 65536 bytes");
    refused_soon(repeat("- ${env:MB_LARGE}\n", 200, ""), "values grow beyond 4194304 bytes");
    unsetenv("MB_LARGE");
}

/* ---- files, memory ------------------------------------------------------------------------------------------------*/
static void files_are_read_by_name(void **state) {
    (void)state;
    mb_yaml *y;
    mb_err e = {0};
    const char *path = scratch_text("run.yaml", "a: [1\n");
    assert_int_equal(mb_yaml_read(&y, path, &e), MB_USAGE);
    assert_memory_equal(e.text, path, strlen(path));
    assert_memory_equal(e.text + strlen(path), ":2:1: error: ", 13);
    mb_err_clear(&e);
    assert_int_equal(mb_yaml_read(&y, scratch_path("absent.yaml"), &e), MB_USAGE);
    assert_non_null(strstr(e.text, "No such file"));
    mb_err_clear(&e);
    assert_int_equal(mb_yaml_read(&y, scratch_dir(), &e), MB_USAGE);
    mb_err_clear(&e);
    assert_int_equal(mb_yaml_read(&y, scratch_text("good.yaml", "a: 1\n"), &e), MB_OK);
    assert_string_equal(mb_yaml_get(mb_yaml_root(y), "a")->text, "1");
    assert_int_equal(mb_yaml_end_errors(y, &e), MB_OK);
    mb_yaml_free(y);
    assert_true(strlen(mb_yaml_library()) >= 3);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static char text[40000];
    strcpy(text, "a: &x {k: [1, \"${env:MB_T1}\"]}\nb: *x\nlist:\n");
    for (int i = 0; i < 300; i++)
        snprintf(text + strlen(text), 32, "  - item%d\n", i);
    setenv("MB_T1", "one", 1);
    for (int sticky = 0; sticky < 2; sticky++) {
        int fired = 1, n = 1;
        for (; fired; n++) {
            mb_err e = {0};
            mb_mem_fail_nth(n, sticky);
            int rc = refusal(text, strlen(text), &e);
            fired = mb_mem_fault_fired();
            mb_mem_fail_nth(0, 0);
            assert_int_equal(rc, fired ? MB_NOMEM : MB_OK);
            assert_int_equal(e.status, rc);
            assert_int_equal(fired, strstr(e.text, "out of memory") != NULL);
            assert_int_equal(mb_mem_live_blocks(), 0);
        }
        assert_in_range(n, 10, 20000);
    }
    if (!library_allocations)
        print_message("SKIP: this libyaml keeps its allocator to itself; only ours was made to fail\n");
}

/* Any beginning of a good file is read or refused, never worse. */
static void cut_files_are_survived(void **state) {
    (void)state;
    const char *text = "# comment\nversion: 1\na: &x {k: [1, \"t\\u00e9\", 'q''q'], m: |\n    block\n  }\nb: *x\n"
                       "c: ${env:HOME:-none}\nd:\n  - >-\n    folded\n  - ? k\n    : v\n...\n";
    for (size_t n = 0; n <= strlen(text); n++) {
        mb_err e = {0};
        int rc = refusal(text, n, &e);
        assert_true(rc == MB_OK || rc == MB_USAGE);
        assert_int_equal(e.status, rc);
        assert_int_equal(rc == MB_OK, *e.text == '\0');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_files_are_read),
        cmocka_unit_test(places_are_known),
        cmocka_unit_test(aliases_repeat_with_their_own_place),
        cmocka_unit_test(structure_that_misleads_is_refused),
        cmocka_unit_test(what_is_no_yaml_is_explained),
        cmocka_unit_test(what_is_no_text_is_refused),
        cmocka_unit_test(all_errors_of_a_file_are_told),
        cmocka_unit_test(the_twenty_first_error_is_counted),
        cmocka_unit_test(a_full_report_stays_whole),
        cmocka_unit_test(long_lines_are_windowed),
        cmocka_unit_test(carets_count_characters),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(size_is_limited),
        cmocka_unit_test(many_keys_cost_no_square),
        cmocka_unit_test(repetition_is_limited),
        cmocka_unit_test(values_come_from_the_environment),
        cmocka_unit_test(wrong_substitutions_are_told),
        cmocka_unit_test(substitution_is_limited),
        cmocka_unit_test(files_are_read_by_name),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(cut_files_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
