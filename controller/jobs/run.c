#include "jobs/run.h"

#include <stdlib.h>

#include "base/clock.h"

const char *outcome_name(enum outcome outcome) {
    static const char *const names[] = {NULL, "Succeeded", "Failed"};
    return names[outcome];
}

const char *run_trigger_name(enum run_trigger trigger) {
    static const char *const names[] = {"other", "scheduled", "manual"};
    return names[trigger];
}

const char *run_state_name(enum run_state state) {
    static const char *const names[] = {"kept", "due", "deleting", "deleted"};
    return names[state];
}

const char *run_cause_name(enum run_cause cause) {
    static const char *const names[] = {NULL, "ttl", "external", "unknown"};
    return names[cause];
}

struct run *run_create(void) {
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return NULL;
    run->scheduled_at_ms = run->created_at_ms = run->started_at_ms = run->finished_at_ms = TIME_NONE;
    run->pods_succeeded = run->pods_failed = run->completions = run->parallelism = run->backoff_limit = RUN_UNKNOWN;
    return run;
}

void run_destroy(struct run *run) {
    if (!run)
        return;
    char *const owned[] = {run->namespace, run->job_name, run->job_uid, run->resource_version, run->owner_kind,
            run->owner_name, run->owner_uid, run->cronjob, run->reason, run->message, run->completion_mode,
            run->completed_indexes, run->failed_indexes, run->images, run->labels, run->annotations, run->manifest};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
        free(owned[i]);
    free(run);
}

void history_request_destroy(struct history_request *request) {
    if (!request)
        return;
    run_destroy(request->run);
    free(request);
}
