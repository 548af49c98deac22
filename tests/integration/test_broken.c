/* Answers that break off, crawl, fall silent, or are rubbish; and connections that die under them. */
#include "suites.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proxy.h"

#define SPEED 150

/* After all of that, is a Job that finishes now still seen, and deleted? */
static void expect_at_work(void) {
    static int serial;
    struct job job = put_job(.name = format("canary-%d", ++serial), .ended_s = 60);
    wait_until(row_is(&job, "deleted", "ttl"));
    expect_number(deletions_of(&job).count, 1);
}

/* ---- what stops short ---- */

START_TEST(a_list_whose_json_stops_short_in_good_order_deletes_nothing_until_it_is_whole) {
    sim_start(NULL);
    struct job job = put_job(.name = "due", .ended_s = 60);
    const json_t *list = sim_get("/apis/batch/v1/jobs");
    char *text = json_dumps(list, JSON_COMPACT), *quoted;
    /* All of the Job, and nothing behind it. */
    json_t *body = json_stringn(text, strlen(text) - 2);
    quoted = json_dumps(body, JSON_ENCODE_ANY);
    int status = sim_request("POST", "/kubesim/faults",
            format("[{\"match\": {\"verb\": \"list\", \"resource\": \"jobs\"}, \"times\": 2, \"action\": {\"body\": "
                   "%s}}]",
                    quoted),
            NULL);
    expect_number(status, 200);
    struct process *controller = controller_start();
    wait_until(count_of(process_err(controller), "list failed") == 2);
    expect_number(deletions_of(&job).count, 0);
    expect_recorded_and_deleted(&job, 0);
    expect_number(sim_count("jobs", "list"), 1 + 3); /* ours, and the controller's */
    json_decref(body);
    free(text);
    free(quoted);
    controller_stop(controller);
}
END_TEST

START_TEST(a_watch_whose_json_stops_short_in_good_order_goes_on_without_a_new_list) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 2, 'action': {'body': "
               "'{\\'type\\':\\'ADDED\\',\\'object\\':{\\'kind\\':\\'Job\\',\\'metadata\\':{\\'name\\':\\'cut'}}]");
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 4);
    wait_until(count_of(process_err(controller), "watch failed") == 2);
    expect_at_work();
    expect_number(sim_count("jobs", "list"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_list_that_is_reset_in_the_middle_of_a_chunk_deletes_nothing_until_it_is_whole) {
    sim_start((const char *const[]){"--jobs", "400", "--job-bytes", "700", "--failed-percent", "0", NULL});
    configure(WITHOUT_LEASE "delete-qps = 0\n");
    proxy_start();
    proxy_cut("limit=", PROXY_RESET, 100000, 3);
    struct process *controller = controller_start_with_clock(0, 4);
    wait_until(proxy_cuts() > 0 && has_logged(controller, "list failed"));
    expect_number(sim_count("jobs", "delete"), 0);
    wait_until(sim_objects("jobs") == 0);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == 400);
    expect_number(sim_count("jobs", "delete"), 400);
    controller_stop(controller);
}
END_TEST

START_TEST(a_watch_that_is_reset_in_the_middle_of_a_chunk_goes_on_and_loses_nothing) {
    sim_start(NULL);
    proxy_start();
    struct process *controller = controller_start();
    wait_until_synced(controller);
    for (int i = 0; i < 3; i++) {
        /* Some bytes into the event. */
        proxy_cut("/jobs?watch=true", PROXY_RESET, 40 + 100 * i, 1);
        expect_at_work();
        expect_number(proxy_cuts(), 1);
    }
    expect_number(sim_count("jobs", "list"), 1);
    expect_number(sim_count("jobs", "watch"), 4);
    controller_stop(controller);
}
END_TEST

/* ---- what falls silent ---- */

