#include "suites.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/hashset.h"
#include "base/log.h"
#include "job_source.h"
#include "jobs/reconcile.h"
#include "jobs/store.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define UUID "0a1b2c3d-0000-4fff-8abc-fedcba987654"
#define OWNER(members) ",\"ownerReferences\":[{\"controller\":true," members "}]"
#define ENDED(type, time) \
    ",\"status\":{\"startTime\":\"2026-01-02T03:00:01Z\",\"completionTime\":\"2026-01-02T03:04:04Z\"," \
    "\"conditions\":[{\"type\":\"" type "\",\"status\":\"True\",\"lastTransitionTime\":\"" time "\"}]}"

/* What follows the uid in metadata, and what follows metadata. */
static const struct {
    const char *metadata, *rest;
} kinds_of_jobs[] = {{"", ""}, {",\"resourceVersion\":\"77\"", ENDED("Complete", "2026-01-02T03:04:05Z")},
        {",\"resourceVersion\":\"9999999999999999999\"", ENDED("Failed", "2026-01-02T03:04:05Z")},
        {",\"resourceVersion\":\"18446744073709551616\"", ""}, {",\"resourceVersion\":\"077\"", ""},
        {",\"resourceVersion\":\"0\"", ""}, {",\"resourceVersion\":\"\"", ""}, {",\"resourceVersion\":\"a-7\"", ""},
        {",\"creationTimestamp\":\"2026-01-02T03:00:00Z\"", ENDED("Complete", "2026-01-02T03:04:05.678Z")},
        {",\"creationTimestamp\":\"1969-12-31T23:59:58Z\"", ENDED("Complete", "2999-01-01T00:00:00Z")},
        {",\"creationTimestamp\":\"1970-01-01T00:00:00Z\"", ENDED("Failed", "2106-02-07T06:28:16Z")},
        {",\"creationTimestamp\":\"2026-01-02T03:00:00Z\"", ",\"spec\":{\"ttlSecondsAfterFinished\":0}"},
        {"", ",\"spec\":{\"ttlSecondsAfterFinished\":2147483647}"},
        {"", ",\"spec\":{\"ttlSecondsAfterFinished\":2147483648}"},
        {OWNER("\"apiVersion\":\"batch/v1\",\"kind\":\"CronJob\",\"name\":\"nightly\",\"uid\":\"" UUID "\""), ""},
        {OWNER("\"apiVersion\":\"batch/v1\",\"kind\":\"CronJob\",\"name\":\"nightly\",\"uid\":\"c-1\""), ""},
        {OWNER("\"apiVersion\":\"x.example/v1\",\"kind\":\"CronJob\",\"name\":\"\",\"uid\":\"" UUID "\""), ""},
        {OWNER("\"apiVersion\":\"jobset.x-k8s.io/v1\",\"kind\":\"JobSet\",\"name\":\"train\",\"uid\":\"\""), ""},
        {",\"ownerReferences\":[{\"apiVersion\":\"batch/v1\",\"kind\":\"CronJob\",\"name\":\"n\",\"uid\":\"c\"}]", ""},
        {",\"ownerReferences\":7", ENDED("Complete", "2026-01-02T03:04:05Z")},
        {",\"annotations\":{\"sexton.dev/hold\":\"true\",\"helm.sh/hook\":\"pre-install\"}", ""},
        {",\"annotations\":{\"sexton.dev/hold\":\"2026-01-31T12:00:00Z\",\"sexton.dev/ttl-after-success\":\"1d\"}", ""},
        {",\"annotations\":{\"sexton.dev/hold\":\"false\",\"sexton.dev/ttl-after-failure\":\"never\"}", ""},
        {",\"annotations\":{\"sexton.dev/hold\":\"rubbish\",\"sexton.dev/ttl-after-success\":\"\"}", ""},
        {",\"annotations\":{\"sexton.dev/ttl-after-falure\":\"1d\"}", ""},
        {",\"annotations\":{\"sexton.dev/hold\":7,\"argocd.argoproj.io/hook\":\"\"}", ""},
        {",\"annotations\":\"none\"", ENDED("Complete", "2026-01-02T03:04:05Z")},
        {",\"deletionTimestamp\":\"2026-01-02T03:04:06Z\",\"finalizers\":[\"foregroundDeletion\",\"x/y\"]", ""}};

