/*
 * sim_reply: one answer: pieces of text, or a watch that goes on making them, and the fault that mars them on the way.
 *
 * A reply belongs to the thread of its connection; only `action` may be exchanged by others, locked. Once handed to
 * libmicrohttpd (sim_reply_read, sim_reply_destroy) it is freed with the response.
 */
#ifndef KUBESIM_SIM_REPLY_H
#define KUBESIM_SIM_REPLY_H

#include "sim.h"
#include "sim_faults.h"
#include "sim_store.h"

#include <jansson.h>
#include <sys/types.h>

struct sim_segment {
    const char *data;
    size_t length;
    char *owned;                 /* freed with the segment */
    struct sim_version *version; /* released with the segment */
};

struct sim_reply {
    struct sim *sim;
    int fd;
    int status;
    const char *content_type; /* static, or the action's */
    const char *retry_after;  /* the same; NULL: none */
    bool protobuf;            /* preferred by who asks, and spoken */
    struct sim_segment *segments;
    size_t count;
    size_t capacity;
    size_t at; /* the segment being sent, and how far */
    size_t offset;
    size_t total;              /* bytes in all segments so far */
    struct sim_watch *watch;   /* owned; NULL for an answer with an end */
    struct sim_action *action; /* a reference; NULL: nothing goes wrong */
    uint64_t sent;             /* since the action began */
};

struct sim_reply *sim_reply_create(struct sim *sim, int fd);
void sim_reply_destroy(void *reply);

/* Borrowed for as long as the reply lives. */
void sim_reply_add(struct sim_reply *reply, const char *data, size_t length);
void sim_reply_add_text(struct sim_reply *reply, const char *text);
/* Takes text. */
void sim_reply_add_owned(struct sim_reply *reply, char *text, size_t length);
/* Locked or not; takes a reference of its own. The text of the version without its first skip bytes. */
void sim_reply_add_version(struct sim_reply *reply, struct sim_version *version, size_t skip);
/* The same of its protobuf, which must be there: see sim_encode.h. */
void sim_reply_add_proto(struct sim_reply *reply, struct sim_version *version);
/* With kind and apiVersion, as get and watch show it. */
void sim_reply_add_object(struct sim_reply *reply, const struct sim_resource *res, struct sim_version *version);
void sim_reply_clear(struct sim_reply *reply);

/* Both in the encoding that is preferred, where it is spoken. Takes json. */
void sim_reply_json(struct sim_reply *reply, int status, json_t *json);
void sim_reply_object(struct sim_reply *reply, int status, const struct sim_resource *res, struct sim_version *version);

/* A Status of failure. reason NULL: the usual one for this code. Takes details, which may be NULL. */
void sim_reply_error(struct sim_reply *reply, int code, const char *reason, json_t *details, const char *format, ...)
        __attribute__((format(printf, 5, 6)));

/* The same as a tree. */
json_t *sim_status_make(int code, const char *reason, json_t *details, const char *message);

/* Has the other side closed, or half-closed, the connection? */
bool sim_peer_gone(int fd);

/* Sends a RST instead of an orderly end. */
void sim_peer_reset(int fd);

/* libmicrohttpd's MHD_ContentReaderCallback. Blocks: each connection has its thread. */
ssize_t sim_reply_read(void *cls, uint64_t pos, char *buf, size_t max);

#endif
