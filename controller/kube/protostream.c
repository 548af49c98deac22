#include "kube/protostream.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FRAME_HEADER 4

/* What stands around the objects. */
enum id {
    ID_NONE,
    ID_TYPE_META,
    ID_KIND,
    ID_RAW,
    ID_CONTENT_ENCODING,
    ID_CONTENT_TYPE,
    ID_LIST_META,
    ID_LIST_VERSION,
    ID_CONTINUE,
    ID_ITEM,
    ID_EVENT_TYPE,
    ID_EVENT_OBJECT,
    ID_EVENT_RAW,
    ID_STATUS_MESSAGE,
    ID_STATUS_REASON,
    ID_STATUS_CODE
};

#define TABLE(fields_, ...) \
    { .fields = (fields_), .n_fields = sizeof(fields_) / sizeof(fields_)[0], __VA_ARGS__ }

/* runtime.TypeMeta, runtime.Unknown, runtime.RawExtension */
static const struct protobuf_field type_meta_fields[] = {{2, PROTOBUF_TEXT, .id = ID_KIND}};
static const struct protobuf_message type_meta = TABLE(type_meta_fields);
static const struct protobuf_field unknown_fields[] = {{1, PROTOBUF_MESSAGE, .id = ID_TYPE_META, .message = &type_meta},
        {2, PROTOBUF_MESSAGE, .id = ID_RAW}, {3, PROTOBUF_TEXT, .id = ID_CONTENT_ENCODING},
        {4, PROTOBUF_TEXT, .id = ID_CONTENT_TYPE}};
static const struct protobuf_message unknown = TABLE(unknown_fields, .magic = "k8s\0", .magic_len = 4);
static const struct protobuf_field raw_extension_fields[] = {
        {1, PROTOBUF_MESSAGE, .id = ID_EVENT_RAW, .message = &unknown}};
static const struct protobuf_message raw_extension = TABLE(raw_extension_fields);

/* meta/v1: WatchEvent, Status, ListMeta */
static const struct protobuf_field event_fields[] = {{1, PROTOBUF_TEXT, .id = ID_EVENT_TYPE},
        {2, PROTOBUF_MESSAGE, .id = ID_EVENT_OBJECT, .message = &raw_extension}};
static const struct protobuf_message watch_event = TABLE(event_fields);
static const struct protobuf_field status_fields[] = {{3, PROTOBUF_TEXT, .id = ID_STATUS_MESSAGE},
        {4, PROTOBUF_TEXT, .id = ID_STATUS_REASON}, {6, PROTOBUF_NUMBER, .id = ID_STATUS_CODE}};
static const struct protobuf_message status = TABLE(status_fields);
static const struct protobuf_field list_meta_fields[] = {
        {2, PROTOBUF_TEXT, .id = ID_LIST_VERSION}, {3, PROTOBUF_TEXT, .id = ID_CONTINUE}};
static const struct protobuf_message list_meta = TABLE(list_meta_fields);

struct protostream {
    enum protostream_mode mode;
    const struct protobuf_codec *codec; /* NULL: a Status is all that is wanted */
    struct protostream_handler handler;
    void *builder;
    struct protobuf_reader *reader;
    struct protobuf_field list_fields[2];
    struct protobuf_message list;
    struct strbuf kind, type, version, continue_token, message, reason;
    int64_t code;
    bool is_status, has_object;
    bool has_list;
    unsigned char header[FRAME_HEADER]; /* of the frame under way */
    size_t header_len;
    uint64_t frame_left;
};

static int set_text(struct strbuf *field, const char *text, size_t len, struct error *err) {
    strbuf_clear(field);
    strbuf_add(field, text, len);
    if (!strbuf_failed(field))
        return 0;
    return field->no_memory ? error_nomem(err)
                            : error_set(err, ERROR_LIMIT, "a text is larger than %zu bytes", field->limit);
}

static int on_number(void *arg, unsigned id, uint64_t value, struct error *err) {
    struct protostream *s = arg;
    if (id >= PROTOBUF_CODEC_IDS)
        return s->codec->visitor.number(s->builder, id, value, err);
    if (id == ID_STATUS_CODE)
        s->code = (int32_t)value;
    return 0;
}

