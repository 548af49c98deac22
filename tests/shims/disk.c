/*
 * disk: preloaded into a program under test, makes writing to its register fail while it runs.
 *
 * SEXTON_TEST_DISK names a file. While that holds the name of an error (EIO, ENOSPC, EROFS), writes and syncs of files
 * whose name has "history.db" in it fail with that; while it is empty or not there, all is well.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at);

static int wanted_errno(void) {
    char text[16] = "";
    const char *path = getenv("SEXTON_TEST_DISK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    return strcmp(text, "EIO") == 0 ? EIO : strcmp(text, "ENOSPC") == 0 ? ENOSPC : EROFS;
}

static int fails(int fd) {
    char link[64], name[PATH_MAX] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, name, sizeof name - 1) < 0 || !strstr(name, "history.db"))
        return 0;
    int why = wanted_errno();
    if (why)
        errno = why;
    return why != 0;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at) {
    return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at) {
    return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, data, len, at);
}

ssize_t write(int fd, const void *data, size_t len) {
    return fails(fd) ? -1 : syscall(SYS_write, fd, data, len);
}

int fdatasync(int fd) {
    return fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}
