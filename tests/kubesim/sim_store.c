#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sim_store.h"

#include "sim_gc.h"
#include "sim_journal.h"
#include "sim_select.h"
#include "sim_util.h"

#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SNAPSHOT_LIMIT = 64,             /* paged lists under way at once; beyond it the oldest gets 410 */
    SNAPSHOT_AGE_MS = 5 * 60 * 1000, /* etcd's compaction interval under kube-apiserver */
};

struct event_log {
    struct sim_event *ring;
    uint64_t first;
    uint64_t end;
    uint64_t floor_rv; /* events up to here are gone */
};

struct sim_store {
    struct sim_resource resources[SIM_RESOURCE_COUNT];
    void *trees[SIM_RESOURCE_COUNT]; /* tsearch(3) trees of struct sim_version, by key */
    size_t counts[SIM_RESOURCE_COUNT];
    struct event_log logs[SIM_RESOURCE_COUNT];
    size_t window;
    uint64_t rv;
    uint64_t snapshot_id;
    struct sim_snapshot snapshots[SNAPSHOT_LIMIT];
    struct sim_gc *gc;
    struct sim_journal *journal;
    pthread_cond_t *changed;
};

static const struct sim_resource resource_table[SIM_RESOURCE_COUNT] = {
        {.id = SIM_NAMESPACES,
                .plural = "namespaces",
                .singular = "namespace",
                .kind = "Namespace",
                .group = "",
                .version = "v1",
                .api_version = "v1",
                .short_name = "ns",
                .qualified = "namespaces",
                .prefix = "{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",",
                .has_status = true,
                .blind_update = true,
                .propagation = SIM_PROPAGATE_BACKGROUND},
        {.id = SIM_JOBS,
                .plural = "jobs",
                .singular = "job",
                .kind = "Job",
                .group = "batch",
                .version = "v1",
                .api_version = "batch/v1",
                .qualified = "jobs.batch",
                .prefix = "{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\",",
                .namespaced = true,
                .has_status = true,
                .blind_update = true,
                .propagation = SIM_PROPAGATE_ORPHAN},
        {.id = SIM_CRONJOBS,
                .plural = "cronjobs",
                .singular = "cronjob",
                .kind = "CronJob",
                .group = "batch",
                .version = "v1",
                .api_version = "batch/v1",
                .short_name = "cj",
                .qualified = "cronjobs.batch",
                .prefix = "{\"kind\":\"CronJob\",\"apiVersion\":\"batch/v1\",",
                .namespaced = true,
                .has_status = true,
                .blind_update = true,
                .propagation = SIM_PROPAGATE_BACKGROUND},
        {.id = SIM_PODS,
                .plural = "pods",
                .singular = "pod",
                .kind = "Pod",
                .group = "",
                .version = "v1",
                .api_version = "v1",
                .short_name = "po",
                .qualified = "pods",
                .prefix = "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",",
                .namespaced = true,
                .has_status = true,
                .blind_update = true,
                .propagation = SIM_PROPAGATE_BACKGROUND},
        {.id = SIM_LEASES,
                .plural = "leases",
                .singular = "lease",
                .kind = "Lease",
                .group = "coordination.k8s.io",
                .version = "v1",
                .api_version = "coordination.k8s.io/v1",
                .qualified = "leases.coordination.k8s.io",
                .prefix = "{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\",",
                .namespaced = true,
                .update_creates = true,
                .propagation = SIM_PROPAGATE_BACKGROUND},
        {.id = SIM_EVENTS,
                .plural = "events",
                .singular = "event",
                .kind = "Event",
                .group = "events.k8s.io",
                .version = "v1",
                .api_version = "events.k8s.io/v1",
                .short_name = "ev",
                .qualified = "events.events.k8s.io",
                .prefix = "{\"kind\":\"Event\",\"apiVersion\":\"events.k8s.io/v1\",",
                .namespaced = true,
                .update_creates = true,
                .blind_update = true,
                .propagation = SIM_PROPAGATE_BACKGROUND},
};

