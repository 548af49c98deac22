#include "history_fixture.h"

#include <fcntl.h>
#include <pthread.h>

#include "base/duration.h"
#include "base/log.h"
#include "history/writer.h"

Suite *suite_writer(void);

/* What the handler was told. The loop is stopped when enough answers came, or at the event that a test waits for. */
struct told {
    struct loop *loop;
    struct writer *writer;
    uint64_t tickets[2048];
    size_t durable, refused, wanted; /* wanted: answers at which the loop stops */
    char failing[ERROR_TEXT_MAX];
    int failed, mended, rooms, anews;
    bool stop_when_failing, close_when_durable, close_when_failing, close_when_refused;
    char order[64]; /* d, r, f, m, a as they came */
};

static struct told told;

static void note(char what) {
    size_t len = strlen(told.order);
    if (len + 1 < sizeof told.order)
        told.order[len] = what;
}

static void on_answer(void) {
    if (told.wanted && told.durable + told.refused >= told.wanted)
        loop_stop(told.loop);
}

static void close_now(void) {
    writer_close(told.writer, 0);
    told.writer = NULL;
    loop_stop(told.loop);
}

static void on_durable(void *arg, const struct history_request *request) {
    ck_assert_ptr_eq(arg, &told);
    told.tickets[told.durable++ % 2048] = request->ticket;
    note('d');
    on_answer();
    if (told.close_when_durable)
        close_now();
}

static void on_failing(void *arg, const char *why) {
    ck_assert_ptr_eq(arg, &told);
    if (why)
        snprintf(told.failing, sizeof told.failing, "%s", why);
    told.failed += why != NULL;
    told.mended += why == NULL;
    note(why ? 'f' : 'm');
    if (why && told.stop_when_failing)
        loop_stop(told.loop);
    if (told.close_when_failing)
        close_now();
}

static void on_anew(void *arg) {
    ck_assert_ptr_eq(arg, &told);
    told.anews++;
    note('a');
}

static void on_room(void *arg) {
    ck_assert_ptr_eq(arg, &told);
    told.rooms++;
}

static void on_refused(void *arg, const struct history_request *request, const char *why) {
    ck_assert_ptr_eq(arg, &told);
    ck_assert_str_eq(request->uid, "stranger");
    ck_assert_contains(why, "no deletion without a record");
    told.refused++;
    note('r');
    on_answer();
    if (told.close_when_refused)
        close_now();
}

static const struct writer_handler handler = {.arg = &told,
        .durable = on_durable,
        .failing = on_failing,
        .room = on_room,
        .anew = on_anew,
        .refused = on_refused};

static void open_with(int64_t retention_ms) {
    struct writer_settings settings = {.location = fixture_location, .cluster = "c1", .retention_ms = retention_ms};
    struct error err = {0};
    int result = writer_open(told.loop, &settings, &handler, &told.writer, &err);
    ck_assert_msg(result == 0, "%s", err.text);
}

static void setup(void) {
    fixture_setup();
    log_configure(LOG_OFF, LOG_LOGFMT);
    memset(&told, 0, sizeof told);
    told.loop = loop_create(NULL);
    ck_assert_ptr_nonnull(told.loop);
}

static void teardown(void) {
    writer_close(told.writer, 5000);
    loop_destroy(told.loop);
    fixture_teardown();
}

static uint64_t next_ticket;

static void submit(struct history_request *request) {
    request->ticket = ++next_ticket;
    writer_submit(told.writer, request);
}

static void submit_records(int from, int n) {
    for (int i = from; i < from + n; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "u%d", i);
        submit(make_record(uid, "1"));
    }
}

/* Runs the loop until n more answers came. */
static void await(size_t n) {
    told.wanted = told.durable + told.refused + n;
    loop_run(told.loop);
    ck_assert_uint_eq(told.durable + told.refused, told.wanted);
    told.wanted = 0;
}

/* How many transactions the WAL holds: a frame that ends one says how large the file was then. Frames of an earlier
 * round have another salt. */
static int count_commits(void) {
    char wal[160];
    unsigned char salt[8], header[24];
    snprintf(wal, sizeof wal, "%s-wal", fixture_path);
    FILE *file = fopen(wal, "r");
    ck_assert_ptr_nonnull(file);
    int n = 0;
    ck_assert(fseek(file, 16, SEEK_SET) == 0 && fread(salt, sizeof salt, 1, file) == 1);
    for (long at = 32; fseek(file, at, SEEK_SET) == 0 && fread(header, sizeof header, 1, file) == 1; at += 24 + 4096)
        n += memcmp(header + 8, salt, sizeof salt) == 0 && (header[4] || header[5] || header[6] || header[7]);
    fclose(file);
    return n;
}

