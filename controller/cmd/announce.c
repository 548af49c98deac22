#include "cmd/announce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/timestamp.h"

#define VALUE_SHOWN 200 /* characters of an annotation's value, or of a message */
#define NOTE_LIMIT 8192 /* bytes; what is too long for the API server is cut there */
#define API_VERSION_MAX 32

/* A Job of which something is told if it is still so then. */
struct later {
    char uid[UID_MAX];
    enum reason reason;
    int64_t at_ms; /* monotonic */
};

struct announce {
    struct announce_settings settings;
    struct events *events;
    struct loop_timer *timer;
    char cronjob_api[API_VERSION_MAX];
    bool synced, stopped;
    bool lease_known; /* whose it is */
    struct later later[ANNOUNCE_LATER_MAX];
    int n_later;
};

static bool is_silent(const struct announce *a) {
    if (!a || a->stopped || !a->settings.config->events)
        return true;
    return a->lease_known && !a->settings.may_delete(a->settings.arg);
}

static struct event_object object_of_job(const struct job *job) {
    return (struct event_object){.api_version = "batch/v1",
            .kind = "Job",
            .namespace = job->namespace,
            .name = job->name,
            .uid = job->uid,
            .resource_version = job->resource_version};
}

/* Takes the note. */
static void tell(struct announce *a, const struct event_object *object, enum event_type type, const char *reason,
        const char *action, struct strbuf *note, bool by_note) {
    const struct event event = {.regarding = *object,
            .type = type,
            .reason = reason,
            .action = action,
            .note = strbuf_text(note),
            .key = by_note ? strbuf_text(note) : NULL};
    if (!strbuf_failed(note)) /* without its words it would say nothing */
        events_tell(a->events, &event);
    strbuf_finish(note);
}

/* ---- Jobs that are kept ---- */

static const char *reason_name(enum reason reason) {
    switch (reason) {
    case REASON_NOT_UNDERSTOOD:
        return "AnnotationNotUnderstood";
    case REASON_DOUBT:
        return "JobNotUnderstood";
    case REASON_HOOK:
        return "LeftToTool";
    case REASON_OWNED:
        return "LeftToOwner";
    case REASON_RECREATED:
    case REASON_RECREATED_KEPT:
        return "ComesBack";
    case REASON_TERMINATING:
        return "TerminatingForLong";
    case REASON_NAMESPACE_UNKNOWN:
        return "NamespaceUnknown";
    case REASON_NOT_FINISHED:
    case REASON_TTL_PASSED:
    case REASON_TTL_RUNNING:
    case REASON_HELD_UNTIL:
    case REASON_CRONJOB_SETTLING:
    case REASON_HELD:
    case REASON_NEVER:
        break; /* as it was wished */
    }
    return NULL;
}

/* What can be done about it. */
static void add_advice(const struct announce *a, enum reason reason, struct strbuf *note) {
    const char *prefix = a->settings.config->policy.prefix;
    switch (reason) {
    case REASON_HOOK:
        strbuf_add_format(note,
                ". To have it deleted, annotate it with %s/ttl-after-success or -failure, or configure hooks = delete",
                prefix);
        break;
    case REASON_OWNED:
        strbuf_add_format(note,
                ". To have it deleted, annotate it with %s/ttl-after-success or -failure, or name its owner's kind in "
                "the option owners",
                prefix);
        break;
    case REASON_RECREATED:
    case REASON_RECREATED_KEPT:
        strbuf_add_format(note,
                ". In what creates it, let it be kept (annotation %s/ttl-after-success: never), or have that tool "
                "delete it",
                prefix);
        break;
    case REASON_TERMINATING:
        strbuf_add_text(note, ". It goes when whoever set them has removed its finalizers");
        break;
    case REASON_NAMESPACE_UNKNOWN:
        strbuf_add_text(note, ". 'sexton check' tells which permission is missing");
        break;
    default:
        break;
    }
}

static void add_annotation(const struct announce *a, const struct annotations *annotations, struct strbuf *note) {
    if (strcmp(annotations->bad_key, "metadata.annotations") != 0)
        strbuf_add_format(note, "%s/", a->settings.config->policy.prefix);
    text_add_escaped(note, annotations->bad_key, VALUE_SHOWN);
    strbuf_add_text(note, ": ");
    text_add_escaped(note, annotations->bad_value ? annotations->bad_value : "", VALUE_SHOWN);
    strbuf_add_format(note, " %s", annotations->bad_why);
}

