/* The YAML reader: libyaml's events, an own stack and the limits of yaml.h. libyaml's document API is not used: it
 * drops a second document, accepts cycles and is quadratic in anchors. The parser is stopped at the event that passes a
 * limit, so that its own quadratic nesting never gets going. */
#include "core/yaml.h"
#include "core/file.h"
#include "core/mem.h"
#include "core/yaml_internal.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

typedef struct anchor {
    const char *name;
    mb_yaml_node *node;
    int64_t size; /* nodes it stands for, aliases inside expanded */
    int height;   /* levels below it; 0 for a scalar */
    int open;     /* not ended yet: an alias to it now would be a cycle */
} anchor;

typedef struct frame { /* a list or map that is being filled */
    mb_yaml_node *node;
    int first; /* its first child in builder.child */
    int64_t size;
    int height;
    int anchor; /* -1 none */
} frame;

typedef struct builder {
    mb_yaml *y;
    mb_err *e;
    yaml_parser_t parser;
    frame stack[MB_YAML_MAX_DEPTH];
    int depth;
    mb_yaml_node **child; /* of all open frames, one after the other */
    int n_child, room_child;
    anchor anchor[MB_YAML_MAX_ANCHORS];
    int n_anchor;
    int nodes, documents;
    int64_t repeated;
} builder;

static int no_memory(builder *b) {
    return mb_fail(b->e, MB_NOMEM, "%s: out of memory while reading it", b->y->name);
}

/* libyaml's marks count from 0. */
#define TELL(b, mark, ...) mb_yaml_error((b)->y, (int)(mark).line + 1, (int)(mark).column + 1, (b)->e, __VA_ARGS__)

/* ---- anchors and aliases ------------------------------------------------------------------------------------------*/
static int find_anchor(const builder *b, const char *name) {
    for (int i = 0; i < b->n_anchor; i++)
        if (strcmp(b->anchor[i].name, name) == 0)
            return i;
    return -1;
}

/* *index is -1 when there is no anchor or a wrong one. */
static int add_anchor(builder *b, const yaml_char_t *name, mb_yaml_node *node, int *index) {
    *index = -1;
    if (!name)
        return MB_OK;
    int before = find_anchor(b, (const char *)name);
    if (before >= 0) {
        mb_yaml_error(b->y, node->line, node->column, b->e, "the anchor &%s was given before, at line %d, column %d",
                      (const char *)name, b->anchor[before].node->line, b->anchor[before].node->column);
        return MB_OK;
    }
    if (b->n_anchor == MB_YAML_MAX_ANCHORS) {
        mb_yaml_error(b->y, node->line, node->column, b->e, "more than %d anchors", MB_YAML_MAX_ANCHORS);
        return MB_USAGE;
    }
    size_t n = strlen((const char *)name) + 1;
    char *copy = mb_yaml_take(b->y, n);
    if (!copy)
        return no_memory(b);
    *index = b->n_anchor++;
    b->anchor[*index] = (anchor){.name = memcpy(copy, name, n), .node = node, .size = 1};
    return MB_OK;
}

/* ---- nodes --------------------------------------------------------------------------------------------------------*/
static int new_node(builder *b, mb_yaml_kind kind, yaml_mark_t m, mb_yaml_node **out) {
    if (++b->nodes > MB_YAML_MAX_NODES) {
        TELL(b, m, "more than %d values", MB_YAML_MAX_NODES);
        return MB_USAGE;
    }
    mb_yaml_node *n = mb_yaml_take(b->y, sizeof *n);
    if (!n)
        return no_memory(b);
    *n = (mb_yaml_node){.kind = kind, .line = (int)m.line + 1, .column = (int)m.column + 1};
    *out = n;
    return MB_OK;
}

static int at_key(const builder *b) {
    if (!b->depth)
        return 0;
    const frame *f = &b->stack[b->depth - 1];
    return f->node->kind == MB_YAML_MAP && (b->n_child - f->first) % 2 == 0;
}

/* Hangs a finished node, or one just begun, into the innermost open collection. */
static int attach(builder *b, mb_yaml_node *n) {
    if (!b->depth) {
        b->y->root = n;
        return MB_OK;
    }
    if (b->n_child == b->room_child) {
        int room = b->room_child ? 2 * b->room_child : 256;
        mb_yaml_node **more = mb_realloc_array(b->child, (size_t)room, sizeof *more);
        if (!more)
            return no_memory(b);
        b->child = more;
        b->room_child = room;
    }
    b->child[b->n_child++] = n;
    return MB_OK;
}

