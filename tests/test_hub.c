/* Model names in a Hugging Face cache made for the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/mem.h"
#include "core/weights.h"
#include "tests/tree.h"

#define C1 "d89eeb853136ea64da7feb3d0c8e909771b17ae6"
#define C2 "9865108985311772704c2ece0bac082153a6167b"

static void no_variables(void) {
    static const char *const names[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};
    for (int i = 0; i < 5; i++)
        unsetenv(names[i]);
}

/* cache/models--ORG--NAME with a snapshot of a whole model */
static void make_model(const char *cache, const char *repo, const char *commit) {
    tree_text(tree("%s/models--%s/snapshots/%s/config.json", cache, repo, commit), "{}");
    tree_text(tree("%s/models--%s/snapshots/%s/model.safetensors", cache, repo, commit), "");
}

static void found(const char *model, const char *end) {
    mb_err e = {0};
    char *dir = NULL;
    long before = mb_mem_live_blocks();
    if (mb_hub_resolve(model, &dir, &e) != MB_OK)
        fail_msg("%s", e.text);
    size_t n = strlen(dir), m = strlen(end);
    if (n < m || strcmp(dir + n - m, end) != 0)
        fail_msg("%s was found as %s, not %s", model, dir, end);
    mb_free(dir);
    assert_int_equal(mb_mem_live_blocks(), before);
}

static void absent(const char *model, int status, const char *words, const char *more) {
    mb_err e = {0};
    char *dir = (char *)&e;
    long before = mb_mem_live_blocks();
    int rc = mb_hub_resolve(model, &dir, &e);
    assert_null(dir);
    if (!strstr(e.text, words) || !strstr(e.text, more))
        fail_msg("expected \"%s\" and \"%s\" in: %s", words, more, e.text);
    assert_int_equal(rc, status);
    assert_int_equal(mb_mem_live_blocks(), before);
}

static void which_cache(void **state) {
    (void)state;
    static const struct {
        const char *variable, *folder, *hub;
    } order[] = {{"HOME", "home", "home/.cache/huggingface/hub"},
                 {"XDG_CACHE_HOME", "xdg", "xdg/huggingface/hub"},
                 {"HF_HOME", "hf", "hf/hub"},
                 {"HUGGINGFACE_HUB_CACHE", "old", "old"},
                 {"HF_HUB_CACHE", "new", "new"}};
    no_variables();
    absent("org/name", MB_NOTFOUND, "no $HOME", "give a folder");
    for (int i = 0; i < 5; i++) { /* each stands before the ones set so far */
        setenv(order[i].variable, tree("%s", order[i].folder), 1);
        absent("org/name", MB_NOTFOUND, tree("%s/models--org--name", order[i].hub), "hf download org/name");
        make_model(order[i].hub, "org--name", C1);
        found("org/name", tree("%s/models--org--name/snapshots/" C1, order[i].hub));
    }
    setenv("HF_HUB_CACHE", "", 1); /* empty is unset */
    found("org/name", tree("old/models--org--name/snapshots/" C1));
    no_variables();
    setenv("HOME", tree("home"), 1);
    setenv("HF_HOME", "~/.cache/huggingface", 1);
    found("org/name", "home/.cache/huggingface/hub/models--org--name/snapshots/" C1);
}

static void revisions(void **state) {
    (void)state;
    no_variables();
    setenv("HF_HUB_CACHE", tree("hub"), 1);
    make_model("hub", "a--b", C1);
    found("a/b", C1);
    make_model("hub", "a--b", C2);
    absent("a/b", MB_NOTFOUND, "several snapshots", "a/b@986510898531 or a/b@d89eeb853136");
    tree_text(tree("hub/models--a--b/refs/main"), C2 "\n");
    found("a/b", C2);
    found("a/b@main", C2);
    found("a/b@" C1, C1);
    found("a/b@d89eeb85", C1);
    tree_text(tree("hub/models--a--b/refs/refs/pr/3"), C1);
    found("a/b@refs/pr/3", C1);
    absent("a/b@v2", MB_NOTFOUND, "no such revision", "hf download a/b --revision v2");
    tree_text(tree("hub/models--a--b/refs/gone"), "0123456789012345678901234567890123456789");
    absent("a/b@gone", MB_NOTFOUND, "no files of it", "hf download a/b --revision gone");
    tree_text(tree("hub/models--a--b/refs/main"), "../../../etc");
    absent("a/b", MB_FORMAT, "holds no commit", "refs/main");
    tree_text(tree("hub/models--a--b/refs/main"), "");
    absent("a/b", MB_FORMAT, "holds no commit", "refs/main");
    /* a download that was interrupted */
    tree_text(tree("hub/models--c--d/snapshots/" C1 "/config.json"), "{}");
    absent("c/d", MB_NOTFOUND, "no weights of it", "hf download c/d");
    tree_text(tree("hub/models--e--f/snapshots/" C1 "/model.safetensors"), "");
    absent("e/f", MB_NOTFOUND, "no config.json of it", "hf download e/f");
    tree_text(tree("hub/models--g--h/refs/x"), C1);
    absent("g/h", MB_NOTFOUND, "no snapshot of it", "hf download g/h");
}

static void paths(void **state) {
    (void)state;
    no_variables();
    setenv("HF_HUB_CACHE", tree("hub2"), 1);
    make_model("hub2", "kuleshov-group--caduceus-x", C1);
    tree_text(tree("model/config.json"), "{}");
    tree_text(tree("model/model.safetensors"), "");
    found(tree("model"), "model");
    found(tree("model/model.safetensors"), "model/model.safetensors");
    absent(tree("model/config.json"), MB_USAGE, "is only the configuration", tree("model"));
    char missing[1024];
    snprintf(missing, sizeof missing, "%s/more/x", tree("model"));
    absent(missing, MB_NOTFOUND, "/model exists, what follows does not", "no such folder");
    absent("", MB_NOTFOUND, "empty", "");
    absent("caduceus-x", MB_NOTFOUND, "there is kuleshov-group/caduceus-x", "say that");
    absent("nobody-knows-this", MB_NOTFOUND, "no such folder or file", "ORG/NAME");
    absent("/nowhere/at/all", MB_NOTFOUND, "(/ exists", "no such");
    absent("a/b/c", MB_NOTFOUND, "no such folder or file", "ORG/NAME");
    static const char *const hostile[] = {"../x", "a/..",   "a/.b",  "-a/b",     "a/b@../c",
                                          "a/b@", "a/b@-x", "a b/c", "a/b@x//y", "/"};
    for (int i = 0; i < 9; i++)
        absent(hostile[i], MB_NOTFOUND, "no such folder", "");
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    no_variables();
    setenv("HF_HUB_CACHE", tree("hub3"), 1);
    make_model("hub3", "o--n", C1);
    tree_text(tree("hub3/models--o--n/refs/main"), C1);
    for (long nth = 1;; nth++) {
        mb_err e = {0};
        char *dir = NULL;
        mb_mem_fail_nth(nth, 0);
        int rc = mb_hub_resolve("o/n", &dir, &e);
        int fired = mb_mem_fault_fired();
        mb_mem_fail_nth(0, 0);
        mb_free(dir);
        assert_int_equal(mb_mem_live_blocks(), 0);
        if (!fired) {
            assert_int_equal(rc, MB_OK);
            break;
        }
        assert_true(rc < 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_cache),
        cmocka_unit_test(revisions),
        cmocka_unit_test(paths),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
