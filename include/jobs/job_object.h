/*
 * job_object: a Job as it came in, whichever way it was encoded: all that jobs/job and jobs/evidence look at.
 *
 * Plain data with borrowed strings. JSON is read here, from jansson's tree; whoever reads another encoding fills the
 * same struct. What only JSON can say (a member of another type than the API's) is noted as an oddity, and it is
 * job_decode that judges it. Pure, any thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define JOB_COUNT_NONE (-1)       /* a count that is not there, or makes no sense */
#define SPEC_TTL_MAX_S 2147483647 /* an int32 in the API */
#define JOB_FINALIZERS_MAX 256    /* bytes with NUL: a Job has one or two finalizers */

/* Members that are there, but not what the API says: bits of job_object.oddities. */
enum job_oddity {
    ODD_METADATA = 1u << 0, /* not an object, or absent */
    ODD_IDENTITY = 1u << 1, /* name, namespace, uid or resourceVersion is not text */
    ODD_CREATION_TIME = 1u << 2,
    ODD_DELETION_TIME = 1u << 3,
    ODD_ANNOTATIONS = 1u << 4, /* not an object */
    ODD_OWNERS = 1u << 5,      /* not a list */
    ODD_SPEC = 1u << 6,        /* not an object */
    ODD_TTL = 1u << 7,
    ODD_STATUS = 1u << 8,  /* not an object, or its conditions are not a list */
    ODD_RUN_TIME = 1u << 9 /* startTime or completionTime */
};

/* A label or an annotation. */
struct job_pair {
    const char *key;
    const char *value; /* NULL: it is not text */
    size_t value_len;  /* greater than strlen(value) where it has a NUL inside */
};

struct job_text {
    const char *text;
    size_t len; /* greater than strlen(text) where it has a NUL inside */
};

/* Strings here and in conditions are NULL where they are absent, not text, or have a NUL inside. */
struct job_owner {
    const char *api_version, *kind, *name, *uid;
    bool controls;
    bool odd_controller; /* "controller" is neither true nor false */
};

struct job_condition {
    const char *type, *status, *reason, *message;
    int64_t transition_ms; /* Unix ms, TIME_NONE */
    bool odd_transition;   /* it is there, and not a time */
};

struct job_object {
    const char *namespace, *name, *uid, *resource_version; /* NULL: absent */
    int64_t created_ms, deletion_ms;                       /* Unix ms, TIME_NONE */
    const struct job_pair *labels, *annotations;
    size_t n_labels, n_annotations;
    const struct job_owner *owners;
    size_t n_owners;
    char finalizers[JOB_FINALIZERS_MAX]; /* "a, b", cut where it gets long */

    int64_t ttl_s; /* of the spec; JOB_COUNT_NONE */
    int64_t completions, parallelism, backoff_limit;
    const char *completion_mode;

    const struct job_condition *conditions;
    size_t n_conditions;
    int64_t started_ms, completion_ms;
    int64_t succeeded, failed;
    const char *completed_indexes, *failed_indexes;

    unsigned oddities; /* of enum job_oddity */

    /* Of the Pod template, one or the other. */
    const struct job_text *images; /* of its init containers, then of its containers */
    size_t n_images;
    const char *template; /* its text; NULL or "": absent */
    size_t template_len;

    const json_t *json; /* the whole Job but its template, where it came as JSON; else NULL */
    void *block;        /* what job_object_read allocated */
};

/* Nothing is there yet. */
void job_object_init(struct job_object *object);
/* Append to finalizers. */
void job_object_add_finalizer(struct job_object *object, const char *name);
/* spec.ttlSecondsAfterFinished as it was written: an oddity where it is out of range. */
void job_object_set_ttl(struct job_object *object, int64_t ttl_s);
/* NULL: there is none. */
const struct job_pair *job_object_annotation(const struct job_object *object, const char *key);

/* From JSON without spec.template, and the text of that, "" when there is none; both must outlive *ret. Fails only when
 * out of memory. */
int job_object_read(const json_t *json, const char *template, size_t template_len, struct job_object *ret,
        struct error *err) must_check;
/* What job_object_read allocated; the struct itself is the caller's. */
void job_object_finish(struct job_object *object);

/* Shared with what else is read from JSON: an RFC 3339 member. TIME_NONE when absent or null; *ok is cleared when it is
 * there and not a time. */
int64_t json_time_member(const json_t *object, const char *key, bool *ok);
