/* The record of a run, as JSON. Refuses nothing about its contents: bytes that are no UTF-8 are spelled \xNN, what
 * cannot be found out is left out. Files are digested when they are named, in pieces, so that any size costs constant
 * memory. */
#include "core/provenance.h"
#include "core/file.h"
#include "core/json_guard.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/options_internal.h"
#include "kernels/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static const int64_t DIGEST_MOST = (int64_t)4 << 30;

struct mb_provenance {
    json_t *root, *files, *notes; /* files and notes belong to root */
    double wall, cpu;             /* clocks at the start */
};

/* ---- values -------------------------------------------------------------------------------------------------------*/
/* Any C string; jansson takes UTF-8 only. */
static json_t *text(const char *s) {
    json_t *v = json_string(s);
    size_t n = strlen(s);
    if (v)
        return v;
    char *spelled = mb_malloc(4 * n + 1);
    size_t at = 0;
    if (!spelled)
        return NULL;
    for (; *s; s++)
        at += (size_t)snprintf(spelled + at, 5, (unsigned char)*s >= 0x80 ? "\\x%02x" : "%c", (unsigned char)*s);
    spelled[at] = '\0';
    v = json_string(spelled);
    mb_free(spelled);
    return v;
}

/* Takes v over; 1 on failure, so that a row of calls can be or-ed. */
static int put(json_t *object, const char *key, json_t *v) {
    if (!object)
        json_decref(v);
    return !object || !v || json_object_set_new(object, key, v) != 0;
}

static int put_text(json_t *object, const char *key, const char *value) {
    return put(object, key, text(value));
}

static int put_count(json_t *object, const char *key, double value) {
    return put(object, key, json_integer((json_int_t)value));
}

static int put_time(json_t *object, const char *key, time_t when) {
    char stamp[40];
    struct tm t;
    if (!gmtime_r(&when, &t) || !strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &t))
        return put_text(object, key, "unknown");
    return put_text(object, key, stamp);
}

