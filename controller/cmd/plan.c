#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "base/strbuf.h"
#include "base/table.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/gather.h"
#include "history/history.h"

#define TEXT_LIMIT (1u << 20)

struct plan_command {
    struct common common;
    const char *file;
    int64_t at_ms; /* TIME_NONE: now */
    enum output_format format;
    struct config *config;
    struct gathered gathered;
};

/* A row: a Job and its decision, or a Job that could not be read. */
struct plan_row {
    const char *namespace, *name;
    const struct job *job; /* NULL: could not be read */
    const char *why;
    struct decision decision;
};

static const struct option_spec options[] = {
        {"file", 'f', "FILE", "offline, on the output of 'kubectl get jobs -A -o json' (- for standard input)"},
        {"at", 0, "TIME", "decide as of that moment (RFC 3339)"},
        {"output", 'o', "FORMAT", "table, wide, json or csv"},
        COMMON_CONFIG_OPTION,
        COMMON_CLUSTER_OPTIONS,
        COMMON_SCOPE_OPTIONS,
        COMMON_STORE_OPTION,
        {NULL, 0, NULL, NULL},
};

static const struct command_spec spec = {
        .name = "plan",
        .synopsis = "[-f FILE] [--at TIME] [-o FORMAT] [--config FILE] [-n NS] [-l SELECTOR]",
        .about = "Tells what would happen to every Job, when, and by which rule. Changes nothing.",
        .options = options,
        .more = "With -f, Namespaces and CronJobs are taken from the same input if they are there:\n"
                "  kubectl get jobs,namespaces,cronjobs -A -o json | sexton plan -f -",
};

static int set_option(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    struct plan_command *c = arg;
    if (common_set(&c->common, option, value))
        return 0;
    if (option->letter == 'f') {
        c->file = value;
        return 0;
    }
    if (option->letter == 'o')
        return options_parse_output(value, &c->format, err);
    if (timestamp_parse(value, &c->at_ms, err) == 0)
        return 0;
    err->kind = ERROR_USAGE;
    return error_context(err, "--at: '%s'", value);
}

static int compare_rows(const void *a, const void *b) {
    const struct plan_row *x = a, *y = b;
    int order = strcmp(x->namespace, y->namespace);
    return order ? order : strcmp(x->name, y->name);
}

/* ret_views: what the rows' Jobs are borrowed from, to be freed after them. */
static struct plan_row *make_rows(
        const struct plan_command *c, int64_t now_ms, struct store_view **ret_views, size_t *ret_n, struct error *err) {
    const struct gathered *g = &c->gathered;
    size_t n = store_count(g->store), at = 0;
    struct store_view *views = calloc(n + 1, sizeof *views);
    for (const struct gather_unreadable *u = g->unreadable; u; u = u->next)
        n++;
    struct plan_row *rows = calloc(n + 1, sizeof *rows);
    if (!views || !rows) {
        free(views);
        free(rows);
        error_nomem(err);
        return NULL;
    }
    struct hashset_cursor cursor = {0};
    for (const struct store_entry *entry; (entry = store_next(g->store, &cursor));) {
        const struct job *job = store_job(entry, &views[at]);
        struct guards guards = store_guards(g->store, job, g->missing_namespace);
        if (g->recreated)
            guards.recreated = recreated_count(g->recreated, job->namespace, job->name, job->created_ms);
        rows[at++] = (struct plan_row){.namespace = job->namespace,
                .name = job->name,
                .job = job,
                .decision = policy_decide(&c->config->policy, job, &guards, now_ms)};
    }
    for (const struct gather_unreadable *u = g->unreadable; u; u = u->next)
        rows[at++] = (struct plan_row){.namespace = u->namespace,
                .name = u->name,
                .why = u->why,
                .decision = {.action = ACTION_KEEP, .reason = REASON_DOUBT, .due_ms = DUE_NEVER}};
    qsort(rows, n, sizeof *rows, compare_rows);
    *ret_views = views;
    *ret_n = n;
    return rows;
}

/* The cells of a row as text; "" or false where there is nothing. */
struct cells {
    struct strbuf policy, source, reason;
    bool has_policy, has_source;
    char finished[TIMESTAMP_TEXT_MAX], due[TIMESTAMP_TEXT_MAX], age[DURATION_TEXT_MAX], due_in[DURATION_TEXT_MAX + 8];
    const char *outcome;
};

