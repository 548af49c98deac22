/* The steps that play the API server. */
#include "scenario.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct http_transfer *answer_current(const struct scenario *s) {
    if (!s->at)
        scenario_fail(s, "no request is at hand: 'expect' or 'on' one first");
    if (!fake_http_is_open(s->at))
        scenario_fail(s, "the request is over: %s %s", fake_http_method(s->at), fake_http_path(s->at));
    return s->at;
}

/* STATUS [retry-after=5] [date=none|-10s] */
static struct fake_answer answer_of(const struct scenario *s, const struct words *words, int at) {
    const char *after = words_value(words, "retry-after"), *date = words_value(words, "date");
    struct fake_answer answer = {.status = (int)words_number(s, words_need(s, words, at, "a status")),
            .retry_after_ms = after ? words_number(s, after) * 1000 : -1,
            .date_ms = fake_server_ms()};
    if (date && strcmp(date, "none") != 0)
        answer.date_ms += words_duration_ms(s, date);
    answer.date_ms -= answer.date_ms % 1000; /* the header has whole seconds */
    if (s->no_date || (date && strcmp(date, "none") == 0))
        answer.date_ms = TIME_NONE;
    return answer;
}

/* As it stands there. */
static void answer_text(struct http_transfer *t, const struct fake_answer *answer, const char *body) {
    fake_http_head(t, answer);
    if (fake_http_is_open(t))
        fake_http_data(t, body, strlen(body));
    if (fake_http_is_open(t))
        fake_http_end(t);
}

void answer_object(
        const struct scenario *s, struct http_transfer *t, const struct fake_answer *answer, json_t *object) {
    encoding_head(s, t, answer);
    if (fake_http_is_open(t))
        encoding_object(s, t, object, SIZE_MAX);
    if (fake_http_is_open(t))
        fake_http_end(t);
}

static void answer_json(struct scenario *s, struct http_transfer *t, const struct fake_answer *answer, json_t *body) {
    if (strstr(fake_http_path(t), "/leases") && (answer->status / 100 == 2 || answer->status == 404))
        world_note_lease(s, answer->status == 404 ? NULL : body);
    if (request_is_single(t) && (answer->status == 200 || answer->status == 404))
        world_note_single(s, t, answer->status == 200 ? body : NULL);
    if (answer->status == 404 || (strcmp(fake_http_method(t), "DELETE") == 0 && answer->status / 100 == 2))
        world_note_deleted(s, t);
    answer_object(s, t, answer, body);
    json_decref(body);
}

static void answer_list(struct scenario *s, struct http_transfer *t, const struct fake_answer *answer,
        const char *version, const char *continue_token) {
    static const char *const kinds[] = {"NamespaceList", "CronJobList", "JobList", "List"};
    world_note_list(s, t, version);
    json_t *list = object_list(s, kinds[kind_of_request(t)], version, continue_token);
    answer_object(s, t, answer, list);
    json_decref(list);
}

/* answer all METHOD STATUS: every request of that method that was expected and is open. */
static void answer_all(struct scenario *s, const struct words *words) {
    const struct fake_answer answer = answer_of(s, words, 3);
    struct http_transfer *last = NULL;
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t))
        last = t;
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t)) {
        if (fake_http_is_open(t) && fake_http_is_expected(t) && strcmp(fake_http_method(t), words->word[2]) == 0)
            answer_json(s, t, &answer,
                    answer.status / 100 == 2 && strstr(fake_http_path(t), "/events")
                            ? json_pack("{s:s}", "kind", "Event")
                            : object_status(answer.status, NULL));
        if (t == last)
            return; /* what came because of these answers waits for its own */
    }
}

/* What was written, in a new version: an Event, or a Lease, and who we are is known from then on. */
static json_t *echo_of(struct scenario *s, const struct http_transfer *t, const struct words *words) {
    json_t *object = json_loads(fake_http_body(t), 0, NULL);
    if (strstr(fake_http_path(t), "/events")) {
        json_object_set_new(object, "kind", json_string("Event"));
        return object;
    }
    const char *version = words_value(words, "rv");
    const char *holder = json_string_value(json_object_get(json_object_get(object, "spec"), "holderIdentity"));
    if (!holder || !version)
        scenario_fail(s, "echo answers the write of a Lease, and wants rv=");
    if (*holder)
        snprintf(s->holder, sizeof s->holder, "%s", holder);
    json_object_set_new(json_object_get(object, "metadata"), "resourceVersion", json_string(version));
    return object;
}

/* answer STATUS cut=BYTES list rv=V: the beginning of a list, and no end yet. */
static void answer_beginning(
        struct scenario *s, struct http_transfer *t, const struct fake_answer *answer, const struct words *words) {
    json_t *list = object_list(s, "JobList", words_value(words, "rv"), words_value(words, "continue"));
    encoding_head(s, t, answer);
    encoding_object(s, t, list, (size_t)words_number(s, words_value(words, "cut")));
    json_decref(list);
}

