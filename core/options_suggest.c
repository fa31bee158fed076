/* The name a user meant. Distance: Damerau-Levenshtein in its "optimal string alignment" form (insert, delete, replace,
 * swap neighbours); '-' and '_' are one letter. */
#include "core/options.h"

#include <string.h>

enum { LONGEST = 64 };

static int same(char a, char b) {
    return a == b || ((a == '-' || a == '_') && (b == '-' || b == '_'));
}

static int least(int a, int b) {
    return a < b ? a : b;
}

/* Three rows of the table: i-2, i-1, i. */
static int distance(const char *a, int n, const char *b, int m) {
    int row[3][LONGEST + 1];
    for (int j = 0; j <= m; j++)
        row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            now[j] = least(least(before[j], now[j - 1]) + 1, before[j - 1] + !same(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                now[j] = least(now[j], earlier[j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

const char *mb_suggest(const char *word, const char *const *names, int n) {
    size_t length = strlen(word);
    const char *best = NULL, *begun = NULL;
    if (!length || length > LONGEST)
        return NULL;
    int limit = length < 4 ? 1 : least((int)length / 3, 4), nearest = (length >= 4 && limit < 2 ? 2 : limit) + 1;
    for (int i = 0; i < n; i++) {
        size_t m = strlen(names[i]);
        if (m > LONGEST)
            continue;
        int d = distance(word, (int)length, names[i], (int)m);
        if (d < nearest && d < (int)m) {
            nearest = d;
            best = names[i];
        }
        if (length >= 3 && m > length && strncmp(word, names[i], length) == 0 && !begun)
            begun = names[i];
    }
    return best ? best : begun;
}
