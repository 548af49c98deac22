/*
 * server: what others may read of this process, by HTTP: a small table of paths. Only GET and HEAD, one request a
 * connection, no request bodies, no secrets: whoever reaches the address may read.
 *
 * Answers are made on the loop, by its own turns: that one comes says that the loop turns. So a route must not block.
 * What a client may cost is bounded, below; a slow or silent one is cut off, and holds up neither the loop nor the
 * process's end. Loop thread.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/strbuf.h"

#define SERVER_CONNECTIONS_MAX 32       /* the kubelet, a Prometheus or two, a few people with curl */
#define SERVER_CONNECTIONS_PER_IP_MAX 8 /* so that one peer cannot keep the kubelet out */
#define SERVER_REQUEST_MAX 8192         /* bytes of a request's line and headers, about */
#define SERVER_SILENCE_MAX_MS 5000      /* in which a client sends or takes nothing */
#define SERVER_CONNECTION_MAX_MS 30000  /* in all, for one that sends or takes a byte now and then */
#define SERVER_ANSWER_MAX (1u << 20)    /* bytes of one answer */
#define SERVER_ANSWERS_MAX (4u << 20)   /* bytes of all that clients have not taken yet */
#define SERVER_TEXT "text/plain; charset=utf-8"

struct server;

/* Borrowed for the call. */
struct server_request {
    const char *path;
    const char *accept; /* the header, several of them joined by ", "; "" when there is none */
};

struct server_answer {
    int status;               /* 200 unless changed */
    const char *content_type; /* static text; SERVER_TEXT unless changed */
    struct strbuf body;       /* to be filled, up to SERVER_ANSWER_MAX; one that failed is answered by 500 */
};

struct server_route {
    const char *path; /* "/healthz" */
    void (*answer)(void *arg, const struct server_request *request, struct server_answer *answer);
    void *arg;
};

/* listen: see serve/address.h. The n routes are copied, but not their paths. Serves from here on. An address that
 * cannot be had is ERROR_USAGE, with what to do about it. */
int server_create(struct loop *loop, const char *listen, const struct server_route *routes, size_t n,
        struct server **ret, struct error *err) must_check;
/* NULL is fine. Connections are closed. */
void server_destroy(struct server *server);
/* Where it listens, with the port that it got. Borrowed. */
const char *server_address(const struct server *server);
