/*
 * sqlite_internal: what the parts of the SQLite register share. Internal to controller/history/sqlite*.c, the only
 * files that know sqlite3.h:
 *
 *   sqlite.c         the connection: opening, migrating, closing, and what its errors mean
 *   sqlite_row.c     a row's columns, bound and read
 *   sqlite_write.c   requests applied, old rows removed
 *   sqlite_read.c    rows looked for
 *   sqlite_verify.c  is all of it as it should be
 */
#pragma once

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "history/backend.h"
#include "history/path.h"

#define SQLITE_SQL_MAX 16384 /* bytes of a statement of ours */

/* Bytes of the -shm file that SQLite locks, as of https://www.sqlite.org/walformat.html#locks */
#define SQLITE_SHM_WRITE 120
#define SQLITE_SHM_READ_FIRST 123
#define SQLITE_SHM_READ_LAST 127

enum sqlite_statement {
    STATEMENT_FIND,
    STATEMENT_INSERT,
    STATEMENT_UPDATE_RUN,
    STATEMENT_UPDATE_POLICY,
    STATEMENT_UPDATE_FATE,
    STATEMENT_PRUNE,
    STATEMENTS
};

struct sqlite {
    struct history base; /* first: see backend.h */
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[STATEMENTS]; /* for writing */
    struct path_identity file, wal, shm;  /* for writing: what was opened */
    int64_t data_version;                 /* SQLite's: changes when others commit */
    bool wal_is_new;                      /* it was cut back to nothing by someone */
    bool leave_wal;                       /* it was tampered with, and must not get into the file */
    bool created;                         /* its tables were made by this connection */
    off_t wal_tried;                      /* the WAL's size when folding it in was last insisted on */
    int busy_wait_ms;
    atomic_bool interrupted;
};

/* ---- sqlite.c ---- */

/* What SQLite says of its last failure, and what to do about it. Returns -1. */
int sqlite_failed(struct sqlite *sqlite, struct error *err, const char *doing);
int sqlite_exec(struct sqlite *sqlite, const char *sql, const char *doing, struct error *err) must_check;
/* The first column of the first row. */
int sqlite_query_number(struct sqlite *sqlite, const char *sql, int64_t *ret, struct error *err) must_check;
int sqlite_prepare(struct sqlite *sqlite, const struct strbuf *sql, unsigned flags, sqlite3_stmt **ret,
        struct error *err) must_check;

/* Whether what is open is what stands at the path: the file, its WAL and its shared memory. */
int sqlite_check(struct history *history, struct error *err) must_check;
/* In a transaction: whether the WAL is as SQLite left it, whoever used it. */
int sqlite_check_content(struct sqlite *sqlite, struct error *err) must_check;
/* After a commit: the same for one that began with it. */
int sqlite_check_new_wal(struct sqlite *sqlite, struct error *err) must_check;
/* After we wrote. */
void sqlite_remember_content(struct sqlite *sqlite);
/* In a transaction: whether its tables are of the version that we know. */
int sqlite_check_version(struct sqlite *sqlite, struct error *err) must_check;

/* ---- sqlite_row.c ---- */

/* How many columns a struct run has, and a struct history_fate; the run's come first. */
extern const int sqlite_run_columns, sqlite_fate_columns;
/* As SQL writes it. */
const char *sqlite_run_column(int at);
const char *sqlite_fate_column(int at);
/* Separated by commas: the fate's, or all. */
void sqlite_add_fate_columns(struct strbuf *sql);
void sqlite_add_columns(struct strbuf *sql);

/* Borrowed until the statement is reset. A NULL text binds NULL. */
void sqlite_bind_text(sqlite3_stmt *statement, int at, const char *text);
/* From ?1 on. */
void sqlite_bind_run(sqlite3_stmt *statement, const struct run *run);
void sqlite_bind_fate(sqlite3_stmt *statement, int at, const struct history_fate *fate);

const char *sqlite_read_text(sqlite3_stmt *statement, int at);
int64_t sqlite_read_or(sqlite3_stmt *statement, int at, int64_t unknown);
void sqlite_read_short(sqlite3_stmt *statement, int at, char *ret, size_t size);
enum run_state sqlite_read_state(sqlite3_stmt *statement, int at);
/* From column 0 on. Strings are borrowed from the statement. */
void sqlite_read_run(sqlite3_stmt *statement, struct run *run);
void sqlite_read_fate(sqlite3_stmt *statement, int at, struct history_fate *fate);
/* Copies of its strings, and of cluster, in place of those borrowed; -1 without memory, and then nothing is to be
 * freed.
 */
int sqlite_own_run(struct run *run, const char **cluster) must_check;
void sqlite_free_run(struct run *run, const char *cluster);

/* ---- sqlite_write.c ---- */

int sqlite_prepare_writing(struct sqlite *sqlite, struct error *err) must_check;
int sqlite_apply(
        struct history *history, const char *cluster, struct history_request *chain, struct error *err) must_check;
int sqlite_prune(struct history *history, int64_t before_ms, int limit, int *ret_pruned, struct error *err) must_check;

/* ---- sqlite_read.c ---- */

int sqlite_each_open(struct history *history, const char *cluster,
        int (*each)(void *arg, const struct history_open_run *run, struct error *err), void *arg,
        struct error *err) must_check;
int sqlite_each_recreated(struct history *history, const char *cluster, int64_t since_ms, int min_rows,
        int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
        struct error *err) must_check;
int sqlite_each(struct history *history, const struct history_query *query,
        int (*each)(void *arg, const struct history_row *row, struct error *err), void *arg,
        struct error *err) must_check;

/* ---- sqlite_verify.c ---- */

int sqlite_verify(struct history *history, int64_t now_ms, bool quick, struct history_verified *ret,
        int (*each)(void *arg, const struct history_finding *finding, struct error *err), void *arg,
        struct error *err) must_check;
