#include "serve/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "serve/address.h"

#define BACKLOG 64 /* twice the connections: probes wait there while the places are taken */

/* One connection. */
struct peer {
    int fd;
    int64_t cut_ms; /* monotonic: when its time is up */
    bool cut;
    struct peer *next, *prev;
};

struct server {
    struct MHD_Daemon *daemon;
    struct loop_reader *reader;
    struct loop_timer *timer;
    size_t held;        /* bytes of answers that clients have not taken yet */
    struct peer *peers; /* oldest first */
    bool place_free;    /* a connection ended in this turn */
    char address[ADDRESS_TEXT_MAX];
    size_t n_routes;
    struct server_route routes[];
};

/* The text of an answer on its way. */
struct held {
    struct server *server;
    size_t len;
    char *text;
};

/* ---- answers ---- */

static void held_free(void *arg) {
    struct held *held = arg;
    held->server->held -= held->len;
    free(held->text);
    free(held);
}

/* Takes the text. NULL: there is no memory, or no room. */
static struct MHD_Response *make_response(struct server *server, char *text, size_t len) {
    struct held *held = server->held + len <= SERVER_ANSWERS_MAX ? calloc(1, sizeof *held) : NULL;
    if (!held) {
        free(text);
        return NULL;
    }
    *held = (struct held){.server = server, .len = len, .text = text};
    server->held += len;
    struct MHD_Response *response =
            MHD_create_response_from_buffer_with_free_callback_cls(len, held->text, held_free, held);
    if (!response)
        held_free(held);
    return response;
}

