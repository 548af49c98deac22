/* What takes minutes: make soak. */
#include "suites.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "proxy.h"

#define SOAK_JOBS 100000
#define FIRST_JOBS 10000
#define BATCH 250
#define ALIVE_MAX 2000 /* that the cluster holds at a time */
#define WAL_MAX (16 << 20)

/* ---- measuring ---- */

static int64_t rss_kb(const struct process *process) {
    const char *status = read_file(format("/proc/%d/status", process_id(process))), *at = strstr(status, "VmRSS:");
    expect(at, "no VmRSS");
    return strtoll(at + strlen("VmRSS:"), NULL, 10);
}

static int descriptors(const struct process *process) {
    DIR *folder = opendir(format("/proc/%d/fd", process_id(process)));
    int n = 0;
    while (folder && readdir(folder))
        n++;
    if (folder)
        closedir(folder);
    return n - 2; /* . and .. */
}

static int64_t size_of(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ? info.st_size : 0;
}

struct measure {
    int64_t rss_kb, register_bytes, wal_bytes;
    int descriptors;
};

static struct measure measure(const struct process *process, int64_t jobs, int64_t began_ms) {
    struct measure now = {.rss_kb = rss_kb(process),
            .register_bytes = size_of(store_path()),
            .wal_bytes = size_of(format("%s-wal", store_path())),
            .descriptors = descriptors(process)};
    printf("  %6" PRId64 " Jobs after %4" PRId64 " s: RSS %6" PRId64 " kB, %d descriptors, register %4" PRId64
           " bytes a run, WAL %5" PRId64 " kB\n",
            jobs, (mono_ms() - began_ms) / 1000, now.rss_kb, now.descriptors, now.register_bytes / (jobs ? jobs : 1),
            now.wal_bytes / 1024);
    fflush(stdout);
    return now;
}

/* ---- Jobs by the hundred ---- */

static char padding[700];

static void add_job(FILE *file, int64_t n, bool finished, const char *finished_at) {
    fprintf(file,
            "{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\",\"metadata\":{\"namespace\":\"soak-%" PRId64
            "\",\"name\":\"job-%06" PRId64 "\",\"uid\":\"50ac0000-0000-4000-8000-%012" PRId64
            "\",\"creationTimestamp\":\"%s\",\"labels\":{\"app\":\"soak\",\"run\":\"%" PRId64
            "\"},\"managedFields\":[{\"manager\":\"soak\",\"operation\":\"Update\",\"fieldsV1\":{\"f:%s\":{}}}]},"
            "\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"busybox:%" PRId64
            "\",\"env\":[{\"name\":\"PAD\",\"value\":\"%s\"}]}],\"restartPolicy\":\"Never\"}}},\"status\":{"
            "\"startTime\":\"%s\",",
            n % 7, n, n, finished_at, n, padding, n % 50, padding, finished_at);
    if (finished && n % 10 == 0)
        fprintf(file,
                "\"failed\":1,\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\",\"reason\":"
                "\"BackoffLimitExceeded\",\"message\":\"Job has reached the specified backoff limit\","
                "\"lastTransitionTime\":\"%s\"}]}}\n",
                finished_at);
    else if (finished)
        fprintf(file,
                "\"succeeded\":1,\"completionTime\":\"%s\",\"conditions\":[{\"type\":\"Complete\",\"status\":"
                "\"True\",\"lastTransitionTime\":\"%s\"}]}}\n",
                finished_at, finished_at);
    else
        fputs("\"active\":1}}\n", file);
}

static void load_jobs(int64_t from, int64_t to, bool finished) {
    char *text = NULL, now[32];
    size_t size = 0;
    time_t seconds = time(NULL);
    struct tm parts;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &parts));
    FILE *file = open_memstream(&text, &size);
    for (int64_t n = from; n < to; n++)
        add_job(file, n, finished, now);
    fclose(file);
    sim_load(text);
    free(text);
}

/* Created, and then finished; no more at a time than a cluster holds. */
static void run_jobs(int64_t from, int64_t to) {
    for (; from < to; from += BATCH) {
        wait_until(sim_objects("jobs") < ALIVE_MAX);
        load_jobs(from, from + BATCH, false);
        load_jobs(from, from + BATCH, true);
    }
    wait_until(sim_objects("jobs") == 0);
    wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_state = 'deleted'") == to);
}

