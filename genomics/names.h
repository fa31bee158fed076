/* A set of names, kept as 128-bit hashes with a number each: 24 bytes a name however long it is. */
#ifndef DNA_NAMES_H
#define DNA_NAMES_H
#include <stdint.h>
#include "core/error.h"

typedef struct dna_names {
    struct dna_name_slot {
        uint64_t low, high; /* both 0: free */
        int64_t number;
    } * slot; /* (capacity), a power of two */
    int64_t capacity, n;
} dna_names;

/* The number under which name stands already, or, after adding it under number, 0. Negative without memory. number > 0.
 */
int64_t dna_names_add(dna_names *s, const char *name, int64_t number, mb_err *e);
void dna_names_fini(dna_names *s);
#endif
