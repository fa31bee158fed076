/* Text to times, values and parts. Refuses what is not wholly a number, NaN and infinities, and what does not fit. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "recsys/intake.h"

enum { TEXT_MAX = 63 };

/* A number of digits only, exact to the last of 64 bits: the usual time. */
static int parse_whole(rec_span s, int64_t *out) {
    size_t i = s.n && (s.at[0] == '-' || s.at[0] == '+');
    const int sign = s.n && s.at[0] == '-' ? -1 : 1;
    int64_t v = 0;
    if (i == s.n)
        return 0;
    for (; i < s.n; i++) {
        if (s.at[i] < '0' || s.at[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, sign * (s.at[i] - '0'), &v))
            return 0;
    }
    *out = v;
    return 1;
}

/* Digits and a point, 15 digits at the most: their quotient by a power of ten is correctly rounded, as both are exact.
 */
static int parse_plain(rec_span s, double *out) {
    static const double TEN[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const size_t sign = s.n && s.at[0] == '-';
    int64_t v = 0;
    int digits = 0, behind = -1; /* behind the point; -1 before it */
    if (s.n > 16 + sign)
        return 0;
    for (size_t i = sign; i < s.n; i++) {
        if (s.at[i] == '.' && behind < 0) {
            behind = 0;
            continue;
        }
        if (s.at[i] < '0' || s.at[i] > '9')
            return 0;
        v = 10 * v + (s.at[i] - '0');
        digits++;
        behind += behind >= 0;
    }
    if (digits == 0 || digits > 15)
        return 0;
    *out = (sign ? -1 : 1) * (double)v / TEN[behind > 0 ? behind : 0];
    return 1;
}

static const char *parse_double(rec_span s, double *out) {
    char copy[TEXT_MAX + 1], *end;
    if (parse_plain(s, out))
        return NULL;
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

/* ---- dates ----------------------------------------------------------------------------------------------------------
 */
/* `digits` digits at *p as a number in [low, high]; *p behind them. */
static int take_digits(const char **p, const char *end, int digits, int low, int high, int *out) {
    int v = 0;
    if (end - *p < digits)
        return 0;
    for (int i = 0; i < digits; i++, ++*p) {
        if (**p < '0' || **p > '9')
            return 0;
        v = 10 * v + (**p - '0');
    }
    *out = v;
    return v >= low && v <= high;
}

static int take_letter(const char **p, const char *end, const char *letters) {
    if (*p == end || !memchr(letters, **p, strlen(letters)))
        return 0;
    ++*p;
    return 1;
}

/* Days from 1970-01-01 of the Gregorian calendar: years begin in March, so that the leap day is their last. */
static int64_t days_of(int y, int m, int d) {
    y -= m <= 2;
    const int64_t era = (y >= 0 ? y : y - 399) / 400, year = y - era * 400;
    const int64_t day = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + year * 365 + year / 4 - year / 100 + day - 719468;
}

static int days_in(int y, int m) {
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return DAYS[m - 1] + (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
}

static int take_zone(const char **p, const char *end, int *seconds) {
    int h, m = 0;
    *seconds = 0;
    if (*p == end || take_letter(p, end, "Zz"))
        return *p == end;
    const int sign = **p == '-' ? -1 : 1;
    if (!take_letter(p, end, "+-") || !take_digits(p, end, 2, 0, 23, &h))
        return 0;
    if (*p != end && (take_letter(p, end, ":"), !take_digits(p, end, 2, 0, 59, &m)))
        return 0;
    *seconds = sign * (3600 * h + 60 * m);
    return *p == end;
}

/* YYYY-MM-DD[(T| )hh:mm[:ss[.f...]][zone]] as Unix seconds and a fraction. */
static int parse_date(rec_span s, int64_t *seconds, double *fraction) {
    const char *p = s.at, *end = s.at + s.n;
    int y, mo, d, h = 0, mi = 0, sec = 0, zone = 0;
    *fraction = 0;
    if (!take_digits(&p, end, 4, 0, 9999, &y) || !take_letter(&p, end, "-") || !take_digits(&p, end, 2, 1, 12, &mo) ||
        !take_letter(&p, end, "-") || !take_digits(&p, end, 2, 1, days_in(y, mo), &d))
        return 0;
    if (p != end) {
        if (!take_letter(&p, end, "Tt ") || !take_digits(&p, end, 2, 0, 23, &h) || !take_letter(&p, end, ":") ||
            !take_digits(&p, end, 2, 0, 59, &mi))
            return 0;
        if (take_letter(&p, end, ":") && !take_digits(&p, end, 2, 0, 60, &sec))
            return 0;
        double unit = 1;
        int digit;
        if (take_letter(&p, end, ".,"))
            while (take_digits(&p, end, 1, 0, 9, &digit))
                *fraction += digit * (unit /= 10);
        if (!take_zone(&p, end, &zone))
            return 0;
    }
    *seconds = ((days_of(y, mo, d) * 24 + h) * 60 + mi) * 60 + sec - zone;
    return 1;
}

/* (int64_t) of these is defined. */
static int fits(double x) {
    return x >= -9223372036854775808.0 && x < 9223372036854775808.0;
}

const char *rec_parse_time(rec_span s, double scale, int64_t *time, int *cut) {
    double x, fraction;
    *cut = 0;
    if (scale == 1 && parse_whole(s, time))
        return NULL;
    if (s.n > 4 && s.at[4] == '-' && parse_date(s, time, &fraction)) {
        x = (double)*time + fraction;
        *cut = fraction != 0;
        if (scale == 1)
            return NULL;
    } else {
        const char *wrong = parse_double(s, &x);
        if (wrong)
            return wrong;
    }
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
