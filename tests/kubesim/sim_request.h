/*
 * sim_request: one request as read: where it goes, what it asks, who asks. Belongs to the thread of its connection.
 */
#ifndef KUBESIM_SIM_REQUEST_H
#define KUBESIM_SIM_REQUEST_H

#include "sim.h"
#include "sim_faults.h"
#include "sim_reply.h"
#include "sim_store.h"

struct MHD_Connection;

enum sim_route {
    SIM_ROUTE_UNKNOWN,     /* no such path: 404 in plain text */
    SIM_ROUTE_NO_RESOURCE, /* the group is served, this resource is not: 404 as a Status */
    SIM_ROUTE_RESOURCE,
    SIM_ROUTE_DISCOVERY,
    SIM_ROUTE_REVIEW,  /* selfsubjectaccessreviews */
    SIM_ROUTE_CONTROL, /* /kubesim/ */
};

struct sim_request {
    struct sim *sim;
    struct MHD_Connection *connection;
    const char *method; /* GET for HEAD */
    char *path;
    char *body; /* with a NUL behind it; NULL if there is none */
    size_t body_length;
    bool body_too_large;
    int64_t read_ms; /* wall clock */
    enum sim_route route;
    const struct sim_resource *resource; /* SIM_ROUTE_RESOURCE only */
    char *ns;                            /* never NULL */
    char *name;
    bool watch_prefix; /* /api/v1/watch/..., of a collection or of one object */
    char *subresource;
    const char *verb;
    char *resource_name;       /* "jobs", "jobs/status", "" */
    struct sim_action *action; /* a reference */
};

/* Fills in everything that follows from method, path and query. */
void sim_request_route(struct sim_request *req);

/* NULL if it is not in the query. Borrowed. */
const char *sim_request_query(const struct sim_request *req, const char *key);
const char *sim_request_header(const struct sim_request *req, const char *key);

/* As apimachinery reads booleans: there, and neither "false" nor "0". */
bool sim_request_flag(const struct sim_request *req, const char *key);

/* The Namespace that the authorizer sees: a Namespace is in itself. */
const char *sim_request_namespace(const struct sim_request *req);

struct sim_call sim_request_call(const struct sim_request *req);

#endif
