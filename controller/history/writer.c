#include "history/writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/log.h"

#define QUEUE_REQUESTS_MAX 512       /* soft: two full batches, so that the thread need never wait for the loop */
#define QUEUE_BYTES_MAX (768u << 10) /* soft: of runs waiting, for manifests have 3 to 10 kB and may have 1 MB */
#define BATCH_MAX 256                /* requests a transaction: others who write wait for no longer than that */
#define RETRY_FIRST_MS 100  /* a lock or a full disk may be over soon; no jitter, for nobody else retries in step */
#define RETRY_LAST_MS 10000 /* how late work resumes, at most, when the cause is gone */
#define PRUNE_BATCH 200     /* rows a transaction: some milliseconds */
#define PRUNE_EVERY_MS 3600000LL  /* retention is in days */
#define THREAD_STACK (256u << 10) /* SQLite needs some tens of kB; sanitizers, more */

/* A request on its way to refused(). Made before it is needed, since then memory may be short. */
struct refusal {
    struct history_request *request;
    struct error why;
    struct refusal *next;
};

struct chain {
    struct history_request *head, **tail;
};

struct writer {
    /* The loop thread's. */
    struct writer_handler handler;
    struct loop_wake *wake;
    size_t pending, pending_bytes;
    bool full;      /* room() is owed */
    bool failing;   /* and told so */
    bool *ret_gone; /* set by writer_close while a callback runs */

    /* Unchanging while the thread runs. */
    char *location;
    pthread_t thread;

    pthread_mutex_t mutex;  /* for what follows, but never held during I/O */
    pthread_cond_t changed; /* for the thread: queue, stop, retention */
    pthread_cond_t stopped; /* for writer_close: ended */
    char *cluster;
    int64_t retention_ms, prune_at_mono;
    struct chain queue;
    struct chain done;
    struct refusal *refused, **refused_tail;
    struct error failure, prune_failure; /* kind ERROR_NONE: none */
    bool failure_told, prune_failure_told;
    bool stop, ended;
    int64_t stop_by_mono;
    struct history *interruptible; /* the store while it may be interrupted */

    pthread_mutex_t store_mutex; /* held during I/O; for what follows. Taken before mutex, never after it */
    struct history *store;       /* NULL after a failure, until it is opened afresh */
    struct refusal *spare;
};

static void chain_init(struct chain *chain) {
    chain->head = NULL;
    chain->tail = &chain->head;
}

static void chain_add(struct chain *chain, struct history_request *request) {
    request->next = NULL;
    *chain->tail = request;
    chain->tail = &request->next;
}

static void chain_destroy(struct chain *chain) {
    while (chain->head) {
        struct history_request *next = chain->head->next;
        history_request_destroy(chain->head);
        chain->head = next;
    }
    chain_init(chain);
}

/* Put all of from behind to. */
static void chain_append(struct chain *to, struct chain *from) {
    if (!from->head)
        return;
    *to->tail = from->head;
    to->tail = from->tail;
    chain_init(from);
}

/* Cut the first BATCH_MAX off. */
static void chain_take_batch(struct chain *queue, struct chain *ret_batch) {
    chain_init(ret_batch);
    for (int i = 0; i < BATCH_MAX && queue->head; i++) {
        struct history_request *request = queue->head;
        queue->head = request->next;
        chain_add(ret_batch, request);
    }
    if (!queue->head)
        queue->tail = &queue->head;
}

static void chain_remove(struct chain *chain, const struct history_request *request) {
    struct chain rest;
    chain_init(&rest);
    for (struct history_request *at = chain->head, *next; at; at = next) {
        next = at->next;
        if (at != request)
            chain_add(&rest, at);
    }
    chain_init(chain);
    chain_append(chain, &rest);
}

/* Not clock_mono_ms: the thread waits on the kernel's clock, whatever a simulation puts in place of ours. */
static int64_t mono_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until signalled or at_mono. */
static void wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t at_mono) {
    struct timespec at = {.tv_sec = at_mono / 1000, .tv_nsec = at_mono % 1000 * 1000000};
    pthread_cond_timedwait(condition, mutex, &at);
}

/* ---- the thread ---- */

/* Under store_mutex. What can be interrupted must not be closed meanwhile: hence the second pointer, under mutex. */
static void set_store(struct writer *writer, struct history *store) {
    pthread_mutex_lock(&writer->mutex);
    writer->interruptible = store;
    /* writer_close may have looked for something to interrupt while the store was being opened. */
    if (store && writer->stop && mono_ms() >= writer->stop_by_mono)
        history_interrupt(store);
    pthread_mutex_unlock(&writer->mutex);
    if (!store)
        history_close(writer->store);
    writer->store = store;
}