struct sim_store *sim_store_create(
        const char *cronjob_version, size_t watch_window, uint64_t first_rv, pthread_cond_t *changed) {
    struct sim_store *store = sim_alloc(sizeof(*store));

    memcpy(store->resources, resource_table, sizeof(resource_table));
    if (strcmp(cronjob_version, "v1beta1") == 0) {
        struct sim_resource *cron = &store->resources[SIM_CRONJOBS];

        cron->version = "v1beta1";
        cron->api_version = "batch/v1beta1";
        cron->prefix = "{\"kind\":\"CronJob\",\"apiVersion\":\"batch/v1beta1\",";
        cron->propagation = SIM_PROPAGATE_ORPHAN;
    }
    store->window = watch_window ? watch_window : 1;
    store->rv = first_rv;
    store->changed = changed;
    for (int i = 0; i < SIM_RESOURCE_COUNT; i++) {
        store->logs[i].ring = sim_alloc(store->window * sizeof(struct sim_event));
        store->logs[i].floor_rv = first_rv;
    }
    return store;
}

static void log_clear(struct sim_store *store, struct event_log *log) {
    for (; log->first < log->end; log->first++) {
        struct sim_event *event = &log->ring[log->first % store->window];

        sim_version_unref(event->now);
        sim_version_unref(event->before);
    }
    log->floor_rv = store->rv;
}

static void snapshot_clear(struct sim_snapshot *snapshot) {
    for (size_t i = 0; i < snapshot->count; i++)
        sim_version_unref(snapshot->items[i]);
    free(snapshot->items);
    memset(snapshot, 0, sizeof(*snapshot));
}

void sim_store_compact(struct sim_store *store) {
    for (int i = 0; i < SIM_RESOURCE_COUNT; i++)
        log_clear(store, &store->logs[i]);
    for (int i = 0; i < SNAPSHOT_LIMIT; i++)
        snapshot_clear(&store->snapshots[i]);
}

static void tree_free_version(void *version) {
    sim_version_unref(version);
}

void sim_store_destroy(struct sim_store *store) {
    if (!store)
        return;
    sim_store_compact(store);
    for (int i = 0; i < SIM_RESOURCE_COUNT; i++) {
        tdestroy(store->trees[i], tree_free_version);
        free(store->logs[i].ring);
    }
    free(store);
}

void sim_store_set_gc(struct sim_store *store, struct sim_gc *gc) {
    store->gc = gc;
}

void sim_store_set_journal(struct sim_store *store, struct sim_journal *journal) {
    store->journal = journal;
}

const struct sim_resource *sim_store_resource(const struct sim_store *store, enum sim_resource_id id) {
    return &store->resources[id];
}

const struct sim_resource *sim_store_resource_by_kind(const struct sim_store *store, const char *kind) {
    for (int i = 0; i < SIM_RESOURCE_COUNT; i++) {
        if (strcmp(store->resources[i].kind, kind) == 0)
            return &store->resources[i];
    }
    return NULL;
}

uint64_t sim_store_rv(const struct sim_store *store) {
    return store->rv;
}

size_t sim_store_count(const struct sim_store *store, enum sim_resource_id id) {
    return store->counts[id];
}

/* ---- versions ---- */

struct sim_version *sim_version_ref(struct sim_version *version) {
    atomic_fetch_add(&version->refs, 1);
    return version;
}

void sim_version_unref(struct sim_version *version) {
    if (!version || atomic_fetch_sub(&version->refs, 1) != 1)
        return;
    free(version->key);
    free(version->ns);
    free(version->uid);
    free(version->owners);
    json_decref(version->labels);
    free(version->text);
    free(version->proto);
    free(version);
}

json_t *sim_version_object(const struct sim_version *version) {
    json_t *object = json_loadb(version->text, version->length, JSON_ALLOW_NUL, NULL);

    if (!object)
        abort();
    return object;
}

/* Takes text, key is made, the rest is copied. */
static struct sim_version *version_create(uint64_t rv, const char *ns, const char *name, const char *uid, char *text) {
    static const char mark[] = "\"resourceVersion\":\"";
    struct sim_version *version = sim_alloc(sizeof(*version));
    /* Normalized metadata comes first, and a quote within a string is escaped: the first hit is the key itself. */
    const char *at = strstr(text, mark);

