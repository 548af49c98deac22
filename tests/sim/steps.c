#include "steps.h"

#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "machine.h"
#include "server.h"

#define NAMES 40 /* for Jobs in a Namespace: few, so that they are used again */

/* ---- picking ---- */

static int64_t server_seconds(void) {
    return server_wall_ms() / 1000 * 1000;
}

static int pick_namespace(void) {
    int first = (int)chance_below(NAMESPACES);
    for (int i = 0; i < NAMESPACES; i++) {
        if (world->namespaces[(first + i) % NAMESPACES].there)
            return (first + i) % NAMESPACES;
    }
    return -1;
}

/* A live Job for which want is true, from a place left to chance; -1: none. */
static int pick_job(bool (*want)(const struct job_state *state)) {
    if (!world->n_live)
        return -1;
    int first = (int)chance_below((uint64_t)world->n_live);
    for (int i = 0; i < world->n_live; i++) {
        int job = world->live[(first + i) % world->n_live];
        if (want(job_state(job)))
            return job;
    }
    return -1;
}

static bool any(const struct job_state *state) {
    (void)state;
    return true;
}

static bool is_unfinished(const struct job_state *state) {
    return state->outcome == OUTCOME_NONE && !state->suspended && state->deletion_ms == TIME_NONE;
}

static bool is_held(const struct job_state *state) {
    return state->notes.hold == HOLD_TRUE || state->notes.hold == HOLD_UNTIL || state->notes.hold == HOLD_BAD;
}

static bool has_finalizer(const struct job_state *state) {
    return state->finalizer;
}

static bool is_plain(const struct job_state *state) {
    return !state->finalizer && state->deletion_ms == TIME_NONE;
}

static bool is_terminating(const struct job_state *state) {
    return state->deletion_ms != TIME_NONE;
}

/* ---- Jobs ---- */

static struct ttl_value draw_ttl(void) {
    uint64_t kind = chance_below(100);
    if (kind < 8)
        return (struct ttl_value){.kind = VALUE_NEVER};
    return (struct ttl_value){
            .kind = VALUE_SET, .seconds = kind < 40 ? 0 : (int32_t)chance_range(1, world->flavor.ttl_max_s)};
}

static void draw_hold(struct notes *notes) {
    notes->hold = chance_permille(400) ? HOLD_TRUE : HOLD_UNTIL;
    notes->hold_until_ms = server_seconds() + 1000 * chance_range(-30, world->flavor.ttl_max_s);
}

static void draw_bad(struct notes *notes) {
    switch (chance_below(4)) {
    case 0:
        notes->success.kind = VALUE_BAD;
        break;
    case 1:
        notes->failure.kind = VALUE_BAD;
        break;
    case 2:
        notes->hold = HOLD_BAD;
        break;
    default:
        notes->unknown_key = true;
    }
}

static void draw_notes(struct notes *notes, int permille) {
    if (chance_permille(permille))
        notes->success = draw_ttl();
    if (chance_permille(permille))
        notes->failure = draw_ttl();
    if (chance_permille(permille / 4))
        draw_hold(notes);
    if (chance_permille(permille / 20))
        notes->hold = HOLD_FALSE;
    if (chance_permille(permille / 10))
        draw_bad(notes);
}

static struct job_state draw_job(void) {
    struct job_state state = {.created_ms = server_seconds(),
            .started_ms = server_seconds(),
            .finished_ms = TIME_NONE,
            .deletion_ms = TIME_NONE,
            .spec_ttl_s = -1,
            .selected = chance_permille(800),
            .finalizer = chance_permille(40),
            .suspended = chance_permille(30)};
    draw_notes(&state.notes, 150);
    if (chance_permille(100))
        state.spec_ttl_s = (int32_t)chance_range(0, world->flavor.ttl_max_s);
    if (chance_permille(60))
        state.owner = chance_permille(500) ? OWNER_FOREIGN : OWNER_LOOSE;
    if (chance_permille(40))
        state.hook = chance_permille(500) ? HELM_HOOK : ARGO_HOOK;
    if (state.suspended)
        state.started_ms = TIME_NONE;
    return state;
}

