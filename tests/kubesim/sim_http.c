#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sim_http.h"

#include "sim_api.h"
#include "sim_control.h"
#include "sim_stats.h"
#include "sim_util.h"

#include "../protobuf/encode.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    BODY_LIMIT = 3 * 1024 * 1024, /* kube-apiserver's MaxRequestBodyBytes */
    CONTROL_BODY_LIMIT = 1024 * 1024 * 1024,
    CONNECTION_LIMIT = 4000,
    CONNECTION_MEMORY = 256 * 1024, /* also bounds a chunk: few and large ones for lists */
    WHOLE_LIMIT = 2048,             /* larger answers are chunked, as Go's net/http does it */
    BACKLOG = 1024,
};

struct sim_http {
    struct sim *sim;
    struct MHD_Daemon *daemon;
    char *cert;
    char *key;
    char *client_ca;
    int (*verify_peer)(void *session, unsigned int *status);
};

/* ---- who is let in ---- */

static bool token_in_file(const char *path, const char *token) {
    size_t length = 0;
    char *text = sim_file_read(path, &length);
    char *rest = text;
    bool found = false;

    for (char *line = strsep(&rest, "\n"); line && !found; line = strsep(&rest, "\n")) {
        size_t n = strlen(line);

        while (n > 0 && strchr("\r \t", line[n - 1]))
            line[--n] = '\0';
        found = n > 0 && strcmp(line, token) == 0;
    }
    free(text);
    return found;
}

static bool request_has_certificate(const struct sim_http *http, struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info;
    unsigned int status = 1;

    if (!http->verify_peer)
        return false;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info && http->verify_peer(info->tls_session, &status) == 0 && status == 0;
}

static bool request_is_authentic(const struct sim_http *http, const struct sim_request *req) {
    const struct sim_options *opt = &req->sim->opt;
    const char *header = sim_request_header(req, "Authorization");
    const char *token = header && strncmp(header, "Bearer ", 7) == 0 ? header + 7 : NULL;

    if (!opt->token && !opt->token_file && !opt->client_ca)
        return true;
    if (token && opt->token && strcmp(token, opt->token) == 0)
        return true;
    if (token && opt->token_file && token_in_file(opt->token_file, token))
        return true;
    return request_has_certificate(http, req->connection);
}

/* ---- a request ---- */

static struct sim_request *request_create(
        struct sim *sim, struct MHD_Connection *connection, const char *method, const char *url) {
    struct sim_request *req = sim_alloc(sizeof(*req));

    req->sim = sim;
    req->connection = connection;
    req->method = strcmp(method, "HEAD") == 0     ? "GET"
                  : strcmp(method, "GET") == 0    ? "GET"
                  : strcmp(method, "POST") == 0   ? "POST"
                  : strcmp(method, "PUT") == 0    ? "PUT"
                  : strcmp(method, "PATCH") == 0  ? "PATCH"
                  : strcmp(method, "DELETE") == 0 ? "DELETE"
                                                  : "";
    req->path = sim_strdup(url);
    sim_request_route(req);
    return req;
}

static void request_destroy(struct sim_request *req) {
    if (!req)
        return;
    free(req->path);
    free(req->body);
    free(req->ns);
    free(req->name);
    free(req->subresource);
    free(req->resource_name);
    sim_action_unref(req->action);
    free(req);
}

static void request_take_body(struct sim_request *req, const char *data, size_t size) {
    size_t most = req->route == SIM_ROUTE_CONTROL ? CONTROL_BODY_LIMIT : BODY_LIMIT;
    size_t capacity = 4096;

    if (req->body_too_large || size > most - req->body_length) {
        req->body_too_large = true;
        return;
    }
    while (capacity <= req->body_length + size)
        capacity *= 2;
    req->body = realloc(req->body, capacity);
    if (!req->body)
        abort();
    memcpy(req->body + req->body_length, data, size);
    req->body_length += size;
    req->body[req->body_length] = '\0';
}

static const char *canned_message(int code) {
    switch (code) {
    case 401:
        return "Unauthorized";
    case 404:
        return "the server could not find the requested resource";
    case 429:
        return "Too many requests, please try again later.";
    case 500:
        return "Internal error occurred: kubesim was told to fail";
    case 503:
        return "the server is currently unable to handle the request";
    case 504:
        return "Timeout: request did not complete within the allotted timeout";
    default:
        return "kubesim was told to answer so";
    }
}

static void reply_canned(struct sim_reply *reply, const struct sim_action *action) {
    int status = action->status ? action->status : 200;

    if (action->body || status < 400) {
        reply->status = status;
        sim_reply_add(reply, action->body ? action->body : "", action->body_length);
    } else {
        uint64_t seconds = 0;
        json_t *details = NULL;

        if (action->retry_after && sim_parse_uint(action->retry_after, &seconds))
            details = json_pack("{s:I}", "retryAfterSeconds", (json_int_t)seconds);
        sim_reply_error(reply, status, action->reason, details, "%s",
                action->message ? action->message : canned_message(status));
    }
}

