#include "sim_load.h"

#include "sim_util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void sim_load_namespace(struct sim_store *store, const char *name, json_t *annotations) {
    const struct sim_resource *res = sim_store_resource(store, SIM_NAMESPACES);
    char uid[SIM_UID_SIZE];
    char now[SIM_TIME_SIZE];
    json_t *object;

    if (sim_store_get(store, res, "", name))
        return;
    sim_uid_make(uid);
    sim_time_format(sim_wall_ms(), now);
    object = json_pack("{s:{s:s,s:s,s:s,s:{s:s}},s:{s:[s]},s:{s:s}}", "metadata", "name", name, "uid", uid,
            "creationTimestamp", now, "labels", "kubernetes.io/metadata.name", name, "spec", "finalizers", "kubernetes",
            "status", "phase", "Active");
    if (annotations)
        json_object_set(json_object_get(object, "metadata"), "annotations", annotations);
    sim_store_insert(store, res, object);
    json_decref(object);
}

static bool load_object(struct sim_store *store, const struct sim_resource *res, json_t *object, char **ret_error) {
    json_t *metadata = json_object_get(object, "metadata");
    const char *name = json_string_value(json_object_get(metadata, "name"));
    const char *ns = json_string_value(json_object_get(metadata, "namespace"));
    char uid[SIM_UID_SIZE];
    struct sim_version *old;

    if (!name || !*name || strchr(name, '/')) {
        *ret_error = sim_format("a %s without metadata.name", res->kind);
        return false;
    }
    if (res->namespaced && (!ns || !*ns)) {
        json_object_set_new(metadata, "namespace", json_string("default"));
        ns = "default";
    }
    if (!res->namespaced)
        json_object_del(metadata, "namespace");
    if (!json_is_string(json_object_get(metadata, "uid"))) {
        sim_uid_make(uid);
        json_object_set_new(metadata, "uid", json_string(uid));
    }
    if (res->namespaced)
        sim_load_namespace(store, ns, NULL);
    old = sim_store_get(store, res, ns ? ns : "", name);
    if (old)
        sim_store_replace(store, res, old, object);
    else
        sim_store_insert(store, res, object);
    return true;
}

/* A List of any kind, or one object. */
static bool load_document(struct sim_store *store, json_t *document, size_t *count, char **ret_error) {
    const char *kind = json_string_value(json_object_get(document, "kind"));
    json_t *items = json_object_get(document, "items");
    const struct sim_resource *res;
    json_t *item;
    size_t i;

    if (!json_is_object(document) || !kind) {
        *ret_error = sim_strdup("an object without kind");
        return false;
    }
    if (json_is_array(items)) {
        size_t length = strlen(kind);
        /* The items of a JobList may be without a kind of their own. */
        char *inner = sim_format("%.*s", length > 4 ? (int)(length - 4) : 0, kind);

        json_array_foreach (items, i, item) {
            if (json_is_object(item) && !json_object_get(item, "kind") && *inner)
                json_object_set_new(item, "kind", json_string(inner));
            if (!load_document(store, item, count, ret_error)) {
                free(inner);
                return false;
            }
        }
        free(inner);
        return true;
    }
    res = sim_store_resource_by_kind(store, kind);
    if (!res)
        return true;
    if (!load_object(store, res, document, ret_error))
        return false;
    ++*count;
    return true;
}

bool sim_load_text(struct sim_store *store, const char *text, size_t length, size_t *ret_count, char **ret_error) {
    size_t at = 0;
    size_t count = 0;

    *ret_error = NULL;
    for (;;) {
        json_error_t error;
        json_t *document;
        bool good;

        while (at < length && strchr(" \t\r\n", text[at]) && text[at])
            at++;
        if (at == length)
            break;
        document = json_loadb(text + at, length - at, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &error);
        if (!document) {
            *ret_error = sim_format("not JSON: %s (line %d of the document at byte %zu)", error.text, error.line, at);
            return false;
        }
        at += (size_t)error.position;
        good = load_document(store, document, &count, ret_error);
        json_decref(document);
        if (!good)
            return false;
    }
    *ret_count = count;
    return true;
}

bool sim_load_file(struct sim_store *store, const char *path, size_t *ret_count, char **ret_error) {
    size_t length = 0;
    char *text = sim_file_read(path, &length);
    char *error = NULL;
    bool good;

    if (!text) {
        *ret_error = sim_format("%s: %s", path, strerror(errno));
        return false;
    }
    good = sim_load_text(store, text, length, ret_count, &error);
    free(text);
    if (!good)
        *ret_error = sim_format("%s: %s", path, error);
    free(error);
    return good;
}
