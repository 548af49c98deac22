/* Jobs that others look after, and names that come back. */
#include "suites.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define JOBSET \
    "'ownerReferences': [{'apiVersion': 'jobset.x-k8s.io/v1alpha2', 'kind': 'JobSet', 'name': 'train', 'uid': 'o-1', " \
    "'controller': true}]"
#define BINDING "'ownerReferences': [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'name': 'c', 'uid': 'o-2'}]"

static json_t *plan_json;

static void read_plan(const struct result *result) {
    expect_number(result->code, 0);
    json_decref(plan_json);
    plan_json = json_loads(result->out, JSON_REJECT_DUPLICATES, NULL);
    expect(json_is_array(plan_json), "%s", result->out);
}

static void expect_planned(
        const char *name, const char *action, const char *policy, const char *source, const char *reason) {
    size_t index;
    json_t *row;
    json_array_foreach (plan_json, index, row) {
        if (strcmp(json_string_value(json_object_get(row, "name")), name) != 0)
            continue;
        expect_text(json_string_value(json_object_get(row, "action")), action);
        expect_text(json_string_value(json_object_get(row, "policy")), policy);
        expect_text(json_string_value(json_object_get(row, "source")), source);
        expect_contains(json_string_value(json_object_get(row, "reason")), reason);
        return;
    }
    test_fail("the plan has no %s", name);
}

struct guarded {
    struct job helm, argo, owned, loose, wanted, by_spec, stuck;
};

static struct guarded put_guarded(void) {
    return (struct guarded){
            .helm = put_job(.name = "helm", .ended_s = 600, .annotations = "'helm.sh/hook': 'post-install'"),
            .argo = put_job(.name = "argo", .ended_s = 600, .annotations = "'argocd.argoproj.io/hook': 'PreSync'"),
            .owned = put_job(.name = "owned", .ended_s = 600, .metadata = JOBSET),
            .loose = put_job(.name = "loose", .ended_s = 600, .metadata = BINDING),
            .wanted = put_job(.name = "wanted", .ended_s = 600, .metadata = JOBSET,
                    .annotations = "'helm.sh/hook': 'test', 'sexton.dev/ttl-after-success': '1m'"),
            .by_spec = put_job(.name = "by-spec", .ended_s = 600, .metadata = JOBSET,
                    .spec = "'ttlSecondsAfterFinished': 60"),
            .stuck = put_job(.name = "stuck", .ended_s = 600,
                    .metadata = format("'deletionTimestamp': '2026-01-31T12:00:00Z', 'finalizers': "
                                       "['foregroundDeletion', 'example.com/x']")),
    };
}

static void expect_guarded_planned(void) {
    expect_planned("helm", "keep", "helm.sh/hook=post-install", "annotation", "left to Helm, whose hook it is");
    expect_planned(
            "argo", "keep", "argocd.argoproj.io/hook=PreSync", "annotation", "left to Argo CD, whose hook it is");
    expect_planned("owned", "keep", "owner=JobSet.jobset.x-k8s.io", "owner reference",
            "left to JobSet/train, which may create it and run it again");
    expect_planned("loose", "delete", "ttl-after-success=0s", "default", "its time was up");
    expect_planned("wanted", "delete", "ttl-after-success=1m", "annotation", "its time was up");
    expect_planned("by-spec", "delete", "ttlSecondsAfterFinished=60", "spec", "its time was up");
    expect_planned("stuck", "keep", "deletionTimestamp=2026-01-31T12:00:00Z", "metadata",
            "waits for its finalizers: foregroundDeletion, example.com/x");
}

START_TEST(plan_shows_each_guard_online_and_offline_and_in_every_format) {
    sim_start(NULL);
    put_guarded();
    struct result result = sexton_here("plan", "-o", "json");
    read_plan(&result);
    expect_guarded_planned();
    for (const char *const *output = (const char *const[]){"table", "wide", "csv", NULL}; *output; output++) {
        result = sexton_here("plan", "-o", *output);
        expect_number(result.code, 0);
        expect_contains(result.out, "helm.sh/hook=post-install");
        expect_contains(result.out, "owner=JobSet.jobset.x-k8s.io");
        expect_contains(result.out, "owner reference");
        expect_contains(result.out, "left to Argo CD, whose hook it is");
        expect_contains(result.out, "terminating for ");
    }
    char *jobs = json_dumps(sim_get("/apis/batch/v1/jobs"), 0);
    const char *path = write_file("jobs.json", jobs);
    free(jobs);
    result = sexton("plan", "-f", path, "-o", "json");
    read_plan(&result);
    expect_guarded_planned();
}
END_TEST

