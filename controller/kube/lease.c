#include "kube/lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/timestamp.h"

#define LEASE_PATH_MAX 1024
#define DURATION_MAX_MS (3600 * 1000LL) /* a holder that asks for more is not waited for longer */
#define REQUEST_LEAST_MS 1000           /* no request is given up sooner, however near the deadline is */

enum step { STEP_IDLE, STEP_READING, STEP_WRITING, STEP_RELEASING, STEP_DONE };

struct lease {
    struct client *client;
    struct client_call *call;
    struct lease_settings settings;
    struct lease_handler handler;
    struct loop_timer *retry, *deadline;
    char *collection, *path;
    enum step step;
    json_t *object;      /* as last read or written; NULL: there is none, or it may have changed since */
    json_t *seen;        /* the spec that was seen last, for as long as this lives */
    int64_t observed_ms; /* when it was first seen like that */
    int64_t asked_ms;    /* when the request under way was made */
    int64_t until_ms;    /* LEASE_NOT_HELD */
    int changes;         /* of a foreign holder's record while we looked */
    int failures;        /* in a row */
    int64_t failing_since_ms;
    bool looked_again; /* after a conflict: the next one waits */
    bool releasing;
    bool was_anothers;
    char told_holder[LEASE_IDENTITY_MAX], told_failure[ERROR_TEXT_MAX];
};

/* ---- what a Lease says ---- */

static const char *text_of(const json_t *spec, const char *key) {
    const char *text = json_string_value(json_object_get(spec, key));
    return text ? text : "";
}

static struct lease_record read_spec(const json_t *spec) {
    json_int_t seconds = json_integer_value(json_object_get(spec, "leaseDurationSeconds"));
    return (struct lease_record){.holder = text_of(spec, "holderIdentity"),
            .renew_time = text_of(spec, "renewTime"),
            .acquire_time = text_of(spec, "acquireTime"),
            .duration_ms = seconds <= 0                       ? 0
                           : seconds < DURATION_MAX_MS / 1000 ? seconds * 1000
                                                              : DURATION_MAX_MS,
            .transitions = json_integer_value(json_object_get(spec, "leaseTransitions"))};
}

struct lease_record lease_record_read(const json_t *object) {
    return read_spec(json_object_get(object, "spec"));
}

bool lease_may_take(const struct lease_record *record, const char *identity, int64_t observed_ms, int64_t now_ms,
        int64_t own_duration_ms) {
    if (!*record->holder || strcmp(record->holder, identity) == 0)
        return true;
    return now_ms - observed_ms >= (record->duration_ms ? record->duration_ms : own_duration_ms);
}

bool lease_was_anothers(const struct lease *lease) {
    return lease->was_anothers;
}

const char *lease_holder(const struct lease *lease) {
    return text_of(lease->seen, "holderIdentity");
}

bool lease_is_known(const struct lease *lease) {
    return lease->seen != NULL;
}

int64_t lease_failing_ms(const struct lease *lease, const char **ret_why) {
    *ret_why = lease->told_failure;
    int64_t ms = clock_mono_ms() - lease->failing_since_ms;
    return lease->failures == 0 ? 0 : ms > 0 ? ms : 1;
}

static bool is_ours(const struct lease *lease) {
    return strcmp(lease_holder(lease), lease->settings.identity) == 0;
}

/* ---- what we say of it ---- */

static void hold_until(struct lease *lease, int64_t until_ms) {
    bool held = lease->until_ms != LEASE_NOT_HELD, holds = until_ms != LEASE_NOT_HELD;
    lease->until_ms = until_ms;
    if (holds) {
        int64_t left_ms = until_ms - clock_mono_ms();
        loop_timer_start(lease->deadline, left_ms > 0 ? left_ms : 0);
    } else {
        loop_timer_stop(lease->deadline);
    }
    if (holds && !held)
        log_info("this controller holds the lease, and acts", log_text("lease", lease->settings.name),
                log_text("namespace", lease->settings.namespace), log_text("identity", lease->settings.identity));
    if (holds || held)
        lease->handler.changed(lease->handler.arg, until_ms);
}

static void lose(struct lease *lease, const char *why) {
    if (lease->until_ms == LEASE_NOT_HELD)
        return;
    log_warn("the lease is lost: nothing is deleted until it is held again", log_text("lease", lease->settings.name),
            log_text("namespace", lease->settings.namespace), log_text("reason", why));
    hold_until(lease, LEASE_NOT_HELD);
}

static void on_deadline(void *arg) {
    struct lease *lease = arg;
    int64_t left_ms = lease->until_ms - clock_mono_ms();
    if (left_ms > 0)
        loop_timer_start(lease->deadline, left_ms);
    else
        lose(lease, "it was not renewed in time");
}

