#include "cmd/feeds.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "jobs/job_object_protobuf.h"

#define PASS_ATTEMPTS 3
#define TELL_AGAIN_MS \
    (5 * 60 * 1000LL)    /* that a list or watch fails as before: of a hundred Namespaces, each would tell */
#define CATCH_UP_MS 1000 /* after a watch was opened again: what was missed meanwhile comes in much less */

enum kind { KIND_NAMESPACES, KIND_CRONJOBS, KIND_JOBS, KINDS };
static const char *const kind_names[] = {"namespaces", "cronjobs", "jobs"};

/* One reflector and what it needs to know of itself. */
struct feed {
    struct source *source;
    enum kind kind;
    struct reflector *reflector;
    uint32_t generation;
    bool complete;            /* a whole list was seen */
    bool healthy;             /* the last word from it was a good one */
    bool failed;              /* and that was logged */
    bool catching_up;         /* the watch is open again, and what was missed is on its way */
    int64_t failing_since_ms; /* monotonic; 0: it is not */
    int64_t told_ms;          /* monotonic: when the log last said so; 0: since it works */
    char *why;                /* it failed last; NULL: it never did, or there was no memory for it */
};

/* A Namespace of the list, or the whole cluster. */
struct source {
    struct feeds *owner;
    uint16_t index;
    char *namespace; /* NULL: all */
    struct feed feeds[KINDS];
    bool given_up; /* one pass: it could not be listed */
};

struct feeds {
    struct loop *loop;
    struct feeds_settings settings;
    struct feeds_handler handler;
    struct client *client;
    const struct discovered *discovered;
    struct source *sources;
    size_t n_sources;
    struct loop_timer *catch_up_timer;
    struct error error; /* one pass: the first source that could not be listed */
};

static uint32_t generation_of(const struct feed *feed) {
    return feed->generation << STORE_SOURCE_BITS | feed->source->index;
}

static void update_freshness(struct source *source) {
    bool fresh = true;
    for (int kind = 0; kind < KINDS; kind++)
        fresh = fresh && source->feeds[kind].complete && (source->feeds[kind].healthy || kind == KIND_JOBS);
    reconcile_set_fresh(source->owner->settings.reconcile, source->index, fresh);
}

static void feed_begin(void *arg) {
    struct feed *feed = arg;
    feed->generation++;
    /* Another list means that events were lost. */
    feed->healthy = false;
    update_freshness(feed->source);
    if (feed->kind == KIND_JOBS)
        reconcile_list_begins(feed->source->owner->settings.reconcile, feed->source->index);
}

static void warn_if_namespace_unclear(const struct feeds *f, const struct store_namespace *ns) {
    const struct annotations *a = &ns->annotations;
    if (!a->bad_key)
        return;
    log_warn("a Namespace's annotation is not understood: the Jobs it would decide on are kept",
            log_text("namespace", ns->name), log_text("key", a->bad_key), log_text("value", a->bad_value),
            log_text("reason", a->bad_why));
    f->handler.namespace_unclear(f->handler.arg, ns);
}

/* -1: there was no memory for it. */
static int take_namespace(struct feed *feed, enum reflector_change change, const json_t *object) {
    struct feeds *f = feed->source->owner;
    struct store *store = reconcile_store(f->settings.reconcile);
    struct error err = {0};
    const struct store_namespace *ns;
    bool changed;
    if (change == REFLECTOR_DELETED) {
        const char *name = json_string_value(json_object_get(json_object_get(object, "metadata"), "name"));
        if (name)
            store_remove_namespace(store, name);
        return 0;
    }
    if (store_put_namespace(
                store, object, f->settings.config->policy.prefix, generation_of(feed), &ns, &changed, &err) < 0) {
        log_warn("a Namespace was not taken in", log_text("error", err.text));
        return err.kind == ERROR_NOMEM ? -1 : 0;
    }
    if (!changed)
        return 0;
    warn_if_namespace_unclear(f, ns);
    if (feed->source->feeds[KIND_JOBS].complete)
        reconcile_namespace_changed(f->settings.reconcile, ns->name);
    return 0;
}

