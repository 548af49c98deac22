#include "kube/http.h"

#include <curl/curl.h>
#include <ev.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/timestamp.h"

#define RETRY_AFTER_MAX_S 3600 /* a server that asks for more is asked again after an hour */

#define HEADER_VALUE_MAX 128 /* the beginning of one that matters tells enough */

#define LANES 2

#define SMALL_ANSWER 2048 /* bytes libcurl takes at once of an answer to a request with a body: it is short mostly */

/* Each lane has its own libcurl, and so its own connections: what is set for those of one is not to be had, or missed,
 * by a request of the other's. */
struct lane {
    struct http *http;
    CURLM *multi;
    ev_timer timer; /* libcurl's own */
    unsigned user_timeout_ms;
    /* Transfers that have ended, by next: with handles that are set up for another request of the same kind. */
    struct http_transfer *spare;
    int spares, spares_max;
};

struct socket_watch {
    ev_io io;
    struct lane *lane;
    struct socket_watch *next, *previous;
};

struct http {
    struct loop *loop;
    struct ev_loop *ev;
    struct lane lanes[LANES]; /* by enum http_lane */
    ev_prepare drain;         /* cancels and completions, once libcurl's callbacks are over */
    struct http_transfer *transfers;
    struct socket_watch *sockets;
    bool work;             /* for the drain */
    struct target *target; /* the last one asked for; NULL: none yet */
};

/* A copy of whom requests go to, for as long as handles are set up for it. */
#define TARGET_TEXTS 8
struct target {
    char *texts[TARGET_TEXTS];
    struct http_target to; /* the same */
    int users;
};

struct http_transfer {
    struct http *http;
    struct lane *lane;
    struct http_transfer *next, *previous;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    struct target *target; /* one of its users */
    char *method, *body;
    void *arg;
    bool (*may_send)(void *arg);
    void (*on_head)(void *arg, int status, const char *content_type);
    enum http_data_result (*on_data)(void *arg, struct http_transfer *transfer, const char *data, size_t len);
    void (*on_done)(void *arg, const struct http_result *result);
    struct http_result result;
    char content_type[HEADER_VALUE_MAX];
    char failure[CURL_ERROR_SIZE + 64];
    bool pending; /* not with libcurl yet */
    bool begun;   /* its connection was ready: it may have left */
    bool repeated;
    bool cancelled, aborted;
    bool paused; /* the taker wants no more: the next piece is refused, and libcurl keeps it */
    bool resume;
    bool no_memory; /* for an option: it must not start without */
};

/* What else an option may be refused for is known beforehand: that this libcurl is older than it. */
#define set_option(t, option, value) \
    ((t)->no_memory |= curl_easy_setopt((t)->easy, (option), (value)) == CURLE_OUT_OF_MEMORY)

static void on_drain(struct ev_loop *ev, ev_prepare *watcher, int events);

/* Work for the drain, which runs before the loop waits again. */
static void wake_drain(struct http *http) {
    http->work = true;
}

/* ---- targets ---- */

static void texts_of(const struct http_target *target, const char *ret[TARGET_TEXTS]) {
    const char *texts[TARGET_TEXTS] = {target->ca_file, target->ca_pem, target->cert_file, target->cert_pem,
            target->key_file, target->key_pem, target->tls_server_name, target->proxy_url};
    memcpy(ret, texts, sizeof texts);
}

static void target_release(struct target *target) {
    if (!target || --target->users > 0)
        return;
    for (int i = 0; i < TARGET_TEXTS; i++)
        free(target->texts[i]);
    free(target);
}

static struct target *target_copy(const struct http_target *from, struct error *err) {
    const char *texts[TARGET_TEXTS];
    struct target *target = calloc(1, sizeof *target);
    bool whole = target != NULL;
    texts_of(from, texts);
    for (int i = 0; i < TARGET_TEXTS && whole; i++) {
        target->texts[i] = texts[i] ? strdup(texts[i]) : NULL;
        whole = !texts[i] || target->texts[i];
    }
    if (!whole) {
        target_release(target);
        error_nomem(err);
        return NULL;
    }
    char *const *own = target->texts;
    target->to = (struct http_target){own[0], own[1], own[2], own[3], own[4], own[5], own[6], own[7], from->insecure};
    target->users = 1;
    return target;
}