/* ---- parts of the record ------------------------------------------------------------------------------------------*/
static json_t *command_line(const mb_run *run) {
    json_t *list = json_array();
    for (int i = 0; list && i < run->argc; i++) {
        if (json_array_append_new(list, text(run->argv[i]))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *option_value(const mb_field *f) {
    switch (f->option->type) {
    case MB_OPT_BOOL:
        return json_boolean(*(const int *)f->value);
    case MB_OPT_INT:
    case MB_OPT_BYTES:
        return json_integer(*(const int64_t *)f->value);
    case MB_OPT_FLOAT:
        return json_real(*(const double *)f->value);
    case MB_OPT_STRING:
        return *(char **)f->value ? text(*(char **)f->value) : json_null();
    case MB_OPT_CHOICE:
        break;
    }
    char *name = NULL;
    json_t *v = mb_value_format(f->option, f->value, &name) ? NULL : text(name);
    mb_free(name);
    return v;
}

/* Every option with the value that held, defaults included. */
static json_t *effective_config(const mb_run *run) {
    mb_global_values g = mb_globals_asked(run);
    mb_fields fs;
    mb_err e = {0};
    if (mb_fields_make(&fs, run->verb, run->values, &g, &e))
        return NULL;
    json_t *config = json_object(), *inputs = json_array();
    int bad = !config || !inputs;
    for (int i = 0; !bad && i < run->nargs; i++)
        bad = json_array_append_new(inputs, text(run->args[i]));
    bad = bad || json_object_set(config, "inputs", inputs);
    for (int i = 0; i < fs.n && !bad; i++)
        if (!fs.field[i].control)
            bad = put(config, fs.field[i].option->key, option_value(&fs.field[i]));
    mb_fields_free(&fs);
    json_decref(inputs);
    if (!bad)
        return config;
    json_decref(config);
    return NULL;
}

/* "model name : ..." of the first processor. */
static void cpu_model(char *out, size_t room) {
    char head[4096];
    int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, head, sizeof head - 1);
    if (fd >= 0)
        close(fd);
    head[n > 0 ? n : 0] = '\0';
    char *name = strstr(head, "model name"), *colon = name ? strchr(name, ':') : NULL;
    snprintf(out, room, "unknown");
    if (colon)
        snprintf(out, room, "%.*s", (int)strcspn(colon + 1 + strspn(colon + 1, " \t"), "\n"),
                 colon + 1 + strspn(colon + 1, " \t"));
}

static json_t *machine(const mb_run *run) {
    json_t *m = json_object();
    struct utsname u;
    char model[256];
    cpu_model(model, sizeof model);
    const char *isa = strcmp(run->globals.device, "ref") == 0 ? "reference" : mbk_ops_cpu()->isa;
    int bad = put_text(m, "cpu", model) | put_text(m, "isa", isa) |
              put_count(m, "processors", (double)sysconf(_SC_NPROCESSORS_ONLN));
    if (uname(&u) == 0)
        bad |= put_text(m, "host", u.nodename) | put_text(m, "system", u.sysname) | put_text(m, "release", u.release) |
               put_text(m, "architecture", u.machine);
    if (!bad)
        return m;
    json_decref(m);
    return NULL;
}

static json_t *libraries(void) {
    json_t *l = json_object();
    if (!(put_text(l, "matrix_product", mbk_linear_library()) | put_text(l, "jansson", jansson_version_str()) |
          put_text(l, "libcrypto", OpenSSL_version(OPENSSL_VERSION)) | put_text(l, "libyaml", mb_yaml_library())))
        return l;
    json_decref(l);
    return NULL;
}

/* What the batch system said about this job; an empty object outside one. */
static json_t *job(void) {
    static const char *const NAMES[] = {"SLURM_JOB_ID",        "SLURM_ARRAY_JOB_ID",
                                        "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT",
                                        "SLURM_PROCID",        "SLURM_JOB_NODELIST",
                                        "PBS_JOBID",           "PBS_ARRAY_INDEX",
                                        "PBS_ARRAYID",         "LSB_JOBID",
                                        "LSB_JOBINDEX",        "JOB_ID",
                                        "SGE_TASK_ID",         "NSLOTS",
                                        "OMPI_COMM_WORLD_RANK"};
    json_t *j = json_object();
    int bad = !j;
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0] && !bad; i++)
        if (getenv(NAMES[i]))
            bad = put_text(j, NAMES[i], getenv(NAMES[i]));
    if (!bad)
        return j;
    json_decref(j);
    return NULL;
}

/* ---- life ---------------------------------------------------------------------------------------------------------*/
static int fill(mb_provenance *p, const mb_run *run) {
    char folder[PATH_MAX];
    json_t *r = p->root;
    int bad = put_text(r, "program", run->program) | put_text(r, "command", run->verb->name) |
              put_text(r, "version", mb_version()) | put_text(r, "build", mb_build()) |
              put(r, "argv", command_line(run)) | put(r, "config", effective_config(run)) |
              put_count(r, "threads", (double)run->globals.threads) |
              put_count(r, "memory", (double)run->globals.memory) | put(r, "seed", json_integer(run->globals.seed)) |
              put_text(r, "device", run->globals.device) | put(r, "machine", machine(run)) |
              put(r, "libraries", libraries()) | put(r, "job", job()) | put_time(r, "start", time(NULL));
    if (getcwd(folder, sizeof folder))
        bad |= put_text(r, "folder", folder);
    bad |= put(r, "files", json_array()) | put(r, "notes", json_object());
    p->files = json_object_get(r, "files");
    p->notes = json_object_get(r, "notes");
    return bad;
}

int mb_provenance_start(mb_provenance **out, const mb_run *run, mb_err *e) {
    *out = NULL;
    mb_json_use_heap();
    mb_provenance *p = mb_calloc(1, sizeof *p);
    if (!p)
        return mb_fail(e, MB_NOMEM, "out of memory for the record of the run");
    p->wall = mb_clock_seconds();
    p->cpu = mb_cpu_seconds();
    p->root = json_object();
    if (!p->root || fill(p, run)) {
        mb_provenance_free(p);
        return mb_fail(e, MB_NOMEM, "out of memory for the record of the run");
    }
    *out = p;
    return MB_OK;
}

