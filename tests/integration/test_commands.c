/* check, history, version and help. */
#include "suites.h"

#include <stdlib.h>
#include <string.h>

START_TEST(every_command_explains_itself) {
    static const char *const commands[][3] = {{"plan"}, {"sweep"}, {"run"}, {"history"}, {"history", "list"},
            {"history", "show"}, {"check"}, {"version"}};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        for (const char *const *help = (const char *const[]){"--help", "-h", NULL}; *help; help++) {
            const char *const two[] = {
                    commands[i][0], commands[i][1] ? commands[i][1] : *help, commands[i][1] ? *help : NULL, NULL};
            struct result result = sexton_run(two, NULL);
            expect(result.code == 0 && !*result.err, "%s %s: %d %s", two[0], two[1], result.code, result.err);
            expect_contains(result.out, format("Usage: sexton %s", commands[i][0]));
            expect_lacks(result.out, "\033");
        }
    }
    struct result result = sexton("--help");
    expect_number(result.code, 0);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        expect_contains(result.out, format("  %s", commands[i][0]));
    result = sexton("plan", "--help");
    expect_contains(result.out, "--namespace");
    expect_contains(result.out, "--selector");
    expect_contains(result.out, "--kubeconfig");
    expect_contains(result.out, "--config");
}
END_TEST

START_TEST(version_is_one_line) {
    struct result result = sexton("version");
    expect_number(result.code, 0);
    expect(strncmp(result.out, "sexton ", 7) == 0 && count_of(result.out, "\n") == 1, "%s", result.out);
}
END_TEST

START_TEST(check_says_of_each_permission_that_it_is_there) {
    sim_start(NULL);
    struct result result = sexton_here("check");
    expect_number(result.code, 0);
    expect_contains(result.out, sim_url());
    for (const char *const *what = (const char *const[]){"list jobs", "watch jobs", "get jobs", "delete jobs",
                 "list cronjobs", "watch cronjobs", "list namespaces", "watch namespaces", NULL};
            *what; what++)
        expect_contains(result.out, *what);
    expect_lacks(result.out, "missing");
    expect_lacks(result.out, "\033");
    expect_number(sim_count("jobs", "list"), 0);
    result = sexton_here("check", "-n", "a,b");
    expect_number(result.code, 0);
    expect_contains(result.out, "delete jobs.batch in a");
    expect_contains(result.out, "delete jobs.batch in b");
}
END_TEST

START_TEST(check_says_what_is_missing_and_exits_1) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs', 'namespace': 'b'}, 'action': {'deny': true}},"
               " {'match': {'verb': 'watch', 'resource': 'cronjobs'}, 'action': {'deny': true}}]");
    struct result result = sexton_here("check", "-n", "a,b");
    expect_number(result.code, 1);
    expect_number(count_of(result.out, "\nmissing"), 3);
    expect_contains(result.out, "missing delete jobs.batch in b");
    expect_contains(result.out, "missing watch cronjobs.batch in a");
}
END_TEST

START_TEST(check_of_a_server_that_does_not_answer_exits_1) {
    sim_start(NULL);
    sim_stop();
    struct result result = sexton_here("check");
    expect_number(result.code, 1);
    expect_contains(result.out, "API server");
    expect_contains(result.out, "connect");
    write_file("sexton.ini", "[sexton]\nnonsense = 1\n");
    result = sexton("check", "--config", in_folder("sexton.ini"));
    expect_number(result.code, 2);
}
END_TEST

START_TEST(check_looks_at_the_register) {
    sim_start(NULL);
    struct result result = sexton_here("check", "--store", format("sqlite:%s", in_folder("nosuch/history.db")));
    expect_contains(result.out, "register");
    expect_contains(result.out, "nosuch");
    expect_number(result.code, 1);
    result = sexton_here("check");
    expect_number(result.code, 0);
    expect(!file_exists(store_path()), "check made a register");
}
END_TEST

START_TEST(check_for_a_dry_run_asks_for_no_more_than_that_takes) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'deny': true}},"
               " {'match': {'resource': 'leases'}, 'action': {'deny': true}},"
               " {'match': {'resource': 'events'}, 'action': {'deny': true}}]");
    struct result result =
            sexton_here("check", "--dry-run", "--store", format("sqlite:%s", in_folder("nosuch/history.db")));
    expect_number(result.code, 0);
    expect_contains(result.out, "list jobs.batch");
    expect_lacks(result.out, "delete");
    expect_lacks(result.out, "register");
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'action': {'deny': true}}]");
    result = sexton_here("check", "--dry-run");
    expect_number(result.code, 1);
    expect_contains(result.out, "missing watch jobs.batch");
}
END_TEST

