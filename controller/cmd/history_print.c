#include "cmd/history_print.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/timestamp.h"

#define RECORD_BYTES_MAX \
    (64u << 20) /* a Job has 1.5 MB at most, the limit of etcd, and escaping can make it 6 times that */
#define LABEL_WIDTH 20
#define AGE_TEXT_MAX (DURATION_TEXT_MAX + 8)

enum field_kind {
    FIELD_TEXT,   /* char * */
    FIELD_BUFFER, /* char[], "" when not known */
    FIELD_COUNT,
    FIELD_TIME,
    FIELD_SPAN, /* milliseconds */
    FIELD_OUTCOME,
    FIELD_TRIGGER,
    FIELD_STATE,
    FIELD_CAUSE,
    FIELD_JSON,
    FIELD_MANIFEST
};

static const struct field {
    const char *key;   /* JSON and CSV */
    const char *label; /* show */
    enum field_kind kind;
    size_t offset; /* in struct history_row */
} fields[] = {
        {"namespace", "Namespace", FIELD_TEXT, offsetof(struct history_row, run.namespace)},
        {"job", "Job", FIELD_TEXT, offsetof(struct history_row, run.job_name)},
        {"uid", "UID", FIELD_TEXT, offsetof(struct history_row, run.job_uid)},
        {"outcome", "Outcome", FIELD_OUTCOME, 0},
        {"reason", "Reason", FIELD_TEXT, offsetof(struct history_row, run.reason)},
        {"message", "Message", FIELD_TEXT, offsetof(struct history_row, run.message)},
        {"scheduledAt", "Scheduled", FIELD_TIME, offsetof(struct history_row, run.scheduled_at_ms)},
        {"createdAt", "Created", FIELD_TIME, offsetof(struct history_row, run.created_at_ms)},
        {"startedAt", "Started", FIELD_TIME, offsetof(struct history_row, run.started_at_ms)},
        {"finishedAt", "Finished", FIELD_TIME, offsetof(struct history_row, run.finished_at_ms)},
        {"durationMs", "Duration", FIELD_SPAN, offsetof(struct history_row, duration_ms)},
        {"recordedAt", "Recorded", FIELD_TIME, offsetof(struct history_row, recorded_at_ms)},
        {"cronjob", "CronJob", FIELD_TEXT, offsetof(struct history_row, run.cronjob)},
        {"trigger", "Trigger", FIELD_TRIGGER, 0},
        {"ownerKind", "Owner kind", FIELD_TEXT, offsetof(struct history_row, run.owner_kind)},
        {"ownerName", "Owner name", FIELD_TEXT, offsetof(struct history_row, run.owner_name)},
        {"ownerUid", "Owner UID", FIELD_TEXT, offsetof(struct history_row, run.owner_uid)},
        {"podsSucceeded", "Pods succeeded", FIELD_COUNT, offsetof(struct history_row, run.pods_succeeded)},
        {"podsFailed", "Pods failed", FIELD_COUNT, offsetof(struct history_row, run.pods_failed)},
        {"completions", "Completions", FIELD_COUNT, offsetof(struct history_row, run.completions)},
        {"parallelism", "Parallelism", FIELD_COUNT, offsetof(struct history_row, run.parallelism)},
        {"completionMode", "Completion mode", FIELD_TEXT, offsetof(struct history_row, run.completion_mode)},
        {"completedIndexes", "Completed indexes", FIELD_TEXT, offsetof(struct history_row, run.completed_indexes)},
        {"failedIndexes", "Failed indexes", FIELD_TEXT, offsetof(struct history_row, run.failed_indexes)},
        {"backoffLimit", "Backoff limit", FIELD_COUNT, offsetof(struct history_row, run.backoff_limit)},
        {"policy", "Policy", FIELD_BUFFER, offsetof(struct history_row, policy.rule)},
        {"policySource", "Policy source", FIELD_BUFFER, offsetof(struct history_row, policy.source)},
        {"ttlMs", "TTL", FIELD_SPAN, offsetof(struct history_row, policy.ttl_ms)},
        {"dueAt", "Due", FIELD_TIME, offsetof(struct history_row, policy.due_at_ms)},
        {"deleteState", "State", FIELD_STATE, 0},
        {"deleteCause", "Cause", FIELD_CAUSE, 0},
        {"deleteRequestedAt", "Delete requested", FIELD_TIME, offsetof(struct history_row, delete_requested_at_ms)},
        {"deletedAt", "Deleted", FIELD_TIME, offsetof(struct history_row, deleted_at_ms)},
        {"cluster", "Cluster", FIELD_TEXT, offsetof(struct history_row, cluster)},
        {"resourceVersion", "Resource version", FIELD_TEXT, offsetof(struct history_row, run.resource_version)},
        {"images", "Images", FIELD_JSON, offsetof(struct history_row, run.images)},
        {"labels", "Labels", FIELD_JSON, offsetof(struct history_row, run.labels)},
        {"annotations", "Annotations", FIELD_JSON, offsetof(struct history_row, run.annotations)},
        {"manifest", "Manifest", FIELD_MANIFEST, offsetof(struct history_row, run.manifest)},
};
#define FIELDS (sizeof fields / sizeof fields[0])

