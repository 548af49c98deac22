/* sexton sweep: one pass. */
#include "suites.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* The counts of the summary, by the word behind them; -1: not there. */
static int summary(const struct result *result, const char *word) {
    const char *at = result->out;
    for (int n, len; sscanf(at, "%d%n", &n, &len) == 1;) {
        at += len;
        if (strncmp(at + 1, word, strlen(word)) == 0)
            return n;
        at += strcspn(at, ",(\n");
        at += strspn(at, ", (");
    }
    return -1;
}

START_TEST(a_sweep_records_deletes_and_tells_what_it_did) {
    sim_start(NULL);
    struct job due[3] = {put_job(.name = "one", .ended_s = 60), put_job(.name = "two", .ended_s = 60),
            put_job(.ns = "other", .name = "three", .failed = true, .ended_s = 90000)};
    struct job waits = put_job(.name = "waits", .failed = true, .ended_s = 60);
    struct job held = put_job(.name = "held", .ended_s = 60, .annotations = "'sexton.dev/hold': 'true'");
    struct job running = put_job(.name = "running", .running = true);
    int64_t began_ms = mono_ms();
    struct result result = sexton_here("sweep");
    expect_number(result.code, 0);
    expect(mono_ms() - began_ms < 5000, "it took %d ms", (int)(mono_ms() - began_ms));
    for (int i = 0; i < 3; i++)
        expect_recorded_and_deleted(&due[i], 0);
    expect_kept(&waits, "due");
    expect_kept(&held, "kept");
    expect(job_exists(&running), "a running Job is gone");
    expect_number(summary(&result, "seen"), 6);
    expect_number(summary(&result, "recorded"), 5);
    expect_number(summary(&result, "deleted"), 3);
    expect_number(summary(&result, "failed"), 0);
    expect(summary(&result, "kept") >= 1, "no word of what is kept: %s", result.out);
    expect_lacks(result.out, "\033");
    expect_lacks(result.err, "\033");
    /* A second one finds nothing to do. */
    result = sexton_here("sweep");
    expect_number(result.code, 0);
    expect_number(summary(&result, "deleted"), 0);
    expect_number(sql_number("SELECT count(*) FROM runs"), 5);
}
END_TEST

START_TEST(a_dry_sweep_deletes_and_writes_nothing) {
    sim_start(NULL);
    struct job due = put_job(.name = "one", .ended_s = 60);
    struct result result = sexton_here("sweep", "--dry-run");
    expect_number(result.code, 0);
    expect(job_exists(&due), "it was deleted");
    expect_number(deletions_of(&due).count, 0);
    expect(!file_exists(store_path()), "a register was written");
    expect_contains(result.err, "job=shop/one");
    expect_number(summary(&result, "seen"), 1);
    expect_number(summary(&result, "would be deleted"), 1);
}
END_TEST

START_TEST(a_sweep_that_may_not_delete_fails_and_says_how_many) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'namespace': 'closed'}, 'action': {'deny': true}}]");
    struct job due = put_job(.name = "open", .ended_s = 60);
    struct job closed[3];
    for (int i = 0; i < 3; i++)
        closed[i] = put_job(.ns = "closed", .name = format("closed-%d", i), .ended_s = 60);
    struct result result = sexton_here("sweep");
    expect_number(result.code, 1);
    expect_recorded_and_deleted(&due, 0);
    expect_number(summary(&result, "deleted"), 1);
    expect_number(summary(&result, "failed"), 3);
    for (int i = 0; i < 3; i++) {
        expect(job_exists(&closed[i]), "it is gone");
        expect(deletions_of(&closed[i]).count <= 4, "%d requests", deletions_of(&closed[i]).count);
        expect_text(row_text(&closed[i], "outcome"), "Succeeded");
    }
    expect_contains(result.err, "cannot delete resource");
}
END_TEST

START_TEST(a_sweep_gives_up_on_a_server_that_fails_and_exits_1) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete'}, 'action': {'status': 500}}]");
    struct job due = put_job(.name = "one", .ended_s = 60);
    struct result result = sexton_here("sweep");
    expect_number(result.code, 1);
    expect_number(summary(&result, "failed"), 1);
    expect(job_exists(&due) && deletions_of(&due).count <= 4, "%d requests", deletions_of(&due).count);
}
END_TEST

START_TEST(a_sweep_looks_again_at_a_job_that_changes) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete'}, 'times': 1, 'action': {'status': 409}}]");
    struct job due = put_job(.name = "one", .ended_s = 60);
    struct result result = sexton_here("sweep");
    expect_number(result.code, 0);
    expect(row_is(&due, "deleted", "ttl"), "it is not on record");
    expect_number(summary(&result, "deleted"), 1);
}
END_TEST

START_TEST(a_sweep_that_may_not_list_exits_1_with_the_servers_words) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'action': {'deny': true}}]");
    struct job due = put_job(.name = "one", .ended_s = 60);
    struct result result = sexton_here("sweep");
    expect_number(result.code, 1);
    expect_contains(result.err, "cannot list resource");
    expect(job_exists(&due), "it is gone");
    expect(sim_count("jobs", "list") == 1, "it asked %d times", (int)sim_count("jobs", "list"));
}
END_TEST

