#include "jobs/reconcile_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

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

bool reconcile_has_rate(const struct reconcile *r) {
    return r->settings.delete_qps && !reconcile_is_dry(r);
}

bool reconcile_may_request(const struct reconcile *r) {
    return !r->stopped && r->in_flight < (r->troubled ? 1 : r->settings.max_in_flight);
}

/* Where there are more than may be in flight, they begin in groups: what begins together is one commit, and one by one
 * each would be its own. */
static bool group_is_full(struct reconcile *r) {
    if (r->in_flight >= r->settings.max_in_flight)
        r->crowded = true;
    else if (r->in_flight <= r->settings.max_in_flight / 2)
        r->crowded = false;
    return r->crowded;
}

bool reconcile_has_slot(struct reconcile *r) {
    return !group_is_full(r) && r->recording && reconcile_leads(r) && reconcile_may_request(r);
}

bool reconcile_may_start(struct reconcile *r, int64_t mono_ms) {
    if (!reconcile_has_slot(r) || mono_ms < r->paused_until_ms)
        return false;
    if (!reconcile_has_rate(r))
        return true;
    refill_tokens(r, mono_ms);
    return r->tokens_milli >= 1000;
}

/* False: this Namespace forbids deletion, and the Job was put off. */
static bool namespace_lets(struct reconcile *r, struct store_entry *entry, int64_t mono_ms) {
    struct forbidden *f = reconcile_find_forbidden(r, store_namespace_of(entry));
    if (!f)
        return true;
    if (mono_ms >= f->until_ms && !f->probing) {
        f->probing = true;
        return true;
    }
    if (r->settings.one_pass) {
        r->counts.failed++;
        reconcile_set_phase(r, entry, PHASE_FAILED);
        return false;
    }
    int64_t wait_ms = f->until_ms > mono_ms ? f->until_ms - mono_ms : RECONCILE_BACKOFF_FIRST_MS;
    reconcile_try_later(r, entry, wait_ms + (int64_t)random_below(RECONCILE_BACKOFF_FIRST_MS));
    return false;
}

static void tell_dry(struct reconcile *r, struct store_entry *entry, const struct decision *decision) {
    struct store_view view;
    reconcile_log_deletion("would delete (dry run)", store_job(entry, &view), decision);
    entry->counted = true;
    r->counts.would_delete++;
    reconcile_unschedule(r, entry);
}

void reconcile_start_deletion(
        struct reconcile *r, struct store_entry *entry, const struct decision *decision, struct run *run) {
    struct run_policy policy;
    policy_to_run(decision, &policy);
    policy.state = RUN_DELETING;
    if (r->settings.delete_qps)
        r->tokens_milli -= 1000;
    reconcile_set_phase(r, entry, PHASE_INTENT);
    entry->changed = false;
    entry->policy_mark = 0;
    bool with_record = run != NULL;
    entry->due_ms = decision->due_ms;
    r->totals.rate_waits += r->throttled_at_ms != TIME_NONE;
    if (reconcile_submit(r, HISTORY_INTENT, entry, run, &policy, RUN_CAUSE_NONE))
        return;
    entry->recorded = entry->recorded && !with_record;
    reconcile_try_later(r, entry, RECONCILE_BACKOFF_FIRST_MS);
}

void reconcile_act_on_due(struct reconcile *r, struct store_entry *entry, int64_t mono_ms) {
    struct store_view view;
    reconcile_unschedule(r, entry);
    struct decision decision = reconcile_decide(r, store_job(entry, &view));
    if (decision.action != ACTION_DELETE) {
        reconcile_evaluate(r, entry);
        return;
    }
    if (!r->fresh[entry->source])
        return; /* what is known may be stale: reconcile_set_fresh brings it back */
    if (reconcile_is_dry(r)) {
        tell_dry(r, entry, &decision);
        return;
    }
    if (!entry->recorded) {
        /* Its evidence could not be taken: no record, no deletion. */
        reconcile_look(r, entry);
        return;
    }
    if (namespace_lets(r, entry, mono_ms))
        reconcile_start_deletion(r, entry, &decision, NULL);
}

void reconcile_note_sent(struct store_entry *entry) {
    struct store_view view;
    const char *version = store_job(entry, &view)->resource_version;
    entry->sent_mark = version ? reconcile_mark_of_text(version) : 0;
}

