/*
 * address: where to listen, as one writes it: ":8080" (every address of this machine), "127.0.0.1:8080", "[::1]:8080".
 * Pure. Any thread.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/error.h"

#define ADDRESS_TEXT_MAX (INET6_ADDRSTRLEN + 16) /* "[ADDRESS]:65535", NUL counted */

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } socket;
    socklen_t len;
    bool both; /* no address was given: IPv6 and IPv4 */
};

/* Names are not looked up; port 0 has the system choose. Errors: ERROR_USAGE. */
int address_parse(const char *text, struct address *ret, struct error *err) must_check;
/* As address_parse takes it. */
void address_format(const struct address *address, char text[ADDRESS_TEXT_MAX]);
