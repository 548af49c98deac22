#include "cmd/history_args.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/timestamp.h"

#define REGISTER_OPTIONS \
    {"config", 0, "FILE", "take the store from this configuration"}, { \
        "store", 0, "LOCATION", "the register itself, such as sqlite:/var/lib/sexton/history.db" \
    }

const struct command_spec history_args_list_spec = {
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

const struct command_spec history_args_show_spec = {
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
        .more = "A manifest is on record if the configuration said 'manifest = true' under [history] when the run was "
                "recorded.\n\n"
                "  sexton history show ml/train-7 -o manifest | kubectl create -f -",
};

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
static int set_common(
        struct history_args *args, const struct option_spec *option, const char *value, struct error *err) {
    if (strcmp(option->name, "namespace") == 0)
        return take_name(option->name, value, &args->query.namespace, err);
    if (strcmp(option->name, "config") == 0)
        return take_name(option->name, value, &args->config, err);
    if (strcmp(option->name, "store") == 0)
        return take_name(option->name, value, &args->store, err);
    return 1;
}

static int set_list(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    struct history_args *args = arg;
    struct history_query *query = &args->query;
    int common = set_common(args, option, value, err);
    if (common <= 0)
        return common;
    if (strcmp(option->name, "job") == 0)
        return take_name(option->name, value, &query->job, err);
    if (strcmp(option->name, "cronjob") == 0)
        return take_name(option->name, value, &query->cronjob, err);
    if (strcmp(option->name, "outcome") == 0)
        return parse_outcome(value, &query->outcome, err);
    if (strcmp(option->name, "since") == 0)
        return parse_when("--since", value, args->now_ms, &query->since_ms, err);
    if (strcmp(option->name, "until") == 0)
        return parse_when("--until", value, args->now_ms, &query->until_ms, err);
    if (strcmp(option->name, "limit") == 0) {
        args->limit_given = true;
        return options_parse_number("--limit", value, 0, HISTORY_ARGS_LIMIT_MAX, &query->limit, err);
    }
    return options_parse_output(value, &args->output, err);
}

static int set_show(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    struct history_args *args = arg;
    int common = set_common(args, option, value, err);
    if (common <= 0)
        return common;
    if (strcmp(option->name, "all") == 0) {
        args->all = true;
        return 0;
    }
    args->manifest = strcmp(value, "manifest") == 0;
    args->output = strcmp(value, "json") == 0 ? OUTPUT_JSON : OUTPUT_TABLE;
    if (args->manifest || args->output == OUTPUT_JSON || strcmp(value, "text") == 0)
        return 0;
    return error_set(err, ERROR_USAGE, "-o: '%s' is not text, json or manifest", value);
}

/* Splits NAMESPACE/JOB in place. */
static int take_target(struct history_args *args, char *target, struct error *err) {
    struct history_query *query = &args->query;
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

static void init(struct history_args *args, int64_t now_ms) {
    *args = (struct history_args){
            .query = {.outcome = -1, .since_ms = TIME_NONE, .until_ms = TIME_NONE},
            .output = OUTPUT_TABLE,
            .now_ms = now_ms,
    };
}

int history_args_list(int argc, char **argv, int64_t now_ms, struct history_args *ret, struct error *err) {
    struct history_args args;
    int rest;
    init(&args, now_ms);
    int parsed = options_parse(&history_args_list_spec, argc, argv, set_list, &args, &rest, err);
    if (parsed == 0 && rest < argc)
        parsed = error_set(
                err, ERROR_USAGE, "'%s' is not an option: to list the runs of one Job, use --job", argv[rest]);
    if (parsed != 0)
        return parsed;
    if (!args.limit_given && (args.output == OUTPUT_TABLE || args.output == OUTPUT_WIDE))
        args.query.limit = HISTORY_ARGS_TABLE_LIMIT;
    *ret = args;
    return 0;
}

int history_args_show(int argc, char **argv, int64_t now_ms, struct history_args *ret, struct error *err) {
    struct history_args args;
    int rest;
    init(&args, now_ms);
    int parsed = options_parse(&history_args_show_spec, argc, argv, set_show, &args, &rest, err);
    if (parsed == 0 && rest == argc)
        parsed = error_set(err, ERROR_USAGE, "which run? Name it as NAMESPACE/JOB, JOB -n NS, or UID");
    else if (parsed == 0 && rest + 1 < argc)
        parsed = error_set(err, ERROR_USAGE, "one run at a time: '%s' is too much", argv[rest + 1]);
    else if (parsed == 0 && args.manifest && args.all)
        parsed = error_set(err, ERROR_USAGE, "-o manifest is for one run: leave --all out");
    if (parsed == 0)
        parsed = take_target(&args, argv[rest], err);
    if (parsed == 0)
        *ret = args;
    return parsed;
}
