/* /metrics tells what is on record, in form. */
#include "suites.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"

static struct process *controller;
static int port;
static int64_t began_ms; /* no earlier process wrote anything after this */

static void begin(void) {
    began_ms = wall_ms();
    controller = controller_start();
    wait_until_synced(controller);
    port = served_port(controller);
}

static const char *metrics(void) {
    struct asked asked = ask_for(port, "/metrics");
    expect_number(asked.code, 200);
    expect_contains(asked.all, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    return asked.body;
}

/* -1: it is not told. */
static int64_t value_of(const char *text, const char *sample) {
    const char *at = strstr(text, format("\n%s ", sample));
    return at ? strtoll(at + 1 + strlen(sample), NULL, 10) : -1;
}

#define expect_sample(sample, value) expect_number(value_of(metrics(), sample), value)
#define wait_for_sample(sample, value) wait_until(value_of(metrics(), sample) == (value))

/* Those of the family are these, line by line. */
static bool family_is(const char *text, const char *family, const char *lines, bool tells) {
    int n = 0;
    for (const char *line = lines, *end; *line; line = end + 1, n++) {
        end = strchr(line, '\n');
        if (strstr(text, format("\n%.*s\n", (int)(end - line), line)))
            continue;
        if (tells)
            test_fail("on record: %.*s\ntold:\n%s", (int)(end - line), line, text);
        return false;
    }
    if (tells)
        expect(count_of(text, format("\n%s{", family)) == n, "more is told than is on record:\n%s\n%s", lines, text);
    return count_of(text, format("\n%s{", family)) == n;
}

static bool agrees(bool tells) {
    /* What becomes durable is told a moment later: look twice. */
    const char *deleted =
            sql_text("SELECT group_concat(line, '') FROM (SELECT 'sexton_jobs_deleted_total{namespace=\"' "
                     "|| namespace || '\",cause=\"' || delete_cause || '\"} ' || count(*) || char(10) "
                     "AS line FROM runs WHERE delete_state = 'deleted' AND deleted_at >= %lld "
                     "GROUP BY namespace, delete_cause)",
                    (long long)began_ms);
    const char *recorded = sql_text("SELECT group_concat(line, '') FROM (SELECT 'sexton_runs_recorded_total{namespace="
                                    "\"' || namespace || '\",outcome=\"' || coalesce(outcome, '') || '\",reason=\"' || "
                                    "coalesce(reason, '') || '\"} ' || count(*) || char(10) AS line FROM runs "
                                    "WHERE recorded_at >= %lld GROUP BY namespace, outcome, reason)",
            (long long)began_ms);
    const char *text = metrics();
    return family_is(text, "sexton_jobs_deleted_total", deleted, tells) &&
           family_is(text, "sexton_runs_recorded_total", recorded, tells);
}

/* With nothing left to do. */
static void expect_what_is_on_record(void) {
    for (int looks = 0; looks < 200 && !agrees(false); looks++)
        let_others_run(looks);
    agrees(true);
}

START_TEST(what_is_told_is_what_is_on_record_after_successes_failures_others_and_a_kill_9) {
    sim_start(NULL);
    configure(LISTEN WITHOUT_LEASE);
    sim_faults("[{'match': {'verb': 'delete', 'name': 'lost'}, 'times': 1, 'action': {'applyThenDrop': true}}]");
    struct job running = put_job(.name = "running", .running = true);
    struct job others_running = put_job(.name = "others-running", .running = true);
    struct job others_failed = put_job(.ns = "ml", .name = "others-failed", .failed = true, .ended_s = 60);
    put_job(.ns = "ml", .name = "waits", .failed = true, .ended_s = 60);
    put_job(.name = "held", .ended_s = 60, .annotations = "'sexton.dev/hold': 'true'");
    put_job(.name = "never", .ended_s = 60, .annotations = "'sexton.dev/ttl-after-success': 'never'");
    put_job(.name = "invalid", .ended_s = 60, .annotations = "'sexton.dev/hold': 'perhaps'");
    put_job(.ns = "ml", .name = "ended", .ended_s = 60);
    put_job(.name = "lost", .ended_s = 60);
    begin();
    for (int i = 0; i < 5; i++)
        put_job(.name = format("later-%d", i), .ended_s = 10);
    wait_until(row_is(&others_failed, "due", ""));
    delete_job(&others_running);
    delete_job(&others_failed);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 9);
    expect_what_is_on_record();
    const char *text = metrics();
    expect_number(value_of(text, "sexton_jobs_deleted_total{namespace=\"shop\",cause=\"ttl\"}"), 5);
    expect_number(value_of(text, "sexton_jobs_deleted_total{namespace=\"shop\",cause=\"unknown\"}"), 1);
    expect_number(value_of(text, "sexton_jobs_deleted_total{namespace=\"shop\",cause=\"external\"}"), 1);
    expect_number(value_of(text, "sexton_jobs_deleted_total{namespace=\"ml\",cause=\"external\"}"), 1);
    expect_number(value_of(text, "sexton_job_finish_to_gone_seconds_count"), 6);
    expect_number(value_of(text, "sexton_job_due_to_deleted_seconds_count"), 6);
    expect_number(value_of(text, "sexton_jobs{state=\"running\"}"), 1);
    expect_number(value_of(text, "sexton_jobs{state=\"waiting\"}"), 1);
    expect_number(value_of(text, "sexton_jobs{state=\"due\"}"), 0);
    expect_number(value_of(text, "sexton_jobs{state=\"held\"}"), 1);
    expect_number(value_of(text, "sexton_jobs{state=\"kept\"}"), 1);
    expect_number(value_of(text, "sexton_jobs{state=\"invalid\"}"), 1);
    expect_number(value_of(text, "sexton_deletion_failures_total{code=\"none\"}"), 1);

    /* Killed while a DELETE is on its way: the next process counts what it puts on record, and that alone. */
    sim_faults("[{'match': {'verb': 'delete', 'name': 'in-flight'}, 'action': {'delayMs': 500}}]");
    struct job in_flight = put_job(.name = "in-flight", .ended_s = 60);
    wait_until(row_is(&in_flight, "deleting", ""));
    process_signal(controller, SIGKILL);
    expect_number(process_wait(controller), 128 + SIGKILL);
    wait_until(!job_exists(&in_flight));
    delete_job(&running);
    begin();
    wait_until(row_is(&in_flight, "deleted", "unknown"));
    struct job after = put_job(.name = "after", .ended_s = 60);
    wait_until(row_is(&after, "deleted", "ttl"));
    expect_what_is_on_record();
    text = metrics();
    expect_number(value_of(text, "sexton_jobs_deleted_total{namespace=\"shop\",cause=\"ttl\"}"), 1);
    expect_number(value_of(text, "sexton_jobs_deleted_total{namespace=\"shop\",cause=\"unknown\"}"), 1);
    expect_number(value_of(text, "sexton_jobs_deleted_total{namespace=\"ml\",cause=\"external\"}"), -1);
    controller_stop(controller);
}
END_TEST

