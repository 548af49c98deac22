/* Chance, time, and what happens next. */
#include "sim.h"

#include <stdlib.h>

#include "machine.h"

/* ---- chance: splitmix64 ---- */

uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t z = a + 0x9e3779b97f4a7c15u * (b + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void chance_seed(uint64_t seed) {
    world->chance = mix(seed, 1);
}

uint64_t chance_below(uint64_t n) {
    world->chance += 0x9e3779b97f4a7c15u;
    return mix(world->chance, 0) % n;
}

int64_t chance_range(int64_t least, int64_t most) {
    return least + (int64_t)chance_below((uint64_t)(most - least) + 1);
}

bool chance_permille(int permille) {
    return (int)chance_below(1000) < permille;
}

void digest_number(uint64_t number) {
    world->digest = mix(world->digest ^ number, 2);
}

void digest_text(const char *text) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    digest_number(hash);
}

/* ---- the queue: a binary heap by time, then by order ---- */

static bool before(const struct happening *a, const struct happening *b) {
    return a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order);
}

static void place(struct happening *h, uint32_t at) {
    world->queue[at] = h;
    h->index = at;
}

static void sift(struct happening *h, uint32_t at) {
    while (at > 0 && before(h, world->queue[(at - 1) / 2])) {
        place(world->queue[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < world->queue_len && before(world->queue[child + 1], world->queue[child]))
            child++;
        if (child >= world->queue_len || !before(world->queue[child], h))
            break;
        place(world->queue[child], at);
        at = child;
    }
    place(h, at);
}

void happening_init(struct happening *h, struct machine *machine, void (*happen)(void *arg), void *arg) {
    *h = (struct happening){.index = UINT32_MAX, .machine = machine, .happen = happen, .arg = arg};
}

static void plan(struct happening *h, int64_t at_ms, uint64_t order) {
    h->at_ms = at_ms;
    h->order = order;
    if (h->index != UINT32_MAX) {
        sift(h, h->index);
        return;
    }
    if (world->queue_len == world->queue_capacity) {
        world->queue_capacity = world->queue_capacity ? 2 * world->queue_capacity : 256;
        world->queue = realloc(world->queue, world->queue_capacity * sizeof(struct happening *));
        if (!world->queue)
            abort();
    }
    world->queue_len++;
    sift(h, world->queue_len - 1);
}

void happening_plan(struct happening *h, int64_t at_ms) {
    plan(h, at_ms, ++world->orders);
}

void happening_cancel(struct happening *h) {
    if (h->index == UINT32_MAX)
        return;
    uint32_t at = h->index;
    struct happening *last = world->queue[--world->queue_len];
    h->index = UINT32_MAX;
    if (last != h)
        sift(last, at);
}

bool happening_is_planned(const struct happening *h) {
    return h->index != UINT32_MAX;
}

bool queue_run_one(int64_t until_ms) {
    struct happening *h = world->queue_len ? world->queue[0] : NULL;
    if (!h || h->at_ms > until_ms) {
        if (until_ms > world->now_ms)
            world->now_ms = until_ms;
        return false;
    }
    if (h->at_ms > world->now_ms) {
        world->now_ms = h->at_ms;
        world->turns = 0;
    } else if (++world->turns > TURNS_MAX) {
        violated(BOUNDED, "a busy loop: %d turns without time going on", TURNS_MAX);
    }
    struct machine *m = h->machine;
    if (m && m->frozen_until_ms > world->now_ms) {
        /* A stopped process does nothing; what is ready when it goes on comes in any order. */
        plan(h, m->frozen_until_ms, world->orders / 2 + chance_below(world->orders + 1));
        return true;
    }
    happening_cancel(h);
    world->running = m;
    h->happen(h->arg);
    world->running = NULL;
    if (m)
        machine_after(m);
    return true;
}
