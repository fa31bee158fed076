/* What the option table says to people: help pages, wrapped to the terminal, and the effective configuration. */
#include "core/log.h"
#include "core/mem.h"
#include "core/options_internal.h"
#include "core/provenance.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { INDENT = 27, NARROWEST = 60, WIDEST = 110 };

static int usable_columns(int columns, FILE *f) {
    struct winsize w;
    if (!columns)
        columns = f == stdout && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col - 1 : 80;
    return columns < NARROWEST ? NARROWEST : columns > WIDEST ? WIDEST : columns;
}

/* Columns a piece of UTF-8 takes, every character counted as one. */
static int width(const char *s, size_t n) {
    int w = 0;
    for (size_t i = 0; i < n; i++)
        w += ((unsigned char)s[i] & 0xC0) != 0x80;
    return w;
}

/* Words of s[0..n) from column at on, new lines indented; ends the line. */
static void wrap(FILE *f, const char *s, size_t n, int at, int indent, int columns) {
    int fresh = 1;
    for (const char *end = s + n; s < end;) {
        size_t word = 0;
        while (s + word < end && s[word] != ' ')
            word++;
        int w = width(s, word);
        if (!fresh && at + 1 + w > columns) {
            fprintf(f, "\n%*s", indent, "");
            at = indent;
            fresh = 1;
        }
        at += fprintf(f, "%s", fresh ? "" : " ") + w;
        fprintf(f, "%.*s", (int)word, s);
        fresh = 0;
        s += word;
        while (s < end && *s == ' ')
            s++;
    }
    fputc('\n', f);
}

/* Paragraphs: lines that begin with a space are examples and stay as they are, the others are wrapped. */
static void print_details(FILE *f, const char *text, int columns) {
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (*text == ' ' || !n)
            fprintf(f, "%.*s\n", (int)n, text);
        else
            wrap(f, text, n, 0, 0, columns);
        text += n + (text[n] == '\n');
    }
}

static void print_default(const mb_option *o, char *out, size_t room) {
    char range[64], flag[128];
    mb_value_range(o, range);
    if (o->min == 0 && o->max < 0)
        *range = '\0'; /* that sizes and counts are not negative goes without saying */
    mb_flag_name(o, flag, sizeof flag);
    if (o->type == MB_OPT_BOOL)
        snprintf(out, room, "%s%s%s", o->def && *o->def == 't' ? " (default: on; turn it off with --no-" : "",
                 o->def && *o->def == 't' ? flag + 2 : "", o->def && *o->def == 't' ? ")" : "");
    else if (o->def && *range)
        snprintf(out, room, " (default: %s; %s)", o->def, range);
    else if (o->def && *o->def)
        snprintf(out, room, " (default: %s)", o->def);
    else if (*range)
        snprintf(out, room, " (%s)", range);
    else
        *out = '\0';
}

/* "none, mean or max" */
static void print_choices(const char *choices, char *out, size_t room) {
    size_t at = (size_t)snprintf(out, room, " One of ");
    for (const char *c = choices; *c && at < room;) {
        size_t n = strcspn(c, "|");
        int last = !c[n], first = c == choices;
        at += (size_t)snprintf(out + at, room - at, "%s%.*s", first ? "" : last ? " or " : ", ", (int)n, c);
        c += n + !last;
    }
    if (at < room)
        snprintf(out + at, room - at, ".");
}

static void print_field(FILE *f, const mb_field *field, int columns) {
    const mb_option *o = field->option;
    char flag[128], left[256], choices[512] = "", def[256], letter[8] = "    ";
    mb_flag_name(o, flag, sizeof flag);
    if (field->letter)
        snprintf(letter, sizeof letter, "-%c, ", field->letter);
    const char *meta = o->type == MB_OPT_BOOL ? "" : o->meta ? o->meta : o->type == MB_OPT_CHOICE ? "NAME" : "VALUE";
    int at = snprintf(left, sizeof left, "  %s%s%s%s", letter, flag, *meta ? " " : "", meta);
    fprintf(f, "%s", left);
    if (at > INDENT - 2)
        fprintf(f, "\n%*s", INDENT, "");
    else
        fprintf(f, "%*s", INDENT - at, "");
    if (o->type == MB_OPT_CHOICE)
        print_choices(o->choices, choices, sizeof choices);
    print_default(o, def, sizeof def);
    char *text = mb_asprintf("%s%s%s", o->help ? o->help : "", choices, def);
    const char *shown = text ? text : o->help ? o->help : "";
    wrap(f, shown, strlen(shown), INDENT, INDENT, columns);
    mb_free(text);
}

