/*
 * hashset: a set of pointers by hash, for tables so large that uthash's 60 bytes an element matter: 8 bytes a slot, and
 * three quarters of the slots may be taken. What the items are, how they hash and when they are equal is the caller's.
 * Loop thread.
 *
 * The set owns its array of slots only. Linear probing; a removal closes the gap, so there is nothing to clean up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Start with {0}. */
struct hashset {
    void **slots;
    uint32_t capacity; /* 0 or a power of two */
    uint32_t len;
};

/* Of an item, spread over all 64 bits; the same function for all that is done to one set. */
typedef uint64_t hashset_hash(const void *item);

/* FNV-1a of some bytes, spread. */
uint64_t hash_bytes(const void *bytes, size_t len);
/* Spreads a number over all 64 bits. */
uint64_t hash_number(uint64_t number);

void hashset_finish(struct hashset *set);
/* NULL: there is none. equals: whether this item is what key (whose hash it is) stands for. */
void *hashset_find(
        const struct hashset *set, uint64_t hash, bool (*equals)(const void *item, const void *key), const void *key);
/* The item must not be in the set. When it fails, the set is as it was. */
int hashset_add(struct hashset *set, void *item, hashset_hash *hash_of, struct error *err) must_check;
/* The item must be in the set. */
void hashset_remove(struct hashset *set, const void *item, hashset_hash *hash_of);

/* Each item once, in no order that means anything. Start with {0}. Meanwhile nothing may be added, and of those in the
 * set only the one that was returned last may be removed. */
struct hashset_cursor {
    uint32_t at, left;
    bool begun;
};
void *hashset_next(const struct hashset *set, struct hashset_cursor *cursor);
