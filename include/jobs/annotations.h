/*
 * annotations: our keys on a Job or a Namespace, read and judged. Pure, any thread.
 *
 * What cannot be understood is an answer, not an error: the state says so, and bad_key and bad_value what it was. That
 * includes unknown keys under our prefix: a misspelt "ttl-after-falure: never" is somebody's wish to keep a Job.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define HOLD_FOREVER INT64_MAX
#define ANNOTATION_PREFIX_MAX 254 /* bytes with NUL; a DNS subdomain has at most 253 */

enum annotation_state { ANNOTATION_ABSENT, ANNOTATION_SET, ANNOTATION_INVALID };

struct annotation_ttl {
    int64_t ms;       /* DURATION_NEVER possible */
    const char *text; /* as written; NULL unless set */
    enum annotation_state state;
};

struct annotation_hold {
    int64_t until_ms; /* HOLD_FOREVER, a time, or TIME_NONE for "false": not held */
    const char *text;
    enum annotation_state state;
};

struct annotations {
    struct annotation_ttl success, failure;
    struct annotation_hold hold;
    bool unknown_key;      /* some key is none of ours, or no string */
    const char *bad_key;   /* the first that is not understood, without the prefix; NULL: none */
    const char *bad_value; /* its value; "" when it is not even a string */
    const char *bad_why;   /* static text */
};

/* None yet. */
void annotations_init(struct annotations *ret);
/* The next of an object's annotations; those of others are passed over. Texts are borrowed. value NULL: it is no text;
 * shorter than value_len: it has a NUL inside. */
void annotations_take(
        struct annotations *annotations, const char *prefix, const char *key, const char *value, size_t value_len);
/* metadata.annotations is there, and not an object. */
void annotations_are_odd(struct annotations *annotations);

/* All of them. object: metadata.annotations, or NULL. Texts are borrowed from it. */
void annotations_read(const json_t *object, const char *prefix, struct annotations *ret);

/* Whether a key belongs to the prefix: "PREFIX/...". */
bool annotations_has_prefix(const char *key, const char *prefix);
