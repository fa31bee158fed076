/* recmamba stream: events in, states kept in constant time, recommendations out; over JSON lines. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/file.h"
#include "recsys/address.h"
#include "recsys/commands.h"
#include "recsys/inspect.h"
#include "recsys/lines.h"
#include "recsys/load.h"
#include "recsys/service.h"

typedef struct stream_values {
    rec_service_values service;
    char *listen, *load, *export;
    int64_t line_bytes, waiting_bytes, connections;
    double timeout;
    int strict, inspect;
} stream_values;

#define V stream_values
static const mb_option OPTIONS[] = {
    REC_SERVICE_OPTIONS(V, service),
    {.key = "listen",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, listen),
     .meta = "ADDRESS",
     .help = "Serve many connections, at unix:PATH or tcp:127.0.0.1:PORT (port 0: any free one; it is told). Unset: "
             "standard input and output."},
    {.key = "load",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, load),
     .meta = "LOG",
     .help = "First fill the store with the histories of a log: one that recmamba prep made, or text that it would "
             "recognise. Users who have events in the store already are left as they are, so an interrupted load goes "
             "on with the same command."},
    {.key = "inspect",
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, inspect),
     .def = "false",
     .help = "Only say what the store holds; also while another process serves it. Needs no model."},
    {.key = "export",
     .type = MB_OPT_STRING,
     .offset = offsetof(V, export),
     .meta = "FILE",
     .help = "With --inspect: also write a JSON line for each user: events, time of the latest, items met (by "
             "identifier when -m is given, else by number)."},
    {.key = "strict",
     .type = MB_OPT_BOOL,
     .offset = offsetof(V, strict),
     .def = "false",
     .help = "End at the first line that is no request (a connection is cut off). Otherwise it is answered with the "
             "error, and the next one is read."},
    {.key = "line_bytes",
     .type = MB_OPT_BYTES,
     .offset = offsetof(V, line_bytes),
     .def = "64K",
     .min = 64,
     .max = 1 << 26,
     .meta = "BYTES",
     .help = "Longest line; a longer one is answered with an error and passed over."},
    {.key = "waiting_bytes",
     .type = MB_OPT_BYTES,
     .offset = offsetof(V, waiting_bytes),
     .def = "1M",
     .min = 1024,
     .max = 1 << 30,
     .meta = "BYTES",
     .help = "Answers that may wait for a slow reader; beyond, nothing more is read from it."},
    {.key = "connections",
     .type = MB_OPT_INT,
     .offset = offsetof(V, connections),
     .def = "100",
     .min = 1,
     .max = 10000,
     .meta = "N",
     .help = "Most connections at a time; others wait to be accepted."},
    {.key = "timeout",
     .type = MB_OPT_FLOAT,
     .offset = offsetof(V, timeout),
     .def = "30",
     .min = 0.1,
     .max = 1e6,
     .meta = "SECONDS",
     .help = "A connection that takes no answers for so long while some wait is cut off."},
    {0}};
#undef V

static const char DETAILS[] =
    "Keeps each user's state in a store and answers with recommendations after each event. An event costs the same "
    "however long the user's history is: the model's recurrent state is taken from the store, one item is fed, the "
    "state goes back. Scores equal those of running the whole history at once (recmamba recommend --window -1) to the "
    "bit.\n"
    "\n"
    "A request is a JSON object a line, an answer is one too, in the same order:\n"
    "  {\"user\": \"u1\", \"item\": \"i9\", \"time\": 978300760}      an event; time may be missing\n"
    "  {\"user\": \"u1\"}                                       asks without an event\n"
    "  {\"forget\": \"u1\"}                                     removes what is known of a user\n"
    "  {\"user\":\"u1\",\"status\":\"ok\",\"events\":3,\"top\":[{\"item\":\"i2\",\"score\":1.25}]}\n"
    "Requests may also say \"topk\": N, \"filter_seen\": true or false, \"deny\": [items]. Identifiers are strings, or "
    "whole numbers that stand for their digits; a user's has at most 510 bytes. status is ok; unknown_item (the model "
    "does not know it: nothing changed); no_history (a user without events: there is nothing to go by, and nothing is "
    "made up); forgotten; or error, with words in \"error\" and the number of the line. An event older than one before "
    "counts in the order of arrival and is answered with \"late\":true. Blank lines are passed over.\n"
    "\n"
    "An answer comes when what it says is committed (--sync says what that survives). All requests that wait are one "
    "transaction. After a crash, \"events\" in the answer to {\"user\": ..} tells how many of a user's events are in: "
    "all that were answered, and those of the last transaction if it was complete.\n"
    "\n"
    "SIGTERM or Ctrl-C: what was begun is finished, committed and answered; the exit code is 75 with standard input "
    "(lines may be left), 0 with --listen. Who can reach the socket can read and change everything: there is no "
    "password, so only this machine's addresses are taken, and a Unix socket is for its owner alone. STORE/run.json is "
    "the record of the latest run. --memory bounds the states that are held in memory (256M unless given), --threads "
    "(1 unless given) serves batches of many users.\n"
    "\n"
    "  recmamba stream -m build/rec --store build/states --load recsys/data/ml-latest-small.csv.gz </dev/null\n"
    "  echo '{\"user\": 1, \"item\": 296, \"time\": 1537799250, \"topk\": 3}' | recmamba stream -m build/rec --store "
    "build/states\n"
    "  recmamba stream --store build/states --inspect\n"
    "  recmamba stream -m build/rec --store build/states --listen unix:build/states.socket";

/* Histories of --load, before anything is answered. */
static int fill(rec_service *s, const stream_values *v, mb_err *e) {
    rec_load_options o = rec_load_defaults();
    rec_log *log = NULL;
    rec_live_load_counts c = {0};
    if (!v->load)
        return MB_OK;
    rec_load_prepare(&o, s->run);
    o.strict = v->strict;
    int rc = rec_log_open(&log, v->load, &o, e);
    if (!rc && strcmp(v->load, "-") != 0)
        rc = mb_provenance_file(s->record, "input", v->load, e);
    if (!rc)
        rc = rec_live_load(s->live, log, mb_cli_stop(), &c, e);
    rec_log_close(log);
    if (!rc || rc == MB_STOPPED)
        mb_info("loaded %" PRId64 " users with %" PRId64 " events; %" PRId64 " users were there already, %" PRId64
                " events are of items that the model does not know, %" PRId64 " users cannot be stored",
                c.users, c.events, c.present, c.unknown, c.refused);
    return rc;
}

