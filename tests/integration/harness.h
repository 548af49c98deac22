/*
 * harness: what the integration tests stand on: a folder of their own, processes, and waiting with a deadline.
 *
 * Each test runs in a process of its own (Check's fork mode). What is returned as const char * lives until its end.
 * What it started is killed at its end, whichever it is: Check kills the process group, and the kernel the children of
 * a parent that died. A test never sleeps: it waits for something that is to happen, and fails when that takes too
 * long.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#define WAIT_MS 25000 /* for what takes milliseconds when nothing else goes on; less than a test may take */
#define SOAK_SECONDS 3600
#define TEST_SECONDS 60 /* for a whole test, on a busy machine and with sanitizers */

#define test_fail(...) test_fail_at(__FILE__, __LINE__, NULL, __VA_ARGS__)
/* Like ck_assert_msg, and shows what the processes wrote. */
#define expect(condition, ...) \
    do { \
        if (!(condition)) \
            test_fail_at(__FILE__, __LINE__, #condition, __VA_ARGS__); \
    } while (0)
#define expect_text(got, wanted) expect_text_at(__FILE__, __LINE__, #got, got, wanted)
#define expect_number(got, wanted) expect_number_at(__FILE__, __LINE__, #got, got, wanted)
#define expect_contains(text, part) expect_contains_at(__FILE__, __LINE__, #text, text, part, true)
#define expect_lacks(text, part) expect_contains_at(__FILE__, __LINE__, #text, text, part, false)
#define wait_until(condition) \
    do { \
        int64_t deadline_ms_ = mono_ms() + wait_ms(); \
        int looks_ = 0; \
        while (!(condition)) { \
            if (mono_ms() > deadline_ms_) \
                test_fail("waited in vain for '%s'", #condition); \
            let_others_run(looks_++); \
        } \
    } while (0)

noreturn void test_fail_at(const char *file, int line, const char *condition, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
void expect_text_at(const char *file, int line, const char *what, const char *got, const char *wanted);
void expect_number_at(const char *file, int line, const char *what, int64_t got, int64_t wanted);
void expect_contains_at(
        const char *file, int line, const char *what, const char *text, const char *part, bool is_wanted);

/* How long wait_until waits: WAIT_MS, unless a test of minutes asked for more. */
int64_t wait_ms(void);
void wait_patiently(int64_t ms);
int64_t mono_ms(void);
int64_t wall_ms(void);
/* A moment, between two looks at a condition; longer after many. */
void let_others_run(int looks);

const char *format(const char *text, ...) __attribute__((format(printf, 1, 2)));
/* The same with every ' made a ", so that JSON can be read within C. */
const char *json_format(const char *text, ...) __attribute__((format(printf, 1, 2)));
/* Takes the text. */
const char *keep(char *text);
int count_of(const char *text, const char *part);

/* main, before and after everything. */
void harness_init(void);
void harness_finish(void);
/* Fixtures of every test. */
void test_setup(void);
void test_teardown(void);

/* A path in the test's folder. */
const char *in_folder(const char *name);
const char *write_file(const char *name, const char *text);
void write_bytes(const char *path, const void *data, size_t len);
const char *read_file(const char *path);
bool file_exists(const char *path);

/* ---- processes ---- */

struct process;

struct start {
    const char *const *argv;
    const char *input;                                   /* for its standard input; NULL: nothing */
    size_t input_len;                                    /* 0: strlen(input) */
    const char *const *env;                              /* "NAME=value" on top of ours, NULL-terminated, or NULL */
    enum { FILES, TERMINAL_ERR, TERMINAL_OUT } terminal; /* which of its outputs is a terminal */
};

struct process *process_start(const struct start *start);
void process_signal(struct process *process, int number);
int process_id(const struct process *process);
bool process_has_ended(struct process *process);
/* Exit code, or 128 and the signal's number. */
int process_wait(struct process *process);
/* What it wrote so far. */
const char *process_out(struct process *process);
const char *process_err(struct process *process);

/* One that ends by itself, from start to end. */
struct result {
    int code;
    const char *out, *err;
};
struct result process_run(const struct start *start);
