/*
 * reflector: keeps a handler told of every object of one kind, by LIST and then WATCH. Knows nothing of what they mean.
 * Loop thread.
 *
 * The rules are client-go's tools/cache/reflector.go: a list in chunks (limit, continue; a 410 on a later page lists
 * again in full); a watch from the list's resourceVersion with bookmarks; every event moves the resourceVersion, which
 * is opaque; a cut watch is resumed after a backoff without a new list; 410, as a status, as an ERROR event or on
 * continue, lists again; an own deadline a little past the server's; a watch that ends at once counts as a failure,
 * unless it brought something and the one before it did not end so.
 *
 * Of a single object (watch_path), GET stands for the list, and a 404 of the API server's is a list without items. Its
 * resourceVersion may be older than any that a watch can begin at, so a watch begins at none and is told first what
 * there is; and each watch has a GET of its own before it, since only that tells of an object that went meanwhile. A
 * server may begin such a watch in the past (kubernetes/kubernetes#74022): one that begins with another state than the
 * one that was read is not believed.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/protobuf.h"
#include "kube/client.h"

#define REFLECTOR_PAGE 500
#define REFLECTOR_LIST_TIMEOUT_MS 120000 /* a page; slower than this is not coming */
#define REFLECTOR_FULL_LIST_TIMEOUT_MS 600000
#define REFLECTOR_WATCH_MIN_S 300
#define REFLECTOR_WATCH_MAX_S 600
#define REFLECTOR_WATCH_GRACE_MS 15000 /* past the server's own time-out */
#define REFLECTOR_BACKOFF_FIRST_MS 800
#define REFLECTOR_BACKOFF_LAST_MS 30000
#define REFLECTOR_HEALTHY_MS 120000 /* a watch that lived this long resets the backoff */

struct reflector;

enum reflector_change { REFLECTOR_LISTED, REFLECTOR_CHANGED, REFLECTOR_DELETED };

struct reflector_failure {
    const char *doing;   /* "list", "get" or "watch" */
    int status;          /* HTTP status, 0: no answer */
    const char *message; /* for people */
    int64_t retry_in_ms; /* -1: gave up (list-only mode) */
};

struct reflector_item {
    const void *decoded;  /* the codec's object, where it came as protobuf; else NULL */
    const json_t *json;   /* without spec.template and managedFields; NULL where it came as protobuf */
    const char *template; /* the text of spec.template, "" when there is none */
    size_t template_len;
};

/* All callbacks run on the loop, some of them within libcurl's: they may start requests and call reflector_resume, but
 * not destroy the reflector. Pointers are borrowed for the call. */
struct reflector_handler {
    void *arg;
    /* A full list begins: what is not LISTED between this and complete() is gone. A list that fails begins anew. */
    void (*begin)(void *arg);
    /* -1: there was no memory for it. Then the list or watch ends there, and what could not be taken comes again after
     * a backoff. */
    int (*item)(void *arg, enum reflector_change change, const struct reflector_item *item);
    /* An item that is not what a Kubernetes server would send. It is skipped. */
    void (*unreadable)(void *arg, const char *why);
    void (*complete)(void *arg);
    /* false: take no more for now; call reflector_resume later. */
    bool (*has_room)(void *arg);
    /* The watch is open: from now on what the handler knows is fresh. */
    void (*watching)(void *arg);
    /* The watch ended, in good order or not: what the handler knows may be stale until watching(). */
    void (*ended)(void *arg);
    /* It failed, and what the handler knows may be stale until watching(). */
    void (*failed)(void *arg, const struct reflector_failure *failure);
};

struct reflector_settings {
    const char *path;       /* "/apis/batch/v1/jobs", copied */
    const char *watch_path; /* path is one object's, "/api/v1/namespaces/x", and this is where it is watched,
                             * "/api/v1/watch/namespaces/x". NULL: path is a collection's. Copied */
    const char *query;      /* further parameters, escaped, such as "labelSelector=app%3Dx", or "". Copied */
    const struct protobuf_codec *codec; /* asks for protobuf, and reads with this what comes so. A server that does not
                                         * speak it answers in JSON. NULL, and of a single object: JSON. Borrowed */
    bool list_only;                     /* complete() once, no watch */
    int attempts; /* list_only: give up after so many failures; and at once on 400, 401, 403, 404 */
};

/* Since the start. */
struct reflector_stats {
    int64_t restarts;      /* watches opened again */
    int64_t relists;       /* lists begun after the first whole one */
    int64_t failures;      /* lists and watches that failed */
    int64_t last_heard_ms; /* monotonic: of the last data, or that a watch is open; TIME_NONE: never */
};

struct reflector *reflector_create(struct loop *loop, struct client *client, const struct reflector_settings *settings,
        const struct reflector_handler *handler, struct error *err);
void reflector_destroy(struct reflector *reflector);
void reflector_start(struct reflector *reflector);
struct reflector_stats reflector_stats(const struct reflector *reflector);
void reflector_resume(struct reflector *reflector);
/* By how much the list or watch under way has outlived the deadline that ends it, with nothing heard since, or the wait
 * for the next one its timer: 0 or less, not at all; INT64_MIN when there is neither. */
int64_t reflector_overdue_ms(const struct reflector *reflector);
/* As in the settings, from the next request on. Whether it was another one. */
bool reflector_set_codec(struct reflector *reflector, const struct protobuf_codec *codec);
/* A full list next, and soon, although nothing was lost. Not in list-only mode, and not from within a callback. */
void reflector_relist(struct reflector *reflector);
