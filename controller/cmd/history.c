#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/strbuf.h"
#include "base/table.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "cmd/commands.h"
#include "cmd/config.h"
#include "cmd/history_print.h"
#include "cmd/history_verify.h"
#include "cmd/options.h"
#include "history/history.h"

#define EXIT_DONE 0
#define EXIT_FAILED 1
#define EXIT_USAGE 2

#define TABLE_LIMIT 50         /* rows for people, unless they ask: a screen or two, of the newest */
#define LIMIT_MAX 1000000000LL /* more than a register holds */
#define STOP 1                 /* what a callback returns to see no more rows */

/* What the command line of either subcommand says. Texts are borrowed from argv. */
struct request {
    struct history_query query;
    const char *config, *store;
    bool all, manifest;
    bool limit_given;
    enum output_format output;
    int64_t now_ms;
};

#define REGISTER_OPTIONS \
    {"config", 0, "FILE", "take the store from this configuration"}, { \
        "store", 0, "LOCATION", "the register itself, such as sqlite:/var/lib/sexton/history.db" \
    }

static const struct command_spec list_spec = {
        .name = "history list",
        .synopsis = "[-n NS] [--job GLOB] [--outcome OUTCOME] [--since WHEN] [-o FORMAT]",
        .about = "List the runs on record, newest first. Reads the register alone: no controller and no API server is "
                 "needed,\n"
                 "and a controller at work is not disturbed.",
        .options =
                (const struct option_spec[]){
                        {"namespace", 'n', "NS", "only of this namespace"},
                        {"job", 0, "GLOB", "only Jobs of this name; * and ? stand for others"},
                        {"cronjob", 0, "GLOB", "only Jobs of this CronJob; * and ? as above"},
                        {"outcome", 0, "OUTCOME", "Succeeded or Failed"},
                        {"since", 0, "WHEN",
                                "finished at this time or later: 2026-01-31T12:00:00Z, 2026-01-31, or 7d (that long "
                                "ago)"},
                        {"until", 0, "WHEN", "finished before this time"},
                        {"limit", 0, "N", "at most this many; 0 for all (50 in tables, else all)"},
                        {"output", 'o', "FORMAT", "table, wide, json or csv"},
                        REGISTER_OPTIONS,
                        {0},
                },
        .more = "A run that was deleted before it finished counts by its deletion. json and csv have every column, "
                "with times\n"
                "in RFC 3339.\n\n"
                "  sexton history list -n ml --outcome failed --since 7d\n"
                "  sexton history list --cronjob 'backup-*' -o json | jq '.[].durationMs'",
};

static const struct command_spec show_spec = {
        .name = "history show",
        .synopsis = "NAMESPACE/JOB | JOB -n NS | UID",
        .about = "Show all that is on record of a run: of several of one name, the newest.",
        .options =
                (const struct option_spec[]){
                        {"namespace", 'n', "NS", "the Job's namespace"},
                        {"all", 0, NULL, "every run of that name, newest first"},
                        {"output", 'o', "FORMAT", "text, json, or manifest (the Job to create again)"},
                        REGISTER_OPTIONS,
                        {0},
                },
        .more = "  sexton history show ml/train-7 -o manifest | kubectl create -f -",
};

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

/* ---- the command line ---- */

/* A time, a day (its first moment in UTC), or how long ago. */
static int parse_when(const char *option, const char *value, int64_t now_ms, int64_t *ret_ms, struct error *err) {
    int64_t ago_ms;
    char midnight[TIMESTAMP_TEXT_MAX];
    if (duration_parse(value, &ago_ms, NULL) == 0 && ago_ms != DURATION_NEVER) {
        *ret_ms = now_ms - ago_ms;
        return 0;
    }
    if (strlen(value) == strlen("2026-01-31")) {
        snprintf(midnight, sizeof midnight, "%sT00:00:00Z", value);
        if (timestamp_parse(midnight, ret_ms, NULL) == 0)
            return 0;
    }
    if (timestamp_parse(value, ret_ms, NULL) == 0)
        return 0;
    return error_set(err, ERROR_USAGE,
            "%s: '%s' is neither a time like 2026-01-31T12:00:00Z or 2026-01-31 nor a duration ago like 7d", option,
            value);
}

static int parse_outcome(const char *value, int *ret, struct error *err) {
    for (int outcome = OUTCOME_SUCCEEDED; outcome <= OUTCOME_FAILED; outcome++) {
        if (strcasecmp(value, outcome_name((enum outcome)outcome)) == 0) {
            *ret = outcome;
            return 0;
        }
    }
    return error_set(err, ERROR_USAGE, "--outcome: '%s' is not Succeeded or Failed", value);
}

/* An empty name would silently mean a filter that nothing passes. */
static int take_name(const char *option, const char *value, const char **ret, struct error *err) {
    if (!*value)
        return error_set(err, ERROR_USAGE, "--%s: the value is empty", option);
    *ret = value;
    return 0;
}

/* The options that both subcommands have. 1: it was another. */
static int set_common(struct request *request, const struct option_spec *option, const char *value, struct error *err) {
    if (strcmp(option->name, "namespace") == 0)
        return take_name(option->name, value, &request->query.namespace, err);
    if (strcmp(option->name, "config") == 0)
        return take_name(option->name, value, &request->config, err);
    if (strcmp(option->name, "store") == 0)
        return take_name(option->name, value, &request->store, err);
    return 1;
}

