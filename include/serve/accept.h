/*
 * accept: how much an Accept header wants a format (RFC 9110, 12.5.1). Pure, any thread.
 */
#pragma once

#define ACCEPT_MOST 1000

/* The q of the most specific range that has this type ("text/plain") of this version, in thousandths; 0: not wanted.
 * Parameters other than version and q are passed over, and so is a range that cannot be read. No header ("") wants
 * everything. */
int accept_quality(const char *accept, const char *type, const char *version);
