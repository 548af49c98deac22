#include "sim_util.h"
#include "sim_verbs.h"

#include <stdlib.h>
#include <string.h>

enum {
    NAME_MAX_LENGTH = 253,        /* DNS-1123 subdomain */
    GENERATED_PREFIX_LENGTH = 58, /* names.maxGeneratedNameLength: 63 - 5 */
    GENERATED_SUFFIX_LENGTH = 5,
    GENERATE_TRIES = 8,
};

static void reply_modified(struct sim_reply *reply, const struct sim_resource *res, const char *name) {
    sim_reply_error(reply, 409, NULL, sim_details_of(res, name),
            "Operation cannot be fulfilled on %s \"%s\": the object has "
            "been modified; please apply your changes to the latest version and try again",
            res->qualified, name);
}

static bool metadata_is_sound(const json_t *metadata) {
    static const char *const strings[] = {
            "name", "generateName", "namespace", "uid", "resourceVersion", "deletionTimestamp", "creationTimestamp"};

    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        json_t *value = json_object_get(metadata, strings[i]);

        if (value && !json_is_string(value) && !json_is_null(value))
            return false;
    }
    json_t *labels = json_object_get(metadata, "labels");
    json_t *annotations = json_object_get(metadata, "annotations");
    json_t *finalizers = json_object_get(metadata, "finalizers");
    json_t *owners = json_object_get(metadata, "ownerReferences");
    const char *key;
    json_t *value;

    if ((labels && !json_is_object(labels) && !json_is_null(labels)) ||
            (annotations && !json_is_object(annotations) && !json_is_null(annotations)) ||
            (finalizers && !json_is_array(finalizers) && !json_is_null(finalizers)) ||
            (owners && !json_is_array(owners) && !json_is_null(owners)))
        return false;
    json_object_foreach (labels, key, value) {
        if (!json_is_string(value))
            return false;
    }
    json_object_foreach (annotations, key, value) {
        if (!json_is_string(value))
            return false;
    }
    return true;
}

/* Types that Go's decoder would refuse, kind and apiVersion of something else. Answers when it is not good. */
static bool object_check(struct sim_request *req, struct sim_reply *reply, json_t *object) {
    const struct sim_resource *res = req->resource;
    json_t *metadata = json_object_get(object, "metadata");
    json_t *kind = json_object_get(object, "kind");
    json_t *api_version = json_object_get(object, "apiVersion");
    json_t *spec = json_object_get(object, "spec");
    json_t *status = json_object_get(object, "status");

    if ((kind && !json_is_string(kind)) || (api_version && !json_is_string(api_version)) || !json_is_object(metadata) ||
            !metadata_is_sound(metadata) || (spec && !json_is_object(spec) && !json_is_null(spec)) ||
            (status && !json_is_object(status) && !json_is_null(status))) {
        sim_reply_error(reply, 400, NULL, NULL,
                "%s in version \"%s\" cannot be handled as a %s: json: cannot unmarshal a "
                "field into a Go struct of another type",
                res->kind, res->version, res->kind);
        return false;
    }
    if ((kind && strcmp(json_string_value(kind), res->kind) != 0) ||
            (api_version && strcmp(json_string_value(api_version), res->api_version) != 0)) {
        sim_reply_error(reply, 400, NULL, NULL,
                "the API version or kind in the data (%s, %s) does not match the expected "
                "(%s, %s)",
                api_version ? json_string_value(api_version) : "", kind ? json_string_value(kind) : "",
                res->api_version, res->kind);
        return false;
    }
    return true;
}

static bool name_is_valid(const char *name) {
    size_t length = strlen(name);

    if (length == 0 || length > NAME_MAX_LENGTH)
        return false;
    for (size_t i = 0; i < length; i++) {
        bool inner = name[i] == '-' || name[i] == '.';

        if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= '0' && name[i] <= '9') &&
                !(inner && i > 0 && i + 1 < length))
            return false;
    }
    return true;
}

/* metadata.namespace is the URL's. False after having answered. */
static bool object_take_namespace(struct sim_request *req, struct sim_reply *reply, json_t *metadata) {
    const char *ns = json_string_value(json_object_get(metadata, "namespace"));

    if (ns && *ns && strcmp(ns, req->ns) != 0) {
        sim_reply_error(reply, 400, NULL, NULL,
                "the namespace of the provided object does not match the namespace sent on the request");
        return false;
    }
    if (req->resource->namespaced)
        json_object_set_new(metadata, "namespace", json_string(req->ns));
    return true;
}

