#include "scenario.h"

#include <stdlib.h>
#include <string.h>

#include "base/timestamp.h"

#define TEXT_MAX 1024

/* "now", "-1h", "+5m" (by the API server's clock), "none", or RFC 3339 as it is. In whole seconds, as Kubernetes has
 * them. */
static json_t *time_of(const struct scenario *s, const char *text) {
    char buf[TIMESTAMP_TEXT_MAX];
    int64_t ms = fake_server_ms();
    if (strcmp(text, "none") == 0)
        return json_null();
    if (*text == '-' || *text == '+')
        ms += words_duration_ms(s, text);
    else if (strcmp(text, "now") != 0)
        return json_string(text);
    return json_string(timestamp_format(ms - ms % 1000, buf));
}

static void set_time(
        const struct scenario *s, const struct words *words, const char *key, json_t *object, const char *member) {
    const char *text = words_value(words, key);
    if (text)
        json_object_set_new(object, member, time_of(s, text));
}

static void set_text(const struct words *words, const char *key, json_t *object, const char *member) {
    const char *text = words_value(words, key);
    if (text)
        json_object_set_new(object, member, json_string(text));
}

/* hold=, ttl-after-success=, ttl-after-failure=, and any key with a slash in it, such as sexton.dev/hold=. */
static json_t *annotations_of(const struct words *words, int first) {
    json_t *annotations = json_object();
    for (int i = first; i < words->n; i++) {
        char key[TEXT_MAX] = "";
        const char *word = words->word[i], *equals = strchr(word, '=');
        if (!equals || (size_t)(equals - word) >= sizeof key)
            continue;
        memcpy(key, word, (size_t)(equals - word));
        if (strcmp(key, "hold") == 0 || strncmp(key, "ttl-after-", strlen("ttl-after-")) == 0) {
            char full[TEXT_MAX + 16];
            snprintf(full, sizeof full, "sexton.dev/%s", key);
            json_object_set_new(annotations, full, json_string(equals + 1));
        } else if (strchr(key, '/')) {
            json_object_set_new(annotations, key, json_string(equals + 1));
        }
    }
    return annotations;
}

/* owner=KIND/NAME/UID, or KIND.GROUP/NAME/UID for one that is not of the group batch */
static json_t *owners_of(const struct scenario *s, const char *text) {
    char kind[TEXT_MAX], *name = NULL, *uid = NULL;
    snprintf(kind, sizeof kind, "%s", text);
    if ((name = strchr(kind, '/')))
        uid = strchr(name + 1, '/');
    if (!name || !uid)
        scenario_fail(s, "owner= wants KIND/NAME/UID");
    *name++ = '\0';
    *uid++ = '\0';
    char *dot = strchr(kind, '.'), api[TEXT_MAX + 8];
    if (dot)
        *dot++ = '\0';
    snprintf(api, sizeof api, "%s/v1", dot ? dot : "batch");
    return json_pack(
            "[{s:s, s:s, s:s, s:s, s:b}]", "apiVersion", api, "kind", kind, "name", name, "uid", uid, "controller", 1);
}

static json_t *metadata_of(const struct scenario *s, const struct words *words, int first) {
    char name[TEXT_MAX], *slash;
    json_t *metadata = json_object();
    snprintf(name, sizeof name, "%s", words_need(s, words, first + 1, "a name"));
    slash = strchr(name, '/');
    if (slash) {
        *slash = '\0';
        json_object_set_new(metadata, "namespace", json_string(name));
    }
    json_object_set_new(metadata, "name", json_string(slash ? slash + 1 : name));
    set_text(words, "uid", metadata, "uid");
    set_text(words, "rv", metadata, "resourceVersion");
    json_object_set_new(metadata, "annotations", annotations_of(words, first));
    if (words_value(words, "label"))
        json_object_set_new(metadata, "labels", json_pack("{s:s}", "app", words_value(words, "label")));
    set_time(s, words, "created", metadata, "creationTimestamp");
    set_time(s, words, "deleting", metadata, "deletionTimestamp");
    if (words_value(words, "owner"))
        json_object_set_new(metadata, "ownerReferences", owners_of(s, words_value(words, "owner")));
    json_object_set_new(metadata, "managedFields", json_pack("[{s:s}]", "manager", "kube-controller-manager"));
    return metadata;
}

static json_t *job_status_of(const struct scenario *s, const struct words *words) {
    const char *outcome = words_value(words, "outcome");
    json_t *status = json_object();
    set_time(s, words, "started", status, "startTime");
    if (!outcome)
        return status;
    const char *finished = words_value(words, "finished");
    bool succeeded = strcmp(outcome, "Succeeded") == 0;
    if (!finished || (!succeeded && strcmp(outcome, "Failed") != 0))
        scenario_fail(s, "outcome= wants Succeeded or Failed, and finished= with it");
    json_t *condition = json_pack("{s:s, s:s, s:o}", "type", succeeded ? "Complete" : "Failed", "status", "True",
            "lastTransitionTime", time_of(s, finished));
    set_text(words, "reason", condition, "reason");
    json_object_set_new(status, "conditions", json_pack("[o]", condition));
    json_object_set_new(status, succeeded ? "succeeded" : "failed", json_integer(1));
    if (succeeded)
        json_object_set_new(status, "completionTime", time_of(s, finished));
    return status;
}

