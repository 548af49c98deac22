/*
 * options: one table a command, from which parsing, --help and error messages come. Any thread.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

struct option_spec {
    const char *name;     /* "namespace" for --namespace; NULL ends the table */
    char letter;          /* 'n' for -n, or 0 */
    const char *argument; /* "NS" when it takes one, NULL for a flag */
    const char *help;     /* one line */
};

struct command_spec {
    const char *name;     /* "plan", or "history list" */
    const char *synopsis; /* "[-n NS] [-f FILE]" */
    const char *about;    /* one or more lines, without the last line break */
    const struct option_spec *options;
    const char *more; /* printed after the options (examples, exit codes), or NULL */
};

enum { OPTIONS_DONE = 1 }; /* --help was printed: exit 0 */

/* Calls set for each option found, in order, with its row in the table and its value (NULL for a flag). --help and -h
 * are handled here. ret_rest: index of the first operand. 0, OPTIONS_DONE, or -1 with a usage error. */
int options_parse(const struct command_spec *spec, int argc, char **argv,
        int (*set)(void *arg, const struct option_spec *option, const char *value, struct error *err), void *arg,
        int *ret_rest, struct error *err) must_check;
void options_print_help(const struct command_spec *spec, FILE *out);

/* A whole number from least to most, or a usage error that names the option. */
int options_parse_number(
        const char *option, const char *value, int64_t least, int64_t most, int64_t *ret, struct error *err) must_check;

enum output_format { OUTPUT_TABLE, OUTPUT_WIDE, OUTPUT_JSON, OUTPUT_CSV };
/* -o: table, wide, json, csv. */
int options_parse_output(const char *value, enum output_format *ret, struct error *err) must_check;