/* Under store_mutex. 0, or -1 with the store closed, or with ret_refused: what cannot be applied. */
static int try_batch(struct writer *writer, const char *cluster, const struct chain *batch,
        const struct history_request **ret_refused, struct error *err) {
    *ret_refused = NULL;
    if (!writer->spare && !(writer->spare = calloc(1, sizeof *writer->spare)))
        return error_nomem(err);
    if (!writer->store) {
        struct history *store;
        if (history_open(writer->location, HISTORY_WRITE, &store, err) < 0)
            return -1;
        set_store(writer, store);
    }
    if (history_apply(writer->store, cluster, batch->head, err) == 0)
        return 0;
    *ret_refused = history_refused(writer->store);
    /* After an I/O error the connection's view of the file is not to be trusted; and the file may be another by now. */
    if (!*ret_refused)
        set_store(writer, NULL);
    return -1;
}

static void refuse(
        struct writer *writer, struct chain *batch, const struct history_request *request, const struct error *why) {
    pthread_mutex_lock(&writer->store_mutex);
    struct refusal *refusal = writer->spare;
    writer->spare = NULL;
    pthread_mutex_unlock(&writer->store_mutex);
    chain_remove(batch, request);
    *refusal = (struct refusal){.request = (struct history_request *)request, .why = *why};
    pthread_mutex_lock(&writer->mutex);
    *writer->refused_tail = refusal;
    writer->refused_tail = &refusal->next;
    pthread_mutex_unlock(&writer->mutex);
    loop_wake_send(writer->wake);
}

/* Under mutex. NULL: it works again. */
static void tell_failure(struct writer *writer, const struct error *why) {
    static const struct error none = {.kind = ERROR_NONE};
    why = why ? why : &none;
    if (why->kind == writer->failure.kind && strcmp(why->text, writer->failure.text) == 0)
        return;
    writer->failure = *why;
    writer->failure_told = false;
    loop_wake_send(writer->wake);
}

/* Under mutex. False when the time that writer_close gave is over. */
static bool wait_to_retry(struct writer *writer, int64_t wait_ms) {
    int64_t at = mono_ms() + wait_ms;
    bool knew = writer->stop; /* being told to stop is worth one more try at once */
    while (mono_ms() < at && writer->stop == knew) {
        int64_t until = writer->stop && writer->stop_by_mono < at ? writer->stop_by_mono : at;
        if (writer->stop && mono_ms() >= until)
            break;
        wait_until(&writer->changed, &writer->mutex, until);
    }
    return !writer->stop || !knew || mono_ms() < writer->stop_by_mono;
}

/* Called and returns with mutex held. Until all of the batch is on disk or refused, or the time is over. */
static void write_batch(struct writer *writer, struct chain *batch) {
    int64_t wait_ms = RETRY_FIRST_MS;
    while (batch->head) {
        const struct history_request *refused;
        struct error err = {0};
        const char *cluster = writer->cluster;
        pthread_mutex_unlock(&writer->mutex);
        pthread_mutex_lock(&writer->store_mutex);
        int result = try_batch(writer, cluster, batch, &refused, &err);
        pthread_mutex_unlock(&writer->store_mutex);
        if (refused)
            refuse(writer, batch, refused, &err);
        pthread_mutex_lock(&writer->mutex);
        if (result == 0) {
            tell_failure(writer, NULL);
            chain_append(&writer->done, batch);
            loop_wake_send(writer->wake);
        } else if (!refused) {
            tell_failure(writer, &err);
            if (!wait_to_retry(writer, wait_ms))
                return;
            wait_ms = wait_ms > RETRY_LAST_MS / 2 ? RETRY_LAST_MS : wait_ms * 2;
        }
    }
}

/* Called and returns with mutex held. One step; the next is due at once while there is more. */
static void prune_step(struct writer *writer) {
    int64_t retention_ms = writer->retention_ms;
    pthread_mutex_unlock(&writer->mutex);
    pthread_mutex_lock(&writer->store_mutex);
    int pruned = 0, result = 0;
    struct error err = {0};
    if (writer->store)
        result = history_prune(writer->store, clock_wall_ms() - retention_ms, PRUNE_BATCH, &pruned, &err);
    pthread_mutex_unlock(&writer->store_mutex);
    pthread_mutex_lock(&writer->mutex);
    if (result < 0 && strcmp(err.text, writer->prune_failure.text) != 0) {
        writer->prune_failure_told = false;
        loop_wake_send(writer->wake);
    }
    writer->prune_failure = err;
    if (pruned < PRUNE_BATCH)
        writer->prune_at_mono = mono_ms() + PRUNE_EVERY_MS;
}

static bool prune_is_due(const struct writer *writer) {
    return writer->retention_ms != DURATION_NEVER && mono_ms() >= writer->prune_at_mono;
}

