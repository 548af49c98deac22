#include "cmd/gather.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "kube/framer.h"

#define READ_BYTES 65536

/* ---- from the API server ---- */

struct server_pass {
    struct loop *loop;
    struct error why;
};

static void on_finished(void *arg, const struct error *err) {
    struct server_pass *pass = arg;
    if (err)
        pass->why = *err;
    loop_stop(pass->loop);
}

static void on_stopped(void *arg) {
    struct server_pass *pass = arg;
    loop_stop(pass->loop);
}

int gather_from_server(
        struct config *config, const struct kube_config *kube_config, struct gathered *ret, struct error *err) {
    struct server_pass pass = {0};
    const struct engine_settings settings = {
            .config = config, .kube_config = kube_config, .dry_run = true, .one_pass = true};
    const struct engine_handler handler = {.arg = &pass, .finished = on_finished, .stopped = on_stopped};
    signal(SIGPIPE, SIG_IGN);
    pass.loop = ret->loop = loop_create(err);
    if (!ret->loop || engine_create(ret->loop, &settings, &handler, &ret->engine, err) < 0)
        return -1;
    engine_start(ret->engine);
    loop_run(ret->loop);
    signal(SIGPIPE, SIG_DFL);
    if (pass.why.kind != ERROR_NONE) {
        *err = pass.why;
        return -1;
    }
    ret->store = engine_store(ret->engine);
    ret->recreated = engine_recreated(ret->engine);
    ret->server_ahead_ms = engine_server_ahead_ms(ret->engine);
    ret->missing_namespace = NAMESPACE_UNKNOWN;
    return 0;
}

/* ---- from a file ---- */

struct file_reader {
    const struct config *config;
    struct gathered *gathered;
    struct error *err;
    int64_t jobs, lists, items;
    char first_kind[64]; /* of an object that is none of ours */
};

static bool is_covered(const struct config *config, const char *namespace) {
    size_t len;
    const char *at = config->namespaces;
    for (const char *word; (word = text_list_next(&at, &len));) {
        if ((len == 1 && *word == '*') || (strlen(namespace) == len && strncmp(word, namespace, len) == 0))
            return true;
    }
    return *config->namespaces == '\0';
}

