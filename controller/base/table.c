#include "base/table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "base/text.h"

#define CELL_BYTES_MAX (1u << 20) /* an annotation is at most 256 kB; escaped at most four times that */

struct cell {
    char *text; /* NULL: no value */
    const char *sgr;
};

struct table {
    const char *const *columns;
    size_t n_columns;
    struct cell *cells; /* row after row */
    size_t n_cells, capacity;
};

struct table *table_create(const char *const *columns, struct error *err) {
    struct table *table = calloc(1, sizeof *table);
    if (!table) {
        error_nomem(err);
        return NULL;
    }
    table->columns = columns;
    do
        table->n_columns++;
    while (columns[table->n_columns]);
    return table;
}

void table_destroy(struct table *table) {
    if (!table)
        return;
    for (size_t i = 0; i < table->n_cells; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}

int table_add(struct table *table, const char *text, struct error *err) {
    if (table->n_cells == table->capacity) {
        size_t capacity = table->capacity ? table->capacity * 2 : 64;
        struct cell *cells = realloc(table->cells, capacity * sizeof *cells);
        if (!cells)
            return error_nomem(err);
        table->cells = cells;
        table->capacity = capacity;
    }
    char *copy = NULL;
    if (text && !(copy = strdup(text)))
        return error_nomem(err);
    table->cells[table->n_cells++] = (struct cell){.text = copy};
    return 0;
}

void table_color(struct table *table, const char *sgr) {
    if (table->n_cells)
        table->cells[table->n_cells - 1].sgr = sgr;
}

/* False when memory ran out. What is longer than the buffer lets it be is cut. */
static bool escape_cell(struct strbuf *buf, const struct cell *cell) {
    strbuf_clear(buf);
    text_add_escaped(buf, cell->text && *cell->text ? cell->text : "-", TEXT_ALL);
    return !buf->no_memory;
}

static void print_padding(FILE *out, size_t n) {
    for (; n > 0; n--)
        fputc(' ', out);
}

/* The width of each column, or NULL: no memory. The buffer is large enough for each cell afterwards. */
static size_t *measure(const struct table *table, struct strbuf *buf) {
    size_t *widths = calloc(table->n_columns, sizeof *widths);
    if (!widths)
        return NULL;
    for (size_t c = 0; c < table->n_columns; c++)
        widths[c] = strlen(table->columns[c]);
    for (size_t i = 0; i < table->n_cells; i++) {
        if (!escape_cell(buf, &table->cells[i])) {
            free(widths);
            return NULL;
        }
        size_t width = text_width(strbuf_text(buf));
        if (width > widths[i % table->n_columns])
            widths[i % table->n_columns] = width;
    }
    return widths;
}

int table_print(const struct table *table, FILE *out, bool colors, struct error *err) {
    struct strbuf buf = STRBUF_INIT(CELL_BYTES_MAX);
    size_t *widths = measure(table, &buf);
    if (!widths) {
        strbuf_finish(&buf);
        return error_nomem(err);
    }
    for (size_t c = 0; c < table->n_columns; c++) {
        for (const char *at = table->columns[c]; *at; at++)
            fputc(toupper((unsigned char)*at), out);
        if (c + 1 < table->n_columns)
            print_padding(out, widths[c] - strlen(table->columns[c]) + 2);
    }
    fputc('\n', out);
    for (size_t i = 0, c = 0; i < table->n_cells; i++, c = c + 1 < table->n_columns ? c + 1 : 0) {
        const struct cell *cell = &table->cells[i];
        (void)!escape_cell(&buf, cell);
        if (colors && cell->sgr)
            fprintf(out, "\033[%sm%s\033[0m", cell->sgr, strbuf_text(&buf));
        else
            fputs(strbuf_text(&buf), out);
        if (c + 1 < table->n_columns)
            print_padding(out, widths[c] - text_width(strbuf_text(&buf)) + 2);
        else
            fputc('\n', out);
    }
    strbuf_finish(&buf);
    free(widths);
    return 0;
}

static bool print_csv_field(struct strbuf *buf, const char *text, bool last, FILE *out) {
    strbuf_clear(buf);
    text_add_csv(buf, text);
    if (buf->no_memory)
        return false;
    fprintf(out, "%s%s", strbuf_text(buf), last ? "\n" : ",");
    return true;
}

int table_print_csv(const struct table *table, FILE *out, struct error *err) {
    struct strbuf buf = STRBUF_INIT(CELL_BYTES_MAX);
    bool ok = true;
    for (size_t c = 0; c < table->n_columns && ok; c++)
        ok = print_csv_field(&buf, table->columns[c], c + 1 == table->n_columns, out);
    for (size_t i = 0; i < table->n_cells && ok; i += table->n_columns) {
        for (size_t c = 0; c < table->n_columns && ok; c++) {
            const char *text = i + c < table->n_cells ? table->cells[i + c].text : NULL;
            ok = print_csv_field(&buf, text ? text : "", c + 1 == table->n_columns, out);
        }
    }
    strbuf_finish(&buf);
    return ok ? 0 : error_nomem(err);
}

bool terminal_has_colors(FILE *out) {
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return isatty(fileno(out)) && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
}
