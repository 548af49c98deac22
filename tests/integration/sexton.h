/*
 * sexton: the program under test, its configuration and its register.
 */
#pragma once

#include <stdint.h>

#include "cluster.h"
#include "harness.h"

const char *sexton_binary(void);
/* The binary with these arguments and nothing else, to its end. */
#define sexton(...) sexton_run((const char *const[]){__VA_ARGS__, NULL}, NULL)
struct result sexton_run(const char *const arguments[], const char *input);
/* ... with tests/shims/NAME.c preloaded. */
struct result sexton_run_with_shim(const char *name, const char *const arguments[]);

/* Writes the configuration: sections of the caller's, [history] the last if it is among them, and the test's own
 * register. Returns its path. */
const char *configure(const char *sections);
const char *store_option(void); /* "sqlite:FOLDER/history.db" */
const char *store_path(void);
/* From now on the register is this file in the folder, where it was history.db. For a second controller: each has its
 * own. */
void store_use(const char *name);

/* COMMAND with this configuration and the cluster's kubeconfig. */
#define sexton_here(command, ...) sexton_run_here(command, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
struct result sexton_run_here(const char *command, const char *const arguments[]);

/* 'sexton run', in the background. */
#define controller_start(...) controller_start_with((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
struct process *controller_start_with(const char *const arguments[]);
/* ... with clocks of its own: the wall clock offset_ms ahead of this machine's, and time that flies at that speed for
 * all but the wall clock and the server. */
#define WITHOUT_LEASE "[sexton]\nleader-elect = false\n" /* whose seconds would fly, too */
#define controller_start_with_clock(offset_ms, speed, ...) \
    controller_start_with_clocks(offset_ms, speed, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
struct process *controller_start_with_clocks(int64_t offset_ms, int64_t speed, const char *const arguments[]);
/* ... and in which no request has a time-out. */
struct process *controller_start_without_timeouts(int64_t speed);
void clock_step(int64_t offset_ms);
void clock_speed(int64_t speed);
/* Before the start: how long the kernel waits for a peer that is silent, divided by this. */
void clock_hurry_tcp(int64_t factor);
/* Monotonic, as the controller sees it. */
int64_t clock_controllers_ms(void);
/* ... with tests/shims/NAME.c preloaded. */
struct process *controller_start_with_shim(const char *name);
/* With a disk that can be made to fail: "EIO", "ENOSPC", "EROFS", and "" for well again. */
#define controller_start_with_disk(...) \
    controller_start_with_disk_and((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
struct process *controller_start_with_disk_and(const char *const arguments[]);
void disk_fail(const char *error);
/* ... until it knows all there is, and watches. */
void wait_until_synced(struct process *controller);
bool has_logged(struct process *controller, const char *part);
/* SIGTERM, and the exit code 0. */
void controller_stop(struct process *controller);

/* The register. Without one, or without a row: -1 and "". NULL in a row: -1 and "". */
int64_t sql_number(const char *query, ...) __attribute__((format(printf, 1, 2)));
const char *sql_text(const char *query, ...) __attribute__((format(printf, 1, 2)));
void sql_execute(const char *path, const char *statement);
/* Nobody else can write to it in between. */
void sql_lock(void);
void sql_unlock(void);
/* A column of the Job's row. */
const char *row_text(const struct job *job, const char *column);
int64_t row_number(const struct job *job, const char *column);
bool row_is(const struct job *job, const char *state, const char *cause);

/* It was recorded, and then deleted by one request in due form, not before ttl_ms after its end. */
void expect_recorded_and_deleted(const struct job *job, int64_t ttl_ms);
/* It is there, was never asked to be deleted, and its row says so. */
void expect_kept(const struct job *job, const char *state);
