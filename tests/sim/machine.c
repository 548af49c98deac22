#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/backoff.h"
#include "cluster.h"
#include "model.h"

/* ---- clocks ---- */

int64_t machine_wall_ms(const struct machine *m) {
    return START_WALL_MS + world->now_ms + m->wall_off_ms;
}

int64_t server_wall_ms(void) {
    return START_WALL_MS + world->now_ms + world->server_off_ms;
}

static int64_t wall_ms(void) {
    return world->running ? machine_wall_ms(world->running) : server_wall_ms();
}

static int64_t mono_ms(void) {
    return world->now_ms + (world->running ? world->running->mono_off_ms : 0);
}

void machine_clocks_start(void) {
    static const struct clock_source source = {wall_ms, mono_ms};
    clock_use(&source);
}

/* ---- configuration ---- */

static struct ttl_value draw_ttl(int at_once, int absent) {
    uint64_t kind = chance_below(100);
    if ((int)kind < absent)
        return (struct ttl_value){.kind = VALUE_ABSENT};
    if (kind >= 90)
        return (struct ttl_value){.kind = VALUE_NEVER};
    bool zero = (int)chance_below(100) < at_once;
    return (struct ttl_value){
            .kind = VALUE_SET, .seconds = zero ? 0 : (int32_t)chance_range(1, world->flavor.ttl_max_s)};
}

void settings_draw(struct settings *settings) {
    settings->success = draw_ttl(40, 0);
    settings->failure = draw_ttl(10, 0);
    for (int i = 0; i < NAMESPACES; i++) {
        settings->section_success[i] = draw_ttl(30, 70);
        settings->section_failure[i] = draw_ttl(30, 70);
    }
    settings->settle_ms = 1000 * chance_range(0, 60);
    settings->delete_qps = chance_permille(200) ? 0 : chance_range(1, 50);
    settings->max_in_flight = chance_permille(300) ? chance_range(1, 3) : chance_range(4, 40);
}

static void format_ttl(const struct ttl_value *value, char text[32]) {
    if (value->kind == VALUE_NEVER)
        snprintf(text, 32, "never");
    else
        snprintf(text, 32, "%ds", value->seconds);
}

static void set(struct config *config, const char *section, const char *key, const char *value) {
    struct error err = {0};
    if (config_set(config, section, key, value, &err) < 0) {
        fprintf(stderr, "sim: %s\n", err.text);
        abort();
    }
}

static void set_number(struct config *config, const char *section, const char *key, int64_t number, const char *unit) {
    char text[32];
    snprintf(text, sizeof text, "%lld%s", (long long)number, unit);
    set(config, section, key, text);
}

static struct policy_ttl make_section_ttl(const struct ttl_value *value, int line) {
    char text[32];
    if (value->kind == VALUE_ABSENT)
        return (struct policy_ttl){.text = NULL};
    format_ttl(value, text);
    return (struct policy_ttl){
            .ms = value->kind == VALUE_NEVER ? INT64_MAX : 1000LL * value->seconds, .text = strdup(text), .line = line};
}

static void make_sections(const struct settings *settings, struct policy *policy) {
    policy->sections = calloc(NAMESPACES, sizeof *policy->sections);
    for (int i = 0; i < NAMESPACES; i++) {
        if (settings->section_success[i].kind == VALUE_ABSENT && settings->section_failure[i].kind == VALUE_ABSENT)
            continue;
        policy->sections[policy->n_sections++] = (struct policy_section){.glob = strdup(namespace_names[i]),
                .line = 10 + i,
                .success = make_section_ttl(&settings->section_success[i], 10 + i),
                .failure = make_section_ttl(&settings->section_failure[i], 10 + i)};
    }
}

struct config *settings_make_config(const struct settings *settings) {
    struct config *config;
    char text[32];
    if (config_load(NULL, &config, NULL) < 0)
        abort();
    const struct flavor *flavor = &world->flavor;
    set(config, "sexton", "leader-elect", flavor->leader_elect ? "true" : "false");
    set(config, "sexton", "namespaces", flavor->listed ? "alpha beta" : "*");
    set(config, "sexton", "selector", flavor->selector ? "run=yes" : "");
    set(config, "sexton", "events", flavor->events ? "true" : "false");
    set(config, "history", "manifest", flavor->manifest ? "true" : "false");
    set_number(config, "sexton", "delete-qps", settings->delete_qps, "");
    set_number(config, "sexton", "max-in-flight", settings->max_in_flight, "");
    set_number(config, "sexton", "recreate-limit", flavor->recreate_limit, "");
    set_number(config, "sexton", "cronjob-settle", settings->settle_ms / 1000, "s");
    format_ttl(&settings->success, text);
    set(config, "policy", "ttl-after-success", text);
    format_ttl(&settings->failure, text);
    set(config, "policy", "ttl-after-failure", text);
    make_sections(settings, &config->policy);
    return config;
}

/* ---- the process ---- */

