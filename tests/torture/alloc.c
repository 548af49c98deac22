#include "alloc.h"

#include <errno.h>
#include <execinfo.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Under AddressSanitizer its allocator, so that what is used after it was freed is seen; else the C library's. This
 * file itself is built without it, for it is called before the sanitizer is ready. */
#ifdef ALLOC_ASAN
#define REAL(function) __interceptor_##function
#else
#define REAL(function) __libc_##function
#endif
void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t n, size_t size);
void *REAL(realloc)(void *block, size_t size);
void REAL(free)(void *block);

#define LIVE_MAX (1u << 17) /* a power of two; some times more than the largest path has at once */
#define FRAMES_MAX 40

/* Open addressing; block NULL: free. */
struct live {
    void *block;
    uint64_t number;
    size_t size;
};

static struct live live[LIVE_MAX];
static size_t n_live;
static int trace_fd = -1;
static atomic_flag lock = ATOMIC_FLAG_INIT;
static enum alloc_failure failure;
static uint64_t fail_at, traced;
static atomic_uint_fast64_t count;
static atomic_bool has_failed, begun;

static void take_lock(void) {
    while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
        continue;
}

static void release_lock(void) {
    atomic_flag_clear_explicit(&lock, memory_order_release);
}

/* ---- what is live ---- */

static size_t place_of(const void *block) {
    return (size_t)(((uintptr_t)block >> 4) * 0x9e3779b97f4a7c15u >> 40) & (LIVE_MAX - 1);
}

static size_t find(const void *block) {
    size_t at = place_of(block);
    while (live[at].block && live[at].block != block)
        at = (at + 1) & (LIVE_MAX - 1);
    return at;
}

static void remember(void *block, uint64_t number, size_t size) {
    take_lock();
    if (n_live < LIVE_MAX / 2) {
        live[find(block)] = (struct live){.block = block, .number = number, .size = size};
        n_live++;
    }
    release_lock();
}

/* Entries that were pushed on by the one that goes move up. */
static void close_gap(size_t gap) {
    for (size_t at = (gap + 1) & (LIVE_MAX - 1); live[at].block; at = (at + 1) & (LIVE_MAX - 1)) {
        size_t home = place_of(live[at].block);
        if (((at - home) & (LIVE_MAX - 1)) >= ((at - gap) & (LIVE_MAX - 1))) {
            live[gap] = live[at];
            gap = at;
        }
    }
    live[gap].block = NULL;
}

/* Its number, or 0 when it is none of those that count. */
static uint64_t forget(const void *block) {
    uint64_t number = 0;
    take_lock();
    size_t at = n_live ? find(block) : 0;
    if (n_live && live[at].block) {
        number = live[at].number;
        close_gap(at);
        n_live--;
    }
    release_lock();
    return number;
}

/* ---- which fail ---- */

static void trace(void) {
    static const char title[] = "allocated at:\n";
    void *frames[FRAMES_MAX];
    uint64_t n = traced;
    traced = 0; /* not of what the trace itself allocates */
    (void)!write(trace_fd, title, sizeof title - 1);
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), trace_fd);
    traced = n;
}

/* The number of this allocation, 0 when it does not count; *ret_fails is set. */
static uint64_t next_number(bool *ret_fails) {
    *ret_fails = false;
    if (!atomic_load(&begun) || !alloc_is_armed())
        return 0;
    uint64_t number = atomic_fetch_add(&count, 1) + 1;
    *ret_fails =
            (failure == ALLOC_ONE_FAILS && number == fail_at) || (failure == ALLOC_REST_FAILS && number >= fail_at);
    if (number == traced)
        trace();
    if (*ret_fails)
        atomic_store(&has_failed, true);
    return number;
}

static void *out_of_memory(void) {
    errno = ENOMEM;
    return NULL;
}

/* ---- the family ---- */

void *malloc(size_t size) {
    bool fails;
    uint64_t number = next_number(&fails);
    void *block = fails ? out_of_memory() : REAL(malloc)(size);
    if (block && number)
        remember(block, number, size);
    return block;
}

void *calloc(size_t n, size_t size) {
    bool fails;
    uint64_t number = next_number(&fails);
    void *block = fails ? out_of_memory() : REAL(calloc)(n, size);
    if (block && number)
        remember(block, number, n * size);
    return block;
}

void free(void *block) {
    if (block)
        forget(block);
    REAL(free)(block);
}

void *realloc(void *old, size_t size) {
    bool fails;
    uint64_t number = next_number(&fails);
    if (fails)
        return out_of_memory();
    uint64_t before = old ? forget(old) : 0;
    void *block = REAL(realloc)(old, size);
    if (block && (number || before))
        remember(block, number ? number : before, size);
    else if (!block && old && size && before)
        remember(old, before, 0);
    return block;
}

/* ---- for the test ---- */

void alloc_begin(enum alloc_failure how, uint64_t n) {
    void *frames[2];
    (void)backtrace(frames, 2); /* its first call allocates */
    take_lock();
    if (n_live)
        memset(live, 0, sizeof live);
    n_live = 0;
    release_lock();
    failure = how;
    fail_at = n;
    atomic_store(&count, 0);
    atomic_store(&has_failed, false);
    atomic_store(&begun, true);
}

bool alloc_is_sampled(const char *name, uint64_t n, uint64_t total, uint64_t sample) {
    uint64_t step = sample && sample < total ? total / sample : 1, hash = 5381;
    for (; *name; name++)
        hash = hash * 33 + (unsigned char)*name;
    return n % step == hash % step;
}

void alloc_relent(void) {
    failure = ALLOC_ALL_WORK;
}

uint64_t alloc_count(void) {
    return atomic_load(&count);
}

bool alloc_has_failed(void) {
    return atomic_load(&has_failed);
}

size_t alloc_live(void) {
    return n_live;
}

uint64_t alloc_live_one(size_t *ret_size) {
    for (size_t at = 0; at < LIVE_MAX; at++) {
        if (live[at].block) {
            *ret_size = live[at].size;
            return live[at].number;
        }
    }
    return 0;
}

void alloc_trace(uint64_t n, int fd) {
    traced = n;
    trace_fd = fd;
}
