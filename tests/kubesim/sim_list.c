#include "sim_encode.h"
#include "sim_select.h"
#include "sim_util.h"
#include "sim_verbs.h"
#include "sim_watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What the continue parameter says. Opaque to clients: base64 of JSON, as the real one's. */
struct list_token {
    uint64_t snapshot;
    uint64_t offset;
    char *start; /* the last key sent: for going on without the snapshot */
    bool inconsistent;
};

static char *token_encode(const struct list_token *token, uint64_t rv) {
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

static bool token_decode(const char *text, struct list_token *ret) {
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
    bool good = json &&
                json_unpack(json, "{s:I,s:s,s:I,s:I}", "rv", &rv, "start", &start, "s", &snapshot, "o", &offset) == 0 &&
                snapshot >= 0 && offset >= 0;

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
    uint64_t snapshot; /* 0: none yet */
};

static void reply_continue_expired(struct sim_reply *reply, struct list_token *token) {
    char *text;
    json_t *status = sim_status_make(410, "Expired", NULL,
            "The provided continue parameter is too old to display a consistent list result. You can start a new list "
            "without the continue parameter, or use the continue token in this response to retrieve the remainder of "
            "the "
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
static bool list_find(
        struct sim_request *req, struct sim_reply *reply, const struct sim_selector *sel, struct list_page *page) {
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
            *page = (struct list_page){.items = snapshot->items,
                    .count = snapshot->count,
                    .offset = token.offset,
                    .rv = snapshot->rv,
                    .snapshot = snapshot->id};
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
        const char *token, bool tell_rest) {
    const struct sim_resource *res = req->resource;
    json_t *metadata = json_object();
    const struct sim_action *action = page->offset == 0 ? req->action : NULL;
    char *text;
    char *head;

    json_object_set_new(metadata, "resourceVersion", json_sprintf("%" PRIu64, page->rv));
    if (token) {
        json_object_set_new(metadata, "continue", json_string(token));
        if (tell_rest)
            json_object_set_new(metadata, "remainingItemCount", json_integer((json_int_t)(page->count - end)));
    }
    if (sim_encode_applies(reply, res)) {
        sim_encode_list(reply, res, metadata, page->items + page->offset, end - page->offset,
                action ? action->raw : NULL, action ? action->raw_length : 0);
        json_decref(metadata);
        return;
    }
    text = json_dumps(metadata, JSON_COMPACT);
    head = sim_format("{\"kind\":\"%sList\",\"apiVersion\":\"%s\",\"metadata\":%s,\"items\":[", res->kind,
            res->api_version, text);
    json_decref(metadata);
    free(text);
    sim_reply_add_owned(reply, head, strlen(head));
    if (action && action->raw)
        sim_reply_add(reply, action->raw, action->raw_length);
    for (uint64_t i = page->offset; i < end; i++) {
        if (i > page->offset)
            sim_reply_add(reply, ",", 1);
        sim_reply_add_version(reply, page->items[i], 0);
    }
    sim_reply_add_text(reply, "]}\n");
}

static void list_page_serve(
        struct sim_request *req, struct sim_reply *reply, const struct sim_selector *sel, uint64_t limit) {
    struct list_page page;
    char *encoded = NULL;
    bool owned;

    if (!list_find(req, reply, sel, &page))
        return;
    owned = page.snapshot == 0;
    uint64_t end = limit && page.count - page.offset > limit ? page.offset + limit : page.count;

    if (end < page.count) {
        if (owned) {
            struct sim_snapshot *snapshot =
                    sim_store_add_snapshot(req->sim->store, req->resource, page.items, page.count);

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

static void serve_list(struct sim_request *req, struct sim_reply *reply, const struct sim_selector *sel) {
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
        sim_reply_error(reply, 400, NULL, NULL,
                "resourceVersion: Invalid value: \"%s\": strconv.ParseUint: parsing "
                "\"%s\": invalid syntax",
                rv_text, rv_text);
        return;
    }
    if (token && *token && rv_text && *rv_text && rv != 0) {
        sim_reply_error(reply, 400, NULL, NULL, "specifying resource version is not allowed when using continue");
        return;
    }
    if (rv > sim_store_rv(req->sim->store)) {
        sim_reply_error(reply, 504, "Timeout",
                json_pack("{s:[{s:s,s:s}],s:i}", "causes", "reason", "ResourceVersionTooLarge", "message",
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

void sim_collection_serve(struct sim_request *req, struct sim_reply *reply) {
    char *error = NULL;
    char *one = *req->name ? sim_format("metadata.name=%s", req->name) : NULL;
    struct sim_selector *sel = sim_selector_parse(
            sim_request_query(req, "labelSelector"), one ? one : sim_request_query(req, "fieldSelector"), &error);

    free(one);
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
