/*
 * schema: the SQLite register's tables, as numbered migrations. Internal to controller/history.
 *
 * A migration that was released is never changed: add one.
 */
#pragma once

/* "SXTN", in the file's header: what file(1) and we tell a register by. */
#define SCHEMA_APPLICATION_ID 0x5358544e

/* schema_migrations[i] takes a register from version i to i + 1. */
extern const char *const schema_migrations[];
extern const int schema_version; /* the newest: their number */

/* When a run ended, as far as is known; what lists are sorted by. One that did not finish is recorded when its Job is
 * deleted. The same text as in the indexes, or they are not used. */
#define SCHEMA_ENDED "coalesce(finished_at, recorded_at)"
/* Rows whose Job was still there when last heard of. */
#define SCHEMA_OPEN "deleted_at IS NULL"
