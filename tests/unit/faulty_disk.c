#include "faulty_disk.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES_MAX 8
#define FDS_MAX 1024
#define FOLDER (-2) /* in place of a file's number: the folder itself */
#define SECTOR 512

/* A write or, with data NULL, a new size, that is not synced. */
struct change {
    off_t at;
    size_t len;
    char *data;
    struct change *next;
};

struct file {
    char name[64];
    char *synced;
    size_t synced_len;
    struct change *changes, **last;
    bool entry_synced; /* its name is in the folder for sure */
    bool exists, unlinked;
};

static char disk_folder[PATH_MAX];
static bool installed;
static struct file files[FILES_MAX];
static int n_files, fds[FDS_MAX]; /* number of the file plus 1, or FOLDER */
static int countdown;
static enum disk_fault fault;
static bool fault_for_good, fault_came;
int disk_syncs;
bool disk_syncs_fail;
void (*disk_at_sync)(void);

/* ---- failing ---- */

static bool fails(void) {
    if (fault_came && fault_for_good)
        return true;
    if (countdown == 0 || --countdown > 0)
        return false;
    fault_came = true;
    return true;
}

static int refuse(void) {
    errno = fault == DISK_EIO ? EIO : ENOSPC;
    return -1;
}

void disk_fail_at(int n, enum disk_fault how, bool for_good) {
    countdown = n;
    fault = how;
    fault_for_good = for_good;
    fault_came = false;
}

bool disk_has_failed(void) {
    return fault_came;
}

/* ---- what is synced ---- */

static void forget_changes(struct file *file) {
    while (file->changes) {
        struct change *next = file->changes->next;
        free(file->changes->data);
        free(file->changes);
        file->changes = next;
    }
    file->last = &file->changes;
}

static void add_change(int fd, off_t at, const void *data, size_t len) {
    if (fd < 0 || fd >= FDS_MAX || fds[fd] <= 0)
        return;
    struct file *file = &files[fds[fd] - 1];
    struct change *change = calloc(1, sizeof *change);
    ck_assert_ptr_nonnull(change);
    *change = (struct change){.at = at, .len = len};
    if (data) {
        change->data = malloc(len);
        ck_assert_ptr_nonnull(change->data);
        memcpy(change->data, data, len);
    }
    *file->last = change;
    file->last = &change->next;
}

static void apply_change(char **content, size_t *len, const struct change *change, unsigned (*chance)(void)) {
    size_t end = change->data ? (size_t)change->at + change->len : (size_t)change->at;
    if (!change->data || end > *len) {
        char *larger = realloc(*content, end + 1);
        ck_assert_ptr_nonnull(larger);
        if (end > *len)
            memset(larger + *len, 0, end - *len);
        *content = larger;
        *len = end;
    }
    for (size_t done = 0; change->data && done < change->len;) {
        size_t piece = SECTOR - ((size_t)change->at + done) % SECTOR;
        if (piece > change->len - done)
            piece = change->len - done;
        if (!chance || chance() % 8)
            memcpy(*content + change->at + done, change->data + done, piece);
        done += piece;
    }
}

static void sync_file(struct file *file) {
    for (const struct change *change = file->changes; change; change = change->next)
        apply_change(&file->synced, &file->synced_len, change, NULL);
    forget_changes(file);
}

static void sync_folder(void) {
    for (int i = 0; i < n_files; i++) {
        files[i].entry_synced = files[i].exists;
        files[i].unlinked = false;
    }
}

/* Before the C library's. */
int fdatasync(int fd) {
    disk_syncs++;
    void (*at_sync)(void) = disk_at_sync;
    disk_at_sync = NULL;
    if (at_sync)
        at_sync();
    bool ours = installed && fd >= 0 && fd < FDS_MAX && fds[fd];
    if (disk_syncs_fail || (ours && fails())) {
        errno = EIO;
        return -1;
    }
    if (!ours)
        return (int)syscall(SYS_fdatasync, fd);
    if (fds[fd] == FOLDER)
        sync_folder();
    else
        sync_file(&files[fds[fd] - 1]);
    return 0;
}

static struct file *find_file(const char *path) {
    size_t len = strlen(disk_folder);
    if (strncmp(path, disk_folder, len) != 0 || path[len] != '/' || strchr(path + len + 1, '/'))
        return NULL;
    const char *name = path + len + 1;
    for (int i = 0; i < n_files; i++) {
        if (strcmp(files[i].name, name) == 0)
            return &files[i];
    }
    ck_assert_int_lt(n_files, FILES_MAX);
    struct file *file = &files[n_files++];
    *file = (struct file){.last = &file->changes};
    snprintf(file->name, sizeof file->name, "%s", name);
    return file;
}

/* ---- SQLite's system calls ---- */

static int our_open(const char *path, int flags, int mode) {
    struct file *file = find_file(path);
    if (file && fails())
        return refuse();
    int fd = open(path, flags, mode);
    if (fd < 0 || !file)
        return fd;
    ck_assert_int_lt(fd, FDS_MAX);
    fds[fd] = (int)(file - files) + 1;
    if (!file->exists && file->unlinked) {
        /* a new file of that name: what the old one had may still come back, and is as good as any */
        forget_changes(file);
    }
    file->exists = true;
    return fd;
}

