#include "server.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "machine.h"
#include "model.h"

#define BODY_MAX (16u << 20)

void reply_init(struct reply *reply, bool protobuf) {
    *reply = (struct reply){.status = 200,
            .retry_after_ms = -1,
            .date = true,
            .protobuf = protobuf,
            .message = "",
            .body = STRBUF_INIT(BODY_MAX)};
}

void reply_finish(struct reply *reply) {
    strbuf_finish(&reply->body);
    free(reply->marks);
    reply->marks = NULL;
    reply->n_marks = reply->marks_capacity = 0;
}

void reply_mark(struct reply *reply, int entry) {
    if (reply->n_marks == reply->marks_capacity) {
        reply->marks_capacity = reply->marks_capacity ? 2 * reply->marks_capacity : 8;
        reply->marks = realloc(reply->marks, (size_t)reply->marks_capacity * sizeof *reply->marks);
        if (!reply->marks)
            abort();
    }
    reply->marks[reply->n_marks++] = (struct mark){.end = reply->body.len, .entry = entry};
}

/* ---- what is asked for ---- */

static int namespace_of(const char *name, size_t len) {
    for (int i = 0; i < NAMESPACES; i++) {
        if (strlen(namespace_names[i]) == len && memcmp(namespace_names[i], name, len) == 0)
            return i;
    }
    return NAMESPACES;
}

static void take_parameter(const char *path, const char *key, char *value, size_t size) {
    const char *at = strstr(path, key);
    value[0] = '\0';
    if (!at)
        return;
    at += strlen(key);
    snprintf(value, size, "%.*s", (int)strcspn(at, "&"), at);
}

static void parse_query(const char *path, struct route *ret) {
    char value[32];
    bool watch = strstr(path, "watch=true") != NULL;
    ret->what = watch ? ROUTE_WATCH : ROUTE_LIST;
    ret->selector = strstr(path, "labelSelector=") != NULL;
    ret->paged = strstr(path, "limit=") != NULL;
    take_parameter(path, watch ? "resourceVersion=" : "continue=", ret->from, sizeof ret->from);
    take_parameter(path, "timeoutSeconds=", value, sizeof value);
    ret->timeout_ms = strtoll(value, NULL, 10) * 1000;
}

static bool skip(const char **at, const char *start) {
    size_t len = strlen(start);
    if (strncmp(*at, start, len) != 0)
        return false;
    *at += len;
    return true;
}

static void parse_batch(const char *method, const char *path, const char *at, struct route *ret) {
    if (skip(&at, "namespaces/")) {
        size_t len = strcspn(at, "/");
        ret->namespace = namespace_of(at, len);
        at += len + (at[len] == '/');
    }
    if (skip(&at, "jobs/")) {
        ret->what = strcmp(method, "DELETE") == 0 ? ROUTE_DELETE : ROUTE_GET_JOB;
        snprintf(ret->name, sizeof ret->name, "%.*s", (int)strcspn(at, "?"), at);
    } else if (skip(&at, "jobs")) {
        ret->kind = KIND_JOB;
        parse_query(path, ret);
    } else if (skip(&at, "cronjobs")) {
        ret->kind = KIND_CRONJOB;
        parse_query(path, ret);
    }
}

/* A Namespace by its name. */
static void parse_single(const char *path, struct route *ret) {
    const char *at = path;
    if (!skip(&at, "/api/v1/namespaces/") && !skip(&at, "/api/v1/watch/namespaces/"))
        return;
    ret->kind = KIND_NAMESPACE;
    ret->single = true;
    ret->namespace = namespace_of(at, strcspn(at, "?"));
    parse_query(path, ret);
}

