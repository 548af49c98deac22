#include "cmd/scrape.h"

#include "base/clock.h"
#include "base/process.h"
#include "cmd/announce.h"
#include "cmd/common.h"
#include "cmd/feeds.h"
#include "history/writer.h"
#include "jobs/meters.h"
#include "kube/client.h"

static void take_meters(const struct meters *meters, struct metrics *ret) {
    ret->runs_recorded = &meters->recorded;
    ret->jobs_deleted = &meters->deleted;
    ret->deletion_failures = &meters->failures;
    ret->finish_to_gone = &meters->finish_to_gone;
    ret->due_to_deleted = &meters->due_to_deleted;
    ret->job_duration[METRICS_SUCCEEDED] = &meters->durations[METERS_SUCCEEDED];
    ret->job_duration[METRICS_FAILED] = &meters->durations[METERS_FAILED];
    ret->overflow = (int64_t)(meters->recorded.overflow + meters->deleted.overflow + meters->failures.overflow);
}

static struct reconcile_survey survey_jobs(struct scrape *scrape, const struct reconcile *reconcile) {
    int64_t began_ms = clock_mono_ms();
    if (began_ms < scrape->survey_next_ms)
        return scrape->survey;
    scrape->survey = reconcile_survey(reconcile);
    int64_t ended_ms = clock_mono_ms();
    scrape->survey_next_ms = ended_ms + (ended_ms - began_ms) * SCRAPE_SURVEY_SHARE;
    return scrape->survey;
}

static void take_reconcile(struct scrape *scrape, const struct reconcile *reconcile, struct metrics *ret) {
    struct reconcile_survey survey = survey_jobs(scrape, reconcile);
    struct reconcile_totals totals = reconcile_total(reconcile);
    ret->jobs[METRICS_JOBS_RUNNING] = survey.running;
    ret->jobs[METRICS_JOBS_WAITING] = survey.waiting;
    ret->jobs[METRICS_JOBS_DUE] = survey.due;
    ret->jobs[METRICS_JOBS_HELD] = survey.held;
    ret->jobs[METRICS_JOBS_KEPT] = survey.kept;
    ret->jobs[METRICS_JOBS_INVALID] = survey.invalid;
    ret->jobs[METRICS_JOBS_TERMINATING] = survey.terminating;
    ret->terminating_age_ms = survey.oldest_terminating_ms;
    ret->rate_waits = totals.rate_waits;
    ret->rate_wait_ms = totals.rate_wait_ms;
    ret->paused = reconcile_is_paused(reconcile);
    ret->lease_held = reconcile_leads(reconcile);
}

/* stats outlives the rendering. */
static void take_writer(const struct writer_stats *stats, struct metrics *ret) {
    ret->commit = &stats->commits;
    ret->store_requests = stats->requests;
    ret->store_queue = stats->queue;
    ret->store_errors = stats->errors;
    ret->store_writable = !stats->failing;
    ret->store_bytes[METRICS_DB] = stats->size.db;
    ret->store_bytes[METRICS_WAL] = stats->size.wal;
}

static void take_reflector(const struct reflector_stats *stats, enum metrics_resource resource, struct metrics *ret) {
    if (stats->last_heard_ms != TIME_NONE)
        ret->watch_age_ms[resource] = clock_mono_ms() - stats->last_heard_ms;
    ret->watch_restarts[resource] = stats->restarts;
    ret->watch_relists[resource] = stats->relists;
    ret->watch_failures[resource] = stats->failures;
}

static void take_client(const struct client_stats *stats, struct metrics *ret) {
    static const enum client_verb verbs[METRICS_VERBS] = {
            CLIENT_GET, CLIENT_LIST, CLIENT_CREATE, CLIENT_UPDATE, CLIENT_PATCH, CLIENT_DELETE};
    ret->api_requests = &stats->requests;
    for (int i = 0; i < METRICS_VERBS; i++)
        ret->api_duration[i] = &stats->durations[verbs[i]];
    ret->overflow += (int64_t)stats->requests.overflow;
}

static void take_events(const struct events_stats *stats, struct metrics *ret) {
    ret->events[METRICS_EVENT_SENT] = stats->sent;
    ret->events[METRICS_EVENT_FAILED] = stats->failed;
    ret->events[METRICS_EVENT_DROPPED] = stats->dropped;
}

static void take_process(int64_t start_ms, struct metrics *ret) {
    struct process_facts facts;
    process_look(&facts);
    ret->cpu_us = facts.cpu_us;
    ret->resident_bytes = facts.resident_bytes;
    ret->open_fds = facts.open_fds;
    ret->max_fds = facts.max_fds;
    ret->start_ms = start_ms;
}

void scrape_init(struct scrape *scrape) {
    *scrape = (struct scrape){.start_ms = process_start_ms()};
}

void scrape_look(struct scrape *scrape, const struct engine *engine, struct metrics *ret) {
    struct engine_parts parts = engine_parts(engine);
    struct feeds_stats feeds = feeds_stats(parts.feeds);
    metrics_init(ret);
    ret->version = SEXTON_VERSION;
    take_meters(parts.meters, ret);
    take_reconcile(scrape, parts.reconcile, ret);
    take_client(client_stats(parts.client), ret);
    take_reflector(&feeds.namespaces, METRICS_NAMESPACES, ret);
    take_reflector(&feeds.cronjobs, METRICS_CRONJOBS, ret);
    take_reflector(&feeds.jobs, METRICS_JOBS, ret);
    ret->dry_run = !parts.writer;
    if (parts.writer) {
        writer_stats(parts.writer, &scrape->writer);
        take_writer(&scrape->writer, ret);
    }
    take_events(announce_stats(parts.announce), ret);
    ret->synced = engine_is_synced(engine);
    ret->skew_ms = engine_server_ahead_ms(engine);
    take_process(scrape->start_ms, ret);
}

void scrape_take_reload(const struct reload_facts *facts, struct metrics *ret) {
    ret->reloads[METRICS_RELOAD_SUCCESS] = facts->succeeded;
    ret->reloads[METRICS_RELOAD_FAILURE] = facts->failed;
    ret->last_reload_successful = facts->last_successful;
    ret->last_reload_success_ms = facts->last_success_ms;
}
