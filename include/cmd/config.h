/*
 * config: the configuration file (INI), from one table of options that drives parsing, --help and the reference.
 *
 * Nothing starts on a configuration that was not understood: an unknown section or key, a bad value or a duplicate is
 * an error with file and line. Plain data once loaded; loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/log.h"
#include "jobs/policy.h"

struct config {
    /* [sexton] */
    char *cluster;      /* "" means: take the uid of the Namespace kube-system */
    char *namespaces;   /* "*" or a list */
    char *selector;     /* label selector, "" for all */
    int64_t delete_qps; /* 0: unlimited */
    int64_t max_in_flight;
    bool leader_elect;
    char *lease_name, *lease_namespace; /* "" means: where the kubeconfig says */
    int64_t lease_duration_ms, renew_deadline_ms, retry_period_ms;
    bool events; /* write Kubernetes Events */
    enum log_level log_level;
    enum log_format log_format;
    /* [history] */
    char *store;          /* "sqlite:/path" */
    int64_t retention_ms; /* DURATION_NEVER: for ever */
    bool manifest;        /* keep the Job's manifest in its row */
    char *labels;         /* globs of label keys to keep in the row, space or comma separated */
    char *annotations;    /* the same for annotations */
    /* [serve] */
    char *listen; /* as address_parse takes it, "" for nowhere */
    /* [policy] and [namespace GLOB] sections, and of [sexton] what decides about Jobs */
    struct policy policy;
    char *path;       /* the file, or NULL */
    bool empty;       /* the file: it has no byte */
    uint64_t waiting; /* for a restart: options, as bits in the order of the table. For config_reload */
};

/* path NULL: the built-in defaults. Errors: ERROR_USAGE with "FILE:LINE: what is wrong". */
int config_load(const char *path, struct config **ret, struct error *err) must_check;
void config_destroy(struct config *config);

/* Set one option of [sexton], [policy] or [history] as the file would. Errors: ERROR_USAGE, naming the key. */
int config_set(
        struct config *config, const char *section, const char *key, const char *value, struct error *err) must_check;

/* The reference, one option a line: section, key, type, default, reloadable, help. */
int config_print_reference(FILE *out, struct error *err) must_check;

/* Take the reloadable keys of fresh over into config (fresh gets the old ones, and is destroyed by the caller). Logs
 * the keys that changed and cannot be reloaded, each once, and those that are again as they were. */
void config_reload(struct config *config, struct config *fresh);
