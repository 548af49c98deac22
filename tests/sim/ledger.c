/*
 * What a process has put on record since it began, counted by the register's rows alone: its metrics must say the same.
 * Not of a process whose register was taken away under it: there, what is on record is less than what was.
 */
#include "machine.h"
#include "model.h"

#include <string.h>

#include "cluster.h"
#include "jobs/meters.h"

void ledger_boot(struct machine *m) {
    m->ledger = (struct ledger){.void_for_good = false};
}

void ledger_replaced(struct machine *m) {
    m->ledger.void_for_good = true;
}

void ledger_applied(struct machine *m, int job, const struct row *before) {
    struct row *row = machine_row(m, job);
    int namespace = world->jobs[job].namespace;
    m->ledger.recorded[namespace] += !before;
    if (row->fate.policy.state != RUN_DELETED)
        return;
    if (!before || before->fate.policy.state != RUN_DELETED)
        row->ended_in_boot = m->boot;
    else if (row->ended_in_boot == m->boot)
        m->ledger.deleted[namespace][before->fate.cause]--;
    if (row->ended_in_boot == m->boot)
        m->ledger.deleted[namespace][row->fate.cause]++;
}

static void compare(const struct machine *m, const char *what, int namespace, uint64_t counted, int64_t rows) {
    if (counted != (uint64_t)rows)
        violated(COUNTED, "machine %d has counted %llu %s in %s, and put %lld on record", m->index,
                (unsigned long long)counted, what, namespace_names[namespace], (long long)rows);
}

void ledger_check(const struct machine *m) {
    static const enum run_cause causes[] = {RUN_CAUSE_TTL, RUN_CAUSE_EXTERNAL, RUN_CAUSE_UNKNOWN};
    if (!m->engine || m->ledger.void_for_good)
        return;
    const struct meters *meters = engine_parts(m->engine).meters;
    for (int namespace = 0; namespace < NAMESPACES; namespace ++) {
        const char *name = namespace_names[namespace];
        uint64_t recorded = 0;
        for (int cell = 0; cell < meters->recorded.cells->n; cell++)
            recorded += tally_count(&meters->recorded, name, cell);
        compare(m, "records", namespace, recorded, m->ledger.recorded[namespace]);
        uint64_t counted = 0;
        int64_t rows = 0;
        for (int i = 0; i < 3; i++) {
            uint64_t one = tally_count(&meters->deleted, name, meters_cause(causes[i]));
            int64_t ended = m->ledger.deleted[namespace][causes[i]];
            /* A Job that was not in a list that was old is deleted after all, and the row gets its true cause. */
            if (!world->flavor.unfaithful)
                compare(m, run_cause_name(causes[i]), namespace, one, ended);
            counted += one;
            rows += ended;
        }
        compare(m, "deletions", namespace, counted, rows);
    }
}
