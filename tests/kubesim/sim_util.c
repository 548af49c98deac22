#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "sim_util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int64_t clock_ms(clockid_t id) {
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t sim_wall_ms(void) {
    return clock_ms(CLOCK_REALTIME);
}

int64_t sim_mono_ms(void) {
    return clock_ms(CLOCK_MONOTONIC);
}

static struct tm utc_of(int64_t wall_ms) {
    time_t seconds = (time_t)(wall_ms >= 0 ? wall_ms / 1000 : (wall_ms - 999) / 1000);
    struct tm tm = {0};

    gmtime_r(&seconds, &tm);
    return tm;
}

void sim_time_format(int64_t wall_ms, char out[SIM_TIME_SIZE]) {
    struct tm tm = utc_of(wall_ms);

    strftime(out, SIM_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void sim_date_format(int64_t wall_ms, char out[SIM_TIME_SIZE]) {
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm = utc_of(wall_ms);

    snprintf(out, SIM_TIME_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday % 7], (unsigned)tm.tm_mday % 32,
            months[tm.tm_mon % 12], (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 24,
            (unsigned)tm.tm_min % 60, (unsigned)tm.tm_sec % 61);
}

static void random_fill(void *out, size_t len) {
    /* Up to 256 bytes arrive whole, getrandom(2). */
    if (getrandom(out, len, 0) != (ssize_t)len)
        abort();
}

void sim_uid_make(char out[SIM_UID_SIZE]) {
    unsigned char b[16];

    random_fill(b, sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(out, SIM_UID_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
            b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

void sim_suffix_make(char *out, size_t len) {
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    unsigned char b[32];

    if (len > sizeof(b))
        len = sizeof(b);
    random_fill(b, len);
    for (size_t i = 0; i < len; i++)
        out[i] = alphabet[b[i] % (sizeof(alphabet) - 1)];
    out[len] = '\0';
}

void *sim_alloc(size_t size) {
    void *memory = calloc(1, size ? size : 1);

    if (!memory)
        abort();
    return memory;
}

char *sim_strdup(const char *text) {
    char *copy = strdup(text);

    if (!copy)
        abort();
    return copy;
}

char *sim_format(const char *format, ...) {
    va_list ap;
    char *text = NULL;

    va_start(ap, format);
    if (vasprintf(&text, format, ap) < 0)
        abort();
    va_end(ap);
    return text;
}

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *sim_base64_encode(const void *data, size_t len) {
    const unsigned char *in = data;
    char *out = sim_alloc((len + 2) / 3 * 4 + 1);
    char *p = out;

    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        unsigned v = (unsigned)in[i] << 16 | (left > 1 ? (unsigned)in[i + 1] << 8 : 0) | (left > 2 ? in[i + 2] : 0U);

        *p++ = base64_alphabet[v >> 18 & 63];
        *p++ = base64_alphabet[v >> 12 & 63];
        *p++ = '=';
        *p++ = '=';
        if (left > 1)
            p[-2] = base64_alphabet[v >> 6 & 63];
        if (left > 2)
            p[-1] = base64_alphabet[v & 63];
    }
    return out;
}

char *sim_base64_decode(const char *text, size_t *ret_len) {
    size_t len = strlen(text);
    char *out = sim_alloc(len / 4 * 3 + 4);
    size_t n = 0;
    unsigned v = 0;
    unsigned bits = 0;

    while (len > 0 && text[len - 1] == '=')
        len--;
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] ? strchr(base64_alphabet, text[i]) : NULL;

        if (!at) {
            free(out);
            return NULL;
        }
        v = (v << 6 | (unsigned)(at - base64_alphabet)) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[n++] = (char)(v >> bits & 0xff);
        }
    }
    out[n] = '\0';
    *ret_len = n;
    return out;
}

char *sim_file_read(const char *path, size_t *ret_len) {
    FILE *file = fopen(path, "re");
    char *data = NULL;
    size_t len = 0;
    size_t size = 0;

    if (!file)
        return NULL;
    for (;;) {
        if (size - len < 4096) {
            size = size ? size * 2 : 16384;
            data = realloc(data, size);
            if (!data)
                abort();
        }
        size_t got = fread(data + len, 1, size - len - 1, file);
        if (got == 0)
            break;
        len += got;
    }
    if (ferror(file)) {
        int error = errno;

        free(data);
        fclose(file);
        errno = error;
        return NULL;
    }
    fclose(file);
    data[len] = '\0';
    *ret_len = len;
    return data;
}

bool sim_parse_uint(const char *text, uint64_t *ret) {
    uint64_t value = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || value > (UINT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *ret = value;
    return true;
}
