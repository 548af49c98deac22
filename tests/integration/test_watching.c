/* Lists and watches that go wrong. */
#include "suites.h"

static const char *const many_jobs[] = {
        "--jobs", "1200", "--job-bytes", "700", "--namespaces", "7", "--failed-percent", "0", NULL};

static void expect_all_gone(struct process *controller, int64_t n) {
    wait_patiently(2 * WAIT_MS); /* a thousand commits, with sanitizers on a busy machine */
    wait_until(sim_objects("jobs") == 0);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted' AND delete_cause = 'ttl'") == n);
    expect_number(sql_number("SELECT count(*) FROM runs"), n);
    expect_number(sim_count("jobs", "delete"), n);
    expect_number(sim_count("jobs", "get"), 0);
    controller_stop(controller);
}

START_TEST(more_jobs_than_a_page_are_all_seen_with_one_request_a_deletion) {
    sim_start(many_jobs);
    configure("[sexton]\ndelete-qps = 0\n");
    struct process *controller = controller_start();
    expect_all_gone(controller, 1200);
    expect_number(sim_count("jobs", "list"), 3);
}
END_TEST

START_TEST(a_410_on_a_later_page_lists_again_in_full) {
    sim_start(many_jobs);
    configure("[sexton]\ndelete-qps = 0\n");
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'skip': 1, 'times': 1, 'action': {'status': 410}}]");
    struct process *controller = controller_start();
    expect_all_gone(controller, 1200);
    expect_number(sim_count("jobs", "list"), 3);
}
END_TEST

START_TEST(a_list_that_breaks_off_deletes_nothing_until_it_is_whole) {
    sim_start(many_jobs);
    configure("[sexton]\ndelete-qps = 0\n");
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'skip': 1, 'times': 1, 'action': {'truncateAfter': "
               "70000}},"
               " {'match': {'verb': 'list', 'resource': 'jobs'}, 'skip': 1, 'times': 1, 'action': {'delayMs': 300}}]");
    struct process *controller = controller_start();
    wait_until(has_logged(controller, "list failed"));
    expect_number(sim_count("jobs", "delete"), 0);
    expect_all_gone(controller, 1200);
}
END_TEST

/* After all of that, is a Job that finishes now still seen, and deleted? */
static void expect_at_work(void) {
    static int serial;
    struct job job = put_job(.name = format("canary-%d", ++serial), .ended_s = 60);
    expect_recorded_and_deleted(&job, 0);
}

START_TEST(a_410_as_the_status_of_a_watch_lists_again) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'action': {'status': 410}}]");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    expect_at_work();
    expect_number(sim_count("jobs", "list"), 2);
    controller_stop(controller);
}
END_TEST

START_TEST(a_410_as_an_event_lists_again_and_what_went_meanwhile_is_on_record) {
    sim_start(NULL);
    struct job job = put_job(.name = "unseen", .failed = true);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    wait_until(row_is(&job, "due", ""));
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'delayMs': 300}},"
               " {'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'live': true, 'action': {'watchGone': "
               "true}}]");
    delete_job(&job);
    wait_until(row_is(&job, "deleted", "external"));
    wait_until(sim_count("jobs", "list") == 2);
    expect_at_work();
    expect_number(sim_count("jobs", "list"), 2);
    controller_stop(controller);
}
END_TEST

START_TEST(a_compacted_server_is_listed_again) {
    sim_start(NULL);
    struct job job = put_job(.name = "unseen", .failed = true);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    wait_until(row_is(&job, "due", ""));
    /* The watch ends, and what happened since is forgotten. */
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'live': true, 'action': "
               "{'truncateAfter': 0, "
               "'reset': true}}, {'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'action': {'delayMs': "
               "200}}]");
    delete_job(&job);
    sim_compact();
    wait_until(row_is(&job, "deleted", "external"));
    expect_at_work();
    controller_stop(controller);
}
END_TEST

START_TEST(a_watch_that_ends_at_once_every_time_is_slowed_down) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'watch'}, 'action': {'watchEndAfterMs': 0}}]");
    int64_t began_ms = mono_ms();
    struct process *controller = controller_start();
    wait_until(sim_count("jobs", "watch") == 3);
    int64_t took_ms = mono_ms() - began_ms;
    /* 0.8 s, doubling, and at least half of it each time. */
    expect(took_ms >= 400 + 800, "three watches within %d ms", (int)took_ms);
    expect(sim_total() <= 30, "%d requests", (int)sim_total());
    expect_number(sim_count("jobs", "list"), 1);
    sim_clear_faults();
    expect_at_work();
    controller_stop(controller);
}
END_TEST

START_TEST(a_410_every_time_is_slowed_down) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'action': {'watchGone': true}}]");
    int64_t began_ms = mono_ms();
    struct process *controller = controller_start();
    wait_until(sim_count("jobs", "watch") == 4);
    int64_t took_ms = mono_ms() - began_ms;
    expect(took_ms >= 400 + 800, "four watches within %d ms", (int)took_ms);
    sim_clear_faults();
    expect_at_work();
    controller_stop(controller);
}
END_TEST

