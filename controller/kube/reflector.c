#include "kube/reflector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "kube/framer.h"

#define PATH_MAX_BYTES 8192
#define WATCH_SHORT_MS 1000         /* a watch that ends sooner ended at once: so there is one a second at most */
#define WATCH_OPEN_TIMEOUT_MS 30000 /* the headers of a watch come at once; who waits for them knows nothing new */
/* The API server takes a NUL in an annotation of anybody's; whether it matters is for those who read it to judge. */
#define REFLECTOR_JSON (JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)

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
    struct framer *framer;
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

/* -1: there was no memory for it. */
static int hand_over(
        struct reflector *r, enum reflector_change change, const json_t *object, const char *aside, size_t aside_len) {
    const struct reflector_item item = {.json = object, .template = aside, .template_len = aside_len};
    return r->handler.item(r->handler.arg, change, &item);
}

/* -1: there was no memory for it. */
static int listed_item(struct reflector *r, const json_t *object, const char *aside, size_t aside_len) {
    const char *version = text_at(json_object_get(object, "metadata"), "resourceVersion");
    /* Of one object this is all there is to tell that it is one. */
    if (r->watch_path && (!version || replace_text(&r->resource_version, version, NULL) < 0))
        return version ? -1 : 0;
    return hand_over(r, REFLECTOR_LISTED, object, aside, aside_len);
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

static int list_envelope(void *arg, const char *json, size_t len) {
    struct reflector *r = arg;
    struct error *err = &r->parse_error, why = {0};
    if (r->watch_path)
        return error_set(err, ERROR_FORMAT, "the answer is a list instead of an object");
    json_t *envelope = json_read(json, len, JSON_ALLOW_NUL, NULL, &why);
    const json_t *metadata = json_object_get(envelope, "metadata");
    /* A token that was lost would make this page look like the last one. */
    int result = why.kind == ERROR_NOMEM ? error_nomem(err)
                 : replace_text(&r->resource_version, text_at(metadata, "resourceVersion"), err) < 0
                         ? -1
                         : replace_text(&r->continue_token, text_at(metadata, "continue"), err);
    json_decref(envelope);
    return result;
}

static void watch_error(struct reflector *r, const json_t *status) {
    if (json_integer_value(json_object_get(status, "code")) == 410) {
        r->gone = "the resourceVersion is too old";
        return;
    }
    const char *message = text_at(status, "message");
    snprintf(r->event_error, sizeof r->event_error, "%s", message ? message : "the watch sent an error");
}

/* A single object: the first that its watch tells is what was read, or the watch began in the past, or there was a
 * change in between. */
static bool begins_as_read(const struct reflector *r, const char *type, const char *version) {
    bool first = r->watch_path && r->events == 1 && strcmp(type, "BOOKMARK") != 0;
    return !first || (version && r->resource_version && strcmp(version, r->resource_version) == 0);
}

/* -1: memory ran out, and the event must come again. */
static int watch_event(struct reflector *r, const json_t *frame, const char *aside, size_t aside_len) {
    const char *type = text_at(frame, "type");
    const json_t *object = json_object_get(frame, "object");
    const char *version = text_at(json_object_get(object, "metadata"), "resourceVersion");
    if (r->gone && r->watch_path)
        return 0; /* it comes again; of many, some may be gone by then */
    if (!type || !json_is_object(object)) {
        r->handler.unreadable(r->handler.arg, "a watch event without type or object");
        return 0;
    }
    r->events++;
    if (strcmp(type, "ERROR") == 0) {
        watch_error(r, object);
        return 0;
    }
    if (!begins_as_read(r, type, version)) {
        r->gone = "the watch began with another state than was read before it";
        return 0;
    }
    int result = 0;
    if (strcmp(type, "DELETED") == 0)
        result = hand_over(r, REFLECTOR_DELETED, object, aside, aside_len);
    else if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
        result = hand_over(r, REFLECTOR_CHANGED, object, aside, aside_len);
    else if (strcmp(type, "BOOKMARK") != 0)
        r->handler.unreadable(r->handler.arg, "a watch event of an unknown type");
    return result == 0 && version ? replace_text(&r->resource_version, version, NULL) : result;
}

static int watch_item(void *arg, const char *json, size_t len, const char *aside, size_t aside_len) {
    struct reflector *r = arg;
    struct error why = {0};
    int result = 0;
    json_t *frame = json_read(json, len, REFLECTOR_JSON, NULL, &why);
    if (frame) {
        result = watch_event(r, frame, aside, aside_len);
    } else if (why.kind == ERROR_NOMEM) {
        result = -1;
    } else {
        r->handler.unreadable(r->handler.arg, why.text);
        r->gone = "the watch sent something that cannot be read"; /* what it was about is unknown from here on */
    }
    json_decref(frame);
    return result == 0 ? 0 : error_nomem(&r->parse_error);
}

static int ignore_envelope(void *arg, const char *json, size_t len) {
    (void)arg;
    (void)json;
    (void)len;
    return 0;
}

static enum http_data_result on_data(void *arg, const char *data, size_t len) {
    struct reflector *r = arg;
    int64_t now_ms = clock_mono_ms();
    if (now_ms > r->due_ms)
        r->due_ms = now_ms;
    r->stats.last_heard_ms = now_ms;
    if (framer_push(r->framer, data, len, &r->parse_error) != 0)
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
    bool whole = answer->status == 200 && parse->kind == ERROR_NONE && framer_end(r->framer, parse) == 0;
    if (whole && framer_documents(r->framer) != 1)
        error_set(parse, ERROR_FORMAT, "the answer is empty");
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

static void on_watch_opened(void *arg) {
    struct reflector *r = arg;
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
    } else if (framer_end(r->framer, &r->parse_error) < 0) {
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
    const struct framer_handler framing = {
            .arg = r, .item = watch ? watch_item : list_item, .envelope = watch ? ignore_envelope : list_envelope};
    framer_destroy(r->framer);
    r->framer = framer_create(&framing, err);
    if (!r->framer)
        return -1;
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
        request.done = on_watch_ended;
    } else {
        request.verb = r->watch_path ? CLIENT_GET : CLIENT_LIST;
        request.timeout_ms = r->watch_path  ? CLIENT_REQUEST_TIMEOUT_MS
                             : r->full_list ? REFLECTOR_FULL_LIST_TIMEOUT_MS
                                            : REFLECTOR_LIST_TIMEOUT_MS;
        request.done = on_listed;
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
