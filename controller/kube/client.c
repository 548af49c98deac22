#include "kube/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "kube/credentials.h"
#include "kube/protostream.h"

#ifndef SEXTON_VERSION
#define SEXTON_VERSION "dev"
#endif

#define URL_MAX 8192 /* a continue token is some 200 bytes, a selector rarely more */

/* A DELETE takes some ms, a page of a list up to seconds, and HTTP gives up after 30 s or 2 minutes. */
static const struct histogram_scale duration_scale = {.per_second = 1000,
        .n = 14,
        .upper = {5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000}};

static const struct tally_cells verb_cells = {.n = CLIENT_VERBS - 1,
        .labels = 1,
        .texts = {{"get"}, {"list"}, {"watch"}, {"create"}, {"update"}, {"patch"}, {"delete"}}};

struct client {
    struct http *http;
    const struct kube_config *config;
    struct credentials *credentials;
    struct client_handler handler;
    struct client_call *calls;
    struct loop_timer *failures; /* calls that failed before they were sent are told so from the loop */
    struct client_stats stats;
    int64_t silent_since_ms; /* monotonic: the first request in a row that had no answer; 0: none */
    char silent_why[ERROR_TEXT_MAX];
};

struct client_call {
    struct client *client;
    struct client_call *next, *previous;
    char *method, *path, *body, *content_type, *accept;
    enum http_lane lane;
    int64_t timeout_ms;
    void *arg;
    bool (*may_send)(void *arg);
    void (*opened)(void *arg, const char *content_type);
    enum http_data_result (*data)(void *arg, const char *data, size_t len);
    void (*done)(void *arg, const struct client_answer *answer);
    struct http_transfer *transfer;
    enum client_verb verb;
    int64_t sent_ms; /* monotonic */
    bool counted;
    uint64_t login; /* generation of the login that was sent */
    bool tried_again;
    bool is_protobuf; /* what is collected */
    bool failed;      /* collected holds why, until the timer tells */
    struct strbuf collected;
};

static void tell_failures(void *arg);

struct client *client_create(
        struct loop *loop, const struct kube_config *config, const struct client_handler *handler, struct error *err) {
    struct client *client = calloc(1, sizeof *client);
    if (!client) {
        error_nomem(err);
        return NULL;
    }
    client->config = config;
    tally_init(&client->stats.requests, &verb_cells);
    for (int verb = 0; verb < CLIENT_VERBS; verb++)
        client->stats.durations[verb].scale = &duration_scale;
    if (handler)
        client->handler = *handler;
    client->failures = loop_timer_create(loop, tell_failures, client, err);
    client->http = client->failures ? http_create(loop, err) : NULL;
    client->credentials = client->http ? credentials_create(loop, config, err) : NULL;
    if (!client->credentials) {
        client_destroy(client);
        return NULL;
    }
    return client;
}

static void call_free(struct client_call *call) {
    if (call->previous)
        call->previous->next = call->next;
    else
        call->client->calls = call->next;
    if (call->next)
        call->next->previous = call->previous;
    credentials_forget(call->client->credentials, call);
    strbuf_finish(&call->collected);
    free(call->method);
    free(call->path);
    free(call->body);
    free(call->content_type);
    free(call->accept);
    free(call);
}

void client_cancel(struct client_call *call) {
    if (!call)
        return;
    http_cancel(call->transfer);
    call->transfer = NULL;
    call_free(call);
}

void client_destroy(struct client *client) {
    if (!client)
        return;
    while (client->calls)
        client_cancel(client->calls);
    credentials_destroy(client->credentials);
    http_destroy(client->http);
    loop_timer_destroy(client->failures);
    tally_finish(&client->stats.requests);
    free(client);
}

void client_set_user_timeout(struct client *client, int64_t timeout_ms) {
    http_set_user_timeout(client->http, HTTP_LANE_SHARED, timeout_ms);
}

void client_set_pool(struct client *client, int connections) {
    http_set_pool(client->http, HTTP_LANE_SHARED, connections);
}

