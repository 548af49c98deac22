/* Clocks that step, and clocks that disagree: never early, never stuck, and said once. */
#include "suites.h"

#include <inttypes.h>
#include <string.h>

#define HOUR_MS INT64_C(3600000)
#define TOLD "clock and the API server's differ"

START_TEST(a_server_whose_clock_is_behind_deletes_nothing_early) {
    sim_start(NULL);
    sim_set_clock(-600000);
    configure("[policy]\nttl-after-success = 1m\nttl-after-failure = 1s\n");
    /* By our clock its time is up; by the server's it has not even finished. */
    struct job job = put_job(.name = "early", .ended_s = 300),
               future = put_job(.name = "future", .failed = true, .ended_s = 2);
    struct job due = put_job(.name = "due", .ended_s = 700);
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&due, 660000);
    wait_until(row_is(&job, "due", ""));
    wait_until(has_logged(controller, "clock and the API server's differ"));
    struct job canary = put_job(.name = "canary", .ended_s = 700);
    expect_recorded_and_deleted(&canary, 660000);
    expect_kept(&job, "due");
    expect_kept(&future, "due");
    controller_stop(controller);
}
END_TEST

START_TEST(a_server_whose_clock_is_ahead_deletes_nothing_early) {
    sim_start(NULL);
    sim_set_clock(3600000);
    configure("[policy]\nttl-after-success = 0s\nttl-after-failure = 10m\n");
    struct job early = put_job(.name = "early", .failed = true, .ended_s = 60);
    struct job due = put_job(.name = "due", .failed = true, .ended_s = 600);
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&due, 600000);
    wait_until_synced(controller);
    struct job now = put_job(.name = "now", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    expect_recorded_and_deleted(&now, 2000);
    expect_kept(&early, "due");
    controller_stop(controller);
}
END_TEST

/* By true time, which is this process's: the register's times are the stepped clock's. */
static void expect_gone(const struct job *job, int64_t ttl_ms) {
    wait_until(row_is(job, "deleted", "ttl"));
    struct deletion deletion = deletions_of(job);
    expect_number(deletion.count, 1);
    expect(deletion.first_ms >= job->ended_ms + ttl_ms, "%s went %" PRId64 " ms early", job->name,
            job->ended_ms + ttl_ms - deletion.first_ms);
}

/* Makes the controller look at its clocks, and waits until it has acted on what they say: this Job's time is up by any
 * of them. */
static void let_it_look(void) {
    static int serial;
    struct job canary = put_job(.name = format("canary-%d", ++serial), .ended_s = 24 * 3600);
    expect_gone(&canary, 0);
}