void step_answer(struct scenario *s, const struct words *words) {
    if (words_have(words, "all")) {
        words_need(s, words, 3, "METHOD STATUS");
        answer_all(s, words);
        return;
    }
    struct http_transfer *t = answer_current(s);
    const struct fake_answer answer = answer_of(s, words, 1);
    int what = 2;
    while (what < words->n && strchr(words->word[what], '='))
        what++;
    if (words_value(words, "cut"))
        answer_beginning(s, t, &answer, words);
    else if (words->body)
        answer_text(t, &answer, words->body);
    else if (words_have(words, "list"))
        answer_list(s, t, &answer, words_value(words, "rv"), words_value(words, "continue"));
    else if (words_have(words, "echo"))
        answer_json(s, t, &answer, echo_of(s, t, words));
    else if (words_have(words, "empty"))
        answer_text(t, &answer, "");
    else if (what < words->n)
        answer_json(s, t, &answer, object_make(s, words, what));
    else
        answer_json(s, t, &answer, object_status(answer.status, words_value(words, "message")));
}

void step_head(struct scenario *s, const struct words *words) {
    const struct fake_answer answer = answer_of(s, words, 1);
    encoding_head(s, answer_current(s), &answer);
}

void step_data(struct scenario *s, const struct words *words) {
    const char *text = s->line + strspn(s->line, " \t") + strlen("data");
    (void)words;
    text += strspn(text, " \t");
    if (encoding_is_protobuf(s, answer_current(s)))
        scenario_fail(s, "data is text (a scenario that is about JSON says 'encoding json')");
    fake_http_data(answer_current(s), text, strlen(text));
}

void step_end(struct scenario *s, const struct words *words) {
    (void)words;
    fake_http_end(answer_current(s));
}

/* fail [unsent] [MESSAGE] */
void step_fail(struct scenario *s, const struct words *words) {
    bool unsent = words->n > 1 && strcmp(words->word[1], "unsent") == 0;
    int at = unsent ? 2 : 1;
    fake_http_fail(answer_current(s), !unsent, at < words->n ? words->word[at] : "Connection reset by peer");
}

/* ---- objects, in lists and as events ---- */

/* Takes the object. */
static void send_frame(struct scenario *s, int kind, const char *namespace, const char *type, json_t *object) {
    struct http_transfer *t = request_find_watch(kind, namespace);
    world_note(s, kind, type, object);
    if (!t)
        scenario_fail(s, "no watch is open that this event could come by");
    encoding_event(s, t, type, object);
    json_decref(object);
}

/* event ADDED|MODIFIED|DELETED OBJECT; event BOOKMARK KIND rv=V; event ERROR KIND CODE [MESSAGE] */
void step_event(struct scenario *s, const struct words *words) {
    const char *type = words_need(s, words, 1, "ADDED, MODIFIED, DELETED, BOOKMARK or ERROR");
    if (strcmp(type, "BOOKMARK") == 0) {
        const char *version = words_value(words, "rv");
        send_frame(s, kind_of_name(words_need(s, words, 2, "a kind")), words_value(words, "in"), type,
                json_pack("{s:{s:s}}", "metadata", "resourceVersion", version ? version : ""));
        return;
    }
    if (strcmp(type, "ERROR") == 0) {
        int code = (int)words_number(s, words_need(s, words, 3, "a code"));
        send_frame(s, kind_of_name(words->word[2]), words_value(words, "in"), type,
                object_status(code, words->n > 4 ? words->word[4] : NULL));
        return;
    }
    json_t *object = object_make(s, words, 2);
    const json_t *metadata = json_object_get(object, "metadata");
    int kind = kind_of_object(object);
    const char *namespace =
            json_string_value(json_object_get(metadata, kind == KIND_NAMESPACES ? "name" : "namespace"));
    send_frame(s, kind, namespace, type, object);
}

void step_item(struct scenario *s, const struct words *words) {
    json_array_append_new(s->items, object_make(s, words, 1));
}

/* COUNT times the rest of the line, with its % replaced by 1, 2, 3... */
static void repeat(
        struct scenario *s, const struct words *words, void (*step)(struct scenario *, const struct words *)) {
    long count = words_number(s, words_need(s, words, 1, "a count"));
    const char *rest = strstr(s->line, words->word[1]) + strlen(words->word[1]);
    for (long i = 1; i <= count; i++) {
        struct strbuf line = STRBUF_INIT(LINE_MAX_BYTES);
        struct words again;
        strbuf_add_text(&line, "again ");
        for (const char *at = rest; *at; at++) {
            if (*at == '%')
                strbuf_add_format(&line, "%ld", i);
            else
                strbuf_add_char(&line, *at);
        }
        words_init(&again, strbuf_text(&line));
        step(s, &again);
        words_finish(&again);
        strbuf_finish(&line);
    }
}

