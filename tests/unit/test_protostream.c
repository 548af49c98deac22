/* What an API server sends as protobuf, beside what it sends as JSON: Jobs read both ways are the same. */
#include "suites.h"

#include <stdlib.h>
#include <string.h>

#include "../protobuf/encode.h"
#include "../protobuf/tell.h"
#include "base/clock.h"
#include "jobs/job_object_protobuf.h"
#include "kube/framer.h"
#include "kube/protostream.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define EVERYTHING (64u << 20)

/* ---- what comes of a stream, as text ---- */

struct seen {
    struct strbuf text;
    int result, stop_after; /* items; 0: never */
    int items;
    struct error err;
};

static int see_object(struct seen *seen, const struct job_object *object) {
    tell_object(&seen->text, object);
    ck_assert(tell_consequences(&seen->text, object));
    return ++seen->items == seen->stop_after ? -7 : 0;
}

static int see_item(void *arg, const void *object) {
    return see_object(arg, object);
}

static int see_list(void *arg, const char *version, const char *token) {
    struct seen *seen = arg;
    strbuf_add_format(&seen->text, "list %s %s\n", version, token);
    return 0;
}

static int see_event(void *arg, const struct protostream_event *event) {
    struct seen *seen = arg;
    strbuf_add_format(&seen->text, "event %s version=%s %s%lld %s\n", event->type,
            event->resource_version ? event->resource_version : "none", event->is_status ? "status " : "",
            (long long)event->code, event->message ? event->message : "none");
    return event->object ? see_object(seen, event->object) : 0;
}

static int see_unreadable(void *arg, const char *why) {
    struct seen *seen = arg;
    strbuf_add_format(&seen->text, "unreadable: %s\n", why);
    return 0;
}

/* In pieces of so many bytes, after a first one of another size. */
static void read_in(
        struct seen *seen, enum protostream_mode mode, const char *data, size_t len, size_t first, size_t piece) {
    const struct protostream_handler handler = {
            .arg = seen, .item = see_item, .list = see_list, .event = see_event, .unreadable = see_unreadable};
    struct protostream *stream = protostream_create(mode, &job_protobuf_codec, &handler, NULL);
    strbuf_init(&seen->text, EVERYTHING);
    size_t n = first;
    for (size_t at = 0; at < len && seen->result == 0; n = piece) {
        n = n < len - at ? n : len - at;
        seen->result = protostream_push(stream, data + at, n, &seen->err);
        at += n;
    }
    if (seen->result == 0)
        seen->result = protostream_end(stream, &seen->err);
    protostream_destroy(stream);
}

/* Where they differ is told, with what stands around it. */
static void expect_same(const struct strbuf *a, const struct strbuf *b) {
    const char *x = strbuf_text(a), *y = strbuf_text(b);
    size_t at = 0;
    while (at < a->len && at < b->len && x[at] == y[at])
        at++;
    size_t from = at > 100 ? at - 100 : 0;
    ck_assert_msg(at == a->len && at == b->len, "%.200s\ninstead of\n%.200s", x + from, y + from);
}

/* As it is read in one piece. */
static struct seen read_whole(enum protostream_mode mode, const char *data, size_t len) {
    struct seen seen = {0};
    read_in(&seen, mode, data, len, len, 1);
    return seen;
}

static void expect_same_at_every_cut(enum protostream_mode mode, const char *data, size_t len) {
    struct seen whole = read_whole(mode, data, len);
    for (size_t cut = 0; cut <= len; cut++) {
        struct seen other = {0};
        read_in(&other, mode, data, len, cut, cut % 16 ? len : 1 + cut % 5);
        ck_assert_int_eq(other.result, whole.result);
        ck_assert_str_eq(other.err.text, whole.err.text);
        expect_same(&other.text, &whole.text);
        strbuf_finish(&other.text);
    }
    strbuf_finish(&whole.text);
}

/* ---- the same from JSON, by the way that it takes in the product ---- */

