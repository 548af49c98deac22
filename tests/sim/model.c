#include "model.h"

#include <jansson.h>
#include <string.h>

#include "cluster.h"
#include "machine.h"

#define CATCH_UP_MS 1000      /* a watch that was down is believed this long after it opened */
#define FAILING_MINUTE_MAX 30 /* requests of one feed, or of one Job, that fail in a minute */
#define REQUESTS_MINUTE_MAX 2000
#define EVENTS_MINUTE_MAX (25 + 60 + 1) /* the burst, one a second, and one on its edge */
#define RENEW_DEADLINE_MS 10000         /* the default, which is what the machines run with */

/* ---- what a process knows ---- */

void model_boot(struct machine *m) {
    for (int i = 0; i < NAMESPACES; i++)
        m->known_namespace[i] = -1;
    for (int i = 0; i < CRONJOBS; i++)
        m->known_cronjob[i] = -1;
    memset(m->feeds, 0, sizeof m->feeds);
    for (int i = 0; i < KINDS * (NAMESPACES + 1); i++)
        m->feeds[i / (NAMESPACES + 1)][i % (NAMESPACES + 1)].known = -1;
    for (int job = 0; job < world->n_jobs; job++)
        world->jobs[job].known[m->index] = -1;
    m->open_job_requests = 0;
    m->most_in_flight = m->settings.max_in_flight;
    m->limits_until_ms = 0;
    m->tokens_milli = 1000 * m->settings.delete_qps;
    m->tokens_at_ms = world->now_ms;
    m->lease_asked_ms = TIME_NONE;
    m->lease_given_back = false;
    m->server_high_ms = INT64_MAX;
    m->server_epoch = m->boot_epoch = world->server_epoch;
    m->requests = m->events = 0;
}

static struct feed_view *feed_of(struct machine *m, const struct route *route) {
    return &m->feeds[route->kind][route->namespace];
}

void model_knows(struct machine *m, const struct route *route, int entry) {
    struct feed_view *feed = feed_of(m, route);
    if (entry > feed->known)
        feed->known = entry;
}

void model_told(struct machine *m, const struct route *route, int entry) {
    const struct entry *e = entry_at(entry);
    bool gone = e->change == CHANGE_DELETED;
    if (route->what == ROUTE_GET_JOB)
        return; /* it may be about another one of that name */
    trace("  machine %d: reads rv %lld", m->index, (long long)rv_of(entry));
    if (route->what == ROUTE_WATCH)
        model_knows(m, route, entry);
    /* Such a watch may begin in the past, which nobody who has read what is newer may believe. */
    bool past = route->single && route->what == ROUTE_WATCH && entry < m->known_namespace[e->object];
    if (past && !world->flavor.unfaithful)
        return;
    if (e->kind == KIND_NAMESPACE) {
        m->known_namespace[e->object] = gone ? -1 : entry;
        feed_of(m, route)->seen |= 1u << e->object;
    } else if (e->kind == KIND_CRONJOB) {
        m->known_cronjob[e->object] = gone ? -1 : entry;
        feed_of(m, route)->seen |= 1u << e->object;
    } else {
        struct truth_job *job = &world->jobs[e->object];
        job->known[m->index] = entry;
        bool finished = e->job.outcome != OUTCOME_NONE && e->job.doubt != DOUBT_BOTH;
        if (finished && (!world->flavor.selector || e->job.selected))
            job->told_finished[m->index] = m->boot;
    }
}

void model_list_begins(struct machine *m, const struct route *route) {
    feed_of(m, route)->seen = 0;
}

void model_list_whole(struct machine *m, const struct route *route, int as_of) {
    struct feed_view *feed = feed_of(m, route);
    int32_t *known = route->kind == KIND_NAMESPACE ? m->known_namespace : m->known_cronjob;
    int n = route->kind == KIND_NAMESPACE ? NAMESPACES : route->kind == KIND_CRONJOB ? CRONJOBS : 0;
    for (int i = 0; i < n; i++) {
        int namespace = route->kind == KIND_NAMESPACE ? i : world->cronjobs[i].namespace;
        if (!(feed->seen >> i & 1) && (route->namespace == NAMESPACES || route->namespace == namespace))
            known[i] = -1;
    }
    feed->state = FEED_LISTED;
    feed->since_list = true;
    feed->known = as_of - 1;
}