/* The field where it is a text of any sort, or NULL. */
static const char *field_text(const struct field *field, const struct history_row *row) {
    const char *at = (const char *)row + field->offset;
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_JSON:
    case FIELD_MANIFEST:
        return *(const char *const *)at;
    case FIELD_BUFFER:
        return *at ? at : NULL;
    case FIELD_OUTCOME:
        return outcome_name(row->run.outcome);
    case FIELD_TRIGGER:
        return run_trigger_name(row->run.trigger);
    case FIELD_STATE:
        return run_state_name(row->policy.state);
    case FIELD_CAUSE:
        return run_cause_name(row->cause);
    case FIELD_COUNT:
    case FIELD_TIME:
    case FIELD_SPAN:
        break;
    }
    return NULL;
}

static int64_t field_number(const struct field *field, const struct history_row *row) {
    return *(const int64_t *)((const char *)row + field->offset);
}

/* ---- JSON ---- */

static void add_json(struct strbuf *buf, const json_t *value);

static void add_json_object(struct strbuf *buf, json_t *object) {
    const char *key;
    json_t *value;
    const char *between = "{";
    json_object_foreach (object, key, value) {
        strbuf_add_text(buf, between);
        text_add_json(buf, key);
        strbuf_add_char(buf, ':');
        add_json(buf, value);
        between = ",";
    }
    strbuf_add_text(buf, json_object_size(object) ? "}" : "{}");
}

static void add_json_array(struct strbuf *buf, const json_t *array) {
    strbuf_add_char(buf, '[');
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i)
            strbuf_add_char(buf, ',');
        add_json(buf, json_array_get(array, i));
    }
    strbuf_add_char(buf, ']');
}

/* Not json_dumps: what could play tricks on a terminal is escaped. As deep as jansson lets a text be (2048). */
static void add_json(struct strbuf *buf, const json_t *value) {
    char *real;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        add_json_object(buf, (json_t *)value);
        break;
    case JSON_ARRAY:
        add_json_array(buf, value);
        break;
    case JSON_STRING:
        text_add_json(buf, json_string_value(value));
        break;
    case JSON_INTEGER:
        strbuf_add_format(buf, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        real = json_dumps(value, JSON_ENCODE_ANY);
        if (real)
            strbuf_add_text(buf, real);
        else
            buf->failed = true;
        free(real);
        break;
    case JSON_TRUE:
        strbuf_add_text(buf, "true");
        break;
    case JSON_FALSE:
        strbuf_add_text(buf, "false");
        break;
    case JSON_NULL:
        strbuf_add_text(buf, "null");
        break;
    }
}

/* Whether text was JSON, and has been added. Short of memory, the buffer has failed. */
static bool add_stored_json(struct strbuf *buf, const char *text) {
    struct error why = {0};
    json_t *value = json_read(text, strlen(text), JSON_DECODE_ANY, NULL, &why);
    if (!value) {
        if (why.kind == ERROR_NOMEM)
            buf->failed = true;
        return false;
    }
    add_json(buf, value);
    json_decref(value);
    return true;
}

