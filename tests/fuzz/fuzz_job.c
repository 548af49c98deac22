/*
 * Any bytes as a Job: JSON where they are some, else a Job made up of odd members as the bytes choose. Decoding,
 * deciding and taking evidence never crash, the store gives back the same Job, and nothing that is in doubt is ever
 * deleted.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "jobs/evidence.h"
#include "jobs/job.h"
#include "jobs/policy.h"
#include "jobs/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ensure(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- a Job from bytes that are no JSON ---- */

struct bytes {
    const uint8_t *at, *end;
};

static size_t choose(struct bytes *bytes, size_t below) {
    return bytes->at < bytes->end ? *bytes->at++ % below : 0;
}

static const char *const times[] = {"2026-01-02T03:04:05Z", "2026-01-02T03:00:00Z", "2999-01-01T00:00:00Z",
        "2026-01-02T03:04:05.678+01:00", "0001-01-01T00:00:00Z", "yesterday", ""};

/* Any value at all. */
static json_t *odd_value(struct bytes *bytes) {
    static const char *const texts[] = {"", "true", "x", "\xc3\xa4", "5", "never", "CronJob"};
    switch (choose(bytes, 8)) {
    case 0:
        return json_null();
    case 1:
        return json_true();
    case 2:
        return json_integer((json_int_t)choose(bytes, 256) - 3);
    case 3:
        return json_real(0.5);
    case 4:
        return json_object();
    case 5:
        return json_array();
    case 6:
        return json_string(times[choose(bytes, COUNT(times))]);
    default:
        return json_string(texts[choose(bytes, COUNT(texts))]);
    }
}

/* Sets key to the usual value (taken), mostly; sometimes to another, sometimes not at all. */
static void set(struct bytes *bytes, json_t *object, const char *key, json_t *usual) {
    size_t luck = choose(bytes, 16);
    if (luck == 14) {
        json_decref(usual);
        return;
    }
    if (luck == 15) {
        json_decref(usual);
        usual = odd_value(bytes);
    }
    json_object_set_new(object, key, usual);
}

static json_t *one_of(struct bytes *bytes, const char *const *texts, size_t n) {
    return json_string(texts[choose(bytes, n)]);
}

#define ONE_OF(bytes, texts) one_of((bytes), (texts), COUNT(texts))

static json_t *make_metadata(struct bytes *bytes) {
    static const char *const names[] = {"train", "nightly-29455380", "nightly-1767322800", "a-"};
    static const char *const keys[] = {"sexton.dev/hold", "sexton.dev/ttl-after-success",
            "sexton.dev/ttl-after-failure", "sexton.dev/typo", "other", "cronjob.kubernetes.io/instantiate",
            "batch.kubernetes.io/cronjob-scheduled-timestamp", "helm.sh/hook", "argocd.argoproj.io/hook"};
    static const char *const versions[] = {"batch/v1", "batch/v1beta1", "jobset.x-k8s.io/v1alpha2", "v1", "/v1"};
    static const char *const values[] = {
            "true", "false", "0s", "7d", "never", "5", "manual", "2026-01-02T03:04:05Z", ""};
    static const char *const kinds[] = {"CronJob", "JobSet", "Flow"};
    json_t *metadata = json_object(), *annotations = json_object(), *owners = json_array();
    set(bytes, metadata, "name", ONE_OF(bytes, names));
    set(bytes, metadata, "namespace", json_string("ml"));
    set(bytes, metadata, "uid", json_string("u-1"));
    set(bytes, metadata, "resourceVersion", json_string("77"));
    set(bytes, metadata, "creationTimestamp", ONE_OF(bytes, times));
    for (size_t n = choose(bytes, 4); n > 0; n--)
        set(bytes, annotations, keys[choose(bytes, COUNT(keys))], ONE_OF(bytes, values));
    set(bytes, metadata, "annotations", annotations);
    for (size_t n = choose(bytes, 3); n > 0; n--) {
        json_t *owner = json_object();
        set(bytes, owner, "apiVersion", ONE_OF(bytes, versions));
        set(bytes, owner, "kind", ONE_OF(bytes, kinds));
        set(bytes, owner, "name", json_string("nightly"));
        set(bytes, owner, "uid", json_string("c-1"));
        set(bytes, owner, "controller", json_boolean(choose(bytes, 2)));
        json_array_append_new(owners, owner);
    }
    set(bytes, metadata, "ownerReferences", owners);
    if (choose(bytes, 8) == 7) {
        set(bytes, metadata, "deletionTimestamp", ONE_OF(bytes, times));
        set(bytes, metadata, "finalizers", json_pack("[s, s]", "foregroundDeletion", "example.com/x"));
    }
    return metadata;
}

