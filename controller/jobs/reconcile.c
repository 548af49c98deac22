#include "jobs/reconcile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

#define LEADER_TAIL_MS 60000 /* after that, news of what another did while it led has come */
#define LEADER_AHEAD_MS 2000 /* two controllers' idea of the API server's clock differs by a second or so */

/* A Namespace in which deletion is forbidden: one Job tries now and then, the others wait for it. */
struct forbidden {
    char *namespace;
    int64_t until_ms; /* monotonic */
    struct backoff backoff;
    bool probing;
    UT_hash_handle hh;
};

/* A row of the register whose Job was there when the last controller stopped. */
struct open_row {
    char *uid, *namespace, *name;
    enum run_state state;
    uint16_t source;
    UT_hash_handle hh;
};

struct reconcile {
    struct reconcile_settings settings;
    struct reconcile_ports ports;
    struct store store;
    struct skew skew;
    struct recreated recreated;
    struct heap due;   /* of struct store_entry.due, wall clock */
    struct heap retry; /* of struct store_entry.retry, monotonic */
    struct forbidden *forbidden;
    struct open_row *open_rows;
    uint32_t generations[RECONCILE_SOURCES_MAX];
    bool fresh[RECONCILE_SOURCES_MAX], partial[RECONCILE_SOURCES_MAX];
    bool recording, stopped;
    int64_t lease_until_ms;        /* monotonic */
    int64_t another_led_until_ms;  /* wall clock; TIME_NONE: nobody did */
    int64_t another_told_until_ms; /* monotonic */
    int64_t in_flight;
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

static bool is_dry(const struct reconcile *r) {
    return r->ports.submit == NULL;
}

bool reconcile_leads(const struct reconcile *r) {
    return is_dry(r) || clock_mono_ms() < r->lease_until_ms;
}

struct reconcile *reconcile_create(
        const struct reconcile_settings *settings, const struct reconcile_ports *ports, struct error *err) {
    struct reconcile *r = calloc(1, sizeof *r);
    if (!r) {
        error_nomem(err);
        return NULL;
    }
    r->settings = *settings;
    r->ports = *ports;
    r->recording = true;
    r->lease_until_ms = settings->leader_elect ? INT64_MIN : INT64_MAX;
    r->another_led_until_ms = r->throttled_at_ms = TIME_NONE;
    r->pause = (struct backoff)BACKOFF_INIT(RECONCILE_PAUSE_FIRST_MS, RECONCILE_PAUSE_LAST_MS);
    r->tokens_at_ms = clock_mono_ms();
    r->tokens_milli = settings->delete_qps * 1000;
    return r;
}

static void free_row_memory(struct open_row *row) {
    free(row->uid);
    free(row->namespace);
    free(row->name);
    free(row);
}

static void free_open_row(struct reconcile *r, struct open_row *row) {
    HASH_DEL(r->open_rows, row);
    free_row_memory(row);
}

void reconcile_destroy(struct reconcile *r) {
    if (!r)
        return;
    heap_finish(&r->due);
    heap_finish(&r->retry);
    store_finish(&r->store);
    recreated_finish(&r->recreated);
    struct forbidden *f, *next;
    HASH_ITER (hh, r->forbidden, f, next) {
        HASH_DEL(r->forbidden, f);
        free(f->namespace);
        free(f);
    }
    struct open_row *row, *next_row;
    HASH_ITER (hh, r->open_rows, row, next_row)
        free_open_row(r, row);
    free(r);
}

void reconcile_set_limits(struct reconcile *r, int64_t delete_qps, int64_t max_in_flight) {
    r->settings.delete_qps = delete_qps;
    r->settings.max_in_flight = max_in_flight;
    r->ports.wake(r->ports.arg);
}

struct store *reconcile_store(struct reconcile *r) {
    return &r->store;
}

struct skew *reconcile_skew(struct reconcile *r) {
    return &r->skew;
}

const struct recreated *reconcile_recreated(const struct reconcile *r) {
    return &r->recreated;
}

static int64_t safe_now(const struct reconcile *r) {
    return skew_safe_now(&r->skew, clock_wall_ms(), clock_mono_ms());
}

static struct decision decide(const struct reconcile *r, const struct job *job) {
    struct guards guards = store_guards(&r->store, job, r->settings.missing_namespace);
    guards.recreated = recreated_count(&r->recreated, job->namespace, job->name, job->created_ms);
    return policy_decide(r->settings.policy, job, &guards, safe_now(r));
}

/* ---- what others are told ---- */

static void tell(const struct reconcile *r, struct news *news) {
    if (!r->ports.tell)
        return;
    if (news->job)
        news->namespace = news->job->namespace;
    r->ports.tell(r->ports.arg, news);
}

/* It counts when it is on record, and as often. */
static void tell_durable(const struct reconcile *r, const struct history_request *request) {
    if (request->inserted)
        tell(r, &(struct news){.kind = NEWS_RECORDED, .run = request->run, .namespace = request->namespace});
    if (!request->ended)
        return;
    tell(r, &(struct news){.kind = NEWS_DELETED,
                    .namespace = request->namespace,
                    .cause = request->cause,
                    .finished_ms = request->finished_ms,
                    .due_ms = request->due_ms,
                    .at_ms = request->at_ms + skew_from_wall(&r->skew, clock_wall_ms(), clock_mono_ms())});
}

/* ---- what goes to the register ---- */

/* FNV-1a; never 0. */
static uint64_t mark_of_text(const char *text) {
    uint64_t hash = 14695981039346656037u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash ? hash : 1;
}

static uint64_t mark_of(const struct run_policy *policy) {
    char text[256];
    snprintf(text, sizeof text, "%d %lld %lld %s %s", policy->state, (long long)policy->ttl_ms,
            (long long)policy->due_at_ms, policy->rule, policy->source);
    return mark_of_text(text);
}

/* Hands a request over; takes the run. False when memory ran out, and nothing was submitted. */
static bool submit(struct reconcile *r, enum history_op op, const struct store_entry *entry, struct run *run,
        const struct run_policy *policy, enum run_cause cause) {
    const struct job *job = entry->job;
    struct history_request *request = calloc(1, sizeof *request);
    if (!request) {
        run_destroy(run);
        log_error("out of memory: a change did not reach the register", log_job(job->namespace, job->name),
                log_text("uid", job->uid));
        return false;
    }
    request->op = op;
    snprintf(request->uid, sizeof request->uid, "%s", job->uid);
    snprintf(request->namespace, sizeof request->namespace, "%s", job->namespace);
    request->finished_ms = job->finished_ms;
    request->due_ms = entry->accepted ? entry->due.key : TIME_NONE;
    request->run = run;
    if (policy)
        request->policy = *policy;
    request->cause = cause;
    request->at_ms = clock_wall_ms();
    r->ports.submit(r->ports.arg, request);
    return true;
}

static void log_kept(const struct job *job, const struct decision *decision) {
    struct strbuf why = STRBUF_INIT(4096);
    policy_explain(decision, job, clock_wall_ms(), &why);
    log_warn("a Job is kept because something about it is not understood", log_job(job->namespace, job->name),
            log_text("uid", job->uid), log_text("reason", strbuf_text(&why)));
    strbuf_finish(&why);
}

/* Once for each Job, and so once for each step. */
static void log_recreated(const struct job *job, const struct decision *decision) {
    struct strbuf why = STRBUF_INIT(4096);
    policy_explain(decision, job, clock_wall_ms(), &why);
    log_warn("a Job comes back whenever it is deleted", log_job(job->namespace, job->name), log_text("uid", job->uid),
            log_number("times", decision->recreated), log_text("reason", strbuf_text(&why)),
            log_text("hint", "in what creates it, let it be kept (annotation ttl-after-success: never, or hold: true), "
                             "or have that tool delete it"));
    strbuf_finish(&why);
}

/* What the register is told of a decision. */
static void policy_for_row(const struct store_entry *entry, const struct decision *decision, struct run_policy *ret) {
    policy_to_run(decision, ret);
    /* It is being deleted, and perhaps because we asked: the intent stands, so that the next start knows that too. */
    if ((entry->uncertain || entry->accepted) && entry->job->deletion_ms != TIME_NONE)
        ret->state = RUN_DELETING;
}

/* The decision is new for this Job: tell whom it concerns. */
static void note_decision(
        struct reconcile *r, struct store_entry *entry, const struct decision *decision, bool record) {
    struct run_policy policy;
    policy_for_row(entry, decision, &policy);
    uint64_t mark = mark_of(&policy);
    if (mark == entry->policy_mark)
        return;
    entry->policy_mark = mark;
    if (decision->reason == REASON_DOUBT || decision->reason == REASON_NOT_UNDERSTOOD)
        log_kept(entry->job, decision);
    if (decision->reason == REASON_RECREATED || decision->reason == REASON_RECREATED_KEPT)
        log_recreated(entry->job, decision);
    tell(r, &(struct news){.kind = NEWS_DECIDED, .job = entry->job, .decision = decision});
    if (record && !is_dry(r) && entry->recorded && !submit(r, HISTORY_POLICY, entry, NULL, &policy, RUN_CAUSE_NONE))
        entry->policy_mark = 0;
}

/* ---- the one function that moves a Job from phase to phase ---- */

static bool counts_as_in_flight(enum phase phase) {
    return phase == PHASE_INTENT || phase == PHASE_DELETING || phase == PHASE_LOOKING;
}

static struct forbidden *find_forbidden(const struct reconcile *r, const char *namespace) {
    struct forbidden *f;
    HASH_FIND_STR(r->forbidden, namespace, f);
    return f;
}

/* The next Job of a Namespace that forbids deletion may try. */
static void stop_probing(struct reconcile *r, const char *namespace) {
    struct forbidden *f = find_forbidden(r, namespace);
    if (f)
        f->probing = false;
}

static void set_phase(struct reconcile *r, struct store_entry *entry, enum phase phase) {
    bool was_trying = entry->phase == PHASE_INTENT || entry->phase == PHASE_DELETING;
    if (was_trying && phase != PHASE_DELETING)
        stop_probing(r, entry->job->namespace);
    if (counts_as_in_flight((enum phase)entry->phase))
        r->in_flight--;
    if (counts_as_in_flight(phase))
        r->in_flight++;
    if (phase != PHASE_IDLE) {
        heap_remove(&r->due, &entry->due);
        heap_remove(&r->retry, &entry->retry);
    }
    entry->phase = (uint8_t)phase;
}

static void forget(struct reconcile *r, struct store_entry *entry) {
    set_phase(r, entry, PHASE_IDLE);
    heap_remove(&r->due, &entry->due);
    heap_remove(&r->retry, &entry->retry);
    store_remove(&r->store, entry);
}

/* Takes the Job. With room for it in both heaps, so that what is in the store can always be scheduled. */
static struct store_entry *add_entry(struct reconcile *r, struct job *job) {
    uint32_t wanted = HASH_COUNT(r->store.entries) + 1;
    if (heap_reserve(&r->due, wanted, NULL) < 0 || heap_reserve(&r->retry, wanted, NULL) < 0) {
        free(job);
        return NULL;
    }
    return store_add(&r->store, job);
}

static void put(struct heap *heap, struct heap_node *node, int64_t key) {
    (void)!heap_put(heap, node, key, NULL); /* there is room: see add_entry */
}

/* Try again after a while; meanwhile it is in no other heap. */
static void try_later(struct reconcile *r, struct store_entry *entry, int64_t wait_ms) {
    if (r->settings.one_pass && r->stopped) {
        /* There is no later. */
        r->counts.failed++;
        set_phase(r, entry, PHASE_FAILED);
        return;
    }
    set_phase(r, entry, PHASE_IDLE);
    heap_remove(&r->due, &entry->due);
    put(&r->retry, &entry->retry, clock_mono_ms() + wait_ms);
}

static int64_t backoff_of(const struct store_entry *entry) {
    struct backoff backoff = BACKOFF_INIT(RECONCILE_BACKOFF_FIRST_MS, RECONCILE_BACKOFF_LAST_MS);
    int64_t wait_ms = 0;
    for (int i = 0; i < entry->attempts && i < 16; i++)
        wait_ms = backoff_take(&backoff);
    return wait_ms;
}

/* Compare what is with what should be, as far as one idle Job goes. */
static void evaluate(struct reconcile *r, struct store_entry *entry) {
    if (entry->phase != PHASE_IDLE || entry->retry.index != HEAP_OUTSIDE || entry->ghost)
        return;
    struct decision decision = decide(r, entry->job);
    if (decision.action == ACTION_NONE) {
        heap_remove(&r->due, &entry->due);
        return;
    }
    note_decision(r, entry, &decision, true);
    if (decision.action == ACTION_KEEP || (is_dry(r) && entry->counted)) {
        heap_remove(&r->due, &entry->due);
        return;
    }
    put(&r->due, &entry->due, decision.due_ms);
}

/* ---- Jobs that are gone ---- */

/* By us, or so it seems: should its name come back, then again and again. */
static void note_deleted(struct reconcile *r, const struct job *job) {
    int64_t server_ms = skew_server_now(&r->skew, clock_mono_ms());
    if (!job_has_cronjob(job))
        reconcile_note_deleted(
                r, job->namespace, job->name, job->created_ms, server_ms == TIME_NONE ? clock_wall_ms() : server_ms);
}

static void submit_gone(struct reconcile *r, struct store_entry *entry, struct run *run, enum run_cause cause) {
    const struct job *job = entry->job;
    if (cause != RUN_CAUSE_TTL && !entry->counted)
        log_info(cause == RUN_CAUSE_EXTERNAL ? "job is gone, deleted by someone else"
                                             : "job is gone, and who deleted it is not known",
                log_job(job->namespace, job->name), log_text("uid", job->uid),
                log_text("outcome", outcome_name(job->outcome)), log_text("cause", run_cause_name(cause)));
    if (is_dry(r)) {
        run_destroy(run);
        return;
    }
    if (!run && !entry->recorded && !entry->ghost)
        run = evidence_from_job(job);
    if (cause != RUN_CAUSE_EXTERNAL)
        note_deleted(r, job);
    struct run_policy policy = {.ttl_ms = RUN_UNKNOWN, .due_at_ms = TIME_NONE};
    submit(r, HISTORY_DELETED, entry, run, &policy, cause);
}

/* Not by an answer to us. */
static enum run_cause cause_of_absence(const struct reconcile *r, const struct store_entry *entry) {
    if (entry->accepted)
        return RUN_CAUSE_TTL;
    /* Who stands by cannot tell the leader's deletion from anybody else's; and the leader may have known the time
     * better. News of what it did come for some time after it. */
    bool leads = reconcile_leads(r);
    int64_t by_ms = !leads                                       ? clock_wall_ms() + LEADER_AHEAD_MS
                    : clock_mono_ms() < r->another_told_until_ms ? r->another_led_until_ms
                                                                 : TIME_NONE;
    struct decision decision = decide(r, entry->job);
    bool maybe_leader =
            (decision.action == ACTION_DELETE || decision.action == ACTION_WAIT) && decision.due_ms <= by_ms;
    return entry->uncertain || maybe_leader ? RUN_CAUSE_UNKNOWN : RUN_CAUSE_EXTERNAL;
}

/* It is gone for sure. Takes the run, which may be NULL. */
static void settle_gone(struct reconcile *r, struct store_entry *entry, struct run *run) {
    switch ((enum phase)entry->phase) {
    case PHASE_INTENT:
    case PHASE_DELETING:
    case PHASE_LOOKING:
        /* An answer is on its way that will tell more. */
        entry->gone = true;
        run_destroy(run);
        return;
    case PHASE_CONFIRMING:
        run_destroy(run);
        break;
    case PHASE_IDLE:
    case PHASE_FAILED:
        submit_gone(r, entry, run, cause_of_absence(r, entry));
        break;
    }
    forget(r, entry);
}

/* Ask the API server what there is. */
static void look(struct reconcile *r, struct store_entry *entry) {
    set_phase(r, entry, PHASE_LOOKING);
    entry->look_first = entry->changed = false;
    if (r->ports.get_job(r->ports.arg, entry->job->namespace, entry->job->name, entry->job->uid) < 0) {
        entry->look_first = true;
        entry->attempts++;
        try_later(r, entry, backoff_of(entry));
    }
}

/* Not in the list, or a DELETED event came: with a selector it may only have lost its label. */
static void seems_gone(struct reconcile *r, struct store_entry *entry, struct run *run) {
    if (!r->settings.has_selector || entry->phase != PHASE_IDLE || is_dry(r)) {
        settle_gone(r, entry, run);
        return;
    }
    if (run && run->outcome != OUTCOME_NONE && !entry->recorded) {
        /* Nobody may be able to tell it again. */
        const struct run_policy policy = {.state = RUN_KEPT, .ttl_ms = RUN_UNKNOWN, .due_at_ms = TIME_NONE};
        entry->recorded = submit(r, HISTORY_RECORD, entry, run, &policy, RUN_CAUSE_NONE);
    } else {
        run_destroy(run);
    }
    if (r->stopped) {
        /* No time to look: its row stays open, and the next start settles it. */
        forget(r, entry);
        return;
    }
    entry->gone = false;
    entry->ghost = entry->look_first = true;
    try_later(r, entry, 0); /* there it waits for its turn: there may be thousands */
}

/* The API server has taken our DELETE, and now it is gone. Or, while it terminates, it has left the selection. */
static void confirmed_gone(struct reconcile *r, struct store_entry *entry) {
    if (r->settings.has_selector && !entry->counted) {
        set_phase(r, entry, PHASE_IDLE);
        seems_gone(r, entry, NULL);
        return;
    }
    if (!entry->counted)
        submit_gone(r, entry, NULL, RUN_CAUSE_TTL);
    forget(r, entry);
}

/* ---- deletion ---- */

static void refill_tokens(struct reconcile *r, int64_t now_ms) {
    int64_t full = r->settings.delete_qps * 1000;
    int64_t elapsed_ms = now_ms - r->tokens_at_ms;
    r->tokens_at_ms = now_ms;
    /* after a second the bucket is full anyway, and the product cannot overflow */
    r->tokens_milli = elapsed_ms >= 1000 ? full : r->tokens_milli + elapsed_ms * r->settings.delete_qps;
    if (r->tokens_milli > full)
        r->tokens_milli = full;
}

static bool has_rate(const struct reconcile *r) {
    return r->settings.delete_qps && !is_dry(r);
}

static bool may_request(const struct reconcile *r) {
    return !r->stopped && r->in_flight < (r->troubled ? 1 : r->settings.max_in_flight);
}

static bool has_slot(const struct reconcile *r) {
    return r->recording && reconcile_leads(r) && may_request(r);
}

static bool may_start(struct reconcile *r, int64_t mono_ms) {
    if (!has_slot(r) || mono_ms < r->paused_until_ms)
        return false;
    if (!has_rate(r))
        return true;
    refill_tokens(r, mono_ms);
    return r->tokens_milli >= 1000;
}

/* False: this Namespace forbids deletion, and the Job was put off. */
static bool namespace_lets(struct reconcile *r, struct store_entry *entry, int64_t mono_ms) {
    struct forbidden *f = find_forbidden(r, entry->job->namespace);
    if (!f)
        return true;
    if (mono_ms >= f->until_ms && !f->probing) {
        f->probing = true;
        return true;
    }
    if (r->settings.one_pass) {
        r->counts.failed++;
        set_phase(r, entry, PHASE_FAILED);
        return false;
    }
    int64_t wait_ms = f->until_ms > mono_ms ? f->until_ms - mono_ms : RECONCILE_BACKOFF_FIRST_MS;
    try_later(r, entry, wait_ms + (int64_t)random_below(RECONCILE_BACKOFF_FIRST_MS));
    return false;
}

static void tell_dry(struct reconcile *r, struct store_entry *entry, const struct decision *decision) {
    const struct job *job = entry->job;
    struct strbuf rule = STRBUF_INIT(1024), source = STRBUF_INIT(256);
    policy_rule_text(&decision->rule, &rule);
    policy_source_text(&decision->rule, &source);
    log_info("would delete (dry run)", log_job(job->namespace, job->name), log_text("uid", job->uid),
            log_text("outcome", outcome_name(job->outcome)), log_text("policy", strbuf_text(&rule)),
            log_text("source", strbuf_text(&source)), log_time("due", decision->due_ms));
    strbuf_finish(&rule);
    strbuf_finish(&source);
    entry->counted = true;
    r->counts.would_delete++;
    heap_remove(&r->due, &entry->due);
}

/* Record and intent first; the DELETE follows when they are durable. Takes the run, which may be NULL. */
static void start_deletion(
        struct reconcile *r, struct store_entry *entry, const struct decision *decision, struct run *run) {
    struct run_policy policy;
    policy_to_run(decision, &policy);
    policy.state = RUN_DELETING;
    if (r->settings.delete_qps)
        r->tokens_milli -= 1000;
    set_phase(r, entry, PHASE_INTENT);
    entry->changed = false;
    entry->policy_mark = 0;
    bool with_record = run != NULL;
    entry->due.key = decision->due_ms; /* it is in no heap now */
    r->totals.rate_waits += r->throttled_at_ms != TIME_NONE;
    if (submit(r, HISTORY_INTENT, entry, run, &policy, RUN_CAUSE_NONE))
        return;
    entry->recorded = entry->recorded && !with_record;
    try_later(r, entry, RECONCILE_BACKOFF_FIRST_MS);
}

/* A Job whose time came by the heap. */
static void act_on_due(struct reconcile *r, struct store_entry *entry, int64_t mono_ms) {
    heap_remove(&r->due, &entry->due);
    struct decision decision = decide(r, entry->job);
    if (decision.action != ACTION_DELETE) {
        evaluate(r, entry);
        return;
    }
    if (!r->fresh[entry->source])
        return; /* what is known may be stale: reconcile_set_fresh brings it back */
    if (is_dry(r)) {
        tell_dry(r, entry, &decision);
        return;
    }
    if (!entry->recorded) {
        /* Its evidence could not be taken: no record, no deletion. */
        look(r, entry);
        return;
    }
    if (namespace_lets(r, entry, mono_ms))
        start_deletion(r, entry, &decision, NULL);
}

/* A DELETE of this version may be on its way. */
static void note_sent(struct store_entry *entry) {
    entry->sent_mark = entry->job->resource_version ? mark_of_text(entry->job->resource_version) : 0;
}

static void send_delete(struct reconcile *r, struct store_entry *entry) {
    set_phase(r, entry, PHASE_DELETING);
    note_sent(entry);
    if (r->ports.delete_job(r->ports.arg, entry->job) < 0) {
        entry->attempts++;
        try_later(r, entry, backoff_of(entry));
    }
}

/* An intent that is not followed: the row shows again what is decided. */
static void take_back(struct reconcile *r, struct store_entry *entry) {
    set_phase(r, entry, PHASE_IDLE);
    entry->policy_mark = 0;
    evaluate(r, entry);
}

bool reconcile_may_send(const struct reconcile *r, const char *uid) {
    const struct store_entry *entry = store_find(&r->store, uid);
    return entry && entry->phase == PHASE_DELETING && !entry->gone && !r->stopped && r->recording && entry->recorded &&
           reconcile_leads(r) && r->fresh[entry->source] && decide(r, entry->job).action == ACTION_DELETE;
}

static void retry_or_give_up(struct reconcile *r, struct store_entry *entry, int64_t wait_ms, const char *why);

static bool same_text(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

void reconcile_on_durable(struct reconcile *r, const struct history_request *request) {
    struct store_entry *entry = store_find(&r->store, request->uid);
    tell_durable(r, request);
    if (request->inserted) {
        const struct run *run = request->run;
        r->counts.recorded++;
        log_info("run recorded", log_job(run->namespace, run->job_name), log_text("uid", run->job_uid),
                log_text("outcome", outcome_name(run->outcome)), log_text("reason", run->reason),
                log_time("finished", run->finished_at_ms), log_text("state", run_state_name(request->policy.state)),
                log_text("policy", request->policy.rule));
    }
    /* Else it was forgotten meanwhile that it is (reconcile_register_is_new). */
    if (request->run && entry && same_text(request->run->resource_version, entry->job->resource_version))
        entry->recorded = true;
    if (request->op != HISTORY_INTENT || !entry || entry->phase != PHASE_INTENT)
        return;
    if (entry->gone) {
        set_phase(r, entry, PHASE_IDLE);
        seems_gone(r, entry, NULL);
    } else if (r->stopped || !r->fresh[entry->source] || entry->changed || !reconcile_leads(r) ||
               decide(r, entry->job).action != ACTION_DELETE) {
        /* Something changed while the intent was written: the Job, a hold, another policy, a clock, the leader. */
        take_back(r, entry);
    } else {
        send_delete(r, entry);
    }
    r->ports.wake(r->ports.arg);
}

void reconcile_on_refused(struct reconcile *r, const struct history_request *request) {
    struct store_entry *entry = store_find(&r->store, request->uid);
    if (!entry)
        return;
    /* What is on record is not what we think: take its evidence again. */
    entry->recorded = false;
    entry->look_first = true;
    entry->policy_mark = 0;
    if (entry->phase == PHASE_INTENT || entry->phase == PHASE_IDLE)
        retry_or_give_up(r, entry, 0, "the register does not take its record");
    r->ports.wake(r->ports.arg);
}

/* One pass: the API server will not have any of it, so what is still due has failed. */
static void end_pass(struct reconcile *r, const char *why) {
    if (r->stopped)
        return;
    log_error("the pass ends early", log_text("error", why));
    r->stopped = true;
    int64_t now_ms = safe_now(r);
    for (struct store_entry *entry = r->store.entries; entry; entry = entry->hh.next) {
        bool was_due = entry->due.index != HEAP_OUTSIDE && entry->due.key <= now_ms;
        if (entry->phase != PHASE_IDLE || !(was_due || entry->retry.index != HEAP_OUTSIDE))
            continue;
        r->counts.failed++;
        set_phase(r, entry, PHASE_FAILED);
    }
}

/* Stop all deletions for a while: the API server is in trouble, or says so. */
static void pause_all(struct reconcile *r, int64_t retry_after_ms, const char *why) {
    r->troubled = true;
    /* One of many that were in flight at the same bad moment? Then only a longer wait is news. */
    bool paused = clock_mono_ms() < r->paused_until_ms;
    if (paused && retry_after_ms < 0)
        return;
    int64_t wait_ms = paused ? 0 : backoff_take(&r->pause);
    if (wait_ms < retry_after_ms)
        wait_ms = retry_after_ms;
    int64_t until_ms = clock_mono_ms() + wait_ms;
    r->pauses_in_row += !paused;
    if (r->settings.one_pass && (wait_ms > RECONCILE_PASS_WAIT_MAX_MS || r->pauses_in_row > RECONCILE_PASS_ATTEMPTS)) {
        end_pass(r, why);
        return;
    }
    if (until_ms <= r->paused_until_ms)
        return;
    r->paused_until_ms = until_ms;
    if (!r->pause_told || wait_ms >= RECONCILE_PAUSE_FIRST_MS)
        log_warn("deletions pause", log_duration("for", wait_ms), log_text("reason", why));
    r->pause_told = true;
}

static void pause_namespace(struct reconcile *r, const struct job *job, const char *why) {
    struct forbidden *f = find_forbidden(r, job->namespace);
    if (!f) {
        f = calloc(1, sizeof *f);
        if (!f || !(f->namespace = strdup(job->namespace))) {
            free(f);
            return;
        }
        f->backoff = (struct backoff)BACKOFF_INIT(30000, RECONCILE_BACKOFF_LAST_MS);
        HASH_ADD_KEYPTR(hh, r->forbidden, f->namespace, strlen(f->namespace), f);
        if (!hash_added(f)) {
            free(f->namespace);
            free(f);
            return;
        }
    }
    int64_t now_ms = clock_mono_ms();
    f->probing = false;
    if (now_ms < f->until_ms)
        return; /* an answer to what was in flight when the first refusal came */
    int64_t wait_ms = backoff_take(&f->backoff);
    f->until_ms = now_ms + wait_ms;
    log_error("deletion is forbidden in this Namespace: its Jobs stay", log_text("namespace", job->namespace),
            log_duration("retry_in", wait_ms), log_text("reason", why),
            log_text("hint", "run 'sexton check' to see which permission is missing"));
}

static void lift_namespace(struct reconcile *r, const char *namespace) {
    struct forbidden *f = find_forbidden(r, namespace);
    if (!f)
        return;
    log_info("deletion is allowed again in this Namespace", log_text("namespace", namespace));
    HASH_DEL(r->forbidden, f);
    free(f->namespace);
    free(f);
}

/* The row says `deleting`, and that is over: say again what is decided. Unless the DELETE may have taken effect. */
static void restate(struct reconcile *r, struct store_entry *entry) {
    entry->policy_mark = 0;
    if (entry->uncertain)
        return;
    struct decision decision = decide(r, entry->job);
    note_decision(r, entry, &decision, true);
}

/* It did not work this time. */
static void retry_or_give_up(struct reconcile *r, struct store_entry *entry, int64_t wait_ms, const char *why) {
    const struct job *job = entry->job;
    entry->attempts++;
    int64_t backoff_ms = backoff_of(entry);
    if (wait_ms < backoff_ms)
        wait_ms = backoff_ms;
    bool give_up = r->settings.one_pass &&
                   (r->stopped || entry->attempts >= RECONCILE_PASS_ATTEMPTS || wait_ms > RECONCILE_PASS_WAIT_MAX_MS);
    if (!give_up) {
        log_warn("a deletion did not work and is tried again", log_job(job->namespace, job->name),
                log_text("uid", job->uid), log_duration("retry_in", wait_ms), log_text("error", why));
        restate(r, entry);
        try_later(r, entry, wait_ms);
        return;
    }
    log_error("a deletion did not work", log_job(job->namespace, job->name), log_text("uid", job->uid),
            log_text("error", why));
    r->counts.failed++;
    restate(r, entry);
    set_phase(r, entry, PHASE_FAILED);
}

/* The API server said yes. */
static void accept_deletion(struct reconcile *r, struct store_entry *entry, const struct reconcile_answer *answer) {
    const struct job *job = entry->job;
    const char *kind = json_string_value(json_object_get(answer->body, "kind"));
    bool terminating = kind && strcmp(kind, "Job") == 0; /* finalizers: it is on its way, but still there */
    backoff_reset(&r->pause);
    r->pause_told = false;
    r->pauses_in_row = 0;
    lift_namespace(r, job->namespace);
    entry->attempts = 0;
    entry->accepted = true;
    r->counts.deleted++;
    tell(r, &(struct news){.kind = NEWS_ACCEPTED, .job = job});
    log_info(terminating ? "job is being deleted, and waits for its finalizers" : "job deleted",
            log_job(job->namespace, job->name), log_text("uid", job->uid),
            log_text("outcome", outcome_name(job->outcome)), log_text("cause", "ttl"),
            log_time("finished", job->finished_ms));
    set_phase(r, entry, PHASE_CONFIRMING);
    if (!terminating) {
        submit_gone(r, entry, NULL, RUN_CAUSE_TTL);
        entry->counted = true; /* its end is told: the event has nothing to add */
    }
    if (entry->gone)
        confirmed_gone(r, entry);
}

static void on_conflict(struct reconcile *r, struct store_entry *entry, const struct reconcile_answer *answer) {
    const struct job *job = entry->job;
    log_info("the Job changed before its deletion; looking again", log_job(job->namespace, job->name),
            log_text("uid", job->uid), log_text("error", answer->message));
    entry->look_first = true;
    if (r->settings.one_pass && entry->attempts + 1 >= RECONCILE_PASS_ATTEMPTS) {
        retry_or_give_up(r, entry, 0, answer->message);
        return;
    }
    restate(r, entry);
    entry->attempts++;
    /* While watching, its event is most likely on the way, and makes the look unnecessary. */
    try_later(r, entry, r->settings.one_pass ? 0 : backoff_of(entry));
}

void reconcile_on_delete(struct reconcile *r, const char *uid, const struct reconcile_answer *answer) {
    struct store_entry *entry = store_find(&r->store, uid);
    if (!entry || entry->phase != PHASE_DELETING)
        return;
    int status = answer->status;
    if (status / 100 == 2 || status == 403 || status == 404 || status == 409)
        r->troubled = false;
    if (status != 200 && status != 202)
        tell(r, &(struct news){.kind = NEWS_FAILED,
                        .job = entry->job,
                        .status = status,
                        .withheld = answer->withheld,
                        .message = answer->message});
    if (answer->withheld && !entry->gone) {
        if (r->stopped && r->settings.one_pass)
            try_later(r, entry, 0); /* where it counts as failed */
        else
            take_back(r, entry);
    } else if (status == 200 || status == 202) {
        accept_deletion(r, entry, answer);
    } else if (status == 404) {
        set_phase(r, entry, PHASE_IDLE);
        settle_gone(r, entry, NULL);
    } else if (entry->gone) {
        /* Without an answer, but its end was seen: ours or another's, nobody knows. */
        entry->uncertain = entry->uncertain || (status == 0 && answer->sent) || status >= 500;
        set_phase(r, entry, PHASE_IDLE);
        seems_gone(r, entry, NULL);
    } else if (status == 409) {
        on_conflict(r, entry, answer);
    } else if (status == 403) {
        pause_namespace(r, entry->job, answer->message);
        if (r->settings.one_pass)
            entry->attempts = RECONCILE_PASS_ATTEMPTS;
        retry_or_give_up(r, entry, find_forbidden(r, entry->job->namespace) ? 30000 : 0, answer->message);
    } else if (status == 429) {
        pause_all(r, answer->retry_after_ms, answer->message);
        retry_or_give_up(r, entry, answer->retry_after_ms, answer->message);
    } else {
        bool trouble = status == 0 || status >= 500;
        if (trouble) {
            /* It may have taken effect all the same: look before trying again. */
            entry->uncertain = entry->uncertain || status >= 500 || answer->sent;
            entry->look_first = true;
        }
        if (trouble || status == 401)
            pause_all(r, answer->retry_after_ms, answer->message);
        retry_or_give_up(r, entry, answer->retry_after_ms, answer->message);
    }
    r->ports.wake(r->ports.arg);
}

/* ---- Jobs as they come ---- */

static struct run *evidence_of(const struct reconcile *r, const struct job *job, const json_t *object,
        const char *template, size_t template_len) {
    return is_dry(r) ? NULL : evidence_from_json(object, template, template_len, job, r->settings.evidence);
}

/* A finished Job in a version that is not on record. */
static void record(struct reconcile *r, struct store_entry *entry, const json_t *object, const char *template,
        size_t template_len) {
    struct decision decision = decide(r, entry->job);
    struct run *run = evidence_of(r, entry->job, object, template, template_len);
    if (!run) {
        if (!is_dry(r))
            log_error(
                    "out of memory: a Job's evidence was not taken", log_job(entry->job->namespace, entry->job->name));
        evaluate(r, entry);
        return;
    }
    int64_t mono_ms = clock_mono_ms();
    bool at_once = decision.action == ACTION_DELETE && r->fresh[entry->source] && entry->phase == PHASE_IDLE &&
                   entry->retry.index == HEAP_OUTSIDE && may_start(r, mono_ms) &&
                   !find_forbidden(r, entry->job->namespace);
    entry->recorded = true;
    if (at_once) {
        /* One commit for both: this is what a lone Job's way out costs. */
        heap_remove(&r->due, &entry->due);
        start_deletion(r, entry, &decision, run);
        return;
    }
    struct run_policy policy;
    policy_for_row(entry, &decision, &policy);
    note_decision(r, entry, &decision, false);
    bool intended = entry->phase == PHASE_INTENT && !entry->changed;
    if (intended || entry->phase == PHASE_DELETING || entry->phase == PHASE_CONFIRMING)
        policy.state = RUN_DELETING; /* the intent stands until the answer */
    entry->recorded = submit(r, HISTORY_RECORD, entry, run, &policy, RUN_CAUSE_NONE);
    evaluate(r, entry);
}

static void decode_failed(const json_t *object, const struct error *err) {
    const json_t *metadata = json_object_get(object, "metadata");
    const char *namespace = json_string_value(json_object_get(metadata, "namespace"));
    const char *name = json_string_value(json_object_get(metadata, "name"));
    log_warn("a Job that cannot be read is left alone", log_job(namespace, name), log_text("error", err->text));
}

/* Since an earlier controller. */
static void remember_row(const struct reconcile *r, struct store_entry *entry) {
    struct open_row *row;
    HASH_FIND_STR(r->open_rows, entry->job->uid, row);
    /* Its DELETE may still be on its way: if the Job goes now, nobody knows by whose. */
    entry->uncertain = row && row->state == RUN_DELETING;
    note_sent(entry);
}

/* -1: there was no memory for it. */
static int take_job(struct reconcile *r, uint16_t source, const struct job *job, const json_t *object,
        const char *template, size_t template_len) {
    struct store_entry *entry = store_find(&r->store, job->uid);
    bool is_new = false;
    bool same = entry && !entry->ghost && same_text(entry->job->resource_version, job->resource_version);
    if (!same) {
        struct job *copy = job_copy(job, NULL);
        if (!copy || (!entry && !(entry = add_entry(r, copy)))) {
            log_error("out of memory: a Job was not taken in", log_job(job->namespace, job->name));
            reconcile_list_is_partial(r, source);
            return -1;
        }
        if (entry->job != copy)
            store_replace_job(&r->store, entry, copy);
        else
            is_new = true;
        if (entry->phase == PHASE_FAILED)
            set_phase(r, entry, PHASE_IDLE);
        entry->changed = entry->phase == PHASE_INTENT || entry->phase == PHASE_LOOKING;
        entry->counted = entry->counted && entry->phase == PHASE_CONFIRMING;
        entry->ghost = false;
        if (r->settings.has_selector)
            entry->gone = false; /* it was out of the selection for a moment */
        if (is_new)
            remember_row(r, entry);
        recreated_note_seen(&r->recreated, job->namespace, job->name, job->created_ms);
        /* This is the look that was wanted. */
        entry->look_first = false;
        heap_remove(&r->retry, &entry->retry);
    }
    entry->source = source;
    entry->generation = r->generations[source];
    if (job_is_finished(job) && (!same || !entry->recorded))
        record(r, entry, object, template, template_len);
    else
        evaluate(r, entry);
    return 0;
}

int reconcile_on_job(
        struct reconcile *r, uint16_t source, const json_t *object, const char *template, size_t template_len) {
    struct error err = {0};
    struct job job;
    if (job_decode(object, r->settings.policy->prefix, &job, &err) < 0) {
        decode_failed(object, &err);
        reconcile_list_is_partial(r, source);
        return 0;
    }
    int result = take_job(r, source, &job, object, template, template_len);
    r->ports.wake(r->ports.arg);
    return result;
}

int reconcile_on_job_deleted(
        struct reconcile *r, uint16_t source, const json_t *object, const char *template, size_t template_len) {
    struct error err = {0};
    struct job job;
    if (job_decode(object, r->settings.policy->prefix, &job, &err) < 0) {
        decode_failed(object, &err);
        return 0;
    }
    struct store_entry *entry = store_find(&r->store, job.uid);
    if (entry && entry->phase == PHASE_CONFIRMING) {
        confirmed_gone(r, entry);
        r->ports.wake(r->ports.arg);
        return 0;
    }
    struct run *run = evidence_of(r, &job, object, template, template_len);
    if (!run && !is_dry(r) && !(entry && entry->recorded))
        return -1;
    if (!entry) {
        struct job *copy = job_copy(&job, NULL);
        entry = copy ? add_entry(r, copy) : NULL;
        if (!entry) {
            run_destroy(run);
            return -1;
        }
        entry->source = source;
        entry->generation = r->generations[source];
        remember_row(r, entry);
        entry->counted = true; /* never heard of, or heard of twice: no news for the log */
    }
    seems_gone(r, entry, run);
    r->ports.wake(r->ports.arg);
    return 0;
}

void reconcile_list_begins(struct reconcile *r, uint16_t source) {
    r->generations[source]++;
    r->partial[source] = false;
}

void reconcile_list_is_partial(struct reconcile *r, uint16_t source) {
    r->partial[source] = true;
}

static void settle_open_rows(struct reconcile *r, uint16_t source) {
    struct open_row *row, *next;
    HASH_ITER (hh, r->open_rows, row, next) {
        if (row->source != source)
            continue;
        if (!store_find(&r->store, row->uid)) {
            struct job job = {.namespace = row->namespace,
                    .name = row->name,
                    .uid = row->uid,
                    .created_ms = TIME_NONE,
                    .started_ms = TIME_NONE,
                    .finished_ms = TIME_NONE,
                    .completion_ms = TIME_NONE,
                    .deletion_ms = TIME_NONE,
                    .spec_ttl_s = SPEC_TTL_NONE};
            struct job *copy = job_copy(&job, NULL);
            struct store_entry *entry = copy ? add_entry(r, copy) : NULL;
            if (!entry)
                continue; /* no memory: the next whole list settles it */
            entry->ghost = true;
            entry->source = source;
            entry->generation = r->generations[source];
            entry->uncertain = row->state == RUN_DELETING;
            seems_gone(r, entry, NULL);
        }
        free_open_row(r, row);
    }
}

void reconcile_list_complete(struct reconcile *r, uint16_t source) {
    if (r->partial[source])
        return;
    struct store_entry *entry, *next;
    HASH_ITER (hh, r->store.entries, entry, next) {
        if (entry->source == source && entry->generation != r->generations[source]) {
            if (entry->phase == PHASE_CONFIRMING)
                confirmed_gone(r, entry);
            else
                seems_gone(r, entry, NULL);
        }
    }
    settle_open_rows(r, source);
    r->ports.wake(r->ports.arg);
}

int reconcile_add_open_row(struct reconcile *r, const char *namespace, const char *name, const char *uid,
        enum run_state state, uint16_t source, struct error *err) {
    struct open_row *row = calloc(1, sizeof *row);
    if (!row)
        return error_nomem(err);
    row->uid = strdup(uid);
    row->namespace = strdup(namespace);
    row->name = strdup(name);
    row->state = state;
    row->source = source;
    if (row->uid && row->namespace && row->name)
        HASH_ADD_KEYPTR(hh, r->open_rows, row->uid, strlen(row->uid), row);
    if (hash_added(row))
        return 0; /* cppcheck-suppress memleak ; the table has it */
    free_row_memory(row);
    return error_nomem(err);
}

void reconcile_note_deleted(
        struct reconcile *r, const char *namespace, const char *name, int64_t created_ms, int64_t deleted_ms) {
    recreated_note_deleted(&r->recreated, namespace, name, created_ms, deleted_ms);
}

/* The object there now may be the same Job, or another under its name. */
static void on_found(struct reconcile *r, struct store_entry *entry, const json_t *body) {
    const json_t *metadata = json_object_get(body, "metadata");
    const char *uid = json_string_value(json_object_get(metadata, "uid"));
    set_phase(r, entry, PHASE_IDLE);
    if (!same_text(uid, entry->job->uid)) {
        settle_gone(r, entry, NULL);
        return;
    }
    const char *version = json_string_value(json_object_get(metadata, "resourceVersion"));
    bool terminates = json_is_string(json_object_get(metadata, "deletionTimestamp"));
    /* It lives on in another version than the one that was to be deleted: what had no answer has no effect any more. An
     * event would not prove that, for it may be older. */
    if (!terminates && version && mark_of_text(version) != entry->sent_mark)
        entry->uncertain = false;
    if (entry->gone && !r->settings.has_selector) {
        /* Its end came while the answer was on its way, and a uid never comes back. */
        settle_gone(r, entry, NULL);
        return;
    }
    if (entry->ghost) {
        /* It is there, but not in what we watch: it left the selection, and is none of ours any more. */
        bool maybe_ours = terminates && (entry->uncertain || entry->accepted);
        const struct run_policy kept = {.state = RUN_KEPT, .ttl_ms = RUN_UNKNOWN, .due_at_ms = TIME_NONE};
        if (!maybe_ours) /* else the intent stands until it is gone */
            submit(r, HISTORY_POLICY, entry, NULL, &kept, RUN_CAUSE_NONE);
        if (terminates && !r->settings.one_pass) {
            /* Its end is near, and no watch will tell. */
            entry->look_first = true;
            try_later(r, entry, RECONCILE_BACKOFF_LAST_MS);
            return;
        }
        log_info("the Job is no longer selected", log_job(entry->job->namespace, entry->job->name),
                log_text("uid", uid));
        forget(r, entry);
        return;
    }
    entry->gone = false;
    if (entry->changed) {
        /* An event overtook the answer, and knows better. */
        evaluate(r, entry);
        return;
    }
    if (r->settings.has_selector && !same_text(version, entry->job->resource_version)) {
        /* GET knows no selector: what it found may be none of ours any more. Only the watch, or the next pass, can
         * tell. */
        entry->look_first = true;
        retry_or_give_up(r, entry, 0, "it has changed, and may no longer be selected");
        return;
    }
    struct error err = {0};
    struct job job;
    json_t *template = json_object_get(json_object_get(body, "spec"), "template");
    char *text = template ? json_dumps(template, JSON_COMPACT) : NULL;
    int result = 0;
    if (template && !text)
        result = -1;
    else if (job_decode(body, r->settings.policy->prefix, &job, &err) < 0)
        decode_failed(body, &err);
    else
        result = take_job(r, entry->source, &job, body, text ? text : "", text ? strlen(text) : 0);
    free(text);
    if (result < 0) {
        entry->look_first = true;
        retry_or_give_up(r, entry, 0, "out of memory");
    }
}

void reconcile_on_get(struct reconcile *r, const char *uid, const struct reconcile_answer *answer) {
    struct store_entry *entry = store_find(&r->store, uid);
    if (!entry || entry->phase != PHASE_LOOKING)
        return;
    if (answer->status == 200 || answer->status == 404)
        r->troubled = false;
    if (answer->status == 200 && answer->body) {
        on_found(r, entry, answer->body);
    } else if (answer->status == 404) {
        set_phase(r, entry, PHASE_IDLE);
        settle_gone(r, entry, NULL);
    } else {
        entry->look_first = true;
        if (answer->status == 0 || answer->status == 429 || answer->status >= 500)
            pause_all(r, answer->retry_after_ms, answer->message);
        retry_or_give_up(r, entry, answer->retry_after_ms, answer->message);
    }
    r->ports.wake(r->ports.arg);
}

/* ---- what stands around the Jobs ---- */

void reconcile_namespace_changed(struct reconcile *r, const char *namespace) {
    for (struct store_entry *entry = r->store.entries; entry; entry = entry->hh.next) {
        if (!namespace || strcmp(entry->job->namespace, namespace) == 0)
            evaluate(r, entry);
    }
    r->ports.wake(r->ports.arg);
}

void reconcile_cronjob_changed(struct reconcile *r, const char *cronjob_uid) {
    for (struct store_entry *entry = r->store.entries; entry; entry = entry->hh.next) {
        if (!cronjob_uid || same_text(entry->job->owner_uid, cronjob_uid))
            evaluate(r, entry);
    }
    r->ports.wake(r->ports.arg);
}

void reconcile_policy_changed(struct reconcile *r) {
    reconcile_namespace_changed(r, NULL);
}

void reconcile_set_fresh(struct reconcile *r, uint16_t source, bool fresh) {
    if (r->fresh[source] == fresh)
        return;
    r->fresh[source] = fresh;
    if (!fresh)
        return;
    for (struct store_entry *entry = r->store.entries; entry; entry = entry->hh.next) {
        if (entry->source == source)
            evaluate(r, entry);
    }
    r->ports.wake(r->ports.arg);
}

void reconcile_set_recording(struct reconcile *r, bool possible) {
    r->recording = possible;
    r->ports.wake(r->ports.arg);
}

void reconcile_register_is_new(struct reconcile *r) {
    for (struct store_entry *entry = r->store.entries; entry; entry = entry->hh.next) {
        entry->recorded = false;
        entry->policy_mark = 0;
    }
}

void reconcile_set_lease(struct reconcile *r, int64_t until_ms, bool after_another) {
    bool led = reconcile_leads(r);
    r->lease_until_ms = until_ms;
    if (led)
        return;
    r->another_led_until_ms = after_another ? clock_wall_ms() : TIME_NONE;
    r->another_told_until_ms = clock_mono_ms() + LEADER_TAIL_MS;
    r->ports.wake(r->ports.arg);
}

void reconcile_stop(struct reconcile *r) {
    r->stopped = true;
}

/* ---- time ---- */

#define ENTRY_OF(node, member) ((struct store_entry *)(void *)((char *)(node)-offsetof(struct store_entry, member)))

static void run_retries(struct reconcile *r, int64_t mono_ms) {
    for (struct heap_node *node; (node = heap_peek(&r->retry)) && node->key <= mono_ms;) {
        struct store_entry *entry = ENTRY_OF(node, retry);
        bool must_look = entry->look_first || entry->ghost;
        if (must_look && (!may_request(r) || mono_ms < r->paused_until_ms))
            return;
        heap_remove(&r->retry, &entry->retry);
        if (must_look)
            look(r, entry);
        else
            evaluate(r, entry);
    }
}

static void note_throttle(struct reconcile *r, int64_t mono_ms, int64_t now_ms) {
    const struct heap_node *due = heap_peek(&r->due);
    bool throttled = due && due->key <= now_ms && has_slot(r) && mono_ms >= r->paused_until_ms && has_rate(r) &&
                     r->tokens_milli < 1000;
    if (r->throttled_at_ms != TIME_NONE)
        r->totals.rate_wait_ms += mono_ms - r->throttled_at_ms;
    r->throttled_at_ms = throttled ? mono_ms : TIME_NONE;
}

static void run_due(struct reconcile *r, int64_t mono_ms, int64_t now_ms) {
    for (struct heap_node *node; (node = heap_peek(&r->due)) && node->key <= now_ms && may_start(r, mono_ms);)
        act_on_due(r, ENTRY_OF(node, due), mono_ms);
    note_throttle(r, mono_ms, now_ms);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t reconcile_run(struct reconcile *r) {
    int64_t mono_ms = clock_mono_ms(), now_ms = safe_now(r);
    run_retries(r, mono_ms);
    run_due(r, mono_ms, now_ms);
    int64_t wait_ms = RECONCILE_SLEEP_MAX_MS;
    if (now_ms == TIME_NONE && heap_peek(&r->due) && heap_peek(&r->due)->key <= clock_wall_ms() && !r->no_date_told) {
        log_warn("the API server's answers have no Date, so its clock is not known: nothing is deleted");
        r->no_date_told = true;
    }
    struct heap_node *retry = heap_peek(&r->retry), *due = heap_peek(&r->due);
    if (retry && retry->key > mono_ms)
        wait_ms = smaller(wait_ms, retry->key - mono_ms);
    /* Without a slot the answer that frees one wakes us; without the server's time the answer that brings it. */
    if (due && now_ms != TIME_NONE && has_slot(r)) {
        int64_t due_in_ms = due->key > now_ms ? due->key - now_ms : 0;
        if (r->paused_until_ms > mono_ms && due_in_ms < r->paused_until_ms - mono_ms)
            due_in_ms = r->paused_until_ms - mono_ms;
        else if (due_in_ms == 0 && has_rate(r))
            due_in_ms = (1000 - r->tokens_milli + r->settings.delete_qps - 1) / r->settings.delete_qps;
        wait_ms = smaller(wait_ms, due_in_ms > 0 ? due_in_ms : 1);
    }
    if (retry && retry->key <= mono_ms && r->paused_until_ms > mono_ms)
        wait_ms = smaller(wait_ms, r->paused_until_ms - mono_ms);
    return wait_ms;
}

int64_t reconcile_in_flight(const struct reconcile *r) {
    return r->in_flight;
}

bool reconcile_is_done(const struct reconcile *r) {
    const struct heap_node *due = heap_peek(&r->due);
    int64_t now_ms = safe_now(r);
    return r->in_flight == 0 && !heap_peek(&r->retry) && (r->stopped || reconcile_leads(r)) &&
           (!due || r->stopped || (now_ms != TIME_NONE && due->key > now_ms));
}

struct reconcile_totals reconcile_total(const struct reconcile *r) {
    return r->totals;
}

bool reconcile_is_paused(const struct reconcile *r) {
    return clock_mono_ms() < r->paused_until_ms;
}

/* Which of the numbers it counts in. */
static int64_t *survey_entry(
        const struct reconcile *r, const struct store_entry *entry, struct reconcile_survey *survey) {
    const struct job *job = entry->job;
    if (job->deletion_ms != TIME_NONE || entry->phase == PHASE_CONFIRMING)
        return &survey->terminating;
    struct decision decision = decide(r, job);
    switch (decision.action) {
    case ACTION_NONE:
        return &survey->running;
    case ACTION_WAIT:
        return decision.reason == REASON_HELD_UNTIL ? &survey->held : &survey->waiting;
    case ACTION_DELETE:
        return &survey->due;
    case ACTION_KEEP:
        break;
    }
    switch (decision.reason) {
    case REASON_HELD:
        return &survey->held;
    case REASON_NOT_UNDERSTOOD:
    case REASON_DOUBT:
        return &survey->invalid;
    default:
        return &survey->kept;
    }
}

struct reconcile_survey reconcile_survey(const struct reconcile *r) {
    struct reconcile_survey survey = {0};
    int64_t server_ms = skew_server_now(&r->skew, clock_mono_ms());
    for (const struct store_entry *entry = r->store.entries; entry; entry = entry->hh.next) {
        /* Its end is told, unless this is a dry run, where nothing ends. */
        if (entry->ghost || (entry->counted && !is_dry(r)))
            continue;
        ++*survey_entry(r, entry, &survey);
        int64_t since_ms = entry->job->deletion_ms;
        if (since_ms != TIME_NONE && server_ms != TIME_NONE && server_ms - since_ms > survey.oldest_terminating_ms)
            survey.oldest_terminating_ms = server_ms - since_ms;
    }
    return survey;
}

struct reconcile_counts reconcile_count(const struct reconcile *r) {
    struct reconcile_counts counts = r->counts;
    for (const struct store_entry *entry = r->store.entries; entry; entry = entry->hh.next) {
        if (entry->ghost)
            continue;
        counts.seen++;
        if (!job_is_finished(entry->job)) {
            counts.unfinished++;
            continue;
        }
        if (entry->phase == PHASE_CONFIRMING || entry->phase == PHASE_FAILED || entry->counted)
            continue;
        enum action action = decide(r, entry->job).action;
        counts.kept += action == ACTION_KEEP;
        counts.waiting += action == ACTION_WAIT;
        counts.pending += action == ACTION_DELETE;
    }
    return counts;
}