/* Its parts end up in messages. */
static bool path_is_text(const struct sim_request *req) {
    json_t *text = json_string(req->path);

    json_decref(text);
    return text != NULL;
}

/* Locked. */
static void request_answer(struct sim_request *req, struct sim_reply *reply) {
    const struct sim_action *action = req->action;

    if (action && action->deny) {
        sim_api_forbid(req, reply);
        return;
    }
    if (action && (action->status || action->body)) {
        reply_canned(reply, action);
        return;
    }
    if (!path_is_text(req)) {
        sim_reply_error(reply, 400, NULL, NULL, "the path is not UTF-8");
        return;
    }
    if (req->body_too_large) {
        sim_reply_error(reply, 413, NULL, NULL, "Request entity too large: limit is %d", BODY_LIMIT);
        return;
    }
    if (!*req->method) {
        sim_reply_error(
                reply, 405, NULL, json_object(), "the server does not allow this method on the requested resource");
        return;
    }
    switch (req->route) {
    case SIM_ROUTE_RESOURCE:
        sim_api_serve(req, reply);
        break;
    case SIM_ROUTE_DISCOVERY:
        sim_discovery_serve(req, reply);
        break;
    case SIM_ROUTE_REVIEW:
        sim_api_review(req, reply);
        break;
    case SIM_ROUTE_NO_RESOURCE:
        sim_reply_error(reply, 404, NULL, json_object(), "the server could not find the requested resource");
        break;
    case SIM_ROUTE_UNKNOWN:
    case SIM_ROUTE_CONTROL:
        reply->status = 404;
        reply->content_type = "text/plain; charset=utf-8";
        sim_reply_add_text(reply, "404 page not found\n");
        break;
    }
}

static void account_lease(const struct sim_request *req, int code, bool answered) {
    json_t *body = req->body ? json_loadb(req->body, req->body_length, 0, NULL) : NULL;
    const json_t *spec = json_object_get(body, "spec");
    const char *name = json_string_value(json_object_get(json_object_get(body, "metadata"), "name"));

    sim_stats_lease(req->sim->stats, &(struct sim_lease_write){.verb = req->verb,
                                             .ns = req->ns,
                                             .name = *req->name ? req->name
                                                     : name     ? name
                                                                : "",
                                             .holder = json_string_value(json_object_get(spec, "holderIdentity")),
                                             .time_ms = req->read_ms,
                                             .code = code,
                                             .answered = answered});
    json_decref(body);
}

/* Locked. code 0: nothing was done and nothing answered. */
static void request_account(struct sim_request *req, int code, bool answered) {
    struct sim_delete_options options;

    sim_stats_count(req->sim->stats, req->verb, req->resource_name, answered ? code : 0);
    if (req->route == SIM_ROUTE_RESOURCE && req->resource->id == SIM_LEASES && strcmp(req->method, "GET") != 0)
        account_lease(req, code, answered);
    if (strncmp(req->verb, "delete", 6) != 0 || req->route != SIM_ROUTE_RESOURCE)
        return;
    (void)sim_api_parse_delete(req, &options);
    sim_stats_audit(req->sim->stats, &(struct sim_audit){.ns = req->ns,
                                             .name = req->name,
                                             .resource = req->resource_name,
                                             .precondition_uid = options.uid,
                                             .precondition_rv = options.rv,
                                             .propagation = options.propagation,
                                             .time_ms = req->read_ms,
                                             .code = code,
                                             .answered = answered});
    json_decref(options.tree);
}

/* False: the connection is to be closed without an answer. */
static bool request_serve(const struct sim_http *http, struct sim_request *req, struct sim_reply *reply) {
    struct sim *sim = req->sim;
    const struct sim_action *action;
    bool authentic = req->route == SIM_ROUTE_CONTROL || request_is_authentic(http, req);
    bool answered = true;
    int code = 0;

    req->read_ms = sim_wall_ms();
    reply->protobuf = !sim->opt.no_protobuf && req->route != SIM_ROUTE_CONTROL &&
                      proto_is_preferred(sim_request_header(req, "Accept"));
    pthread_mutex_lock(&sim->lock);
    if (req->route == SIM_ROUTE_CONTROL) {
        sim_control_serve(req, reply);
        pthread_mutex_unlock(&sim->lock);
        return true;
    }
    if (authentic) {
        struct sim_call call = sim_request_call(req);

        req->action = sim_faults_take(sim->faults, &call);
        reply->action = req->action ? sim_action_ref(req->action) : NULL;
    }
    pthread_mutex_unlock(&sim->lock);

    action = req->action;
    if (action && action->delay_ms > 0)
        sim_sleep(sim, action->delay_ms);
    pthread_mutex_lock(&sim->lock);
    if (!authentic) {
        sim_reply_error(reply, 401, NULL, NULL, "Unauthorized");
        code = 401;
    } else if (action && action->drop) {
        answered = false;
    } else {
        if (action) {
            reply->retry_after = action->retry_after;
            if (action->content_type && (action->status || action->body))
                reply->content_type = action->content_type;
        }
        request_answer(req, reply);
        sim->protobuf_sent += strncmp(reply->content_type, PROTO_CONTENT_TYPE, strlen(PROTO_CONTENT_TYPE)) == 0;
        code = reply->status;
        answered = !(action && action->apply_then_drop);
    }
    request_account(req, code, answered);
    pthread_mutex_unlock(&sim->lock);
    if (!answered && action && action->reset)
        sim_peer_reset(reply->fd);
    return answered;
}