/* The Job borrows from what this returns. */
static struct job_source *decode(
        size_t kind, const char *namespace, const char *name, const char *uid, struct job *ret) {
    char text[1500];
    snprintf(text, sizeof text, "{\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\",\"uid\":\"%s\"%s}%s}", namespace,
            name, uid, kinds_of_jobs[kind].metadata, kinds_of_jobs[kind].rest);
    json_error_t why;
    json_t *json = json_loads(text, 0, &why);
    ck_assert_msg(json != NULL, "%s: %s", text, why.text);
    struct job_source *source = job_source_create(json, "");
    struct error err = {0};
    ck_assert_msg(job_decode(&source->object, "sexton.dev", ret, &err) == 0, "%s: %s", text, err.text);
    return source;
}

static void expect_same(const struct job *a, const struct job *b) {
    ck_assert_pstr_eq(a->namespace, b->namespace);
    ck_assert_pstr_eq(a->name, b->name);
    ck_assert_pstr_eq(a->uid, b->uid);
    ck_assert_pstr_eq(a->resource_version, b->resource_version);
    ck_assert_pstr_eq(a->owner_kind, b->owner_kind);
    ck_assert_pstr_eq(a->owner_name, b->owner_name);
    ck_assert_pstr_eq(a->owner_uid, b->owner_uid);
    ck_assert_pstr_eq(a->owner_api, b->owner_api);
    ck_assert_int_eq(a->owner_is_loose, b->owner_is_loose);
    ck_assert_pstr_eq(a->hook, b->hook);
    ck_assert_int_eq(a->hook_tool, b->hook_tool);
    ck_assert_pstr_eq(a->finalizers, b->finalizers);
    ck_assert_int_eq(a->created_ms, b->created_ms);
    ck_assert_int_eq(a->started_ms, b->started_ms);
    ck_assert_int_eq(a->finished_ms, b->finished_ms);
    ck_assert_int_eq(a->completion_ms, b->completion_ms);
    ck_assert_int_eq(a->deletion_ms, b->deletion_ms);
    ck_assert_int_eq(a->spec_ttl_s, b->spec_ttl_s);
    ck_assert_int_eq(a->outcome, b->outcome);
    ck_assert_ptr_eq(a->doubt, b->doubt);
    const struct annotations *x = &a->annotations, *y = &b->annotations;
    ck_assert_int_eq(x->success.state, y->success.state);
    ck_assert_int_eq(x->success.ms, y->success.ms);
    ck_assert_pstr_eq(x->success.text, y->success.text);
    ck_assert_int_eq(x->failure.state, y->failure.state);
    ck_assert_int_eq(x->failure.ms, y->failure.ms);
    ck_assert_pstr_eq(x->failure.text, y->failure.text);
    ck_assert_int_eq(x->hold.state, y->hold.state);
    ck_assert_int_eq(x->hold.until_ms, y->hold.until_ms);
    ck_assert_pstr_eq(x->hold.text, y->hold.text);
    ck_assert_int_eq(x->unknown_key, y->unknown_key);
    ck_assert_pstr_eq(x->bad_key, y->bad_key);
    ck_assert_pstr_eq(x->bad_value, y->bad_value);
    ck_assert_pstr_eq(x->bad_why, y->bad_why);
}

static const char *const uids[] = {UUID, "u1", "0A1B2C3D-0000-4FFF-8ABC-FEDCBA987654",
        "0a1b2c3d-0000-4fff-8abc-fedcba98765", "0a1b2c3d-0000-4fff-8abc-fedcba9876541",
        "0a1b2c3d00000-4fff-8abc-fedcba987654", "g0000000-0000-4fff-8abc-fedcba987654"};

