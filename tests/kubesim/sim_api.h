/*
 * sim_api: the verbs on resources, access reviews and discovery, with the status codes and words of kube-apiserver.
 */
#ifndef KUBESIM_SIM_API_H
#define KUBESIM_SIM_API_H

#include "sim_request.h"

/* All three: locked; the answer is in reply. */
void sim_api_serve(struct sim_request *req, struct sim_reply *reply);
void sim_api_review(struct sim_request *req, struct sim_reply *reply);
void sim_discovery_serve(struct sim_request *req, struct sim_reply *reply);

/* 403 in the words of the RBAC authorizer. */
void sim_api_forbid(const struct sim_request *req, struct sim_reply *reply);

/* The DeleteOptions of a request, from body and query; borrowed strings within the tree. */
struct sim_delete_options {
    json_t *tree; /* to be decref'ed; NULL if there is no body */
    const char *uid;
    const char *rv;
    const char *propagation;
    bool dry_run;
};

/* False if the body is not understood; *ret is empty then. */
bool sim_api_parse_delete(const struct sim_request *req, struct sim_delete_options *ret);

#endif
