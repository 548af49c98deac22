/*
 * cluster: the truth: what is and was in the cluster, as one log of writes.
 */
#pragma once

#include "sim.h"

extern const char *const namespace_names[NAMESPACES];

int64_t rv_of(int entry);
/* The entry of a resourceVersion as text; -1: there is none. */
int entry_of(const char *rv);
struct entry *entry_at(int entry);

/* The last state of an object. */
struct job_state *job_state(int job);
/* What there was of an object at a moment (entries before as_of); -1: nothing. */
int job_as_of(int job, int as_of);
int slot_as_of(const struct truth_slot *slot, int as_of);

const char *job_uid(int job, char buf[40]);
/* -1: not one of ours. */
int job_of_uid(const char *uid);
const char *cronjob_uid(int cronjob, uint32_t generation, char buf[40]);
bool job_is_in_scope(int job);

/* Each writes to the log, and the watches hear of it. */
int cluster_create_job(int namespace, const char *name, const struct job_state *state);
void cluster_change_job(int job, const struct job_state *state);
/* requester: as in struct truth_job. */
void cluster_remove_job(int job, int requester);
void cluster_put_namespace(int namespace, const struct namespace_state *state);
void cluster_remove_namespace(int namespace);
void cluster_put_cronjob(int cronjob, const struct cronjob_state *state);
void cluster_remove_cronjob(int cronjob);
int cluster_write_lease(void); /* the new version */

void cluster_finish(void);

/* ---- as JSON ---- */

void render_object(struct strbuf *buf, int entry);
void render_time(struct strbuf *buf, int64_t ms);
void render_number(struct strbuf *buf, int64_t number);
