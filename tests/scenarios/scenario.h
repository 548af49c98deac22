/*
 * scenario: one text file played on the engine, a step a line. README.md says what the steps are.
 *
 * scenario_play returns when every step held; the first that does not ends the test with file, line, what was expected
 * and what was seen. Memory is not looked after then: each scenario is a process of its own.
 */
#pragma once

#include <jansson.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "cmd/config.h"
#include "cmd/engine.h"
#include "fake.h"

#define WORDS_MAX 48
#define LINE_MAX_BYTES (1u << 20)
#define QUIET_WATCH_MS 300000 /* the shortest timeoutSeconds there is */

/* A line: its words (white space between them, "quotes" around what holds some), and what begins with { or <, whole. */
struct words {
    char *copy;
    const char *word[WORDS_MAX];
    int n;
    const char *body; /* NULL: none */
};

struct scenario {
    const char *path, *line; /* where we are, for messages */
    int number;

    struct loop *loop;
    struct engine *engine;
    struct config *config;
    struct kube_config *kube_config;
    struct strbuf config_text; /* lines for the next start or reload */
    json_t *items;             /* for the next list */
    struct http_transfer *at;  /* the request that was expected last */
    bool protobuf;             /* the API server speaks it */
    bool no_date;              /* answers carry no Date */
    bool network_is_slow;      /* what is started is not sent yet */
    char holder[128];          /* the engine's identity, once it wrote a Lease */
    bool quiet[3];             /* namespaces, cronjobs, jobs: their watches are opened and ended without a word */
    bool stopped, finished;
    struct error finish_error;
    char token_path[64];

    /* tests/torture: a step that does not hold is passed over, and the world is what was told of the cluster. */
    const struct scenario_torture *torture; /* NULL: a step that does not hold ends the test */
    json_t *world, *events, *lease;
    int versions; /* that the world gave */
    jmp_buf next_line;
    int n_missed, n_deletes;

    int log_fd, stderr_fd;
    struct strbuf log;
    size_t log_at; /* what came before was looked at */
};

/* A scenario whose allocations fail. Its steps need not hold; the promises that the fakes watch must. */
struct scenario_torture {
    /* After a step that did not hold: whether there is memory again, so that it may be waited for. */
    bool (*may_recover)(void);
    /* The steps are over: from here on there is memory, and a cluster that answers. */
    void (*calm)(void);
    int64_t calm_ms; /* how long that lasts */
};

#define SCENARIO_BROKEN 3 /* the exit code when a promise was broken */

/* How it ended. */
struct scenario_outcome {
    bool failed, over; /* it did not start, or ended because of an error; it has ended, or was told to */
    int missed;        /* steps that did not hold */
    int deletes;       /* that were sent */
    json_t *stuck;     /* a new reference: its keys are the uids of what should have been deleted long ago */
};

struct Suite;
/* events.c: what no scenario can say of kube/events. */
void scenario_add_events(struct Suite *suite);

/* Unless it is about one encoding, each is played with an API server that speaks protobuf and with one that does not.
 */
bool scenario_has_encoding(const char *path, bool protobuf);
void scenario_play(const char *path, bool protobuf);
void scenario_play_tortured(
        const char *path, bool protobuf, const struct scenario_torture *torture, struct scenario_outcome *ret_outcome);

/* Ends the test. */
_Noreturn void scenario_fail(const struct scenario *s, const char *fmt, ...) printf_like(2, 3);

/* ---- world.c ---- */

void world_put(struct scenario *s, json_t *object);
/* An event, whether or not there is a watch by which it comes; and a list. In their order, for watches that resume. */
void world_note(struct scenario *s, int kind, const char *type, json_t *object);
/* The items are the answer to this list. */
void world_note_list(struct scenario *s, const struct http_transfer *list, const char *version);
/* The object that this GET is about, as it was answered; NULL: there is none. */
void world_note_single(struct scenario *s, const struct http_transfer *get, json_t *object);
/* The items were for an answer that was not given: then they come as events. */
void world_take_items(struct scenario *s);
/* The Job that this request is about, if it is about one, is no more. */
void world_note_deleted(struct scenario *s, const struct http_transfer *transfer);
/* A Lease as it was answered; NULL: there is none. */
void world_note_lease(struct scenario *s, json_t *lease);
/* What has happened since the resourceVersion that this watch asks for, as the API server sends it. */
void world_replay(struct scenario *s, struct http_transfer *watch);
/* Answers what is asked for and not expected, until there is nothing more. deletes: DELETEs too. */
void world_serve(struct scenario *s, bool deletes);
/* The uids of the Jobs that should have been deleted for_ms ago, as the keys of a new object. */
json_t *world_overdue(const struct scenario *s, int64_t for_ms);
/* Ends the scenario when this DELETE is one that must not be. */
void world_check_delete(struct scenario *s, const struct http_transfer *transfer);
/* For so long, everything works. */
void world_calm(struct scenario *s, int64_t ms);

