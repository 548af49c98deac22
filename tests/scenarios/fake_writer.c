#include "fake.h"

#include <stdlib.h>
#include <string.h>

struct open_row {
    char *namespace, *name, *uid;
    enum run_state state;
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
static bool automatic, failing, full;

int writer_open(struct loop *loop, const struct writer_settings *settings, const struct writer_handler *handler,
        struct writer **ret, struct error *err) {
    if (strncmp(settings->location, "sqlite:", strlen("sqlite:")) != 0)
        return error_set(err, ERROR_USAGE, "'%s' is not the location of a register", settings->location);
    struct writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return error_nomem(err);
    writer->handler = *handler;
    *ret = current = writer;
    (void)loop;
    return 0;
}

static struct fake_record *first_waiting(void) {
    struct fake_record *record = records;
    while (record && !record->request)
        record = record->next;
    return record;
}

static void answer(struct fake_record *record, bool durable) {
    struct history_request *request = record->request;
    record->request = NULL;
    record->durable = durable;
    record->refused = !durable;
    current->pending--;
    if (durable)
        current->handler.durable(current->handler.arg, request);
    else if (current->handler.refused)
        current->handler.refused(current->handler.arg, request, "the scenario says so");
    history_request_destroy(request);
}

bool fake_writer_durable(int n) {
    if (failing || !current)
        return false;
    for (int i = 0; n == 0 || i < n; i++) {
        struct fake_record *record = first_waiting();
        if (!record)
            return n == 0 && i > 0;
        answer(record, true);
    }
    return true;
}

static void on_wake(void *arg) {
    (void)arg;
    if (automatic)
        (void)fake_writer_durable(0);
}

void writer_submit(struct writer *writer, struct history_request *request) {
    struct fake_record *record = calloc(1, sizeof *record);
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
    if (writer->wake)
        loop_wake_send(writer->wake);
}
