#include "base/text.h"

#include <fnmatch.h>
#include <stdint.h>
#include <string.h>

/* Decode one code point; returns its length in bytes, or 0 when the bytes are not UTF-8. */
static size_t decode(const char *text, size_t len, uint32_t *ret_point) {
    const unsigned char *s = (const unsigned char *)text;
    if (len == 0)
        return 0;
    if (s[0] < 0x80) {
        *ret_point = s[0];
        return 1;
    }
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > len)
        return 0;
    uint32_t point = s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (s[i] & 0x3f);
    }
    if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    *ret_point = point;
    return n;
}

/* How many bytes from here on are ASCII, eight at a time: most texts are nothing else. */
static size_t count_ascii(const char *text, size_t len) {
    size_t at = 0;
    for (uint64_t word; len - at >= sizeof word; at += sizeof word) {
        memcpy(&word, text + at, sizeof word);
        if (word & UINT64_C(0x8080808080808080))
            break;
    }
    return at;
}

bool text_is_utf8(const char *text, size_t len) {
    uint32_t point;
    for (size_t at = count_ascii(text, len), n; at < len; at += n) {
        n = decode(text + at, len - at, &point);
        if (n == 0)
            return false;
    }
    return true;
}

void text_add_repaired(struct strbuf *buf, const char *text, size_t len) {
    uint32_t point;
    size_t done = 0;
    for (size_t at = 0, n; at < len; at += n) {
        n = decode(text + at, len - at, &point);
        if (n > 0)
            continue;
        strbuf_add(buf, text + done, at - done);
        strbuf_add_text(buf, "\xef\xbf\xbd");
        n = 1;
        done = at + 1;
    }
    strbuf_add(buf, text + done, len - done);
}

static bool is_unsafe(uint32_t point) {
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x2028 || point == 0x2029 || point == 0x200e ||
           point == 0x200f || (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
           point == 0xfeff;
}

/* How many of the first max bytes are ASCII that is shown as it is: most texts are nothing else. */
static size_t plain_run(const char *text, size_t max, char not_this) {
    size_t n = 0;
    while (n < max && text[n] >= 0x20 && text[n] < 0x7f && text[n] != '\\' && text[n] != not_this)
        n++;
    return n;
}

void text_add_escaped(struct strbuf *buf, const char *text, size_t max) {
    size_t len = strlen(text), shown = 0;
    for (size_t at = 0; at < len; shown++) {
        size_t plain = plain_run(text + at, max - shown, '\\');
        strbuf_add(buf, text + at, plain);
        at += plain;
        shown += plain;
        if (at == len)
            return;
        if (shown == max) {
            strbuf_add_text(buf, "...");
            return;
        }
        uint32_t point;
        size_t n = decode(text + at, len - at, &point);
        if (n == 0) {
            strbuf_add_format(buf, "\\x%02x", (unsigned char)text[at]);
            n = 1;
        } else if (point == '\n') {
            strbuf_add_text(buf, "\\n");
        } else if (point == '\t') {
            strbuf_add_text(buf, "\\t");
        } else if (point == '\r') {
            strbuf_add_text(buf, "\\r");
        } else if (point == '\\') {
            strbuf_add_text(buf, "\\\\");
        } else if (is_unsafe(point)) {
            strbuf_add_format(buf, point < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)point);
        } else {
            strbuf_add(buf, text + at, n);
        }
        at += n;
    }
}

const char *text_from_number(uint64_t number, char buf[TEXT_NUMBER_MAX]) {
    char digits[TEXT_NUMBER_MAX];
    int n = 0;
    do
        digits[n++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    for (int i = 0; i < n; i++)
        buf[i] = digits[n - 1 - i];
    buf[n] = '\0';
    return buf;
}

size_t text_width(const char *text) {
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void text_add_csv(struct strbuf *buf, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        strbuf_add_text(buf, text);
        return;
    }
    strbuf_add_char(buf, '"');
    for (; *text; text++) {
        if (*text == '"')
            strbuf_add_char(buf, '"');
        strbuf_add_char(buf, *text);
    }
    strbuf_add_char(buf, '"');
}

void text_add_json(struct strbuf *buf, const char *text) {
    size_t len = strlen(text);
    strbuf_add_char(buf, '"');
    for (size_t at = 0; at < len;) {
        uint32_t point;
        size_t plain = plain_run(text + at, len - at, '"');
        strbuf_add(buf, text + at, plain);
        at += plain;
        if (at == len)
            break;
        size_t n = decode(text + at, len - at, &point);
        if (n == 0) {
            strbuf_add_text(buf, "\xef\xbf\xbd");
            n = 1;
        } else if (point == '"' || point == '\\') {
            strbuf_add_char(buf, '\\');
            strbuf_add_char(buf, (char)point);
        } else if (point == '\n') {
            strbuf_add_text(buf, "\\n");
        } else if (point == '\t') {
            strbuf_add_text(buf, "\\t");
        } else if (is_unsafe(point)) {
            strbuf_add_format(buf, "\\u%04x", (unsigned)point);
        } else {
            strbuf_add(buf, text + at, n);
        }
        at += n;
    }
    strbuf_add_char(buf, '"');
}

static void add_json_escape(struct strbuf *buf, unsigned char c) {
    static const char letters[] = "btnvfr"; /* from 8 on; JSON has no \\v */
    if (c == '"' || c == '\\')
        strbuf_add_format(buf, "\\%c", c);
    else if (c >= 8 && c <= 13 && c != 11)
        strbuf_add_format(buf, "\\%c", letters[c - 8]);
    else
        strbuf_add_format(buf, "\\u%04X", c);
}

void text_add_json_exact(struct strbuf *buf, const char *text, size_t len) {
    size_t done = 0;
    strbuf_add_char(buf, '"');
    for (size_t at = 0; at < len; at++) {
        unsigned char c = (unsigned char)text[at];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        strbuf_add(buf, text + done, at - done);
        add_json_escape(buf, c);
        done = at + 1;
    }
    strbuf_add(buf, text + done, len - done);
    strbuf_add_char(buf, '"');
}

const char *text_list_next(const char **at, size_t *ret_len) {
    static const char separators[] = ", \t\r\n";
    *at += strspn(*at, separators);
    *ret_len = strcspn(*at, separators);
    if (*ret_len == 0)
        return NULL;
    const char *word = *at;
    *at += *ret_len;
    return word;
}

#define GLOB_MAX 320 /* a label key has at most 253 + 1 + 63 characters */

bool text_matches_list(const char *list, const char *text) {
    size_t len;
    for (const char *word; (word = text_list_next(&list, &len));) {
        char glob[GLOB_MAX];
        if (len >= sizeof glob)
            continue;
        memcpy(glob, word, len);
        glob[len] = '\0';
        if (fnmatch(glob, text, 0) == 0)
            return true;
    }
    return false;
}
