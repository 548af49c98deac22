#include "kube/kubeconfig_entry.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "kube/pem.h"

#define LABEL_MAX 63 /* RFC 1123: a namespace */
#define EXEC_GROUP "client.authentication.k8s.io/"
#define EXEC_EXTENSION "client.authentication.k8s.io/exec"

struct pem_keys {
    const char *data, *file; /* the keys in the YAML */
};

/* ret_text is what the certificate is: for checks, and to be freed by the caller when it is not ret_data. */
static int take_pem(const struct tree_place *place, const struct tree_node *map, const struct pem_keys *keys,
        char **ret_data, char **ret_file, char **ret_text, struct error *err) {
    const char *encoded;
    size_t len;
    if (tree_find_text(place, map, keys->data, &encoded, err) < 0)
        return -1;
    if (encoded) {
        if (base64_decode(encoded, ret_data, &len, err) < 0)
            return tree_context(place, err, keys->data);
        if (strlen(*ret_data) != len)
            return tree_fail(place, err, "%s: not PEM", keys->data);
        return tree_copy(*ret_data, ret_text, err);
    }
    if (tree_take_path(place, map, keys->file, ret_file, err) < 0)
        return -1;
    if (*ret_file && kubeconfig_read_file(*ret_file, KUBECONFIG_PEM_MAX, ret_text, NULL, err) < 0)
        return tree_context(place, err, keys->file);
    return 0;
}

/* scheme://[user[:password]@]host[:port][/path]; no more than that makes sense for a server or a proxy. Lowers the
 * scheme. Returns what is wrong, or NULL. */
static const char *check_url(char *url, const char *const *schemes, bool user_allowed) {
    for (const char *c = url; *c; c++) {
        if (*c <= 0x20 || *c >= 0x7f || strchr("\\\"<>^`{|}?#", *c))
            return "has a character that its URL cannot have";
    }
    char *host = strstr(url, "://");
    if (!host)
        return "is not a URL such as https://host:6443";
    size_t n = (size_t)(host - url);
    while (*schemes && (strlen(*schemes) != n || strncasecmp(url, *schemes, n) != 0))
        schemes++;
    if (!*schemes)
        return "is a URL of a kind that is not supported";
    memcpy(url, *schemes, n);
    host += 3;
    char *end = host + strcspn(host, "/");
    char *at = memrchr(host, '@', (size_t)(end - host));
    if (at && !user_allowed)
        return "must not have a user name";
    if (at)
        host = at + 1;
    n = strcspn(host, ":/");
    if (*host == '[') {
        n = strspn(host + 1, "0123456789abcdefABCDEF:.");
        if (n < 2 || host[n + 1] != ']')
            return "has no valid IPv6 address in its brackets";
        n += 2;
    }
    if (n == 0)
        return "names no host";
    char *port = host + n;
    if (port == end)
        return NULL;
    size_t digits = strspn(port + 1, "0123456789");
    long number = strtol(port + 1, NULL, 10);
    if (*port != ':' || digits == 0 || digits > 5 || port + 1 + digits != end || number < 1 || number > 65535)
        return "has no valid port";
    return NULL;
}

int kubeconfig_check_server(const struct tree_place *place, char *server, struct error *err) {
    static const char *const schemes[] = {"https", "http", NULL};
    const char *wrong = check_url(server, schemes, false);
    char name[TREE_QUOTED_MAX];
    if (wrong)
        return tree_fail(place, err, "server %s %s", tree_quote(name, server), wrong);
    for (size_t n = strlen(server); server[n - 1] == '/';)
        server[--n] = '\0';
    return 0;
}

/* The password a proxy URL may have must not get into an error. */
static int check_proxy(const struct tree_place *place, struct kube_config *config, struct error *err) {
    static const char *const schemes[] = {"http", "https", "socks5", "socks5h", NULL};
    const char *wrong = check_url(config->proxy_url, schemes, true);
    if (wrong)
        return tree_fail(place, err, "proxy-url %s", wrong);
    if (strncmp(config->proxy_url, "socks5:", 7) == 0) {
        char *url;
        if (asprintf(&url, "socks5h%s", config->proxy_url + 6) < 0)
            return error_nomem(err);
        kube_secret_free(config->proxy_url);
        config->proxy_url = url;
    }
    return 0;
}

