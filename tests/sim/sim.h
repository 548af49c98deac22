/*
 * sim: a cluster in one process, on virtual time: an API server, up to two machines that each run the real controller,
 * and a model that is told the truth and checks every promise after every step.
 *
 * One thread. Whatever happens is a happening in one queue, in the order of virtual time; whatever is left to chance
 * comes from one generator, which each step seeds anew. So a seed replays exactly, and a step that is taken out leaves
 * the others what they were.
 *
 * The three modules that are replaced at link time (base/loop, kube/http, history/writer) are called by the product
 * without a word on which machine calls: world->running says that. It and the world itself are the simulation's only
 * globals.
 */
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "cmd/config.h"
#include "cmd/engine.h"
#include "history/backend.h"
#include "kube/kubeconfig.h"

#define MACHINES_MAX 2
#define NAMESPACES 4
#define CRONJOBS 4
#define LIVE_MAX 64                 /* Jobs at a time */
#define ACTIVE_MAX 4                /* Jobs in a CronJob's status.active */
#define RV_FIRST 1000               /* the resourceVersion of the first entry of the log */
#define TURNS_MAX 20000             /* happenings at one moment: more is a loop that never waits */
#define START_WALL_MS 1767312000000 /* 2026-01-02T00:00:00Z */

struct machine;
struct http_transfer;
struct writer;

/* ---- chance ---- */

uint64_t chance_below(uint64_t n);
int64_t chance_range(int64_t least, int64_t most);
bool chance_permille(int permille);
void chance_seed(uint64_t seed);
uint64_t mix(uint64_t a, uint64_t b);

/* ---- the queue ---- */

struct happening {
    int64_t at_ms;
    uint64_t order;          /* at one moment: first planned, first served */
    uint32_t index;          /* in the queue; UINT32_MAX: not planned */
    struct machine *machine; /* whose process must run for it; NULL: the network's, or the server's */
    void (*happen)(void *arg);
    void *arg;
};

void happening_init(struct happening *h, struct machine *machine, void (*happen)(void *arg), void *arg);
/* Moves it when it is planned already. */
void happening_plan(struct happening *h, int64_t at_ms);
void happening_cancel(struct happening *h);
bool happening_is_planned(const struct happening *h);
/* The next one that is due by until_ms. False: there was none, and time has gone on to until_ms. */
bool queue_run_one(int64_t until_ms);

/* ---- what there is in the cluster ---- */

enum kind { KIND_NAMESPACE, KIND_CRONJOB, KIND_JOB, KINDS, KIND_LEASE };
enum change { CHANGE_ADDED, CHANGE_MODIFIED, CHANGE_DELETED };

enum value_kind { VALUE_ABSENT, VALUE_SET, VALUE_NEVER, VALUE_BAD };
struct ttl_value {
    enum value_kind kind;
    int32_t seconds;
};

enum hold_kind { HOLD_ABSENT, HOLD_TRUE, HOLD_FALSE, HOLD_UNTIL, HOLD_BAD };
struct notes { /* annotations with our prefix, of a Job or of a Namespace */
    struct ttl_value success, failure;
    enum hold_kind hold;
    int64_t hold_until_ms;
    bool unknown_key;
};

enum doubt { DOUBT_NONE, DOUBT_BOTH, DOUBT_NO_TIME, DOUBT_STATUS };
enum owner { OWNER_NONE, OWNER_CRONJOB, OWNER_FOREIGN, OWNER_LOOSE };
enum hook { PLAIN, HELM_HOOK, ARGO_HOOK };

struct job_state {
    int64_t created_ms, started_ms, finished_ms, deletion_ms; /* TIME_NONE */
    uint8_t outcome;                                          /* enum outcome */
    uint8_t doubt, owner, hook;
    bool suspended, finalizer, selected, target; /* target: SuccessCriteriaMet or FailureTarget comes before the end */
    int8_t cronjob;                              /* OWNER_CRONJOB: which */
    uint32_t cronjob_generation;
    int32_t spec_ttl_s; /* -1: none */
    int32_t failed, touched;
    struct notes notes;
};

struct cronjob_state {
    uint32_t generation;
    int32_t active[ACTIVE_MAX];
    int n_active;
    int64_t last_success_ms; /* TIME_NONE */
};

struct namespace_state {
    uint32_t generation;
    struct notes notes;
};

/* One write to the cluster. Its place in the log is its resourceVersion. */
struct entry {
    enum kind kind;
    enum change change;
    int32_t object;   /* the Job's number, the CronJob's, the Namespace's */
    int32_t previous; /* the object's entry before this one, -1 */
    char *message;    /* a Job's, in protobuf, once that was asked for */
    size_t message_len;
    union {
        struct job_state job;
        struct cronjob_state cronjob;
        struct namespace_state namespace;
    };
};

