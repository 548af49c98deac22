/*
 * sim_gc: what a cluster's controllers do after a change: the garbage collector (dependents go with their owner, or are
 * orphaned), the namespace controller, and the part of the CronJob controller that clears status.active.
 *
 * Chores are queued by the store and done by sim_gc_tick a little later, as in a cluster. Everything is called locked.
 */
#ifndef KUBESIM_SIM_GC_H
#define KUBESIM_SIM_GC_H

#include "sim_store.h"

struct sim_gc;

/* settle_ms: how long after a Job's finish its CronJob's status follows; 0 is never. */
struct sim_gc *sim_gc_create(struct sim_store *store, int64_t settle_ms);
void sim_gc_destroy(struct sim_gc *gc);

/* From the store. */
void sim_gc_job_changed(struct sim_gc *gc, const struct sim_version *job);
void sim_gc_removed(struct sim_gc *gc, const struct sim_resource *res, const struct sim_version *gone);
void sim_gc_terminating(struct sim_gc *gc, const struct sim_resource *res, const struct sim_version *version,
        enum sim_propagation propagation);

/* Does what is due. */
void sim_gc_tick(struct sim_gc *gc);

#endif