static json_t *make_status(struct bytes *bytes) {
    static const char *const types[] = {"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget", "Suspended"};
    static const char *const states[] = {"True", "True", "False", "Unknown", "true"};
    json_t *status = json_object(), *conditions = json_array();
    set(bytes, status, "startTime", ONE_OF(bytes, times));
    set(bytes, status, "succeeded", json_integer((json_int_t)choose(bytes, 5)));
    for (size_t n = choose(bytes, 4); n > 0; n--) {
        json_t *condition = json_object();
        set(bytes, condition, "type", ONE_OF(bytes, types));
        set(bytes, condition, "status", ONE_OF(bytes, states));
        set(bytes, condition, "lastTransitionTime", ONE_OF(bytes, times));
        set(bytes, condition, "reason", json_string("BackoffLimitExceeded"));
        json_array_append_new(conditions, condition);
    }
    set(bytes, status, "conditions", conditions);
    return status;
}

static json_t *make_job(struct bytes *bytes) {
    json_t *job = json_object(), *spec = json_object();
    set(bytes, job, "metadata", make_metadata(bytes));
    set(bytes, job, "status", make_status(bytes));
    set(bytes, spec, "ttlSecondsAfterFinished", json_integer((json_int_t)choose(bytes, 200) - 1));
    set(bytes, spec, "manualSelector", json_boolean(choose(bytes, 2)));
    set(bytes, spec, "selector", json_object());
    set(bytes, job, "spec", spec);
    return job;
}

/* ---- what must hold ---- */

static void check_same_text(const char *a, const char *b) {
    ensure(!a == !b);
    ensure(!a || (strncmp(a, b, STORE_TEXT_MAX) == 0 && strlen(b) <= STORE_TEXT_MAX));
}

static void check_copy(const struct job *a, const struct job *b) {
    check_same_text(a->namespace, b->namespace);
    check_same_text(a->name, b->name);
    check_same_text(a->uid, b->uid);
    check_same_text(a->resource_version, b->resource_version);
    check_same_text(a->owner_kind, b->owner_kind);
    check_same_text(a->owner_name, b->owner_name);
    check_same_text(a->owner_uid, b->owner_uid);
    check_same_text(a->owner_api, b->owner_api);
    check_same_text(a->hook, b->hook);
    ensure(a->hook_tool == b->hook_tool && a->owner_is_loose == b->owner_is_loose);
    check_same_text(a->finalizers, b->finalizers);
    check_same_text(a->annotations.success.text, b->annotations.success.text);
    check_same_text(a->annotations.failure.text, b->annotations.failure.text);
    check_same_text(a->annotations.hold.text, b->annotations.hold.text);
    check_same_text(a->annotations.bad_key, b->annotations.bad_key);
    check_same_text(a->annotations.bad_value, b->annotations.bad_value);
    ensure(a->finished_ms == b->finished_ms && a->spec_ttl_s == b->spec_ttl_s && a->outcome == b->outcome);
    ensure(a->deletion_ms == b->deletion_ms && a->doubt == b->doubt && a->created_ms == b->created_ms);
    ensure(a->started_ms == b->started_ms && a->completion_ms == b->completion_ms);
}

