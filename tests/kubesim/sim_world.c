#include "sim_world.h"

#include "sim_job.h"
#include "sim_load.h"
#include "sim_store.h"
#include "sim_util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR, ENV_COUNT = 46 };

/* What a Job of the demo is. Times are relative to the demo's beginning. */
struct plot {
    const char *ns;
    const char *name; /* a CronJob's Jobs are called after it and the scheduled minute */
    const char *image;
    const char *command;
    int64_t begins_ms;
    int64_t ends_ms;
    const char *reason; /* NULL: it succeeds */
    const char *annotations;
    bool scheduled; /* by the CronJob of this name */
    bool has_ttl;
    int64_t ttl_s;
    int64_t deadline_s;
    int64_t backoff_limit;
};

struct schedule {
    const char *ns;
    const char *name;
    const char *cron;
    int64_t period_ms;
};

static const char backoff[] = "BackoffLimitExceeded";
static const char deadline[] = "DeadlineExceeded";

#define SHOP_IMAGE "registry.example.com/shop/jobs:2.31.0"
#define ML_IMAGE "registry.example.com/ml/trainer:cuda12-0.9"
#define BILLING_IMAGE "registry.example.com/billing/batch:7.4.2"

static const struct schedule schedules[] = {
        {"shop", "order-export", "* * * * *", MINUTE},
        {"billing", "invoice-batch", "*/10 * * * *", 10 * MINUTE},
};

