/* Any bytes as items.txt and as a list of identifiers: what is read can be looked up, or there is an error with a
 * sentence. */
#include <string.h>

#include "core/mem.h"
#include "recsys/items.h"
#include "recsys/list.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *path = fuzz_file(data, n);
    rec_items items;
    rec_names list = {0};
    mb_err e = {0};
    int rc = rec_items_read(&items, path, &e);
    MB_ASSERT((rc == MB_OK) == (e.status == MB_OK) && (rc == MB_OK || *e.text));
    for (int32_t i = 1; i <= items.n; i++) {
        const rec_id id = rec_items_id(&items, i);
        MB_ASSERT(rec_items_find(&items, id.text, id.n) == i);
    }
    rec_items_fini(&items);
    mb_err_clear(&e);
    rc = rec_list_read(&list, path, "item", &e);
    MB_ASSERT((rc == MB_OK) == (e.status == MB_OK) && (rc == MB_OK) == (list.n > 0 && !*e.text));
    rec_names_free(&list);
    MB_ASSERT(mb_mem_live_blocks() == 0);
    return 0;
}
