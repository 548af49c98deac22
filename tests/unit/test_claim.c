/* A register has one writer; and a writer that is patient waits for its register. */
#include "history_fixture.h"
#include "suites.h"

#include "base/duration.h"
#include "base/log.h"
#include "history/writer.h"

static struct told {
    struct loop *loop;
    struct writer *first, *second;
    int failed, mended, opened, anews, durable;
    int64_t check_every_ms;
    char why[ERROR_TEXT_MAX];
} told;

static void on_failing(void *arg, const char *why) {
    (void)arg;
    told.failed += why != NULL;
    told.mended += why == NULL;
    if (why)
        snprintf(told.why, sizeof told.why, "%s", why);
    loop_stop(told.loop);
}

static void on_opened(void *arg) {
    (void)arg;
    told.opened++;
    loop_stop(told.loop);
}

static void on_anew(void *arg) {
    (void)arg;
    told.anews++;
    loop_stop(told.loop);
}

static void on_durable(void *arg, const struct history_request *request) {
    (void)arg;
    (void)request;
    told.durable++;
    loop_stop(told.loop);
}

static const struct writer_handler handler = {
        .durable = on_durable, .failing = on_failing, .opened = on_opened, .anew = on_anew};

static int open_writer(struct writer **ret, bool patient, struct error *err) {
    const struct writer_settings settings = {.location = fixture_location,
            .cluster = "c1",
            .retention_ms = DURATION_NEVER,
            .check_every_ms = told.check_every_ms,
            .patient = patient};
    return writer_open(told.loop, &settings, &handler, ret, err);
}

static void setup(void) {
    fixture_setup();
    log_configure(LOG_OFF, LOG_LOGFMT);
    memset(&told, 0, sizeof told);
    told.check_every_ms = 50;
    told.loop = loop_create(NULL);
    ck_assert_ptr_nonnull(told.loop);
}

static void teardown(void) {
    writer_close(told.first, 5000);
    writer_close(told.second, 5000);
    loop_destroy(told.loop);
    fixture_teardown();
}

