#include "history/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/timestamp.h"

#define SUFFIX "-lock"
#define LOCK_MODE 0640 /* as the register's */
#define HOLDER_MAX 160 /* bytes of what the file says */
#define HOST_MAX 64    /* of a host's name, which in a Pod is the Pod's */

struct claim {
    int fd;
    char path[PATH_MAX]; /* of the lock file */
};

/* For whoever is refused. Not needed to hold the lock: a full disk must not be in the way. */
static void sign(const struct claim *claim) {
    char host[HOST_MAX] = "", text[HOLDER_MAX], since[TIMESTAMP_TEXT_MAX];
    (void)gethostname(host, sizeof host - 1);
    int len = snprintf(text, sizeof text, "process %ld on %s, since %s\n", (long)getpid(), *host ? host : "this host",
            timestamp_format(clock_wall_ms() / 1000 * 1000, since));
    if (ftruncate(claim->fd, 0) == 0)
        (void)!pwrite(claim->fd, text, (size_t)len, 0);
}

static int taken(const struct claim *claim, const char *path, struct error *err) {
    char text[HOLDER_MAX + 1];
    ssize_t len = pread(claim->fd, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    struct strbuf holder = STRBUF_INIT(4096);
    text_add_escaped(&holder, text, HOLDER_MAX);
    error_set(err, ERROR_REMOTE,
            "register %s: another controller writes to it (%s), and a register has one writer: end that one, or give "
            "each a store of its own (in Kubernetes: one replica, strategy Recreate, or a volume for each)",
            path, holder.len ? strbuf_text(&holder) : "it does not say which");
    strbuf_finish(&holder);
    return -1;
}

static int closed(const struct claim *claim, const char *path, struct error *err) {
    int why = errno;
    struct stat info;
    if (lstat(claim->path, &info) < 0 || (why != EACCES && why != ELOOP))
        return path_refused(err, path_identify(path).there ? "lock" : "create", path, why);
    return error_set(err, ERROR_IO,
            "cannot lock the register %s: %s (owner uid %u, mode %04o) is closed to uid %u: remove it, when no "
            "controller runs",
            path, claim->path, (unsigned)info.st_uid, (unsigned)info.st_mode & 07777, (unsigned)geteuid());
}

static int lock(struct claim *claim, const char *path, struct error *err) {
    claim->fd = open(claim->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, LOCK_MODE);
    if (claim->fd < 0)
        return closed(claim, path, err);
    while (flock(claim->fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return taken(claim, path, err);
        if (errno != EINTR)
            return path_refused(err, "lock", path, errno);
    }
    /* Who held it may have taken the file away in between. */
    if (!claim_holds(claim))
        return error_set(err, ERROR_REMOTE, "register %s: its lock file was removed at this moment", path);
    sign(claim);
    return 0;
}

int claim_take(const char *path, struct claim **ret, struct error *err) {
    if (strlen(path) > PATH_REGISTER_MAX)
        return error_set(err, ERROR_USAGE, "the register's path is longer than %d bytes", PATH_REGISTER_MAX);
    /* No lock beside what can be no register. */
    if (path_identify(path).there && path_check_file(path, true, err) < 0)
        return -1;
    struct claim *claim = calloc(1, sizeof *claim);
    if (!claim)
        return error_nomem(err);
    claim->fd = -1;
    path_beside(path, SUFFIX, claim->path);
    if (lock(claim, path, err) < 0) {
        claim_drop(claim);
        return -1;
    }
    *ret = claim;
    return 0;
}

bool claim_holds(const struct claim *claim) {
    struct stat ours, there;
    return fstat(claim->fd, &ours) == 0 && stat(claim->path, &there) == 0 && ours.st_ino == there.st_ino &&
           ours.st_dev == there.st_dev;
}

void claim_drop(struct claim *claim) {
    if (!claim)
        return;
    if (claim->fd >= 0)
        close(claim->fd);
    free(claim);
}
