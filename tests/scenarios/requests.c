/* What a request is, and what a line of a scenario says of it. */
#include "scenario.h"

#include <fnmatch.h>
#include <string.h>

static const char *const kind_names[] = {"namespaces", "cronjobs", "jobs"};

int kind_of_name(const char *name) {
    int kind = 0;
    while (kind < KIND_NONE && strcmp(kind_names[kind], name) != 0)
        kind++;
    return kind;
}

int kind_of_object(const json_t *object) {
    const char *kind = json_string_value(json_object_get(object, "kind"));
    return kind && strcmp(kind, "Namespace") == 0 ? KIND_NAMESPACES
           : kind && strcmp(kind, "CronJob") == 0 ? KIND_CRONJOBS
                                                  : KIND_JOBS;
}

static bool ends_in(const char *path, size_t len, const char *end) {
    size_t n = strlen(end);
    return len >= n && strncmp(path + len - n, end, n) == 0;
}

bool request_is_single(const struct http_transfer *transfer) {
    const char *path = fake_http_path(transfer), *const starts[] = {"/api/v1/namespaces/", "/api/v1/watch/namespaces/"};
    for (int i = 0; i < 2; i++) {
        size_t len = strlen(starts[i]);
        if (strncmp(path, starts[i], len) == 0 && !strchr(path + len, '/'))
            return strcmp(fake_http_method(transfer), "GET") == 0 && strcmp(path + len, "kube-system") != 0;
    }
    return false;
}

int kind_of_request(const struct http_transfer *transfer) {
    const char *path = fake_http_path(transfer);
    size_t len = strcspn(path, "?");
    if (strcmp(fake_http_method(transfer), "GET") != 0)
        return KIND_NONE;
    if (ends_in(path, len, "/api/v1/namespaces") || request_is_single(transfer))
        return KIND_NAMESPACES;
    return ends_in(path, len, "/cronjobs") ? KIND_CRONJOBS : ends_in(path, len, "/jobs") ? KIND_JOBS : KIND_NONE;
}

bool request_is_watch(const struct http_transfer *transfer) {
    return strstr(fake_http_path(transfer), "watch=true") != NULL;
}

bool request_is_wanted(const struct http_transfer *transfer) {
    return fake_http_is_open(transfer) && !fake_http_is_expected(transfer);
}

bool request_covers(const struct http_transfer *transfer, const char *namespace) {
    char part[300];
    const char *path = fake_http_path(transfer);
    if (!namespace)
        return true;
    if (kind_of_request(transfer) == KIND_NAMESPACES) {
        snprintf(part, sizeof part, "/namespaces/%s", namespace);
        return !request_is_single(transfer) || ends_in(path, strcspn(path, "?"), part);
    }
    snprintf(part, sizeof part, "/namespaces/%s/", namespace);
    return !strstr(path, "/namespaces/") || strstr(path, part);
}

struct http_transfer *request_find_watch(int kind, const char *namespace) {
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t)) {
        if (fake_http_is_open(t) && fake_http_is_headed(t) && request_is_watch(t) && kind_of_request(t) == kind &&
                request_covers(t, namespace))
            return t;
    }
    return NULL;
}

bool request_has_parameter(const struct http_transfer *transfer, const char *key, const char *value) {
    char part[300];
    snprintf(part, sizeof part, "%s=%s", key, value);
    const char *at = strstr(fake_http_path(transfer), part);
    return at && strchr("?&", at[-1]) && (at[strlen(part)] == '\0' || at[strlen(part)] == '&');
}

static bool has_precondition(const struct http_transfer *transfer, const char *key, const char *value) {
    json_t *body = json_loads(fake_http_body(transfer), 0, NULL);
    const char *text = json_string_value(json_object_get(json_object_get(body, "preconditions"), key));
    bool same = text && strcmp(text, value) == 0;
    json_decref(body);
    return same;
}

static bool is_list_or_watch(
        const struct scenario *s, const struct http_transfer *t, const struct words *words, int first, bool watch) {
    const char *name = words_need(s, words, first + 1, "namespaces, cronjobs or jobs");
    const char *version = words_value(words, "rv"), *token = words_value(words, "continue");
    int kind = kind_of_name(name);
    if (kind == KIND_NONE)
        scenario_fail(s, "'%s' is none of namespaces, cronjobs, jobs", name);
    if (kind_of_request(t) != kind || request_is_watch(t) != watch || !request_covers(t, words_value(words, "in")))
        return false;
    if (watch)
        return !version || request_has_parameter(t, "resourceVersion", version);
    if (request_has_parameter(t, "limit", "500") == words_have(words, "whole"))
        return false;
    return token ? request_has_parameter(t, "continue", token) : !strstr(fake_http_path(t), "continue=");
}

