/*
 * Requests that fail, again and again, are a bounded number of requests a minute: in every state in which the API
 * server refuses, breaks off or is silent.
 *
 * Time flies for the controller, so that minutes are measured, not guessed: the first, when backoffs are short, and a
 * later one. The bounds come from its constants. kubesim counts.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kube/reflector.h"
/* The tests' struct job is another one. */
#define job product_job
#include "jobs/reconcile.h"
#undef job

#include "proxy.h"
#include "suites.h"

#define SPEED 150
#define MINUTE_MS 60000
#define LATER_MS (2 * MINUTE_MS) /* a later minute begins: the longest backoff of a list or watch is reached */
#define DUE_JOBS 4
#define MANY_JOBS "300" /* due at once: what bounds each Job's requests bounds nothing here */
#define MAX_IN_FLIGHT 32

/* At most so many tries in a time from the first failure on, when each wait is at least half of what doubles from first
 * to last. */
static int64_t tries(int64_t first_ms, int64_t last_ms, int64_t time_ms) {
    int64_t n = 1, at_ms = 0;
    for (int64_t wait_ms = first_ms; (at_ms += wait_ms / 2) <= time_ms; n++)
        wait_ms = wait_ms > last_ms / 2 ? last_ms : wait_ms * 2;
    return n;
}

/* ... and in a later one, in minutes. */
static int64_t later_tries(int64_t last_ms, int64_t time_ms) {
    return time_ms / (last_ms / 2) + 1;
}

/* A list or watch, or discovery, that fails each time: 9 in a minute, and then 5. */
#define REFLECTOR_TRIES(time_ms) tries(REFLECTOR_BACKOFF_FIRST_MS, REFLECTOR_BACKOFF_LAST_MS, time_ms)
#define REFLECTOR_TRIES_LATER(time_ms) later_tries(REFLECTOR_BACKOFF_LAST_MS, time_ms)
/* One Job's deletion: 7, and then 2. */
#define JOB_TRIES(time_ms) tries(RECONCILE_BACKOFF_FIRST_MS, RECONCILE_BACKOFF_LAST_MS, time_ms)
#define JOB_TRIES_LATER(time_ms) (2 * ((time_ms) / MINUTE_MS + 1) - 1)
/* All deletions, while the API server is in trouble: 9, and then 5. */
#define PAUSES(time_ms) tries(RECONCILE_PAUSE_FIRST_MS, RECONCILE_PAUSE_LAST_MS, time_ms)
#define PAUSES_LATER(time_ms) later_tries(RECONCILE_PAUSE_LAST_MS, time_ms)
/* Every retry-period, whatever goes wrong: 31. */
#define LEASE_TRIES(time_ms) ((time_ms) / 2000 + 1)

enum what { LIST, WATCH, DISCOVERY, DELETE, MANY_DELETES, LEASE };

struct state {
    const char *name, *rules;
    enum what what;
    int each; /* requests that one try may cost; 0: it does not fail, and is not tried again */
};

static const char *nested(int depth) {
    char *text = malloc((size_t)depth + 1);
    memset(text, '[', (size_t)depth);
    text[depth] = '\0';
    return keep(text);
}

/* What a try costs in requests, and how many tries there may be in so much time. */
static int64_t bound_of(const struct state *state, bool later, int64_t time_ms) {
    if (state->each == 0)
        return later ? 0 : 1;
    switch (state->what) {
    case LIST:
    case WATCH:
    case DISCOVERY:
        /* One more: the first new list after a 410 comes at once. */
        return state->each * (later ? REFLECTOR_TRIES_LATER(time_ms) : REFLECTOR_TRIES(time_ms) + 1);
    case DELETE:
        return state->each * DUE_JOBS * (later ? JOB_TRIES_LATER(time_ms) : JOB_TRIES(time_ms));
    case MANY_DELETES:
        /* What is in flight when the trouble begins, and then one that finds out after each pause. */
        return later ? state->each * PAUSES_LATER(time_ms) : MAX_IN_FLIGHT + state->each * PAUSES(time_ms);
    case LEASE:
        return state->each * LEASE_TRIES(time_ms);
    }
    return 0;
}

