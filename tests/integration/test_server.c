/* What the simulated API server promises to the tests that stand on it. */
#include "suites.h"

#include <string.h>

#define LEASES "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"

static const char *lease(const char *holder, const char *resource_version) {
    return json_format(
            "{'kind': 'Lease', 'apiVersion': 'coordination.k8s.io/v1', 'metadata': {'name': 'sexton', "
            "'namespace': 'kube-system'%s%s%s}, 'spec': {'holderIdentity': '%s', 'leaseDurationSeconds': 15, "
            "'acquireTime': '2026-01-01T00:00:00.123456Z', 'renewTime': '2026-01-01T00:00:02.000001Z', "
            "'leaseTransitions': 3}}",
            resource_version ? ", 'resourceVersion': '" : "", resource_version ? resource_version : "",
            resource_version ? "'" : "", holder);
}

static const char *text_in(const json_t *object, const char *a, const char *b) {
    const char *text = json_string_value(json_object_get(b ? json_object_get(object, a) : object, b ? b : a));
    return text ? format("%s", text) : "";
}

START_TEST(a_lease_is_taken_by_one_and_changed_only_by_who_knows_its_version) {
    sim_start(NULL);
    const json_t *body;
    expect_number(sim_request("GET", LEASES "/sexton", NULL, NULL), 404);
    expect_number(sim_request("POST", LEASES, lease("one", NULL), &body), 201);
    const char *first = text_in(body, "metadata", "resourceVersion");
    expect_number(sim_request("POST", LEASES, lease("two", NULL), &body), 409);
    expect_text(text_in(body, "reason", NULL), "AlreadyExists");
    expect_number(sim_request("GET", LEASES "/sexton", NULL, &body), 200);
    char *spec = json_dumps(json_object_get(body, "spec"), JSON_COMPACT);
    expect_text(
            spec, json_format("{'holderIdentity':'one','leaseDurationSeconds':15,'acquireTime':'2026-01-01T00:00:00."
                              "123456Z','renewTime':'2026-01-01T00:00:02.000001Z','leaseTransitions':3}"));
    keep(spec);
    expect_number(sim_request("PUT", LEASES "/sexton", lease("two", first), &body), 200);
    expect_number(sim_request("PUT", LEASES "/sexton", lease("one", first), &body), 409);
    expect_text(text_in(body, "reason", NULL), "Conflict");
    expect_number(sim_request("PUT", LEASES "/sexton", lease("one", NULL), &body), 422);
    expect_number(json_array_size(json_object_get(sim_get(LEASES), "items")), 1);
    sim_faults("[{'match': {'verb': 'update', 'resource': 'leases'}, 'times': 1, 'action': {'status': 500}}]");
    expect_number(sim_request("PUT", LEASES "/sexton", lease("two", NULL), NULL), 500);
    /* Who holds it, and who tried. */
    const json_t *told = sim_get("/kubesim/leases"), *writes = json_object_get(told, "writes");
    expect_text(text_in(json_array_get(json_object_get(told, "leases"), 0), "holderIdentity", NULL), "two");
    expect_number(json_array_size(writes), 6);
    expect_text(text_in(json_array_get(writes, 3), "holderIdentity", NULL), "one");
    expect_number(json_integer_value(json_object_get(json_array_get(writes, 3), "code")), 409);
}
END_TEST

START_TEST(leases_are_found_by_discovery) {
    sim_start(NULL);
    char *groups = json_dumps(sim_get("/apis"), JSON_COMPACT);
    expect_contains(groups, "coordination.k8s.io/v1");
    keep(groups);
    char *resources = json_dumps(sim_get("/apis/coordination.k8s.io/v1"), JSON_COMPACT);
    expect_contains(resources, "\"leases\"");
    keep(resources);
}
END_TEST

Suite *suite_server(void) {
    const TTest *const tests[] = {
            a_lease_is_taken_by_one_and_changed_only_by_who_knows_its_version,
            leases_are_found_by_discovery,
            NULL,
    };
    return suite_of("server", tests);
}
