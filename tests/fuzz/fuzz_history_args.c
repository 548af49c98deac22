/*
 * Any words as the command line of 'history list' or 'history show': understood, and then the same again when it is
 * written out; or refused with a reason, and nothing taken.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/timestamp.h"
#include "cmd/history_args.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ensure(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

#define WORDS_MAX 24
#define NOW_MS 1795219200000LL /* 2026-11-21T00:00:00Z */

/* Words separated by line breaks, the first of them the subcommand's name. On the heap, each, for the parser moves and
 * writes them. */
struct line {
    char *argv[WORDS_MAX + 1];
    int argc;
};

static void line_add(struct line *line, const char *word, size_t len) {
    if (line->argc == WORDS_MAX)
        return;
    char *copy = strndup(word, len);
    ensure(copy);
    line->argv[line->argc++] = copy;
    line->argv[line->argc] = NULL;
}

static void line_add_text(struct line *line, const char *word) {
    line_add(line, word, strlen(word));
}

/* Frees what was put in, wherever the parser has moved it. */
static void line_finish(struct line *line) {
    for (int i = 0; i < line->argc; i++)
        free(line->argv[i]);
}

static struct line line_of(const uint8_t *data, size_t size) {
    struct line line = {.argc = 0};
    line_add_text(&line, "history");
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - data) - at : size - at;
        line_add(&line, (const char *)data + at, len);
        at += len + 1;
    }
    return line;
}

static int parse(bool show, struct line *line, struct history_args *ret, struct error *err) {
    static FILE *nowhere;
    FILE *out = stdout;
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    ensure(nowhere);
    stdout = nowhere; /* --help */
    int result = show ? history_args_show(line->argc, line->argv, NOW_MS, ret, err)
                      : history_args_list(line->argc, line->argv, NOW_MS, ret, err);
    stdout = out;
    return result;
}

static void check_name(const char *text) {
    ensure(!text || *text);
}

static void check_list(const struct history_args *args) {
    const struct history_query *query = &args->query;
    ensure(!args->all && !args->manifest && !query->uid);
    ensure(query->outcome == -1 || query->outcome == OUTCOME_SUCCEEDED || query->outcome == OUTCOME_FAILED);
    ensure(query->limit >= 0 && query->limit <= HISTORY_ARGS_LIMIT_MAX);
    bool people = args->output == OUTPUT_TABLE || args->output == OUTPUT_WIDE;
    ensure(args->limit_given || query->limit == (people ? HISTORY_ARGS_TABLE_LIMIT : 0));
}

static void check_show(const struct history_args *args) {
    const struct history_query *query = &args->query;
    ensure(!query->cronjob && query->outcome == -1 && query->limit == 0);
    ensure(query->since_ms == TIME_NONE && query->until_ms == TIME_NONE);
    ensure(query->uid ? !query->job && !query->namespace : query->job && query->namespace);
    const char *name = query->uid ? query->uid : query->job;
    ensure(!strpbrk(name, "/*?") && !(args->manifest && args->all));
}

static void put(struct line *line, const char *option, const char *value) {
    if (!value)
        return;
    line_add_text(line, option);
    line_add_text(line, value);
}

/* False when it cannot be written: a time outside of the years that can be shown. */
static bool put_time(struct line *line, const char *option, int64_t ms) {
    char text[TIMESTAMP_TEXT_MAX];
    if (ms == TIME_NONE)
        return true;
    if (!*timestamp_format(ms, text))
        return false;
    put(line, option, text);
    return true;
}

static bool write_list(const struct history_args *args, struct line *line) {
    static const char *const formats[] = {"table", "wide", "json", "csv"};
    const struct history_query *query = &args->query;
    char limit[32];
    put(line, "-n", query->namespace);
    put(line, "--job", query->job);
    put(line, "--cronjob", query->cronjob);
    put(line, "--outcome", query->outcome == -1 ? NULL : outcome_name((enum outcome)query->outcome));
    put(line, "--config", args->config);
    put(line, "--store", args->store);
    put(line, "-o", formats[args->output]);
    snprintf(limit, sizeof limit, "%lld", (long long)query->limit);
    put(line, "--limit", limit);
    return put_time(line, "--since", query->since_ms) && put_time(line, "--until", query->until_ms);
}

static bool write_show(const struct history_args *args, struct line *line) {
    const struct history_query *query = &args->query;
    put(line, "-n", query->namespace);
    put(line, "--config", args->config);
    put(line, "--store", args->store);
    put(line, "-o", args->manifest ? "manifest" : args->output == OUTPUT_JSON ? "json" : "text");
    if (args->all)
        line_add_text(line, "--all");
    put(line, "--", query->uid ? query->uid : query->job);
    return true;
}

static void check_same_text(const char *a, const char *b) {
    ensure(a && b ? strcmp(a, b) == 0 : a == b);
}

static void check_same(const struct history_args *a, const struct history_args *b) {
    check_same_text(a->query.namespace, b->query.namespace);
    check_same_text(a->query.job, b->query.job);
    check_same_text(a->query.cronjob, b->query.cronjob);
    check_same_text(a->query.uid, b->query.uid);
    check_same_text(a->config, b->config);
    check_same_text(a->store, b->store);
    ensure(a->query.outcome == b->query.outcome && a->query.limit == b->query.limit);
    ensure(a->query.since_ms == b->query.since_ms && a->query.until_ms == b->query.until_ms);
    ensure(a->all == b->all && a->manifest == b->manifest && a->output == b->output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    bool show = data[0] == 's';
    struct line line = line_of(data + 1, size - 1), again = {.argc = 0};
    struct history_args args, untouched, second;
    struct error err = {0};
    memset(&args, 0x55, sizeof args);
    untouched = args;
    int parsed = parse(show, &line, &args, &err);
    if (parsed != 0) {
        ensure(memcmp(&args, &untouched, sizeof args) == 0);
        ensure(parsed == OPTIONS_DONE || (parsed == -1 && err.kind == ERROR_USAGE && err.text[0]));
        line_finish(&line);
        return 0;
    }
    check_name(args.query.namespace);
    check_name(args.query.job);
    check_name(args.query.cronjob);
    check_name(args.config);
    check_name(args.store);
    if (show)
        check_show(&args);
    else
        check_list(&args);
    line_add_text(&again, "history");
    if (show ? write_show(&args, &again) : write_list(&args, &again)) {
        ensure(parse(show, &again, &second, &err) == 0);
        check_same(&args, &second);
    }
    line_finish(&again);
    line_finish(&line);
    return 0;
}
