/* Two controllers and one cluster: who acts, when the other may, and what is never done. */
#include "proxy.h"
#include "suites.h"

#include <signal.h>
#include <string.h>

#define SHORT "[sexton]\nlease-duration = 3s\nrenew-deadline = 2s\nretry-period = 1s\n"

static struct process *start_leader(const char *sections) {
    configure(sections);
    struct process *leader = controller_start();
    wait_until(has_logged(leader, "holds the lease, and acts"));
    wait_until_synced(leader);
    return leader;
}

/* With a register of its own, which is the one that is looked into from now on. */
static struct process *start_standby(void) {
    store_use("standby.db");
    struct process *standby = controller_start("--store", store_option());
    wait_until(has_logged(standby, "stands by"));
    wait_until_synced(standby);
    return standby;
}

START_TEST(the_one_that_stands_by_records_and_deletes_nothing) {
    sim_start(NULL);
    struct process *leader = start_leader(SHORT), *standby = start_standby();
    struct job job = put_job(.name = "one", .ended_s = 60);
    wait_until(row_number(&job, "finished_at") == job.ended_ms);
    store_use("history.db");
    expect_recorded_and_deleted(&job, 0);
    expect_number(deletions_of(&job).count, 1);
    expect_lacks(process_err(standby), "\"job deleted\"");
    controller_stop(standby);
    controller_stop(leader);
}
END_TEST

START_TEST(after_a_clean_exit_the_other_acts_within_3_s) {
    sim_start(NULL);
    struct process *leader = start_leader(""), *standby = start_standby();
    int64_t began_ms = mono_ms();
    controller_stop(leader);
    wait_until(has_logged(standby, "holds the lease, and acts"));
    expect(mono_ms() - began_ms < 3000, "it took %d ms", (int)(mono_ms() - began_ms));
    struct job job = put_job(.name = "one", .ended_s = 60);
    expect_recorded_and_deleted(&job, 0);
    controller_stop(standby);
}
END_TEST

START_TEST(after_a_kill_the_other_acts_when_the_lease_has_run_out) {
    sim_start(NULL);
    struct process *leader = start_leader(SHORT), *standby = start_standby();
    int64_t began_ms = mono_ms();
    process_signal(leader, SIGKILL);
    struct job job = put_job(.name = "one", .ended_s = 60);
    wait_until(has_logged(standby, "holds the lease, and acts"));
    int64_t took_ms = mono_ms() - began_ms;
    /* 3 s from when it saw the last renewal, and a look each second: 5.4 s at most, the rest is for busy machines. */
    expect(took_ms > 1500 && took_ms < 10000, "it took %d ms", (int)took_ms);
    expect_recorded_and_deleted(&job, 0);
    controller_stop(standby);
}
END_TEST

START_TEST(one_that_was_stopped_past_its_lease_sends_no_delete_when_it_goes_on) {
    sim_start(NULL);
    struct process *leader = start_leader(SHORT), *standby = start_standby();
    process_signal(leader, SIGSTOP);
    wait_until(has_logged(standby, "holds the lease, and acts"));
    /* These wait for the one that holds the lease now, which is stopped too: the first must not take them. */
    process_signal(standby, SIGSTOP);
    struct job job = put_job(.name = "one", .ended_s = 60);
    process_signal(leader, SIGCONT);
    wait_until(has_logged(leader, "the lease is lost"));
    store_use("history.db");
    wait_until(row_is(&job, "due", ""));
    expect_number(deletions_of(&job).count, 0);
    store_use("standby.db");
    process_signal(standby, SIGCONT);
    expect_recorded_and_deleted(&job, 0);
    controller_stop(leader);
    controller_stop(standby);
}
END_TEST

/* libcurl lets go of connections that were idle for two minutes. The renewals of the lease keep one in use, and a
 * deletion takes it. */
START_TEST(a_deletion_after_minutes_without_one_needs_no_new_connection) {
    sim_start(NULL);
    configure("[sexton]\nlease-duration = 240s\nrenew-deadline = 200s\nretry-period = 60s\n");
    proxy_start();
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    /* A few times, for it may be on its way while a renewal is, or those may be late on a busy machine. */
    int opened = 1;
    for (int i = 0; i < 4 && opened > 0; i++) {
        /* Longer than that, and less than the five minutes after which each connection is given up. */
        int64_t until_ms = clock_controllers_ms() + 180000;
        clock_speed(30);
        wait_until(clock_controllers_ms() >= until_ms);
        clock_speed(1);
        int connections = proxy_connections();
        struct job job = put_job(.name = format("after-%d", i), .ended_s = 60);
        expect_recorded_and_deleted(&job, 0);
        opened = proxy_connections() - connections;
    }
    expect_number(opened, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_sweep_beside_a_controller_says_who_holds_the_lease_and_exits_1) {
    sim_start(NULL);
    struct process *leader = start_leader(SHORT);
    store_use("sweep.db");
    struct result result = sexton_here("sweep", "--store", store_option());
    expect_number(result.code, 1);
    expect_contains(result.err, "default/sexton is held by ");
    expect_contains(result.err, "--leader-elect=false");
    controller_stop(leader);
    result = sexton_here("sweep");
    expect_number(result.code, 0);
}
END_TEST

START_TEST(without_the_right_to_the_lease_nothing_is_deleted_and_that_is_said) {
    sim_start(NULL);
    sim_faults("[{'match': {'resource': 'leases'}, 'action': {'status': 403}}]");
    configure(SHORT);
    struct process *controller = controller_start();
    wait_until(has_logged(controller, "the lease cannot be had"));
    struct job job = put_job(.name = "one", .ended_s = 60);
    wait_until(row_is(&job, "due", ""));
    expect_number(deletions_of(&job).count, 0);
    struct result result = sexton_here("sweep", "--store", format("sqlite:%s", in_folder("sweep.db")));
    expect_number(result.code, 1);
    expect_contains(result.err, "cannot be had");
    sim_clear_faults();
    expect_recorded_and_deleted(&job, 0);
    controller_stop(controller);
}
END_TEST

Suite *suite_lease(void) {
    const TTest *const tests[] = {
            the_one_that_stands_by_records_and_deletes_nothing,
            after_a_clean_exit_the_other_acts_within_3_s,
            after_a_kill_the_other_acts_when_the_lease_has_run_out,
            one_that_was_stopped_past_its_lease_sends_no_delete_when_it_goes_on,
            a_deletion_after_minutes_without_one_needs_no_new_connection,
            a_sweep_beside_a_controller_says_who_holds_the_lease_and_exits_1,
            without_the_right_to_the_lease_nothing_is_deleted_and_that_is_said,
            NULL,
    };
    return suite_of("lease", tests);
}
