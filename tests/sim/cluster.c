#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

const char *const namespace_names[NAMESPACES] = {"alpha", "beta", "gamma", "delta"};

static const char job_uid_start[] = "00000000-0000-4000-a000-";

int64_t rv_of(int entry) {
    return RV_FIRST + entry;
}

int entry_of(const char *rv) {
    char *end;
    long long number = strtoll(rv, &end, 10);
    return end == rv || *end || number < RV_FIRST || number >= RV_FIRST + world->log_len ? -1
                                                                                         : (int)(number - RV_FIRST);
}

struct entry *entry_at(int entry) {
    return &world->log[entry];
}

struct job_state *job_state(int job) {
    return &world->log[world->jobs[job].head].job;
}

static int as_of_head(int head, int as_of) {
    int at = head;
    while (at >= as_of)
        at = world->log[at].previous;
    return at >= 0 && world->log[at].change != CHANGE_DELETED ? at : -1;
}

int job_as_of(int job, int as_of) {
    return as_of_head(world->jobs[job].head, as_of);
}

int slot_as_of(const struct truth_slot *slot, int as_of) {
    return as_of_head(slot->head, as_of);
}

const char *job_uid(int job, char buf[40]) {
    snprintf(buf, 40, "%s%012d", job_uid_start, job);
    return buf;
}

int job_of_uid(const char *uid) {
    size_t len = sizeof job_uid_start - 1;
    if (strncmp(uid, job_uid_start, len) != 0 || strlen(uid) != 36)
        return -1;
    long job = strtol(uid + len, NULL, 10);
    return job < world->n_jobs ? (int)job : -1;
}

const char *cronjob_uid(int cronjob, uint32_t generation, char buf[40]) {
    snprintf(buf, 40, "00000000-0000-4000-b00%d-%012u", cronjob, generation);
    return buf;
}

bool job_is_in_scope(int job) {
    const struct truth_job *j = &world->jobs[job];
    if (world->flavor.listed && j->namespace > 1)
        return false;
    return !world->flavor.selector || job_state(job)->selected;
}

/* ---- writing ---- */

/* The entry's state is the caller's to fill in, before anybody hears of it. */
static int append(enum kind kind, enum change change, int object, int previous) {
    if (world->log_len == world->log_capacity) {
        world->log_capacity = world->log_capacity ? 2 * world->log_capacity : 1024;
        world->log = realloc(world->log, (size_t)world->log_capacity * sizeof *world->log);
        if (!world->log)
            abort();
    }
    world->log[world->log_len] = (struct entry){.kind = kind, .change = change, .object = object, .previous = previous};
    digest_number(
            (uint64_t)world->log_len << 32 | (uint64_t)kind << 16 | (uint64_t)change << 8 | (uint64_t)(object & 0xff));
    return world->log_len++;
}

int cluster_create_job(int namespace, const char *name, const struct job_state *state) {
    if (world->n_jobs == world->jobs_capacity) {
        world->jobs_capacity = world->jobs_capacity ? 2 * world->jobs_capacity : 256;
        world->jobs = realloc(world->jobs, (size_t)world->jobs_capacity * sizeof *world->jobs);
        if (!world->jobs)
            abort();
    }
    int job = world->n_jobs++, entry = append(KIND_JOB, CHANGE_ADDED, job, -1);
    struct truth_job *j = &world->jobs[job];
    *j = (struct truth_job){.namespace = namespace, .head = entry, .requester = BY_NOBODY, .place = world->n_live};
    for (int i = 0; i < MACHINES_MAX; i++)
        j->known[i] = -1;
    snprintf(j->name, sizeof j->name, "%s", name);
    world->live[world->n_live++] = job;
    world->log[entry].job = *state;
    counts[COUNT_JOBS]++;
    trace("  cluster: rv %lld Job %s/%s is created (number %d)", (long long)rv_of(entry), namespace_names[namespace],
            name, job);
    streams_notice(entry);
    return job;
}

