/*
 * server: the API server's side of a request, and its watches.
 */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "kube/http.h"
#include "sim.h"

enum route_kind {
    ROUTE_OTHER,
    ROUTE_LIST,
    ROUTE_WATCH,
    ROUTE_DELETE,
    ROUTE_GET_JOB,
    ROUTE_LEASE_GET,
    ROUTE_LEASE_POST,
    ROUTE_LEASE_PUT,
    ROUTE_EVENT
};
struct route {
    enum route_kind what;
    enum kind kind; /* of a list or a watch */
    int namespace;  /* NAMESPACES: all of them */
    char name[64];  /* of a Job */
    bool single;    /* a GET or a watch of one Namespace: ROUTE_LIST, ROUTE_WATCH */
    bool selector, paged;
    bool protobuf; /* is wanted, and spoken */
    char from[64]; /* resourceVersion or continue token, "" */
    int64_t timeout_ms;
};

/* A place in a body, and what a reader knows when it has read so far. */
struct mark {
    size_t end;
    int32_t entry;
    bool bookmark; /* only its resourceVersion is told */
};

struct reply {
    int status;
    struct strbuf body;
    struct mark *marks;
    int n_marks, marks_capacity;
    int64_t retry_after_ms;
    bool date;
    bool protobuf;       /* the body, and before that, what it is to be */
    const char *message; /* of a Status; "" */
    bool whole_list; /* of a list: its last page; of a GET of a Namespace: this is all that there is to know of it */
    int as_of;       /* of these */
    bool stream;     /* of a watch: it is open from as_of on */
};
void reply_init(struct reply *reply, bool protobuf);
void reply_finish(struct reply *reply);
void reply_mark(struct reply *reply, int entry);

void route_parse(const char *method, const char *path, struct route *ret);

/* What the server does with a request that arrived, and what it says. machine: who asks. */
void server_handle(const struct route *route, const char *body, int machine, struct reply *reply);
void server_say(struct reply *reply, int status, const char *reason, const char *message);

/* Watches: fake_http.c keeps them; an entry was written. */
void streams_notice(int entry);

/* What a watch of a single object begins with: the entry, or -1. */
int server_initial_frame(const struct route *route, int as_of, struct strbuf *buf);
/* The frames of a watch for entry, as this watcher sees it; false when it does not concern it. */
bool server_frame(const struct route *route, int entry, struct strbuf *buf);
void server_bookmark(const struct route *route, int entry, struct strbuf *buf);
void server_error_frame(const struct route *route, struct strbuf *buf, int code);
/* A mark at the end of the frame that was added last. */
void server_mark_frame(const struct route *route, struct reply *reply, int entry);

/* ---- protobuf.c ---- */

/* Whether who sends these headers is answered so. */
bool protobuf_is_spoken(const char *const *headers);
/* Jobs of a list, one after the other; at its end they are put into a list. */
void protobuf_add_item(struct strbuf *buf, int entry);
void protobuf_add_unreadable_item(struct strbuf *buf);
void protobuf_finish_list(struct reply *reply, const char *resource_version, const char *continue_token);
void protobuf_add_event(struct strbuf *buf, const char *type, int entry);
/* Takes the object. */
void protobuf_add_made_up_event(struct strbuf *buf, const char *type, json_t *object);
void protobuf_add_status(struct strbuf *buf, int status, const char *reason, const char *message);

/* What the steps do to the watches that are open. */
enum stream_fault {
    STREAM_END,
    STREAM_RESET,
    STREAM_MID_JSON,
    STREAM_GONE,
    STREAM_BOOKMARK,
    STREAM_DOUBLE,
    STREAM_DROP,
    STREAM_REORDER
};
void streams_disturb(enum stream_fault fault, uint64_t which);
