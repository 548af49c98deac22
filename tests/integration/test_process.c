/* Signals, restarts, clocks and limits. */
#include "suites.h"

#include <signal.h>
#include <string.h>

static void stop_in_flight(int number) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'delayMs': 1000}}]");
    struct job job = put_job(.name = "in-flight", .ended_s = 60);
    struct process *controller = controller_start();
    wait_until(row_is(&job, "deleting", ""));
    wait_until_synced(controller);
    int64_t began_ms = mono_ms();
    process_signal(controller, number);
    expect_number(process_wait(controller), 0);
    expect(mono_ms() - began_ms < 10000, "it took %d ms to end", (int)(mono_ms() - began_ms));
    /* What was in flight is finished and on record. */
    expect(!job_exists(&job), "the Job is still there");
    expect(row_is(&job, "deleted", "ttl"), "the register does not know");
    expect_number(deletions_of(&job).count, 1);
    expect_contains(process_err(controller), number == SIGINT ? "signal=SIGINT" : "signal=SIGTERM");
}

START_TEST(sigterm_finishes_what_is_in_flight_and_exits_0) {
    stop_in_flight(SIGTERM);
}
END_TEST

START_TEST(sigint_finishes_what_is_in_flight_and_exits_0) {
    stop_in_flight(SIGINT);
}
END_TEST

START_TEST(sigterm_exits_0_within_10_s_when_the_server_is_silent) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'delayMs': 30000}}]");
    struct job job = put_job(.name = "stuck", .ended_s = 60);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    wait_until(row_is(&job, "deleting", ""));
    int64_t began_ms = mono_ms();
    controller_stop(controller);
    expect(mono_ms() - began_ms < 10000, "it took %d ms to end", (int)(mono_ms() - began_ms));
    /* The next start settles it. */
    sim_clear_faults();
    controller = controller_start();
    wait_until(row_is(&job, "deleted", "ttl"));
    controller_stop(controller);
}
END_TEST

START_TEST(sigterm_before_the_api_server_ever_answered_exits_0) {
    sim_start(NULL);
    sim_stop();
    struct process *controller = controller_start();
    wait_until(has_logged(controller, "does not answer"));
    controller_stop(controller);
}
END_TEST

START_TEST(sighup_reloads_the_policy_and_decides_again) {
    sim_start(NULL);
    configure("[policy]\nttl-after-failure = 24h\n[namespace team-*]\nttl-after-failure = never\n");
    struct job job = put_job(.name = "one", .failed = true, .ended_s = 3600);
    struct job kept = put_job(.ns = "team-a", .name = "two", .failed = true, .ended_s = 3600);
    struct process *controller = controller_start();
    wait_until(row_is(&job, "due", "") && row_is(&kept, "kept", ""));
    wait_until_synced(controller);
    configure("[sexton]\nlog-format = json\n[policy]\nttl-after-failure = 30m\n[namespace team-*]\nttl-after-failure = "
              "2h\n");
    process_signal(controller, SIGHUP);
    expect_recorded_and_deleted(&job, 1800000);
    wait_until(row_is(&kept, "due", ""));
    expect_text(row_text(&kept, "policy"), "ttl-after-failure=2h");
    expect_contains(process_err(controller), "\"msg\":\"configuration read again\"");
    controller_stop(controller);
}
END_TEST

START_TEST(a_bad_configuration_on_sighup_is_refused_and_the_old_one_stays) {
    sim_start(NULL);
    configure("[policy]\nttl-after-failure = 30m\n");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    configure("[policy]\nttl-after-failure = 30\nttl-after-sucess = 1h\n");
    process_signal(controller, SIGHUP);
    wait_until(has_logged(controller, "is refused"));
    expect_contains(process_err(controller), "sexton.ini:4");
    struct job job = put_job(.name = "one", .failed = true, .ended_s = 3600);
    expect_recorded_and_deleted(&job, 1800000);
    controller_stop(controller);
}
END_TEST

START_TEST(sighup_says_what_waits_for_a_restart) {
    sim_start(NULL);
    configure("[sexton]\nlog-level = info\n");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    configure("[sexton]\nnamespaces = shop\nannotation-prefix = other.example.com\n");
    process_signal(controller, SIGHUP);
    wait_until(has_logged(controller, "configuration read again"));
    expect_contains(process_err(controller), "key=namespaces");
    expect_contains(process_err(controller), "key=annotation-prefix");
    struct job kept = put_job(.name = "kept", .ended_s = 60, .annotations = "'sexton.dev/hold': 'true'");
    struct job gone = put_job(.ns = "elsewhere", .name = "gone", .ended_s = 60);
    expect_recorded_and_deleted(&gone, 0);
    wait_until(row_is(&kept, "kept", ""));
    controller_stop(controller);
}
END_TEST

