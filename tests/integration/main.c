/*
 * The integration tests: build/sexton against build/kubesim (or what SEXTON_BIN and KUBESIM_BIN name) over real
 * sockets. 'integration' runs every suite, 'integration policy faults' only those (and what takes minutes only when it
 * is named); CK_RUN_CASE and the other variables
 * of Check work as always. Exit code 1 when something failed, 2 when a suite is not known.
 *
 * Most of the time of these tests is waiting, so several suites run side by side, each in a process of its own. Their
 * output comes suite by suite, and a summary in the form of Check's at the end.
 */
#include "suites.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIDE_BY_SIDE 12 /* more would wait for processors, not for time */
#define WORKERS_MAX 128

struct tally {
    int run, failures, errors;
};

struct worker {
    const char *name;
    Suite *(*create)(void);
    int part, parts;
    pid_t pid; /* 0: not started */
    int tally_fd;
    FILE *output;
};

/* Parts of one suite run side by side, too. */
static const struct {
    const char *name;
    Suite *(*create)(void);
    int parts;
    bool slow; /* only when it is named: make soak */
} suites[] = {
        /* The longest first. */
        {"bounds-deletions", suite_bounds_of_deletions, 5, false},
        {"bounds-watches", suite_bounds_of_watches, 2, false},
        {"bounds-lists", suite_bounds_of_lists, 2, false},
        {"process", suite_process, 3, false},
        {"restarts", suite_restarts, 2, false},
        {"clocks", suite_clocks, 2, false},
        {"broken", suite_broken, 2, false},
        {"silent", suite_silent, 2, false},
        {"protobuf", suite_protobuf, 2, false},
        {"store", suite_store, 3, false},
        {"live", suite_live, 3, false},
        {"waiting", suite_waiting, 3, false},
        {"limits", suite_limits, 2, false},
        {"faults", suite_faults, 4, false},
        {"changes", suite_changes, 2, false},
        {"watching", suite_watching, 3, false},
        {"policy", suite_policy, 2, false},
        {"listed", suite_listed, 2, false},
        {"lease", suite_lease, 3, false},
        {"metrics", suite_metrics, 3, false},
        {"serve", suite_serve, 3, false},
        {"health", suite_health, 4, false},
        {"events", suite_events, 2, false},
        {"guards", suite_guards, 2, false},
        {"sweep", suite_sweep, 2, false},
        {"connecting", suite_connecting, 3, false},
        {"plan", suite_plan, 1, false},
        {"input", suite_input, 1, false},
        {"commands", suite_commands, 1, false},
        {"server", suite_server, 1, false},
        {"soak", suite_soak, 1, true},
        {"soak-minutes", suite_soak_minutes, 4, true},
        {"soak-bounds", suite_soak_bounds, 5, true},
};
#define SUITES ((int)(sizeof suites / sizeof suites[0]))

static struct worker workers[WORKERS_MAX];
static int n_workers;
static int this_part, all_parts = 1; /* of suite_of's list */

Suite *suite_of(const char *name, const TTest *const tests[]) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, strncmp(name, "soak", 4) == 0 ? SOAK_SECONDS : TEST_SECONDS);
    tcase_add_checked_fixture(tcase, test_setup, test_teardown);
    for (int i = 0; tests[i]; i++) {
        if (i % all_parts == this_part)
            tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(suite, tcase);
    return suite;
}

static struct tally run_suite(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_FORK);
    srunner_run_all(runner, CK_ENV);
    struct tally tally = {.run = srunner_ntests_run(runner)};
    TestResult **failed = srunner_failures(runner);
    for (int i = 0; i < srunner_ntests_failed(runner); i++) {
        tally.failures += tr_rtype(failed[i]) == CK_FAILURE;
        tally.errors += tr_rtype(failed[i]) == CK_ERROR;
    }
    free(failed);
    srunner_free(runner);
    return tally;
}

static void start(struct worker *worker) {
    int fds[2];
    worker->output = tmpfile();
    if (!worker->output || pipe2(fds, O_CLOEXEC) < 0) {
        perror("integration");
        exit(EXIT_FAILURE);
    }
    fflush(NULL);
    worker->pid = fork();
    if (worker->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* on which Check kills the test it is at */
        dup2(fileno(worker->output), STDOUT_FILENO);
        dup2(fileno(worker->output), STDERR_FILENO);
        this_part = worker->part;
        all_parts = worker->parts;
        struct tally tally = run_suite(worker->create());
        fflush(NULL);
        (void)!write(fds[1], &tally, sizeof tally);
        exit(EXIT_SUCCESS);
    }
    close(fds[1]);
    worker->tally_fd = fds[0];
}

/* Adds what the suite found to *sum. */
static void finish(struct worker *worker, struct tally *sum) {
    struct tally tally = {0};
    int status = 0;
    bool told = read(worker->tally_fd, &tally, sizeof tally) == sizeof tally;
    while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(worker->tally_fd);
    char buffer[16384];
    rewind(worker->output);
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, worker->output)) > 0;)
        fwrite(buffer, 1, n, stdout);
    fclose(worker->output);
    if (!told || status != 0) {
        printf("integration: the suite '%s' did not end well (status %d)\n", worker->name, status);
        tally.errors++;
    }
    sum->run += tally.run;
    sum->failures += tally.failures;
    sum->errors += tally.errors;
    fflush(stdout);
}

/* False: there is no such suite. NULL: all of them that are not slow. */
static bool want(const char *name) {
    bool found = false;
    for (int i = 0; i < SUITES; i++) {
        if (name ? strcmp(suites[i].name, name) != 0 : suites[i].slow)
            continue;
        found = true;
        for (int part = 0; part < suites[i].parts && n_workers < WORKERS_MAX; part++)
            workers[n_workers++] = (struct worker){
                    .name = suites[i].name, .create = suites[i].create, .part = part, .parts = suites[i].parts};
    }
    return found;
}

/* All workers; a place that one leaves is the next one's. */
static struct tally run_all(void) {
    struct tally sum = {0};
    int started = 0, running = 0;
    while (started < n_workers || running > 0) {
        if (started < n_workers && running < SIDE_BY_SIDE) {
            start(&workers[started++]);
            running++;
            continue;
        }
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) < 0)
            break;
        for (int i = 0; i < started; i++) {
            if (workers[i].pid == info.si_pid && workers[i].pid != 0) {
                finish(&workers[i], &sum);
                workers[i].pid = 0;
                running--;
            }
        }
    }
    return sum;
}

int main(int argc, char **argv) {
    if (argc == 1)
        want(NULL);
    for (int i = 1; i < argc; i++) {
        if (want(argv[i]))
            continue;
        fprintf(stderr, "integration: there is no suite '%s'; there are:", argv[i]);
        for (int k = 0; k < SUITES; k++)
            fprintf(stderr, " %s", suites[k].name);
        fputc('\n', stderr);
        return 2;
    }
    harness_init();
    int64_t began_ms = mono_ms();
    struct tally sum = run_all();
    int failed = sum.failures + sum.errors;
    harness_finish();
    printf("All suites, in %.1f s:\n%d%%: Checks: %d, Failures: %d, Errors: %d\n",
            (double)(mono_ms() - began_ms) / 1000, sum.run ? (sum.run - failed) * 100 / sum.run : 0, sum.run,
            sum.failures, sum.errors);
    printf("%d passed, %d failed\n", sum.run - failed, failed);
    return failed || sum.run == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