void mb_options_help(const char *program, const mb_verb *verb, int columns, FILE *f) {
    mb_fields fs;
    mb_err e = {0};
    columns = usable_columns(columns, f);
    fprintf(f, "Usage: %s %s %s\n\n", program, verb->name, verb->usage);
    char first = (char)toupper((unsigned char)verb->summary[0]);
    char *summary = mb_asprintf("%c%s.", first, verb->summary + (first != 0));
    if (summary)
        wrap(f, summary, strlen(summary), 0, 0, columns);
    mb_free(summary);
    if (verb->details && *verb->details) {
        fputc('\n', f);
        print_details(f, verb->details, columns);
    }
    if (mb_fields_make(&fs, verb, NULL, NULL, &e)) {
        fprintf(f, "\n(%s)\n", e.text);
        return;
    }
    if (fs.field[0].option == verb->options)
        fputs("\nOptions:\n", f);
    for (int i = 0; i < fs.n; i++) {
        if (fs.field[i].global && (i == 0 || !fs.field[i - 1].global))
            fputs("\nOptions of every command:\n", f);
        print_field(f, &fs.field[i], columns);
    }
    static const char order[] =
        "Order: defaults, then --config, then --set, then flags. Each option is a key of the --config "
        "file under its name.";
    fputc('\n', f);
    wrap(f, order, sizeof order - 1, 0, 0, columns);
    mb_fields_free(&fs);
}

void mb_options_help_program(const char *program, const char *tagline, const mb_verb *verbs, int columns, FILE *f) {
    int widest = 0;
    columns = usable_columns(columns, f);
    char *head = mb_asprintf("%s %s: %s", program, mb_version(), tagline);
    if (head)
        wrap(f, head, strlen(head), 0, 0, columns);
    mb_free(head);
    fprintf(f, "\nUsage: %s COMMAND [options] [arguments]\n\nCommands:\n", program);
    for (const mb_verb *v = verbs; v->name; v++)
        widest = (int)strlen(v->name) > widest ? (int)strlen(v->name) : widest;
    for (const mb_verb *v = verbs; v->name; v++) {
        fprintf(f, "  %-*s  ", widest, v->name);
        wrap(f, v->summary, strlen(v->summary), widest + 4, widest + 4, columns);
    }
    char *tail = mb_asprintf("\"%s COMMAND --help\" says all about a command; \"%s --version\" the version and build.",
                             program, program);
    fputc('\n', f);
    if (tail)
        wrap(f, tail, strlen(tail), 0, 0, columns);
    mb_free(tail);
}

void mb_version_print(const char *program, FILE *f) {
    fprintf(f, "%s %s\n%s\n", program, mb_version(), mb_build());
}