static int on_text(void *arg, unsigned id, const char *text, size_t len, struct error *err) {
    struct protostream *s = arg;
    if (id >= PROTOBUF_CODEC_IDS)
        return s->codec->visitor.text(s->builder, id, text, len, err);
    switch ((enum id)id) {
    case ID_KIND:
        return set_text(&s->kind, text, len, err);
    case ID_LIST_VERSION:
        return set_text(&s->version, text, len, err);
    case ID_CONTINUE:
        return set_text(&s->continue_token, text, len, err);
    case ID_EVENT_TYPE:
        return set_text(&s->type, text, len, err);
    case ID_STATUS_REASON:
        return set_text(&s->reason, text, len, err);
    case ID_STATUS_MESSAGE:
        return set_text(&s->message, text, len < PROTOSTREAM_MESSAGE_MAX ? len : PROTOSTREAM_MESSAGE_MAX, err);
    case ID_CONTENT_ENCODING:
        return len ? error_set(err, ERROR_FORMAT, "the object has an encoding of its own") : 0;
    case ID_CONTENT_TYPE:
        return len && !(len == strlen(PROTOSTREAM_TYPE) && memcmp(text, PROTOSTREAM_TYPE, len) == 0)
                       ? error_set(err, ERROR_FORMAT, "the object is not protobuf")
                       : 0;
    default:
        return 0;
    }
}

static bool kind_is(const struct protostream *s, const char *kind) {
    return strcmp(strbuf_text(&s->kind), kind) == 0;
}

static void begin_object(struct protostream *s) {
    s->codec->begin(s->builder);
    s->has_object = true;
}

/* What a runtime.Unknown holds is read by the kind that it named before. */
static int open_raw(struct protostream *s, const struct protobuf_message **ret, struct error *err) {
    if (kind_is(s, "Status") && (!s->codec || s->mode == PROTOSTREAM_WATCH)) {
        s->is_status = true;
        *ret = &status;
    } else if (s->codec && s->mode == PROTOSTREAM_WATCH && kind_is(s, s->codec->kind)) {
        begin_object(s);
        *ret = s->codec->message;
    } else if (s->codec && s->mode == PROTOSTREAM_LIST && kind_is(s, s->codec->list_kind)) {
        *ret = &s->list;
    } else if (s->mode == PROTOSTREAM_LIST) {
        return error_set(err, ERROR_FORMAT, "the answer is of the kind \"%s\" instead of \"%s\"", strbuf_text(&s->kind),
                s->codec ? s->codec->list_kind : "Status");
    }
    return 0;
}

static int on_open(void *arg, unsigned id, const struct protobuf_message **message, struct error *err) {
    struct protostream *s = arg;
    if (id >= PROTOBUF_CODEC_IDS)
        return s->codec->visitor.open(s->builder, id, message, err);
    if (id == ID_RAW)
        return open_raw(s, message, err);
    if (id == ID_ITEM)
        begin_object(s);
    return 0;
}

static int end_item(struct protostream *s, struct error *err) {
    const char *version, *why;
    const void *object;
    if (s->codec->finish(s->builder, &object, &version, &why, err) < 0)
        return -1;
    return object ? s->handler.item(s->handler.arg, object) : s->handler.unreadable(s->handler.arg, why);
}

static int on_close(void *arg, unsigned id, struct error *err) {
    struct protostream *s = arg;
    if (id >= PROTOBUF_CODEC_IDS)
        return s->codec->visitor.close(s->builder, id, err);
    if (id == ID_ITEM)
        return end_item(s, err);
    if (id != ID_RAW || s->mode != PROTOSTREAM_LIST)
        return 0;
    s->has_list = true;
    return s->codec ? s->handler.list(s->handler.arg, strbuf_text(&s->version), strbuf_text(&s->continue_token)) : 0;
}

static int on_twice(void *arg, unsigned id, struct error *err) {
    struct protostream *s = arg;
    if (id >= PROTOBUF_CODEC_IDS)
        return s->codec->visitor.twice(s->builder, id, err);
    return error_set(err, ERROR_FORMAT, "not protobuf of Kubernetes': something is there twice");
}

static void init_texts(struct protostream *s) {
    strbuf_init(&s->kind, PROTOSTREAM_WORD_MAX);
    strbuf_init(&s->type, PROTOSTREAM_WORD_MAX);
    strbuf_init(&s->version, PROTOSTREAM_WORD_MAX);
    strbuf_init(&s->continue_token, PROTOSTREAM_WORD_MAX);
    strbuf_init(&s->reason, PROTOSTREAM_WORD_MAX);
    strbuf_init(&s->message, PROTOSTREAM_MESSAGE_MAX);
}

struct protostream *protostream_create(enum protostream_mode mode, const struct protobuf_codec *codec,
        const struct protostream_handler *handler, struct error *err) {
    struct protostream *s = calloc(1, sizeof *s);
    if (!s) {
        error_nomem(err);
        return NULL;
    }
    s->mode = mode;
    s->codec = codec;
    if (handler)
        s->handler = *handler;
    init_texts(s);
    s->list_fields[0] = (struct protobuf_field){1, PROTOBUF_MESSAGE, .id = ID_LIST_META, .message = &list_meta};
    s->list_fields[1] = (struct protobuf_field){
            2, PROTOBUF_MESSAGE, .repeated = true, .id = ID_ITEM, .message = codec ? codec->message : NULL};
    s->list = (struct protobuf_message){.fields = s->list_fields, .n_fields = 2};
    const struct protobuf_visitor visitor = {
            .arg = s, .number = on_number, .text = on_text, .open = on_open, .close = on_close, .twice = on_twice};
    s->reader = protobuf_create(&visitor, err);
    s->builder = s->reader && codec ? codec->create(err) : NULL;
    if (!s->reader || (codec && !s->builder)) {
        protostream_destroy(s);
        return NULL;
    }
    protobuf_begin(s->reader, &unknown, PROTOBUF_TO_THE_END);
    return s;
}

