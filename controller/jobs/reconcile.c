#include "jobs/reconcile_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

#define LEADER_TAIL_MS 60000 /* after that, news of what another did while it led has come */

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

/* ---- Jobs as they come ---- */

static struct run *evidence_of(const struct reconcile *r, const struct job *job, const struct job_object *object) {
    return reconcile_is_dry(r) ? NULL : evidence_from_object(object, job, r->settings.evidence);
}

/* A finished Job in a version that is not on record. */
static void record(struct reconcile *r, struct store_entry *entry, const struct job_object *object) {
    struct store_view view;
    const struct job *job = store_job(entry, &view);
    struct decision decision = reconcile_decide(r, job);
    struct run *run = evidence_of(r, job, object);
    if (!run) {
        if (!reconcile_is_dry(r))
            log_error("out of memory: a Job's evidence was not taken", log_job(job->namespace, job->name));
        reconcile_evaluate(r, entry);
        return;
    }
    int64_t mono_ms = clock_mono_ms();
    bool at_once = decision.action == ACTION_DELETE && r->fresh[entry->source] && entry->phase == PHASE_IDLE &&
                   !reconcile_is_retried(entry) && reconcile_may_start(r, mono_ms) &&
                   !reconcile_find_forbidden(r, job->namespace);
    entry->recorded = true;
    if (at_once) {
        /* One commit for both: this is what a lone Job's way out costs. */
        reconcile_unschedule(r, entry);
        reconcile_start_deletion(r, entry, &decision, run);
        return;
    }
    struct run_policy policy;
    reconcile_policy_for_row(entry, &decision, &policy);
    reconcile_note_decision(r, entry, &decision, false);
    bool intended = entry->phase == PHASE_INTENT && !entry->changed;
    if (intended || entry->phase == PHASE_DELETING || entry->phase == PHASE_CONFIRMING)
        policy.state = RUN_DELETING; /* the intent stands until the answer */
    entry->recorded = reconcile_submit(r, HISTORY_RECORD, entry, run, &policy, RUN_CAUSE_NONE);
    reconcile_evaluate(r, entry);
}

static void decode_failed(const struct job_object *object, const struct error *err) {
    log_warn("a Job that cannot be read is left alone", log_job(object->namespace, object->name),
            log_text("error", err->text));
}

/* Seen for the first time since the start. Should an earlier controller have sent its DELETE, it was for no later
 * version than this one. */
static void note_first_seen(struct store_entry *entry) {
    entry->unlisted = false;
    reconcile_note_sent(entry);
}

/* In place of what was there. NULL when out of memory, and then that stays. */
static struct store_entry *put_entry(struct reconcile *r, struct store_entry *entry, const struct job *job) {
    if (entry)
        return store_replace_job(&r->store, entry, job) < 0 ? NULL : entry;
    return reconcile_add_entry(r, job);
}

/* -1: there was no memory for it. */
static int take_job(struct reconcile *r, uint16_t source, const struct job *job, const struct job_object *object) {
    struct store_entry *entry = store_find(&r->store, job->uid);
    bool same = entry && !entry->ghost && reconcile_has_version(entry, job->resource_version);
    if (!same) {
        bool is_new = !entry || entry->unlisted;
        if (!(entry = put_entry(r, entry, job))) {
            log_error("out of memory: a Job was not taken in", log_job(job->namespace, job->name));
            reconcile_list_is_partial(r, source);
            return -1;
        }
        if (entry->phase == PHASE_FAILED)
            reconcile_set_phase(r, entry, PHASE_IDLE);
        entry->changed = entry->phase == PHASE_INTENT || entry->phase == PHASE_LOOKING;
        entry->counted = entry->counted && entry->phase == PHASE_CONFIRMING;
        entry->ghost = false;
        if (r->settings.has_selector)
            entry->gone = false; /* it was out of the selection for a moment */
        if (is_new)
            note_first_seen(entry);
        recreated_note_seen(&r->recreated, job->namespace, job->name, job->created_ms);
        /* This is the look that was wanted. */
        entry->look_first = false;
        if (reconcile_is_retried(entry))
            reconcile_unschedule(r, entry);
    }
    entry->source = source;
    entry->generation = r->generations[source];
    if (job_is_finished(job) && (!same || !entry->recorded))
        record(r, entry, object);
    else
        reconcile_evaluate(r, entry);
    return 0;
}

