#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "kube/kubeconfig.h"
#include "kube/pem.h"

Suite *suite_kubeconfig(void);

/* Made for these tests; they guard nothing. The certificate is the first key's, and ends in 2126. */
static const char cert_pem[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBczCCARmgAwIBAgIUIeSW04qMrCx7a6pG+V0Ha05oajIwCgYIKoZIzj0EAwIw\n"
                               "DjEMMAoGA1UEAwwDb25lMCAXDTI2MTEyMTA0NDczM1oYDzIxMjYxMDI4MDQ0NzMz\n"
                               "WjAOMQwwCgYDVQQDDANvbmUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATg4IeR\n"
                               "XM97bEXKLBiPjK8r8OtcifFNFuu8ENuasWm0w0Gj8etArBIcEzAJPYl+1jtgyyvB\n"
                               "YQxmBMqzbDvc51Ado1MwUTAdBgNVHQ4EFgQUJ3JlRv74p3ZFRwPyewS6USicmLEw\n"
                               "HwYDVR0jBBgwFoAUJ3JlRv74p3ZFRwPyewS6USicmLEwDwYDVR0TAQH/BAUwAwEB\n"
                               "/zAKBggqhkjOPQQDAgNIADBFAiA+Vmueu0ZgzSnuU+IvL7P7ZdUHGXWBotTt/voM\n"
                               "AWdp7wIhAIYsQGuuutQtbEgJE40L8I1NnloSpn33wNG+TuZA42r2\n"
                               "-----END CERTIFICATE-----\n";
static const char key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                              "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8k7C8OzSaAElc7Rl\n"
                              "4GcGvVDLimX94BGmQJ6VZq2NwP2hRANCAATg4IeRXM97bEXKLBiPjK8r8OtcifFN\n"
                              "Fuu8ENuasWm0w0Gj8etArBIcEzAJPYl+1jtgyyvBYQxmBMqzbDvc51Ad\n"
                              "-----END PRIVATE KEY-----\n";
static const char other_key_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgr6Kx86U0l6ZmDjT0\n"
                                    "9PTyTgDbYj38khEajm3lbnyxbamhRANCAASSQ38+PSzMpeNVpd9iDI9bMX27wM4I\n"
                                    "BAGMtp+gZRY1lB2fL00hOBpXhhFe7ybOegmRoeltUW6sAoyAtYz5aY7Q\n"
                                    "-----END PRIVATE KEY-----\n";
static const char locked_key_pem[] = "-----BEGIN EC PRIVATE KEY-----\n"
                                     "Proc-Type: 4,ENCRYPTED\n"
                                     "DEK-Info: AES-128-CBC,4D9B5E1ABCF794EEBDEDCE09816D94B6\n"
                                     "\n"
                                     "NHxrQzNmBctfUGRfsB4PzYZslsmlALPaJe1jSO+YIpcYdbf3NjlSJmPP652KvA95\n"
                                     "S/hOTyRIVszW49khSZnePQ9i3he82q5gF/D0/yGHH5uVVz518G2c3cgE0859PGhn\n"
                                     "whyjfR3uSJ0dZhsVc43zlEveHqodyfvKAddu+5iTePQ=\n"
                                     "-----END EC PRIVATE KEY-----\n";

static char folder[64];

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *ftw) {
    (void)status;
    (void)kind;
    (void)ftw;
    return remove(path);
}

