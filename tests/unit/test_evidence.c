#include "suites.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "job_source.h"
#include "jobs/evidence.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define FINISHED 1767323045000 /* 2026-01-02T03:04:05Z */

static const struct evidence_settings everything = {
        .prefix = "sexton.dev", .labels = "*", .annotations = "*", .manifest = true};

/* A run of the Job in text. Its memory is its own. */
static struct run *take(const char *text, const char *template, const struct evidence_settings *settings) {
    json_error_t why;
    json_t *json = json_loads(text, 0, &why);
    ck_assert_msg(json != NULL, "%s: %s", text, why.text);
    struct job_source *source = job_source_create(json, template);
    struct job job;
    struct error err = {0};
    ck_assert_msg(job_decode(&source->object, "sexton.dev", &job, &err) == 0, "%s: %s", text, err.text);
    struct run *run = evidence_from_object(&source->object, &job, settings);
    ck_assert_ptr_nonnull(run);
    job_source_destroy(source);
    return run;
}

/* text is JSON and the same as wanted, whatever the order. */
static void expect_json(const char *text, const char *wanted) {
    ck_assert_ptr_nonnull(text);
    json_t *a = json_loads(text, JSON_REJECT_DUPLICATES, NULL), *b = json_loads(wanted, 0, NULL);
    ck_assert_msg(a && b && json_equal(a, b), "%s\nwanted: %s", text, wanted);
    json_decref(a);
    json_decref(b);
}

#define NAMES "\"name\":\"train\",\"namespace\":\"ml\",\"uid\":\"u-1\",\"resourceVersion\":\"77\""

static const char full[] =
        "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{" NAMES ",\"generation\":1,"
        "\"creationTimestamp\":\"2026-01-02T03:00:00Z\",\"managedFields\":null,\"labels\":{\"app\":\"web\",\"team/"
        "x\":\"a\","
        "\"controller-uid\":\"u-1\",\"job-name\":\"train\",\"batch.kubernetes.io/controller-uid\":\"u-1\","
        "\"batch.kubernetes.io/job-name\":\"train\"},\"annotations\":{\"sexton.dev/"
        "ttl-after-failure\":\"7d\",\"note\":\"n\","
        "\"kubectl.kubernetes.io/last-applied-configuration\":\"{}\"},\"ownerReferences\":[{\"apiVersion\":\"x/"
        "v1\",\"kind\":"
        "\"Flow\",\"name\":\"f\",\"uid\":\"f-1\",\"controller\":true}],\"finalizers\":[\"a\"]},"
        "\"spec\":{\"parallelism\":2,\"completions\":5,\"backoffLimit\":0,\"completionMode\":\"Indexed\",\"selector\":"
        "{\"matchLabels\":{\"controller-uid\":\"u-1\"}},\"template\":null},\"status\":{\"startTime\":\"2026-01-02T03:"
        "00:01Z\","
        "\"succeeded\":3,\"failed\":2,\"completedIndexes\":\"0-2\",\"failedIndexes\":\"3,4\",\"conditions\":["
        "{\"type\":\"FailureTarget\",\"status\":\"True\",\"reason\":\"wrong\",\"message\":\"one\"},"
        "{\"type\":\"Complete\",\"status\":\"False\",\"reason\":\"wrong\",\"message\":\"one\"},"
        "{\"type\":\"Failed\",\"status\":\"True\",\"reason\":\"BackoffLimitExceeded\",\"message\":\"too "
        "many\\n\\u001b[2J\","
        "\"lastTransitionTime\":\"2026-01-02T03:04:05Z\"}]}}";

static const char template[] =
        "{\"metadata\":{\"labels\":{\"app\":\"web\",\"controller-uid\":\"u-1\",\"job-name\":\"train\","
        "\"batch.kubernetes.io/controller-uid\":\"u-1\",\"batch.kubernetes.io/job-name\":\"train\"}},\"spec\":{"
        "\"initContainers\":[{\"image\":\"init:1\"}],\"containers\":[{\"name\":\"a\",\"image\":\"main:2\"},{\"name\":"
        "\"b\","
        "\"image\":\"side:3\"},{\"name\":\"c\"},{\"image\":7}]}}";

