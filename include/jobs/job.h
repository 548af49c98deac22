/*
 * job: what is looked at of a Job, and how it is read from JSON.
 *
 * Plain data. job_decode makes a view whose strings are borrowed from the JSON; job_copy makes one that lives on its
 * own, in a single block of memory. Pure, any thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "jobs/annotations.h"
#include "jobs/run.h"

#define SPEC_TTL_NONE (-1)

struct job {
    const char *namespace, *name, *uid, *resource_version;
    const char *owner_kind, *owner_name, *owner_uid;                         /* the controlling owner, or NULL */
    int64_t created_ms, started_ms, finished_ms, completion_ms, deletion_ms; /* Unix ms, TIME_NONE */
    int64_t spec_ttl_s;                                                      /* seconds, SPEC_TTL_NONE */
    const char *doubt; /* NULL, or what makes it impossible to be sure about this Job (static text) */
    struct annotations annotations;
    enum outcome outcome; /* OUTCOME_NONE: not finished */
};

/* Fails only when the Job cannot even be told apart (no namespace, name or uid): everything else that is wrong is a
 * doubt. prefix: the annotation prefix. json must outlive *ret. */
int job_decode(const json_t *json, const char *prefix, struct job *ret, struct error *err) must_check;

/* NULL when out of memory. One free() releases it. ret_bytes: size of the block, may be NULL. */
struct job *job_copy(const struct job *job, size_t *ret_bytes);

bool job_is_finished(const struct job *job);
/* Whether it belongs to a CronJob. */
bool job_has_cronjob(const struct job *job);

/* Shared with what else is decoded: a string member, NULL when absent; *ok is cleared when it has another type. */
const char *json_text_member(const json_t *object, const char *key, bool *ok);
/* An RFC 3339 member: TIME_NONE when absent or null; *ok is cleared when it is there and not a time. */
int64_t json_time_member(const json_t *object, const char *key, bool *ok);