START_TEST(a_watch_that_is_silent_for_good_is_given_up_at_its_own_deadline_and_loses_nothing) {
    sim_start(NULL);
    proxy_start();
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    /* Half open: no data, no FIN, and the other end acknowledges what TCP asks. */
    proxy_cut("/jobs?watch=true", PROXY_SILENT, 0, 1);
    wait_until(proxy_cuts() == 1);
    struct job job = put_job(.name = "unseen", .ended_s = 60);
    int64_t began_ms = clock_controllers_ms();
    clock_speed(SPEED);
    wait_until(has_logged(controller, "msg=\"watch failed\" resource=jobs"));
    clock_speed(1);
    int64_t took_ms = clock_controllers_ms() - began_ms;
    /* timeoutSeconds is 300 to 600, and its grace 15 s. */
    expect(took_ms > 300000 && took_ms < 640000, "after %" PRId64 " s", took_ms / 1000);
    expect_recorded_and_deleted(&job, 0);
    expect_number(sim_count("jobs", "list"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_watch_whose_other_end_has_vanished_is_given_up_by_tcp_and_loses_nothing) {
    sim_start(NULL);
    proxy_start();
    /* Idle for 15 s, probe every 15 s, give up after 30 s: 1 s each. With time as it is: make soak. */
    clock_hurry_tcp(30);
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    /* Its answer has begun: else libcurl asks again by itself. */
    struct job seen = put_job(.name = "seen", .ended_s = 60);
    expect_recorded_and_deleted(&seen, 0);
    proxy_cut("/jobs?watch=true", PROXY_VANISH, 0, 1);
    wait_until(proxy_cuts() == 1);
    struct job job = put_job(.name = "unseen", .ended_s = 60);
    int64_t began_ms = mono_ms();
    wait_until(has_logged(controller, "watch failed"));
    expect(mono_ms() - began_ms < 8000, "after %" PRId64 " ms", mono_ms() - began_ms);
    expect_recorded_and_deleted(&job, 0);
    expect_number(sim_count("jobs", "list"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(headers_and_then_silence_to_a_list_are_given_up_after_two_minutes) {
    sim_start(NULL);
    struct job job = put_job(.name = "due", .ended_s = 60);
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'stallAfter': 0}}]");
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until(sim_fault_hits(0) == 1);
    int64_t began_ms = clock_controllers_ms();
    clock_speed(SPEED);
    wait_until(has_logged(controller, "list failed"));
    clock_speed(1);
    int64_t took_ms = clock_controllers_ms() - began_ms;
    expect(took_ms > 100000 && took_ms < 140000, "after %" PRId64 " s", took_ms / 1000);
    expect_recorded_and_deleted(&job, 0);
    controller_stop(controller);
}
END_TEST

START_TEST(headers_and_then_silence_to_a_delete_are_looked_into_and_never_done_twice) {
    sim_start(NULL);
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs', 'name': 'done'}, 'times': 1, 'action': "
               "{'stallAfter': 0}}, {'match': {'verb': 'delete', 'resource': 'jobs', 'name': 'undone'}, 'times': 1, "
               "'action': {'status': 200, 'body': '{', 'stallAfter': 1}}]");
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    struct job done = put_job(.name = "done", .ended_s = 60), undone = put_job(.name = "undone", .ended_s = 60);
    wait_until(sim_fault_hits(0) == 1 && sim_fault_hits(1) == 1);
    clock_speed(20);
    wait_until(strcmp(row_text(&done, "delete_state"), "deleted") == 0);
    wait_until(row_is(&undone, "deleted", "ttl"));
    expect(strcmp(row_text(&done, "delete_cause"), "external") != 0, "our own deletion counts as someone else's");
    expect_number(deletions_of(&done).count, 1);
    expect_number(deletions_of(&undone).count, 2);
    expect(!job_exists(&undone), "it is still there");
    controller_stop(controller);
}
END_TEST

START_TEST(headers_and_then_silence_to_a_watch_hold_up_nothing_else) {
    sim_start(NULL);
    put_namespace("shop", NULL); /* of a Namespace that it has not heard of, nothing is deleted */
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'cronjobs'}, 'action': {'stallAfter': 0}},"
               " {'match': {'verb': 'watch', 'resource': 'namespaces'}, 'action': {'stallAfter': 0}}]");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    expect_at_work();
    controller_stop(controller);
}
END_TEST

/* ---- what crawls ---- */

START_TEST(a_list_at_one_byte_a_second_is_given_up_after_two_minutes_and_asked_for_again) {
    sim_start(NULL);
    struct job job = put_job(.name = "due", .ended_s = 60);
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'bytesPerWrite': 1, "
               "'writeEveryMs': 7}}]");
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, SPEED);
    wait_until(has_logged(controller, "list failed"));
    clock_speed(1);
    expect_recorded_and_deleted(&job, 0);
    expect_number(sim_count("jobs", "list"), 2);
    controller_stop(controller);
}
END_TEST

