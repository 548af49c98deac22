#include "history_fixture.h"

#include <fcntl.h>
#include <jansson.h>

#include "base/duration.h"
#include "cmd/commands.h"

Suite *suite_cmd_history(void);

static char out_text[200000], err_text[8192];

static int64_t frozen_wall(void) {
    return NOW_MS;
}

static int64_t frozen_mono(void) {
    return 0;
}

static const struct clock_source frozen = {frozen_wall, frozen_mono};

/* The command line after "sexton", a NULL at its end; "STORE" stands for the fixture's location. Standard output goes
 * to out_path (NULL: out_text), standard error to err_text. */
static int run_to(const char *out_path, const char *const *words) {
    char *argv[24];
    int argc = 0;
    for (; words[argc]; argc++)
        argv[argc] = strdup(strcmp(words[argc], "STORE") == 0 ? fixture_location : words[argc]);
    argv[argc] = NULL;
    fflush(NULL);
    FILE *out = tmpfile(), *err = tmpfile();
    int saved_out = dup(STDOUT_FILENO), saved_err = dup(STDERR_FILENO);
    int fd = out_path ? open(out_path, O_WRONLY) : fileno(out);
    dup2(fd, STDOUT_FILENO);
    dup2(fileno(err), STDERR_FILENO);
    int result = cmd_history(argc, argv);
    fflush(NULL);
    clearerr(stdout);
    dup2(saved_out, STDOUT_FILENO);
    dup2(saved_err, STDERR_FILENO);
    close(saved_out);
    close(saved_err);
    if (out_path)
        close(fd);
    rewind(out);
    rewind(err);
    out_text[fread(out_text, 1, sizeof out_text - 1, out)] = '\0';
    err_text[fread(err_text, 1, sizeof err_text - 1, err)] = '\0';
    fclose(out);
    fclose(err);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return result;
}

#define run(...) run_to(NULL, (const char *const[]){"history", __VA_ARGS__, NULL})

static void setup(void) {
    fixture_setup();
    clock_use(&frozen);
}

static void teardown(void) {
    clock_use(NULL);
    fixture_teardown();
}

static void fill(void) {
    struct history *history = fixture_open(HISTORY_WRITE);
    struct history_request *request = make_record("uid-1", "1");
    set_text(&request->run->cronjob, "nightly");
    set_text(&request->run->labels, "{\"app\": \"x\", \"n\": [1, 2.5, true, false, null, {}, []]}");
    set_text(&request->run->images, "[\"busybox\"]");
    set_text(&request->run->annotations, "not json");
    set_text(&request->run->manifest, "{\"kind\": \"Job\", \"metadata\": {\"name\": \"train\\u009b\"}}");
    apply_ok(history, request);
    apply_ok(history, make_deleted("uid-1", RUN_CAUSE_TTL, NOW_MS - 1000));
    request = make_record("uid-2", "1");
    request->run->finished_at_ms = NOW_MS - 60000;
    request->run->started_at_ms = NOW_MS - 61500;
    request->run->outcome = OUTCOME_FAILED;
    request->run->pods_failed = 3;
    set_text(&request->run->reason, "Dead\033[31mline");
    set_text(&request->run->message, "two\nlines, \"quoted\"");
    request->policy = (struct run_policy){.state = RUN_KEPT,
            .ttl_ms = DURATION_NEVER,
            .due_at_ms = TIME_NONE,
            .rule = "ttl-after-failure=never",
            .source = "annotation"};
    apply_ok(history, request);
    request = make_deleted("uid-3", RUN_CAUSE_EXTERNAL, NOW_MS - 5 * HOUR_MS);
    request->run = make_run("uid-3", "1");
    set_text(&request->run->namespace, "web");
    set_text(&request->run->job_name, "killed");
    request->run->outcome = OUTCOME_NONE;
    request->run->finished_at_ms = TIME_NONE;
    apply_ok(history, request);
    history_close(history);
}

/* ---- list ---- */

