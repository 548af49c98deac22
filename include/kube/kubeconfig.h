/*
 * kubeconfig: where the API server is and how to log in, as kubectl finds it. Reads files; no network. Any thread.
 *
 * Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ (merging: the first
 * file to set a value or a map entry wins; relative paths are relative to the file that holds them; a missing file in
 * $KUBECONFIG is skipped, a missing --kubeconfig is an error). In-cluster counts only when no kubeconfig was given and
 * those found are missing or say nothing at all.
 *
 * Stricter than kubectl in what could mislead: YAML aliases, a key twice in one map, and what is known not to work here
 * (impersonation, auth-provider, plugins that need a terminal) are refused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define KUBECONFIG_MAX (1024 * 1024)       /* a thousand clusters' worth; more is not a kubeconfig */
#define KUBECONFIG_PEM_MAX (1024 * 1024)   /* a certificate authority bundle is some 250 kB */
#define KUBECONFIG_TOKEN_MAX (64 * 1024)   /* API servers refuse headers far smaller */
#define KUBECONFIG_FILES_MAX 64            /* entries of $KUBECONFIG */
#define KUBE_CLUSTER_INFO_MAX (100 * 1024) /* it travels in one environment variable, which Linux limits to 128 kB */

struct kube_exec {
    char *api_version; /* client.authentication.k8s.io/v1 or v1beta1 */
    char *command;     /* resolved against the kubeconfig's folder when it has a slash and is relative */
    char **args;       /* NULL-terminated */
    char **env;        /* "NAME=value", NULL-terminated; added to ours */
    char *install_hint;
    bool provide_cluster_info;
};

/*
 * Strings are owned; NULL: not set. Of a _data and a _file of the same thing only the one that counts is set: _data, as
 * in kubectl. The same with ways to log in: token_file wins over token, and either or a username over exec. A client
 * certificate can come with any of them.
 */
struct kube_config {
    char *server;    /* https://host:port, with a path where given, without a trailing slash */
    char *context;   /* name of the context used, or "in-cluster" */
    char *namespace; /* the context's, or the Pod's own */
    bool in_cluster;

    char *ca_file, *ca_data; /* PEM text in ca_data */
    bool insecure;           /* insecure-skip-tls-verify */
    char *tls_server_name;
    char *proxy_url; /* as libcurl reads it: socks5h:// where the file says socks5://, for kubectl lets the proxy
                        resolve */

    char *cert_file, *cert_data, *key_file, *key_data; /* PEM text in _data; a certificate never without its key */
    char *token, *token_file, *username, *password;
    struct kube_exec *exec; /* NULL: none */
    char *cluster_info;     /* JSON of the ExecCredential's spec.cluster, when exec wants it */
};

struct kubeconfig_options {
    const char *kubeconfig;             /* --kubeconfig, NULL: $KUBECONFIG, then ~/.kube/config, then in-cluster */
    const char *context;                /* --context, NULL: current-context */
    const char *service_account_folder; /* NULL: where Kubernetes mounts it; for tests */
};

/* Errors are ERROR_USAGE (or ERROR_NOMEM) and name the file and what is missing: no configuration anywhere, file
 * unreadable, not YAML, context, cluster or user unknown, base64 or PEM rubbish, a client certificate that has expired
 * or is not the key's, an auth-provider (removed from Kubernetes in 1.26), a server that is no http(s) URL. */
int kubeconfig_load(const struct kubeconfig_options *options, struct kube_config **ret, struct error *err) must_check;
/* The same from memory. path is for messages and for relative paths; context as in the options. */
int kubeconfig_parse(const char *text, size_t len, const char *path, const char *context, struct kube_config **ret,
        struct error *err) must_check;
void kube_config_destroy(struct kube_config *config);

/* Overwrites the text before it is freed. NULL is allowed. */
void kube_secret_free(char *text);

/* The whole of a regular file of at most limit bytes, with a NUL behind it. Errors name the file. ret_text is the
 * caller's; ret_len may be NULL, and then a NUL inside is an error. */
int kubeconfig_read_file(
        const char *path, size_t limit, char **ret_text, size_t *ret_len, struct error *err) must_check;
