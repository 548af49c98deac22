#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "cluster.h"
#include "machine.h"
#include "model.h"
#include "steps.h"

struct world *world;

const char *const invariant_names[INVARIANTS] = {"everything holds", "record first", "never early", "preconditions",
        "kept stays", "nothing on stale knowledge", "only with the lease", "nothing after the stop", "bounded",
        "the register is true", "the metrics say what is on record", "in the end all is as it should be"};

void violated(enum invariant invariant, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(world->why, sizeof world->why, fmt, args);
    va_end(args);
    world->invariant = invariant;
    longjmp(world->out, 1);
}

void trace_line(const char *fmt, ...) {
    va_list args;
    printf("%10.3f ", (double)world->now_ms / 1000.0);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

/* ---- the beginning ---- */

static void draw_flavor(struct flavor *flavor) {
    static const int faults[] = {0, 5, 20, 60, 150}, pages[] = {0, 0, 3, 10}, rooms[] = {1000, 1000, 20, 3};
    uint64_t kind = chance_below(100);
    flavor->machines = kind < 60 ? 2 : 1;
    flavor->leader_elect = kind < 85;
    flavor->v1beta1 = chance_permille(250);
    flavor->selector = chance_permille(200);
    flavor->listed = chance_permille(150);
    flavor->unfaithful = chance_permille(100);
    flavor->garbled = chance_permille(100);
    flavor->manifest = chance_permille(150);
    flavor->second_token = chance_permille(200);
    flavor->faults = faults[chance_below(5)];
    flavor->live = (int)chance_range(5, chance_permille(300) ? 60 : 25);
    flavor->page = pages[chance_below(4)];
    flavor->queue_room = rooms[chance_below(4)];
    flavor->recreate_limit = chance_permille(300) ? (int)chance_range(1, 4) : 0;
    flavor->ttl_max_s = (int)(chance_permille(300) ? chance_range(60, 600) : chance_range(2, 60));
    flavor->events = chance_permille(400);
    /* Not by chance: worlds stay what they were before there was protobuf. */
    flavor->protobuf = mix(world->seed, 7) % 1000 < 700;
}

static void trace_flavor(const struct flavor *flavor) {
    trace("%d machine%s%s%s%s%s%s%s%s, %d in 1000 requests go wrong, pages of %d", flavor->machines,
            flavor->machines > 1 ? "s" : "", flavor->leader_elect ? " with leader election" : "",
            flavor->selector ? ", a selector" : "", flavor->listed ? ", listed Namespaces" : "",
            flavor->v1beta1 ? ", CronJobs of v1beta1" : "", flavor->events ? ", Kubernetes Events" : "",
            flavor->protobuf ? ", protobuf" : "",
            flavor->unfaithful ? ", an API server that loses events"
            : flavor->garbled  ? ", garbled lists"
                               : "",
            flavor->faults, flavor->page);
}

static void begin(uint64_t seed, bool tracing) {
    memset(world, 0, sizeof *world);
    world->seed = seed;
    world->tracing = tracing;
    world->lease.holder = BY_NOBODY;
    chance_seed(mix(seed, 5));
    random_seed(mix(seed, 6));
    draw_flavor(&world->flavor);
    settings_draw(&world->settings);
    machine_clocks_start();
    world->now_ms = 1000;
    trace_flavor(&world->flavor);
    for (int i = 0; i < NAMESPACES; i++)
        world->namespaces[i].head = -1;
    for (int i = 0; i < CRONJOBS; i++)
        world->cronjobs[i].head = -1;
    for (int i = 0; i < NAMESPACES; i++)
        cluster_put_namespace(i, &(struct namespace_state){.generation = ++world->namespaces[i].generation});
    for (int i = 0; i < world->flavor.machines; i++) {
        machine_init(&world->machines[i], i);
        happening_plan(&world->machines[i].restart, world->now_ms + chance_range(0, 500));
    }
}

static void end(void) {
    for (int i = 0; i < world->flavor.machines; i++)
        machine_finish(&world->machines[i]);
    while (world->transfers)
        http_cancel_for_good(world->transfers);
    free(world->queue);
    cluster_finish();
}

/* ---- the middle ---- */

static void let_time_pass(void) {
    uint64_t kind = chance_below(100);
    if (kind < 35) {
        for (int64_t n = chance_range(1, 3), until_ms = world->now_ms + chance_range(0, 2000); n > 0; n--)
            queue_run_one(until_ms);
        return;
    }
    int64_t for_ms = kind < 75   ? chance_range(0, 50)
                     : kind < 93 ? chance_range(50, 1500)
                     : kind < 99 ? chance_range(1500, 10000)
                                 : chance_range(10000, 90000);
    int64_t until_ms = world->now_ms + for_ms;
    while (queue_run_one(until_ms)) {
    }
}

static void take_step(const struct step *step, int number) {
    world->step = number;
    chance_seed(step->seed);
    random_seed(mix(step->seed, 7));
    trace("step %d: %s", number, step_name(step->kind));
    step_act(step->kind);
    let_time_pass();
}

/* ---- the end: all is well again, and time passes ---- */

static void heal(void) {
    chance_seed(mix(world->seed, 8));
    random_seed(mix(world->seed, 9));
    world->healed = true;
    trace("everything is well from here on");
    if (chance_permille(500))
        settings_draw(&world->settings);
    for (int i = 0; i < world->flavor.machines; i++) {
        struct machine *m = &world->machines[i];
        m->frozen_until_ms = m->cut_until_ms = m->store_bad_until_ms = 0;
        machine_reload(m);
    }
}

/* What a server has kept to itself, it tells in a list. */
static void ask_for_lists(void) {
    for (int i = 0; (world->flavor.unfaithful || world->flavor.garbled) && i < 20; i++)
        streams_disturb(STREAM_GONE, (uint64_t)i);
}

/* Whoever has put finalizers there takes them away in the end. */
static void remove_terminating(void) {
    for (int i = world->n_live; i-- > 0;) {
        if (job_state(world->live[i])->deletion_ms != TIME_NONE)
            cluster_remove_job(world->live[i], BY_OTHERS);
    }
}

static void settle(int n) {
    int64_t patience_ms = final_patience_ms(), until_ms = world->now_ms + patience_ms;
    world->step = n;
    for (int turn = 0; world->now_ms < until_ms && !final_is_reached(); turn++) {
        if (turn % 20 == 0)
            ask_for_lists();
        for (int64_t next_ms = world->now_ms + 5000; queue_run_one(next_ms);) {
        }
        remove_terminating();
    }
    final_check();
}

void world_run(uint64_t seed, const struct step *steps, int n, bool tracing, struct outcome_of_run *ret) {
    static struct world the_world;
    world = &the_world;
    begin(seed, tracing);
    *ret = (struct outcome_of_run){.step = n};
    if (setjmp(world->out) == 0) {
        for (int i = 0; i < n; i++)
            take_step(&steps[i], i);
        heal();
        settle(n);
        ret->digest = world->digest;
        end();
        return;
    }
    /* Somewhere deep in the product: what it held is lost. */
    ret->invariant = (enum invariant)world->invariant;
    ret->step = world->step;
    memcpy(ret->why, world->why, sizeof ret->why);
}
