#include "base/hashset.h"

#include <stdlib.h>

#define HASHSET_FIRST 64 /* slots */

uint64_t hash_number(uint64_t number) {
    number ^= number >> 32;
    number *= 0x9e3779b97f4a7c15u;
    number ^= number >> 29;
    return number * 0xbf58476d1ce4e5b9u;
}

uint64_t hash_bytes(const void *bytes, size_t len) {
    const unsigned char *at = bytes;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * 1099511628211u;
    return hash_number(hash);
}

void hashset_finish(struct hashset *set) {
    free(set->slots);
    *set = (struct hashset){0};
}

/* The first slot that is looked at for this hash. */
static uint32_t home_of(const struct hashset *set, uint64_t hash) {
    return (uint32_t)(hash >> 32) & (set->capacity - 1);
}

static uint32_t after(const struct hashset *set, uint32_t at) {
    return (at + 1) & (set->capacity - 1);
}

void *hashset_find(
        const struct hashset *set, uint64_t hash, bool (*equals)(const void *item, const void *key), const void *key) {
    if (!set->len)
        return NULL;
    for (uint32_t at = home_of(set, hash); set->slots[at]; at = after(set, at)) {
        if (equals(set->slots[at], key))
            return set->slots[at];
    }
    return NULL;
}

static void place(struct hashset *set, void *item, uint64_t hash) {
    uint32_t at = home_of(set, hash);
    while (set->slots[at])
        at = after(set, at);
    set->slots[at] = item;
}

static int grow(struct hashset *set, hashset_hash *hash_of, struct error *err) {
    struct hashset grown = *set;
    grown.capacity = set->capacity ? set->capacity * 2 : HASHSET_FIRST;
    grown.slots = calloc(grown.capacity, sizeof *grown.slots);
    if (!grown.slots)
        return error_nomem(err);
    for (uint32_t at = 0; at < set->capacity; at++) {
        if (set->slots[at])
            place(&grown, set->slots[at], hash_of(set->slots[at]));
    }
    free(set->slots);
    *set = grown;
    return 0;
}

int hashset_add(struct hashset *set, void *item, hashset_hash *hash_of, struct error *err) {
    bool crowded = set->len >= set->capacity / 4 * 3;
    /* Without memory a crowded set still has its last quarter; but one slot stays empty, where searches end. */
    if (crowded && grow(set, hash_of, err) < 0 && set->len + 1 >= set->capacity)
        return -1;
    place(set, item, hash_of(item));
    set->len++;
    return 0;
}

void hashset_remove(struct hashset *set, const void *item, hashset_hash *hash_of) {
    uint32_t gap = home_of(set, hash_of(item));
    while (set->slots[gap] != item)
        gap = after(set, gap);
    /* What follows, up to the next empty slot, moves into the gap where that is not before its home. */
    for (uint32_t at = after(set, gap); set->slots[at]; at = after(set, at)) {
        uint32_t from_home = (at - home_of(set, hash_of(set->slots[at]))) & (set->capacity - 1);
        uint32_t from_gap = (at - gap) & (set->capacity - 1);
        if (from_home < from_gap)
            continue;
        set->slots[gap] = set->slots[at];
        gap = at;
    }
    set->slots[gap] = NULL;
    set->len--;
}

/* Downwards, beginning below an empty slot: a removal moves only items that were returned already. */
void *hashset_next(const struct hashset *set, struct hashset_cursor *cursor) {
    if (!set->capacity)
        return NULL;
    if (!cursor->begun) {
        *cursor = (struct hashset_cursor){.left = set->capacity, .begun = true};
        while (set->slots[cursor->at])
            cursor->at++;
    }
    while (--cursor->left) {
        cursor->at = (cursor->at - 1) & (set->capacity - 1);
        if (set->slots[cursor->at])
            return set->slots[cursor->at];
    }
    return NULL;
}
