#include "fake.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* In the order of deletion. */
struct deleted_row {
    char *namespace, *name;
    int64_t created_ms, deleted_ms;
    struct deleted_row *next;
};

struct open_row {
    char *namespace, *name, *uid;
    enum run_state state;
    int64_t due_ms;
    struct open_row *next;
};

struct writer {
    struct writer_handler handler;
    struct loop_wake *wake;
    size_t pending;
};

static struct writer *current;
static struct fake_record *records, **tail = &records;
static struct open_row *open_rows;
static struct deleted_row *deleted_rows, **deleted_tail = &deleted_rows;
static bool automatic, failing, full;

static struct fake_record *first_waiting(void) {
    struct fake_record *record = records;
    while (record && !record->request)
        record = record->next;
    return record;
}

/* As the real one: what changes a row needs one. */
static bool has_row(const char *uid) {
    for (const struct fake_record *record = records; record; record = record->next) {
        if (record->durable && record->has_run && strcmp(record->uid, uid) == 0)
            return true;
    }
    for (const struct open_row *row = open_rows; row; row = row->next) {
        if (strcmp(row->uid, uid) == 0)
            return true;
    }
    return false;
}

static bool has_end(const char *uid) {
    for (const struct fake_record *record = records; record; record = record->next) {
        if (record->durable && record->op == HISTORY_DELETED && strcmp(record->uid, uid) == 0)
            return true;
    }
    return false;
}

static void answer(struct fake_record *record, bool durable) {
    struct history_request *request = record->request;
    bool had_row = has_row(record->uid);
    request->inserted = request->run && !had_row;
    request->ended = request->op == HISTORY_DELETED && (request->run || had_row) && !has_end(record->uid);
    durable = durable && (request->run || had_row);
    record->request = NULL;
    record->durable = durable;
    record->refused = !durable;
    current->pending--;
    bool was = fake_set_in_program(true);
    if (durable)
        current->handler.durable(current->handler.arg, request);
    else if (current->handler.refused)
        current->handler.refused(current->handler.arg, request, "the scenario says so");
    fake_in_program = was;
    history_request_destroy(request);
}

bool fake_writer_durable(int n) {
    if (failing || !current)
        return false;
    /* What is submitted because of these answers is for the next time. */
    int waiting = (int)current->pending;
    for (int i = 0; i < (n ? n : waiting) && i < waiting; i++)
        answer(first_waiting(), true);
    return waiting > 0 && n <= waiting;
}

static void on_wake(void *arg) {
    (void)arg;
    if (automatic && fake_writer_durable(0))
        loop_wake_send(current->wake);
}

int writer_open(struct loop *loop, const struct writer_settings *settings, const struct writer_handler *handler,
        struct writer **ret, struct error *err) {
    if (strstr(settings->location, "/nowhere/"))
        return error_set(err, ERROR_USAGE, "the register %s cannot be opened", settings->location);
    struct writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return error_nomem(err);
    writer->handler = *handler;
    writer->wake = loop_wake_create(loop, on_wake, writer, err);
    if (!writer->wake) {
        free(writer);
        return -1;
    }
    *ret = current = writer;
    return 0;
}

void writer_submit(struct writer *writer, struct history_request *request) {
    bool was = fake_set_in_program(false); /* the real one needs no memory of its own here */
    struct fake_record *record = calloc(1, sizeof *record);
    fake_in_program = was;
    if (!record)
        fake_broken("out of memory");
    *record = (struct fake_record){.op = request->op,
            .policy = request->policy,
            .cause = request->cause,
            .has_run = request->run != NULL,
            .request = request};
    memcpy(record->uid, request->uid, sizeof record->uid);
    *tail = record;
    tail = &record->next;
    writer->pending++;
    loop_wake_send(writer->wake);
}

bool writer_has_room(const struct writer *writer) {
    (void)writer;
    return !full;
}

int64_t writer_busy_ms(struct writer *writer) {
    (void)writer;
    return 0;
}

size_t writer_pending(const struct writer *writer) {
    return writer->pending;
}

void writer_stats(struct writer *writer, struct writer_stats *ret) {
    *ret = (struct writer_stats){.queue = (int64_t)writer->pending, .failing = failing};
}

int writer_each_open(struct writer *writer, const char *cluster,
        int (*each)(void *arg, const struct history_open_run *run, struct error *err), void *arg, struct error *err) {
    (void)writer;
    (void)cluster;
    if (failing)
        return error_set(err, ERROR_IO, "the register cannot be read: its store has failed");
    for (const struct open_row *row = open_rows; row; row = row->next) {
        const struct history_open_run run = {.namespace = row->namespace,
                .job_name = row->name,
                .job_uid = row->uid,
                .state = row->state,
                .due_at_ms = row->due_ms};
        int result = each(arg, &run, err);
        if (result)
            return result;
    }
    return 0;
}

