#include "sim_control.h"

#include "sim_load.h"
#include "sim_stats.h"
#include "sim_util.h"
#include "sim_watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void reply_ok(struct sim_reply *reply) {
    sim_reply_json(reply, 200, json_pack("{s:b}", "ok", 1));
}

/* NULL after having answered. */
static json_t *control_body(const struct sim_request *req, struct sim_reply *reply) {
    json_error_t error = {0};
    json_t *body = req->body ? json_loadb(req->body, req->body_length, JSON_ALLOW_NUL, &error) : NULL;

    if (!body)
        sim_reply_error(reply, 400, NULL, NULL, "kubesim: the body is not JSON: %s (line %d)",
                req->body ? error.text : "it is empty", error.line);
    return body;
}

static void control_stats(struct sim_request *req, struct sim_reply *reply) {
    struct sim *sim = req->sim;
    json_t *stats = sim_stats_counts(sim->stats);
    json_t *objects = json_object();
    json_t *watches = json_object();

    for (int i = 0; i < SIM_RESOURCE_COUNT; i++) {
        const struct sim_resource *res = sim_store_resource(sim->store, (enum sim_resource_id)i);

        json_object_set_new(objects, res->plural, json_integer((json_int_t)sim_store_count(sim->store, res->id)));
        json_object_set_new(watches, res->plural, json_integer((json_int_t)sim_watch_count(sim, res->id)));
    }
    json_object_set_new(stats, "objects", objects);
    json_object_set_new(stats, "openWatches", watches);
    json_object_set_new(stats, "bytesSent", json_integer((json_int_t)sim->bytes_sent));
    json_object_set_new(stats, "protobufSent", json_integer((json_int_t)sim->protobuf_sent));
    json_object_set_new(stats, "resourceVersion", json_sprintf("%" PRIu64, sim_store_rv(sim->store)));
    sim_reply_json(reply, 200, stats);
}

static void control_reset(struct sim_request *req, struct sim_reply *reply) {
    sim_stats_reset(req->sim->stats);
    req->sim->bytes_sent = 0;
    req->sim->protobuf_sent = 0;
    reply_ok(reply);
}

static void control_audit(struct sim_request *req, struct sim_reply *reply) {
    sim_reply_json(reply, 200, sim_stats_audits(req->sim->stats));
}

static void control_leases(struct sim_request *req, struct sim_reply *reply) {
    struct sim_store *store = req->sim->store;
    size_t count = 0;
    struct sim_version **items = sim_store_list(store, sim_store_resource(store, SIM_LEASES), NULL, NULL, NULL, &count);
    json_t *leases = json_array();

    for (size_t i = 0; i < count; i++) {
        json_t *object = sim_version_object(items[i]);
        json_t *spec = json_object_get(object, "spec");
        json_t *lease = json_is_object(spec) ? json_copy(spec) : json_object();

        json_object_set_new(lease, "namespace", json_string(items[i]->ns));
        json_object_set_new(lease, "name", json_string(items[i]->name));
        json_object_set_new(lease, "resourceVersion", json_sprintf("%" PRIu64, items[i]->rv));
        json_array_append_new(leases, lease);
        json_decref(object);
        sim_version_unref(items[i]);
    }
    free(items);
    sim_reply_json(
            reply, 200, json_pack("{s:o,s:o}", "leases", leases, "writes", sim_stats_lease_writes(req->sim->stats)));
}

static void control_list_faults(struct sim_request *req, struct sim_reply *reply) {
    sim_reply_json(reply, 200, sim_faults_list(req->sim->faults));
}

static void control_add_faults(struct sim_request *req, struct sim_reply *reply) {
    char *error = NULL;
    json_t *body = control_body(req, reply);

    if (!body)
        return;
    if (sim_faults_add(req->sim->faults, body, &error)) {
        sim_watch_apply_live(req->sim);
        reply_ok(reply);
    } else {
        sim_reply_error(reply, 400, NULL, NULL, "kubesim: %s", error);
    }
    free(error);
    json_decref(body);
}

static void control_clear_faults(struct sim_request *req, struct sim_reply *reply) {
    sim_faults_clear(req->sim->faults);
    reply_ok(reply);
}

static void control_clock(struct sim_request *req, struct sim_reply *reply) {
    json_t *body = control_body(req, reply);
    json_t *skew = json_object_get(body, "dateSkewMs");

    if (!body)
        return;
    if (json_is_integer(skew)) {
        req->sim->date_skew_ms = json_integer_value(skew);
        reply_ok(reply);
    } else {
        sim_reply_error(reply, 400, NULL, NULL, "kubesim: {\"dateSkewMs\": N} is wanted");
    }
    json_decref(body);
}

static void control_compact(struct sim_request *req, struct sim_reply *reply) {
    sim_store_compact(req->sim->store);
    reply_ok(reply);
}

static void control_load(struct sim_request *req, struct sim_reply *reply) {
    char *error = NULL;
    size_t count = 0;

    if (sim_load_text(req->sim->store, req->body ? req->body : "", req->body_length, &count, &error))
        sim_reply_json(reply, 200, json_pack("{s:I}", "loaded", (json_int_t)count));
    else
        sim_reply_error(reply, 400, NULL, NULL, "kubesim: %s", error);
    free(error);
}

void sim_control_serve(struct sim_request *req, struct sim_reply *reply) {
    static const struct {
        const char *method;
        const char *path;
        void (*serve)(struct sim_request *, struct sim_reply *);
    } routes[] = {
            {"GET", "/kubesim/stats", control_stats},
            {"POST", "/kubesim/reset-stats", control_reset},
            {"GET", "/kubesim/audit", control_audit},
            {"GET", "/kubesim/leases", control_leases},
            {"GET", "/kubesim/faults", control_list_faults},
            {"POST", "/kubesim/faults", control_add_faults},
            {"DELETE", "/kubesim/faults", control_clear_faults},
            {"POST", "/kubesim/clock", control_clock},
            {"POST", "/kubesim/compact", control_compact},
            {"POST", "/kubesim/load", control_load},
    };

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strcmp(routes[i].method, req->method) == 0 && strcmp(routes[i].path, req->path) == 0) {
            routes[i].serve(req, reply);
            return;
        }
    }
    sim_reply_error(reply, 404, NULL, NULL, "kubesim: no %s %s", req->method, req->path);
}
