#include "jobs/job_object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/timestamp.h"

/* NULL when absent; *ok is cleared when it is there and not plain text. */
static const char *json_text_member(const json_t *object, const char *key, bool *ok) {
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value))
        return NULL;
    /* A NUL inside would make two different names look the same. */
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)) {
        *ok = false;
        return NULL;
    }
    return json_string_value(value);
}

int64_t json_time_member(const json_t *object, const char *key, bool *ok) {
    bool is_text = true;
    const char *text = json_text_member(object, key, &is_text);
    int64_t ms = TIME_NONE;
    if (!is_text || (text && timestamp_parse(text, &ms, NULL) < 0))
        *ok = false;
    return ms;
}

void job_object_init(struct job_object *object) {
    *object = (struct job_object){.created_ms = TIME_NONE,
            .deletion_ms = TIME_NONE,
            .started_ms = TIME_NONE,
            .completion_ms = TIME_NONE,
            .ttl_s = JOB_COUNT_NONE,
            .completions = JOB_COUNT_NONE,
            .parallelism = JOB_COUNT_NONE,
            .backoff_limit = JOB_COUNT_NONE,
            .succeeded = JOB_COUNT_NONE,
            .failed = JOB_COUNT_NONE};
}

void job_object_add_finalizer(struct job_object *object, const char *name) {
    size_t len = strlen(object->finalizers);
    snprintf(object->finalizers + len, JOB_FINALIZERS_MAX - len, "%s%s", len ? ", " : "", name);
}

void job_object_set_ttl(struct job_object *object, int64_t ttl_s) {
    if (ttl_s >= 0 && ttl_s <= SPEC_TTL_MAX_S)
        object->ttl_s = ttl_s;
    else
        object->oddities |= ODD_TTL;
}

const struct job_pair *job_object_annotation(const struct job_object *object, const char *key) {
    for (size_t i = 0; i < object->n_annotations; i++) {
        if (strcmp(object->annotations[i].key, key) == 0)
            return &object->annotations[i];
    }
    return NULL;
}

/* ---- from JSON ---- */

static bool is_absent(const json_t *value) {
    return !value || json_is_null(value);
}

static const char *text_of(const json_t *object, const char *key) {
    bool ok = true;
    return json_text_member(object, key, &ok);
}

static int64_t count_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value) : JOB_COUNT_NONE;
}

static int64_t time_of(struct job_object *object, const json_t *from, const char *key, enum job_oddity oddity) {
    bool ok = true;
    int64_t ms = json_time_member(from, key, &ok);
    if (!ok)
        object->oddities |= oddity;
    return ms;
}

static const char *identity_of(struct job_object *object, const json_t *metadata, const char *key) {
    bool ok = true;
    (void)json_text_member(metadata, key, &ok);
    if (!ok)
        object->oddities |= ODD_IDENTITY;
    return json_string_value(json_object_get(metadata, key));
}

/* Fills at, and returns its end. */
static struct job_pair *read_pairs(const json_t *members, struct job_pair *at) {
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)members, key, value)
        *at++ = (struct job_pair){key, json_string_value(value), json_string_length(value)};
    return at;
}

static void read_owners(const json_t *list, struct job_owner *at) {
    size_t index;
    json_t *reference;
    json_array_foreach ((json_t *)list, index, reference) {
        const json_t *controls = json_object_get(reference, "controller");
        at[index] = (struct job_owner){.api_version = text_of(reference, "apiVersion"),
                .kind = text_of(reference, "kind"),
                .name = text_of(reference, "name"),
                .uid = text_of(reference, "uid"),
                .controls = json_is_true(controls),
                .odd_controller = !is_absent(controls) && !json_is_boolean(controls)};
    }
}

static void read_conditions(const json_t *list, struct job_condition *at) {
    size_t index;
    json_t *condition;
    json_array_foreach ((json_t *)list, index, condition) {
        bool ok = true;
        int64_t transition_ms = json_time_member(condition, "lastTransitionTime", &ok);
        at[index] = (struct job_condition){.type = text_of(condition, "type"),
                .status = text_of(condition, "status"),
                .reason = text_of(condition, "reason"),
                .message = text_of(condition, "message"),
                .transition_ms = transition_ms,
                .odd_transition = !ok};
    }
}

