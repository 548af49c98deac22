/*
 * What the scenario has told of the cluster, and a server that answers from it: for tests/torture, where a scenario
 * goes on although a step did not find what it expected, and the program must find its way back without the scenario's
 * help.
 */
#include "scenario.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "jobs/store.h"

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static bool same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static const char *kind_of(const json_t *object) {
    const char *kind = text_of(object, "kind");
    return kind ? kind : "Job";
}

static bool is_same(const json_t *a, const json_t *b) {
    const json_t *x = json_object_get(a, "metadata"), *y = json_object_get(b, "metadata");
    return strcmp(kind_of(a), kind_of(b)) == 0 && same_text(text_of(x, "name"), text_of(y, "name")) &&
           same_text(text_of(x, "namespace"), text_of(y, "namespace"));
}

static void take_away(struct scenario *s, const json_t *object) {
    for (size_t i = json_array_size(s->world); i-- > 0;) {
        if (is_same(json_array_get(s->world, i), object))
            json_array_remove(s->world, i);
    }
}

void world_put(struct scenario *s, json_t *object) {
    if (!s->world || !json_is_object(object))
        return;
    take_away(s, object);
    json_array_append_new(s->world, json_deep_copy(object));
}

/* ---- what is right ---- */

static void fill_store(const struct scenario *s, struct store *store) {
    size_t i;
    json_t *object;
    struct error err = {0};
    bool changed;
    json_array_foreach (s->world, i, object) {
        const struct store_namespace *ns;
        const struct store_cronjob *cronjob;
        int result = 0;
        if (kind_of_object(object) == KIND_NAMESPACES)
            result = store_put_namespace(store, object, s->config->policy.prefix, 1, &ns, &changed, &err);
        else if (kind_of_object(object) == KIND_CRONJOBS)
            result = store_put_cronjob(store, object, false, 1, &cronjob, &changed, &err);
        if (result < 0 && err.kind == ERROR_NOMEM)
            abort();
    }
}

/* What one who knows all of the world as it is decides, as of so long ago. */
static enum action decide(const struct scenario *s, const json_t *object, int64_t ago_ms) {
    struct error err = {0};
    struct job_object read;
    struct job job;
    struct store store = {0};
    if (job_object_read(object, "", 0, &read, &err) < 0)
        abort();
    if (job_decode(&read, s->config->policy.prefix, &job, &err) < 0) {
        job_object_finish(&read);
        return ACTION_KEEP;
    }
    int64_t wall_ms = clock_wall_ms(), server_ms = fake_server_ms();
    fill_store(s, &store);
    struct guards guards = store_guards(&store, &job, NAMESPACE_UNKNOWN);
    struct decision decision =
            policy_decide(&s->config->policy, &job, &guards, (wall_ms < server_ms ? wall_ms : server_ms) - ago_ms);
    store_finish(&store);
    job_object_finish(&read);
    return decision.action;
}

json_t *world_overdue(const struct scenario *s, int64_t for_ms) {
    json_t *uids = json_object(), *object;
    size_t i;
    json_array_foreach (s->world, i, object) {
        const char *uid = text_of(json_object_get(object, "metadata"), "uid");
        if (kind_of_object(object) == KIND_JOBS && uid && decide(s, object, for_ms) == ACTION_DELETE)
            json_object_set_new(uids, uid, json_true());
    }
    return uids;
}

/* Ours is the only holder that is named after this machine. */
static bool is_our_lease(const struct scenario *s) {
    char host[256] = "";
    const char *holder = text_of(json_object_get(s->lease, "spec"), "holderIdentity");
    (void)!gethostname(host, sizeof host - 1);
    return holder && strncmp(holder, host, strlen(host)) == 0;
}

void world_check_delete(struct scenario *s, const struct http_transfer *transfer) {
    json_t *asked = json_loads(fake_http_body(transfer), 0, NULL), *object;
    const json_t *wanted = json_object_get(asked, "preconditions");
    const char *uid = text_of(wanted, "uid");
    size_t i;
    s->n_deletes++;
    if (s->config->leader_elect && !is_our_lease(s))
        fake_broken("a DELETE of %s without the lease", uid);
    json_array_foreach (s->world, i, object) {
        const json_t *metadata = json_object_get(object, "metadata");
        /* Another version is the API server's to refuse. */
        if (same_text(text_of(metadata, "uid"), uid) &&
                same_text(text_of(metadata, "resourceVersion"), text_of(wanted, "resourceVersion")) &&
                decide(s, object, 0) != ACTION_DELETE)
            fake_broken("a DELETE of %s, which is to be kept", uid);
    }
    json_decref(asked);
}

/* ---- events, and watches that resume ---- */

