#include "base/intern.h"

#include <stdlib.h>
#include <string.h>

struct piece {
    const void *bytes;
    size_t len;
};

static uint64_t hash_of(const void *item) {
    const struct interned *interned = item;
    return hash_bytes(interned->bytes, interned->len);
}

static bool equals(const void *item, const void *key) {
    const struct interned *interned = item;
    const struct piece *piece = key;
    return interned->len == piece->len && memcmp(interned->bytes, piece->bytes, piece->len) == 0;
}

struct interned *intern_get(struct intern *intern, const void *bytes, size_t len) {
    const struct piece piece = {bytes, len};
    struct interned *interned = hashset_find(&intern->all, hash_bytes(bytes, len), equals, &piece);
    if (interned) {
        interned->refs++;
        return interned;
    }
    interned = malloc(sizeof *interned + len);
    if (!interned)
        return NULL;
    *interned = (struct interned){.refs = 1, .len = (uint32_t)len};
    memcpy(interned->bytes, bytes, len);
    if (hashset_add(&intern->all, interned, hash_of, NULL) < 0) {
        free(interned);
        return NULL;
    }
    return interned;
}

void intern_drop(struct intern *intern, struct interned *interned) {
    if (!interned || --interned->refs)
        return;
    hashset_remove(&intern->all, interned, hash_of);
    free(interned);
}

void intern_finish(struct intern *intern) {
    hashset_finish(&intern->all);
}
