/*
 * writer_internal: what the writer's two sides share. Internal to controller/history/writer*.c: writer.c is the loop's
 * side, writer_thread.c the thread's.
 */
#pragma once

#include <pthread.h>

#include "history/claim.h"
#include "history/writer.h"
#include "jobs/skew.h"

#define WRITER_CHECK_EVERY_MS 15000 /* that the register is still there, while nothing is written */
#define WRITER_LINGER_MS 10         /* for what nobody waits for: others may come that go to disk with it */
#define WRITER_QUEUED_MANY 128      /* but not if there are so many */
#define WRITER_PRUNE_FIRST 200      /* rows a transaction, to begin with: some milliseconds */

/* A request on its way to refused(). Made before it is needed, since then memory may be short. */
struct writer_refusal {
    struct history_request *request;
    struct error why;
    struct writer_refusal *next;
};

struct writer_chain {
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
    int64_t check_every_ms;
    pthread_t thread;

    pthread_mutex_t mutex;  /* for what follows, but never held during I/O */
    pthread_cond_t changed; /* for the thread: queue, stop, retention */
    pthread_cond_t stopped; /* for writer_close: ended */
    char *cluster;
    int64_t retention_ms, prune_at_mono, check_at_mono, check_wait_ms;
    int prune_batch;
    struct skew skew; /* what time it is at the API server */
    struct writer_chain queue;
    size_t queued;          /* since the thread looked */
    bool urgent;            /* one of them is waited for */
    int64_t queued_at_mono; /* the first of them */
    struct writer_chain done;
    struct writer_refusal *refused, **refused_tail;
    struct error failure, prune_failure; /* kind ERROR_NONE: none */
    struct error last_failure;           /* of the last try, told or not */
    bool failure_told, prune_failure_told, anew_told, opened_told;
    bool created; /* the register that was opened first */
    bool stop, ended;
    int64_t busy_since_mono; /* the thread is at its disk; 0: it is not */
    int64_t stop_by_mono;
    struct history *interruptible; /* the store while it may be interrupted */
    struct histogram commits;
    int64_t requests, errors;
    struct history_size size;

    pthread_mutex_t store_mutex; /* held during I/O; for what follows. Taken before mutex, never after it */
    struct history *store;       /* NULL after a failure, until it is opened afresh */
    struct claim *claim;         /* NULL: not ours yet */
    bool was_open;
    struct history_identity identity; /* of the store that was opened last */
    struct writer_refusal *spare;
};

/* Lists of requests. */
void writer_chain_init(struct writer_chain *chain);
void writer_chain_add(struct writer_chain *chain, struct history_request *request);
void writer_chain_destroy(struct writer_chain *chain);
/* Put all of from behind to. */
void writer_chain_append(struct writer_chain *to, struct writer_chain *from);

/* Not clock_mono_ms: the thread waits on the kernel's clock, whatever a simulation puts in place of ours. */
int64_t writer_mono_ms(void);
int64_t writer_mono_us(void);
extern const struct histogram_scale writer_commit_scale;
/* Until signalled or at_mono. */
void writer_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t at_mono);

/* Under store_mutex, or before the thread runs. The register open and claimed: 0 also when it was. */
int writer_open_store(struct writer *writer, struct error *err) must_check;

/* For pthread_create. */
void *writer_thread_main(void *arg);
