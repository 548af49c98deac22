/*
 * kube/http.c without a network: a request is begun, leaves, arrives, is obeyed, and its answer comes back; at each of
 * these something can go wrong. What has left a process acts on the server even when the process is gone.
 */
#include "kube/http.h"

#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "machine.h"
#include "model.h"
#include "server.h"

#define TCP_PATIENCE_MS 30000 /* a connection whose packets get through again within this time lives on */
#define KEEPALIVE_MS 15000    /* and this much later the other end has noticed */
#define FRAMES_MAX 8          /* in one piece of a watch */

enum stage { CONNECTING, SENDING, TRAVELLING, RETURNING, STREAMING, STUCK };
enum fault {
    FAULT_NONE,
    FAULT_REFUSED,
    FAULT_LOST_BEFORE,
    FAULT_LOST_AFTER,
    FAULT_STATUS,
    FAULT_LATE_STATUS,
    FAULT_TRUNCATED
};

struct http {
    struct machine *machine;
    int64_t patience_ms[2]; /* by lane: what was not acknowledged for so long is thrown away */
};

struct http_transfer {
    struct http *http;
    struct machine *machine;
    struct http_transfer *next, *previous;
    char *body;
    struct route route;
    void *arg;
    bool (*may_send)(void *arg);
    void (*on_head)(void *arg, int status);
    enum http_data_result (*on_data)(void *arg, struct http_transfer *transfer, const char *data, size_t len);
    void (*on_done)(void *arg, const struct http_result *result);
    struct http_result result;
    struct happening step, deadline;
    enum stage stage;
    enum fault fault;
    struct reply reply;
    size_t passed;
    int marks_passed;
    int64_t started_ms, left_ms, patience_ms, date_ms, date_epoch;
    const char *failure; /* what the deadline tells */
    bool open;           /* its process wants to know */
    bool busy, dead;     /* in its own callback; and over by then */
    bool left, headed, paused, counted;
    int position, first_position; /* of a watch: the next entry, and where it began */
    int64_t end_ms;               /* of a watch: when the server ends it */
    bool disturbed;
    enum stream_fault disturbance;
};

static void on_step(void *arg);
static void on_deadline(void *arg);

/* ---- traces ---- */

/* The renewals of a lease would hide everything else. */
static bool is_dull(const struct http_transfer *t) {
    return t->route.what >= ROUTE_LEASE_GET;
}

static const char *what_of(const struct http_transfer *t) {
    static const char *const names[] = {
            "a question", "a list", "a watch", "a DELETE", "a look", "a lease read", "a lease made", "a lease written"};
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

int http_status(const struct http_transfer *t) {
    return t->result.status;
}

static int64_t latency_ms(void) {
    if (world->healed)
        return chance_range(1, 5);
    uint64_t kind = chance_below(100);
    return kind < 80 ? chance_range(0, 8) : kind < 96 ? chance_range(8, 300) : chance_range(300, 5000);
}

static void plan(struct http_transfer *t, enum stage stage, int64_t after_ms) {
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
    reply_init(&t->reply);
    happening_init(&t->step, m, on_step, t);
    happening_init(&t->deadline, m, on_deadline, t);
    route_parse(request->method, path ? path : "/", &t->route);
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
    plan(t, CONNECTING, world->healed || chance_permille(800) ? 0 : chance_range(0, chance_permille(900) ? 20 : 3000));
    return t;
}

/* failure NULL: a whole answer. */
static void complete(struct http_transfer *t, const char *failure) {
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
    if (t->route.what == ROUTE_LIST && !failure && result.status == 200 && t->reply.whole_list)
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
    complete(t, t->failure ? t->failure : "Operation timed out");
}

/* Nothing comes any more; after a while somebody notices. */
static void get_stuck(struct http_transfer *t, const char *failure, int64_t notice_ms) {
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

/* True: there is no network now, and this was put off. */
static bool is_cut(struct http_transfer *t) {
    int64_t left_ms = t->machine->cut_until_ms - world->now_ms;
    if (left_ms <= 0)
        return false;
    if (t->stage == TRAVELLING ? t->machine->cut_until_ms - t->left_ms <= t->patience_ms : left_ms <= TCP_PATIENCE_MS)
        plan(t, t->stage, left_ms + chance_range(0, 200));
    else
        get_stuck(t, "Connection timed out", TCP_PATIENCE_MS + chance_range(0, KEEPALIVE_MS));
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
    complete(t, "not sent: it was too late for it");
    return true;
}

static void connect_now(struct http_transfer *t) {
    int64_t give_up_ms = t->started_ms + HTTP_CONNECT_TIMEOUT_MS, cut_until_ms = t->machine->cut_until_ms;
    if (cut_until_ms > world->now_ms) {
        if (world->now_ms >= give_up_ms)
            complete(t, "Connection timed out");
        else
            plan(t, CONNECTING, (cut_until_ms < give_up_ms ? cut_until_ms : give_up_ms) - world->now_ms);
        return;
    }
    t->fault = draw_fault();
    if (t->fault == FAULT_REFUSED) {
        counts[COUNT_REFUSED_CONNECTION]++;
        complete(t, "Connection refused");
        return;
    }
    if (!is_withheld(t))
        plan(t, SENDING, t->body[0] && !world->healed && chance_permille(200) ? chance_range(0, 2) : 0);
}

static void leave(struct http_transfer *t) {
    if (is_withheld(t))
        return;
    t->left = true;
    t->left_ms = world->now_ms;
    model_leaves(t->machine, &t->route, t->body);
    plan(t, TRAVELLING, latency_ms());
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
    if (is_cut(t))
        return;
    if (t->fault == FAULT_LOST_BEFORE) {
        counts[COUNT_LOST_BEFORE]++;
        get_stuck(t, "Connection reset by peer", chance_permille(500) ? chance_range(0, 50) : -1);
        return;
    }
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
                t->reply.status == 200 ? "" : strbuf_text(&t->reply.body));
    if (!t->open) {
        release(t);
        return;
    }
    if (t->fault == FAULT_LOST_AFTER) {
        counts[COUNT_LOST_AFTER]++;
        get_stuck(t, "Connection reset by peer", chance_permille(500) ? chance_range(0, 50) : -1);
        return;
    }
    t->date_epoch = world->server_epoch;
    if (world->no_date_until_ms <= world->now_ms || world->healed)
        t->date_ms = server_wall_ms() / 1000 * 1000;
    plan(t, RETURNING, latency_ms());
}

/* ---- on the way back ---- */

/* The next piece. False: the transfer is over, and may be gone. */
static bool pass(struct http_transfer *t, size_t len) {
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
        complete(t, "stopped by this side");
        return false;
    }
    if (result == HTTP_PAUSE) {
        t->paused = true;
        counts[COUNT_PAUSES]++;
    }
    return true;
}

