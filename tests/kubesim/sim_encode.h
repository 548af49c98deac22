/*
 * sim_encode: answers as protobuf, for who prefers that: Jobs (one, lists, watches) and Status. All else is JSON.
 *
 * All locked. A version is encoded when it is first asked for, and keeps its bytes. One that protobuf cannot say
 * (--load may bring in such) is a failure of the request, told in its answer: a test that is about such a thing has to
 * start kubesim with --no-protobuf.
 */
#ifndef KUBESIM_SIM_ENCODE_H
#define KUBESIM_SIM_ENCODE_H

#include "sim_reply.h"

/* Whether this resource goes out as protobuf in this reply. */
bool sim_encode_applies(const struct sim_reply *reply, const struct sim_resource *res);

/* json (borrowed) if it is a kind that is encoded at all; otherwise false, with nothing done. */
bool sim_encode_json(struct sim_reply *reply, const json_t *json);

/* The rest answers 500 when it cannot be said. */
void sim_encode_object(
        struct sim_reply *reply, int status, const struct sim_resource *res, struct sim_version *version);

/* A list with this metadata (borrowed); raw bytes, if there are any, in front of the items. */
void sim_encode_list(struct sim_reply *reply, const struct sim_resource *res, const json_t *metadata,
        struct sim_version **items, size_t count, const char *raw, size_t raw_length);

/* One frame of a watch. False, with `reply` as it was, when it cannot be said: a Status of that is in *ret_status. */
bool sim_encode_event(struct sim_reply *reply, const struct sim_resource *res, const char *type,
        struct sim_version *version, json_t **ret_status);
void sim_encode_json_event(struct sim_reply *reply, const json_t *event);

#endif
