/*
 * config_watch: tells when a file has another content than before: the configuration, which an operator edits, or which
 * the kubelet brings up to date in a mounted ConfigMap. Loop thread.
 *
 * Any way of writing counts: in place, by a rename, and the kubelet's (the file is a link to ..data/NAME, ..data is a
 * link to a folder of this version, and another such link is renamed over it). inotify(7) says when to look at the
 * folder's entries and at the folder that the links lead to; a look now and then finds what it does not say (network
 * file systems, a folder that is itself a link). The bytes decide: the same content is no change, whatever was written.
 *
 * A content counts when it was the same twice within CONFIG_WATCH_SETTLE_MS, and nobody is at writing it. A file that
 * is gone, or cannot be read, counts after CONFIG_WATCH_GONE_MS: for a moment, it may be between two versions.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

#define CONFIG_WATCH_SETTLE_MS 250
#define CONFIG_WATCH_GONE_MS 2000
#define CONFIG_WATCH_REST_MS 100      /* between two looks at what happened in the folder */
#define CONFIG_WATCH_WRITING_MS 10000 /* for who writes slowly; then what is there counts */
#define CONFIG_WATCH_POLL_MS 30000

struct config_watch;

struct config_watch_handler {
    void *arg;
    /* The content is another one, or there is none any more, or there is again. May destroy the watch. */
    void (*changed)(void *arg);
};

/* What is there now is what was seen, so create it before the file is read. path: copied. One that is no file (a pipe)
 * is never watched. */
struct config_watch *config_watch_create(
        struct loop *loop, const char *path, const struct config_watch_handler *handler, struct error *err);
/* The log says so when there is no inotify, and a look now and then has to do. */
void config_watch_start(struct config_watch *watch);
/* NULL is fine. */
void config_watch_destroy(struct config_watch *watch);
/* What is there now has been seen: by another way than changed(). NULL is fine. */
void config_watch_seen(struct config_watch *watch);