START_TEST(the_register_gets_all_that_is_known_of_a_run) {
    struct run *run = take(full, template, &everything);
    ck_assert_str_eq(run->namespace, "ml");
    ck_assert_str_eq(run->job_name, "train");
    ck_assert_str_eq(run->job_uid, "u-1");
    ck_assert_str_eq(run->resource_version, "77");
    ck_assert_str_eq(run->owner_kind, "Flow");
    ck_assert_str_eq(run->owner_name, "f");
    ck_assert_str_eq(run->owner_uid, "f-1");
    ck_assert_ptr_null(run->cronjob);
    ck_assert_int_eq(run->trigger, RUN_OTHER);
    ck_assert_int_eq(run->scheduled_at_ms, TIME_NONE);
    ck_assert_int_eq(run->created_at_ms, FINISHED - 245000);
    ck_assert_int_eq(run->started_at_ms, FINISHED - 244000);
    ck_assert_int_eq(run->finished_at_ms, FINISHED);
    ck_assert_int_eq(run->outcome, OUTCOME_FAILED);
    /* The condition's own words, of the condition that ended it. */
    ck_assert_str_eq(run->reason, "BackoffLimitExceeded");
    ck_assert_str_eq(run->message, "too many\n\033[2J");
    ck_assert_int_eq(run->pods_succeeded, 3);
    ck_assert_int_eq(run->pods_failed, 2);
    ck_assert_int_eq(run->completions, 5);
    ck_assert_int_eq(run->parallelism, 2);
    ck_assert_int_eq(run->backoff_limit, 0);
    ck_assert_str_eq(run->completion_mode, "Indexed");
    ck_assert_str_eq(run->completed_indexes, "0-2");
    ck_assert_str_eq(run->failed_indexes, "3,4");
    expect_json(run->images, "[\"init:1\",\"main:2\",\"side:3\"]");
    run_destroy(run);
}
END_TEST

START_TEST(the_manifest_creates_the_job_again_without_what_the_cluster_added) {
    struct run *run = take(full, template, &everything);
    expect_json(run->manifest,
            "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"train\",\"namespace\":"
            "\"ml\",\"labels\":{\"app\":\"web\",\"team/x\":\"a\"},\"annotations\":{"
            "\"sexton.dev/ttl-after-failure\":\"7d\",\"note\":\"n\"}},\"spec\":{\"parallelism\":2,"
            "\"completions\":5,\"backoffLimit\":0,\"completionMode\":\"Indexed\",\"template\":{\"metadata\":"
            "{\"labels\":{\"app\":\"web\"}},\"spec\":{\"initContainers\":[{\"image\":\"init:1\"}],"
            "\"containers\":[{\"name\":\"a\",\"image\":\"main:2\"},{\"name\":\"b\",\"image\":\"side:3\"},"
            "{\"name\":\"c\"},{\"image\":7}]}}}}");
    run_destroy(run);
}
END_TEST

START_TEST(a_selector_of_the_users_own_stays_in_the_manifest) {
    struct run *run = take("{\"metadata\":{" NAMES "},\"spec\":{\"manualSelector\":true,\"selector\":{\"matchLabels\":{"
                           "\"job-name\":\"mine\"}}}}",
            "{\"metadata\":{\"labels\":{\"job-name\":\"mine\"}}}", &everything);
    expect_json(run->manifest,
            "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"train\",\"namespace\":"
            "\"ml\"},\"spec\":{\"manualSelector\":true,\"selector\":{\"matchLabels\":{\"job-name\":"
            "\"mine\"}},\"template\":{\"metadata\":{\"labels\":{\"job-name\":\"mine\"}}}}}");
    ck_assert_ptr_null(run->images);
    run_destroy(run);
}
END_TEST

START_TEST(without_a_template_there_is_no_manifest_and_no_images) {
    static const char *const templates[] = {"", "{", "\"text\"", "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < COUNT(templates); i++) {
        struct run *run = take(full, templates[i], &everything);
        ck_assert_ptr_null(run->manifest);
        ck_assert_ptr_null(run->images);
        ck_assert_str_eq(run->reason, "BackoffLimitExceeded");
        run_destroy(run);
    }
    struct evidence_settings settings = everything;
    settings.manifest = false;
    struct run *run = take(full, template, &settings);
    ck_assert_ptr_null(run->manifest);
    ck_assert_ptr_nonnull(run->images);
    run_destroy(run);
}
END_TEST

