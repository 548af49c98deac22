/* Signals and restarts. */
#include "suites.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void stop_in_flight(int number) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'delayMs': 1000}}]");
    struct job job = put_job(.name = "in-flight", .ended_s = 60);
    struct process *controller = controller_start();
    wait_until(sim_fault_hits(0) == 1);
    expect(row_is(&job, "deleting", ""), "it was sent before it was on record");
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
    configure("[sexton]\nleader-elect = false\n"); /* its lease has not run out */
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

/* The one line with this message about this Job. Static. */
static const char *line_about(struct process *controller, const char *message, const struct job *job) {
    static char line[4096];
    const char *all = process_err(controller);
    const char *at = strstr(all, format("msg=\"%s\" job=%s/%s ", message, job->ns, job->name));
    expect(at && count_of(all, format("msg=\"%s\" job=%s/%s ", message, job->ns, job->name)) == 1,
            "not one line '%s' about %s", message, job->name);
    snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
    return line;
}

START_TEST(the_log_alone_tells_the_story_of_a_job) {
    static const char *const decided[] = {
            " finished=", " policy=\"ttl-after-failure=30m\"", " source=config:", " ttl=30m", " due="};
    sim_start(NULL);
    configure("[sexton]\nlog-level = info\n[policy]\nttl-after-failure = 30m\n");
    struct job job = put_job(.name = "one", .failed = true, .ended_s = 3600);
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&job, 1800000);
    struct job theirs = put_job(.name = "theirs", .ended_s = 60, .annotations = "'sexton.dev/hold': 'true'");
    wait_until(row_is(&theirs, "kept", ""));
    delete_job(&theirs);
    wait_until(row_is(&theirs, "deleted", "external"));
    controller_stop(controller);
    const char *recorded = line_about(controller, "run recorded", &job);
    expect_contains(recorded, format(" uid=%s outcome=Failed reason=", job.uid));
    for (size_t i = 0; i < sizeof decided / sizeof decided[0]; i++)
        expect_contains(recorded, decided[i]);
    const char *deleted = line_about(controller, "job deleted", &job);
    expect_contains(deleted, format(" uid=%s outcome=Failed cause=ttl finished=", job.uid));
    for (size_t i = 0; i < sizeof decided / sizeof decided[0]; i++)
        expect_contains(deleted, decided[i]);
    expect_contains(
            line_about(controller, "run recorded", &theirs), " state=kept policy=\"hold=true\" source=annotation");
    expect_contains(
            line_about(controller, "job is gone, deleted by someone else", &theirs), " cause=external finished=");
}
END_TEST

/* As in a container. Without the right to make one here, there is nothing to see. */
START_TEST(as_process_1_it_ends_by_sigterm_and_leaves_no_zombies) {
    sim_start(NULL);
    if (process_run(&(struct start){.argv = (const char *const[]){"/usr/bin/unshare", "-pf", "/bin/true", NULL}}).code)
        return;
    const char *config = configure("");
    /* The shell starts what outlives it, and becomes the controller, whose child that is from then on. */
    struct process *outer = process_start(&(struct start){
            .argv = (const char *const[]){"/usr/bin/unshare", "-pf", "--kill-child", "--mount-proc", "/bin/sh", "-c",
                    format("(sleep 0.3 & echo $! >%s) & exec %s run --config %s --kubeconfig %s", in_folder("orphan"),
                            sexton_binary(), config, sim_kubeconfig()),
                    NULL}});
    wait_until(has_logged(outer, "in sync") && file_exists(in_folder("orphan")));
    const char *children_path = format("/proc/%d/task/%d/children", process_id(outer), process_id(outer));
    int inner = atoi(read_file(children_path));
    expect(inner > 0, "%s", read_file(children_path));
    wait_until(!*read_file(format("/proc/%d/task/%d/children", inner, inner)));
    kill(inner, SIGTERM);
    expect_number(process_wait(outer), 0);
}
END_TEST

START_TEST(kill_9_loses_nothing_and_repeats_nothing) {
    sim_start((const char *const[]){"--jobs", "400", "--job-bytes", "700", "--failed-percent", "0", NULL});
    configure("[sexton]\ndelete-qps = 0\nmax-in-flight = 8\nleader-elect = false\n");
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
    configure("[sexton]\nleader-elect = false\n");
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

Suite *suite_process(void) {
    const TTest *const tests[] = {
            sigterm_finishes_what_is_in_flight_and_exits_0,
            sigint_finishes_what_is_in_flight_and_exits_0,
            sigterm_exits_0_within_10_s_when_the_server_is_silent,
            sigterm_before_the_api_server_ever_answered_exits_0,
            sighup_reloads_the_policy_and_decides_again,
            a_bad_configuration_on_sighup_is_refused_and_the_old_one_stays,
            sighup_says_what_waits_for_a_restart,
            the_log_alone_tells_the_story_of_a_job,
            as_process_1_it_ends_by_sigterm_and_leaves_no_zombies,
            kill_9_loses_nothing_and_repeats_nothing,
            a_row_that_kill_9_left_in_deleting_is_settled,
            the_api_server_may_be_restarted_in_the_middle,
            NULL,
    };
    return suite_of("process", tests);
}
