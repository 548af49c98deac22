#include "cmd/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HELP_VALUE 256 /* getopt value of --help: past every letter */

static size_t count_options(const struct option_spec *options) {
    size_t n = 0;
    while (options[n].name)
        n++;
    return n;
}

void options_print_help(const struct command_spec *spec, FILE *out) {
    fprintf(out, "Usage: sexton %s %s\n\n%s\n\nOptions:\n", spec->name, spec->synopsis, spec->about);
    for (const struct option_spec *o = spec->options; o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "%c%c%s --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
                o->letter ? "," : " ", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
        fprintf(out, "  %-28s %s\n", left, o->help);
    }
    fprintf(out, "  %-28s %s\n", "-h, --help", "show this");
    if (spec->more)
        fprintf(out, "\n%s\n", spec->more);
}

static const struct option_spec *find_letter(const struct option_spec *options, int letter) {
    for (; options->name; options++) {
        if (options->letter && options->letter == letter)
            return options;
    }
    return NULL;
}

static int bad_option(const struct command_spec *spec, int why, char **argv, struct error *err) {
    const char *word = argv[optind - 1];
    if (why == ':')
        return error_set(err, ERROR_USAGE, "option '%s' needs a value (see 'sexton %s --help')", word, spec->name);
    const char *equals = strchr(word, '=');
    size_t len = equals ? (size_t)(equals - word) : 0;
    /* getopt says '?' of this as well, and names the option. */
    if (optopt >= HELP_VALUE && len > 2 && strncmp(word, "--", 2) == 0)
        return error_set(
                err, ERROR_USAGE, "option '%.*s' takes no value (see 'sexton %s --help')", (int)len, word, spec->name);
    if (optopt > 0 && optopt < HELP_VALUE && strncmp(word, "--", 2) != 0)
        return error_set(err, ERROR_USAGE, "unknown option '-%c' (see 'sexton %s --help')", optopt, spec->name);
    return error_set(err, ERROR_USAGE, "unknown option '%s' (see 'sexton %s --help')", word, spec->name);
}

int options_parse(const struct command_spec *spec, int argc, char **argv,
        int (*set)(void *arg, const struct option_spec *option, const char *value, struct error *err), void *arg,
        int *ret_rest, struct error *err) {
    size_t n = count_options(spec->options), at = 0;
    struct option longs[n + 2];       /* --help and the end besides */
    char shorts[n * 2 + sizeof ":h"]; /* a letter and a colon each */
    shorts[at++] = ':';               /* tell a missing value from an unknown option */
    shorts[at++] = 'h';
    for (size_t i = 0; i < n; i++) {
        const struct option_spec *o = &spec->options[i];
        longs[i] =
                (struct option){o->name, o->argument ? required_argument : no_argument, NULL, HELP_VALUE + 1 + (int)i};
        if (o->letter) {
            shorts[at++] = o->letter;
            if (o->argument)
                shorts[at++] = ':';
        }
    }
    shorts[at] = '\0';
    longs[n] = (struct option){"help", no_argument, NULL, HELP_VALUE};
    longs[n + 1] = (struct option){0};
    opterr = 0;
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (c == 'h' || c == HELP_VALUE) {
            options_print_help(spec, stdout);
            return OPTIONS_DONE;
        }
        if (c == '?' || c == ':')
            return bad_option(spec, c, argv, err);
        const struct option_spec *o =
                c > HELP_VALUE ? &spec->options[c - HELP_VALUE - 1] : find_letter(spec->options, c);
        /* kubectl takes -o=json too; but "-n =x" is the value =x */
        bool attached = optarg && c < HELP_VALUE && optarg != argv[optind - 1];
        const char *value = attached && *optarg == '=' ? optarg + 1 : optarg;
        if (set(arg, o, value, err) < 0)
            return -1;
    }
    *ret_rest = optind;
    return 0;
}

int options_parse_number(
        const char *option, const char *value, int64_t least, int64_t most, int64_t *ret, struct error *err) {
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (!*value || *end || errno || strchr(" \t\n", *value) || number < least || number > most)
        return error_set(err, ERROR_USAGE, "%s: '%s' is not a whole number from %lld to %lld", option, value,
                (long long)least, (long long)most);
    *ret = number;
    return 0;
}

int options_parse_output(const char *value, enum output_format *ret, struct error *err) {
    static const char *const names[] = {"table", "wide", "json", "csv"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(value, names[i]) == 0) {
            *ret = (enum output_format)i;
            return 0;
        }
    }
    return error_set(err, ERROR_USAGE, "-o: '%s' is not table, wide, json or csv", value);
}
