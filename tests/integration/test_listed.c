/* A list of Namespaces, with rights in these and nowhere else. */
#include "suites.h"

#define LISTED "[sexton]\ncluster = test\nnamespaces = a b\n[policy]\nttl-after-failure = 1h\n"

/* Whatever is asked of the whole cluster, and of the Namespaces that are not listed. */
static void forbid_the_rest(void) {
    sim_faults("[{'match': {'resource': 'jobs', 'namespace': ''}, 'action': {'deny': true}},"
               " {'match': {'resource': 'cronjobs', 'namespace': ''}, 'action': {'deny': true}},"
               " {'match': {'resource': 'namespaces', 'namespace': ''}, 'action': {'deny': true}},"
               " {'match': {'resource': '*', 'namespace': '[!ab]*'}, 'action': {'deny': true}}]");
}

static void expect_no_refusals(void) {
    for (int rule = 0; rule < 4; rule++)
        expect_number(sim_fault_hits(rule), 0);
    expect_number(sim_count_code("403"), 0);
}

START_TEST(rights_in_the_listed_namespaces_are_all_it_needs) {
    sim_start(NULL);
    configure(LISTED);
    put_namespace("a", "");
    put_namespace("b", "'sexton.dev/ttl-after-success': 'never'");
    put_namespace("c", "");
    struct job a = put_job(.ns = "a", .name = "one", .ended_s = 60);
    struct job b = put_job(.ns = "b", .name = "two", .ended_s = 60);
    struct job c = put_job(.ns = "c", .name = "three", .ended_s = 60);
    forbid_the_rest();
    struct result result = sexton_here("check", "--leader-elect", "false");
    expect_number(result.code, 0);
    result = sexton_here("plan");
    expect_number(result.code, 0);
    expect_contains(result.out, "2 Jobs: 1 to delete, 0 waiting, 1 kept");
    result = sexton_here("sweep", "--leader-elect", "false");
    expect_number(result.code, 0);
    expect(!job_exists(&a), "it is still there");
    expect_no_refusals();
    struct process *controller = controller_start("--leader-elect", "false");
    wait_until_synced(controller);
    struct job canary = put_job(.ns = "a", .name = "canary", .ended_s = 60);
    expect_recorded_and_deleted(&canary, 0);
    expect_kept(&b, "kept");
    expect_number(row_number(&c, "count(*)"), 0);
    controller_stop(controller);
    expect_no_refusals();
    sim_clear_faults();
    expect(job_exists(&c), "a Job of another Namespace is gone");
}
END_TEST

START_TEST(an_annotation_of_a_listed_namespace_is_followed_live) {
    sim_start(NULL);
    configure(LISTED);
    put_namespace("a", "'sexton.dev/hold': 'true'");
    put_namespace("b", "");
    struct job job = put_job(.ns = "a", .name = "one", .ended_s = 60);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    wait_until(row_is(&job, "kept", ""));
    put_namespace("a", "'sexton.dev/ttl-after-success': '50s'");
    expect_recorded_and_deleted(&job, 50000);
    expect_text(row_text(&job, "policy_source"), "namespace annotation");
    put_namespace("a", "'sexton.dev/hold': 'true'");
    struct job held = put_job(.ns = "a", .name = "two", .ended_s = 60);
    wait_until(row_is(&held, "kept", ""));
    struct job canary = put_job(.ns = "b", .name = "canary", .ended_s = 60);
    expect_recorded_and_deleted(&canary, 0);
    expect_kept(&held, "kept");
    expect_number(sim_count("namespaces", "get"), 2);
    expect_number(sim_count("namespaces", "list"), 0);
    controller_stop(controller);
}
END_TEST

