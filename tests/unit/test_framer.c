#include "suites.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/strbuf.h"
#include "kube/framer.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define STOP 77

/* What came out, as text: "item JSON | ASIDE\n" and "envelope JSON\n". */
struct seen {
    struct strbuf text;
    int items, envelopes, stop_at; /* the item that stops everything, 0: none */
    size_t longest_aside;
};

static int on_item(void *arg, const char *json, size_t len, const char *aside, size_t aside_len) {
    struct seen *seen = arg;
    ck_assert_uint_eq(strlen(json), len);
    ck_assert_uint_eq(strlen(aside), aside_len);
    strbuf_add_format(&seen->text, "item %s | %s\n", json, aside);
    if (aside_len > seen->longest_aside)
        seen->longest_aside = aside_len;
    return ++seen->items == seen->stop_at ? STOP : 0;
}

static int on_envelope(void *arg, const char *json, size_t len) {
    struct seen *seen = arg;
    ck_assert_uint_eq(strlen(json), len);
    strbuf_add_format(&seen->text, "envelope %s\n", json);
    seen->envelopes++;
    return 0;
}

/* Frames len bytes in pieces of piece bytes, 0: random pieces. seen is emptied first. */
static int frame_pieces(const char *data, size_t len, size_t piece, struct seen *seen, struct error *err) {
    const struct framer_handler handler = {.arg = seen, .item = on_item, .envelope = on_envelope};
    struct framer *framer = framer_create(&handler, NULL);
    ck_assert_ptr_nonnull(framer);
    strbuf_clear(&seen->text);
    seen->items = seen->envelopes = 0;
    int result = 0;
    for (size_t at = 0; at < len && result == 0;) {
        size_t n = piece ? piece : random_below(9) + 1;
        n = n < len - at ? n : len - at;
        result = framer_push(framer, data + at, n, err);
        at += n;
    }
    if (result == 0)
        result = framer_end(framer, err);
    framer_destroy(framer);
    return result;
}

static int frame(const char *text, struct seen *seen, struct error *err) {
    return frame_pieces(text, strlen(text), strlen(text) + 1, seen, err);
}

static void expect(const char *text, const char *wanted) {
    struct seen seen = {.text = STRBUF_INIT(100000)};
    struct error err = {0};
    ck_assert_msg(frame(text, &seen, &err) == 0, "%s: %s", text, err.text);
    ck_assert_str_eq(strbuf_text(&seen.text), wanted);
    strbuf_finish(&seen.text);
}

START_TEST(a_list_gives_its_items_and_then_its_envelope) {
    expect("{\"kind\":\"JobList\",\"items\":[{\"a\":1},{\"b\":[2,{}]}],\"metadata\":{\"continue\":\"c\"}}",
            "item {\"a\":1} | \nitem {\"b\":[2,{}]} | \n"
            "envelope {\"kind\":\"JobList\",\"items\":[],\"metadata\":{\"continue\":\"c\"}}\n");
    expect(" { \"items\" : [ ] } ", "envelope {\"items\":[]}\n");
    expect("{\"items\":[1,\"two\",null,[3]]}",
            "item 1 | \nitem \"two\" | \nitem null | \nitem [3] | \nenvelope {\"items\":[]}\n");
}
END_TEST

START_TEST(a_list_that_says_null_is_an_empty_list) {
    expect("{\"items\":null,\"metadata\":{\"resourceVersion\":\"5\"}}",
            "envelope {\"items\":null,\"metadata\":{\"resourceVersion\":\"5\"}}\n");
    /* Elsewhere the word is not special. */
    expect("{\"spec\":{\"items\":null}}", "item {\"spec\":{\"items\":null}} | \n");
    expect("{\"items\":{\"a\":1}}", "item {\"items\":{\"a\":1}} | \n");
}
END_TEST

