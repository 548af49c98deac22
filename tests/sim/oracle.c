/* What the README promises of a Job, said again in the simulation's own words. */
#include "cluster.h"
#include "model.h"

static struct verdict stays(const char *why) {
    return (struct verdict){.stays = true, .why = why, .due_ms = TIME_NONE};
}

static bool is_bad(const struct notes *notes) {
    return notes->unknown_key || notes->success.kind == VALUE_BAD || notes->failure.kind == VALUE_BAD ||
           notes->hold == HOLD_BAD;
}

static const struct ttl_value *ttl_for(const struct notes *notes, bool succeeded) {
    return succeeded ? &notes->success : &notes->failure;
}

/* On the Namespace: what this Job would have needed of it. */
static bool is_unclear(const struct job_state *job, const struct notes *around, bool succeeded) {
    bool own_ttl = ttl_for(&job->notes, succeeded)->kind != VALUE_ABSENT || job->spec_ttl_s >= 0;
    return around->unknown_key || (around->hold == HOLD_BAD && job->notes.hold == HOLD_ABSENT) ||
           (ttl_for(around, succeeded)->kind == VALUE_BAD && !own_ttl);
}

static struct ttl_value find_ttl(const struct job_state *job, int namespace, const struct notes *around,
        const struct settings *settings, bool succeeded) {
    const struct ttl_value *own = ttl_for(&job->notes, succeeded), *theirs = ttl_for(around, succeeded);
    const struct ttl_value *section =
            succeeded ? &settings->section_success[namespace] : &settings->section_failure[namespace];
    if (own->kind != VALUE_ABSENT)
        return *own;
    if (job->spec_ttl_s >= 0)
        return (struct ttl_value){.kind = VALUE_SET, .seconds = job->spec_ttl_s};
    if (theirs->kind != VALUE_ABSENT)
        return *theirs;
    return section->kind != VALUE_ABSENT ? *section : succeeded ? settings->success : settings->failure;
}

struct verdict oracle_judge(const struct job_state *job, int namespace, const struct namespace_state *around,
        const struct settings *settings) {
    if (job->outcome == OUTCOME_NONE)
        return stays("it has not finished");
    if (job->doubt != DOUBT_NONE)
        return stays("its conditions are in doubt");
    if (job->started_ms != TIME_NONE && job->finished_ms < job->started_ms)
        return stays("it finished before it started");
    if (job->deletion_ms != TIME_NONE)
        return stays("it is being deleted already");
    if (world->flavor.selector && !job->selected)
        return stays("it is not selected");
    if (is_bad(&job->notes))
        return stays("an annotation is not understood");
    if (!around)
        return stays("its Namespace is not known");
    bool succeeded = job->outcome == OUTCOME_SUCCEEDED;
    const struct notes *notes = &around->notes;
    if (is_unclear(job, notes, succeeded))
        return stays("an annotation of its Namespace is not understood");
    bool own_hold = job->notes.hold != HOLD_ABSENT;
    enum hold_kind hold = own_hold ? job->notes.hold : notes->hold;
    if (hold == HOLD_TRUE)
        return stays("it is held");
    struct ttl_value ttl = find_ttl(job, namespace, notes, settings, succeeded);
    if (ttl.kind == VALUE_NEVER)
        return stays("its time is never up");
    bool says_itself = ttl_for(&job->notes, succeeded)->kind == VALUE_SET || job->spec_ttl_s >= 0;
    if (job->hook != PLAIN && !says_itself)
        return stays("it is a hook of Helm's or Argo CD's");
    if (job->owner == OWNER_FOREIGN && !says_itself)
        return stays("its owner may create and run it again");
    struct verdict verdict = {.due_ms = job->finished_ms + 1000LL * ttl.seconds};
    int64_t held_until_ms = own_hold ? job->notes.hold_until_ms : notes->hold_until_ms;
    if (hold == HOLD_UNTIL && held_until_ms > verdict.due_ms)
        verdict.due_ms = held_until_ms;
    return verdict;
}

int64_t oracle_settles(
        int job, const struct job_state *state, const struct cronjob_state *cronjob, const struct settings *settings) {
    bool active = false;
    if (state->owner != OWNER_CRONJOB || !cronjob || cronjob->generation != state->cronjob_generation)
        return TIME_NONE;
    for (int i = 0; i < cronjob->n_active; i++)
        active = active || cronjob->active[i] == job;
    bool behind = !world->flavor.v1beta1 && state->outcome == OUTCOME_SUCCEEDED &&
                  (cronjob->last_success_ms == TIME_NONE || cronjob->last_success_ms < state->finished_ms);
    return active || behind ? state->finished_ms + settings->settle_ms : TIME_NONE;
}
