/*
 * history/writer.c without a thread and without a file: what is queued dies with its process, what is on disk outlives
 * it. The rules of the register are the product's own pure functions; that they hold is for the model to say.
 */
#include "history/writer.h"

#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "machine.h"
#include "model.h"

#define BATCH_MAX 256
#define RETRY_FIRST_MS 100
#define RETRY_LAST_MS 10000
#define CHECK_EVERY_MS 15000 /* that the register is still there, while nothing is written */

struct writer {
    struct machine *machine;
    struct writer_handler handler;
    struct happening commit, answer; /* on the writer's thread, and back on the loop */
    struct history_request *queue, **tail;
    struct history_request *done, **done_tail;
    struct history_request *refused, **refused_tail;
    int pending;
    int64_t retry_ms;
    bool fails, fails_told; /* the thread's view, and the loop's */
    bool full;
    bool anew;      /* to be told */
    bool keeps_one; /* the first of the queue is on disk, and it is not known */
};

struct row *machine_row(struct machine *m, int job) {
    if (job >= m->n_rows) {
        int n = m->n_rows ? m->n_rows : 64;
        while (n <= job)
            n *= 2;
        m->rows = realloc(m->rows, (size_t)n * sizeof *m->rows);
        if (!m->rows)
            abort();
        memset(m->rows + m->n_rows, 0, (size_t)(n - m->n_rows) * sizeof *m->rows);
        m->n_rows = n;
    }
    return &m->rows[job];
}

static void add(struct history_request ***tail, struct history_request *request) {
    request->next = NULL;
    **tail = request;
    *tail = &request->next;
}

static void destroy_chain(struct history_request *request) {
    while (request) {
        struct history_request *next = request->next;
        history_request_destroy(request);
        request = next;
    }
}

static void digest_request(const struct history_request *request) {
    digest_number((uint64_t)world->now_ms << 8 | (uint64_t)request->op << 4 | (uint64_t)request->cause);
    digest_text(request->uid);
    digest_number((uint64_t)request->policy.state ^ (uint64_t)request->policy.due_at_ms);
}

/* As sqlite.c does it. False: it can never be taken. */
static bool apply(struct machine *m, struct history_request *request) {
    struct error err;
    int job = job_of_uid(request->uid);
    if (history_request_check(request, &err) < 0)
        return false;
    if (job < 0)
        violated(REGISTER, "a request about uid %s, which never was", request->uid);
    struct row *row = machine_row(m, job), before = *row;
    if (!row->there && !request->run)
        return request->op != HISTORY_INTENT;
    if (!row->there)
        *row = (struct row){.there = true,
                .version = -1,
                .started_ms = TIME_NONE,
                .finished_ms = TIME_NONE,
                .fate = HISTORY_FATE_NONE};
    struct history_fate fate = history_fate_after(&row->fate, request);
    request->inserted |= !before.there;
    request->ended |= fate.policy.state == RUN_DELETED && row->fate.policy.state != RUN_DELETED;
    row->fate = fate;
    if (request->run) {
        row->has_run = true;
        if (request->run->resource_version)
            row->version = entry_of(request->run->resource_version);
        row->outcome = request->run->outcome != OUTCOME_NONE ? (uint8_t)request->run->outcome : row->outcome;
        if (request->run->started_at_ms != TIME_NONE)
            row->started_ms = request->run->started_at_ms;
        if (request->run->finished_at_ms != TIME_NONE)
            row->finished_ms = request->run->finished_at_ms;
    }
    digest_request(request);
    trace("  register %d: %s of number %d, now %s%s%s", m->index,
            (const char *const[]){"record", "policy", "intent", "deleted"}[request->op], job,
            run_state_name(row->fate.policy.state), row->fate.cause ? ", cause " : "",
            row->fate.cause ? run_cause_name(row->fate.cause) : "");
    model_applied(m, job, before.there ? &before : NULL, request);
    ledger_applied(m, job, before.there ? &before : NULL);
    return true;
}

static bool is_bad(const struct machine *m) {
    return !world->healed && m->store_bad_until_ms > world->now_ms;
}

/* Rarely, of what can be asked for again. */
static bool draws_refusal(const struct history_request *request) {
    bool can = request->op == HISTORY_RECORD || request->op == HISTORY_INTENT;
    return can && !world->healed && world->flavor.faults && chance_permille(3);
}

static void fail_batch(struct writer *w) {
    w->fails = true;
    happening_plan(&w->answer, world->now_ms);
    happening_plan(&w->commit, world->now_ms + w->retry_ms);
    w->retry_ms = w->retry_ms * 2 < RETRY_LAST_MS ? w->retry_ms * 2 : RETRY_LAST_MS;
}