START_TEST(watch_frames_and_objects_are_items_one_after_the_other) {
    expect("{\"type\":\"ADDED\",\"object\":{\"kind\":\"Job\"}}\n{\"type\":\"BOOKMARK\",\"object\":{}}\n",
            "item {\"type\":\"ADDED\",\"object\":{\"kind\":\"Job\"}} | \nitem {\"type\":\"BOOKMARK\",\"object\":{}} | "
            "\n");
    expect("{\"kind\":\"Job\"}{\"items\":[{}]}\r\n\t{\"kind\":\"Job\"}",
            "item {\"kind\":\"Job\"} | \nitem {} | \nenvelope {\"items\":[]}\nitem {\"kind\":\"Job\"} | \n");
    expect("", "");
    expect(" \n\t\r ", "");
}
END_TEST

START_TEST(managed_fields_are_dropped_and_the_template_is_put_aside) {
    static const char object[] = "{\"metadata\":{\"name\":\"a\",\"managedFields\":[{\"f\":{\"x\":\"]\\\"}\"}}]},"
                                 "\"spec\":{\"template\":{\"spec\":{\"x\":\"}\"}},\"n\":1}}";
    static const char cut[] =
            "{\"metadata\":{\"name\":\"a\",\"managedFields\":null},\"spec\":{\"template\":null,\"n\":1}}";
    static const char aside[] = "{\"spec\":{\"x\":\"}\"}}";
    char text[1000], wanted[1000];
    snprintf(wanted, sizeof wanted, "item %s | %s\n", cut, aside);
    expect(object, wanted);
    snprintf(text, sizeof text, "{\"items\":[%s,{}]}", object);
    snprintf(wanted, sizeof wanted, "item %s | %s\nitem {} | \nenvelope {\"items\":[]}\n", cut, aside);
    expect(text, wanted);
    snprintf(text, sizeof text, "{\"type\":\"ADDED\",\"object\":%s}{}", object);
    snprintf(wanted, sizeof wanted, "item {\"type\":\"ADDED\",\"object\":%s} | %s\nitem {} | \n", cut, aside);
    expect(text, wanted);
}
END_TEST

START_TEST(values_of_any_type_can_be_dropped_or_put_aside) {
    expect("{\"metadata\":{\"managedFields\":\"text\"},\"spec\":{\"template\":\"t\"}}",
            "item {\"metadata\":{\"managedFields\":null},\"spec\":{\"template\":null}} | \"t\"\n");
    expect("{\"metadata\":{\"managedFields\":true},\"spec\":{\"template\":-1.5e3}}",
            "item {\"metadata\":{\"managedFields\":null},\"spec\":{\"template\":null}} | -1.5e3\n");
    expect("{\"metadata\":{\"managedFields\":[]},\"spec\":{\"template\":[]}}",
            "item {\"metadata\":{\"managedFields\":null},\"spec\":{\"template\":null}} | []\n");
}
END_TEST

START_TEST(the_same_names_elsewhere_are_left_alone) {
    static const char *const kept[] = {"{\"managedFields\":[1],\"template\":{}}", "{\"spec\":{\"managedFields\":[1]}}",
            "{\"metadata\":{\"template\":{}}}", "{\"spec\":{\"spec\":{\"template\":1}}}",
            "{\"status\":{\"metadata\":{\"managedFields\":[1]}}}",
            "{\"spec\":{\"jobTemplate\":{\"spec\":{\"template\":1}}}}", "{\"spec\":[{\"template\":1}]}",
            "{\"spec\":{\"templatex\":1,\"templat\":2,\"\":3}}", "{\"object\":[{\"spec\":{\"template\":1}}]}",
            "{\"a\":{\"items\":[1]}}"};
    for (size_t i = 0; i < COUNT(kept); i++) {
        char wanted[200];
        snprintf(wanted, sizeof wanted, "item %s | \n", kept[i]);
        expect(kept[i], wanted);
    }
}
END_TEST

START_TEST(an_item_never_gets_the_template_of_another) {
    expect("{\"spec\":{\"template\":{\"x\":1}},\"items\":[{\"a\":1},2,\"three\",{\"spec\":{\"template\":4}},{}]}",
            "item {\"a\":1} | \nitem 2 | \nitem \"three\" | \nitem {\"spec\":{\"template\":null}} | 4\nitem {} | \n"
            "envelope {\"spec\":{\"template\":null},\"items\":[]}\n");
    expect("{\"spec\":{\"template\":1}}{\"spec\":{}}",
            "item {\"spec\":{\"template\":null}} | 1\nitem {\"spec\":{}} | \n");
    /* After a list that ended with one. */
    expect("{\"items\":[],\"spec\":{\"template\":1}}{\"a\":2}",
            "envelope {\"items\":[],\"spec\":{\"template\":null}}\nitem {\"a\":2} | \n");
}
END_TEST

