#include "history_fixture.h"

#include <fcntl.h>

#include "base/duration.h"
#include "faulty_disk.h"
#include "history/backend.h"
#include "history/schema.h"

Suite *suite_history(void);

/* ---- opening ---- */

static void check_open_fails(const char *location, enum history_mode mode, enum error_kind kind, const char *says) {
    struct history *history = NULL;
    struct error err = {0};
    ck_assert_int_eq(history_open(location, mode, &history, &err), -1);
    ck_assert_int_eq(err.kind, kind);
    ck_assert_contains(err.text, says);
    ck_assert_ptr_null(history);
}

START_TEST(a_location_that_is_not_understood_is_a_usage_error) {
    check_open_fails("/var/lib/history.db", HISTORY_WRITE, ERROR_USAGE, "does not say its kind");
    check_open_fails("", HISTORY_WRITE, ERROR_USAGE, "does not say its kind");
    check_open_fails(":memory:", HISTORY_WRITE, ERROR_USAGE, "does not say its kind");
    check_open_fails("sqlite:", HISTORY_WRITE, ERROR_USAGE, "has no path");
    check_open_fails("postgresql://u:secret@db/x", HISTORY_WRITE, ERROR_USAGE, "store kind 'postgresql' is not known");
    struct error err = {0};
    struct history *history;
    ck_assert_int_eq(history_open("postgresql://u:secret@db/x", HISTORY_READ, &history, &err), -1);
    ck_assert_ptr_null(strstr(err.text, "secret"));
    char *longest = calloc(1, 6000);
    memcpy(longest, "sqlite:", 7);
    memset(longest + 7, 'x', 5000);
    check_open_fails(longest, HISTORY_WRITE, ERROR_USAGE, "longer than");
    free(longest);
    history_close(NULL);
}
END_TEST

START_TEST(a_new_register_is_in_wal_mode_marked_as_ours_and_not_for_everyone) {
    history_close(fixture_open(HISTORY_WRITE));
    ck_assert_str_eq(fixture_sql("PRAGMA journal_mode"), "wal");
    ck_assert_int_eq(atoi(fixture_sql("PRAGMA application_id")), SCHEMA_APPLICATION_ID);
    ck_assert_int_eq(atoi(fixture_sql("PRAGMA user_version")), schema_version);
    struct stat info;
    ck_assert_int_eq(stat(fixture_path, &info), 0);
    ck_assert_int_eq(info.st_mode & 0007, 0);
}
END_TEST

START_TEST(special_sqlite_names_are_only_names) {
    struct history *history;
    char here[512];
    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    ck_assert_int_eq(chdir(fixture_folder), 0);
    int result = history_open("sqlite::memory:", HISTORY_WRITE, &history, NULL);
    bool there = access(":memory:", F_OK) == 0;
    history_close(history);
    ck_assert_int_eq(chdir(here), 0);
    ck_assert_int_eq(result, 0);
    ck_assert(there);
}
END_TEST

START_TEST(reading_a_missing_register_does_not_create_it) {
    check_open_fails(fixture_location, HISTORY_READ, ERROR_IO, "no register at");
    ck_assert_int_eq(access(fixture_path, F_OK), -1);
}
END_TEST

static void write_file(const char *content) {
    FILE *file = fopen(fixture_path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(content, file);
    fclose(file);
}

START_TEST(a_file_that_is_no_database_is_refused_and_left_alone) {
    char text[4200] = "";
    memset(text, 'x', sizeof text - 1);
    for (int big = 0; big < 2; big++) {
        write_file(big ? text : "hello\n");
        check_open_fails(fixture_location, HISTORY_READ, ERROR_FORMAT, "not a Sexton register");
        check_open_fails(fixture_location, HISTORY_WRITE, ERROR_FORMAT, "not a Sexton register");
        struct stat info;
        ck_assert_int_eq(stat(fixture_path, &info), 0);
        ck_assert_int_eq(info.st_size, big ? sizeof text - 1 : 6);
    }
}
END_TEST

START_TEST(another_programs_database_is_refused_and_left_alone) {
    write_file("");
    fixture_sql("CREATE TABLE theirs (x)");
    check_open_fails(fixture_location, HISTORY_READ, ERROR_IO, "some other program's database");
    check_open_fails(fixture_location, HISTORY_WRITE, ERROR_IO, "some other program's database");
    ck_assert_str_eq(fixture_sql("PRAGMA journal_mode"), "delete");
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM sqlite_schema"), "1");
}
END_TEST

START_TEST(a_register_from_a_newer_version_names_both_versions) {
    history_close(fixture_open(HISTORY_WRITE));
    fixture_sql("PRAGMA user_version = 9");
    check_open_fails(fixture_location, HISTORY_READ, ERROR_IO, "has version 9");
    char known[64];
    snprintf(known, sizeof known, "knows versions up to %d:", schema_version);
    check_open_fails(fixture_location, HISTORY_WRITE, ERROR_IO, known);
}
END_TEST

START_TEST(a_register_of_an_older_version_is_brought_up_to_date_with_its_runs) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "1"));
    history_close(history);
    /* As version 1 made it. */
    char saved[300], sql[600];
    snprintf(saved, sizeof saved, "%s-1", fixture_path);
    ck_assert_int_eq(rename(fixture_path, saved), 0);
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(fixture_path, &db), SQLITE_OK);
    snprintf(sql, sizeof sql,
            "ATTACH '%s' AS old; INSERT INTO runs SELECT * FROM old.runs; PRAGMA user_version = 1; "
            "PRAGMA application_id = %d",
            saved, SCHEMA_APPLICATION_ID);
    ck_assert_int_eq(sqlite3_exec(db, schema_migrations[0], NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    /* Somebody has tidied up since. */
    ck_assert_int_eq(sqlite3_exec(db, "DROP VIEW runs_view; DROP INDEX runs_cronjob", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    unlink(saved);
    check_open_fails(fixture_location, HISTORY_READ, ERROR_IO, "brings it up to date");
    history_close(fixture_open(HISTORY_WRITE));
    ck_assert_int_eq(atoi(fixture_sql("PRAGMA user_version")), schema_version);
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM sqlite_schema WHERE name = 'runs_recreated'"), "1");
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs"), "1");
    ck_assert_str_eq(fixture_sql("SELECT group_concat(integrity_check) FROM pragma_integrity_check"), "ok");
    ck_assert_str_eq(fixture_sql("SELECT instr(sql, 'IN (''ttl') FROM sqlite_schema WHERE name = 'runs'"), "0");
}
END_TEST

START_TEST(a_value_that_is_none_of_a_columns_names_is_refused_by_the_table_itself) {
    static const char *const columns[] = {"\"trigger\"", "outcome", "delete_state", "delete_cause"};
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "1"));
    history_close(history);
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        char sql[128];
        sqlite3 *db = NULL;
        ck_assert_int_eq(sqlite3_open(fixture_path, &db), SQLITE_OK);
        snprintf(sql, sizeof sql, "UPDATE runs SET %s = 'none'", columns[i]);
        ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_CONSTRAINT);
        sqlite3_close(db);
    }
}
END_TEST

START_TEST(an_empty_file_is_a_register_that_has_not_begun) {
    write_file("");
    check_open_fails(fixture_location, HISTORY_READ, ERROR_IO, "no register at");
    history_close(fixture_open(HISTORY_WRITE));
    history_close(fixture_open(HISTORY_READ));
}
END_TEST

