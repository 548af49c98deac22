/* A register that cannot be written, is lost, or is not what it was. */
#include "suites.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- while it cannot be written ---- */

static struct process *controller;
static struct job waits;

/* With a Job that went, and one that waits. */
static void begin(void) {
    sim_start(NULL);
    controller = controller_start_with_disk();
    wait_until_synced(controller);
    waits = put_job(.name = "waits", .failed = true, .ended_s = 60);
    struct job first = put_job(.name = "first", .ended_s = 60);
    expect_recorded_and_deleted(&first, 0);
    wait_until(row_is(&waits, "due", ""));
}

/* Nothing goes, the log says why, once, and so does plan, where it can. */
static struct job expect_nothing_goes(const char *says, const char *plan_says) {
    struct job job = put_job(.name = "second", .ended_s = 60);
    wait_until(has_logged(controller, "the register cannot be written: no Job is deleted"));
    expect_contains(process_err(controller), says);
    struct result plan = sexton_here("plan");
    expect_number(plan.code, 0);
    expect_contains(plan.out, "1 to delete");
    if (plan_says) {
        expect_contains(plan.err, "note: the register cannot be written from here, and a controller for which that is "
                                  "so deletes nothing");
        expect_contains(plan.err, plan_says);
    }
    expect(job_exists(&job), "it was deleted without a record");
    expect_number(deletions_of(&job).count, 0);
    expect(count_of(process_err(controller), "the register cannot be written") <= 2, "it is told again and again");
    return job;
}

static void expect_work_resumes(const struct job *job) {
    expect_recorded_and_deleted(job, 0);
    wait_until(has_logged(controller, "the register can be written again"));
    wait_until(row_is(&waits, "due", ""));
    controller_stop(controller);
    struct result verify = sexton("history", "verify", "--store", store_option());
    expect(verify.code == 0, "verify: %s%s", verify.out, verify.err);
}

static void disk_stress(const char *error, const char *says) {
    begin();
    disk_fail(error);
    struct job job = expect_nothing_goes(says, NULL);
    disk_fail("");
    expect_work_resumes(&job);
}

START_TEST(while_the_disk_is_full_nothing_goes_and_then_work_resumes) {
    disk_stress("ENOSPC", "make room on its disk");
}
END_TEST

START_TEST(while_the_disk_fails_nothing_goes_and_then_work_resumes) {
    disk_stress("EIO", "its disk fails");
}
END_TEST

START_TEST(while_the_file_system_is_read_only_nothing_goes_and_then_work_resumes) {
    disk_stress("EROFS", "Read-only file system");
}
END_TEST

START_TEST(while_another_process_has_it_locked_nothing_goes_and_the_log_says_who) {
    begin();
    sql_lock();
    struct job job = expect_nothing_goes(format("process %d (", (int)getpid()), format("process %d (", (int)getpid()));
    sql_unlock();
    expect_work_resumes(&job);
}
END_TEST

START_TEST(a_register_of_a_newer_version_takes_nothing_until_it_is_back) {
    begin();
    sql_execute(store_path(), "PRAGMA user_version = 99");
    struct job job = expect_nothing_goes("made by a newer Sexton", "made by a newer Sexton");
    sql_execute(store_path(), "PRAGMA user_version = 3");
    expect_work_resumes(&job);
}
END_TEST

static void overwrite_with_rubbish(const char *path) {
    struct stat info;
    expect(stat(path, &info) == 0, "%s is not there", path);
    int fd = open(path, O_WRONLY);
    char rubbish[4096];
    memset(rubbish, 0xa5, sizeof rubbish);
    for (off_t at = 0; at < info.st_size; at += (off_t)sizeof rubbish)
        expect(pwrite(fd, rubbish, sizeof rubbish, at) == (ssize_t)sizeof rubbish, "cannot write");
    close(fd);
}

static void move_aside(void) {
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++)
        rename(format("%s%s", store_path(), suffixes[i]), format("%s.damaged%s", store_path(), suffixes[i]));
}

