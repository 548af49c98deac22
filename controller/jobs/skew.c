#include "jobs/skew.h"

#include "base/clock.h"

#define DATE_RESOLUTION_MS 1000

static int64_t drift_since(const struct skew *skew, int64_t mono_ms) {
    int64_t age_ms = mono_ms > skew->at_ms ? mono_ms - skew->at_ms : 0;
    return age_ms * SKEW_DRIFT_PPM / 1000000;
}

void skew_sample(struct skew *skew, int64_t sent_ms, int64_t received_ms, int64_t date_ms) {
    struct skew sample = {.known = true,
            .low_ms = date_ms - received_ms,
            .high_ms = date_ms + DATE_RESOLUTION_MS - sent_ms,
            .at_ms = received_ms};
    if (skew->known && received_ms < skew->at_ms) {
        /* An old answer that ends only now (a watch): it may add to what is known, and never undo it. */
        if (sample.low_ms > skew->low_ms && sample.low_ms <= skew->high_ms)
            skew->low_ms = sample.low_ms;
        if (sample.high_ms < skew->high_ms && sample.high_ms >= skew->low_ms)
            skew->high_ms = sample.high_ms;
        return;
    }
    if (skew->known) {
        int64_t drift_ms = drift_since(skew, received_ms);
        int64_t low_ms = skew->low_ms - drift_ms, high_ms = skew->high_ms + drift_ms;
        if (low_ms <= sample.high_ms && sample.low_ms <= high_ms) {
            if (low_ms > sample.low_ms)
                sample.low_ms = low_ms;
            if (high_ms < sample.high_ms)
                sample.high_ms = high_ms;
        }
    }
    *skew = sample;
}

int64_t skew_server_now(const struct skew *skew, int64_t mono_ms) {
    return skew->known ? mono_ms + skew->low_ms - drift_since(skew, mono_ms) : TIME_NONE;
}

int64_t skew_safe_now(const struct skew *skew, int64_t wall_ms, int64_t mono_ms) {
    int64_t server_ms = skew_server_now(skew, mono_ms);
    return server_ms < wall_ms ? server_ms : wall_ms;
}

int64_t skew_from_wall(const struct skew *skew, int64_t wall_ms, int64_t mono_ms) {
    if (!skew->known)
        return 0;
    int64_t least_ms = mono_ms + skew->low_ms - wall_ms, most_ms = mono_ms + skew->high_ms - wall_ms;
    return least_ms > 0 ? least_ms : most_ms < 0 ? most_ms : 0;
}
