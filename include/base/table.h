/*
 * table: rows for people (aligned columns) or for programs (CSV). Any thread.
 *
 * The caller fills a row cell by cell, then prints. Cells are copied; text is escaped on the way out (text.h), so that
 * what came from the cluster cannot move a cursor. JSON is written by the commands themselves: its types differ.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

struct table;

/* columns: at least one header text, NULL-terminated, borrowed until destroy. */
struct table *table_create(const char *const *columns, struct error *err);
void table_destroy(struct table *table);
/* Appends a cell, a new row starting by itself after the last column. NULL is shown as "-" (nothing in CSV). */
int table_add(struct table *table, const char *text, struct error *err) must_check;
/* Colour the cell added last, where colours are shown: an SGR code such as "31", static. */
void table_color(struct table *table, const char *sgr);
/* Headers in upper case, two spaces between columns, the last column not padded. -1: memory ran out, and the output is
 * not whole; what the file itself did not take, ferror tells. */
int table_print(const struct table *table, FILE *out, bool colors, struct error *err) must_check;
/* Quoted as of RFC 4180, with a header line and \n line ends; control characters stand as they are, as programs want
 * the value. */
int table_print_csv(const struct table *table, FILE *out, struct error *err) must_check;

/* Colours only when out is a terminal, NO_COLOR is unset or empty, and TERM is not "dumb". */
bool terminal_has_colors(FILE *out);
