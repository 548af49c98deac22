#include "cmd/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "history/writer.h"
#include "kube/client.h"
#include "kube/discovery.h"
#include "kube/reflector.h"

#define SKEW_TOLD_MS 5000 /* a clock that is off by more is worth a line in the log */
#define PASS_ATTEMPTS 3
#define PASS_STORE_GRACE_MS 30000 /* one pass: a register that cannot be written for this long ends it */
#define CATCH_UP_MS 1000          /* after a watch was opened again: what was missed meanwhile comes in much less */

enum kind { KIND_NAMESPACES, KIND_CRONJOBS, KIND_JOBS, KINDS };
static const char *const kind_names[] = {"namespaces", "cronjobs", "jobs"};

/* One reflector and what it needs to know of itself. */
struct feed {
    struct source *source;
    enum kind kind;
    struct reflector *reflector;
    uint32_t generation;
    bool complete;    /* a whole list was seen */
    bool healthy;     /* the last word from it was a good one */
    bool failed;      /* and that was logged */
    bool catching_up; /* the watch is open again, and what was missed is on its way */
};

/* A Namespace of the list, or the whole cluster. */
struct source {
    struct engine *engine;
    uint16_t index;
    char *namespace; /* NULL: all */
    struct feed feeds[KINDS];
    bool given_up; /* one pass: it could not be listed */
};

/* A DELETE or GET under way. */
struct request {
    struct engine *engine;
    struct client_call *call;
    char uid[UID_MAX];
    bool is_delete;
    struct request *prev, *next;
};

struct engine {
    struct loop *loop;
    struct config *config;
    const struct kube_config *kube_config;
    bool dry_run, one_pass;
    struct engine_handler handler;

    struct client *client;
    struct discovery *discovery;
    struct writer *writer;
    struct reconcile *reconcile;
    struct source *sources;
    size_t n_sources;
    struct request *requests;

    struct loop_timer *timer, *stop_timer, *catch_up_timer, *store_timer;
    struct discovered discovered;
    struct evidence_settings evidence;
    bool stopping, stopped, finished, skew_told;
    struct error pass_error; /* one pass: the first Namespace that could not be listed */
};

/* ---- ports of the reconciler ---- */

static void wake(void *arg) {
    struct engine *e = arg;
    loop_timer_start(e->timer, 0);
}

static void on_answer(void *arg, const struct client_answer *answer) {
    struct request *request = arg;
    struct engine *e = request->engine;
    const struct reconcile_answer a = {.status = answer->status,
            .sent = answer->sent,
            .retry_after_ms = answer->retry_after_ms,
            .message = answer->message,
            .body = answer->body};
    DL_DELETE(e->requests, request);
    if (request->is_delete)
        reconcile_on_delete(e->reconcile, request->uid, &a);
    else
        reconcile_on_get(e->reconcile, request->uid, &a);
    free(request);
}

static int start_request(struct engine *e, const char *method, const char *namespace, const char *name, const char *uid,
        const char *body) {
    struct request *request = calloc(1, sizeof *request);
    if (!request)
        return -1;
    request->engine = e;
    request->is_delete = body != NULL;
    snprintf(request->uid, sizeof request->uid, "%s", uid);
    struct strbuf path = STRBUF_INIT(2048);
    strbuf_add_text(&path, "/apis/batch/v1/namespaces/");
    client_add_escaped(&path, namespace);
    strbuf_add_text(&path, "/jobs/");
    client_add_escaped(&path, name);
    const struct client_request asked = {.method = method,
            .path = strbuf_text(&path),
            .body = body,
            .lane = HTTP_LANE_SHARED,
            .arg = request,
            .done = on_answer};
    struct error err = {0};
    request->call = strbuf_failed(&path) ? NULL : client_start(e->client, &asked, &err);
    strbuf_finish(&path);
    if (!request->call) {
        log_error("a request could not be sent", log_job(namespace, name), log_text("error", err.text));
        free(request);
        return -1;
    }
    DL_APPEND(e->requests, request);
    return 0;
}

static int delete_job(void *arg, const struct job *job) {
    struct strbuf body = STRBUF_INIT(2048);
    strbuf_add_text(&body, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"propagationPolicy\":\"Background\","
                           "\"preconditions\":{\"uid\":");
    text_add_json(&body, job->uid);
    strbuf_add_text(&body, ",\"resourceVersion\":");
    text_add_json(&body, job->resource_version ? job->resource_version : "");
    strbuf_add_text(&body, "}}");
    int result = strbuf_failed(&body) || !job->resource_version
                         ? -1
                         : start_request(arg, "DELETE", job->namespace, job->name, job->uid, strbuf_text(&body));
    strbuf_finish(&body);
    return result;
}

