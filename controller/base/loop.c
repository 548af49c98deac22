#include "base/loop.h"

#include <ev.h>
#include <stdlib.h>
#include <unistd.h>

struct loop {
    struct ev_loop *ev;
};

/* libev cannot be told that there is no memory: it would abort. Its arrays grow by doubling, with the number of timers
 * and files, and never shrink; who has no room for that ends in order. What is on its way is settled by the next start,
 * since its intent is on record. */
static void *allocate(void *block, long size) {
    static const char why[] = "sexton: out of memory: the event loop cannot go on\n";
    if (size == 0) {
        free(block);
        return NULL;
    }
    void *result = realloc(block, (size_t)size);
    if (!result) {
        (void)!write(STDERR_FILENO, why, sizeof why - 1);
        _exit(1);
    }
    return result;
}

/* The default loop, because only it can reap children. So there can be one struct loop at a time. */
struct loop *loop_create(struct error *err) {
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop) {
        error_nomem(err);
        return NULL;
    }
    ev_set_allocator(allocate);
    loop->ev = ev_default_loop(EVFLAG_AUTO);
    if (!loop->ev) {
        error_set(err, ERROR_IO, "libev found no usable backend");
        free(loop);
        return NULL;
    }
    return loop;
}

void loop_destroy(struct loop *loop) {
    if (!loop)
        return;
    ev_loop_destroy(loop->ev);
    free(loop);
}

void loop_run(struct loop *loop) {
    ev_run(loop->ev, 0);
}

void loop_stop(struct loop *loop) {
    ev_break(loop->ev, EVBREAK_ALL);
}

struct ev_loop *loop_native(struct loop *loop) {
    return loop->ev;
}

struct loop_timer {
    ev_timer watcher;
    struct loop *loop;
    void (*fire)(void *arg);
    void *arg;
};

static void on_timer(struct ev_loop *ev, ev_timer *watcher, int events) {
    (void)ev;
    (void)events;
    struct loop_timer *timer = watcher->data;
    timer->fire(timer->arg);
}

struct loop_timer *loop_timer_create(struct loop *loop, void (*fire)(void *arg), void *arg, struct error *err) {
    struct loop_timer *timer = calloc(1, sizeof *timer);
    if (!timer) {
        error_nomem(err);
        return NULL;
    }
    *timer = (struct loop_timer){.loop = loop, .fire = fire, .arg = arg};
    ev_init(&timer->watcher, on_timer);
    timer->watcher.data = timer;
    return timer;
}

void loop_timer_destroy(struct loop_timer *timer) {
    if (!timer)
        return;
    loop_timer_stop(timer);
    free(timer);
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms) {
    ev_timer_stop(timer->loop->ev, &timer->watcher);
    /* libev counts from the start of the loop's turn: bring that up to date, or the timer is early after long work. */
    ev_now_update(timer->loop->ev);
    ev_timer_set(&timer->watcher, delay_ms > 0 ? (double)delay_ms / 1000.0 : 0.0, 0.0);
    ev_timer_start(timer->loop->ev, &timer->watcher);
}

void loop_timer_stop(struct loop_timer *timer) {
    ev_timer_stop(timer->loop->ev, &timer->watcher);
}

bool loop_timer_active(const struct loop_timer *timer) {
    return ev_is_active(&timer->watcher);
}

struct loop_wake {
    ev_async watcher;
    struct loop *loop;
    void (*woken)(void *arg);
    void *arg;
};

static void on_wake(struct ev_loop *ev, ev_async *watcher, int events) {
    (void)ev;
    (void)events;
    struct loop_wake *wake = watcher->data;
    wake->woken(wake->arg);
}

