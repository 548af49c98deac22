#include "suites.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/histogram.h"
#include "base/process.h"
#include "base/tally.h"
#include "jobs/meters.h"
#include "serve/accept.h"
#include "serve/metrics.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define OUTPUT_MAX (8u << 20)

/* ---- histogram ---- */

static const struct histogram_scale scale = {.per_second = 1000, .n = 3, .upper = {100, 500, 2500}};
static const struct histogram_scale other_scale = {.per_second = 1000, .n = 2, .upper = {500, 2000}};

START_TEST(a_value_counts_in_the_first_bucket_that_reaches_it) {
    struct histogram h = HISTOGRAM_INIT(&scale);
    static const int64_t values[] = {-7, 0, 100, 101, 500, 2500, 2501, 999999};
    for (size_t i = 0; i < COUNT(values); i++)
        histogram_observe(&h, values[i]);
    ck_assert_uint_eq(histogram_within(&h, 0), 3);
    ck_assert_uint_eq(histogram_within(&h, 1), 5);
    ck_assert_uint_eq(histogram_within(&h, 2), 6);
    ck_assert_uint_eq(histogram_within(&h, 3), 8);
    ck_assert_int_eq(h.sum, 100 + 101 + 500 + 2500 + 2501 + 999999);
}
END_TEST

START_TEST(a_sum_does_not_wrap_around) {
    struct histogram h = HISTOGRAM_INIT(&scale);
    histogram_observe(&h, INT64_MAX - 1);
    histogram_observe(&h, 2);
    ck_assert_int_eq(h.sum, INT64_MAX);
    ck_assert_uint_eq(histogram_within(&h, 3), 2);
}
END_TEST

/* ---- tally ---- */

static const struct tally_cells two_cells = {.n = 2, .labels = 1, .texts = {{"a"}, {"b"}}};
static struct tally tally;

static void setup(void) {
    tally_init(&tally, &two_cells);
}

static void teardown(void) {
    tally_finish(&tally);
}

static const char *numbered(int n) {
    static char name[32];
    snprintf(name, sizeof name, "ns-%d", n);
    return name;
}

START_TEST(names_are_kept_in_order_however_they_come) {
    static const char *const names[] = {"shop", "a", "ml-2", "zz", "", "shop", "ml-10", "ml-1"};
    for (size_t i = 0; i < COUNT(names); i++)
        tally_add(&tally, names[i], (int)(i % 2));
    ck_assert_uint_eq(tally.len, COUNT(names) - 1);
    for (uint32_t i = 1; i < tally.len; i++)
        ck_assert_int_lt(strcmp(tally.rows[i - 1]->name, tally.rows[i]->name), 0);
    ck_assert_uint_eq(tally_count(&tally, "shop", 0), 1);
    ck_assert_uint_eq(tally_count(&tally, "shop", 1), 1);
    ck_assert_uint_eq(tally_count(&tally, "none", 1), 0);
    ck_assert_uint_eq(tally_sum(&tally, 0) + tally_sum(&tally, 1), COUNT(names));
}
END_TEST

START_TEST(past_the_ceiling_counts_go_to_the_others_and_no_memory_is_taken) {
    for (int i = 0; i < TALLY_SETS_MAX; i++)
        tally_add(&tally, numbered(i), 0);
    ck_assert_uint_eq(tally.overflow, 0);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 100000; i++)
        tally_add(&tally, numbered(TALLY_SETS_MAX + i), i % 4 == 0);
    ck_assert_uint_eq(mallinfo2().uordblks, before);
    ck_assert_uint_eq(tally.len, TALLY_SETS_MAX);
    ck_assert_uint_eq(tally_count(&tally, TALLY_OTHER, 0), 75000);
    ck_assert_uint_eq(tally_count(&tally, TALLY_OTHER, 1), 25000);
    ck_assert_uint_eq(tally.overflow, 100000);
    /* What has its set already keeps it; another set of a known name is one more. */
    tally_add(&tally, numbered(7), 0);
    tally_add(&tally, numbered(7), 1);
    ck_assert_uint_eq(tally_count(&tally, numbered(7), 0), 2);
    ck_assert_uint_eq(tally_count(&tally, numbered(7), 1), 0);
    ck_assert_uint_eq(tally_count(&tally, TALLY_OTHER, 1), 25001);
    ck_assert_uint_eq(tally_sum(&tally, 0), TALLY_SETS_MAX + 75000 + 1);
    ck_assert_uint_eq(tally_sum(&tally, 1), 25001);
}
END_TEST

