/*
 * engine: the controller put together: client, reflectors, reconciler, register and timers on one loop. run and sweep
 * are two ways to drive it. Loop thread.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/loop.h"
#include "cmd/config.h"
#include "cmd/health.h"
#include "jobs/reconcile.h"
#include "kube/events.h"
#include "kube/kubeconfig.h"

/* For what is in flight when a signal comes: Kubernetes kills after 30 s, people after 10. */
#define ENGINE_STOP_GRACE_MS 7000
#define ENGINE_FLUSH_GRACE_MS 1500 /* then for the register */

struct engine;

struct engine_settings {
    struct config *config;                 /* borrowed */
    const struct kube_config *kube_config; /* borrowed */
    bool dry_run;                          /* no register, no deletion */
    bool one_pass;                         /* list once, act, finish */
    bool ask_rights;                       /* find out which permissions are missing: somebody reads of it */
    bool patient; /* a register that cannot be opened yet is waited for, and somebody asks engine_store_failure */
};

struct engine_handler {
    void *arg;
    /* One pass: everything was done that could be (err NULL), or it cannot be (why). Called once. */
    void (*finished)(void *arg, const struct error *err);
    /* engine_stop has done its work. */
    void (*stopped)(void *arg);
};

/* Where the Lease is: as configured, else the Namespace of the Pod or of the context. Borrowed from the arguments. */
const char *engine_lease_namespace(const struct config *config, const struct kube_config *kube_config);

/* Opens the register, so that a bad path is an error now; unless it is patient. */
int engine_create(struct loop *loop, const struct engine_settings *settings, const struct engine_handler *handler,
        struct engine **ret, struct error *err) must_check;
/* -1: something could not be written to the register. */
int engine_destroy(struct engine *engine);
void engine_start(struct engine *engine);
/* No new deletions; stopped() follows when nothing is in flight and the lease is given back, after ENGINE_STOP_GRACE_MS
 * at the latest. */
void engine_stop(struct engine *engine);
/* After config_reload: evaluate everything again. */
void engine_config_changed(struct engine *engine);
/* A new version was refused, and why: for those who follow what we announce. */
void engine_config_refused(struct engine *engine, const char *why);

/* What it knows of the cluster, and how far the API server's clock is ahead of ours (0: they may agree). */
const struct store *engine_store(const struct engine *engine);
const struct recreated *engine_recreated(const struct engine *engine);
int64_t engine_server_ahead_ms(const struct engine *engine);

/* What there is to be counted of. Borrowed. */
struct announce;
struct client;
struct feeds;
struct meters;
struct writer;
struct engine_parts {
    const struct client *client;
    const struct feeds *feeds;
    const struct reconcile *reconcile;
    const struct meters *meters;
    const struct announce *announce; /* NULL: no Kubernetes Events */
    struct writer *writer;           /* NULL in a dry run */
};
struct engine_parts engine_parts(const struct engine *engine);

struct reconcile_counts engine_count(const struct engine *engine);
/* For progress: Jobs listed so far, and whether every list is complete. */
bool engine_is_synced(const struct engine *engine);
/* What /healthz and /readyz are made from. Texts are borrowed until the next turn of the loop. */
struct health_facts engine_health(const struct engine *engine);
/* Why nothing can be recorded now, and so nothing is deleted; NULL: it can, or a dry run needs no register. Borrowed
 * until the loop's next turn. */
const char *engine_store_failure(const struct engine *engine);
/* Who holds the lease that is not ours yet, "" when nobody is known to; NULL: it is ours, or none is needed. */
const char *engine_waits_for(const struct engine *engine);
