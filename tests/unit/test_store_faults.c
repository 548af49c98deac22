/*
 * The register on a disk that fails: each operation in turn, in each way, and with the power lost at that moment. What
 * was reported durable is there afterwards, and the file is whole.
 */
#include "faulty_disk.h"
#include "history_fixture.h"
#include "suites.h"

#define RUNS 4
#define TRIES 3         /* what fails once works when it is tried again, as the writer does */
#define FAULTS_MAX 2000 /* operations of the script; there are some hundred */
#define LUCKS 2         /* nothing of what was not synced, and a part of it */

/* SEXTON_FAULTS_EVERY=N: only each N-th operation, where the same is done in full on another build. */
static int every(void) {
    const char *text = getenv("SEXTON_FAULTS_EVERY");
    long n = text ? strtol(text, NULL, 10) : 1;
    return n > 0 && n < FAULTS_MAX ? (int)n : 1;
}

/* How far each run is on record, as far as anyone was told. */
enum progress { NOTHING, RECORDED, INTENDED, GONE };
static enum progress told[RUNS];

static struct history_request *make_step(int run, enum progress step) {
    char uid[16];
    snprintf(uid, sizeof uid, "u%d", run);
    if (step == RECORDED) {
        struct history_request *request = make_record(uid, "1");
        /* of more than a page: so it has overflow pages, as manifests do */
        request->run->manifest = calloc(1, 6001);
        memset(request->run->manifest, 'a' + run, 6000);
        return request;
    }
    if (step == INTENDED)
        return make_request(HISTORY_INTENT, uid, NULL);
    return make_deleted(uid, RUN_CAUSE_TTL, NOW_MS);
}

/* Two runs, one step: a batch. 0 when it is reported durable. */
static int write_step(struct history **history, int first, enum progress step) {
    struct error err = {0};
    int result = 0;
    if (!*history)
        result = history_open(fixture_location, HISTORY_WRITE, history, &err);
    if (result == 0) {
        struct history_request *batch = make_step(first, step);
        batch->next = make_step(first + 1, step);
        result = history_apply(*history, "c1", batch, &err);
        ck_assert(history_refused(*history) == NULL);
        history_request_destroy(batch->next);
        history_request_destroy(batch);
    }
    if (result == 0) {
        told[first] = told[first + 1] = step;
        return 0;
    }
    ck_assert_int_ne(err.kind, ERROR_NONE);
    history_close(*history);
    *history = NULL;
    return -1;
}

/* All that the register is there for, opened twice. -1 when a step failed again and again. */
static int run_script(void) {
    struct history *history = NULL;
    int result = 0;
    memset(told, 0, sizeof told);
    for (int first = 0; first < RUNS && result == 0; first += 2) {
        for (enum progress step = RECORDED; step <= GONE && result == 0; step++) {
            result = -1;
            for (int i = 0; i < TRIES && result < 0; i++)
                result = write_step(&history, first, step);
        }
        history_close(history);
        history = NULL;
    }
    return result;
}

static const char *state_text(int run) {
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT delete_state FROM runs WHERE job_uid = 'u%d'", run);
    return fixture_sql(sql);
}

/* What the register at the path says, opened as at a start. */
static void check_told(const char *when, int n) {
    struct history *history = NULL;
    struct error err = {0};
    int result = history_open(fixture_location, HISTORY_WRITE, &history, &err);
    ck_assert_msg(result == 0, "%s %d: it cannot be opened again: %s", when, n, err.text);
    history_close(history);
    ck_assert_msg(strcmp(fixture_sql("PRAGMA integrity_check"), "ok") == 0, "%s %d: it is damaged", when, n);
    for (int run = 0; run < RUNS; run++) {
        const char *state = state_text(run);
        enum progress found = strcmp(state, "due") == 0        ? RECORDED
                              : strcmp(state, "deleting") == 0 ? INTENDED
                              : strcmp(state, "deleted") == 0  ? GONE
                                                               : NOTHING;
        ck_assert_msg(found >= told[run], "%s %d: u%d was reported durable up to step %d and is '%s'", when, n, run,
                told[run], state);
    }
}

static void begin_afresh(void) {
    fixture_teardown();
    fixture_setup();
}

/* With each fault in turn until the script needs no more operations. */
static void check_each_fault(enum disk_fault how, const char *name) {
    int n = 1;
    for (;; n += every()) {
        ck_assert_int_lt(n, FAULTS_MAX);
        begin_afresh();
        disk_install(fixture_folder);
        disk_fail_at(n, how, false);
        int result = run_script();
        bool came = disk_has_failed();
        disk_remove();
        ck_assert_msg(result == 0, "%s %d: what failed once did not work again", name, n);
        check_told(name, n);
        if (!came)
            break;
    }
    ck_assert_int_gt(n, 50);
}

START_TEST(an_io_error_at_any_moment_loses_nothing) {
    check_each_fault(DISK_EIO, "EIO at operation");
}
END_TEST

START_TEST(a_full_disk_at_any_moment_loses_nothing) {
    check_each_fault(DISK_ENOSPC, "ENOSPC at operation");
}
END_TEST

START_TEST(a_write_cut_short_at_any_moment_loses_nothing) {
    check_each_fault(DISK_HALF, "half of operation");
}
END_TEST

/* From operation n on nothing works; then the power is gone, and the disk found elsewhere. */
static bool lose_power_at(int n, unsigned luck) {
    char before[64];
    begin_afresh();
    disk_install(fixture_folder);
    disk_fail_at(n, DISK_EIO, true);
    int result = run_script();
    bool came = disk_has_failed();
    ck_assert(came == (result < 0) || came);
    strcpy(before, fixture_folder);
    fixture_setup();
    disk_lose_power(fixture_folder, luck);
    disk_remove();
    check_told("power lost at operation", n);
    fixture_teardown();
    strcpy(fixture_folder, before);
    snprintf(fixture_path, sizeof fixture_path, "%s/history.db", fixture_folder);
    snprintf(fixture_location, sizeof fixture_location, "sqlite:%s", fixture_path);
    return came;
}

START_TEST(a_power_loss_at_any_moment_takes_nothing_that_was_reported_durable) {
    int n = 1;
    bool came = true;
    for (; came; n += every()) {
        ck_assert_int_lt(n, FAULTS_MAX);
        for (unsigned luck = 0; luck < LUCKS; luck++)
            came = lose_power_at(n, luck ? (unsigned)n + 1 : 0);
    }
    ck_assert_int_gt(n, 50);
}
END_TEST

Suite *suite_store_faults(void) {
    Suite *suite = suite_create("store_faults");
    TCase *tests = tcase_create("disk");
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, an_io_error_at_any_moment_loses_nothing);
    tcase_add_test(tests, a_full_disk_at_any_moment_loses_nothing);
    tcase_add_test(tests, a_write_cut_short_at_any_moment_loses_nothing);
    tcase_add_test(tests, a_power_loss_at_any_moment_takes_nothing_that_was_reported_durable);
    suite_add_tcase(suite, tests);
    return suite;
}
