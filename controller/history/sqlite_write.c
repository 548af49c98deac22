#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "history/path.h"
#include "history/schema.h"
#include "history/sqlite_internal.h"

#define WAL_BYTES_INSIST ((off_t)64 << 20) /* each time that it has grown by this, its readers are waited for */
#define WAL_BYTES_MAX ((off_t)1 << 30)     /* hours of a busy cluster; more would fill the disk for everyone */
#define WAL_WAIT_MS 200                    /* for readers that are about to end */

/* ---- the statements ---- */

/* Numbers: the run's columns from 1, then the fate's, then cluster, uid, recorded_at. */
static void add_insert(struct strbuf *sql) {
    strbuf_add_text(sql, "INSERT INTO runs (");
    sqlite_add_columns(sql);
    strbuf_add_text(sql, ", cluster, job_uid, recorded_at, duration_ms) VALUES (");
    int started = 0, finished = 0;
    for (int i = 1; i <= sqlite_run_columns + sqlite_fate_columns + 3; i++) {
        strbuf_add_format(sql, "?%d, ", i);
        if (i <= sqlite_run_columns && strcmp(sqlite_run_column(i - 1), "started_at") == 0)
            started = i;
        if (i <= sqlite_run_columns && strcmp(sqlite_run_column(i - 1), "finished_at") == 0)
            finished = i;
    }
    strbuf_add_format(sql, "CASE WHEN ?%d >= ?%d THEN ?%d - ?%d END)", finished, started, finished, started);
}

/* What is known stays known: a NULL changes nothing. The duration follows in a second step, from what the row has then.
 */
static void add_update_run(struct strbuf *sql) {
    strbuf_add_text(sql, "UPDATE runs SET (duration_ms");
    for (int i = 0; i < sqlite_run_columns; i++)
        strbuf_add_format(sql, ", %s", sqlite_run_column(i));
    strbuf_add_text(sql, ") = (SELECT CASE WHEN f >= s THEN f - s END");
    int started = 0, finished = 0;
    for (int i = 0; i < sqlite_run_columns; i++) {
        strbuf_add_format(sql, ", coalesce(?%d, %s)", i + 1, sqlite_run_column(i));
        if (strcmp(sqlite_run_column(i), "started_at") == 0)
            started = i + 1;
        if (strcmp(sqlite_run_column(i), "finished_at") == 0)
            finished = i + 1;
    }
    strbuf_add_format(sql,
            " FROM (SELECT coalesce(?%d, started_at) AS s, coalesce(?%d, finished_at) AS f)) WHERE id = ?%d", started,
            finished, sqlite_run_columns + 1);
}

/* Whether a column tells how a Job ended. Indexes have these: until the end they are not set. */
static bool is_of_end(const char *column) {
    return strcmp(column, "delete_cause") == 0 || strcmp(column, "deleted_at") == 0;
}

/* Numbers as in sqlite_bind_fate, whether all are there or not. */
static void add_update_fate(struct strbuf *sql, bool with_end) {
    const char *before = "UPDATE runs SET";
    for (int i = 0; i < sqlite_fate_columns; i++) {
        if (!with_end && is_of_end(sqlite_fate_column(i)))
            continue;
        strbuf_add_format(sql, "%s %s = ?%d", before, sqlite_fate_column(i), i + 1);
        before = ",";
    }
    strbuf_add_format(sql, " WHERE id = ?%d", sqlite_fate_columns + 1);
}

