#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/table.h"
#include "base/text.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/history_args.h"
#include "cmd/history_print.h"
#include "cmd/history_verify.h"
#include "cmd/options.h"
#include "history/history.h"

#define EXIT_DONE 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2

#define STOP 1 /* what a callback returns to see no more rows */

static const struct command_spec history_spec = {
        .name = "history",
        .synopsis = "list|show|verify [OPTIONS]",
        .about = "Look into the register of runs.\n\n"
                 "  list    the runs, newest first\n"
                 "  show    all that is known of one\n"
                 "  verify  is the register whole, and does it make sense",
        .options = (const struct option_spec[]){{0}},
        .more = "'sexton history list --help' and so on tell their options.",
};

/* Prints the error; returns the exit code for it. */
static int fail(const struct command_spec *spec, const struct error *err) {
    struct strbuf text = STRBUF_INIT((size_t)ERROR_TEXT_MAX * 8);
    text_add_escaped(&text, err->text, TEXT_ALL);
    fprintf(stderr, "sexton %s: %s\n", spec->name, text.no_memory ? "out of memory" : strbuf_text(&text));
    strbuf_finish(&text);
    return err->kind == ERROR_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

/* ---- the register ---- */

static int open_register(const struct history_args *request, struct history **ret, struct error *err) {
    struct config *config = NULL;
    if ((!request->store || request->config) && config_load(request->config, &config, err) < 0)
        return -1;
    int result = history_open(request->store ? request->store : config->store, HISTORY_READ, ret, err);
    config_destroy(config);
    if (result < 0 && err)
        err->kind = ERROR_USAGE; /* the store that was named is none */
    return result;
}

/* Where rows go, and how many came. */
struct sink {
    const struct history_args *request;
    struct table *table;
    int64_t rows;
    int write_errno; /* standard output did not take it */
    bool cut;        /* there are more than the limit let through */
};

/* 0, or STOP when nobody takes the output any more. */
static int check_output(struct sink *sink) {
    if (!ferror(stdout))
        return 0;
    sink->write_errno = errno;
    return STOP;
}

static int list_row(void *arg, const struct history_row *row, struct error *err) {
    struct sink *sink = arg;
    int result = 0;
    if (sink->table && sink->request->query.limit && sink->rows == sink->request->query.limit) {
        sink->cut = true;
        return STOP;
    }
    switch (sink->request->output) {
    case OUTPUT_TABLE:
    case OUTPUT_WIDE:
        result =
                history_print_table(sink->table, row, sink->request->output == OUTPUT_WIDE, sink->request->now_ms, err);
        break;
    case OUTPUT_JSON:
        fputs(sink->rows ? ",\n " : "\n ", stdout);
        result = history_print_json(stdout, row, false, err);
        break;
    case OUTPUT_CSV:
        result = history_print_csv(stdout, row, err);
        break;
    }
    sink->rows++;
    return result < 0 ? result : check_output(sink);
}

static int show_row(void *arg, const struct history_row *row, struct error *err) {
    struct sink *sink = arg;
    const struct history_args *request = sink->request;
    int64_t before = sink->rows++;
    int result;
    if (before && !request->all)
        return 0;
    if (request->manifest) {
        result = history_print_manifest(stdout, row, err);
    } else if (request->output == OUTPUT_JSON) {
        if (request->all)
            fputs(before ? ",\n" : "[\n", stdout);
        result = history_print_json(stdout, row, true, err);
    } else {
        if (before)
            fputc('\n', stdout);
        result = history_print_text(stdout, row, request->now_ms, err);
    }
    return result < 0 ? result : check_output(sink);
}

/* The last of the output, and whether all of it arrived. A reader that had enough (head, less) is no failure. */
static int finish_output(struct sink *sink, struct error *err) {
    if (!sink->write_errno && fflush(stdout) != 0)
        sink->write_errno = errno;
    if (!sink->write_errno || sink->write_errno == EPIPE)
        return 0;
    return error_set(err, ERROR_IO, "cannot write the output: %s", strerror(sink->write_errno));
}

static void print_head(const struct history_args *request) {
    if (request->output == OUTPUT_JSON)
        fputc('[', stdout);
    else if (request->output == OUTPUT_CSV)
        history_print_csv_header(stdout);
}

static int print_tail(struct sink *sink, struct error *err) {
    const struct history_args *request = sink->request;
    if (request->output == OUTPUT_JSON)
        fputs(sink->rows ? "\n]\n" : "]\n", stdout);
    else if (sink->table && sink->rows && table_print(sink->table, stdout, terminal_has_colors(stdout), err) < 0)
        return -1;
    /* Before what stands on standard error, for both may be one terminal. */
    if (fflush(stdout) != 0)
        sink->write_errno = errno;
    if (!isatty(STDERR_FILENO))
        return 0;
    if (sink->rows == 0)
        fputs("No runs on record.\n", stderr);
    else if (sink->cut)
        fprintf(stderr, "These are the newest %lld; --limit 0 shows all.\n", (long long)sink->rows);
    return 0;
}

static int list_from(struct history *history, const struct history_args *request, struct error *err) {
    struct sink sink = {.request = request};
    struct history_query query = request->query;
    bool people = request->output == OUTPUT_TABLE || request->output == OUTPUT_WIDE;
    if (people && !(sink.table = table_create(history_print_columns(request->output == OUTPUT_WIDE), err)))
        return -1;
    if (people && query.limit)
        query.limit++; /* one more than is shown tells whether there are more */
    print_head(request);
    int result = history_each(history, &query, list_row, &sink, err);
    if (result >= 0) {
        result = sink.write_errno ? 0 : print_tail(&sink, err);
        if (result == 0)
            result = finish_output(&sink, err);
    }
    table_destroy(sink.table);
    return result;
}

static int not_on_record(const struct history_query *query, struct error *err) {
    if (query->uid)
        return error_set(err, ERROR_FORMAT,
                "no run with the uid %s is on record (a Job is named NAMESPACE/JOB, or JOB -n NAMESPACE)", query->uid);
    return error_set(err, ERROR_FORMAT, "no run of %s/%s is on record", query->namespace, query->job);
}

static int show_from(struct history *history, const struct history_args *request, struct error *err) {
    struct sink sink = {.request = request};
    int result = history_each(history, &request->query, show_row, &sink, err);
    if (result < 0)
        return -1;
    if (sink.rows == 0)
        return not_on_record(&request->query, err);
    if (request->output == OUTPUT_JSON)
        fputs(request->all ? "\n]\n" : "\n", stdout);
    if (request->output == OUTPUT_TABLE && !request->manifest && !request->all && sink.rows > 1) {
        char others[96];
        snprintf(others, sizeof others, "%lld older %s on record (--all shows them)", (long long)sink.rows - 1,
                sink.rows == 2 ? "run is" : "runs are");
        history_print_label(stdout, "Others", others);
    }
    return finish_output(&sink, err);
}

/* ---- the subcommands ---- */

static int with_register(const struct command_spec *spec, const struct history_args *request,
        int (*use)(struct history *history, const struct history_args *request, struct error *err)) {
    struct error err = {0};
    struct history *history;
    if (open_register(request, &history, &err) < 0)
        return fail(spec, &err);
    int result = use(history, request, &err);
    history_close(history);
    return result < 0 ? fail(spec, &err) : EXIT_DONE;
}

static int history_list(int argc, char **argv) {
    struct history_args args;
    struct error err = {0};
    int parsed = history_args_list(argc, argv, clock_wall_ms(), &args, &err);
    if (parsed == OPTIONS_DONE)
        return EXIT_DONE;
    const struct command_spec *spec = &history_args_list_spec;
    return parsed < 0 ? fail(spec, &err) : with_register(spec, &args, list_from);
}

static int history_show(int argc, char **argv) {
    struct history_args args;
    struct error err = {0};
    int parsed = history_args_show(argc, argv, clock_wall_ms(), &args, &err);
    if (parsed == OPTIONS_DONE)
        return EXIT_DONE;
    const struct command_spec *spec = &history_args_show_spec;
    return parsed < 0 ? fail(spec, &err) : with_register(spec, &args, show_from);
}

int cmd_history(int argc, char **argv) {
    struct error err = {0};
    if (argc > 1 && strcmp(argv[1], "list") == 0)
        return history_list(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "show") == 0)
        return history_show(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "verify") == 0)
        return history_verify_command(argc - 1, argv + 1);
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        options_print_help(&history_spec, stdout);
        return EXIT_DONE;
    }
    if (argc > 1)
        error_set(&err, ERROR_USAGE, "unknown subcommand '%s': use list, show or verify (see 'sexton history --help')",
                argv[1]);
    else
        error_set(&err, ERROR_USAGE, "which subcommand? Use list, show or verify (see 'sexton history --help')");
    return fail(&history_spec, &err);
}
