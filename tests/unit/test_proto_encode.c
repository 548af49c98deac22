/* The encoder that tests use, tests/protobuf/encode.c. e2e compares it with a real API server's bytes. */
#include "suites.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "../protobuf/decode.h"
#include "../protobuf/encode.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static json_t *parse(const char *text) {
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);

    ck_assert_msg(json != NULL, "%s in %s", error.text, text);
    return json;
}

START_TEST(an_owner_reference_has_the_bytes_that_gos_generated_code_writes) {
    static const char wanted[] = {0x0a, 0x26, 0x0a, 0x01, 'a', 0x12, 0, 0x1a, 0, 0x22, 0, 0x2a, 0, 0x32, 0, 0x38, 0,
            0x42, 0, 0x6a, 0x13, 0x0a, 0x03, 'J', 'o', 'b', 0x1a, 0x01, 'p', 0x22, 0x01, 'u', 0x2a, 0x02, 'v', '1',
            0x30, 0x01, 0x38, 0x00};
    struct proto_encoder enc = {0};
    size_t length = 0;
    json_t *job = parse("{\"metadata\":{\"name\":\"a\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Job\","
                        "\"name\":\"p\",\"uid\":\"u\",\"controller\":true,\"blockOwnerDeletion\":false}]}}");
    char *data = proto_encode_message(&enc, "Job", job, &length);

    ck_assert_msg(data != NULL, "%s", enc.why);
    ck_assert_uint_gt(length, sizeof(wanted));
    ck_assert_mem_eq(data, wanted, sizeof(wanted));
    free(data);
    json_decref(job);
}
END_TEST

START_TEST(a_time_is_whole_seconds_and_the_zero_time_is_nothing) {
    static const char *const same[] = {"\"2026-11-30T10:00:00Z\"", "\"2026-11-30T11:00:00+01:00\"",
            "\"2026-11-30T04:30:00-05:30\"", "\"2026-11-30T10:00:00.000Z\""};
    static const char wanted[] = {0x08, (char)0xa0, (char)0x92, (char)0xb5, (char)0xd8, 0x06, 0x10, 0x00};
    struct proto_encoder enc = {0};

    for (size_t i = 0; i < COUNT(same); i++) {
        char *text = NULL;
        size_t length = 0;

        ck_assert_int_gt(asprintf(&text, "{\"metadata\":{\"creationTimestamp\":%s}}", same[i]), 0);
        json_t *job = parse(text);
        char *data = proto_encode_message(&enc, "Job", job, &length);

        ck_assert_msg(data != NULL, "%s: %s", text, enc.why);
        ck_assert_ptr_nonnull(memmem(data, length, wanted, sizeof(wanted)));
        free(data);
        json_decref(job);
        free(text);
    }
}
END_TEST

