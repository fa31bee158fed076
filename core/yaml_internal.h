/* Parts of the YAML reader: memory of a document, checks before parsing, substitution. */
#ifndef MB_YAML_INTERNAL_H
#define MB_YAML_INTERNAL_H
#include "core/yaml.h"

enum {
    MB_YAML_MAX_BYTES = 1 << 20,
    MB_YAML_MAX_NODES = 100000,
    MB_YAML_MAX_DEPTH = 64,
    MB_YAML_MAX_ANCHORS = 256,
    MB_YAML_MAX_REPEATED = 10000,
    MB_YAML_MAX_ERRORS = 20,
    MB_YAML_MAX_SUBSTITUTED = 4 * 1024 * 1024 /* bytes of all values of a file after substitution */
};

typedef struct mb_yaml_chunk {
    struct mb_yaml_chunk *next;
    size_t used, room;
} mb_yaml_chunk;

struct mb_yaml {
    char *name;
    char *text; /* the file without a byte-order mark, for parsing and for quoting lines in messages */
    size_t size;
    mb_yaml_node *root;
    mb_yaml_chunk *chunks;
    size_t substituted; /* bytes */
    int raw;            /* values stay as written */
    int errors, untold; /* found; of those, not in the text */
};

/* From the document's own memory, aligned for anything; NULL without memory. */
void *mb_yaml_take(mb_yaml *y, size_t bytes);
/* The byte at a place as messages count it, 0 when there is none. */
int mb_yaml_byte_at(const mb_yaml *y, int line, int column);
/* Encoding and characters. Returns MB_OK or MB_USAGE with one error told. */
int mb_yaml_check_text(mb_yaml *y, mb_err *e);
/* Replaces ${...} and $$ in n->text. Wrong substitutions are told as errors of y (and MB_OK is returned); MB_NOMEM. */
int mb_yaml_substitute(mb_yaml *y, mb_yaml_node *n, mb_err *e);
#endif