static int our_open_directory(const char *path, int *ret_fd) {
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    bool ours = strcmp(folder, disk_folder) == 0;
    if (ours && fails())
        return SQLITE_CANTOPEN;
    *ret_fd = open(slash ? folder : ".", O_RDONLY | O_CLOEXEC);
    if (*ret_fd < 0)
        return SQLITE_CANTOPEN;
    if (ours)
        fds[*ret_fd] = FOLDER;
    return SQLITE_OK;
}

static int our_close(int fd) {
    if (fd >= 0 && fd < FDS_MAX)
        fds[fd] = 0;
    return close(fd);
}

static bool is_ours(int fd) {
    return fd >= 0 && fd < FDS_MAX && fds[fd] > 0;
}

static ssize_t our_pwrite(int fd, const void *data, size_t len, off_t at) {
    if (is_ours(fd) && fails()) {
        if (fault != DISK_HALF || len < 2)
            return refuse();
        len /= 2;
    }
    ssize_t n = pwrite(fd, data, len, at);
    if (n > 0)
        add_change(fd, at, data, (size_t)n);
    return n;
}

static ssize_t our_write(int fd, const void *data, size_t len) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t n = our_pwrite(fd, data, len, at);
    if (n > 0)
        lseek(fd, at + n, SEEK_SET);
    return n;
}

static ssize_t our_pread(int fd, void *data, size_t len, off_t at) {
    return is_ours(fd) && fails() ? refuse() : pread(fd, data, len, at);
}

static ssize_t our_read(int fd, void *data, size_t len) {
    return is_ours(fd) && fails() ? refuse() : read(fd, data, len);
}

static int our_ftruncate(int fd, off_t len) {
    if (is_ours(fd) && fails())
        return refuse();
    int result = ftruncate(fd, len);
    if (result == 0)
        add_change(fd, len, NULL, 0);
    return result;
}

static int our_unlink(const char *path) {
    struct file *file = find_file(path);
    if (file && fails())
        return refuse();
    int result = unlink(path);
    if (file && result == 0) {
        file->exists = false;
        file->unlinked = file->entry_synced;
        file->entry_synced = false;
    }
    return result;
}

static int our_fallocate(int fd, off_t at, off_t len) {
    if (is_ours(fd) && fails())
        return ENOSPC;
    return posix_fallocate(fd, at, len);
}

static const struct {
    const char *name;
    sqlite3_syscall_ptr call;
} calls[] = {
        {"open", (sqlite3_syscall_ptr)our_open},
        {"openDirectory", (sqlite3_syscall_ptr)our_open_directory},
        {"close", (sqlite3_syscall_ptr)our_close},
        {"read", (sqlite3_syscall_ptr)our_read},
        {"pread", (sqlite3_syscall_ptr)our_pread},
        {"pread64", (sqlite3_syscall_ptr)our_pread},
        {"write", (sqlite3_syscall_ptr)our_write},
        {"pwrite", (sqlite3_syscall_ptr)our_pwrite},
        {"pwrite64", (sqlite3_syscall_ptr)our_pwrite},
        {"ftruncate", (sqlite3_syscall_ptr)our_ftruncate},
        {"fallocate", (sqlite3_syscall_ptr)our_fallocate},
        {"unlink", (sqlite3_syscall_ptr)our_unlink},
};

void disk_install(const char *folder) {
    sqlite3_initialize();
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    snprintf(disk_folder, sizeof disk_folder, "%s", folder);
    memset(fds, 0, sizeof fds);
    n_files = 0;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if (vfs->xGetSystemCall(vfs, calls[i].name))
            ck_assert_int_eq(vfs->xSetSystemCall(vfs, calls[i].name, calls[i].call), SQLITE_OK);
    }
    disk_fail_at(0, DISK_EIO, false);
    installed = true;
}

void disk_remove(void) {
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    vfs->xSetSystemCall(vfs, NULL, NULL);
    disk_fail_at(0, DISK_EIO, false);
    installed = false;
    for (int i = 0; i < n_files; i++) {
        forget_changes(&files[i]);
        free(files[i].synced);
    }
    n_files = 0;
}

/* ---- power ---- */

static unsigned chance_state;

static unsigned chance(void) {
    chance_state = chance_state * 1103515245u + 12345u;
    return chance_state >> 16;
}

static bool is_found(const struct file *file, unsigned luck) {
    if (file->exists && file->entry_synced)
        return true;
    if (file->exists)
        return luck == 1 || (luck > 1 && chance() % 2);
    return file->unlinked && (luck == 0 || (luck > 1 && chance() % 2));
}

void disk_lose_power(const char *to, unsigned luck) {
    chance_state = luck * 7919;
    for (int i = 0; i < n_files; i++) {
        const struct file *file = &files[i];
        char path[PATH_MAX];
        if (strstr(file->name, "-shm") || !is_found(file, luck))
            continue;
        size_t len = file->synced_len;
        char *content = malloc(len + 1);
        ck_assert_ptr_nonnull(content);
        if (len)
            memcpy(content, file->synced, len);
        for (const struct change *change = file->changes; change && luck; change = change->next) {
            if (luck == 1)
                apply_change(&content, &len, change, NULL);
            else if (chance() % 2)
                apply_change(&content, &len, change, chance);
        }
        snprintf(path, sizeof path, "%s/%s", to, file->name);
        FILE *out = fopen(path, "w");
        ck_assert_ptr_nonnull(out);
        ck_assert_uint_eq(fwrite(content, 1, len, out), len);
        fclose(out);
        free(content);
    }
}
