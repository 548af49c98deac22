/* What must be true when all is well again and time has passed. */
#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "machine.h"
#include "model.h"

#define SLACK_MS 900000 /* over the longest time to live: the longest back-offs, one after the other */

static char mismatch[256];

#define MISMATCH(...) (snprintf(mismatch, sizeof mismatch, __VA_ARGS__), true)

static const struct namespace_state *around(int job) {
    const struct truth_slot *slot = &world->namespaces[world->jobs[job].namespace];
    return slot->there ? &entry_at(slot->head)->namespace : NULL;
}

int64_t final_patience_ms(void) {
    int64_t least_ms = server_wall_ms(), latest_ms = least_ms;
    for (int i = 0; i < world->flavor.machines; i++) {
        if (machine_wall_ms(&world->machines[i]) < least_ms)
            least_ms = machine_wall_ms(&world->machines[i]);
    }
    for (int i = 0; i < world->n_live; i++) {
        int job = world->live[i];
        struct verdict verdict =
                oracle_judge(job_state(job), world->jobs[job].namespace, around(job), &world->settings);
        if (!verdict.stays && verdict.due_ms > latest_ms)
            latest_ms = verdict.due_ms;
    }
    return latest_ms - least_ms + SLACK_MS;
}

static bool differs_alive(struct machine *m, int job) {
    const struct job_state *state = job_state(job);
    const struct row *row = machine_row(m, job);
    if (state->outcome == OUTCOME_NONE || state->doubt == DOUBT_BOTH)
        return row->there && MISMATCH("Job number %d has not finished, and is on record", job);
    if (!row->there || !row->has_run)
        return MISMATCH("Job number %d has finished, and machine %d has no record of it", job, m->index);
    int64_t finished_ms = state->doubt == DOUBT_NO_TIME ? TIME_NONE : state->finished_ms;
    if (row->outcome != state->outcome || row->finished_ms != finished_ms || row->started_ms != state->started_ms)
        return MISMATCH("the record of Job number %d at machine %d is of another outcome or time", job, m->index);
    if (world->flavor.unfaithful)
        return false;
    if (row->fate.policy.state != RUN_KEPT || row->fate.policy.due_at_ms != TIME_NONE)
        return MISMATCH("Job number %d stays, and its row at machine %d says %s", job, m->index,
                run_state_name(row->fate.policy.state));
    return false;
}

static bool differs_gone(struct machine *m, int job) {
    const struct truth_job *truth = &world->jobs[job];
    const struct row *row = machine_row(m, job);
    if (m->store_was_lost && !row->there)
        return false;
    if (truth->requester == m->index && !row->there)
        return MISMATCH("machine %d deleted Job number %d, and has no record of it", m->index, job);
    if (truth->told_finished[m->index] == m->boot && !row->there)
        return MISMATCH("machine %d saw Job number %d finish, and has no record of it", m->index, job);
    /* One that had left the selection is none of ours any more, until the next start. */
    bool ours = !world->flavor.selector || truth->requester == m->index || row->fate.policy.state == RUN_DELETING;
    if (row->there && ours && row->fate.policy.state != RUN_DELETED)
        return MISMATCH("Job number %d is gone, and its row at machine %d says %s", job, m->index,
                run_state_name(row->fate.policy.state));
    return false;
}

/* Jobs of its name have come and gone so often that it may be backed off from. */
static bool comes_again(int job) {
    int times = 0;
    for (int other = 0; world->flavor.recreate_limit && other < job; other++) {
        const struct truth_job *a = &world->jobs[job], *b = &world->jobs[other];
        times += a->namespace == b->namespace && strcmp(a->name, b->name) == 0;
    }
    return times > 0 && times >= world->flavor.recreate_limit;
}

static bool differs(void) {
    for (int i = 0; i < world->flavor.machines; i++) {
        struct machine *m = &world->machines[i];
        if (!m->up || m->one_pass || !engine_is_synced(m->engine))
            return MISMATCH("machine %d is not at work", i);
    }
    if (world->flavor.leader_elect && world->lease.holder < 0)
        return MISMATCH("nobody holds the lease");
    for (int job = 0; job < world->n_jobs; job++) {
        bool gone = world->jobs[job].gone;
        if (!gone && !job_is_in_scope(job))
            continue;
        struct verdict verdict = {.stays = true};
        if (!gone)
            verdict = oracle_judge(job_state(job), world->jobs[job].namespace, around(job), &world->settings);
        if (!verdict.stays && !comes_again(job))
            return MISMATCH("Job number %d is due, and still there", job);
        for (int i = 0; i < world->flavor.machines && verdict.stays; i++) {
            struct machine *m = &world->machines[i];
            if (gone ? differs_gone(m, job) : differs_alive(m, job))
                return true;
        }
    }
    return false;
}

bool final_is_reached(void) {
    return !differs();
}

void final_check(void) {
    if (differs())
        violated(QUIESCENCE, "%s", mismatch);
}
