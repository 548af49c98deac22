#include "serve/metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "serve/accept.h"

#define LABELS_MAX 3

enum type { COUNTER, GAUGE, HISTOGRAM, INFO };
enum source { NUMBER, MS, US, TALLY, TIMES, VERSION };

/* A family. Its name is the text format's; OpenMetrics takes the suffix of counters (_total) and infos (_info) as that
 * of their samples, and wants the unit at the end of what is left. */
struct family {
    const char *name;
    enum type type;
    const char *unit; /* "" when it counts */
    enum source source;
    size_t offset; /* in struct metrics */
    const char *labels[LABELS_MAX];
    const char *const *values; /* of labels[0], where there is an array of numbers; NULL-terminated */
    const char *help;
};

#define AT(member) offsetof(struct metrics, member)

static const char *const job_states[] = {"running", "waiting", "due", "held", "kept", "invalid", "terminating", NULL};
static const char *const outcomes[] = {"Succeeded", "Failed", NULL};
static const char *const files[] = {"db", "wal", NULL};
static const char *const resources[] = {"namespaces", "cronjobs", "jobs", NULL};
static const char *const verbs[] = {"get", "list", "create", "update", "patch", "delete", NULL};
static const char *const reloads[] = {"success", "failure", NULL};
static const char *const events[] = {"sent", "failed", "dropped", NULL};

