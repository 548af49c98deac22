#include "cmd/permissions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmd/engine.h"

#define NAMESPACE_SIZE 64 /* a DNS label, RFC 1123 */

/* What a configuration needs: in each Namespace of its list, or in all. */
static const struct need {
    const char *verb, *group, *resource;
    enum {
        IN_NAMESPACE,
        ALL_NAMESPACES, /* without a list of them */
        THE_NAMESPACE,  /* each of the list, itself; a Role in it is enough for that */
        KUBE_SYSTEM,    /* once */
        LEASE,          /* once; in the Lease's own Namespace */
        EVENTS,         /* where it writes them: in each Namespace, unless it is not to */
        OWN_EVENTS      /* once, with a list that has not our own Pod's: on a new configuration that is refused */
    } where;
    enum { ALWAYS = 0, ACTS = 1 /* not in a dry run */, OPTIONAL = 2 /* it goes without, and says so */ } when;
} needs[] = {
        {"list", "batch", "jobs", IN_NAMESPACE, ALWAYS},
        {"watch", "batch", "jobs", IN_NAMESPACE, ALWAYS},
        {"get", "batch", "jobs", IN_NAMESPACE, ACTS},
        {"delete", "batch", "jobs", IN_NAMESPACE, ACTS},
        {"list", "batch", "cronjobs", IN_NAMESPACE, ALWAYS},
        {"watch", "batch", "cronjobs", IN_NAMESPACE, ALWAYS},
        {"list", "", "namespaces", ALL_NAMESPACES, ALWAYS},
        {"watch", "", "namespaces", ALL_NAMESPACES, ALWAYS},
        {"get", "", "namespaces", THE_NAMESPACE, ALWAYS},
        {"watch", "", "namespaces", THE_NAMESPACE, ALWAYS},
        {"get", "", "namespaces", KUBE_SYSTEM, OPTIONAL}, /* its uid names the cluster in the register; else its URL */
        {"get", "coordination.k8s.io", "leases", LEASE, ACTS},
        {"create", "coordination.k8s.io", "leases", LEASE, ACTS},
        {"update", "coordination.k8s.io", "leases", LEASE, ACTS},
        {"create", "events.k8s.io", "events", EVENTS,
                ACTS | OPTIONAL}, /* without it people are told by the log alone */
        {"patch", "events.k8s.io", "events", EVENTS, ACTS | OPTIONAL},
        {"create", "events.k8s.io", "events", OWN_EVENTS, ACTS | OPTIONAL},
        {"patch", "events.k8s.io", "events", OWN_EVENTS, ACTS | OPTIONAL},
};
#define NEEDS (sizeof needs / sizeof needs[0])

struct permissions {
    struct client *client;
    struct permissions_settings settings;
    struct permissions_handler handler;
    struct client_call *call;
    struct loop_timer *timer;
    const char *at;                 /* in the list of Namespaces */
    char namespace[NAMESPACE_SIZE]; /* the one asked about, "" for all */
    bool first_namespace;
    size_t next; /* in needs */
};

/* "" where nobody says that this is a Pod. */
static const char *own_namespace(void) {
    const char *name = getenv("POD_NAMESPACE");
    return name ? name : "";
}

static bool is_listed(const struct config *config, const char *namespace) {
    const char *at = config->namespaces, *word;
    size_t len;
    while ((word = text_list_next(&at, &len))) {
        if (strlen(namespace) == len && strncmp(word, namespace, len) == 0)
            return true;
    }
    return false;
}

static bool is_needed(const struct permissions *p, const struct need *need) {
    const struct config *config = p->settings.config;
    bool listed = *p->namespace != '\0';
    if (need->when & ACTS && p->settings.dry_run)
        return false;
    switch (need->where) {
    case IN_NAMESPACE:
        break;
    case ALL_NAMESPACES:
        return !listed;
    case THE_NAMESPACE:
        return listed;
    case KUBE_SYSTEM:
        return p->first_namespace && !*config->cluster;
    case LEASE:
        return p->first_namespace && config->leader_elect;
    case EVENTS:
        return config->events;
    case OWN_EVENTS:
        return p->first_namespace && config->events && listed && *own_namespace() &&
               !is_listed(config, own_namespace());
    }
    return true;
}

static struct permission permission_of(const struct permissions *p, const struct need *need) {
    const struct config *config = p->settings.config;
    struct permission permission = {.verb = need->verb,
            .group = need->group,
            .resource = need->resource,
            .namespace = "",
            .name = "",
            .optional = need->when & OPTIONAL};
    switch (need->where) {
    case IN_NAMESPACE:
    case EVENTS:
        permission.namespace = p->namespace;
        break;
    case ALL_NAMESPACES:
        break;
    case THE_NAMESPACE:
        /* To the authorizer, a Namespace is in itself. */
        permission.namespace = permission.name = p->namespace;
        break;
    case KUBE_SYSTEM:
        permission.namespace = permission.name = "kube-system";
        break;
    case LEASE:
        permission.namespace = engine_lease_namespace(config, p->settings.kube_config);
        /* What is yet to be created has no name to the authorizer. */
        permission.name = strcmp(need->verb, "create") == 0 ? "" : config->lease_name;
        break;
    case OWN_EVENTS:
        permission.namespace = own_namespace();
        break;
    }
    return permission;
}

