/*
 * encode: JSON as the bytes that a kube-apiserver sends for application/vnd.kubernetes.protobuf.
 *
 * An encoder is plain data, zero but for server and texts; it belongs to one thread. What JSON can say and protobuf
 * cannot (a number where text belongs, a key that no Go type has, a time with a fraction ...) is refused, and why says
 * so: a test that is about such things is one about JSON. Aborts when memory is out.
 */
#ifndef TESTS_PROTOBUF_ENCODE_H
#define TESTS_PROTOBUF_ENCODE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define PROTO_CONTENT_TYPE "application/vnd.kubernetes.protobuf"
#define PROTO_WATCH_CONTENT_TYPE PROTO_CONTENT_TYPE ";stream=watch"

/* Whether an Accept header (NULL: none) puts protobuf before JSON. As the real server reads it: by q, then by order. */
bool proto_is_preferred(const char *accept);

enum proto_server {
    PROTO_SERVER_CURRENT,
    PROTO_SERVER_1_20, /* writes fewer fields, and one (clusterName) that is gone since */
};

enum { PROTO_WHY_SIZE = 200 };

/* A piece of JSON that goes out as it is. */
struct proto_text {
    const char *data;
    size_t length;
};

struct proto_encoder {
    enum proto_server server;
    const struct proto_text *texts; /* where fieldsV1 is a number, it stands for the text of that index */
    size_t text_count;
    char why[PROTO_WHY_SIZE]; /* of the last refusal, such as "spec.parallelism: cannot be said in protobuf" */
};

/* All of these return memory to be freed, with its length; NULL when it cannot be said. */

/* The message of an object alone: an item of a list. kind: as in proto_schema; the object need not say it. */
char *proto_encode_message(struct proto_encoder *enc, const char *kind, const json_t *object, size_t *ret_length);

/* An answer: the bytes "k8s" and NUL, and runtime.Unknown around the message of an object with kind and apiVersion. */
char *proto_encode_object(struct proto_encoder *enc, const json_t *object, size_t *ret_length);

/* {"type": ..., "object": ...} as a frame of a watch: four bytes of length, and metav1.WatchEvent. */
char *proto_encode_event(struct proto_encoder *enc, const json_t *event, size_t *ret_length);

/*
 * The same around messages that are there already, for who keeps them. Prefixes and suffixes of the bytes of messages:
 * what is in front of `length` bytes of items in a list with this metadata (borrowed), of one item, and of the message
 * in an event. After an object (in an answer, in an event) and after all items come PROTO_TAIL_LENGTH bytes.
 */
char *proto_list_head(struct proto_encoder *enc, const char *api_version, const char *kind, const json_t *metadata,
        size_t length, size_t *ret_length);
char *proto_object_head(const char *api_version, const char *kind, size_t length, size_t *ret_length);
char *proto_event_head(const char *type, const char *api_version, const char *kind, size_t length, size_t *ret_length);

enum { PROTO_ITEM_HEAD_SIZE = 11 };
size_t proto_item_head(size_t length, char ret_head[PROTO_ITEM_HEAD_SIZE]); /* how many bytes it has */

enum { PROTO_TAIL_LENGTH = 4 };
extern const char proto_tail[PROTO_TAIL_LENGTH]; /* contentEncoding and contentType, both empty */

#endif