static void apply_queue(struct writer *w, bool keep) {
    for (int n = 0; w->queue && n < BATCH_MAX; n++) {
        struct history_request *request = w->queue;
        /* What is on disk is not refused when it is written again. */
        bool taken = (w->keeps_one || !draws_refusal(request)) && apply(w->machine, request);
        w->keeps_one = keep && taken;
        if (w->keeps_one)
            break; /* only the first is on disk, and nobody says so: it will be applied once more */
        w->queue = request->next;
        if (!w->queue)
            w->tail = &w->queue;
        if (!taken)
            model_refused(w->machine, request);
        add(taken ? &w->done_tail : &w->refused_tail, request);
    }
}

/* Another register stands there: what was not answered yet is written to that one. */
static void notice_replacement(struct writer *w) {
    w->machine->store_replaced = false;
    w->anew = true;
    counts[COUNT_STORE_REPLACED]++;
    *w->done_tail = w->queue;
    if (w->queue)
        w->done_tail = w->tail;
    w->queue = w->done;
    w->tail = w->queue ? w->done_tail : &w->queue;
    w->done = NULL;
    w->done_tail = &w->done;
    happening_plan(&w->answer, world->now_ms);
    happening_plan(&w->commit, world->now_ms);
}

void machine_replace_register(struct machine *m) {
    if (m->n_rows)
        memset(m->rows, 0, (size_t)m->n_rows * sizeof *m->rows);
    m->store_replaced = m->store_was_lost = true;
    ledger_replaced(m);
    trace("  register %d: replaced by an empty one", m->index);
    if (m->writer && !happening_is_planned(&m->writer->commit))
        happening_plan(&m->writer->commit, world->now_ms + chance_range(0, CHECK_EVERY_MS));
}

static void on_commit(void *arg) {
    struct writer *w = arg;
    if (w->machine->store_replaced)
        notice_replacement(w);
    if (!w->queue)
        return;
    if (is_bad(w->machine)) {
        counts[COUNT_STORE_FAILED]++;
        fail_batch(w);
        return;
    }
    if (!world->healed && world->flavor.faults && chance_permille(5)) {
        counts[COUNT_STORE_FAILED_AFTER]++;
        apply_queue(w, true);
        fail_batch(w);
        return;
    }
    counts[COUNT_COMMITS]++;
    w->fails = false;
    w->retry_ms = RETRY_FIRST_MS;
    apply_queue(w, false);
    happening_plan(&w->answer, world->now_ms + (world->healed ? 0 : chance_range(0, 3)));
    if (w->queue)
        happening_plan(&w->commit, world->now_ms + 1);
}

/* ---- back on the loop ---- */

static void tell_failure(struct writer *w) {
    w->fails_told = w->fails;
    if (w->handler.failing)
        w->handler.failing(w->handler.arg, w->fails ? "the simulation says so" : NULL);
}

static void on_answer(void *arg) {
    struct writer *w = arg;
    if (w->machine->store_replaced)
        notice_replacement(w);
    struct history_request *done = w->done, *refused = w->refused, *next;
    if (w->anew && w->handler.anew)
        w->handler.anew(w->handler.arg);
    w->anew = false;
    w->done = w->refused = NULL;
    w->done_tail = &w->done;
    w->refused_tail = &w->refused;
    if (w->fails_told && !w->fails)
        tell_failure(w);
    for (; refused; refused = next) {
        next = refused->next;
        w->pending--;
        if (w->handler.refused)
            w->handler.refused(w->handler.arg, refused, "the simulation says so");
        history_request_destroy(refused);
    }
    for (; done; done = next) {
        next = done->next;
        w->pending--;
        w->handler.durable(w->handler.arg, done);
        history_request_destroy(done);
    }
    if (!w->done && !w->keeps_one)
        ledger_check(w->machine);
    if (!w->fails_told && w->fails)
        tell_failure(w);
    if (w->full && w->pending <= world->flavor.queue_room / 2) {
        w->full = false;
        if (w->handler.room)
            w->handler.room(w->handler.arg);
    }
}

/* ---- the interface ---- */

int writer_open(struct loop *loop, const struct writer_settings *settings, const struct writer_handler *handler,
        struct writer **ret, struct error *err) {
    struct machine *m = world->running;
    (void)loop;
    (void)settings;
    if (is_bad(m))
        return error_set(err, ERROR_USAGE, "the register cannot be opened");
    struct writer *w = calloc(1, sizeof *w);
    if (!w)
        return error_nomem(err);
    w->machine = m;
    w->handler = *handler;
    w->retry_ms = RETRY_FIRST_MS;
    w->tail = &w->queue;
    w->done_tail = &w->done;
    w->refused_tail = &w->refused;
    happening_init(&w->commit, m, on_commit, w);
    happening_init(&w->answer, m, on_answer, w);
    *ret = m->writer = w;
    m->store_replaced = false;
    return 0;
}

