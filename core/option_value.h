/* One value of an option table: from text and back, by the option's type, range and choices. */
#ifndef MB_OPTION_VALUE_H
#define MB_OPTION_VALUE_H
#include "core/options.h"

enum { MB_OPTIONS_WHY = 512 }; /* bytes of a reason */

/* Reads text into *value. Returns MB_OK, MB_NOMEM, or MB_USAGE with the reason, without the key, in why. */
int mb_value_parse(const mb_option *o, const char *text, void *value, char *why) MB_MUST_USE;
/* The default; for strings frees what is there. */
int mb_value_reset(const mb_option *o, void *value) MB_MUST_USE;
/* As a user would type it. *text is NULL for an unset string; free with mb_free. */
int mb_value_format(const mb_option *o, const void *value, char **text) MB_MUST_USE;
/* "1 to 256", "at least 1"; empty when unchecked. out holds 64 bytes. */
char *mb_value_range(const mb_option *o, char *out);
#endif
