#include "suites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "job_source.h"
#include "jobs/reconcile.h"

/* What the scenarios (tests/scenarios) reach badly: ports that fail, answers nobody waits for, how long to sleep. */

#define NOW_MS 1767323045000
#define MADE_MAX 64

/* What the reconciler asked for. */
static struct {
    int64_t wall_ms, mono_ms;
    struct reconcile *r;
    struct policy policy;
    struct evidence_settings evidence;
    char deleted[MADE_MAX][UID_MAX], looked[MADE_MAX][UID_MAX];
    int deletes, looks, wakes;
    bool delete_fails, look_fails;
    struct history_request *requests, **tail; /* in order */
    char news[1024];                          /* what was told, a word each */
} t;

static int64_t wall_ms(void) {
    return t.wall_ms;
}

static int64_t mono_ms(void) {
    return t.mono_ms;
}

static int port_delete(void *arg, const struct job *job) {
    ck_assert_ptr_eq(arg, &t);
    if (t.delete_fails)
        return -1;
    ck_assert_int_lt(t.deletes, MADE_MAX);
    snprintf(t.deleted[t.deletes++], UID_MAX, "%s", job->uid);
    return 0;
}

static int port_get(void *arg, const char *namespace, const char *name, const char *uid) {
    ck_assert_ptr_eq(arg, &t);
    ck_assert_str_eq(namespace, "a");
    ck_assert_ptr_nonnull(name);
    if (t.look_fails)
        return -1;
    ck_assert_int_lt(t.looks, MADE_MAX);
    snprintf(t.looked[t.looks++], UID_MAX, "%s", uid);
    return 0;
}

static void port_submit(void *arg, struct history_request *request) {
    ck_assert_ptr_eq(arg, &t);
    *t.tail = request;
    t.tail = &request->next;
}

static void port_wake(void *arg) {
    ck_assert_ptr_eq(arg, &t);
    t.wakes++;
}

static void port_tell(void *arg, const struct news *news) {
    static const char *const kinds[] = {"recorded", "deleted", "accepted", "failed", "decided"};
    ck_assert_ptr_eq(arg, &t);
    ck_assert(*news->namespace);
    size_t len = strlen(t.news);
    len += (size_t)snprintf(t.news + len, sizeof t.news - len, "%s%s", len ? " " : "", kinds[news->kind]);
    switch (news->kind) {
    case NEWS_RECORDED:
        snprintf(t.news + len, sizeof t.news - len, ":%s:%s", news->run->job_name, outcome_name(news->run->outcome));
        break;
    case NEWS_DELETED:
        snprintf(t.news + len, sizeof t.news - len, ":%s:%s", run_cause_name(news->cause),
                news->due_ms == TIME_NONE ? "undue" : "due");
        ck_assert_int_le(news->finished_ms, news->at_ms);
        break;
    case NEWS_ACCEPTED:
        snprintf(t.news + len, sizeof t.news - len, ":%s", news->job->name);
        break;
    case NEWS_FAILED:
        snprintf(t.news + len, sizeof t.news - len, ":%s:%d", news->job->name, news->status);
        break;
    case NEWS_DECIDED:
        snprintf(t.news + len, sizeof t.news - len, ":%s:%s", news->job->name, action_name(news->decision->action));
        break;
    }
}

/* And forget it. */
static void expect_news(const char *words) {
    ck_assert_str_eq(t.news, words);
    t.news[0] = '\0';
}

static void create(const struct reconcile_settings *wanted, bool dry) {
    struct reconcile_settings settings = *wanted;
    struct error err = {0};
    settings.policy = &t.policy;
    settings.evidence = &t.evidence;
    settings.missing_namespace = NAMESPACE_NOT_ASKED;
    const struct reconcile_ports ports = {.arg = &t,
            .delete_job = port_delete,
            .get_job = port_get,
            .submit = dry ? NULL : port_submit,
            .wake = port_wake,
            .tell = port_tell};
    t.r = reconcile_create(&settings, &ports, &err);
    ck_assert_ptr_nonnull(t.r);
    skew_sample(reconcile_skew(t.r), t.mono_ms, t.mono_ms, t.wall_ms);
}

static void create_default(void) {
    create(&(struct reconcile_settings){.delete_qps = 50, .max_in_flight = 32}, false);
    reconcile_set_fresh(t.r, 0, true);
}

