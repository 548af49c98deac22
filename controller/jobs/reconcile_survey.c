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
static int64_t *survey_entry(
        const struct reconcile *r, const struct store_entry *entry, struct reconcile_survey *survey) {
    const struct job *job = entry->job;
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
    for (const struct store_entry *entry = r->store.entries; entry; entry = entry->hh.next) {
        /* Its end is told, unless this is a dry run, where nothing ends. */
        if (entry->ghost || (entry->counted && !reconcile_is_dry(r)))
            continue;
        ++*survey_entry(r, entry, &survey);
        int64_t since_ms = entry->job->deletion_ms;
        if (since_ms != TIME_NONE && server_ms != TIME_NONE && server_ms - since_ms > survey.oldest_terminating_ms)
            survey.oldest_terminating_ms = server_ms - since_ms;
    }
    return survey;
}

struct reconcile_counts reconcile_count(const struct reconcile *r) {
    struct reconcile_counts counts = r->counts;
    for (const struct store_entry *entry = r->store.entries; entry; entry = entry->hh.next) {
        if (entry->ghost)
            continue;
        counts.seen++;
        if (!job_is_finished(entry->job)) {
            counts.unfinished++;
            continue;
        }
        if (entry->phase == PHASE_CONFIRMING || entry->phase == PHASE_FAILED || entry->counted)
            continue;
        enum action action = reconcile_decide(r, entry->job).action;
        counts.kept += action == ACTION_KEEP;
        counts.waiting += action == ACTION_WAIT;
        counts.pending += action == ACTION_DELETE;
    }
    return counts;
}
