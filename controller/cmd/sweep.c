#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/engine.h"

#define PROGRESS_MS 200 /* often enough to look alive */

struct sweep_command {
    struct common common;
    bool dry_run, progress, stopped;
    struct config *config;
    struct kube_config *kube_config;
    struct loop *loop;
    struct engine *engine;
    struct loop_timer *timer;
    bool finished, ran;
    struct error why;
    struct reconcile_counts counts;
};

static const struct option_spec options[] = {
        {"dry-run", 0, NULL, "tell what would be deleted; record and delete nothing"},
        COMMON_CONFIG_OPTION,
        COMMON_CLUSTER_OPTIONS,
        COMMON_SCOPE_OPTIONS,
        COMMON_STORE_OPTION,
        COMMON_LEASE_OPTION,
        COMMON_LOG_OPTIONS,
        {NULL, 0, NULL, NULL},
};

static const struct command_spec spec = {
        .name = "sweep",
        .synopsis = "[--dry-run] [--config FILE] [-n NS] [-l SELECTOR]",
        .about = "One pass: records every finished Job, deletes those whose time is up, and exits.",
        .options = options,
        .more = "Exit code 1 when a Job that was due could not be deleted.",
};

static int set_option(void *arg, const struct option_spec *option, const char *value, struct error *err) {
    struct sweep_command *c = arg;
    (void)err;
    if (!common_set(&c->common, option, value))
        c->dry_run = true;
    return 0;
}

static void on_finished(void *arg, const struct error *err) {
    struct sweep_command *c = arg;
    c->finished = true;
    if (err)
        c->why = *err;
    loop_stop(c->loop);
}

static void on_stopped(void *arg) {
    struct sweep_command *c = arg;
    loop_stop(c->loop);
}

static void on_signal(void *arg, int number) {
    struct sweep_command *c = arg;
    (void)number;
    c->stopped = true;
    engine_stop(c->engine);
}

static void on_progress(void *arg) {
    struct sweep_command *c = arg;
    struct reconcile_counts n = engine_count(c->engine);
    const char *holder = engine_waits_for(c->engine);
    if (holder && *holder && engine_is_synced(c->engine)) {
        fprintf(stderr, "\r\033[Kwaiting to see whether %s, which holds the lease, is still there", holder);
        loop_timer_start(c->timer, PROGRESS_MS);
        return;
    }
    fprintf(stderr, "\r\033[K%s: %" PRId64 " Jobs seen, %" PRId64 " recorded, %" PRId64 " deleted, %" PRId64 " to go",
            engine_is_synced(c->engine) ? "sweeping" : "listing", n.seen, n.recorded, n.deleted, n.pending);
    loop_timer_start(c->timer, PROGRESS_MS);
}

static void configure_log(struct sweep_command *c) {
    /* The progress line tells the story on a terminal; a line a Job would tear it apart. */
    c->progress = isatty(STDERR_FILENO);
    enum log_level level = c->config->log_level;
    if (c->progress && !c->common.log_level && level < LOG_WARN)
        level = LOG_WARN;
    log_configure(level, c->config->log_format);
}

static int run(struct sweep_command *c, struct error *err) {
    const struct kubeconfig_options where = {.kubeconfig = c->common.kubeconfig, .context = c->common.context};
    if (common_load_config(&c->common, &c->config, err) < 0 || kubeconfig_load(&where, &c->kube_config, err) < 0)
        return -1;
    configure_log(c);
    if (c->kube_config->insecure)
        log_warn("insecure-skip-tls-verify is set: whoever answers is believed to be the API server",
                log_text("server", c->kube_config->server));
    signal(SIGPIPE, SIG_IGN);
    if (!(c->loop = loop_create(err)) || !(c->timer = loop_timer_create(c->loop, on_progress, c, err)))
        return -1;
    const struct engine_settings settings = {
            .config = c->config, .kube_config = c->kube_config, .dry_run = c->dry_run, .one_pass = true};
    const struct engine_handler handler = {.arg = c, .finished = on_finished, .stopped = on_stopped};
    /* From here on a signal waits for the loop, also while the register is opened. */
    struct loop_signal *term = loop_signal_create(c->loop, SIGTERM, on_signal, c, err);
    struct loop_signal *interrupt = term ? loop_signal_create(c->loop, SIGINT, on_signal, c, err) : NULL;
    bool ready = interrupt && engine_create(c->loop, &settings, &handler, &c->engine, err) == 0;
    if (ready) {
        if (c->progress)
            loop_timer_start(c->timer, PROGRESS_MS);
        engine_start(c->engine);
        loop_run(c->loop);
        c->counts = engine_count(c->engine);
        c->ran = engine_is_synced(c->engine);
        if (c->progress)
            fprintf(stderr, "\r\033[K");
    }
    loop_signal_destroy(term);
    loop_signal_destroy(interrupt);
    if (!ready)
        return -1;
    if (c->why.kind != ERROR_NONE) {
        *err = c->why;
        return -1;
    }
    if (c->stopped)
        return error_set(err, ERROR_IO, "stopped by a signal before the pass was over");
    return 0;
}

static void print_summary(const struct sweep_command *c) {
    const struct reconcile_counts *n = &c->counts;
    if (c->dry_run)
        printf("%" PRId64 " seen, %" PRId64 " would be deleted, %" PRId64
               " kept (dry run: nothing was recorded or deleted)\n",
                n->seen, n->would_delete, n->seen - n->would_delete);
    else
        printf("%" PRId64 " seen, %" PRId64 " recorded, %" PRId64 " deleted, %" PRId64 " kept, %" PRId64 " failed\n",
                n->seen, n->recorded, n->deleted, n->seen - n->deleted - n->failed, n->failed);
    if (n->unfinished + n->waiting + n->kept > 0)
        printf("kept: %" PRId64 " not finished, %" PRId64 " waiting for their time, %" PRId64
               " by policy or in doubt\n",
                n->unfinished, n->waiting, n->kept);
}

int cmd_sweep(int argc, char **argv) {
    struct sweep_command c = {0};
    struct error err = {0};
    int rest;
    int parsed = options_parse(&spec, argc, argv, set_option, &c, &rest, &err);
    if (parsed == OPTIONS_DONE)
        return EXIT_DONE;
    int code = EXIT_DONE;
    if (parsed < 0 || common_no_operands(argc, argv, rest, &err) < 0 || run(&c, &err) < 0)
        code = common_fail("sweep", &err);
    if (engine_destroy(c.engine) < 0) {
        log_error("not everything that was seen is in the register; the next pass sees it again");
        code = EXIT_FAILED;
    }
    if (c.finished && c.ran)
        print_summary(&c);
    if (c.counts.failed > 0)
        code = EXIT_FAILED;
    loop_timer_destroy(c.timer);
    loop_destroy(c.loop);
    kube_config_destroy(c.kube_config);
    config_destroy(c.config);
    return code;
}
