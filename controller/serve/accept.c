#include "serve/accept.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* A piece of the header, without the white space around it. */
struct span {
    const char *text;
    size_t len;
};

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static bool span_is(struct span span, const char *text) {
    return span.len == strlen(text) && strncasecmp(span.text, text, span.len) == 0;
}

/* Up to the next separator that does not stand in quotes; moves *at behind it. */
static struct span next_piece(const char **at, const char *end, char separator) {
    const char *begin = *at, *stop = begin;
    for (bool quoted = false; stop < end && (quoted || *stop != separator); stop++) {
        if (*stop == '"')
            quoted = !quoted;
        else if (quoted && *stop == '\\' && stop + 1 < end)
            stop++;
    }
    *at = stop < end ? stop + 1 : end;
    while (begin < stop && is_space(*begin))
        begin++;
    while (stop > begin && is_space(stop[-1]))
        stop--;
    return (struct span){begin, (size_t)(stop - begin)};
}

/* "1", "0.75": in thousandths; -1 when it is no such number. */
static int read_quality(struct span span) {
    static const int worth[] = {100, 10, 1};
    if (span.len == 0 || span.len > 5 || (*span.text != '0' && *span.text != '1') ||
            (span.len > 1 && span.text[1] != '.'))
        return -1;
    int q = (*span.text - '0') * ACCEPT_MOST;
    for (size_t i = 2; i < span.len; i++) {
        if (span.text[i] < '0' || span.text[i] > '9')
            return -1;
        q += (span.text[i] - '0') * worth[i - 2];
    }
    return q <= ACCEPT_MOST ? q : -1;
}

/* How specific a range of this type is about ours; -1: it is about others. */
static int match_type(struct span range, const char *type) {
    size_t group = (size_t)(strchr(type, '/') - type) + 1;
    if (span_is(range, type))
        return 2;
    if (range.len == group + 1 && range.text[group] == '*' && strncasecmp(range.text, type, group) == 0)
        return 1;
    return span_is(range, "*/*") ? 0 : -1;
}

/* The same for the whole range; its q goes to *ret_q. */
static int match_range(struct span range, const char *type, const char *version, int *ret_q) {
    const char *at = range.text, *end = range.text + range.len;
    int specific = match_type(next_piece(&at, end, ';'), type);
    *ret_q = ACCEPT_MOST;
    while (at < end && specific >= 0) {
        struct span parameter = next_piece(&at, end, ';');
        const char *value_at = parameter.text, *parameter_end = parameter.text + parameter.len;
        struct span key = next_piece(&value_at, parameter_end, '=');
        struct span value = next_piece(&value_at, parameter_end, '\0');
        if (value.len >= 2 && *value.text == '"')
            value = (struct span){value.text + 1, value.len - 2};
        if (span_is(key, "q"))
            specific = (*ret_q = read_quality(value)) < 0 ? -1 : specific;
        else if (span_is(key, "version"))
            specific = span_is(value, version) ? 3 : -1;
    }
    return specific;
}

int accept_quality(const char *accept, const char *type, const char *version) {
    const char *at = accept, *end = accept + strlen(accept);
    int best = -1, quality = 0;
    if (at == end)
        return ACCEPT_MOST;
    while (at < end) {
        int q, specific = match_range(next_piece(&at, end, ','), type, version, &q);
        if (specific > best || (specific == best && specific >= 0 && q > quality)) {
            best = specific;
            quality = q;
        }
    }
    return quality;
}
