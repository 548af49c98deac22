/* What people are told by Kubernetes Events, and that nothing waits for them. */
#include "suites.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS "/apis/events.k8s.io/v1/events"
#define CRONJOB \
    "'ownerReferences': [{'apiVersion': 'batch/v1', 'kind': 'CronJob', 'name': 'nightly', 'uid': 'c-1', " \
    "'controller': true}]"
#define BAD "'sexton.dev/ttl-after-success': '10'"

/* How many Events there are of this reason ("": of any), and the last such in *ret; borrowed until the next request. */
static int events_of(const char *reason, const json_t **ret) {
    size_t index;
    json_t *items = json_object_get(sim_get(EVENTS), "items"), *event;
    int n = 0;
    json_array_foreach (items, index, event) {
        const char *its = json_string_value(json_object_get(event, "reason"));
        if (*reason && (!its || strcmp(its, reason) != 0))
            continue;
        n++;
        if (ret)
            *ret = event;
    }
    return n;
}

static const char *text_in(const json_t *object, const char *member, const char *key) {
    const char *text = json_string_value(json_object_get(member ? json_object_get(object, member) : object, key));
    return text ? format("%s", text) : "";
}

static int64_t count_in(const json_t *event) {
    const json_t *count = json_object_get(json_object_get(event, "series"), "count");
    return count ? json_integer_value(count) : 1;
}

static void expect_event(const json_t *event, const char *type, const char *kind, const char *ns, const char *name) {
    expect_text(text_in(event, NULL, "type"), type);
    expect_text(text_in(event, "regarding", "kind"), kind);
    expect_text(text_in(event, "regarding", "name"), name);
    expect_text(text_in(event, "metadata", "namespace"), ns);
    expect_text(text_in(event, NULL, "reportingController"), "sexton.dev/sexton");
}

START_TEST(a_job_whose_annotation_is_not_understood_has_an_event_that_says_what_is_wrong) {
    sim_start(NULL);
    const json_t *event = NULL;
    struct job job = put_job(.name = "typo", .ended_s = 60, .annotations = BAD);
    struct process *controller = controller_start();
    wait_until(events_of("", &event) == 1);
    expect_event(event, "Warning", "Job", "shop", "typo");
    expect_text(text_in(event, NULL, "reason"), "AnnotationNotUnderstood");
    expect_text(text_in(event, "regarding", "uid"), job.uid);
    expect_text(text_in(event, NULL, "note"), "Kept: sexton.dev/ttl-after-success: 10 is not a duration (like 90s, "
                                              "30m, 12h, 7d, 2w, 1d12h, 0s or never). "
                                              "Correct it or remove it");
    controller_stop(controller);
    expect_kept(&job, "kept");
}
END_TEST

START_TEST(a_value_from_hell_is_told_escaped_and_cut) {
    sim_start(NULL);
    const json_t *event = NULL;
    char *value = calloc(1, 100001);
    memset(value, 'x', 100000);
    put_job(.name = "long", .ended_s = 60,
            .annotations = format("'sexton.dev/hold': '\\u202e\\n\\u0007%s'", keep(value)));
    struct process *controller = controller_start();
    wait_until(events_of("AnnotationNotUnderstood", &event) == 1);
    const char *note = text_in(event, NULL, "note");
    expect(strlen(note) <= 1024, "it is too long");
    expect_contains(note, "Kept: sexton.dev/hold: \\u202e\\n\\x07xxx");
    expect_contains(note, "xxx... is neither true");
    controller_stop(controller);
}
END_TEST

