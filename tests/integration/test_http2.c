/* Many requests on one connection of HTTP/2, and what becomes of them when it ends. */
#include "suites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOBS 40
#define IN_FLIGHT 8

static struct process *front;

/* kubesim behind h2front; returns a kubeconfig that leads to it. cut: as its --cut has it, or NULL. */
static const char *start_behind_front(const char *cut) {
    sim_start(NULL);
    make_certificate("front", "kubesim", "-addext subjectAltName=IP:127.0.0.1");
    const char *binary = getenv("KUBESIM_BIN"), *slash = binary ? strrchr(binary, '/') : NULL;
    front = process_start(&(struct start){
            .argv = (const char *const[]){
                    binary ? format("%.*s/h2front", slash ? (int)(slash - binary) : 1, slash ? binary : ".")
                           : "build/h2front",
                    "--backend", format("%d", sim_port()), "--cert", in_folder("front.crt"), "--key",
                    in_folder("front.key"), cut ? "--cut" : NULL, cut, NULL}});
    wait_until(strchr(process_out(front), '\n') || process_has_ended(front));
    int port = 0;
    if (sscanf(process_out(front), "h2front listening on %d", &port) != 1)
        test_fail("h2front did not start");
    const char *text = read_file(sim_kubeconfig()), *at = strstr(text, sim_url());
    return write_file("front.yaml", format("%.*shttps://127.0.0.1:%d\n    certificate-authority: front.crt%s",
                                            (int)(at - text), text, port, at + strlen(sim_url())));
}

/* All of them, by as many DELETEs as there are Jobs: none was sent again to the server that had done it. Returns the
 * controller's log. */
static const char *drain(const char *cut) {
    const char *path = start_behind_front(cut);
    configure(format("[sexton]\ndelete-qps = 0\nmax-in-flight = %d\n", IN_FLIGHT));
    struct job jobs[JOBS];
    for (int i = 0; i < JOBS; i++)
        jobs[i] = put_job(.name = format("job-%02d", i), .ended_s = 60);
    struct process *controller = controller_start("--kubeconfig", path);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == JOBS);
    expect_number(sql_number("SELECT count(*) FROM runs WHERE delete_cause NOT IN ('ttl', 'unknown')"), 0);
    /* Each of them by one, and not before it was on record. */
    expect_number(sim_count("jobs", "delete"), JOBS);
    for (int i = 0; i < JOBS; i += 7) {
        struct deletion deletion = deletions_of(&jobs[i]);
        expect(deletion.count == 1 && deletion.done == 1, "%s: %d DELETEs, %d with an effect", jobs[i].name,
                deletion.count, deletion.done);
        expect(row_number(&jobs[i], "delete_requested_at") <= deletion.first_ms, "%s was deleted before the intent",
                jobs[i].name);
    }
    expect_number(sim_objects("jobs"), 0);
    expect_number(sql_number("SELECT count(*) FROM runs"), JOBS);
    /* The watches have connections of their own, and nothing happened to them. */
    expect_number(sim_count("jobs", "watch"), 1);
    expect_number(sim_count("jobs", "list"), 1);
    wait_until_synced(controller);
    controller_stop(controller);
    return process_err(controller);
}

static int cuts(const char *name) {
    return count_of(process_err(front), format("cut %s with %d in flight", name, IN_FLIGHT));
}

START_TEST(deletions_share_one_connection_of_http_2_and_watches_have_their_own) {
    drain(NULL);
    expect_number(count_of(process_err(front), "connection h2"), 1);
    expect(count_of(process_err(front), "connection http/1.1") >= 3, "the watches share");
}
END_TEST

START_TEST(deletions_that_a_goaway_leaves_out_are_looked_at_and_sent_again) {
    const char *log = drain("goaway:8:2:2");
    expect(cuts("goaway") >= 1, "nothing was cut");
    /* Whether those that the server did not take were taken by somebody is looked at, each once. */
    expect(count_of(log, "is tried again") <= 2 * (IN_FLIGHT - 2), "%d", count_of(log, "is tried again"));
    expect(sim_count("jobs", "get") <= 2 * (IN_FLIGHT - 2), "%d looks", (int)sim_count("jobs", "get"));
}
END_TEST

START_TEST(a_goaway_that_takes_all_that_are_in_flight_costs_nothing) {
    const char *log = drain("graceful:8:8:2");
    expect(cuts("graceful") >= 1, "nothing was cut");
    expect_number(count_of(log, "is tried again"), 0);
    expect_number(sim_count("jobs", "get"), 0);
}
END_TEST

START_TEST(deletions_whose_streams_are_reset_are_looked_at_and_never_done_twice) {
    drain("rst:8:3:2");
    expect(cuts("rst") >= 1, "nothing was cut");
    expect(sim_count("jobs", "get") >= 1, "it did not look");
}
END_TEST

START_TEST(deletions_whose_connection_is_reset_are_looked_at_and_never_done_twice) {
    drain("close:8:3:2");
    expect(cuts("close") >= 1, "nothing was cut");
    expect(sim_count("jobs", "get") >= 1, "it did not look");
}
END_TEST

Suite *suite_http2(void) {
    const TTest *const tests[] = {
            deletions_share_one_connection_of_http_2_and_watches_have_their_own,
            deletions_that_a_goaway_leaves_out_are_looked_at_and_sent_again,
            a_goaway_that_takes_all_that_are_in_flight_costs_nothing,
            deletions_whose_streams_are_reset_are_looked_at_and_never_done_twice,
            deletions_whose_connection_is_reset_are_looked_at_and_never_done_twice,
            NULL,
    };
    return suite_of("http2", tests);
}
