#include "cluster.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ARGUMENTS_MAX 32

static struct process *sim;
static char url[64], kubeconfig[256];
static int port;
static CURL *curl;
static json_t *answer;
static int64_t own_gets, own_patches, own_deletes; /* of Jobs: they are not the controller's */

/* ---- the process ---- */

void sim_start_at(int wanted, const char *const options[]) {
    const char *binary = getenv("KUBESIM_BIN");
    const char *argv[ARGUMENTS_MAX] = {binary ? binary : "build/kubesim", "--port", format("%d", wanted),
            "--kubeconfig-out", in_folder("kubeconfig"), "--die-with-parent"};
    int n = 6;
    for (; options && *options && n < ARGUMENTS_MAX - 1; options++)
        argv[n++] = *options;
    sim = process_start(&(struct start){.argv = argv});
    own_gets = own_patches = own_deletes = 0;
    wait_until(strchr(process_out(sim), '\n') || process_has_ended(sim));
    if (sscanf(process_out(sim), "kubesim listening on %63s", url) != 1)
        test_fail("kubesim did not start");
    port = atoi(strrchr(url, ':') + 1);
    snprintf(kubeconfig, sizeof kubeconfig, "%s", in_folder("kubeconfig"));
}

void sim_start(const char *const options[]) {
    sim_start_at(0, options);
}

void sim_stop(void) {
    process_signal(sim, SIGTERM);
    expect_number(process_wait(sim), 0);
}

void sim_signal(int number) {
    process_signal(sim, number);
    if (number == SIGKILL)
        expect_number(process_wait(sim), 128 + SIGKILL);
    if (number == SIGKILL && curl) {
        curl_easy_cleanup(curl); /* its connection is dead */
        curl = NULL;
    }
}

int sim_port(void) {
    return port;
}

void sim_redirect(int to) {
    const char *text = read_file(kubeconfig), *mark = format("127.0.0.1:%d", port), *at = strstr(text, mark);
    expect(at, "%s is not in %s", mark, text);
    text = format("%.*s127.0.0.1:%d%s", (int)(at - text), text, to, at + strlen(mark));
    write_bytes(kubeconfig, text, strlen(text));
}

const char *sim_kubeconfig(void) {
    return kubeconfig;
}

const char *sim_url(void) {
    return url;
}

/* ---- requests ---- */

static size_t collect(char *data, size_t size, size_t n, void *arg) {
    return fwrite(data, size, n, arg);
}

int sim_request(const char *method, const char *path, const char *body, const json_t **ret) {
    if (!curl && !(curl = curl_easy_init()))
        test_fail("libcurl did not start");
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    struct curl_slist *headers =
            curl_slist_append(NULL, strcmp(method, "PATCH") == 0 ? "Content-Type: application/merge-patch+json"
                                                                 : "Content-Type: application/json");
    long status = 0;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, format("%s%s", url, path));
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    if (body)
        curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, memory);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)WAIT_MS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L); /* who we speak to is no question here */
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    CURLcode code = curl_easy_perform(curl);
    fclose(memory);
    curl_slist_free_all(headers);
    if (code != CURLE_OK)
        test_fail("%s %s: %s", method, path, curl_easy_strerror(code));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (strncmp(path, "/kubesim/", 9) != 0) {
        own_gets += strcmp(method, "GET") == 0;
        own_patches += strcmp(method, "PATCH") == 0;
        own_deletes += strcmp(method, "DELETE") == 0;
    }
    json_decref(answer);
    answer = json_loadb(text, size, 0, NULL);
    free(text);
    if (ret)
        *ret = answer;
    return (int)status;
}

const json_t *sim_get(const char *path) {
    const json_t *json = NULL;
    int status = sim_request("GET", path, NULL, &json);
    expect(status == 200 && json, "GET %s: %d", path, status);
    return json;
}

