/*
 * reconcile: what happens next to each Job. Level-triggered: compares what is with what should be, and asks for the
 * next step through its ports; every answer, event and timer leads back here.
 *
 * Loop thread. No I/O and no timers of its own: the owner calls reconcile_run when it is due (ports.wake, and the time
 * that reconcile_run returns). The invariants of this program are kept here:
 *   - a DELETE is asked for only from the answer that record and intent are durable;
 *   - it carries the uid and the resourceVersion that the decision was made on;
 *   - only while the lease is held, by the monotonic clock, up to the moment at which the DELETE leaves;
 *   - only while what is known is fresh, the register can be written, and the decision, made again at that moment on
 * both clocks, still says so.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "jobs/evidence.h"
#include "jobs/news.h"
#include "jobs/policy.h"
#include "jobs/recreated.h"
#include "jobs/run.h"
#include "jobs/skew.h"
#include "jobs/store.h"

#define RECONCILE_SOURCES_MAX 1024 /* one for each Namespace of a list; more than that asks for '*' and a selector */
#define RECONCILE_BACKOFF_FIRST_MS 1000
#define RECONCILE_BACKOFF_LAST_MS 300000 /* of one Job, or of a Namespace that forbids deletion */
#define RECONCILE_PAUSE_FIRST_MS 800
#define RECONCILE_PAUSE_LAST_MS 30000    /* of all deletions, while the API server is in trouble */
#define RECONCILE_PASS_ATTEMPTS 4        /* one pass: a Job that could not be deleted so often has failed */
#define RECONCILE_PASS_WAIT_MAX_MS 60000 /* one pass: a server that wants more patience than this has refused */
#define RECONCILE_SLEEP_MAX_MS 60000     /* look at the clocks at least this often: they may be stepped */

struct reconcile;

/* An answer to a DELETE or a GET. */
struct reconcile_answer {
    int status;             /* 0: none */
    bool sent;              /* without an answer: the server may have acted */
    bool withheld;          /* reconcile_may_send said no, and it was not sent */
    int64_t retry_after_ms; /* -1: not given */
    const char *message;    /* for people */
    const json_t *body;     /* NULL unless it was JSON */
};

struct reconcile_ports {
    void *arg;
    /* Send DELETE with Background, preconditions job->uid and job->resource_version, unless reconcile_may_send says no
     * at the last moment. The answer goes to reconcile_on_delete, never from within. -1: it could not be sent. */
    int (*delete_job)(void *arg, const struct job *job);
    /* Send GET; the answer goes to reconcile_on_get with this uid, never from within. */
    int (*get_job)(void *arg, const char *namespace, const char *name, const char *uid);
    /* To the register; takes the request. NULL in a dry run: nothing is recorded and nothing deleted. */
    void (*submit)(void *arg, struct history_request *request);
    /* Call reconcile_run soon. */
    void (*wake)(void *arg);
    /* Something happened to one Job. May be NULL. Must not call back. */
    void (*tell)(void *arg, const struct news *news);
};

struct reconcile_settings {
    const struct policy *policy;              /* borrowed; may change, then reconcile_policy_changed */
    const struct evidence_settings *evidence; /* borrowed; may change */
    int64_t delete_qps;                       /* 0: unlimited */
    int64_t max_in_flight;
    bool has_selector; /* a Job that leaves the selection looks deleted: look before believing it */
    bool leader_elect; /* only who holds the lease deletes: see reconcile_set_lease */
    bool one_pass;     /* sweep: give up after some attempts instead of trying for ever */
    enum namespace_view missing_namespace;
};

struct reconcile_counts {
    int64_t seen, unfinished, recorded, deleted, would_delete, waiting, kept, failed, pending;
};

/* The Jobs that are there, each in one of these. */
struct reconcile_survey {
    int64_t running;               /* not finished */
    int64_t waiting;               /* its time has not come */
    int64_t due;                   /* its time has come */
    int64_t held;                  /* by an annotation, for ever or until then */
    int64_t kept;                  /* for good: never, or by a guard */
    int64_t invalid;               /* kept because something about it is not understood */
    int64_t terminating;           /* finished, and somebody has deleted it, but a finalizer keeps it */
    int64_t oldest_terminating_ms; /* for how long, by the API server's clock; 0: none */
};

