/*
 * reload: the configuration read again while the controller runs, whoever asked for it: SIGHUP, or its file, which has
 * changed. The one place where it is decided, told in the log and counted. Loop thread.
 *
 * A version that is not understood is refused, and the one before stays in force.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cmd/config.h"

struct reload_facts {
    int64_t succeeded, failed; /* the start counts in neither */
    bool last_successful;      /* true until one fails */
    int64_t last_success_ms;   /* Unix ms; the start is one */
    int64_t last_failure_ms;   /* TIME_NONE: never */
    struct error last_failure; /* "FILE:LINE: what is wrong"; ERROR_NONE: none yet */
};

struct reload_handler {
    void *arg;
    /* The configuration with the command line's options laid over it. */
    int (*load)(void *arg, struct config **ret, struct error *err);
    /* The one in force has changed. */
    void (*taken)(void *arg);
    /* A new version was refused; facts say why. May be NULL. */
    void (*refused)(void *arg);
};

struct reload {
    struct config *config; /* in force; borrowed */
    struct reload_handler handler;
    struct reload_facts facts; /* for anyone to read */
};

void reload_init(struct reload *reload, struct config *config, const struct reload_handler *handler);
void reload_now(struct reload *reload);
