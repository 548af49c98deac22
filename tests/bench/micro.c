/*
 * micro: the parts that each Job goes through, one at a time and without a network.
 *
 *   micro [-o] PART JOB-FILE [JOBS]
 *   micro -l                          the names of the parts
 *
 * JOB-FILE is a Job as the API server sends it, with @NAMESPACE@, @NAME@, @UID@ and @VERSION@ where it is to differ.
 * Does the part for JOBS of them (by default as many as the part is made for) again and again for half a second, and
 * writes a line: part, Jobs a second, MB a second of the input (0: has none). -o: once only, under a tool that counts.
 *
 * The same input, whenever it runs, so that instructions can be compared: what is to be counted is all in measured().
 */
#include <dirent.h>
#include <jansson.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "history/history.h"
#include "jobs/evidence.h"
#include "jobs/job.h"
#include "jobs/job_object.h"
#include "jobs/job_object_protobuf.h"
#include "jobs/policy.h"
#include "jobs/store.h"
#include "kube/framer.h"
#include "kube/protostream.h"

#include "../protobuf/encode.h"

#define NOW_MS 1795219200000LL /* 2026-11-21T00:00:00Z */
#define PIECE_BYTES 16384      /* of a stream at a time: a TLS record */
#define BATCH 100              /* requests in a transaction of the register, as a drain has them */
#define NATIVE_US 500000
#define JOB_FILE_MAX 65536
#define PREFIX "sexton.dev"

static struct {
    size_t jobs;
    char template[JOB_FILE_MAX];
    struct strbuf text; /* all Jobs, a List */
    char *protobuf;     /* the same in protobuf */
    size_t protobuf_len, input_len;
    struct {
        char *json, *aside;
        size_t len, aside_len;
        json_t *tree;
        struct job_object object;
        struct job job;
    } * items;
    size_t n_items;
    struct policy policy;
    struct heap_node *nodes;
    struct store store;
    struct heap heap;
    struct history *history;
    char folder[64];
    struct history_request **requests;
    uint64_t sum; /* of whatever came out, so that nothing is left out */
} m;

static void die(const char *what) {
    fprintf(stderr, "micro: %s\n", what);
    exit(2);
}

static void ensure(bool condition, const char *what) {
    if (!condition)
        die(what);
}

/* ---------------------------------------------------------------- input */

static void read_template(const char *file) {
    FILE *f = fopen(file, "re");
    ensure(f != NULL, file);
    size_t len = fread(m.template, 1, sizeof m.template - 1, f);
    ensure(len > 0 && len < sizeof m.template - 1 && !ferror(f), file);
    m.template[len] = '\0';
    fclose(f);
}

/* What stands for the place after an @. */
static const char *value_of(const char *at, size_t i, char buf[64]) {
    if (strncmp(at, "NAMESPACE@", 10) == 0)
        snprintf(buf, 64, "bench-%02zu", i % 20);
    else if (strncmp(at, "NAME@", 5) == 0)
        snprintf(buf, 64, "nightly-%06zu", i);
    else if (strncmp(at, "UID@", 4) == 0)
        snprintf(buf, 64, "%08zx-5e47-4000-8000-%012zx", i * 2654435761u & 0xffffffffu, i);
    else if (strncmp(at, "VERSION@", 8) == 0)
        snprintf(buf, 64, "%zu", 1000000 + i);
    else
        return NULL;
    return buf;
}

static void add_job(struct strbuf *text, size_t i) {
    char buf[64];
    const char *from = m.template;
    for (const char *at = from; (at = strchr(at, '@')); at++) {
        if (!value_of(at + 1, i, buf))
            continue;
        strbuf_add(text, from, (size_t)(at - from));
        strbuf_add_text(text, buf);
        at = strchr(at + 1, '@');
        from = at + 1;
    }
    strbuf_add_text(text, from);
}

static void prepare_text(void) {
    strbuf_init(&m.text, SIZE_MAX / 2);
    strbuf_add_text(&m.text,
            "{\"kind\":\"JobList\",\"apiVersion\":\"batch/v1\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[");
    for (size_t i = 0; i < m.jobs; i++) {
        if (i)
            strbuf_add_char(&m.text, ',');
        add_job(&m.text, i);
    }
    strbuf_add_text(&m.text, "]}\n");
    ensure(!strbuf_failed(&m.text), "memory");
    m.input_len = m.text.len;
}