static sqlite3 *lock_register(void) {
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(fixture_path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 2000);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void unlock_register(sqlite3 *db) {
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_close(db);
}

/* ---- opening ---- */

START_TEST(a_bad_store_is_an_error_at_the_start) {
    struct writer_settings settings = {.location = "sqlite:/nonexistent/x.db", .retention_ms = DURATION_NEVER};
    struct error err = {0};
    ck_assert_int_eq(writer_open(told.loop, &settings, &handler, &told.writer, &err), -1);
    ck_assert_contains(err.text, "there is no folder /nonexistent");
    ck_assert_ptr_null(told.writer);
    ck_assert_int_eq(writer_close(NULL, 0), 0);
}
END_TEST

static void *do_nothing(void *arg) {
    return arg;
}

/* Threads but the first that block what stops and reloads us. */
static int count_deaf_threads(void) {
    int n = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(tasks));) {
        char path[320], line[128];
        unsigned long long blocked;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file)) {
            if (atoi(entry->d_name) != getpid() && sscanf(line, "SigBlk: %llx", &blocked) == 1)
                n += (blocked >> (SIGTERM - 1) & 1) && (blocked >> (SIGHUP - 1) & 1);
        }
        if (file)
            fclose(file);
    }
    closedir(tasks);
    return n;
}

START_TEST(the_thread_takes_no_signals) {
    /* With the first thread, a sanitizer starts one of its own. */
    pthread_t any;
    ck_assert_int_eq(pthread_create(&any, NULL, do_nothing, NULL), 0);
    pthread_join(any, NULL);
    int before = count_deaf_threads();
    open_with(DURATION_NEVER);
    submit_records(0, 1);
    await(1);
    ck_assert_int_eq(count_deaf_threads(), before + 1);
    sigset_t ours;
    pthread_sigmask(SIG_SETMASK, NULL, &ours);
    ck_assert(!sigismember(&ours, SIGTERM));
}
END_TEST

static int count_open(void *arg, const struct history_open_run *run, struct error *err) {
    (void)run;
    (void)err;
    ++*(int *)arg;
    return 0;
}

static int count_recreated(void *arg, const struct history_recreated_run *run, struct error *err) {
    (void)run;
    (void)err;
    ++*(int *)arg;
    return 0;
}

START_TEST(names_that_come_back_can_be_read_before_the_first_request) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("old", "1"));
    apply_ok(history, make_deleted("old", RUN_CAUSE_TTL, NOW_MS));
    history_close(history);
    open_with(DURATION_NEVER);
    int n = 0;
    ck_assert_int_eq(writer_each_recreated(told.writer, "c1", 0, 1, count_recreated, &n, NULL), 0);
    ck_assert_int_eq(n, 1);
}
END_TEST

START_TEST(open_rows_can_be_read_and_the_cluster_named_before_the_first_request) {
    struct history *history = fixture_open(HISTORY_WRITE);
    apply_ok(history, make_record("old", "1"));
    history_close(history);
    struct writer_settings settings = {.location = fixture_location, .retention_ms = DURATION_NEVER};
    ck_assert_int_eq(writer_open(told.loop, &settings, &handler, &told.writer, NULL), 0);
    ck_assert_int_eq(writer_set_cluster(told.writer, "c7", NULL), 0);
    int n = 0;
    ck_assert_int_eq(writer_each_open(told.writer, "c1", count_open, &n, NULL), 0);
    ck_assert_int_eq(n, 1);
    submit_records(0, 1);
    struct error err = {0};
    ck_assert_int_eq(writer_set_cluster(told.writer, "c8", &err), -1);
    ck_assert_contains(err.text, "cannot change");
    await(1);
    ck_assert_str_eq(fixture_sql("SELECT cluster FROM runs WHERE job_uid = 'u0'"), "c7");
}
END_TEST

/* ---- group commit ---- */

START_TEST(answers_come_in_the_order_of_submission_when_all_is_on_disk) {
    open_with(DURATION_NEVER);
    uint64_t first = next_ticket + 1;
    submit_records(0, 700);
    ck_assert_uint_eq(writer_pending(told.writer), 700);
    await(700);
    ck_assert_uint_eq(writer_pending(told.writer), 0);
    for (uint64_t i = 0; i < 700; i++)
        ck_assert_uint_eq(told.tickets[i], first + i);
    struct history *reader = fixture_open(HISTORY_READ);
    int n = 0;
    ck_assert_int_eq(history_each_open(reader, "c1", count_open, &n, NULL), 0);
    ck_assert_int_eq(n, 700);
    history_close(reader);
}
END_TEST

