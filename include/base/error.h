/*
 * error: what went wrong, as a value that travels up to whoever decides.
 *
 * The caller owns a struct error (usually on its stack) and passes it last; NULL is allowed when the text does not
 * matter. Lower layers set it and add context on the way up; the layer that decides prints or logs it. No allocation,
 * so that "out of memory" can be told too. Any thread.
 */
#pragma once

#include <stddef.h>

#define ERROR_TEXT_MAX 512 /* a line for a person; longer texts are cut with "..." */

#define must_check __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))

enum error_kind {
    ERROR_NONE = 0,
    ERROR_USAGE,  /* command line or configuration: exit 2 */
    ERROR_FORMAT, /* input that cannot be understood */
    ERROR_IO,     /* the operating system refused */
    ERROR_REMOTE, /* the other side refused or did not answer */
    ERROR_NOMEM,  /* allocation failed */
    ERROR_LIMIT   /* a named limit was passed */
};

struct error {
    enum error_kind kind;
    char text[ERROR_TEXT_MAX];
};

/* Set kind and text. Returns -1, so that "return error_set(...)" reads well. */
int error_set(struct error *err, enum error_kind kind, const char *fmt, ...) printf_like(3, 4);

/* Put "context: " before the text. Returns -1. */
int error_context(struct error *err, const char *fmt, ...) printf_like(2, 3);

/* Shorthand for the one error without details. Returns -1. */
int error_nomem(struct error *err);
