/* The player: reads a file line by line, and the steps that are about neither answers nor looks. */
#include "scenario.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/timestamp.h"

#define START_TIME "2026-01-02T03:04:05Z"
#define LOG_SHOWN 1600 /* bytes of its end, in a failure; Check takes no message of more than 4 kB */
#define TEXT_SHOWN 1600

static struct scenario *playing; /* for fake_broken, which knows of no scenario */

/* What sanitizers report goes to file descriptor 2, which is ours while a scenario plays. */
void __sanitizer_set_report_fd(void *fd) __attribute__((weak));

const char *scenario_log(struct scenario *s) {
    char part[4096];
    for (ssize_t n; (n = pread(s->log_fd, part, sizeof part, (off_t)s->log.len)) > 0;)
        strbuf_add(&s->log, part, (size_t)n);
    return strbuf_text(&s->log);
}

_Noreturn static void fail_at(struct scenario *s, const char *what) {
    const char *log = scenario_log(s);
    size_t len = strlen(log);
    if (len > LOG_SHOWN)
        log += len - LOG_SHOWN;
    dup2(s->stderr_fd, STDERR_FILENO); /* Check has its say there */
    if (s->torture) {
        fprintf(stderr, "%s:%d: %.500s\n    %s\n    log:\n%s", s->path, s->number, s->line, what, log);
        _exit(SCENARIO_BROKEN);
    }
    ck_abort_msg("%s:%d: %.500s\n    %s\n    log:\n%s", s->path, s->number, s->line, what, log);
    abort();
}

void scenario_fail(const struct scenario *s, const char *fmt, ...) {
    if (s->torture)
        longjmp(playing->next_line, 1);
    char text[TEXT_SHOWN];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fail_at(playing, text);
}

void fake_broken(const char *fmt, ...) {
    char text[TEXT_SHOWN];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    fail_at(playing, text);
}

void fake_delete_leaves(const struct http_transfer *transfer) {
    if (playing->torture)
        world_check_delete(playing, transfer);
}

/* ---- time ---- */

/* Watches of quiet kinds are opened, and ended as a server does when their time is over. */
static void keep_quiet(struct scenario *s) {
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t)) {
        int kind = request_is_wanted(t) ? kind_of_request(t) : KIND_NONE;
        if (kind == KIND_NONE || !s->quiet[kind] || !request_is_watch(t))
            continue;
        const struct fake_answer ok = {.status = 200,
                .retry_after_ms = -1,
                .date_ms = s->no_date ? TIME_NONE : fake_server_ms() / 1000 * 1000};
        fake_http_expect(t);
        encoding_head(s, t, &ok);
        world_replay(s, t);
        /* One of a single object would be followed by a GET, which is nothing that is quiet. */
        if (fake_http_is_open(t) && !request_is_single(t))
            fake_http_end_after(t, QUIET_WATCH_MS);
    }
}

void scenario_settle(struct scenario *s) {
    fake_loop_settle(s->loop);
    keep_quiet(s);
    fake_loop_settle(s->loop);
    if (!s->network_is_slow && fake_http_send())
        fake_loop_settle(s->loop);
}

bool scenario_step(struct scenario *s, int64_t until_ms) {
    bool more = fake_loop_step(s->loop, until_ms);
    scenario_settle(s);
    return more;
}

static void step_advance(struct scenario *s, const struct words *words) {
    int64_t until_ms = fake_mono_ms() + words_duration_ms(s, words_need(s, words, 1, "a duration"));
    while (scenario_step(s, until_ms))
        continue;
}

static void step_clock(struct scenario *s, const struct words *words) {
    fake_clock_step(words_duration_ms(s, words_need(s, words, 1, "a duration")));
}

static void step_server(struct scenario *s, const struct words *words) {
    const char *what = words_need(s, words, 1, "a duration, without-date or with-date");
    if (strcmp(what, "without-date") == 0 || strcmp(what, "with-date") == 0)
        s->no_date = strcmp(what, "without-date") == 0;
    else
        fake_server_step(words_duration_ms(s, what));
}

/* network slow: requests wait to be sent, until 'network fast'. */
static void step_network(struct scenario *s, const struct words *words) {
    const char *what = words_need(s, words, 1, "slow or fast");
    if (strcmp(what, "slow") != 0 && strcmp(what, "fast") != 0)
        scenario_fail(s, "the network is slow or fast");
    s->network_is_slow = strcmp(what, "slow") == 0;
}

/* ---- start, stop, configuration ---- */

static void step_config(struct scenario *s, const struct words *words) {
    (void)words;
    const char *text = s->line + strlen("config");
    strbuf_add_text(&s->config_text, text + (*text == ' ')); /* a line that is indented goes on */
    strbuf_add_char(&s->config_text, '\n');
}