static bool is_taken(int namespace, const char *name) {
    for (int i = 0; i < world->n_live; i++) {
        const struct truth_job *job = &world->jobs[world->live[i]];
        if (job->namespace == namespace && strcmp(job->name, name) == 0)
            return true;
    }
    return false;
}

static void finish(int job, enum outcome outcome) {
    struct job_state state = *job_state(job);
    state.outcome = (uint8_t)outcome;
    state.finished_ms = server_seconds() - 1000 * chance_range(0, 3);
    if (chance_permille(20))
        state.finished_ms += 1000 * chance_range(1, 60); /* by another clock */
    if (state.finished_ms < state.started_ms && !chance_permille(50))
        state.finished_ms = state.started_ms;
    state.target = chance_permille(300);
    state.doubt = chance_permille(30) ? (uint8_t)chance_range(DOUBT_BOTH, DOUBT_STATUS) : DOUBT_NONE;
    counts[COUNT_FINISHED]++;
    cluster_change_job(job, &state);
}

static void act_finish(void) {
    int job = pick_job(is_unfinished);
    if (job >= 0)
        finish(job, chance_permille(600) ? OUTCOME_SUCCEEDED : OUTCOME_FAILED);
}

static void act_create(void) {
    char name[32];
    int namespace = pick_namespace();
    snprintf(name, sizeof name, "job-%d", (int)chance_below(NAMES));
    if (world->n_live >= world->flavor.live) {
        act_finish();
        return;
    }
    if (namespace < 0 || is_taken(namespace, name))
        return;
    struct job_state state = draw_job();
    int job = cluster_create_job(namespace, name, &state);
    if (chance_permille(100) && !state.suspended)
        finish(job, chance_permille(600) ? OUTCOME_SUCCEEDED : OUTCOME_FAILED);
}

static void act_retry(void) {
    int job = pick_job(is_unfinished);
    if (job < 0)
        return;
    struct job_state state = *job_state(job);
    state.failed++;
    state.target = chance_permille(100);
    cluster_change_job(job, &state);
}

static void act_suspend(void) {
    int job = pick_job(any);
    if (job < 0 || job_state(job)->outcome != OUTCOME_NONE)
        return;
    struct job_state state = *job_state(job);
    state.suspended = !state.suspended;
    state.started_ms = state.suspended ? TIME_NONE : server_seconds(); /* it starts again on resume */
    cluster_change_job(job, &state);
}

static void act_annotate(void) {
    int job = pick_job(any);
    if (job < 0)
        return;
    struct job_state state = *job_state(job);
    struct ttl_value *ttl = chance_permille(500) ? &state.notes.success : &state.notes.failure;
    *ttl = chance_permille(200) ? (struct ttl_value){.kind = VALUE_ABSENT} : draw_ttl();
    cluster_change_job(job, &state);
}

static void act_hold(void) {
    int job = pick_job(any);
    if (job < 0)
        return;
    struct job_state state = *job_state(job);
    draw_hold(&state.notes);
    cluster_change_job(job, &state);
}

static void act_unhold(void) {
    int job = pick_job(is_held);
    if (job < 0)
        return;
    struct job_state state = *job_state(job);
    state.notes.hold = chance_permille(500) ? HOLD_ABSENT : HOLD_FALSE;
    cluster_change_job(job, &state);
}

static void act_bad(void) {
    int job = pick_job(any);
    if (job < 0)
        return;
    struct job_state state = *job_state(job);
    if (chance_permille(500))
        draw_bad(&state.notes);
    else
        state.notes = (struct notes){.success = {.kind = VALUE_ABSENT}};
    cluster_change_job(job, &state);
}

static void act_relabel(void) {
    int job = pick_job(any);
    if (job < 0)
        return;
    struct job_state state = *job_state(job);
    state.selected = !state.selected;
    cluster_change_job(job, &state);
}

