/*
 * h2front: HTTP/2 over TLS in front of kubesim, which speaks HTTP/1.1 only; and what HTTP/2 can do to requests in
 * flight: GOAWAY, RST_STREAM, and the end of a connection that many share.
 *
 * A client that offers h2 gets it; one that does not gets its bytes passed on. Requests are passed on one after the
 * other, each whole, but for DELETEs while a --cut is left: these wait until `held` of them are in flight on one
 * connection. Then the first `done` are passed on, and
 *   goaway    GOAWAY says that the last of these was the last; they are answered, the others never
 *   graceful  GOAWAY says that no more shall come; all of them are passed on and answered, and what was on its way
 *   rst       none is answered: RST_STREAM with INTERNAL_ERROR to the first, REFUSED_STREAM to the others
 *   close     none is answered: the connection is reset
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HELD_MAX = 64, HOLD_MS = 1000, BODY_MAX = 1 << 20 };

enum cut { CUT_GOAWAY, CUT_GRACEFUL, CUT_RST, CUT_CLOSE, CUTS };
static const char *const cut_names[] = {"goaway", "graceful", "rst", "close"};

static struct {
    int backend;
    SSL_CTX *tls;
    enum cut cut;
    int held, done;
    atomic_int cuts_left;
} front;

struct text {
    char *data;
    size_t length;
};

struct stream {
    int32_t id;
    char *method, *path, *authorization, *type;
    struct text body; /* of the request */
    struct text answer;
    size_t answer_at;
    struct stream *next;
};

struct connection {
    int fd;
    SSL *ssl;
    nghttp2_session *session;
    struct stream *streams;
    struct stream *held[HELD_MAX];
    int held_count;
    int64_t held_since_ms;
    bool over; /* when all is sent: close */
};

