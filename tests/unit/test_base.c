#include "suites.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/duration.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "base/table.h"
#include "base/text.h"
#include "base/timestamp.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define REPEAT_MAX 8192

/* A text of n times c. Static: good until the next call. */
static const char *repeat(char c, size_t n) {
    static char text[REPEAT_MAX + 1];
    ck_assert_uint_le(n, REPEAT_MAX);
    memset(text, c, n);
    text[n] = '\0';
    return text;
}

/* ---- error ---- */

START_TEST(an_error_gathers_context_from_the_inside_out) {
    struct error err = {0};
    ck_assert_int_eq(error_set(&err, ERROR_IO, "no such file: %s", "x.db"), -1);
    ck_assert_int_eq(error_context(&err, "store %d", 7), -1);
    ck_assert_str_eq(err.text, "store 7: no such file: x.db");
    ck_assert_int_eq(err.kind, ERROR_IO);
    ck_assert_int_eq(error_nomem(&err), -1);
    ck_assert_str_eq(err.text, "out of memory");
    ck_assert_int_eq(err.kind, ERROR_NOMEM);
}
END_TEST

START_TEST(numbers_are_written_as_printf_writes_them) {
    static const uint64_t numbers[] = {0, 1, 9, 10, 99, 100, 4294967296u, 9999999999999999999u, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char buf[TEXT_NUMBER_MAX], wanted[TEXT_NUMBER_MAX];
        snprintf(wanted, sizeof wanted, "%llu", (unsigned long long)numbers[i]);
        ck_assert_str_eq(text_from_number(numbers[i], buf), wanted);
    }
}
END_TEST

START_TEST(a_text_of_which_all_is_plain_is_cut_where_one_with_escapes_is) {
    struct strbuf buf = STRBUF_INIT(64);
    text_add_escaped(&buf, "abcdef", 6);
    text_add_escaped(&buf, "|abcdef", 4);
    text_add_escaped(&buf,
            "|a\n\xc3\xa4"
            "bc",
            4);
    text_add_escaped(&buf, "|", 0);
    ck_assert_str_eq(strbuf_text(&buf), "abcdef|abc...|a\\n\xc3\xa4......");
    strbuf_finish(&buf);
}
END_TEST

START_TEST(an_error_nobody_wants_is_no_crash) {
    ck_assert_int_eq(error_set(NULL, ERROR_IO, "x"), -1);
    ck_assert_int_eq(error_context(NULL, "x"), -1);
    ck_assert_int_eq(error_nomem(NULL), -1);
}
END_TEST

START_TEST(an_error_that_is_too_long_ends_in_three_dots) {
    struct error err = {0};
    error_set(&err, ERROR_FORMAT, "%s", repeat('x', ERROR_TEXT_MAX - 1));
    ck_assert_uint_eq(strlen(err.text), ERROR_TEXT_MAX - 1);
    ck_assert_ptr_null(strstr(err.text, "..."));
    error_set(&err, ERROR_FORMAT, "%s", repeat('x', ERROR_TEXT_MAX));
    ck_assert_uint_eq(strlen(err.text), ERROR_TEXT_MAX - 1);
    ck_assert_str_eq(err.text + ERROR_TEXT_MAX - 4, "...");
    error_set(&err, ERROR_FORMAT, "%s", repeat('x', ERROR_TEXT_MAX - 5));
    error_context(&err, "here");
    ck_assert_int_eq(strncmp(err.text, "here: xxx", 9), 0);
    ck_assert_str_eq(err.text + ERROR_TEXT_MAX - 4, "...");
    error_set(&err, ERROR_FORMAT, "gone");
    error_context(&err, "%s", repeat('y', ERROR_TEXT_MAX + 50));
    ck_assert_uint_eq(strlen(err.text), ERROR_TEXT_MAX - 1);
    ck_assert_int_eq(err.text[0], 'y');
}
END_TEST

/* ---- strbuf ---- */

START_TEST(a_buffer_grows_and_is_always_terminated) {
    struct strbuf buf = STRBUF_INIT(100000);
    ck_assert_str_eq(strbuf_text(&buf), "");
    strbuf_add_text(&buf, "ab");
    strbuf_add_char(&buf, 'c');
    strbuf_add_format(&buf, "-%d-%s", 5, "e");
    strbuf_add(&buf, "f\0g", 3);
    ck_assert_uint_eq(buf.len, 10);
    ck_assert_mem_eq(strbuf_text(&buf), "abc-5-ef\0g", 11);
    for (int i = 0; i < 5000; i++)
        strbuf_add_format(&buf, "%04d", i);
    ck_assert(!strbuf_failed(&buf));
    ck_assert_uint_eq(buf.len, 10 + 5000 * 4);
    ck_assert_str_eq(strbuf_text(&buf) + buf.len - 4, "4999");
    strbuf_clear(&buf);
    ck_assert_str_eq(strbuf_text(&buf), "");
    strbuf_finish(&buf);
}
END_TEST

START_TEST(a_buffer_never_passes_its_ceiling_and_says_so) {
    struct strbuf buf;
    strbuf_init(&buf, 8);
    strbuf_add_text(&buf, "12345678");
    ck_assert(!strbuf_failed(&buf));
    strbuf_add_char(&buf, '9');
    ck_assert(strbuf_failed(&buf));
    strbuf_clear(&buf);
    strbuf_add_text(&buf, "1234567");
    strbuf_add_format(&buf, "%s", "89");
    ck_assert(strbuf_failed(&buf));
    ck_assert_str_eq(strbuf_text(&buf), "1234567");
    /* The first failure sticks, even for what would fit. */
    strbuf_add_char(&buf, '8');
    ck_assert_str_eq(strbuf_text(&buf), "1234567");
    ck_assert_ptr_null(strbuf_take(&buf));
    strbuf_finish(&buf);
    ck_assert_uint_eq(buf.limit, 8);
}
END_TEST

