#include "fake.h"

#include <stdlib.h>

#include "base/clock.h"

#define TURNS_MAX 200000 /* at one moment: more is a loop that never waits */

bool fake_in_program;

bool fake_set_in_program(bool in_program) {
    bool was = fake_in_program;
    fake_in_program = in_program;
    return was;
}

static int64_t mono_now_ms, wall_start_ms, wall_off_ms, server_off_ms;

static int64_t wall_ms(void) {
    return wall_start_ms + mono_now_ms + wall_off_ms;
}

int64_t fake_mono_ms(void) {
    return mono_now_ms;
}

int64_t fake_server_ms(void) {
    return wall_start_ms + mono_now_ms + server_off_ms;
}

void fake_clock_start(int64_t start_ms) {
    static const struct clock_source source = {wall_ms, fake_mono_ms};
    mono_now_ms = 1000000; /* not zero: a machine has been up for a while */
    wall_start_ms = start_ms - mono_now_ms;
    wall_off_ms = server_off_ms = 0;
    clock_use(&source);
}

void fake_clock_step(int64_t by_ms) {
    wall_off_ms += by_ms;
}

void fake_server_step(int64_t by_ms) {
    server_off_ms += by_ms;
}

struct loop_timer {
    struct loop *loop;
    void (*fire)(void *arg);
    void *arg;
    bool active;
    int64_t at_ms;
    uint64_t order; /* of the starts: first come, first served */
    struct loop_timer *next;
};

struct loop_wake {
    struct loop *loop;
    void (*woken)(void *arg);
    void *arg;
    bool sent;
    struct loop_wake *next;
};

struct loop {
    struct loop_timer *timers;
    struct loop_wake *wakes;
    uint64_t starts;
};

struct loop *loop_create(struct error *err) {
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        error_nomem(err);
    return loop;
}

void loop_destroy(struct loop *loop) {
    if (loop && (loop->timers || loop->wakes))
        fake_broken("the loop was destroyed before its timers and wake-ups");
    free(loop);
}

void loop_run(struct loop *loop) {
    (void)loop;
    fake_broken("loop_run: a scenario drives the loop itself");
}

void loop_stop(struct loop *loop) {
    (void)loop;
}

struct loop_timer *loop_timer_create(struct loop *loop, void (*fire)(void *arg), void *arg, struct error *err) {
    struct loop_timer *timer = calloc(1, sizeof *timer);
    if (!timer) {
        error_nomem(err);
        return NULL;
    }
    *timer = (struct loop_timer){.loop = loop, .fire = fire, .arg = arg, .next = loop->timers};
    loop->timers = timer;
    return timer;
}

void loop_timer_destroy(struct loop_timer *timer) {
    if (!timer)
        return;
    struct loop_timer **at = &timer->loop->timers;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    free(timer);
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms) {
    timer->active = true;
    timer->at_ms = mono_now_ms + (delay_ms > 0 ? delay_ms : 0);
    timer->order = ++timer->loop->starts;
}

void loop_timer_stop(struct loop_timer *timer) {
    timer->active = false;
}

bool loop_timer_active(const struct loop_timer *timer) {
    return timer->active;
}

struct loop_wake *loop_wake_create(struct loop *loop, void (*woken)(void *arg), void *arg, struct error *err) {
    struct loop_wake *wake = calloc(1, sizeof *wake);
    if (!wake) {
        error_nomem(err);
        return NULL;
    }
    *wake = (struct loop_wake){.loop = loop, .woken = woken, .arg = arg, .next = loop->wakes};
    loop->wakes = wake;
    return wake;
}

void loop_wake_destroy(struct loop_wake *wake) {
    if (!wake)
        return;
    struct loop_wake **at = &wake->loop->wakes;
    while (*at != wake)
        at = &(*at)->next;
    *at = wake->next;
    free(wake);
}

void loop_wake_send(struct loop_wake *wake) {
    wake->sent = true;
}

static struct loop_timer *next_timer(const struct loop *loop) {
    struct loop_timer *best = NULL;
    for (struct loop_timer *timer = loop->timers; timer; timer = timer->next) {
        if (timer->active &&
                (!best || timer->at_ms < best->at_ms || (timer->at_ms == best->at_ms && timer->order < best->order)))
            best = timer;
    }
    return best;
}

static bool turn(struct loop *loop) {
    for (struct loop_wake *wake = loop->wakes; wake; wake = wake->next) {
        if (!wake->sent)
            continue;
        wake->sent = false;
        bool was = fake_set_in_program(true);
        wake->woken(wake->arg);
        fake_in_program = was;
        return true;
    }
    struct loop_timer *timer = next_timer(loop);
    if (!timer || timer->at_ms > mono_now_ms)
        return false;
    timer->active = false;
    bool was = fake_set_in_program(true);
    timer->fire(timer->arg);
    fake_in_program = was;
    return true;
}

void fake_loop_settle(struct loop *loop) {
    for (int turns = 0; turn(loop); turns++) {
        if (turns == TURNS_MAX)
            fake_broken("a busy loop: %d turns without time going on", TURNS_MAX);
    }
}

bool fake_loop_step(struct loop *loop, int64_t until_ms) {
    struct loop_timer *timer = next_timer(loop);
    bool found = timer && timer->at_ms <= until_ms;
    if (found && timer->at_ms > mono_now_ms)
        mono_now_ms = timer->at_ms;
    else if (!found)
        mono_now_ms = until_ms;
    fake_loop_settle(loop);
    return found;
}

/* ---- what scenarios have no use for ---- */

struct loop_signal *loop_signal_create(struct loop *loop, int signal_number,
        void (*raised)(void *arg, int signal_number), void *arg, struct error *err) {
    (void)loop;
    (void)signal_number;
    (void)raised;
    (void)arg;
    error_set(err, ERROR_IO, "a scenario has no signals");
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
    error_set(err, ERROR_IO, "a scenario has no file descriptors");
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
    error_set(err, ERROR_IO, "a scenario has no processes");
    return NULL;
}

void loop_child_destroy(struct loop_child *child) {
    (void)child;
}
