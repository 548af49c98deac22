#include "sim_watch.h"

#include "sim_encode.h"
#include "sim_util.h"

#include "../protobuf/encode.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PEER_CHECK_MS = 250,
    HOLD_MS = 500,                       /* reorderEvents: how long one event waits for another to overtake it */
    DEFAULT_TIMEOUT_MS = 30 * 60 * 1000, /* kube-apiserver --min-request-timeout */
};

struct sim_watch {
    struct sim *sim;
    struct sim_reply *reply;
    const struct sim_resource *resource;
    char *ns;
    char *name; /* of the one object that it is about, "" */
    struct sim_selector *sel;
    char *path;
    uint64_t place;
    struct sim_version **initial; /* a watch from "now": all there is, first */
    size_t initial_count;
    size_t initial_at;
    bool bookmarks;
    bool finished;
    bool raw_sent;
    json_t *error;    /* sent as an ERROR event, and then the end */
    uint64_t last_rv; /* of the last event, for bookmarks */
    int64_t began_ms;
    int64_t deadline_ms;
    int64_t bookmark_ms;
    enum sim_event_type held_type;
    struct sim_version *held;
    int64_t held_until_ms;
    struct sim_watch *next;
    struct sim_watch **link; /* what points at this one */
};

static json_t *expired_make(uint64_t asked, uint64_t oldest) {
    char *text = sim_format("too old resource version: %" PRIu64 " (%" PRIu64 ")", asked, oldest);
    json_t *status = sim_status_make(410, "Expired", NULL, text);

    free(text);
    return status;
}

static bool watch_take_query(struct sim_watch *watch, const struct sim_request *req, struct sim_reply *reply) {
    const char *rv_text = sim_request_query(req, "resourceVersion");
    const char *timeout_text = sim_request_query(req, "timeoutSeconds");
    struct sim_store *store = req->sim->store;
    uint64_t timeout_s = 0;
    uint64_t rv = 0;
    uint64_t oldest = 0;

    if (timeout_text && *timeout_text && (!sim_parse_uint(timeout_text, &timeout_s) || timeout_s > INT32_MAX)) {
        sim_reply_error(reply, 400, NULL, NULL, "strconv.ParseInt: parsing \"%s\": invalid syntax", timeout_text);
        return false;
    }
    if (rv_text && *rv_text && !sim_parse_uint(rv_text, &rv)) {
        sim_reply_error(reply, 400, NULL, NULL,
                "resourceVersion: Invalid value: \"%s\": strconv.ParseUint: "
                "parsing \"%s\": invalid syntax",
                rv_text, rv_text);
        return false;
    }
    watch->bookmarks = sim_request_flag(req, "allowWatchBookmarks");
    watch->began_ms = sim_mono_ms();
    watch->deadline_ms = watch->began_ms + (timeout_s ? (int64_t)timeout_s * 1000 : DEFAULT_TIMEOUT_MS);
    watch->bookmark_ms = watch->began_ms + req->sim->opt.bookmark_ms;
    watch->last_rv = rv;
    watch->place = sim_store_log_end(store, watch->resource);
    if (rv == 0)
        watch->initial = sim_store_list(store, watch->resource, watch->ns, NULL, watch->sel, &watch->initial_count);
    else if (!sim_store_seek(store, watch->resource, rv, &watch->place, &oldest))
        watch->error = expired_make(rv, oldest);
    return true;
}

void sim_watch_begin(struct sim_request *req, struct sim_reply *reply, struct sim_selector *sel) {
    struct sim_watch *watch = sim_alloc(sizeof(*watch));

    watch->sim = req->sim;
    watch->reply = reply;
    watch->resource = req->resource;
    watch->ns = *req->ns ? sim_strdup(req->ns) : NULL;
    watch->name = sim_strdup(req->name);
    watch->path = sim_strdup(req->path);
    watch->sel = sel;
    watch->next = req->sim->watches;
    watch->link = &req->sim->watches;
    if (watch->next)
        watch->next->link = &watch->next;
    req->sim->watches = watch;
    reply->watch = watch;
    if (!watch_take_query(watch, req, reply))
        watch->finished = true;
    else if (sim_encode_applies(reply, watch->resource))
        reply->content_type = PROTO_WATCH_CONTENT_TYPE;
}

void sim_watch_destroy(struct sim_watch *watch) {
    if (!watch)
        return;
    pthread_mutex_lock(&watch->sim->lock);
    *watch->link = watch->next;
    if (watch->next)
        watch->next->link = watch->link;
    pthread_mutex_unlock(&watch->sim->lock);
    for (size_t i = watch->initial_at; i < watch->initial_count; i++)
        sim_version_unref(watch->initial[i]);
    free(watch->initial);
    free(watch->ns);
    free(watch->name);
    free(watch->path);
    sim_selector_destroy(watch->sel);
    sim_version_unref(watch->held);
    json_decref(watch->error);
    free(watch);
}