int writer_each_recreated(struct writer *writer, const char *cluster, int64_t since_ms, int min_rows,
        int (*each)(void *arg, const struct history_recreated_run *run, struct error *err), void *arg,
        struct error *err) {
    (void)writer;
    (void)cluster;
    (void)since_ms;
    (void)min_rows;
    if (failing)
        return error_set(err, ERROR_IO, "the register cannot be read: its store has failed");
    for (const struct deleted_row *row = deleted_rows; row; row = row->next) {
        const struct history_recreated_run run = {.namespace = row->namespace,
                .job_name = row->name,
                .created_at_ms = row->created_ms,
                .deleted_at_ms = row->deleted_ms};
        int result = each(arg, &run, err);
        if (result)
            return result;
    }
    return 0;
}

int writer_set_cluster(struct writer *writer, const char *cluster, struct error *err) {
    (void)cluster;
    if (writer->pending)
        return error_set(err, ERROR_LIMIT, "the cluster's name cannot change while runs of it are being recorded");
    return 0;
}

void writer_set_retention(struct writer *writer, int64_t retention_ms) {
    (void)writer;
    (void)retention_ms;
}

void writer_set_skew(struct writer *writer, const struct skew *skew) {
    (void)writer;
    (void)skew;
}

int writer_close(struct writer *writer, int64_t grace_ms) {
    (void)grace_ms;
    if (!writer)
        return 0;
    int result = writer->pending && failing ? -1 : 0; /* else what is queued would be written within the grace */
    for (struct fake_record *record = records; record; record = record->next) {
        history_request_destroy(record->request);
        record->request = NULL;
    }
    loop_wake_destroy(writer->wake);
    free(writer);
    current = NULL;
    return result;
}

/* ---- the scenario's side ---- */

void fake_writer_add_open(
        const char *namespace, const char *name, const char *uid, enum run_state state, int64_t due_ms) {
    struct open_row *row = calloc(1, sizeof *row);
    if (!row)
        fake_broken("out of memory");
    *row = (struct open_row){.namespace = strdup(namespace),
            .name = strdup(name),
            .uid = strdup(uid),
            .state = state,
            .due_ms = due_ms,
            .next = open_rows};
    open_rows = row;
}

void fake_writer_add_deleted(const char *namespace, const char *name, int64_t created_ms, int64_t deleted_ms) {
    struct deleted_row *row = calloc(1, sizeof *row);
    if (!row)
        fake_broken("out of memory");
    *row = (struct deleted_row){
            .namespace = strdup(namespace), .name = strdup(name), .created_ms = created_ms, .deleted_ms = deleted_ms};
    *deleted_tail = row;
    deleted_tail = &row->next;
}

void fake_writer_set_auto(bool on) {
    automatic = on;
    if (current)
        loop_wake_send(current->wake);
}

struct fake_record *fake_writer_first(void) {
    return records;
}

bool fake_writer_refuse(const char *uid) {
    for (struct fake_record *record = records; record; record = record->next) {
        if (record->request && strcmp(record->uid, uid) == 0) {
            answer(record, false);
            return true;
        }
    }
    return false;
}

void fake_writer_fails(const char *why) {
    failing = why != NULL;
    if (!current)
        return;
    if (why)
        log_error("the register cannot be written: no Job is deleted", log_text("reason", why));
    else
        log_info("the register can be written again");
    bool was = fake_set_in_program(true);
    current->handler.failing(current->handler.arg, why);
    fake_in_program = was;
    loop_wake_send(current->wake);
}

static void forget_rows(void) {
    while (open_rows) {
        struct open_row *next = open_rows->next;
        free(open_rows->namespace);
        free(open_rows->name);
        free(open_rows->uid);
        free(open_rows);
        open_rows = next;
    }
    while (deleted_rows) {
        struct deleted_row *next = deleted_rows->next;
        free(deleted_rows->namespace);
        free(deleted_rows->name);
        free(deleted_rows);
        deleted_rows = next;
    }
    deleted_tail = &deleted_rows;
}

void fake_writer_begins_anew(void) {
    for (struct fake_record *record = records; record; record = record->next)
        record->durable = false;
    forget_rows();
    bool was = fake_set_in_program(true);
    if (current)
        current->handler.anew(current->handler.arg);
    fake_in_program = was;
}

void fake_writer_set_room(bool room) {
    full = !room;
    bool was = fake_set_in_program(true);
    if (room && current)
        current->handler.room(current->handler.arg);
    fake_in_program = was;
}

bool fake_writer_is_failing(void) {
    return failing;
}

bool fake_writer_knows_intent(const char *uid) {
    bool recorded = false, intended = false;
    for (const struct fake_record *record = records; record; record = record->next) {
        if (strcmp(record->uid, uid) != 0)
            continue;
        if (record->durable && record->has_run)
            recorded = true;
        /* What was submitted last counts: a later policy takes an intent back. */
        if (record->op == HISTORY_INTENT || record->op == HISTORY_POLICY)
            intended = record->op == HISTORY_INTENT && record->durable;
    }
    return recorded && intended;
}

void fake_writer_reset(void) {
    while (records) {
        struct fake_record *next = records->next;
        free(records);
        records = next;
    }
    tail = &records;
    forget_rows();
    automatic = failing = full = false;
}
