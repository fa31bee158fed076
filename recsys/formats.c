/* Which format a text has, by its first lines, and which of its columns are which. Refuses what it cannot tell apart
 * (three or four numbers a line may be a row of columns or a sequence), naming the options that decide. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"
#include "recsys/image.h"
#include "recsys/intake.h"

enum { LOOK = 1 << 20, LOOK_LINES = 64, LOOK_FIELDS = 256 };

const char *const REC_ROLE[REC_ROLES] = {"user", "item", "time", "value", "aux", "split"};

/* ---- names of columns -----------------------------------------------------------------------------------------------
 */
static const char *const USUAL[REC_ROLES] = {
    " user userid uid session sessionid visitorid customerid reviewerid studentid ",
    " item itemid iid movieid movie productid asin trackid songid articleid bookid isbn skillid sku ",
    " timestamp time ts unixreviewtime datetime date eventtime ",
    " rating value score overall correct label answer ",
    " aux problemid problem ",
    " split ",
};

int rec_role_rank(int role, rec_span name) {
    char plain[40] = " ";
    size_t k = 1;
    for (size_t i = 0; i < name.n; i++) {
        const char c = name.at[i];
        if (k + 2 >= sizeof plain)
            return -1;
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            plain[k++] = c;
        else if (c >= 'A' && c <= 'Z')
            plain[k++] = (char)(c - 'A' + 'a');
        else if ((unsigned char)c >= 0x80)
            return -1;
    }
    plain[k++] = ' ';
    plain[k] = '\0';
    const char *at = k > 2 ? strstr(USUAL[role], plain) : NULL;
    return at ? (int)(at - USUAL[role]) : -1;
}

static int set_column(rec_columns *c, char *word, mb_err *e) {
    char *equals = strchr(word, '=');
    if (!equals || !equals[1])
        return mb_fail(e, MB_USAGE, "--columns: '%s' is not ROLE=NAME", word);
    *equals = '\0';
    for (int r = 0; r < REC_ROLES; r++)
        if (strcmp(word, REC_ROLE[r]) == 0) {
            if (c->name[r])
                return mb_fail(e, MB_USAGE, "--columns: %s is there twice", word);
            c->name[r] = equals + 1;
            return MB_OK;
        }
    return mb_fail(e, MB_USAGE, "--columns: '%s' is none of user, item, time, value, aux and split", word);
}

int rec_columns_parse(rec_columns *c, const char *text, mb_err *e) {
    *c = (rec_columns){0};
    if (!text)
        return MB_OK;
    c->text = mb_strdup(text);
    if (!c->text)
        return mb_fail(e, MB_NOMEM, "no memory for --columns");
    int rc = MB_OK;
    char *rest = NULL;
    for (char *word = strtok_r(c->text, ",", &rest); rc == MB_OK && word; word = strtok_r(NULL, ",", &rest))
        rc = set_column(c, word, e);
    for (int r = REC_USER; rc == MB_OK && r <= REC_ITEM; r++)
        if (c->name[r] && strcmp(c->name[r], "-") == 0)
            rc = mb_fail(e, MB_USAGE, "--columns: the %s cannot be left out", REC_ROLE[r]);
    if (rc != MB_OK)
        rec_columns_free(c);
    return rc;
}

void rec_columns_free(rec_columns *c) {
    mb_free(c->text);
    *c = (rec_columns){0};
}

/* A column's number from 0, or -1. */
static int column_number(const char *name) {
    char *end;
    const long k = name[0] >= '1' && name[0] <= '9' ? strtol(name, &end, 10) : 0;
    return k > 0 && k <= 100000 && *end == '\0' ? (int)k - 1 : -1;
}

/* Whether columns are given, all as numbers: then there is no line of names. */
static int all_numbers(const rec_columns *c) {
    int given = 0;
    for (int r = 0; r < REC_ROLES; r++) {
        if (!c->name[r] || strcmp(c->name[r], "-") == 0)
            continue;
        if (column_number(c->name[r]) < 0)
            return 0;
        given = 1;
    }
    return given;
}

