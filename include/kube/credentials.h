/*
 * credentials: the login of the moment. Token files are read again at least every 60 s, exec plugins run again before
 * what they gave expires (plugin.h). Loop thread; never blocks it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "kube/kubeconfig.h"

#define EXEC_TIMEOUT_MS 60000 /* a plugin may talk to a cloud's login service; past a minute it hangs */
#define EXEC_REFRESH_MS 10000 /* this long before the expiry: a request on its way must still be in time */
#define EXEC_HOLD_MS 5000     /* between the end of a run and the next start, however it ended: no busy loop */
#define TOKEN_REREAD_MS 60000 /* bound service account tokens rotate hourly; client-go reads each minute */

struct kube_auth {
    const char *authorization;      /* "Bearer ...", "Basic ...", or NULL */
    const char *cert_pem, *key_pem; /* from an exec plugin, or NULL: those of the kube_config count */
    uint64_t generation; /* changes when the login does: connections made with an older one are stale; from 1 */
};

struct credentials;

/* Borrows loop and config until destroyed. */
struct credentials *credentials_create(struct loop *loop, const struct kube_config *config, struct error *err);
/* Allowed in a ready callback, too; asks that wait are dropped without a call. */
void credentials_destroy(struct credentials *credentials);

/*
 * Ask for the login. ready is called exactly once, perhaps before this returns (static tokens, certificates, fresh
 * token files, a plugin that could not be started), or later on the loop (a plugin had to run); auth is borrowed for
 * the call, or until the credentials are destroyed in it; on failure auth is NULL and err says why (plugin not found
 * with its installHint, exit code with the last line it wrote to standard error, rubbish, timed out; token file
 * unreadable): all ERROR_USAGE but for time-outs (ERROR_REMOTE), too much output (ERROR_LIMIT) and what the system
 * refused (ERROR_IO, ERROR_NOMEM). A plugin is not run again within 5 s of its last end: asks in between get the same
 * answer. A failure does not take away a login that has not expired. arg identifies the ask for credentials_forget.
 * Many asks may wait for one plugin run.
 */
void credentials_ask(struct credentials *credentials,
        void (*ready)(void *arg, const struct kube_auth *auth, const struct error *err), void *arg);
/* The asks with this arg are not called any more. */
void credentials_forget(struct credentials *credentials, void *arg);

/* The API server answered 401 to what came with this generation: read or run again on the next ask. Does nothing when
 * the login is newer than that already. Returns false when there is nothing that could change (static token). */
bool credentials_refused(struct credentials *credentials, uint64_t generation);

/* Instead of EXEC_TIMEOUT_MS, for plugins started from now on. For tests. */
void credentials_set_exec_timeout(struct credentials *credentials, int64_t timeout_ms);
