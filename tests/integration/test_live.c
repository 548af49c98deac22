/* The configuration, changed while the controller runs. */
#include "suites.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGAIN "msg=\"configuration read again\""
#define REFUSED "the new configuration is refused, the old one stays"

/* Failed an hour ago, so that a policy decides whether it is due. */
static struct job failed_job(const char *name) {
    return put_job(.name = name, .failed = true, .ended_s = 3600);
}

static const char *text_with(const char *ttl) {
    return format("[policy]\nttl-after-failure = %s\n[history]\nstore = %s\n", ttl, store_option());
}

static struct process *start_with(const char *config) {
    struct process *controller =
            process_start(&(struct start){.argv = (const char *const[]){sexton_binary(), "run", "--config", config,
                                                  "--kubeconfig", sim_kubeconfig(), NULL}});
    wait_until_synced(controller);
    return controller;
}

static int times_logged(struct process *controller, const char *part) {
    return count_of(process_err(controller), part);
}

/* ---- a mounted ConfigMap, as the kubelet writes one ---- */

static int configmap_version;

/* A folder of this version, and a link to it that takes the place of the one before by one rename. */
static const char *configmap_write(const char *text) {
    const char *folder = format("%s/..2026_%d", in_folder("configmap"), ++configmap_version);
    mkdir(in_folder("configmap"), 0755);
    expect(mkdir(folder, 0755) == 0, "%s", folder);
    write_file(format("configmap/..2026_%d/sexton.ini", configmap_version), text);
    expect(symlink(format("..2026_%d", configmap_version), in_folder("configmap/..data_tmp")) == 0, "no link");
    expect(rename(in_folder("configmap/..data_tmp"), in_folder("configmap/..data")) == 0, "no rename");
    if (configmap_version == 1)
        expect(symlink("..data/sexton.ini", in_folder("configmap/sexton.ini")) == 0, "no link");
    else {
        const char *old = format("%s/..2026_%d", in_folder("configmap"), configmap_version - 1);
        unlink(format("%s/sexton.ini", old));
        rmdir(old);
    }
    return in_folder("configmap/sexton.ini");
}

START_TEST(an_edited_configmap_is_taken_over_by_itself_again_and_again) {
    sim_start(NULL);
    const char *config = configmap_write(text_with("24h"));
    struct job first = failed_job("first");
    struct process *controller = start_with(config);
    wait_until(row_is(&first, "due", ""));
    configmap_write(text_with("30m"));
    expect_recorded_and_deleted(&first, 1800000);
    configmap_write(text_with("never"));
    wait_until(times_logged(controller, AGAIN) == 2);
    struct job second = failed_job("second");
    wait_until(row_is(&second, "kept", ""));
    configmap_write(text_with("10m"));
    expect_recorded_and_deleted(&second, 600000);
    expect_number(times_logged(controller, AGAIN), 3);
    controller_stop(controller);
}
END_TEST

