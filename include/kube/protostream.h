/*
 * protostream: what an API server sends as application/vnd.kubernetes.protobuf, read as it arrives: a list's items one
 * by one, a watch's events one by one, a Status.
 *
 * Everything but a watch's frames begins with "k8s" and a NUL, and then a runtime.Unknown that says what it holds. A
 * watch is frames: four bytes of length (big endian), then a meta/v1 WatchEvent whose object begins as above. What kind
 * the objects are of, and what is read of them, the codec knows. Sources: kubernetes/apimachinery, pkg/runtime and
 * pkg/apis/meta/v1, generated.proto; pkg/util/framer.
 *
 * As with the framer: no document is ever held whole, and an error is one for good. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/protobuf.h"
#include "base/strbuf.h"

#define PROTOSTREAM_FRAME_MAX (16u << 20) /* client-go takes no larger one either */
#define PROTOSTREAM_WORD_MAX 8192         /* a kind, a type, a resourceVersion, a continue token */
#define PROTOSTREAM_MESSAGE_MAX 65536     /* of a Status */

#define PROTOSTREAM_TYPE "application/vnd.kubernetes.protobuf"

struct protostream;

struct protostream_event {
    const char *type;             /* "ADDED"; "" when there is none */
    const void *object;           /* the codec's; NULL: there is none of its kind */
    const char *resource_version; /* of the object; NULL */
    bool is_status;
    int64_t code;        /* of a Status; 0 */
    const char *message; /* of a Status; NULL */
};

/* Pointers are borrowed for the call. Non-zero stops everything: protostream_push returns it. */
struct protostream_handler {
    void *arg;
    /* An item of a list. */
    int (*item)(void *arg, const void *object);
    /* The list is whole. "" where they are absent. */
    int (*list)(void *arg, const char *resource_version, const char *continue_token);
    int (*event)(void *arg, const struct protostream_event *event);
    /* An item, or an event's object, that is not what a Kubernetes server would send. It is skipped. */
    int (*unreadable)(void *arg, const char *why);
};

enum protostream_mode { PROTOSTREAM_LIST, PROTOSTREAM_WATCH };

/* Borrows the codec. */
struct protostream *protostream_create(enum protostream_mode mode, const struct protobuf_codec *codec,
        const struct protostream_handler *handler, struct error *err);
void protostream_destroy(struct protostream *stream);
/* 0, what a callback returned, or -1; after a non-zero result the stream must not be used again. */
int protostream_push(struct protostream *stream, const char *data, size_t len, struct error *err) must_check;
/* The stream ended: an error when there was no whole list, or in the middle of a frame. */
int protostream_end(struct protostream *stream, struct error *err) must_check;

/* Whether a Content-Type says that this is how to read it. */
bool protostream_is_type(const char *content_type);

/* What a Status says: "" where it is silent. Fails when it is none, or when memory runs out. */
int protostream_read_status(const char *data, size_t len, struct strbuf *ret_reason, struct strbuf *ret_message,
        struct error *err) must_check;