static void tell_of_job(struct announce *a, const struct job *job, const struct decision *decision) {
    const struct event_object object = object_of_job(job);
    bool annotation = decision->reason == REASON_NOT_UNDERSTOOD;
    bool as_meant = decision->reason == REASON_HOOK || decision->reason == REASON_OWNED;
    struct strbuf note = STRBUF_INIT(NOTE_LIMIT);
    if (annotation) {
        strbuf_add_text(&note, "Kept: ");
        add_annotation(a, &job->annotations, &note);
        strbuf_add_text(&note, ". Correct it or remove it");
    } else {
        strbuf_add_text(&note, "Not deleted: ");
        policy_explain(decision, job, clock_wall_ms(), &note);
        add_advice(a, decision->reason, &note);
    }
    tell(a, &object, as_meant ? EVENT_NORMAL : EVENT_WARNING, reason_name(decision->reason), "KeepJob", &note,
            annotation);
}

/* ---- what is told when it has lasted ---- */

static bool is_still_so(const struct announce *a, const struct job *job, enum reason reason) {
    if (reason == REASON_TERMINATING)
        return job->deletion_ms != TIME_NONE;
    return store_guards(a->settings.store, job, NAMESPACE_UNKNOWN).namespace == NAMESPACE_UNKNOWN;
}

static void start_timer(struct announce *a) {
    int64_t next_ms = INT64_MAX;
    for (int i = 0; i < a->n_later; i++)
        next_ms = a->later[i].at_ms < next_ms ? a->later[i].at_ms : next_ms;
    int64_t now_ms = clock_mono_ms();
    if (a->n_later)
        loop_timer_start(a->timer, next_ms > now_ms ? next_ms - now_ms : 0);
    else
        loop_timer_stop(a->timer);
}

static void on_timer(void *arg) {
    struct announce *a = arg;
    int64_t now_ms = clock_mono_ms();
    for (int i = a->n_later; i-- > 0;) {
        struct later later = a->later[i];
        if (later.at_ms > now_ms)
            continue;
        a->later[i] = a->later[--a->n_later];
        const struct store_entry *entry = store_find(a->settings.store, later.uid);
        const struct decision decision = {.action = ACTION_KEEP, .reason = later.reason, .due_ms = DUE_NEVER};
        if (!entry || entry->ghost || is_silent(a))
            continue;
        struct store_view view;
        const struct job *job = store_job(entry, &view);
        if (is_still_so(a, job, later.reason))
            tell_of_job(a, job, &decision);
    }
    start_timer(a);
}

static void tell_later(struct announce *a, const struct job *job, enum reason reason) {
    int i = 0;
    while (i < a->n_later && (a->later[i].reason != reason || strcmp(a->later[i].uid, job->uid) != 0))
        i++;
    if (i < a->n_later || a->n_later == ANNOUNCE_LATER_MAX)
        return;
    struct later *later = &a->later[a->n_later++];
    snprintf(later->uid, sizeof later->uid, "%s", job->uid);
    later->reason = reason;
    later->at_ms = clock_mono_ms() + (reason == REASON_TERMINATING ? ANNOUNCE_TERMINATING_MS : ANNOUNCE_UNKNOWN_MS);
    start_timer(a);
}

static void on_decision(struct announce *a, const struct job *job, const struct decision *decision) {
    if (!reason_name(decision->reason))
        return;
    if (decision->reason == REASON_TERMINATING || decision->reason == REASON_NAMESPACE_UNKNOWN)
        tell_later(a, job, decision->reason);
    else if (decision->reason == REASON_NOT_UNDERSTOOD && decision->rule.source == SOURCE_ANNOTATION)
        tell_of_job(a, job, decision);
    else if (decision->reason != REASON_NOT_UNDERSTOOD && a->synced) /* else the Namespace has the Event */
        tell_of_job(a, job, decision);
}

/* ---- CronJobs whose Jobs are deleted ---- */

static void on_accepted(struct announce *a, const struct job *job) {
    if (!job_has_cronjob(job) || !job->owner_name || !*a->cronjob_api)
        return;
    char finished[TIMESTAMP_TEXT_MAX];
    const struct event_object object = {.api_version = a->cronjob_api,
            .kind = "CronJob",
            .namespace = job->namespace,
            .name = job->owner_name,
            .uid = job->owner_uid};
    struct strbuf note = STRBUF_INIT(NOTE_LIMIT);
    strbuf_add_format(&note,
            "Deleted Job %s, which %s at %s. Its run is on record: sexton history list -n %s --cronjob %s", job->name,
            job->outcome == OUTCOME_SUCCEEDED ? "succeeded" : "failed", timestamp_format(job->finished_ms, finished),
            job->namespace, job->owner_name);
    tell(a, &object, EVENT_NORMAL, "JobDeleted", "DeleteJob", &note, false);
}