START_TEST(jobs_that_others_look_after_are_recorded_and_left_to_them) {
    sim_start(NULL);
    struct guarded jobs = put_guarded();
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&jobs.loose, 0);
    expect_recorded_and_deleted(&jobs.wanted, 60000);
    expect_recorded_and_deleted(&jobs.by_spec, 60000);
    wait_until(row_is(&jobs.helm, "kept", "") && row_is(&jobs.argo, "kept", "") && row_is(&jobs.owned, "kept", ""));
    expect_kept(&jobs.helm, "kept");
    expect_kept(&jobs.argo, "kept");
    expect_kept(&jobs.owned, "kept");
    expect_text(row_text(&jobs.owned, "policy"), "owner=JobSet.jobset.x-k8s.io");
    expect_text(row_text(&jobs.owned, "policy_source"), "owner reference");
    expect_number(deletions_of(&jobs.stuck).count, 0);
    /* They may be let go. */
    configure("[sexton]\nhooks = delete\nowners = Flow.* JobSet\n");
    process_signal(controller, SIGHUP);
    expect_recorded_and_deleted(&jobs.helm, 0);
    expect_recorded_and_deleted(&jobs.argo, 0);
    expect_recorded_and_deleted(&jobs.owned, 0);
    controller_stop(controller);
}
END_TEST

/* What a GitOps tool does: the Job is there again as soon as it is gone. Returns the one that stays. */
static struct job recreate_until_it_stays(int *ret_deleted) {
    for (*ret_deleted = 0; *ret_deleted < 20; ++*ret_deleted) {
        struct job job = put_job(.name = "looping", .ended_s = 0);
        wait_until(!job_exists(&job) || strcmp(row_text(&job, "policy"), "recreate-limit=3") == 0);
        if (job_exists(&job))
            return job;
        wait_until(row_is(&job, "deleted", "ttl"));
    }
    test_fail("it was deleted 20 times");
}

START_TEST(a_job_that_is_created_again_whenever_it_is_deleted_is_backed_off_from) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    int deleted;
    struct job job = recreate_until_it_stays(&deleted);
    expect_number(deleted, 3);
    wait_until(has_logged(controller, "a Job comes back whenever it is deleted"));
    expect(has_logged(controller, "times=3"), "it does not say how often");
    expect_number(count_of(process_err(controller), "a Job comes back whenever it is deleted"), 1);
    expect(job_exists(&job) && row_is(&job, "due", ""), "it was deleted");
    expect_number(sim_count("jobs", "delete"), 3);
    /* Other names go as ever. */
    struct job other = put_job(.name = "other", .ended_s = 0);
    expect_recorded_and_deleted(&other, 0);
    controller_stop(controller);
    /* After a restart it is still known, and to plan as well. */
    struct result result = sexton_here("plan", "-o", "json");
    read_plan(&result);
    expect_planned("looping", "wait", "recreate-limit=3", "default",
            "created again 3 times right after its deletion: something (GitOps?) re-creates it; waits ");
    controller = controller_start();
    wait_until_synced(controller);
    wait_until(has_logged(controller, "a Job comes back whenever it is deleted"));
    struct job canary = put_job(.name = "canary", .ended_s = 0);
    expect_recorded_and_deleted(&canary, 0);
    expect(job_exists(&job) && row_is(&job, "due", ""), "it was deleted");
    expect_number(sim_count("jobs", "delete"), 5);
    /* Whoever wants it so, switches it off. */
    configure("[sexton]\nrecreate-limit = 0\n");
    process_signal(controller, SIGHUP);
    wait_until(row_is(&job, "deleted", "ttl"));
    expect(!job_exists(&job), "it is there");
    controller_stop(controller);
}
END_TEST

START_TEST(a_name_that_comes_back_is_known_to_sweep_although_each_pass_is_a_process_of_its_own) {
    sim_start(NULL);
    int deleted = 0;
    for (; deleted < 10; deleted++) {
        struct job job = put_job(.name = "looping", .ended_s = 5);
        expect_number(sexton_here("sweep").code, 0);
        if (job_exists(&job))
            break;
    }
    expect_number(deleted, 3);
    struct result result = sexton_here("sweep", "--dry-run");
    expect_contains(result.err, "a Job comes back whenever it is deleted");
    expect_lacks(result.err, "would delete (dry run)");
}
END_TEST

START_TEST(plan_does_not_mind_a_register_that_cannot_be_read) {
    sim_start(NULL);
    put_job(.name = "a", .ended_s = 5);
    write_file("history.db", "this is no register");
    struct result result = sexton_here("plan", "-o", "json");
    read_plan(&result);
    expect_planned("a", "delete", "ttl-after-success=0s", "default", "its time was up");
}
END_TEST

Suite *suite_guards(void) {
    const TTest *const tests[] = {
            plan_shows_each_guard_online_and_offline_and_in_every_format,
            jobs_that_others_look_after_are_recorded_and_left_to_them,
            a_job_that_is_created_again_whenever_it_is_deleted_is_backed_off_from,
            a_name_that_comes_back_is_known_to_sweep_although_each_pass_is_a_process_of_its_own,
            plan_does_not_mind_a_register_that_cannot_be_read,
            NULL,
    };
    return suite_of("guards", tests);
}
