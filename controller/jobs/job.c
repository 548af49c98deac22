#include "jobs/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/timestamp.h"

#define SPEC_TTL_MAX_S 2147483647 /* an int32 in the API */

const char *json_text_member(const json_t *object, const char *key, bool *ok) {
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

static void doubt(struct job *job, const char *why) {
    if (!job->doubt)
        job->doubt = why;
}

static int read_identity(const json_t *metadata, struct job *job, struct error *err) {
    bool ok = true;
    job->namespace = json_text_member(metadata, "namespace", &ok);
    job->name = json_text_member(metadata, "name", &ok);
    job->uid = json_text_member(metadata, "uid", &ok);
    job->resource_version = json_text_member(metadata, "resourceVersion", &ok);
    if (!json_is_object(metadata))
        return error_set(err, ERROR_FORMAT, "the Job has no metadata");
    if (!ok)
        return error_set(err, ERROR_FORMAT,
                "the Job's metadata has a name, namespace, uid or resourceVersion of the wrong type");
    if (!job->namespace || !*job->namespace || !job->name || !*job->name || !job->uid || !*job->uid)
        return error_set(err, ERROR_FORMAT, "the Job's metadata lacks %s",
                !job->name || !*job->name             ? "a name"
                : !job->namespace || !*job->namespace ? "a namespace"
                                                      : "a uid");
    if (strlen(job->uid) >= UID_MAX)
        return error_set(err, ERROR_FORMAT, "the Job's uid is longer than %d characters", UID_MAX - 1);
    return 0;
}

/* An API version is VERSION (of the core group) or GROUP/VERSION. */
static bool is_api_version(const char *text) {
    const char *slash = strchr(text, '/');
    return *text && (!slash || (slash > text && slash[1] && !strchr(slash + 1, '/')));
}

static bool is_of_batch(const char *api_version) {
    return strncmp(api_version, "batch/", 6) == 0;
}

struct owner {
    const char *kind, *name, *uid, *api;
    bool controls;
};

static bool read_owner(const json_t *reference, struct owner *ret) {
    bool ok = true;
    const json_t *controls = json_object_get(reference, "controller");
    *ret = (struct owner){.kind = json_text_member(reference, "kind", &ok),
            .name = json_text_member(reference, "name", &ok),
            .uid = json_text_member(reference, "uid", &ok),
            .api = json_text_member(reference, "apiVersion", &ok),
            .controls = json_is_true(controls)};
    if (controls && !json_is_boolean(controls) && !json_is_null(controls))
        return false;
    return ok && ret->kind && ret->name && ret->uid && ret->api && is_api_version(ret->api);
}

/* The controlling owner, of which there can be one; without one, the first CronJob ("kubectl create job --from" did not
 * set the mark before 1.25). Other owners only have it removed when they are gone: they do not run it again. */
static void read_owners(const json_t *metadata, struct job *job) {
    const json_t *owners = json_object_get(metadata, "ownerReferences");
    if (owners && !json_is_array(owners) && !json_is_null(owners))
        doubt(job, "metadata.ownerReferences is not a list");
    bool controlled = false;
    size_t index;
    json_t *reference;
    json_array_foreach ((json_t *)owners, index, reference) {
        struct owner owner;
        if (!read_owner(reference, &owner)) {
            doubt(job, "an entry of metadata.ownerReferences cannot be understood");
            continue;
        }
        bool is_cronjob = strcmp(owner.kind, "CronJob") == 0 && is_of_batch(owner.api);
        if (owner.controls && controlled)
            doubt(job, "metadata.ownerReferences has more than one controller");
        if (controlled || (!owner.controls && (job->owner_kind || !is_cronjob)))
            continue;
        controlled = owner.controls;
        job->owner_kind = owner.kind;
        job->owner_name = owner.name;
        job->owner_uid = owner.uid;
        job->owner_api = is_of_batch(owner.api) ? NULL : owner.api;
        job->owner_is_loose = !owner.controls;
    }
}

/* By enum hook_tool. */
static const struct {
    const char *annotation, *tool;
} hooks[] = {{NULL, NULL}, {"helm.sh/hook", "Helm"}, {"argocd.argoproj.io/hook", "Argo CD"}};

const char *hook_annotation(enum hook_tool tool) {
    return hooks[tool].annotation;
}

const char *hook_tool_name(enum hook_tool tool) {
    return hooks[tool].tool;
}

/* Whatever the value: a tool that knows more values than we do still looks after its hook. */
static void read_hook(const json_t *annotations, struct job *job) {
    for (enum hook_tool tool = HOOK_HELM; tool <= HOOK_ARGOCD; tool++) {
        const json_t *value = json_object_get(annotations, hooks[tool].annotation);
        if (!value)
            continue;
        job->hook_tool = (uint8_t)tool;
        job->hook = json_is_string(value) ? json_string_value(value) : "";
        return;
    }
}

struct verdict {
    bool complete, failed, success_criteria_met, failure_target;
    int64_t at_ms;
};

static void read_condition(const json_t *condition, struct job *job, struct verdict *verdict) {
    bool ok = true;
    const char *type = json_text_member(condition, "type", &ok), *status = json_text_member(condition, "status", &ok);
    if (!ok || !type || !status) {
        doubt(job, "a condition lacks its type or status");
        return;
    }
    if (strcmp(status, "True") != 0) {
        if (strcmp(status, "False") != 0 && strcmp(status, "Unknown") != 0)
            doubt(job, "a condition's status is neither True, False nor Unknown");
        return;
    }
    if (strcmp(type, "SuccessCriteriaMet") == 0)
        verdict->success_criteria_met = true;
    else if (strcmp(type, "FailureTarget") == 0)
        verdict->failure_target = true;
    bool *finished = strcmp(type, "Complete") == 0 ? &verdict->complete
                     : strcmp(type, "Failed") == 0 ? &verdict->failed
                                                   : NULL;
    if (!finished)
        return;
    if (*finished)
        doubt(job, "the condition that ends the Job is there twice");
    *finished = true;
    verdict->at_ms = json_time_member(condition, "lastTransitionTime", &ok);
    if (!ok)
        doubt(job, "the lastTransitionTime of the condition that ends the Job is not a time");
    else if (verdict->at_ms == TIME_NONE)
        doubt(job, "the condition that ends the Job has no lastTransitionTime");
}

static void read_status(const json_t *status, struct job *job) {
    bool ok = true;
    struct verdict verdict = {.at_ms = TIME_NONE};
    const json_t *conditions = json_object_get(status, "conditions");
    if ((status && !json_is_object(status)) || (conditions && !json_is_array(conditions) && !json_is_null(conditions)))
        doubt(job, "status or status.conditions has the wrong type");
    size_t index;
    json_t *condition;
    json_array_foreach ((json_t *)conditions, index, condition)
        read_condition(condition, job, &verdict);
    job->started_ms = json_time_member(status, "startTime", &ok);
    job->completion_ms = json_time_member(status, "completionTime", &ok);
    if (!ok)
        doubt(job, "status.startTime or status.completionTime is not a time");
    job->finished_ms = verdict.at_ms;
    if (verdict.complete && verdict.failed) {
        doubt(job, "both conditions, Complete and Failed, are True");
        job->finished_ms = TIME_NONE;
        return;
    }
    if ((verdict.complete && verdict.failure_target) || (verdict.failed && verdict.success_criteria_met))
        doubt(job, "its conditions contradict each other");
    job->outcome = verdict.complete ? OUTCOME_SUCCEEDED : verdict.failed ? OUTCOME_FAILED : OUTCOME_NONE;
    if (job->finished_ms != TIME_NONE && job->started_ms != TIME_NONE && job->finished_ms < job->started_ms)
        doubt(job, "it finished before it started");
}

int job_decode(const json_t *json, const char *prefix, struct job *ret, struct error *err) {
    struct job job = {.created_ms = TIME_NONE,
            .started_ms = TIME_NONE,
            .finished_ms = TIME_NONE,
            .completion_ms = TIME_NONE,
            .deletion_ms = TIME_NONE,
            .spec_ttl_s = SPEC_TTL_NONE};
    const json_t *metadata = json_object_get(json, "metadata"), *spec = json_object_get(json, "spec");
    if (read_identity(metadata, &job, err) < 0)
        return -1;
    bool ok = true;
    job.created_ms = json_time_member(metadata, "creationTimestamp", &ok);
    if (!ok)
        doubt(&job, "metadata.creationTimestamp is not a time");
    ok = true;
    job.deletion_ms = json_time_member(metadata, "deletionTimestamp", &ok);
    if (!ok)
        doubt(&job, "metadata.deletionTimestamp is not a time");
    if (job.deletion_ms != TIME_NONE)
        job.finalizer_list = json_object_get(metadata, "finalizers");
    annotations_read(json_object_get(metadata, "annotations"), prefix, &job.annotations);
    read_hook(json_object_get(metadata, "annotations"), &job);
    read_owners(metadata, &job);
    const json_t *ttl = json_object_get(spec, "ttlSecondsAfterFinished");
    if (spec && !json_is_object(spec))
        doubt(&job, "spec has the wrong type");
    if (ttl && !json_is_null(ttl)) {
        if (json_is_integer(ttl) && json_integer_value(ttl) >= 0 && json_integer_value(ttl) <= SPEC_TTL_MAX_S)
            job.spec_ttl_s = json_integer_value(ttl);
        else
            doubt(&job, "spec.ttlSecondsAfterFinished is not a whole number of seconds");
    }
    read_status(json_object_get(json, "status"), &job);
    *ret = job;
    return 0;
}

bool job_is_finished(const struct job *job) {
    return job->outcome != OUTCOME_NONE;
}

bool job_has_cronjob(const struct job *job) {
    return job->owner_kind && !job->owner_api && strcmp(job->owner_kind, "CronJob") == 0;
}

int64_t job_schedule_from_name(const struct job *job) {
    const char *dash = strrchr(job->name, '-');
    char *end;
    long long number = dash ? strtoll(dash + 1, &end, 10) : 0;
    if (!dash || number <= 0 || *end)
        return TIME_NONE;
    size_t digits = strlen(dash + 1);
    int64_t at_ms = digits == 8 ? number * 60000 : digits == 10 ? number * 1000 : TIME_NONE;
    bool plausible = at_ms != TIME_NONE && job->created_ms != TIME_NONE && at_ms <= job->created_ms + 60000 &&
                     at_ms > job->created_ms - 366 * 86400000LL;
    return plausible ? at_ms : TIME_NONE;
}

const char *job_owner_text(const struct job *job, char buf[OWNER_TEXT_MAX]) {
    const char *api = job->owner_api ? job->owner_api : "batch/v1", *slash = strchr(api, '/');
    int group_len = slash ? (int)(slash - api) : 0;
    snprintf(buf, OWNER_TEXT_MAX, "%s%s%.*s", job->owner_kind, slash ? "." : "", group_len, api);
    return buf;
}
