#include "cmd/config_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

#define CONTENT_MAX ((1u << 20) + 1) /* a configuration has less, and more is refused whatever it is */
#define READS_MAX 64                 /* of the descriptor in one turn: others have theirs */

/* Names that come and go in a folder, and writing to a file. The latter of the file alone: a register in the same
 * folder is written to all the time. */
#define EVENTS_OF_NAMES \
    (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define EVENTS_OF_CONTENT (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB)

struct content {
    bool there;
    struct strbuf bytes;
};

struct config_watch {
    struct loop *loop;
    struct config_watch_handler handler;
    char *path;
    int fd; /* inotify's; -1: there is none */
    struct loop_reader *reader;
    struct loop_timer *settle, *poll;
    int folder, target, file; /* watch descriptors: where the name is, and where the links lead, and what is there;
                               * -1: none */
    char target_name[NAME_MAX + 1];
    bool writing; /* somebody has written, and not closed it yet */
    int64_t writing_since_mono;
    struct content seen, candidate;
    bool has_candidate;
    bool is_file;
    struct error failure; /* of inotify; ERROR_NONE: it works */
};

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- the content ---- */

static void content_init(struct content *content) {
    *content = (struct content){.bytes = STRBUF_INIT(CONTENT_MAX)};
}

/* Only a file: to open a pipe could wait for its other end. */
static void content_read(struct content *content, const char *path) {
    char chunk[4096];
    struct stat info;
    ssize_t n = 0;
    strbuf_clear(&content->bytes);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    content->there = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    while (content->there && !strbuf_failed(&content->bytes) && (n = read(fd, chunk, sizeof chunk)) != 0) {
        if (n > 0)
            strbuf_add(&content->bytes, chunk, (size_t)n);
        else if (errno != EINTR)
            content->there = false;
    }
    if (fd >= 0)
        close(fd);
}

static bool content_equal(const struct content *a, const struct content *b) {
    if (a->there != b->there || strbuf_failed(&a->bytes) != strbuf_failed(&b->bytes))
        return false;
    return !a->there || (a->bytes.len == b->bytes.len &&
                                (a->bytes.len == 0 || memcmp(a->bytes.data, b->bytes.data, a->bytes.len) == 0));
}

static void content_swap(struct content *a, struct content *b) {
    struct content swap = *a;
    *a = *b;
    *b = swap;
}

/* ---- inotify ---- */

static void watch_file(struct config_watch *w) {
    int before = w->file;
    w->file = inotify_add_watch(w->fd, w->path, EVENTS_OF_CONTENT);
    if (before >= 0 && before != w->file)
        inotify_rm_watch(w->fd, before); /* may be gone with its file already */
}

/* Of a file that is not there, or not to be read, the folder tells all. */
static int watch_folder(struct config_watch *w, const char *path) {
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy)
        return -1;
    return inotify_add_watch(w->fd, dirname(copy), EVENTS_OF_NAMES | (w->file < 0 ? EVENTS_OF_CONTENT : 0));
}

/* Once more each time: file and folders may be others by now. For the same one the same descriptor comes back. 0, or
 * why not. */
static int watch_all(struct config_watch *w) {
    char target[PATH_MAX];
    if (w->fd < 0)
        return 0;
    watch_file(w);
    w->folder = watch_folder(w, w->path);
    int why = w->folder < 0 ? errno : 0, before = w->target;
    /* A link that leads nowhere keeps what it led to: there it may come back. */
    if (realpath(w->path, target)) {
        w->target = watch_folder(w, target);
        snprintf(w->target_name, sizeof w->target_name, "%.*s", NAME_MAX, name_of(target));
    }
    if (before >= 0 && before != w->target && before != w->folder)
        inotify_rm_watch(w->fd, before); /* may be gone with its folder already */
    return why;
}

/* Not put off by each event: there may always be another one. */
static void look_soon(struct config_watch *w) {
    if (!loop_timer_active(w->settle))
        loop_timer_start(w->settle, CONFIG_WATCH_SETTLE_MS);
}

static void take_event(struct config_watch *w, const struct inotify_event *event) {
    const char *name = event->len ? event->name : "";
    bool named = (event->wd == w->folder && strcmp(name, name_of(w->path)) == 0) ||
                 (event->wd == w->target && strcmp(name, w->target_name) == 0);
    bool ours = named || event->wd == w->file;
    if (!ours && (event->mask & (EVENTS_OF_CONTENT | IN_IGNORED)))
        return;
    if (named && (event->mask & (IN_CREATE | IN_MOVED_TO)))
        watch_file(w); /* at once: it may still be written to */
    if (ours && (event->mask & IN_MODIFY) && !w->writing) {
        w->writing = true;
        w->writing_since_mono = clock_mono_ms();
    } else if (ours && !(event->mask & (IN_MODIFY | IN_ATTRIB))) {
        w->writing = false;
    }
    look_soon(w);
}