START_TEST(a_buffer_hands_its_text_over) {
    struct strbuf buf = STRBUF_INIT(8);
    char *text = strbuf_take(&buf);
    ck_assert_str_eq(text, "");
    free(text);
    strbuf_add_text(&buf, "abc");
    text = strbuf_take(&buf);
    ck_assert_str_eq(text, "abc");
    ck_assert_ptr_null(buf.data);
    ck_assert_uint_eq(buf.len, 0);
    free(text);
}
END_TEST

/* ---- text ---- */

START_TEST(only_well_formed_utf8_counts_as_utf8) {
    static const char *const good[] = {"", "plain", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
            "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "a\xc3\xa4z"};
    static const char *const bad[] = {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2z", "\xe0\x80\x80",
            "\xe0\x9f\xbf", "\xe2\x82", "\xe2\x82z", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
            "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf0\x90\x80", "\xff", "ok\xfe"};
    for (size_t i = 0; i < COUNT(good); i++)
        ck_assert_msg(text_is_utf8(good[i], strlen(good[i])), "good %zu", i);
    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(!text_is_utf8(bad[i], strlen(bad[i])), "bad %zu", i);
    ck_assert(!text_is_utf8("\xc3\xa4", 1));
    ck_assert(text_is_utf8("a\0b", 3));
}
END_TEST

START_TEST(text_from_the_cluster_cannot_move_the_cursor) {
    static const struct {
        const char *text, *shown;
    } cases[] = {
            {"plain \xc3\xa4\xe2\x82\xac", "plain \xc3\xa4\xe2\x82\xac"},
            {"a\nb\tc\rd", "a\\nb\\tc\\rd"},
            {"\033[2J\x07", "\\x1b[2J\\x07"},
            {"\x7f", "\\x7f"},
            {"\xc2\x9b"
             "31m",
                    "\\u009b31m"}, /* C1: a one-character CSI */
            {"back\\slash", "back\\\\slash"},
            {"\xe2\x80\xae"
             "gnp.exe",
                    "\\u202egnp.exe"}, /* right-to-left override */
            {"\xe2\x81\xa6\xe2\x81\xa9", "\\u2066\\u2069"},
            {"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"},
            {"\xe2\x80\x8e\xe2\x80\x8f\xef\xbb\xbf", "\\u200e\\u200f\\ufeff"},
            {"\xff\xc0\xaf", "\\xff\\xc0\\xaf"},
            {"\xc3", "\\xc3"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct strbuf buf = STRBUF_INIT(1000);
        text_add_escaped(&buf, cases[i].text, TEXT_ALL);
        ck_assert_str_eq(strbuf_text(&buf), cases[i].shown);
        strbuf_finish(&buf);
    }
}
END_TEST

START_TEST(a_long_text_is_cut_between_characters) {
    struct strbuf buf = STRBUF_INIT(1000);
    text_add_escaped(&buf, "\xc3\xa4\xc3\xb6\xc3\xbc", 2);
    ck_assert_str_eq(strbuf_text(&buf), "\xc3\xa4\xc3\xb6...");
    strbuf_clear(&buf);
    text_add_escaped(&buf, "abc", 3);
    ck_assert_str_eq(strbuf_text(&buf), "abc");
    strbuf_clear(&buf);
    text_add_escaped(&buf, "abc", 0);
    ck_assert_str_eq(strbuf_text(&buf), "...");
    strbuf_finish(&buf);
}
END_TEST

START_TEST(width_counts_characters_not_bytes) {
    ck_assert_uint_eq(text_width(""), 0);
    ck_assert_uint_eq(text_width("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), 4);
}
END_TEST

START_TEST(csv_fields_are_quoted_where_rfc_4180_says) {
    static const struct {
        const char *text, *field;
    } cases[] = {{"", ""}, {"plain text", "plain text"}, {"a,b", "\"a,b\""}, {"say \"hi\"", "\"say \"\"hi\"\"\""},
            {"two\nlines", "\"two\nlines\""}, {"cr\r", "\"cr\r\""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct strbuf buf = STRBUF_INIT(1000);
        text_add_csv(&buf, cases[i].text);
        ck_assert_str_eq(strbuf_text(&buf), cases[i].field);
        strbuf_finish(&buf);
    }
}
END_TEST

START_TEST(json_strings_are_valid_json_whatever_is_in_them) {
    static const struct {
        const char *text, *json;
    } cases[] = {{"", "\"\""}, {"a\"b\\c", "\"a\\\"b\\\\c\""}, {"\n\t\r", "\"\\n\\t\\u000d\""},
            {"\x01\x7f\xe2\x80\xae", "\"\\u0001\\u007f\\u202e\""}, {"\xff\xc3\xa4", "\"\xef\xbf\xbd\xc3\xa4\""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct strbuf buf = STRBUF_INIT(1000);
        text_add_json(&buf, cases[i].text);
        ck_assert_str_eq(strbuf_text(&buf), cases[i].json);
        strbuf_finish(&buf);
    }
    for (unsigned c = 1; c < 256; c++) {
        char text[] = {'a', (char)c, 'z', '\0'};
        struct strbuf buf = STRBUF_INIT(1000);
        text_add_json(&buf, text);
        json_t *json = json_loads(strbuf_text(&buf), JSON_DECODE_ANY, NULL);
        ck_assert_msg(json_is_string(json), "byte %u: %s", c, strbuf_text(&buf));
        if (c < 0x80)
            ck_assert_str_eq(json_string_value(json), text);
        json_decref(json);
        strbuf_finish(&buf);
    }
}
END_TEST

START_TEST(json_for_programs_is_what_jansson_writes) {
    for (unsigned c = 0; c < 256; c++) {
        char text[] = {'a', (char)(c < 0x80 ? c : 0xc3), (char)(c < 0x80 ? c : 0xa4), 'z'};
        json_t *json = json_stringn(text, sizeof text);
        char *wanted = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
        struct strbuf buf = STRBUF_INIT(1000);
        text_add_json_exact(&buf, text, sizeof text);
        ck_assert_str_eq(strbuf_text(&buf), wanted);
        strbuf_finish(&buf);
        free(wanted);
        json_decref(json);
    }
}
END_TEST

START_TEST(a_list_is_words_between_commas_and_white_space) {
    const char *at = " a, bb\t,,\r\nccc ";
    size_t len;
    const char *word = text_list_next(&at, &len);
    ck_assert(word && len == 1 && memcmp(word, "a", 1) == 0);
    word = text_list_next(&at, &len);
    ck_assert(word && len == 2 && memcmp(word, "bb", 2) == 0);
    word = text_list_next(&at, &len);
    ck_assert(word && len == 3 && memcmp(word, "ccc", 3) == 0);
    ck_assert_ptr_null(text_list_next(&at, &len));
    ck_assert_ptr_null(text_list_next(&at, &len));
}
END_TEST

START_TEST(a_list_of_globs_matches_as_a_whole) {
    ck_assert(text_matches_list("*", "anything/at.all"));
    ck_assert(text_matches_list("app team-*", "team-a"));
    ck_assert(text_matches_list("batch.kubernetes.io/*", "batch.kubernetes.io/job-name"));
    ck_assert(!text_matches_list("app team-*", "my-team-a"));
    ck_assert(!text_matches_list("", "app"));
    ck_assert(!text_matches_list("app", "App"));
    /* A glob longer than any key can be matches nothing, and is no overflow. */
    ck_assert(!text_matches_list(repeat('*', 400), "app"));
    ck_assert(text_matches_list(repeat('*', 300), "app"));
}
END_TEST

/* ---- duration ---- */

START_TEST(durations_are_understood_as_people_write_them) {
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {{"0", 0}, {"0s", 0}, {"90s", 90000}, {"30m", 1800000}, {"12h", 43200000}, {"7d", 604800000},
            {"2w", 1209600000}, {"1d12h", 129600000}, {"1w1d1h1m1s", 694861000}, {"0d0s", 0}, {"007s", 7000},
            {"never", DURATION_NEVER}, {"36600d", DURATION_MAX_MS}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ms = -77;
        struct error err = {0};
        ck_assert_msg(duration_parse(cases[i].text, &ms, &err) == 0, "%s: %s", cases[i].text, err.text);
        ck_assert_msg(ms == cases[i].ms, "%s is %lld", cases[i].text, (long long)ms);
    }
}
END_TEST

START_TEST(a_duration_in_doubt_is_refused_with_the_reason) {
    static const struct {
        const char *text, *why;
    } cases[] = {{"", "empty"}, {"5", "no unit"}, {"00", "no unit"}, {"1h30", "no unit"}, {"-5s", "negative"},
            {"+5s", "not a duration"}, {"1h1h", "largest first"}, {"1m1h", "largest first"}, {"1.5h", "not a duration"},
            {" 5s", "not a duration"}, {"5s ", "not a duration"}, {"5 s", "not a duration"}, {"5S", "not a duration"},
            {"5ms", "not a duration"}, {"h", "not a duration"}, {"Never", "not a duration"},
            {"never ", "not a duration"}, {"36601d", "century"}, {"36600d1s", "century"},
            {"99999999999999999999999999s", "century"}, {"9223372036854775807w", "century"},
            {"24h\n", "not a duration"}, {"5y", "not a duration"}, {"\xff", "not a duration"}, {"1h-5m", "negative"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ms = -77;
        struct error err = {0};
        ck_assert_msg(duration_parse(cases[i].text, &ms, &err) == -1, "'%s' was taken", cases[i].text);
        ck_assert_msg(strstr(err.text, cases[i].why) != NULL, "'%s': %s", cases[i].text, err.text);
        ck_assert_int_eq(err.kind, ERROR_FORMAT);
        ck_assert_msg(ms == -77, "the result was touched for '%s'", cases[i].text);
    }
    int64_t ms;
    ck_assert_int_eq(duration_parse(repeat('9', 5000), &ms, NULL), -1);
}
END_TEST

START_TEST(durations_are_shown_by_their_two_largest_units) {
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "0s"}, {1, "1ms"}, {999, "999ms"}, {1000, "1s"}, {1999, "1s"}, {60000, "1m"}, {725000, "12m5s"},
            {3600000, "1h"}, {3605000, "1h"}, {86400000, "1d"}, {273600000, "3d4h"}, {1209600000, "14d"},
            {-5000, "-5s"}, {-250, "-250ms"}, {-90061000, "-1d1h"}, {DURATION_NEVER, "never"},
            {INT64_MIN, "-106751991167d7h"}, {INT64_MAX - 1, "106751991167d7h"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char buf[DURATION_TEXT_MAX];
        ck_assert_str_eq(duration_format(cases[i].ms, buf), cases[i].text);
        ck_assert_ptr_eq(duration_format(cases[i].ms, buf), buf);
    }
}
END_TEST

/* ---- timestamp ---- */

START_TEST(times_are_read_as_rfc_3339_says) {
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {{"1970-01-01T00:00:00Z", 0}, {"2026-01-02T03:04:05Z", 1767323045000},
            {"2026-01-02T03:04:05.678Z", 1767323045678}, {"2026-01-02T03:04:05.6Z", 1767323045600},
            {"2026-01-02T03:04:05.678999999999Z", 1767323045678}, {"2026-01-02t03:04:05z", 1767323045000},
            {"2026-01-02 03:04:05Z", 1767323045000}, {"2026-01-02T04:34:05+01:30", 1767323045000},
            {"2026-01-01T22:04:05-05:00", 1767323045000}, {"1969-12-31T23:59:59.999Z", -1},
            {"2000-02-29T00:00:00Z", 951782400000}, {"2024-02-29T12:00:00Z", 1709208000000},
            {"2016-12-31T23:59:60Z", 1483228800000}, /* a leap second */
            {"0001-01-01T00:00:00Z", -62135596800000}, {"9999-12-31T23:59:59.999Z", 253402300799999}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t ms = -77;
        ck_assert_msg(timestamp_parse(cases[i].text, &ms, NULL) == 0, "%s", cases[i].text);
        ck_assert_msg(ms == cases[i].ms, "%s is %lld", cases[i].text, (long long)ms);
    }
}
END_TEST

START_TEST(what_is_not_a_time_is_refused) {
    static const char *const bad[] = {"", "2026", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04Z",
            "0000-01-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z",
            "2026-01-32T00:00:00Z", "2026-04-31T00:00:00Z", "2025-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
            "2026-01-02T24:00:00Z", "2026-01-02T03:60:00Z", "2026-01-02T03:04:61Z", "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05,5Z", "2026-01-02T03:04:05+24:00", "2026-01-02T03:04:05+01:60",
            "2026-01-02T03:04:05+0130", "2026-01-02T03:04:05+01", "2026-01-02T03:04:05Zx", " 2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05Z ", "26-01-02T03:04:05Z", "12026-01-02T03:04:05Z", "2026/01/02T03:04:05Z",
            "2026-01-02_03:04:05Z", "2026-1-2T03:04:05Z", "-026-01-02T03:04:05Z", "true", "now", "1767323045",
            "2026-01-02T03:04:05\xc3\xa4",
            /* outside of the years that can be written */
            "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:60Z", "9999-12-31T23:59:59-00:01"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t ms = -77;
        struct error err = {0};
        ck_assert_msg(timestamp_parse(bad[i], &ms, &err) == -1, "'%s' was taken", bad[i]);
        ck_assert_int_eq(err.kind, ERROR_FORMAT);
        ck_assert_msg(ms == -77, "the result was touched for '%s'", bad[i]);
    }
}
END_TEST

START_TEST(times_are_shown_in_utc_with_milliseconds_only_where_there_are_some) {
    char buf[TIMESTAMP_TEXT_MAX];
    ck_assert_str_eq(timestamp_format(1767323045000, buf), "2026-01-02T03:04:05Z");
    ck_assert_str_eq(timestamp_format(1767323045678, buf), "2026-01-02T03:04:05.678Z");
    ck_assert_str_eq(timestamp_format(-1, buf), "1969-12-31T23:59:59.999Z");
    ck_assert_str_eq(timestamp_format(-62135596800000, buf), "0001-01-01T00:00:00Z");
    ck_assert_str_eq(timestamp_format(253402300799999, buf), "9999-12-31T23:59:59.999Z");
    ck_assert_str_eq(timestamp_format(253402300800000, buf), "");
    ck_assert_str_eq(timestamp_format(-62135596800001, buf), "");
    ck_assert_str_eq(timestamp_format(TIME_NONE, buf), "");
    ck_assert_str_eq(timestamp_format(INT64_MAX, buf), "");
    ck_assert_str_eq(timestamp_format(INT64_MIN + 1, buf), "");
    ck_assert_str_eq(timestamp_format_micro(1767323045000, buf), "2026-01-02T03:04:05.000000Z");
    ck_assert_str_eq(timestamp_format_micro(1767323045067, buf), "2026-01-02T03:04:05.067000Z");
    ck_assert_str_eq(timestamp_format_micro(-1, buf), "1969-12-31T23:59:59.999000Z");
    ck_assert_str_eq(timestamp_format_micro(INT64_MAX, buf), "");
}
END_TEST

START_TEST(every_day_from_year_1_to_9999_survives_the_round_trip) {
    char buf[TIMESTAMP_TEXT_MAX], before[TIMESTAMP_TEXT_MAX] = "";
    for (int64_t day = -719162; day < 2932897; day++) {
        int64_t ms = -77;
        timestamp_format(day * 86400000, buf);
        if (timestamp_parse(buf, &ms, NULL) < 0 || ms != day * 86400000 || strcmp(buf, before) <= 0)
            ck_abort_msg("day %lld is %s, then %lld, after %s", (long long)day, buf, (long long)ms, before);
        memcpy(before, buf, sizeof before);
    }
}
END_TEST

START_TEST(the_date_header_of_a_server_is_understood) {
    int64_t ms = -77;
    ck_assert(timestamp_parse_http("Sun, 06 Nov 1994 08:49:37 GMT", &ms));
    ck_assert_int_eq(ms, 784111777000);
    ck_assert(timestamp_parse_http("Thu, 29 Feb 2024 23:59:60 GMT", &ms));
    ck_assert_int_eq(ms, 1709251200000);
    static const char *const months[] = {
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    for (int m = 0; m < 12; m++) {
        char http[64], rfc[64];
        int64_t expected = 0;
        snprintf(http, sizeof http, "Mon, 17 %s 2025 01:02:03 GMT", months[m]);
        snprintf(rfc, sizeof rfc, "2025-%02d-17T01:02:03Z", m + 1);
        ck_assert_int_eq(timestamp_parse(rfc, &expected, NULL), 0);
        ck_assert_msg(timestamp_parse_http(http, &ms) && ms == expected, "%s", http);
    }
    static const char *const bad[] = {"", "yesterday, a long while ago, at noon", "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994 and more text", "Sun, 31 Nov 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nop 1994 08:49:37 GMT", "Sun, 06 Nov 0000 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMTx", "Sun, 06-Nov 1994 08:49:37 GMT", "Sun, 06 Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08-49:37 GMT", "Sun, 06 Nov 1994 08:49-37 GMT", "Sun; 06 Nov 1994 08:49:37 GMT"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        ms = -77;
        ck_assert_msg(!timestamp_parse_http(bad[i], &ms), "'%s' was taken", bad[i]);
        ck_assert_int_eq(ms, -77);
    }
}
END_TEST

/* ---- backoff ---- */

START_TEST(waits_double_up_to_the_last_and_start_again_after_a_reset) {
    struct backoff backoff = BACKOFF_INIT(800, 30000);
    static const int64_t tops[] = {800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000};
    random_seed(42);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < COUNT(tops); i++) {
            int64_t wait = backoff_take(&backoff);
            ck_assert_int_ge(wait, tops[i] / 2);
            ck_assert_int_le(wait, tops[i]);
        }
        backoff_reset(&backoff);
    }
}
END_TEST

START_TEST(clients_do_not_all_return_at_the_same_moment) {
    bool low = false, high = false;
    random_seed(7);
    for (int i = 0; i < 200; i++) {
        struct backoff backoff = BACKOFF_INIT(1000, 1000);
        int64_t wait = backoff_take(&backoff);
        low |= wait < 600;
        high |= wait > 900;
    }
    ck_assert(low && high);
}
END_TEST

START_TEST(a_seed_gives_the_same_random_numbers_again) {
    uint64_t first[20];
    random_seed(0);
    for (size_t i = 0; i < COUNT(first); i++)
        first[i] = random_below(1000000);
    random_seed(0);
    bool all_equal = true;
    for (size_t i = 0; i < COUNT(first); i++) {
        ck_assert_uint_eq(random_below(1000000), first[i]);
        all_equal &= first[i] == first[0];
    }
    ck_assert(!all_equal);
}
END_TEST

START_TEST(random_numbers_start_without_a_seed_and_stay_below) {
    /* First in its process when tests are forked: seeds itself. */
    bool seen[3] = {false};
    for (int i = 0; i < 500; i++) {
        uint64_t number = random_below(3);
        ck_assert_uint_lt(number, 3);
        seen[number] = true;
    }
    ck_assert(seen[0] && seen[1] && seen[2]);
}
END_TEST

/* ---- heap ---- */

#define MODEL_NODES 300

static void check_heap(const struct heap *heap, const struct heap_node *nodes, size_t n) {
    size_t inside = 0;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].index == HEAP_OUTSIDE)
            continue;
        inside++;
        least = nodes[i].key < least ? nodes[i].key : least;
        ck_assert_uint_lt(nodes[i].index, heap->len);
        ck_assert_ptr_eq(heap->nodes[nodes[i].index], &nodes[i]);
    }
    ck_assert_uint_eq(inside, heap->len);
    if (inside)
        ck_assert_int_eq(heap_peek(heap)->key, least);
    else
        ck_assert_ptr_null(heap_peek(heap));
}

START_TEST(the_heap_always_knows_the_smallest_whatever_is_put_moved_and_removed) {
    struct heap heap = {0};
    struct heap_node nodes[MODEL_NODES];
    int64_t keys[MODEL_NODES];
    bool inside[MODEL_NODES] = {false};
    random_seed(4711);
    for (size_t i = 0; i < MODEL_NODES; i++)
        nodes[i] = (struct heap_node)HEAP_NODE_INIT;
    for (int step = 0; step < 20000; step++) {
        size_t i = random_below(MODEL_NODES);
        /* Alternate between filling and draining, so that both a full and an empty heap are seen. */
        bool remove = random_below(10) < (step / 2000 % 2 ? 8u : 2u);
        if (remove) {
            heap_remove(&heap, &nodes[i]);
            inside[i] = false;
        } else {
            keys[i] = (int64_t)random_below(100) - 50;
            ck_assert_int_eq(heap_put(&heap, &nodes[i], keys[i], NULL), 0);
            inside[i] = true;
        }
        ck_assert_int_eq(nodes[i].index != HEAP_OUTSIDE, inside[i]);
        if (step % 50 == 0)
            check_heap(&heap, nodes, MODEL_NODES);
    }
    int64_t before = INT64_MIN;
    for (struct heap_node *node; (node = heap_peek(&heap));) {
        ck_assert_int_ge(node->key, before);
        ck_assert_int_eq(node->key, keys[node - nodes]);
        before = node->key;
        heap_remove(&heap, node);
    }
    check_heap(&heap, nodes, MODEL_NODES);
    heap_finish(&heap);
    ck_assert_ptr_null(heap.nodes);
}
END_TEST

/* ---- clock ---- */

static int64_t fixed_wall(void) {
    return 1795219200123;
}

static int64_t fixed_mono(void) {
    return 5000;
}

static const struct clock_source fixed_clock = {fixed_wall, fixed_mono};

START_TEST(the_clock_can_be_replaced_and_put_back) {
    clock_use(&fixed_clock);
    ck_assert_int_eq(clock_wall_ms(), 1795219200123);
    ck_assert_int_eq(clock_mono_ms(), 5000);
    clock_use(NULL);
    ck_assert_int_ne(clock_wall_ms(), 1795219200123);
    ck_assert_int_gt(clock_wall_ms(), 1700000000000); /* after 2023 */
    int64_t first = clock_mono_ms();
    ck_assert_int_ge(clock_mono_ms(), first);
}
END_TEST

/* ---- log ---- */

static int saved_stderr = -1, log_pipe = -1;

static void catch_log(enum log_level level, enum log_format format) {
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
    saved_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    log_pipe = ends[0];
    clock_use(&fixed_clock);
    log_configure(level, format);
}

/* What was logged. Static. */
static const char *caught_log(void) {
    static char text[1 << 17];
    ssize_t n = read(log_pipe, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(log_pipe);
    clock_use(NULL);
    log_configure(LOG_INFO, LOG_LOGFMT);
    return text;
}

START_TEST(a_log_line_is_logfmt_with_stable_keys) {
    catch_log(LOG_DEBUG, LOG_LOGFMT);
    log_info("run recorded", log_job("ml", "train-1"), log_text("uid", "u-1"), log_number("n", -5),
            log_time("due", 1767323045000), log_duration("left", 725000), log_text("gone", NULL),
            log_time("none", TIME_NONE));
    log_warn("no fields");
    ck_assert_str_eq(caught_log(),
            "time=2026-11-21T00:00:00.123Z level=info msg=\"run recorded\" job=ml/train-1 uid=u-1 n=-5 "
            "due=2026-01-02T03:04:05Z left=12m5s\n"
            "time=2026-11-21T00:00:00.123Z level=warn msg=\"no fields\"\n");
}
END_TEST

START_TEST(a_log_line_can_be_json_with_the_same_keys) {
    catch_log(LOG_INFO, LOG_JSON);
    log_error("it \"broke\"", log_job("ml", "train-1"), log_number("n", 7), log_duration("left", 1000));
    ck_assert_str_eq(caught_log(),
            "{\"time\":\"2026-11-21T00:00:00.123Z\",\"level\":\"error\",\"msg\":\"it \\\"broke\\\"\","
            "\"job\":\"ml/train-1\",\"n\":7,\"left\":\"1s\"}\n");
}
END_TEST

START_TEST(values_cannot_break_out_of_their_log_line) {
    catch_log(LOG_INFO, LOG_LOGFMT);
    log_info("x", log_text("a", "one\nlevel=error"), log_text("b", ""), log_text("c", "say \"hi\""),
            log_text("d", "k=v"), log_text("e", "back\\"), log_text("f", "\033[2J"), log_text("g", "\xff"),
            log_job(NULL, NULL));
    ck_assert_str_eq(caught_log(), "time=2026-11-21T00:00:00.123Z level=info msg=x a=\"one\\nlevel=error\" b=\"\" "
                                   "c=\"say \\\"hi\\\"\" d=\"k=v\" e=\"back\\\\\" f=\"\\x1b[2J\" g=\"\\xff\" job=/\n");
}
END_TEST

START_TEST(a_long_value_is_cut_and_its_line_still_written) {
    for (int format = LOG_LOGFMT; format <= LOG_JSON; format++) {
        catch_log(LOG_INFO, (enum log_format)format);
        const char *rubbish = repeat('\x80', REPEAT_MAX);
        log_warn("long", log_text("a", rubbish), log_text("b", rubbish), log_text("c", rubbish));
        const char *more = repeat('x', 1025);
        log_warn("long", log_text("a", more), log_text("b", more + 1));
        log_warn("controls", log_text("a", repeat('\x01', 8000)), log_text("z", "end"));
        const char *text = caught_log();
        ck_assert_ptr_null(strstr(text, "did not fit"));
        ck_assert_ptr_nonnull(strstr(text, format == LOG_JSON ? "\"z\":\"end\"}\n" : " z=end\n"));
        size_t lines = 0, dots = 0;
        for (const char *at = text; *at; at++) {
            lines += *at == '\n';
            dots += strncmp(at, "x...", 4) == 0;
        }
        ck_assert_uint_eq(lines, 3);
        ck_assert_uint_eq(dots, 1);
    }
}
END_TEST

START_TEST(a_line_past_every_limit_is_at_least_mentioned) {
    catch_log(LOG_INFO, LOG_LOGFMT);
    static char long_value[2001];
    memset(long_value, 1, 2000);
    struct log_field fields[32] = {{.key = NULL}};
    for (int i = 1; i < 31; i++)
        fields[i] = log_text("k", long_value);
    log_write(LOG_WARN, "many", fields);
    ck_assert_str_eq(caught_log(), "level=error msg=\"a log line did not fit in memory\"\n");
}
END_TEST

START_TEST(lines_below_the_level_are_not_written) {
    catch_log(LOG_WARN, LOG_LOGFMT);
    ck_assert_int_eq(log_get_level(), LOG_WARN);
    log_debug("a");
    log_info("b");
    log_warn("c");
    log_at(LOG_OFF, "d");
    ck_assert_str_eq(caught_log(), "time=2026-11-21T00:00:00.123Z level=warn msg=c\n");
}
END_TEST

START_TEST(a_log_that_nobody_reads_holds_nobody_up_and_what_was_dropped_is_told) {
    catch_log(LOG_INFO, LOG_LOGFMT);
    fcntl(log_pipe, F_SETPIPE_SZ, 16384);
    fcntl(STDERR_FILENO, F_SETFL, 0); /* a writer would wait */
    clock_use(NULL);
    int64_t began_ms = clock_mono_ms();
    for (int i = 0; i < 2000; i++)
        log_info("told again and again", log_number("n", i));
    ck_assert_int_lt(clock_mono_ms() - began_ms, 5000);
    static char text[1 << 15];
    ck_assert_int_gt(read(log_pipe, text, sizeof text), 0);
    log_info("read again");
    const char *rest = caught_log();
    ck_assert_msg(strstr(rest, "msg=\"read again\"") != NULL, "%s", rest);
    const char *lines = strstr(rest, "lines of the log were dropped");
    ck_assert_msg(lines && strstr(lines, "lines=1"), "%s", rest);
}
END_TEST

START_TEST(a_log_line_in_json_is_json_whatever_is_in_it) {
    uint32_t seed = 1;
    for (int round = 0; round < 200; round++) {
        char value[3][64] = {{0}};
        for (size_t v = 0; v < 3; v++) {
            for (size_t i = 0; i < sizeof value[v] - 1; i++) {
                seed = seed * 1664525u + 1013904223u;
                value[v][i] = (char)((seed >> 24) ? (seed >> 24) : 1);
            }
        }
        catch_log(LOG_INFO, LOG_JSON);
        log_info(value[0], log_text("a", value[1]), log_job(value[2], value[0]));
        const char *text = caught_log();
        json_t *object = json_loads(text, 0, NULL);
        ck_assert_msg(json_is_object(object) && json_object_size(object) == 5, "%s", text);
        ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
        json_decref(object);
    }
}
END_TEST

START_TEST(log_levels_and_formats_have_the_names_of_the_configuration) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    enum log_level level = LOG_OFF;
    for (int i = 0; i < 4; i++) {
        ck_assert(log_level_parse(names[i], &level));
        ck_assert_int_eq((int)level, i);
    }
    ck_assert(!log_level_parse("off", &level) && !log_level_parse("INFO", &level) && !log_level_parse("", &level));
    ck_assert_int_eq(level, LOG_ERROR);
    enum log_format format = LOG_LOGFMT;
    ck_assert(log_format_parse("json", &format) && format == LOG_JSON);
    ck_assert(log_format_parse("logfmt", &format) && format == LOG_LOGFMT);
    ck_assert(!log_format_parse("xml", &format));
}
END_TEST

/* ---- table ---- */

static const char *const table_columns[] = {"name", "why", NULL};

static struct table *example_table(void) {
    struct table *table = table_create(table_columns, NULL);
    ck_assert_ptr_nonnull(table);
    static const char *const cells[] = {"a\xc3\xa4", "b,c", "longer", NULL, "\033[2J", "q\"\nx"};
    for (size_t i = 0; i < COUNT(cells); i++) {
        ck_assert_int_eq(table_add(table, cells[i], NULL), 0);
        if (i == 1)
            table_color(table, "31");
    }
    return table;
}

/* What print wrote, heap. */
static char *printed(const struct table *table, int how) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    ck_assert_ptr_nonnull(out);
    if (how == 2)
        ck_assert_int_eq(table_print_csv(table, out, NULL), 0);
    else
        ck_assert_int_eq(table_print(table, out, how == 1, NULL), 0);
    fclose(out);
    return text;
}

START_TEST(a_table_is_aligned_and_escaped_for_people) {
    struct table *table = example_table();
    char *text = printed(table, 0);
    ck_assert_str_eq(text, "NAME     WHY\n"
                           "a\xc3\xa4       b,c\n"
                           "longer   -\n"
                           "\\x1b[2J  q\"\\nx\n");
    free(text);
    text = printed(table, 1);
    ck_assert_ptr_nonnull(strstr(text, "a\xc3\xa4       \033[31mb,c\033[0m\n"));
    free(text);
    table_destroy(table);
}
END_TEST

START_TEST(a_table_is_csv_for_programs_with_the_values_as_they_are) {
    struct table *table = example_table();
    char *text = printed(table, 2);
    ck_assert_str_eq(text, "name,why\na\xc3\xa4,\"b,c\"\nlonger,\n\033[2J,\"q\"\"\nx\"\n");
    free(text);
    /* A row that is not full is still a row. */
    ck_assert_int_eq(table_add(table, "half", NULL), 0);
    text = printed(table, 2);
    ck_assert_ptr_nonnull(strstr(text, "\nhalf,\n"));
    free(text);
    table_destroy(table);
}
END_TEST

START_TEST(an_empty_table_is_its_header_and_many_rows_fit) {
    struct table *table = table_create(table_columns, NULL);
    table_color(table, "31");
    char *text = printed(table, 1);
    ck_assert_str_eq(text, "NAME  WHY\n");
    free(text);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(table_add(table, i % 2 ? "" : "x", NULL), 0);
    text = printed(table, 0);
    ck_assert_uint_eq(strlen(text), strlen("NAME  WHY\n") + 500 * strlen("x     -\n"));
    free(text);
    table_destroy(table);
    table_destroy(NULL);
}
END_TEST

START_TEST(colours_are_for_terminals_only_and_no_color_is_honoured) {
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert(!terminal_has_colors(file));
    fclose(file);
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0)
        return; /* no terminals here */
    ck_assert(grantpt(master) == 0 && unlockpt(master) == 0);
    FILE *terminal = fopen(ptsname(master), "w");
    ck_assert_ptr_nonnull(terminal);
    ck_assert(terminal_has_colors(terminal));
    setenv("NO_COLOR", "", 1);
    ck_assert(terminal_has_colors(terminal));
    setenv("NO_COLOR", "1", 1);
    ck_assert(!terminal_has_colors(terminal));
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    ck_assert(!terminal_has_colors(terminal));
    fclose(terminal);
    close(master);
}
END_TEST

