/*
 * history_print: runs of the register, as lines for people and as records for programs.
 *
 * One table of fields makes the JSON keys, the CSV columns and the lines of show, so that they cannot drift apart. Text
 * from the cluster is escaped where a person may look at it. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/table.h"
#include "history/history.h"

/* For table_create. */
const char *const *history_print_columns(bool wide);
/* A row of that table; wide has absolute times. now_ms: Unix ms, for ages. */
int history_print_table(
        struct table *table, const struct history_row *row, bool wide, int64_t now_ms, struct error *err) must_check;

void history_print_csv_header(FILE *out);
int history_print_csv(FILE *out, const struct history_row *row, struct error *err) must_check;

/* An object without a line break after it: in one line, or a line for each key. */
int history_print_json(FILE *out, const struct history_row *row, bool lines, struct error *err) must_check;

/* "Key: value" lines of all that is known. */
int history_print_text(FILE *out, const struct history_row *row, int64_t now_ms, struct error *err) must_check;
/* One more such line, aligned with the others. */
void history_print_label(FILE *out, const char *label, const char *text);

/* The stored manifest. An error when there is none, or when it is not JSON. */
int history_print_manifest(FILE *out, const struct history_row *row, struct error *err) must_check;
