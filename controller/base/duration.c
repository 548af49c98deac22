#include "base/duration.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
    char unit;
    int64_t ms;
} units[] = {
        {'w', 7 * 86400000LL},
        {'d', 86400000LL},
        {'h', 3600000LL},
        {'m', 60000LL},
        {'s', 1000LL},
};
#define UNITS (sizeof units / sizeof units[0])

static int parse_failed(struct error *err, const char *why) {
    return error_set(err, ERROR_FORMAT, "%s (write it like 90s, 30m, 12h, 7d, 2w, 1d12h, 0s or never)", why);
}

int duration_parse(const char *text, int64_t *ret_ms, struct error *err) {
    if (strcmp(text, "never") == 0) {
        *ret_ms = DURATION_NEVER;
        return 0;
    }
    if (strcmp(text, "0") == 0) {
        *ret_ms = 0;
        return 0;
    }
    if (!*text)
        return parse_failed(err, "the duration is empty");
    int64_t total = 0;
    size_t next_unit = 0;
    for (const char *at = text; *at;) {
        int64_t number = 0;
        const char *digits = at;
        for (; *at >= '0' && *at <= '9'; at++) {
            number = number * 10 + (*at - '0');
            if (number > DURATION_MAX_MS)
                return parse_failed(err, "the duration is longer than a century");
        }
        if (at == digits)
            return parse_failed(err, *at == '-' ? "the duration is negative" : "not a duration");
        if (!*at)
            return parse_failed(err, "the duration has no unit");
        size_t unit = 0;
        while (unit < UNITS && units[unit].unit != *at)
            unit++;
        if (unit == UNITS)
            return parse_failed(err, "not a duration");
        if (unit < next_unit)
            return parse_failed(err, "units must come once each, largest first");
        if (number > DURATION_MAX_MS / units[unit].ms || (total += number * units[unit].ms) > DURATION_MAX_MS)
            return parse_failed(err, "the duration is longer than a century");
        next_unit = unit + 1;
        at++;
    }
    *ret_ms = total;
    return 0;
}

const char *duration_format(int64_t ms, char buf[DURATION_TEXT_MAX]) {
    if (ms == DURATION_NEVER) {
        snprintf(buf, DURATION_TEXT_MAX, "never");
        return buf;
    }
    int len = 0, shown = 0;
    bool negative = ms < 0;
    uint64_t rest = negative ? -(uint64_t)ms : (uint64_t)ms;
    if (negative)
        len += snprintf(buf, DURATION_TEXT_MAX, "-");
    if (rest < 1000) {
        snprintf(buf + len, DURATION_TEXT_MAX - (size_t)len, rest ? "%dms" : "%ds", (int)rest);
        return buf;
    }
    /* Weeks are for writing only: "17d" is read faster than "2w3d". */
    for (size_t i = 1; i < UNITS && shown < 2; i++) {
        uint64_t count = rest / (uint64_t)units[i].ms;
        rest %= (uint64_t)units[i].ms;
        if (count == 0 && shown == 0)
            continue;
        if (count)
            len += snprintf(
                    buf + len, DURATION_TEXT_MAX - (size_t)len, "%llu%c", (unsigned long long)count, units[i].unit);
        shown++;
    }
    return buf;
}