/* Since the start. */
struct reconcile_totals {
    int64_t rate_waits, rate_wait_ms; /* how often deletions waited for delete-qps alone, and for how long */
};

struct reconcile *reconcile_create(
        const struct reconcile_settings *settings, const struct reconcile_ports *ports, struct error *err);
void reconcile_destroy(struct reconcile *r);
/* The reloadable numbers of the settings. */
void reconcile_set_limits(struct reconcile *r, int64_t delete_qps, int64_t max_in_flight);

struct store *reconcile_store(struct reconcile *r);
struct skew *reconcile_skew(struct reconcile *r);
const struct recreated *reconcile_recreated(const struct reconcile *r);

/* Rows of the register that were open at the start. Settled by the first whole list of their source. */
int reconcile_add_open_row(struct reconcile *r, const char *namespace, const char *name, const char *uid,
        enum run_state state, uint16_t source, struct error *err) must_check;

/* What the register knows of Jobs that were deleted before the start, in the order of their deletion for each name: see
 * jobs/recreated.h. */
void reconcile_note_deleted(
        struct reconcile *r, const char *namespace, const char *name, int64_t created_ms, int64_t deleted_ms);

/* Jobs as they come. source: which reflector. -1: there was no memory for it, and it must come again. */
void reconcile_list_begins(struct reconcile *r, uint16_t source);
int reconcile_on_job(struct reconcile *r, uint16_t source, const struct job_object *object);
int reconcile_on_job_deleted(struct reconcile *r, uint16_t source, const struct job_object *object);
/* Something in this list could not be read: what is not in it need not be gone. */
void reconcile_list_is_partial(struct reconcile *r, uint16_t source);
void reconcile_list_complete(struct reconcile *r, uint16_t source);

/* Something around the Jobs changed: decide again. NULL: all of them. */
void reconcile_namespace_changed(struct reconcile *r, const char *namespace);
void reconcile_cronjob_changed(struct reconcile *r, const char *cronjob_uid);
void reconcile_policy_changed(struct reconcile *r);

/* While false, no deletion of this source's Jobs is started. False at first. */
void reconcile_set_fresh(struct reconcile *r, uint16_t source, bool fresh);
void reconcile_set_recording(struct reconcile *r, bool possible);
/* Nothing is on record any more: what there is, is recorded again when it comes in the next list, at the latest before
 * it is deleted. */
void reconcile_register_is_new(struct reconcile *r);
/* We may delete until until_ms (monotonic); 0 or what has passed: not now. At first not, with leader_elect.
 * after_another: another controller could delete before us. */
void reconcile_set_lease(struct reconcile *r, int64_t until_ms, bool after_another);
bool reconcile_leads(const struct reconcile *r);
/* No new deletions from here on; what is in flight goes on. */
void reconcile_stop(struct reconcile *r);

/* Whether the DELETE that is about to leave may still do so. Pure: asked from wherever the last moment is. */
bool reconcile_may_send(const struct reconcile *r, const char *uid);
void reconcile_on_durable(struct reconcile *r, const struct history_request *request);
/* The register can never take this request (it has no such run). */
void reconcile_on_refused(struct reconcile *r, const struct history_request *request);
void reconcile_on_delete(struct reconcile *r, const char *uid, const struct reconcile_answer *answer);
void reconcile_on_get(struct reconcile *r, const char *uid, const struct reconcile_answer *answer);

/* Does what is due. Returns after how many ms to call again, at most RECONCILE_SLEEP_MAX_MS. */
int64_t reconcile_run(struct reconcile *r);

/* Requests and intents under way. */
int64_t reconcile_in_flight(const struct reconcile *r);
/* One pass: whether nothing is left that could still happen. */
bool reconcile_is_done(const struct reconcile *r);
struct reconcile_counts reconcile_count(const struct reconcile *r);
/* Looks at every Job. */
struct reconcile_survey reconcile_survey(const struct reconcile *r);
struct reconcile_totals reconcile_total(const struct reconcile *r);
/* Whether deletions pause because of how the API server answered. */
bool reconcile_is_paused(const struct reconcile *r);
