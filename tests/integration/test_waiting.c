/* A register that cannot be opened when the controller starts: with somebody who looks at /readyz, it waits. */
#include "suites.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN "--listen", "127.0.0.1:0"

/* "503 TEXT" */
static const char *ask(struct process *controller, const char *path) {
    const char *at = strstr(process_err(controller), "msg=serving address=");
    char address[64] = "";
    expect(at && sscanf(at, "msg=serving address=%63s", address) == 1, "where does it serve?");
    struct result result =
            process_run(&(struct start){.argv = (const char *const[]){"/usr/bin/curl", "-s", "-w",
                                                "%{stderr}%{http_code}", format("http://%s%s", address, path), NULL}});
    return format("%s %s", result.err, result.out);
}

static struct job waits;

/* It has a Job to delete, and does not; it is alive, not ready, and says why. */
static void expect_waiting(struct process *controller, const char *why) {
    wait_until(has_logged(controller, "the register cannot be written: no Job is deleted") ||
               process_has_ended(controller));
    expect(!process_has_ended(controller), "it ended with %d", process_wait(controller));
    expect_contains(process_err(controller), why);
    const char *ready = ask(controller, "/readyz");
    expect(strncmp(ready, "503 ", 4) == 0, "%s", ready);
    expect_contains(ready, "not ok register: ");
    expect_contains(ready, why);
    expect(strncmp(ask(controller, "/healthz"), "200 ", 4) == 0, "%s", ask(controller, "/healthz"));
    wait_until(has_logged(controller, "msg=connected"));
    expect(job_exists(&waits) && deletions_of(&waits).count == 0, "it was deleted without a record");
    expect(count_of(process_err(controller), "cannot be written") <= 2, "it is told again and again");
}

static void expect_going_on(struct process *controller) {
    expect_recorded_and_deleted(&waits, 0);
    wait_until(strncmp(ask(controller, "/readyz"), "200 ", 4) == 0);
    expect_contains(process_err(controller), "the register can be written again");
    controller_stop(controller);
}

static void begin(void) {
    sim_start(NULL);
    waits = put_job(.name = "waits", .ended_s = 60);
}

START_TEST(a_folder_that_is_not_there_yet_is_waited_for_without_taking_the_lease) {
    begin();
    store_use("later/history.db");
    struct process *controller = controller_start(LISTEN);
    expect_waiting(controller, "there is no folder");
    expect_contains(
            ask(controller, "/readyz"), "\nnot ok synced: nothing is listed before the register was open once\n");
    expect_number(sim_count("leases", "create") + sim_count("leases", "update"), 0);
    expect_lacks(process_err(controller), "holds the lease");
    expect_number(mkdir(in_folder("later"), 0755), 0);
    expect_going_on(controller);
    expect_contains(process_err(controller), "a new register begins");
}
END_TEST

START_TEST(a_full_volume_is_waited_for) {
    begin();
    disk_fail("ENOSPC");
    struct process *controller = controller_start_with_disk(LISTEN);
    expect_waiting(controller, "make room on its disk");
    disk_fail("");
    expect_going_on(controller);
}
END_TEST

START_TEST(a_volume_that_is_mounted_read_only_is_waited_for) {
    begin();
    disk_fail("EROFS");
    struct process *controller = controller_start_with_disk(LISTEN);
    expect_waiting(controller, "ead-only file system");
    disk_fail("");
    expect_going_on(controller);
}
END_TEST

/* As an ordinary user, which root has to become first. */
START_TEST(a_volume_of_somebody_elses_is_waited_for) {
    begin();
    const char *folder = in_folder("closed");
    expect(mkdir(folder, 0555) == 0 && chmod(in_folder(".."), 0755) == 0, "%s", folder);
    store_use("closed/history.db");
    const char *config = configure("");
    const char *const argv[] = {"/usr/bin/setpriv", "--reuid=65534", "--clear-groups", sexton_binary(), "run",
            "--config", config, "--kubeconfig", sim_kubeconfig(), LISTEN, NULL};
    expect(chmod(sim_kubeconfig(), 0644) == 0, "%s", sim_kubeconfig());
    struct process *controller = process_start(&(struct start){.argv = geteuid() == 0 ? argv : argv + 3});
    expect_waiting(controller, "is closed to uid");
    expect_number(chmod(folder, 0777), 0);
    expect_going_on(controller);
}
END_TEST

