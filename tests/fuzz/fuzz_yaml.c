/* Any bytes as a YAML file: read or refused with words, bounded in depth and size, nothing left behind. */
#include <stdint.h>
#include <string.h>

#include "core/mem.h"
#include "core/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t visited;

/* What yaml.h promises of a tree. NOLINTNEXTLINE(misc-no-recursion): no deeper than is checked here. */
static void visit(const mb_yaml_node *n, int depth) {
    visited++;
    MB_ASSERT(depth <= 64 && visited < 120000);
    MB_ASSERT(n->line >= 1 && n->column >= 1);
    if (n->kind == MB_YAML_SCALAR) {
        MB_ASSERT(n->text && !n->count && strlen(n->text) <= 64 * 1024 + (1 << 20));
        return;
    }
    MB_ASSERT(!n->text && n->count >= 0 && n->child);
    for (int i = 0; i < n->count; i++) {
        if (n->kind == MB_YAML_LIST) {
            visit(n->child[i], depth + 1);
            continue;
        }
        MB_ASSERT(n->child[2 * i]->kind == MB_YAML_SCALAR);
        visit(n->child[2 * i + 1], depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    mb_yaml *y = NULL;
    mb_err e = {0};
    int rc = mb_yaml_parse(&y, "fuzz.yaml", (const char *)data, n, &e);
    MB_ASSERT((rc == MB_OK) == (y != NULL));
    if (rc == MB_OK) {
        visited = 0;
        if (mb_yaml_root(y))
            visit(mb_yaml_root(y), 0);
        rc = mb_yaml_end_errors(y, &e);
    }
    MB_ASSERT(rc == MB_OK || rc == MB_USAGE);
    MB_ASSERT(rc == e.status && (rc == MB_OK) == (*e.text == '\0'));
    MB_ASSERT(rc == MB_OK || strncmp(e.text, "fuzz.yaml:", 10) == 0);
    mb_yaml_free(y);
    MB_ASSERT(mb_mem_live_blocks() == 0);
    return 0;
}
