/*
 * evidence: what the register keeps of a Job, taken from what came in. Pure, any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "jobs/job.h"
#include "jobs/job_object.h"
#include "jobs/run.h"

struct evidence_settings {
    const char *prefix;      /* our annotations are always kept */
    const char *labels;      /* globs of label keys to keep */
    const char *annotations; /* the same for annotations */
    bool manifest;           /* keep what is needed to create the Job again */
};

/* job: decoded from object. The manifest needs the template's text: of a Job that did not come as JSON there is none.
 * NULL when out of memory. */
struct run *evidence_from_object(
        const struct job_object *object, const struct job *job, const struct evidence_settings *settings);

/* The little that a decoded Job tells, for one that vanished before its evidence was taken. */
struct run *evidence_from_job(const struct job *job);
