/*
 * uuid: a UUID as it is written in Kubernetes (RFC 9562, lower case), and its 16 bytes. Pure, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define UUID_TEXT_MAX 37 /* bytes with NUL */

/* False, and *ret untouched, for any text that uuid_format would not give back as it is. */
bool uuid_parse(const char *text, uint64_t ret[2]);
/* Returns buf. */
const char *uuid_format(const uint64_t uuid[2], char buf[UUID_TEXT_MAX]);