#define BY_NOBODY (-1)
#define BY_OTHERS (-2)

struct truth_job {
    int namespace;
    char name[32];
    int32_t head; /* its last entry */
    bool gone;
    int requester;                        /* whose DELETE took effect: a machine's, BY_NOBODY, BY_OTHERS */
    int place;                            /* in world->live, -1 */
    uint32_t told_finished[MACHINES_MAX]; /* the boot to which it was told as finished; 0: none */
    int32_t known[MACHINES_MAX];          /* the entry that was delivered last, -1 */
    int64_t failing_minute;               /* requests of this Job that failed, by the minute */
    int failing_requests;
};

struct truth_slot { /* a Namespace or a CronJob */
    int32_t head;   /* -1: never was */
    bool there;
    uint32_t generation;
    int namespace; /* of a CronJob */
};

/* ---- a machine and the controller on it ---- */

enum feed_state { FEED_DOWN, FEED_LISTED, FEED_OPEN };
struct feed_view { /* what a machine can know of its own list and watch */
    enum feed_state state;
    bool asks_again; /* after a 401 */
    bool since_list; /* the watch followed a list without a break */
    int64_t opened_ms;
    uint32_t seen; /* of the list under way: which objects (Namespaces and CronJobs) */
    int32_t known; /* the highest entry that it was told of, by item, list or bookmark */
    int64_t minute;
    int failing; /* requests that failed, in this minute */
};

struct row {
    bool there, has_run;
    int32_t version; /* the Job's entry that it was made from last, -1 */
    uint8_t outcome;
    int64_t started_ms, finished_ms;
    struct history_fate fate;
    uint32_t ended_in_boot; /* of which process its end was put on record */
};

struct ledger { /* what the process has put on record, by Namespace */
    int64_t recorded[NAMESPACES], deleted[NAMESPACES][4 /* enum run_cause */];
    bool void_for_good; /* its register was replaced */
};

struct settings {                      /* what the configuration says, in the model's own words */
    struct ttl_value success, failure; /* [policy] */
    struct ttl_value section_success[NAMESPACES], section_failure[NAMESPACES]; /* [namespace X] */
    int64_t settle_ms;
    int64_t delete_qps, max_in_flight;
};

struct machine {
    int index;
    /* the computer */
    int64_t wall_off_ms, mono_off_ms;
    int64_t frozen_until_ms, cut_until_ms; /* SIGSTOP; no network */
    struct row *rows;                      /* the register: survives everything */
    int n_rows;
    int64_t store_bad_until_ms, store_slow_ms;
    bool store_replaced, store_was_lost; /* by an empty one, and nobody has noticed; and: ever */
    /* the process */
    bool up, stopping, ending, crashing, one_pass;
    uint32_t boot;
    struct loop *loop;
    struct engine *engine;
    struct writer *writer;
    struct config *config;
    struct happening restart;
    struct settings settings;
    struct ledger ledger;
    /* what the model knows of the process */
    int32_t known_namespace[NAMESPACES], known_cronjob[CRONJOBS]; /* entry, -1: none there */
    struct feed_view feeds[KINDS][NAMESPACES + 1];
    int open_job_requests;
    int64_t most_in_flight, most_qps, limits_until_ms;
    int64_t tokens_milli, tokens_at_ms;
    int64_t lease_asked_ms; /* when the last renewal that worked was asked for; TIME_NONE */
    bool lease_given_back;
    int64_t server_high_ms, server_epoch; /* least upper bound of server minus true time, of Dates of that epoch */
    int64_t boot_epoch;
    int64_t request_minute;
    int requests, events; /* within that minute */
};

/* ---- the world ---- */

struct flavor { /* drawn once for each world */
    int machines;
    bool leader_elect, v1beta1, selector, listed, manifest, second_token;
    bool unfaithful; /* the API server loses events and gives out old lists */
    bool garbled;    /* items of its lists cannot be read */
    int faults;      /* permille of requests that go wrong */
    int live;        /* Jobs at a time, about */
    int page;        /* items on a page of a list; 0: all */
    int queue_room;  /* requests the register takes in before it says stop */
    int ttl_max_s;
    int recreate_limit; /* 0: that guard is off */
    bool events;        /* Kubernetes Events are written */
    bool protobuf;      /* the API server speaks it */
};

struct world {
    uint64_t seed, digest;
    uint64_t chance;
    int64_t now_ms; /* the true time */
    int64_t server_off_ms, server_epoch;
    struct flavor flavor;
    struct settings settings;
    bool healed; /* no more faults */
    bool tracing;
    struct machine machines[MACHINES_MAX];
    struct machine *running;

