#include <check.h>
#include <stdlib.h>

#include "kube/lease.h"
#include "suites.h"

static struct lease_record read_text(const char *text, json_t **ret_object) {
    *ret_object = json_loads(text, 0, NULL);
    ck_assert_ptr_nonnull(*ret_object);
    return lease_record_read(*ret_object);
}

START_TEST(a_lease_is_read_and_what_is_missing_or_odd_is_nothing) {
    json_t *object;
    struct lease_record record = read_text("{\"spec\":{\"holderIdentity\":\"a\",\"leaseDurationSeconds\":15,"
                                           "\"renewTime\":\"2026-01-01T00:00:00.000000Z\","
                                           "\"acquireTime\":\"2026-01-01T00:00:00.000000Z\",\"leaseTransitions\":3}}",
            &object);
    ck_assert_str_eq(record.holder, "a");
    ck_assert_int_eq(record.duration_ms, 15000);
    ck_assert_int_eq(record.transitions, 3);
    json_decref(object);
    static const char *const odd[] = {"{}", "[]", "{\"spec\":null}", "{\"spec\":{\"holderIdentity\":null}}",
            "{\"spec\":{\"holderIdentity\":7,\"leaseDurationSeconds\":\"15\"}}",
            "{\"spec\":{\"leaseDurationSeconds\":-1}}"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        record = read_text(odd[i], &object);
        ck_assert_str_eq(record.holder, "");
        ck_assert_int_eq(record.duration_ms, 0);
        json_decref(object);
    }
}
END_TEST

START_TEST(a_duration_beyond_reason_does_not_hold_up_others_for_ever) {
    json_t *object;
    struct lease_record record =
            read_text("{\"spec\":{\"holderIdentity\":\"a\",\"leaseDurationSeconds\":9000000000000000000}}", &object);
    ck_assert_int_eq(record.duration_ms, 3600 * 1000);
    json_decref(object);
}
END_TEST

START_TEST(a_lease_may_be_taken_when_it_is_free_ours_or_unchanged_for_its_duration) {
    const int64_t own_ms = 15000;
    const struct {
        struct lease_record record;
        int64_t observed_ms, now_ms;
        bool may;
    } cases[] = {
            {{.holder = ""}, 0, 0, true},
            {{.holder = "me", .duration_ms = 15000}, 1000, 1000, true},
            {{.holder = "other", .duration_ms = 15000}, 1000, 15999, false},
            {{.holder = "other", .duration_ms = 15000}, 1000, 16000, true},
            /* the holder's own promise counts, not ours */
            {{.holder = "other", .duration_ms = 60000}, 1000, 60999, false},
            {{.holder = "other", .duration_ms = 2000}, 1000, 3000, true},
            /* without one, ours */
            {{.holder = "other"}, 1000, 15999, false},
            {{.holder = "other"}, 1000, 16000, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool may = lease_may_take(&cases[i].record, "me", cases[i].observed_ms, cases[i].now_ms, own_ms);
        ck_assert_msg(may == cases[i].may, "case %zu", i);
    }
}
END_TEST

Suite *suite_lease(void) {
    Suite *suite = suite_create("lease");
    TCase *tcase = tcase_create("lease");
    tcase_add_test(tcase, a_lease_is_read_and_what_is_missing_or_odd_is_nothing);
    tcase_add_test(tcase, a_duration_beyond_reason_does_not_hold_up_others_for_ever);
    tcase_add_test(tcase, a_lease_may_be_taken_when_it_is_free_ours_or_unchanged_for_its_duration);
    suite_add_tcase(suite, tcase);
    return suite;
}
