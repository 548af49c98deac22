/*
 * gather: collects Namespaces, CronJobs and Jobs into a store once, from the API server or from a file, for commands
 * that only look. From the API server it is one pass of the engine in a dry run, so that the same code reads and
 * decides.
 */
#pragma once

#include "base/error.h"
#include "cmd/config.h"
#include "cmd/engine.h"
#include "jobs/store.h"
#include "kube/kubeconfig.h"

/* A Job that could not be read: what is known of it, and why. Strings are owned. */
struct gather_unreadable {
    char *namespace, *name, *why;
    struct gather_unreadable *next;
};

struct gathered {
    const struct store *store;
    const struct recreated *recreated; /* NULL after a file: whose register should it be? */
    struct gather_unreadable *unreadable;
    enum namespace_view missing_namespace; /* for Namespaces that are not in the store */
    int64_t other_kinds;                   /* a file: objects that are none of ours */
    int64_t server_ahead_ms;               /* how far the API server's clock is off, 0 when unknown */
    struct store own;                      /* what store points to, after a file */
    struct loop *loop;                     /* after the API server: what keeps the store */
    struct engine *engine;
};

/* From the API server. */
int gather_from_server(struct config *config, const struct kube_config *kube_config, struct gathered *ret,
        struct error *err) must_check;
/* From a file, "-" for standard input: Lists, single objects, or several documents in a row. */
int gather_from_file(const struct config *config, const char *path, struct gathered *ret, struct error *err) must_check;
void gathered_finish(struct gathered *gathered);
