#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/duration.h"
#include "history/writer_internal.h"

#define BATCH_MAX 256       /* requests a transaction: others who write wait for no longer than that */
#define RETRY_FIRST_MS 100  /* a lock or a full disk may be over soon; no jitter, for nobody else retries in step */
#define RETRY_LAST_MS 10000 /* how late work resumes, at most, when the cause is gone */
#define RETRY_CLAIM_MS \
    2000 /* while another process has it: a look at a lock costs little, and somebody is to take over */
#define PRUNE_EVERY_MS 3600000LL /* retention is in days */
#define PRUNE_PAUSE_MS 50        /* between two steps, so that another process gets its turn: it looks every 20 ms */
#define PRUNE_STEP_LONG_MS 50    /* a step that took longer takes fewer rows next time */
#define PRUNE_STEP_SHORT_MS 10   /* and one that was shorter, more */
#define PRUNE_LEAST 10
#define PRUNE_MOST 1000

void writer_chain_init(struct writer_chain *chain) {
    chain->head = NULL;
    chain->tail = &chain->head;
}

void writer_chain_add(struct writer_chain *chain, struct history_request *request) {
    request->next = NULL;
    *chain->tail = request;
    chain->tail = &request->next;
}

void writer_chain_destroy(struct writer_chain *chain) {
    while (chain->head) {
        struct history_request *next = chain->head->next;
        history_request_destroy(chain->head);
        chain->head = next;
    }
    writer_chain_init(chain);
}

void writer_chain_append(struct writer_chain *to, struct writer_chain *from) {
    if (!from->head)
        return;
    *to->tail = from->head;
    to->tail = from->tail;
    writer_chain_init(from);
}

/* An fsync takes a tenth of a millisecond on a good disk, and up to seconds on a busy one. */
const struct histogram_scale writer_commit_scale = {.per_second = 1000000,
        .n = 14,
        .upper = {250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 10000000}};

int64_t writer_mono_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t writer_mono_ms(void) {
    return writer_mono_us() / 1000;
}

void writer_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t at_mono) {
    struct timespec at = {.tv_sec = at_mono / 1000, .tv_nsec = at_mono % 1000 * 1000000};
    pthread_cond_timedwait(condition, mutex, &at);
}

/* Cut the first BATCH_MAX off. */
static void chain_take_batch(struct writer_chain *queue, struct writer_chain *ret_batch) {
    writer_chain_init(ret_batch);
    for (int i = 0; i < BATCH_MAX && queue->head; i++) {
        struct history_request *request = queue->head;
        queue->head = request->next;
        writer_chain_add(ret_batch, request);
    }
    if (!queue->head)
        queue->tail = &queue->head;
}

/* When the queue is to be written: an intent is waited for, since its DELETE follows; the rest is not, and goes with
 * the next intent, or after a while. */
static int64_t queue_is_due(const struct writer *writer) {
    bool now = writer->stop || writer->urgent || writer->queued >= WRITER_QUEUED_MANY;
    return now ? INT64_MIN : writer->queued_at_mono + WRITER_LINGER_MS;
}

static void chain_remove(struct writer_chain *chain, const struct history_request *request) {
    struct writer_chain rest;
    writer_chain_init(&rest);
    for (struct history_request *at = chain->head, *next; at; at = next) {
        next = at->next;
        if (at != request)
            writer_chain_add(&rest, at);
    }
    writer_chain_init(chain);
    writer_chain_append(chain, &rest);
}

/* Under store_mutex. What can be interrupted must not be closed meanwhile: hence the second pointer, under mutex. */
static void set_store(struct writer *writer, struct history *store) {
    pthread_mutex_lock(&writer->mutex);
    writer->interruptible = store;
    /* writer_close may have looked for something to interrupt while the store was being opened. */
    if (store && writer->stop && writer_mono_ms() >= writer->stop_by_mono)
        history_interrupt(store);
    pthread_mutex_unlock(&writer->mutex);
    if (!store)
        history_close(writer->store);
    writer->store = store;
}

/* Under store_mutex. The store has failed: close it. What it took but was not answered yet may be lost with it, and
 * goes in front of what is to be written next: of batch or, when that is NULL, of the queue. */