void route_parse(const char *method, const char *path, struct route *ret) {
    const char *at = path;
    *ret = (struct route){.what = ROUTE_OTHER, .namespace = NAMESPACES};
    if (skip(&at, "/apis/batch/v1/") || skip(&at, "/apis/batch/v1beta1/")) {
        parse_batch(method, path, at, ret);
    } else if (skip(&at, "/apis/coordination.k8s.io/v1/")) {
        ret->what = strcmp(method, "PUT") == 0    ? ROUTE_LEASE_PUT
                    : strcmp(method, "POST") == 0 ? ROUTE_LEASE_POST
                                                  : ROUTE_LEASE_GET;
    } else if (skip(&at, "/apis/events.k8s.io/v1/")) {
        ret->what = ROUTE_EVENT;
        counts[COUNT_KUBERNETES_EVENTS]++;
    } else if (skip(&at, "/api/v1/namespaces") && *at != '/') {
        ret->kind = KIND_NAMESPACE;
        parse_query(path, ret);
    } else if (strcmp(path, "/version") == 0) {
        snprintf(ret->name, sizeof ret->name, "version");
    } else if (strcmp(path, "/apis/batch/v1") == 0) {
        snprintf(ret->name, sizeof ret->name, "resources");
    } else if (strcmp(path, "/api/v1/namespaces/kube-system") == 0) {
        snprintf(ret->name, sizeof ret->name, "kube-system");
    } else {
        parse_single(path, ret);
    }
}

/* ---- answers ---- */

void server_say(struct reply *reply, int status, const char *reason, const char *message) {
    strbuf_clear(&reply->body);
    reply->n_marks = 0;
    reply->status = status;
    reply->stream = reply->whole_list = false;
    reply->message = message;
    if (reply->protobuf) {
        protobuf_add_status(&reply->body, status, reason, message);
        return;
    }
    strbuf_add_format(&reply->body, "{\"kind\":\"Status\",\"code\":%d,\"reason\":\"%s\",\"message\":\"%s\"}", status,
            reason, message);
}

static void say_gone(struct reply *reply, enum count count) {
    counts[count]++;
    server_say(reply, 410, "Expired", "too old resource version");
}

/* ---- lists ---- */

static int item_as_of(const struct route *route, int object, int as_of) {
    int entry;
    switch (route->kind) {
    case KIND_JOB:
        entry = job_as_of(object, as_of);
        if (entry >= 0 && route->namespace != NAMESPACES && world->jobs[object].namespace != route->namespace)
            return -1;
        return entry >= 0 && route->selector && !entry_at(entry)->job.selected ? -1 : entry;
    case KIND_CRONJOB:
        entry = slot_as_of(&world->cronjobs[object], as_of);
        return route->namespace != NAMESPACES && world->cronjobs[object].namespace != route->namespace ? -1 : entry;
    case KIND_NAMESPACE:
        entry = slot_as_of(&world->namespaces[object], as_of);
        return route->namespace != NAMESPACES && object != route->namespace ? -1 : entry;
    case KINDS:
    case KIND_LEASE:
        break;
    }
    return -1;
}

static int objects_of(enum kind kind) {
    return kind == KIND_JOB ? world->n_jobs : kind == KIND_CRONJOB ? CRONJOBS : NAMESPACES;
}

/* How long ago the API server believes it is, when it answers without a quorum. */
static int past_of(int as_of) {
    int back = (int)chance_below(20);
    return as_of - back > 1 ? as_of - back : 1;
}

static void get_namespace(const struct route *route, struct reply *reply) {
    int as_of = world->log_len;
    if (world->flavor.unfaithful && !world->healed && chance_permille(100)) {
        as_of = past_of(as_of);
        counts[COUNT_STALE_LIST]++;
    }
    int entry = slot_as_of(&world->namespaces[route->namespace], as_of);
    counts[COUNT_NAMESPACE_GETS]++;
    if (entry < 0) {
        server_say(reply, 404, "NotFound", "there is no such Namespace");
    } else if (world->flavor.garbled && !world->healed && chance_permille(30)) {
        counts[COUNT_GARBLED]++;
        strbuf_add_text(&reply->body, "{\"metadata\":{\"name\":7}}");
        return;
    } else {
        render_object(&reply->body, entry);
        reply_mark(reply, entry);
    }
    reply->whole_list = true;
    reply->as_of = as_of;
}

/* From nothing, it begins with what there is; or was, since that comes out of a cache (kubernetes/kubernetes#74022). */
static void watch_namespace(const struct route *route, struct reply *reply) {
    int as_of = world->log_len, last = world->namespaces[route->namespace].head;
    if (!world->healed && last > 0 && chance_permille(300)) {
        as_of = chance_permille(500) ? last : past_of(as_of); /* right before it changed */
        counts[COUNT_WATCH_IN_THE_PAST]++;
        trace("  server: this watch begins after rv %lld", (long long)rv_of(as_of - 1));
    }
    counts[COUNT_WATCHES]++;
    reply->stream = true;
    reply->as_of = as_of;
}