static int keep_item(void *arg, const char *json, size_t len, const char *aside, size_t aside_len) {
    (void)arg;
    m.items[m.n_items].json = strndup(json, len);
    m.items[m.n_items].aside = strndup(aside, aside_len);
    m.items[m.n_items].len = len;
    m.items[m.n_items++].aside_len = aside_len;
    return 0;
}

static int count_item(void *arg, const char *json, size_t len, const char *aside, size_t aside_len) {
    (void)arg;
    m.sum += (unsigned char)json[len - 1] + (aside_len ? (unsigned char)aside[0] : 0u);
    m.n_items++;
    return 0;
}

static int ignore_envelope(void *arg, const char *json, size_t len) {
    (void)arg;
    (void)json;
    (void)len;
    return 0;
}

static void frame(int (*item)(void *arg, const char *json, size_t len, const char *aside, size_t aside_len)) {
    struct framer_handler handler = {.item = item, .envelope = ignore_envelope};
    struct framer *framer = framer_create(&handler, NULL);
    ensure(framer != NULL, "memory");
    m.n_items = 0;
    for (size_t at = 0; at < m.text.len; at += PIECE_BYTES) {
        size_t len = m.text.len - at < PIECE_BYTES ? m.text.len - at : PIECE_BYTES;
        ensure(framer_push(framer, m.text.data + at, len, NULL) == 0, "the framer took offence");
    }
    ensure(framer_end(framer, NULL) == 0 && m.n_items == m.jobs, "items are missing");
    framer_destroy(framer);
}

static void prepare_items(void) {
    prepare_text();
    m.items = calloc(m.jobs, sizeof *m.items);
    ensure(m.items != NULL, "memory");
    frame(keep_item);
}

static void judge(const struct job_object *object, struct job *ret) {
    ensure(job_decode(object, PREFIX, ret, NULL) == 0 && !ret->doubt, "a Job was not understood");
    m.sum += (uint64_t)ret->finished_ms;
}

static void decode(size_t i, json_t **tree, struct job_object *object, struct job *job) {
    *tree = json_read(m.items[i].json, m.items[i].len, 0, NULL, NULL);
    ensure(*tree && job_object_read(*tree, m.items[i].aside, m.items[i].aside_len, object, NULL) == 0, "memory");
    judge(object, job);
}

static void prepare_jobs(void) {
    prepare_items();
    policy_init(&m.policy);
    for (size_t i = 0; i < m.jobs; i++)
        decode(i, &m.items[i].tree, &m.items[i].object, &m.items[i].job);
}

/* ---------------------------------------------------------------- parts */

static void run_framer(void) {
    frame(count_item);
}

static void run_json(void) {
    for (size_t i = 0; i < m.jobs; i++) {
        json_t *tree;
        struct job_object object;
        struct job job;
        decode(i, &tree, &object, &job);
        job_object_finish(&object);
        json_decref(tree);
    }
}

static const struct evidence_settings evidence_settings = {
        .prefix = PREFIX, .labels = "*", .annotations = "batch.kubernetes.io/* cronjob.kubernetes.io/*"};

static struct run *take_evidence(const struct job_object *object, const struct job *job) {
    struct run *run = evidence_from_object(object, job, &evidence_settings);
    ensure(run != NULL, "memory");
    return run;
}

static void prepare_protobuf(void) {
    struct proto_encoder encoder = {.server = PROTO_SERVER_1_20};
    prepare_text();
    json_t *list = json_loadb(m.text.data, m.text.len, 0, NULL);
    m.protobuf = proto_encode_object(&encoder, list, &m.protobuf_len);
    ensure(m.protobuf != NULL, encoder.why);
    json_decref(list);
    m.input_len = m.protobuf_len;
}

static int judge_item(void *arg, const void *object) {
    (void)arg;
    struct job job;
    judge(object, &job);
    m.n_items++;
    return 0;
}

static int judge_and_record_item(void *arg, const void *object) {
    (void)arg;
    struct job job;
    judge(object, &job);
    run_destroy(take_evidence(object, &job));
    m.n_items++;
    return 0;
}

static int ignore_list(void *arg, const char *resource_version, const char *continue_token) {
    (void)arg;
    (void)resource_version;
    (void)continue_token;
    return 0;
}

static int refuse_unreadable(void *arg, const char *why) {
    (void)arg;
    die(why);
    return -1;
}

