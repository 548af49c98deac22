#include "sim_stats.h"

#include "sim_util.h"

#include <stdio.h>
#include <stdlib.h>

/* Compact JSON, since a soak deletes 100,000. */
struct lines {
    char **texts;
    size_t count;
    size_t capacity;
};

struct sim_stats {
    int64_t total;
    json_t *verbs;
    json_t *resources;
    json_t *codes;
    struct lines audits;
    struct lines lease_writes;
};

struct sim_stats *sim_stats_create(void) {
    struct sim_stats *stats = sim_alloc(sizeof(*stats));

    sim_stats_reset(stats);
    return stats;
}

static void lines_finish(struct lines *lines) {
    for (size_t i = 0; i < lines->count; i++)
        free(lines->texts[i]);
    free(lines->texts);
}

/* Takes entry. */
static void lines_add(struct lines *lines, json_t *entry) {
    if (lines->count == lines->capacity) {
        lines->capacity = lines->capacity ? lines->capacity * 2 : 64;
        lines->texts = realloc(lines->texts, lines->capacity * sizeof(*lines->texts));
        if (!lines->texts)
            abort();
    }
    lines->texts[lines->count] = entry ? json_dumps(entry, JSON_COMPACT) : NULL;
    if (lines->texts[lines->count])
        lines->count++;
    json_decref(entry);
}

static json_t *lines_read(const struct lines *lines) {
    json_t *list = json_array();

    for (size_t i = 0; i < lines->count; i++)
        json_array_append_new(list, json_loads(lines->texts[i], 0, NULL));
    return list;
}

static void stats_finish(struct sim_stats *stats) {
    json_decref(stats->verbs);
    json_decref(stats->resources);
    json_decref(stats->codes);
    lines_finish(&stats->audits);
    lines_finish(&stats->lease_writes);
}

void sim_stats_destroy(struct sim_stats *stats) {
    if (!stats)
        return;
    stats_finish(stats);
    free(stats);
}

void sim_stats_reset(struct sim_stats *stats) {
    stats_finish(stats);
    *stats = (struct sim_stats){.verbs = json_object(), .resources = json_object(), .codes = json_object()};
}

static void counter_add(json_t *counters, const char *key) {
    json_object_set_new(counters, key, json_integer(json_integer_value(json_object_get(counters, key)) + 1));
}

void sim_stats_count(struct sim_stats *stats, const char *verb, const char *resource, int code) {
    const char *name = *resource ? resource : "other";
    json_t *by_verb = json_object_get(stats->resources, name);
    char text[16];

    if (!by_verb) {
        by_verb = json_object();
        json_object_set_new(stats->resources, name, by_verb);
    }
    if (code)
        snprintf(text, sizeof(text), "%d", code);
    stats->total++;
    counter_add(stats->verbs, verb);
    counter_add(by_verb, verb);
    counter_add(stats->codes, code ? text : "dropped");
}

static json_t *string_or_null(const char *text) {
    return text ? json_string(text) : json_null();
}

void sim_stats_audit(struct sim_stats *stats, const struct sim_audit *audit) {
    lines_add(&stats->audits,
            json_pack("{s:I,s:s,s:s,s:s,s:o,s:o,s:o,s:i,s:b}", "time_ms", (json_int_t)audit->time_ms, "resource",
                    audit->resource, "namespace", audit->ns, "name", audit->name, "preconditionUid",
                    string_or_null(audit->precondition_uid), "preconditionResourceVersion",
                    string_or_null(audit->precondition_rv), "propagationPolicy", string_or_null(audit->propagation),
                    "code", audit->code, "answered", audit->answered));
}

void sim_stats_lease(struct sim_stats *stats, const struct sim_lease_write *write) {
    lines_add(&stats->lease_writes,
            json_pack("{s:I,s:s,s:s,s:s,s:o,s:i,s:b}", "time_ms", (json_int_t)write->time_ms, "verb", write->verb,
                    "namespace", write->ns, "name", write->name, "holderIdentity", string_or_null(write->holder),
                    "code", write->code, "answered", write->answered));
}

json_t *sim_stats_counts(const struct sim_stats *stats) {
    return json_pack("{s:I,s:o,s:o,s:o}", "total", (json_int_t)stats->total, "verbs", json_deep_copy(stats->verbs),
            "resources", json_deep_copy(stats->resources), "codes", json_deep_copy(stats->codes));
}

json_t *sim_stats_audits(const struct sim_stats *stats) {
    return lines_read(&stats->audits);
}

json_t *sim_stats_lease_writes(const struct sim_stats *stats) {
    return lines_read(&stats->lease_writes);
}
