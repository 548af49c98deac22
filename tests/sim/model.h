/*
 * model: the promises, checked against the truth. Knows nothing of the product's code: its policy is its own.
 */
#pragma once

#include "server.h"
#include "sim.h"

/* ---- oracle.c: what should become of a Job, restated ---- */

struct verdict {
    bool stays;
    const char *why; /* it stays */
    int64_t due_ms;
};
/* namespace NULL: unknown. */
struct verdict oracle_judge(const struct job_state *job, int namespace, const struct namespace_state *around,
        const struct settings *settings);
/* Until when the CronJob may still need it, TIME_NONE: not at all. */
int64_t oracle_settles(
        int job, const struct job_state *state, const struct cronjob_state *cronjob, const struct settings *settings);

/* ---- model.c: called by the fakes ---- */

void model_boot(struct machine *m);
/* A request is begun, leaves, and is over. */
void model_begins(struct machine *m, const struct route *route, const char *body);
void model_leaves(struct machine *m, const struct route *route, const char *body);
void model_arrives(struct machine *m, const struct route *route);
void model_over(struct machine *m, const struct route *route, const struct http_result *result, int64_t epoch);
/* The machine has read an item of a list or of a watch. */
void model_told(struct machine *m, const struct route *route, int entry);
void model_list_begins(struct machine *m, const struct route *route);
void model_list_whole(struct machine *m, const struct route *route, int as_of);
void model_watch_opens(struct machine *m, const struct route *route);
void model_knows(struct machine *m, const struct route *route, int entry);
/* Something is submitted to the register, and is on disk. before: NULL when there was no row. */
void model_submits(struct machine *m, const struct history_request *request);
void model_applied(struct machine *m, int job, const struct row *before, const struct history_request *request);
void model_refused(struct machine *m, const struct history_request *request);
void model_lease_written(struct machine *m, int64_t asked_ms, bool given_back);

/* ---- ledger.c: what is on record, and what the metrics say of it ---- */

void ledger_boot(struct machine *m);
void ledger_replaced(struct machine *m);
void ledger_applied(struct machine *m, int job, const struct row *before);
/* Now that all of it has been answered. */
void ledger_check(const struct machine *m);

/* ---- final.c: at the end of a world, when all is well again ---- */

/* Whether there is nothing left to wait for. */
bool final_is_reached(void);
void final_check(void);
int64_t final_patience_ms(void);
