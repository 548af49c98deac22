/*
 * Any text as a duration, a time and an annotation: what is understood survives the way out and back, what is shown
 * cannot move a cursor, and what is not understood keeps the Job.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "jobs/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ensure(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

#define UNTOUCHED (-77)

static void check_duration(const char *text) {
    int64_t ms = UNTOUCHED, again;
    struct error err = {0};
    if (duration_parse(text, &ms, &err) < 0) {
        ensure(ms == UNTOUCHED && err.kind == ERROR_FORMAT && err.text[0]);
        return;
    }
    char shown[DURATION_TEXT_MAX], shown_again[DURATION_TEXT_MAX];
    ensure(ms == DURATION_NEVER || (ms >= 0 && ms <= DURATION_MAX_MS && ms % 1000 == 0));
    duration_format(ms, shown);
    /* What is shown is a duration too: the same, or rounded down to its two largest units. */
    ensure(duration_parse(shown, &again, NULL) == 0 && again <= ms);
    ensure(ms == DURATION_NEVER ? again == ms : ms - again < 3600 * 1000LL);
    ensure(strcmp(duration_format(again, shown_again), shown) == 0);
}

static void check_timestamp(const char *text) {
    int64_t ms = UNTOUCHED, again;
    char shown[TIMESTAMP_TEXT_MAX];
    if (timestamp_parse(text, &ms, NULL) == 0)
        ensure(timestamp_parse(timestamp_format(ms, shown), &again, NULL) == 0 && again == ms);
    else
        ensure(ms == UNTOUCHED);
    ms = UNTOUCHED;
    if (timestamp_parse_http(text, &ms))
        ensure(ms % 1000 == 0 && strlen(text) == 29);
    else
        ensure(ms == UNTOUCHED);
}

static void check_number(int64_t ms) {
    char shown[TIMESTAMP_TEXT_MAX], span[DURATION_TEXT_MAX];
    int64_t again;
    if (*timestamp_format(ms, shown))
        ensure(timestamp_parse(shown, &again, NULL) == 0 && again == ms);
    ensure(*duration_format(ms, span) && strlen(span) < DURATION_TEXT_MAX);
}

/* Printable as it stands, whatever came in. */
static void check_shown(const char *text) {
    size_t len = strlen(text);
    ensure(text_is_utf8(text, len));
    for (size_t i = 0; i < len; i++)
        ensure((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

static void check_escapes(const char *text) {
    struct strbuf buf = STRBUF_INIT(1u << 24);
    text_add_escaped(&buf, text, TEXT_ALL);
    check_shown(strbuf_text(&buf));
    strbuf_clear(&buf);
    text_add_escaped(&buf, text, 10);
    ensure(text_width(strbuf_text(&buf)) <= 10 * 6 + 3);
    strbuf_clear(&buf);
    text_add_json(&buf, text);
    json_t *json = json_loadb(strbuf_text(&buf), buf.len, JSON_DECODE_ANY, NULL);
    ensure(json_is_string(json));
    if (text_is_utf8(text, strlen(text)))
        ensure(strcmp(json_string_value(json), text) == 0);
    json_decref(json);
    strbuf_finish(&buf);
}

/* A field as of RFC 4180, read as that says, is the text. */
static void check_csv(const char *text) {
    struct strbuf buf = STRBUF_INIT(1u << 24), plain = STRBUF_INIT(1u << 24);
    text_add_csv(&buf, text);
    const char *at = strbuf_text(&buf);
    bool quoted = *at == '"';
    size_t len = strlen(at);
    ensure(quoted ? len >= 2 && at[len - 1] == '"' : !strpbrk(at, ",\"\r\n"));
    for (size_t i = quoted; i < len - quoted; i++) {
        if (quoted && at[i] == '"')
            ensure(at[++i] == '"' && i < len - 1);
        strbuf_add_char(&plain, at[i]);
    }
    ensure(strcmp(strbuf_text(&plain), text) == 0);
    strbuf_finish(&buf);
    strbuf_finish(&plain);
}

static void check_annotation(const char *key, const char *text) {
    json_t *object = json_object();
    if (json_object_set_new(object, key, json_string(text)) < 0) {
        json_decref(object); /* not UTF-8: cannot come in */
        return;
    }
    struct job job = {.namespace = "n",
            .name = "j",
            .uid = "u",
            .created_ms = TIME_NONE,
            .started_ms = TIME_NONE,
            .finished_ms = 0,
            .completion_ms = TIME_NONE,
            .deletion_ms = TIME_NONE,
            .spec_ttl_s = 0,
            .outcome = OUTCOME_FAILED};
    annotations_read(object, "sexton.dev", &job.annotations);
    const struct annotations none = {.hold.until_ms = TIME_NONE};
    const struct guards guards = {.namespace = NAMESPACE_KNOWN, .namespace_annotations = &none};
    struct policy policy;
    policy_init(&policy);
    struct decision decision = policy_decide(&policy, &job, &guards, INT64_MAX - 1);
    ensure((decision.action == ACTION_KEEP) ==
            (job.annotations.bad_key || job.annotations.hold.until_ms == HOLD_FOREVER ||
                    (job.annotations.failure.state == ANNOTATION_SET && job.annotations.failure.ms == DURATION_NEVER)));
    struct strbuf buf = STRBUF_INIT(10000);
    policy_explain(&decision, &job, 0, &buf);
    check_shown(strbuf_text(&buf));
    strbuf_clear(&buf);
    if (policy_rule_text(&decision.rule, &buf))
        check_shown(strbuf_text(&buf));
    struct run_policy row;
    policy_to_run(&decision, &row);
    check_shown(row.rule);
    strbuf_finish(&buf);
    json_decref(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int64_t number = 0;
    memcpy(&number, data, size < sizeof number ? size : sizeof number);
    check_number(number);
    check_number(number % 400000000000000); /* within the years that can be shown, mostly */
    char *text = malloc(size + 1), *key = malloc(size + 12);
    ensure(text && key);
    memcpy(text, data, size);
    text[size] = '\0';
    check_duration(text);
    check_timestamp(text);
    check_escapes(text);
    check_csv(text);
    memcpy(key, "sexton.dev/", 11);
    memcpy(key + 11, text, size + 1);
    check_annotation("sexton.dev/hold", text);
    check_annotation("sexton.dev/ttl-after-success", text);
    check_annotation("sexton.dev/ttl-after-failure", text);
    check_annotation(key, "true");
    free(text);
    free(key);
    return 0;
}
