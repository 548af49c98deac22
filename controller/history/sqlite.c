#include "history/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "history/path.h"
#include "history/schema.h"
#include "history/sqlite_internal.h"

#define BUSY_WAIT_MS 5000        /* another process's transactions are short: longer means that it hangs */
#define PROBE_WAIT_MS 1000       /* for a look by a command */
#define BUSY_STEP_MS 20          /* between two looks at the lock */
#define CLOSE_WAIT_MS 200        /* for readers, before the WAL is left for the next one to fold in */
#define CACHE_KB "1024"          /* of pages: the inner nodes of the indexes of a million runs, and no more */
#define WAL_PAGES "1000"         /* 4 MB until the WAL is folded into the file, by the commit that passes it */
#define WAL_BYTES_KEPT "8388608" /* a WAL that a long reader made grow is cut back to this */

/* ---- errors ---- */

#define DAMAGED_ADVICE \
    "; nothing is changed in it: move it aside, with its -wal and -shm if they are there, and a new register begins, " \
    "or " \
    "put a backup in its place"

/* Who has it, as far as can be seen, and what to do about it. */
static int failed_locked(struct sqlite *sqlite, struct error *err, const char *doing) {
    char shm[PATH_MAX], holder[PATH_HOLDER_MAX];
    if (!*path_lock_holder(path_beside(sqlite->path, "-shm", shm), SQLITE_SHM_WRITE, SQLITE_SHM_WRITE, holder))
        path_lock_holder(sqlite->path, 0, LONG_MAX, holder);
    if (atomic_load(&sqlite->interrupted))
        return error_set(err, ERROR_IO, "register %s: cannot %s: %s has kept it locked, and there was no time left",
                sqlite->path, doing, *holder ? holder : "another process");
    return error_set(err, ERROR_IO,
            "register %s: cannot %s: %s has kept it locked for more than %d s: end it if it hangs, or let it finish "
            "(only Sexton should write to a register, and needs a lock for some milliseconds)",
            sqlite->path, doing, *holder ? holder : "another process", sqlite->busy_wait_ms / 1000);
}

/* What the operating system said. A commit that fails leaves it with the file, not with the connection. */
static int system_errno(struct sqlite *sqlite) {
    int why = sqlite3_system_errno(sqlite->db);
    sqlite3_file *wal = NULL;
    if (why == 0 && sqlite3_file_control(sqlite->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) == SQLITE_OK && wal &&
            wal->pMethods)
        wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &why);
    if (why == 0)
        sqlite3_file_control(sqlite->db, "main", SQLITE_FCNTL_LAST_ERRNO, &why);
    return why;
}

/* The operating system refused. Its own words, unless a look at the file and its surroundings tells more. */
static int failed_system(struct sqlite *sqlite, struct error *err, const char *doing) {
    int why = system_errno(sqlite);
    char message[128], text[128];
    snprintf(message, sizeof message, "%s", sqlite3_errmsg(sqlite->db));
    if (path_check_surroundings(sqlite->path, err) < 0)
        return -1;
    if (why == 0)
        return error_set(err, ERROR_IO, "register %s: cannot %s: %s", sqlite->path, doing, message);
    return error_set(err, ERROR_IO, "register %s: cannot %s: %s (%s)%s", sqlite->path, doing, message,
            strerror_r(why, text, sizeof text),
            why == ENOSPC || why == EDQUOT ? ": make room on its disk"
            : why == EIO                   ? ": its disk fails, the kernel's log tells more"
                                           : "");
}