static void job_set_defaults(json_t *object, const char *uid) {
    json_t *metadata = json_object_get(object, "metadata");
    json_t *spec = json_object_get(object, "spec");
    const char *name = json_string_value(json_object_get(metadata, "name"));
    json_t *template = json_object_get(spec, "template");

    if (!json_is_object(spec)) {
        spec = json_object();
        json_object_set_new(object, "spec", spec);
    }
    if (!json_object_get(spec, "parallelism"))
        json_object_set_new(spec, "parallelism", json_integer(1));
    if (!json_object_get(spec, "completions"))
        json_object_set_new(spec, "completions", json_integer(1));
    if (!json_object_get(spec, "backoffLimit"))
        json_object_set_new(spec, "backoffLimit", json_integer(6));
    if (!json_object_get(spec, "selector"))
        json_object_set_new(spec, "selector", json_pack("{s:{s:s}}", "matchLabels", "controller-uid", uid));
    if (json_is_object(template)) {
        json_t *inner = json_object_get(template, "metadata");
        json_t *labels;

        if (!json_is_object(inner)) {
            inner = json_object();
            json_object_set_new(template, "metadata", inner);
        }
        labels = json_object_get(inner, "labels");
        if (!json_is_object(labels)) {
            labels = json_object();
            json_object_set_new(inner, "labels", labels);
        }
        json_object_set_new(labels, "controller-uid", json_string(uid));
        json_object_set_new(labels, "job-name", json_string(name));
    }
}

/* The fields that the server alone gives. */
static void object_stamp(const struct sim_resource *res, json_t *object) {
    json_t *metadata = json_object_get(object, "metadata");
    char uid[SIM_UID_SIZE];
    char now[SIM_TIME_SIZE];

    sim_uid_make(uid);
    sim_time_format(sim_wall_ms(), now);
    json_object_set_new(metadata, "uid", json_string(uid));
    json_object_set_new(metadata, "creationTimestamp", json_string(now));
    json_object_del(metadata, "deletionTimestamp");
    json_object_del(metadata, "deletionGracePeriodSeconds");
    json_object_del(metadata, "selfLink");
    if (res->has_status)
        json_object_set_new(object, "status", json_object());
    if (res->id == SIM_JOBS)
        job_set_defaults(object, uid);
    if (res->id == SIM_NAMESPACES)
        json_object_set_new(object, "status", json_pack("{s:s}", "phase", "Active"));
    if (res->id == SIM_NAMESPACES && !json_object_get(object, "spec"))
        json_object_set_new(object, "spec", json_pack("{s:[s]}", "finalizers", "kubernetes"));
    if (res->id == SIM_PODS)
        json_object_set_new(object, "status", json_pack("{s:s}", "phase", "Pending"));
}

/* Gives a name to who asked for one. False after having answered. */
static bool object_take_name(struct sim_request *req, struct sim_reply *reply, json_t *metadata) {
    const struct sim_resource *res = req->resource;
    const char *name = json_string_value(json_object_get(metadata, "name"));
    const char *prefix = json_string_value(json_object_get(metadata, "generateName"));
    char suffix[GENERATED_SUFFIX_LENGTH + 1];

    if ((!name || !*name) && prefix && *prefix) {
        char *generated = NULL;

        for (int i = 0; i < GENERATE_TRIES; i++) {
            free(generated);
            sim_suffix_make(suffix, GENERATED_SUFFIX_LENGTH);
            generated = sim_format("%.*s%s", GENERATED_PREFIX_LENGTH, prefix, suffix);
            if (!sim_store_get(req->sim->store, res, req->ns, generated))
                break;
        }
        json_object_set_new(metadata, "name", json_string(generated));
        free(generated);
        name = json_string_value(json_object_get(metadata, "name"));
    }
    if (!name || !*name) {
        sim_reply_error(reply, 422, NULL, sim_details_make("", res->group, res->kind),
                "%s%s%s \"\" is invalid: "
                "[metadata.name: Required value: name or generateName is required]",
                res->kind, *res->group ? "." : "", res->group);
        return false;
    }
    if (!name_is_valid(name)) {
        sim_reply_invalid(reply, res, name, "metadata.name",
                "Invalid value: a lowercase RFC 1123 subdomain must consist of "
                "lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
                "character");
        return false;
    }
    return true;
}