START_TEST(a_register_has_one_writer_and_the_second_is_told_who_and_what_to_do) {
    struct error err = {0};
    char who[64];
    snprintf(who, sizeof who, "(process %ld on ", (long)getpid());
    ck_assert_int_eq(open_writer(&told.first, false, NULL), 0);
    ck_assert_int_eq(open_writer(&told.second, false, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_REMOTE);
    ck_assert_contains(err.text, "another controller writes to it");
    ck_assert_contains(err.text, who);
    ck_assert_contains(err.text, "end that one, or give each a store of its own");
    /* Reading is for anyone. */
    history_close(fixture_open(HISTORY_READ));
    writer_close(told.first, 5000);
    told.first = NULL;
    ck_assert_int_eq(open_writer(&told.second, false, &err), 0);
}
END_TEST

START_TEST(two_names_of_one_register_are_one_register) {
    char link_path[128];
    ck_assert_int_eq(open_writer(&told.first, false, NULL), 0);
    snprintf(link_path, sizeof link_path, "%s/link.db", fixture_folder);
    ck_assert_int_eq(symlink(fixture_path, link_path), 0);
    snprintf(fixture_location, sizeof fixture_location, "sqlite:%s", link_path);
    ck_assert_int_eq(open_writer(&told.second, false, NULL), -1);
}
END_TEST

START_TEST(a_lock_file_that_a_killed_process_left_is_in_nobodys_way) {
    pid_t child = fork();
    if (child == 0) {
        struct claim *claim;
        _exit(history_claim(fixture_location, &claim, NULL) == 0 ? 7 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(WEXITSTATUS(status), 7);
    ck_assert_int_eq(open_writer(&told.first, false, NULL), 0);
}
END_TEST

START_TEST(who_cannot_use_the_lock_file_is_told_so) {
    char lock[160];
    struct error err = {0};
    snprintf(lock, sizeof lock, "%s-lock", fixture_path);
    /* A link could lead anywhere. */
    ck_assert_int_eq(symlink("/etc/hostname", lock), 0);
    ck_assert_int_eq(open_writer(&told.first, false, &err), -1);
    ck_assert_contains(err.text, lock);
    ck_assert_contains(err.text, "remove it");
}
END_TEST

START_TEST(a_patient_writer_waits_for_the_register_that_another_has) {
    ck_assert_int_eq(open_writer(&told.first, false, NULL), 0);
    ck_assert_int_eq(open_writer(&told.second, true, NULL), 0);
    loop_run(told.loop);
    ck_assert_int_eq(told.failed, 1);
    ck_assert_contains(told.why, "another controller writes to it");
    ck_assert_int_eq(told.opened, 0);
    writer_close(told.first, 5000);
    told.first = NULL;
    while (!told.opened || !told.mended)
        loop_run(told.loop);
    ck_assert_int_eq(told.failed, 1);
    ck_assert_int_eq(told.mended, 1);
    ck_assert_int_eq(told.anews, 0);
}
END_TEST

START_TEST(a_patient_writer_says_once_what_is_missing_and_begins_when_it_is_there) {
    char folder[96];
    snprintf(folder, sizeof folder, "%s/later", fixture_folder);
    snprintf(fixture_path, sizeof fixture_path, "%s/history.db", folder);
    snprintf(fixture_location, sizeof fixture_location, "sqlite:%s", fixture_path);
    ck_assert_int_eq(open_writer(&told.first, true, NULL), 0);
    loop_run(told.loop);
    ck_assert_contains(told.why, "there is no folder");
    ck_assert_int_eq(mkdir(folder, 0755), 0);
    while (!told.opened || !told.mended)
        loop_run(told.loop);
    ck_assert_int_eq(told.failed, 1);
    writer_submit(told.first, make_record("u1", "1"));
    loop_run(told.loop);
    writer_close(told.first, 5000);
    told.first = NULL;
    for (int i = 0; i < 4; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s%s", fixture_path, (const char *const[]){"", "-wal", "-shm", "-lock"}[i]);
        remove(path);
    }
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

START_TEST(a_patient_writer_opens_a_good_register_without_a_word_of_failure) {
    ck_assert_int_eq(open_writer(&told.first, true, NULL), 0);
    loop_run(told.loop);
    ck_assert_int_eq(told.opened, 1);
    ck_assert_int_eq(told.failed + told.mended + told.anews, 0);
}
END_TEST

START_TEST(a_patient_writer_that_never_had_its_register_is_closed_at_once) {
    ck_assert_int_eq(open_writer(&told.first, false, NULL), 0);
    ck_assert_int_eq(open_writer(&told.second, true, NULL), 0);
    loop_run(told.loop);
    ck_assert_int_eq(writer_close(told.second, 1000), 0);
    told.second = NULL;
}
END_TEST

START_TEST(a_lock_file_that_is_removed_in_use_is_noticed_and_made_again) {
    char lock[160];
    struct error err = {0};
    snprintf(lock, sizeof lock, "%s-lock", fixture_path);
    ck_assert_int_eq(open_writer(&told.first, false, NULL), 0);
    ck_assert_int_eq(remove(lock), 0);
    loop_run(told.loop);
    ck_assert_contains(told.why, "its lock file was removed");
    while (!told.mended)
        loop_run(told.loop);
    ck_assert_int_eq(access(lock, F_OK), 0);
    ck_assert_int_eq(open_writer(&told.second, false, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_REMOTE);
    ck_assert_int_eq(told.anews, 0);
}
END_TEST

START_TEST(who_lost_the_lock_to_another_writes_nothing_more_not_even_what_was_under_way) {
    char lock[160];
    snprintf(lock, sizeof lock, "%s-lock", fixture_path);
    told.check_every_ms = 600000; /* it has no time to look */
    ck_assert_int_eq(open_writer(&told.first, false, NULL), 0);
    ck_assert_int_eq(remove(lock), 0);
    ck_assert_int_eq(open_writer(&told.second, false, NULL), 0);
    writer_submit(told.first, make_record("u1", "1"));
    loop_run(told.loop);
    ck_assert_int_eq(told.durable, 0);
    ck_assert_contains(told.why, "its lock file was removed");
    /* It follows when the other one has ended. */
    writer_close(told.second, 5000);
    told.second = NULL;
    while (!told.durable)
        loop_run(told.loop);
    ck_assert_int_eq(told.mended, 1);
}
END_TEST

Suite *suite_claim(void) {
    Suite *suite = suite_create("claim");
    TCase *tests = tcase_create("claim");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_register_has_one_writer_and_the_second_is_told_who_and_what_to_do);
    tcase_add_test(tests, two_names_of_one_register_are_one_register);
    tcase_add_test(tests, a_lock_file_that_a_killed_process_left_is_in_nobodys_way);
    tcase_add_test(tests, who_cannot_use_the_lock_file_is_told_so);
    tcase_add_test(tests, a_patient_writer_waits_for_the_register_that_another_has);
    tcase_add_test(tests, a_patient_writer_says_once_what_is_missing_and_begins_when_it_is_there);
    tcase_add_test(tests, a_patient_writer_opens_a_good_register_without_a_word_of_failure);
    tcase_add_test(tests, a_patient_writer_that_never_had_its_register_is_closed_at_once);
    tcase_add_test(tests, a_lock_file_that_is_removed_in_use_is_noticed_and_made_again);
    tcase_add_test(tests, who_lost_the_lock_to_another_writes_nothing_more_not_even_what_was_under_way);
    suite_add_tcase(suite, tests);
    return suite;
}
