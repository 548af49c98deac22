/* What no scenario can say of kube/events: words of every kind, and more Events than it remembers. On the same fakes.
 */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fake.h"
#include "kube/client.h"
#include "kube/events.h"
#include "scenario.h"

static struct loop *loop;
static struct client *client;
static struct events *events;
static struct kube_config config;

static void set_up(void) {
    struct error err = {0};
    fake_clock_start(1767323045067);
    config.server = strdup("https://api.test:6443");
    config.token = strdup("secret");
    loop = loop_create(&err);
    client = client_create(loop, &config, NULL, &err);
    events = events_create(loop, client, "example.com/tester", "me", &err);
    ck_assert_ptr_nonnull(events);
}

static void tear_down(void) {
    events_destroy(events);
    client_destroy(client);
    loop_destroy(loop);
    free(config.server);
    free(config.token);
}

static void settle(void) {
    fake_loop_settle(loop);
    fake_http_send();
}

static void tell(const char *name, const char *note) {
    const struct event event = {
            .regarding = {.api_version = "v1", .kind = "Thing", .namespace = "shop", .name = name, .uid = name},
            .reason = "Tested",
            .action = "Test",
            .note = note};
    events_tell(events, &event);
    settle();
}

static struct http_transfer *last_request(void) {
    struct http_transfer *last = NULL;
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t))
        last = fake_http_is_open(t) ? t : last;
    return last;
}

/* A member of what the last request creates; lives until the next. */
static const char *told(const char *key) {
    static json_t *body;
    json_decref(body);
    body = json_loads(fake_http_body(last_request()), 0, NULL);
    const json_t *object = strcmp(key, "name") == 0 ? json_object_get(body, "metadata") : body;
    return json_string_value(json_object_get(object, key));
}

/* All that are under way. Returns how many. */
static int take(void) {
    int n = 0;
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t)) {
        if (!fake_http_is_open(t))
            continue;
        const struct fake_answer ok = {.status = 200, .retry_after_ms = -1, .date_ms = TIME_NONE};
        fake_http_head(t, &ok);
        fake_http_data(t, "{\"kind\":\"Event\"}", strlen("{\"kind\":\"Event\"}"));
        fake_http_end(t);
        n++;
    }
    settle();
    return n;
}

/* Time goes on, and everything is taken. */
static void pass(int64_t ms) {
    int64_t until_ms = fake_mono_ms() + ms;
    do {
        while (take() > 0)
            continue;
    } while (fake_loop_step(loop, until_ms));
    while (take() > 0)
        continue;
}

START_TEST(a_note_is_cut_between_characters_at_what_the_api_server_takes) {
    char note[3001];
    for (int i = 0; i < 1000; i++)
        memcpy(note + (size_t)i * 3, "\xe2\x82\xac", 4); /* a euro sign */
    tell("a", note);
    ck_assert_uint_eq(strlen(told("note")), 1023); /* 340 of them, and three dots */
    ck_assert_str_eq(told("note") + 1020, "...");
    take();
    note[1024] = '\0';
    memset(note, 'x', 1024);
    tell("b", note);
    ck_assert_str_eq(told("note"), note);
}
END_TEST

START_TEST(a_note_that_is_not_utf_8_is_told_escaped) {
    tell("a", "caf\xe9 \xff");
    ck_assert_str_eq(told("note"), "caf\\xe9 \\xff");
}
END_TEST

START_TEST(an_object_with_the_longest_of_names_gives_an_event_a_name_that_is_one) {
    char name[254];
    memset(name, 'a', sizeof name);
    name[253] = '\0';
    for (int i = 195; i < 215; i++)
        name[i] = i % 2 ? '.' : '-';
    tell(name, "note");
    ck_assert_uint_le(strlen(told("name")), 253);
    ck_assert_ptr_null(strstr(told("name"), ".."));
    ck_assert_ptr_null(strstr(told("name"), "-."));
    ck_assert_int_eq(strncmp(told("name"), name, 190), 0);
}
END_TEST

START_TEST(each_event_has_a_name_of_its_own_with_the_time_in_it) {
    char first[300];
    tell("a", "note");
    snprintf(first, sizeof first, "%s", told("name"));
    ck_assert_int_eq(strncmp(first, "a.", 2), 0);
    ck_assert_int_eq((int64_t)strtoull(first + 2, NULL, 16) / 1000000, 1767323045067);
    ck_assert_str_eq(told("eventTime"), "2026-01-02T03:04:05.067000Z");
    take();
    events_forget(events);
    tell("a", "note");
    ck_assert_str_ne(told("name"), first);
}
END_TEST

START_TEST(what_is_too_much_is_dropped_and_counted_and_what_is_written_stays_within_the_rate) {
    char name[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "n%d", i);
        tell(name, "note");
    }
    pass(0);
    ck_assert_int_eq(events_stats(events)->sent, EVENTS_BURST);
    ck_assert_int_eq(events_stats(events)->dropped, 5000 - EVENTS_WAITING_MAX - EVENTS_IN_FLIGHT_MAX);
    pass(60000);
    ck_assert_int_eq(events_stats(events)->sent, EVENTS_BURST + 60);
    pass(3600000);
    ck_assert_int_eq(events_stats(events)->sent, EVENTS_WAITING_MAX + EVENTS_IN_FLIGHT_MAX);
    ck_assert_int_eq(events_stats(events)->failed, 0);
}
END_TEST

START_TEST(more_than_it_remembers_are_told_all_the_same_and_the_oldest_forgotten) {
    char name[32];
    /* Each is told again and again, so that none is over. */
    for (int n = 0; n < EVENTS_REMEMBERED_MAX + 200; n += 100) {
        for (int i = 0; i < n + 100; i++) {
            snprintf(name, sizeof name, "n%d", i);
            tell(name, "note");
        }
        pass(120000);
    }
    const struct events_stats *stats = events_stats(events);
    ck_assert_int_gt(stats->dropped, 0);
    int64_t sent = stats->sent;
    events_forget(events);
    pass(600000);
    ck_assert_int_eq(stats->sent, sent);
}
END_TEST

void scenario_add_events(Suite *suite) {
    TCase *tcase = tcase_create("events");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_note_is_cut_between_characters_at_what_the_api_server_takes);
    tcase_add_test(tcase, a_note_that_is_not_utf_8_is_told_escaped);
    tcase_add_test(tcase, an_object_with_the_longest_of_names_gives_an_event_a_name_that_is_one);
    tcase_add_test(tcase, each_event_has_a_name_of_its_own_with_the_time_in_it);
    tcase_add_test(tcase, what_is_too_much_is_dropped_and_counted_and_what_is_written_stays_within_the_rate);
    tcase_add_test(tcase, more_than_it_remembers_are_told_all_the_same_and_the_oldest_forgotten);
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
}
