#include "kube/discovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "kube/reflector.h"

enum step { STEP_VERSION, STEP_CLUSTER, STEP_CRONJOBS, STEP_DONE };

static const char *const step_paths[] = {"/version", "/api/v1/namespaces/kube-system", "/apis/batch/v1"};

struct discovery {
    struct client *client;
    struct client_call *call;
    struct loop_timer *timer;
    struct backoff backoff;
    enum step step;
    int attempts, failures;
    bool cluster_given;
    char fallback[256];
    struct discovered found;
    void (*done)(void *arg, const struct discovered *discovered, const struct error *why, int64_t retry_in_ms);
    void *arg;
};

static void ask(void *arg);

static void fail(struct discovery *d, int status, const char *message, int64_t least_ms) {
    struct error err = {0};
    error_set(&err, ERROR_REMOTE, "GET %s: %s", step_paths[d->step], message);
    d->failures++;
    bool refused = status == 401 || status == 403;
    bool give_up = d->attempts && (refused || d->failures >= d->attempts);
    int64_t wait_ms = backoff_take(&d->backoff);
    if (wait_ms < least_ms)
        wait_ms = least_ms;
    if (!give_up)
        loop_timer_start(d->timer, wait_ms);
    d->done(d->arg, NULL, &err, give_up ? -1 : wait_ms);
}

static const char *text_at(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static bool serves_cronjobs(const json_t *resources) {
    size_t index;
    json_t *resource;
    json_array_foreach ((json_t *)json_object_get(resources, "resources"), index, resource) {
        const char *name = text_at(resource, "name");
        if (name && strcmp(name, "cronjobs") == 0)
            return true;
    }
    return false;
}

static void take(struct discovery *d, const struct client_answer *answer) {
    const char *text;
    bool v1;
    switch (d->step) {
    case STEP_VERSION:
        text = text_at(answer->body, "gitVersion");
        snprintf(d->found.server_version, sizeof d->found.server_version, "%s", text ? text : "unknown");
        break;
    case STEP_CLUSTER:
        text = answer->status == 200 ? text_at(json_object_get(answer->body, "metadata"), "uid") : NULL;
        snprintf(d->found.cluster, sizeof d->found.cluster, "%s", text ? text : d->fallback);
        d->found.cluster_is_sure = text != NULL;
        break;
    case STEP_CRONJOBS:
        v1 = serves_cronjobs(answer->body);
        snprintf(d->found.cronjob_version, sizeof d->found.cronjob_version, "%s", v1 ? "v1" : "v1beta1");
        d->found.cronjobs_tell_success = v1;
        break;
    case STEP_DONE:
        break;
    }
}

static void on_answer(void *arg, const struct client_answer *answer) {
    struct discovery *d = arg;
    d->call = NULL;
    /* kube-system may be out of bounds for us: then the fallback names the cluster. */
    bool settled = d->step == STEP_CLUSTER && (answer->status == 403 || answer->status == 404);
    if (!settled && answer->status != 200) {
        fail(d, answer->status, answer->message, answer->retry_after_ms);
        return;
    }
    if (!settled && !json_is_object(answer->body)) {
        fail(d, 0, "the answer is not JSON: is this a Kubernetes API server?", 0);
        return;
    }
    take(d, answer);
    d->step++;
    if (d->step == STEP_CLUSTER && d->cluster_given)
        d->step++;
    if (d->step == STEP_DONE)
        d->done(d->arg, &d->found, NULL, -1);
    else
        ask(d);
}

static void ask(void *arg) {
    struct discovery *d = arg;
    struct error err = {0};
    const struct client_request request = {.method = "GET", .path = step_paths[d->step], .arg = d, .done = on_answer};
    d->call = client_start(d->client, &request, &err);
    if (!d->call)
        fail(d, 0, err.text, 0);
}

struct discovery *discovery_start(struct loop *loop, struct client *client, const struct discovery_settings *settings,
        void (*done)(void *arg, const struct discovered *discovered, const struct error *why, int64_t retry_in_ms),
        void *arg, struct error *err) {
    struct discovery *d = calloc(1, sizeof *d);
    if (!d || !(d->timer = loop_timer_create(loop, ask, d, err))) {
        free(d);
        error_nomem(err);
        return NULL;
    }
    d->client = client;
    d->attempts = settings->attempts;
    d->done = done;
    d->arg = arg;
    d->backoff = (struct backoff)BACKOFF_INIT(REFLECTOR_BACKOFF_FIRST_MS, REFLECTOR_BACKOFF_LAST_MS);
    d->cluster_given = d->found.cluster_is_sure = settings->cluster != NULL;
    snprintf(d->found.cluster, sizeof d->found.cluster, "%s", settings->cluster ? settings->cluster : "");
    snprintf(d->fallback, sizeof d->fallback, "%s", settings->fallback);
    loop_timer_start(d->timer, 0);
    return d;
}

void discovery_destroy(struct discovery *d) {
    if (!d)
        return;
    client_cancel(d->call);
    loop_timer_destroy(d->timer);
    free(d);
}
