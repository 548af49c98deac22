/*
 * path: the file of a register, and why the operating system refuses it, in words that say what to do. Internal to
 * controller/history. Any thread.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

#define PATH_REGISTER_MAX (PATH_MAX - 8) /* leaves room for "-wal" */

/* An empty file, unless there is one already. Not for everyone, since manifests may hold what is not. */
int path_create_file(const char *path, struct error *err) must_check;

/* A regular file that we may read, and with to_write also write. */
int path_check_file(const char *path, bool to_write, struct error *err) must_check;

/* path with "-wal" behind it. Returns buf. */
const char *path_of_wal(const char *path, char buf[PATH_MAX]);
