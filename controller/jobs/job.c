#include "jobs/job.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

static void doubt(struct job *job, const char *why) {
    if (!job->doubt)
        job->doubt = why;
}

static int read_identity(const struct job_object *object, struct job *job, struct error *err) {
    job->namespace = object->namespace;
    job->name = object->name;
    job->uid = object->uid;
    job->resource_version = object->resource_version;
    if (object->oddities & ODD_METADATA)
        return error_set(err, ERROR_FORMAT, "the Job has no metadata");
    if (object->oddities & ODD_IDENTITY)
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

static bool is_owner(const struct job_owner *owner) {
    return !owner->odd_controller && owner->kind && owner->name && owner->uid && owner->api_version &&
           is_api_version(owner->api_version);
}

/* The controlling owner, of which there can be one; without one, the first CronJob ("kubectl create job --from" did not
 * set the mark before 1.25). Other owners only have it removed when they are gone: they do not run it again. */
static void read_owners(const struct job_object *object, struct job *job) {
    if (object->oddities & ODD_OWNERS)
        doubt(job, "metadata.ownerReferences is not a list");
    bool controlled = false;
    for (size_t i = 0; i < object->n_owners; i++) {
        const struct job_owner *owner = &object->owners[i];
        if (!is_owner(owner)) {
            doubt(job, "an entry of metadata.ownerReferences cannot be understood");
            continue;
        }
        bool is_cronjob = strcmp(owner->kind, "CronJob") == 0 && is_of_batch(owner->api_version);
        if (owner->controls && controlled)
            doubt(job, "metadata.ownerReferences has more than one controller");
        if (controlled || (!owner->controls && (job->owner_kind || !is_cronjob)))
            continue;
        controlled = owner->controls;
        job->owner_kind = owner->kind;
        job->owner_name = owner->name;
        job->owner_uid = owner->uid;
        job->owner_api = is_of_batch(owner->api_version) ? NULL : owner->api_version;
        job->owner_is_loose = !owner->controls;
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
static void read_hook(const struct job_object *object, struct job *job) {
    for (enum hook_tool tool = HOOK_HELM; tool <= HOOK_ARGOCD; tool++) {
        const struct job_pair *annotation = job_object_annotation(object, hooks[tool].annotation);
        if (!annotation)
            continue;
        job->hook_tool = (uint8_t)tool;
        job->hook = annotation->value ? annotation->value : "";
        return;
    }
}

struct verdict {
    bool complete, failed, success_criteria_met, failure_target;
    int64_t at_ms;
};

static void read_condition(const struct job_condition *condition, struct job *job, struct verdict *verdict) {
    const char *type = condition->type, *status = condition->status;
    if (!type || !status) {
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
    verdict->at_ms = condition->transition_ms;
    if (condition->odd_transition)
        doubt(job, "the lastTransitionTime of the condition that ends the Job is not a time");
    else if (verdict->at_ms == TIME_NONE)
        doubt(job, "the condition that ends the Job has no lastTransitionTime");
}

static void read_status(const struct job_object *object, struct job *job) {
    struct verdict verdict = {.at_ms = TIME_NONE};
    if (object->oddities & ODD_STATUS)
        doubt(job, "status or status.conditions has the wrong type");
    for (size_t i = 0; i < object->n_conditions; i++)
        read_condition(&object->conditions[i], job, &verdict);
    job->started_ms = object->started_ms;
    job->completion_ms = object->completion_ms;
    if (object->oddities & ODD_RUN_TIME)
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

static void read_annotations(const struct job_object *object, const char *prefix, struct annotations *ret) {
    annotations_init(ret);
    if (object->oddities & ODD_ANNOTATIONS)
        annotations_are_odd(ret);
    for (size_t i = 0; i < object->n_annotations; i++) {
        const struct job_pair *pair = &object->annotations[i];
        annotations_take(ret, prefix, pair->key, pair->value, pair->value_len);
    }
}

int job_decode(const struct job_object *object, const char *prefix, struct job *ret, struct error *err) {
    struct job job = {.created_ms = object->created_ms,
            .deletion_ms = object->deletion_ms,
            .finished_ms = TIME_NONE,
            .spec_ttl_s = object->ttl_s == JOB_COUNT_NONE ? SPEC_TTL_NONE : object->ttl_s};
    if (read_identity(object, &job, err) < 0)
        return -1;
    if (object->oddities & ODD_CREATION_TIME)
        doubt(&job, "metadata.creationTimestamp is not a time");
    if (object->oddities & ODD_DELETION_TIME)
        doubt(&job, "metadata.deletionTimestamp is not a time");
    if (job.deletion_ms != TIME_NONE && object->finalizers[0])
        job.finalizers = object->finalizers;
    read_annotations(object, prefix, &job.annotations);
    read_hook(object, &job);
    read_owners(object, &job);
    if (object->oddities & ODD_SPEC)
        doubt(&job, "spec has the wrong type");
    if (object->oddities & ODD_TTL)
        doubt(&job, "spec.ttlSecondsAfterFinished is not a whole number of seconds");
    read_status(object, &job);
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