static int serve_lines(rec_service *s, const stream_values *v, const rec_address *a, mb_err *e) {
    rec_lines_options o = {.wire = s->wire,
                           .listener = -1,
                           .batch = (int)v->service.batch,
                           .connections = v->listen ? (int)v->connections : 1,
                           .line_most = (size_t)v->line_bytes,
                           .waiting_most = (size_t)v->waiting_bytes,
                           .timeout = v->timeout,
                           .strict = v->strict,
                           .stop = mb_cli_stop()};
    rec_lines_counts c;
    char where[128];
    int rc = v->listen ? rec_address_listen(a, &o.listener, where, e) : MB_OK;
    if (rc)
        return rc;
    if (v->listen)
        mb_info("listening on %s", where);
    rc = rec_lines_run(s->live, &o, &c, e);
    if (o.listener >= 0) {
        close(o.listener);
        rec_address_remove(a);
    }
    mb_info("%" PRId64 " lines, %" PRId64 " of them no requests", c.lines, c.malformed);
    if (v->listen)
        mb_info("%" PRId64 " connections, %" PRId64 " of them cut off", c.connections, c.cut_off);
    return rc;
}

static int inspect(mb_run *run, const stream_values *v, mb_err *e) {
    rec_model *m = NULL;
    const rec_model_options o = {.device = run->globals.device, .threads = 1, .window = -1};
    if (!v->service.store)
        return mb_fail(e, MB_USAGE, "which store? --store DIR");
    if (run->globals.dry_run)
        return mb_fail(e, MB_USAGE, "--inspect changes nothing: --dry-run has no meaning with it");
    int rc = v->service.model ? rec_model_open(&m, v->service.model, &o, e) : MB_OK;
    if (!rc)
        rc = rec_inspect(run, v->service.store, v->export, m, e);
    rec_model_close(m);
    return rc;
}

static int run_stream(mb_run *run, mb_err *e) {
    const stream_values *v = run->values;
    rec_service s;
    rec_address a = {0};
    if (v->inspect)
        return inspect(run, v, e);
    if (v->export)
        return mb_fail(e, MB_USAGE, "--export goes with --inspect");
    int rc = v->listen ? rec_address_parse(&a, "listen", v->listen, 0, e) : MB_OK;
    if (rc || run->globals.dry_run)
        return rc ? rc : rec_service_plan(run, &v->service, e);
    rc = rec_service_open(&s, run, &v->service, e);
    if (rc)
        return rc;
    rc = fill(&s, v, e);
    if (!rc)
        rc = serve_lines(&s, v, &a, e);
    return rec_service_end(&s, rc, e);
}

const mb_verb rec_stream_verb = {.name = "stream",
                                 .summary = "users' states kept event by event, recommendations after each",
                                 .usage = "-m MODEL --store DIR [--listen ADDRESS] [options]",
                                 .details = DETAILS,
                                 .options = OPTIONS,
                                 .values_size = sizeof(stream_values),
                                 .min_args = 0,
                                 .max_args = 0,
                                 .run = run_stream};
