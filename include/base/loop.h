/*
 * loop: the one thread that decides, and its timers, signals and wake-ups. A thin cover of libev, so that scenarios and
 * the simulation can put a virtual one in its place at link time.
 *
 * Where the loop itself has no memory, the process ends with exit code 1.
 *
 * Everything here is for the loop thread, except loop_wake_send. Callbacks may start and stop any watcher, their own
 * too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct loop;
struct ev_loop;

struct loop *loop_create(struct error *err);
void loop_destroy(struct loop *loop);
/* Runs until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* For the one module that hands libcurl's sockets to libev. */
struct ev_loop *loop_native(struct loop *loop);

/* Fires once, delay_ms after the start (monotonic). Starting it again moves it. */
struct loop_timer;
struct loop_timer *loop_timer_create(struct loop *loop, void (*fire)(void *arg), void *arg, struct error *err);
void loop_timer_destroy(struct loop_timer *timer);
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_active(const struct loop_timer *timer);

/* A wake-up from another thread. Many sends may make one callback. */
struct loop_wake;
struct loop_wake *loop_wake_create(struct loop *loop, void (*woken)(void *arg), void *arg, struct error *err);
void loop_wake_destroy(struct loop_wake *wake);
void loop_wake_send(struct loop_wake *wake); /* any thread */

struct loop_signal;
struct loop_signal *loop_signal_create(struct loop *loop, int signal_number,
        void (*raised)(void *arg, int signal_number), void *arg, struct error *err);
void loop_signal_destroy(struct loop_signal *watcher);

/* A readable file descriptor, and a child process that ended. */
struct loop_reader;
struct loop_reader *loop_reader_create(
        struct loop *loop, int fd, void (*readable)(void *arg, int fd), void *arg, struct error *err);
void loop_reader_destroy(struct loop_reader *reader);

struct loop_child;
/* status is as of waitpid(2). Fires once. */
struct loop_child *loop_child_create(
        struct loop *loop, pid_t pid, void (*ended)(void *arg, int status), void *arg, struct error *err);
void loop_child_destroy(struct loop_child *child);