static void add_field_json(struct strbuf *buf, const struct field *field, const struct history_row *row) {
    char time[TIMESTAMP_TEXT_MAX];
    const char *text = field_text(field, row);
    switch (field->kind) {
    case FIELD_COUNT:
    case FIELD_SPAN: {
        int64_t number = field_number(field, row);
        if (number == RUN_UNKNOWN || number == DURATION_NEVER)
            strbuf_add_text(buf, "null");
        else
            strbuf_add_format(buf, "%lld", (long long)number);
        return;
    }
    case FIELD_TIME:
        text = timestamp_format(field_number(field, row), time);
        if (!*text)
            text = NULL;
        break;
    case FIELD_JSON:
    case FIELD_MANIFEST:
        /* What is not JSON was not written by us: the text itself says more than nothing. */
        if (text && add_stored_json(buf, text))
            return;
        break;
    default:
        break;
    }
    if (text)
        text_add_json(buf, text);
    else
        strbuf_add_text(buf, "null");
}

/* Prints and empties the buffer. */
static int flush(struct strbuf *buf, FILE *out, struct error *err) {
    bool failed = strbuf_failed(buf);
    if (!failed)
        fputs(strbuf_text(buf), out);
    strbuf_finish(buf);
    return failed ? error_set(err, ERROR_LIMIT, "a run does not fit into memory") : 0;
}

int history_print_json(FILE *out, const struct history_row *row, bool lines, struct error *err) {
    struct strbuf buf = STRBUF_INIT(RECORD_BYTES_MAX);
    strbuf_add_text(&buf, lines ? "{\n  " : "{");
    for (size_t i = 0; i < FIELDS; i++) {
        if (i)
            strbuf_add_text(&buf, lines ? ",\n  " : ", ");
        strbuf_add_format(&buf, "\"%s\": ", fields[i].key);
        add_field_json(&buf, &fields[i], row);
    }
    strbuf_add_text(&buf, lines ? "\n}" : "}");
    return flush(&buf, out, err);
}

int history_print_manifest(FILE *out, const struct history_row *row, struct error *err) {
    const char *text = row->run.manifest;
    if (!text)
        return error_set(err, ERROR_FORMAT,
                "no manifest of %s/%s is on record: only with 'manifest = true' under [history] are they kept, from "
                "then on",
                row->run.namespace, row->run.job_name);
    struct strbuf buf = STRBUF_INIT(RECORD_BYTES_MAX);
    if (!add_stored_json(&buf, text) && !strbuf_failed(&buf)) {
        strbuf_finish(&buf);
        return error_set(err, ERROR_FORMAT, "the manifest of %s/%s on record is not JSON", row->run.namespace,
                row->run.job_name);
    }
    strbuf_add_char(&buf, '\n');
    return flush(&buf, out, err);
}

/* ---- CSV ---- */

void history_print_csv_header(FILE *out) {
    for (size_t i = 0; i < FIELDS; i++)
        fprintf(out, "%s%s", i ? "," : "", fields[i].key);
    fputc('\n', out);
}

int history_print_csv(FILE *out, const struct history_row *row, struct error *err) {
    struct strbuf buf = STRBUF_INIT(RECORD_BYTES_MAX);
    for (size_t i = 0; i < FIELDS; i++) {
        char time[TIMESTAMP_TEXT_MAX];
        const char *text = field_text(&fields[i], row);
        if (i)
            strbuf_add_char(&buf, ',');
        if (fields[i].kind == FIELD_TIME)
            text = timestamp_format(field_number(&fields[i], row), time);
        if (text)
            text_add_csv(&buf, text);
        else if (fields[i].kind == FIELD_COUNT || fields[i].kind == FIELD_SPAN) {
            int64_t number = field_number(&fields[i], row);
            if (number != RUN_UNKNOWN && number != DURATION_NEVER)
                strbuf_add_format(&buf, "%lld", (long long)number);
        }
    }
    strbuf_add_char(&buf, '\n');
    return flush(&buf, out, err);
}

/* ---- for people ---- */

/* "3h5m ago", "in 2m", "" when not known. Returns buf. */
static const char *age_text(int64_t time_ms, int64_t now_ms, char buf[AGE_TEXT_MAX]) {
    char span[DURATION_TEXT_MAX];
    buf[0] = '\0';
    if (time_ms == TIME_NONE)
        return buf;
    /* Seconds are enough, and steadier to look at. */
    int64_t ago_ms = (now_ms - time_ms) / 1000 * 1000;
    if (ago_ms < 0)
        snprintf(buf, AGE_TEXT_MAX, "in %s", duration_format(-ago_ms, span));
    else
        snprintf(buf, AGE_TEXT_MAX, "%s ago", duration_format(ago_ms, span));
    return buf;
}