START_TEST(what_protobuf_cannot_say_is_refused_with_its_place) {
    static const struct {
        const char *job;
        const char *why;
    } cases[] = {
            {"{\"metadata\":{\"name\":5}}", "metadata.name: cannot be said in protobuf"},
            {"{\"metadata\":{\"labels\":{\"a\":true}}}", "metadata.labels.a: cannot be said in protobuf"},
            {"{\"metadata\":{\"labels\":[]}}", "metadata.labels: cannot be said in protobuf"},
            {"{\"metadata\":{\"finalizers\":{}}}", "metadata.finalizers: cannot be said in protobuf"},
            {"{\"metadata\":{\"creationTimestamp\":\"yesterday\"}}",
                    "metadata.creationTimestamp: cannot be said in protobuf"},
            {"{\"metadata\":{\"creationTimestamp\":\"2026-11-30T10:00:00.5Z\"}}",
                    "metadata.creationTimestamp: cannot be said in protobuf"},
            {"{\"spec\":{\"parallelism\":\"1\"}}", "spec.parallelism: cannot be said in protobuf"},
            {"{\"spec\":{\"parallelism\":2147483648}}", "spec.parallelism: cannot be said in protobuf"},
            {"{\"spec\":{\"suspend\":0}}", "spec.suspend: cannot be said in protobuf"},
            {"{\"spec\":[]}", "spec: cannot be said in protobuf"},
            {"{\"spec\":{\"novel\":1}}", "spec.novel: cannot be said in protobuf"},
            {"{\"status\":{\"conditions\":[\"Complete\"]}}", "status.conditions: cannot be said in protobuf"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct proto_encoder enc = {0};
        size_t length = 0;
        json_t *job = parse(cases[i].job);

        ck_assert_ptr_null(proto_encode_message(&enc, "Job", job, &length));
        ck_assert_str_eq(enc.why, cases[i].why);
        json_decref(job);
    }
}
END_TEST

/* The two ways to write the same answer. */
static void pieces_check(
        char *whole, size_t whole_length, char *head, size_t head_length, const char *message, size_t message_length) {
    ck_assert_uint_eq(whole_length, head_length + message_length + PROTO_TAIL_LENGTH);
    ck_assert_mem_eq(whole, head, head_length);
    ck_assert_mem_eq(whole + head_length, message, message_length);
    ck_assert_mem_eq(whole + head_length + message_length, proto_tail, PROTO_TAIL_LENGTH);
    free(whole);
    free(head);
}

START_TEST(an_answer_put_together_from_messages_is_the_answer_encoded_as_a_whole) {
    struct proto_encoder enc = {0};
    json_t *event = parse("{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\","
                          "\"metadata\":{\"name\":\"a\"},\"status\":{\"succeeded\":1}}}");
    json_t *object = json_object_get(event, "object");
    json_t *list = json_pack("{s:s,s:s,s:{s:s,s:s,s:i},s:[O,O]}", "kind", "JobList", "apiVersion", "batch/v1",
            "metadata", "resourceVersion", "7", "continue", "abc", "remainingItemCount", 3, "items", object, object);
    size_t whole_length = 0;
    size_t head_length = 0;
    size_t length = 0;
    char item[PROTO_ITEM_HEAD_SIZE];
    char *message = proto_encode_message(&enc, "Job", object, &length);
    size_t item_length = proto_item_head(length, item);
    char items[1024];

    char *whole = proto_encode_object(&enc, object, &whole_length);
    char *head = proto_object_head("batch/v1", "Job", length, &head_length);
    pieces_check(whole, whole_length, head, head_length, message, length);
    whole = proto_encode_event(&enc, event, &whole_length);
    head = proto_event_head("MODIFIED", "batch/v1", "Job", length, &head_length);
    pieces_check(whole, whole_length, head, head_length, message, length);

    ck_assert_uint_lt(2 * (item_length + length), sizeof(items));
    for (size_t i = 0; i < 2; i++) {
        memcpy(items + i * (item_length + length), item, item_length);
        memcpy(items + i * (item_length + length) + item_length, message, length);
    }
    whole = proto_encode_object(&enc, list, &whole_length);
    head = proto_list_head(
            &enc, "batch/v1", "JobList", json_object_get(list, "metadata"), 2 * (item_length + length), &head_length);
    pieces_check(whole, whole_length, head, head_length, items, 2 * (item_length + length));
    free(message);
    json_decref(list);
    json_decref(event);
}
END_TEST

START_TEST(a_frame_says_its_length_in_four_bytes_and_the_type_of_its_event) {
    struct proto_encoder enc = {0};
    json_t *event = parse("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
                          "\"status\":\"Failure\",\"message\":\"too old\",\"reason\":\"Expired\",\"code\":410}}");
    size_t length = 0;
    char *data = proto_encode_event(&enc, event, &length);

    ck_assert_msg(data != NULL, "%s", enc.why);
    ck_assert_mem_eq(data, "\0\0\0", 3);
    ck_assert_uint_eq((unsigned char)data[3], length - 4);
    ck_assert_mem_eq(data + 4,
            "\x0a\x05"
            "ERROR\x12",
            8);
    ck_assert_ptr_nonnull(memmem(data, length, "k8s", 4));
    free(data);
    json_decref(event);
}
END_TEST

START_TEST(what_is_encoded_and_decoded_is_what_it_was) {
    struct proto_encoder enc = {0};
    size_t length = 0;
    size_t again_length = 0;
    json_error_t error;
    json_t *job = json_load_file("tests/protobuf/rich-job.json", 0, &error);

    ck_assert_msg(job != NULL, "%s (the tests run in the root of the repository)", error.text);
    char *data = proto_encode_object(&enc, job, &length);
    ck_assert_msg(data != NULL, "%s", enc.why);
    json_t *decoded = proto_decode_object(data, length);
    ck_assert_ptr_nonnull(decoded);
    ck_assert(json_equal(json_object_get(json_object_get(job, "metadata"), "ownerReferences"),
            json_object_get(json_object_get(decoded, "metadata"), "ownerReferences")));
    char *again = proto_encode_object(&enc, decoded, &again_length);
    ck_assert_uint_eq(again_length, length);
    ck_assert_mem_eq(again, data, length);
    for (size_t cut = 0; cut < length - PROTO_TAIL_LENGTH; cut++)
        ck_assert_ptr_null(proto_decode_object(data, cut));
    free(again);
    free(data);
    json_decref(decoded);
    json_decref(job);
}
END_TEST

START_TEST(protobuf_is_sent_to_who_prefers_it) {
    static const struct {
        const char *accept;
        bool protobuf;
    } cases[] = {
            {NULL, false},
            {"*/*", false},
            {"application/json", false},
            {"text/html", false},
            {PROTO_CONTENT_TYPE, true},
            {PROTO_CONTENT_TYPE ", */*", true},
            {PROTO_CONTENT_TYPE ";q=1, application/json;q=0.9", true},
            {"application/json;q=0.9, " PROTO_CONTENT_TYPE ";q=1", true},
            {PROTO_CONTENT_TYPE ";q=0.5, application/json", false},
            {PROTO_WATCH_CONTENT_TYPE ";q=1, application/json;q=0.9", true},
            {"application/json;as=Table;v=v1;g=meta.k8s.io, application/json", false},
            {PROTO_CONTENT_TYPE "2", false},
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        ck_assert_msg(proto_is_preferred(cases[i].accept) == cases[i].protobuf, "%s", cases[i].accept);
}
END_TEST

Suite *suite_proto_encode(void) {
    Suite *suite = suite_create("proto_encode");
    TCase *tcase = tcase_create("encode");

    tcase_add_test(tcase, an_owner_reference_has_the_bytes_that_gos_generated_code_writes);
    tcase_add_test(tcase, a_time_is_whole_seconds_and_the_zero_time_is_nothing);
    tcase_add_test(tcase, what_protobuf_cannot_say_is_refused_with_its_place);
    tcase_add_test(tcase, an_answer_put_together_from_messages_is_the_answer_encoded_as_a_whole);
    tcase_add_test(tcase, a_frame_says_its_length_in_four_bytes_and_the_type_of_its_event);
    tcase_add_test(tcase, what_is_encoded_and_decoded_is_what_it_was);
    tcase_add_test(tcase, protobuf_is_sent_to_who_prefers_it);
    suite_add_tcase(suite, tcase);
    return suite;
}
