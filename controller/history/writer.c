#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/log.h"
#include "history/writer_internal.h"

#define QUEUE_REQUESTS_MAX 512       /* soft: two full batches, so that the thread need never wait for the loop */
#define QUEUE_BYTES_MAX (768u << 10) /* soft: of runs waiting, for manifests have 3 to 10 kB and may have 1 MB */
#define THREAD_STACK (256u << 10)    /* SQLite needs some tens of kB; sanitizers, more */

static size_t text_bytes(const char *text) {
    return text ? strlen(text) : 0;
}

/* About what a request holds in memory. */
static size_t request_bytes(const struct history_request *request) {
    const struct run *run = request->run;
    size_t bytes = sizeof *request;
    if (run)
        bytes += sizeof *run + text_bytes(run->manifest) + text_bytes(run->annotations) + text_bytes(run->labels) +
                 text_bytes(run->images) + text_bytes(run->message);
    return bytes;
}

static void account(struct writer *writer, const struct history_request *request) {
    writer->pending--;
    writer->pending_bytes -= request_bytes(request);
}

static void deliver_failure(struct writer *writer, const struct error *failure) {
    bool failing = failure->kind != ERROR_NONE;
    if (!failing && !writer->failing)
        return; /* failed and mended before anyone looked */
    writer->failing = failing;
    if (failing)
        log_error("the register cannot be written: no Job is deleted", log_text("reason", failure->text));
    else
        log_info("the register can be written again");
    if (writer->handler.failing)
        writer->handler.failing(writer->handler.arg, failing ? failure->text : NULL);
}

static void tell_new_register(const struct writer *writer) {
    if (writer->created)
        log_info("a new register begins", log_text("store", writer->location));
}

static void deliver_opened(struct writer *writer) {
    tell_new_register(writer);
    if (writer->handler.opened)
        writer->handler.opened(writer->handler.arg);
}

static void deliver_anew(struct writer *writer) {
    log_warn(
            "another register is in the place of the one that was written until now: what that one had recorded is not "
            "in it, and is recorded again as far as it is still there",
            log_text("store", writer->location),
            log_text("hint", "if nobody meant to take the old one away, look for it, or for its volume"));
    if (writer->handler.anew)
        writer->handler.anew(writer->handler.arg);
}

/* Each of these returns false when a callback closed the writer; what was taken out is destroyed all the same. */
static bool deliver_done(struct writer *writer, struct writer_chain *done, const bool *gone) {
    while (done->head && !*gone) {
        struct history_request *request = done->head;
        done->head = request->next;
        account(writer, request);
        writer->handler.durable(writer->handler.arg, request);
        history_request_destroy(request);
    }
    writer_chain_destroy(done);
    return !*gone;
}

static void refusals_destroy(struct writer_refusal *refusal) {
    while (refusal) {
        struct writer_refusal *next = refusal->next;
        history_request_destroy(refusal->request);
        free(refusal);
        refusal = next;
    }
}

static bool deliver_refused(struct writer *writer, struct writer_refusal *refused, const bool *gone) {
    while (refused && !*gone) {
        struct writer_refusal *refusal = refused;
        refused = refusal->next;
        refusal->next = NULL;
        account(writer, refusal->request);
        log_error("the register refused a request", log_text("uid", refusal->request->uid),
                log_text("reason", refusal->why.text));
        if (writer->handler.refused)
            writer->handler.refused(writer->handler.arg, refusal->request, refusal->why.text);
        refusals_destroy(refusal);
    }
    refusals_destroy(refused);
    return !*gone;
}

