#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/strbuf.h"
#include "base/text.h"
#include "base/timestamp.h"

#define LOG_LINE_MAX 65536 /* ten of the longest values, each character written as \uNNNN */
#define LOG_VALUE_MAX 1024 /* characters of one value: condition messages can be 32 kB */

#define STALL_MS 1000 /* for whoever reads the log: a pause of a shipper is shorter */

static atomic_bool stalled; /* the last line was dropped */
static atomic_uint dropped; /* since one could be written */
static enum log_level current_level = LOG_INFO;
static enum log_format current_format = LOG_LOGFMT;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_configure(enum log_level level, enum log_format format) {
    current_level = level;
    current_format = format;
}

enum log_level log_get_level(void) {
    return current_level;
}

bool log_level_parse(const char *text, enum log_level *ret_level) {
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_format_parse(const char *text, enum log_format *ret_format) {
    if (strcmp(text, "logfmt") != 0 && strcmp(text, "json") != 0)
        return false;
    *ret_format = strcmp(text, "json") == 0 ? LOG_JSON : LOG_LOGFMT;
    return true;
}

/* The value, cut as the other format cuts it: a line that did not fit would not be written at all. */
static void add_json_value(struct strbuf *line, const char *value) {
    size_t len = 0, characters = 0;
    /* Bytes are counted too, for what is not UTF-8 may have no characters. */
    for (; len < LOG_VALUE_MAX * 4 && value[len]; len++) {
        if (((unsigned char)value[len] & 0xc0) != 0x80 && characters++ == LOG_VALUE_MAX)
            break;
    }
    struct strbuf shown = STRBUF_INIT(LOG_LINE_MAX);
    strbuf_add(&shown, value, len);
    if (value[len])
        strbuf_add_text(&shown, "...");
    text_add_json(line, strbuf_text(&shown));
    strbuf_finish(&shown);
}

/* Most values stand in the line as they are: bare, in logfmt. */
static bool is_bare(const char *value) {
    size_t len = 0;
    for (; value[len]; len++) {
        if (len == LOG_VALUE_MAX || value[len] <= ' ' || value[len] >= 0x7f || strchr("\"=\\", value[len]))
            return false;
    }
    return len > 0;
}

static void add_value(struct strbuf *line, const char *value) {
    if (current_format == LOG_JSON) {
        add_json_value(line, value);
        return;
    }
    if (is_bare(value)) {
        strbuf_add_text(line, value);
        return;
    }
    struct strbuf escaped = STRBUF_INIT(LOG_LINE_MAX);
    text_add_escaped(&escaped, value, LOG_VALUE_MAX);
    bool bare = escaped.len > 0 && !strpbrk(strbuf_text(&escaped), " \"=\\");
    if (!bare)
        strbuf_add_char(line, '"');
    for (const char *at = strbuf_text(&escaped); *at; at++) {
        if (*at == '"')
            strbuf_add_char(line, '\\');
        strbuf_add_char(line, *at);
    }
    if (!bare)
        strbuf_add_char(line, '"');
    strbuf_finish(&escaped);
}

static void add_key(struct strbuf *line, const char *key) {
    bool json = current_format == LOG_JSON;
    if (line->len > json)
        strbuf_add_char(line, json ? ',' : ' ');
    if (json)
        strbuf_add_char(line, '"');
    strbuf_add_text(line, key);
    strbuf_add_text(line, json ? "\":" : "=");
}

static void add_pair(struct strbuf *line, const char *key, const char *value) {
    add_key(line, key);
    add_value(line, value);
}

static void add_field(struct strbuf *line, const struct log_field *field) {
    char text[640];
    switch (field->kind) {
    case LOG_FIELD_TEXT:
        if (field->text)
            add_pair(line, field->key, field->text);
        break;
    case LOG_FIELD_JOB:
        snprintf(text, sizeof text, "%s/%s", field->text ? field->text : "", field->name ? field->name : "");
        add_pair(line, field->key, text);
        break;
    case LOG_FIELD_NUMBER:
        add_key(line, field->key);
        strbuf_add_format(line, "%lld", (long long)field->number);
        break;
    case LOG_FIELD_TIME:
        if (field->number != TIME_NONE)
            add_pair(line, field->key, timestamp_format(field->number, text));
        break;
    case LOG_FIELD_DURATION:
        add_pair(line, field->key, duration_format(field->number, text));
        break;
    }
}

/* A pipe takes PIPE_BUF bytes at once and in one piece when it says that it is ready; for more it could wait for its
 * reader. False: nobody reads. */
static bool write_out(const char *text, size_t len) {
    while (len > 0) {
        struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
        int ready = poll(&out, 1, stalled ? 0 : STALL_MS);
        if (ready == 0)
            return false;
        if (ready < 0) {
            if (errno == EINTR)
                continue;
            return true;
        }
        ssize_t n = write(STDERR_FILENO, text, len < PIPE_BUF ? len : PIPE_BUF);
        if (n < 0 && errno != EINTR)
            return errno != EAGAIN; /* closed, or its disk is full: nothing to wait for */
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return true;
}

/* The loop waits for the log's reader once, for STALL_MS, and not again until it reads. */
static void write_line(const char *text, size_t len) {
    if (!write_out(text, len)) {
        stalled = true;
        dropped++;
        return;
    }
    stalled = false;
    unsigned lost = atomic_exchange(&dropped, 0);
    if (lost)
        log_warn("lines of the log were dropped, since nobody read it", log_number("lines", lost));
}

static void add_line(struct strbuf *line, enum log_level level, const char *message, const struct log_field *fields) {
    char time[TIMESTAMP_TEXT_MAX];
    if (current_format == LOG_JSON)
        strbuf_add_char(line, '{');
    add_pair(line, "time", timestamp_format(clock_wall_ms(), time));
    add_pair(line, "level", level_names[level]);
    add_pair(line, "msg", message);
    for (fields++; fields->key; fields++)
        add_field(line, fields);
    strbuf_add_text(line, current_format == LOG_JSON ? "}\n" : "\n");
}

void log_write(enum log_level level, const char *message, const struct log_field *fields) {
    if (level < current_level || level >= LOG_OFF)
        return;
    struct strbuf line = STRBUF_INIT(LOG_LINE_MAX);
    add_line(&line, level, message, fields);
    if (!strbuf_failed(&line)) {
        write_line(strbuf_text(&line), line.len);
    } else if (current_format == LOG_JSON) {
        static const char cut[] = "{\"level\":\"error\",\"msg\":\"a log line did not fit in memory\"}\n";
        write_line(cut, sizeof cut - 1);
    } else {
        static const char cut[] = "level=error msg=\"a log line did not fit in memory\"\n";
        write_line(cut, sizeof cut - 1);
    }
    strbuf_finish(&line);
}
