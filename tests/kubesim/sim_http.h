/*
 * sim_http: sockets, TLS and who is let in; from a request to its answer. A thread for each connection.
 */
#ifndef KUBESIM_SIM_HTTP_H
#define KUBESIM_SIM_HTTP_H

#include "sim.h"

struct sim_http;

/* Listens on 127.0.0.1 only. NULL, with *ret_error to be freed. */
struct sim_http *sim_http_start(struct sim *sim, char **ret_error);

/* sim->stopping must be set: then no thread waits any longer. Ends all connections. */
void sim_http_stop(struct sim_http *http);
int sim_http_port(const struct sim_http *http);

#endif
