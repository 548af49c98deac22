#include "suites.h"

#include <string.h>

#include "cmd/health.h"

/* Of a controller that is well, and leads. */
static struct health_facts well(void) {
    return (struct health_facts){.connected = true,
            .api_why = "",
            .connect_why = "",
            .store_why = "",
            .lease = HEALTH_LEASE_OURS,
            .lease_holder = "pod-1_0123",
            .lease_why = "",
            .rights_missing = "",
            .rights_optional = "",
            .rights_unknown = "",
            .config_why = ""};
}

#define ALL_IS_WELL \
    "ok api\nok synced\nok register\nok lease: held by this controller, pod-1_0123\nok permissions\n" \
    "ok configuration\n"

static void expect(bool (*check)(const struct health_facts *, struct strbuf *), const struct health_facts *facts,
        bool good, const char *line) {
    struct strbuf out = STRBUF_INIT(HEALTH_TEXT_MAX);
    ck_assert_int_eq(check(facts, &out), good);
    ck_assert_int_eq(check(facts, NULL), good);
    ck_assert_msg(strstr(strbuf_text(&out), line), "no '%s' in:\n%s", line, strbuf_text(&out));
    ck_assert_int_eq(strstr(strbuf_text(&out), "not ok ") == NULL, good);
    strbuf_finish(&out);
}

#define expect_ready(facts, line) expect(health_is_ready, facts, true, line)
#define expect_not_ready(facts, line) expect(health_is_ready, facts, false, line)
#define expect_alive(facts) expect(health_is_alive, facts, true, "ok loop\nok watches\n")

START_TEST(a_controller_that_does_its_work_is_ready_and_alive) {
    struct health_facts facts = well();
    expect_ready(&facts, ALL_IS_WELL);
    expect_alive(&facts);
}
END_TEST

START_TEST(one_that_stands_by_is_ready_and_says_who_leads) {
    struct health_facts facts = well();
    facts.lease = HEALTH_LEASE_OTHERS;
    facts.lease_holder = "pod-2_4567";
    expect_ready(&facts, "\nok lease: held by pod-2_4567, standing by\n");
    facts.lease = HEALTH_LEASE_FREE;
    expect_ready(&facts, "\nok lease: held by nobody yet\n");
    facts.lease = HEALTH_LEASE_UNKNOWN;
    expect_ready(&facts, "\nok lease: not known yet\n");
    facts.lease = HEALTH_LEASE_UNNEEDED;
    expect_ready(&facts, "\nok lease: none needed\n");
}
END_TEST

START_TEST(a_lease_that_cannot_be_had_for_long_is_not_ready_unless_it_is_held) {
    struct health_facts facts = well();
    facts.lease_why = "leases is forbidden";
    facts.lease_failing_ms = HEALTH_GRACE_MS;
    expect_ready(&facts, ALL_IS_WELL);
    facts.lease = HEALTH_LEASE_UNKNOWN;
    expect_not_ready(&facts,
            "\nnot ok lease: could not be had for 30s, and nothing is deleted without it: leases is forbidden\n");
    facts.lease_failing_ms--;
    expect_ready(&facts, "\nok lease: not known yet\n");
}
END_TEST

START_TEST(before_everything_is_listed_it_is_not_ready_and_says_what_is_missing) {
    struct health_facts facts = well();
    facts.connected = false;
    expect_not_ready(&facts, "\nnot ok synced: the API server was asked, and has not answered yet\n");
    facts.connect_why = "HTTP status 503";
    expect_not_ready(&facts, "\nnot ok synced: HTTP status 503\n");
    facts.connected = true;
    facts.list = (struct health_feed){.resource = "jobs", .why = ""};
    expect_not_ready(&facts, "\nnot ok synced: the list of jobs is not complete\n");
    facts.list = (struct health_feed){.resource = "cronjobs", .namespace = "shop", .why = "no"};
    expect_not_ready(&facts, "\nnot ok synced: the list of cronjobs in shop is not complete: no\n");
    expect_alive(&facts);
}
END_TEST

START_TEST(before_the_register_was_open_once_nothing_is_in_sync) {
    struct health_facts facts = well();
    facts.waits = true;
    facts.store_why = "there is no folder";
    expect_not_ready(&facts, "\nnot ok synced: nothing is listed before the register was open once\nnot ok register: ");
    expect_alive(&facts);
}
END_TEST

START_TEST(a_configuration_that_is_refused_is_named_and_changes_nothing) {
    struct health_facts facts = well();
    facts.config_why = "sexton.ini:1: no";
    expect_ready(&facts, "\nok configuration: a new one is refused, and the old one stays: sexton.ini:1: no\n");
    expect_alive(&facts);
}
END_TEST

START_TEST(a_watch_that_fails_for_long_is_not_ready_but_alive) {
    struct health_facts facts = well();
    facts.watch = (struct health_feed){.resource = "jobs", .why = "HTTP status 500", .for_ms = HEALTH_GRACE_MS - 1};
    expect_ready(&facts, ALL_IS_WELL);
    facts.watch.for_ms = 90500;
    expect_not_ready(&facts, "\nnot ok synced: jobs could not be watched for 1m30s: HTTP status 500\n");
    expect_alive(&facts);
}
END_TEST

START_TEST(an_api_server_that_does_not_answer_is_not_ready_but_alive) {
    struct health_facts facts = well();
    facts.api_why = "Connection refused";
    facts.api_silent_ms = HEALTH_GRACE_MS - 1;
    expect_ready(&facts, ALL_IS_WELL);
    facts.api_silent_ms = HEALTH_GRACE_MS;
    expect_not_ready(&facts, "not ok api: no answer for 30s: Connection refused\n");
    expect_alive(&facts);
    /* At the start there is nothing to be patient for. */
    facts.connected = false;
    facts.api_silent_ms = 1;
    expect_not_ready(&facts, "not ok api: no answer for 0s: Connection refused\n");
    expect_alive(&facts);
}
END_TEST

