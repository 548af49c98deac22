#include "base/clock.h"
#include "base/duration.h"
#include <string.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include "history/sqlite_internal.h"

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

const int sqlite_run_columns = COLUMNS;
const int sqlite_fate_columns = sizeof fate_columns / sizeof fate_columns[0];

const char *sqlite_run_column(int at) {
    return columns[at].name;
}

const char *sqlite_fate_column(int at) {
    return fate_columns[at];
}

void sqlite_add_fate_columns(struct strbuf *sql) {
    for (int i = 0; i < sqlite_fate_columns; i++)
        strbuf_add_format(sql, "%s%s", i ? ", " : "", fate_columns[i]);
}

void sqlite_add_columns(struct strbuf *sql) {
    for (int i = 0; i < COLUMNS; i++)
        strbuf_add_format(sql, "%s, ", columns[i].name);
    sqlite_add_fate_columns(sql);
}

/* ---- binding ---- */

void sqlite_bind_text(sqlite3_stmt *statement, int at, const char *text) {
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

static void bind_unless(sqlite3_stmt *statement, int at, int64_t number, int64_t unknown) {
    if (number == unknown)
        sqlite3_bind_null(statement, at);
    else
        sqlite3_bind_int64(statement, at, number);
}

void sqlite_bind_run(sqlite3_stmt *statement, const struct run *run) {
    for (int i = 0; i < COLUMNS; i++) {
        const char *field = (const char *)run + columns[i].offset;
        switch (columns[i].kind) {
        case COLUMN_TEXT:
            sqlite_bind_text(statement, i + 1, *(char *const *)field);
            break;
        case COLUMN_TIME:
            bind_unless(statement, i + 1, *(const int64_t *)field, TIME_NONE);
            break;
        case COLUMN_COUNT:
            bind_unless(statement, i + 1, *(const int64_t *)field, RUN_UNKNOWN);
            break;
        case COLUMN_OUTCOME:
            sqlite_bind_text(statement, i + 1, outcome_name(run->outcome));
            break;
        case COLUMN_TRIGGER:
            sqlite_bind_text(statement, i + 1, run_trigger_name(run->trigger));
            break;
        }
    }
}

static const char *text_or_null(const char *text) {
    return *text ? text : NULL;
}

void sqlite_bind_fate(sqlite3_stmt *statement, int at, const struct history_fate *fate) {
    const struct run_policy *policy = &fate->policy;
    if (policy->ttl_ms == DURATION_NEVER)
        sqlite3_bind_int64(statement, at, -1);
    else
        bind_unless(statement, at, policy->ttl_ms, RUN_UNKNOWN);
    sqlite_bind_text(statement, at + 1, text_or_null(policy->rule));
    sqlite_bind_text(statement, at + 2, text_or_null(policy->source));
    bind_unless(statement, at + 3, policy->due_at_ms, TIME_NONE);
    sqlite_bind_text(statement, at + 4, run_state_name(policy->state));
    sqlite_bind_text(statement, at + 5, run_cause_name(fate->cause));
    bind_unless(statement, at + 6, fate->delete_requested_at_ms, TIME_NONE);
    bind_unless(statement, at + 7, fate->deleted_at_ms, TIME_NONE);
}

/* ---- reading ---- */

const char *sqlite_read_text(sqlite3_stmt *statement, int at) {
    return (const char *)sqlite3_column_text(statement, at);
}

int64_t sqlite_read_or(sqlite3_stmt *statement, int at, int64_t unknown) {
    return sqlite3_column_type(statement, at) == SQLITE_NULL ? unknown : sqlite3_column_int64(statement, at);
}

void sqlite_read_short(sqlite3_stmt *statement, int at, char *ret, size_t size) {
    const char *text = sqlite_read_text(statement, at);
    snprintf(ret, size, "%s", text ? text : "");
}

/* The value whose name stands in the column; least when none does. */
static int read_name(sqlite3_stmt *statement, int at, int least, int most, const char *(*name_of)(int)) {
    const char *text = sqlite_read_text(statement, at);
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

enum run_state sqlite_read_state(sqlite3_stmt *statement, int at) {
    return (enum run_state)read_name(statement, at, RUN_KEPT, RUN_DELETED, name_of_state);
}

void sqlite_read_run(sqlite3_stmt *statement, struct run *run) {
    for (int i = 0; i < COLUMNS; i++) {
        char *field = (char *)run + columns[i].offset;
        switch (columns[i].kind) {
        case COLUMN_TEXT:
            *(const char **)field = sqlite_read_text(statement, i);
            break;
        case COLUMN_TIME:
            *(int64_t *)field = sqlite_read_or(statement, i, TIME_NONE);
            break;
        case COLUMN_COUNT:
            *(int64_t *)field = sqlite_read_or(statement, i, RUN_UNKNOWN);
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

void sqlite_read_fate(sqlite3_stmt *statement, int at, struct history_fate *fate) {
    struct run_policy *policy = &fate->policy;
    policy->ttl_ms = sqlite_read_or(statement, at, RUN_UNKNOWN);
    if (policy->ttl_ms == -1 && sqlite3_column_type(statement, at) != SQLITE_NULL)
        policy->ttl_ms = DURATION_NEVER;
    sqlite_read_short(statement, at + 1, policy->rule, sizeof policy->rule);
    sqlite_read_short(statement, at + 2, policy->source, sizeof policy->source);
    policy->due_at_ms = sqlite_read_or(statement, at + 3, TIME_NONE);
    policy->state = sqlite_read_state(statement, at + 4);
    fate->cause = (enum run_cause)read_name(statement, at + 5, RUN_CAUSE_NONE, RUN_CAUSE_UNKNOWN, name_of_cause);
    fate->delete_requested_at_ms = sqlite_read_or(statement, at + 6, TIME_NONE);
    fate->deleted_at_ms = sqlite_read_or(statement, at + 7, TIME_NONE);
}

/* The columns of text, and then the uid, which is a column of its own. */
static char **text_of(struct run *run, int at) {
    if (at == COLUMNS)
        return &run->job_uid;
    return columns[at].kind == COLUMN_TEXT ? (char **)((char *)run + columns[at].offset) : NULL;
}

void sqlite_free_run(struct run *run, const char *cluster) {
    free((char *)cluster);
    for (int i = 0; i <= COLUMNS; i++) {
        char **text = text_of(run, i);
        if (text)
            free(*text);
    }
}

int sqlite_own_run(struct run *run, const char **cluster) {
    bool whole = true;
    char *copy = NULL;
    for (int i = 0; i <= COLUMNS; i++) {
        char **text = text_of(run, i);
        if (!text || !*text)
            continue;
        *text = strdup(*text);
        whole = whole && *text;
    }
    if (*cluster) {
        copy = strdup(*cluster);
        whole = whole && copy;
        *cluster = copy;
    }
    if (whole)
        return 0;
    sqlite_free_run(run, copy);
    return -1;
}