static enum MHD_Result reply_send(struct MHD_Connection *connection, struct sim_reply *reply) {
    uint64_t size = !reply->watch && reply->total <= WHOLE_LIMIT ? reply->total : MHD_SIZE_UNKNOWN;
    int status = reply->status;
    char date[SIM_TIME_SIZE];
    struct MHD_Response *response;
    enum MHD_Result result;

    response = MHD_create_response_from_callback(size, WHOLE_LIMIT * 2, sim_reply_read, reply, sim_reply_destroy);
    if (!response)
        abort();
    pthread_mutex_lock(&reply->sim->lock);
    sim_date_format(sim_wall_ms() + reply->sim->date_skew_ms, date);
    pthread_mutex_unlock(&reply->sim->lock);
    MHD_add_response_header(response, "Date", date);
    MHD_add_response_header(response, "Content-Type", reply->content_type);
    MHD_add_response_header(response, "Cache-Control", "no-cache, private");
    if (reply->retry_after)
        MHD_add_response_header(response, "Retry-After", reply->retry_after);
    result = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

static int connection_fd(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    return info ? info->connect_fd : -1;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
        const char *version, const char *data, size_t *size, void **context) {
    struct sim_http *http = cls;
    struct sim_request *req = *context;
    struct sim_reply *reply;

    (void)version;
    if (!req) {
        *context = request_create(http->sim, connection, method, url);
        return MHD_YES;
    }
    if (*size > 0) {
        request_take_body(req, data, *size);
        *size = 0;
        return MHD_YES;
    }
    reply = sim_reply_create(http->sim, connection_fd(connection));
    if (!request_serve(http, req, reply)) {
        sim_reply_destroy(reply);
        return MHD_NO;
    }
    return reply_send(connection, reply);
}

static void on_completed(
        void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode code) {
    (void)cls;
    (void)connection;
    (void)code;
    request_destroy(*context);
    *context = NULL;
}

/* ---- the daemon ---- */

static char *file_or_error(const char *path, char **ret_error) {
    size_t length = 0;
    char *text = sim_file_read(path, &length);

    if (!text && !*ret_error)
        *ret_error = sim_format("%s: %s", path, strerror(errno));
    return text;
}

static bool tls_load(struct sim_http *http, char **ret_error) {
    const struct sim_options *opt = &http->sim->opt;

    if (!opt->tls_cert)
        return true;
    http->cert = file_or_error(opt->tls_cert, ret_error);
    http->key = file_or_error(opt->tls_key, ret_error);
    if (opt->client_ca) {
        void *symbol = dlsym(RTLD_DEFAULT, "gnutls_certificate_verify_peers2");

        http->client_ca = file_or_error(opt->client_ca, ret_error);
        /* libmicrohttpd asks for a certificate but leaves the verdict to us, and brings GnuTLS along. */
        memcpy(&http->verify_peer, &symbol, sizeof(symbol));
        if (!symbol && !*ret_error)
            *ret_error = sim_strdup("this libmicrohttpd has no GnuTLS");
    }
    return *ret_error == NULL;
}

static void http_destroy(struct sim_http *http) {
    free(http->cert);
    free(http->key);
    free(http->client_ca);
    free(http);
}

struct sim_http *sim_http_start(struct sim *sim, char **ret_error) {
    struct sim_http *http = sim_alloc(sizeof(*http));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)sim->opt.port)};
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
                     MHD_USE_SUPPRESS_DATE_NO_CLOCK;
    struct MHD_OptionItem tls[4] = {{MHD_OPTION_END, 0, NULL}};
    size_t n = 0;

    *ret_error = NULL;
    http->sim = sim;
    if (!tls_load(http, ret_error)) {
        http_destroy(http);
        return NULL;
    }
    if (http->cert) {
        flags |= MHD_USE_TLS;
        tls[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, http->cert};
        tls[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, http->key};
        if (http->client_ca)
            tls[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, http->client_ca};
        tls[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    http->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, http, MHD_OPTION_SOCK_ADDR,
            (struct sockaddr *)&address, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
            (unsigned)CONNECTION_LIMIT, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
            MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned)BACKLOG, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (!http->daemon) {
        *ret_error = sim_format("cannot listen on 127.0.0.1:%d: %s%s", (int)sim->opt.port, strerror(errno),
                http->cert ? ", or certificate and key cannot be used" : "");
        http_destroy(http);
        return NULL;
    }
    return http;
}

int sim_http_port(const struct sim_http *http) {
    return MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

void sim_http_stop(struct sim_http *http) {
    if (!http)
        return;
    MHD_stop_daemon(http->daemon);
    http_destroy(http);
}
