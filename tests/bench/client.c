/*
 * client: many requests to an API server over TLS, with as little of its own as can be.
 *
 *   client [-n CONNECTIONS] [-a ACCEPT] [-i] PORT CA TOKEN-FILE <REQUESTS
 *
 * A request is a line: method, path, content type, body, separated by tabs. All of them are read first; then the
 * connections are opened, and each has one request on its way at a time until none is left (HTTP/1.1, kept alive). At
 * the end a line of JSON: how many, how long from the first request to the last answer, the CPU that this process took.
 * The first answers that are no 2xx go to stderr, and make the exit code 1.
 *
 * -i: one connection, and a line is asked for when the last one is answered; each answer's status is a line on stdout.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 512
#define HEAD_MAX 16384   /* of a request, and of an answer */
#define READ_BYTES 32768 /* two TLS records */
#define COMPLAINTS_MAX 3

enum part { PART_HEAD, PART_BODY, PART_CHUNK_SIZE, PART_CHUNK, PART_CHUNK_END, PART_TRAILER };

struct connection {
    int fd;
    SSL *ssl;
    bool busy, wants_write;
    char *out; /* the request on its way */
    size_t out_len, out_room;
    enum part part;
    char line[HEAD_MAX]; /* of the head, or a chunk's size */
    size_t line_len;
    int status;
    bool chunked;
    size_t left; /* bytes of the body, or of the chunk */
    const char *path;
};

struct client {
    SSL_CTX *tls;
    int epoll, port, n_connections;
    const char *accept, *token;
    bool interactive;
    char **lines;
    size_t n_lines, at, answered, wrong;
    struct connection connections[CONNECTIONS_MAX];
};

static void die(const char *what) {
    fprintf(stderr, "client: %s: %s\n", what, errno ? strerror(errno) : ERR_reason_error_string(ERR_peek_last_error()));
    exit(2);
}