static bool target_is(const struct target *target, const struct http_target *other) {
    const char *texts[TARGET_TEXTS];
    bool same = target->to.insecure == other->insecure;
    texts_of(other, texts);
    for (int i = 0; i < TARGET_TEXTS && same; i++)
        same = texts[i] && target->texts[i] ? strcmp(texts[i], target->texts[i]) == 0 : texts[i] == target->texts[i];
    return same;
}

/* ---- transfers that have ended ---- */

static void transfer_destroy(struct http_transfer *t) {
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->connect_to);
    target_release(t->target);
    free(t->method);
    free(t->body);
    free(t);
}

static struct http_transfer *take_spare(struct lane *lane) {
    struct http_transfer *t = lane->spare;
    if (t) {
        lane->spare = t->next;
        lane->spares--;
    }
    return t;
}

static void drop_spares(struct http *http) {
    for (int i = 0; i < LANES; i++) {
        for (struct http_transfer *t; (t = take_spare(&http->lanes[i]));)
            transfer_destroy(t);
    }
}

/* The memory goes, or is kept for another one like it: to make a handle ready costs more than to send by it. */
static void transfer_free(struct http_transfer *t) {
    struct lane *lane = t->lane;
    if (t->previous)
        t->previous->next = t->next;
    else
        t->http->transfers = t->next;
    if (t->next)
        t->next->previous = t->previous;
    if (!t->pending)
        curl_multi_remove_handle(lane->multi, t->easy);
    if (!t->body || t->no_memory || t->target != t->http->target || lane->spares >= lane->spares_max) {
        transfer_destroy(t);
        return;
    }
    free(t->body);
    t->body = NULL;
    t->previous = NULL;
    t->next = lane->spare;
    lane->spare = t;
    lane->spares++;
}

/* ---- libcurl and the loop ---- */

static void on_socket(struct ev_loop *ev, ev_io *io, int events) {
    (void)ev;
    struct lane *lane = io->data;
    int action = (events & EV_READ ? CURL_CSELECT_IN : 0) | (events & EV_WRITE ? CURL_CSELECT_OUT : 0);
    int running;
    curl_multi_socket_action(lane->multi, io->fd, action, &running);
    wake_drain(lane->http);
}

static void on_curl_timer(struct ev_loop *ev, ev_timer *timer, int events) {
    (void)ev;
    (void)events;
    struct lane *lane = timer->data;
    int running;
    curl_multi_socket_action(lane->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    wake_drain(lane->http);
}

static void socket_forget(struct socket_watch *watch) {
    struct http *http = watch->lane->http;
    ev_io_stop(http->ev, &watch->io);
    if (watch->previous)
        watch->previous->next = watch->next;
    else
        http->sockets = watch->next;
    if (watch->next)
        watch->next->previous = watch->previous;
    free(watch);
}

/* libcurl tells which sockets to watch. */
static int socket_callback(CURL *easy, curl_socket_t fd, int what, void *arg, void *per_socket) {
    (void)easy;
    struct lane *lane = arg;
    struct http *http = lane->http;
    struct socket_watch *watch = per_socket;
    if (what == CURL_POLL_REMOVE) {
        if (watch)
            socket_forget(watch);
        curl_multi_assign(lane->multi, fd, NULL);
        return 0;
    }
    int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);
    if (!watch) {
        watch = calloc(1, sizeof *watch);
        /* To refuse would end all transfers of the lane, for good. Not watched, this one meets its time-out. */
        if (!watch)
            return 0;
        watch->lane = lane;
        watch->next = http->sockets;
        if (http->sockets)
            http->sockets->previous = watch;
        http->sockets = watch;
        ev_init(&watch->io, on_socket);
        watch->io.data = lane;
        curl_multi_assign(lane->multi, fd, watch);
    }
    ev_io_stop(http->ev, &watch->io);
    ev_io_set(&watch->io, (int)fd, events);
    ev_io_start(http->ev, &watch->io);
    return 0;
}

/* Only ever re-arm here: libcurl must not be called from its own callbacks. */
static int timer_callback(CURLM *multi, long timeout_ms, void *arg) {
    (void)multi;
    struct lane *lane = arg;
    struct ev_loop *ev = lane->http->ev;
    ev_timer_stop(ev, &lane->timer);
    if (timeout_ms >= 0) {
        ev_now_update(ev);
        ev_timer_set(&lane->timer, (double)timeout_ms / 1000.0, 0.0);
        ev_timer_start(ev, &lane->timer);
    }
    return 0;
}

