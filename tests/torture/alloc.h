/*
 * alloc: malloc and its family, for the whole process and all of its libraries, made to fail where asked.
 *
 * Only what is allocated while alloc_is_armed says so counts, is failed and is looked for at the end; the rest is the
 * test's own. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Defined by the test: whether the program runs at this moment, and not the test. */
bool alloc_is_armed(void);

enum alloc_failure {
    ALLOC_ALL_WORK,
    ALLOC_ONE_FAILS, /* the n-th */
    ALLOC_REST_FAILS /* the n-th and all after it */
};

/* Counts anew, from 1. */
void alloc_begin(enum alloc_failure failure, uint64_t n);
/* Whether the n-th of total is one of about sample (0: all), spread evenly; which ones depends on the name. */
bool alloc_is_sampled(const char *name, uint64_t n, uint64_t total, uint64_t sample);

/* From here on all work. They are still counted. */
void alloc_relent(void);
/* How many there were since alloc_begin. */
uint64_t alloc_count(void);
/* Whether one was failed. */
bool alloc_has_failed(void);

/* Blocks allocated since alloc_begin and not freed. */
size_t alloc_live(void);
/* Of one of them: its number. 0: there is none. */
uint64_t alloc_live_one(size_t *ret_size);

/* The stack of the n-th allocation, whenever it comes, on fd; 0: of none. */
void alloc_trace(uint64_t n, int fd);
