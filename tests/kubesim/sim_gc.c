#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sim_gc.h"

#include "sim_util.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

enum { CHORE_DELAY_MS = 50 };

enum chore_kind { CHORE_COLLECT, CHORE_FOREGROUND, CHORE_ORPHAN, CHORE_NAMESPACE, CHORE_SETTLE };

struct chore {
    int64_t due_ms;
    enum chore_kind kind;
    enum sim_resource_id resource;
    char *ns;
    char *name;       /* of the object; of the CronJob for CHORE_SETTLE */
    char *uid;        /* of the object; of the Job for CHORE_SETTLE */
    char *completion; /* CHORE_SETTLE: completionTime of a success, else NULL */
};

struct sim_gc {
    struct sim_store *store;
    int64_t settle_ms;
    struct chore *chores;
    size_t count;
    size_t capacity;
};

struct sim_gc *sim_gc_create(struct sim_store *store, int64_t settle_ms) {
    struct sim_gc *gc = sim_alloc(sizeof(*gc));

    gc->store = store;
    gc->settle_ms = settle_ms;
    return gc;
}

static void chore_clear(struct chore *chore) {
    free(chore->ns);
    free(chore->name);
    free(chore->uid);
    free(chore->completion);
}

void sim_gc_destroy(struct sim_gc *gc) {
    if (!gc)
        return;
    for (size_t i = 0; i < gc->count; i++)
        chore_clear(&gc->chores[i]);
    free(gc->chores);
    free(gc);
}

static struct chore *chore_add(
        struct sim_gc *gc, enum chore_kind kind, int64_t delay_ms, const char *ns, const char *name, const char *uid) {
    if (gc->count == gc->capacity) {
        gc->capacity = gc->capacity ? gc->capacity * 2 : 64;
        gc->chores = realloc(gc->chores, gc->capacity * sizeof(*gc->chores));
        if (!gc->chores)
            abort();
    }
    struct chore *chore = &gc->chores[gc->count++];

    *chore = (struct chore){.due_ms = sim_mono_ms() + delay_ms, .kind = kind};
    chore->ns = sim_strdup(ns);
    chore->name = sim_strdup(name);
    chore->uid = sim_strdup(uid);
    return chore;
}

/* The name of the CronJob that controls it, borrowed; NULL if none does. */
static const char *cronjob_of(const json_t *job) {
    json_t *ref;
    size_t i;

    json_array_foreach (json_object_get(json_object_get(job, "metadata"), "ownerReferences"), i, ref) {
        const char *kind = json_string_value(json_object_get(ref, "kind"));

        if (kind && strcmp(kind, "CronJob") == 0 && json_is_true(json_object_get(ref, "controller")))
            return json_string_value(json_object_get(ref, "name"));
    }
    return NULL;
}

static bool job_has_condition(const json_t *job, const char *type) {
    json_t *condition;
    size_t i;

    json_array_foreach (json_object_get(json_object_get(job, "status"), "conditions"), i, condition) {
        const char *its = json_string_value(json_object_get(condition, "type"));
        const char *status = json_string_value(json_object_get(condition, "status"));

        if (its && status && strcmp(its, type) == 0 && strcmp(status, "True") == 0)
            return true;
    }
    return false;
}

static void settle_queue(struct sim_gc *gc, const struct sim_version *version, bool gone) {
    if (gc->settle_ms <= 0 || !version->owners)
        return;
    json_t *job = sim_version_object(version);
    const char *cronjob = cronjob_of(job);
    bool complete = job_has_condition(job, "Complete");

    if (cronjob && (gone || complete || job_has_condition(job, "Failed"))) {
        struct chore *chore = chore_add(gc, CHORE_SETTLE, gc->settle_ms, version->ns, cronjob, version->uid);
        const char *time = json_string_value(json_object_get(json_object_get(job, "status"), "completionTime"));

        chore->completion = complete && time && !gone ? sim_strdup(time) : NULL;
    }
    json_decref(job);
}

void sim_gc_job_changed(struct sim_gc *gc, const struct sim_version *job) {
    settle_queue(gc, job, false);
}