static void drop_store(struct writer *writer, struct writer_chain *batch) {
    set_store(writer, NULL);
    pthread_mutex_lock(&writer->mutex);
    struct writer_chain *next = batch ? batch : &writer->queue;
    writer_chain_append(&writer->done, next);
    writer_chain_append(next, &writer->done);
    pthread_mutex_unlock(&writer->mutex);
}

/* Under store_mutex. */
static int claim_store(struct writer *writer, struct error *err) {
    if (writer->claim && claim_holds(writer->claim))
        return 0;
    claim_drop(writer->claim);
    writer->claim = NULL;
    return history_claim(writer->location, &writer->claim, err);
}

int writer_open_store(struct writer *writer, struct error *err) {
    struct history *store;
    if (writer->store)
        return 0;
    if (claim_store(writer, err) < 0 || history_open(writer->location, HISTORY_WRITE, &store, err) < 0)
        return -1;
    const struct history_identity before = writer->identity;
    history_identify(store, &writer->identity);
    set_store(writer, store);
    struct history_size size = {0};
    history_measure(store, &size);
    bool first = !writer->was_open, anew = !first && history_identity_differs(&before, &writer->identity);
    writer->was_open = true;
    pthread_mutex_lock(&writer->mutex);
    writer->size = size;
    if (first) {
        writer->opened_told = false;
        writer->created = writer->identity.created;
    } else if (anew) {
        writer->anew_told = false;
    }
    pthread_mutex_unlock(&writer->mutex);
    if (first || anew)
        loop_wake_send(writer->wake);
    return 0;
}

/* Under store_mutex. The batch is on disk. */
static void note_commit(struct writer *writer, const struct writer_chain *batch, int64_t began_us) {
    int64_t took_us = writer_mono_us() - began_us, requests = 0;
    struct history_size size = {0};
    for (const struct history_request *at = batch->head; at; at = at->next)
        requests++;
    history_measure(writer->store, &size);
    pthread_mutex_lock(&writer->mutex);
    histogram_observe(&writer->commits, took_us);
    writer->requests += requests;
    writer->size = size;
    pthread_mutex_unlock(&writer->mutex);
}

/* Under store_mutex. Is it still ours alone? */
static int check_claim(const struct writer *writer, struct error *err) {
    if (claim_holds(writer->claim))
        return 0;
    return error_set(err, ERROR_IO, "its lock file was removed or replaced while it was in use (%s)", writer->location);
}

/* Under store_mutex. Is what was written still there, and still ours alone? */
static int check_open_store(struct writer *writer, struct error *err) {
    return check_claim(writer, err) < 0 ? -1 : history_check(writer->store, err);
}

/* Under store_mutex. 0, or -1 with the store closed, or with ret_refused: what cannot be applied. */
static int try_batch(struct writer *writer, const char *cluster, struct writer_chain *batch,
        const struct history_request **ret_refused, struct error *err) {
    *ret_refused = NULL;
    if (!writer->spare && !(writer->spare = calloc(1, sizeof *writer->spare)))
        return error_nomem(err);
    /* Before each batch, and not only when there is time for it: another process may have taken what is not locked. */
    if (writer->store && check_claim(writer, err) < 0) {
        drop_store(writer, batch);
        return -1;
    }
    if (writer_open_store(writer, err) < 0)
        return -1;
    int64_t began_us = writer_mono_us();
    if (history_apply(writer->store, cluster, batch->head, err) == 0) {
        note_commit(writer, batch, began_us);
        return 0;
    }
    *ret_refused = history_refused(writer->store);
    /* After an I/O error the connection's view of the file is not to be trusted; and the file may be another by now. */
    if (!*ret_refused)
        drop_store(writer, batch);
    return -1;
}