void client_resume(struct client_call *call) {
    if (call->transfer)
        http_resume(call->transfer);
}

void client_add_escaped(struct strbuf *buf, const char *text) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
            strbuf_add_char(buf, *text);
        else
            strbuf_add_format(buf, "%%%02X", c);
    }
}

const struct client_stats *client_stats(const struct client *client) {
    return &client->stats;
}

static enum client_verb verb_of(const struct client_request *request) {
    static const struct {
        const char *method;
        enum client_verb verb;
    } methods[] = {{"POST", CLIENT_CREATE}, {"PUT", CLIENT_UPDATE}, {"PATCH", CLIENT_PATCH}, {"DELETE", CLIENT_DELETE}};
    for (size_t i = 0; request->verb == CLIENT_BY_METHOD && i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(request->method, methods[i].method) == 0)
            return methods[i].verb;
    }
    return request->verb == CLIENT_BY_METHOD ? CLIENT_GET : request->verb;
}

/* status 0: no answer. */
static void count(struct client_call *call, int status, bool withheld) {
    struct client_stats *stats = &call->client->stats;
    char code[16];
    snprintf(code, sizeof code, "%d", status);
    if (!call->counted)
        tally_add(&stats->requests, withheld ? "withheld" : status ? code : "none", (int)call->verb - 1);
    call->counted = true;
}

/* failure NULL: there was one. */
static void note_answer(struct client *client, const char *failure) {
    if (!failure) {
        client->silent_since_ms = 0;
        return;
    }
    if (!client->silent_since_ms)
        client->silent_since_ms = clock_mono_ms();
    snprintf(client->silent_why, sizeof client->silent_why, "%s", failure);
}

int64_t client_silent_ms(const struct client *client, const char **ret_why) {
    *ret_why = client->silent_why;
    if (!client->silent_since_ms)
        return 0;
    int64_t ms = clock_mono_ms() - client->silent_since_ms;
    return ms > 0 ? ms : 1;
}

static void finish(struct client_call *call, const struct client_answer *answer) {
    void (*done)(void *, const struct client_answer *) = call->done;
    void *arg = call->arg;
    call_free(call);
    done(arg, answer);
}

static void fail_later(struct client_call *call, const char *message) {
    strbuf_clear(&call->collected);
    strbuf_add_text(&call->collected, message);
    call->failed = true;
    loop_timer_start(call->client->failures, 0);
}

static void tell_failures(void *arg) {
    struct client *client = arg;
    struct client_call *call = client->calls;
    while (call && !call->failed)
        call = call->next;
    if (!call)
        return;
    loop_timer_start(client->failures, 0); /* for the next one: done may change the list */
    char message[ERROR_TEXT_MAX];
    snprintf(message, sizeof message, "%s", strbuf_text(&call->collected));
    count(call, 0, false);
    note_answer(client, message);
    finish(call, &(struct client_answer){.retry_after_ms = -1, .message = message});
}

/* What a body that is not ours tells: an HTML page of a proxy, say. */
static const char *describe_status(int status, const char *body, char text[ERROR_TEXT_MAX]) {
    while (*body == ' ' || *body == '\n' || *body == '\r' || *body == '\t')
        body++;
    snprintf(text, ERROR_TEXT_MAX, "HTTP status %d%s", status,
            *body == '<' ? " with an HTML page: something between here and the API server answers in its place"
            : *body == '{' || !*body ? ""
                                     : " with a body that is not Kubernetes' own");
    return text;
}

/* What an answer's pointers point to. */
struct words {
    json_t *body;
    struct strbuf reason, message;
    char text[ERROR_TEXT_MAX];
};

static enum error_kind read_json(const struct client_call *call, struct client_answer *answer, struct words *words) {
    struct error why = {0};
    words->body = json_read(
            strbuf_text(&call->collected), call->collected.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL, &why);
    answer->body = words->body;
    answer->reason = json_string_value(json_object_get(words->body, "reason"));
    answer->message = json_string_value(json_object_get(words->body, "message"));
    return why.kind;
}

