/*
 * log: one event a line on standard error, as logfmt or JSON with the same keys.
 *
 * Values are escaped; never log a token or a manifest. Any thread: a line is written with one write(2), as far as a
 * pipe takes it in one piece (4 kB).
 *
 * Nobody waits long for the log's reader: a line that could not be written within a second is dropped, and so are those
 * behind it until somebody reads again, who is then told how many.
 *
 *     log_info("run recorded", log_job(ns, name), log_text("uid", uid), log_number("duration_ms", n));
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_field {
    const char *key; /* NULL ends the list */
    enum { LOG_FIELD_TEXT, LOG_FIELD_NUMBER, LOG_FIELD_JOB, LOG_FIELD_TIME, LOG_FIELD_DURATION } kind;
    const char *text; /* NULL: the field is left out */
    const char *name; /* LOG_FIELD_JOB: text is the namespace */
    int64_t number;
};

#define log_text(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_TEXT, .text = (v)})
#define log_number(k, v) ((struct log_field){.key = (k), .kind = LOG_FIELD_NUMBER, .number = (v)})
#define log_job(ns, n) ((struct log_field){.key = "job", .kind = LOG_FIELD_JOB, .text = (ns), .name = (n)})
#define log_time(k, ms) ((struct log_field){.key = (k), .kind = LOG_FIELD_TIME, .number = (ms)})
#define log_duration(k, ms) ((struct log_field){.key = (k), .kind = LOG_FIELD_DURATION, .number = (ms)})

void log_configure(enum log_level level, enum log_format format);
enum log_level log_get_level(void);
/* Names as in the configuration: debug, info, warn, error. false when unknown. */
bool log_level_parse(const char *text, enum log_level *ret_level);
bool log_format_parse(const char *text, enum log_format *ret_format);

/* fields: a first one that does not count (so that the macro works without fields), then up to one without a key. */
void log_write(enum log_level level, const char *message, const struct log_field *fields);

#define log_at(level, message, ...) \
    log_write((level), (message), (const struct log_field[]){{.key = NULL}, ##__VA_ARGS__, {.key = NULL}})
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
