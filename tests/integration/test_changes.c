/* Jobs, Namespaces and people that change their minds. */
#include "suites.h"

#define STALL_JOB_WATCH "[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'live': true, 'action': {'stallAfter': 0}}]"

/* The controller's view of Jobs stands still from here on, though its watch is open. */
static void stall_watch(void) {
    sim_faults(STALL_JOB_WATCH);
    wait_until(sim_fault_hits(0) > 0);
}

START_TEST(a_hold_set_between_decision_and_delete_keeps_the_job) {
    sim_start(NULL);
    configure("[policy]\nttl-after-failure = 2s\n");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job = put_job(.name = "wanted", .failed = true);
    wait_until(row_is(&job, "due", ""));
    stall_watch();
    patch_job(&job, "{'metadata': {'annotations': {'sexton.dev/hold': 'true'}}}");
    wait_until(deletions_of(&job).count == 1);
    wait_until(row_is(&job, "kept", ""));
    struct deletion deletion = deletions_of(&job);
    expect_number(deletion.count, 1);
    expect_number(deletion.last_code, 409);
    expect(job_exists(&job), "it is gone");
    expect_text(row_text(&job, "policy"), "hold=true");
    controller_stop(controller);
}
END_TEST

START_TEST(an_annotation_changed_on_the_fly_takes_effect) {
    sim_start(NULL);
    configure("[policy]\nttl-after-failure = 2s\n");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job longer = put_job(.name = "longer", .failed = true),
               shorter = put_job(.name = "shorter", .failed = true,
                       .annotations = "'sexton.dev/ttl-after-failure': 'never'");
    patch_job(&longer, "{'metadata': {'annotations': {'sexton.dev/ttl-after-failure': '1h'}}}");
    wait_until(row_is(&shorter, "kept", ""));
    patch_job(&shorter, "{'metadata': {'annotations': {'sexton.dev/ttl-after-failure': '3s'}}}");
    expect_recorded_and_deleted(&shorter, 3000);
    expect_kept(&longer, "due");
    expect_text(row_text(&longer, "policy"), "ttl-after-failure=1h");
    controller_stop(controller);
}
END_TEST

START_TEST(an_annotation_changed_unseen_takes_effect_after_the_conflict) {
    sim_start(NULL);
    configure("[policy]\nttl-after-failure = 2s\n");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job = put_job(.name = "later", .failed = true);
    wait_until(row_is(&job, "due", ""));
    stall_watch();
    patch_job(&job, "{'metadata': {'annotations': {'sexton.dev/ttl-after-failure': '5s'}}}");
    wait_until(!job_exists(&job));
    wait_until(row_is(&job, "deleted", "ttl"));
    struct deletion deletion = deletions_of(&job);
    expect(deletion.last_ms >= job.ended_ms + 5000, "it went early");
    expect_number(deletion.done, 1);
    expect_number(deletion.count, 2);
    controller_stop(controller);
}
END_TEST

START_TEST(a_hold_taken_away_lets_the_job_go) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job = put_job(.name = "released", .ended_s = 60, .annotations = "'sexton.dev/hold': 'true'");
    wait_until(row_is(&job, "kept", ""));
    patch_job(&job, "{'metadata': {'annotations': {'sexton.dev/hold': null}}}");
    expect_recorded_and_deleted(&job, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_job_created_again_under_the_same_name_is_not_touched) {
    sim_start(NULL);
    configure("[policy]\nttl-after-failure = 2s\n");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job old = put_job(.name = "again", .failed = true);
    wait_until(row_is(&old, "due", ""));
    stall_watch();
    delete_job(&old);
    struct job new = put_job(.name = "again", .running = true);
    wait_until(deletions_of(&old).count > 0);
    wait_until(row_is(&old, "deleted", "external"));
    expect(job_exists(&new), "the new one is gone");
    expect_number(deletions_of(&old).done, 0);
    expect_text(deletions_of(&old).uid, old.uid);
    controller_stop(controller);
}
END_TEST

