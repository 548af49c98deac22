#include "sim_api.h"

#include "sim_proto.h"
#include "sim_util.h"
#include "sim_watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    NAME_MAX_LENGTH = 253,          /* DNS-1123 subdomain */
    GENERATED_PREFIX_LENGTH = 58,   /* names.maxGeneratedNameLength: 63 - 5 */
    GENERATED_SUFFIX_LENGTH = 5,
    GENERATE_TRIES = 8,
};

static const char user_name[] = "kubesim";

/* {name, group, kind} as errors have it; group is left out when it is core's. */
static json_t *details_make(const char *name, const char *group, const char *kind)
{
    json_t *details = json_object();

    if (*name)
        json_object_set_new(details, "name", json_string(name));
    if (*group)
        json_object_set_new(details, "group", json_string(group));
    json_object_set_new(details, "kind", json_string(kind));
    return details;
}

static json_t *details_of(const struct sim_resource *res, const char *name)
{
    return details_make(name, res->group, res->plural);
}

static void reply_not_found(struct sim_reply *reply, const struct sim_resource *res, const char *name)
{
    sim_reply_error(reply, 404, NULL, details_of(res, name), "%s \"%s\" not found", res->qualified, name);
}

static void reply_invalid(struct sim_reply *reply, const struct sim_resource *res, const char *name, const char *field,
                          const char *problem)
{
    json_t *details = details_make(name, res->group, res->kind);

    json_object_set_new(details, "causes", json_pack("[{s:s,s:s,s:s}]", "reason", "FieldValueInvalid", "message",
                                                     problem, "field", field));
    sim_reply_error(reply, 422, NULL, details, "%s%s%s \"%s\" is invalid: %s: %s", res->kind, *res->group ? "." : "",
                    res->group, name, field, problem);
}

static void reply_modified(struct sim_reply *reply, const struct sim_resource *res, const char *name)
{
    sim_reply_error(reply, 409, NULL, details_of(res, name), "Operation cannot be fulfilled on %s \"%s\": the object has "
                    "been modified; please apply your changes to the latest version and try again", res->qualified, name);
}

void sim_api_forbid(const struct sim_request *req, struct sim_reply *reply)
{
    const struct sim_resource *res = req->resource;
    const char *group = res ? res->group : "authorization.k8s.io";
    char *where = *req->ns ? sim_format("in the namespace \"%s\"", req->ns) : sim_strdup("at the cluster scope");
    char *name = *req->name ? sim_format(" \"%s\"", req->name) : sim_strdup("");

    if (req->route == SIM_ROUTE_RESOURCE || req->route == SIM_ROUTE_REVIEW) {
        const char *plural = res ? res->plural : "selfsubjectaccessreviews";

        sim_reply_error(reply, 403, NULL, details_make(req->name, group, plural),
                        "%s%s%s%s is forbidden: User \"%s\" cannot %s resource \"%s\" in API group \"%s\" %s", plural,
                        *group ? "." : "", group, name, user_name, req->verb, req->resource_name, group, where);
    } else {
        sim_reply_error(reply, 403, NULL, json_object(), "forbidden: User \"%s\" cannot %s path \"%s\"", user_name,
                        req->verb, req->path);
    }
    free(where);
    free(name);
}

/* ---- get and list ---- */

static void serve_get(struct sim_request *req, struct sim_reply *reply)
{
    struct sim_version *version = sim_store_get(req->sim->store, req->resource, req->ns, req->name);

    if (version)
        sim_reply_object(reply, 200, req->resource, version);
    else
        reply_not_found(reply, req->resource, req->name);
}

/* What the continue parameter says. Opaque to clients: base64 of JSON, as the real one's. */
struct list_token {
    uint64_t snapshot;
    uint64_t offset;
    char *start;                /* the last key sent: for going on without the snapshot */
    bool inconsistent;
};

