/* Bad input of every kind: one clear line and exit 2, or a Job that is kept. */
#include "suites.h"

#include <stdlib.h>
#include <string.h>

/* One line, from us, on standard error; nothing else. */
static void expect_refusal(const struct result *result, int code, const char *what, const char *part) {
    expect(result->code == code, "%s: exit code %d, not %d: %s", what, result->code, code, result->err);
    expect(strncmp(result->err, "sexton", 6) == 0 && count_of(result->err, "\n") == 1, "%s: '%s'", what, result->err);
    expect(!*result->out, "%s: '%s'", what, result->out);
    expect(strstr(result->err, part), "%s: '%s' lacks '%s'", what, result->err, part);
}

START_TEST(a_command_line_that_is_not_understood_exits_2_with_one_line) {
    static const struct {
        const char *const arguments[8];
        const char *part;
    } cases[] = {
            {{"prune"}, "'prune'"},
            {{"--frobnicate"}, "--frobnicate"},
            {{"plan", "--frobnicate"}, "'--frobnicate'"},
            {{"plan", "-Z"}, "'-Z'"},
            {{"run", "--dry-run=yes"}, "--dry-run"},
            {{"sweep", "now"}, "'now'"},
            {{"plan", "-o"}, "'-o'"},
            {{"plan", "--config"}, "--config"},
            {{"plan", "-f", "-", "-o", "yaml"}, "'yaml'"},
            {{"plan", "-f", "-", "--at", "yesterday"}, "'yesterday'"},
            {{"plan", "-f", "-", "--at", "2026-02-30T00:00:00Z"}, "2026-02-30"},
            {{"plan", "-f", "-", "-n", "Not_A_Namespace"}, "'Not_A_Namespace'"},
            {{"plan", "-f", "-", "-n", ""}, "-n"},
            {{"plan", "-n", "a,*"}, "*"},
            {{"plan", "-f", "-", "-l", "app=web"}, "-l"},
            {{"plan", "-l", "(("}, "(("},
            {{"run", "--log-level", "loud"}, "'loud'"},
            {{"run", "--log-format", "xml"}, "'xml'"},
            {{"run", "--store", "postgres://u:secret@h/d"}, "sqlite:"},
            {{"check", "--store", "foo"}, "sqlite:"},
            {{"history"}, "list"},
            {{"history", "prune"}, "'prune'"},
            {{"history", "list", "--limit", "-1"}, "--limit"},
            {{"history", "list", "--limit", "many"}, "'many'"},
            {{"history", "list", "--limit", "99999999999999999999"}, "--limit"},
            {{"history", "list", "--since", "soon"}, "'soon'"},
            {{"history", "list", "--since", "30"}, "'30'"},
            {{"history", "list", "--until", "2026-13-01"}, "2026-13-01"},
            {{"history", "list", "--outcome", "Unknown"}, "'Unknown'"},
            {{"history", "list", "-o", "text"}, "'text'"},
            {{"history", "list", "a/b"}, "'a/b'"},
            {{"history", "show"}, "NAMESPACE/JOB"},
            {{"history", "show", "a/b", "c/d"}, "'c/d'"},
            {{"history", "show", "a/b/c"}, "'a/b/c'"},
            {{"history", "show", "/b"}, "'/b'"},
            {{"history", "show", "a/b", "-o", "yaml"}, "'yaml'"},
            {{"version", "please"}, "'please'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct result result = sexton_run(cases[i].arguments, NULL);
        expect_refusal(&result, 2, format("case %zu (%s)", i, cases[i].arguments[0]), cases[i].part);
        expect_lacks(result.err, "secret");
    }
    struct result result = sexton_run((const char *const[]){NULL}, NULL);
    expect_number(result.code, 2);
    expect_contains(result.err, "Usage:");
}
END_TEST

START_TEST(a_configuration_that_is_not_understood_exits_2_with_file_and_line) {
    static const struct {
        const char *text;
        int line; /* 0: none is named */
        const char *part;
    } cases[] = {
            {"[sexton]\ndelete-qsp = 5\n", 2, "delete-qsp"},
            {"[sexton]\n\n[history]\nstroe = sqlite:/x\n", 4, "stroe"},
            {"[policies]\n", 1, "policies"},
            {"delete-qps = 5\n", 1, "section"},
            {"[sexton]\ndelete-qps = 5\ndelete-qps = 6\n", 3, "delete-qps"},
            {"[policy]\n[sexton]\n[policy]\n", 3, "policy"},
            {"[namespace a]\n[namespace a]\n", 2, "namespace a"},
            {"[namespace]\n", 1, "GLOB"},
            {"[namespace [a]\n", 1, "bracket"},
            {"[policy]\nttl-after-failure = 30\n", 2, "'30'"},
            {"[policy]\nttl-after-failure = -1h\n", 2, "'-1h'"},
            {"[policy]\nttl-after-failure = 99999999999999999999d\n", 2, "99999999999999999999d"},
            {"[policy]\nttl-after-failure = 1h1h\n", 2, "'1h1h'"},
            {"[policy]\nttl-after-failure = \n", 2, "ttl-after-failure"},
            {"[policy]\nttl-after-failure = soon\n", 2, "'soon'"},
            {"[sexton]\ndelete-qps = fast\n", 2, "'fast'"},
            {"[sexton]\ndelete-qps = -1\n", 2, "'-1'"},
            {"[sexton]\nmax-in-flight = 0\n", 2, "'0'"},
            {"[sexton]\nmax-in-flight = 1001\n", 2, "1001"},
            {"[sexton]\nnamespaces = a a\n", 2, "twice"},
            {"[sexton]\nnamespaces = * a\n", 2, "*"},
            {"[sexton]\nselector = ((\n", 2, "selector"},
            {"[sexton]\nannotation-prefix = not a name\n", 2, "annotation-prefix"},
            {"[history]\nretention = 5s\n", 2, "retention"},
            {"[history]\nmanifest = yes\n", 2, "'yes'"},
            {"[history]\nstore = mysql:x\n", 2, "sqlite:"},
            {"[sexton]\ncluster\n", 2, ""},
            {"[sexton\n", 1, ""},
            {"[sexton]\ncluster = a # comment\n", 2, "#"},
            {"[sexton]\ncluster = \xff\xfe\n", 2, "UTF-8"},
            {"[sexton]\ncluster = a\x01\n", 2, "control character"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = write_file("bad.ini", cases[i].text);
        struct result result = sexton("plan", "--config", path, "-f", "/dev/null");
        expect_refusal(&result, 2, format("case %zu", i), format("bad.ini:%d: ", cases[i].line));
        expect_contains(result.err, cases[i].part);
    }
    const char *const missing[] = {in_folder("nosuch.ini"), in_folder("."), NULL};
    for (const char *const *path = missing; *path; path++) {
        struct result result = sexton("run", "--config", *path);
        expect_refusal(&result, 2, *path, *path);
    }
}
END_TEST

START_TEST(input_to_plan_that_is_no_list_of_jobs_exits_2_with_one_line) {
    static const struct {
        const char *text;
        size_t len;
        const char *part;
    } cases[] = {
            {"", 0, "empty"},
            {" \n\t\n", 0, "empty"},
            {"\x7f"
             "ELF\x02\x01\x01\0\0\0\0\0",
                    12, "JSON"},
            {"<!DOCTYPE html><html><body>Sign in</body></html>", 0, "HTML"},
            {"apiVersion: v1\nitems:\n- kind: Job\n", 0, "JSON"},
            {"{\"kind\":\"PodList\",\"items\":[{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}]}", 0, "Pod"},
            {"{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\",\"metadata\":{\"name\":\"a\"", 0, "end"},
            {"{\"kind\":\"List\",\"items\":[{\"kind\":\"Job\",\"metadata\":{\"name\":\"a\"}}", 0, "end"},
            {"{\"kind\":\"List\",\"items\":[{\"kind\":\"Job\"},]}", 0, "JSON"},
            {"{\"kind\":\"Job\",}", 0, "JSON"},
            {"[]", 0, ""},
            {"null", 0, ""},
            {"{}", 0, ""},
            {"42", 0, ""},
            {"{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"Unauthorized\",\"code\":401}", 0, "Status"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = in_folder("input.json");
        write_bytes(path, cases[i].text, cases[i].len ? cases[i].len : strlen(cases[i].text));
        struct result result = sexton("plan", "-f", path);
        expect_refusal(&result, 2, format("case %zu (%s)", i, cases[i].text), cases[i].part);
    }
    struct result result = sexton("plan", "-f", in_folder("nosuch.json"));
    expect_refusal(&result, 2, "no file", "nosuch.json");
    result = sexton("plan", "-f", in_folder("."));
    expect_refusal(&result, 2, "a folder", "");
}
END_TEST

#define ENDED "2026-03-01T10:00:00Z"
#define COMPLETE "{'type': 'Complete', 'status': 'True', 'lastTransitionTime': '" ENDED "'}"

/* Jobs in which something is wrong: members of metadata, and status; and what plan says of it. */
static const struct {
    const char *metadata, *status, *action;
} odd_jobs[] = {
        {"'annotations': {'sexton.dev/ttl-after-success': 'rubbish'}", "'conditions': [" COMPLETE "]", "keep"},
        {"'annotations': {'sexton.dev/ttl-after-success': ''}", "'conditions': [" COMPLETE "]", "keep"},
        {"'annotations': {'sexton.dev/ttl-after-success': '15'}", "'conditions': [" COMPLETE "]", "keep"},
        {"'annotations': {'sexton.dev/ttl-after-success': '-5m'}", "'conditions': [" COMPLETE "]", "keep"},
        {"'annotations': {'sexton.dev/ttl-after-success': '999999999999999999999h'}", "'conditions': [" COMPLETE "]",
                "keep"},
        {"'annotations': {'sexton.dev/ttl-after-success': '1h1h'}", "'conditions': [" COMPLETE "]", "keep"},
        {"'annotations': {'sexton.dev/ttl-after-success': 7}", "'conditions': [" COMPLETE "]", "keep"},
        {"'annotations': {'sexton.dev/ttl-after-success': '1h\\u0000'}", "'conditions': [" COMPLETE "]", "keep"},
        {"'annotations': {'sexton.dev/hold': 'yes'}", "'conditions': [" COMPLETE "]", "keep"},
        {"'annotations': {'sexton.dev/': 'x'}", "'conditions': [" COMPLETE "]", "keep"},
        {"'annotations': 'sexton.dev/hold=true'", "'conditions': [" COMPLETE "]", "keep"},
        {"'annotations': []", "'conditions': [" COMPLETE "]", "keep"},
        {"'creationTimestamp': 5", "'conditions': [" COMPLETE "]", "keep"},
        {"'deletionTimestamp': 'now'", "'conditions': [" COMPLETE "]", "keep"},
        {"'ownerReferences': {}", "'conditions': [" COMPLETE "]", "keep"},
        {"'ownerReferences': [{}]", "'conditions': [" COMPLETE "]", "keep"},
        {"'labels': {}",
                "'conditions': [" COMPLETE ", {'type': 'Failed', 'status': 'True', 'lastTransitionTime': '" ENDED "'}]",
                "keep"},
        {"'labels': {}", "'conditions': [" COMPLETE ", " COMPLETE "]", "keep"},
        {"'labels': {}", "'conditions': [{'type': 'Complete', 'status': 'True'}]", "keep"},
        {"'labels': {}", "'conditions': [{'type': 'Complete', 'status': 'True', 'lastTransitionTime': null}]", "keep"},
        {"'labels': {}", "'conditions': [{'type': 'Complete', 'status': 'True', 'lastTransitionTime': 'yesterday'}]",
                "keep"},
        {"'labels': {}", "'conditions': [{'type': 'Complete', 'status': true, 'lastTransitionTime': '" ENDED "'}]",
                "keep"},
        {"'labels': {}", "'conditions': [{'status': 'True'}, " COMPLETE "]", "keep"},
        {"'labels': {}", "'conditions': {'type': 'Complete'}", "keep"},
        {"'labels': {}", "'conditions': [" COMPLETE "], 'startTime': '2026-03-01T10:00:01Z'", "keep"},
        {"'labels': {}", "'conditions': [" COMPLETE "], 'startTime': 12", "keep"},
        {"'labels': {}",
                "'conditions': [{'type': 'Complete', 'status': 'True', 'lastTransitionTime': '2099-01-01T00:00:00Z'}]",
                "wait"},
        {"'labels': {}",
                "'conditions': [{'type': 'SomethingNew', 'status': 'True', 'lastTransitionTime': '" ENDED "'}]",
                "none"},
        {"'labels': {}", "'conditions': null", "none"},
};
#define ODD_JOBS (sizeof odd_jobs / sizeof odd_jobs[0])

static const char *odd_job(size_t i) {
    return json_format(
            "{'kind': 'Job', 'apiVersion': 'batch/v1', 'metadata': {'namespace': 'odd', 'name': 'odd-%02zu', 'uid': "
            "'0dd00000-0000-4000-8000-0000000000%02zu', %s}, 'spec': {}, 'status': {%s}}",
            i, i, odd_jobs[i].metadata, odd_jobs[i].status);
}

START_TEST(a_job_that_is_not_understood_is_kept_and_said_to_be) {
    const char *text = "";
    for (size_t i = 0; i < ODD_JOBS; i++)
        text = format("%s%s\n", text, odd_job(i));
    /* And such as no server would hold. */
    text = format("%s%s", text,
            json_format(
                    "{'kind': 'Job'} {'kind': 'Job', 'metadata': []} {'kind': 'Job', 'metadata': {'name': 5}} "
                    "{'kind': 'Job', 'metadata': {'namespace': 'odd', 'name': 'no-uid'}, 'status': {'conditions': "
                    "[" COMPLETE
                    "]}} {'kind': 'Job', 'metadata': {'namespace': 'odd', 'name': 'odd', 'uid': 'u', 'annotations': "
                    "{'sexton.dev/hold': '\xc3\x28'}}, 'status': {'conditions': [" COMPLETE "]}}"
                    "{'kind': 'Job', 'metadata': {'namespace': 'odd', 'name': 'twice', 'uid': 'u2', 'annotations': {"
                    "'sexton.dev/hold': 'true', 'sexton.dev/hold': 'false'}}, 'status': {'conditions': [" COMPLETE
                    "]}}"));
    struct result result = sexton_run((const char *const[]){"plan", "-f", "-", "-o", "json", NULL}, text);
    expect_number(result.code, 0);
    json_t *rows = json_loads(result.out, 0, NULL), *row;
    expect_number(json_array_size(rows), ODD_JOBS + 6);
    size_t index, odd = 0;
    json_array_foreach (rows, index, row) {
        const char *name = json_string_value(json_object_get(row, "name")),
                   *action = json_string_value(json_object_get(row, "action"));
        const char *wanted = strncmp(name, "odd-", 4) == 0 ? odd_jobs[odd++].action : "keep";
        expect(strcmp(action, wanted) == 0, "%s: %s, not %s: %s", name, action, wanted,
                json_string_value(json_object_get(row, "reason")));
    }
    json_decref(rows);
    expect_contains(result.err, "warning:");
    expect_number(odd, ODD_JOBS);
}
END_TEST

START_TEST(no_job_that_is_not_understood_is_deleted) {
    sim_start(SIM_JSON_ONLY);
    for (size_t i = 0; i < ODD_JOBS; i++)
        sim_load(odd_job(i));
    /* 300 kB, and an item of the list that is none. */
    char *long_text = malloc(300001);
    memset(long_text, 'x', 300000);
    long_text[300000] = '\0';
    struct job huge =
            put_job(.name = "huge", .ended_s = 60, .annotations = format("'sexton.dev/hold': '%s'", keep(long_text)));
    struct job canary = put_job(.name = "canary", .ended_s = 60);
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'raw': "
               "'{\\'metadata\\': {\\'name\\': \\'no-uid\\', \\'namespace\\': \\'odd\\'}}, 7, null, {}, [],'}}]");
    struct result result = sexton_here("sweep");
    expect_number(result.code, 0);
    expect_recorded_and_deleted(&canary, 0);
    expect_number(sim_objects("jobs"), ODD_JOBS + 1);
    expect_number(sim_count("jobs", "delete"), 1);
    expect(job_exists(&huge), "it is gone");
    expect_contains(result.err, "job=shop/huge");
    expect(strlen(result.err) < 100000, "%zu bytes of log", strlen(result.err));
    for (size_t i = 0; i < ODD_JOBS; i++) {
        if (strcmp(odd_jobs[i].action, "keep") == 0)
            expect(strstr(result.err, format("job=odd/odd-%02zu", i)), "no warning for case %zu", i);
    }
    /* And by the controller, which has a look at them for longer. */
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job again = put_job(.name = "another", .ended_s = 60);
    expect_recorded_and_deleted(&again, 0);
    expect_number(sim_objects("jobs"), ODD_JOBS + 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_register_that_cannot_be_used_is_an_error_before_anything_is_deleted) {
    sim_start(NULL);
    struct job due = put_job(.name = "due", .ended_s = 60);
    write_file("text.db", "This is not a database, but it is long enough to have been one, had it wanted to be.\n");
    const char *newer = in_folder("newer.db");
    struct result result = sexton_here("sweep", "--store", format("sqlite:%s", newer), "-n", "empty");
    expect_number(result.code, 0);
    sql_execute(newer, "PRAGMA user_version = 99");
    const struct {
        const char *store, *part;
    } cases[] = {
            {format("sqlite:%s", in_folder("nosuch/history.db")), "nosuch"},
            {format("sqlite:%s", in_folder("text.db/history.db")), "text.db"},
            {format("sqlite:%s", in_folder(".")), "not a file"},
            {format("sqlite:%s", in_folder("text.db")), "not a"},
            {format("sqlite:%s", newer), "newer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (const char *const *command = (const char *const[]){"run", "sweep", NULL}; *command; command++) {
            result = sexton_here(*command, "--store", cases[i].store);
            expect_refusal(&result, 2, format("%s %s", *command, cases[i].store), cases[i].part);
        }
        result = sexton("history", "list", "--store", cases[i].store);
        expect_refusal(&result, 2, format("history list %s", cases[i].store), "");
    }
    result = sexton_here("run", "--store", "nonsense");
    expect_refusal(&result, 2, "no location", "sqlite:");
    expect_number(deletions_of(&due).count, 0);
    expect_text(read_file(in_folder("text.db")),
            "This is not a database, but it is long enough to have been one, had it wanted to be.\n");
}
END_TEST

Suite *suite_input(void) {
    const TTest *const tests[] = {
            a_command_line_that_is_not_understood_exits_2_with_one_line,
            a_configuration_that_is_not_understood_exits_2_with_file_and_line,
            input_to_plan_that_is_no_list_of_jobs_exits_2_with_one_line,
            a_job_that_is_not_understood_is_kept_and_said_to_be,
            no_job_that_is_not_understood_is_deleted,
            a_register_that_cannot_be_used_is_an_error_before_anything_is_deleted,
            NULL,
    };
    return suite_of("input", tests);
}
