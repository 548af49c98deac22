/*
 * kube/http.c without a network: a request is begun, leaves, arrives, is obeyed, and its answer comes back; at each of
 * these something can go wrong. What has left a process acts on the server even when the process is gone.
 */
#include "fake_http.h"

#include <stdlib.h>
#include <string.h>

#include "../protobuf/encode.h"
#include "cluster.h"
#include "machine.h"
#include "model.h"

static void on_step(void *arg);
static void on_deadline(void *arg);

/* ---- traces ---- */

/* The renewals of a lease would hide everything else. */
static bool is_dull(const struct http_transfer *t) {
    return t->route.what >= ROUTE_LEASE_GET;
}

static const char *what_of(const struct http_transfer *t) {
    static const char *const names[] = {"a question", "a list", "a watch", "a DELETE", "a look", "a lease read",
            "a lease made", "a lease written", "an Event"};
    return names[t->route.what];
}

/* ---- life ---- */

struct http *http_create(struct loop *loop, struct error *err) {
    struct http *http = calloc(1, sizeof *http);
    (void)loop;
    if (!http)
        error_nomem(err);
    else
        *http = (struct http){.machine = world->running, .patience_ms = {TCP_PATIENCE_MS, TCP_PATIENCE_MS}};
    return http;
}

static void release(struct http_transfer *t) {
    if (t->busy) {
        t->dead = true;
        return;
    }
    happening_cancel(&t->step);
    happening_cancel(&t->deadline);
    if (t->previous)
        t->previous->next = t->next;
    else
        world->transfers = t->next;
    if (t->next)
        t->next->previous = t->previous;
    reply_finish(&t->reply);
    free(t->body);
    free(t);
}

static void shut(struct http_transfer *t) {
    t->open = t->paused = false;
    t->may_send = NULL;
    t->on_head = NULL;
    t->on_data = NULL;
    t->on_done = NULL;
    happening_cancel(&t->deadline);
    if (t->counted)
        t->machine->open_job_requests--;
    t->counted = false;
    t->http = NULL;
}

void http_cancel(struct http_transfer *t) {
    if (!t)
        return;
    shut(t);
    if (t->stage != TRAVELLING)
        release(t);
}

void http_destroy(struct http *http) {
    if (!http)
        return;
    for (struct http_transfer *t = world->transfers, *next; t; t = next) {
        next = t->next;
        if (t->http == http)
            http_cancel(t);
    }
    free(http);
}

void http_set_user_timeout(struct http *http, enum http_lane lane, int64_t timeout_ms) {
    http->patience_ms[lane] = timeout_ms;
}

void http_set_pool(struct http *http, enum http_lane lane, int connections) {
    (void)http;
    (void)lane;
    (void)connections;
}

int http_status(const struct http_transfer *t) {
    return t->result.status;
}

int64_t latency_ms(void) {
    if (world->healed)
        return chance_range(1, 5);
    uint64_t kind = chance_below(100);
    return kind < 80 ? chance_range(0, 8) : kind < 96 ? chance_range(8, 300) : chance_range(300, 4900);
}

void transfer_plan(struct http_transfer *t, enum stage stage, int64_t after_ms) {
    t->stage = stage;
    t->step.machine = stage == TRAVELLING ? NULL : t->machine;
    happening_plan(&t->step, world->now_ms + after_ms);
}

