#include "jobs/evidence.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"

/* What the Job controller writes into the Pod template, and would refuse in a new Job. */
static const char *const controller_labels[] = {
        "controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"};
#define CONTROLLER_LABELS (sizeof controller_labels / sizeof controller_labels[0])

/* A copy, or NULL for NULL; *ok is cleared when memory runs out. */
static char *copy(const char *text, bool *ok) {
    char *result = text ? strdup(text) : NULL;
    if (text && !result)
        *ok = false;
    return result;
}

static char *dump(const json_t *json, bool *ok) {
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (!text)
        *ok = false;
    return text;
}

/* Takes value, which may be NULL where memory has run out. */
static void set(json_t *object, const char *key, json_t *value, bool *ok) {
    if (json_object_set_new(object, key, value) < 0)
        *ok = false;
}

static int64_t count_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value) : RUN_UNKNOWN;
}

static const char *text_of(const json_t *object, const char *key) {
    bool ok = true;
    return json_text_member(object, key, &ok);
}

/* The members whose keys are allowed, as JSON; NULL when there are none. */
static char *pick(const json_t *members, const char *globs, const char *prefix, bool *ok) {
    if (!json_is_object(members))
        return NULL;
    json_t *picked = json_object();
    if (!picked) {
        *ok = false;
        return NULL;
    }
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)members, key, value) {
        bool wanted = text_matches_list(globs, key) || (prefix && annotations_has_prefix(key, prefix));
        if (wanted && json_object_set(picked, key, value) < 0)
            *ok = false;
    }
    char *text = json_object_size(picked) ? dump(picked, ok) : NULL;
    json_decref(picked);
    return text;
}

static void add_images(json_t *images, const json_t *containers, bool *ok) {
    size_t index;
    json_t *container;
    json_array_foreach ((json_t *)containers, index, container) {
        json_t *image = json_object_get(container, "image");
        if (json_is_string(image) && json_array_append(images, image) < 0)
            *ok = false;
    }
}

static char *take_images(const json_t *template, bool *ok) {
    const json_t *spec = json_object_get(template, "spec");
    json_t *images = json_array();
    if (!images) {
        *ok = false;
        return NULL;
    }
    add_images(images, json_object_get(spec, "initContainers"), ok);
    add_images(images, json_object_get(spec, "containers"), ok);
    char *text = json_array_size(images) ? dump(images, ok) : NULL;
    json_decref(images);
    return text;
}

static void remove_controller_labels(json_t *object) {
    json_t *labels = json_object_get(json_object_get(object, "metadata"), "labels");
    for (size_t i = 0; i < CONTROLLER_LABELS; i++)
        json_object_del(labels, controller_labels[i]);
}

static json_t *manifest_metadata(const json_t *metadata, bool *ok) {
    static const char *const kept[] = {"name", "namespace", "labels", "annotations"};
    json_t *result = json_object();
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        json_t *value = json_object_get(metadata, kept[i]);
        if (value && !json_is_null(value))
            set(result, kept[i], json_deep_copy(value), ok);
    }
    /* A second copy of the whole manifest, left by kubectl apply. */
    json_object_del(json_object_get(result, "annotations"), "kubectl.kubernetes.io/last-applied-configuration");
    return result;
}

/* The Job to create again: what the server and the Job controller added is taken away. */
static char *take_manifest(const json_t *json, json_t *template, bool *ok) {
    const json_t *old = json_object_get(json, "spec");
    json_t *manifest = json_object(), *spec = json_is_object(old) ? json_deep_copy(old) : json_object();
    set(manifest, "apiVersion", json_string("batch/v1"), ok);
    set(manifest, "kind", json_string("Job"), ok);
    set(manifest, "metadata", manifest_metadata(json_object_get(json, "metadata"), ok), ok);
    remove_controller_labels(manifest);
    if (!json_is_true(json_object_get(spec, "manualSelector"))) {
        json_object_del(spec, "selector");
        remove_controller_labels(template);
    }
    set(spec, "template", json_incref(template), ok);
    set(manifest, "spec", spec, ok);
    char *text = dump(manifest, ok);
    json_decref(manifest);
    return text;
}