START_TEST(a_job_replaced_in_plain_sight_is_two_runs) {
    sim_start(NULL);
    configure("[policy]\nttl-after-failure = 1s\n");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job old = put_job(.name = "again", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    wait_until(row_is(&old, "due", ""));
    delete_job(&old);
    struct job new = put_job(.name = "again", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '1h'");
    struct job canary =
            put_job(.name = "canary", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '3s'");
    expect_recorded_and_deleted(&canary, 3000);
    wait_until(row_is(&old, "deleted", "external"));
    expect_kept(&new, "due");
    controller_stop(controller);
}
END_TEST

START_TEST(a_job_deleted_by_someone_else_is_on_record) {
    sim_start(NULL);
    struct job kept = put_job(.name = "kept", .failed = true), before = put_job(.name = "before", .failed = true);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job running = put_job(.name = "running", .running = true);
    wait_until(row_is(&kept, "due", ""));
    delete_job(&kept);
    wait_until(row_is(&kept, "deleted", "external"));
    expect_text(row_text(&kept, "outcome"), "Failed");
    expect(row_number(&kept, "deleted_at") > 0, "it is not said when");
    expect_number(row_number(&kept, "delete_requested_at"), -1);
    /* While it runs: what was last seen of it, without an outcome. */
    delete_job(&running);
    wait_until(row_is(&running, "deleted", "external"));
    expect_number(row_number(&running, "outcome IS NULL AND finished_at IS NULL"), 1);
    expect_text(row_text(&running, "job_name"), "running");
    expect_contains(row_text(&running, "images"), "busybox:1");
    /* While nobody looked. */
    wait_until(row_is(&before, "due", ""));
    controller_stop(controller);
    delete_job(&before);
    controller = controller_start();
    wait_until(row_is(&before, "deleted", "external"));
    expect_text(row_text(&before, "outcome"), "Failed");
    expect_number(sim_count_code("409"), 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_namespaces_annotation_takes_effect_when_it_changes) {
    sim_start(NULL);
    put_namespace("team", "'sexton.dev/ttl-after-failure': 'never'");
    struct job job = put_job(.ns = "team", .name = "one", .failed = true, .ended_s = 3600);
    struct job held = put_job(.ns = "team", .name = "two", .failed = true, .ended_s = 3600,
            .annotations = "'sexton.dev/hold': 'true'");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    wait_until(row_is(&job, "kept", ""));
    put_namespace("team", "'sexton.dev/ttl-after-failure': '30m'");
    expect_recorded_and_deleted(&job, 1800000);
    expect_text(row_text(&job, "policy_source"), "namespace annotation");
    put_namespace("team", "'sexton.dev/hold': 'tru'");
    struct job unclear = put_job(.ns = "team", .name = "three", .ended_s = 60);
    wait_until(row_is(&unclear, "kept", ""));
    wait_until(has_logged(controller, "a Namespace's annotation is not understood"));
    put_namespace("team", "");
    expect_recorded_and_deleted(&unclear, 0);
    expect_kept(&held, "kept");
    controller_stop(controller);
}
END_TEST

START_TEST(a_job_that_leaves_the_selection_is_not_recorded_as_deleted) {
    sim_start(NULL);
    struct job stays = put_job(.name = "relabelled", .failed = true, .labels = "'app': 'web'");
    struct job other = put_job(.name = "other", .ended_s = 60, .labels = "'app': 'db'");
    struct job gone = put_job(.name = "really-gone", .failed = true, .labels = "'app': 'web'");
    struct process *controller = controller_start("-l", "app in (web)");
    wait_until_synced(controller);
    wait_until(row_is(&stays, "due", "") && row_is(&gone, "due", ""));
    patch_job(&stays, "{'metadata': {'labels': {'app': 'db'}}}");
    wait_until(has_logged(controller, "no longer selected"));
    delete_job(&gone);
    wait_until(row_is(&gone, "deleted", "external"));
    wait_until(row_is(&stays, "kept", ""));
    expect_kept(&stays, "kept");
    expect(job_exists(&other), "a Job that is not selected is gone");
    expect_number(row_number(&other, "count(*)"), 0);
    /* And the same while nobody looked. */
    patch_job(&stays, "{'metadata': {'labels': {'app': 'web'}}}");
    controller_stop(controller);
    patch_job(&stays, "{'metadata': {'labels': {'app': 'db'}}}");
    controller = controller_start("-l", "app in (web)");
    wait_until(has_logged(controller, "no longer selected"));
    wait_until(row_is(&stays, "kept", ""));
    expect_kept(&stays, "kept");
    controller_stop(controller);
}
END_TEST

START_TEST(a_change_while_the_intent_is_written_takes_the_intent_back) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job = put_job(.name = "changing", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    wait_until(row_is(&job, "due", ""));
    /* The register takes its time, in which the Job is put on hold, in words that nobody understands. */
    sql_lock();
    wait_until(wall_ms() > job.ended_ms + 3100);
    patch_job(&job, "{'metadata': {'annotations': {'sexton.dev/hold': 'please'}}}");
    wait_until(has_logged(controller, "hold=please"));
    sql_unlock();
    wait_until(row_is(&job, "kept", ""));
    struct job canary = put_job(.name = "canary", .ended_s = 60);
    expect_recorded_and_deleted(&canary, 0);
    expect_kept(&job, "kept");
    controller_stop(controller);
}
END_TEST

START_TEST(the_jobs_of_a_namespace_that_is_deleted_are_on_record) {
    sim_start(NULL);
    struct job job = put_job(.ns = "team", .name = "one", .failed = true);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    wait_until(row_is(&job, "due", ""));
    expect_number(sim_request("DELETE", "/api/v1/namespaces/team", NULL, NULL) / 100, 2);
    wait_until(row_is(&job, "deleted", "external"));
    expect_text(row_text(&job, "outcome"), "Failed");
    struct job canary = put_job(.name = "canary", .ended_s = 60);
    expect_recorded_and_deleted(&canary, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_burst_of_jobs_is_deleted_one_request_each) {
    sim_start(NULL);
    configure("[sexton]\ndelete-qps = 0\nlog-level = error\n");
    struct process *controller = controller_start("--log-level", "info");
    wait_until_synced(controller);
    enum { BURST = 300 };
    const char *items = "";
    for (int i = 0; i < BURST; i++)
        items = format("%s%s%s", items, i ? "," : "",
                json_format("{'metadata': {'namespace': 'ns-%d', 'name': 'job-%d', 'uid': "
                            "'5ec70000-0000-4000-8000-0b000000%04d'}, "
                            "'status': {'conditions': [{'type': 'Complete', 'status': 'True', 'lastTransitionTime': "
                            "'2026-01-01T00:00:00Z'}]}}",
                        i % 10, i, i));
    sim_load(format("{\"kind\": \"JobList\", \"items\": [%s]}", items));
    wait_until(sim_objects("jobs") == 0);
    wait_until(
            sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted' AND delete_cause = 'ttl'") == BURST);
    expect_number(sim_count("jobs", "delete"), BURST);
    expect_number(sim_count("jobs", "get"), 0);
    expect_number(sim_count("jobs", "list"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(two_controllers_on_one_cluster_do_no_harm) {
    sim_start((const char *const[]){"--jobs", "300", "--job-bytes", "600", "--failed-percent", "0", NULL});
    configure("[sexton]\ndelete-qps = 0\n");
    struct process *one = controller_start();
    struct process *two = controller_start("--store", format("sqlite:%s", in_folder("second.db")));
    wait_until(sim_objects("jobs") == 0);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 300);
    struct job job = put_job(.name = "after", .ended_s = 60);
    wait_until(!job_exists(&job));
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 301);
    wait_until_synced(one);
    wait_until_synced(two);
    controller_stop(one);
    controller_stop(two);
}
END_TEST

Suite *suite_changes(void) {
    const TTest *const tests[] = {
            a_hold_set_between_decision_and_delete_keeps_the_job,
            an_annotation_changed_on_the_fly_takes_effect,
            an_annotation_changed_unseen_takes_effect_after_the_conflict,
            a_hold_taken_away_lets_the_job_go,
            a_job_created_again_under_the_same_name_is_not_touched,
            a_job_replaced_in_plain_sight_is_two_runs,
            a_job_deleted_by_someone_else_is_on_record,
            a_namespaces_annotation_takes_effect_when_it_changes,
            a_job_that_leaves_the_selection_is_not_recorded_as_deleted,
            a_change_while_the_intent_is_written_takes_the_intent_back,
            the_jobs_of_a_namespace_that_is_deleted_are_on_record,
            a_burst_of_jobs_is_deleted_one_request_each,
            two_controllers_on_one_cluster_do_no_harm,
            NULL,
    };
    return suite_of("changes", tests);
}
