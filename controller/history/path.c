#include "history/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ROOM_MIN_BYTES (256u << 10) /* a batch of some runs; with less, the next write fails anyway */
#define LOCKS_LINES_MAX 100000      /* of /proc/locks */
#define FILE_MODE 0640              /* the group, for those who are to read the register; a stricter umask wins */

static bool folder_of(const char *path, char folder[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    size_t len = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;
    if (len == 0 || len >= PATH_MAX)
        return false;
    memmove(folder, path, len);
    folder[len] = '\0';
    return true;
}

static int closed_to_us(struct error *err, const char *doing, const char *path, const char *what, const char *which,
        const struct stat *info) {
    return error_set(err, ERROR_IO,
            "cannot %s the register %s: %s %s(owner uid %u, gid %u, mode %04o) is closed to uid %u: run as its owner, "
            "or "
            "change owner or mode",
            doing, path, what, which, (unsigned)info->st_uid, (unsigned)info->st_gid, (unsigned)info->st_mode & 07777,
            (unsigned)geteuid());
}

/* The nearest folder that can be looked at is the one that is closed. */
static int closed_folder(struct error *err, const char *doing, const char *path, char folder[PATH_MAX]) {
    struct stat info;
    while (stat(folder, &info) < 0) {
        if (strcmp(folder, "/") == 0 || !folder_of(folder, folder))
            return error_set(err, ERROR_IO, "cannot %s the register %s: permission denied", doing, path);
    }
    char which[PATH_MAX + 1];
    snprintf(which, sizeof which, "%s ", folder);
    return closed_to_us(err, doing, path, "folder", which, &info);
}

int path_refused(struct error *err, const char *doing, const char *path, int why) {
    char folder[PATH_MAX] = ".", text[128];
    folder_of(path, folder);
    if (why == EACCES || why == EPERM)
        return closed_folder(err, doing, path, folder);
    if (why == ENOENT)
        return error_set(err, ERROR_IO,
                "cannot %s the register %s: there is no folder %s: create it (or mount it), or name another store",
                doing, path, folder);
    if (why == EROFS)
        return error_set(err, ERROR_IO,
                "cannot %s the register %s: its file system is read-only: see the kernel's log for why, mount it for "
                "writing, or name another store",
                doing, path);
    if (why == ENOSPC || why == EDQUOT)
        return error_set(err, ERROR_IO, "cannot %s the register %s: its disk is full (%s): make room on it", doing,
                path, strerror_r(why, text, sizeof text));
    return error_set(err, ERROR_IO, "cannot %s the register %s: %s: name another store", doing, path,
            strerror_r(why, text, sizeof text));
}

/* O_EXCL: closing a descriptor of a file that SQLite has open in this process would drop SQLite's locks on it. */
int path_create_file(const char *path, struct error *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE), why = errno;
    if (fd < 0 && why == EEXIST && access(path, F_OK) < 0 && errno == ENOENT) {
        /* A symbolic link to what is not there yet. */
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
        why = errno;
    }
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    return why == EEXIST ? 0 : path_refused(err, "create", path, why);
}

int path_check_file(const char *path, bool to_write, struct error *err) {
    const char *doing = to_write ? "write to" : "read";
    struct stat info;
    if (stat(path, &info) < 0)
        return path_refused(err, doing, path, errno);
    if (!S_ISREG(info.st_mode))
        return error_set(err, ERROR_IO, "cannot %s the register %s: it is not a file: name another store", doing, path);
    if (faccessat(AT_FDCWD, path, to_write ? R_OK | W_OK : R_OK, AT_EACCESS) == 0)
        return 0;
    return errno == EACCES ? closed_to_us(err, doing, path, "the file", "", &info)
                           : path_refused(err, doing, path, errno);
}

