#include "history/sqlite.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/strbuf.h"
#include "history/backend.h"
#include "history/path.h"
#include "history/schema.h"

#define BUSY_WAIT_MS 5000        /* another process's transactions are short: longer means that it hangs */
#define BUSY_STEP_MS 20          /* between two looks at the lock */
#define CLOSE_WAIT_MS 200        /* for readers, before the WAL is left for the next one to fold in */
#define CACHE_KB "1024"          /* of pages: the inner nodes of the indexes of a million runs, and no more */
#define WAL_PAGES "1000"         /* 4 MB until the WAL is folded into the file, by the commit that passes it */
#define WAL_BYTES_KEPT "8388608" /* a WAL that a long reader made grow is cut back to this */
#define SQL_BYTES_MAX 16384      /* a statement of ours */
#define GLOB_BYTES_MAX 4096      /* Job names have 63 bytes; a pattern longer than this is no pattern */

enum statement { FIND, INSERT, UPDATE_RUN, UPDATE_FATE, PRUNE, STATEMENTS };

struct sqlite {
    struct history base; /* first: see backend.h */
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[STATEMENTS];
    int busy_wait_ms;
    atomic_bool interrupted;
};

enum column_kind { COLUMN_TEXT, COLUMN_TIME, COLUMN_COUNT, COLUMN_OUTCOME, COLUMN_TRIGGER };

/* The first half of a row. What binds, reads and writes the statements' text goes by this table. */
static const struct column {
    const char *name; /* quoted where SQL has the word itself */
    enum column_kind kind;
    size_t offset; /* in struct run */
} columns[] = {
        {"namespace", COLUMN_TEXT, offsetof(struct run, namespace)},
        {"job_name", COLUMN_TEXT, offsetof(struct run, job_name)},
        {"resource_version", COLUMN_TEXT, offsetof(struct run, resource_version)},
        {"owner_kind", COLUMN_TEXT, offsetof(struct run, owner_kind)},
        {"owner_name", COLUMN_TEXT, offsetof(struct run, owner_name)},
        {"owner_uid", COLUMN_TEXT, offsetof(struct run, owner_uid)},
        {"cronjob", COLUMN_TEXT, offsetof(struct run, cronjob)},
        {"\"trigger\"", COLUMN_TRIGGER, offsetof(struct run, trigger)},
        {"scheduled_at", COLUMN_TIME, offsetof(struct run, scheduled_at_ms)},
        {"created_at", COLUMN_TIME, offsetof(struct run, created_at_ms)},
        {"started_at", COLUMN_TIME, offsetof(struct run, started_at_ms)},
        {"finished_at", COLUMN_TIME, offsetof(struct run, finished_at_ms)},
        {"outcome", COLUMN_OUTCOME, offsetof(struct run, outcome)},
        {"reason", COLUMN_TEXT, offsetof(struct run, reason)},
        {"message", COLUMN_TEXT, offsetof(struct run, message)},
        {"pods_succeeded", COLUMN_COUNT, offsetof(struct run, pods_succeeded)},
        {"pods_failed", COLUMN_COUNT, offsetof(struct run, pods_failed)},
        {"completions", COLUMN_COUNT, offsetof(struct run, completions)},
        {"parallelism", COLUMN_COUNT, offsetof(struct run, parallelism)},
        {"completion_mode", COLUMN_TEXT, offsetof(struct run, completion_mode)},
        {"completed_indexes", COLUMN_TEXT, offsetof(struct run, completed_indexes)},
        {"failed_indexes", COLUMN_TEXT, offsetof(struct run, failed_indexes)},
        {"backoff_limit", COLUMN_COUNT, offsetof(struct run, backoff_limit)},
        {"images", COLUMN_TEXT, offsetof(struct run, images)},
        {"labels", COLUMN_TEXT, offsetof(struct run, labels)},
        {"annotations", COLUMN_TEXT, offsetof(struct run, annotations)},
        {"manifest", COLUMN_TEXT, offsetof(struct run, manifest)},
};
#define COLUMNS ((int)(sizeof columns / sizeof columns[0]))

/* The second half, in the order of bind_fate and read_fate. */
static const char *const fate_columns[] = {"ttl_ms", "policy", "policy_source", "due_at", "delete_state",
        "delete_cause", "delete_requested_at", "deleted_at"};
#define FATE_COLUMNS ((int)(sizeof fate_columns / sizeof fate_columns[0]))

/* ---- errors ---- */