START_TEST(labels_and_annotations_are_kept_as_configured_and_ours_always) {
    const struct evidence_settings settings = {
            .prefix = "sexton.dev", .labels = "team/* nope", .annotations = "", .manifest = false};
    struct run *run = take(full, "", &settings);
    expect_json(run->labels, "{\"team/x\":\"a\"}");
    expect_json(run->annotations, "{\"sexton.dev/ttl-after-failure\":\"7d\"}");
    run_destroy(run);
    const struct evidence_settings nothing = {.prefix = "other.dev", .labels = "", .annotations = ""};
    run = take(full, "", &nothing);
    ck_assert_ptr_null(run->labels);
    ck_assert_ptr_null(run->annotations);
    run_destroy(run);
    run = take("{\"metadata\":{" NAMES ",\"labels\":[\"app\"],\"annotations\":null}}", "", &everything);
    ck_assert_ptr_null(run->labels);
    ck_assert_ptr_null(run->annotations);
    run_destroy(run);
}
END_TEST

START_TEST(what_is_not_known_stays_unknown) {
    struct run *run =
            take("{\"metadata\":{" NAMES "},\"spec\":{\"completions\":\"5\",\"parallelism\":-1,\"backoffLimit\":1.5},"
                 "\"status\":{\"succeeded\":null,\"failed\":[]}}",
                    "", &everything);
    ck_assert_int_eq(run->pods_succeeded, RUN_UNKNOWN);
    ck_assert_int_eq(run->pods_failed, RUN_UNKNOWN);
    ck_assert_int_eq(run->completions, RUN_UNKNOWN);
    ck_assert_int_eq(run->parallelism, RUN_UNKNOWN);
    ck_assert_int_eq(run->backoff_limit, RUN_UNKNOWN);
    ck_assert_int_eq(run->outcome, OUTCOME_NONE);
    ck_assert_int_eq(run->finished_at_ms, TIME_NONE);
    ck_assert_ptr_null(run->reason);
    ck_assert_ptr_null(run->message);
    ck_assert_ptr_null(run->completion_mode);
    ck_assert_ptr_null(run->owner_kind);
    run_destroy(run);
}
END_TEST

#define CRON(name, annotations) \
    "{\"metadata\":{\"name\":\"" name \
    "\",\"namespace\":\"ml\",\"uid\":\"u-1\",\"creationTimestamp\":\"2026-01-02T03:00:03Z\"," \
    "\"annotations\":{" annotations \
    "},\"ownerReferences\":[{\"apiVersion\":\"batch/v1\",\"kind\":\"CronJob\",\"name\":\"nightly\",\"uid\":\"c-1\"," \
    "\"controller\":true}]}}"
#define SCHEDULED 1767322800000 /* 2026-01-02T03:00:00Z: 29455380 minutes */

