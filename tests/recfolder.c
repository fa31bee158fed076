/* See recfolder.h. */
#include "tests/recfolder.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/params.h"
#include "recsys/items.h"
#include "recsys/model.h"
#include "tests/models.h"

static rec_id name_of(const void *user, int32_t item) {
    static char text[16];
    (void)user;
    return (rec_id){text, snprintf(text, sizeof text, "i%d", (int)item)};
}

static void must(int rc, const mb_err *e) {
    if (rc == MB_OK)
        return;
    fprintf(stderr, "cannot make a test recommender: %s\n", e->text);
    exit(1);
}

void rec_folder_write(const char *folder, const mb_config *c) {
    char path[1200];
    mb_err e = {0};
    mb_model *m = model_shaken(c, NULL);
    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/config.json", folder);
    must(mb_config_write(c, path, &e), &e);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    must(mb_params_save(mb_model_params(m), c, path, &e), &e);
    snprintf(path, sizeof path, "%s/items.txt", folder);
    must(rec_items_write(path, c->V - 1, name_of, NULL, &e), &e);
    must(rec_model_write_rule(folder, 0, &e), &e);
    mb_model_destroy(m);
}

mb_config rec_folder_config(int items, int layers) {
    mb_config c = model_mamba(64, layers, items + 1);
    c.N = 32;
    return c;
}
