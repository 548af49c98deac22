#include "kube/plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "kube/pem.h"

#define AUTHORIZATION_MAX (EXEC_OUTPUT_MAX + 16)
#define EXEC_INFO_MAX (KUBE_CLUSTER_INFO_MAX + 1024)
#define EXEC_INFO "KUBERNETES_EXEC_INFO"
#define STDERR_KEPT 1024 /* its last line is what an error shows */
#define STDERR_SHOWN 200
#define HINT_SHOWN 300
#define COMMAND_SHOWN 100
#define READ_CHUNK 4096
#define DRAIN_MAX 64 /* chunks: more than a pipe holds; a helper left behind by the plugin may write on for ever */

struct plugin {
    const struct kube_config *config;
    void (*ended)(void *arg, struct login *login, const struct error *err);
    void *arg;
    int64_t timeout_ms;
    pid_t pid; /* 0: not started */
    int out_fd, err_fd;
    struct loop_reader *out_reader, *err_reader;
    struct loop_child *child;
    struct loop_timer *timer;
    struct strbuf out;
    char last_words[STDERR_KEPT]; /* the end of what it wrote to standard error */
    size_t last_words_len;
};

/* ---- The login ---- */

void login_finish(struct login *login) {
    kube_secret_free(login->authorization);
    free(login->cert_pem);
    kube_secret_free(login->key_pem);
    *login = (struct login)LOGIN_INIT;
}

int login_make_bearer(const char *token, char **ret, struct error *err) {
    token += strspn(token, " \t\r\n");
    size_t len = strlen(token);
    while (len && strchr(" \t\r\n", token[len - 1]))
        len--;
    if (len == 0)
        return error_set(err, ERROR_USAGE, "the token is empty");
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)token[i] <= 0x20 || token[i] == 0x7f)
            return error_set(err, ERROR_USAGE, "the token has a space or a control character in it");
    }
    struct strbuf text = STRBUF_INIT(AUTHORIZATION_MAX);
    strbuf_add_text(&text, "Bearer ");
    strbuf_add(&text, token, len);
    char *result = strbuf_take(&text);
    strbuf_finish(&text);
    if (!result)
        return error_nomem(err);
    *ret = result;
    return 0;
}

/* ---- What a plugin prints ---- */

/* Cut, escaped, and with any run of white space as one space. Returns buf. */
static const char *one_line(char *buf, size_t size, const char *text, size_t max) {
    struct strbuf flat = STRBUF_INIT(EXEC_OUTPUT_MAX), escaped = STRBUF_INIT(EXEC_OUTPUT_MAX);
    for (text += strspn(text, " \t\r\n"); *text;) {
        size_t n = strcspn(text, " \t\r\n");
        strbuf_add(&flat, text, n);
        text += n;
        text += strspn(text, " \t\r\n");
        if (*text)
            strbuf_add_char(&flat, ' ');
    }
    text_add_escaped(&escaped, strbuf_text(&flat), max);
    snprintf(buf, size, "%s", strbuf_failed(&flat) || strbuf_failed(&escaped) ? "?" : strbuf_text(&escaped));
    strbuf_finish(&flat);
    strbuf_finish(&escaped);
    return buf;
}

/* Borrowed from the JSON; NULL when it is missing, null or empty. */
static int get_text(json_t *map, const char *key, const char **ret, struct error *err) {
    json_t *value = json_object_get(map, key);
    if (value && !json_is_null(value) && !json_is_string(value))
        return error_set(err, ERROR_USAGE, "answered with a %s that is not a text", key);
    const char *text = json_string_value(value);
    *ret = text && *text ? text : NULL;
    return 0;
}

static int take_client_cert(json_t *status, struct login *login, struct error *err) {
    const char *cert = NULL, *key = NULL;
    int64_t not_after;
    if (get_text(status, "clientCertificateData", &cert, err) < 0 || get_text(status, "clientKeyData", &key, err) < 0)
        return -1;
    if (!cert != !key)
        return error_set(err, ERROR_USAGE, "answered with only one of clientCertificateData and clientKeyData");
    if (!cert)
        return 0;
    if (pem_not_after(cert, &not_after, err) < 0 || pem_check_pair(cert, key, err) < 0) {
        if (err && err->kind == ERROR_FORMAT)
            err->kind = ERROR_USAGE;
        return error_context(err, "answered with clientCertificateData and clientKeyData that do not serve");
    }
    login->cert_pem = strdup(cert);
    login->key_pem = strdup(key);
    if (!login->cert_pem || !login->key_pem)
        return error_nomem(err);
    if (login->expires_ms == TIME_NONE || not_after < login->expires_ms)
        login->expires_ms = not_after;
    return 0;
}