/* What SQLite says of its last failure, and what to do about it. */
static int failed(struct sqlite *sqlite, struct error *err, const char *doing) {
    int code = sqlite3_extended_errcode(sqlite->db);
    const char *advice = "";
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return error_nomem(err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        advice = ": another process has kept it locked";
        break;
    case SQLITE_INTERRUPT:
        advice = ": there was no time left";
        break;
    case SQLITE_FULL:
        advice = ": make room on its disk";
        break;
    case SQLITE_READONLY:
        advice = ": its file or folder cannot be written";
        break;
    case SQLITE_NOTADB:
        return error_set(err, ERROR_IO,
                "%s is not a Sexton register (not a database at all): name another store, or move it away",
                sqlite->path);
    case SQLITE_CORRUPT:
        advice = ": it is damaged: bring back a backup, or move it away to begin a new one";
        break;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        if (sqlite3_system_errno(sqlite->db)) {
            char why[128];
            return error_set(err, ERROR_IO, "register %s: cannot %s: %s (%s)", sqlite->path, doing,
                    sqlite3_errmsg(sqlite->db), strerror_r(sqlite3_system_errno(sqlite->db), why, sizeof why));
        }
        break;
    default:
        break;
    }
    return error_set(
            err, ERROR_IO, "register %s: cannot %s: %s%s", sqlite->path, doing, sqlite3_errmsg(sqlite->db), advice);
}

/* ---- small tools on the connection ---- */

static int exec(struct sqlite *sqlite, const char *sql, const char *doing, struct error *err) {
    return sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : failed(sqlite, err, doing);
}

static int query_number(struct sqlite *sqlite, const char *sql, int64_t *ret, struct error *err) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(sqlite->db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(statement, 0);
    int result = rc == SQLITE_ROW ? 0 : failed(sqlite, err, "read it");
    sqlite3_finalize(statement);
    return result;
}

static int prepare(
        struct sqlite *sqlite, const struct strbuf *sql, unsigned flags, sqlite3_stmt **ret, struct error *err) {
    if (strbuf_failed(sql))
        return error_nomem(err);
    if (sqlite3_prepare_v3(sqlite->db, strbuf_text(sql), -1, flags, ret, NULL) != SQLITE_OK)
        return failed(sqlite, err, "understand its tables");
    return 0;
}

/* SQLite asks whether to go on waiting for a lock. */
static int on_busy(void *arg, int times) {
    struct sqlite *sqlite = arg;
    if (atomic_load(&sqlite->interrupted) || (int64_t)times * BUSY_STEP_MS >= sqlite->busy_wait_ms)
        return 0;
    sqlite3_sleep(BUSY_STEP_MS);
    return 1;
}

static void sqlite_interrupt(struct history *history) {
    struct sqlite *sqlite = (struct sqlite *)history;
    atomic_store(&sqlite->interrupted, true);
    sqlite3_interrupt(sqlite->db);
}