static void cut_watch(const char *action, int lists) {
    sim_start((const char *const[]){"--bookmark-ms", "50", NULL});
    struct process *controller = controller_start();
    wait_until_synced(controller);
    sim_faults(format(
            "[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'live': true, 'action': {%s}}]", action));
    /* While it is away: no event may be lost. */
    struct job job = put_job(.name = "meanwhile", .ended_s = 60);
    wait_until(sim_count("jobs", "watch") >= 2);
    expect_recorded_and_deleted(&job, 0);
    expect_at_work();
    expect_number(sim_count("jobs", "list"), lists);
    controller_stop(controller);
}

START_TEST(a_watch_that_is_cut_within_an_event_goes_on_without_a_new_list) {
    cut_watch("'truncateAfter': 100", 1);
}
END_TEST

START_TEST(a_connection_that_is_reset_goes_on_without_a_new_list) {
    cut_watch("'truncateAfter': 0, 'reset': true", 1);
}
END_TEST

START_TEST(a_watch_that_ends_in_order_goes_on_without_a_new_list) {
    cut_watch("'watchEndAfterMs': 0", 1);
}
END_TEST

START_TEST(rubbish_within_a_watch_is_survived) {
    cut_watch("'raw': 'HTTP/1.1 502 <html>'", 1);
}
END_TEST

START_TEST(slow_doubled_and_reordered_events_change_nothing) {
    sim_start((const char *const[]){"--bookmark-ms", "100", NULL});
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'action': {'duplicateEvents': true, 'reorderEvents': "
               "true, "
               "'bytesPerWrite': 97}}]");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job jobs[12];
    /* Events of different Jobs: those of one Job are in order with any server. */
    for (int i = 0; i < 12; i++)
        jobs[i] = put_job(.name = format("job-%d", i), .ended_s = 60);
    for (int i = 0; i < 12; i++) {
        wait_until(row_is(&jobs[i], "deleted", "ttl"));
        expect_number(deletions_of(&jobs[i]).done, 1);
    }
    expect_number(sql_number("SELECT count(*) FROM runs"), 12);
    controller_stop(controller);
}
END_TEST

START_TEST(an_event_that_is_no_job_is_passed_over) {
    sim_start(SIM_JSON_ONLY);
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'live': true, 'action': {'raw': "
               "'{\\'type\\':\\'ADDED\\',\\'object\\':{\\'kind\\':\\'Job\\',\\'metadata\\':{\\'name\\':7}}}\\n"
               "{\\'type\\':\\'SURPRISE\\',\\'object\\':{}}\\n'}}]");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    expect_at_work();
    wait_until(has_logged(controller, "level=warn"));
    expect_number(sim_count("jobs", "list"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(nothing_is_deleted_while_the_namespaces_are_not_known) {
    sim_start(NULL);
    configure("[policy]\nttl-after-failure = 1s\n");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job =
            put_job(.name = "held-soon", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    wait_until(row_is(&job, "due", ""));
    /* Its Namespace is put on hold, but nobody can tell us so. */
    sim_faults("[{'match': {'resource': 'namespaces'}, 'live': true, 'action': {'status': 503, 'truncateAfter': 0}}]");
    wait_until(has_logged(controller, "resource=namespaces"));
    put_namespace("shop", "'sexton.dev/hold': 'true'");
    wait_until(wall_ms() > job.ended_ms + 3000);
    expect(job_exists(&job), "it was deleted on stale knowledge");
    sim_clear_faults();
    wait_until(row_is(&job, "kept", ""));
    expect_kept(&job, "kept");
    controller_stop(controller);
}
END_TEST

Suite *suite_watching(void) {
    const TTest *const tests[] = {
            more_jobs_than_a_page_are_all_seen_with_one_request_a_deletion,
            a_410_on_a_later_page_lists_again_in_full,
            a_list_that_breaks_off_deletes_nothing_until_it_is_whole,
            a_410_as_the_status_of_a_watch_lists_again,
            a_410_as_an_event_lists_again_and_what_went_meanwhile_is_on_record,
            a_compacted_server_is_listed_again,
            a_watch_that_ends_at_once_every_time_is_slowed_down,
            a_410_every_time_is_slowed_down,
            a_watch_that_is_cut_within_an_event_goes_on_without_a_new_list,
            a_connection_that_is_reset_goes_on_without_a_new_list,
            a_watch_that_ends_in_order_goes_on_without_a_new_list,
            rubbish_within_a_watch_is_survived,
            slow_doubled_and_reordered_events_change_nothing,
            an_event_that_is_no_job_is_passed_over,
            nothing_is_deleted_while_the_namespaces_are_not_known,
            NULL,
    };
    return suite_of("watching", tests);
}
