/*
 * store: what is known of the cluster at the moment: Jobs, and the Namespaces and CronJobs that have a say in them.
 *
 * Loop thread. The store owns its entries; an entry's place does not move while it lives. Nothing is decided here.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/heap.h"
#include "jobs/job.h"
#include "jobs/policy.h"

/* Where a Job stands on its way out. Changed by one function only, in reconcile_phase.c. */
enum phase {
    PHASE_IDLE,       /* nothing is under way */
    PHASE_INTENT,     /* the intent to delete it is on its way to the register */
    PHASE_DELETING,   /* the DELETE is on its way */
    PHASE_CONFIRMING, /* the API server said yes; its event is awaited */
    PHASE_LOOKING,    /* a GET is on its way, since what we know may be old */
    PHASE_FAILED      /* given up (one pass only) */
};

struct store_entry {
    struct job *job; /* owned */
    UT_hash_handle hh;
    struct heap_node due;   /* wall clock: when it may go */
    struct heap_node retry; /* monotonic: when to try again */
    uint64_t policy_mark;   /* of the decision that is in the register; 0: none */
    uint64_t sent_mark;     /* of the resourceVersion that the last DELETE carried */
    uint32_t generation;    /* of the list that has seen it last */
    uint32_t told_mark;     /* of the decision that was news last; 0: none */
    uint16_t source;        /* which reflector brings it */
    uint16_t attempts;      /* requests that failed in a row */
    uint8_t phase;          /* enum phase */
    bool recorded;          /* a record is in the queue or in the register */
    bool gone;              /* it was seen to be gone while something was under way */
    bool uncertain;         /* a DELETE may have taken effect without an answer */
    bool accepted;          /* the API server took our DELETE: its end is ours */
    bool look_first;        /* before the next DELETE, GET it */
    bool ghost;             /* only its row in the register is known */
    bool changed;           /* since its intent was submitted */
    bool counted;           /* its end was told: in a dry run, or when the API server confirmed it */
};

struct store_namespace {
    char *name;
    json_t *json; /* its annotations, which the parsed form borrows from */
    struct annotations annotations;
    uint32_t generation;
    UT_hash_handle hh;
};

struct store_cronjob {
    char *uid;
    json_t *active; /* status.active */
    int64_t last_success_ms, last_schedule_ms;
    bool tells_success; /* the API has lastSuccessfulTime */
    uint32_t generation;
    UT_hash_handle hh;
};

struct store {
    struct store_entry *entries;
    struct store_namespace *namespaces;
    struct store_cronjob *cronjobs;
};

void store_finish(struct store *store);

struct store_entry *store_find(const struct store *store, const char *uid);
/* Takes the job (a job_copy). NULL when out of memory, and then the job is freed. */
struct store_entry *store_add(struct store *store, struct job *job);
/* Takes the job in place of the entry's; the uid must be the same. */
void store_replace_job(struct store *store, struct store_entry *entry, struct job *job);
/* The entry must be in no heap. */
void store_remove(struct store *store, struct store_entry *entry);

/* object: the Namespace or CronJob as JSON. ret_changed: whether anything that matters is different. */
int store_put_namespace(struct store *store, const json_t *object, const char *prefix, uint32_t generation,
        const struct store_namespace **ret, bool *ret_changed, struct error *err) must_check;
int store_put_cronjob(struct store *store, const json_t *object, bool tells_success, uint32_t generation,
        const struct store_cronjob **ret, bool *ret_changed, struct error *err) must_check;
void store_remove_namespace(struct store *store, const char *name);
void store_remove_cronjob(struct store *store, const char *uid);
/* After a full list: what it did not have is gone. A generation holds its source in the low STORE_SOURCE_BITS, and only
 * what came from that source is looked at; 0: everything goes. */
#define STORE_SOURCE_BITS 10
void store_prune_namespaces(struct store *store, uint32_t generation);
void store_prune_cronjobs(struct store *store, uint32_t generation);

/* What stands around a Job. missing: what to say of a Namespace that is not in the store. */
struct guards store_guards(const struct store *store, const struct job *job, enum namespace_view missing);
