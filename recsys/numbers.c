/* Text to times, values and parts. Refuses what is not wholly a number, NaN and infinities, and what does not fit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "recsys/intake.h"

enum { MOST_DIGITS = 18, TEXT_MAX = 63 };

/* A number of digits only: the usual time. */
static int parse_whole(rec_span s, int64_t *out) {
    size_t i = s.n && (s.at[0] == '-' || s.at[0] == '+');
    if (s.n - i == 0 || s.n - i > MOST_DIGITS)
        return 0;
    int64_t v = 0;
    for (; i < s.n; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return 0;
        v = 10 * v + (s.at[i] - '0');
    }
    *out = s.at[0] == '-' ? -v : v;
    return 1;
}

static const char *parse_double(rec_span s, double *out) {
    char copy[TEXT_MAX + 1], *end;
    if (s.n == 0)
        return "is empty";
    if (s.n > TEXT_MAX)
        return "is too long for a number";
    memcpy(copy, s.at, s.n);
    copy[s.n] = '\0';
    for (size_t i = 0; i < s.n; i++) /* neither hexadecimal nor inf nor nan nor blanks */
        if (!memchr("0123456789.+-eE", copy[i], 15))
            return "is no number";
    *out = strtod(copy, &end);
    if (end != copy + s.n)
        return "is no number";
    return isfinite(*out) ? NULL : "is out of range";
}

/* (int64_t) of these is defined. */
static int fits(double x) {
    return x >= -9223372036854775808.0 && x < 9223372036854775808.0;
}

const char *rec_parse_time(rec_span s, double scale, int64_t *time, int *cut) {
    double x;
    *cut = 0;
    if (scale == 1 && parse_whole(s, time))
        return NULL;
    const char *wrong = parse_double(s, &x);
    if (wrong)
        return wrong;
    x *= scale;
    const double whole = floor(x);
    if (!fits(whole))
        return "is out of the range of 64 bits";
    *cut = whole != x;
    *time = (int64_t)whole;
    return NULL;
}

const char *rec_parse_value(rec_span s, float *value) {
    int64_t whole;
    double x;
    if (s.n <= 7 && parse_whole(s, &whole)) {
        *value = (float)whole;
        return NULL;
    }
    const char *wrong = parse_double(s, &x);
    if (wrong)
        return wrong;
    *value = (float)x;
    return isfinite(*value) ? NULL : "is out of the range of 32-bit floats";
}

const char *rec_parse_part(rec_span s, int *part) {
    static const struct {
        const char *word;
        int part;
    } WORD[] = {{"train", 0}, {"valid", 1}, {"validation", 1}, {"val", 1}, {"dev", 1}, {"test", 2}};
    for (size_t i = 0; i < sizeof WORD / sizeof *WORD; i++)
        if (s.n == strlen(WORD[i].word) && strncasecmp(s.at, WORD[i].word, s.n) == 0) {
            *part = WORD[i].part;
            return NULL;
        }
    return "is neither train nor valid nor test";
}
