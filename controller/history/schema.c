#include "history/schema.h"

#define ENDED_1 "coalesce(finished_at, deleted_at, recorded_at)" /* what SCHEMA_ENDED was before version 3 */

/* For people with a SQL prompt. */
#define VIEW(ended) \
    "CREATE VIEW runs_view AS SELECT" \
    " cluster, namespace, job_name AS job, outcome, reason, message," \
    " strftime('%Y-%m-%dT%H:%M:%SZ', scheduled_at / 1000, 'unixepoch') AS scheduled," \
    " strftime('%Y-%m-%dT%H:%M:%SZ', created_at / 1000, 'unixepoch') AS created," \
    " strftime('%Y-%m-%dT%H:%M:%SZ', started_at / 1000, 'unixepoch') AS started," \
    " strftime('%Y-%m-%dT%H:%M:%SZ', finished_at / 1000, 'unixepoch') AS finished," \
    " CASE WHEN duration_ms < 0 THEN 'never'" \
    "  WHEN duration_ms < 1000 THEN printf('%dms', duration_ms)" \
    "  WHEN duration_ms < 60000 THEN printf('%ds', duration_ms / 1000)" \
    "  WHEN duration_ms < 3600000 THEN printf('%dm%ds', duration_ms / 60000, duration_ms / 1000 % 60)" \
    "  WHEN duration_ms < 86400000 THEN printf('%dh%dm', duration_ms / 3600000, duration_ms / 60000 % 60)" \
    "  ELSE printf('%dd%dh', duration_ms / 86400000, duration_ms / 3600000 % 24) END AS duration," \
    " strftime('%Y-%m-%dT%H:%M:%SZ', recorded_at / 1000, 'unixepoch') AS recorded," \
    " cronjob, \"trigger\", owner_kind, owner_name, pods_succeeded, pods_failed, completions, parallelism," \
    " completion_mode, completed_indexes, failed_indexes, backoff_limit, policy, policy_source," \
    " CASE WHEN ttl_ms < 0 THEN 'never'" \
    "  WHEN ttl_ms < 1000 THEN printf('%dms', ttl_ms)" \
    "  WHEN ttl_ms < 60000 THEN printf('%ds', ttl_ms / 1000)" \
    "  WHEN ttl_ms < 3600000 THEN printf('%dm%ds', ttl_ms / 60000, ttl_ms / 1000 % 60)" \
    "  WHEN ttl_ms < 86400000 THEN printf('%dh%dm', ttl_ms / 3600000, ttl_ms / 60000 % 60)" \
    "  ELSE printf('%dd%dh', ttl_ms / 86400000, ttl_ms / 3600000 % 24) END AS ttl," \
    " strftime('%Y-%m-%dT%H:%M:%SZ', due_at / 1000, 'unixepoch') AS due," \
    " delete_state AS state, delete_cause AS cause," \
    " strftime('%Y-%m-%dT%H:%M:%SZ', delete_requested_at / 1000, 'unixepoch') AS delete_requested," \
    " strftime('%Y-%m-%dT%H:%M:%SZ', deleted_at / 1000, 'unixepoch') AS deleted," \
    " job_uid AS uid, resource_version, owner_uid, images, labels, annotations, manifest" \
    " FROM runs ORDER BY " ended " DESC;"

/*
 * The uid comes first in the unique key, so that the same index finds a run when the cluster is not known. The wide
 * columns come last: SQLite reads a row from its start, and need not follow the overflow pages for what stands before.
 */