START_TEST(what_waits_together_is_committed_together) {
    open_with(DURATION_NEVER);
    submit_records(0, 1);
    await(1);
    int before = count_commits();
    sqlite3 *lock = lock_register();
    submit_records(1, 200);
    unlock_register(lock);
    await(200);
    /* One for what the thread took before the others had come, one for the others. */
    int commits = count_commits() - before;
    ck_assert_int_ge(commits, 1);
    ck_assert_int_le(commits, 2);
}
END_TEST

START_TEST(a_record_and_its_intent_and_its_end_may_share_a_batch) {
    open_with(DURATION_NEVER);
    sqlite3 *lock = lock_register();
    submit(make_record("u1", "1"));
    submit(make_request(HISTORY_INTENT, "u1", NULL));
    submit(make_deleted("u1", RUN_CAUSE_TTL, NOW_MS));
    unlock_register(lock);
    await(3);
    ck_assert_str_eq(fixture_sql("SELECT delete_state || delete_cause FROM runs"), "deletedttl");
}
END_TEST

/* ---- limits ---- */

/* Until the queue says that it is full; whatever its limit is, it has one. Returns how many went in. */
static int submit_until_full(size_t manifest_bytes) {
    int n = 0;
    while (writer_has_room(told.writer)) {
        char uid[16];
        snprintf(uid, sizeof uid, "f%d", n++);
        struct history_request *request = make_record(uid, "1");
        if (manifest_bytes) {
            request->run->manifest = calloc(1, manifest_bytes + 1);
            memset(request->run->manifest, 'x', manifest_bytes);
        }
        submit(request);
        ck_assert_int_lt(n, 2000);
    }
    return n;
}

START_TEST(the_queue_says_when_it_is_full_and_when_it_has_room_again) {
    open_with(DURATION_NEVER);
    sqlite3 *lock = lock_register();
    int n = submit_until_full(0);
    ck_assert_int_gt(n, 100);
    submit_records(0, 1); /* soft: it is taken all the same */
    ck_assert(!writer_has_room(told.writer));
    unlock_register(lock);
    await((size_t)n + 1);
    /* room comes after the answers that made it */
    while (told.rooms == 0) {
        submit_records(1, 1);
        await(1);
    }
    ck_assert(writer_has_room(told.writer));
    ck_assert_int_eq(told.rooms, 1);
}
END_TEST

START_TEST(large_runs_fill_the_queue_sooner) {
    open_with(DURATION_NEVER);
    sqlite3 *lock = lock_register();
    int n = submit_until_full(256 * 1024);
    ck_assert_int_lt(n, 20);
    unlock_register(lock);
    await((size_t)n);
}
END_TEST

/* ---- what cannot be ---- */

START_TEST(a_request_that_can_never_succeed_is_refused_and_the_others_go_on) {
    open_with(DURATION_NEVER);
    sqlite3 *lock = lock_register();
    submit_records(0, 2);
    submit(make_request(HISTORY_INTENT, "stranger", NULL));
    submit_records(2, 2);
    submit(make_request(HISTORY_INTENT, "stranger", NULL));
    unlock_register(lock);
    await(6);
    ck_assert_uint_eq(told.durable, 4);
    ck_assert_uint_eq(told.refused, 2);
    ck_assert_uint_eq(writer_pending(told.writer), 0);
    ck_assert_int_eq(told.failed, 0);
}
END_TEST

START_TEST(a_refusal_is_told_before_what_stood_behind_it) {
    open_with(DURATION_NEVER);
    sqlite3 *lock = lock_register();
    submit(make_request(HISTORY_INTENT, "stranger", NULL));
    submit_records(0, 2);
    unlock_register(lock);
    await(3);
    ck_assert_str_eq(told.order, "rdd");
}
END_TEST

START_TEST(a_refusal_without_a_handler_is_only_logged) {
    struct writer_settings settings = {.location = fixture_location, .cluster = "c1", .retention_ms = DURATION_NEVER};
    struct writer_handler durable_only = {.arg = &told, .durable = on_durable};
    ck_assert_int_eq(writer_open(told.loop, &settings, &durable_only, &told.writer, NULL), 0);
    submit(make_request(HISTORY_INTENT, "stranger", NULL));
    submit_records(0, 1);
    await(1);
    submit_records(1, 1);
    await(1);
    ck_assert_uint_eq(writer_pending(told.writer), 0);
}
END_TEST

