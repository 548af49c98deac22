/*
 * sim_watch: one watch: its place in the event log, and what comes next.
 */
#ifndef KUBESIM_SIM_WATCH_H
#define KUBESIM_SIM_WATCH_H

#include "sim_request.h"
#include "sim_select.h"

enum sim_watch_step { SIM_WATCH_MORE, SIM_WATCH_END, SIM_WATCH_CUT };

/*
 * Locked. Takes sel. Begins a watch from the request's query and gives it to reply, which fills by and by; or makes
 * reply an error. What is too old for the log becomes an ERROR event within the stream, as with the real server.
 */
void sim_watch_begin(struct sim_request *req, struct sim_reply *reply, struct sim_selector *sel);

/* Not locked. Ends the watch. */
void sim_watch_destroy(struct sim_watch *watch);

/* Not locked. Blocks until there is something to send, which is then in reply. */
enum sim_watch_step sim_watch_next(struct sim_watch *watch, struct sim_reply *reply);

/* Locked. Gives each open watch the action of the first live rule that matches it. */
void sim_watch_apply_live(struct sim *sim);

/* Locked. */
size_t sim_watch_count(const struct sim *sim, enum sim_resource_id id);

#endif