START_TEST(strings_may_hold_anything_that_looks_like_structure) {
    expect("{\"a\":\"{[\\\"]}\\\\\",\"b\\\"}\":\"\\u0022\"}",
            "item {\"a\":\"{[\\\"]}\\\\\",\"b\\\"}\":\"\\u0022\"} | \n");
}
END_TEST

START_TEST(the_same_bytes_give_the_same_items_however_they_are_cut) {
    static const char text[] = "{\"kind\":\"List\",\"items\":[{\"metadata\":{\"name\":\"j\\u00e4\xc3\xa4\","
                               "\"managedFields\":[{\"a\":\"\\\\\"}]},"
                               "\"spec\":{\"template\":{\"x\":[1,2.5e-7,true,false,null,\"s\"]},\"completions\":10}},{"
                               "\"spec\":{\"template\":12}},"
                               "null],\"metadata\":{\"continue\":\"abc\",\"managedFields\":\"x\"}} "
                               "{\"type\":\"DELETED\",\"object\":{\"spec\":"
                               "{\"template\":\"a\\\"b\"}}}\n{\"items\":null}";
    struct seen whole = {.text = STRBUF_INIT(100000)}, pieces = {.text = STRBUF_INIT(100000)};
    struct error err = {0};
    ck_assert_msg(frame(text, &whole, &err) == 0, "%s", err.text);
    ck_assert_int_eq(whole.items, 4);
    ck_assert_int_eq(whole.envelopes, 2);
    random_seed(3);
    for (size_t piece = 1; piece < sizeof text; piece++) {
        ck_assert_int_eq(frame_pieces(text, sizeof text - 1, piece, &pieces, &err), 0);
        ck_assert_str_eq(strbuf_text(&pieces.text), strbuf_text(&whole.text));
    }
    for (int round = 0; round < 200; round++) {
        ck_assert_int_eq(frame_pieces(text, sizeof text - 1, 0, &pieces, &err), 0);
        ck_assert_str_eq(strbuf_text(&pieces.text), strbuf_text(&whole.text));
    }
    strbuf_finish(&whole.text);
    strbuf_finish(&pieces.text);
}
END_TEST

START_TEST(what_is_not_json_is_refused_with_the_place) {
    static const struct {
        const char *text, *why;
    } cases[] = {{"<html>", "HTML"}, {"  <html>", "HTML"}, {"hello", "if it is YAML, use -o json"},
            {"[1]", "'[' at byte 1, where an object should be"}, {"\"x\"", "'\"' at byte 1, where an object"},
            {"\x7f"
             "ELF",
                    "'0x7f' at byte 1"},
            {"\x1f\x8b", "'0x1f' at byte 1"}, {"\xef\xbb\xbf{}", "'0xef' at byte 1"}, {"}", "'}' at byte 1"},
            {"{]", "']' at byte 2, where a key or } should be"},
            {"{\"a\":[}", "'}' at byte 7, where a value or ] should be"}, {"{,", "',' at byte 2"},
            {"{\"a\"}", "'}' at byte 5, where ':' should be"}, {"{\"a\":}", "'}' at byte 6, where a value should be"},
            {"{\"a\":1,}", "'}' at byte 8, where a key should be"},
            {"{\"a\":[1,]}", "']' at byte 9, where a value should be"},
            {"{\"a\" 1}", "'1' at byte 6, where ':' should be"}, {"{\"a\":1 2}", "'2' at byte 8, where ',' or the end"},
            {"{1:2}", "'1' at byte 2"}, {"{\"a\":1 \"b\"}", "'\"' at byte 8"}, {"{\"a\":1}}", "'}' at byte 8"},
            {"{\"a\"::1}", "':' at byte 6"}, {"{\"a\":'x'}", "''' at byte 6"}, {"{\"a\":1,,}", "',' at byte 8"},
            {"{{}}", "'{' at byte 2"}, {"{\"a\":{}[]}", "'[' at byte 8"}, {"{} x", "'x' at byte 4, where an object"},
            {"{\"a\":1]", "']' at byte 7"}, {"{\"items\":[{}}", "'}' at byte 13"}, {"{\"a\":<x>}", "'<' at byte 6"}};
    struct seen seen = {.text = STRBUF_INIT(10000)};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct error err = {0};
        ck_assert_msg(frame(cases[i].text, &seen, &err) == -1, "'%s' was taken", cases[i].text);
        ck_assert_msg(strstr(err.text, cases[i].why) != NULL, "'%s': %s", cases[i].text, err.text);
        ck_assert_int_eq(err.kind, ERROR_FORMAT);
    }
    strbuf_finish(&seen.text);
}
END_TEST

