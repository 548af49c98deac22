/*
 * fake: what stands in, at link time, for base/loop.c, kube/http.c and history/writer.c, so that the whole engine runs
 * on a clock, a network and a register of the test's own. One thread; nothing happens unless a scenario makes it
 * happen.
 *
 * The fakes watch the promises that no scenario may break, whatever else it is about: a DELETE carries Background, a
 * uid and a resourceVersion, and both when it is made and when it leaves there are a durable record and a durable
 * intent in a register that can be written. fake_broken tells, and does not return.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"
#include "history/writer.h"
#include "kube/http.h"

/* While the program runs, and not the scenario: whose allocations tests/torture lets fail. */
extern bool fake_in_program;
/* Sets it; returns what it was. */
bool fake_set_in_program(bool in_program);

/* Ends the scenario: a promise of the program was broken. Defined by the runner. */
_Noreturn void fake_broken(const char *fmt, ...) printf_like(1, 2);

/* ---- time ---- */

/* Puts the virtual clock in place. Both wall clocks, this machine's and the API server's, start at wall_ms. */
void fake_clock_start(int64_t wall_ms);
int64_t fake_mono_ms(void);
int64_t fake_server_ms(void);
/* Step a wall clock. Monotonic time goes on as if nothing had happened. */
void fake_clock_step(int64_t by_ms);
void fake_server_step(int64_t by_ms);

/* Everything that is due at this moment. */
void fake_loop_settle(struct loop *loop);
/* Goes to the next timer and settles there, or to until_ms (monotonic) when none is due by then: false. */
bool fake_loop_step(struct loop *loop, int64_t until_ms);

/* ---- network ---- */

struct fake_answer {
    int status;
    int64_t retry_after_ms;   /* -1: none */
    int64_t date_ms;          /* TIME_NONE: none */
    const char *content_type; /* NULL: application/json */
};

/* Requests in order of their start, NULL at the end; they live as long as the http. */
struct http_transfer *fake_http_first(void);
struct http_transfer *fake_http_next(const struct http_transfer *transfer);
const char *fake_http_method(const struct http_transfer *transfer);
const char *fake_http_path(const struct http_transfer *transfer); /* of the URL, with its query */
const char *fake_http_body(const struct http_transfer *transfer); /* "" when there is none */
/* The value of a header that was sent, or NULL. */
const char *fake_http_header(const struct http_transfer *transfer, const char *name);
bool fake_http_is_open(const struct http_transfer *transfer);   /* neither done nor cancelled */
bool fake_http_is_headed(const struct http_transfer *transfer); /* fake_http_head was called */
bool fake_http_is_paused(const struct http_transfer *transfer);
/* The scenario has asked for it (fake_http_expect): what was never expected is a mistake. */
bool fake_http_is_expected(const struct http_transfer *transfer);
void fake_http_expect(struct http_transfer *transfer);

/* As http_set_user_timeout was told; 0: it was not. */
int64_t fake_http_user_timeout_ms(void);
/* The moment at which what was started leaves, or is withheld. Whether anything was. */
bool fake_http_send(void);
/* Answer an open request, piece by piece. While it is paused, pieces and end are kept until it is resumed. */
void fake_http_head(struct http_transfer *transfer, const struct fake_answer *answer);
void fake_http_data(struct http_transfer *transfer, const char *data, size_t len);
void fake_http_end(struct http_transfer *transfer);
void fake_http_end_after(struct http_transfer *transfer, int64_t delay_ms);
void fake_http_fail(struct http_transfer *transfer, bool sent, const char *why);

/* A DELETE leaves this machine. Defined by the runner. */
void fake_delete_leaves(const struct http_transfer *transfer);

/* ---- register ---- */

struct fake_record {
    enum history_op op;
    char uid[UID_MAX];
    struct run_policy policy;
    enum run_cause cause;
    bool has_run, refused, expected;
    bool durable;                    /* in the register that is there now */
    struct history_request *request; /* NULL once it is answered */
    struct fake_record *next;
};

/* Rows for writer_each_open, and whether what is submitted becomes durable by itself. */
void fake_writer_add_open(
        const char *namespace, const char *name, const char *uid, enum run_state state, int64_t due_ms);
/* Rows for writer_each_recreated. */
void fake_writer_add_deleted(const char *namespace, const char *name, int64_t created_ms, int64_t deleted_ms);
void fake_writer_set_auto(bool automatic);
struct fake_record *fake_writer_first(void);
/* The first n of what waits; false when there is not so much or the store fails. n 0: all. */
bool fake_writer_durable(int n);
bool fake_writer_refuse(const char *uid);
/* Another register is in the place of this one: what was in it is forgotten. */
void fake_writer_begins_anew(void);
void fake_writer_fails(const char *why); /* NULL: it works again */
void fake_writer_set_room(bool room);
/* Forget everything, at the end. */
void fake_writer_reset(void);
bool fake_writer_is_failing(void);
/* What invariant 1 asks for before a DELETE. */
bool fake_writer_knows_intent(const char *uid);