/* Is there a namespace to create it in? */
static bool namespace_check(struct sim_request *req, struct sim_reply *reply, const char *name) {
    const struct sim_resource *namespaces = sim_store_resource(req->sim->store, SIM_NAMESPACES);
    struct sim_version *ns;

    if (!req->resource->namespaced)
        return true;
    ns = sim_store_get(req->sim->store, namespaces, "", req->ns);
    if (!ns) {
        sim_reply_not_found(reply, namespaces, req->ns);
        return false;
    }
    if (ns->terminating) {
        sim_reply_error(reply, 403, NULL, sim_details_of(req->resource, name),
                "%s \"%s\" is forbidden: unable to create new "
                "content in namespace %s because it is being terminated",
                req->resource->qualified, name, req->ns);
        return false;
    }
    return true;
}

/* Answers with a tree that is not in the store. Takes nothing. */
static void reply_tree(struct sim_reply *reply, int status, const struct sim_resource *res, json_t *object) {
    json_t *shown = json_pack("{s:s,s:s}", "kind", res->kind, "apiVersion", res->api_version);

    json_object_update_missing(shown, object);
    sim_reply_json(reply, status, shown);
}

static void object_create(struct sim_request *req, struct sim_reply *reply, json_t *object) {
    const struct sim_resource *res = req->resource;
    json_t *metadata = json_object_get(object, "metadata");
    const char *rv = json_string_value(json_object_get(metadata, "resourceVersion"));
    const char *name;

    if (!object_take_namespace(req, reply, metadata) || !object_take_name(req, reply, metadata))
        return;
    name = json_string_value(json_object_get(metadata, "name"));
    if (rv && *rv) {
        sim_reply_error(reply, 400, NULL, NULL, "resourceVersion should not be set on objects to be created");
        return;
    }
    if (!namespace_check(req, reply, name))
        return;
    if (res->id == SIM_EVENTS && !sim_event_check(req, reply, object, NULL))
        return;
    if (sim_store_get(req->sim->store, res, req->ns, name)) {
        sim_reply_error(reply, 409, "AlreadyExists", sim_details_of(res, name), "%s \"%s\" already exists",
                res->qualified, name);
        return;
    }
    object_stamp(res, object);
    if (sim_request_is_dry(req)) {
        reply_tree(reply, 201, res, object);
        return;
    }
    sim_reply_object(reply, 201, res, sim_store_insert(req->sim->store, res, object));
}

void sim_create_serve(struct sim_request *req, struct sim_reply *reply) {
    json_t *object = sim_body_parse(req, reply);

    if (!object)
        return;
    if (!json_object_get(object, "metadata"))
        json_object_set_new(object, "metadata", json_object());
    if (object_check(req, reply, object))
        object_create(req, reply, object);
    json_decref(object);
}

static void member_copy(json_t *to, const json_t *from, const char *key) {
    json_t *value = json_object_get(from, key);

    if (value)
        json_object_set(to, key, value);
    else
        json_object_del(to, key);
}

/*
 * What an update may not change stays as it is: identity always; on the main resource the status, on /status all else.
 * Both are trees of their own.
 */
static void update_keep(const struct sim_request *req, json_t *object, const json_t *before) {
    static const char *const identity[] = {"name", "generateName", "namespace", "uid", "selfLink", "creationTimestamp",
            "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"};
    json_t *metadata = json_object_get(object, "metadata");
    const char *key;
    json_t *value;
    void *next;

    if (*req->subresource) {
        json_t *status = json_incref(json_object_get(object, "status"));

        json_object_clear(object);
        json_object_update(object, (json_t *)before);
        if (status)
            json_object_set(object, "status", status);
        json_decref(status);
        return;
    }
    for (size_t i = 0; i < sizeof(identity) / sizeof(identity[0]); i++)
        member_copy(metadata, json_object_get(before, "metadata"), identity[i]);
    if (req->resource->has_status)
        member_copy(object, before, "status");
    /* Go's omitempty: what is null or has become empty in a list or map of metadata is not there. */
    json_object_foreach_safe(metadata, next, key, value) {
        if (json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0) ||
                (json_is_array(value) && json_array_size(value) == 0))
            json_object_del(metadata, key);
    }
}

