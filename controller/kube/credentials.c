#include "kube/credentials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kube/pem.h"
#include "kube/plugin.h"
#include "kube/tree.h"

struct waiter {
    struct waiter *next;
    void (*ready)(void *arg, const struct kube_auth *auth, const struct error *err);
    void *arg;
    uint64_t run; /* the plugin run it waits for */
};

struct credentials {
    struct loop *loop;
    const struct kube_config *config;
    struct login login;
    uint64_t generation; /* 0: no login yet */
    bool refused;        /* the API server does not take the login */

    int64_t read_ms; /* token file: when it was read last, monotonic */

    struct plugin *plugin; /* NULL: none runs */
    int64_t timeout_ms;
    uint64_t run;         /* counts the starts */
    bool ended;           /* a run has ended, at: */
    int64_t ended_ms;     /* monotonic */
    struct error failure; /* of the last run; ERROR_NONE when it was a success */
    struct waiter *waiters;
    int delivering; /* nested; meanwhile destroy leaves the last step, the memory, to deliver */
    bool destroyed;
};

/* ---- The login ---- */

static bool same(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Takes the login. */
static void set_login(struct credentials *c, struct login *login) {
    if (c->generation == 0 || !same(c->login.authorization, login->authorization) ||
            !same(c->login.cert_pem, login->cert_pem) || !same(c->login.key_pem, login->key_pem))
        c->generation++;
    login_finish(&c->login);
    c->login = *login;
    *login = (struct login)LOGIN_INIT;
    c->refused = false;
}

/* Is the login good for margin_ms from now? */
static bool is_good(const struct credentials *c, int64_t margin_ms) {
    if (c->generation == 0 || c->refused)
        return false;
    return c->login.expires_ms == TIME_NONE || clock_wall_ms() < c->login.expires_ms - margin_ms;
}

/* RFC 7617. */
static int make_basic(const char *username, const char *password, char **ret, struct error *err) {
    char *pair = NULL, *encoded = NULL, *result = NULL;
    int len = asprintf(&pair, "%s:%s", username, password ? password : "");
    if (len < 0)
        return error_nomem(err);
    encoded = base64_encode(pair, (size_t)len);
    if (!encoded || asprintf(&result, "Basic %s", encoded) < 0)
        result = NULL;
    kube_secret_free(pair);
    kube_secret_free(encoded);
    if (!result)
        return error_nomem(err);
    *ret = result;
    return 0;
}

static int make_static(struct credentials *c, struct error *err) {
    struct login login = LOGIN_INIT;
    if (c->config->token && login_make_bearer(c->config->token, &login.authorization, err) < 0)
        return -1;
    if (!c->config->token && c->config->username &&
            make_basic(c->config->username, c->config->password, &login.authorization, err) < 0)
        return -1;
    set_login(c, &login);
    return 0;
}

static void answer(
        const struct credentials *c, void (*ready)(void *, const struct kube_auth *, const struct error *), void *arg) {
    struct kube_auth auth = {.authorization = c->login.authorization,
            .cert_pem = c->login.cert_pem,
            .key_pem = c->login.key_pem,
            .generation = c->generation};
    ready(arg, &auth, NULL);
}

/* ---- Token files ---- */

static int read_token(struct credentials *c, struct error *err) {
    struct login login = LOGIN_INIT;
    char *text;
    if (kubeconfig_read_file(c->config->token_file, KUBECONFIG_TOKEN_MAX, &text, NULL, err) < 0)
        return error_context(err, "token file");
    int result = login_make_bearer(text, &login.authorization, err);
    kube_secret_free(text);
    if (result < 0) {
        char name[TREE_QUOTED_MAX];
        return error_context(err, "token file %s", tree_quote(name, c->config->token_file));
    }
    set_login(c, &login);
    return 0;
}

/* As client-go: a file that cannot be read for once (it is being replaced) does not take away the token we have. */
static int refresh_token(struct credentials *c, struct error *err) {
    int64_t now_ms = clock_mono_ms();
    if (is_good(c, 0) && now_ms - c->read_ms < TOKEN_REREAD_MS)
        return 0;
    if (read_token(c, err) < 0) {
        if (!is_good(c, 0))
            return -1;
        log_warn("token file cannot be read again, the last token is kept", log_text("error", err->text));
    }
    c->read_ms = now_ms;
    return 0;
}

/* ---- Plugins ---- */

/* Tell all who wait for a run up to this one. The credentials may be gone afterwards. */
static void deliver(struct credentials *c, uint64_t run) {
    c->delivering++;
    for (struct waiter **at = &c->waiters; *at;) {
        struct waiter waiter = **at;
        if (waiter.run > run) {
            at = &(*at)->next;
            continue;
        }
        free(*at);
        *at = waiter.next;
        struct error failure = c->failure;
        if (failure.kind == ERROR_NONE || is_good(c, 0))
            answer(c, waiter.ready, waiter.arg);
        else
            waiter.ready(waiter.arg, NULL, &failure);
        at = &c->waiters; /* anything may have happened to the list; after destroy it is empty */
    }
    c->delivering--;
    if (c->destroyed && !c->delivering)
        free(c);
}

/* The run is over: login or failure is set. */
static void end_run(struct credentials *c, const struct error *failure) {
    c->failure = failure ? *failure : (struct error){.kind = ERROR_NONE};
    c->ended = true;
    c->ended_ms = clock_mono_ms();
    if (failure && is_good(c, 0))
        log_warn("login could not be renewed, the last one is kept", log_text("error", c->failure.text));
    deliver(c, c->run);
}

static void on_ended(void *arg, struct login *login, const struct error *err) {
    struct credentials *c = arg;
    c->plugin = NULL;
    if (login)
        set_login(c, login);
    end_run(c, err);
}

static void ask_plugin(struct credentials *c,
        void (*ready)(void *arg, const struct kube_auth *auth, const struct error *err), void *arg) {
    struct error failure = c->failure;
    bool running = c->plugin, held = c->ended && clock_mono_ms() - c->ended_ms < EXEC_HOLD_MS;
    if (is_good(c, EXEC_REFRESH_MS) || (!running && held && (failure.kind == ERROR_NONE || is_good(c, 0)))) {
        answer(c, ready, arg);
        return;
    }
    if (!running && held) {
        ready(arg, NULL, &failure);
        return;
    }
    struct waiter **end = &c->waiters, *waiter = calloc(1, sizeof *waiter);
    if (!waiter) {
        error_nomem(&failure);
        ready(arg, NULL, &failure);
        return;
    }
    if (!running)
        c->run++;
    *waiter = (struct waiter){.ready = ready, .arg = arg, .run = c->run};
    while (*end)
        end = &(*end)->next;
    *end = waiter;
    if (running)
        return;
    c->plugin = plugin_start(c->loop, c->config, c->timeout_ms, on_ended, c, &failure);
    if (!c->plugin)
        end_run(c, &failure);
}

/* ---- For others ---- */

struct credentials *credentials_create(struct loop *loop, const struct kube_config *config, struct error *err) {
    struct credentials *c = calloc(1, sizeof *c);
    if (!c) {
        error_nomem(err);
        return NULL;
    }
    *c = (struct credentials){
            .loop = loop, .config = config, .login.expires_ms = TIME_NONE, .timeout_ms = EXEC_TIMEOUT_MS};
    if (!config->token_file && !config->exec && make_static(c, err) < 0) {
        credentials_destroy(c);
        return NULL;
    }
    return c;
}

void credentials_destroy(struct credentials *c) {
    if (!c)
        return;
    plugin_destroy(c->plugin);
    for (struct waiter *waiter = c->waiters, *next; waiter; waiter = next) {
        next = waiter->next;
        free(waiter);
    }
    c->waiters = NULL;
    login_finish(&c->login);
    c->destroyed = true;
    if (!c->delivering)
        free(c);
}

void credentials_ask(struct credentials *c,
        void (*ready)(void *arg, const struct kube_auth *auth, const struct error *err), void *arg) {
    struct error failure = {0};
    if (c->config->exec && !c->config->token_file)
        ask_plugin(c, ready, arg);
    else if (c->config->token_file && refresh_token(c, &failure) < 0)
        ready(arg, NULL, &failure);
    else
        answer(c, ready, arg);
}

void credentials_forget(struct credentials *c, void *arg) {
    for (struct waiter **at = &c->waiters; *at;) {
        struct waiter *waiter = *at;
        if (waiter->arg != arg) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        free(waiter);
    }
}

bool credentials_refused(struct credentials *c, uint64_t generation) {
    if (!c->config->token_file && !c->config->exec)
        return false;
    if (generation == c->generation)
        c->refused = true;
    return true;
}

void credentials_set_exec_timeout(struct credentials *c, int64_t timeout_ms) {
    c->timeout_ms = timeout_ms;
}