static void write_file(const struct scenario *s, const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        scenario_fail(s, "%s: %s", path, strerror(errno));
}

static struct config *read_config(struct scenario *s) {
    char path[] = "/tmp/sexton-scenario-XXXXXX";
    struct error err = {0};
    struct config *config;
    int fd = mkstemp(path);
    if (fd < 0)
        scenario_fail(s, "%s: %s", path, strerror(errno));
    close(fd);
    write_file(s, path, strbuf_text(&s->config_text));
    bool elects = strstr(strbuf_text(&s->config_text), "leader-elect") != NULL;
    bool announces = strstr(strbuf_text(&s->config_text), "events = ") != NULL;
    strbuf_clear(&s->config_text);
    bool was = fake_set_in_program(true);
    int result = config_load(path, &config, &err);
    fake_in_program = was;
    unlink(path);
    if (result < 0)
        scenario_fail(s, "%s", err.text);
    /* A dry run reads the register, if it is there: not this machine's. */
    if (strcmp(config->store, "sqlite:/var/lib/sexton/history.db") == 0 &&
            config_set(config, "history", "store", "sqlite:/dev/null/history.db", &err) < 0)
        scenario_fail(s, "%s", err.text);
    config->leader_elect = config->leader_elect && elects; /* what is about something else has no lease */
    config->events = config->events && announces;          /* and writes no Events */
    return config;
}

/* token TEXT: what stands in the token file. token - : the file is not there. */
static void step_token(struct scenario *s, const struct words *words) {
    if (!s->token_path[0]) {
        snprintf(s->token_path, sizeof s->token_path, "/tmp/sexton-scenario-XXXXXX");
        int fd = mkstemp(s->token_path);
        if (fd < 0)
            scenario_fail(s, "%s: %s", s->token_path, strerror(errno));
        close(fd);
    }
    const char *token = words_need(s, words, 1, "a token, or -");
    if (strcmp(token, "-") == 0)
        unlink(s->token_path);
    else
        write_file(s, s->token_path, token);
}

static void on_finished(void *arg, const struct error *err) {
    struct scenario *s = arg;
    if (s->finished)
        fake_broken("finished was told twice");
    s->finished = true;
    if (err)
        s->finish_error = *err;
}

static void on_stopped(void *arg) {
    struct scenario *s = arg;
    if (s->stopped)
        fake_broken("stopped was told twice");
    s->stopped = true;
}

/* start [dry] [pass] [failed TEXT] */
static void step_start(struct scenario *s, const struct words *words) {
    struct error err = {0};
    s->config = read_config(s);
    s->kube_config = calloc(1, sizeof *s->kube_config);
    s->kube_config->server = strdup("https://api.test:6443");
    if (s->token_path[0])
        s->kube_config->token_file = strdup(s->token_path);
    else
        s->kube_config->token = strdup("secret");
    const struct engine_settings settings = {.config = s->config,
            .kube_config = s->kube_config,
            .dry_run = words_have(words, "dry"),
            .one_pass = words_have(words, "pass")};
    const struct engine_handler handler = {.arg = s, .finished = on_finished, .stopped = on_stopped};
    bool was = fake_set_in_program(true);
    bool failed = engine_create(s->loop, &settings, &handler, &s->engine, &err) < 0;
    fake_in_program = was;
    if (failed != words_have(words, "failed"))
        scenario_fail(s, "the engine %s: %s", failed ? "did not start" : "started", err.text);
    if (failed && !strstr(err.text, words_need(s, words, words->n - 1, "why")))
        scenario_fail(s, "it failed with: %s", err.text);
    fake_in_program = true;
    if (!failed)
        engine_start(s->engine);
    fake_in_program = was;
}

static void step_reload(struct scenario *s, const struct words *words) {
    (void)words;
    struct config *fresh = read_config(s);
    bool was = fake_set_in_program(true);
    config_reload(s->config, fresh);
    engine_config_changed(s->engine);
    fake_in_program = was;
    config_destroy(fresh);
}

static void step_stop(struct scenario *s, const struct words *words) {
    (void)words;
    bool was = fake_set_in_program(true);
    engine_stop(s->engine);
    fake_in_program = was;
}

/* ---- the register ---- */

