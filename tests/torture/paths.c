/* The paths: each command on what is on disk, each parser, the register, and its writer with loop and thread. */
#include <errno.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../protobuf/tell.h"
#include "alloc.h"
#include "base/clock.h"
#include "base/duration.h"
#include "base/log.h"
#include "base/loop.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "history/writer.h"
#include "jobs/job_object_protobuf.h"
#include "jobs/meters.h"
#include "kube/kubeconfig.h"
#include "kube/protostream.h"
#include "serve/metrics.h"
#include "torture.h"

#define NOW_MS 1795219200000LL /* 2026-11-21T00:00:00Z */
#define HOUR_MS 3600000LL
#define FILE_MAX_BYTES (1u << 20)
#define ARGS_MAX 24
#define PIECE_BYTES ((size_t)5)

static char folder[] = "/tmp/sexton-torture-XXXXXX";
static pid_t kubesim;

/* ---- what is on disk ---- */

_Noreturn static void give_up(const char *what) {
    perror(what);
    exit(1);
}

/* Static. */
static const char *in_folder(const char *name) {
    static char paths[4][256];
    static int at;
    at = (at + 1) % 4;
    snprintf(paths[at], sizeof paths[at], "%s/%s", folder, name);
    return paths[at];
}

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(in_folder(name), "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        give_up(name);
}

static const char config_text[] =
        "[sexton]\nannotation-prefix = sexton.dev\nnamespaces = shop, ml-1,\n  ml-2 ; and more\ndelete-qps = 50\n"
        "[policy]\nttl-after-success = 1h\nttl-after-failure = 24h\n[namespace ml-*]\nttl-after-failure = 7d\n"
        "[namespace ml-1]\nttl-after-success = never\n[history]\nretention = 400d\nlabels = app\n  team/*\n";

#define JOB(name, more, conditions) \
    "{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"namespace\":\"shop\",\"name\":\"" name \
    "\",\"uid\":\"0b9e3c52-5d7a-4a4e-9a86-" name "\",\"resourceVersion\":\"7\"," more \
    "\"creationTimestamp\":\"2026-11-20T20:00:00Z\",\"managedFields\":[{\"manager\":\"kube-controller-manager\"}]}," \
    "\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"busybox\"}]}}}," \
    "\"status\":{\"startTime\":\"2026-11-20T20:00:01Z\",\"conditions\":[" conditions "]}}"
#define ENDED(type) \
    "{\"type\":\"" type "\",\"status\":\"True\",\"lastTransitionTime\":\"2026-11-20T21:00:00Z\"," \
    "\"reason\":\"BackoffLimitExceeded\",\"message\":\"Job has reached the specified backoff limit\"}"

static const char jobs_text[] =
        "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"\"},\"items\":[" JOB(
                "succeeded", "", ENDED("Complete")) "," JOB("failed", "", ENDED("Failed")) "," JOB("both", "",
                ENDED("Complete") "," ENDED("Failed")) "," JOB("unfinished", "", "") "," JOB("held",
                "\"annotations\":{\"sexton.dev/hold\":\"2027-01-01T00:00:00Z\"},", ENDED("Complete")) "," JOB("typo",
                "\"annotations\":{\"sexton.dev/ttl-after-falure\":\"never\"},", ENDED("Failed")) "," JOB("owned",
                "\"ownerReferences\":[{\"kind\":\"CronJob\",\"name\":\"c\",\"uid\":\"c-1\",\"controller\":true}],",
                ENDED("Complete")) ","
                                   "{\"kind\":\"Job\",\"apiVersion\":\"batch/"
                                   "v1\",\"metadata\":{\"namespace\":\"shop\",\"name\":\"no-uid\"}},"
                                   "{\"kind\":\"Job\",\"apiVersion\":\"batch/"
                                   "v1\",\"metadata\":{\"namespace\":\"shop\",\"name\":\"twice\","
                                   "\"name\":\"twice\"}},"
                                   "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\"}},"
                                   "{\"kind\":\"CronJob\",\"apiVersion\":\"batch/"
                                   "v1\",\"metadata\":{\"namespace\":\"shop\",\"name\":\"c\","
                                   "\"uid\":\"c-1\"},\"status\":{\"active\":[{\"uid\":\"none\"}],"
                                   "\"lastSuccessfulTime\":"
                                   "\"2026-11-20T21:00:00Z\"}},"
                                   "{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"shop\","
                                   "\"annotations\":"
                                   "{\"sexton.dev/ttl-after-failure\":\"3d\"}}}]}";

