/*
 * meters: the reconciler's news, counted: what was recorded, deleted and refused, and how long it took. Plain data;
 * loop thread.
 */
#pragma once

#include "base/histogram.h"
#include "base/tally.h"
#include "jobs/news.h"

enum meters_outcome { METERS_SUCCEEDED, METERS_FAILED, METERS_OUTCOMES };

struct meters {
    struct tally recorded; /* by Namespace; cells: outcome and reason */
    struct tally deleted;  /* by Namespace; cells: cause, see meters_cause */
    struct tally failures; /* of DELETEs, by HTTP status, or "none" (no answer) or "withheld" */
    struct histogram finish_to_gone, due_to_deleted; /* ms, of Jobs that we deleted */
    struct histogram durations[METERS_OUTCOMES];     /* ms, of runs as they are recorded */
};

void meters_init(struct meters *meters);
void meters_finish(struct meters *meters);
void meters_note(struct meters *meters, const struct news *news);

/* Cells of the tallies. What is not one of the reasons that Kubernetes has is "Other": whoever can write a Job's status
 * must not decide how many counters there are. */
int meters_cause(enum run_cause cause);
int meters_recorded(enum outcome outcome, const char *reason);