/* All requests but those that only come with the start. */
static int64_t requests_of(const struct state *state) {
    switch (state->what) {
    case LIST:
    case WATCH:
        return sim_count("jobs", "list") + sim_count("jobs", "watch");
    case DISCOVERY:
        return sim_count("", "get") + sim_count("namespaces", "get");
    case DELETE:
    case MANY_DELETES:
        return sim_count("jobs", "delete") + sim_count("jobs", "get");
    case LEASE:
        return sim_count("leases", "get") + sim_count("leases", "create") + sim_count("leases", "update");
    }
    return 0;
}

static void let_pass(int64_t until_ms) {
    while (clock_controllers_ms() < until_ms)
        let_others_run(0);
}

/* Counts those of the next minute, and checks them. It takes its time to count, and time flies. */
static void measure_minute(const struct state *state, bool later, int64_t before, int64_t began_ms) {
    let_pass(began_ms + MINUTE_MS);
    int64_t n = requests_of(state) - before, took_ms = clock_controllers_ms() - began_ms;
    int64_t most = bound_of(state, later, took_ms);
    printf("  %-44s %s minute: %3" PRId64 " requests, %3" PRId64 " allowed (in %" PRId64 " s)\n", state->name,
            later ? "a later" : "the first", n, most, took_ms / 1000);
    expect(n <= most, "%s: %" PRId64 " requests, not at most %" PRId64, state->name, n, most);
}

/* soak: time as it is, and the first minute only. */
static void measure(const struct state *state, bool soak) {
    sim_start((const char *const[]){"--bookmark-ms", "50", "--failed-percent", "0", "--jobs",
            state->what == MANY_DELETES ? MANY_JOBS : "0", NULL});
    if (state->what == DELETE) {
        for (int i = 0; i < DUE_JOBS; i++)
            put_job(.name = format("job-%d", i), .ended_s = 60);
    }
    sim_faults(state->rules);
    configure(state->what == LEASE          ? ""
              : state->what == MANY_DELETES ? WITHOUT_LEASE "delete-qps = 0\n"
                                            : WITHOUT_LEASE);
    struct process *controller = controller_start_with_clock(0, 1);
    int64_t start_ms;
    do /* the moment before the first one was seen: until then, time goes as it does */
        start_ms = clock_controllers_ms();
    while (sim_fault_hits(0) == 0);
    clock_speed(soak ? 1 : SPEED);
    /* The list that a watch needs is none of them. */
    measure_minute(state, false, state->what == WATCH ? 1 : 0, start_ms);
    if (!soak) {
        let_pass(start_ms + LATER_MS);
        int64_t began_ms = clock_controllers_ms();
        measure_minute(state, true, requests_of(state), began_ms);
    }
    /* Nor does anything else run wild meanwhile: discovery, and Namespaces and CronJobs listed and watched. */
    int64_t total = sim_total(), time_ms = clock_controllers_ms() - start_ms;
    int64_t most = state->what == LEASE ? 0 : bound_of(state, false, time_ms);
    expect(total <= most + 12, "%s: %" PRId64 " requests in all, not at most %" PRId64, state->name, total, most + 12);
    process_signal(controller, SIGKILL);
    process_wait(controller);
    sim_stop();
}

static void measure_all(const struct state *states, size_t n) {
    const char *only = getenv("SEXTON_TEST_STATE");
    for (size_t i = 0; i < n; i++) {
        if (!only || strstr(states[i].name, only))
            measure(&states[i], false);
    }
}

#define ON_LIST(action) "[{'match': {'verb': 'list', 'resource': 'jobs'}, 'action': {" action "}}]"
#define ON_WATCH(action) "[{'match': {'verb': 'watch', 'resource': 'jobs'}, 'action': {" action "}}]"
#define ON_DELETE(action) "[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {" action "}}]"
#define ON_VERSION(action) "[{'match': {'path': '/version'}, 'action': {" action "}}]"

START_TEST(a_list_that_is_refused_is_asked_for_a_bounded_number_of_times_a_minute) {
    const struct state states[] = {
            {"list: 500", ON_LIST("'status': 500"), LIST, 1},
            {"list: 401", ON_LIST("'status': 401"), LIST, 1},
            {"list: 403", ON_LIST("'deny': true"), LIST, 1},
            {"list: 404", ON_LIST("'status': 404"), LIST, 1},
            {"list: 410", ON_LIST("'status': 410"), LIST, 1},
            {"list: 429 without Retry-After", ON_LIST("'status': 429"), LIST, 1},
            {"list: 429 with Retry-After: 0", ON_LIST("'status': 429, 'retryAfter': 0"), LIST, 1},
    };
    measure_all(states, sizeof states / sizeof states[0]);
}
END_TEST

