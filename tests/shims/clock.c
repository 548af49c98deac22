/*
 * clock: preloaded into a program under test, gives it a wall clock that can be stepped, and time that can be made to
 * fly, while it runs.
 *
 * The file named by SEXTON_TEST_CLOCK (clock.h) is mapped, so that a write to it takes effect at once. The wall clock
 * is stepped, but goes on at its own speed: TTLs stay true, while intervals, time-outs and backoffs of minutes take
 * seconds. Waiting is cut into short pieces, since the speed may change meanwhile.
 */
#include "clock.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)
#define PIECE_NS INT64_C(20000000)

static const volatile struct shim_clock *shared;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("SEXTON_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shared, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        abort(); /* a test that believes it steps a clock must not go on without one */
    close(fd);
    shared = mapped;
}

static struct shim_phase current_phase(void) {
    uint32_t at = shared->phase & 1;
    return (struct shim_phase){.real_ns = shared->phases[at].real_ns,
            .virtual_ns = shared->phases[at].virtual_ns,
            .speed = shared->phases[at].speed};
}

/* Not by dlsym: sanitizers ask for the time before the linker is done. */
static int machine_time(clockid_t id, struct timespec *now) {
    return (int)syscall(SYS_clock_gettime, id, now);
}

static int64_t to_ns(const struct timespec *time) {
    return time->tv_sec * SECOND_NS + time->tv_nsec;
}

static struct timespec from_ns(int64_t ns) {
    return (struct timespec){.tv_sec = ns / SECOND_NS, .tv_nsec = ns % SECOND_NS};
}

static int64_t real_mono_ns(void) {
    struct timespec now = {0};
    machine_time(CLOCK_MONOTONIC, &now);
    return to_ns(&now);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int result = machine_time(id, now);
    if (result != 0 || !shared)
        return result;
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) {
        *now = from_ns(to_ns(now) + shared->offset_ms * 1000000);
    } else if (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_MONOTONIC_RAW ||
               id == CLOCK_BOOTTIME) {
        struct shim_phase phase = current_phase();
        *now = from_ns(shim_virtual_ns(&phase, real_mono_ns()));
    }
    return result;
}

time_t time(time_t *ret) {
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone) {
    struct timespec now = {0};
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

/* The kernel's own times do not fly. Those that are asked for in seconds become one second at least. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
    int hurried;
    if (shared && shared->tcp_hurry && level == IPPROTO_TCP && len == sizeof hurried &&
            (name == TCP_KEEPIDLE || name == TCP_KEEPINTVL || name == TCP_USER_TIMEOUT)) {
        __builtin_memcpy(&hurried, value, sizeof hurried);
        hurried = hurried / (int)shared->tcp_hurry;
        if (hurried < 1)
            hurried = 1;
        value = &hurried;
    }
    return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}

/* How long to wait now, in real time, for a moment of virtual time. */
static int64_t piece_until(int64_t virtual_ns) {
    struct shim_phase phase = current_phase();
    int64_t left_ns = (virtual_ns - shim_virtual_ns(&phase, real_mono_ns())) / phase.speed;
    return left_ns < 0 ? 0 : left_ns < PIECE_NS ? left_ns : PIECE_NS;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout_ms) {
    struct shim_phase phase = current_phase();
    int64_t until_ns = shim_virtual_ns(&phase, real_mono_ns()) + timeout_ms * INT64_C(1000000);
    for (;;) {
        int64_t piece_ns = timeout_ms < 0 ? PIECE_NS : piece_until(until_ns);
        int n = (int)syscall(SYS_epoll_pwait, fd, events, max, (int)((piece_ns + 999999) / 1000000), NULL, 0);
        if (n != 0 || (timeout_ms >= 0 && piece_ns < PIECE_NS))
            return n;
    }
}

int pthread_cond_timedwait(
        pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real) {
        void *symbol = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        __builtin_memcpy(&real, &symbol, sizeof real);
    }
    struct timespec wall;
    machine_time(CLOCK_REALTIME, &wall);
    if (until->tv_sec > wall.tv_sec / 2)
        return real(condition, mutex, until); /* of the wall clock */
    /* May wake for nothing, as every wait on a condition may. */
    struct timespec piece = from_ns(real_mono_ns() + piece_until(to_ns(until)));
    return real(condition, mutex, &piece);
}
