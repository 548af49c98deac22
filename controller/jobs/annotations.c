#include "jobs/annotations.h"

#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/timestamp.h"

bool annotations_has_prefix(const char *key, const char *prefix) {
    size_t len = strlen(prefix);
    return strncmp(key, prefix, len) == 0 && key[len] == '/';
}

static void note_bad(struct annotations *a, const char *key, const char *value, const char *why) {
    if (a->bad_key)
        return;
    a->bad_key = key;
    a->bad_value = value;
    a->bad_why = why;
}

static void read_ttl(struct annotations *a, struct annotation_ttl *ttl, const char *key, const char *text) {
    ttl->text = text;
    if (duration_parse(text, &ttl->ms, NULL) == 0) {
        ttl->state = ANNOTATION_SET;
        return;
    }
    ttl->state = ANNOTATION_INVALID;
    note_bad(a, key, text, "is not a duration (like 90s, 30m, 12h, 7d, 2w, 1d12h, 0s or never)");
}

static void read_hold(struct annotations *a, const char *key, const char *text) {
    struct annotation_hold *hold = &a->hold;
    hold->text = text;
    hold->state = ANNOTATION_SET;
    if (strcmp(text, "true") == 0) {
        hold->until_ms = HOLD_FOREVER;
    } else if (strcmp(text, "false") == 0) {
        hold->until_ms = TIME_NONE;
    } else if (timestamp_parse(text, &hold->until_ms, NULL) < 0) {
        hold->state = ANNOTATION_INVALID;
        note_bad(a, key, text, "is neither true, false nor a time (like 2026-01-31T12:00:00Z)");
    }
}

void annotations_init(struct annotations *ret) {
    *ret = (struct annotations){.hold.until_ms = TIME_NONE};
}

void annotations_take(struct annotations *a, const char *prefix, const char *key, const char *text, size_t len) {
    if (!annotations_has_prefix(key, prefix))
        return;
    const char *name = key + strlen(prefix) + 1;
    if (!text || strlen(text) != len) {
        a->unknown_key = true;
        note_bad(a, name, text ? text : "", text ? "has a NUL character" : "is not a string");
    } else if (strcmp(name, "ttl-after-success") == 0) {
        read_ttl(a, &a->success, name, text);
    } else if (strcmp(name, "ttl-after-failure") == 0) {
        read_ttl(a, &a->failure, name, text);
    } else if (strcmp(name, "hold") == 0) {
        read_hold(a, name, text);
    } else {
        a->unknown_key = true;
        note_bad(a, name, text, "is not a key that this version knows (ttl-after-success, ttl-after-failure, hold)");
    }
}

void annotations_are_odd(struct annotations *a) {
    note_bad(a, "metadata.annotations", "", "is not an object");
    a->unknown_key = true;
}

void annotations_read(const json_t *object, const char *prefix, struct annotations *ret) {
    annotations_init(ret);
    if (object && !json_is_object(object) && !json_is_null(object))
        annotations_are_odd(ret);
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)object, key, value)
        annotations_take(ret, prefix, key, json_string_value(value), json_string_length(value));
}
