/* What /healthz and /readyz say while things go wrong, and when they are well again. */
#include "suites.h"

#include <signal.h>
#include <string.h>

#include "ask.h"

#define FAST 20 /* what takes 30 s takes 1.5 */

static int port;

static bool is_ready(const char *line) {
    struct asked asked = ask_for(port, "/readyz");
    return asked.code == 200 && strstr(asked.body, line);
}

/* For this reason alone; and a restart would not help. */
static bool is_unready(const char *line) {
    struct asked asked = ask_for(port, "/readyz");
    if (asked.code != 503 || !strstr(asked.body, line) || count_of(asked.body, "not ok ") != 1)
        return false;
    expect_number(ask_for(port, "/healthz").code, 200);
    return true;
}

static const char *readiness(void) {
    return ask_for(port, "/readyz").body;
}

static struct process *start(const char *sections) {
    configure(format("%s%s", sections, LISTEN));
    struct process *controller = controller_start();
    port = served_port(controller);
    return controller;
}

START_TEST(it_is_not_ready_before_all_is_listed_and_then_it_is) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'list', 'resource': 'cronjobs'}, 'action': {'status': 503, 'message': 'sorry'}}]");
    struct process *controller = start("");
    wait_until(is_unready("\nnot ok synced: the list of cronjobs is not complete: sorry\n"));
    sim_clear_faults();
    wait_until(is_ready("ok api\nok synced\nok register\nok lease: held by this controller, "));
    wait_until(is_ready("\nok permissions\n"));
    controller_stop(controller);
}
END_TEST

START_TEST(it_is_there_before_the_api_server_answers_and_says_what_is_wrong) {
    sim_start(NULL);
    int sims_port = sim_port();
    sim_kubeconfig();
    sim_stop();
    struct process *controller = start("[sexton]\nleader-elect = false\n");
    expect_number(ask_for(port, "/healthz").code, 200);
    wait_until(strstr(readiness(), "not ok api: no answer for "));
    expect_contains(readiness(), "\nnot ok synced: ");
    expect_number(ask_for(port, "/readyz").code, 503);
    sim_start_at(sims_port, NULL);
    wait_until(is_ready("ok api\nok synced\n"));
    controller_stop(controller);
}
END_TEST

START_TEST(an_api_server_that_is_gone_for_long_is_no_reason_for_a_restart) {
    const char *const journal[] = {"--journal", in_folder("journal"), NULL};
    sim_start(journal);
    configure(WITHOUT_LEASE LISTEN);
    struct process *controller = controller_start_with_clock(0, FAST);
    port = served_port(controller);
    wait_until(is_ready("ok api\nok synced\n"));
    int sims_port = sim_port();
    sim_stop();
    wait_until(strstr(readiness(), "not ok api: no answer for "));
    wait_until(strstr(readiness(), "not ok synced: ") && strstr(readiness(), " could not be watched for "));
    expect_number(ask_for(port, "/readyz").code, 503);
    int64_t began_ms = clock_controllers_ms();
    wait_until(clock_controllers_ms() > began_ms + 120000);
    expect_number(ask_for(port, "/healthz").code, 200);
    sim_start_at(sims_port, journal);
    wait_until(is_ready("ok api\nok synced\n"));
    controller_stop(controller);
}
END_TEST

START_TEST(while_a_watch_fails_it_is_not_ready_and_says_which) {
    sim_start(NULL);
    configure(WITHOUT_LEASE LISTEN);
    struct process *controller = controller_start_with_clock(0, FAST);
    port = served_port(controller);
    wait_until(is_ready("ok synced\n"));
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'live': true, 'action': {'status': 500, 'message': "
               "'etcd', 'watchEndAfterMs': 1}}]");
    wait_until(is_unready("\nnot ok synced: jobs could not be watched for "));
    sim_clear_faults();
    wait_until(is_ready("ok synced\n"));
    controller_stop(controller);
}
END_TEST