static void read_protobuf(int (*item)(void *arg, const void *object)) {
    struct protostream_handler handler = {.item = item, .list = ignore_list, .unreadable = refuse_unreadable};
    struct protostream *stream = protostream_create(PROTOSTREAM_LIST, &job_protobuf_codec, &handler, NULL);
    ensure(stream != NULL, "memory");
    m.n_items = 0;
    for (size_t at = 0; at < m.protobuf_len; at += PIECE_BYTES) {
        size_t len = m.protobuf_len - at < PIECE_BYTES ? m.protobuf_len - at : PIECE_BYTES;
        ensure(protostream_push(stream, m.protobuf + at, len, NULL) == 0, "the reader took offence");
    }
    ensure(protostream_end(stream, NULL) == 0 && m.n_items == m.jobs, "items are missing");
    protostream_destroy(stream);
}

static void run_protobuf(void) {
    read_protobuf(judge_item);
}

static void run_protobuf_evidence(void) {
    read_protobuf(judge_and_record_item);
}

static void run_evidence(void) {
    for (size_t i = 0; i < m.jobs; i++)
        run_destroy(take_evidence(&m.items[i].object, &m.items[i].job));
}

static void run_policy(void) {
    struct guards guards = {.namespace = NAMESPACE_KNOWN};
    static const struct annotations none;
    guards.namespace_annotations = &none;
    for (size_t i = 0; i < m.jobs; i++) {
        struct decision decision = policy_decide(&m.policy, &m.items[i].job, &guards, NOW_MS + 1);
        ensure(decision.action == ACTION_DELETE, "another decision");
        m.sum += (uint64_t)decision.due_ms;
    }
}

static void prepare_heap(void) {
    m.nodes = calloc(m.jobs, sizeof *m.nodes);
    ensure(m.nodes != NULL, "memory");
    for (size_t i = 0; i < m.jobs; i++)
        m.nodes[i].index = HEAP_OUTSIDE;
}

static void run_heap(void) {
    for (size_t i = 0; i < m.jobs; i++)
        ensure(heap_put(&m.heap, &m.nodes[i], (int64_t)(i * 2654435761u % 1000003u), NULL) == 0, "memory");
    for (struct heap_node *node; (node = heap_peek(&m.heap));) {
        m.sum += (uint64_t)node->key;
        heap_remove(&m.heap, node);
    }
}

static void run_store(void) {
    for (size_t i = 0; i < m.jobs; i++)
        ensure(store_add(&m.store, &m.items[i].job) != NULL, "memory");
    for (size_t i = 0; i < m.jobs; i++)
        m.sum += store_find(&m.store, m.items[i].job.uid)->phase;
    for (size_t i = 0; i < m.jobs; i++)
        store_remove(&m.store, store_find(&m.store, m.items[i].job.uid));
}

/* Three requests for each Job, as a deletion has them. */
enum { REQUESTS = 3 };

static struct history_request *make_request(size_t i, enum history_op op) {
    struct history_request *request = calloc(1, sizeof *request);
    ensure(request != NULL, "memory");
    request->op = op;
    snprintf(request->uid, sizeof request->uid, "%s", m.items[i].job.uid);
    request->at_ms = NOW_MS + op;
    if (op == HISTORY_RECORD)
        request->run = take_evidence(&m.items[i].object, &m.items[i].job);
    if (op == HISTORY_DELETED) {
        request->cause = RUN_CAUSE_TTL;
        return request;
    }
    struct guards guards = {.namespace = NAMESPACE_KNOWN};
    struct decision decision = policy_decide(&m.policy, &m.items[i].job, &guards, NOW_MS);
    policy_to_run(&decision, &request->policy);
    if (op == HISTORY_INTENT)
        request->policy.state = RUN_DELETING;
    return request;
}

static void register_remove(void) {
    history_close(m.history);
    m.history = NULL;
    DIR *folder = opendir(m.folder);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", m.folder, entry->d_name);
        if (entry->d_name[0] != '.')
            remove(path);
    }
    if (folder)
        closedir(folder);
    rmdir(m.folder);
}

