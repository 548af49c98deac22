/*
 * What the files of the reconciler share, and nobody else sees: reconcile.c takes in what comes, reconcile_phase.c
 * moves Jobs from phase to phase and tells the register, reconcile_delete.c has the deletions and their answers,
 * reconcile_log.c the lines of the log that tell a Job's story.
 */
#pragma once

#include <string.h>

#include "base/backoff.h"
#include "base/hash.h"
#include "base/heap.h"
#include "jobs/reconcile.h"

/* A Namespace in which deletion is forbidden: one Job tries now and then, the others wait for it. */
struct forbidden {
    char *namespace;
    int64_t until_ms; /* monotonic */
    struct backoff backoff;
    bool probing;
    UT_hash_handle hh;
};

struct reconcile {
    struct reconcile_settings settings;
    struct reconcile_ports ports;
    struct store store;
    struct skew skew;
    struct recreated recreated;
    struct heap due;   /* of struct store_entry.timer, wall clock */
    struct heap retry; /* of struct store_entry.timer, monotonic: those that have retries */
    struct forbidden *forbidden;
    uint32_t generations[RECONCILE_SOURCES_MAX];
    bool fresh[RECONCILE_SOURCES_MAX], partial[RECONCILE_SOURCES_MAX];
    bool recording, stopped;
    int64_t lease_until_ms;        /* monotonic */
    int64_t another_led_until_ms;  /* wall clock; TIME_NONE: nobody did */
    int64_t another_told_until_ms; /* monotonic */
    int64_t in_flight;
    bool crowded; /* max-in-flight was reached: until half of it is answered, nothing begins */
    /* rate: a bucket of one second's worth, in thousandths of a deletion */
    int64_t tokens_milli, tokens_at_ms;
    int64_t paused_until_ms; /* monotonic */
    struct backoff pause;
    int pauses_in_row; /* without a deletion that worked in between */
    bool troubled;     /* since a pause began, no answer was a sound one: one request at a time finds out */
    bool pause_told, no_date_told;
    struct reconcile_counts counts; /* the running ones: recorded, deleted, would_delete, failed */
    struct reconcile_totals totals;
    int64_t throttled_at_ms; /* monotonic: since when what is due waits for delete-qps alone; TIME_NONE: it does not */
};

static inline bool same_text(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

/* ---- reconcile_phase.c ---- */

/* No register, and no deletion. */
bool reconcile_is_dry(const struct reconcile *r);
/* The earlier one of the two clocks, TIME_NONE when the API server's is not known. */
int64_t reconcile_safe_now(const struct reconcile *r);
struct decision reconcile_decide(const struct reconcile *r, const struct job *job);
/* Fills in the Namespace of news of a Job. */
void reconcile_tell(const struct reconcile *r, struct news *news);
/* It counts when it is on record, and as often. */
void reconcile_tell_durable(const struct reconcile *r, const struct history_request *request);
/* Whether this is the resourceVersion that is in the store. NULL: never. */
bool reconcile_has_version(const struct store_entry *entry, const char *version);
/* FNV-1a; never 0. */
uint64_t reconcile_mark_of_text(const char *text);
/* Hands a request over; takes the run. False when memory ran out, and nothing was submitted. */
bool reconcile_submit(struct reconcile *r, enum history_op op, const struct store_entry *entry, struct run *run,
        const struct run_policy *policy, enum run_cause cause);
/* What the register is told of a decision. */
void reconcile_policy_for_row(const struct store_entry *entry, const struct decision *decision, struct run_policy *ret);
/* The decision is new for this Job: tell whom it concerns. */
void reconcile_note_decision(
        struct reconcile *r, struct store_entry *entry, const struct decision *decision, bool record);
struct forbidden *reconcile_find_forbidden(const struct reconcile *r, const char *namespace);
/* The one function that moves a Job from phase to phase. */
void reconcile_set_phase(struct reconcile *r, struct store_entry *entry, enum phase phase);
void reconcile_forget(struct reconcile *r, struct store_entry *entry);
/* With room for it in both heaps, so that what is in the store can always be scheduled. */
struct store_entry *reconcile_add_entry(struct reconcile *r, const struct job *job);
/* Whether its time has a place in the heap of what is due, or in that of what is tried again. */
bool reconcile_is_scheduled(const struct store_entry *entry);
bool reconcile_is_retried(const struct store_entry *entry);
/* Take it out of its heap, if it is in one. */
void reconcile_unschedule(struct reconcile *r, struct store_entry *entry);
/* Try again after a while; meanwhile it is in no other heap. */
void reconcile_try_later(struct reconcile *r, struct store_entry *entry, int64_t wait_ms);
/* How long it waits after so many attempts. */
int64_t reconcile_backoff_of(const struct store_entry *entry);
/* Compare what is with what should be, as far as one idle Job goes. */
void reconcile_evaluate(struct reconcile *r, struct store_entry *entry);
/* Takes the run, which may be NULL. */
void reconcile_submit_gone(struct reconcile *r, struct store_entry *entry, struct run *run, enum run_cause cause);
/* It is gone for sure. Takes the run, which may be NULL. */
void reconcile_settle_gone(struct reconcile *r, struct store_entry *entry, struct run *run);
/* Ask the API server what there is. */
void reconcile_look(struct reconcile *r, struct store_entry *entry);
/* Not in the list, or a DELETED event came: with a selector it may only have lost its label. */
void reconcile_seems_gone(struct reconcile *r, struct store_entry *entry, struct run *run);
/* The API server has taken our DELETE, and now it is gone. Or, while it terminates, it has left the selection. */
void reconcile_confirmed_gone(struct reconcile *r, struct store_entry *entry);

/* ---- reconcile_delete.c ---- */

/* Whether delete-qps limits anything. */
bool reconcile_has_rate(const struct reconcile *r);
/* Whether a request may be sent now; a deletion, if there were a token for it; a deletion. */
bool reconcile_may_request(const struct reconcile *r);
bool reconcile_has_slot(struct reconcile *r);
bool reconcile_may_start(struct reconcile *r, int64_t mono_ms);
/* Record and intent first; the DELETE follows when they are durable. Takes the run, which may be NULL. */
void reconcile_start_deletion(
        struct reconcile *r, struct store_entry *entry, const struct decision *decision, struct run *run);
/* A Job whose time came by the heap. */
void reconcile_act_on_due(struct reconcile *r, struct store_entry *entry, int64_t mono_ms);
/* A DELETE of this version may be on its way. */
void reconcile_note_sent(struct store_entry *entry);
/* Stop all deletions for a while: the API server is in trouble, or says so. */
void reconcile_pause_all(struct reconcile *r, int64_t retry_after_ms, const char *why);
/* It did not work this time. */
void reconcile_retry_or_give_up(struct reconcile *r, struct store_entry *entry, int64_t wait_ms, const char *why);

/* ---- reconcile_log.c ---- */

/* A run is on record: the request has one. */
void reconcile_log_recorded(const struct history_request *request);
/* One that we delete, would delete, or have asked to be deleted: message says which. */
void reconcile_log_deletion(const char *message, const struct job *job, const struct decision *decision);
/* One that went without us. */
void reconcile_log_gone(const struct job *job, enum run_cause cause);
