/* The HTTP server: what it answers, to whom, and what it does not put up with. */
#include "suites.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"

#define CONNECTIONS_MAX 32 /* server.h's */
#define PER_IP_MAX 8

static int port;

static struct process *start(void) {
    sim_start(NULL);
    configure(LISTEN);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    port = served_port(controller);
    return controller;
}

START_TEST(only_get_and_head_of_a_few_paths_are_answered_and_others_are_told_so) {
    struct process *controller = start();
    struct asked asked = ask_for(port, "/healthz");
    expect_number(asked.code, 200);
    expect_text(asked.body, "ok loop\nok watches\n");
    expect_contains(asked.all, "Content-Type: text/plain; charset=utf-8\r\n");
    expect_contains(asked.all, "Connection: close\r\n");
    asked = ask(port, "HEAD /healthz HTTP/1.1\r\nHost: sexton\r\n\r\n");
    expect_number(asked.code, 200);
    expect_text(asked.body, "");
    expect_contains(asked.all, "Content-Length: 19\r\n");
    expect_number(ask_for(port, "/healthz?verbose").code, 200);
    expect_number(ask(port, "GET /healthz HTTP/1.0\r\n\r\n").code, 200);
    asked = ask_for(port, "/");
    expect_number(asked.code, 404);
    expect_contains(asked.body, "there is nothing here; look at /healthz, /readyz");
    expect_number(ask_for(port, "/healthz/").code, 404);
    expect_number(ask_for(port, "/../../etc/passwd").code, 404);
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        asked = ask(port, format("%s /healthz HTTP/1.1\r\nHost: sexton\r\n\r\n", methods[i]));
        expect(asked.code == 405, "%s: %d", methods[i], asked.code);
        expect_contains(asked.all, "Allow: GET, HEAD\r\n");
    }
    controller_stop(controller);
}
END_TEST

START_TEST(a_request_with_a_body_or_of_great_length_is_refused) {
    struct process *controller = start();
    expect_number(ask(port, "GET /healthz HTTP/1.1\r\nHost: sexton\r\nContent-Length: 3\r\n\r\nabc").code, 413);
    expect_number(
            ask(port, "GET /healthz HTTP/1.1\r\nHost: sexton\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").code,
            413);
    expect_number(ask(port, "GET /healthz HTTP/1.1\r\nHost: sexton\r\nContent-Length: 99999999999\r\n\r\n").code, 413);
    char much[20000];
    memset(much, 'x', sizeof much - 1);
    much[sizeof much - 1] = '\0';
    struct asked asked = ask_for(port, format("/%s", much));
    expect(asked.code == 0 || asked.code / 100 == 4, "a long path: %d", asked.code);
    asked = ask(port, format("GET /healthz HTTP/1.1\r\nHost: sexton\r\nX: %s\r\n\r\n", much));
    expect(asked.code == 0 || asked.code / 100 == 4, "a long header: %d", asked.code);
    asked = ask(port, "\x16\x03\x01\x02\r\n\r\n");
    expect(asked.code == 0 || asked.code / 100 == 4, "what is no HTTP: %d", asked.code);
    expect_number(ask_for(port, "/healthz").code, 200);
    controller_stop(controller);
}
END_TEST

START_TEST(a_port_in_use_is_told_with_what_to_do_and_exit_2) {
    struct process *controller = start();
    struct result result = sexton_here("run", "--listen", format("127.0.0.1:%d", port));
    expect_number(result.code, 2);
    expect_contains(result.err, format("cannot listen on 127.0.0.1:%d: another process has it: end that one, or listen "
                                       "elsewhere",
                                        port));
    expect(count_of(result.err, "\n") == 1, "more than a line: %s", result.err);
    controller_stop(controller);
}
END_TEST