static char *token_encode(const struct list_token *token, uint64_t rv)
{
    json_t *json = json_pack("{s:s,s:I,s:s,s:I,s:I}", "v", "meta.k8s.io/v1", "rv",
                             token->inconsistent ? (json_int_t)-1 : (json_int_t)rv, "start", token->start, "s",
                             (json_int_t)token->snapshot, "o", (json_int_t)token->offset);
    char *text = json_dumps(json, JSON_COMPACT);
    char *encoded = sim_base64_encode(text, strlen(text));

    json_decref(json);
    free(text);
    /* URL-safe and without padding, as the real server's: a client may forget to escape it. */
    for (char *p = encoded; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p == '=' ? '\0' : *p;
    return encoded;
}

static bool token_decode(const char *text, struct list_token *ret)
{
    char *copy = sim_strdup(text);
    size_t length = 0;
    json_int_t rv = 0;
    json_int_t snapshot = 0;
    json_int_t offset = 0;
    const char *start = NULL;

    for (char *p = copy; *p; p++)
        *p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
    char *decoded = sim_base64_decode(copy, &length);
    json_t *json = decoded ? json_loadb(decoded, length, 0, NULL) : NULL;
    bool good = json && json_unpack(json, "{s:I,s:s,s:I,s:I}", "rv", &rv, "start", &start, "s", &snapshot, "o",
                                    &offset) == 0 && snapshot >= 0 && offset >= 0;

    if (good)
        *ret = (struct list_token){.snapshot = (uint64_t)snapshot,
                                   .offset = (uint64_t)offset,
                                   .start = sim_strdup(start),
                                   .inconsistent = rv == -1};
    json_decref(json);
    free(decoded);
    free(copy);
    return good;
}

struct list_page {
    struct sim_version **items; /* borrowed from the snapshot, or owned */
    size_t count;
    uint64_t offset;
    uint64_t rv;
    uint64_t snapshot;          /* 0: none yet */
};

static void reply_continue_expired(struct sim_reply *reply, struct list_token *token)
{
    char *text;
    json_t *status = sim_status_make(
        410, "Expired", NULL,
        "The provided continue parameter is too old to display a consistent list result. You can start a new list "
        "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
        "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
        "modified, or deleted between the time the first chunk was returned and now may show up in the list.");

    token->inconsistent = true;
    token->snapshot = 0;
    token->offset = 0;
    text = token_encode(token, 0);
    json_object_set_new(json_object_get(status, "metadata"), "continue", json_string(text));
    free(text);
    sim_reply_json(reply, 410, status);
}

/* Finds the page's objects: those of the snapshot a token names, or a new listing. */
static bool list_find(struct sim_request *req, struct sim_reply *reply, const struct sim_selector *sel,
                      struct list_page *page)
{
    struct sim_store *store = req->sim->store;
    const char *ns = *req->ns ? req->ns : NULL;
    const char *text = sim_request_query(req, "continue");
    struct list_token token = {0};

    if (text && *text) {
        if (!token_decode(text, &token)) {
            sim_reply_error(reply, 400, NULL, NULL, "continue key is not valid: illegal base64 data or encoding");
            return false;
        }
        struct sim_snapshot *snapshot = sim_store_find_snapshot(store, req->resource, token.snapshot);

        if (!token.inconsistent && (!snapshot || token.offset > snapshot->count)) {
            reply_continue_expired(reply, &token);
            free(token.start);
            return false;
        }
        if (!token.inconsistent) {
            *page = (struct list_page){.items = snapshot->items, .count = snapshot->count, .offset = token.offset,
                                       .rv = snapshot->rv, .snapshot = snapshot->id};
            free(token.start);
            return true;
        }
    }
    *page = (struct list_page){.rv = sim_store_rv(store)};
    page->items = sim_store_list(store, req->resource, ns, token.start, sel, &page->count);
    free(token.start);
    return true;
}

static void list_write(struct sim_request *req, struct sim_reply *reply, const struct list_page *page, uint64_t end,
                       const char *token, bool tell_rest)
{
    const struct sim_resource *res = req->resource;
    json_t *metadata = json_object();
    char *text;
    char *head;

    json_object_set_new(metadata, "resourceVersion", json_sprintf("%" PRIu64, page->rv));
    if (token) {
        json_object_set_new(metadata, "continue", json_string(token));
        if (tell_rest)
            json_object_set_new(metadata, "remainingItemCount", json_integer((json_int_t)(page->count - end)));
    }
    text = json_dumps(metadata, JSON_COMPACT);
    head = sim_format("{\"kind\":\"%sList\",\"apiVersion\":\"%s\",\"metadata\":%s,\"items\":[", res->kind,
                      res->api_version, text);
    json_decref(metadata);
    free(text);
    sim_reply_add_owned(reply, head, strlen(head));
    if (req->action && req->action->raw && page->offset == 0)
        sim_reply_add(reply, req->action->raw, req->action->raw_length);
    for (uint64_t i = page->offset; i < end; i++) {
        if (i > page->offset)
            sim_reply_add(reply, ",", 1);
        sim_reply_add_version(reply, page->items[i], 0);
    }
    sim_reply_add_text(reply, "]}\n");
}

static void list_page_serve(struct sim_request *req, struct sim_reply *reply, const struct sim_selector *sel,
                            uint64_t limit)
{
    struct list_page page;
    char *encoded = NULL;
    bool owned;

    if (!list_find(req, reply, sel, &page))
        return;
    owned = page.snapshot == 0;
    uint64_t end = limit && page.count - page.offset > limit ? page.offset + limit : page.count;

    if (end < page.count) {
        if (owned) {
            struct sim_snapshot *snapshot = sim_store_add_snapshot(req->sim->store, req->resource, page.items, page.count);

            owned = false;
            page.snapshot = snapshot->id;
        }
        struct list_token token = {.snapshot = page.snapshot, .offset = end, .start = page.items[end - 1]->key};

        encoded = token_encode(&token, page.rv);
    }
    list_write(req, reply, &page, end, encoded, sim_selector_is_empty(sel));
    free(encoded);
    for (size_t i = 0; owned && i < page.count; i++)
        sim_version_unref(page.items[i]);
    if (owned)
        free(page.items);
}

static void serve_list(struct sim_request *req, struct sim_reply *reply, const struct sim_selector *sel)
{
    const char *limit_text = sim_request_query(req, "limit");
    const char *rv_text = sim_request_query(req, "resourceVersion");
    const char *token = sim_request_query(req, "continue");
    uint64_t limit = 0;
    uint64_t rv = 0;

    if (limit_text && *limit_text && !sim_parse_uint(limit_text, &limit)) {
        sim_reply_error(reply, 400, NULL, NULL, "strconv.ParseInt: parsing \"%s\": invalid syntax", limit_text);
        return;
    }
    if (rv_text && *rv_text && !sim_parse_uint(rv_text, &rv)) {
        sim_reply_error(reply, 400, NULL, NULL, "resourceVersion: Invalid value: \"%s\": strconv.ParseUint: parsing "
                        "\"%s\": invalid syntax", rv_text, rv_text);
        return;
    }
    if (token && *token && rv_text && *rv_text && rv != 0) {
        sim_reply_error(reply, 400, NULL, NULL, "specifying resource version is not allowed when using continue");
        return;
    }
    if (rv > sim_store_rv(req->sim->store)) {
        sim_reply_error(reply, 504, "Timeout", json_pack("{s:[{s:s,s:s}],s:i}", "causes", "reason",
                                                         "ResourceVersionTooLarge", "message",
                                                         "Too large resource version", "retryAfterSeconds", 1),
                        "Timeout: Too large resource version: %" PRIu64 ", current: %" PRIu64, rv,
                        sim_store_rv(req->sim->store));
        return;
    }
    /* From the watch cache, which knows no pages: the real server ignores limit for resourceVersion=0. */
    if (rv_text && strcmp(rv_text, "0") == 0 && !(token && *token))
        limit = 0;
    list_page_serve(req, reply, sel, limit);
}

static void serve_collection(struct sim_request *req, struct sim_reply *reply)
{
    char *error = NULL;
    struct sim_selector *sel = sim_selector_parse(sim_request_query(req, "labelSelector"),
                                                  sim_request_query(req, "fieldSelector"), &error);

    if (!sel) {
        sim_reply_error(reply, 400, NULL, NULL, "%s", error);
        free(error);
        return;
    }
    if (strcmp(req->verb, "watch") == 0) {
        sim_watch_begin(req, reply, sel);
        return;
    }
    serve_list(req, reply, sel);
    sim_selector_destroy(sel);
}

/* ---- writing ---- */

static bool dry_run(const struct sim_request *req)
{
    const char *value = sim_request_query(req, "dryRun");

    return value && strcmp(value, "All") == 0;
}

static bool content_type_is(const struct sim_request *req, const char *type)
{
    const char *value = sim_request_header(req, "Content-Type");
    size_t length = strlen(type);

    return value && strncasecmp(value, type, length) == 0 && (value[length] == '\0' || strchr("; ", value[length]));
}

/* The body as a JSON object; NULL after having answered. */
static json_t *body_parse(struct sim_request *req, struct sim_reply *reply)
{
    json_error_t error;
    json_t *body;

    if (!req->body) {
        sim_reply_error(reply, 400, NULL, NULL, "the body of the request was empty");
        return NULL;
    }
    if (content_type_is(req, "application/vnd.kubernetes.protobuf")) {
        body = sim_proto_decode(req->body, req->body_length);
        if (!body)
            sim_reply_error(reply, 415, NULL, json_object(), "the body of the request was in an unknown format - accepted "
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

static bool metadata_is_sound(const json_t *metadata)
{
    static const char *const strings[] = {"name",         "generateName",      "namespace", "uid", "resourceVersion",
                                          "deletionTimestamp", "creationTimestamp"};

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
    json_object_foreach(labels, key, value) {
        if (!json_is_string(value))
            return false;
    }
    json_object_foreach(annotations, key, value) {
        if (!json_is_string(value))
            return false;
    }
    return true;
}

/* Types that Go's decoder would refuse, kind and apiVersion of something else. Answers when it is not good. */
static bool object_check(struct sim_request *req, struct sim_reply *reply, json_t *object)
{
    const struct sim_resource *res = req->resource;
    json_t *metadata = json_object_get(object, "metadata");
    json_t *kind = json_object_get(object, "kind");
    json_t *api_version = json_object_get(object, "apiVersion");
    json_t *spec = json_object_get(object, "spec");
    json_t *status = json_object_get(object, "status");

    if ((kind && !json_is_string(kind)) || (api_version && !json_is_string(api_version)) || !json_is_object(metadata) ||
        !metadata_is_sound(metadata) || (spec && !json_is_object(spec) && !json_is_null(spec)) ||
        (status && !json_is_object(status) && !json_is_null(status))) {
        sim_reply_error(reply, 400, NULL, NULL, "%s in version \"%s\" cannot be handled as a %s: json: cannot unmarshal a "
                        "field into a Go struct of another type", res->kind, res->version, res->kind);
        return false;
    }
    if ((kind && strcmp(json_string_value(kind), res->kind) != 0) ||
        (api_version && strcmp(json_string_value(api_version), res->api_version) != 0)) {
        sim_reply_error(reply, 400, NULL, NULL, "the API version or kind in the data (%s, %s) does not match the expected "
                        "(%s, %s)", api_version ? json_string_value(api_version) : "", kind ? json_string_value(kind) : "",
                        res->api_version, res->kind);
        return false;
    }
    return true;
}

static bool name_is_valid(const char *name)
{
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
static bool object_take_namespace(struct sim_request *req, struct sim_reply *reply, json_t *metadata)
{
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

static void job_set_defaults(json_t *object, const char *uid)
{
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
static void object_stamp(const struct sim_resource *res, json_t *object)
{
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
static bool object_take_name(struct sim_request *req, struct sim_reply *reply, json_t *metadata)
{
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
        sim_reply_error(reply, 422, NULL, details_make("", res->group, res->kind), "%s%s%s \"\" is invalid: "
                        "[metadata.name: Required value: name or generateName is required]", res->kind,
                        *res->group ? "." : "", res->group);
        return false;
    }
    if (!name_is_valid(name)) {
        reply_invalid(reply, res, name, "metadata.name", "Invalid value: a lowercase RFC 1123 subdomain must consist of "
                      "lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
                      "character");
        return false;
    }
    return true;
}

/* Is there a namespace to create it in? */
static bool namespace_check(struct sim_request *req, struct sim_reply *reply, const char *name)
{
    const struct sim_resource *namespaces = sim_store_resource(req->sim->store, SIM_NAMESPACES);
    struct sim_version *ns;

    if (!req->resource->namespaced)
        return true;
    ns = sim_store_get(req->sim->store, namespaces, "", req->ns);
    if (!ns) {
        reply_not_found(reply, namespaces, req->ns);
        return false;
    }
    if (ns->terminating) {
        sim_reply_error(reply, 403, NULL, details_of(req->resource, name), "%s \"%s\" is forbidden: unable to create new "
                        "content in namespace %s because it is being terminated", req->resource->qualified, name, req->ns);
        return false;
    }
    return true;
}

/* Answers with a tree that is not in the store. Takes nothing. */
static void reply_tree(struct sim_reply *reply, int status, const struct sim_resource *res, json_t *object)
{
    json_t *shown = json_pack("{s:s,s:s}", "kind", res->kind, "apiVersion", res->api_version);

    json_object_update_missing(shown, object);
    sim_reply_json(reply, status, shown);
}

static void object_create(struct sim_request *req, struct sim_reply *reply, json_t *object)
{
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
    if (sim_store_get(req->sim->store, res, req->ns, name)) {
        sim_reply_error(reply, 409, "AlreadyExists", details_of(res, name), "%s \"%s\" already exists", res->qualified,
                        name);
        return;
    }
    object_stamp(res, object);
    if (dry_run(req)) {
        reply_tree(reply, 201, res, object);
        return;
    }
    sim_reply_object(reply, 201, res, sim_store_insert(req->sim->store, res, object));
}

static void serve_create(struct sim_request *req, struct sim_reply *reply)
{
    json_t *object = body_parse(req, reply);

    if (!object)
        return;
    if (!json_object_get(object, "metadata"))
        json_object_set_new(object, "metadata", json_object());
    if (object_check(req, reply, object))
        object_create(req, reply, object);
    json_decref(object);
}

static void member_copy(json_t *to, const json_t *from, const char *key)
{
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
static void update_keep(const struct sim_request *req, json_t *object, const json_t *before)
{
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
static void object_update(struct sim_request *req, struct sim_reply *reply, struct sim_version *old, json_t *object)
{
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
        sim_reply_error(reply, 409, NULL, details_of(res, req->name), "Operation cannot be fulfilled on %s \"%s\": "
                        "StorageError: invalid object, Code: 4, Key: /registry/%s/%s, ResourceVersion: 0, "
                        "AdditionalErrorMsg: Precondition failed: UID in precondition: %s, UID in object meta: %s",
                        res->qualified, req->name, res->plural, old->key, uid, old->uid);
        return;
    }
    if (!(rv && *rv) && !res->blind_update && strcmp(req->verb, "update") == 0) {
        reply_invalid(reply, res, req->name, "metadata.resourceVersion",
                      "Invalid value: 0x0: must be specified for an update");
        return;
    }
    json_t *before = sim_version_object(old);

    update_keep(req, object, before);
    json_decref(before);
    if (dry_run(req)) {
        reply_tree(reply, 200, res, object);
        return;
    }
    struct sim_version *version = sim_store_settle(req->sim->store, res, old, object);

    if (version)
        sim_reply_object(reply, 200, res, version);
    else
        reply_tree(reply, 200, res, object);
}

static void serve_update(struct sim_request *req, struct sim_reply *reply)
{
    struct sim_version *old = sim_store_get(req->sim->store, req->resource, req->ns, req->name);
    json_t *object;

    object = body_parse(req, reply);
    if (!object)
        return;
    if (object_check(req, reply, object)) {
        if (old) {
            object_update(req, reply, old, object);
        } else if (req->resource->update_creates && !*req->subresource) {
            json_object_del(json_object_get(object, "metadata"), "resourceVersion");
            object_create(req, reply, object);
        } else {
            reply_not_found(reply, req->resource, req->name);
        }
    }
    json_decref(object);
}

/* RFC 7386. Returns a new reference. Directives of strategic merge patches are skipped. */
static json_t *merge_patch(json_t *target, json_t *patch)
{
    const char *key;
    json_t *value;

    if (!json_is_object(patch))
        return json_incref(patch);
    json_t *result = json_is_object(target) ? json_copy(target) : json_object();

    json_object_foreach(patch, key, value) {
        if (key[0] == '$')
            continue;
        if (json_is_null(value))
            json_object_del(result, key);
        else
            json_object_set_new(result, key, merge_patch(json_object_get(result, key), value));
    }
    return result;
}

static void serve_patch(struct sim_request *req, struct sim_reply *reply)
{
    struct sim_version *old = sim_store_get(req->sim->store, req->resource, req->ns, req->name);
    json_t *before;
    json_t *patch;
    json_t *object;

    if (!content_type_is(req, "application/merge-patch+json") &&
        !content_type_is(req, "application/strategic-merge-patch+json")) {
        sim_reply_error(reply, 415, NULL, NULL, "the body of the request was in an unknown format - accepted media types "
                        "include: application/merge-patch+json, application/strategic-merge-patch+json");
        return;
    }
    patch = body_parse(req, reply);
    if (!patch)
        return;
    if (!old) {
        reply_not_found(reply, req->resource, req->name);
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

/* ---- delete ---- */

bool sim_api_parse_delete(const struct sim_request *req, struct sim_delete_options *ret)
{
    struct sim_delete_options options = {.dry_run = dry_run(req)};
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

static bool propagation_parse(const char *text, enum sim_propagation *ret)
{
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
                               const struct sim_delete_options *options)
{
    const struct sim_resource *res = req->resource;
    const char *dot = *res->group ? "." : "";
    uint64_t rv = 0;

    if (options->uid && strcmp(options->uid, version->uid) != 0) {
        sim_reply_error(reply, 409, NULL, details_make(req->name, res->group, res->kind), "Operation cannot be fulfilled "
                        "on %s%s%s \"%s\": the UID in the precondition (%s) does not match the UID in record (%s). The "
                        "object might have been deleted and then recreated", res->kind, dot, res->group, req->name,
                        options->uid, version->uid);
        return false;
    }
    if (options->rv && (!sim_parse_uint(options->rv, &rv) || rv != version->rv)) {
        sim_reply_error(reply, 409, NULL, details_make(req->name, res->group, res->kind), "Operation cannot be fulfilled "
                        "on %s%s%s \"%s\": the ResourceVersion in the precondition (%s) does not match the "
                        "ResourceVersion in record (%" PRIu64 "). The object might have been modified", res->kind, dot,
                        res->group, req->name, options->rv, version->rv);
        return false;
    }
    return true;
}

static void object_delete(struct sim_request *req, struct sim_reply *reply, const struct sim_delete_options *options)
{
    const struct sim_resource *res = req->resource;
    struct sim_store *store = req->sim->store;
    struct sim_version *version = sim_store_get(store, res, req->ns, req->name);
    enum sim_propagation propagation;
    json_t *details;

    if (!propagation_parse(options->propagation, &propagation)) {
        sim_reply_error(reply, 422, NULL, json_pack("{s:s,s:s}", "group", "meta.k8s.io", "kind", "DeleteOptions"),
                        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"%s\": "
                        "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"", options->propagation);
        return;
    }
    if (!version) {
        reply_not_found(reply, res, req->name);
        return;
    }
    if (!preconditions_hold(req, reply, version, options))
        return;
    details = details_of(res, req->name);
    json_object_set_new(details, "uid", json_string(version->uid));
    if (!options->dry_run) {
        struct sim_version *left = sim_store_delete(store, res, version, propagation);

        if (left) {
            json_decref(details);
            sim_reply_object(reply, 200, res, left);
            return;
        }
    }
    sim_reply_json(reply, 200, json_pack("{s:s,s:s,s:{},s:s,s:o}", "kind", "Status", "apiVersion", "v1", "metadata",
                                         "status", "Success", "details", details));
}

static void serve_delete(struct sim_request *req, struct sim_reply *reply)
{
    struct sim_delete_options options;

    if (!sim_api_parse_delete(req, &options)) {
        sim_reply_error(reply, 400, NULL, NULL, "couldn't get version/kind; json parse error: invalid DeleteOptions");
        return;
    }
    object_delete(req, reply, &options);
    json_decref(options.tree);
}

void sim_api_serve(struct sim_request *req, struct sim_reply *reply)
{
    bool whole_cluster = req->resource->namespaced && !*req->ns;

    if (strcmp(req->verb, "list") == 0 || strcmp(req->verb, "watch") == 0)
        serve_collection(req, reply);
    else if (strcmp(req->verb, "get") == 0)
        serve_get(req, reply);
    else if (strcmp(req->verb, "create") == 0 && !*req->name && !whole_cluster)
        serve_create(req, reply);
    else if (strcmp(req->verb, "update") == 0 && *req->name)
        serve_update(req, reply);
    else if (strcmp(req->verb, "patch") == 0 && *req->name)
        serve_patch(req, reply);
    else if (strcmp(req->verb, "delete") == 0 && !*req->subresource)
        serve_delete(req, reply);
    else
        sim_reply_error(reply, 405, NULL, json_object(), "the server does not allow this method on the requested resource");
}

/* ---- access reviews ---- */

static const char *attribute(const json_t *attributes, const char *key)
{
    const char *value = json_string_value(json_object_get(attributes, key));

    return value ? value : "";
}

void sim_api_review(struct sim_request *req, struct sim_reply *reply)
{
    json_t *review = strcmp(req->verb, "create") == 0 ? body_parse(req, reply) : NULL;
    json_t *spec = json_object_get(review, "spec");
    json_t *attributes = json_object_get(spec, "resourceAttributes");
    json_t *path = json_object_get(spec, "nonResourceAttributes");
    struct sim_call call;
    char *resource;
    bool denied;

    if (strcmp(req->verb, "create") != 0) {
        sim_reply_error(reply, 405, NULL, json_object(), "the server does not allow this method on the requested resource");
        return;
    }
    if (!review)
        return;
    if (!json_is_object(attributes) == !json_is_object(path)) {
        sim_reply_error(reply, 422, NULL, NULL, "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: "
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
