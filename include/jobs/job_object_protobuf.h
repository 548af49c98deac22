/*
 * job_object_protobuf: Jobs as an API server sends them in protobuf, read into a job_object.
 *
 * Gives the same job_object as the JSON that the same server would send of the same Job, but for what only JSON has
 * (json, template). managedFields and the Pod template are skipped, of the latter all but the images. Texts that are
 * not UTF-8 are repaired as Go repairs them in JSON. A field that is there twice where one is meant, a label twice, or
 * a key with a NUL make a Job unreadable, as in JSON.
 *
 * Memory: the texts and lists of one Job, at most JOB_PROTOBUF_MEMORY_MAX. Any thread.
 */
#pragma once

#include "base/protobuf.h"

#define JOB_PROTOBUF_MEMORY_MAX (16u << 20) /* what the 1.5 MB that etcd takes can become, all of it tiny labels */

/* Its objects are struct job_object. */
extern const struct protobuf_codec job_protobuf_codec;
