#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "history/schema.h"
#include "history/sqlite_internal.h"

#define GLOB_BYTES_MAX 4096 /* Job names have 63 bytes; a pattern longer than this is no pattern */

int sqlite_each_open(struct history *history, const char *cluster,
        int (*each)(void *arg, const struct history_open_run *run, struct error *err), void *arg, struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    sqlite3_stmt *statement = NULL;
    static const char sql[] =
            "SELECT namespace, job_name, job_uid, delete_state, due_at FROM runs WHERE cluster = ?1 AND " SCHEMA_OPEN;
    if (sqlite3_prepare_v2(sqlite->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return sqlite_failed(sqlite, err, "read it");
    sqlite_bind_text(statement, 1, cluster);
    int rc, result = 0;
    while (result == 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct history_open_run run = {
                .namespace = sqlite_read_text(statement, 0),
                .job_name = sqlite_read_text(statement, 1),
                .job_uid = sqlite_read_text(statement, 2),
                .state = sqlite_read_state(statement, 3),
                .due_at_ms = sqlite_read_or(statement, 4, TIME_NONE),
        };
        result = run.namespace && run.job_name && run.job_uid ? each(arg, &run, err) : error_nomem(err);
    }
    if (result == 0 && rc != SQLITE_DONE)
        result = sqlite_failed(sqlite, err, "read it");
    sqlite3_finalize(statement);
    return result;
}

#define RECREATED_WHERE "cluster = ?1 AND delete_cause = 'ttl' AND cronjob IS NULL AND deleted_at >= ?2"

int sqlite_each_recreated(struct history *history, const char *cluster, int64_t since_ms, int min_rows,
        int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
        struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    sqlite3_stmt *statement = NULL;
    static const char sql[] =
            "SELECT namespace, job_name, created_at, deleted_at FROM runs WHERE " RECREATED_WHERE
            " AND (namespace, job_name) IN (SELECT namespace, job_name FROM runs WHERE " RECREATED_WHERE
            " GROUP BY namespace, job_name HAVING count(*) >= ?3)"
            " ORDER BY deleted_at, id";
    if (sqlite3_prepare_v2(sqlite->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return sqlite_failed(sqlite, err, "read it");
    sqlite_bind_text(statement, 1, cluster);
    sqlite3_bind_int64(statement, 2, since_ms);
    sqlite3_bind_int(statement, 3, min_rows);
    int rc, result = 0;
    while (result == 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        struct history_recreated_run run = {
                .namespace = sqlite_read_text(statement, 0),
                .job_name = sqlite_read_text(statement, 1),
                .created_at_ms = sqlite_read_or(statement, 2, TIME_NONE),
                .deleted_at_ms = sqlite3_column_int64(statement, 3),
        };
        result = run.namespace && run.job_name ? each(arg, &run, err) : error_nomem(err);
    }
    if (result == 0 && rc != SQLITE_DONE)
        result = sqlite_failed(sqlite, err, "read it");
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
    struct strbuf sql = STRBUF_INIT(SQLITE_SQL_MAX), job_glob = STRBUF_INIT(GLOB_BYTES_MAX),
                  cronjob_glob = STRBUF_INIT(GLOB_BYTES_MAX);
    const char *job = NULL, *cronjob = NULL;
    strbuf_add_text(&sql, "SELECT id FROM runs WHERE 1");
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
        result = sqlite_prepare(sqlite, &sql, 0, &statement, err);
    if (result == 0) {
        /* Binding what the text does not mention fails, and does no harm; but a copy may need memory. */
        sqlite_bind_text(statement, Q_NAMESPACE, query->namespace);
        int copied = sqlite3_bind_text(statement, Q_JOB, job, -1, SQLITE_TRANSIENT);
        int copied_too = sqlite3_bind_text(statement, Q_CRONJOB, cronjob, -1, SQLITE_TRANSIENT);
        if (copied == SQLITE_NOMEM || copied_too == SQLITE_NOMEM)
            result = error_nomem(err);
        sqlite_bind_text(statement, Q_UID, query->uid);
        if (query->outcome >= 0)
            sqlite_bind_text(statement, Q_OUTCOME, outcome_name((enum outcome)query->outcome));
        sqlite3_bind_int64(statement, Q_SINCE, query->since_ms);
        sqlite3_bind_int64(statement, Q_UNTIL, query->until_ms);
        sqlite3_bind_int64(statement, Q_LIMIT, query->limit > 0 ? query->limit : -1);
    }
    if (result == 0)
        *ret = statement;
    else
        sqlite3_finalize(statement);
    strbuf_finish(&sql);
    strbuf_finish(&job_glob);
    strbuf_finish(&cronjob_glob);
    return result;
}

/* The rows that a query finds, by id: 8 bytes each. */
struct found {
    int64_t *ids;
    size_t n, room;
};

static int find_rows(struct sqlite *sqlite, const struct history_query *query, struct found *ret, struct error *err) {
    sqlite3_stmt *statement = NULL;
    if (prepare_query(sqlite, query, &statement, err) < 0)
        return -1;
    int rc, result = 0;
    while (result == 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (ret->n == ret->room) {
            size_t room = ret->room ? ret->room * 2 : 256;
            int64_t *larger = reallocarray(ret->ids, room, sizeof *larger);
            if (!larger) {
                result = error_nomem(err);
                break;
            }
            ret->ids = larger;
            ret->room = room;
        }
        ret->ids[ret->n++] = sqlite3_column_int64(statement, 0);
    }
    if (result == 0 && rc != SQLITE_DONE)
        result = sqlite_failed(sqlite, err, "read it");
    sqlite3_finalize(statement);
    return result;
}

static int prepare_row(struct sqlite *sqlite, sqlite3_stmt **ret, struct error *err) {
    struct strbuf sql = STRBUF_INIT(SQLITE_SQL_MAX);
    strbuf_add_text(&sql, "SELECT ");
    sqlite_add_columns(&sql);
    strbuf_add_text(&sql, ", cluster, job_uid, recorded_at, duration_ms FROM runs WHERE id = ?1");
    int result = sqlite_prepare(sqlite, &sql, 0, ret, err);
    strbuf_finish(&sql);
    return result;
}

/* 1: it is there, and its strings are the row's own. 0: it is gone by now. */
static int read_row(
        struct sqlite *sqlite, sqlite3_stmt *statement, int64_t id, struct history_row *row, struct error *err) {
    const int after = sqlite_run_columns + sqlite_fate_columns;
    struct history_fate fate;
    sqlite3_bind_int64(statement, 1, id);
    int rc = sqlite3_step(statement), result = 0;
    if (rc == SQLITE_ROW) {
        *row = (struct history_row){.cluster = sqlite_read_text(statement, after)};
        sqlite_read_run(statement, &row->run);
        row->run.job_uid = (char *)sqlite_read_text(statement, after + 1);
        sqlite_read_fate(statement, sqlite_run_columns, &fate);
        row->policy = fate.policy;
        row->cause = fate.cause;
        row->delete_requested_at_ms = fate.delete_requested_at_ms;
        row->deleted_at_ms = fate.deleted_at_ms;
        row->recorded_at_ms = sqlite3_column_int64(statement, after + 2);
        row->duration_ms = sqlite_read_or(statement, after + 3, RUN_UNKNOWN);
        /* A text that did not fit into memory reads as NULL. */
        bool whole = sqlite3_errcode(sqlite->db) != SQLITE_NOMEM;
        result = whole && sqlite_own_run(&row->run, &row->cluster) == 0 ? 1 : error_nomem(err);
    } else if (rc != SQLITE_DONE) {
        result = sqlite_failed(sqlite, err, "read it");
    }
    sqlite3_reset(statement);
    return result;
}

/* Whoever takes the rows may be slow (a pager, a pipe), and a transaction that stays open meanwhile would keep the
 * writer's WAL from being folded in. So the rows are found in one, and read each in another. */
int sqlite_each(struct history *history, const struct history_query *query,
        int (*each)(void *arg, const struct history_row *row, struct error *err), void *arg, struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    struct found found = {0};
    sqlite3_stmt *statement = NULL;
    int result = find_rows(sqlite, query, &found, err);
    if (result == 0)
        result = prepare_row(sqlite, &statement, err);
    for (size_t i = 0; result == 0 && i < found.n; i++) {
        struct history_row row;
        result = read_row(sqlite, statement, found.ids[i], &row, err);
        if (result <= 0)
            continue;
        result = each(arg, &row, err);
        sqlite_free_run(&row.run, row.cluster);
    }
    sqlite3_finalize(statement);
    free(found.ids);
    return result;
}