static void grow(builder *b, int64_t size, int height) {
    if (!b->depth)
        return;
    frame *f = &b->stack[b->depth - 1];
    f->size += size;
    f->height = f->height > height + 1 ? f->height : height + 1;
}

static void refuse_tag(builder *b, const yaml_event_t *v, const yaml_char_t *tag) {
    if (tag)
        TELL(b, v->start_mark, "the tag %s: tags are not read here, the program knows the type of each value",
             (const char *)tag);
}

static int on_scalar(builder *b, const yaml_event_t *v) {
    mb_yaml_node *n;
    int index, key = at_key(b), rc = new_node(b, MB_YAML_SCALAR, v->start_mark, &n);
    if (rc)
        return rc;
    const char *value = (const char *)v->data.scalar.value;
    char *text = mb_yaml_take(b->y, v->data.scalar.length + 1);
    if (!text)
        return no_memory(b);
    memcpy(text, value, v->data.scalar.length);
    text[v->data.scalar.length] = '\0';
    n->text = text;
    n->quoted = v->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    refuse_tag(b, v, v->data.scalar.tag);
    if (strlen(text) != v->data.scalar.length)
        TELL(b, v->start_mark, "a NUL character (\\0) inside a value");
    if (key && !n->quoted && strcmp(text, "<<") == 0)
        TELL(b, v->start_mark, "merge keys (<<) are not read; write the values out");
    if ((rc = add_anchor(b, v->data.scalar.anchor, n, &index)))
        return rc;
    if (!key && !b->y->raw && (rc = mb_yaml_substitute(b->y, n, b->e)))
        return rc;
    grow(b, 1, 0);
    return attach(b, n);
}

static int on_alias(builder *b, const yaml_event_t *v) {
    mb_yaml_node *n;
    const char *name = (const char *)v->data.alias.anchor;
    int index = find_anchor(b, name), rc = new_node(b, MB_YAML_SCALAR, v->start_mark, &n);
    if (rc)
        return rc;
    n->text = "";
    if (at_key(b))
        TELL(b, v->start_mark, "the alias *%s as a key; a key must be plain text", name);
    else if (index < 0)
        TELL(b, v->start_mark, "the alias *%s names no anchor above it", name);
    else if (b->anchor[index].open)
        TELL(b, v->start_mark, "the alias *%s stands inside what it names", name);
    else {
        const anchor *a = &b->anchor[index];
        int line = n->line, column = n->column;
        *n = *a->node;
        n->line = line;
        n->column = column;
        b->repeated += a->size;
        if (b->repeated > MB_YAML_MAX_REPEATED) {
            mb_yaml_error(b->y, line, column, b->e, "aliases repeat more than %d values", MB_YAML_MAX_REPEATED);
            return MB_USAGE;
        }
        if (b->depth + a->height > MB_YAML_MAX_DEPTH) {
            mb_yaml_error(b->y, line, column, b->e, "nested more than %d levels deep", MB_YAML_MAX_DEPTH);
            return MB_USAGE;
        }
        grow(b, a->size, a->height);
    }
    return attach(b, n);
}

static int on_start(builder *b, const yaml_event_t *v, mb_yaml_kind kind, const yaml_char_t *name,
                    const yaml_char_t *tag) {
    mb_yaml_node *n;
    if (b->depth == MB_YAML_MAX_DEPTH) {
        TELL(b, v->start_mark, "nested more than %d levels deep", MB_YAML_MAX_DEPTH);
        return MB_USAGE;
    }
    if (at_key(b)) {
        TELL(b, v->start_mark, "a key must be plain text, not a list or a map");
        return MB_USAGE;
    }
    int index, rc = new_node(b, kind, v->start_mark, &n);
    if (rc || (rc = add_anchor(b, name, n, &index)) || (rc = attach(b, n)))
        return rc;
    refuse_tag(b, v, tag);
    if (index >= 0)
        b->anchor[index].open = 1;
    b->stack[b->depth++] = (frame){.node = n, .first = b->n_child, .size = 1, .anchor = index};
    return MB_OK;
}

static int by_text_then_place(const void *a, const void *b) {
    const mb_yaml_node *x = *(mb_yaml_node *const *)a, *y = *(mb_yaml_node *const *)b;
    int order = strcmp(x->text, y->text);
    if (order)
        return order;
    return x->line != y->line ? (x->line > y->line) - (x->line < y->line)
                              : (x->column > y->column) - (x->column < y->column);
}

