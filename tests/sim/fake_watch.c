/* Watches: answers of kube/http.c's that go on, until something ends them. */
#include "fake_http.h"

#include "cluster.h"
#include "machine.h"
#include "model.h"

#define FRAMES_MAX 8 /* in one piece */

void stream_open(struct http_transfer *t) {
    t->stage = STREAMING;
    t->position = t->first_position = t->reply.as_of;
    t->end_ms = world->now_ms + t->route.timeout_ms;
    reply_finish(&t->reply);
    reply_init(&t->reply, t->route.protobuf);
    t->passed = 0;
    int initial = t->route.single ? server_initial_frame(&t->route, t->position, &t->reply.body) : -1;
    if (initial >= 0)
        server_mark_frame(&t->route, &t->reply, initial);
    if (t->route.single && t->position < world->log_len)
        t->lag_until_ms = world->now_ms + chance_range(0, 10000);
    transfer_plan(t, STREAMING, 0);
}

static void add_frame(struct http_transfer *t, int entry) {
    if (!server_frame(&t->route, entry, &t->reply.body))
        return;
    server_mark_frame(&t->route, &t->reply, entry);
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
        transfer_complete(t, NULL);
        return true;
    case STREAM_RESET:
        counts[COUNT_WATCH_CUT]++;
        transfer_complete(t, "Connection reset by peer");
        return true;
    case STREAM_MID_JSON:
        counts[COUNT_WATCH_MID_JSON]++;
        if (first >= 0)
            server_frame(&t->route, first, &t->reply.body);
        else
            server_bookmark(&t->route, t->position - 1, &t->reply.body);
        if (transfer_pass(t, 1 + chance_below(t->reply.body.len - 2)))
            transfer_complete(t, NULL);
        return true;
    case STREAM_GONE:
        counts[COUNT_410_EVENT]++;
        server_error_frame(&t->route, &t->reply.body, 410);
        break;
    case STREAM_BOOKMARK:
        server_bookmark(&t->route, t->position - 1, &t->reply.body);
        server_mark_frame(&t->route, &t->reply, t->position - 1);
        t->reply.marks[t->reply.n_marks - 1].bookmark = true;
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

void stream_go_on(struct http_transfer *t) {
    if (transfer_is_cut(t) || t->paused)
        return;
    bool lags = t->lag_until_ms > world->now_ms;
    if (t->passed == t->reply.body.len) {
        strbuf_clear(&t->reply.body);
        t->passed = 0;
        t->reply.n_marks = t->marks_passed = 0;
        if (t->disturbed && disturb(t))
            return;
        for (int n = 0; n < FRAMES_MAX && !lags && t->position < world->log_len; n++)
            add_frame(t, t->position++);
    }
    size_t left = t->reply.body.len - t->passed;
    size_t len = left > 1 && !world->healed && chance_permille(50) ? 1 + chance_below(left - 1) : left;
    if (len && !transfer_pass(t, len))
        return;
    if (t->paused)
        return;
    if (t->passed < t->reply.body.len || t->position < world->log_len)
        transfer_plan(t, STREAMING,
                t->passed < t->reply.body.len ? chance_range(0, 50)
                : lags                        ? t->lag_until_ms - world->now_ms
                                              : 0);
    else if (t->end_ms <= world->now_ms)
        transfer_complete(t, NULL);
    else
        transfer_plan(t, STREAMING, t->end_ms - world->now_ms);
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
            transfer_plan(t, STREAMING, 0);
        trace("  server: a watch of machine %d is disturbed (%d)", t->machine->index, fault);
        return;
    }
}

/* Without a network for long enough, keepalive ends what is idle. */
void machine_cut_streams(struct machine *m, int64_t for_ms) {
    for (struct http_transfer *t = world->transfers; t; t = t->next) {
        if (t->open && t->machine == m && t->stage == STREAMING && for_ms > TCP_PATIENCE_MS + KEEPALIVE_MS)
            transfer_get_stuck(t, "Connection timed out", TCP_PATIENCE_MS + chance_range(0, KEEPALIVE_MS));
    }
}