START_TEST(a_damaged_register_is_left_alone_and_when_it_is_moved_aside_a_new_one_begins) {
    begin();
    controller_stop(controller);
    controller = controller_start_with_disk();
    wait_until_synced(controller);
    overwrite_with_rubbish(store_path());
    struct job job = expect_nothing_goes("move it aside, with its -wal and -shm", "move it aside");
    expect_number(sexton("history", "verify", "--store", store_option()).code, 1);
    move_aside();
    expect_work_resumes(&job);
    expect_contains(process_err(controller), "another register is in the place");
    const char *damaged = read_file(format("%s.damaged", store_path()));
    expect((unsigned char)damaged[0] == 0xa5 && (unsigned char)damaged[99] == 0xa5, "it was written to");
}
END_TEST

/* ---- lost ---- */

START_TEST(a_register_that_is_deleted_begins_anew_with_what_is_still_there) {
    begin();
    expect_number(unlink(store_path()), 0);
    struct job next = put_job(.name = "next", .ended_s = 60);
    expect_recorded_and_deleted(&next, 0);
    /* And without anything else happening, what waits is on record again. */
    wait_until(row_is(&waits, "due", ""));
    expect_contains(process_err(controller), "it was moved or removed while it was in use");
    expect_contains(process_err(controller), "another register is in the place of the one that was written until now");
    expect_text(
            sql_text("SELECT group_concat(job_name) FROM (SELECT job_name FROM runs ORDER BY job_name)"), "next,waits");
    /* A Job that someone else deletes is on record too. */
    delete_job(&waits);
    wait_until(row_is(&waits, "deleted", "external"));
    controller_stop(controller);
}
END_TEST

START_TEST(a_register_that_is_replaced_by_a_backup_gets_what_the_backup_lacks) {
    begin();
    sql_execute(store_path(), format("VACUUM INTO '%s'", in_folder("backup.db")));
    struct job since = put_job(.name = "since", .failed = true, .ended_s = 60);
    wait_until(row_is(&since, "due", ""));
    expect_number(rename(in_folder("backup.db"), store_path()), 0);
    struct job next = put_job(.name = "next", .ended_s = 60);
    expect_recorded_and_deleted(&next, 0);
    wait_until(row_is(&since, "due", "") && row_is(&waits, "due", ""));
    expect_number(sql_number("SELECT count(*) FROM runs"), 4);
    controller_stop(controller);
}
END_TEST

/* ---- plan ---- */

START_TEST(plan_says_why_the_register_could_not_be_written_where_it_can_know) {
    sim_start(NULL);
    struct result plan = sexton_here("plan");
    expect_number(plan.code, 0);
    expect_lacks(plan.err, "register");
    expect(!file_exists(store_path()), "plan made a register");
    write_file("history.db", "this is no database, and was none ever");
    plan = sexton_here("plan");
    expect_number(plan.code, 0);
    expect_contains(plan.err, "not a Sexton register (not a database at all)");
    plan = sexton_here("plan", "--store", format("sqlite:%s", in_folder("no/such/folder.db")));
    expect_number(plan.code, 0);
    expect_lacks(plan.err, "register");
    /* Offline only when it was asked for. */
    const char *none = write_file("none.json", "{\"kind\": \"List\", \"items\": []}");
    expect_lacks(sexton("plan", "-f", none).err, "register");
    plan = sexton("plan", "-f", none, "--store", store_option());
    expect_number(plan.code, 0);
    expect_contains(plan.err, "not a database at all");
}
END_TEST

Suite *suite_store(void) {
    const TTest *const tests[] = {
            while_the_disk_is_full_nothing_goes_and_then_work_resumes,
            while_the_disk_fails_nothing_goes_and_then_work_resumes,
            while_the_file_system_is_read_only_nothing_goes_and_then_work_resumes,
            while_another_process_has_it_locked_nothing_goes_and_the_log_says_who,
            a_register_of_a_newer_version_takes_nothing_until_it_is_back,
            a_damaged_register_is_left_alone_and_when_it_is_moved_aside_a_new_one_begins,
            a_register_that_is_deleted_begins_anew_with_what_is_still_there,
            a_register_that_is_replaced_by_a_backup_gets_what_the_backup_lacks,
            plan_says_why_the_register_could_not_be_written_where_it_can_know,
            NULL,
    };
    return suite_of("store", tests);
}
