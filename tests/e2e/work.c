/*
 * The work of the Jobs in tests/e2e/in-cluster: one static program, which is all that their image holds.
 *
 *   work end CODE      says so, and ends with that code
 *   work last SECONDS  takes that long, and ends with 0
 *   work eat MB        wants so much memory, then sleeps
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 3)
        return 64;
    int n = (int)strtol(argv[2], NULL, 10);
    if (strcmp(argv[1], "end") == 0) {
        printf("ending with %d\n", n);
        return n;
    }
    if (strcmp(argv[1], "last") == 0) {
        sleep((unsigned)n);
        return 0;
    }
    if (strcmp(argv[1], "eat") == 0) {
        for (int i = 0; i < n; i++) {
            char *mb = malloc(1 << 20);
            if (mb)
                memset(mb, i + 1, 1 << 20);
        }
        sleep(600);
        return 0;
    }
    return 64;
}
