#include "suites.h"

#include <stdio.h>

#include "base/clock.h"
#include "jobs/recreated.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define T0 1767323045000 /* 2026-01-02T03:04:05Z */
#define MINUTE 60000LL
#define WINDOW RECREATED_WINDOW_MS

static struct recreated table;

static void setup(void) {
    table = (struct recreated){0};
}

static void teardown(void) {
    recreated_finish(&table);
    ck_assert_ptr_null(table.once);
    ck_assert_ptr_null(table.again);
}

static void deleted(const char *name, int64_t created_ms, int64_t deleted_ms) {
    recreated_note_deleted(&table, "shop", name, created_ms, deleted_ms);
}

static int count_at(const char *name, int64_t created_ms) {
    return recreated_count(&table, "shop", name, created_ms);
}

START_TEST(a_name_that_was_never_deleted_has_not_come_back) {
    ck_assert_int_eq(count_at("a", T0), 0);
    deleted("a", T0, T0 + MINUTE);
    ck_assert_int_eq(count_at("b", T0 + MINUTE), 0);
    ck_assert_int_eq(recreated_count(&table, "other", "a", T0 + MINUTE), 0);
    ck_assert_int_eq(recreated_count(&table, "shop/a", "", T0 + MINUTE), 0);
}
END_TEST

START_TEST(each_return_within_the_window_counts_and_a_later_one_starts_afresh) {
    int64_t now = T0;
    deleted("a", now, now + MINUTE);
    for (int n = 1; n < 50; n++) {
        now += 2 * MINUTE; /* created a minute after the deletion, and deleted a minute later */
        ck_assert_int_eq(count_at("a", now), n);
        deleted("a", now, now + MINUTE);
    }
    int64_t last = now + MINUTE;
    ck_assert_int_eq(count_at("a", last + WINDOW), 50);
    ck_assert_int_eq(count_at("a", last + WINDOW + 1), 0);
    deleted("a", last + WINDOW + 1, last + WINDOW + 2);
    ck_assert_int_eq(count_at("a", last + WINDOW + 3), 1);
}
END_TEST

START_TEST(a_long_life_in_between_does_not_matter) {
    /* Created right after each deletion, but deleted only after a day. */
    int64_t now = T0;
    for (int n = 0; n < 10; n++) {
        ck_assert_int_eq(count_at("a", now), n);
        deleted("a", now, now + 1440 * MINUTE);
        now += 1441 * MINUTE;
    }
}
END_TEST

START_TEST(a_creation_before_the_deletion_is_one_right_after_it_by_another_clock) {
    deleted("a", T0, T0 + MINUTE);
    ck_assert_int_eq(count_at("a", T0 - 1000 * MINUTE), 1);
}
END_TEST

START_TEST(what_has_no_creation_time_goes_on_where_it_was) {
    deleted("a", T0, T0 + 1);
    deleted("a", TIME_NONE, T0 + 1000 * MINUTE);
    ck_assert_int_eq(count_at("a", T0 + 1001 * MINUTE), 2);
    ck_assert_int_eq(count_at("a", TIME_NONE), 0);
}
END_TEST

static const char *name_of(int i) {
    static char name[32];
    snprintf(name, sizeof name, "once-%d", i);
    return name;
}

START_TEST(the_table_is_bounded_and_forgets_what_was_deleted_longest_ago) {
    for (int i = 0; i < RECREATED_MAX; i++)
        deleted(name_of(i), T0, T0 + i);
    ck_assert_int_eq(count_at(name_of(0), T0 + MINUTE), 1);
    deleted("more", T0, T0 + MINUTE);
    ck_assert_uint_eq(HASH_COUNT(table.once) + HASH_COUNT(table.again), RECREATED_MAX);
    ck_assert_int_eq(count_at(name_of(0), T0 + MINUTE), 0);
    ck_assert_int_eq(count_at(name_of(1), T0 + MINUTE), 1);
    ck_assert_int_eq(count_at("more", T0 + MINUTE), 1);
}
END_TEST

START_TEST(names_used_once_do_not_push_out_those_that_came_back) {
    deleted("counted", T0, T0 + 1);
    deleted("counted", T0 + 2, T0 + 3);
    deleted("seen", T0, T0 + 1);
    deleted("seen too late", T0, T0 + 1);
    recreated_note_seen(&table, "shop", "seen", T0 + MINUTE);
    recreated_note_seen(&table, "shop", "seen", T0 + MINUTE); /* each of its events tells it */
    recreated_note_seen(&table, "shop", "seen too late", T0 + 2 + WINDOW);
    recreated_note_seen(&table, "shop", "never deleted", T0);
    for (int i = 0; i < 3 * RECREATED_MAX; i++)
        deleted(name_of(i), T0, T0 + 10 + i);
    ck_assert_uint_eq(HASH_COUNT(table.once) + HASH_COUNT(table.again), RECREATED_MAX);
    ck_assert_int_eq(count_at("counted", T0 + 4), 2);
    ck_assert_int_eq(count_at("seen", T0 + MINUTE), 1);
    ck_assert_int_eq(count_at("seen too late", T0 + 2), 0);
    /* Only when all came back, the oldest of them makes room. */
    for (int i = 0; i < RECREATED_MAX; i++) {
        deleted(name_of(i), T0, T0 + 20 * MINUTE);
        deleted(name_of(i), T0 + 21 * MINUTE, T0 + 22 * MINUTE);
    }
    ck_assert_uint_eq(HASH_COUNT(table.once) + HASH_COUNT(table.again), RECREATED_MAX);
    ck_assert_int_eq(count_at("counted", T0 + 4), 0);
}
END_TEST

START_TEST(a_name_that_no_object_can_have_is_not_kept) {
    char name[400];
    for (size_t i = 0; i < sizeof name - 1; i++)
        name[i] = 'x';
    name[sizeof name - 1] = '\0';
    deleted(name, T0, T0 + 1);
    recreated_note_seen(&table, "shop", name, T0 + 2);
    ck_assert_int_eq(count_at(name, T0 + 2), 0);
    ck_assert_ptr_null(table.once);
}
END_TEST

Suite *suite_recreated(void) {
    Suite *suite = suite_create("recreated");
    TCase *tcase = tcase_create("recreated");
    tcase_add_checked_fixture(tcase, setup, teardown);
    static const TTest *const *const all[] = {&a_name_that_was_never_deleted_has_not_come_back,
            &each_return_within_the_window_counts_and_a_later_one_starts_afresh,
            &a_long_life_in_between_does_not_matter,
            &a_creation_before_the_deletion_is_one_right_after_it_by_another_clock,
            &what_has_no_creation_time_goes_on_where_it_was,
            &the_table_is_bounded_and_forgets_what_was_deleted_longest_ago,
            &names_used_once_do_not_push_out_those_that_came_back, &a_name_that_no_object_can_have_is_not_kept};
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}