START_TEST(while_the_register_cannot_be_written_it_is_not_ready_and_says_why) {
    sim_start(NULL);
    configure(LISTEN);
    struct process *controller = controller_start_with_disk();
    port = served_port(controller);
    wait_until(is_ready("\nok register\n"));
    disk_fail("EROFS");
    struct job job = put_job(.name = "one", .ended_s = 60);
    wait_until(is_unready("\nnot ok register: cannot be written: "));
    expect_contains(readiness(), "Read-only file system");
    expect(job_exists(&job), "it was deleted");
    disk_fail("");
    wait_until(is_ready("\nok register\n"));
    expect_recorded_and_deleted(&job, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(who_stands_by_is_ready_and_says_who_leads) {
    sim_start(NULL);
    struct process *leader = start("[sexton]\nlease-duration = 3s\nrenew-deadline = 2s\nretry-period = 1s\n");
    wait_until(is_ready("\nok lease: held by this controller, "));
    const char *who = strstr(readiness(), "held by this controller, ") + strlen("held by this controller, ");
    who = format("%.*s", (int)strcspn(who, "\n"), who);
    struct process *standby = controller_start("--store", format("sqlite:%s", in_folder("other.db")));
    port = served_port(standby);
    wait_until(is_ready(format("\nok lease: held by %s, standing by\n", who)));
    expect_number(ask_for(port, "/healthz").code, 200);
    controller_stop(leader);
    wait_until(is_ready("\nok lease: held by this controller, "));
    controller_stop(standby);
}
END_TEST

START_TEST(a_dry_run_is_ready_without_a_register_and_a_lease) {
    sim_start(NULL);
    configure(LISTEN);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'deny': true}},"
               " {'match': {'resource': 'leases'}, 'action': {'deny': true}}]");
    struct process *controller = controller_start("--dry-run");
    port = served_port(controller);
    wait_until(is_ready("\nok register: none in a dry run\nok lease: none needed\nok permissions\n"));
    controller_stop(controller);
}
END_TEST

START_TEST(it_says_that_it_is_about_to_end) {
    sim_start(NULL);
    struct process *controller = start("");
    wait_until(is_ready("\nok synced\n"));
    /* Whose answer it waits for. */
    sim_faults("[{'match': {'verb': 'delete'}, 'action': {'delayMs': 1500}}]");
    struct job job = put_job(.name = "one", .ended_s = 60);
    wait_until(row_is(&job, "deleting", ""));
    process_signal(controller, SIGTERM);
    wait_until(has_logged(controller, "stopping"));
    expect_contains(readiness(), "not ok running: it is about to end\n");
    expect_number(process_wait(controller), 0);
}
END_TEST

/* ---- permissions ---- */

START_TEST(a_permission_that_is_missing_is_named_and_when_it_is_given_it_is_ready) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'deny': true}}]");
    configure(WITHOUT_LEASE LISTEN);
    struct process *controller = controller_start_with_clock(0, FAST);
    port = served_port(controller);
    wait_until(is_unready("\nnot ok permissions: may not delete jobs.batch: apply the rights of manifests/"));
    wait_until(has_logged(controller, "msg=\"permissions are missing\" missing=\"delete jobs.batch\""));
    /* As long as it is missing it is asked for, but not told again. */
    int64_t asked = sim_count("selfsubjectaccessreviews", "create");
    wait_until(sim_count("selfsubjectaccessreviews", "create") >= asked + 18);
    expect_number(count_of(process_err(controller), "permissions are missing"), 1);
    sim_clear_faults();
    wait_until(is_ready("\nok permissions\n"));
    wait_until(has_logged(controller, "no permission is missing any more"));
    /* And once nothing is, it is asked for no more. */
    asked = sim_count("selfsubjectaccessreviews", "create");
    int64_t began_ms = clock_controllers_ms();
    wait_until(clock_controllers_ms() > began_ms + 150000);
    expect_number(sim_count("selfsubjectaccessreviews", "create"), asked);
    controller_stop(controller);
}
END_TEST

START_TEST(a_permission_that_is_taken_away_is_named_after_a_refusal) {
    sim_start(NULL);
    configure(WITHOUT_LEASE "namespaces = shop billing\n" LISTEN);
    put_namespace("billing", NULL);
    struct process *controller = controller_start_with_clock(0, FAST);
    port = served_port(controller);
    wait_until(is_ready("\nok permissions\n"));
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs', 'namespace': 'billing'}, 'action': {'deny': true}}]");
    struct job job = put_job(.ns = "billing", .name = "one", .ended_s = 60);
    wait_until(is_unready("\nnot ok permissions: may not delete jobs.batch in billing: "));
    sim_clear_faults();
    wait_until(is_ready("\nok permissions\n"));
    wait_until(!job_exists(&job));
    controller_stop(controller);
}
END_TEST

