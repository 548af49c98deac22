/*
 * The last moments of a request, over real sockets: what is withheld does not reach the server, what was sent is never
 * sent twice. A server of a few lines runs in a thread.
 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "kube/http.h"
#include "suites.h"

#define PATIENCE_MS 5000
#define FD_MAX 256

static const char body[] = "{\"preconditions\":{}}";

/* ---- the server: one connection after the other, and on each one request after the other ---- */

static int listener, port;
static pthread_t server;
static atomic_int heads, bodies; /* requests whose head, and whose body, came whole */
static atomic_int halves;        /* heads that came without their body */
static atomic_int connections;
static atomic_int answers; /* how many to answer; then connections are closed instead */

static char seen[4096]; /* the request that came last */

static void serve(int fd) {
    char text[sizeof seen];
    size_t len = 0;
    bool headed = false;
    for (ssize_t n; (n = read(fd, text + len, sizeof text - 1 - len)) > 0;) {
        len += (size_t)n;
        text[len] = '\0';
        const char *end = strstr(text, "\r\n\r\n");
        if (end && !headed) {
            headed = true;
            heads++;
        }
        if (!end || strlen(end + 4) < sizeof body - 1) {
            halves++;
            continue;
        }
        bodies++;
        memcpy(seen, text, len + 1);
        if (answers-- <= 0)
            return;
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        ck_assert(write(fd, answer, sizeof answer - 1) > 0);
        len = 0;
        headed = false;
    }
}

static void *server_main(void *arg) {
    (void)arg;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        connections++;
        serve(fd);
        close(fd);
    }
    return NULL;
}

static const char *header; /* of the requests that follow */
static struct loop *loop;
static struct http *http;

static void start_server(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 16), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    port = ntohs(address.sin_port);
    heads = bodies = halves = connections = 0;
    answers = 1000;
    ck_assert_int_eq(pthread_create(&server, NULL, server_main, NULL), 0);
}

static void setup(void) {
    struct error err = {0};
    start_server();
    header = "X-Test: 1";
    ck_assert_ptr_nonnull(loop = loop_create(&err));
    ck_assert_ptr_nonnull(http = http_create(loop, &err));
}

static void teardown(void) {
    http_destroy(http);
    loop_destroy(loop);
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
}

/* ---- a request ---- */

struct sent {
    int asked, yes; /* times that may_send was asked, and for how many of them it says yes */
    bool done;
    struct http_result result;
};

static bool may_send(void *arg) {
    struct sent *sent = arg;
    return ++sent->asked <= sent->yes;
}

static void on_done(void *arg, const struct http_result *result) {
    struct sent *sent = arg;
    sent->done = true;
    sent->result = *result;
    loop_stop(loop);
}

static void on_time_out(void *arg) {
    (void)arg;
    ck_abort_msg("no end came");
}

static void send_body(struct sent *sent, const char *text) {
    char url[64];
    struct error err = {0};
    const char *const headers[] = {"Expect:", header, NULL};
    static const struct http_target target = {0};
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    const struct http_request request = {.method = "DELETE",
            .url = url,
            .headers = headers,
            .body = text,
            .target = &target,
            .lane = HTTP_LANE_SHARED,
            .timeout_ms = PATIENCE_MS / 2,
            .arg = sent,
            .may_send = may_send,
            .on_done = on_done};
    struct loop_timer *patience = loop_timer_create(loop, on_time_out, NULL, &err);
    loop_timer_start(patience, PATIENCE_MS);
    ck_assert_ptr_nonnull(http_start(http, &request, &err));
    loop_run(loop);
    loop_timer_destroy(patience);
    ck_assert(sent->done);
}

static void send_delete(struct sent *sent) {
    send_body(sent, body);
}

START_TEST(what_may_be_sent_is_asked_for_once_and_then_leaves_in_one_piece) {
    for (int i = 1; i <= 3; i++) {
        struct sent sent = {.yes = 1};
        send_delete(&sent);
        ck_assert_int_eq(sent.result.status, 200);
        ck_assert(!sent.result.withheld && sent.result.sent);
        ck_assert_int_eq(sent.asked, 1);
        ck_assert_int_eq(bodies, i);
    }
    ck_assert_int_eq(halves, 0);
    ck_assert_int_eq(connections, 1);
}
END_TEST

START_TEST(what_is_withheld_when_its_connection_is_ready_never_reaches_the_server) {
    struct sent sent = {.yes = 0}, after = {.yes = 1000};
    send_delete(&sent);
    ck_assert(sent.result.withheld && !sent.result.sent);
    ck_assert_int_eq(sent.result.status, 0);
    ck_assert_ptr_nonnull(sent.result.failure);
    /* And nobody waits because of it. */
    send_delete(&after);
    ck_assert_int_eq(after.result.status, 200);
    ck_assert_int_eq(heads, 1);
    ck_assert_int_eq(bodies, 1);
}
END_TEST

