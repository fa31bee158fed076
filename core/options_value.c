/* One value of the option table: text to value, value to text, ranges. Numbers are strict: no leading zeros,
 * underscores, hexadecimal, infinities; what is refused says what to write instead. */
#include "core/mem.h"
#include "core/options_internal.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int refuse(char *why, const char *fmt, ...) MB_PRINTF(2, 3);
static int refuse(char *why, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, MB_OPTIONS_WHY, fmt, args);
    va_end(args);
    return MB_USAGE;
}

char *mb_value_range(const mb_option *o, char *out) {
    if (o->min == 0 && o->max == 0)
        out[0] = '\0';
    else if (o->max < o->min)
        snprintf(out, 64, "at least %.15g", o->min);
    else
        snprintf(out, 64, "%.15g to %.15g", o->min, o->max);
    return out;
}

static int check_range(const mb_option *o, double v, const char *text, char *why) {
    char range[64];
    if ((o->min == 0 && o->max == 0) || (v >= o->min && (v <= o->max || o->max < o->min)))
        return MB_OK;
    return refuse(why, "%.100s is out of range; it must be %s", text, mb_value_range(o, range));
}

/* Digits of a whole number: how many, without sign. */
static size_t digits(const char *s) {
    return strspn(s, "0123456789");
}

/* Says what is wrong with a number that was not read to its end. */
static int refuse_number(const char *text, const char *wanted, char *why) {
    const char *s = text + (*text == '-' || *text == '+');
    if (!*text)
        return refuse(why, "a value is missing; %s expected", wanted);
    if (isdigit((unsigned char)*s) && strchr(s, '_'))
        return refuse(why, "%.100s: write the number without underscores", text);
    if (isdigit((unsigned char)*s) && strchr(s, ','))
        return refuse(why, "%.100s: write the number without commas", text);
    if (s[0] == '0' && digits(s) > 1)
        return refuse(why, "%.100s has a leading zero; write %.100s%.100s", text, *text == '-' ? "-" : "",
                      s + strspn(s, "0") - (digits(s) == strspn(s, "0")));
    return refuse(why, "\"%.100s\" is not %s", text, wanted);
}

/* Power of the suffix at s, in units of unit (1000 or 1024); 0 when it is none. */
static int64_t suffix(const char *s, int64_t unit) {
    static const char LETTERS[] = "kMGTP";
    if (!*s)
        return 1;
    const char *at = strchr(LETTERS, *s == 'K'                             ? 'k'
                                     : *s == 'm' || *s == 'g' || *s == 't' ? toupper((unsigned char)*s)
                                                                           : *s);
    if (!at || (s[1] && !(unit == 1024 && strcmp(s + 1, "iB") == 0)))
        return 0;
    int64_t m = 1;
    for (const char *l = LETTERS; l <= at; l++)
        m *= unit;
    return m;
}

static int parse_int(const mb_option *o, const char *text, int64_t *out, char *why) {
    const char *s = text + (*text == '-' || *text == '+');
    size_t n = digits(s);
    int64_t scale = n ? suffix(s + n, 1000) : 0, v = 0;
    int over = 0;
    if (!scale || (n > 1 && *s == '0')) {
        if (n && (s[n] == '.' || ((s[n] | 32) == 'e' && isdigit((unsigned char)s[n + 1]))))
            return refuse(why, "%.100s: a whole number is expected, such as 1000000 or 1M", text);
        return refuse_number(text, "a whole number", why);
    }
    for (size_t i = 0; i < n; i++)
        over |= __builtin_mul_overflow(v, (int64_t)10, &v) || __builtin_add_overflow(v, (int64_t)(s[i] - '0'), &v);
    over |= __builtin_mul_overflow(v, scale, &v);
    if (over)
        return refuse(why, "%.100s is too large", text);
    if (*text == '-')
        v = -v;
    int rc = check_range(o, (double)v, text, why);
    if (rc == MB_OK)
        *out = v;
    return rc;
}

