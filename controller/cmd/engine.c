#include "cmd/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "cmd/announce.h"
#include "cmd/feeds.h"
#include "cmd/rights.h"
#include "history/writer.h"
#include "jobs/meters.h"
#include "kube/client.h"
#include "kube/discovery.h"
#include "kube/lease.h"

#define SKEW_TOLD_MS 5000 /* a clock that is off by more is worth a line in the log */
/* And is news again only after it was off by less: at the limit, it would be told for ever. */
#define SKEW_OVER_MS 2500
#define PASS_ATTEMPTS 3
#define PASS_STORE_GRACE_MS 30000 /* one pass: a register that cannot be written for this long ends it */
#define POOL_BESIDE 8             /* connections for Events and looks beside the deletions */
#define HOST_MAX 64               /* of a host name in the holder's identity */

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
    bool dry_run, one_pass, patient, ask_rights;
    struct engine_handler handler;

    struct client *client;
    struct discovery *discovery;
    struct writer *writer;
    struct reconcile *reconcile;
    struct feeds *feeds;
    struct announce *announce; /* NULL: no Kubernetes Events */
    struct lease *lease;       /* NULL: none is needed */
    struct rights *rights;     /* NULL: nobody reads of it */
    struct request *requests;
    struct meters meters;

    struct loop_timer *timer, *stop_timer, *store_timer;
    struct discovered discovered;
    struct skew_lessons lessons; /* of the lease's renewals */
    bool started;
    bool store_is_open;         /* or none is needed */
    struct error store_failure; /* ERROR_NONE: it can be written */
    struct evidence_settings evidence;
    bool stopping, stopped, finished, skew_told;
    const char *lease_namespace;
    bool lease_is_over; /* it was given back, or there was none */
    struct error why;   /* finished: ERROR_NONE when all went well */
    bool connected;
    char connect_why[ERROR_TEXT_MAX]; /* discovery failed last; "" not yet */
};

/* ---- ports of the reconciler ---- */

static void wake(void *arg) {
    struct engine *e = arg;
    loop_timer_start(e->timer, 0);
}

static void on_answer(void *arg, const struct client_answer *answer) {
    struct request *request = arg;
    struct engine *e = request->engine;
    struct reconcile_answer a = {.status = answer->status,
            .sent = answer->sent,
            .withheld = answer->withheld,
            .retry_after_ms = answer->retry_after_ms,
            .message = answer->message,
            .body = answer->body};
    DL_DELETE(e->requests, request);
    /* The API server says what it did, and that there is no such Job, by an object. Who answers without one is
     * something before it, and knows nothing. */
    const char *kind = json_string_value(json_object_get(answer->body, "kind"));
    bool not_found = kind && strcmp(kind, "Status") == 0 && answer->reason && strcmp(answer->reason, "NotFound") == 0;
    if ((answer->status / 100 == 2 && !kind) || (answer->status == 404 && !not_found))
        a.status = 0;
    if (request->is_delete)
        reconcile_on_delete(e->reconcile, request->uid, &a);
    else
        reconcile_on_get(e->reconcile, request->uid, &a);
    free(request);
}

static bool may_send(void *arg) {
    const struct request *request = arg;
    return reconcile_may_send(request->engine->reconcile, request->uid);
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
            .may_send = request->is_delete ? may_send : NULL,
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

static void tell(void *arg, const struct news *news) {
    struct engine *e = arg;
    meters_note(&e->meters, news);
    announce_news(e->announce, news);
}

/* ---- the register ---- */

static void begin(struct engine *e);

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
    e->store_failure.kind = ERROR_NONE;
    if (why)
        error_set(&e->store_failure, ERROR_IO, "%s", why);
    reconcile_set_recording(e->reconcile, why == NULL);
    if (why && e->one_pass)
        loop_timer_start(e->store_timer, PASS_STORE_GRACE_MS);
    else
        loop_timer_stop(e->store_timer);
    begin(e);
}

static void on_store_opened(void *arg) {
    struct engine *e = arg;
    e->store_is_open = true;
    if (e->lease && !e->stopping)
        lease_start(e->lease);
    begin(e);
}