void permission_describe(struct strbuf *buf, const struct permission *permission) {
    strbuf_add_format(
            buf, "%s %s%s%s", permission->verb, permission->resource, *permission->group ? "." : "", permission->group);
    if (*permission->name)
        strbuf_add_format(buf, " %s", permission->name);
    if (*permission->namespace && strcmp(permission->resource, "namespaces") != 0)
        strbuf_add_format(buf, " in %s", permission->namespace);
}

/* ---- one question after the other ---- */

/* The next Namespace of the list; false at the end. */
static bool next_namespace(struct permissions *p) {
    size_t len;
    const char *word = text_list_next(&p->at, &len);
    if (!word)
        return false;
    snprintf(p->namespace, sizeof p->namespace, "%.*s", (int)len, *word == '*' ? "" : word);
    return true;
}

/* To what is to be asked next; false at the end. */
static bool advance(struct permissions *p) {
    for (;;) {
        while (p->next < NEEDS && !is_needed(p, &needs[p->next]))
            p->next++;
        if (p->next < NEEDS)
            return true;
        p->next = 0;
        p->first_namespace = false;
        if (!next_namespace(p))
            return false;
    }
}

static void on_review(void *arg, const struct client_answer *answer) {
    struct permissions *p = arg;
    p->call = NULL;
    const json_t *status = json_object_get(answer->body, "status");
    const json_t *allowed = json_object_get(status, "allowed");
    const char *reason = json_string_value(json_object_get(status, "reason"));
    const struct permission permission = permission_of(p, &needs[p->next]);
    enum permission_verdict verdict = PERMISSION_UNKNOWN;
    const char *why = answer->message;
    if (answer->status / 100 == 2 && json_is_boolean(allowed)) {
        verdict = json_is_true(allowed) ? PERMISSION_ALLOWED : PERMISSION_DENIED;
        why = json_is_true(allowed) ? "" : reason && *reason ? reason : "not allowed";
    }
    p->next++;
    if (p->handler.answered(p->handler.arg, &permission, verdict, why))
        loop_timer_start(p->timer, p->settings.pace_ms);
    else
        p->handler.done(p->handler.arg, NULL);
}

static void ask_next(void *arg) {
    struct permissions *p = arg;
    struct error err = {0};
    if (!advance(p)) {
        p->handler.done(p->handler.arg, NULL);
        return;
    }
    const struct permission permission = permission_of(p, &needs[p->next]);
    struct strbuf body = STRBUF_INIT(2048);
    strbuf_add_text(&body, "{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"SelfSubjectAccessReview\",\"spec\":"
                           "{\"resourceAttributes\":{\"namespace\":");
    text_add_json(&body, permission.namespace);
    strbuf_add_text(&body, ",\"name\":");
    text_add_json(&body, permission.name);
    strbuf_add_format(&body, ",\"verb\":\"%s\",\"group\":\"%s\",\"resource\":\"%s\"}}}", permission.verb,
            permission.group, permission.resource);
    const struct client_request request = {.method = "POST",
            .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            .body = strbuf_text(&body),
            .arg = p,
            .done = on_review};
    if (strbuf_failed(&body))
        error_nomem(&err);
    else
        p->call = client_start(p->client, &request, &err);
    strbuf_finish(&body);
    if (!p->call)
        p->handler.done(p->handler.arg, &err);
}

void permissions_ask(struct permissions *p) {
    p->at = p->settings.config->namespaces;
    p->first_namespace = true;
    p->next = 0;
    if (!next_namespace(p))
        p->namespace[0] = '\0';
    loop_timer_start(p->timer, 0);
}

/* ---- life ---- */

struct permissions *permissions_create(struct loop *loop, struct client *client,
        const struct permissions_settings *settings, const struct permissions_handler *handler, struct error *err) {
    struct permissions *p = calloc(1, sizeof *p);
    if (!p) {
        error_nomem(err);
        return NULL;
    }
    p->client = client;
    p->settings = *settings;
    p->handler = *handler;
    p->timer = loop_timer_create(loop, ask_next, p, err);
    if (!p->timer) {
        permissions_destroy(p);
        return NULL;
    }
    return p;
}

void permissions_destroy(struct permissions *p) {
    if (!p)
        return;
    client_cancel(p->call);
    loop_timer_destroy(p->timer);
    free(p);
}
