/*
 * announce: what of the reconciler's news, of Namespaces and of the configuration people are told by Kubernetes Events,
 * on which object, and in which words. Loop thread.
 *
 * Only a controller that may delete tells of Jobs: until it is known who holds the lease, Events wait; while another
 * has it, they are left to that one. What is kept by a guard is told when that is decided while we watch, once for each
 * Job: not of all that there is at a start. Decisions that may be over in a moment (a Namespace not seen yet, a
 * finalizer about to be removed) are told when they have lasted.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/loop.h"
#include "cmd/config.h"
#include "jobs/news.h"
#include "jobs/store.h"
#include "kube/client.h"
#include "kube/events.h"

#define ANNOUNCE_CONTROLLER "sexton.dev/sexton"
#define ANNOUNCE_TERMINATING_MS 600000 /* finalizers that take longer are stuck, or look like it */
#define ANNOUNCE_UNKNOWN_MS 60000      /* a Namespace is known a moment after its first Job, or something is wrong */
#define ANNOUNCE_LATER_MAX 256         /* Jobs that wait for these; what there is no room for is not told */

struct announce;

struct announce_settings {
    const struct config *config; /* borrowed */
    const struct store *store;   /* borrowed */
    bool leads;                  /* no lease is needed */
    void *arg;
    bool (*may_delete)(void *arg); /* whether the lease is ours now */
};

struct announce *announce_create(
        struct loop *loop, struct client *client, const struct announce_settings *settings, struct error *err);
/* NULL is fine, as everywhere below: then nothing is told. */
void announce_destroy(struct announce *announce);

/* version: of the API that CronJobs have in this cluster, "v1". Borrowed. */
void announce_set_cronjob_version(struct announce *announce, const char *version);
/* Every Job that there was at the start has been seen. */
void announce_synced(struct announce *announce);
/* The lease is ours, or another's. */
void announce_lease(struct announce *announce, bool ours);
void announce_config_changed(struct announce *announce);
/* At the end: nothing is sent any more. */
void announce_stop(struct announce *announce);

void announce_news(struct announce *announce, const struct news *news);
/* It has an annotation that is not understood. */
void announce_namespace(struct announce *announce, const struct store_namespace *ns);
/* A new version of the configuration was refused. On our own Pod, where we are told which that is (POD_NAME,
 * POD_NAMESPACE, POD_UID). */
void announce_refused(struct announce *announce, const char *why);

/* Zeros for NULL. */
const struct events_stats *announce_stats(const struct announce *announce);
