/*
 * Any bytes as a kubeconfig: it is understood and then usable, or refused with a reason on one line. Never a crash, a
 * leak, or an error without text.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "kube/kubeconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ensure(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

static bool has_control_character(const char *text) {
    for (; text && *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    }
    return false;
}

static void check_exec(const struct kube_config *config) {
    const struct kube_exec *exec = config->exec;
    ensure(exec->command && exec->command[0] && exec->args && exec->env);
    ensure(strcmp(exec->api_version, "client.authentication.k8s.io/v1") == 0 ||
            strcmp(exec->api_version, "client.authentication.k8s.io/v1beta1") == 0);
    for (char **env = exec->env; *env; env++)
        ensure(strchr(*env, '=') && **env != '=');
    ensure(!config->token && !config->token_file && !config->username);
    ensure(exec->provide_cluster_info == (config->cluster_info != NULL));
    if (config->cluster_info) {
        size_t len = strlen(config->cluster_info);
        ensure(len <= KUBE_CLUSTER_INFO_MAX && text_is_utf8(config->cluster_info, len));
        ensure(config->cluster_info[0] == '{' && config->cluster_info[len - 1] == '}');
    }
}

static void check_config(const struct kube_config *config) {
    ensure(config->server && config->context && !config->in_cluster);
    ensure(strncmp(config->server, "http://", 7) == 0 || strncmp(config->server, "https://", 8) == 0);
    ensure(config->server[strlen(config->server) - 1] != '/');
    ensure(!has_control_character(config->server) && !has_control_character(config->namespace) &&
            !has_control_character(config->token) && !has_control_character(config->tls_server_name) &&
            !has_control_character(config->proxy_url));
    ensure(!(config->ca_data && config->ca_file) && !(config->insecure && (config->ca_data || config->ca_file)));
    ensure(!(config->cert_data && config->cert_file) && !(config->key_data && config->key_file));
    ensure((config->cert_data || config->cert_file) == (config->key_data || config->key_file));
    ensure(!(config->token && config->token_file) && !(config->username && (config->token || config->token_file)));
    ensure(!config->password || config->username);
    if (config->exec)
        check_exec(config);
}

static void check_same_text(const char *a, const char *b) {
    ensure(a && b ? strcmp(a, b) == 0 : a == b);
}

/* The same again, also when the current context is named. */
static void check_again(const uint8_t *data, size_t size, const struct kube_config *config) {
    struct kube_config *again = NULL;
    struct error err = {0};
    ensure(kubeconfig_parse((const char *)data, size, "/nonexistent/config", config->context, &again, &err) == 0);
    const char *const a[] = {config->server, config->context, config->namespace, config->ca_file, config->ca_data,
            config->tls_server_name, config->proxy_url, config->cert_file, config->cert_data, config->key_file,
            config->key_data, config->token, config->token_file, config->username, config->password,
            config->cluster_info};
    const char *const b[] = {again->server, again->context, again->namespace, again->ca_file, again->ca_data,
            again->tls_server_name, again->proxy_url, again->cert_file, again->cert_data, again->key_file,
            again->key_data, again->token, again->token_file, again->username, again->password, again->cluster_info};
    for (size_t i = 0; i < sizeof a / sizeof a[0]; i++)
        check_same_text(a[i], b[i]);
    ensure(config->insecure == again->insecure && !config->exec == !again->exec);
    kube_config_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct kube_config *config = NULL;
    struct error err = {0};
    /* A folder that is not there, so that only inputs with absolute paths read files. */
    if (kubeconfig_parse((const char *)data, size, "/nonexistent/config", NULL, &config, &err) < 0) {
        ensure(!config && err.kind == ERROR_USAGE);
        ensure(strncmp(err.text, "/nonexistent/config", 19) == 0 && !has_control_character(err.text));
        return 0;
    }
    ensure(err.kind == ERROR_NONE);
    check_config(config);
    check_again(data, size, config);
    kube_config_destroy(config);
    return 0;
}