void model_watch_opens(struct machine *m, const struct route *route) {
    struct feed_view *feed = feed_of(m, route);
    feed->since_list = feed->state == FEED_LISTED;
    feed->state = FEED_OPEN;
    feed->opened_ms = world->now_ms;
}

/* ---- requests ---- */

static const struct namespace_state *namespace_known(const struct machine *m, int namespace) {
    int entry = m->known_namespace[namespace];
    return entry < 0 ? NULL : &entry_at(entry)->namespace;
}

static const struct cronjob_state *cronjob_known(const struct machine *m, const struct job_state *job) {
    int entry = job->owner == OWNER_CRONJOB ? m->known_cronjob[job->cronjob] : -1;
    return entry < 0 ? NULL : &entry_at(entry)->cronjob;
}

static void check_server_clock(const struct machine *m, int job, int64_t due_ms) {
    if (world->server_epoch == m->boot_epoch) {
        if (server_wall_ms() < due_ms)
            violated(NEVER_EARLY, "Job number %d is deleted %lld ms early by the API server's clock", job,
                    (long long)(due_ms - server_wall_ms()));
    } else if (m->server_epoch == world->server_epoch && m->server_high_ms != INT64_MAX &&
               START_WALL_MS + world->now_ms + m->server_high_ms + 10 < due_ms) {
        /* The server's clock was stepped, and a Date has told so since. */
        violated(NEVER_EARLY, "Job number %d is deleted %lld ms early by the API server's Date", job,
                (long long)(due_ms - START_WALL_MS - world->now_ms - m->server_high_ms));
    }
}

static void check_policy(const struct machine *m, int job, const struct job_state *state) {
    int namespace = world->jobs[job].namespace;
    struct verdict verdict = oracle_judge(state, namespace, namespace_known(m, namespace), &m->settings);
    if (state->outcome == OUTCOME_NONE)
        violated(NEVER_EARLY, "Job number %d is deleted, and has not finished", job);
    if (state->deletion_ms != TIME_NONE)
        violated(PRECONDITIONS, "Job number %d is deleted, and is being deleted already", job);
    if (verdict.stays)
        violated(KEPT_STAYS, "Job number %d is deleted although %s", job, verdict.why);
    int64_t settles_ms = oracle_settles(job, state, cronjob_known(m, state), &m->settings);
    int64_t due_ms = settles_ms > verdict.due_ms ? settles_ms : verdict.due_ms;
    if (machine_wall_ms(m) < due_ms)
        violated(NEVER_EARLY, "Job number %d is deleted %lld ms early by the clock of machine %d", job,
                (long long)(due_ms - machine_wall_ms(m)), m->index);
    check_server_clock(m, job, due_ms);
}

static void check_row(struct machine *m, int job, const struct entry *e) {
    const struct row *row = machine_row(m, job);
    const struct job_state *state = &e->job;
    if (!row->there || !row->has_run)
        violated(RECORD_FIRST, "Job number %d is deleted, and machine %d has no record of it", job, m->index);
    /* An event that came late may bring one back that is known to be gone: its row is final. */
    bool final = row->fate.policy.state == RUN_DELETED && (world->jobs[job].gone || world->flavor.unfaithful);
    if ((row->fate.policy.state != RUN_DELETING && !final) || row->fate.delete_requested_at_ms == TIME_NONE)
        violated(RECORD_FIRST, "Job number %d is deleted, and its row says %s", job,
                run_state_name(row->fate.policy.state));
    if (row->outcome != state->outcome || row->finished_ms != state->finished_ms ||
            row->started_ms != state->started_ms)
        violated(RECORD_FIRST, "Job number %d is deleted, and its row tells of other times or another outcome", job);
    /* After a 401 it is begun once more with a new token, and the record may be of a later version by then. */
    int32_t version = (int32_t)(e - entry_at(0));
    if (row->version != version && !(world->flavor.second_token && row->version > version))
        violated(RECORD_FIRST, "Job number %d is deleted in a version that is not the one on record", job);
    if (!final && (row->fate.policy.due_at_ms == TIME_NONE || !row->fate.policy.rule[0]))
        violated(RECORD_FIRST, "Job number %d is deleted, and its row does not say by which policy", job);
}