static int get_job(void *arg, const char *namespace, const char *name, const char *uid) {
    return start_request(arg, "GET", namespace, name, uid, NULL);
}

static void submit(void *arg, struct history_request *request) {
    struct engine *e = arg;
    writer_submit(e->writer, request);
}

/* ---- the register ---- */

static void on_durable(void *arg, const struct history_request *request) {
    struct engine *e = arg;
    reconcile_on_durable(e->reconcile, request);
    if (e->one_pass || e->stopping)
        wake(e); /* it may have been the last */
}

static void on_refused(void *arg, const struct history_request *request, const char *why) {
    struct engine *e = arg;
    (void)why;
    reconcile_on_refused(e->reconcile, request);
    if (e->one_pass)
        wake(e);
}

/* The writer has logged it. */
static void on_store_failing(void *arg, const char *why) {
    struct engine *e = arg;
    reconcile_set_recording(e->reconcile, why == NULL);
    if (why && e->one_pass)
        loop_timer_start(e->store_timer, PASS_STORE_GRACE_MS);
    else
        loop_timer_stop(e->store_timer);
}

static void on_store_room(void *arg) {
    struct engine *e = arg;
    for (size_t i = 0; i < e->n_sources; i++) {
        if (e->sources[i].feeds[KIND_JOBS].reflector)
            reflector_resume(e->sources[i].feeds[KIND_JOBS].reflector);
    }
}

/* ---- what the reflectors bring ---- */

static uint32_t generation_of(const struct feed *feed) {
    return feed->generation << STORE_SOURCE_BITS | feed->source->index;
}

static void finish(struct engine *e, const struct error *err) {
    if (e->finished || e->stopping)
        return;
    e->finished = true;
    e->handler.finished(e->handler.arg, err);
}

static void update_freshness(struct source *source) {
    bool fresh = true;
    for (int kind = 0; kind < KINDS; kind++)
        fresh = fresh && source->feeds[kind].complete && (source->feeds[kind].healthy || kind == KIND_JOBS);
    reconcile_set_fresh(source->engine->reconcile, source->index, fresh);
}

static void feed_begin(void *arg) {
    struct feed *feed = arg;
    feed->generation++;
    /* Another list means that events were lost. */
    feed->healthy = false;
    update_freshness(feed->source);
    if (feed->kind == KIND_JOBS)
        reconcile_list_begins(feed->source->engine->reconcile, feed->source->index);
}

static void warn_if_namespace_unclear(const struct store_namespace *ns) {
    const struct annotations *a = &ns->annotations;
    if (!a->bad_key)
        return;
    log_warn("a Namespace's annotation is not understood: the Jobs it would decide on are kept",
            log_text("namespace", ns->name), log_text("key", a->bad_key), log_text("value", a->bad_value),
            log_text("reason", a->bad_why));
}

/* -1: there was no memory for it. */
static int take_namespace(struct feed *feed, enum reflector_change change, const json_t *object) {
    struct engine *e = feed->source->engine;
    struct store *store = reconcile_store(e->reconcile);
    struct error err = {0};
    const struct store_namespace *ns;
    bool changed;
    if (change == REFLECTOR_DELETED) {
        const char *name = json_string_value(json_object_get(json_object_get(object, "metadata"), "name"));
        if (name)
            store_remove_namespace(store, name);
        return 0;
    }
    if (store_put_namespace(store, object, e->config->policy.prefix, generation_of(feed), &ns, &changed, &err) < 0) {
        log_warn("a Namespace was not taken in", log_text("error", err.text));
        return err.kind == ERROR_NOMEM ? -1 : 0;
    }
    if (!changed)
        return 0;
    warn_if_namespace_unclear(ns);
    if (feed->source->feeds[KIND_JOBS].complete)
        reconcile_namespace_changed(e->reconcile, ns->name);
    return 0;
}

