/*
 * The integration tests: build/sexton against build/kubesim (or what SEXTON_BIN and KUBESIM_BIN name) over real
 * sockets. 'integration' runs every suite, 'integration policy faults' only those; CK_RUN_CASE and the other variables
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

#define SIDE_BY_SIDE 10 /* more would wait for processors, not for time */

struct tally {
    int run, failures, errors;
};

struct worker {
    const char *name;
    Suite *(*create)(void);
    bool wanted;
    pid_t pid; /* 0: not started */
    int tally_fd;
    FILE *output;
};

static struct worker workers[] = {
        /* The longest first. */
        {.name = "bounds-deletions", .create = suite_bounds_of_deletions},
        {.name = "bounds-watches", .create = suite_bounds_of_watches},
        {.name = "bounds-lists", .create = suite_bounds_of_lists},
        {.name = "process", .create = suite_process},
        {.name = "restarts", .create = suite_restarts},
        {.name = "clocks", .create = suite_clocks},
        {.name = "broken", .create = suite_broken},
        {.name = "silent", .create = suite_silent},
        {.name = "limits", .create = suite_limits},
        {.name = "faults", .create = suite_faults},
        {.name = "changes", .create = suite_changes},
        {.name = "watching", .create = suite_watching},
        {.name = "policy", .create = suite_policy},
        {.name = "lease", .create = suite_lease},
        {.name = "guards", .create = suite_guards},
        {.name = "sweep", .create = suite_sweep},
        {.name = "connecting", .create = suite_connecting},
        {.name = "plan", .create = suite_plan},
        {.name = "input", .create = suite_input},
        {.name = "commands", .create = suite_commands},
        {.name = "server", .create = suite_server},
};
#define WORKERS ((int)(sizeof workers / sizeof workers[0]))

Suite *suite_of(const char *name, const TTest *const tests[]) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, TEST_SECONDS);
    tcase_add_checked_fixture(tcase, test_setup, test_teardown);
    for (; *tests; tests++)
        tcase_add_test(tcase, *tests);
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

static struct worker *find(const char *name) {
    for (int i = 0; i < WORKERS; i++) {
        if (strcmp(workers[i].name, name) == 0)
            return &workers[i];
    }
    return NULL;
}

/* All that are wanted; a place that one leaves is the next one's. */
static struct tally run_all(void) {
    struct tally sum = {0};
    int started = 0, running = 0;
    while (started < WORKERS || running > 0) {
        if (started < WORKERS && running < SIDE_BY_SIDE) {
            if (workers[started].wanted) {
                start(&workers[started]);
                running++;
            }
            started++;
            continue;
        }
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) < 0)
            break;
        for (int i = 0; i < WORKERS; i++) {
            if (workers[i].pid == info.si_pid && workers[i].pid != 0) {
                finish(&workers[i], &sum);
                running--;
            }
        }
    }
    return sum;
}

int main(int argc, char **argv) {
    for (int i = 0; i < WORKERS; i++)
        workers[i].wanted = argc == 1;
    for (int i = 1; i < argc; i++) {
        struct worker *worker = find(argv[i]);
        if (!worker) {
            fprintf(stderr, "integration: there is no suite '%s'; there are:", argv[i]);
            for (int k = 0; k < WORKERS; k++)
                fprintf(stderr, " %s", workers[k].name);
            fputc('\n', stderr);
            return 2;
        }
        worker->wanted = true;
    }
    harness_init();
    int64_t began_ms = mono_ms();
    struct tally sum = run_all();
    int failed = sum.failures + sum.errors;
    harness_finish();
    printf("All suites, in %.1f s:\n%d%%: Checks: %d, Failures: %d, Errors: %d\n",
            (double)(mono_ms() - began_ms) / 1000, sum.run ? (sum.run - failed) * 100 / sum.run : 0, sum.run,
            sum.failures, sum.errors);
    return failed || sum.run == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
