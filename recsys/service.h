/* What stream and serve have in common: model, store and live states, opened from options; the record of a run. */
#ifndef REC_SERVICE_H
#define REC_SERVICE_H
#include <stddef.h>

#include "core/options.h"
#include "core/provenance.h"
#include "recsys/wire.h"

typedef struct rec_service_values {
    char *model, *store, *allow, *deny;
    int64_t k, batch;
    int filter_seen, sync, precision, extra_keys;
} rec_service_values;

typedef struct rec_service {
    const mb_run *run;
    const rec_service_values *v;
    rec_model *model;
    rec_store *store;
    rec_live *live;
    uint8_t *allowed; /* NULL: all items */
    mb_provenance *record;
    rec_wire_options wire;
} rec_service;

/* Opens everything. On failure what was opened is closed. */
int rec_service_open(rec_service *s, const mb_run *run, const rec_service_values *v, mb_err *e) MB_MUST_USE;
/* --dry-run: what would be opened, on standard output; nothing is made. */
int rec_service_plan(const mb_run *run, const rec_service_values *v, mb_err *e) MB_MUST_USE;
/* The end of a run that ended with rc: the closing line for people, STORE/run.json (what the latest run was and did),
 * and everything closed. Returns rc, or the failure to write the record. */
int rec_service_end(rec_service *s, int rc, mb_err *e) MB_MUST_USE;
int rec_service_threads(const mb_run *run);
int64_t rec_service_memory(const mb_run *run);

#define REC_SERVICE_OPTION(S, F, NAME, ...)                                                                            \
    { .key = #NAME, .offset = offsetof(S, F.NAME), __VA_ARGS__ }
#define REC_SERVICE_OPTIONS(S, F)                                                                                      \
    REC_SERVICE_OPTION(S, F, model, .letter = 'm', .type = MB_OPT_STRING, .meta = "MODEL",                             \
                       .help = "Folder of a model that recmamba train made."),                                         \
        REC_SERVICE_OPTION(S, F, store, .type = MB_OPT_STRING, .meta = "DIR",                                          \
                           .help = "Folder of the users' states; made when it is not there. One process at a time "    \
                                   "may have it. A store is of one model: another one is refused."),                   \
        REC_SERVICE_OPTION(S, F, k, .letter = 'k', .type = MB_OPT_INT, .def = "10", .max = 1000, .meta = "N",          \
                           .help = "Recommendations in an answer, unless the request says otherwise. 0: none."),       \
        REC_SERVICE_OPTION(S, F, filter_seen, .type = MB_OPT_CHOICE, .def = "on", .choices = "off|on",                 \
                           .help = "on: items that the user has met are not recommended, unless the request says "     \
                                   "otherwise."),                                                                      \
        REC_SERVICE_OPTION(S, F, allow, .type = MB_OPT_STRING, .meta = "FILE|ID,ID,..",                                \
                           .help = "Only these items are recommended: a file with an identifier a line, or "           \
                                   "identifiers with commas between."),                                                \
        REC_SERVICE_OPTION(S, F, deny, .type = MB_OPT_STRING, .meta = "FILE|ID,ID,..",                                 \
                           .help = "These items are not recommended."),                                                \
        REC_SERVICE_OPTION(S, F, sync, .type = MB_OPT_CHOICE, .def = "full", .choices = REC_SYNC_CHOICES,              \
                           .help = "What an acknowledged event survives. All three: the death of this process at any " \
                                   "moment (kill -9). full: loss of power as well; a commit waits for the disk. "      \
                                   "commit: after a loss of power the store is whole but may lack its latest "         \
                                   "commits. none: after a loss of power the store may be damaged (which is found "    \
                                   "out); fill it again with --load then."),                                           \
        REC_SERVICE_OPTION(S, F, batch, .type = MB_OPT_INT, .def = "256", .min = 1, .max = 65536, .meta = "N",         \
                           .help = "Most events of a transaction: all that wait are committed together. One event "    \
                                   "alone does not wait for others."),                                                 \
        REC_SERVICE_OPTION(S, F, extra_keys, .type = MB_OPT_BOOL, .def = "false",                                      \
                           .help = "Pass over keys of a request that mean nothing here, instead of refusing it."),     \
        REC_SERVICE_OPTION(S, F, precision, .type = MB_OPT_CHOICE, .def = "fp32", .choices = "fp32|bf16",              \
                           .help = "Precision of weights and matrix-product inputs; sums and states are always fp32. " \
                                   "A store is of one precision.")
#endif
