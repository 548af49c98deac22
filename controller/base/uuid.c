#include "base/uuid.h"

/* Where it has a dash instead of a digit. */
static bool is_dash(int at) {
    return at == 8 || at == 13 || at == 18 || at == 23;
}

bool uuid_parse(const char *text, uint64_t ret[2]) {
    uint64_t words[2] = {0};
    int digits = 0;
    for (int at = 0; at < UUID_TEXT_MAX - 1; at++) {
        char c = text[at];
        if (is_dash(at)) {
            if (c != '-')
                return false;
            continue;
        }
        bool is_digit = c >= '0' && c <= '9', is_letter = c >= 'a' && c <= 'f';
        if (!is_digit && !is_letter)
            return false;
        words[digits / 16] = words[digits / 16] << 4 | (uint64_t)(is_digit ? c - '0' : c - 'a' + 10);
        digits++;
    }
    if (text[UUID_TEXT_MAX - 1])
        return false;
    ret[0] = words[0];
    ret[1] = words[1];
    return true;
}

const char *uuid_format(const uint64_t uuid[2], char buf[UUID_TEXT_MAX]) {
    int digits = 0;
    for (int at = 0; at < UUID_TEXT_MAX - 1; at++) {
        if (is_dash(at)) {
            buf[at] = '-';
            continue;
        }
        buf[at] = "0123456789abcdef"[uuid[digits / 16] >> (60 - digits % 16 * 4) & 15];
        digits++;
    }
    buf[UUID_TEXT_MAX - 1] = '\0';
    return buf;
}