START_TEST(it_still_is_when_answers_are_lost_the_register_fails_and_the_process_is_killed) {
    sim_start((const char *const[]){
            "--jobs", "300", "--job-bytes", "700", "--failed-percent", "30", "--namespaces", "7", NULL});
    configure(LISTEN WITHOUT_LEASE "delete-qps = 0\n[policy]\nttl-after-failure = 1h\n");
    sim_faults("[{'match': {'verb': 'delete'}, 'skip': 20, 'times': 6, 'action': {'applyThenDrop': true}},"
               " {'match': {'verb': 'delete'}, 'skip': 60, 'times': 6, 'action': {'drop': true}},"
               " {'match': {'verb': 'delete'}, 'skip': 90, 'times': 6, 'action': {'status': 500}},"
               " {'match': {'verb': 'delete', 'name': '*7'}, 'action': {'delayMs': 30}}]");
    begin();
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") >= 40);
    sql_lock();
    wait_until(has_logged(controller, "the register cannot be written"));
    sql_unlock();
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") >= 100);
    process_signal(controller, SIGKILL);
    expect_number(process_wait(controller), 128 + SIGKILL);
    begin();
    wait_until(sim_objects("jobs") == 0);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 300);
    expect_what_is_on_record();
    controller_stop(controller);
}
END_TEST

