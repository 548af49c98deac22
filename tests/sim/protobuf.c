/* What an API server sends to who prefers protobuf: made from the JSON of render.c, once for each entry. */
#include <stdlib.h>
#include <string.h>

#include "../protobuf/encode.h"
#include "cluster.h"
#include "server.h"

#define JSON_MAX (1u << 20)

bool protobuf_is_spoken(const char *const *headers) {
    for (; world->flavor.protobuf && *headers; headers++) {
        if (strncmp(*headers, "Accept: ", 8) == 0)
            return proto_is_preferred(*headers + 8);
    }
    return false;
}

/* Takes the data, which is there: nothing is rendered that cannot be said. */
static void add(struct strbuf *buf, char *data, size_t len) {
    if (!data)
        abort();
    strbuf_add(buf, data, len);
    free(data);
}

/* The Job of an entry as a message. Borrowed from the entry. */
static const struct entry *encode(int entry) {
    struct entry *e = entry_at(entry);
    struct proto_encoder enc = {0};
    struct strbuf json = STRBUF_INIT(JSON_MAX);
    if (e->message)
        return e;
    render_object(&json, entry);
    json_t *object = json_loadb(strbuf_text(&json), json.len, 0, NULL);
    e->message = proto_encode_message(&enc, "Job", object, &e->message_len);
    if (!e->message)
        abort();
    json_decref(object);
    strbuf_finish(&json);
    return e;
}

void protobuf_add_item(struct strbuf *buf, int entry) {
    const struct entry *e = encode(entry);
    char head[PROTO_ITEM_HEAD_SIZE];
    strbuf_add(buf, head, proto_item_head(e->message_len, head));
    strbuf_add(buf, e->message, e->message_len);
}

void protobuf_add_unreadable_item(struct strbuf *buf) {
    static const char item[] = {0x12, 4, 0x0a, 0, 0x0a, 0}; /* metadata is there twice */
    strbuf_add(buf, item, sizeof item);
}

void protobuf_finish_list(struct reply *reply, const char *resource_version, const char *continue_token) {
    struct strbuf whole = STRBUF_INIT(reply->body.limit);
    struct proto_encoder enc = {0};
    size_t len = 0;
    json_t *metadata = json_pack("{s:s, s:s}", "resourceVersion", resource_version, "continue", continue_token);
    char *head = proto_list_head(&enc, "batch/v1", "JobList", metadata, reply->body.len, &len);
    add(&whole, head, len);
    for (int i = 0; i < reply->n_marks; i++)
        reply->marks[i].end += len;
    strbuf_add(&whole, strbuf_text(&reply->body), reply->body.len);
    strbuf_add(&whole, proto_tail, PROTO_TAIL_LENGTH);
    strbuf_finish(&reply->body);
    reply->body = whole;
    json_decref(metadata);
}

void protobuf_add_event(struct strbuf *buf, const char *type, int entry) {
    const struct entry *e = encode(entry);
    size_t len = 0;
    char *head = proto_event_head(type, "batch/v1", "Job", e->message_len, &len);
    add(buf, head, len);
    strbuf_add(buf, e->message, e->message_len);
    strbuf_add(buf, proto_tail, PROTO_TAIL_LENGTH);
}

void protobuf_add_made_up_event(struct strbuf *buf, const char *type, json_t *object) {
    struct proto_encoder enc = {0};
    size_t len = 0;
    json_t *event = json_pack("{s:s, s:o}", "type", type, "object", object);
    char *data = proto_encode_event(&enc, event, &len);
    add(buf, data, len);
    json_decref(event);
}

void protobuf_add_status(struct strbuf *buf, int status, const char *reason, const char *message) {
    struct proto_encoder enc = {0};
    size_t len = 0;
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i}", "kind", "Status", "apiVersion", "v1", "status",
            status < 400 ? "Success" : "Failure", "reason", reason, "message", message, "code", status);
    char *data = proto_encode_object(&enc, object, &len);
    add(buf, data, len);
    json_decref(object);
}