START_TEST(list_shows_a_table_newest_first) {
    fill();
    ck_assert_int_eq(run("list", "--store", "STORE"), 0);
    ck_assert_str_eq(out_text,
            "NAMESPACE  JOB     OUTCOME    REASON            FINISHED  DURATION  STATE    CAUSE\n"
            "ml         train   Failed     Dead\\x1b[31mline  1m ago    1s        kept     -\n"
            "ml         train   Succeeded  -                 1h ago    1h        deleted  ttl\n"
            "web        killed  -          -                 -         -         deleted  external\n");
    ck_assert_str_eq(err_text, "");
}
END_TEST

START_TEST(wide_has_times_policy_and_uid) {
    fill();
    ck_assert_int_eq(run("list", "--store", "STORE", "-o", "wide"), 0);
    ck_assert_contains(out_text, "POLICY");
    ck_assert_contains(out_text, "2026-11-20T23:59:00Z");
    ck_assert_contains(out_text, "ttl-after-failure=never  annotation");
    ck_assert_contains(out_text, "uid-3");
}
END_TEST

START_TEST(json_is_an_array_of_objects_with_embedded_json) {
    fill();
    ck_assert_int_eq(run("list", "--store", "STORE", "-o", "json"), 0);
    json_t *list = json_loads(out_text, 0, NULL);
    ck_assert_int_eq(json_array_size(list), 3);
    json_t *failed = json_array_get(list, 0), *done = json_array_get(list, 1), *killed = json_array_get(list, 2);
    ck_assert_str_eq(json_string_value(json_object_get(failed, "reason")), "Dead\033[31mline");
    ck_assert_int_eq(json_integer_value(json_object_get(failed, "durationMs")), 1500);
    ck_assert_int_eq(json_integer_value(json_object_get(failed, "podsFailed")), 3);
    ck_assert(json_is_null(json_object_get(failed, "ttlMs")));
    ck_assert(json_is_null(json_object_get(failed, "dueAt")));
    ck_assert_str_eq(json_string_value(json_object_get(done, "finishedAt")), "2026-11-20T23:00:00Z");
    ck_assert_int_eq(json_integer_value(json_object_get(done, "ttlMs")), 0);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(done, "labels"), "app")), "x");
    ck_assert_int_eq(json_array_size(json_object_get(json_object_get(done, "labels"), "n")), 7);
    ck_assert(json_real_value(json_array_get(json_object_get(json_object_get(done, "labels"), "n"), 1)) == 2.5);
    ck_assert_str_eq(json_string_value(json_object_get(done, "annotations")), "not json");
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(done, "manifest"), "kind")), "Job");
    ck_assert(json_is_null(json_object_get(killed, "outcome")));
    ck_assert_str_eq(json_string_value(json_object_get(killed, "deleteCause")), "external");
    const char *first[] = {"namespace", "job", "uid", "outcome", "reason", "message", "scheduledAt", "createdAt",
            "startedAt", "finishedAt", "durationMs"};
    void *at = json_object_iter(failed);
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++, at = json_object_iter_next(failed, at))
        ck_assert_str_eq(json_object_iter_key(at), first[i]);
    json_decref(list);
    /* Nothing that a terminal would obey. */
    for (const char *c = out_text; *c; c++)
        ck_assert((unsigned char)*c >= 0x20 || *c == '\n');
    ck_assert_ptr_null(strstr(out_text, "\xc2\x9b"));
}
END_TEST

START_TEST(csv_has_the_columns_of_json) {
    fill();
    ck_assert_int_eq(run("list", "--store", "STORE", "-o", "csv"), 0);
    ck_assert(strncmp(out_text, "namespace,job,uid,outcome,reason,message,scheduledAt,", 53) == 0);
    ck_assert_contains(
            out_text, "\nml,train,uid-2,Failed,Dead\033[31mline,\"two\nlines, \"\"quoted\"\"\",,2026-11-20T21:00:00Z,");
    ck_assert_contains(out_text, ",1500,");
}
END_TEST

static void check_uids(const char *uids) {
    char found[256] = "";
    for (const char *at = out_text; (at = strstr(at, "\"uid\": \"uid-")); at++)
        strncat(found, at + strlen("\"uid\": \"uid-"), 1);
    ck_assert_str_eq(found, uids);
}

