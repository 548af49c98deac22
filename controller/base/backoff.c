#include "base/backoff.h"

#include <sys/random.h>

#include "base/clock.h"

static uint64_t random_state;

void random_seed(uint64_t seed) {
    random_state = seed ? seed : 1;
}

/* splitmix64: small, and good enough to spread retries. */
static uint64_t random_next(void) {
    if (random_state == 0) {
        uint64_t seed = 0;
        if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
            seed = (uint64_t)clock_mono_ms();
        random_seed(seed);
    }
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t random_below(uint64_t below) {
    return random_next() % below;
}

int64_t backoff_take(struct backoff *backoff) {
    int64_t wait = backoff->next_ms ? backoff->next_ms : backoff->first_ms;
    backoff->next_ms = wait > backoff->last_ms / 2 ? backoff->last_ms : wait * 2;
    return wait / 2 + (int64_t)random_below((uint64_t)(wait - wait / 2) + 1);
}

void backoff_reset(struct backoff *backoff) {
    backoff->next_ms = 0;
}
