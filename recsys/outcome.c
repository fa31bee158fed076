/* See outcome.h. */
#include "recsys/outcome.h"

#include <inttypes.h>
#include <string.h>

#include "recsys/evaluate.h"

static const rec_metric METRIC[REC_OUTCOME_FIGURES] = {REC_HR, REC_NDCG, REC_MRR};
static const char *const TITLE[REC_OUTCOME_FIGURES] = {"HR@10", "NDCG@10", "MRR@10"};
static const char *const PART[] = {"valid", "test"}, *const SHOWN[] = {"all items", "history left out"};

static int judge(rec_outcome *out, const rec_log *l, const rec_split *split, const rec_scorer *s,
                 const rec_outcome_options *o, mb_err *e) {
    rec_outcome_row *row = &out->row[out->n];
    int rc = MB_OK;
    row->name = s->name;
    for (int part = 0; rc == MB_OK && part < 2; part++) {
        const rec_evaluate_options eo = {.part = part ? REC_PART_TEST : REC_PART_VALID,
                                         .threads = o->threads,
                                         .memory = o->memory / 2 < (int64_t)64 << 20 ? o->memory / 2 : 0,
                                         .stop = o->stop};
        rec_evaluation v = {0};
        rc = rec_evaluate(&v, l, split, s, &eo, e);
        for (int filtered = 0; rc == MB_OK && filtered < 2; filtered++)
            for (int m = 0; m < REC_OUTCOME_FIGURES; m++)
                row->figure[part][filtered][m] = rec_evaluation_at(&v, filtered, METRIC[m], 10)->value;
        out->events[part] = v.targets;
        rec_evaluation_fini(&v);
    }
    out->n++;
    return rc;
}

int rec_outcome_make(rec_outcome *out, const rec_log *l, const rec_split *split, const rec_scorer *model,
                     const rec_outcome_options *o, mb_err *e) {
    memset(out, 0, sizeof *out);
    int rc = judge(out, l, split, model, o, e);
    for (int kind = 0; rc == MB_OK && o->floors && kind < REC_FLOORS; kind++) {
        const rec_floor_options fo = {.threads = o->threads, .half = 1, .stop = o->stop}; /* as recmamba evaluate */
        rec_floor *floor = NULL;
        rc = rec_floor_create(&floor, (rec_floor_kind)kind, l, split, &fo, e);
        if (rc == MB_OK) {
            const rec_scorer s = rec_floor_scorer(floor);
            rc = judge(out, l, split, &s, o, e);
        }
        rec_floor_destroy(floor);
    }
    return rc;
}

void rec_outcome_print(const rec_outcome *o, const rec_split *split, FILE *f) {
    fprintf(f, "split %s\n", split->fingerprint);
    for (int part = 0; part < 2; part++) {
        if (o->events[part] == 0)
            continue;
        fprintf(f, "%-20s %27s   %27s\n", PART[part], SHOWN[0], SHOWN[1]);
        fprintf(f, "%-20" PRId64 " %9s%9s%9s   %9s%9s%9s\n", o->events[part], TITLE[0], TITLE[1], TITLE[2], TITLE[0],
                TITLE[1], TITLE[2]);
        for (int i = 0; i < o->n; i++) {
            const double(*v)[REC_OUTCOME_FIGURES] = o->row[i].figure[part];
            fprintf(f, "%-20s %9.4f%9.4f%9.4f   %9.4f%9.4f%9.4f\n", o->row[i].name, v[0][0], v[0][1], v[0][2], v[1][0],
                    v[1][1], v[1][2]);
        }
    }
}

int rec_outcome_note(const rec_outcome *o, mb_provenance *p, mb_err *e) {
    static const char *const KEY[2][2] = {{"valid", "valid_filtered"}, {"test", "test_filtered"}};
    int rc = MB_OK;
    for (int part = 0; part < 2; part++)
        for (int filtered = 0; o->events[part] > 0 && filtered < 2; filtered++)
            for (int m = 0; rc == MB_OK && m < REC_OUTCOME_FIGURES; m++) {
                char key[64];
                snprintf(key, sizeof key, "%s_%s@10", KEY[part][filtered], rec_metric_name(METRIC[m]));
                rc = mb_provenance_number(p, key, o->row[0].figure[part][filtered][m]);
            }
    return rc == MB_OK ? rc : mb_fail(e, rc, "no memory for the record of the run");
}

void rec_outcome_page(const rec_outcome *o, mb_page *p) {
    static const char *const COLUMN[] = {"", "HR@10", "NDCG@10", "MRR@10"};
    for (int part = 0; part < 2; part++)
        for (int filtered = 0; o->events[part] > 0 && filtered < 2; filtered++) {
            char text[REC_OUTCOME_FIGURES][32], title[96];
            snprintf(title, sizeof title, "%s: %" PRId64 " events, %s", part ? "Test" : "Validation", o->events[part],
                     SHOWN[filtered]);
            mb_page_heading(p, title);
            mb_page_table(p, COLUMN, 4);
            for (int i = 0; i < o->n; i++) {
                const char *cell[] = {o->row[i].name, text[0], text[1], text[2]};
                for (int m = 0; m < REC_OUTCOME_FIGURES; m++)
                    snprintf(text[m], sizeof *text, "%.4f", o->row[i].figure[part][filtered][m]);
                mb_page_row(p, cell);
            }
            mb_page_table_end(p);
        }
}