/* ---- loop ---- */

struct events {
    struct loop *loop;
    struct loop_timer *timer, *other;
    struct loop_child *child;
    int timers, wakes, signals, reads, children, status;
    char byte;
};

static void on_timer(void *arg) {
    struct events *e = arg;
    ck_assert(!loop_timer_active(e->timer));
    if (++e->timers < 3) {
        loop_timer_start(e->timer, 0); /* from its own callback */
        return;
    }
    loop_timer_stop(e->other);
    loop_stop(e->loop);
}

static void on_forbidden_timer(void *arg) {
    (void)arg;
    ck_abort_msg("a stopped timer fired");
}

START_TEST(a_timer_fires_once_a_start_and_not_after_a_stop) {
    struct events e = {.loop = loop_create(NULL)};
    ck_assert_ptr_nonnull(e.loop);
    ck_assert_ptr_nonnull(loop_native(e.loop));
    e.timer = loop_timer_create(e.loop, on_timer, &e, NULL);
    e.other = loop_timer_create(e.loop, on_forbidden_timer, &e, NULL);
    ck_assert(e.timer && e.other && !loop_timer_active(e.timer));
    loop_timer_start(e.other, 100000);
    loop_timer_start(e.timer, 100000);
    loop_timer_start(e.timer, -5); /* moved; what is past is now */
    ck_assert(loop_timer_active(e.timer) && loop_timer_active(e.other));
    loop_run(e.loop);
    ck_assert_int_eq(e.timers, 3);
    ck_assert(!loop_timer_active(e.other));
    loop_timer_destroy(e.timer);
    loop_timer_destroy(e.other);
    loop_timer_destroy(NULL);
    loop_destroy(e.loop);
    loop_destroy(NULL);
}
END_TEST

