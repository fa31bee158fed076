/* A pickle machine that builds nothing but data. Objects are numbered and refer to each other by number; nothing is
 * copied, called or imported, cycles are harmless because nothing walks deeper than the dict of tensors.
 * Memory is bounded by the length of the pickle: each byte makes at most one object, one stack entry, one memo entry.
 * Refused, with opcode or global and byte: protocols other than 2, opcodes torch.save does not emit for tensors and
 * plain values, unknown globals, wrong arguments, more than MAX_* of anything. */
#include "core/pickle.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

enum { MAX_PICKLE = 32 << 20, MAX_MEMO = 8 << 20, MAX_MARKS = 1000 };

typedef enum kind {
    K_NONE,
    K_BOOL,
    K_INT,
    K_FLOAT, /* the value is not kept: no tensor needs one */
    K_TEXT,
    K_TUPLE,
    K_LIST,
    K_DICT,
    K_GLOBAL,
    K_STORAGE,
    K_TENSOR
} kind;

static const char *const kind_words[] = {"None", "bool", "int",    "float",   "text",  "tuple",
                                         "list", "dict", "global", "storage", "tensor"};

typedef enum global { G_ORDERED_DICT, G_REBUILD_TENSOR, G_REBUILD_PARAMETER, G_STORAGE } global;

static const struct {
    const char *name; /* module and attribute as the pickle writes them */
    global id;
    mb_dtype dtype; /* of a storage */
} globals[] = {
    {"collections\nOrderedDict", G_ORDERED_DICT, 0},
    {"torch._utils\n_rebuild_tensor_v2", G_REBUILD_TENSOR, 0},
    {"torch._utils\n_rebuild_parameter", G_REBUILD_PARAMETER, 0},
    {"torch\nDoubleStorage", G_STORAGE, MB_F64},
    {"torch\nFloatStorage", G_STORAGE, MB_F32},
    {"torch\nHalfStorage", G_STORAGE, MB_F16},
    {"torch\nBFloat16Storage", G_STORAGE, MB_BF16},
    {"torch\nLongStorage", G_STORAGE, MB_I64},
    {"torch\nIntStorage", G_STORAGE, MB_I32},
    {"torch\nShortStorage", G_STORAGE, MB_I16},
    {"torch\nCharStorage", G_STORAGE, MB_I8},
    {"torch\nByteStorage", G_STORAGE, MB_U8},
    {"torch\nBoolStorage", G_STORAGE, MB_BOOL},
};

typedef struct object {
    uint8_t kind;
    uint8_t dtype;  /* K_STORAGE; K_GLOBAL: index into globals */
    uint32_t first; /* K_TUPLE: first item; K_DICT: first pair, 0 none; K_STORAGE: key object; K_TENSOR: args tuple */
    uint32_t last;  /* K_DICT: last pair; K_TUPLE: number of items; K_TEXT: length */
    int64_t value;  /* K_INT, K_BOOL; K_STORAGE: count; K_TEXT: byte in data */
} object;

typedef struct pair {
    uint32_t key, value, next; /* objects; next pair, 0 none */
} pair;

typedef struct vector {
    void *at;
    size_t n, cap, size;
} vector;

typedef struct machine {
    const unsigned char *data;
    size_t n, at;                                 /* at: next byte */
    size_t opcode;                                /* byte of the opcode at work */
    vector object, item, pair, stack, mark, memo; /* item, stack, memo: uint32_t objects; mark: size_t heights */
    const char *where;
    mb_err *e;
} machine;

/* Every access is checked, and the check stays in release builds: the numbers come from the file. */
static object *object_at(const machine *m, uint32_t i) {
    MB_ASSERT(i < m->object.n && m->object.at);
    return (object *)m->object.at + i;
}

static uint32_t item_at(const machine *m, uint32_t i) {
    MB_ASSERT(i < m->item.n && m->item.at);
    return ((const uint32_t *)m->item.at)[i];
}