static const struct family families[] = {
        {"sexton_build_info", INFO, "", VERSION, AT(version), {"version"}, NULL, "Which version runs."},
        {"sexton_ready", GAUGE, "", NUMBER, AT(ready), {NULL}, NULL, "Whether /readyz says yes."},
        {"sexton_synced", GAUGE, "", NUMBER, AT(synced), {NULL}, NULL, "Whether everything was listed once."},
        {"sexton_lease_held", GAUGE, "", NUMBER, AT(lease_held), {NULL}, NULL,
                "Whether this controller may delete: it holds the Lease, or needs none."},
        {"sexton_dry_run", GAUGE, "", NUMBER, AT(dry_run), {NULL}, NULL,
                "Whether this is a dry run, which records and deletes nothing."},

        {"sexton_runs_recorded_total", COUNTER, "", TALLY, AT(runs_recorded), {"namespace", "outcome", "reason"}, NULL,
                "Runs put on record, by outcome (empty: deleted before its end) and reason."},
        {"sexton_job_duration_seconds", HISTOGRAM, "seconds", TIMES, AT(job_duration), {"outcome"}, outcomes,
                "From start to finish of the runs put on record."},

        {"sexton_jobs", GAUGE, "", NUMBER, AT(jobs), {"state"}, job_states, "Jobs that are there, each in one state."},
        {"sexton_job_terminating_age_seconds", GAUGE, "seconds", MS, AT(terminating_age_ms), {NULL}, NULL,
                "How long the oldest finished Job that was deleted has been waiting for its finalizers; 0: none."},
        {"sexton_jobs_deleted_total", COUNTER, "", TALLY, AT(jobs_deleted), {"namespace", "cause"}, NULL,
                "Jobs whose end is on record, by cause: ttl (this controller), external (others), unknown (either)."},
        {"sexton_job_finish_to_gone_seconds", HISTOGRAM, "seconds", TIMES, AT(finish_to_gone), {NULL}, NULL,
                "From a Job's finish to its end by this controller."},
        {"sexton_job_due_to_deleted_seconds", HISTOGRAM, "seconds", TIMES, AT(due_to_deleted), {NULL}, NULL,
                "From when a Job was due to its end by this controller."},
        {"sexton_deletion_failures_total", COUNTER, "", TALLY, AT(deletion_failures), {"code"}, NULL,
                "Deletions that did not work, by HTTP status, none (no answer) or withheld (called off)."},
        {"sexton_deletions_paused", GAUGE, "", NUMBER, AT(paused), {NULL}, NULL,
                "Whether deletions pause because of how the API server answers."},
        {"sexton_rate_limit_waits_total", COUNTER, "", NUMBER, AT(rate_waits), {NULL}, NULL,
                "How often deletions had to wait for delete-qps."},
        {"sexton_rate_limit_wait_seconds_total", COUNTER, "seconds", MS, AT(rate_wait_ms), {NULL}, NULL,
                "How long deletions waited for delete-qps, in all."},

        {"sexton_store_writable", GAUGE, "", NUMBER, AT(store_writable), {NULL}, NULL,
                "Whether the register can be written."},
        {"sexton_store_commit_duration_seconds", HISTOGRAM, "seconds", TIMES, AT(commit), {NULL}, NULL,
                "Writing a batch of requests to the register, until it is on disk."},
        {"sexton_store_requests_total", COUNTER, "", NUMBER, AT(store_requests), {NULL}, NULL,
                "Requests to the register that are on disk."},
        {"sexton_store_queue_length", GAUGE, "", NUMBER, AT(store_queue), {NULL}, NULL,
                "Requests to the register that are not on disk yet."},
        {"sexton_store_errors_total", COUNTER, "", NUMBER, AT(store_errors), {NULL}, NULL,
                "Batches that could not be written, each time they were tried."},
        {"sexton_store_size_bytes", GAUGE, "bytes", NUMBER, AT(store_bytes), {"file"}, files,
                "Size of the register's file and of its write-ahead log, as of the last commit or check."},

        {"sexton_watch_age_seconds", GAUGE, "seconds", MS, AT(watch_age_ms), {"resource"}, resources,
                "Since the API server was heard of last by list or watch; of several watches, the most silent."},
        {"sexton_watch_restarts_total", COUNTER, "", NUMBER, AT(watch_restarts), {"resource"}, resources,
                "Watches opened again."},
        {"sexton_watch_relists_total", COUNTER, "", NUMBER, AT(watch_relists), {"resource"}, resources,
                "Lists after the first whole one."},
        {"sexton_watch_failures_total", COUNTER, "", NUMBER, AT(watch_failures), {"resource"}, resources,
                "Lists and watches that failed."},

        {"sexton_api_requests_total", COUNTER, "", TALLY, AT(api_requests), {"code", "verb"}, NULL,
                "Answers of the API server, by HTTP status, none (no answer) or withheld (not sent)."},
        {"sexton_api_request_duration_seconds", HISTOGRAM, "seconds", TIMES, AT(api_duration), {"verb"}, verbs,
                "From sending a request to the end of its answer."},
        {"sexton_clock_skew_seconds", GAUGE, "seconds", MS, AT(skew_ms), {NULL}, NULL,
                "How far the API server's clock is ahead of this machine's, at the least; negative: behind."},

        {"sexton_config_reloads_total", COUNTER, "", NUMBER, AT(reloads), {"result"}, reloads,
                "New versions of the configuration, taken or refused."},
        {"sexton_config_last_reload_successful", GAUGE, "", NUMBER, AT(last_reload_successful), {NULL}, NULL,
                "Whether the last new version of the configuration was taken."},
        {"sexton_config_last_reload_success_timestamp_seconds", GAUGE, "seconds", MS, AT(last_reload_success_ms),
                {NULL}, NULL, "When the configuration in force was read."},
        {"sexton_events_total", COUNTER, "", NUMBER, AT(events), {"result"}, events,
                "Kubernetes Events sent, refused or not answered (failed), or left out by the rate limit (dropped)."},
        {"sexton_metrics_overflow_total", COUNTER, "", NUMBER, AT(overflow), {NULL}, NULL,
                "Counts that went to the name _other because there were too many sets of labels."},

        {"process_cpu_seconds_total", COUNTER, "seconds", US, AT(cpu_us), {NULL}, NULL,
                "User and system time of this process."},
        {"process_resident_memory_bytes", GAUGE, "bytes", NUMBER, AT(resident_bytes), {NULL}, NULL,
                "Memory of this process that is resident."},
        {"process_open_fds", GAUGE, "", NUMBER, AT(open_fds), {NULL}, NULL, "Open file descriptors."},
        {"process_max_fds", GAUGE, "", NUMBER, AT(max_fds), {NULL}, NULL, "How many there may be."},
        {"process_start_time_seconds", GAUGE, "seconds", MS, AT(start_ms), {NULL}, NULL,
                "When this process began, since the Unix epoch."},
};
#define FAMILIES (sizeof families / sizeof families[0])