void step_items(struct scenario *s, const struct words *words) {
    repeat(s, words, step_item);
}

void step_events(struct scenario *s, const struct words *words) {
    repeat(s, words, step_event);
}

/* ---- everything up to the open watches, for scenarios that are about what comes after ---- */

static bool is_in(const json_t *object, const struct http_transfer *t) {
    const json_t *metadata = json_object_get(object, "metadata");
    const char *kind = json_string_value(json_object_get(object, "kind"));
    static const char *const kinds[] = {"Namespace", "CronJob", "Job"};
    int which = kind_of_request(t);
    if (kind && strcmp(kind, kinds[which]) != 0)
        return false;
    const char *namespace =
            json_string_value(json_object_get(metadata, which == KIND_NAMESPACES ? "name" : "namespace"));
    return request_covers(t, namespace ? namespace : "");
}

/* The object that a request for a single one is about, or NULL. */
static json_t *find_single(const struct http_transfer *t, json_t *all) {
    size_t i;
    json_t *object;
    json_array_foreach (all, i, object) {
        if (is_in(object, t))
            return object;
    }
    return NULL;
}

/* The Namespaces a and b are there unless the scenario names its own. */
static void add_namespaces(struct scenario *s) {
    size_t i;
    json_t *object;
    json_array_foreach (s->items, i, object) {
        const char *kind = json_string_value(json_object_get(object, "kind"));
        if (kind && strcmp(kind, "Namespace") == 0)
            return;
    }
    for (const char *name = "a"; name; name = *name == 'a' ? "b" : NULL)
        json_array_append_new(s->items, json_pack("{s:s, s:{s:s, s:s}}", "kind", "Namespace", "metadata", "name", name,
                                                "resourceVersion", "1"));
}

bool answer_from(struct scenario *s, struct http_transfer *t, json_t *all) {
    const char *path = fake_http_path(t);
    const struct fake_answer ok = {
            .status = 200, .retry_after_ms = -1, .date_ms = s->no_date ? TIME_NONE : fake_server_ms() / 1000 * 1000};
    json_t *answer = NULL;
    if (strcmp(path, "/version") == 0)
        answer = json_pack("{s:s}", "gitVersion", "v1.31.0");
    else if (strcmp(path, "/api/v1/namespaces/kube-system") == 0)
        answer = json_pack("{s:{s:s}}", "metadata", "uid", "cluster-1");
    else if (strcmp(path, "/apis/batch/v1") == 0)
        answer = json_pack("{s:[{s:s}, {s:s}]}", "resources", "name", "jobs", "name", "cronjobs");
    else if (kind_of_request(t) == KIND_NONE)
        return false;
    fake_http_expect(t);
    json_t *single = request_is_single(t) ? find_single(t, all) : NULL;
    if (answer) {
        answer_json(s, t, &ok, answer);
    } else if (request_is_single(t) && request_is_watch(t)) {
        encoding_head(s, t, &ok);
        if (single && fake_http_is_open(t))
            encoding_event(s, t, "ADDED", single);
    } else if (request_is_single(t)) {
        struct fake_answer here = ok;
        here.status = single ? 200 : 404;
        answer_json(s, t, &here, single ? json_incref(single) : object_status(404, NULL));
    } else if (request_is_watch(t)) {
        encoding_head(s, t, &ok);
        world_replay(s, t);
        if (kind_of_request(t) != KIND_JOBS && fake_http_is_open(t))
            fake_http_end_after(t, QUIET_WATCH_MS);
    } else {
        size_t i;
        json_t *object;
        json_array_foreach (all, i, object) {
            if (is_in(object, t))
                json_array_append(s->items, object);
        }
        answer_list(s, t, &ok, "100", NULL);
    }
    return true;
}

void step_sync(struct scenario *s, const struct words *words) {
    (void)words;
    add_namespaces(s);
    json_t *all = s->items;
    s->items = json_array();
    for (bool more = true; more;) {
        more = false;
        scenario_settle(s);
        for (struct http_transfer *t = fake_http_first(); t && !more; t = fake_http_next(t))
            more = request_is_wanted(t) && answer_from(s, t, all);
    }
    json_decref(all);
    s->quiet[KIND_NAMESPACES] = s->quiet[KIND_CRONJOBS] = true;
    s->at = NULL;
}

/* on WATCH|METHOD ...: the steps that follow are about this open request. */
void step_on(struct scenario *s, const struct words *words) {
    for (struct http_transfer *t = fake_http_first(); t; t = fake_http_next(t)) {
        if (fake_http_is_open(t) && fake_http_is_expected(t) && request_is(s, t, words, 1)) {
            s->at = t;
            return;
        }
    }
    scenario_fail(s, "no such request is open");
}
