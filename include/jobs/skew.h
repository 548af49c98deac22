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

/* How much is open about the server's clock at mono_ms: between the earliest and the latest that it can be there.
 * INT64_MAX when nothing is known. */
int64_t skew_width_ms(const struct skew *skew, int64_t mono_ms);

/*
 * When to ask for the time. Of an answer that comes when a second may or may not have begun at the server, with even
 * chances, the Date halves what is open: five or six such answers bring a second down to what the way to the server
 * takes, and one now and then keeps it there. At any other moment they would tell next to nothing.
 */
#define SKEW_BLUNT_MS 50 /* with more open than this, some deletions are noticeably later: there are lessons */
#define SKEW_SHARP_MS 20 /* and with this or less they end */
#define SKEW_PAUSE_FIRST_MS \
    500 /* between two of them; doubles where they are in vain: on a slow way, less can be known */

struct skew_lessons {
    int64_t pause_ms; /* before the next one; 0: there are none */
    int64_t width_ms; /* what was open when the last one was planned */
};

/* The moment for a question that has to be asked by by_ms and can be asked from now_ms on (all monotonic): the last
 * good one, or an early one during lessons. Never after by_ms. */
int64_t skew_ask_at(struct skew_lessons *lessons, const struct skew *skew, int64_t now_ms, int64_t by_ms);

/* How far the server's clock is ahead of wall_ms (negative: behind) at the least; 0 when they may agree. */
int64_t skew_from_wall(const struct skew *skew, int64_t wall_ms, int64_t mono_ms);
