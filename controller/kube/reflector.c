#include "kube/reflector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "kube/framer.h"
#include "kube/protostream.h"

#define PATH_MAX_BYTES 8192
#define WATCH_SHORT_MS 1000         /* a watch that ends sooner ended at once: so there is one a second at most */
#define WATCH_OPEN_TIMEOUT_MS 30000 /* the headers of a watch come at once; who waits for them knows nothing new */
/* The API server takes a NUL in an annotation of anybody's; whether it matters is for those who read it to judge. */
#define REFLECTOR_JSON (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)

/* Protobuf where the server speaks it. */
#define ACCEPT_LIST PROTOSTREAM_TYPE ";q=1, application/json;q=0.9"
#define ACCEPT_WATCH PROTOSTREAM_TYPE ";stream=watch;q=1, application/json;q=0.9"

enum state { IDLE, LISTING, WATCHING, WAITING, STOPPED };

struct reflector {
    struct client *client;
    struct reflector_handler handler;
    char *path, *query;
    char *watch_path; /* NULL: a collection */
    bool list_only;
    int attempts, failures;
    int expired; /* 410s since the last healthy time */

    enum state state;
    struct client_call *call;
    const struct protobuf_codec *codec;       /* NULL: JSON alone */
    const struct protobuf_codec *asked_codec; /* the same, of the request under way */
    struct framer *framer;
    struct protostream *protostream; /* NULL: this answer is JSON */
    struct loop_timer *timer;
    struct backoff backoff;

    bool listed;            /* a list is whole: a watch can begin */
    char *resource_version; /* where it begins; of a single object, what was read */
    char *continue_token;   /* of the list under way */
    bool full_list;         /* a continue token expired: this time without pages */
    const char *gone;       /* why this watch is no good, and another list is needed */
    char event_error[256];  /* an ERROR event other than 410 */
    bool paused;
    int64_t opened_ms;  /* monotonic; 0: not open yet */
    int64_t timeout_ms; /* of the request under way */
    int64_t due_ms;     /* monotonic: it ends by then, or something came later */
    size_t events;
    int short_watches; /* in a row, that brought something and ended all the same */
    bool listed_once, watched_once;
    struct reflector_stats stats;
    struct error parse_error;
};

static void go_on(void *arg);

struct reflector *reflector_create(struct loop *loop, struct client *client, const struct reflector_settings *settings,
        const struct reflector_handler *handler, struct error *err) {
    struct reflector *r = calloc(1, sizeof *r);
    if (!r) {
        error_nomem(err);
        return NULL;
    }
    r->client = client;
    r->handler = *handler;
    r->codec = settings->watch_path ? NULL : settings->codec;
    r->list_only = settings->list_only;
    r->attempts = settings->attempts;
    r->stats.last_heard_ms = TIME_NONE;
    r->backoff = (struct backoff)BACKOFF_INIT(REFLECTOR_BACKOFF_FIRST_MS, REFLECTOR_BACKOFF_LAST_MS);
    r->path = strdup(settings->path);
    r->query = strdup(settings->query);
    r->watch_path = settings->watch_path ? strdup(settings->watch_path) : NULL;
    r->timer = loop_timer_create(loop, go_on, r, err);
    if (!r->path || !r->query || (settings->watch_path && !r->watch_path) || !r->timer) {
        error_nomem(err);
        reflector_destroy(r);
        return NULL;
    }
    return r;
}

void reflector_destroy(struct reflector *r) {
    if (!r)
        return;
    client_cancel(r->call);
    loop_timer_destroy(r->timer);
    framer_destroy(r->framer);
    protostream_destroy(r->protostream);
    free(r->path);
    free(r->query);
    free(r->watch_path);
    free(r->resource_version);
    free(r->continue_token);
    free(r);
}

void reflector_start(struct reflector *r) {
    if (r->state == IDLE)
        go_on(r);
}

struct reflector_stats reflector_stats(const struct reflector *r) {
    return r->stats;
}

