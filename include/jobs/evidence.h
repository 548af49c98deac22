/*
 * evidence: what the register keeps of a Job, taken from its JSON. Pure, any thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "jobs/job.h"
#include "jobs/run.h"

struct evidence_settings {
    const char *prefix;      /* our annotations are always kept */
    const char *labels;      /* globs of label keys to keep */
    const char *annotations; /* the same for annotations */
    bool manifest;           /* keep what is needed to create the Job again */
};

/* json: the Job without managedFields and spec.template; template: the text of the latter, "" when there is none; job:
 * decoded from json. NULL when out of memory. */
struct run *evidence_from_json(const json_t *json, const char *template, size_t template_len, const struct job *job,
        const struct evidence_settings *settings);

/* The little that a decoded Job tells, for one that vanished before its evidence was taken. */
struct run *evidence_from_job(const struct job *job);
