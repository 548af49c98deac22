/*
 * sim_world: the demo: three namespaces whose Jobs have finished, are about to, or run on schedule, for some ten
 * seconds.
 *
 * All calls locked. What is deleted under its hands it leaves alone.
 */
#ifndef KUBESIM_SIM_WORLD_H
#define KUBESIM_SIM_WORLD_H

#include "sim.h"

/* How long after a Job's finish its CronJob takes note of it, in the demo. */
enum { SIM_WORLD_SETTLE_MS = 1000 };

/* Puts the world into sim->store; its time begins now. */
struct sim_world *sim_world_create(struct sim *sim);
void sim_world_destroy(struct sim_world *world);
void sim_world_tick(struct sim_world *world);

#endif