static int open_lane(struct http *http, struct lane *lane) {
    lane->http = http;
    lane->user_timeout_ms = HTTP_TCP_USER_TIMEOUT_MS;
    ev_init(&lane->timer, on_curl_timer);
    lane->timer.data = lane;
    lane->multi = curl_multi_init();
    if (!lane->multi)
        return -1;
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, socket_callback);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, timer_callback);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
    return 0;
}

struct http *http_create(struct loop *loop, struct error *err) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        error_set(err, ERROR_NOMEM, "libcurl did not start");
        return NULL;
    }
    struct http *http = calloc(1, sizeof *http);
    if (!http) {
        curl_global_cleanup();
        error_nomem(err);
        return NULL;
    }
    http->loop = loop;
    http->ev = loop_native(loop);
    ev_prepare_init(&http->drain, on_drain);
    http->drain.data = http;
    ev_prepare_start(http->ev, &http->drain);
    for (int i = 0; i < LANES; i++) {
        if (open_lane(http, &http->lanes[i]) < 0) {
            http_destroy(http);
            error_nomem(err);
            return NULL;
        }
        http_set_pool(http, (enum http_lane)i, HTTP_POOL_FIRST);
    }
    return http;
}

void http_destroy(struct http *http) {
    if (!http)
        return;
    while (http->transfers)
        transfer_free(http->transfers);
    drop_spares(http);
    target_release(http->target);
    ev_prepare_stop(http->ev, &http->drain);
    for (int i = 0; i < LANES && http->lanes[i].multi; i++) {
        curl_multi_cleanup(http->lanes[i].multi);
        ev_timer_stop(http->ev, &http->lanes[i].timer);
    }
    while (http->sockets)
        socket_forget(http->sockets);
    free(http);
    curl_global_cleanup();
}

void http_set_user_timeout(struct http *http, enum http_lane lane, int64_t timeout_ms) {
    http->lanes[lane].user_timeout_ms = (unsigned)timeout_ms;
}

void http_set_pool(struct http *http, enum http_lane lane, int connections) {
    http->lanes[lane].spares_max = connections;
    curl_multi_setopt(http->lanes[lane].multi, CURLMOPT_MAXCONNECTS, (long)connections);
}

static size_t write_callback(char *data, size_t size, size_t n, void *arg) {
    struct http_transfer *t = arg;
    if (t->cancelled || t->aborted)
        return 0; /* a short count ends the transfer */
    if (t->paused)
        return CURL_WRITEFUNC_PAUSE;
    if (!t->on_data)
        return size * n;
    enum http_data_result result = t->on_data(t->arg, t, data, size * n);
    if (result == HTTP_ABORT || t->cancelled) {
        t->aborted = true;
        return 0;
    }
    if (result == HTTP_PAUSE) {
        t->paused = true;
        t->resume = false;
    }
    return size * n;
}