/* Sorted, so that a hostile map of 50,000 keys costs no square. */
static int check_keys(builder *b, const mb_yaml_node *map) {
    if (map->count < 2)
        return MB_OK;
    mb_yaml_node **key = mb_malloc((size_t)map->count * sizeof(mb_yaml_node *));
    if (!key)
        return no_memory(b);
    for (ptrdiff_t i = 0; i < map->count; i++)
        key[i] = map->child[2 * i];
    qsort(key, (size_t)map->count, sizeof(mb_yaml_node *), by_text_then_place);
    for (int i = 1; i < map->count; i++)
        if (strcmp(key[i - 1]->text, key[i]->text) == 0)
            mb_yaml_error(b->y, key[i]->line, key[i]->column, b->e,
                          "the key \"%s\" was given before, at line %d, column %d", key[i]->text, key[i - 1]->line,
                          key[i - 1]->column);
    mb_free(key);
    return MB_OK;
}

static int on_end(builder *b) {
    frame f = b->stack[--b->depth];
    int n = b->n_child - f.first;
    size_t bytes = (size_t)n * sizeof(mb_yaml_node *);
    f.node->child = mb_yaml_take(b->y, bytes ? bytes : 1);
    if (!f.node->child)
        return no_memory(b);
    if (n)
        memcpy(f.node->child, b->child + f.first, bytes);
    b->n_child = f.first;
    f.node->count = f.node->kind == MB_YAML_MAP ? n / 2 : n;
    if (f.anchor >= 0) {
        anchor *a = &b->anchor[f.anchor];
        a->size = f.size;
        a->height = f.height;
        a->open = 0;
    }
    grow(b, f.size, f.height);
    return f.node->kind == MB_YAML_MAP ? check_keys(b, f.node) : MB_OK;
}

/* ---- events -------------------------------------------------------------------------------------------------------*/
static int on_event(builder *b, const yaml_event_t *v) {
    switch (v->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->documents++) {
            TELL(b, v->start_mark, "a second document begins here; a file holds one");
            return MB_USAGE;
        }
        return MB_OK;
    case YAML_SCALAR_EVENT:
        return on_scalar(b, v);
    case YAML_ALIAS_EVENT:
        return on_alias(b, v);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(b, v, MB_YAML_LIST, v->data.sequence_start.anchor, v->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return on_start(b, v, MB_YAML_MAP, v->data.mapping_start.anchor, v->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_end(b);
    default: /* stream start and end, document end */
        return MB_OK;
    }
}

/* libyaml's words where they help, better ones where they do not. */
static int syntax_error(builder *b) {
    static const struct {
        const char *theirs, *ours;
    } WORDS[] = {
        {"mapping values are not allowed in this context",
         "a second \": \" on one line, or a line indented deeper than its neighbours; put a value that holds \": \" in "
         "quotes"},
        {"could not find expected ':'", "a key without \":\" after it; write key: value"},
        {"did not find expected key",
         "this line does not fit the indentation above it, or a quote or bracket is left open"},
        {"did not find expected '-' indicator",
         "this line does not fit the list above it: \"- \" or other indentation expected"},
        {"found unexpected end of stream", "the file ends inside a quoted value; a closing quote is missing"},
        {"block sequence entries are not allowed in this context",
         "a list item \"- \" where none can stand; begin it on a line of its own"},
        {"found incompatible YAML document", "only YAML 1.1 and 1.2 are read"},
    };
    const yaml_parser_t *p = &b->parser;
    if (p->error == YAML_MEMORY_ERROR || p->error == YAML_NO_ERROR)
        return no_memory(b);
    const char *what = p->problem ? p->problem : "not YAML";
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++)
        if (strcmp(what, WORDS[i].theirs) == 0)
            what = WORDS[i].ours;
    if (strcmp(what, "found character that cannot start any token") == 0) {
        int tab = mb_yaml_byte_at(b->y, (int)p->problem_mark.line + 1, (int)p->problem_mark.column + 1) == '\t';
        what = tab ? "a tab is used for indentation; YAML takes spaces only"
                   : "a value cannot begin with this character; put it in quotes";
    }
    if (p->context && (strstr(p->context, "flow") || strstr(p->context, "quoted")))
        TELL(b, p->problem_mark, "%s (in what begins at line %d, column %d)", what, (int)p->context_mark.line + 1,
             (int)p->context_mark.column + 1);
    else
        TELL(b, p->problem_mark, "%s", what);
    return MB_USAGE;
}

static int run_parser(builder *b) {
    for (int done = 0; !done;) {
        yaml_event_t v;
        if (!yaml_parser_parse(&b->parser, &v) || v.type == YAML_NO_EVENT)
            return syntax_error(b);
        int rc = on_event(b, &v);
        done = v.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&v);
        if (rc)
            return rc;
    }
    return MB_OK;
}

