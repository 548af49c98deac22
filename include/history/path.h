/*
 * path: the file of a register, and why the operating system refuses it, in words that say what to do. Internal to
 * controller/history. Any thread.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define PATH_REGISTER_MAX (PATH_MAX - 8) /* leaves room for "-wal" */

/* An empty file, unless there is one already. Not for everyone, since manifests may hold what is not. */
int path_create_file(const char *path, struct error *err) must_check;

/* A regular file that we may read, and with to_write also write. */
int path_check_file(const char *path, bool to_write, struct error *err) must_check;

/* Whether the folder for it is there. */
bool path_has_folder(const char *path);

/* A file that we may write, if it is there, and a folder in which files (beside it) can be made, and room on its disk.
 */
int path_check_surroundings(const char *path, struct error *err) must_check;

/* path, or what it is a symbolic link to, with suffix ("-wal", "-shm") behind it. Returns buf. */
const char *path_beside(const char *path, const char *suffix, char buf[PATH_MAX]);

/* Which file stands at a path: another one of the same name has another number, or is on another disk. */
struct path_identity {
    bool there;
    dev_t dev;
    ino_t ino;
    off_t size;
    int64_t changed_ns; /* when its content was */
};
struct path_identity path_identify(const char *path);
/* When it was made, in ns; 0 when that is not known. The number of a file that is gone may be given to another. */
int64_t path_born_ns(const char *path);
bool path_is_same(const struct path_identity *a, const struct path_identity *b);

/* Why the operating system refused to do that with the register at path, and what to do. Returns -1. */
int path_refused(struct error *err, const char *doing, const char *path, int why);

/* Another process that holds a lock on any of the bytes first to last of the file, as "process 42 (sqlite3)"; "" when
 * none is found (it may be in another container). Without opening the file: closing it would drop our own locks. */
#define PATH_HOLDER_MAX 64
const char *path_lock_holder(const char *path, long first, long last, char ret[PATH_HOLDER_MAX]);
