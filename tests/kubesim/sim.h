/*
 * sim: what every part of kubesim shares.
 *
 * kubesim is an API server for tests: real sockets, real JSON, a store in memory, and faults on request. One lock
 * guards everything in struct sim; each connection has a thread of its own (libmicrohttpd's), and one more thread runs
 * chores and the demo world. `changed` is signalled on every change of the store and when the server stops, so that
 * watches need no polling. A function whose comment says "locked" expects the lock to be held.
 */
#ifndef KUBESIM_SIM_H
#define KUBESIM_SIM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_MAX_LOADS = 16 };

struct sim_options {
    int64_t port;
    const char *token;
    const char *token_file;
    const char *tls_cert;
    const char *tls_key;
    const char *tls_ca; /* for the kubeconfig only; the certificate itself when not given */
    const char *client_ca;
    const char *kubeconfig_out;
    const char *loads[SIM_MAX_LOADS];
    size_t load_count;
    bool demo;
    bool no_protobuf; /* whoever asks for it gets JSON */
    int64_t jobs;
    int64_t job_bytes;
    int64_t namespaces;
    int64_t failed_percent;
    int64_t bookmark_ms;
    int64_t watch_window;
    int64_t settle_ms; /* CronJob status follows a finished Job this much later; 0: never */
    int64_t first_rv;
    const char *cronjob_version;
    const char *journal; /* NULL: everything is forgotten at the end */
};

struct sim_store;
struct sim_faults;
struct sim_stats;
struct sim_world;
struct sim_gc;
struct sim_watch;
struct sim_journal;

struct sim {
    struct sim_options opt;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* on CLOCK_MONOTONIC */
    bool stopping;
    int64_t date_skew_ms; /* added to the Date header, and to nothing else */
    struct sim_store *store;
    struct sim_faults *faults;
    struct sim_stats *stats;
    struct sim_gc *gc;
    struct sim_journal *journal;
    struct sim_world *world;   /* NULL without a demo */
    struct sim_watch *watches; /* all that are open */
    int64_t bytes_sent;        /* of bodies */
    int64_t protobuf_sent;     /* answers that were protobuf */
};

/* Locked. Waits for a change, or until until_ms on the monotonic clock. */
void sim_wait(struct sim *sim, int64_t until_ms);

/* Not locked. Sleeps, but no longer than the server lives. */
void sim_sleep(struct sim *sim, int64_t ms);

#endif