START_TEST(paths_that_cannot_be_files_are_told_apart) {
    char location[256];
    snprintf(location, sizeof location, "sqlite:%s/none/history.db", fixture_folder);
    check_open_fails(location, HISTORY_WRITE, ERROR_IO, "there is no folder");
    check_open_fails(location, HISTORY_READ, ERROR_IO, "no register at");
    snprintf(location, sizeof location, "sqlite:%s", fixture_folder);
    check_open_fails(location, HISTORY_WRITE, ERROR_IO, "is not a file");
    check_open_fails(location, HISTORY_READ, ERROR_IO, "is not a file");
    write_file("");
    snprintf(location, sizeof location, "%s/below", fixture_location);
    check_open_fails(location, HISTORY_WRITE, ERROR_IO, "Not a directory");
    check_open_fails(location, HISTORY_READ, ERROR_IO, "Not a directory");
}
END_TEST

START_TEST(a_folder_or_file_that_is_closed_to_us_is_named_with_its_owner) {
    bool root = geteuid() == 0;
    ck_assert_int_eq(chmod(fixture_folder, root ? 0755 : 0555), 0);
    become_nobody();
    check_open_fails(fixture_location, HISTORY_WRITE, ERROR_IO, "is closed to uid");
    check_open_fails(fixture_location, HISTORY_READ, ERROR_IO, "no register at");
    become_ourselves();
    ck_assert_int_eq(chmod(fixture_folder, 0700), 0);
    history_close(fixture_open(HISTORY_WRITE));
    ck_assert_int_eq(chmod(fixture_folder, root ? 0700 : 0), 0);
    become_nobody();
    check_open_fails(fixture_location, HISTORY_WRITE, ERROR_IO, "is closed to uid");
    check_open_fails(fixture_location, HISTORY_READ, ERROR_IO, "is closed to uid");
    check_open_fails(fixture_location, HISTORY_READ, ERROR_IO, fixture_folder);
    become_ourselves();
    ck_assert_int_eq(chmod(fixture_folder, 0755), 0);
    ck_assert_int_eq(chmod(fixture_path, root ? 0644 : 0444), 0);
    become_nobody();
    check_open_fails(fixture_location, HISTORY_WRITE, ERROR_IO, "the file (owner uid");
    become_ourselves();
    ck_assert_int_eq(chmod(fixture_path, root ? 0600 : 0), 0);
    become_nobody();
    check_open_fails(fixture_location, HISTORY_READ, ERROR_IO, "run as its owner");
    become_ourselves();
    ck_assert_int_eq(chmod(fixture_path, 0600), 0);
}
END_TEST

static int count_row(void *arg, const struct history_row *row, struct error *err) {
    (void)row;
    (void)err;
    ++*(int *)arg;
    return 0;
}

static const struct history_query everything = {.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE};

static int count_rows(struct history *history) {
    int n = 0;
    ck_assert_int_eq(history_each(history, &everything, count_row, &n, NULL), 0);
    return n;
}

START_TEST(a_register_is_readable_in_a_folder_that_cannot_be_written) {
    /* And under a name that must be quoted for SQLite. */
    snprintf(fixture_path, sizeof fixture_path, "%s/his?to#ry%%41.db", fixture_folder);
    snprintf(fixture_location, sizeof fixture_location, "sqlite:%s", fixture_path);
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "1"));
    history_close(history);
    ck_assert_int_eq(chmod(fixture_path, 0644), 0);
    ck_assert_int_eq(chmod(fixture_folder, 0555), 0);
    become_nobody();
    history = fixture_open(HISTORY_READ);
    ck_assert_int_eq(count_rows(history), 1);
    history_close(history);
    become_ourselves();
    ck_assert_int_eq(chmod(fixture_folder, 0755), 0);
}
END_TEST

START_TEST(a_damaged_register_is_an_error_and_says_what_to_do) {
    struct history *history = fixture_open(HISTORY_WRITE);
    for (int i = 0; i < 100; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "u%d", i);
        apply_ok(history, make_record(uid, "1"));
    }
    history_close(history);
    int root = atoi(fixture_sql("SELECT rootpage FROM sqlite_schema WHERE name = 'runs'"));
    int fd = open(fixture_path, O_WRONLY);
    char rubbish[4096];
    memset(rubbish, 0xa5, sizeof rubbish);
    ck_assert_int_eq(pwrite(fd, rubbish, sizeof rubbish, (off_t)(root - 1) * 4096), sizeof rubbish);
    close(fd);
    struct error err = {0};
    int n = 0;
    history = fixture_open(HISTORY_READ);
    ck_assert_int_eq(history_each(history, &everything, count_row, &n, &err), -1);
    ck_assert_contains(err.text, "put a backup in its place");
    history_close(history);
    history = fixture_open(HISTORY_WRITE);
    ck_assert_int_eq(apply(history, make_record("new", "1"), &err), -1);
    ck_assert_ptr_null(history_refused(history));
    history_close(history);
}
END_TEST

/* ---- what is recorded ---- */

static struct run *full_run(void) {
    struct run *run = make_run("uid-1", "100");
    run->owner_kind = strdup("CronJob");
    run->owner_name = strdup("nightly");
    run->owner_uid = strdup("owner-uid");
    run->cronjob = strdup("nightly");
    run->trigger = RUN_SCHEDULED;
    run->scheduled_at_ms = NOW_MS - 4 * HOUR_MS;
    run->outcome = OUTCOME_FAILED;
    run->reason = strdup("BackoffLimitExceeded");
    run->message = strdup("Job has reached\nthe \"limit\" \xff");
    run->pods_succeeded = 1;
    run->pods_failed = 7;
    run->completions = 3;
    run->parallelism = 2;
    run->backoff_limit = 6;
    run->completion_mode = strdup("Indexed");
    run->completed_indexes = strdup("0-1");
    run->failed_indexes = strdup("2");
    run->images = strdup("[\"busybox\"]");
    run->labels = strdup("{\"app\":\"x\"}");
    run->annotations = strdup("{\"a\":\"b\"}");
    run->manifest = strdup("{\"kind\":\"Job\"}");
    return run;
}

static int check_full_row(void *arg, const struct history_row *row, struct error *err) {
    (void)err;
    const struct run *run = &row->run;
    ck_assert_str_eq(row->cluster, "c1");
    ck_assert_str_eq(run->namespace, "ml");
    ck_assert_str_eq(run->job_name, "train");
    ck_assert_str_eq(run->job_uid, "uid-1");
    ck_assert_str_eq(run->resource_version, "100");
    ck_assert_str_eq(run->owner_kind, "CronJob");
    ck_assert_str_eq(run->owner_name, "nightly");
    ck_assert_str_eq(run->owner_uid, "owner-uid");
    ck_assert_str_eq(run->cronjob, "nightly");
    ck_assert_int_eq(run->trigger, RUN_SCHEDULED);
    ck_assert_int_eq(run->scheduled_at_ms, NOW_MS - 4 * HOUR_MS);
    ck_assert_int_eq(run->created_at_ms, NOW_MS - 3 * HOUR_MS);
    ck_assert_int_eq(run->started_at_ms, NOW_MS - 2 * HOUR_MS);
    ck_assert_int_eq(run->finished_at_ms, NOW_MS - HOUR_MS);
    ck_assert_int_eq(row->duration_ms, HOUR_MS);
    ck_assert_int_eq(row->recorded_at_ms, NOW_MS);
    ck_assert_int_eq(run->outcome, OUTCOME_FAILED);
    ck_assert_str_eq(run->reason, "BackoffLimitExceeded");
    ck_assert_str_eq(run->message, "Job has reached\nthe \"limit\" \xff");
    ck_assert_int_eq(run->pods_succeeded, 1);
    ck_assert_int_eq(run->pods_failed, 7);
    ck_assert_int_eq(run->completions, 3);
    ck_assert_int_eq(run->parallelism, 2);
    ck_assert_int_eq(run->backoff_limit, 6);
    ck_assert_str_eq(run->completion_mode, "Indexed");
    ck_assert_str_eq(run->completed_indexes, "0-1");
    ck_assert_str_eq(run->failed_indexes, "2");
    ck_assert_str_eq(run->images, "[\"busybox\"]");
    ck_assert_str_eq(run->labels, "{\"app\":\"x\"}");
    ck_assert_str_eq(run->annotations, "{\"a\":\"b\"}");
    ck_assert_str_eq(run->manifest, "{\"kind\":\"Job\"}");
    ck_assert_int_eq(row->policy.state, RUN_KEPT);
    ck_assert_int_eq(row->policy.ttl_ms, DURATION_NEVER);
    ck_assert_int_eq(row->policy.due_at_ms, TIME_NONE);
    ck_assert_str_eq(row->policy.rule, "ttl-after-failure=never");
    ck_assert_str_eq(row->policy.source, "annotation");
    ck_assert_int_eq(row->cause, RUN_CAUSE_NONE);
    ck_assert_int_eq(row->delete_requested_at_ms, TIME_NONE);
    ck_assert_int_eq(row->deleted_at_ms, TIME_NONE);
    ++*(int *)arg;
    return 0;
}