START_TEST(what_is_refused_during_the_end_is_not_on_disk) {
    open_with(DURATION_NEVER);
    submit(make_request(HISTORY_INTENT, "stranger", NULL));
    int result = writer_close(told.writer, 5000);
    told.writer = NULL;
    ck_assert_int_eq(result, -1);
    ck_assert_uint_eq(told.durable + told.refused, 0);
}
END_TEST

/* ---- failure ---- */

static char away[80];

/* The store is gone, with its folder: nothing can be written, nothing created. */
static void take_store_away(void) {
    snprintf(away, sizeof away, "%s.away", fixture_folder);
    ck_assert_int_eq(rename(fixture_folder, away), 0);
}

static void bring_store_back(void) {
    ck_assert_int_eq(rename(away, fixture_folder), 0);
}

START_TEST(a_failing_store_is_told_once_and_nothing_is_lost_when_it_works_again) {
    open_with(DURATION_NEVER);
    submit_records(0, 5);
    await(5);
    take_store_away();
    told.stop_when_failing = true;
    submit_records(5, 5);
    loop_run(told.loop);
    ck_assert_int_ge(told.failed, 1);
    ck_assert_uint_eq(told.durable, 5);
    ck_assert_uint_eq(writer_pending(told.writer), 5);
    submit_records(10, 5);
    bring_store_back();
    told.stop_when_failing = false;
    await(10);
    ck_assert_int_eq(told.mended, 1);
    /* moved, then no folder: each reason once, and good news before the answers */
    ck_assert_int_le(told.failed, 2);
    ck_assert(strncmp(told.order, "dddddfm", 7) == 0 || strncmp(told.order, "dddddffm", 8) == 0);
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs"), "15");
}
END_TEST

START_TEST(open_rows_cannot_be_read_from_a_store_that_failed) {
    open_with(DURATION_NEVER);
    take_store_away();
    told.stop_when_failing = true;
    submit_records(0, 1);
    loop_run(told.loop);
    struct error err = {0};
    int n = 0, result;
    /* It is between two tries, or opening afresh fails. */
    result = writer_each_open(told.writer, "c1", count_open, &n, &err);
    ck_assert_int_eq(result, -1);
    ck_assert_contains(err.text, "its store has failed");
    bring_store_back();
    await(1);
}
END_TEST

START_TEST(a_store_that_was_removed_begins_anew_and_knows_nothing_of_the_old) {
    open_with(DURATION_NEVER);
    submit(make_record("stranger", "1"));
    await(1);
    ck_assert_int_eq(remove(fixture_path), 0);
    submit(make_request(HISTORY_INTENT, "stranger", NULL));
    submit_records(1, 1);
    await(2);
    ck_assert_int_eq(told.failed, 1);
    ck_assert_contains(told.failing, "moved or removed");
    ck_assert_uint_eq(told.refused, 1);
    ck_assert_int_eq(told.anews, 1);
    ck_assert(strncmp(told.order, "dfa", 3) == 0);
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM runs"), "u1");
}
END_TEST

/* The thread goes on without the loop. */
static void spin_until(const char *sql, const char *wanted) {
    int64_t until = clock_mono_ms() + 10000;
    while (strcmp(fixture_sql(sql), wanted) != 0)
        ck_assert_int_lt(clock_mono_ms(), until);
}

START_TEST(what_was_not_answered_yet_when_the_register_was_lost_is_written_to_the_new_one) {
    open_with(DURATION_NEVER);
    submit_records(0, 3);
    spin_until("SELECT count(*) FROM runs", "3");
    ck_assert_uint_eq(told.durable, 0);
    ck_assert_int_eq(remove(fixture_path), 0);
    submit_records(3, 1);
    int64_t until = clock_mono_ms() + 10000;
    while (access(fixture_path, F_OK) < 0)
        ck_assert_int_lt(clock_mono_ms(), until);
    await(4);
    ck_assert_str_eq(strchr(told.order, 'd'), "dddd");
    ck_assert_ptr_nonnull(strchr(told.order, 'a'));
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM (SELECT * FROM runs ORDER BY id)"), "u0,u1,u2,u3");
}
END_TEST

static void stop_the_loop(void *arg) {
    (void)arg;
    told.anews++;
    loop_stop(told.loop);
}

