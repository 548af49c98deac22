#include "suites.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "job_source.h"
#include "jobs/job.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define IDENTITY "\"name\":\"train\",\"namespace\":\"ml\",\"uid\":\"u-1\",\"resourceVersion\":\"77\""
#define META "\"metadata\":{" IDENTITY "}"
#define COMPLETE "{\"type\":\"Complete\",\"status\":\"True\",\"lastTransitionTime\":\"2026-01-02T03:04:05Z\"}"
#define FAILED "{\"type\":\"Failed\",\"status\":\"True\",\"lastTransitionTime\":\"2026-01-02T03:04:05Z\"}"
#define FINISHED_MS 1767323045000

/* The Job borrows from what this returns. */
static struct job_source *decode(const char *text, struct job *ret) {
    json_error_t why;
    json_t *json = json_loads(text, JSON_ALLOW_NUL, &why);
    ck_assert_msg(json != NULL, "%s: %s", text, why.text);
    struct job_source *source = job_source_create(json, "");
    struct error err = {0};
    ck_assert_msg(job_decode(&source->object, "sexton.dev", ret, &err) == 0, "%s: %s", text, err.text);
    return source;
}

START_TEST(a_finished_job_is_read_with_all_that_matters) {
    struct job job;
    struct job_source *source =
            decode("{\"metadata\":{" IDENTITY ",\"creationTimestamp\":\"2026-01-02T03:00:00Z\","
                   "\"annotations\":{\"sexton.dev/hold\":\"true\"},\"ownerReferences\":[{\"apiVersion\":\"batch/"
                   "v1\",\"kind\":\"CronJob\","
                   "\"name\":\"nightly\",\"uid\":\"c-1\",\"controller\":true}]},"
                   "\"spec\":{\"ttlSecondsAfterFinished\":30},"
                   "\"status\":{\"startTime\":\"2026-01-02T03:00:01Z\",\"completionTime\":\"2026-01-02T03:04:04Z\","
                   "\"conditions\":[" COMPLETE "]}}",
                    &job);
    ck_assert_str_eq(job.namespace, "ml");
    ck_assert_str_eq(job.name, "train");
    ck_assert_str_eq(job.uid, "u-1");
    ck_assert_str_eq(job.resource_version, "77");
    ck_assert_str_eq(job.owner_kind, "CronJob");
    ck_assert_str_eq(job.owner_name, "nightly");
    ck_assert_str_eq(job.owner_uid, "c-1");
    ck_assert(job_has_cronjob(&job) && job_is_finished(&job));
    ck_assert_int_eq(job.created_ms, FINISHED_MS - 245000);
    ck_assert_int_eq(job.started_ms, FINISHED_MS - 244000);
    ck_assert_int_eq(job.completion_ms, FINISHED_MS - 1000);
    ck_assert_int_eq(job.finished_ms, FINISHED_MS);
    ck_assert_int_eq(job.deletion_ms, TIME_NONE);
    ck_assert_int_eq(job.spec_ttl_s, 30);
    ck_assert_int_eq(job.outcome, OUTCOME_SUCCEEDED);
    ck_assert_int_eq(job.annotations.hold.until_ms, HOLD_FOREVER);
    ck_assert_ptr_null(job.doubt);
    job_source_destroy(source);
}
END_TEST

START_TEST(a_job_with_nothing_but_its_name_is_simply_not_finished) {
    static const char *const texts[] = {"{" META "}", "{" META ",\"spec\":{},\"status\":{}}",
            "{" META ",\"status\":{\"conditions\":null,\"startTime\":null}}",
            "{" META ",\"status\":{\"conditions\":[]}}",
            "{\"metadata\":{" IDENTITY ",\"annotations\":null,\"ownerReferences\":null,\"creationTimestamp\":null,"
            "\"deletionTimestamp\":null},\"spec\":{\"ttlSecondsAfterFinished\":null}}"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct job job;
        struct job_source *source = decode(texts[i], &job);
        ck_assert(!job_is_finished(&job) && !job_has_cronjob(&job));
        ck_assert_ptr_null(job.doubt);
        ck_assert_int_eq(job.spec_ttl_s, SPEC_TTL_NONE);
        ck_assert_int_eq(job.finished_ms, TIME_NONE);
        ck_assert_int_eq(job.created_ms, TIME_NONE);
        ck_assert_int_eq(job.deletion_ms, TIME_NONE);
        job_source_destroy(source);
    }
}
END_TEST

