/*
 * sqlite: the register as a SQLite file. Internal to controller/history; its parts stand in history/sqlite_internal.h.
 *
 * WAL with synchronous=FULL: a commit returns when it is on disk, and readers neither wait nor make anyone wait. As of
 * one thread at a time (SQLITE_OPEN_NOMUTEX), but for interrupt.
 */
#pragma once

#include "history/history.h"

/* path: of the file; special names such as ":memory:" mean a file of that name. */
int sqlite_open_history(const char *path, enum history_mode mode, struct history **ret, struct error *err) must_check;
/* See history_probe. */
int sqlite_probe(const char *path, bool *ret_there, struct error *err) must_check;
