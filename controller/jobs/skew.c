#include "jobs/skew.h"

#include "base/clock.h"

#define DATE_RESOLUTION_MS 1000

/* Rounded up: what is rounded off must not make us believe too much. */
static int64_t drift_since(int64_t at_ms, int64_t mono_ms) {
    int64_t age_ms = mono_ms > at_ms ? mono_ms - at_ms : 0;
    return (age_ms * SKEW_DRIFT_PPM + 999999) / 1000000;
}

void skew_sample(struct skew *skew, int64_t sent_ms, int64_t received_ms, int64_t date_ms) {
    struct skew sample = {.known = true,
            .low_ms = date_ms - received_ms,
            .high_ms = date_ms + DATE_RESOLUTION_MS - sent_ms,
            .low_at_ms = received_ms,
            .high_at_ms = received_ms,
            .seen_at_ms = received_ms};
    if (!skew->known) {
        *skew = sample;
        return;
    }
    /* Both as of the same moment. The answer may be an old one that ended only now: a watch. */
    int64_t last_ms = skew->seen_at_ms;
    int64_t as_of_ms = received_ms > last_ms ? received_ms : last_ms;
    int64_t low_ms = skew->low_ms - drift_since(skew->low_at_ms, as_of_ms);
    int64_t high_ms = skew->high_ms + drift_since(skew->high_at_ms, as_of_ms);
    int64_t sample_low_ms = sample.low_ms - drift_since(received_ms, as_of_ms);
    int64_t sample_high_ms = sample.high_ms + drift_since(received_ms, as_of_ms);
    if (low_ms > sample_high_ms || sample_low_ms > high_ms) {
        /* They contradict: a clock was stepped. The newer one counts; and when both were under way at the same time, so
         * that nobody knows which that is, the one that promises less. */
        bool ambiguous = sent_ms < last_ms && sample_low_ms > low_ms;
        if (received_ms >= last_ms && !ambiguous)
            *skew = sample;
        return;
    }
    skew->seen_at_ms = as_of_ms;
    /* The better bound stays with its own time: to move it on at each sample would lose fractions of its drift. */
    if (sample_low_ms >= low_ms) {
        skew->low_ms = sample.low_ms;
        skew->low_at_ms = received_ms;
    }
    if (sample_high_ms <= high_ms) {
        skew->high_ms = sample.high_ms;
        skew->high_at_ms = received_ms;
    }
}

int64_t skew_server_now(const struct skew *skew, int64_t mono_ms) {
    return skew->known ? mono_ms + skew->low_ms - drift_since(skew->low_at_ms, mono_ms) : TIME_NONE;
}

int64_t skew_safe_now(const struct skew *skew, int64_t wall_ms, int64_t mono_ms) {
    int64_t server_ms = skew_server_now(skew, mono_ms);
    return server_ms < wall_ms ? server_ms : wall_ms;
}

/* The latest that it can be at the server at mono_ms. */
static int64_t latest(const struct skew *skew, int64_t mono_ms) {
    return mono_ms + skew->high_ms + drift_since(skew->high_at_ms, mono_ms);
}

int64_t skew_width_ms(const struct skew *skew, int64_t mono_ms) {
    return skew->known ? latest(skew, mono_ms) - skew_server_now(skew, mono_ms) : INT64_MAX;
}

/* How long before mono_ms a second began at the server, should its clock be in the middle of what is possible. */
static int64_t since_second(const struct skew *skew, int64_t mono_ms) {
    int64_t server_ms = skew_server_now(skew, mono_ms) + skew_width_ms(skew, mono_ms) / 2;
    return (server_ms % DATE_RESOLUTION_MS + DATE_RESOLUTION_MS) % DATE_RESOLUTION_MS;
}

int64_t skew_ask_at(struct skew_lessons *lessons, const struct skew *skew, int64_t now_ms, int64_t by_ms) {
    int64_t width_ms = skew_width_ms(skew, now_ms), was_ms = lessons->width_ms;
    if (!skew->known || by_ms <= now_ms)
        return by_ms;
    lessons->width_ms = width_ms;
    if (width_ms <= (lessons->pause_ms ? SKEW_SHARP_MS : SKEW_BLUNT_MS)) {
        lessons->pause_ms = 0;
        int64_t last_ms = by_ms - since_second(skew, by_ms);
        return last_ms > now_ms ? last_ms : by_ms;
    }
    bool in_vain = lessons->pause_ms && width_ms > was_ms * 3 / 4;
    if (!in_vain)
        lessons->pause_ms = SKEW_PAUSE_FIRST_MS;
    else if (lessons->pause_ms < by_ms - now_ms)
        lessons->pause_ms *= 2;
    int64_t next_ms = now_ms + lessons->pause_ms;
    next_ms += DATE_RESOLUTION_MS - since_second(skew, next_ms);
    return next_ms < by_ms ? next_ms : by_ms;
}

int64_t skew_from_wall(const struct skew *skew, int64_t wall_ms, int64_t mono_ms) {
    if (!skew->known)
        return 0;
    int64_t least_ms = mono_ms + skew->low_ms - wall_ms, most_ms = mono_ms + skew->high_ms - wall_ms;
    return least_ms > 0 ? least_ms : most_ms < 0 ? most_ms : 0;
}
