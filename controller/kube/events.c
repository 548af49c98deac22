#include "kube/events.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/timestamp.h"

#define TOKEN 1000                   /* the bucket counts in thousandths */
#define NAME_SHOWN_MAX 200           /* of the object, in the Event's name: 253 with 17 characters for the time */
#define KEY_MAX 4096                 /* names have at most 253 bytes each */
#define BODY_MAX (16u << 10)         /* a note of EVENTS_NOTE_MAX, escaped, and the object's names */
#define NAMESPACE_MAX 64             /* bytes with NUL */
#define FORBIDDEN_IN_A_ROW 3         /* in so many Namespaces: then it is a right that is missing everywhere */
#define FALLBACK_NAMESPACE "default" /* of Events on what is in no Namespace: the API server wants it so */

enum state {
    STATE_WAITING, /* to be created: in the list */
    STATE_SENDING,
    STATE_TOLD /* created; in the heap when its series has grown since */
};

/* What was told, as long as it may become a series. */
struct entry {
    struct events *events;
    char *key;       /* equal for what is the same */
    char *namespace; /* the Event's, and its name */
    char *name;
    char *body; /* to create it, without the end; NULL once it is created */
    uint64_t object;
    enum state state;
    int tries;
    int64_t count, sent_count, told_count; /* how often, as far as was sent, as far as the API server knows */
    int64_t last_wall_ms;                  /* when it happened last */
    int64_t seen_ms, told_ms;              /* monotonic: the same, and when the API server was told */
    int64_t first_ms;                      /* monotonic: when it happened first */
    struct client_call *call;              /* STATE_SENDING */
    struct heap_node refresh;              /* monotonic: when the series may be told again */
    struct entry *prev, *next;             /* waiting */
    struct entry *older, *younger;         /* all, by when they happened last */
    UT_hash_handle hh;
};

/* A Namespace in which we may not write Events. */
struct forbidden {
    char namespace[NAMESPACE_MAX];
    int64_t until_ms; /* monotonic */
};

struct events {
    struct client *client;
    struct loop_timer *timer;
    char *controller, *instance;
    struct entry *entries; /* by key */
    struct entry *waiting; /* oldest first */
    struct entry *oldest;  /* all, as utlist has them */
    struct heap refresh;   /* of struct entry.refresh */
    int n_waiting, in_flight;
    bool held;
    int64_t tokens, tokens_at_ms;
    int64_t paused_until_ms;
    struct backoff pause;
    bool trouble_told;
    struct forbidden forbidden[EVENTS_FORBIDDEN_MAX];
    int forbidden_in_a_row;
    uint32_t sequence; /* of names; 0: none was made yet */
    struct events_stats stats;
};

#define ENTRY_OF(node) ((struct entry *)(void *)((char *)(node)-offsetof(struct entry, refresh)))

static void pump(struct events *e);

/* ---- what is remembered ---- */

static void forget_entry(struct entry *entry) {
    struct events *e = entry->events;
    if (entry->state == STATE_WAITING) {
        DL_DELETE(e->waiting, entry);
        e->n_waiting--;
    }
    if (entry->call) {
        client_cancel(entry->call);
        e->in_flight--;
    }
    heap_remove(&e->refresh, &entry->refresh);
    DL_DELETE2(e->oldest, entry, older, younger);
    HASH_DEL(e->entries, entry);
    free(entry->key);
    free(entry->namespace);
    free(entry->name);
    free(entry->body);
    free(entry);
}

static void drop_entry(struct entry *entry) {
    entry->events->stats.dropped++;
    forget_entry(entry);
}

/* Over, or for the sake of a new one. Whether there is room now. */
static bool make_room(struct events *e, int64_t now_ms) {
    struct entry *entry, *next;
    for (entry = e->oldest; entry; entry = next) {
        next = entry->younger;
        bool over = now_ms - entry->seen_ms >= EVENTS_SERIES_MS;
        if (!over && HASH_COUNT(e->entries) < EVENTS_REMEMBERED_MAX)
            return true;
        if (entry->state != STATE_TOLD)
            continue;
        if (entry->count == entry->told_count)
            forget_entry(entry);
        else if (HASH_COUNT(e->entries) >= EVENTS_REMEMBERED_MAX)
            drop_entry(entry);
    }
    return HASH_COUNT(e->entries) < EVENTS_REMEMBERED_MAX;
}