static void add_unreadable_item(const struct route *route, struct strbuf *buf) {
    counts[COUNT_GARBLED]++;
    if (route->protobuf)
        protobuf_add_unreadable_item(buf);
    else
        strbuf_add_text(buf, "{\"metadata\":{\"name\":7}}");
}

/* Those from object on, at most a page of them. The object after the last that was looked at. */
static int add_items(const struct route *route, struct reply *reply, int object) {
    int items = 0, page = route->paged ? world->flavor.page : 0;
    for (; object < objects_of(route->kind) && !(page && items == page); object++) {
        int entry = item_as_of(route, object, reply->as_of);
        if (entry < 0)
            continue;
        if (items++ && !route->protobuf)
            strbuf_add_char(&reply->body, ',');
        if (world->flavor.garbled && !world->healed && chance_permille(30)) {
            add_unreadable_item(route, &reply->body);
            continue;
        }
        if (route->protobuf)
            protobuf_add_item(&reply->body, entry);
        else
            render_object(&reply->body, entry);
        reply_mark(reply, entry);
    }
    return object;
}

static void list(const struct route *route, struct reply *reply) {
    int as_of = world->log_len, object = 0;
    char version[24], token[48] = "";
    if (route->from[0] && (sscanf(route->from, "%d.%d", &as_of, &object) != 2 || as_of < world->compacted)) {
        say_gone(reply, COUNT_410_CONTINUE);
        return;
    }
    if (!route->from[0] && world->flavor.unfaithful && !world->healed && chance_permille(100)) {
        as_of = past_of(as_of);
        counts[COUNT_STALE_LIST]++;
        trace("  server: this list is an old one, of rv %lld", (long long)rv_of(as_of - 1));
    }
    counts[COUNT_LISTS]++;
    counts[COUNT_PROTOBUF] += route->protobuf;
    reply->as_of = as_of;
    if (!route->protobuf)
        strbuf_add_text(&reply->body, "{\"kind\":\"List\",\"items\":[");
    object = add_items(route, reply, object);
    while (object < objects_of(route->kind) && item_as_of(route, object, as_of) < 0)
        object++;
    reply->whole_list = object == objects_of(route->kind);
    snprintf(version, sizeof version, "%lld", (long long)rv_of(as_of - 1));
    if (!reply->whole_list) {
        snprintf(token, sizeof token, "%d.%d", as_of, object);
        counts[COUNT_PAGES]++;
    }
    if (route->protobuf)
        protobuf_finish_list(reply, version, token);
    else
        strbuf_add_format(&reply->body, "],\"metadata\":{\"resourceVersion\":\"%s\"%s%s%s}}", version,
                *token ? ",\"continue\":\"" : "", token, *token ? "\"" : "");
}

/* ---- Jobs ---- */

static int find_job(const struct route *route) {
    for (int i = 0; i < world->n_live; i++) {
        const struct truth_job *job = &world->jobs[world->live[i]];
        if (job->namespace == route->namespace && strcmp(job->name, route->name) == 0)
            return world->live[i];
    }
    return -1;
}

static void say_not_found(struct reply *reply) {
    counts[COUNT_404]++;
    server_say(reply, 404, "NotFound", "there is no such Job");
}

static void say_conflict(struct reply *reply, const char *why) {
    counts[COUNT_409]++;
    server_say(reply, 409, "Conflict", why);
}

static void delete_job(const struct route *route, const char *body, int machine, struct reply *reply) {
    int job = find_job(route);
    if (job < 0) {
        say_not_found(reply);
        return;
    }
    struct truth_job *truth = &world->jobs[job];
    char uid[40];
    json_t *options = json_loads(body, 0, NULL);
    const json_t *preconditions = json_object_get(options, "preconditions");
    const char *wanted_uid = json_string_value(json_object_get(preconditions, "uid"));
    const char *wanted_rv = json_string_value(json_object_get(preconditions, "resourceVersion"));
    if (wanted_uid && strcmp(wanted_uid, job_uid(job, uid)) != 0) {
        say_conflict(reply, "the UID in the precondition does not match");
    } else if (wanted_rv && entry_of(wanted_rv) != truth->head) {
        say_conflict(reply, "the resourceVersion in the precondition does not match");
    } else if (job_state(job)->finalizer) {
        struct job_state state = *job_state(job);
        if (state.deletion_ms == TIME_NONE) {
            state.deletion_ms = server_wall_ms() / 1000 * 1000;
            truth->requester = machine;
            cluster_change_job(job, &state);
        }
        counts[COUNT_TERMINATING]++;
        strbuf_add_text(&reply->body, "{\"kind\":\"Job\"}");
    } else {
        counts[COUNT_DELETED]++;
        cluster_remove_job(job, machine);
        server_say(reply, 200, "", "");
    }
    json_decref(options);
}