START_TEST(kill_9_loses_nothing_and_repeats_nothing) {
    sim_start((const char *const[]){"--jobs", "400", "--job-bytes", "700", "--failed-percent", "0", NULL});
    configure("[sexton]\ndelete-qps = 0\nmax-in-flight = 8\n");
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'delayMs': 20}}]");
    for (int64_t least = 40; least <= 240; least += 100) {
        struct process *controller = controller_start();
        wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") >= least);
        process_signal(controller, SIGKILL);
        expect_number(process_wait(controller), 128 + SIGKILL);
    }
    struct process *controller = controller_start();
    wait_until(sim_objects("jobs") == 0);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 400);
    expect_number(sql_number("SELECT count(*) FROM runs"), 400);
    expect_number(sql_number("SELECT count(*) FROM runs WHERE delete_cause = 'external'"), 0);
    /* Every Job went by one request that did it; others may have come too late. */
    expect_number(sim_count_code("409"), 0);
    expect_text(sql_text("PRAGMA integrity_check"), "ok");
    controller_stop(controller);
}
END_TEST

START_TEST(a_row_that_kill_9_left_in_deleting_is_settled) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs', 'name': 'done'}, 'times': 1, 'action': {'delayMs': "
               "800}},"
               " {'match': {'verb': 'delete', 'resource': 'jobs', 'name': 'undone'}, 'times': 1, 'action': {'delayMs': "
               "800, "
               "'drop': true}}]");
    struct job done = put_job(.name = "done", .ended_s = 60), undone = put_job(.name = "undone", .ended_s = 60);
    struct process *controller = controller_start();
    wait_until(sim_fault_hits(0) == 1 && sim_fault_hits(1) == 1);
    process_signal(controller, SIGKILL);
    expect_number(process_wait(controller), 128 + SIGKILL);
    expect_text(row_text(&done, "delete_state"), "deleting");
    expect_text(row_text(&undone, "delete_state"), "deleting");
    wait_until(!job_exists(&done) && deletions_of(&undone).count == 1);
    controller = controller_start();
    wait_until(row_is(&undone, "deleted", "ttl"));
    wait_until(strcmp(row_text(&done, "delete_state"), "deleted") == 0);
    expect(strcmp(row_text(&done, "delete_cause"), "external") != 0, "our own deletion counts as someone else's");
    expect_number(deletions_of(&done).count, 1);
    expect_number(deletions_of(&undone).count, 2);
    controller_stop(controller);
}
END_TEST

START_TEST(the_api_server_may_be_restarted_in_the_middle) {
    sim_start((const char *const[]){"--first-rv", "5000", NULL});
    struct job before = put_job(.name = "before", .failed = true);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    wait_until(row_is(&before, "due", ""));
    int port = sim_port();
    sim_stop();
    wait_until(has_logged(controller, "watch failed"));
    /* It comes back without its memory, as if that Job had been deleted: old resourceVersions are too old. */
    sim_start_at(port, (const char *const[]){"--first-rv", "900000", NULL});
    struct job after = put_job(.name = "after", .ended_s = 60);
    expect_recorded_and_deleted(&after, 0);
    wait_until(row_is(&before, "deleted", "external"));
    controller_stop(controller);
}
END_TEST

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

START_TEST(delete_qps_is_a_bound) {
    sim_start(NULL);
    configure("[sexton]\ndelete-qps = 10\n");
    struct job last = {0};
    for (int i = 0; i < 24; i++)
        last = put_job(.name = format("job-%02d", i), .ended_s = 60);
    struct process *controller = controller_start();
    int64_t times[64];
    wait_until(sim_objects("jobs") == 0);
    int n = deletion_times(times, 64);
    expect_number(n, 24);
    /* A second's worth at once, and then ten a second; the clocks of two processes are a little apart. */
    expect(times[n - 1] - times[0] >= 1350, "24 deletions within %d ms", (int)(times[n - 1] - times[0]));
    for (int i = 10; i < n; i++)
        expect(times[i] - times[i - 10] >= (i < 20 ? 50 : 900), "too fast at the %dth: %d ms", i,
                (int)(times[i] - times[i - 10]));
    wait_until(row_is(&last, "deleted", "ttl"));
    controller_stop(controller);
}
END_TEST