START_TEST(a_register_that_cannot_be_written_is_not_ready_but_alive) {
    struct health_facts facts = well();
    facts.store_why = "/var/lib/sexton/history.db: its disk is full";
    expect_not_ready(&facts, "\nnot ok register: cannot be written: /var/lib/sexton/history.db: its disk is full\n");
    expect_alive(&facts);
    facts = well();
    facts.dry_run = true;
    facts.lease = HEALTH_LEASE_UNNEEDED;
    expect_ready(&facts, "\nok register: none in a dry run\nok lease: none needed\n");
}
END_TEST

START_TEST(a_disk_that_hangs_is_not_ready_but_alive_since_a_restart_would_lose_what_is_queued) {
    struct health_facts facts = well();
    facts.store_busy_ms = HEALTH_GRACE_MS - 1;
    expect_ready(&facts, ALL_IS_WELL);
    facts.store_busy_ms = 3600000;
    expect_not_ready(&facts, "\nnot ok register: its disk has not answered for 1h\n");
    expect_alive(&facts);
}
END_TEST

START_TEST(missing_permissions_are_named_and_only_those_that_are_needed_matter) {
    struct health_facts facts = well();
    facts.rights_unknown = "HTTP status 404";
    expect_ready(&facts, "\nok permissions: not known: HTTP status 404\n");
    facts.rights_unknown = "";
    facts.rights_optional = "get namespaces kube-system";
    expect_ready(&facts, "\nok permissions: may not get namespaces kube-system, and goes without\n");
    facts.rights_missing = "delete jobs.batch in shop";
    expect_not_ready(&facts, "\nnot ok permissions: may not delete jobs.batch in shop; nor get namespaces kube-system: "
                             "apply the rights of manifests/, and see 'sexton check'\n");
    expect_alive(&facts);
}
END_TEST

START_TEST(a_watch_that_is_silent_past_its_own_deadline_is_not_alive) {
    struct health_facts facts = well();
    facts.stuck = (struct health_feed){.resource = "jobs", .why = "", .for_ms = HEALTH_STUCK_MS - 1};
    expect_alive(&facts);
    facts.stuck.for_ms = 61000;
    expect(health_is_alive, &facts, false,
            "ok loop\nnot ok watches: that of jobs is silent, and should have ended 1m1s ago\n");
    facts.stuck.namespace = "shop";
    expect(health_is_alive, &facts, false, "not ok watches: that of jobs in shop is silent");
}
END_TEST

START_TEST(one_that_is_about_to_end_is_not_ready_but_alive) {
    struct health_facts facts = well();
    facts.stopping = true;
    expect_not_ready(&facts, "not ok running: it is about to end\n" ALL_IS_WELL);
    expect_alive(&facts);
}
END_TEST

START_TEST(what_others_said_is_one_line_of_bounded_length) {
    struct health_facts facts = well();
    char why[5000];
    memset(why, 'x', sizeof why - 1);
    memcpy(why, "two\nlines \033[31m", 15);
    why[15] = 'x';
    why[sizeof why - 1] = '\0';
    facts.store_why = why;
    facts.lease_holder = "\n\n\n";
    struct strbuf out = STRBUF_INIT(HEALTH_TEXT_MAX);
    ck_assert(!health_is_ready(&facts, &out));
    ck_assert(!strbuf_failed(&out));
    ck_assert_uint_lt(out.len, 800);
    int lines = 0;
    for (const char *at = strbuf_text(&out); *at; at++) {
        lines += *at == '\n';
        ck_assert(*at == '\n' || (unsigned char)*at >= ' ');
    }
    ck_assert_int_eq(lines, 6);
    strbuf_finish(&out);
}
END_TEST

Suite *suite_health(void) {
    Suite *suite = suite_create("health");
    TCase *cases = tcase_create("health");
    tcase_add_test(cases, a_controller_that_does_its_work_is_ready_and_alive);
    tcase_add_test(cases, one_that_stands_by_is_ready_and_says_who_leads);
    tcase_add_test(cases, a_lease_that_cannot_be_had_for_long_is_not_ready_unless_it_is_held);
    tcase_add_test(cases, before_everything_is_listed_it_is_not_ready_and_says_what_is_missing);
    tcase_add_test(cases, before_the_register_was_open_once_nothing_is_in_sync);
    tcase_add_test(cases, a_configuration_that_is_refused_is_named_and_changes_nothing);
    tcase_add_test(cases, a_watch_that_fails_for_long_is_not_ready_but_alive);
    tcase_add_test(cases, an_api_server_that_does_not_answer_is_not_ready_but_alive);
    tcase_add_test(cases, a_register_that_cannot_be_written_is_not_ready_but_alive);
    tcase_add_test(cases, a_disk_that_hangs_is_not_ready_but_alive_since_a_restart_would_lose_what_is_queued);
    tcase_add_test(cases, missing_permissions_are_named_and_only_those_that_are_needed_matter);
    tcase_add_test(cases, a_watch_that_is_silent_past_its_own_deadline_is_not_alive);
    tcase_add_test(cases, one_that_is_about_to_end_is_not_ready_but_alive);
    tcase_add_test(cases, what_others_said_is_one_line_of_bounded_length);
    suite_add_tcase(suite, cases);
    return suite;
}