START_TEST(a_run_knows_when_it_was_scheduled_and_by_what) {
    static const struct {
        const char *text;
        enum run_trigger trigger;
        int64_t scheduled_ms;
        const char *cronjob;
    } cases[] = {
            {CRON("nightly-29455380", ""), RUN_SCHEDULED, SCHEDULED, "nightly"},
            {CRON("nightly-1767322800", ""), RUN_SCHEDULED, SCHEDULED, "nightly"},
            {CRON("nightly-29455381", ""), RUN_SCHEDULED, SCHEDULED + 60000,
                    "nightly"}, /* the clocks differ a little */
            {CRON("nightly-x", "\"batch.kubernetes.io/cronjob-scheduled-timestamp\":\"2026-01-02T04:00:00+01:00\""),
                    RUN_SCHEDULED, SCHEDULED, "nightly"},
            {CRON("nightly-29455379", "\"batch.kubernetes.io/cronjob-scheduled-timestamp\":\"2026-01-02T03:00:00Z\""),
                    RUN_SCHEDULED, SCHEDULED, "nightly"},
            {CRON("nightly-29455380", "\"batch.kubernetes.io/cronjob-scheduled-timestamp\":\"rubbish\""), RUN_SCHEDULED,
                    SCHEDULED, "nightly"},
            {CRON("nightly-29455380", "\"cronjob.kubernetes.io/instantiate\":\"manual\""), RUN_MANUAL, TIME_NONE,
                    "nightly"},
            /* Names that only look like it. */
            {CRON("nightly-29455382", ""), RUN_SCHEDULED, TIME_NONE, "nightly"}, /* after it was created */
            {CRON("nightly-20000000", ""), RUN_SCHEDULED, TIME_NONE, "nightly"}, /* years before */
            {CRON("nightly-2945538", ""), RUN_SCHEDULED, TIME_NONE, "nightly"},
            {CRON("nightly-29455380x", ""), RUN_SCHEDULED, TIME_NONE, "nightly"},
            {CRON("nightly-99999999999999999999", ""), RUN_SCHEDULED, TIME_NONE, "nightly"},
            {CRON("nightly-", ""), RUN_SCHEDULED, TIME_NONE, "nightly"},
            {CRON("nightly", ""), RUN_SCHEDULED, TIME_NONE, "nightly"},
            {"{\"metadata\":{\"name\":\"hand-29455380\",\"namespace\":\"ml\",\"uid\":\"u\",\"creationTimestamp\":"
             "\"2026-01-02T03:00:03Z\"}}",
                    RUN_OTHER, TIME_NONE, NULL},
            {"{\"metadata\":{\"name\":\"hand\",\"namespace\":\"ml\",\"uid\":\"u\",\"annotations\":{"
             "\"cronjob.kubernetes.io/instantiate\":\"manual\"}}}",
                    RUN_MANUAL, TIME_NONE, NULL},
            /* Without a creation time nothing is plausible. */
            {"{\"metadata\":{\"name\":\"n-29455380\",\"namespace\":\"ml\",\"uid\":\"u\",\"ownerReferences\":[{"
             "\"apiVersion\":\"batch/v1\",\"kind\":"
             "\"CronJob\",\"name\":\"n\",\"uid\":\"c\"}]}}",
                    RUN_SCHEDULED, TIME_NONE, "n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct run *run = take(cases[i].text, "", &everything);
        ck_assert_msg(run->trigger == cases[i].trigger, "%s: %s", cases[i].text, run_trigger_name(run->trigger));
        ck_assert_msg(run->scheduled_at_ms == cases[i].scheduled_ms, "%s: %lld", cases[i].text,
                (long long)run->scheduled_at_ms);
        ck_assert_pstr_eq(run->cronjob, cases[i].cronjob);
        run_destroy(run);
    }
}
END_TEST

START_TEST(a_job_that_vanished_leaves_what_was_last_seen_of_it) {
    const struct job job = {.namespace = "ml",
            .name = "nightly-29455380",
            .uid = "u-1",
            .resource_version = "5",
            .owner_kind = "CronJob",
            .owner_name = "nightly",
            .owner_uid = "c-1",
            .created_ms = SCHEDULED + 3000,
            .started_ms = SCHEDULED + 4000,
            .finished_ms = TIME_NONE,
            .completion_ms = TIME_NONE,
            .deletion_ms = TIME_NONE,
            .spec_ttl_s = SPEC_TTL_NONE};
    struct run *run = evidence_from_job(&job);
    ck_assert_str_eq(run->namespace, "ml");
    ck_assert_str_eq(run->job_name, "nightly-29455380");
    ck_assert_str_eq(run->job_uid, "u-1");
    ck_assert_str_eq(run->resource_version, "5");
    ck_assert_str_eq(run->cronjob, "nightly");
    ck_assert_int_eq(run->trigger, RUN_SCHEDULED);
    ck_assert_int_eq(run->scheduled_at_ms, SCHEDULED);
    ck_assert_int_eq(run->started_at_ms, SCHEDULED + 4000);
    ck_assert_int_eq(run->finished_at_ms, TIME_NONE);
    ck_assert_int_eq(run->outcome, OUTCOME_NONE);
    ck_assert_ptr_null(run->manifest);
    ck_assert_ptr_null(run->reason);
    run_destroy(run);
}
END_TEST

START_TEST(a_request_takes_its_run_with_it) {
    struct history_request *request = calloc(1, sizeof *request);
    ck_assert_ptr_nonnull(request);
    request->run = run_create();
    ck_assert_ptr_nonnull(request->run);
    request->run->manifest = strdup("{}");
    ck_assert_int_eq(request->run->started_at_ms, TIME_NONE);
    ck_assert_int_eq(request->run->completions, RUN_UNKNOWN);
    history_request_destroy(request); /* LeakSanitizer tells the rest */
    history_request_destroy(NULL);
    run_destroy(NULL);
}
END_TEST

Suite *suite_evidence(void) {
    Suite *suite = suite_create("evidence");
    TCase *tcase = tcase_create("evidence");
    static const TTest *const *const all[] = {&the_register_gets_all_that_is_known_of_a_run,
            &the_manifest_creates_the_job_again_without_what_the_cluster_added,
            &a_selector_of_the_users_own_stays_in_the_manifest, &without_a_template_there_is_no_manifest_and_no_images,
            &labels_and_annotations_are_kept_as_configured_and_ours_always, &what_is_not_known_stays_unknown,
            &a_run_knows_when_it_was_scheduled_and_by_what, &a_job_that_vanished_leaves_what_was_last_seen_of_it,
            &a_request_takes_its_run_with_it};
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}
