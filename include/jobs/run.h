/*
 * run: one execution of a Job as the register keeps it, and what the reconciler asks of the register.
 *
 * Plain data. The strings of a struct run are owned by it (NULL: not known) and freed by run_destroy, on whichever
 * thread it ended up on. Times are Unix ms, UTC, TIME_NONE when not known; counts are RUN_UNKNOWN when not known.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define RUN_UNKNOWN (-1)

enum outcome { OUTCOME_NONE, OUTCOME_SUCCEEDED, OUTCOME_FAILED };
enum run_trigger { RUN_OTHER, RUN_SCHEDULED, RUN_MANUAL };
enum run_state { RUN_KEPT, RUN_DUE, RUN_DELETING, RUN_DELETED };
enum run_cause { RUN_CAUSE_NONE, RUN_CAUSE_TTL, RUN_CAUSE_EXTERNAL, RUN_CAUSE_UNKNOWN };

/* As shown and stored: "Succeeded", "scheduled", "deleting", "ttl"; NULL for the NONE values. */
const char *outcome_name(enum outcome outcome);
const char *run_trigger_name(enum run_trigger trigger);
const char *run_state_name(enum run_state state);
const char *run_cause_name(enum run_cause cause);

/* What was decided about a Job, as of the moment it was written. */
struct run_policy {
    enum run_state state; /* RUN_KEPT, RUN_DUE or RUN_DELETING */
    int64_t ttl_ms;       /* DURATION_NEVER, or RUN_UNKNOWN when no TTL was decided */
    int64_t due_at_ms;    /* TIME_NONE when kept for good */
    char rule[64];        /* "ttl-after-failure=24h", "" when none */
    char source[64];      /* "annotation", "spec", "namespace annotation", "config:12", "default", "" */
};

struct run {
    char *namespace, *job_name, *job_uid, *resource_version;
    char *owner_kind, *owner_name, *owner_uid, *cronjob;
    enum run_trigger trigger;
    int64_t scheduled_at_ms, created_at_ms, started_at_ms, finished_at_ms;
    enum outcome outcome;   /* OUTCOME_NONE: it was deleted by someone before it finished */
    char *reason, *message; /* the condition's, verbatim */
    int64_t pods_succeeded, pods_failed, completions, parallelism, backoff_limit;
    char *completion_mode, *completed_indexes, *failed_indexes;
    char *images, *labels, *annotations, *manifest; /* JSON texts */
};

/* An empty run: every number unknown. NULL when out of memory. */
struct run *run_create(void);
void run_destroy(struct run *run);

/*
 * One request to the register. Applied in the order of submission.
 *
 *   HISTORY_RECORD   insert or update the run (uid is the key); a row that is deleted stays deleted
 *   HISTORY_POLICY   what was decided has changed: update policy and state of a row
 *   HISTORY_INTENT   the same with RUN_DELETING and delete_requested_at, before a DELETE is sent; with a run, both in
 * one HISTORY_DELETED  the Job is gone: state deleted, cause, time. With a run: recorded in the same step (Jobs that
 * someone else deleted before their record was written). The cause ttl is never overwritten by another.
 */
enum history_op { HISTORY_RECORD, HISTORY_POLICY, HISTORY_INTENT, HISTORY_DELETED };

#define UID_MAX 64         /* bytes with NUL; a UUID has 36 characters */
#define NAMESPACE_BYTES 64 /* of its name, with NUL: a DNS label, RFC 1123 */

struct history_request {
    enum history_op op;
    char uid[UID_MAX];
    struct run *run;          /* owned; RECORD, and optionally INTENT and DELETED */
    struct run_policy policy; /* RECORD, POLICY, INTENT */
    enum run_cause cause;     /* DELETED */
    int64_t at_ms;   /* when it was seen (RECORD: recorded_at; INTENT: delete_requested_at; DELETED: deleted_at) */
    uint64_t ticket; /* the submitter's, handed back */
    /* DELETED, the submitter's too: for those who are told when it is durable. */
    char namespace[NAMESPACE_BYTES];
    int64_t finished_ms, due_ms;
    /* What history_apply did: it made the row; the row says deleted, and did not before. */
    bool inserted, ended;
    struct history_request *next;
};

void history_request_destroy(struct history_request *request);