static const struct plot plots[] = {
        /* Past: due by default, by namespace, or kept. */
        {.ns = "shop",
                .name = "order-export",
                .image = SHOP_IMAGE,
                .command = "export-orders --to s3",
                .scheduled = true,
                .begins_ms = -125 * SECOND,
                .ends_ms = -95 * SECOND,
                .backoff_limit = 3},
        {.ns = "shop",
                .name = "cart-cleanup-28411",
                .image = SHOP_IMAGE,
                .command = "cleanup-carts --older-than 30d",
                .begins_ms = -3 * HOUR - 4 * MINUTE,
                .ends_ms = -3 * HOUR,
                .backoff_limit = 6},
        {.ns = "shop",
                .name = "price-import-legacy",
                .image = SHOP_IMAGE,
                .command = "import-prices legacy.csv",
                .begins_ms = -3 * DAY - 11 * MINUTE,
                .ends_ms = -3 * DAY,
                .reason = backoff,
                .backoff_limit = 4},
        {.ns = "shop",
                .name = "db-migrate-v42",
                .image = SHOP_IMAGE,
                .command = "migrate --to 42",
                .begins_ms = -26 * HOUR - 2 * MINUTE,
                .ends_ms = -26 * HOUR,
                .reason = backoff,
                .backoff_limit = 0,
                .annotations = "\"sexton.dev/hold\":\"true\""},
        {.ns = "ml-train",
                .name = "bert-finetune-0419",
                .image = ML_IMAGE,
                .command = "train bert --epochs 3",
                .begins_ms = -DAY - 7 * HOUR,
                .ends_ms = -DAY,
                .backoff_limit = 0,
                .annotations = "\"sexton.dev/ttl-after-success\":\"never\""},
        {.ns = "ml-train",
                .name = "tokenizer-train",
                .image = ML_IMAGE,
                .command = "train tokenizer",
                .begins_ms = -2 * DAY - 2 * HOUR,
                .ends_ms = -2 * DAY,
                .reason = deadline,
                .deadline_s = 7200},
        {.ns = "ml-train",
                .name = "dataset-snapshot",
                .image = ML_IMAGE,
                .command = "snapshot --all",
                .begins_ms = -5 * HOUR - 22 * MINUTE,
                .ends_ms = -5 * HOUR,
                .backoff_limit = 2,
                .annotations = "\"sexton.dev/ttl-after-success\":\"2 hours\""},
        {.ns = "billing",
                .name = "invoice-batch",
                .image = BILLING_IMAGE,
                .command = "invoices --batch",
                .scheduled = true,
                .begins_ms = -12 * MINUTE,
                .ends_ms = -9 * MINUTE,
                .backoff_limit = 2},
        {.ns = "billing",
                .name = "tax-report-q3",
                .image = BILLING_IMAGE,
                .command = "tax-report --quarter 3",
                .begins_ms = -31 * HOUR,
                .ends_ms = -30 * HOUR,
                .reason = deadline,
                .deadline_s = 3600},
        {.ns = "billing",
                .name = "statement-archive",
                .image = BILLING_IMAGE,
                .command = "archive statements",
                .begins_ms = -8 * MINUTE,
                .ends_ms = -20 * SECOND,
                .backoff_limit = 6,
                .annotations = "\"sexton.dev/ttl-after-success\":\"30s\""},
        /* Present: they finish one after the other. */
        {.ns = "ml-train",
                .name = "resnet50-sweep-0",
                .image = ML_IMAGE,
                .command = "train resnet50 --lr 0.1",
                .begins_ms = -41 * MINUTE,
                .ends_ms = 1 * SECOND},
        {.ns = "shop",
                .name = "order-export",
                .image = SHOP_IMAGE,
                .command = "export-orders --to s3",
                .scheduled = true,
                .begins_ms = -50 * SECOND,
                .ends_ms = 2 * SECOND,
                .backoff_limit = 3},
        {.ns = "ml-train",
                .name = "resnet50-sweep-1",
                .image = ML_IMAGE,
                .command = "train resnet50 --lr 0.03",
                .begins_ms = -41 * MINUTE,
                .ends_ms = 2700},
        {.ns = "billing",
                .name = "dunning-mails",
                .image = BILLING_IMAGE,
                .command = "send-dunning",
                .begins_ms = -3 * MINUTE,
                .ends_ms = 3200,
                .backoff_limit = 6,
                .has_ttl = true,
                .ttl_s = 4},
        {.ns = "shop",
                .name = "thumbnails-rebuild",
                .image = SHOP_IMAGE,
                .command = "thumbnails --rebuild",
                .begins_ms = -4 * MINUTE,
                .ends_ms = 3700,
                .backoff_limit = 6},
        {.ns = "ml-train",
                .name = "resnet50-sweep-2",
                .image = ML_IMAGE,
                .command = "train resnet50 --lr 0.01",
                .begins_ms = -41 * MINUTE,
                .ends_ms = 4300,
                .reason = deadline,
                .deadline_s = 2460},
        {.ns = "shop",
                .name = "search-reindex",
                .image = SHOP_IMAGE,
                .command = "reindex --shards 12",
                .begins_ms = -6 * MINUTE,
                .ends_ms = 4900,
                .reason = backoff,
                .backoff_limit = 2,
                .annotations = "\"sexton.dev/ttl-after-failure\":\"3s\""},
        {.ns = "shop",
                .name = "order-export",
                .image = SHOP_IMAGE,
                .command = "export-orders --to s3",
                .scheduled = true,
                .begins_ms = 3 * SECOND,
                .ends_ms = 5600,
                .backoff_limit = 3},
        {.ns = "ml-train",
                .name = "resnet50-sweep-3",
                .image = ML_IMAGE,
                .command = "train resnet50 --lr 0.003",
                .begins_ms = -41 * MINUTE,
                .ends_ms = 6400},
        {.ns = "billing",
                .name = "invoice-batch",
                .image = BILLING_IMAGE,
                .command = "invoices --batch",
                .scheduled = true,
                .begins_ms = -2 * MINUTE,
                .ends_ms = 7100,
                .reason = backoff,
                .backoff_limit = 2,
                .annotations = "\"sexton.dev/ttl-after-failure\":\"3s\""},
        {.ns = "billing",
                .name = "ledger-reconcile",
                .image = BILLING_IMAGE,
                .command = "reconcile --ledger main",
                .begins_ms = -9 * MINUTE,
                .ends_ms = 7800,
                .backoff_limit = 6},
};

enum { PLOT_COUNT = sizeof(plots) / sizeof(plots[0]), SCHEDULE_COUNT = sizeof(schedules) / sizeof(schedules[0]) };

enum actor_state { ACTOR_TO_COME, ACTOR_RUNNING, ACTOR_DONE };

/* A Job of the demo as it came to be. */
struct actor {
    enum actor_state state;
    char *name;
    char uid[SIM_UID_SIZE];
    char *pod_name;
    char pod_uid[SIM_UID_SIZE];
    struct sim_job job;
};

struct sim_world {
    struct sim *sim;
    int64_t began_wall_ms;
    int64_t began_mono_ms;
    char *env;
    char *managed_env;
    char cron_uids[SCHEDULE_COUNT][SIM_UID_SIZE];
    struct actor actors[PLOT_COUNT];
};

static json_t *text_parse(char *text) {
    json_t *object = json_loads(text, 0, NULL);

    if (!object)
        abort();
    free(text);
    return object;
}