static void must(const char *method, const char *path, const char *body) {
    int status = sim_request(method, path, body, NULL);
    char *why = json_dumps(answer, JSON_ENCODE_ANY);
    expect(status / 100 == 2, "%s %s: %d %s", method, path, status, why ? why : "");
    free(why);
}

void sim_faults(const char *rules) {
    must("POST", "/kubesim/faults", json_format("%s", rules));
}

void sim_clear_faults(void) {
    must("DELETE", "/kubesim/faults", NULL);
}

int64_t sim_fault_hits(int rule) {
    const json_t *rules = sim_get("/kubesim/faults");
    return json_integer_value(json_object_get(json_array_get(rules, (size_t)rule), "hits"));
}

void sim_set_clock(int64_t skew_ms) {
    must("POST", "/kubesim/clock", json_format("{'dateSkewMs': %" PRId64 "}", skew_ms));
}

void sim_compact(void) {
    must("POST", "/kubesim/compact", NULL);
}

void sim_load(const char *json) {
    must("POST", "/kubesim/load", json);
}

static int64_t stat_of(const char *a, const char *b, const char *c) {
    const json_t *at = json_object_get(sim_get("/kubesim/stats"), a);
    at = b ? json_object_get(at, b) : at;
    at = c ? json_object_get(at, c) : at;
    return json_integer_value(at);
}

int64_t sim_count(const char *resource, const char *verb) {
    int64_t own = strcmp(resource, "jobs") != 0 ? 0
                  : strcmp(verb, "get") == 0    ? own_gets
                  : strcmp(verb, "patch") == 0  ? own_patches
                  : strcmp(verb, "delete") == 0 ? own_deletes
                                                : 0;
    return stat_of("resources", *resource ? resource : "other", verb) - own;
}

int64_t sim_count_code(const char *code) {
    return stat_of("codes", code, NULL);
}

int64_t sim_total(void) {
    int64_t leases = 0, events = 0;
    json_t *resources = json_object_get(sim_get("/kubesim/stats"), "resources"), *count;
    const char *verb;
    json_object_foreach (json_object_get(resources, "leases"), verb, count)
        leases += json_integer_value(count);
    json_object_foreach (json_object_get(resources, "events"), verb, count)
        events += json_integer_value(count);
    return stat_of("total", NULL, NULL) - leases - events - own_gets - own_patches - own_deletes;
}

int64_t sim_open_watches(const char *resource) {
    return stat_of("openWatches", resource, NULL);
}

int64_t sim_objects(const char *resource) {
    return stat_of("objects", resource, NULL);
}

int64_t sim_protobuf_sent(void) {
    return stat_of("protobufSent", NULL, NULL);
}

/* ---- certificates ---- */

void openssl(const char *arguments) {
    struct result result =
            process_run(&(struct start){.argv = (const char *const[]){"/bin/sh", "-c",
                                                format("cd '%s' && openssl %s", in_folder("."), arguments), NULL}});
    expect(result.code == 0, "openssl %s: %s", arguments, result.err);
}

void make_certificate(const char *name, const char *subject, const char *more) {
    openssl(format(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=%s' -keyout %s.key -out "
            "%s.crt %s",
            subject, name, name, more));
}

/* ---- Jobs ---- */

static const char *time_text(int64_t ms) {
    char text[32];
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return format("%s", text);
}

static const char *members(const char *text) {
    return text ? text : "";
}

