#include "base/timestamp.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define YEAR_1_S (-719162 * 86400LL)
#define YEAR_10000_S (2932897 * 86400LL)

/* Days since 1970-01-01 in the proleptic Gregorian calendar, for year >= 1. */
static int64_t days_from_civil(int64_t year, int month, int day) {
    static const int before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t y = year - 1;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return y * 365 + y / 4 - y / 100 + y / 400 + before[month - 1] + (month > 2 && leap) + day - 1 - 719162;
}

static int days_in_month(int64_t year, int month) {
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Exactly n digits; advances. -1 if they are not there. */
static int take_digits(const char **at, int n) {
    int value = 0;
    for (int i = 0; i < n; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return -1;
        value = value * 10 + (**at - '0');
    }
    return value;
}

static bool take_char(const char **at, const char *any) {
    if (!**at || !strchr(any, **at))
        return false;
    (*at)++;
    return true;
}

static bool take_offset(const char **at, int64_t *ret_minutes) {
    if (take_char(at, "Zz")) {
        *ret_minutes = 0;
        return true;
    }
    int sign = **at == '-' ? -1 : 1;
    if (!take_char(at, "+-"))
        return false;
    int hours = take_digits(at, 2);
    if (!take_char(at, ":"))
        return false;
    int minutes = take_digits(at, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
        return false;
    *ret_minutes = sign * (hours * 60 + minutes);
    return true;
}

int timestamp_parse(const char *text, int64_t *ret_ms, struct error *err) {
    const char *at = text;
    int year = take_digits(&at, 4);
    bool ok = year > 0 && take_char(&at, "-");
    int month = ok ? take_digits(&at, 2) : -1;
    ok = month >= 1 && month <= 12 && take_char(&at, "-");
    int day = ok ? take_digits(&at, 2) : -1;
    ok = day >= 1 && day <= days_in_month(year, month) && take_char(&at, "Tt ");
    int hour = ok ? take_digits(&at, 2) : -1;
    ok = hour >= 0 && hour <= 23 && take_char(&at, ":");
    int minute = ok ? take_digits(&at, 2) : -1;
    ok = minute >= 0 && minute <= 59 && take_char(&at, ":");
    int second = ok ? take_digits(&at, 2) : -1;
    ok = second >= 0 && second <= 60;
    int64_t fraction_ms = 0;
    if (ok && *at == '.') {
        at++;
        int scale = 100, digits = 0;
        for (; *at >= '0' && *at <= '9'; at++, digits++, scale /= 10)
            fraction_ms += (*at - '0') * scale;
        ok = digits > 0;
    }
    int64_t offset = 0;
    ok = ok && take_offset(&at, &offset) && *at == '\0';
    if (!ok)
        return error_set(err, ERROR_FORMAT, "not a time like 2026-01-31T12:00:00Z (RFC 3339)");
    int64_t seconds =
            days_from_civil(year, month, day) * 86400 + hour * 3600 + (int64_t)minute * 60 + second - offset * 60;
    /* An offset or a leap second can lead out of the years that can be written. */
    if (seconds < YEAR_1_S || seconds >= YEAR_10000_S)
        return error_set(err, ERROR_FORMAT, "a time outside of the years 1 to 9999");
    *ret_ms = seconds * 1000 + fraction_ms;
    return 0;
}

/* The inverse of days_from_civil, by the 400-year cycle counted from 0000-03-01. */
static void civil_from_days(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    *ret_day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    *ret_month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    *ret_year = year_of_era + era * 400 + (*ret_month <= 2);
}

/* n digits and what follows them. Returns where it goes on. */
static char *put_digits(char *at, int n, int value, char after) {
    for (int i = n - 1; i >= 0; i--, value /= 10)
        at[i] = (char)('0' + value % 10);
    at[n] = after;
    return at + n + 1;
}

const char *timestamp_format(int64_t ms, char buf[TIMESTAMP_TEXT_MAX]) {
    buf[0] = '\0';
    if (ms == TIME_NONE)
        return buf;
    int64_t seconds = ms / 1000, rest_ms = ms % 1000;
    if (rest_ms < 0) {
        rest_ms += 1000;
        seconds--;
    }
    int64_t days = seconds / 86400, of_day = seconds % 86400;
    if (of_day < 0) {
        of_day += 86400;
        days--;
    }
    int64_t year;
    int month, day;
    civil_from_days(days, &year, &month, &day);
    if (year < 1 || year > 9999)
        return buf;
    char *at = put_digits(buf, 4, (int)year, '-');
    at = put_digits(at, 2, month, '-');
    at = put_digits(at, 2, day, 'T');
    at = put_digits(at, 2, (int)(of_day / 3600), ':');
    at = put_digits(at, 2, (int)(of_day / 60 % 60), ':');
    at = put_digits(at, 2, (int)(of_day % 60), rest_ms ? '.' : 'Z');
    if (rest_ms)
        at = put_digits(at, 3, (int)rest_ms, 'Z');
    *at = '\0';
    return buf;
}

const char *timestamp_format_micro(int64_t ms, char buf[TIMESTAMP_TEXT_MAX]) {
    int64_t fraction = (ms % 1000 + 1000) % 1000;
    timestamp_format(ms - fraction, buf);
    size_t len = strlen(buf);
    if (len)
        snprintf(buf + len - 1, TIMESTAMP_TEXT_MAX - len + 1, ".%03d000Z", (int)fraction);
    return buf;
}

bool timestamp_parse_http(const char *text, int64_t *ret_ms) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (strlen(text) < 29 || text[3] != ',' || text[4] != ' ')
        return false;
    const char *at = text + 5;
    int day = take_digits(&at, 2);
    if (day < 1 || !take_char(&at, " "))
        return false;
    int month = 0;
    while (month < 12 && strncmp(months + (size_t)month * 3, at, 3) != 0)
        month++;
    at += 3;
    if (month == 12 || !take_char(&at, " "))
        return false;
    int year = take_digits(&at, 4);
    if (year < 1 || !take_char(&at, " "))
        return false;
    int hour = take_digits(&at, 2);
    if (hour < 0 || hour > 23 || !take_char(&at, ":"))
        return false;
    int minute = take_digits(&at, 2);
    if (minute < 0 || minute > 59 || !take_char(&at, ":"))
        return false;
    int second = take_digits(&at, 2);
    if (second < 0 || second > 60 || strcmp(at, " GMT") != 0 || day > days_in_month(year, month + 1))
        return false;
    *ret_ms = (days_from_civil(year, month + 1, day) * 86400 + hour * 3600 + (int64_t)minute * 60 + second) * 1000;
    return true;
}
