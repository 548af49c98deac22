/*
 * events: tells people what happened to an object of the cluster, by Events of events.k8s.io/v1, which `kubectl
 * describe` and `kubectl get events` show. Loop thread. Knows nothing of policy.
 *
 * The same thing said of the same object again within EVENTS_SERIES_MS makes a series of the first Event, as in
 * client-go's tools/events: it is told by patching its count, at most every EVENTS_REFRESH_MS. An Event that is lost is
 * no harm: what there is no room, no rate and no right for is dropped and counted. It never waits for anybody, and
 * nobody waits for it.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "kube/client.h"

#define EVENTS_NOTE_MAX 1024    /* bytes; the API server takes no more */
#define EVENTS_INSTANCE_MAX 128 /* the same */
#define EVENTS_BURST 25         /* client-go's, for one object */
#define EVENTS_REFILL_MS 1000   /* then one in so long: each is a write to etcd, and a thousand are read by nobody */
#define EVENTS_IN_FLIGHT_MAX 2
#define EVENTS_WAITING_MAX 300      /* to be written: five minutes' worth */
#define EVENTS_STALE_MS 600000      /* what could not be written for so long is no news */
#define EVENTS_REMEMBERED_MAX 1024  /* some 600 bytes each; more than can be written within EVENTS_SERIES_MS */
#define EVENTS_PER_OBJECT_MAX 5     /* different ones, remembered at a time: one object must not take the rate of all */
#define EVENTS_SERIES_MS 360000     /* client-go's finishTime */
#define EVENTS_REFRESH_MS 60000     /* a series that grows is told so often; its first repetition at once */
#define EVENTS_TIMEOUT_MS 10000     /* of a request */
#define EVENTS_TRIES_MAX 3          /* of one Event, with a pause of all in between */
#define EVENTS_PAUSE_FIRST_MS 30000 /* of all, while they cannot be written */
#define EVENTS_PAUSE_LAST_MS 600000
#define EVENTS_FORBIDDEN_MS 600000 /* where they are forbidden: this Namespace, or all when several are */
#define EVENTS_FORBIDDEN_MAX 64    /* such Namespaces that are remembered */
#define EVENTS_ABSENT_MS 3600000   /* the API server has no such API (Kubernetes before 1.19) */

struct events;

/* What it is about. Strings are borrowed for the call; NULL: not known, or none. */
struct event_object {
    const char *api_version, *kind, *namespace, *name, *uid, *resource_version;
};

enum event_type { EVENT_NORMAL, EVENT_WARNING };

struct event {
    struct event_object regarding; /* of no Namespace: the Event is in `default` */
    enum event_type type;
    const char *reason, *action; /* UpperCamelCase, at most 128 bytes */
    const char *note;            /* for people; cut at EVENTS_NOTE_MAX. A series keeps its first one */
    const char *key;             /* what must be equal, besides object, reason, action and type, to be the same again */
};

struct events_stats {
    int64_t sent;    /* Events and continuations of a series that were written */
    int64_t failed;  /* that the API server did not take */
    int64_t dropped; /* that were not even tried */
};

/* controller: a qualified name, "example.com/name". instance: of the process, cut at EVENTS_INSTANCE_MAX. Copied. */
struct events *events_create(
        struct loop *loop, struct client *client, const char *controller, const char *instance, struct error *err);
/* NULL is fine. */
void events_destroy(struct events *events);

/* Never fails: see events_stats. No callback. */
void events_tell(struct events *events, const struct event *event);
/* While held, what is told waits. */
void events_hold(struct events *events, bool hold);
/* Nothing that waits or is under way is written any more, and no series goes on. */
void events_forget(struct events *events);

const struct events_stats *events_stats(const struct events *events);