struct job sim_put_job(const struct job_spec *spec) {
    static int serial;
    serial++;
    struct job job = {.ns = spec->ns ? spec->ns : "shop",
            .name = spec->name,
            .uid = spec->uid ? spec->uid : format("5ec70000-0000-4000-8000-%012d", serial),
            .ended_ms = (wall_ms() - spec->ended_s * 1000) / 1000 * 1000};
    const char *started = time_text(job.ended_ms - 5000), *ended = time_text(job.ended_ms);
    const char *status = "'active': 1";
    if (!spec->running)
        status = format(
                "'conditions': [{'type': '%s', 'status': 'True', 'lastProbeTime': '%s', 'lastTransitionTime': '%s'%s}]"
                "%s",
                spec->failed ? "Failed" : "Complete", ended, ended,
                spec->failed
                        ? ", 'reason': 'BackoffLimitExceeded', 'message': 'Job has reached the specified backoff limit'"
                        : "",
                spec->failed ? ", 'failed': 1" : format(", 'succeeded': 1, 'completionTime': '%s'", ended));
    sim_load(json_format(
            "{'kind': 'Job', 'apiVersion': 'batch/v1', 'metadata': {'namespace': '%s', 'name': '%s', 'uid': '%s', "
            "'creationTimestamp': '%s', 'annotations': {%s}, 'labels': {%s}%s%s}, 'spec': {'template': {'spec': "
            "{'containers': [{'name': 'main', 'image': 'busybox:1'}], 'restartPolicy': 'Never'}}%s%s}, "
            "'status': {'startTime': '%s', %s}}",
            job.ns, job.name, job.uid, started, members(spec->annotations), members(spec->labels),
            spec->metadata ? ", " : "", members(spec->metadata), spec->spec ? ", " : "", members(spec->spec), started,
            status));
    return job;
}

void put_namespace(const char *name, const char *annotations) {
    sim_load(json_format("{'kind': 'Namespace', 'apiVersion': 'v1', 'metadata': {'name': '%s', 'annotations': {%s}}}",
            name, members(annotations)));
}

static const char *path_of(const struct job *job) {
    return format("/apis/batch/v1/namespaces/%s/jobs/%s", job->ns, job->name);
}

bool job_exists(const struct job *job) {
    const json_t *body;
    if (sim_request("GET", path_of(job), NULL, &body) != 200)
        return false;
    const char *uid = json_string_value(json_object_get(json_object_get(body, "metadata"), "uid"));
    return uid && strcmp(uid, job->uid) == 0;
}

void patch_job(const struct job *job, const char *patch) {
    must("PATCH", path_of(job), json_format("%s", patch));
}

void delete_job(const struct job *job) {
    /* As kubectl does: without preconditions, by which its requests can be told from ours. */
    must("DELETE", path_of(job), json_format("{'propagationPolicy': 'Background'}"));
}

static const char *member(const json_t *entry, const char *key) {
    const char *text = json_string_value(json_object_get(entry, key));
    return text ? format("%s", text) : NULL;
}

struct deletion deletions_of(const struct job *job) {
    struct deletion found = {0};
    size_t index;
    json_t *entry;
    json_array_foreach ((json_t *)sim_get("/kubesim/audit"), index, entry) {
        const char *uid = json_string_value(json_object_get(entry, "preconditionUid"));
        if (strcmp(json_string_value(json_object_get(entry, "resource")), "jobs") != 0 ||
                strcmp(json_string_value(json_object_get(entry, "namespace")), job->ns) != 0 ||
                strcmp(json_string_value(json_object_get(entry, "name")), job->name) != 0 || !uid)
            continue;
        found.last_ms = json_integer_value(json_object_get(entry, "time_ms"));
        found.first_ms = found.count ? found.first_ms : found.last_ms;
        found.last_code = (int)json_integer_value(json_object_get(entry, "code"));
        found.count++;
        found.done += found.last_code == 200;
        found.uid = member(entry, "preconditionUid");
        found.resource_version = member(entry, "preconditionResourceVersion");
        found.propagation = member(entry, "propagationPolicy");
    }
    return found;
}

int deletion_times(int64_t *times, int max) {
    int n = 0;
    size_t index;
    json_t *entry;
    json_array_foreach ((json_t *)sim_get("/kubesim/audit"), index, entry) {
        if (n < max)
            times[n++] = json_integer_value(json_object_get(entry, "time_ms"));
    }
    return n;
}