void world_note(struct scenario *s, int kind, const char *type, json_t *object) {
    if (!s->events)
        return;
    bool bookmark = strcmp(type, "BOOKMARK") == 0;
    if (strcmp(type, "ERROR") == 0)
        return;
    if (strcmp(type, "DELETED") == 0)
        take_away(s, object);
    else if (!bookmark)
        world_put(s, object);
    json_array_append_new(
            s->events, json_pack("{s:i, s:s, s:O, s:O?}", "kind", kind, "type", type, "object", object, "version",
                               json_object_get(json_object_get(object, "metadata"), "resourceVersion")));
}

void world_note_list(struct scenario *s, const struct http_transfer *list, const char *version) {
    int kind = kind_of_request(list);
    bool first_page = !strstr(fake_http_path(list), "continue=");
    for (size_t i = json_array_size(s->world); first_page && i-- > 0;) {
        const json_t *object = json_array_get(s->world, i), *metadata = json_object_get(object, "metadata");
        const char *namespace = text_of(metadata, kind == KIND_NAMESPACES ? "name" : "namespace");
        if (kind_of_object(object) == kind && request_covers(list, namespace))
            json_array_remove(s->world, i);
    }
    size_t i;
    json_t *object;
    json_array_foreach (s->items, i, object)
        world_put(s, object);
    if (s->events && version)
        json_array_append_new(
                s->events, json_pack("{s:i, s:s, s:s}", "kind", kind, "type", "BOOKMARK", "version", version));
}

void world_note_single(struct scenario *s, const struct http_transfer *get, json_t *object) {
    for (size_t i = json_array_size(s->world); i-- > 0;) {
        const json_t *known = json_array_get(s->world, i);
        if (kind_of_object(known) == kind_of_request(get) &&
                request_covers(get, text_of(json_object_get(known, "metadata"), "name")))
            json_array_remove(s->world, i);
    }
    world_put(s, object);
}

/* The event after which this watch resumes: of that kind, the last that has its resourceVersion. */
static size_t find_start(const struct scenario *s, const struct http_transfer *t) {
    size_t n = json_array_size(s->events);
    for (size_t i = n; i-- > 0;) {
        const json_t *event = json_array_get(s->events, i);
        const char *version = text_of(event, "version");
        if (json_integer_value(json_object_get(event, "kind")) == kind_of_request(t) && version &&
                request_has_parameter(t, "resourceVersion", version))
            return i + 1;
    }
    return n;
}

/* Of a single object: what there is. */
static void replay_single(struct scenario *s, struct http_transfer *t) {
    size_t i;
    json_t *object;
    json_array_foreach (s->world, i, object) {
        if (kind_of_object(object) == kind_of_request(t) && fake_http_is_open(t) &&
                request_covers(t, text_of(json_object_get(object, "metadata"), "name")))
            encoding_event(s, t, "ADDED", object);
    }
}

void world_replay(struct scenario *s, struct http_transfer *t) {
    if (request_is_single(t)) {
        replay_single(s, t);
        return;
    }
    size_t n = json_array_size(s->events);
    for (size_t i = find_start(s, t); s->events && i < n && fake_http_is_open(t); i++) {
        const json_t *event = json_array_get(s->events, i);
        json_t *object = json_object_get(event, "object");
        const json_t *metadata = json_object_get(object, "metadata");
        int kind = (int)json_integer_value(json_object_get(event, "kind"));
        const char *namespace = text_of(metadata, kind == KIND_NAMESPACES ? "name" : "namespace");
        if (object && kind == kind_of_request(t) && request_covers(t, namespace))
            encoding_event(s, t, text_of(event, "type"), object);
    }
}

/* By the watch that covers it, too. */
static void happen(struct scenario *s, const char *type, json_t *object) {
    int kind = kind_of_object(object);
    const json_t *metadata = json_object_get(object, "metadata");
    world_note(s, kind, type, object);
    struct http_transfer *watch =
            request_find_watch(kind, text_of(metadata, kind == KIND_NAMESPACES ? "name" : "namespace"));
    if (watch)
        encoding_event(s, watch, type, object);
}

void world_take_items(struct scenario *s) {
    json_t *items = s->items, *object;
    size_t i;
    s->items = json_array();
    json_array_foreach (items, i, object)
        happen(s, "MODIFIED", object);
    json_decref(items);
}

/* ---- a server ---- */

/* Takes the body. */
static void answer(const struct scenario *s, struct http_transfer *t, int status, json_t *body) {
    const struct fake_answer head = {.status = status, .retry_after_ms = -1, .date_ms = fake_server_ms() / 1000 * 1000};
    fake_http_expect(t);
    answer_object(s, t, &head, body);
    json_decref(body);
}