    if (!at)
        abort();
    atomic_init(&version->refs, 1);
    version->rv = rv;
    version->key = *ns ? sim_format("%s/%s", ns, name) : sim_strdup(name);
    version->ns = sim_strdup(ns);
    version->name = version->key + (*ns ? strlen(ns) + 1 : 0);
    version->uid = sim_strdup(uid ? uid : "");
    version->text = text;
    version->length = strlen(text);
    version->rv_at = (size_t)(at - text) + sizeof(mark) - 1;
    version->rv_length = strspn(text + version->rv_at, "0123456789");
    return version;
}

/* The protobuf of `version` for its copy, where the new resourceVersion is as long: other lengths stay as they are. */
static void proto_restamp(const struct sim_version *version, struct sim_version *copy) {
    enum { RV_TAG = 6 << 3 | 2, RV_SIZE = 24 };
    char mark[RV_SIZE + 2] = {RV_TAG, (char)version->rv_length};
    char *at;

    if (!version->proto || version->rv_length != copy->rv_length || version->rv_length > RV_SIZE)
        return;
    memcpy(mark + 2, version->text + version->rv_at, version->rv_length);
    copy->proto_length = version->proto_length;
    copy->proto = sim_alloc(version->proto_length);
    memcpy(copy->proto, version->proto, version->proto_length);
    /* What comes before it in a message is text without control characters: names and a uid. */
    at = memmem(copy->proto, copy->proto_length, mark, version->rv_length + 2);
    if (!at)
        abort();
    memcpy(at + 2, copy->text + copy->rv_at, copy->rv_length);
}

struct sim_version *sim_version_restamp(const struct sim_version *version, uint64_t rv) {
    char digits[24];
    size_t n = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, rv);
    size_t rest_at = version->rv_at + version->rv_length;
    char *text = sim_alloc(version->length - version->rv_length + n + 1);
    struct sim_version *copy;

    memcpy(text, version->text, version->rv_at);
    memcpy(text + version->rv_at, digits, n);
    memcpy(text + version->rv_at + n, version->text + rest_at, version->length - rest_at + 1);
    copy = version_create(rv, version->ns, version->name, version->uid, text);
    copy->owners = version->owners ? sim_strdup(version->owners) : NULL;
    copy->labels = version->labels ? json_deep_copy(version->labels) : NULL;
    copy->has_finalizers = version->has_finalizers;
    copy->terminating = version->terminating;
    proto_restamp(version, copy);
    return copy;
}

/* Moves the members named in order to the front, in that order; the others keep theirs. */
static void object_order(json_t *object, const char *const *order) {
    json_t *copy = json_object();
    const char *key;
    json_t *value;

    for (; *order; order++) {
        value = json_object_get(object, *order);
        if (value)
            json_object_set(copy, *order, value);
    }
    json_object_foreach (object, key, value) {
        if (!json_object_get(copy, key))
            json_object_set(copy, key, value);
    }
    json_object_clear(object);
    json_object_update(object, copy);
    json_decref(copy);
}

static void object_normalize(json_t *object) {
    static const char *const top[] = {"metadata", "spec", NULL};
    static const char *const meta[] = {"name", "generateName", "namespace", "selfLink", "uid", "resourceVersion",
            "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "labels",
            "annotations", "ownerReferences", "finalizers", "managedFields", NULL};
    json_t *status = json_incref(json_object_get(object, "status"));

    json_object_del(object, "kind");
    json_object_del(object, "apiVersion");
    json_object_del(object, "status");
    object_order(object, top);
    if (status)
        json_object_set_new(object, "status", status);
    object_order(json_object_get(object, "metadata"), meta);
}

static char *owners_of(const json_t *metadata) {
    json_t *refs = json_object_get(metadata, "ownerReferences");
    char *owners = NULL;
    json_t *ref;
    size_t i;

    json_array_foreach (refs, i, ref) {
        const char *uid = json_string_value(json_object_get(ref, "uid"));
        char *more = uid ? sim_format("%s%s,", owners ? owners : "", uid) : NULL;

        if (more) {
            free(owners);
            owners = more;
        }
    }
    return owners;
}

static struct sim_version *version_of_object(uint64_t rv, json_t *object) {
    json_t *metadata = json_object_get(object, "metadata");
    const char *ns = json_string_value(json_object_get(metadata, "namespace"));
    json_t *labels = json_object_get(metadata, "labels");
    struct sim_version *version;
    char *text;