static void on_wake(void *arg) {
    struct writer *writer = arg;
    struct writer_chain done;
    writer_chain_init(&done);
    pthread_mutex_lock(&writer->mutex);
    writer_chain_append(&done, &writer->done);
    struct writer_refusal *refused = writer->refused;
    writer->refused = NULL;
    writer->refused_tail = &writer->refused;
    struct error failure = writer->failure, prune_failure = writer->prune_failure;
    bool anew = !writer->anew_told, opened = !writer->opened_told;
    bool changed = !writer->failure_told, prune_changed = !writer->prune_failure_told;
    writer->failure_told = writer->prune_failure_told = writer->anew_told = writer->opened_told = true;
    pthread_mutex_unlock(&writer->mutex);

    bool gone = false;
    writer->ret_gone = &gone;
    if (prune_changed && prune_failure.kind != ERROR_NONE)
        log_warn("old runs could not be removed from the register", log_text("reason", prune_failure.text));
    /* First of all: what is durable from here on is so in the new one. */
    if (anew)
        deliver_anew(writer);
    /* Working again comes before what is durable because of it. */
    if (!gone && changed && failure.kind == ERROR_NONE)
        deliver_failure(writer, &failure);
    if (!gone && opened)
        deliver_opened(writer);
    /* A record that was refused comes before the intent behind it, which may stand on an older one. */
    if (!deliver_refused(writer, refused, &gone)) {
        writer_chain_destroy(&done);
        return;
    }
    if (!deliver_done(writer, &done, &gone))
        return;
    if (changed && failure.kind != ERROR_NONE)
        deliver_failure(writer, &failure);
    if (!gone && writer->full && writer->pending <= QUEUE_REQUESTS_MAX / 2 &&
            writer->pending_bytes <= QUEUE_BYTES_MAX / 2) {
        writer->full = false;
        if (writer->handler.room)
            writer->handler.room(writer->handler.arg);
    }
    if (!gone)
        writer->ret_gone = NULL;
}

void writer_submit(struct writer *writer, struct history_request *request) {
    writer->pending++;
    writer->pending_bytes += request_bytes(request);
    if (writer->pending >= QUEUE_REQUESTS_MAX || writer->pending_bytes >= QUEUE_BYTES_MAX)
        writer->full = true;
    pthread_mutex_lock(&writer->mutex);
    bool first = writer->queued++ == 0;
    bool urgent = request->op == HISTORY_INTENT && !writer->urgent;
    if (first)
        writer->queued_at_mono = writer_mono_ms();
    writer->urgent = writer->urgent || urgent;
    writer_chain_add(&writer->queue, request);
    if (first || urgent || writer->queued == WRITER_QUEUED_MANY)
        pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
}

bool writer_has_room(const struct writer *writer) {
    return !writer->full;
}

size_t writer_pending(const struct writer *writer) {
    return writer->pending;
}

void writer_stats(struct writer *writer, struct writer_stats *ret) {
    pthread_mutex_lock(&writer->mutex);
    *ret = (struct writer_stats){.commits = writer->commits,
            .requests = writer->requests,
            .errors = writer->errors,
            .queue = (int64_t)writer->pending,
            .failing = writer->failing,
            .size = writer->size};
    pthread_mutex_unlock(&writer->mutex);
}

int64_t writer_busy_ms(struct writer *writer) {
    pthread_mutex_lock(&writer->mutex);
    int64_t since_mono = writer->busy_since_mono;
    pthread_mutex_unlock(&writer->mutex);
    return since_mono ? writer_mono_ms() - since_mono : 0;
}

static int not_open(struct error *err) {
    return error_set(err, ERROR_IO, "the register cannot be read: its store has failed");
}

int writer_each_open(struct writer *writer, const char *cluster,
        int (*each)(void *arg, const struct history_open_run *run, struct error *err), void *arg, struct error *err) {
    pthread_mutex_lock(&writer->store_mutex);
    int result = writer->store ? history_each_open(writer->store, cluster, each, arg, err) : not_open(err);
    pthread_mutex_unlock(&writer->store_mutex);
    return result;
}

int writer_each_recreated(struct writer *writer, const char *cluster, int64_t since_ms, int min_rows,
        int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
        struct error *err) {
    pthread_mutex_lock(&writer->store_mutex);
    int result = writer->store ? history_each_recreated(writer->store, cluster, since_ms, min_rows, each, arg, err)
                               : not_open(err);
    pthread_mutex_unlock(&writer->store_mutex);
    return result;
}

int writer_set_cluster(struct writer *writer, const char *cluster, struct error *err) {
    /* The thread borrows the name while it writes. */
    if (writer->pending)
        return error_set(err, ERROR_LIMIT, "the cluster's name cannot change while runs of it are being recorded");
    char *copy = strdup(cluster);
    if (!copy)
        return error_nomem(err);
    pthread_mutex_lock(&writer->mutex);
    char *old = writer->cluster;
    writer->cluster = copy;
    pthread_mutex_unlock(&writer->mutex);
    free(old);
    return 0;
}

void writer_set_skew(struct writer *writer, const struct skew *skew) {
    pthread_mutex_lock(&writer->mutex);
    if (!writer->skew.known)
        pthread_cond_signal(&writer->changed);
    writer->skew = *skew;
    pthread_mutex_unlock(&writer->mutex);
}