static void check_feed(const struct feed_view *feed, const char *what) {
    if (feed->state == FEED_DOWN)
        violated(STALE, "a Job is deleted while the watch of the %s is down", what);
    if (feed->state == FEED_OPEN && !feed->since_list && world->now_ms - feed->opened_ms < CATCH_UP_MS)
        violated(STALE, "a Job is deleted before the watch of the %s has caught up", what);
}

/* What a DELETE is about; checks what it must carry. */
static int read_delete(const struct route *route, const char *body, const struct entry **ret_entry) {
    json_t *options = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    const json_t *preconditions = json_object_get(options, "preconditions");
    const char *uid = json_string_value(json_object_get(preconditions, "uid"));
    const char *rv = json_string_value(json_object_get(preconditions, "resourceVersion"));
    const char *propagation = json_string_value(json_object_get(options, "propagationPolicy"));
    if (!propagation || strcmp(propagation, "Background") != 0)
        violated(PRECONDITIONS, "a DELETE whose propagation is not Background: %s", body);
    int job = uid ? job_of_uid(uid) : -1, entry = rv ? entry_of(rv) : -1;
    if (!uid || !rv)
        violated(PRECONDITIONS, "a DELETE without preconditions: %s", body);
    if (job < 0 || entry < 0 || entry_at(entry)->kind != KIND_JOB || entry_at(entry)->object != job)
        violated(PRECONDITIONS, "a DELETE of a uid at a resourceVersion that is none of its own: %s", body);
    if (world->jobs[job].namespace != route->namespace || strcmp(world->jobs[job].name, route->name) != 0)
        violated(PRECONDITIONS, "a DELETE of %s with the uid of another Job", route->name);
    json_decref(options);
    *ret_entry = entry_at(entry);
    return job;
}

static int scope_of(const struct route *route) {
    return world->flavor.listed ? route->namespace : NAMESPACES;
}

static void delete_begins(struct machine *m, const struct route *route, const char *body) {
    const struct entry *e;
    int job = read_delete(route, body, &e);
    check_row(m, job, e);
    if (world->flavor.second_token)
        return; /* after a 401 it is begun once more, and whether it may still leave is seen when it does */
    check_policy(m, job, &e->job);
    if (m->stopping)
        violated(AFTER_STOP, "Job number %d is deleted after the stop of machine %d", job, m->index);
    if (m->open_job_requests > m->most_in_flight)
        violated(BOUNDED, "%d requests are in flight, and %lld may be", m->open_job_requests,
                (long long)m->most_in_flight);
}

/* Nobody waits for it, and it is not in the way of what matters. */
static void event_begins(struct machine *m) {
    if (m->one_pass || m->stopping)
        violated(AFTER_STOP, "an Event is written %s machine %d", m->one_pass ? "in the pass of" : "after the stop of",
                m->index);
    if (++m->events > EVENTS_MINUTE_MAX * (world->flavor.second_token ? 2 : 1))
        violated(BOUNDED, "machine %d wrote %d Events within a minute", m->index, m->events);
}

void model_begins(struct machine *m, const struct route *route, const char *body) {
    if (world->now_ms / 60000 != m->request_minute) {
        m->request_minute = world->now_ms / 60000;
        m->requests = m->events = 0;
    }
    if (route->what == ROUTE_EVENT)
        event_begins(m);
    if (++m->requests > REQUESTS_MINUTE_MAX)
        violated(BOUNDED, "machine %d sent %d requests within a minute", m->index, m->requests);
    if (route->what == ROUTE_DELETE)
        delete_begins(m, route, body);
    if (route->what == ROUTE_LEASE_PUT && strstr(body, "\"holderIdentity\":\"\""))
        m->lease_given_back = true;
    if (route->what == ROUTE_LIST && !route->from[0])
        feed_of(m, route)->state = FEED_DOWN; /* another list means that events were lost */
    if (route->what != ROUTE_WATCH)
        return;
    if (route->single && feed_of(m, route)->state != FEED_LISTED)
        violated(STALE, "a watch of a Namespace begins from nothing, and the Namespace was not read before it");
    int from = entry_of(route->from);
    if (route->single)
        return;
    if (from < 0 || from > feed_of(m, route)->known)
        violated(STALE, "a watch begins at resourceVersion %s, of which machine %d was never told", route->from,
                m->index);
}