/* The writer has logged it. What is still there is recorded again. */
static void on_store_anew(void *arg) {
    struct engine *e = arg;
    reconcile_register_is_new(e->reconcile);
    feeds_relist_jobs(e->feeds);
}

static void on_store_room(void *arg) {
    struct engine *e = arg;
    feeds_resume(e->feeds);
}

/* ---- the end ---- */

/* Nothing may be under way that was sent because of the lease when it goes back. Others need not wait for the rest. */
static bool is_deleting(const struct engine *e) {
    const struct request *request = e->requests;
    while (request && !request->is_delete)
        request = request->next;
    return request != NULL;
}

static bool lease_is_over(struct engine *e) {
    if (!e->lease)
        e->lease_is_over = true;
    else if (!e->lease_is_over && !is_deleting(e))
        lease_release(e->lease);
    return e->lease_is_over;
}

static void finish(struct engine *e, const struct error *err) {
    if (e->finished || e->stopping)
        return;
    e->finished = true;
    e->why = err ? *err : (struct error){.kind = ERROR_NONE};
    if (lease_is_over(e) || is_deleting(e))
        e->handler.finished(e->handler.arg, err ? &e->why : NULL);
}

static void stop_if_idle(struct engine *e) {
    if (e->stopped || !lease_is_over(e) || reconcile_in_flight(e->reconcile) > 0)
        return;
    e->stopped = true;
    loop_timer_stop(e->stop_timer);
    e->handler.stopped(e->handler.arg);
}

static void on_stop_grace_over(void *arg) {
    struct engine *e = arg;
    if (e->stopped)
        return;
    log_warn("stopping although requests are still in flight",
            log_number("requests", reconcile_in_flight(e->reconcile)));
    e->stopped = true;
    e->handler.stopped(e->handler.arg);
}

/* ---- the lease ---- */

static void on_lease_changed(void *arg, int64_t until_ms) {
    struct engine *e = arg;
    reconcile_set_lease(e->reconcile, until_ms, lease_was_anothers(e->lease));
    if (until_ms != LEASE_NOT_HELD)
        announce_lease(e->announce, true);
}

static void on_lease_taken(void *arg, const char *holder, bool alive) {
    struct engine *e = arg;
    struct error err = {0};
    announce_lease(e->announce, false);
    if (!e->one_pass || !alive)
        return;
    error_set(&err, ERROR_REMOTE,
            "another controller deletes Jobs here: the lease %s/%s is held by %s, and renewed. Let it do the work, "
            "stop it, or say --leader-elect=false",
            e->lease_namespace, e->config->lease_name, holder);
    finish(e, &err);
}

static void on_lease_failed(void *arg, int status, const char *message, int in_a_row) {
    struct engine *e = arg;
    struct error err = {0};
    bool final = status == 400 || status == 401 || status == 403 || status == 404 || in_a_row >= PASS_ATTEMPTS;
    if (!e->one_pass || !final)
        return;
    error_set(&err, ERROR_REMOTE, "the lease %s/%s cannot be had, and nothing is deleted without it: %s",
            e->lease_namespace, e->config->lease_name, message);
    finish(e, &err);
}

static void on_lease_released(void *arg) {
    struct engine *e = arg;
    e->lease_is_over = true;
    if (e->stopping)
        wake(e);
    else if (e->finished)
        e->handler.finished(e->handler.arg, e->why.kind != ERROR_NONE ? &e->why : NULL);
}

/* Each renewal tells what time it is at the API server, and some moments tell more of it than others. */
static int64_t plan_renewal(void *arg, int64_t by_ms) {
    struct engine *e = arg;
    return skew_ask_at(&e->lessons, reconcile_skew(e->reconcile), clock_mono_ms(), by_ms);
}

const char *engine_lease_namespace(const struct config *config, const struct kube_config *kube_config) {
    if (*config->lease_namespace)
        return config->lease_namespace;
    return kube_config->namespace && *kube_config->namespace ? kube_config->namespace : "default";
}