START_TEST(only_complete_and_failed_that_are_true_end_a_job) {
    static const struct {
        const char *conditions;
        enum outcome outcome;
    } cases[] = {{COMPLETE, OUTCOME_SUCCEEDED}, {FAILED, OUTCOME_FAILED},
            {"{\"type\":\"SuccessCriteriaMet\",\"status\":\"True\"}," COMPLETE, OUTCOME_SUCCEEDED},
            {"{\"type\":\"FailureTarget\",\"status\":\"True\"}," FAILED, OUTCOME_FAILED},
            {"{\"type\":\"Suspended\",\"status\":\"False\"}," COMPLETE, OUTCOME_SUCCEEDED},
            {COMPLETE ",{\"type\":\"Failed\",\"status\":\"False\"}", OUTCOME_SUCCEEDED},
            {"{\"type\":\"SuccessCriteriaMet\",\"status\":\"True\"}", OUTCOME_NONE},
            {"{\"type\":\"FailureTarget\",\"status\":\"True\"}", OUTCOME_NONE},
            {"{\"type\":\"Suspended\",\"status\":\"True\"}", OUTCOME_NONE},
            {"{\"type\":\"Complete\",\"status\":\"False\"}", OUTCOME_NONE},
            {"{\"type\":\"Failed\",\"status\":\"Unknown\"}", OUTCOME_NONE},
            {"{\"type\":\"complete\",\"status\":\"True\"}", OUTCOME_NONE},
            {"{\"type\":\"SomethingNew\",\"status\":\"True\"}", OUTCOME_NONE}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[1000];
        /* Pod counts and completionTime say the opposite, and must not matter. */
        snprintf(text, sizeof text,
                "{" META ",\"status\":{\"succeeded\":1,\"failed\":3,\"active\":0,"
                "\"completionTime\":\"2026-01-01T00:00:00Z\",\"conditions\":[%s]}}",
                cases[i].conditions);
        struct job job;
        struct job_source *source = decode(text, &job);
        ck_assert_msg(job.outcome == cases[i].outcome, "%s: %d", cases[i].conditions, (int)job.outcome);
        ck_assert_msg(!job.doubt, "%s: %s", cases[i].conditions, job.doubt);
        ck_assert_int_eq(job.finished_ms, cases[i].outcome == OUTCOME_NONE ? TIME_NONE : FINISHED_MS);
        job_source_destroy(source);
    }
}
END_TEST

