/*
 * clock: the two clocks, replaceable.
 *
 * TTLs are wall clock (Unix ms, UTC: what the API server's timestamps mean); intervals are monotonic. Tests and the
 * simulation put their own source in place, and then no code below notices. One of the two globals of the program
 * (the other is the log level). Any thread, after clock_use was called.
 */
#pragma once

#include <stdint.h>

#define TIME_NONE INT64_MIN /* no time known */

struct clock_source {
    int64_t (*wall_ms)(void);
    int64_t (*mono_ms)(void);
};

/* NULL restores the machine's clocks. Borrows the source. */
void clock_use(const struct clock_source *source);
int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