START_TEST(a_namespace_whose_annotation_is_not_understood_has_the_event_and_its_jobs_have_none) {
    sim_start(NULL);
    const json_t *event = NULL;
    put_namespace("shop", "'sexton.dev/ttl-after-success': 'soon'");
    put_job(.name = "a", .ended_s = 60);
    struct process *controller = controller_start();
    wait_until(events_of("", &event) == 1);
    expect_event(event, "Warning", "Namespace", "shop", "shop");
    expect_contains(text_in(event, NULL, "note"), "sexton.dev/ttl-after-success: soon is not a duration");
    struct job job = put_job(.name = "b", .ended_s = 5);
    wait_until(row_is(&job, "kept", ""));
    put_job(.name = "c", .ended_s = 5, .annotations = BAD);
    wait_until(events_of("", NULL) == 2);
    controller_stop(controller);
}
END_TEST

START_TEST(a_job_that_a_guard_keeps_has_an_event_when_that_is_decided_and_not_at_each_start) {
    sim_start(NULL);
    const json_t *event = NULL;
    struct job old = put_job(.name = "old", .ended_s = 60, .annotations = "'helm.sh/hook': 'post-install'");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    wait_until(row_is(&old, "kept", ""));
    struct job job = put_job(.name = "hook", .ended_s = 5, .annotations = "'helm.sh/hook': 'post-install'");
    wait_until(events_of("LeftToTool", &event) == 1);
    expect_event(event, "Normal", "Job", "shop", "hook");
    expect_text(text_in(event, "regarding", "uid"), job.uid);
    expect_contains(text_in(event, NULL, "note"), "left to Helm, whose hook it is");
    controller_stop(controller);
    controller = controller_start();
    put_job(.name = "typo", .ended_s = 5, .annotations = BAD);
    wait_until(events_of("AnnotationNotUnderstood", NULL) == 1);
    expect_number(events_of("", NULL), 2);
    controller_stop(controller);
}
END_TEST

START_TEST(a_cronjob_whose_jobs_are_deleted_has_one_event_whose_count_grows) {
    sim_start(NULL);
    const json_t *event = NULL;
    configure("[sexton]\nlog-level = debug\nleader-elect = false\n");
    struct process *controller = controller_start_with_clock(0, 60);
    wait_until_synced(controller);
    for (int i = 1; i <= 5; i++) {
        struct job job = put_job(.name = format("nightly-%d", i), .ended_s = 600, .metadata = CRONJOB);
        wait_until(row_is(&job, "deleted", "ttl"));
        wait_until(events_of("JobDeleted", &event) == 1 && count_in(event) == i);
    }
    expect_event(event, "Normal", "CronJob", "shop", "nightly");
    expect_text(text_in(event, "regarding", "uid"), "c-1");
    expect_text(text_in(event, "regarding", "apiVersion"), "batch/v1");
    expect_contains(text_in(event, NULL, "note"), "Deleted Job nightly-1, which succeeded at 20");
    expect_contains(text_in(event, NULL, "note"), "sexton history list -n shop --cronjob nightly");
    expect_number(sim_count("events", "create"), 1);
    expect_number(sim_count("events", "patch"), 4);
    controller_stop(controller);
}
END_TEST

START_TEST(events_are_limited_and_deletions_do_not_wait_for_them) {
    sim_start(NULL);
    struct job last = {0};
    for (int i = 0; i < 200; i++)
        put_job(.name = format("typo-%d", i), .ended_s = 60, .annotations = BAD);
    for (int i = 0; i < 50; i++)
        last = put_job(.name = format("fine-%d", i), .ended_s = 60);
    int64_t began_ms = mono_ms();
    struct process *controller = controller_start();
    wait_until(events_of("", NULL) >= 25);
    wait_until(row_is(&last, "deleted", "ttl") && sim_count("jobs", "delete") == 50);
    int64_t most = 25 + (mono_ms() - began_ms) / 1000 + 1, n = sim_count("events", "create");
    expect(n <= most, "%lld Events, and %lld would be at most", (long long)n, (long long)most);
    controller_stop(controller);
}
END_TEST

