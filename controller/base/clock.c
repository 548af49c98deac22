#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static int64_t read_ms(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t machine_wall_ms(void) {
    return read_ms(CLOCK_REALTIME);
}

/* Unlike CLOCK_MONOTONIC it goes on while the machine is suspended: a lease does not outlive a closed lid. */
static int64_t machine_mono_ms(void) {
    return read_ms(CLOCK_BOOTTIME);
}

static const struct clock_source machine = {machine_wall_ms, machine_mono_ms};
static const struct clock_source *current = &machine;

void clock_use(const struct clock_source *source) {
    current = source ? source : &machine;
}

int64_t clock_wall_ms(void) {
    return current->wall_ms();
}

int64_t clock_mono_ms(void) {
    return current->mono_ms();
}
