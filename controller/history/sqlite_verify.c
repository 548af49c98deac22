#include <stdio.h>
#include <string.h>

#include "history/schema.h"
#include "history/sqlite_internal.h"

#define COMPLAINTS_MAX "100" /* of the integrity check: more tell no more */
#define DETAIL_MAX 1024

/* Milliseconds as SQL text. */
#define MINUTES_10 "600000"
#define HOUR "3600000"
#define DAY "86400000"
#define YEAR_10000 "253402300800000"

#define NOT_TIME(column) "(" column " < 0 OR " column " >= " YEAR_10000 ")"
#define NOT_JSON(column) "(" column " IS NOT NULL AND NOT json_valid(" column "))"

/* Rows that should not be, or that someone should know of. ?1 is now. */
static const struct check {
    const char *name;
    bool is_problem;
    const char *where, *means, *advice;
} checks[] = {
        {"ended-without-time", true, "delete_state = 'deleted' AND (deleted_at IS NULL OR delete_cause IS NULL)",
                "the Job is gone, but when or by whom is missing",
                "somebody changed these rows: put a backup in place, or correct them by hand"},
        {"open-with-end", true, "delete_state <> 'deleted' AND (deleted_at IS NOT NULL OR delete_cause IS NOT NULL)",
                "the row is open although it has an end",
                "somebody changed these rows: put a backup in place, or correct them by hand"},
        {"deleted-without-intent", true,
                "(delete_cause = 'ttl' OR delete_state = 'deleting') AND delete_requested_at IS NULL",
                "Sexton deleted the Job, but its intent is not in this register",
                "was the register lost or replaced while a deletion was under way? Otherwise report it"},
        {"deleted-early", true, "delete_cause = 'ttl' AND due_at > delete_requested_at",
                "the deletion was asked for before the Job was due",
                "was the Job's policy changed at that moment? Otherwise report it"},
        {"not-json", true,
                NOT_JSON("images") " OR " NOT_JSON("labels") " OR " NOT_JSON("annotations") " OR " NOT_JSON("manifest"),
                "a column that should hold JSON does not", "the Job cannot be created again from this row"},
        {"no-time", true,
                NOT_TIME("scheduled_at") " OR " NOT_TIME("created_at") " OR " NOT_TIME("started_at") " OR " NOT_TIME(
                        "finished_at") " OR " NOT_TIME("recorded_at") " OR " NOT_TIME("deleted_at") " OR duration_ms "
                                                                                                    "<> finished_at - "
                                                                                                    "started_at",
                "a time or duration is impossible", "somebody changed these rows, or a clock was far off"},
        {"deleting-for-long", true, "delete_state = 'deleting' AND delete_requested_at < ?1 - " DAY,
                "a deletion was begun more than a day ago, and nothing has settled it since",
                "does a controller run for this cluster and Namespace? Does the Job wait for a finalizer?"},
        {"deleting", false,
                "delete_state = 'deleting' AND delete_requested_at < ?1 - " MINUTES_10
                " AND delete_requested_at >= ?1 - " DAY,
                "a deletion was begun and is not settled: left in between by a controller that ended, or waiting for a "
                "finalizer",
                "nothing: the next list of a running controller, or the next start, settles it"},
        {"overdue-for-long", true, "delete_state = 'due' AND due_at < ?1 - " DAY,
                "the Job was due more than a day ago, and is still there as far as is known",
                "does a controller run for this cluster and Namespace, and may it delete? 'sexton check' tells"},
        {"overdue", false, "delete_state = 'due' AND due_at < ?1 - " HOUR " AND due_at >= ?1 - " DAY,
                "the Job was due more than an hour ago, and is still there as far as is known",
                "look at the controller's log, if one runs"},
        {"two-clusters", false,
                "EXISTS (SELECT 1 FROM runs AS other WHERE other.job_uid = runs.job_uid AND other.cluster <> "
                "runs.cluster)",
                "the same Job is on record for two clusters: the cluster's name has changed",
                "set 'cluster' in [sexton] to keep one name"},
        {"clocks", false, "recorded_at > ?1 + " DAY " OR finished_at > deleted_at + " MINUTES_10,
                "the row was written by a clock that is far from this one, or from the API server's",
                "nothing, if the clocks agree by now"},
};
#define CHECKS ((int)(sizeof checks / sizeof checks[0]))

struct verification {
    struct sqlite *sqlite;
    int64_t now_ms;
    int (*each)(void *arg, const struct history_finding *finding, struct error *err);
    void *arg;
    bool damaged; /* the file or its tables, and that was told */
};