static struct forbidden *find_forbidden(struct events *e, const char *namespace) {
    for (int i = 0; i < EVENTS_FORBIDDEN_MAX; i++) {
        if (strcmp(e->forbidden[i].namespace, namespace) == 0)
            return &e->forbidden[i];
    }
    return NULL;
}

static bool is_forbidden(struct events *e, const char *namespace) {
    const struct forbidden *f = find_forbidden(e, namespace);
    return f && clock_mono_ms() < f->until_ms;
}

/* ---- what is written ---- */

static const char *text_or_none(const char *text) {
    return text ? text : "";
}

/* FNV-1a. */
static uint64_t hash_text(uint64_t hash, const char *text) {
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return (hash ^ 0xff) * 1099511628211u;
}

static uint64_t hash_object(const struct event_object *object) {
    uint64_t hash = hash_text(14695981039346656037u, text_or_none(object->kind));
    hash = hash_text(hash, text_or_none(object->namespace));
    return hash_text(hash_text(hash, text_or_none(object->name)), text_or_none(object->uid));
}

/* NULL when it failed. */
static char *take_text(struct strbuf *buf) {
    char *text = strbuf_take(buf);
    strbuf_finish(buf);
    return text;
}

static char *make_key(const struct event *event) {
    const struct event_object *object = &event->regarding;
    struct strbuf key = STRBUF_INIT(KEY_MAX);
    strbuf_add_format(&key, "%s\n%s\n%s\n%s\n%s\n%s\n%d", text_or_none(object->kind), text_or_none(object->namespace),
            text_or_none(object->name), text_or_none(object->uid), event->reason, event->action, (int)event->type);
    if (event->key)
        strbuf_add_format(&key, "\n%016llx", (unsigned long long)hash_text(14695981039346656037u, event->key));
    return take_text(&key);
}

/* client-go's manner: the object's name and the time. Unlike any other of ours. */
static char *make_name(struct events *e, const char *object) {
    char name[NAME_SHOWN_MAX + 1];
    size_t len = (size_t)snprintf(name, sizeof name, "%s", object);
    if (len >= sizeof name)
        len = sizeof name - 1;
    while (len && (name[len - 1] == '.' || name[len - 1] == '-'))
        len--;
    if (!e->sequence)
        e->sequence = 1 + (uint32_t)random_below(1000000);
    int64_t now_ns = clock_wall_ms() * 1000000 + e->sequence++ % 1000000;
    struct strbuf full = STRBUF_INIT(NAME_SHOWN_MAX + 32);
    strbuf_add_format(&full, "%.*s.%016llx", (int)len, name, (unsigned long long)now_ns);
    return take_text(&full);
}

static void add_member(struct strbuf *body, const char *key, const char *value) {
    if (!value)
        return;
    strbuf_add_format(body, ",\"%s\":", key);
    text_add_json(body, value);
}

/* At most EVENTS_NOTE_MAX bytes of UTF-8. */
static void add_note(struct strbuf *body, const char *note) {
    struct strbuf text = STRBUF_INIT(16 * EVENTS_NOTE_MAX);
    if (text_is_utf8(note, strlen(note)))
        strbuf_add_text(&text, note);
    else
        text_add_escaped(&text, note, EVENTS_NOTE_MAX);
    size_t len = text.len;
    if (len > EVENTS_NOTE_MAX) {
        len = EVENTS_NOTE_MAX - 3;
        while (len && ((unsigned char)text.data[len] & 0xc0) == 0x80)
            len--;
        memcpy(text.data + len, "...", sizeof "..."); /* within what was there */
    }
    add_member(body, "note", strbuf_text(&text));
    if (strbuf_failed(&text))
        body->failed = body->no_memory = true;
    strbuf_finish(&text);
}

