/*
 * sim_select: label and field selectors, as apimachinery's labels.Parse and fields.ParseSelector read them.
 *
 * Pure but for memory; a selector does not change once parsed.
 */
#ifndef KUBESIM_SIM_SELECT_H
#define KUBESIM_SIM_SELECT_H

#include <jansson.h>
#include <stdbool.h>

struct sim_selector;

/* Either text may be NULL. NULL with *ret_error (to be freed) when one cannot be understood. */
struct sim_selector *sim_selector_parse(const char *labels, const char *fields, char **ret_error);
void sim_selector_destroy(struct sim_selector *sel);

/* Selects everything: then remainingItemCount may be told. */
bool sim_selector_is_empty(const struct sim_selector *sel);

/* labels may be NULL. */
bool sim_selector_match(const struct sim_selector *sel, const json_t *labels, const char *ns, const char *name);

#endif
