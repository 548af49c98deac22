/*
 * histogram: how often something took how long, counted in fixed buckets. Plain data without allocation; on whichever
 * thread its owner is.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_BUCKETS_MAX 20 /* each is a line of every scrape, for each set of labels */

/* Static tables. Values are whole numbers of a unit of which there are so many in a second. */
struct histogram_scale {
    int64_t per_second;
    int n;
    int64_t upper[HISTOGRAM_BUCKETS_MAX]; /* ascending; a value that equals one is within */
};

struct histogram {
    const struct histogram_scale *scale;
    uint64_t counts[HISTOGRAM_BUCKETS_MAX + 1]; /* by bucket; behind the last, what is above all of them */
    int64_t sum;                                /* stays at INT64_MAX when it gets there */
};

#define HISTOGRAM_INIT(table) \
    { .scale = (table) }

/* Less than 0, by clocks that differ, counts as 0. */
void histogram_observe(struct histogram *histogram, int64_t value);
/* How many were within upper[bucket] or less; all of them for bucket n. */
uint64_t histogram_within(const struct histogram *histogram, int bucket);
