#include "kube/kubeconfig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "base/text.h"
#include "kube/kubeconfig_entry.h"
#include "kube/pem.h"
#include "kube/tree.h"

#define CONTEXTS_SHOWN 8 /* names offered when the context is unknown */
#define SERVICE_ACCOUNT_FOLDER "/var/run/secrets/kubernetes.io/serviceaccount"

static int read_fd(int fd, size_t limit, struct strbuf *text, struct error *err) {
    char chunk[16384];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(err, ERROR_USAGE, "cannot be read: %s", strerror(errno));
        if (n == 0)
            return 0;
        if ((size_t)n > limit - text->len)
            return error_set(err, ERROR_USAGE, "larger than %zu kB", limit / 1024);
        strbuf_add(text, chunk, (size_t)n);
        if (strbuf_failed(text))
            return error_nomem(err);
    }
}

static int read_any(const char *path, bool regular, size_t limit, struct strbuf *text, struct error *err) {
    struct stat status;
    /* Without O_NONBLOCK the open itself would wait for a FIFO's writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | (regular ? O_NONBLOCK : 0));
    if (fd < 0)
        return error_set(err, ERROR_USAGE, "cannot be read: %s", strerror(errno));
    int result;
    if (regular && (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)))
        result = error_set(err, ERROR_USAGE, "is not a regular file");
    else
        result = read_fd(fd, limit, text, err);
    close(fd);
    return result;
}

/* In full, for the file is what the reader of the error looks for. */
static void name_file(const char *path, struct error *err) {
    struct strbuf shown = STRBUF_INIT(ERROR_TEXT_MAX * 8);
    text_add_escaped(&shown, path, ERROR_TEXT_MAX);
    error_context(err, "%s", strbuf_text(&shown));
    strbuf_finish(&shown);
}

static int read_file(
        const char *path, bool regular, size_t limit, char **ret_text, size_t *ret_len, struct error *err) {
    struct strbuf text = STRBUF_INIT(limit + 1);
    size_t len = 0;
    char *data = NULL;
    int result = read_any(path, regular, limit, &text, err);
    if (result == 0) {
        len = text.len;
        data = strbuf_take(&text);
        if (!data)
            result = error_nomem(err);
        else if (!ret_len && strlen(data) != len)
            result = error_set(err, ERROR_USAGE, "is not a text");
    }
    strbuf_finish(&text);
    if (result < 0 || !data) {
        free(data);
        if (err && err->kind != ERROR_NOMEM)
            name_file(path, err);
        return -1;
    }
    *ret_text = data;
    if (ret_len)
        *ret_len = len;
    return 0;
}

int kubeconfig_read_file(const char *path, size_t limit, char **ret_text, size_t *ret_len, struct error *err) {
    return read_file(path, true, limit, ret_text, ret_len, err);
}

struct sources {
    struct tree_file files[KUBECONFIG_FILES_MAX];
    size_t count;
};

/* One of the three lists of named things. */
struct list_keys {
    const char *list, *item;
};

static const struct list_keys clusters = {"clusters", "cluster"};
static const struct list_keys users = {"users", "user"};
static const struct list_keys contexts = {"contexts", "context"};

static void sources_finish(struct sources *sources) {
    for (size_t i = 0; i < sources->count; i++)
        tree_file_finish(&sources->files[i]);
}

static int check_root(const struct tree_place *place, const struct tree_node *root, struct error *err) {
    const char *kind, *version;
    char name[TREE_QUOTED_MAX];
    if (root->kind != TREE_MAP)
        return tree_fail(place, err, "not a kubeconfig");
    if (tree_find_text(place, root, "kind", &kind, err) < 0 ||
            tree_find_text(place, root, "apiVersion", &version, err) < 0)
        return -1;
    if (kind && strcmp(kind, "Config") != 0)
        return tree_fail(place, err, "not a kubeconfig: kind is %s, not Config", tree_quote(name, kind));
    if (version && strcmp(version, "v1") != 0)
        return tree_fail(place, err, "not a kubeconfig: apiVersion is %s, not v1", tree_quote(name, version));
    return 0;
}

static int add_source(struct sources *sources, const char *path, const char *text, size_t len, struct error *err) {
    if (sources->count == KUBECONFIG_FILES_MAX)
        return error_set(err, ERROR_USAGE, "KUBECONFIG names more than %d files", KUBECONFIG_FILES_MAX);
    struct tree_file *file = &sources->files[sources->count++];
    if (tree_file_init(file, path, text, len, err) < 0)
        return -1;
    struct tree_place place = {.file = file};
    return file->root ? check_root(&place, file->root, err) : 0;
}

static int read_source(struct sources *sources, const char *path, struct error *err) {
    char *text = NULL;
    size_t len = 0;
    /* Not only regular files: kubectl reads "--kubeconfig <(command)" too. */
    if (read_file(path, false, KUBECONFIG_MAX, &text, &len, err) < 0)
        return -1;
    int result = add_source(sources, path, text, len, err);
    explicit_bzero(text, len);
    free(text);
    return result;
}

/* Called for each entry of a list in all files; a value other than 0 ends the walk and is returned. */
struct visitor {
    int (*entry)(void *arg, const struct tree_place *place, const char *name, const struct tree_node *item,
            struct error *err);
    void *arg;
};

static int visit_list(
        struct tree_place *place, const struct list_keys *keys, const struct visitor *visitor, struct error *err) {
    const struct tree_node *list, *item;
    const char *name;
    if (tree_find(place, place->file->root, keys->list, TREE_LIST, &list, err) < 0)
        return -1;
    size_t at = 0;
    for (const struct tree_node *entry = list ? list->first : NULL; entry; entry = entry->next, at++) {
        snprintf(place->what, sizeof place->what, "%s[%zu]", keys->list, at);
        if (entry->kind != TREE_MAP)
            return tree_fail(place, err, "must be a map (line %u)", entry->line);
        if (tree_find_text(place, entry, "name", &name, err) < 0 ||
                tree_find(place, entry, keys->item, TREE_MAP, &item, err) < 0)
            return -1;
        if (!name)
            return tree_fail(place, err, "has no name (line %u)", entry->line);
        int result = visitor->entry(visitor->arg, place, name, item, err);
        if (result != 0)
            return result;
    }
    place->what[0] = '\0';
    return 0;
}

struct wanted {
    const struct list_keys *keys;
    const char *name;
    bool found;
    struct kubeconfig_entry entry; /* the first that has the name */
};

static int match_entry(
        void *arg, const struct tree_place *place, const char *name, const struct tree_node *item, struct error *err) {
    struct wanted *wanted = arg;
    char quoted[TREE_QUOTED_MAX];
    if (strcmp(name, wanted->name) != 0)
        return 0;
    if (wanted->found && wanted->entry.place.file == place->file)
        return tree_fail(place, err, "the name %s is there twice", tree_quote(quoted, name));
    if (wanted->found)
        return 0;
    wanted->found = true;
    wanted->entry.item = item;
    wanted->entry.place.file = place->file;
    snprintf(wanted->entry.place.what, sizeof wanted->entry.place.what, "%s %s", wanted->keys->item,
            tree_quote(quoted, name));
    return 0;
}

/* The first file with an entry of this name wins, with all of the entry: what others add to it is not looked at. */
static int find_named(const struct sources *sources, struct wanted *wanted, struct error *err) {
    const struct visitor visitor = {match_entry, wanted};
    for (size_t i = 0; i < sources->count; i++) {
        struct tree_place place = {.file = &sources->files[i]};
        if (visit_list(&place, wanted->keys, &visitor, err) < 0)
            return -1;
    }
    return 0;
}

struct offer {
    struct strbuf text;
    size_t count;
};

static int offer_entry(
        void *arg, const struct tree_place *place, const char *name, const struct tree_node *item, struct error *err) {
    (void)place;
    (void)item;
    (void)err;
    struct offer *offer = arg;
    char quoted[TREE_QUOTED_MAX];
    if (++offer->count > CONTEXTS_SHOWN)
        return 0;
    strbuf_add_format(&offer->text, "%s%s", offer->count > 1 ? ", " : "", tree_quote(quoted, name));
    return 0;
}

/* "problem; there are 'a', 'b'". Names the file when there is but one. */
static int context_fail(const struct sources *sources, const char *problem, struct error *err) {
    struct offer offer = {.text = STRBUF_INIT(TREE_QUOTED_MAX * (CONTEXTS_SHOWN + 1))};
    const struct visitor visitor = {offer_entry, &offer};
    struct strbuf files = STRBUF_INIT(ERROR_TEXT_MAX);
    for (size_t i = 0; i < sources->count; i++) {
        struct tree_place place = {.file = &sources->files[i]};
        strbuf_add_format(&files, "%s%s", i ? ", " : "", sources->files[i].shown);
        (void)!visit_list(&place, &contexts, &visitor, NULL);
    }
    if (offer.count == 0)
        strbuf_add_text(&offer.text, "none");
    error_set(err, ERROR_USAGE, "%s: %s; contexts there: %s%s", strbuf_text(&files), problem, strbuf_text(&offer.text),
            offer.count > CONTEXTS_SHOWN ? ", ..." : "");
    strbuf_finish(&offer.text);
    strbuf_finish(&files);
    return -1;
}

/* The thing of this name that the context asks for. */
static int follow(const struct sources *sources, const struct wanted *context, struct wanted *ret, struct error *err) {
    char name[TREE_QUOTED_MAX];
    if (find_named(sources, ret, err) < 0)
        return -1;
    if (!ret->found)
        return tree_fail(&context->entry.place, err, "there is no %s %s", ret->keys->item, tree_quote(name, ret->name));
    return 0;
}

static int fill(
        const struct sources *sources, const struct wanted *context, struct kube_config *config, struct error *err) {
    struct wanted cluster = {.keys = &clusters}, user = {.keys = &users};
    char *ca = NULL;
    if (kubeconfig_take_namespace(&context->entry, config, err) < 0 ||
            tree_find_text(&context->entry.place, context->entry.item, "cluster", &cluster.name, err) < 0 ||
            tree_find_text(&context->entry.place, context->entry.item, "user", &user.name, err) < 0)
        return -1;
    if (!cluster.name)
        return tree_fail(&context->entry.place, err, "cluster is missing");
    if (follow(sources, context, &cluster, err) < 0)
        return -1;
    int result = kubeconfig_take_cluster(&cluster.entry, config, &ca, err);
    if (result == 0 && user.name) {
        result = follow(sources, context, &user, err);
        if (result == 0)
            result = kubeconfig_take_user(&user.entry, &cluster.entry, ca, config, err);
    }
    free(ca);
    return result;
}

static int find_current(const struct sources *sources, const char **ret, struct error *err) {
    *ret = NULL;
    for (size_t i = 0; i < sources->count; i++) {
        struct tree_place place = {.file = &sources->files[i]};
        const char *name;
        if (tree_find_text(&place, sources->files[i].root, "current-context", &name, err) < 0)
            return -1;
        if (!*ret)
            *ret = name;
    }
    return 0;
}

static int resolve(const struct sources *sources, const char *name, struct kube_config **ret, struct error *err) {
    struct wanted context = {.keys = &contexts, .name = name};
    if (find_current(sources, &context.name, err) < 0)
        return -1;
    if (name)
        context.name = name;
    if (!context.name)
        return context_fail(sources, "current-context is not set, and no --context was given", err);
    if (find_named(sources, &context, err) < 0)
        return -1;
    if (!context.found) {
        char quoted[TREE_QUOTED_MAX], problem[TREE_QUOTED_MAX + 32];
        snprintf(problem, sizeof problem, "there is no context %s", tree_quote(quoted, context.name));
        return context_fail(sources, problem, err);
    }
    struct kube_config *config = calloc(1, sizeof *config);
    if (!config)
        return error_nomem(err);
    if (tree_copy(context.name, &config->context, err) < 0 || fill(sources, &context, config, err) < 0) {
        kube_config_destroy(config);
        return -1;
    }
    *ret = config;
    return 0;
}

static int fill_in_cluster(
        const char *folder, const char *host, const char *port, struct kube_config *config, struct error *err) {
    struct tree_file file = {.shown = (char[]){"in-cluster"}};
    const struct tree_place place = {.file = &file};
    bool bare_v6 = strchr(host, ':') && host[0] != '[';
    config->in_cluster = true;
    if (asprintf(&config->server, "https://%s%s%s:%s", bare_v6 ? "[" : "", host, bare_v6 ? "]" : "", port) < 0) {
        config->server = NULL;
        return error_nomem(err);
    }
    if (tree_copy("in-cluster", &config->context, err) < 0 || kubeconfig_check_server(&place, config->server, err) < 0)
        return -1;
    if (asprintf(&config->token_file, "%s/token", folder) < 0) {
        config->token_file = NULL;
        return error_nomem(err);
    }
    if (asprintf(&config->ca_file, "%s/ca.crt", folder) < 0) {
        config->ca_file = NULL;
        return error_nomem(err);
    }
    char *token = NULL, *ca = NULL;
    int64_t not_after;
    int result = kubeconfig_read_file(config->token_file, KUBECONFIG_TOKEN_MAX, &token, NULL, err);
    if (result == 0)
        result = kubeconfig_read_file(config->ca_file, KUBECONFIG_PEM_MAX, &ca, NULL, err);
    if (result < 0)
        tree_context(&place, err, "the service account");
    else if ((result = pem_not_after(ca, &not_after, err)) < 0)
        tree_context(&place, err, config->ca_file);
    kube_secret_free(token);
    free(ca);
    return result;
}

/* The Pod's namespace is a convenience: not every mount has it. */
static int fill_pod_namespace(const char *folder, struct kube_config *config, struct error *err) {
    char *path, *text;
    if (asprintf(&path, "%s/namespace", folder) < 0)
        return error_nomem(err);
    if (kubeconfig_read_file(path, KUBECONFIG_TOKEN_MAX, &text, NULL, NULL) == 0) {
        text[strcspn(text, " \t\r\n")] = '\0';
        if (text[0])
            config->namespace = text;
        else
            free(text);
    }
    free(path);
    return 0;
}

static int load_in_cluster(
        const struct kubeconfig_options *options, const char *searched, struct kube_config **ret, struct error *err) {
    const char *folder = options->service_account_folder ? options->service_account_folder : SERVICE_ACCOUNT_FOLDER;
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !port || !*host || !*port)
        return error_set(err, ERROR_USAGE,
                "no API server to talk to: %s, and this is not a Pod (KUBERNETES_SERVICE_HOST is not set); "
                "see --kubeconfig",
                searched);
    if (options->context)
        return error_set(err, ERROR_USAGE, "--context was given, but there is no kubeconfig: %s", searched);
    struct kube_config *config = calloc(1, sizeof *config);
    if (!config)
        return error_nomem(err);
    if (fill_in_cluster(folder, host, port, config, err) < 0 || fill_pod_namespace(folder, config, err) < 0) {
        kube_config_destroy(config);
        return -1;
    }
    *ret = config;
    return 0;
}

