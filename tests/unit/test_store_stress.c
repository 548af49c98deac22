/*
 * What people and other programs do to a register while it is open, or before it is: nothing crashes, nothing is
 * reported durable that cannot be found by opening the path afterwards, a damaged file is left as it is, and the error
 * says what to do.
 */
#include "faulty_disk.h"
#include "history_fixture.h"
#include "suites.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

static const char *beside(const char *suffix) {
    static char paths[4][256];
    static int n;
    char *path = paths[n++ % 4];
    snprintf(path, sizeof paths[0], "%s%s", fixture_path, suffix);
    return path;
}

static off_t size_of(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ? info.st_size : -1;
}

static void expect_refusal(struct history *history, const char *uid, const char *says) {
    struct error err = {0};
    ck_assert_int_eq(apply(history, make_record(uid, "1"), &err), -1);
    ck_assert_contains(err.text, says);
    ck_assert(history_refused(history) == NULL);
}

static void expect_closed(enum history_mode mode, const char *says) {
    struct history *history = NULL;
    struct error err = {0};
    ck_assert_int_eq(history_open(fixture_location, mode, &history, &err), -1);
    ck_assert_contains(err.text, says);
}

static struct history *open_with_a_run(void) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u1", "1"));
    return history;
}

static void copy_file(const char *from, const char *to) {
    char bytes[65536];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, bytes, sizeof bytes)) > 0;)
        ck_assert_int_eq(write(out, bytes, (size_t)n), n);
    close(in);
    close(out);
}

static bool same_content(const char *a, const char *b) {
    static char first[1 << 20], second[1 << 20];
    int one = open(a, O_RDONLY), two = open(b, O_RDONLY);
    ck_assert(one >= 0 && two >= 0);
    ssize_t n = read(one, first, sizeof first), m = read(two, second, sizeof second);
    close(one);
    close(two);
    return n == m && memcmp(first, second, (size_t)n) == 0;
}

static void overwrite(const char *path, off_t at, size_t len) {
    char rubbish[8192];
    memset(rubbish, 0xa5, sizeof rubbish);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(pwrite(fd, rubbish, len, at), len);
    close(fd);
}

