/*
 * cluster: the simulated API server of a test, its objects, and what was asked of it. One at a time.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "harness.h"

/* options: further arguments, NULL-terminated, or NULL. */
void sim_start(const char *const options[]);
/* One that does not speak protobuf: for what only JSON can say. */
#define SIM_JSON_ONLY ((const char *const[]){"--no-protobuf", NULL})
/* Where it listens; with sim_stop and sim_start_at it comes back there. */
int sim_port(void);
void sim_stop(void);
/* SIGKILL, SIGSTOP, SIGCONT. */
void sim_signal(int number);
void sim_start_at(int port, const char *const options[]);
const char *sim_kubeconfig(void);
/* From now on the kubeconfig leads to this port, with what else it says as it was. */
void sim_redirect(int to);
const char *sim_url(void);

/* Any request: the status, and the body as JSON (borrowed until the next; NULL when it is none) in *ret if that is not
 * NULL. */
int sim_request(const char *method, const char *path, const char *body, const json_t **ret);
/* A GET that must succeed. */
const json_t *sim_get(const char *path);

/* Fault rules: a JSON array with ' for ". */
void sim_faults(const char *rules);
void sim_clear_faults(void);
int64_t sim_fault_hits(int rule);
void sim_set_clock(int64_t skew_ms);
void sim_compact(void);
void sim_load(const char *json);

/* How often, without the requests of this process: "jobs", "list". resource "": discovery. */
int64_t sim_count(const char *resource, const char *verb);
int64_t sim_count_code(const char *code);
/* But for those about Leases and Events, which come and go with time. */
int64_t sim_total(void);
int64_t sim_open_watches(const char *resource);
int64_t sim_objects(const char *resource);
int64_t sim_protobuf_sent(void); /* answers */

/* ---- certificates ---- */

/* In the test's folder. */
void openssl(const char *arguments);
/* NAME.crt and NAME.key, signed by itself. */
void make_certificate(const char *name, const char *subject, const char *more);

/* ---- Jobs ---- */

struct job_spec {
    const char *ns; /* NULL: "shop" */
    const char *name;
    bool running; /* not finished */
    bool failed;
    int64_t ended_s;                             /* how many seconds ago; less than 0: in the future */
    const char *annotations, *labels, *metadata; /* members of the objects, with ' for ", or NULL */
    const char *spec;                            /* the same */
    const char *uid;                             /* NULL: a new one */
};

struct job {
    const char *ns, *name, *uid;
    int64_t ended_ms;
};

/* Creates or replaces it, at once in the state that is asked for. */
#define put_job(...) sim_put_job(&(struct job_spec){__VA_ARGS__})
struct job sim_put_job(const struct job_spec *spec);
void put_namespace(const char *name, const char *annotations);
bool job_exists(const struct job *job);
void patch_job(const struct job *job, const char *patch);
void delete_job(const struct job *job);

/* DELETE requests for it, whatever became of them. */
struct deletion {
    int count, done; /* requests, and those that were answered with 200 */
    int64_t first_ms, last_ms;
    int last_code;
    const char *uid, *resource_version, *propagation; /* of the last */
};
struct deletion deletions_of(const struct job *job);
/* All requests, at most max times in order; returns how many. */
int deletion_times(int64_t *times, int max);
