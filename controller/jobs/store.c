#include "jobs/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "jobs/store_pack.h"

static void free_namespace(struct store_namespace *ns) {
    free(ns->name);
    json_decref(ns->json);
    free(ns);
}

static void free_cronjob(struct store_cronjob *cronjob) {
    free(cronjob->uid);
    json_decref(cronjob->active);
    free(cronjob);
}

void store_finish(struct store *store) {
    struct hashset_cursor cursor = {0};
    for (struct store_entry *entry; (entry = store_next(store, &cursor));)
        store_remove(store, entry);
    hashset_finish(&store->jobs);
    intern_finish(&store->texts);
    store_prune_namespaces(store, 0);
    store_prune_cronjobs(store, 0);
}

/* A hash of another text than a UUID serves as one. */
static uint64_t hash_of_uid(const uint64_t uid[2]) {
    return hash_number(uid[0] ^ hash_number(uid[1]));
}

static uint64_t hash_of_entry(const void *item) {
    const struct store_entry *entry = item;
    return hash_of_uid(entry->job.uid);
}

static bool entry_has_key(const void *item, const void *key) {
    return store_key_is_of(key, item);
}

uint32_t store_count(const struct store *store) {
    return store->jobs.len;
}

struct store_entry *store_next(const struct store *store, struct hashset_cursor *cursor) {
    return hashset_next(&store->jobs, cursor);
}

struct store_entry *store_find(const struct store *store, const char *uid) {
    struct store_key key = store_key_of(uid);
    return hashset_find(&store->jobs, hash_of_uid(key.uid), entry_has_key, &key);
}

struct store_entry *store_add(struct store *store, const struct job *job) {
    size_t len = strnlen(job->name, STORE_TEXT_MAX);
    struct store_entry *entry = calloc(1, sizeof *entry + len + 1);
    if (!entry)
        return NULL;
    memcpy(entry->name, job->name, len);
    entry->timer = (struct heap_node)HEAP_NODE_INIT;
    if (store_pack(store, entry, job) < 0 || hashset_add(&store->jobs, entry, hash_of_entry, NULL) < 0) {
        store_pack_drop(store, entry);
        free(entry);
        return NULL;
    }
    return entry;
}

int store_replace_job(struct store *store, struct store_entry *entry, const struct job *job) {
    return store_pack(store, entry, job);
}

void store_remove(struct store *store, struct store_entry *entry) {
    hashset_remove(&store->jobs, entry, hash_of_entry);
    store_pack_drop(store, entry);
    free(entry);
}

static bool same_json(const json_t *a, const json_t *b) {
    return a == b || (a && b && json_equal(a, b));
}

int store_put_namespace(struct store *store, const json_t *object, const char *prefix, uint32_t generation,
        const struct store_namespace **ret, bool *ret_changed, struct error *err) {
    const json_t *metadata = json_object_get(object, "metadata");
    const char *name = json_string_value(json_object_get(metadata, "name"));
    if (!name)
        return error_set(err, ERROR_FORMAT, "a Namespace without a name");
    json_t *json = json_object_get(metadata, "annotations");
    struct store_namespace *ns;
    HASH_FIND_STR(store->namespaces, name, ns);
    *ret_changed = !ns || !same_json(ns->json, json);
    if (!ns) {
        ns = calloc(1, sizeof *ns);
        if (!ns || !(ns->name = strdup(name))) {
            free(ns);
            return error_nomem(err);
        }
        HASH_ADD_KEYPTR(hh, store->namespaces, ns->name, strlen(ns->name), ns);
        if (!hash_added(ns)) {
            free_namespace(ns);
            return error_nomem(err);
        }
    }
    if (*ret_changed) {
        json_decref(ns->json);
        ns->json = json_incref(json);
        annotations_read(ns->json, prefix, &ns->annotations);
    }
    ns->generation = generation;
    *ret = ns;
    return 0;
}