bool path_has_folder(const char *path) {
    char folder[PATH_MAX] = ".";
    struct stat info;
    folder_of(path, folder);
    /* One that may not be looked into is there. */
    return stat(folder, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

int path_check_surroundings(const char *path, struct error *err) {
    char folder[PATH_MAX] = ".";
    struct stat info;
    struct statvfs room;
    folder_of(path, folder);
    if (access(path, F_OK) == 0 && path_check_file(path, true, err) < 0)
        return -1;
    if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0) {
        if (errno != EACCES || stat(folder, &info) < 0)
            return path_refused(err, "write to", path, errno);
        char which[PATH_MAX + 1];
        snprintf(which, sizeof which, "%s ", folder);
        return closed_to_us(err, "make files beside", path, "folder", which, &info);
    }
    if (statvfs(folder, &room) == 0 && (unsigned long long)room.f_bavail * room.f_frsize < ROOM_MIN_BYTES)
        return path_refused(err, "write to", path, ENOSPC);
    return 0;
}

const char *path_beside(const char *path, const char *suffix, char buf[PATH_MAX]) {
    char target[PATH_MAX];
    /* SQLite puts them beside what a symbolic link points to. */
    snprintf(buf, PATH_MAX, "%s%s", realpath(path, target) ? target : path, suffix);
    return buf;
}

struct path_identity path_identify(const char *path) {
    struct stat info;
    if (stat(path, &info) < 0)
        return (struct path_identity){.there = false};
    return (struct path_identity){.there = true,
            .dev = info.st_dev,
            .ino = info.st_ino,
            .size = info.st_size,
            .changed_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec};
}

int64_t path_born_ns(const char *path) {
    struct statx info;
    if (statx(AT_FDCWD, path, 0, STATX_BTIME, &info) < 0 || !(info.stx_mask & STATX_BTIME))
        return 0;
    return (int64_t)info.stx_btime.tv_sec * 1000000000 + info.stx_btime.tv_nsec;
}

bool path_is_same(const struct path_identity *a, const struct path_identity *b) {
    return a->there && b->there && a->dev == b->dev && a->ino == b->ino;
}

static void name_process(long pid, char ret[PATH_HOLDER_MAX]) {
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%ld/comm", pid);
    FILE *comm = fopen(path, "re");
    if (comm) {
        if (!fgets(name, sizeof name, comm))
            name[0] = '\0';
        fclose(comm);
        name[strcspn(name, "\n")] = '\0';
    }
    if (*name)
        snprintf(ret, PATH_HOLDER_MAX, "process %ld (%s)", pid, name);
    else
        snprintf(ret, PATH_HOLDER_MAX, "process %ld", pid);
}

/* "3: POSIX  ADVISORY  WRITE 42 fe:00:131 120 120", as proc(5) has it. Whoever waits has "->" there, and is not meant.
 */
static long holder_in_line(const char *line, const struct stat *info, long first, long last) {
    unsigned long long ino;
    char kind[16], end[24];
    long pid, start;
    if (sscanf(line, "%*d: %15s %*s %*s %ld %*x:%*x:%llu %ld %23s", kind, &pid, &ino, &start, end) != 5 ||
            strcmp(kind, "POSIX") != 0)
        return 0;
    long stop = strcmp(end, "EOF") == 0 ? LONG_MAX : strtol(end, NULL, 10);
    bool ours = pid == (long)getpid() || pid <= 0;
    /* Not by the device too: some file systems show another one here than stat does. */
    return !ours && ino == info->st_ino && start <= last && stop >= first ? pid : 0;
}

const char *path_lock_holder(const char *path, long first, long last, char ret[PATH_HOLDER_MAX]) {
    struct stat info;
    char line[256];
    ret[0] = '\0';
    FILE *locks = stat(path, &info) == 0 ? fopen("/proc/locks", "re") : NULL;
    if (!locks)
        return ret;
    long pid = 0;
    for (int i = 0; i < LOCKS_LINES_MAX && pid == 0 && fgets(line, sizeof line, locks); i++)
        pid = holder_in_line(line, &info, first, last);
    fclose(locks);
    if (pid)
        name_process(pid, ret);
    return ret;
}
