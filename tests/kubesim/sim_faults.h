/*
 * sim_faults: rules that say which requests go wrong, and how. README.md has their form.
 *
 * The rules are read and changed locked. An action is immutable and counted, since a reply keeps its own while the
 * rules are replaced; references may be taken and dropped without the lock.
 */
#ifndef KUBESIM_SIM_FAULTS_H
#define KUBESIM_SIM_FAULTS_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_action {
    atomic_uint refs;
    int status; /* 0: as it would be */
    char *message;
    char *reason;
    char *content_type;
    char *body; /* NULL: a Status, or what would be sent */
    size_t body_length;
    char *retry_after;
    int64_t truncate_after; /* bytes of body; -1: never */
    int64_t stall_after;    /* the same */
    int64_t delay_ms;
    int64_t bytes_per_write; /* 0: as many as there are */
    int64_t write_every_ms;
    int64_t watch_end_after_ms; /* -1: never */
    char *raw;
    size_t raw_length;
    bool drop;
    bool apply_then_drop;
    bool reset; /* connections that are cut get a RST */
    bool watch_gone;
    bool duplicate;
    bool reorder;
    bool deny;
};

/* What a rule is matched with. Strings are borrowed and never NULL. */
struct sim_call {
    const char *verb;
    const char *resource; /* "jobs", "jobs/status"; "" for what is not a resource */
    const char *ns;
    const char *name;
    const char *path;
};

struct sim_faults;

struct sim_faults *sim_faults_create(void);
void sim_faults_destroy(struct sim_faults *faults);

/* Adds the rules of a JSON array, or none of them: then false and *ret_error, to be freed. */
bool sim_faults_add(struct sim_faults *faults, const json_t *rules, char **ret_error);
void sim_faults_clear(struct sim_faults *faults);

/* The rules as they were given, each with "hits". A new reference. */
json_t *sim_faults_list(const struct sim_faults *faults);

/* The action of the first rule that applies, counting it as used; a reference. NULL: nothing goes wrong. */
struct sim_action *sim_faults_take(struct sim_faults *faults, const struct sim_call *call);

/* The same among rules marked "live", for a watch that is under way. */
struct sim_action *sim_faults_take_live(struct sim_faults *faults, const struct sim_call *call);

/* Is it denied by a rule? For access reviews; counts nothing. */
bool sim_faults_denied(const struct sim_faults *faults, const struct sim_call *call);

struct sim_action *sim_action_ref(struct sim_action *action);
void sim_action_unref(struct sim_action *action);

#endif