START_TEST(what_is_no_name_goes_to_the_others) {
    char name[TALLY_NAME_MAX + 1];
    memset(name, 'x', sizeof name);
    name[TALLY_NAME_MAX] = '\0';
    tally_add(&tally, name, 0);
    tally_add(&tally, TALLY_OTHER, 0);
    ck_assert_uint_eq(tally.len, 0);
    ck_assert_uint_eq(tally_count(&tally, TALLY_OTHER, 0), 2);
    name[TALLY_NAME_MAX - 1] = '\0';
    tally_add(&tally, name, 0);
    ck_assert_uint_eq(tally_count(&tally, name, 0), 1);
}
END_TEST

/* ---- meters ---- */

static struct meters meters;

static void setup_meters(void) {
    meters_init(&meters);
}

static void teardown_meters(void) {
    meters_finish(&meters);
}

static void recorded(enum outcome outcome, const char *reason, int64_t started_ms, int64_t finished_ms) {
    char text[64];
    snprintf(text, sizeof text, "%s", reason ? reason : "");
    struct run run = {.outcome = outcome,
            .reason = reason ? text : NULL,
            .started_at_ms = started_ms,
            .finished_at_ms = finished_ms};
    meters_note(&meters, &(struct news){.kind = NEWS_RECORDED, .namespace = "shop", .run = &run});
}

static uint64_t recorded_count(enum outcome outcome, const char *reason) {
    return tally_count(&meters.recorded, "shop", meters_recorded(outcome, reason));
}

START_TEST(runs_count_by_outcome_and_a_reason_that_cannot_be_made_up) {
    recorded(OUTCOME_SUCCEEDED, NULL, 1000, 61000);
    recorded(OUTCOME_SUCCEEDED, "CompletionsReached", 1000, 61000);
    recorded(OUTCOME_FAILED, "BackoffLimitExceeded", 1000, 1500);
    recorded(OUTCOME_FAILED, "SomeonesOwn", TIME_NONE, 61000);
    recorded(OUTCOME_FAILED, "SomeoneElsesOwn", 1000, TIME_NONE);
    recorded(OUTCOME_NONE, NULL, 1000, TIME_NONE);
    ck_assert_uint_eq(recorded_count(OUTCOME_SUCCEEDED, NULL), 1);
    ck_assert_uint_eq(recorded_count(OUTCOME_SUCCEEDED, ""), 1);
    ck_assert_uint_eq(recorded_count(OUTCOME_SUCCEEDED, "CompletionsReached"), 1);
    ck_assert_uint_eq(recorded_count(OUTCOME_FAILED, "BackoffLimitExceeded"), 1);
    ck_assert_uint_eq(recorded_count(OUTCOME_FAILED, "Other"), 2);
    ck_assert_uint_eq(recorded_count(OUTCOME_NONE, NULL), 1);
    ck_assert_uint_eq(meters.recorded.sets, 5);
    const struct histogram *succeeded = &meters.durations[METERS_SUCCEEDED];
    ck_assert_int_eq(succeeded->sum, 120000);
    ck_assert_uint_eq(histogram_within(succeeded, succeeded->scale->n), 2);
    ck_assert_int_eq(meters.durations[METERS_FAILED].sum, 500);
}
END_TEST

static void deleted(enum run_cause cause, int64_t finished_ms, int64_t due_ms) {
    meters_note(&meters, &(struct news){.kind = NEWS_DELETED,
                                 .namespace = "shop",
                                 .cause = cause,
                                 .finished_ms = finished_ms,
                                 .due_ms = due_ms,
                                 .at_ms = 1000000});
}

