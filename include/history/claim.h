/*
 * claim: that a register has one writer. Internal to controller/history; others use history_claim.
 *
 * SQLite alone would let several processes on one machine write in turn. But two controllers on one volume may be on
 * two machines, where its shared memory is not shared and the file is ruined; and one that was forgotten would go on
 * beside the new one. So who writes holds a lock (flock(2)) on a file beside the register, NAME-lock, for as long as
 * it writes. The kernel lets it go when the process ends, however it does. What is in the file says who it is.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "history/path.h"

struct claim;

/* path: of the register, which need not be there yet. ERROR_REMOTE: another process has it; else the lock file cannot
 * be had, and why. */
int claim_take(const char *path, struct claim **ret, struct error *err) must_check;
/* Whether the lock file is still the one that others would look at. */
bool claim_holds(const struct claim *claim);
/* NULL is fine. */
void claim_drop(struct claim *claim);
