#include "suites.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/duration.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "jobs/policy.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define FINISHED 1767323045000 /* 2026-01-02T03:04:05Z */
#define SECOND 1000LL
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define P "sexton.dev/"

/* A Job and all that stands around it. */
struct scene {
    struct policy policy;
    struct policy_section sections[4];
    struct job job;
    struct annotations of_namespace;
    struct guards guards;
    json_t *own, *theirs;
};

static void scene_start(struct scene *s, const char *own, const char *theirs) {
    *s = (struct scene){.job = {.namespace = "ml-a",
                                .name = "train",
                                .uid = "u-1",
                                .created_ms = FINISHED - HOUR,
                                .started_ms = FINISHED - HOUR,
                                .finished_ms = FINISHED,
                                .completion_ms = TIME_NONE,
                                .deletion_ms = TIME_NONE,
                                .spec_ttl_s = SPEC_TTL_NONE,
                                .outcome = OUTCOME_FAILED}};
    policy_init(&s->policy);
    s->policy.sections = s->sections;
    s->own = json_loads(own ? own : "{}", 0, NULL);
    s->theirs = json_loads(theirs ? theirs : "{}", 0, NULL);
    ck_assert(s->own && s->theirs);
    annotations_read(s->own, s->policy.prefix, &s->job.annotations);
    annotations_read(s->theirs, s->policy.prefix, &s->of_namespace);
    s->guards.namespace_annotations = &s->of_namespace;
}

static void scene_finish(struct scene *s) {
    json_decref(s->own);
    json_decref(s->theirs);
}

static void add_section(struct scene *s, const char *glob, const char *success, const char *failure) {
    struct policy_section *section = &s->sections[s->policy.n_sections];
    *section = (struct policy_section){.glob = (char *)(size_t)glob, .line = 10 + (int)s->policy.n_sections};
    s->policy.n_sections++;
    struct policy_ttl *ttls[] = {&section->success, &section->failure};
    const char *texts[] = {success, failure};
    for (int i = 0; i < 2; i++) {
        if (!texts[i])
            continue;
        *ttls[i] = (struct policy_ttl){.text = texts[i], .line = section->line * 10 + i};
        ck_assert_int_eq(duration_parse(texts[i], &ttls[i]->ms, NULL), 0);
    }
}

static void configure(struct scene *s, const char *success, const char *failure) {
    s->policy.success = (struct policy_ttl){.text = success, .line = 3};
    s->policy.failure = (struct policy_ttl){.text = failure, .line = 4};
    ck_assert_int_eq(duration_parse(success, &s->policy.success.ms, NULL), 0);
    ck_assert_int_eq(duration_parse(failure, &s->policy.failure.ms, NULL), 0);
}

static struct decision decide(const struct scene *s, int64_t now_ms) {
    return policy_decide(&s->policy, &s->job, &s->guards, now_ms);
}

/* "rule @ source" */
static void expect_rule(const struct decision *decision, const char *wanted) {
    struct strbuf text = STRBUF_INIT(1000);
    if (policy_rule_text(&decision->rule, &text))
        strbuf_add_text(&text, " @ ");
    policy_source_text(&decision->rule, &text);
    ck_assert_str_eq(strbuf_text(&text), wanted);
    strbuf_finish(&text);
}

static void expect_reason(const struct scene *s, int64_t now_ms, const char *wanted) {
    struct decision decision = decide(s, now_ms);
    struct strbuf text = STRBUF_INIT(1000);
    policy_explain(&decision, &s->job, now_ms, &text);
    ck_assert_str_eq(strbuf_text(&text), wanted);
    strbuf_finish(&text);
}

/* ---- what decides ---- */

START_TEST(precedence_is_job_then_spec_then_namespace_then_section_then_policy_then_default) {
    /* From the strongest on, one source less each time. */
    static const struct {
        const char *own, *theirs, *section, *policy;
        int64_t spec_ttl_s;
        const char *rule;
        int64_t ttl_ms;
    } cases[] = {
            {"1h", "2h", "3h", "4h", 300, "ttl-after-failure=1h @ annotation", HOUR},
            {NULL, "2h", "3h", "4h", 300, "ttlSecondsAfterFinished=300 @ spec", 300 * SECOND},
            {NULL, "2h", "3h", "4h", SPEC_TTL_NONE, "ttl-after-failure=2h @ namespace annotation", 2 * HOUR},
            {NULL, NULL, "3h", "4h", SPEC_TTL_NONE, "ttl-after-failure=3h @ config:101", 3 * HOUR},
            {NULL, NULL, NULL, "4h", SPEC_TTL_NONE, "ttl-after-failure=4h @ config:4", 4 * HOUR},
            {NULL, NULL, NULL, NULL, SPEC_TTL_NONE, "ttl-after-failure=24h @ default", DAY},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char own[100] = "{}", theirs[100] = "{}";
        if (cases[i].own)
            snprintf(own, sizeof own, "{\"" P "ttl-after-failure\":\"%s\"}", cases[i].own);
        if (cases[i].theirs)
            snprintf(theirs, sizeof theirs, "{\"" P "ttl-after-failure\":\"%s\"}", cases[i].theirs);
        struct scene s;
        scene_start(&s, own, theirs);
        s.job.spec_ttl_s = cases[i].spec_ttl_s;
        if (cases[i].section)
            add_section(&s, "ml-*", NULL, cases[i].section);
        if (cases[i].policy)
            configure(&s, "0s", cases[i].policy);
        struct decision d = decide(&s, FINISHED + cases[i].ttl_ms - 1);
        ck_assert_int_eq(d.action, ACTION_WAIT);
        ck_assert_int_eq(d.reason, REASON_TTL_RUNNING);
        ck_assert_int_eq(d.due_ms, FINISHED + cases[i].ttl_ms);
        ck_assert_int_eq(d.rule.ttl_ms, cases[i].ttl_ms);
        expect_rule(&d, cases[i].rule);
        d = decide(&s, FINISHED + cases[i].ttl_ms);
        ck_assert_int_eq(d.action, ACTION_DELETE);
        ck_assert_int_eq(d.reason, REASON_TTL_PASSED);
        expect_rule(&d, cases[i].rule);
        scene_finish(&s);
    }
}
END_TEST

START_TEST(each_key_finds_its_own_source) {
    struct scene s;
    scene_start(&s, "{\"" P "ttl-after-success\":\"1h\"}", "{\"" P "ttl-after-failure\":\"2h\"}");
    add_section(&s, "*", "5h", "6h");
    struct decision d = decide(&s, FINISHED);
    expect_rule(&d, "ttl-after-failure=2h @ namespace annotation");
    s.job.outcome = OUTCOME_SUCCEEDED;
    d = decide(&s, FINISHED);
    expect_rule(&d, "ttl-after-success=1h @ annotation");
    scene_finish(&s);
}
END_TEST

