#include "cmd/history_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/strbuf.h"
#include "base/table.h"
#include "base/text.h"
#include "cmd/common.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "history/history.h"

#define EXAMPLES_TEXT_MAX 2048
#define JSON_TEXT_MAX 65536

struct verify_command {
    const char *config, *store;
    bool quick, json;
    /* what was found */
    struct table *table;
    struct strbuf findings; /* JSON */
    int64_t problems, notes;
};

static const struct command_spec spec = {
        .name = "history verify",
        .synopsis = "[--quick] [-o FORMAT] [--store LOCATION]",
        .about = "Checks that the register is whole and that its rows make sense. Changes nothing; a controller at "
                 "work is\n"
                 "not disturbed, but on a large register this takes a while and reads all of it.",
        .options =
                (const struct option_spec[]){
                        {"quick", 0, NULL, "do not compare the indexes with the rows"},
                        {"output", 'o', "FORMAT", "table or json"},
                        {"config", 0, "FILE", "take the store from this configuration"},
                        {"store", 0, "LOCATION", "the register itself, such as sqlite:/var/lib/sexton/history.db"},
                        {0},
                },
        .more = "A problem is something that is wrong or that nothing settles by itself; a note, such as a deletion "
                "that a\n"
                "controller left in between a moment ago, is for information. Each says what to do.\n\n"
                "Exit code: 0 when there is no problem, 1 when there is one or the register cannot be read, 2 usage.",
};

static int set_option(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    struct verify_command *c = arg;
    if (strcmp(option->name, "quick") == 0) {
        c->quick = true;
        return 0;
    }
    if (!*value)
        return error_set(err, ERROR_USAGE, "--%s: the value is empty", option->name);
    if (strcmp(option->name, "config") == 0)
        c->config = value;
    else if (strcmp(option->name, "store") == 0)
        c->store = value;
    else if (strcmp(value, "json") == 0 || strcmp(value, "table") == 0)
        c->json = *value == 'j';
    else
        return error_set(err, ERROR_USAGE, "-o: '%s' is not table or json", value);
    return 0;
}

static int open_register(const struct verify_command *c, struct history **ret, struct error *err) {
    struct config *config = NULL;
    if ((!c->store || c->config) && config_load(c->config, &config, err) < 0)
        return -1;
    int result = history_open(c->store ? c->store : config->store, HISTORY_READ, ret, err);
    config_destroy(config);
    /* A file that is damaged was found; one that is not there, or none of ours, was named wrongly. */
    if (result < 0 && err->kind != ERROR_FORMAT && err->kind != ERROR_NOMEM)
        err->kind = ERROR_USAGE;
    return result;
}

/* ---- what was found ---- */

static int add_to_table(struct verify_command *c, const struct history_finding *finding, struct error *err) {
    struct strbuf text = STRBUF_INIT(EXAMPLES_TEXT_MAX);
    char rows[24] = "";
    if (finding->rows)
        snprintf(rows, sizeof rows, "%" PRId64, finding->rows);
    if (finding->detail)
        strbuf_add_text(&text, finding->detail);
    for (int i = 0; i < finding->n_examples; i++)
        strbuf_add_format(
                &text, "%s%s/%s", i ? ", " : "", finding->examples[i].namespace, finding->examples[i].job_name);
    int result = table_add(c->table, finding->is_problem ? "problem" : "note", err);
    if (result == 0)
        table_color(c->table, finding->is_problem ? "31" : "33");
    const char *cells[] = {finding->check, *rows ? rows : NULL, strbuf_text(&text), finding->means, finding->advice};
    for (size_t i = 0; i < sizeof cells / sizeof cells[0] && result == 0; i++)
        result = table_add(c->table, cells[i], err);
    strbuf_finish(&text);
    return result;
}

static void add_member(struct strbuf *out, const char *key, const char *value) {
    strbuf_add_format(out, ", \"%s\": ", key);
    if (value)
        text_add_json(out, value);
    else
        strbuf_add_text(out, "null");
}

