#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/memory.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/config_watch.h"
#include "cmd/engine.h"
#include "cmd/health.h"
#include "cmd/scrape.h"
#include "serve/metrics.h"
#include "cmd/reload.h"
#include "serve/server.h"

#define GIVE_BACK_FIRST_MS 25     /* after the start, then after twice as long each time */
#define GIVE_BACK_LAST_MS 3600000 /* and so on, for a millisecond */

struct run_command {
    struct common common;
    bool dry_run;
    struct config *config;
    struct reload reload;
    struct config_watch *watch; /* NULL: no file */
    struct kube_config *kube_config;
    struct loop *loop;
    struct server *server;
    struct engine *engine;
    struct scrape scrape;
    struct loop_timer *give_back_timer;
    int64_t give_back_ms;
    bool failed;
};

static const struct option_spec options[] = {
        {"dry-run", 0, NULL, "watch and tell, but record and delete nothing"},
        COMMON_CONFIG_OPTION,
        COMMON_CLUSTER_OPTIONS,
        COMMON_SCOPE_OPTIONS,
        COMMON_STORE_OPTION,
        COMMON_LEASE_OPTION,
        COMMON_LISTEN_OPTION,
        COMMON_LOG_OPTIONS,
        {NULL, 0, NULL, NULL},
};

static const struct command_spec spec = {
        .name = "run",
        .synopsis = "[--dry-run] [--config FILE] [-n NS] [-l SELECTOR]",
        .about = "The controller: watches Jobs, records each one that finishes, and deletes it when its time is up.",
        .options = options,
        .more = "A change of the configuration file is taken over as it happens, and SIGHUP has it read again. SIGTERM "
                "and SIGINT finish what is in flight and exit.",
};

static int set_option(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    struct run_command *c = arg;
    (void)err;
    if (!common_set(&c->common, option, value))
        c->dry_run = true;
    return 0;
}

static void on_finished(void *arg, const struct error *err) {
    struct run_command *c = arg;
    c->failed = err != NULL;
    loop_stop(c->loop);
}

static void on_stopped(void *arg) {
    struct run_command *c = arg;
    loop_stop(c->loop);
}

/* What each phase of the start needed for itself: connecting, the first list, its records. However long they take, this
 * comes soon after each of them; and later on now and then, after a burst of work. */
static void on_give_back(void *arg) {
    struct run_command *c = arg;
    memory_give_back();
    c->give_back_ms = c->give_back_ms > GIVE_BACK_LAST_MS / 2 ? GIVE_BACK_LAST_MS : c->give_back_ms * 2;
    loop_timer_start(c->give_back_timer, c->give_back_ms);
}

static int load_config(void *arg, struct config **ret, struct error *err) {
    const struct run_command *c = arg;
    return common_load_config(&c->common, ret, err);
}

static void on_config_taken(void *arg) {
    const struct run_command *c = arg;
    engine_config_changed(c->engine);
}

static void on_config_refused(void *arg) {
    const struct run_command *c = arg;
    engine_config_refused(c->engine, c->reload.facts.last_failure.text);
}

static void on_file_changed(void *arg) {
    struct run_command *c = arg;
    reload_now(&c->reload);
}

static void on_signal(void *arg, int number) {
    struct run_command *c = arg;
    if (number == SIGHUP) {
        config_watch_seen(c->watch);
        reload_now(&c->reload);
        return;
    }
    log_info("stopping", log_text("signal", number == SIGINT ? "SIGINT" : "SIGTERM"));
    engine_stop(c->engine);
}

/* ---- what is served ---- */

static void answer_with(struct server_answer *answer, bool good) {
    answer->status = good ? 200 : 503;
}

static struct health_facts look(const struct run_command *c) {
    struct health_facts facts = engine_health(c->engine);
    if (!c->reload.facts.last_successful)
        facts.config_why = c->reload.facts.last_failure.text;
    return facts;
}

static void answer_healthz(void *arg, const struct server_request *request, struct server_answer *answer) {
    const struct run_command *c = arg;
    (void)request;
    const struct health_facts facts = look(c);
    answer_with(answer, health_is_alive(&facts, &answer->body));
}

static void answer_readyz(void *arg, const struct server_request *request, struct server_answer *answer) {
    const struct run_command *c = arg;
    (void)request;
    const struct health_facts facts = look(c);
    answer_with(answer, health_is_ready(&facts, &answer->body));
}

static void answer_metrics(void *arg, const struct server_request *request, struct server_answer *answer) {
    struct run_command *c = arg;
    struct metrics metrics;
    const struct health_facts facts = look(c);
    enum metrics_format format = metrics_negotiate(request->accept);
    scrape_look(&c->scrape, c->engine, &metrics);
    scrape_take_reload(&c->reload.facts, &metrics);
    metrics.ready = health_is_ready(&facts, NULL);
    answer->content_type = metrics_content_type(format);
    metrics_render(&metrics, format, &answer->body);
}