/* client-go's manner: the host, which in a Pod is the Pod's name, and what no other process has. */
static int create_lease(struct engine *e, struct error *err) {
    char host[HOST_MAX] = "", identity[LEASE_IDENTITY_MAX];
    if (gethostname(host, sizeof host - 1) != 0 || !*host)
        snprintf(host, sizeof host, "sexton");
    snprintf(identity, sizeof identity, "%s_%08llx%08llx", host, (unsigned long long)random_below(1ull << 32),
            (unsigned long long)random_below(1ull << 32));
    const struct config *config = e->config;
    e->lease_namespace = engine_lease_namespace(config, e->kube_config);
    const struct lease_settings settings = {.namespace = e->lease_namespace,
            .name = config->lease_name,
            .identity = identity,
            .duration_ms = config->lease_duration_ms,
            .renew_deadline_ms = config->renew_deadline_ms,
            .retry_period_ms = config->retry_period_ms};
    const struct lease_handler handler = {.arg = e,
            .changed = on_lease_changed,
            .taken = on_lease_taken,
            .failed = on_lease_failed,
            .released = on_lease_released,
            .plan = plan_renewal};
    /* What left in time must not arrive when another may hold the lease, should the network keep it back so long. */
    int64_t slack_ms = config->lease_duration_ms - config->renew_deadline_ms;
    if (slack_ms < HTTP_TCP_USER_TIMEOUT_MS)
        client_set_user_timeout(e->client, slack_ms);
    e->lease = lease_create(e->loop, e->client, &settings, &handler, err);
    return e->lease ? 0 : -1;
}

/* ---- the feeds ---- */

static void on_synced(void *arg) {
    const struct engine *e = arg;
    announce_synced(e->announce);
    struct reconcile_counts counts = reconcile_count(e->reconcile);
    log_info("in sync", log_number("jobs", counts.seen), log_number("unfinished", counts.unfinished),
            log_number("kept", counts.kept), log_number("waiting", counts.waiting), log_number("due", counts.pending));
}

static void on_namespace_unclear(void *arg, const struct store_namespace *ns) {
    const struct engine *e = arg;
    announce_namespace(e->announce, ns);
}

static bool has_room(void *arg) {
    const struct engine *e = arg;
    return !e->writer || writer_has_room(e->writer);
}

/* ---- start ---- */

static void on_date(void *arg, int64_t sent_ms, int64_t received_ms, int64_t date_ms) {
    struct engine *e = arg;
    if (!e->reconcile)
        return;
    struct skew *skew = reconcile_skew(e->reconcile);
    bool was_known = skew->known;
    skew_sample(skew, sent_ms, received_ms, date_ms);
    if (e->writer)
        writer_set_skew(e->writer, skew);
    int64_t off_ms = skew_from_wall(skew, clock_wall_ms(), clock_mono_ms());
    bool far = off_ms > SKEW_TOLD_MS || off_ms < -SKEW_TOLD_MS;
    if (far && !e->skew_told)
        log_warn("this machine's clock and the API server's differ; a Job goes when its time is up on both",
                log_duration("server_ahead_by", off_ms));
    e->skew_told = far || (e->skew_told && (off_ms > SKEW_OVER_MS || off_ms < -SKEW_OVER_MS));
    if (!was_known)
        wake(e);
}

static int take_open_row(void *arg, const struct history_open_run *run, struct error *err) {
    struct engine *e = arg;
    int source = feeds_find_source(e->feeds, run->namespace);
    if (source < 0)
        return 0; /* another controller's Namespace */
    /* One that held the lease meanwhile may have asked for what was due. */
    bool maybe_asked = e->lease && run->due_at_ms != TIME_NONE && run->due_at_ms <= clock_wall_ms();
    enum run_state state = maybe_asked ? RUN_DELETING : run->state;
    return reconcile_add_open_row(
            e->reconcile, run->namespace, run->job_name, run->job_uid, state, (uint16_t)source, err);
}

static int take_recreated(void *arg, const struct history_recreated_run *run, struct error *err) {
    struct engine *e = arg;
    (void)err;
    reconcile_note_deleted(e->reconcile, run->namespace, run->job_name, run->created_at_ms, run->deleted_at_ms);
    return 0;
}