struct loop_wake *loop_wake_create(struct loop *loop, void (*woken)(void *arg), void *arg, struct error *err) {
    struct loop_wake *wake = calloc(1, sizeof *wake);
    if (!wake) {
        error_nomem(err);
        return NULL;
    }
    *wake = (struct loop_wake){.loop = loop, .woken = woken, .arg = arg};
    ev_async_init(&wake->watcher, on_wake);
    wake->watcher.data = wake;
    ev_async_start(loop->ev, &wake->watcher);
    return wake;
}

void loop_wake_destroy(struct loop_wake *wake) {
    if (!wake)
        return;
    ev_async_stop(wake->loop->ev, &wake->watcher);
    free(wake);
}

void loop_wake_send(struct loop_wake *wake) {
    ev_async_send(wake->loop->ev, &wake->watcher);
}

struct loop_signal {
    ev_signal watcher;
    struct loop *loop;
    void (*raised)(void *arg, int signal_number);
    void *arg;
};

static void on_signal(struct ev_loop *ev, ev_signal *watcher, int events) {
    (void)ev;
    (void)events;
    struct loop_signal *signal = watcher->data;
    signal->raised(signal->arg, watcher->signum);
}

struct loop_signal *loop_signal_create(struct loop *loop, int signal_number,
        void (*raised)(void *arg, int signal_number), void *arg, struct error *err) {
    struct loop_signal *signal = calloc(1, sizeof *signal);
    if (!signal) {
        error_nomem(err);
        return NULL;
    }
    *signal = (struct loop_signal){.loop = loop, .raised = raised, .arg = arg};
    ev_signal_init(&signal->watcher, on_signal, signal_number);
    signal->watcher.data = signal;
    ev_signal_start(loop->ev, &signal->watcher);
    return signal;
}

void loop_signal_destroy(struct loop_signal *watcher) {
    if (!watcher)
        return;
    ev_signal_stop(watcher->loop->ev, &watcher->watcher);
    free(watcher);
}

struct loop_reader {
    ev_io watcher;
    struct loop *loop;
    void (*readable)(void *arg, int fd);
    void *arg;
};

static void on_readable(struct ev_loop *ev, ev_io *watcher, int events) {
    (void)ev;
    (void)events;
    struct loop_reader *reader = watcher->data;
    reader->readable(reader->arg, watcher->fd);
}

struct loop_reader *loop_reader_create(
        struct loop *loop, int fd, void (*readable)(void *arg, int fd), void *arg, struct error *err) {
    struct loop_reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        error_nomem(err);
        return NULL;
    }
    *reader = (struct loop_reader){.loop = loop, .readable = readable, .arg = arg};
    ev_io_init(&reader->watcher, on_readable, fd, EV_READ);
    reader->watcher.data = reader;
    ev_io_start(loop->ev, &reader->watcher);
    return reader;
}

void loop_reader_destroy(struct loop_reader *reader) {
    if (!reader)
        return;
    ev_io_stop(reader->loop->ev, &reader->watcher);
    free(reader);
}

struct loop_child {
    ev_child watcher;
    struct loop *loop;
    void (*ended)(void *arg, int status);
    void *arg;
};

static void on_child(struct ev_loop *ev, ev_child *watcher, int events) {
    (void)events;
    struct loop_child *child = watcher->data;
    ev_child_stop(ev, watcher);
    child->ended(child->arg, watcher->rstatus);
}

struct loop_child *loop_child_create(
        struct loop *loop, pid_t pid, void (*ended)(void *arg, int status), void *arg, struct error *err) {
    struct loop_child *child = calloc(1, sizeof *child);
    if (!child) {
        error_nomem(err);
        return NULL;
    }
    *child = (struct loop_child){.loop = loop, .ended = ended, .arg = arg};
    ev_child_init(&child->watcher, on_child, pid, 0);
    child->watcher.data = child;
    ev_child_start(loop->ev, &child->watcher);
    return child;
}

void loop_child_destroy(struct loop_child *child) {
    if (!child)
        return;
    ev_child_stop(child->loop->ev, &child->watcher);
    free(child);
}
