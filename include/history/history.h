/*
 * history: the register of runs, whichever database keeps it.
 *
 * A struct history belongs to one thread at a time, but for history_interrupt. Calls block on the disk: the controller
 * makes them on the writer's thread (history/writer.h) only, the commands that read on their own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "jobs/run.h"

struct history;

enum history_mode {
    HISTORY_READ, /* the register must exist; nothing is changed */
    HISTORY_WRITE /* created or migrated as needed */
};

/* location: "sqlite:/path/to/file.db". Errors say what to do (path not writable, not a database, made by a newer
 * version, migration failed). */
int history_open(const char *location, enum history_mode mode, struct history **ret, struct error *err) must_check;
/* Whether a register could be written at this location now, or made there; else why not. Changes nothing. *ret_there is
 * false, and 0 returned, when this machine has neither it nor a folder for it. */
int history_probe(const char *location, bool *ret_there, struct error *err) must_check;

/* NULL is fine. */
void history_close(struct history *history);

/* That no other process writes to the register at this location until this one lets it go (history/claim.h) or ends.
 * ERROR_REMOTE: another one does; which, and what to do. Who writes asks for it before history_open. */
struct claim;
int history_claim(const char *location, struct claim **ret, struct error *err) must_check;

/* Apply a chain of requests (by next) in one transaction; when this returns 0 it is on disk (fsynced). On error nothing
 * of it is. cluster: with the uid, each row's key. Borrows the chain.
 *
 * Sets what it did in the requests. What is known of a run stays known: an update fills in and corrects, but never
 * takes away. A run with the resourceVersion that its row has already, and a policy that says the same, write nothing.
 */
int history_apply(
        struct history *history, const char *cluster, struct history_request *chain, struct error *err) must_check;

/* After history_apply failed: the request of its chain that can never succeed (an intent for a run that is not on
 * record, one that breaks the register's rules), so that the others can be applied without it; NULL when the store
 * failed. Valid until the next call or as long as the chain. */
const struct history_request *history_refused(const struct history *history);

/* Whether what is open is still what stands at the location, without waiting: not when it was moved, removed, replaced
 * or cut short. Opened to write. history_apply makes sure of it by itself, before it begins and before it returns 0. */
int history_check(struct history *history, struct error *err) must_check;

/* Which register it is, among those that stood at one location one after the other. */
struct history_identity {
    uint64_t place, number;
    int64_t born_ns; /* 0 when the file system does not tell */
    bool created;    /* it was made by this history_open */
};
/* Whether now is another register than before, or was made since. */
bool history_identity_differs(const struct history_identity *before, const struct history_identity *now);
void history_identify(const struct history *history, struct history_identity *ret);

/* Bytes that the register takes, and its write-ahead log; 0 where there is none, or one cannot know. Opened to write.
 */
struct history_size {
    int64_t db, wal;
};
void history_measure(const struct history *history, struct history_size *ret);

/* What history_verify found: of the file as a whole (rows 0), or of some rows, with examples of them. */
#define HISTORY_EXAMPLES_MAX 3
struct history_finding {
    const char *check;  /* its name, for programs: "overdue" */
    bool is_problem;    /* else a note: nothing is wrong with the register itself */
    const char *means;  /* for people */
    const char *advice; /* what to do */
    const char *detail; /* in the database's words; NULL: none */
    int64_t rows;
    int n_examples;
    struct {
        char cluster[128], namespace[64], job_name[64], job_uid[64]; /* cut when they are longer */
    } examples[HISTORY_EXAMPLES_MAX];
};
struct history_verified {
    int64_t runs, version, bytes;
};

/* Whether the file is whole and its rows make sense, as of now_ms. quick: without comparing the indexes with the rows.
 * What is damaged is a finding and not an error. Reads all there is; writers are not held up. Stops when each returns
 * non-zero, and returns that. Opened to read. */
int history_verify(struct history *history, int64_t now_ms, bool quick, struct history_verified *ret,
        int (*each)(void *arg, const struct history_finding *finding, struct error *err), void *arg,
        struct error *err) must_check;

/* Any thread, while the history is open: a call that waits for another process gives up, with an error. For good. */
void history_interrupt(struct history *history);

/* Rows whose Job was still there when last heard of: kept, due or deleting. */
struct history_open_run {
    const char *namespace, *job_name, *job_uid;
    enum run_state state;
    int64_t due_at_ms; /* TIME_NONE */
};
int history_each_open(struct history *history, const char *cluster,
        int (*each)(void *arg, const struct history_open_run *run, struct error *err), void *arg,
        struct error *err) must_check;

/* The runs of this cluster that we deleted since since_ms, of names (namespace and Job) that have at least min_rows of
 * them: what is deleted and created again over and over. Those of CronJobs, whose names differ anyway, are left out.
 * In the order of their deletion. Strings are borrowed until the callback returns. */
struct history_recreated_run {
    const char *namespace, *job_name;
    int64_t created_at_ms /* TIME_NONE */, deleted_at_ms;
};
int history_each_recreated(struct history *history, const char *cluster, int64_t since_ms, int min_rows,
        int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
        struct error *err) must_check;

/* Remove up to limit rows of deleted Jobs that finished (or, that being unknown, were recorded) before before_ms: the
 * oldest first, in one transaction. Keep limit small, for it is the time that others wait. */
int history_prune(struct history *history, int64_t before_ms, int limit, int *ret_pruned, struct error *err) must_check;

/* A row, read. Strings are borrowed until the callback returns; NULL where the column is. */
struct history_row {
    const char *cluster;
    struct run run;
    struct run_policy policy;
    int64_t recorded_at_ms, duration_ms /* RUN_UNKNOWN */, delete_requested_at_ms, deleted_at_ms;
    enum run_cause cause;
};

struct history_query {
    const char *namespace, *job, *cronjob; /* NULL: any; job and cronjob may be globs (*, ?) */
    const char *uid;                       /* NULL: any */
    int outcome;                           /* enum outcome, or -1: any */
    int64_t since_ms, until_ms;            /* finished (or else recorded) in [since, until); TIME_NONE: open */
    int64_t limit;                         /* 0: no limit */
};

/* Newest first, by when it finished, or else was recorded. Stops when each returns non-zero, and
 * returns that. */
int history_each(struct history *history, const struct history_query *query,
        int (*each)(void *arg, const struct history_row *row, struct error *err), void *arg,
        struct error *err) must_check;