void metrics_init(struct metrics *metrics) {
    *metrics = (struct metrics){.version = NULL};
    for (size_t i = 0; i < FAMILIES; i++) {
        const struct family *family = &families[i];
        int64_t *numbers = (int64_t *)(void *)((char *)metrics + family->offset);
        bool is_number = family->source == NUMBER || family->source == MS || family->source == US;
        for (int n = 0; is_number && (n == 0 || (family->values && family->values[n])); n++)
            numbers[n] = METRICS_ABSENT;
    }
}

/* ---- the two formats ---- */

/* A family being rendered. */
struct rendering {
    const struct family *family;
    enum metrics_format format;
    struct strbuf *out;
};

static size_t base_length(const struct family *family) {
    const char *suffix = family->type == COUNTER ? "_total" : family->type == INFO ? "_info" : "";
    return strlen(family->name) - strlen(suffix);
}

/* One that is not UTF-8 would make the whole scrape unreadable. */
static void add_escaped(struct strbuf *out, const char *text, bool quotes) {
    bool readable = text_is_utf8(text, strlen(text));
    for (; *text; text++) {
        if (*text == '\\')
            strbuf_add_text(out, "\\\\");
        else if (*text == '\n')
            strbuf_add_text(out, "\\n");
        else if (*text == '"' && quotes)
            strbuf_add_text(out, "\\\"");
        else
            strbuf_add_char(out, readable || (unsigned char)*text < 0x80 ? *text : '?');
    }
}

/* Whole numbers of 1/per_second, without loss; floats says that OpenMetrics' canonical form is wanted. */
static void add_seconds(struct strbuf *out, int64_t value, int64_t per_second, bool floats) {
    uint64_t positive = value < 0 ? -(uint64_t)value : (uint64_t)value, unit = (uint64_t)per_second;
    strbuf_add_format(out, "%s%" PRIu64, value < 0 ? "-" : "", positive / unit);
    uint64_t rest = positive % unit;
    if (rest || floats)
        strbuf_add_char(out, '.');
    if (!rest && floats)
        strbuf_add_char(out, '0');
    for (; rest; rest = rest * 10 % unit)
        strbuf_add_char(out, (char)('0' + rest * 10 / unit));
}

static void add_header(const struct rendering *r) {
    static const char *const types[] = {"counter", "gauge", "histogram", "info"};
    const struct family *family = r->family;
    bool open = r->format == METRICS_OPENMETRICS;
    int len = (int)(open ? base_length(family) : strlen(family->name));
    strbuf_add_format(r->out, "# HELP %.*s ", len, family->name);
    add_escaped(r->out, family->help, open);
    const char *type = family->type == INFO && !open ? "gauge" : types[family->type];
    strbuf_add_format(r->out, "\n# TYPE %.*s %s\n", len, family->name, type);
    if (open && *family->unit)
        strbuf_add_format(r->out, "# UNIT %.*s %s\n", len, family->name, family->unit);
}

/* The line up to its number. values: of the family's labels, NULL-terminated or all of them. */
static void begin_sample(const struct rendering *r, const char *suffix, const char *const values[LABELS_MAX]) {
    strbuf_add_text(r->out, r->family->name);
    strbuf_add_text(r->out, suffix);
    for (int i = 0; i < LABELS_MAX && r->family->labels[i]; i++) {
        strbuf_add_format(r->out, "%c%s=\"", i ? ',' : '{', r->family->labels[i]);
        add_escaped(r->out, values[i] ? values[i] : "", true);
        strbuf_add_char(r->out, '"');
    }
}

static void end_labels(const struct rendering *r) {
    strbuf_add_text(r->out, r->family->labels[0] ? "} " : " ");
}

static void add_number(const struct rendering *r, const char *value, int64_t number) {
    if (number == METRICS_ABSENT)
        return;
    begin_sample(r, "", (const char *const[LABELS_MAX]){value});
    end_labels(r);
    if (r->family->source == NUMBER)
        strbuf_add_format(r->out, "%" PRId64, number);
    else
        add_seconds(r->out, number, r->family->source == MS ? 1000 : 1000000, false);
    strbuf_add_char(r->out, '\n');
}

