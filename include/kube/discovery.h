/*
 * discovery: who the API server is and what it serves, asked once at the start. Loop thread.
 *
 * GET /version; the uid of the Namespace kube-system, which names a cluster for good; and which version of CronJobs
 * there is (batch/v1 from 1.21 on, batch/v1beta1 before).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "kube/client.h"

struct discovery;

struct discovered {
    char cluster[256];          /* the given name, the uid of kube-system, or the fallback where that may not be read */
    bool cluster_is_sure;       /* false: it is the fallback */
    char server_version[64];    /* "v1.20.2" */
    char cronjob_version[16];   /* "v1" or "v1beta1" */
    bool cronjobs_tell_success; /* status.lastSuccessfulTime is kept */
};

struct discovery_settings {
    const char *cluster; /* NULL: ask. Copied, as is: */
    const char *fallback;
    int attempts; /* 0: try for ever; refusals (401, 403) are final otherwise */
};

/* done is called with discovered, and then no more; or with NULL, an error and when it is tried again (-1: not). Never
 * from within discovery_start. The discovery may not be destroyed in it. */
struct discovery *discovery_start(struct loop *loop, struct client *client, const struct discovery_settings *settings,
        void (*done)(void *arg, const struct discovered *discovered, const struct error *why, int64_t retry_in_ms),
        void *arg, struct error *err);
void discovery_destroy(struct discovery *discovery);