static int set_list(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    struct request *request = arg;
    struct history_query *query = &request->query;
    int common = set_common(request, option, value, err);
    if (common <= 0)
        return common;
    if (strcmp(option->name, "job") == 0)
        return take_name(option->name, value, &query->job, err);
    if (strcmp(option->name, "cronjob") == 0)
        return take_name(option->name, value, &query->cronjob, err);
    if (strcmp(option->name, "outcome") == 0)
        return parse_outcome(value, &query->outcome, err);
    if (strcmp(option->name, "since") == 0)
        return parse_when("--since", value, request->now_ms, &query->since_ms, err);
    if (strcmp(option->name, "until") == 0)
        return parse_when("--until", value, request->now_ms, &query->until_ms, err);
    if (strcmp(option->name, "limit") == 0) {
        request->limit_given = true;
        return options_parse_number("--limit", value, 0, LIMIT_MAX, &query->limit, err);
    }
    return options_parse_output(value, &request->output, err);
}

static int set_show(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    struct request *request = arg;
    int common = set_common(request, option, value, err);
    if (common <= 0)
        return common;
    if (strcmp(option->name, "all") == 0) {
        request->all = true;
        return 0;
    }
    request->manifest = strcmp(value, "manifest") == 0;
    request->output = strcmp(value, "json") == 0 ? OUTPUT_JSON : OUTPUT_TABLE;
    if (request->manifest || request->output == OUTPUT_JSON || strcmp(value, "text") == 0)
        return 0;
    return error_set(err, ERROR_USAGE, "-o: '%s' is not text, json or manifest", value);
}

/* Splits NAMESPACE/JOB in place. */
static int take_target(struct request *request, char *target, struct error *err) {
    struct history_query *query = &request->query;
    char *slash = strchr(target, '/');
    if (!*target || slash == target || (slash && (!slash[1] || strchr(slash + 1, '/'))))
        return error_set(err, ERROR_USAGE, "'%s' is not NAMESPACE/JOB, JOB or UID", target);
    if (strpbrk(target, "*?"))
        return error_set(err, ERROR_USAGE, "'%s' is a pattern: 'sexton history list --job' takes those", target);
    if (slash && query->namespace &&
            (strncmp(query->namespace, target, (size_t)(slash - target)) != 0 || query->namespace[slash - target]))
        return error_set(err, ERROR_USAGE, "'%s' is in another namespace than -n %s", target, query->namespace);
    if (slash) {
        *slash = '\0';
        query->namespace = target;
        query->job = slash + 1;
    } else if (query->namespace) {
        query->job = target;
    } else {
        query->uid = target;
    }
    return 0;
}

/* ---- the register ---- */

static int open_register(const struct request *request, struct history **ret, struct error *err) {
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
    const struct request *request;
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
    const struct request *request = sink->request;
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

static void print_head(const struct request *request) {
    if (request->output == OUTPUT_JSON)
        fputc('[', stdout);
    else if (request->output == OUTPUT_CSV)
        history_print_csv_header(stdout);
}

static int print_tail(struct sink *sink, struct error *err) {
    const struct request *request = sink->request;
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

static int list_from(struct history *history, const struct request *request, struct error *err) {
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

static int show_from(struct history *history, const struct request *request, struct error *err) {
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

static void request_init(struct request *request) {
    *request = (struct request){
            .query = {.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE},
            .output = OUTPUT_TABLE,
            .now_ms = clock_wall_ms(),
    };
}

static int with_register(const struct command_spec *spec, const struct request *request,
        int (*use)(struct history *history, const struct request *request, struct error *err)) {
    struct error err = {0};
    struct history *history;
    if (open_register(request, &history, &err) < 0)
        return fail(spec, &err);
    int result = use(history, request, &err);
    history_close(history);
    return result < 0 ? fail(spec, &err) : EXIT_DONE;
}

static int history_list(int argc, char **argv) {
    struct request request;
    struct error err = {0};
    int rest;
    request_init(&request);
    int parsed = options_parse(&list_spec, argc, argv, set_list, &request, &rest, &err);
    if (parsed == OPTIONS_DONE)
        return EXIT_DONE;
    if (parsed == 0 && rest < argc)
        parsed = error_set(
                &err, ERROR_USAGE, "'%s' is not an option: to list the runs of one Job, use --job", argv[rest]);
    if (parsed < 0)
        return fail(&list_spec, &err);
    if (!request.limit_given && (request.output == OUTPUT_TABLE || request.output == OUTPUT_WIDE))
        request.query.limit = TABLE_LIMIT;
    return with_register(&list_spec, &request, list_from);
}

static int history_show(int argc, char **argv) {
    struct request request;
    struct error err = {0};
    int rest;
    request_init(&request);
    int parsed = options_parse(&show_spec, argc, argv, set_show, &request, &rest, &err);
    if (parsed == OPTIONS_DONE)
        return EXIT_DONE;
    if (parsed == 0 && rest == argc)
        parsed = error_set(&err, ERROR_USAGE, "which run? Name it as NAMESPACE/JOB, JOB -n NS, or UID");
    else if (parsed == 0 && rest + 1 < argc)
        parsed = error_set(&err, ERROR_USAGE, "one run at a time: '%s' is too much", argv[rest + 1]);
    else if (parsed == 0 && request.manifest && request.all)
        parsed = error_set(&err, ERROR_USAGE, "-o manifest is for one run: leave --all out");
    if (parsed == 0)
        parsed = take_target(&request, argv[rest], &err);
    return parsed < 0 ? fail(&show_spec, &err) : with_register(&show_spec, &request, show_from);
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
