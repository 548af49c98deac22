/* What goes, when, and what stays. */
#include "suites.h"

#define HOUR 3600

START_TEST(every_finished_job_is_recorded_and_deleted_when_its_time_is_up) {
    sim_start(NULL);
    configure("[sexton]\nlog-level = debug\n[policy]\nttl-after-success = 0s\nttl-after-failure = 10m\n"
              "[namespace ml-*]\nttl-after-failure = 3h\n[namespace ml-keep*]\nttl-after-failure = never\n");
    put_namespace("quiet", "'sexton.dev/ttl-after-success': '2h', 'sexton.dev/ttl-after-failure': '30m'");
    put_namespace("held", "'sexton.dev/hold': 'true'");
    struct job goes[] = {
            put_job(.name = "succeeded", .ended_s = 1),
            put_job(.name = "failed", .failed = true, .ended_s = 601),
            put_job(.name = "own-annotation", .failed = true, .ended_s = 120,
                    .annotations = "'sexton.dev/ttl-after-failure': '1m30s'"),
            put_job(.name = "own-spec", .failed = true, .ended_s = 120, .spec = "'ttlSecondsAfterFinished': 60"),
            put_job(.name = "annotation-over-spec", .ended_s = 120, .spec = "'ttlSecondsAfterFinished': 90000",
                    .annotations = "'sexton.dev/ttl-after-success': '0'"),
            put_job(.ns = "quiet", .name = "by-namespace", .failed = true, .ended_s = HOUR),
            put_job(.ns = "quiet", .name = "spec-over-namespace", .ended_s = HOUR,
                    .spec = "'ttlSecondsAfterFinished': 0"),
            put_job(.ns = "ml-train", .name = "by-section", .failed = true, .ended_s = 3 * HOUR + 1),
            put_job(.ns = "held", .name = "let-go", .ended_s = 10, .annotations = "'sexton.dev/hold': 'false'"),
            put_job(.name = "hold-over", .ended_s = 10, .annotations = "'sexton.dev/hold': '2026-01-31T12:00:00Z'"),
    };
    const int64_t ttl_s[] = {0, 600, 90, 60, 0, 1800, 0, 3 * HOUR, 0, 0};
    struct job stays[] = {
            put_job(.name = "failed-lately", .failed = true, .ended_s = 60),
            put_job(.ns = "quiet", .name = "waits-by-namespace", .ended_s = HOUR),
            put_job(.ns = "ml-train", .name = "waits-by-section", .failed = true, .ended_s = HOUR),
            put_job(.name = "spec-waits", .ended_s = HOUR, .spec = "'ttlSecondsAfterFinished': 90000"),
            put_job(.name = "held-until", .ended_s = HOUR,
                    .annotations = "'sexton.dev/hold': '2099-01-31T12:00:00+02:00'"),
            put_job(.name = "in-the-future", .ended_s = -HOUR),
            put_job(.name = "held-for-ever", .ended_s = HOUR, .annotations = "'sexton.dev/hold': 'true'"),
            put_job(.name = "never", .ended_s = HOUR, .annotations = "'sexton.dev/ttl-after-success': 'never'"),
            put_job(.ns = "ml-keep-1", .name = "best-section", .failed = true, .ended_s = 100 * HOUR),
            put_job(.ns = "held", .name = "held-by-namespace", .ended_s = HOUR),
            put_job(.name = "rubbish", .ended_s = HOUR, .annotations = "'sexton.dev/ttl-after-success': 'soon'"),
            put_job(.name = "no-unit", .ended_s = HOUR, .annotations = "'sexton.dev/ttl-after-success': '30'"),
            put_job(.name = "misspelt", .ended_s = HOUR, .annotations = "'sexton.dev/ttl-after-sucess': 'never'"),
            put_job(.name = "empty-hold", .ended_s = HOUR, .annotations = "'sexton.dev/hold': ''"),
    };
    enum { WAITING = 6 };
    struct job running = put_job(.name = "running", .running = true);
    struct process *controller = controller_start();
    for (size_t i = 0; i < sizeof goes / sizeof goes[0]; i++)
        expect_recorded_and_deleted(&goes[i], ttl_s[i] * 1000);
    for (size_t i = 0; i < sizeof stays / sizeof stays[0]; i++) {
        wait_until(*row_text(&stays[i], "delete_state"));
        expect_kept(&stays[i], i < WAITING ? "due" : "kept");
    }
    expect(job_exists(&running), "a running Job was deleted");
    expect_number(row_number(&running, "count(*)"), 0);
    expect_text(row_text(&goes[0], "outcome"), "Succeeded");
    expect_text(row_text(&goes[1], "outcome"), "Failed");
    expect_text(row_text(&goes[1], "reason"), "BackoffLimitExceeded");
    expect_text(row_text(&goes[1], "message"), "Job has reached the specified backoff limit");
    expect_text(row_text(&goes[0], "policy_source"), "config:5");
    expect_text(row_text(&goes[2], "policy_source"), "annotation");
    expect_text(row_text(&goes[3], "policy_source"), "spec");
    expect_text(row_text(&goes[5], "policy_source"), "namespace annotation");
    expect_text(row_text(&goes[5], "policy"), "ttl-after-failure=30m");
    expect_text(row_text(&goes[7], "policy_source"), "config:8");
    expect_number(row_number(&goes[0], "duration_ms"), 5000);
    const char *log = process_err(controller);
    expect_contains(log, "job=shop/rubbish");
    expect_contains(log, "ttl-after-success=soon");
    expect_contains(log, "job=shop/misspelt");
    controller_stop(controller);
}
END_TEST