struct http_transfer *http_start(struct http *http, const struct http_request *request, struct error *err) {
    struct http_transfer *t = calloc(1, sizeof *t);
    (void)err;
    if (!t)
        abort();
    struct machine *m = http->machine;
    const char *host = strstr(request->url, "://"), *path = host ? strchr(host + 3, '/') : NULL;
    *t = (struct http_transfer){.http = http,
            .machine = m,
            .next = world->transfers,
            .arg = request->arg,
            .may_send = request->may_send,
            .on_head = request->on_head,
            .on_data = request->on_data,
            .on_done = request->on_done,
            .result = {.retry_after_ms = -1,
                    .date_ms = TIME_NONE,
                    .sent_ms = clock_mono_ms(),
                    .answered_ms = TIME_NONE},
            .started_ms = world->now_ms,
            .patience_ms = http->patience_ms[request->lane],
            .date_ms = TIME_NONE,
            .open = true};
    if (world->transfers)
        world->transfers->previous = t;
    world->transfers = t;
    t->body = strdup(request->body ? request->body : "");
    happening_init(&t->step, m, on_step, t);
    happening_init(&t->deadline, m, on_deadline, t);
    route_parse(request->method, path ? path : "/", &t->route);
    t->route.protobuf = protobuf_is_spoken(request->headers);
    reply_init(&t->reply, t->route.protobuf);
    digest_number((uint64_t)world->now_ms);
    digest_text(request->url);
    digest_text(t->body);
    if (m->crashing || m->ending) {
        t->stage = STUCK; /* nobody will see it leave */
        return t;
    }
    if (!is_dull(t))
        trace("  machine %d: %s %s %s", m->index, request->method, path, t->route.what == ROUTE_DELETE ? t->body : "");
    t->counted = t->route.what == ROUTE_DELETE || t->route.what == ROUTE_GET_JOB;
    m->open_job_requests += t->counted;
    model_begins(m, &t->route, t->body);
    happening_plan(&t->deadline, world->now_ms + request->timeout_ms);
    transfer_plan(t, CONNECTING,
            world->healed || chance_permille(800) ? 0 : chance_range(0, chance_permille(900) ? 20 : 3000));
    return t;
}

void transfer_complete(struct http_transfer *t, const char *failure) {
    void (*on_done)(void *, const struct http_result *) = t->on_done;
    struct http_result result = t->result;
    void *arg = t->arg;
    result.failure = failure;
    result.sent = t->left;
    if (failure || !is_dull(t))
        trace("  machine %d: %s %s", t->machine->index, what_of(t), failure ? failure : "is answered");
    if (failure == NULL && (result.status == 200 || result.status == 201) &&
            (t->route.what == ROUTE_LEASE_PUT || t->route.what == ROUTE_LEASE_POST))
        model_lease_written(t->machine, t->started_ms, strstr(t->body, "\"holderIdentity\":\"\"") != NULL);
    if (t->route.what == ROUTE_LIST && !failure && t->reply.whole_list)
        model_list_whole(t->machine, &t->route, t->reply.as_of);
    model_over(t->machine, &t->route, &result, t->date_epoch);
    shut(t);
    if (on_done)
        on_done(arg, &result);
    if (t->stage != TRAVELLING)
        release(t);
}

static void on_deadline(void *arg) {
    struct http_transfer *t = arg;
    transfer_complete(t, t->failure ? t->failure : "Operation timed out");
}

void transfer_get_stuck(struct http_transfer *t, const char *failure, int64_t notice_ms) {
    t->stage = STUCK;
    happening_cancel(&t->step);
    if (!t->open) {
        release(t);
        return;
    }
    t->failure = failure;
    if (notice_ms >= 0 && t->deadline.at_ms > world->now_ms + notice_ms)
        happening_plan(&t->deadline, world->now_ms + notice_ms);
}

bool transfer_is_cut(struct http_transfer *t) {
    int64_t left_ms = t->machine->cut_until_ms - world->now_ms;
    if (left_ms <= 0)
        return false;
    bool there = t->stage == TRAVELLING;
    if (there ? t->machine->cut_until_ms - t->left_ms <= t->patience_ms : left_ms <= TCP_PATIENCE_MS)
        transfer_plan(t, t->stage, left_ms + (there ? 0 : chance_range(0, 200)));
    else
        transfer_get_stuck(t, "Connection timed out", TCP_PATIENCE_MS + chance_range(0, KEEPALIVE_MS));
    return true;
}

/* ---- on the way there ---- */

static enum fault draw_fault(void) {
    static const enum fault faults[] = {FAULT_REFUSED, FAULT_LOST_BEFORE, FAULT_LOST_AFTER, FAULT_LOST_AFTER,
            FAULT_STATUS, FAULT_STATUS, FAULT_STATUS, FAULT_LATE_STATUS, FAULT_TRUNCATED};
    if (world->healed || !chance_permille(world->flavor.faults))
        return FAULT_NONE;
    return faults[chance_below(sizeof faults / sizeof faults[0])];
}