static int take_expiry(json_t *status, struct login *login, struct error *err) {
    const char *expires = NULL;
    if (get_text(status, "expirationTimestamp", &expires, err) < 0)
        return -1;
    if (expires && timestamp_parse(expires, &login->expires_ms, NULL) < 0)
        return error_set(err, ERROR_USAGE, "answered with an expirationTimestamp that is not an RFC 3339 time");
    return 0;
}

static int take_status(json_t *status, struct login *login, struct error *err) {
    const char *token = NULL;
    char when[TIMESTAMP_TEXT_MAX];
    if (!json_is_object(status))
        return error_set(err, ERROR_USAGE, "answered without a status");
    if (get_text(status, "token", &token, err) < 0 || take_expiry(status, login, err) < 0 ||
            take_client_cert(status, login, err) < 0)
        return -1;
    if (token && login_make_bearer(token, &login->authorization, err) < 0)
        return -1;
    if (!token && !login->cert_pem)
        return error_set(err, ERROR_USAGE, "answered with neither a token nor a client certificate");
    if (login->expires_ms != TIME_NONE && login->expires_ms <= clock_wall_ms())
        return error_set(err, ERROR_USAGE,
                "answered with credentials that expired on %s (is this machine's clock right?)",
                timestamp_format(login->expires_ms, when));
    return 0;
}

static int take_credential(json_t *root, const char *api_version, struct login *login, struct error *err) {
    const char *kind = NULL, *version = NULL;
    char shown[64 * 6];
    if (!json_is_object(root))
        return error_set(err, ERROR_USAGE, "printed JSON that is not an ExecCredential");
    if (get_text(root, "kind", &kind, err) < 0 || get_text(root, "apiVersion", &version, err) < 0)
        return -1;
    if (!kind || strcmp(kind, "ExecCredential") != 0)
        return error_set(err, ERROR_USAGE, "answered with kind '%s', not ExecCredential",
                one_line(shown, sizeof shown, kind ? kind : "", 60));
    if (!version || strcmp(version, api_version) != 0)
        return error_set(err, ERROR_USAGE, "answered with apiVersion '%s', but the kubeconfig says %s",
                one_line(shown, sizeof shown, version ? version : "", 60), api_version);
    return take_status(json_object_get(root, "status"), login, err);
}

/* The parser's own message quotes what it read, which may be a token. */
static int parse_credential(const struct strbuf *out, const char *api_version, struct login *login, struct error *err) {
    if (out->len == 0)
        return error_set(err, ERROR_USAGE, "printed nothing");
    struct error why = {0};
    int line = 0;
    json_t *root = json_read(out->data, out->len, JSON_REJECT_DUPLICATES, &line, &why);
    if (!root && why.kind == ERROR_NOMEM)
        return error_nomem(err);
    if (!root)
        return error_set(err, ERROR_USAGE, "printed what is not JSON (line %d)", line);
    int result = take_credential(root, api_version, login, err);
    json_decref(root);
    return result;
}

/* ---- Its end ---- */

/* Stops watching. The process, if still there, is reaped by the loop all the same. */
static void plugin_free(struct plugin *plugin) {
    loop_reader_destroy(plugin->out_reader);
    loop_reader_destroy(plugin->err_reader);
    loop_child_destroy(plugin->child);
    loop_timer_destroy(plugin->timer);
    if (plugin->out_fd >= 0)
        close(plugin->out_fd);
    if (plugin->err_fd >= 0)
        close(plugin->err_fd);
    if (plugin->out.data)
        explicit_bzero(plugin->out.data, plugin->out.len);
    strbuf_finish(&plugin->out);
    free(plugin);
}