static void check_job(const struct job *job) {
    ensure(job->namespace[0] && job->name[0] && job->uid[0] && strlen(job->uid) < UID_MAX);
    ensure(!job->owner_kind == !job->owner_name && !job->owner_kind == !job->owner_uid);
    ensure(!job->owner_api || job->owner_kind);
    ensure(!job->hook == (job->hook_tool == HOOK_NONE));
    ensure(job->spec_ttl_s >= SPEC_TTL_NONE && job->spec_ttl_s <= INT32_MAX);
    ensure(job->doubt || job_is_finished(job) == (job->finished_ms != TIME_NONE));
}

static void check_decision(const struct policy *policy, const struct job *job, int64_t now_ms) {
    const struct annotations none = {.hold.until_ms = TIME_NONE};
    const struct guards guards = {.namespace = NAMESPACE_KNOWN, .namespace_annotations = &none};
    struct decision decision = policy_decide(policy, job, &guards, now_ms);
    bool in_doubt = job->doubt || job->annotations.bad_key || job->deletion_ms != TIME_NONE ||
                    job->annotations.hold.until_ms == HOLD_FOREVER || !job_is_finished(job);
    const struct annotation_ttl *own =
            job->outcome == OUTCOME_SUCCEEDED ? &job->annotations.success : &job->annotations.failure;
    bool is_wanted = own->state == ANNOTATION_SET || job->spec_ttl_s != SPEC_TTL_NONE;
    if (!is_wanted && (job->hook_tool != HOOK_NONE || (job->owner_kind && !job_has_cronjob(job))))
        ensure(decision.action == ACTION_KEEP || decision.action == ACTION_NONE);
    if (decision.action == ACTION_DELETE)
        ensure(!in_doubt && now_ms >= job->finished_ms && now_ms >= decision.due_ms);
    if (decision.action == ACTION_WAIT)
        ensure(!in_doubt && now_ms < decision.due_ms);
    ensure((decision.action == ACTION_KEEP) == (decision.due_ms == DUE_NEVER));
    struct strbuf text = STRBUF_INIT(10000);
    policy_explain(&decision, job, now_ms, &text);
    ensure(text.len > 0 && !strbuf_failed(&text));
    strbuf_finish(&text);
    struct run_policy row;
    policy_to_run(&decision, &row);
    /* Never before its TTL, whatever else put it off. */
    if (decision.action == ACTION_DELETE && decision.rule.ttl_ms != RUN_UNKNOWN)
        ensure(decision.rule.ttl_ms <= now_ms - job->finished_ms);
    if (decision.action == ACTION_DELETE && job->annotations.hold.state == ANNOTATION_SET)
        ensure(job->annotations.hold.until_ms == TIME_NONE || job->annotations.hold.until_ms <= now_ms);
    ensure(text_is_utf8(row.rule, strlen(row.rule)) && text_is_utf8(row.source, strlen(row.source)));
    ensure(row.state == (decision.action == ACTION_WAIT || decision.action == ACTION_DELETE ? RUN_DUE : RUN_KEPT));
}

static void check_json_text(const char *text) {
    json_t *json = text ? json_loads(text, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL) : NULL;
    ensure(!text || json);
    json_decref(json);
}

static void check_run(const struct run *run, const struct job *job) {
    ensure(run && strcmp(run->job_uid, job->uid) == 0 && run->outcome == job->outcome);
    ensure(run->finished_at_ms == job->finished_ms);
    ensure(!run->cronjob == !job_has_cronjob(job));
    check_json_text(run->images);
    check_json_text(run->labels);
    check_json_text(run->annotations);
    check_json_text(run->manifest);
}