static const char *span_text(int64_t ms, char buf[DURATION_TEXT_MAX]) {
    return ms == RUN_UNKNOWN ? "" : duration_format(ms, buf);
}

const char *const *history_print_columns(bool wide) {
    static const char *const narrow_columns[] = {
            "namespace", "job", "outcome", "reason", "finished", "duration", "state", "cause", NULL};
    static const char *const wide_columns[] = {"namespace", "job", "outcome", "reason", "finished", "duration", "state",
            "cause", "started", "due", "deleted", "policy", "source", "cronjob", "trigger", "uid", NULL};
    return wide ? wide_columns : narrow_columns;
}

int history_print_table(
        struct table *table, const struct history_row *row, bool wide, int64_t now_ms, struct error *err) {
    char age[AGE_TEXT_MAX], duration[DURATION_TEXT_MAX];
    char finished[TIMESTAMP_TEXT_MAX], started[TIMESTAMP_TEXT_MAX], due[TIMESTAMP_TEXT_MAX],
            deleted[TIMESTAMP_TEXT_MAX];
    const struct run *run = &row->run;
    const char *const cells[] = {
            run->namespace,
            run->job_name,
            outcome_name(run->outcome),
            run->reason,
            wide ? timestamp_format(run->finished_at_ms, finished) : age_text(run->finished_at_ms, now_ms, age),
            span_text(row->duration_ms, duration),
            run_state_name(row->policy.state),
            run_cause_name(row->cause),
            timestamp_format(run->started_at_ms, started),
            timestamp_format(row->policy.due_at_ms, due),
            timestamp_format(row->deleted_at_ms, deleted),
            row->policy.rule,
            row->policy.source,
            run->cronjob,
            run_trigger_name(run->trigger),
            run->job_uid,
    };
    const char *const *columns = history_print_columns(wide);
    for (size_t i = 0; columns[i]; i++) {
        if (table_add(table, cells[i], err) < 0)
            return -1;
        if (i == 2 && run->outcome == OUTCOME_FAILED)
            table_color(table, "31");
    }
    return 0;
}

static void add_label(struct strbuf *buf, const char *label) {
    strbuf_add_format(buf, "%s:%*s", label, LABEL_WIDTH - 1 - (int)strlen(label), "");
}

void history_print_label(FILE *out, const char *label, const char *text) {
    fprintf(out, "%s:%*s%s\n", label, LABEL_WIDTH - 1 - (int)strlen(label), "", text);
}

static void add_field_text(
        struct strbuf *buf, const struct field *field, const struct history_row *row, int64_t now_ms) {
    char time[TIMESTAMP_TEXT_MAX], age[AGE_TEXT_MAX], span[DURATION_TEXT_MAX];
    const char *text = field_text(field, row);
    int64_t number;
    switch (field->kind) {
    case FIELD_COUNT:
        number = field_number(field, row);
        if (number == RUN_UNKNOWN)
            return;
        add_label(buf, field->label);
        strbuf_add_format(buf, "%lld", (long long)number);
        break;
    case FIELD_SPAN:
        number = field_number(field, row);
        if (number == RUN_UNKNOWN)
            return;
        add_label(buf, field->label);
        strbuf_add_text(buf, duration_format(number, span));
        break;
    case FIELD_TIME:
        number = field_number(field, row);
        if (!*timestamp_format(number, time))
            return;
        add_label(buf, field->label);
        strbuf_add_format(buf, "%s (%s)", time, age_text(number, now_ms, age));
        break;
    case FIELD_MANIFEST:
        if (!text)
            return;
        add_label(buf, field->label);
        strbuf_add_format(buf, "%zu bytes (-o manifest prints it)", strlen(text));
        break;
    default:
        if (!text)
            return;
        add_label(buf, field->label);
        text_add_escaped(buf, text, TEXT_ALL);
        break;
    }
    strbuf_add_char(buf, '\n');
}

int history_print_text(FILE *out, const struct history_row *row, int64_t now_ms, struct error *err) {
    struct strbuf buf = STRBUF_INIT(RECORD_BYTES_MAX);
    for (size_t i = 0; i < FIELDS; i++)
        add_field_text(&buf, &fields[i], row, now_ms);
    return flush(&buf, out, err);
}