    json_object_set_new(metadata, "resourceVersion", json_sprintf("%" PRIu64, rv));
    object_normalize(object);
    text = json_dumps(object, JSON_COMPACT);
    if (!text)
        abort();
    version = version_create(rv, ns ? ns : "", json_string_value(json_object_get(metadata, "name")),
            json_string_value(json_object_get(metadata, "uid")), text);
    version->owners = owners_of(metadata);
    version->labels = json_is_object(labels) ? json_deep_copy(labels) : NULL;
    version->has_finalizers = json_array_size(json_object_get(metadata, "finalizers")) > 0;
    version->terminating = json_is_string(json_object_get(metadata, "deletionTimestamp"));
    return version;
}

/* ---- the tree and the log ---- */

static int version_compare(const void *a, const void *b) {
    return strcmp(((const struct sim_version *)a)->key, ((const struct sim_version *)b)->key);
}

struct sim_version *sim_store_get(
        struct sim_store *store, const struct sim_resource *res, const char *ns, const char *name) {
    char *key = res->namespaced ? sim_format("%s/%s", ns, name) : sim_strdup(name);
    struct sim_version probe = {.key = key};
    struct sim_version **node = tfind(&probe, &store->trees[res->id], version_compare);

    free(key);
    return node ? *node : NULL;
}

/* Takes both. */
static void log_append(struct sim_store *store, const struct sim_resource *res, enum sim_event_type type,
        struct sim_version *now, struct sim_version *before) {
    struct event_log *log = &store->logs[res->id];
    struct sim_event *slot;

    if (store->journal)
        sim_journal_write(store->journal, type, res, now);
    if (log->end - log->first == store->window) {
        slot = &log->ring[log->first % store->window];
        log->floor_rv = slot->rv;
        sim_version_unref(slot->now);
        sim_version_unref(slot->before);
        log->first++;
    }
    slot = &log->ring[log->end++ % store->window];
    *slot = (struct sim_event){.type = type, .rv = now->rv, .now = now, .before = before};
    pthread_cond_broadcast(store->changed);
}

/* Takes version, of which store->rv is the new resourceVersion. */
static struct sim_version *store_add(
        struct sim_store *store, const struct sim_resource *res, struct sim_version *version) {
    struct sim_version **node = tsearch(version, &store->trees[res->id], version_compare);

    if (!node || *node != version)
        abort();
    store->counts[res->id]++;
    log_append(store, res, SIM_ADDED, sim_version_ref(version), NULL);
    if (store->gc && res->id == SIM_JOBS)
        sim_gc_job_changed(store->gc, version);
    return version;
}

struct sim_version *sim_store_insert(struct sim_store *store, const struct sim_resource *res, json_t *object) {
    return store_add(store, res, version_of_object(++store->rv, object));
}

struct sim_version *sim_store_insert_text(struct sim_store *store, const struct sim_resource *res, const char *ns,
        const char *name, const char *uid, json_t *labels, char *text) {
    struct sim_version *rough = version_create(0, ns, name, uid, text);
    struct sim_version *version = sim_version_restamp(rough, ++store->rv);

    sim_version_unref(rough);
    version->labels = labels ? json_deep_copy(labels) : NULL;
    return store_add(store, res, version);
}

static bool object_same(const struct sim_version *old, json_t *object) {
    json_t *before = sim_version_object(old);
    json_t *now = json_copy(object);
    bool same;

    json_object_del(now, "kind");
    json_object_del(now, "apiVersion");
    json_object_set_new(json_object_get(now, "metadata"), "resourceVersion", json_sprintf("%" PRIu64, old->rv));
    same = json_equal(before, now);
    json_decref(before);
    json_decref(now);
    return same;
}

struct sim_version *sim_store_replace(
        struct sim_store *store, const struct sim_resource *res, struct sim_version *old, json_t *object) {
    struct sim_version **node = tfind(old, &store->trees[res->id], version_compare);
    struct sim_version *version;

    if (!node || *node != old)
        abort();
    if (object_same(old, object))
        return old;
    version = version_of_object(++store->rv, object);
    if (strcmp(version->key, old->key) != 0)
        abort();
    *node = version;
    log_append(store, res, SIM_MODIFIED, sim_version_ref(version), old);
    if (store->gc && res->id == SIM_JOBS)
        sim_gc_job_changed(store->gc, version);
    return version;
}

