#include "sim_request.h"
#include "sim_util.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_PARTS = 9 };

const char *sim_request_query(const struct sim_request *req, const char *key) {
    const char *value = NULL;
    size_t size = 0;

    if (MHD_lookup_connection_value_n(req->connection, MHD_GET_ARGUMENT_KIND, key, strlen(key), &value, &size) !=
            MHD_YES)
        return NULL;
    return value ? value : "";
}

const char *sim_request_header(const struct sim_request *req, const char *key) {
    return MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, key);
}

bool sim_request_flag(const struct sim_request *req, const char *key) {
    const char *value = sim_request_query(req, key);

    return value && strcasecmp(value, "false") != 0 && strcmp(value, "0") != 0;
}

const char *sim_request_namespace(const struct sim_request *req) {
    return req->resource && req->resource->id == SIM_NAMESPACES ? req->name : req->ns;
}

struct sim_call sim_request_call(const struct sim_request *req) {
    return (struct sim_call){.verb = req->verb,
            .resource = req->resource_name,
            .ns = sim_request_namespace(req),
            .name = req->name,
            .path = req->path};
}

/* Splits in place. Returns how many parts; too many are MAX_PARTS, which no route has. */
static size_t path_split(char *path, char *parts[MAX_PARTS]) {
    size_t count = 0;
    char *rest = path;

    for (char *part = strsep(&rest, "/"); part; part = strsep(&rest, "/")) {
        if (!*part)
            continue;
        if (count == MAX_PARTS)
            return MAX_PARTS;
        parts[count++] = part;
    }
    return count;
}

static const struct sim_resource *resource_find(
        const struct sim_store *store, const char *group, const char *version, const char *plural) {
    for (int i = 0; i < SIM_RESOURCE_COUNT; i++) {
        const struct sim_resource *res = sim_store_resource(store, (enum sim_resource_id)i);

        if (strcmp(res->group, group) == 0 && strcmp(res->version, version) == 0 && strcmp(res->plural, plural) == 0)
            return res;
    }
    return NULL;
}

static bool group_is_served(const struct sim_store *store, const char *group, const char *version) {
    for (int i = 0; i < SIM_RESOURCE_COUNT; i++) {
        const struct sim_resource *res = sim_store_resource(store, (enum sim_resource_id)i);

        if (strcmp(res->group, group) == 0 && strcmp(res->version, version) == 0)
            return true;
    }
    return strcmp(group, "authorization.k8s.io") == 0 && strcmp(version, "v1") == 0;
}

static void text_set(char **field, const char *text) {
    free(*field);
    *field = sim_strdup(text);
}

/* parts: what follows the group and version. */
static enum sim_route route_resource(
        struct sim_request *req, const char *group, const char *version, char **parts, size_t count) {
    struct sim_store *store = req->sim->store;
    const char *plural = parts[0];
    bool with_namespace = false;

    req->watch_prefix = count > 1 && strcmp(plural, "watch") == 0 && strcmp(req->method, "GET") == 0;
    if (req->watch_prefix) {
        parts++;
        count--;
        plural = parts[0];
    }
    if (strcmp(group, "authorization.k8s.io") == 0)
        return count == 1 && strcmp(plural, "selfsubjectaccessreviews") == 0 ? SIM_ROUTE_REVIEW : SIM_ROUTE_NO_RESOURCE;
    if (strcmp(plural, "namespaces") == 0 && count >= 3 &&
            !(count == 3 && *group == '\0' && (strcmp(parts[2], "status") == 0 || strcmp(parts[2], "finalize") == 0))) {
        with_namespace = true;
        text_set(&req->ns, parts[1]);
        parts += 2;
        count -= 2;
        plural = parts[0];
    }
    req->resource = resource_find(store, group, version, plural);
    if (!req->resource || count > 3 || req->resource->namespaced != with_namespace) {
        /* The whole cluster: the collection only. */
        if (!req->resource || with_namespace || count != 1)
            return SIM_ROUTE_NO_RESOURCE;
    }
    if (count > 1)
        text_set(&req->name, parts[1]);
    if (count > 2)
        text_set(&req->subresource, parts[2]);
    if (count > 2 && !(strcmp(parts[2], "status") == 0 && req->resource->has_status))
        return SIM_ROUTE_NO_RESOURCE;
    free(req->resource_name);
    req->resource_name = *req->subresource ? sim_format("%s/%s", plural, req->subresource) : sim_strdup(plural);
    return SIM_ROUTE_RESOURCE;
}

static enum sim_route route_path(struct sim_request *req, char **parts, size_t count) {
    struct sim_store *store = req->sim->store;

    if (count > 0 && strcmp(parts[0], "kubesim") == 0)
        return SIM_ROUTE_CONTROL;
    if (count == 1) {
        static const char *const known[] = {"api", "apis", "version", "healthz", "readyz", "livez"};

        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            if (strcmp(parts[0], known[i]) == 0)
                return SIM_ROUTE_DISCOVERY;
        }
        return SIM_ROUTE_UNKNOWN;
    }
    if (count == 0 || count == MAX_PARTS)
        return SIM_ROUTE_UNKNOWN;
    if (strcmp(parts[0], "openapi") == 0)
        return count == 2 && strcmp(parts[1], "v2") == 0 ? SIM_ROUTE_DISCOVERY : SIM_ROUTE_UNKNOWN;
    if (strcmp(parts[0], "api") == 0) {
        if (strcmp(parts[1], "v1") != 0)
            return SIM_ROUTE_UNKNOWN;
        return count == 2 ? SIM_ROUTE_DISCOVERY : route_resource(req, "", "v1", parts + 2, count - 2);
    }
    if (strcmp(parts[0], "apis") != 0)
        return SIM_ROUTE_UNKNOWN;
    if (count == 2 || (count == 3 && group_is_served(store, parts[1], parts[2])))
        return SIM_ROUTE_DISCOVERY;
    if (!group_is_served(store, parts[1], parts[2]))
        return SIM_ROUTE_UNKNOWN;
    return route_resource(req, parts[1], parts[2], parts + 3, count - 3);
}

static const char *verb_of(const struct sim_request *req) {
    if (strcmp(req->method, "POST") == 0)
        return "create";
    if (strcmp(req->method, "PUT") == 0)
        return "update";
    if (strcmp(req->method, "PATCH") == 0)
        return "patch";
    if (strcmp(req->method, "DELETE") == 0)
        return req->route == SIM_ROUTE_RESOURCE && !*req->name ? "deletecollection" : "delete";
    if (req->route == SIM_ROUTE_RESOURCE && req->watch_prefix)
        return "watch";
    if (req->route == SIM_ROUTE_RESOURCE && !*req->name)
        return sim_request_flag(req, "watch") ? "watch" : "list";
    return "get";
}

void sim_request_route(struct sim_request *req) {
    char *copy = sim_strdup(req->path);
    char *parts[MAX_PARTS];
    size_t count = path_split(copy, parts);

    text_set(&req->ns, "");
    text_set(&req->name, "");
    text_set(&req->subresource, "");
    text_set(&req->resource_name, "");
    req->route = route_path(req, parts, count);
    if (req->route == SIM_ROUTE_REVIEW)
        text_set(&req->resource_name, "selfsubjectaccessreviews");
    req->verb = verb_of(req);
    free(copy);
}
