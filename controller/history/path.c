#include "history/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0640 /* the group, for those who are to read the register; a stricter umask wins */

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

static int refused(struct error *err, const char *doing, const char *path, int why) {
    char folder[PATH_MAX] = ".", text[128];
    folder_of(path, folder);
    if (why == EACCES || why == EPERM)
        return closed_folder(err, doing, path, folder);
    if (why == ENOENT)
        return error_set(err, ERROR_IO,
                "cannot %s the register %s: there is no folder %s: create it, or name another store", doing, path,
                folder);
    return error_set(err, ERROR_IO, "cannot %s the register %s: %s: name another store", doing, path,
            strerror_r(why, text, sizeof text));
}

/* O_EXCL: closing a descriptor of a file that SQLite has open in this process would drop SQLite's locks on it. */
int path_create_file(const char *path, struct error *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    return errno == EEXIST ? 0 : refused(err, "create", path, errno);
}

int path_check_file(const char *path, bool to_write, struct error *err) {
    const char *doing = to_write ? "write to" : "read";
    struct stat info;
    if (stat(path, &info) < 0)
        return refused(err, doing, path, errno);
    if (!S_ISREG(info.st_mode))
        return error_set(err, ERROR_IO, "cannot %s the register %s: it is not a file: name another store", doing, path);
    if (faccessat(AT_FDCWD, path, to_write ? R_OK | W_OK : R_OK, AT_EACCESS) == 0)
        return 0;
    return errno == EACCES ? closed_to_us(err, doing, path, "the file", "", &info) : refused(err, doing, path, errno);
}

const char *path_of_wal(const char *path, char buf[PATH_MAX]) {
    snprintf(buf, PATH_MAX, "%s-wal", path);
    return buf;
}