static int fold_wal(void *arg, const struct history_row *row, struct error *err) {
    (void)arg;
    (void)row;
    (void)err;
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(fixture_path, &db), SQLITE_OK);
    /* Else it does not know yet that there is a WAL, and does nothing. */
    ck_assert_int_eq(sqlite3_exec(db, "SELECT count(*) FROM runs", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    return 0;
}

/* ---- taken away or changed while it is open ---- */

START_TEST(a_wal_that_another_program_began_anew_is_noticed_before_anything_is_written) {
    struct history *history = open_with_a_run();
    struct stat before, after;
    ck_assert_int_eq(unlink(beside("-wal")), 0);
    int fd = open(beside("-wal"), O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(fstat(fd, &before), 0);
    expect_refusal(history, "u2", "another -wal file was put in the place of its own");
    history_close(history);
    /* And it is not touched: it may be in use. */
    ck_assert_int_eq(fstat(fd, &after), 0);
    ck_assert_int_eq(after.st_size, 0);
    ck_assert_int_eq(after.st_nlink, 1);
    close(fd);
}
END_TEST

static void remove_register(void) {
    ck_assert_int_eq(unlink(fixture_path), 0);
}

START_TEST(a_register_that_is_removed_in_the_middle_of_a_commit_is_noticed_before_it_is_reported) {
    struct history *history = open_with_a_run();
    disk_at_sync = remove_register;
    expect_refusal(history, "u2", "it was moved or removed");
    ck_assert(disk_at_sync == NULL);
    history_close(history);
}
END_TEST

START_TEST(what_was_in_a_wal_that_was_removed_is_saved_into_the_file) {
    struct history *history = open_with_a_run();
    ck_assert_int_eq(unlink(beside("-wal")), 0);
    ck_assert_int_eq(history_check(history, NULL), -1);
    expect_refusal(history, "u2", "its -wal file was moved or removed");
    history_close(history);
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM runs"), "u1");
}
END_TEST

/* Long after we wrote it: a clock tick may have passed, or not. */
static void set_changed(const char *path) {
    const struct timespec times[2] = {{.tv_sec = 1795219200}, {.tv_sec = 1795219200}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Even while SQLite has all of it in its cache. */
START_TEST(a_register_that_was_written_over_while_it_is_open_takes_nothing_more) {
    history_close(open_with_a_run());
    struct history *history = open_with_a_run();
    overwrite(fixture_path, 4096, (size_t)size_of(fixture_path) > 12288 ? 8192 : 4096);
    set_changed(fixture_path);
    expect_refusal(history, "u2", "is damaged");
    history_close(history);
}
END_TEST

START_TEST(a_wal_that_was_written_over_while_it_is_open_is_noticed_and_what_follows_is_found) {
    history_close(open_with_a_run());
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u2", "1"));
    overwrite(beside("-wal"), 32, 100);
    set_changed(beside("-wal"));
    expect_refusal(history, "u3", "its -wal file was written to by something else");
    history_close(history);
    history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u3", "1"));
    copy_file(fixture_path, beside(".copy"));
    copy_file(beside("-wal"), beside(".copy-wal"));
    history_close(history);
    /* As after kill -9, by whoever opens it next. What was in the WAL is lost with it. */
    snprintf(fixture_path, sizeof fixture_path, "%s/history.db.copy", fixture_folder);
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM (SELECT job_uid FROM runs ORDER BY id)"), "u1,u3");
}
END_TEST

START_TEST(a_wal_that_was_emptied_while_it_is_open_is_noticed) {
    struct history *history = fixture_open(HISTORY_WRITE);
    for (int i = 0; i < 3; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "u%d", i);
        apply_ok(history, make_record(uid, "1"));
    }
    ck_assert_int_eq(truncate(beside("-wal"), 0), 0);
    set_changed(beside("-wal"));
    struct error err = {0};
    ck_assert_int_eq(apply(history, make_record("u4", "1"), &err), -1);
    history_close(history);
    history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u5", "1"));
    history_close(history);
    ck_assert_str_eq(fixture_sql("PRAGMA integrity_check"), "ok");
}
END_TEST

START_TEST(what_another_connection_does_to_the_wal_is_no_tampering) {
    struct history *history = open_with_a_run();
    fixture_sql("UPDATE runs SET reason = 'x'");
    apply_ok(history, make_record("u2", "1"));
    fold_wal(NULL, NULL, NULL);
    set_changed(beside("-wal"));
    set_changed(fixture_path);
    struct error err = {0};
    int result = apply(history, make_record("u3", "1"), &err);
    ck_assert_msg(result == 0, "%s", err.text);
    history_close(history);
}
END_TEST

START_TEST(shared_memory_that_was_removed_is_noticed) {
    struct history *history = open_with_a_run();
    ck_assert_int_eq(unlink(beside("-shm")), 0);
    expect_refusal(history, "u2", "its -shm file was moved or removed");
    history_close(history);
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM runs"), "u1");
    ck_assert_str_eq(fixture_sql("PRAGMA integrity_check"), "ok");
}
END_TEST

START_TEST(a_register_that_was_cut_short_takes_nothing_more_and_is_left_alone) {
    struct history *history = fixture_open(HISTORY_WRITE);
    for (int i = 0; i < 200; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "u%d", i);
        apply_ok(history, make_record(uid, "1"));
    }
    history_close(history);
    history = open_with_a_run();
    ck_assert_int_eq(truncate(fixture_path, 3 * 4096), 0);
    expect_refusal(history, "new", "it was cut short");
    history_close(history);
    ck_assert_int_eq(size_of(fixture_path), 3 * 4096);
}
END_TEST

START_TEST(a_register_that_was_emptied_is_not_begun_anew_while_its_wal_is_there) {
    struct history *history = open_with_a_run();
    ck_assert_int_eq(truncate(fixture_path, 0), 0);
    expect_refusal(history, "u2", "it was cut short");
    history_close(history);
    ck_assert_int_gt(size_of(beside("-wal")), 0);
    expect_closed(HISTORY_WRITE, "bring the register back to it, or move that file away too");
    ck_assert_int_gt(size_of(beside("-wal")), 0);
    ck_assert_int_eq(rename(beside("-wal"), beside("-wal.aside")), 0);
    history = fixture_open(HISTORY_WRITE);
    struct history_identity identity;
    history_identify(history, &identity);
    ck_assert(identity.created);
    apply_ok(history, make_record("u2", "1"));
    history_close(history);
}
END_TEST

START_TEST(a_wal_whose_register_is_gone_is_kept) {
    /* Without its last connection closing, as after kill -9. */
    struct history *history = open_with_a_run();
    copy_file(beside("-wal"), beside(".wal"));
    history_close(history);
    ck_assert_int_eq(rename(beside(".wal"), beside("-wal")), 0);
    ck_assert_int_eq(rename(fixture_path, beside(".away")), 0);
    expect_closed(HISTORY_WRITE, "is gone, but");
    ck_assert_int_eq(access(fixture_path, F_OK), -1);
    ck_assert_int_eq(rename(beside(".away"), fixture_path), 0);
    history = fixture_open(HISTORY_WRITE);
    history_close(history);
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM runs"), "u1");
}
END_TEST

START_TEST(tables_that_somebody_dropped_or_changed_are_told) {
    struct history *history = open_with_a_run();
    fixture_sql("ALTER TABLE runs RENAME COLUMN reason TO grounds");
    expect_refusal(history, "u2", "table runs has no column named reason: its tables are not as Sexton made them");
    history_close(history);
    fixture_sql("ALTER TABLE runs RENAME COLUMN grounds TO reason");
    history = open_with_a_run();
    fixture_sql("DROP TABLE runs");
    struct error err = {0};
    ck_assert_int_eq(apply(history, make_record("u2", "1"), &err), -1);
    ck_assert_int_eq(err.kind, ERROR_FORMAT);
    ck_assert_contains(err.text, "its tables are not as Sexton made them; nothing is changed in it: move it aside");
    history_close(history);
    expect_closed(HISTORY_WRITE, "move it aside");
}
END_TEST

START_TEST(a_register_that_a_newer_version_migrated_while_it_was_open_takes_nothing_more) {
    struct history *history = open_with_a_run();
    fixture_sql("PRAGMA user_version = 9");
    expect_refusal(history, "u2", "made by a newer Sexton");
    history_close(history);
    expect_closed(HISTORY_WRITE, "made by a newer Sexton");
    fixture_sql("PRAGMA user_version = 1");
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM runs"), "u1");
}
END_TEST

/* ---- damaged before it is opened ---- */

START_TEST(a_register_with_a_damaged_header_is_left_as_it_is) {
    history_close(open_with_a_run());
    overwrite(fixture_path, 0, 100);
    char before[256];
    snprintf(before, sizeof before, "%s", beside(".before"));
    copy_file(fixture_path, before);
    for (int i = 0; i < 3; i++)
        expect_closed(HISTORY_WRITE, "move it aside");
    expect_closed(HISTORY_READ, "move it aside");
    ck_assert(same_content(fixture_path, before));
    /* It is moved aside: a new one begins, by itself. */
    ck_assert_int_eq(rename(fixture_path, beside(".damaged")), 0);
    history_close(open_with_a_run());
    ck_assert(same_content(beside(".damaged"), before));
}
END_TEST

START_TEST(a_register_with_a_damaged_page_takes_nothing_that_needs_it_and_is_left_as_it_is) {
    struct history *history = fixture_open(HISTORY_WRITE);
    for (int i = 0; i < 200; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "u%d", i);
        apply_ok(history, make_record(uid, "1"));
    }
    history_close(history);
    int root = atoi(fixture_sql("SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_runs_1'"));
    overwrite(fixture_path, (off_t)(root - 1) * 4096, 4096);
    char before[256];
    snprintf(before, sizeof before, "%s", beside(".before"));
    copy_file(fixture_path, before);
    history = fixture_open(HISTORY_WRITE);
    expect_refusal(history, "new", "is damaged");
    history_close(history);
    ck_assert(same_content(fixture_path, before));
}
END_TEST

START_TEST(rubbish_in_the_wal_costs_nothing_that_was_in_the_file) {
    history_close(open_with_a_run());
    overwrite(beside("-wal"), 0, 8192);
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("u2", "1"));
    history_close(history);
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM (SELECT job_uid FROM runs ORDER BY id)"), "u1,u2");
}
END_TEST