static int take_cronjob(struct feed *feed, enum reflector_change change, const json_t *object) {
    struct engine *e = feed->source->engine;
    struct store *store = reconcile_store(e->reconcile);
    struct error err = {0};
    const struct store_cronjob *cronjob;
    bool changed;
    if (change == REFLECTOR_DELETED) {
        const char *uid = json_string_value(json_object_get(json_object_get(object, "metadata"), "uid"));
        if (!uid)
            return 0;
        store_remove_cronjob(store, uid);
        reconcile_cronjob_changed(e->reconcile, uid);
        return 0;
    }
    if (store_put_cronjob(store, object, e->discovered.cronjobs_tell_success, generation_of(feed), &cronjob, &changed,
                &err) < 0) {
        log_warn("a CronJob was not taken in", log_text("error", err.text));
        return err.kind == ERROR_NOMEM ? -1 : 0;
    }
    if (changed && feed->source->feeds[KIND_JOBS].complete)
        reconcile_cronjob_changed(e->reconcile, cronjob->uid);
    return 0;
}

static void caught_up(struct feed *feed) {
    feed->catching_up = false;
    feed->healthy = true;
    update_freshness(feed->source);
}

static void on_catch_up_over(void *arg) {
    struct engine *e = arg;
    for (size_t i = 0; i < e->n_sources; i++) {
        for (int kind = 0; kind < KINDS; kind++) {
            if (e->sources[i].feeds[kind].catching_up)
                caught_up(&e->sources[i].feeds[kind]);
        }
    }
}

