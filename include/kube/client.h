/*
 * client: requests to one API server, with its login. Loop thread.
 *
 * Adds to http: the base URL, authorization (asked for each time, and once more after a 401), and what the API server
 * says in its Status objects. A call ends in exactly one of two ways: done is called, or the caller cancels it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/histogram.h"
#include "base/loop.h"
#include "base/tally.h"
#include "kube/http.h"
#include "kube/kubeconfig.h"

#define CLIENT_BODY_MAX (4u << 20) /* of an answer that is collected: one object, at most as large as etcd takes */
#define CLIENT_REQUEST_TIMEOUT_MS 30000

struct client;
struct client_call;

struct client_answer {
    int status;             /* 0: no answer came */
    bool sent;              /* without an answer: whether the server may have acted on the request */
    bool withheld;          /* may_send said no */
    int64_t retry_after_ms; /* -1: not given */
    const char *reason;     /* the Status object's, such as "Forbidden"; NULL */
    const char *message;    /* for people: the Status object's, or what went wrong; never NULL when status is not 2xx */
    const json_t *body;     /* parsed, where it was collected and is JSON; else NULL */
};

/* What a request is called in Kubernetes, for those who count. */
enum client_verb {
    CLIENT_BY_METHOD, /* get, create, update, patch, delete */
    CLIENT_GET,
    CLIENT_LIST,
    CLIENT_WATCH,
    CLIENT_CREATE,
    CLIENT_UPDATE,
    CLIENT_PATCH,
    CLIENT_DELETE,
    CLIENT_VERBS
};

struct client_request {
    const char *method;       /* "GET" */
    enum client_verb verb;    /* said where the method does not tell */
    const char *path;         /* "/apis/batch/v1/jobs?limit=500" */
    const char *body;         /* JSON or NULL */
    const char *content_type; /* NULL: application/json */
    const char *accept;       /* NULL: application/json. A Status is understood as protobuf, too */
    enum http_lane lane;
    int64_t timeout_ms; /* 0: CLIENT_REQUEST_TIMEOUT_MS */
    void *arg;
    /* As in http.h. May be NULL. */
    bool (*may_send)(void *arg);
    /* The headers of a 200 are here. May be NULL. */
    void (*opened)(void *arg, const char *content_type);
    /* A piece of a 200's body. NULL: bodies are collected. Bodies of other statuses are always collected. */
    enum http_data_result (*data)(void *arg, const char *data, size_t len);
    void (*done)(void *arg, const struct client_answer *answer);
};

struct client_handler {
    void *arg;
    /* An answer came whose Date header says date_ms; by the monotonic clock, the request was not sent before sent_ms,
     * and its headers were here at received_ms. */
    void (*date)(void *arg, int64_t sent_ms, int64_t received_ms, int64_t date_ms);
    /* An answer was 403. May be NULL. */
    void (*forbidden)(void *arg);
};

/* Borrows the config. handler may be NULL. */
struct client *client_create(
        struct loop *loop, const struct kube_config *config, const struct client_handler *handler, struct error *err);
void client_destroy(struct client *client);

/* As http_set_user_timeout, for HTTP_LANE_SHARED. */
void client_set_user_timeout(struct client *client, int64_t timeout_ms);
/* As http_set_pool, for the same. */
void client_set_pool(struct client *client, int connections);

/* NULL only when out of memory or when the URL is impossible: everything else is told by done. */
struct client_call *client_start(struct client *client, const struct client_request *request, struct error *err);
/* done is not called any more. NULL is fine. */
void client_cancel(struct client_call *call);
/* What was asked since the start. A request is counted when its answer has come, a watch when it is open, one that was
 * tried again after a 401 twice. Borrowed; changes. */
struct client_stats {
    struct tally requests;                    /* by HTTP status, or "none" or "withheld"; cells: enum client_verb - 1 */
    struct histogram durations[CLIENT_VERBS]; /* ms from sending to the end of the answer; not of watches */
};
const struct client_stats *client_stats(const struct client *client);

/* For how long requests have had no answer at all, and why (borrowed until the next request ends); 0: the last one had
 * one, or there was none yet. */
int64_t client_silent_ms(const struct client *client, const char **ret_why);
/* After data returned HTTP_PAUSE. */
void client_resume(struct client_call *call);

/* Append text for use in a URL, percent-encoded (RFC 3986 unreserved characters stand). */
struct strbuf;
void client_add_escaped(struct strbuf *buf, const char *text);
