/*
 * Runs each path once to count its allocations, then once for each of them with that one failed, and once with all from
 * there on failed. README.md says what must hold.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "alloc.h"
#include "base/error.h"
#include "torture.h"

#define TEXT_MAX (1u << 18)
#define FAILURES_MAX 20 /* of one path: more tell nothing new */
#define RUN_MAX_S 90    /* of one run, before it counts as stuck: longer than any time-out of a request */

/* What one run did; shared with the process that did it. */
struct result {
    int code;
    bool returned; /* the path came to its end, and with it what is lost is known */
    uint64_t allocations, lost, lost_one;
    size_t lost_size, out_len, err_len;
    char out[TEXT_MAX], err[TEXT_MAX];
};

struct progress {
    uint64_t run, runs, failures, allocations;
    struct result usual, last;
};

static struct progress *progress;
static atomic_bool armed;
static uint64_t sample;

bool alloc_is_armed(void) {
    return armed;
}

void torture_pause(void) {
    armed = false;
}

void torture_resume(void) {
    armed = true;
}

/* ---- one run ---- */

static size_t read_back(int fd, char *text) {
    ssize_t n = pread(fd, text, TEXT_MAX - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static void run_here(const struct torture_path *path, enum alloc_failure how, uint64_t n, struct result *ret) {
    int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    int old_out = dup(STDOUT_FILENO), old_err = dup(STDERR_FILENO);
    fflush(stdout);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    ret->returned = false;
    alloc_begin(how, n);
    armed = true;
    int code = path->run(path);
    armed = false;
    alloc_relent();
    fflush(stdout);
    dup2(old_out, STDOUT_FILENO);
    dup2(old_err, STDERR_FILENO);
    ret->code = code;
    ret->allocations = alloc_count();
    ret->lost = alloc_live();
    ret->lost_one = alloc_live_one(&ret->lost_size);
    ret->out_len = read_back(out, ret->out);
    ret->err_len = read_back(err, ret->err);
    ret->returned = true;
    close(out);
    close(err);
    close(old_out);
    close(old_err);
}

/* 0, or how the process ended as of waitpid(2). */
static int run_apart(const struct torture_path *path, enum alloc_failure how, uint64_t n, struct result *ret) {
    int status;
    ret->returned = false;
    fflush(stdout);
    /* What it says when it ends the process itself is for the log. */
    pid_t pid = fork();
    if (pid == 0) {
        alarm(RUN_MAX_S);
        run_here(path, how, n, ret);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        perror("fork");
        exit(1);
    }
    return status;
}

static void complain(const struct torture_path *path, enum alloc_failure how, uint64_t n, const char *fmt, ...)
        printf_like(4, 5);
static void complain(const struct torture_path *path, enum alloc_failure how, uint64_t n, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    printf("%s, allocation %llu (%s): ", path->name, (unsigned long long)n,
            how == ALLOC_ONE_FAILS    ? "one"
            : how == ALLOC_REST_FAILS ? "rest"
                                      : "none");
    vprintf(fmt, args);
    putchar('\n');
    fflush(stdout);
    va_end(args);
    progress->failures++;
}

static void check(const struct torture_path *path, enum alloc_failure how, uint64_t n) {
    const struct result *last = &progress->last, *usual = &progress->usual;
    if (!last->returned)
        return;
    if (last->lost)
        complain(path, how, n, "%llu blocks are lost; one is allocation %llu, of %zu bytes",
                (unsigned long long)last->lost, (unsigned long long)last->lost_one, last->lost_size);
    bool same = last->code == usual->code && last->out_len == usual->out_len &&
                memcmp(last->out, usual->out, usual->out_len) == 0;
    if (last->code == usual->code && !same)
        complain(path, how, n, "it ends with %d as if nothing had happened, but prints '%.300s' instead of '%.300s'",
                last->code, last->out, usual->out);
    else if (!same && last->code == 0)
        complain(path, how, n, "it succeeds although it always fails");
    else if (!same && last->err_len == 0 && !strstr(last->out, "memory"))
        complain(path, how, n, "it fails with %d and does not say why", last->code);
}

static void run(const struct torture_path *path, enum alloc_failure how, uint64_t n, struct result *ret) {
    time_t began = time(NULL);
    progress->runs++;
    if (!path->in_process) {
        run_here(path, how, n, ret);
        return;
    }
    int status = run_apart(path, how, n, ret);
    if (WIFSIGNALED(status))
        complain(path, how, n, "ended by signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 1)
        complain(path, how, n, "the process ended with %d", WEXITSTATUS(status));
    if (getenv("TORTURE_VERBOSE") && time(NULL) - began > 2)
        fprintf(stderr, "%s, allocation %llu (%d): %lld s\n", path->name, (unsigned long long)n, (int)how,
                (long long)(time(NULL) - began));
}

/* ---- all runs ---- */

/* Here first, whatever the path, for then libraries allocate what they keep. */
static void usual_run(const struct torture_path *path) {
    run_here(path, ALLOC_ALL_WORK, 0, &progress->usual);
    run(path, ALLOC_ALL_WORK, 0, &progress->usual);
}

/* From run first on; each allocation twice, in one way and the other. */
static void torture(const struct torture_path *path, uint64_t first) {
    usual_run(path);
    struct result *usual = &progress->usual;
    if (!usual->returned || usual->lost) {
        complain(path, ALLOC_ALL_WORK, 0, "%llu blocks are lost (%llu, of %zu bytes) although nothing failed",
                (unsigned long long)usual->lost, (unsigned long long)usual->lost_one, usual->lost_size);
    }
    uint64_t total = usual->allocations;
    if (first == 0)
        progress->allocations += total;
    for (uint64_t i = first; i < 2 * total && progress->failures < FAILURES_MAX; i++) {
        enum alloc_failure how = i % 2 ? ALLOC_REST_FAILS : ALLOC_ONE_FAILS;
        uint64_t n = i / 2 + 1;
        if (!alloc_is_sampled(path->name, n, total, sample))
            continue;
        progress->run = i;
        run(path, how, n, &progress->last);
        check(path, how, n);
    }
}

/* In a child, and in another one after a crash. */
static void torture_all_of(const struct torture_path *path) {
    progress->failures = 0;
    for (uint64_t first = 0; progress->failures < FAILURES_MAX;) {
        int status;
        progress->run = UINT64_MAX;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            torture(path, first);
            fflush(stdout);
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
            perror("fork");
            exit(1);
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return;
        bool usual = progress->run == UINT64_MAX;
        enum alloc_failure how = usual ? ALLOC_ALL_WORK : progress->run % 2 ? ALLOC_REST_FAILS : ALLOC_ONE_FAILS;
        complain(path, how, usual ? 0 : progress->run / 2 + 1, "the process ended, by signal %d or with %d",
                WIFSIGNALED(status) ? WTERMSIG(status) : 0, WEXITSTATUS(status));
        if (usual)
            return;
        first = progress->run + 1;
    }
}

static int replay(const struct torture_path *path, uint64_t n, enum alloc_failure how, uint64_t traced) {
    usual_run(path);
    alloc_trace(traced ? traced : n, dup(STDERR_FILENO));
    run(path, how, n, &progress->last);
    check(path, how, n);
    const struct result *last = &progress->last;
    printf("%s: of %llu, code %d\n%s\n%s\n", path->name, (unsigned long long)progress->usual.allocations, last->code,
            last->out, last->err);
    return 0;
}

int main(int argc, char **argv) {
    static char buffer[1u << 16];
    uint64_t n = 0, traced = 0, failures = 0, paths = 0;
    enum alloc_failure how = ALLOC_ONE_FAILS;
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer); /* the test's, so that it counts for no path */
    for (int c; (c = getopt(argc, argv, "s:n:rt:")) != -1;) {
        if (c == 's')
            sample = strtoull(optarg, NULL, 10);
        else if (c == 'n')
            n = strtoull(optarg, NULL, 10);
        else if (c == 't')
            traced = strtoull(optarg, NULL, 10);
        else if (c == 'r')
            how = ALLOC_REST_FAILS;
        else
            return 2;
    }
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED)
        return 1;
    const char *wanted = optind < argc ? argv[optind] : "*";
    bool online = torture_setup();
    for (const struct torture_path *path = torture_paths; path->name; path++) {
        if (fnmatch(wanted, path->name, 0) != 0 || (path->online && !online))
            continue;
        if (n || traced)
            return replay(path, n, how, traced);
        torture_all_of(path);
        failures += progress->failures;
        paths++;
    }
    printf("%llu paths with %llu allocations, %llu runs, %llu failures\n", (unsigned long long)paths,
            (unsigned long long)progress->allocations, (unsigned long long)progress->runs,
            (unsigned long long)failures);
    return failures || !paths ? 1 : 0;
}