static void watch_send_raw(struct sim_watch *watch, struct sim_reply *reply) {
    const struct sim_action *action = reply->action;

    if (!action || !action->raw || watch->raw_sent)
        return;
    char *copy = sim_alloc(action->raw_length + 1);

    memcpy(copy, action->raw, action->raw_length);
    sim_reply_add_owned(reply, copy, action->raw_length);
    watch->raw_sent = true;
}

/* An event that is made up here: the encoding is the only difference. Takes event. */
static void watch_send_json(struct sim_watch *watch, struct sim_reply *reply, json_t *event) {
    char *text;

    watch_send_raw(watch, reply);
    if (sim_encode_applies(reply, watch->resource)) {
        sim_encode_json_event(reply, event);
    } else {
        text = json_dumps(event, JSON_COMPACT);
        sim_reply_add_owned(reply, text, strlen(text));
        sim_reply_add_text(reply, "\n");
    }
    json_decref(event);
}

static void watch_send_error(struct sim_watch *watch, struct sim_reply *reply, json_t *status) {
    watch_send_json(watch, reply, json_pack("{s:s,s:O}", "type", "ERROR", "object", status));
    watch->finished = true;
}

static void watch_send_text(
        struct sim_watch *watch, struct sim_reply *reply, const char *type, struct sim_version *version) {
    char *head = sim_format("{\"type\":\"%s\",\"object\":", type);

    sim_reply_add_owned(reply, head, strlen(head));
    sim_reply_add_object(reply, watch->resource, version);
    sim_reply_add_text(reply, "}\n");
}

static void watch_send(
        struct sim_watch *watch, struct sim_reply *reply, enum sim_event_type type, struct sim_version *version) {
    static const char *const types[] = {[SIM_ADDED] = "ADDED", [SIM_MODIFIED] = "MODIFIED", [SIM_DELETED] = "DELETED"};
    int times = reply->action && reply->action->duplicate ? 2 : 1;

    watch_send_raw(watch, reply);
    while (times-- > 0 && !watch->error) {
        if (!sim_encode_applies(reply, watch->resource))
            watch_send_text(watch, reply, types[type], version);
        else if (!sim_encode_event(reply, watch->resource, types[type], version, &watch->error))
            watch_send_error(watch, reply, watch->error);
    }
}

static void watch_send_bookmark(struct sim_watch *watch, struct sim_reply *reply) {
    uint64_t rv = sim_store_rv(watch->sim->store);

    /* A client that came with a resourceVersion of the future is not to be sent back. */
    if (rv < watch->last_rv)
        rv = watch->last_rv;
    watch_send_json(watch, reply,
            json_pack("{s:s,s:{s:s,s:s,s:{s:o}}}", "type", "BOOKMARK", "object", "kind", watch->resource->kind,
                    "apiVersion", watch->resource->api_version, "metadata", "resourceVersion",
                    json_sprintf("%" PRIu64, rv)));
    watch->bookmark_ms = sim_mono_ms() + watch->sim->opt.bookmark_ms;
}

/*
 * What an event is to this watch: an object that comes into the selection is ADDED, one that leaves it is DELETED, with
 * its last selected state and the event's resourceVersion. NULL: nothing. A reference.
 */
static struct sim_version *event_seen(
        const struct sim_watch *watch, const struct sim_event *event, enum sim_event_type *ret_type) {
    const struct sim_version *before = event->before;
    const struct sim_version *now = event->now;
    bool was = before && sim_selector_match(watch->sel, before->labels, before->ns, before->name);
    bool is = event->type != SIM_DELETED && sim_selector_match(watch->sel, now->labels, now->ns, now->name);

    if ((watch->ns && strcmp(watch->ns, now->ns) != 0) || (!was && !is))
        return NULL;
    if (is) {
        *ret_type = was ? SIM_MODIFIED : SIM_ADDED;
        return sim_version_ref(event->now);
    }
    *ret_type = SIM_DELETED;
    return event->type == SIM_DELETED ? sim_version_ref(event->now) : sim_version_restamp(before, event->rv);
}

/* One event out of the log, or held back. True if something is to be sent. */
static bool watch_take_event(struct sim_watch *watch, struct sim_reply *reply, const struct sim_event *event) {
    enum sim_event_type type = SIM_ADDED;
    struct sim_version *version;

    if (event->rv <= watch->last_rv)
        return false;
    version = event_seen(watch, event, &type);
    watch->last_rv = event->rv;
    if (!version)
        return false;
    if (reply->action && reply->action->reorder && !watch->held) {
        watch->held = version;
        watch->held_type = type;
        watch->held_until_ms = sim_mono_ms() + HOLD_MS;
        return false;
    }
    watch_send(watch, reply, type, version);
    sim_version_unref(version);
    return true;
}