static int feed_item(
        void *arg, enum reflector_change change, const json_t *object, const char *template, size_t template_len) {
    struct feed *feed = arg;
    struct engine *e = feed->source->engine;
    switch (feed->kind) {
    case KIND_NAMESPACES:
        return take_namespace(feed, change, object);
    case KIND_CRONJOBS:
        return take_cronjob(feed, change, object);
    case KIND_JOBS:
        if (change == REFLECTOR_DELETED)
            return reconcile_on_job_deleted(e->reconcile, feed->source->index, object, template, template_len);
        return reconcile_on_job(e->reconcile, feed->source->index, object, template, template_len);
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
        reconcile_list_is_partial(feed->source->engine->reconcile, feed->source->index);
}

static void log_synced(const struct engine *e) {
    struct reconcile_counts counts = reconcile_count(e->reconcile);
    log_info("in sync", log_number("jobs", counts.seen), log_number("unfinished", counts.unfinished),
            log_number("kept", counts.kept), log_number("waiting", counts.waiting), log_number("due", counts.pending));
}

static void feed_complete(void *arg) {
    struct feed *feed = arg;
    struct source *source = feed->source;
    struct engine *e = source->engine;
    bool first = !feed->complete;
    feed->complete = feed->healthy = true;
    feed->catching_up = false;
    struct store *store = reconcile_store(e->reconcile);
    if (feed->kind == KIND_NAMESPACES)
        store_prune_namespaces(store, generation_of(feed));
    else if (feed->kind == KIND_CRONJOBS)
        store_prune_cronjobs(store, generation_of(feed));
    else
        reconcile_list_complete(e->reconcile, source->index);
    bool around_complete = source->feeds[KIND_NAMESPACES].complete && source->feeds[KIND_CRONJOBS].complete;
    if (feed->kind != KIND_JOBS && first && around_complete)
        reflector_start(source->feeds[KIND_JOBS].reflector);
    if (feed->kind != KIND_JOBS && !first) {
        /* What a list took away decides too. */
        reconcile_namespace_changed(e->reconcile, NULL);
    }
    update_freshness(source);
    if (feed->kind == KIND_JOBS && first && engine_is_synced(e))
        log_synced(e);
    wake(e);
}

static bool feed_has_room(void *arg) {
    struct feed *feed = arg;
    struct engine *e = feed->source->engine;
    return feed->kind != KIND_JOBS || !e->writer || writer_has_room(e->writer);
}

static void feed_watching(void *arg) {
    struct feed *feed = arg;
    if (feed->healthy)
        return;
    if (feed->failed)
        log_info("watching again", log_text("resource", kind_names[feed->kind]),
                log_text("namespace", feed->source->namespace));
    feed->failed = false;
    feed->catching_up = true;
    loop_timer_start(feed->source->engine->catch_up_timer, CATCH_UP_MS);
}

static void feed_ended(void *arg) {
    struct feed *feed = arg;
    feed->healthy = feed->catching_up = false;
    update_freshness(feed->source);
}

static void feed_failed(void *arg, const struct reflector_failure *failure) {
    struct feed *feed = arg;
    struct engine *e = feed->source->engine;
    feed->healthy = feed->catching_up = false;
    feed->failed = true;
    update_freshness(feed->source);
    log_error(strcmp(failure->doing, "list") == 0 ? "list failed" : "watch failed",
            log_text("resource", kind_names[feed->kind]), log_text("namespace", feed->source->namespace),
            log_number("status", failure->status), log_text("error", failure->message),
            failure->retry_in_ms >= 0 ? log_duration("retry_in", failure->retry_in_ms) : log_text("given_up", "true"));
    if (failure->retry_in_ms >= 0)
        return;
    struct error err = {0};
    error_set(&err, ERROR_REMOTE, "cannot list %s%s%s: %s", kind_names[feed->kind],
            feed->source->namespace ? " in " : "", feed->source->namespace ? feed->source->namespace : "",
            failure->message);
    if (e->pass_error.kind == ERROR_NONE)
        e->pass_error = err;
    /* The other Namespaces of the list have their pass all the same. */
    feed->source->given_up = true;
    wake(e);
}

/* ---- start ---- */

static void on_date(void *arg, int64_t sent_ms, int64_t received_ms, int64_t date_ms) {
    struct engine *e = arg;
    if (!e->reconcile)
        return;
    struct skew *skew = reconcile_skew(e->reconcile);
    bool was_known = skew->known;
    skew_sample(skew, sent_ms, received_ms, date_ms);
    int64_t off_ms = skew_from_wall(skew, clock_wall_ms(), clock_mono_ms());
    bool far = off_ms > SKEW_TOLD_MS || off_ms < -SKEW_TOLD_MS;
    if (far && !e->skew_told)
        log_warn("this machine's clock and the API server's differ; a Job goes when its time is up on both",
                log_duration("server_ahead_by", off_ms));
    e->skew_told = far;
    if (!was_known)
        wake(e);
}

static int create_feed(struct source *source, enum kind kind, struct error *err) {
    struct engine *e = source->engine;
    struct feed *feed = &source->feeds[kind];
    *feed = (struct feed){.source = source, .kind = kind};
    struct strbuf path = STRBUF_INIT(1024), query = STRBUF_INIT(4096);
    if (kind == KIND_NAMESPACES) {
        strbuf_add_text(&path, "/api/v1/namespaces");
        if (source->namespace)
            strbuf_add_format(&query, "fieldSelector=metadata.name%%3D%s", source->namespace);
    } else {
        strbuf_add_format(&path, "/apis/batch/%s/", kind == KIND_JOBS ? "v1" : e->discovered.cronjob_version);
        if (source->namespace)
            strbuf_add_format(&path, "namespaces/%s/", source->namespace);
        strbuf_add_text(&path, kind_names[kind]);
    }
    if (kind == KIND_JOBS && *e->config->selector) {
        strbuf_add_text(&query, "labelSelector=");
        client_add_escaped(&query, e->config->selector);
    }
    const struct reflector_settings settings = {.path = strbuf_text(&path),
            .query = strbuf_text(&query),
            .list_only = e->one_pass,
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
    bool fits = !strbuf_failed(&path) && !strbuf_failed(&query);
    feed->reflector = fits ? reflector_create(e->loop, e->client, &settings, &handler, err) : NULL;
    strbuf_finish(&path);
    strbuf_finish(&query);
    if (!fits)
        return error_set(err, ERROR_USAGE, "the selector is too long");
    return feed->reflector ? 0 : -1;
}

static int find_source(const struct engine *e, const char *namespace) {
    for (size_t i = 0; i < e->n_sources; i++) {
        if (!e->sources[i].namespace || strcmp(e->sources[i].namespace, namespace) == 0)
            return (int)i;
    }
    return -1;
}

static int take_open_row(void *arg, const struct history_open_run *run, struct error *err) {
    struct engine *e = arg;
    int source = find_source(e, run->namespace);
    if (source < 0)
        return 0; /* another controller's Namespace */
    return reconcile_add_open_row(
            e->reconcile, run->namespace, run->job_name, run->job_uid, run->state, (uint16_t)source, err);
}

static int start_feeds(struct engine *e, struct error *err) {
    if (e->writer) {
        if (writer_set_cluster(e->writer, e->discovered.cluster, err) < 0 ||
                writer_each_open(e->writer, e->discovered.cluster, take_open_row, e, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < e->n_sources; i++) {
        for (int kind = 0; kind < KINDS; kind++) {
            if (create_feed(&e->sources[i], (enum kind)kind, err) < 0)
                return -1;
        }
        reflector_start(e->sources[i].feeds[KIND_NAMESPACES].reflector);
        reflector_start(e->sources[i].feeds[KIND_CRONJOBS].reflector);
    }
    return 0;
}

static void on_discovered(
        void *arg, const struct discovered *discovered, const struct error *why, int64_t retry_in_ms) {
    struct engine *e = arg;
    if (!discovered) {
        log_error("the API server does not answer as it should", log_text("server", e->kube_config->server),
                log_text("error", why->text),
                retry_in_ms >= 0 ? log_duration("retry_in", retry_in_ms) : log_text("given_up", "true"));
        if (retry_in_ms < 0) {
            struct error err = *why;
            error_context(&err, "API server %.200s", e->kube_config->server);
            finish(e, &err);
        }
        return;
    }
    e->discovered = *discovered;
    log_info("connected", log_text("server", e->kube_config->server), log_text("version", discovered->server_version),
            log_text("cluster", discovered->cluster), log_text("cronjobs", discovered->cronjob_version));
    if (!discovered->cluster_is_sure && !e->dry_run)
        log_warn("the cluster is named by its URL in the register, since the Namespace kube-system may not be read",
                log_text("hint", "allow get on that Namespace, or set cluster = NAME in [sexton]"));
    struct error err = {0};
    if (start_feeds(e, &err) < 0) {
        log_error("cannot start", log_text("error", err.text));
        finish(e, &err);
    }
}

static int create_sources(struct engine *e, struct error *err) {
    size_t len, n = 0;
    const char *at = e->config->namespaces;
    bool all = false;
    for (const char *word; (word = text_list_next(&at, &len)); n++)
        all = all || (len == 1 && *word == '*');
    if (n > RECONCILE_SOURCES_MAX)
        return error_set(
                err, ERROR_USAGE, "more than %d Namespaces are listed; use '*' with a selector", RECONCILE_SOURCES_MAX);
    e->n_sources = all || n == 0 ? 1 : n;
    e->sources = calloc(e->n_sources, sizeof *e->sources);
    if (!e->sources)
        return error_nomem(err);
    at = e->config->namespaces;
    for (size_t i = 0; i < e->n_sources; i++) {
        e->sources[i].engine = e;
        e->sources[i].index = (uint16_t)i;
        const char *word = all ? NULL : text_list_next(&at, &len);
        if (word && !(e->sources[i].namespace = strndup(word, len)))
            return error_nomem(err);
    }
    return 0;
}

static void on_timer(void *arg) {
    struct engine *e = arg;
    loop_timer_start(e->timer, reconcile_run(e->reconcile));
    if (e->stopping && reconcile_in_flight(e->reconcile) == 0 && !e->stopped) {
        e->stopped = true;
        loop_timer_stop(e->stop_timer);
        e->handler.stopped(e->handler.arg);
        return;
    }
    if (!e->one_pass || e->finished || !engine_is_synced(e))
        return;
    if (!reconcile_skew(e->reconcile)->known) {
        struct error err = {0};
        error_set(&err, ERROR_REMOTE,
                "the API server sends no Date header, so its clock is not known: nothing is deleted");
        finish(e, &err);
    } else if (reconcile_is_done(e->reconcile) && (!e->writer || writer_pending(e->writer) == 0)) {
        finish(e, e->pass_error.kind != ERROR_NONE ? &e->pass_error : NULL);
    }
}

static void on_store_grace_over(void *arg) {
    struct engine *e = arg;
    struct error err = {0};
    error_set(&err, ERROR_IO, "the register %s cannot be written, so nothing is deleted", e->config->store);
    finish(e, &err);
}

static void on_stop_grace_over(void *arg) {
    struct engine *e = arg;
    log_warn("stopping although requests are still in flight",
            log_number("requests", reconcile_in_flight(e->reconcile)));
    e->stopped = true;
    e->handler.stopped(e->handler.arg);
}

static void take_evidence_settings(struct engine *e) {
    const struct config *config = e->config;
    e->evidence = (struct evidence_settings){.prefix = config->policy.prefix,
            .labels = config->labels,
            .annotations = config->annotations,
            .manifest = config->manifest};
}

static int build(struct engine *e, struct error *err) {
    const struct config *config = e->config;
    take_evidence_settings(e);
    const struct reconcile_settings settings = {.policy = &config->policy,
            .evidence = &e->evidence,
            .delete_qps = config->delete_qps,
            .max_in_flight = config->max_in_flight,
            .has_selector = *config->selector != '\0',
            .one_pass = e->one_pass,
            .missing_namespace = NAMESPACE_UNKNOWN};
    const struct reconcile_ports ports = {
            .arg = e, .delete_job = delete_job, .get_job = get_job, .submit = e->dry_run ? NULL : submit, .wake = wake};
    const struct client_handler client_handler = {.arg = e, .date = on_date};
    const struct writer_settings writer_settings = {.location = config->store, .retention_ms = config->retention_ms};
    const struct writer_handler writer_handler = {
            .arg = e, .durable = on_durable, .failing = on_store_failing, .room = on_store_room, .refused = on_refused};
    if (create_sources(e, err) < 0 || !(e->timer = loop_timer_create(e->loop, on_timer, e, err)) ||
            !(e->catch_up_timer = loop_timer_create(e->loop, on_catch_up_over, e, err)) ||
            !(e->store_timer = loop_timer_create(e->loop, on_store_grace_over, e, err)) ||
            !(e->stop_timer = loop_timer_create(e->loop, on_stop_grace_over, e, err)) ||
            !(e->reconcile = reconcile_create(&settings, &ports, err)) ||
            !(e->client = client_create(e->loop, e->kube_config, &client_handler, err)))
        return -1;
    if (e->dry_run)
        return 0;
    if (writer_open(e->loop, &writer_settings, &writer_handler, &e->writer, err) == 0)
        return 0;
    err->kind = ERROR_USAGE; /* at the start, what is wrong with the store is wrong with what was configured */
    return -1;
}

int engine_create(struct loop *loop, const struct engine_settings *settings, const struct engine_handler *handler,
        struct engine **ret, struct error *err) {
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return error_nomem(err);
    e->loop = loop;
    e->config = settings->config;
    e->kube_config = settings->kube_config;
    e->dry_run = settings->dry_run;
    e->one_pass = settings->one_pass;
    e->handler = *handler;
    if (build(e, err) < 0) {
        engine_destroy(e);
        return -1;
    }
    *ret = e;
    return 0;
}

int engine_destroy(struct engine *e) {
    if (!e)
        return 0;
    discovery_destroy(e->discovery);
    for (size_t i = 0; e->sources && i < e->n_sources; i++) {
        for (int kind = 0; kind < KINDS; kind++)
            reflector_destroy(e->sources[i].feeds[kind].reflector);
        free(e->sources[i].namespace);
    }
    struct request *request, *next;
    DL_FOREACH_SAFE (e->requests, request, next) {
        client_cancel(request->call);
        free(request);
    }
    client_destroy(e->client);
    int result = writer_close(e->writer, ENGINE_FLUSH_GRACE_MS);
    reconcile_destroy(e->reconcile);
    loop_timer_destroy(e->timer);
    loop_timer_destroy(e->stop_timer);
    loop_timer_destroy(e->catch_up_timer);
    loop_timer_destroy(e->store_timer);
    free(e->sources);
    free(e);
    return result;
}

void engine_start(struct engine *e) {
    const struct discovery_settings settings = {.cluster = *e->config->cluster ? e->config->cluster : NULL,
            .fallback = e->kube_config->server,
            .attempts = e->one_pass ? PASS_ATTEMPTS : 0};
    struct error err = {0};
    e->discovery = discovery_start(e->loop, e->client, &settings, on_discovered, e, &err);
    if (!e->discovery)
        finish(e, &err);
}

void engine_stop(struct engine *e) {
    if (e->stopping)
        return;
    e->stopping = true;
    /* The watches stay: the confirmation of what is in flight may come by one. */
    reconcile_stop(e->reconcile);
    loop_timer_start(e->stop_timer, ENGINE_STOP_GRACE_MS);
    wake(e);
}

void engine_config_changed(struct engine *e) {
    take_evidence_settings(e);
    if (e->writer)
        writer_set_retention(e->writer, e->config->retention_ms);
    reconcile_set_limits(e->reconcile, e->config->delete_qps, e->config->max_in_flight);
    reconcile_policy_changed(e->reconcile);
}

const struct store *engine_store(const struct engine *e) {
    return reconcile_store(e->reconcile);
}

int64_t engine_server_ahead_ms(const struct engine *e) {
    return skew_from_wall(reconcile_skew(e->reconcile), clock_wall_ms(), clock_mono_ms());
}

struct reconcile_counts engine_count(const struct engine *e) {
    return reconcile_count(e->reconcile);
}

bool engine_is_synced(const struct engine *e) {
    for (size_t i = 0; i < e->n_sources; i++) {
        if (!e->sources[i].feeds[KIND_JOBS].complete && !e->sources[i].given_up)
            return false;
    }
    return true;
}