/* ---- the register ---- */

static char *text(const char *value) {
    return strdup(value);
}

static struct history_request *make_request(enum history_op op, int i, bool with_run) {
    struct history_request *request = calloc(1, sizeof *request);
    request->op = op;
    snprintf(request->uid, sizeof request->uid, "0b9e3c52-5d7a-4a4e-9a86-%012d", i);
    request->at_ms = NOW_MS - i * HOUR_MS;
    request->policy = (struct run_policy){.state = op == HISTORY_INTENT ? RUN_DELETING : RUN_DUE,
            .ttl_ms = HOUR_MS,
            .due_at_ms = NOW_MS,
            .rule = "ttl-after-success=1h",
            .source = "config:7"};
    request->cause = op == HISTORY_DELETED ? RUN_CAUSE_TTL : RUN_CAUSE_NONE;
    if (!with_run)
        return request;
    char name[64];
    struct run *run = request->run = run_create();
    snprintf(name, sizeof name, "nightly-export-%d", i);
    run->namespace = text("shop");
    run->job_name = text(name);
    run->job_uid = text(request->uid);
    run->resource_version = text("4711");
    run->cronjob = text("nightly-export");
    run->outcome = i % 3 ? OUTCOME_SUCCEEDED : OUTCOME_FAILED;
    run->created_at_ms = run->started_at_ms = NOW_MS - (i + 2) * HOUR_MS;
    run->finished_at_ms = NOW_MS - (i + 1) * HOUR_MS;
    run->reason = text("BackoffLimitExceeded");
    run->message = text("Job has reached the specified backoff limit");
    run->labels = text("{\"app\":\"export\"}");
    run->images = text("[\"registry.example/export:1.25\"]");
    run->manifest = text("{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"spec\":{\"backoffLimit\":0.5,\"x\":null}}");
    return request;
}

/* Records of n Jobs, then an intent and an end for some. */
static struct history_request *make_chain(int n) {
    struct history_request *head = NULL, **tail = &head;
    for (int i = 0; i < n; i++) {
        for (int op = HISTORY_RECORD; op <= HISTORY_DELETED; op++) {
            if (op == HISTORY_POLICY || (op != HISTORY_RECORD && i % 2))
                continue;
            *tail = make_request((enum history_op)op, i, op == HISTORY_RECORD);
            tail = &(*tail)->next;
        }
    }
    return head;
}

static void destroy_chain(struct history_request *chain) {
    for (struct history_request *next; chain; chain = next) {
        next = chain->next;
        history_request_destroy(chain);
    }
}

static int count_row(void *arg, const struct history_row *row, struct error *err) {
    (void)row;
    (void)err;
    ++*(int *)arg;
    return 0;
}

/* How many rows there are, as somebody else finds them; -1: no register. */
static int count_rows(const char *location) {
    struct history *history;
    struct error err = {0};
    int rows = 0;
    const struct history_query all = {.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE};
    if (history_open(location, HISTORY_READ, &history, &err) < 0)
        return -1;
    if (history_each(history, &all, count_row, &rows, &err) < 0)
        rows = -1;
    history_close(history);
    return rows;
}

