#include "base/clock.h"
#include "base/log.h"
#include "jobs/reconcile_internal.h"

/* A field that is not known is left out. */
static const char *known(const char *text) {
    return text && *text ? text : NULL;
}

static struct log_field duration(const char *key, int64_t from_ms, int64_t to_ms) {
    bool is_known = from_ms != TIME_NONE && to_ms != TIME_NONE && to_ms >= from_ms;
    return is_known ? log_duration(key, to_ms - from_ms) : log_text(key, NULL);
}

static struct log_field ttl(const struct run_policy *policy) {
    return policy->ttl_ms == RUN_UNKNOWN ? log_text("ttl", NULL) : log_duration("ttl", policy->ttl_ms);
}

/* What the line says of a decision, in this order. */
#define POLICY_FIELDS(p) \
    log_text("policy", known((p)->rule)), log_text("source", known((p)->source)), ttl(p), \
            log_time("due", (p)->due_at_ms)

void reconcile_log_recorded(const struct history_request *request) {
    const struct run *run = request->run;
    log_info("run recorded", log_job(run->namespace, run->job_name), log_text("uid", run->job_uid),
            log_text("outcome", outcome_name(run->outcome)), log_text("reason", known(run->reason)),
            log_time("finished", run->finished_at_ms), duration("duration", run->started_at_ms, run->finished_at_ms),
            log_text("state", run_state_name(request->policy.state)), POLICY_FIELDS(&request->policy),
            log_text("cronjob", known(run->cronjob)));
}

void reconcile_log_deletion(const char *message, const struct job *job, const struct decision *decision) {
    struct run_policy policy = {.ttl_ms = RUN_UNKNOWN, .due_at_ms = TIME_NONE};
    /* Our own deletion may have been seen before it was answered, and then decides. */
    if (decision->action == ACTION_DELETE)
        policy_to_run(decision, &policy);
    log_info(message, log_job(job->namespace, job->name), log_text("uid", job->uid),
            log_text("outcome", outcome_name(job->outcome)), log_text("cause", run_cause_name(RUN_CAUSE_TTL)),
            log_time("finished", job->finished_ms), duration("duration", job->started_ms, job->finished_ms),
            POLICY_FIELDS(&policy), log_text("cronjob", job_has_cronjob(job) ? job->owner_name : NULL));
}

void reconcile_log_gone(const struct job *job, enum run_cause cause) {
    log_info(cause == RUN_CAUSE_EXTERNAL ? "job is gone, deleted by someone else"
                                         : "job is gone, and who deleted it is not known",
            log_job(job->namespace, job->name), log_text("uid", job->uid),
            log_text("outcome", outcome_name(job->outcome)), log_text("cause", run_cause_name(cause)),
            log_time("finished", job->finished_ms), duration("duration", job->started_ms, job->finished_ms),
            log_text("cronjob", job_has_cronjob(job) ? job->owner_name : NULL));
}