static char *make_body(const struct events *e, const struct event *event, const struct entry *entry) {
    const struct event_object *object = &event->regarding;
    char now[TIMESTAMP_TEXT_MAX];
    struct strbuf body = STRBUF_INIT(BODY_MAX);
    strbuf_add_text(&body, "{\"apiVersion\":\"events.k8s.io/v1\",\"kind\":\"Event\",\"metadata\":{\"name\":");
    text_add_json(&body, entry->name);
    add_member(&body, "namespace", entry->namespace);
    strbuf_add_format(&body, "},\"eventTime\":\"%s\"", timestamp_format_micro(clock_wall_ms(), now));
    add_member(&body, "reportingController", e->controller);
    add_member(&body, "reportingInstance", e->instance);
    add_member(&body, "action", event->action);
    add_member(&body, "reason", event->reason);
    strbuf_add_text(&body, ",\"regarding\":{\"kind\":");
    text_add_json(&body, text_or_none(object->kind));
    add_member(&body, "apiVersion", object->api_version);
    add_member(&body, "namespace", object->namespace);
    add_member(&body, "name", object->name);
    add_member(&body, "uid", object->uid);
    add_member(&body, "resourceVersion", object->resource_version);
    strbuf_add_text(&body, "}");
    add_note(&body, text_or_none(event->note));
    add_member(&body, "type", event->type == EVENT_WARNING ? "Warning" : "Normal");
    return take_text(&body);
}

static void add_series(struct strbuf *body, const struct entry *entry) {
    char last[TIMESTAMP_TEXT_MAX];
    strbuf_add_format(body, "\"series\":{\"count\":%lld,\"lastObservedTime\":\"%s\"}", (long long)entry->count,
            timestamp_format_micro(entry->last_wall_ms, last));
}

/* ---- requests ---- */

static void note_trouble(struct events *e, const struct client_answer *answer, int64_t wait_ms, const char *message) {
    e->paused_until_ms = clock_mono_ms() + wait_ms;
    if (e->trouble_told)
        return;
    e->trouble_told = true;
    log_warn(message, log_number("status", answer->status), log_duration("retry_in", wait_ms),
            log_text("error", answer->message));
}

static void note_forbidden(struct events *e, const char *namespace, const char *message) {
    struct forbidden *f = find_forbidden(e, namespace);
    bool known = f != NULL;
    int64_t now_ms = clock_mono_ms();
    for (int i = 0; i < EVENTS_FORBIDDEN_MAX && !known; i++) {
        if (!f || e->forbidden[i].until_ms < f->until_ms)
            f = &e->forbidden[i];
    }
    snprintf(f->namespace, sizeof f->namespace, "%s", namespace);
    f->until_ms = now_ms + EVENTS_FORBIDDEN_MS;
    if (++e->forbidden_in_a_row >= FORBIDDEN_IN_A_ROW)
        e->paused_until_ms = now_ms + EVENTS_FORBIDDEN_MS;
    if (!known && e->forbidden_in_a_row == 1)
        log_warn("Kubernetes Events may not be written; everything else goes on", log_text("namespace", namespace),
                log_duration("retry_in", EVENTS_FORBIDDEN_MS), log_text("error", message),
                log_text("hint", "allow create and patch of events.events.k8s.io, or set events = false in [sexton]"));
}

static void note_success(struct events *e, const char *namespace) {
    struct forbidden *f = find_forbidden(e, namespace);
    e->stats.sent++;
    e->forbidden_in_a_row = 0;
    backoff_reset(&e->pause);
    if (f || e->trouble_told)
        log_info("Kubernetes Events are written again", log_text("namespace", namespace));
    if (f)
        *f = (struct forbidden){.until_ms = 0};
    e->trouble_told = false;
}