static size_t schedule_of(const struct plot *plot) {
    for (size_t i = 0; i < SCHEDULE_COUNT; i++) {
        if (strcmp(schedules[i].name, plot->name) == 0)
            return i;
    }
    abort();
}

static const char *message_of(const struct plot *plot) {
    return plot->reason == deadline ? "Job was active longer than specified deadline"
                                    : "Job has reached the specified backoff limit";
}

/* The run that is to come belongs to the next minute, so that no two have one name. */
static int64_t scheduled_at(const struct sim_world *world, const struct plot *plot) {
    int64_t period = schedules[schedule_of(plot)].period_ms;
    int64_t base = world->began_wall_ms / period * period;

    return plot->begins_ms > 0 ? base : base + (plot->begins_ms / period - 1) * period;
}

static void cronjob_create(struct sim_world *world, size_t i) {
    const struct schedule *schedule = &schedules[i];
    struct sim_store *store = world->sim->store;
    const struct sim_resource *res = sim_store_resource(store, SIM_CRONJOBS);
    char created[SIM_TIME_SIZE];
    json_t *object;

    sim_uid_make(world->cron_uids[i]);
    sim_time_format(world->began_wall_ms - 90 * (int64_t)DAY, created);
    object = json_pack(
            "{s:{s:s,s:s,s:s,s:i,s:s,s:{s:s}},s:{s:s,s:s,s:b,s:i,s:i,s:{s:{s:n},s:{s:{s:{s:n},s:{s:[{s:s,s:s}],"
            "s:s}}}}},s:{}}",
            "metadata", "name", schedule->name, "namespace", schedule->ns, "uid", world->cron_uids[i], "generation", 1,
            "creationTimestamp", created, "labels", "app.kubernetes.io/name", schedule->name, "spec", "schedule",
            schedule->cron, "concurrencyPolicy", "Allow", "suspend", 0, "successfulJobsHistoryLimit", 3,
            "failedJobsHistoryLimit", 1, "jobTemplate", "metadata", "creationTimestamp", "spec", "template", "metadata",
            "creationTimestamp", "spec", "containers", "name", "main", "image", "registry.example.com/jobs:stable",
            "restartPolicy", "Never", "status");
    if (!object)
        abort();
    sim_store_insert(store, res, object);
    json_decref(object);
}

/* The CronJob learns of a Job of its own: active while it runs, lastSuccessfulTime when it succeeded before our time.
 */
static void cronjob_note(struct sim_world *world, size_t i, const struct actor *actor) {
    struct sim_store *store = world->sim->store;
    const struct sim_resource *res = sim_store_resource(store, SIM_CRONJOBS);
    struct sim_version *version = sim_store_get(store, res, schedules[i].ns, schedules[i].name);
    char time[SIM_TIME_SIZE];

    if (!version)
        return;
    json_t *object = sim_version_object(version);
    json_t *status = json_object_get(object, "status");
    json_t *active = json_object_get(status, "active");

    sim_time_format(actor->job.scheduled_ms, time);
    if (!actor->job.finished_ms && !active) {
        active = json_array();
        json_object_set_new(status, "active", active);
    }
    if (!actor->job.finished_ms)
        json_array_append_new(active, json_pack("{s:s,s:s,s:s,s:s,s:s}", "kind", "Job", "namespace", actor->job.ns,
                                              "name", actor->name, "uid", actor->uid, "apiVersion", "batch/v1"));
    json_object_set_new(status, "lastScheduleTime", json_string(time));
    if (actor->job.finished_ms && strcmp(res->version, "v1") == 0) {
        sim_time_format(actor->job.finished_ms, time);
        json_object_set_new(status, "lastSuccessfulTime", json_string(time));
    }
    sim_store_replace(store, res, version, object);
    json_decref(object);
}

static void object_put(struct sim_world *world, enum sim_resource_id id, char *text) {
    json_t *object = text_parse(text);

    sim_store_insert(world->sim->store, sim_store_resource(world->sim->store, id), object);
    json_decref(object);
}