START_TEST(everything_known_of_a_run_comes_back_as_it_was) {
    struct history *history = fixture_open(HISTORY_WRITE);
    struct history_request *request = make_request(HISTORY_RECORD, "uid-1", full_run());
    request->policy = (struct run_policy){.state = RUN_KEPT,
            .ttl_ms = DURATION_NEVER,
            .due_at_ms = INT64_MAX,
            .rule = "ttl-after-failure=never",
            .source = "annotation"};
    apply_ok(history, request);
    int n = 0;
    ck_assert_int_eq(history_each(history, &everything, check_full_row, &n, NULL), 0);
    ck_assert_int_eq(n, 1);
    history_close(history);
    ck_assert_str_eq(fixture_sql("SELECT ttl_ms FROM runs"), "-1");
    ck_assert_str_eq(fixture_sql("SELECT due_at FROM runs"), "NULL");
}
END_TEST

START_TEST(the_view_is_for_people) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_request(HISTORY_RECORD, "uid-1", full_run()));
    history_close(history);
    ck_assert_str_eq(fixture_sql("SELECT finished FROM runs_view"), "2026-11-20T23:00:00Z");
    ck_assert_str_eq(fixture_sql("SELECT duration FROM runs_view"), "1h0m");
    ck_assert_str_eq(fixture_sql("SELECT ttl FROM runs_view"), "0ms");
    ck_assert_str_eq(fixture_sql("SELECT deleted FROM runs_view"), "NULL");
    ck_assert_str_eq(fixture_sql("SELECT job || state || \"trigger\" FROM runs_view"), "trainduescheduled");
}
END_TEST

static int check_bare_row(void *arg, const struct history_row *row, struct error *err) {
    (void)err;
    ck_assert_ptr_null(row->run.resource_version);
    ck_assert_ptr_null(row->run.message);
    ck_assert_int_eq(row->run.pods_failed, RUN_UNKNOWN);
    ck_assert_int_eq(row->run.finished_at_ms, TIME_NONE);
    ck_assert_int_eq(row->duration_ms, RUN_UNKNOWN);
    ck_assert_int_eq(row->run.outcome, OUTCOME_NONE);
    ck_assert_int_eq(row->policy.ttl_ms, RUN_UNKNOWN);
    ck_assert_str_eq(row->policy.rule, "");
    ++*(int *)arg;
    return 0;
}

START_TEST(what_is_not_known_is_null) {
    struct history *history = fixture_open(HISTORY_WRITE);
    struct run *run = run_create();
    run->namespace = strdup("ml");
    run->job_name = strdup("bare");
    struct history_request *request = make_request(HISTORY_RECORD, "bare", run);
    request->policy = (struct run_policy){.state = RUN_KEPT, .ttl_ms = RUN_UNKNOWN, .due_at_ms = TIME_NONE};
    request->at_ms = TIME_NONE;
    int64_t before_ms = clock_wall_ms();
    apply_ok(history, request);
    int n = 0;
    ck_assert_int_eq(history_each(history, &everything, check_bare_row, &n, NULL), 0);
    ck_assert_int_eq(n, 1);
    history_close(history);
    ck_assert_str_eq(
            fixture_sql("SELECT count(*) FROM runs WHERE ttl_ms IS NULL AND policy IS NULL AND due_at IS NULL AND "
                        "policy_source IS NULL AND outcome IS NULL AND pods_failed IS NULL"),
            "1");
    ck_assert(atoll(fixture_sql("SELECT recorded_at FROM runs")) >= before_ms);
}
END_TEST

static off_t wal_size(void) {
    char wal[160];
    struct stat info;
    snprintf(wal, sizeof wal, "%s-wal", fixture_path);
    ck_assert_int_eq(stat(wal, &info), 0);
    return info.st_size;
}

START_TEST(the_same_request_again_writes_nothing) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "5"));
    off_t size = wal_size();
    struct history_request *again = make_record("u1", "5");
    again->at_ms = NOW_MS + 1;
    set_text(&again->run->message, "would be new");
    apply_ok(history, again);
    ck_assert_int_eq(wal_size(), size);
    ck_assert_str_eq(fixture_sql("SELECT recorded_at FROM runs"), "1795219200000");
    ck_assert_str_eq(fixture_sql("SELECT message FROM runs"), "NULL");

    apply_ok(history, make_request(HISTORY_INTENT, "u1", NULL));
    size = wal_size();
    apply_ok(history, make_request(HISTORY_INTENT, "u1", NULL));
    ck_assert_int_eq(wal_size(), size);
    apply_ok(history, make_deleted("u1", RUN_CAUSE_TTL, NOW_MS));
    size = wal_size();
    apply_ok(history, make_deleted("u1", RUN_CAUSE_TTL, NOW_MS + 5));
    apply_ok(history, make_record("u1", "5"));
    ck_assert_int_eq(wal_size(), size);
    history_close(history);
}
END_TEST

START_TEST(a_policy_that_changed_is_written_even_when_the_run_is_the_same) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "5"));
    struct history_request *request = make_record("u1", "5");
    request->policy.state = RUN_KEPT;
    request->policy.due_at_ms = TIME_NONE;
    strcpy(request->policy.rule, "hold=true");
    apply_ok(history, request);
    ck_assert_str_eq(fixture_sql("SELECT delete_state || policy || ifnull(due_at, '-') FROM runs"), "kepthold=true-");
    apply_ok(history, make_request(HISTORY_POLICY, "u1", NULL));
    ck_assert_str_eq(fixture_sql("SELECT delete_state || policy FROM runs"), "duettl-after-success=0s");
    history_close(history);
}
END_TEST

START_TEST(an_update_fills_in_and_never_takes_away) {
    struct history *history = fixture_open(HISTORY_WRITE);
    struct history_request *request = make_record("u1", "5");
    request->run->finished_at_ms = TIME_NONE;
    request->run->outcome = OUTCOME_NONE;
    set_text(&request->run->manifest, "{}");
    request->run->pods_failed = 2;
    apply_ok(history, request);
    ck_assert_str_eq(fixture_sql("SELECT duration_ms FROM runs"), "NULL");
    request = make_record("u1", "6");
    request->at_ms = NOW_MS + 77;
    apply_ok(history, request);
    ck_assert_str_eq(fixture_sql("SELECT duration_ms || outcome || manifest || pods_failed || recorded_at || "
                                 "resource_version FROM runs"),
            "3600000Succeeded{}217952192000006");
    request = make_record("u1", "7");
    request->run->started_at_ms = TIME_NONE;
    request->run->outcome = OUTCOME_NONE;
    apply_ok(history, request);
    ck_assert_str_eq(fixture_sql("SELECT duration_ms || outcome FROM runs"), "3600000Succeeded");
    history_close(history);
}
END_TEST

