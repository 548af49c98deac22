#include "sexton.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../shims/clock.h"

#define ARGUMENTS_MAX 64

static const char *config_path;

const char *sexton_binary(void) {
    const char *path = getenv("SEXTON_BIN");
    return path ? path : "build/sexton";
}

struct result sexton_run(const char *const arguments[], const char *input) {
    const char *argv[ARGUMENTS_MAX] = {sexton_binary()};
    for (int n = 1; *arguments && n < ARGUMENTS_MAX - 1; arguments++)
        argv[n++] = *arguments;
    return process_run(&(struct start){.argv = argv, .input = input});
}

static const char *store_name = "history.db";

void store_use(const char *name) {
    store_name = name;
}

const char *store_path(void) {
    return in_folder(store_name);
}

const char *store_option(void) {
    return format("sqlite:%s", store_path());
}

const char *configure(const char *sections) {
    config_path = write_file("sexton.ini",
            format("%s\n%s\n%s\nstore = %s\n", strstr(sections, "[sexton]") ? "" : "[sexton]\nlog-level = debug",
                    sections, strstr(sections, "[history]") ? "" : "[history]", store_option()));
    return config_path;
}

static void fill(const char *argv[ARGUMENTS_MAX], const char *command, const char *const arguments[]) {
    if (!config_path)
        configure("");
    const char *const first[] = {sexton_binary(), command, "--config", config_path, "--kubeconfig", sim_kubeconfig()};
    int n = sizeof first / sizeof first[0];
    memcpy(argv, first, sizeof first);
    for (; *arguments && n < ARGUMENTS_MAX - 1; arguments++)
        argv[n++] = *arguments;
}

struct result sexton_run_here(const char *command, const char *const arguments[]) {
    const char *argv[ARGUMENTS_MAX] = {0};
    fill(argv, command, arguments);
    return process_run(&(struct start){.argv = argv});
}

struct process *controller_start_with(const char *const arguments[]) {
    const char *argv[ARGUMENTS_MAX] = {0};
    fill(argv, "run", arguments);
    return process_start(&(struct start){.argv = argv});
}

bool has_logged(struct process *controller, const char *part) {
    return strstr(process_err(controller), part) != NULL;
}

/* Next to the program under test, for it comes from the same build. */
static const char *shim(const char *name) {
    const char *binary = sexton_binary(), *slash = strrchr(binary, '/');
    char *path =
            realpath(format("%.*s/shim-%s.so", slash ? (int)(slash - binary) : 1, slash ? binary : ".", name), NULL);
    if (!path)
        test_fail("shim-%s.so is not beside %s", name, binary);
    return keep(path);
}

static struct shim_clock *shared_clock;