/* What was deleted and created again before the start. In a dry run the register serves if it is there. */
static int learn_recreated(struct engine *e, struct error *err) {
    const char *cluster = e->discovered.cluster;
    int64_t since_ms = clock_wall_ms() - RECREATED_LOOKBACK_MS;
    int min_rows = e->config->policy.recreate_limit == 1 ? 1 : 2; /* what came once came back never */
    if (e->writer)
        return writer_each_recreated(e->writer, cluster, since_ms, min_rows, take_recreated, e, err);
    struct history *history = NULL;
    struct error why = {0};
    if (history_open(e->config->store, HISTORY_READ, &history, &why) < 0 ||
            history_each_recreated(history, cluster, since_ms, min_rows, take_recreated, e, &why) < 0)
        log_debug("which names come back is not known without the register", log_text("error", why.text));
    history_close(history);
    return 0;
}

static int start_feeds(struct engine *e, struct error *err) {
    if (e->writer) {
        if (writer_set_cluster(e->writer, e->discovered.cluster, err) < 0 ||
                writer_each_open(e->writer, e->discovered.cluster, take_open_row, e, err) < 0)
            return -1;
    }
    if (learn_recreated(e, err) < 0)
        return -1;
    return feeds_start(e->feeds, e->client, &e->discovered, err);
}

/* Once, when the API server's ways are known and the register is open. */
static void begin(struct engine *e) {
    struct error err = {0};
    if (e->started || e->stopping || !e->connected || !e->store_is_open)
        return;
    if (e->patient && e->store_failure.kind != ERROR_NONE)
        return; /* it failed again meanwhile, and on_store_failing comes back here */
    e->started = true;
    if (start_feeds(e, &err) < 0) {
        log_error("cannot start", log_text("error", err.text));
        finish(e, &err);
    }
}