static void expect_stored(const struct store_entry *entry, const struct job *job) {
    struct store_view view;
    expect_same(store_job(entry, &view), job);
    ck_assert_str_eq(store_namespace_of(entry), job->namespace);
    ck_assert_int_eq(store_is_owned_by(entry, UUID), job->owner_uid && strcmp(job->owner_uid, UUID) == 0);
    ck_assert_int_eq(store_is_owned_by(entry, "c-1"), job->owner_uid && strcmp(job->owner_uid, "c-1") == 0);
}

START_TEST(a_job_comes_out_of_the_store_as_it_went_in) {
    struct store store = {0};
    for (size_t kind = 0; kind < COUNT(kinds_of_jobs); kind++) {
        for (size_t i = 0; i < COUNT(uids); i++) {
            struct job job;
            struct job_source *source = decode(kind, "ml", "train", uids[i], &job);
            const struct store_entry *entry = store_add(&store, &job);
            ck_assert_ptr_nonnull(entry);
            ck_assert_ptr_eq(store_find(&store, uids[i]), entry);
            expect_stored(entry, &job);
            job_source_destroy(source);
        }
        ck_assert_uint_eq(store_count(&store), COUNT(uids));
        for (size_t i = 0; i < COUNT(uids); i++)
            store_remove(&store, store_find(&store, uids[i]));
    }
    ck_assert_uint_eq(store.texts.all.len, 0);
    store_finish(&store);
}
END_TEST

START_TEST(a_job_is_replaced_whatever_it_was_before) {
    struct store store = {0};
    for (size_t from = 0; from < COUNT(kinds_of_jobs); from++) {
        for (size_t to = 0; to < COUNT(kinds_of_jobs); to++) {
            const char *uid = uids[(from + to) % COUNT(uids)];
            struct job before, after;
            struct job_source *old = decode(from, "ml", "train", uid, &before);
            struct store_entry *entry = store_add(&store, &before);
            /* The API has no such renaming; a file may. */
            struct job_source *new = decode(to, to % 2 ? "ml" : "web", to % 3 ? "train" : "another-name", uid, &after);
            ck_assert_int_eq(store_replace_job(&store, entry, &after), 0);
            job_source_destroy(old);
            expect_stored(entry, &after);
            ck_assert_int_eq(store_replace_job(&store, entry, &after), 0);
            expect_stored(entry, &after);
            job_source_destroy(new);
            store_remove(&store, entry);
            ck_assert_uint_eq(store.texts.all.len, 0);
        }
    }
    store_finish(&store);
}
END_TEST

START_TEST(a_job_stays_small_whatever_its_annotation_is) {
    size_t n = 300u << 10;
    char *value = malloc(n + 1);
    memset(value, 'x', n);
    value[n] = '\0';
    struct job_source *source =
            job_source_create(json_pack("{s:{s:s,s:s,s:s,s:{s:s}}}", "metadata", "name", "a", "namespace", "b", "uid",
                                      "c", "annotations", "sexton.dev/hold", value),
                    "");
    struct job job;
    struct store store = {0};
    struct store_view view;
    ck_assert_int_eq(job_decode(&source->object, "sexton.dev", &job, NULL), 0);
    const struct store_entry *entry = store_add(&store, &job);
    job_source_destroy(source);
    ck_assert_uint_lt(entry->job.extra->len, 1500);
    ck_assert_int_eq(store_job(entry, &view)->annotations.hold.state, ANNOTATION_INVALID);
    ck_assert_uint_eq(strlen(view.job.annotations.bad_value), STORE_TEXT_MAX);
    store_finish(&store);
    free(value);
}
END_TEST

/* ---- the table ---- */

#define MODEL_ITEMS 3000

static uint64_t hash_of_number(const void *item) {
    return hash_number(*(const uint32_t *)item);
}

/* Hardly one that spreads: long runs, over the end of the table too. */
static uint64_t poor_hash_of_number(const void *item) {
    return ((uint64_t)(*(const uint32_t *)item / 50) - 1) << 32;
}