static void send_delete(struct reconcile *r, struct store_entry *entry) {
    reconcile_set_phase(r, entry, PHASE_DELETING);
    reconcile_note_sent(entry);
    struct store_view view;
    if (r->ports.delete_job(r->ports.arg, store_job(entry, &view)) < 0) {
        entry->attempts++;
        reconcile_try_later(r, entry, reconcile_backoff_of(entry));
    }
}

/* An intent that is not followed: the row shows again what is decided. */
static void take_back(struct reconcile *r, struct store_entry *entry) {
    reconcile_set_phase(r, entry, PHASE_IDLE);
    entry->policy_mark = 0;
    reconcile_evaluate(r, entry);
}

/* As the decision is at this moment. */
static bool is_to_go(const struct reconcile *r, const struct store_entry *entry) {
    struct store_view view;
    return reconcile_decide(r, store_job(entry, &view)).action == ACTION_DELETE;
}

bool reconcile_may_send(const struct reconcile *r, const char *uid) {
    const struct store_entry *entry = store_find(&r->store, uid);
    return entry && entry->phase == PHASE_DELETING && !entry->gone && !r->stopped && r->recording && entry->recorded &&
           reconcile_leads(r) && r->fresh[entry->source] && is_to_go(r, entry);
}

void reconcile_on_durable(struct reconcile *r, const struct history_request *request) {
    struct store_entry *entry = store_find(&r->store, request->uid);
    reconcile_tell_durable(r, request);
    if (request->inserted) {
        r->counts.recorded++;
        reconcile_log_recorded(request);
    }
    /* Else it was forgotten meanwhile that it is (reconcile_register_is_new). */
    if (request->run && entry && reconcile_has_version(entry, request->run->resource_version))
        entry->recorded = true;
    if (request->op != HISTORY_INTENT || !entry || entry->phase != PHASE_INTENT)
        return;
    if (entry->gone) {
        reconcile_set_phase(r, entry, PHASE_IDLE);
        reconcile_seems_gone(r, entry, NULL);
    } else if (r->stopped || !r->fresh[entry->source] || entry->changed || !reconcile_leads(r) || !is_to_go(r, entry)) {
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
        reconcile_retry_or_give_up(r, entry, 0, "the register does not take its record");
    r->ports.wake(r->ports.arg);
}

/* One pass: the API server will not have any of it, so what is still due has failed. */
static void end_pass(struct reconcile *r, const char *why) {
    if (r->stopped)
        return;
    log_error("the pass ends early", log_text("error", why));
    r->stopped = true;
    int64_t now_ms = reconcile_safe_now(r);
    struct hashset_cursor cursor = {0};
    for (struct store_entry *entry; (entry = store_next(&r->store, &cursor));) {
        bool was_due = reconcile_is_scheduled(entry) && entry->timer.key <= now_ms;
        if (entry->phase != PHASE_IDLE || !(was_due || reconcile_is_retried(entry)))
            continue;
        r->counts.failed++;
        reconcile_set_phase(r, entry, PHASE_FAILED);
    }
}

void reconcile_pause_all(struct reconcile *r, int64_t retry_after_ms, const char *why) {
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
    struct forbidden *f = reconcile_find_forbidden(r, job->namespace);
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
    struct forbidden *f = reconcile_find_forbidden(r, namespace);
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
    struct store_view view;
    struct decision decision = reconcile_decide(r, store_job(entry, &view));
    reconcile_note_decision(r, entry, &decision, true);
}

void reconcile_retry_or_give_up(struct reconcile *r, struct store_entry *entry, int64_t wait_ms, const char *why) {
    struct store_view view;
    const struct job *job = store_job(entry, &view);
    entry->attempts++;
    int64_t backoff_ms = reconcile_backoff_of(entry);
    if (wait_ms < backoff_ms)
        wait_ms = backoff_ms;
    bool give_up = r->settings.one_pass &&
                   (r->stopped || entry->attempts >= RECONCILE_PASS_ATTEMPTS || wait_ms > RECONCILE_PASS_WAIT_MAX_MS);
    if (!give_up) {
        log_warn("a deletion did not work and is tried again", log_job(job->namespace, job->name),
                log_text("uid", job->uid), log_duration("retry_in", wait_ms), log_text("error", why));
        restate(r, entry);
        reconcile_try_later(r, entry, wait_ms);
        return;
    }
    log_error("a deletion did not work", log_job(job->namespace, job->name), log_text("uid", job->uid),
            log_text("error", why));
    r->counts.failed++;
    restate(r, entry);
    reconcile_set_phase(r, entry, PHASE_FAILED);
}

/* The API server said yes. */
static void accept_deletion(struct reconcile *r, struct store_entry *entry, const struct reconcile_answer *answer) {
    struct store_view view;
    const struct job *job = store_job(entry, &view);
    const char *kind = json_string_value(json_object_get(answer->body, "kind"));
    bool terminating = kind && strcmp(kind, "Job") == 0; /* finalizers: it is on its way, but still there */
    backoff_reset(&r->pause);
    r->pause_told = false;
    r->pauses_in_row = 0;
    lift_namespace(r, job->namespace);
    entry->attempts = 0;
    entry->accepted = true;
    r->counts.deleted++;
    reconcile_tell(r, &(struct news){.kind = NEWS_ACCEPTED, .job = job});
    const struct decision decision = reconcile_decide(r, job);
    reconcile_log_deletion(
            terminating ? "job is being deleted, and waits for its finalizers" : "job deleted", job, &decision);
    reconcile_set_phase(r, entry, PHASE_CONFIRMING);
    if (!terminating) {
        reconcile_submit_gone(r, entry, NULL, RUN_CAUSE_TTL);
        entry->counted = true; /* its end is told: the event has nothing to add */
    }
    if (entry->gone)
        reconcile_confirmed_gone(r, entry);
}

static void on_conflict(struct reconcile *r, struct store_entry *entry, const struct reconcile_answer *answer) {
    struct store_view view;
    const struct job *job = store_job(entry, &view);
    log_info("the Job changed before its deletion; looking again", log_job(job->namespace, job->name),
            log_text("uid", job->uid), log_text("error", answer->message));
    entry->look_first = true;
    if (r->settings.one_pass && entry->attempts + 1 >= RECONCILE_PASS_ATTEMPTS) {
        reconcile_retry_or_give_up(r, entry, 0, answer->message);
        return;
    }
    restate(r, entry);
    entry->attempts++;
    /* While watching, its event is most likely on the way, and makes the look unnecessary. */
    reconcile_try_later(r, entry, r->settings.one_pass ? 0 : reconcile_backoff_of(entry));
}

void reconcile_on_delete(struct reconcile *r, const char *uid, const struct reconcile_answer *answer) {
    struct store_entry *entry = store_find(&r->store, uid);
    if (!entry || entry->phase != PHASE_DELETING)
        return;
    int status = answer->status;
    if (status / 100 == 2 || status == 403 || status == 404 || status == 409)
        r->troubled = false;
    struct store_view view;
    const struct job *job = store_job(entry, &view);
    if (status != 200 && status != 202)
        reconcile_tell(r, &(struct news){.kind = NEWS_FAILED,
                                  .job = job,
                                  .status = status,
                                  .withheld = answer->withheld,
                                  .message = answer->message});
    if (answer->withheld && !entry->gone) {
        if (r->stopped && r->settings.one_pass)
            reconcile_try_later(r, entry, 0); /* where it counts as failed */
        else
            take_back(r, entry);
    } else if (status == 200 || status == 202) {
        accept_deletion(r, entry, answer);
    } else if (status == 404) {
        reconcile_set_phase(r, entry, PHASE_IDLE);
        reconcile_settle_gone(r, entry, NULL);
    } else if (entry->gone) {
        /* Without an answer, but its end was seen: ours or another's, nobody knows. */
        entry->uncertain = entry->uncertain || (status == 0 && answer->sent) || status >= 500;
        reconcile_set_phase(r, entry, PHASE_IDLE);
        reconcile_seems_gone(r, entry, NULL);
    } else if (status == 409) {
        on_conflict(r, entry, answer);
    } else if (status == 403) {
        pause_namespace(r, job, answer->message);
        if (r->settings.one_pass)
            entry->attempts = RECONCILE_PASS_ATTEMPTS;
        reconcile_retry_or_give_up(r, entry, reconcile_find_forbidden(r, job->namespace) ? 30000 : 0, answer->message);
    } else if (status == 429) {
        reconcile_pause_all(r, answer->retry_after_ms, answer->message);
        reconcile_retry_or_give_up(r, entry, answer->retry_after_ms, answer->message);
    } else {
        bool trouble = status == 0 || status >= 500;
        if (trouble) {
            /* It may have taken effect all the same: look before trying again. */
            entry->uncertain = entry->uncertain || status >= 500 || answer->sent;
            entry->look_first = true;
        }
        if (trouble || status == 401)
            reconcile_pause_all(r, answer->retry_after_ms, answer->message);
        reconcile_retry_or_give_up(r, entry, answer->retry_after_ms, answer->message);
    }
    r->ports.wake(r->ports.arg);
}
