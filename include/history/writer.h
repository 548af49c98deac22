/*
 * writer: the thread that owns the register and does its blocking I/O.
 *
 * Requests go in by a bounded queue; each batch becomes one transaction (group commit); answers come back on the loop.
 * When the store fails, the writer keeps the batch, opens the store afresh and tries again with a backoff until it
 * works or is closed, and says so once a change: nothing that was accepted is dropped while the process lives, but for
 * what no store could ever take. That is refused (history_refused): answered by refused() and logged, never by
 * durable(), so that no DELETE follows, and the requests around it go on. Requests that did not become durable by the
 * end of writer_close are answered by nobody.
 *
 * Failure, recovery and refusals are logged here: a handler need not.
 *
 * Between batches the thread removes rows past the retention, a few at a time, at the start and every hour, once it is
 * known what time it is at the API server (writer_set_skew): a clock of this machine's that runs ahead must not cost
 * records. While there is nothing to write it makes sure now and then that the register is still there.
 *
 * A register has one writer: see history_claim. The claim is kept until writer_close.
 *
 * A register that was taken away while it was open, or replaced, is noticed before anything is answered. Then the one
 * that is there is opened, or made, and anew() is called; what had not been answered yet is written to that one.
 *
 * Loop thread, but for what runs inside. Callbacks may submit, and may close the writer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/histogram.h"
#include "base/loop.h"
#include "history/history.h"
#include "jobs/run.h"
#include "jobs/skew.h"

struct writer;

struct writer_settings {
    const char *location;   /* "sqlite:/path", copied */
    const char *cluster;    /* copied; NULL: not known yet (writer_set_cluster) */
    int64_t retention_ms;   /* DURATION_NEVER: no pruning */
    int64_t check_every_ms; /* while nothing is written, that the register is still there; 0: 15 s */
    bool patient;           /* a register that cannot be opened yet is a failure of the store, and no error */
};

/* Each but durable may be NULL. */
struct writer_handler {
    void *arg;
    /* A request is on disk. Borrowed: destroyed after the call. */
    void (*durable)(void *arg, const struct history_request *request);
    /* The store cannot be written (why is told), or can be again (NULL). On a change only. */
    void (*failing)(void *arg, const char *why);
    /* Patient: the register is open, for the first time. Once; nothing may be submitted before. */
    void (*opened)(void *arg);
    /* The queue has room again after it was full. */
    void (*room)(void *arg);
    /* The register is another one from here on: what was durable before need not be in it. Whatever is answered after
     * this is in the new one. */
    void (*anew)(void *arg);
    /* A request that can never be applied, and why. Borrowed: destroyed after the call. */
    void (*refused)(void *arg, const struct history_request *request, const char *why);
};

/* Claims and opens the register (migrating it) before it returns, so that a bad path is an error at the start
 * (ERROR_REMOTE: another process writes to it). When it is patient the thread does, again and again: failing() says why
 * it cannot, and opened() follows when it could. */
int writer_open(struct loop *loop, const struct writer_settings *settings, const struct writer_handler *handler,
        struct writer **ret, struct error *err) must_check;

/* Takes the request. */
void writer_submit(struct writer *writer, struct history_request *request);

/* False when the queue is at its soft limit, and until it is half empty: the submitter should stop taking in more. */
bool writer_has_room(const struct writer *writer);

/* Since the start. Sizes are as of the last commit or check, for who asks must not wait for a disk. */
struct writer_stats {
    struct histogram commits; /* us a batch took to be on disk */
    int64_t requests;         /* that are on disk */
    int64_t errors;           /* batches that could not be written, each time they were tried */
    int64_t queue;            /* as writer_pending */
    bool failing;             /* as the handler was told */
    struct history_size size;
};
void writer_stats(struct writer *writer, struct writer_stats *ret);

/* Number of requests submitted and not yet answered by durable() or refused(). */
size_t writer_pending(const struct writer *writer);

/* For how long the thread has been at its disk just now; 0: it is not. */
int64_t writer_busy_ms(struct writer *writer);

/* As history_each_open and history_each_recreated, for the start, before the first submit. They block, also for what
 * the thread is at. */
int writer_each_open(struct writer *writer, const char *cluster,
        int (*each)(void *arg, const struct history_open_run *run, struct error *err), void *arg,
        struct error *err) must_check;

int writer_each_recreated(struct writer *writer, const char *cluster, int64_t since_ms, int min_rows,
        int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
        struct error *err) must_check;

/* The cluster's name may be known only after the API server answered. Before the first submit. */
int writer_set_cluster(struct writer *writer, const char *cluster, struct error *err) must_check;
/* What time it is at the API server; copied. */
void writer_set_skew(struct writer *writer, const struct skew *skew);
void writer_set_retention(struct writer *writer, int64_t retention_ms);

/* Stops the thread after what is queued was written, or after grace_ms; closes the store. No callback follows.
 * Returns -1 when something that was queued is not on disk. NULL is fine (0). */
int writer_close(struct writer *writer, int64_t grace_ms);