static int take_cronjob(struct feed *feed, enum reflector_change change, const json_t *object) {
    struct feeds *f = feed->source->owner;
    struct store *store = reconcile_store(f->settings.reconcile);
    struct error err = {0};
    const struct store_cronjob *cronjob;
    bool changed;
    if (change == REFLECTOR_DELETED) {
        const char *uid = json_string_value(json_object_get(json_object_get(object, "metadata"), "uid"));
        if (!uid)
            return 0;
        store_remove_cronjob(store, uid);
        reconcile_cronjob_changed(f->settings.reconcile, uid);
        return 0;
    }
    if (store_put_cronjob(store, object, f->discovered->cronjobs_tell_success, generation_of(feed), &cronjob, &changed,
                &err) < 0) {
        log_warn("a CronJob was not taken in", log_text("error", err.text));
        return err.kind == ERROR_NOMEM ? -1 : 0;
    }
    if (changed && feed->source->feeds[KIND_JOBS].complete)
        reconcile_cronjob_changed(f->settings.reconcile, cronjob->uid);
    return 0;
}

static void caught_up(struct feed *feed) {
    feed->catching_up = false;
    feed->healthy = true;
    update_freshness(feed->source);
}

static void on_catch_up_over(void *arg) {
    struct feeds *f = arg;
    for (size_t i = 0; i < f->n_sources; i++) {
        for (int kind = 0; kind < KINDS; kind++) {
            if (f->sources[i].feeds[kind].catching_up)
                caught_up(&f->sources[i].feeds[kind]);
        }
    }
}

static int take_object(struct feed *feed, enum reflector_change change, const struct job_object *object) {
    struct reconcile *r = feed->source->owner->settings.reconcile;
    return change == REFLECTOR_DELETED ? reconcile_on_job_deleted(r, feed->source->index, object)
                                       : reconcile_on_job(r, feed->source->index, object);
}

/* -1: there was no memory for it. */
static int take_job(struct feed *feed, enum reflector_change change, const struct reflector_item *item) {
    struct error err = {0};
    struct job_object object;
    if (item->decoded)
        return take_object(feed, change, item->decoded);
    if (job_object_read(item->json, item->template, item->template_len, &object, &err) < 0)
        return -1;
    int result = take_object(feed, change, &object);
    job_object_finish(&object);
    return result;
}

static int feed_item(void *arg, enum reflector_change change, const struct reflector_item *item) {
    struct feed *feed = arg;
    switch (feed->kind) {
    case KIND_NAMESPACES:
        return take_namespace(feed, change, item->json);
    case KIND_CRONJOBS:
        return take_cronjob(feed, change, item->json);
    case KIND_JOBS:
        return take_job(feed, change, item);
    case KINDS:
        break;
    }
    return 0;
}

static void feed_unreadable(void *arg, const char *why) {
    struct feed *feed = arg;
    log_warn("something that the API server sent cannot be read and is left alone",
            log_text("resource", kind_names[feed->kind]), log_text("namespace", feed->source->namespace),
            log_text("error", why));
    if (feed->kind == KIND_JOBS)
        reconcile_list_is_partial(feed->source->owner->settings.reconcile, feed->source->index);
}

static void feed_complete(void *arg) {
    struct feed *feed = arg;
    struct source *source = feed->source;
    struct feeds *f = source->owner;
    bool first = !feed->complete;
    feed->complete = feed->healthy = true;
    feed->catching_up = false;
    feed->failing_since_ms = 0;
    struct store *store = reconcile_store(f->settings.reconcile);
    if (feed->kind == KIND_NAMESPACES)
        store_prune_namespaces(store, generation_of(feed));
    else if (feed->kind == KIND_CRONJOBS)
        store_prune_cronjobs(store, generation_of(feed));
    else
        reconcile_list_complete(f->settings.reconcile, source->index);
    bool around_complete = source->feeds[KIND_NAMESPACES].complete && source->feeds[KIND_CRONJOBS].complete;
    if (feed->kind != KIND_JOBS && first && around_complete)
        reflector_start(source->feeds[KIND_JOBS].reflector);
    if (feed->kind != KIND_JOBS && !first) {
        /* What a list took away decides too. */
        reconcile_namespace_changed(f->settings.reconcile, source->namespace);
    }
    update_freshness(source);
    if (feed->kind == KIND_JOBS && first && feeds_is_synced(f))
        f->handler.synced(f->handler.arg);
    f->handler.progressed(f->handler.arg);
}

