#include "base/tally.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_FIRST 8

const struct tally_cells tally_one_cell = {.n = 1};

void tally_init(struct tally *tally, const struct tally_cells *cells) {
    *tally = (struct tally){.cells = cells};
}

void tally_finish(struct tally *tally) {
    for (uint32_t i = 0; i < tally->len; i++)
        free(tally->rows[i]);
    free(tally->rows);
    tally_init(tally, tally->cells);
}

/* Where it is, or would be. */
static uint32_t place_of(const struct tally *tally, const char *name, bool *ret_there) {
    uint32_t low = 0, high = tally->len;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(tally->rows[middle]->name, name);
        if (order == 0) {
            *ret_there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_there = false;
    return low;
}

/* NULL without memory. */
static struct tally_row *insert(struct tally *tally, uint32_t at, const char *name) {
    if (tally->len == tally->capacity) {
        uint32_t capacity = tally->capacity ? tally->capacity * 2 : ROWS_FIRST;
        struct tally_row **rows = realloc(tally->rows, capacity * sizeof(struct tally_row *));
        if (!rows)
            return NULL;
        tally->rows = rows;
        tally->capacity = capacity;
    }
    size_t counts = (size_t)tally->cells->n * sizeof(uint64_t), len = strlen(name);
    struct tally_row *row = calloc(1, sizeof *row + counts + len + 1);
    if (!row)
        return NULL;
    char *copy = (char *)row + sizeof *row + counts;
    memcpy(copy, name, len);
    row->name = copy;
    memmove(tally->rows + at + 1, tally->rows + at, (tally->len - at) * sizeof(struct tally_row *));
    tally->rows[at] = row;
    tally->len++;
    return row;
}

void tally_add(struct tally *tally, const char *name, int cell) {
    bool there, fits = tally->sets < TALLY_SETS_MAX && strlen(name) < TALLY_NAME_MAX && strcmp(name, TALLY_OTHER) != 0;
    uint32_t at = place_of(tally, name, &there);
    struct tally_row *row = there ? tally->rows[at] : fits ? insert(tally, at, name) : NULL;
    if (!row || (row->counts[cell] == 0 && !fits)) {
        tally->other[cell]++;
        tally->overflow++;
        return;
    }
    tally->sets += row->counts[cell] == 0;
    row->counts[cell]++;
}

uint64_t tally_count(const struct tally *tally, const char *name, int cell) {
    if (strcmp(name, TALLY_OTHER) == 0)
        return tally->other[cell];
    bool there;
    uint32_t at = place_of(tally, name, &there);
    return there ? tally->rows[at]->counts[cell] : 0;
}

uint64_t tally_sum(const struct tally *tally, int cell) {
    uint64_t sum = tally->other[cell];
    for (uint32_t i = 0; i < tally->len; i++)
        sum += tally->rows[i]->counts[cell];
    return sum;
}