static void setup(void) {
    static const struct clock_source source = {wall_ms, mono_ms};
    memset(&t, 0, sizeof t);
    t.tail = &t.requests;
    t.wall_ms = NOW_MS;
    t.mono_ms = 1000000;
    policy_init(&t.policy);
    t.evidence = (struct evidence_settings){.prefix = t.policy.prefix, .labels = "", .annotations = ""};
    clock_use(&source);
    random_seed(1);
    log_configure(LOG_OFF, LOG_LOGFMT);
}

static struct history_request *take_request(void) {
    struct history_request *request = t.requests;
    if (request && !(t.requests = request->next))
        t.tail = &t.requests;
    return request;
}

static void teardown(void) {
    for (struct history_request *request; (request = take_request());)
        history_request_destroy(request);
    reconcile_destroy(t.r);
    clock_use(NULL);
    log_configure(LOG_INFO, LOG_LOGFMT);
}

static void pass_time(int64_t ms) {
    t.wall_ms += ms;
    t.mono_ms += ms;
    skew_sample(reconcile_skew(t.r), t.mono_ms, t.mono_ms, t.wall_ms - t.wall_ms % 1000);
}

static json_t *make_job(const char *uid, const char *version, const char *outcome) {
    json_t *job = json_pack("{s:s, s:{s:s, s:s, s:s, s:s}, s:{s:{}}}", "kind", "Job", "metadata", "namespace", "a",
            "name", uid, "uid", uid, "resourceVersion", version, "spec", "template");
    if (outcome)
        json_object_set_new(job, "status",
                json_pack("{s:[{s:s, s:s, s:s}]}", "conditions", "type", outcome, "status", "True",
                        "lastTransitionTime", "2026-01-02T03:04:04Z"));
    return job;
}

/* Takes json. */
static void bring_json(uint16_t source, json_t *json) {
    struct job_source *job = job_source_create(json, "{}");
    reconcile_on_job(t.r, source, &job->object);
    job_source_destroy(job);
}

static void bring(const char *uid, const char *version, const char *outcome) {
    bring_json(0, make_job(uid, version, outcome));
}

static void bring_created(const char *uid, const char *created) {
    json_t *job = make_job(uid, "5", NULL);
    json_object_set_new(json_object_get(job, "metadata"), "creationTimestamp", json_string(created));
    bring_json(0, job);
}

static void take_away(const char *uid) {
    struct job_source *job = job_source_create(make_job(uid, "99", "Complete"), "");
    reconcile_on_job_deleted(t.r, 0, &job->object);
    job_source_destroy(job);
}

/* The next request to the register must be this one; it becomes durable. Each record makes a row, each end ends it. */
static void expect_request(enum history_op op, const char *uid) {
    struct history_request *request = take_request();
    if (request) {
        request->inserted = request->run && request->op != HISTORY_DELETED;
        request->ended = request->op == HISTORY_DELETED;
    }
    ck_assert_ptr_nonnull(request);
    ck_assert_int_eq(request->op, op);
    ck_assert_str_eq(request->uid, uid);
    reconcile_on_durable(t.r, request);
    history_request_destroy(request);
}

static void answer_delete(const char *uid, int status) {
    reconcile_on_delete(t.r, uid,
            &(struct reconcile_answer){.status = status, .sent = true, .retry_after_ms = -1, .message = "said so"});
}

static void answer_look(const char *uid, int status, json_t *body) {
    reconcile_on_get(t.r, uid,
            &(struct reconcile_answer){
                    .status = status, .sent = true, .retry_after_ms = -1, .message = "said so", .body = body});
    json_decref(body);
}

/* What a row says of the decision in between is not what these tests are about. */
static void skip_policies(const char *uid) {
    while (t.requests && t.requests->op == HISTORY_POLICY)
        expect_request(HISTORY_POLICY, uid);
}

/* Up to the DELETE. */
static void bring_to_delete(const char *uid) {
    int before = t.deletes;
    bring(uid, "1", "Complete");
    expect_request(HISTORY_INTENT, uid);
    ck_assert_int_eq(t.deletes, before + 1);
    ck_assert_str_eq(t.deleted[before], uid);
}

START_TEST(destroy_takes_null_and_what_is_under_way) {
    struct error err = {0};
    reconcile_destroy(NULL);
    create_default();
    bring_to_delete("u1");
    answer_delete("u1", 403); /* a Namespace that forbids */
    bring("u2", "1", "Failed");
    ck_assert_int_eq(reconcile_add_open_row(t.r, "a", "old", "u3", RUN_DELETING, 0, &err), 0);
}
END_TEST