static bool feed_has_room(void *arg) {
    struct feed *feed = arg;
    struct feeds *f = feed->source->owner;
    return feed->kind != KIND_JOBS || f->handler.has_room(f->handler.arg);
}

static void feed_watching(void *arg) {
    struct feed *feed = arg;
    if (feed->failed)
        log_info("watching again", log_text("resource", kind_names[feed->kind]),
                log_text("namespace", feed->source->namespace));
    feed->failed = false;
    feed->failing_since_ms = feed->told_ms = 0;
    if (feed->healthy)
        return;
    feed->catching_up = true;
    loop_timer_start(feed->source->owner->catch_up_timer, CATCH_UP_MS);
}

static void feed_ended(void *arg) {
    struct feed *feed = arg;
    feed->healthy = feed->catching_up = false;
    update_freshness(feed->source);
}

static void feed_failed(void *arg, const struct reflector_failure *failure) {
    struct feed *feed = arg;
    struct feeds *f = feed->source->owner;
    feed->healthy = feed->catching_up = false;
    feed->failed = true;
    if (!feed->failing_since_ms)
        feed->failing_since_ms = clock_mono_ms();
    enum log_level level = LOG_ERROR;
    if (feed->why && feed->told_ms && strcmp(feed->why, failure->message) == 0 &&
            clock_mono_ms() - feed->told_ms < TELL_AGAIN_MS)
        level = LOG_DEBUG;
    else
        feed->told_ms = clock_mono_ms();
    free(feed->why);
    feed->why = strdup(failure->message);
    update_freshness(feed->source);
    bool watch = strcmp(failure->doing, "watch") == 0, get = strcmp(failure->doing, "get") == 0;
    log_at(level,
            watch ? "watch failed"
            : get ? "get failed"
                  : "list failed",
            log_text("resource", kind_names[feed->kind]), log_text("namespace", feed->source->namespace),
            log_number("status", failure->status), log_text("error", failure->message),
            failure->retry_in_ms >= 0 ? log_duration("retry_in", failure->retry_in_ms) : log_text("given_up", "true"));
    if (failure->retry_in_ms >= 0)
        return;
    struct error err = {0};
    error_set(&err, ERROR_REMOTE, "cannot %s %s%s%s: %s", failure->doing, kind_names[feed->kind],
            feed->source->namespace ? " in " : "", feed->source->namespace ? feed->source->namespace : "",
            failure->message);
    if (f->error.kind == ERROR_NONE)
        f->error = err;
    /* The other Namespaces of the list have their pass all the same. */
    feed->source->given_up = true;
    f->handler.progressed(f->handler.arg);
}

/* Where a feed reads. One Namespace of a list is read and watched by its name, which a Role in it can grant; a list of
 * Namespaces, even of this one, only a ClusterRole can. */
static void add_paths(const struct feed *feed, struct strbuf *path, struct strbuf *watch_path) {
    const char *namespace = feed->source->namespace;
    if (feed->kind == KIND_NAMESPACES) {
        strbuf_add_text(path, "/api/v1/namespaces");
        if (namespace) {
            strbuf_add_format(path, "/%s", namespace);
            strbuf_add_format(watch_path, "/api/v1/watch/namespaces/%s", namespace);
        }
        return;
    }
    const char *version = feed->kind == KIND_JOBS ? "v1" : feed->source->owner->discovered->cronjob_version;
    strbuf_add_format(path, "/apis/batch/%s/", version);
    if (namespace)
        strbuf_add_format(path, "namespaces/%s/", namespace);
    strbuf_add_text(path, kind_names[feed->kind]);
}

/* A manifest needs the whole Pod template, of which nothing but the images is read in protobuf. */
static const struct protobuf_codec *codec_of_jobs(const struct feeds *f) {
    return f->settings.config->manifest ? NULL : &job_protobuf_codec;
}

