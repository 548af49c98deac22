/*
 * sim_control: /kubesim/: what tests ask of the server itself. No authentication, no faults, not counted.
 */
#ifndef KUBESIM_SIM_CONTROL_H
#define KUBESIM_SIM_CONTROL_H

#include "sim_request.h"

/* Locked. */
void sim_control_serve(struct sim_request *req, struct sim_reply *reply);

#endif