int sqlite_prepare_writing(struct sqlite *sqlite, struct error *err) {
    struct strbuf sql = STRBUF_INIT(SQLITE_SQL_MAX);
    int result = 0;
    for (int i = 0; i < STATEMENTS && result == 0; i++) {
        strbuf_clear(&sql);
        switch ((enum sqlite_statement)i) {
        case STATEMENT_FIND:
            strbuf_add_text(&sql, "SELECT id, resource_version, ");
            sqlite_add_fate_columns(&sql);
            strbuf_add_text(&sql, " FROM runs WHERE cluster = ?1 AND job_uid = ?2");
            break;
        case STATEMENT_INSERT:
            add_insert(&sql);
            break;
        case STATEMENT_UPDATE_RUN:
            add_update_run(&sql);
            break;
        case STATEMENT_UPDATE_POLICY:
        case STATEMENT_UPDATE_FATE:
            add_update_fate(&sql, i == STATEMENT_UPDATE_FATE);
            break;
        case STATEMENT_PRUNE:
            strbuf_add_text(&sql, "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE " SCHEMA_ENDED
                                  " < ?1 AND delete_state = 'deleted' ORDER BY " SCHEMA_ENDED " LIMIT ?2)");
            break;
        case STATEMENTS:
            break;
        }
        result = sqlite_prepare(sqlite, &sql, SQLITE_PREPARE_PERSISTENT, &sqlite->statements[i], err);
    }
    strbuf_finish(&sql);
    return result;
}

/* Run a statement that returns no rows, and let go of what was bound. */
static int finish_change(struct sqlite *sqlite, sqlite3_stmt *statement, struct error *err) {
    int result = sqlite3_step(statement) == SQLITE_DONE ? 0 : sqlite_failed(sqlite, err, "write to it");
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
    sqlite3_stmt *statement = sqlite->statements[STATEMENT_FIND];
    *ret = (struct found){.fate = HISTORY_FATE_NONE};
    sqlite_bind_text(statement, 1, cluster);
    sqlite_bind_text(statement, 2, request->uid);
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        ret->id = sqlite3_column_int64(statement, 0);
        const char *version = sqlite_read_text(statement, 1);
        ret->same_version = version && request->run && request->run->resource_version &&
                            strcmp(version, request->run->resource_version) == 0;
        sqlite_read_fate(statement, 2, &ret->fate);
    }
    int result = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sqlite_failed(sqlite, err, "read it");
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return result;
}

static int insert_row(struct sqlite *sqlite, const char *cluster, const struct history_request *request,
        const struct history_fate *fate, struct error *err) {
    sqlite3_stmt *statement = sqlite->statements[STATEMENT_INSERT];
    int at = sqlite_run_columns + sqlite_fate_columns + 1;
    sqlite_bind_run(statement, request->run);
    sqlite_bind_fate(statement, sqlite_run_columns + 1, fate);
    sqlite_bind_text(statement, at, cluster);
    sqlite_bind_text(statement, at + 1, request->uid);
    sqlite3_bind_int64(statement, at + 2, request->at_ms == TIME_NONE ? clock_wall_ms() : request->at_ms);
    return finish_change(sqlite, statement, err);
}

static int update_row(struct sqlite *sqlite, const struct history_request *request, const struct found *row,
        const struct history_fate *fate, struct error *err) {
    if (request->run && !row->same_version) {
        sqlite3_stmt *statement = sqlite->statements[STATEMENT_UPDATE_RUN];
        sqlite_bind_run(statement, request->run);
        sqlite3_bind_int64(statement, sqlite_run_columns + 1, row->id);
        if (finish_change(sqlite, statement, err) < 0)
            return -1;
    }
    if (history_fate_equal(&row->fate, fate))
        return 0;
    bool same_end = row->fate.cause == fate->cause && row->fate.deleted_at_ms == fate->deleted_at_ms;
    sqlite3_stmt *statement = sqlite->statements[same_end ? STATEMENT_UPDATE_POLICY : STATEMENT_UPDATE_FATE];
    sqlite_bind_fate(statement, 1, fate);
    sqlite3_bind_int64(statement, sqlite_fate_columns + 1, row->id);
    return finish_change(sqlite, statement, err);
}

static int apply_one(struct sqlite *sqlite, const char *cluster, struct history_request *request, struct error *err) {
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
    /* They stay: a commit that failed, and is tried again, may have worked. */
    request->inserted |= result == 0 && !row.id;
    request->ended |= result == 0 && fate.policy.state == RUN_DELETED && row.fate.policy.state != RUN_DELETED;
    /* A text of a gigabyte, or a value that the table's checks turn down: trying again would not help. */
    int code = sqlite3_errcode(sqlite->db) & 0xff;
    if (result < 0 && (code == SQLITE_CONSTRAINT || code == SQLITE_TOOBIG)) {
        sqlite->base.refused = request;
        if (err)
            err->kind = ERROR_FORMAT;
    }
    return result;
}