void plugin_destroy(struct plugin *plugin) {
    if (!plugin)
        return;
    if (plugin->pid > 0)
        kill(-plugin->pid, SIGKILL);
    plugin_free(plugin);
}

static int plugin_context(const struct kube_config *config, struct error *err) {
    char name[COMMAND_SHOWN * 6];
    return error_context(err, "exec plugin '%s'", one_line(name, sizeof name, config->exec->command, COMMAND_SHOWN));
}

/* It failed while it ran. The plugin is dead afterwards. */
static void give_up(struct plugin *plugin, struct error *failure) {
    void (*ended)(void *, struct login *, const struct error *) = plugin->ended;
    void *arg = plugin->arg;
    plugin_context(plugin->config, failure);
    plugin_destroy(plugin);
    ended(arg, NULL, failure);
}

static void keep_last_words(struct plugin *plugin, const char *data, size_t len) {
    size_t room = sizeof plugin->last_words - 1;
    if (len > room) {
        data += len - room;
        len = room;
    }
    size_t keep = plugin->last_words_len < room - len ? plugin->last_words_len : room - len;
    memmove(plugin->last_words, plugin->last_words + plugin->last_words_len - keep, keep);
    memcpy(plugin->last_words + keep, data, len);
    plugin->last_words_len = keep + len;
    plugin->last_words[plugin->last_words_len] = '\0';
    for (size_t i = 0; i < plugin->last_words_len; i++) {
        if (plugin->last_words[i] == '\0')
            plugin->last_words[i] = ' ';
    }
}

/* One read. False at the end, and when there is nothing now. */
static bool read_out(struct plugin *plugin) {
    char chunk[READ_CHUNK];
    ssize_t n = read(plugin->out_fd, chunk, sizeof chunk);
    if (n > 0)
        strbuf_add(&plugin->out, chunk, (size_t)n);
    else if (n == 0) {
        loop_reader_destroy(plugin->out_reader);
        plugin->out_reader = NULL;
    }
    return n > 0;
}

static bool read_err(struct plugin *plugin) {
    char chunk[READ_CHUNK];
    ssize_t n = read(plugin->err_fd, chunk, sizeof chunk);
    if (n > 0)
        keep_last_words(plugin, chunk, (size_t)n);
    else if (n == 0) {
        loop_reader_destroy(plugin->err_reader);
        plugin->err_reader = NULL;
    }
    return n > 0;
}

static int check_output(const struct plugin *plugin, struct error *err) {
    if (!strbuf_failed(&plugin->out))
        return 0;
    if (plugin->out.len + READ_CHUNK <= EXEC_OUTPUT_MAX)
        return error_nomem(err);
    return error_set(err, ERROR_LIMIT, "printed more than %d kB", EXEC_OUTPUT_MAX / 1024);
}

/* How it ended, with the last line it wrote to standard error. */
static int check_status(struct plugin *plugin, int status, struct error *err) {
    char *text = plugin->last_words, shown[STDERR_SHOWN * 6 + 4];
    size_t len = plugin->last_words_len;
    while (len && strchr(" \t\r\n", text[len - 1]))
        text[--len] = '\0';
    char *line = strrchr(text, '\n');
    one_line(shown, sizeof shown, line ? line + 1 : text, STDERR_SHOWN);
    const char *colon = shown[0] ? ": " : "";
    if (WIFSIGNALED(status))
        return error_set(err, ERROR_USAGE, "was ended by signal %d%s%s", WTERMSIG(status), colon, shown);
    if (WEXITSTATUS(status) != 0)
        return error_set(err, ERROR_USAGE, "failed with exit code %d%s%s", WEXITSTATUS(status), colon, shown);
    return 0;
}

static void on_out(void *arg, int fd) {
    (void)fd;
    struct plugin *plugin = arg;
    struct error failure = {0};
    read_out(plugin);
    if (check_output(plugin, &failure) < 0)
        give_up(plugin, &failure);
}

static void on_err(void *arg, int fd) {
    (void)fd;
    read_err(arg);
}

static void on_timeout(void *arg) {
    struct plugin *plugin = arg;
    struct error failure = {0};
    error_set(&failure, ERROR_REMOTE, "did not end within %lld s", (long long)(plugin->timeout_ms + 999) / 1000);
    give_up(plugin, &failure);
}

