/*
 * torture: a path is a piece of the program that runs from one end to the other and tells how that went. The runner in
 * main.c fails its allocations, one in turn and all from one on; paths.c has the paths.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct torture_path {
    const char *name;
    /* The exit code: 0, and then standard output is what it always is, or another, and standard error says why. */
    int (*run)(const struct torture_path *path);
    const char *const *argv; /* for run */
    bool in_process;         /* it may end the process: each run has one of its own */
    bool online;             /* it needs an API server */
};

/* Makes the folder with what the paths read. Returns whether there is an API server. */
bool torture_setup(void);
/* With a NULL name at the end. */
extern const struct torture_path torture_paths[];

/* Between these, nothing fails and nothing counts: a path looks after the program. */
void torture_pause(void);
void torture_resume(void);