static void read_metadata(struct job_object *object, const json_t *metadata) {
    if (!json_is_object(metadata))
        object->oddities |= ODD_METADATA;
    object->namespace = identity_of(object, metadata, "namespace");
    object->name = identity_of(object, metadata, "name");
    object->uid = identity_of(object, metadata, "uid");
    object->resource_version = identity_of(object, metadata, "resourceVersion");
    object->created_ms = time_of(object, metadata, "creationTimestamp", ODD_CREATION_TIME);
    object->deletion_ms = time_of(object, metadata, "deletionTimestamp", ODD_DELETION_TIME);
    size_t index;
    json_t *finalizer;
    json_array_foreach (json_object_get(metadata, "finalizers"), index, finalizer) {
        if (json_is_string(finalizer))
            job_object_add_finalizer(object, json_string_value(finalizer));
    }
}

static void read_spec(struct job_object *object, const json_t *spec) {
    const json_t *ttl = json_object_get(spec, "ttlSecondsAfterFinished");
    if (spec && !json_is_object(spec))
        object->oddities |= ODD_SPEC;
    if (json_is_integer(ttl))
        job_object_set_ttl(object, json_integer_value(ttl));
    else if (!is_absent(ttl))
        object->oddities |= ODD_TTL;
    object->completions = count_of(spec, "completions");
    object->parallelism = count_of(spec, "parallelism");
    object->backoff_limit = count_of(spec, "backoffLimit");
    object->completion_mode = text_of(spec, "completionMode");
}

static void read_status(struct job_object *object, const json_t *status) {
    const json_t *conditions = json_object_get(status, "conditions");
    if ((status && !json_is_object(status)) || (!is_absent(conditions) && !json_is_array(conditions)))
        object->oddities |= ODD_STATUS;
    object->started_ms = time_of(object, status, "startTime", ODD_RUN_TIME);
    object->completion_ms = time_of(object, status, "completionTime", ODD_RUN_TIME);
    object->succeeded = count_of(status, "succeeded");
    object->failed = count_of(status, "failed");
    object->completed_indexes = text_of(status, "completedIndexes");
    object->failed_indexes = text_of(status, "failedIndexes");
}

/* One block for all lists: how long they are is known. */
static int read_lists(struct job_object *object, const json_t *metadata, const json_t *status, struct error *err) {
    const json_t *labels = json_object_get(metadata, "labels"), *annotations = json_object_get(metadata, "annotations");
    const json_t *owners = json_object_get(metadata, "ownerReferences");
    const json_t *conditions = json_object_get(status, "conditions");
    if (!is_absent(annotations) && !json_is_object(annotations))
        object->oddities |= ODD_ANNOTATIONS;
    if (!is_absent(owners) && !json_is_array(owners))
        object->oddities |= ODD_OWNERS;
    object->n_labels = json_object_size(labels);
    object->n_annotations = json_object_size(annotations);
    object->n_owners = json_array_size(owners);
    object->n_conditions = json_array_size(conditions);
    struct job_owner *own;
    struct job_condition *cond;
    struct job_pair *pairs;
    size_t bytes = object->n_owners * sizeof *own + object->n_conditions * sizeof *cond +
                   (object->n_labels + object->n_annotations) * sizeof *pairs;
    if (!bytes)
        return 0;
    if (!(object->block = malloc(bytes)))
        return error_nomem(err);
    /* All three hold pointers, so any order is aligned. */
    object->owners = own = object->block;
    object->conditions = cond = (void *)(own + object->n_owners);
    object->labels = pairs = (void *)(cond + object->n_conditions);
    object->annotations = read_pairs(labels, pairs);
    read_pairs(annotations, pairs + object->n_labels);
    read_owners(owners, own);
    read_conditions(conditions, cond);
    return 0;
}

int job_object_read(
        const json_t *json, const char *template, size_t template_len, struct job_object *ret, struct error *err) {
    struct job_object object;
    const json_t *metadata = json_object_get(json, "metadata"), *status = json_object_get(json, "status");
    job_object_init(&object);
    if (read_lists(&object, metadata, status, err) < 0)
        return -1;
    read_metadata(&object, metadata);
    read_spec(&object, json_object_get(json, "spec"));
    read_status(&object, status);
    object.json = json;
    object.template = template;
    object.template_len = template_len;
    *ret = object;
    return 0;
}

void job_object_finish(struct job_object *object) {
    free(object->block);
    object->block = NULL;
}