/* object: as it shall be, its own resourceVersion and uid being preconditions. Borrowed. */
static void object_update(struct sim_request *req, struct sim_reply *reply, struct sim_version *old, json_t *object) {
    const struct sim_resource *res = req->resource;
    json_t *metadata = json_object_get(object, "metadata");
    const char *rv = json_string_value(json_object_get(metadata, "resourceVersion"));
    const char *uid = json_string_value(json_object_get(metadata, "uid"));
    const char *name = json_string_value(json_object_get(metadata, "name"));
    uint64_t rv_number = 0;

    if (!name || strcmp(name, req->name) != 0) {
        sim_reply_error(reply, 400, NULL, NULL, "the name of the object (%s) does not match the name on the URL (%s)",
                name ? name : "", req->name);
        return;
    }
    if (!object_take_namespace(req, reply, metadata))
        return;
    if (rv && *rv && (!sim_parse_uint(rv, &rv_number) || rv_number != old->rv)) {
        reply_modified(reply, res, req->name);
        return;
    }
    if (uid && *uid && strcmp(uid, old->uid) != 0) {
        sim_reply_error(reply, 409, NULL, sim_details_of(res, req->name),
                "Operation cannot be fulfilled on %s \"%s\": "
                "StorageError: invalid object, Code: 4, Key: /registry/%s/%s, ResourceVersion: 0, "
                "AdditionalErrorMsg: Precondition failed: UID in precondition: %s, UID in object meta: %s",
                res->qualified, req->name, res->plural, old->key, uid, old->uid);
        return;
    }
    if (!(rv && *rv) && !res->blind_update && strcmp(req->verb, "update") == 0) {
        sim_reply_invalid(reply, res, req->name, "metadata.resourceVersion",
                "Invalid value: 0x0: must be specified for an update");
        return;
    }
    json_t *before = sim_version_object(old);

    update_keep(req, object, before);
    bool sound = res->id != SIM_EVENTS || sim_event_check(req, reply, object, before);
    json_decref(before);
    if (!sound)
        return;
    if (sim_request_is_dry(req)) {
        reply_tree(reply, 200, res, object);
        return;
    }
    struct sim_version *version = sim_store_settle(req->sim->store, res, old, object);

    if (version)
        sim_reply_object(reply, 200, res, version);
    else
        reply_tree(reply, 200, res, object);
}

void sim_update_serve(struct sim_request *req, struct sim_reply *reply) {
    struct sim_version *old = sim_store_get(req->sim->store, req->resource, req->ns, req->name);
    json_t *object;

    object = sim_body_parse(req, reply);
    if (!object)
        return;
    if (object_check(req, reply, object)) {
        if (old) {
            object_update(req, reply, old, object);
        } else if (req->resource->update_creates && !*req->subresource) {
            json_object_del(json_object_get(object, "metadata"), "resourceVersion");
            object_create(req, reply, object);
        } else {
            sim_reply_not_found(reply, req->resource, req->name);
        }
    }
    json_decref(object);
}

/* RFC 7386. Returns a new reference. Directives of strategic merge patches are skipped. */
static json_t *merge_patch(json_t *target, json_t *patch) {
    const char *key;
    json_t *value;

    if (!json_is_object(patch))
        return json_incref(patch);
    json_t *result = json_is_object(target) ? json_copy(target) : json_object();

    json_object_foreach (patch, key, value) {
        if (key[0] == '$')
            continue;
        if (json_is_null(value))
            json_object_del(result, key);
        else
            json_object_set_new(result, key, merge_patch(json_object_get(result, key), value));
    }
    return result;
}

void sim_patch_serve(struct sim_request *req, struct sim_reply *reply) {
    struct sim_version *old = sim_store_get(req->sim->store, req->resource, req->ns, req->name);
    json_t *before;
    json_t *patch;
    json_t *object;

    if (!sim_request_has_type(req, "application/merge-patch+json") &&
            !sim_request_has_type(req, "application/strategic-merge-patch+json")) {
        sim_reply_error(reply, 415, NULL, NULL,
                "the body of the request was in an unknown format - accepted media types "
                "include: application/merge-patch+json, application/strategic-merge-patch+json");
        return;
    }
    patch = sim_body_parse(req, reply);
    if (!patch)
        return;
    if (!old) {
        sim_reply_not_found(reply, req->resource, req->name);
        json_decref(patch);
        return;
    }
    before = sim_version_object(old);
    /* A resourceVersion or uid in the patch is a precondition; without one the current object's hold trivially. */
    object = merge_patch(before, patch);
    if (object_check(req, reply, object))
        object_update(req, reply, old, object);
    json_decref(object);
    json_decref(before);
    json_decref(patch);
}