START_TEST(a_delete_that_cannot_be_sent_is_tried_again_with_its_own_intent) {
    create_default();
    t.delete_fails = true;
    bring("u1", "1", "Complete");
    expect_request(HISTORY_INTENT, "u1");
    ck_assert_int_eq(t.deletes, 0);
    ck_assert_int_eq(reconcile_in_flight(t.r), 0);
    t.delete_fails = false;
    skip_policies("u1");
    (void)reconcile_run(t.r);
    ck_assert_ptr_null(t.requests);
    pass_time(RECONCILE_BACKOFF_FIRST_MS);
    (void)reconcile_run(t.r);
    skip_policies("u1");
    expect_request(HISTORY_INTENT, "u1");
    ck_assert_int_eq(t.deletes, 1);
}
END_TEST

START_TEST(a_look_that_cannot_be_sent_is_tried_again) {
    create_default();
    bring_to_delete("u1");
    answer_delete("u1", 500);
    t.look_fails = true;
    pass_time(RECONCILE_PAUSE_LAST_MS);
    (void)reconcile_run(t.r);
    ck_assert_int_eq(t.looks, 0);
    ck_assert_int_eq(reconcile_in_flight(t.r), 0);
    t.look_fails = false;
    pass_time(2 * RECONCILE_BACKOFF_FIRST_MS);
    (void)reconcile_run(t.r);
    ck_assert_int_eq(t.looks, 1);
    ck_assert_str_eq(t.looked[0], "u1");
    ck_assert_int_eq(t.deletes, 1);
}
END_TEST

START_TEST(answers_that_nobody_waits_for_are_ignored) {
    create_default();
    answer_delete("nobody", 200);
    answer_look("nobody", 404, NULL);
    struct history_request stray = {.op = HISTORY_INTENT, .uid = "nobody"};
    reconcile_on_durable(t.r, &stray);
    reconcile_on_refused(t.r, &stray);
    bring("u1", "1", NULL);
    struct history_request early = {.op = HISTORY_INTENT, .uid = "u1"};
    answer_delete("u1", 200);
    answer_look("u1", 404, NULL);
    reconcile_on_durable(t.r, &early);
    ck_assert_int_eq(t.deletes, 0);
    ck_assert_ptr_null(t.requests);
    ck_assert_ptr_nonnull(store_find(reconcile_store(t.r), "u1"));
    ck_assert_int_eq(reconcile_count(t.r).deleted, 0);
}
END_TEST

START_TEST(an_event_that_comes_twice_does_nothing_the_second_time) {
    create_default();
    bring_to_delete("u1");
    bring("u1", "1", "Complete");
    (void)reconcile_run(t.r);
    ck_assert_ptr_null(t.requests);
    ck_assert_int_eq(t.deletes, 1);
    answer_delete("u1", 200);
    expect_request(HISTORY_DELETED, "u1");
    take_away("u1");
    ck_assert_ptr_null(t.requests);
    ck_assert_int_eq(reconcile_count(t.r).seen, 0);
}
END_TEST

START_TEST(nothing_starts_while_the_register_cannot_be_written) {
    create_default();
    reconcile_set_recording(t.r, false);
    bring("u1", "1", "Complete");
    expect_request(HISTORY_RECORD, "u1"); /* taken in, for when it can */
    ck_assert_int_eq(reconcile_run(t.r), RECONCILE_SLEEP_MAX_MS);
    ck_assert_ptr_null(t.requests);
    reconcile_set_recording(t.r, true);
    ck_assert_int_gt(t.wakes, 0);
    (void)reconcile_run(t.r);
    expect_request(HISTORY_INTENT, "u1");
    ck_assert_int_eq(t.deletes, 1);
}
END_TEST

START_TEST(nothing_starts_on_stale_knowledge) {
    create(&(struct reconcile_settings){.delete_qps = 0, .max_in_flight = 1}, false);
    bring("u1", "1", "Complete");
    expect_request(HISTORY_RECORD, "u1");
    (void)reconcile_run(t.r);
    ck_assert_ptr_null(t.requests);
    reconcile_set_fresh(t.r, 0, true);
    (void)reconcile_run(t.r);
    /* it gets stale again before the intent is durable */
    reconcile_set_fresh(t.r, 0, false);
    expect_request(HISTORY_INTENT, "u1");
    ck_assert_int_eq(t.deletes, 0);
    expect_request(HISTORY_POLICY, "u1");
    reconcile_set_fresh(t.r, 0, true);
    reconcile_set_fresh(t.r, 0, true);
    (void)reconcile_run(t.r);
    expect_request(HISTORY_INTENT, "u1");
    ck_assert_int_eq(t.deletes, 1);
}
END_TEST