/* Of these only what went wrong is collected. */
static enum error_kind read_protobuf(
        const struct client_call *call, struct client_answer *answer, struct words *words) {
    struct error why = {0};
    if (answer->status / 100 == 2)
        return ERROR_NONE;
    if (protostream_read_status(
                strbuf_text(&call->collected), call->collected.len, &words->reason, &words->message, &why) == 0) {
        answer->reason = words->reason.len ? strbuf_text(&words->reason) : NULL;
        answer->message = words->message.len ? strbuf_text(&words->message) : NULL;
    }
    return why.kind;
}

static void on_head(void *arg, int status, const char *content_type) {
    struct client_call *call = arg;
    call->is_protobuf = protostream_is_type(content_type);
    if (status == 200 && call->verb == CLIENT_WATCH)
        count(call, status, false);
    note_answer(call->client, NULL);
    if (status == 200 && call->opened)
        call->opened(call->arg, content_type);
}

static enum http_data_result on_data(void *arg, struct http_transfer *transfer, const char *data, size_t len) {
    struct client_call *call = arg;
    note_answer(call->client, NULL);
    if (call->data && http_status(transfer) == 200)
        return call->data(call->arg, data, len);
    strbuf_add(&call->collected, data, len);
    return strbuf_failed(&call->collected) ? HTTP_ABORT : HTTP_GO_ON;
}

static bool may_send(void *arg) {
    const struct client_call *call = arg;
    return call->may_send(call->arg);
}

static void on_login(void *arg, const struct kube_auth *auth, const struct error *err);

static void on_done(void *arg, const struct http_result *result) {
    struct client_call *call = arg;
    struct client *client = call->client;
    call->transfer = NULL;
    count(call, result->failure ? 0 : result->status, result->withheld);
    if (call->verb != CLIENT_WATCH && !result->withheld)
        histogram_observe(&client->stats.durations[call->verb], clock_mono_ms() - call->sent_ms);
    if (result->date_ms != TIME_NONE && client->handler.date)
        client->handler.date(client->handler.arg, result->sent_ms, result->answered_ms, result->date_ms);
    if (result->failure && !result->status && !result->withheld)
        note_answer(client, result->failure);
    if (result->status == 403 && client->handler.forbidden)
        client->handler.forbidden(client->handler.arg);
    if (result->status == 401 && !call->tried_again) {
        call->tried_again = true;
        if (credentials_refused(client->credentials, call->login)) {
            strbuf_clear(&call->collected);
            credentials_ask(client->credentials, on_login, call);
            return;
        }
    }
    struct words words = {.reason = STRBUF_INIT(PROTOSTREAM_WORD_MAX), .message = STRBUF_INIT(PROTOSTREAM_MESSAGE_MAX)};
    struct client_answer answer = {.status = result->failure ? 0 : result->status,
            .sent = result->sent,
            .withheld = result->withheld,
            .retry_after_ms = result->retry_after_ms};
    if (result->failure) {
        snprintf(words.text, sizeof words.text, "%s", result->failure);
        answer.message = words.text;
    } else if ((call->is_protobuf ? read_protobuf : read_json)(call, &answer, &words) == ERROR_NOMEM) {
        answer.status = 0; /* what it said is not known */
        answer.message = "out of memory: the answer could not be read";
    } else if (!answer.message || result->status / 100 == 2) {
        answer.message =
                describe_status(result->status, call->is_protobuf ? "" : strbuf_text(&call->collected), words.text);
    }
    finish(call, &answer);
    json_decref(words.body);
    strbuf_finish(&words.reason);
    strbuf_finish(&words.message);
}