START_TEST(deletions_count_by_cause_and_only_ours_have_times) {
    deleted(RUN_CAUSE_TTL, 900000, 990000);
    deleted(RUN_CAUSE_TTL, 900000, TIME_NONE);
    deleted(RUN_CAUSE_EXTERNAL, 900000, 990000);
    deleted(RUN_CAUSE_UNKNOWN, TIME_NONE, TIME_NONE);
    ck_assert_uint_eq(tally_count(&meters.deleted, "shop", meters_cause(RUN_CAUSE_TTL)), 2);
    ck_assert_uint_eq(tally_count(&meters.deleted, "shop", meters_cause(RUN_CAUSE_EXTERNAL)), 1);
    ck_assert_uint_eq(tally_count(&meters.deleted, "shop", meters_cause(RUN_CAUSE_UNKNOWN)), 1);
    ck_assert_int_eq(meters.finish_to_gone.sum, 200000);
    ck_assert_int_eq(meters.due_to_deleted.sum, 10000);
}
END_TEST

START_TEST(failures_count_by_what_was_answered) {
    static const struct news failures[] = {
            {.status = 403}, {.status = 500}, {.status = 500}, {.status = 0}, {.status = 0, .withheld = true}};
    for (size_t i = 0; i < COUNT(failures); i++) {
        struct news news = failures[i];
        news.kind = NEWS_FAILED;
        meters_note(&meters, &news);
    }
    ck_assert_uint_eq(tally_count(&meters.failures, "403", 0), 1);
    ck_assert_uint_eq(tally_count(&meters.failures, "500", 0), 2);
    ck_assert_uint_eq(tally_count(&meters.failures, "none", 0), 1);
    ck_assert_uint_eq(tally_count(&meters.failures, "withheld", 0), 1);
}
END_TEST

START_TEST(deletion_times_have_the_buckets_of_the_native_controller) {
    /* pkg/controller/ttlafterfinished/metrics: ExponentialBuckets(0.1, 2, 14) */
    const struct histogram_scale *bounds = meters.finish_to_gone.scale;
    ck_assert_ptr_eq(bounds, meters.due_to_deleted.scale);
    ck_assert_int_eq(bounds->n, 14);
    for (int i = 0; i < bounds->n; i++)
        ck_assert_int_eq(bounds->upper[i], bounds->per_second / 10 << i);
}
END_TEST

/* ---- exposition ---- */

static struct strbuf out;

static void setup_output(void) {
    strbuf_init(&out, OUTPUT_MAX);
    setup();
}

static void teardown_output(void) {
    strbuf_finish(&out);
    teardown();
}

static const char *render(const struct metrics *metrics, enum metrics_format format) {
    strbuf_clear(&out);
    metrics_render(metrics, format, &out);
    ck_assert(!strbuf_failed(&out));
    return strbuf_text(&out);
}

/* The lines of one family: those that have its name. */
static const char *lines_of(const char *text, const char *family) {
    static char found[8192];
    char name[128];
    size_t len = 0, name_len = (size_t)snprintf(name, sizeof name, "%s", family);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *at = strncmp(line, "# EOF", 5) != 0 && *line == '#' ? strchr(line + 2, ' ') + 1 : line;
        size_t size = (size_t)(strchr(line, '\n') + 1 - line);
        if (strncmp(at, name, name_len) == 0) {
            ck_assert_uint_lt(len + size, sizeof found);
            memcpy(found + len, line, size);
            len += size;
        }
    }
    found[len] = '\0';
    return found;
}