START_TEST(a_hundred_thousand_jobs_leave_memory_and_descriptors_as_they_were) {
    wait_patiently(120000);
    memset(padding, 'x', sizeof padding - 1);
    sim_start((const char *const[]){"--watch-window", "100000", NULL});
    configure("[sexton]\nlog-level = warn\ndelete-qps = 0\n[policy]\nttl-after-failure = 1s\n");
    struct process *controller = controller_start();
    wait_until(sim_open_watches("jobs") > 0);
    int64_t began_ms = mono_ms();
    measure(controller, 0, began_ms);
    struct measure first = {0}, now = {0};
    for (int64_t done = 0; done < SOAK_JOBS; done += FIRST_JOBS) {
        run_jobs(done, done + FIRST_JOBS);
        now = measure(controller, done + FIRST_JOBS, began_ms);
        if (done == 0)
            first = now;
        expect(now.wal_bytes <= WAL_MAX, "the WAL has %" PRId64 " bytes", now.wal_bytes);
    }
    printf("  RSS at the end is %+.1f %% of what it was after the first %d\n",
            (double)(now.rss_kb - first.rss_kb) * 100 / (double)first.rss_kb, FIRST_JOBS);
    expect(now.rss_kb * 100 <= first.rss_kb * 105, "%" PRId64 " kB, and %" PRId64 " kB after the first %d", now.rss_kb,
            first.rss_kb, FIRST_JOBS);
    expect_number(now.descriptors, first.descriptors);
    expect(now.register_bytes / SOAK_JOBS <= first.register_bytes * 5 / 4 / FIRST_JOBS, "a run takes more and more");
    expect_number(sim_count("jobs", "delete"), SOAK_JOBS);
    expect_number(sim_count_code("409"), 0);
    expect_number(sim_count("jobs", "list"), 1);
    expect_number(sql_number("SELECT count(*) FROM runs WHERE delete_cause = 'ttl'"), SOAK_JOBS);
    expect_number(sql_number("SELECT count(DISTINCT job_uid) FROM runs"), SOAK_JOBS);
    expect_text(sql_text("PRAGMA integrity_check"), "ok");
    controller_stop(controller);
}
END_TEST

START_TEST(what_20000_jobs_took_is_used_again_when_they_are_gone) {
    wait_patiently(120000);
    memset(padding, 'x', sizeof padding - 1);
    sim_start((const char *const[]){"--watch-window", "100000", NULL});
    configure("[sexton]\nlog-level = warn\ndelete-qps = 0\n[policy]\nttl-after-success = never\nttl-after-failure = "
              "never\n");
    struct process *controller = controller_start();
    wait_until(sim_open_watches("jobs") > 0);
    int64_t rss[3];
    for (int round = 0; round < 3; round++) {
        int64_t from = round * 20000;
        int64_t empty_kb = rss_kb(controller);
        for (int64_t n = from; n < from + 20000; n += BATCH)
            load_jobs(n, n + BATCH, true);
        wait_until(sql_number("SELECT count(*) FROM runs") == from + 20000);
        int64_t full_kb = rss_kb(controller);
        for (int i = 0; i < 7; i++)
            expect_number(sim_request("DELETE", format("/api/v1/namespaces/soak-%d", i), NULL, NULL), 200);
        wait_until(sim_objects("jobs") == 0);
        wait_until(sql_number("SELECT count(*) FROM runs WHERE delete_cause = 'external'") == from + 20000);
        wait_until(sim_objects("namespaces") == 2);
        rss[round] = rss_kb(controller);
        printf("  empty %" PRId64 " kB, with 20,000 kept Jobs %" PRId64 " kB (%" PRId64
               " bytes each), when they are gone %" PRId64 " kB\n",
                empty_kb, full_kb, (full_kb - empty_kb) * 1024 / 20000, rss[round]);
        fflush(stdout);
    }
    expect(rss[2] * 100 <= rss[0] * 105, "%" PRId64 " kB, and %" PRId64 " kB after the first 20,000", rss[2], rss[0]);
    controller_stop(controller);
}
END_TEST

Suite *suite_soak(void) {
    const TTest *const tests[] = {
            a_hundred_thousand_jobs_leave_memory_and_descriptors_as_they_were,
            what_20000_jobs_took_is_used_again_when_they_are_gone,
            NULL,
    };
    return suite_of("soak", tests);
}

/* ---- by the clock on the wall ---- */

