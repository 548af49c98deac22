#include "sim_api.h"

#include "sim_util.h"
#include "sim_verbs.h"

#include "../protobuf/decode.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char user_name[] = "kubesim";

/* {name, group, kind} as errors have it; group is left out when it is core's. */
json_t *sim_details_make(const char *name, const char *group, const char *kind) {
    json_t *details = json_object();

    if (*name)
        json_object_set_new(details, "name", json_string(name));
    if (*group)
        json_object_set_new(details, "group", json_string(group));
    json_object_set_new(details, "kind", json_string(kind));
    return details;
}

json_t *sim_details_of(const struct sim_resource *res, const char *name) {
    return sim_details_make(name, res->group, res->plural);
}

void sim_reply_not_found(struct sim_reply *reply, const struct sim_resource *res, const char *name) {
    sim_reply_error(reply, 404, NULL, sim_details_of(res, name), "%s \"%s\" not found", res->qualified, name);
}

void sim_reply_invalid(struct sim_reply *reply, const struct sim_resource *res, const char *name, const char *field,
        const char *problem) {
    json_t *details = sim_details_make(name, res->group, res->kind);

    json_object_set_new(details, "causes",
            json_pack("[{s:s,s:s,s:s}]", "reason", "FieldValueInvalid", "message", problem, "field", field));
    sim_reply_error(reply, 422, NULL, details, "%s%s%s \"%s\" is invalid: %s: %s", res->kind, *res->group ? "." : "",
            res->group, name, field, problem);
}

void sim_api_forbid(const struct sim_request *req, struct sim_reply *reply) {
    const struct sim_resource *res = req->resource;
    const char *group = res ? res->group : "authorization.k8s.io";
    const char *ns = sim_request_namespace(req);
    char *where = *ns ? sim_format("in the namespace \"%s\"", ns) : sim_strdup("at the cluster scope");
    char *name = *req->name ? sim_format(" \"%s\"", req->name) : sim_strdup("");

    if (req->route == SIM_ROUTE_RESOURCE || req->route == SIM_ROUTE_REVIEW) {
        const char *plural = res ? res->plural : "selfsubjectaccessreviews";

        sim_reply_error(reply, 403, NULL, sim_details_make(req->name, group, plural),
                "%s%s%s%s is forbidden: User \"%s\" cannot %s resource \"%s\" in API group \"%s\" %s", plural,
                *group ? "." : "", group, name, user_name, req->verb, req->resource_name, group, where);
    } else {
        sim_reply_error(reply, 403, NULL, json_object(), "forbidden: User \"%s\" cannot %s path \"%s\"", user_name,
                req->verb, req->path);
    }
    free(where);
    free(name);
}

/* ---- bodies ---- */

bool sim_request_is_dry(const struct sim_request *req) {
    const char *value = sim_request_query(req, "dryRun");

    return value && strcmp(value, "All") == 0;
}

bool sim_request_has_type(const struct sim_request *req, const char *type) {
    const char *value = sim_request_header(req, "Content-Type");
    size_t length = strlen(type);

    return value && strncasecmp(value, type, length) == 0 && (value[length] == '\0' || strchr("; ", value[length]));
}

/* The body as a JSON object; NULL after having answered. */
json_t *sim_body_parse(struct sim_request *req, struct sim_reply *reply) {
    json_error_t error;
    json_t *body;

    if (!req->body) {
        sim_reply_error(reply, 400, NULL, NULL, "the body of the request was empty");
        return NULL;
    }
    if (sim_request_has_type(req, "application/vnd.kubernetes.protobuf")) {
        body = proto_decode_object(req->body, req->body_length);
        if (!body)
            sim_reply_error(reply, 415, NULL, json_object(),
                    "the body of the request was in an unknown format - accepted "
                    "media types include: application/json");
        return body;
    }
    body = json_loadb(req->body, req->body_length, JSON_ALLOW_NUL, &error);
    if (!json_is_object(body)) {
        sim_reply_error(reply, 400, NULL, NULL, "the object provided is unrecognized (must be of type %s): %s",
                req->resource ? req->resource->kind : "object",
                body ? "it is not a JSON object" : "couldn't get version/kind; json parse error");
        json_decref(body);
        return NULL;
    }
    return body;
}

/* ---- verbs ---- */

static void serve_get(struct sim_request *req, struct sim_reply *reply) {
    struct sim_version *version = sim_store_get(req->sim->store, req->resource, req->ns, req->name);

    if (version)
        sim_reply_object(reply, 200, req->resource, version);
    else
        sim_reply_not_found(reply, req->resource, req->name);
}

void sim_api_serve(struct sim_request *req, struct sim_reply *reply) {
    bool whole_cluster = req->resource->namespaced && !*req->ns;

    if (strcmp(req->verb, "list") == 0 || strcmp(req->verb, "watch") == 0)
        sim_collection_serve(req, reply);
    else if (strcmp(req->verb, "get") == 0)
        serve_get(req, reply);
    else if (strcmp(req->verb, "create") == 0 && !*req->name && !whole_cluster)
        sim_create_serve(req, reply);
    else if (strcmp(req->verb, "update") == 0 && *req->name)
        sim_update_serve(req, reply);
    else if (strcmp(req->verb, "patch") == 0 && *req->name)
        sim_patch_serve(req, reply);
    else if (strcmp(req->verb, "delete") == 0 && !*req->subresource)
        sim_delete_serve(req, reply);
    else
        sim_reply_error(
                reply, 405, NULL, json_object(), "the server does not allow this method on the requested resource");
}

/* ---- access reviews ---- */

static const char *attribute(const json_t *attributes, const char *key) {
    const char *value = json_string_value(json_object_get(attributes, key));

    return value ? value : "";
}

void sim_api_review(struct sim_request *req, struct sim_reply *reply) {
    json_t *review = strcmp(req->verb, "create") == 0 ? sim_body_parse(req, reply) : NULL;
    json_t *spec = json_object_get(review, "spec");
    json_t *attributes = json_object_get(spec, "resourceAttributes");
    json_t *path = json_object_get(spec, "nonResourceAttributes");
    struct sim_call call;
    char *resource;
    bool denied;

    if (strcmp(req->verb, "create") != 0) {
        sim_reply_error(
                reply, 405, NULL, json_object(), "the server does not allow this method on the requested resource");
        return;
    }
    if (!review)
        return;
    if (!json_is_object(attributes) == !json_is_object(path)) {
        sim_reply_error(reply, 422, NULL, NULL,
                "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: "
                "spec.resourceAttributes: Invalid value: \"null\": exactly one of nonResourceAttributes or "
                "resourceAttributes must be specified");
        json_decref(review);
        return;
    }
    resource = *attribute(attributes, "subresource")
                       ? sim_format("%s/%s", attribute(attributes, "resource"), attribute(attributes, "subresource"))
                       : sim_strdup(attribute(attributes, "resource"));
    call = (struct sim_call){.verb = attribute(attributes ? attributes : path, "verb"),
            .resource = resource,
            .ns = attribute(attributes, "namespace"),
            .name = attribute(attributes, "name"),
            .path = attribute(path, "path")};
    denied = sim_faults_denied(req->sim->faults, &call);
    json_object_set_new(review, "kind", json_string("SelfSubjectAccessReview"));
    json_object_set_new(review, "apiVersion", json_string("authorization.k8s.io/v1"));
    json_object_set_new(review, "status", json_pack("{s:b}", "allowed", !denied));
    free(resource);
    sim_reply_json(reply, 201, review);
}