START_TEST(the_text_format_is_as_prometheus_reads_it) {
    struct metrics m;
    struct histogram h = HISTOGRAM_INIT(&scale);
    metrics_init(&m);
    histogram_observe(&h, 250);
    histogram_observe(&h, 9250);
    m.version = "1.2.3";
    m.commit = &h;
    m.rate_wait_ms = 61250;
    m.skew_ms = -1500;
    m.store_bytes[METRICS_DB] = 4096;
    m.store_bytes[METRICS_WAL] = 0;
    m.cpu_us = 1000001;
    const char *text = render(&m, METRICS_TEXT);
    ck_assert_str_eq(lines_of(text, "sexton_build"), "# HELP sexton_build_info Which version runs.\n"
                                                     "# TYPE sexton_build_info gauge\n"
                                                     "sexton_build_info{version=\"1.2.3\"} 1\n");
    ck_assert_str_eq(lines_of(text, "sexton_store_commit"),
            "# HELP sexton_store_commit_duration_seconds Writing a batch of requests to the register, until it is on "
            "disk.\n"
            "# TYPE sexton_store_commit_duration_seconds histogram\n"
            "sexton_store_commit_duration_seconds_bucket{le=\"0.1\"} 0\n"
            "sexton_store_commit_duration_seconds_bucket{le=\"0.5\"} 1\n"
            "sexton_store_commit_duration_seconds_bucket{le=\"2.5\"} 1\n"
            "sexton_store_commit_duration_seconds_bucket{le=\"+Inf\"} 2\n"
            "sexton_store_commit_duration_seconds_sum 9.5\n"
            "sexton_store_commit_duration_seconds_count 2\n");
    ck_assert_str_eq(lines_of(text, "sexton_rate_limit_wait_seconds"),
            "# HELP sexton_rate_limit_wait_seconds_total How long deletions waited for delete-qps, in all.\n"
            "# TYPE sexton_rate_limit_wait_seconds_total counter\n"
            "sexton_rate_limit_wait_seconds_total 61.25\n");
    ck_assert_ptr_nonnull(strstr(text, "\nsexton_clock_skew_seconds -1.5\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nsexton_store_size_bytes{file=\"db\"} 4096\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nsexton_store_size_bytes{file=\"wal\"} 0\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nprocess_cpu_seconds_total 1.000001\n"));
    ck_assert_ptr_null(strstr(text, "# UNIT"));
    ck_assert_ptr_null(strstr(text, "# EOF"));
}
END_TEST

START_TEST(openmetrics_names_families_without_the_suffix_and_ends_in_eof) {
    struct metrics m;
    struct histogram h = HISTOGRAM_INIT(&other_scale);
    metrics_init(&m);
    histogram_observe(&h, 1000);
    m.version = "1.2.3";
    m.job_duration[METRICS_FAILED] = &h;
    m.rate_wait_ms = 61250;
    m.store_requests = 5;
    m.start_ms = 1795219200250;
    const char *text = render(&m, METRICS_OPENMETRICS);
    ck_assert_str_eq(lines_of(text, "sexton_build"), "# HELP sexton_build Which version runs.\n"
                                                     "# TYPE sexton_build info\n"
                                                     "sexton_build_info{version=\"1.2.3\"} 1\n");
    ck_assert_str_eq(lines_of(text, "sexton_rate_limit_wait_seconds"),
            "# HELP sexton_rate_limit_wait_seconds How long deletions waited for delete-qps, in all.\n"
            "# TYPE sexton_rate_limit_wait_seconds counter\n"
            "# UNIT sexton_rate_limit_wait_seconds seconds\n"
            "sexton_rate_limit_wait_seconds_total 61.25\n");
    ck_assert_str_eq(lines_of(text, "sexton_store_requests"),
            "# HELP sexton_store_requests Requests to the register that are on disk.\n"
            "# TYPE sexton_store_requests counter\n"
            "sexton_store_requests_total 5\n");
    ck_assert_str_eq(lines_of(text, "sexton_job_duration"),
            "# HELP sexton_job_duration_seconds From start to finish of the runs put on record.\n"
            "# TYPE sexton_job_duration_seconds histogram\n"
            "# UNIT sexton_job_duration_seconds seconds\n"
            "sexton_job_duration_seconds_bucket{outcome=\"Failed\",le=\"0.5\"} 0\n"
            "sexton_job_duration_seconds_bucket{outcome=\"Failed\",le=\"2.0\"} 1\n"
            "sexton_job_duration_seconds_bucket{outcome=\"Failed\",le=\"+Inf\"} 1\n"
            "sexton_job_duration_seconds_sum{outcome=\"Failed\"} 1\n"
            "sexton_job_duration_seconds_count{outcome=\"Failed\"} 1\n");
    ck_assert_ptr_nonnull(strstr(text, "\nprocess_start_time_seconds 1795219200.25\n"));
    ck_assert_str_eq(text + strlen(text) - strlen("\n# EOF\n"), "\n# EOF\n");
}
END_TEST