static void on_finished(void *arg, const struct error *err) {
    struct machine *m = arg;
    m->ending = true;
    trace("  machine %d: finished: %s", m->index, err ? err->text : "all done");
}

static void on_stopped(void *arg) {
    struct machine *m = arg;
    m->ending = true;
    trace("  machine %d: stopped", m->index);
}

static void clean_up(struct machine *m) {
    struct machine *running = world->running;
    world->running = m;
    engine_destroy(m->engine);
    loop_destroy(m->loop);
    config_destroy(m->config);
    world->running = running;
    m->engine = NULL;
    m->loop = NULL;
    m->config = NULL;
    m->up = m->stopping = m->ending = m->crashing = false;
}

static void on_restart(void *arg) {
    machine_boot(arg);
}

void machine_init(struct machine *m, int index) {
    *m = (struct machine){.index = index, .mono_off_ms = chance_range(1000000, 90000000)};
    happening_init(&m->restart, NULL, on_restart, m);
}

void machine_finish(struct machine *m) {
    happening_cancel(&m->restart);
    if (m->up) {
        m->crashing = true;
        clean_up(m);
    }
    free(m->rows);
}

/* A file with a token, as a Pod has it, without a file system. */
static const char *token_file(void) {
    static char path[64];
    if (!path[0]) {
        int fd = memfd_create("token", 0);
        if (fd < 0 || write(fd, "token", 5) != 5)
            abort();
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    return path;
}

void machine_boot(struct machine *m) {
    static char server[] = "https://sim", context[] = "sim", namespace[] = "default", token[] = "token";
    static struct kube_config kube_config = {.server = server, .context = context, .namespace = namespace};
    if (m->up)
        return;
    counts[COUNT_BOOTS]++;
    kube_config.token = world->flavor.second_token ? NULL : token;
    kube_config.token_file = world->flavor.second_token ? (char *)token_file() : NULL;
    m->up = true;
    m->boot++;
    m->frozen_until_ms = 0;
    m->settings = world->settings;
    m->one_pass = !world->healed && chance_permille(40);
    counts[COUNT_PASSES] += m->one_pass;
    m->config = settings_make_config(&m->settings);
    trace("  machine %d: boots%s", m->index, m->one_pass ? " for one pass" : "");
    model_boot(m);
    ledger_boot(m);
    struct machine *running = world->running;
    world->running = m;
    struct error err = {0};
    const struct engine_settings settings = {.config = m->config, .kube_config = &kube_config, .one_pass = m->one_pass};
    const struct engine_handler handler = {.arg = m, .finished = on_finished, .stopped = on_stopped};
    m->loop = loop_create(&err);
    if (engine_create(m->loop, &settings, &handler, &m->engine, &err) == 0) {
        engine_start(m->engine);
    } else {
        counts[COUNT_BOOT_FAILED]++;
        trace("  machine %d: does not start: %s", m->index, err.text);
        m->ending = true;
    }
    world->running = running;
    machine_after(m);
}

void machine_after(struct machine *m) {
    if (!m->ending)
        return;
    clean_up(m);
    happening_plan(&m->restart, world->now_ms + (world->healed ? 1000 : chance_range(100, 15000)));
}

void machine_crash(struct machine *m) {
    if (!m->up)
        return;
    counts[COUNT_CRASHES]++;
    m->crashing = true;
    clean_up(m);
    happening_plan(
            &m->restart, world->now_ms + (chance_permille(300) ? chance_range(10000, 60000) : chance_range(10, 5000)));
}

void machine_stop(struct machine *m) {
    if (!m->up || m->stopping || m->frozen_until_ms > world->now_ms)
        return;
    counts[COUNT_STOPS]++;
    m->stopping = true;
    world->running = m;
    engine_stop(m->engine);
    world->running = NULL;
    machine_after(m);
}

void machine_reload(struct machine *m) {
    if (!m->up || m->stopping || m->frozen_until_ms > world->now_ms)
        return;
    counts[COUNT_RELOADS]++;
    struct config *fresh = settings_make_config(&world->settings);
    if (world->settings.max_in_flight > m->most_in_flight || m->limits_until_ms <= world->now_ms)
        m->most_in_flight = world->settings.max_in_flight > m->settings.max_in_flight ? world->settings.max_in_flight
                                                                                      : m->settings.max_in_flight;
    m->limits_until_ms = world->now_ms + 120000; /* what was begun under the old ones */
    m->tokens_milli = 1000 * world->settings.delete_qps;
    m->settings = world->settings;
    world->running = m;
    config_reload(m->config, fresh);
    engine_config_changed(m->engine);
    world->running = NULL;
    config_destroy(fresh);
    machine_after(m);
}

void machine_cut(struct machine *m, int64_t for_ms) {
    m->cut_until_ms = world->now_ms + for_ms;
    machine_cut_streams(m, for_ms);
    counts[COUNT_PARTITIONS]++;
    trace("  machine %d: no network for %lld ms", m->index, (long long)for_ms);
}
