#include "history/history.h"

#include <string.h>

#include "base/clock.h"
#include "history/backend.h"
#include "history/claim.h"
#include "history/sqlite.h"

static const struct kind {
    const char *scheme; /* with its colon */
    int (*open)(const char *rest, enum history_mode mode, struct history **ret, struct error *err);
    int (*probe)(const char *rest, bool *ret_there, struct error *err);
    int (*claim)(const char *rest, struct claim **ret, struct error *err);
} kinds[] = {
        {"sqlite:", sqlite_open_history, sqlite_probe, claim_take},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

/* ret_rest: the location without the scheme. */
static const struct kind *kind_of(const char *location, const char **ret_rest, struct error *err) {
    for (size_t i = 0; i < KINDS; i++) {
        size_t len = strlen(kinds[i].scheme);
        if (strncmp(location, kinds[i].scheme, len) != 0)
            continue;
        *ret_rest = location + len;
        if (location[len])
            return &kinds[i];
        error_set(err, ERROR_USAGE, "store '%s' has no path: write it like sqlite:/path/to/history.db", location);
        return NULL;
    }
    /* What stands before "://" or ":" may be a password's neighbour: only the kind is repeated. */
    int kind = (int)strcspn(location, ":/");
    if (kind == 0 || location[kind] != ':')
        error_set(err, ERROR_USAGE, "store '%.200s' does not say its kind: write it like sqlite:/path/to/history.db",
                location);
    else
        error_set(err, ERROR_USAGE, "store kind '%.*s' is not known: write it like sqlite:/path/to/history.db",
                kind > 40 ? 40 : kind, location);
    return NULL;
}

int history_open(const char *location, enum history_mode mode, struct history **ret, struct error *err) {
    const char *rest;
    const struct kind *kind = kind_of(location, &rest, err);
    return kind ? kind->open(rest, mode, ret, err) : -1;
}

int history_probe(const char *location, bool *ret_there, struct error *err) {
    const char *rest;
    const struct kind *kind = kind_of(location, &rest, err);
    return kind ? kind->probe(rest, ret_there, err) : -1;
}

int history_claim(const char *location, struct claim **ret, struct error *err) {
    const char *rest;
    const struct kind *kind = kind_of(location, &rest, err);
    return kind ? kind->claim(rest, ret, err) : -1;
}

void history_close(struct history *history) {
    if (history)
        history->backend->close(history);
}

int history_apply(struct history *history, const char *cluster, struct history_request *chain, struct error *err) {
    history->refused = NULL;
    return history->backend->apply(history, cluster, chain, err);
}

const struct history_request *history_refused(const struct history *history) {
    return history->refused;
}

int history_each_open(struct history *history, const char *cluster,
        int (*each)(void *arg, const struct history_open_run *run, struct error *err), void *arg, struct error *err) {
    return history->backend->each_open(history, cluster, each, arg, err);
}

int history_each_recreated(struct history *history, const char *cluster, int64_t since_ms, int min_rows,
        int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
        struct error *err) {
    return history->backend->each_recreated(history, cluster, since_ms, min_rows, each, arg, err);
}

int history_prune(struct history *history, int64_t before_ms, int limit, int *ret_pruned, struct error *err) {
    return history->backend->prune(history, before_ms, limit, ret_pruned, err);
}

int history_each(struct history *history, const struct history_query *query,
        int (*each)(void *arg, const struct history_row *row, struct error *err), void *arg, struct error *err) {
    return history->backend->each(history, query, each, arg, err);
}

int history_check(struct history *history, struct error *err) {
    return history->backend->check(history, err);
}

void history_identify(const struct history *history, struct history_identity *ret) {
    history->backend->identify(history, ret);
}

void history_measure(const struct history *history, struct history_size *ret) {
    history->backend->measure(history, ret);
}

bool history_identity_differs(const struct history_identity *before, const struct history_identity *now) {
    return now->created || now->place != before->place || now->number != before->number ||
           now->born_ns != before->born_ns;
}

int history_verify(struct history *history, int64_t now_ms, bool quick, struct history_verified *ret,
        int (*each)(void *arg, const struct history_finding *finding, struct error *err), void *arg,
        struct error *err) {
    return history->backend->verify(history, now_ms, quick, ret, each, arg, err);
}

void history_interrupt(struct history *history) {
    history->backend->interrupt(history);
}

int history_request_check(const struct history_request *request, struct error *err) {
    const struct run *run = request->run;
    if (!request->uid[0])
        return error_set(err, ERROR_FORMAT, "a request to the register without a uid");
    if (request->op == HISTORY_RECORD && !run)
        return error_set(err, ERROR_FORMAT, "a request to record uid %s has no run", request->uid);
    if (run && (!run->namespace || !run->job_name))
        return error_set(err, ERROR_FORMAT, "the run of uid %s has no namespace or no name", request->uid);
    if (run && run->job_uid && strcmp(run->job_uid, request->uid) != 0)
        return error_set(err, ERROR_FORMAT, "a request about uid %s has the run of uid %s", request->uid, run->job_uid);
    if (request->op != HISTORY_DELETED && request->policy.state == RUN_DELETED)
        return error_set(err, ERROR_FORMAT, "a policy for uid %s that says deleted", request->uid);
    return 0;
}

/* ttl tells most: it was us. After an unknown end, an event that comes late does not tell whose it was. */
static int cause_rank(enum run_cause cause) {
    static const int ranks[] = {
            [RUN_CAUSE_NONE] = 0, [RUN_CAUSE_UNKNOWN] = 1, [RUN_CAUSE_EXTERNAL] = 1, [RUN_CAUSE_TTL] = 2};
    return ranks[cause];
}

struct history_fate history_fate_after(const struct history_fate *before, const struct history_request *request) {
    struct history_fate after = *before;
    bool gone = before->policy.state == RUN_DELETED;
    if (request->op == HISTORY_DELETED) {
        enum run_cause cause = request->cause == RUN_CAUSE_NONE ? RUN_CAUSE_UNKNOWN : request->cause;
        if (!gone || cause_rank(cause) > cause_rank(before->cause)) {
            after.deleted_at_ms = request->at_ms == TIME_NONE ? clock_wall_ms() : request->at_ms;
            if (cause_rank(cause) > cause_rank(before->cause))
                after.cause = cause;
        }
        after.policy.state = RUN_DELETED;
        return after;
    }
    if (!gone)
        after.policy = request->policy;
    if (request->op == HISTORY_INTENT) {
        after.delete_requested_at_ms = request->at_ms;
        if (!gone)
            after.policy.state = RUN_DELETING;
    }
    /* One way to say never, whichever of its names came in. */
    if (after.policy.due_at_ms == INT64_MAX)
        after.policy.due_at_ms = TIME_NONE;
    return after;
}

bool history_fate_equal(const struct history_fate *a, const struct history_fate *b) {
    return a->policy.state == b->policy.state && a->policy.ttl_ms == b->policy.ttl_ms &&
           a->policy.due_at_ms == b->policy.due_at_ms && strcmp(a->policy.rule, b->policy.rule) == 0 &&
           strcmp(a->policy.source, b->policy.source) == 0 && a->cause == b->cause &&
           a->delete_requested_at_ms == b->delete_requested_at_ms && a->deleted_at_ms == b->deleted_at_ms;
}
