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
#include "history/history.h"
#include "kube/client.h"
#include "kube/discovery.h"

/* What this configuration needs, in each Namespace of its list or in all. */
static const struct need {
    const char *verb, *group, *resource;
    bool whole_cluster; /* asked once, without a Namespace */
} needs[] = {
        {"list", "batch", "jobs", false},
        {"watch", "batch", "jobs", false},
        {"get", "batch", "jobs", false},
        {"delete", "batch", "jobs", false},
        {"list", "batch", "cronjobs", false},
        {"watch", "batch", "cronjobs", false},
        {"list", "", "namespaces", true},
        {"watch", "", "namespaces", true},
};
#define NEEDS (sizeof needs / sizeof needs[0])

struct check_command {
    struct common common;
    struct config *config;
    struct kube_config *kube_config;
    struct loop *loop;
    struct client *client;
    struct discovery *discovery;
    struct client_call *call;
    const char *at;     /* in the list of Namespaces */
    char namespace[64]; /* the one asked about, "" for all */
    size_t next;        /* in needs */
    int missing;
    bool colors, first_namespace;
    struct error err;
};

static const struct option_spec options[] = {
        COMMON_CONFIG_OPTION,
        COMMON_CLUSTER_OPTIONS,
        COMMON_SCOPE_OPTIONS,
        COMMON_STORE_OPTION,
        {"reference", 0, NULL, "print every configuration option, and do nothing else"},
        {NULL, 0, NULL, NULL},
};

static const struct command_spec spec = {
        .name = "check",
        .synopsis = "[--config FILE] [-n NS] [--context NAME]",
        .about = "Is the configuration valid, does the API server answer, and is each permission there that this\n"
                 "configuration needs? One line each.",
        .options = options,
        .more = "Exit code 1 when something is missing, 2 when the configuration is not valid.",
};

static int set_option(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    (void)err;
    struct check_command *c = arg;
    if (!common_set(&c->common, option, value)) {
        config_print_reference(stdout);
        return -1;
    }
    return 0;
}

static void print_line(struct check_command *c, bool good, const char *what, const char *why) {
    struct strbuf text = STRBUF_INIT(8192);
    text_add_escaped(&text, what, TEXT_ALL);
    if (why) {
        strbuf_add_text(&text, ": ");
        text_add_escaped(&text, why, 400);
    }
    printf("%s%s%s %s\n", c->colors ? (good ? "\033[32m" : "\033[31m") : "", good ? "ok     " : "missing",
            c->colors ? "\033[0m" : "", strbuf_text(&text));
    strbuf_finish(&text);
    c->missing += !good;
}

static void ask_next(struct check_command *c);

static void describe(const struct check_command *c, const struct need *need, char text[256]) {
    snprintf(text, 256, "%s %s%s%s%s%s", need->verb, need->resource, *need->group ? "." : "", need->group,
            *c->namespace && !need->whole_cluster ? " in " : "", need->whole_cluster ? "" : c->namespace);
}

static void on_review(void *arg, const struct client_answer *answer) {
    struct check_command *c = arg;
    c->call = NULL;
    const struct need *need = &needs[c->next];
    char what[256];
    describe(c, need, what);
    if (answer->status / 100 != 2) {
        char why[ERROR_TEXT_MAX];
        snprintf(why, sizeof why, "could not be asked: %s", answer->message);
        print_line(c, false, what, why);
    } else {
        const json_t *status = json_object_get(answer->body, "status");
        bool allowed = json_is_true(json_object_get(status, "allowed"));
        const char *reason = json_string_value(json_object_get(status, "reason"));
        print_line(c, allowed, what, allowed ? NULL : reason && *reason ? reason : "not allowed");
    }
    c->next++;
    ask_next(c);
}

/* The next Namespace of the list; false at the end. */
static bool next_namespace(struct check_command *c) {
    size_t len;
    const char *word = text_list_next(&c->at, &len);
    if (!word)
        return false;
    snprintf(c->namespace, sizeof c->namespace, "%.*s", (int)len, *word == '*' ? "" : word);
    return true;
}

static void ask_next(struct check_command *c) {
    while (c->next < NEEDS && needs[c->next].whole_cluster && !c->first_namespace)
        c->next++;
    if (c->next == NEEDS) {
        c->next = 0;
        c->first_namespace = false;
        if (!next_namespace(c)) {
            loop_stop(c->loop);
            return;
        }
    }
    const struct need *need = &needs[c->next];
    struct strbuf body = STRBUF_INIT(2048);
    strbuf_add_text(&body, "{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"SelfSubjectAccessReview\",\"spec\":"
                           "{\"resourceAttributes\":{\"namespace\":");
    text_add_json(&body, need->whole_cluster ? "" : c->namespace);
    strbuf_add_format(
            &body, ",\"verb\":\"%s\",\"group\":\"%s\",\"resource\":\"%s\"}}}", need->verb, need->group, need->resource);
    const struct client_request request = {.method = "POST",
            .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            .body = strbuf_text(&body),
            .arg = c,
            .done = on_review};
    c->call = client_start(c->client, &request, &c->err);
    strbuf_finish(&body);
    if (!c->call)
        loop_stop(c->loop);
}

static void on_discovered(void *arg, const struct discovered *found, const struct error *why, int64_t retry_in_ms) {
    struct check_command *c = arg;
    char what[ERROR_TEXT_MAX];
    if (!found) {
        if (retry_in_ms >= 0)
            return;
        snprintf(what, sizeof what, "API server %.200s", c->kube_config->server);
        print_line(c, false, what, why->text);
        loop_stop(c->loop);
        return;
    }
    snprintf(what, sizeof what, "API server %.200s answers, version %s, CronJobs as batch/%s", c->kube_config->server,
            found->server_version, found->cronjob_version);
    print_line(c, true, what, NULL);
    c->at = c->config->namespaces;
    c->first_namespace = true;
    if (!next_namespace(c))
        c->namespace[0] = '\0';
    ask_next(c);
}

static int run(struct check_command *c, struct error *err) {
    const struct kubeconfig_options where = {.kubeconfig = c->common.kubeconfig, .context = c->common.context};
    if (common_load_config(&c->common, &c->config, err) < 0)
        return -1;
    log_configure(LOG_WARN, c->config->log_format);
    c->colors = terminal_has_colors(stdout);
    print_line(c, true, c->config->path ? c->config->path : "built-in configuration", "valid");
    if (kubeconfig_load(&where, &c->kube_config, err) < 0)
        return -1;
    if (c->kube_config->insecure)
        fprintf(stderr, "warning: insecure-skip-tls-verify is set: whoever answers is believed to be the API server\n");
    signal(SIGPIPE, SIG_IGN);
    const struct discovery_settings settings = {.cluster = "", .fallback = "", .attempts = 1};
    if (!(c->loop = loop_create(err)) || !(c->client = client_create(c->loop, c->kube_config, NULL, err)) ||
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
    client_destroy(c.client);
    loop_destroy(c.loop);
    kube_config_destroy(c.kube_config);
    config_destroy(c.config);
    return code;
}
