#include "sim_util.h"
#include "sim_verbs.h"

#include <string.h>

enum { LIMIT = 128, NOTE_LIMIT = 1024, MICRO_TIME_LENGTH = 27, QUALIFIED_LIMIT = 317 };

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* Where the first thing is that is not sound; NULL: nowhere. As pkg/apis/core/validation/events.go. */
static const char *find_fault(const struct sim_request *req, const json_t *event) {
    static const char *const short_texts[] = {"action", "reason", "reportingInstance"};
    const json_t *regarding = json_object_get(event, "regarding");
    const json_t *series = json_object_get(event, "series");
    const char *type = text_of(event, "type");
    const char *ns = text_of(regarding, "namespace");

    if (strlen(text_of(event, "eventTime")) != MICRO_TIME_LENGTH)
        return "eventTime";
    for (size_t i = 0; i < sizeof(short_texts) / sizeof(short_texts[0]); i++) {
        size_t length = strlen(text_of(event, short_texts[i]));

        if (length == 0 || length > LIMIT)
            return short_texts[i];
    }
    if (!*text_of(event, "reportingController") || strlen(text_of(event, "reportingController")) > QUALIFIED_LIMIT)
        return "reportingController";
    if (strlen(text_of(event, "note")) > NOTE_LIMIT)
        return "message";
    if (strcmp(type, "Normal") != 0 && strcmp(type, "Warning") != 0)
        return "type";
    if (!*ns && strcmp(req->ns, "default") != 0 && strcmp(req->ns, "kube-system") != 0)
        return "involvedObject.namespace";
    if (series && !json_is_null(series) &&
            (json_integer_value(json_object_get(series, "count")) < 2 ||
                    strlen(text_of(series, "lastObservedTime")) != MICRO_TIME_LENGTH))
        return "series";
    return NULL;
}

bool sim_event_check(struct sim_request *req, struct sim_reply *reply, const json_t *event, const json_t *before) {
    static const char *const fixed[] = {
            "regarding", "reason", "note", "eventTime", "action", "reportingController", "reportingInstance", "type"};
    const char *fault = find_fault(req, event);
    const char *name = text_of(json_object_get(event, "metadata"), "name");

    for (size_t i = 0; before && !fault && i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        json_t *a = json_object_get(event, fixed[i]);
        json_t *b = json_object_get(before, fixed[i]);

        if (a != b && !(a && b && json_equal(a, b)))
            fault = fixed[i];
    }
    if (fault)
        sim_reply_invalid(reply, req->resource, name, fault, "Invalid value");
    return !fault;
}
