/* See use.h. */
#include "recsys/use.h"

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"

int rec_use_open(rec_model **out, const rec_use_values *v, const mb_run *run, mb_err *e) {
    const rec_model_options o = {.device = run->globals.device,
                                 .precision = (mbk_precision)v->precision,
                                 .threads = (int)run->globals.threads,
                                 .memory = run->globals.memory / 2,
                                 .window = v->window};
    *out = NULL;
    if (!v->model)
        return mb_fail(e, MB_USAGE, "which model? -m FOLDER, as recmamba train makes it");
    return rec_model_open(out, v->model, &o, e);
}

int rec_use_note(const rec_model *m, mb_provenance *p, mb_err *e) {
    char *items = mb_path_join(rec_model_folder(m), "items.txt");
    int rc = items ? mb_provenance_file(p, "model", mb_model_weights_path(rec_model_engine(m)), e)
                   : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK)
        rc = mb_provenance_file(p, "model", items, e);
    mb_free(items);
    return rc;
}

void rec_use_warn(const rec_model *m, const rec_log *l, const int32_t *map) {
    const rec_view *v = rec_log_view(l);
    int32_t items = 0;
    int64_t events = 0;
    for (int32_t i = 1; i <= v->n_items; i++)
        items += map[i] == 0;
    for (int64_t i = 0; items > 0 && i < v->n_events; i++)
        events += map[v->item[i]] == 0;
    if (items > 0)
        mb_warn("%s does not know %d of the %d items of the log: their %lld events of %lld are passed over",
                rec_model_folder(m), items, v->n_items, (long long)events, (long long)v->n_events);
}

int rec_use_block(const rec_model *m, const mb_run *run, int most) {
    const int64_t each = ((int64_t)rec_model_items(m) + 1) * (int64_t)sizeof(float);
    const int64_t fit = run->globals.memory / 2 / each;
    return fit < 1 ? 1 : fit < most ? (int)fit : most;
}