/* MHD_NO closes the connection. */
static enum MHD_Result send_answer(
        struct server *server, struct MHD_Connection *connection, struct server_answer *answer) {
    size_t len = answer->body.len;
    char *text = strbuf_take(&answer->body);
    struct MHD_Response *response = text ? make_response(server, text, len) : NULL;
    if (!response)
        return MHD_NO;
    enum MHD_Result queued = MHD_NO;
    if (MHD_add_response_header(response, "Content-Type", answer->content_type) == MHD_YES &&
            MHD_add_response_header(response, "Cache-Control", "no-store") == MHD_YES &&
            MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
            MHD_add_response_header(response, "Connection", "close") == MHD_YES &&
            (answer->status != MHD_HTTP_METHOD_NOT_ALLOWED ||
                    MHD_add_response_header(response, "Allow", "GET, HEAD") == MHD_YES))
        queued = MHD_queue_response(connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return queued;
}

static const struct server_route *find_route(const struct server *server, const char *path) {
    for (size_t i = 0; i < server->n_routes; i++) {
        if (strcmp(server->routes[i].path, path) == 0)
            return &server->routes[i];
    }
    return NULL;
}

static void refuse(struct server_answer *answer, int status, const char *why) {
    strbuf_clear(&answer->body);
    answer->status = status;
    answer->content_type = SERVER_TEXT;
    strbuf_add_text(&answer->body, why);
}

static void tell_where_to_look(const struct server *server, struct server_answer *answer) {
    refuse(answer, MHD_HTTP_NOT_FOUND, "there is nothing here; look at");
    for (size_t i = 0; i < server->n_routes; i++)
        strbuf_add_format(&answer->body, "%s %s", i ? "," : "", server->routes[i].path);
    strbuf_add_char(&answer->body, '\n');
}

static bool has_body(struct MHD_Connection *connection) {
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    return (length && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding");
}

/* Called when a request's headers are there. Whatever is answered then, the connection is closed after it. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path, const char *method,
        const char *version, const char *upload, size_t *upload_size, void **request_arg) {
    (void)version;
    (void)upload;
    (void)upload_size;
    (void)request_arg;
    struct server *server = arg;
    struct server_answer answer = {
            .status = MHD_HTTP_OK, .content_type = SERVER_TEXT, .body = STRBUF_INIT(SERVER_ANSWER_MAX)};
    const struct server_route *route = find_route(server, path);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        refuse(&answer, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    } else if (has_body(connection)) {
        refuse(&answer, MHD_HTTP_CONTENT_TOO_LARGE, "a request has no body here\n");
    } else if (!route) {
        tell_where_to_look(server, &answer);
    } else {
        const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
        const struct server_request request = {.path = route->path, .accept = accept ? accept : ""};
        route->answer(route->arg, &request, &answer);
        if (strbuf_failed(&answer.body))
            refuse(&answer, MHD_HTTP_INTERNAL_SERVER_ERROR,
                    answer.body.no_memory ? "out of memory\n" : "the answer would be too long\n");
    }
    enum MHD_Result result = send_answer(server, connection, &answer);
    strbuf_finish(&answer.body);
    return result;
}

/* ---- the loop's turns ---- */

static void on_connection(
        void *arg, struct MHD_Connection *connection, void **socket_arg, enum MHD_ConnectionNotificationCode what) {
    struct server *server = arg;
    struct peer *peer = *socket_arg;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        server->place_free = true;
        if (peer)
            DL_DELETE(server->peers, peer);
        free(peer);
        *socket_arg = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    peer = info ? calloc(1, sizeof *peer) : NULL;
    *socket_arg = peer;
    if (!peer)
        return; /* without it there is still the limit on its silence */
    *peer = (struct peer){.fd = info->connect_fd, .cut_ms = clock_mono_ms() + SERVER_CONNECTION_MAX_MS};
    DL_APPEND(server->peers, peer);
}

/* libmicrohttpd sees the end of the connection, and does the rest. Returns in how many ms the next one's time is up,
 * at most SERVER_CONNECTION_MAX_MS. */
static int64_t cut_off(struct server *server) {
    int64_t now_ms = clock_mono_ms();
    struct peer *peer;
    DL_FOREACH (server->peers, peer) {
        if (peer->cut_ms > now_ms)
            return peer->cut_ms - now_ms;
        if (!peer->cut)
            shutdown(peer->fd, SHUT_RDWR);
        peer->cut = true;
    }
    return SERVER_CONNECTION_MAX_MS;
}

static void turn(void *arg) {
    struct server *server = arg;
    int64_t wait_ms = cut_off(server);
    server->place_free = false;
    (void)MHD_run(server->daemon);
    /* Its epoll is edge-triggered: what it left for later is told by this time-out alone. */
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    if (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES && (int64_t)timeout_ms < wait_ms)
        wait_ms = (int64_t)timeout_ms;
    /* Where all places were taken, it listens again only at the next run after one is free. */
    if (server->place_free)
        wait_ms = 0;
    if (server->peers || wait_ms < SERVER_CONNECTION_MAX_MS)
        loop_timer_start(server->timer, wait_ms);
    else
        loop_timer_stop(server->timer);
}

static void on_readable(void *arg, int fd) {
    (void)fd;
    turn(arg);
}

/* ---- life ---- */

__attribute__((format(printf, 2, 0))) static void on_log(void *arg, const char *format, va_list args) {
    (void)arg;
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("serving", log_text("told", text));
}

static int explain(const char *address, int number, struct error *err) {
    const char *hint = number == EADDRINUSE ? "another process has it: end that one, or listen elsewhere"
                       : number == EADDRNOTAVAIL
                               ? "this machine has no such address: take one that it has, or only :PORT"
                       : number == EACCES ? "ports below 1024 are for root: take a higher one"
                                          : strerror(number);
    return error_set(err, ERROR_USAGE, "cannot listen on %s: %s", address, hint);
}

/* -1 with errno. */
static int open_socket(const struct address *address) {
    const int yes = 1, v6_only = !address->both;
    int family = address->socket.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
            (family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only) == 0) &&
            bind(fd, &address->socket.any, address->len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

static int listen_on(struct server *server, const char *listen, struct error *err) {
    struct address address;
    if (address_parse(listen, &address, err) < 0)
        return -1;
    int fd = open_socket(&address);
    if (fd < 0 && address.both && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        /* A machine without IPv6. */
        in_port_t port = address.socket.v6.sin6_port;
        address = (struct address){
                .socket.v4 = {.sin_family = AF_INET, .sin_port = port}, .len = sizeof(struct sockaddr_in)};
        fd = open_socket(&address);
    }
    if (fd < 0)
        return explain(listen, errno, err);
    address.len = sizeof address.socket;
    if (getsockname(fd, &address.socket.any, &address.len) < 0) {
        explain(listen, errno, err);
        close(fd);
        return -1;
    }
    address_format(&address, server->address);
    return fd;
}

static int start(struct server *server, struct loop *loop, int fd, struct error *err) {
    server->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, server,
            MHD_OPTION_EXTERNAL_LOGGER, on_log, server,                                                //
            MHD_OPTION_LISTEN_SOCKET, fd,                                                              //
            MHD_OPTION_CONNECTION_LIMIT, (unsigned)SERVER_CONNECTIONS_MAX,                             //
            MHD_OPTION_PER_IP_CONNECTION_LIMIT, (unsigned)SERVER_CONNECTIONS_PER_IP_MAX,               //
            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(SERVER_SILENCE_MAX_MS / 1000),                   //
            MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)SERVER_REQUEST_MAX,                            //
            MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, //
            MHD_OPTION_END);
    if (!server->daemon) {
        /* It closes the socket or not, as far as it came: the caller's process is about to end anyway. */
        return error_set(err, ERROR_IO, "cannot serve on %s: libmicrohttpd does not start", server->address);
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info)
        return error_set(err, ERROR_IO, "cannot serve on %s: libmicrohttpd has no epoll", server->address);
    server->timer = loop_timer_create(loop, turn, server, err);
    server->reader = server->timer ? loop_reader_create(loop, info->epoll_fd, on_readable, server, err) : NULL;
    if (!server->reader)
        return -1;
    loop_timer_start(server->timer, 0);
    return 0;
}

int server_create(struct loop *loop, const char *listen, const struct server_route *routes, size_t n,
        struct server **ret, struct error *err) {
    struct server *server = calloc(1, sizeof *server + n * sizeof *routes);
    if (!server)
        return error_nomem(err);
    memcpy(server->routes, routes, n * sizeof *routes);
    server->n_routes = n;
    int fd = listen_on(server, listen, err);
    if (fd < 0 || start(server, loop, fd, err) < 0) {
        server_destroy(server);
        return -1;
    }
    *ret = server;
    return 0;
}

void server_destroy(struct server *server) {
    if (!server)
        return;
    loop_reader_destroy(server->reader);
    loop_timer_destroy(server->timer);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    free(server);
}

const char *server_address(const struct server *server) {
    return server->address;
}