/* open STATE NS/NAME uid=U [due=-1m]: a row that an earlier controller left. */
static void step_open(struct scenario *s, const struct words *words) {
    const char *state = words_need(s, words, 1, "kept, due or deleting"), *uid = words_value(words, "uid");
    const char *due = words_value(words, "due");
    char namespace[256];
    snprintf(namespace, sizeof namespace, "%s", words_need(s, words, 2, "NAMESPACE/NAME"));
    char *slash = strchr(namespace, '/');
    if (!slash || !uid)
        scenario_fail(s, "open wants NAMESPACE/NAME and uid=");
    *slash = '\0';
    int which = RUN_KEPT;
    while (which < RUN_DELETED && strcmp(run_state_name((enum run_state)which), state) != 0)
        which++;
    fake_writer_add_open(namespace, slash + 1, uid, (enum run_state)which,
            due ? fake_server_ms() + words_duration_ms(s, due) : TIME_NONE);
}

/* deleted NAMESPACE/NAME created=-1h at=-30m: a row that an earlier controller closed. */
static void step_deleted(struct scenario *s, const struct words *words) {
    const char *created = words_value(words, "created"), *at = words_value(words, "at");
    char namespace[256];
    snprintf(namespace, sizeof namespace, "%s", words_need(s, words, 1, "NAMESPACE/NAME"));
    char *slash = strchr(namespace, '/');
    if (!slash || !created || !at)
        scenario_fail(s, "deleted wants NAMESPACE/NAME, created= and at=");
    *slash = '\0';
    fake_writer_add_deleted(namespace, slash + 1, fake_server_ms() + words_duration_ms(s, created),
            fake_server_ms() + words_duration_ms(s, at));
}

static void step_durable(struct scenario *s, const struct words *words) {
    if (!fake_writer_durable(words->n > 1 ? (int)words_number(s, words->word[1]) : 0))
        scenario_fail(s, "the register has nothing (or not so much) to write, or fails");
}

static void step_refuse(struct scenario *s, const struct words *words) {
    if (!fake_writer_refuse(words_need(s, words, 1, "a uid")))
        scenario_fail(s, "nothing of that uid waits to be written");
}

static void step_store(struct scenario *s, const struct words *words) {
    const char *what = words_need(s, words, 1, "auto, manual, fails, works, anew, full or room");
    if (strcmp(what, "auto") == 0 || strcmp(what, "manual") == 0)
        fake_writer_set_auto(*what == 'a');
    else if (strcmp(what, "fails") == 0)
        fake_writer_fails(words->n > 2 ? words->word[2] : "disk full");
    else if (strcmp(what, "works") == 0)
        fake_writer_fails(NULL);
    else if (strcmp(what, "anew") == 0)
        fake_writer_begins_anew();
    else
        fake_writer_set_room(strcmp(what, "room") == 0);
}

/* ---- the player ---- */

static void set_quiet(struct scenario *s, const struct words *words) {
    bool quiet = strcmp(words->word[0], "quiet") == 0;
    for (int i = 1; i < words->n; i++) {
        int kind = kind_of_name(words->word[i]);
        if (kind == KIND_NONE)
            scenario_fail(s, "'%s' is none of namespaces, cronjobs, jobs", words->word[i]);
        s->quiet[kind] = quiet;
        for (struct http_transfer *t = fake_http_first(); t && quiet; t = fake_http_next(t)) {
            if (fake_http_is_open(t) && request_is_watch(t) && kind_of_request(t) == kind && !request_is_single(t))
                fake_http_end_after(t, QUIET_WATCH_MS);
        }
    }
}

static const struct {
    const char *name;
    void (*play)(struct scenario *s, const struct words *words);
    bool anytime; /* before the start too */
} steps[] = {
        {"config", step_config, true},
        {"token", step_token, true},
        {"open", step_open, true},
        {"deleted", step_deleted, true},
        {"encoding", step_encoding, true},
        {"item", step_item, true},
        {"items", step_items, true},
        {"store", step_store, true},
        {"clock", step_clock, true},
        {"server", step_server, true},
        {"network", step_network, true},
        {"start", step_start, true},
        {"sync", step_sync, false},
        {"advance", step_advance, false},
        {"reload", step_reload, false},
        {"stop", step_stop, false},
        {"durable", step_durable, false},
        {"refuse", step_refuse, false},
        {"quiet", set_quiet, false},
        {"mind", set_quiet, false},
        {"on", step_on, false},
        {"answer", step_answer, false},
        {"head", step_head, false},
        {"data", step_data, false},
        {"bytes", step_bytes, false},
        {"end", step_end, false},
        {"fail", step_fail, false},
        {"event", step_event, false},
        {"events", step_events, false},
        {"expect", step_expect, false},
};