START_TEST(succeeded_jobs_go_right_away_and_failed_ones_after_a_day_by_default) {
    struct scene s;
    scene_start(&s, NULL, NULL);
    ck_assert_int_eq(decide(&s, FINISHED + DAY - 1).action, ACTION_WAIT);
    ck_assert_int_eq(decide(&s, FINISHED + DAY).action, ACTION_DELETE);
    s.job.outcome = OUTCOME_SUCCEEDED;
    ck_assert_int_eq(decide(&s, FINISHED).action, ACTION_DELETE);
    struct decision d = decide(&s, FINISHED);
    expect_rule(&d, "ttl-after-success=0s @ default");
    scene_finish(&s);
}
END_TEST

START_TEST(the_best_matching_section_that_sets_the_key_decides) {
    static const struct {
        const char *globs[4];
        const char *rule;
    } cases[] = {
            {{"*", "ml-*", "ml-a", "m*"}, "ttl-after-failure=3h @ config:121"}, /* the name itself */
            {{"*", "ml-*", "m*", "prod"}, "ttl-after-failure=2h @ config:111"}, /* more literal characters */
            {{"ml-?", "ml-*", "*", "x"}, "ttl-after-failure=1h @ config:101"},  /* alike: the first */
            {{"prod", "*", "dev-*", "x"}, "ttl-after-failure=2h @ config:111"},
            {{"prod", "ml", "l-a", "ML-*"}, "ttl-after-failure=24h @ default"}, /* none matches */
            {{"ml-[ab]", "ml-[!a]", "m?-?", "*"}, "ttl-after-failure=1h @ config:101"},
            {{"[a-z][a-z][!x]*", "ml*", "m?-?", "*"}, "ttl-after-failure=2h @ config:111"}, /* a set is not literal */
    };
    static const char *const ttls[] = {"1h", "2h", "3h", "4h"};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct scene s;
        scene_start(&s, NULL, NULL);
        for (size_t k = 0; k < 4; k++)
            add_section(&s, cases[i].globs[k], NULL, ttls[k]);
        struct decision d = decide(&s, FINISHED);
        expect_rule(&d, cases[i].rule);
        /* None of them sets the other key. */
        s.job.outcome = OUTCOME_SUCCEEDED;
        d = decide(&s, FINISHED);
        expect_rule(&d, "ttl-after-success=0s @ default");
        scene_finish(&s);
    }
}
END_TEST

START_TEST(a_name_that_looks_like_a_pattern_is_still_taken_literally) {
    struct scene s;
    scene_start(&s, NULL, NULL);
    s.job.namespace = "ml-*";
    add_section(&s, "ml-**", NULL, "1h");
    add_section(&s, "ml-*", NULL, "2h");
    struct decision d = decide(&s, FINISHED);
    expect_rule(&d, "ttl-after-failure=2h @ config:111");
    scene_finish(&s);
}
END_TEST

/* ---- what keeps ---- */

START_TEST(what_has_not_finished_is_left_alone) {
    struct scene s;
    scene_start(&s, "{\"" P "hold\":\"true\"}", NULL);
    s.job.outcome = OUTCOME_NONE;
    s.job.finished_ms = TIME_NONE;
    struct decision d = decide(&s, FINISHED);
    ck_assert_int_eq(d.action, ACTION_NONE);
    ck_assert_int_eq(d.due_ms, TIME_NONE);
    expect_rule(&d, "");
    expect_reason(&s, FINISHED, "has not finished");
    scene_finish(&s);
}
END_TEST

START_TEST(doubt_keeps_whatever_else_is_said) {
    struct scene s;
    scene_start(&s, "{\"" P "ttl-after-failure\":\"0s\"}", NULL);
    s.job.doubt = "it finished before it started";
    struct decision d = decide(&s, FINISHED + 1000 * DAY);
    ck_assert_int_eq(d.action, ACTION_KEEP);
    ck_assert_int_eq(d.reason, REASON_DOUBT);
    ck_assert_int_eq(d.due_ms, DUE_NEVER);
    expect_reason(&s, FINISHED, "kept because it finished before it started");
    scene_finish(&s);
}
END_TEST

START_TEST(what_is_being_deleted_is_not_deleted_again) {
    struct scene s;
    scene_start(&s, NULL, NULL);
    s.job.deletion_ms = FINISHED + DAY;
    ck_assert_int_eq(decide(&s, FINISHED + 10 * DAY).action, ACTION_KEEP);
    ck_assert_int_eq(decide(&s, FINISHED + 10 * DAY).reason, REASON_TERMINATING);
    expect_reason(&s, FINISHED + 2 * DAY, "terminating for 1d");
    expect_reason(&s, FINISHED, "terminating for 0s"); /* by another clock */
    struct decision d = decide(&s, FINISHED);
    expect_rule(&d, "deletionTimestamp=2026-01-03T03:04:05Z @ metadata");
    s.job.finalizers = "foregroundDeletion, example.com/x";
    expect_reason(&s, FINISHED + DAY + 3 * HOUR + 720 * SECOND,
            "terminating for 3h12m, waits for its finalizers: foregroundDeletion, example.com/x");
    s.job.outcome = OUTCOME_NONE;
    ck_assert_int_eq(decide(&s, FINISHED + 10 * DAY).action, ACTION_NONE);
    expect_reason(&s, FINISHED + 2 * DAY,
            "has not finished; terminating for 1d, waits for its finalizers: foregroundDeletion, example.com/x");
    scene_finish(&s);
}
END_TEST