static int64_t now_us(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static char *read_token(const char *file) {
    static char token[4096];
    FILE *f = fopen(file, "re");
    if (!f || !fgets(token, sizeof token, f))
        die(file);
    fclose(f);
    token[strcspn(token, "\r\n")] = '\0';
    return token;
}

static char *read_line(void) {
    char *line = NULL;
    size_t room = 0;
    ssize_t len = getline(&line, &room, stdin);
    if (len <= 0) {
        free(line);
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static void read_lines(struct client *c) {
    size_t room = 0;
    char *line;
    while ((line = read_line())) {
        if (c->n_lines == room) {
            room = room ? room * 2 : 1024;
            c->lines = realloc(c->lines, room * sizeof *c->lines);
            if (!c->lines)
                die("memory");
        }
        c->lines[c->n_lines++] = line;
    }
}

/* Blocking, for all are opened before anything is measured. */
static void connection_open(struct client *c, struct connection *conn) {
    struct sockaddr_in address = {
            .sin_family = AF_INET, .sin_port = htons((uint16_t)c->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect");
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    conn->ssl = SSL_new(c->tls);
    if (!conn->ssl || !SSL_set_fd(conn->ssl, conn->fd) || SSL_connect(conn->ssl) != 1)
        die("TLS");
    fcntl(conn->fd, F_SETFL, fcntl(conn->fd, F_GETFL) | O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, conn->fd, &event) < 0)
        die("epoll_ctl");
}

static void want_write(struct client *c, struct connection *conn, bool wanted) {
    if (conn->wants_write == wanted)
        return;
    conn->wants_write = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0u), .data.ptr = conn};
    if (epoll_ctl(c->epoll, EPOLL_CTL_MOD, conn->fd, &event) < 0)
        die("epoll_ctl");
}

static void push_out(struct client *c, struct connection *conn) {
    int n = SSL_write(conn->ssl, conn->out, (int)conn->out_len);
    if (n <= 0 && SSL_get_error(conn->ssl, n) != SSL_ERROR_WANT_WRITE &&
            SSL_get_error(conn->ssl, n) != SSL_ERROR_WANT_READ)
        die("write");
    want_write(c, conn, n <= 0);
}

static char *cut_field(char **at) {
    char *field = strsep(at, "\t");
    return field ? field : (char *)"";
}

/* line: taken apart, and must outlive the answer. */
static void request_send(struct client *c, struct connection *conn, char *line) {
    const char *method = cut_field(&line), *path = cut_field(&line), *type = cut_field(&line), *body = line ? line : "";
    size_t body_len = strlen(body);
    if (conn->out_room < HEAD_MAX + body_len) {
        conn->out_room = HEAD_MAX + body_len;
        free(conn->out);
        conn->out = malloc(conn->out_room);
        if (!conn->out)
            die("memory");
    }
    int n = snprintf(conn->out, HEAD_MAX,
            "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\nUser-Agent: bench\r\nAccept: %s\r\n"
            "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
            method, path, c->port, c->token, c->accept, type, body_len);
    if (n < 0 || n >= HEAD_MAX)
        die("a request is too long");
    memcpy(conn->out + n, body, body_len);
    conn->out_len = (size_t)n + body_len;
    conn->path = path;
    conn->part = PART_HEAD;
    conn->line_len = 0;
    conn->busy = true;
    push_out(c, conn);
}

static bool send_next(struct client *c, struct connection *conn) {
    if (c->at == c->n_lines)
        return false;
    request_send(c, conn, c->lines[c->at++]);
    return true;
}

static void answer_ended(struct client *c, struct connection *conn) {
    conn->busy = false;
    c->answered++;
    if (c->interactive) {
        printf("%d\n", conn->status);
        fflush(stdout);
    }
    if (conn->status / 100 == 2)
        return;
    if (c->wrong++ < COMPLAINTS_MAX)
        fprintf(stderr, "client: %d %s\n", conn->status, conn->path);
}

static void head_line(struct connection *conn) {
    if (strncmp(conn->line, "HTTP/1.1 ", 9) == 0) {
        conn->status = (int)strtol(conn->line + 9, NULL, 10);
        conn->chunked = false;
        conn->left = 0;
    } else if (strncasecmp(conn->line, "Content-Length:", 15) == 0) {
        conn->left = strtoul(conn->line + 15, NULL, 10);
    } else if (strncasecmp(conn->line, "Transfer-Encoding: chunked", 26) == 0) {
        conn->chunked = true;
    }
}

/* A line that ended. True: and with it the answer. */
static bool line_ended(struct connection *conn) {
    bool empty = conn->line_len == 0;
    conn->line[conn->line_len] = '\0';
    conn->line_len = 0;
    switch (conn->part) {
    case PART_HEAD:
        if (!empty) {
            head_line(conn);
            return false;
        }
        if (conn->chunked)
            conn->part = PART_CHUNK_SIZE;
        else if (conn->left)
            conn->part = PART_BODY;
        else
            return true;
        return false;
    case PART_CHUNK_SIZE:
        conn->left = strtoul(conn->line, NULL, 16);
        conn->part = conn->left ? PART_CHUNK : PART_TRAILER;
        return false;
    case PART_CHUNK_END:
        conn->part = PART_CHUNK_SIZE;
        return false;
    default:
        return empty;
    }
}

/* True when the answer is complete. */
static bool take(struct connection *conn, const char *data, size_t len) {
    while (len > 0) {
        if (conn->part == PART_BODY || conn->part == PART_CHUNK) {
            size_t n = len < conn->left ? len : conn->left;
            data += n;
            len -= n;
            conn->left -= n;
            if (conn->left > 0)
                continue;
            if (conn->part == PART_BODY)
                return true;
            conn->part = PART_CHUNK_END;
            continue;
        }
        char byte = *data++;
        len--;
        if (byte == '\n') {
            if (line_ended(conn))
                return true;
        } else if (byte != '\r') {
            if (conn->line_len == sizeof conn->line - 1)
                die("a line of an answer is too long");
            conn->line[conn->line_len++] = byte;
        }
    }
    return false;
}

/* True when its answer came. */
static bool pull(struct connection *conn) {
    static char data[READ_BYTES];
    for (;;) {
        int n = SSL_read(conn->ssl, data, sizeof data);
        if (n <= 0) {
            if (SSL_get_error(conn->ssl, n) == SSL_ERROR_WANT_READ)
                return false;
            die("the connection ended");
        }
        if (!conn->busy)
            die("an answer to nothing");
        if (take(conn, data, (size_t)n))
            return true;
    }
}

static void wait_for_some(struct client *c, size_t *in_flight) {
    struct epoll_event events[64];
    int n = epoll_wait(c->epoll, events, 64, -1);
    if (n < 0 && errno != EINTR)
        die("epoll_wait");
    for (int i = 0; i < n; i++) {
        struct connection *conn = events[i].data.ptr;
        if (conn->wants_write)
            push_out(c, conn);
        if (!(events[i].events & ~(uint32_t)EPOLLOUT) || !pull(conn))
            continue;
        answer_ended(c, conn);
        if (!send_next(c, conn))
            --*in_flight;
    }
}

static void run_all(struct client *c) {
    int64_t began_us = now_us(CLOCK_MONOTONIC), cpu_us = now_us(CLOCK_PROCESS_CPUTIME_ID);
    size_t in_flight = 0;
    for (int i = 0; i < c->n_connections; i++)
        in_flight += send_next(c, &c->connections[i]);
    while (in_flight > 0)
        wait_for_some(c, &in_flight);
    double seconds = (double)(now_us(CLOCK_MONOTONIC) - began_us) / 1e6;
    printf("{\"requests\":%zu,\"wrong\":%zu,\"seconds\":%.6f,\"cpu_seconds\":%.6f}\n", c->answered, c->wrong, seconds,
            (double)(now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu_us) / 1e6);
}

static void run_interactive(struct client *c) {
    char *line;
    while ((line = read_line())) {
        size_t in_flight = 1;
        request_send(c, &c->connections[0], line);
        while (in_flight > 0)
            wait_for_some(c, &in_flight);
        free(line);
    }
}

int main(int argc, char **argv) {
    static struct client client = {.n_connections = 32, .accept = "application/json"};
    struct client *c = &client;
    int option;
    while ((option = getopt(argc, argv, "n:a:i")) != -1) {
        if (option == 'n')
            c->n_connections = (int)strtol(optarg, NULL, 10);
        else if (option == 'a')
            c->accept = optarg;
        else if (option == 'i')
            c->interactive = true;
        else
            return 2;
    }
    if (argc - optind != 3 || c->n_connections < 1 || c->n_connections > CONNECTIONS_MAX) {
        fprintf(stderr, "usage: client [-n CONNECTIONS] [-a ACCEPT] [-i] PORT CA TOKEN-FILE\n");
        return 2;
    }
    c->port = (int)strtol(argv[optind], NULL, 10);
    c->token = read_token(argv[optind + 2]);
    c->tls = SSL_CTX_new(TLS_client_method());
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!c->tls || c->epoll < 0 || SSL_CTX_load_verify_locations(c->tls, argv[optind + 1], NULL) != 1)
        die(argv[optind + 1]);
    SSL_CTX_set_verify(c->tls, SSL_VERIFY_PEER, NULL);
    if (c->interactive)
        c->n_connections = 1;
    else
        read_lines(c);
    for (int i = 0; i < c->n_connections; i++)
        connection_open(c, &c->connections[i]);
    if (c->interactive)
        run_interactive(c);
    else
        run_all(c);
    return c->wrong > 0;
}