START_TEST(what_was_answered_before_does_not_show_in_what_is_withheld_after_it) {
    struct sent first = {.yes = 1}, second = {.yes = 0}, third = {.yes = 1};
    send_delete(&first);
    send_delete(&second);
    ck_assert(second.result.withheld && !second.result.sent);
    ck_assert_int_eq(second.result.status, 0);
    ck_assert_int_eq(second.asked, 1);
    send_delete(&third);
    ck_assert_int_eq(third.result.status, 200);
    ck_assert_ptr_null(third.result.failure);
    ck_assert_int_eq(heads, 2);
}
END_TEST

START_TEST(what_found_nobody_is_told_as_not_sent_whatever_was_before) {
    struct sent first = {.yes = 1}, second = {.yes = 1};
    answers = 1;
    send_delete(&first);
    ck_assert_int_eq(first.result.status, 200);
    send_delete(&(struct sent){.yes = 1}); /* ends the connection */
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
    send_delete(&second);
    ck_assert_int_eq(second.result.status, 0);
    ck_assert(!second.result.sent && !second.result.withheld);
    ck_assert_ptr_nonnull(second.result.failure);
    start_server();
}
END_TEST

START_TEST(another_login_and_another_body_are_what_is_sent_next) {
    struct sent sent = {.yes = 3};
    const char *const logins[] = {"Authorization: Bearer a", "Authorization: Bearer b", "Authorization: Bearer b"};
    for (int i = 0; i < 3; i++) {
        char text[] = "{\"preconditions\":{}}";
        text[2] = (char)('a' + i);
        header = logins[i];
        send_body(&sent, text);
        ck_assert_int_eq(sent.result.status, 200);
        ck_assert_ptr_nonnull(strstr(seen, logins[i]));
        ck_assert_ptr_nonnull(strstr(seen, text));
    }
    ck_assert_int_eq(bodies, 3);
}
END_TEST

START_TEST(a_delete_on_a_reused_connection_that_ends_without_an_answer_is_not_sent_again) {
    struct sent first = {.yes = 1000}, second = {.yes = 1000};
    answers = 1;
    send_delete(&first);
    ck_assert_int_eq(first.result.status, 200);
    send_delete(&second);
    ck_assert_int_eq(second.result.status, 0);
    ck_assert(second.result.sent && !second.result.withheld);
    ck_assert_int_eq(heads, 2);
    ck_assert_int_eq(bodies, 2);
}
END_TEST

/* Of the connection to the server. */
static unsigned user_timeout_ms(void) {
    for (int fd = 3; fd < FD_MAX; fd++) {
        struct sockaddr_in peer = {0};
        socklen_t len = sizeof peer;
        unsigned timeout_ms = 0;
        socklen_t size = sizeof timeout_ms;
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET &&
                ntohs(peer.sin_port) == port && getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, &size) == 0)
            return timeout_ms;
    }
    ck_abort_msg("there is no connection to the server");
}

START_TEST(what_is_not_acknowledged_is_thrown_away_after_the_time_that_is_set) {
    struct sent sent = {.yes = 1000};
    http_set_user_timeout(http, HTTP_LANE_SHARED, 1234);
    send_delete(&sent);
    ck_assert_uint_eq(user_timeout_ms(), 1234);
}
END_TEST

START_TEST(half_a_minute_is_the_time_if_none_is_set) {
    struct sent sent = {.yes = 1000};
    send_delete(&sent);
    ck_assert_uint_eq(user_timeout_ms(), HTTP_TCP_USER_TIMEOUT_MS);
}
END_TEST

Suite *suite_http(void) {
    Suite *suite = suite_create("http");
    TCase *tcase = tcase_create("http");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_may_be_sent_is_asked_for_once_and_then_leaves_in_one_piece);
    tcase_add_test(tcase, what_is_withheld_when_its_connection_is_ready_never_reaches_the_server);
    tcase_add_test(tcase, what_was_answered_before_does_not_show_in_what_is_withheld_after_it);
    tcase_add_test(tcase, what_found_nobody_is_told_as_not_sent_whatever_was_before);
    tcase_add_test(tcase, another_login_and_another_body_are_what_is_sent_next);
    tcase_add_test(tcase, a_delete_on_a_reused_connection_that_ends_without_an_answer_is_not_sent_again);
    tcase_add_test(tcase, what_is_not_acknowledged_is_thrown_away_after_the_time_that_is_set);
    tcase_add_test(tcase, half_a_minute_is_the_time_if_none_is_set);
    suite_add_tcase(suite, tcase);
    return suite;
}
