/*
 * tally: counters by a name that others choose (a Namespace, a status code) and one of a few cells that we do (an
 * outcome, a verb): sexton_runs_recorded_total{namespace, outcome, reason}.
 *
 * Bounded: whoever creates Namespaces must not decide how much memory this takes, nor how long a scrape is. Past
 * TALLY_SETS_MAX, or where memory ran out, a count goes to the same cell of the name TALLY_OTHER, so that sums over
 * names stay right, and is counted as an overflow too. Counting never fails. On whichever thread its owner is.
 */
#pragma once

#include <stdint.h>

#define TALLY_SETS_MAX 1000 /* name and cell; Prometheus keeps some kB for each, and asks for all twice a minute */
#define TALLY_CELLS_MAX 32
#define TALLY_LABELS_MAX 2
#define TALLY_NAME_MAX 64    /* bytes with NUL: what is longer is no name of Kubernetes', and goes to the others */
#define TALLY_OTHER "_other" /* no Namespace can be called so */

/* What the cells mean: a static table. */
struct tally_cells {
    int n;      /* at most TALLY_CELLS_MAX */
    int labels; /* how many texts a cell has */
    const char *texts[TALLY_CELLS_MAX][TALLY_LABELS_MAX];
};

struct tally_row {
    const char *name; /* in the same block */
    uint64_t counts[];
};

struct tally {
    const struct tally_cells *cells;
    struct tally_row **rows; /* sorted by name */
    uint32_t len, capacity;
    uint32_t sets; /* cells of rows that are not 0 */
    uint64_t other[TALLY_CELLS_MAX];
    uint64_t overflow;
};

/* For tallies without labels of their own. */
extern const struct tally_cells tally_one_cell;

void tally_init(struct tally *tally, const struct tally_cells *cells);
void tally_finish(struct tally *tally);
void tally_add(struct tally *tally, const char *name, int cell);
/* TALLY_OTHER: what is counted there. 0 for a name that is not known. */
uint64_t tally_count(const struct tally *tally, const char *name, int cell);
/* Of all names. */
uint64_t tally_sum(const struct tally *tally, int cell);