static void on_readable(void *arg, int fd) {
    struct config_watch *w = arg;
    _Alignas(struct inotify_event) char buffer[4096];
    ssize_t len;
    for (int i = 0; i < READS_MAX && (len = read(fd, buffer, sizeof buffer)) > 0; i++) {
        for (const char *at = buffer; at < buffer + len;) {
            const struct inotify_event *event = (const void *)at;
            take_event(w, event);
            at += sizeof *event + event->len;
        }
    }
}

static void start_inotify(struct config_watch *w) {
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    int why = w->fd < 0 ? errno : watch_all(w);
    if (why == 0 && (w->reader = loop_reader_create(w->loop, w->fd, on_readable, w, &w->failure)))
        return;
    char text[128];
    if (why != 0)
        error_set(&w->failure, ERROR_IO, "%s", strerror_r(why, text, sizeof text));
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

/* ---- looking ---- */

static void look(struct config_watch *w) {
    struct content now;
    content_init(&now);
    watch_all(w); /* first: what changes after the look is an event */
    content_read(&now, w->path);
    bool changed = false;
    if (content_equal(&now, &w->seen)) {
        w->has_candidate = false;
    } else if (w->has_candidate && content_equal(&now, &w->candidate)) {
        w->has_candidate = false;
        content_swap(&now, &w->seen);
        changed = true;
    } else {
        w->has_candidate = true;
        content_swap(&now, &w->candidate);
        loop_timer_start(w->settle, w->candidate.there ? CONFIG_WATCH_SETTLE_MS : CONFIG_WATCH_GONE_MS);
    }
    strbuf_finish(&now.bytes);
    if (changed)
        w->handler.changed(w->handler.arg);
}

static void on_settled(void *arg) {
    struct config_watch *w = arg;
    if (w->writing && clock_mono_ms() - w->writing_since_mono < CONFIG_WATCH_WRITING_MS) {
        look_soon(w);
        return;
    }
    w->writing = false;
    look(w);
}

static void on_poll(void *arg) {
    struct config_watch *w = arg;
    loop_timer_start(w->poll, CONFIG_WATCH_POLL_MS);
    if (!loop_timer_active(w->settle))
        look(w);
}

void config_watch_seen(struct config_watch *w) {
    if (!w || !w->is_file)
        return;
    w->has_candidate = false;
    content_read(&w->seen, w->path);
}

/* ---- from start to end ---- */

struct config_watch *config_watch_create(
        struct loop *loop, const char *path, const struct config_watch_handler *handler, struct error *err) {
    struct config_watch *w = calloc(1, sizeof *w);
    if (!w) {
        error_nomem(err);
        return NULL;
    }
    *w = (struct config_watch){.loop = loop, .handler = *handler, .fd = -1, .folder = -1, .target = -1, .file = -1};
    content_init(&w->seen);
    content_init(&w->candidate);
    if (!(w->settle = loop_timer_create(loop, on_settled, w, err)) ||
            !(w->poll = loop_timer_create(loop, on_poll, w, err))) {
        config_watch_destroy(w);
        return NULL;
    }
    if (!(w->path = strdup(path))) {
        error_nomem(err);
        config_watch_destroy(w);
        return NULL;
    }
    struct stat info;
    w->is_file = stat(path, &info) < 0 || S_ISREG(info.st_mode);
    if (w->is_file) {
        start_inotify(w);
        content_read(&w->seen, w->path);
    }
    return w;
}

void config_watch_start(struct config_watch *w) {
    if (!w->is_file)
        return;
    if (w->failure.kind != ERROR_NONE)
        log_warn("the configuration's folder cannot be watched: a change is seen late; SIGHUP has it read at once",
                log_text("file", w->path), log_text("error", w->failure.text),
                log_duration("seen_within", CONFIG_WATCH_POLL_MS));
    loop_timer_start(w->poll, CONFIG_WATCH_POLL_MS);
}

void config_watch_destroy(struct config_watch *w) {
    if (!w)
        return;
    loop_reader_destroy(w->reader);
    loop_timer_destroy(w->settle);
    loop_timer_destroy(w->poll);
    if (w->fd >= 0)
        close(w->fd);
    strbuf_finish(&w->seen.bytes);
    strbuf_finish(&w->candidate.bytes);
    free(w->path);
    free(w);
}
