/* Delta debugging: the fewest steps that still break the same promise. Each try in a process of its own, since a world
 * that failed leaves the product in the middle of something. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "steps.h"

#define SHRINK_SECONDS 30

/* The same complaint, but for the numbers in it. */
static bool same_complaint(const char *a, const char *b) {
    static const char digits[] = "-0123456789";
    for (;; a++, b++) {
        a += strspn(a, digits);
        b += strspn(b, digits);
        if (*a != *b)
            return false;
        if (!*a)
            return true;
    }
}

static bool still_fails(uint64_t seed, const struct step *steps, int n, const struct outcome_of_run *failure) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct outcome_of_run result;
        signal(SIGALRM, SIG_DFL);
        alarm(10);
        world_run(seed, steps, n, false, &result);
        _exit(result.invariant == failure->invariant && same_complaint(result.why, failure->why) ? 1 : 0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

int shrink(uint64_t seed, struct step *steps, int n, const struct outcome_of_run *failure) {
    struct step *fewer = malloc((size_t)(n ? n : 1) * sizeof *fewer);
    time_t until = time(NULL) + SHRINK_SECONDS;
    for (int chunk = n / 2 > 0 ? n / 2 : 1; chunk > 0 && n > 0;) {
        bool removed = false;
        for (int at = 0; at < n && time(NULL) < until;) {
            int len = chunk < n - at ? chunk : n - at;
            memcpy(fewer, steps, (size_t)at * sizeof *steps);
            memcpy(fewer + at, steps + at + len, (size_t)(n - at - len) * sizeof *steps);
            if (still_fails(seed, fewer, n - len, failure)) {
                memcpy(steps, fewer, (size_t)(n - len) * sizeof *steps);
                n -= len;
                removed = true;
            } else {
                at += len;
            }
        }
        if (time(NULL) >= until)
            break;
        if (chunk == 1 && !removed)
            break;
        if (!removed || chunk > n)
            chunk = chunk > 1 ? chunk / 2 : 1;
    }
    free(fewer);
    return n;
}
