/* Identifiers and their numbers 0, 1, ... in the order in which they come; and the index by which identifiers are found
 * in a table that may as well be mapped from a file. */
#ifndef REC_NAMES_H
#define REC_NAMES_H
#include <stdint.h>
#include "core/error.h"

/* An identifier's bytes; more are refused: no identifier is like that. */
#define REC_NAME_MAX 65535

typedef struct rec_table {
    int32_t n;
    const int64_t *at;    /* (n+1) where each begins in text */
    const char *text;     /* (at[n]) */
    const uint64_t *slot; /* (slots) open addressing: upper half of the hash | number + 1; 0 empty */
    int64_t slots;        /* a power of two; rec_slots(n) in a log */
} rec_table;

/* Slots of an index over n identifiers: a power of two, half of them empty at least. */
int64_t rec_slots(int64_t n);
/* Fills slot (zeroed, rec_slots(t->n)) from the other members of t. */
void rec_table_index(const rec_table *t, uint64_t *slot);
/* Number, or -1. Ends whatever the slots hold. */
int32_t rec_table_find(const rec_table *t, const char *text, int64_t n);

/* hex: 64 digits and a zero: SHA-256 of each identifier in order, its length (32 bits, little endian) before it. */
int rec_table_digest(const rec_table *t, char *hex, mb_err *e) MB_MUST_USE;

typedef struct rec_names { /* grows */
    int32_t n;
    int64_t room, text_room, slots;
    int64_t *at;
    char *text;
    uint64_t *slot;
} rec_names;

/* *number: of the identifier, new when it was not there. what: "user", for messages. */
int rec_names_add(rec_names *t, const char *text, size_t n, const char *what, int32_t *number, mb_err *e) MB_MUST_USE;
size_t rec_names_bytes(const rec_names *t); /* memory taken */
rec_table rec_names_table(const rec_names *t);
void rec_names_free(rec_names *t);
#endif
