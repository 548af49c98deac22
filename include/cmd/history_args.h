/*
 * history_args: the command lines of 'sexton history list' and 'sexton history show'. Pure; no register is touched.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "cmd/options.h"
#include "history/history.h"

#define HISTORY_ARGS_TABLE_LIMIT 50         /* rows for people, unless they ask: a screen or two, of the newest */
#define HISTORY_ARGS_LIMIT_MAX 1000000000LL /* more than a register holds */

/* What the command line of either subcommand says. Texts are borrowed from argv. */
struct history_args {
    struct history_query query;
    const char *config, *store;
    bool all, manifest;
    bool limit_given;
    enum output_format output;
    int64_t now_ms;
};

extern const struct command_spec history_args_list_spec, history_args_show_spec;

/* now_ms: what "7d ago" is counted from. argv[0] is the subcommand's name. May write into argv. 0, OPTIONS_DONE, or -1
 * with a usage error. */
int history_args_list(int argc, char **argv, int64_t now_ms, struct history_args *ret, struct error *err) must_check;
int history_args_show(int argc, char **argv, int64_t now_ms, struct history_args *ret, struct error *err) must_check;