static void actor_enter(struct sim_world *world, struct actor *actor, const struct plot *plot) {
    char suffix[6];

    actor->job = (struct sim_job){.ns = plot->ns,
            .app = plot->name,
            .image = plot->image,
            .command = plot->command,
            .annotations = plot->annotations,
            .created_ms = world->began_wall_ms + plot->begins_ms,
            .finished_ms = plot->ends_ms < 0 ? world->began_wall_ms + plot->ends_ms : 0,
            .reason = plot->ends_ms < 0 ? plot->reason : NULL,
            .message = message_of(plot),
            .ttl_s = plot->has_ttl ? plot->ttl_s : -1,
            .deadline_s = plot->deadline_s,
            .backoff_limit = plot->backoff_limit,
            .env = world->env,
            .managed_env = world->managed_env};
    if (plot->scheduled) {
        actor->job.cronjob = plot->name;
        actor->job.cronjob_uid = world->cron_uids[schedule_of(plot)];
        actor->job.scheduled_ms = scheduled_at(world, plot);
        actor->name = sim_format("%s-%" PRId64, plot->name, actor->job.scheduled_ms / MINUTE);
    } else {
        actor->name = sim_strdup(plot->name);
    }
    sim_uid_make(actor->uid);
    sim_uid_make(actor->pod_uid);
    sim_suffix_make(suffix, sizeof(suffix) - 1);
    actor->pod_name = sim_format("%s-%s", actor->name, suffix);
    actor->job.name = actor->name;
    actor->job.uid = actor->uid;
    object_put(world, SIM_JOBS, sim_job_write(&actor->job));
    object_put(world, SIM_PODS, sim_job_write_pod(&actor->job, actor->pod_name, actor->pod_uid));
    if (plot->scheduled)
        cronjob_note(world, schedule_of(plot), actor);
    actor->state = actor->job.finished_ms ? ACTOR_DONE : ACTOR_RUNNING;
}

static void actor_set_status(struct sim_world *world, enum sim_resource_id id, const char *ns, const char *name,
        const char *uid, json_t *status) {
    struct sim_store *store = world->sim->store;
    const struct sim_resource *res = sim_store_resource(store, id);
    struct sim_version *version = sim_store_get(store, res, ns, name);

    if (version && strcmp(version->uid, uid) == 0) {
        json_t *object = sim_version_object(version);

        json_object_set(object, "status", status);
        sim_store_replace(store, res, version, object);
        json_decref(object);
    }
}

static void actor_leave(struct sim_world *world, struct actor *actor, const struct plot *plot) {
    json_t *status;
    json_t *pod;

    actor->job.finished_ms = sim_wall_ms();
    actor->job.reason = plot->reason;
    pod = text_parse(sim_job_write_pod(&actor->job, actor->pod_name, actor->pod_uid));
    actor_set_status(world, SIM_PODS, plot->ns, actor->pod_name, actor->pod_uid, json_object_get(pod, "status"));
    json_decref(pod);
    status = text_parse(sim_job_write_status(&actor->job));
    actor_set_status(world, SIM_JOBS, plot->ns, actor->name, actor->uid, status);
    json_decref(status);
    actor->state = ACTOR_DONE;
}

void sim_world_tick(struct sim_world *world) {
    int64_t elapsed = sim_mono_ms() - world->began_mono_ms;

    for (size_t i = 0; i < PLOT_COUNT; i++) {
        if (world->actors[i].state == ACTOR_TO_COME && plots[i].begins_ms <= elapsed)
            actor_enter(world, &world->actors[i], &plots[i]);
        if (world->actors[i].state == ACTOR_RUNNING && plots[i].ends_ms <= elapsed)
            actor_leave(world, &world->actors[i], &plots[i]);
    }
}

struct sim_world *sim_world_create(struct sim *sim) {
    struct sim_world *world = sim_alloc(sizeof(*world));
    json_t *window = json_pack("{s:s}", "sexton.dev/ttl-after-failure", "4s");

    world->sim = sim;
    world->began_wall_ms = sim_wall_ms();
    world->began_mono_ms = sim_mono_ms();
    world->env = sim_job_env(ENV_COUNT);
    world->managed_env = sim_job_managed_env(ENV_COUNT);
    sim_load_namespace(sim->store, "shop", NULL);
    sim_load_namespace(sim->store, "ml-train", window);
    sim_load_namespace(sim->store, "billing", NULL);
    json_decref(window);
    for (size_t i = 0; i < SCHEDULE_COUNT; i++)
        cronjob_create(world, i);
    sim_world_tick(world);
    return world;
}

void sim_world_destroy(struct sim_world *world) {
    if (!world)
        return;
    for (size_t i = 0; i < PLOT_COUNT; i++) {
        free(world->actors[i].name);
        free(world->actors[i].pod_name);
    }
    free(world->env);
    free(world->managed_env);
    free(world);
}
