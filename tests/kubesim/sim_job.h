/*
 * sim_job: Jobs and Pods as a cluster has them, written as JSON text, and any number of finished Jobs for benches.
 *
 * The texts are as the store wants them (see sim_store_insert_text): normalized, without kind and apiVersion, and with
 * "resourceVersion":"0". They are padded the way real ones are: each environment variable stands once in the template
 * and once in managedFields.
 */
#ifndef KUBESIM_SIM_JOB_H
#define KUBESIM_SIM_JOB_H

#include "sim.h"

/* Times are Unix ms, 0: not yet. Strings must need no escaping in JSON. */
struct sim_job {
    const char *ns;
    const char *name;
    const char *uid;
    const char *app;
    const char *image;
    const char *command;
    const char *annotations; /* members of an object, as JSON text; NULL: none */
    const char *cronjob;     /* NULL: not owned by one */
    const char *cronjob_uid;
    int64_t scheduled_ms;
    int64_t created_ms;
    int64_t finished_ms;
    const char *reason; /* of a failure; NULL: it succeeded */
    const char *message;
    int64_t ttl_s;      /* spec.ttlSecondsAfterFinished; -1: none */
    int64_t deadline_s; /* spec.activeDeadlineSeconds; 0: none */
    int64_t backoff_limit;
    const char *env; /* from sim_job_env, and so on */
    const char *managed_env;
};

/* Members of an env array, and of its managedFields, for count variables; to be freed. */
char *sim_job_env(int64_t count);
char *sim_job_managed_env(int64_t count);

/* All to be freed. The status alone is an object of its own. */
char *sim_job_write(const struct sim_job *job);
char *sim_job_write_status(const struct sim_job *job);
char *sim_job_write_pod(const struct sim_job *job, const char *pod_name, const char *pod_uid);

/* Locked. What --jobs asks for: finished Jobs without Pods, all of them past the default TTLs. */
void sim_job_generate(struct sim *sim);

#endif