START_TEST(a_run_that_finished_before_it_started_has_no_duration) {
    struct history *history = fixture_open(HISTORY_WRITE);
    struct history_request *request = make_record("u1", "5");
    request->run->finished_at_ms = request->run->started_at_ms - 1;
    apply_ok(history, request);
    request = make_record("u2", "5");
    apply_ok(history, request);
    request = make_record("u2", "6");
    request->run->finished_at_ms = request->run->started_at_ms - 1;
    apply_ok(history, request);
    history_close(history);
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs WHERE duration_ms IS NULL"), "2");
}
END_TEST

/* ---- deletion ---- */

START_TEST(no_deletion_without_a_record) {
    struct history *history = fixture_open(HISTORY_WRITE);
    struct history_request *first = make_record("u1", "1"), *second = make_request(HISTORY_INTENT, "stranger", NULL),
                           *third = make_record("u3", "1");
    first->next = second;
    second->next = third;
    struct error err = {0};
    ck_assert_int_eq(history_apply(history, "c1", first, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_FORMAT);
    ck_assert_contains(err.text, "no deletion without a record: uid stranger");
    ck_assert_ptr_eq(history_refused(history), second);
    ck_assert_int_eq(count_rows(history), 0);
    /* Of another cluster is not on record here. */
    ck_assert_int_eq(history_apply(history, "c2", third, NULL), 0);
    history_request_destroy(second);
    second = make_request(HISTORY_INTENT, "u3", NULL);
    ck_assert_int_eq(history_apply(history, "c1", second, &err), -1);
    /* Without the stranger the others go on. */
    first->next = third;
    ck_assert_int_eq(history_apply(history, "c1", first, &err), 0);
    ck_assert_ptr_null(history_refused(history));
    ck_assert_int_eq(count_rows(history), 3);
    history_request_destroy(first);
    history_request_destroy(second);
    history_request_destroy(third);
    history_close(history);
}
END_TEST

/* inserted and ended, as "I-" or "IE". */
static void expect_done(struct history *history, struct history_request *request, const char *done) {
    const char shown[] = {(char)(history_apply(history, "c1", request, NULL) < 0 ? '!'
                                  : request->inserted                            ? 'I'
                                                                                 : '-'),
            request->ended ? 'E' : '-', '\0'};
    ck_assert_str_eq(shown, done);
    history_request_destroy(request);
}

START_TEST(each_request_is_told_whether_it_made_the_row_or_ended_it) {
    struct history *history = fixture_open(HISTORY_WRITE);
    expect_done(history, make_record("u1", "1"), "I-");
    expect_done(history, make_record("u1", "2"), "--");
    expect_done(history, make_request(HISTORY_INTENT, "u1", NULL), "--");
    expect_done(history, make_deleted("u1", RUN_CAUSE_UNKNOWN, NOW_MS), "-E");
    expect_done(history, make_deleted("u1", RUN_CAUSE_TTL, NOW_MS), "--");
    expect_done(history, make_deleted("stranger", RUN_CAUSE_EXTERNAL, NOW_MS), "--");
    struct history_request *both = make_deleted("u2", RUN_CAUSE_EXTERNAL, NOW_MS);
    both->run = make_run("u2", "1");
    expect_done(history, both, "IE");
    expect_done(history, make_request(HISTORY_INTENT, "stranger", NULL), "!-");
    history_close(history);
}
END_TEST

START_TEST(an_intent_with_its_run_records_both_in_one) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_request(HISTORY_INTENT, "u1", make_run("u1", "1")));
    ck_assert_str_eq(fixture_sql("SELECT delete_state || delete_requested_at || outcome FROM runs"),
            "deleting1795219200000Succeeded");
    apply_ok(history, make_request(HISTORY_POLICY, "u1", NULL));
    ck_assert_str_eq(fixture_sql("SELECT delete_state || delete_requested_at FROM runs"), "due1795219200000");
    history_close(history);
}
END_TEST

START_TEST(what_nobody_knows_of_is_nothing_to_do) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_deleted("u1", RUN_CAUSE_EXTERNAL, NOW_MS));
    apply_ok(history, make_request(HISTORY_POLICY, "u1", NULL));
    ck_assert_int_eq(count_rows(history), 0);
    history_close(history);
}
END_TEST

START_TEST(a_job_that_others_deleted_before_it_was_recorded_is_on_record) {
    struct history *history = fixture_open(HISTORY_WRITE);
    struct history_request *request = make_deleted("u1", RUN_CAUSE_EXTERNAL, NOW_MS + 5);
    request->run = make_run("u1", "1");
    request->run->outcome = OUTCOME_NONE;
    request->run->finished_at_ms = TIME_NONE;
    apply_ok(history, request);
    ck_assert_str_eq(fixture_sql("SELECT delete_state || delete_cause || deleted_at || ifnull(policy, '-') FROM runs"),
            "deletedexternal1795219200005-");
    history_close(history);
}
END_TEST

START_TEST(deleted_is_final) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "1"));
    apply_ok(history, make_deleted("u1", RUN_CAUSE_TTL, NOW_MS));
    apply_ok(history, make_record("u1", "2"));
    apply_ok(history, make_request(HISTORY_POLICY, "u1", NULL));
    struct history_request *intent = make_request(HISTORY_INTENT, "u1", NULL);
    intent->at_ms = NOW_MS + 9;
    apply_ok(history, intent);
    ck_assert_str_eq(
            fixture_sql("SELECT delete_state || delete_cause || deleted_at || delete_requested_at || resource_version "
                        "FROM runs"),
            "deletedttl179521920000017952192000092");
    history_close(history);
}
END_TEST

START_TEST(the_cause_that_tells_more_wins_and_brings_its_time) {
    static const struct {
        enum run_cause first, second;
        const char *result; /* cause and deleted_at */
    } cases[] = {
            {RUN_CAUSE_TTL, RUN_CAUSE_EXTERNAL, "ttl1"},
            {RUN_CAUSE_TTL, RUN_CAUSE_UNKNOWN, "ttl1"},
            {RUN_CAUSE_EXTERNAL, RUN_CAUSE_TTL, "ttl2"},
            {RUN_CAUSE_UNKNOWN, RUN_CAUSE_TTL, "ttl2"},
            {RUN_CAUSE_UNKNOWN, RUN_CAUSE_EXTERNAL, "unknown1"},
            {RUN_CAUSE_EXTERNAL, RUN_CAUSE_UNKNOWN, "external1"},
            {RUN_CAUSE_NONE, RUN_CAUSE_NONE, "unknown1"},
    };
    struct history *history = fixture_open(HISTORY_WRITE);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char uid[16], sql[128];
        snprintf(uid, sizeof uid, "u%zu", i);
        apply_ok(history, make_record(uid, "1"));
        apply_ok(history, make_deleted(uid, cases[i].first, 1));
        apply_ok(history, make_deleted(uid, cases[i].second, 2));
        snprintf(sql, sizeof sql, "SELECT delete_cause || deleted_at FROM runs WHERE job_uid = '%s'", uid);
        ck_assert_str_eq(fixture_sql(sql), cases[i].result);
    }
    struct history_request *timeless = make_deleted("u0", RUN_CAUSE_TTL, TIME_NONE);
    set_text(&(timeless->run = make_run("t", "1"))->job_name, "timeless");
    strcpy(timeless->uid, "t");
    apply_ok(history, timeless);
    history_close(history);
    ck_assert_str_eq(fixture_sql("SELECT deleted_at > 1000 FROM runs WHERE job_uid = 't'"), "1");
}
END_TEST