START_TEST(one_source_gone_stale_leaves_the_others_alone) {
    create_default();
    reconcile_set_fresh(t.r, 1, false);
    bring_json(1, make_job("u2", "1", "Complete"));
    expect_request(HISTORY_RECORD, "u2");
    bring_to_delete("u1");
    ck_assert_int_eq(t.deletes, 1);
}
END_TEST

START_TEST(it_sleeps_until_something_is_due_and_looks_at_the_clocks_every_minute) {
    create_default();
    ck_assert_int_eq(reconcile_run(t.r), RECONCILE_SLEEP_MAX_MS);
    t.policy.success.ms = 31000;
    bring("u1", "1", "Complete"); /* finished a second ago */
    ck_assert_int_eq(reconcile_run(t.r), 30000);
    pass_time(29995);
    ck_assert_int_ge(reconcile_run(t.r), 5);
    t.policy.success.ms = 3600000;
    reconcile_policy_changed(t.r);
    ck_assert_int_eq(reconcile_run(t.r), RECONCILE_SLEEP_MAX_MS);
}
END_TEST

START_TEST(it_sleeps_as_long_as_deletions_pause) {
    create_default();
    bring_to_delete("u1");
    reconcile_on_delete(
            t.r, "u1", &(struct reconcile_answer){.status = 429, .retry_after_ms = 7000, .message = "too many"});
    bring("u2", "1", "Complete");
    ck_assert_int_eq(reconcile_run(t.r), 7000);
    /* an answer with less patience does not shorten it */
    pass_time(7000);
    (void)reconcile_run(t.r);
    ck_assert_int_le(reconcile_run(t.r), RECONCILE_SLEEP_MAX_MS);
    ck_assert_int_ge(reconcile_in_flight(t.r), 1);
}
END_TEST

START_TEST(it_sleeps_for_one_token_when_the_bucket_is_empty) {
    create(&(struct reconcile_settings){.delete_qps = 4, .max_in_flight = 100}, false);
    reconcile_set_fresh(t.r, 0, true);
    for (char uid[] = "a"; *uid <= 'f'; ++*uid)
        bring(uid, "1", "Complete");
    ck_assert_int_eq(reconcile_in_flight(t.r), 4);
    ck_assert_int_eq(reconcile_run(t.r), 250);
    pass_time(250);
    (void)reconcile_run(t.r);
    ck_assert_int_eq(reconcile_in_flight(t.r), 5);
    /* unlimited by a reload */
    reconcile_set_limits(t.r, 0, 100);
    (void)reconcile_run(t.r);
    ck_assert_int_eq(reconcile_in_flight(t.r), 6);
}
END_TEST

/* Four under way, which are all that may be, and one more that is due. */
static void fill_group(void) {
    create(&(struct reconcile_settings){.max_in_flight = 4}, false);
    reconcile_set_fresh(t.r, 0, true);
    static const char *const uids[] = {"1", "2", "3", "4"};
    for (size_t i = 0; i < sizeof uids / sizeof uids[0]; i++)
        bring_to_delete(uids[i]);
    bring("5", "1", "Complete");
    expect_request(HISTORY_RECORD, "5");
}

/* One of them is gone, and the reconciler has nothing to do until the next answer. */
static void drain_group(const char *uid) {
    answer_delete(uid, 200);
    expect_request(HISTORY_DELETED, uid);
    ck_assert_int_eq(reconcile_run(t.r), RECONCILE_SLEEP_MAX_MS);
}

START_TEST(it_sleeps_until_half_of_a_full_group_is_answered) {
    fill_group();
    drain_group("1");
    ck_assert_ptr_null(t.requests);
    drain_group("2");
    expect_request(HISTORY_INTENT, "5");
}
END_TEST

START_TEST(a_group_goes_by_the_limit_that_was_set_last) {
    fill_group();
    reconcile_set_limits(t.r, 0, 1);
    drain_group("1");
    drain_group("2");
    drain_group("3");
    ck_assert_ptr_null(t.requests);
    drain_group("4");
    expect_request(HISTORY_INTENT, "5");
    bring("6", "1", "Complete");
    expect_request(HISTORY_RECORD, "6");
    reconcile_set_limits(t.r, 0, 2);
    (void)reconcile_run(t.r);
    expect_request(HISTORY_INTENT, "6");
}
END_TEST

START_TEST(a_long_sleep_fills_the_bucket_to_one_second_and_no_more) {
    create(&(struct reconcile_settings){.delete_qps = 2, .max_in_flight = 100}, false);
    reconcile_set_fresh(t.r, 0, true);
    pass_time(86400000);
    for (char uid[] = "a"; *uid <= 'f'; ++*uid)
        bring(uid, "1", "Complete");
    (void)reconcile_run(t.r);
    ck_assert_int_eq(reconcile_in_flight(t.r), 2);
}
END_TEST