/* That it happened again is news; how often, less so. */
static void wait_for_refresh(struct entry *entry) {
    int64_t at_ms = entry->told_ms + (entry->told_count > 1 ? EVENTS_REFRESH_MS : 0);
    if (entry->count > entry->told_count)
        (void)!heap_put(&entry->events->refresh, &entry->refresh, at_ms, NULL); /* there is room */
}

/* It was not this one's fault: later, unless that was tried often enough. */
static void put_off(struct entry *entry) {
    struct events *e = entry->events;
    if (++entry->tries >= EVENTS_TRIES_MAX) {
        e->stats.failed++;
        forget_entry(entry);
    } else if (entry->body) {
        entry->state = STATE_WAITING;
        DL_PREPEND(e->waiting, entry);
        e->n_waiting++;
    } else {
        entry->state = STATE_TOLD;
        wait_for_refresh(entry);
    }
}

/* 404 can be about the Namespace, or the Event that a series goes on from; or about all of the API. */
static bool is_about_one(const struct client_answer *answer) {
    const char *kind = json_string_value(json_object_get(json_object_get(answer->body, "details"), "kind"));
    const char *name = json_string_value(json_object_get(json_object_get(answer->body, "details"), "name"));
    return kind && name && *name;
}

static void on_failure(struct entry *entry, const struct client_answer *answer) {
    struct events *e = entry->events;
    bool lost = true;
    if (answer->status == 403) {
        note_forbidden(e, entry->namespace, answer->message);
    } else if (answer->status == 404 && !is_about_one(answer)) {
        note_trouble(e, answer, EVENTS_ABSENT_MS, "the API server has no Kubernetes Events of events.k8s.io/v1");
    } else if (answer->status / 100 == 4 && answer->status != 401 && answer->status != 429) {
        log_debug("a Kubernetes Event was not taken", log_text("event", entry->name),
                log_number("status", answer->status), log_text("error", answer->message));
    } else {
        int64_t wait_ms = backoff_take(&e->pause);
        if (wait_ms < answer->retry_after_ms)
            wait_ms = answer->retry_after_ms < EVENTS_PAUSE_LAST_MS ? answer->retry_after_ms : EVENTS_PAUSE_LAST_MS;
        note_trouble(e, answer, wait_ms, "Kubernetes Events cannot be written; everything else goes on");
        lost = false;
    }
    if (!lost) {
        put_off(entry);
        return;
    }
    e->stats.failed++;
    forget_entry(entry);
}

static void on_answer(void *arg, const struct client_answer *answer) {
    struct entry *entry = arg;
    struct events *e = entry->events;
    entry->call = NULL;
    e->in_flight--;
    const char *kind = json_string_value(json_object_get(answer->body, "kind"));
    bool taken = answer->status / 100 == 2 && kind && strcmp(kind, "Event") == 0;
    /* The name is ours alone: an earlier try has had an effect. */
    bool is_there = entry->body && answer->status == 409;
    if (taken || is_there) {
        note_success(e, entry->namespace);
        free(entry->body);
        entry->body = NULL;
        entry->tries = 0;
        entry->told_count = taken ? entry->sent_count : 1;
        entry->state = STATE_TOLD;
        wait_for_refresh(entry);
    } else {
        on_failure(entry, answer);
    }
    pump(e);
}

static void send_entry(struct entry *entry) {
    struct events *e = entry->events;
    struct strbuf path = STRBUF_INIT(2048), body = STRBUF_INIT(BODY_MAX + 256);
    strbuf_add_text(&path, "/apis/events.k8s.io/v1/namespaces/");
    client_add_escaped(&path, entry->namespace);
    strbuf_add_text(&path, "/events");
    if (entry->state == STATE_WAITING) {
        DL_DELETE(e->waiting, entry);
        e->n_waiting--;
        strbuf_add_text(&body, entry->body);
        strbuf_add_text(&body, entry->count > 1 ? "," : "");
    } else {
        heap_remove(&e->refresh, &entry->refresh);
        strbuf_add_text(&path, "/");
        client_add_escaped(&path, entry->name);
        strbuf_add_text(&body, "{");
    }
    if (entry->count > 1)
        add_series(&body, entry);
    strbuf_add_text(&body, "}");
    const struct client_request asked = {.method = entry->body ? "POST" : "PATCH",
            .path = strbuf_text(&path),
            .body = strbuf_text(&body),
            .content_type = entry->body ? NULL : "application/merge-patch+json",
            .lane = HTTP_LANE_SHARED,
            .timeout_ms = EVENTS_TIMEOUT_MS,
            .arg = entry,
            .done = on_answer};
    entry->state = STATE_SENDING;
    entry->sent_count = entry->count;
    entry->told_ms = clock_mono_ms();
    struct error err = {0};
    if (!strbuf_failed(&path) && !strbuf_failed(&body) && (entry->call = client_start(e->client, &asked, &err)))
        e->in_flight++;
    strbuf_finish(&path);
    strbuf_finish(&body);
    if (!entry->call)
        drop_entry(entry);
}