static void act_touch(void) {
    int job = pick_job(chance_permille(300) ? is_terminating : any);
    if (job < 0)
        return;
    struct job_state state = *job_state(job);
    state.touched++;
    cluster_change_job(job, &state);
}

static void act_finalizer_add(void) {
    int job = pick_job(is_plain);
    if (job < 0)
        return;
    struct job_state state = *job_state(job);
    state.finalizer = true;
    cluster_change_job(job, &state);
}

static void act_finalizer_remove(void) {
    int job = pick_job(chance_permille(700) ? is_terminating : has_finalizer);
    if (job < 0)
        return;
    struct job_state state = *job_state(job);
    state.finalizer = false;
    if (state.deletion_ms != TIME_NONE)
        cluster_remove_job(job, BY_OTHERS);
    else
        cluster_change_job(job, &state);
}

static void act_delete(void) {
    int job = pick_job(any);
    if (job < 0)
        return;
    struct job_state state = *job_state(job);
    if (!state.finalizer) {
        cluster_remove_job(job, BY_OTHERS);
    } else if (state.deletion_ms == TIME_NONE) {
        state.deletion_ms = server_seconds();
        world->jobs[job].requester = BY_OTHERS;
        cluster_change_job(job, &state);
    }
}

static void act_recreate(void) {
    int job = pick_job(is_plain);
    if (job < 0)
        return;
    struct job_state state = draw_job();
    struct truth_job before = world->jobs[job];
    cluster_remove_job(job, BY_OTHERS);
    cluster_create_job(before.namespace, before.name, &state);
}

/* ---- what stands around them ---- */

static void act_namespace_annotate(void) {
    int namespace = pick_namespace();
    if (namespace < 0)
        return;
    struct namespace_state state = entry_at(world->namespaces[namespace].head)->namespace;
    if (chance_permille(400))
        state.notes = (struct notes){.success = {.kind = VALUE_ABSENT}};
    else
        draw_notes(&state.notes, 500);
    cluster_put_namespace(namespace, &state);
}

static void act_namespace_delete(void) {
    int namespace = pick_namespace();
    if (namespace < 0)
        return;
    for (int i = world->n_live; i-- > 0;) {
        if (world->jobs[world->live[i]].namespace == namespace)
            cluster_remove_job(world->live[i], BY_OTHERS);
    }
    for (int i = 0; i < CRONJOBS; i++) {
        if (world->cronjobs[i].there && world->cronjobs[i].namespace == namespace)
            cluster_remove_cronjob(i);
    }
    cluster_remove_namespace(namespace);
}

static void act_namespace_create(void) {
    for (int i = 0; i < NAMESPACES; i++) {
        struct namespace_state state = {.generation = ++world->namespaces[i].generation};
        if (world->namespaces[i].there)
            continue;
        draw_notes(&state.notes, 200);
        cluster_put_namespace(i, &state);
        return;
    }
}

/* The CronJob controller takes note, of some or of all. */
static void sync_cronjob(int cronjob) {
    struct cronjob_state state = entry_at(world->cronjobs[cronjob].head)->cronjob;
    for (int i = state.n_active; i-- > 0;) {
        int job = state.active[i];
        bool gone = world->jobs[job].gone;
        if (!gone && (job_state(job)->outcome == OUTCOME_NONE || chance_permille(200)))
            continue;
        if (!gone && job_state(job)->outcome == OUTCOME_SUCCEEDED &&
                job_state(job)->finished_ms > state.last_success_ms)
            state.last_success_ms = job_state(job)->finished_ms;
        state.active[i] = state.active[--state.n_active];
    }
    cluster_put_cronjob(cronjob, &state);
}

static void act_cronjob_write(void) {
    int cronjob = (int)chance_below(CRONJOBS), namespace = pick_namespace();
    if (world->cronjobs[cronjob].there) {
        sync_cronjob(cronjob);
        return;
    }
    if (namespace < 0 || world->cronjobs[cronjob].head >= 0)
        return; /* it stays where its history is */
    world->cronjobs[cronjob].namespace = namespace;
    const struct cronjob_state state = {
            .generation = ++world->cronjobs[cronjob].generation, .last_success_ms = TIME_NONE};
    cluster_put_cronjob(cronjob, &state);
}

