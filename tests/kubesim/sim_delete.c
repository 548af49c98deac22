#include "sim_api.h"
#include "sim_util.h"
#include "sim_verbs.h"

#include <inttypes.h>
#include <string.h>

bool sim_api_parse_delete(const struct sim_request *req, struct sim_delete_options *ret) {
    struct sim_delete_options options = {.dry_run = sim_request_is_dry(req)};
    json_t *preconditions;
    json_t *dry;

    memset(ret, 0, sizeof(*ret));
    if (req->body && req->body_length > 0) {
        options.tree = json_loadb(req->body, req->body_length, JSON_ALLOW_NUL, NULL);
        if (!json_is_object(options.tree)) {
            json_decref(options.tree);
            return false;
        }
        preconditions = json_object_get(options.tree, "preconditions");
        dry = json_object_get(options.tree, "dryRun");
        options.uid = json_string_value(json_object_get(preconditions, "uid"));
        options.rv = json_string_value(json_object_get(preconditions, "resourceVersion"));
        options.propagation = json_string_value(json_object_get(options.tree, "propagationPolicy"));
        if (json_is_true(json_object_get(options.tree, "orphanDependents")))
            options.propagation = "Orphan";
        options.dry_run = options.dry_run || json_array_size(dry) > 0;
    }
    if (!options.propagation)
        options.propagation = sim_request_query(req, "propagationPolicy");
    *ret = options;
    return true;
}

static bool propagation_parse(const char *text, enum sim_propagation *ret) {
    if (!text)
        *ret = SIM_PROPAGATE_DEFAULT;
    else if (strcmp(text, "Background") == 0)
        *ret = SIM_PROPAGATE_BACKGROUND;
    else if (strcmp(text, "Foreground") == 0)
        *ret = SIM_PROPAGATE_FOREGROUND;
    else if (strcmp(text, "Orphan") == 0)
        *ret = SIM_PROPAGATE_ORPHAN;
    else
        return false;
    return true;
}

/* rest.BeforeDelete's words, with the kind where elsewhere the resource stands. */
static bool preconditions_hold(struct sim_request *req, struct sim_reply *reply, const struct sim_version *version,
        const struct sim_delete_options *options) {
    const struct sim_resource *res = req->resource;
    const char *dot = *res->group ? "." : "";
    uint64_t rv = 0;

    if (options->uid && strcmp(options->uid, version->uid) != 0) {
        sim_reply_error(reply, 409, NULL, sim_details_make(req->name, res->group, res->kind),
                "Operation cannot be fulfilled "
                "on %s%s%s \"%s\": the UID in the precondition (%s) does not match the UID in record (%s). The "
                "object might have been deleted and then recreated",
                res->kind, dot, res->group, req->name, options->uid, version->uid);
        return false;
    }
    if (options->rv && (!sim_parse_uint(options->rv, &rv) || rv != version->rv)) {
        sim_reply_error(reply, 409, NULL, sim_details_make(req->name, res->group, res->kind),
                "Operation cannot be fulfilled "
                "on %s%s%s \"%s\": the ResourceVersion in the precondition (%s) does not match the "
                "ResourceVersion in record (%" PRIu64 "). The object might have been modified",
                res->kind, dot, res->group, req->name, options->rv, version->rv);
        return false;
    }
    return true;
}

static void object_delete(struct sim_request *req, struct sim_reply *reply, const struct sim_delete_options *options) {
    const struct sim_resource *res = req->resource;
    struct sim_store *store = req->sim->store;
    struct sim_version *version = sim_store_get(store, res, req->ns, req->name);
    enum sim_propagation propagation;
    json_t *details;

    if (!propagation_parse(options->propagation, &propagation)) {
        sim_reply_error(reply, 422, NULL, json_pack("{s:s,s:s}", "group", "meta.k8s.io", "kind", "DeleteOptions"),
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"%s\": "
                "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
                options->propagation);
        return;
    }
    if (!version) {
        sim_reply_not_found(reply, res, req->name);
        return;
    }
    if (!preconditions_hold(req, reply, version, options))
        return;
    details = sim_details_of(res, req->name);
    json_object_set_new(details, "uid", json_string(version->uid));
    if (!options->dry_run) {
        struct sim_version *left = sim_store_delete(store, res, version, propagation);

        if (left) {
            json_decref(details);
            sim_reply_object(reply, 200, res, left);
            return;
        }
    }
    sim_reply_json(reply, 200,
            json_pack("{s:s,s:s,s:{},s:s,s:o}", "kind", "Status", "apiVersion", "v1", "metadata", "status", "Success",
                    "details", details));
}

void sim_delete_serve(struct sim_request *req, struct sim_reply *reply) {
    struct sim_delete_options options;

    if (!sim_api_parse_delete(req, &options)) {
        sim_reply_error(reply, 400, NULL, NULL, "couldn't get version/kind; json parse error: invalid DeleteOptions");
        return;
    }
    object_delete(req, reply, &options);
    json_decref(options.tree);
}