START_TEST(filters_are_those_of_the_command_line) {
    fill();
    ck_assert_int_eq(run("list", "--store", "STORE", "-ojson", "-n", "web"), 0);
    check_uids("3");
    ck_assert_int_eq(run("list", "--store", "STORE", "-ojson", "--job", "tr*"), 0);
    check_uids("21");
    ck_assert_int_eq(run("list", "--store", "STORE", "-ojson", "--cronjob", "night??"), 0);
    check_uids("1");
    ck_assert_int_eq(run("list", "--store", "STORE", "-ojson", "--outcome", "fAILED"), 0);
    check_uids("2");
    ck_assert_int_eq(run("list", "--store", "STORE", "-ojson", "--since", "2h"), 0);
    check_uids("21");
    ck_assert_int_eq(run("list", "--store", "STORE", "-ojson", "--since", "2h", "--until", "30m"), 0);
    check_uids("1");
    ck_assert_int_eq(run("list", "--store", "STORE", "-ojson", "--until", "2026-11-20T23:00:00Z"), 0);
    check_uids("3");
    ck_assert_int_eq(run("list", "--store", "STORE", "-ojson", "--since", "2026-11-21"), 0);
    check_uids("");
    ck_assert_str_eq(out_text, "[]\n");
    ck_assert_int_eq(run("list", "--store", "STORE", "-ojson", "--limit", "2"), 0);
    check_uids("21");
    ck_assert_int_eq(run("list", "--store", "STORE", "-ojson", "--limit", "0"), 0);
    check_uids("213");
}
END_TEST

static int count_lines(void) {
    int n = 0;
    for (const char *c = out_text; *c; c++)
        n += *c == '\n';
    return n;
}

START_TEST(a_table_has_the_newest_fifty_and_programs_get_all) {
    struct history *history = fixture_open(HISTORY_WRITE);
    for (int i = 0; i < 60; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "u%d", i);
        apply_ok(history, make_record(uid, "1"));
    }
    history_close(history);
    ck_assert_int_eq(run("list", "--store", "STORE"), 0);
    ck_assert_int_eq(count_lines(), 51);
    ck_assert_int_eq(run("list", "--store", "STORE", "--limit", "7"), 0);
    ck_assert_int_eq(count_lines(), 8);
    ck_assert_int_eq(run("list", "--store", "STORE", "--limit", "0"), 0);
    ck_assert_int_eq(count_lines(), 61);
    ck_assert_int_eq(run("list", "--store", "STORE", "-o", "csv"), 0);
    ck_assert_int_eq(count_lines(), 61);
}
END_TEST

START_TEST(an_empty_register_is_no_failure) {
    history_close(fixture_open(HISTORY_WRITE));
    ck_assert_int_eq(run("list", "--store", "STORE"), 0);
    ck_assert_str_eq(out_text, "");
    ck_assert_int_eq(run("list", "--store", "STORE", "-o", "json"), 0);
    ck_assert_str_eq(out_text, "[]\n");
}
END_TEST

START_TEST(the_store_comes_from_the_configuration_too) {
    fill();
    char config[128];
    snprintf(config, sizeof config, "%s/sexton.ini", fixture_folder);
    FILE *file = fopen(config, "w");
    fprintf(file, "[history]\nstore = %s\n", fixture_location);
    fclose(file);
    ck_assert_int_eq(run("list", "--config", config, "-o", "json"), 0);
    check_uids("213");
    ck_assert_int_eq(run("list", "--config", "/nonexistent.ini"), 2);
    ck_assert_contains(err_text, "sexton history list: ");
    ck_assert_contains(err_text, "/nonexistent.ini");
}
END_TEST

START_TEST(a_store_that_cannot_be_read_says_why) {
    ck_assert_int_eq(run("list", "--store", "STORE"), 2);
    ck_assert_contains(err_text, "sexton history list: no register at ");
    ck_assert_int_eq(run("list", "--store", "/no/scheme"), 2);
    ck_assert_contains(err_text, "does not say its kind");
}
END_TEST

/* ---- show ---- */

