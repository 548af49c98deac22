/* The steps that look. */
#include "scenario.h"

#include "cmd/announce.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 40000 /* longer than the longest backoff of list and watch */

static const char *const op_names[] = {"RECORD", "POLICY", "INTENT", "DELETED"};

/* ---- what was seen instead ---- */

static void describe_requests(struct strbuf *text) {
    bool any = false;
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t)) {
        if (!request_is_wanted(t))
            continue;
        strbuf_add_format(text, "\n      %s %s %s", fake_http_method(t), fake_http_path(t), fake_http_body(t));
        any = true;
    }
    strbuf_add_text(text, any ? "" : " no request");
}

static void describe_records(struct strbuf *text) {
    bool any = false;
    for (const struct fake_record *record = fake_writer_first(); record; record = record->next) {
        if (record->expected)
            continue;
        const char *cause = run_cause_name(record->cause);
        strbuf_add_format(text, "\n      %s %s state=%s%s%s%s", op_names[record->op], record->uid,
                run_state_name(record->policy.state), cause ? " cause=" : "", cause ? cause : "",
                record->has_run ? " run" : "");
        any = true;
    }
    strbuf_add_text(text, any ? "" : " no record");
}

/* ---- one look ---- */

/* Each returns whether what words say from word first on is so now. */
typedef bool look_function(struct scenario *s, const struct words *words, int first);

static bool look_for_request(struct scenario *s, const struct words *words, int first) {
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t)) {
        if (request_is_wanted(t) && request_is(s, t, words, first)) {
            fake_http_expect(t);
            s->at = t;
            return true;
        }
    }
    return false;
}

/* COUNT METHOD: exactly so many of them. */
static bool look_for_count(struct scenario *s, const struct words *words, int first) {
    long wanted = words_number(s, words->word[first]), seen = 0;
    const char *method = words_need(s, words, first + 1, "a method");
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t))
        seen += request_is_wanted(t) && strcmp(fake_http_method(t), method) == 0;
    for (struct http_transfer *t = fake_http_first(); t && seen == wanted; t = fake_http_next(t)) {
        if (request_is_wanted(t) && strcmp(fake_http_method(t), method) == 0)
            fake_http_expect(t);
    }
    return seen == wanted;
}

static bool record_is(
        const struct scenario *s, const struct fake_record *record, const struct words *words, int first) {
    const char *op = words_need(s, words, first + 1, "RECORD, POLICY, INTENT or DELETED");
    const char *uid = words_need(s, words, first + 2, "a uid");
    const char *state = words_value(words, "state"), *cause = words_value(words, "cause");
    const char *rule = words_value(words, "rule"), *its_cause = run_cause_name(record->cause);
    return strcmp(op_names[record->op], op) == 0 && strcmp(record->uid, uid) == 0 &&
           (!state || strcmp(run_state_name(record->policy.state), state) == 0) &&
           (!cause || (its_cause && strcmp(its_cause, cause) == 0)) &&
           (!rule || strcmp(record->policy.rule, rule) == 0) && (!words_have(words, "run") || record->has_run) &&
           (!words_have(words, "norun") || !record->has_run);
}

static bool look_for_record(struct scenario *s, const struct words *words, int first) {
    for (struct fake_record *record = fake_writer_first(); record; record = record->next) {
        if (!record->expected && record_is(s, record, words, first)) {
            record->expected = true;
            return true;
        }
    }
    return false;
}

static bool look_for_log(struct scenario *s, const struct words *words, int first) {
    const char *log = scenario_log(s), *text = words_need(s, words, first + 1, "the text of a log line");
    const char *found = strstr(log + s->log_at, text);
    if (found)
        s->log_at = (size_t)(found - log) + strlen(text);
    return found != NULL;
}

/* counts KEY=N ... */
static bool look_for_counts(struct scenario *s, const struct words *words, int first) {
    const struct reconcile_counts n = engine_count(s->engine);
    const struct events_stats *events = announce_stats(engine_parts(s->engine).announce);
    const struct {
        const char *key;
        int64_t number;
    } counts[] = {{"seen", n.seen}, {"unfinished", n.unfinished}, {"recorded", n.recorded}, {"deleted", n.deleted},
            {"would-delete", n.would_delete}, {"waiting", n.waiting}, {"kept", n.kept}, {"failed", n.failed},
            {"pending", n.pending}, {"events-sent", events->sent}, {"events-failed", events->failed},
            {"events-dropped", events->dropped}};
    bool all = words->n > first + 1;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const char *text = words_value(words, counts[i].key);
        all = all && (!text || words_number(s, text) == counts[i].number);
    }
    return all;
}

/* finished [failed [TEXT]] */
static bool look_for_finish(struct scenario *s, const struct words *words, int first) {
    bool failed = s->finish_error.kind != ERROR_NONE, wanted = words_have(words, "failed");
    const char *text = words->n > first + 2 && wanted ? words->word[first + 2] : "";
    if (s->finished && failed == wanted && !strstr(s->finish_error.text, text))
        scenario_fail(s, "it failed with: %s", s->finish_error.text);
    return s->finished && failed == wanted;
}