START_TEST(where_events_are_forbidden_that_is_said_once_and_everything_else_goes_on) {
    sim_start(NULL);
    sim_faults("[{'match': {'resource': 'events'}, 'action': {'deny': true}}]");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    put_job(.name = "typo-1", .ended_s = 5, .annotations = BAD);
    wait_until(has_logged(controller, "Kubernetes Events may not be written"));
    put_job(.name = "typo-2", .ended_s = 5, .annotations = BAD);
    struct job job = put_job(.name = "fine", .ended_s = 5);
    expect_recorded_and_deleted(&job, 0);
    expect(has_logged(controller, "allow create and patch of events.events.k8s.io"), "it does not say what to do");
    expect_number(count_of(process_err(controller), "Kubernetes Events may not be written"), 1);
    expect_number(sim_count("events", "create"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(check_names_the_rights_that_events_take_unless_none_are_written) {
    sim_start(NULL);
    sim_faults("[{'match': {'resource': 'events'}, 'action': {'deny': true}}]");
    struct result result = sexton_here("check", "-n", "a,b");
    expect_number(result.code, 1);
    expect_number(count_of(result.out, "\nmissing"), 4);
    expect_contains(result.out, "missing create events.events.k8s.io in a");
    expect_contains(result.out, "missing patch events.events.k8s.io in b");
    setenv("POD_NAMESPACE", "home", 1); /* in a Pod, its own, too */
    result = sexton_here("check", "-n", "a,b");
    expect_number(count_of(result.out, "\nmissing"), 6);
    expect_contains(result.out, "missing create events.events.k8s.io in home");
    expect_number(count_of(sexton_here("check", "-n", "a,home").out, "\nmissing"), 4);
    expect_number(count_of(sexton_here("check").out, "\nmissing"), 2);
    configure("[sexton]\nevents = false\n");
    result = sexton_here("check", "-n", "a,b");
    unsetenv("POD_NAMESPACE");
    expect_number(result.code, 0);
    expect_lacks(result.out, "events.k8s.io");
}
END_TEST

START_TEST(without_the_api_that_is_said_once_and_everything_else_goes_on) {
    sim_start(NULL);
    sim_faults("[{'match': {'resource': 'events'}, 'action': {'status': 404, 'body': '404 page not found', "
               "'contentType': 'text/plain'}}]");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    put_job(.name = "typo-1", .ended_s = 5, .annotations = BAD);
    wait_until(has_logged(controller, "the API server has no Kubernetes Events of events.k8s.io/v1"));
    put_job(.name = "typo-2", .ended_s = 5, .annotations = BAD);
    struct job job = put_job(.name = "fine", .ended_s = 5);
    expect_recorded_and_deleted(&job, 0);
    expect_number(sim_count("events", "create"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(an_events_api_that_never_answers_holds_up_neither_deletions_nor_the_exit) {
    sim_start(NULL);
    sim_faults("[{'match': {'resource': 'events'}, 'action': {'stallAfter': 0}}]");
    struct process *controller = controller_start();
    wait_until_synced(controller);
    for (int i = 0; i < 10; i++)
        put_job(.name = format("typo-%d", i), .ended_s = 5, .annotations = BAD);
    wait_until(sim_count("events", "create") == 2);
    for (int i = 0; i < 40; i++) {
        struct job job = put_job(.name = format("nightly-%d", i), .ended_s = 600, .metadata = CRONJOB);
        if (i % 10 == 9)
            expect_recorded_and_deleted(&job, 0);
    }
    wait_until(sim_count("jobs", "delete") == 40);
    expect_number(sim_count("events", "create"), 2);
    int64_t began_ms = mono_ms();
    controller_stop(controller);
    expect(mono_ms() - began_ms < 5000, "the end took %lld ms", (long long)(mono_ms() - began_ms));
}
END_TEST

START_TEST(an_answer_that_is_lost_makes_no_second_event) {
    sim_start(NULL);
    sim_faults("[{'match': {'resource': 'events'}, 'times': 1, 'action': {'applyThenDrop': true}}]");
    configure("[sexton]\nlog-level = debug\nleader-elect = false\n");
    struct process *controller = controller_start_with_clock(0, 60);
    wait_until_synced(controller);
    put_job(.name = "typo", .ended_s = 5, .annotations = BAD);
    wait_until(has_logged(controller, "Kubernetes Events cannot be written"));
    wait_until(has_logged(controller, "Kubernetes Events are written again"));
    expect_number(events_of("", NULL), 1);
    expect_number(sim_count("events", "create"), 2);
    controller_stop(controller);
}
END_TEST

START_TEST(a_configuration_that_is_refused_has_an_event_on_our_own_pod) {
    sim_start(NULL);
    const json_t *event = NULL;
    configure("[sexton]\nlog-level = debug\n");
    put_namespace("system", NULL);
    setenv("POD_NAME", "sexton-7d4b9c-x2x1z", 1);
    setenv("POD_NAMESPACE", "system", 1);
    setenv("POD_UID", "p-1", 1);
    struct process *controller = controller_start();
    wait_until_synced(controller);
    configure("[sexton]\nlog-level = loud\n");
    wait_until(events_of("ConfigurationRefused", &event) == 1);
    expect_event(event, "Warning", "Pod", "system", "sexton-7d4b9c-x2x1z");
    expect_text(text_in(event, "regarding", "uid"), "p-1");
    expect_text(text_in(event, NULL, "reportingInstance"), "sexton-7d4b9c-x2x1z");
    expect_contains(text_in(event, NULL, "note"), "The new configuration is refused, the old one stays: ");
    expect_contains(text_in(event, NULL, "note"), "sexton.ini:3: log-level: 'loud' is not debug");
    controller_stop(controller);
}
END_TEST

START_TEST(who_stands_by_and_who_is_told_not_to_writes_none) {
    sim_start(NULL);
    configure("[sexton]\nevents = false\nleader-elect = false\n");
    struct process *controller = controller_start();
    struct job job = put_job(.name = "typo", .ended_s = 5, .annotations = BAD);
    wait_until(row_is(&job, "kept", ""));
    controller_stop(controller);
    expect_number(sexton_here("sweep").code, 0);
    configure("[sexton]\n");
    expect_number(sexton_here("sweep").code, 0);
    struct process *dry = controller_start("--dry-run");
    wait_until_synced(dry);
    controller_stop(dry);
    expect_number(sim_count("events", "create"), 0);
    struct process *leader = controller_start();
    wait_until(events_of("", NULL) == 1);
    struct process *other = controller_start("--store", format("sqlite:%s", in_folder("other.db")));
    wait_until_synced(other);
    job = put_job(.name = "typo-2", .ended_s = 5, .annotations = BAD);
    wait_until(has_logged(other, "job=shop/typo-2") && events_of("", NULL) == 2);
    controller_stop(other);
    controller_stop(leader);
    expect_number(events_of("", NULL), 2);
}
END_TEST

Suite *suite_events(void) {
    const TTest *const tests[] = {
            a_job_whose_annotation_is_not_understood_has_an_event_that_says_what_is_wrong,
            a_value_from_hell_is_told_escaped_and_cut,
            a_namespace_whose_annotation_is_not_understood_has_the_event_and_its_jobs_have_none,
            a_job_that_a_guard_keeps_has_an_event_when_that_is_decided_and_not_at_each_start,
            a_cronjob_whose_jobs_are_deleted_has_one_event_whose_count_grows,
            events_are_limited_and_deletions_do_not_wait_for_them,
            where_events_are_forbidden_that_is_said_once_and_everything_else_goes_on,
            check_names_the_rights_that_events_take_unless_none_are_written,
            without_the_api_that_is_said_once_and_everything_else_goes_on,
            an_events_api_that_never_answers_holds_up_neither_deletions_nor_the_exit,
            an_answer_that_is_lost_makes_no_second_event,
            a_configuration_that_is_refused_has_an_event_on_our_own_pod,
            who_stands_by_and_who_is_told_not_to_writes_none,
            NULL,
    };
    return suite_of("events", tests);
}