START_TEST(one_pass_gives_a_job_up_and_a_change_gives_it_another_chance) {
    create(&(struct reconcile_settings){.delete_qps = 0, .max_in_flight = 10, .one_pass = true}, false);
    reconcile_set_fresh(t.r, 0, true);
    bring_to_delete("u1");
    ck_assert(!reconcile_is_done(t.r));
    answer_delete("u1", 403);
    ck_assert(reconcile_is_done(t.r));
    ck_assert_int_eq(reconcile_count(t.r).failed, 1);
    ck_assert_int_eq(reconcile_count(t.r).pending, 0);
    bring("u1", "2", "Complete");
    ck_assert(!reconcile_is_done(t.r));
}
END_TEST

START_TEST(one_pass_forgets_a_job_it_gave_up_when_another_hand_deletes_it) {
    create(&(struct reconcile_settings){.delete_qps = 0, .max_in_flight = 10, .one_pass = true}, false);
    reconcile_set_fresh(t.r, 0, true);
    bring_to_delete("u1");
    answer_delete("u1", 403);
    skip_policies("u1");
    take_away("u1");
    ck_assert_int_eq(t.requests->cause, RUN_CAUSE_EXTERNAL);
    expect_request(HISTORY_DELETED, "u1");
    ck_assert_ptr_null(store_find(reconcile_store(t.r), "u1"));
}
END_TEST

START_TEST(one_pass_does_not_wait_for_what_is_not_due) {
    create(&(struct reconcile_settings){.delete_qps = 0, .max_in_flight = 10, .one_pass = true}, false);
    reconcile_set_fresh(t.r, 0, true);
    bring("u1", "1", "Failed");
    ck_assert(reconcile_is_done(t.r));
    ck_assert_int_eq(reconcile_count(t.r).waiting, 1);
}
END_TEST

START_TEST(a_refused_record_is_taken_again_before_any_deletion) {
    create_default();
    t.policy.success.ms = 10000;
    bring("u1", "1", "Complete");
    struct history_request *request = take_request();
    ck_assert_int_eq(request->op, HISTORY_RECORD);
    reconcile_on_refused(t.r, request);
    history_request_destroy(request);
    pass_time(20000);
    (void)reconcile_run(t.r);
    ck_assert_ptr_null(t.requests); /* no intent without a record */
    ck_assert_int_eq(t.looks, 1);
    answer_look("u1", 200, make_job("u1", "1", "Complete"));
    request = t.requests;
    ck_assert_ptr_nonnull(request);
    ck_assert_ptr_nonnull(request->run);
    while (t.requests && t.requests->op != HISTORY_INTENT)
        expect_request(t.requests->op, "u1");
    (void)reconcile_run(t.r);
    expect_request(HISTORY_INTENT, "u1");
    ck_assert_int_eq(t.deletes, 1);
}
END_TEST

START_TEST(a_refusal_while_the_delete_is_on_its_way_waits_for_the_answer) {
    create_default();
    bring_to_delete("u1");
    struct history_request refused = {.op = HISTORY_RECORD, .uid = "u1"};
    reconcile_on_refused(t.r, &refused);
    ck_assert_int_eq(reconcile_in_flight(t.r), 1);
    answer_delete("u1", 200);
    expect_request(HISTORY_DELETED, "u1");
}
END_TEST

START_TEST(rows_of_an_earlier_controller_wait_for_a_whole_list) {
    struct error err = {0};
    create_default();
    ck_assert_int_eq(reconcile_add_open_row(t.r, "a", "one", "u1", RUN_DELETING, 0, &err), 0);
    ck_assert_int_eq(reconcile_add_open_row(t.r, "b", "two", "u2", RUN_KEPT, 1, &err), 0);
    reconcile_list_begins(t.r, 0);
    reconcile_list_is_partial(t.r, 0);
    reconcile_list_complete(t.r, 0);
    ck_assert_ptr_null(t.requests);
    reconcile_list_begins(t.r, 0);
    reconcile_list_complete(t.r, 0);
    ck_assert_int_eq(t.requests->cause, RUN_CAUSE_UNKNOWN);
    expect_request(HISTORY_DELETED, "u1");
    ck_assert_ptr_null(t.requests);
    reconcile_list_begins(t.r, 1);
    reconcile_list_complete(t.r, 1);
    ck_assert_int_eq(t.requests->cause, RUN_CAUSE_EXTERNAL);
    expect_request(HISTORY_DELETED, "u2");
}
END_TEST