START_TEST(a_register_that_is_lost_while_nothing_is_written_is_noticed_and_begun_anew) {
    struct writer_settings settings = {
            .location = fixture_location, .cluster = "c1", .retention_ms = DURATION_NEVER, .check_every_ms = 5};
    struct writer_handler noticing = handler;
    noticing.anew = stop_the_loop;
    noticing.arg = &told;
    ck_assert_int_eq(writer_open(told.loop, &settings, &noticing, &told.writer, NULL), 0);
    ck_assert_int_eq(remove(fixture_path), 0);
    loop_run(told.loop);
    ck_assert_int_eq(told.anews, 1);
    ck_assert_int_eq(access(fixture_path, F_OK), 0);
    submit_records(0, 1);
    await(1);
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs"), "1");
    ck_assert_int_eq(told.anews, 1);
}
END_TEST

START_TEST(another_register_in_the_place_of_ours_is_told_and_ours_keeps_what_it_has) {
    open_with(DURATION_NEVER);
    submit_records(0, 2);
    await(2);
    char other[160], ours[160];
    snprintf(other, sizeof other, "%s.other", fixture_path);
    snprintf(ours, sizeof ours, "%s.ours", fixture_path);
    char location[200];
    snprintf(location, sizeof location, "sqlite:%s", other);
    struct history *history;
    ck_assert_int_eq(history_open(location, HISTORY_WRITE, &history, NULL), 0);
    history_close(history);
    ck_assert_int_eq(rename(fixture_path, ours), 0);
    ck_assert_int_eq(rename(other, fixture_path), 0);
    submit_records(2, 1);
    await(1);
    ck_assert_int_eq(told.anews, 1);
    ck_assert_contains(told.failing, "another file was put in its place");
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM runs"), "u2");
    ck_assert_int_eq(writer_close(told.writer, 5000), 0);
    told.writer = NULL;
    ck_assert_int_eq(rename(ours, fixture_path), 0);
    ck_assert_str_eq(fixture_sql("SELECT group_concat(job_uid) FROM runs"), "u0,u1");
    ck_assert_str_eq(fixture_sql("PRAGMA integrity_check"), "ok");
}
END_TEST

START_TEST(closing_with_a_store_that_fails_gives_up_in_time) {
    open_with(DURATION_NEVER);
    take_store_away();
    submit_records(0, 3);
    told.stop_when_failing = true;
    loop_run(told.loop);
    int64_t before = clock_mono_ms();
    int result = writer_close(told.writer, 150);
    int64_t took = clock_mono_ms() - before;
    told.writer = NULL;
    bring_store_back();
    ck_assert_int_eq(result, -1);
    ck_assert_int_ge(took, 150);
    ck_assert_int_lt(took, 3000);
}
END_TEST

START_TEST(closing_while_another_process_has_the_lock_gives_up_in_time) {
    open_with(DURATION_NEVER);
    sqlite3 *lock = lock_register();
    submit_records(0, 1);
    int64_t before = clock_mono_ms();
    int result = writer_close(told.writer, 50);
    int64_t took = clock_mono_ms() - before;
    told.writer = NULL;
    unlock_register(lock);
    ck_assert_int_eq(result, -1);
    ck_assert_int_lt(took, 3000);
}
END_TEST

START_TEST(closing_writes_what_is_queued) {
    open_with(DURATION_NEVER);
    submit_records(0, 600);
    int result = writer_close(told.writer, 5000);
    told.writer = NULL;
    ck_assert_int_eq(result, 0);
    ck_assert_uint_eq(told.durable, 0); /* no callback follows */
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs"), "600");
}
END_TEST

START_TEST(closing_without_grace_writes_nothing_more) {
    open_with(DURATION_NEVER);
    sqlite3 *lock = lock_register();
    submit_records(0, 600);
    int result = writer_close(told.writer, 0);
    told.writer = NULL;
    unlock_register(lock);
    ck_assert_int_eq(result, -1);
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs"), "0");
}
END_TEST

START_TEST(the_writer_may_be_closed_in_any_of_its_callbacks) {
    open_with(DURATION_NEVER);
    sqlite3 *lock = lock_register();
    submit_records(0, 3);
    submit(make_request(HISTORY_INTENT, "stranger", NULL));
    told.close_when_durable = true;
    unlock_register(lock);
    loop_run(told.loop);
    ck_assert_ptr_null(told.writer);
    ck_assert_uint_eq(told.durable, 1);

    told.refused = 0; /* it may have been told before the others were on disk */
    told.close_when_durable = false;
    told.close_when_refused = true;
    open_with(DURATION_NEVER);
    submit(make_request(HISTORY_INTENT, "stranger", NULL));
    submit(make_request(HISTORY_INTENT, "stranger", NULL));
    loop_run(told.loop);
    ck_assert_ptr_null(told.writer);
    ck_assert_uint_eq(told.refused, 1);

    told.close_when_refused = false;
    told.close_when_failing = true;
    open_with(DURATION_NEVER);
    take_store_away();
    submit_records(0, 3);
    loop_run(told.loop);
    bring_store_back();
    ck_assert_ptr_null(told.writer);
}
END_TEST

