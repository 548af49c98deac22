/*
 * protobuf: reads protocol buffers' wire format as it arrives, by tables of what is wanted.
 *
 * A table names the fields of a message that matter, what they are, and what the visitor calls them; whatever is not in
 * it is skipped by its length, unread. Nothing is held but a wanted text that was cut in two. The same bytes give the
 * same calls however they are cut. Source: protobuf.dev/programming-guides/encoding.
 *
 * An error, for good: a length or a number that goes past the end of its message, a number of more than 64 bits, a
 * field 0, a group (Kubernetes has none), a wanted field of another wire type. Nothing is allocated by what a length
 * claims, only by what has come. Pure but for its callbacks, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PROTOBUF_DEPTH_MAX 64            /* deeper than any API object */
#define PROTOBUF_TEXT_MAX (4u << 20)     /* a wanted text: etcd takes objects of 1.5 MB */
#define PROTOBUF_LENGTH_MAX (1ull << 40) /* of anything: more than a list of all that an etcd can hold */
#define PROTOBUF_FIELDS_MAX 31           /* of a table: as many as can be noted as seen */
#define PROTOBUF_TO_THE_END UINT64_MAX   /* a message that ends with the stream */

enum protobuf_kind { PROTOBUF_NUMBER, PROTOBUF_TEXT, PROTOBUF_MESSAGE };

struct protobuf_field {
    uint32_t number;
    uint8_t kind; /* enum protobuf_kind */
    bool repeated;
    uint16_t id;                            /* what the visitor calls it */
    const struct protobuf_message *message; /* of PROTOBUF_MESSAGE; NULL: the visitor is asked */
};

struct protobuf_message {
    const struct protobuf_field *fields; /* by ascending number, at most PROTOBUF_FIELDS_MAX */
    size_t n_fields;
    const char *magic; /* what stands before its first field; NULL: nothing */
    size_t magic_len;
    bool once; /* the first of each field is all that is wanted: when all have come, the rest is skipped unread. Not of
                * one that ends with the stream */
};

/* Each returns 0, or what protobuf_push is to return: then it says why. */
struct protobuf_visitor {
    void *arg;
    /* As it is on the wire: a negative number is sign-extended. */
    int (*number)(void *arg, unsigned id, uint64_t value, struct error *err);
    /* Borrowed for the call; no NUL at its end. */
    int (*text)(void *arg, unsigned id, const char *text, size_t len, struct error *err);
    /* A message begins. *message is what the table says, and may be set; NULL: it is skipped, and never closed. */
    int (*open)(void *arg, unsigned id, const struct protobuf_message **message, struct error *err);
    int (*close)(void *arg, unsigned id, struct error *err);
    /* A field that is not repeated is there again. It is told like the first. */
    int (*twice)(void *arg, unsigned id, struct error *err);
};

struct protobuf_reader;

struct protobuf_reader *protobuf_create(const struct protobuf_visitor *visitor, struct error *err);
void protobuf_destroy(struct protobuf_reader *reader);

/* A new message of so many bytes, or PROTOBUF_TO_THE_END. Must come first; what was under way is forgotten. */
void protobuf_begin(struct protobuf_reader *reader, const struct protobuf_message *message, uint64_t length);
/* Takes the next bytes, which may be none. 0, what a callback returned, or -1 with an error that tells the byte; after
 * a non-zero result protobuf_begin must come next. */
int protobuf_push(struct protobuf_reader *reader, const char *data, size_t len, struct error *err) must_check;
/* The stream ended: an error when that was in the middle of the message. */
int protobuf_end(struct protobuf_reader *reader, struct error *err) must_check;

/* How objects of one kind are built from what a reader tells, for who carries them without knowing what they are. */
#define PROTOBUF_CODEC_IDS 32 /* a codec's ids begin here; those below belong to what is around the object */
struct protobuf_codec {
    const char *kind, *list_kind; /* "Job", "JobList" */
    const struct protobuf_message *message;
    void *(*create)(struct error *err);
    void (*destroy)(void *builder);
    /* A new object: what was built before is forgotten. */
    void (*begin)(void *builder);
    struct protobuf_visitor visitor; /* arg is not used: the builder is */
    /* The object is whole. *ret is borrowed until begin; NULL: it is not what a server would send, and *ret_why (static
     * text) says why. *ret_version, its resourceVersion, may be NULL. Fails when out of memory or past a limit. */
    int (*finish)(void *builder, const void **ret, const char **ret_version, const char **ret_why, struct error *err);
};