START_TEST(what_is_no_job_is_left_alone) {
    create_default();
    struct job_source *odd = job_source_create(json_pack("{s:{s:s}}", "metadata", "name", "x"), "");
    bring("u1", "1", NULL);
    reconcile_list_begins(t.r, 0);
    reconcile_on_job(t.r, 0, &odd->object);
    reconcile_list_complete(t.r, 0); /* partial: u1 need not be gone */
    reconcile_on_job_deleted(t.r, 0, &odd->object);
    job_source_destroy(odd);
    ck_assert_ptr_null(t.requests);
    ck_assert_int_eq(reconcile_count(t.r).seen, 1);
}
END_TEST

START_TEST(after_stop_nothing_starts_and_what_is_in_flight_ends) {
    create_default();
    bring_to_delete("u1");
    bring("u2", "1", "Complete");
    reconcile_stop(t.r);
    expect_request(HISTORY_INTENT, "u2"); /* taken back */
    expect_request(HISTORY_POLICY, "u2");
    ck_assert_int_eq(t.deletes, 1);
    answer_delete("u1", 500);
    pass_time(600000);
    (void)reconcile_run(t.r);
    ck_assert_int_eq(t.looks, 0);
    ck_assert_int_eq(reconcile_in_flight(t.r), 0);
    bring("u3", "1", "Complete");
    expect_request(HISTORY_RECORD, "u3");
    (void)reconcile_run(t.r);
    ck_assert_ptr_null(t.requests);
}
END_TEST

START_TEST(a_dry_run_asks_for_nothing) {
    create(&(struct reconcile_settings){.delete_qps = 1, .max_in_flight = 1, .one_pass = true}, true);
    reconcile_set_fresh(t.r, 0, true);
    for (char uid[] = "a"; *uid <= 'c'; ++*uid)
        bring(uid, "1", "Complete");
    bring("d", "1", "Failed");
    (void)reconcile_run(t.r);
    ck_assert_int_eq(reconcile_count(t.r).would_delete, 3);
    ck_assert_int_eq(reconcile_count(t.r).waiting, 1);
    ck_assert(reconcile_is_done(t.r));
    take_away("a");
    reconcile_list_begins(t.r, 0);
    reconcile_list_complete(t.r, 0);
    ck_assert_int_eq(reconcile_count(t.r).seen, 0);
    ck_assert_int_eq(t.deletes + t.looks, 0);
    ck_assert_ptr_null(t.requests);
}
END_TEST

START_TEST(the_backoff_of_one_job_grows_and_is_bounded) {
    create_default();
    bring_to_delete("u1");
    int64_t longest_ms = 0;
    for (int i = 0; i < 14; i++) {
        answer_delete("u1", 400);
        int64_t waited_ms = 0;
        int before = t.deletes;
        while (t.deletes == before) {
            ck_assert_int_le(waited_ms, RECONCILE_BACKOFF_LAST_MS + RECONCILE_SLEEP_MAX_MS);
            int64_t wait_ms = reconcile_run(t.r);
            for (struct history_request *request; (request = take_request());) {
                reconcile_on_durable(t.r, request);
                history_request_destroy(request);
            }
            if (t.deletes > before)
                break;
            pass_time(wait_ms);
            waited_ms += wait_ms;
        }
        if (waited_ms > longest_ms)
            longest_ms = waited_ms;
        if (i == 0)
            ck_assert_int_le(waited_ms, 2 * RECONCILE_BACKOFF_FIRST_MS);
    }
    ck_assert_int_ge(longest_ms, RECONCILE_BACKOFF_LAST_MS / 2);
}
END_TEST

START_TEST(a_name_that_came_back_is_not_pushed_out_by_thousands_that_did_not) {
    create_default();
    reconcile_note_deleted(t.r, "a", "u1", NOW_MS - 2000, NOW_MS - 1000);
    reconcile_note_deleted(t.r, "a", "u2", NOW_MS - 2000, NOW_MS - 1000);
    bring_created("u1", "2026-01-02T03:04:05Z");
    for (int i = 0; i < RECREATED_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "once-%d", i);
        reconcile_note_deleted(t.r, "a", name, NOW_MS - 2000, NOW_MS - 1000);
    }
    ck_assert_int_eq(recreated_count(reconcile_recreated(t.r), "a", "u1", NOW_MS), 1);
    ck_assert_int_eq(recreated_count(reconcile_recreated(t.r), "a", "u2", NOW_MS), 0);
}
END_TEST