static int create_feed(struct source *source, enum kind kind, struct error *err) {
    struct feeds *f = source->owner;
    struct feed *feed = &source->feeds[kind];
    struct strbuf path = STRBUF_INIT(1024), watch_path = STRBUF_INIT(1024), query = STRBUF_INIT(4096);
    add_paths(feed, &path, &watch_path);
    if (kind == KIND_JOBS && *f->settings.config->selector) {
        strbuf_add_text(&query, "labelSelector=");
        client_add_escaped(&query, f->settings.config->selector);
    }
    const struct reflector_settings settings = {.path = strbuf_text(&path),
            .watch_path = watch_path.len ? strbuf_text(&watch_path) : NULL,
            .query = strbuf_text(&query),
            .codec = kind == KIND_JOBS ? codec_of_jobs(f) : NULL,
            .list_only = f->settings.one_pass,
            .attempts = PASS_ATTEMPTS};
    const struct reflector_handler handler = {.arg = feed,
            .begin = feed_begin,
            .item = feed_item,
            .unreadable = feed_unreadable,
            .complete = feed_complete,
            .has_room = feed_has_room,
            .watching = feed_watching,
            .ended = feed_ended,
            .failed = feed_failed};
    bool fits = !strbuf_failed(&path) && !strbuf_failed(&watch_path) && !strbuf_failed(&query);
    feed->reflector = fits ? reflector_create(f->loop, f->client, &settings, &handler, err) : NULL;
    strbuf_finish(&path);
    strbuf_finish(&watch_path);
    strbuf_finish(&query);
    if (!fits)
        return error_set(err, ERROR_USAGE, "the selector is too long");
    return feed->reflector ? 0 : -1;
}

static int create_sources(struct feeds *f, struct error *err) {
    size_t len, n = 0;
    const char *at = f->settings.config->namespaces;
    bool all = false;
    for (const char *word; (word = text_list_next(&at, &len)); n++)
        all = all || (len == 1 && *word == '*');
    if (n > RECONCILE_SOURCES_MAX)
        return error_set(
                err, ERROR_USAGE, "more than %d Namespaces are listed; use '*' with a selector", RECONCILE_SOURCES_MAX);
    f->n_sources = all || n == 0 ? 1 : n;
    f->sources = calloc(f->n_sources, sizeof *f->sources);
    if (!f->sources)
        return error_nomem(err);
    at = f->settings.config->namespaces;
    for (size_t i = 0; i < f->n_sources; i++) {
        f->sources[i].owner = f;
        f->sources[i].index = (uint16_t)i;
        for (int kind = 0; kind < KINDS; kind++)
            f->sources[i].feeds[kind] = (struct feed){.source = &f->sources[i], .kind = (enum kind)kind};
        const char *word = all ? NULL : text_list_next(&at, &len);
        if (word && !(f->sources[i].namespace = strndup(word, len)))
            return error_nomem(err);
    }
    return 0;
}

struct feeds *feeds_create(struct loop *loop, const struct feeds_settings *settings,
        const struct feeds_handler *handler, struct error *err) {
    struct feeds *f = calloc(1, sizeof *f);
    if (!f) {
        error_nomem(err);
        return NULL;
    }
    f->loop = loop;
    f->settings = *settings;
    f->handler = *handler;
    if (create_sources(f, err) < 0 || !(f->catch_up_timer = loop_timer_create(loop, on_catch_up_over, f, err))) {
        feeds_destroy(f);
        return NULL;
    }
    return f;
}

void feeds_destroy(struct feeds *f) {
    if (!f)
        return;
    for (size_t i = 0; f->sources && i < f->n_sources; i++) {
        for (int kind = 0; kind < KINDS; kind++) {
            reflector_destroy(f->sources[i].feeds[kind].reflector);
            free(f->sources[i].feeds[kind].why);
        }
        free(f->sources[i].namespace);
    }
    loop_timer_destroy(f->catch_up_timer);
    free(f->sources);
    free(f);
}

int feeds_start(struct feeds *f, struct client *client, const struct discovered *discovered, struct error *err) {
    f->client = client;
    f->discovered = discovered;
    for (size_t i = 0; i < f->n_sources; i++) {
        for (int kind = 0; kind < KINDS; kind++) {
            if (create_feed(&f->sources[i], (enum kind)kind, err) < 0)
                return -1;
        }
        reflector_start(f->sources[i].feeds[KIND_NAMESPACES].reflector);
        reflector_start(f->sources[i].feeds[KIND_CRONJOBS].reflector);
    }
    return 0;
}