START_TEST(what_cannot_be_listened_on_is_told_and_exit_2) {
    sim_start(NULL);
    struct result result = sexton_here("run", "--listen", "localhost:8080");
    expect_number(result.code, 2);
    expect_contains(result.err, "--listen: listen: 'localhost:8080' is not an address with a port");
    result = sexton_here("run", "--listen", "192.0.2.1:0");
    expect_number(result.code, 2);
    expect_contains(result.err, "cannot listen on 192.0.2.1:0: this machine has no such address");
    configure("[serve]\nlisten = 8080\n");
    result = sexton_here("check");
    expect_number(result.code, 2);
    expect_contains(result.err, "listen: '8080' is not an address with a port");
}
END_TEST

START_TEST(it_listens_on_ipv4_and_ipv6_when_no_address_is_given) {
    sim_start(NULL);
    struct process *controller = controller_start("--listen", ":0");
    wait_until_synced(controller);
    port = served_port(controller);
    expect_number(ask_for(port, "/healthz").code, 200);
    struct result result = process_run(&(struct start){.argv = (const char *const[]){"curl", "--noproxy", "*", "-sg",
                                                               format("http://[::1]:%d/healthz", port), NULL}});
    expect(result.code != 0 || strcmp(result.out, "ok loop\nok watches\n") == 0, "by IPv6: %s", result.out);
    controller_stop(controller);
}
END_TEST

START_TEST(without_the_option_nothing_is_served) {
    sim_start(NULL);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    expect_lacks(process_err(controller), "serving");
    expect_number(sim_count("selfsubjectaccessreviews", "create"), 0);
    controller_stop(controller);
}
END_TEST

/* ---- clients that are slow, many, or both ---- */

/* With all places of that address taken by requests that do not end. */
static void take_places(int fds[PER_IP_MAX], const char *from) {
    for (int i = 0; i < PER_IP_MAX; i++) {
        fds[i] = ask_open(port, from);
        ask_send(fds[i], "GET /healthz HT");
    }
}

START_TEST(slow_clients_hold_up_neither_the_loop_nor_others_nor_the_end) {
    struct process *controller = start();
    int slow[PER_IP_MAX];
    take_places(slow, "127.0.0.2");
    int64_t began_ms = mono_ms();
    expect_number(ask_for(port, "/healthz").code, 200);
    struct job job = put_job(.name = "one", .ended_s = 60);
    expect_recorded_and_deleted(&job, 0);
    expect(mono_ms() - began_ms < 4000, "it took %d ms", (int)(mono_ms() - began_ms));
    began_ms = mono_ms();
    controller_stop(controller);
    expect(mono_ms() - began_ms < 4000, "it took %d ms to end", (int)(mono_ms() - began_ms));
}
END_TEST

START_TEST(a_silent_client_is_cut_off_after_5_s_and_one_that_trickles_after_30) {
    sim_start(NULL);
    configure(WITHOUT_LEASE LISTEN);
    struct process *controller = controller_start_with_clock(0, 10);
    port = served_port(controller);
    wait_until_synced(controller);
    int64_t began_ms = clock_controllers_ms();
    int silent = ask_open(port, NULL), empty = ask_open(port, NULL);
    ask_send(silent, "GET /healthz HTTP/1.1\r\n");
    wait_until(ask_is_closed(silent) && ask_is_closed(empty));
    int64_t took_ms = clock_controllers_ms() - began_ms;
    expect(took_ms >= 5000 && took_ms < 20000, "silence was cut off after %d ms", (int)took_ms);
    began_ms = clock_controllers_ms();
    int trickle = ask_open(port, NULL);
    ask_send(trickle, "GET /healthz HTTP/1.1\r\nX: ");
    while (!ask_is_closed(trickle)) {
        int64_t next_ms = clock_controllers_ms() + 1500;
        ask_send(trickle, "x");
        wait_until(clock_controllers_ms() >= next_ms || ask_is_closed(trickle));
        expect(clock_controllers_ms() - began_ms < 90000, "it is never cut off");
    }
    took_ms = clock_controllers_ms() - began_ms;
    expect(took_ms >= 28000, "it was cut off after %d ms", (int)took_ms);
    expect_number(ask_for(port, "/healthz").code, 200);
    controller_stop(controller);
}
END_TEST

