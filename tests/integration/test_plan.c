/* sexton plan, with an API server and without. */
#include "suites.h"

#include <string.h>

static const char *const keys[] = {
        "namespace", "name", "uid", "outcome", "finishedAt", "dueAt", "action", "policy", "source", "reason"};

/* The object of this Job in plan's JSON, after looking at the form of all. */
static json_t *plan_json;

static void read_plan(const struct result *result) {
    expect_number(result->code, 0);
    json_decref(plan_json);
    json_error_t why;
    plan_json = json_loads(result->out, JSON_REJECT_DUPLICATES, &why);
    expect(json_is_array(plan_json), "%s: %s", why.text, result->out);
    const char *at = result->out, *before = "";
    size_t index;
    json_t *row;
    json_array_foreach (plan_json, index, row) {
        expect_number(json_object_size(row), 10);
        for (int i = 0; i < 10; i++) {
            at = strstr(at, format("\"%s\":", keys[i]));
            expect(at, "the key %s is missing or out of order", keys[i]);
        }
        const char *name = format("%s/%s", json_string_value(json_object_get(row, "namespace")),
                json_string_value(json_object_get(row, "name")));
        expect(strcmp(before, name) <= 0, "%s comes before %s", before, name);
        before = name;
    }
}

static const char *planned(const char *name, const char *key) {
    size_t index;
    json_t *row;
    json_array_foreach (plan_json, index, row) {
        if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0) {
            const json_t *value = json_object_get(row, key);
            return json_is_null(value) ? "null" : json_string_value(value);
        }
    }
    test_fail("the plan has no %s", name);
}

static void expect_planned(const char *name, const char *action, const char *policy, const char *source) {
    expect_text(planned(name, "action"), action);
    expect_text(planned(name, "policy"), policy);
    expect_text(planned(name, "source"), source);
}

static void put_world(void) {
    put_namespace("team", "'sexton.dev/ttl-after-failure': '3d'");
    put_job(.name = "z-due", .ended_s = 100);
    put_job(.name = "annotated", .failed = true, .ended_s = 100, .annotations = "'sexton.dev/ttl-after-failure': '1w'");
    put_job(.name = "by-spec", .ended_s = 100, .spec = "'ttlSecondsAfterFinished': 600");
    put_job(.ns = "team", .name = "by-namespace", .failed = true, .ended_s = 100);
    put_job(.ns = "ml-x", .name = "by-config", .failed = true, .ended_s = 100);
    put_job(.name = "held", .ended_s = 100, .annotations = "'sexton.dev/hold': 'true'");
    put_job(.name = "running", .running = true);
    put_job(.name = "rubbish", .ended_s = 100, .annotations = "'sexton.dev/hold': 'maybe'");
    configure("[namespace ml-*]\nttl-after-failure = 7d\n");
}

static void expect_world_planned(void) {
    expect_planned("z-due", "delete", "ttl-after-success=0s", "default");
    expect_planned("annotated", "wait", "ttl-after-failure=1w", "annotation");
    expect_planned("by-spec", "wait", "ttlSecondsAfterFinished=600", "spec");
    expect_planned("by-namespace", "wait", "ttl-after-failure=3d", "namespace annotation");
    expect_planned("by-config", "wait", "ttl-after-failure=7d", "config:4");
    expect_planned("held", "keep", "hold=true", "annotation");
    expect_planned("running", "none", "null", "null");
    expect_planned("rubbish", "keep", "hold=maybe", "annotation");
    expect_text(planned("running", "outcome"), "null");
    expect_text(planned("running", "finishedAt"), "null");
    expect_text(planned("held", "dueAt"), "null");
    expect_text(planned("annotated", "outcome"), "Failed");
    expect(strlen(planned("z-due", "dueAt")) == strlen("2026-01-31T12:00:00Z"), "%s", planned("z-due", "dueAt"));
    expect_contains(planned("rubbish", "reason"), "maybe");
}

START_TEST(plan_explains_every_job_and_changes_nothing) {
    sim_start(NULL);
    put_world();
    struct result result = sexton_here("plan", "-o", "json");
    read_plan(&result);
    expect_number(json_array_size(plan_json), 8);
    expect_world_planned();
    expect_number(sim_count("jobs", "delete"), 0);
    expect_number(sim_objects("jobs"), 8);
    expect_number(sim_count("jobs", "watch"), 0);
    expect(!file_exists(store_path()), "a register was written");
    /* The same as a table: a line a Job, one for its head, and a summary. */
    result = sexton_here("plan");
    expect_number(result.code, 0);
    expect_number(count_of(result.out, "\n"), 10);
    expect_contains(result.out, "NAMESPACE");
    expect_contains(result.out, "8 Jobs: 1 to delete");
    expect_lacks(result.out, "\033");
    result = sexton_here("plan", "-o", "csv");
    expect(strncmp(result.out, "namespace,name,uid,outcome,finishedAt,dueAt,action,policy,source,reason\n", 72) == 0,
            "%s", result.out);
    expect_number(count_of(result.out, "\n"), 9);
    result = sexton_here("plan", "-n", "team", "-o", "json");
    read_plan(&result);
    expect_number(json_array_size(plan_json), 1);
}
END_TEST

