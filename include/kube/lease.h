/*
 * lease: which one of several controllers may act, by a Lease of coordination.k8s.io/v1. Loop thread.
 *
 * The rules are client-go's tools/leaderelection: a Lease that changes is a holder that lives; how long ago it changed
 * is measured here, by our monotonic clock, and never read from the times in it, which are another machine's; every
 * write carries the resourceVersion that was read, so that of two who try one fails; duration > renew deadline > retry
 * period; given back on a clean exit.
 *
 * A Lease is no fence: nobody stops a holder that thinks it still holds. So the holder is told until when it may act:
 * the renew deadline, counted from before the renewing request was sent. Others wait for the whole duration, counted
 * from when they saw the answer to it or to a later one. Until that moment has been asked for right before each act,
 * there is no second one.
 *
 * It is renewed when a third of its duration is over, or half of the renew deadline where that is sooner: client-go
 * does so after each retry period, which here only spaces the requests while they fail. Two more fit in before the
 * deadline.
 *
 * Stricter than client-go in two ways. A Lease that is gone is no free Lease to those who have seen its holder: they
 * wait as if it were there. And a write that fails because somebody else wrote ends the hold at once, until the next
 * answer says that it was renewed.
 *
 * What happens is logged here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "kube/client.h"

#define LEASE_NOT_HELD INT64_MIN
#define LEASE_IDENTITY_MAX 128
#define LEASE_RELEASE_TIMEOUT_MS 1000 /* of the one request that gives it back: others need not wait for it */

struct lease;

struct lease_settings {
    const char *namespace, *name; /* copied */
    const char *identity;         /* of this process, unlike any other's; copied */
    int64_t duration_ms;          /* whole seconds; others wait for so long */
    int64_t renew_deadline_ms;    /* we act for so long after a renewal */
    int64_t retry_period_ms;      /* between requests that fail, and between looks while it is another's */
};

struct lease_handler {
    void *arg;
    /* We may act until until_ms (monotonic), or LEASE_NOT_HELD. With every renewal. */
    void (*changed)(void *arg, int64_t until_ms);
    /* Somebody else holds it. alive: it was renewed while we looked. May be NULL. */
    void (*taken)(void *arg, const char *holder, bool alive);
    /* A request failed, the so-manieth in a row. May be NULL. */
    void (*failed)(void *arg, int status, const char *message, int in_a_row);
    /* lease_release is done. */
    void (*released)(void *arg);
    /* It was renewed, and has to be again by by_ms (monotonic). Returns the moment that suits best, by_ms or an earlier
     * one. May be NULL. */
    int64_t (*plan)(void *arg, int64_t by_ms);
};

struct lease *lease_create(struct loop *loop, struct client *client, const struct lease_settings *settings,
        const struct lease_handler *handler, struct error *err);
/* Does not give it back. NULL is fine. */
void lease_destroy(struct lease *lease);
void lease_start(struct lease *lease);
/* Gives it back, if it is ours; released() follows, not from within, whether that worked or not. Nothing may be acted
 * on from here on: changed() was called with LEASE_NOT_HELD before this returns, unless it was not held. */
void lease_release(struct lease *lease);

/* Whether somebody had it before we took it last. */
bool lease_was_anothers(const struct lease *lease);
/* The holder as last seen, "" for none. Borrowed until the next callback. */
const char *lease_holder(const struct lease *lease);

/* Whether it was ever read or written: until then, nobody is known to hold it, nor not to. */
bool lease_is_known(const struct lease *lease);
/* For how long every request has failed, and why (borrowed until the next callback); 0: the last one did not. */
int64_t lease_failing_ms(const struct lease *lease, const char **ret_why);

/* A Lease as read. Strings are borrowed from the JSON; a field that is missing or of another type is "" or 0. */
struct lease_record {
    const char *holder, *renew_time, *acquire_time;
    int64_t duration_ms;
    int64_t transitions;
};
struct lease_record lease_record_read(const json_t *object);
/* Pure. Whether one who has seen the record change last at observed_ms, and now looks at now_ms (both monotonic), may
 * take it. own_duration_ms is for records that have none. */
bool lease_may_take(const struct lease_record *record, const char *identity, int64_t observed_ms, int64_t now_ms,
        int64_t own_duration_ms);