static bool watch_release_held(struct sim_watch *watch, struct sim_reply *reply) {
    if (!watch->held)
        return false;
    watch_send(watch, reply, watch->held_type, watch->held);
    sim_version_unref(watch->held);
    watch->held = NULL;
    return true;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Locked. What can be said without waiting; SIM_WATCH_MORE with nothing added to reply: wait until *ret_wake_ms. */
static enum sim_watch_step watch_step(struct sim_watch *watch, struct sim_reply *reply, int64_t *ret_wake_ms) {
    const struct sim_action *action = reply->action;
    int64_t now = sim_mono_ms();
    int64_t deadline = watch->deadline_ms;

    if (watch->sim->stopping || (action && action->drop) || sim_peer_gone(reply->fd))
        return SIM_WATCH_CUT;
    if (watch->finished)
        return SIM_WATCH_END;
    if (action && action->watch_gone && !watch->error)
        watch->error = sim_status_make(410, "Expired", NULL,
                action->message ? action->message : "The resourceVersion for the provided watch is too old.");
    if (watch->error) {
        watch_send_error(watch, reply, watch->error);
        return SIM_WATCH_MORE;
    }
    if (watch->initial_at < watch->initial_count) {
        struct sim_version *version = watch->initial[watch->initial_at++];

        watch_send(watch, reply, SIM_ADDED, version);
        sim_version_unref(version);
        return SIM_WATCH_MORE;
    }
    while (watch->place < sim_store_log_end(watch->sim->store, watch->resource)) {
        const struct sim_event *event = sim_store_event(watch->sim->store, watch->resource, watch->place);

        /* Too slow for the log: the real server ends such a watch without a word. */
        if (!event)
            return SIM_WATCH_END;
        watch->place++;
        if (watch_take_event(watch, reply, event)) {
            watch_release_held(watch, reply);
            return SIM_WATCH_MORE;
        }
    }
    if (watch->held && now >= watch->held_until_ms) {
        watch_release_held(watch, reply);
        return SIM_WATCH_MORE;
    }
    if (action && action->watch_end_after_ms >= 0)
        deadline = least(deadline, watch->began_ms + action->watch_end_after_ms);
    if (now >= deadline)
        return SIM_WATCH_END;
    if (watch->bookmarks && !watch->held && now >= watch->bookmark_ms) {
        watch_send_bookmark(watch, reply);
        return SIM_WATCH_MORE;
    }
    *ret_wake_ms = least(deadline, now + PEER_CHECK_MS);
    if (watch->bookmarks)
        *ret_wake_ms = least(*ret_wake_ms, watch->bookmark_ms);
    if (watch->held)
        *ret_wake_ms = watch->held_until_ms;
    return SIM_WATCH_MORE;
}

enum sim_watch_step sim_watch_next(struct sim_watch *watch, struct sim_reply *reply) {
    enum sim_watch_step step;
    int64_t wake_ms = 0;
    uint64_t sent = reply->sent;
    const struct sim_action *before;

    pthread_mutex_lock(&watch->sim->lock);
    before = reply->action;
    for (;;) {
        step = watch_step(watch, reply, &wake_ms);
        /* A new action may stall or cut before anything else is said: let the reader look. */
        if (step != SIM_WATCH_MORE || reply->count > 0 || reply->action != before || reply->sent != sent)
            break;
        sim_wait(watch->sim, wake_ms);
    }
    pthread_mutex_unlock(&watch->sim->lock);
    return step;
}

void sim_watch_apply_live(struct sim *sim) {
    for (struct sim_watch *watch = sim->watches; watch; watch = watch->next) {
        struct sim_call call = {.verb = "watch",
                .resource = watch->resource->plural,
                .ns = watch->ns                               ? watch->ns
                      : watch->resource->id == SIM_NAMESPACES ? watch->name
                                                              : "",
                .name = watch->name,
                .path = watch->path};
        struct sim_action *action = sim_faults_take_live(sim->faults, &call);

        if (!action)
            continue;
        sim_action_unref(watch->reply->action);
        watch->reply->action = action;
        watch->reply->sent = 0;
        watch->raw_sent = false;
        watch->began_ms = sim_mono_ms();
    }
    pthread_cond_broadcast(&sim->changed);
}

size_t sim_watch_count(const struct sim *sim, enum sim_resource_id id) {
    size_t count = 0;

    for (const struct sim_watch *watch = sim->watches; watch; watch = watch->next)
        count += watch->resource->id == id;
    return count;
}