static json_t *job_of(const struct scenario *s, const struct words *words, int first) {
    json_t *spec = json_pack("{s:i, s:{s:{s:[{s:s, s:s}]}}}", "backoffLimit", 6, "template", "spec", "containers",
            "name", "main", "image", "busybox");
    if (words_value(words, "ttl"))
        json_object_set_new(spec, "ttlSecondsAfterFinished", json_integer(words_number(s, words_value(words, "ttl"))));
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "apiVersion", "batch/v1", "kind", "Job", "metadata",
            metadata_of(s, words, first), "spec", spec, "status", job_status_of(s, words));
}

/* active=UID,UID success=TIME */
static json_t *cronjob_of(const struct scenario *s, const struct words *words, int first) {
    json_t *status = json_object(), *active = json_array();
    char uids[TEXT_MAX];
    snprintf(uids, sizeof uids, "%s", words_value(words, "active") ? words_value(words, "active") : "");
    char *rest;
    for (char *uid = strtok_r(uids, ",", &rest); uid; uid = strtok_r(NULL, ",", &rest))
        json_array_append_new(active, json_pack("{s:s, s:s}", "kind", "Job", "uid", uid));
    json_object_set_new(status, "active", active);
    set_time(s, words, "success", status, "lastSuccessfulTime");
    set_time(s, words, "scheduled", status, "lastScheduleTime");
    return json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "batch/v1", "kind", "CronJob", "metadata",
            metadata_of(s, words, first), "status", status);
}

/* lease NS/NAME rv= [holder=ID|me] [renewed=TEXT] [duration=SECONDS] */
static json_t *lease_of(const struct scenario *s, const struct words *words, int first) {
    json_t *spec = json_object();
    const char *holder = words_value(words, "holder"), *duration = words_value(words, "duration");
    json_object_set_new(spec, "holderIdentity",
            json_string(!holder                     ? ""
                        : strcmp(holder, "me") == 0 ? s->holder
                                                    : holder));
    json_object_set_new(spec, "leaseDurationSeconds", json_integer(duration ? words_number(s, duration) : 15));
    set_text(words, "renewed", spec, "renewTime");
    return json_pack("{s:s, s:s, s:o, s:o}", "apiVersion", "coordination.k8s.io/v1", "kind", "Lease", "metadata",
            metadata_of(s, words, first), "spec", spec);
}

json_t *object_make(const struct scenario *s, const struct words *words, int first) {
    json_t *object = NULL;
    if (words->body) {
        object = json_loads(words->body, 0, NULL);
        if (!object)
            scenario_fail(s, "the object is not JSON (what must not be is sent with 'data')");
        return object;
    }
    const char *kind = words_need(s, words, first, "job, namespace, cronjob or {JSON}");
    if (strcmp(kind, "job") == 0)
        object = job_of(s, words, first);
    else if (strcmp(kind, "lease") == 0)
        object = lease_of(s, words, first);
    else if (strcmp(kind, "cronjob") == 0)
        object = cronjob_of(s, words, first);
    else if (strcmp(kind, "namespace") == 0)
        object = json_pack(
                "{s:s, s:s, s:o}", "apiVersion", "v1", "kind", "Namespace", "metadata", metadata_of(s, words, first));
    if (!object)
        scenario_fail(s, "'%s' cannot be made into an object", kind);
    return object;
}

json_t *object_status(int code, const char *message) {
    static const struct {
        int code;
        const char *reason;
    } reasons[] = {{401, "Unauthorized"}, {403, "Forbidden"}, {404, "NotFound"}, {409, "Conflict"}, {410, "Expired"},
            {429, "TooManyRequests"}, {500, "InternalError"}, {503, "ServiceUnavailable"}, {504, "Timeout"}};
    const char *reason = "Unknown";
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].code == code)
            reason = reasons[i].reason;
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i}", "kind", "Status", "apiVersion", "v1", "status",
            code < 400 ? "Success" : "Failure", "message", message ? message : reason, "reason", reason, "code", code);
}

json_t *object_list(struct scenario *s, const char *kind, const char *version, const char *continue_token) {
    json_t *metadata = json_object();
    if (version)
        json_object_set_new(metadata, "resourceVersion", json_string(version));
    if (continue_token)
        json_object_set_new(metadata, "continue", json_string(continue_token));
    json_t *list = json_pack("{s:s, s:o, s:o}", "kind", kind, "metadata", metadata, "items", s->items);
    s->items = json_array();
    return list;
}