void reflector_resume(struct reflector *r) {
    if (!r->paused || !r->call)
        return;
    r->paused = false;
    client_resume(r->call);
}

static void wait_for(struct reflector *r, int64_t wait_ms) {
    r->state = WAITING;
    r->due_ms = clock_mono_ms() + wait_ms;
    loop_timer_start(r->timer, wait_ms);
}

/* Wait, then list or watch again. least_ms: what the server asked for. */
static void fail(struct reflector *r, const char *doing, int status, const char *message, int64_t least_ms) {
    int64_t wait_ms = backoff_take(&r->backoff);
    if (wait_ms < least_ms)
        wait_ms = least_ms;
    r->failures++;
    r->stats.failures++;
    bool final = status == 400 || status == 401 || status == 403 || status == 404;
    bool give_up = r->list_only && (final || r->failures >= r->attempts);
    if (give_up)
        r->state = STOPPED;
    else
        wait_for(r, wait_ms);
    r->handler.failed(r->handler.arg,
            &(struct reflector_failure){
                    .doing = doing, .status = status, .message = message, .retry_in_ms = give_up ? -1 : wait_ms});
}

/* text may be NULL or "": none. */
static int replace_text(char **field, const char *text, struct error *err) {
    if (*field && text && strcmp(*field, text) == 0)
        return 0;
    bool some = text && *text;
    char *copy = some ? strdup(text) : NULL;
    if (some && !copy)
        return error_nomem(err);
    free(*field);
    *field = copy;
    return 0;
}

static void forget_continue(struct reflector *r) {
    free(r->continue_token);
    r->continue_token = NULL;
}

static void forget_list(struct reflector *r) {
    free(r->resource_version);
    r->resource_version = NULL;
    r->listed = false;
    forget_continue(r);
}

/* A new list. The first one after a healthy time comes at once; when 410 comes again and again, a backoff slows it. */
static void list_again(struct reflector *r, const char *doing, const char *message) {
    bool first = r->expired++ == 0;
    forget_list(r);
    if (r->failures == 0) {
        r->failures++;
        wait_for(r, 0);
        return;
    }
    /* Who says 410 is well, whatever was before; but one that says it again and again is not. */
    if (first)
        backoff_reset(&r->backoff);
    fail(r, doing, 410, message, 0);
}