static int find_field(const rec_columns *c, int role, const rec_span *field, int n) {
    int best = -1, rank = 0;
    if (c->name[role]) {
        for (int i = 0; i < n; i++)
            if (field[i].n == strlen(c->name[role]) && memcmp(field[i].at, c->name[role], field[i].n) == 0)
                return i;
        const int k = column_number(c->name[role]);
        return k < n ? k : -1;
    }
    for (int i = 0; i < n; i++) {
        const int r = rec_role_rank(role, field[i]);
        if (r >= 0 && (best < 0 || r < rank)) {
            best = i;
            rank = r;
        }
    }
    return best;
}

int rec_find_columns(rec_layout *l, const rec_columns *c, const rec_span *field, int n, const rec_text *t, mb_err *e) {
    for (int r = 0; r < REC_ROLES; r++) {
        const int left_out = c->name[r] && strcmp(c->name[r], "-") == 0;
        l->column[r] = left_out ? -1 : find_field(c, r, field, n);
        if (l->column[r] < 0 && c->name[r] && !left_out)
            return mb_fail(e, MB_FORMAT, "%s:%" PRId64 ": there is no column %s among its %d", t->name, t->line,
                           c->name[r], n);
        if (r <= REC_ITEM && l->column[r] < 0)
            return mb_fail(e, MB_FORMAT,
                           "%s:%" PRId64 ": none of its %d columns is called like one of %ss: --columns %s=NAME",
                           t->name, t->line, n, REC_ROLE[r], REC_ROLE[r]);
    }
    return MB_OK;
}

/* ---- the first lines ------------------------------------------------------------------------------------------------
 */
typedef struct glance {
    rec_span line[LOOK_LINES]; /* the first is not empty */
    int n;
} glance;

static int look(glance *g, rec_text *t, mb_err *e) {
    const char *p;
    size_t have;
    int rc = rec_text_peek(t, LOOK, &p, &have, e);
    const char *end = p + have;
    g->n = 0;
    if (rc != MB_OK)
        return rc;
    if (have >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
        p += 3;
    while (p < end && g->n < LOOK_LINES) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl && have >= LOOK && g->n) /* the window ends in this line */
            break;
        rec_span s = {p, (size_t)((nl ? nl : end) - p)};
        if (s.n && s.at[s.n - 1] == '\r')
            s.n--;
        if (s.n || g->n)
            g->line[g->n++] = s;
        p = nl ? nl + 1 : end;
    }
    return g->n ? MB_OK : mb_fail(e, MB_FORMAT, "%s: is empty", t->name);
}

static int split(rec_span s, char delimiter, rec_span *field, int most) {
    int n = 0;
    const char *p = s.at, *end = s.at + s.n;
    while (n < most) {
        const char *stop = p < end ? memchr(p, delimiter, (size_t)(end - p)) : NULL;
        field[n++] = (rec_span){p, (size_t)((stop ? stop : end) - p)};
        if (!stop)
            break;
        p = stop + 1;
    }
    return n;
}

static int contains(rec_span s, const char *part) {
    return memmem(s.at, s.n, part, strlen(part)) != NULL;
}

static rec_span unquoted(rec_span s) {
    return s.n >= 2 && s.at[0] == '"' && s.at[s.n - 1] == '"' ? (rec_span){s.at + 1, s.n - 2} : s;
}

static int has_names(const glance *g, char delimiter, const rec_columns *c) {
    rec_span f[LOOK_FIELDS];
    const int n = split(g->line[0], delimiter, f, LOOK_FIELDS);
    if (n < 2)
        return 0;
    for (int i = 0; i < n; i++)
        f[i] = unquoted(f[i]);
    return find_field(c, REC_USER, f, n) >= 0 && find_field(c, REC_ITEM, f, n) >= 0;
}

static int count_entries(rec_span s) {
    while (s.n && (s.at[s.n - 1] == ',' || s.at[s.n - 1] == ' '))
        s.n--;
    int n = s.n > 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.at[i] == ',';
    return n;
}

static int is_list(rec_span s, const char *letters) {
    for (size_t i = 0; i < s.n; i++)
        if (!memchr(letters, s.at[i], strlen(letters)))
            return 0;
    return 1;
}

/* Numbers of zeros and ones apart by commas; blanks only behind these, so that no pair of words looks like one. */
static int is_answers(rec_span s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.at[i] == ' ' && (i == 0 || s.at[i - 1] != ','))
            return 0;
    return is_list(s, "01,. ");
}

