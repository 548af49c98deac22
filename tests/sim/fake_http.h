/*
 * fake_http: what the two halves of the replaced kube/http.c share: fake_http.c, for requests and their answers, and
 * fake_watch.c, for answers that go on.
 */
#pragma once

#include "kube/http.h"
#include "server.h"
#include "sim.h"

#define TCP_PATIENCE_MS 30000 /* a connection whose packets get through again within this time lives on */
#define KEEPALIVE_MS 15000    /* and this much later the other end has noticed */

enum stage { CONNECTING, SENDING, TRAVELLING, RETURNING, STREAMING, STUCK };
enum fault {
    FAULT_NONE,
    FAULT_REFUSED,
    FAULT_LOST_BEFORE,
    FAULT_LOST_AFTER,
    FAULT_STATUS,
    FAULT_LATE_STATUS,
    FAULT_TRUNCATED
};

struct http {
    struct machine *machine;
    int64_t patience_ms[2]; /* by lane: what was not acknowledged for so long is thrown away */
};

struct http_transfer {
    struct http *http;
    struct machine *machine;
    struct http_transfer *next, *previous;
    char *body;
    struct route route;
    void *arg;
    bool (*may_send)(void *arg);
    void (*on_head)(void *arg, int status, const char *content_type);
    enum http_data_result (*on_data)(void *arg, struct http_transfer *transfer, const char *data, size_t len);
    void (*on_done)(void *arg, const struct http_result *result);
    struct http_result result;
    struct happening step, deadline;
    enum stage stage;
    enum fault fault;
    struct reply reply;
    size_t passed;
    int marks_passed;
    int64_t started_ms, left_ms, patience_ms, date_ms, date_epoch;
    const char *failure; /* what the deadline tells */
    bool open;           /* its process wants to know */
    bool busy, dead;     /* in its own callback; and over by then */
    bool left, headed, paused, counted;
    int position, first_position; /* of a watch: the next entry, and where it began */
    int64_t end_ms;               /* of a watch: when the server ends it */
    int64_t lag_until_ms;         /* a watch that began in the past: the server has not got further */
    bool disturbed;
    enum stream_fault disturbance;
};

int64_t latency_ms(void);
void transfer_plan(struct http_transfer *t, enum stage stage, int64_t after_ms);
/* failure NULL: a whole answer. */
void transfer_complete(struct http_transfer *t, const char *failure);
/* Nothing comes any more; after a while (never, -1: at its deadline) somebody notices. */
void transfer_get_stuck(struct http_transfer *t, const char *failure, int64_t notice_ms);
/* True: there is no network now, and this was put off. */
bool transfer_is_cut(struct http_transfer *t);
/* The next piece. False: the transfer is over, and may be gone. */
bool transfer_pass(struct http_transfer *t, size_t len);

void stream_open(struct http_transfer *t);
void stream_go_on(struct http_transfer *t);