START_TEST(requests_that_make_no_sense_are_refused_by_name) {
    struct history *history = fixture_open(HISTORY_WRITE);
    for (int i = 0; i < 6; i++) {
        struct history_request *request = make_record("u1", "1");
        struct error err = {0};
        if (i == 0)
            request->uid[0] = '\0';
        if (i == 1)
            strcpy(request->uid, "other");
        if (i == 2) {
            run_destroy(request->run);
            request->run = NULL;
        }
        if (i == 3)
            request->policy.state = RUN_DELETED;
        if (i == 4) {
            free(request->run->namespace);
            request->run->namespace = NULL;
        }
        if (i == 5)
            request->policy.ttl_ms = -7; /* against a rule of the table */
        ck_assert_int_eq(history_apply(history, "c1", request, &err), -1);
        ck_assert_int_eq(err.kind, ERROR_FORMAT);
        ck_assert_ptr_eq(history_refused(history), request);
        ck_assert_int_eq(history_apply(history, "c1", request, NULL), -1);
        history_request_destroy(request);
    }
    ck_assert_int_eq(count_rows(history), 0);
    history_close(history);
}
END_TEST

/* ---- open rows, pruning ---- */

struct open_seen {
    int n;
    enum run_state states[8];
    int stop_at;
};

static int see_open(void *arg, const struct history_open_run *run, struct error *err) {
    struct open_seen *seen = arg;
    ck_assert_str_eq(run->namespace, "ml");
    ck_assert_str_eq(run->job_name, "train");
    ck_assert_int_eq(run->job_uid[0], 'u');
    seen->states[seen->n++] = run->state;
    return seen->n == seen->stop_at ? error_set(err, ERROR_LIMIT, "enough") : 0;
}

START_TEST(open_rows_are_those_not_deleted_of_this_cluster) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "1"));
    apply_ok(history, make_request(HISTORY_INTENT, "u2", make_run("u2", "1")));
    apply_ok(history, make_record("u3", "1"));
    apply_ok(history, make_deleted("u3", RUN_CAUSE_TTL, NOW_MS));
    struct history_request *other = make_record("u4", "1");
    ck_assert_int_eq(history_apply(history, "c2", other, NULL), 0);
    history_request_destroy(other);
    struct open_seen seen = {0};
    ck_assert_int_eq(history_each_open(history, "c1", see_open, &seen, NULL), 0);
    ck_assert_int_eq(seen.n, 2);
    ck_assert_int_eq(seen.states[0], RUN_DUE);
    ck_assert_int_eq(seen.states[1], RUN_DELETING);
    struct error err = {0};
    seen = (struct open_seen){.stop_at = 1};
    ck_assert_int_eq(history_each_open(history, "c1", see_open, &seen, &err), -1);
    ck_assert_str_eq(err.text, "enough");
    history_close(history);
    fixture_sql("DROP TABLE runs");
    history = fixture_open(HISTORY_READ);
    ck_assert_int_eq(history_each_open(history, "c1", see_open, &seen, &err), -1);
    ck_assert_contains(err.text, "no such table");
    history_close(history);
}
END_TEST

/* ---- what comes back after it was deleted ---- */

static int see_recreated(void *arg, const struct history_recreated_run *run, struct error *err) {
    char *seen = arg;
    if (strlen(seen) > 900)
        return error_set(err, ERROR_LIMIT, "enough");
    sprintf(seen + strlen(seen), "%s/%s %lld-%lld\n", run->namespace, run->job_name, (long long)run->created_at_ms,
            (long long)run->deleted_at_ms);
    return 0;
}

static void add_gone(struct history *history, const char *job, const char *cronjob, enum run_cause cause,
        int64_t deleted_ms, const char *cluster) {
    static int n;
    char uid[16];
    snprintf(uid, sizeof uid, "gone%d", n++);
    struct history_request *record = make_record(uid, "1");
    set_text(&record->run->job_name, job);
    if (cronjob)
        set_text(&record->run->cronjob, cronjob);
    record->run->created_at_ms = deleted_ms - 10;
    record->next = cause == RUN_CAUSE_NONE ? NULL : make_deleted(uid, cause, deleted_ms);
    struct error err = {0};
    int result = history_apply(history, cluster, record, &err);
    ck_assert_msg(result == 0, "%s", err.text);
    if (record->next)
        history_request_destroy(record->next);
    record->next = NULL;
    history_request_destroy(record);
}

START_TEST(names_that_come_back_after_we_deleted_them_are_told_oldest_first) {
    struct history *history = fixture_open(HISTORY_WRITE);
    static const int64_t times[] = {300, 100, 200};
    for (int i = 0; i < 3; i++) {
        add_gone(history, "again", NULL, RUN_CAUSE_TTL, times[i], "c1");
        add_gone(history, "again", NULL, RUN_CAUSE_TTL, times[i] + 1, "c2"); /* another cluster's */
        add_gone(history, "backup", "backup", RUN_CAUSE_TTL, times[i], "c1");
        add_gone(history, "others", NULL, RUN_CAUSE_EXTERNAL, times[i], "c1");
        add_gone(history, "there", NULL, RUN_CAUSE_NONE, times[i], "c1");
    }
    add_gone(history, "a-few", NULL, RUN_CAUSE_TTL, 150, "c1");
    add_gone(history, "a-few", NULL, RUN_CAUSE_TTL, 160, "c1");
    char seen[1024] = "";
    ck_assert_int_eq(history_each_recreated(history, "c1", 0, 3, see_recreated, seen, NULL), 0);
    ck_assert_str_eq(seen, "ml/again 90-100\nml/again 190-200\nml/again 290-300\n");
    *seen = '\0';
    ck_assert_int_eq(history_each_recreated(history, "c1", 150, 2, see_recreated, seen, NULL), 0);
    ck_assert_str_eq(seen, "ml/a-few 140-150\nml/a-few 150-160\nml/again 190-200\nml/again 290-300\n");
    *seen = '\0';
    ck_assert_int_eq(history_each_recreated(history, "c1", 200, 3, see_recreated, seen, NULL), 0);
    ck_assert_str_eq(seen, "");
    history_close(history);
}
END_TEST

START_TEST(a_look_for_names_that_come_back_passes_errors_on) {
    struct history *history = fixture_open(HISTORY_WRITE);
    add_gone(history, "again", NULL, RUN_CAUSE_TTL, 100, "c1");
    char seen[1024];
    struct error err = {0};
    memset(seen, 'x', sizeof seen);
    seen[sizeof seen - 1] = '\0';
    ck_assert_int_eq(history_each_recreated(history, "c1", 0, 1, see_recreated, seen, &err), -1);
    ck_assert_str_eq(err.text, "enough");
    history_close(history);
    fixture_sql("DROP TABLE runs");
    history = fixture_open(HISTORY_READ);
    ck_assert_int_eq(history_each_recreated(history, "c1", 0, 1, see_recreated, seen, &err), -1);
    ck_assert_contains(err.text, "no such table");
    history_close(history);
}
END_TEST

/* It had not finished, and so was not on record before. */
static struct history_request *make_deleted_run(const char *uid, int64_t at_ms) {
    struct history_request *request = make_deleted(uid, RUN_CAUSE_EXTERNAL, at_ms);
    request->run = make_run(uid, "1");
    request->run->outcome = OUTCOME_NONE;
    request->run->finished_at_ms = TIME_NONE;
    return request;
}

