/*
 * schema: how Kubernetes types are written in protobuf: for each message its fields, in the order of their numbers.
 *
 * The facts are those of the generated.proto and types.go files of Kubernetes 1.20 to 1.36: batch/v1, core/v1, meta/v1
 * and runtime. What a Job can hold (of volumes the usual ones), and what kubectl sends to kubesim. Constant data, any
 * thread.
 */
#ifndef TESTS_PROTOBUF_SCHEMA_H
#define TESTS_PROTOBUF_SCHEMA_H

enum proto_type {
    PROTO_STRING,
    PROTO_INT32,
    PROTO_INT64,
    PROTO_BOOL,
    PROTO_MESSAGE,
    PROTO_TIME,          /* metav1.Time: whole seconds; nothing in it when it is the zero time */
    PROTO_QUANTITY,      /* text in a message of its own */
    PROTO_INT_OR_STRING, /* intstr */
    PROTO_RAW_JSON,      /* FieldsV1: its JSON, as bytes */
};

/* When Go's generated code writes a field. */
enum proto_shape {
    PROTO_ALWAYS,   /* no pointer: also its zero value */
    PROTO_SINCE_21, /* the same, but Kubernetes 1.20 did not know it yet */
    PROTO_UNTIL_23, /* the same, but later versions do not know it any more */
    PROTO_POINTER,  /* when it is there */
    PROTO_LIST,
    PROTO_MAP,    /* by text, sorted; each entry a message {1: key, 2: value} */
    PROTO_INLINE, /* a message whose keys stand in the object around it */
    PROTO_TYPE,   /* kind and apiVersion of an object: no field of its message */
};

struct proto_field {
    unsigned number;
    const char *key; /* NULL: the end of the table */
    enum proto_type type;
    enum proto_shape shape;
    const struct proto_field *inner; /* of messages */
};

/* NULL for a kind that is not here: Job, JobList, Status, Namespace, SelfSubjectAccessReview. */
const struct proto_field *proto_schema(const char *kind);

#endif