static int read_if_there(struct sources *sources, const char *path, struct error *err) {
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    return read_source(sources, path, err);
}

/* Is this entry of the list also before it? kubectl, too, reads a file once. */
static bool is_repeated(const char *list, const char *entry, size_t len) {
    for (const char *at = list; at < entry; at += strcspn(at, ":") + 1) {
        if (strcspn(at, ":") == len && strncmp(at, entry, len) == 0)
            return true;
    }
    return false;
}

static int read_list(struct sources *sources, const char *list, struct error *err) {
    for (const char *at = list; *at; at += *at == ':') {
        size_t len = strcspn(at, ":");
        if (len && !is_repeated(list, at, len)) {
            char *path = strndup(at, len);
            if (!path)
                return error_nomem(err);
            int result = read_if_there(sources, path, err);
            free(path);
            if (result < 0)
                return -1;
        }
        at += len;
    }
    return 0;
}

static int read_home(struct sources *sources, const char *home, struct error *err) {
    char *path;
    if (asprintf(&path, "%s/.kube/config", home) < 0)
        return error_nomem(err);
    int result = read_if_there(sources, path, err);
    free(path);
    return result;
}

/* Nothing in any of the files, or no file. */
static bool is_blank(const struct sources *sources) {
    static const char *const keys[] = {"clusters", "contexts", "users", "current-context"};
    for (size_t i = 0; i < sources->count; i++) {
        const struct tree_node *root = sources->files[i].root;
        for (const struct tree_node *child = root ? root->first : NULL; child; child = child->next) {
            for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
                if (strcmp(child->key, keys[k]) == 0 && (child->first || (child->kind == TREE_TEXT && child->text[0])))
                    return false;
            }
        }
    }
    return true;
}