/* Before each time: a register of its own. */
static void renew_register(void) {
    char location[sizeof m.folder + 32];
    struct error err = {0};
    if (m.history)
        register_remove();
    const char *tmp = getenv("TMPDIR");
    snprintf(m.folder, sizeof m.folder, "%s/micro.XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    ensure(mkdtemp(m.folder) != NULL, "no folder for the register");
    snprintf(location, sizeof location, "sqlite:%s/history.db", m.folder);
    ensure(history_open(location, HISTORY_WRITE, &m.history, &err) == 0, err.text);
}

static void prepare_register(void) {
    static const enum history_op ops[REQUESTS] = {HISTORY_RECORD, HISTORY_INTENT, HISTORY_DELETED};
    prepare_jobs();
    m.requests = calloc(m.jobs * REQUESTS, sizeof *m.requests);
    ensure(m.requests != NULL, "memory");
    /* In each batch the records of some Jobs, the intents of those before them, the ends of those before these. */
    size_t n = 0;
    for (size_t at = 0; at < m.jobs + 2 * BATCH; at += BATCH)
        for (size_t op = 0; op < REQUESTS; op++)
            for (size_t i = 0; i < BATCH; i++)
                if (at + i >= op * BATCH && at + i - op * BATCH < m.jobs)
                    m.requests[n++] = make_request(at + i - op * BATCH, ops[op]);
    ensure(n == m.jobs * REQUESTS, "requests are missing");
}

static void run_register(void) {
    struct error err = {0};
    for (size_t at = 0, end; at < m.jobs * REQUESTS; at = end) {
        for (end = at + 1; end < m.jobs * REQUESTS && end - at < BATCH; end++)
            m.requests[end - 1]->next = m.requests[end];
        m.requests[end - 1]->next = NULL;
        ensure(history_apply(m.history, "bench", m.requests[at], &err) == 0, err.text);
    }
}

struct part {
    const char *name;
    size_t jobs;    /* so many show what it costs in the long run */
    bool has_input; /* it reads it */
    void (*prepare)(void), (*before)(void), (*run)(void);
};

static const struct part parts[] = {
        {"framer", 200, true, prepare_text, NULL, run_framer},
        {"json", 200, true, prepare_items, NULL, run_json},
        {"protobuf", 200, true, prepare_protobuf, NULL, run_protobuf},
        {"protobuf-evidence", 200, true, prepare_protobuf, NULL, run_protobuf_evidence},
        {"evidence", 100, true, prepare_jobs, NULL, run_evidence},
        {"policy", 200, false, prepare_jobs, NULL, run_policy},
        {"heap", 20000, false, prepare_heap, NULL, run_heap},
        {"store", 1000, false, prepare_jobs, NULL, run_store},
        {"register", 500, false, prepare_register, renew_register, run_register},
};

/* ---------------------------------------------------------------- measuring */

void measured(const struct part *part);

/* The tool that counts does so from its beginning to its end. */
__attribute__((noinline)) void measured(const struct part *part) {
    part->run();
}

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static int64_t measure_once(const struct part *part) {
    if (part->before)
        part->before();
    malloc_trim(0); /* what the preparation has left is not to be tidied up at the part's expense */
    int64_t began_us = now_us();
    measured(part);
    return now_us() - began_us;
}

static void measure(const struct part *part, bool once) {
    int64_t took_us = 0;
    size_t times = 0;
    do {
        took_us += measure_once(part);
        times++;
    } while (!once && took_us < NATIVE_US);
    double seconds = (double)(took_us ? took_us : 1) / 1e6;
    printf("%s\t%.0f\t%.1f\t%zu\n", part->name, (double)(m.jobs * times) / seconds,
            part->has_input ? (double)(m.input_len * times) / 1e6 / seconds : 0.0, m.jobs);
}

int main(int argc, char **argv) {
    bool once = argc > 1 && strcmp(argv[1], "-o") == 0;
    if (argc == 2 && strcmp(argv[1], "-l") == 0) {
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
            puts(parts[i].name);
        return 0;
    }
    argc -= once;
    argv += once;
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: micro [-o] PART JOB-FILE [JOBS]\n       micro -l\n");
        return 2;
    }
    json_object_seed(1); /* jansson's hash tables are by chance otherwise */
    log_configure(LOG_OFF, LOG_LOGFMT);
    read_template(argv[2]);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strcmp(parts[i].name, argv[1]) != 0)
            continue;
        m.jobs = argc == 4 ? strtoul(argv[3], NULL, 10) : parts[i].jobs;
        ensure(m.jobs > 0, "JOBS");
        parts[i].prepare();
        measure(&parts[i], once);
        if (m.history)
            register_remove();
        return m.sum == 0 && strcmp(parts[i].name, "register") != 0;
    }
    die("there is no such part");
}
