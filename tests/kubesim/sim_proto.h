/*
 * sim_proto: the few bodies that kubectl from 1.32 on sends as protobuf, as JSON: creating a Namespace or a plain Job,
 * and access reviews. Pure.
 */
#ifndef KUBESIM_SIM_PROTO_H
#define KUBESIM_SIM_PROTO_H

#include <jansson.h>

/*
 * A new reference; NULL if it is malformed, of another kind, or has fields that are not known here: nothing is lost
 * without a word. The form is k8s.io/apimachinery runtime.Unknown behind the bytes "k8s" and NUL.
 */
json_t *sim_proto_decode(const char *data, size_t length);

#endif
