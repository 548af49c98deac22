#include "jobs/reconcile_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

#define LEADER_AHEAD_MS 2000 /* two controllers' idea of the API server's clock differs by a second or so */

bool reconcile_is_dry(const struct reconcile *r) {
    return r->ports.submit == NULL;
}

bool reconcile_leads(const struct reconcile *r) {
    return reconcile_is_dry(r) || clock_mono_ms() < r->lease_until_ms;
}

int64_t reconcile_safe_now(const struct reconcile *r) {
    return skew_safe_now(&r->skew, clock_wall_ms(), clock_mono_ms());
}

struct decision reconcile_decide(const struct reconcile *r, const struct job *job) {
    struct guards guards = store_guards(&r->store, job, r->settings.missing_namespace);
    guards.recreated = recreated_count(&r->recreated, job->namespace, job->name, job->created_ms);
    return policy_decide(r->settings.policy, job, &guards, reconcile_safe_now(r));
}

/* ---- what others are told ---- */

void reconcile_tell(const struct reconcile *r, struct news *news) {
    if (!r->ports.tell)
        return;
    if (news->job)
        news->namespace = news->job->namespace;
    r->ports.tell(r->ports.arg, news);
}

void reconcile_tell_durable(const struct reconcile *r, const struct history_request *request) {
    if (request->inserted)
        reconcile_tell(r, &(struct news){.kind = NEWS_RECORDED, .run = request->run, .namespace = request->namespace});
    if (!request->ended)
        return;
    reconcile_tell(r, &(struct news){.kind = NEWS_DELETED,
                              .namespace = request->namespace,
                              .cause = request->cause,
                              .finished_ms = request->finished_ms,
                              .due_ms = request->due_ms,
                              .at_ms = request->at_ms + skew_from_wall(&r->skew, clock_wall_ms(), clock_mono_ms())});
}

/* ---- what goes to the register ---- */

#define MARK_FIRST 14695981039346656037u

static uint64_t mark_add(uint64_t mark, uint64_t number) {
    return (mark ^ number) * 1099511628211u;
}

static uint64_t mark_add_text(uint64_t mark, const char *text) {
    for (; *text; text++)
        mark = mark_add(mark, (unsigned char)*text);
    return mark;
}

uint64_t reconcile_mark_of_text(const char *text) {
    uint64_t mark = mark_add_text(MARK_FIRST, text);
    return mark ? mark : 1;
}

static uint64_t mark_of(const struct run_policy *policy) {
    uint64_t mark = mark_add(mark_add(MARK_FIRST, policy->state), (uint64_t)policy->ttl_ms);
    mark = mark_add_text(mark_add(mark, (uint64_t)policy->due_at_ms), policy->rule);
    mark = mark_add_text(mark_add(mark, ' '), policy->source);
    return mark ? mark : 1;
}

bool reconcile_has_version(const struct store_entry *entry, const char *version) {
    struct store_view view;
    return same_text(store_job(entry, &view)->resource_version, version);
}