/* The Job that a path is about: a new reference, or NULL. */
static json_t *find_job(struct scenario *s, const char *path) {
    size_t i;
    json_t *object;
    json_array_foreach (s->world, i, object) {
        char wanted[1024];
        const json_t *metadata = json_object_get(object, "metadata");
        const char *namespace = text_of(metadata, "namespace"), *name = text_of(metadata, "name");
        snprintf(wanted, sizeof wanted, "/apis/batch/v1/namespaces/%s/jobs/%s", namespace ? namespace : "",
                name ? name : "");
        if (strcmp(kind_of(object), "Job") == 0 && strcmp(path, wanted) == 0)
            return json_incref(object);
    }
    return NULL;
}

static void answer_delete(struct scenario *s, struct http_transfer *t) {
    json_t *job = find_job(s, fake_http_path(t)), *asked = json_loads(fake_http_body(t), 0, NULL);
    const json_t *metadata = json_object_get(job, "metadata"), *wanted = json_object_get(asked, "preconditions");
    bool meets = same_text(text_of(metadata, "uid"), text_of(wanted, "uid")) &&
                 same_text(text_of(metadata, "resourceVersion"), text_of(wanted, "resourceVersion"));
    int status = !job ? 404 : meets ? 200 : 409;
    if (status == 200) {
        json_t *gone = json_deep_copy(job);
        json_object_set_new(
                json_object_get(gone, "metadata"), "resourceVersion", json_sprintf("world-%d", ++s->versions));
        answer(s, t, status, object_status(200, NULL));
        happen(s, "DELETED", gone);
        json_decref(gone);
    } else {
        answer(s, t, status, object_status(status, NULL));
    }
    json_decref(job);
    json_decref(asked);
}

void world_note_lease(struct scenario *s, json_t *lease) {
    if (!s->world)
        return;
    json_decref(s->lease);
    s->lease = json_incref(lease);
}

static void answer_lease(struct scenario *s, struct http_transfer *t) {
    json_t *body = json_loads(fake_http_body(t), 0, NULL);
    if (!body) {
        answer(s, t, s->lease ? 200 : 404, s->lease ? json_incref(s->lease) : object_status(404, NULL));
        return;
    }
    bool create = strcmp(fake_http_method(t), "POST") == 0;
    json_t *metadata = json_object_get(body, "metadata");
    if (create ? s->lease != NULL
               : !s->lease || !same_text(text_of(metadata, "resourceVersion"),
                                      text_of(json_object_get(s->lease, "metadata"), "resourceVersion"))) {
        json_decref(body);
        answer(s, t, 409, object_status(409, NULL));
        return;
    }
    json_object_set_new(metadata, "resourceVersion", json_sprintf("world-%d", ++s->versions));
    world_note_lease(s, body);
    answer(s, t, create ? 201 : 200, body);
}

/* Whether it was a request that this server answers. */
static bool answer_one(struct scenario *s, struct http_transfer *t, bool deletes) {
    bool is_delete = strcmp(fake_http_method(t), "DELETE") == 0;
    if (is_delete && !deletes)
        return false;
    if (is_delete) {
        answer_delete(s, t);
        return true;
    }
    if (strstr(fake_http_path(t), "/leases")) {
        answer_lease(s, t);
        return true;
    }
    if (strstr(fake_http_path(t), "/apis/events.k8s.io/")) {
        answer(s, t, 200, json_pack("{s:s}", "kind", "Event"));
        return true;
    }
    if (answer_from(s, t, s->world))
        return true;
    if (strcmp(fake_http_method(t), "GET") != 0)
        return false;
    json_t *job = find_job(s, fake_http_path(t));
    answer(s, t, job ? 200 : 404, job ? job : object_status(404, NULL));
    return true;
}

void world_serve(struct scenario *s, bool deletes) {
    for (bool more = true; more;) {
        more = false;
        scenario_settle(s);
        for (struct http_transfer *t = fake_http_first(); t && !more; t = fake_http_next(t))
            more = request_is_wanted(t) && answer_one(s, t, deletes);
    }
}

/* Requests that the scenario left without an answer never get one. Watches stay. */
static void drop_requests(void) {
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t)) {
        if (fake_http_is_open(t) && fake_http_is_expected(t) && !request_is_watch(t))
            fake_http_fail(t, true, "Connection reset by peer");
    }
}

void world_note_deleted(struct scenario *s, const struct http_transfer *transfer) {
    json_t *job = s->world ? find_job(s, fake_http_path(transfer)) : NULL;
    if (job)
        take_away(s, job);
    json_decref(job);
}

void world_calm(struct scenario *s, int64_t ms) {
    int64_t until_ms = fake_mono_ms() + ms;
    s->no_date = false;
    memset(s->quiet, 0, sizeof s->quiet);
    fake_writer_fails(NULL);
    fake_writer_set_room(true);
    fake_writer_set_auto(true);
    drop_requests();
    do
        world_serve(s, true);
    while (scenario_step(s, until_ms));
}