/* Whether the line says n, and nothing else. */
static int says(rec_span s, int n) {
    char text[24] = "", *end;
    if (s.n == 0 || s.n >= sizeof text)
        return 0;
    memcpy(text, s.at, s.n);
    return strtol(text, &end, 10) == n && *end == '\0';
}

/* Whether blocks of `lines` lines begin here: as many entries in each but the first, answers of 0 and 1 in the last.
 * most: blocks to look at. *sized as in rec_layout: when every one of these says its own length. */
static int is_blocks(const glance *g, int lines, int most, int *sized) {
    int alone = 1, second = 1, blocks = 0;
    for (int i = 0; i + lines <= g->n && blocks < most; i += lines, blocks++) {
        while (i + lines < g->n && g->line[i].n == 0) /* empty lines between blocks */
            i++;
        const rec_span answers = g->line[i + lines - 1];
        const int n = count_entries(answers), head = count_entries(g->line[i]);
        if (head < 1 || head > 2 || !is_answers(answers))
            return 0;
        for (int k = 1; k < lines - 1; k++)
            if (count_entries(g->line[i + k]) != n || contains(g->line[i + k], "\t"))
                return 0;
        rec_span f[2] = {{0}};
        const int fields = split(g->line[i], ',', f, 2);
        alone &= head == 1 && says(f[0], n);
        second &= head == 2 && says(f[fields - 1], n);
    }
    *sized = alone ? 1 : second ? 2 : 0;
    return blocks > 0;
}

static int count_words(rec_span s, rec_span *third, rec_span *last) {
    int n = 0;
    for (size_t i = 0; i < s.n;) {
        while (i < s.n && (s.at[i] == ' ' || s.at[i] == '\t'))
            i++;
        const size_t from = i;
        while (i < s.n && s.at[i] != ' ' && s.at[i] != '\t')
            i++;
        if (i > from) {
            n++;
            *last = (rec_span){s.at + from, i - from};
            if (n == 3)
                *third = *last;
        }
    }
    return n;
}

/* Words a line: the same 3 or 4 everywhere, with what looks like a Unix time at the end or a fraction in the third, is
 * a table without names rather than sequences. */
static int recognise_words(rec_layout *l, const glance *g, const rec_text *t, mb_err *e) {
    int least = INT32_MAX, most = 0, tabular = 1;
    for (int i = 0; i < g->n; i++) {
        rec_span third = {"", 0}, last = {"", 0};
        if (g->line[i].n == 0)
            continue;
        const int n = count_words(g->line[i], &third, &last);
        least = n < least ? n : least;
        most = n > most ? n : most;
        tabular &= (n == 3 || n == 4) && n == most &&
                   ((last.n >= 9 && last.n <= 13 && is_list(last, "0123456789")) || contains(third, "."));
    }
    if (tabular)
        return mb_fail(e, MB_FORMAT,
                       "%s:1: %d numbers a line without a line of names: give --format tsv --columns "
                       "user=1,item=2,%s for a table apart by tabs, or --format sequences",
                       t->name, most, most == 3 ? "time=3 (or value=3)" : "value=3,time=4");
    l->format = least == 2 && most == 2 ? REC_FORMAT_PAIRS : REC_FORMAT_SEQUENCES;
    return MB_OK;
}

/* Whether the lines are identifiers apart by blanks: letters, digits and what holds these together. Prose, which ends
 * words by points, is asked for by name if it is a log at all. */
static int is_words(const glance *g) {
    for (int i = 0; i < g->n; i++) {
        const rec_span s = g->line[i];
        for (size_t k = 0; k < s.n; k++) {
            const unsigned char c = (unsigned char)s.at[k];
            const int last = k + 1 == s.n || s.at[k + 1] == ' ' || s.at[k + 1] == '\t';
            if (!(c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
                  (c && strchr(last ? " \t_" : " \t_-.:@/#+=", c))))
                return 0;
        }
    }
    return 1;
}