static void check_lease(const struct machine *m, int job) {
    int64_t age_ms = m->lease_asked_ms == TIME_NONE ? 0 : world->now_ms - m->lease_asked_ms;
    if (m->lease_asked_ms == TIME_NONE)
        violated(LEASE, "Job number %d is deleted by machine %d, which never had the lease", job, m->index);
    if (m->lease_given_back)
        violated(LEASE, "Job number %d is deleted by machine %d, which has given the lease back", job, m->index);
    if (age_ms >= RENEW_DEADLINE_MS)
        violated(LEASE, "Job number %d is deleted by machine %d, whose lease was asked for %lld ms ago", job, m->index,
                (long long)age_ms);
    if (world->lease.holder != m->index)
        violated(LEASE, "Job number %d is deleted by machine %d while machine %d holds the lease", job, m->index,
                world->lease.holder);
}

void model_leaves(struct machine *m, const struct route *route, const char *body) {
    const struct entry *e;
    if (route->what != ROUTE_DELETE)
        return;
    counts[COUNT_DELETE_SENT]++;
    int job = read_delete(route, body, &e), scope = scope_of(route);
    check_feed(&m->feeds[KIND_NAMESPACE][scope], "Namespaces");
    check_feed(&m->feeds[KIND_CRONJOB][scope], "CronJobs");
    if (world->flavor.leader_elect)
        check_lease(m, job);
    /* Of another version than the one that was decided on there is an answer already: 409. */
    if (e == entry_at(world->jobs[job].head) && world->jobs[job].known[m->index] == world->jobs[job].head)
        check_policy(m, job, &e->job);
}

/* A Lease is no fence. But what leaves in time arrives before another can have it: the time between the renew deadline
 * and the lease's end is longer than the network keeps anything. */
void model_arrives(struct machine *m, const struct route *route) {
    if (route->what == ROUTE_DELETE && world->flavor.leader_elect && world->lease.holder >= 0 &&
            world->lease.holder != m->index)
        violated(
                LEASE, "a DELETE by machine %d arrives when machine %d holds the lease", m->index, world->lease.holder);
}

static void note_failure(int64_t *minute, int *failing, const char *what) {
    if (world->now_ms / 60000 != *minute) {
        *minute = world->now_ms / 60000;
        *failing = 0;
    }
    if (++*failing > FAILING_MINUTE_MAX)
        violated(BOUNDED, "%d requests for %s have failed within a minute", *failing, what);
}

static void note_date(struct machine *m, const struct http_result *result, int64_t epoch) {
    if (result->date_ms == TIME_NONE)
        return;
    if (epoch > m->server_epoch) {
        m->server_epoch = epoch;
        m->server_high_ms = INT64_MAX;
    }
    int64_t high_ms = result->date_ms + 1000 - START_WALL_MS - (result->sent_ms - m->mono_off_ms);
    if (epoch == m->server_epoch && high_ms < m->server_high_ms)
        m->server_high_ms = high_ms;
}

void model_over(struct machine *m, const struct route *route, const struct http_result *result, int64_t epoch) {
    bool absent = route->single && route->what == ROUTE_LIST && result->status == 404;
    bool failed = result->failure || (result->status >= 300 && !absent);
    note_date(m, result, epoch);
    if (route->what == ROUTE_LIST || route->what == ROUTE_WATCH) {
        struct feed_view *feed = feed_of(m, route);
        /* After a 401 the client asks once more with a new token, and nobody hears of it. */
        feed->asks_again = result->status == 401 && world->flavor.second_token && !feed->asks_again;
        if ((route->what == ROUTE_WATCH || failed) && !feed->asks_again)
            feed->state = FEED_DOWN;
        if (failed)
            note_failure(&feed->minute, &feed->failing, "a list or a watch");
    }
}

/* ---- the register ---- */

static void take_token(struct machine *m) {
    int64_t full = 1000 * m->settings.delete_qps, elapsed_ms = world->now_ms - m->tokens_at_ms;
    if (!m->settings.delete_qps)
        return;
    m->tokens_at_ms = world->now_ms;
    m->tokens_milli = elapsed_ms >= 1000 ? full : m->tokens_milli + elapsed_ms * m->settings.delete_qps;
    if (m->tokens_milli > full)
        m->tokens_milli = full;
    m->tokens_milli -= 1000;
    if (m->tokens_milli < 0)
        violated(BOUNDED, "machine %d begins more than %lld deletions a second", m->index,
                (long long)m->settings.delete_qps);
}

