/*
 * rights: which of the permissions that a running controller needs are missing. Asked for at the start, when something
 * was refused, and now and then while something is missing; not while all is well. A change is logged. Loop thread.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "cmd/health.h"
#include "cmd/permissions.h"

#define RIGHTS_PACE_MS 10 /* between two questions: there are 8 for each Namespace of a list */
/* Between two rounds because of refusals: one that brings many brings one round, and one that is no missing right (an
 * admission webhook's is 403 as well) ever fewer. */
#define RIGHTS_SUSPECT_FIRST_MS 10000
#define RIGHTS_SUSPECT_LAST_MS 600000
#define RIGHTS_MISSING_MS 60000   /* while something is missing */
#define RIGHTS_OPTIONAL_MS 600000 /* ... that it does without, maybe because somebody wants it so */
#define RIGHTS_UNKNOWN_MS 300000  /* while the question has no answer */
#define RIGHTS_TOLD_MAX 8         /* missing rights that are named */

struct rights;

struct rights *rights_create(
        struct loop *loop, struct client *client, const struct permissions_settings *settings, struct error *err);
/* NULL is fine. */
void rights_destroy(struct rights *rights);
/* Ask now. */
void rights_start(struct rights *rights);
/* Something was refused: ask again, soon. */
void rights_suspect(struct rights *rights);
/* Texts are borrowed until the next turn of the loop. */
void rights_tell_health(const struct rights *rights, struct health_facts *facts);
