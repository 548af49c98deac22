/* Objects as the JSON that an API server sends. Made by hand: it is most of what a run does. */
#include "cluster.h"

#include <string.h>

static void add(struct strbuf *buf, const char *text) {
    strbuf_add(buf, text, strlen(text));
}

void render_number(struct strbuf *buf, int64_t number) {
    char text[24];
    int at = sizeof text;
    uint64_t rest = number < 0 ? (uint64_t)-number : (uint64_t)number;
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0)
        text[--at] = '-';
    strbuf_add(buf, text + at, sizeof text - (size_t)at);
}

static void put_two(char *at, int64_t number) {
    at[0] = (char)('0' + number / 10);
    at[1] = (char)('0' + number % 10);
}

/* RFC 3339 in whole seconds, quoted. A world lasts for days, not for years. */
void render_time(struct strbuf *buf, int64_t ms) {
    static const int months[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t seconds = (ms - START_WALL_MS) / 1000 + 86400; /* since 2026-01-01 */
    char text[] = "\"2026-00-00T00:00:00Z\"";
    int64_t day = seconds / 86400, rest = seconds % 86400;
    int month = 0;
    while (month < 11 && day >= months[month])
        day -= months[month++];
    put_two(text + 6, month + 1);
    put_two(text + 9, day + 1);
    put_two(text + 12, rest / 3600);
    put_two(text + 15, rest / 60 % 60);
    put_two(text + 18, rest % 60);
    strbuf_add(buf, text, sizeof text - 1);
}

static void add_time_member(struct strbuf *buf, const char *key, int64_t ms) {
    if (ms == TIME_NONE)
        return;
    add(buf, key);
    render_time(buf, ms);
}

static void add_ttl(struct strbuf *buf, const char *key, const struct ttl_value *value) {
    if (value->kind == VALUE_ABSENT)
        return;
    add(buf, ",\"sexton.dev/");
    add(buf, key);
    add(buf, "\":\"");
    if (value->kind == VALUE_SET) {
        render_number(buf, value->seconds);
        add(buf, "s\"");
    } else {
        add(buf, value->kind == VALUE_NEVER ? "never\"" : "90\"" /* of what? */);
    }
}

static void add_annotations(struct strbuf *buf, const struct notes *notes, enum hook hook) {
    static const char *const holds[] = {NULL, "\"true\"", "\"false\"", NULL, "\"yes\""};
    add(buf, ",\"annotations\":{\"team\":\"x\"");
    add_ttl(buf, "ttl-after-success", &notes->success);
    add_ttl(buf, "ttl-after-failure", &notes->failure);
    if (notes->hold != HOLD_ABSENT)
        add(buf, ",\"sexton.dev/hold\":");
    if (notes->hold == HOLD_UNTIL)
        render_time(buf, notes->hold_until_ms);
    else if (holds[notes->hold])
        add(buf, holds[notes->hold]);
    if (notes->unknown_key)
        add(buf, ",\"sexton.dev/ttl-after-falure\":\"never\"");
    if (hook == HELM_HOOK)
        add(buf, ",\"helm.sh/hook\":\"pre-install\"");
    if (hook == ARGO_HOOK)
        add(buf, ",\"argocd.argoproj.io/hook\":\"PreSync\"");
    add(buf, "}");
}

static void add_owner(struct strbuf *buf, const struct job_state *state) {
    char uid[40];
    if (state->owner == OWNER_NONE)
        return;
    if (state->owner == OWNER_CRONJOB) {
        add(buf, ",\"ownerReferences\":[{\"apiVersion\":\"batch/"
                 "v1\",\"kind\":\"CronJob\",\"controller\":true,\"name\":\"cron-");
        render_number(buf, state->cronjob);
        add(buf, "\",\"uid\":\"");
        add(buf, cronjob_uid(state->cronjob, state->cronjob_generation, uid));
        add(buf, "\"}]");
    } else {
        add(buf, ",\"ownerReferences\":[{\"apiVersion\":\"jobset.x-k8s.io/"
                 "v1\",\"kind\":\"JobSet\",\"name\":\"set\",\"uid\":\"set-1\"");
        add(buf, state->owner == OWNER_FOREIGN ? ",\"controller\":true}]" : "}]");
    }
}

static void add_condition(struct strbuf *buf, const char *type, const char *status, int64_t at_ms) {
    add(buf, "{\"type\":\"");
    add(buf, type);
    add(buf, "\",\"status\":\"");
    add(buf, status);
    add(buf, "\",\"reason\":\"Because\"");
    add_time_member(buf, ",\"lastTransitionTime\":", at_ms);
    add(buf, "}");
}

static void add_status(struct strbuf *buf, const struct job_state *state) {
    bool succeeded = state->outcome == OUTCOME_SUCCEEDED, finished = state->outcome != OUTCOME_NONE;
    add(buf, ",\"status\":{\"failed\":");
    render_number(buf, state->failed);
    add(buf, succeeded ? ",\"succeeded\":1" : "");
    add_time_member(buf, ",\"startTime\":", state->started_ms);
    if (succeeded)
        add_time_member(buf, ",\"completionTime\":", state->finished_ms);
    add(buf, ",\"conditions\":[");
    if (state->suspended)
        add_condition(buf, "Suspended", "True", state->created_ms);
    if (finished || state->target) {
        add(buf, state->suspended ? "," : "");
        if (state->target && !finished)
            add_condition(buf, "SuccessCriteriaMet", "True", state->created_ms);
        if (state->target && finished) {
            add_condition(buf, succeeded ? "SuccessCriteriaMet" : "FailureTarget", "True", state->finished_ms);
            add(buf, ",");
        }
        if (finished)
            add_condition(buf, succeeded ? "Complete" : "Failed", "True",
                    state->doubt == DOUBT_NO_TIME ? TIME_NONE : state->finished_ms);
        if (finished && state->doubt == DOUBT_BOTH) {
            add(buf, ",");
            add_condition(buf, succeeded ? "Failed" : "Complete", "True", state->finished_ms);
        }
        if (finished && state->doubt == DOUBT_STATUS) {
            add(buf, ",");
            add_condition(buf, "Other", "Perhaps", state->finished_ms);
        }
    }
    add(buf, "]}");
}

static void add_metadata(struct strbuf *buf, const char *name, int entry) {
    add(buf, "{\"metadata\":{\"name\":\"");
    add(buf, name);
    add(buf, "\",\"resourceVersion\":\"");
    render_number(buf, rv_of(entry));
    add(buf, "\"");
}

static void render_job(struct strbuf *buf, int entry) {
    const struct entry *e = entry_at(entry);
    const struct truth_job *job = &world->jobs[e->object];
    const struct job_state *state = &e->job;
    char uid[40];
    add_metadata(buf, job->name, entry);
    add(buf, ",\"namespace\":\"");
    add(buf, namespace_names[job->namespace]);
    add(buf, "\",\"uid\":\"");
    add(buf, job_uid(e->object, uid));
    add(buf, "\"");
    add_time_member(buf, ",\"creationTimestamp\":", state->created_ms);
    add_time_member(buf, ",\"deletionTimestamp\":", state->deletion_ms);
    add(buf, state->selected ? ",\"labels\":{\"run\":\"yes\"}" : ",\"labels\":{\"app\":\"x\"}");
    add_annotations(buf, &state->notes, (enum hook)state->hook);
    add_owner(buf, state);
    if (state->finalizer)
        add(buf, ",\"finalizers\":[\"example.com/wait\"]");
    add(buf, ",\"managedFields\":[{\"manager\":\"x\",\"fieldsV1\":{\"f:a\":{}}}]},\"spec\":{\"backoffLimit\":2,"
             "\"suspend\":");
    add(buf, state->suspended ? "true" : "false");
    if (state->spec_ttl_s >= 0) {
        add(buf, ",\"ttlSecondsAfterFinished\":");
        render_number(buf, state->spec_ttl_s);
    }
    add(buf, ",\"template\":{\"spec\":{\"containers\":[{\"image\":\"i:1\"}]}}}");
    add_status(buf, state);
    add(buf, "}");
}

static void render_cronjob(struct strbuf *buf, int entry) {
    const struct entry *e = entry_at(entry);
    char name[16] = "cron-0", uid[40];
    name[5] = (char)('0' + e->object);
    add_metadata(buf, name, entry);
    add(buf, ",\"namespace\":\"");
    add(buf, namespace_names[world->cronjobs[e->object].namespace]);
    add(buf, "\",\"uid\":\"");
    add(buf, cronjob_uid(e->object, e->cronjob.generation, uid));
    add(buf, "\"},\"status\":{\"active\":[");
    for (int i = 0; i < e->cronjob.n_active; i++) {
        add(buf, i ? ",{\"kind\":\"Job\",\"uid\":\"" : "{\"kind\":\"Job\",\"uid\":\"");
        add(buf, job_uid(e->cronjob.active[i], uid));
        add(buf, "\"}");
    }
    add(buf, "]");
    if (!world->flavor.v1beta1)
        add_time_member(buf, ",\"lastSuccessfulTime\":", e->cronjob.last_success_ms);
    add(buf, "}}");
}

static void render_namespace(struct strbuf *buf, int entry) {
    const struct entry *e = entry_at(entry);
    add_metadata(buf, namespace_names[e->object], entry);
    add_annotations(buf, &e->namespace.notes, PLAIN);
    add(buf, "}}");
}

void render_object(struct strbuf *buf, int entry) {
    switch (entry_at(entry)->kind) {
    case KIND_JOB:
        render_job(buf, entry);
        break;
    case KIND_CRONJOB:
        render_cronjob(buf, entry);
        break;
    case KIND_NAMESPACE:
        render_namespace(buf, entry);
        break;
    case KINDS:
    case KIND_LEASE:
        break;
    }
}
