/*
 * steps: what the world does to itself: the generator's actions, and how a world begins, goes on and ends.
 */
#pragma once

#include "sim.h"

struct step {
    int kind;
    uint64_t seed; /* everything that is left to chance within it */
};

extern const int step_kinds;
const char *step_name(int kind);
extern uint64_t step_counts[];

/* What a seed makes of a world. Pure. */
void steps_generate(uint64_t seed, struct step *steps, int n);

struct outcome_of_run {
    enum invariant invariant; /* HOLDS: all was well */
    int step;                 /* at which; n: at the end */
    uint64_t digest;
    char why[1024];
};
/* Runs a world from its beginning to its end. */
void world_run(uint64_t seed, const struct step *steps, int n, bool tracing, struct outcome_of_run *ret);

/* steps.c */
void step_act(int kind);
/* shrink.c: fewer steps that break the same promise. Returns how many are left in steps. */
int shrink(uint64_t seed, struct step *steps, int n, const struct outcome_of_run *failure);
