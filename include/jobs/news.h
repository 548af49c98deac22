/*
 * news: what the reconciler has to tell of single Jobs, for those who count and announce. What it is told, nobody needs
 * to act on. Plain data, borrowed for the call.
 */
#pragma once

#include <stdint.h>

#include "jobs/job.h"
#include "jobs/policy.h"
#include "jobs/run.h"

enum news_kind {
    NEWS_RECORDED, /* a run is on record, for the first time since the start: run */
    NEWS_DELETED,  /* the end of a Job is on record: namespace, cause, finished_ms, due_ms, at_ms. Once for each Job */
    NEWS_ACCEPTED, /* the API server took our DELETE: job */
    NEWS_FAILED,   /* a DELETE was not taken: job, status, withheld, message */
    NEWS_DECIDED   /* another decision than before, of a Job that finished: job, decision */
};

struct news {
    enum news_kind kind;
    const struct job *job;
    const struct decision *decision;
    const struct run *run;
    const char *namespace; /* always */
    enum run_cause cause;
    int64_t finished_ms, due_ms, at_ms; /* TIME_NONE: not known. at_ms: when it was gone, on the API server's clock */
    int status;                         /* HTTP status, 0: no answer came */
    bool withheld;                      /* it did not leave: something changed at the last moment */
    const char *message;
};
