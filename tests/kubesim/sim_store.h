/*
 * sim_store: the objects, their history and the resourceVersion.
 *
 * An object is kept as compact JSON text, never as a tree: 20,000 Jobs of 13 kB fit, and a list is copying. Its states
 * are immutable, counted versions, shared by the store, the event log, snapshots of paged lists and replies on their
 * way out; only taking and dropping references is safe without the lock, everything else here is called locked.
 *
 * Each resource has an event log of bounded length. Who asks for events older than it reaches is told so (410).
 */
#ifndef KUBESIM_SIM_STORE_H
#define KUBESIM_SIM_STORE_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sim_resource_id { SIM_NAMESPACES, SIM_JOBS, SIM_CRONJOBS, SIM_PODS, SIM_LEASES, SIM_EVENTS, SIM_RESOURCE_COUNT };

enum sim_propagation {
    SIM_PROPAGATE_DEFAULT,
    SIM_PROPAGATE_BACKGROUND,
    SIM_PROPAGATE_FOREGROUND,
    SIM_PROPAGATE_ORPHAN
};

struct sim_resource {
    enum sim_resource_id id;
    const char *plural;
    const char *singular;
    const char *kind;
    const char *group; /* "" for core */
    const char *version;
    const char *api_version; /* "v1", "batch/v1" */
    const char *short_name;  /* NULL if there is none */
    const char *qualified;   /* "jobs.batch", as messages name it */
    const char *prefix;      /* `{"kind":"Job","apiVersion":"batch/v1",`, to stand before a text without its `{` */
    bool namespaced;
    bool has_status;
    bool blind_update;   /* PUT without resourceVersion is allowed */
    bool update_creates; /* PUT of what is not there creates it */
    enum sim_propagation propagation;
};

/* One state of one object. Immutable (but see proto), and without kind and apiVersion, as the items of a real list are.
 */
struct sim_version {
    atomic_uint refs;
    uint64_t rv;
    char *key;        /* "namespace/name", or "name": etcd's order */
    char *ns;         /* "" for what is cluster scoped */
    const char *name; /* within key */
    char *uid;
    char *owners;   /* uids, each with a ',' behind it; NULL if there are none */
    json_t *labels; /* NULL if there are none */
    bool has_finalizers;
    bool terminating;
    size_t rv_at; /* where the digits of resourceVersion stand in text */
    size_t rv_length;
    size_t length;
    char *text;  /* `{"metadata":{...},...}` */
    char *proto; /* the same as a protobuf message, once it was asked for: the one thing that changes, locked */
    size_t proto_length;
};

enum sim_event_type { SIM_ADDED, SIM_MODIFIED, SIM_DELETED };

struct sim_event {
    enum sim_event_type type;
    uint64_t rv;
    struct sim_version *now;    /* for DELETED the last state, with the deletion's resourceVersion */
    struct sim_version *before; /* NULL for ADDED */
};

struct sim_selector;
struct sim_gc;
struct sim_journal;

/* A paged list as it was when its first page was asked for. */
struct sim_snapshot {
    uint64_t id;
    uint64_t rv;
    enum sim_resource_id resource;
    int64_t made_ms;
    struct sim_version **items;
    size_t count;
};

struct sim_store *sim_store_create(
        const char *cronjob_version, size_t watch_window, uint64_t first_rv, pthread_cond_t *changed);
void sim_store_destroy(struct sim_store *store);

/* Chores that follow from changes; the store tells it of removals and finished Jobs. Set once, before the first change.
 */
void sim_store_set_gc(struct sim_store *store, struct sim_gc *gc);

/* Told of every change from now on. */
void sim_store_set_journal(struct sim_store *store, struct sim_journal *journal);

/* A change of an earlier life, with the resourceVersion it had. object is borrowed. False when it cannot follow. */
bool sim_store_replay(
        struct sim_store *store, enum sim_event_type type, const struct sim_resource *res, uint64_t rv, json_t *object);

const struct sim_resource *sim_store_resource(const struct sim_store *store, enum sim_resource_id id);
const struct sim_resource *sim_store_resource_by_kind(const struct sim_store *store, const char *kind);
uint64_t sim_store_rv(const struct sim_store *store);
size_t sim_store_count(const struct sim_store *store, enum sim_resource_id id);

struct sim_version *sim_version_ref(struct sim_version *version);
void sim_version_unref(struct sim_version *version);

/* A new tree, to be decref'ed. */
json_t *sim_version_object(const struct sim_version *version);

/* Borrowed; NULL if there is none. */
struct sim_version *sim_store_get(
        struct sim_store *store, const struct sim_resource *res, const char *ns, const char *name);

/*
 * The changes. object is borrowed, must have metadata.name (and namespace) as strings, and is normalized: fields in the
 * order of Go's structs, no kind and apiVersion, the new resourceVersion. The result is borrowed. Replacing with what
 * is there already changes nothing. old must be the current version.
 */
struct sim_version *sim_store_insert(struct sim_store *store, const struct sim_resource *res, json_t *object);
struct sim_version *sim_store_replace(
        struct sim_store *store, const struct sim_resource *res, struct sim_version *old, json_t *object);
void sim_store_remove(struct sim_store *store, const struct sim_resource *res, struct sim_version *old);

/* Insert without parsing. Takes text, which must be normalized and hold "resourceVersion":"0". labels is borrowed. */
struct sim_version *sim_store_insert_text(struct sim_store *store, const struct sim_resource *res, const char *ns,
        const char *name, const char *uid, json_t *labels, char *text);

/* What a DELETE does: removal (then NULL), or with finalizers a deletionTimestamp (then the version, borrowed). */
struct sim_version *sim_store_delete(struct sim_store *store, const struct sim_resource *res, struct sim_version *old,
        enum sim_propagation propagation);

/* Replace, or, when it was waiting for its finalizers and has none left, remove: then NULL. */
struct sim_version *sim_store_settle(
        struct sim_store *store, const struct sim_resource *res, struct sim_version *old, json_t *object);

/*
 * All objects of a namespace (NULL: of all) whose key is above start (NULL: all) and that sel (NULL: all) selects, in
 * key order, each with a reference; the array is to be freed.
 */
struct sim_version **sim_store_list(struct sim_store *store, const struct sim_resource *res, const char *ns,
        const char *start, const struct sim_selector *sel, size_t *ret_count);

/* Takes the array and its references. The snapshot is the store's, and goes after a while. */
struct sim_snapshot *sim_store_add_snapshot(
        struct sim_store *store, const struct sim_resource *res, struct sim_version **items, size_t count);
struct sim_snapshot *sim_store_find_snapshot(struct sim_store *store, const struct sim_resource *res, uint64_t id);
void sim_store_expire_snapshots(struct sim_store *store);

/* The place in the log of the first event after rv. False, with the oldest rv that would do, when it is gone. */
bool sim_store_seek(struct sim_store *store, const struct sim_resource *res, uint64_t rv, uint64_t *ret_place,
        uint64_t *ret_oldest);
uint64_t sim_store_log_end(const struct sim_store *store, const struct sim_resource *res);

/* NULL when the event at this place has left the log. place is below the end. */
const struct sim_event *sim_store_event(const struct sim_store *store, const struct sim_resource *res, uint64_t place);

/* Forget all events and snapshots: what etcd's compaction does to readers. */
void sim_store_compact(struct sim_store *store);

/* The same state with another resourceVersion; a new reference. */
struct sim_version *sim_version_restamp(const struct sim_version *version, uint64_t rv);

#endif
