#include "jobs/meters.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* Those of ttl_after_finished_controller_job_deletion_duration_seconds, so that the two can be compared. */
static const struct histogram_scale deletion_scale = {.per_second = 1000,
        .n = 14,
        .upper = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 102400, 204800, 409600, 819200}};

/* A second to a week. */
static const struct histogram_scale duration_scale = {.per_second = 1000,
        .n = 14,
        .upper = {1000, 5000, 15000, 30000, 60000, 300000, 900000, 1800000, 3600000, 10800000, 21600000, 43200000,
                86400000, 604800000}};

/* Of the conditions Complete and Failed, in k8s.io/api/batch/v1; none before 1.30 when it succeeded. */
#define REASONS(outcome) \
    {outcome, ""}, {outcome, "BackoffLimitExceeded"}, {outcome, "DeadlineExceeded"}, {outcome, "PodFailurePolicy"}, \
            {outcome, "FailedIndexes"}, {outcome, "MaxFailedIndexesExceeded"}, {outcome, "CompletionsReached"}, \
            {outcome, "SuccessPolicy"}, { \
        outcome, "Other" \
    }
#define REASONS_COUNT 9

static const struct tally_cells recorded_cells = {.n = 3 * REASONS_COUNT,
        .labels = 2,
        .texts = {REASONS(""), REASONS("Succeeded"), REASONS("Failed")}}; /* in the order of enum outcome */

static const struct tally_cells cause_cells = {.n = 3, .labels = 1, .texts = {{"ttl"}, {"external"}, {"unknown"}}};

int meters_recorded(enum outcome outcome, const char *reason) {
    const char *const(*texts)[TALLY_LABELS_MAX] = &recorded_cells.texts[0];
    int at = 0;
    while (at < REASONS_COUNT - 1 && strcmp(texts[at][1], reason ? reason : "") != 0)
        at++;
    return (int)outcome * REASONS_COUNT + at;
}

int meters_cause(enum run_cause cause) {
    return cause == RUN_CAUSE_TTL ? 0 : cause == RUN_CAUSE_EXTERNAL ? 1 : 2;
}

void meters_init(struct meters *meters) {
    tally_init(&meters->recorded, &recorded_cells);
    tally_init(&meters->deleted, &cause_cells);
    tally_init(&meters->failures, &tally_one_cell);
    meters->finish_to_gone = meters->due_to_deleted = (struct histogram)HISTOGRAM_INIT(&deletion_scale);
    for (int i = 0; i < METERS_OUTCOMES; i++)
        meters->durations[i] = (struct histogram)HISTOGRAM_INIT(&duration_scale);
}

void meters_finish(struct meters *meters) {
    tally_finish(&meters->recorded);
    tally_finish(&meters->deleted);
    tally_finish(&meters->failures);
}

static void note_recorded(struct meters *meters, const struct news *news) {
    const struct run *run = news->run;
    tally_add(&meters->recorded, news->namespace, meters_recorded(run->outcome, run->reason));
    if (run->outcome != OUTCOME_NONE && run->started_at_ms != TIME_NONE && run->finished_at_ms != TIME_NONE)
        histogram_observe(&meters->durations[run->outcome == OUTCOME_SUCCEEDED ? METERS_SUCCEEDED : METERS_FAILED],
                run->finished_at_ms - run->started_at_ms);
}

static void note_deleted(struct meters *meters, const struct news *news) {
    tally_add(&meters->deleted, news->namespace, meters_cause(news->cause));
    if (news->cause != RUN_CAUSE_TTL)
        return;
    if (news->finished_ms != TIME_NONE)
        histogram_observe(&meters->finish_to_gone, news->at_ms - news->finished_ms);
    if (news->due_ms != TIME_NONE)
        histogram_observe(&meters->due_to_deleted, news->at_ms - news->due_ms);
}

static void note_failed(struct meters *meters, const struct news *news) {
    char code[16];
    snprintf(code, sizeof code, "%d", news->status);
    tally_add(&meters->failures, news->withheld ? "withheld" : news->status ? code : "none", 0);
}

void meters_note(struct meters *meters, const struct news *news) {
    switch (news->kind) {
    case NEWS_RECORDED:
        note_recorded(meters, news);
        break;
    case NEWS_DELETED:
        note_deleted(meters, news);
        break;
    case NEWS_FAILED:
        note_failed(meters, news);
        break;
    case NEWS_ACCEPTED:
    case NEWS_DECIDED:
        break;
    }
}