/* The same Job, written and read again. */
static void check_again(const json_t *json, const struct job *job) {
    char *text = json_dumps(json, JSON_COMPACT);
    json_t *again = text ? json_loads(text, JSON_ALLOW_NUL, NULL) : NULL;
    struct job_object object;
    struct job second;
    struct error err = {0};
    if (again) {
        ensure(job_object_read(again, "", 0, &object, &err) == 0);
        ensure(job_decode(&object, "sexton.dev", &second, &err) == 0);
        check_copy(job, &second);
        job_object_finish(&object);
    }
    json_decref(again);
    free(text);
}

/* The manifest is a Job that a cluster would take: the same name, without what made it this one; and what is decided
 * about it by annotation is decided again. */
static void check_manifest(const struct run *run, const struct job *job) {
    json_t *manifest = run->manifest ? json_loads(run->manifest, JSON_ALLOW_NUL, NULL) : NULL;
    const json_t *metadata = json_object_get(manifest, "metadata");
    if (manifest) {
        ensure(strcmp(json_string_value(json_object_get(metadata, "name")), job->name) == 0);
        ensure(strcmp(json_string_value(json_object_get(metadata, "namespace")), job->namespace) == 0);
        ensure(!json_object_get(metadata, "uid") && !json_object_get(metadata, "ownerReferences"));
        ensure(!json_object_get(metadata, "resourceVersion") && !json_object_get(manifest, "status"));
        struct annotations annotations;
        annotations_read(json_object_get(metadata, "annotations"), "sexton.dev", &annotations);
        ensure(annotations.hold.until_ms == job->annotations.hold.until_ms);
        ensure(annotations.success.ms == job->annotations.success.ms);
        ensure(annotations.failure.ms == job->annotations.failure.ms);
        ensure(annotations.unknown_key == job->annotations.unknown_key);
    }
    json_decref(manifest);
}

static void check_evidence(struct job_object *object, const struct job *job, const char *template, size_t len) {
    const struct evidence_settings settings = {
            .prefix = "sexton.dev", .labels = "a* *", .annotations = "batch.kubernetes.io/*", .manifest = true};
    object->template = template;
    object->template_len = len;
    struct run *run = evidence_from_object(object, job, &settings);
    check_run(run, job);
    check_manifest(run, job);
    run_destroy(run);
}

static void check_object(struct job_object *object, const struct job *job, const uint8_t *data, size_t size) {
    check_job(job);
    check_again(object->json, job);
    struct policy policy;
    policy_init(&policy);
    static const int64_t moments[] = {0, 1767323045000, 1767323045678, 1800000000000, 99999999999999};
    struct store store = {0};
    struct store_view view;
    const struct store_entry *entry = store_add(&store, job);
    ensure(entry && store_find(&store, job->uid) == entry);
    const struct job *copy = store_job(entry, &view);
    check_copy(job, copy);
    for (size_t i = 0; i < COUNT(moments); i++) {
        check_decision(&policy, job, moments[i]);
        check_decision(&policy, copy, moments[i]);
    }
    store_finish(&store);
    /* What is left of the bytes, or a piece of the Job itself, stands for the template. */
    char *template = json_dumps(json_object_get(object->json, "spec"), 0);
    check_evidence(object, job, template ? template : "", template ? strlen(template) : 0);
    check_evidence(object, job, (const char *)data, size);
    free(template);
    struct run *run = evidence_from_job(job);
    check_run(run, job);
    check_manifest(run, job);
    run_destroy(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes bytes = {.at = data, .end = data + size};
    json_t *json =
            size && data[0] == '{' ? json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL) : make_job(&bytes);
    if (!json)
        return 0;
    struct job_object object;
    struct job job;
    struct error err = {0};
    ensure(job_object_read(json, "", 0, &object, &err) == 0);
    if (job_decode(&object, "sexton.dev", &job, &err) < 0)
        ensure(err.text[0]);
    else
        check_object(&object, &job, data, size);
    job_object_finish(&object);
    json_decref(json);
    return 0;
}