static bool look_for_header(struct scenario *s, const struct words *words, int first) {
    const char *name = words_need(s, words, first + 1, "a header's name");
    const char *value = s->at ? fake_http_header(s->at, name) : NULL;
    return value && strcmp(value, words_need(s, words, first + 2, "its value")) == 0;
}

static bool look_for_state(struct scenario *s, const struct words *words, int first) {
    const char *what = words->word[first];
    if (strcmp(what, "stopped") == 0)
        return s->stopped;
    if (strcmp(what, "paused") == 0)
        return s->at && fake_http_is_paused(s->at);
    if (strcmp(what, "synced") == 0)
        return engine_is_synced(s->engine);
    return s->at && !fake_http_is_open(s->at); /* over */
}

static bool look_for_user_timeout(struct scenario *s, const struct words *words, int first) {
    return fake_http_user_timeout_ms() == words_duration_ms(s, words_need(s, words, first + 1, "a duration"));
}

static look_function *find_look(const char *what) {
    static const struct {
        const char *word;
        look_function *look;
    } looks[] = {{"record", look_for_record}, {"log", look_for_log}, {"counts", look_for_counts},
            {"finished", look_for_finish}, {"header", look_for_header}, {"stopped", look_for_state},
            {"user-timeout", look_for_user_timeout}, {"paused", look_for_state}, {"synced", look_for_state},
            {"over", look_for_state}};
    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
        if (strcmp(looks[i].word, what) == 0)
            return looks[i].look;
    }
    return *what >= '0' && *what <= '9' ? look_for_count : look_for_request;
}

_Noreturn static void fail_with_seen(const struct scenario *s, const char *what) {
    struct strbuf seen = STRBUF_INIT(LINE_MAX_BYTES);
    strbuf_add_text(&seen, "seen:");
    describe_requests(&seen);
    strbuf_add_text(&seen, "\n    and in the register:");
    describe_records(&seen);
    scenario_fail(s, "%s\n    %s", what, strbuf_text(&seen));
}

/* no request | no record [...] | not stopped ... */
static void expect_not(struct scenario *s, const struct words *words) {
    const char *what = words_need(s, words, 2, "what is not expected");
    if (strcmp(what, "request") == 0) {
        for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t)) {
            if (request_is_wanted(t))
                fail_with_seen(s, "there is a request");
        }
        return;
    }
    if (strcmp(what, "record") == 0 && words->n == 3) {
        for (const struct fake_record *record = fake_writer_first(); record; record = record->next) {
            if (!record->expected)
                fail_with_seen(s, "there is a record");
        }
        return;
    }
    if (strcmp(what, "finished") == 0 ? s->finished : find_look(what)(s, words, 2))
        fail_with_seen(s, "it is so");
}

/* after LEAST..MOST: not before, and not later. */
static void read_window(const struct scenario *s, const char *text, int64_t *ret_least_ms, int64_t *ret_most_ms) {
    char least[64];
    const char *dots = strstr(text, "..");
    if (!dots || (size_t)(dots - text) >= sizeof least)
        scenario_fail(s, "after wants LEAST..MOST, such as 400ms..800ms");
    memcpy(least, text, (size_t)(dots - text));
    least[dots - text] = '\0';
    *ret_least_ms = words_duration_ms(s, least);
    *ret_most_ms = words_duration_ms(s, dots + 2);
}

/* A failed allocation may have put off what is expected: whether it comes by and by. */
static bool come_back(struct scenario *s, look_function *look, const struct words *words) {
    if (!s->torture || !s->torture->may_recover())
        return false;
    for (int64_t until_ms = fake_mono_ms() + PATIENCE_MS; fake_mono_ms() < until_ms;) {
        world_serve(s, false);
        if (look(s, words, 1))
            return true;
        scenario_step(s, until_ms);
    }
    return false;
}

void step_expect(struct scenario *s, const struct words *words) {
    const char *what = words_need(s, words, 1, "what is expected");
    if (strcmp(what, "no") == 0 || strcmp(what, "not") == 0) {
        expect_not(s, words);
        return;
    }
    int64_t least_ms = 0, most_ms = 0, began_ms = fake_mono_ms();
    for (int i = 2; i + 1 < words->n; i++) {
        if (strcmp(words->word[i], "after") == 0)
            read_window(s, words->word[i + 1], &least_ms, &most_ms);
    }
    look_function *look = find_look(what);
    while (!look(s, words, 1)) {
        if (fake_mono_ms() - began_ms >= most_ms) {
            if (come_back(s, look, words))
                return;
            fail_with_seen(s, "it did not come");
        }
        scenario_step(s, began_ms + most_ms);
    }
    if (fake_mono_ms() - began_ms < least_ms)
        scenario_fail(s, "it came after %lld ms already", (long long)(fake_mono_ms() - began_ms));
}