static bool header_is(const char *line, size_t len, const char *name, char *value, size_t room) {
    size_t name_len = strlen(name);
    if (len <= name_len || strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
        return false;
    const char *at = line + name_len + 1, *end = line + len;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (end > at && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    size_t n = (size_t)(end - at) < room - 1 ? (size_t)(end - at) : room - 1;
    memcpy(value, at, n);
    value[n] = '\0';
    return true;
}

static size_t header_callback(char *line, size_t size, size_t n, void *arg) {
    struct http_transfer *t = arg;
    size_t len = size * n;
    char value[HEADER_VALUE_MAX];
    if (t->cancelled)
        return 0;
    if (len > 5 && strncmp(line, "HTTP/", 5) == 0) {
        /* A new answer begins (after 100 Continue, or a proxy's own). */
        t->result.retry_after_ms = -1;
        t->result.date_ms = TIME_NONE;
        t->result.answered_ms = clock_mono_ms();
        t->content_type[0] = '\0';
    } else if (len <= 2 && http_status(t) >= 200 && t->on_head) {
        t->on_head(t->arg, http_status(t), t->content_type);
    } else if (header_is(line, len, "Content-Type", t->content_type, sizeof t->content_type)) {
        return len;
    } else if (header_is(line, len, "Retry-After", value, sizeof value)) {
        char *end;
        long long seconds = strtoll(value, &end, 10);
        int64_t until_ms;
        if (timestamp_parse_http(value, &until_ms)) {
            seconds = (until_ms - clock_wall_ms()) / 1000;
            seconds = seconds > 0 ? seconds : 0;
            end = value + strlen(value);
        }
        if (end != value && *end == '\0' && seconds >= 0)
            t->result.retry_after_ms = (seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
    } else if (header_is(line, len, "Date", value, sizeof value)) {
        timestamp_parse_http(value, &t->result.date_ms);
    }
    return len;
}

/* The last moment at which a request can be kept from the server: its connection is ready, and head and body follow at
 * once. */
static int before_request(void *arg, char *their_address, char *our_address, int their_port, int our_port) {
    struct http_transfer *t = arg;
    (void)their_address;
    (void)our_address;
    (void)their_port;
    (void)our_port;
    /* When a connection that was used before ends without an answer, libcurl would send the request once more. What has
     * a body must not be repeated unasked: the first one may have been acted on. */
    t->repeated = t->begun && t->body;
    t->begun = true;
    if (!t->cancelled && !t->repeated && t->may_send && !t->may_send(t->arg))
        t->result.withheld = true;
    return t->cancelled || t->repeated || t->result.withheld ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static int socket_options(void *arg, curl_socket_t fd, curlsocktype purpose) {
    const struct lane *lane = arg;
    (void)purpose;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &lane->user_timeout_ms, sizeof lane->user_timeout_ms);
    return CURL_SOCKOPT_OK;
}

static void set_blob(struct http_transfer *t, CURLoption option, const char *pem) {
    struct curl_blob blob = {.data = (void *)pem, .len = strlen(pem), .flags = CURL_BLOB_NOCOPY};
    set_option(t, option, &blob);
}

static void set_target(struct http_transfer *t, const struct http_target *target) {
    if (target->ca_pem)
        set_blob(t, CURLOPT_CAINFO_BLOB, target->ca_pem);
    else if (target->ca_file)
        set_option(t, CURLOPT_CAINFO, target->ca_file);
    /* Else libcurl would trust those whom this machine trusts as well. */
    if (target->ca_pem || target->ca_file)
        curl_easy_setopt(t->easy, CURLOPT_CAPATH, NULL);
    if (target->cert_pem)
        set_blob(t, CURLOPT_SSLCERT_BLOB, target->cert_pem);
    else if (target->cert_file)
        set_option(t, CURLOPT_SSLCERT, target->cert_file);
    if (target->key_pem)
        set_blob(t, CURLOPT_SSLKEY_BLOB, target->key_pem);
    else if (target->key_file)
        set_option(t, CURLOPT_SSLKEY, target->key_file);
    if (target->insecure) {
        set_option(t, CURLOPT_SSL_VERIFYPEER, 0L);
        set_option(t, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (target->proxy_url)
        set_option(t, CURLOPT_PROXY, target->proxy_url);
    /* A rotated CA file must count at once, and so must a client's certificate: a session that a handle kept would
     * bring back what its first connection showed, and trusted. */
    set_option(t, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    set_option(t, CURLOPT_SSL_SESSIONID_CACHE, 0L);
}

/* The name to ask for and to check may differ from the host in the URL: connect to the latter under the former's name.
 */
static int set_server_name(struct http_transfer *t, const char *url, const char *name, struct error *err) {
    CURLU *parsed = curl_url();
    char *host = NULL, *port = NULL, *renamed = NULL;
    int result = -1;
    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
            curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
            curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
            curl_url_set(parsed, CURLUPART_HOST, name, 0) == CURLUE_OK &&
            curl_url_get(parsed, CURLUPART_URL, &renamed, 0) == CURLUE_OK) {
        char entry[1024];
        snprintf(entry, sizeof entry, "::%s:%s", host, port);
        curl_slist_free_all(t->connect_to);
        t->connect_to = curl_slist_append(NULL, entry);
        set_option(t, CURLOPT_URL, renamed);
        set_option(t, CURLOPT_CONNECT_TO, t->connect_to);
        result = t->connect_to ? 0 : error_nomem(err);
    } else {
        error_set(err, ERROR_USAGE, "the URL %s or the server name %s cannot be used", url, name);
    }
    curl_free(host);
    curl_free(port);
    curl_free(renamed);
    curl_url_cleanup(parsed);
    return result;
}

static int set_headers(struct http_transfer *t, const char *const *headers, struct error *err) {
    for (; headers && *headers; headers++) {
        struct curl_slist *list = curl_slist_append(t->headers, *headers);
        if (!list)
            return error_nomem(err);
        t->headers = list;
    }
    set_option(t, CURLOPT_HTTPHEADER, t->headers);
    return 0;
}

/* What all requests of a kind have in common: method, headers, target, and whether there is a body. */
static int set_up(struct http_transfer *t, const struct http_request *request, struct error *err) {
    t->method = strdup(request->method);
    if (!t->method)
        return error_nomem(err);
    if (set_headers(t, request->headers, err) < 0)
        return -1;
    set_option(t, CURLOPT_PRIVATE, t);
    set_option(t, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set_option(t, CURLOPT_PROTOCOLS_STR, "http,https");
    if (request->body) {
        set_option(t, CURLOPT_POST, 1L);
        set_option(t, CURLOPT_BUFFERSIZE, (long)SMALL_ANSWER);
    }
    set_option(t, CURLOPT_CUSTOMREQUEST, t->method);
    /* An API server spends more on a DELETE that comes by HTTP/2; measured with 1.20, a sixth. */
    set_option(t, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    set_option(t, CURLOPT_NOSIGNAL, 1L);
    /* Do not wait for a name resolver's thread when a transfer is given up: that would hold up the loop. */
    set_option(t, CURLOPT_QUICK_EXIT, 1L);
    set_option(t, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_TIMEOUT_MS);
    set_option(t, CURLOPT_MAXLIFETIME_CONN, (long)HTTP_LIFETIME_S);
    set_option(t, CURLOPT_TCP_KEEPALIVE, 1L);
    set_option(t, CURLOPT_TCP_KEEPIDLE, (long)HTTP_KEEPALIVE_S);
    set_option(t, CURLOPT_TCP_KEEPINTVL, (long)HTTP_KEEPALIVE_S);
    set_option(t, CURLOPT_SOCKOPTFUNCTION, socket_options);
    set_option(t, CURLOPT_SOCKOPTDATA, t->lane);
    set_option(t, CURLOPT_WRITEFUNCTION, write_callback);
    set_option(t, CURLOPT_WRITEDATA, t);
    set_option(t, CURLOPT_HEADERFUNCTION, header_callback);
    set_option(t, CURLOPT_HEADERDATA, t);
    set_option(t, CURLOPT_ERRORBUFFER, t->failure);
    set_option(t, CURLOPT_PREREQFUNCTION, before_request);
    set_option(t, CURLOPT_PREREQDATA, t);
    set_target(t, &t->target->to);
    return 0;
}

/* What is this request's own. */
static int prepare(struct http_transfer *t, const struct http_request *request, struct error *err) {
    const char *name = t->target->to.tls_server_name;
    if (name && strncmp(request->url, "https:", 6) == 0) {
        if (set_server_name(t, request->url, name, err) < 0)
            return -1;
    } else {
        set_option(t, CURLOPT_URL, request->url);
    }
    if (request->body) {
        t->body = strdup(request->body);
        if (!t->body)
            return error_nomem(err);
        set_option(t, CURLOPT_POSTFIELDS, t->body);
        set_option(t, CURLOPT_POSTFIELDSIZE, (long)strlen(t->body));
    }
    set_option(t, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    return t->no_memory ? error_nomem(err) : 0;
}

/* Whether a spare one is set up for such a request. Its target is the last one that was asked for. */
static bool fits(const struct http_transfer *t, const struct http_request *request) {
    const struct curl_slist *at = t->headers;
    if (!request->body || strcmp(t->method, request->method) != 0)
        return false;
    for (const char *const *header = request->headers; header && *header; header++, at = at->next) {
        if (!at || strcmp(at->data, *header) != 0)
            return false;
    }
    return !at;
}

/* The copy of the target that is the last one's, or a new one. */
static int find_target(struct http *http, const struct http_target *target, struct error *err) {
    if (http->target && target_is(http->target, target))
        return 0;
    struct target *copy = target_copy(target, err);
    if (!copy)
        return -1;
    drop_spares(http);
    target_release(http->target);
    http->target = copy;
    return 0;
}

static struct http_transfer *transfer_create(
        struct http *http, struct lane *lane, const struct http_request *request, struct error *err) {
    struct http_transfer *t = calloc(1, sizeof *t);
    if (!t || !(t->easy = curl_easy_init())) {
        free(t);
        error_nomem(err);
        return NULL;
    }
    t->http = http;
    t->lane = lane;
    t->target = http->target;
    http->target->users++;
    if (set_up(t, request, err) < 0) {
        transfer_destroy(t);
        return NULL;
    }
    return t;
}

/* One that fits; those of another kind that stand before it have had their time. */
static struct http_transfer *transfer_again(struct lane *lane, const struct http_request *request) {
    struct http_transfer *t;
    while (request->body && (t = take_spare(lane))) {
        if (fits(t, request))
            return t;
        transfer_destroy(t);
    }
    return NULL;
}

struct http_transfer *http_start(struct http *http, const struct http_request *request, struct error *err) {
    struct lane *lane = &http->lanes[request->lane];
    if (find_target(http, request->target, err) < 0)
        return NULL;
    struct http_transfer *t = transfer_again(lane, request);
    if (!t && !(t = transfer_create(http, lane, request, err)))
        return NULL;
    t->arg = request->arg;
    t->may_send = request->may_send;
    t->on_head = request->on_head;
    t->on_data = request->on_data;
    t->on_done = request->on_done;
    t->result = (struct http_result){
            .retry_after_ms = -1, .date_ms = TIME_NONE, .sent_ms = clock_mono_ms(), .answered_ms = TIME_NONE};
    t->failure[0] = '\0';
    t->begun = t->repeated = t->cancelled = t->aborted = t->paused = t->resume = false;
    t->next = http->transfers;
    if (http->transfers)
        http->transfers->previous = t;
    http->transfers = t;
    t->pending = true;
    if (prepare(t, request, err) < 0) {
        t->no_memory = true; /* not to be used again */
        transfer_free(t);
        return NULL;
    }
    /* This may be inside of a callback of libcurl's, where it cannot take a new handle. */
    wake_drain(http);
    return t;
}

void http_cancel(struct http_transfer *transfer) {
    if (!transfer)
        return;
    transfer->cancelled = true;
    transfer->may_send = NULL;
    transfer->on_head = NULL;
    transfer->on_data = NULL;
    transfer->on_done = NULL;
    wake_drain(transfer->http);
}

void http_resume(struct http_transfer *transfer) {
    if (!transfer->paused)
        return;
    transfer->resume = true;
    wake_drain(transfer->http);
}

int http_status(const struct http_transfer *transfer) {
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

static void complete(struct http_transfer *t, CURLcode code) {
    long status = 0, request_bytes = 0;
    /* Before that, they are a proxy's, or of the request that the handle was used for before. */
    if (t->begun) {
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    }
    t->result.status = (int)status;
    t->result.sent = !t->result.withheld && (t->repeated || status != 0 || request_bytes > 0);
    if (code != CURLE_OK) {
        if (t->result.withheld)
            snprintf(t->failure, sizeof t->failure, "not sent: it was too late for it");
        else if (t->repeated)
            snprintf(t->failure, sizeof t->failure, "the connection ended before there was an answer");
        else if (t->aborted)
            snprintf(t->failure, sizeof t->failure, "stopped by this side");
        else if (!t->failure[0])
            snprintf(t->failure, sizeof t->failure, "%s", curl_easy_strerror(code));
        t->result.failure = t->failure;
    }
    void (*on_done)(void *, const struct http_result *) = t->on_done;
    t->on_data = NULL;
    t->on_done = NULL;
    if (on_done)
        on_done(t->arg, &t->result);
    transfer_free(t);
}

static void drain_completions(struct http *http) {
    int left;
    for (int i = 0; i < LANES; i++) {
        for (CURLMsg *message; (message = curl_multi_info_read(http->lanes[i].multi, &left));) {
            if (message->msg != CURLMSG_DONE)
                continue;
            CURLcode code = message->data.result; /* the message dies with its handle */
            char *transfer = NULL;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
            complete((struct http_transfer *)(void *)transfer, code);
        }
    }
}

/* What was asked for in callbacks, once libcurl's are over: its handles are added, removed and unpaused only here. */
static void act_on_transfers(struct http *http) {
    for (struct http_transfer *t = http->transfers, *next; t; t = next) {
        next = t->next;
        if (t->cancelled) {
            transfer_free(t);
        } else if (t->pending) {
            t->pending = false;
            if (curl_multi_add_handle(t->lane->multi, t->easy) != CURLM_OK)
                complete(t, CURLE_OUT_OF_MEMORY);
        } else if (t->paused && t->resume) {
            t->paused = t->resume = false;
            /* It may deliver at once; and what fails then is told by nobody else. */
            CURLcode code = curl_easy_pause(t->easy, CURLPAUSE_CONT);
            if (code != CURLE_OK && !t->cancelled)
                complete(t, code);
        }
    }
}

/* Runs before the loop waits. A callback may ask for more, so it goes on until nothing is left. */
static void on_drain(struct ev_loop *ev, ev_prepare *watcher, int events) {
    (void)ev;
    (void)events;
    struct http *http = watcher->data;
    while (http->work) {
        http->work = false;
        drain_completions(http);
        act_on_transfers(http);
        drain_completions(http);
    }
}
