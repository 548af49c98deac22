/* The wire format as such, with tables and bytes of the tests' own. */
#include "suites.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/protobuf.h"
#include "base/strbuf.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- a message of the tests' own ---- */

enum { ID_NUMBER = 1, ID_TEXT, ID_MANY, ID_INNER, ID_DEEPER, ID_UNREAD, ID_ONCE };

static const struct protobuf_field inner_fields[] = {
        {.number = 1, .kind = PROTOBUF_NUMBER, .id = ID_NUMBER}, {.number = 2, .kind = PROTOBUF_TEXT, .id = ID_TEXT}};
static const struct protobuf_message inner = {.fields = inner_fields, .n_fields = COUNT(inner_fields)};
static const struct protobuf_message with_magic = {
        .fields = inner_fields, .n_fields = COUNT(inner_fields), .magic = "m\0x", .magic_len = 3};
static const struct protobuf_message once = {.fields = inner_fields, .n_fields = COUNT(inner_fields), .once = true};
static const struct protobuf_message nested;
static const struct protobuf_field nested_fields[] = {{.number = 1, .kind = PROTOBUF_NUMBER, .id = ID_NUMBER},
        {.number = 2, .kind = PROTOBUF_TEXT, .id = ID_TEXT},
        {.number = 3, .kind = PROTOBUF_TEXT, .id = ID_MANY, .repeated = true},
        {.number = 4, .kind = PROTOBUF_MESSAGE, .id = ID_INNER, .repeated = true, .message = &inner},
        {.number = 5, .kind = PROTOBUF_MESSAGE, .id = ID_DEEPER, .message = &nested},
        {.number = 6, .kind = PROTOBUF_MESSAGE, .id = ID_UNREAD},
        {.number = 9, .kind = PROTOBUF_MESSAGE, .id = ID_ONCE, .repeated = true, .message = &once},
        {.number = 1000, .kind = PROTOBUF_MESSAGE, .id = ID_INNER, .message = &with_magic}};
static const struct protobuf_message nested = {.fields = nested_fields, .n_fields = COUNT(nested_fields)};

/* ---- what is told of it, as text ---- */

static int told_number(void *arg, unsigned id, uint64_t value, struct error *err) {
    (void)err;
    strbuf_add_format(arg, "%u=%lld ", id, (long long)value);
    return 0;
}

static int told_text(void *arg, unsigned id, const char *text, size_t len, struct error *err) {
    strbuf_add_format(arg, "%u='", id);
    strbuf_add(arg, text, len);
    strbuf_add_text(arg, "' ");
    return len == 4 && memcmp(text, "stop", 4) == 0 ? error_set(err, ERROR_IO, "stopped") - 6 : 0;
}

static int told_open(void *arg, unsigned id, const struct protobuf_message **message, struct error *err) {
    (void)err;
    strbuf_add_format(arg, "%u%s ", id, *message ? "{" : "-");
    return 0;
}

static int told_close(void *arg, unsigned id, struct error *err) {
    (void)err;
    strbuf_add_format(arg, "}%u ", id);
    return 0;
}

static int told_twice(void *arg, unsigned id, struct error *err) {
    (void)err;
    strbuf_add_format(arg, "twice:%u ", id);
    return 0;
}

struct told {
    struct strbuf text;
    int result;
    struct error err;
};

/* In pieces of so many bytes, after a first one of another size. */
static void read_in(struct told *told, const char *data, size_t len, uint64_t length, size_t first, size_t piece) {
    *told = (struct told){.text = STRBUF_INIT(10u << 20)};
    const struct protobuf_visitor visitor = {.arg = &told->text,
            .number = told_number,
            .text = told_text,
            .open = told_open,
            .close = told_close,
            .twice = told_twice};
    struct protobuf_reader *reader = protobuf_create(&visitor, NULL);
    protobuf_begin(reader, &nested, length);
    size_t n = first;
    for (size_t at = 0; told->result == 0; n = piece) {
        /* A copy of its own, so that whoever reads on is seen. */
        n = n < len - at ? n : len - at;
        char *copy = malloc(n + 1);
        memcpy(copy, data + at, n);
        told->result = protobuf_push(reader, copy, n, &told->err);
        free(copy);
        at += n;
        if (at == len)
            break;
    }
    if (told->result == 0)
        told->result = protobuf_end(reader, &told->err);
    protobuf_destroy(reader);
}

