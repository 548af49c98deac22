#include "base/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1000000

static int64_t resident_bytes(void) {
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    int read = file ? fscanf(file, "%*s %lld", &pages) : 0;
    if (file)
        fclose(file);
    return read == 1 ? pages * sysconf(_SC_PAGESIZE) : PROCESS_UNKNOWN;
}

static int64_t open_fds(void) {
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return PROCESS_UNKNOWN;
    int64_t n = 0;
    for (const struct dirent *entry; (entry = readdir(folder));)
        n += entry->d_name[0] != '.';
    closedir(folder);
    return n - 1; /* without the one that reads */
}

void process_look(struct process_facts *ret) {
    struct rusage usage;
    struct rlimit limit;
    *ret = (struct process_facts){PROCESS_UNKNOWN, resident_bytes(), open_fds(), PROCESS_UNKNOWN};
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        ret->cpu_us = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) + usage.ru_utime.tv_usec +
                      usage.ru_stime.tv_usec;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        ret->max_fds = (int64_t)limit.rlim_cur;
}

static int64_t now_ms(clockid_t clock) {
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / NS_PER_MS;
}

/* proc(5): field 22 of stat, in ticks since the boot. The name in field 2 may hold anything. */
int64_t process_start_ms(void) {
    char text[1024];
    unsigned long long ticks;
    FILE *file = fopen("/proc/self/stat", "re");
    size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[len] = '\0';
    const char *at = strrchr(text, ')');
    if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                       &ticks) != 1)
        return PROCESS_UNKNOWN;
    int64_t since_boot_ms = (int64_t)ticks * 1000 / sysconf(_SC_CLK_TCK);
    return now_ms(CLOCK_REALTIME) - (now_ms(CLOCK_BOOTTIME) - since_boot_ms);
}