START_TEST(a_listed_namespace_that_is_deleted_and_created_again_is_followed) {
    sim_start(NULL);
    configure(LISTED);
    put_namespace("a", "");
    struct process *controller = controller_start(); /* b is not there at all */
    wait_until_synced(controller);
    struct job job = put_job(.ns = "a", .name = "one", .failed = true);
    wait_until(row_is(&job, "due", ""));
    expect_number(sim_request("DELETE", "/api/v1/namespaces/a", NULL, NULL) / 100, 2);
    wait_until(row_is(&job, "deleted", "external"));
    wait_until(sim_objects("namespaces") == 0 || !job_exists(&job));
    put_namespace("a", "'sexton.dev/hold': 'true'");
    put_namespace("b", "'sexton.dev/ttl-after-success': '1s'");
    struct job again = put_job(.ns = "a", .name = "one", .ended_s = 60);
    struct job first = put_job(.ns = "b", .name = "two", .ended_s = 60);
    expect_recorded_and_deleted(&first, 1000);
    wait_until(row_is(&again, "kept", ""));
    put_namespace("a", "");
    expect_recorded_and_deleted(&again, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(what_happens_while_the_watch_of_a_listed_namespace_is_cut_is_not_lost) {
    sim_start(NULL);
    configure(LISTED);
    put_namespace("a", "");
    put_namespace("b", "");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job job =
            put_job(.ns = "a", .name = "one", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    wait_until(row_is(&job, "due", ""));
    /* The watch breaks off, and neither a look nor another one gets through. */
    sim_faults("[{'match': {'resource': 'namespaces', 'namespace': 'a'}, 'live': true,"
               "  'action': {'status': 503, 'truncateAfter': 0}}]");
    wait_until(has_logged(controller, "get failed"));
    put_namespace("a", "'sexton.dev/hold': 'true'");
    struct job other = put_job(.ns = "b", .name = "two", .ended_s = 60);
    expect_recorded_and_deleted(&other, 0);
    wait_until(wall_ms() > job.ended_ms + 3000);
    expect(job_exists(&job), "it was deleted on stale knowledge");
    sim_clear_faults();
    wait_until(row_is(&job, "kept", ""));
    expect_kept(&job, "kept");
    wait_until(has_logged(controller, "watching again"));
    put_namespace("a", "");
    expect_recorded_and_deleted(&job, 2000);
    controller_stop(controller);
}
END_TEST

START_TEST(without_the_right_to_a_listed_namespace_the_missing_right_is_said) {
    sim_start(NULL);
    configure(LISTED);
    put_namespace("a", "");
    put_namespace("b", "");
    sim_faults("[{'match': {'verb': 'get', 'resource': 'namespaces', 'namespace': 'a'}, 'action': {'deny': true}}]");
    struct job job = put_job(.ns = "a", .name = "one", .ended_s = 60);
    struct job other = put_job(.ns = "b", .name = "two", .ended_s = 60);
    struct result result = sexton_here("check");
    expect_number(result.code, 1);
    expect_number(count_of(result.out, "\nmissing"), 1);
    expect_contains(result.out, "missing get namespaces a");
    expect_contains(result.out, "ok      watch namespaces a");
    expect_contains(result.out, "ok      get namespaces b");
    expect_lacks(result.out, "list namespaces");
    result = sexton_here("plan");
    expect_number(result.code, 1);
    expect_contains(result.err, "cannot get resource \"namespaces\" in API group \"\" in the namespace \"a\"");
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&other, 0);
    wait_until(has_logged(controller, "cannot get resource"));
    expect_contains(process_err(controller), "msg=\"get failed\" resource=namespaces namespace=a status=403");
    expect(job_exists(&job), "it is deleted, and nobody knows what its Namespace says");
    sim_clear_faults();
    expect_recorded_and_deleted(&job, 0);
    controller_stop(controller);
}
END_TEST

Suite *suite_listed(void) {
    const TTest *const tests[] = {
            rights_in_the_listed_namespaces_are_all_it_needs,
            an_annotation_of_a_listed_namespace_is_followed_live,
            a_listed_namespace_that_is_deleted_and_created_again_is_followed,
            what_happens_while_the_watch_of_a_listed_namespace_is_cut_is_not_lost,
            without_the_right_to_a_listed_namespace_the_missing_right_is_said,
            NULL,
    };
    return suite_of("listed", tests);
}
