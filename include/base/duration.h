/*
 * duration: how long, as people write it in annotations and configuration. Pure, any thread.
 *
 * "90s", "30m", "12h", "7d", "2w", "1d12h" (units once each, largest first), "0", "0s", "never". A bare number other
 * than 0 is refused, for its unit would be a guess; so are signs, spaces, fractions and what does not fit.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

#define DURATION_NEVER INT64_MAX
#define DURATION_MAX_MS \
    (100LL * 366 * 86400 * 1000) /* a century: more is a slip of the keyboard, and sums cannot overflow */
#define DURATION_TEXT_MAX 40

/* ret_ms: milliseconds, or DURATION_NEVER. */
int duration_parse(const char *text, int64_t *ret_ms, struct error *err) must_check;

/* The two largest units, for people to read: "3d4h", "12m5s", "0s", "250ms" below a second, "never". Returns buf. */
const char *duration_format(int64_t ms, char buf[DURATION_TEXT_MAX]);
