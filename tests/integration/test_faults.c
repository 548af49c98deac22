/* Requests that go wrong. */
#include "suites.h"

#include <string.h>

START_TEST(a_403_on_delete_in_one_namespace_neither_stops_the_others_nor_loops) {
    sim_start(NULL);
    configure("[sexton]\nmax-in-flight = 2\n[policy]\nttl-after-failure = 2s\n");
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs', 'namespace': 'closed'}, 'action': {'deny': true}}]");
    struct job open[10], closed[10];
    for (int i = 0; i < 10; i++) {
        open[i] = put_job(.ns = i % 2 ? "alpha" : "omega", .name = format("open-%d", i), .ended_s = 60);
        closed[i] = put_job(.ns = "closed", .name = format("closed-%d", i), .ended_s = 60);
    }
    struct process *controller = controller_start();
    for (int i = 0; i < 10; i++)
        expect_recorded_and_deleted(&open[i], 0);
    /* Some time later */
    struct job canary = put_job(.ns = "alpha", .name = "canary", .failed = true);
    expect_recorded_and_deleted(&canary, 2000);
    int asked = 0;
    for (int i = 0; i < 10; i++) {
        asked += deletions_of(&closed[i]).count;
        expect(job_exists(&closed[i]), "what is forbidden was done");
        expect(!*row_text(&closed[i], "delete_cause"), "it is on record as gone");
    }
    expect(asked >= 1 && asked <= 2, "%d requests, and two may be in flight", asked);
    expect_number(sim_count("jobs", "get"), 0);
    wait_until(has_logged(controller, "deletion is forbidden in this Namespace"));
    expect_number(count_of(process_err(controller), "deletion is forbidden in this Namespace"), 1);
    expect_contains(process_err(controller), "namespace=closed");
    controller_stop(controller);
}
END_TEST

START_TEST(a_403_on_list_in_one_namespace_of_three_does_not_stop_the_others) {
    sim_start(NULL);
    configure("[sexton]\nnamespaces = a b c\n[policy]\nttl-after-failure = 2s\n");
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs', 'namespace': 'b'}, 'action': {'deny': true}}]");
    struct job a = put_job(.ns = "a", .name = "one", .ended_s = 60),
               b = put_job(.ns = "b", .name = "two", .ended_s = 60);
    struct job c = put_job(.ns = "c", .name = "three", .ended_s = 60);
    struct job other = put_job(.ns = "d", .name = "four", .ended_s = 60);
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&a, 0);
    expect_recorded_and_deleted(&c, 0);
    struct job canary = put_job(.ns = "c", .name = "canary", .failed = true);
    expect_recorded_and_deleted(&canary, 2000);
    expect(job_exists(&b) && job_exists(&other), "it deletes what it must not");
    expect(sim_fault_hits(0) <= 5, "%d requests in a forbidden Namespace", (int)sim_fault_hits(0));
    expect_contains(process_err(controller), "namespace=b status=403");
    sim_clear_faults();
    expect_recorded_and_deleted(&b, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(without_the_right_to_list_namespaces_nothing_is_deleted_and_the_reason_is_said) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'list', 'resource': 'namespaces'}, 'action': {'deny': true}}]");
    struct job job = put_job(.name = "due", .ended_s = 60);
    struct process *controller = controller_start();
    wait_until(sim_fault_hits(0) == 3);
    expect_number(sim_count("jobs", "delete"), 0);
    expect_contains(process_err(controller), "cannot list resource");
    expect_contains(process_err(controller), "resource=namespaces");
    expect(sim_total() <= 12, "%d requests", (int)sim_total());
    sim_clear_faults();
    expect_recorded_and_deleted(&job, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_429_with_retry_after_is_honoured) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'times': 1, 'action': {'status': 429, 'retryAfter': "
               "2}}]");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job = put_job(.name = "one", .ended_s = 60);
    wait_until(has_logged(controller, "deletions pause"));
    struct job other = put_job(.name = "two", .ended_s = 60);
    wait_until(row_is(&job, "deleted", "ttl"));
    wait_until(row_is(&other, "deleted", "ttl"));
    struct deletion deletion = deletions_of(&job);
    expect_number(deletion.count, 2);
    expect(deletion.last_ms >= deletion.first_ms + 2000, "it asked again after %d ms",
            (int)(deletion.last_ms - deletion.first_ms));
    /* The server is too busy for other Jobs, too. */
    expect(deletions_of(&other).first_ms >= deletion.first_ms + 2000, "another Job did not wait");
    expect_number(deletions_of(&other).count, 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_429_to_a_list_is_honoured) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'status': 429, 'retryAfter': "
               "2}}]");
    struct job job = put_job(.name = "one", .ended_s = 60);
    int64_t began_ms = wall_ms();
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&job, 0);
    expect(deletions_of(&job).first_ms >= began_ms + 2000, "it came back early");
    expect_number(sim_count("jobs", "list"), 2);
    controller_stop(controller);
}
END_TEST

