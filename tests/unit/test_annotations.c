#include "suites.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "jobs/annotations.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The annotations borrow from what this returns. */
static json_t *read_json(const char *text, const char *prefix, struct annotations *ret) {
    json_error_t why;
    json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    ck_assert_msg(json != NULL, "%s: %s", text, why.text);
    annotations_read(json, prefix, ret);
    return json;
}

START_TEST(what_is_not_there_is_absent_and_nothing_is_wrong) {
    static const char *const none[] = {"{}", "null",
            "{\"other.dev/hold\":\"true\",\"sexton.dev\":\"x\",\"hold\":\"true\"}",
            "{\"sexton.development/hold\":\"true\",\"a/sexton.dev/hold\":\"true\",\"Sexton.dev/hold\":\"true\"}"};
    for (size_t i = 0; i <= COUNT(none); i++) {
        struct annotations a;
        memset(&a, 0x55, sizeof a);
        json_t *json = i < COUNT(none) ? read_json(none[i], "sexton.dev", &a) : NULL;
        if (!json)
            annotations_read(NULL, "sexton.dev", &a);
        ck_assert_int_eq(a.success.state, ANNOTATION_ABSENT);
        ck_assert_int_eq(a.failure.state, ANNOTATION_ABSENT);
        ck_assert_int_eq(a.hold.state, ANNOTATION_ABSENT);
        ck_assert_int_eq(a.hold.until_ms, TIME_NONE);
        ck_assert_ptr_null(a.bad_key);
        ck_assert_ptr_null(a.success.text);
        ck_assert(!a.unknown_key);
        json_decref(json);
    }
}
END_TEST

START_TEST(every_key_is_read_with_its_value_as_written) {
    struct annotations a;
    json_t *json = read_json("{\"sexton.dev/ttl-after-success\":\"1d12h\",\"sexton.dev/ttl-after-failure\":\"never\","
                             "\"sexton.dev/hold\":\"2026-12-24T18:00:00+01:00\",\"else\":7}",
            "sexton.dev", &a);
    ck_assert_int_eq(a.success.state, ANNOTATION_SET);
    ck_assert_int_eq(a.success.ms, 129600000);
    ck_assert_str_eq(a.success.text, "1d12h");
    ck_assert_int_eq(a.failure.state, ANNOTATION_SET);
    ck_assert_int_eq(a.failure.ms, DURATION_NEVER);
    ck_assert_int_eq(a.hold.state, ANNOTATION_SET);
    ck_assert_int_eq(a.hold.until_ms, 1798131600000);
    ck_assert_str_eq(a.hold.text, "2026-12-24T18:00:00+01:00");
    ck_assert_ptr_null(a.bad_key);
    json_decref(json);
}
END_TEST

START_TEST(hold_is_true_false_or_a_time) {
    static const struct {
        const char *json;
        int64_t until_ms;
        enum annotation_state state;
    } cases[] = {{"{\"sexton.dev/hold\":\"true\"}", HOLD_FOREVER, ANNOTATION_SET},
            {"{\"sexton.dev/hold\":\"false\"}", TIME_NONE, ANNOTATION_SET},
            {"{\"sexton.dev/hold\":\"1970-01-01T00:00:01Z\"}", 1000, ANNOTATION_SET},
            {"{\"sexton.dev/hold\":\"True\"}", 0, ANNOTATION_INVALID},
            {"{\"sexton.dev/hold\":\"yes\"}", 0, ANNOTATION_INVALID},
            {"{\"sexton.dev/hold\":\"1\"}", 0, ANNOTATION_INVALID},
            {"{\"sexton.dev/hold\":\"\"}", 0, ANNOTATION_INVALID},
            {"{\"sexton.dev/hold\":\"7d\"}", 0, ANNOTATION_INVALID},
            {"{\"sexton.dev/hold\":\"2026-12-24\"}", 0, ANNOTATION_INVALID},
            {"{\"sexton.dev/hold\":\"true \"}", 0, ANNOTATION_INVALID}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct annotations a;
        json_t *json = read_json(cases[i].json, "sexton.dev", &a);
        ck_assert_msg(a.hold.state == cases[i].state, "%s", cases[i].json);
        if (a.hold.state == ANNOTATION_SET) {
            ck_assert_msg(a.hold.until_ms == cases[i].until_ms, "%s", cases[i].json);
            ck_assert_ptr_null(a.bad_key);
        } else {
            ck_assert_str_eq(a.bad_key, "hold");
            ck_assert_str_eq(a.bad_value, a.hold.text);
            ck_assert_ptr_nonnull(strstr(a.bad_why, "neither true, false nor a time"));
        }
        ck_assert(!a.unknown_key);
        json_decref(json);
    }
}
END_TEST

START_TEST(a_ttl_that_is_no_duration_is_invalid_and_named) {
    static const char *const values[] = {"", "5", "24", "-1h", "1h1h", "1h ", "Never", "forever", "99999999999999d",
            "0x10s", "tomorrow", "\xc3\xa4"};
    for (size_t i = 0; i < COUNT(values); i++) {
        struct annotations a;
        json_t *object = json_pack(
                "{s:s, s:s}", "sexton.dev/ttl-after-failure", values[i], "sexton.dev/ttl-after-success", "0s");
        annotations_read(object, "sexton.dev", &a);
        ck_assert_msg(a.failure.state == ANNOTATION_INVALID, "'%s' was taken", values[i]);
        ck_assert_str_eq(a.bad_key, "ttl-after-failure");
        ck_assert_str_eq(a.bad_value, values[i]);
        ck_assert_ptr_nonnull(strstr(a.bad_why, "not a duration"));
        ck_assert_int_eq(a.success.state, ANNOTATION_SET);
        json_decref(object);
    }
}
END_TEST

