/*
 * faulty_disk: the disk under SQLite, as a test wants it. One at a time, for the files of one folder.
 *
 * SQLite's system calls go through here: each may be made to fail in turn, and what was written but not synced may be
 * lost, in whole or in part, as it is when the power fails. Files really are written all the same, so that what is
 * under test sees a disk as it should be until then.
 */
#pragma once

#include <stdbool.h>

/* How an operation fails: EIO, ENOSPC, or ENOSPC after half of it was written. */
enum disk_fault { DISK_EIO, DISK_ENOSPC, DISK_HALF };

/* What is in the folder counts as synced. */
void disk_install(const char *folder);
void disk_remove(void);

/* The nth operation from here on fails (1 is the next), and with for_good all that follow too. 0: none. */
void disk_fail_at(int n, enum disk_fault how, bool for_good);
/* Whether it came to that. */
bool disk_has_failed(void);

/* Writes to the folder to what would be found after a power loss now. luck 0: nothing of what was not synced; 1: all of
 * it; else a part that depends on luck, in pieces of 512 bytes. */
void disk_lose_power(const char *to, unsigned luck);

/* Calls of fdatasync by anyone, whether installed or not; and whether they fail. */
extern int disk_syncs;
extern bool disk_syncs_fail;
/* Called once, by the next of them. */
extern void (*disk_at_sync)(void);