static const char *text_at(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

/* ---- what a list brings ---- */

static int hand_over(struct reflector *r, enum reflector_change change, const struct reflector_item *item) {
    return r->handler.item(r->handler.arg, change, item);
}

/* -1: there was no memory for it. */
static int listed_item(struct reflector *r, const json_t *object, const char *aside, size_t aside_len) {
    const struct reflector_item item = {.json = object, .template = aside, .template_len = aside_len};
    const char *version = text_at(json_object_get(object, "metadata"), "resourceVersion");
    /* Of one object this is all there is to tell that it is one. */
    if (r->watch_path && (!version || replace_text(&r->resource_version, version, NULL) < 0))
        return version ? -1 : 0;
    return hand_over(r, REFLECTOR_LISTED, &item);
}

static int list_item(void *arg, const char *json, size_t len, const char *aside, size_t aside_len) {
    struct reflector *r = arg;
    struct error why = {0};
    int result = 0;
    json_t *object = json_read(json, len, REFLECTOR_JSON, NULL, &why);
    if (object)
        result = listed_item(r, object, aside, aside_len);
    else if (why.kind == ERROR_NOMEM)
        result = -1;
    else
        r->handler.unreadable(r->handler.arg, why.text);
    json_decref(object);
    return result == 0 ? 0 : error_nomem(&r->parse_error);
}

/* Texts may be NULL or "": none. */
static int list_whole(void *arg, const char *resource_version, const char *continue_token) {
    struct reflector *r = arg;
    /* A token that was lost would make this page look like the last one. */
    if (replace_text(&r->resource_version, resource_version, &r->parse_error) < 0)
        return -1;
    return replace_text(&r->continue_token, continue_token, &r->parse_error);
}

static int list_envelope(void *arg, const char *json, size_t len) {
    struct reflector *r = arg;
    struct error *err = &r->parse_error, why = {0};
    if (r->watch_path)
        return error_set(err, ERROR_FORMAT, "the answer is a list instead of an object");
    json_t *envelope = json_read(json, len, JSON_ALLOW_NUL, NULL, &why);
    const json_t *metadata = json_object_get(envelope, "metadata");
    int result = why.kind == ERROR_NOMEM
                         ? error_nomem(err)
                         : list_whole(r, text_at(metadata, "resourceVersion"), text_at(metadata, "continue"));
    json_decref(envelope);
    return result;
}

static int list_object(void *arg, const void *object) {
    struct reflector *r = arg;
    const struct reflector_item item = {.decoded = object, .template = ""};
    return hand_over(r, REFLECTOR_LISTED, &item) == 0 ? 0 : error_nomem(&r->parse_error);
}

static int list_unreadable(void *arg, const char *why) {
    struct reflector *r = arg;
    r->handler.unreadable(r->handler.arg, why);
    return 0;
}

/* ---- what a watch brings ---- */

/* One event, however it came. */
struct event {
    const char *type; /* NULL: it has none */
    struct reflector_item item;
    bool has_object;
    const char *version; /* the object's */
    int64_t code;        /* of a Status */
    const char *message;
};

static void watch_error(struct reflector *r, const struct event *event) {
    if (event->code == 410) {
        r->gone = "the resourceVersion is too old";
        return;
    }
    snprintf(r->event_error, sizeof r->event_error, "%s", event->message ? event->message : "the watch sent an error");
}

/* A single object: the first that its watch tells is what was read, or the watch began in the past, or there was a
 * change in between. */
static bool begins_as_read(const struct reflector *r, const struct event *event) {
    bool first = r->watch_path && r->events == 1 && strcmp(event->type, "BOOKMARK") != 0;
    return !first || (event->version && r->resource_version && strcmp(event->version, r->resource_version) == 0);
}

/* -1: memory ran out, and the event must come again. */
static int take_event(struct reflector *r, const struct event *event) {
    if (r->gone && r->watch_path)
        return 0; /* it comes again; of many, some may be gone by then */
    if (!event->type || !event->has_object) {
        r->handler.unreadable(r->handler.arg, "a watch event without type or object");
        return 0;
    }
    r->events++;
    if (strcmp(event->type, "ERROR") == 0) {
        watch_error(r, event);
        return 0;
    }
    if (!begins_as_read(r, event)) {
        r->gone = "the watch began with another state than was read before it";
        return 0;
    }
    int result = 0;
    if (strcmp(event->type, "DELETED") == 0)
        result = hand_over(r, REFLECTOR_DELETED, &event->item);
    else if (strcmp(event->type, "ADDED") == 0 || strcmp(event->type, "MODIFIED") == 0)
        result = hand_over(r, REFLECTOR_CHANGED, &event->item);
    else if (strcmp(event->type, "BOOKMARK") != 0)
        r->handler.unreadable(r->handler.arg, "a watch event of an unknown type");
    return result == 0 && event->version ? replace_text(&r->resource_version, event->version, NULL) : result;
}

/* What it was about is unknown from here on. */
static void watch_unreadable_as(struct reflector *r, const char *why) {
    r->handler.unreadable(r->handler.arg, why);
    r->gone = "the watch sent something that cannot be read";
}

static int watch_item(void *arg, const char *json, size_t len, const char *aside, size_t aside_len) {
    struct reflector *r = arg;
    struct error why = {0};
    int result = 0;
    json_t *frame = json_read(json, len, REFLECTOR_JSON, NULL, &why);
    const json_t *object = json_object_get(frame, "object");
    if (frame) {
        const struct event event = {.type = text_at(frame, "type"),
                .item = {.json = object, .template = aside, .template_len = aside_len},
                .has_object = json_is_object(object),
                .version = text_at(json_object_get(object, "metadata"), "resourceVersion"),
                .code = json_integer_value(json_object_get(object, "code")),
                .message = text_at(object, "message")};
        result = take_event(r, &event);
    } else if (why.kind == ERROR_NOMEM) {
        result = -1;
    } else {
        watch_unreadable_as(r, why.text);
    }
    json_decref(frame);
    return result == 0 ? 0 : error_nomem(&r->parse_error);
}

static int watch_frame(void *arg, const struct protostream_event *frame) {
    struct reflector *r = arg;
    const struct event event = {.type = *frame->type ? frame->type : NULL,
            .item = {.decoded = frame->object, .template = ""},
            .has_object = frame->object || frame->is_status,
            .version = frame->resource_version,
            .code = frame->code,
            .message = frame->message};
    return take_event(r, &event) == 0 ? 0 : error_nomem(&r->parse_error);
}

static int watch_unreadable(void *arg, const char *why) {
    watch_unreadable_as(arg, why);
    return 0;
}

static int ignore_envelope(void *arg, const char *json, size_t len) {
    (void)arg;
    (void)json;
    (void)len;
    return 0;
}

/* ---- requests and their answers ---- */

/* What reads this answer. */
static int create_reader(struct reflector *r, bool watch, bool is_protobuf, struct error *err) {
    const struct framer_handler framing = {
            .arg = r, .item = watch ? watch_item : list_item, .envelope = watch ? ignore_envelope : list_envelope};
    const struct protostream_handler handler = {.arg = r,
            .item = list_object,
            .list = list_whole,
            .event = watch_frame,
            .unreadable = watch ? watch_unreadable : list_unreadable};
    framer_destroy(r->framer);
    r->framer = NULL;
    protostream_destroy(r->protostream);
    r->protostream = NULL;
    if (!is_protobuf)
        return (r->framer = framer_create(&framing, err)) ? 0 : -1;
    r->protostream = protostream_create(watch ? PROTOSTREAM_WATCH : PROTOSTREAM_LIST, r->asked_codec, &handler, err);
    return r->protostream ? 0 : -1;
}

/* The headers say in which encoding the answer comes. Without memory, its data ends it. */
static void choose_reader(struct reflector *r, bool watch, const char *content_type) {
    if (r->asked_codec && protostream_is_type(content_type))
        (void)create_reader(r, watch, true, &r->parse_error);
}

static int push(struct reflector *r, const char *data, size_t len) {
    return r->protostream ? protostream_push(r->protostream, data, len, &r->parse_error)
                          : framer_push(r->framer, data, len, &r->parse_error);
}

static int end_reader(struct reflector *r) {
    return r->protostream ? protostream_end(r->protostream, &r->parse_error) : framer_end(r->framer, &r->parse_error);
}

static void end_list(struct reflector *r) {
    if (end_reader(r) == 0 && !r->protostream && framer_documents(r->framer) != 1)
        error_set(&r->parse_error, ERROR_FORMAT, "the answer is empty");
}

static enum http_data_result on_data(void *arg, const char *data, size_t len) {
    struct reflector *r = arg;
    int64_t now_ms = clock_mono_ms();
    if (now_ms > r->due_ms)
        r->due_ms = now_ms;
    r->stats.last_heard_ms = now_ms;
    if (r->parse_error.kind != ERROR_NONE || push(r, data, len) != 0)
        return HTTP_ABORT;
    if (r->gone || r->event_error[0])
        return HTTP_ABORT;
    if (r->handler.has_room(r->handler.arg))
        return HTTP_GO_ON;
    r->paused = true;
    return HTTP_PAUSE;
}

static const char *listing(const struct reflector *r) {
    return r->watch_path ? "get" : "list";
}

/* A 404 can come from anybody on the way, too. */
static bool is_absent(const struct reflector *r, const struct client_answer *answer) {
    return r->watch_path && answer->status == 404 && answer->reason && strcmp(answer->reason, "NotFound") == 0;
}

static void on_list_opened(void *arg, const char *content_type) {
    choose_reader(arg, false, content_type);
}

static void on_listed(void *arg, const struct client_answer *answer) {
    struct reflector *r = arg;
    r->call = NULL;
    r->paused = false;
    bool later_page = r->continue_token != NULL;
    if (answer->status == 410 && later_page) {
        forget_continue(r);
        r->full_list = true;
        list_again(r, "list", answer->message);
        return;
    }
    struct error *parse = &r->parse_error;
    bool absent = is_absent(r, answer);
    if (answer->status == 200 && parse->kind == ERROR_NONE)
        end_list(r);
    if (parse->kind != ERROR_NONE || (answer->status != 200 && !absent)) {
        forget_list(r);
        fail(r, listing(r), answer->status == 200 ? 0 : answer->status,
                parse->kind != ERROR_NONE ? parse->text : answer->message, answer->retry_after_ms);
        return;
    }
    if (r->continue_token) {
        go_on(r);
        return;
    }
    if (!r->resource_version && !absent) {
        fail(r, listing(r), 0, r->watch_path ? "the object has no resourceVersion" : "the list has no resourceVersion",
                0);
        return;
    }
    r->listed = r->listed_once = true;
    r->full_list = false;
    if (r->list_only)
        r->state = STOPPED;
    else
        wait_for(r, 0);
    r->handler.complete(r->handler.arg);
}

static void on_watch_opened(void *arg, const char *content_type) {
    struct reflector *r = arg;
    choose_reader(r, true, content_type);
    loop_timer_stop(r->timer);
    r->opened_ms = r->stats.last_heard_ms = clock_mono_ms();
    r->due_ms = r->opened_ms + r->timeout_ms;
    r->stats.restarts += r->watched_once;
    r->watched_once = true;
    r->handler.watching(r->handler.arg);
}

static void on_watch_ended(void *arg, const struct client_answer *answer) {
    struct reflector *r = arg;
    r->call = NULL;
    r->paused = false;
    loop_timer_stop(r->timer);
    r->handler.ended(r->handler.arg);
    int64_t lasted_ms = r->opened_ms ? clock_mono_ms() - r->opened_ms : 0;
    if (r->opened_ms && lasted_ms >= REFLECTOR_HEALTHY_MS) {
        backoff_reset(&r->backoff);
        r->failures = r->expired = 0;
    }
    if (r->gone || answer->status == 410) {
        list_again(r, "watch", r->gone ? r->gone : "the resourceVersion is too old");
    } else if (r->event_error[0]) {
        fail(r, "watch", 0, r->event_error, 0);
    } else if (r->parse_error.kind != ERROR_NONE) {
        /* What was understood up to here was taken over, so the watch can go on from there. */
        fail(r, "watch", 0, r->parse_error.text, 0);
    } else if (answer->status != 200) {
        /* A request that the server does not understand will not get better: begin with a list. */
        if (answer->status == 400 || answer->status == 404)
            forget_list(r);
        fail(r, "watch", answer->status, answer->message, answer->retry_after_ms);
    } else if (end_reader(r) < 0) {
        fail(r, "watch", 0, r->parse_error.text, 0);
    } else if (lasted_ms < WATCH_SHORT_MS && (r->events == 0 || r->short_watches > 0)) {
        fail(r, "watch", 0, "the watch ended at once", 0);
    } else {
        /* One that brought something may be followed by the next without a pause, but not each time. */
        r->short_watches = lasted_ms < WATCH_SHORT_MS ? r->short_watches + 1 : 0;
        wait_for(r, 0);
    }
}

static int start_request(struct reflector *r, bool watch, struct error *err) {
    if (create_reader(r, watch, false, err) < 0)
        return -1;
    r->asked_codec = r->codec;
    r->parse_error = (struct error){0};
    r->gone = NULL;
    r->event_error[0] = '\0';
    r->opened_ms = 0;
    r->events = 0;
    struct strbuf path = STRBUF_INIT(PATH_MAX_BYTES);
    struct client_request request = {.method = "GET", .lane = HTTP_LANE_OWN, .arg = r, .data = on_data};
    strbuf_add_text(&path, watch && r->watch_path ? r->watch_path : r->path);
    if (watch) {
        unsigned timeout_s =
                REFLECTOR_WATCH_MIN_S + (unsigned)random_below(REFLECTOR_WATCH_MAX_S - REFLECTOR_WATCH_MIN_S + 1);
        request.verb = CLIENT_WATCH;
        strbuf_add_format(&path, "?watch=true&allowWatchBookmarks=true&timeoutSeconds=%u", timeout_s);
        if (!r->watch_path) {
            strbuf_add_text(&path, "&resourceVersion=");
            client_add_escaped(&path, r->resource_version);
        }
        request.timeout_ms = (int64_t)timeout_s * 1000 + REFLECTOR_WATCH_GRACE_MS;
        request.opened = on_watch_opened;
        request.accept = r->codec ? ACCEPT_WATCH : NULL;
        request.done = on_watch_ended;
    } else {
        request.verb = r->watch_path ? CLIENT_GET : CLIENT_LIST;
        request.timeout_ms = r->watch_path  ? CLIENT_REQUEST_TIMEOUT_MS
                             : r->full_list ? REFLECTOR_FULL_LIST_TIMEOUT_MS
                                            : REFLECTOR_LIST_TIMEOUT_MS;
        request.opened = on_list_opened;
        request.done = on_listed;
        request.accept = r->codec ? ACCEPT_LIST : NULL;
        if (!r->full_list && !r->watch_path)
            strbuf_add_format(&path, "?limit=%d", REFLECTOR_PAGE);
        if (r->continue_token) {
            strbuf_add_text(&path, "&continue=");
            client_add_escaped(&path, r->continue_token);
        }
    }
    if (*r->query)
        strbuf_add_format(&path, "%c%s", strchr(strbuf_text(&path), '?') ? '&' : '?', r->query);
    if (strbuf_failed(&path)) {
        strbuf_finish(&path);
        return error_set(
                err, ERROR_LIMIT, "the request's path is longer than %d bytes, or memory ran out", PATH_MAX_BYTES);
    }
    request.path = strbuf_text(&path);
    r->timeout_ms = request.timeout_ms;
    /* Sent twice, each with this time-out, where the first is answered by 401. */
    r->due_ms = clock_mono_ms() + 2 * request.timeout_ms;
    r->call = client_start(r->client, &request, err);
    strbuf_finish(&path);
    return r->call ? 0 : -1;
}

/* The next request: a list when there is nothing to watch from, or more of its pages to come. */
static void go_on(void *arg) {
    struct reflector *r = arg;
    struct error err = {0};
    if (r->state == WATCHING) {
        client_cancel(r->call);
        r->call = NULL;
        fail(r, "watch", 0, "the API server does not answer", 0);
        return;
    }
    bool watch = r->listed;
    if (!watch && !r->continue_token) {
        forget_list(r);
        r->stats.relists += r->listed_once && !r->watch_path; /* there, each watch begins so */
        r->handler.begin(r->handler.arg);
    }
    if (r->watch_path)
        r->listed = false; /* the next watch has a GET of its own */
    r->state = watch ? WATCHING : LISTING;
    if (watch)
        loop_timer_start(r->timer, WATCH_OPEN_TIMEOUT_MS);
    if (start_request(r, watch, &err) < 0)
        fail(r, watch ? "watch" : listing(r), 0, err.text, 0);
}

int64_t reflector_overdue_ms(const struct reflector *r) {
    return r->call || r->state == WAITING ? clock_mono_ms() - r->due_ms : INT64_MIN;
}

void reflector_relist(struct reflector *r) {
    if (r->list_only || r->state == IDLE || r->state == STOPPED)
        return;
    forget_list(r);
    if (r->state == WAITING)
        return; /* its time comes by itself */
    client_cancel(r->call);
    r->call = NULL;
    r->paused = false;
    wait_for(r, 0);
}

bool reflector_set_codec(struct reflector *r, const struct protobuf_codec *codec) {
    const struct protobuf_codec *before = r->codec;
    r->codec = r->watch_path ? NULL : codec;
    return r->codec != before;
}