START_TEST(show_tells_all_of_the_newest_run_and_how_many_others) {
    fill();
    ck_assert_int_eq(run("show", "--store", "STORE", "ml/train"), 0);
    ck_assert_contains(out_text, "Namespace:          ml\nJob:                train\nUID:                uid-2\n");
    ck_assert_contains(out_text, "Outcome:            Failed\n");
    ck_assert_contains(out_text, "Message:            two\\nlines, \"quoted\"\n");
    ck_assert_contains(out_text, "Finished:           2026-11-20T23:59:00Z (1m ago)\n");
    ck_assert_contains(out_text, "Duration:           1s\n");
    ck_assert_contains(out_text, "TTL:                never\n");
    ck_assert_contains(out_text, "Pods failed:        3\n");
    ck_assert_contains(out_text, "Others:             1 older run is on record (--all shows them)\n");
    ck_assert_ptr_null(strstr(out_text, "Cause"));
    ck_assert_int_eq(run("show", "--store", "STORE", "train", "-n", "ml"), 0);
    ck_assert_contains(out_text, "uid-2");
    ck_assert_int_eq(run("show", "--store", "STORE", "ml/train", "-n", "ml"), 0);
    ck_assert_int_eq(run("show", "--store", "STORE", "uid-1"), 0);
    ck_assert_contains(out_text, "Manifest:           52 bytes (-o manifest prints it)\n");
    ck_assert_contains(out_text, "Cause:              ttl\n");
    ck_assert_ptr_null(strstr(out_text, "Others"));
    ck_assert_int_eq(run("show", "--store", "STORE", "ml/train", "--all"), 0);
    ck_assert_contains(out_text, "uid-2");
    ck_assert_contains(out_text, "\n\nNamespace:          ml\n");
    ck_assert_contains(out_text, "uid-1");
}
END_TEST

START_TEST(show_as_json_is_one_object_or_with_all_an_array) {
    fill();
    ck_assert_int_eq(run("show", "--store", "STORE", "ml/train", "-o", "json"), 0);
    json_t *object = json_loads(out_text, 0, NULL);
    ck_assert_str_eq(json_string_value(json_object_get(object, "uid")), "uid-2");
    json_decref(object);
    ck_assert_int_eq(run("show", "--store", "STORE", "ml/train", "-o", "json", "--all"), 0);
    json_t *list = json_loads(out_text, 0, NULL);
    ck_assert_int_eq(json_array_size(list), 2);
    json_decref(list);
}
END_TEST

START_TEST(show_prints_the_manifest_to_create_it_again) {
    fill();
    ck_assert_int_eq(run("show", "--store", "STORE", "uid-1", "-o", "manifest"), 0);
    ck_assert_str_eq(out_text, "{\"kind\":\"Job\",\"metadata\":{\"name\":\"train\\u009b\"}}\n");
    ck_assert_int_eq(run("show", "--store", "STORE", "uid-2", "-o", "manifest"), 1);
    ck_assert_contains(err_text, "no manifest of ml/train is on record: only with 'manifest = true' under [history]");
    fixture_sql("UPDATE runs SET manifest = '{' WHERE job_uid = 'uid-2'");
    ck_assert_int_eq(run("show", "--store", "STORE", "uid-2", "-o", "manifest"), 1);
    ck_assert_contains(err_text, "is not JSON");
}
END_TEST

START_TEST(a_run_that_is_not_on_record_is_a_failure) {
    fill();
    ck_assert_int_eq(run("show", "--store", "STORE", "ml/none"), 1);
    ck_assert_str_eq(err_text, "sexton history show: no run of ml/none is on record\n");
    ck_assert_int_eq(run("show", "--store", "STORE", "train"), 1);
    ck_assert_contains(err_text, "no run with the uid train is on record");
    ck_assert_str_eq(out_text, "");
}
END_TEST

START_TEST(a_time_to_come_is_said_so) {
    fill();
    fixture_sql("UPDATE runs SET due_at = 1795219320000 WHERE job_uid = 'uid-2'");
    ck_assert_int_eq(run("show", "--store", "STORE", "uid-2"), 0);
    ck_assert_contains(out_text, "Due:                2026-11-21T00:02:00Z (in 2m)\n");
}
END_TEST

/* ---- verify ---- */

/* A deletion from beginning to end, as it should be. */
static void fill_well(void) {
    struct history *history = fixture_open(HISTORY_WRITE);
    struct history_request *request = make_request(HISTORY_INTENT, "uid-1", make_run("uid-1", "1"));
    request->at_ms = NOW_MS - 2000;
    apply_ok(history, request);
    apply_ok(history, make_deleted("uid-1", RUN_CAUSE_TTL, NOW_MS - 1000));
    request = make_record("uid-2", "1");
    request->policy.due_at_ms = NOW_MS + HOUR_MS;
    apply_ok(history, request);
    history_close(history);
}