void sim_gc_removed(struct sim_gc *gc, const struct sim_resource *res, const struct sim_version *gone) {
    if (res->id == SIM_JOBS)
        settle_queue(gc, gone, true);
    if (res->id == SIM_JOBS || res->id == SIM_CRONJOBS || gone->owners)
        chore_add(gc, CHORE_COLLECT, CHORE_DELAY_MS, gone->ns, gone->name, gone->uid);
}

void sim_gc_terminating(struct sim_gc *gc, const struct sim_resource *res, const struct sim_version *version,
        enum sim_propagation propagation) {
    enum chore_kind kind = res->id == SIM_NAMESPACES                 ? CHORE_NAMESPACE
                           : propagation == SIM_PROPAGATE_FOREGROUND ? CHORE_FOREGROUND
                                                                     : CHORE_ORPHAN;

    chore_add(gc, kind, CHORE_DELAY_MS, version->ns, version->name, version->uid)->resource = res->id;
}

static int text_compare(const void *a, const void *b) {
    return strcmp(a, b);
}

static bool version_is_owned(const struct sim_version *version, void *const *uids) {
    bool owned = false;
    char *owners;
    char *rest;

    if (!version->owners)
        return false;
    owners = sim_strdup(version->owners);
    rest = owners;
    for (char *uid = strsep(&rest, ","); uid && !owned; uid = strsep(&rest, ","))
        owned = *uid && tfind(uid, uids, text_compare) != NULL;
    free(owners);
    return owned;
}

/* The owner itself may still be there: then it is its finalizer that waits. */
static void version_orphan(
        struct sim_gc *gc, const struct sim_resource *res, struct sim_version *version, const char *uid) {
    json_t *object = sim_version_object(version);
    json_t *metadata = json_object_get(object, "metadata");
    json_t *refs = json_object_get(metadata, "ownerReferences");

    for (size_t i = json_array_size(refs); i-- > 0;) {
        const char *its = json_string_value(json_object_get(json_array_get(refs, i), "uid"));

        if (its && strcmp(its, uid) == 0)
            json_array_remove(refs, i);
    }
    if (json_array_size(refs) == 0)
        json_object_del(metadata, "ownerReferences");
    sim_store_replace(gc->store, res, version, object);
    json_decref(object);
}

/* Deletes what these uids own, or with orphan set cuts it loose. Returns how many dependents are still there. */
static size_t dependents_treat(struct sim_gc *gc, void *const *uids, const char *orphan) {
    static const enum sim_resource_id kinds[] = {SIM_JOBS, SIM_PODS};
    size_t remaining = 0;

    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        const struct sim_resource *res = sim_store_resource(gc->store, kinds[k]);
        size_t count;
        struct sim_version **items = sim_store_list(gc->store, res, NULL, NULL, NULL, &count);

        for (size_t i = 0; i < count; i++) {
            if (version_is_owned(items[i], uids)) {
                if (orphan)
                    version_orphan(gc, res, items[i], orphan);
                else if (items[i]->terminating || sim_store_delete(gc->store, res, items[i], SIM_PROPAGATE_BACKGROUND))
                    remaining++;
            }
            sim_version_unref(items[i]);
        }
        free(items);
    }
    return remaining;
}

static void finalizer_drop(struct sim_gc *gc, const struct chore *chore, const char *finalizer) {
    const struct sim_resource *res = sim_store_resource(gc->store, chore->resource);
    struct sim_version *version = sim_store_get(gc->store, res, chore->ns, chore->name);

    if (!version || strcmp(version->uid, chore->uid) != 0)
        return;
    json_t *object = sim_version_object(version);
    json_t *finalizers = json_object_get(json_object_get(object, "metadata"), "finalizers");

    for (size_t i = json_array_size(finalizers); i-- > 0;) {
        const char *its = json_string_value(json_array_get(finalizers, i));

        if (its && strcmp(its, finalizer) == 0)
            json_array_remove(finalizers, i);
    }
    sim_store_settle(gc->store, res, version, object);
    json_decref(object);
}