START_TEST(many_missing_permissions_are_named_up_to_a_point) {
    sim_start(NULL);
    sim_faults("[{'match': {'resource': 'selfsubjectaccessreviews'}, 'action': {'body': '{\\'kind\\': "
               "\\'SelfSubjectAccessReview\\', \\'status\\': {\\'allowed\\': false}}', 'contentType': "
               "'application/json'}}]");
    struct process *controller = start("[sexton]\nleader-elect = false\nevents = false\nnamespaces = a b c d\n");
    wait_until(is_unready("\nnot ok permissions: may not list jobs.batch in a, "));
    expect_contains(readiness(), "watch namespaces a and 24 more; nor get namespaces kube-system: apply");
    controller_stop(controller);
}
END_TEST

START_TEST(a_permission_that_it_can_do_without_is_told_and_it_is_ready) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'get', 'resource': 'namespaces', 'name': 'kube-system'}, 'action': {'deny': "
               "true}}, {'match': {'verb': 'patch', 'resource': 'events'}, 'action': {'deny': true}}]");
    struct process *controller = start("");
    wait_until(is_ready("\nok permissions: may not get namespaces kube-system, patch events.events.k8s.io, and goes "
                        "without\n"));
    controller_stop(controller);
}
END_TEST

START_TEST(where_nobody_answers_about_permissions_it_is_ready) {
    sim_start(NULL);
    sim_faults("[{'match': {'resource': 'selfsubjectaccessreviews'}, 'action': {'status': 404, 'message': 'no such "
               "thing'}}]");
    struct process *controller = start("");
    wait_until(is_ready("\nok permissions: not known: no such thing\n"));
    expect_number(sim_count("selfsubjectaccessreviews", "create"), 1);
    expect_lacks(process_err(controller), "permissions are missing");
    controller_stop(controller);
}
END_TEST

/* ---- what only a restart can help ---- */

START_TEST(a_watch_that_outlives_its_own_deadline_in_silence_is_not_alive) {
    sim_start((const char *const[]){"--bookmark-ms", "3600000", NULL});
    configure(WITHOUT_LEASE LISTEN);
    struct process *controller = controller_start_without_timeouts(1);
    port = served_port(controller);
    wait_until(is_ready("\nok synced\n"));
    expect_number(ask_for(port, "/healthz").code, 200);
    clock_speed(100);
    wait_until(ask_for(port, "/healthz").code == 503);
    expect_contains(ask_for(port, "/healthz").body, " is silent, and should have ended 1m");
    expect_contains(ask_for(port, "/healthz").body, "ok loop\nnot ok watches: that of ");
    process_signal(controller, SIGKILL);
}
END_TEST

Suite *suite_health(void) {
    const TTest *const tests[] = {
            it_is_not_ready_before_all_is_listed_and_then_it_is,
            it_is_there_before_the_api_server_answers_and_says_what_is_wrong,
            an_api_server_that_is_gone_for_long_is_no_reason_for_a_restart,
            while_a_watch_fails_it_is_not_ready_and_says_which,
            while_the_register_cannot_be_written_it_is_not_ready_and_says_why,
            who_stands_by_is_ready_and_says_who_leads,
            a_dry_run_is_ready_without_a_register_and_a_lease,
            it_says_that_it_is_about_to_end,
            a_permission_that_is_missing_is_named_and_when_it_is_given_it_is_ready,
            a_permission_that_is_taken_away_is_named_after_a_refusal,
            many_missing_permissions_are_named_up_to_a_point,
            a_permission_that_it_can_do_without_is_told_and_it_is_ready,
            where_nobody_answers_about_permissions_it_is_ready,
            a_watch_that_outlives_its_own_deadline_in_silence_is_not_alive,
            NULL,
    };
    return suite_of("health", tests);
}
