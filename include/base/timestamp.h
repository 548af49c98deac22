/*
 * timestamp: RFC 3339 times and HTTP dates to Unix milliseconds and back. Pure, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TIMESTAMP_TEXT_MAX 32

/* RFC 3339, section 5.6, years 1 to 9999: "2026-01-02T03:04:05Z", fractions and offsets allowed, a leap second counts
 * as the next second. Fractions below a millisecond are dropped. The whole text must be the time. */
int timestamp_parse(const char *text, int64_t *ret_ms, struct error *err) must_check;

/* "2026-01-02T03:04:05Z", with ".678" only where the milliseconds are not zero. "" for TIME_NONE and for years that RFC
 * 3339 cannot show. Returns buf. */
const char *timestamp_format(int64_t ms, char buf[TIMESTAMP_TEXT_MAX]);
/* Kubernetes' MicroTime: the same with six digits of a fraction, neither more nor fewer. */
const char *timestamp_format_micro(int64_t ms, char buf[TIMESTAMP_TEXT_MAX]);

/* IMF-fixdate of RFC 9110, section 5.6.7 ("Sun, 06 Nov 1994 08:49:37 GMT"). */
bool timestamp_parse_http(const char *text, int64_t *ret_ms);