START_TEST(pruning_removes_the_oldest_deleted_a_few_at_a_time) {
    struct history *history = fixture_open(HISTORY_WRITE);
    for (int i = 0; i < 6; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "u%d", i);
        struct history_request *request = i == 4 ? make_deleted_run(uid, 5) : make_record(uid, "1");
        if (i != 4)
            request->run->finished_at_ms = i + 1;
        apply_ok(history, request);
        if (i != 0 && i != 4)
            apply_ok(history, make_deleted(uid, RUN_CAUSE_TTL, 5));
    }
    /* u0 is old but there; u4 was deleted at 5, unfinished; u5 finished at 6 */
    int pruned = -1;
    ck_assert_int_eq(history_prune(history, 6, 2, &pruned, NULL), 0);
    ck_assert_int_eq(pruned, 2);
    ck_assert_str_eq(
            fixture_sql("SELECT group_concat(job_uid) FROM (SELECT job_uid FROM runs ORDER BY id)"), "u0,u3,u4,u5");
    ck_assert_int_eq(history_prune(history, 6, 100, &pruned, NULL), 0);
    ck_assert_int_eq(pruned, 2);
    ck_assert_int_eq(history_prune(history, 6, 100, &pruned, NULL), 0);
    ck_assert_int_eq(pruned, 0);
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM (SELECT job_uid FROM runs ORDER BY id)"), "u0,u5");
    fixture_sql("CREATE TRIGGER keep BEFORE DELETE ON runs BEGIN SELECT raise(ABORT, 'no'); END");
    struct error err = {0};
    ck_assert_int_eq(history_prune(history, NOW_MS, 100, &pruned, &err), -1);
    ck_assert_contains(err.text, "no");
    history_close(history);
}
END_TEST

/* ---- queries ---- */

static void fill_for_queries(struct history *history) {
    static const struct {
        const char *uid, *namespace, *job, *cronjob;
        enum outcome outcome;
        int64_t finished_ms, deleted_ms;
    } rows[] = {
            {"a", "ml", "train-1", "train", OUTCOME_SUCCEEDED, 100, 0},
            {"b", "ml", "train-2", "train", OUTCOME_FAILED, 300, 0},
            {"c", "web", "train-1", "trim", OUTCOME_SUCCEEDED, 200, 0},
            {"d", "web", "odd[1]x", NULL, OUTCOME_FAILED, 400, 0},
            {"e", "web", "killed", NULL, OUTCOME_NONE, TIME_NONE, 250},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct history_request *request =
                rows[i].deleted_ms ? make_deleted_run(rows[i].uid, rows[i].deleted_ms) : make_record(rows[i].uid, "1");
        set_text(&request->run->namespace, rows[i].namespace);
        set_text(&request->run->job_name, rows[i].job);
        if (rows[i].cronjob)
            set_text(&request->run->cronjob, rows[i].cronjob);
        request->run->outcome = rows[i].outcome;
        request->run->started_at_ms = 1;
        request->run->finished_at_ms = rows[i].finished_ms;
        apply_ok(history, request);
    }
}

static int add_uid(void *arg, const struct history_row *row, struct error *err) {
    (void)err;
    strcat(arg, row->run.job_uid);
    return 0;
}

START_TEST(queries_filter_and_sort_newest_first) {
    static const struct {
        struct history_query query;
        const char *uids;
    } cases[] = {
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE}, "dbeca"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .limit = 2}, "db"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .namespace = "ml"}, "ba"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .job = "train-1"}, "ca"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .job = "train-?"}, "bca"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .job = "*[1]*"}, "d"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .job = "odd[1]x"}, "d"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .job = "TRAIN*"}, ""},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .cronjob = "train"}, "ba"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .cronjob = "tr*"}, "bca"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .cronjob = "tr*", .job = "*2"}, "b"},
            {{.outcome = OUTCOME_FAILED, .since_ms = TIME_NONE, .until_ms = TIME_NONE}, "db"},
            {{.outcome = OUTCOME_NONE, .since_ms = TIME_NONE, .until_ms = TIME_NONE}, "e"},
            {{.outcome = -1, .since_ms = 200, .until_ms = 300}, "ec"},
            {{.outcome = -1, .since_ms = 301, .until_ms = TIME_NONE}, "d"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .uid = "c"}, "c"},
            {{.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE, .namespace = "' OR 1 --"}, ""},
    };
    struct history *history = fixture_open(HISTORY_WRITE);
    fill_for_queries(history);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char uids[32] = "";
        ck_assert_int_eq(history_each(history, &cases[i].query, add_uid, uids, NULL), 0);
        ck_assert_msg(strcmp(uids, cases[i].uids) == 0, "case %zu: %s", i, uids);
    }
    history_close(history);
}
END_TEST

static int stop_early(void *arg, const struct history_row *row, struct error *err) {
    (void)row;
    (void)err;
    return ++*(int *)arg == 2 ? 42 : 0;
}

START_TEST(a_query_stops_when_its_callback_says_so) {
    struct history *history = fixture_open(HISTORY_WRITE);
    fill_for_queries(history);
    int n = 0;
    ck_assert_int_eq(history_each(history, &everything, stop_early, &n, NULL), 42);
    ck_assert_int_eq(n, 2);
    history_close(history);
}
END_TEST

START_TEST(a_pattern_has_a_limit) {
    struct history *history = fixture_open(HISTORY_WRITE);
    char *pattern = calloc(1, 10000);
    memset(pattern, '*', 9999);
    struct history_query query = everything;
    struct error err = {0};
    query.job = pattern;
    ck_assert_int_eq(history_each(history, &query, stop_early, NULL, &err), -1);
    ck_assert_int_eq(err.kind, ERROR_LIMIT);
    free(pattern);
    history_close(history);
}
END_TEST