static void make_register(void) {
    char location[256];
    struct history *history;
    struct error err = {0};
    struct history_request *chain = make_chain(6);
    snprintf(location, sizeof location, "sqlite:%s", in_folder("history.db"));
    if (history_open(location, HISTORY_WRITE, &history, &err) < 0 || history_apply(history, "c1", chain, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    history_close(history);
    destroy_chain(chain);
}

/* ---- the paths ---- */

static int tell(const struct error *err) {
    fprintf(stderr, "%s\n", err->text);
    return err->kind == ERROR_USAGE ? 2 : 1;
}

/* A command, with @ in its arguments for the folder. */
static int run_command(const struct torture_path *path) {
    static char words[ARGS_MAX][512];
    char *argv[ARGS_MAX + 1] = {NULL};
    int argc = 0;
    for (; path->argv[argc]; argc++) {
        const char *word = path->argv[argc], *at = strchr(word, '@');
        snprintf(words[argc], sizeof words[argc], "%.*s%s%s", at ? (int)(at - word) : (int)strlen(word), word,
                at ? folder : "", at ? at + 1 : "");
        argv[argc] = words[argc];
    }
    return strcmp(argv[0], "plan") == 0    ? cmd_plan(argc, argv)
           : strcmp(argv[0], "sweep") == 0 ? cmd_sweep(argc, argv)
           : strcmp(argv[0], "check") == 0 ? cmd_check(argc, argv)
                                           : cmd_history(argc, argv);
}

static int run_config(const struct torture_path *path) {
    struct config *config;
    struct error err = {0};
    if (config_load(in_folder(path->argv[0]), &config, &err) < 0)
        return tell(&err);
    printf("%s %s %lld %zu\n", config->namespaces, config->store, (long long)config->delete_qps,
            config->policy.n_sections);
    int result = config_print_reference(stdout, &err);
    config_destroy(config);
    return result < 0 ? tell(&err) : 0;
}

static void print_kube_config(const struct kube_config *config) {
    const char *const texts[] = {config->server, config->context, config->namespace, config->ca_file, config->ca_data,
            config->tls_server_name, config->proxy_url, config->cert_file, config->cert_data, config->key_file,
            config->token, config->token_file, config->username, config->password, config->cluster_info};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        printf("%s\n", texts[i] ? texts[i] : "-");
    if (!config->exec)
        return;
    printf("%s %s\n", config->exec->command, config->exec->install_hint ? config->exec->install_hint : "-");
    for (char **word = config->exec->args; *word; word++)
        printf("%s\n", *word);
    for (char **word = config->exec->env; *word; word++)
        printf("%s\n", *word);
}

static size_t read_file(const char *name, char data[FILE_MAX_BYTES]) {
    torture_pause();
    FILE *file = fopen(name, "r");
    size_t len = file ? fread(data, 1, FILE_MAX_BYTES, file) : 0;
    if (file)
        fclose(file);
    torture_resume();
    return len;
}

/* Each kubeconfig that the fuzzer keeps. */
static int parse_kubeconfig(const struct torture_path *path) {
    static char data[FILE_MAX_BYTES];
    struct kube_config *config;
    struct error err = {0};
    size_t len = read_file(path->argv[0], data);
    if (kubeconfig_parse(data, len, "/nonexistent/config", NULL, &config, &err) < 0)
        return tell(&err);
    print_kube_config(config);
    kube_config_destroy(config);
    return 0;
}

static int run_kubeconfig(const struct torture_path *path) {
    int result = parse_kubeconfig(path);
    torture_pause();
    OPENSSL_thread_stop(); /* its queue of errors keeps buffers, some sixteen, to use them again */
    torture_resume();
    return result;
}

/* What is told of a Job is of the program's own making, and complete or an error. */
static int print_object(void *arg, const void *object) {
    struct strbuf text = STRBUF_INIT(FILE_MAX_BYTES);
    tell_object(&text, object);
    bool whole = tell_consequences(&text, object) && !strbuf_failed(&text);
    if (whole)
        printf("%s", strbuf_text(&text));
    strbuf_finish(&text);
    return whole ? 0 : error_nomem(arg);
}

static int print_list(void *arg, const char *version, const char *token) {
    (void)arg;
    printf("%s %s\n", version, token);
    return 0;
}

static int print_event(void *arg, const struct protostream_event *event) {
    printf("%s %lld %s\n", event->type, (long long)event->code, event->message ? event->message : "-");
    return event->object ? print_object(arg, event->object) : 0;
}

static int print_unreadable(void *arg, const char *why) {
    (void)arg;
    printf("%s\n", why);
    return 0;
}

/* A list or a watch that the fuzzer keeps, in pieces that cut everything in two. */
static int run_protobuf(const struct torture_path *path) {
    static char data[FILE_MAX_BYTES];
    struct error err = {0};
    size_t len = read_file(path->argv[0], data);
    const struct protostream_handler handler = {.arg = &err,
            .item = print_object,
            .list = print_list,
            .event = print_event,
            .unreadable = print_unreadable};
    struct protostream *stream = protostream_create(
            strstr(path->argv[0], "watch") ? PROTOSTREAM_WATCH : PROTOSTREAM_LIST, &job_protobuf_codec, &handler, &err);
    int result = stream ? 0 : -1;
    for (size_t at = 0, n; at < len && result == 0; at += n) {
        n = len - at < PIECE_BYTES ? len - at : PIECE_BYTES;
        result = protostream_push(stream, data + at, n, &err);
    }
    if (result == 0)
        result = protostream_end(stream, &err);
    protostream_destroy(stream);
    return result < 0 ? tell(&err) : 0;
}

static int print_open(void *arg, const struct history_open_run *run, struct error *err) {
    (void)arg;
    (void)err;
    printf("%s %s\n", run->job_name, run_state_name(run->state));
    return 0;
}

/* A new register, written, read and pruned. What failed left nothing of the transaction behind. */
static int run_register(const struct torture_path *path) {
    (void)path;
    char location[256];
    struct history *history = NULL;
    struct error err = {0};
    int pruned = 0;
    torture_pause();
    snprintf(location, sizeof location, "sqlite:%s", in_folder("new.db"));
    for (size_t i = 0; i < 3; i++)
        unlink(in_folder(i == 0 ? "new.db" : i == 1 ? "new.db-wal" : "new.db-shm"));
    struct history_request *chain = make_chain(6);
    torture_resume();
    int result = history_open(location, HISTORY_WRITE, &history, &err);
    int applied = result == 0 ? history_apply(history, "c1", chain, &err) : -1;
    torture_pause();
    int rows = count_rows(location);
    destroy_chain(chain);
    if (applied == 0 ? rows != 6 : rows > 0)
        printf("%d rows although the transaction %s\n", rows, applied == 0 ? "was committed" : "failed");
    torture_resume();
    if (applied == 0)
        result = history_each_open(history, "c1", print_open, NULL, &err);
    if (applied == 0 && result == 0)
        result = history_prune(history, NOW_MS, 2, &pruned, &err);
    printf("%d pruned\n", pruned);
    history_close(history);
    return result < 0 || applied < 0 ? tell(&err) : 0;
}

/* ---- the writer: its loop, its thread, and memory that comes back ---- */

struct writing {
    struct loop *loop;
    struct writer *writer;
    int durable, submitted;
};

static void on_durable(void *arg, const struct history_request *request) {
    struct writing *w = arg;
    (void)request;
    if (++w->durable == w->submitted)
        loop_stop(w->loop);
}

static void on_failing(void *arg, const char *why) {
    (void)arg;
    if (why)
        alloc_relent();
}

static int run_writer(const struct torture_path *path) {
    (void)path;
    char location[256];
    struct error err = {0};
    struct writing w = {.durable = 0};
    torture_pause();
    snprintf(location, sizeof location, "sqlite:%s", in_folder("writer.db"));
    for (size_t i = 0; i < 3; i++)
        unlink(in_folder(i == 0 ? "writer.db" : i == 1 ? "writer.db-wal" : "writer.db-shm"));
    struct history_request *chain = make_chain(3);
    torture_resume();
    const struct writer_settings settings = {.location = location, .cluster = "c1", .retention_ms = DURATION_NEVER};
    const struct writer_handler handler = {.arg = &w, .durable = on_durable, .failing = on_failing};
    w.loop = loop_create(&err);
    if (!w.loop || writer_open(w.loop, &settings, &handler, &w.writer, &err) < 0) {
        torture_pause();
        destroy_chain(chain);
        loop_destroy(w.loop);
        return tell(&err);
    }
    for (struct history_request *next; chain; chain = next) {
        next = chain->next;
        w.submitted++;
        writer_submit(w.writer, chain);
    }
    loop_run(w.loop);
    int result = writer_close(w.writer, 5000);
    loop_destroy(w.loop);
    torture_pause();
    printf("%d durable, %d rows\n", w.durable, count_rows(location));
    torture_resume();
    return result < 0 ? 1 : 0;
}

/* ---- metrics ---- */

/* Counting never fails: what there is no memory for goes to the others. */
static int run_metrics(const struct torture_path *path) {
    (void)path;
    struct meters meters;
    struct metrics metrics;
    struct error err = {0};
    struct strbuf out = STRBUF_INIT(1u << 20);
    meters_init(&meters);
    for (int i = 0; i < 60; i++) {
        char name[16];
        snprintf(name, sizeof name, "ns-%d", i % 20);
        meters_note(&meters, &(struct news){.kind = NEWS_DELETED, .namespace = name, .cause = RUN_CAUSE_TTL});
    }
    uint64_t sum = tally_sum(&meters.deleted, meters_cause(RUN_CAUSE_TTL));
    metrics_init(&metrics);
    metrics.jobs_deleted = &meters.deleted;
    metrics_render(&metrics, METRICS_OPENMETRICS, &out);
    bool failed = strbuf_failed(&out);
    torture_pause();
    printf("%d counted\n", (int)sum);
    meters_finish(&meters);
    strbuf_finish(&out);
    if (sum != 60)
        abort();
    torture_resume();
    if (!failed)
        return 0;
    error_nomem(&err);
    return tell(&err);
}

/* ---- an API server over real sockets ---- */

static void stop_kubesim(void) {
    if (kubesim > 0)
        kill(kubesim, SIGKILL);
}

/* KUBESIM_BIN. False without it. */
static bool start_kubesim(void) {
    const char *binary = getenv("KUBESIM_BIN");
    int fds[2];
    char line[256];
    if (!binary || pipe(fds) < 0)
        return false;
    kubesim = fork();
    if (kubesim == 0) {
        char out[256];
        snprintf(out, sizeof out, "%s", in_folder("kubesim.yaml"));
        dup2(fds[1], STDOUT_FILENO);
        execl(binary, binary, "--port", "0", "--jobs", "8", "--job-bytes", "2000", "--namespaces", "2",
                "--failed-percent", "50", "--die-with-parent", "--kubeconfig-out", out, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    if (read(fds[0], line, sizeof line) <= 0)
        give_up(binary);
    close(fds[0]);
    return true;
}

/* ---- all of them ---- */

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define COMMAND(title, ...) \
    { .name = title, .run = run_command, .argv = WORDS(__VA_ARGS__) }
#define ONLINE(title, ...) \
    { \
        .name = title, .run = run_command, .argv = WORDS(__VA_ARGS__, "--kubeconfig", "@/kubesim.yaml"), \
        .in_process = true, .online = true \
    }
#define PLAN(format) \
    COMMAND("plan -f -o " format, "plan", "-f", "@/jobs.json", "--config", "@/sexton.ini", "-o", format)
#define LIST(format) \
    COMMAND("history list -o " format, "history", "list", "--store", "sqlite:@/history.db", "--since", "30d", \
            "--cronjob", "nightly-*", "-o", format)
#define SHOW(format) \
    COMMAND("history show -o " format, "history", "show", "--store", "sqlite:@/history.db", "-o", format, \
            "shop/nightly-export-3")
#define PROTOBUF(what, file) \
    { .name = "protobuf " what, .run = run_protobuf, .argv = WORDS("tests/fuzz/corpus/protobuf_" what "/" file) }
#define KUBECONFIG(file) \
    { .name = "kubeconfig " file, .run = run_kubeconfig, .argv = WORDS("tests/fuzz/corpus/kubeconfig/" file) }

const struct torture_path torture_paths[] = {
        {.name = "config", .run = run_config, .argv = WORDS("sexton.ini")},
        {.name = "config that is refused", .run = run_config, .argv = WORDS("bad.ini")},
        KUBECONFIG("basic.json"),
        KUBECONFIG("certificate.yaml"),
        KUBECONFIG("exec.yaml"),
        KUBECONFIG("files.yaml"),
        KUBECONFIG("odd.yaml"),
        KUBECONFIG("token.yaml"),
        KUBECONFIG("utf16.yaml"),
        PROTOBUF("list", "seed-3"),
        PROTOBUF("watch", "seed-5"),
        PLAN("table"),
        PLAN("wide"),
        PLAN("json"),
        PLAN("csv"),
        LIST("table"),
        LIST("wide"),
        LIST("json"),
        LIST("csv"),
        SHOW("text"),
        SHOW("json"),
        SHOW("manifest"),
        COMMAND("history of a run that is not there", "history", "show", "--store", "sqlite:@/history.db", "shop/none"),
        {.name = "register", .run = run_register},
        {.name = "writer", .run = run_writer, .in_process = true},
        {.name = "metrics", .run = run_metrics},
        ONLINE("online plan", "plan", "-o", "csv"),
        ONLINE("online check", "check", "--store", "sqlite:@/history.db"),
        ONLINE("online sweep --dry-run", "sweep", "--dry-run", "--log-level", "error"),
        {.name = NULL},
};

static int64_t fixed_wall_ms(void) {
    return NOW_MS;
}

static int64_t real_mono_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void remove_folder(void) {
    char command[300];
    stop_kubesim();
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    (void)!system(command);
}

bool torture_setup(void) {
    static const struct clock_source clocks = {fixed_wall_ms, real_mono_ms};
    if (!mkdtemp(folder))
        give_up(folder);
    atexit(remove_folder);
    clock_use(&clocks);
    log_configure(LOG_OFF, LOG_LOGFMT);
    write_file("sexton.ini", config_text);
    write_file("bad.ini", "[sexton]\ndelete-qps = many\n");
    write_file("jobs.json", jobs_text);
    make_register();
    return start_kubesim();
}
