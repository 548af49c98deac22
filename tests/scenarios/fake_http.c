#include "fake.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "kube/events.h"

#define HEADERS_MAX 16
#define HELD_MAX (64u << 20)

struct http_transfer {
    struct http *http;
    struct http_transfer *next;
    char *method, *url, *body, *headers[HEADERS_MAX];
    void *arg;
    bool (*may_send)(void *arg);
    void (*on_head)(void *arg, int status, const char *content_type);
    enum http_data_result (*on_data)(void *arg, struct http_transfer *transfer, const char *data, size_t len);
    void (*on_done)(void *arg, const struct http_result *result);
    struct http_result result;
    struct loop_timer *deadline, *flush;
    struct strbuf held; /* came while it was paused */
    bool open, left, headed, expected, paused, end_held;
};

struct http {
    struct loop *loop;
    struct http_transfer *transfers, **tail;
};

static int64_t user_timeout_ms;
static struct http *current; /* a scenario has one engine, with one client */

struct http *http_create(struct loop *loop, struct error *err) {
    struct http *http = calloc(1, sizeof *http);
    if (!http) {
        error_nomem(err);
        return NULL;
    }
    http->loop = loop;
    http->tail = &http->transfers;
    current = http;
    return http;
}

void http_destroy(struct http *http) {
    if (!http)
        return;
    current = NULL;
    for (struct http_transfer *t = http->transfers, *next; t; t = next) {
        next = t->next;
        for (int i = 0; i < HEADERS_MAX; i++)
            free(t->headers[i]);
        loop_timer_destroy(t->deadline);
        loop_timer_destroy(t->flush);
        strbuf_finish(&t->held);
        free(t->method);
        free(t->url);
        free(t->body);
        free(t);
    }
    free(http);
}

void http_set_user_timeout(struct http *http, enum http_lane lane, int64_t timeout_ms) {
    (void)http;
    if (lane != HTTP_LANE_SHARED || timeout_ms <= 0)
        fake_broken("a time-out of %d ms for lane %d", (int)timeout_ms, (int)lane);
    user_timeout_ms = timeout_ms;
}

void http_set_pool(struct http *http, enum http_lane lane, int connections) {
    (void)http;
    (void)lane;
    (void)connections;
}

int64_t fake_http_user_timeout_ms(void) {
    return user_timeout_ms;
}

/* ---- what must be true of every request ---- */

static void check_on_record(const char *uid, const char *when) {
    if (fake_writer_is_failing())
        fake_broken("a DELETE of uid %s %s while the register fails", uid, when);
    if (!fake_writer_knows_intent(uid))
        fake_broken("a DELETE of uid %s %s, and record and intent are not both durable", uid, when);
}

/* Of its body, and of what is on record at this moment. */
static void check_delete(const char *text, const char *when) {
    json_t *body = json_loads(text ? text : "", JSON_REJECT_DUPLICATES, NULL);
    const json_t *preconditions = json_object_get(body, "preconditions");
    const char *propagation = json_string_value(json_object_get(body, "propagationPolicy"));
    const char *uid = json_string_value(json_object_get(preconditions, "uid"));
    const char *version = json_string_value(json_object_get(preconditions, "resourceVersion"));
    if (!propagation || strcmp(propagation, "Background") != 0)
        fake_broken("a DELETE without propagationPolicy Background: %s", text);
    if (!uid || !*uid || !version || !*version)
        fake_broken("a DELETE without preconditions uid and resourceVersion: %s", text);
    check_on_record(uid, when);
    json_decref(body);
}

/* It leaves this machine now. A DELETE was made a while ago, and the register may be another one by now. */
static void leave(struct http_transfer *t) {
    if (t->left)
        return;
    t->left = true;
    if (strcmp(t->method, "DELETE") != 0)
        return;
    check_delete(t->body, "leaves");
    fake_delete_leaves(t);
}

static int count_open_events(void) {
    int n = 0;
    for (struct http_transfer *t = fake_http_first(); t; t = t->next)
        n += t->open && strstr(t->url, "/apis/events.k8s.io/") != NULL;
    return n;
}

static const char *need_text(const json_t *object, const char *key, size_t most, const char *body) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text || !*text || strlen(text) > most)
        fake_broken("an Event whose %s is not what the API server takes: %s", key, body);
    return text;
}

