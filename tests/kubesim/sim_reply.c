#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sim_reply.h"

#include "sim_encode.h"
#include "sim_util.h"
#include "sim_watch.h"

#include <microhttpd.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { PEER_CHECK_MS = 250 };

static const char type_json[] = "application/json";

struct sim_reply *sim_reply_create(struct sim *sim, int fd) {
    struct sim_reply *reply = sim_alloc(sizeof(*reply));

    reply->sim = sim;
    reply->fd = fd;
    reply->status = 200;
    reply->content_type = type_json;
    return reply;
}

void sim_reply_clear(struct sim_reply *reply) {
    for (size_t i = 0; i < reply->count; i++) {
        free(reply->segments[i].owned);
        sim_version_unref(reply->segments[i].version);
    }
    reply->count = 0;
    reply->at = 0;
    reply->offset = 0;
    reply->total = 0;
}

void sim_reply_destroy(void *cls) {
    struct sim_reply *reply = cls;

    if (!reply)
        return;
    sim_watch_destroy(reply->watch);
    sim_reply_clear(reply);
    free(reply->segments);
    sim_action_unref(reply->action);
    free(reply);
}

static struct sim_segment *segment_add(struct sim_reply *reply, const char *data, size_t length) {
    if (reply->count == reply->capacity) {
        reply->capacity = reply->capacity ? reply->capacity * 2 : 16;
        reply->segments = realloc(reply->segments, reply->capacity * sizeof(*reply->segments));
        if (!reply->segments)
            abort();
    }
    struct sim_segment *segment = &reply->segments[reply->count++];

    *segment = (struct sim_segment){.data = data, .length = length};
    reply->total += length;
    return segment;
}

void sim_reply_add(struct sim_reply *reply, const char *data, size_t length) {
    segment_add(reply, data, length);
}

void sim_reply_add_text(struct sim_reply *reply, const char *text) {
    segment_add(reply, text, strlen(text));
}

void sim_reply_add_owned(struct sim_reply *reply, char *text, size_t length) {
    segment_add(reply, text, length)->owned = text;
}

void sim_reply_add_version(struct sim_reply *reply, struct sim_version *version, size_t skip) {
    segment_add(reply, version->text + skip, version->length - skip)->version = sim_version_ref(version);
}

void sim_reply_add_proto(struct sim_reply *reply, struct sim_version *version) {
    segment_add(reply, version->proto, version->proto_length)->version = sim_version_ref(version);
}

void sim_reply_add_object(struct sim_reply *reply, const struct sim_resource *res, struct sim_version *version) {
    sim_reply_add_text(reply, res->prefix);
    sim_reply_add_version(reply, version, 1);
}

void sim_reply_json(struct sim_reply *reply, int status, json_t *json) {
    char *text;

    sim_reply_clear(reply);
    reply->status = status;
    /* A fault may have given it a type of its own. */
    if (reply->protobuf && reply->content_type == type_json && sim_encode_json(reply, json)) {
        json_decref(json);
        return;
    }
    text = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (!text)
        reply->status = 500;
    if (!text)
        text = sim_strdup("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
                          "\"message\":\"kubesim: not UTF-8\",\"reason\":\"InternalError\",\"code\":500}");
    sim_reply_add_owned(reply, text, strlen(text));
    sim_reply_add_text(reply, "\n");
    json_decref(json);
}

void sim_reply_object(
        struct sim_reply *reply, int status, const struct sim_resource *res, struct sim_version *version) {
    if (sim_encode_applies(reply, res)) {
        sim_encode_object(reply, status, res, version);
        return;
    }
    reply->status = status;
    sim_reply_add_object(reply, res, version);
    sim_reply_add_text(reply, "\n");
}

static const char *reason_of(int code) {
    static const struct {
        int code;
        const char *reason;
    } reasons[] = {{400, "BadRequest"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "NotFound"},
            {405, "MethodNotAllowed"}, {406, "NotAcceptable"}, {409, "Conflict"}, {410, "Expired"},
            {413, "RequestEntityTooLarge"}, {422, "Invalid"}, {415, "UnsupportedMediaType"}, {429, "TooManyRequests"},
            {500, "InternalError"}, {503, "ServiceUnavailable"}, {504, "Timeout"}};

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].code == code)
            return reasons[i].reason;
    }
    return "";
}

json_t *sim_status_make(int code, const char *reason, json_t *details, const char *message) {
    json_t *status = json_pack("{s:s,s:s,s:{},s:s,s:s,s:s}", "kind", "Status", "apiVersion", "v1", "metadata", "status",
            "Failure", "message", message, "reason", reason ? reason : reason_of(code));

    if (details)
        json_object_set_new(status, "details", details);
    json_object_set_new(status, "code", json_integer(code));
    return status;
}