static void tell_holder(struct lease *lease) {
    const char *holder = lease_holder(lease);
    if (is_ours(lease) || !*holder) {
        lease->told_holder[0] = '\0';
        lease->changes = 0;
        return;
    }
    if (strcmp(lease->told_holder, holder) != 0) {
        snprintf(lease->told_holder, sizeof lease->told_holder, "%s", holder);
        lease->changes = 0;
        log_info("another controller holds the lease: this one stands by", log_text("lease", lease->settings.name),
                log_text("namespace", lease->settings.namespace), log_text("holder", holder));
    }
    if (lease->handler.taken)
        lease->handler.taken(lease->handler.arg, holder, lease->changes > 0);
}

/* The Lease as it is now, read or written by us. Takes the object. */
static void observe(struct lease *lease, json_t *object) {
    json_t *spec = json_object_get(object, "spec");
    json_decref(lease->object);
    lease->object = object;
    if (!lease->seen || !spec || !json_equal(lease->seen, spec)) {
        bool same_holder = lease->seen && strcmp(lease_holder(lease), text_of(spec, "holderIdentity")) == 0;
        lease->changes = same_holder ? lease->changes + 1 : 0;
        json_decref(lease->seen);
        lease->seen = spec ? json_incref(spec) : json_object();
        lease->observed_ms = clock_mono_ms();
    }
}

static void forget_object(struct lease *lease) {
    json_decref(lease->object);
    lease->object = NULL;
}

/* ---- requests ---- */

static void step(void *arg);

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t retry_wait(const struct lease *lease, int64_t least_ms) {
    int64_t wait_ms = lease->settings.retry_period_ms;
    if (lease->until_ms != LEASE_NOT_HELD)
        wait_ms -= clock_mono_ms() - lease->asked_ms; /* what the last one took counts: the deadline is near */
    else
        wait_ms += (int64_t)random_below((uint64_t)(wait_ms / 5) + 1); /* apart from the others who wait for it too */
    return larger(larger(wait_ms, least_ms), 0);
}

static void wait_for(struct lease *lease, int64_t wait_ms) {
    lease->step = STEP_IDLE;
    loop_timer_start(lease->retry, wait_ms);
}

static void wait_for_renewal(struct lease *lease) {
    int64_t now_ms = clock_mono_ms();
    int64_t by_ms = lease->asked_ms + smaller(lease->settings.duration_ms / 3, lease->settings.renew_deadline_ms / 2);
    int64_t at_ms = lease->handler.plan && by_ms > now_ms ? lease->handler.plan(lease->handler.arg, by_ms) : by_ms;
    wait_for(lease, larger(smaller(at_ms, by_ms) - now_ms, 0));
}

/* While it is held there is to be time for another one, should this one hang. */
static int64_t request_timeout(const struct lease *lease) {
    int64_t whole_ms = lease->settings.renew_deadline_ms;
    int64_t left_ms = lease->until_ms == LEASE_NOT_HELD ? whole_ms : lease->until_ms - clock_mono_ms();
    return larger(left_ms / 2, smaller(REQUEST_LEAST_MS, whole_ms / 2));
}

static void finish_release(void *arg) {
    struct lease *lease = arg;
    lease->step = STEP_DONE;
    lease->handler.released(lease->handler.arg);
}

static void failed(struct lease *lease, const char *doing, const struct client_answer *answer) {
    if (lease->failures++ == 0)
        lease->failing_since_ms = clock_mono_ms();
    forget_object(lease); /* whether a write took effect is seen by reading */
    /* Who is to be asked again in an hour may be well in a second, and others wait for us no longer than this. */
    int64_t wait_ms = retry_wait(lease, smaller(answer->retry_after_ms, lease->settings.duration_ms));
    if (strcmp(lease->told_failure, answer->message) != 0) {
        snprintf(lease->told_failure, sizeof lease->told_failure, "%s", answer->message);
        log_error(lease->until_ms != LEASE_NOT_HELD ? "the lease could not be renewed"
                                                    : "the lease cannot be had: nothing is deleted without it",
                log_text("lease", lease->settings.name), log_text("namespace", lease->settings.namespace),
                log_text("doing", doing), log_number("status", answer->status), log_text("error", answer->message),
                answer->status == 403 || answer->status == 404
                        ? log_text("hint", "run 'sexton check'; lease-namespace says where the lease is, and "
                                           "leader-elect = false is for a controller that is alone")
                        : log_duration("retry_in", wait_ms));
    }
    if (lease->releasing) {
        finish_release(lease);
        return;
    }
    wait_for(lease, wait_ms);
    if (lease->handler.failed)
        lease->handler.failed(lease->handler.arg, answer->status, answer->message, lease->failures);
}