static bool is_number(const void *item, const void *key) {
    return *(const uint32_t *)item == *(const uint32_t *)key;
}

static void check_set(hashset_hash *hash_of, int64_t seed) {
    struct hashset set = {0};
    static uint32_t numbers[MODEL_ITEMS];
    static bool in_set[MODEL_ITEMS], seen[MODEL_ITEMS];
    uint32_t len = 0;
    memset(in_set, 0, sizeof in_set);
    random_seed((uint64_t)seed);
    for (uint32_t i = 0; i < MODEL_ITEMS; i++)
        numbers[i] = i;
    for (int step = 0; step < 20000; step++) {
        /* Fuller and emptier in turns. */
        uint32_t *number = &numbers[random_below(step / 4000 % 2 ? 300 : MODEL_ITEMS)];
        bool add = !in_set[*number];
        if (add)
            ck_assert_int_eq(hashset_add(&set, number, hash_of, NULL), 0);
        else
            hashset_remove(&set, number, hash_of);
        in_set[*number] = add;
        len = add ? len + 1 : len - 1;
        ck_assert_uint_eq(set.len, len);
        uint32_t other = (uint32_t)random_below(MODEL_ITEMS);
        ck_assert_ptr_eq(
                hashset_find(&set, hash_of(&other), is_number, &other), in_set[other] ? &numbers[other] : NULL);
    }
    memset(seen, 0, sizeof seen);
    struct hashset_cursor cursor = {0};
    for (const uint32_t *number; (number = hashset_next(&set, &cursor));) {
        ck_assert(in_set[*number] && !seen[*number]);
        seen[*number] = true;
        if (*number % 3 == 0)
            hashset_remove(&set, number, hash_of);
    }
    for (uint32_t i = 0; i < MODEL_ITEMS; i++) {
        ck_assert_int_eq(in_set[i], seen[i]);
        ck_assert_int_eq(hashset_find(&set, hash_of(&i), is_number, &i) != NULL, in_set[i] && i % 3 != 0);
    }
    hashset_finish(&set);
}

START_TEST(the_table_finds_what_was_put_and_visits_each_once_while_it_loses_some) {
    for (int64_t seed = 1; seed <= 5; seed++) {
        check_set(hash_of_number, seed);
        check_set(poor_hash_of_number, seed);
    }
}
END_TEST

/* ---- what it costs ---- */

#define JOBS_MEASURED 10000
#define BYTES_A_JOB_MAX 300 /* entry, its share of tables and heaps, and malloc's own */

#if defined(__SANITIZE_ADDRESS__)
#define MALLOC_IS_MEASURABLE false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MALLOC_IS_MEASURABLE false
#endif
#endif
#ifndef MALLOC_IS_MEASURABLE
#define MALLOC_IS_MEASURABLE true
#endif

static void ignore_wake(void *arg) {
    (void)arg;
}

