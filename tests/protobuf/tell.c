#include "tell.h"

#include <string.h>

#include "jobs/evidence.h"
#include "jobs/job.h"

/* Any bytes, and told apart from none. */
static void tell_text(struct strbuf *to, const char *key, const char *text, size_t len) {
    strbuf_add_format(to, "%s=%s%zu:", key, text ? "" : "none", text ? len : 0);
    strbuf_add(to, text ? text : "", text ? len : 0);
    strbuf_add_char(to, '\n');
}

static void tell(struct strbuf *to, const char *key, const char *text) {
    tell_text(to, key, text, text ? strlen(text) : 0);
}

static void tell_number(struct strbuf *to, const char *key, int64_t number) {
    strbuf_add_format(to, "%s=%lld\n", key, (long long)number);
}

static void tell_pairs(struct strbuf *to, const char *key, const struct job_pair *pairs, size_t n) {
    tell_number(to, key, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        tell(to, "key", pairs[i].key);
        tell_text(to, "value", pairs[i].value, pairs[i].value_len);
    }
}

static void tell_lists(struct strbuf *to, const struct job_object *o) {
    tell_pairs(to, "labels", o->labels, o->n_labels);
    tell_pairs(to, "annotations", o->annotations, o->n_annotations);
    for (size_t i = 0; i < o->n_owners; i++) {
        tell(to, "owner", o->owners[i].kind);
        tell(to, "name", o->owners[i].name);
        tell(to, "uid", o->owners[i].uid);
        tell(to, "api", o->owners[i].api_version);
        tell_number(to, "controls", o->owners[i].controls);
        tell_number(to, "odd", o->owners[i].odd_controller);
    }
    for (size_t i = 0; i < o->n_conditions; i++) {
        tell(to, "condition", o->conditions[i].type);
        tell(to, "status", o->conditions[i].status);
        tell(to, "reason", o->conditions[i].reason);
        tell(to, "message", o->conditions[i].message);
        tell_number(to, "since", o->conditions[i].transition_ms);
        tell_number(to, "odd", o->conditions[i].odd_transition);
    }
}

void tell_object(struct strbuf *to, const struct job_object *o) {
    tell(to, "namespace", o->namespace);
    tell(to, "name", o->name);
    tell(to, "uid", o->uid);
    tell(to, "version", o->resource_version);
    tell(to, "finalizers", o->finalizers);
    tell_lists(to, o);
    tell_number(to, "created", o->created_ms);
    tell_number(to, "deleted", o->deletion_ms);
    tell_number(to, "started", o->started_ms);
    tell_number(to, "completed", o->completion_ms);
    tell_number(to, "ttl", o->ttl_s);
    tell_number(to, "completions", o->completions);
    tell_number(to, "parallelism", o->parallelism);
    tell_number(to, "backoff", o->backoff_limit);
    tell(to, "mode", o->completion_mode);
    tell_number(to, "succeeded", o->succeeded);
    tell_number(to, "failed", o->failed);
    tell(to, "done", o->completed_indexes);
    tell(to, "undone", o->failed_indexes);
    tell_number(to, "oddities", o->oddities);
}

static void tell_job(struct strbuf *to, const struct job *job) {
    tell(to, "owner", job->owner_kind);
    tell(to, "owner name", job->owner_name);
    tell(to, "owner uid", job->owner_uid);
    tell(to, "owner api", job->owner_api);
    tell_number(to, "loose", job->owner_is_loose);
    tell(to, "hook", job->hook);
    tell_number(to, "tool", job->hook_tool);
    tell(to, "waits for", job->finalizers);
    tell(to, "doubt", job->doubt);
    tell_number(to, "ttl", job->spec_ttl_s);
    tell_number(to, "outcome", job->outcome);
    tell_number(to, "finished", job->finished_ms);
    tell(to, "success", job->annotations.success.text);
    tell(to, "failure", job->annotations.failure.text);
    tell(to, "hold", job->annotations.hold.text);
    tell_number(to, "unknown", job->annotations.unknown_key);
    tell(to, "bad", job->annotations.bad_key);
    tell(to, "value", job->annotations.bad_value);
    tell(to, "why", job->annotations.bad_why);
}

static void tell_run(struct strbuf *to, const struct run *run) {
    tell(to, "reason", run->reason);
    tell(to, "message", run->message);
    tell(to, "cronjob", run->cronjob);
    tell_number(to, "trigger", run->trigger);
    tell_number(to, "scheduled", run->scheduled_at_ms);
    tell_number(to, "succeeded", run->pods_succeeded);
    tell_number(to, "failed", run->pods_failed);
    tell(to, "images", run->images);
    tell(to, "labels", run->labels);
    tell(to, "annotations", run->annotations);
}

bool tell_consequences(struct strbuf *to, const struct job_object *object) {
    static const struct evidence_settings settings = {.prefix = "sexton.dev", .labels = "*", .annotations = "*"};
    struct error err = {0};
    struct job job;
    if (job_decode(object, "sexton.dev", &job, &err) < 0) {
        tell(to, "error", err.text);
        return true;
    }
    tell_job(to, &job);
    struct run *run = evidence_from_object(object, &job, &settings);
    if (!run)
        return false;
    tell_run(to, run);
    run_destroy(run);
    return true;
}
