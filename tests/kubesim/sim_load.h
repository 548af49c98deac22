/*
 * sim_load: objects from JSON: a List, or single objects, or several of either one after the other.
 *
 * They are taken as they are, however odd (uid, times and status too); only resourceVersion is the store's, and a uid
 * is made where none is. What has no name cannot be kept and is an error; kinds that kubesim does not serve are
 * skipped. A namespace that is missing is made. An object that is there already is replaced.
 */
#ifndef KUBESIM_SIM_LOAD_H
#define KUBESIM_SIM_LOAD_H

#include "sim_store.h"

/* Locked. False with *ret_error, to be freed; what came before the fault is loaded. */
bool sim_load_text(struct sim_store *store, const char *text, size_t length, size_t *ret_count, char **ret_error);
bool sim_load_file(struct sim_store *store, const char *path, size_t *ret_count, char **ret_error);

/* Locked. Makes a namespace unless it is there. annotations is borrowed and may be NULL. */
void sim_load_namespace(struct sim_store *store, const char *name, json_t *annotations);

#endif