/* ---- answers.c, for others ---- */

/* A list, a watch, or what comes before them, answered from all objects there are; false for other requests. */
bool answer_from(struct scenario *s, struct http_transfer *t, json_t *all);
/* A whole answer. Borrows the object, which may be completed. */
void answer_object(const struct scenario *s, struct http_transfer *t, const struct fake_answer *answer, json_t *object);
/* The request that answers are about. */
struct http_transfer *answer_current(const struct scenario *s);

/* ---- encoding.c ---- */

bool encoding_is_protobuf(const struct scenario *s, const struct http_transfer *t);
/* The head of an answer in that encoding, and what follows it. Borrow their objects. most: only so many bytes of it. */
void encoding_head(const struct scenario *s, struct http_transfer *t, const struct fake_answer *answer);
void encoding_object(const struct scenario *s, struct http_transfer *t, json_t *object, size_t most);
void encoding_event(const struct scenario *s, struct http_transfer *t, const char *type, json_t *object);

/* ---- words.c ---- */

void words_init(struct words *words, const char *line);
void words_finish(struct words *words);
/* The value of "key=value" among the words, or NULL. */
const char *words_value(const struct words *words, const char *key);
bool words_have(const struct words *words, const char *word);
/* The word, or a failed scenario that says what should be there. */
const char *words_need(const struct scenario *s, const struct words *words, int index, const char *what);
/* "250ms", "5s", "-1h": with a sign or without. */
int64_t words_duration_ms(const struct scenario *s, const char *text);
long words_number(const struct scenario *s, const char *text);

/* ---- objects.c ---- */

/* "job NS/NAME uid=U rv=V ...", from word first on. A new reference. */
json_t *object_make(const struct scenario *s, const struct words *words, int first);
json_t *object_status(int code, const char *message);
/* A new reference. The items are taken over, and empty afterwards. */
json_t *object_list(struct scenario *s, const char *kind, const char *version, const char *continue_token);

/* ---- steps.c, answers.c, encoding.c, expect.c ---- */

enum { KIND_NAMESPACES, KIND_CRONJOBS, KIND_JOBS, KIND_NONE };
int kind_of_name(const char *name);
int kind_of_object(const json_t *object);
/* Of a list or watch of all or of one Namespace; KIND_NONE for other requests. */
int kind_of_request(const struct http_transfer *transfer);
/* The GET or the watch of a single object: a Namespace of a list. */
bool request_is_single(const struct http_transfer *transfer);
/* Whether a list or watch takes in the objects of this Namespace. */
bool request_covers(const struct http_transfer *transfer, const char *namespace);
bool request_has_parameter(const struct http_transfer *transfer, const char *key, const char *value);
bool request_is_watch(const struct http_transfer *transfer);
/* An open watch of that kind that covers the namespace (NULL: any). */
struct http_transfer *request_find_watch(int kind, const char *namespace);
/* Whether a request is what words say from first on: "GET /path", "DELETE ns/name uid= rv=", "list KIND", "watch KIND".
 */
bool request_is(const struct scenario *s, const struct http_transfer *transfer, const struct words *words, int first);
bool request_is_wanted(const struct http_transfer *transfer); /* open and not expected yet */

/* Let everything happen that is due, or all until a time. */
void scenario_settle(struct scenario *s);
bool scenario_step(struct scenario *s, int64_t until_ms);
const char *scenario_log(struct scenario *s);

void step_expect(struct scenario *s, const struct words *words);
void step_answer(struct scenario *s, const struct words *words);
void step_head(struct scenario *s, const struct words *words);
void step_encoding(struct scenario *s, const struct words *words);
void step_bytes(struct scenario *s, const struct words *words);
void step_data(struct scenario *s, const struct words *words);
void step_end(struct scenario *s, const struct words *words);
void step_fail(struct scenario *s, const struct words *words);
void step_event(struct scenario *s, const struct words *words);
void step_events(struct scenario *s, const struct words *words);
void step_item(struct scenario *s, const struct words *words);
void step_items(struct scenario *s, const struct words *words);
void step_sync(struct scenario *s, const struct words *words);
void step_on(struct scenario *s, const struct words *words);