START_TEST(a_jobs_way_is_told_step_by_step_and_its_end_when_it_is_on_record) {
    create_default();
    bring("u1", "1", "Complete");
    expect_news("");
    expect_request(HISTORY_INTENT, "u1");
    expect_news("recorded:u1:Succeeded");
    answer_delete("u1", 200);
    expect_news("accepted:u1");
    pass_time(1500);
    expect_request(HISTORY_DELETED, "u1");
    expect_news("deleted:ttl:due");
    take_away("u1");
    ck_assert_ptr_null(t.requests);
    expect_news("");
}
END_TEST

START_TEST(what_the_register_had_already_is_no_news) {
    create_default();
    bring("u1", "1", "Complete");
    struct history_request *request = take_request();
    reconcile_on_durable(t.r, request);
    history_request_destroy(request);
    answer_delete("u1", 200);
    expect_news("accepted:u1");
    request = take_request();
    reconcile_on_durable(t.r, request);
    history_request_destroy(request);
    expect_news("");
}
END_TEST

START_TEST(a_job_that_somebody_else_deletes_is_told_as_that) {
    create_default();
    bring("u1", "1", "Failed");
    expect_request(HISTORY_RECORD, "u1");
    expect_news("decided:u1:wait recorded:u1:Failed");
    take_away("u1");
    expect_request(HISTORY_DELETED, "u1");
    expect_news("deleted:external:undue");
}
END_TEST

START_TEST(a_delete_that_was_not_taken_is_told_with_its_status) {
    create_default();
    bring_to_delete("u1");
    expect_news("recorded:u1:Succeeded");
    answer_delete("u1", 409);
    ck_assert_ptr_nonnull(strstr(t.news, "failed:u1:409"));
    skip_policies("u1");
    bring_to_delete("u2");
    answer_delete("u2", 0);
    ck_assert_ptr_nonnull(strstr(t.news, "failed:u2:0"));
}
END_TEST

static json_t *annotate(json_t *job, const char *key, const char *value) {
    json_object_set_new(json_object_get(job, "metadata"), "annotations", json_pack("{s:s}", key, value));
    return job;
}

START_TEST(each_job_counts_in_one_state) {
    create(&(struct reconcile_settings){.delete_qps = 50, .max_in_flight = 32}, false);
    bring("running", "1", NULL);
    bring("waiting", "1", "Failed");
    bring("due", "1", "Complete"); /* what is known is not fresh, so it stays */
    bring_json(0, annotate(make_job("held", "1", "Complete"), "sexton.dev/hold", "true"));
    bring_json(0, annotate(make_job("held-until", "1", "Complete"), "sexton.dev/hold", "2036-01-01T00:00:00Z"));
    bring_json(0, annotate(make_job("kept", "1", "Complete"), "sexton.dev/ttl-after-success", "never"));
    bring_json(0, annotate(make_job("invalid", "1", "Complete"), "sexton.dev/ttl-after-success", "soon"));
    json_t *terminating = make_job("terminating", "1", "Complete");
    json_object_set_new(
            json_object_get(terminating, "metadata"), "deletionTimestamp", json_string("2026-01-02T03:03:05Z"));
    bring_json(0, terminating);
    struct reconcile_survey survey = reconcile_survey(t.r);
    ck_assert_int_eq(survey.running, 1);
    ck_assert_int_eq(survey.waiting, 1);
    ck_assert_int_eq(survey.due, 1);
    ck_assert_int_eq(survey.held, 2);
    ck_assert_int_eq(survey.kept, 1);
    ck_assert_int_eq(survey.invalid, 1);
    ck_assert_int_eq(survey.terminating, 1);
    ck_assert_int_ge(survey.oldest_terminating_ms, 58000);
    ck_assert_int_le(survey.oldest_terminating_ms, 61000);
    /* A DELETE that was taken while finalizers keep it: terminating, though no event has said so yet. */
    while (t.requests)
        history_request_destroy(take_request());
    reconcile_set_fresh(t.r, 0, true);
    (void)reconcile_run(t.r);
    expect_request(HISTORY_INTENT, "due");
    json_t *body = json_pack("{s:s}", "kind", "Job");
    reconcile_on_delete(
            t.r, "due", &(struct reconcile_answer){.status = 200, .sent = true, .retry_after_ms = -1, .body = body});
    json_decref(body);
    survey = reconcile_survey(t.r);
    ck_assert_int_eq(survey.due, 0);
    ck_assert_int_eq(survey.terminating, 2);
}
END_TEST