void model_submits(struct machine *m, const struct history_request *request) {
    if (request->op == HISTORY_INTENT)
        take_token(m);
    if (request->op == HISTORY_INTENT && m->stopping)
        violated(AFTER_STOP, "a deletion begins after the stop of machine %d", m->index);
}

void model_refused(struct machine *m, const struct history_request *request) {
    int job = job_of_uid(request->uid);
    counts[COUNT_STORE_REFUSED]++;
    trace("  register %d: refuses a request about number %d", m->index, job);
    if (job >= 0)
        world->jobs[job].told_finished[m->index] = 0; /* nobody may be able to tell it again */
}

static void check_run(int job, const struct run *run) {
    int entry = run->resource_version ? entry_of(run->resource_version) : -1;
    if (entry < 0 || entry_at(entry)->kind != KIND_JOB || entry_at(entry)->object != job)
        violated(REGISTER, "the record of Job number %d is of resourceVersion %s", job, run->resource_version);
    const struct job_state *state = &entry_at(entry)->job;
    bool doubtful = state->outcome == OUTCOME_NONE || state->doubt == DOUBT_BOTH;
    if ((int)run->outcome != (doubtful ? OUTCOME_NONE : state->outcome))
        violated(REGISTER, "the record of Job number %d has the wrong outcome", job);
    int64_t finished_ms = doubtful || state->doubt == DOUBT_NO_TIME ? TIME_NONE : state->finished_ms;
    if (run->finished_at_ms != finished_ms || run->started_at_ms != state->started_ms ||
            run->created_at_ms != state->created_ms)
        violated(REGISTER, "the record of Job number %d has the wrong times", job);
    if (strcmp(run->job_name, world->jobs[job].name) != 0 ||
            strcmp(run->namespace, namespace_names[world->jobs[job].namespace]) != 0)
        violated(REGISTER, "the record of Job number %d has another Job's name", job);
}

static void check_gone(const struct machine *m, int job, const struct row *row, const struct row *before) {
    const struct truth_job *truth = &world->jobs[job];
    if (!truth->gone && !world->flavor.unfaithful)
        violated(REGISTER, "machine %d says that Job number %d is gone, and it is there", m->index, job);
    bool first = !before || before->fate.policy.state != RUN_DELETED;
    counts[COUNT_CAUSE_TTL] += first && row->fate.cause == RUN_CAUSE_TTL;
    counts[COUNT_CAUSE_EXTERNAL] += first && row->fate.cause == RUN_CAUSE_EXTERNAL;
    counts[COUNT_CAUSE_UNKNOWN] += first && row->fate.cause == RUN_CAUSE_UNKNOWN;
    if (row->fate.cause == RUN_CAUSE_TTL && truth->requester != m->index)
        violated(REGISTER, "machine %d says that it deleted Job number %d, and did not", m->index, job);
    if (row->fate.cause == RUN_CAUSE_EXTERNAL && truth->requester == m->index && !world->flavor.unfaithful &&
            !m->store_was_lost)
        violated(
                REGISTER, "machine %d says that somebody else deleted Job number %d, and it was itself", m->index, job);
    if (row->fate.cause == RUN_CAUSE_NONE)
        violated(REGISTER, "machine %d does not say why Job number %d is gone", m->index, job);
}

void model_applied(struct machine *m, int job, const struct row *before, const struct history_request *request) {
    const struct row *row = machine_row(m, job);
    if (request->run && request->run->resource_version)
        check_run(job, request->run);
    if (before && before->fate.policy.state == RUN_DELETED && row->fate.policy.state != RUN_DELETED)
        violated(REGISTER, "the row of Job number %d was final, and is %s again", job,
                run_state_name(row->fate.policy.state));
    if (before && before->fate.cause == RUN_CAUSE_TTL && row->fate.cause != RUN_CAUSE_TTL)
        violated(REGISTER, "the row of Job number %d said ttl, and says something else now", job);
    if (row->fate.policy.state == RUN_DELETED)
        check_gone(m, job, row, before);
}

/* ---- the lease ---- */

void model_lease_written(struct machine *m, int64_t asked_ms, bool given_back) {
    m->lease_asked_ms = given_back ? TIME_NONE : asked_ms;
}