static void play_line(struct scenario *s) {
    struct words words;
    words_init(&words, s->line);
    bool found = words.n == 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && !found; i++) {
        if (strcmp(steps[i].name, words.word[0]) != 0)
            continue;
        found = true;
        if (!steps[i].anytime && !s->engine)
            scenario_fail(s, "this step comes before 'start'");
        steps[i].play(s, &words);
        if (s->engine)
            scenario_settle(s);
    }
    if (!found)
        scenario_fail(s, "'%s' is not a step", words.word[0]);
    words_finish(&words);
}

static void begin(struct scenario *s, const char *path, bool protobuf, const struct scenario_torture *torture) {
    struct error err = {0};
    int64_t start_ms;
    *s = (struct scenario){
            .path = path, .line = "(begin)", .items = json_array(), .protobuf = protobuf, .torture = torture};
    if (torture) {
        s->world = json_array();
        s->events = json_array();
    }
    strbuf_init(&s->config_text, LINE_MAX_BYTES);
    strbuf_init(&s->log, 16 * LINE_MAX_BYTES);
    playing = s;
    s->log_fd = memfd_create("log", MFD_CLOEXEC);
    s->stderr_fd = dup(STDERR_FILENO);
    if (s->log_fd < 0 || s->stderr_fd < 0 || timestamp_parse(START_TIME, &start_ms, &err) < 0)
        ck_abort_msg("%s: %s", path, strerror(errno));
    if (__sanitizer_set_report_fd)
        __sanitizer_set_report_fd((void *)(intptr_t)s->stderr_fd); /* NOLINT: a descriptor in a pointer is their way */
    dup2(s->log_fd, STDERR_FILENO);
    fake_clock_start(start_ms);
    random_seed(1);
    log_configure(LOG_DEBUG, LOG_LOGFMT);
    s->loop = loop_create(&err);
}

static void end(struct scenario *s) {
    s->line = "(end)";
    for (const struct http_transfer *t = fake_http_first(); t && !s->torture; t = fake_http_next(t)) {
        if (!fake_http_is_expected(t))
            scenario_fail(s, "a request was never expected: %s %s %s", fake_http_method(t), fake_http_path(t),
                    fake_http_body(t));
    }
    (void)engine_destroy(s->engine);
    loop_destroy(s->loop);
    if (s->token_path[0])
        unlink(s->token_path);
    config_destroy(s->config);
    kube_config_destroy(s->kube_config);
    fake_writer_reset();
    json_decref(s->items);
    json_decref(s->world);
    json_decref(s->events);
    json_decref(s->lease);
    strbuf_finish(&s->config_text);
    strbuf_finish(&s->log);
    dup2(s->stderr_fd, STDERR_FILENO);
    if (__sanitizer_set_report_fd)
        __sanitizer_set_report_fd((void *)(intptr_t)STDERR_FILENO); /* NOLINT */
    close(s->stderr_fd);
    close(s->log_fd);
    clock_use(NULL);
}

/* What follows is about a request that did not come. */
static void missed(struct scenario *s) {
    s->at = NULL;
    s->n_missed++;
    if (strncmp(s->line, "answer", strlen("answer")) == 0)
        world_take_items(s);
    if (s->line && getenv("TORTURE_VERBOSE"))
        dprintf(s->stderr_fd, "%d: not so: %s\n", s->number, s->line);
}

static void play_file(struct scenario *s, const char *path) {
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        ck_abort_msg("%s: %s", path, strerror(errno));
    for (ssize_t len; (len = getline(&line, &room, file)) >= 0;) {
        while (len > 0 && strchr("\r\n", line[len - 1]))
            line[--len] = '\0';
        s->line = line;
        s->number++;
        if (setjmp(s->next_line) == 0)
            play_line(s);
        else
            missed(s);
    }
    free(line);
    fclose(file);
}

void scenario_play(const char *path, bool protobuf) {
    struct scenario s;
    begin(&s, path, protobuf, NULL);
    play_file(&s, path);
    end(&s);
}

void scenario_play_tortured(
        const char *path, bool protobuf, const struct scenario_torture *torture, struct scenario_outcome *ret_outcome) {
    struct scenario s;
    begin(&s, path, protobuf, torture);
    play_file(&s, path);
    s.line = "(calm)";
    torture->calm();
    if (s.engine && !s.stopped && !s.finished)
        world_calm(&s, torture->calm_ms);
    if (getenv("TORTURE_VERBOSE"))
        dprintf(s.stderr_fd, "%s", scenario_log(&s));
    *ret_outcome = (struct scenario_outcome){.failed = !s.engine || s.finish_error.kind != ERROR_NONE,
            .missed = s.n_missed,
            .over = s.stopped || s.finished,
            .deletes = s.n_deletes,
            .stuck = s.config ? world_overdue(&s, torture->calm_ms / 2) : json_object()};
    end(&s);
}