/* A home without a kubeconfig, outside of any Pod. */
static void set_up(void) {
    strcpy(folder, "/tmp/sexton-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    setenv("HOME", folder, 1);
    unsetenv("KUBECONFIG");
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
}

static void tear_down(void) {
    clock_use(NULL);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path in the folder; one of eight buffers. */
static const char *in_folder(const char *name) {
    static char paths[8][128];
    static unsigned at;
    char *path = paths[at++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static const char *put_bytes(const char *name, const char *data, size_t len) {
    const char *path = in_folder(name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, len, file), len);
    fclose(file);
    return path;
}

static const char *put(const char *name, const char *text) {
    return put_bytes(name, text, strlen(text));
}

static void make_folder(const char *name) {
    ck_assert_int_eq(mkdir(in_folder(name), 0700), 0);
}

static struct kube_config *load_with(const struct kubeconfig_options *options) {
    struct kube_config *config = NULL;
    struct error err = {0};
    int result = kubeconfig_load(options, &config, &err);
    ck_assert_msg(result == 0, "refused: %s", err.text);
    return config;
}

static struct kube_config *load(const char *text) {
    return load_with(&(struct kubeconfig_options){.kubeconfig = put("config", text)});
}

static struct kube_config *load_found(const char *context) {
    return load_with(&(struct kubeconfig_options){.context = context, .service_account_folder = in_folder("sa")});
}

static void refuse_with(const struct kubeconfig_options *options, const char *reason) {
    struct kube_config *config = (struct kube_config *)folder;
    struct error err = {0};
    ck_assert_int_lt(kubeconfig_load(options, &config, &err), 0);
    ck_assert_ptr_eq(config, (struct kube_config *)folder);
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_msg(strstr(err.text, reason), "'%s' does not say '%s'", err.text, reason);
    ck_assert_ptr_null(strchr(err.text, '\n'));
}

/* The error begins with the file. */
static void refuse(const char *text, const char *reason) {
    const char *path = put("config", text);
    struct kube_config *config = NULL;
    struct error err = {0};
    ck_assert_int_lt(kubeconfig_load(&(struct kubeconfig_options){.kubeconfig = path}, &config, &err), 0);
    ck_assert_ptr_null(config);
    ck_assert_int_eq(err.kind, ERROR_USAGE);
    ck_assert_msg(strncmp(err.text, path, strlen(path)) == 0, "'%s' does not begin with the file", err.text);
    ck_assert_msg(strstr(err.text, reason), "'%s' does not say '%s'", err.text, reason);
    ck_assert_ptr_null(strchr(err.text, '\n'));
}

static void refuse_found(const char *context, const char *reason) {
    refuse_with(&(struct kubeconfig_options){.context = context, .service_account_folder = in_folder("sa")}, reason);
}

#define CONTEXT \
    "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- {name: c, context: {cluster: k, user: u}}\n"
/* A kubeconfig with lines for its cluster and lines for its user, each "    key: value\n". */
#define WITH(cluster, user) \
    CONTEXT "clusters:\n- name: k\n  cluster:\n    server: https://h:6443\n" cluster \
            "users:\n- name: u\n  user:\n    unknown: is ignored\n" user
#define EXEC(lines) \
    "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: login\n      interactiveMode: " \
    "Never\n" lines

static char *with_data(const char *key, const char *data, bool for_cluster) {
    char *encoded = base64_encode(data, strlen(data)), *lines, *text;
    ck_assert_ptr_nonnull(encoded);
    ck_assert_int_gt(asprintf(&lines, "    %s: %s\n", key, encoded), 0);
    ck_assert_int_gt(asprintf(&text,
                             CONTEXT "clusters:\n- name: k\n  cluster:\n    server: https://h:6443\n%susers:\n- name: "
                                     "u\n  user:\n    unknown: is ignored\n%s",
                             for_cluster ? lines : "", for_cluster ? "" : lines),
            0);
    free(encoded);
    free(lines);
    return text;
}

/* ---- What a good kubeconfig gives ---- */

START_TEST(minikube_like_files_load) {
    put("ca.crt", cert_pem);
    put("client.crt", cert_pem);
    put("client.key", key_pem);
    struct kube_config *config = load("apiVersion: v1\n"
                                      "kind: Config\n"
                                      "preferences: {}\n"
                                      "current-context: dev\n"
                                      "clusters:\n"
                                      "- cluster:\n"
                                      "    certificate-authority: ca.crt\n"
                                      "    extensions:\n"
                                      "    - extension: {provider: minikube.sigs.k8s.io, version: v1.32.0}\n"
                                      "      name: cluster_info\n"
                                      "    server: HTTPS://192.168.49.2:8443/path//\n"
                                      "    tls-server-name: api.example\n"
                                      "    proxy-url: http://me:pass@proxy:3128\n"
                                      "  name: dev\n"
                                      "contexts:\n"
                                      "- context: {cluster: dev, namespace: team-a, user: dev}\n"
                                      "  name: dev\n"
                                      "users:\n"
                                      "- name: dev\n"
                                      "  user:\n"
                                      "    client-certificate: client.crt\n"
                                      "    client-key: client.key\n");
    ck_assert_str_eq(config->server, "https://192.168.49.2:8443/path");
    ck_assert_str_eq(config->context, "dev");
    ck_assert_str_eq(config->namespace, "team-a");
    ck_assert_str_eq(config->tls_server_name, "api.example");
    ck_assert_str_eq(config->proxy_url, "http://me:pass@proxy:3128");
    ck_assert_str_eq(config->ca_file, in_folder("ca.crt"));
    ck_assert_str_eq(config->cert_file, in_folder("client.crt"));
    ck_assert_str_eq(config->key_file, in_folder("client.key"));
    ck_assert_ptr_null(config->ca_data);
    ck_assert(!config->insecure);
    ck_assert(!config->in_cluster);
    ck_assert_ptr_null(config->token);
    ck_assert_ptr_null(config->exec);
    kube_config_destroy(config);
}
END_TEST

START_TEST(json_kubeconfigs_load) {
    struct kube_config *config =
            load("{\"apiVersion\":\"v1\",\"kind\":\"Config\",\n"
                 "\t\"current-context\":\"c\",\"preferences\":null,\n"
                 "\t\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":\"k\",\"user\":\"u\"}}],\n"
                 "\t\"clusters\":[{\"name\":\"k\",\"cluster\":{\"server\":\"https:\\/\\/h\","
                 "\"insecure-skip-tls-verify\":true}}],\n"
                 "\t\"users\":[{\"name\":\"u\",\"user\":{\"token\":\"t\\u00e9\"}}]}\n");
    ck_assert_str_eq(config->server, "https://h");
    ck_assert_str_eq(config->token, "t\xc3\xa9");
    ck_assert(config->insecure);
    kube_config_destroy(config);
}
END_TEST

START_TEST(data_in_the_file_wins_over_files_beside_it) {
    char *encoded = base64_encode(cert_pem, strlen(cert_pem)), *text;
    ck_assert_int_gt(
            asprintf(&text,
                    CONTEXT "clusters:\n- name: k\n  cluster:\n    server: https://h\n"
                            "    certificate-authority: missing.crt\n    certificate-authority-data: %s\n"
                            "users:\n- name: u\n  user:\n    client-certificate-data: %s\n    client-key: %s\n",
                    encoded, encoded, put("client.key", key_pem)),
            0);
    struct kube_config *config = load(text);
    ck_assert_str_eq(config->ca_data, cert_pem);
    ck_assert_ptr_null(config->ca_file);
    ck_assert_str_eq(config->cert_data, cert_pem);
    ck_assert_ptr_null(config->cert_file);
    ck_assert_str_eq(config->key_file, in_folder("client.key"));
    ck_assert_ptr_null(config->key_data);
    kube_config_destroy(config);
    free(encoded);
    free(text);
}
END_TEST

START_TEST(token_file_wins_over_token) {
    make_folder("secrets");
    put("secrets/token", "from-the-file\n");
    struct kube_config *config = load(WITH("", "    token: from-the-config\n    tokenFile: secrets/token\n"));
    ck_assert_str_eq(config->token_file, in_folder("secrets/token"));
    ck_assert_ptr_null(config->token);
    kube_config_destroy(config);
}
END_TEST

START_TEST(user_name_and_password_are_taken) {
    struct kube_config *config =
            load(WITH("    insecure-skip-tls-verify: No\n", "    username: 1234\n    password: \"a: b\"\n"));
    ck_assert_str_eq(config->username, "1234");
    ck_assert_str_eq(config->password, "a: b");
    ck_assert(!config->insecure);
    kube_config_destroy(config);
}
END_TEST

START_TEST(a_context_without_user_is_anonymous) {
    struct kube_config *config = load("current-context: c\n"
                                      "contexts: [{name: c, context: {cluster: k}}]\n"
                                      "clusters: [{name: k, cluster: {server: 'http://localhost:8001'}}]\n");
    ck_assert_str_eq(config->server, "http://localhost:8001");
    ck_assert_ptr_null(config->token);
    ck_assert_ptr_null(config->namespace);
    kube_config_destroy(config);
}
END_TEST

START_TEST(an_unused_user_entry_may_be_empty) {
    struct kube_config *config = load(CONTEXT "clusters: [{name: k, cluster: {server: 'https://[::1]:6443'}}]\n"
                                              "users: [{name: u, user: null}, {name: other}]\n");
    ck_assert_str_eq(config->server, "https://[::1]:6443");
    kube_config_destroy(config);
}
END_TEST

START_TEST(a_socks_proxy_resolves_names_as_with_kubectl) {
    struct kube_config *config = load(WITH("    proxy-url: socks5://127.0.0.1:1080\n", ""));
    ck_assert_str_eq(config->proxy_url, "socks5h://127.0.0.1:1080");
    kube_config_destroy(config);
}
END_TEST

START_TEST(the_second_yaml_document_is_not_read) {
    struct kube_config *config = load(WITH("", "    token: first\n") "---\ncurrent-context: other\n");
    ck_assert_str_eq(config->token, "first");
    kube_config_destroy(config);
}
END_TEST

START_TEST(anchors_that_nobody_uses_do_no_harm) {
    struct kube_config *config = load(WITH("", "    token: &t value\n"));
    ck_assert_str_eq(config->token, "value");
    kube_config_destroy(config);
}
END_TEST

/* ---- Exec plugins ---- */

START_TEST(eks_like_plugins_load) {
    struct kube_config *config = load(WITH("", "    exec:\n"
                                               "      apiVersion: client.authentication.k8s.io/v1beta1\n"
                                               "      command: aws\n"
                                               "      args:\n"
                                               "      - --region\n"
                                               "      - eu-central-1\n"
                                               "      - ''\n"
                                               "      - 12\n"
                                               "      env:\n"
                                               "      - name: AWS_PROFILE\n"
                                               "        value: dev=1\n"
                                               "      - {name: EMPTY}\n"
                                               "      installHint: |\n"
                                               "        Install it\n"
                                               "        with care\n"
                                               "      interactiveMode: IfAvailable\n"
                                               "      provideClusterInfo: false\n"));
    ck_assert_ptr_nonnull(config->exec);
    ck_assert_str_eq(config->exec->api_version, "client.authentication.k8s.io/v1beta1");
    ck_assert_str_eq(config->exec->command, "aws");
    ck_assert_str_eq(config->exec->args[0], "--region");
    ck_assert_str_eq(config->exec->args[1], "eu-central-1");
    ck_assert_str_eq(config->exec->args[2], "");
    ck_assert_str_eq(config->exec->args[3], "12");
    ck_assert_ptr_null(config->exec->args[4]);
    ck_assert_str_eq(config->exec->env[0], "AWS_PROFILE=dev=1");
    ck_assert_str_eq(config->exec->env[1], "EMPTY=");
    ck_assert_ptr_null(config->exec->env[2]);
    ck_assert_str_eq(config->exec->install_hint, "Install it\nwith care\n");
    ck_assert(!config->exec->provide_cluster_info);
    ck_assert_ptr_null(config->cluster_info);
    kube_config_destroy(config);
}
END_TEST

START_TEST(plugins_without_arguments_load) {
    struct kube_config *config = load(WITH("", EXEC("      args: null\n      env:\n")));
    ck_assert_ptr_null(config->exec->args[0]);
    ck_assert_ptr_null(config->exec->env[0]);
    ck_assert_ptr_null(config->exec->install_hint);
    kube_config_destroy(config);
}
END_TEST

START_TEST(a_plugin_beside_the_kubeconfig_is_found) {
    struct kube_config *config =
            load(WITH("", "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: bin/login\n"));
    ck_assert_str_eq(config->exec->command, in_folder("bin/login"));
    kube_config_destroy(config);
    config =
            load(WITH("", "    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: /opt/login\n"));
    ck_assert_str_eq(config->exec->command, "/opt/login");
    kube_config_destroy(config);
}
END_TEST

START_TEST(a_plugin_is_told_of_the_cluster_when_it_asks) {
    char *encoded = base64_encode(cert_pem, strlen(cert_pem)), *wanted;
    put("ca.crt", cert_pem);
    struct kube_config *config = load(WITH("    certificate-authority: ca.crt\n"
                                           "    tls-server-name: api\n"
                                           "    proxy-url: socks5://p:1\n"
                                           "    extensions:\n"
                                           "    - name: other\n"
                                           "      extension: 1\n"
                                           "    - name: client.authentication.k8s.io/exec\n"
                                           "      extension:\n"
                                           "        audience: \"a\\\"b\"\n"
                                           "        list: [1, -2.5e+3, 007, 1., 1e, -, true, FALSE, ~, '1', {}, yes]\n",
            EXEC("      provideClusterInfo: true\n")));
    ck_assert_int_gt(
            asprintf(&wanted,
                    "{\"server\":\"https://h:6443\",\"tls-server-name\":\"api\",\"certificate-authority-data\":\"%s\","
                    "\"proxy-url\":\"socks5://p:1\",\"config\":{\"audience\":\"a\\\"b\",\"list\":[1,-2.5e+3,\"007\","
                    "\"1.\",\"1e\",\"-\",true,false,null,\"1\",{},\"yes\"]}}",
                    encoded),
            0);
    ck_assert_str_eq(config->cluster_info, wanted);
    kube_config_destroy(config);
    free(wanted);
    free(encoded);
    config = load(WITH("    insecure-skip-tls-verify: true\n", EXEC("      provideClusterInfo: true\n")));
    ck_assert_str_eq(config->cluster_info, "{\"server\":\"https://h:6443\",\"insecure-skip-tls-verify\":true}");
    kube_config_destroy(config);
}
END_TEST

START_TEST(more_than_a_plugin_can_be_told_is_refused) {
    size_t len = KUBE_CLUSTER_INFO_MAX;
    char *text, *value = malloc(len + 1);
    memset(value, 'x', len);
    value[len] = '\0';
    ck_assert_int_gt(
            asprintf(&text,
                    WITH("    extensions:\n    - name: client.authentication.k8s.io/exec\n      extension: %s\n",
                            EXEC("      provideClusterInfo: true\n")),
                    value),
            0);
    refuse(text, "cluster 'k': more than an exec plugin with provideClusterInfo can be told (100 kB)");
    free(text);
    free(value);
}
END_TEST

START_TEST(a_token_wins_over_a_plugin_as_in_kubectl) {
    struct kube_config *config = load(WITH("", "    token: t\n" EXEC("")));
    ck_assert_str_eq(config->token, "t");
    ck_assert_ptr_null(config->exec);
    kube_config_destroy(config);
}
END_TEST

/* ---- Several files ---- */

#define FILE_A \
    "current-context: a\nclusters:\n- {name: k, cluster: {server: 'https://first'}}\n" \
    "contexts:\n- {name: a, context: {cluster: k, user: u}}\n"
#define FILE_B \
    "current-context: b\nclusters:\n- {name: k, cluster: {server: 'https://second', tls-server-name: second}}\n" \
    "- {name: only-b, cluster: {server: 'https://b', certificate-authority: ca.crt}}\n" \
    "contexts:\n- {name: a, context: {cluster: only-b}}\n- {name: b, context: {cluster: only-b, user: u}}\n" \
    "users:\n- {name: u, user: {token: from-b}}\n"

START_TEST(the_first_file_to_set_something_wins) {
    char list[512];
    make_folder("a");
    make_folder("b");
    put("b/ca.crt", cert_pem);
    snprintf(list, sizeof list, ":%s:%s:%s:%s:", put("a/config", FILE_A), in_folder("missing"), put("b/config", FILE_B),
            in_folder("a/config"));
    setenv("KUBECONFIG", list, 1);
    struct kube_config *config = load_found(NULL);
    ck_assert_str_eq(config->context, "a");
    ck_assert_str_eq(config->server, "https://first");
    ck_assert_ptr_null(config->tls_server_name);
    ck_assert_str_eq(config->token, "from-b");
    kube_config_destroy(config);
    config = load_found("b");
    ck_assert_str_eq(config->server, "https://b");
    ck_assert_str_eq(config->ca_file, in_folder("b/ca.crt"));
    kube_config_destroy(config);
    snprintf(list, sizeof list, "%s:%s", in_folder("b/config"), in_folder("a/config"));
    setenv("KUBECONFIG", list, 1);
    config = load_found("a");
    ck_assert_str_eq(config->server, "https://b");
    kube_config_destroy(config);
}
END_TEST

START_TEST(the_option_wins_over_the_environment) {
    setenv("KUBECONFIG", put("env", FILE_A), 1);
    struct kube_config *config = load(WITH("", "    token: t\n"));
    ck_assert_str_eq(config->server, "https://h:6443");
    kube_config_destroy(config);
}
END_TEST

START_TEST(without_options_the_home_folder_counts) {
    make_folder(".kube");
    put(".kube/config", WITH("", "    token: at-home\n"));
    struct kube_config *config = load_found(NULL);
    ck_assert_str_eq(config->token, "at-home");
    kube_config_destroy(config);
    setenv("KUBECONFIG", put("empty", "\n"), 1);
    refuse_found(NULL, "has a configuration");
    unsetenv("KUBECONFIG");
    unsetenv("HOME");
    refuse_found(NULL, "~/.kube/config is missing or empty");
}
END_TEST

START_TEST(a_kubeconfig_may_come_through_a_pipe) {
    int fds[2];
    char path[32];
    const char *text = WITH("", "    token: piped\n");
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(write(fds[1], text, strlen(text)), (ssize_t)strlen(text));
    close(fds[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", fds[0]);
    struct kube_config *config = load_with(&(struct kubeconfig_options){.kubeconfig = path});
    ck_assert_str_eq(config->token, "piped");
    kube_config_destroy(config);
    close(fds[0]);
}
END_TEST

START_TEST(a_relative_kubeconfig_works) {
    char before[256];
    put("config", WITH("", "    tokenFile: token\n"));
    put("token", "t");
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(folder), 0);
    struct kube_config *config = load_with(&(struct kubeconfig_options){.kubeconfig = "config"});
    ck_assert_str_eq(config->token_file, "token");
    kube_config_destroy(config);
    ck_assert_int_eq(chdir(before), 0);
}
END_TEST

START_TEST(too_many_files_are_refused) {
    char list[KUBECONFIG_FILES_MAX * 64 + 256] = "";
    for (int i = 0; i <= KUBECONFIG_FILES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        size_t len = strlen(list);
        snprintf(list + len, sizeof list - len, "%s:", put(name, FILE_A));
    }
    setenv("KUBECONFIG", list, 1);
    refuse_found(NULL, "KUBECONFIG names more than 64 files");
}
END_TEST

/* ---- In a Pod ---- */

static void be_in_pod(const char *host) {
    make_folder("sa");
    put("sa/token", "pod-token");
    put("sa/ca.crt", cert_pem);
    put("sa/namespace", "pod-ns\n");
    setenv("KUBERNETES_SERVICE_HOST", host, 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
}

START_TEST(in_a_pod_the_service_account_serves) {
    be_in_pod("10.0.0.1");
    struct kube_config *config = load_found(NULL);
    ck_assert(config->in_cluster);
    ck_assert_str_eq(config->server, "https://10.0.0.1:443");
    ck_assert_str_eq(config->context, "in-cluster");
    ck_assert_str_eq(config->namespace, "pod-ns");
    ck_assert_str_eq(config->token_file, in_folder("sa/token"));
    ck_assert_str_eq(config->ca_file, in_folder("sa/ca.crt"));
    kube_config_destroy(config);
    put("sa/namespace", "");
    config = load_found(NULL);
    ck_assert_ptr_null(config->namespace);
    kube_config_destroy(config);
    unlink(in_folder("sa/namespace"));
    config = load_found(NULL);
    ck_assert_ptr_null(config->namespace);
    kube_config_destroy(config);
}
END_TEST

START_TEST(an_ipv6_cluster_gets_its_brackets) {
    be_in_pod("fd00::1");
    struct kube_config *config = load_found(NULL);
    ck_assert_str_eq(config->server, "https://[fd00::1]:443");
    kube_config_destroy(config);
    setenv("KUBERNETES_SERVICE_HOST", "[fd00::2]", 1);
    config = load_found(NULL);
    ck_assert_str_eq(config->server, "https://[fd00::2]:443");
    kube_config_destroy(config);
}
END_TEST

START_TEST(a_kubeconfig_wins_over_the_pod) {
    be_in_pod("10.0.0.1");
    make_folder(".kube");
    put(".kube/config", WITH("", "    token: t\n"));
    struct kube_config *config = load_found(NULL);
    ck_assert(!config->in_cluster);
    kube_config_destroy(config);
    put(".kube/config",
            "apiVersion: v1\nkind: Config\nclusters: null\nusers: []\ncontexts: []\ncurrent-context: \"\"\n");
    config = load_found(NULL);
    ck_assert(config->in_cluster);
    kube_config_destroy(config);
    /* But what was asked for and is empty is an error. */
    refuse(" ", "current-context is not set, and no --context was given; contexts there: none");
}
END_TEST

START_TEST(a_broken_service_account_is_told) {
    be_in_pod("10.0.0.1");
    refuse_found("c", "--context was given, but there is no kubeconfig");
    put("sa/ca.crt", "rubbish");
    refuse_found(NULL, "/sa/ca.crt: no certificate in PEM form");
    unlink(in_folder("sa/token"));
    refuse_found(NULL, "/sa/token: cannot be read: No such file");
    setenv("KUBERNETES_SERVICE_HOST", "a b", 1);
    refuse_found(NULL, "in-cluster: server 'https://a b:443' has a character");
    setenv("KUBERNETES_SERVICE_HOST", "a", 1);
    setenv("KUBERNETES_SERVICE_PORT", "99999", 1);
    refuse_found(NULL, "has no valid port");
    refuse_with(&(struct kubeconfig_options){0}, "has no valid port");
}
END_TEST

START_TEST(nothing_at_all_says_where_was_looked) {
    refuse_found(NULL, "no API server to talk to: KUBECONFIG is not set, ~/.kube/config is missing or empty, and this "
                       "is not a Pod");
    setenv("KUBECONFIG", "/nowhere/\x1b[31mconfig", 1);
    refuse_found(NULL, "no file of KUBECONFIG='/nowhere/\\x1b[31mconfig' has a configuration");
}
END_TEST

/* ---- Certificates ---- */

static int64_t fake_wall;

static int64_t read_fake_wall(void) {
    return fake_wall;
}

START_TEST(an_expired_client_certificate_is_told_with_its_date) {
    static const struct clock_source source = {read_fake_wall, read_fake_wall};
    const char *path = put("config", WITH("", "    client-certificate: c.crt\n    client-key: c.key\n"));
    char wanted[256];
    put("c.crt", cert_pem);
    put("c.key", key_pem);
    clock_use(&source);
    fake_wall = 4949181253000; /* 2126-11-01T04:47:33Z */
    snprintf(wanted, sizeof wanted, "%s: user 'u': the client certificate expired on 2126-10-28T04:47:33Z", path);
    refuse_with(&(struct kubeconfig_options){.kubeconfig = path}, wanted);
    fake_wall = 0;
    kube_config_destroy(load_with(&(struct kubeconfig_options){.kubeconfig = path}));
}
END_TEST

START_TEST(certificates_that_cannot_serve_are_refused) {
    put("c.crt", cert_pem);
    put("c.key", key_pem);
    put("other.key", other_key_pem);
    put("locked.key", locked_key_pem);
    put("rubbish", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    put_bytes("nul", "a\0b", 3);
    refuse(WITH("", "    client-certificate: c.crt\n    client-key: other.key\n"),
            "user 'u': client-key: the private key is not that of the certificate");
    refuse(WITH("", "    client-certificate: c.crt\n    client-key: locked.key\n"),
            "client-key: the private key has a pass phrase");
    refuse(WITH("", "    client-certificate: c.crt\n    client-key: c.crt\n"),
            "client-key: no private key in PEM form");
    refuse(WITH("", "    client-certificate: rubbish\n    client-key: c.key\n"),
            "client-certificate: no certificate in PEM form");
    refuse(WITH("", "    client-certificate: nul\n    client-key: c.key\n"), "/nul: is not a text");
    refuse(WITH("", "    client-certificate: c.crt\n"), "client-certificate is there, but no client-key");
    refuse(WITH("", "    client-key: c.key\n"), "client-key is there, but no client-certificate");
    refuse(WITH("", "    client-certificate: no.crt\n    client-key: c.key\n"),
            "/no.crt: cannot be read: No such file");
    refuse(WITH("    certificate-authority: c.key\n", ""),
            "cluster 'k': certificate-authority: no certificate in PEM form");
    refuse(WITH("    certificate-authority: .\n", ""), "/.: is not a regular file");
    refuse(WITH("    certificate-authority: c.crt\n    insecure-skip-tls-verify: true\n", ""), "exclude each other");
    char *text = with_data("certificate-authority-data", "no PEM", true);
    refuse(text, "cluster 'k': certificate-authority-data: no certificate in PEM form");
    free(text);
    text = with_data("client-certificate-data", cert_pem, false);
    refuse(text, "client-certificate is there, but no client-key");
    free(text);
}
END_TEST

START_TEST(a_fifo_is_refused_and_not_waited_for) {
    ck_assert_int_eq(mkfifo(in_folder("fifo"), 0600), 0);
    refuse(WITH("", "    tokenFile: fifo\n"), "user 'u': tokenFile: ");
    refuse(WITH("", "    tokenFile: fifo\n"), "/fifo: is not a regular file");
}
END_TEST

START_TEST(base64_is_read_strictly) {
    static const struct {
        const char *text, *data; /* NULL: refused */
    } cases[] = {{"", ""}, {"aGFsbG8=", "hallo"}, {"aGFs\nbG8=\n", "hallo"}, {" aGFsbG8g ", "hallo "}, {"aA==", "h"},
            {"aGFsbG8", NULL}, {"aGFs=bG8", NULL}, {"a===", NULL}, {"====", NULL}, {"aGF*", NULL}, {"aGF-bG8_", NULL},
            {"aGFs\xc3\xa9===", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *data = NULL;
        size_t len = 99;
        int result = base64_decode(cases[i].text, &data, &len, NULL);
        ck_assert_msg((result == 0) == (cases[i].data != NULL), "'%s'", cases[i].text);
        if (cases[i].data) {
            ck_assert_str_eq(data, cases[i].data);
            ck_assert_uint_eq(len, strlen(cases[i].data));
        } else {
            ck_assert_ptr_null(data);
        }
        free(data);
    }
    char *text = base64_encode("", 0);
    ck_assert_str_eq(text, "");
    free(text);
}
END_TEST

START_TEST(a_certificate_tells_when_it_ends) {
    int64_t ms = 0;
    ck_assert_int_eq(pem_not_after(cert_pem, &ms, NULL), 0);
    ck_assert_int_eq(ms, 4948836453000);
    ck_assert_int_lt(pem_check_pair("", key_pem, NULL), 0);
}
END_TEST

/* ---- What is refused ---- */

static const struct {
    const char *text, *reason;
} bad[] = {
        /* not a kubeconfig at all */
        {"<html><body>Bad gateway</body></html>\n", "not a kubeconfig"},
        {"just a text", "not a kubeconfig"},
        {"[]", "not a kubeconfig"},
        {"kind: Pod\n", "kind is 'Pod', not Config"},
        {"apiVersion: v2\n", "apiVersion is 'v2', not v1"},
        {"kind: \"a\\u001b[31mb\"\n", "kind is 'a\\x1b[31mb', not Config"},
        {"\x7f"
         "ELF\x02\x01\x01",
                "not YAML: control characters are not allowed"},
        {"a: b: c\n", ":1: not YAML: mapping values are not allowed"},
        {"a: 1\nb: [1, 2\n", "not YAML: "},
        {"{\"a\": 1,", "not YAML: "},
        {"a: \xff\xfe\n", "not YAML: invalid"},
        {"a: *nobody\n", "YAML aliases are not supported"},
        {"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", ":2: YAML aliases are not supported"},
        {"? [a]\n: b\n", "a key that is not a text"},
        {"a: \"x\\0y\"\n", ":1: a NUL character"},
        {"a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "nested too deep"},
        /* wrong types */
        {"clusters: {}\n" CONTEXT, "clusters must be a list, not a map (line 1)"},
        {"users: text\n" CONTEXT, "there is no cluster 'k'"},
        {WITH("", "") "contexts: []\n", "contexts is there twice, on lines 5 and 14"},
        {"current-context: [c]\n", "current-context must be text, not a list (line 1)"},
        {"current-context: c\ncontexts:\n- text\n", "contexts[0]: must be a map (line 3)"},
        {"current-context: c\ncontexts:\n- {name: x}\n- {context: {}}\n", "contexts[1]: has no name (line 4)"},
        {"current-context: c\ncontexts:\n- {name: {}}\n", "contexts[0]: name must be text, not a map"},
        {"current-context: c\ncontexts:\n- {name: c, context: []}\n", "contexts[0]: context must be a map, not a list"},
        {WITH("    insecure-skip-tls-verify: 'true'\n", ""),
                "insecure-skip-tls-verify must be true or false (line 10)"},
        {WITH("    insecure-skip-tls-verify: maybe\n", ""), "insecure-skip-tls-verify must be true or false"},
        {WITH("    insecure-skip-tls-verify: []\n", ""), "insecure-skip-tls-verify must be text, not a list"},
        {WITH("    certificate-authority: []\n", ""), "cluster 'k': certificate-authority must be text, not a list"},
        {WITH("    certificate-authority-data: []\n", ""), "certificate-authority-data must be text"},
        {WITH("    tls-server-name: \"a\\r\\nb\"\n", ""), "tls-server-name has a control character"},
        {WITH("    tls-server-name: {}\n", ""), "tls-server-name must be text"},
        {WITH("", "    token: {}\n"), "user 'u': token must be text, not a map (line 14)"},
        {WITH("", "    token: a\n    token: b\n"), "user 'u': token is there twice, on lines 14 and 15"},
        {WITH("", "    tokenFile: []\n"), "tokenFile must be text"},
        {WITH("", "    username: []\n"), "username must be text"},
        /* what is missing */
        {"contexts: [{name: a}, {name: b}]\n",
                "current-context is not set, and no --context was given; contexts there: 'a', 'b'"},
        {"current-context: \"x\\ty\"\ncontexts: [{name: 1}, {name: 2}, {name: 3}, {name: 4}, {name: 5}, {name: 6}, "
         "{name: 7}, {name: 8}, {name: 9}]\n",
                "there is no context 'x\\ty'; contexts there: '1', '2', '3', '4', '5', '6', '7', '8', ..."},
        {"current-context: c\ncontexts: [{name: c}]\n", "context 'c': cluster is missing"},
        {"current-context: c\ncontexts: [{name: c}, {name: c}]\n", "contexts[1]: the name 'c' is there twice"},
        {CONTEXT, "context 'c': there is no cluster 'k'"},
        {CONTEXT "clusters: [{name: k, cluster: {server: 'https://h'}}]\n", "context 'c': there is no user 'u'"},
        {CONTEXT "clusters: [{name: k}]\n", "cluster 'k': server is missing"},
        {"current-context: c\ncontexts: [{name: c, context: {namespace: 'a/b', cluster: k}}]\n",
                "'a/b' cannot be a namespace's name"},
        {"current-context: c\ncontexts: [{name: c, context: {namespace: []}}]\n", "namespace must be text"},
        {"current-context: c\ncontexts: [{name: c, context: {cluster: []}}]\n", "cluster must be text"},
        {"current-context: c\ncontexts: [{name: c, context: {cluster: k, user: []}}]\n", "user must be text"},
        /* ways to log in */
        {WITH("", "    client-certificate-data: '!'\n    client-key-data: AAAA\n"),
                "client-certificate-data: not base64"},
        {WITH("", "    client-certificate-data: AAAA\n    client-key-data: AAAA\n"),
                "client-certificate-data: not PEM"},
        {WITH("", "    client-certificate-data: aGFs\n    client-key-data: aGF\n"),
                "client-key-data: not base64: cut short"},
        {WITH("", "    client-certificate-data: aGFs\n    client-key-data: aGFs\n"),
                "client-certificate-data: no certificate"},
        {WITH("", "    token: \"a\\nb\"\n"), "token has a control character"},
        {WITH("", "    tokenFile: missing\n"), "/missing: cannot be read: No such file"},
        {WITH("", "    password: p\n"), "password is there, but no username"},
        {WITH("", "    username: 'a:b'\n"), "username cannot have a colon"},
        {WITH("", "    username: a\n    token: b\n"), "username and a token exclude each other"},
        {WITH("", "    as: admin\n"), "user 'u': impersonation (as) is not supported"},
        {WITH("", "    as-groups: [admin]\n"), "impersonation (as-groups) is not supported"},
        {WITH("", "    auth-provider: {name: gcp}\n"), "auth-provider was removed from Kubernetes in 1.26"},
        /* plugins */
        {WITH("", "    exec: aws\n"), "user 'u': exec must be a map, not text"},
        {WITH("", "    exec: {}\n"), "user 'u': exec: apiVersion is missing"},
        {WITH("", "    exec: {apiVersion: client.authentication.k8s.io/v1alpha1}\n"),
                "apiVersion v1alpha1 was removed from Kubernetes in 1.24"},
        {WITH("", "    exec: {apiVersion: v1}\n"),
                "apiVersion 'v1' is neither client.authentication.k8s.io/v1 nor v1beta1"},
        {WITH("", "    exec: {apiVersion: client.authentication.k8s.io/v1}\n"), "exec: command is missing"},
        {WITH("", "    exec: {apiVersion: client.authentication.k8s.io/v1, command: []}\n"),
                "exec: command must be text"},
        {WITH("", EXEC("      args: text\n")), "exec: args must be a list, not text"},
        {WITH("", EXEC("      args: [[]]\n")), "exec: args must be texts (line"},
        {WITH("", EXEC("      env: {A: b}\n")), "exec: env must be a list"},
        {WITH("", EXEC("      env: [A]\n")), "exec: env must be maps of name and value"},
        {WITH("", EXEC("      env: [{value: b}]\n")), "exec: env has no valid name on line"},
        {WITH("", EXEC("      env: [{name: a=b}]\n")), "exec: env has no valid name on line"},
        {WITH("", EXEC("      env: [{name: a, value: []}]\n")), "exec: value must be text"},
        {WITH("", EXEC("      installHint: []\n")), "exec: installHint must be text"},
        {WITH("", EXEC("      provideClusterInfo: 1\n")), "exec: provideClusterInfo must be true or false"},
        {WITH("", EXEC("      interactiveMode: Never\n")), "exec: interactiveMode is there twice"},
        {WITH("", "    exec: {apiVersion: client.authentication.k8s.io/v1, command: a, interactiveMode: Always}\n"),
                "the plugin gets no terminal"},
        {WITH("", "    exec: {apiVersion: client.authentication.k8s.io/v1, command: a, interactiveMode: Often}\n"),
                "interactiveMode 'Often' is unknown"},
        {WITH("    extensions: x\n", EXEC("      provideClusterInfo: true\n")),
                "cluster 'k': extensions must be a list"},
        {WITH("    extensions: [x]\n", EXEC("      provideClusterInfo: true\n")), "extensions must be maps"},
        {WITH("    extensions: [{name: []}]\n", EXEC("      provideClusterInfo: true\n")), "name must be text"},
        /* proxies; never with the password in the error */
        {WITH("    proxy-url: ftp://h\n", ""), "cluster 'k': proxy-url is a URL of a kind that is not supported"},
        {WITH("    proxy-url: h:3128\n", ""), "proxy-url is not a URL"},
};

START_TEST(what_cannot_be_used_is_refused_with_file_and_key) {
    refuse(bad[_i].text, bad[_i].reason);
}
END_TEST

static const struct {
    const char *server, *reason; /* NULL: good */
} servers[] = {{"https://h", NULL}, {"https://h/", NULL}, {"http://h:1/a/b", NULL}, {"https://[::1]", NULL},
        {"https://[fe80::1]:65535/", NULL}, {"h:6443", "is not a URL"}, {"ftp://h", "of a kind that is not supported"},
        {"https://", "names no host"}, {"https:///path", "names no host"}, {"https://:443", "names no host"},
        {"https://u:p@h", "must not have a user name"}, {"https://h:0", "no valid port"},
        {"https://h:", "no valid port"}, {"https://h:65536", "no valid port"}, {"https://h:12x", "no valid port"},
        {"https://h:123456", "no valid port"}, {"https://[::1", "IPv6"}, {"https://[]", "IPv6"},
        {"https://[::1]x", "no valid port"}, {"https://[h]", "IPv6"}, {"https://h?q=1", "has a character"},
        {"https://h#f", "has a character"}, {"https://a b", "has a character"},
        {"https://h/\xc3\xa9", "has a character"}, {"file:///etc/passwd", "of a kind that is not supported"}};

START_TEST(servers_are_http_urls) {
    char *text;
    ck_assert_int_gt(asprintf(&text,
                             "current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n"
                             "clusters: [{name: k, cluster: {server: '%s'}}]\n",
                             servers[_i].server),
            0);
    if (servers[_i].reason)
        refuse(text, servers[_i].reason);
    else
        kube_config_destroy(load(text));
    free(text);
}
END_TEST

START_TEST(files_that_cannot_be_read_are_named) {
    refuse_with(
            &(struct kubeconfig_options){.kubeconfig = in_folder("missing")}, "/missing: cannot be read: No such file");
    refuse_with(&(struct kubeconfig_options){.kubeconfig = folder}, ": cannot be read: Is a directory");
    setenv("KUBECONFIG", folder, 1);
    refuse_found(NULL, ": cannot be read: Is a directory");
    const char *path = put("locked", WITH("", ""));
    chmod(path, 0);
    if (access(path, R_OK) < 0) /* root reads all */
        refuse_with(&(struct kubeconfig_options){.kubeconfig = path}, "/locked: cannot be read: Permission denied");
    refuse_with(&(struct kubeconfig_options){.kubeconfig = put("good", WITH("", "")), .context = "other"},
            "/good: there is no context 'other'; contexts there: 'c'");
}
END_TEST

START_TEST(huge_files_are_refused) {
    char *text = malloc(KUBECONFIG_MAX + 2);
    memset(text, ' ', KUBECONFIG_MAX + 1);
    text[KUBECONFIG_MAX + 1] = '\0';
    refuse(text, "larger than 1024 kB");
    struct kube_config *config;
    struct error err;
    ck_assert_int_lt(kubeconfig_parse(text, KUBECONFIG_MAX + 1, "memory", NULL, &config, &err), 0);
    ck_assert_str_eq(err.text, "memory: larger than 1024 kB");
    text[0] = '[';
    for (size_t i = 1; i < KUBECONFIG_MAX; i += 2)
        memcpy(text + i, "a,", 2);
    text[KUBECONFIG_MAX] = '\0';
    refuse(text, "too many values");
    free(text);
}
END_TEST

START_TEST(errors_may_be_of_no_interest) {
    struct kube_config *config = NULL;
    ck_assert_int_lt(kubeconfig_load(&(struct kubeconfig_options){.kubeconfig = "/"}, &config, NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_int_lt(kubeconfig_parse(bad[i].text, strlen(bad[i].text), "x", NULL, &config, NULL), 0);
    kube_config_destroy(NULL);
}
END_TEST

START_TEST(control_characters_in_names_are_shown_escaped) {
    refuse("current-context: \"c\\u202e\\n\"\ncontexts: [{name: \"c\\u202e\\n\", context: {cluster: \"\\e[2J\"}}]\n",
            "context 'c\\u202e\\n': there is no cluster '\\x1b[2J'");
}
END_TEST

Suite *suite_kubeconfig(void) {
    Suite *suite = suite_create("kubeconfig");
    TCase *tcase = tcase_create("kubeconfig");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, minikube_like_files_load);
    tcase_add_test(tcase, json_kubeconfigs_load);
    tcase_add_test(tcase, data_in_the_file_wins_over_files_beside_it);
    tcase_add_test(tcase, token_file_wins_over_token);
    tcase_add_test(tcase, user_name_and_password_are_taken);
    tcase_add_test(tcase, a_context_without_user_is_anonymous);
    tcase_add_test(tcase, an_unused_user_entry_may_be_empty);
    tcase_add_test(tcase, a_socks_proxy_resolves_names_as_with_kubectl);
    tcase_add_test(tcase, the_second_yaml_document_is_not_read);
    tcase_add_test(tcase, anchors_that_nobody_uses_do_no_harm);
    tcase_add_test(tcase, eks_like_plugins_load);
    tcase_add_test(tcase, plugins_without_arguments_load);
    tcase_add_test(tcase, a_plugin_beside_the_kubeconfig_is_found);
    tcase_add_test(tcase, a_plugin_is_told_of_the_cluster_when_it_asks);
    tcase_add_test(tcase, more_than_a_plugin_can_be_told_is_refused);
    tcase_add_test(tcase, a_token_wins_over_a_plugin_as_in_kubectl);
    tcase_add_test(tcase, the_first_file_to_set_something_wins);
    tcase_add_test(tcase, the_option_wins_over_the_environment);
    tcase_add_test(tcase, without_options_the_home_folder_counts);
    tcase_add_test(tcase, a_kubeconfig_may_come_through_a_pipe);
    tcase_add_test(tcase, a_relative_kubeconfig_works);
    tcase_add_test(tcase, too_many_files_are_refused);
    tcase_add_test(tcase, in_a_pod_the_service_account_serves);
    tcase_add_test(tcase, an_ipv6_cluster_gets_its_brackets);
    tcase_add_test(tcase, a_kubeconfig_wins_over_the_pod);
    tcase_add_test(tcase, a_broken_service_account_is_told);
    tcase_add_test(tcase, nothing_at_all_says_where_was_looked);
    tcase_add_test(tcase, an_expired_client_certificate_is_told_with_its_date);
    tcase_add_test(tcase, certificates_that_cannot_serve_are_refused);
    tcase_add_test(tcase, a_fifo_is_refused_and_not_waited_for);
    tcase_add_test(tcase, base64_is_read_strictly);
    tcase_add_test(tcase, a_certificate_tells_when_it_ends);
    tcase_add_loop_test(tcase, what_cannot_be_used_is_refused_with_file_and_key, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_loop_test(tcase, servers_are_http_urls, 0, (int)(sizeof servers / sizeof *servers));
    tcase_add_test(tcase, files_that_cannot_be_read_are_named);
    tcase_add_test(tcase, huge_files_are_refused);
    tcase_add_test(tcase, errors_may_be_of_no_interest);
    tcase_add_test(tcase, control_characters_in_names_are_shown_escaped);
    suite_add_tcase(suite, tcase);
    return suite;
}