static void on_wake(void *arg) {
    struct events *e = arg;
    e->wakes++;
    loop_stop(e->loop);
}

static void on_signal(void *arg, int number) {
    struct events *e = arg;
    ck_assert_int_eq(number, SIGUSR1);
    e->signals++;
    loop_stop(e->loop);
}

static void on_readable(void *arg, int fd) {
    struct events *e = arg;
    ck_assert_int_eq(read(fd, &e->byte, 1), 1);
    e->reads++;
    loop_stop(e->loop);
}

static void on_child(void *arg, int status) {
    struct events *e = arg;
    e->children++;
    e->status = status;
    loop_stop(e->loop);
}

START_TEST(the_loop_tells_of_wakes_signals_pipes_and_children) {
    struct events e = {.loop = loop_create(NULL)};
    ck_assert_ptr_nonnull(e.loop);
    struct loop_wake *wake = loop_wake_create(e.loop, on_wake, &e, NULL);
    struct loop_signal *sig = loop_signal_create(e.loop, SIGUSR1, on_signal, &e, NULL);
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    struct loop_reader *reader = loop_reader_create(e.loop, ends[0], on_readable, &e, NULL);
    ck_assert(wake && sig && reader);
    loop_wake_send(wake);
    loop_wake_send(wake);
    loop_run(e.loop);
    ck_assert_int_eq(e.wakes, 1);
    raise(SIGUSR1);
    loop_run(e.loop);
    ck_assert_int_eq(e.signals, 1);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    loop_run(e.loop);
    ck_assert_int_eq(e.reads, 1);
    ck_assert_int_eq(e.byte, 'x');
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(3);
    e.child = loop_child_create(e.loop, pid, on_child, &e, NULL);
    ck_assert_ptr_nonnull(e.child);
    loop_run(e.loop);
    ck_assert_int_eq(e.children, 1);
    ck_assert(WIFEXITED(e.status) && WEXITSTATUS(e.status) == 3);
    loop_child_destroy(e.child);
    loop_reader_destroy(reader);
    loop_signal_destroy(sig);
    loop_wake_destroy(wake);
    loop_child_destroy(NULL);
    loop_reader_destroy(NULL);
    loop_signal_destroy(NULL);
    loop_wake_destroy(NULL);
    loop_destroy(e.loop);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

static void add_case(Suite *suite, const char *name, const TTest *const *tests, size_t n) {
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 60);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
}

