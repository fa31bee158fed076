/* A pipeline file as a tree of our own: files named by "extends" merged in, --set applied, every node with the file,
 * line and column it comes from. ${...} stays as written; whoever reads a value replaces it. Nothing is understood here
 * but "extends".
 *
 * Errors are collected, each once, as mb_yaml_error tells them: whoever reads the tree goes on after pipe_complain and
 * asks pipe_document_end at the end. */
#ifndef PIPE_DOCUMENT_H
#define PIPE_DOCUMENT_H
#include "core/options.h"
#include "core/yaml.h"
#include "pipelines/pool.h"

typedef struct pipe_source { /* a file, or a --set */
    struct pipe_source *next;
    mb_yaml *yaml;
    const char *path;
} pipe_source;

typedef struct pipe_place {
    pipe_source *source;
    int line, column;
} pipe_place;

typedef struct pipe_node {
    mb_yaml_kind kind;
    pipe_place at;
    int quoted;
    const char *text;        /* scalar */
    int n;                   /* items or pairs */
    struct pipe_node **item; /* list (n) */
    struct pipe_pair *pair;  /* map (n), in the order of their first appearance */
} pipe_node;

typedef struct pipe_pair {
    const char *key;
    pipe_place at; /* of the key */
    pipe_node *value;
} pipe_pair;

typedef struct pipe_document {
    pipe_pool pool;
    pipe_source *source; /* newest first */
    pipe_node *root;     /* a map; may be empty */
    mb_err *e;
    int n_sources, errors;
    const char **told; /* (n_told) */
    int n_told;
} pipe_document;

enum { PIPE_EXTENDS_DEPTH = 8, PIPE_EXTENDS_FILES = 64 };

/* MB_OK: there is a tree; errors that leave one (a duplicate key) are counted in d. e is kept for later errors. d needs
 * pipe_document_free in every case. */
int pipe_document_load(pipe_document *d, const char *path, const mb_set *sets, int n_sets, mb_err *e) MB_MUST_USE;
/* The same from text, for tests and fuzzers; name stands in messages, and files it extends are sought from the working
 * folder. */
int pipe_document_parse(pipe_document *d, const char *name, const char *text, size_t n, mb_err *e) MB_MUST_USE;
void pipe_document_free(pipe_document *d);

void pipe_complain(pipe_document *d, pipe_place at, const char *fmt, ...) MB_PRINTF(3, 4);
/* MB_USAGE with everything told, or MB_OK. */
int pipe_document_end(pipe_document *d) MB_MUST_USE;

const pipe_node *pipe_get(const pipe_node *map, const char *key); /* NULL when there is none */
int pipe_is_null(const pipe_node *n);                             /* nothing, ~ or null, unquoted */
const char *pipe_kind_words(const pipe_node *n);                  /* "a map", "a list", "a value" */
#endif