/* ---- what is told to us ---- */

void announce_news(struct announce *a, const struct news *news) {
    if (is_silent(a))
        return;
    if (news->kind == NEWS_DECIDED)
        on_decision(a, news->job, news->decision);
    else if (news->kind == NEWS_ACCEPTED)
        on_accepted(a, news->job);
}

void announce_namespace(struct announce *a, const struct store_namespace *ns) {
    if (is_silent(a) || !ns->annotations.bad_key)
        return;
    /* An Event on what is in no Namespace would be in `default`, where nobody looks for it. */
    const struct event_object object = {
            .api_version = "v1", .kind = "Namespace", .namespace = ns->name, .name = ns->name};
    struct strbuf note = STRBUF_INIT(NOTE_LIMIT);
    add_annotation(a, &ns->annotations, &note);
    strbuf_add_text(&note, ". The Jobs that it would decide on are kept. Correct it or remove it");
    tell(a, &object, EVENT_WARNING, "AnnotationNotUnderstood", "KeepJobs", &note, true);
}

void announce_refused(struct announce *a, const char *why) {
    const char *name = getenv("POD_NAME"), *namespace = getenv("POD_NAMESPACE"), *uid = getenv("POD_UID");
    if (!a || a->stopped || !a->settings.config->events || !name || !*name || !namespace || !*namespace)
        return;
    const struct event_object object = {
            .api_version = "v1", .kind = "Pod", .namespace = namespace, .name = name, .uid = uid && *uid ? uid : NULL};
    struct strbuf note = STRBUF_INIT(NOTE_LIMIT);
    strbuf_add_text(&note, "The new configuration is refused, the old one stays: ");
    text_add_escaped(&note, why, 4 * VALUE_SHOWN);
    tell(a, &object, EVENT_WARNING, "ConfigurationRefused", "ReloadConfiguration", &note, true);
}

void announce_set_cronjob_version(struct announce *a, const char *version) {
    if (a)
        snprintf(a->cronjob_api, sizeof a->cronjob_api, "batch/%s", version);
}

void announce_synced(struct announce *a) {
    if (a)
        a->synced = true;
}

void announce_lease(struct announce *a, bool ours) {
    if (!a || a->lease_known)
        return;
    a->lease_known = true;
    if (!ours)
        events_forget(a->events);
    events_hold(a->events, false);
}

void announce_config_changed(struct announce *a) {
    if (a && !a->settings.config->events)
        events_forget(a->events);
}

void announce_stop(struct announce *a) {
    if (!a)
        return;
    a->stopped = true;
    loop_timer_stop(a->timer);
    events_forget(a->events);
}

const struct events_stats *announce_stats(const struct announce *a) {
    static const struct events_stats none;
    return a ? events_stats(a->events) : &none;
}

/* ---- life ---- */

struct announce *announce_create(
        struct loop *loop, struct client *client, const struct announce_settings *settings, struct error *err) {
    struct announce *a = calloc(1, sizeof *a);
    char host[EVENTS_INSTANCE_MAX + 1] = "";
    const char *pod = getenv("POD_NAME");
    if (!a) {
        error_nomem(err);
        return NULL;
    }
    if (pod && *pod)
        snprintf(host, sizeof host, "%.*s", EVENTS_INSTANCE_MAX, pod);
    else if (gethostname(host, sizeof host - 1) != 0 || !*host)
        snprintf(host, sizeof host, "sexton");
    a->settings = *settings;
    a->lease_known = settings->leads;
    a->timer = loop_timer_create(loop, on_timer, a, err);
    a->events = a->timer ? events_create(loop, client, ANNOUNCE_CONTROLLER, host, err) : NULL;
    if (!a->events) {
        announce_destroy(a);
        return NULL;
    }
    events_hold(a->events, !settings->leads);
    return a;
}

void announce_destroy(struct announce *a) {
    if (!a)
        return;
    events_destroy(a->events);
    loop_timer_destroy(a->timer);
    free(a);
}