static const char *text_at(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static int add_unreadable(struct file_reader *reader, const json_t *object, const char *why) {
    const json_t *metadata = json_object_get(object, "metadata");
    const char *namespace = text_at(metadata, "namespace"), *name = text_at(metadata, "name");
    struct gather_unreadable *u = calloc(1, sizeof *u);
    if (!u)
        return error_nomem(reader->err);
    u->namespace = strdup(namespace ? namespace : "");
    u->name = strdup(name ? name : "");
    u->why = strdup(why);
    u->next = reader->gathered->unreadable;
    reader->gathered->unreadable = u;
    if (!u->namespace || !u->name || !u->why)
        return error_nomem(reader->err);
    return 0;
}

static int take_decoded(struct file_reader *reader, const json_t *json, const struct job_object *object) {
    struct error why = {0};
    struct job job;
    if (job_decode(object, reader->config->policy.prefix, &job, &why) < 0)
        return add_unreadable(reader, json, why.text);
    if (!is_covered(reader->config, job.namespace))
        return 0;
    struct store *store = &reader->gathered->own;
    struct store_entry *entry = store_find(store, job.uid);
    /* The later document counts. */
    bool ok = entry ? store_replace_job(store, entry, &job) == 0 : store_add(store, &job) != NULL;
    return ok ? 0 : error_nomem(reader->err);
}

static int take_job(struct file_reader *reader, const json_t *json) {
    struct job_object object;
    reader->jobs++;
    if (job_object_read(json, "", 0, &object, reader->err) < 0)
        return -1;
    int result = take_decoded(reader, json, &object);
    job_object_finish(&object);
    return result;
}

static int take_other(struct file_reader *reader, const char *kind) {
    reader->gathered->other_kinds++;
    if (!reader->first_kind[0])
        snprintf(reader->first_kind, sizeof reader->first_kind, "%s", kind ? kind : "an object without a kind");
    return 0;
}

static int take_object(struct file_reader *reader, const json_t *object) {
    const char *kind = text_at(object, "kind"), *version = text_at(object, "apiVersion");
    const json_t *metadata = json_object_get(object, "metadata");
    struct store *store = &reader->gathered->own;
    bool changed, batch = !version || strncmp(version, "batch/", 6) == 0;
    if (!kind && text_at(metadata, "name") && text_at(metadata, "namespace"))
        return take_job(reader, object); /* the items of a JobList carry no kind */
    if (kind && strcmp(kind, "Job") == 0 && batch)
        return take_job(reader, object);
    if (kind && strcmp(kind, "Namespace") == 0 && (!version || strcmp(version, "v1") == 0)) {
        const struct store_namespace *ns;
        return store_put_namespace(store, object, reader->config->policy.prefix, 1, &ns, &changed, reader->err);
    }
    if (kind && strcmp(kind, "CronJob") == 0 && batch) {
        const struct store_cronjob *cronjob;
        bool tells_success = version && strcmp(version, "batch/v1") == 0;
        return store_put_cronjob(store, object, tells_success, 1, &cronjob, &changed, reader->err);
    }
    return take_other(reader, kind);
}

/* The object is not the JSON that a server would send (a key twice, bytes that are not UTF-8). Enough of it may be
 * readable to say whose Job is kept. */
static int salvage(struct file_reader *reader, const char *json, size_t len, const struct error *why) {
    struct strbuf clean = STRBUF_INIT(FRAMER_ITEM_MAX * 3);
    text_add_repaired(&clean, json, len);
    struct error err = {0};
    bool whole = !strbuf_failed(&clean);
    json_t *object = whole ? json_read(strbuf_text(&clean), clean.len, JSON_ALLOW_NUL, NULL, &err) : NULL;
    strbuf_finish(&clean);
    if (!whole || err.kind == ERROR_NOMEM)
        return error_nomem(reader->err);
    if (!object)
        return error_set(reader->err, ERROR_USAGE, "not JSON: %s", why->text);
    reader->jobs++;
    int result = add_unreadable(reader, object, why->text);
    json_decref(object);
    return result;
}

static int file_item(void *arg, const char *json, size_t len, const char *aside, size_t aside_len) {
    struct file_reader *reader = arg;
    (void)aside;
    (void)aside_len;
    struct error why = {0};
    reader->items++;
    json_t *object = json_read(json, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL, &why);
    if (!object && why.kind == ERROR_NOMEM)
        return error_nomem(reader->err);
    if (!object)
        return salvage(reader, json, len, &why);
    int result = take_object(reader, object);
    json_decref(object);
    return result;
}

static int file_envelope(void *arg, const char *json, size_t len) {
    struct file_reader *reader = arg;
    struct error why = {0};
    json_t *envelope = json_read(json, len, 0, NULL, &why);
    if (!envelope)
        return error_set(reader->err, why.kind == ERROR_NOMEM ? ERROR_NOMEM : ERROR_USAGE, "not JSON: %s", why.text);
    json_decref(envelope);
    reader->lists++;
    return 0;
}

static int read_all(int fd, struct framer *framer, struct error *err) {
    char *buffer = malloc(READ_BYTES);
    if (!buffer)
        return error_nomem(err);
    int result = 0;
    for (ssize_t n; result == 0;) {
        n = read(fd, buffer, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            result = error_set(err, ERROR_USAGE, "it cannot be read: %s", strerror(errno));
        if (n <= 0)
            break;
        result = framer_push(framer, buffer, (size_t)n, err);
    }
    free(buffer);
    return result == 0 ? framer_end(framer, err) : -1;
}

int gather_from_file(const struct config *config, const char *path, struct gathered *ret, struct error *err) {
    struct file_reader reader = {.config = config, .gathered = ret, .err = err};
    const struct framer_handler handler = {.arg = &reader, .item = file_item, .envelope = file_envelope};
    bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "standard input" : path;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, ERROR_USAGE, "%s cannot be opened: %s", path, strerror(errno));
    ret->store = &ret->own;
    ret->missing_namespace = NAMESPACE_NOT_ASKED;
    struct framer *framer = framer_create(&handler, err);
    int result = framer ? read_all(fd, framer, err) : -1;
    if (result == 0 && framer_documents(framer) == 0)
        result = error_set(err, ERROR_USAGE, "it is empty; expected the output of 'kubectl get jobs -A -o json'");
    else if (result == 0 && reader.jobs == 0 && ret->other_kinds > 0)
        result = error_set(err, ERROR_USAGE, "it holds no Job (the first object is: %s)", reader.first_kind);
    if (!is_stdin)
        close(fd);
    framer_destroy(framer);
    if (result < 0) {
        if (err->kind != ERROR_NOMEM)
            err->kind = ERROR_USAGE; /* what was given cannot be worked on */
        error_context(err, "%s", name);
    }
    return result;
}

void gathered_finish(struct gathered *g) {
    store_finish(&g->own);
    for (struct gather_unreadable *u = g->unreadable, *next; u; u = next) {
        next = u->next;
        free(u->namespace);
        free(u->name);
        free(u->why);
        free(u);
    }
    (void)engine_destroy(g->engine);
    loop_destroy(g->loop);
    *g = (struct gathered){0};
}
