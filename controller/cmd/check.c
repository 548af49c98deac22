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
#include "cmd/engine.h"
#include "history/history.h"
#include "kube/client.h"
#include "kube/discovery.h"

/* What this configuration needs: in each Namespace of its list, or in all. */
static const struct need {
    const char *verb, *group, *resource;
    enum {
        IN_NAMESPACE,
        ALL_NAMESPACES, /* without a list of them */
        THE_NAMESPACE,  /* each of the list, itself; a Role in it is enough for that */
        KUBE_SYSTEM,    /* once */
        LEASE           /* once; in the Lease's own Namespace */
    } where;
} needs[] = {
        {"list", "batch", "jobs", IN_NAMESPACE},
        {"watch", "batch", "jobs", IN_NAMESPACE},
        {"get", "batch", "jobs", IN_NAMESPACE},
        {"delete", "batch", "jobs", IN_NAMESPACE},
        {"list", "batch", "cronjobs", IN_NAMESPACE},
        {"watch", "batch", "cronjobs", IN_NAMESPACE},
        {"list", "", "namespaces", ALL_NAMESPACES},
        {"watch", "", "namespaces", ALL_NAMESPACES},
        {"get", "", "namespaces", THE_NAMESPACE},
        {"watch", "", "namespaces", THE_NAMESPACE},
        {"get", "", "namespaces", KUBE_SYSTEM}, /* its uid names the cluster in the register */
        {"get", "coordination.k8s.io", "leases", LEASE},
        {"create", "coordination.k8s.io", "leases", LEASE},
        {"update", "coordination.k8s.io", "leases", LEASE},
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
        COMMON_LEASE_OPTION,
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
    struct check_command *c = arg;
    if (common_set(&c->common, option, value))
        return 0;
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

static void ask_next(struct check_command *c);

/* The object that is asked about by name, "" for all. */
static const char *name_of(const struct check_command *c, const struct need *need) {
    switch (need->where) {
    case KUBE_SYSTEM:
        return "kube-system";
    case THE_NAMESPACE:
        return c->namespace;
    case LEASE:
        /* What is yet to be created has no name to the authorizer. */
        return strcmp(need->verb, "create") == 0 ? "" : c->config->lease_name;
    case IN_NAMESPACE:
    case ALL_NAMESPACES:
        break;
    }
    return "";
}

/* The Namespace that it is in, "" for none or all. To the authorizer, a Namespace is in itself. */
static const char *namespace_of(const struct check_command *c, const struct need *need) {
    switch (need->where) {
    case IN_NAMESPACE:
    case THE_NAMESPACE:
        return c->namespace;
    case KUBE_SYSTEM:
        return "kube-system";
    case LEASE:
        return engine_lease_namespace(c->config, c->kube_config);
    case ALL_NAMESPACES:
        break;
    }
    return "";
}

static void describe(const struct check_command *c, const struct need *need, char text[256]) {
    const char *name = name_of(c, need);
    const char *namespace = strcmp(need->resource, "namespaces") == 0 ? "" : namespace_of(c, need);
    snprintf(text, 256, "%s %s%s%s%s%s%s%s", need->verb, need->resource, *need->group ? "." : "", need->group,
            *name ? " " : "", name, *namespace ? " in " : "", namespace);
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
        print_line(c, "missing", what, why);
    } else {
        const json_t *status = json_object_get(answer->body, "status");
        bool allowed = json_is_true(json_object_get(status, "allowed"));
        const char *reason = json_string_value(json_object_get(status, "reason"));
        print_line(c, allowed ? "ok" : "missing", what, allowed ? NULL : reason && *reason ? reason : "not allowed");
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

static bool is_needed(const struct check_command *c, const struct need *need) {
    bool once = need->where == KUBE_SYSTEM || need->where == LEASE;
    bool listed = *c->namespace != '\0';
    return !(once && !c->first_namespace) && !(need->where == ALL_NAMESPACES && listed) &&
           !(need->where == THE_NAMESPACE && !listed) && !(need->where == KUBE_SYSTEM && *c->config->cluster) &&
           !(need->where == LEASE && !c->config->leader_elect);
}

static void ask_next(struct check_command *c) {
    while (c->next < NEEDS && !is_needed(c, &needs[c->next]))
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
    text_add_json(&body, namespace_of(c, need));
    strbuf_add_text(&body, ",\"name\":");
    text_add_json(&body, name_of(c, need));
    strbuf_add_format(
            &body, ",\"verb\":\"%s\",\"group\":\"%s\",\"resource\":\"%s\"}}}", need->verb, need->group, need->resource);
    const struct client_request request = {.method = "POST",
            .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            .body = strbuf_text(&body),
            .arg = c,
            .done = on_review};
    if (strbuf_failed(&body))
        error_nomem(&c->err);
    else
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
        print_line(c, "failed ", what, why->text);
        loop_stop(c->loop);
        return;
    }
    snprintf(what, sizeof what, "API server %.200s answers, version %s, CronJobs as batch/%s", c->kube_config->server,
            found->server_version, found->cronjob_version);
    print_line(c, "ok", what, NULL);
    c->at = c->config->namespaces;
    c->first_namespace = true;
    if (!next_namespace(c))
        c->namespace[0] = '\0';
    ask_next(c);
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
    check_register(c);
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