static int load(const struct kubeconfig_options *options, struct sources *sources, struct kube_config **ret,
        struct error *err) {
    const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
    char name[TREE_QUOTED_MAX], searched[TREE_QUOTED_MAX + 64];
    if (options->kubeconfig) {
        if (read_source(sources, options->kubeconfig, err) < 0)
            return -1;
        return resolve(sources, options->context, ret, err);
    }
    if (list && *list) {
        if (read_list(sources, list, err) < 0)
            return -1;
        snprintf(searched, sizeof searched, "no file of KUBECONFIG=%s has a configuration", tree_quote(name, list));
    } else {
        if (home && *home && read_home(sources, home, err) < 0)
            return -1;
        snprintf(searched, sizeof searched, "KUBECONFIG is not set, ~/.kube/config is missing or empty");
    }
    if (is_blank(sources))
        return load_in_cluster(options, searched, ret, err);
    return resolve(sources, options->context, ret, err);
}

int kubeconfig_load(const struct kubeconfig_options *options, struct kube_config **ret, struct error *err) {
    struct sources *sources = calloc(1, sizeof *sources);
    if (!sources)
        return error_nomem(err);
    int result = load(options, sources, ret, err);
    sources_finish(sources);
    free(sources);
    return result;
}

int kubeconfig_parse(const char *text, size_t len, const char *path, const char *context, struct kube_config **ret,
        struct error *err) {
    struct sources *sources = calloc(1, sizeof *sources);
    if (!sources)
        return error_nomem(err);
    int result;
    if (len > KUBECONFIG_MAX)
        result = error_set(err, ERROR_USAGE, "%s: larger than %d kB", path, KUBECONFIG_MAX / 1024);
    else
        result = add_source(sources, path, text, len, err);
    if (result == 0)
        result = resolve(sources, context, ret, err);
    sources_finish(sources);
    free(sources);
    return result;
}

void kube_secret_free(char *text) {
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void exec_destroy(struct kube_exec *exec) {
    if (!exec)
        return;
    for (char **arg = exec->args; arg && *arg; arg++)
        kube_secret_free(*arg);
    for (char **env = exec->env; env && *env; env++)
        kube_secret_free(*env);
    free(exec->args);
    free(exec->env);
    free(exec->api_version);
    free(exec->command);
    free(exec->install_hint);
    free(exec);
}

void kube_config_destroy(struct kube_config *config) {
    if (!config)
        return;
    exec_destroy(config->exec);
    free(config->server);
    free(config->context);
    free(config->namespace);
    free(config->ca_file);
    free(config->ca_data);
    free(config->tls_server_name);
    kube_secret_free(config->proxy_url);
    free(config->cert_file);
    free(config->cert_data);
    free(config->key_file);
    kube_secret_free(config->key_data);
    kube_secret_free(config->token);
    free(config->token_file);
    free(config->username);
    kube_secret_free(config->password);
    free(config->cluster_info);
    free(config);
}
