#include "sim_encode.h"

#include "sim_util.h"

#include "../protobuf/encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXTS_MAX = 9 };

bool sim_encode_applies(const struct sim_reply *reply, const struct sim_resource *res) {
    return reply->protobuf && res->id == SIM_JOBS;
}

bool sim_encode_json(struct sim_reply *reply, const json_t *json) {
    struct proto_encoder enc = {0};
    const char *kind = json_string_value(json_object_get(json, "kind"));
    size_t length = 0;
    char *data;

    if (!kind || (strcmp(kind, "Status") != 0 && strcmp(kind, "Job") != 0))
        return false;
    data = proto_encode_object(&enc, json, &length);
    if (!data)
        return false;
    sim_reply_add_owned(reply, data, length);
    reply->content_type = PROTO_CONTENT_TYPE;
    return true;
}

/* Behind an object that begins here. Its text is JSON, and so it ends. */
static const char *object_end(const char *at) {
    int depth = 0;

    do {
        if (*at == '"') {
            while (*++at != '"')
                at += *at == '\\';
        }
        depth += *at == '{';
        depth -= *at == '}';
        at++;
    } while (depth > 0);
    return at;
}

/*
 * The version as a tree. Most of a Job's text is in managedFields, and goes into protobuf as it stands: it is not
 * parsed, but left to the encoder as texts, each with its number in its place.
 */
static json_t *version_tree(const struct sim_version *version, struct proto_text *texts, size_t *count) {
    static const char mark[] = "\"fieldsV1\":{";
    const char *from = version->text;
    const char *at;
    char *text = sim_alloc(version->length + 1);
    size_t length = 0;
    json_t *tree;

    while (*count < TEXTS_MAX && (at = strstr(from, mark))) {
        struct proto_text *raw = &texts[*count];

        at += sizeof(mark) - 2;
        *raw = (struct proto_text){at, (size_t)(object_end(at) - at)};
        memcpy(text + length, from, (size_t)(at - from));
        length += (size_t)(at - from);
        text[length++] = (char)('0' + (*count)++);
        from = at + raw->length;
    }
    memcpy(text + length, from, (size_t)(version->text + version->length - from));
    length += (size_t)(version->text + version->length - from);
    tree = json_loadb(text, length, JSON_ALLOW_NUL, NULL);
    if (!tree)
        abort();
    free(text);
    return tree;
}

/* Its bytes are in version->proto from now on. A Status otherwise, which is new. */
static json_t *version_encode(const struct sim_resource *res, struct sim_version *version) {
    struct proto_text texts[TEXTS_MAX];
    struct proto_encoder enc = {.texts = texts};
    json_t *status = NULL;

    if (version->proto)
        return NULL;
    json_t *object = version_tree(version, texts, &enc.text_count);

    version->proto = proto_encode_message(&enc, res->kind, object, &version->proto_length);
    if (!version->proto) {
        char *text = sim_format("kubesim: %s \"%s\": %s", res->qualified, version->key, enc.why);

        status = sim_status_make(500, NULL, NULL, text);
        free(text);
    }
    json_decref(object);
    return status;
}

static void add_tail(struct sim_reply *reply) {
    sim_reply_add(reply, proto_tail, PROTO_TAIL_LENGTH);
}

void sim_encode_object(
        struct sim_reply *reply, int status, const struct sim_resource *res, struct sim_version *version) {
    json_t *problem = version_encode(res, version);
    size_t length = 0;
    char *head;

    if (problem) {
        sim_reply_json(reply, 500, problem);
        return;
    }
    head = proto_object_head(res->api_version, res->kind, version->proto_length, &length);
    reply->status = status;
    reply->content_type = PROTO_CONTENT_TYPE;
    sim_reply_add_owned(reply, head, length);
    sim_reply_add_proto(reply, version);
    add_tail(reply);
}

void sim_encode_list(struct sim_reply *reply, const struct sim_resource *res, const json_t *metadata,
        struct sim_version **items, size_t count, const char *raw, size_t raw_length) {
    struct proto_encoder enc = {0};
    char kind[64];
    char *heads = sim_alloc(count * PROTO_ITEM_HEAD_SIZE + 1);
    size_t total = raw_length;
    size_t length = 0;
    char *head;

    (void)snprintf(kind, sizeof(kind), "%sList", res->kind);
    sim_reply_add_owned(reply, heads, 0);
    for (size_t i = 0; i < count; i++) {
        json_t *problem = version_encode(res, items[i]);

        if (problem) {
            sim_reply_json(reply, 500, problem);
            return;
        }
        total += items[i]->proto_length + proto_item_head(items[i]->proto_length, heads + i * PROTO_ITEM_HEAD_SIZE);
    }
    head = proto_list_head(&enc, res->api_version, kind, metadata, total, &length);
    if (!head)
        abort();
    sim_reply_add_owned(reply, head, length);
    reply->content_type = PROTO_CONTENT_TYPE;
    sim_reply_add(reply, raw, raw_length);
    for (size_t i = 0; i < count; i++) {
        char *item = heads + i * PROTO_ITEM_HEAD_SIZE;

        sim_reply_add(reply, item, proto_item_head(items[i]->proto_length, item));
        sim_reply_add_proto(reply, items[i]);
    }
    add_tail(reply);
}

bool sim_encode_event(struct sim_reply *reply, const struct sim_resource *res, const char *type,
        struct sim_version *version, json_t **ret_status) {
    json_t *problem = version_encode(res, version);
    size_t length = 0;
    char *head;

    if (problem) {
        *ret_status = problem;
        return false;
    }
    head = proto_event_head(type, res->api_version, res->kind, version->proto_length, &length);
    sim_reply_add_owned(reply, head, length);
    sim_reply_add_proto(reply, version);
    add_tail(reply);
    return true;
}

void sim_encode_json_event(struct sim_reply *reply, const json_t *event) {
    struct proto_encoder enc = {0};
    size_t length = 0;
    char *data = proto_encode_event(&enc, event, &length);

    if (!data)
        abort();
    sim_reply_add_owned(reply, data, length);
}