/* ---- others ---- */

START_TEST(who_holds_the_lock_is_named) {
    struct history *history = open_with_a_run();
    int ready[2], done[2];
    ck_assert(pipe(ready) == 0 && pipe(done) == 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        sqlite3 *db;
        close(done[1]);
        child_assert(sqlite3_open(fixture_path, &db) == SQLITE_OK, "");
        child_assert(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK, sqlite3_errmsg(db));
        child_assert(write(ready[1], "x", 1) == 1 && read(done[0], &byte, 1) >= 0, "");
        _exit(0);
    }
    char byte, who[64];
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    snprintf(who, sizeof who, "process %d (", child);
    history_interrupt(history); /* or it would wait for seconds */
    expect_refusal(history, "u2", who);
    history_close(history);
    close(done[1]);
    waitpid(child, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    close(done[0]);
}
END_TEST

START_TEST(a_reader_that_never_ends_cannot_fill_the_disk) {
    struct history *history = open_with_a_run();
    sqlite3 *reader;
    ck_assert_int_eq(sqlite3_open(fixture_path, &reader), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM runs", NULL, NULL, NULL), SQLITE_OK);
    apply_ok(history, make_record("u2", "1"));
    /* As if it had grown so large; there is nothing in it. */
    ck_assert_int_eq(truncate(beside("-wal"), ((off_t)1 << 30) + 4096), 0);
    expect_refusal(history, "u3", "has been reading it for so long that its -wal file has grown to 1024 MB");
    ck_assert_int_eq(sqlite3_exec(reader, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(reader);
    apply_ok(history, make_record("u3", "1"));
    ck_assert_int_lt(size_of(beside("-wal")), 1 << 20);
    history_close(history);
    ck_assert_str_eq(
            fixture_sql("SELECT group_concat(job_uid) FROM (SELECT job_uid FROM runs ORDER BY id)"), "u1,u2,u3");
}
END_TEST

START_TEST(whoever_takes_the_rows_slowly_keeps_nothing_from_being_folded_in) {
    struct history *history = open_with_a_run();
    apply_ok(history, make_record("u2", "1"));
    struct history *reader = fixture_open(HISTORY_READ);
    const struct history_query all = {.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE};
    ck_assert_int_eq(history_each(reader, &all, fold_wal, NULL, NULL), 0);
    history_close(reader);
    history_close(history);
}
END_TEST

static void expect_probe(bool wanted_there, const char *says) {
    struct error err = {0};
    bool there = !wanted_there;
    int result = history_probe(fixture_location, &there, &err);
    ck_assert_int_eq(result, says ? -1 : 0);
    ck_assert(there == wanted_there);
    ck_assert_contains(err.text, says ? says : "");
}

START_TEST(a_probe_tells_whether_it_could_be_written_and_changes_nothing) {
    expect_probe(true, NULL);
    ck_assert_int_eq(access(fixture_path, F_OK), -1);
    struct history *history = open_with_a_run();
    expect_probe(true, NULL);
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(fixture_path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    expect_probe(true, "has kept it locked for more than 1 s");
    sqlite3_close(db);
    apply_ok(history, make_record("u2", "1"));
    history_close(history);
    fixture_sql("PRAGMA user_version = 9");
    expect_probe(true, "made by a newer Sexton");
    overwrite(fixture_path, 0, 100);
    expect_probe(true, "not a database at all");
    ck_assert_int_eq(unlink(fixture_path), 0);
    snprintf(fixture_location, sizeof fixture_location, "sqlite:%s/none/history.db", fixture_folder);
    expect_probe(false, NULL);
}
END_TEST

/* ---- a file system of the test's own, where root may make one ---- */

static bool mount_small(unsigned long flags) {
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    return mount("none", fixture_folder, "tmpfs", flags, "size=1m") == 0;
}

START_TEST(a_full_file_system_is_told_and_work_goes_on_when_there_is_room) {
    if (!mount_small(0))
        return;
    struct history *history = open_with_a_run();
    int fd = open(beside(".filler"), O_WRONLY | O_CREAT, 0600);
    char block[4096] = {1};
    while (write(fd, block, sizeof block) == sizeof block)
        continue;
    close(fd);
    expect_probe(true, "its disk is full");
    struct error err = {0};
    int i = 0, result = 0;
    for (; i < 100 && result == 0; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "full%d", i);
        result = apply(history, make_record(uid, "1"), &err);
    }
    ck_assert_int_eq(result, -1);
    ck_assert_contains(err.text, "make room on");
    history_close(history);
    ck_assert_int_eq(unlink(beside(".filler")), 0);
    history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("after", "1"));
    history_close(history);
    char count[16];
    snprintf(count, sizeof count, "%d", i - 1 + 2);
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs"), count);
    ck_assert_str_eq(fixture_sql("PRAGMA integrity_check"), "ok");
    umount(fixture_folder);
}
END_TEST

START_TEST(a_read_only_file_system_is_told_and_work_goes_on_when_it_can_be_written) {
    if (!mount_small(0))
        return;
    history_close(open_with_a_run());
    ck_assert_int_eq(mount(NULL, fixture_folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    expect_closed(HISTORY_WRITE, "file system is read-only");
    struct history *history = fixture_open(HISTORY_READ);
    history_close(history);
    ck_assert_int_eq(mount(NULL, fixture_folder, NULL, MS_REMOUNT, NULL), 0);
    history_close(open_with_a_run());
    umount(fixture_folder);
}
END_TEST

Suite *suite_store_stress(void) {
    Suite *suite = suite_create("store_stress");
    TCase *tests = tcase_create("stress");
    tcase_add_checked_fixture(tests, fixture_setup, fixture_teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_wal_that_another_program_began_anew_is_noticed_before_anything_is_written);
    tcase_add_test(tests, a_register_that_is_removed_in_the_middle_of_a_commit_is_noticed_before_it_is_reported);
    tcase_add_test(tests, what_was_in_a_wal_that_was_removed_is_saved_into_the_file);
    tcase_add_test(tests, a_register_that_was_written_over_while_it_is_open_takes_nothing_more);
    tcase_add_test(tests, a_wal_that_was_written_over_while_it_is_open_is_noticed_and_what_follows_is_found);
    tcase_add_test(tests, what_another_connection_does_to_the_wal_is_no_tampering);
    tcase_add_test(tests, a_wal_that_was_emptied_while_it_is_open_is_noticed);
    tcase_add_test(tests, shared_memory_that_was_removed_is_noticed);
    tcase_add_test(tests, a_register_that_was_cut_short_takes_nothing_more_and_is_left_alone);
    tcase_add_test(tests, a_register_that_was_emptied_is_not_begun_anew_while_its_wal_is_there);
    tcase_add_test(tests, a_wal_whose_register_is_gone_is_kept);
    tcase_add_test(tests, tables_that_somebody_dropped_or_changed_are_told);
    tcase_add_test(tests, a_register_that_a_newer_version_migrated_while_it_was_open_takes_nothing_more);
    tcase_add_test(tests, a_register_with_a_damaged_header_is_left_as_it_is);
    tcase_add_test(tests, a_register_with_a_damaged_page_takes_nothing_that_needs_it_and_is_left_as_it_is);
    tcase_add_test(tests, rubbish_in_the_wal_costs_nothing_that_was_in_the_file);
    tcase_add_test(tests, who_holds_the_lock_is_named);
    tcase_add_test(tests, a_reader_that_never_ends_cannot_fill_the_disk);
    tcase_add_test(tests, whoever_takes_the_rows_slowly_keeps_nothing_from_being_folded_in);
    tcase_add_test(tests, a_probe_tells_whether_it_could_be_written_and_changes_nothing);
    tcase_add_test(tests, a_full_file_system_is_told_and_work_goes_on_when_there_is_room);
    tcase_add_test(tests, a_read_only_file_system_is_told_and_work_goes_on_when_it_can_be_written);
    suite_add_tcase(suite, tests);
    return suite;
}