static void change(int job, enum change what, const struct job_state *state) {
    struct truth_job *j = &world->jobs[job];
    struct job_state copy = *state; /* it may be in the log, which may move */
    int entry = append(KIND_JOB, what, job, j->head);
    world->log[entry].job = copy;
    world->jobs[job].head = entry;
    trace("  cluster: rv %lld Job %s/%s (number %d) is %s%s%s", (long long)rv_of(entry), namespace_names[j->namespace],
            j->name, job, what == CHANGE_DELETED ? "gone" : "changed",
            copy.outcome == OUTCOME_NONE        ? ""
            : copy.outcome == OUTCOME_SUCCEEDED ? ", succeeded"
                                                : ", failed",
            copy.deletion_ms != TIME_NONE ? ", terminating" : "");
    streams_notice(entry);
}

void cluster_change_job(int job, const struct job_state *state) {
    change(job, CHANGE_MODIFIED, state);
}

void cluster_remove_job(int job, int requester) {
    struct truth_job *j = &world->jobs[job];
    int last = world->live[--world->n_live];
    world->live[j->place] = last;
    world->jobs[last].place = j->place;
    j->place = -1;
    j->gone = true;
    if (j->requester == BY_NOBODY)
        j->requester = requester;
    change(job, CHANGE_DELETED, job_state(job));
}

static void put_slot(enum kind kind, struct truth_slot *slot, int object, enum change what, int *ret_entry) {
    *ret_entry = append(kind, what, object, slot->head);
    slot->head = *ret_entry;
    slot->there = what != CHANGE_DELETED;
}

void cluster_put_namespace(int namespace, const struct namespace_state *state) {
    struct namespace_state copy = *state;
    struct truth_slot *slot = &world->namespaces[namespace];
    int entry;
    put_slot(KIND_NAMESPACE, slot, namespace, slot->there ? CHANGE_MODIFIED : CHANGE_ADDED, &entry);
    world->log[entry].namespace = copy;
    trace("  cluster: rv %lld Namespace %s is written", (long long)rv_of(entry), namespace_names[namespace]);
    streams_notice(entry);
}

void cluster_remove_namespace(int namespace) {
    struct namespace_state copy = world->log[world->namespaces[namespace].head].namespace;
    int entry;
    put_slot(KIND_NAMESPACE, &world->namespaces[namespace], namespace, CHANGE_DELETED, &entry);
    world->log[entry].namespace = copy;
    trace("  cluster: rv %lld Namespace %s is gone", (long long)rv_of(entry), namespace_names[namespace]);
    streams_notice(entry);
}

void cluster_put_cronjob(int cronjob, const struct cronjob_state *state) {
    struct cronjob_state copy = *state;
    struct truth_slot *slot = &world->cronjobs[cronjob];
    int entry;
    put_slot(KIND_CRONJOB, slot, cronjob, slot->there ? CHANGE_MODIFIED : CHANGE_ADDED, &entry);
    world->log[entry].cronjob = copy;
    trace("  cluster: rv %lld CronJob cron-%d is written, %d active", (long long)rv_of(entry), cronjob, copy.n_active);
    streams_notice(entry);
}

void cluster_remove_cronjob(int cronjob) {
    struct cronjob_state copy = world->log[world->cronjobs[cronjob].head].cronjob;
    int entry;
    put_slot(KIND_CRONJOB, &world->cronjobs[cronjob], cronjob, CHANGE_DELETED, &entry);
    world->log[entry].cronjob = copy;
    trace("  cluster: rv %lld CronJob cron-%d is gone", (long long)rv_of(entry), cronjob);
    streams_notice(entry);
}

int cluster_write_lease(void) {
    return append(KIND_LEASE, CHANGE_MODIFIED, 0, -1);
}

void cluster_finish(void) {
    for (int i = 0; i < world->log_len; i++)
        free(world->log[i].message);
    free(world->log);
    free(world->jobs);
    free(world->lease.spec);
}
