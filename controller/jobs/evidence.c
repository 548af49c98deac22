#include "jobs/evidence.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/timestamp.h"

/* More than an item of 4 MB can become: a control character is six bytes long here. */
#define COLUMN_MAX (32u << 20)

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

/* The text of a JSON column; NULL when it is empty. */
static char *take_column(struct strbuf *column, char closer, bool *ok) {
    if (!column->len && !strbuf_failed(column))
        return NULL;
    strbuf_add_char(column, closer);
    char *text = strbuf_take(column);
    if (!text)
        *ok = false;
    strbuf_finish(column);
    return text;
}

/* The pairs whose keys are allowed, as JSON; NULL when there are none. */
static char *pick(const struct job_pair *pairs, size_t n, const char *globs, const char *prefix, bool *ok) {
    struct strbuf column = STRBUF_INIT(COLUMN_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct job_pair *pair = &pairs[i];
        if (!text_matches_list(globs, pair->key) && !(prefix && annotations_has_prefix(pair->key, prefix)))
            continue;
        strbuf_add_char(&column, column.len ? ',' : '{');
        text_add_json_exact(&column, pair->key, strlen(pair->key));
        strbuf_add_char(&column, ':');
        if (pair->value)
            text_add_json_exact(&column, pair->value, pair->value_len);
        else
            strbuf_add_text(&column, "null");
    }
    return take_column(&column, '}', ok);
}

static void add_image(struct strbuf *column, const char *image, size_t len) {
    strbuf_add_char(column, column->len ? ',' : '[');
    text_add_json_exact(column, image, len);
}

static void add_images(struct strbuf *column, const json_t *containers) {
    size_t index;
    json_t *container;
    json_array_foreach ((json_t *)containers, index, container) {
        const json_t *image = json_object_get(container, "image");
        if (json_is_string(image))
            add_image(column, json_string_value(image), json_string_length(image));
    }
}

/* template NULL: the Job did not come as JSON. */
static char *take_images(const struct job_object *object, const json_t *template, bool *ok) {
    struct strbuf column = STRBUF_INIT(COLUMN_MAX);
    const json_t *spec = json_object_get(template, "spec");
    add_images(&column, json_object_get(spec, "initContainers"));
    add_images(&column, json_object_get(spec, "containers"));
    for (size_t i = 0; i < object->n_images; i++)
        add_image(&column, object->images[i].text, object->images[i].len);
    return take_column(&column, ']', ok);
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

static const struct job_condition *final_condition(const struct job_object *object, enum outcome outcome) {
    for (size_t i = 0; i < object->n_conditions; i++) {
        const struct job_condition *condition = &object->conditions[i];
        if (condition->type && condition->status && strcmp(condition->status, "True") == 0 &&
                strcmp(condition->type, outcome == OUTCOME_SUCCEEDED ? "Complete" : "Failed") == 0)
            return condition;
    }
    return NULL;
}

/* NULL: absent, or not plain text. */
static const char *annotation_text(const struct job_object *object, const char *key) {
    const struct job_pair *pair = object ? job_object_annotation(object, key) : NULL;
    return pair && pair->value && strlen(pair->value) == pair->value_len ? pair->value : NULL;
}

/* object NULL: all that is known is the decoded Job. */
static void take_trigger(struct run *run, const struct job_object *object, const struct job *job, bool *ok) {
    const char *how = annotation_text(object, "cronjob.kubernetes.io/instantiate");
    const char *when = annotation_text(object, "batch.kubernetes.io/cronjob-scheduled-timestamp");
    if (job_has_cronjob(job))
        run->cronjob = copy(job->owner_name, ok);
    if (how && strcmp(how, "manual") == 0) {
        run->trigger = RUN_MANUAL;
        return;
    }
    if (!job_has_cronjob(job))
        return;
    run->trigger = RUN_SCHEDULED;
    if (!when || timestamp_parse(when, &run->scheduled_at_ms, NULL) < 0)
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

static void take_status(struct run *run, const struct job_object *object, const struct job *job, bool *ok) {
    const struct job_condition *condition = final_condition(object, job->outcome);
    run->reason = copy(condition ? condition->reason : NULL, ok);
    run->message = copy(condition ? condition->message : NULL, ok);
    run->pods_succeeded = object->succeeded;
    run->pods_failed = object->failed;
    run->completed_indexes = copy(object->completed_indexes, ok);
    run->failed_indexes = copy(object->failed_indexes, ok);
    run->completions = object->completions;
    run->parallelism = object->parallelism;
    run->backoff_limit = object->backoff_limit;
    run->completion_mode = copy(object->completion_mode, ok);
}

struct run *evidence_from_object(
        const struct job_object *object, const struct job *job, const struct evidence_settings *settings) {
    bool ok = true;
    struct run *run = take_decoded(job, &ok);
    if (!run)
        return NULL;
    take_trigger(run, object, job, &ok);
    take_status(run, object, job, &ok);
    run->labels = pick(object->labels, object->n_labels, settings->labels, NULL, &ok);
    run->annotations = pick(object->annotations, object->n_annotations, settings->annotations, settings->prefix, &ok);
    struct error err = {0};
    json_t *template = object->template_len ? json_read(object->template, object->template_len,
                                                      JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL, &err)
                                            : NULL;
    if (err.kind == ERROR_NOMEM)
        ok = false;
    run->images = take_images(object, template, &ok);
    if (template && settings->manifest)
        run->manifest = take_manifest(object->json, template, &ok);
    json_decref(template);
    if (!ok) {
        run_destroy(run);
        return NULL;
    }
    return run;
}