START_TEST(what_is_not_known_is_not_told) {
    struct metrics m;
    metrics_init(&m);
    const char *text = render(&m, METRICS_TEXT);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        ck_assert_msg(*line == '#' || strncmp(line, "sexton_build_info", 17) == 0, "%.60s", line);
    m.watch_age_ms[METRICS_CRONJOBS] = 0;
    text = render(&m, METRICS_TEXT);
    ck_assert_ptr_nonnull(strstr(text, "\nsexton_watch_age_seconds{resource=\"cronjobs\"} 0\n"));
    ck_assert_ptr_null(strstr(text, "{resource=\"jobs\"}"));
}
END_TEST

START_TEST(a_label_can_hold_anything_without_breaking_the_line) {
    struct metrics m;
    metrics_init(&m);
    m.jobs_deleted = &tally;
    tally_add(&tally, "a\\b\"c\nd", 0);
    tally_add(&tally, "\xc3\xa9t\xc3\xa9", 1);
    tally_add(&tally, "bad\xff", 1);
    static const char *const expected[] = {"\nsexton_jobs_deleted_total{namespace=\"a\\\\b\\\"c\\nd\",cause=\"a\"} 1\n",
            "\nsexton_jobs_deleted_total{namespace=\"\xc3\xa9t\xc3\xa9\",cause=\"b\"} 1\n",
            "\nsexton_jobs_deleted_total{namespace=\"bad?\",cause=\"b\"} 1\n"};
    for (enum metrics_format format = METRICS_TEXT; format <= METRICS_OPENMETRICS; format++) {
        const char *text = render(&m, format);
        for (size_t i = 0; i < COUNT(expected); i++)
            ck_assert_msg(strstr(text, expected[i]) != NULL, "%s", expected[i]);
    }
}
END_TEST

START_TEST(with_more_namespaces_than_the_ceiling_a_scrape_still_has_an_end) {
    struct metrics m;
    char name[TALLY_NAME_MAX];
    metrics_init(&m);
    meters_init(&meters);
    m.runs_recorded = &meters.recorded;
    m.jobs_deleted = &meters.deleted;
    for (int i = 0; i < 3 * TALLY_SETS_MAX; i++) {
        struct run run = {.outcome = OUTCOME_FAILED, .reason = (char[]){"MaxFailedIndexesExceeded"}};
        memset(name, 'n', sizeof name); /* as long as a name can be */
        name[snprintf(name, sizeof name, "ns-%d", i)] = '-';
        name[sizeof name - 1] = '\0';
        meters_note(&meters, &(struct news){.kind = NEWS_RECORDED, .namespace = name, .run = &run});
        meters_note(&meters, &(struct news){.kind = NEWS_DELETED, .namespace = name, .cause = RUN_CAUSE_EXTERNAL});
    }
    const char *text = render(&m, METRICS_TEXT);
    ck_assert_uint_lt(strlen(text), 400000);
    ck_assert_ptr_nonnull(strstr(text, "\nsexton_runs_recorded_total{namespace=\"_other\",outcome=\"Failed\","
                                       "reason=\"MaxFailedIndexesExceeded\"} 2000\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nsexton_jobs_deleted_total{namespace=\"_other\",cause=\"external\"} 2000\n"));
    ck_assert_uint_eq(meters.recorded.overflow + meters.deleted.overflow, 4000);
    meters_finish(&meters);
}
END_TEST

