/* seqmamba report: a page for people about a pipeline and what came of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/file.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/page.h"
#include "core/provenance.h"
#include "pipelines/commands.h"
#include "pipelines/curves.h"
#include "pipelines/history.h"
#include "pipelines/verbs.h"

typedef struct report_values {
    char *programs, *output;
    int64_t rows;
} report_values;

#define V report_values
static const mb_option OPTIONS[] = {{.key = "output",
                                     .letter = 'o',
                                     .type = MB_OPT_STRING,
                                     .offset = offsetof(V, output),
                                     .meta = "FILE.html",
                                     .help = "The page. Unset: report.html in the pipeline's output folder."},
                                    {.key = "rows",
                                     .type = MB_OPT_INT,
                                     .offset = offsetof(V, rows),
                                     .def = "10",
                                     .max = 1000,
                                     .meta = "N",
                                     .help = "First lines of each table (.tsv) that a step made; 0: none."},
                                    PIPE_PROGRAMS_OPTION(V),
                                    {0}};
#undef V

static const char DETAILS[] =
    "Writes one HTML page that loads nothing from anywhere: the steps with their states, times and memory, what each was "
    "told that is not a default, the files it read and made with sizes and SHA-256, curves of training, the first lines "
    "of tables, and the record of the page itself.\n"
    "\n"
    "  seqmamba report pipelines/phages.yaml\n"
    "  seqmamba report pipelines/phages.yaml -o build/phages.html --rows 20";

static int add_overview(mb_page *page, const pipeline *p, int busy, mb_err *e) {
    static const char *const COLUMN[] = {"step",   "command", "state", "ended or begun", "took", "processor",
                                         "memory", "host",    "job"};
    int rc = MB_OK;
    mb_page_heading(page, "Steps");
    mb_page_table(page, COLUMN, 9);
    for (int k = 0; rc == MB_OK && k < p->n; k++) {
        const pipe_step *s = &p->step[p->order[k]];
        pipe_history h;
        char took[32] = "", cpu[32] = "", memory[32] = "", command[200];
        rc = pipe_history_read(&h, p, s, busy, e);
        if (rc != MB_OK)
            break;
        if (h.seconds > 0) {
            mb_human_seconds(h.seconds, took);
            mb_human_seconds(h.cpu_seconds, cpu);
            mb_human_bytes(h.peak_memory, memory);
        }
        snprintf(command, sizeof command, "%.90s %.90s", s->verb->program->name, s->verb->name);
        const char *const cell[] = {s->name, command, pipe_happened_words[h.happened], h.since, took, cpu, memory,
                                    h.host,  h.job};
        mb_page_row(page, cell);
    }
    mb_page_table_end(page);
    return rc;
}

static void add_options(mb_page *page, const pipe_step *s) {
    for (int i = 0; i < s->n_values; i++)
        if (s->value[i].text)
            mb_page_fact(page, s->value[i].option->key, "%.500s", s->value[i].text);
    mb_page_table_end(page);
}

/* Files of a record: what was read, or made. */
static void add_files(mb_page *page, const mb_yaml_node *list, const char *title) {
    static const char *const COLUMN[] = {"", "file", "bytes", "SHA-256"};
    if (!list || list->kind != MB_YAML_LIST || list->count == 0)
        return;
    mb_page_text(page, "%s", title);
    mb_page_table(page, COLUMN, 4);
    for (int i = 0; i < list->count; i++) {
        const mb_yaml_node *f = list->child[i];
        const char *const cell[] = {pipe_record_text(f, "what"), pipe_record_text(f, "path"),
                                    pipe_record_text(f, "bytes"), pipe_record_text(f, "sha256")};
        mb_page_row(page, cell);
    }
    mb_page_table_end(page);
}

/* The first lines of a table; columns beyond 12 are left out. */
static int add_head(mb_page *page, const char *path, int64_t rows, mb_err *e) {
    enum { COLUMNS = 12, HEAD_BYTES = 1 << 20 };
    mb_map map;
    int rc = mb_file_map(&map, path, e);
    if (rc != MB_OK)
        return rc;
    const size_t n = map.size < HEAD_BYTES ? map.size : HEAD_BYTES;
    char *text = mb_malloc(n + 1), *save = NULL;
    if (text && n)
        memcpy(text, map.data, n);
    mb_file_unmap(&map);
    if (!text)
        return mb_fail(e, MB_NOMEM, "no memory for the head of %s", path);
    text[n] = '\0';
    int columns = 0;
    for (char *line = strtok_r(text, "\n", &save); line && rows >= 0; line = strtok_r(NULL, "\n", &save), rows--) {
        const char *cell[COLUMNS];
        int c = 0;
        for (char *rest = line; rest && c < COLUMNS; c++)
            cell[c] = strsep(&rest, "\t");
        if (!columns) {
            columns = c;
            mb_page_text(page, "%s begins", path);
            mb_page_table(page, cell, columns);
            continue;
        }
        while (c < columns)
            cell[c++] = "";
        mb_page_row(page, cell);
    }
    if (columns)
        mb_page_table_end(page);
    mb_free(text);
    return MB_OK;
}