static void cells_init(struct cells *cells) {
    *cells = (struct cells){
            .policy = STRBUF_INIT(TEXT_LIMIT), .source = STRBUF_INIT(TEXT_LIMIT), .reason = STRBUF_INIT(TEXT_LIMIT)};
}

static void cells_finish(struct cells *cells) {
    strbuf_finish(&cells->policy);
    strbuf_finish(&cells->source);
    strbuf_finish(&cells->reason);
}

static int fill_cells(struct cells *cells, const struct plan_row *row, int64_t now_ms, struct error *err) {
    const struct decision *d = &row->decision;
    strbuf_clear(&cells->policy);
    strbuf_clear(&cells->source);
    strbuf_clear(&cells->reason);
    cells->has_policy = policy_rule_text(&d->rule, &cells->policy);
    cells->has_source = policy_source_text(&d->rule, &cells->source);
    cells->outcome = row->job ? outcome_name(row->job->outcome) : NULL;
    cells->finished[0] = cells->age[0] = cells->due[0] = cells->due_in[0] = '\0';
    if (row->job)
        policy_explain(d, row->job, now_ms, &cells->reason);
    else
        strbuf_add_format(&cells->reason, "kept because it cannot be read: %s", row->why);
    if (row->job && row->job->finished_ms != TIME_NONE) {
        timestamp_format(row->job->finished_ms, cells->finished);
        duration_format(now_ms - row->job->finished_ms, cells->age);
    }
    if (d->action == ACTION_WAIT || d->action == ACTION_DELETE) {
        timestamp_format(d->due_ms, cells->due);
        char span[DURATION_TEXT_MAX];
        if (d->action == ACTION_DELETE)
            snprintf(cells->due_in, sizeof cells->due_in, "now");
        else
            snprintf(cells->due_in, sizeof cells->due_in, "in %s", duration_format(d->due_ms - now_ms, span));
    }
    bool cut = cells->policy.no_memory || cells->source.no_memory || cells->reason.no_memory;
    return cut ? error_nomem(err) : 0;
}

static const char *or_null(const char *text) {
    return text && *text ? text : NULL;
}

static void json_member(struct strbuf *out, const char *key, const char *value, bool last) {
    strbuf_add_format(out, "    \"%s\": ", key);
    if (value)
        text_add_json(out, value);
    else
        strbuf_add_text(out, "null");
    strbuf_add_text(out, last ? "\n" : ",\n");
}

static int print_json(const struct plan_row *rows, size_t n, int64_t now_ms, struct error *err) {
    struct cells cells;
    cells_init(&cells);
    struct strbuf out = STRBUF_INIT(TEXT_LIMIT * 4);
    bool failed = false;
    printf("[");
    for (size_t i = 0; i < n && !failed; i++) {
        failed = fill_cells(&cells, &rows[i], now_ms, err) < 0;
        strbuf_clear(&out);
        strbuf_add_text(&out, i ? ",\n  {\n" : "\n  {\n");
        json_member(&out, "namespace", rows[i].namespace, false);
        json_member(&out, "name", rows[i].name, false);
        json_member(&out, "uid", rows[i].job ? rows[i].job->uid : NULL, false);
        json_member(&out, "outcome", cells.outcome, false);
        json_member(&out, "finishedAt", or_null(cells.finished), false);
        json_member(&out, "dueAt", or_null(cells.due), false);
        json_member(&out, "action", action_name(rows[i].decision.action), false);
        json_member(&out, "policy", cells.has_policy ? strbuf_text(&cells.policy) : NULL, false);
        json_member(&out, "source", cells.has_source ? strbuf_text(&cells.source) : NULL, false);
        json_member(&out, "reason", strbuf_text(&cells.reason), true);
        strbuf_add_text(&out, "  }");
        failed = failed || strbuf_failed(&out);
        fputs(strbuf_text(&out), stdout);
    }
    printf("%s]\n", n ? "\n" : "");
    strbuf_finish(&out);
    cells_finish(&cells);
    return failed ? error_nomem(err) : 0;
}

static const char *const csv_columns[] = {
        "namespace", "name", "uid", "outcome", "finishedAt", "dueAt", "action", "policy", "source", "reason", NULL};
static const char *const table_columns[] = {
        "namespace", "name", "outcome", "finished", "age", "action", "due", "policy", "source", "reason", NULL};
