/*
 * http: requests by HTTP/1.1 on libcurl's multi interface, driven by the loop. Loop thread.
 *
 * Who owns what: http_start returns a transfer that belongs to this module. It ends in exactly one of two ways: on_done
 * is called, or the caller cancels it; after either the pointer is dead. Callbacks may start and cancel any transfer,
 * their own too, but not destroy the http. No callback comes from within http_start. Nothing here knows of Kubernetes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"

#define HTTP_CONNECT_TIMEOUT_MS 10000
#define HTTP_TCP_USER_TIMEOUT_MS 30000 /* unacknowledged data for this long: the peer is gone (half-open watch) */
#define HTTP_KEEPALIVE_S 15            /* idle this long, probe */
#define HTTP_LIFETIME_S 300 /* no request begins on an older connection: it shows the certificate of its time */
#define HTTP_POOL_FIRST 64  /* connections of a lane that are kept open to be used again, if none are set */

struct http;
struct http_transfer;

/* Where to, and how to be sure who answers. Borrowed for the time of http_start. NULL: not set. */
struct http_target {
    const char *ca_file, *ca_pem;
    const char *cert_file, *cert_pem, *key_file, *key_pem;
    const char *tls_server_name, *proxy_url;
    bool insecure;
};

enum http_lane {
    HTTP_LANE_SHARED, /* short ones that take turns on a pool of connections */
    HTTP_LANE_OWN     /* on connections that none of those has, so that nothing can starve it */
};

enum http_data_result { HTTP_GO_ON, HTTP_PAUSE, HTTP_ABORT };

struct http_result {
    int status;                   /* 0 when there was no answer */
    const char *failure;          /* NULL when a whole answer came; else what went wrong, for people */
    bool sent;                    /* without an answer: whether the request may have reached the server */
    bool withheld;                /* may_send said no: the server has got nothing of the request, and never will */
    int64_t retry_after_ms;       /* -1 when not given */
    int64_t date_ms;              /* the Date header, TIME_NONE */
    int64_t sent_ms, answered_ms; /* monotonic: the request was not sent before, the headers were here by then */
};

struct http_request {
    const char *method, *url;
    const char *const *headers; /* "Name: value", NULL-terminated */
    const char *body;           /* NULL: none */
    const struct http_target *target;
    enum http_lane lane;
    int64_t timeout_ms; /* of the whole transfer */
    void *arg;
    /* Asked once, right before the request leaves, with its body if that is shorter than 64 kB: when it is false, the
     * request ends there. For what must not be acted on late, since connecting can take any time. May be NULL; must not
     * touch any transfer. */
    bool (*may_send)(void *arg);
    /* The headers are here. content_type: its header, "" when there is none. May be NULL. */
    void (*on_head)(void *arg, int status, const char *content_type);
    /* A piece of the body. status is known by then. HTTP_PAUSE: this piece was taken, no more until http_resume.
     * HTTP_ABORT: on_done follows with a failure. */
    enum http_data_result (*on_data)(void *arg, struct http_transfer *transfer, const char *data, size_t len);
    void (*on_done)(void *arg, const struct http_result *result);
};

struct http *http_create(struct loop *loop, struct error *err);
/* Cancels what is under way: no callback follows. */
void http_destroy(struct http *http);

/* For the connections of a lane from now on: what was not acknowledged for so long is thrown away with its connection,
 * instead of arriving later, when a cut has healed. At first HTTP_TCP_USER_TIMEOUT_MS. */
void http_set_user_timeout(struct http *http, enum http_lane lane, int64_t timeout_ms);

/* How many of a lane's connections are kept open, to be used again by another request. More than that can be under way,
 * but then some are made anew each time. At first HTTP_POOL_FIRST. */
void http_set_pool(struct http *http, enum http_lane lane, int connections);

/* Copies what it needs of the request. */
struct http_transfer *http_start(struct http *http, const struct http_request *request, struct error *err);
void http_cancel(struct http_transfer *transfer);
void http_resume(struct http_transfer *transfer);
/* 0 before the status line. */
int http_status(const struct http_transfer *transfer);