START_TEST(a_value_of_300_kilobytes_is_only_wrong) {
    size_t n = 300u << 10;
    char *value = malloc(n + 1);
    memset(value, '9', n);
    value[n] = '\0';
    json_t *object = json_pack("{s:s}", "sexton.dev/hold", value);
    struct annotations a;
    annotations_read(object, "sexton.dev", &a);
    ck_assert_int_eq(a.hold.state, ANNOTATION_INVALID);
    ck_assert_uint_eq(strlen(a.bad_value), n);
    json_decref(object);
    free(value);
}
END_TEST

START_TEST(what_is_no_text_is_not_understood) {
    static const struct {
        const char *json, *why;
    } cases[] = {{"{\"sexton.dev/hold\":true}", "is not a string"}, {"{\"sexton.dev/hold\":null}", "is not a string"},
            {"{\"sexton.dev/hold\":1}", "is not a string"},
            {"{\"sexton.dev/hold\":{\"a\":\"true\"}}", "is not a string"},
            {"{\"sexton.dev/hold\":[\"true\"]}", "is not a string"}, {"{\"sexton.dev/hold\":\"false\\u0000\"}", "NUL"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct annotations a;
        json_t *json = read_json(cases[i].json, "sexton.dev", &a);
        ck_assert_str_eq(a.bad_key, "hold");
        ck_assert(a.unknown_key);
        ck_assert_msg(strstr(a.bad_why, cases[i].why) != NULL, "%s: %s", cases[i].json, a.bad_why);
        ck_assert_ptr_nonnull(a.bad_value);
        ck_assert_int_ne(a.hold.state, ANNOTATION_SET);
        json_decref(json);
    }
}
END_TEST

START_TEST(a_misspelt_key_is_somebodys_wish_and_told) {
    static const char *const keys[] = {"ttl-after-falure", "Hold", "holds", "", "ttl", "hold/x"};
    for (size_t i = 0; i < COUNT(keys); i++) {
        char key[64];
        snprintf(key, sizeof key, "sexton.dev/%s", keys[i]);
        json_t *object = json_pack("{s:s}", key, "never");
        struct annotations a;
        annotations_read(object, "sexton.dev", &a);
        ck_assert(a.unknown_key);
        ck_assert_str_eq(a.bad_key, keys[i]);
        ck_assert_str_eq(a.bad_value, "never");
        ck_assert_ptr_nonnull(strstr(a.bad_why, "not a key"));
        json_decref(object);
    }
}
END_TEST

START_TEST(annotations_that_are_no_object_are_not_understood) {
    static const char *const values[] = {"[]", "\"hold\"", "7", "true"};
    for (size_t i = 0; i < COUNT(values); i++) {
        struct annotations a;
        json_t *json = read_json(values[i], "sexton.dev", &a);
        ck_assert_str_eq(a.bad_key, "metadata.annotations");
        ck_assert(a.unknown_key);
        ck_assert_ptr_nonnull(strstr(a.bad_why, "not an object"));
        json_decref(json);
    }
}
END_TEST

START_TEST(the_first_key_that_is_wrong_is_the_one_that_is_told) {
    struct annotations a;
    json_t *json =
            read_json("{\"sexton.dev/ttl-after-success\":\"a\",\"sexton.dev/hold\":\"b\",\"sexton.dev/x\":\"c\"}",
                    "sexton.dev", &a);
    ck_assert_str_eq(a.bad_key, "ttl-after-success");
    ck_assert_str_eq(a.bad_value, "a");
    ck_assert_int_eq(a.success.state, ANNOTATION_INVALID);
    ck_assert_int_eq(a.hold.state, ANNOTATION_INVALID);
    ck_assert(a.unknown_key);
    json_decref(json);
}
END_TEST

START_TEST(the_prefix_is_a_setting) {
    struct annotations a;
    json_t *json = read_json(
            "{\"cleanup.example.com/hold\":\"true\",\"sexton.dev/hold\":\"rubbish\"}", "cleanup.example.com", &a);
    ck_assert_int_eq(a.hold.until_ms, HOLD_FOREVER);
    ck_assert_ptr_null(a.bad_key);
    json_decref(json);
    ck_assert(annotations_has_prefix("a.b/c", "a.b"));
    ck_assert(annotations_has_prefix("a.b/", "a.b"));
    ck_assert(!annotations_has_prefix("a.b", "a.b"));
    ck_assert(!annotations_has_prefix("a.bc/d", "a.b"));
    ck_assert(!annotations_has_prefix("", "a.b"));
}
END_TEST

Suite *suite_annotations(void) {
    Suite *suite = suite_create("annotations");
    TCase *tcase = tcase_create("annotations");
    static const TTest *const *const all[] = {&what_is_not_there_is_absent_and_nothing_is_wrong,
            &every_key_is_read_with_its_value_as_written, &hold_is_true_false_or_a_time,
            &a_ttl_that_is_no_duration_is_invalid_and_named, &a_value_of_300_kilobytes_is_only_wrong,
            &what_is_no_text_is_not_understood, &a_misspelt_key_is_somebodys_wish_and_told,
            &annotations_that_are_no_object_are_not_understood, &the_first_key_that_is_wrong_is_the_one_that_is_told,
            &the_prefix_is_a_setting};
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}