START_TEST(a_job_that_says_odd_things_is_doubted_and_says_why) {
    static const struct {
        const char *text, *why;
    } cases[] = {
            {"{" META ",\"status\":{\"conditions\":[" COMPLETE "," FAILED "]}}", "both conditions"},
            {"{" META ",\"status\":{\"conditions\":[" COMPLETE "," COMPLETE "]}}", "twice"},
            {"{" META ",\"status\":{\"conditions\":[" FAILED "," FAILED "]}}", "twice"},
            {"{" META ",\"status\":{\"conditions\":[" COMPLETE ",{\"type\":\"FailureTarget\",\"status\":\"True\"}]}}",
                    "contradict"},
            {"{" META ",\"status\":{\"conditions\":[" FAILED
             ",{\"type\":\"SuccessCriteriaMet\",\"status\":\"True\"}]}}",
                    "contradict"},
            {"{" META ",\"status\":{\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\"}]}}",
                    "no lastTransitionTime"},
            {"{" META
             ",\"status\":{\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\",\"lastTransitionTime\":null}]}}",
                    "no lastTransitionTime"},
            {"{" META
             ",\"status\":{\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\",\"lastTransitionTime\":\"\"}]}}",
                    "lastTransitionTime of the condition that ends the Job is not a time"},
            {"{" META
             ",\"status\":{\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\",\"lastTransitionTime\":7}]}}",
                    "is not a time"},
            {"{" META ",\"status\":{\"conditions\":[{\"type\":\"Failed\",\"status\":\"true\"}]}}",
                    "neither True, False"},
            {"{" META ",\"status\":{\"conditions\":[{\"type\":\"Failed\",\"status\":true}]}}",
                    "lacks its type or status"},
            {"{" META ",\"status\":{\"conditions\":[{\"type\":\"Failed\"}]}}", "lacks its type or status"},
            {"{" META ",\"status\":{\"conditions\":[{\"status\":\"True\"}]}}", "lacks its type or status"},
            {"{" META ",\"status\":{\"conditions\":[\"Complete\"]}}", "lacks its type or status"},
            {"{" META ",\"status\":{\"conditions\":[null]}}", "lacks its type or status"},
            {"{" META ",\"status\":{\"conditions\":{\"type\":\"Complete\"}}}", "wrong type"},
            {"{" META ",\"status\":{\"conditions\":\"Complete\"}}", "wrong type"},
            {"{" META ",\"status\":\"Complete\"}", "wrong type"},
            {"{" META ",\"status\":[]}", "wrong type"},
            {"{" META ",\"spec\":[]}", "spec has the wrong type"},
            {"{" META ",\"status\":{\"startTime\":\"2026-01-02T03:04:06Z\",\"conditions\":[" COMPLETE "]}}",
                    "before it started"},
            {"{" META ",\"status\":{\"startTime\":\"yesterday\"}}", "startTime"},
            {"{" META ",\"status\":{\"completionTime\":[]}}", "completionTime"},
            {"{" META ",\"spec\":{\"ttlSecondsAfterFinished\":-1}}", "ttlSecondsAfterFinished"},
            {"{" META ",\"spec\":{\"ttlSecondsAfterFinished\":2147483648}}", "ttlSecondsAfterFinished"},
            {"{" META ",\"spec\":{\"ttlSecondsAfterFinished\":1.5}}", "ttlSecondsAfterFinished"},
            {"{" META ",\"spec\":{\"ttlSecondsAfterFinished\":\"30\"}}", "ttlSecondsAfterFinished"},
            {"{\"metadata\":{" IDENTITY ",\"creationTimestamp\":\"x\"}}", "creationTimestamp"},
            {"{\"metadata\":{" IDENTITY ",\"creationTimestamp\":5}}", "creationTimestamp"},
            {"{\"metadata\":{" IDENTITY ",\"deletionTimestamp\":\"\"}}", "deletionTimestamp"},
            {"{\"metadata\":{" IDENTITY ",\"ownerReferences\":{}}}", "ownerReferences is not a list"},
            {"{\"metadata\":{" IDENTITY ",\"ownerReferences\":[{\"kind\":\"CronJob\",\"name\":\"a\"}]}}",
                    "entry of metadata.ownerReferences"},
            {"{\"metadata\":{" IDENTITY ",\"ownerReferences\":[\"CronJob\"]}}", "entry of metadata.ownerReferences"},
            {"{\"metadata\":{" IDENTITY ",\"ownerReferences\":[{\"kind\":1,\"name\":\"a\",\"uid\":\"b\"}]}}",
                    "entry of metadata.ownerReferences"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job job;
        struct job_source *source = decode(cases[i].text, &job);
        ck_assert_msg(job.doubt != NULL, "%s: no doubt", cases[i].text);
        ck_assert_msg(strstr(job.doubt, cases[i].why) != NULL, "%s: %s", cases[i].text, job.doubt);
        job_source_destroy(source);
    }
}
END_TEST

START_TEST(a_job_with_both_outcomes_has_neither) {
    struct job job;
    struct job_source *source = decode("{" META ",\"status\":{\"conditions\":[" COMPLETE "," FAILED "]}}", &job);
    ck_assert_int_eq(job.outcome, OUTCOME_NONE);
    ck_assert_int_eq(job.finished_ms, TIME_NONE);
    job_source_destroy(source);
}
END_TEST

START_TEST(the_largest_ttl_of_the_api_is_taken) {
    struct job job;
    struct job_source *source = decode("{" META ",\"spec\":{\"ttlSecondsAfterFinished\":2147483647}}", &job);
    ck_assert_int_eq(job.spec_ttl_s, 2147483647);
    ck_assert_ptr_null(job.doubt);
    job_source_destroy(source);
    source = decode("{" META ",\"spec\":{\"ttlSecondsAfterFinished\":0}}", &job);
    ck_assert_int_eq(job.spec_ttl_s, 0);
    job_source_destroy(source);
}
END_TEST

START_TEST(a_job_that_cannot_be_told_apart_is_an_error) {
    static const struct {
        const char *text, *why;
    } cases[] = {{"{}", "no metadata"}, {"[]", "no metadata"}, {"{\"metadata\":null}", "no metadata"},
            {"{\"metadata\":\"x\"}", "no metadata"}, {"{\"metadata\":[]}", "no metadata"},
            {"{\"metadata\":{}}", "lacks a name"},
            {"{\"metadata\":{\"name\":\"\",\"namespace\":\"b\",\"uid\":\"c\"}}", "lacks a name"},
            {"{\"metadata\":{\"name\":null,\"namespace\":\"b\",\"uid\":\"c\"}}", "lacks a name"},
            {"{\"metadata\":{\"name\":\"a\",\"uid\":\"c\"}}", "lacks a namespace"},
            {"{\"metadata\":{\"name\":\"a\",\"namespace\":\"\",\"uid\":\"c\"}}", "lacks a namespace"},
            {"{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\"}}", "lacks a uid"},
            {"{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\",\"uid\":\"\"}}", "lacks a uid"},
            {"{\"metadata\":{\"name\":1,\"namespace\":\"b\",\"uid\":\"c\"}}", "wrong type"},
            {"{\"metadata\":{\"name\":\"a\",\"namespace\":{},\"uid\":\"c\"}}", "wrong type"},
            {"{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\",\"uid\":true}}", "wrong type"},
            {"{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\",\"uid\":\"c\",\"resourceVersion\":5}}", "wrong type"},
            {"{\"metadata\":{\"name\":\"a\\u0000b\",\"namespace\":\"b\",\"uid\":\"c\"}}", "wrong type"},
            {"{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\",\"uid\":"
             "\"0123456789012345678901234567890123456789012345678901234567890123\"}}",
                    "longer than 63"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job job, untouched;
        memset(&job, 0x55, sizeof job);
        untouched = job;
        json_t *json = json_loads(cases[i].text, JSON_ALLOW_NUL, NULL);
        ck_assert_ptr_nonnull(json);
        struct job_source *source = job_source_create(json, "");
        struct error err = {0};
        ck_assert_msg(job_decode(&source->object, "sexton.dev", &job, &err) == -1, "%s was taken", cases[i].text);
        ck_assert_msg(strstr(err.text, cases[i].why) != NULL, "%s: %s", cases[i].text, err.text);
        ck_assert_mem_eq(&job, &untouched, sizeof job);
        job_source_destroy(source);
    }
}
END_TEST

#define OWNER(api, kind, name, more) \
    "{\"apiVersion\":\"" api "\",\"kind\":\"" kind "\",\"name\":\"" name "\",\"uid\":\"o-" name "\"" more "}"
#define CONTROLS ",\"controller\":true"
#define LOOSE ",\"controller\":false"

/* The Job borrows from what this returns. */
static struct job_source *decode_owned(const char *owners, struct job *ret) {
    char text[1000];
    snprintf(text, sizeof text, "{\"metadata\":{" IDENTITY ",\"ownerReferences\":%s}}", owners);
    return decode(text, ret);
}

START_TEST(the_controlling_owner_counts_then_the_cronjob) {
    static const struct {
        const char *owners, *owner, *name; /* as `owners` names it, NULL: none */
        bool cronjob, loose;
    } cases[] = {{"[]", NULL, NULL, false, false},
            {"[" OWNER("batch/v1", "CronJob", "c", CONTROLS) "]", "CronJob.batch", "c", true, false},
            {"[" OWNER("batch/v1beta1", "CronJob", "c", CONTROLS) "]", "CronJob.batch", "c", true, false},
            {"[" OWNER("batch/v9", "CronJob", "c", CONTROLS) "]", "CronJob.batch", "c", true, false},
            {"[" OWNER("batch/v1", "CronJob", "c", "") "]", "CronJob.batch", "c", true, true},
            {"[" OWNER("batch/v1", "CronJob", "c", LOOSE) "]", "CronJob.batch", "c", true, true},
            {"[" OWNER("batch/v1", "CronJob", "c", "") "," OWNER("batch/v1", "CronJob", "d", "") "]", "CronJob.batch",
                    "c", true, true},
            {"[" OWNER("batch/v1", "CronJob", "c", "") "," OWNER("batch/v1", "CronJob", "d", CONTROLS) "]",
                    "CronJob.batch", "d", true, false},
            /* A CronJob of another group is anybody. */
            {"[" OWNER("example.com/v1", "CronJob", "c", CONTROLS) "]", "CronJob.example.com", "c", false, false},
            {"[" OWNER("batch.example.com/v1", "CronJob", "c", CONTROLS) "]", "CronJob.batch.example.com", "c", false,
                    false},
            {"[" OWNER("batch", "CronJob", "c", CONTROLS) "]", "CronJob", "c", false, false},
            {"[" OWNER("example.com/v1", "CronJob", "c", "") "]", NULL, NULL, false, false},
            /* Others */
            {"[" OWNER("jobset.x-k8s.io/v1alpha2", "JobSet", "s", CONTROLS) "]", "JobSet.jobset.x-k8s.io", "s", false,
                    false},
            {"[" OWNER("v1", "Node", "n", CONTROLS) "]", "Node", "n", false, false},
            {"[" OWNER("batch/v1", "Job", "j", CONTROLS) "]", "Job.batch", "j", false, false},
            /* Without the mark it does not run the Job again. */
            {"[" OWNER("jobset.x-k8s.io/v1alpha2", "JobSet", "s", "") "]", NULL, NULL, false, false},
            {"[" OWNER("a/v1", "Flow", "f", LOOSE) "," OWNER("b/v1", "Team", "t", ",\"controller\":null") "]", NULL,
                    NULL, false, false},
            {"[" OWNER("batch/v1", "CronJob", "c", "") "," OWNER("a/v1", "Flow", "f", CONTROLS) "]", "Flow.a", "f",
                    false, false},
            {"[" OWNER("a/v1", "Flow", "f", CONTROLS) "," OWNER("batch/v1", "CronJob", "c", "") "]", "Flow.a", "f",
                    false, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job job;
        struct job_source *source = decode_owned(cases[i].owners, &job);
        char owner[OWNER_TEXT_MAX];
        ck_assert_msg(!job.doubt, "%s: %s", cases[i].owners, job.doubt);
        ck_assert_pstr_eq(job.owner_name, cases[i].name);
        ck_assert_int_eq(job.owner_kind != NULL, cases[i].name != NULL);
        ck_assert_int_eq(job_has_cronjob(&job), cases[i].cronjob);
        ck_assert_int_eq(job.owner_is_loose, cases[i].loose);
        if (cases[i].owner)
            ck_assert_str_eq(job_owner_text(&job, owner), cases[i].owner);
        job_source_destroy(source);
    }
}
END_TEST

START_TEST(owners_that_contradict_the_api_are_doubted) {
    static const struct {
        const char *owners, *why;
    } cases[] = {{"[{\"kind\":\"CronJob\",\"name\":\"c\",\"uid\":\"1\",\"controller\":true}]", "cannot be understood"},
            {"[" OWNER("", "Flow", "f", CONTROLS) "]", "cannot be understood"},
            {"[" OWNER("/v1", "Flow", "f", CONTROLS) "]", "cannot be understood"},
            {"[" OWNER("a/", "Flow", "f", CONTROLS) "]", "cannot be understood"},
            {"[" OWNER("a/b/c", "Flow", "f", CONTROLS) "]", "cannot be understood"},
            {"[" OWNER("a/v1", "Flow", "f", ",\"controller\":\"true\"") "]", "cannot be understood"},
            {"[" OWNER("a/v1", "Flow", "f", ",\"controller\":1") "]", "cannot be understood"},
            {"[" OWNER("batch/v1", "CronJob", "c", CONTROLS) ",{}]", "cannot be understood"},
            {"[" OWNER("a/v1", "Flow", "f", CONTROLS) "," OWNER("b/v1", "JobSet", "s", CONTROLS) "]",
                    "more than one controller"},
            {"[" OWNER("batch/v1", "CronJob", "c", CONTROLS) "," OWNER("batch/v1", "CronJob", "c", CONTROLS) "]",
                    "more than one controller"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job job;
        struct job_source *source = decode_owned(cases[i].owners, &job);
        ck_assert_msg(job.doubt != NULL, "%s: no doubt", cases[i].owners);
        ck_assert_msg(strstr(job.doubt, cases[i].why) != NULL, "%s: %s", cases[i].owners, job.doubt);
        job_source_destroy(source);
    }
}
END_TEST

START_TEST(a_hook_is_known_by_its_annotation_whatever_its_value) {
    static const struct {
        const char *annotations, *value;
        enum hook_tool tool;
    } cases[] = {{"{}", NULL, HOOK_NONE}, {"{\"helm.sh/hook-weight\":\"5\"}", NULL, HOOK_NONE},
            {"{\"argocd.argoproj.io/hook-delete-policy\":\"HookSucceeded\"}", NULL, HOOK_NONE},
            {"{\"helm.sh/hook\":\"post-install,post-upgrade\"}", "post-install,post-upgrade", HOOK_HELM},
            {"{\"helm.sh/hook\":\"\"}", "", HOOK_HELM}, {"{\"helm.sh/hook\":7}", "", HOOK_HELM},
            {"{\"helm.sh/hook\":null}", "", HOOK_HELM},
            {"{\"argocd.argoproj.io/hook\":\"PreSync\"}", "PreSync", HOOK_ARGOCD},
            {"{\"argocd.argoproj.io/hook\":\"Sync\",\"helm.sh/hook\":\"test\"}", "test", HOOK_HELM}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[500];
        snprintf(text, sizeof text, "{\"metadata\":{" IDENTITY ",\"annotations\":%s}}", cases[i].annotations);
        struct job job;
        struct job_source *source = decode(text, &job);
        ck_assert_ptr_null(job.doubt);
        ck_assert_int_eq(job.hook_tool, cases[i].tool);
        ck_assert_pstr_eq(job.hook, cases[i].value);
        job_source_destroy(source);
    }
}
END_TEST

START_TEST(a_terminating_job_remembers_what_it_waits_for) {
    static const struct {
        const char *more, *finalizers;
    } cases[] = {{"\"deletionTimestamp\":\"2026-01-02T03:04:06Z\",\"finalizers\":[\"foregroundDeletion\"]",
                         "foregroundDeletion"},
            {"\"deletionTimestamp\":\"2026-01-02T03:04:06Z\",\"finalizers\":[\"foregroundDeletion\",\"example.com/x\"]",
                    "foregroundDeletion, example.com/x"},
            {"\"deletionTimestamp\":\"2026-01-02T03:04:06Z\",\"finalizers\":[]", NULL},
            {"\"deletionTimestamp\":\"2026-01-02T03:04:06Z\",\"finalizers\":[7,{},\"x\"]", "x"},
            {"\"deletionTimestamp\":\"2026-01-02T03:04:06Z\",\"finalizers\":\"x\"", NULL},
            {"\"deletionTimestamp\":\"2026-01-02T03:04:06Z\"", NULL},
            /* One that nobody deletes waits for nothing: no memory for it. */
            {"\"finalizers\":[\"example.com/x\"]", NULL}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[500];
        snprintf(text, sizeof text, "{\"metadata\":{" IDENTITY ",%s}}", cases[i].more);
        struct job job;
        struct job_source *source = decode(text, &job);
        ck_assert_pstr_eq(job.finalizers, cases[i].finalizers);
        job_source_destroy(source);
    }
    /* Hundreds of them are cut. */
    json_t *list = json_array();
    for (int i = 0; i < 500; i++)
        json_array_append_new(list, json_sprintf("example.com/finalizer-%d", i));
    json_t *json = json_pack("{s:{s:s,s:s,s:s,s:s,s:o}}", "metadata", "name", "a", "namespace", "b", "uid", "c",
            "deletionTimestamp", "2026-01-02T03:04:06Z", "finalizers", list);
    struct job_source *source = job_source_create(json, "");
    struct job job;
    ck_assert_int_eq(job_decode(&source->object, "sexton.dev", &job, NULL), 0);
    ck_assert_uint_lt(strlen(job.finalizers), 256);
    job_source_destroy(source);
}
END_TEST

START_TEST(a_finish_in_the_future_is_read_as_it_is) {
    struct job job;
    struct job_source *source =
            decode("{" META ",\"status\":{\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\","
                   "\"lastTransitionTime\":\"2999-01-01T00:00:00Z\"}]}}",
                    &job);
    ck_assert_int_eq(job.finished_ms, 32472144000000);
    ck_assert_ptr_null(job.doubt);
    job_source_destroy(source);
}
END_TEST

Suite *suite_job(void) {
    Suite *suite = suite_create("job");
    TCase *tcase = tcase_create("job");
    static const TTest *const *const all[] = {&a_finished_job_is_read_with_all_that_matters,
            &a_job_with_nothing_but_its_name_is_simply_not_finished, &only_complete_and_failed_that_are_true_end_a_job,
            &a_job_that_says_odd_things_is_doubted_and_says_why, &a_job_with_both_outcomes_has_neither,
            &the_largest_ttl_of_the_api_is_taken, &a_job_that_cannot_be_told_apart_is_an_error,
            &the_controlling_owner_counts_then_the_cronjob, &owners_that_contradict_the_api_are_doubted,
            &a_hook_is_known_by_its_annotation_whatever_its_value, &a_terminating_job_remembers_what_it_waits_for,
            &a_finish_in_the_future_is_read_as_it_is};
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}