bool reconcile_submit(struct reconcile *r, enum history_op op, const struct store_entry *entry, struct run *run,
        const struct run_policy *policy, enum run_cause cause) {
    struct store_view view;
    const struct job *job = store_job(entry, &view);
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
    request->due_ms = entry->accepted ? entry->due_ms : TIME_NONE;
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

void reconcile_policy_for_row(
        const struct store_entry *entry, const struct decision *decision, struct run_policy *ret) {
    policy_to_run(decision, ret);
    /* It is being deleted, and perhaps because we asked: the intent stands, so that the next start knows that too. */
    struct store_view view;
    if ((entry->uncertain || entry->accepted) && store_job(entry, &view)->deletion_ms != TIME_NONE)
        ret->state = RUN_DELETING;
}

void reconcile_note_decision(
        struct reconcile *r, struct store_entry *entry, const struct decision *decision, bool record) {
    struct run_policy policy;
    reconcile_policy_for_row(entry, decision, &policy);
    uint64_t mark = mark_of(&policy);
    if (mark == entry->policy_mark)
        return;
    entry->policy_mark = mark;
    struct store_view view;
    const struct job *job = store_job(entry, &view);
    if (decision->reason == REASON_DOUBT || decision->reason == REASON_NOT_UNDERSTOOD)
        log_kept(job, decision);
    if (decision->reason == REASON_RECREATED || decision->reason == REASON_RECREATED_KEPT)
        log_recreated(job, decision);
    /* The register may have to be told again what was decided before; that is no news. */
    uint32_t told_mark = (uint32_t)(mark ^ (mark >> 32)) | 1;
    bool is_news = told_mark != entry->told_mark;
    entry->told_mark = told_mark;
    if (is_news)
        reconcile_tell(r, &(struct news){.kind = NEWS_DECIDED, .job = job, .decision = decision});
    if (record && !reconcile_is_dry(r) && entry->recorded &&
            !reconcile_submit(r, HISTORY_POLICY, entry, NULL, &policy, RUN_CAUSE_NONE))
        entry->policy_mark = 0;
}

/* ---- the one function that moves a Job from phase to phase ---- */

static bool counts_as_in_flight(enum phase phase) {
    return phase == PHASE_INTENT || phase == PHASE_DELETING || phase == PHASE_LOOKING;
}

struct forbidden *reconcile_find_forbidden(const struct reconcile *r, const char *namespace) {
    struct forbidden *f;
    HASH_FIND_STR(r->forbidden, namespace, f);
    return f;
}

/* The next Job of a Namespace that forbids deletion may try. */
static void stop_probing(struct reconcile *r, const char *namespace) {
    struct forbidden *f = reconcile_find_forbidden(r, namespace);
    if (f)
        f->probing = false;
}

void reconcile_set_phase(struct reconcile *r, struct store_entry *entry, enum phase phase) {
    bool was_trying = entry->phase == PHASE_INTENT || entry->phase == PHASE_DELETING;
    if (was_trying && phase != PHASE_DELETING)
        stop_probing(r, store_namespace_of(entry));
    if (counts_as_in_flight((enum phase)entry->phase))
        r->in_flight--;
    if (counts_as_in_flight(phase))
        r->in_flight++;
    if (phase != PHASE_IDLE)
        reconcile_unschedule(r, entry);
    entry->phase = (uint8_t)phase;
}

void reconcile_forget(struct reconcile *r, struct store_entry *entry) {
    reconcile_set_phase(r, entry, PHASE_IDLE);
    reconcile_unschedule(r, entry);
    store_remove(&r->store, entry);
}

struct store_entry *reconcile_add_entry(struct reconcile *r, const struct job *job) {
    uint32_t wanted = store_count(&r->store) + 1;
    if (heap_reserve(&r->due, wanted, NULL) < 0 || heap_reserve(&r->retry, wanted, NULL) < 0)
        return NULL;
    return store_add(&r->store, job);
}

/* ---- one of the two heaps ---- */

bool reconcile_is_scheduled(const struct store_entry *entry) {
    return entry->timer.index != HEAP_OUTSIDE && !entry->retries;
}

bool reconcile_is_retried(const struct store_entry *entry) {
    return entry->timer.index != HEAP_OUTSIDE && entry->retries;
}

void reconcile_unschedule(struct reconcile *r, struct store_entry *entry) {
    heap_remove(entry->retries ? &r->retry : &r->due, &entry->timer);
}

static void put(struct reconcile *r, struct store_entry *entry, bool retries, int64_t key) {
    if (entry->retries != retries)
        reconcile_unschedule(r, entry);
    entry->retries = retries;
    /* There is room: see add_entry. */
    (void)!heap_put(retries ? &r->retry : &r->due, &entry->timer, key, NULL);
}

void reconcile_try_later(struct reconcile *r, struct store_entry *entry, int64_t wait_ms) {
    if (r->settings.one_pass && r->stopped) {
        /* There is no later. */
        r->counts.failed++;
        reconcile_set_phase(r, entry, PHASE_FAILED);
        return;
    }
    reconcile_set_phase(r, entry, PHASE_IDLE);
    put(r, entry, true, clock_mono_ms() + wait_ms);
}

int64_t reconcile_backoff_of(const struct store_entry *entry) {
    struct backoff backoff = BACKOFF_INIT(RECONCILE_BACKOFF_FIRST_MS, RECONCILE_BACKOFF_LAST_MS);
    int64_t wait_ms = 0;
    for (int i = 0; i < entry->attempts && i < 16; i++)
        wait_ms = backoff_take(&backoff);
    return wait_ms;
}

void reconcile_evaluate(struct reconcile *r, struct store_entry *entry) {
    if (entry->phase != PHASE_IDLE || reconcile_is_retried(entry) || entry->ghost)
        return;
    struct store_view view;
    struct decision decision = reconcile_decide(r, store_job(entry, &view));
    if (decision.action == ACTION_NONE) {
        reconcile_unschedule(r, entry);
        return;
    }
    reconcile_note_decision(r, entry, &decision, true);
    if (decision.action == ACTION_KEEP || (reconcile_is_dry(r) && entry->counted)) {
        reconcile_unschedule(r, entry);
        return;
    }
    entry->due_ms = decision.due_ms;
    put(r, entry, false, decision.due_ms);
}

/* ---- Jobs that are gone ---- */

/* By us, or so it seems: should its name come back, then again and again. */
static void note_deleted(struct reconcile *r, const struct job *job) {
    int64_t server_ms = skew_server_now(&r->skew, clock_mono_ms());
    if (!job_has_cronjob(job))
        reconcile_note_deleted(
                r, job->namespace, job->name, job->created_ms, server_ms == TIME_NONE ? clock_wall_ms() : server_ms);
}

void reconcile_submit_gone(struct reconcile *r, struct store_entry *entry, struct run *run, enum run_cause cause) {
    struct store_view view;
    const struct job *job = store_job(entry, &view);
    if (cause != RUN_CAUSE_TTL && !entry->counted)
        reconcile_log_gone(job, cause);
    if (reconcile_is_dry(r)) {
        run_destroy(run);
        return;
    }
    if (!run && !entry->recorded && !entry->ghost)
        run = evidence_from_job(job);
    if (cause != RUN_CAUSE_EXTERNAL)
        note_deleted(r, job);
    struct run_policy policy = {.ttl_ms = RUN_UNKNOWN, .due_at_ms = TIME_NONE};
    reconcile_submit(r, HISTORY_DELETED, entry, run, &policy, cause);
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
    struct store_view view;
    struct decision decision = reconcile_decide(r, store_job(entry, &view));
    bool maybe_leader =
            (decision.action == ACTION_DELETE || decision.action == ACTION_WAIT) && decision.due_ms <= by_ms;
    return entry->uncertain || maybe_leader ? RUN_CAUSE_UNKNOWN : RUN_CAUSE_EXTERNAL;
}

void reconcile_settle_gone(struct reconcile *r, struct store_entry *entry, struct run *run) {
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
        reconcile_submit_gone(r, entry, run, cause_of_absence(r, entry));
        break;
    }
    reconcile_forget(r, entry);
}