/* That it has accepted and not closed yet. */
static int accepted(void) {
    FILE *file = fopen("/proc/net/tcp", "r");
    char line[512];
    int n = 0;
    while (file && fgets(line, sizeof line, file)) {
        unsigned local, state, inode = 0;
        if (sscanf(line, " %*d: %*x:%x %*x:%*x %x %*s %*s %*s %*d %*d %u", &local, &state, &inode) == 3 &&
                (int)local == port && state != 0x0a && inode != 0)
            n++;
    }
    if (file)
        fclose(file);
    return n;
}

START_TEST(connections_are_bounded_by_address_and_in_all_and_places_come_free) {
    sim_start(NULL);
    configure(WITHOUT_LEASE LISTEN);
    struct process *controller = controller_start_with_clock(0, 1);
    port = served_port(controller);
    wait_until_synced(controller);
    int ninth, more[64], slow[CONNECTIONS_MAX / PER_IP_MAX][PER_IP_MAX];
    take_places(slow[0], "127.0.0.2");
    ninth = ask_open(port, "127.0.0.2");
    wait_until(ask_is_closed(ninth));
    for (int i = 1; i < CONNECTIONS_MAX / PER_IP_MAX; i++)
        take_places(slow[i], format("127.0.0.%d", i + 2));
    wait_until(accepted() == CONNECTIONS_MAX);
    for (int i = 0; i < 64; i++)
        more[i] = ask_open(port, format("127.0.1.%d", i + 1));
    struct job job = put_job(.name = "one", .ended_s = 60);
    expect_recorded_and_deleted(&job, 0);
    int now = accepted(); /* about: the kernel's list is not of one moment */
    expect(now <= CONNECTIONS_MAX + PER_IP_MAX, "%d connections", now);
    /* Who waits in line is let in when the time of those is up, and those who wait behind, when theirs is. */
    clock_speed(10);
    expect_number(ask_for(port, "/healthz").code, 200);
    for (int i = 0; i < 64; i++)
        wait_until(ask_is_closed(more[i]));
    wait_until(accepted() == 0);
    controller_stop(controller);
}
END_TEST

START_TEST(when_all_places_come_free_at_once_the_next_one_is_answered) {
    struct process *controller = start();
    int slow[CONNECTIONS_MAX / PER_IP_MAX][PER_IP_MAX];
    for (int i = 0; i < CONNECTIONS_MAX / PER_IP_MAX; i++)
        take_places(slow[i], format("127.0.0.%d", i + 2));
    wait_until(accepted() == CONNECTIONS_MAX);
    process_signal(controller, SIGSTOP);
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        close(slow[i / PER_IP_MAX][i % PER_IP_MAX]);
    process_signal(controller, SIGCONT);
    wait_until(accepted() == 0);
    expect_number(ask_for(port, "/healthz").code, 200);
    controller_stop(controller);
}
END_TEST

START_TEST(a_thousand_requests_leave_nothing_behind) {
    struct process *controller = start();
    wait_until(ask_for(port, "/readyz").code == 200);
    for (int i = 0; i < 1000; i++) {
        struct asked asked = ask_for(port, i % 3 ? "/readyz" : "/nothing");
        expect(asked.code == (i % 3 ? 200 : 404), "%d: %s", i, asked.all);
    }
    wait_until(accepted() == 0);
    controller_stop(controller);
}
END_TEST

Suite *suite_serve(void) {
    const TTest *const tests[] = {
            only_get_and_head_of_a_few_paths_are_answered_and_others_are_told_so,
            a_request_with_a_body_or_of_great_length_is_refused,
            a_port_in_use_is_told_with_what_to_do_and_exit_2,
            what_cannot_be_listened_on_is_told_and_exit_2,
            it_listens_on_ipv4_and_ipv6_when_no_address_is_given,
            without_the_option_nothing_is_served,
            slow_clients_hold_up_neither_the_loop_nor_others_nor_the_end,
            a_silent_client_is_cut_off_after_5_s_and_one_that_trickles_after_30,
            connections_are_bounded_by_address_and_in_all_and_places_come_free,
            when_all_places_come_free_at_once_the_next_one_is_answered,
            a_thousand_requests_leave_nothing_behind,
            NULL,
    };
    return suite_of("serve", tests);
}