/* ---- pruning ---- */

static int64_t frozen_wall(void) {
    return NOW_MS;
}

static int64_t frozen_mono(void) {
    return 0;
}

static const struct clock_source frozen = {frozen_wall, frozen_mono};

static void fill_for_pruning(int n) {
    struct history *history = fixture_open(HISTORY_WRITE);
    struct history_request *chain = NULL;
    for (int i = 0; i < n; i++) {
        char uid[16];
        snprintf(uid, sizeof uid, "old%d", i);
        struct history_request *end = make_deleted(uid, RUN_CAUSE_TTL, NOW_MS), *record = make_record(uid, "1");
        record->next = end;
        end->next = chain;
        chain = record;
    }
    ck_assert_int_eq(history_apply(history, "c1", chain, NULL), 0);
    while (chain) {
        struct history_request *next = chain->next;
        history_request_destroy(chain);
        chain = next;
    }
    history_close(history);
}

/* The API server's answers say that it is this time there. */
static void tell_server_time(int64_t server_ms) {
    struct skew skew = {0};
    int64_t mono_ms = clock_mono_ms();
    skew_sample(&skew, mono_ms, mono_ms, server_ms);
    writer_set_skew(told.writer, &skew);
}

static void stop_when_pruned(void *arg) {
    struct loop_timer **timer = arg;
    if (strcmp(fixture_sql("SELECT count(*) FROM runs WHERE delete_state = 'deleted'"), "0") == 0)
        loop_stop(told.loop);
    else
        loop_timer_start(*timer, 10);
}

/* The thread takes its steps by itself, whatever is written. */
static void await_pruned(void) {
    struct loop_timer *timer = NULL;
    timer = loop_timer_create(told.loop, stop_when_pruned, &timer, NULL);
    loop_timer_start(timer, 0);
    loop_run(told.loop);
    loop_timer_destroy(timer);
}

START_TEST(old_runs_are_pruned_between_batches) {
    clock_use(&frozen);
    fill_for_pruning(450);
    open_with(2 * HOUR_MS);
    tell_server_time(NOW_MS);
    submit_records(0, 1);
    await(1);
    submit_records(1, 1);
    await(1);
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs WHERE delete_state = 'deleted'"), "450");
    /* They finished an hour ago. */
    writer_set_retention(told.writer, HOUR_MS / 2);
    await_pruned();
    writer_set_retention(told.writer, HOUR_MS / 2);
    submit_records(2, 1);
    await(1);
    writer_close(told.writer, 1000);
    told.writer = NULL;
    clock_use(NULL);
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs"), "3");
}
END_TEST

/* This machine's clock stands far in the future, and the retention is over for everything by it. */
START_TEST(a_clock_that_runs_ahead_costs_no_records) {
    fill_for_pruning(5);
    clock_use(&frozen);
    open_with(HOUR_MS * 2); /* the frozen clock: all finished an hour ago, and it is NOW_MS at both */
    submit_records(0, 1);
    await(1);
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs WHERE delete_state = 'deleted'"), "5");
    /* By our clock they are past it, by the server's not: and nothing goes before the server's is known. */
    writer_set_retention(told.writer, HOUR_MS / 2);
    submit_records(1, 1);
    await(1);
    submit_records(2, 1);
    await(1);
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs WHERE delete_state = 'deleted'"), "5");
    tell_server_time(NOW_MS - 3 * HOUR_MS / 4);
    for (int i = 0; i < 3; i++) {
        submit_records(3 + i, 1);
        await(1);
    }
    ck_assert_str_eq(fixture_sql("SELECT count(*) FROM runs WHERE delete_state = 'deleted'"), "5");
    tell_server_time(NOW_MS);
    writer_set_retention(told.writer, HOUR_MS / 2 + 1);
    await_pruned();
    clock_use(NULL);
}
END_TEST

static struct loop_timer *probe_timer;
static int64_t submitted_ms, longest_ms;
static uint64_t probes;

static void submit_probe(void *arg) {
    (void)arg;
    char uid[24];
    snprintf(uid, sizeof uid, "probe%llu", (unsigned long long)probes++);
    submitted_ms = clock_mono_ms();
    submit(make_record(uid, "1"));
}

