/*
 * A folder of its own for each test of the register, with real SQLite files, and short ways to make requests.
 */
#pragma once

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "history/history.h"

#define NOW_MS 1795219200000LL /* 2026-11-21T00:00:00Z */
#define HOUR_MS 3600000LL

static char fixture_folder[64], fixture_path[128], fixture_location[160];

static inline void fixture_setup(void) {
    strcpy(fixture_folder, "/tmp/sexton-history-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture_folder));
    snprintf(fixture_path, sizeof fixture_path, "%s/history.db", fixture_folder);
    snprintf(fixture_location, sizeof fixture_location, "sqlite:%s", fixture_path);
}

/* An ordinary user, if we are root, for root may write anywhere; and back. */
static inline void become_nobody(void) {
    if (geteuid() == 0)
        ck_assert(setegid(65534) == 0 && seteuid(65534) == 0);
}

static inline void become_ourselves(void) {
    ck_assert(seteuid(getuid()) == 0 && setegid(getgid()) == 0);
}

static inline void fixture_teardown(void) {
    become_ourselves();
    DIR *folder = opendir(fixture_folder);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", fixture_folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove(path);
    }
    if (folder)
        closedir(folder);
    rmdir(fixture_folder);
}

static inline struct history *fixture_open(enum history_mode mode) {
    struct history *history = NULL;
    struct error err = {0};
    int result = history_open(fixture_location, mode, &history, &err);
    ck_assert_msg(result == 0, "%s", err.text);
    return history;
}

/* The first value of the first row, as text; "NULL" for NULL and for no row. Not through history. */
static inline const char *fixture_sql(const char *sql) {
    static char text[4096];
    sqlite3 *db;
    sqlite3_stmt *statement = NULL;
    snprintf(text, sizeof text, "NULL");
    ck_assert_int_eq(sqlite3_open_v2(fixture_path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 2000);
    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, "%s", sqlite3_errmsg(db));
    int rc = sqlite3_step(statement);
    ck_assert_msg(rc == SQLITE_ROW || rc == SQLITE_DONE, "%s", sqlite3_errmsg(db));
    if (rc == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL)
        snprintf(text, sizeof text, "%s", sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return text;
}

static inline struct run *make_run(const char *uid, const char *version) {
    struct run *run = run_create();
    run->namespace = strdup("ml");
    run->job_name = strdup("train");
    run->job_uid = strdup(uid);
    run->resource_version = strdup(version);
    run->created_at_ms = NOW_MS - 3 * HOUR_MS;
    run->started_at_ms = NOW_MS - 2 * HOUR_MS;
    run->finished_at_ms = NOW_MS - HOUR_MS;
    run->outcome = OUTCOME_SUCCEEDED;
    return run;
}

/* On the heap, as the writer takes it. run: taken, may be NULL. */
static inline struct history_request *make_request(enum history_op op, const char *uid, struct run *run) {
    struct history_request *request = calloc(1, sizeof *request);
    request->op = op;
    size_t len = strlen(uid);
    memcpy(request->uid, uid, len < UID_MAX ? len : UID_MAX - 1);
    request->run = run;
    request->at_ms = NOW_MS;
    request->policy = (struct run_policy){.state = RUN_DUE, .ttl_ms = 0, .due_at_ms = NOW_MS - HOUR_MS};
    snprintf(request->policy.rule, sizeof request->policy.rule, "ttl-after-success=0s");
    snprintf(request->policy.source, sizeof request->policy.source, "default");
    return request;
}

static inline struct history_request *make_record(const char *uid, const char *version) {
    return make_request(HISTORY_RECORD, uid, make_run(uid, version));
}

static inline struct history_request *make_deleted(const char *uid, enum run_cause cause, int64_t at_ms) {
    struct history_request *request = make_request(HISTORY_DELETED, uid, NULL);
    request->cause = cause;
    request->at_ms = at_ms;
    return request;
}

/* Applies one request and destroys it. */
static inline int apply(struct history *history, struct history_request *request, struct error *err) {
    int result = history_apply(history, "c1", request, err);
    history_request_destroy(request);
    return result;
}

static inline void apply_ok(struct history *history, struct history_request *request) {
    struct error err = {0};
    int result = apply(history, request, &err);
    ck_assert_msg(result == 0, "%s", err.text);
}

static inline void set_text(char **field, const char *text) {
    free(*field);
    *field = strdup(text);
}

#define ck_assert_contains(text, part) \
    ck_assert_msg(strstr((text), (part)) != NULL, "'%s' does not say '%s'", (text), (part))

/* For a child process, where Check's own do not reach. */
#define child_assert(condition, text) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not so: %s: %s\n", __FILE__, __LINE__, #condition, (text)); \
            _exit(1); \
        } \
    } while (0)