static pair *pair_at(const machine *m, uint32_t i) {
    MB_ASSERT(i < m->pair.n && m->pair.at);
    return (pair *)m->pair.at + i;
}

/* Height h of the stack, from 0. */
static uint32_t stack_at(const machine *m, size_t h) {
    MB_ASSERT(h < m->stack.n && m->stack.at);
    return ((const uint32_t *)m->stack.at)[h];
}

#define REFUSE(m, ...) refuse(m, MB_FORMAT, __VA_ARGS__)
static int refuse(machine *m, int status, const char *fmt, ...) MB_PRINTF(3, 4);

static int refuse(machine *m, int status, const char *fmt, ...) {
    char why[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    return mb_fail(m->e, status, "%s: byte %zu: %s", m->where, m->opcode, why);
}

static int push_back(machine *m, vector *v, const void *element) {
    if (v->n == v->cap) {
        size_t cap = v->cap ? v->cap * 2 : 64;
        void *p = mb_realloc_array(v->at, cap, v->size);
        if (!p)
            return mb_fail(m->e, MB_NOMEM, "%s: no memory to read it", m->where);
        v->at = p;
        v->cap = cap;
    }
    memcpy((char *)v->at + v->n++ * v->size, element, v->size);
    return MB_OK;
}

static int push_object(machine *m, const object *o) {
    uint32_t index = (uint32_t)m->object.n; /* MAX_PICKLE < 2^32 */
    int rc = push_back(m, &m->object, o);
    return rc == MB_OK ? push_back(m, &m->stack, &index) : rc;
}

/* ---- stack --------------------------------------------------------------------------------------------------------
 */

/* Height below which the innermost mark forbids to pop. */
static size_t stack_floor(const machine *m) {
    return m->mark.n ? ((const size_t *)m->mark.at)[m->mark.n - 1] : 0;
}

static int need(machine *m, size_t count) {
    return m->stack.n - stack_floor(m) >= count ? MB_OK : REFUSE(m, "the stack is empty: the file is damaged");
}

/* Pops the innermost mark: the objects above it are STACK(from..stack.n). */
static int pop_mark(machine *m, size_t *from) {
    if (m->mark.n == 0)
        return REFUSE(m, "no mark on the stack: the file is damaged");
    *from = ((const size_t *)m->mark.at)[--m->mark.n];
    return MB_OK;
}

/* Replaces the topmost count objects by a tuple of them. */
static int make_tuple(machine *m, size_t count) {
    object o = {.kind = K_TUPLE, .first = (uint32_t)m->item.n, .last = (uint32_t)count};
    for (size_t i = m->stack.n - count; i < m->stack.n; i++) {
        uint32_t index = stack_at(m, i);
        int rc = push_back(m, &m->item, &index);
        if (rc != MB_OK)
            return rc;
    }
    m->stack.n -= count;
    return push_object(m, &o);
}

/* ---- dicts --------------------------------------------------------------------------------------------------------
 */

static int dict_add(machine *m, uint32_t dict, uint32_t key, uint32_t value) {
    pair p = {.key = key, .value = value};
    uint32_t index = (uint32_t)m->pair.n;
    int rc = push_back(m, &m->pair, &p);
    if (rc != MB_OK)
        return rc;
    object *d = object_at(m, dict);
    if (d->first)
        pair_at(m, d->last)->next = index;
    else
        d->first = index;
    d->last = index;
    return MB_OK;
}

/* Sets the pairs STACK(from..) in the dict below them. */
static int set_items(machine *m, size_t from) {
    size_t count = m->stack.n - from;
    if (from == stack_floor(m) || object_at(m, stack_at(m, from - 1))->kind != K_DICT || count % 2)
        return REFUSE(m, "SETITEMS without a dict and whole pairs");
    for (size_t i = from; i < m->stack.n; i += 2) {
        int rc = dict_add(m, stack_at(m, from - 1), stack_at(m, i), stack_at(m, i + 1));
        if (rc != MB_OK)
            return rc;
    }
    m->stack.n = from;
    return MB_OK;
}

/* ---- arguments in the byte stream ---------------------------------------------------------------------------------
 */

static int take(machine *m, size_t count, const unsigned char **p) {
    *p = m->data + m->at;
    if (m->n - m->at < count)
        return REFUSE(m, "the pickle ends in the middle of an instruction: the file is cut short");
    m->at += count;
    return MB_OK;
}

/* count bytes, little endian, unsigned */
static int take_number(machine *m, size_t count, uint64_t *v) {
    const unsigned char *p;
    int rc = take(m, count, &p);
    *v = 0;
    for (size_t i = 0; rc == MB_OK && i < count; i++)
        *v |= (uint64_t)p[i] << (8 * i);
    return rc;
}

/* LONG1: a length byte, then that many bytes of two's complement. */
static int take_long(machine *m, int64_t *v) {
    uint64_t length, bits;
    int rc = take_number(m, 1, &length);
    if (rc != MB_OK)
        return rc;
    if (length > 8)
        return REFUSE(m, "an integer of %d bytes", (int)length);
    if ((rc = take_number(m, (size_t)length, &bits)) != MB_OK)
        return rc;
    if (length > 0 && length < 8 && (bits >> (8 * length - 1)))
        bits |= ~(uint64_t)0 << (8 * length);
    *v = (int64_t)bits;
    return MB_OK;
}

static int push_text(machine *m, size_t length_bytes) {
    const unsigned char *p;
    uint64_t length;
    int rc = take_number(m, length_bytes, &length);
    if (rc == MB_OK && (rc = take(m, (size_t)length, &p)) == MB_OK) {
        object o = {.kind = K_TEXT, .value = p - m->data, .last = (uint32_t)length};
        return push_object(m, &o);
    }
    return rc;
}

static int push_int(machine *m, int64_t value) {
    object o = {.kind = K_INT, .value = value};
    return push_object(m, &o);
}

/* GLOBAL: "module\nattribute\n" */
static int push_global(machine *m) {
    const char *text = (const char *)m->data + m->at;
    const char *module_end = memchr(text, '\n', m->n - m->at);
    const char *end =
        module_end ? memchr(module_end + 1, '\n', m->n - (size_t)(module_end + 1 - (const char *)m->data)) : NULL;
    if (!end)
        return REFUSE(m, "the pickle ends in the middle of an instruction: the file is cut short");
    size_t length = (size_t)(end - text);
    m->at += length + 1;
    for (size_t g = 0; g < sizeof globals / sizeof *globals; g++)
        if (strlen(globals[g].name) == length && memcmp(globals[g].name, text, length) == 0) {
            object o = {.kind = K_GLOBAL, .dtype = (uint8_t)g};
            return push_object(m, &o);
        }
    return refuse(m, MB_NOTSUP,
                  "it wants the Python object %.*s.%.*s, which is not run; save only the state dict: "
                  "torch.save(model.state_dict(), FILE)",
                  (int)(module_end - text > 80 ? 80 : module_end - text), text,
                  (int)(end - module_end - 1 > 80 ? 80 : end - module_end - 1), module_end + 1);
}

/* ---- objects torch makes ------------------------------------------------------------------------------------------
 */

static int text_is(const machine *m, const object *o, const char *text) {
    return o->kind == K_TEXT && o->last == strlen(text) && memcmp(m->data + o->value, text, o->last) == 0;
}

/* BINPERSID: ("storage", torch.XStorage, key, device, count) */
static int make_storage(machine *m) {
    int rc = need(m, 1);
    if (rc != MB_OK)
        return rc;
    const object *t = object_at(m, stack_at(m, m->stack.n - 1));
    m->stack.n--;
    if (t->kind != K_TUPLE || t->last != 5)
        return REFUSE(m, "a persistent id that is no tuple of 5");
    const object *tag = object_at(m, item_at(m, t->first)), *type = object_at(m, item_at(m, t->first + 1)),
                 *key = object_at(m, item_at(m, t->first + 2)), *device = object_at(m, item_at(m, t->first + 3)),
                 *count = object_at(m, item_at(m, t->first + 4));
    if (!text_is(m, tag, "storage") || type->kind != K_GLOBAL || globals[type->dtype].id != G_STORAGE ||
        key->kind != K_TEXT || key->last == 0 || device->kind != K_TEXT || count->kind != K_INT || count->value < 0)
        return REFUSE(m, "a persistent id that is not (\"storage\", type, key, device, count)");
    object o = {.kind = K_STORAGE,
                .dtype = (uint8_t)globals[type->dtype].dtype,
                .first = item_at(m, t->first + 2),
                .value = count->value};
    return push_object(m, &o);
}

/* tuple of at most MB_TENSOR_MAX_DIMS non-negative integers */
static int is_sizes(const machine *m, const object *t) {
    if (t->kind != K_TUPLE || t->last > MB_TENSOR_MAX_DIMS)
        return 0;
    for (uint32_t i = 0; i < t->last; i++) {
        const object *v = object_at(m, item_at(m, t->first + i));
        if (v->kind != K_INT || v->value < 0)
            return 0;
    }
    return 1;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks[, metadata]) */
static int make_tensor(machine *m, const object *args, uint32_t args_index) {
    if (args->last != 6 && args->last != 7)
        return REFUSE(m, "_rebuild_tensor_v2 with %u arguments, not 6 or 7", args->last);
    const object *arg[7] = {NULL};
    for (uint32_t i = 0; i < args->last; i++)
        arg[i] = object_at(m, item_at(m, args->first + i));
    if (arg[0]->kind != K_STORAGE || arg[1]->kind != K_INT || arg[1]->value < 0 || !is_sizes(m, arg[2]) ||
        !is_sizes(m, arg[3]) || arg[2]->last != arg[3]->last)
        return REFUSE(m,
                      "_rebuild_tensor_v2 whose arguments are not a storage, an offset, and size and stride of up to "
                      "%d dimensions",
                      MB_TENSOR_MAX_DIMS);
    if (args->last == 7 && arg[6]->kind != K_NONE && !(arg[6]->kind == K_DICT && !arg[6]->first))
        return REFUSE(m, "a tensor with metadata (a lazy conjugate or negative), which is not read");
    object o = {.kind = K_TENSOR, .first = args_index};
    return push_object(m, &o);
}

/* REDUCE: callable, tuple -> object */
static int reduce(machine *m) {
    int rc = need(m, 2);
    if (rc != MB_OK)
        return rc;
    uint32_t args_index = stack_at(m, m->stack.n - 1);
    const object *f = object_at(m, stack_at(m, m->stack.n - 2)), *args = object_at(m, args_index);
    if (f->kind != K_GLOBAL || args->kind != K_TUPLE)
        return REFUSE(m, "a call of a %s", kind_words[f->kind]);
    m->stack.n -= 2;
    switch (globals[f->dtype].id) {
    case G_ORDERED_DICT:
        if (args->last != 0)
            return REFUSE(m, "OrderedDict with arguments");
        return push_object(m, &(object){.kind = K_DICT});
    case G_REBUILD_TENSOR:
        return make_tensor(m, args, args_index);
    case G_REBUILD_PARAMETER: /* (tensor, requires_grad, hooks) -> the tensor */
        if (args->last != 3 || object_at(m, item_at(m, args->first))->kind != K_TENSOR)
            return REFUSE(m, "_rebuild_parameter without a tensor");
        args_index = item_at(m, args->first);
        return push_back(m, &m->stack, &args_index);
    case G_STORAGE:
        break;
    }
    return REFUSE(m, "a call of a storage type");
}

/* BUILD: sets attributes (state_dict._metadata), which nobody needs. */
static int build(machine *m) {
    int rc = need(m, 2);
    if (rc != MB_OK)
        return rc;
    if (object_at(m, stack_at(m, m->stack.n - 2))->kind != K_DICT ||
        object_at(m, stack_at(m, m->stack.n - 1))->kind != K_DICT)
        return REFUSE(m, "BUILD of something else than an OrderedDict");
    m->stack.n--;
    return MB_OK;
}

/* ---- memo ---------------------------------------------------------------------------------------------------------
 */

static int memo_put(machine *m, size_t index_bytes) {
    uint64_t index;
    int rc = take_number(m, index_bytes, &index);
    if (rc == MB_OK)
        rc = need(m, 1);
    if (rc != MB_OK)
        return rc;
    if (index >= MAX_MEMO || index > m->memo.n) /* picklers number from 0 on */
        return REFUSE(m, "memo entry %llu out of turn", (unsigned long long)index);
    uint32_t top = stack_at(m, m->stack.n - 1);
    if (index == m->memo.n)
        return push_back(m, &m->memo, &top);
    ((uint32_t *)m->memo.at)[index] = top;
    return MB_OK;
}

static int memo_get(machine *m, size_t index_bytes) {
    uint64_t index;
    int rc = take_number(m, index_bytes, &index);
    if (rc != MB_OK)
        return rc;
    if (index >= m->memo.n)
        return REFUSE(m, "memo entry %llu was never stored", (unsigned long long)index);
    uint32_t value = ((const uint32_t *)m->memo.at)[index];
    return push_back(m, &m->stack, &value);
}

/* ---- the machine --------------------------------------------------------------------------------------------------
 */

static int append_to_list(machine *m, size_t from) {
    if (from == stack_floor(m) || object_at(m, stack_at(m, from - 1))->kind != K_LIST)
        return REFUSE(m, "APPENDS without a list");
    m->stack.n = from; /* no tensor needs the items of a list */
    return MB_OK;
}

static int marked(machine *m, int (*act)(machine *, size_t)) {
    size_t from = 0;
    int rc = pop_mark(m, &from);
    return rc == MB_OK ? act(m, from) : rc;
}

static int tuple_from(machine *m, size_t from) {
    return make_tuple(m, m->stack.n - from);
}

static int push_mark(machine *m) {
    if (m->mark.n >= MAX_MARKS)
        return REFUSE(m, "nested deeper than %d levels", MAX_MARKS);
    size_t height = m->stack.n;
    return push_back(m, &m->mark, &height);
}

static int short_tuple(machine *m, size_t count) {
    int rc = need(m, count);
    return rc == MB_OK ? make_tuple(m, count) : rc;
}

/* An opcode with an integer argument of count bytes; BININT alone is signed. */
static int push_number(machine *m, size_t count) {
    uint64_t v;
    int rc = take_number(m, count, &v);
    return rc == MB_OK ? push_int(m, count == 4 ? (int32_t)(uint32_t)v : (int64_t)v) : rc;
}

static int protocol(machine *m) {
    uint64_t v;
    int rc = take_number(m, 1, &v);
    if (rc == MB_OK && v != 2)
        rc = refuse(m, MB_NOTSUP, "pickle protocol %d; only 2 is read, which torch.save writes unless told otherwise",
                    (int)v);
    return rc;
}

static int step(machine *m, unsigned char op) {
    const unsigned char *p;
    int64_t v = 0;
    int rc;
    switch (op) {
    case 0x80: /* PROTO */
        return protocol(m);
    case '(': /* MARK */
        return push_mark(m);
    case ')': /* EMPTY_TUPLE */
        return make_tuple(m, 0);
    case 't': /* TUPLE */
        return marked(m, tuple_from);
    case 0x85: /* TUPLE1 */
    case 0x86:
    case 0x87:
        return short_tuple(m, op - 0x84u);
    case '}': /* EMPTY_DICT */
        return push_object(m, &(object){.kind = K_DICT});
    case ']': /* EMPTY_LIST */
        return push_object(m, &(object){.kind = K_LIST});
    case 's': /* SETITEM */
        return (rc = need(m, 3)) == MB_OK ? set_items(m, m->stack.n - 2) : rc;
    case 'u': /* SETITEMS */
        return marked(m, set_items);
    case 'a': /* APPEND */
        return (rc = need(m, 2)) == MB_OK ? append_to_list(m, m->stack.n - 1) : rc;
    case 'e': /* APPENDS */
        return marked(m, append_to_list);
    case 'X': /* BINUNICODE */
        return push_text(m, 4);
    case 'U': /* SHORT_BINSTRING: text of Python 2 */
        return push_text(m, 1);
    case 'J': /* BININT */
        return push_number(m, 4);
    case 'M': /* BININT2 */
        return push_number(m, 2);
    case 'K': /* BININT1 */
        return push_number(m, 1);
    case 0x8a: /* LONG1 */
        return (rc = take_long(m, &v)) == MB_OK ? push_int(m, v) : rc;
    case 'G': /* BINFLOAT */
        return (rc = take(m, 8, &p)) == MB_OK ? push_object(m, &(object){.kind = K_FLOAT}) : rc;
    case 'N': /* NONE */
        return push_object(m, &(object){.kind = K_NONE});
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_object(m, &(object){.kind = K_BOOL, .value = op == 0x88});
    case 'c': /* GLOBAL */
        return push_global(m);
    case 'Q': /* BINPERSID */
        return make_storage(m);
    case 'R': /* REDUCE */
        return reduce(m);
    case 'b': /* BUILD */
        return build(m);
    case 'q': /* BINPUT */
        return memo_put(m, 1);
    case 'r': /* LONG_BINPUT */
        return memo_put(m, 4);
    case 'h': /* BINGET */
        return memo_get(m, 1);
    case 'j': /* LONG_BINGET */
        return memo_get(m, 4);
    }
    return refuse(m, MB_NOTSUP,
                  "pickle opcode 0x%02x is not one that a state dict needs; save only the state dict: "
                  "torch.save(model.state_dict(), FILE)",
                  op);
}

/* Runs to STOP; the one object then on the stack is the result. */
static int run(machine *m, uint32_t *result) {
    for (;;) {
        const unsigned char *op;
        m->opcode = m->at;
        int rc = take(m, 1, &op);
        if (rc != MB_OK)
            return rc;
        if (*op == '.') { /* STOP */
            if (m->mark.n || m->stack.n != 1)
                return REFUSE(m, "the pickle stops with %zu objects on the stack: the file is damaged", m->stack.n);
            if (m->at != m->n)
                return REFUSE(m, "%zu bytes follow the end of the pickle", m->n - m->at);
            *result = stack_at(m, 0);
            return MB_OK;
        }
        if ((rc = step(m, *op)) != MB_OK)
            return rc;
    }
}

/* ---- the dict of tensors ------------------------------------------------------------------------------------------
 */

static void fill(const machine *m, const object *tensor, mb_pickle_tensor *t) {
    const object *args = object_at(m, tensor->first), *storage = object_at(m, item_at(m, args->first)),
                 *shape = object_at(m, item_at(m, args->first + 2)),
                 *stride = object_at(m, item_at(m, args->first + 3)), *key = object_at(m, storage->first);
    t->storage = (const char *)m->data + key->value;
    t->storage_length = key->last;
    t->dtype = (mb_dtype)storage->dtype;
    t->storage_count = storage->value;
    t->offset = object_at(m, item_at(m, args->first + 1))->value;
    t->ndim = (int)shape->last;
    for (int i = 0; i < t->ndim; i++) {
        t->shape[i] = object_at(m, item_at(m, shape->first + (uint32_t)i))->value;
        t->stride[i] = object_at(m, item_at(m, stride->first + (uint32_t)i))->value;
    }
}

/* The dict under the key "state_dict", or dict itself. *wrapped tells which. */
static int unwrap(machine *m, uint32_t top, uint32_t *dict, int *wrapped, mb_err *e) {
    *wrapped = 0;
    *dict = top;
    if (object_at(m, top)->kind == K_TENSOR)
        return mb_fail(e, MB_FORMAT, "%s: holds one bare tensor, not a state dict", m->where);
    if (object_at(m, top)->kind != K_DICT)
        return mb_fail(e, MB_FORMAT, "%s: holds a %s, not a state dict", m->where, kind_words[object_at(m, top)->kind]);
    for (uint32_t i = object_at(m, top)->first; i; i = pair_at(m, i)->next) {
        const pair *p = pair_at(m, i);
        if (!text_is(m, object_at(m, p->key), "state_dict") || object_at(m, p->value)->kind != K_DICT)
            continue;
        *dict = p->value;
        *wrapped = 1;
    }
    return MB_OK;
}

static int begins_with_model(const machine *m, const object *key) {
    return key->kind == K_TEXT && key->last > 6 && memcmp(m->data + key->value, "model.", 6) == 0;
}

static int walk(machine *m, uint32_t top, mb_pickle_each *each, void *user, mb_err *e) {
    uint32_t dict;
    int wrapped, rc = unwrap(m, top, &dict, &wrapped, e);
    if (rc != MB_OK)
        return rc;
    size_t drop = wrapped ? 6 : 0;
    for (uint32_t i = object_at(m, dict)->first; i; i = pair_at(m, i)->next)
        if (!begins_with_model(m, object_at(m, pair_at(m, i)->key)))
            drop = 0;
    for (uint32_t i = object_at(m, dict)->first; i; i = pair_at(m, i)->next) {
        const object *key = object_at(m, pair_at(m, i)->key), *value = object_at(m, pair_at(m, i)->value);
        if (key->kind != K_TEXT)
            return mb_fail(e, MB_FORMAT, "%s: the state dict has a %s as key", m->where, kind_words[key->kind]);
        mb_pickle_tensor t = {.name = (const char *)m->data + key->value + drop, .name_length = key->last - drop};
        if (value->kind != K_TENSOR)
            return mb_fail(e, MB_FORMAT, "%s: %.*s is a %s, not a tensor", m->where,
                           (int)(key->last > 200 ? 200 : key->last), (const char *)m->data + key->value,
                           kind_words[value->kind]);
        fill(m, value, &t);
        if ((rc = each(user, &t, e)) != MB_OK)
            return rc;
    }
    return MB_OK;
}

int mb_pickle_state_dict(const unsigned char *data, size_t n, const char *where, mb_pickle_each *each, void *user,
                         mb_err *e) {
    if (n > MAX_PICKLE)
        return mb_fail(e, MB_FORMAT, "%s: a pickle of %zu bytes; at most %d are read", where, n, MAX_PICKLE);
    machine m = {.data = data, .n = n, .where = where, .e = e};
    m.object.size = sizeof(object);
    m.pair.size = sizeof(pair);
    m.mark.size = sizeof(size_t);
    m.item.size = m.stack.size = m.memo.size = sizeof(uint32_t);
    uint32_t top = 0;
    int rc = push_back(&m, &m.pair, &(pair){0}); /* pair 0 means none */
    if (rc == MB_OK)
        rc = run(&m, &top);
    if (rc == MB_OK)
        rc = walk(&m, top, each, user, e);
    mb_free(m.object.at);
    mb_free(m.item.at);
    mb_free(m.pair.at);
    mb_free(m.stack.at);
    mb_free(m.mark.at);
    mb_free(m.memo.at);
    return rc;
}