/* Unicode is fine, but each family is named once, in words that Prometheus takes, and samples belong to the family
 * above them. */
START_TEST(every_family_is_told_once_with_help_and_type_and_the_prefix) {
    struct metrics m;
    char seen[64][96];
    size_t n = 0;
    metrics_init(&m);
    const char *text = render(&m, METRICS_TEXT);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        char name[96], type[16];
        if (sscanf(line, "# TYPE %95s %15s", name, type) != 2)
            continue;
        ck_assert_msg(strncmp(name, "sexton_", 7) == 0 || strncmp(name, "process_", 8) == 0, "%s", name);
        ck_assert_msg((strcmp(type, "counter") == 0) == (strstr(name, "_total") != NULL), "%s is a %s", name, type);
        for (size_t i = 0; i < n; i++)
            ck_assert_str_ne(seen[i], name);
        ck_assert_uint_lt(n, COUNT(seen));
        snprintf(seen[n++], sizeof seen[0], "%s", name);
    }
    ck_assert_uint_gt(n, 30);
}
END_TEST

START_TEST(the_readme_lists_every_metric_as_it_is) {
    static char readme[1u << 20];
    FILE *file = fopen("README.md", "re");
    ck_assert_msg(file != NULL, "README.md is not here: start the tests at the top of the repository");
    readme[fread(readme, 1, sizeof readme - 1, file)] = '\0';
    fclose(file);
    metrics_add_reference(&out);
    for (char *line = out.data, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        ck_assert_msg(strstr(readme, line) != NULL, "README.md lacks: %s", line);
        *end = '\n';
    }
    ck_assert_msg(strstr(readme, strbuf_text(&out)) != NULL, "README.md has them in another order, or has more");
}
END_TEST

/* ---- negotiation ---- */

