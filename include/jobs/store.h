/*
 * store: what is known of the cluster at the moment: Jobs, and the Namespaces and CronJobs that have a say in them.
 *
 * A Job is kept packed, in what its decision needs: some 200 bytes with all that is around it. Who looks at one asks
 * for a view (store_job). What many have in common is there once: Namespaces, owners, and the annotations that a
 * CronJob gives to all of its Jobs.
 *
 * Loop thread. The store owns its entries; an entry's place does not move while it lives. Nothing is decided here.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/hashset.h"
#include "base/heap.h"
#include "base/intern.h"
#include "base/uuid.h"
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

#define STORE_TEXT_MAX 256 /* bytes kept of a text: a value that is not understood may have hundreds of kilobytes */

/* By store_pack.c: see there. */
struct packed_job {
    uint64_t uid[2];                            /* of a UUID its 16 bytes, else a hash, and the text is in extra */
    uint64_t resource_version;                  /* 0: none, or no number, and its text is in extra */
    struct interned *namespace, *owner, *extra; /* owner, extra: NULL when there is none */
    uint32_t times_s[5]; /* created, started, finished, completion, deletion, Unix s; 0: none, or in extra */
    int32_t spec_ttl_s;  /* SPEC_TTL_NONE */
};

/* There are as many as there are Jobs: tests/unit/test_store.c has the bytes of each. */
struct store_entry {
    struct packed_job job;
    uint32_t generation;    /* of the list that has seen it last */
    uint32_t told_mark;     /* of the decision that was news last; 0: none */
    struct heap_node timer; /* in one heap at most: wall clock, when it may go; or monotonic, when to try again */
    int64_t due_ms;         /* when it was last found to be due */
    uint64_t policy_mark;   /* of the decision that is in the register; 0: none */
    uint64_t sent_mark;     /* of the resourceVersion that the last DELETE carried */
    uint16_t source;        /* which reflector brings it */
    uint16_t attempts;      /* requests that failed in a row */
    uint8_t phase;          /* enum phase */
    uint8_t outcome;        /* enum outcome; of the Job */
    bool retries : 1;       /* timer is when to try again */
    bool recorded : 1;      /* a record is in the queue or in the register */
    bool gone : 1;          /* it was seen to be gone while something was under way */
    bool uncertain : 1;     /* a DELETE may have taken effect without an answer */
    bool accepted : 1;      /* the API server took our DELETE: its end is ours */
    bool look_first : 1;    /* before the next DELETE, GET it */
    bool ghost : 1;         /* only its row in the register is known */
    bool unlisted : 1;      /* a ghost since the start: no whole list came yet that could have it */
    bool changed : 1;       /* since its intent was submitted */
    bool counted : 1;       /* its end was told: in a dry run, or when the API server confirmed it */
    char name[];            /* the Job's; another one is in extra */
};

/* A Job as it is looked at. Borrows from its entry, until that is replaced or removed. Not to be copied. */
struct store_view {
    struct job job;
    char uid[UUID_TEXT_MAX], owner_uid[UUID_TEXT_MAX], resource_version[21];
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

/* Start with {0}. */
struct store {
    struct hashset jobs; /* of struct store_entry */
    struct intern texts;
    struct store_namespace *namespaces;
    struct store_cronjob *cronjobs;
};

void store_finish(struct store *store);

uint32_t store_count(const struct store *store);
/* Each entry once, in no order; start with {0}. Meanwhile none may be added, and only the one returned last removed. */
struct store_entry *store_next(const struct store *store, struct hashset_cursor *cursor);
struct store_entry *store_find(const struct store *store, const char *uid);
/* NULL when out of memory. The uid must not be in the store. */
struct store_entry *store_add(struct store *store, const struct job *job);
/* The uid must be the same. -1 when out of memory, and then the entry is as it was. */
int store_replace_job(struct store *store, struct store_entry *entry, const struct job *job) must_check;
/* The entry must be in no heap. */
void store_remove(struct store *store, struct store_entry *entry);

/* Fills in the view; returns its Job. */
const struct job *store_job(const struct store_entry *entry, struct store_view *view);
const char *store_namespace_of(const struct store_entry *entry);
/* Without the cost of a view, for who looks at all of them. */
bool store_is_owned_by(const struct store_entry *entry, const char *owner_uid);

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