/* ---- when ---- */

static void refill(struct events *e, int64_t now_ms) {
    int64_t full = (int64_t)EVENTS_BURST * TOKEN;
    int64_t gained = (now_ms - e->tokens_at_ms) * TOKEN / EVENTS_REFILL_MS;
    e->tokens = gained < full - e->tokens ? e->tokens + gained : full;
    e->tokens_at_ms = now_ms;
}

/* What may be written next, if anything; *ret_wait_ms: in how long. */
static struct entry *find_next(struct events *e, int64_t now_ms, int64_t *ret_wait_ms) {
    struct entry *next = e->waiting;
    int64_t at_ms = now_ms;
    if (!next) {
        struct heap_node *node = heap_peek(&e->refresh);
        next = node ? ENTRY_OF(node) : NULL;
        at_ms = node ? node->key : now_ms;
    }
    if (at_ms < e->paused_until_ms)
        at_ms = e->paused_until_ms;
    if (e->tokens < TOKEN && at_ms < now_ms + (TOKEN - e->tokens) * EVENTS_REFILL_MS / TOKEN)
        at_ms = now_ms + (TOKEN - e->tokens) * EVENTS_REFILL_MS / TOKEN;
    *ret_wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    return next;
}

static void drop_stale(struct events *e, int64_t now_ms) {
    struct entry *entry, *next;
    DL_FOREACH_SAFE (e->waiting, entry, next) {
        if (now_ms - entry->first_ms >= EVENTS_STALE_MS || is_forbidden(e, entry->namespace))
            drop_entry(entry);
    }
}

static void pump(struct events *e) {
    int64_t now_ms = clock_mono_ms();
    loop_timer_stop(e->timer);
    drop_stale(e, now_ms);
    refill(e, now_ms);
    while (!e->held && e->in_flight < EVENTS_IN_FLIGHT_MAX) {
        int64_t wait_ms;
        struct entry *entry = find_next(e, now_ms, &wait_ms);
        if (entry && wait_ms > 0)
            loop_timer_start(e->timer, wait_ms);
        if (!entry || wait_ms > 0)
            return;
        e->tokens -= TOKEN;
        send_entry(entry);
    }
}

static void on_timer(void *arg) {
    pump(arg);
}

/* ---- what is told ---- */

static bool has_room_for_object(const struct events *e, uint64_t object) {
    int n = 0;
    for (const struct entry *entry = e->oldest; entry; entry = entry->younger)
        n += entry->object == object;
    return n < EVENTS_PER_OBJECT_MAX;
}

static void observe(struct entry *entry, int64_t now_ms) {
    entry->count++;
    entry->last_wall_ms = clock_wall_ms();
    entry->seen_ms = now_ms;
}

