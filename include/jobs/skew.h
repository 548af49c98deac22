/*
 * skew: what time it is at the API server, from the Date headers of its answers. Pure.
 *
 * A Date is a whole second, taken at some moment between the request and the answer. Each sample so gives an interval
 * in which the server's clock minus our monotonic clock must lie; samples are intersected, and one that contradicts (a
 * clock was stepped) starts anew. The monotonic clock is the base, so that a step of this machine's wall clock does not
 * move what we believe of the server's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SKEW_DRIFT_PPM 50 /* two clocks disciplined by NTP part by less; the interval widens by this with age */

struct skew {
    bool known;
    int64_t low_ms, high_ms;       /* bounds of server time minus monotonic time */
    int64_t low_at_ms, high_at_ms; /* monotonic, when each bound was true: it widens from then on */
    int64_t seen_at_ms;            /* monotonic: the newest answer that is in this, or that agreed */
};

/* A Date header of date_ms came with an answer that was asked for after sent_ms and was here at received_ms
 * (monotonic). */
void skew_sample(struct skew *skew, int64_t sent_ms, int64_t received_ms, int64_t date_ms);

/* The earliest that it can be at the server at mono_ms; TIME_NONE when nothing is known. */
int64_t skew_server_now(const struct skew *skew, int64_t mono_ms);

/* The time that has passed for sure on both clocks: the smaller one. TIME_NONE when the server's is not known. */
int64_t skew_safe_now(const struct skew *skew, int64_t wall_ms, int64_t mono_ms);

/* How far the server's clock is ahead of wall_ms (negative: behind) at the least; 0 when they may agree. */
int64_t skew_from_wall(const struct skew *skew, int64_t wall_ms, int64_t mono_ms);
