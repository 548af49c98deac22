/* Rates, and a register that does not keep up. */
#include "suites.h"

#include <signal.h>
#include <string.h>

START_TEST(delete_qps_is_a_bound) {
    sim_start(NULL);
    configure("[sexton]\ndelete-qps = 10\n");
    struct job last = {0};
    for (int i = 0; i < 24; i++)
        last = put_job(.name = format("job-%02d", i), .ended_s = 60);
    struct process *controller = controller_start();
    int64_t times[64];
    wait_until(sim_objects("jobs") == 0);
    int n = deletion_times(times, 64);
    expect_number(n, 24);
    /* A second's worth at once, and then ten a second; the clocks of two processes are a little apart. */
    expect(times[n - 1] - times[0] >= 1000, "24 deletions within %d ms", (int)(times[n - 1] - times[0]));
    wait_until(row_is(&last, "deleted", "ttl"));
    controller_stop(controller);
}
END_TEST

START_TEST(max_in_flight_is_a_bound) {
    sim_start(NULL);
    configure("[sexton]\nmax-in-flight = 2\n");
    sim_faults("[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'delayMs': 250}}]");
    for (int i = 0; i < 6; i++)
        put_job(.name = format("job-%d", i), .ended_s = 60);
    struct process *controller = controller_start();
    int64_t times[16];
    wait_until(sim_objects("jobs") == 0);
    expect_number(deletion_times(times, 16), 6);
    for (int i = 2; i < 6; i++)
        expect(times[i] - times[i - 2] >= 240, "three in flight: %d ms", (int)(times[i] - times[i - 2]));
    controller_stop(controller);
}
END_TEST

START_TEST(without_a_register_nothing_is_deleted) {
    sim_start(NULL);
    struct job first = put_job(.name = "first", .ended_s = 60);
    struct process *controller = controller_start();
    expect_recorded_and_deleted(&first, 0);
    wait_until_synced(controller);
    /* We hold the register: nothing can be written. */
    sql_lock();
    struct job job = put_job(.name = "second", .ended_s = 60);
    wait_until(has_logged(controller, "the register cannot be written"));
    expect(job_exists(&job), "it was deleted without a record");
    expect_number(deletions_of(&job).count, 0);
    sql_unlock();
    expect_recorded_and_deleted(&job, 0);
    wait_until(has_logged(controller, "the register can be written again"));
    controller_stop(controller);
}
END_TEST

START_TEST(sigterm_ends_in_time_when_the_register_is_locked_and_nothing_is_lost) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job first = put_job(.name = "first", .ended_s = 60);
    expect_recorded_and_deleted(&first, 0);
    sql_lock();
    struct job job = put_job(.name = "second", .ended_s = 60);
    struct job kept = put_job(.name = "third", .failed = true);
    int64_t began_ms = mono_ms();
    process_signal(controller, SIGTERM);
    int code = process_wait(controller);
    expect(code == 0 || code == 1, "it ended with %d", code);
    expect(mono_ms() - began_ms < 12000, "it took %d ms to end", (int)(mono_ms() - began_ms));
    expect(job_exists(&job), "it was deleted without a record");
    sql_unlock();
    controller = controller_start();
    expect_recorded_and_deleted(&job, 0);
    wait_until(row_is(&kept, "due", ""));
    controller_stop(controller);
}
END_TEST

START_TEST(every_line_of_a_json_log_is_json) {
    sim_start(NULL);
    configure("[sexton]\nlog-format = json\nlog-level = debug\n");
    put_job(.name = "one", .ended_s = 60);
    put_job(.name = "odd", .failed = true, .ended_s = 60,
            .annotations = "'sexton.dev/hold': 'a \\'b\\' \\u001b[1m \u00e4 = c'");
    sim_faults("[{'match': {'verb': 'delete'}, 'times': 1, 'action': {'status': 500, 'message': 'a \\'quoted\\' "
               "word\\n'}}]");
    struct process *controller = controller_start();
    wait_until(sim_objects("jobs") == 1);
    controller_stop(controller);
    const char *at = process_err(controller);
    int lines = 0;
    for (size_t len; *at; at += len + 1, lines++) {
        len = strcspn(at, "\n");
        json_t *line = json_loadb(at, len, JSON_REJECT_DUPLICATES, NULL);
        expect(json_is_object(line) && json_object_get(line, "time") && json_object_get(line, "level") &&
                        json_object_get(line, "msg"),
                "%.*s", (int)len, at);
        json_decref(line);
    }
    expect(lines >= 6, "%d lines", lines);
    expect_contains(process_err(controller), "\"job\":\"shop/odd\"");
}
END_TEST

Suite *suite_limits(void) {
    const TTest *const tests[] = {
            delete_qps_is_a_bound,
            max_in_flight_is_a_bound,
            without_a_register_nothing_is_deleted,
            sigterm_ends_in_time_when_the_register_is_locked_and_nothing_is_lost,
            every_line_of_a_json_log_is_json,
            NULL,
    };
    return suite_of("limits", tests);
}
