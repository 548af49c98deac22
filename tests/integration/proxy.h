/*
 * proxy: a wire between the program under test and the simulated API server, that the test can cut. One at a time.
 *
 * It knows bytes only. A rule is about connections whose first request has `match` in its first line; what it does
 * happens in the middle of what comes back, so also in the middle of a chunk or an event.
 */
#pragma once

#include <stdint.h>

enum proxy_action {
    PROXY_RESET,  /* RST */
    PROXY_CLOSE,  /* FIN */
    PROXY_SILENT, /* nothing more in either direction; the connection stays, and is acknowledged */
    PROXY_VANISH  /* the same, and nothing is acknowledged: as when the machine at the other end lost its power */
};

/* Lets the kubeconfig of sim_start lead through it. */
void proxy_start(void);
/* For the next `times` such connections, open ones too, after so many more bytes of answers. */
void proxy_cut(const char *match, enum proxy_action action, int64_t after, int times);
/* Connections that were cut. */
int proxy_cuts(void);
/* ... and that came, whether the server could be reached or not. */
int proxy_connections(void);
