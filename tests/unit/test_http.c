/*
 * The last moments of a request, over real sockets: what is withheld does not reach the server, what was sent is never
 * sent twice. A server of a few lines runs in a thread.
 */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
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

static SSL_CTX *_Atomic tls; /* NULL: plain */
static atomic_int sessions;  /* TLS handshakes that took up a session of before */

static _Atomic(const char *) refusal; /* what each head is answered with; NULL: nothing before its body is here */

static char seen[4096]; /* the request that came last */

static ssize_t receive(int fd, SSL *ssl, char *data, size_t room) {
    return ssl ? SSL_read(ssl, data, (int)room) : read(fd, data, room);
}

static ssize_t reply(int fd, SSL *ssl, const char *data, size_t len) {
    return ssl ? SSL_write(ssl, data, (int)len) : write(fd, data, len);
}

static void serve(int fd, SSL *ssl) {
    char text[sizeof seen];
    size_t len = 0;
    bool headed = false;
    for (ssize_t n; (n = receive(fd, ssl, text + len, sizeof text - 1 - len)) > 0;) {
        len += (size_t)n;
        text[len] = '\0';
        const char *end = strstr(text, "\r\n\r\n");
        if (end && !headed) {
            headed = true;
            heads++;
        }
        if (end && refusal) {
            ck_assert(reply(fd, ssl, refusal, strlen(refusal)) > 0);
            return;
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
        ck_assert(reply(fd, ssl, answer, sizeof answer - 1) > 0);
        len = 0;
        headed = false;
    }
}

static void serve_tls(int fd) {
    SSL *ssl = SSL_new(tls);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        sessions += SSL_session_reused(ssl);
        serve(fd, ssl);
    }
    SSL_free(ssl);
}

static void *server_main(void *arg) {
    (void)arg;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        connections++;
        if (tls)
            serve_tls(fd);
        else
            serve(fd, NULL);
        close(fd);
    }
    return NULL;
}

static const char *header; /* of the requests that follow */
static bool by_proxy;      /* the server is one, and theirs is behind it */
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
    heads = bodies = halves = connections = sessions = 0;
    answers = 1000;
    ck_assert_int_eq(pthread_create(&server, NULL, server_main, NULL), 0);
}

static void setup(void) {
    struct error err = {0};
    start_server();
    header = "X-Test: 1";
    signal(SIGPIPE, SIG_IGN);
    ck_assert_ptr_nonnull(loop = loop_create(&err));
    ck_assert_ptr_nonnull(http = http_create(loop, &err));
}

/* What libcurl takes for the time, which tests may move on. */
static atomic_int ahead_s;

static void teardown(void) {
    ahead_s = 0;
    http_destroy(http);
    loop_destroy(loop);
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
}

/* All libraries ask this one. */
int clock_gettime(clockid_t id, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, id, now);
    if (result == 0 && (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_RAW))
        now->tv_sec += ahead_s;
    return result;
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
    char proxy[64];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", port);
    snprintf(url, sizeof url, "%s://127.0.0.1:%d/", tls ? "https" : "http", port);
    if (by_proxy)
        snprintf(url, sizeof url, "https://kubernetes.invalid/"); /* not an address that needs no proxy */
    const struct http_target target = {.insecure = true, .proxy_url = by_proxy ? proxy : NULL};
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

START_TEST(what_a_proxy_does_not_pass_on_is_told_as_not_sent) {
    struct sent sent = {.yes = 1};
    by_proxy = true;
    refusal = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    send_delete(&sent);
    by_proxy = false;
    refusal = NULL;
    ck_assert_int_eq(heads, 1);
    ck_assert_int_eq(sent.asked, 0);
    ck_assert_int_eq(sent.result.status, 0);
    ck_assert(!sent.result.sent && !sent.result.withheld);
    ck_assert_ptr_nonnull(sent.result.failure);
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

START_TEST(a_connection_that_is_in_use_all_the_time_is_given_up_after_five_minutes) {
    for (int s = 0; s <= HTTP_LIFETIME_S; s += 100) {
        send_delete(&(struct sent){.yes = 1});
        ck_assert_int_eq(connections, 1);
        ahead_s += 100;
    }
    send_delete(&(struct sent){.yes = 1});
    ck_assert_int_eq(connections, 2);
}
END_TEST

/* A server's certificate that nobody vouches for. */
static SSL_CTX *make_tls(void) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ck_assert(ctx && key && cert);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    ck_assert(X509_set_pubkey(cert, key) && X509_sign(cert, key, EVP_sha256()));
    ck_assert_int_eq(SSL_CTX_use_certificate(ctx, cert), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

START_TEST(a_new_connection_shows_and_asks_for_certificates_of_its_own) {
    tls = make_tls();
    for (int i = 0; i < 3; i++) {
        answers = 1;
        struct sent answered = {.yes = 1}, cut = {.yes = 1};
        send_delete(&answered);
        ck_assert_int_eq(answered.result.status, 200);
        send_delete(&cut); /* ends the connection */
        ck_assert_int_eq(cut.result.status, 0);
    }
    ck_assert_int_ge(connections, 3);
    ck_assert_int_eq(sessions, 0);
    SSL_CTX_free(tls);
    tls = NULL;
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
    tcase_add_test(tcase, what_a_proxy_does_not_pass_on_is_told_as_not_sent);
    tcase_add_test(tcase, another_login_and_another_body_are_what_is_sent_next);
    tcase_add_test(tcase, a_delete_on_a_reused_connection_that_ends_without_an_answer_is_not_sent_again);
    tcase_add_test(tcase, what_is_not_acknowledged_is_thrown_away_after_the_time_that_is_set);
    tcase_add_test(tcase, half_a_minute_is_the_time_if_none_is_set);
    tcase_add_test(tcase, a_connection_that_is_in_use_all_the_time_is_given_up_after_five_minutes);
    tcase_add_test(tcase, a_new_connection_shows_and_asks_for_certificates_of_its_own);
    suite_add_tcase(suite, tcase);
    return suite;
}