START_TEST(a_list_that_is_broken_is_asked_for_a_bounded_number_of_times_a_minute) {
    const struct state states[] = {
            {"list: closed without an answer", ON_LIST("'drop': true"), LIST, 2},
            {"list: reset within", ON_LIST("'truncateAfter': 20, 'reset': true"), LIST, 1},
            {"list: truncated JSON", ON_LIST("'body': '{\\'kind\\':\\'JobList\\',\\'items\\':[{\\'meta'"), LIST, 1},
            {"list: an empty answer", ON_LIST("'body': ''"), LIST, 1},
            {"list: an HTML page", ON_LIST("'body': '<html>', 'contentType': 'text/html'"), LIST, 1},
            {"list: nested 10,000 deep", format(ON_LIST("'body': '{\\'items\\':[{\\'a\\':%s'"), nested(10000)), LIST,
                    1},
            {"list: headers and silence", ON_LIST("'stallAfter': 0"), LIST, 1},
    };
    measure_all(states, sizeof states / sizeof states[0]);
}
END_TEST

START_TEST(a_watch_that_is_refused_is_asked_for_a_bounded_number_of_times_a_minute) {
    const struct state states[] = {
            {"watch: 500", ON_WATCH("'status': 500"), WATCH, 1},
            {"watch: 403", ON_WATCH("'deny': true"), WATCH, 1},
            {"watch: 429 with Retry-After: 0", ON_WATCH("'status': 429, 'retryAfter': 0"), WATCH, 1},
            {"watch: 410 as a status", ON_WATCH("'status': 410"), WATCH, 2},
            {"watch: 410 as an event", ON_WATCH("'watchGone': true"), WATCH, 2},
            {"watch: closed without an answer", ON_WATCH("'drop': true"), WATCH, 2},
            {"watch: 404", ON_WATCH("'status': 404"), WATCH, 2},
    };
    measure_all(states, sizeof states / sizeof states[0]);
}
END_TEST

#define BOOKMARK \
    "{\\'type\\':\\'BOOKMARK\\',\\'object\\':{\\'kind\\':\\'Job\\',\\'metadata\\':{\\'resourceVersion\\':\\'1002\\'}}" \
    "}\\n"

START_TEST(a_watch_that_is_broken_is_asked_for_a_bounded_number_of_times_a_minute) {
    const struct state states[] = {
            {"watch: ends at once", ON_WATCH("'watchEndAfterMs': 0"), WATCH, 1},
            {"watch: ends at once after an event", ON_WATCH("'body': '" BOOKMARK "'"), WATCH, 1},
            {"watch: cut within an event", ON_WATCH("'truncateAfter': 30"), WATCH, 1},
            {"watch: reset", ON_WATCH("'truncateAfter': 0, 'reset': true"), WATCH, 1},
            {"watch: rubbish", ON_WATCH("'body': 'HTTP/1.1 502 <html>'"), WATCH, 1},
            {"watch: a key twice", ON_WATCH("'body': '{\\'type\\':1,\\'type\\':2}'"), WATCH, 2},
            {"watch: an ERROR event", ON_WATCH("'body': '{\\'type\\':\\'ERROR\\',\\'object\\':{\\'code\\':500}}\\n'"),
                    WATCH, 1},
            {"watch: bookmarks only", ON_WATCH("'delayMs': 1"), WATCH, 0},
    };
    measure_all(states, sizeof states / sizeof states[0]);
}
END_TEST

START_TEST(a_deletion_that_is_refused_is_asked_for_a_bounded_number_of_times_a_minute) {
    const struct state states[] = {
            {"delete: 401", ON_DELETE("'status': 401"), DELETE, 1},
            {"delete: 403", ON_DELETE("'deny': true"), DELETE, 1},
            {"delete: 409", ON_DELETE("'status': 409"), DELETE, 2},
            {"delete: 422", ON_DELETE("'status': 422"), DELETE, 1},
            {"delete: 429 without Retry-After", ON_DELETE("'status': 429"), DELETE, 1},
            {"delete: 429 with Retry-After: 0", ON_DELETE("'status': 429, 'retryAfter': 0"), DELETE, 1},
    };
    measure_all(states, sizeof states / sizeof states[0]);
}
END_TEST

