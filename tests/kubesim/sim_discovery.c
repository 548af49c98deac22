#include "sim_api.h"
#include "sim_util.h"

#include <stdlib.h>
#include <string.h>

static json_t *group_version(const char *group, const char *version) {
    char *both = sim_format("%s/%s", group, version);
    json_t *entry = json_pack("{s:s,s:s}", "groupVersion", both, "version", version);

    free(both);
    return entry;
}

/* NULL if there is no such group. */
static json_t *group_make(const struct sim_store *store, const char *name) {
    json_t *versions = json_array();
    json_t *group;

    if (strcmp(name, "batch") == 0) {
        json_array_append_new(versions, group_version(name, "v1"));
        if (strcmp(sim_store_resource(store, SIM_CRONJOBS)->version, "v1") != 0)
            json_array_append_new(versions, group_version(name, "v1beta1"));
    } else if (strcmp(name, "coordination.k8s.io") == 0 || strcmp(name, "authorization.k8s.io") == 0 ||
               strcmp(name, "events.k8s.io") == 0) {
        json_array_append_new(versions, group_version(name, "v1"));
    } else {
        json_decref(versions);
        return NULL;
    }
    group = json_pack(
            "{s:s,s:O,s:O}", "name", name, "versions", versions, "preferredVersion", json_array_get(versions, 0));
    json_decref(versions);
    return group;
}

static json_t *resource_entry(const struct sim_resource *res, bool status) {
    char *name = sim_format("%s%s", res->plural, status ? "/status" : "");
    json_t *entry = json_pack("{s:s,s:s,s:b,s:s}", "name", name, "singularName", status ? "" : res->singular,
            "namespaced", res->namespaced, "kind", res->kind);

    free(name);
    if (status) {
        json_object_set_new(entry, "verbs", json_pack("[s,s,s]", "get", "patch", "update"));
        return entry;
    }
    json_object_set_new(entry, "verbs",
            json_pack("[s,s,s,s,s,s,s]", "create", "delete", "get", "list", "patch", "update", "watch"));
    if (res->short_name)
        json_object_set_new(entry, "shortNames", json_pack("[s]", res->short_name));
    if (res->id == SIM_JOBS || res->id == SIM_CRONJOBS || res->id == SIM_PODS)
        json_object_set_new(entry, "categories", json_pack("[s]", "all"));
    return entry;
}

static json_t *resources_make(const struct sim_store *store, const char *group, const char *version) {
    char *both = *group ? sim_format("%s/%s", group, version) : sim_strdup(version);
    json_t *list = json_array();
    json_t *answer;

    for (int i = 0; i < SIM_RESOURCE_COUNT; i++) {
        const struct sim_resource *res = sim_store_resource(store, (enum sim_resource_id)i);

        if (strcmp(res->group, group) != 0 || strcmp(res->version, version) != 0)
            continue;
        json_array_append_new(list, resource_entry(res, false));
        if (res->has_status)
            json_array_append_new(list, resource_entry(res, true));
    }
    if (strcmp(group, "authorization.k8s.io") == 0)
        json_array_append_new(list, json_pack("{s:s,s:s,s:b,s:s,s:[s]}", "name", "selfsubjectaccessreviews",
                                            "singularName", "selfsubjectaccessreview", "namespaced", 0, "kind",
                                            "SelfSubjectAccessReview", "verbs", "create"));
    answer = json_pack("{s:s,s:s,s:s,s:o}", "kind", "APIResourceList", "apiVersion", "v1", "groupVersion", both,
            "resources", list);
    free(both);
    return answer;
}

static json_t *version_make(const struct sim_store *store) {
    bool old = strcmp(sim_store_resource(store, SIM_CRONJOBS)->version, "v1") != 0;

    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "major", "1", "minor", old ? "20" : "28", "gitVersion",
            old ? "v1.20.2+kubesim" : "v1.28.0+kubesim", "gitCommit", "0000000000000000000000000000000000000000",
            "gitTreeState", "clean", "buildDate", "2026-01-01T00:00:00Z", "goVersion", "none", "compiler", "gcc",
            "platform", "linux/amd64");
}

static json_t *groups_make(const struct sim_store *store) {
    return json_pack("{s:s,s:s,s:[o,o,o,o]}", "kind", "APIGroupList", "apiVersion", "v1", "groups",
            group_make(store, "authorization.k8s.io"), group_make(store, "batch"),
            group_make(store, "coordination.k8s.io"), group_make(store, "events.k8s.io"));
}

void sim_discovery_serve(struct sim_request *req, struct sim_reply *reply) {
    const struct sim_store *store = req->sim->store;
    char *path = sim_strdup(req->path);
    size_t length = strlen(path);
    char *group = NULL;
    char *version = NULL;
    json_t *answer;

    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    if (strncmp(path, "/apis/", 6) == 0) {
        group = path + 6;
        version = strchr(group, '/');
        if (version)
            *version++ = '\0';
    }
    if (strcmp(req->method, "GET") != 0) {
        sim_reply_error(reply, 405, NULL, NULL, "the server does not allow this method on the requested resource");
    } else if (group && version) {
        sim_reply_json(reply, 200, resources_make(store, group, version));
    } else if (group) {
        answer = group_make(store, group);
        if (answer) {
            json_object_set_new(answer, "kind", json_string("APIGroup"));
            json_object_set_new(answer, "apiVersion", json_string("v1"));
            sim_reply_json(reply, 200, answer);
        } else {
            reply->status = 404;
            reply->content_type = "text/plain; charset=utf-8";
            sim_reply_add_text(reply, "404 page not found\n");
        }
    } else if (strcmp(path, "/api") == 0) {
        sim_reply_json(reply, 200,
                json_pack("{s:s,s:[s],s:[]}", "kind", "APIVersions", "versions", "v1", "serverAddressByClientCIDRs"));
    } else if (strcmp(path, "/apis") == 0) {
        sim_reply_json(reply, 200, groups_make(store));
    } else if (strcmp(path, "/api/v1") == 0) {
        sim_reply_json(reply, 200, resources_make(store, "", "v1"));
    } else if (strcmp(path, "/openapi/v2") == 0) {
        /* A document with nothing but its version, as protobuf, which is all kubectl asks for: it then validates
         * nothing. */
        reply->content_type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
        sim_reply_add_text(reply, "\n\0032.0");
    } else if (strcmp(path, "/version") == 0) {
        sim_reply_json(reply, 200, version_make(store));
    } else {
        reply->content_type = "text/plain; charset=utf-8";
        sim_reply_add_text(reply, "ok");
    }
    free(path);
}
