/* An API server that is stopped, killed and started again: with its state, on the same port. */
#include "suites.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *journal(void) {
    return in_folder("journal");
}

static void server_start(int port) {
    sim_start_at(port, (const char *const[]){"--journal", journal(), "--bookmark-ms", "200", NULL});
}

/* When the Job went, by the API server's own books: its only deletion. */
static int64_t gone_ms(const struct job *job) {
    const char *text = read_file(journal()), *uid = format("\"uid\":\"%s\"", job->uid);
    int64_t at_ms = 0;
    int times = 0;
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        const char *line = format("%.*s", (int)(end - text), text);
        if (strstr(line, " DELETED ") && strstr(line, " jobs ") && strstr(line, uid)) {
            at_ms = strtoll(line, NULL, 10);
            times++;
        }
    }
    expect(times == 1, "%s was deleted %d times", job->name, times);
    return at_ms;
}

static void expect_gone_in_due_form(const struct job *job, int64_t ttl_ms) {
    int64_t at_ms = gone_ms(job), recorded_ms = row_number(job, "recorded_at"),
            asked_ms = row_number(job, "delete_requested_at");
    expect(recorded_ms > 0 && recorded_ms <= asked_ms && asked_ms <= at_ms,
            "%s: recorded %" PRId64 ", intent %" PRId64 ", gone %" PRId64, job->name, recorded_ms, asked_ms, at_ms);
    expect(at_ms >= job->ended_ms + ttl_ms, "%s went %" PRId64 " ms early", job->name, job->ended_ms + ttl_ms - at_ms);
}

#define MANY 150

START_TEST(an_api_server_that_is_killed_again_and_again_costs_nothing_and_hastens_nothing) {
    server_start(0);
    configure("[sexton]\ndelete-qps = 0\nmax-in-flight = 4\n[policy]\nttl-after-failure = 4s\n");
    struct job jobs[MANY];
    for (int i = 0; i < MANY; i++)
        jobs[i] = put_job(.name = format("job-%03d", i), .ended_s = i % 3 ? 60 : 0, .failed = i % 3 == 0);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'delayMs': 20}}]");
    struct process *controller = controller_start();
    int port = sim_port();
    for (int least = 20; least <= 70; least += 50) {
        wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") >= least);
        sim_signal(SIGKILL);
        wait_until(count_of(process_err(controller), "watch failed") > 0);
        server_start(port);
        if (least < 70)
            sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'delayMs': 20}}]");
    }
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == MANY);
    expect_number(sim_objects("jobs"), 0);
    expect_number(sql_number("SELECT count(*) FROM runs"), MANY);
    expect_number(sql_number("SELECT count(*) FROM runs WHERE delete_cause = 'external'"), 0);
    for (int i = 0; i < MANY; i++)
        expect_gone_in_due_form(&jobs[i], i % 3 ? 0 : 4000);
    controller_stop(controller);
}
END_TEST

START_TEST(watches_resume_without_a_list_when_the_api_server_comes_back_as_it_was) {
    server_start(0);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job = put_job(.name = "waiting", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '3s'");
    wait_until(row_is(&job, "due", ""));
    int port = sim_port();
    sim_stop();
    wait_until(has_logged(controller, "watch failed"));
    server_start(port);
    /* Events of the time when nobody watched. */
    struct job meanwhile = put_job(.name = "meanwhile", .ended_s = 60);
    expect_recorded_and_deleted(&meanwhile, 0);
    expect_recorded_and_deleted(&job, 3000);
    expect_number(sim_count("jobs", "list"), 0);
    expect_number(sim_count("namespaces", "list"), 0);
    expect(sim_count("jobs", "watch") <= 2, "%d watches", (int)sim_count("jobs", "watch"));
    controller_stop(controller);
}
END_TEST

START_TEST(an_api_server_that_is_frozen_and_thawed_sees_nothing_early_and_nothing_twice) {
    server_start(0);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job =
            put_job(.name = "due-in-the-frost", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    struct job later =
            put_job(.name = "due-later", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '4s'");
    wait_until(row_is(&job, "due", "") && row_is(&later, "due", ""));
    sim_signal(SIGSTOP);
    wait_until(row_is(&job, "deleting", ""));
    /* Nobody answers; it waits. */
    wait_until(wall_ms() > job.ended_ms + 3000);
    expect_text(row_text(&job, "delete_state"), "deleting");
    expect_text(row_text(&later, "delete_state"), "due");
    sim_signal(SIGCONT);
    expect_recorded_and_deleted(&job, 2000);
    expect_recorded_and_deleted(&later, 4000);
    expect_number(sim_count("jobs", "list"), 1);
    expect_number(sim_count("jobs", "watch"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(an_api_server_that_goes_between_two_pages_is_listed_again_from_the_start) {
    server_start(0);
    for (int i = 0; i < 520; i++)
        put_job(.name = format("job-%03d", i), .failed = true);
    struct job due = put_job(.ns = "aaa", .name = "due", .ended_s = 60);
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'skip': 1, 'times': 1, 'action': {'delayMs': 5000}}]");
    struct process *controller = controller_start();
    wait_until(sim_fault_hits(0) == 1);
    int port = sim_port();
    sim_signal(SIGKILL);
    wait_until(has_logged(controller, "list failed"));
    wait_until(row_is(&due, "due", ""));
    server_start(port);
    expect_recorded_and_deleted(&due, 0);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'due'") == 520);
    expect_number(sim_count("jobs", "list"), 2);
    controller_stop(controller);
}
END_TEST

Suite *suite_restarts(void) {
    const TTest *const tests[] = {
            an_api_server_that_is_killed_again_and_again_costs_nothing_and_hastens_nothing,
            watches_resume_without_a_list_when_the_api_server_comes_back_as_it_was,
            an_api_server_that_is_frozen_and_thawed_sees_nothing_early_and_nothing_twice,
            an_api_server_that_goes_between_two_pages_is_listed_again_from_the_start,
            NULL,
    };
    return suite_of("restarts", tests);
}