static int add_results(mb_page *page, const pipe_step *s, const mb_yaml_node *made, int64_t rows, mb_err *e) {
    int rc = MB_OK;
    for (int i = 0; rc == MB_OK && i < s->n_outputs; i++)
        if (s->output[i].role == MB_ROLE_OUTPUT_FOLDER) {
            char *metrics = mb_path_join(s->output[i].path, "metrics.jsonl");
            rc = metrics ? pipe_curves_add(page, metrics, s->name, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
            mb_free(metrics);
        }
    for (int i = 0; rc == MB_OK && made && made->kind == MB_YAML_LIST && i < made->count; i++) {
        const char *path = pipe_record_text(made->child[i], "path");
        if (rows > 0 && mb_path_ends_with(path, ".tsv") && !mb_path_ends_with(path, ".index.tsv") &&
            mb_file_exists(path))
            rc = add_head(page, path, rows, e);
    }
    return rc;
}

static int add_step(mb_page *page, const pipeline *p, const pipe_step *s, int64_t rows, mb_err *e) {
    pipe_record r;
    int rc = pipe_record_read(&r, p, s, "done.json", e);
    if (rc != MB_OK)
        return rc;
    mb_page_heading(page, s->name);
    mb_page_fact(page, "command", "%s %s", s->verb->program->name, s->verb->name);
    for (int i = 0; i < s->n_args; i++)
        mb_page_fact(page, "input", "%.500s", s->input[i].path);
    add_options(page, s);
    if (!r.root)
        mb_page_text(page, "%s", "Not done.");
    else {
        mb_page_fact(page, "version", "%s %s", pipe_record_text(r.root, "program"),
                     pipe_record_text(r.root, "program_version"));
        mb_page_fact(page, "build", "%s", pipe_record_text(r.root, "build"));
        mb_page_fact(page, "from, to", "%s, %s", pipe_record_text(r.root, "started"),
                     pipe_record_text(r.root, "ended"));
        mb_page_table_end(page);
        add_files(page, mb_yaml_get(r.root, "inputs"), "Read");
        add_files(page, mb_yaml_get(r.root, "outputs"), "Made");
        rc = add_results(page, s, mb_yaml_get(r.root, "outputs"), rows, e);
    }
    pipe_record_free(&r);
    return rc;
}

static int write_page(const pipeline *p, const mb_run *run, const char *path, mb_err *e) {
    const report_values *v = run->values;
    char *lock = pipe_output_path(p, "lock"), owner[400] = "";
    mb_page *page = NULL;
    mb_provenance *record = NULL;
    int rc = lock ? mb_page_create(&page, p->name, e) : mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK) {
        pipe_lock_owner(lock, owner);
        mb_page_text(page, "%s, written to %s%s%s", p->path, p->output, *owner ? "; at work now: " : "", owner);
        rc = add_overview(page, p, *owner != '\0', e);
    }
    for (int k = 0; rc == MB_OK && k < p->n; k++)
        rc = add_step(page, p, &p->step[p->order[k]], v->rows, e);
    if (rc == MB_OK)
        rc = mb_provenance_start(&record, run, e);
    if (rc == MB_OK)
        rc = mb_page_write(page, record, path, e);
    mb_provenance_free(record);
    mb_page_destroy(page);
    mb_free(lock);
    return rc;
}

static int run_report(mb_run *run, mb_err *e) {
    const report_values *v = run->values;
    pipe_opened o;
    char *path = NULL;
    int rc = pipe_verb_open(&o, run, v->programs, e);
    if (rc == MB_OK && !mb_dir_exists(o.p.output))
        rc = mb_fail(e, MB_NOTFOUND, "%s is not there: nothing has run yet", o.p.output);
    if (rc == MB_OK && !(path = v->output ? mb_strdup(v->output) : pipe_output_path(&o.p, "report.html")))
        rc = mb_fail(e, MB_NOMEM, "no memory for a path");
    if (rc == MB_OK && run->globals.dry_run)
        printf("%s (dry run: not written)\n", path);
    else if (rc == MB_OK && (rc = write_page(&o.p, run, path, e)) == MB_OK)
        mb_info("%s", path);
    mb_free(path);
    pipe_verb_close(&o);
    return rc;
}

const mb_verb pipe_report_verb = {.name = "report",
                                  .summary = "a page about a pipeline: steps, files, curves, tables",
                                  .usage = "PIPELINE.yaml [-o FILE.html] [options]",
                                  .details = DETAILS,
                                  .options = OPTIONS,
                                  .values_size = sizeof(report_values),
                                  .min_args = 1,
                                  .max_args = 1,
                                  .own_sets = 1,
                                  .run = run_report};