static int recognise_text(rec_layout *l, const glance *g, const rec_columns *c, const rec_text *t, mb_err *e) {
    static const char DELIMITER[] = "\t,;|";
    const rec_span first = g->line[0];
    if (first.at[0] == '{')
        l->format = REC_FORMAT_JSONL;
    else if (rec_rows_is_atomic(first))
        l->format = REC_FORMAT_INTER;
    else if (contains(first, "::"))
        l->format = REC_FORMAT_MOVIELENS;
    else if (is_blocks(g, 4, LOOK_LINES, &l->sized) || is_blocks(g, 3, LOOK_LINES, &l->sized))
        l->format = REC_FORMAT_BLOCKS;
    if (l->format)
        return MB_OK;
    /* Named or numbered columns make it a table; whether they are there is seen when its first line is read. */
    for (const char *d = DELIMITER; *d; d++)
        if (memchr(first.at, *d, first.n) && (c->name[REC_USER] || c->name[REC_ITEM] || has_names(g, *d, c))) {
            l->format = *d == '\t' ? REC_FORMAT_TSV : REC_FORMAT_CSV;
            return MB_OK;
        }
    if (is_words(g))
        return recognise_words(l, g, t, e);
    return mb_fail(e, MB_FORMAT,
                   "%s:1: this form is not known: a table needs a line of names with a user and an item among them, or "
                   "--columns user=NAME,item=NAME (or numbers: user=1,item=2); --format says what it is otherwise",
                   t->name);
}

static char delimiter_of(const rec_layout *l, const glance *g, const rec_columns *c) {
    if (l->format != REC_FORMAT_CSV)
        return '\t';
    for (const char *d = ",;|\t"; *d; d++)
        if (has_names(g, *d, c))
            return *d;
    for (const char *d = ",;|\t"; *d; d++)
        if (memchr(g->line[0].at, *d, g->line[0].n))
            return *d;
    return ',';
}

int rec_recognise(rec_layout *l, rec_format format, const rec_columns *c, rec_text *t, mb_err *e) {
    glance *g = mb_malloc(sizeof *g);
    *l = (rec_layout){.format = format};
    int rc = g ? look(g, t, e) : mb_fail(e, MB_NOMEM, "%s: no memory to look at it", t->name);
    if (rc == MB_OK && l->format == REC_FORMAT_AUTO)
        rc = recognise_text(l, g, c, t, e);
    if (rc == MB_OK && l->format == REC_FORMAT_BLOCKS) {
        const int most = format == REC_FORMAT_BLOCKS ? 1 : LOOK_LINES; /* asked for: the others may be malformed */
        l->lines = is_blocks(g, 4, most, &l->sized) ? 4 : is_blocks(g, 3, most, &l->sized) ? 3 : 0;
        if (!l->lines)
            rc = mb_fail(e, MB_FORMAT,
                         "%s:1: expected blocks of 3 or 4 lines: the student, (problems,) concepts, answers of 0 and 1",
                         t->name);
    }
    if (rc == MB_OK) {
        l->delimiter = delimiter_of(l, g, c);
        l->header = l->format == REC_FORMAT_INTER || !all_numbers(c);
        for (int r = 0; r < REC_ROLES; r++)
            l->column[r] = c->name[r] ? column_number(c->name[r]) : -1;
    }
    mb_free(g);
    return rc;
}

int rec_read_text(rec_intake *in, rec_text *t, const rec_columns *c, mb_err *e) {
    rec_layout l;
    const char *start;
    size_t n;
    int rc = rec_text_peek(t, sizeof REC_MAGIC - 1, &start, &n, e);
    if (rc == MB_OK && n >= sizeof REC_MAGIC - 1 && memcmp(start, REC_MAGIC, sizeof REC_MAGIC - 1) == 0)
        return mb_fail(
            e, MB_USAGE,
            "%s: is a log that recmamba prep made, not text: other verbs map it, as a plain file, and prep has "
            "nothing left to do",
            t->name);
    if (rc == MB_OK)
        rc = rec_recognise(&l, in->o->format, c, t, e);
    if (rc != MB_OK)
        return rc;
    switch (l.format) {
    case REC_FORMAT_CSV:
    case REC_FORMAT_TSV:
    case REC_FORMAT_INTER:
    case REC_FORMAT_MOVIELENS:
        return rec_read_delimited(in, t, &l, c, e);
    case REC_FORMAT_BLOCKS:
        return rec_read_blocks(in, t, &l, e);
    case REC_FORMAT_JSONL:
        return rec_read_json(in, t, c, e);
    default:
        return rec_read_sequences(in, t, &l, e);
    }
}
