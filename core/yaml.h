/* YAML text to a tree whose nodes know where they stand in the file. Types are not guessed: a scalar is text, and
 * whether it was quoted; the reader's schema decides what it means.
 *
 * Hostile files are refused, each with its place: more than 1 MiB, 100,000 nodes, nesting beyond 64, 256 anchors or
 * 10,000 nodes repeated by aliases; duplicate keys and anchors, unknown aliases, an alias inside what it names, tags,
 * merge keys
 * (<<), keys that are no plain text, a second document, NUL and control characters, invalid UTF-8, tabs as indentation.
 * In values ${env:NAME}, ${env:NAME:-default}, ${env:NAME:?message} and $$ are replaced after parsing, so that no
 * environment can add structure. */
#ifndef MB_YAML_H
#define MB_YAML_H
#include "core/error.h"

typedef enum mb_yaml_kind { MB_YAML_SCALAR, MB_YAML_MAP, MB_YAML_LIST } mb_yaml_kind;

typedef struct mb_yaml_node {
    mb_yaml_kind kind;
    int line, column; /* where it begins, from 1; columns count characters. An alias: where the alias stands */
    int quoted;       /* scalar: in quotes or a block, so it is a string and never null, true or a number */
    int substituted;  /* scalar: ${...} was replaced in it */
    const char *text; /* scalar: UTF-8, no NUL inside; NULL otherwise */
    int count;        /* list: items; map: pairs */
    struct mb_yaml_node **child; /* list: (count); map: (2*count) key, value, key, value, ... in file order */
} mb_yaml_node;

typedef struct mb_yaml mb_yaml; /* owns the text and every node */

/* name is used in messages. Errors are MB_USAGE, each told in e as "name:line:column: error: what" with the source line
 * and a caret, at most 20. Those that leave a tree (a duplicate key, an unknown alias, a tag, an unset variable) do not
 * end the call: the reader checks the tree, tells its own errors with mb_yaml_error, and MUST close with
 * mb_yaml_end_errors, so that a user sees all errors of a file at once. The root of an empty document is NULL. */
int mb_yaml_parse(mb_yaml **out, const char *name, const char *text, size_t n, mb_err *e) MB_MUST_USE;
int mb_yaml_read(mb_yaml **out, const char *path, mb_err *e) MB_MUST_USE;
/* The same with values as they are written: ${...} and $$ stay, for readers that know more names than the environment's
 * and replace them with mb_yaml_replace. JSON is read so too. */
int mb_yaml_parse_raw(mb_yaml **out, const char *name, const char *text, size_t n, mb_err *e) MB_MUST_USE;
int mb_yaml_read_raw(mb_yaml **out, const char *path, mb_err *e) MB_MUST_USE;
void mb_yaml_free(mb_yaml *y);
const mb_yaml_node *mb_yaml_root(const mb_yaml *y);
const mb_yaml_node *mb_yaml_get(const mb_yaml_node *map, const char *key); /* the value, or NULL */
const char *mb_yaml_library(void);          /* version of the parser behind, for records */
int mb_yaml_is_null(const mb_yaml_node *n); /* nothing, ~ or null, unquoted */

enum { MB_YAML_WHY = 600, MB_YAML_LONGEST_VALUE = 64 * 1024 };
/* What "${body}" stands for: MB_OK with *value (borrowed until the next call), MB_NOMEM, or MB_USAGE with why
 * (MB_YAML_WHY bytes). body may be altered. */
typedef int mb_yaml_lookup(void *user, char *body, const char **value, char *why);
/* *out: text with every ${...} and $$ replaced (mb_free); at most MB_YAML_LONGEST_VALUE bytes. MB_USAGE: why, and *out
 * is NULL. */
int mb_yaml_replace(const char *text, mb_yaml_lookup *lookup, void *user, char **out, char *why) MB_MUST_USE;
/* The lookup of ${env:NAME}, ${env:NAME:-default} and ${env:NAME:?message}. user: nothing. */
int mb_yaml_environment(void *user, char *body, const char **value, char *why) MB_MUST_USE;

/* For schemas: adds an error with the source line and a caret to e, after those already there; from the 21st on, or
 * when e is full, they are only counted. mb_yaml_end_errors adds the count of those and returns MB_USAGE if there was
 * any error, else MB_OK. e may be NULL. */
void mb_yaml_error(mb_yaml *y, int line, int column, mb_err *e, const char *fmt, ...) MB_PRINTF(5, 6);
int mb_yaml_end_errors(mb_yaml *y, mb_err *e) MB_MUST_USE;
#endif