static void on_probe_durable(void *arg, const struct history_request *request) {
    (void)arg;
    (void)request;
    int64_t took_ms = clock_mono_ms() - submitted_ms;
    longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
    /* Counting reads all of them, so not each time. */
    if (probes % 16 == 0 && strcmp(fixture_sql("SELECT count(*) FROM runs WHERE delete_state = 'deleted'"), "0") == 0)
        loop_stop(told.loop);
    else
        loop_timer_start(probe_timer, 5);
}

/* SEXTON_PRUNE_ROWS=200000 measures a large one. */
START_TEST(pruning_a_large_register_holds_no_commit_up) {
    const char *rows = getenv("SEXTON_PRUNE_ROWS");
    int64_t now_ms = clock_wall_ms();
    char sql[1024];
    history_close(fixture_open(HISTORY_WRITE));
    snprintf(sql, sizeof sql,
            "WITH RECURSIVE i(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM i WHERE x < %d) INSERT INTO runs (cluster, "
            "namespace, job_name, job_uid, \"trigger\", finished_at, recorded_at, delete_state, delete_cause, "
            "deleted_at, "
            "manifest) SELECT 'c1', 'ns' || x %% 50, 'job-' || x * 7919 %% 100000, hex(randomblob(16)), 'other', x, x, "
            "'deleted', 'ttl', x, hex(zeroblob(2000)) FROM i",
            rows ? atoi(rows) : 3000);
    fixture_sql(sql);
    struct writer_settings settings = {.location = fixture_location, .cluster = "c1", .retention_ms = HOUR_MS};
    struct writer_handler probing = handler;
    probing.durable = on_probe_durable;
    ck_assert_int_eq(writer_open(told.loop, &settings, &probing, &told.writer, NULL), 0);
    probe_timer = loop_timer_create(told.loop, submit_probe, NULL, NULL);
    tell_server_time(now_ms);
    loop_timer_start(probe_timer, 0);
    int64_t began_ms = clock_mono_ms();
    loop_run(told.loop);
    if (rows)
        fprintf(stderr, "pruned %s rows in %lld ms; of %llu commits meanwhile the longest took %lld ms\n", rows,
                (long long)(clock_mono_ms() - began_ms), (unsigned long long)probes, (long long)longest_ms);
    /* In the way of each there is one step at most, and a step is a fraction of this. */
    ck_assert_int_lt(longest_ms, 3000);
    ck_assert_uint_gt(probes, 3);
    loop_timer_destroy(probe_timer);
}
END_TEST