/* What events.k8s.io/v1 validates, and what goes for Events alone. */
static void check_event(const struct http_request *request) {
    json_t *body = json_loads(request->body ? request->body : "", JSON_REJECT_DUPLICATES, NULL);
    const json_t *metadata = json_object_get(body, "metadata"), *series = json_object_get(body, "series");
    const json_t *regarding = json_object_get(body, "regarding");
    if (count_open_events() >= EVENTS_IN_FLIGHT_MAX)
        fake_broken("more than %d Events under way", EVENTS_IN_FLIGHT_MAX);
    if (request->may_send || request->lane != HTTP_LANE_SHARED || request->timeout_ms > EVENTS_TIMEOUT_MS)
        fake_broken("an Event that others may wait for: %s", request->url);
    if (series && (json_integer_value(json_object_get(series, "count")) < 2 ||
                          strlen(need_text(series, "lastObservedTime", 27, request->body)) != 27))
        fake_broken("an Event with a series that the API server does not take: %s", request->body);
    if (strcmp(request->method, "PATCH") == 0) {
        bool merges = false;
        for (int i = 0; request->headers[i]; i++)
            merges = merges || strcmp(request->headers[i], "Content-Type: application/merge-patch+json") == 0;
        if (!merges || !series || json_object_size(body) != 1)
            fake_broken("a PATCH of an Event that is not a merge patch of its series: %s", request->body);
        json_decref(body);
        return;
    }
    char path[300];
    const char *namespace = need_text(metadata, "namespace", 63, request->body);
    const char *about = json_string_value(json_object_get(regarding, "namespace"));
    snprintf(path, sizeof path, "/apis/events.k8s.io/v1/namespaces/%s/events", namespace);
    if (strcmp(request->method, "POST") != 0 || !strstr(request->url, path) ||
            strcmp(about ? about : "default", namespace) != 0)
        fake_broken("an Event that is not where it belongs: %s %s", request->url, request->body);
    if (strlen(need_text(body, "eventTime", 27, request->body)) != 27)
        fake_broken("an Event whose eventTime is no MicroTime: %s", request->body);
    need_text(metadata, "name", 253, request->body);
    need_text(body, "reportingController", 317, request->body);
    need_text(body, "reportingInstance", 128, request->body);
    need_text(body, "reason", 128, request->body);
    need_text(body, "action", 128, request->body);
    need_text(body, "note", 1024, request->body);
    need_text(body, "type", 7, request->body);
    need_text(regarding, "kind", 63, request->body);
    need_text(regarding, "apiVersion", 63, request->body);
    need_text(regarding, "name", 253, request->body);
    json_decref(body);
}

static void check_watch(const struct http_request *request) {
    const char *seconds = strstr(request->url, "timeoutSeconds=");
    long timeout_s = seconds ? strtol(seconds + strlen("timeoutSeconds="), NULL, 10) : 0;
    if (timeout_s < 300 || timeout_s > 600)
        fake_broken("a watch whose timeoutSeconds is not within 300..600: %s", request->url);
    if (request->timeout_ms <= timeout_s * 1000)
        fake_broken("a watch without a deadline of its own past timeoutSeconds: %s", request->url);
    if (!strstr(request->url, "allowWatchBookmarks=true"))
        fake_broken("a watch without bookmarks: %s", request->url);
    if (request->lane != HTTP_LANE_OWN)
        fake_broken("a watch without a connection of its own: %s", request->url);
}

/* ---- the interface ---- */

static void complete(struct http_transfer *t) {
    void (*on_done)(void *, const struct http_result *) = t->on_done;
    t->open = t->paused = false;
    t->on_done = NULL;
    loop_timer_stop(t->deadline);
    loop_timer_stop(t->flush);
    bool was = fake_set_in_program(true);
    on_done(t->arg, &t->result);
    fake_in_program = was;
}

static void on_deadline(void *arg) {
    fake_http_fail(arg, true, "Operation timed out");
}

static void on_flush(void *arg) {
    struct http_transfer *t = arg;
    bool was = fake_set_in_program(false);
    struct strbuf held = t->held;
    bool end = t->end_held;
    strbuf_init(&t->held, HELD_MAX);
    t->paused = t->end_held = false;
    if (held.len)
        fake_http_data(t, held.data, held.len);
    if (end && t->open)
        fake_http_end(t);
    strbuf_finish(&held);
    fake_in_program = was;
}

struct http_transfer *http_start(struct http *http, const struct http_request *request, struct error *err) {
    struct http_transfer *t = calloc(1, sizeof *t);
    if (!t) {
        error_nomem(err);
        return NULL;
    }
    bool was = fake_set_in_program(false);
    if (strcmp(request->method, "DELETE") == 0)
        check_delete(request->body, "is made");
    if (strstr(request->url, "watch=true"))
        check_watch(request);
    if (strstr(request->url, "/apis/events.k8s.io/"))
        check_event(request);
    if (!(t->deadline = loop_timer_create(http->loop, on_deadline, t, err)) ||
            !(t->flush = loop_timer_create(http->loop, on_flush, t, err)))
        fake_broken("out of memory");
    t->http = http;
    t->method = strdup(request->method);
    t->url = strdup(request->url);
    t->body = strdup(request->body ? request->body : "");
    for (int i = 0; i < HEADERS_MAX && request->headers[i]; i++)
        t->headers[i] = strdup(request->headers[i]);
    t->arg = request->arg;
    t->may_send = request->may_send;
    t->on_head = request->on_head;
    t->on_data = request->on_data;
    t->on_done = request->on_done;
    t->result = (struct http_result){
            .retry_after_ms = -1, .date_ms = TIME_NONE, .sent_ms = clock_mono_ms(), .answered_ms = TIME_NONE};
    strbuf_init(&t->held, HELD_MAX);
    t->open = true;
    *http->tail = t;
    http->tail = &t->next;
    loop_timer_start(t->deadline, request->timeout_ms);
    fake_in_program = was;
    return t;
}