static int send_call(struct client_call *call, const struct kube_auth *auth, struct error *err) {
    const struct kube_config *config = call->client->config;
    struct strbuf url = STRBUF_INIT(URL_MAX), authorization = STRBUF_INIT(CLIENT_BODY_MAX), type = STRBUF_INIT(256),
                  accept = STRBUF_INIT(256);
    strbuf_add_format(&url, "%s%s", config->server, call->path);
    strbuf_add_format(&accept, "Accept: %s", call->accept ? call->accept : "application/json");
    const char *headers[6] = {
            strbuf_text(&accept), ("User-Agent: sexton/" SEXTON_VERSION), "Expect:" /* no waiting for 100 Continue */};
    int n = 3;
    if (auth->authorization) {
        strbuf_add_format(&authorization, "Authorization: %s", auth->authorization);
        headers[n++] = strbuf_text(&authorization);
    }
    if (call->body) {
        strbuf_add_format(&type, "Content-Type: %s", call->content_type ? call->content_type : "application/json");
        headers[n++] = strbuf_text(&type);
    }
    struct http_target target = {
            .ca_file = config->ca_file,
            .ca_pem = config->ca_data,
            .cert_file = config->cert_file,
            .cert_pem = auth->cert_pem ? auth->cert_pem : config->cert_data,
            .key_file = config->key_file,
            .key_pem = auth->key_pem ? auth->key_pem : config->key_data,
            .tls_server_name = config->tls_server_name,
            .proxy_url = config->proxy_url,
            .insecure = config->insecure,
    };
    struct http_request request = {.method = call->method,
            .url = strbuf_text(&url),
            .headers = headers,
            .body = call->body,
            .target = &target,
            .lane = call->lane,
            .timeout_ms = call->timeout_ms,
            .arg = call,
            .may_send = call->may_send ? may_send : NULL,
            .on_head = on_head,
            .on_data = on_data,
            .on_done = on_done};
    int result = -1;
    if (strbuf_failed(&url) || strbuf_failed(&authorization) || strbuf_failed(&type) || strbuf_failed(&accept))
        error_set(err, ERROR_LIMIT, "the URL is longer than %d bytes, or memory ran out", URL_MAX);
    else if ((call->transfer = http_start(call->client->http, &request, err)))
        result = 0;
    call->login = auth->generation;
    call->sent_ms = clock_mono_ms();
    call->counted = false;
    strbuf_finish(&url);
    strbuf_finish(&authorization);
    strbuf_finish(&type);
    strbuf_finish(&accept);
    return result;
}

static void on_login(void *arg, const struct kube_auth *auth, const struct error *err) {
    struct client_call *call = arg;
    struct error failure = {0};
    if (!auth)
        fail_later(call, err->text);
    else if (send_call(call, auth, &failure) < 0)
        fail_later(call, failure.text);
}

struct client_call *client_start(struct client *client, const struct client_request *request, struct error *err) {
    struct client_call *call = calloc(1, sizeof *call);
    if (!call) {
        error_nomem(err);
        return NULL;
    }
    call->client = client;
    call->next = client->calls;
    if (client->calls)
        client->calls->previous = call;
    client->calls = call;
    call->lane = request->lane;
    call->verb = verb_of(request);
    call->timeout_ms = request->timeout_ms ? request->timeout_ms : CLIENT_REQUEST_TIMEOUT_MS;
    call->arg = request->arg;
    call->may_send = request->may_send;
    call->opened = request->opened;
    call->data = request->data;
    call->done = request->done;
    strbuf_init(&call->collected, CLIENT_BODY_MAX);
    call->method = strdup(request->method);
    call->path = strdup(request->path);
    call->body = request->body ? strdup(request->body) : NULL;
    call->content_type = request->content_type ? strdup(request->content_type) : NULL;
    call->accept = request->accept ? strdup(request->accept) : NULL;
    if (!call->method || !call->path || (request->body && !call->body) ||
            (request->content_type && !call->content_type) || (request->accept && !call->accept)) {
        call_free(call);
        error_nomem(err);
        return NULL;
    }
    credentials_ask(client->credentials, on_login, call);
    return call;
}