START_TEST(check_prints_the_reference_of_the_configuration) {
    struct result result = sexton("check", "--reference");
    expect_number(result.code, 0);
    for (const char *const *key =
                    (const char *const[]){"annotation-prefix", "namespaces", "selector", "delete-qps", "max-in-flight",
                            "ttl-after-success", "ttl-after-failure", "store", "retention", "[namespace GLOB]", NULL};
            *key; key++)
        expect_contains(result.out, *key);
}
END_TEST

/* ---- history ---- */

/* Four runs: two of a CronJob, one failed, one deleted by someone else while it ran. */
static void make_history(void) {
    static const char owner[] =
            "'ownerReferences': [{'apiVersion': 'batch/v1', 'kind': 'CronJob', 'name': 'nightly', 'uid': "
            "'5ec70000-0000-4000-8000-0000000000c1', 'controller': true}]";
    sim_start(NULL);
    put_job(.ns = "a", .name = "nightly-1", .ended_s = 90000, .metadata = owner);
    put_job(.ns = "a", .name = "nightly-2", .ended_s = 3600, .metadata = owner);
    put_job(.ns = "b", .name = "manual", .failed = true, .ended_s = 60);
    struct job running = put_job(.ns = "b", .name = "gone", .running = true);
    configure("[history]\nmanifest = true\n");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    delete_job(&running);
    wait_until(row_is(&running, "deleted", "external"));
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 3);
    controller_stop(controller);
    sim_stop();
}

static int rows_of(const char *const arguments[]) {
    const char *all[32] = {"history", "list", "--store", store_option(), "-o", "json"};
    for (int n = 6; *arguments; arguments++)
        all[n++] = *arguments;
    struct result result = sexton_run(all, NULL);
    expect(result.code == 0, "%d: %s", result.code, result.err);
    json_t *rows = json_loads(result.out, 0, NULL);
    expect(json_is_array(rows), "%s", result.out);
    int n = (int)json_array_size(rows);
    json_decref(rows);
    return n;
}
#define rows(...) rows_of((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

START_TEST(history_is_listed_newest_first_without_a_controller_or_an_api_server) {
    make_history();
    struct result result = sexton("history", "list", "--store", store_option());
    expect_number(result.code, 0);
    expect_number(count_of(result.out, "\n"), 5);
    const char *gone = strstr(result.out, "gone"), *manual = strstr(result.out, "manual"),
               *second = strstr(result.out, "nightly-2"), *first = strstr(result.out, "nightly-1");
    expect(gone && manual && second && first && gone < manual && manual < second && second < first, "%s", result.out);
    expect_lacks(result.out, "\033");
    result = sexton("history", "list", "--store", store_option(), "-o", "csv");
    expect_number(count_of(result.out, "\n"), 5);
    expect(strncmp(result.out, "namespace,job,uid,outcome,", 26) == 0, "%s", result.out);
    result = sexton("history", "list", "--store", store_option(), "-o", "wide");
    expect_contains(result.out, "nightly-1");
    /* And by the configuration. */
    result = sexton("history", "list", "--config", in_folder("sexton.ini"));
    expect_number(count_of(result.out, "\n"), 5);
    expect_number(rows(), 4);
    expect_number(rows("-n", "a"), 2);
    expect_number(rows("--job", "nightly-*"), 2);
    expect_number(rows("--job", "nightly-1"), 1);
    expect_number(rows("--cronjob", "nightly"), 2);
    expect_number(rows("--outcome", "Failed"), 1);
    expect_number(rows("--outcome", "succeeded"), 2);
    expect_number(rows("--since", "2h"), 3);
    expect_number(rows("--until", "2h"), 1);
    expect_number(rows("--since", "2h", "--until", "10m"), 1);
    expect_number(rows("--since", "2099-01-01"), 0);
    expect_number(rows("--limit", "1"), 1);
    expect_number(rows("--limit", "0"), 4);
}
END_TEST

