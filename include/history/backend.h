/*
 * backend: what a database must offer to keep the register. Internal to controller/history.
 *
 * A backend's struct starts with a struct history, so that one pointer serves for both.
 */
#pragma once

#include "history/history.h"

struct history_backend {
    void (*close)(struct history *history);
    int (*apply)(struct history *history, const char *cluster, struct history_request *chain, struct error *err);
    int (*each_open)(struct history *history, const char *cluster,
            int (*each)(void *arg, const struct history_open_run *run, struct error *err), void *arg,
            struct error *err);
    int (*each_recreated)(struct history *history, const char *cluster, int64_t since_ms, int min_rows,
            int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
            struct error *err);
    int (*prune)(struct history *history, int64_t before_ms, int limit, int *ret_pruned, struct error *err);
    int (*each)(struct history *history, const struct history_query *query,
            int (*each)(void *arg, const struct history_row *row, struct error *err), void *arg, struct error *err);
    void (*interrupt)(struct history *history); /* any thread */
    int (*check)(struct history *history, struct error *err);
    int (*verify)(struct history *history, int64_t now_ms, bool quick, struct history_verified *ret,
            int (*each)(void *arg, const struct history_finding *finding, struct error *err), void *arg,
            struct error *err);
    void (*identify)(const struct history *history, struct history_identity *ret);
    void (*measure)(const struct history *history, struct history_size *ret);
};

struct history {
    const struct history_backend *backend;
    const struct history_request *refused; /* see history_refused; borrowed from the last chain */
};

/* What a request makes of a row's second half: what was decided, and what became of the Job. The first half, the run
 * itself, only ever gains knowledge. */
struct history_fate {
    struct run_policy policy;
    enum run_cause cause;
    int64_t delete_requested_at_ms, deleted_at_ms;
};

/* Of a row that is not there yet. */
#define HISTORY_FATE_NONE \
    { \
        .policy = {.state = RUN_KEPT, .ttl_ms = RUN_UNKNOWN, .due_at_ms = TIME_NONE}, .cause = RUN_CAUSE_NONE, \
        .delete_requested_at_ms = TIME_NONE, .deleted_at_ms = TIME_NONE \
    }

/* Pure. The rules of jobs/run.h: deleted is final, and so is its cause, but that ttl replaces another and brings
 * its time along. Applying a request twice is applying it once. */
struct history_fate history_fate_after(const struct history_fate *before, const struct history_request *request);
bool history_fate_equal(const struct history_fate *a, const struct history_fate *b);

/* Whether a request makes sense by itself: -1 and ERROR_FORMAT when no store could ever take it. */
int history_request_check(const struct history_request *request, struct error *err) must_check;