static const json_t *final_condition(const json_t *status, enum outcome outcome) {
    size_t index;
    json_t *condition;
    json_array_foreach (json_object_get(status, "conditions"), index, condition) {
        const char *type = text_of(condition, "type"), *value = text_of(condition, "status");
        if (type && value && strcmp(value, "True") == 0 &&
                strcmp(type, outcome == OUTCOME_SUCCEEDED ? "Complete" : "Failed") == 0)
            return condition;
    }
    return NULL;
}

static void take_trigger(struct run *run, const json_t *annotations, const struct job *job, bool *ok) {
    const char *how = text_of(annotations, "cronjob.kubernetes.io/instantiate");
    bool time_ok = true;
    if (job_has_cronjob(job))
        run->cronjob = copy(job->owner_name, ok);
    if (how && strcmp(how, "manual") == 0) {
        run->trigger = RUN_MANUAL;
        return;
    }
    if (!job_has_cronjob(job))
        return;
    run->trigger = RUN_SCHEDULED;
    run->scheduled_at_ms = json_time_member(annotations, "batch.kubernetes.io/cronjob-scheduled-timestamp", &time_ok);
    if (run->scheduled_at_ms == TIME_NONE)
        run->scheduled_at_ms = job_schedule_from_name(job);
}

static struct run *take_decoded(const struct job *job, bool *ok) {
    struct run *run = run_create();
    if (!run)
        return NULL;
    run->namespace = copy(job->namespace, ok);
    run->job_name = copy(job->name, ok);
    run->job_uid = copy(job->uid, ok);
    run->resource_version = copy(job->resource_version, ok);
    run->owner_kind = copy(job->owner_kind, ok);
    run->owner_name = copy(job->owner_name, ok);
    run->owner_uid = copy(job->owner_uid, ok);
    run->created_at_ms = job->created_ms;
    run->started_at_ms = job->started_ms;
    run->finished_at_ms = job->finished_ms;
    run->outcome = job->outcome;
    return run;
}

struct run *evidence_from_job(const struct job *job) {
    bool ok = true;
    struct run *run = take_decoded(job, &ok);
    if (run)
        take_trigger(run, NULL, job, &ok);
    if (!ok) {
        run_destroy(run);
        return NULL;
    }
    return run;
}

static void take_status(struct run *run, const json_t *json, const struct job *job, bool *ok) {
    const json_t *status = json_object_get(json, "status"), *spec = json_object_get(json, "spec");
    const json_t *condition = final_condition(status, job->outcome);
    run->reason = copy(text_of(condition, "reason"), ok);
    run->message = copy(text_of(condition, "message"), ok);
    run->pods_succeeded = count_of(status, "succeeded");
    run->pods_failed = count_of(status, "failed");
    run->completed_indexes = copy(text_of(status, "completedIndexes"), ok);
    run->failed_indexes = copy(text_of(status, "failedIndexes"), ok);
    run->completions = count_of(spec, "completions");
    run->parallelism = count_of(spec, "parallelism");
    run->backoff_limit = count_of(spec, "backoffLimit");
    run->completion_mode = copy(text_of(spec, "completionMode"), ok);
}

struct run *evidence_from_json(const json_t *json, const char *template, size_t template_len, const struct job *job,
        const struct evidence_settings *settings) {
    bool ok = true;
    struct run *run = take_decoded(job, &ok);
    if (!run)
        return NULL;
    const json_t *metadata = json_object_get(json, "metadata");
    const json_t *annotations = json_object_get(metadata, "annotations");
    take_trigger(run, annotations, job, &ok);
    take_status(run, json, job, &ok);
    run->labels = pick(json_object_get(metadata, "labels"), settings->labels, NULL, &ok);
    run->annotations = pick(annotations, settings->annotations, settings->prefix, &ok);
    struct error err = {0};
    json_t *parsed = template_len
                             ? json_read(template, template_len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL, &err)
                             : NULL;
    if (err.kind == ERROR_NOMEM)
        ok = false;
    if (parsed) {
        run->images = take_images(parsed, &ok);
        if (settings->manifest)
            run->manifest = take_manifest(json, parsed, &ok);
        json_decref(parsed);
    }
    if (!ok) {
        run_destroy(run);
        return NULL;
    }
    return run;
}