START_TEST(in_a_dry_run_what_was_told_is_still_due) {
    create(&(struct reconcile_settings){.delete_qps = 50, .max_in_flight = 32}, true);
    reconcile_set_fresh(t.r, 0, true);
    bring("u1", "1", "Complete");
    (void)reconcile_run(t.r);
    ck_assert_int_eq(reconcile_count(t.r).would_delete, 1);
    ck_assert_int_eq(reconcile_survey(t.r).due, 1);
}
END_TEST

START_TEST(waits_for_the_rate_are_counted_and_measured) {
    create(&(struct reconcile_settings){.delete_qps = 1, .max_in_flight = 32}, false);
    bring("u1", "1", "Complete");
    bring("u2", "1", "Complete");
    expect_request(HISTORY_RECORD, "u1");
    expect_request(HISTORY_RECORD, "u2");
    reconcile_set_fresh(t.r, 0, true);
    (void)reconcile_run(t.r);
    ck_assert_int_eq(reconcile_total(t.r).rate_waits, 0);
    pass_time(400);
    (void)reconcile_run(t.r);
    pass_time(600);
    (void)reconcile_run(t.r);
    ck_assert_int_eq(reconcile_total(t.r).rate_waits, 1);
    ck_assert_int_eq(reconcile_total(t.r).rate_wait_ms, 1000);
    ck_assert(!reconcile_is_paused(t.r));
    pass_time(60000);
    (void)reconcile_run(t.r);
    ck_assert_int_eq(reconcile_total(t.r).rate_wait_ms, 1000);
}
END_TEST

Suite *suite_reconcile(void) {
    Suite *suite = suite_create("reconcile");
    TCase *cases = tcase_create("reconcile");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, destroy_takes_null_and_what_is_under_way);
    tcase_add_test(cases, a_delete_that_cannot_be_sent_is_tried_again_with_its_own_intent);
    tcase_add_test(cases, a_look_that_cannot_be_sent_is_tried_again);
    tcase_add_test(cases, answers_that_nobody_waits_for_are_ignored);
    tcase_add_test(cases, an_event_that_comes_twice_does_nothing_the_second_time);
    tcase_add_test(cases, nothing_starts_while_the_register_cannot_be_written);
    tcase_add_test(cases, nothing_starts_on_stale_knowledge);
    tcase_add_test(cases, one_source_gone_stale_leaves_the_others_alone);
    tcase_add_test(cases, it_sleeps_until_something_is_due_and_looks_at_the_clocks_every_minute);
    tcase_add_test(cases, it_sleeps_as_long_as_deletions_pause);
    tcase_add_test(cases, it_sleeps_for_one_token_when_the_bucket_is_empty);
    tcase_add_test(cases, it_sleeps_until_half_of_a_full_group_is_answered);
    tcase_add_test(cases, a_group_goes_by_the_limit_that_was_set_last);
    tcase_add_test(cases, a_long_sleep_fills_the_bucket_to_one_second_and_no_more);
    tcase_add_test(cases, one_pass_gives_a_job_up_and_a_change_gives_it_another_chance);
    tcase_add_test(cases, one_pass_forgets_a_job_it_gave_up_when_another_hand_deletes_it);
    tcase_add_test(cases, one_pass_does_not_wait_for_what_is_not_due);
    tcase_add_test(cases, a_refused_record_is_taken_again_before_any_deletion);
    tcase_add_test(cases, a_refusal_while_the_delete_is_on_its_way_waits_for_the_answer);
    tcase_add_test(cases, rows_of_an_earlier_controller_wait_for_a_whole_list);
    tcase_add_test(cases, what_is_no_job_is_left_alone);
    tcase_add_test(cases, after_stop_nothing_starts_and_what_is_in_flight_ends);
    tcase_add_test(cases, a_dry_run_asks_for_nothing);
    tcase_add_test(cases, a_name_that_came_back_is_not_pushed_out_by_thousands_that_did_not);
    tcase_add_test(cases, the_backoff_of_one_job_grows_and_is_bounded);
    tcase_add_test(cases, a_jobs_way_is_told_step_by_step_and_its_end_when_it_is_on_record);
    tcase_add_test(cases, what_the_register_had_already_is_no_news);
    tcase_add_test(cases, a_job_that_somebody_else_deletes_is_told_as_that);
    tcase_add_test(cases, a_delete_that_was_not_taken_is_told_with_its_status);
    tcase_add_test(cases, each_job_counts_in_one_state);
    tcase_add_test(cases, in_a_dry_run_what_was_told_is_still_due);
    tcase_add_test(cases, waits_for_the_rate_are_counted_and_measured);
    suite_add_tcase(suite, cases);
    return suite;
}
