/* sim [--seed N] [--steps M] [--seeds COUNT] [--trace] [--no-shrink]: see the README. */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "steps.h"

#define WORLD_STEPS 2000    /* of a world; more steps are several worlds, of seeds that follow each other */
#define WORLD_SECONDS 60    /* some thousand times what one takes: it has got into a loop */
#define COVERED_FROM 200000 /* steps: with so many, everything must have happened */

uint64_t counts[COUNTS];
const char *const count_names[COUNTS] = {"Jobs", "finished", "DELETEs sent", "deleted", "deleted, with finalizers",
        "withheld", "lost before the effect", "lost after the effect", "connections refused", "answers cut off", "401",
        "403", "404", "409", "410 as a status", "410 as an event", "410 on continue", "429", "429 with Retry-After",
        "5xx", "5xx after the effect", "lists", "pages", "lists in protobuf", "GETs of Namespaces", "watches",
        "watches from the past", "watches cut", "watches cut in mid-JSON", "events", "bookmarks", "Kubernetes Events",
        "events doubled", "events dropped", "events out of order", "stale lists", "items that cannot be read", "pauses",
        "commits", "commits failed", "commits failed after the effect", "requests refused", "registers replaced",
        "boots", "boots failed", "kill -9", "SIGTERM", "SIGSTOP", "partitions", "SIGHUP", "one-pass runs",
        "clock steps", "server clock steps", "leases taken", "lease conflicts", "rows ttl", "rows external",
        "rows unknown"};

struct options {
    uint64_t seed;
    int seeds, steps;
    bool trace, shrinks;
};

static int usage(void) {
    fprintf(stderr, "usage: sim [--seed N] [--seeds COUNT] [--steps M] [--trace] [--no-shrink]\n");
    return 2;
}

static bool parse(int argc, char **argv, struct options *ret) {
    static const struct option names[] = {{"seed", required_argument, NULL, 's'},
            {"seeds", required_argument, NULL, 'n'}, {"steps", required_argument, NULL, 'm'},
            {"trace", no_argument, NULL, 't'}, {"no-shrink", no_argument, NULL, 'x'}, {NULL, 0, NULL, 0}};
    *ret = (struct options){.seed = 1, .seeds = 1, .steps = WORLD_STEPS, .shrinks = true};
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (c == 's')
            ret->seed = strtoull(optarg, NULL, 0);
        else if (c == 'n')
            ret->seeds = (int)strtol(optarg, NULL, 10);
        else if (c == 'm')
            ret->steps = (int)strtol(optarg, NULL, 10);
        else if (c == 't')
            ret->trace = true;
        else if (c == 'x')
            ret->shrinks = false;
        else
            return false;
    }
    if (optind < argc || ret->seeds <= 0 || ret->steps < 0)
        return false;
    if (ret->steps > WORLD_STEPS) {
        ret->seeds *= (ret->steps + WORLD_STEPS - 1) / WORLD_STEPS;
        ret->steps = WORLD_STEPS;
    }
    return true;
}

/* In a process of its own: the fewest steps, and what happens in them. */
static void explain(uint64_t seed, struct step *steps, const struct outcome_of_run *failure, int n, bool shrinks) {
    int left = failure->step < n ? failure->step + 1 : n;
    if (shrinks)
        left = shrink(seed, steps, left, failure);
    printf("%d steps are enough:\n", left);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct outcome_of_run result;
        world_run(seed, steps, left, true, &result);
        printf("broken: %s: %s\n", invariant_names[result.invariant], result.why);
        fflush(NULL);
        _exit(0);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
}

static uint64_t seed_at_work;

static void on_alarm(int number) {
    char text[128];
    (void)number;
    int len = snprintf(
            text, sizeof text, "seed %" PRIu64 ", broken: bounded: it does not come to an end\n", seed_at_work);
    if (write(STDOUT_FILENO, text, (size_t)len) < 0)
        _exit(2);
    _exit(1);
}

static bool run_one(uint64_t seed, const struct options *options, struct step *steps, uint64_t *ret_digest) {
    struct outcome_of_run result;
    seed_at_work = seed;
    steps_generate(seed, steps, options->steps);
    alarm(WORLD_SECONDS);
    world_run(seed, steps, options->steps, options->trace, &result);
    alarm(0);
    *ret_digest = result.digest;
    if (result.invariant == HOLDS)
        return true;
    printf("seed %" PRIu64 ", step %d: broken: %s: %s\nreplay: sim --seed %" PRIu64 " --steps %d\n", seed, result.step,
            invariant_names[result.invariant], result.why, seed, options->steps);
    if (!options->trace)
        explain(seed, steps, &result, options->steps, options->shrinks);
    return false;
}

/* The same seed once more must be the same world. */
static bool replays(const struct options *options, struct step *steps, uint64_t digest) {
    uint64_t again;
    struct options quiet = *options;
    quiet.trace = false;
    if (!run_one(options->seed, &quiet, steps, &again) || again == digest)
        return true;
    printf("seed %" PRIu64 " does not replay: %016" PRIx64 " and %016" PRIx64 "\n", options->seed, digest, again);
    return false;
}

static int print_counts(bool all_wanted) {
    int missing = 0;
    for (int i = 0; i < COUNTS; i++) {
        printf("%s%s %" PRIu64, i ? ", " : "  ", count_names[i], counts[i]);
        missing += counts[i] == 0;
    }
    printf("\n");
    for (int i = 0; i < step_kinds; i++)
        missing += step_counts[i] == 0;
    if (!all_wanted || !missing)
        return 0;
    for (int i = 0; i < COUNTS; i++) {
        if (!counts[i])
            printf("never happened: %s\n", count_names[i]);
    }
    for (int i = 0; i < step_kinds; i++) {
        if (!step_counts[i])
            printf("never done: %s\n", step_name(i));
    }
    return missing;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    struct options options;
    if (!parse(argc, argv, &options))
        return usage();
    json_object_seed(1);
    signal(SIGALRM, on_alarm);
    log_configure(getenv("SIM_LOG") ? LOG_DEBUG : LOG_OFF, LOG_LOGFMT);
    struct step *steps = malloc((size_t)(options.steps + 1) * sizeof *steps);
    int passed = 0, failed = 0;
    uint64_t digest = 0, first_digest = 0;
    double began = seconds();
    for (int i = 0; i < options.seeds && !failed; i++) {
        if (run_one(options.seed + (uint64_t)i, &options, steps, &digest))
            passed++;
        else
            failed++;
        if (i == 0)
            first_digest = digest;
    }
    if (!failed && !replays(&options, steps, first_digest))
        failed++;
    double took = seconds() - began;
    double all = (double)(passed + failed) * options.steps;
    int missing = print_counts(!failed && all >= COVERED_FROM);
    printf("seeds %" PRIu64 "..%" PRIu64 ", digest of the first %016" PRIx64 ": %.0f steps in %.1f s, %.0f steps/s\n",
            options.seed, options.seed + (uint64_t)(passed + failed) - 1, first_digest, all, took, all / took);
    failed += missing != 0;
    printf("%d passed, %d failed\n", passed, failed);
    free(steps);
    return failed ? 1 : 0;
}
