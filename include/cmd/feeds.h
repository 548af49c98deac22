/*
 * feeds: the reflectors of one controller, and what they bring to its reconciler: Namespaces, CronJobs and Jobs of the
 * whole cluster or of each Namespace of a list, and whether all that is fresh enough to act on. Loop thread.
 *
 * Jobs are listed once the Namespaces and CronJobs that have a say in them are known. What is known of a source (a
 * Namespace of the list, or the cluster) is fresh while the watches of its Namespaces and CronJobs are healthy: a
 * Namespace has no resourceVersion in a DELETE's preconditions to save us. The Jobs' own watch need not be, for they
 * have. A watch that was opened again gets a moment to catch up.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "cmd/config.h"
#include "cmd/health.h"
#include "jobs/reconcile.h"
#include "kube/client.h"
#include "kube/discovery.h"
#include "kube/reflector.h"

struct feeds;

struct feeds_settings {
    const struct config *config; /* borrowed */
    struct reconcile *reconcile; /* borrowed */
    bool one_pass;               /* list once; a source that cannot be listed is given up */
};

struct feeds_handler {
    void *arg;
    /* A list is complete, or was given up: there may be something to do. */
    void (*progressed)(void *arg);
    /* Every source has its Jobs, for the first time. */
    void (*synced)(void *arg);
    /* This Namespace has an annotation that is not understood, since now. Logged. */
    void (*namespace_unclear)(void *arg, const struct store_namespace *ns);
    /* false: take no more Jobs for now; feeds_resume follows. */
    bool (*has_room)(void *arg);
};

struct feeds *feeds_create(struct loop *loop, const struct feeds_settings *settings,
        const struct feeds_handler *handler, struct error *err);
/* NULL is fine. */
void feeds_destroy(struct feeds *feeds);
/* Once the API server's ways are known. Borrows both. */
int feeds_start(
        struct feeds *feeds, struct client *client, const struct discovered *discovered, struct error *err) must_check;
void feeds_resume(struct feeds *feeds);
/* Have every Job brought again. Not in one pass. */
void feeds_relist_jobs(struct feeds *feeds);
/* The configuration was read again. */
void feeds_config_changed(struct feeds *feeds);

/* Every list is complete, or was given up. */
bool feeds_is_synced(const struct feeds *feeds);
/* What there is to tell of lists and watches. Texts are borrowed until the next turn of the loop. */
void feeds_tell_health(const struct feeds *feeds, struct health_facts *facts);
/* One pass: the first source that was given up, and why; NULL: none. */
const struct error *feeds_error(const struct feeds *feeds);
/* Since the start: for each resource, sums over its reflectors, and the one that was heard of the longest ago. */
struct feeds_stats {
    struct reflector_stats namespaces, cronjobs, jobs;
};
struct feeds_stats feeds_stats(const struct feeds *feeds);
/* Which source brings the Jobs of this Namespace; -1: none of ours. */
int feeds_find_source(const struct feeds *feeds, const char *namespace);