void writer_submit(struct writer *w, struct history_request *request) {
    model_submits(w->machine, request);
    add(&w->tail, request);
    w->pending++;
    if (w->pending >= world->flavor.queue_room)
        w->full = true;
    if (!happening_is_planned(&w->commit))
        happening_plan(
                &w->commit, world->now_ms + (world->healed ? 1 : w->machine->store_slow_ms + chance_range(0, 10)));
}

bool writer_has_room(const struct writer *w) {
    return !w->full;
}

int64_t writer_busy_ms(struct writer *w) {
    (void)w;
    return 0;
}

size_t writer_pending(const struct writer *w) {
    return (size_t)w->pending;
}

void writer_stats(struct writer *w, struct writer_stats *ret) {
    *ret = (struct writer_stats){.queue = w->pending};
}

int writer_each_open(struct writer *w, const char *cluster,
        int (*each)(void *arg, const struct history_open_run *run, struct error *err), void *arg, struct error *err) {
    (void)cluster;
    if (is_bad(w->machine))
        return error_set(err, ERROR_IO, "the register cannot be read");
    for (int job = 0; job < w->machine->n_rows; job++) {
        const struct row *row = &w->machine->rows[job];
        char uid[40];
        if (!row->there || row->fate.policy.state == RUN_DELETED)
            continue;
        const struct history_open_run run = {.namespace = namespace_names[world->jobs[job].namespace],
                .job_name = world->jobs[job].name,
                .job_uid = job_uid(job, uid),
                .state = row->fate.policy.state};
        int result = each(arg, &run, err);
        if (result)
            return result;
    }
    return 0;
}

/* The next name after job that was not told of before; its rows in the order of their deletion, for Jobs of one name
 * follow each other. */
static int tell_recreated(struct writer *w, int first, int64_t since_ms, int min_rows,
        int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
        struct error *err) {
    int rows = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int job = first; job < world->n_jobs && job < w->machine->n_rows; job++) {
            const struct row *row = &w->machine->rows[job];
            const struct truth_job *truth = &world->jobs[job], *name = &world->jobs[first];
            bool same = truth->namespace == name->namespace && strcmp(truth->name, name->name) == 0;
            if (!same || !row->there || row->fate.cause != RUN_CAUSE_TTL || row->fate.deleted_at_ms < since_ms)
                continue;
            const struct history_recreated_run run = {.namespace = namespace_names[truth->namespace],
                    .job_name = truth->name,
                    .created_at_ms = job_state(job)->created_ms,
                    .deleted_at_ms = row->fate.deleted_at_ms};
            rows += pass == 0;
            if (pass == 1 && rows >= min_rows && each(arg, &run, err) < 0)
                return -1;
        }
    }
    return 0;
}

int writer_each_recreated(struct writer *w, const char *cluster, int64_t since_ms, int min_rows,
        int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
        struct error *err) {
    (void)cluster;
    if (is_bad(w->machine))
        return error_set(err, ERROR_IO, "the register cannot be read");
    for (int job = 0; world->flavor.recreate_limit && job < world->n_jobs; job++) {
        bool first = job_state(job)->owner != OWNER_CRONJOB;
        for (int other = 0; other < job && first; other++)
            first = world->jobs[job].namespace != world->jobs[other].namespace ||
                    strcmp(world->jobs[job].name, world->jobs[other].name) != 0;
        if (first && tell_recreated(w, job, since_ms, min_rows, each, arg, err) < 0)
            return -1;
    }
    return 0;
}

int writer_set_cluster(struct writer *w, const char *cluster, struct error *err) {
    (void)w;
    (void)cluster;
    (void)err;
    return 0;
}

void writer_set_skew(struct writer *w, const struct skew *skew) {
    (void)w;
    (void)skew;
}

void writer_set_retention(struct writer *w, int64_t retention_ms) {
    (void)w;
    (void)retention_ms;
}

int writer_close(struct writer *w, int64_t grace_ms) {
    (void)grace_ms;
    if (!w)
        return 0;
    bool writes = !w->machine->crashing && !is_bad(w->machine);
    while (writes && w->queue)
        apply_queue(w, false);
    int result = w->queue || w->refused ? -1 : 0;
    happening_cancel(&w->commit);
    happening_cancel(&w->answer);
    destroy_chain(w->queue);
    destroy_chain(w->done);
    destroy_chain(w->refused);
    w->machine->writer = NULL;
    free(w);
    return result;
}