static bool is_withheld(struct http_transfer *t) {
    if (!t->may_send || t->may_send(t->arg))
        return false;
    counts[COUNT_WITHHELD]++;
    t->result.withheld = true;
    transfer_complete(t, "not sent: it was too late for it");
    return true;
}

static void connect_now(struct http_transfer *t) {
    int64_t give_up_ms = t->started_ms + HTTP_CONNECT_TIMEOUT_MS, cut_until_ms = t->machine->cut_until_ms;
    if (cut_until_ms > world->now_ms) {
        if (world->now_ms >= give_up_ms)
            transfer_complete(t, "Connection timed out");
        else
            transfer_plan(t, CONNECTING, (cut_until_ms < give_up_ms ? cut_until_ms : give_up_ms) - world->now_ms);
        return;
    }
    t->fault = draw_fault();
    if (t->fault == FAULT_REFUSED) {
        counts[COUNT_REFUSED_CONNECTION]++;
        transfer_complete(t, "Connection refused");
        return;
    }
    if (!is_withheld(t))
        transfer_plan(t, SENDING, t->body[0] && !world->healed && chance_permille(200) ? chance_range(0, 2) : 0);
}

static void leave(struct http_transfer *t) {
    if (is_withheld(t))
        return;
    t->left = true;
    t->left_ms = world->now_ms;
    model_leaves(t->machine, &t->route, t->body);
    /* The worst moment for a network to go. */
    if (t->route.what == ROUTE_DELETE && !world->healed && world->flavor.faults && chance_permille(3))
        machine_cut(t->machine, chance_range(1000, 40000));
    transfer_plan(t, TRAVELLING, latency_ms());
}

static void say_trouble(struct http_transfer *t, int status) {
    static const char *const messages[] = {"the simulation says so"};
    if (status == 429) {
        counts[COUNT_429]++;
        if (chance_permille(500)) {
            t->reply.retry_after_ms = 1000 * chance_range(1, 5);
            counts[COUNT_429_AFTER]++;
        }
    }
    counts[COUNT_5XX] += status >= 500;
    counts[COUNT_401] += status == 401;
    counts[COUNT_403] += status == 403;
    counts[COUNT_409] += status == 409;
    server_say(&t->reply, status, "Trouble", messages[0]);
}

static int draw_status(const struct http_transfer *t) {
    static const int any[] = {401, 403, 429, 500, 503, 504}, of_delete[] = {401, 403, 409, 409, 429, 500, 503, 504};
    if (t->route.what == ROUTE_DELETE)
        return of_delete[chance_below(sizeof of_delete / sizeof of_delete[0])];
    return any[chance_below(sizeof any / sizeof any[0])];
}

/* What the API server says before it looks at the request. 0: nothing. */
static int trouble_of_the_day(const struct http_transfer *t) {
    if (world->healed)
        return 0;
    if (world->no_login_until_ms > world->now_ms)
        return 401;
    if (world->storm_until_ms > world->now_ms)
        return world->storm_status;
    if (t->route.what == ROUTE_DELETE && t->route.namespace < NAMESPACES &&
            world->forbidden_until_ms[t->route.namespace] > world->now_ms)
        return 403;
    return t->fault == FAULT_STATUS ? draw_status(t) : 0;
}

static void arrive(struct http_transfer *t) {
    if (transfer_is_cut(t))
        return;
    if (t->fault == FAULT_LOST_BEFORE) {
        counts[COUNT_LOST_BEFORE]++;
        transfer_get_stuck(t, "Connection reset by peer", chance_permille(500) ? chance_range(0, 50) : -1);
        return;
    }
    model_arrives(t->machine, &t->route);
    int trouble = trouble_of_the_day(t);
    if (trouble)
        say_trouble(t, trouble);
    else
        server_handle(&t->route, t->body, t->machine->index, &t->reply);
    if (!trouble && t->fault == FAULT_LATE_STATUS && t->route.what >= ROUTE_DELETE) {
        counts[COUNT_5XX_AFTER_EFFECT]++;
        say_trouble(t, chance_permille(500) ? 504 : 500);
    }
    if (t->reply.status >= 300 || !is_dull(t))
        trace("  server: %s of machine %d: %d %.200s", what_of(t), t->machine->index, t->reply.status,
                t->reply.message);
    if (!t->open) {
        release(t);
        return;
    }
    if (t->fault == FAULT_LOST_AFTER) {
        counts[COUNT_LOST_AFTER]++;
        transfer_get_stuck(t, "Connection reset by peer", chance_permille(500) ? chance_range(0, 50) : -1);
        return;
    }
    t->date_epoch = world->server_epoch;
    if (world->no_date_until_ms <= world->now_ms || world->healed)
        t->date_ms = server_wall_ms() / 1000 * 1000;
    transfer_plan(t, RETURNING, latency_ms());
}

