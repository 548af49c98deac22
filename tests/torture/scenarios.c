/*
 * Each scenario of tests/scenarios, with one allocation of the program failed in turn, and then with all from that one
 * on until the steps are over. README.md says what must hold.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../scenarios/scenario.h"
#include "alloc.h"

#define FAILURES_MAX 20        /* of one scenario: more tell nothing new */
#define CALM_MS (40 * 60000LL) /* several times the longest backoff, of five minutes */

bool alloc_is_armed(void) {
    return fake_in_program;
}

/* Shared with the children. */
struct progress {
    uint64_t n; /* the allocation that is failed now */
    enum alloc_failure how;
    uint64_t runs, allocations, failures;
};

static struct progress *progress;
static bool protobuf;   /* how Jobs come */
static uint64_t sample; /* 0: every allocation, else about so many of each scenario */
static bool broken;     /* of this run */

static json_t *usually_stuck; /* what is so when nothing fails: where a scenario says less than all */

/* Where what is to be kept comes from more than the cluster: how often a name came back. */
static bool is_judged_by_more(const char *path) {
    return strstr(path, "guard-recreated") != NULL;
}

static bool may_recover(void) {
    return progress->how != ALLOC_REST_FAILS;
}

static uint64_t steps_count; /* allocations up to the end of the steps: what comes then does not fail */

static void begin_calm(void) {
    steps_count = alloc_count();
    alloc_relent();
}

static const char *how_name(enum alloc_failure how) {
    return how == ALLOC_ONE_FAILS ? "one" : how == ALLOC_REST_FAILS ? "rest" : "none";
}

static void complain(const char *path, const char *fmt, ...) printf_like(2, 3);
static void complain(const char *path, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    printf("%s%s, allocation %llu (%s): ", path, protobuf ? " (protobuf)" : "", (unsigned long long)progress->n,
            how_name(progress->how));
    vprintf(fmt, args);
    putchar('\n');
    fflush(stdout);
    va_end(args);
    broken = true;
}

static struct scenario_outcome play(const char *path, enum alloc_failure how, uint64_t n) {
    const struct scenario_torture torture = {.may_recover = may_recover, .calm = begin_calm, .calm_ms = CALM_MS};
    struct scenario_outcome outcome;
    progress->how = how;
    progress->n = n;
    progress->runs++;
    alloc_begin(how, n);
    scenario_play_tortured(path, protobuf, &torture, &outcome);
    return outcome;
}

static void check_leaks(const char *path) {
    size_t size;
    uint64_t number = alloc_live_one(&size);
    if (number)
        complain(path, "%zu blocks are lost; one is allocation %llu, of %zu bytes", alloc_live(),
                (unsigned long long)number, size);
}

static void check(const char *path, const struct scenario_outcome *outcome) {
    const char *uid;
    json_t *value;
    json_object_foreach (outcome->stuck, uid, value) {
        if (!outcome->failed && !outcome->over && !is_judged_by_more(path) && !json_object_get(usually_stuck, uid))
            complain(path, "%s is never deleted, although there is memory again", uid);
    }
    json_decref(outcome->stuck);
    check_leaks(path);
}

/* Twice: the first time, libraries allocate what they keep for good. The second is what failing runs are held to. */
static uint64_t take_baseline(const char *path) {
    struct scenario_outcome outcome = play(path, ALLOC_ALL_WORK, 0);
    usually_stuck = outcome.stuck;
    if (outcome.missed)
        complain(path, "%d steps do not hold although nothing failed", outcome.missed);
    outcome = play(path, ALLOC_ALL_WORK, 0);
    json_decref(outcome.stuck);
    check_leaks(path);
    return steps_count;
}

/* From run first on; each allocation twice, in one way and the other. */
static void torture(const char *path, uint64_t first) {
    uint64_t total = take_baseline(path);
    if (first == 0)
        progress->allocations += total;
    for (uint64_t run = first; run < 2 * total; run++) {
        uint64_t n = run / 2 + 1;
        if (!alloc_is_sampled(path, n, total, sample))
            continue;
        broken = false;
        struct scenario_outcome outcome = play(path, run % 2 ? ALLOC_REST_FAILS : ALLOC_ONE_FAILS, n);
        check(path, &outcome);
        if (broken && ++progress->failures >= FAILURES_MAX)
            _exit(0);
    }
}

/* In a child, and in another one after a crash. */
static void torture_all_of(const char *path) {
    progress->failures = 0;
    for (uint64_t first = 0; progress->failures < FAILURES_MAX;) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            torture(path, first);
            _exit(0);
        }
        int status;
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
            perror("fork");
            exit(1);
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return;
        progress->failures++;
        if (WIFSIGNALED(status))
            complain(path, "ended by signal %d", WTERMSIG(status));
        else
            complain(path, "%s",
                    WEXITSTATUS(status) == SCENARIO_BROKEN ? "a promise is broken, see above" : "the process ended");
        if (!progress->n)
            return;
        first = progress->n * 2 - (progress->how == ALLOC_ONE_FAILS);
    }
}

/* One run, with the stack of the allocation that fails. */
static int replay(const char *path, uint64_t n, enum alloc_failure how, uint64_t traced) {
    take_baseline(path);
    alloc_trace(traced ? traced : n, dup(STDERR_FILENO));
    struct scenario_outcome outcome = play(path, how, n);
    check(path, &outcome);
    printf("%s: %d steps did not hold, %s, %d DELETEs\n", path, outcome.missed, outcome.failed ? "failed" : "went on",
            outcome.deletes);
    return broken;
}

int main(int argc, char **argv) {
    uint64_t n = 0, traced = 0;
    enum alloc_failure how = ALLOC_ONE_FAILS;
    for (int c; (c = getopt(argc, argv, "s:n:rt:p")) != -1;) {
        if (c == 's')
            sample = strtoull(optarg, NULL, 10);
        else if (c == 'n')
            n = strtoull(optarg, NULL, 10);
        else if (c == 't')
            traced = strtoull(optarg, NULL, 10);
        else if (c == 'p')
            protobuf = true;
        else if (c == 'r')
            how = ALLOC_REST_FAILS;
        else
            return 2;
    }
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED)
        return 1;
    glob_t found = {0};
    for (int i = optind; i < argc; i++)
        glob(argv[i], (i > optind ? GLOB_APPEND : 0) | GLOB_NOCHECK, NULL, &found);
    if (optind == argc && glob("tests/scenarios/*.scn", 0, NULL, &found) != 0) {
        fprintf(stderr, "no tests/scenarios here: run this in the root of the repository\n");
        return 1;
    }
    if (n || traced)
        return replay(found.gl_pathv[0], n, how, traced);
    uint64_t failures = 0;
    for (size_t i = 0; i < 2 * found.gl_pathc; i++) {
        protobuf = i % 2;
        if (!scenario_has_encoding(found.gl_pathv[i / 2], protobuf))
            continue;
        torture_all_of(found.gl_pathv[i / 2]);
        failures += progress->failures;
    }
    printf("%zu scenarios with %llu allocations, %llu runs, %llu failures\n", found.gl_pathc,
            (unsigned long long)progress->allocations, (unsigned long long)progress->runs,
            (unsigned long long)failures);
    globfree(&found);
    return failures ? 1 : 0;
}
