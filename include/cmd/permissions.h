/*
 * permissions: the rights that a configuration needs, and whether they are there: one SelfSubjectAccessReview each, one
 * after the other. For 'sexton check', and for rights.h in a controller. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "cmd/config.h"
#include "kube/client.h"
#include "kube/kubeconfig.h"

struct permissions;

/* A right. Texts are borrowed. */
struct permission {
    const char *verb, *group, *resource; /* "delete", "batch", "jobs"; group "" for the core's */
    const char *namespace;               /* that it is in, "" for none or all */
    const char *name;                    /* of the object, "" for all */
    bool optional;                       /* it does its work without, but for what needs this one */
};

enum permission_verdict {
    PERMISSION_ALLOWED,
    PERMISSION_DENIED,
    PERMISSION_UNKNOWN /* the question had no answer that can be understood */
};

struct permissions_settings {
    const struct config *config;           /* borrowed, as is: */
    const struct kube_config *kube_config; /* for the Lease's Namespace */
    bool dry_run;                          /* no deletions, no lease */
    int64_t pace_ms;                       /* between two questions */
};

struct permissions_handler {
    void *arg;
    /* why: for people; "" when it is allowed. Return false to ask no further: done() follows. */
    bool (*answered)(void *arg, const struct permission *permission, enum permission_verdict verdict, const char *why);
    /* No more answers. err NULL: all were asked, unless answered() said no. The permissions may be asked again, but not
     * destroyed, from here. */
    void (*done)(void *arg, const struct error *err);
};

struct permissions *permissions_create(struct loop *loop, struct client *client,
        const struct permissions_settings *settings, const struct permissions_handler *handler, struct error *err);
/* NULL is fine. */
void permissions_destroy(struct permissions *permissions);
/* Ask all, from the first. Not while that is going on. */
void permissions_ask(struct permissions *permissions);

/* "delete jobs.batch in shop". */
void permission_describe(struct strbuf *buf, const struct permission *permission);