/* lease METHOD [holder=none|me] [rv=V] */
static bool is_lease(const struct scenario *s, const struct http_transfer *t, const struct words *words, int first) {
    const char *method = words_need(s, words, first + 1, "GET, POST or PUT");
    if (strcmp(method, fake_http_method(t)) != 0 || !strstr(fake_http_path(t), "/leases"))
        return false;
    json_t *body = json_loads(fake_http_body(t), 0, NULL);
    const char *holder = json_string_value(json_object_get(json_object_get(body, "spec"), "holderIdentity"));
    const char *version = json_string_value(json_object_get(json_object_get(body, "metadata"), "resourceVersion"));
    const char *wanted = words_value(words, "holder"), *wanted_version = words_value(words, "rv");
    bool same = (!wanted || (holder && (strcmp(wanted, "none") == 0) == (*holder == '\0'))) &&
                (!wanted_version || (version && strcmp(version, wanted_version) == 0));
    json_decref(body);
    return same;
}

static bool is_wanted_text(const char *wanted, const json_t *text) {
    return !wanted || (json_is_string(text) && fnmatch(wanted, json_string_value(text), 0) == 0);
}

/* event POST [reason=R] [type=T] [on=KIND/NAME] [in=NS] [note=GLOB] [count=N]; event PATCH [on=KIND/NAME] [in=NS]
 * [count=N]
 */
static bool is_event(const struct scenario *s, const struct http_transfer *t, const struct words *words, int first) {
    const char *method = words_need(s, words, first + 1, "POST or PATCH"), *on = words_value(words, "on");
    const char *namespace = words_value(words, "in"), *count = words_value(words, "count");
    const char *slash = on ? strchr(on, '/') : NULL;
    char path[300];
    snprintf(path, sizeof path, "/apis/events.k8s.io/v1/namespaces/%s/events*", namespace ? namespace : "*");
    if (strcmp(method, fake_http_method(t)) != 0 || fnmatch(path, fake_http_path(t), 0) != 0)
        return false;
    json_t *body = json_loads(fake_http_body(t), 0, NULL);
    const json_t *regarding = json_object_get(body, "regarding");
    const json_t *seen = json_object_get(json_object_get(body, "series"), "count");
    char kind[64], part[300];
    snprintf(kind, sizeof kind, "%.*s", slash ? (int)(slash - on) : 1, slash ? on : "*");
    snprintf(part, sizeof part, "/events/%s.", slash ? slash + 1 : "");
    bool same = !count || words_number(s, count) == (json_is_integer(seen) ? json_integer_value(seen) : 1);
    if (strcmp(method, "PATCH") == 0)
        same = same && (!slash || strstr(fake_http_path(t), part));
    else
        same = same &&
               (!slash || (is_wanted_text(kind, json_object_get(regarding, "kind")) &&
                                  is_wanted_text(slash + 1, json_object_get(regarding, "name")))) &&
               is_wanted_text(words_value(words, "reason"), json_object_get(body, "reason")) &&
               is_wanted_text(words_value(words, "type"), json_object_get(body, "type")) &&
               is_wanted_text(words_value(words, "note"), json_object_get(body, "note"));
    json_decref(body);
    return same;
}

bool request_is(const struct scenario *s, const struct http_transfer *t, const struct words *words, int first) {
    const char *method = words_need(s, words, first, "what is expected");
    if (strcmp(method, "lease") == 0)
        return is_lease(s, t, words, first);
    if (strcmp(method, "event") == 0)
        return is_event(s, t, words, first);
    bool watch = strcmp(method, "watch") == 0;
    if (watch || strcmp(method, "list") == 0)
        return is_list_or_watch(s, t, words, first, watch);
    const char *target = words_need(s, words, first + 1, "a path or NAMESPACE/NAME");
    char path[1024];
    snprintf(path, sizeof path, "%s", target);
    const char *slash = strchr(target, '/');
    if (slash && slash != target)
        snprintf(path, sizeof path, "/apis/batch/v1/namespaces/%.*s/jobs/%s", (int)(slash - target), target, slash + 1);
    const char *uid = words_value(words, "uid"), *version = words_value(words, "rv");
    return fnmatch(method, fake_http_method(t), 0) == 0 && fnmatch(path, fake_http_path(t), 0) == 0 &&
           (!uid || has_precondition(t, "uid", uid)) && (!version || has_precondition(t, "resourceVersion", version));
}
