#include "serve/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define PORT_MAX 65535

/* -1: it is none. */
static long parse_port(const char *text) {
    long port = 0;
    if (!*text)
        return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return -1;
        port = port * 10 + (*text - '0');
        if (port > PORT_MAX)
            return -1;
    }
    return port;
}

static int refuse(const char *text, const char *why, struct error *err) {
    return error_set(err, ERROR_USAGE, "'%.100s' %s: write :8080, 127.0.0.1:8080 or [::1]:8080", text, why);
}

int address_parse(const char *text, struct address *ret, struct error *err) {
    char host[INET6_ADDRSTRLEN];
    bool bracketed = *text == '[';
    const char *colon = strrchr(text, ':');
    const char *start = bracketed ? text + 1 : text;
    const char *end = bracketed ? strchr(text, ']') : colon;
    if (!colon || !end || (bracketed && end + 1 != colon))
        return refuse(text, "has no port", err);
    if ((size_t)(end - start) >= sizeof host)
        return refuse(text, "has no address that can be understood", err);
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    long port = parse_port(colon + 1);
    if (port < 0)
        return refuse(text, "has no port from 0 to 65535", err);
    struct address address = {0};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    address.both = !bracketed && !*host;
    if (address.both || (bracketed && inet_pton(AF_INET6, host, &v6.sin6_addr) == 1)) {
        address.socket.v6 = v6;
        address.len = sizeof v6;
    } else if (!bracketed && inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        address.socket.v4 = v4;
        address.len = sizeof v4;
    } else {
        return refuse(text,
                !bracketed && strchr(host, ':') ? "needs [ ] around its IPv6 address"
                                                : "has no address that can be understood (names are not looked up)",
                err);
    }
    *ret = address;
    return 0;
}

void address_format(const struct address *address, char text[ADDRESS_TEXT_MAX]) {
    char host[INET6_ADDRSTRLEN] = "";
    if (address->socket.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address->socket.v4.sin_addr, host, sizeof host);
        snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(address->socket.v4.sin_port));
        return;
    }
    inet_ntop(AF_INET6, &address->socket.v6.sin6_addr, host, sizeof host);
    if (address->both)
        snprintf(text, ADDRESS_TEXT_MAX, ":%u", ntohs(address->socket.v6.sin6_port));
    else
        snprintf(text, ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(address->socket.v6.sin6_port));
}