int reconcile_on_job(struct reconcile *r, uint16_t source, const struct job_object *object) {
    struct error err = {0};
    struct job job;
    if (job_decode(object, r->settings.policy->prefix, &job, &err) < 0) {
        decode_failed(object, &err);
        reconcile_list_is_partial(r, source);
        return 0;
    }
    int result = take_job(r, source, &job, object);
    r->ports.wake(r->ports.arg);
    return result;
}

int reconcile_on_job_deleted(struct reconcile *r, uint16_t source, const struct job_object *object) {
    struct error err = {0};
    struct job job;
    if (job_decode(object, r->settings.policy->prefix, &job, &err) < 0) {
        decode_failed(object, &err);
        return 0;
    }
    struct store_entry *entry = store_find(&r->store, job.uid);
    if (entry && entry->phase == PHASE_CONFIRMING) {
        reconcile_confirmed_gone(r, entry);
        r->ports.wake(r->ports.arg);
        return 0;
    }
    struct run *run = evidence_of(r, &job, object);
    if (!run && !reconcile_is_dry(r) && !(entry && entry->recorded))
        return -1;
    if (!entry || entry->unlisted) {
        if (!(entry = put_entry(r, entry, &job))) {
            run_destroy(run);
            return -1;
        }
        entry->ghost = false;
        entry->source = source;
        entry->generation = r->generations[source];
        note_first_seen(entry);
        entry->counted = true; /* never heard of, or heard of twice: no news for the log */
    }
    reconcile_seems_gone(r, entry, run);
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

void reconcile_list_complete(struct reconcile *r, uint16_t source) {
    if (r->partial[source])
        return;
    struct hashset_cursor cursor = {0};
    for (struct store_entry *entry; (entry = store_next(&r->store, &cursor));) {
        if (entry->source == source && entry->generation != r->generations[source]) {
            entry->unlisted = false;
            if (entry->phase == PHASE_CONFIRMING)
                reconcile_confirmed_gone(r, entry);
            else
                reconcile_seems_gone(r, entry, NULL);
        }
    }
    r->ports.wake(r->ports.arg);
}

int reconcile_add_open_row(struct reconcile *r, const char *namespace, const char *name, const char *uid,
        enum run_state state, uint16_t source, struct error *err) {
    const struct job job = {.namespace = namespace,
            .name = name,
            .uid = uid,
            .created_ms = TIME_NONE,
            .started_ms = TIME_NONE,
            .finished_ms = TIME_NONE,
            .completion_ms = TIME_NONE,
            .deletion_ms = TIME_NONE,
            .spec_ttl_s = SPEC_TTL_NONE};
    if (store_find(&r->store, uid))
        return 0;
    struct store_entry *entry = reconcile_add_entry(r, &job);
    if (!entry)
        return error_nomem(err);
    entry->ghost = entry->unlisted = true;
    /* Its DELETE may still be on its way: if the Job goes now, nobody knows by whose. */
    entry->uncertain = state == RUN_DELETING;
    entry->source = source;
    entry->generation = r->generations[source] - 1; /* no list has seen it */
    return 0;
}

void reconcile_note_deleted(
        struct reconcile *r, const char *namespace, const char *name, int64_t created_ms, int64_t deleted_ms) {
    recreated_note_deleted(&r->recreated, namespace, name, created_ms, deleted_ms);
}

/* -1: out of memory. */
static int take_found(struct reconcile *r, uint16_t source, const json_t *body) {
    const json_t *template = json_object_get(json_object_get(body, "spec"), "template");
    char *text = template ? json_dumps(template, JSON_COMPACT) : NULL;
    struct error err = {0};
    struct job_object object;
    struct job job;
    if ((template && !text) || job_object_read(body, text, text ? strlen(text) : 0, &object, &err) < 0) {
        free(text);
        return -1;
    }
    int result = 0;
    if (job_decode(&object, r->settings.policy->prefix, &job, &err) < 0)
        decode_failed(&object, &err);
    else
        result = take_job(r, source, &job, &object);
    job_object_finish(&object);
    free(text);
    return result;
}

/* The object there now may be the same Job, or another under its name. */
static void on_found(struct reconcile *r, struct store_entry *entry, const json_t *body) {
    const json_t *metadata = json_object_get(body, "metadata");
    const char *uid = json_string_value(json_object_get(metadata, "uid"));
    struct store_view view;
    const struct job *known = store_job(entry, &view);
    reconcile_set_phase(r, entry, PHASE_IDLE);
    if (!same_text(uid, known->uid)) {
        reconcile_settle_gone(r, entry, NULL);
        return;
    }
    const char *version = json_string_value(json_object_get(metadata, "resourceVersion"));
    bool terminates = json_is_string(json_object_get(metadata, "deletionTimestamp"));
    /* It lives on in another version than the one that was to be deleted: what had no answer has no effect any more. An
     * event would not prove that, for it may be older. */
    if (!terminates && version && reconcile_mark_of_text(version) != entry->sent_mark)
        entry->uncertain = false;
    if (entry->gone && !r->settings.has_selector) {
        /* Its end came while the answer was on its way, and a uid never comes back. */
        reconcile_settle_gone(r, entry, NULL);
        return;
    }
    if (entry->ghost) {
        /* It is there, but not in what we watch: it left the selection, and is none of ours any more. */
        bool maybe_ours = terminates && (entry->uncertain || entry->accepted);
        const struct run_policy kept = {.state = RUN_KEPT, .ttl_ms = RUN_UNKNOWN, .due_at_ms = TIME_NONE};
        if (!maybe_ours) /* else the intent stands until it is gone */
            reconcile_submit(r, HISTORY_POLICY, entry, NULL, &kept, RUN_CAUSE_NONE);
        if (terminates && !r->settings.one_pass) {
            /* Its end is near, and no watch will tell. */
            entry->look_first = true;
            reconcile_try_later(r, entry, RECONCILE_BACKOFF_LAST_MS);
            return;
        }
        log_info("the Job is no longer selected", log_job(known->namespace, known->name), log_text("uid", uid));
        reconcile_forget(r, entry);
        return;
    }
    entry->gone = false;
    if (entry->changed) {
        /* An event overtook the answer, and knows better. */
        reconcile_evaluate(r, entry);
        return;
    }
    if (r->settings.has_selector && !same_text(version, known->resource_version)) {
        /* GET knows no selector: what it found may be none of ours any more. Only the watch, or the next pass, can
         * tell. */
        entry->look_first = true;
        reconcile_retry_or_give_up(r, entry, 0, "it has changed, and may no longer be selected");
        return;
    }
    if (take_found(r, entry->source, body) < 0) {
        entry->look_first = true;
        reconcile_retry_or_give_up(r, entry, 0, "out of memory");
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
        reconcile_set_phase(r, entry, PHASE_IDLE);
        reconcile_settle_gone(r, entry, NULL);
    } else {
        entry->look_first = true;
        if (answer->status == 0 || answer->status == 429 || answer->status >= 500)
            reconcile_pause_all(r, answer->retry_after_ms, answer->message);
        reconcile_retry_or_give_up(r, entry, answer->retry_after_ms, answer->message);
    }
    r->ports.wake(r->ports.arg);
}

/* ---- what stands around the Jobs ---- */

void reconcile_namespace_changed(struct reconcile *r, const char *namespace) {
    struct hashset_cursor cursor = {0};
    for (struct store_entry *entry; (entry = store_next(&r->store, &cursor));) {
        if (!namespace || strcmp(store_namespace_of(entry), namespace) == 0)
            reconcile_evaluate(r, entry);
    }
    r->ports.wake(r->ports.arg);
}

void reconcile_cronjob_changed(struct reconcile *r, const char *cronjob_uid) {
    struct hashset_cursor cursor = {0};
    for (struct store_entry *entry; (entry = store_next(&r->store, &cursor));) {
        if (!cronjob_uid || store_is_owned_by(entry, cronjob_uid))
            reconcile_evaluate(r, entry);
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
    struct hashset_cursor cursor = {0};
    for (struct store_entry *entry; (entry = store_next(&r->store, &cursor));) {
        if (entry->source == source)
            reconcile_evaluate(r, entry);
    }
    r->ports.wake(r->ports.arg);
}

void reconcile_set_recording(struct reconcile *r, bool possible) {
    r->recording = possible;
    r->ports.wake(r->ports.arg);
}

void reconcile_register_is_new(struct reconcile *r) {
    struct hashset_cursor cursor = {0};
    for (struct store_entry *entry; (entry = store_next(&r->store, &cursor));) {
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

#define ENTRY_OF(node) ((struct store_entry *)(void *)((char *)(node)-offsetof(struct store_entry, timer)))

static void run_retries(struct reconcile *r, int64_t mono_ms) {
    for (struct heap_node *node; (node = heap_peek(&r->retry)) && node->key <= mono_ms;) {
        struct store_entry *entry = ENTRY_OF(node);
        bool must_look = entry->look_first || entry->ghost;
        if (must_look && (!reconcile_may_request(r) || mono_ms < r->paused_until_ms))
            return;
        reconcile_unschedule(r, entry);
        if (must_look)
            reconcile_look(r, entry);
        else
            reconcile_evaluate(r, entry);
    }
}

static void note_throttle(struct reconcile *r, int64_t mono_ms, int64_t now_ms) {
    const struct heap_node *due = heap_peek(&r->due);
    bool throttled = due && due->key <= now_ms && reconcile_has_slot(r) && mono_ms >= r->paused_until_ms &&
                     reconcile_has_rate(r) && r->tokens_milli < 1000;
    if (r->throttled_at_ms != TIME_NONE)
        r->totals.rate_wait_ms += mono_ms - r->throttled_at_ms;
    r->throttled_at_ms = throttled ? mono_ms : TIME_NONE;
}

static void run_due(struct reconcile *r, int64_t mono_ms, int64_t now_ms) {
    for (struct heap_node *node; (node = heap_peek(&r->due)) && node->key <= now_ms && reconcile_may_start(r, mono_ms);)
        reconcile_act_on_due(r, ENTRY_OF(node), mono_ms);
    note_throttle(r, mono_ms, now_ms);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

int64_t reconcile_run(struct reconcile *r) {
    int64_t mono_ms = clock_mono_ms(), now_ms = reconcile_safe_now(r);
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
    if (due && now_ms != TIME_NONE && reconcile_has_slot(r)) {
        int64_t due_in_ms = due->key > now_ms ? due->key - now_ms : 0;
        if (r->paused_until_ms > mono_ms && due_in_ms < r->paused_until_ms - mono_ms)
            due_in_ms = r->paused_until_ms - mono_ms;
        else if (due_in_ms == 0 && reconcile_has_rate(r))
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
    int64_t now_ms = reconcile_safe_now(r);
    return r->in_flight == 0 && !heap_peek(&r->retry) && (r->stopped || reconcile_leads(r)) &&
           (!due || r->stopped || (now_ms != TIME_NONE && due->key > now_ms));
}
