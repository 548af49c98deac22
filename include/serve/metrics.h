/*
 * metrics: what Prometheus is told: one table of families, and numbers, given as plain data by whoever knows them.
 *
 * The table drives what is rendered, and the README's list is compared with it by a test. Two formats: the text format
 * 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats) and OpenMetrics 1.0.0
 * (https://prometheus.io/docs/specs/om/open_metrics_spec). Pure. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/strbuf.h"
#include "base/tally.h"

#define METRICS_ABSENT INT64_MIN /* of a number: it is not known, and not told */

enum metrics_format { METRICS_TEXT, METRICS_OPENMETRICS };

/* Indexes of the arrays below: the values of their label. */
enum metrics_job_state {
    METRICS_JOBS_RUNNING,
    METRICS_JOBS_WAITING,
    METRICS_JOBS_DUE,
    METRICS_JOBS_HELD,
    METRICS_JOBS_KEPT,
    METRICS_JOBS_INVALID,
    METRICS_JOBS_TERMINATING,
    METRICS_JOB_STATES
};
enum metrics_outcome { METRICS_SUCCEEDED, METRICS_FAILED, METRICS_OUTCOMES };
enum metrics_file { METRICS_DB, METRICS_WAL, METRICS_FILES };
enum metrics_resource { METRICS_NAMESPACES, METRICS_CRONJOBS, METRICS_JOBS, METRICS_RESOURCES };
enum metrics_verb {
    METRICS_GET,
    METRICS_LIST,
    METRICS_CREATE,
    METRICS_UPDATE,
    METRICS_PATCH,
    METRICS_DELETE,
    METRICS_VERBS
};
enum metrics_reload { METRICS_RELOAD_SUCCESS, METRICS_RELOAD_FAILURE, METRICS_RELOADS };
enum metrics_event { METRICS_EVENT_SENT, METRICS_EVENT_FAILED, METRICS_EVENT_DROPPED, METRICS_EVENTS };

/* Times are in ms, but where they are said to be in us. Tallies and histograms are borrowed; NULL: not told. */
struct metrics {
    const char *version;

    const struct tally *runs_recorded; /* by Namespace; cells: outcome, reason */

    const struct tally *jobs_deleted;      /* by Namespace; cells: cause */
    const struct tally *deletion_failures; /* by code */
    int64_t jobs[METRICS_JOB_STATES];
    int64_t terminating_age_ms;
    const struct histogram *finish_to_gone, *due_to_deleted;
    const struct histogram *job_duration[METRICS_OUTCOMES];
    int64_t rate_waits, rate_wait_ms;
    int64_t paused;

    const struct histogram *commit;
    int64_t store_requests, store_queue, store_errors, store_writable;
    int64_t store_bytes[METRICS_FILES];

    int64_t watch_age_ms[METRICS_RESOURCES];
    int64_t watch_restarts[METRICS_RESOURCES], watch_relists[METRICS_RESOURCES], watch_failures[METRICS_RESOURCES];
    int64_t synced;

    const struct tally *api_requests; /* by code; cells: verb */
    const struct histogram *api_duration[METRICS_VERBS];

    int64_t lease_held, dry_run;
    int64_t reloads[METRICS_RELOADS], last_reload_successful, last_reload_success_ms;
    int64_t skew_ms;
    int64_t events[METRICS_EVENTS];
    int64_t ready;
    int64_t overflow;

    int64_t cpu_us, resident_bytes, open_fds, max_fds, start_ms;
};

/* Every number absent. */
void metrics_init(struct metrics *metrics);

/* By the Accept header, "" for none: OpenMetrics only for who prefers it, as Prometheus does. */
enum metrics_format metrics_negotiate(const char *accept);
const char *metrics_content_type(enum metrics_format format);
void metrics_render(const struct metrics *metrics, enum metrics_format format, struct strbuf *out);

/* One line of the README's table for each family. */
void metrics_add_reference(struct strbuf *out);
