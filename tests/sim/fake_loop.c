/* base/loop.c on virtual time: each timer is a happening of its machine. */
#include "sim.h"

#include <stdlib.h>

struct loop {
    struct machine *machine;
};

struct loop_timer {
    struct happening happening;
    void (*fire)(void *arg);
    void *arg;
};

struct loop_wake {
    struct happening happening;
    void (*woken)(void *arg);
    void *arg;
};

struct loop *loop_create(struct error *err) {
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        error_nomem(err);
    else
        loop->machine = world->running;
    return loop;
}

void loop_destroy(struct loop *loop) {
    free(loop);
}

void loop_run(struct loop *loop) {
    (void)loop;
    abort();
}

void loop_stop(struct loop *loop) {
    (void)loop;
}

static void on_timer(void *arg) {
    struct loop_timer *timer = arg;
    timer->fire(timer->arg);
}

struct loop_timer *loop_timer_create(struct loop *loop, void (*fire)(void *arg), void *arg, struct error *err) {
    struct loop_timer *timer = calloc(1, sizeof *timer);
    if (!timer) {
        error_nomem(err);
        return NULL;
    }
    happening_init(&timer->happening, loop->machine, on_timer, timer);
    timer->fire = fire;
    timer->arg = arg;
    return timer;
}

void loop_timer_destroy(struct loop_timer *timer) {
    if (!timer)
        return;
    happening_cancel(&timer->happening);
    free(timer);
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms) {
    happening_plan(&timer->happening, world->now_ms + (delay_ms > 0 ? delay_ms : 0));
}

void loop_timer_stop(struct loop_timer *timer) {
    happening_cancel(&timer->happening);
}

bool loop_timer_active(const struct loop_timer *timer) {
    return happening_is_planned(&timer->happening);
}

static void on_wake(void *arg) {
    struct loop_wake *wake = arg;
    wake->woken(wake->arg);
}

struct loop_wake *loop_wake_create(struct loop *loop, void (*woken)(void *arg), void *arg, struct error *err) {
    struct loop_wake *wake = calloc(1, sizeof *wake);
    if (!wake) {
        error_nomem(err);
        return NULL;
    }
    happening_init(&wake->happening, loop->machine, on_wake, wake);
    wake->woken = woken;
    wake->arg = arg;
    return wake;
}

void loop_wake_destroy(struct loop_wake *wake) {
    if (!wake)
        return;
    happening_cancel(&wake->happening);
    free(wake);
}

void loop_wake_send(struct loop_wake *wake) {
    if (!happening_is_planned(&wake->happening))
        happening_plan(&wake->happening, world->now_ms);
}

/* ---- what the simulation has no use for ---- */

struct loop_signal *loop_signal_create(struct loop *loop, int signal_number,
        void (*raised)(void *arg, int signal_number), void *arg, struct error *err) {
    (void)loop;
    (void)signal_number;
    (void)raised;
    (void)arg;
    error_set(err, ERROR_IO, "the simulation has no signals");
    return NULL;
}

void loop_signal_destroy(struct loop_signal *watcher) {
    (void)watcher;
}

struct loop_reader *loop_reader_create(
        struct loop *loop, int fd, void (*readable)(void *arg, int fd), void *arg, struct error *err) {
    (void)loop;
    (void)fd;
    (void)readable;
    (void)arg;
    error_set(err, ERROR_IO, "the simulation has no file descriptors");
    return NULL;
}

void loop_reader_destroy(struct loop_reader *reader) {
    (void)reader;
}

struct loop_child *loop_child_create(
        struct loop *loop, pid_t pid, void (*ended)(void *arg, int status), void *arg, struct error *err) {
    (void)loop;
    (void)pid;
    (void)ended;
    (void)arg;
    error_set(err, ERROR_IO, "the simulation has no processes");
    return NULL;
}

void loop_child_destroy(struct loop_child *child) {
    (void)child;
}