int mb_provenance_file(mb_provenance *p, const char *role, const char *path, mb_err *e) {
    struct stat st = {0};
    char hex[65] = "";
    int rc = MB_OK, standard = strcmp(path, "-") == 0, known = !standard && stat(path, &st) == 0;
    if (!standard && !known)
        return mb_fail_errno(e, errno == ENOENT ? MB_NOTFOUND : MB_IO, "%s: cannot be examined", path);
    int whole = known && S_ISREG(st.st_mode) && st.st_size <= DIGEST_MOST;
    if (whole && (rc = mb_file_sha256(path, hex, e)))
        return rc;
    char *full = known ? realpath(path, NULL) : NULL;
    json_t *f = json_object();
    int bad = put_text(f, "role", role) | put_text(f, "path", path) | (full ? put_text(f, "full_path", full) : 0);
    free(full);
    if (known && S_ISREG(st.st_mode))
        bad |= put_count(f, "bytes", (double)st.st_size) | put_time(f, "modified", st.st_mtime);
    if (whole)
        bad |= put_text(f, "sha256", hex);
    else
        bad |= put_text(f, "sha256_absent",
                        !known || !S_ISREG(st.st_mode) ? "no regular file"
                                                       : "larger than 4 GiB; known by size and time of change");
    if (!bad && json_array_append(p->files, f) == 0)
        rc = MB_OK;
    else
        rc = mb_fail(e, MB_NOMEM, "out of memory for the record of the run");
    json_decref(f);
    return rc;
}

int mb_provenance_note(mb_provenance *p, const char *key, const char *value) {
    return put_text(p->notes, key, value) ? MB_NOMEM : MB_OK;
}

/* JSON has no NaN and no infinity: they are written as text. */
int mb_provenance_number(mb_provenance *p, const char *key, double value) {
    char words[32];
    int whole = value > -9007199254740992.0 && value < 9007199254740992.0 && value == (double)(int64_t)value;
    json_t *v = whole ? json_integer((json_int_t)value) : json_real(value);
    if (!v) {
        snprintf(words, sizeof words, "%g", value);
        v = text(words);
    }
    return put(p->notes, key, v) ? MB_NOMEM : MB_OK;
}

typedef struct sink { /* text that grows */
    char *text;
    size_t n, capacity;
    int lost; /* jansson 2.14 forgets failures of object keys */
} sink;

static int take_text(const char *piece, size_t n, void *data) {
    sink *s = data;
    if (s->n + n + 1 > s->capacity) {
        const size_t capacity = 2 * (s->n + n) + 4096;
        char *more = mb_realloc(s->text, capacity);
        s->lost |= !more;
        if (!more)
            return -1;
        s->text = more;
        s->capacity = capacity;
    }
    memcpy(s->text + s->n, piece, n);
    s->n += n;
    s->text[s->n] = 0;
    return 0;
}

int mb_provenance_text(mb_provenance *p, char **text, mb_err *e) {
    sink s = {0};
    int bad = put_time(p->root, "end", time(NULL)) |
              put(p->root, "wall_seconds", json_real(mb_clock_seconds() - p->wall)) |
              put(p->root, "cpu_seconds", json_real(mb_cpu_seconds() - p->cpu)) |
              put_count(p->root, "peak_memory_bytes", (double)mb_peak_rss_bytes());
    if (!bad)
        bad = json_dump_callback(p->root, take_text, &s, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    if (!bad)
        bad = take_text("\n", 1, &s);
    if (bad || s.lost) {
        mb_free(s.text);
        *text = NULL;
        return mb_fail(e, MB_NOMEM, "out of memory for the record of the run");
    }
    *text = s.text;
    return MB_OK;
}

int mb_provenance_write(mb_provenance *p, const char *path, mb_err *e) {
    char *text = NULL;
    int rc = mb_provenance_text(p, &text, e);
    if (rc != MB_OK)
        return mb_err_context(e, "%s", path);
    rc = mb_file_write_all(path, text, strlen(text), e);
    mb_free(text);
    return rc;
}

void mb_provenance_free(mb_provenance *p) {
    if (!p)
        return;
    json_decref(p->root);
    mb_free(p);
}