START_TEST(a_job_that_finishes_is_deleted_when_its_ttl_has_passed_and_never_early) {
    sim_start(NULL);
    configure("[policy]\nttl-after-success = 0s\nttl-after-failure = 2s\n");
    struct job running[4] = {put_job(.name = "s1", .running = true), put_job(.name = "s2", .running = true),
            put_job(.name = "f1", .running = true), put_job(.ns = "other", .name = "f2", .running = true)};
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job done[4] = {put_job(.name = "s1", .uid = running[0].uid), put_job(.name = "s2", .uid = running[1].uid),
            put_job(.name = "f1", .failed = true, .uid = running[2].uid),
            put_job(.ns = "other", .name = "f2", .failed = true, .uid = running[3].uid)};
    /* Recorded as soon as it is seen, long before it goes. */
    wait_until(row_is(&done[3], "due", ""));
    expect(job_exists(&done[3]), "it is gone already");
    for (int i = 0; i < 4; i++)
        expect_recorded_and_deleted(&done[i], i < 2 ? 0 : 2000);
    expect_number(sql_number("SELECT count(*) FROM runs"), 4);
    controller_stop(controller);
}
END_TEST

START_TEST(a_job_with_a_condition_that_is_not_final_is_not_finished) {
    sim_start(NULL);
    static const char job[] =
            "{'kind': 'Job', 'apiVersion': 'batch/v1', 'metadata': {'namespace': 'shop', 'name': '%s', 'uid': "
            "'5ec70000-0000-4000-8000-90000000000%d'}, 'spec': {}, 'status': {'succeeded': 1, 'failed': 3, "
            "'completionTime': '2026-01-01T00:00:00Z', 'conditions': [%s]}}";
#define CONDITION(type, status) \
    "{'type': '" type "', 'status': '" status "', 'lastTransitionTime': '2026-01-01T00:00:00Z'}"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    sim_load(json_format(job, "criteria-met", 1, CONDITION("SuccessCriteriaMet", "True")));
    sim_load(json_format(job, "target", 2, CONDITION("FailureTarget", "True")));
    sim_load(json_format(job, "not-complete", 3, CONDITION("Complete", "False")));
    sim_load(json_format(job, "suspended", 4, CONDITION("Suspended", "True")));
    sim_load(json_format(job, "both", 5, CONDITION("Complete", "True") "," CONDITION("Failed", "True")));
    sim_load(json_format(job, "twice", 6, CONDITION("Complete", "True") "," CONDITION("Complete", "True")));
    sim_load(json_format(job, "counts-only", 7, ""));
    sim_load(json_format(job, "when", 8, "{'type': 'Complete', 'status': 'True'}"));
    sim_load(json_format(job, "really", 9, CONDITION("SuccessCriteriaMet", "True") "," CONDITION("Complete", "True")));
#pragma GCC diagnostic pop
    struct result result = sexton_here("sweep");
    expect_number(result.code, 0);
    expect_number(sim_objects("jobs"), 8);
    struct job really = {.ns = "shop", .name = "really", .uid = "5ec70000-0000-4000-8000-900000000009"};
    expect(!job_exists(&really), "a Job with Complete behind SuccessCriteriaMet stays");
    expect_contains(result.err, "job=shop/twice");
    expect_contains(result.err, "job=shop/when");
}
END_TEST

START_TEST(a_job_that_is_being_deleted_already_is_not_deleted_again) {
    sim_start(NULL);
    struct job job = put_job(.name = "terminating", .ended_s = 60,
            .metadata = "'deletionTimestamp': '2026-01-01T00:00:00Z', 'finalizers': ['example.com/wait']");
    struct job canary = put_job(.name = "canary", .ended_s = 60);
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&canary, 0);
    expect_number(deletions_of(&job).count, 0);
    /* Its finalizer goes: its end was somebody else's doing. */
    patch_job(&job, "{'metadata': {'finalizers': null}}");
    wait_until(row_is(&job, "deleted", "external"));
    controller_stop(controller);
}
END_TEST

