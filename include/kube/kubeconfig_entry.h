/*
 * kubeconfig_entry: what the entries of a kubeconfig mean: from a context, a cluster and a user to a struct
 * kube_config. For kubeconfig.c, which finds the entries. Reads the files they name. Any thread.
 *
 * Errors are ERROR_USAGE (or ERROR_NOMEM) with file, entry and key. What was set before a failure stays in the config,
 * which its owner destroys.
 */
#pragma once

#include "base/error.h"
#include "kube/kubeconfig.h"
#include "kube/tree.h"

struct kubeconfig_entry {
    struct tree_place place;
    const struct tree_node *item; /* NULL when it is empty */
};

int kubeconfig_take_namespace(
        const struct kubeconfig_entry *context, struct kube_config *config, struct error *err) must_check;
/* ret_ca: the certificate authority's PEM text, from wherever, or NULL; the caller's, set on failure too. */
int kubeconfig_take_cluster(const struct kubeconfig_entry *cluster, struct kube_config *config, char **ret_ca,
        struct error *err) must_check;
/* After the cluster, of which a plugin may be told. */
int kubeconfig_take_user(const struct kubeconfig_entry *user, const struct kubeconfig_entry *cluster,
        const char *ca_pem, struct kube_config *config, struct error *err) must_check;

/* An http(s) URL without user, query and fragment. Lowers the scheme, cuts slashes off the end. */
int kubeconfig_check_server(const struct tree_place *place, char *server, struct error *err) must_check;