void sim_reply_error(struct sim_reply *reply, int code, const char *reason, json_t *details, const char *format, ...) {
    va_list ap;
    char *message = NULL;

    va_start(ap, format);
    if (vasprintf(&message, format, ap) < 0)
        abort();
    va_end(ap);
    sim_reply_json(reply, code, sim_status_make(code, reason, details, message));
    free(message);
}

bool sim_peer_gone(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

void sim_peer_reset(int fd) {
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};

    /* Linux: dissolves the association, and an established one by RST (tcp_disconnect). */
    (void)connect(fd, &nobody, sizeof(nobody));
}

/* Silence, until the client goes or the server does. */
static void reply_stall(struct sim_reply *reply) {
    struct sim *sim = reply->sim;

    pthread_mutex_lock(&sim->lock);
    while (!sim->stopping && !sim_peer_gone(reply->fd))
        sim_wait(sim, sim_mono_ms() + PEER_CHECK_MS);
    pthread_mutex_unlock(&sim->lock);
}

static size_t limit(size_t max, int64_t until, uint64_t sent) {
    return until >= 0 && (uint64_t)until - sent < max ? (size_t)((uint64_t)until - sent) : max;
}

/* As much as fits of what is ready. */
static size_t reply_copy(struct sim_reply *reply, char *buf, size_t max) {
    size_t n = 0;

    while (n < max && reply->at < reply->count) {
        const struct sim_segment *segment = &reply->segments[reply->at];
        size_t part = segment->length - reply->offset;

        if (part > max - n)
            part = max - n;
        if (part > 0)
            memcpy(buf + n, segment->data + reply->offset, part);
        n += part;
        reply->offset += part;
        if (reply->offset == segment->length) {
            reply->at++;
            reply->offset = 0;
        }
    }
    /* What a watch has sent is done with; the objects of a list are kept until its end. */
    if (reply->watch && reply->at == reply->count)
        sim_reply_clear(reply);
    return n;
}

/* Bytes that the action lets through now; 0 after cutting or stalling. */
static size_t action_admit(struct sim_reply *reply, const struct sim_action *action, size_t max) {
    if (action->truncate_after >= 0 && reply->sent >= (uint64_t)action->truncate_after) {
        if (action->reset)
            sim_peer_reset(reply->fd);
        return 0;
    }
    if (action->stall_after >= 0 && reply->sent >= (uint64_t)action->stall_after) {
        reply_stall(reply);
        return 0;
    }
    max = limit(max, action->truncate_after, reply->sent);
    max = limit(max, action->stall_after, reply->sent);
    if (action->bytes_per_write > 0 && (uint64_t)action->bytes_per_write < max)
        max = (size_t)action->bytes_per_write;
    return max;
}

static struct sim_action *reply_take_action(struct sim_reply *reply) {
    struct sim_action *action;

    pthread_mutex_lock(&reply->sim->lock);
    action = reply->action ? sim_action_ref(reply->action) : NULL;
    pthread_mutex_unlock(&reply->sim->lock);
    return action;
}

ssize_t sim_reply_read(void *cls, uint64_t pos, char *buf, size_t max) {
    struct sim_reply *reply = cls;

    (void)pos;
    for (;;) {
        struct sim_action *action = reply_take_action(reply);
        size_t admitted = action ? action_admit(reply, action, max) : max;
        int64_t pause_ms = action ? action->write_every_ms : 0;

        sim_action_unref(action);
        if (admitted == 0)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (reply->at < reply->count) {
            if (pause_ms > 0)
                sim_sleep(reply->sim, pause_ms);
            size_t n = reply_copy(reply, buf, admitted);

            pthread_mutex_lock(&reply->sim->lock);
            reply->sent += n;
            reply->sim->bytes_sent += (int64_t)n;
            pthread_mutex_unlock(&reply->sim->lock);
            return (ssize_t)n;
        }
        if (!reply->watch)
            return MHD_CONTENT_READER_END_OF_STREAM;
        switch (sim_watch_next(reply->watch, reply)) {
        case SIM_WATCH_MORE:
            break;
        case SIM_WATCH_END:
            return MHD_CONTENT_READER_END_OF_STREAM;
        case SIM_WATCH_CUT:
            action = reply_take_action(reply);
            if (action && action->reset)
                sim_peer_reset(reply->fd);
            sim_action_unref(action);
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
    }
}
