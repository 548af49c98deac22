/*
 * common: what several commands share: the options that say which cluster and which Jobs, and how errors are told.
 */
#pragma once

#include "base/error.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "kube/kubeconfig.h"

#ifndef SEXTON_VERSION
#define SEXTON_VERSION "dev"
#endif

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct common {
    const char *config, *kubeconfig, *context; /* borrowed from argv, NULL: not given */
    const char *namespace, *selector, *store, *leader_elect;
    const char *log_level, *log_format, *listen;
};

#define COMMON_CONFIG_OPTION \
    { "config", 0, "FILE", "configuration (INI); without it, the built-in defaults" }
#define COMMON_CLUSTER_OPTIONS \
    {"kubeconfig", 0, "FILE", "kubeconfig; else $KUBECONFIG, ~/.kube/config, or in-cluster"}, { \
        "context", 0, "NAME", "context of the kubeconfig to use" \
    }
#define COMMON_SCOPE_OPTIONS \
    {"namespace", 'n', "NS", "only these Namespaces (a list; overrides the configuration)"}, { \
        "selector", 'l', "SELECTOR", "only Jobs with these labels (overrides the configuration)" \
    }
#define COMMON_STORE_OPTION \
    { "store", 0, "LOCATION", "the register, such as sqlite:/path (overrides the configuration)" }
#define COMMON_LEASE_OPTION \
    { \
        "leader-elect", 0, "BOOL", \
                "true: delete only while holding the Lease; false: alone (overrides the configuration)" \
    }
#define COMMON_LISTEN_OPTION \
    { \
        "listen", 0, "ADDRESS", \
                "where to serve /healthz, /readyz and /metrics, such as :8080 (overrides the configuration)" \
    }
#define COMMON_LOG_OPTIONS \
    {"log-level", 0, "LEVEL", "debug, info, warn or error (overrides the configuration)"}, { \
        "log-format", 0, "FORMAT", "logfmt or json (overrides the configuration)" \
    }

/* 1 when the option was one of ours, 0 when not. */
int common_set(struct common *common, const struct option_spec *option, const char *value);

/* The configuration with the options laid over it. */
int common_load_config(const struct common *common, struct config **ret, struct error *err) must_check;

/* "sexton plan: MESSAGE" on standard error. Returns the exit code that fits the error. */
int common_fail(const char *command, const struct error *err);

/* Refuses operands. */
int common_no_operands(int argc, char **argv, int rest, struct error *err) must_check;