/* Takes the key. NULL when out of memory. */
static struct entry *add_entry(struct events *e, const struct event *event, char *key, uint64_t object) {
    const char *namespace = event->regarding.namespace;
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry) {
        free(key);
        return NULL;
    }
    entry->events = e;
    entry->key = key;
    entry->object = object;
    entry->refresh = (struct heap_node)HEAP_NODE_INIT;
    entry->namespace = strdup(namespace && *namespace ? namespace : FALLBACK_NAMESPACE);
    entry->name = make_name(e, text_or_none(event->regarding.name));
    entry->body = entry->namespace && entry->name ? make_body(e, event, entry) : NULL;
    if (entry->body)
        HASH_ADD_KEYPTR(hh, e->entries, entry->key, strlen(entry->key), entry);
    if (!entry->body || !hash_added(entry)) {
        free(entry->key);
        free(entry->namespace);
        free(entry->name);
        free(entry->body);
        free(entry);
        return NULL;
    }
    DL_APPEND2(e->oldest, entry, older, younger);
    DL_APPEND(e->waiting, entry);
    e->n_waiting++;
    return entry;
}

static struct entry *tell_anew(struct events *e, const struct event *event, char *key, int64_t now_ms) {
    uint64_t object = hash_object(&event->regarding);
    const char *namespace = event->regarding.namespace;
    bool may = e->n_waiting < EVENTS_WAITING_MAX && !is_forbidden(e, namespace ? namespace : FALLBACK_NAMESPACE) &&
               make_room(e, now_ms) && has_room_for_object(e, object);
    struct entry *entry = may ? add_entry(e, event, key, object) : NULL;
    if (!may)
        free(key);
    if (!entry) {
        e->stats.dropped++;
        return NULL;
    }
    entry->first_ms = now_ms;
    observe(entry, now_ms);
    return entry;
}

void events_tell(struct events *e, const struct event *event) {
    int64_t now_ms = clock_mono_ms();
    struct entry *entry = NULL;
    char *key = make_key(event);
    if (!key) {
        e->stats.dropped++;
        return;
    }
    HASH_FIND_STR(e->entries, key, entry);
    if (entry && entry->state == STATE_TOLD && now_ms - entry->seen_ms >= EVENTS_SERIES_MS) {
        forget_entry(entry);
        entry = NULL;
    }
    if (entry) {
        free(key);
        DL_DELETE2(e->oldest, entry, older, younger);
        DL_APPEND2(e->oldest, entry, older, younger);
        observe(entry, now_ms);
        if (entry->state == STATE_TOLD)
            wait_for_refresh(entry);
    } else if (!tell_anew(e, event, key, now_ms)) {
        return;
    }
    if (!e->held)
        loop_timer_start(e->timer, 0); /* never from within: the caller may be in the middle of something */
}

void events_hold(struct events *e, bool hold) {
    e->held = hold;
    if (!hold)
        loop_timer_start(e->timer, 0);
}

void events_forget(struct events *e) {
    while (e->oldest)
        forget_entry(e->oldest);
    loop_timer_stop(e->timer);
}

const struct events_stats *events_stats(const struct events *e) {
    return &e->stats;
}

/* ---- life ---- */

struct events *events_create(
        struct loop *loop, struct client *client, const char *controller, const char *instance, struct error *err) {
    struct events *e = calloc(1, sizeof *e);
    if (!e) {
        error_nomem(err);
        return NULL;
    }
    e->client = client;
    e->pause = (struct backoff)BACKOFF_INIT(EVENTS_PAUSE_FIRST_MS, EVENTS_PAUSE_LAST_MS);
    e->tokens = (int64_t)EVENTS_BURST * TOKEN;
    e->tokens_at_ms = clock_mono_ms();
    e->controller = strdup(controller);
    e->instance = strndup(instance, EVENTS_INSTANCE_MAX);
    if (!e->controller || !e->instance)
        error_nomem(err);
    if (!e->controller || !e->instance || heap_reserve(&e->refresh, EVENTS_REMEMBERED_MAX, err) < 0 ||
            !(e->timer = loop_timer_create(loop, on_timer, e, err))) {
        events_destroy(e);
        return NULL;
    }
    return e;
}

void events_destroy(struct events *e) {
    if (!e)
        return;
    if (e->timer)
        events_forget(e);
    loop_timer_destroy(e->timer);
    heap_finish(&e->refresh);
    free(e->controller);
    free(e->instance);
    free(e);
}