static bool plan_uses(const char *sql, const char *index) {
    char explain[2100];
    sqlite3 *db;
    sqlite3_stmt *statement = NULL;
    bool found = false;
    snprintf(explain, sizeof explain, "EXPLAIN QUERY PLAN %s", sql);
    ck_assert_int_eq(sqlite3_open_v2(fixture_path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    ck_assert_msg(sqlite3_prepare_v2(db, explain, -1, &statement, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    while (sqlite3_step(statement) == SQLITE_ROW)
        found = found || strstr((const char *)sqlite3_column_text(statement, 3), index);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return found;
}

/* What SQLite is really asked, for its plan. */
static char asked[2048];

static int on_statement(unsigned what, void *arg, void *statement, void *unexpanded) {
    (void)what;
    (void)arg;
    (void)unexpanded;
    if (strstr(sqlite3_sql(statement), " FROM runs"))
        snprintf(asked, sizeof asked, "%s", sqlite3_sql(statement));
    return 0;
}

static int trace_connection(sqlite3 *db, char **ret_error, const struct sqlite3_api_routines *routines) {
    (void)ret_error;
    (void)routines;
    return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, on_statement, NULL);
}

START_TEST(what_is_asked_while_others_wait_goes_by_an_index) {
    ck_assert_int_eq(sqlite3_auto_extension((void (*)(void))trace_connection), SQLITE_OK);
    struct history *history = fixture_open(HISTORY_WRITE);
    char seen[1024] = "";
    int pruned;
    ck_assert_int_eq(history_each_recreated(history, "c1", 0, 3, see_recreated, seen, NULL), 0);
    ck_assert_contains(asked, "GROUP BY");
    ck_assert(plan_uses(asked, "runs_recreated"));
    ck_assert(!plan_uses(asked, "SCAN"));
    ck_assert_int_eq(history_prune(history, 6, 2, &pruned, NULL), 0);
    ck_assert_contains(asked, "DELETE FROM runs");
    ck_assert(plan_uses(asked, "runs_newest"));
    ck_assert(!plan_uses(asked, "SCAN runs"));
    struct open_seen open_seen = {0};
    ck_assert_int_eq(history_each_open(history, "c1", see_open, &open_seen, NULL), 0);
    ck_assert(plan_uses(asked, "runs_open"));
    history_close(history);
    sqlite3_reset_auto_extension();
}
END_TEST

START_TEST(queries_find_their_index) {
    struct history *history = fixture_open(HISTORY_WRITE);
    ck_assert(plan_uses("SELECT * FROM runs WHERE 1 ORDER BY " SCHEMA_ENDED " DESC, id DESC LIMIT 5", "runs_newest"));
    ck_assert(!plan_uses("SELECT * FROM runs WHERE 1 ORDER BY " SCHEMA_ENDED " DESC, id DESC LIMIT 5", "TEMP B-TREE"));
    ck_assert(plan_uses("SELECT * FROM runs WHERE namespace = ?1 AND job_name = ?2 ORDER BY " SCHEMA_ENDED
                        " DESC, id DESC",
            "runs_job"));
    ck_assert(plan_uses("SELECT * FROM runs WHERE namespace = ?1 AND cronjob = ?2 ORDER BY " SCHEMA_ENDED
                        " DESC, id DESC",
            "runs_cronjob"));
    ck_assert(plan_uses("SELECT job_uid FROM runs WHERE cluster = ?1 AND " SCHEMA_OPEN, "runs_open"));
    ck_assert(plan_uses("SELECT id FROM runs WHERE cluster = ?1 AND job_uid = ?2", "sqlite_autoindex_runs_1"));
    ck_assert(plan_uses("SELECT id FROM runs WHERE job_uid = ?2", "sqlite_autoindex_runs_1"));
    ck_assert(plan_uses("SELECT id FROM runs WHERE " SCHEMA_ENDED
                        " < ?1 AND delete_state = 'deleted' ORDER BY " SCHEMA_ENDED " LIMIT 5",
            "runs_newest"));
    history_close(history);
}
END_TEST

/* ---- company ---- */

static int apply_in_the_middle(void *arg, const struct history_row *row, struct error *err) {
    static int n;
    char uid[16];
    (void)row;
    (void)err;
    snprintf(uid, sizeof uid, "new%d", n++);
    apply_ok(arg, make_record(uid, "1"));
    return 0;
}

START_TEST(a_reader_neither_waits_for_a_writer_nor_disturbs_it) {
    struct history *writer = fixture_open(HISTORY_WRITE);
    fill_for_queries(writer);
    struct history *reader = fixture_open(HISTORY_READ);
    ck_assert_int_eq(count_rows(reader), 5);
    /* A commit between any two rows that are read: what is read is as of the beginning. */
    ck_assert_int_eq(history_each(reader, &everything, apply_in_the_middle, writer, NULL), 0);
    ck_assert_int_eq(count_rows(reader), 10);
    /* Closing the writer with a reader there leaves an empty WAL. */
    history_close(writer);
    ck_assert_int_eq(wal_size(), 0);
    ck_assert_int_eq(count_rows(reader), 10);
    history_close(reader);
}
END_TEST

START_TEST(closing_the_last_writer_folds_the_wal_away) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "1"));
    history_close(history);
    char wal[160];
    snprintf(wal, sizeof wal, "%s-wal", fixture_path);
    ck_assert_int_eq(access(wal, F_OK), -1);
}
END_TEST

#define EACH_WRITES 60

static void write_many(int who) {
    struct history *history;
    struct error err = {0};
    child_assert(history_open(fixture_location, HISTORY_WRITE, &history, &err) == 0, err.text);
    for (int i = 0; i < EACH_WRITES; i++) {
        char uid[32];
        snprintf(uid, sizeof uid, "u%d-%d", who, i);
        child_assert(apply(history, make_record(uid, "1"), &err) == 0, err.text);
        child_assert(apply(history, make_record("both", uid), &err) == 0, err.text);
    }
    history_close(history);
}

START_TEST(two_writers_at_once_on_a_new_file_lose_nothing) {
    pid_t children[2];
    for (int who = 0; who < 2; who++) {
        children[who] = fork();
        if (children[who] == 0) {
            write_many(who);
            _exit(0);
        }
    }
    for (int who = 0; who < 2; who++) {
        int status = -1;
        waitpid(children[who], &status, 0);
        ck_assert_int_eq(status, 0);
    }
    struct history *history = fixture_open(HISTORY_READ);
    ck_assert_int_eq(count_rows(history), 2 * EACH_WRITES + 1);
    history_close(history);
    ck_assert_str_eq(fixture_sql("PRAGMA integrity_check"), "ok");
}
END_TEST

START_TEST(waiting_for_a_lock_can_be_interrupted) {
    struct history *history = fixture_open(HISTORY_WRITE);
    sqlite3 *other;
    ck_assert_int_eq(sqlite3_open(fixture_path, &other), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    history_interrupt(history);
    struct error err = {0};
    ck_assert_int_eq(apply(history, make_record("u1", "1"), &err), -1);
    ck_assert_contains(err.text, "another process has kept it locked");
    ck_assert_int_eq(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    apply_ok(history, make_record("u1", "1"));
    history_close(history);
}
END_TEST

START_TEST(a_register_moved_away_while_open_takes_nothing_more) {
    char away[160];
    struct error err = {0};
    snprintf(away, sizeof away, "%s.away", fixture_path);
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "1"));
    ck_assert_int_eq(rename(fixture_path, away), 0);
    ck_assert_int_eq(apply(history, make_record("u2", "1"), &err), -1);
    ck_assert_contains(err.text, "moved or removed");
    ck_assert_ptr_null(history_refused(history));
    history_close(history);
    fixture_teardown();
    fixture_setup();
    history = fixture_open(HISTORY_WRITE);
    snprintf(away, sizeof away, "%s-wal", fixture_path);
    ck_assert_int_eq(unlink(away), 0);
    ck_assert_int_eq(apply(history, make_record("u2", "1"), &err), -1);
    ck_assert_contains(err.text, "moved or removed");
    history_close(history);
}
END_TEST

START_TEST(a_full_disk_is_an_error_and_work_goes_on_when_it_is_over) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "1"));
    /* As full as a disk can be made without one: files may not grow. */
    struct rlimit before, tight = {.rlim_cur = (rlim_t)wal_size() + 1000};
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    tight.rlim_max = before.rlim_max;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &tight), 0);
    struct error err = {0};
    int result = apply(history, make_record("u2", "1"), &err);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(err.kind, ERROR_IO);
    ck_assert_ptr_null(history_refused(history));
    ck_assert_int_eq(count_rows(history), 1);
    apply_ok(history, make_record("u2", "1"));
    ck_assert_int_eq(count_rows(history), 2);
    history_close(history);
}
END_TEST

START_TEST(what_a_killed_process_committed_is_there) {
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct history *history;
        for (int i = 0; history_open(fixture_location, HISTORY_WRITE, &history, NULL) == 0; i++) {
            char uid[16];
            snprintf(uid, sizeof uid, "u%d", i);
            if (apply(history, make_record(uid, "1"), NULL) < 0 || write(ready[1], "x", 1) != 1)
                break;
            if (i == 9)
                pause();
        }
        _exit(1);
    }
    close(ready[1]);
    char byte;
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(ready[0]);
    struct history *reader = fixture_open(HISTORY_READ);
    ck_assert_int_eq(count_rows(reader), 10);
    history_close(reader);
    struct history *history = fixture_open(HISTORY_WRITE);
    ck_assert_int_eq(count_rows(history), 10);
    history_close(history);
}
END_TEST

START_TEST(what_is_applied_has_been_synced) {
    struct history *history = fixture_open(HISTORY_WRITE);
    for (int i = 0; i < 3; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "u%d", i);
        disk_syncs = 0;
        apply_ok(history, make_record(uid, "1"));
        ck_assert_int_ge(disk_syncs, 1);
        disk_syncs = 0;
        apply_ok(history, make_request(HISTORY_INTENT, uid, NULL));
        ck_assert_int_ge(disk_syncs, 1);
    }
    history_close(history);
}
END_TEST