static int request(struct lease *lease, const char *method, const char *path, const char *body, int64_t timeout_ms,
        void (*done)(void *, const struct client_answer *)) {
    const struct client_request asked = {.method = method,
            .path = path,
            .body = body,
            .lane = HTTP_LANE_SHARED, /* whose connections it so keeps from growing cold */
            .timeout_ms = timeout_ms,
            .arg = lease,
            .done = done};
    struct error err = {0};
    lease->asked_ms = clock_mono_ms();
    lease->call = client_start(lease->client, &asked, &err);
    if (lease->call)
        return 0;
    const struct client_answer answer = {.retry_after_ms = -1, .message = err.text};
    failed(lease, method, &answer);
    return -1;
}

/* The Lease to write: what is there, also what is not ours to know, with another spec. NULL: out of memory. */
static char *make_body(const struct lease *lease, bool release) {
    char now[TIMESTAMP_TEXT_MAX];
    timestamp_format_micro(clock_wall_ms(), now);
    struct lease_record before = read_spec(lease->seen);
    bool renewal = is_ours(lease) && !release && *before.acquire_time;
    json_t *object = lease->object ? json_deep_copy(lease->object)
                                   : json_pack("{s:s,s:s,s:{s:s,s:s},s:{}}", "apiVersion", "coordination.k8s.io/v1",
                                             "kind", "Lease", "metadata", "name", lease->settings.name, "namespace",
                                             lease->settings.namespace, "spec");
    if (object && !json_is_object(json_object_get(object, "spec")))
        json_object_set_new(object, "spec", json_object());
    bool foreign = !is_ours(lease) && lease->seen;
    json_t *spec = json_pack("{s:s,s:I,s:s,s:s,s:I}", "holderIdentity", release ? "" : lease->settings.identity,
            "leaseDurationSeconds", (json_int_t)(release ? 1 : lease->settings.duration_ms / 1000), "acquireTime",
            renewal ? before.acquire_time : now, "renewTime", now, "leaseTransitions",
            (json_int_t)before.transitions + foreign);
    char *text = NULL;
    if (object && spec && json_object_update(json_object_get(object, "spec"), spec) == 0)
        text = json_dumps(object, JSON_COMPACT);
    json_decref(spec);
    json_decref(object);
    return text;
}

/* What is no Lease, or not ours, is an answer of something before the API server. */
static bool is_as_written(const struct lease *lease, const json_t *body) {
    struct lease_record record = lease_record_read(body);
    return strcmp(text_of(body, "kind"), "Lease") == 0 &&
           *text_of(json_object_get(body, "metadata"), "resourceVersion") &&
           strcmp(record.holder, lease->step == STEP_RELEASING ? "" : lease->settings.identity) == 0;
}

static void on_written(void *arg, const struct client_answer *answer) {
    struct lease *lease = arg;
    lease->call = NULL;
    bool took_effect = (answer->status == 200 || answer->status == 201) && is_as_written(lease, answer->body);
    if (took_effect) {
        lease->failures = 0;
        lease->looked_again = false;
        lease->told_failure[0] = lease->told_holder[0] = '\0';
        observe(lease, json_incref((json_t *)answer->body));
    }
    if (took_effect && lease->step == STEP_RELEASING) {
        log_info("the lease is given back", log_text("lease", lease->settings.name),
                log_text("namespace", lease->settings.namespace));
        finish_release(lease);
    } else if (took_effect && lease->releasing) {
        lease->step = STEP_IDLE;
        step(lease);
    } else if (took_effect) {
        int64_t until_ms = lease->asked_ms + lease->settings.renew_deadline_ms;
        if (until_ms > clock_mono_ms())
            hold_until(lease, until_ms);
        wait_for_renewal(lease);
    } else if (answer->status == 409 || (answer->status == 404 && lease->object)) {
        /* Somebody else wrote it, or took it away: who has it now is seen by reading. */
        lose(lease, "somebody else has changed it");
        forget_object(lease);
        lease->step = STEP_IDLE;
        if (lease->looked_again) {
            wait_for(lease, retry_wait(lease, 0));
        } else {
            lease->looked_again = true;
            step(lease);
        }
    } else {
        failed(lease, "write", answer);
    }
}