/* Whatever the cut, the same is told and the same is wrong. */
static void read_all(struct told *told, const char *data, size_t len, uint64_t length) {
    read_in(told, data, len, length, len, 1);
    for (size_t cut = 0; cut <= len; cut++) {
        struct told other;
        read_in(&other, data, len, length, cut, cut % 3 ? len : 1);
        ck_assert_int_eq(other.result, told->result);
        ck_assert_str_eq(strbuf_text(&other.text), strbuf_text(&told->text));
        ck_assert_str_eq(other.err.text, told->err.text);
        strbuf_finish(&other.text);
    }
}

#define BYTES(text) (text), sizeof(text) - 1

static void expect_told(const char *data, size_t len, const char *wanted) {
    struct told told;
    read_all(&told, data, len, PROTOBUF_TO_THE_END);
    ck_assert_msg(told.result == 0, "%s", told.err.text);
    ck_assert_str_eq(strbuf_text(&told.text), wanted);
    strbuf_finish(&told.text);
    /* The same with its length given. */
    read_all(&told, data, len, len);
    ck_assert_msg(told.result == 0, "%s", told.err.text);
    ck_assert_str_eq(strbuf_text(&told.text), wanted);
    strbuf_finish(&told.text);
}

START_TEST(what_is_wanted_is_told_and_the_rest_skipped_however_it_is_cut) {
    expect_told("", 0, "");
    expect_told(BYTES("\x08\x05"), "1=5 ");
    expect_told(BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "1=-1 ");
    expect_told(BYTES("\x08\x80\x00"), "1=0 "); /* longer than it need be, which writers may */
    expect_told(BYTES("\x12\x03"
                      "abc"),
            "2='abc' ");
    expect_told(BYTES("\x12\x00\x1a\x00\x1a\x01x"), "2='' 3='' 3='x' ");
    expect_told(BYTES("\x22\x00\x22\x02\x08\x01\x22\x05\x12\x03"
                      "abc"),
            "4{ }4 4{ 1=1 }4 4{ 2='abc' }4 ");
    expect_told(BYTES("\x2a\x06\x2a\x04\x22\x02\x08\x09"), "5{ 5{ 4{ 1=9 }4 }5 }5 ");
    /* Not in the table: a number, eight bytes, a text, four bytes, a field of a large number. */
    expect_told(BYTES("\x38\x05\x39"
                      "12345678"
                      "\x42\x03xyz\x45"
                      "1234"
                      "\xca\x3e\x02zz"
                      "\x08\x01"),
            "1=1 ");
    /* The visitor does not want it. */
    expect_told(BYTES("\x32\x03\x08\x01\x08\x08\x02"), "6- 1=2 ");
    /* Field 1000, and what stands before its first. */
    expect_told(BYTES("\xc2\x3e\x05m\0x\x08\x04"), "4{ 1=4 }4 ");
}
END_TEST

START_TEST(once_all_that_is_wanted_of_a_message_has_come_the_rest_is_not_looked_at) {
    expect_told(BYTES("\x4a\x08\x08\x01\x12\x01x\xff\xff\xff\x08\x02"), "7{ 1=1 2='x' }7 1=2 ");
    expect_told(BYTES("\x4a\x05\x12\x00\x08\x01\x00\x4a\x02\x08\x01"), "7{ 2='' 1=1 }7 7{ 1=1 }7 ");
}
END_TEST

START_TEST(a_field_that_is_there_again_is_told_so_unless_it_may_be) {
    expect_told(BYTES("\x08\x01\x1a\x00\x08\x02\x1a\x00"), "1=1 3='' twice:1 1=2 3='' ");
    /* Of each message by itself. */
    expect_told(BYTES("\x22\x02\x08\x01\x22\x02\x08\x01"), "4{ 1=1 }4 4{ 1=1 }4 ");
    expect_told(BYTES("\x2a\x00\x2a\x00"), "5{ }5 twice:5 5{ }5 ");
}
END_TEST