static void get_job(const struct route *route, struct reply *reply) {
    int job = find_job(route);
    if (job < 0) {
        say_not_found(reply);
        return;
    }
    struct strbuf object = STRBUF_INIT(BODY_MAX);
    render_object(&object, world->jobs[job].head);
    strbuf_add_text(&reply->body, "{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\",");
    strbuf_add_text(&reply->body, strbuf_text(&object) + 1);
    strbuf_finish(&object);
    reply_mark(reply, world->jobs[job].head);
}

/* ---- the Lease ---- */

static void say_lease(struct reply *reply, int status) {
    reply->status = status;
    strbuf_add_format(&reply->body,
            "{\"kind\":\"Lease\",\"metadata\":{\"name\":\"sexton\",\"namespace\":\"default\",\"resourceVersion\":\"%"
            "lld\"},\"spec\":%s}",
            (long long)rv_of(world->lease.version), world->lease.spec);
}

static void write_lease(const struct route *route, const char *body, int machine, struct reply *reply) {
    struct lease_truth *lease = &world->lease;
    json_t *object = json_loads(body, 0, NULL);
    const char *rv = json_string_value(json_object_get(json_object_get(object, "metadata"), "resourceVersion"));
    json_t *spec = json_object_get(object, "spec");
    const char *holder = json_string_value(json_object_get(spec, "holderIdentity"));
    bool post = route->what == ROUTE_LEASE_POST;
    if (post && lease->there) {
        counts[COUNT_LEASE_CONFLICTS]++;
        server_say(reply, 409, "AlreadyExists", "the Lease is there");
    } else if (!post && !lease->there) {
        server_say(reply, 404, "NotFound", "there is no such Lease");
    } else if (!post && rv && entry_of(rv) != lease->version) {
        counts[COUNT_LEASE_CONFLICTS]++;
        server_say(reply, 409, "Conflict", "the Lease has changed");
    } else if (!spec || !holder) {
        server_say(reply, 422, "Invalid", "no spec");
    } else {
        int before = lease->holder;
        lease->holder = *holder ? machine : BY_NOBODY;
        lease->there = true;
        lease->version = cluster_write_lease();
        free(lease->spec);
        lease->spec = json_dumps(spec, JSON_COMPACT);
        if (lease->holder >= 0 && lease->holder != before) {
            counts[COUNT_LEASE_TAKEN]++;
            trace("  server: machine %d holds the Lease", machine);
        }
        say_lease(reply, post ? 201 : 200);
    }
    json_decref(object);
}

/* ---- everything ---- */

static void other(const struct route *route, struct reply *reply) {
    if (strcmp(route->name, "version") == 0)
        strbuf_add_text(&reply->body, "{\"gitVersion\":\"v1.30.0\"}");
    else if (strcmp(route->name, "kube-system") == 0)
        strbuf_add_text(&reply->body, "{\"metadata\":{\"name\":\"kube-system\",\"uid\":\"cluster-1\"}}");
    else if (strcmp(route->name, "resources") == 0)
        strbuf_add_text(&reply->body, world->flavor.v1beta1
                                              ? "{\"resources\":[{\"name\":\"jobs\"}]}"
                                              : "{\"resources\":[{\"name\":\"jobs\"},{\"name\":\"cronjobs\"}]}");
    else
        server_say(reply, 404, "NotFound", "there is nothing here");
}