static void *thread_main(void *arg) {
    struct writer *writer = arg;
    struct chain batch;
    chain_init(&batch);
    pthread_mutex_lock(&writer->mutex);
    for (;;) {
        if (writer->stop && (!writer->queue.head || mono_ms() >= writer->stop_by_mono))
            break;
        if (writer->queue.head) {
            chain_take_batch(&writer->queue, &batch);
            write_batch(writer, &batch);
            if (batch.head)
                break;
        }
        if (prune_is_due(writer) && !writer->stop)
            prune_step(writer);
        else if (!writer->queue.head && !writer->stop)
            wait_until(&writer->changed, &writer->mutex,
                    writer->retention_ms == DURATION_NEVER ? mono_ms() + PRUNE_EVERY_MS : writer->prune_at_mono);
    }
    /* What is left goes back, for writer_close to count. */
    chain_append(&batch, &writer->queue);
    chain_append(&writer->queue, &batch);
    writer->ended = true;
    pthread_cond_signal(&writer->stopped);
    pthread_mutex_unlock(&writer->mutex);
    return NULL;
}

/* ---- the loop's side ---- */

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

/* Each of these returns false when a callback closed the writer; what was taken out is destroyed all the same. */
static bool deliver_done(struct writer *writer, struct chain *done, const bool *gone) {
    while (done->head && !*gone) {
        struct history_request *request = done->head;
        done->head = request->next;
        account(writer, request);
        writer->handler.durable(writer->handler.arg, request);
        history_request_destroy(request);
    }
    chain_destroy(done);
    return !*gone;
}

static void refusals_destroy(struct refusal *refusal) {
    while (refusal) {
        struct refusal *next = refusal->next;
        history_request_destroy(refusal->request);
        free(refusal);
        refusal = next;
    }
}

static bool deliver_refused(struct writer *writer, struct refusal *refused, const bool *gone) {
    while (refused && !*gone) {
        struct refusal *refusal = refused;
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
    struct chain done;
    chain_init(&done);
    pthread_mutex_lock(&writer->mutex);
    chain_append(&done, &writer->done);
    struct refusal *refused = writer->refused;
    writer->refused = NULL;
    writer->refused_tail = &writer->refused;
    struct error failure = writer->failure, prune_failure = writer->prune_failure;
    bool changed = !writer->failure_told, prune_changed = !writer->prune_failure_told;
    writer->failure_told = writer->prune_failure_told = true;
    pthread_mutex_unlock(&writer->mutex);

    bool gone = false;
    writer->ret_gone = &gone;
    if (prune_changed && prune_failure.kind != ERROR_NONE)
        log_warn("old runs could not be removed from the register", log_text("reason", prune_failure.text));
    /* Working again comes before what is durable because of it. */
    if (changed && failure.kind == ERROR_NONE)
        deliver_failure(writer, &failure);
    if (!deliver_done(writer, &done, &gone)) {
        refusals_destroy(refused);
        return;
    }
    if (!deliver_refused(writer, refused, &gone))
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
    chain_add(&writer->queue, request);
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
}

bool writer_has_room(const struct writer *writer) {
    return !writer->full;
}

size_t writer_pending(const struct writer *writer) {
    return writer->pending;
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

void writer_set_retention(struct writer *writer, int64_t retention_ms) {
    pthread_mutex_lock(&writer->mutex);
    if (retention_ms != writer->retention_ms) {
        writer->retention_ms = retention_ms;
        writer->prune_at_mono = mono_ms();
        pthread_cond_signal(&writer->changed);
    }
    pthread_mutex_unlock(&writer->mutex);
}

static void destroy(struct writer *writer) {
    loop_wake_destroy(writer->wake);
    chain_destroy(&writer->queue);
    chain_destroy(&writer->done);
    refusals_destroy(writer->refused);
    history_close(writer->store);
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
    int why = pthread_create(&writer->thread, &attributes, thread_main, writer);
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
    chain_init(&writer->queue);
    chain_init(&writer->done);
    writer->refused_tail = &writer->refused;
    writer->handler = *handler;
    writer->failure_told = writer->prune_failure_told = true;
    writer->retention_ms = settings->retention_ms;
    writer->prune_at_mono = mono_ms();
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
    if (!writer->wake || history_open(settings->location, HISTORY_WRITE, &writer->store, err) < 0) {
        destroy(writer);
        return -1;
    }
    writer->interruptible = writer->store;
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
    writer->stop_by_mono = mono_ms() + grace_ms;
    pthread_cond_signal(&writer->changed);
    while (!writer->ended && mono_ms() < writer->stop_by_mono)
        wait_until(&writer->stopped, &writer->mutex, writer->stop_by_mono);
    /* Whoever waits for another process's lock then waits no more. */
    if (!writer->ended && writer->interruptible)
        history_interrupt(writer->interruptible);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    size_t lost = 0;
    for (const struct history_request *at = writer->queue.head; at; at = at->next)
        lost++;
    for (const struct refusal *at = writer->refused; at; at = at->next)
        lost++;
    if (lost)
        log_error("the register was closed before everything was written", log_number("requests", (int64_t)lost),
                log_text("reason", writer->failure.kind != ERROR_NONE ? writer->failure.text : NULL));
    destroy(writer);
    return lost ? -1 : 0;
}