START_TEST(a_register_in_which_all_is_well_verifies_with_exit_0) {
    fill_well();
    ck_assert_int_eq(run("verify", "--store", "STORE"), 0);
    ck_assert_contains(out_text, "2 runs, version 3, ");
    ck_assert_contains(out_text, "nothing is wrong");
    ck_assert_str_eq(err_text, "");
    ck_assert_int_eq(run("verify", "--quick", "--store", "STORE", "-o", "json"), 0);
    json_t *json = json_loads(out_text, 0, NULL);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "runs")), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "findings")), 0);
    json_decref(json);
}
END_TEST

START_TEST(verify_finds_rows_that_should_not_be_and_rows_left_in_between) {
    static const struct {
        const char *change, *check;
        int code;
    } cases[] = {
            {"UPDATE runs SET deleted_at = NULL WHERE job_uid = 'uid-1'", "ended-without-time", 1},
            {"UPDATE runs SET delete_cause = NULL WHERE job_uid = 'uid-1'", "ended-without-time", 1},
            {"UPDATE runs SET deleted_at = 1 WHERE job_uid = 'uid-2'", "open-with-end", 1},
            {"UPDATE runs SET delete_requested_at = NULL", "deleted-without-intent", 1},
            {"UPDATE runs SET due_at = delete_requested_at + 1 WHERE job_uid = 'uid-1'", "deleted-early", 1},
            {"UPDATE runs SET manifest = '{\"kind\":' WHERE job_uid = 'uid-1'", "not-json", 1},
            {"UPDATE runs SET created_at = -1 WHERE job_uid = 'uid-1'", "no-time", 1},
            {"UPDATE runs SET duration_ms = 7 WHERE job_uid = 'uid-1'", "no-time", 1},
            {"UPDATE runs SET delete_state = 'deleting', delete_requested_at = 1795219200000 - 700000 WHERE job_uid = "
             "'uid-2'",
                    "deleting", 0},
            {"UPDATE runs SET delete_state = 'deleting', delete_requested_at = 1795219200000 - 90000000 WHERE job_uid "
             "= "
             "'uid-2'",
                    "deleting-for-long", 1},
            {"UPDATE runs SET due_at = 1795219200000 - 4000000 WHERE job_uid = 'uid-2'", "overdue", 0},
            {"UPDATE runs SET due_at = 1795219200000 - 90000000 WHERE job_uid = 'uid-2'", "overdue-for-long", 1},
            {"UPDATE runs SET cluster = 'other', job_uid = 'uid-1' WHERE job_uid = 'uid-2'", "two-clusters", 0},
            {"UPDATE runs SET recorded_at = 1795219200000 + 90000000 WHERE job_uid = 'uid-1'", "clocks", 0},
            {"DROP INDEX runs_newest", "tables", 1},
            {"ALTER TABLE runs ADD COLUMN theirs TEXT", "tables", 1},
            {"CREATE INDEX theirs ON runs (reason)", "more-tables", 0},
            {"DROP TABLE runs", "tables", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture_teardown();
        fixture_setup();
        fill_well();
        fixture_sql(cases[i].change);
        int code = run("verify", "--store", "STORE", "-o", "json");
        ck_assert_msg(code == cases[i].code, "%s: exit %d: %s%s", cases[i].change, code, out_text, err_text);
        json_t *json = json_loads(out_text, 0, NULL);
        json_t *finding = json_array_get(json_object_get(json, "findings"), 0);
        const char *check = json_string_value(json_object_get(finding, "check"));
        ck_assert_msg(check && strcmp(check, cases[i].check) == 0, "%s: %s", cases[i].change, out_text);
        ck_assert_str_eq(json_string_value(json_object_get(finding, "severity")), cases[i].code ? "problem" : "note");
        json_decref(json);
    }
}
END_TEST

START_TEST(verify_tells_people_which_rows_and_what_to_do) {
    fill();
    fixture_sql("UPDATE runs SET annotations = NULL");
    ck_assert_int_eq(run("verify", "--store", "STORE"), 1);
    ck_assert_contains(out_text, "SEVERITY  CHECK");
    ck_assert_contains(out_text, "problem   deleted-without-intent  1     ml/train");
    ck_assert_contains(out_text, "or replaced while a deletion was under way?");
    ck_assert_contains(out_text, "1 problem, 0 notes\n");
}
END_TEST

START_TEST(verify_finds_damage_in_a_page_and_in_the_header) {
    fill_well();
    int root = atoi(fixture_sql("SELECT rootpage FROM sqlite_schema WHERE name = 'runs'"));
    for (int page = root; page > 0; page -= root - 1) {
        char rubbish[200];
        memset(rubbish, 0xa5, sizeof rubbish);
        int fd = open(fixture_path, O_WRONLY);
        ck_assert_int_eq(pwrite(fd, rubbish, sizeof rubbish, (off_t)(page - 1) * 4096), sizeof rubbish);
        close(fd);
        ck_assert_int_eq(run("verify", "--store", "STORE"), 1);
        ck_assert_contains(
                page == 1 ? err_text : out_text, page == 1 ? "not a database at all" : "the file is damaged");
        if (page == 1)
            break;
    }
}
END_TEST

START_TEST(verify_of_no_register_is_a_usage_error) {
    ck_assert_int_eq(run("verify", "--store", "STORE"), 2);
    ck_assert_contains(err_text, "sexton history verify: no register at");
    ck_assert_int_eq(run("verify", "--store", "STORE", "-o", "csv"), 2);
    ck_assert_contains(err_text, "'csv' is not table or json");
    ck_assert_int_eq(run("verify", "--store", ""), 2);
    ck_assert_int_eq(run("verify", "--store", "STORE", "more"), 2);
    ck_assert_int_eq(run("verify", "--help"), 0);
    ck_assert_contains(out_text, "Exit code: 0 when there is no problem");
}
END_TEST

/* ---- usage ---- */

START_TEST(a_command_line_that_is_not_understood_is_a_usage_error) {
    static const struct {
        const char *words[8];
        const char *says;
    } cases[] = {
            {{"history"}, "sexton history: which subcommand?"},
            {{"history", "remove"}, "sexton history: unknown subcommand 'remove'"},
            {{"history", "list", "ml/train"}, "sexton history list: 'ml/train' is not an option"},
            {{"history", "list", "--nope"}, "sexton history list: unknown option '--nope'"},
            {{"history", "list", "-n"}, "needs a value"},
            {{"history", "list", "-n", ""}, "--namespace: the value is empty"},
            {{"history", "list", "--outcome", "done"}, "--outcome: 'done' is not Succeeded or Failed"},
            {{"history", "list", "--since", "7"}, "--since: '7' is neither a time"},
            {{"history", "list", "--since", "never"}, "--since: 'never' is neither a time"},
            {{"history", "list", "--until", "2026-13-01"}, "--until: '2026-13-01' is neither a time"},
            {{"history", "list", "--limit", "-1"}, "--limit: '-1' is not a whole number"},
            {{"history", "list", "-o", "yaml"}, "-o: 'yaml' is not table, wide, json or csv"},
            {{"history", "list", "--job", "a\033b", "x\033y"}, "'x\\x1by' is not an option"},
            {{"history", "show"}, "sexton history show: which run?"},
            {{"history", "show", "a/b", "c/d"}, "'c/d' is too much"},
            {{"history", "show", "a/b/c"}, "is not NAMESPACE/JOB"},
            {{"history", "show", "/b"}, "is not NAMESPACE/JOB"},
            {{"history", "show", "a/"}, "is not NAMESPACE/JOB"},
            {{"history", "show", ""}, "is not NAMESPACE/JOB"},
            {{"history", "show", "a/b*"}, "is a pattern"},
            {{"history", "show", "a/b", "-n", "ab"}, "in another namespace than -n ab"},
            {{"history", "show", "ab/b", "-n", "a"}, "in another namespace than -n a"},
            {{"history", "show", "a/b", "-o", "csv"}, "-o: 'csv' is not text, json or manifest"},
            {{"history", "show", "a/b", "--all", "-o", "manifest"}, "leave --all out"},
            {{"history", "show", "a/b", "--bad"}, "unknown option '--bad'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_int_eq(run_to(NULL, cases[i].words), 2);
        ck_assert_contains(err_text, cases[i].says);
        ck_assert_str_eq(out_text, "");
        ck_assert_int_eq(err_text[strlen(err_text) - 1], '\n');
    }
}
END_TEST

START_TEST(help_tells_the_options) {
    ck_assert_int_eq(run("--help"), 0);
    ck_assert_contains(out_text, "show    all that is known of one");
    ck_assert_int_eq(run("list", "--help"), 0);
    ck_assert_contains(out_text, "--cronjob GLOB");
    ck_assert_int_eq(run("show", "-h"), 0);
    ck_assert_contains(out_text, "UID");
}
END_TEST

START_TEST(output_that_cannot_be_written_is_a_failure) {
    fill();
    if (access("/dev/full", W_OK) == 0) {
        ck_assert_int_eq(run_to("/dev/full", (const char *const[]){"history", "list", "--store", "STORE", NULL}), 1);
        ck_assert_contains(err_text, "cannot write the output: No space left on device");
        ck_assert_int_eq(
                run_to("/dev/full", (const char *const[]){"history", "show", "--store", "STORE", "uid-1", NULL}), 1);
    }
}
END_TEST

START_TEST(a_reader_that_has_enough_is_no_failure) {
    struct history *history = fixture_open(HISTORY_WRITE);
    for (int i = 0; i < 100; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "u%d", i);
        apply_ok(history, make_record(uid, "1"));
    }
    history_close(history);
    int fds[2];
    char path[32];
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(pipe(fds), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", fds[1]);
    /* The same pipe: /dev/fd opens it again, and needs its reading end until then. */
    int again = open(path, O_WRONLY);
    ck_assert_int_ge(again, 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", again);
    close(fds[0]);
    static const char *const formats[] = {"json", "csv", "table"};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(
                run_to(path, (const char *const[]){"history", "list", "--store", "STORE", "-o", formats[i], NULL}), 0);
    ck_assert_str_eq(err_text, "");
    close(again);
    close(fds[1]);
    signal(SIGPIPE, before);
}
END_TEST

Suite *suite_cmd_history(void) {
    Suite *suite = suite_create("cmd_history");
    TCase *tests = tcase_create("command");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, list_shows_a_table_newest_first);
    tcase_add_test(tests, wide_has_times_policy_and_uid);
    tcase_add_test(tests, json_is_an_array_of_objects_with_embedded_json);
    tcase_add_test(tests, csv_has_the_columns_of_json);
    tcase_add_test(tests, filters_are_those_of_the_command_line);
    tcase_add_test(tests, a_table_has_the_newest_fifty_and_programs_get_all);
    tcase_add_test(tests, an_empty_register_is_no_failure);
    tcase_add_test(tests, the_store_comes_from_the_configuration_too);
    tcase_add_test(tests, a_store_that_cannot_be_read_says_why);
    tcase_add_test(tests, show_tells_all_of_the_newest_run_and_how_many_others);
    tcase_add_test(tests, show_as_json_is_one_object_or_with_all_an_array);
    tcase_add_test(tests, show_prints_the_manifest_to_create_it_again);
    tcase_add_test(tests, a_run_that_is_not_on_record_is_a_failure);
    tcase_add_test(tests, a_time_to_come_is_said_so);
    tcase_add_test(tests, a_register_in_which_all_is_well_verifies_with_exit_0);
    tcase_add_test(tests, verify_finds_rows_that_should_not_be_and_rows_left_in_between);
    tcase_add_test(tests, verify_tells_people_which_rows_and_what_to_do);
    tcase_add_test(tests, verify_finds_damage_in_a_page_and_in_the_header);
    tcase_add_test(tests, verify_of_no_register_is_a_usage_error);
    tcase_add_test(tests, a_command_line_that_is_not_understood_is_a_usage_error);
    tcase_add_test(tests, help_tells_the_options);
    tcase_add_test(tests, output_that_cannot_be_written_is_a_failure);
    tcase_add_test(tests, a_reader_that_has_enough_is_no_failure);
    suite_add_tcase(suite, tests);
    return suite;
}