START_TEST(a_configmap_that_is_written_anew_with_the_same_content_is_no_change) {
    sim_start(NULL);
    const char *config = configmap_write(text_with("24h"));
    struct process *controller = start_with(config);
    for (int64_t began_ms = mono_ms(); mono_ms() - began_ms < 1200; let_others_run(1000))
        configmap_write(text_with("24h"));
    expect_lacks(process_err(controller), AGAIN);
    configmap_write(text_with("25h"));
    wait_until(has_logged(controller, AGAIN));
    expect_number(times_logged(controller, AGAIN), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_bad_version_is_refused_once_the_old_one_stays_and_the_next_good_one_is_said) {
    sim_start(NULL);
    const char *config = configmap_write(text_with("30m"));
    struct process *controller = start_with(config);
    configmap_write(text_with("30"));
    wait_until(has_logged(controller, REFUSED));
    expect_contains(process_err(controller), format("%s:2: ", config));
    expect_lacks(process_err(controller), AGAIN);
    struct job job = failed_job("one");
    expect_recorded_and_deleted(&job, 1800000);
    /* Back to what is in force: nothing new, but it is good again. */
    configmap_write(text_with("30m"));
    wait_until(has_logged(controller, AGAIN));
    expect_contains(process_err(controller), "after=\"a version that was refused\"");
    expect_number(times_logged(controller, REFUSED), 1);
    controller_stop(controller);
}
END_TEST

/* ---- a file that people edit ---- */

START_TEST(an_editors_rename_and_writing_in_place_are_seen) {
    sim_start(NULL);
    const char *config = write_file("own.ini", text_with("24h"));
    struct job job = failed_job("one");
    struct process *controller = start_with(config);
    wait_until(row_is(&job, "due", ""));
    write_file("own.ini.new", text_with("25h"));
    expect_number(rename(in_folder("own.ini.new"), config), 0);
    wait_until(times_logged(controller, AGAIN) == 1);
    write_file("own.ini", text_with("30m"));
    expect_recorded_and_deleted(&job, 1800000);
    expect_number(times_logged(controller, AGAIN), 2);
    controller_stop(controller);
}
END_TEST

START_TEST(a_file_behind_a_link_to_another_folder_is_seen) {
    sim_start(NULL);
    expect_number(mkdir(in_folder("elsewhere"), 0755), 0);
    const char *real = write_file("elsewhere/real.ini", text_with("24h"));
    expect_number(symlink(real, in_folder("link.ini")), 0);
    struct process *controller = start_with(in_folder("link.ini"));
    write_file("elsewhere/real.ini", text_with("25h"));
    wait_until(has_logged(controller, AGAIN));
    controller_stop(controller);
}
END_TEST

/* What stands there half-written would be valid, and by it the Job would go at once. */
START_TEST(a_file_that_is_being_written_is_not_taken_before_it_is_closed) {
    sim_start(NULL);
    const char *config = write_file("own.ini", text_with("24h")), *text = text_with("25h");
    struct process *controller = start_with(config);
    int fd = open(config, O_WRONLY | O_TRUNC);
    expect(fd >= 0 && write(fd, text, 8) == 8, "cannot write");
    int64_t began_ms = mono_ms();
    /* Other files come and go meanwhile, each a reason to look. */
    while (mono_ms() - began_ms < 1500) {
        write_file("other", "x");
        unlink(in_folder("other"));
        let_others_run(1000);
    }
    expect_lacks(process_err(controller), AGAIN);
    expect_lacks(process_err(controller), REFUSED);
    expect(write(fd, text + 8, strlen(text) - 8) > 0, "cannot write");
    close(fd);
    wait_until(has_logged(controller, AGAIN));
    expect_lacks(process_err(controller), REFUSED);
    controller_stop(controller);
}
END_TEST

/* Of the loop's thread. */
static int64_t wake_ups(const struct process *process) {
    static const char *const key = "\nvoluntary_ctxt_switches:";
    const char *at = strstr(read_file(format("/proc/%d/status", process_id(process))), key);
    return at ? strtoll(at + strlen(key), NULL, 10) : -1;
}

/* The register may be one of them. */
START_TEST(writing_to_other_files_in_its_folder_is_no_work_and_a_change_is_seen_all_the_same) {
    const int writes = 2000;
    sim_start(NULL);
    const char *config = write_file("own.ini", text_with("24h")), *other = write_file("other", "");
    struct process *controller = start_with(config);
    int fd = open(other, O_WRONLY);
    expect(fd >= 0, "%s", other);
    int64_t before = wake_ups(controller);
    expect(before > 0, "its status does not say");
    for (int i = 0; i < writes; i++) {
        expect(pwrite(fd, "x", 1, 0) == 1, "cannot write");
        let_others_run(1000);
    }
    close(fd);
    int64_t woken = wake_ups(controller) - before;
    expect(woken < writes / 4, "woken %d times", (int)woken);
    write_file("own.ini", text_with("25h"));
    wait_until(times_logged(controller, AGAIN) == 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_file_that_becomes_empty_is_refused) {
    sim_start(NULL);
    const char *config = write_file("own.ini", text_with("24h"));
    struct job job = failed_job("one");
    struct process *controller = start_with(config);
    wait_until(row_is(&job, "due", ""));
    write_file("own.ini", "");
    wait_until(has_logged(controller, REFUSED));
    expect_contains(process_err(controller), "is empty");
    controller_stop(controller);
    /* At the start, it says what it means. */
    expect_number(
            sexton("check", "--config", config, "--kubeconfig", sim_kubeconfig(), "--store", store_option()).code, 0);
}
END_TEST

START_TEST(a_file_that_is_gone_for_a_moment_is_no_error_and_for_long_is_refused) {
    sim_start(NULL);
    const char *config = write_file("own.ini", text_with("24h"));
    struct process *controller = start_with(config);
    unlink(config);
    write_file("own.ini", text_with("25h"));
    wait_until(times_logged(controller, AGAIN) == 1);
    expect_lacks(process_err(controller), REFUSED);
    unlink(config);
    wait_until(has_logged(controller, REFUSED));
    expect_contains(process_err(controller), "own.ini: cannot be opened: No such file or directory");
    write_file("own.ini", text_with("25h"));
    wait_until(times_logged(controller, AGAIN) == 2);
    expect_number(times_logged(controller, REFUSED), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(what_waits_for_a_restart_is_said_once_and_taken_back_when_it_is) {
    sim_start(NULL);
    const char *config = write_file("own.ini", text_with("24h"));
    struct process *controller = start_with(config);
    static const char waits[] = "this change of the configuration waits for a restart";
    write_file("own.ini", format("%s[sexton]\nnamespaces = shop\n", text_with("24h")));
    wait_until(times_logged(controller, AGAIN) == 1);
    expect_contains(process_err(controller), "section=sexton key=namespaces");
    write_file("own.ini", format("%s[sexton]\nnamespaces = shop\n", text_with("25h")));
    wait_until(times_logged(controller, AGAIN) == 2);
    expect_number(times_logged(controller, waits), 1);
    write_file("own.ini", text_with("25h"));
    wait_until(times_logged(controller, AGAIN) == 3);
    expect_contains(process_err(controller), "was taken back, and no restart is needed for it");
    controller_stop(controller);
}
END_TEST

START_TEST(without_inotify_the_log_says_so_once_and_sighup_still_works) {
    sim_start(NULL);
    struct job job = failed_job("one");
    const char *config = configure(format("[policy]\nttl-after-failure = 24h\n"));
    struct process *controller = controller_start_with_shim("inotify");
    wait_until_synced(controller);
    wait_until(row_is(&job, "due", ""));
    expect_contains(process_err(controller), "the configuration's folder cannot be watched");
    expect_contains(process_err(controller), "Too many open files");
    configure("[policy]\nttl-after-failure = 30m\n");
    process_signal(controller, SIGHUP);
    expect_recorded_and_deleted(&job, 1800000);
    expect_number(times_logged(controller, "cannot be watched"), 1);
    expect(file_exists(config), "%s", config);
    controller_stop(controller);
}
END_TEST

Suite *suite_live(void) {
    const TTest *const tests[] = {
            an_edited_configmap_is_taken_over_by_itself_again_and_again,
            a_configmap_that_is_written_anew_with_the_same_content_is_no_change,
            a_bad_version_is_refused_once_the_old_one_stays_and_the_next_good_one_is_said,
            an_editors_rename_and_writing_in_place_are_seen,
            a_file_behind_a_link_to_another_folder_is_seen,
            a_file_that_is_being_written_is_not_taken_before_it_is_closed,
            writing_to_other_files_in_its_folder_is_no_work_and_a_change_is_seen_all_the_same,
            a_file_that_becomes_empty_is_refused,
            a_file_that_is_gone_for_a_moment_is_no_error_and_for_long_is_refused,
            what_waits_for_a_restart_is_said_once_and_taken_back_when_it_is,
            without_inotify_the_log_says_so_once_and_sighup_still_works,
            NULL,
    };
    return suite_of("live", tests);
}