static void refuse(struct writer *writer, struct writer_chain *batch, const struct history_request *request,
        const struct error *why) {
    pthread_mutex_lock(&writer->store_mutex);
    struct writer_refusal *refusal = writer->spare;
    writer->spare = NULL;
    pthread_mutex_unlock(&writer->store_mutex);
    chain_remove(batch, request);
    *refusal = (struct writer_refusal){.request = (struct history_request *)request, .why = *why};
    pthread_mutex_lock(&writer->mutex);
    *writer->refused_tail = refusal;
    writer->refused_tail = &refusal->next;
    pthread_mutex_unlock(&writer->mutex);
    loop_wake_send(writer->wake);
}

/* Under mutex. NULL: it works again. What fails first may differ from one try to the next with one and the same cause:
 * a reason is news when it came twice. */
static void tell_failure(struct writer *writer, const struct error *why) {
    static const struct error none = {.kind = ERROR_NONE};
    why = why ? why : &none;
    bool same = why->kind == writer->failure.kind && strcmp(why->text, writer->failure.text) == 0;
    bool changes = (why->kind == ERROR_NONE) != (writer->failure.kind == ERROR_NONE);
    bool again = strcmp(why->text, writer->last_failure.text) == 0;
    writer->last_failure = *why;
    if (same || (!changes && !again))
        return;
    writer->failure = *why;
    writer->failure_told = false;
    loop_wake_send(writer->wake);
}

/* Under mutex. False when the time that writer_close gave is over. */
static bool wait_to_retry(struct writer *writer, int64_t wait_ms) {
    int64_t at = writer_mono_ms() + wait_ms;
    bool knew = writer->stop; /* being told to stop is worth one more try at once */
    while (writer_mono_ms() < at && writer->stop == knew) {
        int64_t until = writer->stop && writer->stop_by_mono < at ? writer->stop_by_mono : at;
        if (writer->stop && writer_mono_ms() >= until)
            break;
        writer_wait_until(&writer->changed, &writer->mutex, until);
    }
    return !writer->stop || !knew || writer_mono_ms() < writer->stop_by_mono;
}

/* Mutex is held before and after, not in between. */
static void go_to_disk(struct writer *writer) {
    writer->busy_since_mono = writer_mono_ms();
    pthread_mutex_unlock(&writer->mutex);
}

static void come_back(struct writer *writer) {
    pthread_mutex_lock(&writer->mutex);
    writer->busy_since_mono = 0;
}

static int64_t longer_wait(int64_t wait_ms, const struct error *why) {
    int64_t last_ms = why->kind == ERROR_REMOTE ? RETRY_CLAIM_MS : RETRY_LAST_MS;
    return wait_ms > last_ms / 2 ? last_ms : wait_ms * 2;
}

/* Called and returns with mutex held. Until all of the batch is on disk or refused, or the time is over. */
static void write_batch(struct writer *writer, struct writer_chain *batch) {
    int64_t wait_ms = RETRY_FIRST_MS;
    while (batch->head) {
        const struct history_request *refused;
        struct error err = {0};
        const char *cluster = writer->cluster;
        go_to_disk(writer);
        pthread_mutex_lock(&writer->store_mutex);
        int result = try_batch(writer, cluster, batch, &refused, &err);
        pthread_mutex_unlock(&writer->store_mutex);
        if (refused)
            refuse(writer, batch, refused, &err);
        come_back(writer);
        if (result == 0) {
            tell_failure(writer, NULL);
            writer->check_wait_ms = writer->check_every_ms;
            writer->check_at_mono = writer_mono_ms() + writer->check_every_ms;
            writer_chain_append(&writer->done, batch);
            loop_wake_send(writer->wake);
        } else if (!refused) {
            writer->errors++;
            tell_failure(writer, &err);
            if (!wait_to_retry(writer, wait_ms))
                return;
            wait_ms = longer_wait(wait_ms, &err);
        }
    }
}