/* ---- effective configuration --------------------------------------------------------------------------------------*/
/* Next code point of a C string; -1 and one byte for what is not UTF-8. */
static long code_point(const char *s, int *bytes) {
    const unsigned char *u = (const unsigned char *)s;
    int extra = u[0] < 0x80                   ? 0
                : u[0] >= 0xC2 && u[0] < 0xE0 ? 1
                : (u[0] & 0xF0) == 0xE0       ? 2
                : u[0] >= 0xF0 && u[0] < 0xF5 ? 3
                                              : -1;
    static const long LEAST[] = {0, 0x80, 0x800, 0x10000};
    *bytes = 1;
    if (extra < 0)
        return -1;
    long c = extra ? u[0] & (0x3F >> extra) : u[0];
    for (int i = 1; i <= extra; i++) {
        if ((u[i] & 0xC0) != 0x80)
            return -1;
        c = c << 6 | (u[i] & 0x3F);
    }
    if (c < LEAST[extra] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        return -1;
    *bytes = extra + 1;
    return c;
}

/* Words and paths that no reader takes for anything else. */
static int plain_text(const char *s) {
    static const char *const TAKEN[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", NULL};
    if (!isalpha((unsigned char)*s) && *s != '/' && !(s[0] == '.' && s[1] == '/'))
        return 0;
    for (int i = 0; TAKEN[i]; i++)
        if (strcasecmp(s, TAKEN[i]) == 0)
            return 0;
    return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./+@%=") == strlen(s);
}

void mb_yaml_print_text(FILE *f, const char *text) {
    if (plain_text(text)) {
        fputs(text, f);
        return;
    }
    int bytes, broken = 0;
    fputc('"', f);
    for (; *text; text += bytes) {
        long c = code_point(text, &bytes);
        broken |= c < 0;
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", (char)c);
        else if (c == '$')
            fputs("$$", f);
        else if (c < 0)
            fputs("\\uFFFD", f);
        else if (c < 0x20 || c == 0x7F)
            fprintf(f, "\\x%02lX", (unsigned long)c);
        else if ((c >= 0x80 && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF || c == 0xFFFE || c == 0xFFFF)
            fprintf(f, "\\u%04lX", (unsigned long)c);
        else
            fwrite(text, 1, (size_t)bytes, f);
    }
    fputs(broken ? "\" # bytes that are not UTF-8 are shown as \\uFFFD" : "\"", f);
}

static int dump_field(FILE *f, const mb_field *field, mb_err *e) {
    char *text;
    int type = field->option->type;
    if (mb_value_format(field->option, field->value, &text))
        return mb_fail(e, MB_NOMEM, "out of memory while printing the configuration");
    fprintf(f, "%s: ", field->option->key);
    if (!text)
        fputs("null", f);
    else if (type == MB_OPT_STRING || type == MB_OPT_CHOICE)
        mb_yaml_print_text(f, text);
    else
        fputs(text, f);
    mb_free(text);
    return MB_OK;
}

mb_global_values mb_globals_asked(const mb_run *run) {
    const mb_globals *g = &run->globals;
    return (mb_global_values){.threads = g->threads_asked,
                              .memory = g->memory_asked,
                              .seed = g->seed,
                              .device = g->device && strcmp(g->device, "ref") == 0,
                              .quiet = g->log_level == MB_LOG_WARN,
                              .verbose = g->log_level == MB_LOG_DEBUG,
                              .dry_run = g->dry_run};
}

int mb_options_dump(const mb_run *run, FILE *f, mb_err *e) {
    mb_global_values g = mb_globals_asked(run);
    mb_fields fs;
    char size[32];
    int rc = mb_fields_make(&fs, run->verb, run->values, &g, e);
    if (rc)
        return rc;
    fprintf(f, "# %s %s\nversion: 1\ncommand: %s\ninputs:%s\n", run->program, mb_version(), run->verb->name,
            run->nargs ? "" : " []");
    for (int i = 0; i < run->nargs; i++) {
        fputs("  - ", f);
        mb_yaml_print_text(f, run->args[i]);
        fputc('\n', f);
    }
    for (int i = 0; i < fs.n && rc == MB_OK && !fs.field[i].control; i++) {
        rc = dump_field(f, &fs.field[i], e);
        if (fs.field[i].value == &g.threads && !g.threads)
            fprintf(f, " # chosen here: %lld", (long long)run->globals.threads);
        if (fs.field[i].value == &g.memory && !g.memory)
            fprintf(f, " # chosen here: %s", mb_human_bytes((double)run->globals.memory, size));
        fputc('\n', f);
    }
    mb_fields_free(&fs);
    if (rc == MB_OK && ferror(f))
        rc = mb_fail_errno(e, MB_IO, "cannot write the configuration");
    return rc;
}
