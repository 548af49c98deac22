/*
 * config_options: the one table of what can be configured: where each option stands, its type, default and range, what
 * it means, and how its text becomes a value of struct config. Parsing, --help, `sexton check` and the README's
 * reference all come from it. Loop thread; for config.c, others use config.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define CONFIG_OPTIONS_MAX 64 /* rows of the table, so that others can keep an array, or bits, beside it */
#define CONFIG_NAMESPACE_SECTION "namespace GLOB"

enum config_kind {
    KIND_TEXT,
    KIND_LIST, /* words; can go on in indented lines */
    KIND_NUMBER,
    KIND_DURATION,
    KIND_BOOL,
    KIND_KEEP, /* keep or delete: a bool, true for keep */
    KIND_LOG_LEVEL,
    KIND_LOG_FORMAT,
    KIND_PREFIX,
    KIND_TTL
};

struct config_option {
    const char *section, *key;
    enum config_kind kind;
    const char *preset; /* as one would write it; NULL for what has none of its own: an option of a [namespace GLOB] */
    int64_t least, most;
    const char *(*check)(const char *text); /* says what is wrong with a text, NULL if nothing */
    bool reloadable;
    size_t offset;      /* in struct config, or in struct policy_section */
    size_t line_offset; /* in struct config: an int that is told the line; 0: nobody asks. A TTL has its own */
    const char *help;
};

extern const struct config_option config_options[];
extern const size_t config_options_count;

/* base: the struct config, or the struct policy_section, that the option's offset counts from. line: of the file, or 0.
 * Errors: ERROR_USAGE, naming the key. */
int config_option_set(
        const struct config_option *option, const char *value, int line, void *base, struct error *err) must_check;
/* Free what the value owns. */
void config_option_release(const struct config_option *option, void *base);
/* Whether two struct config have the same value. */
bool config_option_equal(const struct config_option *option, const void *config, const void *other);
/* Exchange the values, and the lines they came from, of two struct config. */
void config_option_swap(const struct config_option *option, void *config, void *other);

/* RFC 1123, as far as one character goes. */
bool config_is_lower_alnum(char c);
