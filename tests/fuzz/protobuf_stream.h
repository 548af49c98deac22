/*
 * What fuzz_protobuf_list and fuzz_protobuf_watch share: any bytes as an answer in protobuf. However they are cut, the
 * same comes of them, and every Job that is handed over can be decoded, told and recorded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../protobuf/tell.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "jobs/job_object_protobuf.h"
#include "kube/protostream.h"

#define ensure(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

#define TOLD_MAX (64u << 20)
#define CUT_EVERYWHERE 64 /* bytes: inputs up to this are cut in two at every place there is */

enum { WHOLE, BY_BYTE, BY_ITSELF /* in pieces as long as the input's own bytes say */, WAYS };

struct seen {
    struct strbuf text;
    int result;
    struct error err;
};

static void check_object(const struct job_object *object) {
    for (size_t i = 0; i < object->n_labels; i++) {
        const struct job_pair *pair = &object->labels[i];
        ensure(text_is_utf8(pair->key, strlen(pair->key)) && text_is_utf8(pair->value, pair->value_len));
        ensure(i == 0 || strcmp(object->labels[i - 1].key, pair->key) < 0);
    }
    ensure(object->ttl_s >= JOB_COUNT_NONE && object->ttl_s <= SPEC_TTL_MAX_S);
    ensure(!object->json && !object->template && object->finalizers[JOB_FINALIZERS_MAX - 1] == '\0');
}

static int see_object(struct seen *seen, const struct job_object *object) {
    check_object(object);
    tell_object(&seen->text, object);
    ensure(tell_consequences(&seen->text, object));
    return 0;
}

static int see_item(void *arg, const void *object) {
    return see_object(arg, object);
}

static int see_list(void *arg, const char *version, const char *token) {
    struct seen *seen = arg;
    strbuf_add_format(&seen->text, "list %s %s\n", version, token);
    return 0;
}

static int see_event(void *arg, const struct protostream_event *event) {
    struct seen *seen = arg;
    ensure(event->type && (!event->object || !event->is_status));
    strbuf_add_format(&seen->text, "event %s %s %d %lld %s\n", event->type,
            event->resource_version ? event->resource_version : "none", event->is_status, (long long)event->code,
            event->message ? event->message : "none");
    return event->object ? see_object(seen, event->object) : 0;
}

static int see_unreadable(void *arg, const char *why) {
    struct seen *seen = arg;
    strbuf_add_format(&seen->text, "unreadable %s\n", why);
    return 0;
}

/* how: one of these, or WAYS + n: cut in two after n bytes. */
static size_t piece_of(int how, const char *data, size_t size, size_t at) {
    if (how < WAYS)
        return how == WHOLE ? size : how == BY_BYTE ? 1 : ((unsigned char)data[at] & 15u) + 1;
    return at == 0 && how > WAYS ? (size_t)(how - WAYS) : size;
}

static void read_stream(enum protostream_mode mode, const char *data, size_t size, int how, struct seen *seen) {
    const struct protostream_handler handler = {
            .arg = seen, .item = see_item, .list = see_list, .event = see_event, .unreadable = see_unreadable};
    struct protostream *stream = protostream_create(mode, &job_protobuf_codec, &handler, NULL);
    ensure(stream);
    *seen = (struct seen){.text = STRBUF_INIT(TOLD_MAX)};
    for (size_t at = 0; at < size && seen->result == 0;) {
        size_t n = piece_of(how, data, size, at);
        n = n < size - at ? n : size - at;
        seen->result = protostream_push(stream, data + at, n, &seen->err);
        at += n;
    }
    if (seen->result == 0)
        seen->result = protostream_end(stream, &seen->err);
    ensure(seen->result == 0 || (seen->result == -1 && seen->err.text[0] && seen->err.kind != ERROR_NOMEM));
    protostream_destroy(stream);
}

static void check_same(const struct seen *a, const struct seen *b) {
    ensure(a->result == b->result && a->text.len == b->text.len);
    ensure(a->text.len == 0 || memcmp(a->text.data, b->text.data, a->text.len) == 0);
    ensure(a->err.kind == b->err.kind && strcmp(a->err.text, b->err.text) == 0);
}

static int check_stream(enum protostream_mode mode, const uint8_t *data, size_t size) {
    /* Never NULL, and what has no end is read past it. */
    char *text = calloc(1, size ? size : 1);
    ensure(text);
    if (size)
        memcpy(text, data, size);
    struct seen seen;
    read_stream(mode, text, size, WHOLE, &seen);
    int ways = WAYS + (size <= CUT_EVERYWHERE ? (int)size : 0);
    for (int how = BY_BYTE; how < ways; how++) {
        struct seen other;
        read_stream(mode, text, size, how, &other);
        check_same(&seen, &other);
        strbuf_finish(&other.text);
    }
    strbuf_finish(&seen.text);
    free(text);
    return 0;
}