void sim_store_remove(struct sim_store *store, const struct sim_resource *res, struct sim_version *old) {
    if (!tdelete(old, &store->trees[res->id], version_compare))
        abort();
    store->counts[res->id]--;
    log_append(store, res, SIM_DELETED, sim_version_restamp(old, ++store->rv), sim_version_ref(old));
    if (store->gc)
        sim_gc_removed(store->gc, res, old);
    sim_version_unref(old);
}

bool sim_store_replay(struct sim_store *store, enum sim_event_type type, const struct sim_resource *res, uint64_t rv,
        json_t *object) {
    const json_t *metadata = json_object_get(object, "metadata");
    const char *ns = json_string_value(json_object_get(metadata, "namespace"));
    const char *name = json_string_value(json_object_get(metadata, "name"));
    struct sim_version *old = name ? sim_store_get(store, res, ns ? ns : "", name) : NULL;

    if (!name || rv <= store->rv || !old != (type == SIM_ADDED))
        return false;
    store->rv = rv - 1;
    if (type == SIM_ADDED)
        sim_store_insert(store, res, object);
    else if (type == SIM_MODIFIED)
        sim_store_replace(store, res, old, object);
    else
        sim_store_remove(store, res, old);
    return store->rv == rv;
}

/* ---- deletion ---- */

static void finalizers_without(json_t *finalizers, const char *name) {
    for (size_t i = json_array_size(finalizers); i-- > 0;) {
        const char *value = json_string_value(json_array_get(finalizers, i));

        if (value && strcmp(value, name) == 0)
            json_array_remove(finalizers, i);
    }
}

/* registry/generic/registry/store.go, deletionFinalizersForGarbageCollection: each policy drops the other's finalizer.
 */
static json_t *finalizers_for(const json_t *metadata, enum sim_propagation propagation) {
    json_t *old = json_object_get(metadata, "finalizers");
    json_t *finalizers = json_is_array(old) ? json_copy(old) : json_array();

    finalizers_without(finalizers, "orphan");
    finalizers_without(finalizers, "foregroundDeletion");
    if (propagation == SIM_PROPAGATE_ORPHAN)
        json_array_append_new(finalizers, json_string("orphan"));
    else if (propagation == SIM_PROPAGATE_FOREGROUND)
        json_array_append_new(finalizers, json_string("foregroundDeletion"));
    return finalizers;
}

static void metadata_set_deleted(json_t *metadata) {
    char now[SIM_TIME_SIZE];

    if (json_is_string(json_object_get(metadata, "deletionTimestamp")))
        return;
    sim_time_format(sim_wall_ms(), now);
    json_object_set_new(metadata, "deletionTimestamp", json_string(now));
    json_object_set_new(metadata, "deletionGracePeriodSeconds", json_integer(0));
}

/* A namespace goes when all that is in it has gone; until then it is Terminating. */
static struct sim_version *namespace_delete(
        struct sim_store *store, const struct sim_resource *res, struct sim_version *old) {
    json_t *object = sim_version_object(old);
    struct sim_version *version;

    metadata_set_deleted(json_object_get(object, "metadata"));
    json_object_set_new(object, "status", json_pack("{s:s}", "phase", "Terminating"));
    version = sim_store_replace(store, res, old, object);
    json_decref(object);
    if (store->gc)
        sim_gc_terminating(store->gc, res, version, SIM_PROPAGATE_DEFAULT);
    return version;
}

struct sim_version *sim_store_delete(struct sim_store *store, const struct sim_resource *res, struct sim_version *old,
        enum sim_propagation propagation) {
    struct sim_version *version;
    json_t *finalizers;
    json_t *metadata;
    json_t *object;

    if (propagation == SIM_PROPAGATE_DEFAULT)
        propagation = res->propagation;
    if (res->id == SIM_NAMESPACES)
        return namespace_delete(store, res, old);
    if (propagation == SIM_PROPAGATE_BACKGROUND && !old->has_finalizers) {
        sim_store_remove(store, res, old);
        return NULL;
    }
    object = sim_version_object(old);
    metadata = json_object_get(object, "metadata");
    finalizers = finalizers_for(metadata, propagation);
    if (json_array_size(finalizers) == 0) {
        json_decref(finalizers);
        json_decref(object);
        sim_store_remove(store, res, old);
        return NULL;
    }
    json_object_set_new(metadata, "finalizers", finalizers);
    metadata_set_deleted(metadata);
    version = sim_store_replace(store, res, old, object);
    json_decref(object);
    if (store->gc && propagation != SIM_PROPAGATE_BACKGROUND)
        sim_gc_terminating(store->gc, res, version, propagation);
    return version;
}