void http_cancel(struct http_transfer *t) {
    if (!t)
        return;
    t->open = t->paused = false;
    t->on_head = NULL;
    t->on_data = NULL;
    t->on_done = NULL;
    loop_timer_stop(t->deadline);
    loop_timer_stop(t->flush);
}

void http_resume(struct http_transfer *t) {
    if (t->paused)
        loop_timer_start(t->flush, 0); /* never from within */
}

int http_status(const struct http_transfer *t) {
    return t->result.status;
}

/* ---- the scenario's side ---- */

struct http_transfer *fake_http_first(void) {
    return current ? current->transfers : NULL;
}

struct http_transfer *fake_http_next(const struct http_transfer *t) {
    return t->next;
}

const char *fake_http_method(const struct http_transfer *t) {
    return t->method;
}

const char *fake_http_path(const struct http_transfer *t) {
    const char *host = strstr(t->url, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;
    return path ? path : t->url;
}

const char *fake_http_body(const struct http_transfer *t) {
    return t->body;
}

const char *fake_http_header(const struct http_transfer *t, const char *name) {
    size_t len = strlen(name);
    for (int i = 0; i < HEADERS_MAX && t->headers[i]; i++) {
        if (strncasecmp(t->headers[i], name, len) == 0 && t->headers[i][len] == ':')
            return t->headers[i] + len + 1 + (t->headers[i][len + 1] == ' ');
    }
    return NULL;
}

bool fake_http_is_open(const struct http_transfer *t) {
    return t->open;
}

bool fake_http_is_headed(const struct http_transfer *t) {
    return t->headed;
}

bool fake_http_is_paused(const struct http_transfer *t) {
    return t->paused;
}

bool fake_http_is_expected(const struct http_transfer *t) {
    return t->expected;
}

bool fake_http_send(void) {
    bool withheld = false;
    for (struct http_transfer *t = fake_http_first(); t; t = t->next) {
        if (!t->open || t->left)
            continue;
        bool was = fake_set_in_program(true), may = !t->may_send || t->may_send(t->arg);
        fake_in_program = was;
        if (may) {
            leave(t);
            continue;
        }
        t->left = true;
        t->result.withheld = withheld = true;
        fake_http_fail(t, false, "not sent: it was too late for it");
    }
    return withheld;
}

void fake_http_expect(struct http_transfer *t) {
    t->expected = true;
}

void fake_http_head(struct http_transfer *t, const struct fake_answer *answer) {
    leave(t);
    t->headed = true;
    t->result.status = answer->status;
    t->result.retry_after_ms = answer->retry_after_ms;
    t->result.date_ms = answer->date_ms;
    t->result.answered_ms = clock_mono_ms();
    bool was = fake_set_in_program(true);
    if (t->on_head)
        t->on_head(t->arg, answer->status, answer->content_type ? answer->content_type : "application/json");
    fake_in_program = was;
}

void fake_http_data(struct http_transfer *t, const char *data, size_t len) {
    if (t->paused) {
        strbuf_add(&t->held, data, len);
        return;
    }
    if (!t->on_data || len == 0)
        return;
    bool was = fake_set_in_program(true);
    enum http_data_result result = t->on_data(t->arg, t, data, len);
    fake_in_program = was;
    switch (result) {
    case HTTP_GO_ON:
        break;
    case HTTP_PAUSE:
        t->paused = t->open;
        break;
    case HTTP_ABORT:
        if (t->open)
            fake_http_fail(t, true, "stopped by this side");
        break;
    }
}

void fake_http_end(struct http_transfer *t) {
    if (t->paused) {
        t->end_held = true;
        return;
    }
    t->result.sent = true;
    complete(t);
}

void fake_http_end_after(struct http_transfer *t, int64_t delay_ms) {
    t->end_held = true;
    loop_timer_start(t->flush, delay_ms);
}

void fake_http_fail(struct http_transfer *t, bool sent, const char *why) {
    t->result.sent = sent || t->result.status != 0;
    t->result.failure = why;
    complete(t);
}