#define ADD_CASE(suite, name, ...) \
    do { \
        const TTest *const tests[] = {__VA_ARGS__}; \
        add_case((suite), (name), tests, COUNT(tests)); \
    } while (0)

Suite *suite_base(void) {
    Suite *suite = suite_create("base");
    ADD_CASE(suite, "error", an_error_gathers_context_from_the_inside_out, an_error_nobody_wants_is_no_crash,
            an_error_that_is_too_long_ends_in_three_dots);
    ADD_CASE(suite, "strbuf", a_buffer_grows_and_is_always_terminated, a_buffer_never_passes_its_ceiling_and_says_so,
            a_buffer_hands_its_text_over);
    ADD_CASE(suite, "text", only_well_formed_utf8_counts_as_utf8, text_from_the_cluster_cannot_move_the_cursor,
            a_long_text_is_cut_between_characters, width_counts_characters_not_bytes,
            numbers_are_written_as_printf_writes_them, a_text_of_which_all_is_plain_is_cut_where_one_with_escapes_is,
            csv_fields_are_quoted_where_rfc_4180_says, json_strings_are_valid_json_whatever_is_in_them,
            json_for_programs_is_what_jansson_writes, a_list_is_words_between_commas_and_white_space,
            a_list_of_globs_matches_as_a_whole);
    ADD_CASE(suite, "duration", durations_are_understood_as_people_write_them,
            a_duration_in_doubt_is_refused_with_the_reason, durations_are_shown_by_their_two_largest_units);
    ADD_CASE(suite, "timestamp", times_are_read_as_rfc_3339_says, what_is_not_a_time_is_refused,
            times_are_shown_in_utc_with_milliseconds_only_where_there_are_some,
            every_day_from_year_1_to_9999_survives_the_round_trip, the_date_header_of_a_server_is_understood);
    ADD_CASE(suite, "backoff", random_numbers_start_without_a_seed_and_stay_below,
            waits_double_up_to_the_last_and_start_again_after_a_reset, clients_do_not_all_return_at_the_same_moment,
            a_seed_gives_the_same_random_numbers_again);
    ADD_CASE(suite, "heap", the_heap_always_knows_the_smallest_whatever_is_put_moved_and_removed);
    ADD_CASE(suite, "clock", the_clock_can_be_replaced_and_put_back);
    ADD_CASE(suite, "log", a_log_line_is_logfmt_with_stable_keys, a_log_line_can_be_json_with_the_same_keys,
            values_cannot_break_out_of_their_log_line, a_long_value_is_cut_and_its_line_still_written,
            a_line_past_every_limit_is_at_least_mentioned, lines_below_the_level_are_not_written,
            log_levels_and_formats_have_the_names_of_the_configuration,
            a_log_that_nobody_reads_holds_nobody_up_and_what_was_dropped_is_told,
            a_log_line_in_json_is_json_whatever_is_in_it);
    ADD_CASE(suite, "table", a_table_is_aligned_and_escaped_for_people,
            a_table_is_csv_for_programs_with_the_values_as_they_are, an_empty_table_is_its_header_and_many_rows_fit,
            colours_are_for_terminals_only_and_no_color_is_honoured);
    ADD_CASE(suite, "loop", a_timer_fires_once_a_start_and_not_after_a_stop,
            the_loop_tells_of_wakes_signals_pipes_and_children);
    return suite;
}