START_TEST(a_deletion_that_is_not_answered_is_asked_for_a_bounded_number_of_times_a_minute) {
    const struct state states[] = {
            {"delete: 500", ON_DELETE("'status': 500"), DELETE, 2},
            {"delete: 500, and to the look too",
                    "[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {'status': 500}}, {'match': {'verb': "
                    "'get', 'resource': 'jobs'}, 'action': {'status': 500}}]",
                    DELETE, 2},
            {"delete: closed without an answer", ON_DELETE("'drop': true"), DELETE, 2},
            {"delete: headers and silence", ON_DELETE("'status': 200, 'body': '{}', 'stallAfter': 0"), DELETE, 2},
            {"delete: an HTML page", ON_DELETE("'body': '<html>', 'contentType': 'text/html'"), DELETE, 2},
    };
    measure_all(states, sizeof states / sizeof states[0]);
}
END_TEST

#define ON_DELETE_AND_GET(action) \
    "[{'match': {'verb': 'delete', 'resource': 'jobs'}, 'action': {" action \
    "}}, {'match': {'verb': 'get', 'resource': 'jobs'}, 'action': {" action "}}]"

START_TEST(deletions_that_fail_are_as_many_a_minute_for_300_jobs_as_for_a_few) {
    const struct state states[] = {
            {"300 deletes: 429 without Retry-After", ON_DELETE_AND_GET("'status': 429"), MANY_DELETES, 1},
            {"300 deletes: 429 with Retry-After: 0", ON_DELETE_AND_GET("'status': 429, 'retryAfter': 0"), MANY_DELETES,
                    1},
            {"300 deletes: 503", ON_DELETE_AND_GET("'status': 503"), MANY_DELETES, 1},
            {"300 deletes: reset", ON_DELETE_AND_GET("'drop': true, 'reset': true"), MANY_DELETES, 2},
    };
    measure_all(states, sizeof states / sizeof states[0]);
}
END_TEST

START_TEST(a_server_that_is_none_is_asked_a_bounded_number_of_times_a_minute) {
    const struct state states[] = {
            {"/version: 500", ON_VERSION("'status': 500"), DISCOVERY, 1},
            {"/version: 401", ON_VERSION("'status': 401"), DISCOVERY, 1},
            {"/version: an HTML page", ON_VERSION("'body': '<html>', 'contentType': 'text/html'"), DISCOVERY, 1},
            {"/version: headers and silence", ON_VERSION("'stallAfter': 0"), DISCOVERY, 1},
            {"/version: closed without an answer", ON_VERSION("'drop': true"), DISCOVERY, 2},
            {"everything: 503", "[{'action': {'status': 503}}]", DISCOVERY, 1},
    };
    measure_all(states, sizeof states / sizeof states[0]);
}
END_TEST

START_TEST(a_server_that_is_down_is_called_a_bounded_number_of_times_a_minute) {
    sim_start(NULL);
    configure(WITHOUT_LEASE);
    proxy_start();
    struct process *controller = controller_start_with_clock(0, 1);
    wait_until_synced(controller);
    wait_until(sim_open_watches("namespaces") > 0 && sim_open_watches("cronjobs") > 0);
    int before = proxy_connections();
    clock_speed(SPEED);
    int64_t began_ms = clock_controllers_ms();
    sim_signal(SIGKILL);
    let_pass(began_ms + MINUTE_MS);
    int first = proxy_connections() - before;
    int64_t most = 3 * REFLECTOR_TRIES(clock_controllers_ms() - began_ms);
    let_pass(began_ms + LATER_MS);
    began_ms = clock_controllers_ms();
    before = proxy_connections();
    let_pass(began_ms + MINUTE_MS);
    int later = proxy_connections() - before;
    int64_t most_later = 3 * REFLECTOR_TRIES_LATER(clock_controllers_ms() - began_ms);
    printf("  %-44s %d connections, %" PRId64 " allowed, and later %d, %" PRId64 " allowed\n",
            "everything: nobody there", first, most, later, most_later);
    /* Three watches. */
    expect(first >= 3 && first <= most, "%d connections in the first minute", first);
    expect(later <= most_later, "%d connections in a later minute", later);
    controller_stop(controller);
}
END_TEST

