#include "jobs/reconcile_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/strbuf.h"

struct reconcile_totals reconcile_total(const struct reconcile *r) {
    return r->totals;
}

bool reconcile_is_paused(const struct reconcile *r) {
    return clock_mono_ms() < r->paused_until_ms;
}

/* Which of the numbers it counts in. */
static int64_t *survey_entry(const struct reconcile *r, const struct store_entry *entry, int64_t server_ms,
        struct reconcile_survey *survey) {
    struct store_view view;
    const struct job *job = store_job(entry, &view);
    int64_t since_ms = job->deletion_ms;
    if (since_ms != TIME_NONE && server_ms != TIME_NONE && server_ms - since_ms > survey->oldest_terminating_ms)
        survey->oldest_terminating_ms = server_ms - since_ms;
    if (job->deletion_ms != TIME_NONE || entry->phase == PHASE_CONFIRMING)
        return &survey->terminating;
    struct decision decision = reconcile_decide(r, job);
    switch (decision.action) {
    case ACTION_NONE:
        return &survey->running;
    case ACTION_WAIT:
        return decision.reason == REASON_HELD_UNTIL ? &survey->held : &survey->waiting;
    case ACTION_DELETE:
        return &survey->due;
    case ACTION_KEEP:
        break;
    }
    switch (decision.reason) {
    case REASON_HELD:
        return &survey->held;
    case REASON_NOT_UNDERSTOOD:
    case REASON_DOUBT:
        return &survey->invalid;
    default:
        return &survey->kept;
    }
}

struct reconcile_survey reconcile_survey(const struct reconcile *r) {
    struct reconcile_survey survey = {0};
    int64_t server_ms = skew_server_now(&r->skew, clock_mono_ms());
    struct hashset_cursor cursor = {0};
    for (const struct store_entry *entry; (entry = store_next(&r->store, &cursor));) {
        /* Its end is told, unless this is a dry run, where nothing ends. */
        if (entry->ghost || (entry->counted && !reconcile_is_dry(r)))
            continue;
        ++*survey_entry(r, entry, server_ms, &survey);
    }
    return survey;
}

struct reconcile_counts reconcile_count(const struct reconcile *r) {
    struct reconcile_counts counts = r->counts;
    struct hashset_cursor cursor = {0};
    for (const struct store_entry *entry; (entry = store_next(&r->store, &cursor));) {
        if (entry->ghost)
            continue;
        counts.seen++;
        if (entry->outcome == OUTCOME_NONE) {
            counts.unfinished++;
            continue;
        }
        if (entry->phase == PHASE_CONFIRMING || entry->phase == PHASE_FAILED || entry->counted)
            continue;
        struct store_view view;
        enum action action = reconcile_decide(r, store_job(entry, &view)).action;
        counts.kept += action == ACTION_KEEP;
        counts.waiting += action == ACTION_WAIT;
        counts.pending += action == ACTION_DELETE;
    }
    return counts;
}