static const char version_1[] =
        "CREATE TABLE runs ("
        " id INTEGER PRIMARY KEY,"
        " cluster TEXT NOT NULL,"
        " namespace TEXT NOT NULL,"
        " job_name TEXT NOT NULL,"
        " job_uid TEXT NOT NULL CHECK (job_uid <> ''),"
        " resource_version TEXT,"
        " owner_kind TEXT,"
        " owner_name TEXT,"
        " owner_uid TEXT,"
        " cronjob TEXT,"
        " \"trigger\" TEXT NOT NULL CHECK (\"trigger\" IN ('scheduled', 'manual', 'other')),"
        /* Times: Unix milliseconds, UTC. NULL: not known. */
        " scheduled_at INTEGER,"
        " created_at INTEGER,"
        " started_at INTEGER,"
        " finished_at INTEGER,"
        " duration_ms INTEGER CHECK (duration_ms >= 0),"            /* from start to finish */
        " recorded_at INTEGER NOT NULL,"                            /* when it came into the register */
        " outcome TEXT CHECK (outcome IN ('Succeeded', 'Failed'))," /* NULL: deleted before it finished */
        " reason TEXT,"
        " message TEXT,"
        " pods_succeeded INTEGER,"
        " pods_failed INTEGER,"
        " completions INTEGER,"
        " parallelism INTEGER,"
        " completion_mode TEXT,"
        " completed_indexes TEXT,"
        " failed_indexes TEXT,"
        " backoff_limit INTEGER,"
        " ttl_ms INTEGER CHECK (ttl_ms >= -1)," /* -1: never. NULL: no TTL was decided */
        " policy TEXT,"                         /* the rule that decided: ttl-after-failure=24h */
        " policy_source TEXT,"                  /* where it stands */
        " due_at INTEGER,"                      /* from when on it may go. NULL: kept for good */
        " delete_state TEXT NOT NULL CHECK (delete_state IN ('kept', 'due', 'deleting', 'deleted')),"
        " delete_cause TEXT CHECK (delete_cause IN ('ttl', 'external', 'unknown')),"
        " delete_requested_at INTEGER," /* the last time that a DELETE was about to be sent */
        " deleted_at INTEGER,"
        " images TEXT,"      /* JSON from here on */
        " labels TEXT,"      /* those on the allow-list */
        " annotations TEXT," /* those on the allow-list */
        " manifest TEXT,"    /* the Job to create again, without status */
        " UNIQUE (job_uid, cluster)"
        ") STRICT;"
        "CREATE INDEX runs_newest ON runs (" ENDED_1 ");"
        "CREATE INDEX runs_job ON runs (namespace, job_name, " ENDED_1 ");"
        "CREATE INDEX runs_cronjob ON runs (namespace, cronjob, " ENDED_1 ") WHERE cronjob IS NOT NULL;"
        "CREATE INDEX runs_open ON runs (cluster) WHERE delete_state <> 'deleted';" VIEW(ENDED_1);

/* The names that come back after we deleted them, at the start: without a look at the rows. */
static const char version_2[] =
        "CREATE INDEX runs_recreated ON runs (cluster, deleted_at, namespace, job_name, created_at)"
        " WHERE delete_cause = 'ttl' AND cronjob IS NULL;";

/*
 * For an IN of three or more, SQLite builds a table in memory, for each row that is written: it was a third of what a
 * deletion cost. The rows stay as they are, so a CHECK is changed in the text alone, in the way of
 * https://www.sqlite.org/lang_altertable.html#otheralter
 *
 * And SQLite writes each index anew that has a column which is set, though it stays what it was. So no index has one
 * that is set when a deletion begins, and only those of open and of deleted rows have one that is set when it ends.
 *
 * Whoever has a SQL prompt may have taken the view or an index away: that must not cost the register.
 */
#define REPLACE(what, old, new) "replace(" what ", 'CHECK (" old ")', 'CHECK (" new ")')"
static const char version_3[] =
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_schema SET sql = " REPLACE(
                REPLACE(REPLACE("sql", "\"trigger\" IN (''scheduled'', ''manual'', ''other'')",
                                "\"trigger\" = ''scheduled'' OR \"trigger\" = ''manual'' OR "
                                "\"trigger\" = ''other''"),
                        "delete_state IN (''kept'', ''due'', ''deleting'', ''deleted'')",
                        "delete_state = ''kept'' OR delete_state = ''due'' OR delete_state = "
                        "''deleting'' OR delete_state = ''deleted''"),
                "delete_cause IN (''ttl'', ''external'', ''unknown'')",
                "delete_cause = ''ttl'' OR delete_cause = ''external'' OR delete_cause = "
                "''unknown''") " WHERE type = 'table' AND name = 'runs';"
                               "PRAGMA writable_schema = RESET;"
                               "DROP VIEW IF EXISTS runs_view;"
                               "DROP INDEX IF EXISTS runs_newest;"
                               "DROP INDEX IF EXISTS runs_job;"
                               "DROP INDEX IF EXISTS runs_cronjob;"
                               "DROP INDEX IF EXISTS runs_open;"
                               "CREATE INDEX runs_newest ON runs (" SCHEMA_ENDED ");"
                               "CREATE INDEX runs_job ON runs (namespace, job_name, " SCHEMA_ENDED ");"
                               "CREATE INDEX runs_cronjob ON runs (namespace, cronjob, " SCHEMA_ENDED
                               ") WHERE cronjob IS NOT NULL;"
                               "CREATE INDEX runs_open ON runs (cluster) WHERE " SCHEMA_OPEN ";" VIEW(SCHEMA_ENDED);

const char *const schema_migrations[] = {version_1, version_2, version_3};
const int schema_version = sizeof schema_migrations / sizeof schema_migrations[0];