int sqlite_failed(struct sqlite *sqlite, struct error *err, const char *doing) {
    const char *message = sqlite3_errmsg(sqlite->db);
    switch (sqlite3_extended_errcode(sqlite->db) & 0xff) {
    case SQLITE_NOMEM:
        return error_nomem(err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return failed_locked(sqlite, err, doing);
    case SQLITE_INTERRUPT:
        return error_set(
                err, ERROR_IO, "register %s: cannot %s: %s: there was no time left", sqlite->path, doing, message);
    case SQLITE_FULL:
        return error_set(
                err, ERROR_IO, "register %s: cannot %s: %s: make room on its disk", sqlite->path, doing, message);
    case SQLITE_NOTADB:
        return error_set(err, ERROR_FORMAT,
                "%s is not a Sexton register (not a database at all)" DAMAGED_ADVICE ", or name another store",
                sqlite->path);
    case SQLITE_CORRUPT:
        return error_set(err, ERROR_FORMAT, "register %s is damaged: cannot %s: %s" DAMAGED_ADVICE, sqlite->path, doing,
                message);
    case SQLITE_READONLY:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return failed_system(sqlite, err, doing);
    case SQLITE_ERROR:
        return error_set(err, ERROR_FORMAT,
                "register %s: cannot %s: %s: its tables are not as Sexton made them" DAMAGED_ADVICE, sqlite->path,
                doing, message);
    default:
        break;
    }
    return error_set(err, ERROR_IO, "register %s: cannot %s: %s", sqlite->path, doing, message);
}

/* ---- small tools on the connection ---- */

int sqlite_exec(struct sqlite *sqlite, const char *sql, const char *doing, struct error *err) {
    return sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_failed(sqlite, err, doing);
}

int sqlite_query_number(struct sqlite *sqlite, const char *sql, int64_t *ret, struct error *err) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(sqlite->db, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *ret = sqlite3_column_int64(statement, 0);
    int result = rc == SQLITE_ROW ? 0 : sqlite_failed(sqlite, err, "read it");
    sqlite3_finalize(statement);
    return result;
}

int sqlite_prepare(
        struct sqlite *sqlite, const struct strbuf *sql, unsigned flags, sqlite3_stmt **ret, struct error *err) {
    if (strbuf_failed(sql))
        return error_nomem(err);
    if (sqlite3_prepare_v3(sqlite->db, strbuf_text(sql), -1, flags, ret, NULL) != SQLITE_OK)
        return sqlite_failed(sqlite, err, "understand its tables");
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

/* Somebody began another WAL on the same file under our feet, or cut it short: what is in our WAL must not get in
 * between. A file that was moved still gets what is its own. */
static bool is_tampered_with(const struct sqlite *sqlite) {
    char beside[PATH_MAX];
    struct path_identity file = path_identify(sqlite->path);
    struct path_identity wal = path_identify(path_beside(sqlite->path, "-wal", beside));
    struct path_identity shm = path_identify(path_beside(sqlite->path, "-shm", beside));
    return sqlite->file.there && path_is_same(&file, &sqlite->file) &&
           (file.size < sqlite->file.size || (wal.there && !path_is_same(&wal, &sqlite->wal)) ||
                   (shm.there && !path_is_same(&shm, &sqlite->shm)));
}

static void sqlite_close(struct history *history) {
    struct sqlite *sqlite = (struct sqlite *)history;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(sqlite->statements[i]);
    if (sqlite->db && (sqlite->leave_wal || is_tampered_with(sqlite)))
        sqlite3_db_config(sqlite->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    else if (sqlite->db && sqlite3_db_readonly(sqlite->db, "main") == 0) {
        /* Readers may keep the WAL alive: then at least leave it empty. A file that was moved gets what is its own. */
        sqlite->busy_wait_ms = CLOSE_WAIT_MS;
        sqlite3_wal_checkpoint_v2(sqlite->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    sqlite3_close_v2(sqlite->db);
    free(sqlite->path);
    free(sqlite);
}

/* ---- is it still what was opened ---- */

static void remember_files(struct sqlite *sqlite) {
    char beside[PATH_MAX];
    sqlite->file = path_identify(sqlite->path);
    sqlite->wal = path_identify(path_beside(sqlite->path, "-wal", beside));
    sqlite->shm = path_identify(path_beside(sqlite->path, "-shm", beside));
}

/* What is written to a file that nobody can find again is not on record. SQLite itself would not notice. */
int sqlite_check(struct history *history, struct error *err) {
    struct sqlite *sqlite = (struct sqlite *)history;
    int moved = 0;
    char beside[PATH_MAX];
    struct path_identity file = path_identify(sqlite->path);
    struct path_identity wal = path_identify(path_beside(sqlite->path, "-wal", beside));
    struct path_identity shm = path_identify(path_beside(sqlite->path, "-shm", beside));
    sqlite3_file_control(sqlite->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    const char *what = NULL;
    if (moved || !path_is_same(&file, &sqlite->file))
        what = file.there ? "another file was put in its place" : "it was moved or removed";
    else if (file.size < sqlite->file.size)
        what = "it was cut short";
    else if (!path_is_same(&wal, &sqlite->wal))
        what = wal.there ? "another -wal file was put in the place of its own" : "its -wal file was moved or removed";
    else if (!path_is_same(&shm, &sqlite->shm))
        what = shm.there ? "another -shm file was put in the place of its own" : "its -shm file was moved or removed";
    if (what)
        return error_set(err, ERROR_IO, "register %s: %s while it was in use", sqlite->path, what);
    /* Another process may have folded the WAL in; or else somebody wrote over the file: then what we remember of its
     * pages would hide that. */
    if (file.changed_ns != sqlite->file.changed_ns)
        sqlite3_db_release_memory(sqlite->db);
    sqlite->file = file;
    return 0;
}

static int tampered_wal(struct sqlite *sqlite, struct error *err) {
    sqlite->leave_wal = true;
    return error_set(err, ERROR_IO, "register %s: its -wal file was written to by something else", sqlite->path);
}

/* SQLite's readers of a WAL do not look at its checksums, but whoever opens it next does, and takes nothing from the
 * first wrong one on. */
int sqlite_check_content(struct sqlite *sqlite, struct error *err) {
    char beside[PATH_MAX];
    int64_t data_version = 0;
    struct path_identity wal = path_identify(path_beside(sqlite->path, "-wal", beside));
    if (wal.changed_ns == sqlite->wal.changed_ns)
        return 0;
    if (sqlite_query_number(sqlite, "PRAGMA data_version", &data_version, err) < 0)
        return -1;
    if (data_version != sqlite->data_version)
        return 0;
    if (wal.size > 0)
        return tampered_wal(sqlite, err);
    /* Another process has folded all of it in, and cut it back; or somebody has just cut it: then there will be a hole
     * at its start. */
    sqlite->wal_is_new = true;
    return 0;
}

int sqlite_check_new_wal(struct sqlite *sqlite, struct error *err) {
    char beside[PATH_MAX];
    unsigned char magic[4] = {0};
    if (!sqlite->wal_is_new)
        return 0;
    sqlite->wal_is_new = false;
    int fd = open(path_beside(sqlite->path, "-wal", beside), O_RDONLY | O_CLOEXEC);
    bool whole = fd >= 0 && read(fd, magic, sizeof magic) == sizeof magic && magic[0] == 0x37 && magic[1] == 0x7f;
    if (fd >= 0)
        close(fd);
    return whole ? 0 : tampered_wal(sqlite, err);
}

void sqlite_remember_content(struct sqlite *sqlite) {
    char beside[PATH_MAX];
    /* The version first: then another process's commit in between is a change of version, and no tampering. */
    if (sqlite_query_number(sqlite, "PRAGMA data_version", &sqlite->data_version, NULL) < 0)
        sqlite->data_version = -1; /* then it cannot be told who wrote next */
    sqlite->file.changed_ns = path_identify(sqlite->path).changed_ns;
    sqlite->wal.changed_ns = path_identify(path_beside(sqlite->path, "-wal", beside)).changed_ns;
}

static void sqlite_identify(const struct history *history, struct history_identity *ret) {
    const struct sqlite *sqlite = (const struct sqlite *)history;
    *ret = (struct history_identity){.place = (uint64_t)sqlite->file.dev,
            .number = (uint64_t)sqlite->file.ino,
            .born_ns = path_born_ns(sqlite->path),
            .created = sqlite->created};
}

static void sqlite_measure(const struct history *history, struct history_size *ret) {
    const struct sqlite *sqlite = (const struct sqlite *)history;
    char beside[PATH_MAX];
    *ret = (struct history_size){.db = path_identify(sqlite->path).size,
            .wal = path_identify(path_beside(sqlite->path, "-wal", beside)).size};
}

static int newer(const struct sqlite *sqlite, int64_t version, struct error *err) {
    return error_set(err, ERROR_IO,
            "register %s has version %lld, made by a newer Sexton; this one knows versions up to %d: upgrade Sexton, "
            "or "
            "name another store",
            sqlite->path, (long long)version, schema_version);
}

int sqlite_check_version(struct sqlite *sqlite, struct error *err) {
    int64_t version = 0;
    if (sqlite_query_number(sqlite, "PRAGMA user_version", &version, err) < 0)
        return -1;
    if (version > schema_version)
        return newer(sqlite, version, err);
    if (version < schema_version)
        return error_set(err, ERROR_IO, "register %s: its tables were changed while it was in use", sqlite->path);
    return 0;
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
        .check = sqlite_check,
        .verify = sqlite_verify,
        .identify = sqlite_identify,
        .measure = sqlite_measure,
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
        return sqlite_failed(sqlite, err, "open it");
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
    if (sqlite_query_number(sqlite, "PRAGMA application_id", &application, err) < 0 ||
            sqlite_query_number(sqlite, "PRAGMA user_version", &version, err) < 0 ||
            sqlite_query_number(sqlite, "SELECT count(*) FROM sqlite_schema", &tables, err) < 0)
        return -1;
    if (application != SCHEMA_APPLICATION_ID && (application != 0 || version != 0 || tables != 0))
        return error_set(err, ERROR_IO,
                "%s is not a Sexton register, but some other program's database: name another store", sqlite->path);
    if (version > schema_version)
        return newer(sqlite, version, err);
    *ret_version = version;
    return 0;
}

static int identify(struct sqlite *sqlite, int64_t *ret_version, struct error *err) {
    if (sqlite_exec(sqlite, "BEGIN", "read it", err) < 0)
        return -1;
    int result = identify_step(sqlite, ret_version, err);
    /* The first code that SQLite gave is still wanted, by open_to_read. */
    if (result == 0)
        return sqlite_exec(sqlite, "COMMIT", "read it", err);
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
            sqlite_read_short(statement, 0, mode, sizeof mode);
        int result = rc == SQLITE_ROW ? 0 : sqlite_failed(sqlite, err, "turn on its write-ahead log");
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
    int64_t from = version;
    for (; version < schema_version; version++) {
        if (sqlite_exec(sqlite, schema_migrations[version], "create its tables", err) < 0)
            return error_context(err, "migration %lld", (long long)version + 1);
        snprintf(mark, sizeof mark, "PRAGMA user_version = %lld; PRAGMA application_id = %d", (long long)version + 1,
                SCHEMA_APPLICATION_ID);
        if (sqlite_exec(sqlite, mark, "mark its version", err) < 0)
            return -1;
    }
    sqlite->created = from == 0;
    return sqlite_exec(sqlite, "COMMIT", "commit its tables", err);
}

/* In one transaction, in which the version is looked at again: another process may have been first. */
static int migrate(struct sqlite *sqlite, struct error *err) {
    if (sqlite_exec(sqlite, "BEGIN IMMEDIATE", "begin to write", err) < 0)
        return -1;
    if (migrate_step(sqlite, err) == 0)
        return 0;
    if (!sqlite3_get_autocommit(sqlite->db))
        sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

/* SQLite throws a WAL away whose file is gone or empty, with all that was committed to it last. */
static int check_lone_wal(const struct sqlite *sqlite, struct error *err) {
    char beside[PATH_MAX];
    struct path_identity file = path_identify(sqlite->path);
    struct path_identity wal = path_identify(path_beside(sqlite->path, "-wal", beside));
    if ((file.there && file.size > 0) || !wal.there || wal.size == 0)
        return 0;
    return error_set(err, ERROR_IO,
            "register %s is %s, but %s holds the last runs of one: bring the register back to it, or move that file "
            "away "
            "too",
            sqlite->path, file.there ? "empty" : "gone", beside);
}

static int open_to_write(struct sqlite *sqlite, struct error *err) {
    int64_t version = 0;
    if (check_lone_wal(sqlite, err) < 0 || path_create_file(sqlite->path, err) < 0 ||
            path_check_file(sqlite->path, true, err) < 0 ||
            connect_file(sqlite, sqlite->path, SQLITE_OPEN_READWRITE, err) < 0 || identify(sqlite, &version, err) < 0)
        return -1;
    if (use_wal(sqlite, err) < 0 ||
            sqlite_exec(sqlite,
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
        return sqlite_failed(sqlite, err, "sync it");
    if (sqlite_prepare_writing(sqlite, err) < 0)
        return -1;
    remember_files(sqlite);
    sqlite_remember_content(sqlite);
    return sqlite_check(&sqlite->base, err);
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
    return stat(path_beside(sqlite->path, "-wal", wal), &info) == 0 ? info.st_size > 0 : errno != ENOENT;
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

static struct sqlite *create(const char *path, struct error *err) {
    struct sqlite *sqlite = calloc(1, sizeof *sqlite);
    if (!sqlite) {
        error_nomem(err);
        return NULL;
    }
    sqlite->base.backend = &backend;
    sqlite->busy_wait_ms = BUSY_WAIT_MS;
    sqlite->path = plain_path(path, err);
    if (sqlite->path)
        return sqlite;
    sqlite_close(&sqlite->base);
    return NULL;
}

int sqlite_open_history(const char *path, enum history_mode mode, struct history **ret, struct error *err) {
    struct sqlite *sqlite = create(path, err);
    if (!sqlite)
        return -1;
    if ((mode == HISTORY_WRITE ? open_to_write(sqlite, err) : open_to_read(sqlite, err)) < 0) {
        sqlite_close(&sqlite->base);
        return -1;
    }
    *ret = &sqlite->base;
    return 0;
}

static int probe_file(struct sqlite *sqlite, struct error *err) {
    int64_t version = 0;
    if (connect_file(sqlite, sqlite->path, SQLITE_OPEN_READWRITE, err) < 0 || identify(sqlite, &version, err) < 0)
        return -1;
    if (version == 0)
        return 0;
    if (sqlite_exec(sqlite, "BEGIN IMMEDIATE", "begin to write", err) < 0)
        return -1;
    int result = version == schema_version ? sqlite_prepare_writing(sqlite, err) : 0;
    sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    return result;
}

int sqlite_probe(const char *path, bool *ret_there, struct error *err) {
    struct sqlite *sqlite = create(path, err);
    if (!sqlite)
        return -1;
    sqlite->busy_wait_ms = PROBE_WAIT_MS;
    *ret_there = path_has_folder(sqlite->path);
    int result = 0;
    if (*ret_there && (path_check_surroundings(sqlite->path, err) < 0 || check_lone_wal(sqlite, err) < 0 ||
                              (path_identify(sqlite->path).there && probe_file(sqlite, err) < 0)))
        result = -1;
    sqlite_close(&sqlite->base);
    return result;
}
