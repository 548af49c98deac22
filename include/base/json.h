/*
 * json: jansson's parser, with the reason when it fails.
 *
 * jansson calls some failed allocations a syntax error, says nothing of others, and after one in the middle of a string
 * goes on without a character (lex_save in its load.c). What is not JSON is left alone for good, while memory may be
 * there again the next time, and a text with a hole must not be believed. Any thread.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/error.h"

/* flags: as for json_loadb. A new reference; NULL with ERROR_NOMEM, or with ERROR_FORMAT and jansson's words, which may
 * quote the text. ret_line, which may be NULL: where it stopped to be JSON. */
json_t *json_read(const char *text, size_t len, size_t flags, int *ret_line, struct error *err) must_check;