START_TEST(past_a_thousand_sets_of_labels_the_rest_is_one_namespace_and_sums_stay_right) {
    sim_start((const char *const[]){
            "--jobs", "1200", "--job-bytes", "700", "--failed-percent", "0", "--namespaces", "1200", NULL});
    configure(LISTEN WITHOUT_LEASE "delete-qps = 0\nmax-in-flight = 100\n");
    begin();
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 1200);
    wait_for_sample("sexton_jobs_deleted_total{namespace=\"_other\",cause=\"ttl\"}", 200);
    const char *text = metrics();
    expect_number(
            value_of(text, "sexton_runs_recorded_total{namespace=\"_other\",outcome=\"Succeeded\",reason=\"\"}"), 200);
    expect_number(count_of(text, "\nsexton_jobs_deleted_total{"), 1001);
    expect_number(count_of(text, "\nsexton_runs_recorded_total{"), 1001);
    expect_number(value_of(text, "sexton_metrics_overflow_total"), 400);
    controller_stop(controller);
}
END_TEST

START_TEST(openmetrics_is_for_who_asks_for_it) {
    sim_start(NULL);
    configure(LISTEN);
    begin();
    struct asked asked = ask(port, "GET /metrics HTTP/1.1\r\nHost: sexton\r\nAccept: application/openmetrics-text;"
                                   "version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n\r\n");
    expect_number(asked.code, 200);
    expect_contains(asked.all, "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n");
    expect_contains(asked.body, "\n# TYPE sexton_store_errors counter\nsexton_store_errors_total 0\n");
    const char *end = asked.body + strlen(asked.body) - strlen("\n# EOF\n");
    expect_text(end, "\n# EOF\n");
    metrics();
    controller_stop(controller);
}
END_TEST