static int64_t real_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void clock_create(void) {
    int fd = open(in_folder("clock"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, sizeof *shared_clock) < 0 ||
            (shared_clock = mmap(NULL, sizeof *shared_clock, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED)
        test_fail("the clock cannot be made");
    close(fd);
    shared_clock->phases[0].speed = 1;
}

void clock_step(int64_t offset_ms) {
    shared_clock->offset_ms = offset_ms;
}

void clock_hurry_tcp(int64_t factor) {
    if (!shared_clock)
        clock_create();
    shared_clock->tcp_hurry = factor;
}

void clock_speed(int64_t speed) {
    const struct shim_phase *now = &shared_clock->phases[shared_clock->phase & 1];
    struct shim_phase *next = &shared_clock->phases[(shared_clock->phase + 1) & 1];
    next->real_ns = real_ns();
    next->virtual_ns = shim_virtual_ns(now, next->real_ns);
    next->speed = speed;
    __atomic_add_fetch(&shared_clock->phase, 1, __ATOMIC_SEQ_CST);
}

int64_t clock_controllers_ms(void) {
    return shim_virtual_ns(&shared_clock->phases[shared_clock->phase & 1], real_ns()) / 1000000;
}

static struct process *start_with_clocks(
        int64_t offset_ms, int64_t speed, const char *const arguments[], const char *more_shims) {
    const char *argv[ARGUMENTS_MAX] = {0}, *sanitizer = getenv("ASAN_OPTIONS");
    if (!shared_clock)
        clock_create();
    clock_step(offset_ms);
    clock_speed(speed);
    fill(argv, "run", arguments);
    return process_start(&(struct start){.argv = argv,
            .env = (const char *const[]){format("LD_PRELOAD=%s%s", shim("clock"), more_shims),
                    format("SEXTON_TEST_CLOCK=%s", in_folder("clock")),
                    format("ASAN_OPTIONS=%s:verify_asan_link_order=0", sanitizer ? sanitizer : ""), NULL}});
}

struct process *controller_start_with_clocks(int64_t offset_ms, int64_t speed, const char *const arguments[]) {
    return start_with_clocks(offset_ms, speed, arguments, "");
}

struct process *controller_start_without_timeouts(int64_t speed) {
    return start_with_clocks(0, speed, (const char *const[]){NULL}, format(" %s", shim("timeouts")));
}

struct result sexton_run_with_shim(const char *name, const char *const arguments[]) {
    const char *argv[ARGUMENTS_MAX] = {sexton_binary()}, *sanitizer = getenv("ASAN_OPTIONS");
    for (int n = 1; *arguments && n < ARGUMENTS_MAX - 1; arguments++)
        argv[n++] = *arguments;
    return process_run(&(struct start){.argv = argv,
            .env = (const char *const[]){format("LD_PRELOAD=%s", shim(name)),
                    format("ASAN_OPTIONS=%s:verify_asan_link_order=0", sanitizer ? sanitizer : ""), NULL}});
}

struct process *controller_start_with_shim(const char *name) {
    const char *argv[ARGUMENTS_MAX] = {0}, *sanitizer = getenv("ASAN_OPTIONS");
    fill(argv, "run", (const char *const[]){NULL});
    return process_start(&(struct start){.argv = argv,
            .env = (const char *const[]){format("LD_PRELOAD=%s", shim(name)),
                    format("ASAN_OPTIONS=%s:verify_asan_link_order=0", sanitizer ? sanitizer : ""), NULL}});
}

struct process *controller_start_with_disk_and(const char *const arguments[]) {
    const char *argv[ARGUMENTS_MAX] = {0}, *sanitizer = getenv("ASAN_OPTIONS");
    fill(argv, "run", arguments);
    return process_start(&(struct start){.argv = argv,
            .env = (const char *const[]){format("LD_PRELOAD=%s", shim("disk")),
                    format("SEXTON_TEST_DISK=%s", in_folder("disk")),
                    format("ASAN_OPTIONS=%s:verify_asan_link_order=0", sanitizer ? sanitizer : ""), NULL}});
}

void disk_fail(const char *error) {
    write_file("disk", error);
}

void wait_until_synced(struct process *controller) {
    wait_until(has_logged(controller, "msg=\"in sync\"") || process_has_ended(controller));
    wait_until(sim_open_watches("jobs") > 0 || process_has_ended(controller));
    expect(!process_has_ended(controller), "it ended with %d", process_wait(controller));
}

void controller_stop(struct process *controller) {
    process_signal(controller, SIGTERM);
    expect_number(process_wait(controller), 0);
}

/* ---- the register ---- */

static char *query_first(const char *query) {
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    char *text = NULL;
    if (sqlite3_open_v2(store_path(), &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
        sqlite3_busy_timeout(db, WAIT_MS);
        if (sqlite3_prepare_v2(db, query, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW &&
                sqlite3_column_type(statement, 0) != SQLITE_NULL)
            text = strdup((const char *)sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return text;
}

int64_t sql_number(const char *query, ...) {
    char *whole;
    va_list ap;
    va_start(ap, query);
    if (vasprintf(&whole, query, ap) < 0)
        abort();
    va_end(ap);
    char *text = query_first(whole);
    int64_t number = text ? strtoll(text, NULL, 10) : -1;
    free(text);
    free(whole);
    return number;
}

const char *sql_text(const char *query, ...) {
    char *whole;
    va_list ap;
    va_start(ap, query);
    if (vasprintf(&whole, query, ap) < 0)
        abort();
    va_end(ap);
    char *text = query_first(whole);
    free(whole);
    return text ? keep(text) : "";
}

void sql_execute(const char *path, const char *statement) {
    sqlite3 *db = NULL;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
            sqlite3_exec(db, statement, NULL, NULL, NULL) != SQLITE_OK)
        test_fail("%s: %s", path, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static sqlite3 *locked;

void sql_lock(void) {
    if (sqlite3_open_v2(store_path(), &locked, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
            sqlite3_busy_timeout(locked, WAIT_MS) != SQLITE_OK ||
            sqlite3_exec(locked, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        test_fail("%s: %s", store_path(), sqlite3_errmsg(locked));
}

void sql_unlock(void) {
    sqlite3_exec(locked, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(locked);
    locked = NULL;
}

const char *row_text(const struct job *job, const char *column) {
    return sql_text("SELECT %s FROM runs WHERE job_uid = '%s'", column, job->uid);
}

int64_t row_number(const struct job *job, const char *column) {
    return sql_number("SELECT %s FROM runs WHERE job_uid = '%s'", column, job->uid);
}

bool row_is(const struct job *job, const char *state, const char *cause) {
    return strcmp(row_text(job, "delete_state"), state) == 0 && strcmp(row_text(job, "delete_cause"), cause) == 0;
}

void expect_recorded_and_deleted(const struct job *job, int64_t ttl_ms) {
    wait_until(!job_exists(job));
    wait_until(row_is(job, "deleted", "ttl"));
    struct deletion deletion = deletions_of(job);
    expect(deletion.count == 1, "%d requests to delete %s", deletion.count, job->name);
    expect_text(deletion.uid, job->uid);
    expect_text(deletion.propagation, "Background");
    expect(deletion.resource_version, "%s was deleted without the precondition resourceVersion", job->name);
    int64_t recorded_ms = row_number(job, "recorded_at"), asked_ms = row_number(job, "delete_requested_at");
    expect(recorded_ms > 0 && recorded_ms <= asked_ms, "%s: %lld, %lld", job->name, (long long)recorded_ms,
            (long long)asked_ms);
    expect(asked_ms <= deletion.first_ms, "%s was deleted %lld ms before the intent was on record", job->name,
            (long long)(asked_ms - deletion.first_ms));
    expect(deletion.first_ms >= job->ended_ms + ttl_ms, "%s went %lld ms early", job->name,
            (long long)(job->ended_ms + ttl_ms - deletion.first_ms));
    expect_number(row_number(job, "finished_at"), job->ended_ms);
}

void expect_kept(const struct job *job, const char *state) {
    expect(job_exists(job), "%s is gone", job->name);
    expect(deletions_of(job).count == 0, "%s was to be deleted", job->name);
    expect_text(row_text(job, "delete_state"), state);
}