static void on_discovered(
        void *arg, const struct discovered *discovered, const struct error *why, int64_t retry_in_ms) {
    struct engine *e = arg;
    if (!discovered) {
        snprintf(e->connect_why, sizeof e->connect_why, "%s", why->text);
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
    e->connected = true;
    announce_set_cronjob_version(e->announce, e->discovered.cronjob_version);
    log_info("connected", log_text("server", e->kube_config->server), log_text("version", discovered->server_version),
            log_text("cluster", discovered->cluster), log_text("cronjobs", discovered->cronjob_version));
    if (!discovered->cluster_is_sure && !e->dry_run)
        log_warn("the cluster is named by its URL in the register, since the Namespace kube-system may not be read",
                log_text("hint", "allow get on that Namespace, or set cluster = NAME in [sexton]"));
    if (e->rights)
        rights_start(e->rights);
    begin(e);
}

static void on_forbidden(void *arg) {
    struct engine *e = arg;
    if (e->rights)
        rights_suspect(e->rights);
}

static void on_timer(void *arg) {
    struct engine *e = arg;
    loop_timer_start(e->timer, reconcile_run(e->reconcile));
    if (e->stopping)
        stop_if_idle(e);
    if (e->stopping || !e->one_pass || e->finished || !engine_is_synced(e))
        return;
    if (!reconcile_skew(e->reconcile)->known) {
        struct error err = {0};
        error_set(&err, ERROR_REMOTE,
                "the API server sends no Date header, so its clock is not known: nothing is deleted");
        finish(e, &err);
    } else if (reconcile_is_done(e->reconcile) && (!e->writer || writer_pending(e->writer) == 0)) {
        finish(e, feeds_error(e->feeds));
    }
}

static void on_store_grace_over(void *arg) {
    struct engine *e = arg;
    struct error err = {0};
    error_set(&err, ERROR_IO, "the register %s cannot be written, so nothing is deleted", e->config->store);
    finish(e, &err);
}

static void take_evidence_settings(struct engine *e) {
    const struct config *config = e->config;
    e->evidence = (struct evidence_settings){.prefix = config->policy.prefix,
            .labels = config->labels,
            .annotations = config->annotations,
            .manifest = config->manifest};
}

static bool may_delete(void *arg) {
    const struct engine *e = arg;
    return reconcile_leads(e->reconcile);
}

/* Not of a rehearsal, nor of one pass, which ends when its work is done. */
static int create_announce(struct engine *e, struct error *err) {
    const struct announce_settings settings = {.config = e->config,
            .store = reconcile_store(e->reconcile),
            .leads = !e->config->leader_elect,
            .arg = e,
            .may_delete = may_delete};
    if (e->dry_run || e->one_pass)
        return 0;
    e->announce = announce_create(e->loop, e->client, &settings, err);
    return e->announce ? 0 : -1;
}

/* One connection for each deletion under way, and some for what is asked beside. */
static void set_pool(struct engine *e) {
    client_set_pool(e->client, (int)e->config->max_in_flight + POOL_BESIDE);
}

static int build(struct engine *e, struct error *err) {
    const struct config *config = e->config;
    take_evidence_settings(e);
    const struct reconcile_settings settings = {.policy = &config->policy,
            .evidence = &e->evidence,
            .delete_qps = config->delete_qps,
            .max_in_flight = config->max_in_flight,
            .has_selector = *config->selector != '\0',
            .leader_elect = config->leader_elect,
            .one_pass = e->one_pass,
            .missing_namespace = NAMESPACE_UNKNOWN};
    const struct reconcile_ports ports = {.arg = e,
            .delete_job = delete_job,
            .get_job = get_job,
            .submit = e->dry_run ? NULL : submit,
            .wake = wake,
            .tell = tell};
    const struct client_handler client_handler = {.arg = e, .date = on_date, .forbidden = on_forbidden};
    const struct writer_settings writer_settings = {
            .location = config->store, .retention_ms = config->retention_ms, .patient = e->patient};
    const struct writer_handler writer_handler = {.arg = e,
            .durable = on_durable,
            .failing = on_store_failing,
            .opened = on_store_opened,
            .anew = on_store_anew,
            .room = on_store_room,
            .refused = on_refused};
    const struct feeds_handler feeds_handler = {.arg = e,
            .progressed = wake,
            .synced = on_synced,
            .has_room = has_room,
            .namespace_unclear = on_namespace_unclear};
    if (!(e->timer = loop_timer_create(e->loop, on_timer, e, err)) ||
            !(e->store_timer = loop_timer_create(e->loop, on_store_grace_over, e, err)) ||
            !(e->stop_timer = loop_timer_create(e->loop, on_stop_grace_over, e, err)) ||
            !(e->reconcile = reconcile_create(&settings, &ports, err)) ||
            !(e->client = client_create(e->loop, e->kube_config, &client_handler, err)))
        return -1;
    const struct feeds_settings feeds_settings = {.config = config, .reconcile = e->reconcile, .one_pass = e->one_pass};
    set_pool(e);
    if (create_announce(e, err) < 0 || !(e->feeds = feeds_create(e->loop, &feeds_settings, &feeds_handler, err)))
        return -1;
    const struct permissions_settings rights = {
            .config = config, .kube_config = e->kube_config, .dry_run = e->dry_run, .pace_ms = RIGHTS_PACE_MS};
    if (e->ask_rights && !(e->rights = rights_create(e->loop, e->client, &rights, err)))
        return -1;
    e->store_is_open = e->dry_run || !e->patient;
    if (e->dry_run)
        return 0;
    if (config->leader_elect && create_lease(e, err) < 0)
        return -1;
    if (writer_open(e->loop, &writer_settings, &writer_handler, &e->writer, err) == 0)
        return 0;
    /* At the start, what is wrong with the store is wrong with what was configured; but for another one that has it. */
    if (err->kind != ERROR_REMOTE)
        err->kind = ERROR_USAGE;
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
    e->ask_rights = settings->ask_rights;
    e->patient = settings->patient;
    e->handler = *handler;
    meters_init(&e->meters);
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
    lease_destroy(e->lease);
    rights_destroy(e->rights);
    feeds_destroy(e->feeds);
    announce_destroy(e->announce);
    e->announce = NULL; /* what is durable yet is no news any more */
    struct request *request, *next;
    DL_FOREACH_SAFE (e->requests, request, next) {
        client_cancel(request->call);
        free(request);
    }
    client_destroy(e->client);
    int result = writer_close(e->writer, ENGINE_FLUSH_GRACE_MS);
    reconcile_destroy(e->reconcile);
    meters_finish(&e->meters);
    loop_timer_destroy(e->timer);
    loop_timer_destroy(e->stop_timer);
    loop_timer_destroy(e->store_timer);
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
    else if (e->lease && e->store_is_open)
        lease_start(e->lease); /* not before: who waits for a register is not to keep another from acting */
}

void engine_stop(struct engine *e) {
    if (e->stopping)
        return;
    e->stopping = true;
    /* The watches stay: the confirmation of what is in flight may come by one. */
    reconcile_stop(e->reconcile);
    announce_stop(e->announce);
    loop_timer_start(e->stop_timer, ENGINE_STOP_GRACE_MS);
    wake(e);
}

void engine_config_changed(struct engine *e) {
    take_evidence_settings(e);
    if (e->writer)
        writer_set_retention(e->writer, e->config->retention_ms);
    reconcile_set_limits(e->reconcile, e->config->delete_qps, e->config->max_in_flight);
    set_pool(e);
    announce_config_changed(e->announce);
    feeds_config_changed(e->feeds);
    reconcile_policy_changed(e->reconcile);
}

void engine_config_refused(struct engine *e, const char *why) {
    announce_refused(e->announce, why);
}

const struct store *engine_store(const struct engine *e) {
    return reconcile_store(e->reconcile);
}

const struct recreated *engine_recreated(const struct engine *e) {
    return reconcile_recreated(e->reconcile);
}

int64_t engine_server_ahead_ms(const struct engine *e) {
    return skew_from_wall(reconcile_skew(e->reconcile), clock_wall_ms(), clock_mono_ms());
}

struct engine_parts engine_parts(const struct engine *e) {
    return (struct engine_parts){.client = e->client,
            .feeds = e->feeds,
            .reconcile = e->reconcile,
            .meters = &e->meters,
            .announce = e->announce,
            .writer = e->writer};
}

struct reconcile_counts engine_count(const struct engine *e) {
    return reconcile_count(e->reconcile);
}

bool engine_is_synced(const struct engine *e) {
    return feeds_is_synced(e->feeds);
}

static enum health_lease lease_state(const struct engine *e) {
    if (!e->lease)
        return HEALTH_LEASE_UNNEEDED;
    if (reconcile_leads(e->reconcile))
        return HEALTH_LEASE_OURS;
    if (!lease_is_known(e->lease))
        return HEALTH_LEASE_UNKNOWN;
    return *lease_holder(e->lease) ? HEALTH_LEASE_OTHERS : HEALTH_LEASE_FREE;
}

struct health_facts engine_health(const struct engine *e) {
    const char *store_failure = engine_store_failure(e);
    struct health_facts facts = {.stopping = e->stopping,
            .dry_run = e->dry_run,
            .connected = e->connected,
            .connect_why = e->connect_why,
            .waits = !e->started,
            .config_why = "",
            .store_why = store_failure ? store_failure : "",
            .store_busy_ms = e->writer ? writer_busy_ms(e->writer) : 0,
            .lease = lease_state(e),
            .lease_holder = e->lease ? lease_holder(e->lease) : "",
            .lease_why = "",
            .rights_missing = "",
            .rights_optional = "",
            .rights_unknown = ""};
    facts.api_silent_ms = client_silent_ms(e->client, &facts.api_why);
    if (e->lease)
        facts.lease_failing_ms = lease_failing_ms(e->lease, &facts.lease_why);
    if (e->rights)
        rights_tell_health(e->rights, &facts);
    feeds_tell_health(e->feeds, &facts);
    return facts;
}

const char *engine_store_failure(const struct engine *e) {
    if (e->store_failure.kind != ERROR_NONE)
        return e->store_failure.text;
    return e->store_is_open ? NULL : "it is being opened";
}

const char *engine_waits_for(const struct engine *e) {
    return e->lease && !reconcile_leads(e->reconcile) ? lease_holder(e->lease) : NULL;
}