static size_t bytes_in_use(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* A Job as the API server has it, of a CronJob that has jobs_an_owner of them; 0: of none. */
static json_t *make_job(int number, int jobs_an_owner, bool annotated) {
    char name[64], uid[UUID_TEXT_MAX], version[16], owner_name[64], owner_uid[UUID_TEXT_MAX];
    int owner = jobs_an_owner ? number / jobs_an_owner : 0;
    snprintf(name, sizeof name, "nightly-report-%d-%d", owner, 29000000 + number);
    snprintf(uid, sizeof uid, "%08x-0000-4fff-8abc-fedcba987654", (unsigned)number * 2654435761u);
    snprintf(version, sizeof version, "%d", 1234567 + number);
    snprintf(owner_name, sizeof owner_name, "nightly-report-%d", owner);
    snprintf(owner_uid, sizeof owner_uid, "%08x-1111-4fff-8abc-fedcba987654", (unsigned)owner * 2654435761u);
    json_t *owners = json_array(), *annotations = json_object();
    if (jobs_an_owner)
        json_array_append_new(owners, json_pack("{s:s,s:s,s:s,s:s,s:b}", "apiVersion", "batch/v1", "kind", "CronJob",
                                              "name", owner_name, "uid", owner_uid, "controller", 1));
    if (annotated)
        json_object_set_new(annotations, "sexton.dev/ttl-after-failure", json_string("7d"));
    return json_pack("{s:{s:s,s:s,s:s,s:s,s:s,s:o,s:o},s:{s:s,s:[{s:s,s:s,s:s}]}}", "metadata", "namespace",
            number % 2 ? "team-a" : "team-b", "name", name, "uid", uid, "resourceVersion", version, "creationTimestamp",
            "2026-01-02T03:00:00Z", "annotations", annotations, "ownerReferences", owners, "status", "startTime",
            "2026-01-02T03:00:01Z", "conditions", "type", "Failed", "status", "True", "lastTransitionTime",
            "2026-01-02T03:04:05Z");
}

static double measure(int jobs_an_owner, bool annotated) {
    struct policy policy;
    struct evidence_settings evidence = {.prefix = "sexton.dev", .labels = "", .annotations = ""};
    policy_init(&policy);
    policy.failure = (struct policy_ttl){.ms = 1000 * 86400000LL, .text = "1000d"};
    const struct reconcile_settings settings = {
            .policy = &policy, .evidence = &evidence, .max_in_flight = 32, .missing_namespace = NAMESPACE_NOT_ASKED};
    const struct reconcile_ports ports = {.wake = ignore_wake};
    struct reconcile *r = reconcile_create(&settings, &ports, NULL);
    size_t before = bytes_in_use();
    for (int i = 0; i < JOBS_MEASURED; i++) {
        struct job_source *source = job_source_create(make_job(i, jobs_an_owner, annotated), "");
        ck_assert_int_eq(reconcile_on_job(r, 0, &source->object), 0);
        job_source_destroy(source);
    }
    double bytes = (double)(bytes_in_use() - before) / JOBS_MEASURED;
    ck_assert_int_eq(reconcile_count(r).seen, JOBS_MEASURED);
    reconcile_destroy(r);
    return bytes;
}

START_TEST(a_job_costs_at_most_300_bytes) {
    static const struct {
        const char *what;
        int jobs_an_owner;
        bool annotated;
    } cases[] = {{"of no CronJob", 0, false}, {"of a CronJob that keeps four", 4, false},
            {"of a CronJob that keeps four, annotated", 4, true}, {"of a CronJob of its own", 1, false}};
    if (!MALLOC_IS_MEASURABLE)
        return;
    log_configure(LOG_OFF, LOG_LOGFMT);
    printf("struct store_entry: %zu bytes and the name; in it, struct packed_job: %zu, struct heap_node: %zu\n",
            sizeof(struct store_entry), sizeof(struct packed_job), sizeof(struct heap_node));
    printf("struct store_view, as one is looked at: %zu bytes; in it, struct job: %zu\n", sizeof(struct store_view),
            sizeof(struct job));
    for (size_t i = 0; i < COUNT(cases); i++) {
        double bytes = measure(cases[i].jobs_an_owner, cases[i].annotated);
        printf("a Job %s: %.0f bytes\n", cases[i].what, bytes);
        ck_assert_double_le(bytes, BYTES_A_JOB_MAX);
        ck_assert_double_gt(bytes, 100);
    }
}
END_TEST

Suite *suite_store(void) {
    Suite *suite = suite_create("store");
    TCase *tcase = tcase_create("store");
    static const TTest *const *const all[] = {&a_job_comes_out_of_the_store_as_it_went_in,
            &a_job_is_replaced_whatever_it_was_before, &a_job_stays_small_whatever_its_annotation_is,
            &the_table_finds_what_was_put_and_visits_each_once_while_it_loses_some, &a_job_costs_at_most_300_bytes};
    for (size_t i = 0; i < COUNT(all); i++)
        tcase_add_test(tcase, *all[i]);
    tcase_set_timeout(tcase, 120);
    suite_add_tcase(suite, tcase);
    return suite;
}