START_TEST(an_annotation_that_is_not_understood_keeps_the_job_and_is_named) {
    static const struct {
        const char *own, *reason;
    } cases[] = {
            {"{\"" P "ttl-after-failure\":\"5\"}",
                    "kept because ttl-after-failure=5 is not a duration (like 90s, 30m, 12h, 7d, "
                    "2w, 1d12h, 0s or never)"},
            /* Even one that would not decide this Job: it failed. */
            {"{\"" P "ttl-after-success\":\"soon\"}", "kept because ttl-after-success=soon is not a duration (like "
                                                      "90s, 30m, 12h, 7d, 2w, 1d12h, 0s or never)"},
            {"{\"" P "hold\":\"yes\"}",
                    "kept because hold=yes is neither true, false nor a time (like 2026-01-31T12:00:00Z)"},
            {"{\"" P "hodl\":\"true\"}",
                    "kept because hodl=true is not a key that this version knows (ttl-after-success, "
                    "ttl-after-failure, hold)"},
            {"{\"" P "hold\":\"\\u001b[2Jtrue\"}",
                    "kept because hold=\\x1b[2Jtrue is neither true, false nor a time (like "
                    "2026-01-31T12:00:00Z)"},
            {"{\"" P "hold\":false}", "kept because hold= is not a string"},
            {"[]", "kept because metadata.annotations= is not an object"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct scene s;
        scene_start(&s, cases[i].own, NULL);
        s.job.spec_ttl_s = 0;
        struct decision d = decide(&s, FINISHED + 1000 * DAY);
        ck_assert_int_eq(d.action, ACTION_KEEP);
        ck_assert_int_eq(d.reason, REASON_NOT_UNDERSTOOD);
        ck_assert_int_eq(d.rule.source, SOURCE_ANNOTATION);
        expect_reason(&s, FINISHED, cases[i].reason);
        scene_finish(&s);
    }
}
END_TEST

START_TEST(a_namespace_that_is_not_understood_keeps_the_jobs_it_would_have_decided) {
    static const struct {
        const char *own, *theirs;
        enum outcome outcome;
        int64_t spec_ttl_s;
        const char *rule; /* of what keeps; NULL: goes */
    } cases[] = {
            {"{}", "{\"" P "ttl-after-failure\":\"x\"}", OUTCOME_FAILED, SPEC_TTL_NONE, "ttl-after-failure=x"},
            {"{}", "{\"" P "ttl-after-failure\":\"x\"}", OUTCOME_SUCCEEDED, SPEC_TTL_NONE, NULL},
            {"{}", "{\"" P "ttl-after-failure\":\"x\"}", OUTCOME_FAILED, 0, NULL},
            {"{\"" P "ttl-after-failure\":\"0s\"}", "{\"" P "ttl-after-failure\":\"x\"}", OUTCOME_FAILED, SPEC_TTL_NONE,
                    NULL},
            {"{\"" P "ttl-after-success\":\"0s\"}", "{\"" P "ttl-after-failure\":\"x\"}", OUTCOME_FAILED, SPEC_TTL_NONE,
                    "ttl-after-failure=x"},
            {"{}", "{\"" P "hold\":\"x\"}", OUTCOME_SUCCEEDED, 0, "hold=x"},
            {"{\"" P "hold\":\"false\"}", "{\"" P "hold\":\"x\"}", OUTCOME_SUCCEEDED, 0, NULL},
            {"{\"" P "hold\":\"1970-01-01T00:00:00Z\"}", "{\"" P "hold\":\"x\"}", OUTCOME_SUCCEEDED, 0, NULL},
            {"{\"" P "hold\":\"false\",\"" P "ttl-after-success\":\"0s\"}", "{\"" P "typo\":\"x\"}", OUTCOME_SUCCEEDED,
                    0, "typo=x"},
            /* The one at fault is named, not the first that is wrong. */
            {"{}", "{\"" P "ttl-after-success\":\"x\",\"" P "ttl-after-failure\":\"y\"}", OUTCOME_FAILED, SPEC_TTL_NONE,
                    "ttl-after-failure=y"},
            {"{}", "{\"" P "ttl-after-failure\":\"x\",\"" P "ttl-after-success\":\"y\"}", OUTCOME_SUCCEEDED,
                    SPEC_TTL_NONE, "ttl-after-success=y"},
            {"{}", "{\"" P "ttl-after-failure\":\"x\",\"" P "hold\":\"y\"}", OUTCOME_SUCCEEDED, SPEC_TTL_NONE,
                    "hold=y"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct scene s;
        scene_start(&s, cases[i].own, cases[i].theirs);
        s.job.outcome = cases[i].outcome;
        s.job.spec_ttl_s = cases[i].spec_ttl_s;
        struct decision d = decide(&s, FINISHED + 1000 * DAY);
        ck_assert_msg(
                d.action == (cases[i].rule ? ACTION_KEEP : ACTION_DELETE), "case %zu: %s", i, action_name(d.action));
        if (cases[i].rule) {
            char wanted[200];
            snprintf(wanted, sizeof wanted, "%s @ namespace annotation", cases[i].rule);
            expect_rule(&d, wanted);
            ck_assert_ptr_nonnull(d.why);
        }
        scene_finish(&s);
    }
}
END_TEST

START_TEST(a_namespace_that_cannot_be_read_may_hold_the_job_so_it_stays) {
    struct scene s;
    scene_start(&s, "{\"" P "ttl-after-failure\":\"0s\"}", "{\"" P "hold\":\"true\"}");
    s.guards = (struct guards){.namespace = NAMESPACE_UNKNOWN};
    struct decision d = decide(&s, FINISHED + DAY);
    ck_assert_int_eq(d.action, ACTION_KEEP);
    ck_assert_int_eq(d.reason, REASON_NAMESPACE_UNKNOWN);
    expect_reason(&s, FINISHED, "kept because its Namespace, which may hold it, cannot be read");
    /* Offline, where nobody can be asked, the rest decides. */
    s.guards = (struct guards){.namespace = NAMESPACE_NOT_ASKED, .namespace_annotations = &s.of_namespace};
    ck_assert_int_eq(decide(&s, FINISHED + DAY).action, ACTION_DELETE);
    scene_finish(&s);
}
END_TEST

START_TEST(never_means_never) {
    struct scene s;
    scene_start(&s, "{\"" P "ttl-after-failure\":\"never\"}", NULL);
    s.job.spec_ttl_s = 0;
    struct decision d = decide(&s, FINISHED + 100000 * DAY);
    ck_assert_int_eq(d.action, ACTION_KEEP);
    ck_assert_int_eq(d.reason, REASON_NEVER);
    ck_assert_int_eq(d.due_ms, DUE_NEVER);
    expect_rule(&d, "ttl-after-failure=never @ annotation");
    expect_reason(&s, FINISHED, "failed Jobs are never deleted by this rule");
    scene_finish(&s);
    scene_start(&s, NULL, NULL);
    configure(&s, "never", "1h");
    s.job.outcome = OUTCOME_SUCCEEDED;
    expect_reason(&s, FINISHED, "succeeded Jobs are never deleted by this rule");
    scene_finish(&s);
}
END_TEST

/* ---- hold ---- */

START_TEST(a_hold_keeps_whatever_else_says) {
    struct scene s;
    scene_start(&s, "{\"" P "hold\":\"true\",\"" P "ttl-after-failure\":\"0s\"}", NULL);
    s.job.spec_ttl_s = 0;
    struct decision d = decide(&s, FINISHED + 1000 * DAY);
    ck_assert_int_eq(d.action, ACTION_KEEP);
    ck_assert_int_eq(d.reason, REASON_HELD);
    ck_assert_int_eq(d.due_ms, DUE_NEVER);
    expect_rule(&d, "hold=true @ annotation");
    expect_reason(&s, FINISHED, "held until the hold is taken away");
    scene_finish(&s);
    scene_start(&s, NULL, "{\"" P "hold\":\"true\"}");
    d = decide(&s, FINISHED + 1000 * DAY);
    expect_rule(&d, "hold=true @ namespace annotation");
    ck_assert_int_eq(d.action, ACTION_KEEP);
    scene_finish(&s);
}
END_TEST

START_TEST(a_hold_of_the_job_beats_that_of_its_namespace) {
    struct scene s;
    scene_start(&s, "{\"" P "hold\":\"false\"}", "{\"" P "hold\":\"true\"}");
    ck_assert_int_eq(decide(&s, FINISHED + DAY).action, ACTION_DELETE);
    scene_finish(&s);
    scene_start(&s, "{\"" P "hold\":\"true\"}", "{\"" P "hold\":\"false\"}");
    ck_assert_int_eq(decide(&s, FINISHED + DAY).action, ACTION_KEEP);
    scene_finish(&s);
}
END_TEST

START_TEST(a_hold_with_a_time_ends_at_that_time_and_not_before_the_ttl) {
    struct scene s;
    scene_start(&s, "{\"" P "hold\":\"2026-01-10T00:00:00Z\"}", NULL);
    const int64_t until = 1768003200000;
    struct decision d = decide(&s, until - 1);
    ck_assert_int_eq(d.action, ACTION_WAIT);
    ck_assert_int_eq(d.reason, REASON_HELD_UNTIL);
    ck_assert_int_eq(d.due_ms, until);
    expect_rule(&d, "hold=2026-01-10T00:00:00Z @ annotation");
    expect_reason(&s, until - HOUR, "held until 2026-01-10T00:00:00Z, 1h from now");
    d = decide(&s, until);
    ck_assert_int_eq(d.action, ACTION_DELETE);
    expect_reason(&s, until + HOUR, "failed; its time was up 1h ago");
    scene_finish(&s);
    /* A hold that ends before the TTL does changes nothing. */
    scene_start(&s, "{\"" P "hold\":\"2026-01-02T04:00:00Z\"}", NULL);
    d = decide(&s, FINISHED + HOUR);
    ck_assert_int_eq(d.action, ACTION_WAIT);
    ck_assert_int_eq(d.due_ms, FINISHED + DAY);
    expect_rule(&d, "ttl-after-failure=24h @ default");
    scene_finish(&s);
    /* And one that ends does not undo "never". */
    scene_start(&s, "{\"" P "hold\":\"2026-01-10T00:00:00Z\",\"" P "ttl-after-failure\":\"never\"}", NULL);
    ck_assert_int_eq(decide(&s, until + DAY).action, ACTION_KEEP);
    scene_finish(&s);
}
END_TEST

/* ---- time ---- */

START_TEST(a_finish_in_the_future_waits_whatever_its_ttl) {
    struct scene s;
    scene_start(&s, NULL, NULL);
    s.job.outcome = OUTCOME_SUCCEEDED;
    struct decision d = decide(&s, FINISHED - 1);
    ck_assert_int_eq(d.action, ACTION_WAIT);
    ck_assert_int_eq(d.due_ms, FINISHED);
    expect_reason(&s, FINISHED - HOUR, "its finish time lies in the future; due 1h from now");
    expect_reason(&s, FINISHED, "succeeded; its time was up 0s ago");
    scene_finish(&s);
    scene_start(&s, NULL, NULL);
    expect_reason(&s, FINISHED + DAY - 90 * SECOND, "failed; its time is up in 1m30s");
    scene_finish(&s);
}
END_TEST

START_TEST(a_job_waits_for_its_cronjob_to_take_note_but_not_for_ever) {
    for (int which = 0; which < 2; which++) {
        struct scene s;
        scene_start(&s, NULL, NULL);
        s.job.outcome = OUTCOME_SUCCEEDED;
        s.guards.cronjob_active = which == 0;
        s.guards.cronjob_behind = which == 1;
        struct decision d = decide(&s, FINISHED);
        ck_assert_int_eq(d.action, ACTION_WAIT);
        ck_assert_int_eq(d.reason, REASON_CRONJOB_SETTLING);
        ck_assert_int_eq(d.due_ms, FINISHED + 60 * SECOND);
        expect_rule(&d, "cronjob-settle=1m @ default");
        expect_reason(&s, FINISHED + 20 * SECOND,
                "its CronJob has not taken note of the end yet; waits for that, 40s at most");
        ck_assert_int_eq(decide(&s, FINISHED + 60 * SECOND - 1).action, ACTION_WAIT);
        ck_assert_int_eq(decide(&s, FINISHED + 60 * SECOND).action, ACTION_DELETE);
        s.policy.cronjob_settle_ms = 5 * SECOND;
        s.policy.cronjob_settle_line = 9;
        d = decide(&s, FINISHED);
        ck_assert_int_eq(d.due_ms, FINISHED + 5 * SECOND);
        expect_rule(&d, "cronjob-settle=5s @ config:9");
        /* Nothing is added to a TTL that is longer anyway. */
        s.job.outcome = OUTCOME_FAILED;
        ck_assert_int_eq(decide(&s, FINISHED).due_ms, FINISHED + DAY);
        /* The CronJob took note. */
        s.job.outcome = OUTCOME_SUCCEEDED;
        s.guards.cronjob_active = s.guards.cronjob_behind = false;
        ck_assert_int_eq(decide(&s, FINISHED).action, ACTION_DELETE);
        scene_finish(&s);
    }
}
END_TEST

START_TEST(cronjob_settle_of_0s_switches_the_wait_off) {
    struct scene s;
    scene_start(&s, NULL, NULL);
    s.job.outcome = OUTCOME_SUCCEEDED;
    s.guards.cronjob_active = s.guards.cronjob_behind = true;
    s.policy.cronjob_settle_ms = 0;
    struct decision d = decide(&s, FINISHED);
    ck_assert_int_eq(d.action, ACTION_DELETE);
    expect_rule(&d, "ttl-after-success=0s @ default");
    scene_finish(&s);
}
END_TEST

/* ---- what is left to whoever made it ---- */

static void become_hook(struct scene *s, enum hook_tool tool, const char *value) {
    s->job.hook_tool = (uint8_t)tool;
    s->job.hook = value;
}

static void become_owned(struct scene *s, const char *kind, const char *api) {
    s->job.owner_kind = kind;
    s->job.owner_name = "train";
    s->job.owner_uid = "o-1";
    s->job.owner_api = api;
}

START_TEST(a_hook_of_helm_or_argo_cd_is_left_to_its_tool) {
    struct scene s;
    scene_start(&s, NULL, "{\"" P "ttl-after-failure\":\"1h\"}");
    add_section(&s, "ml-*", "0s", "0s");
    become_hook(&s, HOOK_HELM, "post-install,post-upgrade");
    for (int outcome = OUTCOME_SUCCEEDED; outcome <= OUTCOME_FAILED; outcome++) {
        s.job.outcome = (enum outcome)outcome;
        struct decision d = decide(&s, FINISHED + 1000 * DAY);
        ck_assert_int_eq(d.action, ACTION_KEEP);
        ck_assert_int_eq(d.reason, REASON_HOOK);
        ck_assert_int_eq(d.due_ms, DUE_NEVER);
        expect_rule(&d, "helm.sh/hook=post-install,post-upgrade @ annotation");
        expect_reason(&s, FINISHED, "left to Helm, whose hook it is");
    }
    become_hook(&s, HOOK_ARGOCD, "PreSync");
    struct decision d = decide(&s, FINISHED + 1000 * DAY);
    expect_rule(&d, "argocd.argoproj.io/hook=PreSync @ annotation");
    expect_reason(&s, FINISHED, "left to Argo CD, whose hook it is");
    struct run_policy row;
    policy_to_run(&d, &row);
    ck_assert_int_eq(row.state, RUN_KEPT);
    ck_assert_str_eq(row.rule, "argocd.argoproj.io/hook=PreSync");
    ck_assert_str_eq(row.source, "annotation");
    /* hooks = delete: like any other */
    s.policy.keep_hooks = false;
    d = decide(&s, FINISHED + HOUR);
    ck_assert_int_eq(d.action, ACTION_DELETE);
    expect_rule(&d, "ttl-after-failure=1h @ namespace annotation");
    scene_finish(&s);
}
END_TEST

START_TEST(a_job_of_an_owner_that_is_no_cronjob_is_left_to_it) {
    static const struct {
        const char *kind, *api, *rule, *reason;
    } cases[] = {{"JobSet", "jobset.x-k8s.io/v1alpha2", "owner=JobSet.jobset.x-k8s.io @ owner reference",
                         "left to JobSet/train, which may create it and run it again"},
            {"CronJob", "example.com/v1", "owner=CronJob.example.com @ owner reference",
                    "left to CronJob/train, which may create it and run it again"},
            {"Job", NULL, "owner=Job.batch @ owner reference",
                    "left to Job/train, which may create it and run it again"},
            {"Node", "v1", "owner=Node @ owner reference", "left to Node/train, which may create it and run it again"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct scene s;
        scene_start(&s, NULL, "{\"" P "ttl-after-failure\":\"1h\"}");
        become_owned(&s, cases[i].kind, cases[i].api);
        struct decision d = decide(&s, FINISHED + 1000 * DAY);
        ck_assert_int_eq(d.action, ACTION_KEEP);
        ck_assert_int_eq(d.reason, REASON_OWNED);
        expect_rule(&d, cases[i].rule);
        expect_reason(&s, FINISHED, cases[i].reason);
        scene_finish(&s);
    }
    struct scene s;
    scene_start(&s, NULL, NULL);
    become_owned(&s, "CronJob", NULL);
    ck_assert_int_eq(decide(&s, FINISHED + DAY).action, ACTION_DELETE);
    s.job.owner_is_loose = true;
    ck_assert_int_eq(decide(&s, FINISHED + DAY).action, ACTION_DELETE);
    scene_finish(&s);
}
END_TEST

START_TEST(owners_names_those_whose_jobs_may_go) {
    static const struct {
        const char *owners;
        bool lets;
    } cases[] = {{NULL, false}, {"", false}, {"*", true}, {"JobSet", true}, {"JobSet.jobset.x-k8s.io", true},
            {"JobSet.*", true}, {"Job*", true}, {"*.jobset.x-k8s.io", true}, {"Workflow.*, JobSet", true},
            {"Workflow.*", false}, {"JobSet.example.com", false}, {"Job", false}, {"Set", false},
            {"JobSet.jobset", false}, {"jobset", false}, {"CronJob", false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct scene s;
        scene_start(&s, NULL, NULL);
        become_owned(&s, "JobSet", "jobset.x-k8s.io/v1alpha2");
        s.policy.owners = (char *)(size_t)cases[i].owners;
        struct decision d = decide(&s, FINISHED + DAY);
        ck_assert_msg((d.action == ACTION_DELETE) == cases[i].lets, "owners = %s", cases[i].owners);
        scene_finish(&s);
    }
    /* Without a group, a pattern that asks for one does not match. */
    struct scene s;
    scene_start(&s, NULL, NULL);
    become_owned(&s, "Node", "v1");
    s.policy.owners = (char *)(size_t) "Node.*";
    ck_assert_int_eq(decide(&s, FINISHED + DAY).action, ACTION_KEEP);
    s.policy.owners = (char *)(size_t) "Node";
    ck_assert_int_eq(decide(&s, FINISHED + DAY).action, ACTION_DELETE);
    scene_finish(&s);
}
END_TEST

START_TEST(a_wish_on_the_job_itself_beats_the_guard_and_nothing_around_it_does) {
    static const struct {
        const char *own, *theirs;
        int64_t spec_ttl_s;
        const char *rule; /* NULL: it is kept by the guard */
    } cases[] = {{"{\"" P "ttl-after-failure\":\"1h\"}", NULL, SPEC_TTL_NONE, "ttl-after-failure=1h @ annotation"},
            {NULL, NULL, 60, "ttlSecondsAfterFinished=60 @ spec"},
            {NULL, "{\"" P "ttl-after-failure\":\"1h\"}", SPEC_TTL_NONE, NULL},
            {"{\"" P "ttl-after-success\":\"1h\"}", NULL, SPEC_TTL_NONE, NULL}, /* of the other outcome */
            {"{\"" P "hold\":\"false\"}", NULL, SPEC_TTL_NONE, NULL},
            {"{\"" P "hold\":\"2026-01-03T00:00:00Z\"}", NULL, SPEC_TTL_NONE, NULL}};
    for (int guard = 0; guard < 2; guard++) {
        for (size_t i = 0; i < COUNT(cases); i++) {
            struct scene s;
            scene_start(&s, cases[i].own, cases[i].theirs);
            s.job.spec_ttl_s = cases[i].spec_ttl_s;
            if (guard == 0)
                become_hook(&s, HOOK_HELM, "test");
            else
                become_owned(&s, "JobSet", "jobset.x-k8s.io/v1");
            struct decision d = decide(&s, FINISHED + 100 * DAY);
            ck_assert_int_eq(d.action, cases[i].rule ? ACTION_DELETE : ACTION_KEEP);
            if (cases[i].rule)
                expect_rule(&d, cases[i].rule);
            else
                ck_assert_int_eq(d.reason, guard == 0 ? REASON_HOOK : REASON_OWNED);
            scene_finish(&s);
        }
    }
    /* What keeps for other reasons is told as such. */
    static const struct {
        const char *own;
        enum reason reason;
    } kept[] = {{"{\"" P "hold\":\"true\"}", REASON_HELD}, {"{\"" P "ttl-after-failure\":\"never\"}", REASON_NEVER},
            {"{\"" P "ttl-after-failure\":\"1\"}", REASON_NOT_UNDERSTOOD}};
    for (size_t i = 0; i < COUNT(kept); i++) {
        struct scene s;
        scene_start(&s, kept[i].own, NULL);
        become_hook(&s, HOOK_HELM, "test");
        become_owned(&s, "JobSet", "jobset.x-k8s.io/v1");
        ck_assert_int_eq(decide(&s, FINISHED + 100 * DAY).reason, kept[i].reason);
        scene_finish(&s);
    }
}
END_TEST

/* ---- names that come back ---- */

#define MINUTE (60 * SECOND)

START_TEST(a_name_that_comes_back_again_and_again_waits_longer_each_time_and_then_stays) {
    static const int64_t waits[] = {0, 0, 0, 10, 20, 40, 80, 160, -1, -1, -1};
    for (int count = 0; count < (int)COUNT(waits); count++) {
        struct scene s;
        scene_start(&s, NULL, NULL);
        s.job.outcome = OUTCOME_SUCCEEDED;
        s.guards.recreated = count;
        struct decision d = decide(&s, FINISHED);
        if (waits[count] == 0) {
            ck_assert_int_eq(d.action, ACTION_DELETE);
            scene_finish(&s);
            continue;
        }
        expect_rule(&d, "recreate-limit=3 @ default");
        ck_assert_int_eq(d.recreated, count);
        if (waits[count] > 0) {
            ck_assert_int_eq(d.action, ACTION_WAIT);
            ck_assert_int_eq(d.reason, REASON_RECREATED);
            ck_assert_int_eq(d.due_ms, FINISHED + waits[count] * MINUTE);
            ck_assert_int_eq(decide(&s, d.due_ms - 1).action, ACTION_WAIT);
            ck_assert_int_eq(decide(&s, d.due_ms).action, ACTION_DELETE);
        } else {
            ck_assert_int_eq(d.action, ACTION_KEEP);
            ck_assert_int_eq(d.reason, REASON_RECREATED_KEPT);
            struct run_policy row;
            policy_to_run(&d, &row);
            ck_assert_int_eq(row.state, RUN_KEPT);
            ck_assert_str_eq(row.rule, "recreate-limit=3");
        }
        scene_finish(&s);
    }
    struct scene s;
    scene_start(&s, NULL, NULL);
    s.job.outcome = OUTCOME_SUCCEEDED;
    s.guards.recreated = 4;
    expect_reason(&s, FINISHED + MINUTE,
            "created again 4 times right after its deletion: something (GitOps?) re-creates it; waits 19m");
    s.guards.recreated = 1000000;
    expect_reason(&s, FINISHED,
            "created again 1000000 times right after its deletion: something (GitOps?) re-creates it; kept");
    s.policy.recreate_limit = s.guards.recreated = 1;
    s.policy.recreate_limit_line = 7;
    expect_reason(&s, FINISHED,
            "created again 1 time right after its deletion: something (GitOps?) re-creates it; waits 10m");
    struct decision d = decide(&s, FINISHED);
    expect_rule(&d, "recreate-limit=1 @ config:7");
    scene_finish(&s);
}
END_TEST

START_TEST(recreate_limit_of_0_switches_the_back_off_off) {
    struct scene s;
    scene_start(&s, NULL, NULL);
    s.job.outcome = OUTCOME_SUCCEEDED;
    s.guards.recreated = 1000;
    s.policy.recreate_limit = 0;
    ck_assert_int_eq(decide(&s, FINISHED).action, ACTION_DELETE);
    scene_finish(&s);
}
END_TEST

START_TEST(a_ttl_of_the_jobs_own_lifts_the_end_of_the_back_off_but_not_the_back_off) {
    struct scene s;
    scene_start(&s, "{\"" P "ttl-after-success\":\"0s\"}", NULL);
    s.job.outcome = OUTCOME_SUCCEEDED;
    for (int count = 7; count < 100; count++) {
        s.guards.recreated = count;
        struct decision d = decide(&s, FINISHED);
        ck_assert_int_eq(d.action, ACTION_WAIT);
        ck_assert_int_eq(d.due_ms, FINISHED + 160 * MINUTE);
    }
    scene_finish(&s);
    /* spec.ttlSecondsAfterFinished does not: it comes along each time, and the loop is there because of it. */
    scene_start(&s, NULL, NULL);
    s.guards.recreated = 8;
    s.job.spec_ttl_s = 0;
    ck_assert_int_eq(decide(&s, FINISHED + 1000 * DAY).reason, REASON_RECREATED_KEPT);
    scene_finish(&s);
}
END_TEST

START_TEST(the_back_off_adds_nothing_to_what_waits_longer_anyway) {
    struct scene s;
    scene_start(&s, NULL, NULL);
    s.guards.recreated = 7;
    struct decision d = decide(&s, FINISHED);
    ck_assert_int_eq(d.due_ms, FINISHED + DAY);
    expect_rule(&d, "ttl-after-failure=24h @ default");
    scene_finish(&s);
    scene_start(&s, "{\"" P "hold\":\"2026-02-01T00:00:00Z\"}", NULL);
    s.job.outcome = OUTCOME_SUCCEEDED;
    s.guards.recreated = 3;
    ck_assert_int_eq(decide(&s, FINISHED).reason, REASON_HELD_UNTIL);
    s.guards.recreated = 8;
    ck_assert_int_eq(decide(&s, FINISHED).reason, REASON_RECREATED_KEPT);
    scene_finish(&s);
}
END_TEST

START_TEST(the_longest_times_do_not_overflow) {
    struct scene s;
    scene_start(&s, "{\"" P "ttl-after-failure\":\"36600d\"}", NULL);
    ck_assert_int_eq(timestamp_parse("9999-12-31T23:59:59Z", &s.job.finished_ms, NULL), 0);
    struct decision d = decide(&s, INT64_MAX - 1);
    ck_assert_int_eq(d.due_ms, s.job.finished_ms + DURATION_MAX_MS);
    ck_assert_int_eq(d.action, ACTION_DELETE);
    scene_finish(&s);
    scene_start(&s, NULL, NULL);
    s.job.spec_ttl_s = 2147483647;
    ck_assert_int_eq(decide(&s, FINISHED).due_ms, FINISHED + 2147483647 * SECOND);
    scene_finish(&s);
}
END_TEST

/* ---- words ---- */

START_TEST(decisions_go_to_the_register_as_they_were_made) {
    struct scene s;
    struct run_policy row;
    scene_start(&s, NULL, NULL);
    struct decision d = decide(&s, FINISHED);
    policy_to_run(&d, &row);
    ck_assert_int_eq(row.state, RUN_DUE);
    ck_assert_int_eq(row.ttl_ms, DAY);
    ck_assert_int_eq(row.due_at_ms, FINISHED + DAY);
    ck_assert_str_eq(row.rule, "ttl-after-failure=24h");
    ck_assert_str_eq(row.source, "default");
    d = decide(&s, FINISHED + DAY);
    policy_to_run(&d, &row);
    ck_assert_int_eq(row.state, RUN_DUE);
    scene_finish(&s);
    scene_start(&s, "{\"" P "hold\":\"true\"}", NULL);
    d = decide(&s, FINISHED);
    policy_to_run(&d, &row);
    ck_assert_int_eq(row.state, RUN_KEPT);
    ck_assert_int_eq(row.ttl_ms, RUN_UNKNOWN);
    ck_assert_int_eq(row.due_at_ms, TIME_NONE);
    ck_assert_str_eq(row.rule, "hold=true");
    ck_assert_str_eq(row.source, "annotation");
    scene_finish(&s);
    scene_start(&s, NULL, NULL);
    s.job.doubt = "x";
    d = decide(&s, FINISHED);
    policy_to_run(&d, &row);
    ck_assert_int_eq(row.state, RUN_KEPT);
    ck_assert_str_eq(row.rule, "");
    ck_assert_str_eq(row.source, "");
    scene_finish(&s);
}
END_TEST

START_TEST(a_long_value_reaches_the_register_cut_between_characters) {
    for (size_t shift = 0; shift < 4; shift++) {
        char value[200] = "abcd";
        size_t at = shift;
        for (; at < 190; at += 3)
            memcpy(value + at, "\xe2\x82\xac", 4);
        json_t *own = json_pack("{s:s}", P "hold", value);
        struct annotations annotations;
        annotations_read(own, "sexton.dev", &annotations);
        struct scene s;
        scene_start(&s, NULL, NULL);
        s.job.annotations = annotations;
        struct decision d = decide(&s, FINISHED);
        struct run_policy row;
        policy_to_run(&d, &row);
        ck_assert_uint_ge(strlen(row.rule), sizeof row.rule - 4);
        ck_assert_msg(text_is_utf8(row.rule, strlen(row.rule)), "%s", row.rule);
        ck_assert_int_eq(strncmp(row.rule, "hold=", 5), 0);
        scene_finish(&s);
        json_decref(own);
    }
}
END_TEST

START_TEST(actions_and_states_have_names) {
    ck_assert_str_eq(action_name(ACTION_NONE), "none");
    ck_assert_str_eq(action_name(ACTION_WAIT), "wait");
    ck_assert_str_eq(action_name(ACTION_KEEP), "keep");
    ck_assert_str_eq(action_name(ACTION_DELETE), "delete");
    ck_assert_ptr_null(outcome_name(OUTCOME_NONE));
    ck_assert_str_eq(outcome_name(OUTCOME_SUCCEEDED), "Succeeded");
    ck_assert_str_eq(outcome_name(OUTCOME_FAILED), "Failed");
    ck_assert_str_eq(run_state_name(RUN_KEPT), "kept");
    ck_assert_str_eq(run_state_name(RUN_DELETED), "deleted");
    ck_assert_ptr_null(run_cause_name(RUN_CAUSE_NONE));
    ck_assert_str_eq(run_cause_name(RUN_CAUSE_EXTERNAL), "external");
    ck_assert_str_eq(run_trigger_name(RUN_MANUAL), "manual");
}
END_TEST

/* ---- an independent model ---- */

/* What can be said about a TTL. ABSENT and WRONG are no durations. */
#define ABSENT (-1)
#define WRONG (-2)

static const struct {
    const char *text;
    int64_t ms;
} ttl_choices[] = {{NULL, ABSENT}, {NULL, ABSENT}, {NULL, ABSENT}, {"0s", 0}, {"1h", HOUR}, {"3d", 3 * DAY},
        {"never", DURATION_NEVER}, {"3", WRONG}};

static const struct {
    const char *text;
    int64_t until; /* 0: not held */
} hold_choices[] = {{NULL, ABSENT}, {NULL, ABSENT}, {NULL, ABSENT}, {"false", 0},
        {"2026-01-02T02:00:00Z", 1767319200000}, {"2026-01-03T00:00:00Z", 1767398400000},
        {"2026-02-01T00:00:00Z", 1769904000000}, {"true", HOLD_FOREVER}, {"1", WRONG}};

/* Globs, and how well each fits ml-a: 0 not at all. Of equals the first wins. */
static const struct {
    const char *glob;
    int rank;
} glob_choices[] = {{"ml-a", 9}, {"ml-*", 3}, {"ml-?", 3}, {"m*", 2}, {"*", 1}, {"prod", 0}, {"*b", 0}};

struct facts {
    int own[3], theirs[3]; /* success, failure, hold: indexes of choices */
    bool own_typo, their_typo;
    int globs[4], section_ttls[4][2], n_sections;
    int policy[2];
    int64_t spec_ttl_s;
    enum outcome outcome;
    enum namespace_view view;
    bool doubt, terminating, active, behind;
    bool hook, owned, keep_hooks;
    const char *owners;
    int recreated, recreate_limit;
    int64_t now;
};

static uint64_t pick(uint64_t n) {
    return random_below(n);
}

static void invent(struct facts *f) {
    *f = (struct facts){.spec_ttl_s = SPEC_TTL_NONE};
    for (int i = 0; i < 2; i++) {
        f->own[i] = (int)pick(COUNT(ttl_choices) - (pick(4) != 0));
        f->theirs[i] = (int)pick(COUNT(ttl_choices) - (pick(3) != 0));
        do
            f->policy[i] = (int)pick(COUNT(ttl_choices) - 1);
        while (ttl_choices[f->policy[i]].ms < 0);
    }
    f->own[2] = (int)pick(COUNT(hold_choices) - (pick(4) != 0));
    f->theirs[2] = (int)pick(COUNT(hold_choices) - (pick(3) != 0));
    f->own_typo = pick(20) == 0;
    f->their_typo = pick(20) == 0;
    f->n_sections = (int)pick(5);
    for (int i = 0; i < f->n_sections; i++) {
        f->globs[i] = (int)pick(COUNT(glob_choices));
        for (int k = 0; k < 2; k++)
            f->section_ttls[i][k] = (int)pick(COUNT(ttl_choices) - 1);
    }
    static const int64_t spec_ttls[] = {SPEC_TTL_NONE, SPEC_TTL_NONE, 0, 60, 86400};
    f->spec_ttl_s = spec_ttls[pick(COUNT(spec_ttls))];
    f->outcome = pick(10) == 0 ? OUTCOME_NONE : pick(2) ? OUTCOME_SUCCEEDED : OUTCOME_FAILED;
    f->view = pick(10) == 0 ? NAMESPACE_UNKNOWN : pick(5) == 0 ? NAMESPACE_NOT_ASKED : NAMESPACE_KNOWN;
    f->doubt = pick(30) == 0;
    f->terminating = pick(30) == 0;
    f->active = pick(4) == 0;
    f->behind = pick(4) == 0;
    f->hook = pick(8) == 0;
    f->owned = pick(8) == 0;
    f->keep_hooks = pick(3) != 0;
    static const char *const owners[] = {NULL, "", "Other", "*", "JobSet"};
    f->owners = owners[pick(COUNT(owners))];
    f->recreated = pick(3) ? 0 : (int)pick(12);
    f->recreate_limit = (int)pick(5);
    static const int64_t spans[] = {
            -DAY, -1, 0, 1, 59999, 60000, HOUR - 1, HOUR, DAY, 3 * DAY - 1, 3 * DAY, 1000 * DAY};
    f->now = FINISHED + spans[pick(COUNT(spans))];
}

static json_t *annotations_of(const int choices[3], bool typo) {
    json_t *object = json_object();
    static const char *const keys[] = {P "ttl-after-success", P "ttl-after-failure", P "hold"};
    for (int i = 0; i < 3; i++) {
        const char *text = i < 2 ? ttl_choices[choices[i]].text : hold_choices[choices[i]].text;
        if (text)
            json_object_set_new(object, keys[i], json_string(text));
    }
    if (typo)
        json_object_set_new(object, P "ttl", json_string("1h"));
    return object;
}

/* What should happen, said another way: the candidates in order, the first that speaks decides. */
static enum action model(const struct facts *f, int64_t *ret_due) {
    int key = f->outcome == OUTCOME_SUCCEEDED ? 0 : 1;
    *ret_due = DUE_NEVER;
    if (f->doubt)
        return ACTION_KEEP;
    *ret_due = TIME_NONE;
    if (f->outcome == OUTCOME_NONE)
        return ACTION_NONE;
    *ret_due = DUE_NEVER;
    bool own_wrong = f->own_typo || ttl_choices[f->own[0]].ms == WRONG || ttl_choices[f->own[1]].ms == WRONG ||
                     hold_choices[f->own[2]].until == WRONG;
    bool asked = f->view == NAMESPACE_KNOWN;
    if (f->terminating || own_wrong || f->view == NAMESPACE_UNKNOWN || (asked && f->their_typo))
        return ACTION_KEEP;
    int64_t best = ABSENT;
    int best_rank = 0;
    for (int i = 0; i < f->n_sections; i++) {
        int64_t ttl = ttl_choices[f->section_ttls[i][key]].ms;
        if (ttl != ABSENT && glob_choices[f->globs[i]].rank > best_rank) {
            best = ttl;
            best_rank = glob_choices[f->globs[i]].rank;
        }
    }
    const int64_t ttls[] = {ttl_choices[f->own[key]].ms, f->spec_ttl_s == SPEC_TTL_NONE ? ABSENT : f->spec_ttl_s * 1000,
            asked ? ttl_choices[f->theirs[key]].ms : ABSENT, best, ttl_choices[f->policy[key]].ms};
    size_t i = 0;
    while (ttls[i] == ABSENT)
        i++;
    int64_t hold = hold_choices[f->own[2]].until;
    if (hold == ABSENT)
        hold = asked ? hold_choices[f->theirs[2]].until : 0;
    if (ttls[i] == WRONG || ttls[i] == DURATION_NEVER || hold == WRONG || hold == HOLD_FOREVER)
        return ACTION_KEEP;
    bool own_wish = i < 2;
    if (!own_wish &&
            ((f->hook && f->keep_hooks) || (f->owned && (!f->owners || strcspn(f->owners, "*J") == strlen(f->owners)))))
        return ACTION_KEEP;
    int64_t due = FINISHED + ttls[i];
    for (int n = f->recreate_limit, wait = 10; f->recreate_limit && f->recreated >= n; n++, wait *= 2) {
        if (n == f->recreate_limit + 5 && i != 0)
            return ACTION_KEEP;
        if (n == f->recreate_limit + 5)
            break;
        if (due < FINISHED + wait * 60000)
            due = FINISHED + wait * 60000;
    }
    if ((f->active || f->behind) && due < FINISHED + 60000)
        due = FINISHED + 60000;
    if (due < hold)
        due = hold;
    *ret_due = due;
    return f->now >= due ? ACTION_DELETE : ACTION_WAIT;
}

START_TEST(random_jobs_are_decided_as_an_independent_model_decides_them) {
    random_seed(20260102);
    int seen[4] = {0};
    for (int round = 0; round < 200000; round++) {
        struct facts f;
        invent(&f);
        struct scene s;
        scene_start(&s, NULL, NULL);
        scene_finish(&s);
        s.own = annotations_of(f.own, f.own_typo);
        s.theirs = annotations_of(f.theirs, f.their_typo);
        annotations_read(s.own, "sexton.dev", &s.job.annotations);
        annotations_read(s.theirs, "sexton.dev", &s.of_namespace);
        for (int i = 0; i < f.n_sections; i++)
            add_section(&s, glob_choices[f.globs[i]].glob, ttl_choices[f.section_ttls[i][0]].text,
                    ttl_choices[f.section_ttls[i][1]].text);
        configure(&s, ttl_choices[f.policy[0]].text, ttl_choices[f.policy[1]].text);
        s.job.spec_ttl_s = f.spec_ttl_s;
        s.job.outcome = f.outcome;
        s.job.finished_ms = f.outcome == OUTCOME_NONE ? TIME_NONE : FINISHED;
        s.job.doubt = f.doubt ? "doubt" : NULL;
        s.job.deletion_ms = f.terminating ? FINISHED + 1 : TIME_NONE;
        s.guards.namespace = f.view;
        s.guards.cronjob_active = f.active;
        s.guards.cronjob_behind = f.behind;
        s.guards.recreated = f.recreated;
        s.policy.keep_hooks = f.keep_hooks;
        s.policy.owners = (char *)(size_t)f.owners;
        s.policy.recreate_limit = f.recreate_limit;
        if (f.hook)
            become_hook(&s, HOOK_ARGOCD, "Sync");
        if (f.owned)
            become_owned(&s, "JobSet", "jobset.x-k8s.io/v1");
        int64_t due;
        enum action action = model(&f, &due);
        struct decision d = decide(&s, f.now);
        ck_assert_msg(d.action == action && d.due_ms == due, "round %d: %s due %lld, the model says %s due %lld", round,
                action_name(d.action), (long long)d.due_ms, action_name(action), (long long)due);
        if (action == ACTION_WAIT) {
            /* Not a millisecond early, and then at once. */
            ck_assert_int_eq(decide(&s, due - 1).action, ACTION_WAIT);
            ck_assert_int_eq(decide(&s, due).action, ACTION_DELETE);
        }
        if (action == ACTION_DELETE)
            ck_assert_int_ge(f.now, FINISHED);
        struct strbuf text = STRBUF_INIT(10000);
        policy_explain(&d, &s.job, f.now, &text);
        ck_assert(text.len > 0 && !strbuf_failed(&text));
        strbuf_finish(&text);
        seen[action]++;
        json_decref(s.own);
        json_decref(s.theirs);
    }
    /* Otherwise this shows nothing. */
    for (int i = 0; i < 4; i++)
        ck_assert_int_gt(seen[i], 10000);
}
END_TEST

Suite *suite_policy(void) {
    Suite *suite = suite_create("policy");
    TCase *tcase = tcase_create("policy");
    tcase_set_timeout(tcase, 120);
    static const TTest *const *const all[] = {
            &precedence_is_job_then_spec_then_namespace_then_section_then_policy_then_default,
            &each_key_finds_its_own_source, &succeeded_jobs_go_right_away_and_failed_ones_after_a_day_by_default,
            &the_best_matching_section_that_sets_the_key_decides,
            &a_name_that_looks_like_a_pattern_is_still_taken_literally, &what_has_not_finished_is_left_alone,
            &doubt_keeps_whatever_else_is_said, &what_is_being_deleted_is_not_deleted_again,
            &an_annotation_that_is_not_understood_keeps_the_job_and_is_named,
            &a_namespace_that_is_not_understood_keeps_the_jobs_it_would_have_decided,
            &a_namespace_that_cannot_be_read_may_hold_the_job_so_it_stays, &never_means_never,
            &a_hold_keeps_whatever_else_says, &a_hold_of_the_job_beats_that_of_its_namespace,
            &a_hold_with_a_time_ends_at_that_time_and_not_before_the_ttl,
            &a_finish_in_the_future_waits_whatever_its_ttl, &a_job_waits_for_its_cronjob_to_take_note_but_not_for_ever,
            &cronjob_settle_of_0s_switches_the_wait_off, &a_hook_of_helm_or_argo_cd_is_left_to_its_tool,
            &a_job_of_an_owner_that_is_no_cronjob_is_left_to_it, &owners_names_those_whose_jobs_may_go,
            &a_wish_on_the_job_itself_beats_the_guard_and_nothing_around_it_does,
            &a_name_that_comes_back_again_and_again_waits_longer_each_time_and_then_stays,
            &recreate_limit_of_0_switches_the_back_off_off,
            &a_ttl_of_the_jobs_own_lifts_the_end_of_the_back_off_but_not_the_back_off,
            &the_back_off_adds_nothing_to_what_waits_longer_anyway, &the_longest_times_do_not_overflow,
            &decisions_go_to_the_register_as_they_were_made, &a_long_value_reaches_the_register_cut_between_characters,
            &actions_and_states_have_names, &random_jobs_are_decided_as_an_independent_model_decides_them};
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}