START_TEST(of_two_on_one_register_the_second_waits_says_for_whom_and_goes_on_when_the_first_ends) {
    begin();
    delete_job(&waits);
    struct process *first = controller_start(LISTEN);
    wait_until_synced(first);
    waits = put_job(.name = "held", .ended_s = 60, .annotations = "'sexton.dev/hold': 'true'");
    wait_until(row_is(&waits, "kept", ""));
    struct process *second = controller_start(LISTEN);
    expect_waiting(second, format("another controller writes to it (process %d on ", process_id(first)));
    expect_contains(ask(second, "/readyz"), "end that one, or give each a store of its own");
    expect(strncmp(ask(first, "/readyz"), "200 ", 4) == 0, "the first is not ready");
    process_signal(first, SIGKILL);
    process_wait(first);
    wait_until(has_logged(second, "holds the lease, and acts"));
    patch_job(&waits, "{'metadata': {'annotations': {'sexton.dev/hold': null}}}");
    expect_going_on(second);
}
END_TEST

START_TEST(a_register_that_something_else_has_locked_is_waited_for_with_a_word_on_what) {
    begin();
    expect_number(sexton_here("sweep", "--leader-elect=false", "-n", "empty").code, 0);
    sql_lock();
    struct process *controller = controller_start(LISTEN);
    expect_waiting(controller, format("process %d (", (int)getpid()));
    sql_unlock();
    expect_going_on(controller);
}
END_TEST

START_TEST(what_is_no_register_is_waited_for_and_left_as_it_is) {
    begin();
    write_file("history.db", "this is no database, and was none ever");
    struct process *controller = controller_start(LISTEN);
    expect_waiting(controller, "not a Sexton register (not a database at all)");
    expect_text(read_file(store_path()), "this is no database, and was none ever");
    expect_number(rename(store_path(), in_folder("aside")), 0);
    expect_going_on(controller);
}
END_TEST

START_TEST(a_register_of_a_newer_version_is_waited_for) {
    begin();
    const char *newer = store_path();
    expect_number(sexton_here("sweep", "--leader-elect=false", "-n", "empty").code, 0);
    int64_t version = sql_number("PRAGMA user_version");
    sql_execute(newer, "PRAGMA user_version = 99");
    struct process *controller = controller_start(LISTEN);
    expect_waiting(controller, "made by a newer Sexton");
    sql_execute(newer, format("PRAGMA user_version = %d", (int)version));
    expect_going_on(controller);
}
END_TEST

START_TEST(while_it_waits_sigterm_ends_it_and_a_new_configuration_is_taken) {
    begin();
    store_use("later/history.db");
    struct process *controller = controller_start(LISTEN);
    expect_waiting(controller, "there is no folder");
    configure("[policy]\nttl-after-success = 1h\n");
    wait_until(has_logged(controller, "configuration read again"));
    int64_t began_ms = mono_ms();
    controller_stop(controller);
    expect(mono_ms() - began_ms < 5000, "it took %d ms", (int)(mono_ms() - began_ms));
}
END_TEST

START_TEST(with_nobody_to_ask_it_ends_with_2) {
    begin();
    struct result result = sexton_here("run", "--store", format("sqlite:%s", in_folder("later/history.db")));
    expect_number(result.code, 2);
    expect_contains(result.err, "there is no folder");
}
END_TEST

Suite *suite_waiting(void) {
    const TTest *const tests[] = {
            a_folder_that_is_not_there_yet_is_waited_for_without_taking_the_lease,
            a_full_volume_is_waited_for,
            a_volume_that_is_mounted_read_only_is_waited_for,
            a_volume_of_somebody_elses_is_waited_for,
            of_two_on_one_register_the_second_waits_says_for_whom_and_goes_on_when_the_first_ends,
            a_register_that_something_else_has_locked_is_waited_for_with_a_word_on_what,
            what_is_no_register_is_waited_for_and_left_as_it_is,
            a_register_of_a_newer_version_is_waited_for,
            while_it_waits_sigterm_ends_it_and_a_new_configuration_is_taken,
            with_nobody_to_ask_it_ends_with_2,
            NULL,
    };
    return suite_of("waiting", tests);
}