START_TEST(the_format_is_the_one_that_is_asked_for) {
    static const struct {
        const char *accept;
        enum metrics_format format;
    } cases[] = {
            {"", METRICS_TEXT},
            {"*/*", METRICS_TEXT},
            {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", METRICS_TEXT},
            /* Prometheus 2.42, 2.54 and 3, with and without native histograms */
            {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
             "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                    METRICS_OPENMETRICS},
            {"application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
             "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                    METRICS_OPENMETRICS},
            {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
             "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
             "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                    METRICS_OPENMETRICS},
            {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
             "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.6,*/*;q=0.5",
                    METRICS_OPENMETRICS},
            {"text/plain;version=0.0.4;q=1,*/*;q=0.1", METRICS_TEXT},
            {"application/openmetrics-text", METRICS_OPENMETRICS},
            {"Application/OpenMetrics-Text ; Version=\"1.0.0\" ; q=0.2 , text/plain;q=0.1", METRICS_OPENMETRICS},
            {"application/openmetrics-text; version=2.0.0", METRICS_TEXT},
            {"application/openmetrics-text;version=0.0.1", METRICS_TEXT},
            {"application/*", METRICS_OPENMETRICS},
            {"application/openmetrics-text;q=0, */*", METRICS_TEXT},
            {"text/plain;q=0, */*;q=0.1", METRICS_OPENMETRICS},
            {"application/openmetrics-text;q=0.5, text/plain;q=0.5", METRICS_TEXT},
            {"application/openmetrics-text;q=0.501, text/plain;q=0.5", METRICS_OPENMETRICS},
            {"application/json", METRICS_TEXT},
            {"application/openmetrics-text;q=2", METRICS_TEXT},
            {"application/openmetrics-text;q=0.5555, text/plain;q=0.1", METRICS_TEXT},
            {"application/openmetrics-text;q=, ;;,=,\"", METRICS_TEXT},
            {"application/openmetrics-text;x=\"a,b;q=0\\\"\";q=0.9,*/*;q=0.1", METRICS_OPENMETRICS},
            {",,, ,", METRICS_TEXT},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        ck_assert_msg(metrics_negotiate(cases[i].accept) == cases[i].format, "%s", cases[i].accept);
    ck_assert_str_eq(metrics_content_type(METRICS_TEXT), "text/plain; version=0.0.4; charset=utf-8");
    ck_assert_str_eq(
            metrics_content_type(METRICS_OPENMETRICS), "application/openmetrics-text; version=1.0.0; charset=utf-8");
}
END_TEST

START_TEST(the_most_specific_range_counts) {
    static const char *const accept = "text/*;q=0.3, text/plain;q=0.7, text/plain;version=0.0.4;q=0.25, */*;q=0.5";
    ck_assert_int_eq(accept_quality(accept, "text/plain", "0.0.4"), 250);
    ck_assert_int_eq(accept_quality(accept, "text/plain", "1.0.0"), 700);
    ck_assert_int_eq(accept_quality(accept, "text/html", "4"), 300);
    ck_assert_int_eq(accept_quality(accept, "image/png", ""), 500);
    ck_assert_int_eq(accept_quality("", "image/png", ""), ACCEPT_MOST);
    ck_assert_int_eq(accept_quality("text/plain", "image/png", ""), 0);
}
END_TEST

/* ---- process ---- */

START_TEST(the_kernel_tells_of_this_process) {
    struct process_facts facts;
    process_look(&facts);
    ck_assert_int_gt(facts.cpu_us, 0);
    ck_assert_int_gt(facts.resident_bytes, 100000);
    ck_assert_int_ge(facts.open_fds, 3);
    ck_assert_int_gt(facts.max_fds, facts.open_fds);
    FILE *one_more = fopen("/dev/null", "re");
    int64_t before = facts.open_fds;
    process_look(&facts);
    fclose(one_more);
    ck_assert_int_eq(facts.open_fds, before + 1);
    int64_t ago_ms = clock_wall_ms() - process_start_ms();
    ck_assert_int_ge(ago_ms, -1000);
    ck_assert_int_lt(ago_ms, 3600000);
}
END_TEST

static void add_case(
        Suite *suite, const char *name, void (*before)(void), void (*after)(void), const TTest *const tests[]) {
    TCase *tcase = tcase_create(name);
    tcase_add_checked_fixture(tcase, before, after);
    for (int i = 0; tests[i]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
}

#define ADD_CASE(name, before, after, ...) \
    add_case(suite, name, before, after, (const TTest *const[]){__VA_ARGS__, NULL})

Suite *suite_metrics(void) {
    Suite *suite = suite_create("metrics");
    ADD_CASE("histogram", NULL, NULL, a_value_counts_in_the_first_bucket_that_reaches_it, a_sum_does_not_wrap_around);
    ADD_CASE("tally", setup, teardown, names_are_kept_in_order_however_they_come,
            past_the_ceiling_counts_go_to_the_others_and_no_memory_is_taken, what_is_no_name_goes_to_the_others);
    ADD_CASE("meters", setup_meters, teardown_meters, runs_count_by_outcome_and_a_reason_that_cannot_be_made_up,
            deletions_count_by_cause_and_only_ours_have_times, failures_count_by_what_was_answered,
            deletion_times_have_the_buckets_of_the_native_controller);
    ADD_CASE("exposition", setup_output, teardown_output, the_text_format_is_as_prometheus_reads_it,
            openmetrics_names_families_without_the_suffix_and_ends_in_eof, what_is_not_known_is_not_told,
            a_label_can_hold_anything_without_breaking_the_line,
            with_more_namespaces_than_the_ceiling_a_scrape_still_has_an_end,
            every_family_is_told_once_with_help_and_type_and_the_prefix, the_readme_lists_every_metric_as_it_is);
    ADD_CASE("negotiation", NULL, NULL, the_format_is_the_one_that_is_asked_for, the_most_specific_range_counts);
    ADD_CASE("process", NULL, NULL, the_kernel_tells_of_this_process);
    return suite;
}