void server_handle(const struct route *route, const char *body, int machine, struct reply *reply) {
    int from;
    switch (route->what) {
    case ROUTE_LIST:
        if (route->single)
            get_namespace(route, reply);
        else
            list(route, reply);
        break;
    case ROUTE_WATCH:
        if (route->single) {
            watch_namespace(route, reply);
            break;
        }
        from = entry_of(route->from);
        if (from < 0 || from + 1 < world->compacted) {
            say_gone(reply, COUNT_410_STATUS);
        } else {
            counts[COUNT_WATCHES]++;
            reply->stream = true;
            reply->as_of = from + 1;
        }
        break;
    case ROUTE_DELETE:
        delete_job(route, body, machine, reply);
        break;
    case ROUTE_GET_JOB:
        get_job(route, reply);
        break;
    case ROUTE_LEASE_GET:
        if (world->lease.there)
            say_lease(reply, 200);
        else
            server_say(reply, 404, "NotFound", "there is no such Lease");
        break;
    case ROUTE_LEASE_POST:
    case ROUTE_LEASE_PUT:
        write_lease(route, body, machine, reply);
        break;
    case ROUTE_EVENT:
        strbuf_add_text(&reply->body, "{\"kind\":\"Event\"}");
        break;
    case ROUTE_OTHER:
        other(route, reply);
        break;
    }
}

/* ---- frames of a watch ---- */

static bool concerns(const struct route *route, const struct entry *e) {
    if (e->kind != route->kind)
        return false;
    int namespace = e->kind == KIND_JOB       ? world->jobs[e->object].namespace
                    : e->kind == KIND_CRONJOB ? world->cronjobs[e->object].namespace
                                              : e->object;
    return route->namespace == NAMESPACES || route->namespace == namespace;
}

int server_initial_frame(const struct route *route, int as_of, struct strbuf *buf) {
    int entry = slot_as_of(&world->namespaces[route->namespace], as_of);
    if (entry < 0)
        return -1;
    strbuf_add_text(buf, "{\"type\":\"ADDED\",\"object\":");
    render_object(buf, entry);
    strbuf_add_text(buf, "}\n");
    return entry;
}

bool server_frame(const struct route *route, int entry, struct strbuf *buf) {
    static const char *const types[] = {"ADDED", "MODIFIED", "DELETED"};
    const struct entry *e = entry_at(entry);
    if (!concerns(route, e))
        return false;
    enum change change = e->change;
    if (route->selector) {
        bool was = e->previous >= 0 && entry_at(e->previous)->job.selected;
        bool is = e->job.selected && change != CHANGE_DELETED;
        if (!was && !is)
            return false;
        change = !is ? CHANGE_DELETED : was ? CHANGE_MODIFIED : CHANGE_ADDED;
    }
    counts[COUNT_EVENTS]++;
    if (route->protobuf) {
        protobuf_add_event(buf, types[change], entry);
        return true;
    }
    strbuf_add_text(buf, "{\"type\":\"");
    strbuf_add_text(buf, types[change]);
    strbuf_add_text(buf, "\",\"object\":");
    render_object(buf, entry);
    strbuf_add_text(buf, "}\n");
    return true;
}

void server_bookmark(const struct route *route, int entry, struct strbuf *buf) {
    static const char *const kinds[] = {"Namespace", "CronJob", "Job"};
    char version[24];
    snprintf(version, sizeof version, "%lld", (long long)rv_of(entry));
    counts[COUNT_BOOKMARKS]++;
    if (route->protobuf)
        protobuf_add_made_up_event(buf, "BOOKMARK",
                json_pack("{s:s, s:s, s:{s:s}}", "kind", "Job", "apiVersion", "batch/v1", "metadata", "resourceVersion",
                        version));
    else
        strbuf_add_format(buf,
                "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"%s\",\"metadata\":{\"resourceVersion\":\"%s\"}}}\n",
                kinds[route->kind], version);
}

void server_error_frame(const struct route *route, struct strbuf *buf, int code) {
    if (route->protobuf)
        protobuf_add_made_up_event(buf, "ERROR",
                json_pack("{s:s, s:s, s:i, s:s}", "kind", "Status", "apiVersion", "v1", "code", code, "message",
                        "too old"));
    else
        strbuf_add_format(buf,
                "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":%d,\"message\":\"too old\"}}\n", code);
}

void server_mark_frame(const struct route *route, struct reply *reply, int entry) {
    reply_mark(reply, entry);
    if (!route->protobuf)
        reply->marks[reply->n_marks - 1].end--; /* it is whole without the line's end */
}