    struct happening **queue;
    uint32_t queue_len, queue_capacity;
    uint64_t orders;
    int turns;

    struct entry *log;
    int log_len, log_capacity;
    int compacted; /* entries before this one cannot be watched from */
    struct truth_job *jobs;
    int n_jobs, jobs_capacity;
    int live[LIVE_MAX], n_live;
    struct truth_slot namespaces[NAMESPACES], cronjobs[CRONJOBS];
    struct lease_truth {
        bool there;
        int32_t version;
        char *spec;
        int holder; /* a machine, BY_NOBODY */
    } lease;
    struct http_transfer *transfers; /* all of them, also those whose process is gone */
    int64_t storm_until_ms, forbidden_until_ms[NAMESPACES], no_login_until_ms, no_date_until_ms;
    int storm_status;

    int step; /* the one under way */
    int invariant;
    char why[1024];
    jmp_buf out;
};

extern struct world *world;

#define trace(...) \
    do { \
        if (world->tracing) \
            trace_line(__VA_ARGS__); \
    } while (0)
void trace_line(const char *fmt, ...) printf_like(1, 2);

/* For the replay to be compared: everything that happens goes in here. */
void digest_number(uint64_t number);
void digest_text(const char *text);

/* ---- promises ---- */

enum invariant {
    HOLDS,
    RECORD_FIRST,  /* no DELETE without a durable record and intent */
    NEVER_EARLY,   /* finished, and its time up on both clocks */
    PRECONDITIONS, /* uid, resourceVersion, Background; nothing that is being deleted already */
    KEPT_STAYS,    /* never, hold, not understood */
    STALE,         /* decided on what was known to be old */
    LEASE,         /* the one with the lease, and only while it holds */
    AFTER_STOP,    /* nothing begins after the stop */
    BOUNDED,       /* in flight, rate, retries */
    REGISTER,      /* what is on record is true */
    COUNTED,       /* the metrics say what is on record */
    QUIESCENCE,    /* in the end everything is as it should be */
    INVARIANTS
};
extern const char *const invariant_names[INVARIANTS];
_Noreturn void violated(enum invariant invariant, const char *fmt, ...) printf_like(2, 3);

/* ---- what was exercised ---- */

enum count {
    COUNT_JOBS,
    COUNT_FINISHED,
    COUNT_DELETE_SENT,
    COUNT_DELETED,
    COUNT_TERMINATING,
    COUNT_WITHHELD,
    COUNT_LOST_BEFORE,
    COUNT_LOST_AFTER,
    COUNT_REFUSED_CONNECTION,
    COUNT_TRUNCATED,
    COUNT_401,
    COUNT_403,
    COUNT_404,
    COUNT_409,
    COUNT_410_STATUS,
    COUNT_410_EVENT,
    COUNT_410_CONTINUE,
    COUNT_429,
    COUNT_429_AFTER,
    COUNT_5XX,
    COUNT_5XX_AFTER_EFFECT,
    COUNT_LISTS,
    COUNT_PAGES,
    COUNT_PROTOBUF,
    COUNT_NAMESPACE_GETS,
    COUNT_WATCHES,
    COUNT_WATCH_IN_THE_PAST,
    COUNT_WATCH_CUT,
    COUNT_WATCH_MID_JSON,
    COUNT_EVENTS,
    COUNT_BOOKMARKS,
    COUNT_KUBERNETES_EVENTS,
    COUNT_DOUBLED,
    COUNT_DROPPED,
    COUNT_REORDERED,
    COUNT_STALE_LIST,
    COUNT_GARBLED,
    COUNT_PAUSES,
    COUNT_COMMITS,
    COUNT_STORE_FAILED,
    COUNT_STORE_FAILED_AFTER,
    COUNT_STORE_REFUSED,
    COUNT_STORE_REPLACED,
    COUNT_BOOTS,
    COUNT_BOOT_FAILED,
    COUNT_CRASHES,
    COUNT_STOPS,
    COUNT_FREEZES,
    COUNT_PARTITIONS,
    COUNT_RELOADS,
    COUNT_PASSES,
    COUNT_CLOCK_STEPS,
    COUNT_SERVER_STEPS,
    COUNT_LEASE_TAKEN,
    COUNT_LEASE_CONFLICTS,
    COUNT_CAUSE_TTL,
    COUNT_CAUSE_EXTERNAL,
    COUNT_CAUSE_UNKNOWN,
    COUNTS
};
extern uint64_t counts[COUNTS];
extern const char *const count_names[COUNTS];