static void act_cronjob_job(void) {
    char name[32];
    int cronjob = (int)chance_below(CRONJOBS);
    const struct truth_slot *slot = &world->cronjobs[cronjob];
    if (!slot->there || world->n_live >= world->flavor.live)
        return;
    struct cronjob_state around = entry_at(slot->head)->cronjob;
    snprintf(name, sizeof name, "cron-%d-%lld", cronjob, (long long)(server_wall_ms() / 60000));
    if (around.n_active == ACTIVE_MAX || is_taken(slot->namespace, name))
        return;
    struct job_state state = draw_job();
    state.owner = OWNER_CRONJOB;
    state.cronjob = (int8_t)cronjob;
    state.cronjob_generation = around.generation;
    int job = cluster_create_job(slot->namespace, name, &state);
    around.active[around.n_active++] = job;
    cluster_put_cronjob(cronjob, &around);
}

static void act_cronjob_delete(void) {
    int cronjob = (int)chance_below(CRONJOBS);
    if (world->cronjobs[cronjob].there)
        cluster_remove_cronjob(cronjob);
}

/* ---- what goes wrong ---- */

static struct machine *pick_machine(void) {
    return &world->machines[chance_below((uint64_t)world->flavor.machines)];
}

static void act_watch(void) {
    static const enum stream_fault faults[] = {STREAM_END, STREAM_RESET, STREAM_MID_JSON, STREAM_GONE, STREAM_BOOKMARK,
            STREAM_DOUBLE, STREAM_DROP, STREAM_REORDER};
    int n = world->flavor.unfaithful ? 8 : 6;
    enum stream_fault fault = faults[chance_below((uint64_t)n)];
    streams_disturb(fault, chance_below(1000));
}

static void act_compact(void) {
    world->compacted = world->log_len;
}

static void act_storm(void) {
    static const int statuses[] = {500, 503, 429, 429};
    world->storm_status = statuses[chance_below(4)];
    world->storm_until_ms = world->now_ms + chance_range(100, 20000);
}

static void act_forbid(void) {
    world->forbidden_until_ms[chance_below(NAMESPACES)] = world->now_ms + chance_range(100, 90000);
}

static void act_no_login(void) {
    world->no_login_until_ms = world->now_ms + chance_range(100, 10000);
}

static void act_no_date(void) {
    world->no_date_until_ms = world->now_ms + chance_range(100, 30000);
}

static void act_clock(void) {
    struct machine *m = pick_machine();
    m->wall_off_ms = chance_permille(300) ? 0 : chance_range(-300000, 300000);
    counts[COUNT_CLOCK_STEPS]++;
    trace("  machine %d: its clock is off by %lld ms now", m->index, (long long)m->wall_off_ms);
}

static void act_server_clock(void) {
    world->server_off_ms = chance_permille(300) ? 0 : chance_range(-300000, 300000);
    world->server_epoch++;
    counts[COUNT_SERVER_STEPS]++;
    trace("  server: its clock is off by %lld ms now", (long long)world->server_off_ms);
}

static void act_store_fails(void) {
    struct machine *m = pick_machine();
    m->store_bad_until_ms = world->now_ms + chance_range(10, 60000);
    trace("  register %d: fails for %lld ms", m->index, (long long)(m->store_bad_until_ms - world->now_ms));
}

static void act_store_replaced(void) {
    machine_replace_register(pick_machine());
}

static void act_store_slow(void) {
    struct machine *m = pick_machine();
    m->store_slow_ms = chance_permille(500) ? 0 : chance_range(1, 4000);
}

static void act_crash(void) {
    struct machine *m = pick_machine();
    trace("  machine %d: killed", m->index);
    machine_crash(m);
}