START_TEST(a_nul_byte_is_no_end_of_the_data) {
    struct seen seen = {.text = STRBUF_INIT(10000)};
    struct error err = {0};
    ck_assert_int_eq(frame_pieces("{}\0{}", 5, 5, &seen, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "'0x00' at byte 3"));
    ck_assert_int_eq(seen.items, 1);
    strbuf_finish(&seen.text);
}
END_TEST

START_TEST(a_document_cut_off_anywhere_is_an_error_never_an_item) {
    static const char text[] = "{\"items\":[{\"a\":\"b\\n\"},12],\"metadata\":{\"continue\":\"x\"}}";
    struct seen seen = {.text = STRBUF_INIT(10000)};
    for (size_t len = 1; len < sizeof text - 1; len++) {
        struct error err = {0};
        ck_assert_msg(frame_pieces(text, len, len, &seen, &err) == -1, "%zu bytes were taken", len);
        ck_assert_msg(strstr(err.text, "ends in the middle") != NULL, "%zu: %s", len, err.text);
        ck_assert_int_eq(seen.envelopes, 0);
    }
    ck_assert_int_eq(frame_pieces(text, sizeof text - 1, 1, &seen, NULL), 0);
    ck_assert_int_eq(seen.envelopes, 1);
    strbuf_finish(&seen.text);
}
END_TEST

START_TEST(the_handler_can_stop_everything) {
    struct seen seen = {.text = STRBUF_INIT(10000), .stop_at = 2};
    ck_assert_int_eq(frame("{\"items\":[1,2,3]}", &seen, NULL), STOP);
    ck_assert_int_eq(seen.items, 2);
    ck_assert_int_eq(frame("{}{}{}", &seen, NULL), STOP);
    ck_assert_int_eq(seen.items, 2);
    /* A number ends only with the byte after it. */
    ck_assert_int_eq(frame("{\"items\":[{},2]}", &seen, NULL), STOP);
    ck_assert_int_eq(seen.envelopes, 0);
    strbuf_finish(&seen.text);
}
END_TEST

START_TEST(documents_are_counted) {
    struct seen seen = {.text = STRBUF_INIT(10000)};
    const struct framer_handler handler = {.arg = &seen, .item = on_item, .envelope = on_envelope};
    struct framer *framer = framer_create(&handler, NULL);
    ck_assert_uint_eq(framer_documents(framer), 0);
    ck_assert_int_eq(framer_push(framer, "{}{\"items\":[1]}{", 16, NULL), 0);
    ck_assert_uint_eq(framer_documents(framer), 2);
    framer_destroy(framer);
    framer_destroy(NULL);
    strbuf_finish(&seen.text);
}
END_TEST

START_TEST(nesting_is_limited) {
    struct seen seen = {.text = STRBUF_INIT(100000)};
    struct error err = {0};
    for (int deep = FRAMER_DEPTH_MAX; deep <= FRAMER_DEPTH_MAX + 1; deep++) {
        struct strbuf text = STRBUF_INIT(100000);
        strbuf_add_text(&text, "{\"a\":");
        for (int i = 1; i < deep; i++)
            strbuf_add_char(&text, '[');
        for (int i = 1; i < deep; i++)
            strbuf_add_char(&text, ']');
        strbuf_add_char(&text, '}');
        int result = frame(strbuf_text(&text), &seen, &err);
        ck_assert_int_eq(result, deep > FRAMER_DEPTH_MAX ? -1 : 0);
        strbuf_finish(&text);
    }
    ck_assert_int_eq(err.kind, ERROR_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.text, "deeper than 512 at byte 517"));
    strbuf_finish(&seen.text);
}
END_TEST

