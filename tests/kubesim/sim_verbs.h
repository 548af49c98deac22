/*
 * sim_verbs: what the verbs on resources have in common, and their entry points. Inner to sim_api.
 *
 * All locked; each sim_..._serve leaves its answer in reply.
 */
#ifndef KUBESIM_SIM_VERBS_H
#define KUBESIM_SIM_VERBS_H

#include "sim_request.h"

#include <jansson.h>

/* list and watch; sim_list.c. */
void sim_collection_serve(struct sim_request *req, struct sim_reply *reply);

/* sim_write.c */
void sim_create_serve(struct sim_request *req, struct sim_reply *reply);
void sim_update_serve(struct sim_request *req, struct sim_reply *reply);
void sim_patch_serve(struct sim_request *req, struct sim_reply *reply);

/* sim_event.c: what events.k8s.io/v1 validates; before: NULL when it is new. False after having answered. */
bool sim_event_check(struct sim_request *req, struct sim_reply *reply, const json_t *event, const json_t *before);

/* sim_delete.c */
void sim_delete_serve(struct sim_request *req, struct sim_reply *reply);

/* {name, group, kind} as errors have it; group is left out when it is core's. kind is the plural in most errors. */
json_t *sim_details_make(const char *name, const char *group, const char *kind);
json_t *sim_details_of(const struct sim_resource *res, const char *name);

/* 404 and 422 in the server's words. */
void sim_reply_not_found(struct sim_reply *reply, const struct sim_resource *res, const char *name);
void sim_reply_invalid(struct sim_reply *reply, const struct sim_resource *res, const char *name, const char *field,
        const char *problem);

bool sim_request_is_dry(const struct sim_request *req);
bool sim_request_has_type(const struct sim_request *req, const char *type);

/* The body as a JSON object, a new reference; NULL after having answered. */
json_t *sim_body_parse(struct sim_request *req, struct sim_reply *reply);

#endif
