/*
 * sim_stats: what was asked of the server: counts by verb, resource and status code, every DELETE, and every
 * write of a Lease. Called locked.
 */
#ifndef KUBESIM_SIM_STATS_H
#define KUBESIM_SIM_STATS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* One DELETE; strings are copied, NULL for what was not given. code 0: closed without an effect and an answer. */
struct sim_audit {
    const char *ns;
    const char *name;
    const char *resource;
    const char *precondition_uid;
    const char *precondition_rv;
    const char *propagation;
    int64_t time_ms; /* Unix, when the request was read */
    int code;
    bool answered; /* false: the effect came to be, and the answer was withheld */
};

/* One write of a Lease, whatever became of it. holder NULL: the body names none. code as above. */
struct sim_lease_write {
    const char *verb;
    const char *ns;
    const char *name;
    const char *holder;
    int64_t time_ms;
    int code;
    bool answered;
};

struct sim_stats;

struct sim_stats *sim_stats_create(void);
void sim_stats_destroy(struct sim_stats *stats);

/* resource "" for what is not a resource. code 0 when the connection was closed without an answer. */
void sim_stats_count(struct sim_stats *stats, const char *verb, const char *resource, int code);
void sim_stats_audit(struct sim_stats *stats, const struct sim_audit *audit);

void sim_stats_lease(struct sim_stats *stats, const struct sim_lease_write *write);

/* Counts, audit and writes of Leases. */
void sim_stats_reset(struct sim_stats *stats);

/* New references. */
json_t *sim_stats_counts(const struct sim_stats *stats);
json_t *sim_stats_audits(const struct sim_stats *stats);
json_t *sim_stats_lease_writes(const struct sim_stats *stats);

#endif