static int see_json(void *arg, const char *text, size_t len, const char *aside, size_t aside_len) {
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    struct job_object object;
    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(job_object_read(json, aside, aside_len, &object, NULL), 0);
    see_object(arg, &object);
    job_object_finish(&object);
    json_decref(json);
    return 0;
}

static int see_envelope(void *arg, const char *text, size_t len) {
    json_t *json = json_loadb(text, len, 0, NULL), *metadata = json_object_get(json, "metadata");
    const char *token = json_string_value(json_object_get(metadata, "continue"));
    see_list(arg, json_string_value(json_object_get(metadata, "resourceVersion")), token ? token : "");
    json_decref(json);
    return 0;
}

static struct seen read_json(const json_t *list) {
    struct seen seen = {.text = STRBUF_INIT(EVERYTHING)};
    const struct framer_handler handler = {.arg = &seen, .item = see_json, .envelope = see_envelope};
    struct framer *framer = framer_create(&handler, NULL);
    char *text = json_dumps(list, JSON_COMPACT);
    seen.result = framer_push(framer, text, strlen(text), &seen.err);
    free(text);
    framer_destroy(framer);
    return seen;
}

/* ---- Jobs of all kinds ---- */

static uint64_t lot;

static unsigned draw(unsigned below) {
    lot = lot * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(lot >> 33) % below;
}

static bool luck(unsigned percent) {
    return draw(100) < percent;
}

#define ONE_OF(texts) (texts)[draw(COUNT(texts))]

static const char *const values[] = {"", "true", "false", "0s", "7d", "never", "5", "manual", "2026-01-02T03:04:05Z",
        "rubbish", "a \"quoted\" \\ text", "\xc3\xa4\xe2\x82\xac\xf0\x9f\xa6\xa4", "line\nbreak\ttab\x01\x1f\x7f",
        "x\xe2\x80\xaey"};
static const char *const times[] = {"2026-01-02T03:04:05Z", "2026-01-02T03:00:00Z", "2999-01-01T00:00:00Z",
        "1970-01-01T00:00:01Z", "1969-12-31T23:59:59Z", "0001-01-01T00:00:01Z", "9999-12-31T23:59:59Z"};

static void set(json_t *object, const char *key, json_t *value, unsigned percent) {
    if (luck(percent))
        json_object_set_new(object, key, value);
    else
        json_decref(value);
}