int kubeconfig_take_namespace(const struct kubeconfig_entry *context, struct kube_config *config, struct error *err) {
    const struct tree_place *place = &context->place;
    char name[TREE_QUOTED_MAX];
    if (tree_take_text(place, context->item, "namespace", &config->namespace, err) < 0)
        return -1;
    if (!config->namespace)
        return 0;
    size_t len = strlen(config->namespace);
    if (len > LABEL_MAX || strspn(config->namespace, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return tree_fail(place, err, "%s cannot be a namespace's name", tree_quote(name, config->namespace));
    return 0;
}

static int take_ca(const struct tree_place *place, const struct tree_node *map, struct kube_config *config,
        char **ret_pem, struct error *err) {
    static const struct pem_keys keys = {"certificate-authority-data", "certificate-authority"};
    int64_t not_after;
    if (take_pem(place, map, &keys, &config->ca_data, &config->ca_file, ret_pem, err) < 0)
        return -1;
    if (*ret_pem && config->insecure)
        return tree_fail(place, err, "insecure-skip-tls-verify and a certificate authority exclude each other");
    if (*ret_pem && pem_not_after(*ret_pem, &not_after, err) < 0)
        return tree_context(place, err, config->ca_data ? keys.data : keys.file);
    return 0;
}

int kubeconfig_take_cluster(
        const struct kubeconfig_entry *cluster, struct kube_config *config, char **ret_ca, struct error *err) {
    const struct tree_place *place = &cluster->place;
    const struct tree_node *map = cluster->item;
    if (tree_take_line(place, map, "server", &config->server, err) < 0)
        return -1;
    if (!config->server)
        return tree_fail(place, err, "server is missing");
    if (kubeconfig_check_server(place, config->server, err) < 0 ||
            tree_take_bool(place, map, "insecure-skip-tls-verify", &config->insecure, err) < 0 ||
            tree_take_line(place, map, "tls-server-name", &config->tls_server_name, err) < 0 ||
            tree_take_line(place, map, "proxy-url", &config->proxy_url, err) < 0)
        return -1;
    if (config->proxy_url && check_proxy(place, config, err) < 0)
        return -1;
    return take_ca(place, map, config, ret_ca, err);
}

static int check_expiry(const struct tree_place *place, const char *cert, const char *key, struct error *err) {
    int64_t not_after;
    char when[TIMESTAMP_TEXT_MAX];
    if (pem_not_after(cert, &not_after, err) < 0)
        return tree_context(place, err, key);
    if (not_after <= clock_wall_ms())
        return tree_fail(place, err, "the client certificate expired on %s", timestamp_format(not_after, when));
    return 0;
}

static int take_client_cert(
        const struct tree_place *place, const struct tree_node *map, struct kube_config *config, struct error *err) {
    static const struct pem_keys cert_keys = {"client-certificate-data", "client-certificate"};
    static const struct pem_keys key_keys = {"client-key-data", "client-key"};
    char *cert = NULL, *key = NULL;
    int result = -1;
    if (take_pem(place, map, &cert_keys, &config->cert_data, &config->cert_file, &cert, err) < 0 ||
            take_pem(place, map, &key_keys, &config->key_data, &config->key_file, &key, err) < 0)
        goto out;
    if (!cert && !key)
        result = 0;
    else if (!key)
        tree_fail(place, err, "client-certificate is there, but no client-key");
    else if (!cert)
        tree_fail(place, err, "client-key is there, but no client-certificate");
    else if (check_expiry(place, cert, config->cert_data ? cert_keys.data : cert_keys.file, err) < 0)
        ;
    else if (pem_check_pair(cert, key, err) < 0)
        tree_context(place, err, config->key_data ? key_keys.data : key_keys.file);
    else
        result = 0;
out:
    free(cert);
    kube_secret_free(key);
    return result;
}

static int refuse_unsupported(const struct tree_place *place, const struct tree_node *map, struct error *err) {
    static const char *const impersonation[] = {"as", "as-uid", "as-groups", "as-user-extra"};
    for (const struct tree_node *child = map ? map->first : NULL; child; child = child->next) {
        if (child->kind == TREE_NULL || (child->kind == TREE_TEXT ? !child->text[0] : !child->first))
            continue;
        for (size_t i = 0; i < sizeof impersonation / sizeof *impersonation; i++) {
            if (strcmp(child->key, impersonation[i]) == 0)
                return tree_fail(place, err, "impersonation (%s) is not supported", child->key);
        }
        if (strcmp(child->key, "auth-provider") == 0)
            return tree_fail(place, err, "auth-provider was removed from Kubernetes in 1.26; use an exec plugin");
    }
    return 0;
}

static int take_token_file(
        const struct tree_place *place, const struct tree_node *map, struct kube_config *config, struct error *err) {
    char *text;
    if (tree_take_path(place, map, "tokenFile", &config->token_file, err) < 0)
        return -1;
    if (!config->token_file)
        return 0;
    if (kubeconfig_read_file(config->token_file, KUBECONFIG_TOKEN_MAX, &text, NULL, err) < 0)
        return tree_context(place, err, "tokenFile");
    kube_secret_free(text);
    kube_secret_free(config->token);
    config->token = NULL;
    return 0;
}

static int take_login(
        const struct tree_place *place, const struct tree_node *map, struct kube_config *config, struct error *err) {
    if (refuse_unsupported(place, map, err) < 0 || take_client_cert(place, map, config, err) < 0 ||
            tree_take_line(place, map, "token", &config->token, err) < 0 ||
            take_token_file(place, map, config, err) < 0 ||
            tree_take_text(place, map, "username", &config->username, err) < 0 ||
            tree_take_text(place, map, "password", &config->password, err) < 0)
        return -1;
    if (config->password && !config->username)
        return tree_fail(place, err, "password is there, but no username");
    if (config->username && strchr(config->username, ':'))
        return tree_fail(place, err, "username cannot have a colon (RFC 7617)");
    if (config->username && (config->token || config->token_file))
        return tree_fail(place, err, "username and a token exclude each other");
    return 0;
}

static size_t count_children(const struct tree_node *list) {
    size_t n = 0;
    for (const struct tree_node *child = list ? list->first : NULL; child; child = child->next)
        n++;
    return n;
}

static int take_args(
        const struct tree_place *place, const struct tree_node *map, struct kube_exec *exec, struct error *err) {
    const struct tree_node *list;
    if (tree_find(place, map, "args", TREE_LIST, &list, err) < 0)
        return -1;
    exec->args = calloc(count_children(list) + 1, sizeof *exec->args);
    if (!exec->args)
        return error_nomem(err);
    size_t at = 0;
    for (const struct tree_node *arg = list ? list->first : NULL; arg; arg = arg->next) {
        if (arg->kind != TREE_TEXT)
            return tree_fail(place, err, "args must be texts (line %u)", arg->line);
        if (tree_copy(arg->text, &exec->args[at++], err) < 0)
            return -1;
    }
    return 0;
}

static int take_env(
        const struct tree_place *place, const struct tree_node *map, struct kube_exec *exec, struct error *err) {
    const struct tree_node *list, *value;
    const char *name;
    if (tree_find(place, map, "env", TREE_LIST, &list, err) < 0)
        return -1;
    exec->env = calloc(count_children(list) + 1, sizeof *exec->env);
    if (!exec->env)
        return error_nomem(err);
    size_t at = 0;
    for (const struct tree_node *entry = list ? list->first : NULL; entry; entry = entry->next) {
        if (entry->kind != TREE_MAP)
            return tree_fail(place, err, "env must be maps of name and value (line %u)", entry->line);
        if (tree_find_text(place, entry, "name", &name, err) < 0 ||
                tree_find(place, entry, "value", TREE_TEXT, &value, err) < 0)
            return -1;
        if (!name || strchr(name, '='))
            return tree_fail(place, err, "env has no valid name on line %u", entry->line);
        if (asprintf(&exec->env[at], "%s=%s", name, value ? value->text : "") < 0) {
            exec->env[at] = NULL;
            return error_nomem(err);
        }
        at++;
    }
    return 0;
}

static int check_exec_version(const struct tree_place *place, const char *version, struct error *err) {
    char name[TREE_QUOTED_MAX];
    if (!version)
        return tree_fail(place, err, "apiVersion is missing");
    if (strcmp(version, EXEC_GROUP "v1") == 0 || strcmp(version, EXEC_GROUP "v1beta1") == 0)
        return 0;
    if (strcmp(version, EXEC_GROUP "v1alpha1") == 0)
        return tree_fail(place, err,
                "apiVersion v1alpha1 was removed from Kubernetes in 1.24; have a newer version of the tool that "
                "wrote this write v1beta1 or v1");
    return tree_fail(place, err, "apiVersion %s is neither " EXEC_GROUP "v1 nor v1beta1", tree_quote(name, version));
}

static int check_interactive(const struct tree_place *place, const struct tree_node *map, struct error *err) {
    const char *mode;
    char name[TREE_QUOTED_MAX];
    if (tree_find_text(place, map, "interactiveMode", &mode, err) < 0)
        return -1;
    if (mode && strcmp(mode, "Always") == 0)
        return tree_fail(place, err, "interactiveMode is Always, but the plugin gets no terminal here");
    if (mode && strcmp(mode, "Never") != 0 && strcmp(mode, "IfAvailable") != 0)
        return tree_fail(place, err, "interactiveMode %s is unknown", tree_quote(name, mode));
    return 0;
}

static int take_command(
        const struct tree_place *place, const struct tree_node *map, struct kube_exec *exec, struct error *err) {
    const char *command;
    if (tree_find_text(place, map, "command", &command, err) < 0)
        return -1;
    if (!command)
        return tree_fail(place, err, "command is missing");
    exec->command = strchr(command, '/') ? tree_join(place->file->folder, command) : strdup(command);
    return exec->command ? 0 : error_nomem(err);
}

static int take_exec(
        const struct tree_place *user, const struct tree_node *map, struct kube_exec **ret, struct error *err) {
    const struct tree_node *node;
    if (tree_find(user, map, "exec", TREE_MAP, &node, err) < 0)
        return -1;
    if (!node)
        return 0;
    struct tree_place place = *user;
    size_t len = strlen(place.what);
    snprintf(place.what + len, sizeof place.what - len, ": exec");
    struct kube_exec *exec = *ret = calloc(1, sizeof *exec);
    if (!exec)
        return error_nomem(err);
    if (tree_take_text(&place, node, "apiVersion", &exec->api_version, err) < 0 ||
            check_exec_version(&place, exec->api_version, err) < 0 || take_command(&place, node, exec, err) < 0 ||
            take_args(&place, node, exec, err) < 0 || take_env(&place, node, exec, err) < 0 ||
            tree_take_text(&place, node, "installHint", &exec->install_hint, err) < 0 ||
            tree_take_bool(&place, node, "provideClusterInfo", &exec->provide_cluster_info, err) < 0)
        return -1;
    return check_interactive(&place, node, err);
}

/* The cluster's extension that is meant for plugins: any JSON. */
static int find_exec_extension(
        const struct tree_place *place, const struct tree_node *map, const struct tree_node **ret, struct error *err) {
    const struct tree_node *list;
    const char *name;
    *ret = NULL;
    if (tree_find(place, map, "extensions", TREE_LIST, &list, err) < 0)
        return -1;
    for (const struct tree_node *entry = list ? list->first : NULL; entry; entry = entry->next) {
        if (entry->kind != TREE_MAP)
            return tree_fail(place, err, "extensions must be maps (line %u)", entry->line);
        if (tree_find_text(place, entry, "name", &name, err) < 0)
            return -1;
        if (!name || strcmp(name, EXEC_EXTENSION) != 0)
            continue;
        for (const struct tree_node *child = entry->first; child; child = child->next) {
            if (strcmp(child->key, "extension") == 0)
                *ret = child;
        }
    }
    return 0;
}

static void add_member(struct strbuf *json, const char *key, const char *value) {
    if (!value)
        return;
    strbuf_add_format(json, ",\"%s\":", key);
    text_add_json(json, value);
}

/* spec.cluster of https://kubernetes.io/docs/reference/config-api/client-authentication.v1/ */
static int take_cluster_info(const struct tree_place *place, const struct tree_node *map, const char *ca_pem,
        struct kube_config *config, struct error *err) {
    const struct tree_node *extension;
    const char *proxy;
    if (find_exec_extension(place, map, &extension, err) < 0 ||
            tree_find_text(place, map, "proxy-url", &proxy, err) < 0)
        return -1;
    char *ca = ca_pem ? base64_encode(ca_pem, strlen(ca_pem)) : NULL;
    if (ca_pem && !ca)
        return error_nomem(err);
    struct strbuf json = STRBUF_INIT(KUBE_CLUSTER_INFO_MAX);
    strbuf_add_text(&json, "{\"server\":");
    text_add_json(&json, config->server);
    add_member(&json, "tls-server-name", config->tls_server_name);
    if (config->insecure)
        strbuf_add_text(&json, ",\"insecure-skip-tls-verify\":true");
    add_member(&json, "certificate-authority-data", ca);
    add_member(&json, "proxy-url", proxy);
    if (extension) {
        strbuf_add_text(&json, ",\"config\":");
        tree_add_json(&json, extension);
    }
    strbuf_add_char(&json, '}');
    free(ca);
    bool nomem = json.no_memory;
    config->cluster_info = strbuf_take(&json);
    strbuf_finish(&json);
    if (config->cluster_info)
        return 0;
    if (nomem)
        return error_nomem(err);
    return tree_fail(place, err, "more than an exec plugin with provideClusterInfo can be told (%d kB)",
            KUBE_CLUSTER_INFO_MAX / 1024);
}

int kubeconfig_take_user(const struct kubeconfig_entry *user, const struct kubeconfig_entry *cluster,
        const char *ca_pem, struct kube_config *config, struct error *err) {
    if (take_login(&user->place, user->item, config, err) < 0)
        return -1;
    /* As in kubectl, where a plugin leaves a request alone that has its Authorization already. */
    if (config->token || config->token_file || config->username)
        return 0;
    if (take_exec(&user->place, user->item, &config->exec, err) < 0)
        return -1;
    if (config->exec && config->exec->provide_cluster_info)
        return take_cluster_info(&cluster->place, cluster->item, ca_pem, config, err);
    return 0;
}