static int add_to_json(struct verify_command *c, const struct history_finding *finding, struct error *err) {
    struct strbuf *out = &c->findings;
    strbuf_add_text(out, c->problems + c->notes > 1 ? ",\n  {" : "\n  {");
    strbuf_add_format(out, "\"severity\": \"%s\"", finding->is_problem ? "problem" : "note");
    add_member(out, "check", finding->check);
    strbuf_add_format(out, ", \"rows\": %" PRId64, finding->rows);
    add_member(out, "detail", finding->detail);
    strbuf_add_text(out, ", \"examples\": [");
    for (int i = 0; i < finding->n_examples; i++) {
        strbuf_add_text(out, i ? ", {\"cluster\": " : "{\"cluster\": ");
        text_add_json(out, finding->examples[i].cluster);
        add_member(out, "namespace", finding->examples[i].namespace);
        add_member(out, "job", finding->examples[i].job_name);
        add_member(out, "uid", finding->examples[i].job_uid);
        strbuf_add_char(out, '}');
    }
    strbuf_add_char(out, ']');
    add_member(out, "means", finding->means);
    add_member(out, "advice", finding->advice);
    strbuf_add_char(out, '}');
    return strbuf_failed(out) ? error_nomem(err) : 0;
}

static int on_finding(void *arg, const struct history_finding *finding, struct error *err) {
    struct verify_command *c = arg;
    if (finding->is_problem)
        c->problems++;
    else
        c->notes++;
    return c->json ? add_to_json(c, finding, err) : add_to_table(c, finding, err);
}

static int print_table(const struct verify_command *c, const struct history_verified *verified, struct error *err) {
    if (c->problems + c->notes && table_print(c->table, stdout, terminal_has_colors(stdout), err) < 0)
        return -1;
    printf("%" PRId64 " runs, version %" PRId64 ", %" PRId64 " kB: ", verified->runs, verified->version,
            verified->bytes / 1024);
    if (c->problems + c->notes)
        printf("%" PRId64 " problem%s, %" PRId64 " note%s\n", c->problems, c->problems == 1 ? "" : "s", c->notes,
                c->notes == 1 ? "" : "s");
    else
        printf("nothing is wrong\n");
    return 0;
}

static void print_json(const struct verify_command *c, const struct history_verified *verified) {
    printf("{\"runs\": %" PRId64 ", \"version\": %" PRId64 ", \"bytes\": %" PRId64 ", \"problems\": %" PRId64
           ", \"notes\": %" PRId64 ", \"findings\": [%s%s]}\n",
            verified->runs, verified->version, verified->bytes, c->problems, c->notes, strbuf_text(&c->findings),
            c->problems + c->notes ? "\n" : "");
}

static int verify(struct verify_command *c, struct error *err) {
    static const char *const columns[] = {
            "severity", "check", "rows", "for example", "what it means", "what to do", NULL};
    struct history *history;
    struct history_verified verified = {0};
    if (open_register(c, &history, err) < 0)
        return -1;
    c->table = table_create(columns, err);
    int result = c->table ? history_verify(history, clock_wall_ms(), c->quick, &verified, on_finding, c, err) : -1;
    history_close(history);
    if (result < 0)
        return -1;
    if (c->json)
        print_json(c, &verified);
    else if (print_table(c, &verified, err) < 0)
        return -1;
    if (fflush(stdout) == 0 || errno == EPIPE)
        return 0;
    return error_set(err, ERROR_IO, "cannot write the output: %s", strerror(errno));
}

int history_verify_command(int argc, char **argv) {
    struct verify_command c = {.findings = STRBUF_INIT(JSON_TEXT_MAX)};
    struct error err = {0};
    int rest;
    int parsed = options_parse(&spec, argc, argv, set_option, &c, &rest, &err);
    if (parsed == OPTIONS_DONE)
        return EXIT_DONE;
    int code = EXIT_DONE;
    if (parsed < 0 || common_no_operands(argc, argv, rest, &err) < 0 || verify(&c, &err) < 0)
        code = common_fail("history verify", &err);
    else if (c.problems)
        code = EXIT_FAILED;
    table_destroy(c.table);
    strbuf_finish(&c.findings);
    return code;
}
