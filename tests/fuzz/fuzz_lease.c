/*
 * Any JSON as a Lease: what is read of it is within its limits and the same after a way out and back; and whoever may
 * take it at some moment may do so later, but never another's before the time it was promised.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kube/lease.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ensure(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

#define HOUR_MS 3600000LL
#define OWN_MS 15000

static void check_same(const struct lease_record *a, const struct lease_record *b) {
    ensure(strcmp(a->holder, b->holder) == 0 && strcmp(a->renew_time, b->renew_time) == 0);
    ensure(strcmp(a->acquire_time, b->acquire_time) == 0);
    ensure(a->duration_ms == b->duration_ms && a->transitions == b->transitions);
}

static void check_record(const struct lease_record *record, int64_t observed_ms) {
    ensure(record->holder && record->renew_time && record->acquire_time);
    ensure(record->duration_ms >= 0 && record->duration_ms <= HOUR_MS && record->duration_ms % 1000 == 0);
    int64_t wait_ms = record->duration_ms ? record->duration_ms : OWN_MS;
    bool foreign = *record->holder && strcmp(record->holder, "me") != 0;
    const int64_t moments[] = {0, 1, wait_ms / 2, wait_ms - 1, wait_ms, wait_ms + 1, 2 * HOUR_MS};
    bool might = false;
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        bool may = lease_may_take(record, "me", observed_ms, observed_ms + moments[i], OWN_MS);
        ensure(may == (!foreign || moments[i] >= wait_ms));
        ensure(may || !might);
        might = may;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    int64_t observed_ms = 0;
    memcpy(&observed_ms, data, size < sizeof observed_ms ? size : sizeof observed_ms);
    struct lease_record record = lease_record_read(json);
    /* The monotonic clock of a machine that has been up for less than an age. */
    check_record(&record, (observed_ms & INT64_MAX) >> 16);
    char *text = json ? json_dumps(json, 0) : NULL;
    if (text) {
        json_t *again = json_loads(text, JSON_ALLOW_NUL, NULL);
        struct lease_record second = lease_record_read(again);
        check_same(&record, &second);
        json_decref(again);
    }
    free(text);
    json_decref(json);
    return 0;
}