static void write_lease(struct lease *lease, bool release) {
    char *body = make_body(lease, release);
    if (!body) {
        const struct client_answer answer = {.retry_after_ms = -1, .message = "out of memory"};
        failed(lease, "write", &answer);
        return;
    }
    lease->step = release ? STEP_RELEASING : STEP_WRITING;
    if (!is_ours(lease))
        lease->was_anothers = lease->seen != NULL;
    int64_t timeout_ms = release ? LEASE_RELEASE_TIMEOUT_MS : request_timeout(lease);
    if (lease->object)
        (void)request(lease, "PUT", lease->path, body, timeout_ms, on_written);
    else
        (void)request(lease, "POST", lease->collection, body, timeout_ms, on_written);
    free(body);
}

static void on_read(void *arg, const struct client_answer *answer) {
    struct lease *lease = arg;
    lease->call = NULL;
    if (answer->status == 200 && strcmp(text_of(answer->body, "kind"), "Lease") == 0) {
        observe(lease, json_incref((json_t *)answer->body));
    } else if (answer->status == 404) {
        forget_object(lease);
    } else {
        failed(lease, "read", answer);
        return;
    }
    lease->failures = 0;
    lease->told_failure[0] = '\0';
    if (!is_ours(lease))
        lose(lease, "another controller has it");
    if (lease->releasing) {
        lease->step = STEP_IDLE;
        step(lease);
        return;
    }
    struct lease_record record = read_spec(lease->seen);
    if (lease_may_take(
                &record, lease->settings.identity, lease->observed_ms, clock_mono_ms(), lease->settings.duration_ms)) {
        write_lease(lease, false);
        return;
    }
    wait_for(lease, retry_wait(lease, 0));
    tell_holder(lease);
}

static void step(void *arg) {
    struct lease *lease = arg;
    if (lease->step != STEP_IDLE)
        return;
    bool known_ours = lease->object && is_ours(lease);
    if (lease->releasing && !known_ours) {
        /* Somebody else's, or nobody knows: then it runs out by itself. */
        finish_release(lease);
    } else if (known_ours) {
        write_lease(lease, lease->releasing);
    } else {
        lease->step = STEP_READING;
        (void)request(lease, "GET", lease->path, NULL, request_timeout(lease), on_read);
    }
}

/* ---- life ---- */

void lease_start(struct lease *lease) {
    loop_timer_start(lease->retry, 0);
}

void lease_release(struct lease *lease) {
    if (lease->releasing)
        return;
    lease->releasing = true;
    if (lease->until_ms != LEASE_NOT_HELD)
        hold_until(lease, LEASE_NOT_HELD);
    /* What is under way ends first: it may be the write that takes the Lease. */
    if (lease->step == STEP_IDLE)
        loop_timer_start(lease->retry, 0);
}

static char *make_path(const struct lease *lease, bool with_name) {
    struct strbuf path = STRBUF_INIT(LEASE_PATH_MAX);
    strbuf_add_text(&path, "/apis/coordination.k8s.io/v1/namespaces/");
    client_add_escaped(&path, lease->settings.namespace);
    strbuf_add_text(&path, "/leases");
    if (with_name) {
        strbuf_add_text(&path, "/");
        client_add_escaped(&path, lease->settings.name);
    }
    char *text = strbuf_failed(&path) ? NULL : strdup(strbuf_text(&path));
    strbuf_finish(&path);
    return text;
}

struct lease *lease_create(struct loop *loop, struct client *client, const struct lease_settings *settings,
        const struct lease_handler *handler, struct error *err) {
    struct lease *lease = calloc(1, sizeof *lease);
    if (!lease) {
        error_nomem(err);
        return NULL;
    }
    lease->client = client;
    lease->handler = *handler;
    lease->settings = *settings;
    lease->until_ms = LEASE_NOT_HELD;
    lease->settings.namespace = strdup(settings->namespace);
    lease->settings.name = strdup(settings->name);
    lease->settings.identity = strdup(settings->identity);
    bool copied = lease->settings.namespace && lease->settings.name && lease->settings.identity &&
                  (lease->collection = make_path(lease, false)) && (lease->path = make_path(lease, true));
    if (!copied)
        error_nomem(err);
    if (!copied || !(lease->retry = loop_timer_create(loop, step, lease, err)) ||
            !(lease->deadline = loop_timer_create(loop, on_deadline, lease, err))) {
        lease_destroy(lease);
        return NULL;
    }
    return lease;
}

void lease_destroy(struct lease *lease) {
    if (!lease)
        return;
    client_cancel(lease->call);
    loop_timer_destroy(lease->retry);
    loop_timer_destroy(lease->deadline);
    json_decref(lease->object);
    json_decref(lease->seen);
    free((char *)lease->settings.namespace);
    free((char *)lease->settings.name);
    free((char *)lease->settings.identity);
    free(lease->collection);
    free(lease->path);
    free(lease);
}