/* {"spec":{"template":"xxx"},"items":[...]} and the like: n bytes of x between two texts. */
static char *padded(const char *before, size_t n, const char *after) {
    char *text = malloc(strlen(before) + n + strlen(after) + 1);
    ck_assert_ptr_nonnull(text);
    size_t len = strlen(before);
    memcpy(text, before, len);
    memset(text + len, 'x', n);
    memcpy(text + len + n, after, strlen(after) + 1);
    return text;
}

START_TEST(an_item_that_is_too_large_is_an_error_not_a_piece_of_it) {
    static const struct {
        const char *before, *after;
    } cases[] = {{"{\"items\":[{\"a\":\"", "\"}]}"}, {"{\"a\":\"", "\"}"}, {"{\"items\":[],\"a\":\"", "\"}"}};
    struct seen seen = {.text = STRBUF_INIT(100000)};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct error err = {0};
        char *text = padded(cases[i].before, FRAMER_ITEM_MAX, cases[i].after);
        ck_assert_int_eq(frame(text, &seen, &err), -1);
        ck_assert_int_eq(err.kind, ERROR_LIMIT);
        ck_assert_ptr_nonnull(strstr(err.text, "larger than 4194304 bytes"));
        ck_assert_int_eq(seen.items + seen.envelopes, 0);
        free(text);
    }
    strbuf_finish(&seen.text);
}
END_TEST

START_TEST(large_managed_fields_do_not_count_and_a_large_template_is_given_as_absent) {
    struct seen seen = {.text = STRBUF_INIT(10u << 20)};
    char *text = padded("{\"metadata\":{\"managedFields\":\"", FRAMER_ITEM_MAX + 10, "\"}}");
    ck_assert_int_eq(frame(text, &seen, NULL), 0);
    ck_assert_str_eq(strbuf_text(&seen.text), "item {\"metadata\":{\"managedFields\":null}} | \n");
    free(text);
    text = padded("{\"spec\":{\"template\":\"", FRAMER_ASIDE_MAX, "\"}}{\"spec\":{\"template\":1}}");
    ck_assert_int_eq(frame(text, &seen, NULL), 0);
    ck_assert_str_eq(strbuf_text(&seen.text),
            "item {\"spec\":{\"template\":null}} | \nitem {\"spec\":{\"template\":null}} | 1\n");
    free(text);
    seen.longest_aside = 0;
    text = padded("{\"spec\":{\"template\":\"", FRAMER_ASIDE_MAX - 2, "\"}}");
    ck_assert_int_eq(frame(text, &seen, NULL), 0);
    ck_assert_uint_eq(seen.longest_aside, FRAMER_ASIDE_MAX);
    free(text);
    strbuf_finish(&seen.text);
}
END_TEST

/* A random value; depth limits it. */
static json_t *random_json(int depth) {
    static const char *const keys[] = {
            "metadata", "spec", "template", "managedFields", "items", "object", "a", "b\"\\\n"};
    switch (random_below(depth > 0 ? 7 : 5)) {
    case 0:
        return json_integer((json_int_t)random_below(1000) - 500);
    case 1:
        return json_string(keys[random_below(COUNT(keys))]);
    case 2:
        return json_null();
    case 3:
        return json_boolean(random_below(2));
    case 4:
        return json_real((double)random_below(1000) / 7);
    case 5: {
        json_t *array = json_array();
        for (uint64_t n = random_below(4); n > 0; n--)
            json_array_append_new(array, random_json(depth - 1));
        return array;
    }
    default: {
        json_t *object = json_object();
        for (uint64_t n = random_below(5); n > 0; n--)
            json_object_set_new(object, keys[random_below(COUNT(keys))], random_json(depth - 1));
        return object;
    }
    }
}

/* The framer's work done on a whole document. */
static void drop(json_t *object) {
    json_t *metadata = json_object_get(object, "metadata"), *spec = json_object_get(object, "spec");
    if (json_object_get(metadata, "managedFields"))
        json_object_set_new(metadata, "managedFields", json_null());
    if (json_object_get(spec, "template"))
        json_object_set_new(spec, "template", json_null());
}