static int64_t now_ms(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool text_add(struct text *text, const void *data, size_t length) {
    char *bigger = text->length + length <= BODY_MAX ? realloc(text->data, text->length + length + 1) : NULL;

    if (!bigger)
        return false;
    memcpy(bigger + text->length, data, length);
    text->data = bigger;
    text->length += length;
    text->data[text->length] = '\0';
    return true;
}

/* ---- sockets ---- */

/* False: the connection is dead. */
static bool wait_for_ssl(const struct connection *c, int result) {
    int error = SSL_get_error(c->ssl, result);
    struct pollfd p = {.fd = c->fd, .events = error == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN};

    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        return false;
    return poll(&p, 1, -1) > 0;
}

static bool send_all(const struct connection *c, const void *data, size_t length) {
    size_t sent = 0;

    while (sent < length) {
        int n = SSL_write(c->ssl, (const char *)data + sent, (int)(length - sent));

        if (n > 0)
            sent += (size_t)n;
        else if (!wait_for_ssl(c, n))
            return false;
    }
    return true;
}

/* Bytes, 0 when there are none for now, -1 at the end. */
static int receive(const struct connection *c, void *buffer, size_t size) {
    int n = SSL_read(c->ssl, buffer, (int)size);
    int error = n > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, n);

    return n > 0 ? n : error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static int backend_connect(void) {
    const struct sockaddr_in address = {.sin_family = AF_INET,
            .sin_port = htons((uint16_t)front.backend),
            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* HTTP/1.1, or whatever it is: bytes. */
static void relay(const struct connection *c) {
    int fd = backend_connect();
    char buffer[16384];
    bool alive = fd >= 0;

    while (alive) {
        struct pollfd p[2] = {{.fd = c->fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

        if (!SSL_pending(c->ssl) && poll(p, 2, -1) < 0)
            break;
        if (p[0].revents || SSL_pending(c->ssl)) {
            int n = receive(c, buffer, sizeof(buffer));

            alive = n >= 0 && (n == 0 || send(fd, buffer, (size_t)n, MSG_NOSIGNAL) == n);
        }
        if (alive && p[1].revents) {
            ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

            alive = n > 0 && send_all(c, buffer, (size_t)n);
        }
    }
    if (fd >= 0)
        close(fd);
}

/* ---- a request, passed on ---- */

struct passed {
    CURL *curl;
    struct text body;
    char date[64], type[128], retry_after[32];
};

static size_t take_body(char *data, size_t size, size_t count, void *arg) {
    struct passed *passed = arg;

    return text_add(&passed->body, data, size * count) ? size * count : 0;
}

static void keep_header(const char *line, size_t length, const char *name, char *value, size_t room) {
    size_t at = strlen(name);

    if (length <= at + 1 || strncasecmp(line, name, at) != 0 || line[at] != ':')
        return;
    while (length > 0 && strchr("\r\n ", line[length - 1]))
        length--;
    for (at++; at < length && line[at] == ' ';)
        at++;
    snprintf(value, room, "%.*s", (int)(length - at), line + at);
}

static size_t take_header(char *line, size_t size, size_t count, void *arg) {
    struct passed *passed = arg;

    keep_header(line, size * count, "Date", passed->date, sizeof(passed->date));
    keep_header(line, size * count, "Content-Type", passed->type, sizeof(passed->type));
    keep_header(line, size * count, "Retry-After", passed->retry_after, sizeof(passed->retry_after));
    return size * count;
}

/* The status, 0 when there was no answer. */
static long pass_on(const struct stream *stream, struct passed *passed) {
    struct curl_slist *headers = NULL;
    char line[8192];
    long status = 0;

    passed->curl = curl_easy_init();
    snprintf(line, sizeof(line), "http://127.0.0.1:%d%s", front.backend, stream->path);
    curl_easy_setopt(passed->curl, CURLOPT_URL, line);
    curl_easy_setopt(passed->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(passed->curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(passed->curl, CURLOPT_WRITEDATA, passed);
    curl_easy_setopt(passed->curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(passed->curl, CURLOPT_HEADERDATA, passed);
    if (stream->body.length > 0) {
        curl_easy_setopt(passed->curl, CURLOPT_POSTFIELDSIZE, (long)stream->body.length);
        curl_easy_setopt(passed->curl, CURLOPT_POSTFIELDS, stream->body.data);
    }
    curl_easy_setopt(passed->curl, CURLOPT_CUSTOMREQUEST, stream->method);
    snprintf(line, sizeof(line), "Content-Type: %s", stream->type ? stream->type : "");
    headers = curl_slist_append(headers, line);
    if (stream->authorization) {
        snprintf(line, sizeof(line), "Authorization: %s", stream->authorization);
        headers = curl_slist_append(headers, line);
    }
    curl_easy_setopt(passed->curl, CURLOPT_HTTPHEADER, headers);
    if (curl_easy_perform(passed->curl) == CURLE_OK)
        curl_easy_getinfo(passed->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(passed->curl);
    return status;
}

static ssize_t give_answer(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t size, uint32_t *flags,
        nghttp2_data_source *source, void *arg) {
    struct stream *stream = source->ptr;
    size_t left = stream->answer.length - stream->answer_at;

    (void)session;
    (void)id;
    (void)arg;
    if (size > left)
        size = left;
    if (size > 0)
        memcpy(buffer, stream->answer.data + stream->answer_at, size);
    stream->answer_at += size;
    if (stream->answer_at == stream->answer.length)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

#define HEADER(key, text) \
    (nghttp2_nv) { \
        (uint8_t *)(key), (uint8_t *)(text), strlen(key), strlen(text), NGHTTP2_NV_FLAG_NONE \
    }

/* With an answer, or without one: then only the effect is there. */
static void serve(struct connection *c, struct stream *stream, bool answer) {
    struct passed passed = {0};
    char status[16];
    nghttp2_nv headers[4];
    size_t n = 0;

    snprintf(status, sizeof(status), "%ld", pass_on(stream, &passed));
    if (!answer) {
        free(passed.body.data);
        return;
    }
    if (strcmp(status, "0") == 0) {
        nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_INTERNAL_ERROR);
        free(passed.body.data);
        return;
    }
    stream->answer = passed.body;
    headers[n++] = HEADER(":status", status);
    headers[n++] = HEADER("content-type", passed.type);
    headers[n++] = HEADER("date", passed.date);
    if (*passed.retry_after)
        headers[n++] = HEADER("retry-after", passed.retry_after);
    const nghttp2_data_provider body = {.source = {.ptr = stream}, .read_callback = give_answer};

    nghttp2_submit_response(c->session, stream->id, headers, n, &body);
}

/* ---- what is done to those in flight ---- */

static void serve_held(struct connection *c) {
    for (int i = 0; i < c->held_count; i++)
        serve(c, c->held[i], true);
    c->held_count = 0;
}

static void reset_connection(struct connection *c) {
    const struct linger at_once = {.l_onoff = 1};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(c->fd);
    c->fd = -1;
}

static void cut_held(struct connection *c) {
    bool answered = front.cut == CUT_GOAWAY || front.cut == CUT_GRACEFUL;

    fprintf(stderr, "cut %s with %d in flight\n", cut_names[front.cut], c->held_count);
    int done = front.cut == CUT_GRACEFUL ? c->held_count : front.done;

    if (front.cut == CUT_GRACEFUL)
        nghttp2_submit_shutdown_notice(c->session);
    if (front.cut == CUT_GOAWAY)
        nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, c->held[done - 1]->id, NGHTTP2_NO_ERROR, NULL, 0);
    for (int i = 0; i < done; i++)
        serve(c, c->held[i], answered);
    for (int i = 0; front.cut == CUT_RST && i < c->held_count; i++)
        nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, c->held[i]->id,
                i < done ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_REFUSED_STREAM);
    c->held_count = 0;
    if (front.cut == CUT_CLOSE)
        reset_connection(c);
    c->over = front.cut == CUT_GOAWAY;
}

static void request_complete(struct connection *c, struct stream *stream) {
    if (strcmp(stream->method, "DELETE") != 0 || atomic_load(&front.cuts_left) <= 0 || c->held_count == HELD_MAX) {
        serve(c, stream, true);
        return;
    }
    if (c->held_count == 0)
        c->held_since_ms = now_ms();
    c->held[c->held_count++] = stream;
    if (c->held_count >= front.held && atomic_fetch_sub(&front.cuts_left, 1) > 0)
        cut_held(c);
}

/* ---- nghttp2's callbacks ---- */

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
    struct connection *c = arg;
    struct stream *stream;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    stream = calloc(1, sizeof(*stream));
    if (!stream)
        abort();
    stream->id = frame->hd.stream_id;
    stream->next = c->streams;
    c->streams = stream;
    return nghttp2_session_set_stream_user_data(session, stream->id, stream);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
        const uint8_t *value, size_t length, uint8_t flags, void *arg) {
    struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    const char *key = (const char *)name;
    char **field;

    (void)name_length;
    (void)flags;
    (void)arg;
    if (!stream)
        return 0;
    field = strcmp(key, ":method") == 0         ? &stream->method
            : strcmp(key, ":path") == 0         ? &stream->path
            : strcmp(key, "authorization") == 0 ? &stream->authorization
            : strcmp(key, "content-type") == 0  ? &stream->type
                                                : NULL;
    if (field && !*field)
        *field = strndup((const char *)value, length);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t length, void *arg) {
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);

    (void)flags;
    (void)arg;
    return !stream || text_add(&stream->body, data, length) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
    struct connection *c = arg;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
            !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || !stream || !stream->method || !stream->path)
        return 0;
    request_complete(c, stream);
    return c->fd < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg) {
    struct connection *c = arg;

    (void)session;
    (void)code;
    /* One that its client gave up is not passed on any more. */
    for (int i = 0; i < c->held_count; i++) {
        if (c->held[i]->id == id)
            c->held[i--] = c->held[--c->held_count];
    }
    return 0;
}

/* ---- a connection ---- */

static bool flush(struct connection *c) {
    const uint8_t *data;

    for (ssize_t n; (n = nghttp2_session_mem_send(c->session, &data)) != 0;) {
        if (n < 0 || !send_all(c, data, (size_t)n))
            return false;
    }
    return true;
}

static nghttp2_session *session_create(struct connection *c) {
    static const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 250}};
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_session *session = NULL;

    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_server_new(&session, callbacks, c);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 1);
    return session;
}

static void speak_h2(struct connection *c) {
    uint8_t buffer[16384];

    c->session = session_create(c);
    while (flush(c) && !c->over) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};

        if (!SSL_pending(c->ssl) && poll(&p, 1, c->held_count ? 20 : -1) < 0)
            break;
        int n = receive(c, buffer, sizeof(buffer));

        if (n < 0 || (n > 0 && nghttp2_session_mem_recv(c->session, buffer, (size_t)n) < 0))
            break;
        /* The last ones, perhaps: there need not be as many as are waited for. */
        if (c->held_count > 0 && now_ms() - c->held_since_ms > HOLD_MS)
            serve_held(c);
    }
    nghttp2_session_del(c->session);
    for (struct stream *stream = c->streams, *next; stream; stream = next) {
        next = stream->next;
        free(stream->method);
        free(stream->path);
        free(stream->authorization);
        free(stream->type);
        free(stream->body.data);
        free(stream->answer.data);
        free(stream);
    }
}