/* Called and returns with mutex held. */
static void check_store(struct writer *writer) {
    struct error err = {0};
    go_to_disk(writer);
    pthread_mutex_lock(&writer->store_mutex);
    struct history_size size = {0};
    int result = writer->store ? check_open_store(writer, &err) : writer_open_store(writer, &err);
    if (result < 0 && writer->store)
        drop_store(writer, NULL);
    if (writer->store)
        history_measure(writer->store, &size);
    pthread_mutex_unlock(&writer->store_mutex);
    come_back(writer);
    if (result == 0)
        writer->size = size;
    tell_failure(writer, result < 0 ? &err : NULL);
    if (result == 0)
        writer->check_wait_ms = writer->check_every_ms;
    else if (writer->check_wait_ms == writer->check_every_ms)
        writer->check_wait_ms = RETRY_FIRST_MS;
    else
        writer->check_wait_ms = longer_wait(writer->check_wait_ms, &err);
    writer->check_at_mono = writer_mono_ms() + writer->check_wait_ms;
}

/* Called and returns with mutex held. One step; the next is due soon while there is more. */
static void prune_step(struct writer *writer) {
    int limit = writer->prune_batch, pruned = 0, result = 0;
    /* The time that has passed on both clocks: one that was set wrong must not cost years of records. */
    int64_t now_ms = skew_safe_now(&writer->skew, clock_wall_ms(), clock_mono_ms());
    int64_t before_ms = now_ms - writer->retention_ms, began_mono = writer_mono_ms();
    go_to_disk(writer);
    pthread_mutex_lock(&writer->store_mutex);
    struct error err = {0};
    if (writer->store)
        result = history_prune(writer->store, before_ms, limit, &pruned, &err);
    pthread_mutex_unlock(&writer->store_mutex);
    come_back(writer);
    if (result < 0 && strcmp(err.text, writer->prune_failure.text) != 0) {
        writer->prune_failure_told = false;
        loop_wake_send(writer->wake);
    }
    writer->prune_failure = err;
    int64_t ended_mono = writer_mono_ms();
    if (ended_mono - began_mono > PRUNE_STEP_LONG_MS && limit / 2 >= PRUNE_LEAST)
        writer->prune_batch = limit / 2;
    else if (ended_mono - began_mono < PRUNE_STEP_SHORT_MS && limit * 2 <= PRUNE_MOST)
        writer->prune_batch = limit * 2;
    writer->prune_at_mono = ended_mono + (pruned < limit ? PRUNE_EVERY_MS : PRUNE_PAUSE_MS);
}

static bool may_prune(const struct writer *writer) {
    return writer->was_open && writer->retention_ms != DURATION_NEVER && writer->skew.known;
}

/* When there is something to do without a request. */
static int64_t next_chore(const struct writer *writer) {
    return may_prune(writer) && writer->prune_at_mono < writer->check_at_mono ? writer->prune_at_mono
                                                                              : writer->check_at_mono;
}

/* Called and returns with mutex held. */
static void do_chore(struct writer *writer) {
    if (may_prune(writer) && writer_mono_ms() >= writer->prune_at_mono)
        prune_step(writer);
    else if (writer_mono_ms() >= writer->check_at_mono)
        check_store(writer);
}

void *writer_thread_main(void *arg) {
    struct writer *writer = arg;
    struct writer_chain batch;
    writer_chain_init(&batch);
    pthread_mutex_lock(&writer->mutex);
    for (;;) {
        if (writer->stop && (!writer->queue.head || writer_mono_ms() >= writer->stop_by_mono))
            break;
        if (writer->queue.head && writer_mono_ms() >= queue_is_due(writer)) {
            chain_take_batch(&writer->queue, &batch);
            if (!writer->queue.head) {
                writer->queued = 0;
                writer->urgent = false;
            }
            write_batch(writer, &batch);
            if (batch.head)
                break;
        }
        if (writer->stop)
            continue;
        int64_t next_mono = next_chore(writer);
        if (writer->queue.head && queue_is_due(writer) < next_mono)
            next_mono = queue_is_due(writer);
        if (writer_mono_ms() >= next_chore(writer))
            do_chore(writer);
        else if (writer_mono_ms() < next_mono)
            writer_wait_until(&writer->changed, &writer->mutex, next_mono);
    }
    /* What is left goes back, for writer_close to count. */
    writer_chain_append(&batch, &writer->queue);
    writer_chain_append(&writer->queue, &batch);
    writer->ended = true;
    pthread_cond_signal(&writer->stopped);
    pthread_mutex_unlock(&writer->mutex);
    return NULL;
}