START_TEST(a_429_without_retry_after_pauses_deletions_and_asks_again) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'times': 2, 'action': {'status': 429}}]");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job = put_job(.name = "one", .ended_s = 60);
    wait_until(has_logged(controller, "deletions pause"));
    wait_until(row_is(&job, "deleted", "ttl"));
    struct deletion deletion = deletions_of(&job);
    expect_number(deletion.count, 3);
    expect(deletion.last_ms - deletion.first_ms >= 400 + 800, "three requests within %d ms",
            (int)(deletion.last_ms - deletion.first_ms));
    controller_stop(controller);
}
END_TEST

START_TEST(a_storm_of_500_to_everything_is_sat_out_without_a_word_too_many) {
    sim_start(NULL);
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    struct job before =
            put_job(.name = "before", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '1s'");
    wait_until(row_is(&before, "due", ""));
    sim_faults("[{'action': {'status': 500}}, {'match': {'verb': 'watch'}, 'live': true, 'action': {'status': 500, "
               "'truncateAfter': 0}}]");
    clock_speed(60);
    struct job within = put_job(.name = "within", .ended_s = 60);
    int64_t until_ms = clock_controllers_ms() + 180000;
    wait_until(clock_controllers_ms() > until_ms);
    expect_number(sim_objects("jobs"), 2);
    /* Three watches and the deletions, a dozen times in three minutes each. */
    int lines = count_of(process_err(controller), "\n");
    expect(lines <= 100, "%d lines of log in three minutes", lines);
    sim_clear_faults();
    wait_until(strcmp(row_text(&before, "delete_state"), "deleted") == 0);
    wait_until(row_is(&within, "deleted", "ttl"));
    expect(strcmp(row_text(&before, "delete_cause"), "external") != 0, "our own deletion counts as someone else's");
    expect_number(deletions_of(&before).done + deletions_of(&within).done, 2);
    controller_stop(controller);
}
END_TEST

START_TEST(a_storm_of_500_is_survived) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'times': 3, 'action': {'status': 500}},"
               " {'match': {'verb': 'get', 'resource': 'jobs'}, 'times': 1, 'action': {'status': 503}}]");
    struct job jobs[6];
    for (int i = 0; i < 6; i++)
        jobs[i] = put_job(.name = format("job-%d", i), .ended_s = 60);
    struct process *controller = controller_start();
    int requests = 0;
    for (int i = 0; i < 6; i++) {
        wait_until(row_is(&jobs[i], "deleted", "ttl"));
        struct deletion deletion = deletions_of(&jobs[i]);
        expect_number(deletion.done, 1);
        requests += deletion.count;
    }
    expect_number(requests, 9);
    expect_number(sql_number("SELECT count(*) FROM runs"), 6);
    /* After an answer that says nothing, it looks before it tries again. */
    expect(sim_count("jobs", "get") >= 3, "%d looks", (int)sim_count("jobs", "get"));
    controller_stop(controller);
}
END_TEST

START_TEST(a_delete_whose_answer_is_lost_is_recorded_as_deleted) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    /* By a connection that has been used before: libcurl itself might try again. */
    struct job first = put_job(.name = "first", .ended_s = 60);
    expect_recorded_and_deleted(&first, 0);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'times': 1, 'action': {'applyThenDrop': true}}]");
    struct job job = put_job(.name = "lost", .ended_s = 60);
    wait_until(!job_exists(&job));
    wait_until(strcmp(row_text(&job, "delete_state"), "deleted") == 0);
    const char *cause = row_text(&job, "delete_cause");
    expect(strcmp(cause, "ttl") == 0 || strcmp(cause, "unknown") == 0, "the cause is '%s'", cause);
    expect_number(deletions_of(&job).done, 1);
    expect_number(deletions_of(&job).count, 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_delete_whose_answer_is_reset_is_recorded_as_deleted_although_the_watch_is_silent) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job = put_job(.name = "lost", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '1s'");
    wait_until(row_is(&job, "due", ""));
    sim_faults(
            "[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'times': 1, 'action': {'applyThenDrop': true, 'reset': "
            "true}}, {'match': {'verb': 'watch', 'resource': 'jobs'}, 'live': true, 'action': {'stallAfter': 0}}]");
    wait_until(!job_exists(&job));
    wait_until(strcmp(row_text(&job, "delete_state"), "deleted") == 0);
    const char *cause = row_text(&job, "delete_cause");
    expect(strcmp(cause, "ttl") == 0 || strcmp(cause, "unknown") == 0, "the cause is '%s'", cause);
    expect_number(deletions_of(&job).done, 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_delete_that_is_dropped_is_tried_again_after_a_look) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job first = put_job(.name = "first", .ended_s = 60);
    expect_recorded_and_deleted(&first, 0);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'times': 2, 'action': {'drop': true}}]");
    struct job job = put_job(.name = "dropped", .ended_s = 60);
    wait_until(row_is(&job, "deleted", "ttl"));
    struct deletion deletion = deletions_of(&job);
    expect_number(deletion.done, 1);
    expect_number(deletion.count, 3);
    expect(sim_count("jobs", "get") >= 1, "it did not look");
    controller_stop(controller);
}
END_TEST