static void chore_namespace(struct sim_gc *gc, const struct chore *chore) {
    const struct sim_resource *res = sim_store_resource(gc->store, SIM_NAMESPACES);
    struct sim_version *version;
    size_t remaining = 0;

    for (int k = 0; k < SIM_RESOURCE_COUNT; k++) {
        const struct sim_resource *content = sim_store_resource(gc->store, (enum sim_resource_id)k);
        size_t count;
        struct sim_version **items;

        if (!content->namespaced)
            continue;
        items = sim_store_list(gc->store, content, chore->name, NULL, NULL, &count);
        for (size_t i = 0; i < count; i++) {
            if (items[i]->terminating || sim_store_delete(gc->store, content, items[i], SIM_PROPAGATE_BACKGROUND))
                remaining++;
            sim_version_unref(items[i]);
        }
        free(items);
    }
    version = sim_store_get(gc->store, res, "", chore->name);
    if (!version || strcmp(version->uid, chore->uid) != 0)
        return;
    if (remaining > 0)
        chore_add(gc, CHORE_NAMESPACE, CHORE_DELAY_MS, "", chore->name, chore->uid)->resource = SIM_NAMESPACES;
    else
        sim_store_remove(gc->store, res, version);
}

static void chore_settle(struct sim_gc *gc, const struct chore *chore) {
    const struct sim_resource *res = sim_store_resource(gc->store, SIM_CRONJOBS);
    struct sim_version *version = sim_store_get(gc->store, res, chore->ns, chore->name);

    if (!version)
        return;
    json_t *object = sim_version_object(version);
    json_t *status = json_object_get(object, "status");
    json_t *active = json_object_get(status, "active");
    bool was_active = false;

    for (size_t i = json_array_size(active); i-- > 0;) {
        const char *uid = json_string_value(json_object_get(json_array_get(active, i), "uid"));

        if (uid && strcmp(uid, chore->uid) == 0) {
            json_array_remove(active, i);
            was_active = true;
        }
    }
    if (was_active) {
        if (json_array_size(active) == 0)
            json_object_del(status, "active");
        /* CronJobStatus.lastSuccessfulTime came with 1.21, as did batch/v1. */
        if (chore->completion && strcmp(res->version, "v1") == 0)
            json_object_set_new(status, "lastSuccessfulTime", json_string(chore->completion));
        sim_store_replace(gc->store, res, version, object);
    }
    json_decref(object);
}

static void chore_run(struct sim_gc *gc, const struct chore *chore) {
    void *uids = NULL;

    switch (chore->kind) {
    case CHORE_COLLECT:
        break;
    case CHORE_FOREGROUND:
    case CHORE_ORPHAN:
        if (!tsearch(chore->uid, &uids, text_compare))
            abort();
        if (chore->kind == CHORE_ORPHAN) {
            dependents_treat(gc, &uids, chore->uid);
            finalizer_drop(gc, chore, "orphan");
        } else if (dependents_treat(gc, &uids, NULL) > 0) {
            chore_add(gc, CHORE_FOREGROUND, CHORE_DELAY_MS, chore->ns, chore->name, chore->uid)->resource =
                    chore->resource;
        } else {
            finalizer_drop(gc, chore, "foregroundDeletion");
        }
        tdelete(chore->uid, &uids, text_compare);
        break;
    case CHORE_NAMESPACE:
        chore_namespace(gc, chore);
        break;
    case CHORE_SETTLE:
        chore_settle(gc, chore);
        break;
    }
}

static void tree_keep(void *uid) {
    (void)uid;
}

void sim_gc_tick(struct sim_gc *gc) {
    int64_t now = sim_mono_ms();
    struct chore *due = sim_alloc((gc->count + 1) * sizeof(*due));
    size_t due_count = 0;
    size_t kept = 0;
    void *uids = NULL;

    for (size_t i = 0; i < gc->count; i++) {
        if (gc->chores[i].due_ms <= now)
            due[due_count++] = gc->chores[i];
        else
            gc->chores[kept++] = gc->chores[i];
    }
    gc->count = kept;
    /* One pass over the dependents for all owners gone since the last tick: thousands go at once in a bench. */
    for (size_t i = 0; i < due_count; i++) {
        if (due[i].kind == CHORE_COLLECT && !tsearch(due[i].uid, &uids, text_compare))
            abort();
    }
    if (uids)
        dependents_treat(gc, &uids, NULL);
    tdestroy(uids, tree_keep);
    for (size_t i = 0; i < due_count; i++) {
        chore_run(gc, &due[i]);
        chore_clear(&due[i]);
    }
    free(due);
}