static json_t *make_time(void) {
    return luck(5) ? json_null() : json_string(ONE_OF(times));
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In the order that Go writes maps. */
static json_t *make_pairs(unsigned n, const char *const *keys, size_t n_keys) {
    char *chosen[200];
    json_t *pairs = json_object();
    for (unsigned i = 0; i < n; i++) {
        if (luck(50) || asprintf(&chosen[i], "example.com/key-%u", draw(1000)) < 0)
            chosen[i] = strdup(keys[draw((unsigned)n_keys)]);
    }
    qsort(chosen, n, sizeof chosen[0], compare_texts);
    for (unsigned i = 0; i < n; i++) {
        json_object_set_new(pairs, chosen[i], json_string(ONE_OF(values)));
        free(chosen[i]);
    }
    return pairs;
}

static json_t *make_owner(void) {
    static const char *const kinds[] = {"CronJob", "JobSet", "Flow", ""};
    static const char *const versions[] = {"batch/v1", "batch/v1beta1", "jobset.x-k8s.io/v1alpha2", "v1", "/v1", ""};
    json_t *owner = json_pack("{s:s, s:s, s:s, s:s}", "apiVersion", ONE_OF(versions), "kind", ONE_OF(kinds), "name",
            luck(95) ? "nightly" : "", "uid", luck(95) ? "c-1" : "");
    set(owner, "controller", json_boolean(luck(50)), 70);
    set(owner, "blockOwnerDeletion", json_boolean(luck(50)), 50);
    return owner;
}

static json_t *make_metadata(unsigned i) {
    static const char *const labels[] = {"app", "controller-uid", "job-name", "team/x", "batch.kubernetes.io/job-name"};
    static const char *const keys[] = {"sexton.dev/hold", "sexton.dev/ttl-after-success",
            "sexton.dev/ttl-after-failure", "sexton.dev/typo", "cronjob.kubernetes.io/instantiate",
            "batch.kubernetes.io/cronjob-scheduled-timestamp", "helm.sh/hook", "argocd.argoproj.io/hook"};
    static const char *const finalizers[] = {"foregroundDeletion", "orphan", "example.com/x", ""};
    json_t *metadata = json_object(), *owners = json_array(), *waits = json_array();
    set(metadata, "name", json_sprintf(luck(20) ? "nightly-%u" : "train-%u", 29455000 + i), 98);
    set(metadata, "namespace", json_string("ml"), 98);
    set(metadata, "uid", json_sprintf("0b9e3c52-5d7a-4a4e-9a86-%012u", i), 98);
    set(metadata, "resourceVersion", json_sprintf("%u", 1000 + i), 98);
    set(metadata, "generation", json_integer(1), 80);
    set(metadata, "creationTimestamp", make_time(), 95);
    set(metadata, "deletionTimestamp", make_time(), 20);
    set(metadata, "labels", make_pairs(draw(luck(2) ? 200 : 8), labels, COUNT(labels)), 80);
    set(metadata, "annotations", make_pairs(draw(luck(2) ? 200 : 6), keys, COUNT(keys)), 80);
    for (unsigned n = draw(4); n > 1; n--)
        json_array_append_new(owners, make_owner());
    set(metadata, "ownerReferences", owners, 60);
    for (unsigned n = draw(luck(3) ? 60 : 3); n > 0; n--)
        json_array_append_new(waits, json_string(ONE_OF(finalizers)));
    set(metadata, "finalizers", waits, 40);
    return metadata;
}

static json_t *make_containers(void) {
    json_t *containers = json_array();
    for (unsigned n = draw(4); n > 0; n--) {
        json_t *container = json_pack("{s:s}", "name", "c");
        set(container, "image", json_sprintf("registry.example.com/image:%u", draw(100)), 90);
        json_array_append_new(containers, container);
    }
    return containers;
}

static json_t *make_count(void) {
    static const int counts[] = {0, 1, 5, 100000, 2147483647, -1, -2147483647};
    return json_integer(counts[draw(COUNT(counts))]);
}

static json_t *make_spec(void) {
    json_t *spec = json_object(), *pod = json_object();
    set(spec, "parallelism", make_count(), 80);
    set(spec, "completions", make_count(), 80);
    set(spec, "backoffLimit", make_count(), 80);
    set(spec, "ttlSecondsAfterFinished", make_count(), 40);
    set(spec, "completionMode", json_string(luck(90) ? "Indexed" : ""), 60);
    set(spec, "suspend", json_false(), 60);
    set(pod, "initContainers", make_containers(), 40);
    set(pod, "containers", make_containers(), 90);
    set(pod, "restartPolicy", json_string("Never"), 80);
    json_object_set_new(
            spec, "template", json_pack("{s:{s:{s:s}}, s:o}", "metadata", "labels", "app", "x", "spec", pod));
    return spec;
}

static json_t *make_condition(void) {
    static const char *const types[] = {
            "Complete", "Failed", "SuccessCriteriaMet", "FailureTarget", "Suspended", "Complete", ""};
    static const char *const states[] = {"True", "True", "True", "False", "Unknown", "true", ""};
    json_t *condition = json_pack("{s:s, s:s}", "type", ONE_OF(types), "status", ONE_OF(states));
    set(condition, "lastProbeTime", make_time(), 80);
    set(condition, "lastTransitionTime", make_time(), 95);
    /* These are never empty in JSON. */
    set(condition, "reason", json_string("BackoffLimitExceeded"), 70);
    set(condition, "message", json_string(values[1 + draw(COUNT(values) - 1)]), 70);
    return condition;
}

static json_t *make_status(void) {
    json_t *status = json_object(), *conditions = json_array();
    for (unsigned n = draw(4); n > 0; n--)
        json_array_append_new(conditions, make_condition());
    set(status, "conditions", conditions, 90);
    set(status, "startTime", make_time(), 80);
    set(status, "completionTime", make_time(), 60);
    set(status, "active", json_integer(draw(3) + 1), 40);
    set(status, "succeeded", json_integer(draw(5) + 1), 60);
    set(status, "failed", json_integer(draw(5) + 1), 40);
    set(status, "completedIndexes", json_string("0-2,7"), 30);
    set(status, "failedIndexes", json_string(luck(80) ? "3,4" : ""), 20);
    set(status, "uncountedTerminatedPods", json_object(), 50);
    return status;
}

/* The i-th Job of them all. */
static json_t *make_job(unsigned i) {
    lot = i * UINT64_C(2654435761) + 1;
    json_t *job = json_object();
    json_object_set_new(job, "metadata", make_metadata(i));
    json_object_set_new(job, "spec", make_spec());
    json_object_set_new(job, "status", make_status());
    return job;
}

static json_t *make_list(unsigned first, unsigned n, const char *token) {
    json_t *items = json_array();
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(items, make_job(first + i));
    json_t *list = json_pack("{s:s, s:s, s:{s:s}, s:o}", "kind", "JobList", "apiVersion", "batch/v1", "metadata",
            "resourceVersion", "777", "items", items);
    if (*token)
        json_object_set_new(json_object_get(list, "metadata"), "continue", json_string(token));
    return list;
}

static char *encode(const json_t *object, size_t *ret_len) {
    struct proto_encoder enc = {0};
    char *data = proto_encode_object(&enc, object, ret_len);
    ck_assert_msg(data != NULL, "%s", enc.why);
    return data;
}

/* ---- what is promised ---- */

#define PAGES 60
#define PAGE 100

START_TEST(a_job_is_the_same_in_either_encoding) {
    for (unsigned page = 0; page < PAGES; page++) {
        json_t *list = make_list(page * PAGE, PAGE, page % 2 ? "more" : "");
        size_t len;
        char *data = encode(list, &len);
        struct seen json = read_json(list), proto = read_whole(PROTOSTREAM_LIST, data, len);
        ck_assert_msg(proto.result == 0 && json.result == 0, "%s %s", proto.err.text, json.err.text);
        ck_assert_int_eq(proto.items, PAGE);
        expect_same(&proto.text, &json.text);
        strbuf_finish(&json.text);
        strbuf_finish(&proto.text);
        free(data);
        json_decref(list);
    }
}
END_TEST

START_TEST(a_list_gives_the_same_items_however_it_is_cut) {
    json_t *list = make_list(3, 4, "more");
    size_t len;
    char *data = encode(list, &len);
    expect_same_at_every_cut(PROTOSTREAM_LIST, data, len);
    /* And as much of it as there is. */
    for (size_t end = 0; end < len; end += 7)
        expect_same_at_every_cut(PROTOSTREAM_LIST, data, end < 300 ? end : 300);
    free(data);
    json_decref(list);
}
END_TEST

START_TEST(a_list_that_ends_early_is_an_error_and_none_is_empty) {
    json_t *list = make_list(3, 2, "");
    size_t len;
    char *data = encode(list, &len);
    /* Behind the list itself there are two empty texts, which nobody misses. */
    for (size_t end = 0; end < len - PROTO_TAIL_LENGTH; end++) {
        struct seen seen = read_whole(PROTOSTREAM_LIST, data, end);
        ck_assert_msg(seen.result == -1 && seen.err.kind == ERROR_FORMAT, "%zu of %zu bytes were taken", end, len);
        ck_assert_ptr_null(strstr(strbuf_text(&seen.text), "list 777"));
        strbuf_finish(&seen.text);
    }
    free(data);
    json_decref(list);
    list = make_list(0, 0, "");
    data = encode(list, &len);
    struct seen seen = read_whole(PROTOSTREAM_LIST, data, len);
    ck_assert_int_eq(seen.result, 0);
    ck_assert_str_eq(strbuf_text(&seen.text), "list 777 \n");
    strbuf_finish(&seen.text);
    free(data);
    json_decref(list);
}
END_TEST

/* Events in a row. Takes the objects. */
static void add_event(struct strbuf *stream, const char *type, json_t *object) {
    struct proto_encoder enc = {0};
    size_t len;
    json_t *event = json_pack("{s:s, s:o}", "type", type, "object", object);
    char *frame = proto_encode_event(&enc, event, &len);
    ck_assert_msg(frame != NULL, "%s", enc.why);
    strbuf_add(stream, frame, len);
    free(frame);
    json_decref(event);
}

static json_t *make_typed(json_t *object, const char *kind, const char *version) {
    json_object_set_new(object, "kind", json_string(kind));
    json_object_set_new(object, "apiVersion", json_string(version));
    return object;
}

START_TEST(a_watch_brings_its_events_however_it_is_cut) {
    struct strbuf stream = STRBUF_INIT(EVERYTHING);
    add_event(&stream, "ADDED", make_typed(make_job(7), "Job", "batch/v1"));
    add_event(&stream, "BOOKMARK",
            make_typed(json_pack("{s:{s:s}}", "metadata", "resourceVersion", "1234"), "Job", "batch/v1"));
    add_event(&stream, "DELETED", make_typed(make_job(8), "Job", "batch/v1"));
    add_event(&stream, "ERROR",
            make_typed(json_pack("{s:s, s:s, s:i}", "message", "too old", "reason", "Expired", "code", 410), "Status",
                    "v1"));
    struct seen seen = read_whole(PROTOSTREAM_WATCH, strbuf_text(&stream), stream.len);
    ck_assert_msg(seen.result == 0, "%s", seen.err.text);
    const char *text = strbuf_text(&seen.text);
    ck_assert_ptr_nonnull(strstr(text, "event ADDED version=1007 0 none\n"));
    ck_assert_ptr_nonnull(strstr(text, "event BOOKMARK version=1234 0 none\n"));
    ck_assert_ptr_nonnull(strstr(text, "event DELETED version=1008 0 none\n"));
    ck_assert_ptr_nonnull(strstr(text, "event ERROR version=none status 410 too old\n"));
    ck_assert_int_eq(seen.items, 3);
    strbuf_finish(&seen.text);
    expect_same_at_every_cut(PROTOSTREAM_WATCH, strbuf_text(&stream), stream.len);
    /* Cut off, it is a watch that ended: well between frames, badly within one. */
    seen = read_whole(PROTOSTREAM_WATCH, strbuf_text(&stream), stream.len - 1);
    ck_assert_str_eq(seen.err.text, "the watch ends in the middle of a frame");
    strbuf_finish(&seen.text);
    strbuf_finish(&stream);
}
END_TEST

#define BYTES(text) (text), sizeof(text) - 1
#define UNKNOWN(kind, kind_len, raw, raw_len) "k8s\0\x0a" kind_len "\x12" kind "\x12" raw_len raw

START_TEST(what_is_not_what_a_server_sends_is_an_error_or_unreadable) {
    static const struct {
        enum protostream_mode mode;
        const char *data;
        size_t len;
        const char *told, *error;
    } cases[] = {
            {PROTOSTREAM_LIST, BYTES("{\"kind\":\"JobList\"}"), "", "begins otherwise than it should"},
            {PROTOSTREAM_LIST, BYTES("k8s\0"), "", "the answer is empty"},
            {PROTOSTREAM_LIST, BYTES("k8s\0\x12\x00"), "", "the answer is of the kind \"\" instead of \"JobList\""},
            {PROTOSTREAM_LIST, BYTES(UNKNOWN("\x06Status", "\x08", "", "\x00")), "",
                    "the answer is of the kind \"Status\" instead of \"JobList\""},
            {PROTOSTREAM_LIST, BYTES(UNKNOWN("\x07JobList", "\x09", "", "\x00")), "list  \n", NULL},
            {PROTOSTREAM_LIST, BYTES(UNKNOWN("\x07JobList", "\x09", "", "\x00") "\x1a\x04gzip"), "list  \n",
                    "the object has an encoding of its own"},
            {PROTOSTREAM_LIST,
                    BYTES(UNKNOWN("\x07JobList", "\x09", "", "\x00") "\x22\x10"
                                                                     "application/json"),
                    "list  \n", "the object is not protobuf"},
            {PROTOSTREAM_LIST, BYTES(UNKNOWN("\x07JobList", "\x09", "", "\x00") "\x12\x00"), "list  \n",
                    "something is there twice"},
            {PROTOSTREAM_LIST, BYTES(UNKNOWN("\x07JobList", "\x09", "\x0a\x00\x0a\x00", "\x04")), "",
                    "something is there twice"},
            {PROTOSTREAM_LIST, BYTES(UNKNOWN("\x07JobList", "\x09", "\x12\x05\x0a\x00", "\x04")), "",
                    "a length goes past the end"},
            /* A Job with its metadata twice, with a name twice, with a label twice, with a NUL in a key; and one more.
             */
            {PROTOSTREAM_LIST,
                    BYTES(UNKNOWN("\x07JobList", "\x09",
                            "\x12\x04\x0a\x00\x0a\x00"
                            "\x12\x08\x0a\x06\x0a\x01x\x0a\x01x"
                            "\x12\x0c\x0a\x0a\x5a\x03\x0a\x01x\x5a\x03\x0a\x01x"
                            "\x12\x09\x0a\x07\x5a\x05\x0a\x03x\0y",
                            "\x29")),
                    "unreadable: a field is there twice\nunreadable: a field is there twice\n"
                    "unreadable: a label or an annotation is there twice\nunreadable: a key has a NUL character\n"
                    "list  \n",
                    NULL},
            {PROTOSTREAM_WATCH, BYTES("\0\0\0\0"), "event  version=none 0 none\n", NULL},
            {PROTOSTREAM_WATCH, BYTES("\0\0\0\x02\x0a\0"), "event  version=none 0 none\n", NULL},
            {PROTOSTREAM_WATCH, BYTES("\x01\0\0\x01"), "", "a frame of the watch is larger than 16777216 bytes"},
            {PROTOSTREAM_WATCH, BYTES("\xff\xff\xff\xff"), "", "larger than"},
            {PROTOSTREAM_WATCH, BYTES("\0\0\0\x03\x0a\x05x"), "", "a length goes past the end"},
            {PROTOSTREAM_WATCH, BYTES("\0\0\0\x01\x0a"), "", "the protobuf ends in the middle"},
            {PROTOSTREAM_WATCH, BYTES("\0\0\0"), "", "the watch ends in the middle of a frame"},
            {PROTOSTREAM_WATCH, BYTES("{\"type\":\"ADDED\"}"), "", "larger than"},
            /* Another kind of object, which is none of ours. */
            {PROTOSTREAM_WATCH,
                    BYTES("\0\0\0\x1a\x0a\x05"
                          "ADDED\x12\x11\x0a\x0f" UNKNOWN("\x03Pod", "\x05", "\x0a\x00", "\x02")),
                    "event ADDED version=none 0 none\n", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct seen seen = read_whole(cases[i].mode, cases[i].data, cases[i].len);
        ck_assert_msg(seen.result == (cases[i].error ? -1 : 0), "case %zu: %s", i, seen.err.text);
        ck_assert_msg(!cases[i].error || strstr(seen.err.text, cases[i].error), "case %zu: %s", i, seen.err.text);
        ck_assert_msg(strcmp(strbuf_text(&seen.text), cases[i].told) == 0, "case %zu: %s", i, strbuf_text(&seen.text));
        strbuf_finish(&seen.text);
        expect_same_at_every_cut(cases[i].mode, cases[i].data, cases[i].len);
    }
}
END_TEST

/* The one Job of a list, of these bytes. */
static struct seen read_job(const char *job, size_t job_len) {
    struct proto_encoder enc = {0};
    char head[PROTO_ITEM_HEAD_SIZE];
    size_t head_len = proto_item_head(job_len, head), len;
    char *list = proto_list_head(&enc, "batch/v1", "JobList", NULL, head_len + job_len, &len);
    struct strbuf all = STRBUF_INIT(EVERYTHING);
    strbuf_add(&all, list, len);
    strbuf_add(&all, head, head_len);
    strbuf_add(&all, job, job_len);
    strbuf_add(&all, proto_tail, PROTO_TAIL_LENGTH);
    struct seen seen = read_whole(PROTOSTREAM_LIST, strbuf_text(&all), all.len);
    strbuf_finish(&all);
    free(list);
    return seen;
}

START_TEST(what_only_protobuf_can_say_is_read_as_the_servers_json_would_have_it) {
    static const struct {
        const char *job;
        size_t len;
        const char *told;
    } cases[] = {
            /* Bytes that are not UTF-8, and a text with a NUL. */
            {BYTES("\x0a\x0d\x62\x0b\x0a\x01k\x12\x06\xff"
                   "a\xe2\x80z\xc0"),
                    "value=14:\xef\xbf\xbd"
                    "a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\n"},
            {BYTES("\x0a\x05\x0a\x03x\0y"), "wrong type"},
            {BYTES("\x0a\x0a\x5a\x08\x0a\x01k\x12\x03x\0y"), "value=3:x"},
            /* Seconds alone, a fraction, and Go's zero time in two ways. */
            {BYTES("\x0a\x04\x42\x02\x08\x05"), "created=5000\n"},
            {BYTES("\x0a\x08\x42\x06\x08\x05\x10\x80\x94\x01"), "created=5000\n"},
            {BYTES("\x0a\x04\x42\x02\x10\x01"), "created=0\n"},
            {BYTES("\x0a\x06\x42\x04\x08\x00\x10\x00"), "created=-9223372036854775808\n"},
            {BYTES("\x0a\x0f\x42\x0d\x08\x80\x92\xb8\xc3\x98\xfe\xff\xff\xff\x01\x10\x00"),
                    "created=-9223372036854775808\n"},
            {BYTES("\x0a\x0d\x42\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "created=-1000\n"},
            /* A year that RFC 3339 does not have. */
            {BYTES("\x0a\x0e\x42\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
                   "\x38\x01"),
                    "oddities=4\n"},
            /* A time to live that is negative, and more seconds than an int32 has, which Go cuts. */
            {BYTES("\x12\x0b\x40\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "ttl=-1\n"},
            {BYTES("\x12\x06\x40\x85\x80\x80\x80\x10"), "ttl=5\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct seen seen = read_job(cases[i].job, cases[i].len);
        ck_assert_msg(seen.result == 0, "case %zu: %s", i, seen.err.text);
        ck_assert_msg(memmem(strbuf_text(&seen.text), seen.text.len, cases[i].told, strlen(cases[i].told)) != NULL,
                "case %zu: %s", i, strbuf_text(&seen.text));
        strbuf_finish(&seen.text);
    }
}
END_TEST

START_TEST(a_job_of_70000_labels_is_read_and_one_without_end_is_not) {
    struct strbuf job = STRBUF_INIT(EVERYTHING), metadata = STRBUF_INIT(EVERYTHING);
    for (unsigned i = 0; i < 70000; i++)
        strbuf_add_format(&metadata, "\x5a\x08\x0a\x06%06u", i);
    strbuf_add_char(&job, 0x0a);
    for (size_t len = metadata.len; len; len >>= 7)
        strbuf_add_char(&job, (char)((len & 127) | (len >= 128 ? 128 : 0)));
    strbuf_add(&job, strbuf_text(&metadata), metadata.len);
    struct seen seen = read_job(strbuf_text(&job), job.len);
    ck_assert_msg(seen.result == 0, "%s", seen.err.text);
    ck_assert_ptr_nonnull(strstr(strbuf_text(&seen.text), "labels=70000\n"));
    strbuf_finish(&seen.text);
    strbuf_clear(&job);
    strbuf_clear(&metadata);
    for (unsigned i = 0; i < 1000000; i++)
        strbuf_add(&metadata, "\x5a\x00", 2);
    strbuf_add_char(&job, 0x0a);
    for (size_t len = metadata.len; len; len >>= 7)
        strbuf_add_char(&job, (char)((len & 127) | (len >= 128 ? 128 : 0)));
    strbuf_add(&job, strbuf_text(&metadata), metadata.len);
    seen = read_job(strbuf_text(&job), job.len);
    ck_assert_int_eq(seen.err.kind, ERROR_LIMIT);
    strbuf_finish(&seen.text);
    strbuf_finish(&job);
    strbuf_finish(&metadata);
}
END_TEST

START_TEST(a_callback_that_has_enough_ends_the_stream) {
    json_t *list = make_list(100, 3, "");
    size_t len;
    char *data = encode(list, &len);
    struct seen seen = {.stop_after = 2};
    read_in(&seen, PROTOSTREAM_LIST, data, len, len, 1);
    ck_assert_int_eq(seen.result, -7);
    ck_assert_int_eq(seen.items, 2);
    strbuf_finish(&seen.text);
    free(data);
    json_decref(list);
}
END_TEST

START_TEST(a_status_tells_its_reason_and_message) {
    json_t *status = make_typed(json_pack("{s:s, s:s, s:s, s:i}", "status", "Failure", "message", "jobs is forbidden",
                                        "reason", "Forbidden", "code", 403),
            "Status", "v1");
    size_t len;
    char *data = encode(status, &len);
    struct strbuf reason = STRBUF_INIT(1000), message = STRBUF_INIT(1000);
    ck_assert_int_eq(protostream_read_status(data, len, &reason, &message, NULL), 0);
    ck_assert_str_eq(strbuf_text(&reason), "Forbidden");
    ck_assert_str_eq(strbuf_text(&message), "jobs is forbidden");
    strbuf_clear(&reason);
    for (size_t end = 0; end < len - PROTO_TAIL_LENGTH; end++)
        ck_assert_int_eq(protostream_read_status(data, end, &reason, &message, NULL), -1);
    ck_assert_str_eq(strbuf_text(&reason), "");
    free(data);
    json_decref(status);
    json_t *job = make_typed(make_job(1), "Job", "batch/v1");
    data = encode(job, &len);
    ck_assert_int_eq(protostream_read_status(data, len, &reason, &message, NULL), -1);
    free(data);
    json_decref(job);
    strbuf_finish(&reason);
    strbuf_finish(&message);
}
END_TEST

START_TEST(the_content_type_says_what_is_protobuf) {
    ck_assert(protostream_is_type("application/vnd.kubernetes.protobuf"));
    ck_assert(protostream_is_type("Application/Vnd.Kubernetes.Protobuf;stream=watch"));
    ck_assert(protostream_is_type("application/vnd.kubernetes.protobuf ; stream=watch"));
    ck_assert(!protostream_is_type(""));
    ck_assert(!protostream_is_type("application/json"));
    ck_assert(!protostream_is_type("application/vnd.kubernetes.protobuf2"));
}
END_TEST

Suite *suite_protostream(void) {
    Suite *suite = suite_create("protostream");
    TCase *tcase = tcase_create("protostream");
    static const TTest *const *const all[] = {&a_job_is_the_same_in_either_encoding,
            &a_list_gives_the_same_items_however_it_is_cut, &a_list_that_ends_early_is_an_error_and_none_is_empty,
            &a_watch_brings_its_events_however_it_is_cut, &what_is_not_what_a_server_sends_is_an_error_or_unreadable,
            &what_only_protobuf_can_say_is_read_as_the_servers_json_would_have_it,
            &a_job_of_70000_labels_is_read_and_one_without_end_is_not, &a_callback_that_has_enough_ends_the_stream,
            &a_status_tells_its_reason_and_message, &the_content_type_says_what_is_protobuf};
    tcase_set_timeout(tcase, 120);
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}