int store_put_cronjob(struct store *store, const json_t *object, bool tells_success, uint32_t generation,
        const struct store_cronjob **ret, bool *ret_changed, struct error *err) {
    const char *uid = json_string_value(json_object_get(json_object_get(object, "metadata"), "uid"));
    const json_t *status = json_object_get(object, "status");
    if (!uid)
        return error_set(err, ERROR_FORMAT, "a CronJob without a uid");
    json_t *active = json_object_get(status, "active");
    bool ok = true;
    int64_t last_success_ms = json_time_member(status, "lastSuccessfulTime", &ok);
    int64_t last_schedule_ms = json_time_member(status, "lastScheduleTime", &ok);
    struct store_cronjob *cronjob;
    HASH_FIND_STR(store->cronjobs, uid, cronjob);
    *ret_changed = !cronjob || !same_json(cronjob->active, active) || cronjob->last_success_ms != last_success_ms ||
                   cronjob->last_schedule_ms != last_schedule_ms;
    if (!cronjob) {
        cronjob = calloc(1, sizeof *cronjob);
        if (!cronjob || !(cronjob->uid = strdup(uid))) {
            free(cronjob);
            return error_nomem(err);
        }
        HASH_ADD_KEYPTR(hh, store->cronjobs, cronjob->uid, strlen(cronjob->uid), cronjob);
        if (!hash_added(cronjob)) {
            free_cronjob(cronjob);
            return error_nomem(err);
        }
    }
    json_incref(active);
    json_decref(cronjob->active);
    cronjob->active = active;
    cronjob->last_success_ms = last_success_ms;
    cronjob->last_schedule_ms = last_schedule_ms;
    cronjob->tells_success = tells_success;
    cronjob->generation = generation;
    *ret = cronjob;
    return 0;
}

void store_remove_namespace(struct store *store, const char *name) {
    struct store_namespace *ns;
    HASH_FIND_STR(store->namespaces, name, ns);
    if (!ns)
        return;
    HASH_DEL(store->namespaces, ns);
    free_namespace(ns);
}

void store_remove_cronjob(struct store *store, const char *uid) {
    struct store_cronjob *cronjob;
    HASH_FIND_STR(store->cronjobs, uid, cronjob);
    if (!cronjob)
        return;
    HASH_DEL(store->cronjobs, cronjob);
    free_cronjob(cronjob);
}

/* Of the same source, and not of this list. */
static bool is_older(uint32_t seen, uint32_t current) {
    const uint32_t source_mask = (1u << STORE_SOURCE_BITS) - 1;
    return seen != current && (seen & source_mask) == (current & source_mask);
}

void store_prune_namespaces(struct store *store, uint32_t generation) {
    struct store_namespace *ns, *next;
    HASH_ITER (hh, store->namespaces, ns, next) {
        if (generation && !is_older(ns->generation, generation))
            continue;
        HASH_DEL(store->namespaces, ns);
        free_namespace(ns);
    }
}

void store_prune_cronjobs(struct store *store, uint32_t generation) {
    struct store_cronjob *cronjob, *next;
    HASH_ITER (hh, store->cronjobs, cronjob, next) {
        if (generation && !is_older(cronjob->generation, generation))
            continue;
        HASH_DEL(store->cronjobs, cronjob);
        free_cronjob(cronjob);
    }
}

static bool is_active(const struct store_cronjob *cronjob, const char *uid) {
    size_t index;
    json_t *reference;
    json_array_foreach (cronjob->active, index, reference) {
        const char *active = json_string_value(json_object_get(reference, "uid"));
        if (active && strcmp(active, uid) == 0)
            return true;
    }
    return false;
}

/* What we have of the CronJob is older than the Job: it will be active there yet. One update of its status has both,
 * the time and the uid. */
static bool is_not_there_yet(const struct store_cronjob *cronjob, const struct job *job) {
    int64_t scheduled_ms = job_schedule_from_name(job);
    return scheduled_ms != TIME_NONE && cronjob->last_schedule_ms != TIME_NONE &&
           scheduled_ms > cronjob->last_schedule_ms;
}

struct guards store_guards(const struct store *store, const struct job *job, enum namespace_view missing) {
    struct guards guards = {.namespace = missing};
    struct store_namespace *ns;
    HASH_FIND_STR(store->namespaces, job->namespace, ns);
    if (ns) {
        guards.namespace = NAMESPACE_KNOWN;
        guards.namespace_annotations = &ns->annotations;
    }
    if (!job_has_cronjob(job) || job->owner_is_loose)
        return guards;
    struct store_cronjob *cronjob;
    HASH_FIND_STR(store->cronjobs, job->owner_uid, cronjob);
    if (!cronjob)
        return guards;
    guards.cronjob_active = is_active(cronjob, job->uid) || is_not_there_yet(cronjob, job);
    guards.cronjob_behind = job->outcome == OUTCOME_SUCCEEDED && cronjob->tells_success &&
                            job->completion_ms != TIME_NONE &&
                            (cronjob->last_success_ms == TIME_NONE || cronjob->last_success_ms < job->completion_ms);
    return guards;
}