START_TEST(plan_offline_says_the_same_as_plan_online) {
    sim_start(NULL);
    put_world();
    /* As kubectl get jobs,namespaces -A -o json would give it. */
    char *jobs = json_dumps(json_object_get(sim_get("/apis/batch/v1/jobs"), "items"), 0);
    char *namespaces = json_dumps(json_object_get(sim_get("/api/v1/namespaces"), "items"), 0);
    const char *path = write_file(
            "jobs.json", format("{\"kind\":\"JobList\",\"apiVersion\":\"batch/v1\",\"metadata\":{},\"items\":%s}\n"
                                "{\"kind\":\"NamespaceList\",\"apiVersion\":\"v1\",\"items\":%s}\n",
                                 jobs, namespaces));
    free(jobs);
    free(namespaces);
    sim_stop();
    struct result result = sexton("plan", "--config", in_folder("sexton.ini"), "-f", path, "-o", "json");
    if (!strstr(read_file(path), "\"kind\": \"Namespace\"")) {
        /* The items of a NamespaceList carry no kind: then their annotations are not known, and that is said. */
        expect_contains(result.err, "note:");
    }
    read_plan(&result);
    expect_number(json_array_size(plan_json), 8);
    expect_text(planned("z-due", "action"), "delete");
    expect_text(planned("held", "policy"), "hold=true");
    expect_text(planned("by-config", "source"), "config:4");
}
END_TEST

#define JOB(ns, name, rest) \
    "{'kind': 'Job', 'apiVersion': 'batch/v1', 'metadata': {'namespace': '" ns "', 'name': '" name \
    "', 'uid': 'uid-" name "'" rest
#define DONE \
    "}, 'status': {'conditions': [{'type': 'Complete', 'status': 'True', 'lastTransitionTime': " \
    "'2026-03-01T10:00:00Z'}]}}"

static struct result plan_of(const char *text, const char *at) {
    return sexton_run((const char *const[]){"plan", "-f", "-", "-o", "json", at ? "--at" : NULL, at, NULL}, text);
}

START_TEST(plan_reads_a_list_one_job_or_several_documents) {
    const char *list = json_format("{'apiVersion': 'v1', 'kind': 'List', 'items': [" JOB("b", "two", DONE) ", " JOB(
            "a", "one", DONE) ", {'kind': 'Namespace', 'apiVersion': 'v1', 'metadata': {'name': 'a', 'annotations': "
                              "{'sexton.dev/ttl-after-success': 'never'}}}]}");
    struct result result = plan_of(list, NULL);
    read_plan(&result);
    expect_number(json_array_size(plan_json), 2);
    expect_planned("one", "keep", "ttl-after-success=never", "namespace annotation");
    expect_planned("two", "delete", "ttl-after-success=0s", "default");
    expect_text(planned("two", "finishedAt"), "2026-03-01T10:00:00Z");
    result = plan_of(json_format(JOB("a", "alone", DONE)), NULL);
    read_plan(&result);
    expect_number(json_array_size(plan_json), 1);
    result = plan_of(format("%s\n%s%s", list, json_format(JOB("c", "three", DONE)), list), NULL);
    read_plan(&result);
    expect_number(json_array_size(plan_json), 3);
    result = plan_of(json_format("{'kind': 'List', 'items': []}"), NULL);
    read_plan(&result);
    expect_number(json_array_size(plan_json), 0);
}
END_TEST

START_TEST(plan_decides_as_of_another_moment) {
    const char *job = json_format(JOB("a", "one", ", 'annotations': {'sexton.dev/ttl-after-success': '2h'}" DONE));
    struct result result = plan_of(job, "2026-03-01T11:59:59Z");
    read_plan(&result);
    expect_planned("one", "wait", "ttl-after-success=2h", "annotation");
    expect_text(planned("one", "dueAt"), "2026-03-01T12:00:00Z");
    result = plan_of(job, "2026-03-01T13:00:00+01:00");
    read_plan(&result);
    expect_planned("one", "delete", "ttl-after-success=2h", "annotation");
    /* Before it even finished. */
    result = plan_of(job, "2026-03-01T09:00:00Z");
    read_plan(&result);
    expect_text(planned("one", "action"), "wait");
}
END_TEST