static void sqlite_close(struct history *history) {
    struct sqlite *sqlite = (struct sqlite *)history;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(sqlite->statements[i]);
    if (sqlite->db && sqlite3_db_readonly(sqlite->db, "main") == 0) {
        /* Readers may keep the WAL alive: then at least leave it empty. */
        sqlite->busy_wait_ms = CLOSE_WAIT_MS;
        sqlite3_wal_checkpoint_v2(sqlite->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    sqlite3_close_v2(sqlite->db);
    free(sqlite->path);
    free(sqlite);
}

/* ---- binding and reading ---- */

static void bind_text(sqlite3_stmt *statement, int at, const char *text) {
    /* Borrowed until the statement is reset. A NULL text binds NULL. */
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

static void bind_unless(sqlite3_stmt *statement, int at, int64_t number, int64_t unknown) {
    if (number == unknown)
        sqlite3_bind_null(statement, at);
    else
        sqlite3_bind_int64(statement, at, number);
}

static void bind_run(sqlite3_stmt *statement, const struct run *run) {
    for (int i = 0; i < COLUMNS; i++) {
        const char *field = (const char *)run + columns[i].offset;
        switch (columns[i].kind) {
        case COLUMN_TEXT:
            bind_text(statement, i + 1, *(char *const *)field);
            break;
        case COLUMN_TIME:
            bind_unless(statement, i + 1, *(const int64_t *)field, TIME_NONE);
            break;
        case COLUMN_COUNT:
            bind_unless(statement, i + 1, *(const int64_t *)field, RUN_UNKNOWN);
            break;
        case COLUMN_OUTCOME:
            bind_text(statement, i + 1, outcome_name(run->outcome));
            break;
        case COLUMN_TRIGGER:
            bind_text(statement, i + 1, run_trigger_name(run->trigger));
            break;
        }
    }
}

static const char *text_or_null(const char *text) {
    return *text ? text : NULL;
}

static void bind_fate(sqlite3_stmt *statement, int at, const struct history_fate *fate) {
    const struct run_policy *policy = &fate->policy;
    if (policy->ttl_ms == DURATION_NEVER)
        sqlite3_bind_int64(statement, at, -1);
    else
        bind_unless(statement, at, policy->ttl_ms, RUN_UNKNOWN);
    bind_text(statement, at + 1, text_or_null(policy->rule));
    bind_text(statement, at + 2, text_or_null(policy->source));
    bind_unless(statement, at + 3, policy->due_at_ms, TIME_NONE);
    bind_text(statement, at + 4, run_state_name(policy->state));
    bind_text(statement, at + 5, run_cause_name(fate->cause));
    bind_unless(statement, at + 6, fate->delete_requested_at_ms, TIME_NONE);
    bind_unless(statement, at + 7, fate->deleted_at_ms, TIME_NONE);
}

static const char *read_text(sqlite3_stmt *statement, int at) {
    return (const char *)sqlite3_column_text(statement, at);
}

static int64_t read_or(sqlite3_stmt *statement, int at, int64_t unknown) {
    return sqlite3_column_type(statement, at) == SQLITE_NULL ? unknown : sqlite3_column_int64(statement, at);
}

static void read_short(sqlite3_stmt *statement, int at, char *ret, size_t size) {
    const char *text = read_text(statement, at);
    snprintf(ret, size, "%s", text ? text : "");
}

/* The value whose name stands in the column; least when none does. */
static int read_name(sqlite3_stmt *statement, int at, int least, int most, const char *(*name_of)(int)) {
    const char *text = read_text(statement, at);
    for (int i = least; text && i <= most; i++) {
        const char *name = name_of(i);
        if (name && strcmp(name, text) == 0)
            return i;
    }
    return least;
}

static const char *name_of_outcome(int value) {
    return outcome_name((enum outcome)value);
}

static const char *name_of_trigger(int value) {
    return run_trigger_name((enum run_trigger)value);
}

static const char *name_of_state(int value) {
    return run_state_name((enum run_state)value);
}

static const char *name_of_cause(int value) {
    return run_cause_name((enum run_cause)value);
}

static void read_run(sqlite3_stmt *statement, struct run *run) {
    for (int i = 0; i < COLUMNS; i++) {
        char *field = (char *)run + columns[i].offset;
        switch (columns[i].kind) {
        case COLUMN_TEXT:
            *(const char **)field = read_text(statement, i);
            break;
        case COLUMN_TIME:
            *(int64_t *)field = read_or(statement, i, TIME_NONE);
            break;
        case COLUMN_COUNT:
            *(int64_t *)field = read_or(statement, i, RUN_UNKNOWN);
            break;
        case COLUMN_OUTCOME:
            run->outcome = (enum outcome)read_name(statement, i, OUTCOME_NONE, OUTCOME_FAILED, name_of_outcome);
            break;
        case COLUMN_TRIGGER:
            run->trigger = (enum run_trigger)read_name(statement, i, RUN_OTHER, RUN_MANUAL, name_of_trigger);
            break;
        }
    }
}

static void read_fate(sqlite3_stmt *statement, int at, struct history_fate *fate) {
    struct run_policy *policy = &fate->policy;
    policy->ttl_ms = read_or(statement, at, RUN_UNKNOWN);
    if (policy->ttl_ms == -1 && sqlite3_column_type(statement, at) != SQLITE_NULL)
        policy->ttl_ms = DURATION_NEVER;
    read_short(statement, at + 1, policy->rule, sizeof policy->rule);
    read_short(statement, at + 2, policy->source, sizeof policy->source);
    policy->due_at_ms = read_or(statement, at + 3, TIME_NONE);
    policy->state = (enum run_state)read_name(statement, at + 4, RUN_KEPT, RUN_DELETED, name_of_state);
    fate->cause = (enum run_cause)read_name(statement, at + 5, RUN_CAUSE_NONE, RUN_CAUSE_UNKNOWN, name_of_cause);
    fate->delete_requested_at_ms = read_or(statement, at + 6, TIME_NONE);
    fate->deleted_at_ms = read_or(statement, at + 7, TIME_NONE);
}

/* ---- the statements ---- */

static void add_fate_columns(struct strbuf *sql) {
    for (int i = 0; i < FATE_COLUMNS; i++)
        strbuf_add_format(sql, ", %s", fate_columns[i]);
}

/* Numbers: the run's columns from 1, then the fate's, then cluster, uid, recorded_at. */
static void add_insert(struct strbuf *sql) {
    strbuf_add_text(sql, "INSERT INTO runs (");
    for (int i = 0; i < COLUMNS; i++)
        strbuf_add_format(sql, "%s%s", i ? ", " : "", columns[i].name);
    add_fate_columns(sql);
    strbuf_add_text(sql, ", cluster, job_uid, recorded_at, duration_ms) VALUES (");
    int started = 0, finished = 0;
    for (int i = 1; i <= COLUMNS + FATE_COLUMNS + 3; i++) {
        strbuf_add_format(sql, "?%d, ", i);
        if (i <= COLUMNS && strcmp(columns[i - 1].name, "started_at") == 0)
            started = i;
        if (i <= COLUMNS && strcmp(columns[i - 1].name, "finished_at") == 0)
            finished = i;
    }
    strbuf_add_format(sql, "CASE WHEN ?%d >= ?%d THEN ?%d - ?%d END)", finished, started, finished, started);
}

/* What is known stays known: a NULL changes nothing. The duration follows in a second step, from what the row has then.
 */
static void add_update_run(struct strbuf *sql) {
    strbuf_add_text(sql, "UPDATE runs SET (duration_ms");
    for (int i = 0; i < COLUMNS; i++)
        strbuf_add_format(sql, ", %s", columns[i].name);
    strbuf_add_text(sql, ") = (SELECT CASE WHEN f >= s THEN f - s END");
    int started = 0, finished = 0;
    for (int i = 0; i < COLUMNS; i++) {
        strbuf_add_format(sql, ", coalesce(?%d, %s)", i + 1, columns[i].name);
        if (strcmp(columns[i].name, "started_at") == 0)
            started = i + 1;
        if (strcmp(columns[i].name, "finished_at") == 0)
            finished = i + 1;
    }
    strbuf_add_format(sql,
            " FROM (SELECT coalesce(?%d, started_at) AS s, coalesce(?%d, finished_at) AS f)) WHERE id = ?%d", started,
            finished, COLUMNS + 1);
}

static void add_update_fate(struct strbuf *sql) {
    strbuf_add_text(sql, "UPDATE runs SET ");
    for (int i = 0; i < FATE_COLUMNS; i++)
        strbuf_add_format(sql, "%s%s = ?%d", i ? ", " : "", fate_columns[i], i + 1);
    strbuf_add_format(sql, " WHERE id = ?%d", FATE_COLUMNS + 1);
}

static int prepare_statements(struct sqlite *sqlite, struct error *err) {
    struct strbuf sql = STRBUF_INIT(SQL_BYTES_MAX);
    int result = 0;
    for (int i = 0; i < STATEMENTS && result == 0; i++) {
        strbuf_clear(&sql);
        switch ((enum statement)i) {
        case FIND:
            strbuf_add_text(&sql, "SELECT id, resource_version");
            add_fate_columns(&sql);
            strbuf_add_text(&sql, " FROM runs WHERE cluster = ?1 AND job_uid = ?2");
            break;
        case INSERT:
            add_insert(&sql);
            break;
        case UPDATE_RUN:
            add_update_run(&sql);
            break;
        case UPDATE_FATE:
            add_update_fate(&sql);
            break;
        case PRUNE:
            strbuf_add_text(&sql, "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE " SCHEMA_ENDED
                                  " < ?1 AND delete_state = 'deleted' ORDER BY " SCHEMA_ENDED " LIMIT ?2)");
            break;
        case STATEMENTS:
            break;
        }
        result = prepare(sqlite, &sql, SQLITE_PREPARE_PERSISTENT, &sqlite->statements[i], err);
    }
    strbuf_finish(&sql);
    return result;
}

/* Run a statement that returns no rows, and let go of what was bound. */
static int finish_change(struct sqlite *sqlite, sqlite3_stmt *statement, struct error *err) {
    int result = sqlite3_step(statement) == SQLITE_DONE ? 0 : failed(sqlite, err, "write to it");
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return result;
}

/* ---- applying requests ---- */

struct found {
    int64_t id; /* 0: there is no row */
    bool same_version;
    struct history_fate fate;
};

static int find_row(struct sqlite *sqlite, const char *cluster, const struct history_request *request,
        struct found *ret, struct error *err) {
    sqlite3_stmt *statement = sqlite->statements[FIND];
    *ret = (struct found){.fate = HISTORY_FATE_NONE};
    bind_text(statement, 1, cluster);
    bind_text(statement, 2, request->uid);
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        ret->id = sqlite3_column_int64(statement, 0);
        const char *version = read_text(statement, 1);
        ret->same_version = version && request->run && request->run->resource_version &&
                            strcmp(version, request->run->resource_version) == 0;
        read_fate(statement, 2, &ret->fate);
    }
    int result = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : failed(sqlite, err, "read it");
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return result;
}

static int insert_row(struct sqlite *sqlite, const char *cluster, const struct history_request *request,
        const struct history_fate *fate, struct error *err) {
    sqlite3_stmt *statement = sqlite->statements[INSERT];
    int at = COLUMNS + FATE_COLUMNS + 1;
    bind_run(statement, request->run);
    bind_fate(statement, COLUMNS + 1, fate);
    bind_text(statement, at, cluster);
    bind_text(statement, at + 1, request->uid);
    sqlite3_bind_int64(statement, at + 2, request->at_ms == TIME_NONE ? clock_wall_ms() : request->at_ms);
    return finish_change(sqlite, statement, err);
}

static int update_row(struct sqlite *sqlite, const struct history_request *request, const struct found *row,
        const struct history_fate *fate, struct error *err) {
    if (request->run && !row->same_version) {
        sqlite3_stmt *statement = sqlite->statements[UPDATE_RUN];
        bind_run(statement, request->run);
        sqlite3_bind_int64(statement, COLUMNS + 1, row->id);
        if (finish_change(sqlite, statement, err) < 0)
            return -1;
    }
    if (history_fate_equal(&row->fate, fate))
        return 0;
    sqlite3_stmt *statement = sqlite->statements[UPDATE_FATE];
    bind_fate(statement, 1, fate);
    sqlite3_bind_int64(statement, FATE_COLUMNS + 1, row->id);
    return finish_change(sqlite, statement, err);
}

static int apply_one(
        struct sqlite *sqlite, const char *cluster, const struct history_request *request, struct error *err) {
    struct found row;
    if (history_request_check(request, err) < 0) {
        sqlite->base.refused = request;
        return -1;
    }
    if (find_row(sqlite, cluster, request, &row, err) < 0)
        return -1;
    struct history_fate fate = history_fate_after(&row.fate, request);
    int result;
    if (row.id) {
        result = update_row(sqlite, request, &row, &fate, err);
    } else if (request->run) {
        result = insert_row(sqlite, cluster, request, &fate, err);
    } else if (request->op == HISTORY_INTENT) {
        sqlite->base.refused = request;
        return error_set(err, ERROR_FORMAT,
                "no deletion without a record: uid %s is not in register %s, so it must be recorded first",
                request->uid, sqlite->path);
    } else {
        return 0; /* nothing is known of it, and nothing follows from it */
    }
    /* A text of a gigabyte, or a value that the table's checks turn down: trying again would not help. */
    int code = sqlite3_errcode(sqlite->db) & 0xff;
    if (result < 0 && (code == SQLITE_CONSTRAINT || code == SQLITE_TOOBIG)) {
        sqlite->base.refused = request;
        if (err)
            err->kind = ERROR_FORMAT;
    }
    return result;
}

/* What is written to a file that nobody can find again is not on record. SQLite itself would not notice. */
static int check_still_there(struct sqlite *sqlite, struct error *err) {
    int moved = 0;
    char wal[PATH_MAX];
    sqlite3_file_control(sqlite->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (moved || access(path_of_wal(sqlite->path, wal), F_OK) < 0)
        return error_set(err, ERROR_IO, "register %s was moved or removed while it was in use", sqlite->path);
    return 0;
}

static int sqlite_apply(
        struct history *history, const char *cluster, const struct history_request *chain, struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    if (exec(sqlite, "BEGIN IMMEDIATE", "begin to write", err) < 0)
        return -1;
    int result = 0;
    for (; chain && result == 0; chain = chain->next)
        result = apply_one(sqlite, cluster, chain, err);
    if (result == 0)
        result = exec(sqlite, "COMMIT", "commit", err);
    if (result < 0) {
        /* Some failures have rolled back already. */
        if (!sqlite3_get_autocommit(sqlite->db))
            sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    return check_still_there(sqlite, err);
}

static int sqlite_prune(struct history *history, int64_t before_ms, int limit, int *ret_pruned, struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    sqlite3_stmt *statement = sqlite->statements[PRUNE];
    sqlite3_bind_int64(statement, 1, before_ms);
    sqlite3_bind_int(statement, 2, limit);
    if (finish_change(sqlite, statement, err) < 0)
        return -1;
    *ret_pruned = sqlite3_changes(sqlite->db);
    return 0;
}

/* ---- reading ---- */

static int sqlite_each_open(struct history *history, const char *cluster,
        int (*each)(void *arg, const struct history_open_run *run, struct error *err), void *arg, struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    sqlite3_stmt *statement = NULL;
    static const char sql[] = "SELECT namespace, job_name, job_uid, delete_state FROM runs WHERE cluster = ?1 AND "
                              "delete_state <> 'deleted'";
    if (sqlite3_prepare_v2(sqlite->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return failed(sqlite, err, "read it");
    bind_text(statement, 1, cluster);
    int rc, result = 0;
    while (result == 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct history_open_run run = {
                .namespace = read_text(statement, 0),
                .job_name = read_text(statement, 1),
                .job_uid = read_text(statement, 2),
                .state = (enum run_state)read_name(statement, 3, RUN_KEPT, RUN_DELETED, name_of_state),
        };
        result = run.namespace && run.job_name && run.job_uid ? each(arg, &run, err) : error_nomem(err);
    }
    if (result == 0 && rc != SQLITE_DONE)
        result = failed(sqlite, err, "read it");
    sqlite3_finalize(statement);
    return result;
}

#define RECREATED_WHERE "cluster = ?1 AND delete_cause = 'ttl' AND cronjob IS NULL AND deleted_at >= ?2"

static int sqlite_each_recreated(struct history *history, const char *cluster, int64_t since_ms, int min_rows,
        int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
        struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    sqlite3_stmt *statement = NULL;
    static const char sql[] =
            "SELECT namespace, job_name, created_at, deleted_at FROM runs WHERE " RECREATED_WHERE
            " AND (namespace, job_name) IN (SELECT namespace, job_name FROM runs WHERE " RECREATED_WHERE
            " GROUP BY namespace, job_name HAVING count(*) >= ?3)"
            " ORDER BY namespace, job_name, deleted_at, id";
    if (sqlite3_prepare_v2(sqlite->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return failed(sqlite, err, "read it");
    bind_text(statement, 1, cluster);
    sqlite3_bind_int64(statement, 2, since_ms);
    sqlite3_bind_int(statement, 3, min_rows);
    int rc, result = 0;
    while (result == 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct history_recreated_run run = {
                .namespace = read_text(statement, 0),
                .job_name = read_text(statement, 1),
                .created_at_ms = read_or(statement, 2, TIME_NONE),
                .deleted_at_ms = sqlite3_column_int64(statement, 3),
        };
        result = run.namespace && run.job_name ? each(arg, &run, err) : error_nomem(err);
    }
    if (result == 0 && rc != SQLITE_DONE)
        result = failed(sqlite, err, "read it");
    sqlite3_finalize(statement);
    return result;
}

static bool is_glob(const char *text) {
    return strpbrk(text, "*?") != NULL;
}

/* A condition on a name. SQLite's GLOB knows brackets too, our patterns do not: "[" is written "[[]". ret_pattern: what
 * to bind, the text itself or the buffer's. */
static void add_name_condition(struct strbuf *sql, const char *column, int number, const char *text,
        struct strbuf *glob, const char **ret_pattern) {
    strbuf_add_format(sql, " AND %s %s ?%d", column, is_glob(text) ? "GLOB" : "=", number);
    *ret_pattern = text;
    if (!is_glob(text))
        return;
    for (const char *at = text; *at; at++) {
        if (*at == '[')
            strbuf_add_text(glob, "[[]");
        else
            strbuf_add_char(glob, *at);
    }
    *ret_pattern = strbuf_text(glob);
}

enum query_parameter { Q_NAMESPACE = 1, Q_JOB, Q_CRONJOB, Q_UID, Q_OUTCOME, Q_SINCE, Q_UNTIL, Q_LIMIT };

static int prepare_query(
        struct sqlite *sqlite, const struct history_query *query, sqlite3_stmt **ret, struct error *err) {
    struct strbuf sql = STRBUF_INIT(SQL_BYTES_MAX), job_glob = STRBUF_INIT(GLOB_BYTES_MAX),
                  cronjob_glob = STRBUF_INIT(GLOB_BYTES_MAX);
    const char *job = NULL, *cronjob = NULL;
    strbuf_add_text(&sql, "SELECT ");
    for (int i = 0; i < COLUMNS; i++)
        strbuf_add_format(&sql, "%s%s", i ? ", " : "", columns[i].name);
    add_fate_columns(&sql);
    strbuf_add_text(&sql, ", cluster, job_uid, recorded_at, duration_ms FROM runs WHERE 1");
    if (query->namespace)
        strbuf_add_format(&sql, " AND namespace = ?%d", Q_NAMESPACE);
    if (query->job)
        add_name_condition(&sql, "job_name", Q_JOB, query->job, &job_glob, &job);
    if (query->cronjob)
        add_name_condition(&sql, "cronjob", Q_CRONJOB, query->cronjob, &cronjob_glob, &cronjob);
    if (query->uid)
        strbuf_add_format(&sql, " AND job_uid = ?%d", Q_UID);
    if (query->outcome >= 0)
        strbuf_add_format(&sql, " AND outcome IS ?%d", Q_OUTCOME);
    if (query->since_ms != TIME_NONE)
        strbuf_add_format(&sql, " AND " SCHEMA_ENDED " >= ?%d", Q_SINCE);
    if (query->until_ms != TIME_NONE)
        strbuf_add_format(&sql, " AND " SCHEMA_ENDED " < ?%d", Q_UNTIL);
    strbuf_add_format(&sql, " ORDER BY " SCHEMA_ENDED " DESC, id DESC LIMIT ?%d", Q_LIMIT);
    int result = -1;
    sqlite3_stmt *statement = NULL;
    if (strbuf_failed(&job_glob) || strbuf_failed(&cronjob_glob))
        error_set(err, ERROR_LIMIT, "a name pattern is longer than %d bytes", GLOB_BYTES_MAX);
    else
        result = prepare(sqlite, &sql, 0, &statement, err);
    if (result == 0) {
        /* Binding what the text does not mention fails, and does no harm. */
        sqlite3_bind_text(statement, Q_NAMESPACE, query->namespace, -1, SQLITE_STATIC);
        sqlite3_bind_text(statement, Q_JOB, job, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(statement, Q_CRONJOB, cronjob, -1, SQLITE_TRANSIENT);
        sqlite3_bind_text(statement, Q_UID, query->uid, -1, SQLITE_STATIC);
        if (query->outcome >= 0)
            bind_text(statement, Q_OUTCOME, outcome_name((enum outcome)query->outcome));
        sqlite3_bind_int64(statement, Q_SINCE, query->since_ms);
        sqlite3_bind_int64(statement, Q_UNTIL, query->until_ms);
        sqlite3_bind_int64(statement, Q_LIMIT, query->limit > 0 ? query->limit : -1);
        *ret = statement;
    }
    strbuf_finish(&sql);
    strbuf_finish(&job_glob);
    strbuf_finish(&cronjob_glob);
    return result;
}

static int sqlite_each(struct history *history, const struct history_query *query,
        int (*each)(void *arg, const struct history_row *row, struct error *err), void *arg, struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    sqlite3_stmt *statement = NULL;
    if (prepare_query(sqlite, query, &statement, err) < 0)
        return -1;
    int rc, result = 0;
    while (result == 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct history_row row = {.cluster = read_text(statement, COLUMNS + FATE_COLUMNS)};
        struct history_fate fate;
        read_run(statement, &row.run);
        row.run.job_uid = (char *)read_text(statement, COLUMNS + FATE_COLUMNS + 1);
        read_fate(statement, COLUMNS, &fate);
        row.policy = fate.policy;
        row.cause = fate.cause;
        row.delete_requested_at_ms = fate.delete_requested_at_ms;
        row.deleted_at_ms = fate.deleted_at_ms;
        row.recorded_at_ms = sqlite3_column_int64(statement, COLUMNS + FATE_COLUMNS + 2);
        row.duration_ms = read_or(statement, COLUMNS + FATE_COLUMNS + 3, RUN_UNKNOWN);
        /* A text that did not fit into memory reads as NULL. */
        result = sqlite3_errcode(sqlite->db) == SQLITE_NOMEM ? error_nomem(err) : each(arg, &row, err);
    }
    if (result == 0 && rc != SQLITE_DONE)
        result = failed(sqlite, err, "read it");
    sqlite3_finalize(statement);
    return result;
}

/* ---- opening ---- */

static const struct history_backend backend = {
        .close = sqlite_close,
        .apply = sqlite_apply,
        .each_open = sqlite_each_open,
        .each_recreated = sqlite_each_recreated,
        .prune = sqlite_prune,
        .each = sqlite_each,
        .interrupt = sqlite_interrupt,
};

/* The file's name for SQLite: never one of its special ones. */
static char *plain_path(const char *path, struct error *err) {
    if (strlen(path) > PATH_REGISTER_MAX) {
        error_set(err, ERROR_USAGE, "the register's path is longer than %d bytes", PATH_REGISTER_MAX);
        return NULL;
    }
    char *plain = NULL;
    if (asprintf(&plain, "%s%s", *path == '/' ? "" : "./", path) < 0) {
        error_nomem(err);
        return NULL;
    }
    return plain;
}

static int connect_file(struct sqlite *sqlite, const char *name, int flags, struct error *err) {
    sqlite3_close_v2(sqlite->db);
    sqlite->db = NULL;
    int rc = sqlite3_open_v2(name, &sqlite->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    if (!sqlite->db)
        return error_nomem(err);
    if (rc != SQLITE_OK)
        return failed(sqlite, err, "open it");
    sqlite3_extended_result_codes(sqlite->db, 1);
    sqlite3_busy_handler(sqlite->db, on_busy, sqlite);
    /* A register may come from someone else: its schema is not to run functions of ours. */
    sqlite3_db_config(sqlite->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return 0;
}

/* Whether the file is one of ours: its version, 0 for an empty one. In a transaction, or it may be made ours meanwhile.
 */
static int identify_step(struct sqlite *sqlite, int64_t *ret_version, struct error *err) {
    int64_t application = 0, version = 0, tables = 0;
    if (query_number(sqlite, "PRAGMA application_id", &application, err) < 0 ||
            query_number(sqlite, "PRAGMA user_version", &version, err) < 0 ||
            query_number(sqlite, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
        return -1;
    if (application != SCHEMA_APPLICATION_ID && (application != 0 || version != 0 || tables != 0))
        return error_set(err, ERROR_IO,
                "%s is not a Sexton register, but some other program's database: name another store", sqlite->path);
    if (version > schema_version)
        return error_set(err, ERROR_IO,
                "register %s has version %lld, made by a newer Sexton; this one knows versions up to %d: upgrade "
                "Sexton, or"
                " name another store",
                sqlite->path, (long long)version, schema_version);
    *ret_version = version;
    return 0;
}

static int identify(struct sqlite *sqlite, int64_t *ret_version, struct error *err) {
    if (exec(sqlite, "BEGIN", "read it", err) < 0)
        return -1;
    int result = identify_step(sqlite, ret_version, err);
    /* The first code that SQLite gave is still wanted, by open_to_read. */
    if (result == 0)
        return exec(sqlite, "COMMIT", "read it", err);
    return -1;
}

static int use_wal(struct sqlite *sqlite, struct error *err) {
    sqlite3_stmt *statement = NULL;
    char mode[16] = "";
    /* Two that start on one new file at once: SQLite reports a clash here without asking on_busy. */
    for (int waited_ms = 0;; waited_ms += BUSY_STEP_MS) {
        int rc = sqlite3_prepare_v2(sqlite->db, "PRAGMA journal_mode = WAL", -1, &statement, NULL);
        if (rc == SQLITE_OK)
            rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW)
            read_short(statement, 0, mode, sizeof mode);
        int result = rc == SQLITE_ROW ? 0 : failed(sqlite, err, "turn on its write-ahead log");
        sqlite3_finalize(statement);
        if (result == 0)
            break;
        if ((rc & 0xff) != SQLITE_BUSY || waited_ms >= BUSY_WAIT_MS)
            return -1;
        sqlite3_sleep(BUSY_STEP_MS);
    }
    if (strcmp(mode, "wal") != 0)
        return error_set(err, ERROR_IO,
                "register %s: its file system has no shared memory for a write-ahead log (a network file system?): name"
                " another store",
                sqlite->path);
    return 0;
}

static int migrate_step(struct sqlite *sqlite, struct error *err) {
    int64_t version = 0;
    if (identify_step(sqlite, &version, err) < 0)
        return -1;
    char mark[96];
    for (; version < schema_version; version++) {
        if (exec(sqlite, schema_migrations[version], "create its tables", err) < 0)
            return error_context(err, "migration %lld", (long long)version + 1);
        snprintf(mark, sizeof mark, "PRAGMA user_version = %lld; PRAGMA application_id = %d", (long long)version + 1,
                SCHEMA_APPLICATION_ID);
        if (exec(sqlite, mark, "mark its version", err) < 0)
            return -1;
    }
    return exec(sqlite, "COMMIT", "commit its tables", err);
}

/* In one transaction, in which the version is looked at again: another process may have been first. */
static int migrate(struct sqlite *sqlite, struct error *err) {
    if (exec(sqlite, "BEGIN IMMEDIATE", "begin to write", err) < 0)
        return -1;
    if (migrate_step(sqlite, err) == 0)
        return 0;
    if (!sqlite3_get_autocommit(sqlite->db))
        sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

static int open_to_write(struct sqlite *sqlite, struct error *err) {
    int64_t version = 0;
    if (path_create_file(sqlite->path, err) < 0 || path_check_file(sqlite->path, true, err) < 0 ||
            connect_file(sqlite, sqlite->path, SQLITE_OPEN_READWRITE, err) < 0 || identify(sqlite, &version, err) < 0)
        return -1;
    if (use_wal(sqlite, err) < 0 ||
            exec(sqlite,
                    "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = " WAL_PAGES
                    "; PRAGMA journal_size_limit = " WAL_BYTES_KEPT "; PRAGMA cache_size = -" CACHE_KB,
                    "set it up", err) < 0)
        return -1;
    if (version < schema_version && migrate(sqlite, err) < 0)
        return -1;
    /* What a killed process wrote last may be seen, but not be on disk. A request that finds it there writes nothing,
     * and so syncs nothing: sync it now, or "durable" would be a lie. */
    int rc = sqlite3_wal_checkpoint_v2(sqlite->db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
        return failed(sqlite, err, "sync it");
    return prepare_statements(sqlite, err);
}

/* For a folder that cannot be written, and nobody writes to: "file:" URI with immutable=1, so that no WAL is looked
 * for. */
static int connect_immutable(struct sqlite *sqlite, struct error *err) {
    struct strbuf uri = STRBUF_INIT((size_t)3 * PATH_MAX);
    strbuf_add_text(&uri, "file:");
    for (const char *at = sqlite->path; *at; at++) {
        if (strchr("%?#", *at))
            strbuf_add_format(&uri, "%%%02X", (unsigned char)*at);
        else
            strbuf_add_char(&uri, *at);
    }
    strbuf_add_text(&uri, "?immutable=1");
    int result = strbuf_failed(&uri)
                         ? error_nomem(err)
                         : connect_file(sqlite, strbuf_text(&uri), SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
    strbuf_finish(&uri);
    return result;
}

/* Without a WAL, all there is stands in the file itself. */
static bool has_wal(const struct sqlite *sqlite) {
    char wal[PATH_MAX];
    struct stat info;
    return stat(path_of_wal(sqlite->path, wal), &info) == 0 ? info.st_size > 0 : errno != ENOENT;
}

static int open_to_read(struct sqlite *sqlite, struct error *err) {
    int64_t version = 0;
    if (access(sqlite->path, F_OK) < 0 && errno == ENOENT)
        return error_set(err, ERROR_IO,
                "no register at %s yet: 'sexton run' or 'sexton sweep' begins one; is this the store that they use?",
                sqlite->path);
    if (path_check_file(sqlite->path, false, err) < 0 ||
            connect_file(sqlite, sqlite->path, SQLITE_OPEN_READONLY, err) < 0)
        return -1;
    if (identify(sqlite, &version, err) < 0) {
        int code = sqlite3_errcode(sqlite->db) & 0xff;
        if ((code != SQLITE_CANTOPEN && code != SQLITE_READONLY) || has_wal(sqlite) ||
                connect_immutable(sqlite, err) < 0 || identify(sqlite, &version, err) < 0)
            return -1;
    }
    if (version == 0)
        return error_set(err, ERROR_IO,
                "no register at %s yet: the file is empty; 'sexton run' or 'sexton sweep' begins one", sqlite->path);
    if (version < schema_version)
        return error_set(err, ERROR_IO,
                "register %s has version %lld, and version %d is needed to read it: 'sexton run' or 'sexton sweep' "
                "brings it "
                "up to date",
                sqlite->path, (long long)version, schema_version);
    return 0;
}

int sqlite_open_history(const char *path, enum history_mode mode, struct history **ret, struct error *err) {
    struct sqlite *sqlite = calloc(1, sizeof *sqlite);
    if (!sqlite)
        return error_nomem(err);
    sqlite->base.backend = &backend;
    sqlite->busy_wait_ms = BUSY_WAIT_MS;
    sqlite->path = plain_path(path, err);
    if (!sqlite->path || (mode == HISTORY_WRITE ? open_to_write(sqlite, err) : open_to_read(sqlite, err)) < 0) {
        sqlite_close(&sqlite->base);
        return -1;
    }
    *ret = &sqlite->base;
    return 0;
}