static int build(mb_yaml *y, mb_err *e) {
    builder *b = mb_calloc(1, sizeof *b);
    if (!b)
        return mb_fail(e, MB_NOMEM, "%s: out of memory while reading it", y->name);
    b->y = y;
    b->e = e;
    int rc;
    if (!yaml_parser_initialize(&b->parser)) {
        rc = no_memory(b);
        goto done;
    }
    yaml_parser_set_encoding(&b->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b->parser, (const unsigned char *)y->text, y->size);
    rc = run_parser(b);
    yaml_parser_delete(&b->parser);
done:
    mb_free(b->child);
    mb_free(b);
    return rc;
}

/* ---- documents ----------------------------------------------------------------------------------------------------*/
static int create(mb_yaml **out, const char *name, const char *text, size_t n, mb_err *e) {
    mb_yaml *y = mb_calloc(1, sizeof *y);
    *out = y;
    size_t mark = n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0; /* a UTF-8 byte-order mark says nothing */
    if (y && (y->name = mb_strdup(name)) && (y->text = mb_malloc(n - mark + 1))) {
        y->size = n - mark;
        if (y->size)
            memcpy(y->text, text + mark, y->size);
        y->text[y->size] = '\0';
        return MB_OK;
    }
    return mb_fail(e, MB_NOMEM, "%s: out of memory while reading it", name);
}

static int parse(mb_yaml **out, const char *name, const char *text, size_t n, int raw, mb_err *e) {
    mb_yaml *y = NULL;
    *out = NULL;
    if (n > MB_YAML_MAX_BYTES)
        return mb_fail(e, MB_USAGE, "%s: is larger than %d bytes, the most a configuration may have", name,
                       MB_YAML_MAX_BYTES);
    int rc = create(&y, name, text, n, e);
    if (rc == MB_OK)
        y->raw = raw;
    if (rc == MB_OK)
        rc = mb_yaml_check_text(y, e);
    if (rc == MB_OK)
        rc = build(y, e);
    if (rc) {
        if (y && mb_yaml_end_errors(y, e) && rc != MB_NOMEM)
            rc = MB_USAGE;
        mb_yaml_free(y);
        return rc;
    }
    *out = y;
    return MB_OK;
}

static int read_file(mb_yaml **out, const char *path, int raw, mb_err *e) {
    char *text;
    size_t n;
    mb_err why = {0};
    *out = NULL;
    int rc = mb_file_read_all(path, MB_YAML_MAX_BYTES, &text, &n, &why);
    if (rc) /* whatever keeps a configuration from being read, the call is wrong before any work began */
        return mb_fail(e, rc == MB_NOMEM ? rc : MB_USAGE, "%s", why.text);
    rc = parse(out, path, text, n, raw, e);
    mb_free(text);
    return rc;
}

int mb_yaml_parse(mb_yaml **out, const char *name, const char *text, size_t n, mb_err *e) {
    return parse(out, name, text, n, 0, e);
}

int mb_yaml_parse_raw(mb_yaml **out, const char *name, const char *text, size_t n, mb_err *e) {
    return parse(out, name, text, n, 1, e);
}

int mb_yaml_read(mb_yaml **out, const char *path, mb_err *e) {
    return read_file(out, path, 0, e);
}

int mb_yaml_read_raw(mb_yaml **out, const char *path, mb_err *e) {
    return read_file(out, path, 1, e);
}

void mb_yaml_free(mb_yaml *y) {
    if (!y)
        return;
    for (mb_yaml_chunk *c = y->chunks, *next; c; c = next) {
        next = c->next;
        mb_free(c);
    }
    mb_free(y->name);
    mb_free(y->text);
    mb_free(y);
}

const mb_yaml_node *mb_yaml_root(const mb_yaml *y) {
    return y->root;
}

const mb_yaml_node *mb_yaml_get(const mb_yaml_node *map, const char *key) {
    for (ptrdiff_t i = 0; map && map->kind == MB_YAML_MAP && i < map->count; i++)
        if (strcmp(map->child[2 * i]->text, key) == 0)
            return map->child[2 * i + 1];
    return NULL;
}

const char *mb_yaml_library(void) {
    return yaml_get_version_string();
}

int mb_yaml_is_null(const mb_yaml_node *n) {
    if (n->kind != MB_YAML_SCALAR || n->quoted || n->substituted)
        return 0;
    return !*n->text || strcmp(n->text, "~") == 0 || strcmp(n->text, "null") == 0 || strcmp(n->text, "Null") == 0 ||
           strcmp(n->text, "NULL") == 0;
}
