/*
 * process: what the kernel says about this process. Any thread; reads /proc, which never blocks.
 */
#pragma once

#include <stdint.h>

#define PROCESS_UNKNOWN INT64_MIN /* the kernel does not tell */

struct process_facts {
    int64_t cpu_us; /* user and system */
    int64_t resident_bytes;
    int64_t open_fds, max_fds;
};
void process_look(struct process_facts *ret);

/* When it began, Unix ms. Take it once: it is reckoned from clocks, and would differ a little each time. */
int64_t process_start_ms(void);