static void *connection_run(void *arg) {
    struct connection c = {.fd = (int)(intptr_t)arg};
    const unsigned char *protocol = NULL;
    unsigned length = 0;

    c.ssl = SSL_new(front.tls);
    SSL_set_fd(c.ssl, c.fd);
    for (int n; (n = SSL_accept(c.ssl)) != 1;) {
        if (!wait_for_ssl(&c, n)) {
            SSL_free(c.ssl);
            close(c.fd);
            return NULL;
        }
    }
    SSL_get0_alpn_selected(c.ssl, &protocol, &length);
    bool h2 = length == 2 && memcmp(protocol, "h2", 2) == 0;

    fprintf(stderr, "connection %s\n", h2 ? "h2" : "http/1.1");
    if (h2)
        speak_h2(&c);
    else
        relay(&c);
    if (c.fd >= 0) {
        SSL_shutdown(c.ssl);
        close(c.fd);
    }
    SSL_free(c.ssl);
    return NULL;
}

static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_length, const unsigned char *offered,
        unsigned length, void *arg) {
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *chosen = NULL;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, ret_length, ours, sizeof(ours) - 1, offered, length) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- life ---- */

static int fail(const char *what) {
    fprintf(stderr, "h2front: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    return 1;
}

/* KIND:HELD:DONE:TIMES */
static bool take_cut(const char *text) {
    char name[16];
    int times = 0;

    if (sscanf(text, "%15[a-z]:%d:%d:%d", name, &front.held, &front.done, &times) != 4 || front.held < 1 ||
            front.held > HELD_MAX || front.done < 1 || front.done > front.held)
        return false;
    atomic_store(&front.cuts_left, times);
    for (front.cut = 0; front.cut < CUTS; front.cut++) {
        if (strcmp(name, cut_names[front.cut]) == 0)
            return true;
    }
    return false;
}

static int listen_anywhere(int *ret_port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 64) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return -1;
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void on_term(int number) {
    (void)number;
    _exit(0);
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"backend", required_argument, NULL, 'b'},
            {"cert", required_argument, NULL, 'c'}, {"key", required_argument, NULL, 'k'},
            {"cut", required_argument, NULL, 'x'}, {NULL, 0, NULL, 0}};
    const char *cert = NULL;
    const char *key = NULL;
    int port = 0;

    for (int which; (which = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (which == 'b')
            front.backend = (int)strtol(optarg, NULL, 10);
        else if (which == 'c')
            cert = optarg;
        else if (which == 'k')
            key = optarg;
        else if (which != 'x' || !take_cut(optarg))
            return 2;
    }
    if (!front.backend || !cert || !key)
        return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_term);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    front.tls = SSL_CTX_new(TLS_server_method());
    if (!front.tls || SSL_CTX_use_certificate_chain_file(front.tls, cert) != 1 ||
            SSL_CTX_use_PrivateKey_file(front.tls, key, SSL_FILETYPE_PEM) != 1)
        return fail(cert);
    SSL_CTX_set_mode(front.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_alpn_select_cb(front.tls, choose_protocol, NULL);
    int listener = listen_anywhere(&port);

    if (listener < 0)
        return fail("cannot listen");
    printf("h2front listening on %d\n", port);
    fflush(stdout);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        pthread_t thread;

        if (fd >= 0 && pthread_create(&thread, NULL, connection_run, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
    }
}
