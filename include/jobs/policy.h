/*
 * policy: what is to become of a Job, and when.
 *
 * Pure. No I/O, no allocation in the decision, no clock of its own: all it looks at is in its arguments, so that plan,
 * sweep, run and the simulation cannot disagree. Doubt is an answer (ACTION_KEEP with a reason), never an error.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "jobs/annotations.h"
#include "jobs/job.h"
#include "jobs/run.h"

#define DUE_NEVER INT64_MAX

/* A name that comes back over and over after we deleted it: from recreate-limit times on, its Job stays for 10 minutes
 * after its finish, then for twice that, and so on; what came back this many times more is kept for good. */
#define RECREATED_WAIT_FIRST_MS (10 * 60 * 1000LL)
#define RECREATED_WAITS 5

/* A TTL from the configuration. line 0: built in. */
struct policy_ttl {
    int64_t ms;       /* DURATION_NEVER possible */
    const char *text; /* as written; NULL: not set */
    int line;
};

struct policy_section {
    char *glob; /* fnmatch(3) on the Namespace's name */
    int line;
    struct policy_ttl success, failure;
};

struct policy {
    char prefix[ANNOTATION_PREFIX_MAX];
    struct policy_ttl success, failure; /* [policy], always set */
    struct policy_section *sections;
    size_t n_sections;
    int64_t cronjob_settle_ms;
    int cronjob_settle_line;
    bool keep_hooks;
    char *owners;           /* globs of Kind or Kind.group whose Jobs may be deleted; NULL or "": none */
    int64_t recreate_limit; /* 0: never mind how often a name comes back */
    int recreate_limit_line;
};

enum action { ACTION_NONE, ACTION_WAIT, ACTION_KEEP, ACTION_DELETE };
enum rule_key {
    RULE_NONE,
    RULE_SUCCESS,
    RULE_FAILURE,
    RULE_HOLD,
    RULE_SPEC_TTL,
    RULE_CRONJOB_SETTLE,
    RULE_TERMINATING,
    RULE_HOOK,
    RULE_OWNER,
    RULE_RECREATE_LIMIT,
    RULE_UNKNOWN_KEY
};
enum rule_source {
    SOURCE_NONE,
    SOURCE_ANNOTATION,
    SOURCE_SPEC,
    SOURCE_NAMESPACE,
    SOURCE_OWNER,
    SOURCE_METADATA,
    SOURCE_CONFIG,
    SOURCE_DEFAULT
};

struct policy_rule {
    enum rule_key key;
    enum rule_source source;
    int line;              /* SOURCE_CONFIG */
    const char *name;      /* RULE_UNKNOWN_KEY: what stands there instead of a key; RULE_HOOK: the annotation */
    const char *value;     /* as written, borrowed from the Job, the Namespace or the configuration */
    const struct job *job; /* RULE_OWNER, RULE_TERMINATING: whose */
    int64_t ttl_ms;        /* RUN_UNKNOWN unless a TTL decided */
    int64_t limit;         /* RULE_RECREATE_LIMIT */
};

enum reason {
    REASON_NOT_FINISHED,
    REASON_TTL_PASSED,       /* ACTION_DELETE */
    REASON_TTL_RUNNING,      /* ACTION_WAIT */
    REASON_HELD_UNTIL,       /* ACTION_WAIT */
    REASON_CRONJOB_SETTLING, /* ACTION_WAIT */
    REASON_RECREATED,        /* ACTION_WAIT: its name came back again and again after we deleted it */
    REASON_HELD,             /* from here on ACTION_KEEP */
    REASON_NEVER,
    REASON_NOT_UNDERSTOOD, /* an annotation; why says what is wrong with it */
    REASON_DOUBT,          /* the Job itself; why says what is wrong with it */
    REASON_TERMINATING,
    REASON_NAMESPACE_UNKNOWN,
    REASON_HOOK,          /* Helm or Argo CD look after it */
    REASON_OWNED,         /* its owner, which is no CronJob, may create it again */
    REASON_RECREATED_KEPT /* as REASON_RECREATED, once too often */
};

struct decision {
    enum action action;
    enum reason reason;
    int64_t due_ms; /* WAIT, DELETE: from when on it may go; KEEP: DUE_NEVER; NONE: TIME_NONE */
    struct policy_rule rule;
    const char *why; /* static text, or NULL */
    int recreated;   /* REASON_RECREATED, REASON_RECREATED_KEPT: how often in a row */
};

enum namespace_view { NAMESPACE_KNOWN, NAMESPACE_UNKNOWN, NAMESPACE_NOT_ASKED /* offline, not in the input */ };

/* What stands around a Job. */
struct guards {
    enum namespace_view namespace;
    const struct annotations *namespace_annotations; /* NAMESPACE_KNOWN */
    /* The Job's CronJob, as far as it is known: */
    bool cronjob_active; /* the Job's uid is in its status.active */
    bool cronjob_behind; /* the Job succeeded, and lastSuccessfulTime has not caught up where the server has it */
    int recreated;       /* how often in a row its name came back right after we deleted it (jobs/recreated.h) */
};

/* The decision as of now_ms (Unix ms). Borrows its arguments. */
struct decision policy_decide(
        const struct policy *policy, const struct job *job, const struct guards *guards, int64_t now_ms);

/* "ttl-after-failure=24h", "hold=true"; false when no rule decided. Values are cut and escaped. */
bool policy_rule_text(const struct policy_rule *rule, struct strbuf *buf);
/* "annotation", "spec", "namespace annotation", "owner reference", "metadata", "config:12", "default"; false when no
 * rule decided.
 */
bool policy_source_text(const struct policy_rule *rule, struct strbuf *buf);
/* The reason in plain words, as of now_ms. */
void policy_explain(const struct decision *decision, const struct job *job, int64_t now_ms, struct strbuf *buf);
/* "none", "wait", "keep", "delete". */
const char *action_name(enum action action);
/* For the register. */
void policy_to_run(const struct decision *decision, struct run_policy *ret);

/* Built-in defaults. */
void policy_init(struct policy *policy);