static void add_histogram(const struct rendering *r, const char *value, const struct histogram *histogram) {
    if (!histogram)
        return;
    const char *const values[LABELS_MAX] = {value};
    const struct histogram_scale *scale = histogram->scale;
    for (int i = 0; i <= scale->n; i++) {
        begin_sample(r, "_bucket", values);
        strbuf_add_format(r->out, "%cle=\"", r->family->labels[0] ? ',' : '{');
        if (i < scale->n)
            add_seconds(r->out, scale->upper[i], scale->per_second, r->format == METRICS_OPENMETRICS);
        else
            strbuf_add_text(r->out, "+Inf");
        strbuf_add_format(r->out, "\"} %" PRIu64 "\n", histogram_within(histogram, i));
    }
    begin_sample(r, "_sum", values);
    end_labels(r);
    add_seconds(r->out, histogram->sum, scale->per_second, false);
    strbuf_add_char(r->out, '\n');
    begin_sample(r, "_count", values);
    end_labels(r);
    strbuf_add_format(r->out, "%" PRIu64 "\n", histogram_within(histogram, scale->n));
}

static void add_cells(
        const struct rendering *r, const struct tally_cells *cells, const char *name, const uint64_t *counts) {
    for (int cell = 0; cell < cells->n; cell++) {
        if (!counts[cell])
            continue;
        const char *values[LABELS_MAX] = {name};
        for (int i = 0; i < cells->labels; i++)
            values[i + 1] = cells->texts[cell][i];
        begin_sample(r, "", values);
        end_labels(r);
        strbuf_add_format(r->out, "%" PRIu64 "\n", counts[cell]);
    }
}

static void add_tally(const struct rendering *r, const struct tally *tally) {
    for (uint32_t i = 0; tally && i < tally->len; i++)
        add_cells(r, tally->cells, tally->rows[i]->name, tally->rows[i]->counts);
    if (tally)
        add_cells(r, tally->cells, TALLY_OTHER, tally->other);
}

static void add_family(const struct rendering *r, const struct metrics *metrics) {
    const struct family *family = r->family;
    const void *at = (const char *)metrics + family->offset;
    add_header(r);
    for (int i = 0; i == 0 || (family->values && family->values[i]); i++) {
        const char *value = family->values ? family->values[i] : NULL;
        switch (family->source) {
        case NUMBER:
        case MS:
        case US:
            add_number(r, value, ((const int64_t *)at)[i]);
            break;
        case TIMES:
            add_histogram(r, value, ((const struct histogram *const *)at)[i]);
            break;
        case TALLY:
            add_tally(r, *(const struct tally *const *)at);
            break;
        case VERSION:
            begin_sample(r, "", (const char *const[LABELS_MAX]){metrics->version});
            end_labels(r);
            strbuf_add_text(r->out, "1\n");
            break;
        }
    }
}

void metrics_render(const struct metrics *metrics, enum metrics_format format, struct strbuf *out) {
    for (size_t i = 0; i < FAMILIES; i++)
        add_family(&(struct rendering){.family = &families[i], .format = format, .out = out}, metrics);
    if (format == METRICS_OPENMETRICS)
        strbuf_add_text(out, "# EOF\n");
}

void metrics_add_reference(struct strbuf *out) {
    static const char *const types[] = {"counter", "gauge", "histogram", "gauge"};
    for (size_t i = 0; i < FAMILIES; i++) {
        const struct family *family = &families[i];
        strbuf_add_format(out, "| `%s` | %s | ", family->name, types[family->type]);
        for (int n = 0; n < LABELS_MAX && family->labels[n]; n++)
            strbuf_add_format(out, "%s`%s`", n ? ", " : "", family->labels[n]);
        for (int n = 0; family->values && family->values[n]; n++)
            strbuf_add_format(out, "%s%s", n ? ", " : ": ", family->values[n]);
        strbuf_add_format(out, " | %s |\n", family->help);
    }
}

/* ---- negotiation ---- */

enum metrics_format metrics_negotiate(const char *accept) {
    int text = accept_quality(accept, "text/plain", "0.0.4");
    return accept_quality(accept, "application/openmetrics-text", "1.0.0") > text ? METRICS_OPENMETRICS : METRICS_TEXT;
}

const char *metrics_content_type(enum metrics_format format) {
    return format == METRICS_OPENMETRICS ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                         : "text/plain; version=0.0.4; charset=utf-8";
}