START_TEST(a_job_with_finalizers_is_asked_to_go_once_and_told_when_it_is_gone) {
    sim_start(NULL);
    struct job job = put_job(.name = "slow", .ended_s = 60, .metadata = "'finalizers': ['example.com/wait']");
    struct process *controller = controller_start();
    wait_until(deletions_of(&job).count == 1);
    put_namespace("shop", "'sexton.dev/ttl-after-failure': '1h'"); /* everything is decided again */
    struct job canary = put_job(.name = "canary", .ended_s = 60);
    wait_until(row_is(&canary, "deleted", "ttl"));
    expect_text(row_text(&job, "delete_state"), "deleting");
    expect(job_exists(&job), "it is gone");
    patch_job(&job, "{'metadata': {'finalizers': null}}");
    expect_recorded_and_deleted(&job, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_cronjobs_job_waits_until_its_cronjob_has_taken_note) {
    sim_start((const char *const[]){"--cronjob-settle-ms", "1500", NULL});
    configure("[sexton]\ncronjob-settle = 5m\n");
    static const char cronjob[] =
            "{'kind': 'CronJob', 'apiVersion': 'batch/v1', 'metadata': {'namespace': 'shop', 'name': "
            "'nightly', 'uid': '5ec70000-0000-4000-8000-0000000000c1'}, 'spec': {'schedule': "
            "'0 3 * * *'}, 'status': {'active': [{'kind': 'Job', 'name': 'nightly-1', 'uid': "
            "'5ec70000-0000-4000-8000-0000000000a1'}]}}";
    static const char owner[] =
            "'ownerReferences': [{'apiVersion': 'batch/v1', 'kind': 'CronJob', 'name': 'nightly', 'uid': "
            "'5ec70000-0000-4000-8000-0000000000c1', 'controller': true}]";
    sim_load(json_format("%s", cronjob));
    put_job(.name = "nightly-1", .uid = "5ec70000-0000-4000-8000-0000000000a1", .running = true, .metadata = owner);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    int64_t before_ms = wall_ms();
    struct job job = put_job(.name = "nightly-1", .uid = "5ec70000-0000-4000-8000-0000000000a1", .metadata = owner);
    expect_recorded_and_deleted(&job, 0);
    expect(deletions_of(&job).first_ms >= before_ms + 1400, "its CronJob had not taken note of it");
    expect_text(row_text(&job, "cronjob"), "nightly");
    controller_stop(controller);
}
END_TEST

START_TEST(a_run_that_is_dry_deletes_and_writes_nothing) {
    sim_start(NULL);
    struct job due = put_job(.name = "due", .ended_s = 60);
    struct process *controller = controller_start("--dry-run");
    wait_until(has_logged(controller, "would delete (dry run)"));
    wait_until_synced(controller);
    struct job later = put_job(.name = "later", .ended_s = 0);
    wait_until(has_logged(controller, "job=shop/later"));
    expect(job_exists(&due) && job_exists(&later), "a dry run deletes");
    expect_number(sim_count("jobs", "delete"), 0);
    expect(!file_exists(store_path()), "a dry run writes a register");
    controller_stop(controller);
}
END_TEST

START_TEST(another_annotation_prefix_makes_ours_a_text_like_others) {
    sim_start(NULL);
    configure("[sexton]\nannotation-prefix = jobs.example.com\n");
    struct job gone = put_job(.name = "a", .ended_s = 60, .annotations = "'sexton.dev/hold': 'true'");
    struct job kept = put_job(.name = "b", .ended_s = 60, .annotations = "'jobs.example.com/hold': 'true'");
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&gone, 0);
    wait_until(row_is(&kept, "kept", ""));
    expect_kept(&kept, "kept");
    controller_stop(controller);
}
END_TEST

Suite *suite_policy(void) {
    const TTest *const tests[] = {
            every_finished_job_is_recorded_and_deleted_when_its_time_is_up,
            a_job_that_finishes_is_deleted_when_its_ttl_has_passed_and_never_early,
            a_job_with_a_condition_that_is_not_final_is_not_finished,
            a_job_that_is_being_deleted_already_is_not_deleted_again,
            a_job_with_finalizers_is_asked_to_go_once_and_told_when_it_is_gone,
            a_cronjobs_job_waits_until_its_cronjob_has_taken_note,
            a_run_that_is_dry_deletes_and_writes_nothing,
            another_annotation_prefix_makes_ours_a_text_like_others,
            NULL,
    };
    return suite_of("policy", tests);
}