/* [-+]digits[.digits][e[-+]digits], as YAML 1.2 core and JSON; strtod's other words are not read. */
static size_t float_length(const char *text) {
    const char *s = text + (*text == '-' || *text == '+');
    size_t whole = digits(s), part = 0;
    s += whole;
    if (*s == '.')
        s += 1 + (part = digits(s + 1));
    if (!whole && !part)
        return 0;
    if (*s == 'e' || *s == 'E') {
        const char *power = s + 1 + (s[1] == '-' || s[1] == '+');
        if (digits(power))
            s = power + digits(power);
    }
    return (size_t)(s - text);
}

static int parse_float(const mb_option *o, const char *text, double *out, char *why) {
    size_t n = float_length(text), sign = *text == '-' || *text == '+';
    if (!n || text[n] || (text[sign] == '0' && digits(text + sign) > 1))
        return refuse_number(text, "a number", why);
    double v = strtod(text, NULL);
    if (!isfinite(v))
        return refuse(why, "%.100s is too large", text);
    int rc = check_range(o, v, text, why);
    if (rc == MB_OK)
        *out = v;
    return rc;
}

static int parse_bytes(const mb_option *o, const char *text, int64_t *out, char *why) {
    size_t n = strspn(text, "0123456789."), len = strlen(text);
    int64_t scale = n && float_length(text) == n ? suffix(text + n, 1024) : 0;
    if (n && !scale && len > n + 1 && isalpha((unsigned char)text[n]) && (text[len - 1] | 32) == 'b')
        return refuse(why, "%.100s: write %.*s%c or %.*s%ciB, which count in 1024", text, (int)n, text,
                      toupper((unsigned char)text[n]), (int)n, text, toupper((unsigned char)text[n]));
    if (!scale || (text[0] == '0' && digits(text) > 1))
        return refuse_number(text, "a size such as 512M or 4G", why);
    double v = floor(strtod(text, NULL) * (double)scale);
    if (!(v < 0x1p62))
        return refuse(why, "%.100s is too large", text);
    int rc = check_range(o, v, text, why);
    if (rc == MB_OK)
        *out = (int64_t)v;
    return rc;
}

static int parse_bool(const char *text, int *out, char *why) {
    static const char *const YES[] = {"yes", "on", "y", "1"}, *const NO[] = {"no", "off", "n", "0"};
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        *out = *text == 't';
        return MB_OK;
    }
    for (int i = 0; i < 4; i++) {
        if (strcasecmp(text, YES[i]) == 0)
            return refuse(why, "\"%s\" is no truth value here; write true", text);
        if (strcasecmp(text, NO[i]) == 0)
            return refuse(why, "\"%s\" is no truth value here; write false", text);
    }
    if (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0)
        return refuse(why, "\"%s\": write %s, in small letters", text, (*text | 32) == 't' ? "true" : "false");
    return refuse(why, "\"%.100s\" is neither true nor false", text);
}

static int choice_count(const char *choices) {
    int n = 1;
    for (const char *c = choices; *c; c++)
        n += *c == '|';
    return n;
}

/* The i-th of "a|b|c": its beginning and length. */
static const char *choice_at(const char *choices, int i, size_t *n) {
    for (; i; i--)
        choices = strchr(choices, '|') + 1;
    *n = strcspn(choices, "|");
    return choices;
}