START_TEST(history_shows_one_run_and_how_to_create_it_again) {
    make_history();
    struct result result = sexton("history", "show", "b/manual", "--store", store_option());
    expect_number(result.code, 0);
    expect_contains(result.out, "BackoffLimitExceeded");
    expect_contains(result.out, "Job has reached the specified backoff limit");
    const char *uid = sql_text("SELECT job_uid FROM runs WHERE job_name = 'manual'");
    result = sexton("history", "show", uid, "--store", store_option(), "-o", "json");
    json_t *row = json_loads(result.out, 0, NULL);
    expect_text(json_string_value(json_object_get(row, "job")), "manual");
    expect_text(json_string_value(json_object_get(row, "outcome")), "Failed");
    json_decref(row);
    result = sexton("history", "show", "gone", "-n", "b", "--store", store_option(), "-o", "json");
    row = json_loads(result.out, 0, NULL);
    expect(json_is_null(json_object_get(row, "outcome")), "%s", result.out);
    expect_text(json_string_value(json_object_get(row, "deleteCause")), "external");
    json_decref(row);
    /* The manifest can be created again. */
    result = sexton("history", "show", "a/nightly-1", "--store", store_option(), "-o", "manifest");
    expect_number(result.code, 0);
    row = json_loads(result.out, 0, NULL);
    expect_text(json_string_value(json_object_get(row, "kind")), "Job");
    expect(!json_object_get(row, "status") && !json_object_get(json_object_get(row, "metadata"), "uid"), "%s",
            result.out);
    json_object_set_new(json_object_get(row, "metadata"), "name", json_string("nightly-again"));
    char *text = json_dumps(row, 0);
    json_decref(row);
    sim_start(NULL);
    put_namespace("a", "");
    expect_number(sim_request("POST", "/apis/batch/v1/namespaces/a/jobs", keep(text), NULL), 201);
    result = sexton("history", "show", "a/nosuch", "--store", store_option());
    expect_number(result.code, 1);
    expect_contains(result.err, "a/nosuch");
}
END_TEST

START_TEST(history_can_be_read_while_a_controller_writes) {
    sim_start((const char *const[]){"--jobs", "500", "--job-bytes", "700", "--failed-percent", "0", NULL});
    configure("[sexton]\ndelete-qps = 0\nmax-in-flight = 4\n");
    struct process *controller = controller_start();
    wait_until(sql_number("SELECT count(*) FROM runs") > 0);
    int reads = 0;
    do {
        struct result result = sexton("history", "list", "--store", store_option(), "-o", "json");
        expect(result.code == 0, "%s", result.err);
        json_t *rows = json_loads(result.out, 0, NULL);
        expect(json_is_array(rows), "%s", result.out);
        json_decref(rows);
        reads++;
    } while (sim_objects("jobs") > 0);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 500);
    expect(reads > 0, "nothing was read");
    controller_stop(controller);
}
END_TEST

START_TEST(a_reader_that_has_had_enough_is_no_failure) {
    sim_start((const char *const[]){"--jobs", "500", "--job-bytes", "2000", NULL});
    struct result result = sexton_here("sweep", "--dry-run", "--log-level", "error");
    expect_number(result.code, 0);
    configure("[sexton]\ndelete-qps = 0\nlog-level = error\n");
    result = sexton_here("sweep");
    expect_number(result.code, 0);
    result = process_run(&(struct start){
            .argv = (const char *const[]){"/bin/sh", "-c", "\"$0\" \"$@\" | head -n 2; :", sexton_binary(), "history",
                    "list", "--store", store_option(), "-o", "json", NULL}});
    expect_number(result.code, 0);
    expect_text(result.err, "");
}
END_TEST

Suite *suite_commands(void) {
    const TTest *const tests[] = {
            every_command_explains_itself,
            version_is_one_line,
            check_says_of_each_permission_that_it_is_there,
            check_says_what_is_missing_and_exits_1,
            check_of_a_server_that_does_not_answer_exits_1,
            check_looks_at_the_register,
            check_for_a_dry_run_asks_for_no_more_than_that_takes,
            check_prints_the_reference_of_the_configuration,
            history_is_listed_newest_first_without_a_controller_or_an_api_server,
            history_shows_one_run_and_how_to_create_it_again,
            history_can_be_read_while_a_controller_writes,
            a_reader_that_has_had_enough_is_no_failure,
            NULL,
    };
    return suite_of("commands", tests);
}