/* ---- on the way back ---- */

bool transfer_pass(struct http_transfer *t, size_t len) {
    const char *data = strbuf_text(&t->reply.body) + t->passed;
    t->passed += len;
    t->busy = true;
    enum http_data_result result = t->on_data ? t->on_data(t->arg, t, data, len) : HTTP_GO_ON;
    t->busy = false;
    if (t->dead) {
        release(t);
        return false;
    }
    for (; t->marks_passed < t->reply.n_marks && t->reply.marks[t->marks_passed].end <= t->passed; t->marks_passed++) {
        const struct mark *mark = &t->reply.marks[t->marks_passed];
        if (mark->bookmark)
            model_knows(t->machine, &t->route, mark->entry);
        else
            model_told(t->machine, &t->route, mark->entry);
    }
    if (result == HTTP_ABORT) {
        transfer_complete(t, "stopped by this side");
        return false;
    }
    if (result == HTTP_PAUSE) {
        t->paused = true;
        counts[COUNT_PAUSES]++;
    }
    return true;
}

static bool pass_head(struct http_transfer *t) {
    t->headed = true;
    t->result.status = t->reply.status;
    t->result.retry_after_ms = t->reply.retry_after_ms;
    t->result.answered_ms = clock_mono_ms();
    t->result.date_ms = t->date_ms;
    if (t->reply.stream)
        model_watch_opens(t->machine, &t->route);
    if (t->route.what == ROUTE_LIST && (t->reply.status == 200 || t->reply.whole_list) && !t->route.from[0])
        model_list_begins(t->machine, &t->route);
    t->busy = true;
    if (t->on_head)
        t->on_head(t->arg, t->reply.status, t->route.protobuf ? PROTO_CONTENT_TYPE : "application/json");
    t->busy = false;
    if (t->dead)
        release(t);
    else if (t->reply.stream)
        stream_open(t);
    else
        return true;
    return false;
}

static void deliver(struct http_transfer *t) {
    if (transfer_is_cut(t) || (!t->headed && !pass_head(t)) || t->paused)
        return;
    size_t left = t->reply.body.len - t->passed;
    bool cut_off = t->fault == FAULT_TRUNCATED && t->reply.status == 200;
    bool in_pieces = cut_off || (!world->healed && chance_permille(150));
    size_t len = in_pieces && left ? chance_below(left) : left;
    if (len && !transfer_pass(t, len))
        return;
    if (cut_off) {
        counts[COUNT_TRUNCATED]++;
        transfer_complete(t, "transfer closed with outstanding data remaining");
    } else if (t->passed < t->reply.body.len) {
        if (!t->paused)
            transfer_plan(t, RETURNING, chance_range(0, 20));
    } else if (!t->paused) {
        transfer_complete(t, NULL);
    }
}

void http_resume(struct http_transfer *t) {
    if (!t->paused)
        return;
    t->paused = false;
    transfer_plan(t, t->stage, 0); /* never from within */
}

static void on_step(void *arg) {
    struct http_transfer *t = arg;
    switch (t->stage) {
    case CONNECTING:
        connect_now(t);
        break;
    case SENDING:
        leave(t);
        break;
    case TRAVELLING:
        arrive(t);
        break;
    case RETURNING:
        deliver(t);
        break;
    case STREAMING:
        stream_go_on(t);
        break;
    case STUCK:
        break;
    }
}

void http_cancel_for_good(struct http_transfer *t) {
    shut(t);
    release(t);
}