static void open_stream(struct http_transfer *t) {
    t->stage = STREAMING;
    t->position = t->first_position = t->reply.as_of;
    t->end_ms = world->now_ms + t->route.timeout_ms;
    reply_finish(&t->reply);
    reply_init(&t->reply);
    plan(t, STREAMING, 0);
}

static bool pass_head(struct http_transfer *t) {
    t->headed = true;
    t->result.status = t->reply.status;
    t->result.retry_after_ms = t->reply.retry_after_ms;
    t->result.answered_ms = clock_mono_ms();
    t->result.date_ms = t->date_ms;
    if (t->reply.stream)
        model_watch_opens(t->machine, &t->route);
    if (t->route.what == ROUTE_LIST && t->reply.status == 200 && !t->route.from[0])
        model_list_begins(t->machine, &t->route);
    t->busy = true;
    if (t->on_head)
        t->on_head(t->arg, t->reply.status);
    t->busy = false;
    if (t->dead)
        release(t);
    else if (t->reply.stream)
        open_stream(t);
    else
        return true;
    return false;
}

static void deliver(struct http_transfer *t) {
    if (is_cut(t) || (!t->headed && !pass_head(t)) || t->paused)
        return;
    size_t left = t->reply.body.len - t->passed;
    bool cut_off = t->fault == FAULT_TRUNCATED && t->reply.status == 200;
    bool in_pieces = cut_off || (!world->healed && chance_permille(150));
    size_t len = in_pieces && left ? chance_below(left) : left;
    if (len && !pass(t, len))
        return;
    if (cut_off) {
        counts[COUNT_TRUNCATED]++;
        complete(t, "transfer closed with outstanding data remaining");
    } else if (t->passed < t->reply.body.len) {
        if (!t->paused)
            plan(t, RETURNING, chance_range(0, 20));
    } else if (!t->paused) {
        complete(t, NULL);
    }
}

void http_resume(struct http_transfer *t) {
    if (!t->paused)
        return;
    t->paused = false;
    plan(t, t->stage, 0); /* never from within */
}

/* ---- watches ---- */

static void add_frame(struct http_transfer *t, int entry) {
    if (!server_frame(&t->route, entry, &t->reply.body))
        return;
    reply_mark(&t->reply, entry);
    t->reply.marks[t->reply.n_marks - 1].end--; /* it is whole without the line's end */
}

/* The next entry from position on that this watch is about; -1: none. */
static int next_entry(const struct http_transfer *t, int from) {
    struct strbuf scratch = STRBUF_INIT(1u << 20);
    int entry = from;
    while (entry < world->log_len && !server_frame(&t->route, entry, &scratch))
        entry++;
    strbuf_finish(&scratch);
    return entry < world->log_len ? entry : -1;
}

