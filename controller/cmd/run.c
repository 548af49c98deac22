#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/engine.h"
#include "cmd/health.h"
#include "serve/server.h"

struct run_command {
    struct common common;
    bool dry_run;
    struct config *config;
    struct kube_config *kube_config;
    struct loop *loop;
    struct server *server;
    struct engine *engine;
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
        .more = "SIGHUP reads the configuration again. SIGTERM and SIGINT finish what is in flight and exit.",
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

static void reload(struct run_command *c) {
    struct error err = {0};
    struct config *fresh;
    if (common_load_config(&c->common, &fresh, &err) < 0) {
        log_error("the new configuration is refused, the old one stays", log_text("error", err.text));
        return;
    }
    config_reload(c->config, fresh);
    log_configure(c->config->log_level, c->config->log_format);
    log_info("configuration read again", log_text("file", c->config->path));
    engine_config_changed(c->engine);
    config_destroy(fresh);
}

static void on_signal(void *arg, int number) {
    struct run_command *c = arg;
    if (number == SIGHUP) {
        reload(c);
        return;
    }
    log_info("stopping", log_text("signal", number == SIGINT ? "SIGINT" : "SIGTERM"));
    engine_stop(c->engine);
}

/* ---- what is served ---- */

static void answer_with(struct server_answer *answer, bool good) {
    answer->status = good ? 200 : 503;
}

static void answer_healthz(void *arg, const struct server_request *request, struct server_answer *answer) {
    const struct run_command *c = arg;
    (void)request;
    const struct health_facts facts = engine_health(c->engine);
    answer_with(answer, health_is_alive(&facts, &answer->body));
}

static void answer_readyz(void *arg, const struct server_request *request, struct server_answer *answer) {
    const struct run_command *c = arg;
    (void)request;
    const struct health_facts facts = engine_health(c->engine);
    answer_with(answer, health_is_ready(&facts, &answer->body));
}

/* Before anything that can take its time; it is answered as soon as the loop turns. */
static int serve(struct run_command *c, struct error *err) {
    const struct server_route routes[] = {
            {"/healthz", answer_healthz, c},
            {"/readyz", answer_readyz, c},
    };
    if (!*c->config->listen)
        return 0;
    if (server_create(c->loop, c->config->listen, routes, sizeof routes / sizeof routes[0], &c->server, err) < 0)
        return -1;
    log_info("serving", log_text("address", server_address(c->server)));
    return 0;
}

static int run(struct run_command *c, struct error *err) {
    const struct kubeconfig_options where = {.kubeconfig = c->common.kubeconfig, .context = c->common.context};
    if (common_load_config(&c->common, &c->config, err) < 0 || kubeconfig_load(&where, &c->kube_config, err) < 0)
        return -1;
    log_configure(c->config->log_level, c->config->log_format);
    if (c->kube_config->insecure)
        log_warn("insecure-skip-tls-verify is set: whoever answers is believed to be the API server",
                log_text("server", c->kube_config->server));
    signal(SIGPIPE, SIG_IGN);
    if (!(c->loop = loop_create(err)))
        return -1;
    const struct engine_settings settings = {.config = c->config,
            .kube_config = c->kube_config,
            .dry_run = c->dry_run,
            .ask_rights = *c->config->listen != '\0'};
    const struct engine_handler handler = {.arg = c, .finished = on_finished, .stopped = on_stopped};
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    struct loop_signal *signals[3] = {0};
    int result = 0;
    for (int i = 0; i < 3 && result == 0; i++) {
        signals[i] = loop_signal_create(c->loop, numbers[i], on_signal, c, err);
        result = signals[i] ? 0 : -1;
    }
    /* From here on a signal waits for the loop, also while the register is opened. */
    if (result == 0)
        result = serve(c, err);
    if (result == 0)
        result = engine_create(c->loop, &settings, &handler, &c->engine, err);
    if (result == 0) {
        log_info("sexton starts", log_text("version", SEXTON_VERSION), log_text("server", c->kube_config->server),
                log_text("namespaces", c->config->namespaces), log_text("selector", c->config->selector),
                log_text("store", c->dry_run ? "none (dry run)" : c->config->store));
        engine_start(c->engine);
        loop_run(c->loop);
        log_info("sexton ends");
    }
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
    server_destroy(c.server);
    loop_destroy(c.loop);
    kube_config_destroy(c.kube_config);
    config_destroy(c.config);
    return c.failed ? EXIT_FAILED : code;
}