/* ---- the file ---- */

static int tell_damage(struct verification *v, const char *detail, int64_t complaints, struct error *err) {
    v->damaged = true;
    const struct history_finding finding = {.check = "damaged",
            .is_problem = true,
            .means = "the file is damaged",
            .advice =
                    "stop what writes to it; put a backup in its place, or move it aside to begin a new one ('sqlite3 "
                    "FILE .recover' may save what is left)",
            .detail = detail,
            .rows = complaints};
    return v->each(v->arg, &finding, err);
}

/* A failure to read: a finding when it is the file's fault. */
static int failed(struct verification *v, struct error *err) {
    int code = sqlite3_errcode(v->sqlite->db) & 0xff;
    char detail[DETAIL_MAX];
    if (v->damaged && (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR))
        return 0;
    if (code != SQLITE_CORRUPT && code != SQLITE_NOTADB)
        return sqlite_failed(v->sqlite, err, "read it");
    snprintf(detail, sizeof detail, "%s", sqlite3_errmsg(v->sqlite->db));
    return tell_damage(v, detail, 0, err);
}

static int verify_integrity(struct verification *v, bool quick, struct error *err) {
    const char *sql = quick ? "PRAGMA quick_check(" COMPLAINTS_MAX ")" : "PRAGMA integrity_check(" COMPLAINTS_MAX ")";
    sqlite3_stmt *statement = NULL;
    struct strbuf detail = STRBUF_INIT(DETAIL_MAX);
    int64_t complaints = 0;
    int rc = sqlite3_prepare_v2(v->sqlite->db, sql, -1, &statement, NULL);
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(statement);
        const char *text = rc == SQLITE_ROW ? sqlite_read_text(statement, 0) : NULL;
        if (!text || strcmp(text, "ok") == 0)
            continue;
        if (complaints++ < 3)
            strbuf_add_format(&detail, "%s%.300s", complaints > 1 ? "; " : "", text);
    }
    int result = 0;
    if (complaints)
        result = tell_damage(v, strbuf_text(&detail), complaints, err);
    else if (rc != SQLITE_DONE)
        result = failed(v, err);
    sqlite3_finalize(statement);
    strbuf_finish(&detail);
    return result;
}

/* ---- its tables ---- */

static int tell_schema(struct verification *v, bool missing, const char *type, const char *name, struct error *err) {
    char detail[DETAIL_MAX];
    v->damaged = v->damaged || missing;
    snprintf(detail, sizeof detail, "%s %s", type, name);
    struct history_finding finding = {.check = missing ? "tables" : "more-tables",
            .is_problem = missing,
            .means = "a table, index or view is missing or is not as Sexton made it",
            .advice = "put a backup in its place, or move it aside to begin a new one; without an index it works, but "
                      "slowly",
            .detail = detail};
    if (!missing) {
        finding.means = "there is a table, index, view or trigger that is not Sexton's";
        finding.advice = "nothing, if it is meant to be; a trigger or an index costs time in every write";
    }
    return v->each(v->arg, &finding, err);
}

/* Each of one's tables, indexes and views against the other's. The same text, for ALTER TABLE changes that too. */
static int compare_schemas(struct verification *v, sqlite3 *these, sqlite3 *others, bool text_too, struct error *err) {
    sqlite3_stmt *list = NULL, *find = NULL;
    int rc = sqlite3_prepare_v2(these,
            "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name", -1, &list, NULL);
    int result = rc == SQLITE_OK ? 0 : error_nomem(err);
    if (result == 0 && sqlite3_prepare_v2(others, "SELECT sql FROM sqlite_schema WHERE type = ?1 AND name = ?2", -1,
                               &find, NULL) != SQLITE_OK)
        result = failed(v, err);
    while (result == 0 && find && sqlite3_step(list) == SQLITE_ROW) {
        const char *type = sqlite_read_text(list, 0), *name = sqlite_read_text(list, 1),
                   *sql = sqlite_read_text(list, 2);
        sqlite_bind_text(find, 1, type);
        sqlite_bind_text(find, 2, name);
        bool same = sqlite3_step(find) == SQLITE_ROW;
        const char *other = same ? sqlite_read_text(find, 0) : NULL;
        if (same && text_too)
            same = sql && other && strcmp(sql, other) == 0;
        if (!same)
            result = tell_schema(v, text_too, type, name, err);
        sqlite3_reset(find);
    }
    sqlite3_finalize(list);
    sqlite3_finalize(find);
    return result;
}