START_TEST(a_sweep_without_the_lease_may_be_run_beside_a_controller_with_a_register_of_its_own) {
    sim_start((const char *const[]){"--jobs", "300", "--job-bytes", "600", NULL});
    /* Slow enough for the sweep to find some that the controller has seen as well. */
    configure("[sexton]\ndelete-qps = 100\n[policy]\nttl-after-failure = 1h\n");
    struct process *controller = controller_start();
    wait_until(sql_number("SELECT count(*) FROM runs") == 300);
    struct result result =
            sexton_here("sweep", "--leader-elect=false", "--store", format("sqlite:%s", in_folder("sweep.db")));
    expect_number(result.code, 0);
    wait_until(sim_objects("jobs") == 0);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 300);
    expect_number(sql_number("SELECT count(*) FROM runs"), 300);
    wait_until_synced(controller);
    controller_stop(controller);
}
END_TEST

START_TEST(a_sweep_on_the_register_of_a_controller_is_refused_with_a_word_on_who_has_it) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct result result = sexton_here("sweep", "--leader-elect=false");
    expect_number(result.code, 1);
    expect_contains(result.err, format("another controller writes to it (process %d on ", process_id(controller)));
    expect_contains(result.err, "end that one, or give each a store of its own");
    /* Who reads is not in its way. */
    expect_number(sexton("history", "list", "--store", store_option()).code, 0);
    controller_stop(controller);
    expect_number(sexton_here("sweep", "--leader-elect=false").code, 0);
}
END_TEST

START_TEST(on_a_terminal_a_sweep_shows_progress_and_colours_only_there) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete'}, 'times': 1, 'action': {'delayMs': 700}}]");
    put_job(.name = "one", .ended_s = 60);
    struct result result =
            process_run(&(struct start){.argv = (const char *const[]){sexton_binary(), "sweep", "--config",
                                                configure(""), "--kubeconfig", sim_kubeconfig(), NULL},
                    .terminal = TERMINAL_ERR});
    expect_number(result.code, 0);
    expect_contains(result.err, "sweeping: 1 Jobs seen");
    expect_contains(result.out, "1 seen");
    expect_lacks(result.out, "\033");
}
END_TEST

START_TEST(a_sweep_that_is_stopped_by_a_signal_finishes_what_is_in_flight_and_exits_1) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete'}, 'action': {'delayMs': 700}}]");
    configure("[sexton]\nmax-in-flight = 1\n");
    for (int i = 0; i < 5; i++)
        put_job(.name = format("job-%d", i), .ended_s = 60);
    struct process *sweep =
            process_start(&(struct start){.argv = (const char *const[]){sexton_binary(), "sweep", "--config",
                                                  in_folder("sexton.ini"), "--kubeconfig", sim_kubeconfig(), NULL}});
    wait_until(sim_fault_hits(0) == 1);
    process_signal(sweep, SIGINT);
    expect_number(process_wait(sweep), 1);
    expect_contains(process_err(sweep), "stopped by a signal");
    expect_number(sim_count("jobs", "delete"), 1);
    expect_number(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'"), 1);
    expect_number(sql_number("SELECT count(*) FROM runs"), 5);
}
END_TEST

START_TEST(a_sweep_covers_only_the_namespaces_and_labels_it_is_given) {
    sim_start(NULL);
    struct job yes = put_job(.ns = "a", .name = "yes", .ended_s = 60, .labels = "'app': 'web', 'tier': 'x'");
    struct job ns = put_job(.ns = "b", .name = "ns", .ended_s = 60, .labels = "'app': 'web'");
    struct job label = put_job(.ns = "a", .name = "label", .ended_s = 60, .labels = "'app': 'db'");
    struct result result = sexton_here("sweep", "-n", "a", "-l", "app=web,tier!=y");
    expect_number(result.code, 0);
    expect_recorded_and_deleted(&yes, 0);
    expect(job_exists(&ns) && job_exists(&label), "too much is gone");
    expect_number(summary(&result, "seen"), 1);
}
END_TEST

START_TEST(a_sweep_works_with_cronjobs_of_v1beta1) {
    sim_start((const char *const[]){"--cronjob-version", "v1beta1", NULL});
    struct job due = put_job(.name = "one", .ended_s = 60);
    struct result result = sexton_here("sweep");
    expect_number(result.code, 0);
    expect_recorded_and_deleted(&due, 0);
    expect_number(sim_count("cronjobs", "list"), 1);
}
END_TEST

Suite *suite_sweep(void) {
    const TTest *const tests[] = {
            a_sweep_records_deletes_and_tells_what_it_did,
            a_dry_sweep_deletes_and_writes_nothing,
            a_sweep_that_may_not_delete_fails_and_says_how_many,
            a_sweep_gives_up_on_a_server_that_fails_and_exits_1,
            a_sweep_looks_again_at_a_job_that_changes,
            a_sweep_that_may_not_list_exits_1_with_the_servers_words,
            a_sweep_without_the_lease_may_be_run_beside_a_controller_with_a_register_of_its_own,
            a_sweep_on_the_register_of_a_controller_is_refused_with_a_word_on_who_has_it,
            on_a_terminal_a_sweep_shows_progress_and_colours_only_there,
            a_sweep_that_is_stopped_by_a_signal_finishes_what_is_in_flight_and_exits_1,
            a_sweep_covers_only_the_namespaces_and_labels_it_is_given,
            a_sweep_works_with_cronjobs_of_v1beta1,
            NULL,
    };
    return suite_of("sweep", tests);
}