START_TEST(a_clock_that_jumps_ahead_by_hours_deletes_nothing_early_and_is_told_once) {
    sim_start(NULL);
    struct job hours = put_job(.name = "hours", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2h'");
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    expect_lacks(process_err(controller), TOLD);
    clock_step(5 * HOUR_MS);
    struct job seconds =
            put_job(.name = "seconds", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    let_it_look();
    expect_gone(&seconds, 2000);
    let_it_look();
    expect_kept(&hours, "due");
    clock_step(0);
    let_it_look();
    let_it_look();
    expect_kept(&hours, "due");
    expect_number(count_of(process_err(controller), TOLD), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_clock_that_jumps_back_by_hours_holds_deletions_back_until_it_is_right_again) {
    sim_start(NULL);
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    struct job job = put_job(.name = "seconds", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    wait_until(row_is(&job, "due", ""));
    clock_step(-5 * HOUR_MS);
    let_it_look();
    wait_until(wall_ms() > job.ended_ms + 2500);
    let_it_look();
    /* By this machine's clock it has not even finished. */
    expect_kept(&job, "due");
    expect_number(count_of(process_err(controller), TOLD), 1);
    clock_step(0);
    let_it_look();
    expect_gone(&job, 2000);
    controller_stop(controller);
}
END_TEST

START_TEST(a_controller_that_starts_with_a_wrong_clock_is_neither_early_nor_stuck_when_it_is_set_right) {
    sim_start(NULL);
    struct job due = put_job(.name = "due", .failed = true, .ended_s = 60);
    struct job later = put_job(.name = "later", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '3s'");
    configure("[policy]\nttl-after-failure = 50s\n");
    struct process *controller = controller_start_with_clock(7 * HOUR_MS, 1);
    expect_gone(&due, 50000);
    wait_until(row_is(&later, "due", ""));
    clock_step(0);
    expect_gone(&later, 3000);
    expect_number(count_of(process_err(controller), TOLD), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_servers_clock_that_steps_while_we_watch_deletes_nothing_early_and_nothing_is_stuck) {
    sim_start(NULL);
    struct job hour = put_job(.name = "hour", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '1h'");
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    sim_set_clock(3 * HOUR_MS);
    let_it_look();
    let_it_look();
    expect_kept(&hour, "due");
    sim_set_clock(-3 * HOUR_MS);
    let_it_look();
    struct job job = put_job(.name = "seconds", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '1s'");
    wait_until(wall_ms() > job.ended_ms + 1500);
    let_it_look();
    expect_kept(&job, "due");
    sim_set_clock(0);
    let_it_look();
    expect_gone(&job, 1000);
    expect_kept(&hour, "due");
    controller_stop(controller);
}
END_TEST

START_TEST(clocks_that_are_both_wrong_in_opposite_ways_delete_nothing_early) {
    sim_start(NULL);
    sim_set_clock(-600000);
    struct job soon = put_job(.name = "soon", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '1s'");
    struct process *controller = controller_start_with_clock(2 * HOUR_MS, 1);
    wait_until(row_is(&soon, "due", ""));
    wait_until(wall_ms() > soon.ended_ms + 1500);
    let_it_look();
    expect_kept(&soon, "due");
    /* And turned about. */
    sim_set_clock(600000);
    clock_step(-2 * HOUR_MS);
    let_it_look();
    expect_kept(&soon, "due");
    sim_set_clock(0);
    clock_step(0);
    let_it_look();
    expect_gone(&soon, 1000);
    controller_stop(controller);
}
END_TEST

START_TEST(a_difference_about_as_large_as_what_is_told_is_told_once) {
    sim_start(NULL);
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    /* The Date has whole seconds: to be sure of more than 5 s takes 6. */
    static const int64_t steps_ms[] = {-7000, -4500, -7000, -4000, -7500, -4500, -7000};
    for (size_t i = 0; i < sizeof steps_ms / sizeof steps_ms[0]; i++) {
        clock_step(steps_ms[i]);
        let_it_look();
    }
    expect_number(count_of(process_err(controller), TOLD), 1);
    /* Set right, and then wrong again: that is news. */
    clock_step(0);
    let_it_look();
    clock_step(7500);
    let_it_look();
    wait_until(count_of(process_err(controller), TOLD) == 2);
    controller_stop(controller);
}
END_TEST

Suite *suite_clocks(void) {
    const TTest *const tests[] = {
            a_server_whose_clock_is_behind_deletes_nothing_early,
            a_server_whose_clock_is_ahead_deletes_nothing_early,
            a_clock_that_jumps_ahead_by_hours_deletes_nothing_early_and_is_told_once,
            a_clock_that_jumps_back_by_hours_holds_deletions_back_until_it_is_right_again,
            a_controller_that_starts_with_a_wrong_clock_is_neither_early_nor_stuck_when_it_is_set_right,
            a_servers_clock_that_steps_while_we_watch_deletes_nothing_early_and_nothing_is_stuck,
            clocks_that_are_both_wrong_in_opposite_ways_delete_nothing_early,
            a_difference_about_as_large_as_what_is_told_is_told_once,
            NULL,
    };
    return suite_of("clocks", tests);
}
