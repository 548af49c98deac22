/*
 * decode: what clients send as application/vnd.kubernetes.protobuf, as JSON: the way back from encode. Pure.
 */
#ifndef TESTS_PROTOBUF_DECODE_H
#define TESTS_PROTOBUF_DECODE_H

#include <jansson.h>

/*
 * A new reference, with kind and apiVersion; what Go's omitempty would leave out is left out. NULL if it is malformed,
 * of a kind that is not in the schema, or has a field that is not known there: nothing is lost without a word.
 */
json_t *proto_decode_object(const char *data, size_t length);

#endif
