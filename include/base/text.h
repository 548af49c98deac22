/*
 * text: strings that came from elsewhere, made fit for a terminal, a log or a CSV file. Pure, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"

#define TEXT_ALL ((size_t)-1)

/* Well-formed UTF-8 as of RFC 3629: no overlong forms, no surrogates. */
bool text_is_utf8(const char *text, size_t len);
/* Append text with each byte that is not of well-formed UTF-8 as U+FFFD: what Go writes into JSON in its place. */
void text_add_repaired(struct strbuf *buf, const char *text, size_t len);

/* Append text with control characters (C0, DEL, C1, line and paragraph separators, and the bidirectional overrides that
 * can make a terminal show a lie) written as \n, \t, \xNN or \uNNNN, a backslash as \\, and bytes that are not UTF-8 as
 * \xNN. At most max characters are shown, then "...": TEXT_ALL for no cut. */
void text_add_escaped(struct strbuf *buf, const char *text, size_t max);

/* In decimal. Returns buf. */
#define TEXT_NUMBER_MAX 21 /* 20 digits and NUL */
const char *text_from_number(uint64_t number, char buf[TEXT_NUMBER_MAX]);

/* Columns on a terminal, as far as counting code points tells. */
size_t text_width(const char *text);

/* A CSV field as of RFC 4180: quoted when it has a comma, a quote or a line break. */
void text_add_csv(struct strbuf *buf, const char *text);

/* A JSON string with its quotes. What is not UTF-8 becomes U+FFFD. */
void text_add_json(struct strbuf *buf, const char *text);
/* The same with nothing escaped but what JSON demands, as jansson writes it: for programs. It must be UTF-8, and may
 * have a NUL inside. */
void text_add_json_exact(struct strbuf *buf, const char *text, size_t len);

/* The next word of a list separated by commas or white space: NULL at the end, else its start, with ret_len. Advances
 * *at. */
const char *text_list_next(const char **at, size_t *ret_len);

/* Whether text matches one of the globs (fnmatch(3); a * matches slashes too) of such a list. */
bool text_matches_list(const char *list, const char *text);