static const char *const wide_columns[] = {"namespace", "name", "uid", "outcome", "finished", "age", "action", "due",
        "due at", "policy", "source", "reason", NULL};

/* In the order of the format's columns; returns how many. */
static int list_cells(
        enum output_format format, const struct plan_row *row, const struct cells *c, const char *list[12]) {
    const char *policy = c->has_policy ? strbuf_text(&c->policy) : NULL;
    const char *source = c->has_source ? strbuf_text(&c->source) : NULL;
    const char *reason = strbuf_text(&c->reason), *action = action_name(row->decision.action);
    const char *uid = row->job ? row->job->uid : NULL;
    const char *csv[] = {
            row->namespace, row->name, uid, c->outcome, c->finished, c->due, action, policy, source, reason};
    const char *table[] = {
            row->namespace, row->name, c->outcome, c->finished, c->age, action, c->due_in, policy, source, reason};
    const char *wide[] = {row->namespace, row->name, uid, c->outcome, c->finished, c->age, action, c->due_in, c->due,
            policy, source, reason};
    int n = format == OUTPUT_WIDE ? 12 : 10;
    memcpy(list, format == OUTPUT_CSV ? csv : format == OUTPUT_WIDE ? wide : table, (size_t)n * sizeof *list);
    return n;
}

static int print_rows(
        const struct plan_row *rows, size_t n, int64_t now_ms, enum output_format format, struct error *err) {
    static const char *const action_colors[] = {NULL, "33", "36", "31"};
    struct table *table = table_create(format == OUTPUT_CSV    ? csv_columns
                                       : format == OUTPUT_WIDE ? wide_columns
                                                               : table_columns,
            err);
    if (!table)
        return -1;
    struct cells cells;
    cells_init(&cells);
    int result = 0;
    for (size_t i = 0; i < n && result == 0; i++) {
        const char *list[12];
        result = fill_cells(&cells, &rows[i], now_ms, err);
        int count = list_cells(format, &rows[i], &cells, list);
        for (int k = 0; k < count && result == 0; k++) {
            result = table_add(table, list[k], err);
            if (list[k] == action_name(rows[i].decision.action) && action_colors[rows[i].decision.action])
                table_color(table, action_colors[rows[i].decision.action]);
        }
    }
    if (result == 0) {
        if (format == OUTPUT_CSV)
            result = table_print_csv(table, stdout, err);
        else
            result = table_print(table, stdout, terminal_has_colors(stdout), err);
    }
    cells_finish(&cells);
    table_destroy(table);
    return result;
}

static bool has_namespace(const struct store *store, const char *name) {
    struct store_namespace *ns;
    HASH_FIND_STR(store->namespaces, name, ns);
    return ns != NULL;
}

/* Namespaces that have a say, and are not there to say it. */
static void print_namespace_notes(const struct plan_command *c, const struct plan_row *rows, size_t n) {
    const struct store *store = c->gathered.store;
    if (!c->file) {
        size_t len;
        const char *at = c->config->namespaces;
        for (const char *word; (word = text_list_next(&at, &len));) {
            char name[64];
            snprintf(name, sizeof name, "%.*s", (int)len, word);
            if (strcmp(name, "*") != 0 && !has_namespace(store, name))
                fprintf(stderr, "note: there is no Namespace '%s'\n", name);
        }
        return;
    }
    size_t unknown = 0;
    for (size_t i = 0; i < n; i++)
        unknown += rows[i].job && !has_namespace(store, rows[i].namespace);
    if (unknown)
        fprintf(stderr,
                "note: the input does not hold the Namespaces of %zu Job%s, so their annotations are not looked at\n"
                "      (kubectl get jobs,namespaces,cronjobs -A -o json has all three)\n",
                unknown, unknown == 1 ? "" : "s");
}

/* The controller deletes nothing that it cannot record. Whether it could, only a machine with its register can tell;
 * and with -f nobody asked about this one. */
static void print_store_note(const struct plan_command *c) {
    struct error err = {0};
    bool there;
    if ((c->file && !c->common.store) || history_probe(c->config->store, &there, &err) == 0)
        return;
    struct strbuf text = STRBUF_INIT((size_t)ERROR_TEXT_MAX * 8);
    text_add_escaped(&text, err.text, TEXT_ALL);
    fprintf(stderr,
            "note: the register cannot be written from here, and a controller for which that is so deletes nothing: "
            "%s\n",
            strbuf_text(&text));
    strbuf_finish(&text);
}