START_TEST(a_watch_that_is_silent_for_good_is_given_up_in_ten_minutes) {
    wait_patiently(700000);
    sim_start(NULL);
    proxy_start();
    struct process *controller = controller_start();
    wait_until_synced(controller);
    proxy_cut("/jobs?watch=true", PROXY_SILENT, 0, 1);
    wait_until(proxy_cuts() == 1);
    int64_t began_ms = mono_ms();
    struct job job = put_job(.name = "unseen", .ended_s = 60);
    wait_until(has_logged(controller, "msg=\"watch failed\" resource=jobs"));
    int64_t took_ms = mono_ms() - began_ms;
    printf("  a silent watch was given up after %" PRId64 " s\n", took_ms / 1000);
    expect(took_ms > 300000 && took_ms < 630000, "after %" PRId64 " ms", took_ms);
    expect_recorded_and_deleted(&job, 0);
    expect_number(sim_count("jobs", "list"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_watch_whose_other_end_has_vanished_is_given_up_in_a_minute) {
    wait_patiently(120000);
    sim_start(NULL);
    proxy_start();
    struct process *controller = controller_start();
    wait_until_synced(controller);
    struct job seen = put_job(.name = "seen", .ended_s = 60);
    expect_recorded_and_deleted(&seen, 0);
    proxy_cut("/jobs?watch=true", PROXY_VANISH, 0, 1);
    wait_until(proxy_cuts() == 1);
    int64_t began_ms = mono_ms();
    struct job job = put_job(.name = "unseen", .ended_s = 60);
    wait_until(has_logged(controller, "watch failed"));
    int64_t took_ms = mono_ms() - began_ms;
    printf("  a watch whose other end had vanished was given up after %" PRId64 " s\n", took_ms / 1000);
    expect(took_ms > 15000 && took_ms < 60000, "after %" PRId64 " ms", took_ms);
    expect_recorded_and_deleted(&job, 0);
    expect_number(sim_count("jobs", "list"), 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_clock_that_is_set_right_is_noticed_within_a_minute_when_nothing_else_happens) {
    wait_patiently(120000);
    sim_start(NULL);
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    struct job job = put_job(.name = "seconds", .failed = true, .annotations = "'sexton.dev/ttl-after-failure': '2s'");
    wait_until(row_is(&job, "due", ""));
    clock_step(INT64_C(-5) * 3600000);
    int64_t until_ms = mono_ms() + 5000;
    wait_until(mono_ms() > until_ms);
    expect_kept(&job, "due");
    clock_step(0);
    int64_t began_ms = mono_ms();
    wait_until(row_is(&job, "deleted", "ttl"));
    printf("  a clock that was set right was noticed after %" PRId64 " s\n", (mono_ms() - began_ms) / 1000);
    expect(mono_ms() - began_ms < 65000, "after %" PRId64 " ms", mono_ms() - began_ms);
    expect_number(deletions_of(&job).count, 1);
    controller_stop(controller);
}
END_TEST

START_TEST(a_list_at_one_byte_a_second_is_given_up_in_two_minutes) {
    wait_patiently(200000);
    sim_start(NULL);
    struct job job = put_job(.name = "due", .ended_s = 60);
    sim_faults("[{'match': {'verb': 'list', 'resource': 'jobs'}, 'times': 1, 'action': {'bytesPerWrite': 1, "
               "'writeEveryMs': 1000}}]");
    struct process *controller = controller_start();
    wait_until(sim_fault_hits(0) == 1);
    int64_t began_ms = mono_ms();
    wait_until(has_logged(controller, "list failed"));
    int64_t took_ms = mono_ms() - began_ms;
    printf("  a list at one byte a second was given up after %" PRId64 " s\n", took_ms / 1000);
    expect(took_ms > 115000 && took_ms < 125000, "after %" PRId64 " ms", took_ms);
    expect_recorded_and_deleted(&job, 0);
    controller_stop(controller);
}
END_TEST

Suite *suite_soak_minutes(void) {
    const TTest *const tests[] = {
            a_watch_that_is_silent_for_good_is_given_up_in_ten_minutes,
            a_watch_whose_other_end_has_vanished_is_given_up_in_a_minute,
            a_clock_that_is_set_right_is_noticed_within_a_minute_when_nothing_else_happens,
            a_list_at_one_byte_a_second_is_given_up_in_two_minutes,
            NULL,
    };
    return suite_of("soak-minutes", tests);
}