void reconcile_look(struct reconcile *r, struct store_entry *entry) {
    reconcile_set_phase(r, entry, PHASE_LOOKING);
    entry->look_first = entry->changed = false;
    struct store_view view;
    const struct job *job = store_job(entry, &view);
    if (r->ports.get_job(r->ports.arg, job->namespace, job->name, job->uid) < 0) {
        entry->look_first = true;
        entry->attempts++;
        reconcile_try_later(r, entry, reconcile_backoff_of(entry));
    }
}

void reconcile_seems_gone(struct reconcile *r, struct store_entry *entry, struct run *run) {
    if (!r->settings.has_selector || entry->phase != PHASE_IDLE || reconcile_is_dry(r)) {
        reconcile_settle_gone(r, entry, run);
        return;
    }
    if (run && run->outcome != OUTCOME_NONE && !entry->recorded) {
        /* Nobody may be able to tell it again. */
        const struct run_policy policy = {.state = RUN_KEPT, .ttl_ms = RUN_UNKNOWN, .due_at_ms = TIME_NONE};
        entry->recorded = reconcile_submit(r, HISTORY_RECORD, entry, run, &policy, RUN_CAUSE_NONE);
    } else {
        run_destroy(run);
    }
    if (r->stopped) {
        /* No time to look: its row stays open, and the next start settles it. */
        reconcile_forget(r, entry);
        return;
    }
    entry->gone = false;
    entry->ghost = entry->look_first = true;
    reconcile_try_later(r, entry, 0); /* there it waits for its turn: there may be thousands */
}

void reconcile_confirmed_gone(struct reconcile *r, struct store_entry *entry) {
    if (r->settings.has_selector && !entry->counted) {
        reconcile_set_phase(r, entry, PHASE_IDLE);
        reconcile_seems_gone(r, entry, NULL);
        return;
    }
    if (!entry->counted)
        reconcile_submit_gone(r, entry, NULL, RUN_CAUSE_TTL);
    reconcile_forget(r, entry);
}