static void on_ended(void *arg, int status) {
    struct plugin *plugin = arg;
    struct login login = LOGIN_INIT;
    struct error failure = {0};
    plugin->pid = 0;
    /* What it wrote is in the pipes by now. Their end need not come: what it left in the background may hold them. */
    for (int i = 0; i < DRAIN_MAX + EXEC_OUTPUT_MAX / READ_CHUNK && plugin->out_reader && read_out(plugin); i++)
        ;
    for (int i = 0; i < DRAIN_MAX && plugin->err_reader && read_err(plugin); i++)
        ;
    if (check_status(plugin, status, &failure) < 0 || check_output(plugin, &failure) < 0 ||
            parse_credential(&plugin->out, plugin->config->exec->api_version, &login, &failure) < 0) {
        login_finish(&login);
        give_up(plugin, &failure);
        return;
    }
    void (*ended)(void *, struct login *, const struct error *) = plugin->ended;
    void *ended_arg = plugin->arg;
    plugin_free(plugin);
    ended(ended_arg, &login, NULL);
}

/* ---- Starting a plugin ---- */

/* The text of KUBERNETES_EXEC_INFO, with the name. */
static char *make_exec_info(const struct kube_config *config) {
    struct strbuf text = STRBUF_INIT(EXEC_INFO_MAX);
    strbuf_add_text(&text, EXEC_INFO "={\"apiVersion\":");
    text_add_json(&text, config->exec->api_version);
    strbuf_add_text(&text, ",\"kind\":\"ExecCredential\",\"spec\":{");
    if (config->cluster_info)
        strbuf_add_format(&text, "\"cluster\":%s,", config->cluster_info);
    strbuf_add_text(&text, "\"interactive\":false}}");
    char *result = strbuf_take(&text);
    strbuf_finish(&text);
    return result;
}

static bool names_same(const char *a, const char *b) {
    size_t n = strcspn(a, "=");
    return n == strcspn(b, "=") && strncmp(a, b, n) == 0;
}

static size_t count_texts(char *const *texts) {
    size_t n = 0;
    while (texts && texts[n])
        n++;
    return n;
}

/* Sets the variable in place of one of the same name, or at the end, for which there is room. */
static void put_env(char **env, size_t *count, char *variable) {
    for (size_t i = 0; i < *count; i++) {
        if (names_same(env[i], variable)) {
            env[i] = variable;
            return;
        }
    }
    env[(*count)++] = variable;
}

/* Ours, then the kubeconfig's, then info; later ones replace earlier ones. The texts are borrowed. NULL: no memory. */
static char **make_env(const struct kube_exec *exec, char *info) {
    size_t ours = count_texts(environ), theirs = count_texts(exec->env), count = ours;
    char **env = calloc(ours + theirs + 2, sizeof *env);
    if (!env)
        return NULL;
    if (ours)
        memcpy(env, environ, ours * sizeof *env);
    for (size_t i = 0; i < theirs; i++)
        put_env(env, &count, exec->env[i]);
    put_env(env, &count, info);
    return env;
}

static char **make_argv(const struct kube_exec *exec) {
    size_t count = count_texts(exec->args);
    char **argv = calloc(count + 2, sizeof *argv);
    if (!argv)
        return NULL;
    argv[0] = exec->command;
    if (count)
        memcpy(argv + 1, exec->args, count * sizeof *argv);
    return argv;
}

/* Its own group, so that all of it can be killed; signals as a fresh process has them, for we ignore SIGPIPE. */
static int set_attributes(posix_spawnattr_t *attr) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int code = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!code)
        code = posix_spawnattr_setpgroup(attr, 0);
    if (!code)
        code = posix_spawnattr_setsigmask(attr, &none);
    return code ? code : posix_spawnattr_setsigdefault(attr, &all);
}

static int set_files(posix_spawn_file_actions_t *actions, int out_fd, int err_fd) {
    int code = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!code)
        code = posix_spawn_file_actions_adddup2(actions, out_fd, STDOUT_FILENO);
    if (!code)
        code = posix_spawn_file_actions_adddup2(actions, err_fd, STDERR_FILENO);
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 34)
    if (!code) /* libraries may have files open that are not close-on-exec */
        code = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