START_TEST(what_lies_is_an_error_wherever_it_is_cut) {
    static const struct {
        const char *data;
        size_t len;
        const char *why;
    } cases[] = {
            {BYTES("\x12\x05"
                   "abc"),
                    "the protobuf ends in the middle, after 5 bytes"},
            {BYTES("\x12"), "ends in the middle, after 1"},
            {BYTES("\x92"), "ends in the middle, after 1"},
            {BYTES("\x08\xff"), "ends in the middle, after 2"},
            {BYTES("\x2a\x05\x08\x01"), "ends in the middle, after 4"},
            {BYTES("\x42\x05xx"), "ends in the middle, after 4"},
            {BYTES("\x39\x01"), "ends in the middle, after 2"},
            /* Past the end of the message around it, by one byte and by a lot. */
            {BYTES("\x2a\x04\x12\x03"
                   "abc"),
                    "a length goes past the end of its message at byte 4"},
            {BYTES("\x2a\x03\x42\x02zzzz"), "a length goes past the end of its message at byte 4"},
            {BYTES("\x2a\x07\x12\xff\xff\xff\xff\x0f\x01"), "a length goes past the end of its message"},
            {BYTES("\x2a\x02\x08\x80\x01"), "a number goes past the end of its message at byte 4"},
            {BYTES("\x2a\x01\x88\x01"), "a number goes past the end of its message at byte 3"},
            {BYTES("\x2a\x02\x39\x01\x01\x01\x01\x01\x01\x01"), "a number goes past the end of its message at byte 3"},
            {BYTES("\x2a\x04\x45\x01\x01\x01\x01"), "a number goes past the end of its message at byte 3"},
            {BYTES("\x2a\x04\x2a\x03\x08\x01\x08\x01"), "a length goes past the end of its message at byte 4"},
            /* Negative, and larger than anything. */
            {BYTES("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "a length goes past the end"},
            {BYTES("\x42\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "a length goes past the end"},
            {BYTES("\x42\x80\x80\x80\x80\x80\x80\x80\x80\x01"), "a length goes past the end"},
            {BYTES("\x12\x81\x80\x80\x02"
                   "abc"),
                    "a text before byte 5 is larger than 4194304 bytes"},
            /* Eleven bytes, and a tenth that has more than the 64th bit. */
            {BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "a number of more than 64 bits at byte 11"},
            {BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), "a number of more than 64 bits at byte 11"},
            {BYTES("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), "a number of more than 64 bits at byte 10"},
            {BYTES("\x00\x01"), "a field whose number is none at byte 1"},
            {BYTES("\x02\x00"), "a field whose number is none at byte 1"},
            {BYTES("\x80\x80\x80\x80\x10\x00"), "a field whose number is none"},
            {BYTES("\x0b\x0c"), "another type"}, /* a group, of a field that is wanted */
            {BYTES("\x3b\x3c"), "a group at byte 1"},
            {BYTES("\x3c"), "a group at byte 1"},
            {BYTES("\x3e\x00"), "a wire type that does not exist at byte 1"},
            {BYTES("\x3f\x00"), "a wire type that does not exist at byte 1"},
            {BYTES("\x0a\x01x"), "a field of another type than it should have at byte 1"},
            {BYTES("\x10\x01"), "a field of another type than it should have at byte 1"},
            {BYTES("\x25"
                   "1234"),
                    "a field of another type than it should have at byte 1"},
            {BYTES("\xc2\x3e\x02m\0"), "a message that lacks its beginning"},
            {BYTES("\xc2\x3e\x03m\0y"), "a message that begins otherwise than it should"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct told told;
        read_all(&told, cases[i].data, cases[i].len, PROTOBUF_TO_THE_END);
        ck_assert_msg(told.result == -1, "case %zu was taken", i);
        ck_assert_msg(strstr(told.err.text, cases[i].why) != NULL, "case %zu: %s", i, told.err.text);
        ck_assert_int_eq(told.err.kind, strstr(cases[i].why, "larger") ? ERROR_LIMIT : ERROR_FORMAT);
        strbuf_finish(&told.text);
    }
}
END_TEST

START_TEST(a_message_of_known_length_ends_there) {
    struct told told;
    read_all(&told, BYTES("\x08\x01\x08"), 2);
    ck_assert_str_eq(told.err.text, "not protobuf: something follows its end at byte 2");
    strbuf_finish(&told.text);
    read_all(&told, BYTES("\x08\x01"), 3);
    ck_assert_str_eq(told.err.text, "the protobuf ends in the middle, after 2 bytes");
    strbuf_finish(&told.text);
    read_all(&told, BYTES(""), 0);
    ck_assert_int_eq(told.result, 0);
    strbuf_finish(&told.text);
}
END_TEST

/* Messages in each other, n of them, the innermost empty. Returns its length. */
static size_t nest(char *data, int n) {
    size_t len = 0;
    char *end = data + 10000, *at = end;
    for (int i = 0; i < n; i++) {
        *--at = (char)(len < 128 ? len : len >> 7);
        if (len >= 128)
            *--at = (char)(len | 128);
        *--at = 0x2a;
        len = (size_t)(end - at);
    }
    memmove(data, at, len);
    return len;
}

START_TEST(messages_may_be_nested_64_deep_and_no_deeper) {
    char *data = malloc(10000);
    struct told told;
    size_t len = nest(data, PROTOBUF_DEPTH_MAX - 1); /* and the one around them */
    read_in(&told, data, len, PROTOBUF_TO_THE_END, len, 1);
    ck_assert_msg(told.result == 0, "%s", told.err.text);
    strbuf_finish(&told.text);
    len = nest(data, PROTOBUF_DEPTH_MAX);
    read_in(&told, data, len, PROTOBUF_TO_THE_END, 1, 1);
    ck_assert_int_eq(told.err.kind, ERROR_LIMIT);
    ck_assert_ptr_nonnull(strstr(told.err.text, "nested deeper than 64"));
    strbuf_finish(&told.text);
    free(data);
}
END_TEST

START_TEST(what_a_callback_returns_ends_it) {
    struct told told;
    read_all(&told, BYTES("\x08\x01\x12\x04stop\x08\x02"), PROTOBUF_TO_THE_END);
    ck_assert_int_eq(told.result, -7);
    ck_assert_str_eq(strbuf_text(&told.text), "1=1 2='stop' ");
    ck_assert_str_eq(told.err.text, "stopped");
    strbuf_finish(&told.text);
}
END_TEST

START_TEST(a_length_takes_no_memory_before_its_bytes_come) {
    struct strbuf text = STRBUF_INIT(10u << 20);
    const struct protobuf_visitor visitor = {.arg = &text,
            .number = told_number,
            .text = told_text,
            .open = told_open,
            .close = told_close,
            .twice = told_twice};
    struct protobuf_reader *reader = protobuf_create(&visitor, NULL);
    protobuf_begin(reader, &nested, PROTOBUF_TO_THE_END);
    struct error err = {0};
    size_t before = mallinfo2().uordblks;
    /* A gigabyte that is skipped, in it or behind it nothing. */
    ck_assert_int_eq(protobuf_push(reader, BYTES("\x42\x80\x80\x80\x80\x04"), &err), 0);
    protobuf_begin(reader, &nested, PROTOBUF_TO_THE_END);
    /* Four megabytes of text, of which one byte is there. */
    ck_assert_int_eq(protobuf_push(reader, BYTES("\x12\x80\x80\x80\x02x"), &err), 0);
    size_t after = mallinfo2().uordblks;
    ck_assert_uint_le(after - (after < before ? after : before), 4096);
    protobuf_destroy(reader);
    strbuf_finish(&text);
}
END_TEST

Suite *suite_protobuf(void) {
    Suite *suite = suite_create("protobuf");
    TCase *tcase = tcase_create("protobuf");
    static const TTest *const *const all[] = {&what_is_wanted_is_told_and_the_rest_skipped_however_it_is_cut,
            &once_all_that_is_wanted_of_a_message_has_come_the_rest_is_not_looked_at,
            &a_field_that_is_there_again_is_told_so_unless_it_may_be, &what_lies_is_an_error_wherever_it_is_cut,
            &a_message_of_known_length_ends_there, &messages_may_be_nested_64_deep_and_no_deeper,
            &what_a_callback_returns_ends_it, &a_length_takes_no_memory_before_its_bytes_come};
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}