START_TEST(max_in_flight_is_a_bound) {
    sim_start(NULL);
    configure("[sexton]\nmax-in-flight = 2\n");
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'delayMs': 250}}]");
    for (int i = 0; i < 6; i++)
        put_job(.name = format("job-%d", i), .ended_s = 60);
    struct process *controller = controller_start();
    int64_t times[16];
    wait_until(sim_objects("jobs") == 0);
    expect_number(deletion_times(times, 16), 6);
    for (int i = 2; i < 6; i++)
        expect(times[i] - times[i - 2] >= 240, "three in flight: %d ms", (int)(times[i] - times[i - 2]));
    controller_stop(controller);
}
END_TEST

START_TEST(without_a_register_nothing_is_deleted) {
    sim_start(NULL);
    struct job first = put_job(.name = "first", .ended_s = 60);
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&first, 0);
    wait_until_synced(controller);
    /* We hold the register: nothing can be written. */
    sql_lock();
    struct job job = put_job(.name = "second", .ended_s = 60);
    wait_until(has_logged(controller, "the register cannot be written"));
    expect(job_exists(&job), "it was deleted without a record");
    expect_number(deletions_of(&job).count, 0);
    sql_unlock();
    expect_recorded_and_deleted(&job, 0);
    wait_until(has_logged(controller, "the register can be written again"));
    controller_stop(controller);
}
END_TEST

START_TEST(sigterm_ends_in_time_when_the_register_is_locked_and_nothing_is_lost) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job first = put_job(.name = "first", .ended_s = 60);
    expect_recorded_and_deleted(&first, 0);
    sql_lock();
    struct job job = put_job(.name = "second", .ended_s = 60);
    struct job kept = put_job(.name = "third", .failed = true);
    int64_t began_ms = mono_ms();
    process_signal(controller, SIGTERM);
    int code = process_wait(controller);
    expect(code == 0 || code == 1, "it ended with %d", code);
    expect(mono_ms() - began_ms < 10000, "it took %d ms to end", (int)(mono_ms() - began_ms));
    expect(job_exists(&job), "it was deleted without a record");
    sql_unlock();
    controller = controller_start();
    expect_recorded_and_deleted(&job, 0);
    wait_until(row_is(&kept, "due", ""));
    controller_stop(controller);
}
END_TEST

START_TEST(every_line_of_a_json_log_is_json) {
    sim_start(NULL);
    configure("[sexton]\nlog-format = json\nlog-level = debug\n");
    put_job(.name = "one", .ended_s = 60);
    put_job(.name = "odd", .failed = true, .ended_s = 60,
            .annotations = "'sexton.dev/hold': 'a \\'b\\' \\u001b[1m \u00e4 = c'");
    sim_faults("[{'match': {'verb': 'delete'}, 'times': 1, 'action': {'status': 500, 'message': 'a \\'quoted\\' "
               "word\\n'}}]");
    struct process *controller = controller_start();
    wait_until(sim_objects("jobs") == 1);
    controller_stop(controller);
    const char *at = process_err(controller);
    int lines = 0;
    for (size_t len; *at; at += len + 1, lines++) {
        len = strcspn(at, "\n");
        json_t *line = json_loadb(at, len, JSON_REJECT_DUPLICATES, NULL);
        expect(json_is_object(line) && json_object_get(line, "time") && json_object_get(line, "level") &&
                        json_object_get(line, "msg"),
                "%.*s", (int)len, at);
        json_decref(line);
    }
    expect(lines >= 6, "%d lines", lines);
    expect_contains(process_err(controller), "\"job\":\"shop/odd\"");
}
END_TEST

Suite *suite_process(void) {
    const TTest *const tests[] = {
            sigterm_finishes_what_is_in_flight_and_exits_0,
            sigint_finishes_what_is_in_flight_and_exits_0,
            sigterm_exits_0_within_10_s_when_the_server_is_silent,
            sigterm_before_the_api_server_ever_answered_exits_0,
            sighup_reloads_the_policy_and_decides_again,
            a_bad_configuration_on_sighup_is_refused_and_the_old_one_stays,
            sighup_says_what_waits_for_a_restart,
            kill_9_loses_nothing_and_repeats_nothing,
            a_row_that_kill_9_left_in_deleting_is_settled,
            the_api_server_may_be_restarted_in_the_middle,
            a_server_whose_clock_is_behind_deletes_nothing_early,
            a_server_whose_clock_is_ahead_deletes_nothing_early,
            delete_qps_is_a_bound,
            max_in_flight_is_a_bound,
            without_a_register_nothing_is_deleted,
            sigterm_ends_in_time_when_the_register_is_locked_and_nothing_is_lost,
            every_line_of_a_json_log_is_json,
            NULL,
    };
    return suite_of("process", tests);
}
