/*
 * health: what /healthz and /readyz say of this controller, and why. Pure: all it looks at is in the facts.
 *
 * Alive means that a restart would not help: the loop turns, which who reads this has seen, and no request of a
 * reflector has outlived its own deadline. An API server that does not answer, a lease that another holds, a register
 * that cannot be written are no reasons for a restart. Nor is a write that never ends: a disk that hangs does so for
 * the next process as well, and this one has in its queue what is on record nowhere yet.
 *
 * Ready means that it does its work: it knows the cluster, can write the register, is asked for by somebody who
 * answers, and may do what it has to. To stand by while another controller holds the lease is work.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"

#define HEALTH_GRACE_MS 30000       /* trouble with others that is over sooner is no news: a restart, a fail-over */
#define HEALTH_STUCK_MS 60000       /* past its own deadline: it will not end by itself any more */
#define HEALTH_TEXT_MAX (64u << 10) /* of what is said */

/* A list or watch. */
struct health_feed {
    const char *resource;  /* "jobs"; NULL: there is none to tell of */
    const char *namespace; /* NULL: the whole cluster */
    const char *why;       /* what went wrong; "" nothing yet */
    int64_t for_ms;
};

enum health_lease {
    HEALTH_LEASE_UNNEEDED,
    HEALTH_LEASE_UNKNOWN, /* nobody has said yet whose it is */
    HEALTH_LEASE_OURS,
    HEALTH_LEASE_OTHERS,
    HEALTH_LEASE_FREE
};

/* Texts are borrowed. */
struct health_facts {
    bool stopping, dry_run;

    int64_t api_silent_ms; /* for how long requests have had no answer at all; 0: the last one had */
    const char *api_why;

    bool connected;           /* discovery is over */
    const char *connect_why;  /* why it is not; "" nothing went wrong yet */
    bool waits;               /* nothing is listed before the register was open once */
    struct health_feed list;  /* one that is not complete yet */
    struct health_feed watch; /* of those that fail, the one that has done so for longest */
    struct health_feed stuck; /* of those past their own deadline, the farthest */

    const char *config_why; /* why a new configuration was refused, and the one before is in force; "" it was not */

    const char *store_why; /* why the register cannot be written; "" it can, as far as is known */
    int64_t store_busy_ms; /* for how long the thread has been at its disk; 0: it is not */
    enum health_lease lease;
    const char *lease_holder;
    const char *lease_why; /* the last request's failure, "" none */
    int64_t lease_failing_ms;

    /* Rights, as one tells them: "delete jobs.batch in shop, ...". */
    const char *rights_missing;  /* "" none */
    const char *rights_optional; /* missing, but it can do its work without */
    const char *rights_unknown;  /* why they are not known; "" they are */
};

/* One line a check, "ok NAME..." or "not ok NAME: why", in the same order each time. out may be NULL. */
bool health_is_alive(const struct health_facts *facts, struct strbuf *out);
bool health_is_ready(const struct health_facts *facts, struct strbuf *out);