static int verify_schema(struct verification *v, struct error *err) {
    sqlite3 *model = NULL;
    int rc = sqlite3_open_v2(":memory:", &model, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY, NULL);
    for (int i = 0; i < schema_version && rc == SQLITE_OK; i++)
        rc = sqlite3_exec(model, schema_migrations[i], NULL, NULL, NULL);
    int result = rc == SQLITE_OK ? compare_schemas(v, model, v->sqlite->db, true, err) : error_nomem(err);
    if (result == 0)
        result = compare_schemas(v, v->sqlite->db, model, false, err);
    sqlite3_close_v2(model);
    return result;
}

/* ---- its rows ---- */

static int tell_rows(struct verification *v, const struct check *check, int64_t rows, struct error *err) {
    struct history_finding finding = {.check = check->name,
            .is_problem = check->is_problem,
            .means = check->means,
            .advice = check->advice,
            .rows = rows};
    struct strbuf sql = STRBUF_INIT(SQLITE_SQL_MAX);
    sqlite3_stmt *statement = NULL;
    strbuf_add_format(&sql, "SELECT cluster, namespace, job_name, job_uid FROM runs WHERE %s ORDER BY id LIMIT %d",
            check->where, HISTORY_EXAMPLES_MAX);
    int result = sqlite_prepare(v->sqlite, &sql, 0, &statement, err);
    if (result == 0)
        sqlite3_bind_int64(statement, 1, v->now_ms);
    while (result == 0 && sqlite3_step(statement) == SQLITE_ROW && finding.n_examples < HISTORY_EXAMPLES_MAX) {
        int at = finding.n_examples++;
        sqlite_read_short(statement, 0, finding.examples[at].cluster, sizeof finding.examples[at].cluster);
        sqlite_read_short(statement, 1, finding.examples[at].namespace, sizeof finding.examples[at].namespace);
        sqlite_read_short(statement, 2, finding.examples[at].job_name, sizeof finding.examples[at].job_name);
        sqlite_read_short(statement, 3, finding.examples[at].job_uid, sizeof finding.examples[at].job_uid);
    }
    sqlite3_finalize(statement);
    strbuf_finish(&sql);
    return result == 0 ? v->each(v->arg, &finding, err) : result;
}

/* All in one look at the table. */
static int verify_rows(struct verification *v, struct history_verified *verified, struct error *err) {
    struct strbuf sql = STRBUF_INIT(SQLITE_SQL_MAX);
    sqlite3_stmt *statement = NULL;
    int64_t rows[CHECKS];
    strbuf_add_text(&sql, "SELECT count(*)");
    for (int i = 0; i < CHECKS; i++)
        strbuf_add_format(&sql, ", count(*) FILTER (WHERE %s)", checks[i].where);
    strbuf_add_text(&sql, " FROM runs");
    int result = strbuf_failed(&sql) ? error_nomem(err) : 0;
    if (result == 0 && sqlite3_prepare_v2(v->sqlite->db, strbuf_text(&sql), -1, &statement, NULL) != SQLITE_OK)
        result = failed(v, err);
    strbuf_finish(&sql);
    if (result < 0 || !statement)
        return result;
    sqlite3_bind_int64(statement, 1, v->now_ms);
    bool whole = sqlite3_step(statement) == SQLITE_ROW;
    if (whole) {
        verified->runs = sqlite3_column_int64(statement, 0);
        for (int i = 0; i < CHECKS; i++)
            rows[i] = sqlite3_column_int64(statement, i + 1);
    } else {
        result = failed(v, err);
    }
    sqlite3_finalize(statement);
    for (int i = 0; whole && i < CHECKS && result == 0; i++) {
        if (rows[i])
            result = tell_rows(v, &checks[i], rows[i], err);
    }
    return result;
}

int sqlite_verify(struct history *history, int64_t now_ms, bool quick, struct history_verified *ret,
        int (*each)(void *arg, const struct history_finding *finding, struct error *err), void *arg,
        struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    struct verification v = {.sqlite = sqlite, .now_ms = now_ms, .each = each, .arg = arg};
    struct history_verified verified = {.bytes = path_identify(sqlite->path).size};
    int result = sqlite_query_number(sqlite, "PRAGMA user_version", &verified.version, err);
    if (result == 0)
        result = verify_integrity(&v, quick, err);
    if (result == 0)
        result = verify_schema(&v, err);
    if (result == 0)
        result = verify_rows(&v, &verified, err);
    if (result == 0)
        *ret = verified;
    return result;
}
