/*
 * job: what is looked at of a Job, and how it is read from what came in.
 *
 * Plain data, whose strings are borrowed: by job_decode from the job_object, by store_job (jobs/store.h) from the
 * store. Pure, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "jobs/annotations.h"
#include "jobs/job_object.h"
#include "jobs/run.h"

#define SPEC_TTL_NONE (-1)
#define OWNER_TEXT_MAX 384 /* bytes with NUL: a Kind (63 characters), a dot, a group (253), and some that are odd */

/* Whose hook a Job is, by its annotation. */
enum hook_tool { HOOK_NONE, HOOK_HELM, HOOK_ARGOCD };

struct job {
    const char *namespace, *name, *uid, *resource_version;
    const char *owner_kind, *owner_name, *owner_uid; /* the controlling owner, or a CronJob, or NULL */
    const char *owner_api;                           /* its apiVersion; NULL: of the group batch, or no owner */
    const char *hook;                                /* value of the annotation that makes it a hook; NULL: none */
    const char *finalizers;                          /* of a terminating Job, "a, b"; or NULL */
    int64_t created_ms, started_ms, finished_ms, completion_ms, deletion_ms; /* Unix ms, TIME_NONE */
    int64_t spec_ttl_s;                                                      /* seconds, SPEC_TTL_NONE */
    const char *doubt; /* NULL, or what makes it impossible to be sure about this Job (static text) */
    struct annotations annotations;
    enum outcome outcome; /* OUTCOME_NONE: not finished */
    uint8_t hook_tool;    /* enum hook_tool */
    bool owner_is_loose;  /* the owner, a CronJob, is not marked as the controller: it does not look after this Job */
};

/* Fails only when the Job cannot even be told apart (no namespace, name or uid): everything else that is wrong is a
 * doubt. prefix: the annotation prefix. object must outlive *ret, and stay where it is. */
int job_decode(const struct job_object *object, const char *prefix, struct job *ret, struct error *err) must_check;

bool job_is_finished(const struct job *job);
/* Whether it belongs to a CronJob (of the group batch). */
bool job_has_cronjob(const struct job *job);
/* The CronJob controller names a Job after the time it was scheduled for: minutes since the epoch, before 1.21 seconds.
 * TIME_NONE when the name says nothing that could be one. */
int64_t job_schedule_from_name(const struct job *job);
/* "JobSet.jobset.x-k8s.io": the owner's kind and group, as `owners` names them; "Node" for the core group, which has no
 * name. The Job must have an owner. Returns buf. */
const char *job_owner_text(const struct job *job, char buf[OWNER_TEXT_MAX]);
/* The annotation that makes a Job this tool's hook, and the tool's name for people; NULL for HOOK_NONE. */
const char *hook_annotation(enum hook_tool tool);
const char *hook_tool_name(enum hook_tool tool);