START_TEST(a_yes_that_is_not_the_api_servers_own_does_not_count_as_a_deletion) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'times': 2, 'action': {'body': '<html>Sign in', "
               "'contentType': 'text/html'}}]");
    struct job job = put_job(.name = "one", .ended_s = 60);
    struct process *controller = controller_start();
    wait_until(sim_fault_hits(0) == 1);
    wait_until(has_logged(controller, "with an HTML page"));
    expect(job_exists(&job), "it is gone");
    expect(!*row_text(&job, "delete_cause"), "it is on record as deleted");
    wait_until(row_is(&job, "deleted", "ttl"));
    /* kubesim counts what it was told to answer as done, too. */
    expect_number(deletions_of(&job).count, 3);
    expect(!job_exists(&job), "it is still there");
    controller_stop(controller);
}
END_TEST

START_TEST(a_409_makes_it_look_again) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'times': 2, 'action': {'status': 409}}]");
    struct job job = put_job(.name = "contested", .ended_s = 60);
    struct process *controller = controller_start();
    wait_until(row_is(&job, "deleted", "ttl"));
    expect_number(deletions_of(&job).count, 3);
    expect_number(deletions_of(&job).done, 1);
    expect(sim_count("jobs", "get") >= 1, "it did not look");
    expect_number(sql_number("SELECT count(*) FROM runs"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_404_means_that_someone_else_was_first) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job = put_job(.name = "raced", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    wait_until(row_is(&job, "due", ""));
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'live': true, 'action': {'stallAfter': 0}}]");
    wait_until(sim_fault_hits(0) > 0);
    delete_job(&job);
    wait_until(row_is(&job, "deleted", "external"));
    expect_number(deletions_of(&job).last_code, 404);
    expect_number(deletions_of(&job).count, 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_server_that_does_not_answer_deletes_holds_up_nothing_else) {
    sim_start(NULL);
    configure("[sexton]\nmax-in-flight = 4\n");
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs', 'name': 'stuck'}, 'action': {'delayMs': 3000}}]");
    struct job stuck = put_job(.name = "stuck", .ended_s = 60);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job = put_job(.name = "quick", .ended_s = 60);
    expect_recorded_and_deleted(&job, 0);
    expect(job_exists(&stuck), "it is gone");
    expect_text(row_text(&stuck, "delete_state"), "deleting");
    controller_stop(controller);
    wait_until(!job_exists(&stuck));
}
END_TEST

Suite *suite_faults(void) {
    const TTest *const tests[] = {
            a_403_on_delete_in_one_namespace_neither_stops_the_others_nor_loops,
            a_403_on_list_in_one_namespace_of_three_does_not_stop_the_others,
            without_the_right_to_list_namespaces_nothing_is_deleted_and_the_reason_is_said,
            a_429_with_retry_after_is_honoured,
            a_429_to_a_list_is_honoured,
            a_429_without_retry_after_pauses_deletions_and_asks_again,
            a_storm_of_500_to_everything_is_sat_out_without_a_word_too_many,
            a_storm_of_500_is_survived,
            a_delete_whose_answer_is_lost_is_recorded_as_deleted,
            a_delete_whose_answer_is_reset_is_recorded_as_deleted_although_the_watch_is_silent,
            a_delete_that_is_dropped_is_tried_again_after_a_look,
            a_yes_that_is_not_the_api_servers_own_does_not_count_as_a_deletion,
            a_409_makes_it_look_again,
            a_404_means_that_someone_else_was_first,
            a_server_that_does_not_answer_deletes_holds_up_nothing_else,
            NULL,
    };
    return suite_of("faults", tests);
}