static int parse_choice(const mb_option *o, const char *text, int *out, char *why) {
    enum { MOST = 64, ROOM = 1024 };
    char names[ROOM], listed[300] = "";
    const char *name[MOST];
    int count = choice_count(o->choices);
    MB_ASSERT(count <= MOST && strlen(o->choices) < ROOM);
    memcpy(names, o->choices, strlen(o->choices) + 1);
    for (int i = 0; i < count; i++) {
        size_t n, at = strlen(listed);
        const char *c = choice_at(o->choices, i, &n);
        names[c - o->choices + (ptrdiff_t)n] = '\0';
        name[i] = names + (c - o->choices);
        if (strcmp(name[i], text) == 0) {
            *out = i;
            return MB_OK;
        }
        snprintf(listed + at, sizeof listed - at, "%s%s", i == 0 ? "" : i == count - 1 ? " or " : ", ", name[i]);
    }
    const char *near = mb_suggest(text, name, count);
    return refuse(why, "\"%.100s\" is not among %s%s%s%s", text, listed, near ? "; did you mean " : "",
                  near ? near : "", near ? "?" : "");
}

static int set_string(const char *text, char **out) {
    char *copy = NULL;
    if (text && !(copy = mb_strdup(text)))
        return MB_NOMEM;
    mb_free(*out);
    *out = copy;
    return MB_OK;
}

int mb_value_parse(const mb_option *o, const char *text, void *value, char *why) {
    why[0] = '\0';
    switch (o->type) {
    case MB_OPT_BOOL:
        return parse_bool(text, value, why);
    case MB_OPT_INT:
        return parse_int(o, text, value, why);
    case MB_OPT_BYTES:
        return parse_bytes(o, text, value, why);
    case MB_OPT_FLOAT:
        return parse_float(o, text, value, why);
    case MB_OPT_STRING:
        return set_string(text, value);
    case MB_OPT_CHOICE:
        return parse_choice(o, text, value, why);
    }
    MB_ASSERT(!"an option type");
    return MB_INTERNAL;
}

int mb_value_reset(const mb_option *o, void *value) {
    char why[MB_OPTIONS_WHY];
    if (o->type == MB_OPT_STRING)
        return set_string(o->def, value);
    if (o->def) {
        int rc = mb_value_parse(o, o->def, value, why);
        MB_ASSERT(rc == MB_OK); /* a default of the table that the table refuses */
        return rc;
    }
    if (o->type == MB_OPT_FLOAT)
        *(double *)value = 0;
    else if (o->type == MB_OPT_INT || o->type == MB_OPT_BYTES)
        *(int64_t *)value = 0;
    else
        *(int *)value = 0;
    return MB_OK;
}

/* The shortest decimal that reads back as the same double. */
static char *format_float(double v) {
    char text[40];
    for (int precision = 6; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, v);
        if (strtod(text, NULL) == v)
            break;
    }
    return mb_strdup(text);
}

/* Largest suffix that divides: 4294967296 is 4G. */
static char *format_bytes(int64_t v) {
    static const char LETTERS[] = "KMGTP";
    int i = -1;
    while (v && v % 1024 == 0 && i < 4)
        v /= 1024, i++;
    return i < 0 ? mb_asprintf("%lld", (long long)v) : mb_asprintf("%lld%c", (long long)v, LETTERS[i]);
}

int mb_value_format(const mb_option *o, const void *value, char **text) {
    const char *s;
    size_t n;
    switch (o->type) {
    case MB_OPT_BOOL:
        *text = mb_strdup(*(const int *)value ? "true" : "false");
        break;
    case MB_OPT_INT:
        *text = mb_asprintf("%lld", (long long)*(const int64_t *)value);
        break;
    case MB_OPT_BYTES:
        *text = format_bytes(*(const int64_t *)value);
        break;
    case MB_OPT_FLOAT:
        *text = format_float(*(const double *)value);
        break;
    case MB_OPT_STRING:
        s = *(char *const *)value;
        *text = s ? mb_strdup(s) : NULL;
        return s && !*text ? MB_NOMEM : MB_OK;
    case MB_OPT_CHOICE:
        s = choice_at(o->choices, *(const int *)value, &n);
        *text = mb_asprintf("%.*s", (int)n, s);
        break;
    }
    return *text ? MB_OK : MB_NOMEM;
}