static void act_stop(void) {
    struct machine *m = pick_machine();
    trace("  machine %d: SIGTERM", m->index);
    machine_stop(m);
}

static void act_freeze(void) {
    struct machine *m = pick_machine();
    if (!m->up)
        return;
    m->frozen_until_ms = world->now_ms + (chance_permille(300) ? chance_range(1, 2000) : chance_range(5000, 60000));
    counts[COUNT_FREEZES]++;
    trace("  machine %d: SIGSTOP for %lld ms", m->index, (long long)(m->frozen_until_ms - world->now_ms));
}

static void act_partition(void) {
    struct machine *m = pick_machine();
    int64_t for_ms = chance_permille(400) ? chance_range(10, 5000) : chance_range(5000, 90000);
    machine_cut(m, for_ms);
}

static void act_reload(void) {
    settings_draw(&world->settings);
    for (int i = 0; i < world->flavor.machines; i++)
        machine_reload(&world->machines[i]);
}

static void act_pass(void) {
}

/* ---- the table ---- */

static const struct {
    const char *name;
    int weight;
    bool fault; /* not in a world where nothing goes wrong */
    void (*act)(void);
} kinds[] = {
        {"time passes", 260, false, act_pass},
        {"create", 120, false, act_create},
        {"finish", 140, false, act_finish},
        {"retry", 15, false, act_retry},
        {"suspend or resume", 10, false, act_suspend},
        {"annotate", 20, false, act_annotate},
        {"hold", 15, false, act_hold},
        {"take a hold back", 20, false, act_unhold},
        {"annotate badly", 8, false, act_bad},
        {"change labels", 10, false, act_relabel},
        {"touch", 25, false, act_touch},
        {"annotate a Namespace", 10, false, act_namespace_annotate},
        {"delete a Namespace", 1, false, act_namespace_delete},
        {"create a Namespace", 8, false, act_namespace_create},
        {"CronJob status", 40, false, act_cronjob_write},
        {"CronJob starts a Job", 30, false, act_cronjob_job},
        {"delete a CronJob", 1, false, act_cronjob_delete},
        {"add a finalizer", 8, false, act_finalizer_add},
        {"remove a finalizer", 20, false, act_finalizer_remove},
        {"delete by others", 15, false, act_delete},
        {"create again", 12, false, act_recreate},
        {"disturb a watch", 15, true, act_watch},
        {"forget old versions", 2, true, act_compact},
        {"storm", 2, true, act_storm},
        {"forbid", 2, true, act_forbid},
        {"no login", 1, true, act_no_login},
        {"no Date", 1, true, act_no_date},
        {"step a clock", 4, true, act_clock},
        {"step the server's clock", 2, true, act_server_clock},
        {"store fails", 3, true, act_store_fails},
        {"replace a register", 1, true, act_store_replaced},
        {"store is slow", 3, true, act_store_slow},
        {"kill -9", 4, true, act_crash},
        {"SIGTERM", 2, true, act_stop},
        {"SIGSTOP", 3, true, act_freeze},
        {"partition", 3, true, act_partition},
        {"SIGHUP", 3, true, act_reload},
};
const int step_kinds = sizeof kinds / sizeof kinds[0];
uint64_t step_counts[sizeof kinds / sizeof kinds[0]];

const char *step_name(int kind) {
    return kinds[kind].name;
}

void step_act(int kind) {
    if (kinds[kind].fault && !world->flavor.faults)
        return;
    step_counts[kind]++;
    kinds[kind].act();
}

void steps_generate(uint64_t seed, struct step *steps, int n) {
    int all = 0;
    for (int i = 0; i < step_kinds; i++)
        all += kinds[i].weight;
    for (int i = 0; i < n; i++) {
        uint64_t draw = mix(mix(seed, 3), (uint64_t)i);
        int at = (int)(draw % (uint64_t)all), kind = 0;
        while (at >= kinds[kind].weight)
            at -= kinds[kind++].weight;
        steps[i] = (struct step){.kind = kind, .seed = mix(draw, 4)};
    }
}