START_TEST(control_characters_are_shown_escaped) {
    const char *job = json_format(
            "{'kind': 'Job', 'metadata': {'namespace': 'a', 'name': 'x\\u001b]0;pwn\\u0007\\n\\u202e', 'uid': "
            "'u', 'annotations': {'sexton.dev/hold': '\\u001b[31mno\\r\\n'}}}");
    for (const char *const *output = (const char *const[]){"table", "wide", "json", NULL}; *output; output++) {
        struct result result = sexton_run((const char *const[]){"plan", "-f", "-", "-o", *output, NULL}, job);
        expect_number(result.code, 0);
        expect_lacks(result.out, "\033");
        expect_lacks(result.out, "\007");
        expect_lacks(result.out, "\r");
        expect_lacks(result.out, "\xe2\x80\xae");
        expect_lacks(result.err, "\033");
    }
    /* The controller's log. */
    sim_start(NULL);
    sim_load(json_format(
            "{'kind': 'Job', 'metadata': {'namespace': 'a', 'name': 'x\\u001b[31m', 'uid': 'u', 'annotations': "
            "{'sexton.dev/hold': '\\u001b[31m\\nlevel=error'}}, 'status': {'conditions': [{'type': 'Failed', "
            "'status': 'True', 'reason': 'a\\u001b[31m\\nb', 'message': '\\u0007', 'lastTransitionTime': "
            "'2026-01-01T00:00:00Z'}]}}"));
    struct result result = sexton_here("sweep");
    expect_number(result.code, 0);
    expect_lacks(result.err, "\033");
    expect_lacks(result.err, "\nlevel=error");
    result = sexton("history", "list", "--store", store_option(), "-o", "wide");
    expect_lacks(result.out, "\033");
    expect_number(count_of(result.out, "\n"), 2);
    result = sexton("history", "show", "u", "--store", store_option());
    expect_number(result.code, 0);
    expect_lacks(result.out, "\033");
    expect_lacks(result.out, "\007");
    result = sexton("history", "show", "u", "--store", store_option(), "-o", "json");
    expect_lacks(result.out, "\033");
}
END_TEST

START_TEST(plan_says_what_the_controller_then_does) {
    sim_start(NULL);
    put_world();
    struct result result = sexton_here("plan", "-o", "json");
    read_plan(&result);
    result = sexton_here("sweep");
    expect_number(result.code, 0);
    size_t index;
    json_t *row;
    json_array_foreach (plan_json, index, row) {
        struct job job = {.ns = json_string_value(json_object_get(row, "namespace")),
                .name = json_string_value(json_object_get(row, "name")),
                .uid = json_string_value(json_object_get(row, "uid"))};
        bool wanted = strcmp(json_string_value(json_object_get(row, "action")), "delete") == 0;
        expect(job_exists(&job) != wanted, "%s", job.name);
        if (strcmp(json_string_value(json_object_get(row, "action")), "none") != 0)
            expect_text(row_text(&job, "policy"), json_string_value(json_object_get(row, "policy")));
    }
}
END_TEST

START_TEST(colour_is_for_terminals_only_and_no_color_is_honoured) {
    const char *path = write_file("job.json", json_format(JOB("a", "one", DONE)));
    const char *const *argv = (const char *const[]){sexton_binary(), "plan", "-f", path, NULL};
    struct result result = process_run(&(struct start){.argv = argv, .terminal = TERMINAL_OUT});
    expect_number(result.code, 0);
    expect_contains(result.out, "\033[");
    result = process_run(
            &(struct start){.argv = argv, .terminal = TERMINAL_OUT, .env = (const char *const[]){"NO_COLOR=1", NULL}});
    expect_contains(result.out, "delete");
    expect_lacks(result.out, "\033");
    result = process_run(&(struct start){.argv = argv});
    expect_lacks(result.out, "\033");
}
END_TEST

Suite *suite_plan(void) {
    const TTest *const tests[] = {
            plan_explains_every_job_and_changes_nothing,
            plan_offline_says_the_same_as_plan_online,
            plan_reads_a_list_one_job_or_several_documents,
            plan_decides_as_of_another_moment,
            control_characters_are_shown_escaped,
            plan_says_what_the_controller_then_does,
            colour_is_for_terminals_only_and_no_color_is_honoured,
            NULL,
    };
    return suite_of("plan", tests);
}