#define ON_LEASE(verb, action) "[{'match': {'verb': '" verb "', 'resource': 'leases'}, 'action': {" action "}}]"

START_TEST(a_lease_that_cannot_be_had_is_asked_for_a_bounded_number_of_times_a_minute) {
    const struct state states[] = {
            {"lease: 403 to the get", ON_LEASE("get", "'deny': true"), LEASE, 1},
            {"lease: 500 to the get", ON_LEASE("get", "'status': 500"), LEASE, 1},
            {"lease: 409 to the create", ON_LEASE("create", "'status': 409"), LEASE, 2},
            {"lease: 409 to the update", ON_LEASE("update", "'status': 409"), LEASE, 2},
            {"lease: 429 with Retry-After: 0", ON_LEASE("*", "'status': 429, 'retryAfter': 0"), LEASE, 1},
            {"lease: closed without an answer", ON_LEASE("*", "'drop': true"), LEASE, 2},
            {"lease: an HTML page", ON_LEASE("*", "'body': '<html>', 'contentType': 'text/html'"), LEASE, 1},
    };
    measure_all(states, sizeof states / sizeof states[0]);
}
END_TEST

Suite *suite_bounds_of_lists(void) {
    const TTest *const tests[] = {
            a_list_that_is_refused_is_asked_for_a_bounded_number_of_times_a_minute,
            a_list_that_is_broken_is_asked_for_a_bounded_number_of_times_a_minute,
            NULL,
    };
    return suite_of("bounds-lists", tests);
}

Suite *suite_bounds_of_watches(void) {
    const TTest *const tests[] = {
            a_watch_that_is_refused_is_asked_for_a_bounded_number_of_times_a_minute,
            a_watch_that_is_broken_is_asked_for_a_bounded_number_of_times_a_minute,
            a_server_that_is_down_is_called_a_bounded_number_of_times_a_minute,
            NULL,
    };
    return suite_of("bounds-watches", tests);
}

Suite *suite_bounds_of_deletions(void) {
    const TTest *const tests[] = {
            a_deletion_that_is_refused_is_asked_for_a_bounded_number_of_times_a_minute,
            a_deletion_that_is_not_answered_is_asked_for_a_bounded_number_of_times_a_minute,
            deletions_that_fail_are_as_many_a_minute_for_300_jobs_as_for_a_few,
            a_server_that_is_none_is_asked_a_bounded_number_of_times_a_minute,
            a_lease_that_cannot_be_had_is_asked_for_a_bounded_number_of_times_a_minute,
            NULL,
    };
    return suite_of("bounds-deletions", tests);
}

/* ---- by the clock on the wall: make soak ---- */

START_TEST(lists_that_fail_are_bounded_in_real_time) {
    measure(&(const struct state){"list: 500", ON_LIST("'status': 500"), LIST, 1}, true);
}
END_TEST

START_TEST(watches_that_end_at_once_are_bounded_in_real_time) {
    measure(&(const struct state){"watch: ends at once after an event", ON_WATCH("'body': '" BOOKMARK "'"), WATCH, 1},
            true);
}
END_TEST

START_TEST(watches_that_are_too_old_are_bounded_in_real_time) {
    measure(&(const struct state){"watch: 410 as an event", ON_WATCH("'watchGone': true"), WATCH, 2}, true);
}
END_TEST

START_TEST(deletions_that_fail_are_bounded_in_real_time) {
    measure(&(const struct state){"delete: 500", ON_DELETE("'status': 500"), DELETE, 2}, true);
}
END_TEST

START_TEST(a_lease_that_cannot_be_had_is_bounded_in_real_time) {
    measure(&(const struct state){"lease: 409 to the update", ON_LEASE("update", "'status': 409"), LEASE, 2}, true);
}
END_TEST

Suite *suite_soak_bounds(void) {
    const TTest *const tests[] = {
            lists_that_fail_are_bounded_in_real_time,
            watches_that_end_at_once_are_bounded_in_real_time,
            watches_that_are_too_old_are_bounded_in_real_time,
            deletions_that_fail_are_bounded_in_real_time,
            a_lease_that_cannot_be_had_is_bounded_in_real_time,
            NULL,
    };
    return suite_of("soak-bounds", tests);
}