START_TEST(a_watch_at_one_byte_a_second_is_no_failure_and_holds_up_nothing_else) {
    sim_start(NULL);
    configure(WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    struct job job = put_job(.name = "known", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    wait_until(row_is(&job, "due", ""));
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'live': true, 'action': {'bytesPerWrite': 1, "
               "'writeEveryMs': 20}}]");
    struct job slow = put_job(.name = "slow", .ended_s = 60);
    clock_speed(50);
    wait_until(clock_controllers_ms() > 0 && row_is(&job, "deleted", "ttl"));
    /* Three minutes of it, and the event has not come. */
    int64_t until_ms = clock_controllers_ms() + 120000;
    wait_until(clock_controllers_ms() > until_ms);
    expect_number(deletions_of(&slow).count, 0);
    expect_number(sim_count("jobs", "watch"), 1);
    expect_lacks(process_err(controller), "watch failed");
    /* A little faster, and it does. */
    clock_speed(1);
    sim_clear_faults();
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'live': true, 'action': {'bytesPerWrite': 50}}]");
    wait_until(row_is(&slow, "deleted", "ttl"));
    controller_stop(controller);
}
END_TEST

START_TEST(a_stream_of_nothing_but_bookmarks_moves_the_place_from_which_a_watch_resumes) {
    sim_start((const char *const[]){"--bookmark-ms", "20", NULL});
    put_job(.name = "old", .failed = true);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    /* Other resources move the resourceVersion on; and then all events are forgotten, but for those after it. */
    put_namespace("elsewhere", NULL);
    sim_compact();
    int64_t until_ms = mono_ms() + 200;
    wait_until(mono_ms() > until_ms);
    sim_faults("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'live': true, 'action': "
               "{'truncateAfter': 0, 'reset': true}}]");
    wait_until(sim_count("jobs", "watch") >= 2);
    expect_at_work();
    expect_number(sim_count("jobs", "list"), 1);
    controller_stop(controller);
}
END_TEST

/* ---- what is rubbish ---- */

static const char *filled(char c, size_t n) {
    char *text = malloc(n + 1);
    memset(text, c, n);
    text[n] = '\0';
    return keep(text);
}

START_TEST(a_job_of_2_mb_is_recorded_and_deleted_as_any_other) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job watched = put_job(.name = "watched", .ended_s = 60,
            .annotations = format("'example.com/big': '%s'", filled('x', 2000000)));
    expect_recorded_and_deleted(&watched, 0);
    controller_stop(controller);
    struct job listed = put_job(.name = "listed", .ended_s = 60,
            .annotations = format("'example.com/big': '%s'", filled('y', 2000000)));
    controller = controller_start();
    expect_recorded_and_deleted(&listed, 0);
    expect(sql_number("SELECT max(length(quote(manifest)) + length(quote(annotations))) FROM runs") < 2500000,
            "the register took more than there was");
    controller_stop(controller);
}
END_TEST

START_TEST(an_item_nested_10000_deep_is_survived_in_list_and_watch_and_deletes_nothing) {
    sim_start(SIM_JSON_ONLY);
    struct job due = put_job(.name = "due", .ended_s = 60);
    const char *deep = format("{\\'metadata\\':%s", filled('[', 10000));
    sim_faults(format("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'raw': '%s'}}]", deep));
    struct process *controller = controller_start();
    wait_until(has_logged(controller, "list failed"));
    expect_number(deletions_of(&due).count, 0);
    expect_recorded_and_deleted(&due, 0);
    wait_until_synced(controller);
    sim_clear_faults();
    sim_faults(format("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'live': true, 'action': {'raw': "
                      "'{\\'type\\':\\'ADDED\\',\\'object\\':%s'}}]",
            deep));
    struct job after = put_job(.name = "after", .ended_s = 60);
    wait_until(has_logged(controller, "watch failed"));
    wait_until(row_is(&after, "deleted", "ttl"));
    expect_number(sim_count("jobs", "list"), 2);
    controller_stop(controller);
}
END_TEST