START_TEST(a_prune_that_fails_is_logged_and_recording_goes_on) {
    clock_use(&frozen);
    fill_for_pruning(3);
    fixture_sql("CREATE TRIGGER keep BEFORE DELETE ON runs BEGIN SELECT raise(ABORT, 'kept by a trigger'); END");
    char log[160], text[4096] = "";
    snprintf(log, sizeof log, "%s/log", fixture_folder);
    fflush(stderr);
    int saved = dup(STDERR_FILENO), fd = open(log, O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(fd, STDERR_FILENO);
    log_configure(LOG_WARN, LOG_LOGFMT);
    open_with(HOUR_MS / 2);
    tell_server_time(NOW_MS);
    for (int i = 0; i < 4; i++) {
        submit_records(i, 1);
        await(1);
    }
    writer_close(told.writer, 1000);
    told.writer = NULL;
    log_configure(LOG_OFF, LOG_LOGFMT);
    dup2(saved, STDERR_FILENO);
    ck_assert_int_gt(pread(fd, text, sizeof text - 1, 0), 0);
    close(fd);
    close(saved);
    clock_use(NULL);
    ck_assert_contains(text, "old runs could not be removed");
    ck_assert_contains(text, "kept by a trigger");
    ck_assert_ptr_null(strstr(strstr(text, "old runs") + 1, "old runs"));
    ck_assert_int_eq(told.failed, 0);
}
END_TEST

/* ---- kill -9 ---- */

static int to_parent;

static void tell_parent(void *arg, const struct history_request *request) {
    (void)arg;
    char line[UID_MAX] = "";
    snprintf(line, sizeof line, "%s", request->uid);
    if (write(to_parent, line, sizeof line) != sizeof line)
        _exit(1);
}

static void submit_for_ever(void *arg) {
    static int n;
    (void)arg;
    for (int i = 0; i < 50; i++)
        submit_records(n++, 1);
}

static void child_writes(void) {
    struct loop *loop = loop_create(NULL);
    struct writer_settings settings = {.location = fixture_location, .cluster = "c1", .retention_ms = DURATION_NEVER};
    struct writer_handler only = {.durable = tell_parent, .room = submit_for_ever};
    if (!loop || writer_open(loop, &settings, &only, &told.writer, NULL) < 0)
        _exit(1);
    for (int i = 0; i < 20; i++)
        submit_for_ever(NULL);
    loop_run(loop);
    _exit(1);
}

START_TEST(everything_answered_durable_survives_kill_9) {
    int pipe_fds[2];
    static char seen[4096][UID_MAX];
    size_t n = 0;
    ck_assert_int_eq(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0) {
        to_parent = pipe_fds[1];
        close(pipe_fds[0]);
        /* libev's default loop is the parent's: it must not be shared. */
        loop_destroy(told.loop);
        child_writes();
    }
    close(pipe_fds[1]);
    FILE *answers = fdopen(pipe_fds[0], "r");
    while (n < 300 && fread(seen[n], UID_MAX, 1, answers) == 1)
        n++;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    /* What it had told by then, too. */
    while (n < 4096 && fread(seen[n], UID_MAX, 1, answers) == 1)
        n++;
    fclose(answers);
    ck_assert_uint_ge(n, 300);
    struct history *history = fixture_open(HISTORY_WRITE);
    for (size_t i = 0; i < n; i++) {
        struct error err = {0};
        /* An intent needs its record. */
        int result = apply(history, make_request(HISTORY_INTENT, seen[i], NULL), &err);
        ck_assert_msg(result == 0, "%s", err.text);
    }
    history_close(history);
    ck_assert_str_eq(fixture_sql("PRAGMA integrity_check"), "ok");
}
END_TEST

Suite *suite_writer(void) {
    Suite *suite = suite_create("writer");
    TCase *tests = tcase_create("thread");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_bad_store_is_an_error_at_the_start);
    tcase_add_test(tests, the_thread_takes_no_signals);
    tcase_add_test(tests, open_rows_can_be_read_and_the_cluster_named_before_the_first_request);
    tcase_add_test(tests, names_that_come_back_can_be_read_before_the_first_request);
    tcase_add_test(tests, answers_come_in_the_order_of_submission_when_all_is_on_disk);
    tcase_add_test(tests, what_waits_together_is_committed_together);
    tcase_add_test(tests, a_record_and_its_intent_and_its_end_may_share_a_batch);
    tcase_add_test(tests, the_queue_says_when_it_is_full_and_when_it_has_room_again);
    tcase_add_test(tests, large_runs_fill_the_queue_sooner);
    tcase_add_test(tests, a_request_that_can_never_succeed_is_refused_and_the_others_go_on);
    tcase_add_test(tests, a_refusal_is_told_before_what_stood_behind_it);
    tcase_add_test(tests, a_refusal_without_a_handler_is_only_logged);
    tcase_add_test(tests, what_is_refused_during_the_end_is_not_on_disk);
    tcase_add_test(tests, a_failing_store_is_told_once_and_nothing_is_lost_when_it_works_again);
    tcase_add_test(tests, open_rows_cannot_be_read_from_a_store_that_failed);
    tcase_add_test(tests, a_store_that_was_removed_begins_anew_and_knows_nothing_of_the_old);
    tcase_add_test(tests, what_was_not_answered_yet_when_the_register_was_lost_is_written_to_the_new_one);
    tcase_add_test(tests, a_register_that_is_lost_while_nothing_is_written_is_noticed_and_begun_anew);
    tcase_add_test(tests, another_register_in_the_place_of_ours_is_told_and_ours_keeps_what_it_has);
    tcase_add_test(tests, closing_with_a_store_that_fails_gives_up_in_time);
    tcase_add_test(tests, closing_while_another_process_has_the_lock_gives_up_in_time);
    tcase_add_test(tests, closing_writes_what_is_queued);
    tcase_add_test(tests, closing_without_grace_writes_nothing_more);
    tcase_add_test(tests, the_writer_may_be_closed_in_any_of_its_callbacks);
    tcase_add_test(tests, old_runs_are_pruned_between_batches);
    tcase_add_test(tests, a_clock_that_runs_ahead_costs_no_records);
    tcase_add_test(tests, pruning_a_large_register_holds_no_commit_up);
    tcase_add_test(tests, a_prune_that_fails_is_logged_and_recording_goes_on);
    tcase_add_test(tests, everything_answered_durable_survives_kill_9);
    suite_add_tcase(suite, tests);
    return suite;
}
