/*
 * backoff: how long to wait before the next try. Pure but for the random source. Loop thread.
 *
 * Doubles from first to last, each wait jittered to between half and the whole of it, so that many clients do not
 * return at the same moment.
 */
#pragma once

#include <stdint.h>

struct backoff {
    int64_t first_ms;
    int64_t last_ms;
    int64_t next_ms; /* 0: start with first_ms */
};

#define BACKOFF_INIT(first, last) \
    { .first_ms = (first), .last_ms = (last) }

/* The next wait in ms; each call doubles. */
int64_t backoff_take(struct backoff *backoff);
void backoff_reset(struct backoff *backoff);

/* Uniform in [0, below), below > 0. Not for secrets. Seeded from the system once, unless random_seed was called. */
uint64_t random_below(uint64_t below);
/* The same numbers again: for tests and the simulation. */
void random_seed(uint64_t seed);