/* JSON that no Kubernetes server sends, as items of a list and as an event. */
static void survive_item(const char *item, size_t len) {
    sim_start(SIM_JSON_ONLY);
    struct job due = put_job(.name = "due", .ended_s = 60);
    write_bytes(in_folder("item"), item, len);
    struct result coded = process_run(&(struct start){
            .argv = (const char *const[]){"/bin/sh", "-c", format("base64 -w0 '%s'", in_folder("item")), NULL}});
    expect_number(coded.code, 0);
    sim_faults(format(
            "[{'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'rawBase64': '%s'}}]", coded.out));
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&due, 0);
    wait_until_synced(controller);
    expect_contains(process_err(controller), "is left alone");
    int told = count_of(process_err(controller), "is left alone");
    const char *event = format("{\"type\":\"ADDED\",\"object\":");
    char *whole = malloc(strlen(event) + len + 2);
    memcpy(whole, event, strlen(event));
    memcpy(whole + strlen(event), item, len - 1); /* without the comma */
    memcpy(whole + strlen(event) + len - 1, "}\n", 2);
    write_bytes(in_folder("item"), whole, strlen(event) + len + 1);
    free(whole);
    coded = process_run(&(struct start){
            .argv = (const char *const[]){"/bin/sh", "-c", format("base64 -w0 '%s'", in_folder("item")), NULL}});
    sim_faults(format("[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'times': 1, 'live': true, 'action': "
                      "{'rawBase64': '%s'}}]",
            coded.out));
    expect_at_work();
    wait_until(count_of(process_err(controller), "is left alone") > told);
    expect_at_work();
    expect_number(sim_count("jobs", "delete"), 3);
    expect(sim_count("jobs", "list") <= 2, "%d lists", (int)sim_count("jobs", "list"));
    controller_stop(controller);
}

#define ITEM(inside) \
    "{\"metadata\":{\"name\":\"odd\",\"namespace\":\"shop\",\"uid\":\"0dd0\",\"resourceVersion\":\"1\"," inside \
    "},\"status\":{\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\",\"lastTransitionTime\":" \
    "\"2026-01-01T00:00:00Z\"}]}},"

START_TEST(a_nul_byte_in_an_item_leaves_it_alone_and_nothing_else) {
    static const char item[] = ITEM("\"labels\":{\"a\":\"b\0c\"}");
    survive_item(item, sizeof item - 1);
}
END_TEST

START_TEST(invalid_utf_8_in_an_item_leaves_it_alone_and_nothing_else) {
    static const char item[] = ITEM("\"labels\":{\"a\":\"\xc3\x28 \xff\xfe \xed\xa0\x80\"}");
    survive_item(item, sizeof item - 1);
}
END_TEST

START_TEST(a_key_that_comes_twice_in_an_item_leaves_it_alone_and_nothing_else) {
    static const char item[] = ITEM("\"annotations\":{\"sexton.dev/hold\":\"true\",\"sexton.dev/hold\":\"false\"}");
    survive_item(item, sizeof item - 1);
}
END_TEST

Suite *suite_broken(void) {
    const TTest *const tests[] = {
            a_list_whose_json_stops_short_in_good_order_deletes_nothing_until_it_is_whole,
            a_watch_whose_json_stops_short_in_good_order_goes_on_without_a_new_list,
            a_list_that_is_reset_in_the_middle_of_a_chunk_deletes_nothing_until_it_is_whole,
            a_watch_that_is_reset_in_the_middle_of_a_chunk_goes_on_and_loses_nothing,
            a_stream_of_nothing_but_bookmarks_moves_the_place_from_which_a_watch_resumes,
            a_job_of_2_mb_is_recorded_and_deleted_as_any_other,
            an_item_nested_10000_deep_is_survived_in_list_and_watch_and_deletes_nothing,
            a_nul_byte_in_an_item_leaves_it_alone_and_nothing_else,
            invalid_utf_8_in_an_item_leaves_it_alone_and_nothing_else,
            a_key_that_comes_twice_in_an_item_leaves_it_alone_and_nothing_else,
            NULL,
    };
    return suite_of("broken", tests);
}

Suite *suite_silent(void) {
    const TTest *const tests[] = {
            a_watch_that_is_silent_for_good_is_given_up_at_its_own_deadline_and_loses_nothing,
            a_watch_whose_other_end_has_vanished_is_given_up_by_tcp_and_loses_nothing,
            headers_and_then_silence_to_a_list_are_given_up_after_two_minutes,
            headers_and_then_silence_to_a_delete_are_looked_into_and_never_done_twice,
            headers_and_then_silence_to_a_watch_hold_up_nothing_else,
            a_list_at_one_byte_a_second_is_given_up_after_two_minutes_and_asked_for_again,
            a_watch_at_one_byte_a_second_is_no_failure_and_holds_up_nothing_else,
            NULL,
    };
    return suite_of("silent", tests);
}