#endif
    return code;
}

/* An errno, 0 for success. */
static int spawn(const struct kube_exec *exec, char **argv, char **env, int out_fd, int err_fd, pid_t *ret_pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int code = posix_spawn_file_actions_init(&actions);
    if (code)
        return code;
    code = posix_spawnattr_init(&attr);
    if (!code) {
        code = set_attributes(&attr);
        if (!code)
            code = set_files(&actions, out_fd, err_fd);
        if (!code)
            code = posix_spawnp(ret_pid, exec->command, &actions, &attr, argv, env);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

static int spawn_fail(const struct kube_exec *exec, int code, struct error *err) {
    char hint[HINT_SHOWN * 6 + 4] = "";
    if (code == ENOMEM)
        return error_nomem(err);
    if (code == ENOENT && exec->install_hint)
        one_line(hint, sizeof hint, exec->install_hint, HINT_SHOWN);
    if (code == ENOENT)
        return error_set(err, ERROR_USAGE, "not found%s%s", hint[0] ? ": " : "", hint);
    bool ours = code == EAGAIN || code == EMFILE || code == ENFILE;
    return error_set(err, ours ? ERROR_IO : ERROR_USAGE, "cannot be started: %s", strerror(code));
}

/* A pipe of which we read one end, without blocking. */
static int make_pipe(int *ret_read_fd, int *ret_write_fd, struct error *err) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_set(err, ERROR_IO, "no pipe for it: %s", strerror(errno));
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    *ret_read_fd = fds[0];
    *ret_write_fd = fds[1];
    return 0;
}

static int spawn_plugin(struct plugin *plugin, int out_fd, int err_fd, struct error *err) {
    const struct kube_exec *exec = plugin->config->exec;
    char *info = make_exec_info(plugin->config);
    char **env = info ? make_env(exec, info) : NULL, **argv = make_argv(exec);
    pid_t pid = 0;
    int code = env && argv ? spawn(exec, argv, env, out_fd, err_fd, &pid) : ENOMEM;
    free(info);
    free(env);
    free(argv);
    if (code)
        return spawn_fail(exec, code, err);
    plugin->pid = pid;
    return 0;
}

static int run_plugin(struct plugin *plugin, struct error *err) {
    int out_fd = -1, err_fd = -1;
    int result = make_pipe(&plugin->out_fd, &out_fd, err);
    if (result == 0)
        result = make_pipe(&plugin->err_fd, &err_fd, err);
    if (result == 0)
        result = spawn_plugin(plugin, out_fd, err_fd, err);
    if (out_fd >= 0)
        close(out_fd);
    if (err_fd >= 0)
        close(err_fd);
    return result;
}

static int watch_plugin(struct loop *loop, struct plugin *plugin, struct error *err) {
    plugin->out_reader = loop_reader_create(loop, plugin->out_fd, on_out, plugin, err);
    plugin->err_reader = plugin->out_reader ? loop_reader_create(loop, plugin->err_fd, on_err, plugin, err) : NULL;
    plugin->child = plugin->err_reader ? loop_child_create(loop, plugin->pid, on_ended, plugin, err) : NULL;
    plugin->timer = plugin->child ? loop_timer_create(loop, on_timeout, plugin, err) : NULL;
    if (!plugin->timer)
        return -1;
    loop_timer_start(plugin->timer, plugin->timeout_ms);
    return 0;
}

struct plugin *plugin_start(struct loop *loop, const struct kube_config *config, int64_t timeout_ms,
        void (*ended)(void *arg, struct login *login, const struct error *err), void *arg, struct error *err) {
    struct plugin *plugin = calloc(1, sizeof *plugin);
    if (!plugin) {
        error_nomem(err);
        return NULL;
    }
    *plugin = (struct plugin){.config = config,
            .ended = ended,
            .arg = arg,
            .timeout_ms = timeout_ms,
            .out_fd = -1,
            .err_fd = -1,
            .out = STRBUF_INIT(EXEC_OUTPUT_MAX)};
    if (run_plugin(plugin, err) < 0 || watch_plugin(loop, plugin, err) < 0) {
        plugin_context(config, err);
        plugin_destroy(plugin);
        return NULL;
    }
    return plugin;
}
