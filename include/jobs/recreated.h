/*
 * recreated: names that come back. Something that creates a Job again whenever we delete it (a GitOps tool, a script)
 * would have it run for ever: this tells how often in a row a name came back right after we deleted it.
 *
 * Plain data, no clock: times are arguments (Unix ms, the API server's clock where it is known). The table is bounded,
 * and a name that never came back makes room first, so that thousands of names that are used once do not push out the
 * few that matter. When memory runs out nothing is noted: a name is then noticed one deletion later. Loop thread.
 *
 * Not for Jobs of CronJobs: their names hold the time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"

#define RECREATED_MAX 4096                          /* names: some hundred bytes each */
#define RECREATED_WINDOW_MS (15 * 60 * 1000LL)      /* GitOps tools look every few minutes: later is another matter */
#define RECREATED_LOOKBACK_MS (14 * 86400 * 1000LL) /* of the register, at the start: enough for a TTL of some days */

struct recreated_name {
    int64_t deleted_ms; /* when we deleted it last */
    int count;          /* how often in a row the one deleted then had come back */
    UT_hash_handle hh;
    char key[]; /* NAMESPACE/NAME */
};

/* Start with {0}. Each is ordered by its last deletion. */
struct recreated {
    struct recreated_name *once;  /* names that were deleted and not seen again */
    struct recreated_name *again; /* names that came back */
};

void recreated_finish(struct recreated *table);

/* A deletion of ours is confirmed; once for each Job. created_ms of that Job; TIME_NONE: not known, which counts as
 * right after the one before. */
void recreated_note_deleted(
        struct recreated *table, const char *namespace, const char *name, int64_t created_ms, int64_t deleted_ms);
/* A Job of that name is there: should it have come back, its name is not forgotten for others. */
void recreated_note_seen(struct recreated *table, const char *namespace, const char *name, int64_t created_ms);

/* How often in a row the name came back within RECREATED_WINDOW_MS, up to the Job that was created at created_ms: 0
 * when it did not. A creation that seems to be before the deletion is one right after it, by clocks that differ. */
int recreated_count(const struct recreated *table, const char *namespace, const char *name, int64_t created_ms);
