/*
 * clock: the file that a test shares with a program that has the shim `clock` preloaded. All zero but speed, which is
 * 1: time as it is.
 */
#pragma once

#include <stdint.h>

struct shim_clock {
    int64_t offset_ms; /* to add to CLOCK_REALTIME */
    int64_t tcp_hurry; /* not 0: the kernel's times for a peer that is silent are shorter by this factor */
    uint32_t phase;    /* counts the changes of speed: the odd ones are in phases[1] */
    struct shim_phase {
        int64_t real_ns, virtual_ns; /* CLOCK_MONOTONIC when this phase began, and what it was said to be */
        int64_t speed;
    } phases[2];
};

/* Virtual minus real time grows with speed; it never steps. */
static inline int64_t shim_virtual_ns(const struct shim_phase *phase, int64_t real_ns) {
    return phase->virtual_ns + (real_ns - phase->real_ns) * phase->speed;
}