struct sim_version *sim_store_settle(
        struct sim_store *store, const struct sim_resource *res, struct sim_version *old, json_t *object) {
    json_t *metadata = json_object_get(object, "metadata");

    if (res->id != SIM_NAMESPACES && old->terminating && old->has_finalizers &&
            json_array_size(json_object_get(metadata, "finalizers")) == 0) {
        sim_store_remove(store, res, old);
        return NULL;
    }
    return sim_store_replace(store, res, old, object);
}

/* ---- reading ---- */

struct listing {
    const char *ns;
    const char *start;
    const struct sim_selector *sel;
    struct sim_version **items;
    size_t count;
};

static void listing_visit(const void *node, VISIT which, void *closure) {
    struct sim_version *version = *(struct sim_version *const *)node;
    struct listing *listing = closure;

    if (which != postorder && which != leaf)
        return;
    if (listing->ns && strcmp(listing->ns, version->ns) != 0)
        return;
    if (listing->start && strcmp(version->key, listing->start) <= 0)
        return;
    if (listing->sel && !sim_selector_match(listing->sel, version->labels, version->ns, version->name))
        return;
    listing->items[listing->count++] = sim_version_ref(version);
}

struct sim_version **sim_store_list(struct sim_store *store, const struct sim_resource *res, const char *ns,
        const char *start, const struct sim_selector *sel, size_t *ret_count) {
    struct listing listing = {.ns = ns, .start = start, .sel = sel};

    listing.items = sim_alloc((store->counts[res->id] + 1) * sizeof(struct sim_version *));
    twalk_r(store->trees[res->id], listing_visit, &listing);
    *ret_count = listing.count;
    return listing.items;
}

struct sim_snapshot *sim_store_add_snapshot(
        struct sim_store *store, const struct sim_resource *res, struct sim_version **items, size_t count) {
    struct sim_snapshot *slot = &store->snapshots[++store->snapshot_id % SNAPSHOT_LIMIT];

    snapshot_clear(slot);
    slot->id = store->snapshot_id;
    slot->rv = store->rv;
    slot->resource = res->id;
    slot->made_ms = sim_mono_ms();
    slot->items = items;
    slot->count = count;
    return slot;
}

struct sim_snapshot *sim_store_find_snapshot(struct sim_store *store, const struct sim_resource *res, uint64_t id) {
    struct sim_snapshot *slot = &store->snapshots[id % SNAPSHOT_LIMIT];

    return id != 0 && slot->id == id && slot->resource == res->id ? slot : NULL;
}

void sim_store_expire_snapshots(struct sim_store *store) {
    int64_t oldest = sim_mono_ms() - SNAPSHOT_AGE_MS;

    for (int i = 0; i < SNAPSHOT_LIMIT; i++) {
        if (store->snapshots[i].id != 0 && store->snapshots[i].made_ms < oldest)
            snapshot_clear(&store->snapshots[i]);
    }
}

bool sim_store_seek(struct sim_store *store, const struct sim_resource *res, uint64_t rv, uint64_t *ret_place,
        uint64_t *ret_oldest) {
    const struct event_log *log = &store->logs[res->id];
    uint64_t low = log->first;
    uint64_t high = log->end;

    if (rv < log->floor_rv) {
        *ret_oldest = log->floor_rv;
        return false;
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (log->ring[middle % store->window].rv > rv)
            high = middle;
        else
            low = middle + 1;
    }
    *ret_place = low;
    return true;
}

uint64_t sim_store_log_end(const struct sim_store *store, const struct sim_resource *res) {
    return store->logs[res->id].end;
}

const struct sim_event *sim_store_event(const struct sim_store *store, const struct sim_resource *res, uint64_t place) {
    const struct event_log *log = &store->logs[res->id];

    return place < log->first ? NULL : &log->ring[place % store->window];
}
