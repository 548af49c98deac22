/*
 * plugin: one run of an exec credential plugin, from its start to the login it printed. Loop thread; never blocks it.
 *
 * The process gets a group of its own, no terminal, none of our files, and the kubeconfig's environment on top of ours.
 * The group is killed when it takes too long, prints too much, or is destroyed; what a plugin leaves in the background
 * when it ends well is left alone. Its output is never shown, only the last line it wrote to standard error.
 * Protocol: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "kube/kubeconfig.h"

#define EXEC_OUTPUT_MAX (256 * 1024) /* an ExecCredential holds a token or a certificate chain */

/* Strings are owned; NULL: not set. */
struct login {
    char *authorization; /* "Bearer ..." or "Basic ..." */
    char *cert_pem, *key_pem;
    int64_t expires_ms; /* wall clock; TIME_NONE: not known */
};

#define LOGIN_INIT \
    { .expires_ms = TIME_NONE }

void login_finish(struct login *login);
/* "Bearer TOKEN" on the heap. White space around the token is cut, as in client-go; what is left must fit in a header.
 */
int login_make_bearer(const char *token, char **ret, struct error *err) must_check;

struct plugin;

/*
 * config is borrowed until the end. ended is called once, unless the plugin is destroyed before, and not from within
 * plugin_start: with a login to be taken (or finished), or with NULL and an error, of which plugin_start has the same
 * kinds: ERROR_USAGE for what the plugin or its kubeconfig is to blame for, ERROR_REMOTE for a time-out, ERROR_LIMIT
 * for too much output, ERROR_IO and ERROR_NOMEM. When it is called the pointer is dead already.
 */
struct plugin *plugin_start(struct loop *loop, const struct kube_config *config, int64_t timeout_ms,
        void (*ended)(void *arg, struct login *login, const struct error *err), void *arg, struct error *err);
void plugin_destroy(struct plugin *plugin);