void writer_set_retention(struct writer *writer, int64_t retention_ms) {
    pthread_mutex_lock(&writer->mutex);
    if (retention_ms != writer->retention_ms) {
        writer->retention_ms = retention_ms;
        writer->prune_at_mono = writer_mono_ms();
        pthread_cond_signal(&writer->changed);
    }
    pthread_mutex_unlock(&writer->mutex);
}

static void destroy(struct writer *writer) {
    loop_wake_destroy(writer->wake);
    writer_chain_destroy(&writer->queue);
    writer_chain_destroy(&writer->done);
    refusals_destroy(writer->refused);
    history_close(writer->store);
    claim_drop(writer->claim);
    pthread_cond_destroy(&writer->changed);
    pthread_cond_destroy(&writer->stopped);
    pthread_mutex_destroy(&writer->mutex);
    pthread_mutex_destroy(&writer->store_mutex);
    free(writer->spare);
    free(writer->location);
    free(writer->cluster);
    free(writer);
}

/* Signals are for the loop thread: here they would only interrupt I/O. */
static int start_thread(struct writer *writer, struct error *err) {
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
        return error_nomem(err);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int why = pthread_create(&writer->thread, &attributes, writer_thread_main, writer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (why != 0) {
        char text[128];
        return error_set(err, ERROR_IO, "cannot start the register's thread: %s", strerror_r(why, text, sizeof text));
    }
    return 0;
}

static struct writer *allocate(const struct writer_settings *settings, const struct writer_handler *handler) {
    struct writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return NULL;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&writer->changed, &monotonic);
    pthread_cond_init(&writer->stopped, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_mutex_init(&writer->store_mutex, NULL);
    writer_chain_init(&writer->queue);
    writer_chain_init(&writer->done);
    writer->refused_tail = &writer->refused;
    writer->handler = *handler;
    writer->commits.scale = &writer_commit_scale;
    writer->failure_told = writer->prune_failure_told = writer->anew_told = writer->opened_told = true;
    writer->retention_ms = settings->retention_ms;
    writer->prune_at_mono = writer_mono_ms();
    writer->prune_batch = WRITER_PRUNE_FIRST;
    writer->check_every_ms = settings->check_every_ms ? settings->check_every_ms : WRITER_CHECK_EVERY_MS;
    writer->check_wait_ms = writer->check_every_ms;
    writer->check_at_mono = writer_mono_ms() + writer->check_every_ms;
    writer->location = strdup(settings->location);
    writer->cluster = strdup(settings->cluster ? settings->cluster : "");
    if (!writer->location || !writer->cluster) {
        destroy(writer);
        return NULL;
    }
    return writer;
}

int writer_open(struct loop *loop, const struct writer_settings *settings, const struct writer_handler *handler,
        struct writer **ret, struct error *err) {
    struct writer *writer = allocate(settings, handler);
    if (!writer)
        return error_nomem(err);
    writer->wake = loop_wake_create(loop, on_wake, writer, err);
    if (!writer->wake || (!settings->patient && writer_open_store(writer, err) < 0)) {
        destroy(writer);
        return -1;
    }
    if (settings->patient)
        writer->check_at_mono = writer_mono_ms();
    else
        tell_new_register(writer);
    writer->opened_told = true;
    if (start_thread(writer, err) < 0) {
        destroy(writer);
        return -1;
    }
    *ret = writer;
    return 0;
}

int writer_close(struct writer *writer, int64_t grace_ms) {
    if (!writer)
        return 0;
    if (writer->ret_gone)
        *writer->ret_gone = true;
    pthread_mutex_lock(&writer->mutex);
    writer->stop = true;
    writer->stop_by_mono = writer_mono_ms() + grace_ms;
    pthread_cond_signal(&writer->changed);
    while (!writer->ended && writer_mono_ms() < writer->stop_by_mono)
        writer_wait_until(&writer->stopped, &writer->mutex, writer->stop_by_mono);
    /* Whoever waits for another process's lock then waits no more. */
    if (!writer->ended && writer->interruptible)
        history_interrupt(writer->interruptible);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    size_t lost = 0;
    for (const struct history_request *at = writer->queue.head; at; at = at->next)
        lost++;
    for (const struct writer_refusal *at = writer->refused; at; at = at->next)
        lost++;
    if (lost)
        log_error("the register was closed before everything was written", log_number("requests", (int64_t)lost),
                log_text("reason", writer->failure.kind != ERROR_NONE ? writer->failure.text : NULL));
    destroy(writer);
    return lost ? -1 : 0;
}
