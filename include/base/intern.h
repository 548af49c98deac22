/*
 * intern: one copy of bytes that many have in common, counted. Loop thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/hashset.h"

struct interned {
    uint32_t refs;
    uint32_t len;
    unsigned char bytes[]; /* not aligned */
};

/* Start with {0}. */
struct intern {
    struct hashset all;
};

/* To be dropped once. NULL when out of memory. */
struct interned *intern_get(struct intern *intern, const void *bytes, size_t len);
/* NULL is fine. */
void intern_drop(struct intern *intern, struct interned *interned);
/* Everything must have been dropped. */
void intern_finish(struct intern *intern);