void protostream_destroy(struct protostream *s) {
    if (!s)
        return;
    if (s->builder)
        s->codec->destroy(s->builder);
    protobuf_destroy(s->reader);
    strbuf_finish(&s->kind);
    strbuf_finish(&s->type);
    strbuf_finish(&s->version);
    strbuf_finish(&s->continue_token);
    strbuf_finish(&s->reason);
    strbuf_finish(&s->message);
    free(s);
}

/* ---- frames ---- */

static int begin_frame(struct protostream *s, struct error *err) {
    uint64_t length = 0;
    for (size_t i = 0; i < FRAME_HEADER; i++)
        length = length << 8 | s->header[i];
    if (length > PROTOSTREAM_FRAME_MAX)
        return error_set(err, ERROR_LIMIT, "a frame of the watch is larger than %u bytes", PROTOSTREAM_FRAME_MAX);
    s->frame_left = length;
    s->is_status = s->has_object = false;
    s->code = 0;
    strbuf_clear(&s->kind);
    strbuf_clear(&s->type);
    strbuf_clear(&s->message);
    strbuf_clear(&s->reason);
    protobuf_begin(s->reader, &watch_event, length);
    return 0;
}

static int end_frame(struct protostream *s, struct error *err) {
    s->header_len = 0;
    if (protobuf_end(s->reader, err) < 0)
        return -1;
    struct protostream_event event = {.type = strbuf_text(&s->type), .is_status = s->is_status, .code = s->code};
    const char *why;
    if (s->is_status)
        event.message = s->message.len ? strbuf_text(&s->message) : NULL;
    if (s->has_object && s->codec->finish(s->builder, &event.object, &event.resource_version, &why, err) < 0)
        return -1;
    if (s->has_object && !event.object)
        return s->handler.unreadable(s->handler.arg, why);
    return s->handler.event(s->handler.arg, &event);
}

static int push_frames(struct protostream *s, const char *data, size_t len, struct error *err) {
    for (size_t at = 0; at < len;) {
        if (s->header_len < FRAME_HEADER) {
            s->header[s->header_len++] = (unsigned char)data[at++];
            if (s->header_len < FRAME_HEADER)
                continue;
            if (begin_frame(s, err) < 0)
                return -1;
        }
        size_t n = len - at < s->frame_left ? len - at : (size_t)s->frame_left;
        int result = protobuf_push(s->reader, data + at, n, err);
        if (result)
            return result;
        at += n;
        s->frame_left -= n;
        if (s->frame_left == 0 && (result = end_frame(s, err)))
            return result;
    }
    return 0;
}

int protostream_push(struct protostream *s, const char *data, size_t len, struct error *err) {
    return s->mode == PROTOSTREAM_WATCH ? push_frames(s, data, len, err) : protobuf_push(s->reader, data, len, err);
}

int protostream_end(struct protostream *s, struct error *err) {
    if (s->mode == PROTOSTREAM_LIST && protobuf_end(s->reader, err) < 0)
        return -1;
    if (s->mode == PROTOSTREAM_LIST)
        return s->has_list ? 0 : error_set(err, ERROR_FORMAT, "the answer is empty");
    return s->header_len == 0 ? 0 : error_set(err, ERROR_FORMAT, "the watch ends in the middle of a frame");
}

bool protostream_is_type(const char *content_type) {
    size_t len = strlen(PROTOSTREAM_TYPE);
    return strncasecmp(content_type, PROTOSTREAM_TYPE, len) == 0 && strchr("; \t", content_type[len]);
}

int protostream_read_status(
        const char *data, size_t len, struct strbuf *ret_reason, struct strbuf *ret_message, struct error *err) {
    struct protostream *s = protostream_create(PROTOSTREAM_LIST, NULL, NULL, err);
    int result = s ? protostream_push(s, data, len, err) : -1;
    if (result == 0)
        result = protostream_end(s, err);
    if (result == 0) {
        strbuf_add(ret_reason, strbuf_text(&s->reason), s->reason.len);
        strbuf_add(ret_message, strbuf_text(&s->message), s->message.len);
    }
    if (result == 0 && (strbuf_failed(ret_reason) || strbuf_failed(ret_message)))
        result = error_nomem(err);
    protostream_destroy(s);
    return result;
}