void feeds_resume(struct feeds *f) {
    for (size_t i = 0; i < f->n_sources; i++) {
        if (f->sources[i].feeds[KIND_JOBS].reflector)
            reflector_resume(f->sources[i].feeds[KIND_JOBS].reflector);
    }
}

void feeds_relist_jobs(struct feeds *f) {
    for (size_t i = 0; i < f->n_sources; i++) {
        if (f->sources[i].feeds[KIND_JOBS].reflector)
            reflector_relist(f->sources[i].feeds[KIND_JOBS].reflector);
    }
}

bool feeds_is_synced(const struct feeds *f) {
    for (size_t i = 0; i < f->n_sources; i++) {
        if (!f->sources[i].feeds[KIND_JOBS].complete && !f->sources[i].given_up)
            return false;
    }
    return true;
}

static struct health_feed tell_of(const struct feed *feed, int64_t for_ms) {
    return (struct health_feed){.resource = kind_names[feed->kind],
            .namespace = feed->source->namespace,
            .why = feed->why && feed->failed ? feed->why : "",
            .for_ms = for_ms};
}

void feeds_config_changed(struct feeds *f) {
    for (size_t i = 0; f->client && i < f->n_sources; i++) {
        struct reflector *reflector = f->sources[i].feeds[KIND_JOBS].reflector;
        if (reflector && reflector_set_codec(reflector, codec_of_jobs(f)))
            reflector_relist(reflector);
    }
}

static void tell_feed_health(const struct feed *feed, struct health_facts *facts) {
    int64_t failing_ms = feed->failing_since_ms ? clock_mono_ms() - feed->failing_since_ms : 0;
    int64_t overdue_ms = feed->reflector ? reflector_overdue_ms(feed->reflector) : 0;
    /* Of lists, rather one that failed than one that waits for it. */
    if (!feed->complete && (!facts->list.resource || (!*facts->list.why && feed->failed)))
        facts->list = tell_of(feed, failing_ms);
    if (feed->failing_since_ms && (!facts->watch.resource || failing_ms > facts->watch.for_ms))
        facts->watch = tell_of(feed, failing_ms);
    if (overdue_ms > 0 && overdue_ms > facts->stuck.for_ms)
        facts->stuck = tell_of(feed, overdue_ms);
}

void feeds_tell_health(const struct feeds *f, struct health_facts *facts) {
    for (size_t i = 0; f->client && i < f->n_sources; i++) {
        for (int kind = 0; kind < KINDS; kind++)
            tell_feed_health(&f->sources[i].feeds[kind], facts);
    }
}

const struct error *feeds_error(const struct feeds *f) {
    return f->error.kind != ERROR_NONE ? &f->error : NULL;
}

static struct reflector_stats sum_up(const struct feeds *f, enum kind kind) {
    struct reflector_stats all = {.last_heard_ms = TIME_NONE};
    for (size_t i = 0; i < f->n_sources; i++) {
        if (!f->sources[i].feeds[kind].reflector)
            continue;
        struct reflector_stats one = reflector_stats(f->sources[i].feeds[kind].reflector);
        all.restarts += one.restarts;
        all.relists += one.relists;
        all.failures += one.failures;
        bool older = all.last_heard_ms == TIME_NONE || one.last_heard_ms < all.last_heard_ms;
        if (one.last_heard_ms != TIME_NONE && older)
            all.last_heard_ms = one.last_heard_ms;
    }
    return all;
}

struct feeds_stats feeds_stats(const struct feeds *f) {
    return (struct feeds_stats){sum_up(f, KIND_NAMESPACES), sum_up(f, KIND_CRONJOBS), sum_up(f, KIND_JOBS)};
}

int feeds_find_source(const struct feeds *f, const char *namespace) {
    for (size_t i = 0; i < f->n_sources; i++) {
        if (!f->sources[i].namespace || strcmp(f->sources[i].namespace, namespace) == 0)
            return (int)i;
    }
    return -1;
}