START_TEST(what_cannot_be_synced_is_an_error) {
    struct history *history = fixture_open(HISTORY_WRITE);
    struct error err = {0};
    disk_syncs_fail = true;
    int result = apply(history, make_record("u1", "1"), &err);
    disk_syncs_fail = false;
    history_close(history);
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(err.kind, ERROR_IO);
    ck_assert_contains(err.text, "disk I/O error");
    ck_assert_contains(err.text, "its disk fails");
}
END_TEST

/* Else a request that finds the row there would be answered as durable without a sync. */
START_TEST(what_a_killed_process_left_unsynced_is_synced_at_the_next_start) {
    pid_t child = fork();
    if (child == 0) {
        struct history *history;
        child_assert(history_open(fixture_location, HISTORY_WRITE, &history, NULL) == 0, "");
        child_assert(apply(history, make_record("u1", "1"), NULL) == 0, "");
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    disk_syncs = 0;
    struct history *history = fixture_open(HISTORY_WRITE);
    ck_assert_int_ge(disk_syncs, 1);
    ck_assert_int_eq(count_rows(history), 1);
    history_close(history);
}
END_TEST

/* ---- memory ---- */

static sqlite3_mem_methods plain_memory;
static int allocations_left = -1; /* -1: as many as there are */

static void *failing_malloc(int size) {
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return plain_memory.xMalloc(size);
}

static void *failing_realloc(void *old, int size) {
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return plain_memory.xRealloc(old, size);
}

/* All that a register does, with memory ending after n allocations. Whether it was enough. */
static bool work_with_memory(int n) {
    struct history *history = NULL;
    struct error err = {0};
    int rows = 0, pruned;
    struct open_seen seen = {0};
    struct history_request *record = make_request(HISTORY_RECORD, "uid-1", full_run());
    struct history_query query = everything;
    query.job = "t*";
    allocations_left = n;
    bool enough = history_open(fixture_location, HISTORY_WRITE, &history, &err) == 0 &&
                  history_apply(history, "c1", record, &err) == 0 &&
                  history_each(history, &query, count_row, &rows, &err) == 0 &&
                  history_prune(history, 0, 10, &pruned, &err) == 0 &&
                  history_each_open(history, "c1", see_open, &seen, &err) == 0;
    if (history)
        ck_assert(history_refused(history) == NULL);
    history_close(history);
    history = NULL;
    enough = enough && history_open(fixture_location, HISTORY_READ, &history, &err) == 0 &&
             history_each(history, &query, count_row, &rows, &err) == 0;
    history_close(history);
    allocations_left = -1;
    history_request_destroy(record);
    ck_assert(enough || err.kind != ERROR_NONE);
    return enough;
}

START_TEST(each_allocation_of_sqlite_may_fail) {
    sqlite3_mem_methods failing;
    sqlite3_shutdown();
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain_memory), SQLITE_OK);
    failing = plain_memory;
    failing.xMalloc = failing_malloc;
    failing.xRealloc = failing_realloc;
    ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &failing), SQLITE_OK);
    /* Without a stock of small pieces, more of them are ours to fail. */
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
    sqlite3_initialize();
    int n = 0;
    while (!work_with_memory(n)) {
        n += n < 600 ? 1 : 7;
        if (n % 50 == 0) {
            fixture_teardown();
            fixture_setup();
        }
        ck_assert_int_lt(n, 100000);
    }
    ck_assert_int_gt(n, 50);
    sqlite3_shutdown();
    sqlite3_config(SQLITE_CONFIG_MALLOC, &plain_memory);
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 1200, 40);
    sqlite3_initialize();
}
END_TEST

Suite *suite_history(void) {
    Suite *suite = suite_create("history");
    TCase *tests = tcase_create("register");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_add_test(tests, a_location_that_is_not_understood_is_a_usage_error);
    tcase_add_test(tests, a_new_register_is_in_wal_mode_marked_as_ours_and_not_for_everyone);
    tcase_add_test(tests, special_sqlite_names_are_only_names);
    tcase_add_test(tests, reading_a_missing_register_does_not_create_it);
    tcase_add_test(tests, a_file_that_is_no_database_is_refused_and_left_alone);
    tcase_add_test(tests, another_programs_database_is_refused_and_left_alone);
    tcase_add_test(tests, a_register_from_a_newer_version_names_both_versions);
    tcase_add_test(tests, a_register_of_an_older_version_is_brought_up_to_date_with_its_runs);
    tcase_add_test(tests, a_value_that_is_none_of_a_columns_names_is_refused_by_the_table_itself);
    tcase_add_test(tests, an_empty_file_is_a_register_that_has_not_begun);
    tcase_add_test(tests, paths_that_cannot_be_files_are_told_apart);
    tcase_add_test(tests, a_folder_or_file_that_is_closed_to_us_is_named_with_its_owner);
    tcase_add_test(tests, a_register_is_readable_in_a_folder_that_cannot_be_written);
    tcase_add_test(tests, a_damaged_register_is_an_error_and_says_what_to_do);
    tcase_add_test(tests, everything_known_of_a_run_comes_back_as_it_was);
    tcase_add_test(tests, the_view_is_for_people);
    tcase_add_test(tests, what_is_not_known_is_null);
    tcase_add_test(tests, the_same_request_again_writes_nothing);
    tcase_add_test(tests, a_policy_that_changed_is_written_even_when_the_run_is_the_same);
    tcase_add_test(tests, an_update_fills_in_and_never_takes_away);
    tcase_add_test(tests, a_run_that_finished_before_it_started_has_no_duration);
    tcase_add_test(tests, no_deletion_without_a_record);
    tcase_add_test(tests, an_intent_with_its_run_records_both_in_one);
    tcase_add_test(tests, each_request_is_told_whether_it_made_the_row_or_ended_it);
    tcase_add_test(tests, what_nobody_knows_of_is_nothing_to_do);
    tcase_add_test(tests, a_job_that_others_deleted_before_it_was_recorded_is_on_record);
    tcase_add_test(tests, deleted_is_final);
    tcase_add_test(tests, the_cause_that_tells_more_wins_and_brings_its_time);
    tcase_add_test(tests, requests_that_make_no_sense_are_refused_by_name);
    tcase_add_test(tests, open_rows_are_those_not_deleted_of_this_cluster);
    tcase_add_test(tests, names_that_come_back_after_we_deleted_them_are_told_oldest_first);
    tcase_add_test(tests, a_look_for_names_that_come_back_passes_errors_on);
    tcase_add_test(tests, pruning_removes_the_oldest_deleted_a_few_at_a_time);
    tcase_add_test(tests, queries_filter_and_sort_newest_first);
    tcase_add_test(tests, a_query_stops_when_its_callback_says_so);
    tcase_add_test(tests, a_pattern_has_a_limit);
    tcase_add_test(tests, queries_find_their_index);
    tcase_add_test(tests, what_is_asked_while_others_wait_goes_by_an_index);
    tcase_add_test(tests, a_reader_neither_waits_for_a_writer_nor_disturbs_it);
    tcase_add_test(tests, closing_the_last_writer_folds_the_wal_away);
    tcase_add_test(tests, two_writers_at_once_on_a_new_file_lose_nothing);
    tcase_add_test(tests, waiting_for_a_lock_can_be_interrupted);
    tcase_add_test(tests, a_register_moved_away_while_open_takes_nothing_more);
    tcase_add_test(tests, a_full_disk_is_an_error_and_work_goes_on_when_it_is_over);
    tcase_add_test(tests, what_a_killed_process_committed_is_there);
    tcase_add_test(tests, what_is_applied_has_been_synced);
    tcase_add_test(tests, what_cannot_be_synced_is_an_error);
    tcase_add_test(tests, what_a_killed_process_left_unsynced_is_synced_at_the_next_start);
    tcase_add_test(tests, each_allocation_of_sqlite_may_fail);
    suite_add_tcase(suite, tests);
    return suite;
}
