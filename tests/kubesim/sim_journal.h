/*
 * sim_journal: every change of the store in a file, so that a kubesim that was killed comes back as it was, with its
 * resourceVersions and its events: watches resume. Called locked, like the store.
 *
 * A line a change: Unix ms, ADDED, MODIFIED or DELETED, resourceVersion, resource, and the object. Fault rules, counts
 * and audit are not in it.
 */
#ifndef KUBESIM_SIM_JOURNAL_H
#define KUBESIM_SIM_JOURNAL_H

#include "sim_store.h"

struct sim_journal;

/* Replays what is in the file, which need not exist, and appends from then on. *ret_known: there was something. NULL
 * with *ret_error, to be freed. */
struct sim_journal *sim_journal_open(struct sim_store *store, const char *path, bool *ret_known, char **ret_error);
void sim_journal_close(struct sim_journal *journal);

/* From the store. Written before anybody can be told of it. */
void sim_journal_write(struct sim_journal *journal, enum sim_event_type type, const struct sim_resource *res,
        const struct sim_version *version);

#endif
