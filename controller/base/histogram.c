#include "base/histogram.h"

void histogram_observe(struct histogram *histogram, int64_t value) {
    const struct histogram_scale *scale = histogram->scale;
    if (value < 0)
        value = 0;
    int bucket = 0;
    while (bucket < scale->n && value > scale->upper[bucket])
        bucket++;
    histogram->counts[bucket]++;
    if (__builtin_add_overflow(histogram->sum, value, &histogram->sum))
        histogram->sum = INT64_MAX;
}

uint64_t histogram_within(const struct histogram *histogram, int bucket) {
    uint64_t within = 0;
    for (int i = 0; i <= bucket; i++)
        within += histogram->counts[i];
    return within;
}