START_TEST(what_goes_wrong_is_counted_by_what_was_answered) {
    sim_start(NULL);
    configure(LISTEN);
    sim_faults("[{'match': {'verb': 'delete', 'namespace': 'closed'}, 'action': {'deny': true}},"
               " {'match': {'verb': 'delete', 'name': 'busy'}, 'times': 1, 'action': {'status': 429, 'retryAfter': 1}},"
               " {'match': {'verb': 'list', 'resource': 'cronjobs'}, 'times': 1, 'action': {'status': 500}}]");
    put_job(.ns = "closed", .name = "one", .ended_s = 60);
    struct job busy = put_job(.name = "busy", .ended_s = 60);
    begin();
    wait_for_sample("sexton_deletions_paused", 1);
    wait_until(row_is(&busy, "deleted", "ttl"));
    wait_for_sample("sexton_jobs_deleted_total{namespace=\"shop\",cause=\"ttl\"}", 1);
    const char *text = metrics();
    expect_number(value_of(text, "sexton_deletion_failures_total{code=\"403\"}"), 1);
    expect_number(value_of(text, "sexton_deletion_failures_total{code=\"429\"}"), 1);
    expect_number(value_of(text, "sexton_api_requests_total{code=\"403\",verb=\"delete\"}"), 1);
    expect_number(value_of(text, "sexton_api_requests_total{code=\"429\",verb=\"delete\"}"), 1);
    expect_number(value_of(text, "sexton_api_requests_total{code=\"200\",verb=\"delete\"}"), 1);
    expect_number(value_of(text, "sexton_api_requests_total{code=\"200\",verb=\"watch\"}"), 3);
    expect_number(value_of(text, "sexton_api_requests_total{code=\"500\",verb=\"list\"}"), 1);
    expect_number(value_of(text, "sexton_api_request_duration_seconds_count{verb=\"delete\"}"), 3);
    expect_number(value_of(text, "sexton_watch_failures_total{resource=\"cronjobs\"}"), 1);
    expect_number(value_of(text, "sexton_watch_failures_total{resource=\"jobs\"}"), 0);
    expect_number(value_of(text, "sexton_deletions_paused"), 0);
    expect_number(value_of(text, "sexton_jobs{state=\"due\"}"), 1);
    expect_number(value_of(text, "sexton_watch_restarts_total{resource=\"jobs\"}"), 0);
    /* A resourceVersion that is too old: listed again, watched again. */
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'live': true, 'action': {'watchGone': "
               "true}}]");
    wait_for_sample("sexton_watch_restarts_total{resource=\"jobs\"}", 1);
    expect_sample("sexton_watch_relists_total{resource=\"jobs\"}", 1);
    expect_sample("sexton_watch_relists_total{resource=\"cronjobs\"}", 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_register_that_cannot_be_written_is_told_and_costs_no_scrape) {
    sim_start(NULL);
    configure(LISTEN);
    begin();
    struct job first = put_job(.name = "first", .ended_s = 60);
    wait_until(row_is(&first, "deleted", "ttl"));
    wait_for_sample("sexton_jobs_deleted_total{namespace=\"shop\",cause=\"ttl\"}", 1);
    const char *text = metrics();
    expect_number(value_of(text, "sexton_store_writable"), 1);
    expect_number(value_of(text, "sexton_ready"), 1);
    expect(value_of(text, "sexton_store_size_bytes{file=\"db\"}") > 0, "%s", text);
    expect(value_of(text, "sexton_store_size_bytes{file=\"wal\"}") > 0, "%s", text);
    expect(value_of(text, "sexton_store_requests_total") >= 2, "%s", text);
    sql_lock();
    put_job(.name = "second", .ended_s = 60);
    wait_for_sample("sexton_store_writable", 0);
    text = metrics();
    expect(value_of(text, "sexton_store_errors_total") > 0, "%s", text);
    expect(value_of(text, "sexton_store_queue_length") > 0, "%s", text);
    expect_number(value_of(text, "sexton_ready"), 0);
    sql_unlock();
    wait_for_sample("sexton_jobs_deleted_total{namespace=\"shop\",cause=\"ttl\"}", 2);
    wait_for_sample("sexton_store_queue_length", 0);
    expect_sample("sexton_store_writable", 1);
    expect_what_is_on_record();
    controller_stop(controller);
}
END_TEST

START_TEST(versions_of_the_configuration_are_counted_as_taken_or_refused) {
    sim_start(NULL);
    configure(LISTEN "[policy]\nttl-after-failure = 30m\n");
    begin();
    const char *text = metrics();
    expect_number(value_of(text, "sexton_config_reloads_total{result=\"success\"}"), 0);
    expect_number(value_of(text, "sexton_config_last_reload_successful"), 1);
    expect(value_of(text, "sexton_config_last_reload_success_timestamp_seconds") >= began_ms / 1000, "%s", text);
    configure(LISTEN "[policy]\nttl-after-failure = 30\n");
    process_signal(controller, SIGHUP);
    /* Seen by itself, and asked for: one or two. */
    wait_until(value_of(metrics(), "sexton_config_reloads_total{result=\"failure\"}") >= 1);
    expect_sample("sexton_config_last_reload_successful", 0);
    configure(LISTEN "[policy]\nttl-after-failure = 40m\n");
    process_signal(controller, SIGHUP);
    wait_until(value_of(metrics(), "sexton_config_reloads_total{result=\"success\"}") >= 1);
    expect_sample("sexton_config_last_reload_successful", 1);
    controller_stop(controller);
}
END_TEST

Suite *suite_metrics(void) {
    const TTest *const tests[] = {
            what_is_told_is_what_is_on_record_after_successes_failures_others_and_a_kill_9,
            it_still_is_when_answers_are_lost_the_register_fails_and_the_process_is_killed,
            past_a_thousand_sets_of_labels_the_rest_is_one_namespace_and_sums_stay_right,
            openmetrics_is_for_who_asks_for_it,
            what_goes_wrong_is_counted_by_what_was_answered,
            a_register_that_cannot_be_written_is_told_and_costs_no_scrape,
            versions_of_the_configuration_are_counted_as_taken_or_refused,
            NULL,
    };
    return suite_of("metrics", tests);
}
