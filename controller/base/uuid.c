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
    /* Where each byte's two digits stand. Jobs are looked at often. */
    static const unsigned char places[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        unsigned byte = uuid[i / 8] >> (56 - i % 8 * 8) & 255;
        buf[places[i]] = digits[byte >> 4];
        buf[places[i] + 1] = digits[byte & 15];
    }
    buf[8] = buf[13] = buf[18] = buf[23] = '-';
    buf[UUID_TEXT_MAX - 1] = '\0';
    return buf;
}