struct parsed {
    json_t *items, *envelope;
};

static int parse_item(void *arg, const char *json, size_t len, const char *aside, size_t aside_len) {
    struct parsed *parsed = arg;
    json_error_t why;
    json_t *item = json_loadb(json, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    ck_assert_msg(item != NULL, "%s: %s", json, why.text);
    json_array_append_new(parsed->items, item);
    if (aside_len) {
        json_t *value = json_loadb(aside, aside_len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        ck_assert_ptr_nonnull(value);
        json_decref(value);
    }
    return 0;
}

static int parse_envelope(void *arg, const char *json, size_t len) {
    struct parsed *parsed = arg;
    ck_assert_ptr_null(parsed->envelope);
    parsed->envelope = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(parsed->envelope);
    return 0;
}

START_TEST(random_documents_are_cut_as_a_whole_parser_would_cut_them) {
    random_seed(99);
    for (int round = 0; round < 3000; round++) {
        json_t *document = json_object();
        json_t *items = json_array();
        for (uint64_t n = random_below(4); n > 0; n--)
            json_array_append_new(items, random_json(4));
        bool is_list = random_below(2);
        if (random_below(2))
            json_object_set_new(document, "spec", random_json(3));
        json_object_set_new(document, is_list ? "items" : "values", items);
        if (random_below(2))
            json_object_set_new(document, "metadata", random_json(3));
        if (random_below(2))
            json_object_set_new(document, "object", random_json(4));
        char *text = json_dumps(document, random_below(2) ? JSON_COMPACT : JSON_INDENT(2));
        struct parsed parsed = {.items = json_array()};
        const struct framer_handler handler = {.arg = &parsed, .item = parse_item, .envelope = parse_envelope};
        struct framer *framer = framer_create(&handler, NULL);
        struct error err = {0};
        ck_assert_msg(framer_push(framer, text, strlen(text), &err) == 0, "%s: %s", text, err.text);
        ck_assert_int_eq(framer_end(framer, &err), 0);
        framer_destroy(framer);
        drop(document);
        drop(json_object_get(document, "object"));
        if (is_list) {
            size_t i;
            json_t *item;
            json_array_foreach (items, i, item)
                drop(item);
            ck_assert_msg(json_equal(parsed.items, items), "%s", text);
            json_object_set_new(document, "items", json_array());
            ck_assert_msg(json_equal(parsed.envelope, document), "%s", text);
        } else {
            ck_assert_ptr_null(parsed.envelope);
            ck_assert_uint_eq(json_array_size(parsed.items), 1);
            ck_assert_msg(json_equal(json_array_get(parsed.items, 0), document), "%s", text);
        }
        json_decref(parsed.items);
        json_decref(parsed.envelope);
        json_decref(document);
        free(text);
    }
}
END_TEST

Suite *suite_framer(void) {
    Suite *suite = suite_create("framer");
    TCase *tcase = tcase_create("framer");
    tcase_set_timeout(tcase, 60);
    static const TTest *const *const all[] = {&a_list_gives_its_items_and_then_its_envelope,
            &a_list_that_says_null_is_an_empty_list, &watch_frames_and_objects_are_items_one_after_the_other,
            &managed_fields_are_dropped_and_the_template_is_put_aside, &values_of_any_type_can_be_dropped_or_put_aside,
            &the_same_names_elsewhere_are_left_alone, &an_item_never_gets_the_template_of_another,
            &strings_may_hold_anything_that_looks_like_structure,
            &the_same_bytes_give_the_same_items_however_they_are_cut, &what_is_not_json_is_refused_with_the_place,
            &a_nul_byte_is_no_end_of_the_data, &a_document_cut_off_anywhere_is_an_error_never_an_item,
            &the_handler_can_stop_everything, &documents_are_counted, &nesting_is_limited,
            &an_item_that_is_too_large_is_an_error_not_a_piece_of_it,
            &large_managed_fields_do_not_count_and_a_large_template_is_given_as_absent,
            &random_documents_are_cut_as_a_whole_parser_would_cut_them};
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}