/* ---- a bounded WAL ---- */

static off_t wal_size(const struct sqlite *sqlite) {
    char wal[PATH_MAX];
    return path_identify(path_beside(sqlite->path, "-wal", wal)).size;
}

/* Commits fold the WAL into the file as they go, as far as its readers let them: one that reads on and on makes it
 * grow. Insist now and then, and stop at some point. */
static int bound_wal(struct sqlite *sqlite, struct error *err) {
    off_t size = wal_size(sqlite);
    if (size < sqlite->wal_tried)
        sqlite->wal_tried = 0; /* it was cut back since */
    if (size < WAL_BYTES_MAX && size < sqlite->wal_tried + WAL_BYTES_INSIST)
        return 0;
    int wait_ms = sqlite->busy_wait_ms;
    sqlite->busy_wait_ms = WAL_WAIT_MS;
    sqlite3_wal_checkpoint_v2(sqlite->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite->busy_wait_ms = wait_ms;
    sqlite->wal_tried = wal_size(sqlite);
    sqlite_remember_content(sqlite);
    if (sqlite->wal_tried < WAL_BYTES_MAX)
        return 0;
    char shm[PATH_MAX], holder[PATH_HOLDER_MAX];
    path_lock_holder(path_beside(sqlite->path, "-shm", shm), SQLITE_SHM_READ_FIRST, SQLITE_SHM_READ_LAST, holder);
    return error_set(err, ERROR_IO,
            "register %s: %s has been reading it for so long that its -wal file has grown to %lld MB, and nothing more "
            "is written until that reader ends: end it",
            sqlite->path, *holder ? holder : "another process", (long long)(sqlite->wal_tried >> 20));
}

/* ---- applying a chain ---- */

/* Before anything is written: a file that somebody else has put there is not to be mixed with this one's. */
static int begin(struct sqlite *sqlite, struct error *err) {
    if (sqlite_check(&sqlite->base, err) < 0 || bound_wal(sqlite, err) < 0)
        return -1;
    return sqlite_exec(sqlite, "BEGIN IMMEDIATE", "begin to write", err);
}

/* result: of what was done since begin. */
static int end(struct sqlite *sqlite, int result, struct error *err) {
    if (result == 0)
        result = sqlite_exec(sqlite, "COMMIT", "commit", err);
    /* Some failures have rolled back already. */
    if (result < 0 && !sqlite3_get_autocommit(sqlite->db))
        sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    sqlite_remember_content(sqlite);
    if (result < 0 || sqlite_check_new_wal(sqlite, err) < 0)
        return -1;
    return sqlite_check(&sqlite->base, err);
}

static int check_tables(struct sqlite *sqlite, struct error *err) {
    return sqlite_check_content(sqlite, err) < 0 ? -1 : sqlite_check_version(sqlite, err);
}

int sqlite_apply(struct history *history, const char *cluster, struct history_request *chain, struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    if (begin(sqlite, err) < 0)
        return -1;
    int result = check_tables(sqlite, err);
    for (; chain && result == 0; chain = chain->next)
        result = apply_one(sqlite, cluster, chain, err);
    return end(sqlite, result, err);
}

int sqlite_prune(struct history *history, int64_t before_ms, int limit, int *ret_pruned, struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    sqlite3_stmt *statement = sqlite->statements[STATEMENT_PRUNE];
    if (begin(sqlite, err) < 0)
        return -1;
    int result = check_tables(sqlite, err), pruned = 0;
    if (result == 0) {
        sqlite3_bind_int64(statement, 1, before_ms);
        sqlite3_bind_int(statement, 2, limit);
        result = finish_change(sqlite, statement, err);
        pruned = sqlite3_changes(sqlite->db);
    }
    if (end(sqlite, result, err) < 0)
        return -1;
    *ret_pruned = pruned;
    return 0;
}