static void print_summary(const struct plan_command *c, const struct plan_row *rows, size_t n) {
    int64_t counts[4] = {0}, unclear = 0;
    for (size_t i = 0; i < n; i++) {
        counts[rows[i].decision.action]++;
        unclear += rows[i].decision.reason == REASON_DOUBT || rows[i].decision.reason == REASON_NOT_UNDERSTOOD;
    }
    if (c->format == OUTPUT_TABLE || c->format == OUTPUT_WIDE)
        printf("%zu Job%s: %" PRId64 " to delete, %" PRId64 " waiting, %" PRId64 " kept, %" PRId64 " not finished\n", n,
                n == 1 ? "" : "s", counts[ACTION_DELETE], counts[ACTION_WAIT], counts[ACTION_KEEP],
                counts[ACTION_NONE]);
    fflush(stdout);
    if (unclear)
        fprintf(stderr, "warning: %" PRId64 " of the Jobs %s kept because something about %s is not understood\n",
                unclear, unclear == 1 ? "is" : "are", unclear == 1 ? "it" : "them");
    print_namespace_notes(c, rows, n);
    print_store_note(c);
    if (c->file && *c->config->selector)
        fprintf(stderr, "note: the configuration's selector is not applied to -f\n");
    if (c->gathered.other_kinds)
        fprintf(stderr, "note: %" PRId64 " objects of other kinds were passed over\n", c->gathered.other_kinds);
}

static int gather(struct plan_command *c, struct error *err) {
    if (c->file)
        return gather_from_file(c->config, c->file, &c->gathered, err);
    const struct kubeconfig_options where = {.kubeconfig = c->common.kubeconfig, .context = c->common.context};
    struct kube_config *kube_config;
    if (kubeconfig_load(&where, &kube_config, err) < 0)
        return -1;
    if (kube_config->insecure)
        fprintf(stderr, "warning: insecure-skip-tls-verify is set: whoever answers is believed to be the API server\n");
    int result = gather_from_server(c->config, kube_config, &c->gathered, err);
    kube_config_destroy(kube_config);
    return result;
}

static int run(struct plan_command *c, struct error *err) {
    if (c->file && (c->common.kubeconfig || c->common.context))
        return error_set(err, ERROR_USAGE, "-f works offline: --kubeconfig and --context have no meaning with it");
    if (c->file && c->common.selector)
        return error_set(err, ERROR_USAGE, "-f takes the Jobs as they are: select them with 'kubectl get jobs -l'");
    if (common_load_config(&c->common, &c->config, err) < 0)
        return -1;
    log_configure(LOG_OFF, c->config->log_format); /* what is worth a warning is a row of the table */
    if (gather(c, err) < 0)
        return -1;
    int64_t now_ms = c->at_ms;
    if (now_ms == TIME_NONE) {
        now_ms = clock_wall_ms();
        /* As the controller does: its time must be up on both clocks. */
        if (c->gathered.server_ahead_ms < 0)
            now_ms += c->gathered.server_ahead_ms;
    }
    size_t n;
    struct store_view *views;
    struct plan_row *rows = make_rows(c, now_ms, &views, &n, err);
    if (!rows)
        return -1;
    int result =
            c->format == OUTPUT_JSON ? print_json(rows, n, now_ms, err) : print_rows(rows, n, now_ms, c->format, err);
    if (result == 0) {
        fflush(stdout);
        print_summary(c, rows, n);
    }
    free(rows);
    free(views);
    return result;
}

int cmd_plan(int argc, char **argv) {
    struct plan_command c = {.at_ms = TIME_NONE};
    struct error err = {0};
    int rest;
    int parsed = options_parse(&spec, argc, argv, set_option, &c, &rest, &err);
    if (parsed == OPTIONS_DONE)
        return EXIT_DONE;
    signal(SIGPIPE, SIG_DFL);
    int code = EXIT_DONE;
    if (parsed < 0 || common_no_operands(argc, argv, rest, &err) < 0 || run(&c, &err) < 0)
        code = common_fail("plan", &err);
    gathered_finish(&c.gathered);
    config_destroy(c.config);
    return code;
}
