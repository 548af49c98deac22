#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/strbuf.h"
#include "base/table.h"
#include "base/text.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/permissions.h"
#include "history/history.h"
#include "kube/client.h"
#include "kube/discovery.h"

struct check_command {
    struct common common;
    struct config *config;
    struct kube_config *kube_config;
    struct loop *loop;
    struct client *client;
    struct discovery *discovery;
    struct permissions *permissions;
    int missing;
    bool dry_run, colors;
    struct error err;
};

static const struct option_spec options[] = {
        COMMON_CONFIG_OPTION,
        COMMON_CLUSTER_OPTIONS,
        COMMON_SCOPE_OPTIONS,
        COMMON_STORE_OPTION,
        COMMON_LEASE_OPTION,
        {"dry-run", 0, NULL, "what plan, and run and sweep with --dry-run need: no deletion, no lease and no register"},
        {"reference", 0, NULL, "print every configuration option, and do nothing else"},
        {NULL, 0, NULL, NULL},
};

static const struct command_spec spec = {
        .name = "check",
        .synopsis = "[--dry-run] [--config FILE] [-n NS] [--context NAME]",
        .about = "Is the configuration valid, does the API server answer, and is each permission there that this\n"
                 "configuration needs? One line each.",
        .options = options,
        .more = "Exit code 1 when something is missing, 2 when the configuration is not valid.",
};

static int set_option(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    struct check_command *c = arg;
    if (common_set(&c->common, option, value))
        return 0;
    if (strcmp(option->name, "dry-run") == 0) {
        c->dry_run = true;
        return 0;
    }
    (void)!config_print_reference(stdout, err);
    return -1; /* without an error, when it is printed */
}

static void print_line(struct check_command *c, const char *verdict, const char *what, const char *why) {
    bool good = strcmp(verdict, "ok") == 0;
    struct strbuf text = STRBUF_INIT(8192);
    text_add_escaped(&text, what, TEXT_ALL);
    if (why) {
        strbuf_add_text(&text, ": ");
        text_add_escaped(&text, why, 400);
    }
    printf("%s%s%s %s\n", c->colors ? (good ? "\033[32m" : "\033[31m") : "", good ? "ok     " : verdict,
            c->colors ? "\033[0m" : "", strbuf_text(&text));
    if (text.no_memory)
        error_nomem(&c->err);
    strbuf_finish(&text);
    c->missing += !good;
}

static bool on_answered(
        void *arg, const struct permission *permission, enum permission_verdict verdict, const char *why) {
    struct check_command *c = arg;
    struct strbuf what = STRBUF_INIT(4096);
    char unknown[ERROR_TEXT_MAX];
    snprintf(unknown, sizeof unknown, "could not be asked: %s", why);
    permission_describe(&what, permission);
    if (what.no_memory)
        error_nomem(&c->err);
    if (verdict == PERMISSION_ALLOWED)
        print_line(c, "ok", strbuf_text(&what), NULL);
    else
        print_line(c, "missing", strbuf_text(&what), verdict == PERMISSION_DENIED ? why : unknown);
    strbuf_finish(&what);
    return true;
}

static void on_asked(void *arg, const struct error *err) {
    struct check_command *c = arg;
    if (err)
        c->err = *err;
    loop_stop(c->loop);
}

static void on_discovered(void *arg, const struct discovered *found, const struct error *why, int64_t retry_in_ms) {
    struct check_command *c = arg;
    char what[ERROR_TEXT_MAX];
    if (!found) {
        if (retry_in_ms >= 0)
            return;
        snprintf(what, sizeof what, "API server %.200s", c->kube_config->server);
        print_line(c, "failed ", what, why->text);
        loop_stop(c->loop);
        return;
    }
    snprintf(what, sizeof what, "API server %.200s answers, version %s, CronJobs as batch/%s", c->kube_config->server,
            found->server_version, found->cronjob_version);
    print_line(c, "ok", what, NULL);
    permissions_ask(c->permissions);
}

static void check_register(struct check_command *c) {
    struct error err = {0};
    char what[ERROR_TEXT_MAX];
    snprintf(what, sizeof what, "register %.400s", c->config->store);
    bool there = false;
    /* Without making it: the register of a controller is made by the controller. */
    if (history_probe(c->config->store, &there, &err) == 0 && there) {
        print_line(c, "ok", what, "can be written");
        return;
    }
    if (err.kind == ERROR_NONE)
        error_set(&err, ERROR_IO, "cannot be created: there is no folder for it");
    print_line(c, "failed ", what, err.text);
    /* plan and a dry run need none: a built-in place that is not there is not yet a fault. */
    if (!c->config->path && !c->common.store)
        c->missing--;
}

static int run(struct check_command *c, struct error *err) {
    const struct kubeconfig_options where = {.kubeconfig = c->common.kubeconfig, .context = c->common.context};
    if (common_load_config(&c->common, &c->config, err) < 0)
        return -1;
    log_configure(LOG_WARN, c->config->log_format);
    c->colors = terminal_has_colors(stdout);
    print_line(c, "ok", c->config->path ? c->config->path : "built-in configuration", "valid");
    if (!c->dry_run)
        check_register(c);
    if (kubeconfig_load(&where, &c->kube_config, err) < 0)
        return -1;
    if (c->kube_config->insecure)
        fprintf(stderr, "warning: insecure-skip-tls-verify is set: whoever answers is believed to be the API server\n");
    signal(SIGPIPE, SIG_IGN);
    const struct discovery_settings settings = {.cluster = "", .fallback = "", .attempts = 1};
    const struct permissions_settings wanted = {
            .config = c->config, .kube_config = c->kube_config, .dry_run = c->dry_run};
    const struct permissions_handler handler = {.arg = c, .answered = on_answered, .done = on_asked};
    if (!(c->loop = loop_create(err)) || !(c->client = client_create(c->loop, c->kube_config, NULL, err)) ||
            !(c->permissions = permissions_create(c->loop, c->client, &wanted, &handler, err)) ||
            !(c->discovery = discovery_start(c->loop, c->client, &settings, on_discovered, c, err)))
        return -1;
    loop_run(c->loop);
    if (c->err.kind != ERROR_NONE) {
        *err = c->err;
        return -1;
    }
    return 0;
}

int cmd_check(int argc, char **argv) {
    struct check_command c = {0};
    struct error err = {0};
    int rest;
    int parsed = options_parse(&spec, argc, argv, set_option, &c, &rest, &err);
    if (parsed == OPTIONS_DONE || (parsed < 0 && err.kind == ERROR_NONE))
        return EXIT_DONE;
    int code = EXIT_DONE;
    if (parsed < 0 || common_no_operands(argc, argv, rest, &err) < 0 || run(&c, &err) < 0)
        code = common_fail("check", &err);
    else if (c.missing)
        code = EXIT_FAILED;
    discovery_destroy(c.discovery);
    permissions_destroy(c.permissions);
    client_destroy(c.client);
    loop_destroy(c.loop);
    kube_config_destroy(c.kube_config);
    config_destroy(c.config);
    return code;
}