/* True: it is over. */
static bool disturb(struct http_transfer *t) {
    bool ahead = t->disturbance == STREAM_MID_JSON || t->disturbance == STREAM_DROP || t->disturbance == STREAM_REORDER;
    int first = ahead ? next_entry(t, t->position) : -1, second = first < 0 ? -1 : next_entry(t, first + 1);
    t->disturbed = false;
    switch (t->disturbance) {
    case STREAM_END:
        counts[COUNT_WATCH_CUT]++;
        complete(t, NULL);
        return true;
    case STREAM_RESET:
        counts[COUNT_WATCH_CUT]++;
        complete(t, "Connection reset by peer");
        return true;
    case STREAM_MID_JSON:
        counts[COUNT_WATCH_MID_JSON]++;
        if (first >= 0)
            server_frame(&t->route, first, &t->reply.body);
        else
            server_bookmark(&t->route, t->position - 1, &t->reply.body);
        if (pass(t, 1 + chance_below(t->reply.body.len - 2)))
            complete(t, NULL);
        return true;
    case STREAM_GONE:
        counts[COUNT_410_EVENT]++;
        server_error_frame(&t->reply.body, 410);
        break;
    case STREAM_BOOKMARK:
        server_bookmark(&t->route, t->position - 1, &t->reply.body);
        reply_mark(&t->reply, t->position - 1);
        t->reply.marks[t->reply.n_marks - 1].bookmark = true;
        t->reply.marks[t->reply.n_marks - 1].end--;
        break;
    case STREAM_DOUBLE:
        if (t->position > t->first_position) {
            add_frame(t, t->position - 1);
            counts[COUNT_DOUBLED]++;
        }
        break;
    case STREAM_DROP:
        if (first >= 0) {
            t->position = first + 1;
            counts[COUNT_DROPPED]++;
        }
        break;
    case STREAM_REORDER:
        if (second >= 0) {
            add_frame(t, second);
            add_frame(t, first);
            t->position = second + 1;
            counts[COUNT_REORDERED]++;
        }
        break;
    }
    return false;
}

static void stream(struct http_transfer *t) {
    if (is_cut(t) || t->paused)
        return;
    if (t->passed == t->reply.body.len) {
        strbuf_clear(&t->reply.body);
        t->passed = 0;
        t->reply.n_marks = t->marks_passed = 0;
        if (t->disturbed && disturb(t))
            return;
        for (int n = 0; n < FRAMES_MAX && t->position < world->log_len; n++)
            add_frame(t, t->position++);
    }
    size_t left = t->reply.body.len - t->passed;
    size_t len = left > 1 && !world->healed && chance_permille(50) ? 1 + chance_below(left - 1) : left;
    if (len && !pass(t, len))
        return;
    if (t->paused)
        return;
    if (t->passed < t->reply.body.len || t->position < world->log_len)
        plan(t, STREAMING, t->passed < t->reply.body.len ? chance_range(0, 50) : 0);
    else if (t->end_ms <= world->now_ms)
        complete(t, NULL);
    else
        plan(t, STREAMING, t->end_ms - world->now_ms);
}

void streams_notice(int entry) {
    for (struct http_transfer *t = world->transfers; t; t = t->next) {
        if (!t->open || t->stage != STREAMING || t->route.kind != entry_at(entry)->kind || t->paused)
            continue;
        int64_t at_ms = world->now_ms + latency_ms();
        if (!happening_is_planned(&t->step) || t->step.at_ms > at_ms)
            happening_plan(&t->step, at_ms);
    }
}

void streams_disturb(enum stream_fault fault, uint64_t which) {
    int n = 0;
    for (struct http_transfer *t = world->transfers; t; t = t->next)
        n += t->open && t->stage == STREAMING;
    if (!n)
        return;
    int at = (int)(which % (uint64_t)n);
    for (struct http_transfer *t = world->transfers; t; t = t->next) {
        if (!t->open || t->stage != STREAMING || at-- > 0)
            continue;
        t->disturbed = true;
        t->disturbance = fault;
        if (!t->paused)
            plan(t, STREAMING, 0);
        trace("  server: a watch of machine %d is disturbed (%d)", t->machine->index, fault);
        return;
    }
}

/* Without a network for long enough, keepalive ends what is idle. */
void machine_cut_streams(struct machine *m, int64_t for_ms) {
    for (struct http_transfer *t = world->transfers; t; t = t->next) {
        if (t->open && t->machine == m && t->stage == STREAMING && for_ms > TCP_PATIENCE_MS + KEEPALIVE_MS)
            get_stuck(t, "Connection timed out", TCP_PATIENCE_MS + chance_range(0, KEEPALIVE_MS));
    }
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
        stream(t);
        break;
    case STUCK:
        break;
    }
}

void http_cancel_for_good(struct http_transfer *t) {
    shut(t);
    release(t);
}