/* Before anything that can take its time; it is answered as soon as the loop turns. */
static int serve(struct run_command *c, struct error *err) {
    const struct server_route routes[] = {
            {"/healthz", answer_healthz, c},
            {"/readyz", answer_readyz, c},
            {"/metrics", answer_metrics, c},
    };
    if (!*c->config->listen)
        return 0;
    scrape_init(&c->scrape);
    if (server_create(c->loop, c->config->listen, routes, sizeof routes / sizeof routes[0], &c->server, err) < 0)
        return -1;
    log_info("serving", log_text("address", server_address(c->server)));
    return 0;
}

static int load(struct run_command *c, struct error *err) {
    const struct kubeconfig_options where = {.kubeconfig = c->common.kubeconfig, .context = c->common.context};
    const struct config_watch_handler watch_handler = {.arg = c, .changed = on_file_changed};
    const struct reload_handler reload_handler = {
            .arg = c, .load = load_config, .taken = on_config_taken, .refused = on_config_refused};
    if (c->common.config && !(c->watch = config_watch_create(c->loop, c->common.config, &watch_handler, err)))
        return -1;
    if (common_load_config(&c->common, &c->config, err) < 0 || kubeconfig_load(&where, &c->kube_config, err) < 0)
        return -1;
    log_configure(c->config->log_level, c->config->log_format);
    reload_init(&c->reload, c->config, &reload_handler);
    if (c->kube_config->insecure)
        log_warn("insecure-skip-tls-verify is set: whoever answers is believed to be the API server",
                log_text("server", c->kube_config->server));
    return 0;
}

/* With the signals' handlers in place: a signal waits for the loop. */
static int run_loop(struct run_command *c, struct error *err) {
    const struct engine_settings settings = {.config = c->config,
            .kube_config = c->kube_config,
            .dry_run = c->dry_run,
            .patient = *c->config->listen != '\0',
            .ask_rights = *c->config->listen != '\0'};
    const struct engine_handler handler = {.arg = c, .finished = on_finished, .stopped = on_stopped};
    c->give_back_ms = GIVE_BACK_FIRST_MS;
    if (!(c->give_back_timer = loop_timer_create(c->loop, on_give_back, c, err)) ||
            engine_create(c->loop, &settings, &handler, &c->engine, err) < 0)
        return -1;
    log_info("sexton starts", log_text("version", SEXTON_VERSION), log_text("server", c->kube_config->server),
            log_text("namespaces", c->config->namespaces), log_text("selector", c->config->selector),
            log_text("store", c->dry_run ? "none (dry run)" : c->config->store));
    if (c->watch)
        config_watch_start(c->watch);
    memory_give_back();
    loop_timer_start(c->give_back_timer, c->give_back_ms);
    engine_start(c->engine);
    loop_run(c->loop);
    log_info("sexton ends");
    return 0;
}

static int run(struct run_command *c, struct error *err) {
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    struct loop_signal *signals[3] = {0};
    int result = 0;
    signal(SIGPIPE, SIG_IGN);
    /* Before anything that takes time: as process 1 of a container, a signal without a handler is lost. */
    if (!(c->loop = loop_create(err)))
        return -1;
    for (int i = 0; i < 3 && result == 0; i++) {
        signals[i] = loop_signal_create(c->loop, numbers[i], on_signal, c, err);
        result = signals[i] ? 0 : -1;
    }
    if (result == 0)
        result = load(c, err);
    if (result == 0)
        result = serve(c, err);
    if (result == 0)
        result = run_loop(c, err);
    for (int i = 0; i < 3; i++)
        loop_signal_destroy(signals[i]);
    return result;
}

int cmd_run(int argc, char **argv) {
    struct run_command c = {0};
    struct error err = {0};
    int rest;
    int parsed = options_parse(&spec, argc, argv, set_option, &c, &rest, &err);
    if (parsed == OPTIONS_DONE)
        return EXIT_DONE;
    int code = EXIT_DONE;
    if (parsed < 0 || common_no_operands(argc, argv, rest, &err) < 0 || run(&c, &err) < 0)
        code = common_fail("run", &err);
    if (engine_destroy(c.engine) < 0) {
        log_error("not everything that was seen is in the register; the next start sees it again");
        code = EXIT_FAILED;
    }
    loop_timer_destroy(c.give_back_timer);
    config_watch_destroy(c.watch);
    server_destroy(c.server);
    loop_destroy(c.loop);
    kube_config_destroy(c.kube_config);
    config_destroy(c.config);
    return c.failed ? EXIT_FAILED : code;
}
